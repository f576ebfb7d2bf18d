/*
 * How PostgreSQL is frozen, looked at, thawed and killed: by its cgroup, else by signals.
 *
 * The cgroup's freezer does not count a process in D as frozen, and nobody can see from
 * outside which of the others are. So when it is not done soon and something is in D,
 * everything is told to stop by signals too and then let out of the freezer: whoever was
 * caught there meets SIGSTOP before it can run on, and each can be looked at.
 */
#ifndef VECHE_GUARD_GUARD_FENCE_H
#define VECHE_GUARD_GUARD_FENCE_H

#include "guard/guard_cgroup.h"
#include "guard/guard_processes.h"

struct guard_fence {
    struct guard_processes *processes;
    const struct guard_cgroup *cgroup;
    bool has_cgroup;         /* What runs was started in the cgroup. */
    bool by_cgroup;          /* This freeze. */
    pid_t postmaster;        /* 0 = none. */
    struct clock_pair began; /* This freeze. */
    unsigned n_looks;        /* Of this freeze or kill. */
};

void guard_fence_freeze(struct guard_fence *f, struct clock_pair now);
/* While freezing: stops what still runs. While frozen it leaves that to be seen. */
struct guard_look guard_fence_look(struct guard_fence *f, struct clock_pair now, bool is_frozen);
/* False: it is frozen still, to be tried again. */
MUST_USE bool guard_fence_thaw(struct guard_fence *f);
/* Kills; returns how many are left. */
size_t guard_fence_kill(struct guard_fence *f);

#endif
