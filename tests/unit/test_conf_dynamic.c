/*
 * Dynamic configuration: defaults, ranges, times that must fit together, and
 * the PostgreSQL parameters that are the same on every node.
 */
#include "test_conf_common.h"

struct parse {
    struct conf_dynamic dynamic;
    struct load load; /* For its error and warnings. */
    int rv;
};

static void parse(struct parse *p, const char *json)
{
    *p = (struct parse){.rv = 0};
    p->rv = conf_dynamic_parse(json, &p->dynamic, keep_warning, &p->load, &p->load.err);
}

static void parse_end(struct parse *p)
{
    conf_dynamic_deinit(&p->dynamic);
    load_end(&p->load);
}

static void an_empty_object_means_the_defaults(void **state)
{
    struct parse p;

    (void)state;
    parse(&p, "{}");

    assert_int_equal(p.rv, 0);
    assert_string_equal(load_warnings(&p.load), "");
    assert_int_equal(p.dynamic.ttl_ms, 3000);
    assert_int_equal(p.dynamic.loop_wait_ms, 1000);
    assert_int_equal(p.dynamic.retry_timeout_ms, 1000);
    assert_int_equal(p.dynamic.maximum_lag_on_failover, 1048576);
    assert_int_equal(p.dynamic.primary_start_timeout_ms, 300000);
    assert_int_equal(p.dynamic.max_timelines_history, 0);
    assert_false(p.dynamic.check_timeline);
    assert_false(p.dynamic.pause);
    assert_true(p.dynamic.use_slots);
    assert_true(p.dynamic.use_pg_rewind);
    assert_string_equal(p.dynamic.synchronous_mode, "off");
    assert_int_equal(p.dynamic.parameters.n, 0);
    parse_end(&p);
}

static void slots_are_read_as_patroni_reads_them(void **state)
{
    struct parse p;

    (void)state;
    parse(&p,
          "{\"member_slots_ttl\": 90, \"permanent_slots\": {\"a\": null, \"b\": {}, \"c\": 5,"
          " \"d\": {\"type\": \"Physical\", \"database\": \"x\", \"cluster_type\": \"primary\"},"
          " \"e\": {\"database\": \"my db\", \"plugin\": \"pgoutput\"},"
          " \"f\": {\"type\": \"logical\", \"database\": \"x\", \"plugin\": \"wal2json\"},"
          " \"g\": {\"type\": \"physical\", \"cluster_type\": \"standby\"}},"
          " \"ignore_slots\": [{\"name\": \"n\", \"type\": \"LOGICAL\"},"
          "   {\"database\": \"x\", \"plugin\": \"p\"}, {\"type\": \"physical\"}, {}]}");

    assert_int_equal(p.rv, 0);
    assert_string_equal(load_warnings(&p.load),
                        "ignore_slots: an empty entry fits every slot: none is ever dropped, nor "
                        "spoken of\n"
                        "slots.g: accepted, but not acted on yet: it is for standby clusters "
                        "alone\n");
    assert_int_equal(p.dynamic.member_slots_ttl_ms, 90000);
    assert_int_equal(p.dynamic.slots.n, 6); /* Without the one for a standby cluster. */
    assert_string_equal(kv_get(&p.dynamic.slots, "a"), "physical\t\t");
    assert_string_equal(kv_get(&p.dynamic.slots, "b"), "physical\t\t");
    assert_string_equal(kv_get(&p.dynamic.slots, "c"), "physical\t\t");
    assert_string_equal(kv_get(&p.dynamic.slots, "d"), "physical\t\t");
    assert_string_equal(kv_get(&p.dynamic.slots, "e"), "logical\tmy db\tpgoutput");
    assert_string_equal(kv_get(&p.dynamic.slots, "f"), "logical\tx\twal2json");
    assert_int_equal(p.dynamic.ignore_slots.n, 4);
    assert_string_equal(p.dynamic.ignore_slots.items[0].key, "n");
    assert_string_equal(p.dynamic.ignore_slots.items[0].value, "logical\t\t");
    assert_string_equal(p.dynamic.ignore_slots.items[1].key, "");
    assert_string_equal(p.dynamic.ignore_slots.items[1].value, "\tx\tp");
    assert_string_equal(p.dynamic.ignore_slots.items[2].value, "physical\t\t");
    assert_string_equal(p.dynamic.ignore_slots.items[3].value, "\t\t");
    parse_end(&p);
}

