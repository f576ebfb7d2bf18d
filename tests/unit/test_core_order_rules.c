/*
 * Operators' orders for this member: what is done for a restart or a reinit at each of its
 * moments, how it ends, and that nothing more urgent waits for it.
 */
#include "core/order_rules.h"
#include "test_core_util.h"

#define STARTED INT64_C(1600000000000000) /* Of the server that runs at first. */

static struct command_order_set order(enum request_kind kind)
{
    struct command_order_set c = {.kind = kind, .member = "pg1", .time_us = TEST_WALL};

    return c;
}

static uint64_t give(struct scene *s, const struct command_order_set *order)
{
    struct command *c = xmalloc(sizeof(*c));

    c->kind = COMMAND_ORDER_SET;
    c->order_set = *order;
    scene_apply(s, c);
    free(c);
    s->view.self.status.postmaster_start_us = STARTED;
    return s->index;
}

/* Applies what was proposed, as the cluster would. */
static void follow(struct scene *s, enum command_kind kind)
{
    const struct command *c;

    scene_decide(s);
    c = scene_find(s, kind);
    assert_non_null(c);
    scene_apply(s, c);
    s->view.proposed_ms[kind] = 0;
}

static void begin(struct scene *s)
{
    assert_node(s, "restart-begins", ACTION_NONE);
    follow(s, COMMAND_ORDER_BEGIN);
}

static void start_postgres(struct scene *s, int64_t started_us)
{
    s->view.pg.postmaster_alive = true;
    s->view.pg.n_processes = 9;
    s->view.self.status.pg_state = PG_STATE_RUNNING;
    s->view.self.status.clean_shutdown = false;
    s->view.self.status.postmaster_start_us = started_us;
}

static void assert_end(struct scene *s, bool done, const char *text)
{
    const struct command *c;

    scene_decide(s);
    c = scene_find(s, COMMAND_ORDER_END);
    assert_non_null(c);
    assert_int_equal(c->order_end.done, done);
    assert_non_null(strstr(c->order_end.text, text));
}

/* Stop, start in place by the usual rule, and the lease is renewed at every moment. */
static void a_primary_is_restarted_with_its_lease(void **state)
{
    struct scene *s = scene_new_primary();
    const struct command_order_set o = order(REQUEST_RESTART);

    (void)state;
    give(s, &o);
    start_postgres(s, 0); /* Which server it is about must be known. */
    assert_node(s, "primary", ACTION_NONE);
    start_postgres(s, STARTED);
    begin(s);
    assert_int_equal(s->store.orders[0].postmaster_us, STARTED);
    assert_node(s, "restart", ACTION_STOP);
    assert_true(s->decision.renew_lease && !s->decision.drop_lease);
    s->view.raft.caught_up = false; /* It may be done, and this node does not know. */
    assert_node(s, "primary", ACTION_NONE);
    s->view.raft.caught_up = true;

    scene_stop_postgres(s, true, true);
    s->view.self.status.postmaster_start_us = 0;
    s->view.op.last = ACTION_STOP;
    s->store.line = (struct store_line){.timeline = 1};
    assert_node(s, "restart-in-place", ACTION_START_PRIMARY);
    assert_true(s->decision.renew_lease && !s->decision.drop_lease);
    assert_null(scene_find(s, COMMAND_EPOCH_RELEASE));

    start_postgres(s, 0); /* Its row was not read yet: it is not stopped a second time. */
    assert_node(s, "primary", ACTION_NONE);
    assert_null(scene_find(s, COMMAND_ORDER_END));
    start_postgres(s, STARTED + 5);
    assert_end(s, true, "restarted successfully");
    follow(s, COMMAND_ORDER_END);
    assert_node(s, "primary", ACTION_NONE);
    assert_null(scene_find(s, COMMAND_ORDER_END));
    free(s);
}

