#include "testing.h"

static struct lease_answer ask(struct lease_voter *v, uint64_t ns, struct lease_renew r)
{
    struct lease_answer answer;

    lease_voter_on_renew(v, at(ns), &r, &answer);
    return answer;
}

static enum lease_verdict verdict(struct lease_voter *v, uint64_t ns, struct lease_renew r)
{
    return ask(v, ns, r).grant.verdict;
}

static enum lease_promise_state state_at(const struct lease_voter *v, uint64_t ns)
{
    struct lease_voter_status status;

    lease_voter_status(v, at(ns), &status);
    return status.state;
}

static void voter_grants_what_is_asked_and_says_so(void **state)
{
    /* A voter free of any promise. */
    struct lease_voter v = ready_voter();
    struct lease_answer a = ask(&v, 0, renewal(5));

    (void)state;
    assert_int_equal(a.grant.verdict, LEASE_GRANTED);
    assert_true(a.write_file);
    assert_int_equal(a.write_longest_ns, 0);
    assert_int_equal(a.grant.granted_ns, TTL);
    assert_int_equal(a.grant.epoch, 5);
    assert_int_equal(a.grant.instance, 70);
    assert_int_equal(a.grant.round, 500);
    assert_int_equal(a.grant.voter, 1);
    assert_int_equal(a.grant.highest_epoch, 5);
    assert_int_equal(a.grant.n_sets, 1);
    assert_int_equal(a.grant.sets[0].index, 10);
}

static void promise_holds_until_its_end_and_not_longer(void **state)
{
    /* Epoch 5 was granted at 0; epoch 6 asks. */
    struct lease_voter v = ready_voter();
    struct lease_voter_status status;

    (void)state;
    (void)ask(&v, 0, renewal(5));
    assert_int_equal(verdict(&v, TTL - 1, renewal(6)), LEASE_REFUSED_PROMISED);
    lease_voter_status(&v, at(SECOND), &status);
    assert_int_equal(status.state, LEASE_PROMISE_LIVE);
    assert_int_equal(status.epoch, 5);
    assert_int_equal(status.owner, 7);
    assert_int_equal(status.left_ns, TTL - SECOND);
    assert_int_equal(state_at(&v, TTL), LEASE_PROMISE_NONE);
    assert_int_equal(verdict(&v, TTL, renewal(6)), LEASE_GRANTED);
}

static void promise_counts_the_slower_clock(void **state)
{
    /* RAW says that the promise is over, BOOTTIME does not yet. */
    struct lease_voter v = ready_voter();
    struct lease_time now = {.raw_ns = at(TTL).raw_ns, .boot_ns = at(TTL - 1).boot_ns};
    struct lease_renew r = renewal(6);
    struct lease_answer a;

    (void)state;
    (void)ask(&v, 0, renewal(5));
    lease_voter_on_renew(&v, now, &r, &a);
    assert_int_equal(a.grant.verdict, LEASE_REFUSED_PROMISED);
}

static void lower_epoch_is_refused_for_ever_with_the_higher_one(void **state)
{
    /* Epoch 6 was promised and is long over. */
    struct lease_voter v = ready_voter();
    struct lease_answer a;

    (void)state;
    (void)ask(&v, 0, renewal(6));
    a = ask(&v, 100 * TTL, renewal(5));
    assert_int_equal(a.grant.verdict, LEASE_REFUSED_EPOCH);
    assert_int_equal(a.grant.highest_epoch, 6);
    assert_int_equal(a.grant.granted_ns, 0);
    assert_false(a.write_file);
}

static void applied_epoch_refuses_lower_ones_and_keeps_the_promise(void **state)
{
    /* Epoch 5 holds a promise when the store applies epoch 6. */
    struct lease_voter v = ready_voter();

    (void)state;
    (void)ask(&v, 0, renewal(5));
    lease_voter_on_epoch(&v, 6, 8, 80);
    assert_int_equal(verdict(&v, 1, renewal(5)), LEASE_REFUSED_EPOCH);
    assert_int_equal(state_at(&v, TTL - 1), LEASE_PROMISE_LIVE);
}

