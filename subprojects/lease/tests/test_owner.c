#include "testing.h"

static struct lease_renew begin(struct lease_owner *o, uint64_t ns)
{
    struct lease_renew r;

    assert_true(lease_owner_begin_round(o, at(ns), &r));
    return r;
}

static enum lease_owner_event answer(struct lease_owner *o, uint64_t ns, struct lease_grant g)
{
    return lease_owner_on_grant(o, at(ns), &g);
}

/* A round sent at `ns` and answered by two of three at once. */
static void get_lease(struct lease_owner *o, uint64_t ns)
{
    struct lease_renew r = begin(o, ns);

    assert_int_equal(answer(o, ns, granted(&r, 1)), LEASE_OWNER_NOTED);
    assert_int_equal(answer(o, ns, granted(&r, 2)), LEASE_OWNER_COUNTED);
}

static void renewal_says_who_asks_for_what(void **state)
{
    struct lease_owner o = ready_owner();
    struct lease_renew r = begin(&o, 0);

    (void)state;
    assert_int_equal(r.epoch, 5);
    assert_int_equal(r.owner, 7);
    assert_int_equal(r.instance, 70);
    assert_int_equal(r.round, 500);
    assert_int_equal(r.duration_ns, TTL);
    assert_int_equal(r.voter_set_index, 10);
    assert_int_equal(begin(&o, 1).round, 501);
}

static void lease_counts_from_the_send_time_less_one_percent(void **state)
{
    /* Sent at 0, answered a second later. */
    struct lease_owner o = ready_owner();
    struct lease_renew r = begin(&o, 0);
    struct lease_time deadline;

    (void)state;
    assert_int_equal(answer(&o, SECOND, granted(&r, 1)), LEASE_OWNER_NOTED);
    assert_int_equal(lease_owner_remaining_ns(&o, at(SECOND)), 0);
    assert_int_equal(answer(&o, SECOND, granted(&r, 2)), LEASE_OWNER_COUNTED);
    assert_int_equal(lease_owner_remaining_ns(&o, at(SECOND)), TTL / 100 * 99 - SECOND);
    deadline = lease_owner_deadline(&o);
    assert_int_equal(deadline.raw_ns, at(TTL / 100 * 99).raw_ns);
    assert_int_equal(deadline.boot_ns, at(TTL / 100 * 99).boot_ns);
    assert_int_equal(lease_owner_remaining_ns(&o, at(TTL / 100 * 99 - 1)), 1);
    assert_int_equal(lease_owner_remaining_ns(&o, at(TTL / 100 * 99)), 0);
}

static void smallest_grant_counts(void **state)
{
    struct lease_owner o = ready_owner();
    struct lease_renew r = begin(&o, 0);
    struct lease_grant g = granted(&r, 1);

    (void)state;
    g.granted_ns = 99; /* One percent of it is rounded up. */
    (void)answer(&o, 0, g);
    assert_int_equal(answer(&o, 0, granted(&r, 2)), LEASE_OWNER_COUNTED);
    assert_int_equal(lease_owner_remaining_ns(&o, at(0)), 98);
}

static void sleep_ends_the_lease(void **state)
{
    /* RAW stood still while BOOTTIME went past the deadline. */
    struct lease_owner o = ready_owner();

    (void)state;
    get_lease(&o, 0);
    assert_int_equal(lease_owner_remaining_ns(&o, (struct lease_time){.raw_ns = at(1).raw_ns,
                                                                      .boot_ns = at(TTL).boot_ns}),
                     0);
}

static void one_voter_counts_once(void **state)
{
    struct lease_owner o = ready_owner();
    struct lease_renew r = begin(&o, 0);

    (void)state;
    assert_int_equal(answer(&o, 0, granted(&r, 1)), LEASE_OWNER_NOTED);
    assert_int_equal(answer(&o, 0, granted(&r, 1)), LEASE_OWNER_DUPLICATE);
    assert_int_equal(answer(&o, 0, granted(&r, 9)), LEASE_OWNER_NOTED); /* No voter. */
    assert_int_equal(lease_owner_remaining_ns(&o, at(0)), 0);
}

static void answers_of_different_rounds_do_not_add_up(void **state)
{
    struct lease_owner o = ready_owner();
    struct lease_renew first = begin(&o, 0);
    struct lease_renew second = begin(&o, 1);

    (void)state;
    assert_int_equal(answer(&o, 2, granted(&first, 1)), LEASE_OWNER_NOTED);
    assert_int_equal(answer(&o, 2, granted(&second, 2)), LEASE_OWNER_NOTED);
    assert_int_equal(lease_owner_remaining_ns(&o, at(2)), 0);
}