static void a_standby_is_restarted(void **state)
{
    struct scene *s = scene_new_standby();
    const struct command_order_set o = order(REQUEST_RESTART);

    (void)state;
    give(s, &o);
    begin(s);
    assert_node(s, "restart", ACTION_STOP);
    scene_stop_postgres(s, false, true);
    s->view.self.status.pg_state = PG_STATE_STOPPING; /* What it left on disk was not read yet. */
    s->view.pg.upstream[0] = '\0';
    assert_node(s, "starting", ACTION_NONE);
    s->view.self.status.pg_state = PG_STATE_STOPPED;
    assert_node(s, "start-standby", ACTION_START_STANDBY);
    start_postgres(s, STARTED + 5);
    assert_end(s, true, "restarted successfully");
    free(s);
}

static void name_standby(struct scene *s, const char *name)
{
    s->store.sync = (struct store_sync){.revision = 9, .primary = "pg2"};
    s->store.sync.n_names = name != NULL ? 1 : 0;
    if (name != NULL) {
        (void)str_copy(s->store.sync.names[0], NAME_SIZE, name);
    }
}

/* Commits would wait for it all the while: the primary has a moment to take another one. */
static void a_synchronous_standby_is_first_none(void **state)
{
    struct scene *s = scene_new_standby();
    const struct command_order_set o = order(REQUEST_RESTART);
    int64_t limit_us = 2 * INT64_C(1000000);

    (void)state;
    s->view.conf.loop_wait_ms = 1000;
    give(s, &o);
    begin(s);
    name_standby(s, "pg1");
    assert_node(s, "restart-named", ACTION_NONE);
    assert_true(s->decision.wake_ms <= TEST_NOW + 2001);
    name_standby(s, NULL);
    assert_node(s, "restart", ACTION_STOP);
    name_standby(s, "pg3");
    assert_node(s, "restart", ACTION_STOP);

    name_standby(s, "pg1"); /* In strict mode with nobody else it stays. */
    s->view.wall_us = TEST_WALL + limit_us - 1;
    assert_node(s, "restart-named", ACTION_NONE);
    s->view.wall_us = TEST_WALL + limit_us;
    assert_node(s, "restart", ACTION_STOP);
    s->view.wall_us = TEST_WALL - 1; /* Clocks differ: not for hours. */
    assert_node(s, "restart", ACTION_STOP);
    free(s);
}

static void a_paused_member_is_started_again(void **state)
{
    struct scene *s = scene_new_primary();
    const struct command_order_set o = order(REQUEST_RESTART);

    (void)state;
    s->view.conf.pause = true;
    give(s, &o);
    begin(s);
    assert_node(s, "restart", ACTION_STOP);
    s->store.primary.unfenced = true;
    s->view.lease.live = false; /* Lost before the stop: nothing would start it again. */
    assert_node(s, "restart-lost-lease", ACTION_NONE);
    scene_give_lease(s);
    scene_stop_postgres(s, true, true);
    s->store.line = (struct store_line){.timeline = 1};
    assert_node(s, "restart-as-primary", ACTION_START_PRIMARY);
    free(s);

    s = scene_new_standby();
    s->view.conf.pause = true;
    give(s, &o);
    begin(s);
    scene_stop_postgres(s, false, true);
    assert_node(s, "restart-as-standby", ACTION_START_STANDBY);
    free(s);
}

static void without_the_lease_no_restart_begins(void **state)
{
    struct scene *s = scene_new_primary();
    const struct command_order_set o = order(REQUEST_RESTART);

    (void)state;
    s->view.conf.pause = true;
    give(s, &o);
    s->view.lease.live = false;
    s->store.primary.unfenced = true;
    assert_node(s, "restart-without-lease", ACTION_NONE);
    assert_null(scene_find(s, COMMAND_ORDER_BEGIN));
    free(s);
}

static void nothing_urgent_waits_for_an_order(void **state)
{
    struct scene *s = scene_new_primary();
    const struct command_order_set o = order(REQUEST_RESTART);

    (void)state;
    give(s, &o);
    s->view.lease.live = false;
    assert_node(s, "fence", ACTION_FENCE);
    scene_give_lease(s);
    s->view.self.stopping = true;
    s->view.self.stopping_since_ms = TEST_NOW;
    assert_node(s, "stopping", ACTION_STOP);
    s->view.self.stopping = false;
    s->view.raft.caught_up = false;
    scene_decide(s);
    assert_string_equal(s->decision.node.rule, "primary"); /* It may have been taken back. */
    assert_null(scene_find(s, COMMAND_ORDER_BEGIN));
    free(s);
}

