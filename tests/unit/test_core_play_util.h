/*
 * decide() on every node of a small cluster that plays itself: one step is
 * 100 ms, commands are applied at once when a majority can talk, PostgreSQL and
 * its sequences are a few fields. No chance, no faults but those a test asks
 * for. In every step the promises are checked: one writer, epochs and timelines
 * that only grow, no promotion without the lease.
 */
#ifndef TEST_CORE_PLAY_UTIL_H
#define TEST_CORE_PLAY_UTIL_H

#include "core/lookup.h"
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
    uint64_t diverged_since_ms;
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

static inline bool can_talk(const struct play *p, int a, int b)
{
    return p->nodes[a].up && p->nodes[b].up && !p->cut[a][b];
}

static inline int reach_count(const struct play *p, int a)
{
    int n = 0;

    for (int b = 0; b < NODES; b++) {
        n += can_talk(p, a, b) ? 1 : 0;
    }
    return n;
}

static inline void elect(struct play *p)
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

static inline enum pg_state state_of(const struct play_node *n)
{
    if (n->pg.alive) {
        return PG_STATE_RUNNING;
    }
    return n->op == ACTION_CLONE ? PG_STATE_CREATING_REPLICA : PG_STATE_STOPPED;
}

static inline bool lease_is_live(const struct play *p, const struct play_node *n)
{
    return n->lease_epoch != 0 && p->now_ms < n->lease_until_ms;
}

static inline void fill_status(const struct play *p, int i, struct status *s)
{
    const struct play_node *n = &p->nodes[i];

    *s = (struct status){.id = n->id, .mode = n->mode, .instance = n->instance};
    (void)str_copy(s->name, NAME_SIZE, node_name(n->id));
    s->failover_priority = 1;
    s->sync_priority = 1;
    s->stopping = n->stopping;
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
        s->checkpoint_timeline = n->pg.timeline - (n->pg.checkpoint_due ? 1 : 0);
        s->flushed = n->pg.lsn;
    }
}

static inline int find_primary(const struct play *p)
{
    for (int i = 0; i < NODES; i++) {
        if (p->nodes[i].pg.alive && p->nodes[i].pg.role == PG_ROLE_PRIMARY) {
            return i;
        }
    }
    return -1;
}

static inline bool streams(const struct play *p, int i)
{
    const struct play_node *n = &p->nodes[i];
    int primary = find_primary(p);

    return n->pg.alive && n->pg.role == PG_ROLE_STANDBY && primary >= 0 &&
           can_talk(p, i, primary) && str_equal(n->pg.upstream, node_name(p->nodes[primary].id));
}

static inline void fill_view(struct play *p, int i)
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
                                 .maximum_lag_on_failover = (int64_t)MB,
                                 .primary_start_timeout_ms = 60000,
                                 .fence_margin_ms = 500,
                                 .status_period_ms = 300,
                                 .use_pg_rewind = true,
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
    v->lease.confirmed_ms = v->lease.remaining_ms > 500 ? v->lease.remaining_ms - 500 : 0;
    v->lease.promised_ms = n->promise_instance == n->instance && p->now_ms < n->promise_until_ms
                               ? n->promise_until_ms - p->now_ms
                               : 0;
    v->lease.live_since_ms = v->lease.live ? n->live_since_ms : 0;
    v->lease.wanted_since_ms = v->lease.live ? 0 : n->wanted_since_ms;
    v->pg.postmaster_alive = n->pg.alive;
    v->pg.n_processes = n->pg.alive ? 5 : 0;
    v->pg.seen_ms = p->now_ms;
    v->pg.gone_ms = n->gone_ms;
    v->pg.was_primary = n->pg.data == DATA_VALID && !n->pg.signal;
    v->pg.promoted_checkpoint_due = n->pg.checkpoint_due;
    v->pg.can_rewind = true;
    v->self.diverged_since_ms = n->diverged_since_ms;
    v->pg.control_lsn = n->pg.lsn;
    v->pg.history_due = n->pg.history_due;
    v->pg.history = n->pg.history;
    (void)str_copy(v->pg.upstream, NAME_SIZE, n->pg.upstream);
    v->pg.receives = n->pg.role == PG_ROLE_STANDBY && n->pg.upstream[0] != '\0';
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

static inline void clone_data(struct play *p, int i)
{
    struct play_pg *pg = &p->nodes[i].pg;
    int primary = find_primary(p);

    if (primary < 0 || !can_talk(p, i, primary)) {
        return;
    }
    *pg = p->nodes[primary].pg;
    pg->role = PG_ROLE_STANDBY;
    pg->signal = true;
    pg->checkpoint_due = pg->history_due = false;
    (void)str_copy(pg->upstream, NAME_SIZE, p->nodes[i].op_upstream.name);
    p->n_clones++;
}

/* A clean stop waits for who streams. */
static inline void stop_cleanly(struct play *p, int i)
{
    struct play_pg *pg = &p->nodes[i].pg;

    for (int b = 0; b < NODES && pg->role == PG_ROLE_PRIMARY; b++) {
        if (streams(p, b)) {
            p->nodes[b].pg.lsn = pg->lsn;
        }
    }
    pg->alive = false;
    pg->clean = true;
}

