/*
 * Promotion, as pg_ctl does it: a file "promote" in the data directory and SIGUSR1
 * (postmaster.c: CheckPromoteSignal). No session is needed for it, and none may be
 * left. It is done when an observation finds PostgreSQL out of recovery. It must have
 * taken the number that the cluster was told of (pg_timeline.c); an archive that has
 * history files nobody knows of can make it take another one.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "base/clock.h"
#include "base/log.h"
#include "pg/pg_internal.h"
#include "pg/pg_processes.h"

static void end(struct pg *pg, int status, const char *problem)
{
    pg_done_cb cb = pg->promote_cb;

    pg->promote_cb = NULL;
    cb(pg->promote_data, status, problem);
}

static void send_signal(struct pg *pg)
{
    pg->promote_signal_ms = clock_ms();
    if (pg_process_signal(pg->postmaster.pidfd, SIGUSR1) != 0) {
        log_debug("The postmaster to be promoted has ended."); /* Its pidfd says so. */
    }
}

/*
 * Once may not be enough: a startup process whose WAL receiver ends at that moment
 * clears its latch behind the signal and sleeps for wal_retrieve_retry_interval, 5 s
 * (xlogrecovery.c: WaitForWALToBecomeAvailable). While the file is there each further
 * SIGUSR1 wakes it.
 */
#define SIGNAL_AGAIN_MS 100
static void signal_again(struct pg *pg)
{
    if (pg->promote_signal_ms != 0 && clock_ms() >= pg->promote_signal_ms + SIGNAL_AGAIN_MS) {
        send_signal(pg);
    }
}

void pg_promote_check(struct pg *pg)
{
    if (pg->promote_cb == NULL) {
        return;
    }
    if (pg->closing) {
        end(pg, -1, "promoting: the agent is leaving");
    } else if (pg->postmaster.pid == 0) {
        end(pg, -1, "promoting: PostgreSQL ended");
    } else if (pg->has_row && !pg->row.in_recovery) {
        if (pg->row.timeline != pg->promote_to) {
            log_error("PostgreSQL took another timeline than it was promoted to. timeline=%u "
                      "declared=%u",
                      pg->row.timeline, pg->promote_to);
        }
        end(pg, 0, "");
    } else {
        signal_again(pg);
    }
}

struct promotion {
    struct pg_work work; /* First: freed through it. */
    uint32_t own, timeline, taken;
};

static void run_promote(struct pg_job *job)
{
    struct promotion *p = CONTAINER_OF(job, struct promotion, work.job);
    struct pg_work *work = &p->work;
    const struct pg_options *o = &work->opts->o;
    char path[PATH_MAX];
    int fd;

    p->taken = pg_timeline_taken(o->data_dir, p->timeline);
    if (p->taken != 0) {
        work->status = err_set(&work->err, "timeline %u has a history file already", p->timeline);
        return;
    }
    work->status = pg_timeline_reserve(o, p->own, p->timeline, &work->err);
    if (work->status != 0) {
        return;
    }

    (void)snprintf(path, sizeof(path), "%s/promote", o->data_dir);
    /* Not synced: it is read within the moment, and a busy disk would hold us up. */
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        work->status = err_set_errno(&work->err, errno, "creating %s", path);
        return;
    }
    (void)close(fd); /* Empty. */
}

static void on_file_written(struct pg_job *job)
{
    struct promotion *p = CONTAINER_OF(job, struct promotion, work.job);
    struct pg_work *work = &p->work;
    struct pg *pg = work->pg;

    pg->taken_timeline = MAX(pg->taken_timeline, p->taken);
    if (pg->promote_cb != NULL && work->status != 0) {
        (void)err_wrap(&work->err, "promoting");
        end(pg, -1, work->err.text);
    } else if (pg->promote_cb != NULL && pg->postmaster.pid != 0) {
        log_info("PostgreSQL is promoted. pid=%d", (int)pg->postmaster.pid);
        send_signal(pg);
        pg_observe_soon(pg);
    }
    pg_work_done(job);
}

void pg_promote(struct pg *pg, uint32_t timeline, pg_done_cb cb, void *data)
{
    struct promotion *p = xmalloc(sizeof(*p));

    PRE(pg->promote_cb == NULL);
    pg->promote_cb = cb;
    pg->promote_data = data;
    pg->promote_to = timeline;
    pg->promote_signal_ms = 0;
    p->own = pg->has_row ? pg->row.timeline : 0;
    p->timeline = timeline;
    pg_work_submit(pg, &p->work, run_promote, on_file_written, NULL, NULL);
}
