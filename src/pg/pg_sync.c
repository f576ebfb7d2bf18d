/*
 * Synchronous commit: what PostgreSQL was told, and a commit of our own that waits.
 *
 * A setting is in force when the checkpointer has read it, which nothing shows, and
 * seconds later under load. So with the placeholder, which no WAL sender releases, we
 * commit: if that returns, commits do not wait yet; if it is seen waiting, all that
 * follow wait too. It ends when the placeholder is replaced by a standby that has it.
 * core/sync_rules.c decides; what is remembered here belongs to one postmaster and to
 * what its configuration has said since.
 *
 * The same way serves every other change of the configuration: what the files should be
 * made from is compared with what they were made from last, so that no change is lost,
 * whoever made it and whatever runs meanwhile.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "pg/pg_internal.h"

#define PROBE_MS                                                               \
    SECONDS(30) /* Then it is ended: a backend that waits does not notice that \
                 * we left. */
#define PROBE_PAUSE_MS 100
#define WRITE_AGAIN_MS 1000
#define END_MS         SECONDS(5)

static const char probe_sql[] =
    "SET synchronous_commit = on;"
    " SELECT pg_logical_emit_message(true, 'veche', 'a commit that waits')";

/* ---- What is seen ---- */

static void parse(const char *text, struct sync_wait *ret_wait)
{
    size_t n = strlen(text);

    *ret_wait = (struct sync_wait){.kind = SYNC_WAIT_OTHER};
    if (n == 0) {
        ret_wait->kind = SYNC_WAIT_NOBODY;
    } else if (n > 2 && n < NAME_SIZE + 2 && text[0] == '"' && text[n - 1] == '"') {
        memcpy(ret_wait->name, text + 1, n - 2);
        if (str_equal(ret_wait->name, PG_SYNC_PLACEHOLDER)) {
            *ret_wait = (struct sync_wait){.kind = SYNC_WAIT_FOREVER};
        } else if (name_is_valid(ret_wait->name)) {
            ret_wait->kind = SYNC_WAIT_NAME;
        } else {
            *ret_wait = (struct sync_wait){.kind = SYNC_WAIT_OTHER};
        }
    }
}

static bool is_known(const struct pg *pg)
{
    return pg->has_row && pg->looked && !pg->sync.writing && pg->sync.row_round >= pg->sync.round;
}

void pg_sync_fill(const struct pg *pg, struct view_sync *view)
{
    const struct pg_sync *s = &pg->sync;

    *view = (struct view_sync){.known = is_known(pg)};
    view->gate_closed = pg->disk.gate_closed && pg->postmaster.pid != 0;
    if (pg->has_row) {
        parse(pg->row.sync_names, &view->wait);
        view->held = s->held;
        view->held_lsn = s->held_lsn;
        view->released = s->released;
    }
}

static bool may_release(const struct pg_row *row)
{
    bool any = false;

    for (uint32_t i = 0; i < row->n_replicas; i++) {
        any = any || row->replicas[i].sync_priority != 0;
    }
    return any;
}

/*
 * Held from the second such row on: what was acknowledged before the first one ends
 * before the position of the second. The positions of one row are not of one moment.
 */
void pg_sync_row(struct pg *pg)
{
    struct pg_sync *s = &pg->sync;
    struct sync_wait wait;
    bool quiet;

    if (s->postmaster != pg->postmaster.pid) {
        s->postmaster = pg->postmaster.pid;
        s->quiet = s->held = s->released = false;
        s->file = (struct sync_wait){.kind = SYNC_WAIT_KEEP};
    }
    s->row_round = pg->round;
    parse(pg->row.sync_names, &wait);
    quiet = wait.kind == SYNC_WAIT_FOREVER && s->probing && !may_release(&pg->row) &&
            pg->row.waiting_pid != 0 && is_known(pg);
    if (s->probing && pg->row.waiting_pid != 0) {
        s->probe_pid = pg->row.waiting_pid;
    }
    if (quiet && s->quiet && !s->held) {
        s->held = true;
        s->held_lsn = pg->row.flushed;
        log_debug("A commit of ours waits for a standby. pid=%lld", (long long)s->probe_pid);
    }
    s->quiet = quiet;
}

/* ---- Our own commit ---- */

static void on_ended(void *data, int status, const char *problem)
{
    (void)data;
    if (status != 0) {
        log_debug("A commit of ours that waits was not ended. problem=\"%s\"", problem);
    }
}

