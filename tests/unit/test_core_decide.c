/* decide() in single situations: which rule, which action, which command. */
#include "core/decide.h"
#include "core/explain.h"
#include "core/lookup.h"
#include "test_core_util.h"

static void a_primary_without_the_lease_is_fenced(void **state)
{
    /* The deadline that the guard confirmed is over; then it is another epoch's; then there is
     * none. */
    struct scene *s = scene_new_primary();

    (void)state;
    assert_node(s, "primary", ACTION_NONE);
    assert_true(decide_is_primary_now(&s->view));
    s->view.lease.confirmed_ms = 1;
    assert_node(s, "primary", ACTION_NONE);
    assert_int_equal(s->decision.wake_ms, TEST_NOW + 1);
    s->view.lease.confirmed_ms = 1000; /* Timers may be late by a tenth. */
    assert_node(s, "primary", ACTION_NONE);
    assert_int_equal(s->decision.wake_ms, TEST_NOW + 900);

    s->view.lease.confirmed_ms = 0; /* Whatever the lease itself says. */
    assert_node(s, "fence", ACTION_FENCE);
    assert_true(s->decision.node.kill);
    assert_false(decide_is_primary_now(&s->view));
    s->view.lease.confirmed_ms = 2900;
    s->view.lease.epoch = 2;
    assert_node(s, "fence", ACTION_FENCE);
    s->view.lease = (struct view_lease){.epoch = 1};
    assert_node(s, "fence", ACTION_FENCE);
    assert_true(s->decision.renew_lease);
    free(s);
}

static void what_is_frozen_waits_for_the_lease_or_is_killed(void **state)
{
    /* The guard was in time: the agent does not stop, start or signal anything. */
    struct scene *s = scene_new_primary();

    (void)state;
    s->view.pg.frozen = true;
    s->view.lease.confirmed_ms = 0;
    assert_node(s, "frozen", ACTION_NONE);
    assert_true(s->decision.renew_lease);
    assert_false(decide_is_primary_now(&s->view));

    s->view.lease.confirmed_ms =
        2900; /* The lease is back: it is thawed by the guard, in its time. */
    assert_node(s, "frozen", ACTION_NONE);
    assert_false(decide_is_primary_now(&s->view));

    s->view.self.stopping = true;
    assert_node(s, "frozen-stop", ACTION_FENCE);
    assert_true(s->decision.node.kill);
    free(s);
}

static void what_is_frozen_is_killed_when_the_epoch_has_passed(void **state)
{
    /* pg1 was cut off; pg2 was made primary meanwhile; an old store does not count. */
    struct scene *s = scene_new_standby();

    (void)state;
    s->view.self.status.pg_role = PG_ROLE_PRIMARY;
    s->view.pg.was_primary = true;
    s->view.pg.frozen = true;
    assert_node(s, "frozen-lost", ACTION_FENCE);
    assert_true(s->decision.node.kill);
    s->view.raft.caught_up = false;
    assert_node(s, "frozen", ACTION_NONE);

    s->view.pg.postmaster_alive = false; /* Only backends are left. */
    assert_node(s, "fence", ACTION_FENCE);
    free(s);
}

static void a_promotion_is_fenced_when_the_lease_goes(void **state)
{
    /* The promotion runs; the server still says that it is in recovery. */
    struct scene *s = scene_new_primary();

    (void)state;
    s->view.self.status.pg_role = PG_ROLE_STANDBY;
    s->view.op.running = ACTION_PROMOTE;
    assert_node(s, "keep-operation", ACTION_PROMOTE);

    s->view.lease.live = false;
    assert_node(s, "fence", ACTION_FENCE);
    free(s);
}

static void an_earlier_boot_of_this_node_owns_nothing(void **state)
{
    /* The store names this node, but the instance before the reboot. */
    struct scene *s = scene_new_primary();

    (void)state;
    s->view.self.status.instance = 999;
    assert_node(s, "fence", ACTION_FENCE);
    assert_false(s->decision.renew_lease);
    free(s);
}

static void a_restarted_agent_leaves_the_primary_running_for_a_moment(void **state)
{
    /* The agent started 1 s ago, its store is still empty; then others tell the truth. */
    struct scene *s = scene_new_primary();

    (void)state;
    s->view.self.started_ms = TEST_NOW - 1000;
    s->view.raft.caught_up = false;
    s->view.lease = (struct view_lease){.epoch = 1, .promised_ms = 501};
    assert_node(s, "catching-up", ACTION_NONE);
    assert_int_equal(s->decision.wake_ms, TEST_NOW + 1);

    s->view.self.started_ms = TEST_NOW - 3000;
    assert_node(s, "fence", ACTION_FENCE);
    s->view.self.started_ms = TEST_NOW - 1000;
    s->view.lease.promised_ms = 500; /* A promise that is over allows nothing. */
    assert_node(s, "fence", ACTION_FENCE);
    s->view.lease.promised_ms = 501;
    s->store.primary.owner_id = PG2;
    assert_node(s, "fence", ACTION_FENCE);
    free(s);
}

static void left_over_processes_come_before_everything(void **state)
{
    /* The postmaster was killed, backends live on, the lease is live. */
    struct scene *s = scene_new_primary();

    (void)state;
    scene_stop_postgres(s, true, false);
    s->view.pg.n_processes = 3;
    assert_node(s, "left-overs", ACTION_CLEAN_UP);

    s->view.pg.n_processes = 0;
    assert_node(s, "restart-in-place", ACTION_START_PRIMARY);
    free(s);
}

/* pg1 has declared, in the present epoch, what it is about to write. */
static void declare(struct scene *s)
{
    s->store.line = (struct store_line){.epoch = s->store.primary.epoch,
                                        .owner_id = PG1,
                                        .owner = "pg1",
                                        .timeline = 2,
                                        .parent = 1,
                                        .lsn = s->view.self.status.flushed};
}

static void nobody_promotes_on_old_positions(void **state)
{
    /* pg1 got the lease 1 s ago as standby. pg2 answers later than it is asked. */
    struct scene *s = scene_new_primary();
    struct view_peer *pg2 = &s->view.peers[0];

    (void)state;
    s->view.self.status.pg_role = PG_ROLE_STANDBY;
    s->view.pg.was_primary = false;
    pg2->positions =
        (struct positions){.epoch = 1, .valid = true, .timeline = 1, .flushed = 10 * MB};
    pg2->positions_ms = TEST_NOW - 1001;
    assert_node(s, "ask-positions", ACTION_NONE);
    assert_true(s->decision.ask_positions);

    s->view.positions_asked_ms = TEST_NOW - 200;
    assert_node(s, "ask-positions", ACTION_NONE);
    assert_false(s->decision.ask_positions);
    assert_int_equal(s->decision.wake_ms, TEST_NOW + 800);
    declare(s);
    s->view.positions_asked_ms = TEST_NOW - 1000; /* Silent too long: no vote. */
    assert_node(s, "promote", ACTION_PROMOTE);
    s->store.progress = (struct store_progress){10 * MB + 1, 1, 1, TEST_WALL - 2300000};
    assert_node(s, "promote", ACTION_PROMOTE); /* What it was judged on is on record. */
    assert_non_null(
        strstr(s->decision.node.evidence, "; misses 1 bytes up to 0/A00001 (progress, 2.3 s ago)"));
    s->view.positions_asked_ms = TEST_NOW - 200;
    pg2->positions_ms = TEST_NOW - 100;
    assert_node(s, "promote", ACTION_PROMOTE);
    free(s);
}

static struct scene *scene_about_to_promote(void)
{
    struct scene *s = scene_new_primary();

    s->view.self.status.pg_role = PG_ROLE_STANDBY;
    s->view.pg.was_primary = false;
    s->view.positions_asked_ms = TEST_NOW - 200;
    s->view.peers[0].positions =
        (struct positions){.epoch = 1, .valid = true, .timeline = 1, .flushed = 10 * MB};
    s->view.peers[0].positions_ms = TEST_NOW - 100;
    return s;
}

static void the_epoch_goes_to_who_is_better_placed(void **state)
{
    /* pg2 answers with one byte more. */
    struct scene *s = scene_about_to_promote();
    const struct command *c;

    (void)state;
    s->view.peers[0].positions.flushed++;
    assert_node(s, "better-placed", ACTION_NONE);
    assert_true(s->decision.drop_lease && !s->decision.renew_lease);
    c = scene_find(s, COMMAND_EPOCH_RELEASE);
    assert_non_null(c);
    assert_string_equal(c->epoch_release.successor, "pg2");

    s->view.peers[0].status.nofailover = true;
    declare(s);
    assert_node(s, "promote", ACTION_PROMOTE);
    free(s);
}

static void who_does_not_answer_lets_another_take_over(void **state)
{
    /* pg1's PostgreSQL hung just before it was chosen: it was not seen with the lease. */
    struct scene *s = scene_about_to_promote();
    const struct command *c;

    (void)state;
    s->view.lease.live_since_ms = TEST_NOW - 9900;
    s->view.positions_asked_ms = TEST_NOW - 9900;
    s->view.pg.seen_ms = TEST_NOW - 10001;
    assert_node(s, "does-not-answer", ACTION_NONE);
    assert_true(s->decision.drop_lease && !s->decision.renew_lease);
    c = scene_find(s, COMMAND_EPOCH_RELEASE);
    assert_non_null(c);
    assert_string_equal(c->epoch_release.rule, "does-not-answer");

    s->view.pg.seen_ms++; /* Only slow, perhaps. */
    assert_node(s, "ask-positions", ACTION_NONE);
    assert_true(s->decision.renew_lease);
    s->view.pg.seen_ms = TEST_NOW; /* It answers again. */
    declare(s);
    assert_node(s, "promote", ACTION_PROMOTE);
    s->view.pg.seen_ms = TEST_NOW - 10001;
    scene_decide(s);
    scene_apply(s, scene_find(s, COMMAND_EPOCH_RELEASE));
    assert_true(lookup_gave_up(&s->store, "pg1")); /* Not at once again. */
    free(s);
}

static void who_does_not_answer_waits_where_nobody_else_would_do_better(void **state)
{
    /* Nobody else; nor does pg2 answer; an order by name; what may be promoted behind its back:
     * the guard has it as one that may write; a promotion that is under way. */
    struct scene *s = scene_about_to_promote();

    (void)state;
    s->view.pg.seen_ms = TEST_NOW - 10001;
    assert_node(s, "does-not-answer", ACTION_NONE);
    s->view.peers[0].status.nofailover = true;
    assert_node(s, "ask-positions", ACTION_NONE);
    assert_true(s->decision.renew_lease);
    s->view.peers[0].status.nofailover = false;
    s->view.peers[0].status.pg_state = PG_STATE_UNKNOWN;
    assert_node(s, "ask-positions", ACTION_NONE);
    s->view.peers[0].status.pg_state = PG_STATE_RUNNING;
    s->view.lease.armed = true;
    assert_node(s, "ask-positions", ACTION_NONE);
    s->view.op.running = ACTION_PROMOTE;
    s->view.lease.armed = false;
    assert_node(s, "keep-operation", ACTION_PROMOTE);
    assert_null(scene_find(s, COMMAND_EPOCH_RELEASE));
    s->view.op.running = ACTION_NONE;
    assert_node(s, "does-not-answer", ACTION_NONE);
    free(s);
}

