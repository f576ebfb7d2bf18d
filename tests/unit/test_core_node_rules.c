/*
 * Proofs about both rule tables, over every world there is. A world is a truth
 * value for each fact; there are too many to list one by one, so they are
 * walked in cubes: a rule is asked about, and only the facts it looks at are
 * split into true and false. A cube counts unless the list of impossible worlds
 * rules it out whole. That the list tells no lies is tested with random views.
 */
#include "base/rng.h"
#include "core/cluster_rules.h"
#include "core/lookup.h"
#include "core/node_rules.h"
#include "core/order_rules.h"
#include "test_core_util.h"

/* What is known of the worlds in a cube. */
struct cube {
    uint64_t yes;
    uint64_t no;
};

struct theory {
    const struct impossible *impossible;
    size_t n;
};

static const struct theory *node_theory(void)
{
    static struct theory t;

    t = (struct theory){node_impossible, node_impossible_n};
    return &t;
}

static const struct theory *cluster_theory(void)
{
    static struct theory t;

    t = (struct theory){cluster_impossible, cluster_impossible_n};
    return &t;
}

static uint64_t lowest(uint64_t bits)
{
    return bits & -bits;
}

/* Is there a possible world in the cube? A small search: take a row that could
 * still rule it out, and split on a fact it does not know. */
static bool is_possible(const struct theory *t, struct cube c)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct impossible *row = &t->impossible[i];
        uint64_t all = row->all & ~c.yes;
        uint64_t none = row->none & ~c.no;
        uint64_t bit;

        if ((row->all & c.no) || (row->none & c.yes)) {
            continue; /* Does not apply. */
        }
        if (all == 0 && none == 0) {
            return false;
        }
        bit = lowest(all != 0 ? all : none);
        return is_possible(t, (struct cube){c.yes | bit, c.no}) ||
               is_possible(t, (struct cube){c.yes, c.no | bit});
    }
    return true;
}

/* Some possible world of the cube has this fact so. */
static bool may_be(const struct theory *t, struct cube c, uint64_t yes, uint64_t no)
{
    if ((yes & c.no) || (no & c.yes)) {
        return false;
    }
    return is_possible(t, (struct cube){c.yes | yes, c.no | no});
}

struct walk {
    const struct theory *theory;
    size_t n_rules;
    const uint64_t *all;
    const uint64_t *none;
    void (*visit)(size_t rule, struct cube c); /* rule == n_rules: none matches. */
    uint64_t n_cubes;
};

static void walk(struct walk *w, size_t i, struct cube c)
{
    uint64_t open;

    if (i == w->n_rules) {
        w->n_cubes++;
        w->visit(i, c);
        return;
    }
    if ((w->all[i] & c.no) || (w->none[i] & c.yes)) {
        walk(w, i + 1, c);
        return;
    }
    open = (w->all[i] & ~c.yes) | (w->none[i] & ~c.no);
    if (open == 0) {
        w->n_cubes++;
        w->visit(i, c);
        return;
    }
    for (int value = 0; value < 2; value++) {
        uint64_t bit = lowest(open);
        struct cube half = {c.yes | (value ? bit : 0), c.no | (value ? 0 : bit)};

        if (is_possible(w->theory, half)) {
            walk(w, i, half);
        }
    }
}

#define RULES_MAX 128
static uint64_t seen[RULES_MAX];

static void walk_nodes(void (*visit)(size_t rule, struct cube c))
{
    static uint64_t all[RULES_MAX], none[RULES_MAX];
    struct walk w = {node_theory(), node_rules_n, all, none, visit, 0};

    assert_true(node_rules_n < RULES_MAX);
    for (size_t i = 0; i < node_rules_n; i++) {
        all[i] = node_rules[i].all;
        none[i] = node_rules[i].none;
    }
    memset(seen, 0, sizeof(seen));
    walk(&w, 0, (struct cube){0, 0});
    assert_true(w.n_cubes > node_rules_n);
}

static void walk_clusters(void (*visit)(size_t rule, struct cube c))
{
    static uint64_t all[RULES_MAX], none[RULES_MAX];
    struct walk w = {cluster_theory(), cluster_rules_n, all, none, visit, 0};

    for (size_t i = 0; i < cluster_rules_n; i++) {
        all[i] = cluster_rules[i].all;
        none[i] = cluster_rules[i].none;
    }
    memset(seen, 0, sizeof(seen));
    walk(&w, 0, (struct cube){0, 0});
}

static void count(size_t rule, struct cube c)
{
    (void)c;
    seen[rule]++;
}

static void every_node_world_has_a_rule_and_every_rule_a_world(void **state)
{
    /* All worlds of a node. */
    (void)state;
    walk_nodes(count);

    assert_int_equal(seen[node_rules_n], 0);
    for (size_t i = 0; i < node_rules_n; i++) {
        if (seen[i] == 0) {
            fail_msg("rule %s is dead", node_rules[i].name);
        }
    }
}

