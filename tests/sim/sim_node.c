/*
 * A node's life (boot, start, crash) and its tick, which is the one of
 * src/agent/tick.c with models around it.
 */
#include "sim_node.h"

#include <stdlib.h>

#include "base/str.h"
#include "checks.h"
#include "trace.h"

#define TICK_SPACING_US (2 * SIM_MS) /* A loop's turn takes a while. */

static void on_start(struct sim *s, const struct sim_event *e);
static void on_tick(struct sim *s, const struct sim_event *e);

/* ---- Life ---- */

struct sim_node *sim_node_add(struct sim *s, enum node_mode mode)
{
    struct sim_node *n = xmalloc(sizeof(*n));

    ASSERT(s->n_nodes < SIM_NODES_MAX);
    n->i = s->n_nodes;
    n->id = sim_first_id(n->i);
    n->mode = mode;
    (void)snprintf(n->name, sizeof(n->name), "%s%d", mode == MODE_WITNESS ? "w" : "pg", n->i + 1);
    n->agent = xmalloc(sizeof(*n->agent));
    sim_pg_create(&n->pg);
    s->nodes[s->n_nodes++] = n;
    return n;
}

void sim_node_free(struct sim_node *n)
{
    sim_pg_forget_held(n);
    free(n->held.events);
    free(n->agent);
    free(n);
}

void sim_node_boot(struct sim *s, struct sim_node *n)
{
    ASSERT(!n->is_up && !n->guard.is_up);
    for (size_t i = 0; i < sizeof(n->boot_id); i++) {
        n->boot_id[i] = (uint8_t)sim_between(s, 0, 255);
    }
    n->instance = 0;
    memset(n->promise, 0, sizeof(n->promise));
    sim_clock_set(s, &n->raw_clock, sim_between(s, 3, 3000) * SIM_S * 1000, 0);
    n->boot_clock = n->raw_clock;
    n->raw_clock.ppm = (int64_t)sim_between(s, 0, 4000) - 2000;
    n->boot_clock.ppm = (int64_t)sim_between(s, 0, 4000) - 2000;
    n->wall_offset_us = (int64_t)sim_between(s, 0, 2 * SIM_S) - (int64_t)SIM_S;
    n->pg.gone_ms = 0;
    n->pg.seen_ms = 0;
    check_s1_boot(s, n);
}

void sim_node_start_after(struct sim *s, struct sim_node *n, uint64_t after_us)
{
    sim_after(
        s, after_us,
        &(struct sim_event){.fn = on_start, .node = n->i, .from = SIM_NOBODY, .number = n->life});
}

static void on_status_timer(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];

    node_tell_status(s, n);
    sim_timer(s, n, node_status_period_ms(n) * SIM_MS,
              &(struct sim_event){
                  .fn = on_status_timer, .node = n->i, .from = SIM_NOBODY, .life = n->life});
}

static void on_observe_timer(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];

    sim_pg_observe(s, n);
    sim_node_dirty(s, n);
    sim_timer(s, n, sim_between(s, 200, 400) * SIM_MS,
              &(struct sim_event){
                  .fn = on_observe_timer, .node = n->i, .from = SIM_NOBODY, .life = n->life});
}

static void begin_timers(struct sim *s, struct sim_node *n)
{
    struct sim_event e = {.node = n->i, .from = SIM_NOBODY, .life = n->life};

    e.fn = on_status_timer;
    sim_after(s, SIM_MS, &e);
    e.fn = on_observe_timer;
    sim_after(s, sim_between(s, 5, 50) * SIM_MS, &e);
}

static void on_start(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    struct sim_agent *a = n->agent;

    if (n->is_up || n->life != e->number) {
        return;
    }
    s->stats.restarts += n->life > 0 && n->instance != 0 ? 1 : 0;
    n->life++;
    n->is_up = true;
    n->agent_paused_until_us = 0; /* It is another process. */
    memset(a, 0, sizeof(*a));
    store_init(&a->store);
    a->started_ms = sim_local_ms(s, n);
    a->ttl_ms = s->ttl_ms;
    a->leadership.leader = SIM_NOBODY;
    if (n->instance == 0) {
        n->instance = rng_next(&s->rng) | 1;
    }
    memset(&n->pg.seen, 0, sizeof(n->pg.seen));
    TRACE(s, n, "agent starts, instance %llx", (unsigned long long)n->instance);
    if (n->mode == MODE_POSTGRES) {
        node_guard_attach(s, n);
    } else {
        node_begin(s, n, &(struct sim_word){.kind = GUARD_STATE});
    }
}

void node_begin(struct sim *s, struct sim_node *n, const struct sim_word *state)
{
    if (n->agent->begun) {
        return; /* It is another guard, not another agent. */
    }
    n->agent->begun = true;
    node_lease_init(s, n, state);
    mutate_start(s, n);
    s->log_kind->start(s, n);
    sim_node_on_leadership(s, n);
    begin_timers(s, n);
    sim_node_dirty(s, n);
}

void sim_node_kill_agent(struct sim *s, struct sim_node *n)
{
    if (!n->is_up) {
        return;
    }
    n->is_up = false;
    s->stats.interrupted += n->agent->ops.main.action != ACTION_NONE ? 1 : 0;
    s->log_kind->stop(s, n);
}

