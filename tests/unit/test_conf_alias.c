/*
 * Anchors, aliases and merge keys of YAML: what becomes of them, as PyYAML's safe_load has it;
 * what is refused, with which words; and where messages say a value is written.
 */
#include "test_conf_common.h"

#include "conf/conf_migrate.h"

/* Each result is what safe_load makes of that text. */
static void what_is_named_is_written_out(void **state)
{
    static const struct {
        const char *yaml;
        const char *json;
    } cases[] = {
        /* Aliases. */
        {"a: &x 1\nb: *x\n", "{'a':1,'b':1}"},
        {"a: &x '1'\nb: *x\n", "{'a':'1','b':'1'}"},
        {"a: &x\nb: *x\n", "{'a':null,'b':null}"},
        {"a: &x [1, {c: d}]\nb: *x\nc: [*x, *x]\n",
         "{'a':[1,{'c':'d'}],'b':[1,{'c':'d'}],'c':[[1,{'c':'d'}],[1,{'c':'d'}]]}"},
        {"a: &x {b: &y {c: 1}}\nd: *y\ne: *x\n",
         "{'a':{'b':{'c':1}},'d':{'c':1},'e':{'b':{'c':1}}}"},
        {"a: &x {b: 1}\nc: &y [*x]\nd: *y\n", "{'a':{'b':1},'c':[{'b':1}],'d':[{'b':1}]}"},
        {"&k a: &v b\n*v : *k\n", "{'a':'b','b':'a'}"},
        {"a: &x !!str 1\nb: *x\n", "{'a':'1','b':'1'}"},
        {"a: &x !!map {b: !!seq [1]}\nc: *x\n", "{'a':{'b':[1]},'c':{'b':[1]}}"},
        {"&r a: 1\n", "{'a':1}"},
        {"&r\na: 1\n", "{'a':1}"},
        {"a: &x |\n  two\n  lines\nb: *x\n", "{'a':'two\\nlines\\n','b':'two\\nlines\\n'}"},

        /* Sixteen levels: as deep as it may be. */
        {"a: &x [[[[[[[[]]]]]]]]\nb: [[[[[[[*x]]]]]]]\n",
         "{'a':[[[[[[[[]]]]]]]],'b':[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}"},

        /* Merge keys: an own key wins, wherever it is written. */
        {"a: &x {b: 1, c: 2}\nd: {<<: *x}\n", "{'a':{'b':1,'c':2},'d':{'b':1,'c':2}}"},
        {"a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\n", "{'a':{'b':1,'c':2},'d':{'b':1,'c':3}}"},
        {"a: &x {b: 1, c: 2}\nd: {c: 3, <<: *x}\n", "{'a':{'b':1,'c':2},'d':{'b':1,'c':3}}"},
        {"a: &x {b: 1}\nd: {b: , <<: *x}\n", "{'a':{'b':1},'d':{'b':null}}"},
        {"a: {<<: {b: 1}, c: 2}\n", "{'a':{'b':1,'c':2}}"},
        {"a: &x {b: {c: 1}}\nd: {<<: *x, b: {e: 2}}\n", "{'a':{'b':{'c':1}},'d':{'b':{'e':2}}}"},
        /* The earlier of a list wins, the later of two merge keys. */
        {"a: {<<: [{b: 1}, {b: 2, c: 3}]}\n", "{'a':{'b':1,'c':3}}"},
        {"a: {<<: [{b: 1}, {b: 2}, {b: 3}], d: 0}\n", "{'a':{'b':1,'d':0}}"},
        {"a: {<<: {b: 1}, <<: {b: 2, c: 3}}\n", "{'a':{'b':2,'c':3}}"},
        {"a: {<<: {b: 1, c: 1}, <<: [{b: 2}, {b: 3, d: 3}], d: 0}\n", "{'a':{'b':2,'c':1,'d':0}}"},
        {"a: {<<: [], b: 1}\n", "{'a':{'b':1}}"},
        {"a: {<<: {}}\n", "{'a':{}}"},
        /* What is merged may merge, be named, and hold what is named. */
        {"a: &x {b: 1}\nc: &y {<<: *x, d: 2}\ne: {<<: *y, b: 3}\n",
         "{'a':{'b':1},'c':{'b':1,'d':2},'e':{'b':3,'d':2}}"},
        {"a: {<<: &x {b: &y 1}, b: 2}\nc: *x\nd: *y\n", "{'a':{'b':2},'c':{'b':1},'d':1}"},
        {"a: {<<: &x [&y {b: 1}, {c: 2}]}\nd: *x\ne: *y\n",
         "{'a':{'b':1,'c':2},'d':[{'b':1},{'c':2}],'e':{'b':1}}"},
        {"a: &x [{b: 1}]\nc: {<<: *x}\n", "{'a':[{'b':1}],'c':{'b':1}}"},
        {"<<: {a: 1}\nb: 2\n", "{'a':1,'b':2}"},
        {"a: {&m <<: {b: 1}, c: 2}\nd: {*m : {e: 3}}\n", "{'a':{'b':1,'c':2},'d':{'e':3}}"},
        /* In quotes, or as a value, it is a text. */
        {"a: {'<<': {b: 1}}\n", "{'a':{'<<':{'b':1}}}"},
        {"a: '<<'\n", "{'a':'<<'}"},
    };
    int n_wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct err err = {""};
        char *text = conf_json_of_yaml(TEST_FILE, cases[i].yaml, &err);

        for (char *at = text; at != NULL && *at != '\0'; at++) {
            *at = *at == '"' ? '\'' : *at; /* So that the table can be read. */
        }
        n_wrong += differs(cases[i].yaml, text != NULL ? text : err.text, cases[i].json);
        free(text);
    }
    assert_int_equal(n_wrong, 0);
}

