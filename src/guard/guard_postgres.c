/*
 * What is done to PostgreSQL: started, adopted, waited for, frozen, thawed, killed. When
 * and whether, guard_logic says.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/str.h"
#include "guard/guard_internal.h"

/* ---- Starting ---- */

static void tell_started(struct guard *g, uint32_t sequence, enum guard_verdict verdict,
                         const struct guard_child_failure *failure)
{
    struct guard_started started = {
        .header = guard_agent_header(GUARD_STARTED, sizeof(started), sequence),
        .verdict = verdict,
        .pid = g->postmaster.pid,
    };

    if (failure != NULL) {
        started.pid = 0;
        started.errnum = failure->errnum;
        (void)str_copy(started.step, sizeof(started.step), failure->step); /* As long. */
    }
    guard_agent_tell(g, &started, sizeof(started), started.pid != 0 ? g->postmaster.pidfd : -1);
}

static void forget_postmaster(struct guard *g)
{
    if (g->postmaster.pidfd >= 0) {
        (void)close(g->postmaster.pidfd); /* A pidfd. */
    }
    if (g->postmaster.adopted) {
        guard_processes_orphan(&g->processes);
    }
    g->postmaster = (struct guard_postmaster){.pidfd = -1};
    g->fence.postmaster = 0;
}

static void watch_postmaster(struct guard *g, pid_t pid, bool adopted)
{
    g->postmaster = (struct guard_postmaster){pid, guard_pidfd_open(pid), adopted};
    g->fence.postmaster = pid;
    guard_processes_adopt(&g->processes, adopted ? pid : 0);
}

static bool may_use_cgroup(struct guard *g)
{
    if (!g->cgroup.is_usable) {
        return false;
    }
    if (guard_cgroup_is_empty(&g->cgroup) && guard_cgroup_thaw(&g->cgroup) == 0) {
        return true;
    }
    guard_log(g, GUARD_LEVEL_WARNING,
              "The cgroup pg holds processes that are not ours, PostgreSQL is not put into it; "
              "freezing goes by SIGSTOP.");
    return false;
}

void guard_postgres_start(struct guard *g, uint32_t sequence, const struct guard_child *child)
{
    struct guard_child with_cgroup = *child;
    struct guard_child_failure failure = {0};
    pid_t pid;

    g->starting.has_cgroup = may_use_cgroup(g);
    with_cgroup.cgroup = g->starting.has_cgroup ? &g->cgroup : NULL;
    if (guard_child_start(&with_cgroup, &pid, &g->starting.exec_fd, &failure) != 0) {
        guard_logic_on_gone(&g->logic);
        tell_started(g, sequence, GUARD_ACCEPTED, &failure);
        guard_log(g, GUARD_LEVEL_ERROR, "PostgreSQL was not started. step=\"%s\" error=\"%s\"",
                  failure.step, strerrordesc_np(failure.errnum));
        return;
    }
    g->starting.sequence = sequence;
    watch_postmaster(g, pid, false);
    /* From now on, and before it is known to be there: it is what a freeze reaches. */
    g->fence.has_cgroup = g->starting.has_cgroup;
}

void guard_postgres_on_exec(struct guard *g)
{
    struct guard_child_failure failure = {0};
    ssize_t n = read(g->starting.exec_fd, &failure, sizeof(failure));
    bool failed = n == (ssize_t)sizeof(failure);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    (void)close(g->starting.exec_fd); /* A pipe we read. */
    g->starting.exec_fd = -1;
    if (!failed && g->postmaster.pid == 0) { /* It was killed before it could say anything. */
        failed = true;
        failure = (struct guard_child_failure){.errnum = ESRCH, .step = "exec"};
    }
    if (!failed && g->fence.has_cgroup && !guard_cgroup_has(&g->cgroup, g->postmaster.pid)) {
        g->fence.has_cgroup = false;
        guard_log(g, GUARD_LEVEL_WARNING,
                  "PostgreSQL is not in its cgroup; freezing goes by SIGSTOP. pid=%d",
                  (int)g->postmaster.pid);
    }
    tell_started(g, g->starting.sequence, GUARD_ACCEPTED, failed ? &failure : NULL);
    if (failed) {
        guard_log(g, GUARD_LEVEL_ERROR, "PostgreSQL was not started. step=\"%.31s\" error=\"%s\"",
                  failure.step, strerrordesc_np(failure.errnum));
    } else {
        guard_log(g, GUARD_LEVEL_INFO, "PostgreSQL was started. pid=%d phase=%s frozen_by=%s",
                  (int)g->postmaster.pid, guard_phase_name(g->logic.phase),
                  g->fence.has_cgroup ? "cgroup" : "SIGSTOP");
    }
}

