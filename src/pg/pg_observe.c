/*
 * Observations: the disk and /proc on the thread, then the one query on the loop,
 * then the waiters are answered and, if something people or rules care about has
 * changed, the agent is told. Level-triggered: what one observation missed the next
 * one sees.
 *
 * Between the agent's own calls an observation starts by itself when the lock file
 * changes (its last line says "standby", "ready", "stopping"), when the postmaster
 * ends, and, while something is awaited, every AWAIT_MS.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "pg/pg_internal.h"
#include "pg/pg_processes.h"

#define AWAIT_MS      100
#define UNSTREAMED_MS 3000 /* A standby that does not stream for so long is asked why. */
#define LOOK_MS       500  /* A disk that takes longer does not hold up the query. */

struct look {
    struct pg_job job;
    struct pg *pg;
    struct pg_opts *opts;
    uint32_t epoch;       /* disk_epoch when it began. */
    bool seek_postmaster; /* None is known: adopt one. */
    bool seek_failure;
    bool seek_stream_failure;
    uint32_t history_timeline; /* Whose history to read; 0 = none. */

    struct pg_disk disk;
    pid_t adopted;
    int adopted_fd;     /* -1 = none. */
    bool seek_receiver; /* It does not stream. */
    char receiver[TEXT_SIZE];
    bool failure_found;
    char failure[TEXT_SIZE];
    char stream_failure[TEXT_SIZE];
    struct pg_history history;
};

static void observe(struct pg *pg);

/* ---- Telling ---- */

static void mix(uint64_t *hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++) {
        *hash = (*hash ^ bytes[i]) * UINT64_C(1099511628211); /* FNV-1a */
    }
}

static void mix_number(uint64_t *hash, uint64_t number)
{
    mix(hash, &number, sizeof(number));
}

static void mix_text(uint64_t *hash, const char *text)
{
    mix(hash, text, strlen(text) + 1);
}

/* Of what decisions turn on; positions move all the time and are left out. */
static uint64_t fingerprint(const struct pg *pg)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    const struct pg_disk *d = &pg->disk;
    const struct pg_row *r = &pg->row;

    mix_number(&hash, (uint64_t)pg_state_of(pg));
    mix_number(&hash, (uint64_t)pg_role_of(pg));
    mix_number(&hash, (uint64_t)pg->postmaster.pid);
    mix_number(&hash, (uint64_t)pg->answer);
    mix_number(&hash, (uint64_t)d->data);
    mix_number(&hash, d->n_processes != 0 || pg->postmaster.pid != 0);
    mix_number(&hash, d->has_control ? (uint64_t)d->control.state + 1 : 0);
    mix_number(&hash, d->control.timeline);
    mix_number(&hash, d->has_standby_signal);
    mix_number(&hash, pg->history.timeline);
    mix_text(&hash, pg->failure);
    mix_text(&hash, d->problem);
    mix_text(&hash, pg->receiver);
    if (!pg->has_row) {
        return hash;
    }
    mix_number(&hash, r->timeline);
    mix_number(&hash, r->checkpoint_timeline);
    mix_number(&hash, (r->streaming ? 1U : 0) | (r->replay_paused ? 2U : 0) |
                          (r->receives ? 4U : 0));
    for (uint32_t i = 0; i < r->pending.n; i++) {
        mix_text(&hash, r->pending.settings[i].name);
        mix_text(&hash, r->pending.settings[i].new_value);
    }
    mix_text(&hash, r->sync_names);
    mix_number(&hash, (d->gate_closed ? 1U : 0) | (pg->sync.held ? 2U : 0) |
                          (pg->sync.released ? 4U : 0));
    mix_text(&hash, r->upstream_host);
    mix_number(&hash, r->upstream_port);
    for (uint32_t i = 0; i < r->n_replicas; i++) {
        mix_text(&hash, r->replicas[i].name);
        mix_text(&hash, r->replicas[i].state);
        mix_text(&hash, r->replicas[i].sync_state);
        mix_number(&hash, r->replicas[i].sync_priority);
    }
    return hash;
}

static void answer_waiters(struct pg *pg, bool valid)
{
    struct pg_waiter due[PG_WAITERS_MAX];
    size_t n_due = 0, n_left = 0;

    for (size_t i = 0; i < pg->n_waiters; i++) {
        if (pg->waiters[i].round <= pg->round || pg->closing) {
            due[n_due++] = pg->waiters[i];
        } else {
            pg->waiters[n_left++] = pg->waiters[i];
        }
    }
    pg->n_waiters = n_left;
    for (size_t i = 0; i < n_due; i++) {
        struct positions p = {.epoch = due[i].epoch, .valid = valid};

        if (valid) {
            p.is_primary = !pg->row.in_recovery;
            p.timeline = pg->row.timeline;
            p.flushed = pg->row.flushed;
        }
        due[i].cb(due[i].data, &p);
    }
}