static void there_is_room_for_sixteen_permanent_slots(void **state)
{
    struct strbuf json = {0};
    struct parse p;

    (void)state;
    strbuf_add_text(&json, "{\"slots\": {");
    for (int i = 0; i < 16; i++) {
        strbuf_printf(&json, "%s\"s%d\": {}", i > 0 ? ", " : "", i);
    }
    strbuf_add_text(&json, "}}");
    parse(&p, json.data);
    assert_int_equal(p.rv, 0);
    assert_int_equal(p.dynamic.slots.n, 16);
    parse_end(&p);
    json.data[json.length - 2] = '\0';
    json.length -= 2;
    strbuf_add_text(&json, ", \"more\": {}}}");
    parse(&p, json.data);
    assert_int_equal(p.rv, -1);
    assert_string_equal(p.load.err.text, "slots: too many, expected at most 16");
    parse_end(&p);
    strbuf_deinit(&json);
}

static void values_are_read_whether_text_number_or_boolean(void **state)
{
    struct parse p;

    (void)state;
    parse(&p, "{\"ttl\": \"4500ms\", \"loop_wait\": 0.5, \"retry_timeout\": 2, \"pause\": \"on\","
              " \"maximum_lag_on_failover\": \"1MB\", \"master_start_timeout\": 0,"
              " \"check_timeline\": true, \"synchronous_mode\": \"On\","
              " \"postgresql\": {\"use_slots\": \"off\","
              "   \"pg_hba\": [\"local all all trust\"],"
              "   \"parameters\": {\"work_mem\": \"4MB\", \"max_connections\": 50, \"ssl\": true,"
              "     \"random_page_cost\": 1.1, \"x.y\": null, \"libs\": [\"a\", \"b\"]}}}");

    assert_int_equal(p.rv, 0);
    assert_int_equal(p.dynamic.ttl_ms, 4500);
    assert_int_equal(p.dynamic.loop_wait_ms, 500);
    assert_int_equal(p.dynamic.retry_timeout_ms, 2000);
    assert_int_equal(p.dynamic.maximum_lag_on_failover, 1048576);
    assert_int_equal(p.dynamic.primary_start_timeout_ms, 0);
    assert_true(p.dynamic.pause);
    assert_true(p.dynamic.check_timeline);
    assert_false(p.dynamic.use_slots);
    assert_string_equal(p.dynamic.synchronous_mode, "on");
    assert_string_equal(p.dynamic.hba.items[0].key, "local all all trust");
    assert_string_equal(kv_get(&p.dynamic.parameters, "max_connections"), "50");
    assert_string_equal(kv_get(&p.dynamic.parameters, "ssl"), "true");
    assert_string_equal(kv_get(&p.dynamic.parameters, "random_page_cost"), "1.1");
    assert_string_equal(kv_get(&p.dynamic.parameters, "libs"), "a,b");
    assert_false(kv_has(&p.dynamic.parameters, "x.y"));
    parse_end(&p);
}

