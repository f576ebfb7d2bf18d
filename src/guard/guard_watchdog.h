/*
 * The kernel's watchdog, for what no process can guard against: a machine on which neither
 * agent nor guard runs any more is reset before its lease is over.
 *
 * Essence (design.md section 5.1). It runs while PostgreSQL may write. It is fed only while
 * what it then grants ends within the lease, or nothing of PostgreSQL runs: so if feeding
 * ends for any reason, the reset comes at the deadline or before. The last feed is as late
 * as that allows, so that a freeze, which begins shortly before the deadline, is in time to
 * feed it again: a lease that is lost is no reason for a reset.
 *
 * While nothing of PostgreSQL runs it is fed as well; one that was fed then and begins to
 * run at the end of a lease is reset at most the timeout after it, once.
 *
 * Pure; the device is a seam (guard_watchdog_device.c, or a test's).
 */
#ifndef VECHE_GUARD_GUARD_WATCHDOG_H
#define VECHE_GUARD_GUARD_WATCHDOG_H

#include <limits.h>

#include "base/err.h"
#include "guard/guard_logic.h"

enum guard_watchdog_mode {
    GUARD_WATCHDOG_OFF = 0,
    GUARD_WATCHDOG_AUTOMATIC, /* Do without, if there is none. */
    GUARD_WATCHDOG_REQUIRED,  /* The same here: the agent starts no primary without it. */
};
#define GUARD_WATCHDOG_MODES (GUARD_WATCHDOG_REQUIRED + 1)

struct guard_watchdog_device {
    /* Starts it with that timeout. ret_can_stop: it may be stopped again. */
    int (*start)(void *data, const char *path, uint32_t timeout_s, bool *ret_can_stop,
                 struct err *err);
    int (*feed)(void *data);
    void (*stop)(void *data);
    void *data;
};

struct guard_watchdog {
    /* As configured. */
    enum guard_watchdog_mode mode;
    int32_t safety_margin_s; /* Counts from a ttl of 10 s on; -1 = half of the ttl. */
    bool is_testing;         /* Of which kind the device is. */
    char path[PATH_MAX];
    /* Now. */
    bool is_active;
    bool can_stop;
    uint32_t timeout_s;
    struct clock_pair fed_at;
    uint64_t interval_ns; /* Until it is fed again. */
    bool tried;           /* Starting it failed, */
    struct clock_pair tried_at;
    struct err problem; /* for this reason. Empty = none. */
};

/* 0 = none fits into that ttl. */
uint32_t guard_watchdog_timeout_s(uint64_t ttl_ns, int32_t safety_margin_s);

/* Starts, feeds or stops it; after guard_logic has settled. *wake_ns is lowered to when it
 * is to be called again. True: is_active or problem changed. */
bool guard_watchdog_step(struct guard_watchdog *w, const struct guard_watchdog_device *device,
                         const struct guard_logic *g, struct clock_pair now, uint64_t *wake_ns);
/* The guard ends: PostgreSQL is gone. Or another device takes its place. Nothing happens to one
 * that can not be stopped. */
void guard_watchdog_end(struct guard_watchdog *w, const struct guard_watchdog_device *device);

#endif
