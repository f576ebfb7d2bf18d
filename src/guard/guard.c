/*
 * veche-guard: stands between PostgreSQL and a second primary when the agent does not
 * (design.md section 5.1). One process, one thread, one loop:
 *
 *     settle    what guard_logic says is to be done now, until there is nothing
 *     wait      for the time it named, or for an event
 *     settle    the clock comes first: who comes late fences before it listens
 *     listen    one packet of each connection, ends of children, signals
 *
 * After the start it takes no memory, opens nothing but /proc/PID/stat, and waits for
 * nothing but the loop's poll. It lives as long as PostgreSQL does, whatever becomes of
 * the agent.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include "base/str.h"
#include "guard/guard_internal.h"
#include "veche/exitcode.h"

#define STEPS_MAX       16                /* Of guard_logic in one go. */
#define SCAN_ADOPTED_NS (100 * NS_PER_MS) /* Its children are known by scans only. */
#define THAW_AGAIN_NS   (10 * NS_PER_MS)
#define READ_AGAIN_NS   (100 * NS_PER_MS) /* Whether the agent has read what it was told. */

void guard_log(struct guard *g, enum guard_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    guard_events_add(&g->events, g->channel.agent != NULL, level, format, args);
    va_end(args);
}

/* ---- Settle ---- */

static int64_t ms_of(int64_t ns)
{
    return ns / (int64_t)NS_PER_MS;
}

static void log_frozen(struct guard *g)
{
    const struct guard_logic *l = &g->logic;
    int64_t raw = (int64_t)(l->frozen_at.raw_ns - l->frozen_deadline.raw_ns);
    int64_t boot = (int64_t)(l->frozen_at.boot_ns - l->frozen_deadline.boot_ns);
    int64_t late = MAX(raw, boot);

    g->frozen_told = true;
    guard_log(g, late < 0 ? GUARD_LEVEL_WARNING : GUARD_LEVEL_ERROR,
              "PostgreSQL is frozen. epoch=%llu processes=%zu by=%s took_us=%llu late_us=%lld",
              (unsigned long long)l->epoch, guard_processes_scan(&g->processes),
              g->fence.by_cgroup ? "cgroup" : "SIGSTOP",
              (unsigned long long)clock_pair_elapsed_ns(l->freeze_began, l->frozen_at) / 1000,
              (long long)late / 1000);
}

static void log_phase(struct guard *g, enum guard_phase from)
{
    const struct guard_logic *l = &g->logic;

    switch (l->phase) {
    case GUARD_EMPTY:
        guard_log(g, GUARD_LEVEL_INFO, "No process of PostgreSQL is left. before=%s",
                  guard_phase_name(from));
        return;
    case GUARD_OPEN:
        return;
    case GUARD_ARMED:
        if (from == GUARD_FROZEN || from == GUARD_FREEZING) {
            guard_log(g, GUARD_LEVEL_WARNING,
                      "The lease lives again: PostgreSQL is thawed. epoch=%llu frozen_ms=%lld",
                      (unsigned long long)l->epoch,
                      (long long)ms_of(
                          (int64_t)clock_pair_elapsed_ns(l->freeze_began, clock_pair_now())));
        } else if (from == GUARD_DISARMED) {
            guard_log(g, GUARD_LEVEL_INFO, "PostgreSQL is fenced again. epoch=%llu",
                      (unsigned long long)l->epoch);
        }
        return;
    case GUARD_DISARMED:
        guard_log(g, GUARD_LEVEL_WARNING,
                  "Paused: PostgreSQL is not fenced, it writes without a lease too. epoch=%llu",
                  (unsigned long long)l->epoch);
        return;
    case GUARD_FREEZING:
        return; /* Said when it is done. */
    case GUARD_FROZEN:
        log_frozen(g);
        return;
    case GUARD_KILLING:
        guard_log(g, GUARD_LEVEL_ERROR,
                  "PostgreSQL is killed. why=%s before=%s epoch=%llu late_us=%lld",
                  guard_why_name(l->why), guard_phase_name(from), (unsigned long long)l->epoch,
                  (long long)(l->measured ? l->late_ns_max / 1000 : 0));
        return;
    }
}

