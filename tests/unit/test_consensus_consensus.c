/*
 * Agreement between real nodes: threads, disks and connections are real, only
 * the peer module is played by the test.
 */
#include "test_consensus_util.h"
#include <dirent.h>

static struct cluster k;

/* Three nodes that were told the same members. */
static void three_nodes_elect_a_leader_and_replicate(void **state)
{
    (void)state;
    util_start(&k, 3);

    util_write_notes(&k, 0, 100);
    util_wait_same(&k);

    for (size_t i = 0; i < 3; i++) {
        assert_true(k.nodes[i].store.n_ledger >= 100); /* More if a leader was lost half-way. */
        assert_int_equal(k.nodes[i].leadership.n_voters, 3);
        assert_int_equal(k.nodes[i].leadership.n_committed, 3);
        assert_true(k.nodes[i].leadership.usable);
        assert_memory_equal(&k.nodes[i].store, &k.nodes[0].store, sizeof(struct store));
    }
    assert_true(k.n_checked > 10000); /* The check lets real traffic through. */
    util_finish(&k);
}

/* All nodes are stopped in good order and started again. */
static bool has_snapshot(const struct node *n)
{
    DIR *dir = opendir(n->directory);
    struct dirent *entry;
    bool meta = false;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        /* Written last, so the snapshot is whole. */
        meta = meta || (str_starts_with(entry->d_name, "snapshot-") &&
                        str_ends_with(entry->d_name, ".meta"));
    }
    (void)closedir(dir);
    return meta;
}

/* A snapshot is written beside the commands; a busy machine may be late with it. */
static void wait_for_snapshots(void)
{
    for (size_t i = 0; i < 3; i++) {
        uint64_t deadline_ms = clock_ms() + SECONDS(60);

        while (!has_snapshot(&k.nodes[i])) {
            assert_true(clock_ms() < deadline_ms);
            util_run_ms(&k, 20);
        }
    }
}

static void a_restart_keeps_everything(void **state)
{
    uint64_t term;

    (void)state;
    util_start(&k, 3);
    util_write_notes(&k, 0, 700); /* Past a snapshot. */
    util_wait_same(&k);
    wait_for_snapshots();
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
        assert_true(k.nodes[i].store.n_ledger >= 700);
        assert_memory_equal(&k.nodes[i].store, &k.nodes[0].store, sizeof(struct store));
        assert_true(k.nodes[i].n_restores >= 1);
    }
    util_finish(&k);
}

/* One was down for more commands than the others keep in their logs. */
static void a_node_that_was_away_catches_up_by_a_snapshot(void **state)
{
    struct node *away = &k.nodes[2];

    (void)state;
    util_start(&k, 3);
    util_stop_node(away);
    util_write_notes(&k, 0, 2600);

    util_start_node(away);
    util_wait_same(&k);

    assert_true(away->n_restores >= 1);
    assert_true(away->n_commits < 2600);
    assert_memory_equal(&away->store, &util_leader(&k)->store, sizeof(struct store));
    util_finish(&k);
}

static struct propose_result change_voter(bool add, node_id id)
{
    struct answer answer;

    do {
        memset(&answer, 0, sizeof(answer));
        UTIL_WAIT(&k, util_leader(&k) != NULL);
        if (add) {
            consensus_add_voter(util_leader(&k)->consensus, id, util_on_answer, &answer);
        } else {
            consensus_remove_voter(util_leader(&k)->consensus, id, util_on_answer, &answer);
        }
        UTIL_WAIT(&k, answer.arrived);
        util_run_ms(&k, 20);
    } while (answer.result.status != PROPOSE_DONE);
    return answer.result;
}

/* Fills segments of the log, so that older ones can go. */
static void write_big_commands(unsigned n)
{
    struct command *c = util_command(COMMAND_CONFIG_SET);

    for (unsigned i = 0; i < n; i++) {
        c->config_set.expect_revision = util_leader(&k)->store.config_revision;
        memset(c->config_set.config, 'x', 200 * 1024);
        (void)util_propose(&k, c);
        util_wait_same(&k);
    }
    free(c);
}

