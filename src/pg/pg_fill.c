/*
 * From what was seen to what is told: the state and role of PostgreSQL, and the
 * fields of struct status and struct view_pg.
 */
#include "base/str.h"
#include "pg/pg_internal.h"

#define STREAM_PATIENCE_MS SECONDS(4)

/* ---- State ---- */

enum pg_pidfile_status pg_pidfile_status_of(const struct pg *pg)
{
    const struct pg_pidfile *f = &pg->disk.pidfile;

    return pg->postmaster.pid != 0 && f->pid == pg->postmaster.pid ? f->status : PG_PIDFILE_NONE;
}

static enum pg_state state_of_running(const struct pg *pg)
{
    enum pg_pidfile_status file = pg_pidfile_status_of(pg);

    if (pg->stop_asked || file == PG_PIDFILE_STOPPING) {
        return PG_STATE_STOPPING;
    }
    if (pg->answer == PG_ANSWER_STARTING || !pg->postmaster.was_ready) {
        return PG_STATE_STARTING;
    }
    return PG_STATE_RUNNING; /* Whatever the last query said: the problem tells. */
}

enum pg_state pg_state_of(const struct pg *pg)
{
    const struct pg_disk *d = &pg->disk;

    if (pg->postmaster.pid != 0) {
        return state_of_running(pg);
    }
    if (pg->starting) {
        return PG_STATE_STARTING;
    }
    if (pg->start_failed) {
        return PG_STATE_START_FAILED;
    }
    if (pg->end_unseen) { /* pg_control was not read since. */
        return pg->stop_asked ? PG_STATE_STOPPING : PG_STATE_CRASHED;
    }
    if (!pg->looked || d->data == DATA_UNKNOWN) {
        return PG_STATE_UNKNOWN;
    }
    if (d->data == DATA_VALID && !pg_control_is_clean(&d->control) && !pg->stop_asked) {
        return PG_STATE_CRASHED;
    }
    return PG_STATE_STOPPED;
}

/* Whether it took writes when it ended. With a signal file it was, and starts as, a
 * standby; so it is in archive recovery: a promotion removes the file before the
 * state becomes "in production". */
static bool was_primary(const struct pg *pg)
{
    const struct pg_disk *d = &pg->disk;

    if (pg->has_row || pg->end_unseen) {
        return pg->was_primary;
    }
    return d->has_control && !d->has_standby_signal &&
           d->control.state != PG_CONTROL_IN_ARCHIVE_RECOVERY &&
           d->control.state != PG_CONTROL_SHUT_DOWN_IN_RECOVERY;
}

static enum pg_role role_of_running(const struct pg *pg)
{
    if (pg->has_row) {
        return pg->row.in_recovery ? PG_ROLE_STANDBY : PG_ROLE_PRIMARY;
    }
    /* The lock file does not tell: "ready" also stands there once a hot standby takes
     * connections (postmaster.c, PMSIGNAL_BEGIN_HOT_STANDBY). Crash recovery of a
     * primary ends in taking writes without asking anybody. */
    return pg->postmaster.starts_as_standby ? PG_ROLE_STANDBY : PG_ROLE_PRIMARY;
}

enum pg_role pg_role_of(const struct pg *pg)
{
    const struct pg_disk *d = &pg->disk;

    if (pg->postmaster.pid != 0) {
        return role_of_running(pg);
    }
    if (d->n_processes > 0 && was_primary(pg)) {
        return PG_ROLE_PRIMARY; /* Its backends still acknowledge. */
    }
    if (pg->looked && d->data == DATA_EMPTY) {
        return PG_ROLE_UNINITIALIZED;
    }
    return d->data == DATA_VALID && d->has_standby_signal ? PG_ROLE_STANDBY : PG_ROLE_UNKNOWN;
}

/* ---- Status ---- */

static const char *remedy_of(const char *receiver)
{
    if (strstr(receiver, "authentication failed") != NULL ||
        strstr(receiver, "no password supplied") != NULL) {
        return ": check postgresql.authentication.replication";
    }
    return strstr(receiver, "pg_hba.conf") != NULL ? ": check postgresql.pg_hba there" : "";
}

