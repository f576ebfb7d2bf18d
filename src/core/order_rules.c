/*
 * A restart is: said in the store to be begun, with the start of the server that runs; a clean
 * stop of that server; a start by whichever rule starts it, which is the restart rule's own
 * only in a paused cluster. It is done when another server runs. So whoever is killed on the
 * way, agent or PostgreSQL, it ends, and no server is stopped twice for it. The owner keeps
 * its lease all the while, as with every start in place. The primary sees in the store that
 * a synchronous standby is to be restarted, and takes another one, or none if the mode lets
 * it (sync_rules.c); the standby waits for that a moment, so that commits need not wait.
 *
 * A reinit is a clone by order. It is done, as far as the order goes, as soon as the data
 * directory is marked as incomplete: from then on the rule `clone` brings it to its end. Paused,
 * that rule does nothing, so there it is done only once the copy for it runs on such a directory;
 * if that fails, the next one is the resume's, or another order's. A copy or rewind that runs
 * already refuses it; by force it takes their place, at any moment of theirs: both leave a mark
 * that says that this is no database, and a clone needs none.
 */
#include "core/order_rules.h"

#include <inttypes.h>

#include "base/str.h"
#include "core/lookup.h"
#include "core/propose.h"
#include "core/syncset.h"

#define ORDER_EXPIRES_US INT64_C(60000000)
#define NAMED_MIN_MS     UINT64_C(1000)

#define OWNED (F(OWNER_ME) | F(LEASE))
#define DOWN  (F(PG_STOPPED) | F(DATA_GOOD))

/* clang-format off */
const struct order_act order_acts[] = {
    {REQUEST_RESTART, ORDER_NEW,      {"restart-without-lease", F(OWNER_ME),               F(LEASE),                     ACTION_NONE,          0, "an operator asked for a restart: first the lease"}},
    {REQUEST_RESTART, ORDER_NEW,      {"restart-begins",        F(CAUGHT_UP),              F(LEFT_OVERS),                ACTION_NONE,          0, "an operator asked for a restart: the store is to show which server it takes the place of"}},
    {REQUEST_RESTART, ORDER_NAMED,    {"restart-named",         0,                         F(PG_STOPPED) | F(LEFT_OVERS), ACTION_NONE,         0, "an operator asked for a restart: first the primary's commits are to wait for another standby, or for none"}},
    {REQUEST_RESTART, ORDER_REPLACES, {"restart-lost-lease",    F(OWNER_ME),               F(LEASE),                     ACTION_NONE,          0, "a restart was begun: first the lease again"}},
    {REQUEST_RESTART, ORDER_REPLACES, {"restart",               0,                         F(PG_STOPPED) | F(LEFT_OVERS), ACTION_STOP,         0, "an operator asked for a restart"}},
    {REQUEST_RESTART, ORDER_STARTS,   {"restart-as-primary",    F(PAUSED) | OWNED | F(WAS_PRIMARY) | F(NEWEST_TIMELINE) | DOWN, F(DIVERGED), ACTION_START_PRIMARY, 0, "stopped for a restart while the cluster is paused: it was the primary, and goes on"}},
    {REQUEST_RESTART, ORDER_STARTS,   {"restart-as-standby",    F(PAUSED) | DOWN,          F(OWNER_ME) | F(DIVERGED) | F(UNSURE), ACTION_START_STANDBY, 0, "stopped for a restart while the cluster is paused"}},
    {REQUEST_REINIT,  ORDER_NEW,      {"reinit-anew",           F(CAUGHT_UP) | F(PRIMARY_RUNS) | F(OWNER_OTHER) | F(OP_KEEPS), F(MAY_WRITE) | F(DATA_STRANGE), ACTION_CLONE, 0, "an operator asked for a new copy in the place of what runs"}},
    {REQUEST_REINIT,  ORDER_NEW,      {"reinit",                F(CAUGHT_UP) | F(PRIMARY_RUNS) | F(OWNER_OTHER), F(MAY_WRITE) | F(DATA_STRANGE), ACTION_CLONE, 0, "an operator asked for a new copy"}},
};
/* clang-format on */
const size_t order_acts_n = ARRAY_LENGTH(order_acts);

