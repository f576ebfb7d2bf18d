/*
 * The tick: what the agent does all day. Gathers a view, lets core decide, hands
 * the values to the executors. Runs when something was observed, and at the time
 * the last decision asked for.
 */
#include <inttypes.h>

#include "agent/agent_state.h"
#include "base/log.h"
#include "base/str.h"
#include "core/lookup.h"

#define LEAVE_POLL_MS 50
#define GUARD_POLL_MS 10

static void on_positions_read(void *data, const struct positions *positions)
{
    struct agent *a = data;

    a->own_positions = *positions;
    a->own_positions_ms = clock_ms();
    agent_mark_dirty(a);
}

static void ask_positions(struct agent *a, uint64_t now_ms)
{
    uint64_t epoch = a->store.primary.epoch;

    if (!a->decision.ask_positions) {
        return;
    }
    a->positions_epoch = epoch;
    a->positions_asked_ms = now_ms;
    peer_ask_positions(a->peer, epoch);
    if (a->pg != NULL) {
        pg_read_positions(a->pg, epoch, on_positions_read, a);
    }
    agent_mark_dirty(a); /* What waits for the answers looks at when they were asked. */
}

/* Rule and why, once per change. */
static void log_change(struct agent *a)
{
    const struct decision *d = &a->decision;

    /* A sequence logs its own start and end. */
    if (d->node.rule != a->last_node_rule && !str_equal(d->node.rule, "keep-operation")) {
        a->last_node_rule = d->node.rule;
        http_rule_count(a->stats.node_rules, d->node.rule);
        log_info("Node: %s. rule=%s action=\"%s\" evidence=\"%s\"", d->node.why, d->node.rule,
                 node_action_name(d->node.action), d->node.evidence);
    }
    if (d->cluster.rule != a->last_cluster_rule) {
        a->last_cluster_rule = d->cluster.rule;
        http_rule_count(a->stats.cluster_rules, d->cluster.rule);
        log_info("Cluster: %s. rule=%s evidence=\"%s\"", d->cluster.why, d->cluster.rule,
                 d->cluster.evidence);
    }
}

/* What /patroni shows as problem, for who reads the log; once per change. */
static void log_problem(struct agent *a)
{
    const char *problem = a->view.self.status.problem;

    if (str_equal(problem, a->logged_problem)) {
        return;
    }
    (void)str_copy(a->logged_problem, sizeof(a->logged_problem), problem); /* Cut is fine. */
    if (problem[0] != '\0') {
        log_warning("There is a problem. problem=\"%s\"", problem);
    } else {
        log_info("The problem is over.");
    }
}

/* Changes that others should not have to wait a period for. */
static bool is_news(const struct status *a, const struct status *b)
{
    return a->pg_state != b->pg_state || a->pg_role != b->pg_role || a->data != b->data ||
           a->promise != b->promise || a->promise_epoch != b->promise_epoch ||
           a->lease_epoch != b->lease_epoch || a->applied_epoch != b->applied_epoch ||
           a->timeline != b->timeline || a->streaming != b->streaming ||
           a->raft_leader != b->raft_leader || a->cluster_id != b->cluster_id ||
           a->sysid != b->sysid || a->n_heard != b->n_heard || a->stopping != b->stopping ||
           !str_equal(a->operation, b->operation);
}

static void tell_news(struct agent *a, uint64_t now_ms)
{
    struct status told = a->view.self.status;
    bool news;

    lookup_tell(&a->view, now_ms, &told);
    news = is_news(&a->last_status, &told);
    a->last_status = told;
    if (news) {
        peer_send_status(a->peer, &a->last_status);
        agent_update_hello(a);
    }
}

static void retry_save(struct agent *a, uint64_t now_ms)
{
    if (a->save_again_ms != 0 && now_ms >= a->save_again_ms) {
        a->save_again_ms = 0;
        identity_saver_save(a->saver, &a->identity);
    }
}

/* The dynamic configuration comes from the first node that has a bootstrap section. */
static void seed_config(struct agent *a)
{
    static struct command c; /* 256 KiB: not for the stack. */
    bool seeded = a->store.config_revision != 0 || a->store.cluster.id == 0;
    bool asked = a->proposed_ms[COMMAND_CONFIG_SET] + SECONDS(1) > clock_ms();

    if (seeded || asked || !a->caught_up ||
        (!a->conf->has_bootstrap && clock_ms() < a->started_ms + SECONDS(30))) {
        return;
    }
    c.kind = COMMAND_CONFIG_SET;
    c.config_set.expect_revision = 0;
    (void)str_copy(c.config_set.config, sizeof(c.config_set.config), a->conf->bootstrap_dcs);
    agent_propose(a, &c);
}

static void wake_at(struct agent *a, uint64_t now_ms, uint64_t wake_ms)
{
    uint64_t heartbeat_ms = now_ms + a->dynamic.loop_wait_ms;

    if (a->dirty) {
        return; /* Something was observed during this very tick: another one follows. */
    }
    wake_ms = MIN(wake_ms, heartbeat_ms);
    uv_update_time(&a->loop);
    uv_timer_start(&a->tick_timer, agent_on_tick_timer, wake_ms > now_ms ? wake_ms - now_ms : 1, 0);
}