static void deadline_only_moves_forward(void **state)
{
    /* The answers to an earlier round come after those to a later one. */
    struct lease_owner o = ready_owner();
    struct lease_renew first = begin(&o, 0);

    (void)state;
    get_lease(&o, SECOND);
    (void)answer(&o, SECOND, granted(&first, 1));
    assert_int_equal(answer(&o, SECOND, granted(&first, 2)), LEASE_OWNER_NOTED);
    assert_int_equal(lease_owner_remaining_ns(&o, at(SECOND)), TTL / 100 * 99);
}

static void replaced_round_is_unknown(void **state)
{
    /* Eight more rounds were begun since. */
    struct lease_owner o = ready_owner();
    struct lease_renew first = begin(&o, 0);

    (void)state;
    for (uint64_t i = 1; i < LEASE_ROUNDS_MAX; i++) {
        (void)begin(&o, i);
    }
    assert_int_equal(answer(&o, 10, granted(&first, 1)), LEASE_OWNER_NOTED);
    (void)begin(&o, 11);
    assert_int_equal(answer(&o, 12, granted(&first, 2)), LEASE_OWNER_UNKNOWN_ROUND);
}

static void answers_to_others_are_dropped(void **state)
{
    struct lease_owner o = ready_owner();
    struct lease_renew r = begin(&o, 0);
    struct lease_grant g = granted(&r, 1);

    (void)state;
    g.epoch = 4;
    assert_int_equal(answer(&o, 0, g), LEASE_OWNER_OTHER_EPOCH);
    g = granted(&r, 1);
    g.instance = 71;
    assert_int_equal(answer(&o, 0, g), LEASE_OWNER_OTHER_EPOCH);
}

static void impossible_answers_are_dropped(void **state)
{
    struct lease_owner o = ready_owner();
    struct lease_renew r = begin(&o, 0);
    struct lease_grant g[7];

    (void)state;
    for (size_t i = 0; i < 7; i++) {
        g[i] = granted(&r, 1);
    }
    g[0].granted_ns = TTL + 1;
    g[1].granted_ns = 0;
    g[2].n_sets = 3;
    g[3].n_sets = 0;
    g[4].sets[0].n = LEASE_VOTERS_MAX + 1;
    g[5].voter = 0;
    g[6].verdict = (enum lease_verdict)LEASE_VERDICTS;
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(answer(&o, 0, g[i]), LEASE_OWNER_MALFORMED);
    }
}

static void newer_set_named_by_a_voter_needs_its_majority(void **state)
{
    /* We know {1, 2, 3}; voter 2 has logged {1, 2, 3, 4, 5}. */
    struct lease_owner o = ready_owner();
    struct lease_renew r = begin(&o, 0);
    struct lease_grant g = granted(&r, 2);
    uint64_t ids[LEASE_GRANTS_MAX];

    (void)state;
    g.n_sets = 2;
    g.sets[1] = (struct lease_voter_set){.index = 12, .n = 5, .ids = {1, 2, 3, 4, 5}};
    assert_int_equal(answer(&o, 0, granted(&r, 1)), LEASE_OWNER_NOTED);
    assert_int_equal(lease_owner_targets(&o, ids), 3);
    assert_int_equal(answer(&o, 0, g), LEASE_OWNER_NOTED);
    assert_int_equal(lease_owner_targets(&o, ids), 5);
    assert_int_equal(ids[4], 5);
    assert_int_equal(answer(&o, 0, granted(&r, 5)), LEASE_OWNER_COUNTED);
}

static void own_logged_set_needs_its_majority(void **state)
{
    struct lease_owner o = ready_owner();
    struct lease_voter_set set = three();
    struct lease_voter_set logged = {.index = 12, .n = 4, .ids = {1, 2, 3, 4}};
    struct lease_renew r;

    (void)state;
    lease_owner_on_sets(&o, &set, &logged);
    r = begin(&o, 0);
    assert_int_equal(answer(&o, 0, granted(&r, 1)), LEASE_OWNER_NOTED);
    assert_int_equal(answer(&o, 0, granted(&r, 2)), LEASE_OWNER_NOTED);
    assert_int_equal(answer(&o, 0, granted(&r, 3)), LEASE_OWNER_COUNTED);
}

