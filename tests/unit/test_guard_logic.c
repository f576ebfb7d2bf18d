/*
 * What the guard decides: each rule by a scenario, and all of them together by random
 * walks that an independent observer judges.
 */
#include "guard/guard_logic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "test_between.h"

#define MS(n) ((uint64_t)(n)*NS_PER_MS)
#define TTL   MS(3000)
#define LEAD  GUARD_FREEZE_LEAD_NS
#define ME    UINT64_C(77)

static struct clock_pair at_ms(uint64_t ms)
{
    return (struct clock_pair){MS(100000 + ms), MS(900000 + ms)};
}

static struct guard_arm arm_of(uint64_t epoch, uint64_t deadline_ms, bool may_write)
{
    return (struct guard_arm){.epoch = epoch,
                              .instance = ME,
                              .ttl_ns = TTL,
                              .deadline = at_ms(deadline_ms),
                              .may_write = may_write};
}

static void must_arm(struct guard_logic *g, uint64_t now_ms, uint64_t epoch, uint64_t deadline_ms)
{
    struct guard_arm arm = arm_of(epoch, deadline_ms, true);

    assert_int_equal(guard_logic_on_arm(g, at_ms(now_ms), &arm), GUARD_ACCEPTED);
}

/* A primary of epoch 5, armed at 0 until 3000. */
static struct guard_logic primary(void)
{
    struct guard_logic g;

    guard_logic_init(&g, MS(30000));
    must_arm(&g, 0, 5, 3000);
    assert_int_equal(guard_logic_on_start(&g, at_ms(0), true), GUARD_ACCEPTED);
    return g;
}

static enum guard_action step_at(struct guard_logic *g, uint64_t ms)
{
    uint64_t wake;

    return guard_logic_step(g, at_ms(ms), &wake);
}

static void looked_at(struct guard_logic *g, uint64_t ms, uint32_t n_running)
{
    struct guard_look look = {.n = 10, .n_running = n_running};

    guard_logic_on_looked(g, at_ms(ms), &look);
}

/* Frozen at 2960 for the deadline 3000. */
static struct guard_logic frozen(void)
{
    struct guard_logic g = primary();

    assert_int_equal(step_at(&g, 2950), GUARD_DO_FREEZE);
    assert_int_equal(step_at(&g, 2955), GUARD_DO_LOOK);
    looked_at(&g, 2960, 0);
    assert_int_equal(g.phase, GUARD_FROZEN);
    return g;
}

static void a_primary_is_frozen_before_the_deadline(void **state)
{
    /* Nothing more is heard of the agent after the first arm. */
    struct guard_logic g = primary();

    (void)state;
    assert_int_equal(step_at(&g, 2690), GUARD_DO_NOTHING);
    assert_int_equal(step_at(&g, 2700), GUARD_DO_FREEZE);
    assert_int_equal(g.phase, GUARD_FREEZING);
    assert_int_equal(step_at(&g, 2700), GUARD_DO_LOOK);
    looked_at(&g, 2702, 3);
    assert_int_equal(step_at(&g, 2702), GUARD_DO_NOTHING);
    assert_int_equal(step_at(&g, 2703), GUARD_DO_LOOK);
    looked_at(&g, 2704, 0);

    assert_int_equal(g.phase, GUARD_FROZEN);
    assert_true(g.measured && g.late_ns_max == -(int64_t)MS(296));
    assert_int_equal(g.freeze_ns_max, MS(4));
}

static void what_has_not_stopped_at_the_deadline_is_killed(void **state)
{
    /* One process goes on running. */
    struct guard_logic g = primary();

    (void)state;
    assert_int_equal(step_at(&g, 2950), GUARD_DO_FREEZE);
    assert_int_equal(step_at(&g, 2951), GUARD_DO_LOOK);
    looked_at(&g, 2951, 1);
    assert_int_equal(step_at(&g, 2999), GUARD_DO_LOOK);
    looked_at(&g, 2999, 1);
    assert_int_equal(step_at(&g, 3000), GUARD_DO_KILL);
    assert_int_equal(g.why, GUARD_WHY_LATE);
    assert_int_equal(step_at(&g, 3005), GUARD_DO_NOTHING);
    assert_int_equal(step_at(&g, 3010), GUARD_DO_KILL);
}

static void what_stopped_after_the_deadline_is_killed_too(void **state)
{
    /* The guard itself was held up for four seconds. */
    struct guard_logic g = primary();

    (void)state;
    assert_int_equal(step_at(&g, 4000), GUARD_DO_FREEZE);
    assert_int_equal(step_at(&g, 4001), GUARD_DO_LOOK);
    looked_at(&g, 4002, 0);
    assert_int_equal(g.phase, GUARD_KILLING);
    assert_int_equal(g.why, GUARD_WHY_LATE);
    assert_true(g.late_ns_max == (int64_t)MS(1002));
}

static void a_live_lease_of_the_same_epoch_thaws(void **state)
{
    /* The agent is back, in time for kill_after. */
    struct guard_logic g = frozen();

    (void)state;
    assert_int_equal(step_at(&g, 5000), GUARD_DO_LOOK);
    looked_at(&g, 5000, 0);
    must_arm(&g, 5001, 5, 7900);
    assert_int_equal(g.phase, GUARD_FROZEN);
    assert_int_equal(step_at(&g, 5001), GUARD_DO_THAW);
    assert_int_equal(g.phase, GUARD_ARMED);
    assert_int_equal(step_at(&g, 5002), GUARD_DO_NOTHING);
}

