/*
 * Synchronous modes: one step at a time, and against a model in which everything may
 * come late. The model's PostgreSQL has what matters of the real one: the file, what a
 * session has read of it, the flag by which commits wait (only the checkpointer moves
 * it, late), and what each WAL sender has read. Proposals are applied late or never; the
 * agent forgets everything at any moment, PostgreSQL crashes, standbys come and go.
 */
#include <inttypes.h>

#include "base/rng.h"
#include "core/facts.h"
#include "core/sync_rules.h"
#include "core/syncset.h"
#include "test_core_util.h"

enum { STANDBYS = 2, QUEUE = 4 };
#define LEADS \
    (F(CAUGHT_UP) | F(OWNER_ME) | F(LEASE) | F(RUNS_PRIMARY) | F(MAY_WRITE) | F(INIT_DONE))

struct sender {
    bool streams;
    struct sync_wait read; /* What its WAL sender has read. */
    lsn_t flushed;
};

struct model {
    struct scene *s;
    struct rng rng;
    uint64_t now_ms;

    struct sync_wait file;    /* postgresql.conf */
    struct sync_wait session; /* As the observation sees it. */
    bool waits;               /* In force: commits wait. */
    bool gate_closed;
    struct sender senders[STANDBYS];
    uint32_t priorities[STANDBYS];
    lsn_t end;   /* Of WAL, flushed here. */
    lsn_t acked; /* Acknowledged to clients, while a mode was on. */
    lsn_t probe; /* Where our own commit waits; 0 = none does. */

    bool held, released; /* What the agent remembers, */
    lsn_t held_lsn;
    uint64_t risky_revision, gone_since_ms, since_ms;
    struct sync_rests rests;

    struct command queue[QUEUE]; /* Proposals on their way. */
    uint32_t n_queue;
    uint64_t n_named, n_degraded, n_replaced; /* How often, to see that the model gets anywhere. */
};

static const node_id ids[STANDBYS] = {PG2, PG3};

static uint64_t upto(struct model *m, uint64_t max)
{
    return rng_between(&m->rng, 0, max);
}

static bool is_for(const struct sync_wait *w, const char *name)
{
    return w->kind == SYNC_WAIT_NAME && str_equal(w->name, name);
}

/* ---- PostgreSQL ---- */

static void acknowledge(struct model *m, lsn_t to)
{
    if (!m->gate_closed) {
        m->acked = MAX(m->acked, to);
    }
    if (m->probe != 0 && m->probe <= to) {
        m->probe = 0;
        m->released = m->held && m->file.kind == SYNC_WAIT_NAME;
        m->held = m->held && m->file.kind != SYNC_WAIT_FOREVER; /* It should not have. */
    }
}

static void release(struct model *m)
{
    if (!m->waits) {
        acknowledge(m, m->end);
        return;
    }
    for (int i = 0; i < STANDBYS; i++) {
        if (m->senders[i].streams && is_for(&m->senders[i].read, node_name(ids[i]))) {
            acknowledge(m, m->senders[i].flushed);
        }
    }
}

static void checkpointer_reads(struct model *m)
{
    m->waits = m->file.kind == SYNC_WAIT_FOREVER || m->file.kind == SYNC_WAIT_NAME;
}

static void crash(struct model *m)
{
    m->file = m->session = (struct sync_wait){.kind = SYNC_WAIT_FOREVER};
    m->gate_closed = m->s->view.conf.sync_mode != SYNC_OFF;
    m->waits = false; /* Until the checkpointer has started. */
    m->probe = 0;
    m->held = m->released = false;
    for (int i = 0; i < STANDBYS; i++) {
        m->senders[i].streams = false;
    }
}

/* ---- The agent ---- */

static bool is_named(const struct model *m, const char *name)
{
    const struct store_sync *y = &m->s->store.sync;

    return y->n_names == 1 && str_equal(y->names[0], name);
}

