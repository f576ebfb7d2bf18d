/*
 * Texts an operator reads, compared with files that are changed by intention
 * only: --print-config, docs/CONFIG.md, and what the four installations get to
 * hear. `test_conf_golden --print NAME` prints a text; nothing here writes one.
 */
#include "test_conf_common.h"

#include "conf/conf_sample.h"
#include "conf/conf_schema.h"

#define GOLDEN(name) GOLDEN_DIR "/" name

/* The output of a printer; the caller frees. */
static char *printed(const struct conf *c)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    if (c != NULL) {
        conf_print(c, out);
    } else {
        conf_print_reference(out);
    }
    assert_int_equal(fclose(out), 0);
    return text;
}

static void compare(const char *got, const char *path)
{
    char *expected = read_file(path);

    assert_non_null(expected);
    assert_string_equal(got, expected);
    free(expected);
}

static void print_config_shows_what_is_in_force_and_no_secret(void **state)
{
    struct load l;
    char *text;

    (void)state;
    load_path(&l, GOLDEN("conf_full.yml"));
    assert_string_equal(l.err.text, "");
    text = printed(l.conf);

    compare(text, GOLDEN("conf_full.print"));

    assert_null(strstr(text, "never shown"));
    assert_null(strstr(text, "nevershown"));
    free(text);
    load_end(&l);
}

static void what_print_config_printed_means_the_same_when_read_again(void **state)
{
    struct load first;
    struct load second;
    char *text;
    char *again;

    (void)state;
    load_path(&first, GOLDEN("conf_full.yml"));
    assert_non_null(first.conf);
    text = printed(first.conf);

    load_text(&second, text);

    assert_string_equal(second.err.text, "");
    again = printed(second.conf);
    assert_string_equal(again, text);
    free(text);
    free(again);
    load_end(&first);
    load_end(&second);
}

static void the_reference_in_docs_is_in_step_with_the_schema(void **state)
{
    char *text = printed(NULL);

    (void)state;
    compare(text, GOLDEN("../../docs/CONFIG.md"));
    free(text);
}

/* Every key once, and no line that troff would take for a request of its own. */
static void the_manual_has_every_key(void **state)
{
    static const char *const requests[] = {".TH ", ".SH ", ".SS ", ".TP", ".PP", ".B "};
    const struct conf_schema *const schemas[] = {&conf_schema_local, &conf_schema_dynamic};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    char *rest;
    char *line;

    (void)state;
    assert_non_null(out);
    conf_print_manual(out);
    assert_int_equal(fclose(out), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(schemas); i++) {
        for (size_t k = 0; k < schemas[i]->n_rows; k++) {
            const struct conf_row *row = &schemas[i]->rows[k];
            char expected[300];

            (void)snprintf(expected, sizeof(expected),
                           row->type == CONF_SECTION ? "\n.SS %s:\n" : "\n\\fB%s\\fR (", row->path);
            assert_non_null(strstr(text, expected));
        }
    }
    rest = text;
    while ((line = strsep(&rest, "\n")) != NULL) {
        bool known = line[0] != '.' && line[0] != '\'';

        for (size_t i = 0; i < ARRAY_LENGTH(requests) && !known; i++) {
            known = str_starts_with(line, requests[i]);
        }
        assert_true(known);
    }
    free(text);
}

/* Warnings without the directory of this checkout. */
static void expect_warnings(const struct load *l, const char *const *expected, size_t n)
{
    char *copy = xstrdup(load_warnings(l));
    char *rest = copy;
    size_t i = 0;

    for (char *line; (line = strsep(&rest, "\n")) != NULL && line[0] != '\0'; i++) {
        char *name = strstr(line, "/installations/");

        assert_non_null(name);
        assert_true(i < n);
        assert_string_equal(name + strlen("/installations/"), expected[i]);
    }
    assert_int_equal(i, n);
    free(copy);
}

static void the_first_installation_loads(void **state)
{
    static const char *const warnings[] = {
        "i1.yml:9:1: etcd3: not used: raft: takes its place",
    };
    struct conf_dynamic d;
    struct load l;

    (void)state;
    load_path(&l, GOLDEN("installations/i1.yml"));
    assert_string_equal(l.err.text, "");

    expect_warnings(&l, warnings, ARRAY_LENGTH(warnings));
    assert_int_equal(conf_dynamic_parse(l.conf->bootstrap_dcs, &d, NULL, NULL, NULL), 0);
    assert_string_equal(kv_get(&d.parameters, "ssl"), "on");
    assert_string_equal(kv_get(&d.parameters, "ssl_min_protocol_version"), "TLSv1.3");
    assert_int_equal(l.conf->n_raft_partners, 2);
    conf_dynamic_deinit(&d);
    load_end(&l);
}