static void who_was_ordered_by_name_is_waited_for(void **state)
{
    /* As above, and an operator's order passed what speaks against pg1; then the same without. */
    static const bool forced[] = {true, false};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(forced); i++) {
        struct scene *s = scene_about_to_promote();
        struct command c = {.kind = COMMAND_EPOCH_TAKE};

        scene_release(s, "switchover-release", "pg1");
        c.epoch_take.expect_epoch = s->store.primary.epoch;
        (void)str_copy(c.epoch_take.owner, NAME_SIZE, "pg1");
        c.epoch_take.owner_id = PG1;
        c.epoch_take.instance = 101;
        c.epoch_take.forced = forced[i];
        (void)str_copy(c.epoch_take.rule, NAME_SIZE, "take-over");
        scene_apply(s, &c);
        s->view.lease.epoch = s->store.primary.epoch;
        s->view.pg.seen_ms = TEST_NOW - 10001;
        assert_node(s, forced[i] ? "ask-positions" : "does-not-answer", ACTION_NONE);
        free(s);
    }
}

static void who_was_seen_with_the_lease_goes_on(void **state)
{
    /* It hangs now, and answered when positions were asked: what is declared is promoted. */
    struct scene *s = scene_about_to_promote();

    (void)state;
    declare(s);
    s->view.lease.live_since_ms = TEST_NOW - 10001;
    s->view.positions_asked_ms = TEST_NOW - 10001;
    s->view.pg.seen_ms = TEST_NOW - 10001;
    assert_node(s, "promote", ACTION_PROMOTE);
    free(s);
}

static void an_answer_can_be_overtaken_by_a_status(void **state)
{
    /* pg2 answered with as much as we have, and has received one byte since. */
    struct scene *s = scene_about_to_promote();

    (void)state;
    s->view.peers[0].status.received = 10 * MB + 1;
    assert_node(s, "better-placed", ACTION_NONE);
    assert_non_null(strstr(s->decision.node.evidence, "pg2 is at 0/A00001 on timeline 1"));
    s->view.peers[0].positions.valid = false; /* Its server does not answer. */
    declare(s);
    assert_node(s, "promote", ACTION_PROMOTE);
    free(s);
}

/* The timeline is declared; pg2 did not answer when all were asked, and tells of more. */
static struct scene *scene_with_more_behind(void)
{
    struct scene *s = scene_about_to_promote();

    declare(s);
    s->view.peers[0].positions.epoch = 0;
    s->view.peers[0].status.received = 10 * MB + 1;
    return s;
}

static void who_came_back_with_more_is_asked_again(void **state)
{
    /* pg2, the old primary, was cut off when all were asked; now it runs as standby. */
    struct scene *s = scene_with_more_behind();
    struct view_peer *pg2 = &s->view.peers[0];

    (void)state;
    assert_node(s, "ask-positions", ACTION_NONE);
    assert_false(s->decision.ask_positions); /* Others may still answer. */
    s->view.positions_asked_ms = TEST_NOW - 1000;
    assert_node(s, "ask-positions", ACTION_NONE);
    assert_true(s->decision.ask_positions);
    s->view.positions_asked_ms = TEST_NOW;
    assert_node(s, "ask-positions", ACTION_NONE);
    assert_false(s->decision.ask_positions);
    pg2->positions.epoch = 1;
    assert_node(s, "better-placed", ACTION_NONE);
    free(s);
}

static void who_does_not_answer_is_asked_for_a_ttl(void **state)
{
    /* pg2 says in its status that it has more, and nothing else; or could not take over. */
    struct scene *s = scene_with_more_behind();
    struct view_peer *pg2 = &s->view.peers[0];

    (void)state;
    s->view.positions_asked_ms = TEST_NOW - 1000;
    s->view.lease.live_since_ms = TEST_NOW - 3999;
    assert_node(s, "ask-positions", ACTION_NONE);
    s->view.lease.live_since_ms = TEST_NOW - 4000;
    assert_node(s, "promote", ACTION_PROMOTE);
    s->view.lease.live_since_ms = TEST_NOW - 1000;
    pg2->connected = false;
    assert_node(s, "promote", ACTION_PROMOTE);
    pg2->connected = true;
    pg2->status.nofailover = true;
    assert_node(s, "promote", ACTION_PROMOTE);
    pg2->status.nofailover = false;
    pg2->status.received = 10 * MB; /* No more than we have. */
    assert_node(s, "promote", ACTION_PROMOTE);
    free(s);
}

static void the_epoch_does_not_go_in_circles(void **state)
{
    /* pg2 released it to us as better placed; now it has more. */
    struct scene *s = scene_new();

    (void)state;
    free(s);
    s = scene_about_to_promote();
    scene_release(s, "better-placed", "pg2");
    scene_take(s, PG1, 101);
    s->view.lease.epoch = 2;
    s->view.peers[0].positions.epoch = 2;
    s->view.peers[0].positions.flushed++;
    declare(s);
    assert_node(s, "promote", ACTION_PROMOTE);
    free(s);
}

static void a_timeline_is_declared_before_it_is_written(void **state)
{
    /* Timeline 4 was declared before by pg2, which is heard and still on 1. */
    struct scene *s = scene_about_to_promote();
    const struct command *c;

    (void)state;
    s->store.line = (struct store_line){
        .epoch = 1, .owner_id = PG2, .owner = "pg2", .timeline = 4, .parent = 1, .lsn = MB};
    assert_node(s, "declare-timeline", ACTION_NONE);
    c = scene_find(s, COMMAND_LINE_SET);
    assert_non_null(c);
    assert_true(c->line_set.expect_epoch == 1 && c->line_set.timeline == 5);
    assert_true(c->line_set.parent == 1 && c->line_set.lsn == s->view.self.status.flushed);

    declare(s);
    s->store.line.timeline = 5;
    assert_node(s, "promote", ACTION_PROMOTE);
    assert_int_equal(s->decision.node.timeline, 5);

    s->view.self.status.flushed += 8; /* More came in: said again, under the same number. */
    assert_node(s, "declare-timeline", ACTION_NONE);
    assert_int_equal(scene_find(s, COMMAND_LINE_SET)->line_set.timeline, 5);
    s->view.pg.taken_timeline = 6; /* Left by a promotion that was cut off. */
    assert_node(s, "declare-timeline", ACTION_NONE);
    assert_int_equal(scene_find(s, COMMAND_LINE_SET)->line_set.timeline, 7);
    free(s);
}

static void nobody_sends_more_once_the_position_is_declared(void **state)
{
    /* pg1 still follows whom it followed. Then what it knows of that ended is tried again. */
    struct scene *s = scene_about_to_promote();

    (void)state;
    s->view.pg.receives = true;
    assert_node(s, "stop-following", ACTION_FOLLOW);
    assert_string_equal(s->decision.node.upstream.name, "");
    assert_null(scene_find(s, COMMAND_LINE_SET));
    declare(s); /* By the agent before this one. */
    assert_node(s, "stop-following", ACTION_FOLLOW);

    s->view.op.last = ACTION_FOLLOW;
    (void)str_copy(s->view.op.last_rule, NAME_SIZE, "stop-following");
    s->view.op.last_failed = true;
    s->view.op.retry_ms = TEST_NOW + 1000;
    assert_node(s, "promote-failed", ACTION_NONE);
    assert_string_equal(scene_find(s, COMMAND_EPOCH_RELEASE)->epoch_release.rule, "promote-failed");
    s->view.peers[0].status.nofailover = true;
    assert_node(s, "back-off", ACTION_NONE);

    s->view.op.last_failed = false;
    s->view.pg.receives = false;
    assert_node(s, "promote", ACTION_PROMOTE);
    free(s);
}

/* In the place of that rule, until it let it pass. */
static void assert_prepares(struct scene *s, const char *rule, enum node_action action)
{
    s->view.op.prepared_epoch = 9; /* Another epoch's. */
    assert_node(s, "pre-promote", ACTION_PREPARE);
    assert_int_equal(s->decision.n_commands, 0);
    s->view.op.prepared_epoch = 1;
    assert_node(s, rule, action);
}

static void pre_promote_comes_before_anything_of_a_promotion(void **state)
{
    struct scene *s = scene_about_to_promote();

    (void)state;
    s->view.conf.pre_promote = true;
    assert_prepares(s, "declare-timeline", ACTION_NONE);
    s->view.pg.receives = true;
    assert_prepares(s, "stop-following", ACTION_FOLLOW);
    s->view.pg.receives = false;
    declare(s);
    s->view.conf.sync_mode = SYNC_ON;
    assert_prepares(s, "claim-sync", ACTION_NONE);
    s->view.conf.sync_mode = SYNC_OFF;
    assert_prepares(s, "promote", ACTION_PROMOTE);
    free(s);
}

static void who_is_refused_by_pre_promote_lets_another_take_over(void **state)
{
    struct scene *s = scene_about_to_promote();

    (void)state;
    s->view.conf.pre_promote = true;
    s->view.op.last = ACTION_PREPARE;
    s->view.op.last_failed = true;
    s->view.op.retry_ms = TEST_NOW + 1000;
    assert_node(s, "promote-failed", ACTION_NONE);
    assert_non_null(scene_find(s, COMMAND_EPOCH_RELEASE));
    s->view.peers[0].status.nofailover = true; /* There is nobody else. */
    assert_node(s, "back-off", ACTION_NONE);
    assert_null(scene_find(s, COMMAND_EPOCH_RELEASE));
    s->view.op.retry_ms = TEST_NOW;
    assert_node(s, "pre-promote", ACTION_PREPARE);
    free(s);
}

static void pre_promote_does_not_go_on_without_the_lease(void **state)
{
    struct scene *s = scene_about_to_promote();

    (void)state;
    s->view.conf.pre_promote = true;
    s->view.op.running = ACTION_PREPARE;
    assert_node(s, "keep-operation", ACTION_PREPARE);
    s->view.lease.live = false;
    assert_node(s, "wait-for-lease", ACTION_NONE);
    free(s);
}

static void a_paused_owner_that_is_a_standby_is_left_alone(void **state)
{
    struct scene *s = scene_about_to_promote();

    (void)state;
    s->view.pg.receives = true;
    s->view.conf.pause = true;
    assert_node(s, "paused", ACTION_NONE);
    free(s);
}