/* A backend that waits does not look at its socket. */
static void end_probe(struct pg *pg)
{
    char sql[64];

    if (pg->sync.probe_pid == 0 || pg->closing || pg->postmaster.pid == 0) {
        return;
    }
    (void)snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%lld)",
                   (long long)pg->sync.probe_pid);
    pg_execute(pg, sql, END_MS, on_ended, pg);
}

static void on_probed(void *data, enum pg_answer answer, const PGresult *result, const char *text)
{
    struct pg *pg = data;
    struct pg_sync *s = &pg->sync;
    bool through = answer == PG_ANSWER_OK && !pg_conn_is_warned(s->conn);

    (void)result;
    s->probing = false;
    s->probed_ms = clock_ms();
    if (answer == PG_ANSWER_TIMEOUT) {
        end_probe(pg);
    } else if (!through) {
        log_debug("A commit of ours failed. answer=\"%s\" text=\"%s\"", pg_answer_name(answer),
                  text);
    }
    s->probe_pid = 0;
    s->released = through && s->held && s->file.kind == SYNC_WAIT_NAME;
    s->held = s->released; /* With the placeholder it should not have come through. */
    s->quiet = false;
    pg_observe_soon(pg);
    pg_changed(pg);
}

static void start_probe(struct pg *pg)
{
    struct pg_sync *s = &pg->sync;
    struct pg_conn_target target;

    if (s->probing || pg_conn_is_busy(s->conn) || clock_ms() < s->probed_ms + PROBE_PAUSE_MS ||
        !pg_own_target(pg, &target)) {
        return;
    }
    s->probing = true;
    s->probe_pid = 0;
    s->quiet = false;
    pg_conn_query(s->conn, &target, probe_sql, PROBE_MS, on_probed, pg);
    pg_observe_soon(pg);
}

/* ---- What PostgreSQL is told ---- */

#define HBA_WRONG "pg_hba.conf is wrong: "

/* A server that runs keeps the lines of before, one that starts does not start. */
static const char hba_sql[] =
    "DO $$ DECLARE t text; BEGIN"
    " SELECT string_agg(format('line %s: %s', line_number, error), '; ' ORDER BY line_number)"
    " INTO t FROM pg_hba_file_rules WHERE error IS NOT NULL;"
    " IF t IS NOT NULL THEN"
    "  RAISE '" HBA_WRONG "%', t USING ERRCODE = 'config_file_error'; END IF;"
    " END $$";

static void on_hba_read(void *data, int status, const char *problem)
{
    const char *lines = strstr(problem, HBA_WRONG);

    (void)data;
    if (status != 0 && lines != NULL) {
        log_error("PostgreSQL does not take the lines of pg_hba.conf: it goes on with those of "
                  "before, and would not start with these. Mend postgresql.pg_hba. lines=\"%s\"",
                  lines + strlen(HBA_WRONG));
    }
}

static void on_written(void *data, int status, const char *problem)
{
    struct pg *pg = data;
    struct pg_sync *s = &pg->sync;

    s->writing = false;
    s->again_ms = clock_ms() + WRITE_AGAIN_MS;
    s->round = pg->round + 1;
    s->file = s->next;
    if (status != 0) {
        pg->reload_asked |= s->asked;
        log_error("The configuration of PostgreSQL could not be written, trying again. "
                  "problem=\"%s\"",
                  problem);
    } else if (s->tells || s->asked || pg->unread) {
        log_info("PostgreSQL reads its configuration again. pid=%d", (int)pg->postmaster.pid);
        if (!pg->closing && (s->asked || pg->unread)) {
            pg_execute(pg, hba_sql, END_MS, on_hba_read, pg);
        }
        pg->n_reloads += s->asked || (s->configured && pg->unread) ? 1 : 0;
        pg_reload(pg);
    }
    pg_observe_soon(pg);
    pg_release(pg);
}

static bool is_same(const struct sync_wait *a, const struct sync_wait *b)
{
    return a->kind == b->kind && str_equal(a->name, b->name);
}

/* Of what is not ours the user has the say: left over is what the process before us
 * wrote, and only that is put right. */
static bool is_users(const struct pg *pg, const struct sync_wait *seen)
{
    const struct kv_list *params;
    struct pg_options o;
    const char *given;
    bool wrote = pg->sync.file.kind != SYNC_WAIT_KEEP;

    pg_options_of_role(&pg->opts->o, pg->row.in_recovery, &o);
    params = o.parameters;
    given = params != NULL ? kv_get(params, "synchronous_standby_names") : NULL;
    return seen->kind != SYNC_WAIT_FOREVER &&
           (wrote ? pg->sync.file.kind == SYNC_WAIT_USER
                  : seen->kind != SYNC_WAIT_NAME || str_equal(given, pg->row.sync_names));
}