/* ---- Which ---- */

static bool is_due(const struct view *view, const struct store_order *o)
{
    return !o->ended && view->wall_us >= o->at_us &&
           str_equal(o->member, view->self.status.name);
}

const struct store_order *order_due(const struct view *view)
{
    const struct store *s = view->store;
    const struct store_order *due = NULL;

    for (uint32_t i = 0; i < s->n_orders; i++) {
        const struct store_order *o = &s->orders[i];

        if (is_due(view, o) && (due == NULL || o->begun || (o->id < due->id && !due->begun))) {
            due = o;
        }
    }
    return due;
}

static bool runs(const struct view *view)
{
    return view->pg.postmaster_alive && view->self.status.pg_state == PG_STATE_RUNNING;
}

static int64_t asked_us(const struct store_order *o)
{
    return o->at_us != 0 ? o->at_us : o->time_us;
}

/* Until then a synchronous standby waits to be none any more; with a clock that is behind the
 * one of whoever asked not at all. */
static int64_t named_until_us(const struct view *view, const struct store_order *o)
{
    uint64_t ms = 2 * MAX(view->conf.loop_wait_ms, NAMED_MIN_MS);

    return asked_us(o) + (int64_t)(ms * US_PER_MS);
}

static bool is_named(const struct view *view, const struct store_order *o)
{
    const char *name = view->self.status.name;

    return !str_equal(view->store->sync.primary, name) && syncset_confirms(view->store, name) &&
           view->wall_us >= asked_us(o) && view->wall_us < named_until_us(view, o);
}

static enum order_phase phase_of(const struct view *view, const struct store_order *o)
{
    int64_t start_us = view->self.status.postmaster_start_us;

    if (!view->pg.postmaster_alive) {
        return o->begun ? ORDER_STARTS : ORDER_NEW;
    }
    if (!runs(view) || start_us == 0) {
        return ORDER_WAITS;
    }
    if (!o->begun) {
        return ORDER_NEW;
    }
    if (start_us != o->postmaster_us) {
        return ORDER_WAITS;
    }
    return is_named(view, o) ? ORDER_NAMED : ORDER_REPLACES;
}

/* ---- How it ends ---- */

struct order_case { /* One order while it is judged. */
    const struct view *view;
    uint64_t bits;
    const struct store_order *order;
    struct sbuf text;
};

static bool is_restart(const struct order_case *c)
{
    return c->order->kind == REQUEST_RESTART;
}

static bool is_restarted(struct order_case *c)
{
    const struct status *s = &c->view->self.status;

    sbuf_add(&c->text, "restarted successfully");
    return is_restart(c) && c->order->begun && runs(c->view) && s->postmaster_start_us != 0 &&
           s->postmaster_start_us != c->order->postmaster_us &&
           c->view->op.running == ACTION_NONE;
}

static bool is_cloning(struct order_case *c)
{
    const struct view_op *op = &c->view->op;
    bool idle = op->running == ACTION_NONE;
    bool ours = op->running == ACTION_CLONE && op->order == c->order->id;
    bool goes_on = ours || (idle && !(c->bits & F(PAUSED)));

    sbuf_add(&c->text, "reinitialize started");
    return !is_restart(c) && (((c->bits & F(DATA_MISSING)) && goes_on) ||
                              (idle && op->last == ACTION_CLONE && !op->last_failed &&
                               op->last_order == c->order->id));
}

static bool is_by_force(const struct store_order *o)
{
    return o->kind == REQUEST_REINIT && o->pending_only;
}

/* Begun before, by a rule or for another order. */
static bool is_busy(struct order_case *c)
{
    const struct view_op *op = &c->view->op;

    sbuf_printf(&c->text, "%s already in progress", node_action_name(op->running));
    return !is_restart(c) && !is_by_force(c->order) && op->order != c->order->id &&
           (op->running == ACTION_CLONE || op->running == ACTION_REWIND);
}

static bool has_other_role(const struct order_case *c)
{
    const char *role = c->order->role;
    bool primary = c->view->self.status.pg_role == PG_ROLE_PRIMARY;

    return role[0] != '\0' && !str_equal(role, primary ? "primary" : "replica");
}