void sim_node_crash(struct sim *s, struct sim_node *n)
{
    sim_node_kill_agent(s, n);
    n->paused_until_us = 0;
    n->agent_paused_until_us = 0;
    n->guard.is_up = false;
    n->guard.paused_until_us = 0;
    if (n->mode == MODE_POSTGRES) {
        sim_pg_kill(s, n);
    }
}

void sim_node_lose(struct sim *s, struct sim_node *n)
{
    ASSERT(!n->is_up && s->log_kind->lose != NULL);
    s->log_kind->lose(s, n);
    s->stats.disks_lost++;
    n->lost_id = n->id;
    if (s->options.mutant != MUTANT_KEEPS_ID) {
        n->id = sim_next_id(n->id);
    }
    if (sim_chance(s, 300)) {
        n->longest_grant_ns = 0; /* The identity file with it. */
    }
}

void sim_node_terminate(struct sim *s, struct sim_node *n)
{
    if (n->is_up && n->agent->stopping_since_ms == 0) {
        n->agent->stopping_since_ms = sim_local_ms(s, n);
        sim_node_dirty(s, n);
    }
}

/* ---- The tick ---- */

static void tick_after(struct sim *s, struct sim_node *n, uint64_t local_us)
{
    struct sim_agent *a = n->agent;
    uint64_t at_us = s->now_us + MAX(sim_true_us(n, local_us), 1);

    if (a->tick_at_us > s->now_us && a->tick_at_us <= at_us) {
        return;
    }
    a->tick_at_us = at_us;
    sim_after(s, at_us - s->now_us,
              &(struct sim_event){.fn = on_tick,
                                  .node = n->i,
                                  .from = SIM_NOBODY,
                                  .life = n->life,
                                  .number = a->tick_at_us});
}

void sim_node_dirty(struct sim *s, struct sim_node *n)
{
    if (n->agent->begun) {
        tick_after(s, n, TICK_SPACING_US);
    }
}

static void trace_decision(struct sim *s, struct sim_node *n, const struct decision *d)
{
    struct sim_agent *a = n->agent;

    if (d->node.rule != a->last_node_rule && n->mode == MODE_POSTGRES) {
        TRACE(s, n, "node rule %s: %s", d->node.rule, d->node.evidence);
    }
    if (d->cluster.rule != a->last_cluster_rule) {
        TRACE(s, n, "cluster rule %s: %s", d->cluster.rule, d->cluster.evidence);
    }
    a->last_node_rule = d->node.rule;
    a->last_cluster_rule = d->cluster.rule;
}

void sim_node_config(char config[CONFIG_SIZE], uint64_t ttl_ms, bool paused)
{
    (void)snprintf(config, CONFIG_SIZE, "{\"ttl_ms\": %u, \"pause\": %u}", (unsigned)ttl_ms,
                   paused ? 1 : 0);
}

/* The dynamic configuration comes from the first node that is up to date. */
static void seed_config(struct sim *s, struct sim_node *n, struct command *c)
{
    struct sim_agent *a = n->agent;

    if (a->store.config_revision != 0 || a->store.cluster.id == 0 || !a->caught_up) {
        return;
    }
    c->kind = COMMAND_CONFIG_SET;
    c->config_set.expect_revision = 0;
    sim_node_config(c->config_set.config, s->ttl_ms, false);
    sim_node_propose(s, n, c, 0);
}

static void propose_all(struct sim *s, struct sim_node *n, struct decision *d)
{
    struct sim_agent *a = n->agent;

    for (uint32_t i = 0; i < d->n_commands; i++) {
        enum command_kind kind = d->commands[i].kind;

        if (a->pending[kind] != 0 && s->now_us < a->pending_us[kind] + 5 * SIM_S) {
            continue;
        }
        if (a->leadership.leader == SIM_NOBODY && !a->leadership.is_leader) {
            continue;
        }
        if (kind == COMMAND_EPOCH_UNFENCED && !d->commands[i].epoch_unfenced.unfenced) {
            a->fresh_mark = 0;
        }
        a->pending[kind] = rng_next(&s->rng) | 1;
        a->pending_us[kind] = s->now_us;
        a->view.proposed_ms[kind] = a->view.now_ms;
        sim_node_propose(s, n, &d->commands[i], a->pending[kind]);
    }
}

static void act(struct sim *s, struct sim_node *n, struct decision *d)
{
    if (n->mode == MODE_POSTGRES) {
        sim_ops_reconcile(s, n, &d->node);
    }
    node_lease_tick(s, n, d);
    node_guard_follow(s, n);
    sim_sync_act(s, n, d);
    propose_all(s, n, d);
    if (d->cluster.transfer_to != 0) {
        s->log_kind->transfer(s, n, sim_index_of(d->cluster.transfer_to));
    }
    if (d->voters.remove != 0 || d->voters.add != 0) {
        s->log_kind->change_voters(s, n, d->voters.remove, d->voters.add);
    }
    if (d->ask_positions) {
        node_ask_positions(s, n);
    }
}