static void every_cluster_world_has_a_rule_and_every_rule_a_world(void **state)
{
    /* All worlds of the Raft leader. */
    (void)state;
    walk_clusters(count);

    assert_int_equal(seen[cluster_rules_n], 0);
    for (size_t i = 0; i < cluster_rules_n; i++) {
        if (seen[i] == 0) {
            fail_msg("rule %s is dead", cluster_rules[i].name);
        }
    }
}

/* In no world of the cube may these facts be so. */
static void never(size_t rule, struct cube c, uint64_t yes, uint64_t no)
{
    if (may_be(node_theory(), c, yes, no)) {
        fail_msg("rule %s: safety line broken", node_rules[rule].name);
    }
}

static void check_action(size_t rule, struct cube c)
{
    const uint64_t exempt = F(UNFENCED) | F(UNTOUCHED) | F(ADOPTED) | F(CONTINUED) | F(FROZEN);

    if (node_rules[rule].effects & EFFECT_DECLARE) { /* What is declared does not move. */
        never(rule, c, F(UPSTREAM_WRONG), 0);
    }
    if (node_rules[rule].effects & EFFECT_PREPARE) { /* pre_promote runs in its place. */
        never(rule, c, 0, F(LEASE));
        never(rule, c, 0, F(OWNER_ME));
        never(rule, c, F(MAY_WRITE), 0);
        never(rule, c, F(PAUSED), F(ORDERED));
    }
    switch (node_rules[rule].action) {
    case ACTION_PROMOTE:
        never(rule, c, 0, F(LEASE));
        never(rule, c, 0, F(POSITIONS));
        never(rule, c, 0, F(SYNC_MINE)); /* S2 */
        never(rule, c, F(UPSTREAM_WRONG), 0);
        never(rule, c, F(LAGS), F(FORCED));
        never(rule, c, F(BARRED), F(FORCED));
        break;
    case ACTION_START_PRIMARY:
        never(rule, c, 0, F(LEASE));
        never(rule, c, F(DIVERGED), 0);
        never(rule, c, 0, F(WAS_PRIMARY));
        break;
    case ACTION_BOOTSTRAP:
        never(rule, c, 0, F(LEASE));
        never(rule, c, F(DATA_GOOD), 0);
        never(rule, c, F(INIT_DONE), 0);
        break;
    case ACTION_REWIND:
        never(rule, c, 0, F(NEEDS_REWIND));
        never(rule, c, 0, F(SOURCE_READY));
        never(rule, c, 0, F(REWINDABLE));
        never(rule, c, F(DATA_STRANGE), 0);
        never(rule, c, 0, F(PRIMARY_RUNS));
        never(rule, c, F(OWNER_ME), 0);
        break;
    case ACTION_CLONE:
        never(rule, c, F(DATA_GOOD), F(NEEDS_REWIND));
        never(rule, c, F(DATA_GOOD), F(DISCARD));
        never(rule, c, F(DATA_STRANGE), 0);
        never(rule, c, 0, F(PRIMARY_RUNS));
        never(rule, c, F(OWNER_ME), 0);
        break;
    case ACTION_START_STANDBY:
        never(rule, c, F(DIVERGED), F(OWNER_ME));
        never(rule, c, F(OTHER_SYSID), 0);
        never(rule, c, 0, F(PG_STOPPED));
        break;
    case ACTION_PREPARE: /* Of no rule of the table: in the place of some. */
    case ACTION_CHECKPOINT:
    case ACTION_FOLLOW:
    case ACTION_STOP:
    case ACTION_NONE:
        break;
    case ACTION_FENCE:
    case ACTION_CLEAN_UP:
    case ACTIONS:
        return;
    }
    /* Writes without a lease go on by one of the four exemptions only. What is frozen
     * writes nothing. */
    never(rule, c, F(MAY_WRITE), F(LEASE) | exempt);
    /* The mark of a pause is one for this boot's epoch only, and not once the guard fences. */
    never(rule, c, F(MAY_WRITE) | F(UNFENCED), F(LEASE) | F(OWNER_ME) | (exempt & ~F(UNFENCED)));
    never(rule, c, F(MAY_WRITE) | F(UNFENCED) | F(ARMED),
          F(LEASE) | F(PAUSED) | (exempt & ~F(UNFENCED)));
}

static void actions_keep_to_the_safety_lines(void **state)
{
    /* All worlds: what must never be done, is not (S1, S4, S7). */
    (void)state;
    walk_nodes(check_action);
}