static void note_phase(struct guard *g)
{
    enum guard_phase from = g->told_phase;

    if (g->logic.phase == from) {
        return;
    }
    g->told_phase = g->logic.phase;
    g->fence.n_looks = 0;
    log_phase(g, from);
    guard_agent_tell_state(g, 0);
}

static void set_timer(const struct guard *g, uint64_t wake_ns)
{
    struct itimerspec at = {0};

    if (wake_ns != UINT64_MAX) {
        wake_ns = MAX(wake_ns, 1); /* 0 would stop the timer. */
        at.it_value.tv_sec = (time_t)(wake_ns / 1000000000);
        at.it_value.tv_nsec = (long)(wake_ns % 1000000000);
    }
    ASSERT(timerfd_settime(g->timer_fd, 0, &at, NULL) == 0);
}

static void watch(struct guard *g, uint64_t *wake_ns)
{
    struct guard_watchdog *w = &g->watchdog;

    if (!guard_watchdog_step(w, &g->watchdog_device, &g->logic, clock_pair_now(), wake_ns)) {
        return;
    }
    if (w->problem.text[0] != '\0') {
        guard_log(g, GUARD_LEVEL_WARNING, "There is no watchdog. why=\"%.160s\"", w->problem.text);
    } else {
        guard_log(g, GUARD_LEVEL_INFO, "The watchdog is %s. device=%.128s timeout_s=%u",
                  w->is_active ? "active" : "stopped", w->path, w->timeout_s);
    }
    guard_agent_tell_state(g, 0);
}

/* By what has gone by, not by the timer, which is set anew at every event: they may come more
 * often than this is due. */
static void scan_adopted(struct guard *g, uint64_t *wake_ns)
{
    struct clock_pair now = clock_pair_now();
    uint64_t since;

    if (!g->postmaster.adopted) {
        return;
    }
    since = clock_pair_elapsed_ns(g->scanned_at, now);
    if (since >= SCAN_ADOPTED_NS) {
        (void)guard_processes_scan(&g->processes);
        g->scanned_at = now;
        since = 0;
    }
    *wake_ns = MIN(*wake_ns, SCAN_ADOPTED_NS - since);
}

static void settle(struct guard *g)
{
    enum guard_action action = GUARD_DO_FREEZE;
    uint64_t wake_ns = 0;

    for (int i = 0; i < STEPS_MAX && action != GUARD_DO_NOTHING; i++) {
        action = guard_logic_step(&g->logic, clock_pair_now(), &wake_ns);
        note_phase(g);
        guard_postgres_act(g, action);
        note_phase(g);
    }
    scan_adopted(g, &wake_ns);
    if (g->thaw_failed) {
        wake_ns = MIN(wake_ns, THAW_AGAIN_NS);
    }
    if (g->events.n_read < g->events.n_sent) {
        wake_ns = MIN(wake_ns, READ_AGAIN_NS);
    }
    watch(g, &wake_ns);
    set_timer(g, wake_ns);
    guard_agent_tell_events(g);
}

/* ---- Events ---- */

static void on_signals(struct guard *g)
{
    struct signalfd_siginfo info;

    while (read(g->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) {
            g->leaving = true;
            guard_logic_on_kill(&g->logic, GUARD_WHY_SIGNAL);
            guard_log(g, GUARD_LEVEL_WARNING, "Asked to end. signal=%u by_pid=%u phase=%s",
                      info.ssi_signo, info.ssi_pid, guard_phase_name(g->logic.phase));
        }
    }
    guard_postgres_reap(g);
}

static void on_connection(struct guard *g)
{
    int64_t uid = guard_channel_accept(&g->channel);

    if (uid >= 0 && g->channel.n_foreign == 1) { /* More of them would push other lines out. */
        guard_log(g, GUARD_LEVEL_WARNING,
                  "A process of another user wanted to talk to the guard, refused. uid=%lld",
                  (long long)uid);
    }
}

