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

/* The digits at *text, exactly n of them, as a number of [min, max]. */
static bool take_digits(const char **text, size_t n, int64_t min, int64_t max, int64_t *ret_value)
{
    int64_t value = 0;

    for (size_t i = 0; i < n; i++) {
        char c = (*text)[i];

        if (c < '0' || c > '9') {
            return false;
        }
        value = value * 10 + (c - '0');
    }
    *text += n;
    *ret_value = value;
    return value >= min && value <= max;
}

static bool take_char(const char **text, char c)
{
    bool is_there = **text == c;

    *text += is_there ? 1 : 0;
    return is_there;
}

/* ".123456", and what is finer is left out. */
static bool take_fraction(const char **text, int64_t *ret_us)
{
    int64_t scale = 100000;
    const char *begin = *text;

    *ret_us = 0;
    for (; **text >= '0' && **text <= '9'; (*text)++) {
        *ret_us += (**text - '0') * scale;
        scale /= 10;
    }
    return *text > begin;
}

/* Seconds east of UTC. */
static bool take_zone(const char **text, int64_t *ret_seconds, bool *ret_has_zone)
{
    int64_t hours = 0, minutes = 0;
    int64_t sign = **text == '-' ? -1 : 1;

    *ret_seconds = 0;
    *ret_has_zone = **text != '\0';
    if (!*ret_has_zone || take_char(text, 'Z') || take_char(text, 'z')) {
        return true;
    }
    if ((!take_char(text, '+') && !take_char(text, '-')) || !take_digits(text, 2, 0, 14, &hours) ||
        (**text != '\0' && (take_char(text, ':'), !take_digits(text, 2, 0, 59, &minutes)))) {
        return false;
    }
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool clock_parse_iso(const char *text, int64_t *ret_wall_us, bool *ret_has_zone)
{
    int64_t wanted_year, wanted_month, wanted_day, hour, minute, second = 0, us = 0, zone, year;
    int64_t days;
    int month, day;

    if (!take_digits(&text, 4, 1970, 9999, &wanted_year) || !take_char(&text, '-') ||
        !take_digits(&text, 2, 1, 12, &wanted_month) || !take_char(&text, '-') ||
        !take_digits(&text, 2, 1, 31, &wanted_day) ||
        (!take_char(&text, 'T') && !take_char(&text, ' ')) ||
        !take_digits(&text, 2, 0, 23, &hour) || !take_char(&text, ':') ||
        !take_digits(&text, 2, 0, 59, &minute) ||
        (take_char(&text, ':') && (!take_digits(&text, 2, 0, 59, &second) ||
                                   (take_char(&text, '.') && !take_fraction(&text, &us))))) {
        return false;
    }
    (void)take_char(&text, ' ');
    if (!take_zone(&text, &zone, ret_has_zone) || *text != '\0') {
        return false;
    }
    /* At most two months too early; then day by day, so that only date_of() knows the calendar. */
    days = (wanted_year - 1970) * 365 + (wanted_year - 1969) / 4 - (wanted_year - 1901) / 100 +
           (wanted_year - 1601) / 400 + (wanted_month - 1) * 28 + wanted_day - 1;
    for (date_of(days, &year, &month, &day);
         year < wanted_year ||
         (year == wanted_year &&
          (month < wanted_month || (month == wanted_month && day < wanted_day)));
         date_of(++days, &year, &month, &day)) {
    }
    *ret_wall_us = (days * 86400 + hour * 3600 + minute * 60 + second - zone) * 1000000 + us;
    return year == wanted_year && month == wanted_month && day == wanted_day;
}
