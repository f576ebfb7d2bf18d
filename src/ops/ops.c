/*
 * Reconciliation: what the node's decision says is kept, started or put in the
 * place of what runs. Two sequences may exist for a moment: `main`, and beside
 * it `urgent`, a fence or clean-up that cut in while `main` is still waiting
 * for its last callback.
 */
#include "ops/ops_internal.h"

#include "base/clock.h"
#include "base/log.h"

#define BACK_OFF_MIN_MS SECONDS(1)
#define BACK_OFF_MAX_MS SECONDS(60)

/* What ended well is not started again this soon: the view of the decision may
 * be older than the end. */
#define SETTLE_MS 100

static void on_end(struct seq *s, int status, const char *step);

struct ops *ops_new(const struct ops_options *options)
{
    struct ops *o = xmalloc(sizeof(*o));

    PRE(options->pg != NULL);

    o->options = *options;
    o->main.ops = o;
    o->main.seq.end = on_end;
    o->urgent.ops = o;
    o->urgent.seq.end = on_end;
    if (options->stop_file != NULL) {
        o->main.seq.at_point = op_stop_point;
        o->urgent.seq.at_point = op_stop_point;
    }
    o->last_rule = "";
    o->wake_ms = UINT64_MAX;
    return o;
}

/* ---- Start and end of a sequence ---- */

static void start(struct op *op, const struct node_decision *decision, uint64_t now_ms)
{
    PRE(op->action == ACTION_NONE);

    if (decision->action == ACTION_REWIND && decision->timeline != op->ops->rewind_timeline) {
        op->ops->n_rewind_failures = 0; /* Another source may have what was missing. */
        op->ops->rewind_timeline = decision->timeline;
    }
    op->action = decision->action;
    op->decision = *decision;
    op->started_ms = now_ms;
    op->epoch = op->ops->options.store != NULL ? op->ops->options.store->primary.epoch : 0;
    op->start = (struct pg_start){.upstream = decision->upstream};
    op->child = NULL;
    op->committed = false;
    op->method[0] = '\0';
    op->file[0] = '\0';
    log_info("Sequence started. sequence=%s rule=%s why=\"%s\" upstream=%s evidence=\"%s\"",
             node_action_name(op->action), decision->rule, decision->why,
             decision->upstream.name[0] != '\0' ? decision->upstream.name : "-",
             decision->evidence);
    seq_start(&op->seq, op_steps(op->action), now_ms);
}

static void back_off(struct ops *o, enum node_action action, uint64_t now_ms)
{
    uint64_t delay_ms = BACK_OFF_MIN_MS;

    o->n_failures[action]++;
    for (uint32_t i = 1; i < o->n_failures[action] && delay_ms < BACK_OFF_MAX_MS; i++) {
        delay_ms *= 2;
    }
    o->retry_ms[action] = op_backs_off(action) ? now_ms + MIN(delay_ms, BACK_OFF_MAX_MS) : 0;
}

static void note_last(struct op *op, bool failed)
{
    struct ops *o = op->ops;

    o->last = op->action;
    o->last_rule = op->decision.rule;
    o->last_failed = failed;
    o->last_order = op->decision.order;
    o->last_ms = op->seq.now_ms;
}

static void note_success(struct op *op, uint64_t duration_ms)
{
    struct ops *o = op->ops;

    log_info("Sequence done. sequence=%s ms=%llu", node_action_name(op->action),
             (unsigned long long)duration_ms);
    o->n_failures[op->action] = 0;
    o->n_rewind_failures = op->action == ACTION_REWIND ? 0 : o->n_rewind_failures;
    o->retry_ms[op->action] = 0;
    if (op->action == ACTION_PREPARE || op->action == ACTION_PROMOTE) {
        o->prepared_epoch = op->action == ACTION_PREPARE ? op->epoch : 0; /* For one promotion. */
    }
    if (op->action != ACTION_CLEAN_UP) {
        note_last(op, false);
        o->problem[0] = '\0';
    }
}