static void majority_of_a_newer_set_does_not_replace_that_of_ours(void **state)
{
    /* Three of five, but only one of our three. */
    struct lease_owner o = ready_owner();
    struct lease_renew r = begin(&o, 0);

    (void)state;
    for (uint64_t id = 3; id <= 5; id++) {
        struct lease_grant g = granted(&r, id);

        g.sets[0] = (struct lease_voter_set){.index = 12, .n = 5, .ids = {1, 2, 3, 4, 5}};
        assert_int_equal(answer(&o, 0, g), LEASE_OWNER_NOTED);
    }
    assert_int_equal(lease_owner_remaining_ns(&o, at(0)), 0);
}

static void older_set_named_by_a_voter_does_not_matter(void **state)
{
    struct lease_owner o = ready_owner();
    struct lease_renew r = begin(&o, 0);
    struct lease_grant g = granted(&r, 2);

    (void)state;
    g.sets[0] = (struct lease_voter_set){.index = 9, .n = 2, .ids = {8, 9}};
    (void)answer(&o, 0, granted(&r, 1));
    assert_int_equal(answer(&o, 0, g), LEASE_OWNER_COUNTED);
}

static void higher_epoch_ends_renewing_but_not_the_lease(void **state)
{
    struct lease_owner o = ready_owner();
    struct lease_renew r;
    struct lease_grant g;

    (void)state;
    get_lease(&o, 0);
    r = begin(&o, 1);
    g = granted(&r, 3);
    g.verdict = LEASE_REFUSED_EPOCH;
    g.granted_ns = 0;
    g.highest_epoch = 6;
    assert_int_equal(answer(&o, 2, g), LEASE_OWNER_DEPOSED);
    assert_int_equal(lease_owner_higher_epoch(&o), 6);
    assert_true(lease_owner_remaining_ns(&o, at(2)) > 0);
    assert_false(lease_owner_begin_round(&o, at(3), &r));
    assert_int_equal(lease_owner_next_round_ns(&o, at(3)), UINT64_MAX);
    assert_int_equal(lease_owner_take(&o, at(4), 6), LEASE_TAKEN);
    assert_true(lease_owner_begin_round(&o, at(5), &r));
}

static void plain_refusal_changes_nothing(void **state)
{
    struct lease_owner o = ready_owner();
    struct lease_renew r = begin(&o, 0);
    struct lease_grant g = granted(&r, 3);

    (void)state;
    g.verdict = LEASE_REFUSED_QUARANTINE;
    g.granted_ns = 0;
    g.n_sets = 0;
    assert_int_equal(answer(&o, 0, g), LEASE_OWNER_REFUSED);
    assert_int_equal(lease_owner_higher_epoch(&o), 0);
}

static void dropped_epoch_never_comes_back(void **state)
{
    /* A release: answers on their way do not count, the store does not help. */
    struct lease_owner o = ready_owner();
    struct lease_renew r = begin(&o, 0);

    (void)state;
    (void)answer(&o, 0, granted(&r, 1));
    lease_owner_drop(&o);
    assert_int_equal(answer(&o, 1, granted(&r, 2)), LEASE_OWNER_OTHER_EPOCH);
    assert_int_equal(lease_owner_remaining_ns(&o, at(1)), 0);
    assert_false(lease_owner_begin_round(&o, at(1), &r));
    assert_int_equal(lease_owner_take(&o, at(1), 5), LEASE_TAKE_STALE);
    assert_int_equal(lease_owner_epoch(&o), 0);
}

static void new_epoch_starts_without_a_lease(void **state)
{
    struct lease_owner o = ready_owner();
    struct lease_renew r;

    (void)state;
    get_lease(&o, 0);
    r = begin(&o, 1);
    assert_int_equal(lease_owner_take(&o, at(2), 5), LEASE_TAKEN_ALREADY);
    assert_int_equal(lease_owner_take(&o, at(2), 4), LEASE_TAKE_STALE);
    assert_int_equal(lease_owner_take(&o, at(2), 6), LEASE_TAKEN);
    assert_int_equal(lease_owner_remaining_ns(&o, at(2)), 0);
    r.epoch = 6;
    assert_int_equal(answer(&o, 3, granted(&r, 1)), LEASE_OWNER_UNKNOWN_ROUND);
}