static void fill_view(struct model *m)
{
    struct view *v = &m->s->view;
    bool gone = false;

    v->now_ms = m->now_ms;
    v->pg.n_replicas = 0;
    for (int i = 0; i < STANDBYS; i++) {
        const struct sender *from = &m->senders[i];
        struct view_replica *to = &v->pg.replicas[v->pg.n_replicas];

        v->peers[i].received_ms = v->now_ms;
        v->peers[i].status.sync_priority = m->priorities[i];
        if (is_named(m, node_name(ids[i]))) {
            gone = !from->streams;
        }
        if (from->streams) {
            *to = (struct view_replica){.state = "streaming", .flushed = from->flushed};
            (void)str_copy(to->name, NAME_SIZE, node_name(ids[i]));
            to->sync_priority = is_for(&from->read, to->name);
            v->pg.n_replicas++;
        }
    }
    m->gone_since_ms = !gone ? 0 : m->gone_since_ms != 0 ? m->gone_since_ms : m->now_ms;
    v->sync = (struct view_sync){
        .known = m->session.kind == m->file.kind && str_equal(m->session.name, m->file.name),
        .wait = m->session,
        .held = m->held,
        .held_lsn = m->held_lsn,
        .released = m->released,
        .gate_closed = m->gate_closed,
        .gone_since_ms = m->gone_since_ms,
        .since_ms = m->since_ms,
        .rests = m->rests,
        .risky_revision = m->risky_revision,
    };
}

/* As pg/pg_sync.c: what is remembered belongs to what the file has said since. */
static void write_file(struct model *m, const struct sync_wait *wait)
{
    if (wait->kind == SYNC_WAIT_KEEP) {
        return;
    }
    m->held = m->held && m->file.kind == SYNC_WAIT_FOREVER && wait->kind == SYNC_WAIT_NAME;
    m->released = false;
    m->file = *wait;
    if (wait->kind == SYNC_WAIT_USER) {
        m->file.kind = SYNC_WAIT_NOBODY;
    }
}

static void start_probe(struct model *m)
{
    if (m->probe == 0) {
        m->end += 8;
        m->probe = m->end;
        release(m); /* At once, if nothing waits. */
    }
}

/* A WAL sender that streams and still lets commits go. */
static bool any_releases(const struct model *m)
{
    bool any = false;

    for (int i = 0; i < STANDBYS; i++) {
        any = any || (m->senders[i].streams && is_for(&m->senders[i].read, node_name(ids[i])));
    }
    return any;
}

static void look(struct model *m)
{
    m->session = m->file;
    if (m->probe != 0 && m->session.kind == SYNC_WAIT_FOREVER && !m->held && !any_releases(m)) {
        m->held = true;
        m->held_lsn = m->end;
    }
}

static void decide_now(struct model *m)
{
    struct view *v = &m->s->view;
    struct decision *d = &m->s->decision;

    fill_view(m);
    memset(d, 0, offsetof(struct decision, commands));
    sync_rules_decide(v, LEADS, d);
    sync_rules_remember(v, &d->sync, &m->rests);
    m->since_ms = !d->sync.tightens ? 0 : m->since_ms != 0 ? m->since_ms : m->now_ms;
    write_file(m, &d->sync.wait);
    if (d->sync.probe) {
        start_probe(m);
    }
    if (d->sync.gate_open) {
        m->gate_closed = false;
    }
    for (uint32_t i = 0; i < d->n_commands; i++) {
        if (d->commands[i].sync_set.n_names > 0) {
            m->risky_revision = MAX(m->risky_revision, v->store->sync.revision);
        }
        if (m->n_queue < QUEUE) {
            m->queue[m->n_queue++] = d->commands[i];
        }
    }
}

static void agent_restarts(struct model *m)
{
    m->held = m->released = false;
    m->gone_since_ms = m->since_ms = 0;
    memset(&m->rests, 0, sizeof(m->rests));
    m->risky_revision = m->s->store.sync.revision;
}

/* ---- The log ---- */

static void settle_proposal(struct model *m)
{
    uint32_t at = (uint32_t)upto(m, m->n_queue - 1);
    struct command c = m->queue[at];
    unsigned changes;

    m->queue[at] = m->queue[--m->n_queue];
    if (upto(m, 3) != 0 && store_apply(&m->s->store, ++m->s->index, &c, &changes) == APPLY_DONE) {
        m->n_named += c.sync_set.n_names;
        m->n_degraded += str_equal(c.sync_set.rule, "sync-degrade");
        m->n_replaced += str_equal(c.sync_set.rule, "sync-replace");
    }
}

/* ---- What holds at every moment ---- */

