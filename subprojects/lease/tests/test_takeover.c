#include "testing.h"

#define PERIOD (300 * MS)

static struct lease_voter_set set;
static struct lease_report reports[3];

/* All three voters said at 10 s that they hold no promise; leader and epoch are
 * as old as the test. */
static struct lease_arbiter arbiter(void)
{
    set = three();
    for (size_t i = 0; i < 3; i++) {
        reports[i] = (struct lease_report){i + 1, LEASE_PROMISE_NONE, at(10 * SECOND)};
    }
    return (struct lease_arbiter){
        .committed = &set,
        .reports = reports,
        .n_reports = 3,
        .ttl_ns = TTL,
        .status_period_ns = PERIOD,
        .leader_since = at(0),
        .epoch_applied = at(0),
    };
}

static void wait_doubles_from_half_a_ttl_to_four(void **state)
{
    (void)state;
    assert_int_equal(lease_takeover_wait_ns(TTL, 0), TTL / 2);
    assert_int_equal(lease_takeover_wait_ns(TTL, 1), TTL);
    assert_int_equal(lease_takeover_wait_ns(TTL, 2), 2 * TTL);
    assert_int_equal(lease_takeover_wait_ns(TTL, 3), 4 * TTL);
    assert_int_equal(lease_takeover_wait_ns(TTL, 4), 4 * TTL);
    assert_int_equal(lease_takeover_wait_ns(TTL, UINT32_MAX), 4 * TTL);
}

static void majority_without_promises_is_enough(void **state)
{
    /* One of three still holds a promise. */
    struct lease_arbiter a = arbiter();

    (void)state;
    reports[0].state = LEASE_PROMISE_LIVE;
    assert_int_equal(lease_takeover_check(&a, at(10 * SECOND)), LEASE_TAKEOVER_EXPIRED);
    reports[1].state = LEASE_PROMISE_QUARANTINE;
    assert_int_equal(lease_takeover_check(&a, at(10 * SECOND)), LEASE_TAKEOVER_PROMISED);
}

static void silence_counts_as_live(void **state)
{
    /* Two of three were last heard more than two periods ago. */
    struct lease_arbiter a = arbiter();

    (void)state;
    reports[2].received = at(10 * SECOND + 1);
    assert_true(lease_takeover_majority_is_free(&a, at(10 * SECOND + 2 * PERIOD)));
    assert_false(lease_takeover_majority_is_free(&a, at(10 * SECOND + 2 * PERIOD + 1)));
    a.n_reports = 1;
    assert_false(lease_takeover_majority_is_free(&a, at(10 * SECOND)));
}

static void what_was_said_before_we_led_does_not_count(void **state)
{
    struct lease_arbiter a = arbiter();

    (void)state;
    a.leader_since = at(10 * SECOND + 1);
    assert_false(lease_takeover_majority_is_free(&a, at(10 * SECOND + 2)));
    a.leader_since = at(10 * SECOND);
    assert_true(lease_takeover_majority_is_free(&a, at(10 * SECOND + 2)));
}

static void voters_outside_of_the_set_do_not_count(void **state)
{
    struct lease_arbiter a = arbiter();

    (void)state;
    reports[0].voter = 8;
    reports[1].voter = 9;
    assert_false(lease_takeover_majority_is_free(&a, at(10 * SECOND)));
    reports[0].voter = 3; /* Twice the same voter. */
    assert_false(lease_takeover_majority_is_free(&a, at(10 * SECOND)));
}

static void logged_set_needs_a_majority_too(void **state)
{
    struct lease_arbiter a = arbiter();
    struct lease_voter_set logged = {.index = 11, .n = 4, .ids = {1, 2, 3, 4}};

    (void)state;
    a.logged = &logged;
    assert_true(lease_takeover_majority_is_free(&a, at(10 * SECOND)));
    reports[0].state = LEASE_PROMISE_LIVE;
    assert_false(lease_takeover_majority_is_free(&a, at(10 * SECOND)));
}

static void young_epoch_is_left_alone(void **state)
{
    /* Applied at 9 s; the one before never held a lease, so a whole ttl. */
    struct lease_arbiter a = arbiter();

    (void)state;
    a.epoch_applied = at(9 * SECOND);
    a.n_barren = 1;
    for (size_t i = 0; i < 3; i++) {
        reports[i].received = at(9 * SECOND + TTL - 1);
    }
    assert_int_equal(lease_takeover_check(&a, at(9 * SECOND + TTL - 1)), LEASE_TAKEOVER_EARLY);
    assert_int_equal(lease_takeover_check(&a, at(9 * SECOND + TTL)), LEASE_TAKEOVER_EXPIRED);
}

static void released_epoch_is_passed_on_at_once(void **state)
{
    struct lease_arbiter a = arbiter();

    (void)state;
    a.released = true;
    a.n_reports = 0;
    a.epoch_applied = at(10 * SECOND);
    assert_int_equal(lease_takeover_check(&a, at(10 * SECOND)), LEASE_TAKEOVER_RELEASED);
}

static void voter_changes_keep_their_distance(void **state)
{
    /* Leader since 0, a change applied at 1 s, ttl_max 3 s. */
    struct lease_time changed = at(SECOND);

    (void)state;
    assert_int_equal(lease_voter_change_wait_ns(at(2 * SECOND), at(0), &changed, TTL), 2 * SECOND);
    assert_int_equal(lease_voter_change_wait_ns(at(2 * SECOND), at(0), NULL, TTL), SECOND);
    assert_int_equal(lease_voter_change_wait_ns(at(4 * SECOND), at(0), &changed, TTL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wait_doubles_from_half_a_ttl_to_four),
        cmocka_unit_test(majority_without_promises_is_enough),
        cmocka_unit_test(silence_counts_as_live),
        cmocka_unit_test(what_was_said_before_we_led_does_not_count),
        cmocka_unit_test(voters_outside_of_the_set_do_not_count),
        cmocka_unit_test(logged_set_needs_a_majority_too),
        cmocka_unit_test(young_epoch_is_left_alone),
        cmocka_unit_test(released_epoch_is_passed_on_at_once),
        cmocka_unit_test(voter_changes_keep_their_distance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
