/*
 * What is written into postgresql.conf, pg_hba.conf and the password file; names of
 * slots; the environment of children. Rendering is pure, so texts are compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/str.h"
#include "pg/pg_internal.h"
#include "pg/pg_spawn.h"

static struct kv_list parameters, recovery_conf, ssl;

static struct pg_options options(void)
{
    return (struct pg_options){
        .name = "pg-1",
        .scope = "demo",
        .data_dir = "/data",
        .config_dir = "/data",
        .listen_addresses = "127.0.0.1,10.0.0.1",
        .port = 5433,
        .database = "postgres",
        .pgpass = "/run/pgpass",
        .superuser = {"postgres", "super", NULL},
        .replication = {"replicator", "it's:a\\secret", &ssl},
        .rewind = {"postgres", "super", NULL},
        .parameters = &parameters,
        .recovery_conf = &recovery_conf,
        .config_base_name = "postgresql",
        .use_slots = true,
        .ttl_ms = 3000,
    };
}

static int clear(void **state)
{
    (void)state;
    kv_deinit(&parameters);
    kv_deinit(&recovery_conf);
    kv_deinit(&ssl);
    return 0;
}

static const struct pg_start standby = {
    .as_standby = true, .upstream = {.name = "pg-2", .host = "10.0.0.2", .port = 5432}};
static const struct pg_start primary = {.as_standby = false};

/* The caller frees. */
static char *render(const struct pg_options *o, const struct pg_start *start)
{
    struct pg_render r = {.o = o, .major = 15, .start = start, .has_base = true};
    struct strbuf out = {0};

    pg_conf_render(&r, &out);
    return out.data;
}

static void a_standby_gets_this_file(void **state)
{
    struct pg_options o = options();
    char *text;

    (void)state;
    kv_add(&parameters, "work_mem", "16MB");
    kv_add(&recovery_conf, "restore_command", "cp '/archive/%f' %p");
    text = render(&o, &standby);

    assert_string_equal(
        text, "# Written by Veche at every start and reload: changes made here are lost.\n"
              "# Change the configuration of the agent or of the cluster instead.\n"
              "include 'postgresql.base.conf'\n"
              "\n"
              "cluster_name = 'demo'\n"
              "hot_standby = 'on'\n"
              "listen_addresses = '127.0.0.1,10.0.0.1'\n"
              "max_connections = '100'\n"
              "max_locks_per_transaction = '64'\n"
              "max_prepared_transactions = '0'\n"
              "max_replication_slots = '10'\n"
              "max_wal_senders = '10'\n"
              "max_worker_processes = '8'\n"
              "port = '5433'\n"
              "tcp_keepalives_count = '3'\n"
              "tcp_keepalives_idle = '1'\n"
              "tcp_keepalives_interval = '1'\n"
              "tcp_user_timeout = '3000'\n"
              "track_commit_timestamp = 'off'\n"
              "wal_keep_size = '128MB'\n"
              "wal_level = 'replica'\n"
              "wal_log_hints = 'on'\n"
              "wal_receiver_status_interval = '1s'\n"
              "wal_receiver_timeout = '3000ms'\n"
              "wal_sender_timeout = '3000ms'\n"
              "work_mem = '16MB'\n"
              "hba_file = '/data/pg_hba.conf'\n"
              "ident_file = '/data/pg_ident.conf'\n"
              "\n"
              "# Recovery\n"
              "recovery_target = ''\n"
              "recovery_target_lsn = ''\n"
              "recovery_target_name = ''\n"
              "recovery_target_time = ''\n"
              "recovery_target_xid = ''\n"
              "recovery_target_timeline = 'latest'\n"
              "primary_conninfo = 'user=replicator passfile=/run/pgpass host=10.0.0.2 port=5432 "
              "dbname=postgres application_name=pg-1 sslmode=prefer gssencmode=prefer "
              "channel_binding=prefer'\n"
              "primary_slot_name = 'pg_1'\n"
              "restore_command = 'cp ''/archive/%f'' %p'\n");
    free(text);
}

