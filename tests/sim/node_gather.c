/* Copies what a node knows into its view, as src/agent/gather.c does. */
#include "base/str.h"
#include "sim_node.h"

uint64_t node_status_period_ms(const struct sim_node *n)
{
    return MAX(100, MIN(1000, n->agent->ttl_ms / 10));
}

static void fill_heard(const struct sim_node *n, uint64_t now_ms, struct status *status)
{
    const struct view *v = &n->agent->view;

    const struct lease_voter_set *voters = &n->agent->leadership.voters;

    if (lease_voter_set_has(voters, n->id)) {
        status->heard[status->n_heard++] = n->id;
    }
    for (uint32_t i = 0; i < v->n_peers && status->n_heard < VOTERS_MAX; i++) {
        if (v->peers[i].received_ms + 2 * node_status_period_ms(n) >= now_ms &&
            lease_voter_set_has(voters, v->peers[i].status.id)) {
            status->heard[status->n_heard++] = v->peers[i].status.id;
        }
    }
}

static void fill_lease(struct sim *s, struct sim_node *n, struct status *status)
{
    static const enum promise_state states[] = {
        [LEASE_PROMISE_NONE] = PROMISE_NONE,
        [LEASE_PROMISE_LIVE] = PROMISE_LIVE,
        [LEASE_PROMISE_QUARANTINE] = PROMISE_QUARANTINE,
    };
    struct lease_voter_status voter;
    struct lease_time now = sim_lease_now(s, n);

    lease_voter_status(&n->agent->voter, now, &voter);
    status->promise = states[voter.state];
    status->promise_epoch = voter.epoch;
    if (lease_owner_remaining_ns(&n->agent->owner, now) > 0) {
        status->lease_epoch = lease_owner_epoch(&n->agent->owner);
    }
}

static void fill_status(struct sim *s, struct sim_node *n, uint64_t now_ms)
{
    struct sim_agent *a = n->agent;
    struct status *status = &a->view.self.status;
    bool witness = n->mode == MODE_WITNESS;

    *status = (struct status){
        .id = n->id,
        .mode = n->mode,
        .instance = n->instance,
        .cluster_id = 77,
        .can_bootstrap = !witness,
        .applied_epoch = a->store.primary.epoch,
        .applied_index = a->store.applied_index,
        .raft_term = a->leadership.term,
        .raft_leader = a->leadership.leader != SIM_NOBODY ? s->nodes[a->leadership.leader]->id : 0,
        .wants_vote = !lease_voter_set_has(&a->leadership.voters, n->id),
        .ttl_max_ms = lease_voter_ttl_max_ns(&a->voter) / NS_PER_MS,
        .stopping = a->stopping_since_ms != 0,
        .nofailover = n->nofailover,
        .failover_priority = 1,
        .sync_priority = sim_sync_priority(s, n),
        .pg_role = witness ? PG_ROLE_NONE : PG_ROLE_UNKNOWN,
        .pg_state = PG_STATE_RUNNING,
        .data = witness ? DATA_EMPTY : DATA_UNKNOWN,
    };
    (void)str_copy(status->name, sizeof(status->name), n->name);
    fill_heard(n, now_ms, status);
    fill_lease(s, n, status);
    if (!witness) {
        sim_pg_fill(s, n, status, &a->view.pg);
        a->view.pg.frozen = node_guard_is_frozen(n);
        sim_ops_fill(&a->ops, &a->view.op);
    }
}

static void fill_conf(const struct sim *s, const struct sim_node *n, struct view_conf *v)
{
    const struct sim_agent *a = n->agent;

    *v = (struct view_conf){
        .ttl_ms = a->ttl_ms,
        .loop_wait_ms = 1000,
        .maximum_lag_on_failover = s->lag_bound,
        .primary_start_timeout_ms = s->start_timeout_ms,
        .fence_margin_ms = MIN(500, a->ttl_ms / 4),
        .status_period_ms = node_status_period_ms(n),
        .check_timeline = s->check_timeline,
        .use_pg_rewind = true,
        .remove_on_rewind_failure = true,
        .remove_on_diverged_timelines = true,
        .pre_promote = (s->seed + (uint64_t)n->i) % 3 == 0,
        .can_bootstrap = n->mode == MODE_POSTGRES,
        .pause = a->is_paused,
        .scope = "sim",
    };
}

