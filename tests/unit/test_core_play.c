/* Stories of a small cluster, each with its end; the stage is test_core_play_util.h. */
#include "test_core_play_util.h"

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

static bool both_have_left(const struct play *p)
{
    return p->nodes[0].exited && p->nodes[1].exited;
}

static void agents_that_stop_together_do_not_pass_the_epoch_around(void **state)
{
    /* SIGTERM to both: nobody is chosen who would release at once. */
    struct play *p = play_running();

    (void)state;
    for (int i = 0; i < 2; i++) {
        p->nodes[i].stopping = true;
        p->nodes[i].stopping_since_ms = p->now_ms;
    }
    (void)play_until(p, both_have_left, 20);
    assert_int_equal(p->store.primary.epoch, 1);
    assert_false(p->store.primary.has_owner);

    start_node(p, 0, false);
    start_node(p, 1, false);
    (void)play_until(p, somebody_leads_and_the_other_streams, 30);
    assert_int_equal(p->store.primary.epoch, 2);
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
        cmocka_unit_test(agents_that_stop_together_do_not_pass_the_epoch_around),
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
