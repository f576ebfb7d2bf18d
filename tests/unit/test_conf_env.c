/*
 * Keys from the environment: every variable that Patroni's users have, with both prefixes;
 * which one wins; what a list and a section look like; and that nothing of it stays where a
 * child would find it.
 */
#include "test_conf_common.h"

#include <sys/wait.h>
#include <unistd.h>

#include "conf/conf_env.h"

extern char **environ;

struct variable {
    const char *name; /* Behind the prefix. */
    const char *path;
};

/* clang-format off */
#define USER(env, path)                                                     \
    {env "_USERNAME", path ".username"}, {env "_PASSWORD", path ".password"},       \
    {env "_SSLMODE", path ".sslmode"}, {env "_SSLKEY", path ".sslkey"},             \
    {env "_SSLPASSWORD", path ".sslpassword"}, {env "_SSLCERT", path ".sslcert"},   \
    {env "_SSLROOTCERT", path ".sslrootcert"}, {env "_SSLCRL", path ".sslcrl"},     \
    {env "_SSLCRLDIR", path ".sslcrldir"}, {env "_GSSENCMODE", path ".gssencmode"}, \
    {env "_CHANNEL_BINDING", path ".channel_binding"},                              \
    {env "_SSLNEGOTIATION", path ".sslnegotiation"}

