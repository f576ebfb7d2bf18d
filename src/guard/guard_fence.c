/*
 * See guard_fence.h.
 */
#include "guard/guard_fence.h"

#include <signal.h>

#define CGROUP_ALONE_NS (10 * NS_PER_MS) /* So long the freezer is given, if something is in D. */
#define TELL_EVERY      16               /* Looks while freezing. */
#define SCAN_EVERY      50               /* Looks at what is frozen. */
#define KILL_SCANS      10               /* The first kills look for new processes, */
#define KILL_SCAN_EVERY 10               /* later ones seldom. */

/* ---- By signals ---- */

static void stop_all(struct guard_fence *f)
{
    (void)guard_processes_scan(f->processes);
    guard_processes_stop(f->processes, f->postmaster);
}

/* Everything anew; whoever runs is told to stop. */
static struct guard_look look_at_all(struct guard_fence *f)
{
    struct guard_look look;

    (void)guard_processes_scan(f->processes);
    look = guard_processes_look(f->processes);
    if (look.n_running > 0) {
        guard_processes_stop(f->processes, f->postmaster);
    }
    return look;
}

/*
 * Those that ran the last time, until none does: looking at all of them again would take the
 * processor that they need to come to a stop. Then all. A process that was forked during a
 * scan may be missing in it; whoever forked it has stopped, or runs, so it is in the next
 * one: only the second scan in a row that sees all stopped says so.
 */
static struct guard_look look_freezing(struct guard_fence *f)
{
    struct guard_look look;

    guard_processes_refresh(f->processes, true);
    look = guard_processes_look(f->processes);
    if (look.n_running > 0 && f->n_looks % TELL_EVERY == 0) { /* Somebody may continue them. */
        guard_processes_forget_told(f->processes);
        return look_at_all(f);
    }
    if (look.n_running == 0) {
        look = look_at_all(f);
    }
    if (look.n_running == 0) {
        look = look_at_all(f);
    }
    if (look.n_running == 0) {
        guard_processes_mark_waiting(f->processes);
    }
    return look;
}

/* Nothing new can have come while nothing runs. */
static struct guard_look look_frozen(struct guard_fence *f)
{
    if (f->n_looks % SCAN_EVERY == 0) {
        (void)guard_processes_scan(f->processes);
    } else {
        guard_processes_refresh(f->processes, false);
    }
    guard_processes_mark_waiting(f->processes);
    guard_processes_stop_waiting(f->processes);
    guard_processes_hold(f->processes);
    return guard_processes_look(f->processes);
}

/* ---- By the cgroup ---- */

static void change_to_signals(struct guard_fence *f)
{
    stop_all(f);
    f->by_cgroup = guard_cgroup_thaw(f->cgroup) != 0;
}

static struct guard_look look_cgroup(struct guard_fence *f, struct clock_pair now, bool is_frozen)
{
    struct guard_look look = {.n = (uint32_t)f->processes->n_ours};

    if (guard_cgroup_is_frozen(f->cgroup)) {
        return look;
    }
    look.n_running = 1;
    look.n = MAX(look.n, 1);
    if (!is_frozen && clock_pair_elapsed_ns(f->began, now) >= CGROUP_ALONE_NS) {
        (void)guard_processes_scan(f->processes);
        if (guard_processes_n_waiting(f->processes) > 0) {
            change_to_signals(f);
        }
    }
    return look;
}

/* ---- For the guard ---- */

void guard_fence_freeze(struct guard_fence *f, struct clock_pair now)
{
    f->began = now;
    f->n_looks = 0;
    guard_processes_forget_told(f->processes);
    f->by_cgroup = f->has_cgroup && guard_cgroup_freeze(f->cgroup) == 0;
    if (!f->by_cgroup) {
        stop_all(f);
    }
}

struct guard_look guard_fence_look(struct guard_fence *f, struct clock_pair now, bool is_frozen)
{
    f->n_looks++;
    if (f->by_cgroup) {
        return look_cgroup(f, now, is_frozen);
    }
    return is_frozen ? look_frozen(f) : look_freezing(f);
}

bool guard_fence_thaw(struct guard_fence *f)
{
    if (f->by_cgroup) {
        f->by_cgroup = guard_cgroup_thaw(f->cgroup) != 0;
        return !f->by_cgroup;
    }
    (void)guard_processes_scan(f->processes);
    guard_processes_release(f->processes);
    guard_processes_signal(f->processes, SIGCONT, f->postmaster);
    guard_processes_forget_told(f->processes);
    return true;
}

size_t guard_fence_kill(struct guard_fence *f)
{
    if (f->has_cgroup) {
        guard_cgroup_kill(f->cgroup);
    }
    if (f->n_looks < KILL_SCANS || f->n_looks % KILL_SCAN_EVERY == 0) {
        (void)guard_processes_scan(f->processes);
    } else {
        guard_processes_refresh(f->processes, false);
    }
    f->n_looks++;
    guard_processes_signal(f->processes, SIGKILL, f->postmaster);
    return f->processes->n_ours;
}