static void check_pause(size_t rule, struct cube c)
{
    switch (node_rules[rule].action) {
    case ACTION_START_PRIMARY:
    case ACTION_START_STANDBY:
    case ACTION_PROMOTE:
    case ACTION_CLONE:
    case ACTION_REWIND:
    case ACTION_BOOTSTRAP:
        never(rule, c, F(PAUSED), F(ORDERED));
        break;
    case ACTION_STOP: /* Also where the agent leaves and the guard does not let go. */
        never(rule, c, F(PAUSED), F(ORDERED) | F(STOPPING));
        never(rule, c, F(PAUSED) | F(STOPPING), F(MAY_WRITE));
        never(rule, c, F(PAUSED) | F(STOPPING), F(RELEASE_OVERDUE));
        never(rule, c, F(PAUSED) | F(STOPPING) | F(UNFENCED), F(ARMED));
        break;
    case ACTION_FENCE:
        never(rule, c, F(PAUSED) | F(UNFENCED) | F(OWNER_ME),
              F(OTHER_SYSID) | F(OP_BOOTSTRAPS) | F(OP_MAKES_PRIMARY));
        break;
    case ACTION_PREPARE:
    case ACTION_FOLLOW:
    case ACTION_CHECKPOINT: /* Nothing stops for it. */
    case ACTION_NONE:
    case ACTION_CLEAN_UP:
    case ACTIONS:
        break;
    }
}

static void paused_postgres_is_left_alone(void **state)
{
    /* All worlds of a paused cluster. */
    (void)state;
    walk_nodes(check_pause);
}

static void check_effects(size_t rule, struct cube c)
{
    unsigned effects = node_rules[rule].effects;

    if (effects & EFFECT_RELEASE) {
        never(rule, c, F(MAY_WRITE), 0);
        never(rule, c, 0, F(OWNER_ME));
    }
    if (effects & EFFECT_EXIT) {
        never(rule, c, 0, F(STOPPING));
        never(rule, c, F(MAY_WRITE), F(UNFENCED) | F(CONTINUED));
        never(rule, c, F(MAY_WRITE) | F(ARMED), 0);
        never(rule, c, F(MAY_WRITE) | F(OWNER_ME), F(PAUSED) | F(CONTINUED));
    }
    if (effects & EFFECT_ASK) {
        never(rule, c, 0, F(LEASE));
    }
}

static void nothing_is_released_while_something_can_write(void **state)
{
    /* All worlds: the order of a release. */
    (void)state;
    walk_nodes(check_effects);
}

static void check_cluster(size_t rule, struct cube c)
{
    const struct theory *t = cluster_theory();

    if (cluster_rules[rule].act == CLUSTER_TAKES ||
        cluster_rules[rule].act == CLUSTER_INITIALIZES) {
        assert_false(may_be(t, c, F(C_UNFENCED), 0));
        assert_false(may_be(t, c, F(C_OWNED), F(C_PROMISES_OVER)));
        assert_false(may_be(t, c, F(C_OWNED), F(C_TIMER_OVER)));
        assert_false(may_be(t, c, 0, F(C_LEADER)));
        assert_false(may_be(t, c, 0, F(C_READY)));
    }
    if (cluster_rules[rule].act == CLUSTER_TAKES) {
        assert_false(may_be(t, c, F(C_PAUSED), F(C_ORDERED)));
        assert_false(may_be(t, c, 0, F(C_CANDIDATE) | F(C_FORCED)));
    }
    if (cluster_rules[rule].act == CLUSTER_INITIALIZES) {
        assert_false(may_be(t, c, 0, F(C_INITIALIZER)));
        assert_false(may_be(t, c, F(C_MANY_DATABASES) | F(C_INIT_NONE), 0));
        assert_false(may_be(t, c, F(C_INIT_NONE), F(C_ALL_HEARD)));
    }
}

static void no_epoch_begins_beside_a_live_one(void **state)
{
    /* All worlds of the Raft leader. */
    (void)state;
    walk_clusters(check_cluster);
}

static void rule_names_are_unique(void **state)
{
    /* A name in a log leads to one row. */
    (void)state;
    for (size_t i = 0; i < node_rules_n; i++) {
        assert_true(name_is_valid(node_rules[i].name));
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(node_rules[i].name, node_rules[j].name);
        }
    }
    for (size_t i = 0; i < cluster_rules_n; i++) {
        assert_true(name_is_valid(cluster_rules[i].name));
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(cluster_rules[i].name, cluster_rules[j].name);
        }
    }
}

/* ---- Random views -------------------------------------------------------- */

static bool coin(struct rng *r)
{
    return rng_next(r) & 1;
}

static uint32_t upto(struct rng *r, uint32_t max)
{
    return (uint32_t)rng_between(r, 0, max);
}

static void shake_status(struct rng *r, struct status *s, const struct store *store)
{
    s->data = coin(r) ? DATA_VALID : (enum data_state)upto(r, DATA_REWINDING);
    s->pg_state = coin(r) ? PG_STATE_RUNNING : (enum pg_state)upto(r, PG_STATE_MAX);
    s->pg_role = (enum pg_role)upto(r, PG_ROLE_UNINITIALIZED);
    s->sysid = upto(r, 9) == 0 ? 8 : 7;
    s->timeline = upto(r, 3);
    s->checkpoint_timeline = s->timeline - (s->timeline > 0 ? (uint32_t)upto(r, 1) : 0);
    s->flushed = upto(r, 6) * 2 * MB;
    s->lease_epoch = coin(r) ? store->primary.epoch : 0;
    s->promise = (enum promise_state)upto(r, PROMISE_QUARANTINE);
    s->promise_epoch = store->primary.epoch;
    s->clean_shutdown = coin(r);
    s->streaming = coin(r);
    s->nofailover = upto(r, 5) == 0;
    s->failover_priority = upto(r, 3);
    s->can_bootstrap = coin(r);
    s->n_heard = coin(r) ? 3 : (uint8_t)upto(r, 3);
}