static const struct variable variables[] = {
    {"NAME", "name"}, {"SCOPE", "scope"}, {"NAMESPACE", "namespace"},
    {"THREAD_POOL_SIZE", "thread_pool_size"}, {"THREAD_STACK_SIZE", "thread_stack_size"},
    {"MODE", "mode"}, {"RUNTIME_DIR", "runtime_dir"},
    {"LOG_TYPE", "log.type"}, {"LOG_LEVEL", "log.level"},
    {"LOG_TRACEBACK_LEVEL", "log.traceback_level"}, {"LOG_FORMAT", "log.format"},
    {"LOG_DATEFORMAT", "log.dateformat"}, {"LOG_STATIC_FIELDS", "log.static_fields"},
    {"LOG_MAX_QUEUE_SIZE", "log.max_queue_size"}, {"LOG_DIR", "log.dir"}, {"LOG_MODE", "log.mode"},
    {"LOG_FILE_SIZE", "log.file_size"}, {"LOG_FILE_NUM", "log.file_num"},
    {"LOG_LOGGERS", "log.loggers"},
    {"LOG_DEDUPLICATE_HEARTBEAT_LOGS", "log.deduplicate_heartbeat_logs"},
    {"LOGLEVEL", "log.level"}, {"LOGFORMAT", "log.format"}, {"LOG_DATEFMT", "log.dateformat"},
    {"RESTAPI_LISTEN", "restapi.listen"}, {"RESTAPI_CONNECT_ADDRESS", "restapi.connect_address"},
    {"RESTAPI_USERNAME", "restapi.authentication.username"},
    {"RESTAPI_PASSWORD", "restapi.authentication.password"},
    {"RESTAPI_CERTFILE", "restapi.certfile"}, {"RESTAPI_KEYFILE", "restapi.keyfile"},
    {"RESTAPI_KEYFILE_PASSWORD", "restapi.keyfile_password"}, {"RESTAPI_CAFILE", "restapi.cafile"},
    {"RESTAPI_CIPHERS", "restapi.ciphers"}, {"RESTAPI_VERIFY_CLIENT", "restapi.verify_client"},
    {"RESTAPI_HTTP_EXTRA_HEADERS", "restapi.http_extra_headers"},
    {"RESTAPI_HTTPS_EXTRA_HEADERS", "restapi.https_extra_headers"},
    {"RESTAPI_ALLOWLIST", "restapi.allowlist"},
    {"RESTAPI_ALLOWLIST_INCLUDE_MEMBERS", "restapi.allowlist_include_members"},
    {"RESTAPI_REQUEST_QUEUE_SIZE", "restapi.request_queue_size"},
    {"RESTAPI_SERVER_TOKENS", "restapi.server_tokens"},
    {"RESTAPI_THREAD_POOL_SIZE", "restapi.thread_pool_size"},
    {"CTL_USERNAME", "ctl.authentication.username"}, {"CTL_PASSWORD", "ctl.authentication.password"},
    {"CTL_INSECURE", "ctl.insecure"}, {"CTL_CACERT", "ctl.cacert"}, {"CTL_CERTFILE", "ctl.certfile"},
    {"CTL_KEYFILE", "ctl.keyfile"}, {"CTL_KEYFILE_PASSWORD", "ctl.keyfile_password"},
    {"POSTGRESQL_LISTEN", "postgresql.listen"},
    {"POSTGRESQL_CONNECT_ADDRESS", "postgresql.connect_address"},
    {"POSTGRESQL_PROXY_ADDRESS", "postgresql.proxy_address"},
    {"POSTGRESQL_CONFIG_DIR", "postgresql.config_dir"}, {"POSTGRESQL_DATA_DIR", "postgresql.data_dir"},
    {"POSTGRESQL_PGPASS", "postgresql.pgpass"}, {"POSTGRESQL_BIN_DIR", "postgresql.bin_dir"},
    {"POSTGRESQL_BIN_PG_CTL", "postgresql.bin_name.pg_ctl"},
    {"POSTGRESQL_BIN_INITDB", "postgresql.bin_name.initdb"},
    {"POSTGRESQL_BIN_PG_CONTROLDATA", "postgresql.bin_name.pg_controldata"},
    {"POSTGRESQL_BIN_PG_BASEBACKUP", "postgresql.bin_name.pg_basebackup"},
    {"POSTGRESQL_BIN_POSTGRES", "postgresql.bin_name.postgres"},
    {"POSTGRESQL_BIN_PG_ISREADY", "postgresql.bin_name.pg_isready"},
    {"POSTGRESQL_BIN_IS_READY", "postgresql.bin_name.pg_isready"},
    {"POSTGRESQL_BIN_PG_REWIND", "postgresql.bin_name.pg_rewind"},
    USER("SUPERUSER", "postgresql.authentication.superuser"),
    USER("REPLICATION", "postgresql.authentication.replication"),
    USER("REWIND", "postgresql.authentication.rewind"),
    {"RAFT_SELF_ADDR", "raft.self_addr"}, {"RAFT_BIND_ADDR", "raft.bind_addr"},
    {"RAFT_PARTNER_ADDRS", "raft.partner_addrs"}, {"RAFT_DATA_DIR", "raft.data_dir"},
    {"RAFT_PASSWORD", "raft.password"}, {"RAFT_PASSWORD_FILE", "raft.password_file"},
    {"RAFT_TLS_CERT", "raft.tls.cert"}, {"RAFT_TLS_KEY", "raft.tls.key"}, {"RAFT_TLS_CA", "raft.tls.ca"},
};
/* clang-format on */

/* A value every such key takes. */
static const char *value_for(const struct conf_row *row)
{
    static char choice[32];

    if (row->type == CONF_CHOICE || row->type == CONF_MODE || row->type == CONF_LOG_LEVEL) {
        (void)snprintf(choice, sizeof(choice), "%.*s", (int)strcspn(row->choices, "|"),
                       row->choices);
        return choice;
    }
    if (row->type == CONF_INT || row->type == CONF_BYTES || row->type == CONF_DURATION) {
        return "7";
    }
    if (row->type == CONF_PARAMETERS) {
        return "a: b, c: d";
    }
    return row->type == CONF_BOOL ? "on" : "127.0.0.9";
}