static bool is_told(const struct pg *pg, const struct sync_wait *wanted)
{
    struct sync_wait seen;

    parse(pg->row.sync_names, &seen);
    if (wanted->kind == SYNC_WAIT_USER) {
        return is_users(pg, &seen);
    }
    return wanted->kind == SYNC_WAIT_KEEP || is_same(&seen, wanted);
}

/* What is remembered of our commit is good as long as none could come through. */
static void note_change(struct pg *pg, const struct sync_wait *wanted)
{
    struct pg_sync *s = &pg->sync;
    struct sync_wait seen;

    parse(pg->row.sync_names, &seen);
    if (wanted->kind == SYNC_WAIT_KEEP || is_same(&seen, wanted)) {
        return;
    }
    s->held = s->held && seen.kind == SYNC_WAIT_FOREVER && wanted->kind == SYNC_WAIT_NAME;
    s->released = false;
    s->quiet = false;
}

/* `tells`: of synchronous commit there is something new in it. */
static void write_conf(struct pg *pg, const struct sync_decision *d, const struct pg_start *start,
                       bool tells)
{
    struct pg_sync *s = &pg->sync;
    struct pg_start how = *start;
    char text[NAME_SIZE + 8];

    note_change(pg, &d->wait);
    how.sync = d->wait;
    how.closed = pg->disk.gate_closed && !d->gate_open;
    if (how.sync.kind == SYNC_WAIT_KEEP) {
        parse(pg->row.sync_names, &how.sync); /* Not OTHER: that is never kept. */
    }
    s->next = how.sync;
    s->writing = true;
    s->tells = tells;
    s->configured = pg->has_written && pg->written_revision != pg->opts->revision;
    s->asked = pg->reload_asked; /* Who asks from now on gets another one. */
    pg->reload_asked = false;
    if (tells) {
        log_info("Telling PostgreSQL for whom commits wait. synchronous_standby_names='%s' "
                 "clients=%s",
                 how.sync.kind == SYNC_WAIT_USER ? "(as configured)"
                                                 : pg_sync_text(&how.sync, text, sizeof(text)),
                 how.closed ? "kept-out" : "let-in");
    }
    pg_hold(pg);
    pg_write_conf(pg, &how, on_written, pg);
}

/* The files are not made from what is configured now, or for the role it has now; or the
 * server has not read them. */
static bool is_stale(const struct pg *pg, const struct pg_start *start)
{
    return pg->opts->o.is_settled && (pg->unread || pg->reload_asked || !pg->has_written ||
                                      pg->written_revision != pg->opts->revision ||
                                      pg->written.as_standby != start->as_standby);
}

void pg_sync_apply(struct pg *pg, const struct sync_decision *decision,
                   const struct pg_start *start)
{
    const struct pg_sync *s = &pg->sync;
    bool opens = decision->gate_open && pg->disk.gate_closed;
    bool told = is_told(pg, &decision->wait);

    PRE(decision->wait.kind != SYNC_WAIT_OTHER);
    if (pg->closing || pg->postmaster.pid == 0 || !is_known(pg) ||
        (start->as_standby && start->upstream.name[0] == '\0' &&
         pg->row.upstream_host[0] != '\0')) {
        return; /* It follows somebody we do not know: that would be overwritten. */
    }
    if (!told || opens) {
        if (!is_same(&decision->wait, &s->file) || clock_ms() >= s->again_ms) {
            write_conf(pg, decision, start, true);
        }
    } else if (is_stale(pg, start) && clock_ms() >= s->again_ms) {
        write_conf(pg, decision, start, false);
    } else if (decision->probe) {
        start_probe(pg);
    }
}

bool pg_sync_is_awaiting(const struct pg *pg)
{
    const struct pg_sync *s = &pg->sync;

    return s->probing || s->writing || s->round > s->row_round || pg->disk.gate_closed ||
           (s->file.kind != SYNC_WAIT_KEEP && s->file.kind != SYNC_WAIT_USER &&
            !is_told(pg, &s->file));
}

/* ---- Life ---- */

static void on_closed(void *data)
{
    pg_release(data);
}

void pg_sync_init(struct pg *pg)
{
    pg->sync.file.kind = SYNC_WAIT_KEEP;
    pg->sync.conn = pg_conn_new(pg->opts->o.loop);
    pg_hold(pg);
}

void pg_sync_close(struct pg *pg)
{
    pg_conn_close(pg->sync.conn, on_closed, pg);
}