static void note_failure(struct op *op, uint64_t duration_ms, const char *step)
{
    struct ops *o = op->ops;
    uint64_t now_ms = op->seq.now_ms;
    struct sbuf problem;
    uint64_t retry_ms;

    back_off(o, op->action, now_ms);
    /* A source that does not answer may come back, a full disk may be emptied. */
    if (op->action == ACTION_REWIND && op_rewind_is_at_fault(step)) {
        o->n_rewind_failures++;
    }
    if (op->action == ACTION_CLONE) {
        op_clone_failed(op, step);
    }
    retry_ms = o->retry_ms[op->action];
    log_warning("Sequence failed, retrying in %llu ms. sequence=%s step=\"%s\" ms=%llu "
                "failures=%u problem=\"%s\"",
                (unsigned long long)(retry_ms != 0 ? retry_ms - now_ms : 0),
                node_action_name(op->action), step, (unsigned long long)duration_ms,
                o->n_failures[op->action], op->seq.problem.text);
    note_last(op, true);
    sbuf_init(&problem, o->problem, sizeof(o->problem)); /* May be cut. */
    sbuf_printf(&problem, "%s: %s: %s", node_action_name(op->action), step, op->seq.problem.text);
}

/* The only end of every sequence. One that was cancelled neither failed nor did
 * its work: it leaves no trace in what ended last. */
static void on_end(struct seq *s, int status, const char *step)
{
    struct op *op = op_of(s);
    struct ops *o = op->ops;
    uint64_t duration_ms = s->now_ms - op->started_ms;

    PRE(op->action != ACTION_NONE);
    PRE(op->child == NULL);

    if (op->action == ACTION_BOOTSTRAP) {
        op_bootstrap_undo(op, status == 0);
    } else if (op->action == ACTION_CLONE) {
        op_clone_undo(op, status == 0);
    }
    if (status == 0) {
        note_success(op, duration_ms);
    } else if (s->cancelled) {
        log_info("Sequence cancelled. sequence=%s step=\"%s\" ms=%llu",
                 node_action_name(op->action), step, (unsigned long long)duration_ms);
    } else {
        note_failure(op, duration_ms, step);
    }
    op->action = ACTION_NONE;
    pg_observe(o->options.pg, s->now_ms);
    if (o->options.on_change != NULL) {
        o->options.on_change(o->options.data);
    }
}

/* ---- Reconciliation ---- */

/* A clone or follow of another member is another action, and so is a clone for another order. */
static bool is_same(const struct op *op, const struct node_decision *decision)
{
    bool has_upstream =
        op->action == ACTION_CLONE || op->action == ACTION_REWIND || op->action == ACTION_FOLLOW;

    if (op->action != decision->action) {
        return false;
    }
    /* Before anything is copied a rewind to another timeline is another rewind. */
    if (op->action == ACTION_REWIND && !op->committed &&
        op->decision.timeline != decision->timeline) {
        return false;
    }
    if (op->action == ACTION_CLONE && decision->order != 0 &&
        op->decision.order != decision->order) {
        return false;
    }
    return !has_upstream || str_equal(op->decision.upstream.name, decision->upstream.name);
}

static bool goes_on(const struct op *op, const struct node_decision *decision)
{
    if (op->action == decision->action) {
        return is_same(op, decision);
    }
    switch (op_relation(op->action, decision->action)) {
    case OP_KEEP:
        return true;
    case OP_CANCEL:
    case OP_CUT:
        return false;
    case OP_CANCEL_EARLY:
        return op->committed;
    }
    return true;
}

static bool is_too_early(struct ops *o, const struct node_decision *decision, uint64_t now_ms)
{
    enum node_action action = decision->action;
    bool is_ordered = decision->order != 0 && decision->order != o->last_order;
    uint64_t from_ms = is_ordered ? 0 : o->retry_ms[action];

    if (o->last == action && !o->last_failed) {
        from_ms = MAX(from_ms, o->last_ms + SETTLE_MS);
    }
    if (now_ms >= from_ms) {
        return false;
    }
    o->wake_ms = from_ms;
    return true;
}