static int check_variable(const char *prefix, const struct variable *v)
{
    const struct conf_row *row = conf_schema_find(&conf_schema_local, v->path);
    struct conf_node *root = conf_node_new(CONF_NODE_MAP, "f");
    struct kv_list env = {0};
    struct strbuf warnings = {0};
    struct load l = {.warnings = warnings};
    struct conf_diag diag = {.warn = keep_warning, .data = &l, .err = &l.err};
    const struct conf_node *node;
    char name[100];
    bool right;

    assert_non_null(row);
    (void)snprintf(name, sizeof(name), "%s%s", prefix, v->name);
    kv_add(&env, name, value_for(row));
    right = conf_env_merge(&env, root, &diag) == 0 && load_warnings(&l)[0] == '\0';
    node = conf_node_find(root, v->path);
    right = right && node != NULL;
    right =
        right && (row->type == CONF_PARAMETERS ? str_equal(conf_node_child(node, "c")->text, "d")
                                               : str_equal(node->text, value_for(row)));
    if (!right) {
        print_message("%s is not %s: %s%s\n", name, v->path, l.err.text, load_warnings(&l));
    }
    conf_node_free(root);
    kv_deinit(&env);
    strbuf_deinit(&l.warnings);
    return right ? 0 : 1;
}

static void every_variable_is_its_key_with_both_prefixes(void **state)
{
    int n_wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(variables); i++) {
        n_wrong += check_variable("VECHE_", &variables[i]);
        n_wrong += check_variable("PATRONI_", &variables[i]);
    }
    assert_int_equal(n_wrong, 0);
}

/* "NAME=value|NAME=value" over GOOD. */
static void load_with_env(struct load *l, const char *yaml, const char *pairs)
{
    struct kv_list env = {0};
    char *copy = xstrdup(pairs);
    char *rest = copy;
    char *pair;

    while ((pair = strsep(&rest, "|")) != NULL) {
        char *value = strchr(pair, '=');

        assert_non_null(value);
        *value = '\0';
        kv_add(&env, pair, value + 1);
    }
    *l = (struct load){0};
    if (yaml != NULL) {
        write_file(TEST_FILE, yaml);
    }
    l->conf = conf_load_with(yaml != NULL ? TEST_FILE : NULL, &env, keep_warning, l, &l->err);
    free(copy);
    kv_deinit(&env);
}

static void the_environment_wins_over_the_file_and_veche_over_patroni(void **state)
{
    struct load l;

    (void)state;
    load_with_env(&l, GOOD "log: {level: ERROR}\nnamespace: /f/\n",
                  "PATRONI_LOG_LEVEL=WARNING|PATRONI_NAME=p|VECHE_NAME=v|VECHE_SCOPE="
                  "|VECHE_NAMESPACE=/v/|PATRONI_NAMESPACE=/p/"
                  "|PATRONI_SCOPE=ps|PATRONI_SUPERUSER_PASSWORD=pw #1");
    assert_string_equal(l.err.text, "");

    assert_string_equal(load_warnings(&l), "");
    assert_string_equal(l.conf->log_level, "WARNING");
    assert_string_equal(l.conf->name, "v");
    assert_string_equal(l.conf->scope, "ps"); /* An empty one is none. */
    assert_string_equal(l.conf->namespace, "/v/");
    assert_string_equal(l.conf->superuser.username, "postgres");
    assert_string_equal(l.conf->superuser.password, "pw #1");
    load_end(&l);
}

static void a_variable_does_not_hide_what_is_written_the_older_way(void **state)
{
    struct load l;

    (void)state;
    load_with_env(&l,
                  "name: n\nscope: s\nraft: {self_addr: 127.0.0.1}\npostgresql:\n  listen: h:1\n"
                  "  data_dir: /d\n  superuser: {username: su}\n  replication: {username: re}\n",
                  "PATRONI_SUPERUSER_PASSWORD=x");
    assert_string_equal(l.err.text, "");

    assert_string_equal(load_warnings(&l), "");
    assert_string_equal(l.conf->superuser.username, "su");
    assert_string_equal(l.conf->superuser.password, "x");
    load_end(&l);
}

