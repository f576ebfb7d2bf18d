/*
 * decide() on every node of a small cluster that plays itself: one step is
 * 100 ms, commands are applied at once when a majority can talk, PostgreSQL and
 * its sequences are a few fields. No chance, no faults but those a test asks
 * for. In every step the promises are checked: one writer, epochs and timelines
 * that only grow, no promotion without the lease.
 */
#include "core/decide.h"
#include "core/explain.h"
#include "test_core_util.h"

#define STEP_MS   100
#define NODES     3
#define NODES_MAX 3
#define TTL_MS    3000
#define SYSID     UINT64_C(77)

struct play_pg {
    enum data_state data;
    bool alive;
    enum pg_role role;
    bool signal; /* standby.signal is there. */
    bool clean;
    uint32_t timeline;
    lsn_t lsn; /* End of WAL. */
    char upstream[NAME_SIZE];
    bool checkpoint_due;
    bool history_due;
    struct store_history history;
};

struct play_node {
    node_id id;
    enum node_mode mode;
    uint64_t instance;
    bool up;
    bool stopping;
    uint64_t stopping_since_ms;
    bool exited;
    uint64_t started_ms;
    uint64_t gone_ms;
    struct play_pg pg;
    /* As a voter. */
    uint64_t promise_epoch, promise_instance, promise_until_ms, quarantine_until_ms;
    /* As owner. */
    uint64_t lease_epoch, lease_until_ms, live_since_ms, wanted_epoch, wanted_since_ms;
    /* The sequence. */
    enum node_action op, op_last;
    struct upstream op_upstream;
    char op_rule[NAME_SIZE], op_last_rule[NAME_SIZE];
    uint64_t op_started_ms;
    uint64_t positions_asked_ms;
    struct view_peer peers[NODES_MAX];
    uint64_t proposed_ms[COMMAND_KINDS];
    uint64_t epoch_seen;
    bool owned_seen;
    uint64_t epoch_applied_ms;
    char rule[NAME_SIZE];
};

struct play {
    uint64_t now_ms;
    struct store store;
    uint64_t index;
    struct play_node nodes[NODES_MAX];
    bool cut[NODES_MAX][NODES_MAX];
    int leader;
    uint64_t leader_since_ms;
    struct view view;
    struct decision decision;
    uint32_t timeline_max;
    uint32_t n_promotions, n_clones, n_starts_in_place;
    bool trace;
};

static bool can_talk(const struct play *p, int a, int b)
{
    return p->nodes[a].up && p->nodes[b].up && !p->cut[a][b];
}

static int reach_count(const struct play *p, int a)
{
    int n = 0;

    for (int b = 0; b < NODES; b++) {
        n += can_talk(p, a, b) ? 1 : 0;
    }
    return n;
}

static void elect(struct play *p)
{
    if (p->leader >= 0 && p->nodes[p->leader].up && reach_count(p, p->leader) >= 2) {
        return;
    }
    p->leader = -1;
    for (int i = 0; i < NODES; i++) {
        if (p->nodes[i].up && reach_count(p, i) >= 2) {
            p->leader = i;
            p->leader_since_ms = p->now_ms;
            return;
        }
    }
}

static enum pg_state state_of(const struct play_node *n)
{
    if (n->pg.alive) {
        return PG_STATE_RUNNING;
    }
    return n->op == ACTION_CLONE ? PG_STATE_CREATING_REPLICA : PG_STATE_STOPPED;
}

static bool lease_is_live(const struct play *p, const struct play_node *n)
{
    return n->lease_epoch != 0 && p->now_ms < n->lease_until_ms;
}