static void what_no_alias_can_mean_is_refused_with_place_and_expectation(void **state)
{
    static const struct {
        const char *yaml;
        const char *error;
    } cases[] = {
        {"a: *x\n", "t.yml:1:4: unknown alias, got \"*x\", expected the name of an anchor (&name) "
                    "that is written before it in the same file"},
        {"a: *x\nb: &x 1\n",
         "t.yml:1:4: unknown alias, got \"*x\", expected the name of an anchor (&name) that is "
         "written before it in the same file"},
        {"a:\n  *x : 1\n",
         "t.yml:2:3: unknown alias, got \"*x\", expected the name of an anchor (&name) that is "
         "written before it in the same file"},
        {"a:\n- &x\n  b: [*x]\n",
         "t.yml:3:7: recursive alias, got \"*x\" inside of what it names (&x at t.yml:2:3), "
         "expected it outside"},
        {"a: &x {<<: *x}\n",
         "t.yml:1:12: recursive alias, got \"*x\" inside of what it names (&x at t.yml:1:4), "
         "expected it outside"},
        {"a: &x 1\nb: &x 2\n", "t.yml:2:4: anchor given twice, got \"&x\", expected another name; "
                               "first at t.yml:1:4"},
        {"a: &x 1\nb: &x {}\n", "t.yml:2:4: anchor given twice, got \"&x\", expected another name; "
                                "first at t.yml:1:4"},
        {"a: &x [1]\n*x : 2\n", "t.yml:2:1: a key is an alias of no text, expected a name"},
        {"a: &x\n*x : 2\n", "t.yml:2:1: a key is an alias of no text, expected a name"},
        {"a: &x ''\n*x : 2\n", "t.yml:2:1: empty key, expected a name"},
        {"a: &x b\nb: 1\n*x : 2\n", "t.yml:3:1: b: given twice, first at t.yml:2:1"},
        {"a: &x b\nb: *x\nb: 2\n", "t.yml:3:1: b: given twice, first at t.yml:1:4 (alias at 2:4)"},
        {"a: {<<: b}\n", "t.yml:1:5: <<: wrong type, got \"b\", expected a section or a list of "
                         "sections"},
        {"a:\n  <<:\n", "t.yml:2:3: <<: wrong type, got nothing, expected a section or a list of "
                        "sections"},
        {"a:\n  <<: [{b: 1}, [c]]\n",
         "t.yml:2:16: <<: wrong type, got a list, expected a section or a list of sections"},
        /* Which may be a password. */
        {"a: &x hunter2\nb: {<<: *x}\n",
         "t.yml:1:4 (alias at 2:9): <<: wrong type, got a text, expected a section or a list of "
         "sections"},
        {"a: &x [[[[[[[[1]]]]]]]]\nb: [[[[[[[[*x]]]]]]]]\n",
         "t.yml:2:12: nested too deep, got \"*x\", expected at most 16 levels"},
    };
    int n_wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct load l;

        load_text(&l, cases[i].yaml);
        n_wrong += differs(cases[i].yaml, l.conf != NULL ? "loaded" : l.err.text, cases[i].error);
        load_end(&l);
    }
    assert_int_equal(n_wrong, 0);
}

