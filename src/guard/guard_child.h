/*
 * The postmaster's start. What a child would inherit of the guard and must not have is put
 * off between fork and exec, in an order that matters: see run() in guard_child.c.
 */
#ifndef VECHE_GUARD_GUARD_CHILD_H
#define VECHE_GUARD_GUARD_CHILD_H

#include <sys/types.h>

#include "guard/guard_cgroup.h"
#include "guard/guard_packet.h"

struct guard_child {
    const struct guard_texts *texts;
    uid_t uid; /* What it runs as; may be ours. */
    gid_t gid;
    int null_fd;
    int output_fd;
    int cwd_fd;
    const struct guard_cgroup *cgroup; /* NULL = none to enter. */
};

/* What the child writes before it gives up; at exec the pipe just ends. */
struct guard_child_failure {
    int32_t errnum;
    char step[32];
};

/* -1: there is no child, ret_failure says why. exec_fd: the pipe, does not block. */
int guard_child_start(const struct guard_child *child, pid_t *ret_pid, int *ret_exec_fd,
                      struct guard_child_failure *ret_failure);

#endif
