/*
 * Sections of an operator's own name: what is kept of them, what is refused.
 */
#include "test_conf_common.h"

static void settings_are_kept_as_they_were_written(void **state)
{
    static const char *const pairs[][2] = {
        {"wal_g.command", "wal-g backup-fetch"},
        {"wal_g.keep_data", "true"},
        {"wal_g.no_params", "false"},
        {"wal_g.threads", "4"},
        {"wal_g.of", "a,b"},
    };
    struct load l;

    (void)state;
    load_text(&l, GOOD "  create_replica_methods: [wal_g, basebackup]\n"
                       "  wal_g: {command: wal-g backup-fetch, keep_data: on, no_params: no, "
                       "threads: 4, of: [a, b], none: }\n"
                       "bootstrap:\n  method: pitr\n"
                       "  pitr: {command: x, recovery_conf: {restore_command: cp %f %p, a: }}\n");
    assert_string_equal(l.err.text, "");
    assert_int_equal(l.conf->pg_replica_methods.n, 2);
    assert_int_equal(l.conf->pg_replica_settings.n, ARRAY_LENGTH(pairs));
    for (size_t i = 0; i < ARRAY_LENGTH(pairs); i++) {
        assert_string_equal(kv_get(&l.conf->pg_replica_settings, pairs[i][0]), pairs[i][1]);
    }
    assert_string_equal(l.conf->bootstrap_method, "pitr");
    assert_int_equal(l.conf->bootstrap_settings.n, 2);
    assert_string_equal(kv_get(&l.conf->bootstrap_settings, "pitr.recovery_conf.restore_command"),
                        "cp %f %p");
    load_end(&l);
}

static void a_method_that_is_unknown_or_has_no_command_is_refused(void **state)
{
    static const char *const rows[][2] = {
        {GOOD "bootstrap:\n  method: mine\n",
         "t.yml:12:3: bootstrap.method: unknown method, got \"mine\", expected initdb, or one that "
         "a section bootstrap.mine with a command is for"},
        {GOOD "bootstrap:\n  method: mine\n  mine: {threads: 1}\n",
         "t.yml:13:3: bootstrap.mine.command: missing, expected a command"},
        {GOOD "  create_replica_methods: [basebackup, mine]\n",
         "t.yml:11:3: postgresql.create_replica_methods: unknown method, got \"mine\", expected "
         "basebackup, or one that a section postgresql.mine with a command is for"},
        {GOOD "  create_replica_methods: [mine]\n  mine:\n",
         "t.yml:11:3: postgresql.create_replica_methods: unknown method, got \"mine\", expected "
         "basebackup, or one that a section postgresql.mine with a command is for"},
        {GOOD "  create_replica_methods: [mine]\n  mine: x\n",
         "t.yml:12:3: postgresql.mine: wrong type, expected a section with a command"},
        {GOOD "  create_replica_methods: [mine]\n  mine: {command: ''}\n",
         "t.yml:12:10: postgresql.mine.command: wrong type, got \"\", expected a command"},
        {GOOD "  create_replica_methods: [mine]\n  mine: {command: x, keep_data: some}\n",
         "t.yml:12:22: postgresql.mine.keep_data: wrong type, got \"some\", expected on or off"},
        {GOOD "  create_replica_methods: [mine]\n  mine: {command: x, a: {b: c}}\n",
         "t.yml:12:22: postgresql.mine.a: wrong type, got a section, expected a single value"},
        {GOOD "  create_replica_methods: [mine]\n  mine: {command: x, a: [{b: c}]}\n",
         "t.yml:12:22: postgresql.mine.a: wrong type, got a list, expected a single value"},
        {GOOD "  create_replica_methods: [a.b]\n  a.b: {command: x}\n",
         "t.yml:12:3: postgresql.a.b: not a name, expected ASCII letters, digits, - or _"},
        {WITNESS "bootstrap:\n  dcs:\n    postgresql:\n      create_replica_methods: [mine]\n"
                 "      mine: {threads: 1}\n",
         "t.yml:10:7: bootstrap.dcs.postgresql.mine.command: missing, expected a command"},
    };
    int n_wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct load l;

        load_text(&l, rows[i][0]);
        n_wrong += differs(rows[i][0], l.err.text, rows[i][1]);
        load_end(&l);
    }
    assert_int_equal(n_wrong, 0);
}

/* A method of the cluster may have its section in each node's file, which comes first. */
static void the_nodes_settings_come_before_the_clusters(void **state)
{
    static const char json[] =
        "{\"postgresql\": {\"create_replica_methods\": [\"a\", \"b\", \"c\"],"
        " \"a\": {\"command\": \"cluster a\", \"only\": \"there\"},"
        " \"b\": {\"command\": \"cluster b\", \"keep_data\": true}}}";
    struct conf_dynamic d;
    struct kv_list settings = {0};
    struct load l;

    (void)state;
    load_text(&l, GOOD "  create_replica_methods: [a, c]\n"
                       "  a: {command: mine}\n  c: {command: c}\n");
    assert_string_equal(l.err.text, "");
    assert_int_equal(conf_dynamic_parse(json, &d, keep_warning, &l, &l.err), 0);
    assert_string_equal(load_warnings(&l), "");
    assert_int_equal(d.replica_methods.n, 3);
    conf_merge_methods(l.conf, &d, &settings);

    assert_string_equal(kv_get(&settings, "a.command"), "mine");
    assert_false(kv_has(&settings, "a.only"));
    assert_string_equal(kv_get(&settings, "b.command"), "cluster b");
    assert_string_equal(kv_get(&settings, "b.keep_data"), "true");
    assert_string_equal(kv_get(&settings, "c.command"), "c");
    kv_deinit(&settings);
    conf_dynamic_deinit(&d);
    load_end(&l);
}

static void a_reload_takes_another_command(void **state)
{
    struct strbuf changed = {0}, restart = {0};
    struct load running, fresh;

    (void)state;
    load_text(&running, GOOD "  create_replica_methods: [a]\n  a: {command: old}\n"
                             "bootstrap:\n  method: x\n  x: {command: old}\n");
    load_text(&fresh, GOOD "  create_replica_methods: [a]\n  a: {command: new}\n"
                           "bootstrap:\n  method: x\n  x: {command: new}\n");

    conf_take(running.conf, fresh.conf, &changed, &restart);

    assert_string_equal(changed.data, "postgresql.<method>");
    assert_string_equal(restart.data, "");
    assert_string_equal(kv_get(&running.conf->pg_replica_settings, "a.command"), "new");
    assert_string_equal(kv_get(&running.conf->bootstrap_settings, "x.command"), "old");
    strbuf_deinit(&changed);
    strbuf_deinit(&restart);
    load_end(&running);
    load_end(&fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_are_kept_as_they_were_written),
        cmocka_unit_test(a_method_that_is_unknown_or_has_no_command_is_refused),
        cmocka_unit_test(the_nodes_settings_come_before_the_clusters),
        cmocka_unit_test(a_reload_takes_another_command),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