static void a_timeline_that_may_have_been_begun_is_waited_for(void **state)
{
    /* pg2 declared timeline 2 and is silent. Then it says that it never came there. */
    struct scene *s = scene_about_to_promote();

    (void)state;
    s->store.line = (struct store_line){.epoch = 1,
                                        .owner_id = PG2,
                                        .owner = "pg2",
                                        .timeline = 2,
                                        .parent = 1,
                                        .lsn = s->view.self.status.flushed};
    s->view.peers[0].received_ms = TEST_NOW - 60000;
    s->view.peers[0].connected = false;
    assert_node(s, "lag-bound", ACTION_NONE);
    assert_non_null(strstr(s->decision.node.evidence, "timeline 2 of pg2 was begun or may have"));

    s->view.conf.maximum_lag_on_failover = -1;
    assert_node(s, "declare-timeline", ACTION_NONE);
    s->store.line.lsn--; /* What we have is not what it went on from. */
    assert_node(s, "off-line", ACTION_NONE);

    s->view.conf.maximum_lag_on_failover = MB;
    s->view.peers[0].received_ms = TEST_NOW;
    assert_node(s, "declare-timeline", ACTION_NONE);
    free(s);
}

static void only_who_wrote_the_newest_timeline_is_restarted_in_place(void **state)
{
    /* pg1 was primary on timeline 1, crashed, and has the lease again. */
    struct scene *s = scene_new_primary();

    (void)state;
    scene_stop_postgres(s, true, false);
    s->store.line = (struct store_line){.epoch = 1, .owner_id = PG1, .owner = "pg1", .timeline = 1};
    assert_node(s, "restart-in-place", ACTION_START_PRIMARY);
    s->store.line.owner_id = PG2;
    assert_node(s, "start-to-promote", ACTION_START_STANDBY);
    s->store.line = (struct store_line){
        .epoch = 1, .owner_id = PG1, .owner = "pg1", .timeline = 2, .parent = 1, .lsn = MB};
    assert_node(s, "start-to-promote", ACTION_START_STANDBY);
    free(s);
}

static void a_primary_on_an_old_timeline_is_fenced(void **state)
{
    struct scene *s = scene_new_primary();

    (void)state;
    assert_true(decide_is_primary_now(&s->view));
    s->store.line = (struct store_line){
        .epoch = 1, .owner_id = PG2, .owner = "pg2", .timeline = 2, .parent = 1, .lsn = MB};
    assert_node(s, "fence-old-timeline", ACTION_FENCE);
    assert_false(decide_is_primary_now(&s->view));
    free(s);
}

static void no_row_is_acknowledged_before_the_database_is_the_clusters(void **state)
{
    struct scene *s = scene_new_primary();

    (void)state;
    s->store.cluster.init = INIT_RUNNING;
    s->store.cluster.sysid = 0;
    assert_false(decide_is_primary_now(&s->view));
    free(s);
}

static void who_misses_too_much_gives_the_epoch_back(void **state)
{
    /* pg3, which may not be primary, tells of 2 MB more. */
    struct scene *s = scene_about_to_promote();

    (void)state;
    s->view.peers[0].status.nofailover = true;
    s->view.peers[0].positions.flushed = 12 * MB;
    assert_node(s, "lag-bound", ACTION_NONE);
    assert_non_null(strstr(s->decision.node.evidence, "misses 2097152 bytes"));
    assert_non_null(scene_find(s, COMMAND_EPOCH_RELEASE));

    s->view.conf.maximum_lag_on_failover = -1;
    declare(s);
    assert_node(s, "promote", ACTION_PROMOTE);
    free(s);
}

static void an_owner_that_gets_no_lease_releases(void **state)
{
    /* Chosen, and for ttl/2 no majority grants; twice that after a barren epoch. */
    struct scene *s = scene_new();

    (void)state;
    scene_take(s, PG1, 101);
    s->view.lease = (struct view_lease){.epoch = 1, .wanted_since_ms = TEST_NOW - 1499};
    assert_node(s, "wait-for-lease", ACTION_NONE);
    assert_true(s->decision.renew_lease);

    s->view.lease.wanted_since_ms = TEST_NOW - 1500;
    assert_node(s, "no-lease", ACTION_NONE);
    assert_non_null(scene_find(s, COMMAND_EPOCH_RELEASE));
    s->view.lease.epoch = 0; /* The lease was dropped then, and the proposal got lost. */
    assert_node(s, "no-lease", ACTION_NONE);
    assert_non_null(scene_find(s, COMMAND_EPOCH_RELEASE));
    s->store.primary.barren = 1;
    assert_node(s, "wait-for-lease", ACTION_NONE);
    free(s);
}

static void an_owner_long_without_lease_serves_reads(void **state)
{
    /* It held the epoch, was fenced, and waits for more than two ttl. */
    struct scene *s = scene_new_primary();

    (void)state;
    scene_stop_postgres(s, true, false);
    s->view.lease = (struct view_lease){.epoch = 1, .wanted_since_ms = TEST_NOW - 5999};
    assert_node(s, "wait-for-lease", ACTION_NONE);

    s->view.lease.wanted_since_ms = TEST_NOW - 6000;
    assert_node(s, "standby-without-lease", ACTION_START_STANDBY);
    free(s);
}

static void a_start_that_fails_gives_way_to_who_is_ready(void **state)
{
    /* Crash recovery fails; pg2 is ready, then it is not. */
    struct scene *s = scene_new_primary();

    (void)state;
    scene_stop_postgres(s, true, false);
    s->view.op.last = ACTION_START_PRIMARY;
    s->view.op.last_failed = true;
    s->view.op.retry_ms = TEST_NOW + 700;
    assert_node(s, "start-failed", ACTION_NONE);
    assert_non_null(scene_find(s, COMMAND_EPOCH_RELEASE));

    s->view.peers[0].received_ms = 1;
    assert_node(s, "back-off", ACTION_NONE);
    assert_int_equal(s->decision.wake_ms, TEST_NOW + 700);
    s->view.op.retry_ms = TEST_NOW;
    assert_node(s, "restart-in-place", ACTION_START_PRIMARY);
    free(s);
}

static void a_start_that_takes_too_long_is_cut_off(void **state)
{
    /* Recovery runs for primary_start_timeout; pg2 is ready. */
    struct scene *s = scene_new_primary();

    (void)state;
    s->view.self.status.pg_state = PG_STATE_STARTING;
    s->view.self.status.pg_role = PG_ROLE_UNKNOWN;
    s->view.op.running = ACTION_START_PRIMARY;
    s->view.op.started_ms = TEST_NOW - 59999;
    assert_node(s, "keep-operation", ACTION_START_PRIMARY);
    s->view.op.started_ms = TEST_NOW - 60000;
    assert_node(s, "start-overdue", ACTION_FENCE);
    s->view.conf.primary_start_timeout_ms = 0; /* At once, if somebody can take over. */
    s->view.op.started_ms = TEST_NOW;
    assert_node(s, "start-overdue", ACTION_FENCE);
    s->view.peers[0].received_ms = 1;
    assert_node(s, "keep-operation", ACTION_START_PRIMARY);
    s->view.peers[0].received_ms = TEST_NOW - 10;

    scene_stop_postgres(s, true, false);
    s->view.op = (struct view_op){.last = ACTION_FENCE, .last_rule = "start-overdue"};
    assert_node(s, "start-timeout", ACTION_NONE);
    assert_non_null(scene_find(s, COMMAND_EPOCH_RELEASE));
    free(s);
}

static void a_former_primary_that_diverged_is_rewound_once_there_is_a_primary(void **state)
{
    /* pg2 took over on timeline 2 at 10 MB; pg1 crashed at 11 MB on timeline 1. */
    struct scene *s = scene_new_standby();
    struct status *pg2 = &s->view.peers[0].status;

    (void)state;
    s->view.self.status.flushed = 11 * MB;
    scene_stop_postgres(s, true, false);
    pg2->pg_role = PG_ROLE_STANDBY;
    assert_node(s, "history-unknown", ACTION_NONE);

    pg2->timeline = 2;
    s->store.n_history = 1;
    s->store.history[0] = (struct store_history){.timeline = 1, .lsn = 10 * MB};
    assert_node(s, "wait-for-primary", ACTION_NONE);
    pg2->pg_role = PG_ROLE_PRIMARY;
    pg2->checkpoint_timeline = 1;
    assert_node(s, "rewind-wait", ACTION_NONE); /* pg_rewind would see no need. */
    pg2->checkpoint_timeline = 2;
    assert_node(s, "rewind", ACTION_REWIND);
    assert_string_equal(s->decision.node.upstream.name, "pg2");
    assert_int_equal(s->decision.node.timeline, 2);
    free(s);
}

/* Its Raft state was lost, its data was not: it must tell where its WAL ends, or with a
 * bound on lag nobody could ever be primary again. */
static void a_former_primary_under_a_new_id_knows_its_timeline(void **state)
{
    struct scene *s = scene_new_primary();

    (void)state;
    scene_stop_postgres(s, true, false);
    s->view.lease = (struct view_lease){0};
    s->store.line = (struct store_line){.epoch = 1, .owner_id = PG1, .owner = "pg1", .timeline = 1};
    s->view.self.status.id = 11;
    s->view.self.member.id = 11;
    assert_node(s, "standby-without-primary", ACTION_START_STANDBY);

    (void)str_copy(s->store.line.owner, NAME_SIZE, "pg2");
    (void)str_copy(s->store.primary.owner, NAME_SIZE, "pg2");
    assert_node(s, "history-unknown", ACTION_NONE);
    free(s);
}

static struct scene *scene_new_diverged(void)
{
    struct scene *s = scene_new_standby();

    scene_stop_postgres(s, true, false);
    s->view.peers[0].status.timeline = 2;
    s->view.peers[0].status.checkpoint_timeline = 2;
    s->store.n_history = 1;
    s->store.history[0] = (struct store_history){.timeline = 1, .lsn = 9 * MB};
    return s;
}

static void a_recovery_in_single_user_mode_is_not_fenced(void **state)
{
    /* The process of step `recover` has no postmaster, and writes WAL for nobody. */
    struct scene *s = scene_new_diverged();

    (void)state;
    s->view.pg.n_processes = 1;
    assert_node(s, "fence", ACTION_FENCE);
    s->view.op.running = ACTION_REWIND;
    assert_node(s, "keep-operation", ACTION_REWIND);
    free(s);
}