static void the_second_installation_loads(void **state)
{
    static const char *const warnings[] = {
        "i2.yml:13:3: log.loggers: has no effect: modules of Patroni's interpreter",
        "i2.yml:21:1: etcd: not used: raft: takes its place",
    };
    struct kv_list merged = {0};
    struct conf_dynamic d;
    struct load l;

    (void)state;
    load_path(&l, GOLDEN("installations/i2.yml"));
    assert_string_equal(l.err.text, "");

    expect_warnings(&l, warnings, ARRAY_LENGTH(warnings));
    assert_int_equal(conf_dynamic_parse(l.conf->bootstrap_dcs, &d, NULL, NULL, NULL), 0);
    conf_merge_parameters(l.conf, &d, &merged);
    assert_string_equal(kv_get(&merged, "wal_keep_size"), "128MB");
    assert_string_equal(kv_get(&merged, "wal_log_hints"), "on");
    assert_string_equal(kv_get(&merged, "checkpoint_completion_target"), "0.7");
    assert_int_equal(d.maximum_lag_on_failover, 0);
    assert_string_equal(d.synchronous_mode, "on");
    assert_true(!d.synchronous_mode_strict && d.synchronous_node_count == 1);
    assert_string_equal(l.conf->raft_password, "the #2 secret");
    assert_string_equal(kv_get(&l.conf->bootstrap_users, "repl"),
                        "repl-pass\tcreaterole,createdb,replication");
    assert_string_equal(l.conf->log_level, "WARNING");
    kv_deinit(&merged);
    conf_dynamic_deinit(&d);
    load_end(&l);
}

static void the_third_installation_loads(void **state)
{
    static const char *const warnings[] = {
        "i3.yml:9:1: etcd3: not used: raft: takes its place",
    };
    struct conf_dynamic d;
    struct load l;

    (void)state;
    load_path(&l, GOLDEN("installations/i3.yml"));
    assert_string_equal(l.err.text, "");

    expect_warnings(&l, warnings, ARRAY_LENGTH(warnings));
    assert_int_equal(conf_dynamic_parse(l.conf->bootstrap_dcs, &d, NULL, NULL, NULL), 0);
    assert_int_equal(d.ttl_ms, 60000);
    assert_int_equal(d.retry_timeout_ms, 20000);
    assert_string_equal(kv_get(&d.parameters, "hot_standby"), "on");
    assert_string_equal(kv_get(&d.parameters, "max_wal_senders"), "3");
    assert_string_equal(l.conf->raft_partner_addrs[1], "192.168.0.23:7400");
    conf_dynamic_deinit(&d);
    load_end(&l);
}

static void the_fourth_installation_loads(void **state)
{
    static const char *const warnings[] = {
        "i4.yml:12:1: etcd3: not used: raft: takes its place",
        ("i4.yml:25:5: bootstrap.dcs.ttl: loop_wait + 2 * retry_timeout must not exceed ttl, got "
         "10 "
         "+ 2 * 27 > 60 s; using loop_wait 6 and retry_timeout 27"),
    };
    struct conf_dynamic d;
    struct load l;

    (void)state;
    load_path(&l, GOLDEN("installations/i4.yml"));
    assert_string_equal(l.err.text, "");

    expect_warnings(&l, warnings, ARRAY_LENGTH(warnings));
    assert_int_equal(conf_dynamic_parse(l.conf->bootstrap_dcs, &d, NULL, NULL, NULL), 0);
    assert_int_equal(d.primary_start_timeout_ms, 300000);
    assert_string_equal(kv_get(&d.parameters, "hot_standby_feedback"), "True");
    assert_string_equal(kv_get(&d.parameters, "auto_explain.log_min_duration"), "10s");
    assert_string_equal(kv_get(&d.parameters, "wal_keep_size"), "2080MB");
    assert_string_equal(kv_get(&l.conf->pg_parameters, "stats_temp_directory"),
                        "/var/lib/pgsql_stats_tmp");
    assert_string_equal(l.conf->pg_config_dir, "/etc/postgresql/16/main");
    assert_string_equal(l.conf->pg_listen_addresses, "10.73.0.160,127.0.0.1");
    assert_string_equal(kv_get(&l.conf->pg_basebackup, "max-rate"), "100M");
    assert_true(l.conf->pg_use_unix_socket);
    conf_dynamic_deinit(&d);
    load_end(&l);
}