static void epoch_belongs_to_one_owner_and_instance(void **state)
{
    /* The store names owner 7 and instance 70 for epoch 5; no promise is live. */
    struct lease_voter v = ready_voter();
    struct lease_renew other = renewal(5);

    (void)state;
    lease_voter_on_epoch(&v, 5, 7, 70);
    other.instance = 71;
    assert_int_equal(verdict(&v, 0, other), LEASE_REFUSED_INSTANCE);
    other = renewal(5);
    other.owner = 8;
    assert_int_equal(verdict(&v, 0, other), LEASE_REFUSED_INSTANCE);
    assert_int_equal(verdict(&v, 0, renewal(5)), LEASE_GRANTED);
}

static void other_instance_of_a_promised_epoch_is_refused(void **state)
{
    /* Nothing was applied; the promise alone told the instance. It is over. */
    struct lease_voter v = ready_voter();
    struct lease_renew other = renewal(5);

    (void)state;
    (void)ask(&v, 0, renewal(5));
    other.instance = 71;
    assert_int_equal(verdict(&v, 2 * TTL, other), LEASE_REFUSED_INSTANCE);
}

static void release_forgets_the_promise_and_refuses_the_epoch(void **state)
{
    /* Epoch 5 is released while its promise lives. */
    struct lease_voter v = ready_voter();

    (void)state;
    (void)ask(&v, 0, renewal(5));
    lease_voter_on_release(&v, 5);
    assert_int_equal(state_at(&v, 1), LEASE_PROMISE_NONE);
    assert_int_equal(verdict(&v, 1, renewal(5)), LEASE_REFUSED_RELEASED);
    assert_int_equal(verdict(&v, 100 * TTL, renewal(5)), LEASE_REFUSED_RELEASED);
    assert_int_equal(verdict(&v, 1, renewal(6)), LEASE_GRANTED);
}

static void release_of_a_later_epoch_keeps_the_promise_to_an_earlier_one(void **state)
{
    /* Epoch 6 never got its lease and is released; epoch 5 may still run. */
    struct lease_voter v = ready_voter();

    (void)state;
    (void)ask(&v, 0, renewal(5));
    lease_voter_on_epoch(&v, 6, 8, 80);
    lease_voter_on_release(&v, 6);
    assert_int_equal(verdict(&v, 1, renewal(7)), LEASE_REFUSED_PROMISED);
}

static void shorter_grant_does_not_cut_a_promise(void **state)
{
    /* 3 s are granted, then, the ttl being shorter, 1 s. The first answer may
     * still be on its way to the owner. */
    struct lease_voter v = ready_voter();
    struct lease_answer a;

    (void)state;
    (void)ask(&v, 0, renewal(5));
    lease_voter_on_ttl(&v, at(1), SECOND);
    a = ask(&v, 1, renewal(5));
    assert_int_equal(a.grant.granted_ns, SECOND);
    assert_int_equal(state_at(&v, TTL - 1), LEASE_PROMISE_LIVE);
    assert_int_equal(state_at(&v, TTL), LEASE_PROMISE_NONE);
}

static void grant_is_the_smaller_of_request_and_ttl(void **state)
{
    struct lease_voter v = ready_voter();
    struct lease_renew r = renewal(5);

    (void)state;
    r.duration_ns = 2 * SECOND;
    assert_int_equal(ask(&v, 0, r).grant.granted_ns, 2 * SECOND);
    r.duration_ns = 10 * SECOND;
    assert_int_equal(ask(&v, 0, r).grant.granted_ns, TTL);
}

static void quarantine_needs_both_the_time_and_the_barrier(void **state)
{
    /* A process that starts at 0 without a good file. */
    struct lease_voter v;
    struct lease_voter_set set = three();
    struct lease_voter_status status;
    struct lease_image image;

    (void)state;
    lease_voter_init(&v, 1, this_boot, TTL, at(0));
    lease_voter_on_ttl(&v, at(0), TTL);
    assert_true(lease_voter_on_sets(&v, &set, NULL));
    assert_true(lease_voter_on_level(&v, set.index));
    assert_int_equal(verdict(&v, TTL, renewal(5)), LEASE_REFUSED_QUARANTINE);
    lease_voter_status(&v, at(SECOND), &status);
    assert_int_equal(status.state, LEASE_PROMISE_QUARANTINE);
    assert_int_equal(status.left_ns, TTL - SECOND);
    assert_true(status.waits_barrier);

    lease_voter_on_barrier(&v);
    assert_int_equal(verdict(&v, TTL - 1, renewal(5)), LEASE_REFUSED_QUARANTINE);
    assert_false(lease_voter_image(&v, at(TTL - 1), &image));
    assert_int_equal(verdict(&v, TTL, renewal(5)), LEASE_GRANTED);
    assert_true(lease_voter_image(&v, at(TTL), &image));
}