static void on_timer(struct guard *g)
{
    uint64_t n;
    ssize_t size = read(g->timer_fd, &n, sizeof(n));

    (void)size; /* It only had to wake us. */
}

enum { FD_TIMER, FD_SIGNAL, FD_LISTEN, FD_EXEC, FD_ADOPTED, FD_PEERS };
#define N_FDS (FD_PEERS + GUARD_PEERS_MAX)

static void fill_fds(const struct guard *g, struct pollfd *fds)
{
    fds[FD_TIMER].fd = g->timer_fd;
    fds[FD_SIGNAL].fd = g->signal_fd;
    fds[FD_LISTEN].fd = g->channel.listen_fd;
    fds[FD_EXEC].fd = g->starting.exec_fd;
    fds[FD_ADOPTED].fd = g->postmaster.adopted ? g->postmaster.pidfd : -1;
    for (size_t i = 0; i < GUARD_PEERS_MAX; i++) {
        fds[FD_PEERS + i].fd = g->channel.peers[i].fd;
    }
    for (size_t i = 0; i < N_FDS; i++) {
        fds[i].events = POLLIN;
        fds[i].revents = 0;
    }
}

static void listen_to(struct guard *g, const struct pollfd *fds)
{
    if (fds[FD_TIMER].revents != 0) {
        on_timer(g);
    }
    if (fds[FD_EXEC].revents != 0) {
        guard_postgres_on_exec(g);
    }
    if (fds[FD_SIGNAL].revents != 0) {
        on_signals(g);
    }
    if (fds[FD_ADOPTED].revents != 0 && g->postmaster.adopted) {
        guard_postgres_on_adopted_end(g);
    }
    for (size_t i = 0; i < GUARD_PEERS_MAX; i++) {
        struct guard_peer *peer = &g->channel.peers[i];

        /* It may have been closed, and another one taken its place, since poll. */
        if (fds[FD_PEERS + i].revents != 0 && peer->fd == fds[FD_PEERS + i].fd) {
            guard_agent_read(g, peer);
        }
    }
    if (fds[FD_LISTEN].revents != 0) {
        on_connection(g);
    }
}

static void run(struct guard *g)
{
    struct pollfd fds[N_FDS];

    for (;;) {
        int n;

        settle(g);
        if (g->leaving && g->logic.phase == GUARD_EMPTY) {
            guard_watchdog_end(&g->watchdog, &g->watchdog_device);
            return;
        }
        fill_fds(g, fds);
        n = poll(fds, N_FDS, -1);
        ASSERT(n >= 0 || errno == EINTR);
        settle(g);
        if (n > 0) {
            listen_to(g, fds);
        }
    }
}

/* ---- Start ---- */

static void add_trouble(struct sbuf *trouble, const char *text)
{
    sbuf_printf(trouble, "%s%s", trouble->length > 0 ? "; " : "", text);
}

/* Nothing of who started us is kept but stdout, stderr and the pipe it waits on. */
static int detach(int ready_fd, int *ret_null_fd, struct err *err)
{
    int null_fd = open("/dev/null", O_RDWR);

    while (null_fd >= 0 && null_fd <= STDERR_FILENO) { /* A missing stdout is filled. */
        null_fd = dup(null_fd);
    }
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 ||
        fcntl(null_fd, F_SETFD, FD_CLOEXEC) != 0) {
        return err_set_errno(err, errno, "/dev/null");
    }
    for (int fd = 3; fd < 256; fd++) {
        if (fd != null_fd && fd != ready_fd) {
            (void)close(fd); /* Mostly not open. */
        }
    }
    (void)setsid(); /* Fails if we lead a session already. */
    (void)umask(077);
    *ret_null_fd = null_fd;
    return 0;
}