/* a0: &a0 [x], a1: &a1 [*a0 nine times], ...: 9^n. */
static void add_laughs(struct strbuf *yaml, const char *first, const char *begin, const char *end)
{
    strbuf_printf(yaml, "a0: &a0 %s\n", first);
    for (int i = 1; i < 9; i++) {
        strbuf_printf(yaml, "a%d: &a%d %s", i, i, begin);
        for (int j = 0; j < 9; j++) {
            strbuf_add_text(yaml, j > 0 ? ", " : "");
            if (begin[0] == '{') {
                strbuf_printf(yaml, "k%d: ", j);
            }
            strbuf_printf(yaml, "*a%d", i - 1);
        }
        strbuf_printf(yaml, "%s\n", end);
    }
}

static void a_small_file_never_becomes_a_large_tree(void **state)
{
    static const char limit[] = "expected at most 10000 entries and 1048576 bytes of text in all "
                                "with the aliases written out";
    struct strbuf long_text = {0};
    struct strbuf yaml = {0};
    struct err err = {""};

    (void)state;
    add_laughs(&yaml, "[lol]", "[", "]");
    assert_null(conf_json_of_yaml(TEST_FILE, yaml.data, &err));
    assert_true(str_starts_with(err.text, "t.yml:5:35: too much, got \"*a3\" of 1549 entries"));
    assert_non_null(strstr(err.text, limit));
    strbuf_deinit(&yaml);

    add_laughs(&yaml, "{b: lol}", "{", "}");
    assert_null(conf_json_of_yaml(TEST_FILE, yaml.data, &err));
    assert_non_null(strstr(err.text, limit));
    strbuf_deinit(&yaml);

    /* Merged: each step is of three sections that become one. */
    strbuf_add_text(&yaml, "a0: &a0 {b: 1}\n");
    for (int i = 1; i < 5000; i++) {
        strbuf_printf(&yaml, "a%d: &a%d {<<: [*a%d, *a%d, *a%d], c%d: 1}\n", i, i, i - 1, i - 1,
                      i - 1, i);
    }
    assert_null(conf_json_of_yaml(TEST_FILE, yaml.data, &err));
    assert_non_null(strstr(err.text, limit));
    strbuf_deinit(&yaml);

    /* Few entries, much text: as values and as keys. */
    while (long_text.length < 300000) {
        strbuf_add_text(&long_text, "0123456789");
    }
    for (int as_keys = 0; as_keys < 2; as_keys++) {
        strbuf_printf(&yaml, "a: &a %s\nb:\n", long_text.data);
        for (int i = 0; i < 4; i++) {
            strbuf_add_text(&yaml, as_keys ? "- *a : 1\n" : "- *a\n");
        }
        assert_null(conf_json_of_yaml(TEST_FILE, yaml.data, &err));
        assert_true(str_starts_with(err.text, "t.yml:6:3: too much, got \"*a\" of 1 entries and "
                                              "300000 bytes"));
        strbuf_deinit(&yaml);
    }
    strbuf_deinit(&long_text);
}

/* One more is too many: keys count, too. */
static void as_much_as_is_allowed_is_taken(void **state)
{
    (void)state;
    for (int too_many = 0; too_many < 2; too_many++) {
        struct strbuf yaml = {0};
        struct err err = {""};
        char *text;

        /* Map, two keys, two lists, 99 values: 104; then each alias 100. */
        strbuf_add_text(&yaml, "a: &a [");
        for (int i = 0; i < 99; i++) {
            strbuf_printf(&yaml, "%s%d", i > 0 ? "," : "", i);
        }
        strbuf_add_text(&yaml, "]\nb: [");
        for (int i = 0; i < 98; i++) {
            strbuf_printf(&yaml, "%s*a", i > 0 ? "," : "");
        }
        for (int i = 0; i < 96 + too_many; i++) {
            strbuf_add_text(&yaml, ",x");
        }
        strbuf_add_text(&yaml, "]\n");
        text = conf_json_of_yaml(TEST_FILE, yaml.data, &err);
        if (too_many) {
            assert_null(text);
            assert_string_equal(err.text, "t.yml:2:491: too many entries, expected at most 10000");
        } else {
            assert_string_equal(err.text, "");
        }
        free(text);
        strbuf_deinit(&yaml);
    }
}