static void restart_with_a_good_file_goes_on(void **state)
{
    /* Epoch 5 has a promise when the process restarts; epoch 4 is known lower. */
    struct lease_voter v = ready_voter();
    struct lease_voter next;
    struct lease_image image;

    (void)state;
    (void)ask(&v, 0, renewal(5));
    assert_true(lease_voter_image(&v, at(1), &image));

    lease_voter_init(&next, 1, this_boot, TTL, at(2));
    assert_true(lease_voter_resume(&next, &image, at(2)));
    assert_int_equal(verdict(&next, 3, renewal(6)), LEASE_REFUSED_PROMISED);
    assert_int_equal(verdict(&next, 3, renewal(4)), LEASE_REFUSED_EPOCH);
    assert_int_equal(ask(&next, 3, renewal(5)).grant.granted_ns, TTL);
}

static void image_that_promises_too_much_is_not_of_this_boot(void **state)
{
    /* Its promise ends in 4 s, and no grant was ever longer than 3 s. */
    struct lease_voter v = ready_voter();
    struct lease_voter next;
    struct lease_image image;

    (void)state;
    (void)ask(&v, SECOND, renewal(5));
    assert_true(lease_voter_image(&v, at(SECOND), &image));

    lease_voter_init(&next, 1, this_boot, TTL, at(0));
    assert_false(lease_voter_resume(&next, &image, at(0)));
    assert_int_equal(state_at(&next, 1), LEASE_PROMISE_QUARANTINE);
}

static void longer_grant_than_ever_waits_for_the_identity_file(void **state)
{
    /* The ttl grows from 3 s to 10 s. */
    struct lease_voter v = ready_voter();
    struct lease_renew r = renewal(5);
    struct lease_answer a;

    (void)state;
    lease_voter_on_ttl(&v, at(0), 10 * SECOND);
    r.duration_ns = 10 * SECOND;
    a = ask(&v, 0, r);
    assert_int_equal(a.grant.granted_ns, TTL);
    assert_int_equal(a.write_longest_ns, 10 * SECOND);

    lease_voter_longest_written(&v, a.write_longest_ns);
    a = ask(&v, 0, r);
    assert_int_equal(a.grant.granted_ns, 10 * SECOND);
    assert_int_equal(a.write_longest_ns, 0);
    assert_int_equal(lease_voter_ttl_max_ns(&v), 10 * SECOND);
}

static void voter_that_never_granted_writes_first(void **state)
{
    /* A new identity: its file says 0. */
    struct lease_voter v;
    struct lease_voter_set set = three();
    struct lease_answer a;

    (void)state;
    lease_voter_init(&v, 1, this_boot, 0, at(0));
    lease_voter_on_barrier(&v);
    assert_int_equal(verdict(&v, 0, renewal(5)), LEASE_REFUSED_NO_TTL);
    lease_voter_on_ttl(&v, at(0), TTL);
    assert_int_equal(verdict(&v, 0, renewal(5)), LEASE_REFUSED_NO_VOTERS);
    assert_true(lease_voter_on_sets(&v, &set, NULL));
    assert_true(lease_voter_on_level(&v, set.index));
    a = ask(&v, 0, renewal(5));
    assert_int_equal(a.grant.verdict, LEASE_REFUSED_UNWRITTEN);
    assert_int_equal(a.write_longest_ns, TTL);
    lease_voter_longest_written(&v, TTL);
    assert_int_equal(verdict(&v, 0, renewal(5)), LEASE_GRANTED);
}

static void ttl_max_is_lowered_after_the_old_duration(void **state)
{
    /* From 3 s to 1 s at 0; applied once more in between. */
    struct lease_voter v = ready_voter();

    (void)state;
    lease_voter_on_ttl(&v, at(0), SECOND);
    assert_int_equal(lease_voter_longest_wanted_ns(&v, at(TTL - 1)), 0);
    lease_voter_on_ttl(&v, at(SECOND), SECOND);
    assert_int_equal(lease_voter_ttl_max_ns(&v), TTL);
    assert_int_equal(lease_voter_longest_wanted_ns(&v, at(TTL)), SECOND);
    lease_voter_longest_written(&v, SECOND);
    assert_int_equal(lease_voter_longest_wanted_ns(&v, at(TTL)), 0);
    assert_int_equal(lease_voter_ttl_max_ns(&v), SECOND);
}