static void a_lease_about_to_end_does_not_thaw(void **state)
{
    /* What is left would not do for the next freeze. */
    struct guard_logic g = frozen();

    (void)state;
    must_arm(&g, 5000, 5, 5050);
    assert_int_not_equal(step_at(&g, 5000), GUARD_DO_THAW);
    assert_int_equal(g.phase, GUARD_FROZEN);
}

static void a_freeze_is_called_off_by_a_renewal(void **state)
{
    /* Half of it is stopped when the round counts. */
    struct guard_logic g = primary();

    (void)state;
    assert_int_equal(step_at(&g, 2960), GUARD_DO_FREEZE);
    assert_int_equal(step_at(&g, 2960), GUARD_DO_LOOK);
    looked_at(&g, 2961, 4);
    must_arm(&g, 2970, 5, 5900);
    assert_int_equal(step_at(&g, 2970), GUARD_DO_THAW);
}

static void a_higher_epoch_kills_what_is_frozen(void **state)
{
    /* Our own next epoch: somebody else may have had one in between. */
    struct guard_logic g = frozen();
    struct guard_arm arm = arm_of(7, 7900, true);

    (void)state;
    assert_int_equal(guard_logic_on_arm(&g, at_ms(5000), &arm), GUARD_REFUSED_KILLING);
    assert_int_equal(step_at(&g, 5000), GUARD_DO_KILL);
    assert_int_equal(g.why, GUARD_WHY_EPOCH);
    arm = arm_of(5, 7900, true);
    assert_int_equal(guard_logic_on_arm(&g, at_ms(5000), &arm), GUARD_REFUSED_EPOCH);

    guard_logic_on_gone(&g);
    must_arm(&g, 5100, 7, 8000);
    assert_int_equal(guard_logic_on_start(&g, at_ms(5100), true), GUARD_ACCEPTED);
}

static void a_higher_epoch_after_the_deadline_kills(void **state)
{
    /* The packet is there before anybody looked at the clock. */
    struct guard_logic g = primary();
    struct guard_arm arm = arm_of(7, 7900, true);

    (void)state;
    assert_int_equal(guard_logic_on_arm(&g, at_ms(5000), &arm), GUARD_REFUSED_KILLING);
    assert_int_equal(g.phase, GUARD_KILLING);
}

static void frozen_for_too_long_is_killed(void **state)
{
    /* kill_after counts from when the freeze began; a lease then comes too late. */
    struct guard_logic g = frozen();

    (void)state;
    assert_int_equal(step_at(&g, 32949), GUARD_DO_LOOK);
    looked_at(&g, 32949, 0);
    must_arm(&g, 32949, 5, 35000);
    assert_int_equal(step_at(&g, 32950), GUARD_DO_KILL);
    assert_int_equal(g.why, GUARD_WHY_AGE);
}

static void somebody_elses_sigcont_kills(void **state)
{
    /* One of ten runs again. */
    struct guard_logic g = frozen();

    (void)state;
    looked_at(&g, 4000, 1);
    assert_int_equal(step_at(&g, 4000), GUARD_DO_KILL);
    assert_int_equal(g.why, GUARD_WHY_CONTINUED);
}

static void a_signal_kills_only_what_is_frozen(void **state)
{
    /* SIGTERM to the guard, before and after the freeze. */
    struct guard_logic running = primary(), stopped = frozen();

    (void)state;
    guard_logic_on_kill(&running, GUARD_WHY_SIGNAL);
    assert_int_equal(running.phase, GUARD_ARMED);
    guard_logic_on_kill(&stopped, GUARD_WHY_SIGNAL);
    assert_int_equal(stopped.phase, GUARD_KILLING);
    assert_int_equal(stopped.why, GUARD_WHY_SIGNAL);
}

static void an_order_kills_at_any_time(void **state)
{
    /* Also a standby; and the first reason stays. */
    struct guard_logic g = primary(), standby;

    (void)state;
    guard_logic_on_kill(&g, GUARD_WHY_ORDER);
    guard_logic_on_kill(&g, GUARD_WHY_EPOCH);
    assert_int_equal(g.why, GUARD_WHY_ORDER);
    assert_int_equal(g.n_kills, 1);

    guard_logic_init(&standby, MS(1000));
    assert_int_equal(guard_logic_on_start(&standby, at_ms(0), false), GUARD_ACCEPTED);
    guard_logic_on_kill(&standby, GUARD_WHY_ORDER);
    assert_int_equal(step_at(&standby, 0), GUARD_DO_KILL);
}

static void with_nothing_there_there_is_nothing_to_kill(void **state)
{
    /* All three reasons, no PostgreSQL. */
    struct guard_logic g;

    (void)state;
    guard_logic_init(&g, MS(1000));
    must_arm(&g, 0, 5, 3000);
    guard_logic_on_kill(&g, GUARD_WHY_ORDER);
    guard_logic_on_kill(&g, GUARD_WHY_SIGNAL);
    assert_int_equal(g.phase, GUARD_EMPTY);
    guard_logic_on_kill(&g, GUARD_WHY_EPOCH);
    assert_int_equal(g.phase, GUARD_EMPTY);
    assert_int_equal(g.closed_epoch, 5);
}

