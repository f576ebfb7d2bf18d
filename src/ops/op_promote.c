/*
 * A running standby becomes primary. Only decided with the lease: from the
 * signal on it may become writable at any moment.
 *
 * Happy path: paused replay is resumed; what was received is replayed; the guard is
 * armed; the promotion is signalled and watched until the server is out of recovery.
 *
 * Failure modes:
 *  - queries hold replay up: after PROMOTE_WAIT_MS the sessions that do are
 *    terminated, for until replay is at its end there is no promotion;
 *  - the server dies: pg_promote fails, what follows is decided anew;
 *  - the promotion takes long: no deadline here, decide() sees the step and
 *    knows how long the cluster may be without a primary;
 *  - another action is decided before it is done: a signalled promotion cannot
 *    be taken back, so the server is stopped. (A fence kills it anyway.)
 */
#include "ops/ops_internal.h"

#include "base/log.h"

#define PROMOTE_WAIT_MS SECONDS(1)
#define PROMOTE_SQL_MS  SECONDS(2)

/* Who holds the startup process up: whoever has the lock it waits for; on a
 * conflict with snapshots (13 does not show the wait) whoever has one. */
static const char blockers_sql[] =
    "SELECT count(pg_terminate_backend(a.pid))"
    " FROM pg_stat_activity s, pg_stat_activity a"
    " WHERE s.backend_type = 'startup' AND a.backend_type = 'client backend'"
    "   AND a.pid <> pg_backend_pid()"
    "   AND (a.pid = ANY (pg_blocking_pids(s.pid))"
    "        OR a.backend_xmin IS NOT NULL"
    "           AND (s.wait_event LIKE 'RecoveryConflict%'"
    "                OR current_setting('server_version_num')::int < 140000))";

static enum seq_next resume_run(struct seq *s)
{
    struct op *o = op_of(s);

    if (!op_look(o)->status.replay_paused) {
        return SEQ_NEXT;
    }
    pg_execute(op_pg(o), "SELECT pg_wal_replay_resume()", PROMOTE_SQL_MS, op_on_done, o);
    return SEQ_WAIT;
}

/* The promotion that follows resumes a paused replay too. */
static enum seq_next go_on_anyway(struct seq *s)
{
    if (s->status != 0) {
        log_warning(
            "Preparing the promotion failed, promoting all the same. step=%s problem=\"%s\"",
            seq_step_name(s), s->problem.text);
    }
    return SEQ_NEXT;
}

static bool is_behind(struct op *o)
{
    const struct status *status = &op_look(o)->status;

    return status->received > status->replayed && status->pg_role != PG_ROLE_PRIMARY;
}

static enum seq_next replay_run(struct seq *s)
{
    s->poll_every_ms = 50;
    if (!is_behind(op_of(s)) || s->now_ms >= s->step_started_ms + PROMOTE_WAIT_MS) {
        return SEQ_NEXT;
    }
    return SEQ_POLL;
}

static enum seq_next unblock_run(struct seq *s)
{
    struct op *o = op_of(s);

    if (!is_behind(o)) {
        return SEQ_NEXT;
    }
    log_info("Replay is behind before the promotion, terminating sessions that block it.");
    pg_execute(op_pg(o), blockers_sql, PROMOTE_SQL_MS, op_on_done, o);
    return SEQ_WAIT;
}

static enum seq_next promote_run(struct seq *s)
{
    struct op *o = op_of(s);

    if (op_look(o)->status.pg_role == PG_ROLE_PRIMARY) {
        return SEQ_NEXT;
    }
    pg_promote(op_pg(o), o->decision.timeline, op_on_done, o);
    return SEQ_WAIT;
}

static void promote_abort(struct seq *s)
{
    struct op *o = op_of(s);

    if (!o->ops->leaving) {
        log_warning("Promotion is given up, stopping PostgreSQL because it cannot be taken back.");
        pg_signal_stop(op_pg(o), PG_STOP_FAST);
    }
}

/* So that the next decision sees a primary. */
static enum seq_next seen_run(struct seq *s)
{
    return op_look(op_of(s))->status.pg_role == PG_ROLE_PRIMARY ? SEQ_NEXT : SEQ_POLL;
}

/* clang-format off */
const struct seq_step op_promote_steps[] = {
    /* name            run          done          abort          limit ms     progress */
    {"resume replay",  resume_run,  go_on_anyway, NULL,          0,           NULL}, /* pg_execute's. */
    {"wait for replay",replay_run,  replay_run,   NULL,          0,           NULL}, /* PROMOTE_WAIT_MS */
    {"unblock replay", unblock_run, go_on_anyway, NULL,          0,           NULL}, /* pg_execute's. */
    {"arm",            op_arm_run,   op_arm_run,   NULL,          0,           NULL}, /* The lease's. */
    {"promote",        promote_run, NULL,         promote_abort, 0,           NULL}, /* decide()'s. */
    {"confirm",        seen_run,    seen_run,     NULL,          SECONDS(10), NULL},
    {0},
};
/* clang-format on */