static void fill_receiver(const struct pg *pg, const char *upstream, struct status *status)
{
    if (status->problem[0] != '\0' || !pg->has_row || pg->receiver[0] == '\0' ||
        pg->unstreamed_ms == 0) {
        return;
    }
    (void)snprintf(status->problem, sizeof(status->problem), "does not stream from %.40s: %.130s%s",
                   upstream[0] != '\0' ? upstream : pg->row.upstream_host, pg->receiver,
                   remedy_of(pg->receiver));
}

/* For so long that it is not just connecting. */
static bool is_cut_off(const struct pg *pg)
{
    return pg->postmaster.pid != 0 && pg->has_row && pg->not_streaming_ms != 0 &&
           pg->seen_ms >= pg->not_streaming_ms + STREAM_PATIENCE_MS &&
           pg->stream_failure[0] != '\0';
}

static void fill_problem(const struct pg *pg, struct status *status)
{
    const struct pg_disk *d = &pg->disk;
    char *text = status->problem;
    size_t size = sizeof(status->problem);

    if (pg->postmaster.pid == 0 && pg->start_failed && pg->failure[0] != '\0') {
        (void)snprintf(text, size, "PostgreSQL did not start: %.225s", pg->failure);
    } else if (pg->looked && d->data != DATA_VALID && d->data != DATA_EMPTY) {
        (void)str_copy(text, size, d->problem);
    } else if (pg->postmaster.pid != 0 && pg->postmaster.was_ready && !pg->stop_asked &&
               pg->answer != PG_ANSWER_OK && pg->answer != PG_ANSWER_NONE) {
        (void)snprintf(text, size, "PostgreSQL does not answer us: %s: %.150s",
                       pg_answer_name(pg->answer), pg->answer_text);
    } else if (is_cut_off(pg)) {
        (void)snprintf(text, size, "no WAL from %.60s:%u; %.170s", pg->row.upstream_host,
                       pg->row.upstream_port, pg->stream_failure);
    } else if (pg->postmaster.pid == 0 && d->n_processes > 0) {
        (void)snprintf(text, size, "%u processes are left without a postmaster", d->n_processes);
    }
}

static void fill_from_disk(const struct pg *pg, struct status *status)
{
    const struct pg_disk *d = &pg->disk;
    const struct pg_control *c = &d->control;

    if (!d->has_control) {
        return;
    }
    status->sysid = c->sysid;
    /* After a promotion without a checkpoint the end-of-recovery record has put the new
     * timeline into the minimum recovery point (xlog.c: CreateEndOfRecoveryRecord). */
    status->timeline = MAX(c->timeline, c->min_recovery_timeline);
    status->checkpoint_timeline = c->timeline;
    status->flushed = pg_control_lsn(c);
    status->pg_version = d->major * 10000;
    status->clean_shutdown = pg->postmaster.pid == 0 && !pg->end_unseen && pg_control_is_clean(c);
}

static void fill_from_row(const struct pg *pg, struct status *status)
{
    const struct pg_row *r = &pg->row;

    status->sysid = r->sysid;
    status->timeline = r->timeline;
    status->checkpoint_timeline = r->checkpoint_timeline;
    status->flushed = r->flushed;
    status->received = r->received;
    status->replayed = r->replayed;
    status->streaming = r->streaming;
    status->in_archive_recovery = r->in_recovery && !r->streaming && r->has_restore_command;
    status->replay_paused = r->replay_paused;
    status->pg_version = r->version;
    status->postmaster_start_us = r->start_us;
    status->pending = r->pending;
    pg_slots_fill(pg, status);
}

/* ---- View ---- */

static void fill_upstream(const struct pg *pg, const struct store *store, struct view_pg *view)
{
    const struct pg_row *r = &pg->row;

    if (pg->postmaster.pid == 0) {
        return;
    }
    if (!pg->has_row) {
        if (pg->has_written && pg->written.as_standby && pg->postmaster.starts_as_standby) {
            (void)str_copy(view->upstream, sizeof(view->upstream), pg->written.upstream.name);
        }
        return;
    }
    for (uint32_t i = 0; r->upstream_host[0] != '\0' && i < store->n_members; i++) {
        const struct store_member *m = &store->members[i];

        if (str_equal(m->pg_host, r->upstream_host) && m->pg_port == r->upstream_port) {
            (void)str_copy(view->upstream, sizeof(view->upstream), m->name);
            return;
        }
    }
}