static struct node *a_follower(void)
{
    UTIL_WAIT(&k, util_leader(&k) != NULL);
    return util_leader(&k) == &k.nodes[0] ? &k.nodes[1] : &k.nodes[0];
}

/* Starts three voters and a fourth node; while a follower is down the fourth
 * becomes a voter; the follower catches up in one batch, takes snapshots until
 * the change itself is gone from its log, and is started again alone. Returns
 * how many voters it then knows. The leader keeps the last messages for who is down, and
 * in time they all hold everything: so long it stays away. */
static unsigned voters_known_after_a_change_in_a_batch(unsigned without, uint64_t away_ms)
{
    struct node *away;
    unsigned n_voters;

    util_start(&k, 3);
    k.n = 4;
    k.nodes[3] = (struct node){.cluster = &k, .id = util_id(3)};
    (void)snprintf(k.nodes[3].directory, sizeof(k.nodes[3].directory), "%s/n3", k.root);
    assert_int_equal(mkdir(k.nodes[3].directory, 0700), 0);
    util_start_node(&k.nodes[3]);
    away = a_follower();
    util_stop_node(away);
    util_write_notes(&k, 0, 5);
    (void)change_voter(true, k.nodes[3].id);
    util_write_notes(&k, 5, 8);
    util_run_ms(&k, away_ms);

    away->without = without;
    util_start_node(away);
    util_wait_same(&k);
    write_big_commands(12);
    for (unsigned i = 8; i < 2200; i += 100) {
        util_write_notes(&k, i, i + 100);
        util_wait_same(&k); /* It must not fall behind and be sent a snapshot. */
    }
    util_stop_node(away);
    util_isolate(&k, (size_t)(away - k.nodes), true);
    util_start_node(away);
    UTIL_WAIT(&k, away->leadership.usable);
    n_voters = away->leadership.n_committed;
    assert_true(away->n_restores >= 1);
    util_finish(&k);
    return n_voters;
}

static void members_changed_while_a_node_was_down_are_known_to_it(void **state)
{
    (void)state;
    assert_int_equal(voters_known_after_a_change_in_a_batch(0, SECONDS(1)), 4);
}

/* On a busy machine the change may still come in a message of its own: then again. */
static void without_the_work_around_it_believes_in_the_old_members(void **state)
{
    uint64_t away_ms = SECONDS(1);

    (void)state;
    while (voters_known_after_a_change_in_a_batch(CONSENSUS_WITHOUT_R1, away_ms) == 4) {
        away_ms *= 2;
        assert_true(away_ms <= SECONDS(64));
    }
}

static void voters_come_and_go_one_at_a_time(void **state)
{
    struct propose_result r;
    struct node *gone;

    (void)state;
    util_start(&k, 3);
    gone = a_follower();
    r = change_voter(false, gone->id);
    UTIL_WAIT(&k, util_leader(&k) != NULL && util_leader(&k)->leadership.n_committed == 2);
    assert_int_equal(util_leader(&k)->leadership.committed_index, r.index);
    assert_int_equal(util_leader(&k)->leadership.voters_index, r.index);

    (void)change_voter(false, gone->id); /* So already. */
    (void)change_voter(true, gone->id);
    UTIL_WAIT(&k, util_leader(&k) != NULL && util_leader(&k)->leadership.n_committed == 3);
    util_write_notes(&k, 0, 3);
    util_wait_same(&k);
    util_finish(&k);
}

/* The leader is cut off with proposals under way; both it and the next leader are
 * asked for the same compare-and-set. */