static void fill_status(const struct play *p, int i, struct status *s)
{
    const struct play_node *n = &p->nodes[i];

    *s = (struct status){.id = n->id, .mode = n->mode, .instance = n->instance};
    (void)str_copy(s->name, NAME_SIZE, node_name(n->id));
    s->failover_priority = 1;
    s->promise = p->now_ms < n->quarantine_until_ms ? PROMISE_QUARANTINE
                 : p->now_ms < n->promise_until_ms  ? PROMISE_LIVE
                                                    : PROMISE_NONE;
    s->promise_epoch = n->promise_epoch;
    s->lease_epoch = lease_is_live(p, n) ? n->lease_epoch : 0;
    for (int b = 0; b < NODES; b++) {
        if (can_talk(p, i, b)) {
            s->heard[s->n_heard++] = p->nodes[b].id;
        }
    }
    if (n->mode == MODE_WITNESS) {
        s->pg_role = PG_ROLE_NONE;
        return;
    }
    s->can_bootstrap = true;
    s->pg_state = state_of(n);
    s->pg_role = n->pg.alive ? n->pg.role : PG_ROLE_UNKNOWN;
    s->data = n->pg.data;
    s->clean_shutdown = !n->pg.alive && n->pg.clean;
    if (n->pg.data == DATA_VALID) {
        s->sysid = SYSID;
        s->timeline = n->pg.timeline;
        s->flushed = n->pg.lsn;
    }
}

static int find_primary(const struct play *p)
{
    for (int i = 0; i < NODES; i++) {
        if (p->nodes[i].pg.alive && p->nodes[i].pg.role == PG_ROLE_PRIMARY) {
            return i;
        }
    }
    return -1;
}

static bool streams(const struct play *p, int i)
{
    const struct play_node *n = &p->nodes[i];
    int primary = find_primary(p);

    return n->pg.alive && n->pg.role == PG_ROLE_STANDBY && primary >= 0 &&
           can_talk(p, i, primary) && str_equal(n->pg.upstream, node_name(p->nodes[primary].id));
}

static void fill_view(struct play *p, int i)
{
    struct play_node *n = &p->nodes[i];
    struct view *v = &p->view;
    uint32_t k = 0;

    memset(v, 0, sizeof(*v));
    v->now_ms = p->now_ms;
    v->wall_us = TEST_WALL + (int64_t)(p->now_ms * US_PER_MS);
    v->store = &p->store;
    v->conf = (struct view_conf){.ttl_ms = TTL_MS,
                                 .loop_wait_ms = 1000,
                                 .retry_timeout_ms = 1000,
                                 .maximum_lag_on_failover = (int64_t)MB,
                                 .primary_start_timeout_ms = 60000,
                                 .fence_margin_ms = 500,
                                 .status_period_ms = 300,
                                 .can_bootstrap = true,
                                 .scope = "play"};
    fill_status(p, i, &v->self.status);
    v->self.status.streaming = streams(p, i);
    v->self.started_ms = n->started_ms;
    v->self.stopping = n->stopping;
    v->self.stopping_since_ms = n->stopping_since_ms;
    (void)str_copy(v->self.member.name, NAME_SIZE, node_name(n->id));
    v->self.member.id = n->id;
    v->self.member.mode = n->mode;
    v->self.member.pg_port = n->mode == MODE_POSTGRES ? 5432 : 0;
    v->self.member.failover_priority = 1;
    v->raft = (struct view_raft){.usable = true,
                                 .is_leader = p->leader == i,
                                 .leader = p->leader >= 0 ? p->nodes[p->leader].id : 0,
                                 .leader_since_ms = p->leader_since_ms,
                                 .caught_up = reach_count(p, i) >= 2 || n->epoch_seen != 0,
                                 .n_voters = NODES,
                                 .voters = {PG1, PG2, W},
                                 .epoch_applied_ms = n->epoch_applied_ms,
                                 .cluster_id = 5};
    v->lease.live = lease_is_live(p, n);
    v->lease.epoch = n->wanted_epoch;
    v->lease.remaining_ms = v->lease.live ? n->lease_until_ms - p->now_ms : 0;
    v->lease.live_since_ms = v->lease.live ? n->live_since_ms : 0;
    v->lease.wanted_since_ms = v->lease.live ? 0 : n->wanted_since_ms;
    v->pg.postmaster_alive = n->pg.alive;
    v->pg.n_processes = n->pg.alive ? 5 : 0;
    v->pg.seen_ms = p->now_ms;
    v->pg.gone_ms = n->gone_ms;
    v->pg.was_primary = n->pg.data == DATA_VALID && !n->pg.signal;
    v->pg.promoted_checkpoint_due = n->pg.checkpoint_due;
    v->pg.control_lsn = n->pg.lsn;
    v->pg.history_due = n->pg.history_due;
    v->pg.history = n->pg.history;
    (void)str_copy(v->pg.upstream, NAME_SIZE, n->pg.upstream);
    v->op.running = n->op;
    v->op.started_ms = n->op_started_ms;
    v->op.last = n->op_last;
    (void)str_copy(v->op.last_rule, NAME_SIZE, n->op_last_rule);
    v->positions_asked_ms = n->positions_asked_ms;
    memcpy(v->proposed_ms, n->proposed_ms, sizeof(n->proposed_ms));
    for (int b = 0; b < NODES; b++) {
        if (b != i) {
            v->peers[k] = n->peers[b];
            v->peers[k].connected = can_talk(p, i, b);
            k++;
        }
    }
    v->n_peers = k;
}

