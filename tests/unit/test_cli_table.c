/*
 * Tables and YAML as vechectl prints them, compared byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/cli.h"

static char printed[8192];

static void print_table(const struct cli_table *t, enum cli_format format)
{
    FILE *out = fmemopen(printed, sizeof(printed), "w");

    assert_non_null(out);
    cli_table_print(t, format, out);
    fclose(out);
}

static struct cli_table table_of(const char *rows)
{
    return (struct cli_table){
        .title = " Cluster: batman (1) ",
        .n_columns = 4,
        .columns = {"Member", "Role", "TL", "Lag"},
        .keys = {"Member", "Role", "TL", "Receive Lag"},
        .right = {false, false, true, true},
        .rows = json_loads(rows, 0, NULL),
    };
}

static const char two_rows[] =
    "[[\"pg1\", \"Leader\", 3, null], [\"a-long-name-\xC3\xA9\", \"Replica\", 12, 0]]";

/* Patroni's frame: the title lies over the first line, numbers stand right. */
static void pretty_has_patronis_frame(void **state)
{
    struct cli_table t = table_of(two_rows);

    (void)state;
    print_table(&t, CLI_PRETTY);
    assert_string_equal(printed, "+ Cluster: batman (1) ----+----+-----+\n"
                                 "| Member        | Role    | TL | Lag |\n"
                                 "+---------------+---------+----+-----+\n"
                                 "| pg1           | Leader  |  3 |     |\n"
                                 "| a-long-name-\xC3\xA9 | Replica | 12 |   0 |\n"
                                 "+---------------+---------+----+-----+\n");
    cli_table_deinit(&t);
}

/* A title longer than the table is cut, not written past its end. */
static void a_long_title_is_cut(void **state)
{
    struct cli_table t = table_of("[]");

    (void)state;
    t.title = " Cluster: a-name-much-longer-than-the-table-itself (12345678901234567890) ";
    print_table(&t, CLI_PRETTY);
    assert_string_equal(printed, "+ Cluster: a-name-much-long+\n"
                                 "| Member | Role | TL | Lag |\n"
                                 "+--------+------+----+-----+\n"
                                 "+--------+------+----+-----+\n");
    cli_table_deinit(&t);
}

/* Columns are those of a terminal, and what is in them is no order to it. */
static void pretty_knows_wide_and_unseen_characters(void **state)
{
    struct cli_table t = table_of("[[\"\xE6\x97\xA5\xE6\x9C\xAC\", \"e\xCC\x81\", 3, null], "
                                  "[\"a\\u001B[2J\", \"\xC2\x9B\x7F\\t\", 12, 0]]");

    (void)state;
    print_table(&t, CLI_PRETTY);
    assert_string_equal(printed, "+ Cluster: batman (1) -----+\n"
                                 "| Member | Role | TL | Lag |\n"
                                 "+--------+------+----+-----+\n"
                                 "| \xE6\x97\xA5\xE6\x9C\xAC   | e\xCC\x81    |  3 |     |\n"
                                 "| a?[2J  | ???  | 12 |   0 |\n"
                                 "+--------+------+----+-----+\n");
    cli_table_deinit(&t);
}

/* Machines get every column under a name of its own; what is empty is left out. */
static void other_formats_leave_out_what_is_empty(void **state)
{
    struct cli_table t = table_of(two_rows);

    (void)state;
    print_table(&t, CLI_JSON);
    assert_string_equal(printed, "[{\"Member\": \"pg1\", \"Role\": \"Leader\", \"TL\": 3}, "
                                 "{\"Member\": \"a-long-name-\xC3\xA9\", \"Role\": \"Replica\", "
                                 "\"TL\": 12, \"Receive Lag\": 0}]\n");
    print_table(&t, CLI_TSV);
    assert_string_equal(printed, "Member\tRole\tTL\tReceive Lag\n"
                                 "pg1\tLeader\t3\t\n"
                                 "a-long-name-\xC3\xA9\tReplica\t12\t0\n");
    print_table(&t, CLI_YAML);
    assert_string_equal(printed, "- Member: pg1\n  Role: Leader\n  TL: 3\n"
                                 "- Member: \"a-long-name-\xC3\xA9\"\n  Role: Replica\n  TL: 12\n"
                                 "  Receive Lag: 0\n");
    cli_table_deinit(&t);
}