/* Patroni's filters: all must hold when it is due. */
static bool is_filtered(struct order_case *c)
{
    const struct status *s = &c->view->self.status;
    const struct store_order *o = c->order;

    if (!is_restart(c) || o->begun) {
        return false;
    }
    if (has_other_role(c)) {
        sbuf_printf(&c->text, "restart conditions are not satisfied: not a %s", o->role);
        return true;
    }
    if (o->pg_version != 0 && s->pg_version >= o->pg_version) {
        sbuf_printf(&c->text,
                    "restart conditions are not satisfied: PostgreSQL is %" PRIu32 ".%" PRIu32
                    ", not older than %" PRIu32 ".%" PRIu32,
                    s->pg_version / 10000, s->pg_version % 10000, o->pg_version / 10000,
                    o->pg_version % 10000);
        return true;
    }
    sbuf_add(&c->text, "restart conditions are not satisfied: no restart is pending");
    return o->pending_only && s->pending.n == 0;
}

static bool is_of_primary(struct order_case *c)
{
    sbuf_add(&c->text, "I am the leader, can not reinitialize");
    return !is_restart(c) && (c->bits & F(OWNER_ME));
}

static bool has_failed(struct order_case *c)
{
    sbuf_printf(&c->text, "restart failed: %s", c->view->op.problem);
    return is_restart(c) && c->order->begun && (c->bits & F(START_FAILED));
}

/* A scheduled one whose time nobody was there for is not made up for. */
static bool has_expired(struct order_case *c)
{
    sbuf_add(&c->text, "nobody could act on it within 60 s");
    return !c->order->begun && c->view->wall_us > asked_us(c->order) + ORDER_EXPIRES_US;
}

static bool takes_too_long(struct order_case *c)
{
    int64_t limit_us = (int64_t)MIN(order_start_timeout_ms(c->view), (uint64_t)INT32_MAX) * 1000;

    sbuf_add(&c->text, "restart failed: PostgreSQL did not come up in time");
    return c->order->begun && c->view->wall_us > asked_us(c->order) + ORDER_EXPIRES_US + limit_us;
}

static const struct {
    struct order_end_info info;
    bool (*ends)(struct order_case *c);
} order_ends[] = {
    /* clang-format off */
    {{"restart-done",       true,  "another server runs than when it was begun"},              is_restarted},
    {{"reinit-done",        true,  "the data directory is given up: the copy for it goes on, or the rule clone"},  is_cloning},
    {{"reinit-busy",        false, "a copy or a rewind is under way that was begun before"},   is_busy},
    {{"restart-filtered",   false, "when it was due its conditions did not hold"},             is_filtered},
    {{"reinit-of-primary",  false, "the owner has the only data that counts"},                 is_of_primary},
    {{"restart-failed",     false, "PostgreSQL does not start"},                               has_failed},
    {{"order-expired",      false, "nobody could act on it in time"},                          has_expired},
    {{"restart-overdue",    false, "PostgreSQL is not up in time"},                            takes_too_long},
    /* clang-format on */
};

const struct order_end_info *order_end_info(size_t i)
{
    return i < ARRAY_LENGTH(order_ends) ? &order_ends[i].info : NULL;
}

/* Whether it ends now, and as what. */
static bool judge(struct order_case *c, char *text, size_t size, bool *ret_done)
{
    for (size_t i = 0; i < ARRAY_LENGTH(order_ends); i++) {
        sbuf_init(&c->text, text, size);
        if (order_ends[i].ends(c)) {
            *ret_done = order_ends[i].info.done;
            return true;
        }
    }
    return false;
}

/* ---- What is done for it ---- */

/* Whether a standby may be copied anew in the midst of that. */
static bool gives_way(enum node_action running)
{
    switch (running) {
    case ACTION_CLONE:
    case ACTION_REWIND:
    case ACTION_START_STANDBY:
    case ACTION_FOLLOW:
        return true;
    case ACTION_NONE:
    case ACTION_BOOTSTRAP:
    case ACTION_START_PRIMARY:
    case ACTION_PREPARE:
    case ACTION_PROMOTE:
    case ACTION_CHECKPOINT:
    case ACTION_STOP:
    case ACTION_FENCE:
    case ACTION_CLEAN_UP:
    case ACTIONS:
        return false;
    }
    return false;
}

