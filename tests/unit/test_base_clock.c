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

/* What is written is read again, each day of 400 years and some; and what else is a time. */
static void a_time_is_read_as_it_was_written(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
        bool has_zone;
    } good[] = {
        {"2026-08-01T12:00:00+00:00", INT64_C(1785585600000000), true},
        {"2026-08-01T14:00:00+02:00", INT64_C(1785585600000000), true},
        {"2026-08-01 08:30-0330", INT64_C(1785585600000000), true},
        {"2026-08-01T12:00Z", INT64_C(1785585600000000), true},
        {"2026-08-01 12:00:00 +00", INT64_C(1785585600000000), true},
        {"2026-08-01T12:00:00", INT64_C(1785585600000000), false},
        {"2026-08-01T12:00", INT64_C(1785585600000000), false},
        {"2026-08-01T12:00:00.25z", INT64_C(1785585600250000), true},
        {"2026-08-01T12:00:00.1234567Z", INT64_C(1785585600123456), true},
        {"2024-02-29T00:00Z", INT64_C(1709164800000000), true},
        {"1970-01-01T00:00Z", 0, true},
    };
    static const char *const bad[] = {
        "",
        "now",
        "2026-08-01",
        "2026-08-01T",
        "2026-8-1T12:00Z",
        "2026-02-29T00:00Z",
        "2026-13-01T00:00Z",
        "2026-00-01T00:00Z",
        "2026-04-31T00:00Z",
        "2026-08-01T24:00Z",
        "2026-08-01T12:60Z",
        "2026-08-01T12:00:60Z",
        "2026-08-01T12:00:00.Z",
        "2026-08-01T12:00X",
        "2026-08-01T12:00+2",
        "2026-08-01T12:00+02:0",
        "2026-08-01T12:00+02:60",
        "2026-08-01T12:00+15:00",
        "2026-08-01T12:00Z ",
        "1969-12-31T00:00Z",
        "2026-08-01T12:00+02:00x",
        " 2026-08-01T12:00Z",
        "99999-01-01T00:00Z",
    };
    char text[CLOCK_TEXT_SIZE];
    int64_t us;
    bool has_zone;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
        if (!clock_parse_iso(good[i].text, &us, &has_zone) || us != good[i].us ||
            has_zone != good[i].has_zone) {
            fail_msg("%s", good[i].text);
        }
    }
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        if (clock_parse_iso(bad[i], &us, &has_zone)) {
            fail_msg("%s", bad[i]);
        }
    }
    for (int64_t day = 0; day < 150000; day++) {
        int64_t moment = (day * 86400 + day % 86400) * 1000000 + day;

        assert_true(clock_parse_iso(clock_format_iso(moment, text, sizeof(text)), &us, &has_zone));
        assert_true(us == moment && has_zone);
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
        cmocka_unit_test(a_time_is_read_as_it_was_written),
        cmocka_unit_test(clocks_do_not_go_back),
        cmocka_unit_test(a_pair_counts_what_is_worse_for_an_owner),
        cmocka_unit_test(a_pair_at_its_edges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
