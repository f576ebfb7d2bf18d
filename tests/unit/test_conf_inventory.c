/*
 * Every key that Patroni's users have, walked one by one: none is unknown, its default is
 * the documented one (or ours, where the design says so), a good value is taken, a bad
 * one is refused, and what has no effect says so. The table is written by hand from the
 * inventory of Patroni's keys and not from the schema: a row that is missing
 * there is a failure here, and so is a row of the schema that nobody put into this table.
 */
#include "test_conf_common.h"

#include "conf/conf_schema.h"

/* What is heard about a good value. */
enum heard {
    NOTHING,
    LATER,     /* "accepted, but not acted on yet: key"; nothing once something does. */
    NO_EFFECT, /* "key: has no effect: why" */
    ELSEWHERE, /* "key: not used: raft: takes its place", or where it belongs. */
};

struct entry {
    const char *path;
    const char *fallback; /* As the schema has it; NULL = none. */
    const char *good;     /* As YAML. */
    const char *bad;      /* Refused; NULL = nothing is. */
    enum heard heard;
};

#define USER(name)                                                  \
    {name ".username", NULL, "me", "[a]", NOTHING},                 \
        {name ".password", NULL, "'#1'", "[a]", NOTHING},           \
        {name ".sslmode", NULL, "verify-full", "much", NOTHING},     \
        {name ".sslcert", NULL, "/c", "[a]", NOTHING},              \
        {name ".sslkey", NULL, "/k", "[a]", NOTHING},               \
        {name ".sslpassword", NULL, "p", "[a]", NOTHING},           \
        {name ".sslrootcert", NULL, "/r", "[a]", NOTHING},          \
        {name ".sslcrl", NULL, "/l", "[a]", NOTHING},               \
        {name ".sslcrldir", NULL, "/d", "[a]", NOTHING},            \
        {name ".gssencmode", NULL, "disable", "much", NOTHING},      \
        {name ".channel_binding", NULL, "require", "much", NOTHING}, \
    {                                                               \
        name ".sslnegotiation", NULL, "direct", "much", NOTHING      \
    }

#define ROLES(name, good, bad, heard)                                                     \
    {name "_primary", NULL, good, bad, heard}, {name "_replica", NULL, good, bad, heard}, \
    {                                                                                     \
        name "_standby_leader", NULL, good, bad, heard                                    \
    }

/* clang-format off */
#define POSTGRESQL_BOTH                                                                           \
    ROLES("postgresql.parameters", "{work_mem: 1MB}", "[a]", LATER),                              \
    ROLES("postgresql.pg_hba", "[local all all trust]", "a", LATER),                              \
    ROLES("postgresql.pg_ident", "[a b c]", "a", LATER),                                          \
    {"postgresql.parameters", NULL, "{work_mem: 1MB, a.b: on}", "[a]", NOTHING},                  \
    {"postgresql.pg_hba", NULL, "[local all all trust]", "a", NOTHING},                           \
    {"postgresql.pg_ident", NULL, "[a b c]", "a", NOTHING},                                       \
    {"postgresql.recovery_conf", NULL, "{restore_command: x}", "[a]", NOTHING},                   \
    {"postgresql.callbacks.on_start", NULL, "/x", "[a]", NOTHING},                                    \
    {"postgresql.callbacks.on_stop", NULL, "/x", "[a]", NOTHING},                                     \
    {"postgresql.callbacks.on_restart", NULL, "/x", "[a]", NOTHING},                                  \
    {"postgresql.callbacks.on_reload", NULL, "/x", "[a]", NOTHING},                                   \
    {"postgresql.callbacks.on_role_change", NULL, "/x", "[a]", NOTHING},                              \
    {"postgresql.pre_promote", NULL, "/x", "[a]", NOTHING},                                           \
    {"postgresql.before_stop", NULL, "/x", "[a]", NOTHING},                                           \
    {"postgresql.create_replica_method", NULL, "[basebackup]", "{a: b}", NOTHING}