static void shake_line(struct rng *r, struct scene *s)
{
    struct store_line *l = &s->store.line;

    if (s->store.cluster.init != INIT_DONE || coin(r)) {
        return;
    }
    l->timeline = (uint32_t)(1 + upto(r, 3));
    if (upto(r, 3) != 0) {
        l->epoch = MAX(s->store.primary.epoch - upto(r, 1), 1);
        l->owner_id = coin(r) ? PG1 : PG2;
        l->parent = l->timeline - 1;
        l->lsn = l->parent != 0 ? upto(r, 6) * 2 * MB + 8 : 0;
    }
    if (coin(r)) {
        l->lsn = lookup_position(&s->view.self.status); /* As if just declared. */
    }
}

static void shake_store(struct rng *r, struct scene *s)
{
    struct store *store = &s->store;

    store->members[0].last_state = coin(r) ? PG_STATE_STOPPED : PG_STATE_RUNNING;
    if (upto(r, 3) == 0) {
        store->cluster.init = INIT_NONE;
        store->cluster.sysid = 0;
    }
    if (coin(r)) {
        bool pg1 = coin(r);

        scene_take(s, pg1 ? PG1 : PG2, pg1 ? 101 + upto(r, 1) : 102);
        if (upto(r, 4) == 0) {
            (void)str_copy(store->ledger[store->n_ledger - 1].result, NAME_SIZE, "epoch-forced");
        }
        if (coin(r)) {
            scene_hold(s);
        }
        store->primary.unfenced = upto(r, 3) == 0;
        if (coin(r)) {
            scene_request(s, coin(r) ? REQUEST_SWITCHOVER : REQUEST_FAILOVER, "",
                          coin(r) ? "pg2" : "pg1");
        }
        if (upto(r, 3) == 0) {
            scene_release(s, coin(r) ? "no-lease" : "switchover-release", store->primary.owner);
        }
    }
    if (coin(r)) {
        store->n_history = 1;
        store->history[0] = (struct store_history){.timeline = 1 + upto(r, 1), .lsn = 8 * MB};
    }
    (void)str_copy(store->sync.primary, NAME_SIZE, coin(r) ? "pg1" : coin(r) ? "pg2" : "");
    store->progress = (struct store_progress){upto(r, 6) * 2 * MB, upto(r, 3), 0, 0};
}

static void shake_view(struct rng *r, struct view *v)
{
    v->conf.pause = upto(r, 5) == 0;
    v->conf.check_timeline = coin(r);
    v->conf.use_pg_rewind = upto(r, 3) != 0;
    v->conf.remove_on_rewind_failure = coin(r);
    v->conf.remove_on_diverged_timelines = coin(r);
    v->pg.can_rewind = upto(r, 3) != 0;
    v->pg.rewind_timeline = (uint32_t)upto(r, 3);
    v->self.diverged_since_ms = coin(r) ? v->now_ms - upto(r, 6000) : 0;
    v->conf.maximum_lag_on_failover = (int64_t)(upto(r, 4) * MB) - 1;
    v->conf.sync_mode = (enum sync_mode)upto(r, 2);
    v->raft.is_leader = coin(r);
    v->raft.caught_up = upto(r, 5) != 0;
    v->raft.usable = upto(r, 5) != 0;
    v->raft.leader_since_ms = v->now_ms - upto(r, 2000);
    v->raft.epoch_applied_ms = v->now_ms - upto(r, 4000);
    v->self.started_ms = v->now_ms - upto(r, 6000);
    v->self.stopping = upto(r, 4) == 0;
    v->self.stopping_since_ms = v->self.stopping ? v->now_ms - upto(r, 12000) : 0;
    v->lease.live = coin(r);
    v->lease.epoch = v->store->primary.epoch;
    v->lease.remaining_ms = v->lease.live ? 1 + upto(r, 3000) : 0;
    v->lease.confirmed_ms = v->lease.live ? upto(r, 3) * 700 : 0;
    v->lease.continued = v->lease.remaining_ms % 2 == 0;
    v->lease.armed = coin(r);
    v->lease.mark_is_fresh = coin(r);
    v->lease.unfenced_epoch = upto(r, 4) == 0 ? v->store->primary.epoch : 0;
    v->lease.promised_ms = upto(r, 3000);
    v->lease.live_since_ms = v->lease.live ? v->now_ms - upto(r, 2000) : 0;
    v->lease.wanted_since_ms = v->lease.live ? 0 : v->now_ms - upto(r, 9000);
    v->positions_asked_ms = coin(r) ? v->now_ms - upto(r, 2000) : 0;
    v->pg.postmaster_alive = coin(r);
    v->pg.n_processes = v->pg.postmaster_alive ? 5 : upto(r, 1);
    v->pg.frozen = upto(r, 7) == 0;
    v->pg.seen_ms = v->now_ms - upto(r, 2000);
    v->pg.gone_ms = v->pg.postmaster_alive ? 0 : v->now_ms - upto(r, 12000);
    v->pg.was_primary = coin(r);
    v->pg.control_lsn = upto(r, 6) * 2 * MB;
    v->pg.promoted_checkpoint_due = coin(r);
    (void)str_copy(v->pg.upstream, NAME_SIZE, coin(r) ? "pg2" : "");
    v->pg.receives = coin(r);
    if (v->self.status.mode == MODE_WITNESS) {
        v->pg = (struct view_pg){.n_processes = 0};
    }
}