static void check(const struct model *m)
{
    const struct store *s = &m->s->store;
    lsn_t most = 0;

    for (int i = 0; i < STANDBYS; i++) {
        most = MAX(most, m->senders[i].flushed);
        if (s->sync.primary[0] != '\0' && store_sync_allows(s, node_name(ids[i])) &&
            m->senders[i].flushed < m->acked) {
            fail_msg("%s may lead and lacks what was acknowledged", node_name(ids[i]));
        }
    }
    if (m->s->view.conf.sync_mode == SYNC_STRICT && m->acked > most) {
        fail_msg("acknowledged, and no standby has it");
    }
}

static void step_standby(struct model *m)
{
    struct sender *w = &m->senders[upto(m, STANDBYS - 1)];
    lsn_t more = upto(m, 256);

    switch (upto(m, 29)) {
    case 0:
        w->streams = false;
        break;
    case 1:
    case 2:
        if (!w->streams) {
            w->streams = true;
            w->read = m->file; /* A new process. */
        }
        break;
    case 3:
    case 4:
    case 5:
        w->read = m->file;
        break;
    default:
        if (w->streams) {
            w->flushed = MIN(m->end, w->flushed + more);
        }
        break;
    }
}

static void step(struct model *m)
{
    uint64_t chance = upto(m, 999);

    m->now_ms += upto(m, 200);
    if (chance < 2) {
        crash(m);
    } else if (chance < 6) {
        agent_restarts(m);
    } else if (chance < 250) {
        decide_now(m);
    } else if (chance < 400) {
        look(m);
    } else if (chance < 430) {
        checkpointer_reads(m);
    } else if (chance < 500 && m->n_queue > 0) {
        settle_proposal(m);
    } else if (chance < 502) {
        m->priorities[upto(m, STANDBYS - 1)] = 1 + (uint32_t)upto(m, 2);
        m->s->view.conf.maximum_lag_on_syncnode = (int64_t)upto(m, 3) * 200 - 200;
    } else if (chance < 650 && !m->gate_closed) {
        m->end += 8; /* A client's commit. */
    } else {
        step_standby(m);
    }
    release(m);
    check(m);
}

static void lead_with(struct scene *s, const char *name);

static struct model *model_new(uint64_t seed, enum sync_mode mode)
{
    struct model *m = xmalloc(sizeof(*m));

    m->s = scene_new();
    rng_seed(&m->rng, seed);
    m->now_ms = TEST_NOW;
    scene_add_member(m->s, PG3, MODE_POSTGRES);
    scene_take(m->s, PG1, 101);
    scene_give_lease(m->s);
    m->s->view.conf.sync_mode = mode;
    m->s->view.n_peers = STANDBYS;
    m->s->view.peers[1] = m->s->view.peers[0];
    m->s->view.peers[1].status = status_make(PG3, MODE_POSTGRES);
    m->end = 1000;
    for (int i = 0; i < STANDBYS; i++) {
        m->priorities[i] = 1;
        m->senders[i].flushed = 1000;
    }
    lead_with(m->s, NULL);
    crash(m); /* It starts. */
    return m;
}

static void model_free(struct model *m)
{
    free(m->s);
    free(m);
}

/* With everything in order for a while the store names a standby, and clients get on. */
static void check_that_it_settles(struct model *m)
{
    lsn_t before;

    for (int i = 0; i < 3000; i++) {
        m->now_ms += 50;
        decide_now(m);
        checkpointer_reads(m);
        while (m->n_queue > 0) {
            settle_proposal(m);
        }
        for (int k = 0; k < STANDBYS; k++) {
            m->senders[k] = (struct sender){true, m->file, m->end};
        }
        look(m);
        release(m);
        check(m);
    }
    before = m->acked;
    m->end += 8;
    for (int k = 0; k < STANDBYS; k++) {
        m->senders[k].flushed = m->end;
    }
    release(m);
    assert_true(m->acked > before);
    assert_int_equal(m->s->store.sync.n_names, 1);
}