static void a_compare_and_set_happens_once_across_a_change_of_leader(void **state)
{
    struct command *c = util_command(COMMAND_CONFIG_SET);
    struct answer lost = {0};
    struct propose_result r;
    struct node *old;

    (void)state;
    util_start(&k, 3);
    old = util_leader(&k);
    c->config_set.expect_revision = 0;
    (void)snprintf(c->config_set.config, sizeof(c->config_set.config), "{\"ttl\":3}");
    util_isolate(&k, (size_t)(old - k.nodes), true);
    consensus_propose(old->consensus, c, util_on_answer, &lost);
    UTIL_WAIT(&k, util_leader(&k) != NULL && util_leader(&k) != old);
    UTIL_WAIT(&k, lost.arrived);
    assert_true(lost.result.status == PROPOSE_UNKNOWN || lost.result.status == PROPOSE_NOT_LEADER);

    (void)snprintf(c->config_set.config, sizeof(c->config_set.config), "{\"ttl\":4}");
    r = util_propose(&k, c);
    assert_int_equal(r.result, APPLY_DONE);
    r = util_propose(&k, c); /* Decided on what has moved since. */
    assert_int_equal(r.result, APPLY_REFUSED_REVISION);
    util_isolate(&k, (size_t)(old - k.nodes), false);
    util_wait_same(&k);

    assert_int_equal(old->store.config_revision, util_leader(&k)->store.config_revision);
    assert_string_equal(old->store.config, "{\"ttl\":4}");
    free(c);
    util_finish(&k);
}

static void leadership_is_handed_over(void **state)
{
    struct node *target;
    uint64_t end_ms = clock_ms() + LIVENESS_MS;

    (void)state;
    util_start(&k, 3);
    target = a_follower();
    while (util_leader(&k) != target) {
        UTIL_WAIT(&k, util_leader(&k) != NULL);
        consensus_transfer(util_leader(&k)->consensus, target->id);
        util_run_ms(&k, 300);
        assert_true(clock_ms() < end_ms);
    }
    util_write_notes(&k, 0, 5);
    util_finish(&k);
}

/* More at once than is let into flight: the rest is told so, everybody once. */
static void too_many_proposals_are_refused_as_busy(void **state)
{
    static struct answer answers[600];
    struct command *c = util_command(COMMAND_LEDGER_ADD);
    unsigned n[4] = {0};

    (void)state;
    memset(answers, 0, sizeof(answers));
    util_start(&k, 1);
    for (unsigned i = 0; i < ARRAY_LENGTH(answers); i++) {
        util_fill_note(c, i);
        consensus_propose(k.nodes[0].consensus, c, util_on_answer, &answers[i]);
        assert_false(answers[i].arrived);
    }
    for (unsigned i = 0; i < ARRAY_LENGTH(answers); i++) {
        UTIL_WAIT(&k, answers[i].arrived);
        n[answers[i].result.status]++;
    }
    assert_int_equal(n[PROPOSE_DONE], 256);
    assert_int_equal(n[PROPOSE_BUSY], 600 - 256);
    free(c);
    util_finish(&k);
}

static void garbage_does_not_get_into_the_log(void **state)
{
    const char garbage[] = "not a command";
    const uint8_t newer[] = {2, 0, 1, 0};
    struct answer answers[2] = {0};

    (void)state;
    util_start(&k, 1);
    consensus_propose_bytes(k.nodes[0].consensus, garbage, sizeof(garbage), util_on_answer,
                            &answers[0]);
    consensus_propose_bytes(k.nodes[0].consensus, newer, sizeof(newer), util_on_answer,
                            &answers[1]);
    for (size_t i = 0; i < 2; i++) {
        UTIL_WAIT(&k, answers[i].arrived);
        assert_int_equal(answers[i].result.status, PROPOSE_DONE);
        assert_int_equal(answers[i].result.result, APPLY_REFUSED_VALUE);
        assert_int_equal(answers[i].result.index, 0);
    }
    util_write_notes(&k, 0, 1);
    util_finish(&k);
}

