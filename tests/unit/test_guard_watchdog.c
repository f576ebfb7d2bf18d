/*
 * The watchdog with a device of the test's own, which remembers when it would have reset
 * the machine.
 */
#include "guard/guard_watchdog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/str.h"

#define MS(n) ((uint64_t)(n)*NS_PER_MS)
#define S(n)  (MS(n) * 1000)

/* A machine with a guard, a watchdog, and PostgreSQL that stops as fast as it does. */
struct machine {
    struct guard_logic g;
    struct guard_watchdog w;
    struct guard_watchdog_device device;
    struct clock_pair now;
    uint64_t wake_ns;
    bool never_stops;   /* PostgreSQL can be neither stopped nor killed. */
    uint64_t took_ns;   /* By a freeze. */
    uint64_t freeze_ns; /* When it was asked. */
    bool start_fails;
    bool can_stop;
    bool runs;          /* The device: */
    uint64_t resets_at; /* unless it is fed before. */
    uint32_t timeout_s;
    uint64_t n_tries, n_starts, n_feeds, n_stops;
};

static int fake_start(void *data, const char *path, uint32_t timeout_s, bool *ret_can_stop,
                      struct err *err)
{
    struct machine *m = data;

    m->n_tries++;
    if (m->start_fails) {
        return err_set(err, "no %s", path);
    }
    m->runs = true;
    m->timeout_s = timeout_s;
    m->resets_at = m->now.boot_ns + S(timeout_s);
    m->n_starts++;
    *ret_can_stop = m->can_stop;
    return 0;
}

static int fake_feed(void *data)
{
    struct machine *m = data;

    assert_true(m->runs);
    m->resets_at = m->now.boot_ns + S(m->timeout_s);
    m->n_feeds++;
    return 0;
}

static void fake_stop(void *data)
{
    struct machine *m = data;

    assert_true(m->runs);
    m->runs = false;
    m->n_stops++;
}

static void init(struct machine *m, enum guard_watchdog_mode mode)
{
    *m = (struct machine){.now = {S(1000), S(2000)}, .can_stop = true, .took_ns = MS(30)};
    m->device = (struct guard_watchdog_device){fake_start, fake_feed, fake_stop, m};
    m->w = (struct guard_watchdog){.mode = mode, .safety_margin_s = 5};
    assert_true(str_copy(m->w.path, sizeof(m->w.path), "/dev/fake"));
    guard_logic_init(&m->g, S(30));
}

static void act(struct machine *m, enum guard_action action)
{
    struct guard_look look = {.n = 3};

    if (action == GUARD_DO_FREEZE) {
        m->freeze_ns = m->now.boot_ns;
    } else if (action == GUARD_DO_LOOK) {
        bool stopped = !m->never_stops && m->now.boot_ns >= m->freeze_ns + m->took_ns;

        look.n_running = stopped ? 0 : 1;
        guard_logic_on_looked(&m->g, m->now, &look);
    } else if (action == GUARD_DO_KILL && !m->never_stops) {
        guard_logic_on_gone(&m->g);
    }
}

/* As the process does it. */
static bool settle(struct machine *m)
{
    enum guard_action action;

    do {
        action = guard_logic_step(&m->g, m->now, &m->wake_ns);
        act(m, action);
    } while (action != GUARD_DO_NOTHING);
    return guard_watchdog_step(&m->w, &m->device, &m->g, m->now, &m->wake_ns);
}

static bool was_reset(const struct machine *m)
{
    return m->runs && m->now.boot_ns >= m->resets_at;
}

/* Sleeps as long as was asked for, `ns` in all, or until a reset. */
static void pass(struct machine *m, uint64_t ns)
{
    uint64_t end = m->now.boot_ns + ns;

    while (m->now.boot_ns < end) {
        uint64_t step;

        (void)settle(m);
        step = MIN(m->wake_ns, end - m->now.boot_ns);
        if (m->runs && m->resets_at < m->now.boot_ns + step) {
            step = m->resets_at - m->now.boot_ns;
        }
        m->now.boot_ns += step;
        m->now.raw_ns += step;
        if (was_reset(m)) {
            return;
        }
    }
}

static void arm(struct machine *m, uint64_t ttl_ns, bool may_write)
{
    struct guard_arm a = {.epoch = 5,
                          .instance = 7,
                          .ttl_ns = ttl_ns,
                          .deadline = clock_pair_add(m->now, ttl_ns / 100 * 99),
                          .may_write = may_write};

    (void)settle(m);
    assert_int_equal(guard_logic_on_arm(&m->g, m->now, &a), GUARD_ACCEPTED);
}

static void start_primary(struct machine *m, uint64_t ttl_ns)
{
    arm(m, ttl_ns, true);
    (void)settle(m);
    assert_int_equal(guard_logic_on_start(&m->g, m->now, true), GUARD_ACCEPTED);
}