static void what_diverged_is_discarded_only_by_configuration(void **state)
{
    /* Neither checksums nor wal_log_hints; or rewinding is switched off. */
    struct scene *s = scene_new_diverged();

    (void)state;
    s->view.pg.can_rewind = false;
    s->view.conf.remove_on_rewind_failure = true; /* It was not tried. */
    assert_node(s, "diverged", ACTION_NONE);
    assert_true(s->decision.node.is_problem);
    assert_non_null(strstr(s->decision.node.evidence, "checksums"));
    s->view.conf.remove_on_diverged_timelines = true;
    assert_node(s, "diverged-clone", ACTION_CLONE);

    s->view.pg.can_rewind = true;
    assert_node(s, "rewind", ACTION_REWIND);
    s->view.conf.use_pg_rewind = false;
    assert_node(s, "diverged-clone", ACTION_CLONE);
    s->view.conf.remove_on_diverged_timelines = false;
    assert_node(s, "diverged", ACTION_NONE);
    free(s);
}

static void a_rewind_that_fails_again_and_again_ends(void **state)
{
    /* Five failures with timeline 2 of the primary; then the primary is on another. */
    struct scene *s = scene_new_diverged();

    (void)state;
    s->view.op.rewind_timeline = 2;
    s->view.op.n_rewind_failures = 4;
    assert_node(s, "rewind", ACTION_REWIND);
    s->view.op.n_rewind_failures = 5;
    assert_node(s, "rewind-given-up", ACTION_NONE);
    assert_true(s->decision.node.is_problem);
    s->view.conf.remove_on_rewind_failure = true;
    assert_node(s, "diverged-clone", ACTION_CLONE);

    s->view.conf.remove_on_rewind_failure = false;
    s->view.peers[0].status.timeline = 3;
    s->view.peers[0].status.checkpoint_timeline = 3;
    assert_node(s, "rewind", ACTION_REWIND);
    free(s);
}

static void a_rewind_that_was_cut_off_goes_on_with_the_same_line_only(void **state)
{
    /* Pages of timeline 2 are in the directory. */
    struct scene *s = scene_new_diverged();

    (void)state;
    s->view.self.status.data = DATA_REWINDING;
    s->view.self.status.timeline = 0;
    s->view.pg.rewind_timeline = 2;
    s->view.pg.can_rewind = false; /* Not read of such a directory. */
    s->view.pg.was_primary = false;
    assert_node(s, "rewind", ACTION_REWIND);

    s->view.pg.rewind_timeline = 0; /* The machine was restarted since. */
    assert_node(s, "diverged", ACTION_NONE);
    assert_non_null(strstr(s->decision.node.evidence, "restart of the machine"));
    s->view.pg.rewind_gone = true;
    assert_node(s, "diverged", ACTION_NONE);
    assert_non_null(strstr(s->decision.node.evidence, "what was kept to do it again is gone"));
    s->view.pg.rewind_gone = false;

    s->view.pg.rewind_timeline = 2;
    s->view.peers[0].status.timeline = 3;
    s->view.peers[0].status.checkpoint_timeline = 3;
    assert_node(s, "diverged", ACTION_NONE);
    assert_non_null(strstr(s->decision.node.evidence, "cut off"));
    s->view.conf.remove_on_rewind_failure = true;
    assert_node(s, "diverged-clone", ACTION_CLONE);

    s->view.peers[0].status.pg_role = PG_ROLE_STANDBY; /* Nobody to rewind to: not started. */
    assert_node(s, "wait-for-primary", ACTION_NONE);
    free(s);
}

static void the_crash_recovery_before_a_rewind_is_not_fenced(void **state)
{
    /* A single-user server of a former primary's data: one process, no postmaster. */
    struct scene *s = scene_new_standby();

    (void)state;
    scene_stop_postgres(s, true, false);
    s->view.pg.n_processes = 1;
    s->view.self.status.pg_state = PG_STATE_CRASHED;
    assert_node(s, "fence", ACTION_FENCE);
    s->view.op.running = ACTION_REWIND;
    assert_node(s, "keep-operation", ACTION_REWIND);

    s->view.pg.postmaster_alive = true; /* Somebody started it: that takes writes. */
    s->view.self.status.pg_role = PG_ROLE_PRIMARY;
    assert_node(s, "fence", ACTION_FENCE);
    free(s);
}

static void a_former_primary_that_stopped_cleanly_follows(void **state)
{
    /* The same after a switchover: nothing beyond where timeline 1 ended. */
    struct scene *s = scene_new_standby();

    (void)state;
    scene_stop_postgres(s, true, true);
    s->view.peers[0].status.timeline = 2;
    s->store.n_history = 1;
    s->store.history[0] = (struct store_history){.timeline = 1, .lsn = 10 * MB};
    assert_node(s, "start-standby", ACTION_START_STANDBY);

    s->store.history[0].lsn--;
    s->view.peers[0].status.checkpoint_timeline = 2;
    assert_node(s, "rewind", ACTION_REWIND);
    free(s);
}

static void a_crashed_primary_is_not_trusted_to_know_its_end(void **state)
{
    /* pg_control of the crashed pg1 shows less than where timeline 1 ended, but it
     * only tells of the last checkpoint. */
    struct scene *s = scene_new_standby();

    (void)state;
    s->view.self.status.flushed = 9 * MB;
    scene_stop_postgres(s, true, false);
    s->view.peers[0].status.timeline = 2;
    s->view.peers[0].status.checkpoint_timeline = 2;
    s->store.n_history = 1;
    s->store.history[0] = (struct store_history){.timeline = 1, .lsn = 10 * MB};
    assert_node(s, "rewind", ACTION_REWIND);
    free(s);
}

static void a_switchover_waits_until_the_candidate_has_everything(void **state)
{
    /* pg1 stopped for pg2, whose last word is a byte short of the shutdown checkpoint. */
    struct scene *s = scene_new_primary();

    (void)state;
    scene_request(s, REQUEST_SWITCHOVER, "pg1", "pg2");
    scene_stop_postgres(s, true, true);
    s->view.op.last = ACTION_STOP;
    s->view.pg.control_lsn = s->view.peers[0].status.flushed + 1;
    assert_node(s, "switchover-wait", ACTION_NONE);

    s->view.pg.gone_ms = TEST_NOW - 3000; /* It does not come: go on as primary. */
    assert_node(s, "restart-in-place", ACTION_START_PRIMARY);
    s->view.peers[0].status.flushed++;
    s->view.self.status.timeline = 2; /* The same number on another timeline is nothing. */
    assert_node(s, "restart-in-place", ACTION_START_PRIMARY);
    s->view.self.status.timeline = 1;
    assert_node(s, "switchover-release", ACTION_NONE);
    assert_string_equal(scene_find(s, COMMAND_EPOCH_RELEASE)->epoch_release.successor, "pg2");
    free(s);
}

static void a_running_standby_that_received_too_much_is_rewound_when_that_lasts(void **state)
{
    /* pg1 had received more than the new primary had when it was promoted. */
    struct scene *s = scene_new_standby();

    (void)state;
    s->view.peers[0].status.timeline = 2;
    s->view.self.status.received = 10 * MB + 8;
    s->store.n_history = 1;
    s->store.history[0] = (struct store_history){.timeline = 1, .lsn = 10 * MB};
    s->view.peers[0].status.checkpoint_timeline = 2;
    assert_node(s, "diverged-unconfirmed", ACTION_NONE);
    assert_true(s->decision.node.diverged);
    s->view.self.diverged_since_ms = TEST_NOW - 1999;
    assert_node(s, "diverged-unconfirmed", ACTION_NONE);
    s->view.self.diverged_since_ms = TEST_NOW - 2000;
    assert_node(s, "rewind", ACTION_REWIND);
    s->view.pg.seen_ms = TEST_NOW - 2000; /* Nothing was looked at since. */
    assert_node(s, "diverged-unconfirmed", ACTION_NONE);

    s->view.self.status.received = 10 * MB;
    assert_node(s, "standby", ACTION_NONE);
    free(s);
}

static void a_line_that_was_left_is_rewound_even_at_its_end(void **state)
{
    /* By order pg2 went on from timeline 3, on 6. The store still has where timeline 4 ended,
     * and pg1 is there, not beyond. */
    struct scene *s = scene_new_standby();

    (void)state;
    s->view.peers[0].status.timeline = 6;
    s->view.peers[0].status.checkpoint_timeline = 6;
    s->view.self.status.timeline = 4;
    s->store.line = (struct store_line){
        .epoch = 1, .owner_id = PG2, .owner = "pg2", .timeline = 6, .parent = 3, .lsn = 9 * MB};
    s->store.n_history = 2;
    s->store.history[0] = (struct store_history){.timeline = 3, .lsn = 9 * MB};
    s->store.history[1] = (struct store_history){.timeline = 4, .lsn = 10 * MB};
    assert_node(s, "diverged-unconfirmed", ACTION_NONE);
    s->view.self.diverged_since_ms = TEST_NOW - 2000;
    assert_node(s, "rewind", ACTION_REWIND);

    s->view.self.status.timeline = 3; /* Of the line, and not beyond. */
    s->view.self.status.flushed = 9 * MB;
    assert_node(s, "standby", ACTION_NONE);
    free(s);
}

static void a_standby_follows_the_present_primary(void **state)
{
    /* Its primary_conninfo names a member that is not primary. */
    struct scene *s = scene_new_standby();

    (void)state;
    assert_node(s, "standby", ACTION_NONE);
    (void)str_copy(s->view.pg.upstream, NAME_SIZE, "pg3");
    assert_node(s, "follow", ACTION_FOLLOW);
    assert_string_equal(s->decision.node.upstream.name, "pg2");
    assert_int_equal(s->decision.node.upstream.port, 5432);

    s->view.peers[0].status.lease_epoch = 0;
    assert_node(s, "standby", ACTION_NONE);
    free(s);
}

static void an_empty_node_waits_for_a_primary_and_clones_it(void **state)
{
    /* Nothing in the data directory; first the primary does not run. */
    struct scene *s = scene_new_standby();

    (void)state;
    scene_stop_postgres(s, false, false);
    s->view.self.status.data = DATA_EMPTY;
    s->view.self.status.sysid = 0;
    s->view.peers[0].status.pg_state = PG_STATE_STARTING;
    assert_node(s, "wait-for-data", ACTION_NONE);

    s->view.peers[0].status.pg_state = PG_STATE_RUNNING;
    assert_node(s, "clone", ACTION_CLONE);
    s->view.self.status.data = DATA_FOREIGN;
    assert_node(s, "foreign-files", ACTION_NONE);
    free(s);
}

static void another_database_is_never_started(void **state)
{
    /* The data directory has another system identifier. */
    struct scene *s = scene_new_standby();

    (void)state;
    scene_stop_postgres(s, false, true);
    s->view.self.status.sysid = 8;
    assert_node(s, "foreign-database", ACTION_NONE);
    assert_non_null(strstr(s->decision.node.evidence, "system identifier 8, the cluster's is 7"));
    free(s);
}