static const struct entry local[] = {
    /* Global, log. */
    {"name", NULL, "other", "a b", NOTHING},
    {"scope", NULL, "other", "a/b", NOTHING},
    {"namespace", "/service", "/db/", "[a]", NOTHING},
    {"thread_pool_size", "5", "9", "x", NO_EFFECT},
    {"thread_stack_size", "512kB", "1MB", "x", NO_EFFECT},
    {"log.type", "plain", "json", "xml", NOTHING},
    {"log.level", "INFO", "CRITICAL", "LOUD", NOTHING},
    {"log.traceback_level", "ERROR", "DEBUG", "INFO", NO_EFFECT},
    {"log.format", "%(asctime)s %(levelname)s: %(message)s", "[message, {levelname: l}]", NULL, NO_EFFECT},
    {"log.dateformat", "", "'%Y'", "[a]", NO_EFFECT},
    {"log.static_fields", NULL, "{app: x}", "[a]", NOTHING},
    {"log.loggers", NULL, "{urllib3: DEBUG}", "[a]", NO_EFFECT},
    {"log.dir", NULL, "/var/log/x", "[a]", NOTHING},
    {"log.file_num", "4", "9", "-1", NOTHING},
    {"log.file_size", "25000000", "1MB", "-1", NOTHING},
    {"log.mode", NULL, "0640", "01000", NOTHING},
    {"log.max_queue_size", "1000", "9", "x", NOTHING},
    {"log.deduplicate_heartbeat_logs", NULL, "on", "maybe", NOTHING},

    /* restapi, ctl. */
    {"restapi.listen", "0.0.0.0:8008", "'*:8009'", "8008", NOTHING},
    {"restapi.connect_address", NULL, "'[fd00::1]:8008'", "a:b", NOTHING},
    {"restapi.authentication.username", NULL, "u", "[a]", NOTHING},
    {"restapi.authentication.password", NULL, "p", "[a]", NOTHING},
    {"restapi.certfile", NULL, "/c", "[a]", NOTHING},
    {"restapi.keyfile", NULL, "/k", "[a]", NOTHING},
    {"restapi.keyfile_password", NULL, "p", "[a]", NOTHING},
    {"restapi.cafile", NULL, "/a", "[a]", NOTHING},
    {"restapi.ciphers", NULL, "HIGH", "[a]", NOTHING},
    {"restapi.verify_client", "none", "required", "maybe", NOTHING},
    {"restapi.allowlist", NULL, "[10.0.0.0/8, host]", "{a: b}", NOTHING},
    {"restapi.allowlist_include_members", "false", "on", "maybe", NOTHING},
    {"restapi.http_extra_headers", NULL, "{X-A: b}", "[a]", NOTHING},
    {"restapi.https_extra_headers", NULL, "{X-A: b}", "[a]", NOTHING},
    {"restapi.server_tokens", "original", "ProductOnly", "none", NOTHING},
    {"restapi.request_queue_size", "128", "4096", "4097", NOTHING},
    {"restapi.thread_pool_size", "5", "9", "x", NO_EFFECT},
    {"ctl.insecure", "false", "on", "maybe", NOTHING},
    {"ctl.cacert", NULL, "/a", "[a]", NOTHING},
    {"ctl.certfile", NULL, "/c", "[a]", NOTHING},
    {"ctl.keyfile", NULL, "/k", "[a]", NOTHING},
    {"ctl.keyfile_password", NULL, "p", "[a]", NOTHING},
    {"ctl.authentication.username", NULL, "u", "[a]", NOTHING},
    {"ctl.authentication.password", NULL, "p", "[a]", NOTHING},

    /* postgresql. */
    {"postgresql.listen", NULL, "'10.0.0.1,127.0.0.1:5433'", "'a,,b:1'", NOTHING},
    {"postgresql.connect_address", NULL, "10.0.0.1:5433", "a:99999", NOTHING},
    {"postgresql.proxy_address", NULL, "10.0.0.1:6432", "a:b", NOTHING},
    {"postgresql.data_dir", NULL, "/data", "[a]", NOTHING},
    {"postgresql.config_dir", NULL, "/etc/pg", "[a]", NOTHING},
    {"postgresql.bin_dir", "", "/bin", "[a]", NOTHING},
    {"postgresql.bin_name.pg_ctl", "pg_ctl", "x", "[a]", NO_EFFECT},
    {"postgresql.bin_name.initdb", "initdb", "x", "[a]", NOTHING},
    {"postgresql.bin_name.pg_controldata", "pg_controldata", "x", "[a]", NO_EFFECT},
    {"postgresql.bin_name.pg_basebackup", "pg_basebackup", "x", "[a]", NOTHING},
    {"postgresql.bin_name.postgres", "postgres", "x", "[a]", NOTHING},
    {"postgresql.bin_name.pg_isready", "pg_isready", "x", "[a]", NO_EFFECT},
    {"postgresql.bin_name.pg_rewind", "pg_rewind", "x", "[a]", NOTHING},
    {"postgresql.pgpass", NULL, "/tmp/pgpass", "[a]", NOTHING},
    {"postgresql.database", "postgres", "admin", "[a]", NOTHING},
    {"postgresql.use_unix_socket", "false", "on", "maybe", NOTHING},
    {"postgresql.use_unix_socket_repl", "false", "on", "maybe", NO_EFFECT},
    USER("postgresql.authentication.superuser"),
    USER("postgresql.authentication.replication"),
    USER("postgresql.authentication.rewind"),
    {"postgresql.krbsrvname", NULL, "pg", "[a]", NOTHING},
    POSTGRESQL_BOTH,
    {"postgresql.create_replica_methods", NULL, "[basebackup]", "{a: b}", NOTHING},
    {"postgresql.pg_ctl_timeout", NULL, "120", "never", NOTHING},
    {"postgresql.custom_conf", NULL, "/etc/my.conf", "[a]", NOTHING},
    {"postgresql.config_base_name", "postgresql", "pg", "a/b", NOTHING},
    {"postgresql.basebackup", NULL, "[verbose, {max-rate: 100M}]", "fast", NOTHING},
    {"postgresql.use_pg_rewind", "true", "off", "maybe", NO_EFFECT},
    {"postgresql.rewind", NULL, "[debug]", "fast", NOTHING},
    {"postgresql.remove_data_directory_on_rewind_failure", "false", "on", "maybe", NO_EFFECT},
    {"postgresql.remove_data_directory_on_diverged_timelines", "false", "on", "maybe", NO_EFFECT},
    {"postgresql.use_slots", "true", "off", "maybe", NO_EFFECT},
    /* Spellings of before, see also the test of what they become. */
    {"postgresql.superuser", NULL, "{sslmode: prefer}", NULL, ELSEWHERE},
    {"postgresql.replication", NULL, "{sslmode: prefer}", NULL, ELSEWHERE},
    {"postgresql.pg_rewind", NULL, "{username: r}", "a", NOTHING},

    /* bootstrap, watchdog, tags. */
    {"bootstrap.dcs", NULL, "{ttl: 30}", "[a]", NOTHING},
    {"bootstrap.method", "initdb", "initdb", "clone", NOTHING},
    {"bootstrap.initdb", NULL, "[{encoding: UTF8}, data-checksums]", "a", NOTHING},
    {"bootstrap.post_bootstrap", NULL, "/x", "[a]", NOTHING},
    {"bootstrap.post_init", NULL, "/x", "[a]", NOTHING},
    {"bootstrap.pg_hba", NULL, "[local all all trust]", "a", NOTHING},
    {"bootstrap.users", NULL, "{a: {password: p, options: [createdb]}}", "[a]", NOTHING},
    {"watchdog.mode", "off", "automatic", "sometimes", NOTHING}, /* Ours: the guard fences. */
    {"watchdog.device", "/dev/watchdog", "/dev/watchdog1", "[a]", NOTHING},
    {"watchdog.safety_margin", "5", "-1", "-2", NOTHING},
    {"watchdog.driver", "default", "testing", "other", NOTHING},
    {"tags", NULL, "{nofailover: true, failover_priority: 0, nosync: off, sync_priority: 3, clonefrom: true, noloadbalance: true, nostream: true, replicatefrom: n2, rack: '7'}", "{nofailover: maybe}", NOTHING},

    /* Other stores. */
    {"citus", NULL, "{group: 0}", NULL, NO_EFFECT},
    {"consul", NULL, "{host: a}", NULL, ELSEWHERE},
    {"etcd", NULL, "{hosts: [a]}", NULL, ELSEWHERE},
    {"etcd3", NULL, "{hosts: a}", NULL, ELSEWHERE},
    {"zookeeper", NULL, "{hosts: a}", NULL, ELSEWHERE},
    {"exhibitor", NULL, "{hosts: a}", NULL, ELSEWHERE},
    {"kubernetes", NULL, "{namespace: a}", NULL, ELSEWHERE},
};