static void a_primary_follows_nobody(void **state)
{
    struct pg_options o = options();
    char *text = render(&o, &primary);

    (void)state;
    assert_non_null(strstr(text, "\nprimary_conninfo = ''\n"));
    assert_non_null(strstr(text, "\nprimary_slot_name = ''\n"));
    free(text);
}

static void each_role_has_lists_of_its_own(void **state)
{
    struct kv_list mine = {0};
    struct pg_options o = options(), of_role;
    char *text;

    (void)state;
    kv_add(&mine, "work_mem", "1GB");
    o.primary_parameters = &mine;
    pg_options_of_role(&o, true, &of_role);
    text = render(&of_role, &standby);
    assert_null(strstr(text, "work_mem"));
    free(text);
    pg_options_of_role(&o, false, &of_role);
    text = render(&of_role, &primary);
    assert_non_null(strstr(text, "\nwork_mem = '1GB'\n"));
    free(text);
    kv_deinit(&mine);
}

static void values_are_shown_with_their_unit(void **state)
{
    static const struct {
        const char *value, *unit, *shown;
    } rows[] = {
        {"16384", "8kB", "128MB"}, {"128MB", "8kB", "128MB"}, {"1", "8kB", "8kB"},
        {"60000", "ms", "1min"},   {"90", "s", "90s"},        {"0", "s", "0"},
        {"-1", "kB", "-1"},        {"100", "", "100"},        {"5", "parsec", "5"},
        {"1048576", "kB", "1GB"},  {"on", "", "on"},          {"1440", "min", "1d"},
    };
    char text[NAME_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        pg_param_humanize(rows[i].value, rows[i].unit, text, sizeof(text));
        assert_string_equal(text, rows[i].shown);
    }
}

static void no_value_becomes_a_line_of_its_own(void **state)
{
    struct pg_options o = options();
    char *text;

    (void)state;
    kv_add(&parameters, "application_name", "x'\nport = 1\n\\'");
    kv_add(&parameters, "bad name\nport", "1");
    kv_add(&parameters, "bad=name", "1");
    kv_add(&parameters, "my.extension", "fine");
    text = render(&o, &primary);

    assert_non_null(strstr(text, "\napplication_name = 'x''\\nport = 1\\n\\\\'''\n"));
    assert_null(strstr(text, "bad"));
    assert_non_null(strstr(text, "\nmy.extension = 'fine'\n"));
    free(text);
}

static void what_a_version_lost_is_left_out_or_translated(void **state)
{
    struct pg_options o = options();
    char *text;

    (void)state;
    kv_add(&parameters, "stats_temp_directory", "/run/stats");
    kv_add(&parameters, "old_snapshot_threshold", "1h"); /* Gone with 17. */
    kv_add(&parameters, "wal_keep_segments", "20");
    text = render(&o, &primary);

    assert_null(strstr(text, "stats_temp_directory"));
    assert_non_null(strstr(text, "old_snapshot_threshold = '1h'"));
    assert_null(strstr(text, "wal_keep_segments"));
    assert_non_null(strstr(text, "\nwal_keep_size = '320MB'\n"));
    free(text);
}

static void controlled_values_have_bounds(void **state)
{
    struct pg_options o = options();
    struct kv_list out = {0};

    (void)state;
    kv_add(&parameters, "max_connections", "10"); /* The minimum is 25. */
    kv_add(&parameters, "max_wal_senders", "a lot");
    kv_add(&parameters, "wal_level", "minimal");
    kv_add(&parameters, "wal_log_hints", "true");
    kv_add(&parameters, "hot_standby", "off");
    kv_add(&parameters, "port", "1");
    kv_add(&parameters, "max_worker_processes", "20");
    assert_false(pg_params_controlled(&o, NULL, true, &out));

    assert_string_equal(kv_get(&out, "max_connections"), "100");
    assert_string_equal(kv_get(&out, "max_wal_senders"), "10");
    assert_string_equal(kv_get(&out, "wal_level"), "replica");
    assert_string_equal(kv_get(&out, "wal_log_hints"), "on");
    assert_string_equal(kv_get(&out, "hot_standby"), "on");
    assert_string_equal(kv_get(&out, "port"), "5433");
    assert_string_equal(kv_get(&out, "max_worker_processes"), "20");
    kv_deinit(&out);
}