static void the_timeout_fits_into_the_ttl(void **state)
{
    /* ttl in ms, margin, seconds. */
    static const int64_t rows[][3] = {
        {1000, 5, 0},   {1499, 5, 0},   {1500, 5, 1},   {2000, 5, 1},
        {3000, 5, 1},   {4000, 5, 2},   {9999, 5, 4},   {9999, 1, 4},
        {10000, 5, 5},  {10000, -1, 5}, {30000, 5, 22}, {30000, 15, 15},
        {30000, 0, 22}, {30000, 30, 1}, {30000, 99, 1}, {30000, -1, 15},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        assert_int_equal(guard_watchdog_timeout_s(MS(rows[i][0]), (int32_t)rows[i][1]), rows[i][2]);
    }
}

static void it_runs_while_a_primary_may_write(void **state)
{
    /* A standby, then armed for its promotion, then gone. */
    struct machine m;

    (void)state;
    init(&m, GUARD_WATCHDOG_AUTOMATIC);
    assert_int_equal(guard_logic_on_start(&m.g, m.now, false), GUARD_ACCEPTED);
    arm(&m, S(3), false);
    assert_false(settle(&m));
    assert_false(m.runs);
    arm(&m, S(3), true);
    assert_true(settle(&m));
    assert_true(m.runs && m.w.is_active && m.timeout_s == 1);
    assert_false(settle(&m));
    guard_logic_on_gone(&m.g);
    assert_true(settle(&m));
    assert_false(m.runs || m.w.is_active);
}

static void off_is_off(void **state)
{
    /* A primary. */
    struct machine m;

    (void)state;
    init(&m, GUARD_WATCHDOG_OFF);
    start_primary(&m, S(3));
    assert_false(settle(&m));
    assert_int_equal(m.n_starts, 0);
}

static void one_that_can_not_be_opened_is_tried_again(void **state)
{
    /* Said once; there after a while. */
    struct machine m;

    (void)state;
    init(&m, GUARD_WATCHDOG_REQUIRED);
    m.start_fails = true;
    arm(&m, S(3), true);
    assert_true(settle(&m));
    assert_string_equal(m.w.problem.text, "no /dev/fake");
    assert_false(settle(&m));
    pass(&m, S(20));
    assert_false(m.w.is_active);
    assert_true(m.n_tries >= 3 && m.n_tries <= 5);
    m.start_fails = false;
    pass(&m, S(6));
    assert_true(m.w.is_active);
    assert_string_equal(m.w.problem.text, "");
}

static void a_renewed_lease_is_never_reset(void **state)
{
    /* Every ttl that is whole, a minute each, a round every sixth of it. */
    (void)state;
    for (uint64_t ttl_ms = 1500; ttl_ms <= 60000; ttl_ms += ttl_ms < 10000 ? 500 : 5000) {
        struct machine m;

        init(&m, GUARD_WATCHDOG_AUTOMATIC);
        start_primary(&m, MS(ttl_ms));
        for (int i = 0; i < 60; i++) {
            arm(&m, MS(ttl_ms), true);
            pass(&m, MS(ttl_ms) / 6);
            assert_false(was_reset(&m));
        }
        assert_int_equal(m.g.n_freezes, 0);
        assert_true(m.w.is_active && m.n_feeds >= 60);
    }
}

static void a_lost_lease_is_frozen_and_not_reset(void **state)
{
    /* Silence after one round; the freeze takes its time; killed after 30 s. */
    (void)state;
    for (uint64_t ttl_ms = 1500; ttl_ms <= 60000; ttl_ms += 500) {
        struct machine m;

        init(&m, GUARD_WATCHDOG_AUTOMATIC);
        m.took_ns = MS(80);
        start_primary(&m, MS(ttl_ms));
        pass(&m, MS(ttl_ms));
        assert_false(was_reset(&m));
        assert_int_equal(m.g.phase, GUARD_FROZEN);
        pass(&m, S(40));
        assert_false(was_reset(&m));
        assert_int_equal(m.g.phase, GUARD_EMPTY);
        assert_false(m.runs);
    }
}

static void what_does_not_stop_is_reset_by_the_deadline(void **state)
{
    /* Neither SIGSTOP nor SIGKILL does anything. */
    (void)state;
    for (uint64_t ttl_ms = 1500; ttl_ms <= 60000; ttl_ms += 500) {
        struct machine m;

        init(&m, GUARD_WATCHDOG_AUTOMATIC);
        m.never_stops = true;
        start_primary(&m, MS(ttl_ms));
        pass(&m, 2 * MS(ttl_ms));
        assert_true(was_reset(&m));
        assert_true(m.now.boot_ns <= m.g.deadline.boot_ns);
    }
}