static void lists_and_sections_have_the_forms_of_patroni(void **state)
{
    static const char *const lists[] = {"a.example,b.example", "a.example, b.example",
                                        "[a.example, b.example]", "- a.example\n- b.example"};
    static const char *const maps[] = {"a: b, c: d", "{a: b, c: d}", "a: b\n  c: d"};
    struct load l;
    char pairs[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++) {
        (void)snprintf(pairs, sizeof(pairs),
                       "VECHE_RESTAPI_ALLOWLIST=%s|VECHE_RAFT_PARTNER_ADDRS=%s"
                       "|VECHE_RAFT_PASSWORD=x",
                       lists[i], lists[i]);
        load_with_env(&l, GOOD, pairs);
        assert_string_equal(l.err.text, "");
        assert_string_equal(l.conf->restapi_allowlist.items[1].key, "b.example");
        assert_string_equal(l.conf->raft_partner_addrs[1], "b.example:7400");
        load_end(&l);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(maps); i++) {
        (void)snprintf(pairs, sizeof(pairs), "PATRONI_RESTAPI_HTTP_EXTRA_HEADERS=%s", maps[i]);
        load_with_env(&l, GOOD "restapi: {http_extra_headers: {x: y}}\n", pairs);
        assert_string_equal(l.err.text, "");
        assert_int_equal(l.conf->restapi_http_extra_headers.n, 2);
        assert_string_equal(kv_get(&l.conf->restapi_http_extra_headers, "c"), "d");
        load_end(&l);
    }
}

static void wrong_variables_are_named(void **state)
{
    static const struct {
        const char *pairs;
        const char *error;
        const char *warning;
    } rows[] = {
        {"PATRONI_LOG_LEVEL=LOUD",
         "environment variable PATRONI_LOG_LEVEL: log.level: not a known value, got \"LOUD\", "
         "expected DEBUG, INFO, WARNING, WARN, ERROR, FATAL or CRITICAL",
         ""},
        {"VECHE_RESTAPI_HTTP_EXTRA_HEADERS={a: b",
         "environment variable VECHE_RESTAPI_HTTP_EXTRA_HEADERS:2:1: not valid YAML: did not find "
         "expected ',' or '}'",
         ""},
        {"VECHE_POSTGRESQL_LISTEN=a,,b:1",
         "environment variable VECHE_POSTGRESQL_LISTEN: postgresql.listen: not an address, got "
         "\"a,,b:1\", expected host,host:port",
         ""},
        {"PATRONI_NAMESPACE=/\xe9t\xe9",
         "environment variable PATRONI_NAMESPACE: namespace: not a text, got bytes that are no "
         "UTF-8, expected UTF-8",
         ""},
        {"PATRONI_CITUS_GROUP=1", "",
         "environment: PATRONI_CITUS_GROUP: has no effect: Citus is not supported\n"},
        {"PATRONI_ETCD3_HOSTS=a:1|PATRONI_RESTAPI_LISTE=b:1", "",
         "environment: PATRONI_ETCD3_HOSTS: not used: raft: takes the place of another store\n"
         "environment: PATRONI_RESTAPI_LISTE: no such variable, ignored\n"},
    };
    int n_wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct load l;

        load_with_env(&l, GOOD, rows[i].pairs);
        n_wrong += differs(rows[i].pairs, l.err.text, rows[i].error);
        n_wrong += differs(rows[i].pairs, load_warnings(&l), rows[i].warning);
        assert_true((l.conf == NULL) == (rows[i].error[0] != '\0'));
        load_end(&l);
    }
    assert_int_equal(n_wrong, 0);
}

static void a_whole_configuration_in_a_variable_is_all_there_is(void **state)
{
    struct load l;

    (void)state;
    load_with_env(&l, "not: read\n", "PATRONI_CONFIGURATION=" WITNESS "|VECHE_NAME=other");
    assert_string_equal(l.err.text, "");
    assert_string_equal(l.conf->name, "w");
    load_end(&l);

    load_with_env(&l, NULL, "VECHE_CONFIGURATION=name: [a]");
    assert_string_equal(l.err.text, "VECHE_CONFIGURATION:1:1: name: wrong type, got a list, "
                                    "expected a single value");
    load_end(&l);
}

