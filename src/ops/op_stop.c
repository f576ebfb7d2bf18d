/*
 * Stopping PostgreSQL cleanly: switchover, stop of the agent.
 *
 * Happy path: a CHECKPOINT while clients still work, so that the shutdown
 * checkpoint is short; the operator's before_stop; fast stop; no process of the data
 * directory is left.
 *
 * Failure modes:
 *  - the CHECKPOINT fails or takes too long: stop without it;
 *  - before_stop fails, or takes longer than BEFORE_STOP_MS: stop all the same. A fence
 *    never waits for it: it signals first, and then cuts this sequence off (ops.c: cut_in);
 *    nor does the guard;
 *  - the fast stop hangs on a client in a system call, a walsender or the
 *    archiver: after its time the cause is named and the stop gets harder,
 *    immediate and then SIGKILL. The next start is then a crash recovery;
 *  - the postmaster dies and leaves processes: the harder steps come at once;
 *  - a process cannot be killed (it hangs in the kernel): the stop fails, says
 *    how many, and is tried again.
 *
 * Once a signal was sent there is no way back: only a fence cuts in.
 */
#include "ops/ops_internal.h"

#include "base/log.h"

#define STOP_CHECKPOINT_MS SECONDS(60)
#define BEFORE_STOP_MS     SECONDS(60)
#define STOP_IMMEDIATE_MS  SECONDS(5)

static enum seq_next checkpoint_run(struct seq *s)
{
    struct op *o = op_of(s);
    const struct ops *ops = op_look(o);

    if (!ops->view.postmaster_alive || ops->status.pg_state != PG_STATE_RUNNING) {
        return SEQ_NEXT;
    }
    pg_execute(op_pg(o), "CHECKPOINT", STOP_CHECKPOINT_MS, op_on_done, o);
    return SEQ_WAIT;
}

/* It only makes the stop shorter. */
static enum seq_next checkpoint_done(struct seq *s)
{
    if (s->status != 0) {
        log_warning("No checkpoint before the stop, stopping without it. problem=\"%s\"",
                    s->problem.text);
    }
    return SEQ_NEXT;
}

static enum seq_next before_done(struct seq *s)
{
    if (s->status != 0) {
        log_warning("before_stop failed, stopping all the same. problem=\"%s\"", s->problem.text);
    }
    return SEQ_NEXT;
}

static enum seq_next before_run(struct seq *s)
{
    struct op *o = op_of(s);
    enum seq_next next = SEQ_NEXT;

    if (!pg_is_down(op_pg(o))) {
        next = op_run_script(o, "before_stop", pg_options(op_pg(o))->before_stop);
    }
    if (next == SEQ_FAIL) { /* Not even started. */
        s->status = -1;
        next = before_done(s);
    }
    return next;
}

/* Down, or waiting for it, or `limit_ms` over: then *ret_over is set. */
static enum seq_next wait_down(struct seq *s, uint64_t limit_ms, bool *ret_over)
{
    struct op *o = op_of(s);

    s->poll_every_ms = 20;
    *ret_over = false;
    if (pg_is_down(op_pg(o))) {
        return SEQ_NEXT;
    }
    if (s->now_ms >= s->step_started_ms + limit_ms || !op_look(o)->view.postmaster_alive) {
        *ret_over = true;
        return SEQ_NEXT;
    }
    return SEQ_POLL;
}

static enum seq_next fast_run(struct seq *s)
{
    struct op *o = op_of(s);

    s->poll_every_ms = 20;
    if (pg_is_down(op_pg(o))) {
        return SEQ_NEXT;
    }
    o->committed = true;
    pg_signal_stop(op_pg(o), PG_STOP_FAST);
    return SEQ_POLL;
}

/* Why a fast stop hangs, as far as it can be seen from outside. */
static const char *cause_of(const struct ops *ops)
{
    if (!ops->view.postmaster_alive) {
        return "the postmaster died and left processes behind";
    }
    if (ops->status.clean_shutdown) {
        return "the shutdown checkpoint is written, a walsender or the archiver is not done";
    }
    return "a session does not end, or the shutdown checkpoint takes long";
}

/* A primary that others are to take over from has less time where nothing is lost by that. */
static uint64_t fast_ms(const struct op *o)
{
    const struct pg_options *pg = pg_options(op_pg(o));
    bool primary = o->ops->status.pg_role == PG_ROLE_PRIMARY;

    return primary && pg->sync_on && pg->primary_stop_ms != 0 ? pg->primary_stop_ms : op_stop_ms(o);
}

static enum seq_next fast_done(struct seq *s)
{
    struct op *o = op_of(s);
    bool over;
    enum seq_next next = wait_down(s, fast_ms(o), &over);

    if (over) {
        log_warning("Fast stop did not end, stopping harder. ms=%llu processes=%u cause=\"%s\"",
                    (unsigned long long)(s->now_ms - s->step_started_ms), o->ops->view.n_processes,
                    cause_of(o->ops));
    }
    return next;
}

static enum seq_next immediate_run(struct seq *s)
{
    struct op *o = op_of(s);

    s->poll_every_ms = 20;
    if (pg_is_down(op_pg(o))) {
        return SEQ_NEXT;
    }
    pg_signal_stop(op_pg(o), PG_STOP_IMMEDIATE);
    return SEQ_POLL;
}

static enum seq_next immediate_done(struct seq *s)
{
    bool over;

    return wait_down(s, STOP_IMMEDIATE_MS, &over);
}

/* clang-format off */
const struct seq_step op_stop_steps[] = {
    /* name          run             done             abort  limit ms     progress */
    {"checkpoint",   checkpoint_run, checkpoint_done, NULL,  0,           NULL}, /* pg_execute's own. */
    {"before stop",  before_run,     before_done,     op_kill_child, BEFORE_STOP_MS, NULL},
    {"fast",         fast_run,       fast_done,       NULL,  0,           NULL}, /* fast_ms */
    {"immediate",    immediate_run,  immediate_done,  NULL,  0,           NULL}, /* STOP_IMMEDIATE_MS */
    {"kill",         op_kill_run,    op_kill_run,     NULL,  SECONDS(60), NULL},
    {0},
};
/* clang-format on */