static void the_sample_file_loads(void **state)
{
    char *sample = read_file(GOLDEN("../../deploy/veche.yml.sample"));
    struct load l;
    char *place;

    (void)state;
    assert_non_null(sample);
    place = strstr(sample, "password_file: /etc/veche/secret");
    assert_non_null(place);
    memcpy(place, "password: /etc/veche/secret     ", strlen("password_file: /etc/veche/secret"));

    load_text(&l, sample);

    assert_string_equal(l.err.text, "");
    assert_null(strstr(load_warnings(&l), "unknown"));
    free(sample);
    load_end(&l);
}

/* Values that YAML would read as something else, or not at all. */
static void a_file_that_is_generated_means_what_was_found(void **state)
{
    struct conf_sample s = {
        .name = "pg-1",
        .scope = "main",
        .host = "fd00::1",
        .raft_password = "0123",
        .source = "A test",
        .listen_addresses = "*",
        .port = 5433,
        .data_dir = "/data dir",
        .bin_dir = "/bin",
        .config_dir = "/etc/pg: #1",
        .superuser = "post\"gres",
        .superuser_password = "it's #1: \\ {secret}",
    };
    struct conf_dynamic d;
    struct load l;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    (void)state;
    assert_non_null(out);
    kv_add(&s.parameters, "max_connections", "300");
    kv_add(&s.parameters, "log_line_prefix", "%m [%p] ");
    kv_add(&s.parameters, "work_mem", "");
    kv_add(&s.recovery_conf, "restore_command", "cp \"/a/%f\" '%p'");
    kv_add(&s.hba, "local all all trust # all: of them", NULL);
    kv_add(&s.ident, "map \"a b\" c", NULL);

    conf_print_sample(&s, out);
    assert_int_equal(fclose(out), 0);
    load_text(&l, text);

    assert_string_equal(l.err.text, "");
    assert_string_equal(load_warnings(&l), "");
    assert_string_equal(l.conf->raft_self_addr, "[fd00::1]:7400");
    assert_string_equal(l.conf->raft_password, "0123");
    assert_string_equal(l.conf->pg_listen_addresses, "*");
    assert_int_equal(l.conf->pg_port, 5433);
    assert_string_equal(l.conf->pg_data_dir, "/data dir");
    assert_string_equal(l.conf->pg_config_dir, "/etc/pg: #1");
    assert_string_equal(l.conf->superuser.username, "post\"gres");
    assert_string_equal(l.conf->superuser.password, "it's #1: \\ {secret}");
    assert_string_equal(kv_get(&l.conf->pg_parameters, "log_line_prefix"), "%m [%p] ");
    assert_string_equal(kv_get(&l.conf->pg_parameters, "work_mem"), "");
    assert_string_equal(kv_get(&l.conf->pg_recovery_conf, "restore_command"), "cp \"/a/%f\" '%p'");
    assert_string_equal(l.conf->pg_hba.items[0].key, "local all all trust # all: of them");
    assert_string_equal(l.conf->pg_ident.items[0].key, "map \"a b\" c");
    assert_int_equal(conf_dynamic_parse(l.conf->bootstrap_dcs, &d, NULL, NULL, NULL), 0);
    assert_string_equal(kv_get(&d.parameters, "max_connections"), "300");
    assert_null(kv_get(&l.conf->pg_parameters, "max_connections"));
    conf_dynamic_deinit(&d);
    kv_deinit(&s.parameters);
    kv_deinit(&s.recovery_conf);
    kv_deinit(&s.hba);
    kv_deinit(&s.ident);
    free(text);
    load_end(&l);
}

static int print(const char *name)
{
    struct err err;
    struct conf *c;

    if (strcmp(name, "reference") == 0) {
        conf_print_reference(stdout);
        return 0;
    }
    c = conf_load(name, NULL, NULL, &err);
    if (c == NULL) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    conf_print(c, stdout);
    conf_free(c);
    return 0;
}

/* --print reference, or --print FILE for --print-config of it. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(print_config_shows_what_is_in_force_and_no_secret),
        cmocka_unit_test(what_print_config_printed_means_the_same_when_read_again),
        cmocka_unit_test(the_reference_in_docs_is_in_step_with_the_schema),
        cmocka_unit_test(the_manual_has_every_key),
        cmocka_unit_test(the_first_installation_loads),
        cmocka_unit_test(the_second_installation_loads),
        cmocka_unit_test(the_third_installation_loads),
        cmocka_unit_test(the_fourth_installation_loads),
        cmocka_unit_test(the_sample_file_loads),
        cmocka_unit_test(a_file_that_is_generated_means_what_was_found),
    };

    if (argc == 3 && strcmp(argv[1], "--print") == 0) {
        return print(argv[2]);
    }
    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