static void lowering_that_is_under_way_binds_at_once(void **state)
{
    /* The write of 1 s may be durable already when the ttl grows back to 3 s. */
    struct lease_voter v = ready_voter();

    (void)state;
    lease_voter_on_ttl(&v, at(0), SECOND);
    assert_int_equal(lease_voter_longest_wanted_ns(&v, at(TTL)), SECOND);
    lease_voter_on_ttl(&v, at(TTL), TTL);
    assert_int_equal(ask(&v, TTL, renewal(5)).grant.granted_ns, SECOND);
    lease_voter_longest_written(&v, SECOND);
    assert_int_equal(lease_voter_longest_wanted_ns(&v, at(TTL)), TTL);
    lease_voter_longest_written(&v, TTL);
    assert_int_equal(ask(&v, TTL, renewal(5)).grant.granted_ns, TTL);
}

static void failed_lowering_is_asked_for_again(void **state)
{
    /* The write of 1 s failed: nobody knows what the file says. The ttl is 3 s
     * again, which it said before. */
    struct lease_voter v = ready_voter();

    (void)state;
    lease_voter_on_ttl(&v, at(0), SECOND);
    assert_int_equal(lease_voter_longest_wanted_ns(&v, at(TTL)), SECOND);
    lease_voter_on_ttl(&v, at(TTL), TTL);
    assert_int_equal(lease_voter_longest_wanted_ns(&v, at(TTL)), TTL);
}

static void raise_that_comes_too_late_is_taken_back(void **state)
{
    /* The write of 10 s is under way when the ttl becomes 5 s. */
    struct lease_voter v = ready_voter();

    (void)state;
    lease_voter_on_ttl(&v, at(0), 10 * SECOND);
    assert_int_equal(lease_voter_longest_wanted_ns(&v, at(0)), 10 * SECOND);
    lease_voter_on_ttl(&v, at(0), 5 * SECOND);
    lease_voter_longest_written(&v, 10 * SECOND);
    assert_int_equal(lease_voter_ttl_max_ns(&v), 10 * SECOND);
    assert_int_equal(lease_voter_longest_wanted_ns(&v, at(0)), 5 * SECOND);
    lease_voter_longest_written(&v, 5 * SECOND);
    assert_int_equal(lease_voter_ttl_max_ns(&v), 5 * SECOND);
}

static void malformed_renewals_are_refused(void **state)
{
    struct lease_voter v = ready_voter();
    struct lease_renew r[5];

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        r[i] = renewal(5);
    }
    r[0].epoch = 0;
    r[1].owner = 0;
    r[2].instance = 0;
    r[3].duration_ns = 0;
    r[4].duration_ns = UINT64_MAX;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(verdict(&v, 0, r[i]), LEASE_REFUSED_MALFORMED);
    }
}

static void replayed_set_does_not_replace_a_newer_one(void **state)
{
    /* Committed 10, logged 12; then a replay says 8 and 9; then 12 is committed. */
    struct lease_voter v = ready_voter();
    struct lease_voter_set older = {.index = 8, .n = 1, .ids = {1}};
    struct lease_voter_set old = {.index = 9, .n = 2, .ids = {1, 2}};
    struct lease_voter_set newer = {.index = 12, .n = 4, .ids = {1, 2, 3, 4}};
    struct lease_voter_set ten = three();
    struct lease_grant g;

    (void)state;
    assert_true(lease_voter_on_sets(&v, &ten, &newer));
    assert_false(lease_voter_on_sets(&v, &ten, &newer));
    g = ask(&v, 0, renewal(5)).grant;
    assert_int_equal(g.n_sets, 2);
    assert_int_equal(g.sets[1].index, 12);
    assert_true(lease_voter_on_sets(&v, &older, &old));
    g = ask(&v, 0, renewal(5)).grant;
    assert_int_equal(g.n_sets, 1);
    assert_int_equal(g.sets[0].index, 10);
    assert_true(lease_voter_on_sets(&v, &newer, NULL));
    assert_int_equal(ask(&v, 0, renewal(5)).grant.sets[0].n, 4);
}