static void run_op(struct play *p, int i)
{
    struct play_node *n = &p->nodes[i];
    struct play_pg *pg = &n->pg;
    int primary = find_primary(p);
    bool was_alive = pg->alive;

    switch (n->op) {
    case ACTION_BOOTSTRAP:
        *pg = (struct play_pg){
            .data = DATA_VALID, .alive = true, .role = PG_ROLE_PRIMARY, .timeline = 1, .lsn = MB};
        break;
    case ACTION_CLONE:
        if (primary < 0 || !can_talk(p, i, primary)) {
            break;
        }
        *pg = p->nodes[primary].pg;
        pg->role = PG_ROLE_STANDBY;
        pg->signal = true;
        pg->checkpoint_due = pg->history_due = false;
        (void)str_copy(pg->upstream, NAME_SIZE, n->op_upstream.name);
        p->n_clones++;
        break;
    case ACTION_START_PRIMARY:
        pg->alive = true;
        pg->role = PG_ROLE_PRIMARY;
        p->n_starts_in_place++;
        break;
    case ACTION_START_STANDBY:
        pg->alive = true;
        pg->role = PG_ROLE_STANDBY;
        pg->signal = true;
        (void)str_copy(pg->upstream, NAME_SIZE, n->op_upstream.name);
        break;
    case ACTION_PROMOTE:
        pg->role = PG_ROLE_PRIMARY;
        pg->signal = false;
        pg->history_due = true;
        pg->history = (struct store_history){.timeline = pg->timeline, .lsn = pg->lsn};
        pg->timeline++;
        pg->checkpoint_due = true;
        p->n_promotions++;
        break;
    case ACTION_FOLLOW:
        (void)str_copy(pg->upstream, NAME_SIZE, n->op_upstream.name);
        break;
    case ACTION_CHECKPOINT:
        pg->checkpoint_due = false;
        break;
    case ACTION_STOP:
        for (int b = 0; b < NODES && pg->role == PG_ROLE_PRIMARY; b++) {
            if (streams(p, b)) {
                p->nodes[b].pg.lsn = pg->lsn; /* A clean stop waits for who streams. */
            }
        }
        pg->alive = false;
        pg->clean = true;
        break;
    case ACTION_FENCE:
    case ACTION_CLEAN_UP:
        pg->alive = false;
        pg->clean = false;
        break;
    case ACTION_NONE:
    case ACTIONS:
        break;
    }
    if (was_alive && !pg->alive) {
        n->gone_ms = p->now_ms;
    }
    if (pg->alive) {
        n->gone_ms = 0;
    }
    n->op_last = n->op;
    (void)str_copy(n->op_last_rule, NAME_SIZE, n->op_rule);
    n->op = ACTION_NONE;
}

static void stream_wal(struct play *p)
{
    int primary = find_primary(p);

    if (primary < 0) {
        return;
    }
    p->nodes[primary].pg.lsn += 1000;
    for (int i = 0; i < NODES; i++) {
        struct play_pg *pg = &p->nodes[i].pg;

        if (streams(p, i) && pg->lsn <= p->nodes[primary].pg.lsn) {
            pg->lsn = p->nodes[primary].pg.lsn - 500;
            pg->timeline = p->nodes[primary].pg.timeline;
        }
    }
}