static void whoever_may_lead_has_all_that_was_acknowledged(void **state)
{
    /* Thousands of steps in any order, then peace. */
    uint64_t n_named = 0, n_degraded = 0, n_replaced = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 800; seed++) {
        struct model *m = model_new(seed, seed % 2 == 0 ? SYNC_ON : SYNC_STRICT);

        for (int i = 0; i < 4000; i++) {
            step(m);
        }
        check_that_it_settles(m);
        n_named += m->n_named;
        n_degraded += m->n_degraded;
        n_replaced += m->n_replaced;
        model_free(m);
    }
    print_message("named %" PRIu64 ", degraded %" PRIu64 ", replaced %" PRIu64 "\n", n_named,
                  n_degraded, n_replaced);
    assert_true(n_named > 4000 && n_degraded > 1000 && n_replaced > 1000); /* It gets anywhere. */
}

/* ---- One step at a time ---- */

/* The store says that pg1 leads, with that standby. */
static void lead_with(struct scene *s, const char *name)
{
    struct command c = {.kind = COMMAND_SYNC_SET};

    c.sync_set.expect_epoch = s->store.primary.epoch;
    c.sync_set.expect_sync_revision = s->store.sync.revision;
    (void)str_copy(c.sync_set.primary, NAME_SIZE, "pg1");
    if (name != NULL) {
        c.sync_set.n_names = 1;
        (void)str_copy(c.sync_set.names[0], NAME_SIZE, name);
    }
    scene_apply(s, &c);
}

/* pg1 leads in mode `on`, pg2 streams, commits wait for nobody. */
static struct scene *leading(void)
{
    struct scene *s = scene_new();

    scene_take(s, PG1, 101);
    scene_give_lease(s);
    lead_with(s, NULL);
    s->view.conf.sync_mode = SYNC_ON;
    s->view.sync = (struct view_sync){.known = true, .wait.kind = SYNC_WAIT_NOBODY};
    s->view.pg.n_replicas = 1;
    s->view.pg.replicas[0] =
        (struct view_replica){.name = "pg2", .state = "streaming", .flushed = 500};
    return s;
}

static const struct sync_decision *decided(struct scene *s)
{
    memset(&s->decision, 0, offsetof(struct decision, commands));
    sync_rules_decide(&s->view, LEADS, &s->decision);
    return &s->decision.sync;
}

static const struct command_sync_set *proposed(struct scene *s)
{
    (void)decided(s);
    assert_int_equal(s->decision.n_commands, 1);
    assert_int_equal(s->decision.commands[0].kind, COMMAND_SYNC_SET);
    return &s->decision.commands[0].sync_set;
}

static void restoring_proves_before_it_names(void **state)
{
    /* pg2 is back: hold, see a commit wait, admit pg2, see it released; then the store. */
    struct scene *s = leading();
    struct view_sync *y = &s->view.sync;

    (void)state;
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_FOREVER);
    assert_false(decided(s)->probe);
    y->wait.kind = SYNC_WAIT_FOREVER;
    assert_true(decided(s)->probe && decided(s)->wait.kind == SYNC_WAIT_KEEP);
    y->held = true;
    y->held_lsn = 600;
    assert_true(decided(s)->wait.kind == SYNC_WAIT_NAME);
    assert_string_equal(decided(s)->wait.name, "pg2");
    y->wait = decided(s)->wait;
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    y->released = true;
    s->view.pg.replicas[0].sync_priority = 1;
    assert_int_equal((decided(s), s->decision.n_commands), 0); /* It has not got that far. */
    s->view.pg.replicas[0].flushed = 600;
    assert_string_equal(proposed(s)->rule, "sync-restore");
    assert_string_equal(proposed(s)->names[0], "pg2");
    s->view.pg.n_replicas = 2; /* Another sender that has not read the setting. */
    s->view.pg.replicas[1] =
        (struct view_replica){.name = "pg3", .state = "streaming", .sync_priority = 1};
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    free(s);
}

static void degrading_tells_the_store_first(void **state)
{
    /* pg2 is named and gone: after a second the store, then PostgreSQL; strict never. */
    struct scene *s = leading();
    struct view_sync *y = &s->view.sync;

    (void)state;
    lead_with(s, "pg2");
    y->wait = (struct sync_wait){SYNC_WAIT_NAME, "pg2"};
    s->view.pg.n_replicas = 0;
    y->gone_since_ms = TEST_NOW - 999;
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_KEEP);
    y->gone_since_ms = TEST_NOW - 1000;
    assert_string_equal(proposed(s)->rule, "sync-degrade");
    assert_string_equal(proposed(s)->primary, "pg1");
    assert_int_equal(proposed(s)->n_names, 0);
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_KEEP);
    s->view.conf.sync_mode = SYNC_STRICT;
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    s->view.conf.sync_mode = SYNC_ON;
    lead_with(s, NULL);
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_NOBODY);
    y->risky_revision = s->store.sync.revision; /* A name may be on its way. */
    assert_string_equal(proposed(s)->rule, "sync-refresh");
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_KEEP);
    free(s);
}