/* Below bootstrap.dcs, and in the store. */
static const struct entry dynamic[] = {
    {"ttl", "3", "30", "0", NOTHING}, /* The times are ours: the lease has no minimum of 20. */
    {"loop_wait", "1", "0.5", "0", NOTHING},
    {"retry_timeout", "1", "0.5", "0", NOTHING},
    {"primary_race_backoff", "0", "5", "x", NO_EFFECT},
    {"maximum_lag_on_failover", "1048576", "1MB", "-1", NOTHING},
    {"maximum_lag_on_syncnode", "-1", "1MB", "-2", NOTHING},
    {"max_timelines_history", "0", "9", "-1", NOTHING},
    {"primary_start_timeout", "300", "0", "x", NOTHING},
    {"primary_stop_timeout", "0", "9", "x", NOTHING},
    {"master_start_timeout", NULL, "9", "x", NOTHING},
    {"master_stop_timeout", NULL, "9", "x", NOTHING},
    {"check_timeline", "false", "on", "maybe", NOTHING},
    {"synchronous_mode", "off", "on", "maybe", NOTHING},
    {"synchronous_mode_strict", "false", "on", "maybe", NOTHING},
    {"synchronous_node_count", "1", "1", "0", NOTHING},
    {"failsafe_mode", NULL, "on", "maybe", NOTHING},
    {"member_slots_ttl", "30min", "1h", "x", NOTHING},
    {"pause", "false", "on", "maybe", NOTHING},
    {"standby_cluster.host", NULL, NULL, "a", LATER},
    {"standby_cluster.port", NULL, NULL, "5432", LATER},
    {"standby_cluster.primary_slot_name", NULL, "a", "[a]", LATER},
    {"standby_cluster.create_replica_methods", NULL, "[basebackup]", "{a: b}", LATER},
    {"standby_cluster.restore_command", NULL, NULL, "a", LATER},
    {"standby_cluster.archive_cleanup_command", NULL, "a", "[a]", LATER},
    {"standby_cluster.recovery_min_apply_delay", NULL, "1h", "[a]", LATER},
    {"slots", NULL, "{a: {type: logical, database: d, plugin: p, cluster_type: primary}}", "[a]", NOTHING},
    {"permanent_slots", NULL, "{a: {type: physical}}", "{a: {type: x}}", NOTHING},
    {"permanent_replication_slots", NULL, "{a: 1}", "{a: x}", NOTHING},
    {"ignore_slots", NULL, "[{name: a, type: logical, database: d, plugin: p}]", "{name: a}", NOTHING},
    POSTGRESQL_BOTH,
    {"postgresql.create_replica_methods", "basebackup", "[wal_g, basebackup]", "{a: b}", NOTHING},
    {"postgresql.pg_ctl_timeout", "60", "120", "never", NOTHING},
    {"postgresql.use_slots", "true", "off", "maybe", NOTHING},
    {"postgresql.use_pg_rewind", "true", "off", "maybe", NOTHING},
    {"postgresql.remove_data_directory_on_rewind_failure", "false", "on", "maybe", NOTHING},
    {"postgresql.remove_data_directory_on_diverged_timelines", "false", "on", "maybe", NOTHING},
    {"postgresql.rewind", NULL, "[debug]", "fast", NOTHING},
    {"postgresql.basebackup", NULL, "[verbose, {max-rate: 100M}]", "fast", NOTHING},
    {"postgresql.authentication", NULL, "{superuser: {username: x}}", NULL, ELSEWHERE},
    {"postgresql.bin_dir", NULL, "/bin", NULL, ELSEWHERE},
    {"postgresql.bin_name", NULL, "{initdb: x}", NULL, ELSEWHERE},
    {"postgresql.config_base_name", NULL, "x", NULL, ELSEWHERE},
    {"postgresql.config_dir", NULL, "/x", NULL, ELSEWHERE},
    {"postgresql.connect_address", NULL, "a:1", NULL, ELSEWHERE},
    {"postgresql.custom_conf", NULL, "/x", NULL, ELSEWHERE},
    {"postgresql.data_dir", NULL, "/x", NULL, ELSEWHERE},
    {"postgresql.database", NULL, "x", NULL, ELSEWHERE},
    {"postgresql.krbsrvname", NULL, "x", NULL, ELSEWHERE},
    {"postgresql.listen", NULL, "a:1", NULL, ELSEWHERE},
    {"postgresql.pgpass", NULL, "/x", NULL, ELSEWHERE},
    {"postgresql.proxy_address", NULL, "a:1", NULL, ELSEWHERE},
    {"postgresql.use_unix_socket", NULL, "on", NULL, ELSEWHERE},
    {"postgresql.use_unix_socket_repl", NULL, "on", NULL, ELSEWHERE},
};
/* clang-format on */

