/*
 * Agreement between real nodes: threads, disks and connections are real, only
 * the peer module is played by the test.
 */
#include "test_consensus_util.h"

static struct cluster k;

/* Three nodes that were told the same members. */
static void three_nodes_elect_a_leader_and_replicate(void **state)
{
    (void)state;
    util_start(&k, 3);

    util_write_notes(&k, 0, 100);
    util_wait_same(&k);

    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(k.nodes[i].store.n_ledger, 100);
        assert_int_equal(k.nodes[i].leadership.n_voters, 3);
        assert_int_equal(k.nodes[i].leadership.n_committed, 3);
        assert_true(k.nodes[i].leadership.usable);
        assert_memory_equal(&k.nodes[i].store, &k.nodes[0].store, sizeof(struct store));
    }
    assert_true(k.n_checked > 10000); /* The check lets real traffic through. */
    util_finish(&k);
}

/* All nodes are stopped in good order and started again. */
static void a_restart_keeps_everything(void **state)
{
    uint64_t term;

    (void)state;
    util_start(&k, 3);
    util_write_notes(&k, 0, 700); /* Past a snapshot. */
    util_wait_same(&k);
    term = util_leader(&k)->leadership.term;

    for (size_t i = 0; i < 3; i++) {
        util_stop_node(&k.nodes[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        k.nodes[i].lowest_term = term;
        util_start_node(&k.nodes[i]);
    }
    util_wait_same(&k);

    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(k.nodes[i].store.n_ledger, 700);
        assert_true(k.nodes[i].n_restores >= 1);
    }
    util_finish(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_nodes_elect_a_leader_and_replicate),
        cmocka_unit_test(a_restart_keeps_everything),
    };

    log_init("test", getenv("VECHE_TEST_DEBUG") != NULL ? LOG_DEBUG : LOG_WARNING);
    consensus_prepare_process();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