/* Something is on its way that no event announces. */
static bool is_awaiting(const struct pg *pg)
{
    if (pg->promote_cb != NULL) {
        return true;
    }
    if (pg->postmaster.pid == 0) {
        return pg->disk.n_processes > 0 || pg->end_unseen;
    }
    return pg->stop_asked || !pg->has_row || pg_sync_is_awaiting(pg);
}

static void ask(struct pg *pg);

static void on_timer(uv_timer_t *timer)
{
    struct pg *pg = timer->data;

    if (pg->waits_for_look) {
        pg->waits_for_look = false; /* With what the last one found. */
        ask(pg);
    } else if (!pg->observing) {
        observe(pg);
    }
}

static void tell(struct pg *pg)
{
    uint64_t now = fingerprint(pg);

    if (now != pg->fingerprint) {
        pg->fingerprint = now;
        pg_changed(pg);
    }
}

static void finish(struct pg *pg, bool valid)
{
    pg->observing = false;
    if (pg->closing) {
        return; /* pg_observe_close has answered. */
    }
    answer_waiters(pg, valid);
    pg_promote_check(pg);
    tell(pg);
    if (pg->closing || pg->observing) {
        return; /* A callback went on. */
    }
    if (pg->observe_again) {
        observe(pg);
    } else if (is_awaiting(pg)) {
        (void)uv_timer_start(pg->timer, on_timer, AWAIT_MS, 0);
    }
}

/* ---- The query ---- */

static uint64_t query_deadline_ms(const struct pg *pg)
{
    return MIN(MAX(pg->opts->o.ttl_ms / 2, (uint64_t)500), SECONDS(5));
}

static void on_row(void *data, enum pg_answer answer, const PGresult *result, const char *text);

static void ask(struct pg *pg)
{
    struct pg_conn_target target;

    if (pg->closing || !pg_own_target(pg, &target) || pg_conn_is_busy(pg->conn)) {
        finish(pg, false);
        return;
    }
    pg_conn_query(pg->conn, &target, pg_row_sql, query_deadline_ms(pg), on_row, pg);
}

static void note_stream(struct pg *pg, const struct pg_row *row)
{
    if (!row->in_recovery || row->streaming || row->upstream_host[0] == '\0') {
        pg->unstreamed_ms = 0;
        pg->receiver[0] = '\0';
    } else if (pg->unstreamed_ms == 0) {
        pg->unstreamed_ms = clock_ms();
    }
}

static void take_row(struct pg *pg, const PGresult *result)
{
    struct pg_row row;
    struct kv_list settings = {0};
    struct err err = {0};
    int status = pg_row_parse(result, &row, &settings, &err);

    if (status == 0) {
        pg_params_pending(&pg->opts->o, &settings, &row.pending);
    }
    kv_deinit(&settings);
    if (status != 0) {
        pg->answer = PG_ANSWER_ERROR;
        (void)str_copy(pg->answer_text, sizeof(pg->answer_text), err.text);
        return;
    }
    /* What a standby has of a timeline it does not lose while it runs, but the
     * functions forget it when the receiver ends before the next restartpoint. */
    if (pg->has_row && row.in_recovery && pg->row.in_recovery && row.sysid == pg->row.sysid) {
        row.timeline = MAX(row.timeline, pg->row.timeline);
    }
    if (!pg->has_row) {
        pg->not_streaming_ms = 0;
        log_info("PostgreSQL accepts connections. pid=%d role=%s timeline=%u",
                 (int)pg->postmaster.pid, row.in_recovery ? "standby" : "primary", row.timeline);
    } else if (pg->row.in_recovery && !row.in_recovery) {
        log_info("PostgreSQL is out of recovery. pid=%d timeline=%u", (int)pg->postmaster.pid,
                 row.timeline);
    }
    note_stream(pg, &row);
    pg->row = row;
    pg->has_row = true;
    pg_sync_row(pg);
    pg->was_primary = !row.in_recovery;
    pg->postmaster.was_ready = true;
    pg->seen_ms = clock_ms();
    if (!row.in_recovery || row.streaming || row.upstream_host[0] == '\0') {
        pg->not_streaming_ms = 0;
    } else if (pg->not_streaming_ms == 0) {
        pg->not_streaming_ms = pg->seen_ms;
    }
}