static void times_that_do_not_fit_are_adjusted_with_a_warning(void **state)
{
    static const struct {
        const char *json;
        uint64_t loop_wait_ms, retry_timeout_ms;
        bool warns;
    } cases[] = {
        {"{\"ttl\": 30, \"loop_wait\": 10, \"retry_timeout\": 10}", 10000, 10000, false},
        {"{\"ttl\": 30, \"loop_wait\": 20, \"retry_timeout\": 10}", 10000, 10000, true},
        {"{\"ttl\": 60, \"loop_wait\": 10, \"retry_timeout\": 27}", 6000, 27000, true},
        {"{\"ttl\": 20, \"loop_wait\": 10, \"retry_timeout\": 10}", 1000, 9000, true},
        {"{\"ttl\": 1}", 333, 333, true},
        {"{\"ttl\": 3, \"loop_wait\": 0.5, \"retry_timeout\": 2}", 500, 1250, true},
        {"{\"ttl\": 3600, \"loop_wait\": 3600, \"retry_timeout\": 3600}", 1000, 1799000, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct parse p;

        print_message("  %s\n", cases[i].json);
        parse(&p, cases[i].json);
        assert_int_equal(p.rv, 0);
        assert_int_equal(p.dynamic.loop_wait_ms, cases[i].loop_wait_ms);
        assert_int_equal(p.dynamic.retry_timeout_ms, cases[i].retry_timeout_ms);
        assert_int_equal(load_warnings(&p.load)[0] != '\0', cases[i].warns);
        parse_end(&p);
    }
}

static void bad_json_and_bad_values_are_refused_with_a_reason(void **state)
{
    static const struct {
        const char *json;
        const char *error;
    } cases[] = {
        {"", "1:0: not valid JSON: '[' or '{' expected near end of file"},
        {"[]", "wrong type, got a list, expected an object"},
        {"{\"ttl\": 3, \"ttl\": 4}", "1:16: not valid JSON: duplicate object key near '\"ttl\"'"},
        {"{\"ttl\": 0.5}", "ttl: out of range, got \"0.5\", expected 1 to 3600 seconds"},
        {"{\"ttl\": 3601}", "ttl: out of range, got \"3601\", expected 1 to 3600 seconds"},
        {"{\"ttl\": -1}", "ttl: not a duration, got \"-1\", expected seconds, or a number with "
                          "ms, s, min, h or d"},
        {"{\"ttl\": [3]}", "ttl: wrong type, got a list, expected a single value"},
        {"{\"loop_wait\": 0}", "loop_wait: out of range, got \"0\", expected 0.1 to 3600 seconds"},
        {"{\"maximum_lag_on_failover\": \"much\"}",
         "maximum_lag_on_failover: not a number, got \"much\", expected a whole number, or one "
         "with kB, MB, GB or TB"},
        {"{\"pause\": \"maybe\"}", "pause: not a boolean, got \"maybe\", expected on or off"},
        {"{\"synchronous_mode\": \"strong\"}",
         "synchronous_mode: not a known value, got \"strong\", expected off or on"},
        {"{\"synchronous_node_count\": 0}",
         "synchronous_node_count: out of range, got \"0\", expected 1 to 100"},
        {"{\"postgresql\": []}", "postgresql: wrong type, got a list, expected a section"},
        {"{\"postgresql\": {\"parameters\": {\"a\": {}}}}",
         "postgresql.parameters.a: wrong type, got a section, expected a single value"},
        {"{\"postgresql\": {\"pg_hba\": \"x\"}}",
         "postgresql.pg_hba: wrong type, got \"x\", expected a list of lines"},
        {"{\"slots\": [[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]}",
         "nested too deep, expected at most 16 levels"},
        {"{\"slots\": [\"a\"]}",
         "slots: wrong type, got a list, expected a section of name: {type, "
         "database, plugin}"},
        {"{\"slots\": {\"A-1\": {}}}",
         "slots: not the name of a slot, got \"A-1\", expected at most 63 "
         "lower case letters, digits and _"},
        {"{\"slots\": {\"a\": [1]}}",
         "slots.a: not usable, got a list, expected a section with type, "
         "database and plugin"},
        {"{\"slots\": {\"a\": {\"type\": \"both\"}}}",
         "slots.a.type: not usable, got \"both\", expected physical or logical"},
        {"{\"slots\": {\"a\": {\"type\": \"logical\", \"database\": \"d\"}}}",
         "slots.a: not usable, got a section, expected database and plugin, as it is logical"},
        {"{\"slots\": {\"a\": {\"database\": \"d\", \"plugin\": \"p'; DROP\"}}}",
         "slots.a.plugin: not usable, got \"p'; DROP\", expected the name of an output plugin, "
         "such "
         "as pgoutput"},
        {"{\"slots\": {\"a\": {\"database\": \"d\\te\", \"plugin\": \"p\"}}}",
         "slots.a.database: not usable, got \"d?e\", expected the name of a database"},
        {"{\"slots\": {\"a\": {\"cluster_type\": \"any\"}}}",
         "slots.a.cluster_type: not usable, got \"any\", expected primary or standby"},
        {"{\"ignore_slots\": {\"name\": \"a\"}}",
         "ignore_slots: wrong type, got a section, expected a list of {name, type, database, "
         "plugin}"},
        {"{\"ignore_slots\": [\"a\"]}",
         "ignore_slots: not usable, got \"a\", expected a list of {name, "
         "type, database, plugin}"},
        {"{\"ignore_slots\": [{\"type\": 1}]}",
         "ignore_slots.type: not usable, got \"1\", expected physical or logical"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct parse p;

        parse(&p, cases[i].json);
        assert_int_equal(p.rv, -1);
        assert_string_equal(p.load.err.text, cases[i].error);
        parse_end(&p);
    }
}

static void keys_that_do_not_belong_here_are_warned_about(void **state)
{
    static const struct {
        const char *json;
        const char *warnings;
    } cases[] = {
        {"{\"tttl\": 3}", "tttl: unknown key, ignored; did you mean ttl?\n"},
        {"{\"postgresql\": {\"listen\": \"h:1\"}}",
         "postgresql.listen: ignored here, belongs into the node's own file\n"},
        {"{\"master_start_timeout\": 1, \"primary_start_timeout\": 2}",
         "master_start_timeout: ignored, because primary_start_timeout is given\n"},
        {"{\"primary_stop_timeout\": 2, \"slots\": {\"a\": 1}}", ""},
        {"{\"synchronous_mode\": \"on\", \"synchronous_node_count\": 2}",
         "synchronous_node_count: more than one is not there yet, got 2; using 1\n"},
        {"{\"synchronous_mode\": false, \"failsafe_mode\": true}", ""},
        {"{\"postgresql\": {\"parameters_primary\": {\"Wal_Keep_Size\": \"4GB\"}}}", ""},
        {"{\"postgresql\": {\"parameters_replica\": {\"wal_keep_segments\": 0}}}",
         "postgresql.parameters_replica.wal_keep_segments: not possible, got \"0\", ignored\n"},
        {"{\"postgresql\": {\"parameters\": {\"port\": 1}}}",
         "postgresql.parameters.port: ignored, the agent derives it from other keys\n"},
        {"{\"postgresql\": {\"parameters\": {\"max_connections\": 5}}}",
         "postgresql.parameters.max_connections: not possible, got \"5\", using 100\n"},
        {"{\"postgresql\": {\"parameters\": {\"Max_Connections\": 5, \"max_connections\": 6}}}",
         "postgresql.parameters.max_connections: not possible, got \"5\", using 100\n"},
        {"{\"postgresql\": {\"parameters\": {\"hot_standby\": \"off\"}}}",
         "postgresql.parameters.hot_standby: not possible, got \"off\", using on\n"},
        {"{\"postgresql\": {\"parameters\": {\"wal_level\": \"minimal\"}}}",
         "postgresql.parameters.wal_level: not possible, got \"minimal\", using replica\n"},
        {"{\"postgresql\": {\"parameters\": {\"wal_keep_size\": \"1MB\"}}}",
         "postgresql.parameters.wal_keep_size: not possible, got \"1MB\", using 128MB\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct parse p;

        parse(&p, cases[i].json);
        assert_int_equal(p.rv, 0);
        assert_string_equal(load_warnings(&p.load), cases[i].warnings);
        parse_end(&p);
    }
}

static void the_node_may_override_all_but_the_controlled_parameters(void **state)
{
    struct kv_list merged = {0};
    struct parse p;
    struct load l;

    (void)state;
    parse(&p, "{\"postgresql\": {\"parameters\": {\"max_connections\": 300, \"work_mem\": \"4MB\","
              " \"wal_keep_segments\": 130, \"wal_level\": \"hot_standby\"}}}");
    load_text(&l, GOOD "  parameters:\n"
                       "    work_mem: 8MB\n"
                       "    max_connections: 10\n"
                       "    Port: 1\n"
                       "    synchronous_commit: off\n");
    assert_non_null(l.conf);

    conf_merge_parameters(l.conf, &p.dynamic, &merged);

    assert_string_equal(load_warnings(&l),
                        "t.yml:13:5: postgresql.parameters.max_connections: ignored, it is the "
                        "same on every node: belongs into bootstrap.dcs\n"
                        "t.yml:14:5: postgresql.parameters.Port: ignored, the agent derives it "
                        "from other keys\n");
    assert_string_equal(kv_get(&merged, "work_mem"), "8MB");
    assert_string_equal(kv_get(&merged, "max_connections"), "300");
    assert_string_equal(kv_get(&merged, "synchronous_commit"), "off");
    assert_string_equal(kv_get(&merged, "wal_keep_size"), "2080MB");
    assert_string_equal(kv_get(&merged, "wal_level"), "replica");
    assert_string_equal(kv_get(&merged, "max_wal_senders"), "10");
    assert_false(kv_has(&merged, "wal_keep_segments"));
    assert_false(kv_has(&merged, "Port"));
    for (size_t i = 1; i < merged.n; i++) {
        assert_true(strcmp(merged.items[i - 1].key, merged.items[i].key) < 0);
    }
    kv_deinit(&merged);
    parse_end(&p);
    load_end(&l);
}

/* It need not be the same on every node, unlike the other controlled ones. */
static void how_much_wal_is_kept_may_be_of_a_role(void **state)
{
    struct kv_list primary = {0};
    struct kv_list replica = {0};
    struct parse p;
    struct load l;

    (void)state;
    parse(&p, "{\"postgresql\": {\"parameters\": {\"wal_keep_size\": \"1GB\"},"
              " \"parameters_primary\": {\"WAL_keep_size\": \"4GB\", \"max_connections\": 9},"
              " \"parameters_replica\": {\"wal_keep_size\": \"2GB\"}}}");
    load_text(&l, GOOD "  parameters_replica: {wal_keep_segments: 10, wal_level: logical}\n");
    assert_non_null(l.conf);

    conf_merge_role_parameters(l.conf, &p.dynamic, CONF_ROLE_PRIMARY, &primary);
    conf_merge_role_parameters(l.conf, &p.dynamic, CONF_ROLE_REPLICA, &replica);

    assert_string_equal(kv_get(&primary, "wal_keep_size"), "4GB");
    assert_false(kv_has(&primary, "WAL_keep_size"));
    assert_string_equal(kv_get(&primary, "max_connections"), "100");
    assert_string_equal(kv_get(&replica, "wal_keep_size"), "160MB");
    assert_false(kv_has(&replica, "wal_keep_segments"));
    assert_string_equal(kv_get(&replica, "wal_level"), "replica");
    kv_deinit(&primary);
    kv_deinit(&replica);
    parse_end(&p);
    load_end(&l);
}

/* A cluster that was told so by an older version goes on with all that it was told. */
static void a_store_that_holds_quorum_is_read_as_on(void **state)
{
    static const char *const words[] = {"quorum", "Quorum"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        char json[100];
        struct parse p;

        (void)snprintf(json, sizeof(json),
                       "{\"synchronous_mode\": \"%s\", \"pause\": true, \"ttl\": 30}", words[i]);
        parse(&p, json);
        assert_int_equal(p.rv, 0);
        assert_string_equal(p.dynamic.synchronous_mode, "on");
        assert_true(p.dynamic.pause);
        assert_int_equal(p.dynamic.ttl_ms, 30000);
        assert_string_equal(load_warnings(&p.load),
                            "synchronous_mode: quorum commit is not there yet, taken as on: one "
                            "standby by name\n");
        parse_end(&p);
    }
}

struct change_case {
    const char *current, *body;
    bool replace;
    const char *expected; /* NULL: refused, and this is in the reason: */
    const char *why;
};

/* What PATCH and PUT /config make of it: as Patroni merges, and never anything that
 * could not be read again. */
static void a_change_is_merged_and_checked(void **state)
{
    static const struct change_case cases[] = {
        {"{}", "{\"ttl\": 5}", false, "{\"ttl\":5}", NULL},
        {"{\"ttl\":5,\"pause\":true}", "{\"pause\": null}", false, "{\"ttl\":5}", NULL},
        {"{\"ttl\":5}", "{\"nothing\": null}", false, "{\"ttl\":5}", NULL},
        {"{\"ttl\":5}", "{\"ttl\": \"5\"}", false, "{\"ttl\":5}", NULL},
        {"{\"ttl\":\"5\"}", "{\"ttl\": 5}", false, "{\"ttl\":\"5\"}", NULL},
        {"{\"ttl\":5}", "{\"ttl\": 6}", false, "{\"ttl\":6}", NULL},
        {"{\"postgresql\":{\"parameters\":{\"a\":1,\"b\":2}}}",
         "{\"postgresql\": {\"parameters\": {\"b\": null, \"c\": \"x\"}}}", false,
         "{\"postgresql\":{\"parameters\":{\"a\":1,\"c\":\"x\"}}}", NULL},
        {"{}", "{\"postgresql\": {\"parameters\": {\"b\": null, \"c\": 1}}}", false,
         "{\"postgresql\":{\"parameters\":{\"c\":1}}}", NULL},
        {"{\"slots\":{\"a\":null}}", "{\"slots\": {\"b\": {\"type\": \"physical\"}}}", false,
         "{\"slots\":{\"a\":null,\"b\":{\"type\":\"physical\"}}}", NULL},
        {"{\"ttl\":5}", "{\"master_start_timeout\": 0}", false,
         "{\"primary_start_timeout\":0,\"ttl\":5}", NULL},
        {"{\"ttl\":5,\"pause\":true}", "{\"synchronous_mode\": \"on\"}", true,
         "{\"synchronous_mode\":\"on\"}", NULL},
        {"{\"ttl\":5}", "{}", true, "{}", NULL},
        {"{\"ttl\":5}", "{}", false, "{\"ttl\":5}", NULL},
        {"{}", "{\"ttl\": 0}", false, NULL, "ttl"},
        {"{}", "{\"synchronous_mode\": \"maybe\"}", false, NULL, "synchronous_mode"},
        {"{\"synchronous_mode\":\"quorum\"}", "{\"ttl\": 5}", false,
         "{\"synchronous_mode\":\"quorum\",\"ttl\":5}", NULL},
        {"{\"synchronous_mode\":\"quorum\"}", "{\"synchronous_mode\": \"on\"}", false,
         "{\"synchronous_mode\":\"on\"}", NULL},
        {"{\"synchronous_mode\":\"quorum\"}", "{\"ttl\": 5}", true, "{\"ttl\":5}", NULL},
        {"{\"ttl\":5}", "{\"synchronous_mode\": \"Quorum\"}", false, NULL,
         "synchronous_mode: quorum commit is not there yet, got \"Quorum\", expected on (one "
         "standby, by name) or off"},
        {"{\"synchronous_mode\":\"quorum\"}", "{\"ttl\": 5, \"synchronous_mode\": \"quorum\"}",
         true, NULL, "synchronous_mode: quorum commit is not there yet"},
        {"{\"ttl\":5}", "{\"ttl\": \"soon\"}", true, NULL, "ttl"},
        {"{}", "{\"postgresql\": 7}", false, NULL, "postgresql"},
        {"{}", "[]", false, NULL, "object"},
        {"{}", "{\"ttl\": 5", false, NULL, "not valid JSON"},
        {"{}", "{\"ttl\": 5, \"ttl\": 6}", false, NULL, "not valid JSON"},
        {"{}", "", true, NULL, "not valid JSON"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct load load = {.err = {""}};
        char *text = conf_dynamic_change(cases[i].current, cases[i].body, cases[i].replace,
                                         keep_warning, &load, &load.err);

        if (cases[i].expected != NULL) {
            assert_non_null(text);
            assert_string_equal(text, cases[i].expected);
        } else {
            assert_null(text);
            assert_non_null(strstr(load.err.text, cases[i].why));
        }
        free(text);
        load_end(&load);
    }
}

static void differences_are_named_by_their_paths(void **state)
{
    static const struct {
        const char *a, *b, *keys;
    } rows[] = {
        {"{}", "{}", ""},
        {"{\"ttl\": 3}", "{\"ttl\": \"3\"}", ""},
        {"{\"ttl\": 3, \"pause\": true}", "{\"pause\": false, \"ttl\": 4, \"x\": 1}",
         "ttl, pause, x"},
        {"{\"master_start_timeout\": 9}", "{\"primary_start_timeout\": 9}", ""},
        {"{\"postgresql\": {\"parameters\": {\"a\": \"1\", \"b\": 2}}}",
         "{\"postgresql\": {\"parameters\": {\"b\": 3}, \"use_slots\": true}}",
         "postgresql.parameters.a, postgresql.parameters.b, postgresql.use_slots"},
        {"{\"postgresql\": {\"pg_hba\": [\"a\"]}}",
         "{\"postgresql\": {\"pg_hba\": [\"a\", \"b\"]}}", "postgresql.pg_hba"},
        {"{\"slots\": {\"a\": 1}}", "{\"slots\": 7}", "slots"},
        {"[]", "{\"ttl\": 4}", ""},
    };
    int n_wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct strbuf keys = {0};

        conf_dynamic_differ(rows[i].a, rows[i].b, &keys);
        n_wrong += differs(rows[i].b, keys.data, rows[i].keys);
        strbuf_deinit(&keys);
    }
    assert_int_equal(n_wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(differences_are_named_by_their_paths),
        cmocka_unit_test(an_empty_object_means_the_defaults),
        cmocka_unit_test(slots_are_read_as_patroni_reads_them),
        cmocka_unit_test(there_is_room_for_sixteen_permanent_slots),
        cmocka_unit_test(values_are_read_whether_text_number_or_boolean),
        cmocka_unit_test(times_that_do_not_fit_are_adjusted_with_a_warning),
        cmocka_unit_test(bad_json_and_bad_values_are_refused_with_a_reason),
        cmocka_unit_test(keys_that_do_not_belong_here_are_warned_about),
        cmocka_unit_test(the_node_may_override_all_but_the_controlled_parameters),
        cmocka_unit_test(how_much_wal_is_kept_may_be_of_a_role),
        cmocka_unit_test(a_store_that_holds_quorum_is_read_as_on),
        cmocka_unit_test(a_change_is_merged_and_checked),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