/* Not again for the same member within the ttl: its new one needs time to be seen. */
static void end_stale_walsender(struct agent *a, uint64_t now_ms)
{
    const struct decision *d = &a->decision;

    if (d->stale_walsender[0] == '\0' || a->pg == NULL ||
        (str_equal(d->stale_walsender, a->ended_walsender) &&
         now_ms < a->ended_walsender_ms + a->view.conf.ttl_ms)) {
        return;
    }
    (void)str_copy(a->ended_walsender, NAME_SIZE, d->stale_walsender);
    a->ended_walsender_ms = now_ms;
    log_warning("A member does not stream, but its WAL sender is still here and keeps its slot: "
                "ending that WAL sender. member=%s idle_ms=%" PRIu64,
                d->stale_walsender, d->stale_for_ms);
    pg_terminate_walsender(a->pg, d->stale_walsender, d->stale_for_ms);
}

static void act(struct agent *a, uint64_t now_ms)
{
    struct decision *d = &a->decision;
    uint64_t ops_ms = UINT64_MAX;

    if (a->ops != NULL) {
        ops_reconcile(a->ops, &d->node, now_ms);
        ops_ms = ops_tick(a->ops, now_ms);
    }
    agent_lease_tick(a, now_ms);
    agent_sync_tick(a, now_ms);
    ops_ms = MIN(ops_ms, agent_guard_tick(a, now_ms));
    for (uint32_t i = 0; i < d->n_commands; i++) {
        agent_sync_on_propose(a, &d->commands[i]);
        agent_guard_on_propose(a, &d->commands[i]);
        agent_propose(a, &d->commands[i]);
    }
    if (d->cluster.transfer_to != 0 && a->consensus != NULL) {
        consensus_transfer(a->consensus, d->cluster.transfer_to);
    }
    agent_change_voters(a);
    ask_positions(a, now_ms);
    if (a->pg != NULL && a->view.self.status.pg_state == PG_STATE_RUNNING) {
        pg_sync_slots(a->pg, &a->view);
    }
    end_stale_walsender(a, now_ms);
    if (d->loss_told) {
        pg_loss_told(a->pg);
    }
    ops_ms = MIN(ops_ms, agent_callbacks_tick(a, now_ms));
    wake_at(a, now_ms, MIN(d->wake_ms, ops_ms));
}

/* The lease goes on until the last sequence has ended. */
static void leave(struct agent *a, uint64_t now_ms)
{
    if (a->closing) {
        return;
    }
    (void)ops_tick(a->ops, now_ms); /* It is looked at again soon anyway. */
    agent_lease_tick(a, now_ms);
    (void)agent_guard_tick(a, now_ms); /* Soon again anyway. */
    agent_try_close(a);
    if (!a->closing) {
        uv_timer_start(&a->tick_timer, agent_on_tick_timer, LEAVE_POLL_MS, 0);
    }
}

void agent_on_tick_timer(uv_timer_t *timer)
{
    agent_tick(timer->data);
}

void agent_on_tick_check(uv_check_t *check)
{
    struct agent *a = check->data;

    if (a->dirty && !a->closing) {
        agent_tick(a);
    }
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* That it is active keeps the poll from waiting. */
}

/*
 * Not by a timer of 0 ms: libuv before 1.45 runs a timer armed by a timer in the
 * same round, and what marks the agent dirty in every tick would keep the loop
 * from ever polling again.
 */
void agent_mark_dirty(struct agent *a)
{
    if (!a->dirty && !a->closing) {
        a->dirty = true;
        a->dirty_ns = uv_hrtime();
        uv_idle_start(&a->tick_idle, on_idle);
    }
}

void agent_tick_within(struct agent *a, uint64_t ms)
{
    if (!a->dirty && !a->closing && uv_timer_get_due_in(&a->tick_timer) > ms) {
        uv_timer_start(&a->tick_timer, agent_on_tick_timer, ms, 0);
    }
}

/* Only now: an epoch that the guard attests is gone on with before Raft says anything. */
static void start_raft(struct agent *a)
{
    if (a->raft_after_guard) {
        a->raft_after_guard = false;
        agent_raft_begin(a);
    }
}

static void count_tick(struct agent *a, uint64_t began_ns, uint64_t dirty_ns)
{
    uint64_t now_ns = uv_hrtime();

    http_histogram_add(&a->stats.tick, now_ns - began_ns);
    if (dirty_ns != 0) { /* Not one that was due by time. */
        http_histogram_add(&a->stats.react, now_ns - dirty_ns);
    }
}

void agent_tick(struct agent *a)
{
    uint64_t now_ms = clock_ms();
    uint64_t began_ns = uv_hrtime();
    uint64_t dirty_ns = a->dirty ? a->dirty_ns : 0;

    a->dirty = false;
    uv_idle_stop(&a->tick_idle);
    if (a->leaving) {
        leave(a, now_ms);
        return;
    }
    if (!agent_guard_is_ready(a, now_ms)) {
        uv_timer_start(&a->tick_timer, agent_on_tick_timer, GUARD_POLL_MS, 0);
        return; /* What it holds is not known yet: nothing is judged before. */
    }
    start_raft(a);
    retry_save(a, now_ms);
    agent_formation_step(a);
    agent_raft_tick(a, now_ms);
    agent_ask_barrier(a);
    seed_config(a);
    agent_gather(a, now_ms);
    decide(&a->view, &a->decision);
    log_change(a);
    log_problem(a);
    act(a, now_ms);
    tell_news(a, now_ms);
    agent_actions_tick(a, now_ms);
    http_on_tick(a->http);
    a->last_tick_ms = now_ms;
    count_tick(a, began_ns, dirty_ns);
    if (a->decision.may_exit || a->rejoin) {
        agent_stop_now(a, a->exit_code);
    }
}