static void paused_nothing_is_done(void **state)
{
    /* pg1's standby is down while the cluster is paused; the primary is unfenced. */
    struct scene *s = scene_new_standby();

    (void)state;
    s->view.conf.pause = true;
    scene_stop_postgres(s, false, true);
    assert_node(s, "paused", ACTION_NONE);
    free(s);

    s = scene_new_primary();
    s->view.conf.pause = true;
    s->view.lease = (struct view_lease){.epoch = 1};
    assert_node(s, "fence", ACTION_FENCE);
    s->store.primary.unfenced = true;
    assert_node(s, "paused-unfenced", ACTION_NONE);
    free(s);
}

/* pg1 is primary with the lease, its guard armed; the cluster is paused. */
static struct scene *scene_paused_primary(void)
{
    struct scene *s = scene_new_primary();

    s->view.conf.pause = true;
    s->view.lease.armed = true;
    return s;
}

static void the_guard_lets_go_only_after_the_store_shows_the_mark(void **state)
{
    /* Pause, seen by the primary; its copy of the store gets old; then resume. */
    struct scene *s = scene_paused_primary();
    const struct command *c;

    (void)state;
    assert_node(s, "pausing", ACTION_NONE);
    assert_false(s->decision.disarm);
    c = scene_find(s, COMMAND_EPOCH_UNFENCED);
    assert_true(c->epoch_unfenced.unfenced && c->epoch_unfenced.expect_epoch == 1);
    assert_string_equal(c->epoch_unfenced.rule, "pause");

    scene_apply(s, c);
    s->view.lease.mark_is_fresh = true;
    assert_node(s, "pausing", ACTION_NONE);
    assert_true(s->decision.disarm);
    assert_null(scene_find(s, COMMAND_EPOCH_UNFENCED));
    s->view.raft.caught_up = false;
    (void)scene_decide(s);
    assert_false(s->decision.disarm);
    s->view.raft.caught_up = true;

    s->view.lease.armed = false;
    assert_node(s, "paused-unfenced", ACTION_NONE);
    assert_true(s->decision.renew_lease);
    s->view.conf.pause = false;
    assert_node(s, "resume", ACTION_NONE);
    assert_false(s->decision.disarm);
    assert_null(scene_find(s, COMMAND_EPOCH_UNFENCED)); /* Not armed yet. */

    s->view.lease.armed = true;
    assert_node(s, "resume", ACTION_NONE);
    c = scene_find(s, COMMAND_EPOCH_UNFENCED);
    assert_false(c->epoch_unfenced.unfenced);
    assert_string_equal(c->epoch_unfenced.rule, "resume");
    scene_apply(s, c);
    assert_node(s, "primary", ACTION_NONE);
    free(s);
}

static void a_mark_that_may_be_on_its_way_out_is_made_anew(void **state)
{
    /* Resumed, and paused again before it is known whether the mark was taken back. */
    struct scene *s = scene_paused_primary();
    const struct command *c;

    (void)state;
    s->store.primary.unfenced = true;
    assert_node(s, "pausing", ACTION_NONE);
    assert_false(s->decision.disarm);
    c = scene_find(s, COMMAND_EPOCH_UNFENCED);
    assert_false(c->epoch_unfenced.unfenced);
    scene_apply(s, c);
    (void)scene_decide(s);
    assert_false(s->decision.disarm);
    c = scene_find(s, COMMAND_EPOCH_UNFENCED);
    assert_true(c->epoch_unfenced.unfenced);
    scene_apply(s, c);
    s->view.lease.mark_is_fresh = true;
    (void)scene_decide(s);
    assert_true(s->decision.disarm);
    free(s);
}

static void an_unfenced_primary_needs_no_lease(void **state)
{
    /* Paused, and the majority is lost; resumed meanwhile; armed; lost again. */
    struct scene *s = scene_paused_primary();

    (void)state;
    s->store.primary.unfenced = true;
    s->view.lease = (struct view_lease){.epoch = 1};
    assert_node(s, "paused-unfenced", ACTION_NONE);
    assert_true(decide_is_primary_now(&s->view));
    s->view.conf.pause = false;
    assert_node(s, "resume-wait", ACTION_NONE);
    assert_true(decide_is_primary_now(&s->view));
    assert_null(scene_find(s, COMMAND_EPOCH_UNFENCED));

    s->view.lease.armed = true;
    assert_node(s, "fence-resumed", ACTION_FENCE);
    assert_true(s->decision.node.kill);
    assert_false(decide_is_primary_now(&s->view));
    free(s);
}

static void a_restarted_agent_believes_its_guard_that_it_is_paused(void **state)
{
    /* No leader is there to tell. The store says nothing, then another epoch. */
    struct scene *s = scene_new_primary();

    (void)state;
    s->view.lease = (struct view_lease){.unfenced_epoch = 1};
    s->view.raft.caught_up = false;
    assert_node(s, "continue", ACTION_NONE);
    assert_true(decide_is_primary_now(&s->view));
    assert_false(s->decision.disarm);
    s->view.self.stopping = true;
    assert_node(s, "stop-attested", ACTION_NONE);
    assert_true(s->decision.may_exit);
    s->view.self.stopping = false;
    s->store.primary.epoch = 2;
    assert_node(s, "fence", ACTION_FENCE);
    s->store.primary.epoch = 1;
    s->view.raft.caught_up = true;
    assert_node(s, "fence", ACTION_FENCE);
    free(s);
}

static void an_agent_leaves_a_paused_primary_as_it_is(void **state)
{
    /* SIGTERM before the mark, before the guard let go, and after; and where that takes too
     * long. */
    struct scene *s = scene_paused_primary();

    (void)state;
    s->view.self.stopping = true;
    s->view.self.stopping_since_ms = TEST_NOW - 100;
    assert_node(s, "stop-pause", ACTION_NONE);
    assert_false(s->decision.may_exit);
    assert_non_null(scene_find(s, COMMAND_EPOCH_UNFENCED));
    s->store.primary.unfenced = true;
    s->view.lease.mark_is_fresh = true;
    assert_node(s, "stop-pause", ACTION_NONE);
    assert_true(s->decision.disarm && s->decision.renew_lease);
    s->view.lease.armed = false;
    assert_node(s, "stop-unfenced", ACTION_NONE);
    assert_true(s->decision.may_exit);

    s->view.lease.armed = true;
    s->view.self.stopping_since_ms = TEST_NOW - 3 * 3000;
    assert_node(s, "stopping", ACTION_STOP);
    free(s);
}

static void a_reboot_ends_the_mark(void **state)
{
    /* pg1 was unfenced, and its machine restarted. Something started PostgreSQL there. */
    struct scene *s = scene_paused_primary();
    const struct command *c;

    (void)state;
    s->store.primary.unfenced = true;
    s->view.self.status.instance++;
    s->view.lease = (struct view_lease){.armed = false};
    assert_node(s, "fence-reboot", ACTION_FENCE);
    assert_null(scene_find(s, COMMAND_EPOCH_UNFENCED));
    scene_stop_postgres(s, true, false);
    assert_node(s, "paused", ACTION_NONE);
    c = scene_find(s, COMMAND_EPOCH_UNFENCED);
    assert_false(c->epoch_unfenced.unfenced);
    assert_string_equal(c->epoch_unfenced.rule, "reboot");
    s->view.pg.postmaster_alive = true; /* Started as standby, after a resume. */
    s->view.self.status.pg_state = PG_STATE_RUNNING;
    s->view.self.status.pg_role = PG_ROLE_STANDBY;
    assert_non_null((scene_decide(s), scene_find(s, COMMAND_EPOCH_UNFENCED)));
    free(s);
}

static void an_epoch_that_was_given_up_loses_its_mark(void **state)
{
    /* pg1 was unfenced, resumed, and told to stop; its release got lost. A new agent does not
     * ask for that lease again, and with the mark nobody else can be owner. */
    struct scene *s = scene_paused_primary();
    const struct command *c;

    (void)state;
    s->store.primary.unfenced = true;
    s->view.conf.pause = false;
    s->view.lease = (struct view_lease){.wanted_since_ms = TEST_NOW - 1499};
    scene_stop_postgres(s, true, true);
    assert_node(s, "wait-for-lease", ACTION_NONE);
    assert_null(scene_find(s, COMMAND_EPOCH_UNFENCED));
    s->view.lease.wanted_since_ms = TEST_NOW - 1500;
    assert_node(s, "wait-for-lease", ACTION_NONE);
    c = scene_find(s, COMMAND_EPOCH_UNFENCED);
    assert_false(c->epoch_unfenced.unfenced);
    assert_string_equal(c->epoch_unfenced.rule, "resume");
    scene_apply(s, c);
    s->view.peers[1].status.promise = PROMISE_NONE;
    s->view.self.status.promise = PROMISE_NONE;
    assert_cluster(s, "wait-for-last-owner");
    s->view.conf.primary_start_timeout_ms = 0;
    assert_cluster(s, "take-over");
    free(s);
}

static void while_something_may_write_unfenced_the_mark_stays(void **state)
{
    /* As above; but it is paused again, or PostgreSQL runs, or the guard says so. */
    struct scene *s = scene_paused_primary();

    (void)state;
    s->store.primary.unfenced = true;
    s->view.lease = (struct view_lease){.wanted_since_ms = TEST_NOW - 1500};
    s->view.conf.pause = false;
    assert_null((scene_decide(s), scene_find(s, COMMAND_EPOCH_UNFENCED)));
    scene_stop_postgres(s, true, true);
    assert_non_null((scene_decide(s), scene_find(s, COMMAND_EPOCH_UNFENCED)));
    s->view.conf.pause = true;
    assert_null((scene_decide(s), scene_find(s, COMMAND_EPOCH_UNFENCED)));
    s->view.conf.pause = false;
    s->view.lease.unfenced_epoch = 1;
    assert_null((scene_decide(s), scene_find(s, COMMAND_EPOCH_UNFENCED)));
    s->view.lease.unfenced_epoch = 0;
    s->view.self.stopping = true; /* Its release ends it. */
    assert_null((scene_decide(s), scene_find(s, COMMAND_EPOCH_UNFENCED)));
    assert_non_null(scene_find(s, COMMAND_EPOCH_RELEASE));
    free(s);
}

