/*
 * Reconciliation of the model's sequences: the rules of src/ops/ops.c (what
 * goes on, what is cut, back-off), with steps that only take time.
 */
#include "base/str.h"
#include "sim_node.h"
#include "trace.h"

#define BACK_OFF_MIN_MS SECONDS(1)
#define BACK_OFF_MAX_MS SECONDS(60)
#define SETTLE_MS       100

static bool is_urgent(enum node_action action)
{
    return action == ACTION_FENCE || action == ACTION_CLEAN_UP;
}

static bool backs_off(enum node_action action)
{
    return !is_urgent(action) && action != ACTION_STOP;
}

/* What a running sequence does when another is decided: K goes on, C is given
 * up, E goes on once it is committed. As src/ops/ops_table.c. */
static char relation(enum node_action running, enum node_action decided)
{
    /* clang-format off */
    static const char *const rows[ACTIONS] = {
        /*                       none boot clone rwnd sprim sstby prep prom foll chkp stop fence clean */
        [ACTION_NONE]          = "KCCCCCCCCCCXX",
        [ACTION_BOOTSTRAP]     = "KKCCCCCCCKCXX",
        [ACTION_CLONE]         = "KCKCCKCCKKCXX",
        [ACTION_REWIND]        = "KCCKCKCCKKCXX",
        [ACTION_START_PRIMARY] = "KCCCKCKKCKCXX",
        [ACTION_START_STANDBY] = "KCCCCKCCCKCXX",
        [ACTION_PREPARE]       = "CCCCCCKCCCCXX",
        [ACTION_PROMOTE]       = "KCCCCCKKCKCXX",
        [ACTION_FOLLOW]        = "KCCCCCCCKCCXX",
        [ACTION_CHECKPOINT]    = "KCCCCCCCCKCXX",
        [ACTION_STOP]          = "KEEEEEEEEEKXX",
        [ACTION_FENCE]         = "KKKKKKKKKKKKK",
        [ACTION_CLEAN_UP]      = "KKKKKKKKKKKXK",
    };
    /* clang-format on */
    return rows[running][decided];
}

static void back_off(struct sim_ops *o, enum node_action action, uint64_t now_ms)
{
    uint64_t delay_ms = BACK_OFF_MIN_MS;

    o->n_failures[action]++;
    for (uint32_t i = 1; i < o->n_failures[action] && delay_ms < BACK_OFF_MAX_MS; i++) {
        delay_ms *= 2;
    }
    o->retry_ms[action] = backs_off(action) ? now_ms + MIN(delay_ms, BACK_OFF_MAX_MS) : 0;
}

static void count_success(struct sim *s, enum node_action action)
{
    s->stats.clones += action == ACTION_CLONE ? 1 : 0;
    s->stats.restarts_in_place += action == ACTION_START_PRIMARY ? 1 : 0;
    s->stats.fences += action == ACTION_FENCE ? 1 : 0;
}

void sim_ops_end(struct sim *s, struct sim_node *n, struct sim_op *op, const char *problem)
{
    struct sim_ops *o = &n->agent->ops;
    uint64_t now_ms = sim_local_ms(s, n);
    enum node_action action = op->action;

    TRACE(s, n, "sequence %s: %s", node_action_name(action), problem != NULL ? problem : "done");
    if (problem != NULL) {
        back_off(o, action, now_ms);
        (void)str_copy(o->problem, sizeof(o->problem), problem);
    } else {
        count_success(s, action);
        o->n_failures[action] = 0;
        o->retry_ms[action] = 0;
        o->prepared_epoch = action == ACTION_PREPARE   ? op->epoch
                            : action == ACTION_PROMOTE ? 0
                                                       : o->prepared_epoch;
    }
    if (problem != NULL || action != ACTION_CLEAN_UP) {
        o->last = action;
        o->last_rule = op->decision.rule;
        o->last_failed = problem != NULL;
        o->last_order = op->decision.order;
        o->last_ms = now_ms;
    }
    op->action = ACTION_NONE;
    op->serial = 0;
    n->agent->guard.wants_write = false;
    sim_pg_observe(s, n);
    sim_node_dirty(s, n);
}

