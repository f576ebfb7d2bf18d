/*
 * The cgroup of PostgreSQL, where we may have one: below our own cgroup v2 two are made,
 * `guard` for ourselves and `pg` for what the postmaster starts. No controllers are enabled
 * below. The freezer needs no help of the frozen, and no SIGCONT undoes it.
 *
 * Everything is opened at the start; later calls only read and write.
 */
#ifndef VECHE_GUARD_GUARD_CGROUP_H
#define VECHE_GUARD_GUARD_CGROUP_H

#include <limits.h>
#include <sys/types.h>

#include "base/err.h"

struct guard_cgroup {
    bool is_usable;
    int dir_fd;    /* Of `pg`; -1 = none. Locked: no other guard uses it. */
    int procs_fd;  /* cgroup.procs */
    int freeze_fd; /* cgroup.freeze */
    int events_fd; /* cgroup.events */
    int kill_fd;   /* cgroup.kill; -1 = the kernel has none. */
};

/* 0: usable. Else err says why not, and PostgreSQL is stopped by signals. */
int guard_cgroup_init(struct guard_cgroup *c, struct err *err);

/* By root, before it gives itself up: our own cgroup, if the service manager left it to us
 * to divide (Delegate=yes), is given to the user. 0 also if it did not. */
int guard_cgroup_give(uid_t uid, gid_t gid, struct err *err);

/* Nobody is in it: only then may PostgreSQL be started there. */
bool guard_cgroup_is_empty(const struct guard_cgroup *c);
bool guard_cgroup_has(const struct guard_cgroup *c, pid_t pid);
/* In the child: enters it. */
int guard_cgroup_enter(const struct guard_cgroup *c);

int guard_cgroup_freeze(const struct guard_cgroup *c);
int guard_cgroup_thaw(const struct guard_cgroup *c);
bool guard_cgroup_is_frozen(const struct guard_cgroup *c);
void guard_cgroup_kill(const struct guard_cgroup *c);

#endif