bool guard_postgres_adopt(struct guard *g, pid_t pid)
{
    if (pid == g->postmaster.pid) {
        return true;
    }
    if (g->postmaster.pid != 0) {
        return false;
    }
    watch_postmaster(g, pid, true);
    if (g->postmaster.pidfd < 0) {
        guard_log(g, GUARD_LEVEL_WARNING, "PostgreSQL is not adopted. pid=%d error=\"%s\"",
                  (int)pid, strerrordesc_np(errno));
        forget_postmaster(g);
        return false;
    }
    g->fence.has_cgroup = false; /* It is in somebody else's. */
    guard_log(g, GUARD_LEVEL_WARNING,
              "PostgreSQL was adopted: it does not notice the guard's death until it is started "
              "anew. pid=%d processes=%zu",
              (int)pid, guard_processes_scan(&g->processes));
    return true;
}

/* ---- Its end ---- */

static void tell_ended(struct guard *g, pid_t pid, int wait_status, size_t n_left)
{
    struct guard_ended ended = {
        .header = guard_agent_header(GUARD_ENDED, sizeof(ended), 0),
        .pid = (int32_t)pid,
        .wait_status = wait_status,
        .n_left = (uint32_t)n_left,
    };

    guard_agent_tell(g, &ended, sizeof(ended), -1);
}

/* It left processes behind: they are killed, since nobody watches over them any more. */
static void on_ended(struct guard *g, int wait_status)
{
    pid_t pid = g->postmaster.pid;
    bool killed = wait_status == -1 || WIFSIGNALED(wait_status);
    size_t n_left;

    forget_postmaster(g);
    n_left = guard_processes_scan(&g->processes);
    guard_log(g, killed ? GUARD_LEVEL_WARNING : GUARD_LEVEL_INFO,
              "PostgreSQL has ended. pid=%d code=%d signal=%d left=%zu", (int)pid,
              wait_status != -1 && WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1,
              wait_status != -1 && WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0, n_left);
    tell_ended(g, pid, wait_status, n_left);
    if (n_left > 0) {
        guard_logic_on_kill(&g->logic, GUARD_WHY_ORPHANED);
    }
    guard_postgres_check_gone(g);
}

void guard_postgres_on_adopted_end(struct guard *g)
{
    on_ended(g, -1);
}

void guard_postgres_reap(struct guard *g)
{
    int wait_status;
    pid_t pid;

    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        if (pid == g->postmaster.pid && !WIFSTOPPED(wait_status)) { /* Held ones say so. */
            on_ended(g, wait_status);
        }
    }
    if (g->logic.phase == GUARD_KILLING) {
        guard_postgres_check_gone(g);
    }
}

void guard_postgres_check_gone(struct guard *g)
{
    if (g->logic.phase == GUARD_EMPTY || g->postmaster.pid != 0 ||
        guard_processes_scan(&g->processes) > 0 || g->processes.overflow) {
        return;
    }
    if (g->fence.has_cgroup && guard_cgroup_thaw(&g->cgroup) != 0) {
        guard_log(g, GUARD_LEVEL_ERROR, "The empty cgroup pg can not be thawed. error=\"%s\"",
                  strerrordesc_np(errno));
    }
    g->fence.has_cgroup = false;
    g->fence.by_cgroup = false;
    g->thaw_failed = false;
    guard_processes_adopt(&g->processes, 0);
    guard_logic_on_gone(&g->logic);
}

/* ---- Freeze and thaw ---- */

static void tell_not_held(struct guard *g)
{
    if (g->processes.hold_errnum != 0 && !g->not_held_told) {
        g->not_held_told = true;
        guard_log(g, GUARD_LEVEL_WARNING,
                  "What is frozen can not be traced: somebody's SIGCONT would let it run until it "
                  "is seen and killed. error=\"%s\"",
                  strerrordesc_np(g->processes.hold_errnum));
    }
}

static void look(struct guard *g)
{
    bool is_frozen = g->logic.phase == GUARD_FROZEN;
    struct guard_look found = guard_fence_look(&g->fence, clock_pair_now(), is_frozen);

    tell_not_held(g);
    guard_logic_on_looked(&g->logic, clock_pair_now(), &found);
}

static void thaw(struct guard *g)
{
    bool failed = !guard_fence_thaw(&g->fence);

    if (failed && !g->thaw_failed) {
        guard_log(g, GUARD_LEVEL_ERROR, "PostgreSQL can not be thawed, trying again. error=\"%s\"",
                  strerrordesc_np(errno));
    }
    g->thaw_failed = failed;
}

static void kill_all(struct guard *g)
{
    if (guard_fence_kill(&g->fence) == 0) {
        guard_postgres_check_gone(g);
    }
}

void guard_postgres_act(struct guard *g, enum guard_action action)
{
    switch (action) {
    case GUARD_DO_NOTHING:
        if (g->thaw_failed) {
            thaw(g);
        }
        return;
    case GUARD_DO_FREEZE:
        g->thaw_failed = false;
        guard_fence_freeze(&g->fence, clock_pair_now());
        return;
    case GUARD_DO_LOOK:
        look(g);
        return;
    case GUARD_DO_THAW:
        thaw(g);
        return;
    case GUARD_DO_KILL:
        kill_all(g);
        return;
    }
}
