/*
 * Fills the view: copies what the modules know into one struct at one moment.
 * No I/O and no judgement here.
 */
#include "agent/agent_state.h"
#include "base/str.h"

uint64_t agent_status_period_ms(const struct agent *a)
{
    return MAX(100, MIN(1000, a->dynamic.ttl_ms / 10));
}

static bool is_voter(const struct agent *a, node_id id)
{
    for (uint8_t i = 0; i < a->leadership.n_voters; i++) {
        if (a->leadership.voters[i] == id) {
            return true;
        }
    }
    return false;
}

static void fill_heard(struct agent *a, uint64_t now_ms, struct status *status)
{
    uint64_t limit_ms = 2 * agent_status_period_ms(a);

    if (is_voter(a, a->identity.id)) {
        status->heard[status->n_heard++] = a->identity.id;
    }
    for (uint32_t i = 0; i < a->n_peers && status->n_heard < VOTERS_MAX; i++) {
        const struct view_peer *p = &a->peers[i];

        if (p->received_ms + limit_ms >= now_ms && is_voter(a, p->status.id)) {
            status->heard[status->n_heard++] = p->status.id;
        }
    }
}

static enum promise_state promise_state_of(enum lease_promise_state state)
{
    switch (state) {
    case LEASE_PROMISE_NONE:
        return PROMISE_NONE;
    case LEASE_PROMISE_LIVE:
        return PROMISE_LIVE;
    case LEASE_PROMISE_QUARANTINE:
        return PROMISE_QUARANTINE;
    }
    return PROMISE_QUARANTINE;
}

static void fill_lease(struct agent *a, struct status *status)
{
    struct lease_voter_status voter;
    struct lease_time now = agent_lease_now();

    lease_voter_status(&a->voter, now, &voter);
    status->promise = promise_state_of(voter.state);
    status->promise_epoch = voter.epoch;
    if (lease_owner_remaining_ns(&a->owner, now) > 0) {
        status->lease_epoch = lease_owner_epoch(&a->owner);
    }
}

/* What is being made is not cut off. */
static bool is_in_the_making(const struct agent *a, const struct status *status)
{
    enum node_action running = a->view.op.running;

    if (status->data == DATA_REWINDING) {
        return running == ACTION_REWIND;
    }
    return status->data == DATA_INCOMPLETE &&
           (running == ACTION_BOOTSTRAP || running == ACTION_CLONE);
}

static const char *raft_problem(const struct agent *a)
{
    return a->raft_problem[0] != '\0' ? a->raft_problem : a->raft_trouble;
}

/* What the last decision says only an operator ends, before what failed on the way. */
static void add_condition(const struct agent *a, struct status *status)
{
    char what[TEXT_SIZE];

    if (a->decision.node.is_problem) {
        (void)str_copy(what, sizeof(what), status->problem); /* Same size. */
        (void)snprintf(status->problem, sizeof(status->problem), "%.120s%s%.130s",
                       a->decision.node.why, what[0] != '\0' ? ": " : "", what);
    }
}

/* Without a guard nothing is started; what is frozen is an outage that may just have begun;
 * a watchdog that is missing is a standby that will never take over. */
static void add_guard(const struct agent *a, struct status *status)
{
    const struct view_guard *g = &a->view.guard;
    struct err why = {""};

    if (a->pg == NULL) {
        return;
    }
    if (a->view.pg.frozen) {
        (void)str_copy(status->problem, sizeof(status->problem),
                       "PostgreSQL is frozen: the lease has run out");
    } else if (!g->is_up && g->trouble[0] != '\0') {
        (void)str_copy(status->problem, sizeof(status->problem), g->trouble); /* Same size. */
    } else if (!agent_watch_lets(a, &why)) {
        (void)str_copy(status->problem, sizeof(status->problem), why.text); /* Cut is fine. */
    }
}