static void clients_wait_outside_until_it_is_proven(void **state)
{
    /* pg1 starts again with pg2 named; then strict without anybody. */
    struct scene *s = leading();
    struct view_sync *y = &s->view.sync;

    (void)state;
    lead_with(s, "pg2");
    y->gate_closed = true;
    y->wait.kind = SYNC_WAIT_FOREVER;
    assert_true(decided(s)->probe && !decided(s)->gate_open);
    y->wait = (struct sync_wait){SYNC_WAIT_NAME, "pg2"};
    y->held = y->released = true;
    s->view.pg.replicas[0].sync_priority = 1;
    assert_true(decided(s)->gate_open);
    s->view.pg.n_replicas = 0;
    assert_false(decided(s)->gate_open);
    lead_with(s, NULL);
    assert_true(decided(s)->gate_open); /* Nobody else may lead: they may see everything. */
    s->view.conf.sync_mode = SYNC_STRICT;
    *y = (struct view_sync){.known = true, .gate_closed = true, .wait.kind = SYNC_WAIT_FOREVER};
    assert_true(decided(s)->probe && !decided(s)->gate_open);
    y->held = true;
    assert_true(decided(s)->gate_open && !decided(s)->probe);
    free(s);
}

static void who_can_not_be_told_apart_or_may_not_is_not_synchronous(void **state)
{
    /* pg2 with one thing wrong at a time. */
    struct scene *s = leading();

    (void)state;
    s->store.members[1].nosync = true;
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_KEEP);
    s->store.members[1].nosync = false;
    s->view.pg.replicas[1] = (struct view_replica){.name = "PG2", .state = "streaming"};
    s->view.pg.n_replicas = 2;
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_KEEP);
    s->view.pg.n_replicas = 1;
    (void)str_copy(s->view.pg.replicas[0].state, NAME_SIZE, "catchup");
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_KEEP);
    (void)str_copy(s->view.pg.replicas[0].state, NAME_SIZE, "streaming");
    s->view.peers[0].received_ms = TEST_NOW - 60000;
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_KEEP);
    s->view.peers[0].received_ms = TEST_NOW;
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_FOREVER);
    free(s);
}

/* pg1 leads in mode `on`, pg2 is its standby, pg3 streams too. */
static struct scene *leading_two(void)
{
    struct scene *s = leading();

    scene_add_member(s, PG3, MODE_POSTGRES);
    lead_with(s, "pg2");
    s->view.n_peers = 2;
    s->view.peers[1] = s->view.peers[0];
    s->view.peers[0].status = status_make(PG2, MODE_POSTGRES);
    s->view.peers[1].status = status_make(PG3, MODE_POSTGRES);
    s->view.sync.wait = (struct sync_wait){SYNC_WAIT_NAME, "pg2"};
    s->view.pg.n_replicas = 2;
    s->view.pg.replicas[1] =
        (struct view_replica){.name = "pg3", .state = "streaming", .flushed = 500};
    return s;
}

static void who_lags_too_far_is_replaced(void **state)
{
    /* pg2 has 500, pg3 600, then 601: the bound is 100. */
    struct scene *s = leading_two();

    (void)state;
    s->view.conf.maximum_lag_on_syncnode = 100;
    s->view.pg.replicas[1].flushed = 600;
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    s->view.pg.replicas[1].flushed = 601;
    assert_string_equal(proposed(s)->rule, "sync-replace");
    assert_int_equal(proposed(s)->n_names, 0);
    assert_non_null(
        strstr(proposed(s)->evidence, "pg2 is 101 bytes behind, maximum_lag_on_syncnode is 100"));
    s->view.conf.maximum_lag_on_syncnode = -1; /* No bound. */
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    s->view.conf.maximum_lag_on_syncnode = 0;
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    free(s);
}