static void what_can_not_be_killed_is_reset_by_the_deadline(void **state)
{
    /* Ordered at once, long before it. */
    struct machine m;

    (void)state;
    init(&m, GUARD_WATCHDOG_AUTOMATIC);
    m.never_stops = true;
    start_primary(&m, S(10));
    guard_logic_on_kill(&m.g, GUARD_WHY_ORDER);
    pass(&m, S(20));
    assert_true(was_reset(&m));
    assert_true(m.now.boot_ns <= m.g.deadline.boot_ns);
}

static void it_is_not_started_for_the_end_of_a_lease(void **state)
{
    /* The device comes when less than its timeout is left. */
    struct machine m;

    (void)state;
    init(&m, GUARD_WATCHDOG_AUTOMATIC);
    m.start_fails = true;
    start_primary(&m, S(10));
    pass(&m, MS(6000));
    m.start_fails = false;
    pass(&m, MS(1000));
    assert_false(m.runs);
    arm(&m, S(10), true);
    pass(&m, MS(5001));
    assert_true(m.runs);
    assert_true(m.resets_at <= m.g.deadline.boot_ns);
}

static void a_guard_that_stands_still_is_reset_by_the_deadline(void **state)
{
    /* At any moment of a walk with random rounds: what was fed last ends in time. */
    struct rng rng;

    (void)state;
    rng_seed(&rng, 3);
    for (int i = 0; i < 300; i++) {
        uint64_t ttl = MS(rng_between(&rng, 1500, 40000));
        struct machine m;

        init(&m, GUARD_WATCHDOG_AUTOMATIC);
        start_primary(&m, ttl);
        for (int k = 0; k < 100 && m.g.phase == GUARD_ARMED; k++) {
            pass(&m, rng_between(&rng, 0, ttl / 4));
            if (m.g.phase == GUARD_ARMED) {
                /* If it stood still from here on. */
                assert_true(m.resets_at <= m.g.deadline.boot_ns);
                arm(&m, ttl, true);
            }
        }
    }
}

static void one_that_can_not_be_stopped_is_fed_for_ever(void **state)
{
    /* No magic close: PostgreSQL is gone, the machine must live. */
    struct machine m;

    (void)state;
    init(&m, GUARD_WATCHDOG_AUTOMATIC);
    m.can_stop = false;
    start_primary(&m, S(3));
    (void)settle(&m);
    guard_logic_on_gone(&m.g);
    pass(&m, S(60));
    assert_false(was_reset(&m));
    assert_true(m.runs && m.n_stops == 0 && m.n_starts == 1);
    guard_watchdog_end(&m.w, &m.device);
    assert_true(m.runs);
}

static void a_new_ttl_is_a_new_timeout(void **state)
{
    /* 3 s, then 30 s. */
    struct machine m;

    (void)state;
    init(&m, GUARD_WATCHDOG_AUTOMATIC);
    start_primary(&m, S(3));
    pass(&m, MS(100));
    assert_int_equal(m.timeout_s, 1);
    arm(&m, S(30), true);
    pass(&m, MS(100));
    assert_int_equal(m.timeout_s, 22);
    assert_true(m.runs);
}

static void a_ttl_that_is_too_short_for_any_is_no_reset(void **state)
{
    /* 10 s, then 1 s: nothing fits any more; then 10 s again. */
    struct machine m;

    (void)state;
    init(&m, GUARD_WATCHDOG_AUTOMATIC);
    start_primary(&m, S(10));
    pass(&m, MS(100));
    assert_true(m.runs);
    for (int i = 0; i < 100; i++) {
        arm(&m, S(1), true);
        pass(&m, MS(300));
        assert_false(was_reset(&m));
    }
    assert_false(m.runs);
    assert_non_null(strstr(m.w.problem.text, "too short"));
    for (int i = 0; i < 10; i++) {
        arm(&m, S(10), true);
        pass(&m, MS(1000));
    }
    assert_true(m.runs);
    assert_string_equal(m.w.problem.text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_timeout_fits_into_the_ttl),
        cmocka_unit_test(it_runs_while_a_primary_may_write),
        cmocka_unit_test(off_is_off),
        cmocka_unit_test(one_that_can_not_be_opened_is_tried_again),
        cmocka_unit_test(a_renewed_lease_is_never_reset),
        cmocka_unit_test(a_lost_lease_is_frozen_and_not_reset),
        cmocka_unit_test(what_does_not_stop_is_reset_by_the_deadline),
        cmocka_unit_test(what_can_not_be_killed_is_reset_by_the_deadline),
        cmocka_unit_test(it_is_not_started_for_the_end_of_a_lease),
        cmocka_unit_test(a_guard_that_stands_still_is_reset_by_the_deadline),
        cmocka_unit_test(one_that_can_not_be_stopped_is_fed_for_ever),
        cmocka_unit_test(a_ttl_that_is_too_short_for_any_is_no_reset),
        cmocka_unit_test(a_new_ttl_is_a_new_timeout),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