static void shake_op(struct rng *r, struct view *v)
{
    v->op.last = coin(r) ? ACTION_STOP : ACTION_NONE;
    v->conf.pre_promote = coin(r);
    v->op.prepared_epoch = coin(r) ? v->store->primary.epoch : 0;
    v->op.running = coin(r) ? ACTION_NONE : (enum node_action)upto(r, ACTIONS - 1);
    v->op.started_ms = v->now_ms - upto(r, 100000);
    v->op.last = coin(r) ? v->op.last : (enum node_action)upto(r, ACTIONS - 1);
    v->op.last_failed = coin(r);
    v->op.n_rewind_failures = (uint32_t)upto(r, 6);
    v->op.rewind_timeline = (uint32_t)upto(r, 3);
    v->op.retry_ms = v->now_ms + upto(r, 1000) - 500;
    (void)str_copy(v->op.last_rule, NAME_SIZE, upto(r, 3) == 0 ? "start-overdue" : coin(r) ? "promote" : "stop-following");
    if (v->self.status.mode == MODE_WITNESS) {
        v->op = (struct view_op){.running = ACTION_NONE};
    }
}

static void shake(struct rng *r, struct scene *s)
{
    struct view *v = &s->view;

    if (upto(r, 9) == 0) {
        v->self.status = status_make(W, MODE_WITNESS);
        v->peers[1].status = status_make(PG1, MODE_POSTGRES);
    }
    shake_store(r, s);
    if (v->self.status.mode == MODE_POSTGRES) {
        shake_status(r, &v->self.status, &s->store);
    }
    for (uint32_t i = 0; i < v->n_peers; i++) {
        struct view_peer *p = &v->peers[i];

        if (p->status.mode == MODE_POSTGRES) {
            shake_status(r, &p->status, &s->store);
        }
        p->received_ms = v->now_ms - upto(r, 900);
        p->connected = coin(r);
        p->positions = (struct positions){.epoch = s->store.primary.epoch,
                                          .valid = coin(r),
                                          .timeline = upto(r, 3),
                                          .flushed = upto(r, 6) * 2 * MB};
        p->positions_ms = coin(r) ? v->now_ms - upto(r, 2000) : 0;
    }
    shake_line(r, s);
    shake_view(r, v);
    shake_op(r, v);
}

/* Towards a standby that is about to be promoted, which chance alone seldom makes. */
static void lean(struct rng *r, struct scene *s)
{
    struct view *v = &s->view;

    if (v->self.status.mode == MODE_WITNESS) {
        return;
    }
    v->self.status.pg_state = PG_STATE_RUNNING;
    v->self.status.pg_role = PG_ROLE_STANDBY;
    v->pg.postmaster_alive = true;
    v->pg.seen_ms = v->now_ms;
    v->lease.live = v->store->primary.has_owner;
    v->lease.remaining_ms = v->lease.live ? 2000 : 0;
    v->lease.confirmed_ms = v->lease.remaining_ms;
    v->lease.live_since_ms = v->lease.live ? v->now_ms - 1500 : 0;
    v->positions_asked_ms = v->now_ms - 1200;
    v->peers[0].status = status_make(PG2, MODE_POSTGRES);
    v->peers[0].received_ms = v->now_ms;
    v->peers[0].positions_ms = v->now_ms - upto(r, 1300);
}

static void shake_owner_op(struct rng *r, struct view *v)
{
    v->op.started_ms = v->now_ms - upto(r, 100000);
    v->op.last_failed = coin(r);
    v->op.retry_ms = v->now_ms + upto(r, 1000);
    switch (upto(r, 3)) {
    case 0:
        v->op.running = ACTION_START_PRIMARY;
        v->self.status.pg_role = PG_ROLE_UNKNOWN;
        break;
    case 1:
        v->op.last = coin(r) ? ACTION_START_PRIMARY : ACTION_STOP;
        break;
    case 2:
        v->op.last = ACTION_FENCE;
        (void)str_copy(v->op.last_rule, NAME_SIZE, "start-overdue");
        break;
    default:
        break;
    }
}

/* A healthy cluster in which one or two things go wrong: about an owner, which
 * chance makes even more seldom. */