/* "a: {b: {c: value}}", over GOOD, by a directory of two files. */
static void load_entry(struct load *l, const char *prefix, const char *path, const char *value)
{
    char full[300];
    char *rest = full;
    char *word;
    size_t depth = 0;
    struct strbuf b = {0};

    (void)snprintf(full, sizeof(full), "%s%s", prefix, path);
    while ((word = strsep(&rest, ".")) != NULL) {
        strbuf_printf(&b, rest != NULL ? "%s: {" : "%s: ", word);
        depth++;
    }
    strbuf_add_text(&b, value);
    for (; depth > 1; depth--) {
        strbuf_add_text(&b, "}");
    }
    strbuf_add_text(&b, "\n");
    write_file("c/1.yml", GOOD "restapi: {authentication: {username: x, password: y}, certfile: /b}\n");
    write_file("c/2.yml", b.data);
    strbuf_deinit(&b);
    load_path(l, "c");
}

static const char *expected_warning(enum heard heard)
{
    switch (heard) {
    case NOTHING:
        return NULL;
    case LATER:
        return "accepted, but not acted on yet: ";
    case NO_EFFECT:
        return "has no effect: ";
    case ELSEWHERE:
        return ": ";
    }
    return NULL;
}

/* What was said, if that is not right; 1 then, else 0. */
static int end_load(struct load *l, bool right, const char *prefix, const char *path,
                    const char *value)
{
    if (!right) {
        print_message("%s%s: %s: \"%s\" %s", prefix, path, value, l->err.text, load_warnings(l));
    }
    load_end(l);
    return right ? 0 : 1;
}