static void while_paused_an_order_by_name_is_carried_out(void **state)
{
    /* A switchover from pg1 to pg2, seen by pg1 until it is a standby again. */
    struct scene *s = scene_paused_primary();

    (void)state;
    s->store.primary.unfenced = true;
    s->view.lease.armed = false;
    scene_request(s, REQUEST_SWITCHOVER, "pg1", "");
    assert_node(s, "paused-unfenced", ACTION_NONE);
    assert_string_equal(scene_find(s, COMMAND_REQUEST_END)->request_end.text,
                        "the cluster is paused: name the member that is to be primary");
    scene_apply(s, scene_find(s, COMMAND_REQUEST_END));
    scene_request(s, REQUEST_SWITCHOVER, "pg1", "pg2");
    assert_node(s, "switchover", ACTION_STOP);
    scene_stop_postgres(s, true, true);
    s->view.op = (struct view_op){.last = ACTION_STOP, .last_rule = "switchover"};
    s->view.pg.control_lsn = 10 * MB;
    s->view.pg.gone_ms = TEST_NOW - 10;
    assert_node(s, "switchover-release", ACTION_NONE);
    scene_apply(s, scene_find(s, COMMAND_EPOCH_RELEASE));
    assert_false(s->store.primary.unfenced);
    s->view.lease = (struct view_lease){.epoch = 0};
    assert_cluster(s, "successor");
    scene_apply(s, scene_find(s, COMMAND_EPOCH_TAKE));
    assert_string_equal(s->store.primary.owner, "pg2");
    s->view.peers[0].status.lease_epoch = 2;
    s->view.peers[0].status.pg_role = PG_ROLE_PRIMARY;
    s->store.line = (struct store_line){.owner_id = PG1, .owner = "pg1", .timeline = 1};
    assert_node(s, "start-standby", ACTION_START_STANDBY);
    s->view.op = (struct view_op){.last = ACTION_START_STANDBY};
    assert_node(s, "paused", ACTION_NONE); /* Stopped by hand, later. */
    free(s);
}

static void while_paused_nobody_is_chosen(void **state)
{
    /* pg2 owned it and is gone, fenced before the pause began; then an order. */
    struct scene *s = scene_new_standby();

    (void)state;
    s->view.conf.pause = true;
    s->view.peers[0].received_ms = TEST_NOW - 5000;
    s->view.peers[1].status.promise = PROMISE_NONE;
    assert_cluster(s, "paused");
    scene_request(s, REQUEST_FAILOVER, "", "pg1");
    assert_cluster(s, "take-over");
    scene_apply(s, scene_find(s, COMMAND_EPOCH_TAKE));
    scene_give_lease(s);
    assert_node(s, "ask-positions", ACTION_NONE);
    free(s);
}

static void from_an_unfenced_primary_nobody_takes_over(void **state)
{
    /* pg2 owns it, unfenced since a pause, and is gone; resumed; an order without the word. */
    struct scene *s = scene_new_standby();

    (void)state;
    s->view.peers[0].received_ms = TEST_NOW - 5000;
    s->view.peers[1].status.promise = PROMISE_NONE;
    s->store.primary.unfenced = true;
    s->view.conf.pause = true;
    assert_cluster(s, "unfenced");
    s->view.conf.pause = false;
    assert_cluster(s, "unfenced-owner-gone");
    assert_non_null(strstr(s->decision.cluster.why, "vechectl failover --primary-is-dead"));
    assert_string_equal(scene_find(s, COMMAND_LEDGER_ADD)->ledger_add.evidence,
                        "epoch 1 owner pg2, which is not heard");
    scene_request(s, REQUEST_FAILOVER, "", "pg1");
    assert_cluster(s, "unfenced-owner-gone");
    assert_non_null(strstr(scene_find(s, COMMAND_REQUEST_END)->request_end.text,
                           "vechectl failover --primary-is-dead pg2"));
    s->store.primary.unfenced = false; /* What that word does. */
    assert_cluster(s, "take-over");
    free(s);
}

static void a_running_database_is_taken_over_without_a_stop(void **state)
{
    /* Before the cluster: pg1 runs as primary, pg2 is its standby. */
    struct scene *s = scene_new();
    const struct command *c;

    (void)state;
    s->store.cluster.init = INIT_NONE;
    s->store.cluster.sysid = 0;
    s->view.self.status.pg_role = PG_ROLE_PRIMARY;
    s->view.pg.was_primary = true;
    assert_node(s, "not-owned-yet", ACTION_NONE);
    assert_cluster(s, "take-over-database");
    c = scene_find(s, COMMAND_CLUSTER_INIT);
    assert_int_equal(c->cluster_init.sysid, 7);

    scene_apply(s, c);
    s->view.peers[0].status.flushed = 11 * MB;
    assert_cluster(s, "take-released");
    c = scene_find(s, COMMAND_EPOCH_TAKE);
    assert_string_equal(c->epoch_take.owner, "pg1");
    scene_apply(s, c);
    assert_node(s, "wait-for-lease", ACTION_NONE);
    scene_give_lease(s);
    assert_node(s, "primary", ACTION_NONE);
    assert_non_null(scene_find(s, COMMAND_EPOCH_HELD));
    free(s);
}

static void two_databases_are_an_error_for_people(void **state)
{
    /* Before the cluster: both nodes have a database, not the same. */
    struct scene *s = scene_new();
    const struct command *c;

    (void)state;
    s->store.cluster.init = INIT_NONE;
    s->store.cluster.sysid = 0;
    s->view.peers[0].status.sysid = 8;
    assert_cluster(s, "several-databases");
    c = scene_find(s, COMMAND_LEDGER_ADD);
    assert_non_null(strstr(c->ledger_add.evidence, "pg1: valid 7, pg2: valid 8"));

    scene_apply(s, c); /* Said once is enough. */
    assert_cluster(s, "several-databases");
    assert_null(scene_find(s, COMMAND_LEDGER_ADD));
    s->view.peers[1].received_ms = 1;
    assert_cluster(s, "wait-for-members");
    free(s);
}

static void nobody_takes_over_from_a_promise(void **state)
{
    /* pg2 owned it and is silent. The witness still promises, then not. */
    struct scene *s = scene_new_standby();

    (void)state;
    s->view.peers[0].received_ms = TEST_NOW - 5000;
    s->view.raft.leader_since_ms = TEST_NOW - 100;
    assert_cluster(s, "owner-alive");
    s->view.peers[1].status.promise = PROMISE_QUARANTINE;
    assert_cluster(s, "owner-alive");
    s->view.peers[1].status.promise = PROMISE_NONE;
    s->view.raft.epoch_applied_ms = TEST_NOW - 1499;
    assert_cluster(s, "epoch-young");
    assert_int_equal(s->decision.wake_ms, TEST_NOW + 1);
    s->view.raft.epoch_applied_ms = TEST_NOW - 1500;
    assert_cluster(s, "take-over");
    assert_string_equal(scene_find(s, COMMAND_EPOCH_TAKE)->epoch_take.owner, "pg1");
    s->view.peers[0].status.flushed++;
    assert_cluster(s, "take-over");
    assert_non_null(
        strstr(scene_find(s, COMMAND_EPOCH_TAKE)->epoch_take.evidence,
               "chosen pg1 (timeline 1, misses 1 bytes up to 0/A00001 (pg2, 5.0 s ago)"));

    s->store.primary.unfenced = true;
    assert_cluster(s, "unfenced-owner-gone");
    s->store.primary.unfenced = false;
    s->view.peers[1].received_ms = TEST_NOW - 101; /* Before we were leader. */
    assert_cluster(s, "owner-alive");
    free(s);
}

static void leadership_goes_to_who_hears_the_owner(void **state)
{
    /* Three nodes, one broken link: we lead and do not hear pg2, the witness does. */
    struct scene *s = scene_new_standby();

    (void)state;
    s->view.peers[0].received_ms = TEST_NOW - 5000;
    s->view.peers[1].status.promise_epoch = 1;
    assert_cluster(s, "transfer-leadership");
    assert_int_equal(s->decision.cluster.transfer_to, W);

    s->view.peers[1].status.n_heard = 1;
    assert_cluster(s, "owner-alive");
    free(s);
}

static void leadership_goes_to_who_hears_more_voters(void **state)
{
    /* pg1 owns, leads, and does not hear pg2 any more; the witness hears both. */
    struct scene *s = scene_new_primary();
    struct view_peer *pg2 = &s->view.peers[0];
    struct view_peer *w = &s->view.peers[1];

    (void)state;
    w->status.promise = PROMISE_LIVE;
    w->status.promise_epoch = 1;
    pg2->received_ms = TEST_NOW - 2999;
    assert_cluster(s, "owner-alive"); /* It may be back in a moment. */
    pg2->received_ms = TEST_NOW - 3000;
    assert_cluster(s, "transfer-to-connected");
    assert_int_equal(s->decision.cluster.transfer_to, W);
    assert_non_null(strstr(s->decision.cluster.evidence, "w hears 3 of 3 voters, we hear 2"));

    s->view.raft.leader_since_ms = TEST_NOW - 2999; /* We lead only since a moment ago. */
    assert_cluster(s, "owner-alive");
    s->view.raft.leader_since_ms = TEST_NOW - 3000;
    assert_cluster(s, "transfer-to-connected");
    w->status.stopping = true;
    assert_cluster(s, "owner-alive");
    w->status.stopping = false;
    w->status.n_heard = 1; /* It hears pg1 alone, or (below) pg2 and itself, not us. */
    assert_cluster(s, "owner-alive");
    w->status.n_heard = 2;
    w->status.heard[0] = PG2;
    w->status.heard[1] = W;
    assert_cluster(s, "owner-alive");
    free(s);
}

static void nobody_gives_leadership_away_instead_of_judging(void **state)
{
    /* pg2 owned it and is cut from us, the witness hears it; no promise is left. */
    struct scene *s = scene_new_standby();

    (void)state;
    s->view.peers[0].received_ms = TEST_NOW - 5000;
    s->view.peers[1].status.promise = PROMISE_NONE;
    assert_cluster(s, "take-over");
    assert_int_equal(s->decision.cluster.transfer_to, 0);
    free(s);
}

static void the_last_owner_is_waited_for_while_it_recovers(void **state)
{
    /* pg2 rebooted: its data is there, PostgreSQL is not up yet. */
    struct scene *s = scene_new_standby();
    struct status *pg2 = &s->view.peers[0].status;

    (void)state;
    s->view.raft.leader_since_ms = TEST_NOW - 5000;
    s->view.peers[1].status.promise = PROMISE_NONE;
    pg2->instance = 999;
    pg2->promise = PROMISE_QUARANTINE;
    pg2->pg_state = PG_STATE_STARTING;
    pg2->lease_epoch = 0;
    assert_cluster(s, "wait-for-last-owner");

    pg2->raft_fails = true; /* It can not know that it is to start. */
    assert_cluster(s, "take-over");
    pg2->raft_fails = false;
    assert_cluster(s, "wait-for-last-owner");

    pg2->pg_state = PG_STATE_START_FAILED;
    assert_cluster(s, "take-over");
    pg2->pg_state = PG_STATE_UNKNOWN; /* It is up, and hangs. */
    assert_cluster(s, "take-over");
    free(s);
}

