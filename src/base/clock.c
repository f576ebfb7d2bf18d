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
