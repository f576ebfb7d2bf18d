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

uint64_t clock_ms(void)
{
    return read_ns(CLOCK_BOOTTIME) / NS_PER_MS;
}

int64_t clock_wall_us(void)
{
    return (int64_t)(read_ns(CLOCK_REALTIME) / 1000);
}

const char *clock_format_iso(int64_t wall_us, char *text, size_t size)
{
    time_t seconds = (time_t)(wall_us / 1000000);
    int micros = (int)(wall_us % 1000000);
    struct tm tm;
    char date[32];

    PRE(size >= CLOCK_TEXT_SIZE);
    if (micros < 0) { /* Before 1970. */
        micros += 1000000;
        seconds--;
    }
    if (gmtime_r(&seconds, &tm) == NULL || strftime(date, sizeof(date), "%FT%T", &tm) == 0) {
        (void)snprintf(text, size, "unknown");
        return text;
    }
    (void)snprintf(text, size, "%s.%06d+00:00", date, micros);
    return text;
}