/* Node part first; pg_fill adds PostgreSQL's. */
void agent_fill_status(struct agent *a, uint64_t now_ms, struct status *status)
{
    const struct conf *c = a->conf;

    *status = (struct status){
        .id = a->identity.id,
        .mode = c->mode == CONF_MODE_WITNESS ? MODE_WITNESS : MODE_POSTGRES,
        .instance = a->runtime.instance,
        .cluster_id = a->durable.phase == IDENTITY_MEMBER ? a->durable.cluster_id : 0,
        .can_bootstrap = c->has_bootstrap,
        .applied_epoch = a->store.primary.epoch,
        .applied_index = a->store.applied_index,
        .raft_term = a->raft_waits ? a->raft_told.term : a->leadership.term,
        .raft_leader = a->leadership.leader,
        .raft_end = a->raft_waits ? a->raft_told.last_index : 0,
        .lost_id = a->lost_id,
        .raft_fails = a->raft_problem[0] != '\0',
        .wants_vote = agent_wants_vote(a),
        .ttl_max_ms = lease_voter_ttl_max_ns(&a->voter) / NS_PER_MS,
        .stopping = a->stopping_since_ms != 0,
        .nofailover = c->nofailover,
        .failover_priority = c->failover_priority,
        .no_watchdog = !agent_watch_lets(a, NULL),
        .sync_priority = c->sync_priority,
        .pg_role = a->pg != NULL ? PG_ROLE_UNKNOWN : PG_ROLE_NONE,
        .data = a->pg != NULL ? DATA_UNKNOWN : DATA_EMPTY,
    };
    (void)str_copy(status->name, sizeof(status->name), c->name); /* Checked by conf. */
    status->tick_age_ms = (uint32_t)MIN(now_ms - a->last_tick_ms, UINT32_MAX);
    fill_heard(a, now_ms, status);
    fill_lease(a, status);
    if (a->pg != NULL) {
        pg_fill(a->pg, &a->store, status, &a->view.pg);
        agent_guard_fill(a, &a->view);
        ops_fill(a->ops, &a->view.op);
        if (a->view.op.running != ACTION_NONE) {
            (void)snprintf(status->operation, sizeof(status->operation), "%.30s%s%.30s",
                           a->view.op.step, a->view.op.progress[0] != '\0' ? ", " : "",
                           a->view.op.progress);
        }
        if (is_in_the_making(a, status)) {
            status->problem[0] = '\0';
        }
        if (status->problem[0] == '\0') {
            (void)str_copy(status->problem, sizeof(status->problem), a->view.op.problem);
        }
    } else {
        status->pg_state = PG_STATE_RUNNING; /* A witness is always as well as it can be. */
    }
    add_condition(a, status);
    add_guard(a, status);
    if (raft_problem(a)[0] != '\0') { /* It is there to stay until somebody does something. */
        (void)str_copy(status->problem, sizeof(status->problem), raft_problem(a));
    }
    agent_contact_problem(a, now_ms, status);
    agent_sync_problem(a, now_ms, status);
}

static bool has_pre_promote(const struct agent *a)
{
    const char *command = a->pg != NULL ? pg_options(a->pg)->pre_promote : NULL;

    return command != NULL && command[0] != '\0';
}

static void fill_conf(struct agent *a, struct view_conf *v)
{
    const struct conf_dynamic *d = &a->dynamic;

    *v = (struct view_conf){
        .ttl_ms = d->ttl_ms,
        .loop_wait_ms = d->loop_wait_ms,
        .maximum_lag_on_failover = d->maximum_lag_on_failover,
        .primary_start_timeout_ms = d->primary_start_timeout_ms,
        .fence_margin_ms = MIN(500, d->ttl_ms / 4),
        .status_period_ms = agent_status_period_ms(a),
        .sync_mode = agent_sync_mode(a),
        .maximum_lag_on_syncnode = d->maximum_lag_on_syncnode,
        .history_lines = (uint32_t)d->max_timelines_history, /* Has a range. */
        .member_slots_ttl_ms = d->member_slots_ttl_ms,
        .check_timeline = d->check_timeline,
        .use_pg_rewind = d->use_pg_rewind,
        .remove_on_rewind_failure = d->remove_on_rewind_failure,
        .remove_on_diverged_timelines = d->remove_on_diverged_timelines,
        .pause = d->pause,
        .pre_promote = has_pre_promote(a),
        .can_bootstrap = a->conf->has_bootstrap,
    };
    (void)str_copy(v->scope, sizeof(v->scope), a->conf->scope); /* Checked by conf. */
}

/* As Patroni writes it; conf sees to it that it fits. */
static void fill_proxy(const struct conf *c, struct store_proxy *p)
{
    if (c->mode == CONF_MODE_POSTGRES && c->pg_proxy_address != NULL) {
        (void)snprintf(p->url, sizeof(p->url), "postgres://%s/%s", c->pg_proxy_address,
                       c->pg_database);
    }
}