static int check_good(const struct conf_row *row, const char *prefix, const struct entry *e)
{
    bool is_later = e->heard == LATER && row->effect == CONF_USED;
    const char *expected = expected_warning(is_later ? NOTHING : e->heard);
    struct load l;
    bool right;

    load_entry(&l, prefix, e->path, e->good);
    right = l.conf != NULL && strstr(load_warnings(&l), "unknown key") == NULL &&
            (expected != NULL ? strstr(load_warnings(&l), expected) != NULL
                              : load_warnings(&l)[0] == '\0');
    return end_load(&l, right, prefix, e->path, e->good);
}

/* With the place, the key and what was expected. */
static int check_bad(const struct conf_row *row, const char *prefix, const struct entry *e)
{
    const char *dot = strrchr(e->path, '.');
    const char *word = dot != NULL ? dot + 1 : e->path;
    struct load l;
    bool right;

    load_entry(&l, prefix, e->path, e->bad);
    right = l.conf == NULL && strstr(l.err.text, "c/2.yml:1:") != NULL &&
            strstr(l.err.text, ", expected ") != NULL;
    if (right && row->type != CONF_ALIAS) { /* Which is named by the key it stands for. */
        right = strstr(l.err.text, word) != NULL;
    }
    return end_load(&l, right, prefix, e->path, e->bad);
}

static int check_entry(const struct conf_schema *schema, const char *prefix, const struct entry *e)
{
    const struct conf_row *row = conf_schema_find(schema, e->path);
    const struct conf_row *meant;
    int n_wrong = 0;

    if (row == NULL) {
        print_message("%s%s: no row of the schema\n", prefix, e->path);
        return 1;
    }
    if (!str_equal(row->fallback, e->fallback)) {
        print_message("%s%s: default %s, expected %s\n", prefix, e->path,
                      row->fallback != NULL ? row->fallback : "none",
                      e->fallback != NULL ? e->fallback : "none");
        n_wrong++;
    }
    meant = row->type == CONF_ALIAS ? conf_schema_find(schema, row->choices) : row;
    n_wrong += e->good != NULL ? check_good(meant, prefix, e) : 0;
    n_wrong += e->bad != NULL ? check_bad(row, prefix, e) : 0;
    return n_wrong;
}

static void every_key_of_the_nodes_file_is_taken(void **state)
{
    int n_wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(local); i++) {
        n_wrong += check_entry(&conf_schema_local, "", &local[i]);
    }
    assert_int_equal(n_wrong, 0);
}

static void every_dynamic_key_is_taken(void **state)
{
    int n_wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(dynamic); i++) {
        n_wrong += check_entry(&conf_schema_dynamic, "bootstrap.dcs.", &dynamic[i]);
    }
    assert_int_equal(n_wrong, 0);
}