static void an_epoch_that_passed_to_another_is_over_for_ever(void **state)
{
    /* By order of the agent, who saw it in the store. */
    struct guard_logic g = frozen();
    struct guard_arm arm = arm_of(5, 6000, true);

    (void)state;
    guard_logic_on_kill(&g, GUARD_WHY_EPOCH);
    guard_logic_on_gone(&g);
    assert_int_equal(guard_logic_on_arm(&g, at_ms(4000), &arm), GUARD_REFUSED_CLOSED);
}

static void a_standby_is_left_alone(void **state)
{
    /* Armed for an epoch that it does not write under; the lease runs out. */
    struct guard_logic g;
    struct guard_arm arm = arm_of(5, 3000, false);
    uint64_t wake;

    (void)state;
    guard_logic_init(&g, MS(30000));
    assert_int_equal(guard_logic_on_start(&g, at_ms(0), false), GUARD_ACCEPTED);
    assert_int_equal(guard_logic_on_arm(&g, at_ms(0), &arm), GUARD_ACCEPTED);
    assert_int_equal(guard_logic_step(&g, at_ms(99999), &wake), GUARD_DO_NOTHING);
    assert_true(wake == UINT64_MAX);
    guard_logic_on_close(&g, 5);
    assert_int_equal(g.phase, GUARD_OPEN);
}

static void may_write_stays(void **state)
{
    /* About to be promoted, and then an arm that has forgotten it. */
    struct guard_logic g;
    struct guard_arm arm = arm_of(5, 3000, true);

    (void)state;
    guard_logic_init(&g, MS(30000));
    assert_int_equal(guard_logic_on_start(&g, at_ms(0), false), GUARD_ACCEPTED);
    assert_int_equal(guard_logic_on_arm(&g, at_ms(0), &arm), GUARD_ACCEPTED);
    arm = arm_of(5, 3100, false);
    assert_int_equal(guard_logic_on_arm(&g, at_ms(200), &arm), GUARD_ACCEPTED);
    assert_int_equal(g.phase, GUARD_ARMED);
    assert_int_equal(step_at(&g, 3090), GUARD_DO_FREEZE);

    guard_logic_on_gone(&g);
    assert_false(g.may_write);
}

/* A primary of epoch 5, paused at 100 and marked so in the store. */
static struct guard_logic paused(void)
{
    struct guard_logic g = primary();
    struct guard_arm arm = arm_of(5, 3050, false);

    arm.unfenced = true;
    assert_int_equal(guard_logic_on_arm(&g, at_ms(100), &arm), GUARD_ACCEPTED);
    assert_int_equal(g.phase, GUARD_DISARMED);
    return g;
}

static void a_paused_primary_is_not_frozen(void **state)
{
    /* The agent leaves, or its lease ends, for a day. */
    struct guard_logic g = paused();
    uint64_t wake;

    (void)state;
    assert_int_equal(guard_logic_step(&g, at_ms(86400000), &wake), GUARD_DO_NOTHING);
    assert_true(wake == UINT64_MAX);
    guard_logic_on_kill(&g, GUARD_WHY_SIGNAL);
    assert_int_equal(g.phase, GUARD_DISARMED);
    assert_int_equal(g.n_freezes + g.n_kills, 0);
}

static void a_paused_primary_stays_so_until_it_is_armed_to_write(void **state)
{
    /* Rounds go on while paused; one is too late; then resume; then the lease ends. */
    struct guard_logic g = paused();
    struct guard_arm arm = arm_of(5, 8000, false);

    (void)state;
    arm.unfenced = true;
    assert_int_equal(guard_logic_on_arm(&g, at_ms(5500), &arm), GUARD_ACCEPTED);
    arm.unfenced = false;
    assert_int_equal(guard_logic_on_arm(&g, at_ms(5600), &arm), GUARD_ACCEPTED);
    assert_int_equal(g.phase, GUARD_DISARMED);
    arm.may_write = true;
    assert_int_equal(guard_logic_on_arm(&g, at_ms(8000), &arm), GUARD_REFUSED_OVER);
    assert_int_equal(g.phase, GUARD_DISARMED);

    must_arm(&g, 9000, 5, 11900);
    assert_int_equal(g.phase, GUARD_ARMED);
    assert_int_equal(step_at(&g, 11890), GUARD_DO_FREEZE);
}

static void a_pause_thaws_nothing_without_a_lease_of_its_own(void **state)
{
    /* The word comes after the freeze: first a thaw by its deadline, as ever. */
    struct guard_logic g = frozen();
    struct guard_arm arm = arm_of(5, 3001, false);

    (void)state;
    arm.unfenced = true;
    assert_int_equal(guard_logic_on_arm(&g, at_ms(2990), &arm), GUARD_ACCEPTED);
    assert_int_equal(g.phase, GUARD_FROZEN);
    assert_int_equal(step_at(&g, 2991), GUARD_DO_LOOK);
    looked_at(&g, 2991, 0);
    arm.deadline = at_ms(6000);
    assert_int_equal(guard_logic_on_arm(&g, at_ms(3100), &arm), GUARD_ACCEPTED);
    assert_int_equal(g.phase, GUARD_FROZEN);
    assert_int_equal(step_at(&g, 3101), GUARD_DO_THAW);
    assert_int_equal(guard_logic_on_arm(&g, at_ms(3102), &arm), GUARD_ACCEPTED);
    assert_int_equal(g.phase, GUARD_DISARMED);
}