static void restarted_agent_continues_the_attested_epoch_only(void **state)
{
    /* The guard attests epoch 5 until 1 s. No barrier was applied yet. */
    struct lease_owner o;
    struct lease_voter_set set = three();

    (void)state;
    lease_owner_init(&o, 7, 70, 900);
    assert_int_equal(lease_owner_take(&o, at(0), 4), LEASE_TAKE_NOT_SETTLED);
    lease_owner_continue(&o, at(0), 5, at(SECOND), TTL);
    lease_owner_on_ttl(&o, TTL);
    lease_owner_on_sets(&o, &set, NULL);
    assert_int_equal(lease_owner_remaining_ns(&o, at(MS)), SECOND - MS);
    get_lease(&o, 2 * MS);
    assert_false(lease_owner_is_settled(&o));
    assert_int_equal(lease_owner_take(&o, at(3 * MS), 6), LEASE_TAKE_NOT_SETTLED);
    lease_owner_on_barrier(&o);
    assert_int_equal(lease_owner_take(&o, at(3 * MS), 6), LEASE_TAKEN);
}

static void higher_epoch_ends_the_continue_state(void **state)
{
    struct lease_owner o;
    struct lease_voter_set set = three();
    struct lease_renew r;
    struct lease_grant g;

    (void)state;
    lease_owner_init(&o, 7, 70, 900);
    lease_owner_continue(&o, at(0), 5, at(SECOND), TTL);
    lease_owner_on_ttl(&o, TTL);
    lease_owner_on_sets(&o, &set, NULL);
    r = begin(&o, 0);
    g = granted(&r, 2);
    g.verdict = LEASE_REFUSED_EPOCH;
    g.highest_epoch = 9;
    assert_int_equal(answer(&o, 0, g), LEASE_OWNER_DEPOSED);
    assert_true(lease_owner_is_settled(&o));
    assert_int_equal(lease_owner_take(&o, at(1), 8), LEASE_TAKE_STALE);
}

static void clock_that_steps_back_ends_the_lease_and_the_rounds(void **state)
{
    struct lease_owner o = ready_owner();
    struct lease_renew r;

    (void)state;
    get_lease(&o, SECOND);
    r = begin(&o, SECOND);
    assert_int_equal(lease_owner_remaining_ns(&o, at(SECOND - 1)), 0);
    assert_int_equal(o.clock_steps, 1);
    assert_int_equal(answer(&o, 2 * SECOND, granted(&r, 1)), LEASE_OWNER_UNKNOWN_ROUND);
    get_lease(&o, 2 * SECOND);
    assert_true(lease_owner_remaining_ns(&o, at(2 * SECOND)) > 0);
}

static void rounds_are_due_every_sixth_of_a_ttl(void **state)
{
    struct lease_owner o = ready_owner();

    (void)state;
    assert_int_equal(lease_owner_next_round_ns(&o, at(0)), 0);
    (void)begin(&o, 0);
    assert_int_equal(lease_owner_next_round_ns(&o, at(100 * MS)), 400 * MS);
    assert_int_equal(lease_owner_next_round_ns(&o, at(500 * MS)), 0);
}

/* Voters grant more only when they have written how much: until then a lease is as long as
 * before, and would be over long before a sixth of the new ttl. */
static void rounds_are_due_by_the_lease_that_is_held_not_by_a_longer_ttl(void **state)
{
    const uint64_t longer = 80 * TTL;
    struct lease_owner o = ready_owner();
    struct lease_renew r;

    (void)state;
    assert_int_equal(lease_owner_term_ns(&o), TTL);
    get_lease(&o, 0);
    lease_owner_on_ttl(&o, longer);
    assert_int_equal(lease_owner_next_round_ns(&o, at(100 * MS)), 400 * MS);
    r = begin(&o, 500 * MS);
    assert_int_equal(r.duration_ns, longer);
    for (uint64_t voter = 1; voter <= 2; voter++) {
        struct lease_grant g = granted(&r, voter);

        g.granted_ns = voter == 1 ? longer : TTL;
        (void)answer(&o, 500 * MS, g);
    }
    assert_int_equal(lease_owner_term_ns(&o), TTL);
    assert_int_equal(lease_owner_next_round_ns(&o, at(600 * MS)), 400 * MS);
    get_lease(&o, SECOND);
    assert_int_equal(lease_owner_term_ns(&o), longer);
    assert_int_equal(lease_owner_next_round_ns(&o, at(SECOND)), longer / 6);
    lease_owner_on_ttl(&o, TTL); /* What the others may grant from now on. */
    assert_int_equal(lease_owner_next_round_ns(&o, at(SECOND)), TTL / 6);
}