static int take_signals(struct guard *g, struct err *err)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t all;

    (void)sigfillset(&all);
    for (int s = 1; s <= SIGRTMAX; s++) {
        (void)sigaction(s, &action, NULL); /* Fails for KILL and STOP, as it should. */
    }
    (void)sigdelset(&all, SIGABRT); /* Of a failed assertion. */
    if (sigprocmask(SIG_SETMASK, &all, NULL) != 0) {
        return err_set_errno(err, errno, "blocking signals");
    }
    g->signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    return g->signal_fd >= 0 ? 0 : err_set_errno(err, errno, "signalfd");
}

static int prepare(struct guard *g, const char *directory, const char *name, struct err *err)
{
    struct sbuf trouble;
    struct err why = {""};

    sbuf_init(&trouble, g->trouble, sizeof(g->trouble));
    guard_events_init(&g->events, name);
    guard_logic_init(&g->logic, UINT64_C(30000) * NS_PER_MS); /* Hello says it. */
    if (guard_channel_init(&g->channel, directory, err) != 0 || take_signals(g, err) != 0 ||
        guard_processes_init(&g->processes, err) != 0) {
        return -1;
    }
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
        return err_set_errno(err, errno, "becoming the subreaper");
    }
    g->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (g->timer_fd < 0) {
        return err_set_errno(err, errno, "timerfd");
    }
    if (guard_cgroup_init(&g->cgroup, &why) != 0) {
        add_trouble(&trouble, why.text);
    }
    guard_privileges_take(&g->privileges, &trouble);
    g->fence = (struct guard_fence){.processes = &g->processes, .cgroup = &g->cgroup};
    g->watchdog_device = guard_watchdog_device(&g->watchdog_fd, false);
    g->postmaster.pidfd = -1;
    g->starting.exec_fd = -1;
    return 0;
}

static void say_ready(struct guard *g, int ready_fd)
{
    static const char text[] = "ready\n";

    guard_log(g, GUARD_LEVEL_INFO,
              "The guard is ready. pid=%d locked_kb=%llu realtime=%d cgroup=%d", (int)getpid(),
              (unsigned long long)g->privileges.locked_bytes / 1024, g->privileges.is_realtime,
              g->cgroup.is_usable);
    if (g->trouble[0] != '\0') {
        guard_log(g, GUARD_LEVEL_WARNING,
                  "The guard does without what is denied to it. denied=\"%.160s\"", g->trouble);
    }
    if (ready_fd >= 0) {
        ssize_t n = write(ready_fd, text, sizeof(text) - 1);

        (void)n; /* Who waited is gone: no matter. */
        (void)close(ready_fd);
    }
}

int main(int argc, char **argv)
{
    static struct guard guard; /* Not on the stack, and no heap. */
    struct err err = {""};
    uint64_t ready_fd = 0;

    if (argc == 2 && str_equal(argv[1], "--version")) {
        printf("veche-guard %s protocol %d\n", VECHE_VERSION, VECHE_GUARD_VERSION);
        return VECHE_EXIT_OK;
    }
    if (argc < 3 || argc > 4 || (argc == 4 && !str_to_u64(argv[3], 3, 255, &ready_fd))) {
        fprintf(stderr, "usage: veche-guard RUNTIME_DIRECTORY NAME [READY_FD]\n"
                        "Started by veched; see docs/OPERATIONS.md.\n");
        return VECHE_EXIT_USAGE;
    }
    (void)mallopt(M_TOP_PAD, 0); /* What libc takes at the start is little; all is locked. */
    if (detach((int)ready_fd, &guard.null_fd, &err) != 0 ||
        prepare(&guard, argv[1], argv[2], &err) != 0) {
        fprintf(stderr, "veche-guard: %s\n", err.text);
        return guard.channel.lock_fd < 0 ? VECHE_EXIT_IDENTITY : VECHE_EXIT_FAILED;
    }
    say_ready(&guard, ready_fd > 0 ? (int)ready_fd : -1);
    run(&guard);
    return VECHE_EXIT_OK;
}
