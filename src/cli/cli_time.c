/*
 * Times that an operator types: ISO 8601, with or without seconds and zone.
 */
#include <time.h>

#include "base/clock.h"
#include "cli/cli.h"

#define SECOND_US 1000000

/* "+02:00", "+0200", "+02", "Z", "" = local at that time. False if it is none of them. */
static bool read_zone(const char *text, struct tm *tm, long *ret_seconds)
{
    int hours = 0;
    int minutes = 0;
    int end = 0;

    if (text[0] == '\0') {
        tm->tm_isdst = -1;
        if (mktime(tm) == (time_t)-1) {
            return false;
        }
        *ret_seconds = tm->tm_gmtoff;
        return true;
    }
    if (str_equal(text, "Z") || str_equal(text, "z")) {
        *ret_seconds = 0;
        return true;
    }
    if ((text[0] != '+' && text[0] != '-') || strspn(text + 1, "0123456789:") != strlen(text + 1)) {
        return false;
    }
    if (!(sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &end) == 2 && text[1 + end] == '\0') &&
        !(sscanf(text + 1, "%2d%2d%n", &hours, &minutes, &end) == 2 && text[1 + end] == '\0') &&
        !(sscanf(text + 1, "%2d%n", &hours, &end) == 1 && text[1 + end] == '\0')) {
        return false;
    }
    *ret_seconds = (hours * 3600L + minutes * 60L) * (text[0] == '-' ? -1 : 1);
    return hours < 15 && minutes < 60;
}

/* What stands behind date and time; NULL if they are none. */
static const char *read_date(const char *when, struct tm *tm)
{
    static const char *const formats[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S",
                                          "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"};

    for (size_t i = 0; i < ARRAY_LENGTH(formats); i++) {
        const char *rest;

        *tm = (struct tm){0};
        rest = strptime(when, formats[i], tm);
        if (rest != NULL) {
            if (rest[0] == '.') {
                rest += 1 + strspn(rest + 1, "0123456789"); /* Parts of a second. */
            }
            return rest;
        }
    }
    return NULL;
}

bool cli_parse_time(const char *when, char *text, size_t size)
{
    struct tm tm;
    struct tm as_typed;
    const char *zone;
    long seconds;
    char sign;

    text[0] = '\0';
    if (when[0] == '\0' || str_equal(when, "now")) {
        return true;
    }
    zone = read_date(when, &tm);
    as_typed = tm;
    if (zone == NULL || !read_zone(zone + strspn(zone, " "), &tm, &seconds)) {
        cli_error("%s is no time: use \"now\" or one such as 2026-08-01T12:00+02:00", when);
        return false;
    }
    sign = seconds < 0 ? '-' : '+';
    seconds = seconds < 0 ? -seconds : seconds;
    (void)snprintf(text, size, "%04d-%02d-%02dT%02d:%02d:%02d%c%02ld:%02ld",
                   as_typed.tm_year + 1900, as_typed.tm_mon + 1, as_typed.tm_mday, as_typed.tm_hour,
                   as_typed.tm_min, as_typed.tm_sec, sign, seconds / 3600, seconds / 60 % 60);
    return true;
}

const char *cli_timestamp(int digits, char *text, size_t size)
{
    int64_t now_us = clock_wall_us();
    time_t now = (time_t)(now_us / SECOND_US);
    char seconds[CLI_TIME_SIZE] = "";
    char fraction[16];
    struct tm tm;

    PRE(digits >= 0 && digits <= 6);
    if (localtime_r(&now, &tm) != NULL) {
        (void)strftime(seconds, sizeof(seconds), "%Y-%m-%d %H:%M:%S", &tm); /* Fits. */
    }
    (void)snprintf(fraction, sizeof(fraction), ".%06d", (int)(now_us % SECOND_US));
    (void)snprintf(text, size, "%s%.*s", seconds, digits > 0 ? digits + 1 : 0, fraction);
    return text;
}