static char *printed(const struct conf *c)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    conf_print(c, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

/* A node runs with GOOD, and this key has come into its file. */
static int check_take(const struct entry *e)
{
    const struct conf_row *row = conf_schema_find(&conf_schema_local, e->path);
    struct strbuf changed = {0};
    struct strbuf restart = {0};
    struct load running;
    struct load fresh;
    char *expected;
    char *after;
    bool right;

    load_path(&running, "c/1.yml");
    load_entry(&fresh, "", e->path, e->good);
    assert_non_null(fresh.conf);
    expected = printed(row->reload == CONF_RELOAD ? fresh.conf : running.conf);
    conf_take(running.conf, fresh.conf, &changed, &restart);
    after = printed(running.conf);
    right = strcmp(after, expected) == 0 || row->type == CONF_DCS;
    if (row->stored && row->reload == CONF_RELOAD) {
        right = right && strstr(changed.data, e->path) != NULL && restart.length == 0;
    } else if (row->stored && row->reload == CONF_RESTART) {
        right = right && strstr(restart.data, e->path) != NULL && changed.length == 0;
    } else if (row->type != CONF_ALIAS) {
        right = right && changed.length == 0 && restart.length == 0;
    }
    if (!right) {
        print_message("%s: changed \"%s\", restart \"%s\"\n", e->path, changed.data, restart.data);
    }
    free(expected);
    free(after);
    strbuf_deinit(&changed);
    strbuf_deinit(&restart);
    load_end(&running);
    load_end(&fresh);
    return right ? 0 : 1;
}

static void every_key_is_taken_over_or_named_by_a_reload(void **state)
{
    int n_wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(local); i++) {
        const struct conf_row *row = conf_schema_find(&conf_schema_local, local[i].path);

        assert_non_null(row);
        if (row->type != CONF_ALIAS && local[i].heard != ELSEWHERE) {
            n_wrong += check_take(&local[i]);
        }
    }
    assert_int_equal(n_wrong, 0);
}

static void what_goes_away_is_a_change_too(void **state)
{
    struct strbuf changed = {0};
    struct strbuf restart = {0};
    struct load running;
    struct load fresh;

    (void)state;
    load_text(&running, GOOD "  pg_hba: [local all all trust]\n"
                             "tags: {nofailover: on, replicatefrom: n2}\n");
    load_text(&fresh, GOOD);
    kv_set(&running.conf->superuser.ssl, "sslmode", "prefer");

    conf_take(running.conf, fresh.conf, &changed, &restart);

    assert_string_equal(changed.data,
                        "postgresql.pg_hba, postgresql.authentication.superuser.sslmode, tags");
    assert_string_equal(restart.data, "");
    assert_int_equal(running.conf->pg_hba.n, 0);
    assert_null(kv_get(&running.conf->superuser.ssl, "sslmode"));
    assert_false(running.conf->nofailover);
    assert_null(running.conf->replicatefrom);
    strbuf_deinit(&changed);
    strbuf_deinit(&restart);
    load_end(&running);
    load_end(&fresh);
}

/* A node does not lose its PostgreSQL by a reload. */
static void another_mode_waits_for_a_restart_whole(void **state)
{
    struct strbuf changed = {0};
    struct strbuf restart = {0};
    struct load running;
    struct load fresh;

    (void)state;
    load_text(&running, GOOD);
    load_text(&fresh, "name: n1\nscope: s\nmode: witness\nraft: {self_addr: 127.0.0.1}\n");

    conf_take(running.conf, fresh.conf, &changed, &restart);

    assert_string_equal(changed.data, "");
    assert_string_equal(restart.data, "mode");
    assert_string_equal(running.conf->superuser.username, "postgres");
    strbuf_deinit(&changed);
    strbuf_deinit(&restart);
    load_end(&running);
    load_end(&fresh);
}

static int count_unlisted(const struct conf_schema *schema, const struct entry *entries, size_t n)
{
    int n_unlisted = 0;

    for (size_t i = 0; i < schema->n_rows; i++) {
        const struct conf_row *row = &schema->rows[i];
        bool listed = row->type == CONF_SECTION || row->type == CONF_METHODS ||
                      row->mark == CONF_REPLACED; /* Methods: test_conf_load. */

        for (size_t k = 0; k < n && !listed; k++) {
            listed = strcmp(entries[k].path, row->path) == 0;
        }
        if (!listed) {
            print_message("%s: not in the inventory\n", row->path);
            n_unlisted++;
        }
    }
    return n_unlisted;
}

