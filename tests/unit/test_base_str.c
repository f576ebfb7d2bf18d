/*
 * Bounded strings.
 */
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void copy_is_cut_and_terminated(void **state)
{
    /* Targets that fit, fit exactly, and do not. */
    char dst[4] = "???";

    (void)state;
    assert_true(str_copy(dst, sizeof(dst), "abc"));
    assert_string_equal(dst, "abc");
    assert_false(str_copy(dst, sizeof(dst), "abcd"));
    assert_string_equal(dst, "abc");
    assert_false(str_copy(dst, 1, "a"));
    assert_string_equal(dst, "");
}

static void comparisons_take_null_and_empty(void **state)
{
    /* Edges of equality, prefix and suffix. */
    (void)state;
    assert_true(str_equal(NULL, NULL));
    assert_false(str_equal(NULL, ""));
    assert_true(str_equal("a", "a"));
    assert_true(str_starts_with("abc", ""));
    assert_false(str_starts_with("ab", "abc"));
    assert_true(str_ends_with("abc", "bc"));
    assert_false(str_ends_with("c", "bc"));
}

static void numbers_are_whole_and_in_range(void **state)
{
    /* What strtoull would take and we do not. */
    uint64_t u = 7;
    int64_t i = 7;

    (void)state;
    assert_true(str_to_u64("18446744073709551615", 0, UINT64_MAX, &u));
    assert_true(u == UINT64_MAX);
    u = 7;
    assert_false(str_to_u64("18446744073709551616", 0, UINT64_MAX, &u));
    assert_false(str_to_u64("-1", 0, UINT64_MAX, &u));
    assert_false(str_to_u64(" 1", 0, 9, &u));
    assert_false(str_to_u64("1 ", 0, 9, &u));
    assert_false(str_to_u64("", 0, 9, &u));
    assert_false(str_to_u64("10", 0, 9, &u));
    assert_true(u == 7);
    assert_true(str_to_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &i));
    assert_true(i == INT64_MIN);
    assert_false(str_to_i64("--1", -9, 9, &i));
    assert_false(str_to_i64("-", -9, 9, &i));
    assert_false(str_to_i64("0x1", -9, 9, &i));
}

static void distance_counts_edits(void **state)
{
    /* A mistyped key. */
    char far[80];

    (void)state;
    memset(far, 'x', sizeof(far) - 1);
    far[sizeof(far) - 1] = '\0';
    assert_int_equal(str_distance("loop_wait", "loop_wait"), 0);
    assert_int_equal(str_distance("lop_wiat", "loop_wait"), 3);
    assert_int_equal(str_distance("", "abc"), 3);
    assert_true(str_distance(far, "x") == SIZE_MAX);
}

static void full_buffer_says_so_and_stays_terminated(void **state)
{
    /* A buffer of eight bytes gets ten. */
    char data[8];
    struct sbuf b;

    (void)state;
    sbuf_init(&b, data, sizeof(data));
    sbuf_add(&b, "1234");
    sbuf_printf(&b, "%d", 567);
    assert_false(b.truncated);
    sbuf_add(&b, "890");
    sbuf_add(&b, "");

    assert_true(b.truncated);
    assert_int_equal(b.length, 7);
    assert_string_equal(data, "1234567");
}

static void growing_buffer_keeps_everything(void **state)
{
    /* A thousand numbers, and zero bytes among them. */
    struct strbuf b = {0};

    (void)state;
    for (int i = 0; i < 1000; i++) {
        strbuf_printf(&b, "%03d", i);
    }
    strbuf_add(&b, "\0z", 2);
    strbuf_add_text(&b, "");

    assert_int_equal(b.length, 3002);
    assert_memory_equal(b.data, "000001002", 9);
    assert_memory_equal(b.data + 3000, "\0z", 3);
    strbuf_deinit(&b);
    assert_null(b.data);
    strbuf_deinit(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copy_is_cut_and_terminated),
        cmocka_unit_test(comparisons_take_null_and_empty),
        cmocka_unit_test(numbers_are_whole_and_in_range),
        cmocka_unit_test(distance_counts_edits),
        cmocka_unit_test(full_buffer_says_so_and_stays_terminated),
        cmocka_unit_test(growing_buffer_keeps_everything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