/* A leader without its majority is stopped: what it was asked ends as unknown. */
static void stopping_answers_everybody(void **state)
{
    struct command *c = util_command(COMMAND_LEDGER_ADD);
    struct answer answers[10] = {0};
    struct node *leader;

    (void)state;
    util_start(&k, 3);
    leader = util_leader(&k);
    util_isolate(&k, (size_t)(leader - k.nodes), true);
    for (unsigned i = 0; i < 10; i++) {
        util_fill_note(c, i);
        consensus_propose(leader->consensus, c, util_on_answer, &answers[i]);
    }
    util_stop_node(leader);

    for (unsigned i = 0; i < 10; i++) {
        assert_true(answers[i].arrived);
        assert_int_equal(answers[i].result.status, PROPOSE_UNKNOWN);
    }
    free(c);
    util_finish(&k);
}

static void followers_and_stopped_nodes_say_they_do_not_lead(void **state)
{
    struct command *c = util_command(COMMAND_LEDGER_ADD);
    struct answer answer = {0};
    struct consensus *never_started;
    struct node *follower;

    (void)state;
    util_start(&k, 3);
    follower = a_follower();
    util_fill_note(c, 1);
    assert_int_equal(util_propose_on(follower, c).status, PROPOSE_NOT_LEADER);

    never_started = util_new(follower);
    consensus_propose(never_started, c, util_on_answer, &answer);
    UTIL_WAIT(&k, answer.arrived);
    assert_int_equal(answer.result.status, PROPOSE_NOT_LEADER);
    consensus_free(never_started);
    consensus_free(NULL);
    free(c);
    util_finish(&k);
}

static void a_directory_tells_whether_it_holds_raft_state(void **state)
{
    struct err err = {""};
    bool has_state = false;

    (void)state;
    util_start(&k, 1);
    assert_int_equal(consensus_directory_state(k.nodes[0].directory, &has_state, &err), 0);
    assert_true(has_state);
    assert_int_equal(consensus_directory_state(k.root, &has_state, &err), 0);
    assert_false(has_state);
    assert_int_equal(consensus_directory_state("/proc/1/mem", &has_state, &err), -1);
    util_finish(&k);
}

/* Nothing happens, so nothing is written: only the clock of the disk moves. */
static void an_idle_cluster_writes_no_entries(void **state)
{
    uint64_t before;

    (void)state;
    util_start(&k, 3);
    util_write_notes(&k, 0, 3);
    util_wait_same(&k);
    before = util_leader(&k)->last_index;
    util_run_ms(&k, 1000);
    util_write_notes(&k, 3, 4);
    util_wait_same(&k);

    /* The note, the barriers of util_wait_same, at most an election or two. */
    assert_true(util_leader(&k)->last_index <= before + 8);
    util_finish(&k);
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_nodes_elect_a_leader_and_replicate),
        cmocka_unit_test(a_restart_keeps_everything),
        cmocka_unit_test(a_node_that_was_away_catches_up_by_a_snapshot),
        cmocka_unit_test(members_changed_while_a_node_was_down_are_known_to_it),
        cmocka_unit_test(without_the_work_around_it_believes_in_the_old_members),
        cmocka_unit_test(voters_come_and_go_one_at_a_time),
        cmocka_unit_test(a_compare_and_set_happens_once_across_a_change_of_leader),
        cmocka_unit_test(leadership_is_handed_over),
        cmocka_unit_test(too_many_proposals_are_refused_as_busy),
        cmocka_unit_test(garbage_does_not_get_into_the_log),
        cmocka_unit_test(stopping_answers_everybody),
        cmocka_unit_test(followers_and_stopped_nodes_say_they_do_not_lead),
        cmocka_unit_test(a_directory_tells_whether_it_holds_raft_state),
        cmocka_unit_test(an_idle_cluster_writes_no_entries),
    };

    log_init("test", getenv("VECHE_TEST_DEBUG") != NULL ? LOG_DEBUG : LOG_ERROR);
    consensus_prepare_process();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_in_place(run_all);
}
