/*
 * Who votes: pg2 lost its Raft state and asks under the id 22; pg1 leads.
 */
#include "test_core_util.h"

#define NEW_ID  22
#define TTL_MAX 3000

static const char *rule_of(struct scene *s)
{
    const struct decision *d = scene_decide(s);

    return d->voters.rule != NULL ? d->voters.rule : "none";
}

static struct status joiner(void)
{
    struct status st = status_make(PG2, MODE_POSTGRES);

    st.id = NEW_ID;
    st.wants_vote = true;
    return st;
}

/* The old id is silent for long; the leader leads for long. */
static struct scene *scene_of_a_loss(void)
{
    struct scene *s = scene_new();

    s->view.peers[0].received_ms = TEST_NOW - 2 * TTL_MAX;
    s->view.peers[2] =
        (struct view_peer){.status = joiner(), .received_ms = TEST_NOW - 10, .connected = true};
    s->view.n_peers = 3;
    return s;
}

static void nobody_asks(void **state)
{
    struct scene *s = scene_new();

    (void)state;
    assert_string_equal(rule_of(s), "none");
    free(s);
}

static void the_old_id_goes_before_the_new_one_comes(void **state)
{
    struct scene *s = scene_of_a_loss();

    (void)state;
    assert_string_equal(rule_of(s), "voter-remove");
    assert_int_equal(s->decision.voters.remove, PG2);
    assert_int_equal(s->decision.voters.add, 0);
    assert_non_null(scene_find(s, COMMAND_LEDGER_ADD));

    s->view.raft.n_voters = 2;
    s->view.raft.voters[1] = W;
    s->view.raft.voters_changed_ms = TEST_NOW - TTL_MAX;
    assert_string_equal(rule_of(s), "voter-name");
    assert_int_equal(s->decision.voters.add, 0);
    assert_non_null(scene_find(s, COMMAND_MEMBER_SET));
    assert_int_equal(scene_find(s, COMMAND_MEMBER_SET)->member_set.id, NEW_ID);
    assert_string_equal(scene_find(s, COMMAND_MEMBER_SET)->member_set.name, "pg2");

    scene_apply(s, scene_find(s, COMMAND_MEMBER_SET));
    assert_string_equal(rule_of(s), "voter-add");
    assert_int_equal(s->decision.voters.add, NEW_ID);
    assert_int_equal(s->decision.voters.remove, 0);

    s->view.raft.n_voters = 3;
    s->view.raft.voters[2] = NEW_ID;
    assert_string_equal(rule_of(s), "none");
    free(s);
}

/* It became a voter and lost its state again before it had said a word. */
static void an_id_that_never_spoke_is_removed_too(void **state)
{
    struct scene *s = scene_of_a_loss();

    (void)state;
    s->store.members[1].id = NEW_ID;
    s->view.raft.voters[1] = NEW_ID;
    s->view.peers[2].status.id = NEW_ID + 1;
    s->view.peers[2].received_ms = TEST_NOW;
    assert_string_equal(rule_of(s), "voter-remove");
    assert_int_equal(s->decision.voters.remove, NEW_ID);
    free(s);
}

/* Both were heard a moment ago: only the one that is there now is served. */
static void of_two_new_ids_of_a_node_the_latest_counts(void **state)
{
    struct scene *s = scene_of_a_loss();

    (void)state;
    s->view.raft.n_voters = 2;
    s->view.raft.voters[1] = W;
    s->view.peers[3] = s->view.peers[2];
    s->view.peers[3].status.id = NEW_ID + 1;
    s->view.peers[3].received_ms++;
    s->view.n_peers = 4;
    s->store.members[1].id = NEW_ID;
    assert_string_equal(rule_of(s), "voter-name");
    assert_int_equal(scene_find(s, COMMAND_MEMBER_SET)->member_set.id, NEW_ID + 1);
    free(s);
}

/* A copy of a node that runs does not get its vote. */
static void a_voter_that_was_heard_keeps_its_vote(void **state)
{
    struct scene *s = scene_of_a_loss();

    (void)state;
    s->view.peers[0].received_ms = TEST_NOW - TTL_MAX + 1;
    assert_string_equal(rule_of(s), "voter-name-taken");
    s->view.peers[0].received_ms = TEST_NOW - TTL_MAX;
    assert_string_equal(rule_of(s), "voter-remove");

    /* A new leader has to listen first. */
    s->view.raft.leader_since_ms = TEST_NOW - TTL_MAX + 1;
    assert_string_equal(rule_of(s), "voter-name-taken");
    assert_int_equal(s->decision.voters.remove, 0);
    free(s);
}