static inline void promote(struct play *p, int i)
{
    struct play_pg *pg = &p->nodes[i].pg;

    pg->role = PG_ROLE_PRIMARY;
    pg->signal = false;
    pg->history_due = true;
    pg->history = (struct store_history){.timeline = pg->timeline, .lsn = pg->lsn};
    pg->timeline++;
    pg->checkpoint_due = true;
    p->n_promotions++;
}

static inline void run_op(struct play *p, int i)
{
    struct play_node *n = &p->nodes[i];
    struct play_pg *pg = &n->pg;
    bool was_alive = pg->alive;

    switch (n->op) {
    case ACTION_BOOTSTRAP:
        *pg = (struct play_pg){
            .data = DATA_VALID, .alive = true, .role = PG_ROLE_PRIMARY, .timeline = 1, .lsn = MB};
        break;
    case ACTION_REWIND:
    case ACTION_CLONE:
        clone_data(p, i);
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
        promote(p, i);
        break;
    case ACTION_FOLLOW:
        (void)str_copy(pg->upstream, NAME_SIZE, n->op_upstream.name);
        break;
    case ACTION_CHECKPOINT:
        pg->checkpoint_due = false;
        break;
    case ACTION_STOP:
        stop_cleanly(p, i);
        break;
    case ACTION_FENCE:
    case ACTION_CLEAN_UP:
        pg->alive = false;
        pg->clean = false;
        break;
    case ACTION_PREPARE:
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

static inline void stream_wal(struct play *p)
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

static inline void propose(struct play *p, int i, const struct command *c)
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

static inline void renew(struct play *p, int i)
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

static inline void act(struct play *p, int i)
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

static inline void check_promises(struct play *p)
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

static inline void exchange_statuses(struct play *p)
{
    for (int a = 0; a < NODES; a++) {
        for (int b = 0; b < NODES; b++) {
            if (a != b && can_talk(p, a, b)) {
                fill_status(p, b, &p->nodes[a].peers[b].status);
                p->nodes[a].peers[b].status.streaming = streams(p, b);
                lookup_note_reach(&p->store, &p->nodes[a].peers[b]);
                p->nodes[a].peers[b].received_ms = p->now_ms;
            }
        }
    }
}

static inline void note_epoch(struct play *p, struct play_node *n)
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

static inline void step(struct play *p)
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
        p->nodes[i].diverged_since_ms = !p->decision.node.diverged ? 0
                                        : p->nodes[i].diverged_since_ms != 0
                                            ? p->nodes[i].diverged_since_ms
                                            : p->now_ms;
        act(p, i);
        check_promises(p);
    }
}

static inline void kill_node(struct play *p, int i)
{
    struct play_node *n = &p->nodes[i];

    n->up = false;
    n->pg.alive = false;
    n->pg.clean = false;
    n->op = n->op_last = ACTION_NONE;
    n->lease_epoch = n->lease_until_ms = 0;
}

static inline void start_node(struct play *p, int i, bool rebooted)
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

static inline struct play *play_new(void)
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
static inline uint64_t play_until(struct play *p, bool (*wish)(const struct play *p),
                                  uint64_t seconds)
{
    uint64_t since = p->now_ms;

    while (!wish(p)) {
        step(p);
        assert_true(p->now_ms < since + SECONDS(seconds));
    }
    return p->now_ms - since;
}

static inline void play_for(struct play *p, uint64_t seconds)
{
    for (uint64_t end = p->now_ms + SECONDS(seconds); p->now_ms < end;) {
        step(p);
    }
}

static inline bool is_primary(const struct play *p, int i)
{
    return p->nodes[i].pg.alive && p->nodes[i].pg.role == PG_ROLE_PRIMARY && p->store.primary.held;
}

static inline bool pg1_leads_and_pg2_streams(const struct play *p)
{
    return p->store.cluster.init == INIT_DONE && is_primary(p, 0) && streams(p, 1) &&
           p->store.progress.lsn != 0;
}

static inline bool pg2_leads_and_pg1_streams(const struct play *p)
{
    return is_primary(p, 1) && streams(p, 0);
}

static inline bool pg2_leads(const struct play *p)
{
    return is_primary(p, 1);
}

static inline bool pg1_leads(const struct play *p)
{
    return is_primary(p, 0);
}

static inline bool somebody_leads_and_the_other_streams(const struct play *p)
{
    return (is_primary(p, 0) && streams(p, 1)) || (is_primary(p, 1) && streams(p, 0));
}

static inline bool nobody_leads(const struct play *p)
{
    return find_primary(p) < 0;
}

static inline bool pg1_has_left(const struct play *p)
{
    return p->nodes[0].exited;
}

static inline bool no_request(const struct play *p)
{
    return p->store.request.id == 0;
}

static inline struct play *play_running(void)
{
    struct play *p = play_new();

    (void)play_until(p, pg1_leads_and_pg2_streams, 20);
    play_for(p, 2);
    return p;
}

static inline void ask(struct play *p, enum request_kind kind, const char *from, const char *to)
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

#endif
