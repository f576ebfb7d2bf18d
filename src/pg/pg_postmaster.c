/*
 * The postmaster while it lives: its pidfd on the loop, signals to it and to what
 * it leaves behind. Its parent is the guard, which reaps it: no zombie keeps its lock
 * file alive; without a guard (unit tests) we are. When the agent dies it goes on; the
 * next agent adopts it by postmaster.pid.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "pg/pg_internal.h"
#include "pg/pg_processes.h"

#define KILL_PASSES 8

static void on_gone(uv_poll_t *poll, int status, int events);

void pg_postmaster_watch(struct pg *pg, pid_t pid, int pidfd, bool is_child)
{
    struct pg_postmaster *p = &pg->postmaster;

    PRE(p->pid == 0 && pidfd >= 0);
    *p = (struct pg_postmaster){
        .pid = pid, .pidfd = pidfd, .is_child = is_child, .started_ms = clock_ms()};
    p->poll = xmalloc(sizeof(*p->poll));
    p->poll->data = pg;
    ASSERT(uv_poll_init(pg->opts->o.loop, p->poll, pidfd) == 0);
    ASSERT(uv_poll_start(p->poll, UV_READABLE, on_gone) == 0);
    pg_hold(pg);
    pg->gone_ms = 0;
    pg->stop_asked = false;
    pg->start_failed = false;
    pg->failure[0] = '\0';
    pg->has_row = false;
    pg->was_primary = false;
    pg->end_unseen = false;
    pg->disk_epoch++;
}

void pg_postmaster_drop(struct pg *pg)
{
    struct pg_postmaster *p = &pg->postmaster;

    if (p->pid == 0) {
        return;
    }
    pg_close_handle(pg, (uv_handle_t *)p->poll);
    (void)close(p->pidfd); /* A pidfd. */
    *p = (struct pg_postmaster){.pidfd = -1};
}

static void describe_end(const struct pg *pg, bool waited, int wait_status)
{
    int code = waited && WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
    int signal_number = waited && WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;

    if (pg->stop_asked) {
        log_info("PostgreSQL ended. pid=%d code=%d signal=%d", (int)pg->postmaster.pid, code,
                 signal_number);
    } else {
        log_warning("PostgreSQL ended by itself, looking at what is left. pid=%d code=%d signal=%d",
                    (int)pg->postmaster.pid, code, signal_number);
    }
}

static void on_gone(uv_poll_t *poll, int status, int events)
{
    struct pg *pg = poll->data;
    struct pg_postmaster *p = &pg->postmaster;
    int wait_status = 0;
    bool waited = false;

    (void)status;
    (void)events;
    if (p->is_child) {
        waited = waitpid(p->pid, &wait_status, WNOHANG) == p->pid;
    }
    describe_end(pg, waited, wait_status);
    pg->start_failed = !p->was_ready && !pg->stop_asked;
    pg->gone_ms = clock_ms();
    pg_postmaster_drop(pg);
    pg->has_row = false;
    pg->end_unseen = true;
    pg->disk_epoch++;
    pg_conn_reset(pg->conn);
    pg->disk.n_processes = pg_kill_count(pg);
    pg_promote_check(pg);
    pg_changed(pg);
    pg_observe_soon(pg);
}

uint32_t pg_kill_count(const struct pg *pg)
{
    pid_t pids[1];

    return pg->disk.path[0] != '\0' ? (uint32_t)pg_processes_find(pg->disk.path, pids, 1) : 0;
}

pid_t pg_postmaster_pid(const struct pg *pg)
{
    return pg->postmaster.pid;
}

/* A path is known once the directory was looked at, or a start made us look. */
static void know_path(struct pg *pg)
{
    if (pg->disk.path[0] == '\0' && realpath(pg->opts->o.data_dir, pg->disk.path) == NULL) {
        pg->disk.path[0] = '\0'; /* No directory, no process in it. */
    }
}

bool pg_is_down(struct pg *pg)
{
    if (pg->postmaster.pid != 0 || pg->starting) {
        return false;
    }
    know_path(pg);
    pg->disk.n_processes = pg_kill_count(pg);
    return pg->disk.n_processes == 0;
}

static void signal_postmaster(struct pg *pg, int signal_number)
{
    struct pg_postmaster *p = &pg->postmaster;

    /* ESRCH: it has just ended, which the pidfd is about to say. */
    if (p->pid != 0 && pg_process_signal(p->pidfd, signal_number) != 0 && errno != ESRCH) {
        log_error("Signalling PostgreSQL failed. pid=%d signal=%d error=%s", (int)p->pid,
                  signal_number, strerror(errno));
    }
}

void pg_signal_stop(struct pg *pg, enum pg_stop_mode mode)
{
    static const int signals[] = {
        [PG_STOP_FAST] = SIGINT, [PG_STOP_IMMEDIATE] = SIGQUIT, [PG_STOP_KILL] = SIGKILL};

    pg->stop_asked = true;
    if (mode == PG_STOP_KILL) {
        (void)pg_kill_all(pg); /* Whether it was enough, the caller asks pg_is_down. */
    } else {
        signal_postmaster(pg, signals[mode]);
    }
    pg_observe_soon(pg);
}

/* Returns how many were found. */
static size_t kill_once(const struct pg *pg)
{
    pid_t pids[PG_PROCESSES_MAX];
    size_t n = pg_processes_find(pg->disk.path, pids, PG_PROCESSES_MAX);

    for (size_t i = 0; i < MIN(n, PG_PROCESSES_MAX); i++) {
        int fd = pids[i] > 0 ? pg_process_open(pids[i], pg->disk.path) : -1;

        if (fd >= 0) {
            (void)pg_process_signal(fd, SIGKILL); /* Gone already is as good. */
            (void)close(fd);
        }
    }
    return n;
}

/*
 * The postmaster first, so that it starts nothing new; then again and again, for
 * what was forked in between. A process may take a moment to die, or be stuck in
 * the kernel: who is still there is counted, not waited for.
 */
uint32_t pg_kill_all(struct pg *pg)
{
    size_t n = 1;

    know_path(pg);
    pg->stop_asked = true;
    signal_postmaster(pg, SIGKILL);
    if (pg->disk.path[0] == '\0') {
        return 0;
    }
    for (int i = 0; i < KILL_PASSES && n > 0; i++) {
        n = kill_once(pg);
    }
    pg->disk.n_processes = (uint32_t)n;
    if (n > 0) {
        pg_observe_soon(pg);
    }
    return (uint32_t)n;
}

uint32_t pg_kill_strays(struct pg *pg)
{
    size_t n = pg_helpers_kill(pg->opts->o.data_dir);

    if (n > 0) {
        log_warning("Killing what an earlier agent left at work on the data directory. n=%zu", n);
    }
    return (uint32_t)n;
}

void pg_reload(struct pg *pg)
{
    pg->unread = false;
    signal_postmaster(pg, SIGHUP);
}

void pg_ask_reload(struct pg *pg)
{
    pg->reload_asked = true;
}

uint32_t pg_reloads(const struct pg *pg)
{
    return pg->n_reloads;
}

void pg_end_receiver(struct pg *pg)
{
    int pidfd = pg->has_row && pg->row.receiver_pid > 1
                    ? pg_process_open((pid_t)pg->row.receiver_pid, pg->disk.path)
                    : -1;

    if (pidfd >= 0) {
        (void)pg_process_signal(pidfd, SIGTERM); /* It may have ended since. */
        (void)close(pidfd);
    }
}