/* Its Raft state was lost, its data was not. */
static void the_last_owner_is_waited_for_under_a_new_id(void **state)
{
    struct scene *s = scene_new_standby();
    struct status *pg2 = &s->view.peers[0].status;

    (void)state;
    s->view.raft.leader_since_ms = TEST_NOW - 5000;
    s->view.peers[1].status.promise = PROMISE_NONE;
    *pg2 = status_make(PG2, MODE_POSTGRES);
    pg2->id = 22;
    pg2->instance = 999;
    pg2->pg_state = PG_STATE_STARTING;
    s->store.members[1].id = 22;
    s->view.raft.voters[1] = 22;
    assert_cluster(s, "wait-for-last-owner");
    free(s);
}

static void owners_that_give_up_in_a_row_are_paced(void **state)
{
    /* Both gave up one after the other. */
    struct scene *s = scene_new();

    (void)state;
    scene_take(s, PG2, 102);
    scene_release(s, "lag-bound", "pg2");
    assert_cluster(s, "take-released");
    scene_take(s, PG1, 101);
    scene_release(s, "lag-bound", "pg1");
    s->view.raft.epoch_applied_ms = TEST_NOW - 100;
    assert_cluster(s, "gave-up-wait");

    s->view.raft.epoch_applied_ms = TEST_NOW - 12000;
    assert_cluster(s, "take-released");
    free(s);
}

static void an_order_by_name_is_on_record(void **state)
{
    /* pg2 is dead, pg1 misses 5 MB; the operator names it. */
    struct scene *s = scene_new_standby();
    const struct command *c;

    (void)state;
    s->view.peers[0].received_ms = TEST_NOW - 5000;
    s->view.peers[0].status.flushed = 15 * MB;
    s->view.peers[1].status.promise = PROMISE_NONE;
    assert_cluster(s, "no-candidate");
    assert_non_null(scene_find(s, COMMAND_LEDGER_ADD));

    scene_request(s, REQUEST_FAILOVER, "", "pg1");
    assert_cluster(s, "failover-by-order");
    c = scene_find(s, COMMAND_EPOCH_TAKE);
    assert_true(c->epoch_take.forced);
    assert_non_null(strstr(c->epoch_take.evidence, "lag passed by order"));
    free(s);
}

static const struct command_ledger_add *loss_of(const struct scene *s)
{
    const struct command *c = scene_find(s, COMMAND_LEDGER_ADD);

    return c != NULL && str_equal(c->ledger_add.rule, "diverged-wal") ? &c->ledger_add : NULL;
}

