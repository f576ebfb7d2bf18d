/*
 * The lease library between a node's clocks, its peers and its promise file:
 * the same calls in the same order as src/agent/lease_hooks.c.
 */
#include "checks.h"
#include "sim_node.h"
#include "trace.h"

static void on_renew(struct sim *s, const struct sim_event *e);
static void on_grant(struct sim *s, const struct sim_event *e);

static void write_promise_file(struct sim *s, struct sim_node *n)
{
    struct lease_image image;

    if (lease_voter_image(&n->agent->voter, sim_lease_now(s, n), &image)) {
        lease_file_encode(n->promise, &image);
    }
}

static void tell_sets(struct sim *s, struct sim_node *n)
{
    const struct sim_leadership *l = &n->agent->leadership;
    const struct lease_voter_set *logged =
        l->voters.index > l->committed.index && l->voters.n > 0 ? &l->voters : NULL;

    if (l->committed.n == 0) {
        return;
    }
    if (lease_voter_on_sets(&n->agent->voter, &l->committed, logged)) {
        write_promise_file(s, n);
    }
    lease_owner_on_sets(&n->agent->owner, &l->committed, logged);
    if (lease_voter_on_level(&n->agent->voter, l->level_index)) {
        write_promise_file(s, n);
    }
}

/* What the guard attests goes on: same epoch, same instance, and nothing else until a
 * barrier of this process was applied. */
static void continue_lease(struct sim *s, struct sim_node *n, const struct sim_word *state)
{
    const struct guard_logic *g = &state->logic;
    struct sim_agent *a = n->agent;

    if (g->epoch == 0 || g->epoch <= g->closed_epoch || g->instance != n->instance ||
        g->phase == GUARD_DISARMED || state->kept.n_sets == 0 || state->kept.node_id != n->id ||
        guard_logic_left_ns(g, sim_clock_pair(s, n)) == 0 ||
        s->options.mutant == MUTANT_NO_CONTINUE) {
        return;
    }
    lease_owner_on_ttl(&a->owner, state->kept.ttl_ns);
    lease_owner_on_sets(&a->owner, &state->kept.sets[0],
                        state->kept.n_sets > 1 ? &state->kept.sets[1] : NULL);
    lease_owner_continue(&a->owner, sim_lease_now(s, n), g->epoch,
                         (struct lease_time){g->deadline.raw_ns, g->deadline.boot_ns}, g->ttl_ns);
    a->continued = true;
    s->stats.continued++;
    TRACE(s, n, "lease: goes on, epoch %u", (unsigned)g->epoch);
}

void node_lease_init(struct sim *s, struct sim_node *n, const struct sim_word *state)
{
    struct sim_agent *a = n->agent;
    struct lease_time now = sim_lease_now(s, n);
    struct lease_image image;
    enum lease_file_verdict verdict;

    lease_voter_init(&a->voter, n->id, n->boot_id, n->longest_grant_ns, now);
    verdict = lease_file_decode(n->promise, n->id, n->boot_id, &image);
    if (verdict != LEASE_FILE_GOOD || !lease_voter_resume(&a->voter, &image, now)) {
        TRACE(s, n, "lease: quarantine, promise file is %s", lease_file_verdict_name(verdict));
        s->stats.quarantines += n->longest_grant_ns != 0 ? 1 : 0;
    }
    lease_owner_init(&a->owner, n->id, n->instance, rng_next(&s->rng));
    continue_lease(s, n, state);
}

static void on_longest_written(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];

    n->longest_grant_ns = e->number;
    lease_voter_longest_written(&n->agent->voter, e->number);
    if (n->agent->longest_asked_ns == e->number) {
        n->agent->longest_asked_ns = 0;
    }
}