static void propose(struct play *p, int i, const struct command *c)
{
    unsigned changes;
    char line[400];

    p->nodes[i].proposed_ms[c->kind] = p->now_ms;
    if (p->leader < 0 || !can_talk(p, i, p->leader)) {
        return;
    }
    enum apply_result r = store_apply(&p->store, ++p->index, c, &changes);
    if (p->trace) {
        print_message("[%6lu] %s proposes %s: %s\n", (unsigned long)p->now_ms,
                      node_name(p->nodes[i].id), command_print(c, line, sizeof(line)),
                      apply_result_name(r));
    }
}

static void renew(struct play *p, int i)
{
    struct play_node *n = &p->nodes[i];
    uint64_t epoch = p->store.primary.epoch;
    int grants = 0;

    if (n->wanted_epoch != epoch) {
        n->wanted_epoch = epoch;
        n->wanted_since_ms = p->now_ms;
        n->lease_epoch = 0;
    }
    for (int b = 0; b < NODES; b++) {
        struct play_node *v = &p->nodes[b];
        bool other = v->promise_epoch != epoch || v->promise_instance != n->instance;

        if (!can_talk(p, i, b) || p->now_ms < v->quarantine_until_ms || epoch < v->promise_epoch ||
            (other && p->now_ms < v->promise_until_ms)) {
            continue;
        }
        v->promise_epoch = epoch;
        v->promise_instance = n->instance;
        v->promise_until_ms = p->now_ms + TTL_MS;
        grants++;
    }
    if (grants >= 2) {
        n->live_since_ms = lease_is_live(p, n) ? n->live_since_ms : p->now_ms;
        n->lease_epoch = epoch;
        n->lease_until_ms = p->now_ms + TTL_MS * 99 / 100;
        n->wanted_since_ms = 0;
    } else if (!lease_is_live(p, n) && n->wanted_since_ms == 0) {
        n->wanted_since_ms = p->now_ms;
    }
}

static void act(struct play *p, int i)
{
    struct play_node *n = &p->nodes[i];
    const struct decision *d = &p->decision;
    bool cuts = d->node.action == ACTION_FENCE || d->node.action == ACTION_STOP;

    if (p->trace && !str_equal(n->rule, d->node.rule)) {
        print_message("[%6lu] %s: %s -> %s (%s)\n", (unsigned long)p->now_ms, node_name(n->id),
                      d->node.rule, node_action_name(d->node.action), d->node.evidence);
    }
    (void)str_copy(n->rule, NAME_SIZE, d->node.rule);
    if (d->node.action != ACTION_NONE && d->node.action != n->op &&
        (n->op == ACTION_NONE || cuts)) {
        n->op = d->node.action;
        n->op_upstream = d->node.upstream;
        n->op_started_ms = p->now_ms;
        (void)str_copy(n->op_rule, NAME_SIZE, d->node.rule);
        if (n->op == ACTION_FENCE) {
            run_op(p, i); /* At once. */
        }
    }
    if (d->drop_lease) {
        n->lease_epoch = n->lease_until_ms = 0;
    }
    if (d->renew_lease) {
        renew(p, i);
    }
    if (d->ask_positions) {
        n->positions_asked_ms = p->now_ms;
        for (int b = 0; b < NODES; b++) {
            const struct play_pg *pg = &p->nodes[b].pg;

            if (b != i && can_talk(p, i, b)) {
                n->peers[b].positions = (struct positions){.epoch = p->store.primary.epoch,
                                                           .valid = pg->alive,
                                                           .timeline = pg->timeline,
                                                           .flushed = pg->lsn};
                n->peers[b].positions_ms = p->now_ms;
            }
        }
    }
    for (uint32_t k = 0; k < d->n_commands; k++) {
        propose(p, i, &d->commands[k]);
    }
    if (d->may_exit) {
        n->up = false;
        n->exited = true;
    }
}

static void check_promises(struct play *p)
{
    int writers = 0;

    for (int i = 0; i < NODES; i++) {
        const struct play_node *n = &p->nodes[i];
        bool writes = n->pg.alive && n->pg.role == PG_ROLE_PRIMARY;

        writers += writes ? 1 : 0;
        if (writes && p->store.cluster.init == INIT_DONE) {
            assert_true(lease_is_live(p, n)); /* S1 */
        }
        assert_true(IMPLIES(n->op == ACTION_PROMOTE, lease_is_live(p, n)));
    }
    assert_true(writers <= 1);
}