static void begin_restart(struct scene *s, const char *name)
{
    s->store.n_orders = 1;
    s->store.orders[0] = (struct store_order){.id = 3, .kind = REQUEST_RESTART};
    (void)str_copy(s->store.orders[0].member, NAME_SIZE, name);
}

static void who_is_to_restart_is_replaced_before_it_does(void **state)
{
    struct scene *s = leading_two();

    (void)state;
    begin_restart(s, "pg2");
    assert_int_equal((decided(s), s->decision.n_commands), 0); /* It may come to nothing. */
    s->store.orders[0].begun = true;
    assert_string_equal(proposed(s)->rule, "sync-replace");
    assert_int_equal(proposed(s)->n_names, 0);
    assert_non_null(strstr(proposed(s)->evidence, "restart of pg2"));
    s->view.pg.n_replicas = 1; /* Only pg2: nobody is there meanwhile. */
    assert_string_equal(proposed(s)->rule, "sync-degrade");
    s->view.conf.sync_mode = SYNC_STRICT;
    assert_int_equal((decided(s), s->decision.n_commands), 0);

    s->view.conf.sync_mode = SYNC_ON;
    lead_with(s, NULL); /* It streams still, and is not taken again. */
    s->view.sync.wait.kind = SYNC_WAIT_NOBODY;
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_KEEP);
    s->store.orders[0].ended = true;
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_FOREVER);
    begin_restart(s, "pg3");
    s->store.orders[0].begun = true; /* Of somebody else. */
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_FOREVER);
    free(s);
}

/* A node that is shut down cleanly must not hold up commits for loop_wait. */
static void who_says_that_it_stopped_is_not_waited_for(void **state)
{
    struct scene *s = leading_two();

    (void)state;
    s->view.conf.loop_wait_ms = 10000;
    s->view.conf.ttl_ms = 30000;
    s->view.peers[0].status.pg_state = PG_STATE_STOPPING;
    assert_int_equal((decided(s), s->decision.n_commands), 0); /* It streams to the last byte. */
    s->view.sync.gone_since_ms = TEST_NOW - 1;
    s->view.pg.replicas[0].state[0] = '\0';
    assert_string_equal(proposed(s)->rule, "sync-replace");
    s->view.peers[0].status.pg_state = PG_STATE_STOPPED;
    assert_string_equal(proposed(s)->rule, "sync-replace");
    s->view.peers[0].status.pg_state = PG_STATE_CRASHED;
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    s->view.peers[0].status.pg_state = PG_STATE_RUNNING; /* Its connection alone is gone. */
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    s->view.sync.gone_since_ms = TEST_NOW - 10000;
    assert_string_equal(proposed(s)->rule, "sync-replace");
    free(s);
}

static void a_single_standby_is_measured_by_the_primary(void **state)
{
    /* pg2 alone, 101 bytes behind pg1: on goes on alone, strict waits for it. */
    struct scene *s = leading_two();

    (void)state;
    s->view.conf.maximum_lag_on_syncnode = 100;
    s->view.pg.n_replicas = 1;
    s->view.self.status.flushed = 600;
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    s->view.self.status.flushed = 601;
    assert_string_equal(proposed(s)->rule, "sync-degrade");
    s->view.conf.sync_mode = SYNC_STRICT;
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_KEEP);
    s->view.sync.gate_closed = true; /* pg1 starts: pg2 can let clients in nevertheless. */
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_FOREVER);
    s->view.sync.gate_closed = false;
    lead_with(s, NULL); /* Nobody is named: not this one, it holds. */
    s->view.sync.wait.kind = SYNC_WAIT_NOBODY;
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_FOREVER);
    s->view.sync.wait.kind = SYNC_WAIT_FOREVER;
    s->view.sync.held = true;
    s->view.sync.held_lsn = 600;
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_KEEP);
    s->view.pg.replicas[0].flushed = 501;
    assert_string_equal(decided(s)->wait.name, "pg2");
    free(s);
}