#define BASE             \
    "x-pg: &pg\n"        \
    "  p1: 1\n"          \
    "  ttl: &ttl soon\n" \
    "x-dcs: &dcs\n"      \
    "  loop_wait: 0\n"

/* A message about a value leads to where it is written, and says what put it there. */
static void messages_lead_to_where_the_value_is_written(void **state)
{
    static const struct {
        const char *yaml;
        const char *error;
    } cases[] = {
        {BASE WITNESS "bootstrap:\n  dcs:\n    ttl: *ttl\n",
         "t.yml:3:8 (alias at 13:10): bootstrap.dcs.ttl: not a duration, got \"soon\", expected "
         "seconds, or a number with ms, s, min, h or d"},
        {BASE WITNESS "bootstrap:\n  dcs:\n    <<: *dcs\n    ttl: 30\n",
         "t.yml:5:3 (alias at 13:9): bootstrap.dcs.loop_wait: out of range, got \"0\", expected "
         "0.1 to 3600 seconds"},
        {BASE WITNESS "bootstrap:\n  dcs:\n    <<: *dcs\n    loop_wait: 0.01\n",
         "t.yml:14:5: bootstrap.dcs.loop_wait: out of range, got \"0.01\", expected 0.1 to 3600 "
         "seconds"},
        {WITNESS "log: &l\n  level: *l\n",
         "t.yml:7:10: recursive alias, got \"*l\" inside of what it names (&l at t.yml:6:6), "
         "expected it outside"},
        {WITNESS "log: {level: &l LOUD}\nrestapi:\n  listen: *l\n",
         "t.yml:6:7: log.level: not a known value, got \"LOUD\", expected DEBUG, INFO, WARNING, "
         "WARN, ERROR, FATAL or CRITICAL"},
    };
    int n_wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct load l;

        load_text(&l, cases[i].yaml);
        n_wrong += differs(cases[i].yaml, l.conf != NULL ? "loaded" : l.err.text, cases[i].error);
        load_end(&l);
    }
    assert_int_equal(n_wrong, 0);
}

/* What is at the top for its anchors only is no mistake; what only looks like it is. */
static void definitions_are_not_warned_about(void **state)
{
    static const struct {
        const char *yaml;
        const char *warnings;
    } cases[] = {
        {"x-a: &a {b: 1}\n" WITNESS, ""},
        {".a: {b: &b 1, c: &c 2}\n" WITNESS "namespace: *b\n", ""},
        {"defaults:\n- &a 1\n- &b 2\n" WITNESS, ""},
        {"x-log: &l {level: DEBUG}\n" WITNESS "log: *l\n", ""},
        {"x-a: {b: 1}\n" WITNESS, "t.yml:1:1: x-a: unknown key, ignored\n"},
        {"defaults:\n- &a 1\n- 2\n" WITNESS, "t.yml:1:1: defaults: unknown key, ignored\n"},
        {"logs: &l {level: DEBUG}\n" WITNESS "log: *l\n",
         "t.yml:1:1: logs: unknown key, ignored; did you mean log?\n"},
        {WITNESS "log: {x-a: &a 1}\n", "t.yml:6:7: log.x-a: unknown key, ignored\n"},
    };
    int n_wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct load l;

        load_text(&l, cases[i].yaml);
        n_wrong += differs(cases[i].yaml, l.err.text, "");
        n_wrong += differs(cases[i].yaml, load_warnings(&l), cases[i].warnings);
        load_end(&l);
    }
    assert_int_equal(n_wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_named_is_written_out),
        cmocka_unit_test(what_no_alias_can_mean_is_refused_with_place_and_expectation),
        cmocka_unit_test(a_small_file_never_becomes_a_large_tree),
        cmocka_unit_test(as_much_as_is_allowed_is_taken),
        cmocka_unit_test(messages_lead_to_where_the_value_is_written),
        cmocka_unit_test(definitions_are_not_warned_about),
    };

    return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