static void a_loss_says_what_is_not_known_of_it(void **state)
{
    static const struct {
        struct view_loss loss;
        const char *text;
    } losses[] = {
        {{.from = 9 * MB, .from_timeline = 1, .to = 11 * MB, .bytes = 2 * MB},
         "timeline 2 from 0/900000 of timeline 1 to 0/B00000, 2097152 bytes; kept in /k/1"},
        {{.from = 9 * MB, .from_timeline = 2, .bytes = 2 * MB},
         "timeline 2 from 0/900000 on, at most 2097152 bytes; kept in /k/1"},
        {{.to = 11 * MB},
         "timeline 2 up to 0/B00000, from where the cluster left it, bytes unknown; kept in /k/1"},
        {{.from_timeline = 2},
         "timeline 2 up to its end, from where the cluster left it, bytes unknown; kept in /k/1"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(losses); i++) {
        struct scene *s = scene_new_standby();

        s->view.pg.loss = losses[i].loss;
        s->view.pg.loss.sysid = 7;
        s->view.pg.loss.timeline = 2;
        (void)str_copy(s->view.pg.loss.kept, sizeof(s->view.pg.loss.kept), "/k/1");
        scene_decide(s);
        assert_non_null(loss_of(s));
        assert_string_equal(loss_of(s)->evidence, losses[i].text);
        free(s);
    }
}

static void a_loss_is_told_until_the_ledger_has_it(void **state)
{
    struct scene *s = scene_new_standby();
    const struct command_ledger_add *told;
    struct command c = {.kind = COMMAND_LEDGER_ADD};

    (void)state;
    scene_decide(s);
    assert_null(loss_of(s));
    s->view.pg.loss = (struct view_loss){
        .sysid = 7, .timeline = 1, .from = 9 * MB, .to = 11 * MB, .bytes = 2 * MB, .kept = "/k/1"};
    scene_decide(s);
    told = loss_of(s);
    assert_non_null(told);
    assert_string_equal(told->evidence, "timeline 1 from 0/900000 to 0/B00000, 2097152 bytes; "
                                        "kept in /k/1");
    assert_string_equal(told->node, "pg1");
    assert_false(s->decision.loss_told);

    c.ledger_add = *told; /* Committed. */
    scene_apply(s, &c);
    scene_decide(s);
    assert_null(loss_of(s));
    assert_true(s->decision.loss_told);

    s->view.pg.loss.from_timeline = 1; /* As it is known by now. */
    scene_decide(s);
    assert_null(loss_of(s));
    s->view.pg.loss.from = 10 * MB; /* Another one. */
    s->view.raft.caught_up = false; /* It may be on record. */
    scene_decide(s);
    assert_null(loss_of(s));
    assert_false(s->decision.loss_told);
    s->view.raft.caught_up = true;
    s->view.pg.loss.sysid = 8; /* Of a database that is not the cluster's. */
    scene_decide(s);
    assert_null(loss_of(s));
    s->view.pg.loss.sysid = 7;
    scene_decide(s);
    assert_non_null(loss_of(s));
    free(s);
}

static void requests_that_can_not_be_done_end_with_a_reason(void **state)
{
    /* One after another, each against its rule. */
    struct scene *s = scene_new_primary();

    (void)state;
    scene_request(s, REQUEST_SWITCHOVER, "pg2", "");
    (void)scene_decide(s);
    assert_non_null(scene_find(s, COMMAND_REQUEST_END));
    free(s);

    s = scene_new_primary();
    scene_request(s, REQUEST_REINIT, "", "pg2");
    (void)scene_decide(s);
    assert_non_null(scene_find(s, COMMAND_REQUEST_END));
    free(s);

    s = scene_new();
    scene_request(s, REQUEST_SWITCHOVER, "", "pg2");
    (void)scene_decide(s);
    assert_non_null(
        strstr(scene_find(s, COMMAND_REQUEST_END)->request_end.text, "no healthy primary"));
    free(s);
}

/* Its release was lost with the Raft leader; its promises are free already. */
static void a_switchover_does_not_end_while_the_owner_is_about_to_hand_over(void **state)
{
    struct scene *s = scene_new_standby();
    struct status *pg2 = &s->view.peers[0].status;

    (void)state;
    s->view.raft.leader_since_ms = TEST_NOW - 5000;
    s->view.peers[1].status.promise = PROMISE_NONE;
    pg2->promise = PROMISE_NONE;
    pg2->pg_state = PG_STATE_STOPPED;
    pg2->lease_epoch = 0;
    scene_request(s, REQUEST_SWITCHOVER, "pg2", "pg1");
    assert_cluster(s, "wait-for-last-owner");
    assert_null(scene_find(s, COMMAND_REQUEST_END));

    s->view.peers[0].received_ms = TEST_NOW - 5000; /* Nobody hands over any more. */
    (void)scene_decide(s);
    assert_non_null(
        strstr(scene_find(s, COMMAND_REQUEST_END)->request_end.text, "no healthy primary"));
    free(s);
}

static void a_scheduled_switchover_waits_for_its_time(void **state)
{
    /* It is due in 300 ms. */
    struct scene *s = scene_new_primary();

    (void)state;
    scene_request(s, REQUEST_SWITCHOVER, "pg1", "pg2");
    s->store.request.at_us = TEST_WALL + 300000;
    assert_node(s, "primary", ACTION_NONE);
    assert_int_equal(s->decision.wake_ms, TEST_NOW + 301);

    s->view.wall_us += 300000;
    assert_node(s, "switchover", ACTION_STOP);
    free(s);
}

static void a_member_publishes_what_it_is_but_not_in_a_stream(void **state)
{
    /* Its tags changed; the proposal is on the way; then it is lost. */
    struct scene *s = scene_new_standby();

    (void)state;
    (void)scene_decide(s);
    assert_null(scene_find(s, COMMAND_MEMBER_SET));
    s->view.self.member.clonefrom = true;
    (void)scene_decide(s);
    assert_true(scene_find(s, COMMAND_MEMBER_SET)->member_set.clonefrom);

    s->view.proposed_ms[COMMAND_MEMBER_SET] = TEST_NOW - 999;
    (void)scene_decide(s);
    assert_null(scene_find(s, COMMAND_MEMBER_SET));
    assert_int_equal(s->decision.wake_ms, TEST_NOW + 1);
    s->view.proposed_ms[COMMAND_MEMBER_SET] = TEST_NOW - 1000;
    (void)scene_decide(s);
    assert_non_null(scene_find(s, COMMAND_MEMBER_SET));
    free(s);
}

static void a_member_publishes_its_pooler(void **state)
{
    /* It has one now; the proposal is on the way; the others know it; it has none any more.
     * What else changed comes first. */
    struct scene *s = scene_new_standby();
    const struct command *c;

    (void)state;
    (void)scene_decide(s);
    assert_null(scene_find(s, COMMAND_MEMBER_PROXY));
    (void)str_copy(s->view.self.member.proxy.url, HOST_SIZE, "postgres://10.0.0.1:6432/postgres");
    (void)scene_decide(s);
    assert_null(scene_find(s, COMMAND_MEMBER_SET));
    c = scene_find(s, COMMAND_MEMBER_PROXY);
    assert_string_equal(c->member_proxy.name, s->view.self.member.name);
    assert_int_equal(c->member_proxy.id, s->view.self.member.id);
    assert_string_equal(c->member_proxy.url, "postgres://10.0.0.1:6432/postgres");

    s->view.proposed_ms[COMMAND_MEMBER_PROXY] = TEST_NOW - 999;
    (void)scene_decide(s);
    assert_null(scene_find(s, COMMAND_MEMBER_PROXY));
    s->view.proposed_ms[COMMAND_MEMBER_PROXY] = 0;
    (void)scene_decide(s);
    scene_apply(s, scene_find(s, COMMAND_MEMBER_PROXY));
    (void)scene_decide(s);
    assert_null(scene_find(s, COMMAND_MEMBER_PROXY));

    s->view.self.member.proxy.url[0] = '\0';
    s->view.self.member.clonefrom = true;
    (void)scene_decide(s);
    assert_null(scene_find(s, COMMAND_MEMBER_PROXY));
    scene_apply(s, scene_find(s, COMMAND_MEMBER_SET));
    (void)scene_decide(s);
    assert_string_equal(scene_find(s, COMMAND_MEMBER_PROXY)->member_proxy.url, "");
    free(s);
}

static bool publishes_version(struct scene *s, uint32_t seen, bool runs)
{
    s->view.self.member.pg_version = seen;
    s->view.self.status.postmaster_start_us = runs ? TEST_WALL : 0;
    (void)scene_decide(s);
    return scene_find(s, COMMAND_MEMBER_SET) != NULL;
}

static void a_stop_and_a_start_do_not_change_the_known_version(void **state)
{
    /* Stopped, only the major version is known; while a clone runs, none at all. */
    struct scene *s = scene_new_standby();

    (void)state;
    assert_true(publishes_version(s, 150004, true));
    scene_apply(s, scene_find(s, COMMAND_MEMBER_SET));
    assert_int_equal(s->store.members[0].pg_version, 150004);
    assert_false(publishes_version(s, 150000, false));
    assert_false(publishes_version(s, 0, false));
    assert_false(publishes_version(s, 150004, true));

    assert_true(publishes_version(s, 150005, true));  /* Another minor version, */
    assert_true(publishes_version(s, 150000, true));  /* also an older one, */
    assert_true(publishes_version(s, 160000, false)); /* and another major one count. */
    scene_apply(s, scene_find(s, COMMAND_MEMBER_SET));
    assert_int_equal(s->store.members[0].pg_version, 160000);
    free(s);
}

static void a_stopping_standby_says_so_and_leaves(void **state)
{
    /* SIGTERM; PostgreSQL stops; the store learns it. */
    struct scene *s = scene_new_standby();

    (void)state;
    s->view.self.stopping = true;
    s->view.self.stopping_since_ms = TEST_NOW - 500;
    assert_node(s, "stopping", ACTION_STOP);
    scene_stop_postgres(s, false, true);
    assert_node(s, "stop-say", ACTION_NONE);
    assert_false(s->decision.may_exit);
    scene_apply(s, scene_find(s, COMMAND_MEMBER_SET));
    assert_node(s, "stop-exit", ACTION_NONE);
    assert_true(s->decision.may_exit);

    s->store.members[0].last_state = PG_STATE_RUNNING;
    s->view.pg.gone_ms = TEST_NOW - 2000; /* Nobody answers: that is no reason to stay. */
    s->view.self.stopping_since_ms = TEST_NOW - 2000;
    assert_node(s, "stop-exit", ACTION_NONE);
    free(s);
}

static void an_explanation_names_rules_and_refusals(void **state)
{
    /* What `vechectl why` would print on the primary that leads. */
    struct scene *s = scene_new_primary();
    char text[4096];

    (void)state;
    explain_decision(scene_decide(s), text, sizeof(text));

    assert_non_null(strstr(text, "node: primary (primary with the lease)"));
    assert_non_null(strstr(text, "cluster: owner-alive"));
    assert_non_null(strstr(text, "  w: witness"));
    assert_non_null(strstr(text, "lease: renew"));
    free(s);
}

static void assert_stale(struct scene *s, const char *name)
{
    decide(&s->view, &s->decision);
    assert_string_equal(s->decision.stale_walsender, name);
}

static void a_walsender_nobody_listens_to_is_ended(void **state)
{
    /* pg2 is back without a word; pg1 still has the WAL sender of its old connection. */
    struct scene *s = scene_new_primary();
    struct view_peer *pg2 = &s->view.peers[0];

    (void)state;
    s->view.pg.n_replicas = 1;
    s->view.pg.replicas[0] = (struct view_replica){.name = "pg2", .state = "streaming"};
    assert_stale(s, "");
    pg2->status.streaming = false;
    pg2->idle_since_ms = TEST_NOW - 999;
    assert_stale(s, "");
    pg2->idle_since_ms = TEST_NOW - 1000;
    assert_stale(s, "pg2");
    assert_int_equal(s->decision.stale_for_ms, 1000);
    s->view.conf.ttl_ms = 3003; /* Both bounds count. */
    assert_stale(s, "");
    s->view.conf.ttl_ms = 300;
    assert_stale(s, "pg2");
    s->view.conf.ttl_ms = 3000;

    (void)str_copy(s->view.pg.replicas[0].state, NAME_SIZE, "startup");
    assert_stale(s, "");
    s->view.pg.replicas[0] = (struct view_replica){.name = "pg_basebackup", .state = "streaming"};
    assert_stale(s, "");
    (void)str_copy(s->view.pg.replicas[0].name, NAME_SIZE, "pg2");
    pg2->received_ms = TEST_NOW - 601;
    assert_stale(s, "");
    pg2->received_ms = TEST_NOW - 10;
    assert_stale(s, "pg2");
    s->view.lease.live = false;
    assert_stale(s, "");
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_primary_without_the_lease_is_fenced),
        cmocka_unit_test(what_is_frozen_waits_for_the_lease_or_is_killed),
        cmocka_unit_test(what_is_frozen_is_killed_when_the_epoch_has_passed),
        cmocka_unit_test(a_promotion_is_fenced_when_the_lease_goes),
        cmocka_unit_test(an_earlier_boot_of_this_node_owns_nothing),
        cmocka_unit_test(a_restarted_agent_leaves_the_primary_running_for_a_moment),
        cmocka_unit_test(left_over_processes_come_before_everything),
        cmocka_unit_test(nobody_promotes_on_old_positions),
        cmocka_unit_test(the_epoch_goes_to_who_is_better_placed),
        cmocka_unit_test(who_does_not_answer_lets_another_take_over),
        cmocka_unit_test(who_does_not_answer_waits_where_nobody_else_would_do_better),
        cmocka_unit_test(who_was_ordered_by_name_is_waited_for),
        cmocka_unit_test(who_was_seen_with_the_lease_goes_on),
        cmocka_unit_test(an_answer_can_be_overtaken_by_a_status),
        cmocka_unit_test(who_came_back_with_more_is_asked_again),
        cmocka_unit_test(who_does_not_answer_is_asked_for_a_ttl),
        cmocka_unit_test(the_epoch_does_not_go_in_circles),
        cmocka_unit_test(who_misses_too_much_gives_the_epoch_back),
        cmocka_unit_test(a_timeline_is_declared_before_it_is_written),
        cmocka_unit_test(nobody_sends_more_once_the_position_is_declared),
        cmocka_unit_test(pre_promote_comes_before_anything_of_a_promotion),
        cmocka_unit_test(who_is_refused_by_pre_promote_lets_another_take_over),
        cmocka_unit_test(pre_promote_does_not_go_on_without_the_lease),
        cmocka_unit_test(a_paused_owner_that_is_a_standby_is_left_alone),
        cmocka_unit_test(a_timeline_that_may_have_been_begun_is_waited_for),
        cmocka_unit_test(only_who_wrote_the_newest_timeline_is_restarted_in_place),
        cmocka_unit_test(a_primary_on_an_old_timeline_is_fenced),
        cmocka_unit_test(no_row_is_acknowledged_before_the_database_is_the_clusters),
        cmocka_unit_test(an_owner_that_gets_no_lease_releases),
        cmocka_unit_test(an_owner_long_without_lease_serves_reads),
        cmocka_unit_test(a_start_that_fails_gives_way_to_who_is_ready),
        cmocka_unit_test(a_start_that_takes_too_long_is_cut_off),
        cmocka_unit_test(a_former_primary_that_diverged_is_rewound_once_there_is_a_primary),
        cmocka_unit_test(a_former_primary_under_a_new_id_knows_its_timeline),
        cmocka_unit_test(what_diverged_is_discarded_only_by_configuration),
        cmocka_unit_test(a_recovery_in_single_user_mode_is_not_fenced),
        cmocka_unit_test(a_rewind_that_fails_again_and_again_ends),
        cmocka_unit_test(a_rewind_that_was_cut_off_goes_on_with_the_same_line_only),
        cmocka_unit_test(the_crash_recovery_before_a_rewind_is_not_fenced),
        cmocka_unit_test(a_former_primary_that_stopped_cleanly_follows),
        cmocka_unit_test(a_crashed_primary_is_not_trusted_to_know_its_end),
        cmocka_unit_test(a_switchover_waits_until_the_candidate_has_everything),
        cmocka_unit_test(a_running_standby_that_received_too_much_is_rewound_when_that_lasts),
        cmocka_unit_test(a_line_that_was_left_is_rewound_even_at_its_end),
        cmocka_unit_test(a_standby_follows_the_present_primary),
        cmocka_unit_test(an_empty_node_waits_for_a_primary_and_clones_it),
        cmocka_unit_test(another_database_is_never_started),
        cmocka_unit_test(paused_nothing_is_done),
        cmocka_unit_test(the_guard_lets_go_only_after_the_store_shows_the_mark),
        cmocka_unit_test(a_mark_that_may_be_on_its_way_out_is_made_anew),
        cmocka_unit_test(an_unfenced_primary_needs_no_lease),
        cmocka_unit_test(a_restarted_agent_believes_its_guard_that_it_is_paused),
        cmocka_unit_test(an_agent_leaves_a_paused_primary_as_it_is),
        cmocka_unit_test(a_reboot_ends_the_mark),
        cmocka_unit_test(an_epoch_that_was_given_up_loses_its_mark),
        cmocka_unit_test(while_something_may_write_unfenced_the_mark_stays),
        cmocka_unit_test(while_paused_an_order_by_name_is_carried_out),
        cmocka_unit_test(while_paused_nobody_is_chosen),
        cmocka_unit_test(from_an_unfenced_primary_nobody_takes_over),
        cmocka_unit_test(a_running_database_is_taken_over_without_a_stop),
        cmocka_unit_test(two_databases_are_an_error_for_people),
        cmocka_unit_test(nobody_takes_over_from_a_promise),
        cmocka_unit_test(leadership_goes_to_who_hears_the_owner),
        cmocka_unit_test(leadership_goes_to_who_hears_more_voters),
        cmocka_unit_test(nobody_gives_leadership_away_instead_of_judging),
        cmocka_unit_test(the_last_owner_is_waited_for_while_it_recovers),
        cmocka_unit_test(the_last_owner_is_waited_for_under_a_new_id),
        cmocka_unit_test(owners_that_give_up_in_a_row_are_paced),
        cmocka_unit_test(an_order_by_name_is_on_record),
        cmocka_unit_test(a_loss_is_told_until_the_ledger_has_it),
        cmocka_unit_test(a_loss_says_what_is_not_known_of_it),
        cmocka_unit_test(requests_that_can_not_be_done_end_with_a_reason),
        cmocka_unit_test(a_switchover_does_not_end_while_the_owner_is_about_to_hand_over),
        cmocka_unit_test(a_scheduled_switchover_waits_for_its_time),
        cmocka_unit_test(a_member_publishes_what_it_is_but_not_in_a_stream),
        cmocka_unit_test(a_member_publishes_its_pooler),
        cmocka_unit_test(a_stop_and_a_start_do_not_change_the_known_version),
        cmocka_unit_test(a_stopping_standby_says_so_and_leaves),
        cmocka_unit_test(a_walsender_nobody_listens_to_is_ended),
        cmocka_unit_test(an_explanation_names_rules_and_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