static void the_largest_sync_priority_is_the_standby(void **state)
{
    /* pg3 has priority 2, pg2 has 1 and is there. */
    struct scene *s = leading_two();

    (void)state;
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    s->view.peers[1].status.sync_priority = 2;
    assert_string_equal(proposed(s)->rule, "sync-replace");
    assert_non_null(
        strstr(proposed(s)->evidence, "pg3 has sync_priority 2; pg2 has sync_priority 1"));
    s->view.conf.sync_mode = SYNC_STRICT;
    assert_string_equal(proposed(s)->rule, "sync-replace");
    s->view.conf.sync_mode = SYNC_ON;
    assert_string_equal(s->store.members[2].name, "pg3");
    s->store.members[2].nofailover = true; /* Who can not lead comes last. */
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    s->store.members[2].nofailover = false;
    s->view.sync.rests.items[3] = (struct sync_rest){"pg3", 1, TEST_NOW + 1};
    assert_int_equal((decided(s), s->decision.n_commands), 0); /* What works stays. */
    s->view.sync.rests.items[3].until_ms = TEST_NOW;
    assert_int_equal((decided(s), s->decision.n_commands), 1);
    s->view.peers[1].received_ms = TEST_NOW - 60000;
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    s->view.peers[1].received_ms = TEST_NOW;
    s->view.peers[0].received_ms = TEST_NOW - 60000; /* What pg2 has now is not known. */
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    s->view.peers[0].received_ms = TEST_NOW;
    assert_int_equal((decided(s), s->decision.n_commands), 1);
    lead_with(s, NULL); /* Chosen anew: by priority, though pg2 has more. */
    s->view.sync.wait.kind = SYNC_WAIT_FOREVER;
    s->view.sync.held = true;
    s->view.pg.replicas[0].flushed = 600;
    assert_string_equal(decided(s)->wait.name, "pg3");
    s->view.peers[0].status.sync_priority = 2;
    assert_string_equal(decided(s)->wait.name, "pg2");
    free(s);
}

static void writes_do_not_stand_still_for_long_in_mode_on(void **state)
{
    /* pg2 streams and never gets there. */
    struct scene *s = leading();
    struct view_sync *y = &s->view.sync;

    (void)state;
    y->wait = (struct sync_wait){SYNC_WAIT_NAME, "pg2"};
    y->held = true;
    y->since_ms = TEST_NOW - 10000;
    assert_string_equal(decided(s)->gave_up_on, "pg2");
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_NOBODY);
    s->view.conf.sync_mode = SYNC_STRICT;
    assert_string_equal(decided(s)->gave_up_on, "");
    s->view.conf.sync_mode = SYNC_ON;
    y->since_ms = 0;
    y->wait.kind = SYNC_WAIT_NOBODY;
    y->rests.items[0] = (struct sync_rest){"pg2", 1, TEST_NOW + 1};
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_KEEP);
    free(s);
}

static void who_never_gets_there_is_passed_over(void **state)
{
    /* pg3 comes first by sync_priority, streams, and is tried for ten seconds. */
    struct scene *s = leading_two();
    struct view_sync *y = &s->view.sync;

    (void)state;
    s->view.peers[1].status.sync_priority = 2;
    lead_with(s, NULL);
    y->wait = (struct sync_wait){SYNC_WAIT_NAME, "pg3"};
    y->held = true;
    y->since_ms = TEST_NOW - 9999;
    assert_string_equal(decided(s)->gave_up_on, "");
    for (int strict = 0; strict < 2; strict++) {
        s->view.conf.sync_mode = strict ? SYNC_STRICT : SYNC_ON;
        y->since_ms = TEST_NOW - 10000;
        memset(&y->rests, 0, sizeof(y->rests));
        assert_string_equal(decided(s)->gave_up_on, "pg3");
        sync_rules_remember(&s->view, &s->decision.sync, &y->rests);
        y->since_ms = 0;
        assert_true(decided(s)->tightens); /* pg2 at once, */
        assert_int_equal(s->decision.sync.wait.kind, SYNC_WAIT_FOREVER);
        y->wait = (struct sync_wait){.kind = SYNC_WAIT_FOREVER};
        assert_string_equal(decided(s)->wait.name, "pg2");
        y->wait = (struct sync_wait){SYNC_WAIT_NAME, "pg3"};
    }
    lead_with(s, "pg2"); /* and it stays until pg3 has rested. */
    y->wait = (struct sync_wait){SYNC_WAIT_NAME, "pg2"};
    s->view.now_ms += 29999;
    s->view.peers[0].received_ms = s->view.peers[1].received_ms = s->view.now_ms;
    s->decision.wake_ms = UINT64_MAX;
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    assert_true(s->decision.wake_ms == s->view.now_ms + 1);
    s->view.now_ms++;
    assert_string_equal(proposed(s)->rule, "sync-replace");
    free(s);
}