static void exchange_statuses(struct play *p)
{
    for (int a = 0; a < NODES; a++) {
        for (int b = 0; b < NODES; b++) {
            if (a != b && can_talk(p, a, b)) {
                fill_status(p, b, &p->nodes[a].peers[b].status);
                p->nodes[a].peers[b].status.streaming = streams(p, b);
                p->nodes[a].peers[b].received_ms = p->now_ms;
            }
        }
    }
}

static void note_epoch(struct play *p, struct play_node *n)
{
    const struct store_primary *o = &p->store.primary;

    if (n->epoch_seen != o->epoch || n->owned_seen != o->has_owner) {
        n->epoch_seen = o->epoch;
        n->owned_seen = o->has_owner;
        n->epoch_applied_ms = p->now_ms;
        if (!o->has_owner && n->promise_epoch == o->epoch) {
            n->promise_until_ms = 0; /* A released promise is forgotten. */
        }
    }
}

static void step(struct play *p)
{
    p->now_ms += STEP_MS;
    elect(p);
    stream_wal(p);
    exchange_statuses(p);
    for (int i = 0; i < NODES; i++) {
        struct play_node *n = &p->nodes[i];

        if (!n->up) {
            continue;
        }
        if (p->leader >= 0 && can_talk(p, i, p->leader)) {
            note_epoch(p, n);
        }
        if (n->op != ACTION_NONE && p->now_ms > n->op_started_ms) {
            run_op(p, i);
        }
        fill_view(p, i);
        decide(&p->view, &p->decision);
        act(p, i);
        check_promises(p);
    }
}

static void kill_node(struct play *p, int i)
{
    struct play_node *n = &p->nodes[i];

    n->up = false;
    n->pg.alive = false;
    n->pg.clean = false;
    n->op = n->op_last = ACTION_NONE;
    n->lease_epoch = n->lease_until_ms = 0;
}

static void start_node(struct play *p, int i, bool rebooted)
{
    struct play_node *n = &p->nodes[i];

    n->up = true;
    n->exited = n->stopping = false;
    n->stopping_since_ms = 0;
    n->started_ms = p->now_ms;
    n->wanted_epoch = n->wanted_since_ms = n->positions_asked_ms = 0;
    n->epoch_seen = 0;
    memset(n->peers, 0, sizeof(n->peers));
    memset(n->proposed_ms, 0, sizeof(n->proposed_ms));
    if (rebooted) {
        n->instance += 1000;
        n->promise_epoch = n->promise_until_ms = 0;
        n->quarantine_until_ms = p->now_ms + TTL_MS;
    }
}

static struct play *play_new(void)
{
    struct play *p = xmalloc(sizeof(*p));
    static const node_id ids[] = {PG1, PG2, W};

    store_init(&p->store);
    p->now_ms = TEST_NOW;
    p->leader = -1;
    p->trace = getenv("PLAY_TRACE") != NULL;
    for (int i = 0; i < NODES; i++) {
        p->nodes[i].id = ids[i];
        p->nodes[i].mode = ids[i] == W ? MODE_WITNESS : MODE_POSTGRES;
        p->nodes[i].instance = 100 + ids[i];
        p->nodes[i].pg.data = DATA_EMPTY;
        start_node(p, i, false);
    }
    return p;
}

/* Steps until the wish is true; fails after `seconds`. Returns what it took. */
static uint64_t play_until(struct play *p, bool (*wish)(const struct play *p), uint64_t seconds)
{
    uint64_t since = p->now_ms;

    while (!wish(p)) {
        step(p);
        assert_true(p->now_ms < since + SECONDS(seconds));
    }
    return p->now_ms - since;
}

static void play_for(struct play *p, uint64_t seconds)
{
    for (uint64_t end = p->now_ms + SECONDS(seconds); p->now_ms < end;) {
        step(p);
    }
}

static bool is_primary(const struct play *p, int i)
{
    return p->nodes[i].pg.alive && p->nodes[i].pg.role == PG_ROLE_PRIMARY && p->store.primary.held;
}

static bool pg1_leads_and_pg2_streams(const struct play *p)
{
    return p->store.cluster.init == INIT_DONE && is_primary(p, 0) && streams(p, 1) &&
           p->store.progress.lsn != 0;
}