static void its_conditions_are_judged_when_it_is_due(void **state)
{
    struct scene *s = scene_new_primary();
    struct command_order_set o = order(REQUEST_RESTART);

    (void)state;
    o.pending_only = true;
    give(s, &o);
    assert_end(s, false, "no restart is pending");
    s->view.self.status.pending.n = 1;
    assert_node(s, "restart-begins", ACTION_NONE);
    free(s);

    s = scene_new_primary();
    o = order(REQUEST_RESTART);
    (void)str_copy(o.role, sizeof(o.role), "replica");
    give(s, &o);
    assert_end(s, false, "not a replica");
    free(s);

    s = scene_new_primary();
    o = order(REQUEST_RESTART);
    o.pg_version = 150009;
    s->view.self.status.pg_version = 150009;
    give(s, &o);
    assert_end(s, false,
               "restart conditions are not satisfied: PostgreSQL is 15.9, not older than 15.9");
    s->view.self.status.pg_version = 150008;
    assert_node(s, "restart-begins", ACTION_NONE);
    free(s);
}

static void a_scheduled_one_waits_for_its_time_and_is_not_made_up_for(void **state)
{
    struct scene *s = scene_new_primary();
    struct command_order_set o = order(REQUEST_RESTART);

    (void)state;
    o.at_us = TEST_WALL + 5000000;
    give(s, &o);
    assert_node(s, "primary", ACTION_NONE);
    assert_true(s->decision.wake_ms <= TEST_NOW + 5001);
    s->view.wall_us = TEST_WALL + 5000000;
    assert_node(s, "restart-begins", ACTION_NONE);
    s->view.wall_us = TEST_WALL + 66000000;
    assert_end(s, false, "nobody could act on it");
    free(s);
}

static void a_restart_that_does_not_come_up_fails(void **state)
{
    struct scene *s = scene_new_standby();
    const struct command_order_set o = order(REQUEST_RESTART);

    (void)state;
    give(s, &o);
    begin(s);
    scene_stop_postgres(s, false, true);
    s->view.op.last = ACTION_START_STANDBY;
    s->view.op.last_failed = true;
    s->view.op.retry_ms = TEST_NOW + 500;
    (void)str_copy(s->view.op.problem, sizeof(s->view.op.problem), "no memory");
    assert_end(s, false, "restart failed: no memory");
    s->view.op.last_failed = false;
    s->view.wall_us = TEST_WALL + 121000000; /* primary_start_timeout is a minute. */
    assert_end(s, false, "did not come up in time");
    free(s);
}

static void a_timeout_takes_the_place_of_primary_start_timeout(void **state)
{
    struct scene *s = scene_new_primary();
    struct command_order_set o = order(REQUEST_RESTART);
    struct node_facts facts;

    (void)state;
    o.timeout_ms = 2000;
    give(s, &o);
    begin(s);
    scene_stop_postgres(s, true, true);
    s->view.op.running = ACTION_START_PRIMARY;
    s->view.op.started_ms = TEST_NOW - 3000;
    node_facts_gather(&s->view, &facts);
    assert_true(facts.bits & F(START_OVERDUE));
    s->view.op.started_ms = TEST_NOW - 1000;
    node_facts_gather(&s->view, &facts);
    assert_false(facts.bits & F(START_OVERDUE));
    free(s);
}

/* It is over for the order when the data is given up; the usual rule goes on from there. */
static void a_standby_is_copied_anew(void **state)
{
    struct scene *s = scene_new_standby();
    const struct command_order_set o = order(REQUEST_REINIT);
    uint64_t id;

    (void)state;
    id = give(s, &o);
    assert_node(s, "reinit", ACTION_CLONE);
    assert_int_equal(s->decision.node.order, id);
    assert_string_equal(s->decision.node.upstream.name, "pg2");
    assert_true(s->decision.node.agrees); /* Nothing needs to be kept of it. */
    assert_false(s->decision.node.from_primary);
    assert_null(scene_find(s, COMMAND_ORDER_END));
    scene_stop_postgres(s, false, true);
    s->view.self.status.data = DATA_INCOMPLETE;
    s->view.op.running = ACTION_CLONE;
    s->view.op.order = id;
    assert_end(s, true, "reinitialize started");
    s->view.op.running = ACTION_NONE; /* The agent was killed: the rule goes on, for the order. */
    s->view.op.order = 0;
    assert_end(s, true, "reinitialize started");
    assert_node(s, "clone", ACTION_CLONE);
    assert_int_equal(s->decision.node.order, id);
    follow(s, COMMAND_ORDER_END);
    assert_node(s, "clone", ACTION_CLONE);
    assert_int_equal(s->decision.node.order, 0);
    free(s);
}