static void ask_longest(struct sim *s, struct sim_node *n, uint64_t longest_ns)
{
    uint64_t after_us = sim_between(s, 1, 20) * SIM_MS;

    if (longest_ns == 0 || n->agent->longest_asked_ns != 0) {
        return; /* One write at a time. */
    }
    if (n->disk_stalled_until_us > s->now_us) {
        after_us += n->disk_stalled_until_us - s->now_us;
    }
    n->agent->longest_asked_ns = longest_ns;
    sim_after(s, after_us,
              &(struct sim_event){.fn = on_longest_written,
                                  .node = n->i,
                                  .from = SIM_NOBODY,
                                  .life = n->life,
                                  .number = longest_ns});
}

/* Promise file first, then the answer. */
static void answer(struct sim *s, struct sim_node *n, const struct lease_renew *renew,
                   struct lease_grant *ret_grant)
{
    struct lease_answer answer;

    lease_voter_on_renew(&n->agent->voter, sim_lease_now(s, n), renew, &answer);
    if (answer.write_file) {
        write_promise_file(s, n);
    }
    ask_longest(s, n, answer.write_longest_ns);
    *ret_grant = answer.grant;
}

static void take_grant(struct sim *s, struct sim_node *n, const struct lease_grant *grant)
{
    enum lease_owner_event event =
        lease_owner_on_grant(&n->agent->owner, sim_lease_now(s, n), grant);

    if (event == LEASE_OWNER_COUNTED) {
        check_s1_lease(s, n);
        node_guard_arm(s, n);
    }
    if (event == LEASE_OWNER_COUNTED || event == LEASE_OWNER_DEPOSED) {
        sim_node_dirty(s, n);
    }
    if (event == LEASE_OWNER_REFUSED || event == LEASE_OWNER_DEPOSED) {
        TRACE(s, n, "lease: refused by %u: %s", (unsigned)grant->voter,
              lease_verdict_name(grant->verdict));
    }
}

static void on_renew(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    struct lease_grant *grant = xmalloc(sizeof(*grant));

    answer(s, n, e->data, grant);
    sim_send(s, &(struct sim_message){.from = n->i, .to = e->from, .fn = on_grant, .data = grant});
}

static void grant_to_self(struct sim *s, struct sim_node *n, const struct lease_renew *renew)
{
    struct lease_renew copy = *renew; /* It may be the one that is cleared. */
    struct lease_grant grant;

    n->agent->own_renew.round = 0;
    answer(s, n, &copy, &grant);
    take_grant(s, n, &grant);
}

static void on_grant(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    const struct lease_grant *grant = e->data;
    const struct lease_renew *own = &n->agent->own_renew;

    take_grant(s, n, grant);
    if (grant->verdict == LEASE_GRANTED && grant->round == own->round) {
        grant_to_self(s, n, own);
    }
}

static void renew(struct sim *s, struct sim_node *n)
{
    struct sim_agent *a = n->agent;
    struct lease_renew message;

    if (!lease_owner_begin_round(&n->agent->owner, sim_lease_now(s, n), &message)) {
        return;
    }
    for (int i = 0; i < s->n_nodes; i++) {
        if (i != n->i) {
            struct lease_renew *copy = xmalloc(sizeof(*copy));

            *copy = message;
            sim_send(s, &(struct sim_message){.from = n->i, .to = i, .fn = on_renew, .data = copy});
        }
    }
    a->own_renew = message; /* Our own promise follows that of another. */
}

void node_lease_on_store(struct sim *s, struct sim_node *n, unsigned changes)
{
    struct sim_agent *a = n->agent;
    const struct store_primary *primary = &a->store.primary;

    tell_sets(s, n);
    if (changes & CHANGE_CONFIG) {
        lease_voter_on_ttl(&a->voter, sim_lease_now(s, n), a->ttl_ms * NS_PER_MS);
        lease_owner_on_ttl(&a->owner, a->ttl_ms * NS_PER_MS);
    }
    if ((changes & CHANGE_PRIMARY) && primary->epoch != 0) {
        lease_voter_on_epoch(&a->voter, primary->epoch, primary->owner_id, primary->instance);
        if (!primary->has_owner) {
            lease_voter_on_release(&a->voter, primary->epoch);
        }
        write_promise_file(s, n);
    }
    if (a->caught_up && !lease_owner_is_settled(&a->owner)) {
        lease_voter_on_barrier(&a->voter);
        lease_owner_on_barrier(&a->owner);
    }
}