static bool pg2_leads_and_pg1_streams(const struct play *p)
{
    return is_primary(p, 1) && streams(p, 0);
}

static bool pg2_leads(const struct play *p)
{
    return is_primary(p, 1);
}

static bool pg1_leads(const struct play *p)
{
    return is_primary(p, 0);
}

static bool somebody_leads_and_the_other_streams(const struct play *p)
{
    return (is_primary(p, 0) && streams(p, 1)) || (is_primary(p, 1) && streams(p, 0));
}

static bool nobody_leads(const struct play *p)
{
    return find_primary(p) < 0;
}

static bool pg1_has_left(const struct play *p)
{
    return p->nodes[0].exited;
}

static bool no_request(const struct play *p)
{
    return p->store.request.id == 0;
}

static struct play *play_running(void)
{
    struct play *p = play_new();

    (void)play_until(p, pg1_leads_and_pg2_streams, 20);
    play_for(p, 2);
    return p;
}

static void ask(struct play *p, enum request_kind kind, const char *from, const char *to)
{
    struct command c = {.kind = COMMAND_REQUEST_SET};
    unsigned changes;

    c.request_set.kind = kind;
    (void)str_copy(c.request_set.from, NAME_SIZE, from);
    (void)str_copy(c.request_set.to, NAME_SIZE, to);
    (void)str_copy(c.request_set.who, HOST_SIZE, "dba");
    c.request_set.time_us = TEST_WALL + (int64_t)(p->now_ms * US_PER_MS);
    assert_int_equal(store_apply(&p->store, ++p->index, &c, &changes), APPLY_DONE);
}

static void three_empty_nodes_become_a_cluster(void **state)
{
    /* Two PostgreSQL nodes and a witness, nothing in the data directories. */
    struct play *p = play_new();

    (void)state;
    assert_true(play_until(p, pg1_leads_and_pg2_streams, 20) < SECONDS(10));

    assert_int_equal(p->store.n_members, 3);
    assert_int_equal(p->store.cluster.sysid, SYSID);
    assert_int_equal(p->store.primary.epoch, 1);
    assert_int_equal(p->n_clones, 1);
    free(p);
}

static void a_quiet_cluster_stays_as_it_is(void **state)
{
    /* Nothing happens for two minutes. */
    struct play *p = play_running();
    uint64_t n_ledger = p->store.n_ledger;

    (void)state;
    play_for(p, 120);

    assert_true(pg1_leads_and_pg2_streams(p));
    assert_int_equal(p->store.primary.epoch, 1);
    assert_int_equal(p->store.n_ledger, n_ledger);
    assert_int_equal(p->n_promotions + p->n_starts_in_place, 0);
    free(p);
}

static void the_standby_takes_over_when_the_primary_dies(void **state)
{
    /* All of pg1 is killed; later it comes back, diverged by what nobody received. */
    struct play *p = play_running();
    uint64_t gap;

    (void)state;
    kill_node(p, 0);
    gap = play_until(p, pg2_leads, 20);
    assert_true(gap <= TTL_MS + 1500);
    assert_int_equal(p->store.primary.epoch, 2);
    play_for(p, 3);
    assert_int_equal(p->store.n_history, 1);

    start_node(p, 0, false);
    (void)play_until(p, pg2_leads_and_pg1_streams, 20);
    assert_int_equal(p->n_clones, 2);
    assert_int_equal(p->n_promotions, 1);
    free(p);
}

static void the_raft_leader_and_primary_may_die_together(void **state)
{
    /* Leadership is where the primary is; the machine reboots afterwards. */
    struct play *p = play_running();

    (void)state;
    p->leader = 0;
    p->leader_since_ms = p->now_ms;
    play_for(p, 2);
    kill_node(p, 0);
    (void)play_until(p, pg2_leads, 20);

    start_node(p, 0, true);
    (void)play_until(p, pg2_leads_and_pg1_streams, 20);
    play_for(p, 30);
    assert_int_equal(p->store.primary.epoch, 2);
    free(p);
}