static void a_paused_primary_is_killed_when_its_epoch_is_over(void **state)
{
    /* Closed; ordered; a higher epoch came: somebody may have been primary in between. */
    struct guard_logic g = paused();
    struct guard_arm arm = arm_of(6, 5000, true);

    (void)state;
    guard_logic_on_close(&g, 5);
    assert_int_equal(g.why, GUARD_WHY_EPOCH);
    g = paused();
    guard_logic_on_kill(&g, GUARD_WHY_ORDER);
    assert_int_equal(step_at(&g, 300), GUARD_DO_KILL);
    g = paused();
    assert_int_equal(guard_logic_on_arm(&g, at_ms(2500), &arm), GUARD_REFUSED_KILLING);
    assert_int_equal(g.why, GUARD_WHY_EPOCH);
}

static void pause_is_for_what_runs(void **state)
{
    /* Nothing runs; a server that somebody started by hand; a word that contradicts itself. */
    struct guard_logic g;
    struct guard_arm arm = arm_of(5, 3000, false);

    (void)state;
    arm.unfenced = true;
    guard_logic_init(&g, MS(30000));
    assert_int_equal(guard_logic_on_arm(&g, at_ms(0), &arm), GUARD_ACCEPTED);
    assert_int_equal(g.phase, GUARD_EMPTY);
    assert_int_equal(guard_logic_on_start(&g, at_ms(1), true), GUARD_REFUSED_NO_LEASE);
    guard_logic_on_adopt(&g, false);
    assert_int_equal(guard_logic_on_arm(&g, at_ms(2), &arm), GUARD_ACCEPTED);
    assert_int_equal(g.phase, GUARD_DISARMED);
    guard_logic_on_gone(&g);
    assert_int_equal(g.phase, GUARD_EMPTY);
    arm.may_write = true;
    assert_int_equal(guard_logic_on_arm(&g, at_ms(3), &arm), GUARD_REFUSED_MALFORMED);
}

static void a_primary_needs_a_lease_to_start(void **state)
{
    /* Nothing armed; armed for a standby; armed and over; about to be over. */
    struct guard_logic g;
    struct guard_arm arm = arm_of(5, 3000, false);

    (void)state;
    guard_logic_init(&g, MS(30000));
    assert_int_equal(guard_logic_on_start(&g, at_ms(0), true), GUARD_REFUSED_NO_LEASE);
    assert_int_equal(guard_logic_on_arm(&g, at_ms(0), &arm), GUARD_ACCEPTED);
    assert_int_equal(guard_logic_on_start(&g, at_ms(0), true), GUARD_REFUSED_NO_LEASE);
    must_arm(&g, 0, 5, 3000);
    assert_int_equal(guard_logic_on_start(&g, at_ms(3000), true), GUARD_REFUSED_NO_LEASE);
    assert_int_equal(guard_logic_on_start(&g, at_ms(2960), true), GUARD_REFUSED_NO_LEASE);
    assert_int_equal(g.phase, GUARD_EMPTY);
    assert_int_equal(guard_logic_on_start(&g, at_ms(2650), true), GUARD_ACCEPTED);
    assert_int_equal(guard_logic_on_start(&g, at_ms(2900), true), GUARD_REFUSED_RUNS);
    guard_logic_on_kill(&g, GUARD_WHY_ORDER);
    assert_int_equal(guard_logic_on_start(&g, at_ms(2900), false), GUARD_REFUSED_KILLING);
}

static void a_crashed_primary_is_armed_anew(void **state)
{
    /* It died; the promise to fence it ends with its last process. */
    struct guard_logic g = primary();

    (void)state;
    guard_logic_on_gone(&g);
    assert_int_equal(guard_logic_on_start(&g, at_ms(100), true), GUARD_REFUSED_NO_LEASE);
    must_arm(&g, 100, 5, 3050);
    assert_int_equal(guard_logic_on_start(&g, at_ms(100), true), GUARD_ACCEPTED);
}

static void an_adopted_primary_without_a_lease_is_fenced_at_once(void **state)
{
    /* Nobody knows the epoch that it ran under, so there is no way back. */
    struct guard_logic g;

    (void)state;
    guard_logic_init(&g, MS(30000));
    guard_logic_on_adopt(&g, true);
    assert_int_equal(step_at(&g, 0), GUARD_DO_FREEZE);
    assert_int_equal(step_at(&g, 0), GUARD_DO_LOOK);
    looked_at(&g, 1, 0);
    assert_int_equal(step_at(&g, 1), GUARD_DO_KILL);
    assert_false(g.measured);
}

static void an_adopted_server_may_turn_out_to_be_a_primary(void **state)
{
    /* Adopted as a standby, then not; with a lease. */
    struct guard_logic g;

    (void)state;
    guard_logic_init(&g, MS(30000));
    must_arm(&g, 0, 5, 3000);
    guard_logic_on_adopt(&g, false);
    assert_int_equal(g.phase, GUARD_OPEN);
    guard_logic_on_adopt(&g, true);
    assert_int_equal(g.phase, GUARD_ARMED);
    assert_int_equal(step_at(&g, 0), GUARD_DO_NOTHING);
    guard_logic_on_adopt(&g, false);
    assert_int_equal(g.phase, GUARD_ARMED);
}

