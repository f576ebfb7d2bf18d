#include "testing.h"

static void owner_counts_the_clock_that_ran_more(void **state)
{
    /* Two seconds on RAW, five on BOOTTIME: the machine slept. */
    struct lease_time now = {.raw_ns = at(2 * SECOND).raw_ns, .boot_ns = at(5 * SECOND).boot_ns};

    (void)state;
    assert_int_equal(lease_elapsed_owner_ns(at(0), now), 5 * SECOND);
    assert_int_equal(lease_left_owner_ns(at(6 * SECOND), now), SECOND);
    assert_int_equal(lease_left_owner_ns(at(4 * SECOND), now), 0);
}

static void voter_counts_the_clock_that_ran_less(void **state)
{
    /* The same sleep. */
    struct lease_time now = {.raw_ns = at(2 * SECOND).raw_ns, .boot_ns = at(5 * SECOND).boot_ns};

    (void)state;
    assert_int_equal(lease_elapsed_voter_ns(at(0), now), 2 * SECOND);
    assert_int_equal(lease_left_voter_ns(at(6 * SECOND), now), 4 * SECOND);
    assert_int_equal(lease_left_voter_ns(at(4 * SECOND), now), 2 * SECOND);
}

static void clock_that_went_backwards_is_over_for_an_owner_and_fresh_for_a_voter(void **state)
{
    /* One clock is behind the start, the other ahead. */
    struct lease_time now = {.raw_ns = at(0).raw_ns - 1, .boot_ns = at(SECOND).boot_ns};

    (void)state;
    assert_int_equal(lease_elapsed_owner_ns(at(0), now), UINT64_MAX);
    assert_int_equal(lease_elapsed_voter_ns(at(0), now), 0);
}

static void moments_saturate(void **state)
{
    /* A duration that does not fit. */
    struct lease_time t = lease_time_add(at(0), UINT64_MAX);

    (void)state;
    assert_int_equal(t.raw_ns, UINT64_MAX);
    assert_int_equal(t.boot_ns, UINT64_MAX);
}

static void ttl_is_a_second_to_an_hour(void **state)
{
    (void)state;
    assert_false(lease_ttl_is_valid(SECOND - 1));
    assert_true(lease_ttl_is_valid(SECOND));
    assert_true(lease_ttl_is_valid(3600 * SECOND));
    assert_false(lease_ttl_is_valid(3600 * SECOND + 1));
    assert_false(lease_ttl_is_valid(0));
}

static void set_from_the_wire_is_judged(void **state)
{
    struct lease_voter_set set = three();

    (void)state;
    assert_true(lease_voter_set_is_valid(&set));
    set.ids[2] = 1;
    assert_false(lease_voter_set_is_valid(&set));
    set.ids[2] = 0;
    assert_false(lease_voter_set_is_valid(&set));
    set.n = 0;
    assert_false(lease_voter_set_is_valid(&set));
    set.n = LEASE_VOTERS_MAX + 1;
    assert_false(lease_voter_set_is_valid(&set));
}

static void one_step_is_one_voter_more_or_less(void **state)
{
    struct lease_voter_set set = three();
    struct lease_voter_set more = {.n = 4, .ids = {3, 4, 2, 1}};
    struct lease_voter_set swapped = {.n = 3, .ids = {1, 2, 4}};
    struct lease_voter_set five = {.n = 5, .ids = {1, 2, 3, 4, 5}};
    struct lease_voter_set turned = {.n = 3, .ids = {3, 1, 2}};

    (void)state;
    assert_true(lease_voter_set_is_one_step(&set, &more));
    assert_true(lease_voter_set_is_one_step(&more, &set));
    assert_false(lease_voter_set_is_one_step(&set, &swapped));
    assert_false(lease_voter_set_is_one_step(&set, &five));
    assert_false(lease_voter_set_is_one_step(&set, &turned));
    assert_true(lease_voter_set_equals(&set, &turned));
    assert_false(lease_voter_set_equals(&set, &swapped));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owner_counts_the_clock_that_ran_more),
        cmocka_unit_test(voter_counts_the_clock_that_ran_less),
        cmocka_unit_test(clock_that_went_backwards_is_over_for_an_owner_and_fresh_for_a_voter),
        cmocka_unit_test(moments_saturate),
        cmocka_unit_test(ttl_is_a_second_to_an_hour),
        cmocka_unit_test(set_from_the_wire_is_judged),
        cmocka_unit_test(one_step_is_one_voter_more_or_less),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