static void switchovers_go_back_and_forth_without_waiting_for_ttl(void **state)
{
    /* To a named member, then back to any, ten times in a row. */
    struct play *p = play_running();

    (void)state;
    for (int i = 0; i < 10; i++) {
        uint64_t id;

        ask(p, REQUEST_SWITCHOVER, i % 2 ? "pg2" : "pg1", i % 4 == 0 ? "pg2" : "");
        id = p->store.request.id;
        (void)play_until(p, no_request, 10);
        assert_int_equal(p->store.outcome.request_id, id);
        assert_true(p->store.outcome.done);
        assert_true(play_until(p, somebody_leads_and_the_other_streams, 10) < SECONDS(3));
        assert_true(i % 2 ? pg1_leads(p) : pg2_leads(p));
        play_for(p, 2);
    }
    assert_int_equal(p->n_clones, 1);
    assert_int_equal(p->n_promotions, 10);
    assert_int_equal(p->store.n_history, 10);
    free(p);
}

static void a_stopped_agent_hands_over_at_once(void **state)
{
    /* SIGTERM to the primary's agent; it comes back later. */
    struct play *p = play_running();

    (void)state;
    p->nodes[0].stopping = true;
    p->nodes[0].stopping_since_ms = p->now_ms;
    assert_true(play_until(p, pg2_leads, 20) < TTL_MS);
    (void)play_until(p, pg1_has_left, 10);
    assert_int_equal(store_find_member(&p->store, "pg1")->last_state, PG_STATE_STOPPED);

    start_node(p, 0, false);
    (void)play_until(p, pg2_leads_and_pg1_streams, 20);
    play_for(p, 3);
    assert_int_equal(store_find_member(&p->store, "pg1")->last_state, PG_STATE_RUNNING);
    assert_int_equal(p->n_clones, 1);
    free(p);
}

static void a_lone_primary_stops_writing_and_goes_on_when_somebody_is_back(void **state)
{
    /* Two of three down. check_promises sees that writes end in time. */
    struct play *p = play_running();

    (void)state;
    kill_node(p, 1);
    kill_node(p, 2);
    (void)play_until(p, nobody_leads, 5);
    play_for(p, 3);

    start_node(p, 2, false);
    (void)play_until(p, pg1_leads, 10);
    start_node(p, 1, false);
    (void)play_until(p, pg1_leads_and_pg2_streams, 20);
    assert_int_equal(p->store.primary.epoch, 1);
    free(p);
}

static void a_crashed_postmaster_is_restarted_in_place(void **state)
{
    /* PostgreSQL dies, the agent lives. */
    struct play *p = play_running();

    (void)state;
    p->nodes[0].pg.alive = false;
    p->nodes[0].pg.clean = false;
    p->nodes[0].gone_ms = p->now_ms;
    assert_true(play_until(p, pg1_leads, 5) <= 300);

    assert_int_equal(p->n_starts_in_place, 1);
    assert_int_equal(p->store.primary.epoch, 1);
    assert_int_equal(p->n_promotions, 0);
    free(p);
}

static void the_whole_cluster_comes_back_by_itself(void **state)
{
    /* Everything is killed at once and started again: same boots, then new ones. */
    for (int rebooted = 0; rebooted < 2; rebooted++) {
        struct play *p = play_running();
        lsn_t lsn = p->nodes[0].pg.lsn;

        for (int i = 0; i < NODES; i++) {
            kill_node(p, i);
        }
        play_for(p, 5);
        for (int i = 0; i < NODES; i++) {
            start_node(p, i, rebooted == 1);
        }
        (void)play_until(p, somebody_leads_and_the_other_streams, 30);
        assert_true(pg1_leads(p)); /* It has most. */
        assert_true(p->nodes[0].pg.lsn >= lsn);
        assert_int_equal(p->n_clones, 1);
        free(p);
    }
    (void)state;
}

static void a_standby_too_far_behind_is_not_promoted(void **state)
{
    /* pg2 misses 5 MB when pg1 dies for good. */
    struct play *p = play_running();
    const struct store_ledger_entry *entry;

    (void)state;
    p->cut[0][1] = p->cut[1][0] = true;
    p->nodes[0].pg.lsn += 5 * MB;
    play_for(p, 12); /* The store learns of it. */
    kill_node(p, 0);
    p->cut[0][1] = p->cut[1][0] = false;
    play_for(p, 60);

    assert_true(nobody_leads(p));
    entry = store_ledger_newest(&p->store, 0);
    assert_string_equal(entry->rule, "no-candidate");
    assert_non_null(strstr(entry->evidence, "pg2: lag"));

    start_node(p, 0, false); /* It comes back, and with it all its WAL. */
    (void)play_until(p, pg1_leads, 30);
    free(p);
}