static void closing_an_epoch_kills_what_may_still_write(void **state)
{
    /* An older epoch is closed, then ours. */
    struct guard_logic g = primary();
    struct guard_arm arm = arm_of(5, 3050, true);

    (void)state;
    guard_logic_on_close(&g, 4);
    assert_int_equal(g.phase, GUARD_ARMED);
    guard_logic_on_close(&g, 5);
    assert_int_equal(step_at(&g, 100), GUARD_DO_KILL);
    assert_int_equal(guard_logic_left_ns(&g, at_ms(100)), 0);
    guard_logic_on_gone(&g);
    assert_int_equal(guard_logic_on_arm(&g, at_ms(100), &arm), GUARD_REFUSED_CLOSED);
    guard_logic_on_close(&g, 3);
    assert_int_equal(g.closed_epoch, 5);
}

static void refusals_have_names_and_change_nothing(void **state)
{
    /* One wrong thing at a time. */
    struct guard_logic g = primary();
    const struct guard_arm good = arm_of(5, 3100, true);
    struct guard_arm arms[7];
    static const enum guard_verdict expected[] = {GUARD_REFUSED_MALFORMED, GUARD_REFUSED_MALFORMED,
                                                  GUARD_REFUSED_MALFORMED, GUARD_REFUSED_MALFORMED,
                                                  GUARD_REFUSED_EPOCH,     GUARD_REFUSED_INSTANCE,
                                                  GUARD_REFUSED_OVER};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(arms); i++) {
        arms[i] = good;
    }
    arms[0].epoch = 0;
    arms[1].instance = 0;
    arms[2].ttl_ns = GUARD_TTL_NS_MIN - 1;
    arms[3].ttl_ns = GUARD_TTL_NS_MAX + 1;
    arms[4].epoch = 4;
    arms[5].instance = ME + 1;
    arms[6].deadline = at_ms(200);
    for (size_t i = 0; i < ARRAY_LENGTH(arms); i++) {
        struct guard_logic before = g;

        assert_int_equal(guard_logic_on_arm(&g, at_ms(200), &arms[i]), expected[i]);
        assert_int_equal(g.n_refused, before.n_refused + 1);
        g.n_refused = before.n_refused;
        assert_memory_equal(&g, &before, sizeof(g));
    }
    assert_int_equal(guard_logic_on_arm(&g, at_ms(200), &good), GUARD_ACCEPTED);
    assert_string_equal(guard_verdict_name(GUARD_REFUSED_KILLING), "killing");
    assert_string_equal(guard_phase_name(GUARD_KILLING), "killing");
    assert_string_equal(guard_why_name(GUARD_WHY_SIGNAL), "signal");
    assert_string_equal(guard_phase_name((enum guard_phase)99), "unknown");
}

static void a_deadline_further_away_than_ttl_is_refused(void **state)
{
    /* On either clock, by a nanosecond. */
    struct guard_logic g = primary();
    struct guard_arm arm = arm_of(5, 4000, true);

    (void)state;
    assert_int_equal(guard_logic_on_arm(&g, at_ms(1000), &arm), GUARD_ACCEPTED);
    arm.deadline.raw_ns++;
    assert_int_equal(guard_logic_on_arm(&g, at_ms(1000), &arm), GUARD_REFUSED_FAR);
    arm.deadline.raw_ns--;
    arm.deadline.boot_ns++;
    assert_int_equal(guard_logic_on_arm(&g, at_ms(1000), &arm), GUARD_REFUSED_FAR);
}

static void the_deadline_does_not_go_back(void **state)
{
    /* An older round is told after a younger one. */
    struct guard_logic g = primary();

    (void)state;
    must_arm(&g, 100, 5, 2500);
    assert_int_equal(g.deadline.raw_ns, at_ms(3000).raw_ns);
    must_arm(&g, 100, 5, 3080);
    assert_int_equal(g.deadline.raw_ns, at_ms(3080).raw_ns);
}

static void the_clock_that_went_further_counts(void **state)
{
    /* The machine slept: only BOOTTIME went on. And slewed: only RAW did. */
    struct guard_logic slept = primary(), slewed = primary();
    struct guard_look look = {.n = 3};
    struct clock_pair now = at_ms(0);
    uint64_t wake;

    (void)state;
    now.boot_ns += MS(2950);
    assert_int_equal(guard_logic_step(&slept, now, &wake), GUARD_DO_FREEZE);
    now.boot_ns += MS(51);
    guard_logic_on_looked(&slept, now, &look);
    assert_true(slept.late_ns_max == (int64_t)MS(1));
    assert_int_equal(slept.phase, GUARD_KILLING);
    now = at_ms(0);
    now.raw_ns += MS(2950);
    assert_int_equal(guard_logic_step(&slewed, now, &wake), GUARD_DO_FREEZE);
}