/* A copy that was made for one order is none for the next. */
static void a_standby_is_copied_anew_for_each_order(void **state)
{
    struct scene *s = scene_new_standby();
    const struct command_order_set o = order(REQUEST_REINIT);
    uint64_t first, second;

    (void)state;
    first = give(s, &o);
    s->view.op.last = ACTION_CLONE; /* It was quick: nobody saw it run. */
    (void)str_copy(s->view.op.last_rule, sizeof(s->view.op.last_rule), "reinit");
    s->view.op.last_order = first;
    assert_end(s, true, "reinitialize started");
    follow(s, COMMAND_ORDER_END);
    second = give(s, &o);
    assert_true(second != first);
    assert_node(s, "reinit", ACTION_CLONE);
    assert_int_equal(s->decision.node.order, second);
    assert_null(scene_find(s, COMMAND_ORDER_END));
    free(s);
}

static struct scene *scene_new_copying(enum node_action action, enum data_state data)
{
    struct scene *s = scene_new_standby();

    scene_stop_postgres(s, false, true);
    s->view.self.status.data = data;
    s->view.op.running = action;
    s->view.op.started_ms = TEST_NOW - 60000;
    return s;
}

/* It is tried at once, and then again after the usual pauses. */
static void an_order_does_not_wait_for_what_failed_before(void **state)
{
    struct scene *s = scene_new_copying(ACTION_NONE, DATA_INCOMPLETE);
    const struct command_order_set o = order(REQUEST_REINIT);

    (void)state;
    s->view.op.last = ACTION_CLONE;
    s->view.op.last_failed = true;
    s->view.op.retry_ms = TEST_NOW + 30000;
    assert_node(s, "back-off", ACTION_NONE);
    s->view.op.last_order = give(s, &o) - 1;
    assert_node(s, "clone", ACTION_CLONE);
    assert_int_equal(s->decision.node.order, s->view.op.last_order + 1);
    s->view.op.last_order++;
    assert_node(s, "back-off", ACTION_NONE);
    free(s);
}

static void a_copy_that_runs_refuses_another_one(void **state)
{
    struct scene *s = scene_new_copying(ACTION_CLONE, DATA_INCOMPLETE);
    const struct command_order_set o = order(REQUEST_REINIT);

    (void)state;
    give(s, &o);
    assert_end(s, false, "clone already in progress");
    assert_string_equal(s->decision.node.rule, "keep-operation");
    free(s);

    s = scene_new_copying(ACTION_REWIND, DATA_REWINDING);
    give(s, &o);
    assert_end(s, false, "rewind already in progress");
    assert_string_equal(s->decision.node.rule, "keep-operation");
    free(s);
}

/* In a paused cluster there is no rule `clone` to go on with what was cut off. */
static void assert_begun_anew(struct scene *s, uint64_t id)
{
    s->view.op.running = ACTION_NONE;
    s->view.op.order = 0;
    assert_node(s, "reinit", ACTION_CLONE);
    assert_int_equal(s->decision.node.order, id);
    assert_null(scene_find(s, COMMAND_ORDER_END));
}

