/*
 * The step tables as a whole. Their rows are the stop points of the tests that
 * interrupt them, so their names are permanent and unique.
 * `test_ops_table --print` prints every row; nothing here writes the golden file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ops/ops_internal.h"

static void print_steps(struct strbuf *b)
{
    for (enum node_action action = ACTION_NONE + 1; action < ACTIONS; action++) {
        for (const struct seq_step *step = op_steps(action); step->name != NULL; step++) {
            strbuf_printf(b, "%s: %s\n", node_action_name(action), step->name);
        }
    }
}

static void the_steps_are_those_of_the_golden_file(void **state)
{
    struct strbuf actual = {0};
    char expected[16384];
    size_t length;
    FILE *file = fopen(GOLDEN_DIR "/steps.txt", "re");

    (void)state;
    assert_non_null(file);
    length = fread(expected, 1, sizeof(expected) - 1, file);
    expected[length] = '\0';
    fclose(file);

    print_steps(&actual);

    assert_string_equal(actual.data, expected);
    strbuf_deinit(&actual);
}

static void a_name_stands_once_in_its_table(void **state)
{
    (void)state;
    for (enum node_action action = ACTION_NONE + 1; action < ACTIONS; action++) {
        const struct seq_step *steps = op_steps(action);

        assert_non_null(steps[0].name);
        for (size_t i = 0; steps[i].name != NULL; i++) {
            for (size_t k = 0; k < i; k++) {
                assert_string_not_equal(steps[i].name, steps[k].name);
            }
        }
    }
}

static void every_row_has_a_run(void **state)
{
    (void)state;
    for (enum node_action action = ACTION_NONE + 1; action < ACTIONS; action++) {
        for (const struct seq_step *step = op_steps(action); step->name != NULL; step++) {
            assert_non_null(step->run);
            assert_null(strchr(step->name, ':')); /* It separates the parts of a stop point. */
        }
    }
}

/* pg_basebackup can not compress a directory; the server can, on the way. */
static void an_option_that_harms_is_left_out(void **state)
{
    static const char *const refused[] = {"compress", "pgdata", NULL};
    struct kv_list options = {0};
    struct op_args args = {0};

    (void)state;
    kv_add(&options, "--pgdata=/x", NULL);
    kv_add(&options, "compress", "9");
    kv_add(&options, "--compress=9", NULL);
    kv_add(&options, "compress", NULL);
    kv_add(&options, "compress", "server-lz4");
    kv_add(&options, "--compress=server-gzip", NULL);
    kv_add(&options, "--max-rate", "1M");
    kv_add(&options, "verbose", NULL);

    op_args_add_options(&args, &options, refused, "test");

    assert_int_equal(args.n, 4);
    assert_string_equal(op_args_list(&args)[0], "--compress=server-lz4");
    assert_string_equal(op_args_list(&args)[1], "--compress=server-gzip");
    assert_string_equal(op_args_list(&args)[2], "--max-rate=1M");
    assert_string_equal(op_args_list(&args)[3], "--verbose");
    op_args_deinit(&args);
    kv_deinit(&options);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_steps_are_those_of_the_golden_file),
        cmocka_unit_test(a_name_stands_once_in_its_table),
        cmocka_unit_test(every_row_has_a_run),
        cmocka_unit_test(an_option_that_harms_is_left_out),
    };

    if (argc == 2 && str_equal(argv[1], "--print")) {
        struct strbuf b = {0};

        print_steps(&b);
        fputs(b.data, stdout);
        strbuf_deinit(&b);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