static struct scene *lean_owner(struct rng *r)
{
    struct scene *s = scene_new_primary();
    struct view *v = &s->view;

    if (coin(r)) {
        scene_request(s, coin(r) ? REQUEST_SWITCHOVER : REQUEST_FAILOVER, "", coin(r) ? "pg2" : "");
    }
    if (coin(r)) {
        scene_stop_postgres(s, true, coin(r));
    }
    if (upto(r, 3) == 0) { /* Not promoted yet. */
        v->self.status.pg_role = PG_ROLE_STANDBY;
        v->pg.was_primary = false;
        v->positions_asked_ms = v->now_ms - upto(r, 1200);
        v->pg.seen_ms = v->now_ms - (upto(r, 3) == 0 ? 11000 : 0);
        v->conf.sync_mode = coin(r) ? SYNC_ON : SYNC_OFF;
        s->store.line = (struct store_line){.epoch = 1,
                                            .owner_id = PG1,
                                            .owner = "pg1",
                                            .timeline = 2,
                                            .parent = 1,
                                            .lsn = lookup_position(&v->self.status)};
    }
    if (upto(r, 7) == 0) {
        v->lease = (struct view_lease){.epoch = 1, .wanted_since_ms = v->now_ms - upto(r, 9000)};
    }
    if (upto(r, 7) == 0) {
        v->conf.pause = true;
        v->lease.armed = coin(r);
        s->store.primary.unfenced = coin(r);
    }
    shake_owner_op(r, v);
    v->peers[0].positions = (struct positions){
        .epoch = 1, .valid = true, .timeline = 1, .flushed = (9 + upto(r, 3)) * MB};
    v->peers[0].positions_ms = v->now_ms - upto(r, 1500);
    v->peers[0].received_ms = v->now_ms - (coin(r) ? 10 : 5000);
    v->peers[0].status.stopping = upto(r, 7) == 0;
    v->pg.promoted_checkpoint_due = upto(r, 7) == 0;
    return s;
}

/* The owner let go and named somebody; or there is no cluster yet; or pg1 is a
 * standby that is down. */
/* Towards a standby beside a primary that went on, with whatever data. */
static struct scene *lean_standby(struct rng *r)
{
    struct scene *s = scene_new_standby();
    struct view *v = &s->view;

    if (coin(r)) {
        scene_stop_postgres(s, coin(r), coin(r));
    }
    v->self.status.data = (enum data_state)upto(r, DATA_REWINDING);
    v->self.status.flushed = (8 + upto(r, 4)) * MB;
    v->self.status.timeline = v->self.status.data == DATA_VALID ? 1 : 0;
    v->peers[0].status.timeline = 2;
    v->peers[0].status.checkpoint_timeline = (uint32_t)(1 + upto(r, 1));
    v->peers[0].status.pg_role = upto(r, 3) == 0 ? PG_ROLE_STANDBY : PG_ROLE_PRIMARY;
    v->pg.can_rewind = coin(r);
    v->pg.rewind_timeline = 2;
    if (upto(r, 7) == 0) { /* After a switchover in a paused cluster. */
        v->conf.pause = true;
        v->pg.upstream[0] = '\0';
    }
    v->conf.remove_on_diverged_timelines = coin(r);
    v->self.diverged_since_ms = coin(r) ? v->now_ms - 5000 : 0;
    v->op.rewind_timeline = 2;
    v->op.n_rewind_failures = (uint32_t)upto(r, 5);
    s->store.n_history = 1;
    s->store.history[0] = (struct store_history){.timeline = 1, .lsn = 10 * MB};
    return s;
}

static struct scene *lean_leader(struct rng *r)
{
    struct scene *s = scene_new_standby();

    if (coin(r)) {
        scene_stop_postgres(s, false, true);
    }
    if (coin(r)) {
        scene_release(s, "switchover-release", coin(r) ? "pg1" : "pg2");
        (void)str_copy(s->store.primary.successor, NAME_SIZE, coin(r) ? "pg1" : "pg2");
    } else if (coin(r)) {
        s->store = (struct store){.applied_index = 0};
    }
    return s;
}

static struct scene *new_view(struct rng *r, int i)
{
    struct scene *s;

    if (i % 4 == 1) {
        return lean_owner(r);
    }
    if (i % 16 == 2) {
        return lean_leader(r);
    }
    if (i % 16 == 3) {
        return lean_standby(r);
    }
    s = scene_new();
    shake(r, s);
    if (i % 4 == 0) {
        lean(r, s);
    }
    return s;
}

/* Rows by which a view was decided: what no view can bring about is a dead row,
 * whatever the cubes above say. */
#define ROWS_MAX 256
static bool node_rows[ROWS_MAX], cluster_rows[ROWS_MAX];

static void note_rows(uint64_t node_bits, uint64_t cluster_bits)
{
    const struct node_rule *node = node_rules_match(node_bits);
    const struct cluster_rule *cluster = cluster_rules_match(cluster_bits);

    assert_non_null(node);
    assert_non_null(cluster);
    assert_true(node_rules_n <= ROWS_MAX && cluster_rules_n <= ROWS_MAX);
    node_rows[node - node_rules] = true;
    cluster_rows[cluster - cluster_rules] = true;
}