/* What a reader of YAML 1.1 would take for something else is quoted. */
static void yaml_quotes_what_could_be_misread(void **state)
{
    json_t *value = json_loads("{\"a\": \"on\", \"b\": true, \"c\": {\"d\": [1, {\"e\": \"x y\"}, "
                               "[]], \"f\": {}}, \"g\": \"12\", \"h\": \"a: b\", \"i\": null, "
                               "\"j\": \"\"}",
                               0, NULL);
    FILE *out = fmemopen(printed, sizeof(printed), "w");

    (void)state;
    assert_non_null(out);
    cli_yaml_print(value, out);
    fclose(out);
    assert_string_equal(printed, "a: \"on\"\nb: true\nc:\n  d:\n  - 1\n  - e: x y\n  - []\n"
                                 "  f: {}\ng: \"12\"\nh: \"a: b\"\ni: null\nj: \"\"\n");
    json_decref(value);
}

/* The editor gets what the agents store, and what it leaves is read as the same. */
static void yaml_of_numbers_and_texts_is_read_back_as_the_same(void **state)
{
    static const char json[] = "{\"a\":0.9,\"b\":\"\\u001B[2J\",\"c\":\"\x7F\xC2\x9B\xC3\xA9\","
                               "\"d\":-1.5e-05,\"e\":1e+20,\"f\":\"0.90\",\"g\":\"1_000\"}";
    json_t *value = json_loads(json, 0, NULL);
    FILE *out = fmemopen(printed, sizeof(printed), "w");
    struct err err = {""};
    char *again;
    char *wanted;

    (void)state;
    assert_non_null(out);
    cli_yaml_print(value, out);
    fclose(out);
    assert_non_null(strstr(printed, "a: 0.9\n"));
    for (const char *p = printed; *p != '\0'; p++) {
        assert_true(*p == '\n' || (*p != 0x7F && (unsigned char)*p >= 0x20));
        assert_false((unsigned char)p[0] == 0xC2 && (unsigned char)p[1] < 0xA0);
    }
    again = conf_json_of_yaml("test", printed, &err);
    assert_non_null(again);
    wanted = json_dumps(value, JSON_SORT_KEYS | JSON_COMPACT | CLI_REAL_DIGITS);
    assert_string_equal(again, wanted);
    free(again);
    free(wanted);
    json_decref(value);
}

/* "0\n1\n...", and lines of another kind behind them. */
static void make_lines(struct strbuf *text, size_t n, const char *format, const char *behind)
{
    for (size_t i = 0; i < n; i++) {
        strbuf_printf(text, format, i);
    }
    strbuf_add_text(text, behind);
}

/* A list of some thousand lines is compared to its end: what is not shown would not be sent. */
static void a_difference_is_found_wherever_it_is(void **state)
{
    struct strbuf old = {0};
    struct strbuf new = {0};
    struct strbuf other = {0};
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    (void)state;
    assert_non_null(out);
    make_lines(&old, 3000, "%zu\n", "");
    make_lines(&new, 3000, "%zu\n", "one more\n");
    make_lines(&other, 3000, "x%zu\n", "");
    assert_false(cli_print_difference(old.data, old.data, NULL));
    assert_true(cli_print_difference(old.data, new.data, out));
    assert_true(cli_print_difference(old.data, other.data, NULL));
    assert_true(cli_print_difference("", new.data, NULL));
    assert_false(cli_print_difference("", "", NULL));
    fclose(out);
    assert_string_equal(text, "--- before\n+++ after\n@@ -2998,3 +2998,4 @@\n 2997\n 2998\n 2999\n"
                              "+one more\n");
    free(text);
    strbuf_deinit(&old);
    strbuf_deinit(&new);
    strbuf_deinit(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pretty_has_patronis_frame),
        cmocka_unit_test(a_long_title_is_cut),
        cmocka_unit_test(pretty_knows_wide_and_unseen_characters),
        cmocka_unit_test(other_formats_leave_out_what_is_empty),
        cmocka_unit_test(yaml_quotes_what_could_be_misread),
        cmocka_unit_test(yaml_of_numbers_and_texts_is_read_back_as_the_same),
        cmocka_unit_test(a_difference_is_found_wherever_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