static void voter_refuses_until_all_before_its_committed_set_was_told(void **state)
{
    /* 12 is committed, as 14 was logged, but what the log has before 12 is not known. */
    struct lease_voter v = ready_voter();
    struct lease_voter_set twelve = {.index = 12, .n = 4, .ids = {1, 2, 3, 4}};
    struct lease_voter_set fourteen = {.index = 14, .n = 3, .ids = {1, 2, 3}};
    struct lease_voter_set ten = three();
    struct lease_image image;

    (void)state;
    assert_true(lease_voter_on_sets(&v, &ten, &twelve));
    assert_int_equal(verdict(&v, 0, renewal(5)), LEASE_GRANTED);
    assert_true(lease_voter_on_sets(&v, &twelve, &fourteen));
    assert_int_equal(verdict(&v, 0, renewal(5)), LEASE_REFUSED_BEHIND);
    assert_false(lease_voter_on_level(&v, 10));
    assert_int_equal(verdict(&v, 0, renewal(5)), LEASE_REFUSED_BEHIND);
    assert_true(lease_voter_on_level(&v, 12));
    assert_int_equal(verdict(&v, 0, renewal(5)), LEASE_GRANTED);
    /* And a restart in this boot still knows it. */
    assert_true(lease_voter_image(&v, at(0), &image));
    lease_voter_init(&v, 1, this_boot, TTL, at(0));
    assert_true(lease_voter_resume(&v, &image, at(0)));
    assert_int_equal(verdict(&v, 0, renewal(5)), LEASE_GRANTED);
}

static void nothing_is_before_the_first_set_of_a_log(void **state)
{
    struct lease_voter v;
    struct lease_voter_set first = three();

    (void)state;
    first.index = 1;
    lease_voter_init(&v, 1, this_boot, 0, at(0));
    lease_voter_on_barrier(&v);
    lease_voter_on_ttl(&v, at(0), TTL);
    lease_voter_longest_written(&v, TTL);
    assert_true(lease_voter_on_sets(&v, &first, NULL));
    assert_int_equal(verdict(&v, 0, renewal(5)), LEASE_GRANTED);
}

static void every_verdict_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < LEASE_VERDICTS; i++) {
        assert_string_not_equal(lease_verdict_name((enum lease_verdict)i), "unknown");
    }
    assert_string_equal(lease_verdict_name((enum lease_verdict)LEASE_VERDICTS), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(voter_grants_what_is_asked_and_says_so),
        cmocka_unit_test(promise_holds_until_its_end_and_not_longer),
        cmocka_unit_test(promise_counts_the_slower_clock),
        cmocka_unit_test(lower_epoch_is_refused_for_ever_with_the_higher_one),
        cmocka_unit_test(applied_epoch_refuses_lower_ones_and_keeps_the_promise),
        cmocka_unit_test(epoch_belongs_to_one_owner_and_instance),
        cmocka_unit_test(other_instance_of_a_promised_epoch_is_refused),
        cmocka_unit_test(release_forgets_the_promise_and_refuses_the_epoch),
        cmocka_unit_test(release_of_a_later_epoch_keeps_the_promise_to_an_earlier_one),
        cmocka_unit_test(shorter_grant_does_not_cut_a_promise),
        cmocka_unit_test(grant_is_the_smaller_of_request_and_ttl),
        cmocka_unit_test(quarantine_needs_both_the_time_and_the_barrier),
        cmocka_unit_test(restart_with_a_good_file_goes_on),
        cmocka_unit_test(image_that_promises_too_much_is_not_of_this_boot),
        cmocka_unit_test(longer_grant_than_ever_waits_for_the_identity_file),
        cmocka_unit_test(voter_that_never_granted_writes_first),
        cmocka_unit_test(ttl_max_is_lowered_after_the_old_duration),
        cmocka_unit_test(lowering_that_is_under_way_binds_at_once),
        cmocka_unit_test(failed_lowering_is_asked_for_again),
        cmocka_unit_test(raise_that_comes_too_late_is_taken_back),
        cmocka_unit_test(malformed_renewals_are_refused),
        cmocka_unit_test(replayed_set_does_not_replace_a_newer_one),
        cmocka_unit_test(voter_refuses_until_all_before_its_committed_set_was_told),
        cmocka_unit_test(nothing_is_before_the_first_set_of_a_log),
        cmocka_unit_test(every_verdict_has_a_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