static bool owns_present_epoch(const struct sim_node *n)
{
    const struct store_primary *primary = &n->agent->store.primary;

    return primary->has_owner && primary->owner_id == n->id && primary->instance == n->instance;
}

static void follow_decision(struct sim *s, struct sim_node *n, const struct decision *d)
{
    struct sim_agent *a = n->agent;

    if (d->drop_lease) {
        if (lease_owner_epoch(&a->owner) != 0) {
            TRACE(s, n, "lease: dropped, epoch %u", (unsigned)lease_owner_epoch(&a->owner));
            node_guard_close(s, n, lease_owner_epoch(&a->owner));
            lease_owner_drop(&a->owner);
        }
    } else if (d->renew_lease && owns_present_epoch(n) &&
               lease_owner_epoch(&a->owner) != a->store.primary.epoch &&
               a->store.primary.epoch > a->guard.closed_epoch) { /* Else its release got lost. */
        enum lease_take take =
            lease_owner_take(&a->owner, sim_lease_now(s, n), a->store.primary.epoch);

        if (take == LEASE_TAKEN) {
            TRACE(s, n, "lease: asked for, epoch %u", (unsigned)a->store.primary.epoch);
        }
    }
}

static void note_change(struct sim *s, struct sim_node *n, bool live)
{
    struct sim_agent *a = n->agent;

    if (live != a->lease_was_live) {
        TRACE(s, n, "lease: %s, epoch %u", live ? "held" : "over",
              (unsigned)a->store.primary.epoch);
        a->lease_was_live = live;
        a->live_since_ms = live ? sim_local_ms(s, n) : 0;
    }
}

static void on_renew_timer(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];

    n->agent->renew_armed = false;
    sim_node_dirty(s, n);
}

static void arm(struct sim *s, struct sim_node *n)
{
    uint64_t next_ns = lease_owner_next_round_ns(&n->agent->owner, sim_lease_now(s, n));

    if (next_ns == UINT64_MAX || n->agent->renew_armed) {
        return;
    }
    n->agent->renew_armed = true;
    sim_timer(s, n, next_ns / 1000 + SIM_MS,
              &(struct sim_event){
                  .fn = on_renew_timer, .node = n->i, .from = SIM_NOBODY, .life = n->life});
}

/* Before Raft has told more a lease goes on for a primary that runs, and for nothing else. */
static bool may_renew(const struct sim_node *n)
{
    const struct view *v = &n->agent->view;

    if (n->agent->guard.is_silent) {
        return false;
    }
    return !n->agent->continued || n->agent->caught_up ||
           (v->pg.postmaster_alive && v->self.status.pg_role != PG_ROLE_STANDBY);
}

void node_lease_tick(struct sim *s, struct sim_node *n, const struct decision *d)
{
    struct sim_agent *a = n->agent;

    follow_decision(s, n, d);
    ask_longest(s, n, lease_voter_longest_wanted_ns(&a->voter, sim_lease_now(s, n)));
    note_change(s, n, lease_owner_remaining_ns(&a->owner, sim_lease_now(s, n)) > 0);
    if (!owns_present_epoch(n) || a->lease_was_live) {
        a->wanted_since_ms = 0;
    } else if (a->wanted_since_ms == 0) {
        a->wanted_since_ms = sim_local_ms(s, n);
    }
    if (!may_renew(n)) {
        return; /* The tick that sees PostgreSQL comes here again. */
    }
    if (lease_owner_next_round_ns(&a->owner, sim_lease_now(s, n)) == 0) {
        renew(s, n);
    }
    arm(s, n);
}