static void on_row(void *data, enum pg_answer answer, const PGresult *result, const char *text)
{
    struct pg *pg = data;

    if (pg->postmaster.pid == 0) {
        finish(pg, false); /* It ended meanwhile: what it said is of no use. */
        return;
    }
    if (answer == PG_ANSWER_LOST && pg->has_row && !pg->retried) {
        pg->retried = true; /* The session was an old one. */
        ask(pg);
        return;
    }
    pg->answer = answer;
    (void)str_copy(pg->answer_text, sizeof(pg->answer_text), text); /* Cut is fine. */
    if (answer == PG_ANSWER_OK) {
        take_row(pg, result);
    } else if (answer == PG_ANSWER_AUTH || answer == PG_ANSWER_FULL) {
        pg->postmaster.was_ready = true;
    }
    if (pg->has_row && !pg->row.in_recovery && pg->row.timeline > 1 &&
        pg->history.timeline != pg->row.timeline && answer == PG_ANSWER_OK && !pg->retried) {
        pg->retried = true;
        pg->observe_again = true; /* To read how it came to this timeline. */
    }
    finish(pg, pg->answer == PG_ANSWER_OK);
}

/* ---- The look ---- */

static void run_look(struct pg_job *job)
{
    struct look *l = CONTAINER_OF(job, struct look, job);
    const struct pg_options *o = &l->opts->o;
    struct err ignored;

    pg_look(o, &l->disk);
    pg_failure_rotate(o);
    if (l->seek_postmaster && l->disk.pidfile.pid != 0) {
        l->adopted_fd = pg_process_open(l->disk.pidfile.pid, l->disk.path);
        l->adopted = l->disk.pidfile.pid;
    }
    if (l->seek_failure) {
        l->failure_found = pg_failure_read(o, l->failure, sizeof(l->failure));
    }
    if (l->seek_receiver) {
        (void)pg_failure_receiver(o, l->receiver, sizeof(l->receiver)); /* Or empty. */
    }
    if (l->seek_stream_failure) {
        pg_failure_read_stream(o, l->stream_failure, sizeof(l->stream_failure));
    }
    if (l->history_timeline != 0) {
        if (pg_history_read(o->data_dir, l->history_timeline, &l->history, &ignored) != 0) {
            l->history.timeline = 0; /* Not there yet, or soon to be asked for again. */
        }
    }
}

static void adopt(struct pg *pg, struct look *l)
{
    if (l->adopted_fd < 0) {
        return;
    }
    if (pg->postmaster.pid != 0 || pg->starting || pg->closing || l->epoch != pg->disk_epoch) {
        (void)close(l->adopted_fd); /* One is known by now. */
        return;
    }
    pg_postmaster_watch(pg, l->adopted, l->adopted_fd, false);
    pg->postmaster.starts_as_standby = l->disk.has_standby_signal;
    pg->unread = true; /* Who wrote the files last may not have come to telling it. */
    log_info("PostgreSQL runs already, adopting it. pid=%d", (int)l->adopted);
}

static void take_look(struct pg *pg, struct look *l)
{
    pg->disk = l->disk;
    pg->looked = true;
    pg->end_unseen = false;
    /* The collector of logs ends after the postmaster, and may have the line still. */
    if (l->seek_failure && (l->failure_found || l->disk.n_processes == 0)) {
        if (pg->failure[0] == '\0' && l->failure[0] != '\0') {
            log_error("PostgreSQL did not start. reason=%s", l->failure);
        }
        (void)str_copy(pg->failure, sizeof(pg->failure),
                       l->failure[0] != '\0' ? l->failure : "it left no reason in its log");
    }
    if (l->seek_receiver && pg->unstreamed_ms != 0) {
        (void)str_copy(pg->receiver, sizeof(pg->receiver), l->receiver); /* Same size. */
    }
    (void)str_copy(pg->stream_failure, sizeof(pg->stream_failure), l->stream_failure);
    if (l->history.timeline != 0) {
        pg->history = l->history;
    }
}

static void watch_lock_file(struct pg *pg);

static void go_on(struct pg *pg, bool look_again)
{
    if (pg_pidfile_status_of(pg) == PG_PIDFILE_READY) {
        pg->postmaster.was_ready = true;
    }
    watch_lock_file(pg);
    if (pg->waits_for_look) {
        pg->observe_again = pg->observe_again || look_again;
        pg->waits_for_look = false;
        (void)uv_timer_stop(pg->timer);
        ask(pg);
    } else if (look_again) {
        pg_observe_soon(pg);
    } else if (!pg->observing) { /* Late: the query went ahead. What it saw shows now. */
        tell(pg);
    }
}