static void an_operator_may_order_it_by_name(void **state)
{
    /* The same, and an operator accepts the loss. */
    struct play *p = play_running();

    (void)state;
    p->cut[0][1] = p->cut[1][0] = true;
    p->nodes[0].pg.lsn += 5 * MB;
    play_for(p, 12);
    kill_node(p, 0);
    p->cut[0][1] = p->cut[1][0] = false;
    play_for(p, 10);
    ask(p, REQUEST_FAILOVER, "", "pg2");
    (void)play_until(p, no_request, 10);

    assert_true(pg2_leads(p));
    assert_true(p->store.outcome.done);
    start_node(p, 0, false);
    (void)play_until(p, pg2_leads_and_pg1_streams, 30);
    assert_int_equal(p->n_clones, 2);
    free(p);
}

static void a_switchover_nobody_can_take_is_refused(void **state)
{
    /* The standby is down. */
    struct play *p = play_running();

    (void)state;
    kill_node(p, 1);
    play_for(p, 2);
    ask(p, REQUEST_SWITCHOVER, "pg1", "pg2");
    (void)play_until(p, no_request, 5);

    assert_false(p->store.outcome.done);
    assert_non_null(strstr(p->store.outcome.text, "pg2: not-heard"));
    assert_true(pg1_leads(p));
    assert_int_equal(p->store.primary.epoch, 1);
    free(p);
}

static void each_link_may_be_cut_with_each_node_as_leader(void **state)
{
    /* 2+1 nodes: whichever link breaks, writes go on, or go on again. */
    static const int links[3][2] = {{0, 1}, {0, 2}, {1, 2}};

    (void)state;
    for (int l = 0; l < 9; l++) {
        struct play *p = play_running();
        int a = links[l / 3][0], b = links[l / 3][1];

        p->leader = l % 3;
        p->leader_since_ms = p->now_ms;
        play_for(p, 1);
        p->cut[a][b] = p->cut[b][a] = true;
        play_for(p, 20);
        assert_true(pg1_leads(p) || pg2_leads(p));
        assert_int_equal(p->store.primary.epoch, 1);
        p->cut[a][b] = p->cut[b][a] = false;
        (void)play_until(p, somebody_leads_and_the_other_streams, 20);
        free(p);
    }
}

static void an_isolated_primary_is_replaced_and_comes_back_as_standby(void **state)
{
    /* pg1 is cut off from both, and writes into the void until its lease is over. */
    struct play *p = play_running();

    (void)state;
    for (int b = 1; b < NODES; b++) {
        p->cut[0][b] = p->cut[b][0] = true;
    }
    (void)play_until(p, pg2_leads, 20);
    play_for(p, 5);
    memset(p->cut, 0, sizeof(p->cut));
    (void)play_until(p, pg2_leads_and_pg1_streams, 30);
    assert_int_equal(p->store.primary.epoch, 2);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_empty_nodes_become_a_cluster),
        cmocka_unit_test(a_quiet_cluster_stays_as_it_is),
        cmocka_unit_test(the_standby_takes_over_when_the_primary_dies),
        cmocka_unit_test(the_raft_leader_and_primary_may_die_together),
        cmocka_unit_test(switchovers_go_back_and_forth_without_waiting_for_ttl),
        cmocka_unit_test(a_stopped_agent_hands_over_at_once),
        cmocka_unit_test(a_lone_primary_stops_writing_and_goes_on_when_somebody_is_back),
        cmocka_unit_test(a_crashed_postmaster_is_restarted_in_place),
        cmocka_unit_test(the_whole_cluster_comes_back_by_itself),
        cmocka_unit_test(a_standby_too_far_behind_is_not_promoted),
        cmocka_unit_test(an_operator_may_order_it_by_name),
        cmocka_unit_test(a_switchover_nobody_can_take_is_refused),
        cmocka_unit_test(each_link_may_be_cut_with_each_node_as_leader),
        cmocka_unit_test(an_isolated_primary_is_replaced_and_comes_back_as_standby),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