static void every_row_is_reached_by_a_view(void)
{
    for (size_t i = 0; i < node_rules_n; i++) {
        if (!node_rows[i]) {
            fail_msg("no view reaches rule %s", node_rules[i].name);
        }
    }
    for (size_t i = 0; i < cluster_rules_n; i++) {
        if (!cluster_rows[i]) {
            fail_msg("no view reaches rule %s", cluster_rules[i].name);
        }
    }
}

static void check_worlds(uint64_t node_bits, uint64_t cluster_bits)
{
    char text[2048];

    for (size_t i = 0; i < node_impossible_n; i++) {
        const struct impossible *row = &node_impossible[i];

        if ((node_bits & row->all) == row->all && !(node_bits & row->none)) {
            fail_msg("happens: %s: %s", row->why,
                     facts_format(node_bits, node_fact_infos, NODE_FACTS_END, text, sizeof(text)));
        }
    }
    for (size_t i = 0; i < cluster_impossible_n; i++) {
        const struct impossible *row = &cluster_impossible[i];

        if ((cluster_bits & row->all) == row->all && !(cluster_bits & row->none)) {
            fail_msg("happens: %s: %s", row->why,
                     facts_format(cluster_bits, cluster_fact_infos, CLUSTER_FACTS_END, text,
                                  sizeof(text)));
        }
    }
}

static void impossible_worlds_do_not_happen(void **state)
{
    /* Views with everything shaken, also what no honest agent would report. */
    struct rng r;
    struct node_facts node;
    static struct cluster_facts cluster;
    uint64_t ever = 0, cluster_ever = 0, always = UINT64_MAX;

    (void)state;
    rng_seed(&r, 1);
    for (int i = 0; i < 80000; i++) {
        struct scene *s = new_view(&r, i);

        node_facts_gather(&s->view, &node);
        cluster_facts_gather(&s->view, &cluster);
        check_worlds(node.bits, cluster.bits);
        note_rows(node.bits, cluster.bits);
        ever |= node.bits;
        always &= node.bits;
        cluster_ever |= cluster.bits;
        if (i % 8 < 2) {
            decide(&s->view, &s->decision);
            assert_non_null(s->decision.node.rule);
            assert_true(s->decision.wake_ms > s->view.now_ms);
        }
        free(s);
    }
    for (size_t i = 0; i < NODE_FACTS_END; i++) {
        if (!((ever >> i) & 1)) {
            fail_msg("fact %s never seen true", node_fact_infos[i].name);
        }
        if ((always >> i) & 1) {
            fail_msg("fact %s never seen false", node_fact_infos[i].name);
        }
    }
    (void)cluster_ever;
    every_row_is_reached_by_a_view();
}

/* ---- Golden files -------------------------------------------------------- */

static void add_facts(struct strbuf *b, const char *label, uint64_t bits,
                      const struct fact_info *infos, size_t n)
{
    char text[1024];

    if (bits != 0) {
        strbuf_printf(b, "    %s: %s\n", label, facts_format(bits, infos, n, text, sizeof(text)));
    }
}

static void print_order_rules(struct strbuf *b)
{
    static const char *const phases[] = {
        [ORDER_NEW] = "new",
        [ORDER_NAMED] = "begun, and commits on the primary wait for this standby",
        [ORDER_REPLACES] = "begun, the server it is about runs",
        [ORDER_STARTS] = "begun, no server runs",
        [ORDER_WAITS] = "which server runs is not known",
    };

    strbuf_printf(b, "\n# How an operator's order for this member ends, the first that says so\n");
    for (size_t i = 0; order_end_info(i) != NULL; i++) {
        const struct order_end_info *e = order_end_info(i);

        strbuf_printf(b, "%s -> %s\n    why: %s\n", e->name, e->done ? "done" : "not done", e->why);
    }
    strbuf_printf(b, "\n# What is done for it, in the place of a rule with the effect \"orders\", by "
                     "force of \"keep\"\n");
    for (size_t i = 0; i < order_acts_n; i++) {
        const struct order_act *a = &order_acts[i];

        strbuf_printf(b, "%s -> %s\n    why: %s\n    of: %s, %s\n", a->rule.name,
                      node_action_name(a->rule.action), a->rule.why, request_kind_name(a->kind),
                      a->kind == REQUEST_REINIT ? "any" : phases[a->phase]);
        add_facts(b, "all", a->rule.all, node_fact_infos, NODE_FACTS_END);
        add_facts(b, "none", a->rule.none, node_fact_infos, NODE_FACTS_END);
    }
}

