/*
 * Clock readings, see clock.h.
 */
#include "base/clock.h"

static uint64_t read_ns(clockid_t id)
{
    struct timespec ts;
    int rv = clock_gettime(id, &ts);

    ASSERT(rv == 0);
    return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

struct clock_pair clock_pair_now(void)
{
    return (struct clock_pair){read_ns(CLOCK_MONOTONIC_RAW), read_ns(CLOCK_BOOTTIME)};
}

static uint64_t add_ns(uint64_t t, uint64_t duration_ns)
{
    return t > UINT64_MAX - duration_ns ? UINT64_MAX : t + duration_ns;
}

struct clock_pair clock_pair_add(struct clock_pair t, uint64_t duration_ns)
{
    return (struct clock_pair){add_ns(t.raw_ns, duration_ns), add_ns(t.boot_ns, duration_ns)};
}

uint64_t clock_pair_elapsed_ns(struct clock_pair since, struct clock_pair now)
{
    if (now.raw_ns < since.raw_ns || now.boot_ns < since.boot_ns) {
        return UINT64_MAX;
    }
    return MAX(now.raw_ns - since.raw_ns, now.boot_ns - since.boot_ns);
}

uint64_t clock_pair_left_ns(struct clock_pair deadline, struct clock_pair now)
{
    if (now.raw_ns >= deadline.raw_ns || now.boot_ns >= deadline.boot_ns) {
        return 0;
    }
    return MIN(deadline.raw_ns - now.raw_ns, deadline.boot_ns - now.boot_ns);
}

uint64_t clock_ms(void)
{
    return read_ns(CLOCK_BOOTTIME) / NS_PER_MS;
}

int64_t clock_wall_us(void)
{
    return (int64_t)(read_ns(CLOCK_REALTIME) / 1000);
}

/* Years begin in March here, so that the leap day is the last of one, and months are as
 * long as the rule of 153 days in five of them says. */
static void date_of(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day)
{
    const int64_t per_400_years = 146097, before_1970 = 719468; /* Since the first of March, 0. */
    int64_t since = days + before_1970, cycle, year;
    int day, month;

    cycle = (since - (since < 0 ? per_400_years - 1 : 0)) / per_400_years;
    day = (int)(since - cycle * per_400_years);
    year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= (int)(365 * year + year / 4 - year / 100);
    month = (5 * day + 2) / 153;
    *ret_day = day - (153 * month + 2) / 5 + 1;
    *ret_month = month < 10 ? month + 3 : month - 9;
    *ret_year = year + 400 * cycle + (*ret_month <= 2);
}

/* Not libc's: that reads /etc/localtime the first time, for UTC as well, and is big (the
 * guard locks what it links). */
const char *clock_format_iso(int64_t wall_us, char *text, size_t size)
{
    const int64_t day_us = INT64_C(86400) * 1000000;
    int64_t days = wall_us / day_us, rest = wall_us % day_us, year;
    int month, day, seconds;

    PRE(size >= CLOCK_TEXT_SIZE);
    if (rest < 0) { /* Before 1970. */
        rest += day_us;
        days--;
    }
    date_of(days, &year, &month, &day);
    seconds = (int)(rest / 1000000);
    (void)snprintf(text, size, "%04lld-%02d-%02dT%02d:%02d:%02d.%06d+00:00", (long long)year, month,
                   day, seconds / 3600, seconds / 60 % 60, seconds % 60, (int)(rest % 1000000));
    return text;
}