static void the_leader_does_not_give_its_own_vote_away(void **state)
{
    struct scene *s = scene_of_a_loss();

    (void)state;
    (void)str_copy(s->view.peers[2].status.name, NAME_SIZE, "pg1");
    assert_string_equal(rule_of(s), "voter-name-taken");
    free(s);
}

static void an_owner_is_not_removed_while_its_lease_may_live(void **state)
{
    struct scene *s = scene_of_a_loss();

    (void)state;
    scene_take(s, PG2, 102);
    s->view.peers[1].status.promise = PROMISE_LIVE;
    assert_string_equal(rule_of(s), "voter-owner");
    assert_int_equal(s->decision.voters.remove, 0);
    free(s);
}

/* It may be the only one with data that is fit for a primary. */
static void an_owner_whose_lease_is_over_may_come_back(void **state)
{
    struct scene *s = scene_of_a_loss();

    (void)state;
    scene_take(s, PG2, 102);
    assert_string_equal(rule_of(s), "voter-remove");
    assert_int_equal(s->decision.voters.remove, PG2);
    free(s);
}

static void changes_keep_their_distance(void **state)
{
    struct scene *s = scene_of_a_loss();

    (void)state;
    s->view.raft.voters_change = true;
    assert_string_equal(rule_of(s), "voter-change-runs");

    s->view.raft.voters_change = false;
    s->view.raft.voters_changed_ms = TEST_NOW - TTL_MAX + 1;
    assert_string_equal(rule_of(s), "voter-too-early");

    /* The longest that any voter may have promised, also a silent one. */
    s->view.raft.voters_changed_ms = TEST_NOW - TTL_MAX;
    assert_string_equal(rule_of(s), "voter-remove");
    s->view.peers[1].status.ttl_max_ms = TTL_MAX + 1;
    assert_string_equal(rule_of(s), "voter-too-early");
    free(s);
}

static void a_name_nobody_knows_is_not_let_in(void **state)
{
    struct scene *s = scene_of_a_loss();

    (void)state;
    (void)str_copy(s->view.peers[2].status.name, NAME_SIZE, "pg7");
    assert_string_equal(rule_of(s), "voter-stranger");
    free(s);
}

static void who_was_not_heard_or_does_not_ask_is_not_added(void **state)
{
    struct scene *s = scene_of_a_loss();

    (void)state;
    s->view.peers[2].received_ms = TEST_NOW - 5000;
    assert_string_equal(rule_of(s), "none");
    s->view.peers[2].received_ms = TEST_NOW - 10;
    s->view.peers[2].status.wants_vote = false;
    assert_string_equal(rule_of(s), "none");
    free(s);
}

static void only_the_leader_judges(void **state)
{
    struct scene *s = scene_of_a_loss();

    (void)state;
    s->view.raft.is_leader = false;
    assert_string_equal(rule_of(s), "none");
    s->view.raft.is_leader = true;
    s->view.raft.caught_up = false;
    assert_string_equal(rule_of(s), "none");
    free(s);
}

/* A stranger that asks first does not keep a member out. */
static void one_that_can_be_served_is(void **state)
{
    struct scene *s = scene_of_a_loss();

    (void)state;
    s->view.peers[3] = s->view.peers[2];
    (void)str_copy(s->view.peers[2].status.name, NAME_SIZE, "pg7");
    s->view.peers[2].status.id = 77;
    s->view.n_peers = 4;
    assert_string_equal(rule_of(s), "voter-remove");
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_asks),
        cmocka_unit_test(the_old_id_goes_before_the_new_one_comes),
        cmocka_unit_test(an_id_that_never_spoke_is_removed_too),
        cmocka_unit_test(of_two_new_ids_of_a_node_the_latest_counts),
        cmocka_unit_test(a_voter_that_was_heard_keeps_its_vote),
        cmocka_unit_test(the_leader_does_not_give_its_own_vote_away),
        cmocka_unit_test(an_owner_is_not_removed_while_its_lease_may_live),
        cmocka_unit_test(an_owner_whose_lease_is_over_may_come_back),
        cmocka_unit_test(changes_keep_their_distance),
        cmocka_unit_test(a_name_nobody_knows_is_not_let_in),
        cmocka_unit_test(who_was_not_heard_or_does_not_ask_is_not_added),
        cmocka_unit_test(only_the_leader_judges),
        cmocka_unit_test(one_that_can_be_served_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