/* The primary had 200 connections when the standby's WAL was written. */
static void a_standby_does_not_undercut_its_primary(void **state)
{
    struct pg_options o = options();
    struct pg_control control = {.max_connections = 200, .max_wal_senders = 5};
    struct kv_list out = {0};

    (void)state;
    assert_true(pg_params_controlled(&o, &control, true, &out));
    assert_string_equal(kv_get(&out, "max_connections"), "200");
    assert_string_equal(kv_get(&out, "max_wal_senders"), "10");
    kv_deinit(&out);
}

static void timeouts_follow_ttl_unless_set(void **state)
{
    struct pg_options o = options();
    char *text;

    (void)state;
    kv_add(&parameters, "tcp_user_timeout", "60000"); /* Longer than the lease: no. */
    kv_add(&parameters, "wal_sender_timeout", "1min");
    o.ttl_ms = 30000;
    text = render(&o, &primary);

    assert_non_null(strstr(text, "\ntcp_user_timeout = '30000'\n"));
    assert_non_null(strstr(text, "\nwal_sender_timeout = '1min'\n"));
    assert_non_null(strstr(text, "\nwal_receiver_timeout = '30000ms'\n"));
    assert_non_null(strstr(text, "\nwal_receiver_status_interval = '1s'\n"));
    assert_non_null(strstr(text, "\ntcp_keepalives_idle = '10'\n"));
    free(text);
}

static void recovery_is_decided_by_us_alone(void **state)
{
    struct pg_options o = options();
    char *text;

    (void)state;
    kv_add(&recovery_conf, "recovery_target_time", "2026-01-01");
    kv_add(&recovery_conf, "primary_conninfo", "host=evil");
    kv_add(&parameters, "primary_slot_name", "evil");
    kv_add(&parameters, "restore_command", "fetch %f %p");
    text = render(&o, &standby);

    assert_null(strstr(text, "2026"));
    assert_null(strstr(text, "evil"));
    assert_non_null(strstr(text, "\nrestore_command = 'fetch %f %p'\n"));
    free(text);
}

static void no_secret_is_in_a_connection_string(void **state)
{
    struct pg_options o = options();
    struct upstream upstream = {.name = "x", .host = "a b'c\\", .port = 1};
    char text[1024], small[32], host[HOST_SIZE];
    uint16_t port;

    (void)state;
    kv_add(&ssl, "sslmode", "verify-full");
    kv_add(&ssl, "sslpassword", "hidden");
    (void)pg_conf_conninfo(&o, &upstream, text, sizeof(text)); /* For a file of 0600. */
    assert_null(strstr(text, "secret"));
    assert_non_null(strstr(text, " sslpassword=hidden "));
    assert_null(strstr(text, "service="));
    assert_non_null(strstr(text, "sslmode=verify-full"));
    assert_non_null(strstr(text, "host='a b\\'c\\\\'"));
    pg_row_parse_conninfo(text, host, sizeof(host), &port);
    assert_string_equal(host, "a b'c\\");
    assert_int_equal(port, 1);
    /* Cut off it might lead to another server. */
    assert_string_equal(pg_conf_conninfo(&o, &upstream, small, sizeof(small)), "host=/dev/null");
    pg_row_parse_conninfo("host='unclosed", host, sizeof(host), &port);
    assert_string_equal(host, "");
    assert_int_equal(port, 0);
}