static void fill_member(struct agent *a, struct store_member *m)
{
    const struct conf *c = a->conf;

    *m = (struct store_member){
        .id = a->identity.id,
        .mode = a->view.self.status.mode,
        .pg_port = c->pg_connect_port,
        .pg_version = a->view.self.status.pg_version,
        .nofailover = c->nofailover,
        .noloadbalance = c->noloadbalance,
        .clonefrom = c->clonefrom,
        .nosync = c->nosync,
        .nostream = c->nostream,
        .failover_priority = c->failover_priority,
        .last_state = a->view.self.status.pg_state,
    };
    _Static_assert(CONF_TAGS_LENGTH < sizeof(m->tags) &&
                       CONF_SOURCE_LENGTH < sizeof(m->replicatefrom) &&
                       CONF_ADDRESS_LENGTH + sizeof("https:///patroni") <= sizeof(m->api_url),
                   "conf checks what is copied here");
    (void)str_copy(m->name, sizeof(m->name), c->name);
    (void)str_copy(m->raft_address, sizeof(m->raft_address), c->raft_self_addr);
    (void)snprintf(m->api_url, sizeof(m->api_url), "http%s://%s/patroni",
                   c->restapi_certfile != NULL ? "s" : "",
                   c->restapi_connect_address != NULL ? c->restapi_connect_address : "");
    (void)str_copy(m->pg_host, sizeof(m->pg_host),
                   c->pg_connect_host != NULL ? c->pg_connect_host : "");
    (void)str_copy(m->veche_version, sizeof(m->veche_version), VECHE_VERSION);
    (void)str_copy(m->replicatefrom, sizeof(m->replicatefrom),
                   c->replicatefrom != NULL ? c->replicatefrom : "");
    (void)str_copy(m->tags, sizeof(m->tags), c->tags_json != NULL ? c->tags_json : "{}");
    fill_proxy(c, &m->proxy);
}

static void fill_raft(struct agent *a, struct view_raft *v)
{
    const struct consensus_leadership *l = &a->leadership;

    *v = (struct view_raft){
        .usable = l->usable,
        .is_leader = l->is_leader,
        .leader = l->leader,
        .term = l->term,
        .leader_since_ms = a->leader_since_ms,
        .caught_up = a->caught_up,
        .formed_now = a->formed_now,
        .voters_change = l->voters_index > l->committed_index,
        .voters_changed_ms = a->voters_changed_ms,
        .n_voters = l->n_voters,
        .epoch_applied_ms = a->epoch_applied_ms,
        .cluster_id = a->durable.phase == IDENTITY_MEMBER ? a->durable.cluster_id : 0,
    };
    memcpy(v->voters, l->voters, sizeof(v->voters));
    (void)str_copy(v->problem, sizeof(v->problem), raft_problem(a)); /* Of the same size. */
}

/* The voter's half may have promised to ourselves, also before this process. */
static uint64_t own_promise_ms(const struct agent *a, struct lease_time now)
{
    struct lease_voter_status voter;

    lease_voter_status(&a->voter, now, &voter);
    return voter.state == LEASE_PROMISE_LIVE && voter.owner == a->identity.id
               ? voter.left_ns / NS_PER_MS
               : 0;
}

static void fill_lease_view(struct agent *a, struct view_lease *v)
{
    struct lease_time now = agent_lease_now();
    uint64_t remaining_ns = lease_owner_remaining_ns(&a->owner, now);

    *v = (struct view_lease){
        .live = remaining_ns > 0,
        .continued = a->continued && !a->caught_up,
        .armed = agent_guard_is_armed(a),
        .unfenced_epoch = agent_guard_unfenced_epoch(a),
        .mark_is_fresh =
            a->guarding.fresh_mark != 0 && a->guarding.fresh_mark == a->store.primary.epoch,
        .epoch = lease_owner_epoch(&a->owner),
        .remaining_ms = remaining_ns / NS_PER_MS,
        .confirmed_ms = agent_guard_confirmed_ns(a, now) / NS_PER_MS,
        .promised_ms = own_promise_ms(a, now),
        .live_since_ms = remaining_ns > 0 ? a->live_since_ms : 0,
        .wanted_since_ms = a->wanted_since_ms,
    };
}

void agent_gather(struct agent *a, uint64_t now_ms)
{
    struct view *v = &a->view;

    v->now_ms = now_ms;
    v->wall_us = clock_wall_us();
    v->store = &a->store;
    fill_conf(a, &v->conf);
    agent_fill_status(a, now_ms, &v->self.status);
    fill_member(a, &v->self.member);
    v->self.started_ms = a->started_ms;
    v->self.stopping = a->stopping_since_ms != 0;
    v->self.stopping_since_ms = a->stopping_since_ms;
    if (!a->decision.node.diverged) {
        a->diverged_since_ms = 0;
    } else if (a->diverged_since_ms == 0) {
        a->diverged_since_ms = now_ms;
    }
    v->self.diverged_since_ms = a->diverged_since_ms;
    fill_raft(a, &v->raft);
    fill_lease_view(a, &v->lease);
    agent_sync_fill(a, now_ms, &v->sync);
    v->n_peers = a->n_peers;
    memcpy(v->peers, a->peers, sizeof(v->peers));
    v->positions_asked_ms =
        a->positions_epoch == a->store.primary.epoch ? a->positions_asked_ms : 0;
    memcpy(v->proposed_ms, a->proposed_ms, sizeof(v->proposed_ms));
}