static void the_rest_grows_until_it_is_synchronous(void **state)
{
    static const uint64_t rests_s[] = {30, 60, 120, 240, 240};
    struct scene *s = leading_two();
    struct sync_decision d = {.gave_up_on = "pg3"};
    struct sync_rests rests = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rests_s); i++) {
        sync_rules_remember(&s->view, &d, &rests);
        assert_string_equal(rests.items[0].name, "pg3");
        assert_true(rests.items[0].until_ms == s->view.now_ms + SECONDS(rests_s[i]));
    }
    d.gave_up_on[0] = '\0';
    sync_rules_remember(&s->view, &d, &rests); /* pg2 is. */
    assert_int_equal(rests.items[0].n_failures, 5);
    lead_with(s, "pg3");
    s->view.sync.gate_closed = true; /* Of the server before. */
    sync_rules_remember(&s->view, &d, &rests);
    assert_int_equal(rests.items[0].n_failures, 5);
    s->view.sync.gate_closed = false;
    sync_rules_remember(&s->view, &d, &rests);
    assert_string_equal(rests.items[0].name, "");
    assert_int_equal(rests.items[0].n_failures, 0);

    for (int i = 0; i <= MEMBERS_MAX; i++) { /* Members come and go. */
        (void)snprintf(d.gave_up_on, sizeof(d.gave_up_on), "m%d", i);
        s->view.now_ms++;
        sync_rules_remember(&s->view, &d, &rests);
    }
    assert_string_equal(rests.items[0].name, d.gave_up_on);
    assert_int_equal(rests.items[0].n_failures, 1);
    assert_string_equal(rests.items[1].name, "m1");
    free(s);
}

static void without_a_mode_nothing_is_done(void **state)
{
    /* Off; off after it was on; a standby in both. */
    struct scene *s = leading();

    (void)state;
    s->view.conf.sync_mode = SYNC_OFF;
    assert_string_equal(proposed(s)->rule, "sync-off");
    assert_string_equal(proposed(s)->primary, "");
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_KEEP);
    memset(&s->store.sync, 0, sizeof(s->store.sync));
    assert_int_equal((decided(s), s->decision.n_commands), 0);
    assert_int_equal(decided(s)->wait.kind, SYNC_WAIT_USER);
    memset(&s->decision, 0, offsetof(struct decision, commands));
    sync_rules_decide(&s->view, F(CAUGHT_UP) | F(RUNS_STANDBY), &s->decision);
    assert_int_equal(s->decision.sync.wait.kind, SYNC_WAIT_USER);
    s->view.conf.sync_mode = SYNC_ON;
    sync_rules_decide(&s->view, F(CAUGHT_UP) | F(RUNS_STANDBY), &s->decision);
    assert_int_equal(s->decision.sync.wait.kind, SYNC_WAIT_FOREVER);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(restoring_proves_before_it_names),
        cmocka_unit_test(degrading_tells_the_store_first),
        cmocka_unit_test(clients_wait_outside_until_it_is_proven),
        cmocka_unit_test(who_can_not_be_told_apart_or_may_not_is_not_synchronous),
        cmocka_unit_test(who_lags_too_far_is_replaced),
        cmocka_unit_test(who_is_to_restart_is_replaced_before_it_does),
        cmocka_unit_test(who_says_that_it_stopped_is_not_waited_for),
        cmocka_unit_test(a_single_standby_is_measured_by_the_primary),
        cmocka_unit_test(the_largest_sync_priority_is_the_standby),
        cmocka_unit_test(writes_do_not_stand_still_for_long_in_mode_on),
        cmocka_unit_test(who_never_gets_there_is_passed_over),
        cmocka_unit_test(the_rest_grows_until_it_is_synchronous),
        cmocka_unit_test(without_a_mode_nothing_is_done),
        cmocka_unit_test(whoever_may_lead_has_all_that_was_acknowledged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