static void a_slow_freeze_makes_the_next_begin_earlier(void **state)
{
    /* 295 ms, twice that is 590; but never more than half a ttl. */
    struct guard_logic g = primary();

    (void)state;
    assert_int_equal(step_at(&g, 2700), GUARD_DO_FREEZE);
    assert_int_equal(step_at(&g, 2700), GUARD_DO_LOOK);
    looked_at(&g, 2995, 0);
    must_arm(&g, 3000, 5, 6000);
    assert_int_equal(step_at(&g, 3000), GUARD_DO_THAW);
    assert_int_equal(step_at(&g, 5408), GUARD_DO_NOTHING);
    assert_int_equal(step_at(&g, 5409), GUARD_DO_FREEZE);

    g = primary();
    g.freeze_ns_max = MS(60000);
    assert_int_equal(step_at(&g, 1498), GUARD_DO_NOTHING);
    assert_int_equal(step_at(&g, 1499), GUARD_DO_FREEZE);
}

/* ---- Random walks ---- */

/* What an observer remembers who sees only calls and answers. */
struct observer {
    struct clock_pair deadline; /* The best that was accepted for `epoch`. */
    uint64_t epoch;             /* Highest accepted. */
    uint64_t closed;
    uint64_t frozen_epoch; /* In force when the freeze was asked for. */
    struct clock_pair freeze_began;
    bool stopped;   /* The freezer was asked, and nothing thawed or died since. */
    bool may_write; /* What runs was armed with it. */
    bool unfenced;  /* What runs was told to be paused since. */
    bool runs;
    bool dying;
    uint64_t n_frozen, n_thawed, n_late, n_aged, n_in_time, n_unfenced;
};

struct walk {
    struct guard_logic g;
    struct observer o;
    struct rng rng;
    struct clock_pair now;
    uint64_t wake_ns;
};

static uint64_t chance(struct walk *w, uint64_t n)
{
    return rng_between(&w->rng, 0, n - 1);
}

static uint64_t left_of(const struct walk *w)
{
    uint64_t raw = w->o.deadline.raw_ns, boot = w->o.deadline.boot_ns;

    if (w->o.epoch <= w->o.closed || raw <= w->now.raw_ns || boot <= w->now.boot_ns) {
        return 0;
    }
    return MIN(raw - w->now.raw_ns, boot - w->now.boot_ns);
}

static void observe_thaw(struct walk *w)
{
    assert_true(w->o.stopped && !w->o.dying);
    assert_int_equal(w->o.epoch, w->o.frozen_epoch);
    assert_true(left_of(w) > LEAD);
    assert_true(clock_pair_elapsed_ns(w->o.freeze_began, w->now) < w->g.kill_after_ns);
    w->o.stopped = false;
    w->o.n_thawed++;
}

static void observe_look(struct walk *w)
{
    struct guard_look look = {.n = 5};
    bool was_frozen = w->g.phase == GUARD_FROZEN;

    assert_true(w->o.stopped && !w->o.dying);
    look.n_running = chance(w, was_frozen ? 40 : 2) == 0 ? 1 : 0;
    guard_logic_on_looked(&w->g, w->now, &look);
    if (was_frozen) {
        assert_int_equal(w->g.phase, look.n_running > 0 ? GUARD_KILLING : GUARD_FROZEN);
    } else if (look.n_running == 0) {
        assert_int_equal(w->g.phase, left_of(w) > 0 ? GUARD_FROZEN : GUARD_KILLING);
        w->o.n_frozen++;
        w->o.n_in_time += left_of(w) > 0;
    }
    w->o.dying = w->g.phase == GUARD_KILLING;
}

/* Killing must have a reason that the observer knows too. */
static void observe_kill(struct walk *w)
{
    assert_true(w->o.runs);
    assert_int_equal(w->g.phase, GUARD_KILLING);
    if (!w->o.dying && w->g.why == GUARD_WHY_LATE) {
        assert_true(left_of(w) < 1000);
        w->o.n_late++;
    } else if (!w->o.dying) {
        assert_int_equal(w->g.why, GUARD_WHY_AGE);
        assert_true(clock_pair_elapsed_ns(w->o.freeze_began, w->now) >= w->g.kill_after_ns);
        w->o.n_aged++;
    }
    w->o.dying = true;
}

static void observe_step(struct walk *w, enum guard_action action)
{
    switch (action) {
    case GUARD_DO_NOTHING:
        break;
    case GUARD_DO_FREEZE:
        assert_true(w->o.runs && w->o.may_write && !w->o.stopped && !w->o.dying);
        w->o.stopped = true;
        w->o.frozen_epoch = w->o.epoch;
        w->o.freeze_began = w->now;
        break;
    case GUARD_DO_LOOK:
        observe_look(w);
        break;
    case GUARD_DO_THAW:
        observe_thaw(w);
        break;
    case GUARD_DO_KILL:
        observe_kill(w);
        break;
    }
}

/* As the process does it: until there is nothing to do. Then what must hold, holds. */
static void settle(struct walk *w)
{
    enum guard_action action;
    int n = 0;

    do {
        action = guard_logic_step(&w->g, w->now, &w->wake_ns);
        observe_step(w, action);
        assert_true(n++ < 10);
    } while (action != GUARD_DO_NOTHING);
    if (w->o.runs && w->o.may_write && !w->o.dying) {
        uint64_t left = left_of(w);

        /* Whoever may write has a live lease or has been stopped in time. */
        assert_true(left > LEAD || w->o.stopped);
        assert_true(left >= 1000 || w->g.phase == GUARD_FROZEN);
        assert_true(w->o.stopped || w->wake_ns <= left / 10 * 9);
        assert_true(w->wake_ns > 0);
    }
    assert_int_equal(w->g.may_write, w->o.may_write);
    assert_true(IMPLIES(w->o.dying, w->g.phase == GUARD_KILLING));
    assert_int_equal(w->g.phase == GUARD_DISARMED, w->o.unfenced && !w->o.dying);
}