static bool may_act(const struct view *view, const struct node_rule *rule,
                    const struct store_order *o)
{
    const struct view_op *op = &view->op;

    return (rule->effects & EFFECT_ORDERS) ||
           ((rule->effects & EFFECT_KEEP) && is_by_force(o) && gives_way(op->running) &&
            op->order != o->id);
}

const struct node_rule *order_rules_act(const struct view *view, const struct node_facts *facts,
                                        const struct node_rule *rule)
{
    const struct store_order *o = order_due(view);
    struct order_case c = {.view = view, .bits = facts->bits, .order = o};
    char text[TEXT_SIZE];
    bool done;

    if (o == NULL || !may_act(view, rule, o) || !(facts->bits & F(CAUGHT_UP)) ||
        judge(&c, text, sizeof(text), &done)) {
        return NULL;
    }
    for (size_t i = 0; i < order_acts_n; i++) {
        const struct order_act *act = &order_acts[i];
        bool any_phase = act->kind == REQUEST_REINIT;

        if (act->kind == o->kind && (any_phase || act->phase == phase_of(view, o)) &&
            (facts->bits & act->rule.all) == act->rule.all &&
            (facts->bits & act->rule.none) == 0) {
            return &act->rule;
        }
    }
    return NULL;
}

const struct store_order *order_reinit(const struct view *view)
{
    const struct store_order *o = order_due(view);

    return o != NULL && o->kind == REQUEST_REINIT ? o : NULL;
}

uint64_t order_start_timeout_ms(const struct view *view)
{
    const struct store_order *o = order_due(view);

    return o != NULL && o->begun && o->timeout_ms != 0 ? o->timeout_ms
                                                       : view->conf.primary_start_timeout_ms;
}

static void begin(const struct view *view, const struct store_order *o, struct decision *d)
{
    struct command *c = propose_begin(view, d, COMMAND_ORDER_BEGIN);

    if (c != NULL) {
        c->order_begin.order_id = o->id;
        c->order_begin.postmaster_us = runs(view) ? view->self.status.postmaster_start_us : 0;
    }
}

static void end(const struct view *view, const struct store_order *o, bool done, const char *text,
                struct decision *d)
{
    struct command *c = propose_begin(view, d, COMMAND_ORDER_END);

    if (c != NULL) {
        c->order_end.order_id = o->id;
        c->order_end.done = done;
        c->order_end.time_us = view->wall_us;
        (void)str_copy(c->order_end.text, TEXT_SIZE, text);
        (void)str_copy(c->order_end.node, NAME_SIZE, view->self.status.name);
    }
}

/* When the wall clock shows that. */
static uint64_t wake_at(const struct view *view, int64_t wall_us)
{
    return view->now_ms + (uint64_t)(wall_us - view->wall_us) / US_PER_MS + 1;
}

static void add_wakes(const struct view *view, struct decision *d)
{
    for (uint32_t i = 0; i < view->store->n_orders; i++) {
        const struct store_order *o = &view->store->orders[i];

        if (!o->ended && o->at_us > view->wall_us &&
            str_equal(o->member, view->self.status.name)) {
            propose_wake(view, d, wake_at(view, o->at_us));
        }
    }
}

void order_rules_say(const struct view *view, const struct node_facts *facts,
                     const struct node_rule *rule, struct decision *d)
{
    const struct store_order *o = order_due(view);
    struct order_case c = {.view = view, .bits = facts->bits, .order = o};
    char text[TEXT_SIZE];
    bool done;

    add_wakes(view, d);
    if (o == NULL || !(facts->bits & F(CAUGHT_UP))) {
        return;
    }
    if (judge(&c, text, sizeof(text), &done)) {
        end(view, o, done, text, d);
    } else if (str_equal(rule->name, "restart-begins")) {
        begin(view, o, d);
    } else if (phase_of(view, o) == ORDER_NAMED) {
        propose_wake(view, d, wake_at(view, named_until_us(view, o)));
    }
}