/* FENCE and CLEAN_UP: signals first, everything else after. */
static void cut_in(struct ops *o, const struct node_decision *decision, uint64_t now_ms)
{
    if (o->urgent.action != ACTION_NONE) {
        if (goes_on(&o->urgent, decision)) {
            return;
        }
        seq_cancel(&o->urgent.seq, now_ms); /* It never waits, so it has ended now. */
        ASSERT(o->urgent.action == ACTION_NONE);
    } else if (is_too_early(o, decision, now_ms) && pg_is_down(o->options.pg)) {
        return;
    }
    start(&o->urgent, decision, now_ms);
    seq_cancel(&o->main.seq, now_ms);
}

void ops_reconcile(struct ops *o, const struct node_decision *decision, uint64_t now_ms)
{
    PRE(decision->action < ACTIONS);

    o->wake_ms = UINT64_MAX;
    o->leaving = false;
    if (op_is_urgent(decision->action)) {
        cut_in(o, decision, now_ms);
    }
    /* A tick comes when something was observed: what polls may see it. */
    seq_poke(&o->urgent.seq, now_ms);
    seq_poke(&o->main.seq, now_ms);
    if (op_is_urgent(decision->action)) {
        return;
    }
    if (o->main.action != ACTION_NONE && !goes_on(&o->main, decision)) {
        seq_cancel(&o->main.seq, now_ms);
    }
    if (decision->action == ACTION_NONE || !ops_is_idle(o) ||
        is_too_early(o, decision, now_ms)) {
        return;
    }
    start(&o->main, decision, now_ms);
}

uint64_t ops_tick(struct ops *o, uint64_t now_ms)
{
    uint64_t urgent_ms = seq_tick(&o->urgent.seq, now_ms);
    uint64_t main_ms = seq_tick(&o->main.seq, now_ms);

    return MIN(MIN(urgent_ms, main_ms), o->wake_ms);
}

void ops_fill(const struct ops *o, struct view_op *view)
{
    const struct op *op = o->urgent.action != ACTION_NONE ? &o->urgent : &o->main;
    unsigned percent;
    double mb_per_s;

    *view = (struct view_op){
        .running = op->action,
        .started_ms = op->action != ACTION_NONE ? op->started_ms : 0,
        .last = o->last,
        .last_failed = o->last_failed,
        .last_order = o->last_order,
        .n_failures = o->n_failures[o->last],
        .retry_ms = o->retry_ms[o->last],
        .prepared_epoch = o->prepared_epoch,
        .n_rewind_failures = o->n_rewind_failures,
        .rewind_timeline = o->rewind_timeline,
    };
    if (op->action != ACTION_NONE) {
        view->order = op->decision.order;
        (void)snprintf(view->step, sizeof(view->step), "%s: %s", node_action_name(op->action),
                       seq_step_name(&op->seq)); /* Fits: both are constants. */
    }
    if (op->child != NULL && pg_child_copied(op->child, &percent, &mb_per_s)) {
        (void)snprintf(view->progress, sizeof(view->progress),
                       mb_per_s > 0 ? "%u %%, %.1f MB/s" : "%u %%", percent, mb_per_s); /* Fits. */
    }
    (void)str_copy(view->last_rule, sizeof(view->last_rule), o->last_rule); /* A constant. */
    (void)str_copy(view->problem, sizeof(view->problem), o->problem);       /* Same size. */
}

bool ops_is_idle(const struct ops *o)
{
    return o->main.action == ACTION_NONE && o->urgent.action == ACTION_NONE;
}

void ops_cancel(struct ops *o, uint64_t now_ms)
{
    o->leaving = true;
    seq_cancel(&o->main.seq, now_ms);
    o->wake_ms = UINT64_MAX;
}

void ops_free(struct ops *o)
{
    if (o == NULL) {
        return;
    }
    PRE(ops_is_idle(o));
    free(o);
}