static void print_node_rules(struct strbuf *b)
{
    char text[64];

    strbuf_printf(b, "# Facts of a node\n");
    for (size_t i = 0; i < NODE_FACTS_END; i++) {
        strbuf_printf(b, "%-16s %s\n", node_fact_infos[i].name, node_fact_infos[i].meaning);
    }
    strbuf_printf(b, "\n# Rules of a node, the first that matches\n");
    for (size_t i = 0; i < node_rules_n; i++) {
        const struct node_rule *r = &node_rules[i];

        strbuf_printf(b, "%s -> %s, effects: %s\n    why: %s\n", r->name,
                      r->effects & EFFECT_KEEP ? "what runs" : node_action_name(r->action),
                      node_effects_format(r->effects, text, sizeof(text)), r->why);
        add_facts(b, "all", r->all, node_fact_infos, NODE_FACTS_END);
        add_facts(b, "none", r->none, node_fact_infos, NODE_FACTS_END);
    }
    strbuf_printf(
        b, "\n# In the place of a rule with the effect \"prepare\", where pre_promote is set\n");
    strbuf_printf(b, "%s -> %s\n    why: %s\n", node_rule_pre_promote.name,
                  node_action_name(node_rule_pre_promote.action), node_rule_pre_promote.why);
    print_order_rules(b);
}

static void print_cluster_rules(struct strbuf *b)
{
    strbuf_printf(b, "# Facts of the cluster, as the Raft leader sees it\n");
    for (size_t i = 0; i < CLUSTER_FACTS_END; i++) {
        strbuf_printf(b, "%-16s %s\n", cluster_fact_infos[i].name, cluster_fact_infos[i].meaning);
    }
    strbuf_printf(b, "\n# Rules of the cluster, the first that matches\n");
    for (size_t i = 0; i < cluster_rules_n; i++) {
        const struct cluster_rule *r = &cluster_rules[i];

        strbuf_printf(b, "%s -> %s\n    why: %s\n", r->name, cluster_act_name(r->act), r->why);
        add_facts(b, "all", r->all, cluster_fact_infos, CLUSTER_FACTS_END);
        add_facts(b, "none", r->none, cluster_fact_infos, CLUSTER_FACTS_END);
    }
    strbuf_printf(b, "\n# How a pending request ends, the first that says so\n");
    for (size_t i = 0; request_rule_info(i) != NULL; i++) {
        const struct request_rule_info *r = request_rule_info(i);

        strbuf_printf(b, "%s -> %s\n    why: %s\n", r->name, r->done ? "done" : "not done", r->why);
    }
    strbuf_printf(b, "\n# Who votes, of each node that asks, the first that holds\n");
    for (size_t i = 0; voter_rule_info(i) != NULL; i++) {
        static const char *const acts[] = {"-", "remove the old id", "tell the store",
                                           "add the new id"};
        const struct voter_rule_info *r = voter_rule_info(i);

        strbuf_printf(b, "%s -> %s\n    why: %s\n", r->name, acts[r->act], r->why);
    }
}

static void compare_golden(const char *file, void (*print)(struct strbuf *b))
{
    struct strbuf actual = {0}, golden = {0};
    char path[1024], chunk[4096];
    struct sbuf p;
    FILE *f;
    size_t n;

    sbuf_init(&p, path, sizeof(path));
    sbuf_printf(&p, "%s/%s", GOLDEN_DIR, file);
    f = fopen(path, "r");
    assert_non_null(f);
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0) {
        strbuf_add(&golden, chunk, n);
    }
    (void)fclose(f); /* Only read. */
    print(&actual);
    assert_string_equal(golden.data, actual.data);
    strbuf_deinit(&actual);
    strbuf_deinit(&golden);
}

static void node_rules_are_the_reviewed_ones(void **state)
{
    /* Changed by intention only: `--print node` shows the table as it is. */
    (void)state;
    compare_golden("node_rules.txt", print_node_rules);
}

static void cluster_rules_are_the_reviewed_ones(void **state)
{
    /* Changed by intention only: `--print cluster` shows the table as it is. */
    (void)state;
    compare_golden("cluster_rules.txt", print_cluster_rules);
}

static int print_and_leave(const char *which)
{
    struct strbuf b = {0};

    if (str_equal(which, "node")) {
        print_node_rules(&b);
    } else {
        print_cluster_rules(&b);
    }
    (void)fputs(b.data, stdout);
    strbuf_deinit(&b);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_node_world_has_a_rule_and_every_rule_a_world),
        cmocka_unit_test(every_cluster_world_has_a_rule_and_every_rule_a_world),
        cmocka_unit_test(actions_keep_to_the_safety_lines),
        cmocka_unit_test(paused_postgres_is_left_alone),
        cmocka_unit_test(nothing_is_released_while_something_can_write),
        cmocka_unit_test(no_epoch_begins_beside_a_live_one),
        cmocka_unit_test(rule_names_are_unique),
        cmocka_unit_test(impossible_worlds_do_not_happen),
        cmocka_unit_test(node_rules_are_the_reviewed_ones),
        cmocka_unit_test(cluster_rules_are_the_reviewed_ones),
    };

    if (argc == 3 && str_equal(argv[1], "--print")) {
        return print_and_leave(argv[2]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