static bool is_news(const struct status *a, const struct status *b)
{
    return a->pg_state != b->pg_state || a->pg_role != b->pg_role || a->data != b->data ||
           a->promise != b->promise || a->promise_epoch != b->promise_epoch ||
           a->lease_epoch != b->lease_epoch || a->applied_epoch != b->applied_epoch ||
           a->timeline != b->timeline || a->streaming != b->streaming ||
           a->raft_leader != b->raft_leader || a->sysid != b->sysid || a->n_heard != b->n_heard;
}

static void on_tick(struct sim *s, const struct sim_event *e)
{
    static struct decision d; /* 1.5 MB, and of no use after the tick. */
    struct sim_node *n = s->nodes[e->node];
    struct sim_agent *a = n->agent;
    struct status before;

    if (a->tick_at_us != e->number) {
        return; /* Another one came first. */
    }
    a->tick_at_us = 0;
    before = a->view.self.status;
    node_ask_barrier(s, n);
    seed_config(s, n, &d.commands[0]);
    node_gather(s, n);
    decide(&a->view, &d);
    if (!d.node.diverged) {
        a->diverged_since_ms = 0;
    } else if (a->diverged_since_ms == 0) {
        a->diverged_since_ms = a->view.now_ms;
    }
    mutate_decision(s, n, &d);
    trace_decision(s, n, &d);
    a->disarm = d.disarm;
    a->is_primary_now = n->mode == MODE_POSTGRES && decide_is_primary_now(&a->view);
    act(s, n, &d);
    if (is_news(&before, &a->view.self.status)) {
        node_tell_status(s, n);
    }
    if (d.may_exit) {
        TRACE(s, n, "agent leaves");
        node_guard_leave(s, n);
        sim_node_kill_agent(s, n);
        return;
    }
    tick_after(s, n, MAX(d.wake_ms - MIN(d.wake_ms, a->view.now_ms), 1) * SIM_MS);
}

/* ---- What comes from the log ---- */

static void parse_config(struct sim *s, struct sim_node *n)
{
    struct sim_agent *a = n->agent;
    unsigned ttl_ms, paused;

    if (sscanf(a->store.config, "{\"ttl_ms\": %u, \"pause\": %u}", &ttl_ms, &paused) == 2) {
        a->ttl_ms = ttl_ms;
        a->is_paused = paused != 0;
    }
    (void)s;
}

static void react(struct sim *s, struct sim_node *n, unsigned changes)
{
    if (changes & CHANGE_CONFIG) {
        parse_config(s, n);
    }
    if (changes & CHANGE_PRIMARY) {
        n->agent->epoch_applied_ms = sim_local_ms(s, n);
    }
    node_lease_on_store(s, n, changes & (CHANGE_PRIMARY | CHANGE_CONFIG));
    sim_node_dirty(s, n);
}

static void note_mark(struct sim_node *n, bool was_unfenced)
{
    struct sim_agent *a = n->agent;

    if (!a->caught_up) {
        return;
    }
    if (!a->store.primary.unfenced) {
        a->fresh_mark = 0;
    } else if (!was_unfenced) {
        a->fresh_mark = a->store.primary.epoch;
    }
}

void sim_node_on_commit(struct sim *s, struct sim_node *n, uint64_t index, struct command *c)
{
    struct store *store = &n->agent->store;
    struct sim_applied applied = {
        .index = index, .command = c, .epoch_before = store->primary.epoch};
    struct command_cas original;
    bool was_unfenced = store->primary.unfenced;
    unsigned changes = 0;

    mutate_command(s, store, c, &original);
    applied.result = store_apply(store, index, c, &changes);
    mutate_command_back(&original);
    note_mark(n, was_unfenced);
    if (trace_is_on()) {
        char text[300];

        TRACE(s, n, "applied %u %s: %s", (unsigned)index, command_print(c, text, sizeof(text)),
              apply_result_name(applied.result));
    }
    check_s3_applied(s, n, &applied);
    check_s2_applied(s, n, &applied);
    react(s, n, changes);
}

void sim_node_on_restore(struct sim *s, struct sim_node *n, const struct store *store)
{
    n->agent->store = *store;
    note_mark(n, true);
    TRACE(s, n, "restored a snapshot, index %u epoch %u", (unsigned)store->applied_index,
          (unsigned)store->primary.epoch);
    check_s3_store(s, n);
    react(s, n, CHANGE_PRIMARY | (store->config_revision != 0 ? CHANGE_CONFIG : 0));
}

void sim_node_on_leadership(struct sim *s, struct sim_node *n)
{
    struct sim_agent *a = n->agent;
    struct sim_leadership old = a->leadership;

    if (!n->is_up) {
        return;
    }
    s->log_kind->leadership(s, n, &a->leadership);
    if (a->leadership.is_leader && !old.is_leader) {
        a->leader_since_ms = sim_local_ms(s, n);
    }
    if (a->leadership.committed.index != old.committed.index && old.committed.n > 0) {
        a->voters_changed_ms = sim_local_ms(s, n);
    }
    node_lease_on_store(s, n, 0);
    sim_node_dirty(s, n);
}