static void without_a_file_the_environment_can_be_enough(void **state)
{
    struct load l;

    (void)state;
    load_with_env(&l, NULL,
                  "VECHE_NAME=w|VECHE_SCOPE=s|VECHE_MODE=witness|VECHE_RAFT_SELF_ADDR=127.0.0.1");
    assert_string_equal(l.err.text, "");
    assert_true(l.conf->mode == CONF_MODE_WITNESS);
    assert_null(l.conf->path);
    load_end(&l);

    load_with_env(&l, NULL, "VECHE_NAME=w");
    assert_string_equal(l.err.text, "environment: scope: missing, expected a name");
    load_end(&l);
}

/* What a child of ours would see. */
static char *environment_of_a_child(void)
{
    char *text;
    int fds[2];
    pid_t pid;
    char data[8192];
    ssize_t n;
    struct strbuf b = {0};
    int status;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(fds[1], STDOUT_FILENO);
        (void)execl("/bin/cat", "cat", "/proc/self/environ", (char *)NULL);
        _exit(127);
    }
    (void)close(fds[1]);
    while ((n = read(fds[0], data, sizeof(data))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            data[i] = data[i] == '\0' ? '\n' : data[i];
        }
        strbuf_add(&b, data, (size_t)n);
    }
    (void)close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    text = b.data;
    assert_non_null(text);
    return text;
}

static void no_child_sees_what_was_taken(void **state)
{
    struct kv_list env = {0};
    char *password;
    char *text;

    (void)state;
    assert_int_equal(setenv("PATRONI_SUPERUSER_PASSWORD", "never-seen-1", 1), 0);
    assert_int_equal(setenv("VECHE_RAFT_PASSWORD", "never-seen-2", 1), 0);
    assert_int_equal(setenv("PATRONI_CONSUL_TOKEN", "never-seen-3", 1), 0);
    assert_int_equal(setenv("VECHE_REWIND_PASWORD", "never-seen-4", 1), 0);
    assert_int_equal(setenv("VECHE_TEST_OF_OTHERS", "kept", 1), 0);
    assert_int_equal(setenv("PG_MALLOC_ARENA_MAX", "3", 1), 0);
    password = getenv("VECHE_RAFT_PASSWORD");

    conf_env_take(&env);

    assert_string_equal(kv_get(&env, "VECHE_RAFT_PASSWORD"), "never-seen-2");
    assert_string_equal(kv_get(&env, "PATRONI_SUPERUSER_PASSWORD"), "never-seen-1");
    assert_int_equal(env.n, 4);
    text = environment_of_a_child();
    assert_null(strstr(text, "never-seen"));
    assert_null(strstr(text, "PATRONI_"));
    assert_null(strstr(text, "VECHE_RAFT"));
    assert_non_null(strstr(text, "VECHE_TEST_OF_OTHERS=kept"));
    assert_non_null(strstr(text, "MALLOC_ARENA_MAX=3"));
    assert_string_equal(password, ""); /* Nor does /proc/self/environ have it. */
    free(text);
    kv_deinit(&env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variable_is_its_key_with_both_prefixes),
        cmocka_unit_test(the_environment_wins_over_the_file_and_veche_over_patroni),
        cmocka_unit_test(a_variable_does_not_hide_what_is_written_the_older_way),
        cmocka_unit_test(lists_and_sections_have_the_forms_of_patroni),
        cmocka_unit_test(wrong_variables_are_named),
        cmocka_unit_test(a_whole_configuration_in_a_variable_is_all_there_is),
        cmocka_unit_test(without_a_file_the_environment_can_be_enough),
        cmocka_unit_test(no_child_sees_what_was_taken),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
