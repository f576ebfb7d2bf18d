/*
 * See guard_watchdog.h.
 */
#include "guard/guard_watchdog.h"

#define SECOND_NS     UINT64_C(1000000000)
#define MARGIN_TTL_NS (10 * SECOND_NS)
#define TTL_MIN_NS    (3 * SECOND_NS / 2) /* Its second would not fit between two rounds. */
#define TRY_AGAIN_NS  (5 * SECOND_NS)
#define LAST_NS       (2 * NS_PER_MS) /* Closer to the last moment is not worth a wait. */

uint32_t guard_watchdog_timeout_s(uint64_t ttl_ns, int32_t safety_margin_s)
{
    uint64_t half = ttl_ns / 2 / SECOND_NS, most = ttl_ns / 4 * 3 / SECOND_NS, left;

    if (ttl_ns < TTL_MIN_NS) {
        return 0;
    }
    if (ttl_ns < MARGIN_TTL_NS || safety_margin_s < 0) {
        return (uint32_t)MAX(half, 1);
    }
    /* More than three quarters could not be fed between two rounds of the lease. */
    left = ttl_ns / SECOND_NS;
    left = left > (uint64_t)safety_margin_s ? left - (uint64_t)safety_margin_s : 1;
    return (uint32_t)MIN(left, most);
}

/* How much later than now it may still be fed; UINT64_MAX = at any time, 0 = not now. */
static uint64_t rest_ns(const struct guard_watchdog *w, const struct guard_logic *g,
                        struct clock_pair now)
{
    uint64_t left = guard_logic_left_ns(g, now), timeout = w->timeout_s * SECOND_NS;

    switch (g->phase) {
    case GUARD_EMPTY:
    case GUARD_OPEN:
    case GUARD_DISARMED:
    case GUARD_FROZEN:
        return UINT64_MAX;
    case GUARD_ARMED:
    case GUARD_FREEZING:
    case GUARD_KILLING:
        break;
    }
    return left > timeout ? left - timeout : 0;
}

static bool start(struct guard_watchdog *w, const struct guard_watchdog_device *device,
                  const struct guard_logic *g, struct clock_pair now)
{
    bool had_problem = w->problem.text[0] != '\0';

    /* What it grants at its start must end in time too. */
    if (g->phase == GUARD_ARMED &&
        guard_logic_left_ns(g, now) <=
            SECOND_NS * guard_watchdog_timeout_s(g->ttl_ns, w->safety_margin_s)) {
        return false;
    }
    if (w->tried && clock_pair_elapsed_ns(w->tried_at, now) < TRY_AGAIN_NS) {
        return false;
    }
    w->tried = true;
    w->tried_at = now;
    w->timeout_s = guard_watchdog_timeout_s(g->ttl_ns, w->safety_margin_s);
    if (w->timeout_s == 0) {
        (void)err_set(&w->problem, "watchdog: the ttl is too short for it");
        return !had_problem;
    }
    if (device->start(device->data, w->path, w->timeout_s, &w->can_stop, &w->problem) != 0) {
        return !had_problem;
    }
    w->problem.text[0] = '\0';
    w->tried = false;
    w->is_active = true;
    w->fed_at = now;
    w->interval_ns = 0;
    return true;
}

static bool stop(struct guard_watchdog *w, const struct guard_watchdog_device *device)
{
    if (!w->can_stop) {
        return false; /* It is fed for ever. */
    }
    device->stop(device->data);
    w->is_active = false;
    return true;
}

static bool feed(struct guard_watchdog *w, const struct guard_watchdog_device *device,
                 uint64_t rest, struct clock_pair now, uint64_t *wake_ns)
{
    uint64_t elapsed = clock_pair_elapsed_ns(w->fed_at, now);

    if (rest == 0) {
        return false; /* The next arm, or the end of the freeze, wakes us. */
    }
    if (elapsed >= w->interval_ns) {
        if (device->feed(device->data) != 0) {
            (void)err_set(&w->problem, "watchdog: it can not be fed, a reset is near");
            return true;
        }
        elapsed = 0;
        w->fed_at = now;
        /* Ever shorter towards the last moment at which it may be fed. */
        w->interval_ns = MIN(w->timeout_s * SECOND_NS / 4, MAX(rest / 10 * 9, LAST_NS));
    }
    *wake_ns = MIN(*wake_ns, w->interval_ns - elapsed);
    return false;
}

/* The ttl changed: started again with what fits now, if anything does: it could not be fed
 * any more, and would reset a machine on which all is well. */
static bool is_outgrown(const struct guard_watchdog *w, const struct guard_logic *g)
{
    return guard_watchdog_timeout_s(g->ttl_ns, w->safety_margin_s) != w->timeout_s;
}

bool guard_watchdog_step(struct guard_watchdog *w, const struct guard_watchdog_device *device,
                         const struct guard_logic *g, struct clock_pair now, uint64_t *wake_ns)
{
    bool is_wanted = w->mode != GUARD_WATCHDOG_OFF && g->may_write;
    bool changed = false;

    if (!is_wanted) {
        w->tried = false;
        w->problem.text[0] = '\0';
    }
    if (w->is_active && (!is_wanted || (w->can_stop && is_outgrown(w, g)))) {
        changed = stop(w, device);
    }
    /* Not while something runs that it could not be fed for. */
    if (is_wanted && !w->is_active && (g->phase == GUARD_EMPTY || g->phase == GUARD_ARMED)) {
        changed |= start(w, device, g, now);
        if (!w->is_active) {
            *wake_ns = MIN(*wake_ns, TRY_AGAIN_NS);
        }
    }
    if (w->is_active) {
        changed |= feed(w, device, rest_ns(w, g, now), now, wake_ns);
    }
    return changed;
}

void guard_watchdog_end(struct guard_watchdog *w, const struct guard_watchdog_device *device)
{
    if (w->is_active) {
        (void)stop(w, device);
    }
}