/* Else a row could come and go without anybody's looking. */
static void the_schema_has_no_key_that_is_not_in_the_inventory(void **state)
{
    (void)state;
    assert_int_equal(count_unlisted(&conf_schema_local, local, ARRAY_LENGTH(local)) +
                         count_unlisted(&conf_schema_dynamic, dynamic, ARRAY_LENGTH(dynamic)),
                     0);
}

static void older_spellings_are_the_newer_keys(void **state)
{
    struct conf_dynamic d;
    struct load l;

    (void)state;
    load_text(&l, "name: n\nscope: s\nraft: {self_addr: 127.0.0.1}\n"
                  "postgresql:\n  listen: h:1\n  data_dir: /d\n"
                  "  superuser: {username: su}\n  replication: {username: re}\n"
                  "  pg_rewind: {username: rw}\n"
                  "bootstrap:\n  post_init: /x\n"
                  "  dcs: {master_start_timeout: 7, ttl: 9}\n");
    assert_string_equal(l.err.text, "");

    assert_string_equal(l.conf->superuser.username, "su");
    assert_string_equal(l.conf->replication.username, "re");
    assert_string_equal(l.conf->rewind.username, "rw");
    assert_string_equal(l.conf->bootstrap_post_bootstrap, "/x");
    assert_int_equal(conf_dynamic_parse(l.conf->bootstrap_dcs, &d, NULL, NULL, NULL), 0);
    assert_int_equal(d.primary_start_timeout_ms, 7000);
    conf_dynamic_deinit(&d);
    load_end(&l);
}

static void what_is_read_ends_where_others_look_for_it(void **state)
{
    struct load l;

    (void)state;
    load_text(&l, GOOD "  parameters_replica: {work_mem: 1GB}\n"
                       "  pg_hba_primary: [local all all trust]\n"
                       "  pg_ident_standby_leader: [a b c]\n"
                       "  proxy_address: 10.0.0.1\n"
                       "  krbsrvname: pgsql\n"
                       "restapi: {allowlist: '10.0.0.0/8, host', verify_client: optional, "
                       "http_extra_headers: {X-A: b}, request_queue_size: 9}\n");
    assert_string_equal(l.err.text, "");

    assert_string_equal(kv_get(&l.conf->pg_parameters_of[CONF_ROLE_REPLICA], "work_mem"), "1GB");
    assert_string_equal(l.conf->pg_hba_of[CONF_ROLE_PRIMARY].items[0].key, "local all all trust");
    assert_string_equal(l.conf->pg_ident_of[CONF_ROLE_STANDBY_LEADER].items[0].key, "a b c");
    assert_string_equal(l.conf->pg_proxy_address, "10.0.0.1:5432");
    assert_string_equal(kv_get(&l.conf->replication.ssl, "krbsrvname"), "pgsql");
    assert_string_equal(kv_get(&l.conf->superuser.ssl, "krbsrvname"), "pgsql");
    assert_int_equal(l.conf->restapi_allowlist.n, 2);
    assert_string_equal(l.conf->restapi_allowlist.items[1].key, "host");
    assert_string_equal(kv_get(&l.conf->restapi_http_extra_headers, "X-A"), "b");
    assert_int_equal(l.conf->restapi_request_queue_size, 9);
    load_end(&l);
}

static int enter_with_directory(void **state)
{
    return enter_scratch(state) < 0 ? -1 : mkdir("c", 0700);
}

static int leave_with_directory(void **state)
{
    (void)unlink("c/1.yml");
    (void)unlink("c/2.yml");
    return rmdir("c") < 0 ? -1 : leave_scratch(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_of_the_nodes_file_is_taken),
        cmocka_unit_test(every_dynamic_key_is_taken),
        cmocka_unit_test(the_schema_has_no_key_that_is_not_in_the_inventory),
        cmocka_unit_test(every_key_is_taken_over_or_named_by_a_reload),
        cmocka_unit_test(what_goes_away_is_a_change_too),
        cmocka_unit_test(another_mode_waits_for_a_restart_whole),
        cmocka_unit_test(older_spellings_are_the_newer_keys),
        cmocka_unit_test(what_is_read_ends_where_others_look_for_it),
    };

    return cmocka_run_group_tests(tests, enter_with_directory, leave_with_directory);
}
