/*
 * vechectl migrate on the configuration files of the four installations, on one with a bootstrap
 * method, callbacks and older spellings of its own, and on one that writes its values once and
 * names them: each result is a golden file, and an agent takes it.
 * `test_cli_migrate --print NAME` prints one.
 */
#include "test_conf_common.h"

#include "cli/cli.h"
#include "conf/conf_migrate.h"

static char *migrated(const char *name, const char *partner, struct err *err)
{
    struct kv_list partners = {0};
    struct conf_migration m;
    char path[300];
    char *text = NULL;
    size_t size = 0;
    FILE *out;

    (void)snprintf(path, sizeof(path), GOLDEN_DIR "/patroni/%s.yml", name);
    if (partner != NULL) {
        kv_add(&partners, partner, NULL);
    }
    if (conf_migrate(path, &partners, &m, err) == 0) {
        out = open_memstream(&text, &size);
        assert_non_null(out);
        cli_print_migration(&m, path, out);
        assert_int_equal(fclose(out), 0);
    }
    conf_migration_deinit(&m);
    kv_deinit(&partners);
    return text;
}

/* Without the directory of this checkout. */
static void remove_all(char *text, const char *part)
{
    for (char *at = text; (at = strstr(at, part)) != NULL;) {
        memmove(at, at + strlen(part), strlen(at + strlen(part)) + 1);
    }
}

static void each_installation_becomes_its_golden_file(void **state)
{
    static const char *const names[] = {"i1", "i2", "i3", "i4", "custom", "anchors"};
    int n_wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        struct err err = {""};
        char path[300];
        char *text = migrated(names[i], NULL, &err);
        char *expected;

        assert_string_equal(err.text, "");
        remove_all(text, GOLDEN_DIR "/patroni/");
        (void)snprintf(path, sizeof(path), GOLDEN_DIR "/patroni/%s.veche", names[i]);
        expected = read_file(path);
        assert_non_null(expected);
        n_wrong += differs(names[i], text, expected);
        free(expected);
        free(text);
    }
    assert_int_equal(n_wrong, 0);
}

static void an_agent_takes_each_result(void **state)
{
    static const char *const names[] = {"i1", "i2", "i3", "i4", "custom", "anchors"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        struct err err = {""};
        char *text = migrated(names[i], NULL, &err);
        struct load l;

        assert_non_null(text);
        load_text(&l, text);
        assert_string_equal(l.err.text, "");
        assert_null(strstr(load_warnings(&l), "unknown"));
        assert_null(strstr(load_warnings(&l), "no effect"));
        assert_non_null(strstr(load_warnings(&l), "raft.password: everybody knows this one"));
        load_end(&l);
        free(text);
    }
}

static void the_values_that_matter_are_kept(void **state)
{
    struct err err = {""};
    struct conf_dynamic d;
    struct load l;
    char *text = migrated("i4", NULL, &err);

    (void)state;
    assert_non_null(text);
    load_text(&l, text);
    assert_string_equal(l.err.text, "");

    assert_string_equal(l.conf->raft_self_addr, "10.73.0.160:7400");
    assert_int_equal(l.conf->n_raft_partners, 2);
    assert_string_equal(l.conf->raft_partner_addrs[1], "10.73.0.171:7400");
    assert_string_equal(l.conf->pg_config_dir, "/etc/postgresql/16/main");
    assert_string_equal(kv_get(&l.conf->pg_basebackup, "max-rate"), "100M");
    assert_int_equal(conf_dynamic_parse(l.conf->bootstrap_dcs, &d, NULL, NULL, NULL), 0);
    assert_int_equal(d.maximum_lag_on_failover, 2048576);
    assert_int_equal(d.primary_start_timeout_ms, 300000);
    assert_string_equal(kv_get(&d.parameters, "hot_standby_feedback"), "True");
    assert_string_equal(kv_get(&d.parameters, "wal_keep_size"), "2080MB");
    assert_string_equal(kv_get(&d.parameters, "log_line_prefix"), "%t [%p-%l] %r %q%u@%d ");
    assert_false(d.use_pg_rewind);
    conf_dynamic_deinit(&d);
    load_end(&l);
    free(text);
}

static void partners_that_are_given_take_the_place_of_guesses(void **state)
{
    struct err err = {""};
    struct load l;
    char *text = migrated("i1", "course-pg2", &err);

    (void)state;
    assert_non_null(text);
    assert_null(strstr(text, ".invalid"));
    load_text(&l, text);
    assert_string_equal(l.err.text, "");
    assert_int_equal(l.conf->n_raft_partners, 1);
    assert_string_equal(l.conf->raft_partner_addrs[0], "course-pg2:7400");
    load_end(&l);
    free(text);
}

/* Which the four installations have none of, and the fifth on a PostgreSQL that can do it. */
static bool is_told(const struct conf_migration *m, const char *part)
{
    for (size_t i = 0; i < m->notes[CONF_NOTE_CHECK].n; i++) {
        if (strstr(m->notes[CONF_NOTE_CHECK].items[i].key, part) != NULL) {
            return true;
        }
    }
    return false;
}