static const struct store_history *find_history(const struct store *store, uint32_t timeline)
{
    for (uint32_t i = 0; i < store->n_history; i++) {
        if (store->history[i].timeline == timeline) {
            return &store->history[i];
        }
    }
    return NULL;
}

/* The oldest line of the history that the store lacks, or has otherwise. */
static const struct pg_history_line *find_due(const struct pg_history *h, const struct store *store)
{
    for (uint32_t i = 0; i < h->n; i++) {
        const struct store_history *known = find_history(store, h->lines[i].timeline);
        bool too_old = known == NULL && store->n_history == HISTORY_MAX &&
                       h->lines[i].timeline < store->history[0].timeline;

        if (!too_old && (known == NULL || known->lsn != h->lines[i].lsn)) {
            return &h->lines[i];
        }
    }
    return NULL;
}

static void fill_history(const struct pg *pg, const struct store *store, uint32_t timeline,
                         struct view_pg *view)
{
    const struct store_history *own_end = find_history(store, timeline);
    struct store_history *h = &view->history;
    const struct pg_history_line *due;

    view->upstream_switch_lsn = own_end != NULL ? own_end->lsn : 0;
    if (!pg->has_row || pg->row.in_recovery || pg->history.timeline == 0 ||
        pg->row.timeline != pg->history.timeline) {
        return;
    }
    due = find_due(&pg->history, store);
    if (due == NULL) {
        return;
    }
    view->history_due = true;
    h->timeline = due->timeline;
    h->lsn = due->lsn;
    h->time_us = pg->history.time_us;
    (void)str_copy(h->reason, sizeof(h->reason), due->reason);
    (void)str_copy(h->new_primary, sizeof(h->new_primary), pg->opts->o.name);
}

static void fill_view(const struct pg *pg, struct view_pg *view)
{
    const struct pg_disk *d = &pg->disk;

    view->postmaster_alive = pg->postmaster.pid != 0;
    view->n_processes = view->postmaster_alive ? MAX(d->n_processes, 1U) : d->n_processes;
    view->seen_ms = pg->seen_ms;
    view->gone_ms = pg->gone_ms;
    view->was_primary = was_primary(pg);
    view->taken_timeline = pg->taken_timeline;
    view->loss = (struct view_loss){.sysid = pg->loss.sysid,
                                    .timeline = pg->loss.timeline,
                                    .from = pg->loss.from,
                                    .to = pg->loss.to,
                                    .from_timeline = pg->loss.from_timeline,
                                    .bytes = pg->loss.bytes};
    (void)str_copy(view->loss.kept, sizeof(view->loss.kept), pg->loss.path); /* For people. */
    view->rewind_timeline = d->data == DATA_REWINDING ? d->rewind_timeline : 0;
    view->rewind_gone = d->data == DATA_REWINDING && d->rewind_gone;
    if (d->has_control) {
        view->can_rewind = d->control.wal_log_hints || d->control.data_checksums != 0;
        view->min_timeline = d->control.timeline;
        view->control_lsn = pg_control_lsn(&d->control);
    }
    if (pg->has_row) {
        view->min_timeline = pg->row.checkpoint_timeline;
        view->promoted_checkpoint_due =
            !pg->row.in_recovery && pg->row.checkpoint_timeline != pg->row.timeline;
        view->receives = pg->row.receives;
        view->replay_time_us = pg->row.replay_time_us;
        view->n_replicas = pg->row.n_replicas;
        memcpy(view->replicas, pg->row.replicas, sizeof(view->replicas));
    }
}

void pg_fill(const struct pg *pg, const struct store *store, struct status *status,
             struct view_pg *view)
{
    PRE(pg->magic == PG_MAGIC);
    memset(view, 0, sizeof(*view));
    status->pg_state = pg_state_of(pg);
    status->pg_role = pg_role_of(pg);
    status->data = pg->looked ? pg->disk.data : DATA_UNKNOWN;
    fill_from_disk(pg, status);
    if (pg->has_row) {
        fill_from_row(pg, status);
    }
    fill_problem(pg, status);
    fill_view(pg, view);
    fill_upstream(pg, store, view);
    fill_receiver(pg, view->upstream, status);
    fill_history(pg, store, status->timeline, view);
}