static void a_restarted_agent_renews_by_the_lease_its_guard_attests(void **state)
{
    struct lease_owner o;
    struct lease_voter_set set = three();

    (void)state;
    lease_owner_init(&o, 7, 70, 900);
    lease_owner_on_ttl(&o, 80 * TTL);
    lease_owner_on_sets(&o, &set, NULL);
    lease_owner_continue(&o, at(0), 5, at(SECOND), TTL);
    (void)begin(&o, 0); /* Reaches nobody. */
    assert_int_equal(lease_owner_next_round_ns(&o, at(0)), TTL / 6);
}

static void nothing_is_renewed_without_epoch_ttl_or_voters(void **state)
{
    struct lease_owner o;
    struct lease_voter_set set = three();
    struct lease_renew r;

    (void)state;
    lease_owner_init(&o, 7, 70, 500);
    lease_owner_on_barrier(&o);
    assert_false(lease_owner_begin_round(&o, at(0), &r));
    assert_int_equal(lease_owner_take(&o, at(0), 5), LEASE_TAKEN);
    assert_false(lease_owner_begin_round(&o, at(0), &r));
    lease_owner_on_ttl(&o, TTL);
    assert_false(lease_owner_begin_round(&o, at(0), &r));
    lease_owner_on_sets(&o, &set, NULL);
    assert_true(lease_owner_begin_round(&o, at(0), &r));
}

static void owner_without_a_lease_gives_up_in_time(void **state)
{
    /* Epoch taken at 0, no lease; then one that ends at 0.99 ttl. */
    struct lease_owner o = ready_owner();

    (void)state;
    assert_false(lease_owner_should_give_up(&o, at(TTL / 2 - 1), 0));
    assert_true(lease_owner_should_give_up(&o, at(TTL / 2), 0));
    assert_false(lease_owner_should_give_up(&o, at(TTL / 2), 1));
    o = ready_owner();
    get_lease(&o, 0);
    assert_false(lease_owner_should_give_up(&o, at(TTL), 0));
    assert_false(lease_owner_should_give_up(&o, at(TTL / 100 * 99 + TTL / 2 - 1), 0));
    assert_true(lease_owner_should_give_up(&o, at(TTL / 100 * 99 + TTL / 2), 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renewal_says_who_asks_for_what),
        cmocka_unit_test(lease_counts_from_the_send_time_less_one_percent),
        cmocka_unit_test(smallest_grant_counts),
        cmocka_unit_test(sleep_ends_the_lease),
        cmocka_unit_test(one_voter_counts_once),
        cmocka_unit_test(answers_of_different_rounds_do_not_add_up),
        cmocka_unit_test(deadline_only_moves_forward),
        cmocka_unit_test(replaced_round_is_unknown),
        cmocka_unit_test(answers_to_others_are_dropped),
        cmocka_unit_test(impossible_answers_are_dropped),
        cmocka_unit_test(newer_set_named_by_a_voter_needs_its_majority),
        cmocka_unit_test(own_logged_set_needs_its_majority),
        cmocka_unit_test(majority_of_a_newer_set_does_not_replace_that_of_ours),
        cmocka_unit_test(older_set_named_by_a_voter_does_not_matter),
        cmocka_unit_test(higher_epoch_ends_renewing_but_not_the_lease),
        cmocka_unit_test(plain_refusal_changes_nothing),
        cmocka_unit_test(dropped_epoch_never_comes_back),
        cmocka_unit_test(new_epoch_starts_without_a_lease),
        cmocka_unit_test(restarted_agent_continues_the_attested_epoch_only),
        cmocka_unit_test(higher_epoch_ends_the_continue_state),
        cmocka_unit_test(clock_that_steps_back_ends_the_lease_and_the_rounds),
        cmocka_unit_test(rounds_are_due_every_sixth_of_a_ttl),
        cmocka_unit_test(rounds_are_due_by_the_lease_that_is_held_not_by_a_longer_ttl),
        cmocka_unit_test(a_restarted_agent_renews_by_the_lease_its_guard_attests),
        cmocka_unit_test(nothing_is_renewed_without_epoch_ttl_or_voters),
        cmocka_unit_test(owner_without_a_lease_gives_up_in_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