static void observe_accepted(struct walk *w, const struct guard_arm *arm)
{
    bool pauses = arm->unfenced && w->o.runs && !w->o.stopped;

    w->o.epoch = arm->epoch;
    w->o.may_write = !pauses && (arm->may_write || (w->o.runs && w->o.may_write));
    w->o.unfenced = pauses || (w->o.unfenced && !w->o.may_write);
    w->o.n_unfenced += pauses;
}

/* Also wrong ones: of low and closed epochs, far away, over. */
static void random_arm(struct walk *w)
{
    struct guard_arm arm = {.epoch = w->o.epoch + chance(w, 12) / 10,
                            .instance = chance(w, 30) == 0 && w->o.epoch > 0 ? ME + 1 : ME,
                            .ttl_ns = MS(1000) << chance(w, 2)};
    bool overtakes;
    enum guard_verdict verdict;

    arm.epoch += arm.epoch == 0;
    arm.epoch -= chance(w, 20) == 0;
    arm.deadline = clock_pair_add(w->now, rng_between(&w->rng, 0, arm.ttl_ns) >> chance(w, 4));
    arm.deadline.raw_ns += chance(w, 30) == 0 ? arm.ttl_ns : 0;
    arm.may_write = chance(w, 2) == 0;
    arm.unfenced = !arm.may_write && chance(w, 6) == 0;
    overtakes = arm.epoch > w->o.epoch && w->o.runs &&
                (w->o.unfenced || (w->o.may_write && (w->o.stopped || left_of(w) == 0)));
    verdict = guard_logic_on_arm(&w->g, w->now, &arm);
    if (verdict == GUARD_ACCEPTED) {
        assert_true(arm.instance == ME && arm.epoch >= w->o.epoch && arm.epoch > w->o.closed);
        assert_true(!w->o.dying && !overtakes);
        assert_true(clock_pair_left_ns(arm.deadline, w->now) > 0);
        assert_true(arm.deadline.raw_ns <= w->now.raw_ns + arm.ttl_ns);
        if (arm.epoch > w->o.epoch || clock_pair_left_ns(arm.deadline, w->now) > left_of(w)) {
            w->o.deadline = arm.deadline;
        }
        observe_accepted(w, &arm);
    } else if (verdict == GUARD_REFUSED_KILLING && arm.epoch > w->o.epoch) {
        assert_true(overtakes || w->o.dying);
        w->o.epoch = arm.epoch;
        w->o.deadline = (struct clock_pair){0};
        w->o.dying = true;
    }
}

static void random_start(struct walk *w)
{
    bool as_primary = chance(w, 2) == 0;

    if (guard_logic_on_start(&w->g, w->now, as_primary) == GUARD_ACCEPTED) {
        assert_true(!w->o.runs);
        assert_true(IMPLIES(as_primary, w->o.may_write && left_of(w) > LEAD));
        w->o.runs = true;
        w->o.may_write = as_primary;
    }
}

static void random_gone(struct walk *w)
{
    guard_logic_on_gone(&w->g);
    w->o.runs = w->o.dying = w->o.stopped = w->o.may_write = w->o.unfenced = false;
}

static void random_close(struct walk *w)
{
    uint64_t epoch = w->o.epoch - chance(w, 2);

    guard_logic_on_close(&w->g, epoch);
    w->o.closed = MAX(w->o.closed, epoch);
    w->o.dying =
        w->o.dying || (w->o.runs && (w->o.may_write || w->o.unfenced) && w->o.closed >= w->o.epoch);
}

static void random_kill(struct walk *w)
{
    enum guard_why why =
        (enum guard_why[]){GUARD_WHY_EPOCH, GUARD_WHY_ORDER, GUARD_WHY_SIGNAL}[chance(w, 3)];

    guard_logic_on_kill(&w->g, why);
    w->o.closed = why == GUARD_WHY_EPOCH ? MAX(w->o.closed, w->o.epoch) : w->o.closed;
    w->o.dying = w->o.dying || (w->o.runs && (why != GUARD_WHY_SIGNAL || w->o.stopped));
}

static void random_event(struct walk *w)
{
    uint64_t dice = chance(w, 100);

    if (dice < 40) {
        random_arm(w);
    } else if (dice < 60) {
        random_start(w);
    } else if (dice < 63 || (w->o.dying && dice < 80)) {
        random_gone(w);
    } else if (dice < 64) {
        random_close(w);
    } else if (dice < 66) {
        random_kill(w);
    }
}

/* Time goes on until the guard is due, or less, or, seldom, it comes late; one of the
 * clocks goes up to a tenth slower. */
static void pass_time(struct walk *w)
{
    uint64_t ns = MIN(w->wake_ns, MS(40) << chance(w, 7));
    uint64_t slower;

    if (chance(w, 4) == 0) {
        ns = rng_between(&w->rng, 0, ns);
    } else if (chance(w, 80) == 0) {
        ns += MS(20) << chance(w, 8);
    }
    slower = ns - chance(w, 2) * (ns / 10);
    w->now.raw_ns += chance(w, 2) == 0 ? ns : slower;
    w->now.boot_ns += ns;
}

