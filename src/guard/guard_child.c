/*
 * See guard_child.h.
 */
#include "guard/guard_child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/str.h"
#include "guard/guard_oom.h"

#define CLOSE_FDS_MAX 65536

NORETURN static void give_up(int exec_fd, const char *step, int errnum)
{
    struct guard_child_failure failure = {.errnum = errnum};

    (void)str_copy(failure.step, sizeof(failure.step), step); /* All are short. */
    if (write(exec_fd, &failure, sizeof(failure)) < 0) {
        _exit(126); /* The guard is gone. */
    }
    _exit(127);
}

static void must(bool done, int exec_fd, const char *step)
{
    if (!done) {
        give_up(exec_fd, step, errno);
    }
}

/* The guard's real-time priority is not inherited (SCHED_RESET_ON_FORK), nor are its
 * memory locks; this is for a niceness, for a guard that was given its class, and for the
 * leave to ask for one, which the unit file gives. */
static void reset_scheduling(int exec_fd)
{
    const struct rlimit none = {0, 0};
    struct sched_param param = {0};

    must(sched_setscheduler(0, SCHED_OTHER, &param) == 0, exec_fd, "scheduling");
    if (getpriority(PRIO_PROCESS, 0) < 0) {
        must(setpriority(PRIO_PROCESS, 0, 0) == 0, exec_fd, "niceness");
    }
    must(setrlimit(RLIMIT_RTPRIO, &none) == 0, exec_fd, "real-time limit");
}

/* A kernel that does not let it is no reason to go without PostgreSQL. */
static void reset_oom_score(int exec_fd)
{
    must(guard_oom_raise(&guard_oom_own) == 0 || errno == EACCES || errno == EPERM, exec_fd,
         "oom_score_adj");
}

static void set_descriptors(const struct guard_child *c, int exec_fd)
{
    must(dup2(c->null_fd, STDIN_FILENO) >= 0 && dup2(c->output_fd, STDOUT_FILENO) >= 0 &&
             dup2(c->output_fd, STDERR_FILENO) >= 0,
         exec_fd, "redirecting");
    if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0) {
        return;
    }
    for (int fd = 3; fd < CLOSE_FDS_MAX; fd++) { /* Linux before 5.11. */
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
}

static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int s = 1; s <= SIGRTMAX; s++) {
        (void)sigaction(s, &action, NULL); /* Fails for KILL and STOP, as it should. */
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void change_user(const struct guard_child *c, int exec_fd)
{
    if (c->uid == geteuid() && c->gid == getegid()) {
        return;
    }
    must(setgroups(0, NULL) == 0, exec_fd, "setgroups");
    must(setgid(c->gid) == 0, exec_fd, "setgid");
    must(setuid(c->uid) == 0, exec_fd, "setuid");
}

/*
 * PR_SET_PDEATHSIG comes after the change of user, which clears it, and the look at the
 * parent after that, since the guard may have died before. The cgroup comes first: what
 * is frozen there is frozen whatever it does next.
 */
NORETURN static void run(const struct guard_child *c, int exec_fd, pid_t guard)
{
    if (c->cgroup != NULL) {
        must(guard_cgroup_enter(c->cgroup) == 0, exec_fd, "cgroup");
    }
    reset_scheduling(exec_fd);
    reset_oom_score(exec_fd);
    must(setsid() >= 0, exec_fd, "setsid");
    must(fchdir(c->cwd_fd) == 0, exec_fd, "working directory");
    set_descriptors(c, exec_fd);
    reset_signals();
    (void)umask(077);
    change_user(c, exec_fd);
    must(prctl(PR_SET_PDEATHSIG, SIGQUIT) == 0, exec_fd, "parent death");
    if (getppid() != guard) {
        _exit(126);
    }
    (void)execve(c->texts->path, c->texts->argv, c->texts->env);
    give_up(exec_fd, "exec", errno);
}

static int fail(struct guard_child_failure *failure, const char *step, int errnum)
{
    failure->errnum = errnum;
    (void)str_copy(failure->step, sizeof(failure->step), step); /* All are short. */
    return -1;
}

int guard_child_start(const struct guard_child *child, pid_t *ret_pid, int *ret_exec_fd,
                      struct guard_child_failure *ret_failure)
{
    pid_t guard = getpid(), pid;
    int fds[2];

    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        return fail(ret_failure, "pipe", errno);
    }
    pid = fork(); /* All signals are blocked. */
    if (pid == 0) {
        run(child, fds[1], guard);
    }
    (void)close(fds[1]); /* The child has its own. */
    if (pid < 0) {
        (void)close(fds[0]);
        return fail(ret_failure, "fork", errno);
    }
    *ret_pid = pid;
    *ret_exec_fd = fds[0];
    return 0;
}