/* What runs of a standby is cut off, whatever it is, once. */
static void assert_cut_off(struct scene *s, bool pause)
{
    struct command_order_set o = order(REQUEST_REINIT);
    uint64_t id;

    o.pending_only = true;
    s->view.conf.pause = pause;
    s->view.op.order = 1; /* For another one, if it is a copy. */
    id = give(s, &o);
    assert_node(s, "reinit-anew", ACTION_CLONE);
    assert_int_equal(s->decision.node.order, id);
    assert_null(scene_find(s, COMMAND_ORDER_END));
    if (pause) {
        assert_begun_anew(s, id);
    }

    s->view.op.running = ACTION_CLONE; /* It begins by asking the source, */
    s->view.op.order = id;
    s->view.self.status.data = DATA_VALID;
    assert_node(s, "keep-operation", ACTION_CLONE);
    assert_int_equal(s->decision.node.order, 0);
    assert_null(scene_find(s, COMMAND_ORDER_END));
    s->view.self.status.data = DATA_INCOMPLETE; /* and then gives up what was there. */
    assert_end(s, true, "reinitialize started");
    follow(s, COMMAND_ORDER_END);
    assert_node(s, "keep-operation", ACTION_CLONE);
}

static void by_force_a_copy_takes_the_place_of_what_runs(void **state)
{
    static const struct {
        enum node_action running;
        enum data_state data;
    } table[] = {
        {ACTION_CLONE, DATA_INCOMPLETE}, {ACTION_CLONE, DATA_VALID}, /* It asks, or starts. */
        {ACTION_REWIND, DATA_REWINDING}, {ACTION_START_STANDBY, DATA_VALID},
        {ACTION_FOLLOW, DATA_VALID},
    };

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LENGTH(table); i++) {
        struct scene *s = scene_new_copying(table[i / 2].running, table[i / 2].data);

        assert_cut_off(s, i % 2 == 1);
        free(s);
    }
}

/* An order is all that makes a copy then, so it is not said to be begun before it is. */
static void a_paused_member_without_data_is_copied_anew_by_order(void **state)
{
    static const enum data_state table[] = {DATA_EMPTY, DATA_INCOMPLETE};
    const struct command_order_set o = order(REQUEST_REINIT);

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        struct scene *s = scene_new_copying(ACTION_NONE, table[i]);
        uint64_t id;

        s->view.conf.pause = true;
        assert_node(s, "paused", ACTION_NONE);
        id = give(s, &o);
        assert_begun_anew(s, id);
        s->view.peers[0].status.pg_state = PG_STATE_STARTING; /* Nobody there to copy from. */
        assert_node(s, "paused", ACTION_NONE);
        assert_null(scene_find(s, COMMAND_ORDER_END));
        s->view.peers[0].status.pg_state = PG_STATE_RUNNING;
        s->view.conf.pause = false; /* Resumed: the rule does it. */
        assert_end(s, true, "reinitialize started");
        assert_node(s, "clone", ACTION_CLONE);
        s->view.conf.pause = true;
        s->view.op.running = ACTION_CLONE;
        s->view.op.order = id;
        assert_end(s, true, "reinitialize started");
        follow(s, COMMAND_ORDER_END);
        assert_node(s, "keep-operation", ACTION_CLONE);
        free(s);
    }
}

static void force_does_not_cut_off_what_is_no_copy(void **state)
{
    static const enum node_action actions[] = {ACTION_STOP, ACTION_FENCE, ACTION_CLEAN_UP,
                                               ACTION_CHECKPOINT};
    struct command_order_set o = order(REQUEST_REINIT);
    struct scene *s;

    (void)state;
    o.pending_only = true;
    for (size_t i = 0; i < ARRAY_LENGTH(actions); i++) {
        s = scene_new_copying(actions[i], DATA_VALID);
        give(s, &o);
        assert_node(s, "keep-operation", actions[i]);
        assert_null(scene_find(s, COMMAND_ORDER_END));
        free(s);
    }

    s = scene_new_copying(ACTION_CLONE, DATA_INCOMPLETE); /* Nobody there to copy from. */
    give(s, &o);
    s->view.peers[0].status.pg_state = PG_STATE_STARTING;
    assert_node(s, "keep-operation", ACTION_CLONE);
    assert_null(scene_find(s, COMMAND_ORDER_END));
    free(s);

    s = scene_new_copying(ACTION_CLONE, DATA_INCOMPLETE); /* It may have been taken back. */
    give(s, &o);
    s->view.raft.caught_up = false;
    assert_node(s, "keep-operation", ACTION_CLONE);
    assert_null(scene_find(s, COMMAND_ORDER_END));
    free(s);
}

