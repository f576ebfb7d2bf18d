/*
 * Clock texts and readings.
 */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void wall_clock_is_written_as_iso_8601(void **state)
{
    /* Before, at and after 1970, and a year that is none. */
    char text[CLOCK_TEXT_SIZE];

    (void)state;
    assert_string_equal(clock_format_iso(0, text, sizeof(text)),
                        "1970-01-01T00:00:00.000000+00:00");
    assert_string_equal(clock_format_iso(1785578400123456, text, sizeof(text)),
                        "2026-08-01T10:00:00.123456+00:00");
    assert_string_equal(clock_format_iso(-1, text, sizeof(text)),
                        "1969-12-31T23:59:59.999999+00:00");
    (void)clock_format_iso(INT64_MIN, text, sizeof(text));
    (void)clock_format_iso(INT64_MAX, text, sizeof(text));
}

static void every_day_is_written_as_libc_writes_it(void **state)
{
    /* Each day of 1,600 years around 1970, at a different second. */
    (void)state;
    for (int64_t days = -800 * 366; days < 800 * 366; days++) {
        time_t seconds = days * 86400 + (days < 0 ? -days : days) % 86400;
        char text[CLOCK_TEXT_SIZE], expected[64];
        struct tm tm;

        assert_non_null(gmtime_r(&seconds, &tm));
        assert_true(strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.000007+00:00", &tm) >
                    0);
        assert_string_equal(clock_format_iso(seconds * 1000000 + 7, text, sizeof(text)), expected);
    }
}

static void clocks_do_not_go_back(void **state)
{
    /* Two readings. */
    struct clock_pair a = clock_pair_now();
    uint64_t ms = clock_ms();
    struct clock_pair b = clock_pair_now();

    (void)state;
    assert_true(b.raw_ns >= a.raw_ns && b.boot_ns >= a.boot_ns && clock_ms() >= ms);
    assert_true(clock_wall_us() > 0);
}

static void a_pair_counts_what_is_worse_for_an_owner(void **state)
{
    /* BOOTTIME went 3 on while RAW went 5, and the other way round. */
    struct clock_pair since = {100, 200};

    (void)state;
    assert_int_equal(clock_pair_elapsed_ns(since, (struct clock_pair){105, 203}), 5);
    assert_int_equal(clock_pair_elapsed_ns(since, (struct clock_pair){103, 205}), 5);
    assert_int_equal(clock_pair_left_ns((struct clock_pair){110, 210}, since), 10);
    assert_int_equal(clock_pair_left_ns((struct clock_pair){110, 207}, since), 7);
    assert_int_equal(clock_pair_left_ns((struct clock_pair){107, 210}, since), 7);
}

static void a_pair_at_its_edges(void **state)
{
    /* Over on one clock, backwards on one clock, past the end of numbers. */
    struct clock_pair t = {100, 200};
    struct clock_pair late = clock_pair_add((struct clock_pair){UINT64_MAX - 1, 5}, 10);

    (void)state;
    assert_int_equal(clock_pair_left_ns((struct clock_pair){100, 300}, t), 0);
    assert_int_equal(clock_pair_left_ns((struct clock_pair){300, 200}, t), 0);
    assert_true(clock_pair_elapsed_ns(t, (struct clock_pair){99, 300}) == UINT64_MAX);
    assert_true(clock_pair_elapsed_ns(t, (struct clock_pair){300, 199}) == UINT64_MAX);
    assert_true(late.raw_ns == UINT64_MAX && late.boot_ns == 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wall_clock_is_written_as_iso_8601),
        cmocka_unit_test(every_day_is_written_as_libc_writes_it),
        cmocka_unit_test(clocks_do_not_go_back),
        cmocka_unit_test(a_pair_counts_what_is_worse_for_an_owner),
        cmocka_unit_test(a_pair_at_its_edges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