/* Given up: it neither failed nor did its work, and leaves no trace. */
static void cancel(struct sim *s, struct sim_node *n, struct sim_op *op)
{
    if (op->action == ACTION_NONE) {
        return;
    }
    TRACE(s, n, "sequence %s: cancelled", node_action_name(op->action));
    sim_steps_cancel(s, n, op);
    n->agent->guard.wants_write = false;
    op->action = ACTION_NONE;
    op->serial = 0;
}

static void start(struct sim *s, struct sim_node *n, struct sim_op *op,
                  const struct node_decision *decision)
{
    struct sim_ops *o = &n->agent->ops;

    *op = (struct sim_op){
        .action = decision->action,
        .decision = *decision,
        .step = "begin",
        .serial = ++o->next_serial,
        .started_ms = sim_local_ms(s, n),
        .epoch = n->agent->store.primary.epoch,
        .fails = !s->healing && sim_chance(s, 30),
        .upstream = SIM_NOBODY,
    };
    for (int i = 0; i < s->n_nodes; i++) {
        if (str_equal(s->nodes[i]->name, decision->upstream.name)) {
            op->upstream = i;
        }
    }
    TRACE(s, n, "sequence %s begins: %s", node_action_name(op->action), decision->rule);
    sim_steps_begin(s, n, op);
}

static bool is_same(const struct sim_op *op, const struct node_decision *d)
{
    bool has_upstream = op->action == ACTION_CLONE || op->action == ACTION_FOLLOW;

    return op->action == d->action &&
           (op->action != ACTION_CLONE || d->order == 0 || op->decision.order == d->order) &&
           (!has_upstream || str_equal(op->decision.upstream.name, d->upstream.name));
}

static bool goes_on(const struct sim_op *op, const struct node_decision *d)
{
    char r = relation(op->action, d->action);

    if (op->action == d->action) {
        return is_same(op, d);
    }
    return r == 'K' || (r == 'E' && op->committed);
}

static bool is_too_early(const struct sim_ops *o, const struct node_decision *d, uint64_t now_ms)
{
    bool is_ordered = d->order != 0 && d->order != o->last_order;
    uint64_t from_ms = is_ordered ? 0 : o->retry_ms[d->action];

    if (o->last == d->action && !o->last_failed) {
        from_ms = MAX(from_ms, o->last_ms + SETTLE_MS);
    }
    return now_ms < from_ms;
}

static void cut_in(struct sim *s, struct sim_node *n, const struct node_decision *d)
{
    struct sim_ops *o = &n->agent->ops;

    if (o->urgent.action != ACTION_NONE) {
        if (goes_on(&o->urgent, d)) {
            return;
        }
        cancel(s, n, &o->urgent);
    } else if (is_too_early(o, d, sim_local_ms(s, n)) && n->pg.run == PG_RUN_DOWN) {
        return;
    }
    cancel(s, n, &o->main);
    start(s, n, &o->urgent, d);
}

void sim_ops_reconcile(struct sim *s, struct sim_node *n, const struct node_decision *d)
{
    struct sim_ops *o = &n->agent->ops;

    if (is_urgent(d->action)) {
        cut_in(s, n, d);
        return;
    }
    if (o->main.action != ACTION_NONE && !goes_on(&o->main, d)) {
        cancel(s, n, &o->main);
    }
    if (d->action == ACTION_NONE || o->main.action != ACTION_NONE || o->urgent.action != ACTION_NONE ||
        is_too_early(o, d, sim_local_ms(s, n))) {
        return;
    }
    start(s, n, &o->main, d);
}

void sim_ops_fill(const struct sim_ops *o, struct view_op *view)
{
    const struct sim_op *op = o->urgent.action != ACTION_NONE ? &o->urgent : &o->main;

    *view = (struct view_op){
        .running = op->action,
        .started_ms = op->action != ACTION_NONE ? op->started_ms : 0,
        .last = o->last,
        .last_failed = o->last_failed,
        .last_order = o->last_order,
        .n_failures = o->n_failures[o->last],
        .retry_ms = o->retry_ms[o->last],
        .prepared_epoch = o->prepared_epoch,
    };
    if (op->action != ACTION_NONE) {
        view->order = op->decision.order;
        (void)str_copy(view->step, sizeof(view->step), op->step);
    }
    if (o->last_rule != NULL) {
        (void)str_copy(view->last_rule, sizeof(view->last_rule), o->last_rule);
    }
    (void)str_copy(view->problem, sizeof(view->problem), o->problem);
}