/* reinit --from-leader */
static void an_order_may_leave_out_the_methods_of_making_a_standby(void **state)
{
    struct scene *s = scene_new_standby();
    struct command_order_set o = order(REQUEST_REINIT);

    (void)state;
    (void)str_copy(o.role, sizeof(o.role), "primary");
    give(s, &o);
    assert_node(s, "reinit", ACTION_CLONE);
    assert_true(s->decision.node.from_primary);
    free(s);
}

static void a_diverged_member_is_copied_anew_by_order(void **state)
{
    struct scene *s = scene_new_standby();
    const struct command_order_set o = order(REQUEST_REINIT);

    (void)state;
    s->view.conf.use_pg_rewind = false;
    s->view.self.status.timeline = 5; /* The primary is on 1. */
    s->view.self.diverged_since_ms = TEST_NOW - 60000;
    assert_node(s, "diverged", ACTION_NONE);
    give(s, &o);
    assert_node(s, "reinit", ACTION_CLONE);
    assert_false(s->decision.node.agrees);
    free(s);
}

static void what_must_not_be_given_up_is_not(void **state)
{
    struct scene *s = scene_new_primary();
    const struct command_order_set o = order(REQUEST_REINIT);

    (void)state;
    give(s, &o);
    assert_end(s, false, "I am the leader");
    assert_int_equal(s->decision.node.action, ACTION_NONE);
    free(s);

    s = scene_new_standby(); /* Nobody to copy from: nothing happens until there is. */
    give(s, &o);
    s->view.peers[0].status.pg_state = PG_STATE_STARTING;
    assert_node(s, "standby", ACTION_NONE);
    s->view.wall_us = TEST_WALL + 61000000;
    assert_end(s, false, "nobody could act on it");
    free(s);

    s = scene_new_standby();
    give(s, &o);
    scene_stop_postgres(s, false, true);
    s->view.self.status.data = DATA_FOREIGN;
    assert_node(s, "foreign-files", ACTION_NONE);
    free(s);
}

static void anothers_order_is_not_ours(void **state)
{
    struct scene *s = scene_new_standby();
    struct command_order_set o = order(REQUEST_RESTART);

    (void)state;
    (void)str_copy(o.member, sizeof(o.member), "pg2");
    give(s, &o);
    assert_node(s, "standby", ACTION_NONE);
    assert_null(scene_find(s, COMMAND_ORDER_BEGIN));
    assert_null(order_due(&s->view));
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_primary_is_restarted_with_its_lease),
        cmocka_unit_test(a_standby_is_restarted),
        cmocka_unit_test(a_synchronous_standby_is_first_none),
        cmocka_unit_test(a_paused_member_is_started_again),
        cmocka_unit_test(without_the_lease_no_restart_begins),
        cmocka_unit_test(nothing_urgent_waits_for_an_order),
        cmocka_unit_test(its_conditions_are_judged_when_it_is_due),
        cmocka_unit_test(a_scheduled_one_waits_for_its_time_and_is_not_made_up_for),
        cmocka_unit_test(a_restart_that_does_not_come_up_fails),
        cmocka_unit_test(a_timeout_takes_the_place_of_primary_start_timeout),
        cmocka_unit_test(a_standby_is_copied_anew),
        cmocka_unit_test(a_standby_is_copied_anew_for_each_order),
        cmocka_unit_test(an_order_does_not_wait_for_what_failed_before),
        cmocka_unit_test(a_copy_that_runs_refuses_another_one),
        cmocka_unit_test(by_force_a_copy_takes_the_place_of_what_runs),
        cmocka_unit_test(a_paused_member_without_data_is_copied_anew_by_order),
        cmocka_unit_test(force_does_not_cut_off_what_is_no_copy),
        cmocka_unit_test(an_order_may_leave_out_the_methods_of_making_a_standby),
        cmocka_unit_test(a_diverged_member_is_copied_anew_by_order),
        cmocka_unit_test(what_must_not_be_given_up_is_not),
        cmocka_unit_test(anothers_order_is_not_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