static void the_password_file_escapes(void **state)
{
    struct pg_options o = options();
    struct strbuf out = {0};

    (void)state;
    pg_conf_render_pgpass(&o, &out);
    assert_string_equal(out.data, "# Written by Veche.\n"
                                  "*:*:*:replicator:it's\\:a\\\\secret\n"
                                  "*:*:*:postgres:super\n");
    strbuf_deinit(&out);
    o.replication.password = "a\n*:*:*:x:y";
    pg_conf_render_pgpass(&o, &out);
    assert_string_equal(out.data, "# Written by Veche.\n*:*:*:postgres:super\n");
    strbuf_deinit(&out);
}

static void the_auto_file_loses_recovery_parameters_only(void **state)
{
    struct strbuf out = {0};

    (void)state;
    assert_true(pg_conf_strip_auto("# Do not edit\n"
                                   "primary_conninfo = 'host=x'\n"
                                   "  restore_command='x'\n"
                                   "work_mem = '1MB'\n"
                                   "recovery_target_timeline = '3'",
                                   false, &out));
    assert_string_equal(out.data, "# Do not edit\nwork_mem = '1MB'\n");
    strbuf_deinit(&out);
    assert_false(pg_conf_strip_auto("work_mem = '1MB'\n", true, &out));
    strbuf_deinit(&out);
    assert_false(pg_conf_strip_auto("synchronous_standby_names = ''\n", false, &out));
    strbuf_deinit(&out);
    assert_true(pg_conf_strip_auto("synchronous_standby_names = ''\na = 'b'\n", true, &out));
    assert_string_equal(out.data, "a = 'b'\n");
    strbuf_deinit(&out);
}

static void a_closed_gate_admits_standbys_and_us(void **state)
{
    /* With a password, and without one; what is narrowed and what is left out. */
    static const char lines[] = "# old\n"
                                "local all all trust\n"
                                "host replication repl 10.0.0.0/8 md5\r\n"
                                "  hostssl app, replication  all 0.0.0.0/0 cert\n"
                                "host all app 10.0.0.0/8 md5\n"
                                "host \"replication\" \"a b\",postgres 10.1.0.0/16 md5\n"
                                "host sameuser +dba,x samenet peer map=m\n"
                                "include other.conf";
    struct pg_options o = {.superuser = {.user = "postgres", .password = "x"},
                           .rewind = {.user = "rewinder"}};
    struct strbuf out = {0};

    (void)state;
    pg_gate_render(&o, lines, &out);
    assert_string_equal(out.data,
                        PG_GATE_HEADER "local all \"postgres\" md5\n"
                                       "host all \"postgres\" samehost md5\n"
                                       "local all \"rewinder\" trust\n"
                                       "host replication repl 10.0.0.0/8 md5\n"
                                       "  hostssl app, replication  all 0.0.0.0/0 cert\n"
                                       "host \"replication\" \"a b\",postgres 10.1.0.0/16 md5\n"
                                       "host sameuser \"rewinder\" samenet peer map=m\n");
    strbuf_deinit(&out);
    o.superuser.password = NULL;
    o.superuser.user = o.rewind.user = "po\"s";
    pg_gate_render(&o, lines, &out);
    assert_string_equal(out.data,
                        PG_GATE_HEADER "local all \"po\"\"s\" trust\n"
                                       "host replication repl 10.0.0.0/8 md5\n"
                                       "  hostssl app, replication  all 0.0.0.0/0 cert\n"
                                       "host \"replication\" \"a b\",postgres 10.1.0.0/16 md5\n"
                                       "host sameuser \"po\"\"s\" samenet peer map=m\n");
    strbuf_deinit(&out);
}

static void a_copy_streams_under_a_name_of_its_own(void **state)
{
    /* Else its stream of WAL would count as the standby's. */
    static struct pg_opts opts;
    static struct pg pg = {.opts = &opts};
    char text[1024];

    (void)state;
    opts.o = options();
    assert_non_null(
        strstr(pg_conninfo(&pg, &standby.upstream, text, sizeof(text)), " application_name=pg-1 "));
    assert_non_null(strstr(pg_clone_conninfo(&pg, &standby.upstream, text, sizeof(text)),
                           " application_name='pg-1 (copy)' "));
}