static void on_looked(struct pg_job *job)
{
    struct look *l = CONTAINER_OF(job, struct look, job);
    struct pg *pg = l->pg;
    bool is_void = l->epoch != pg->disk_epoch;

    if (!is_void) {
        take_look(pg, l);
    }
    adopt(pg, l);
    pg_opts_release(l->opts);
    free(l);
    pg->looking = false;
    if (pg->closing) {
        pg->observing = false;
    } else {
        go_on(pg, is_void);
    }
    pg_release(pg);
}

static void look(struct pg *pg)
{
    struct look *l = xmalloc(sizeof(*l));

    pg->looking = true;
    l->pg = pg;
    l->opts = pg_opts_hold(pg->opts);
    l->epoch = pg->disk_epoch;
    l->adopted_fd = -1;
    l->seek_postmaster = pg->postmaster.pid == 0 && !pg->starting;
    l->seek_receiver =
        pg->has_row && pg->unstreamed_ms != 0 && clock_ms() - pg->unstreamed_ms >= UNSTREAMED_MS;
    l->seek_failure = pg->start_failed && pg->failure[0] == '\0';
    l->seek_stream_failure = pg->not_streaming_ms != 0;
    if (pg->has_row && !pg->row.in_recovery && pg->row.timeline > 1 &&
        pg->history.timeline != pg->row.timeline) {
        l->history_timeline = pg->row.timeline;
    }
    l->job.work = run_look;
    l->job.done = on_looked;
    pg_hold(pg);
    pg_worker_submit(pg->looker, &l->job);
}

static void observe(struct pg *pg)
{
    pg->observing = true;
    pg->observe_again = false;
    pg->retried = false;
    pg->round++;
    pg->waits_for_look = !pg->looking;
    if (pg->looking) {
        (void)uv_timer_stop(pg->timer);
        ask(pg); /* The one before still hangs on the disk. */
        return;
    }
    look(pg);
    uv_update_time(pg->opts->o.loop);
    (void)uv_timer_start(pg->timer, on_timer, LOOK_MS, 0);
}

/* ---- The lock file ---- */

static void on_lock_file(uv_fs_event_t *event, const char *name, int events, int status)
{
    (void)events;
    (void)status;
    if (str_equal(name, "postmaster.pid")) {
        pg_observe_soon(event->data);
    }
}

static void unwatch(struct pg *pg)
{
    if (pg->watch != NULL) {
        pg_close_handle(pg, (uv_handle_t *)pg->watch);
        pg->watch = NULL;
        pg->watched = 0;
    }
}

/* Anew for every postmaster: a clone may have replaced the directory. */
static void watch_lock_file(struct pg *pg)
{
    if (pg->postmaster.pid == 0 || pg->watched == pg->postmaster.pid) {
        return;
    }
    unwatch(pg);
    pg->watch = xmalloc(sizeof(*pg->watch));
    ASSERT(uv_fs_event_init(pg->opts->o.loop, pg->watch) == 0);
    pg->watch->data = pg;
    pg_hold(pg);
    /* Without it the timer does, a little later. */
    (void)uv_fs_event_start(pg->watch, on_lock_file, pg->disk.path, 0);
    pg->watched = pg->postmaster.pid;
}

/* ---- Public ---- */

void pg_observe(struct pg *pg, uint64_t now_ms)
{
    (void)now_ms;
    if (!pg->observing && !pg->closing) {
        observe(pg);
    }
}

void pg_observe_soon(struct pg *pg)
{
    if (pg->closing) {
        return;
    }
    if (pg->observing) {
        pg->observe_again = true;
    } else {
        observe(pg);
    }
}

void pg_observe_close(struct pg *pg)
{
    answer_waiters(pg, false);
    unwatch(pg);
    pg_close_handle(pg, (uv_handle_t *)pg->timer);
    pg->timer = NULL;
}

void pg_read_positions(struct pg *pg, uint64_t epoch, pg_positions_cb cb, void *data)
{
    PRE(!pg->closing);
    if (pg->n_waiters == PG_WAITERS_MAX) { /* The oldest has waited for long. */
        struct pg_waiter oldest = pg->waiters[0];
        struct positions none = {.epoch = oldest.epoch};

        pg->n_waiters--;
        memmove(pg->waiters, pg->waiters + 1, pg->n_waiters * sizeof(pg->waiters[0]));
        oldest.cb(oldest.data, &none);
    }
    pg->waiters[pg->n_waiters++] = (struct pg_waiter){epoch, pg->round + 1, cb, data};
    pg_observe_soon(pg);
}