/* What is not written is something else here. */
static void other_defaults_are_to_be_looked_at(void **state)
{
    static const char yaml[] =
        "scope: s\nname: n\nrestapi: {connect_address: 'h:1', verify_client: required}\n"
        "postgresql: {listen: 'h:5432', data_dir: /d, authentication: "
        "{superuser: {username: a}, replication: {username: b}}}\n%s";
    static const char given[] = "bootstrap: {dcs: {ttl: 30, postgresql: {use_pg_rewind: false}}}\n";

    (void)state;
    for (int i = 0; i <= 1; i++) {
        struct kv_list none = {0};
        struct conf_migration m;
        struct err err = {""};
        char text[sizeof(yaml) + sizeof(given)];

        (void)snprintf(text, sizeof(text), yaml, i == 0 ? "" : given);
        write_file(TEST_FILE, text);
        assert_int_equal(conf_migrate(TEST_FILE, &none, &m, &err), 0);
        assert_int_equal(is_told(&m, "use_pg_rewind: not given"), i == 0);
        assert_int_equal(is_told(&m, "ttl: not given"), i == 0);
        assert_true(is_told(&m, "restapi: without")); /* No TLS to ask for certificates in. */
        conf_migration_deinit(&m);
    }
}

static void a_logical_slot_is_to_be_looked_at_before_17(void **state)
{
    static const char yaml[] =
        "scope: s\nname: n\nrestapi: {connect_address: 'h:1'}\n"
        "postgresql: {listen: 'h:5432', data_dir: /var/lib/postgresql/%d/main, authentication: "
        "{superuser: {username: a}, replication: {username: b}}}\n"
        "bootstrap: {dcs: {slots: {a: {type: physical}, b: {database: d, plugin: p}}}}\n";

    (void)state;
    for (int major = 16; major <= 17; major++) {
        struct kv_list none = {0};
        struct conf_migration m;
        struct err err = {""};
        char text[sizeof(yaml)];

        (void)snprintf(text, sizeof(text), yaml, major);
        write_file(TEST_FILE, text);
        assert_int_equal(conf_migrate(TEST_FILE, &none, &m, &err), 0);
        assert_int_equal(is_told(&m, "a logical slot"), major == 16);
        conf_migration_deinit(&m);
    }
}

/* None of the four has it either. */
static void quorum_commit_becomes_one_standby_by_name(void **state)
{
    struct kv_list none = {0};
    struct conf_migration m;
    struct err err = {""};

    (void)state;
    write_file(TEST_FILE, "scope: s\nname: n\nrestapi: {connect_address: 'h:1'}\n"
                          "postgresql: {listen: 'h:5432', data_dir: /d, authentication: "
                          "{superuser: {username: a}, replication: {username: b}}}\n"
                          "bootstrap: {dcs: {synchronous_mode: Quorum}}\n");
    assert_int_equal(conf_migrate(TEST_FILE, &none, &m, &err), 0);
    assert_non_null(strstr(m.json, "\"synchronous_mode\": true"));
    assert_true(kv_has(&m.notes[CONF_NOTE_CHANGED],
                       TEST_FILE ":5:19: bootstrap.dcs.synchronous_mode: quorum commit is not "
                                 "there yet, now on"));
    conf_migration_deinit(&m);
}

static void what_can_not_be_migrated_is_refused(void **state)
{
    static const struct {
        const char *yaml;
        const char *error;
    } rows[] = {
        {"scope: s\nname: n\n",
         "restapi.connect_address: missing, expected where others reach this node: raft.self_addr "
         "is made of it"},
        {"scope: s\nname: n\nrestapi: {connect_address: 'h:1'}\n",
         "it would not be valid: t.yml:1:1: postgresql.listen: missing, expected host:port"},
        {"scope: s\nname: n\nmode: witness\nrestapi: {connect_address: 'h:1'}\n"
         "bootstrap: {dcs: {standby_cluster: {host: p}}}\n",
         "standby clusters are not there yet"},
        {"scope: [\n", "t.yml:2:1: not valid YAML"},
    };
    int n_wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct kv_list none = {0};
        struct conf_migration m;
        struct err err = {""};

        write_file(TEST_FILE, rows[i].yaml);
        assert_int_equal(conf_migrate(TEST_FILE, &none, &m, &err), -1);
        if (strstr(err.text, rows[i].error) == NULL) {
            n_wrong += differs(rows[i].yaml, err.text, rows[i].error);
        }
        conf_migration_deinit(&m);
    }
    assert_int_equal(n_wrong, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_installation_becomes_its_golden_file),
        cmocka_unit_test(an_agent_takes_each_result),
        cmocka_unit_test(the_values_that_matter_are_kept),
        cmocka_unit_test(partners_that_are_given_take_the_place_of_guesses),
        cmocka_unit_test(other_defaults_are_to_be_looked_at),
        cmocka_unit_test(a_logical_slot_is_to_be_looked_at_before_17),
        cmocka_unit_test(quorum_commit_becomes_one_standby_by_name),
        cmocka_unit_test(what_can_not_be_migrated_is_refused),
    };

    if (argc == 3 && strcmp(argv[1], "--print") == 0) {
        struct err err = {""};
        char *text = migrated(argv[2], NULL, &err);

        if (text != NULL) {
            remove_all(text, GOLDEN_DIR "/patroni/");
        }
        (void)fputs(text != NULL ? text : err.text, stdout);
        free(text);
        return 0;
    }
    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