static void an_sslpassword_is_in_a_file_and_on_no_command_line(void **state)
{
    static struct pg_opts opts;
    static struct pg pg = {.opts = &opts};
    static const char *(*const texts[])(const struct pg *, const struct upstream *, char *,
                                        size_t) = {pg_conninfo, pg_clone_conninfo,
                                                   pg_rewind_conninfo};
    struct kv_list of_rewind = {0};
    struct strbuf path = {0}, file = {0};
    char text[1024];

    (void)state;
    opts.o = options();
    pg_service_file(&pg, &path, &file);
    assert_int_equal(path.length + file.length, 0);

    kv_add(&ssl, "sslpassword", "hid den=#1");
    kv_add(&of_rewind, "sslpassword", "other");
    opts.o.rewind.ssl = &of_rewind;
    pg_service_file(&pg, &path, &file);
    assert_string_equal(path.data, "/run/pgpass.service");
    assert_string_equal(file.data, "[veche-replication]\nsslpassword=hid den=#1\n"
                                   "[veche-rewind]\nsslpassword=other\n");
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        (void)texts[i](&pg, &standby.upstream, text, sizeof(text));
        assert_null(strstr(text, "sslpassword"));
        assert_null(strstr(text, "hid"));
        assert_non_null(
            strstr(text, i == 2 ? " service=veche-rewind " : " service=veche-replication "));
    }
    strbuf_deinit(&file);
    strbuf_deinit(&path);

    kv_set(&ssl, "sslpassword", "a\nhost=evil"); /* Not to be told to libpq in a file. */
    kv_set(&of_rewind, "sslpassword", "blank ");
    pg_service_file(&pg, &path, &file);
    assert_string_equal(file.data, "[veche-replication]\nsslpassword=\n"
                                   "[veche-rewind]\nsslpassword=\n");
    strbuf_deinit(&file);
    strbuf_deinit(&path);
    kv_deinit(&of_rewind);
}

static void for_whom_commits_wait_is_always_quoted(void **state)
{
    /* What the user says of it counts only while no mode is on. */
    struct pg_options o = options();
    struct pg_start start = {.as_standby = true};
    struct pg_render r = {.o = &o, .major = 15, .start = &start};
    struct strbuf out = {0};

    (void)state;
    kv_add(&parameters, "synchronous_standby_names", "*");
    pg_conf_render(&r, &out);
    assert_non_null(strstr(out.data, "\nsynchronous_standby_names = '*'\n"));
    assert_null(strstr(out.data, "restart_after_crash"));
    strbuf_deinit(&out);
    start.sync = (struct sync_wait){SYNC_WAIT_NAME, "pg-2"};
    pg_conf_render(&r, &out);
    assert_non_null(strstr(out.data, "\nsynchronous_standby_names = '\"pg-2\"'\n"));
    assert_non_null(strstr(out.data, "\nrestart_after_crash = 'off'\n"));
    assert_null(strstr(out.data, "'*'"));
    strbuf_deinit(&out);
    start.sync = (struct sync_wait){.kind = SYNC_WAIT_FOREVER};
    pg_conf_render(&r, &out);
    assert_non_null(strstr(out.data, " = '\"" PG_SYNC_PLACEHOLDER "\"'\n"));
    strbuf_deinit(&out);
}

static void lines_with_a_line_end_inside_are_left_out(void **state)
{
    struct kv_list lines = {0};
    struct strbuf out = {0};

    (void)state;
    kv_add(&lines, "local all all trust", NULL);
    kv_add(&lines, "host x x 0.0.0.0/0 reject\nhost all all 0.0.0.0/0 trust", NULL);
    pg_conf_render_lines(&lines, "pg_hba.conf", &out);
    assert_non_null(strstr(out.data, "\nlocal all all trust\n"));
    assert_null(strstr(out.data, "0.0.0.0"));
    strbuf_deinit(&out);
    kv_deinit(&lines);
}