static void random_walks_never_break_the_promise(void **state)
{
    /* 400 guards of 3000 events each. */
    struct observer sum = {0};

    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct walk w = {.now = at_ms(0), .wake_ns = 0};

        rng_seed(&w.rng, seed);
        guard_logic_init(&w.g, MS(300));
        for (int i = 0; i < 3000; i++) {
            pass_time(&w);
            settle(&w);
            if (w.g.phase != GUARD_FROZEN || chance(&w, 4) == 0) {
                random_event(&w);
                settle(&w);
            }
        }
        sum.n_frozen += w.o.n_frozen;
        sum.n_thawed += w.o.n_thawed;
        sum.n_late += w.o.n_late;
        sum.n_aged += w.o.n_aged;
        sum.n_in_time += w.o.n_in_time;
        sum.n_unfenced += w.o.n_unfenced;
    }
    print_message("frozen=%llu in_time=%llu thawed=%llu late=%llu aged=%llu unfenced=%llu\n",
                  (unsigned long long)sum.n_frozen, (unsigned long long)sum.n_in_time,
                  (unsigned long long)sum.n_thawed, (unsigned long long)sum.n_late,
                  (unsigned long long)sum.n_aged, (unsigned long long)sum.n_unfenced);
    assert_true(sum.n_in_time > 1000 && sum.n_frozen > sum.n_in_time);
    assert_true(sum.n_thawed > 100 && sum.n_late > 100 && sum.n_aged > 100);
    assert_true(sum.n_unfenced > 1000);
}

static void a_guard_that_keeps_its_waits_is_never_late(void **state)
{
    /* It sleeps exactly as long as it said, at the worst rate between the clocks that
     * either may have: 10 %. */
    (void)state;
    for (uint64_t ms = 1000; ms <= 60000; ms += 1000) {
        struct walk w = {.now = at_ms(0)};
        uint64_t lead = MAX(LEAD, MS(ms) / 10);
        struct guard_arm arm = {.epoch = 1, .instance = ME, .ttl_ns = MS(ms), .may_write = true};

        guard_logic_init(&w.g, MS(30000));
        arm.deadline = clock_pair_add(w.now, arm.ttl_ns);
        assert_int_equal(guard_logic_on_arm(&w.g, w.now, &arm), GUARD_ACCEPTED);
        assert_int_equal(guard_logic_on_start(&w.g, w.now, true), GUARD_ACCEPTED);
        while (guard_logic_step(&w.g, w.now, &w.wake_ns) == GUARD_DO_NOTHING) {
            w.now.boot_ns += w.wake_ns;
            w.now.raw_ns += w.wake_ns / 9 * 10;
        }
        assert_int_equal(w.g.phase, GUARD_FREEZING);
        assert_between(guard_logic_left_ns(&w.g, w.now), lead, lead + MS(2));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_primary_is_frozen_before_the_deadline),
        cmocka_unit_test(what_has_not_stopped_at_the_deadline_is_killed),
        cmocka_unit_test(what_stopped_after_the_deadline_is_killed_too),
        cmocka_unit_test(a_live_lease_of_the_same_epoch_thaws),
        cmocka_unit_test(a_lease_about_to_end_does_not_thaw),
        cmocka_unit_test(a_freeze_is_called_off_by_a_renewal),
        cmocka_unit_test(a_higher_epoch_kills_what_is_frozen),
        cmocka_unit_test(a_higher_epoch_after_the_deadline_kills),
        cmocka_unit_test(frozen_for_too_long_is_killed),
        cmocka_unit_test(somebody_elses_sigcont_kills),
        cmocka_unit_test(a_signal_kills_only_what_is_frozen),
        cmocka_unit_test(an_order_kills_at_any_time),
        cmocka_unit_test(with_nothing_there_there_is_nothing_to_kill),
        cmocka_unit_test(an_epoch_that_passed_to_another_is_over_for_ever),
        cmocka_unit_test(a_standby_is_left_alone),
        cmocka_unit_test(may_write_stays),
        cmocka_unit_test(a_paused_primary_is_not_frozen),
        cmocka_unit_test(a_paused_primary_stays_so_until_it_is_armed_to_write),
        cmocka_unit_test(a_pause_thaws_nothing_without_a_lease_of_its_own),
        cmocka_unit_test(a_paused_primary_is_killed_when_its_epoch_is_over),
        cmocka_unit_test(pause_is_for_what_runs),
        cmocka_unit_test(a_primary_needs_a_lease_to_start),
        cmocka_unit_test(a_crashed_primary_is_armed_anew),
        cmocka_unit_test(an_adopted_primary_without_a_lease_is_fenced_at_once),
        cmocka_unit_test(an_adopted_server_may_turn_out_to_be_a_primary),
        cmocka_unit_test(closing_an_epoch_kills_what_may_still_write),
        cmocka_unit_test(refusals_have_names_and_change_nothing),
        cmocka_unit_test(a_deadline_further_away_than_ttl_is_refused),
        cmocka_unit_test(the_deadline_does_not_go_back),
        cmocka_unit_test(the_clock_that_went_further_counts),
        cmocka_unit_test(a_slow_freeze_makes_the_next_begin_earlier),
        cmocka_unit_test(random_walks_never_break_the_promise),
        cmocka_unit_test(a_guard_that_keeps_its_waits_is_never_late),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