static void fill_member(const struct sim_node *n, struct store_member *m)
{
    *m = (struct store_member){
        .id = n->id,
        .mode = n->mode,
        .pg_port = n->mode == MODE_POSTGRES ? 5432 : 0,
        .nofailover = n->nofailover,
        .failover_priority = 1,
        .last_state = PG_STATE_RUNNING,
        .tags = "{}",
    };
    (void)str_copy(m->name, sizeof(m->name), n->name);
    (void)snprintf(m->raft_address, sizeof(m->raft_address), "10.0.0.%d:7400", n->i + 1);
    if (n->mode == MODE_POSTGRES) {
        (void)snprintf(m->pg_host, sizeof(m->pg_host), "10.0.0.%d", n->i + 1);
    }
}

static void fill_raft(const struct sim_node *n, struct view_raft *v)
{
    const struct sim_agent *a = n->agent;

    *v = (struct view_raft){
        .usable = true,
        .is_leader = a->leadership.is_leader,
        .leader = n->agent->view.self.status.raft_leader,
        .term = a->leadership.term,
        .leader_since_ms = a->leader_since_ms,
        .caught_up = a->caught_up,
        .voters_change = a->leadership.voters.index > a->leadership.committed.index,
        .voters_changed_ms = a->voters_changed_ms,
        .n_voters = a->leadership.voters.n,
        .epoch_applied_ms = a->epoch_applied_ms,
        .cluster_id = 77,
        .formed_now = n->life == 1,
    };
    memcpy(v->voters, a->leadership.voters.ids, sizeof(v->voters));
}

static void fill_lease_view(struct sim *s, struct sim_node *n, struct view_lease *v)
{
    struct sim_agent *a = n->agent;
    uint64_t left_ns = lease_owner_remaining_ns(&a->owner, sim_lease_now(s, n));
    struct lease_voter_status voter;

    lease_voter_status(&a->voter, sim_lease_now(s, n), &voter);
    *v = (struct view_lease){
        .live = left_ns > 0,
        .epoch = lease_owner_epoch(&a->owner),
        .remaining_ms = left_ns / NS_PER_MS,
        .continued = a->continued && !a->caught_up,
        .armed = node_guard_is_armed(s, n),
        .unfenced_epoch = a->guard.unfenced_epoch,
        .mark_is_fresh = a->fresh_mark != 0 && a->fresh_mark == a->store.primary.epoch,
        .confirmed_ms = MIN(node_guard_confirmed_ms(s, n), left_ns / NS_PER_MS),
        .promised_ms = voter.state == LEASE_PROMISE_LIVE && voter.owner == n->id
                           ? voter.left_ns / NS_PER_MS
                           : 0,
        .live_since_ms = left_ns > 0 ? a->live_since_ms : 0,
        .wanted_since_ms = a->wanted_since_ms,
    };
}

static void fill_connected(const struct sim *s, const struct sim_node *n, struct view *v)
{
    for (uint32_t i = 0; i < v->n_peers; i++) {
        node_id id = v->peers[i].status.id;
        int peer = sim_index_of(id);

        v->peers[i].connected =
            s->nodes[peer]->is_up && s->nodes[peer]->id == id && sim_can_reach(s, n->i, peer);
    }
}

void node_gather(struct sim *s, struct sim_node *n)
{
    struct sim_agent *a = n->agent;
    struct view *v = &a->view;

    v->now_ms = sim_local_ms(s, n);
    v->wall_us = SIM_WALL_US + (int64_t)s->now_us + n->wall_offset_us;
    v->store = &a->store;
    fill_conf(s, n, &v->conf);
    fill_status(s, n, v->now_ms);
    fill_member(n, &v->self.member);
    v->self.started_ms = a->started_ms;
    v->self.stopping = a->stopping_since_ms != 0;
    v->self.stopping_since_ms = a->stopping_since_ms;
    v->self.diverged_since_ms = a->diverged_since_ms;
    fill_raft(n, &v->raft);
    fill_lease_view(s, n, &v->lease);
    fill_connected(s, n, v);
    sim_sync_gather(s, n);
    v->positions_asked_ms =
        a->positions_epoch == a->store.primary.epoch ? a->positions_asked_ms : 0;
}