static void slot_names_are_patronis(void **state)
{
    char text[NAME_SIZE];
    char longest[] = "123456789012345678901234567890123456789012345678901234567890ABC";

    (void)state;
    assert_string_equal(slot_name("pg-1", text, sizeof(text)), "pg_1");
    assert_string_equal(slot_name("Node.A_2", text, sizeof(text)), "node_a_2");
    assert_string_equal(slot_name("a'b", text, sizeof(text)), "au0027b");
    assert_string_equal(slot_name(longest, text, sizeof(text)),
                        "123456789012345678901234567890123456789012345678901234567890abc");
}

static bool has_entry(char **environment, const char *prefix)
{
    for (char **entry = environment; *entry != NULL; entry++) {
        if (str_starts_with(*entry, prefix)) {
            return true;
        }
    }
    return false;
}

static void children_do_not_get_our_variables(void **state)
{
    static const char *const dropped[] = {"VECHE_X",    "PATRONI_NAME", "NOTIFY_SOCKET",
                                          "PGPASSWORD", "PGHOST",       "WATCHDOG_USEC"};
    struct kv_list env = {0};
    char **environment;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(dropped); i++) {
        setenv(dropped[i], "x", 1);
    }
    setenv("KEPT", "yes", 1);
    setenv("REPLACED", "old", 1);
    kv_add(&env, "REPLACED", "new");
    kv_add(&env, "PGPASSFILE", "/file");
    environment = pg_spawn_environment(&env);

    for (size_t i = 0; i < ARRAY_LENGTH(dropped); i++) {
        assert_false(has_entry(environment, dropped[i]));
        unsetenv(dropped[i]);
    }
    assert_true(has_entry(environment, "KEPT=yes"));
    assert_true(has_entry(environment, "REPLACED=new"));
    assert_false(has_entry(environment, "REPLACED=old"));
    assert_true(has_entry(environment, "PGPASSFILE=/file"));
    pg_spawn_free_environment(environment);
    kv_deinit(&env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_standby_gets_this_file, clear),
        cmocka_unit_test_teardown(a_primary_follows_nobody, clear),
        cmocka_unit_test_teardown(each_role_has_lists_of_its_own, clear),
        cmocka_unit_test_teardown(values_are_shown_with_their_unit, clear),
        cmocka_unit_test_teardown(no_value_becomes_a_line_of_its_own, clear),
        cmocka_unit_test_teardown(what_a_version_lost_is_left_out_or_translated, clear),
        cmocka_unit_test_teardown(controlled_values_have_bounds, clear),
        cmocka_unit_test_teardown(a_standby_does_not_undercut_its_primary, clear),
        cmocka_unit_test_teardown(timeouts_follow_ttl_unless_set, clear),
        cmocka_unit_test_teardown(recovery_is_decided_by_us_alone, clear),
        cmocka_unit_test_teardown(no_secret_is_in_a_connection_string, clear),
        cmocka_unit_test_teardown(the_password_file_escapes, clear),
        cmocka_unit_test_teardown(the_auto_file_loses_recovery_parameters_only, clear),
        cmocka_unit_test_teardown(a_closed_gate_admits_standbys_and_us, clear),
        cmocka_unit_test_teardown(an_sslpassword_is_in_a_file_and_on_no_command_line, clear),
        cmocka_unit_test_teardown(for_whom_commits_wait_is_always_quoted, clear),
        cmocka_unit_test_teardown(a_copy_streams_under_a_name_of_its_own, clear),
        cmocka_unit_test_teardown(lines_with_a_line_end_inside_are_left_out, clear),
        cmocka_unit_test_teardown(slot_names_are_patronis, clear),
        cmocka_unit_test_teardown(children_do_not_get_our_variables, clear),
    };

    log_init("test", LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
