/*
 * The agent's side of the guard: what is armed when, what counts as lease, what happens
 * when it refuses, is silent, or is gone. The guard is a script of the test's: it records
 * what it is asked, and says what the test lets it say. So is the clock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/agent_state.h"
#include "base/str.h"

#define MS(n)    ((uint64_t)(n)*NS_PER_MS)
#define S(n)     MS((n)*UINT64_C(1000))
#define TTL_NS   S(3)
#define NODE     UINT64_C(77)
#define INSTANCE UINT64_C(4711)
#define EPOCH    UINT64_C(5)

struct guard_client { /* A fake of it. */
    struct guard_client_options o;
    bool is_up;
    struct guard_state state;
    uint64_t silent_ns;
    bool has_process;
    bool can_disarm, is_outdated;
    struct guard_arm arm; /* The last that was asked. */
    struct guard_kept kept;
    struct guard_watch watch;
    unsigned n_arms, n_pings;
    uint64_t closed_epoch;
    enum guard_why killed_why;
    pid_t adopted;
};

static struct {
    struct clock_pair now;
    struct guard_client client;
    pid_t postmaster;
    unsigned n_gave_up;
    char done[200]; /* To PostgreSQL and the guard, in order. */
    struct agent *agent;
} world;

static void note(const char *what)
{
    size_t used = strlen(world.done);

    (void)snprintf(&world.done[used], sizeof(world.done) - used, "%s ", what);
}

/* ---- Clock ---- */

struct clock_pair __wrap_clock_pair_now(void);
uint64_t __wrap_clock_ms(void);

struct clock_pair __wrap_clock_pair_now(void)
{
    return world.now;
}

uint64_t __wrap_clock_ms(void)
{
    return world.now.boot_ns / NS_PER_MS;
}

static void pass(uint64_t ns)
{
    world.now = clock_pair_add(world.now, ns);
}

/* ---- What the hooks lean on ---- */

struct lease_time agent_lease_now(void)
{
    return (struct lease_time){world.now.raw_ns, world.now.boot_ns};
}

void agent_mark_dirty(struct agent *a)
{
    a->dirty = true;
}

void agent_lease_give_up(struct agent *a)
{
    (void)a;
    world.n_gave_up++;
}

uint32_t pg_kill_all(struct pg *pg)
{
    (void)pg;
    note("kill-postgres");
    return 0;
}

pid_t pg_postmaster_pid(const struct pg *pg)
{
    (void)pg;
    return world.postmaster;
}

/* ---- The fake guard ---- */

struct guard_client *guard_client_new(const struct guard_client_options *options)
{
    world.client.o = *options;
    world.client.has_process = true;
    return &world.client;
}

void guard_client_close(struct guard_client *c, void (*cb)(void *data), void *data)
{
    (void)c;
    cb(data);
}

bool guard_client_is_up(const struct guard_client *c)
{
    return c->is_up;
}

const struct guard_state *guard_client_state(const struct guard_client *c)
{
    return &c->state;
}

const char *guard_client_problem(const struct guard_client *c)
{
    (void)c;
    return "not there";
}

uint64_t guard_client_silent_ns(const struct guard_client *c, struct clock_pair now)
{
    (void)now;
    return c->silent_ns;
}

void guard_client_drain(struct guard_client *c)
{
    (void)c;
}

bool guard_client_arm(struct guard_client *c, const struct guard_arm *arm,
                      const struct guard_kept *kept)
{
    c->arm = *arm;
    c->kept = *kept;
    c->n_arms++;
    return c->is_up;
}

bool guard_client_is_outdated(const struct guard_client *c)
{
    return c->is_outdated;
}

bool guard_client_can_disarm(const struct guard_client *c)
{
    return c->can_disarm;
}

bool guard_client_close_epoch(struct guard_client *c, uint64_t epoch)
{
    c->closed_epoch = epoch;
    return true;
}

bool guard_client_adopt(struct guard_client *c, pid_t postmaster, bool may_write)
{
    assert_false(may_write); /* The next arm says that. */
    c->adopted = postmaster;
    note("adopt");
    return true;
}

bool guard_client_kill(struct guard_client *c, enum guard_why why)
{
    c->killed_why = why;
    note("kill");
    return true;
}

bool guard_client_ping(struct guard_client *c)
{
    c->n_pings++;
    return c->is_up;
}

bool guard_client_watch(struct guard_client *c, const struct guard_watch *watch)
{
    c->watch = *watch;
    note("watch");
    return c->is_up;
}

bool guard_client_leave(struct guard_client *c)
{
    (void)c;
    note("leave");
    return true;
}

int guard_client_start(struct guard_client *c, const struct guard_client_start *start,
                       guard_started_cb cb, void *data, struct err *err)
{
    (void)c;
    (void)start;
    (void)cb;
    (void)data;
    return err_set(err, "not in this test");
}

bool guard_client_has_process(const struct guard_client *c)
{
    return c->has_process;
}

void guard_client_end_guard(struct guard_client *c)
{
    (void)c;
    note("end-guard");
}

/* ---- Scenes ---- */

static int enter(void **state)
{
    static struct conf conf = {.mode = CONF_MODE_POSTGRES,
                               .runtime_dir = "/nowhere",
                               .name = "pg1",
                               .pg_data_dir = "/nowhere/data",
                               .guard_kill_after_ms = 30000,
                               .watchdog_mode = "off",
                               .watchdog_device = "/dev/does-not-exist",
                               .watchdog_driver = "default"};
    struct agent *a = calloc(1, sizeof(*a));
    struct lease_voter_set set = {.index = 3, .n = 3, .ids = {NODE, 78, 79}};

    (void)state;
    assert_non_null(a);
    memset(&world, 0, sizeof(world));
    world.now = (struct clock_pair){S(1000), S(5000)};
    world.agent = a;
    conf.watchdog_mode = "off";
    a->conf = &conf;
    a->identity.id = NODE;
    a->runtime.instance = INSTANCE;
    a->dynamic.ttl_ms = TTL_NS / NS_PER_MS;
    a->started_ms = clock_ms();
    lease_owner_init(&a->owner, NODE, INSTANCE, 1);
    lease_owner_on_ttl(&a->owner, TTL_NS);
    lease_owner_on_sets(&a->owner, &set, NULL);
    agent_guard_open(a);
    world.client.is_up = true;
    return 0;
}

static int leave(void **state)
{
    (void)state;
    free(world.agent);
    return 0;
}

/* A round counted: the lease runs so long from now on. */
static void hold_lease(uint64_t left_ns)
{
    struct lease_owner *o = &world.agent->owner;

    o->epoch = EPOCH;
    o->held = true;
    o->deadline = (struct lease_time){world.now.raw_ns + left_ns, world.now.boot_ns + left_ns};
}

/* To the last arm. */
static void answer(enum guard_verdict verdict)
{
    struct guard_client *c = &world.client;
    struct guard_armed armed = {
        .verdict = verdict, .epoch = c->arm.epoch, .deadline = c->arm.deadline, .now = world.now};

    c->o.hooks.on_armed(c->o.data, &c->arm, &armed);
}

/* As it is while a primary runs. */
static void run_primary(uint64_t left_ns)
{
    world.agent->decision.node.may_write = true;
    world.client.state.logic.phase = GUARD_ARMED;
    world.client.state.postmaster = 4242;
    world.postmaster = 4242;
    hold_lease(left_ns);
    agent_guard_arm(world.agent);
    answer(GUARD_ACCEPTED);
}

static uint64_t confirmed_ns(void)
{
    return agent_guard_confirmed_ns(world.agent, agent_lease_now());
}

static void tick(void)
{
    (void)agent_guard_tick(world.agent, clock_ms());
}

static int arm_for_primary(struct err *err)
{
    struct pg_guard guard = agent_guard_for_pg(world.agent);

    return guard.arm(guard.data, err);
}

/* ---- Arming ---- */

static void every_counted_round_is_told_once(void **state)
{
    struct guard_client *c = &world.client;

    (void)state;
    agent_guard_arm(world.agent);
    assert_int_equal(c->n_arms, 0); /* No lease. */
    hold_lease(S(3));
    agent_guard_arm(world.agent);
    agent_guard_arm(world.agent);
    tick();
    assert_int_equal(c->n_arms, 1);
    assert_int_equal(c->arm.epoch, EPOCH);
    assert_int_equal(c->arm.instance, INSTANCE);
    assert_int_equal(c->arm.ttl_ns, TTL_NS);
    assert_int_equal(c->arm.deadline.raw_ns, world.now.raw_ns + S(3));
    assert_int_equal(c->arm.deadline.boot_ns, world.now.boot_ns + S(3));
    assert_false(c->arm.may_write);
    pass(MS(500));
    hold_lease(S(3));
    agent_guard_arm(world.agent);
    assert_int_equal(c->n_arms, 2);
    world.agent->decision.node.may_write = true; /* The same deadline, for a primary. */
    tick();
    assert_int_equal(c->n_arms, 3);
    assert_true(c->arm.may_write);
}

static void the_guard_is_given_what_the_next_agent_needs(void **state)
{
    struct agent_kept kept;

    (void)state;
    hold_lease(S(3));
    agent_guard_arm(world.agent);
    assert_true(agent_kept_decode(&world.client.kept, &kept));
    assert_int_equal(kept.node_id, NODE);
    assert_int_equal(kept.ttl_ns, TTL_NS);
    assert_int_equal(kept.sets[0].n, 3);
}

static void only_what_it_confirmed_counts(void **state)
{
    (void)state;
    hold_lease(S(3));
    agent_guard_arm(world.agent);
    assert_int_equal(confirmed_ns(), 0);
    answer(GUARD_ACCEPTED);
    assert_int_equal(confirmed_ns(), S(3) - GUARD_SECOND_LINE_NS);
    /* The next round counts; its confirmation is late. */
    pass(S(1));
    hold_lease(S(3));
    agent_guard_arm(world.agent);
    assert_int_equal(confirmed_ns(), S(2) - GUARD_SECOND_LINE_NS);
    pass(S(2) - MS(1));
    assert_int_equal(confirmed_ns(), 0);
    answer(GUARD_ACCEPTED);
    assert_int_equal(confirmed_ns(), S(1) + MS(1) - GUARD_SECOND_LINE_NS);
    /* Ours is over, whatever the guard still has. */
    hold_lease(0);
    assert_int_equal(confirmed_ns(), 0);
}

static void what_it_confirmed_of_another_epoch_does_not_count(void **state)
{
    (void)state;
    hold_lease(S(3));
    agent_guard_arm(world.agent);
    answer(GUARD_ACCEPTED);
    assert_true(confirmed_ns() > 0);
    world.agent->owner.epoch = EPOCH + 1;
    assert_int_equal(confirmed_ns(), 0);
}

static void a_refused_deadline_is_asked_again_soon_and_does_not_count(void **state)
{
    struct guard_client *c = &world.client;

    (void)state;
    hold_lease(S(3));
    agent_guard_arm(world.agent);
    answer(GUARD_REFUSED_FAR);
    assert_int_equal(confirmed_ns(), 0);
    tick();
    assert_int_equal(c->n_arms, 1); /* Each refusal is a line in the log. */
    assert_true(agent_guard_tick(world.agent, clock_ms()) <= clock_ms() + 20);
    pass(MS(50));
    tick();
    assert_int_equal(c->n_arms, 2);
    answer(GUARD_ACCEPTED);
    assert_true(confirmed_ns() > 0);
    assert_int_equal(world.n_gave_up, 0);
}

static void an_epoch_that_it_closed_is_given_up(void **state)
{
    (void)state;
    hold_lease(S(3));
    agent_guard_arm(world.agent);
    world.agent->owner.epoch = EPOCH + 1; /* Taken meanwhile: that one is not closed. */
    answer(GUARD_REFUSED_CLOSED);
    assert_int_equal(world.n_gave_up, 0);
    world.agent->owner.epoch = EPOCH;
    answer(GUARD_REFUSED_CLOSED);
    assert_int_equal(world.n_gave_up, 1);
    world.client.state.logic.closed_epoch = EPOCH;
    assert_true(agent_guard_has_closed(world.agent, EPOCH));
    assert_false(agent_guard_has_closed(world.agent, EPOCH + 1));
}

static void a_closed_epoch_counts_no_more(void **state)
{
    (void)state;
    run_primary(S(3));
    assert_true(confirmed_ns() > 0);
    agent_guard_close_epoch(world.agent, EPOCH);
    assert_int_equal(world.client.closed_epoch, EPOCH);
    assert_int_equal(confirmed_ns(), 0);
}

static void a_guard_made_for_another_owner_is_replaced_when_nothing_runs(void **state)
{
    (void)state;
    hold_lease(S(3));
    agent_guard_arm(world.agent);
    world.client.state.logic.phase = GUARD_OPEN;
    answer(GUARD_REFUSED_INSTANCE);
    tick();
    assert_null(strstr(world.done, "leave"));
    world.client.state.logic.phase = GUARD_EMPTY;
    tick();
    assert_non_null(strstr(world.done, "leave"));
}

static void an_older_guard_is_replaced_once_when_nothing_runs(void **state)
{
    struct guard_client *c = &world.client;

    (void)state;
    c->is_outdated = true;
    c->state.logic.phase = GUARD_OPEN;
    tick();
    assert_null(strstr(world.done, "leave"));
    c->state.logic.phase = GUARD_EMPTY;
    tick();
    tick();
    assert_string_equal(world.done, "leave ");
    c->o.hooks.on_gone(c->o.data);
    assert_int_equal(world.agent->guarding.n_lost, 0);
    /* It was started below it before it heard of that: a loss as any other. */
    tick();
    c->state.logic.phase = GUARD_OPEN;
    c->o.hooks.on_state(c->o.data, &c->state);
    world.done[0] = '\0';
    c->o.hooks.on_gone(c->o.data);
    assert_string_equal(world.done, "kill-postgres ");
    assert_int_equal(world.agent->guarding.n_lost, 1);
}

/* ---- Becoming a primary ---- */

static void a_promotion_waits_for_a_deadline_confirmed_for_a_primary(void **state)
{
    struct guard_client *c = &world.client;

    (void)state;
    world.agent->view.pg.postmaster_alive = true;
    c->state.logic.phase = GUARD_OPEN;
    hold_lease(S(3));
    agent_guard_arm(world.agent);
    answer(GUARD_ACCEPTED); /* As a standby. */
    assert_int_equal(arm_for_primary(NULL), 0);
    assert_int_equal(c->n_arms, 2);
    assert_true(c->arm.may_write);
    answer(GUARD_ACCEPTED);
    assert_int_equal(arm_for_primary(NULL), 0); /* Its state says it a moment later. */
    c->state.logic.phase = GUARD_ARMED;
    assert_int_equal(arm_for_primary(NULL), 1);
    c->is_up = false;
    assert_int_equal(arm_for_primary(NULL), 0);
    c->is_up = true;
    pass(S(3));
    assert_int_equal(arm_for_primary(NULL), 0);
}

static void a_start_needs_no_phase_but_is_armed_anew_after_each_end(void **state)
{
    struct guard_client *c = &world.client;

    (void)state;
    hold_lease(S(3));
    assert_int_equal(arm_for_primary(NULL), 0);
    answer(GUARD_ACCEPTED);
    assert_int_equal(arm_for_primary(NULL), 1);
    c->state.logic.phase = GUARD_EMPTY; /* What ran is gone: may_write went with it. */
    c->o.hooks.on_state(c->o.data, &c->state);
    assert_int_equal(arm_for_primary(NULL), 0);
    assert_int_equal(c->n_arms, 2);
    answer(GUARD_ACCEPTED);
    assert_int_equal(arm_for_primary(NULL), 1);
}

static void a_paused_primary_is_disarmed_if_its_guard_can(void **state)
{
    struct guard_client *c = &world.client;

    (void)state;
    run_primary(S(3));
    c->state.logic.may_write = true;
    world.agent->decision.disarm = true;
    tick();
    assert_true(c->arm.may_write && !c->arm.unfenced); /* Of the version before. */
    c->can_disarm = true;
    tick();
    assert_true(!c->arm.may_write && c->arm.unfenced);
    world.agent->decision.disarm = false; /* Resumed: it says so itself only when it is armed. */
    c->state.logic.may_write = false;
    tick();
    assert_true(c->arm.may_write && !c->arm.unfenced);
}

static void an_operation_that_ended_wants_no_primary(void **state)
{
    struct guard_logic *held = &world.client.state.logic;

    (void)state;
    hold_lease(S(3));
    world.agent->view.op.running = ACTION_PROMOTE;
    (void)arm_for_primary(NULL);
    tick();
    assert_true(world.client.arm.may_write);
    held->may_write = true; /* For a start that never came. */
    world.agent->view.op.running = ACTION_NONE;
    tick();
    assert_false(world.client.arm.may_write);
    held->phase = GUARD_ARMED; /* What runs stays what it is. */
    tick();
    assert_true(world.client.arm.may_write);
}

/* ---- Watchdog ---- */

static void require_watchdog(char *device)
{
    world.agent->conf->watchdog_mode = "required";
    world.agent->conf->watchdog_device = device;
    assert_true(agent_watch_configure(world.agent, world.agent->conf));
    assert_int_equal(world.client.watch.mode, GUARD_WATCHDOG_REQUIRED);
    assert_string_equal(world.client.watch.path, device);
}

static void a_required_watchdog_that_can_be_seen_missing_is_not_even_tried(void **state)
{
    struct err err = {""};

    (void)state;
    require_watchdog("/dev/does-not-exist");
    hold_lease(S(3));
    assert_int_equal(arm_for_primary(&err), -1);
    assert_non_null(strstr(err.text, "/dev/does-not-exist: No such file"));
    assert_int_equal(world.client.n_arms, 0);
    /* Once it is active it need not be seen. */
    world.client.state.watchdog_is_active = true;
    assert_true(agent_watch_lets(world.agent, NULL));
    world.client.is_up = false;
    assert_false(agent_watch_lets(world.agent, NULL));
}

static void a_required_watchdog_is_waited_for_until_it_is_active_or_fails(void **state)
{
    struct guard_client *c = &world.client;
    struct err err = {""};

    (void)state;
    require_watchdog("/dev/null"); /* Can be written to; what the guard finds is another thing. */
    hold_lease(S(3));
    assert_int_equal(arm_for_primary(&err), 0);
    answer(GUARD_ACCEPTED);
    assert_int_equal(arm_for_primary(&err), 0);
    (void)str_copy(c->state.watchdog_problem, sizeof(c->state.watchdog_problem), "is in use");
    assert_int_equal(arm_for_primary(&err), -1);
    assert_non_null(strstr(err.text, "is in use"));
    c->state.watchdog_problem[0] = '\0';
    c->state.watchdog_is_active = true;
    assert_int_equal(arm_for_primary(&err), 1);
}

static void a_required_watchdog_needs_a_ttl_of_two_seconds(void **state)
{
    struct err err = {""};

    (void)state;
    require_watchdog("/dev/null");
    world.agent->dynamic.ttl_ms = 1999;
    assert_false(agent_watch_lets(world.agent, &err));
    assert_non_null(strstr(err.text, "1999 ms"));
    world.agent->dynamic.ttl_ms = 2000;
    assert_true(agent_watch_lets(world.agent, &err));
}

static void the_guard_is_told_of_the_watchdog_when_it_comes_and_when_that_changes(void **state)
{
    struct guard_client *c = &world.client;

    (void)state;
    world.done[0] = '\0';
    assert_false(agent_watch_configure(world.agent, world.agent->conf));
    assert_string_equal(world.done, "");
    c->o.hooks.on_up(c->o.data, &c->state);
    assert_string_equal(world.done, "watch ");
    assert_int_equal(c->watch.mode, GUARD_WATCHDOG_OFF);
    world.agent->conf->watchdog_mode = "automatic";
    assert_true(agent_watch_configure(world.agent, world.agent->conf));
    assert_string_equal(world.done, "watch watch ");
    assert_int_equal(c->watch.mode, GUARD_WATCHDOG_AUTOMATIC);
    assert_true(agent_watch_lets(world.agent, NULL));
}

/* ---- Watching each other ---- */

static void a_guard_that_is_gone_takes_postgres_with_it_at_once(void **state)
{
    struct guard_client *c = &world.client;

    (void)state;
    run_primary(S(3));
    c->o.hooks.on_gone(c->o.data);
    assert_string_equal(world.done, "kill-postgres ");
    assert_int_equal(confirmed_ns(), 0);
    /* The next one is told anew. */
    agent_guard_arm(world.agent);
    assert_int_equal(c->n_arms, 2);
    /* Not when we go ourselves: then it left, as it was told to. */
    world.done[0] = '\0';
    world.agent->closing = true;
    c->o.hooks.on_gone(c->o.data);
    assert_string_equal(world.done, "");
}

static void
a_silent_guard_stops_renewals_and_is_killed_after_postgres_before_the_deadline(void **state)
{
    struct guard_client *c = &world.client;

    (void)state;
    run_primary(S(3));
    c->silent_ns = TTL_NS / 6;
    tick();
    assert_true(agent_guard_lets_renew(world.agent));
    c->silent_ns++;
    tick();
    assert_false(agent_guard_lets_renew(world.agent));
    assert_string_equal(world.done, ""); /* It has until the deadline to come back. */
    pass(S(3) - TTL_NS / 6 - 1);
    tick();
    assert_string_equal(world.done, "");
    pass(1);
    tick();
    assert_string_equal(world.done, "kill-postgres end-guard ");
    tick(); /* Once. */
    assert_string_equal(world.done, "kill-postgres end-guard ");
    c->silent_ns = 0;
    tick();
    assert_true(agent_guard_lets_renew(world.agent));
}

static void a_silent_guard_without_a_primary_has_more_time(void **state)
{
    (void)state;
    hold_lease(S(3));
    agent_guard_arm(world.agent);
    answer(GUARD_ACCEPTED);
    world.client.silent_ns = S(3);
    pass(S(10));
    tick();
    assert_string_equal(world.done, "");
    world.client.silent_ns = S(3) + 1;
    tick();
    assert_string_equal(world.done, "kill-postgres end-guard ");
}

static void without_a_process_there_is_nothing_to_kill(void **state)
{
    (void)state;
    run_primary(S(3));
    world.client.has_process = false; /* Not spawned yet: nothing was started by it. */
    world.client.is_up = false;
    world.client.silent_ns = S(60);
    pass(S(60));
    tick();
    assert_string_equal(world.done, "");
    assert_false(agent_guard_lets_renew(world.agent));
}

static void what_is_frozen_and_lost_is_killed(void **state)
{
    struct agent *a = world.agent;

    (void)state;
    a->decision.node.action = ACTION_FENCE;
    a->decision.node.kill = true;
    tick();
    assert_string_equal(world.done, ""); /* Not frozen: the agent kills it by itself. */
    a->view.pg.frozen = true;
    tick();
    assert_string_equal(world.done, "kill ");
    assert_int_equal(world.client.killed_why, GUARD_WHY_EPOCH);
    a->stopping_since_ms = 1;
    tick();
    assert_int_equal(world.client.killed_why, GUARD_WHY_ORDER);
}

static void a_server_that_the_guard_does_not_know_is_adopted(void **state)
{
    struct guard_client *c = &world.client;

    (void)state;
    world.postmaster = 4242;
    c->state.logic.phase = GUARD_OPEN; /* It knows it. */
    tick();
    pass(S(1));
    tick();
    assert_int_equal(c->adopted, 0);
    c->state.logic.phase = GUARD_EMPTY;
    tick();
    assert_int_equal(c->adopted, 0); /* What it starts it tells of in a moment. */
    pass(MS(200));
    tick();
    assert_int_equal(c->adopted, 4242);
    tick();
    assert_string_equal(world.done, "adopt ");
    pass(S(1));
    tick();
    assert_string_equal(world.done, "adopt adopt ");
}

/* ---- Continue ---- */

/* What a guard says that has a primary below it, to an agent that has just started. */
static void let_attest(struct guard_state *s)
{
    struct agent *a = world.agent;

    a->owner.epoch = EPOCH;
    a->owner.deadline = (struct lease_time){world.now.raw_ns + S(2), world.now.boot_ns + S(2)};
    *s = (struct guard_state){.postmaster = 4242};
    s->logic.epoch = EPOCH;
    s->logic.instance = INSTANCE;
    s->logic.phase = GUARD_ARMED;
    s->logic.may_write = true;
    s->logic.deadline = clock_pair_add(world.now, S(2));
    agent_kept_encode(a, &s->kept);
    lease_owner_init(&a->owner, NODE, INSTANCE, 9);
}

static bool continues_with(const struct guard_state *s)
{
    struct guard_client *c = &world.client;

    c->state = *s;
    c->o.hooks.on_up(c->o.data, &c->state);
    return lease_owner_epoch(&world.agent->owner) != 0;
}

static void a_restarted_agent_goes_on_with_what_the_guard_attests(void **state)
{
    static const enum guard_phase phases[] = {GUARD_ARMED, GUARD_FREEZING, GUARD_FROZEN};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(phases); i++) {
        struct guard_state s;
        struct agent *a;

        (void)leave(NULL);
        (void)enter(NULL);
        a = world.agent;
        let_attest(&s);
        s.logic.phase = phases[i];
        assert_true(continues_with(&s));
        assert_true(a->continued);
        assert_int_equal(lease_owner_epoch(&a->owner), EPOCH);
        assert_int_equal(lease_owner_remaining_ns(&a->owner, agent_lease_now()), S(2));
        assert_int_equal(confirmed_ns(), S(2) - GUARD_SECOND_LINE_NS);
        assert_int_equal(a->owner.ttl_ns, TTL_NS);
        assert_int_equal(a->owner.sets[0].n, 3);
        /* It was not looked at PostgreSQL yet, so no decision says that it may write. */
        tick();
        assert_true(world.client.arm.may_write);
        if (i == 0) { /* Else it is silent from the first moment on. */
            answer(GUARD_ACCEPTED);
        }
        world.client.silent_ns = TTL_NS / 6 + 1;
        pass(S(2) - TTL_NS / 6);
        tick();
        assert_non_null(strstr(world.done, "kill-postgres end-guard "));
    }
}

static void break_epoch(struct guard_state *s)
{
    s->logic.epoch = 0;
}

static void break_closed(struct guard_state *s)
{
    s->logic.closed_epoch = EPOCH;
}

static void break_instance(struct guard_state *s)
{
    s->logic.instance = INSTANCE + 1;
}

static void break_empty(struct guard_state *s)
{
    s->logic.phase = GUARD_EMPTY;
}

static void break_killing(struct guard_state *s)
{
    s->logic.phase = GUARD_KILLING;
}

static void break_standby(struct guard_state *s)
{
    s->logic.may_write = false;
}

static void break_kept(struct guard_state *s)
{
    s->kept.size--;
}

static void break_node(struct guard_state *s)
{
    (void)s;
    world.agent->identity.id = NODE + 1;
}

static void break_released(struct guard_state *s)
{
    (void)s;
    world.agent->voter.image.released_epoch = EPOCH;
}

static void break_settled(struct guard_state *s)
{
    (void)s;
    lease_owner_on_barrier(&world.agent->owner);
}

static void what_the_guard_can_not_attest_is_not_gone_on_with(void **state)
{
    static void (*const breaks[])(struct guard_state * s) = {
        break_epoch,   break_closed, break_instance, break_empty,    break_killing,
        break_standby, break_kept,   break_node,     break_released, break_settled,
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(breaks); i++) {
        struct guard_state s;

        (void)leave(NULL);
        (void)enter(NULL);
        let_attest(&s);
        breaks[i](&s);
        if (continues_with(&s)) {
            fail_msg("goes on in spite of break %zu", i);
        }
        assert_false(world.agent->continued);
        assert_int_equal(confirmed_ns(), 0);
    }
}

static void an_epoch_of_ours_is_not_replaced_by_what_a_guard_says(void **state)
{
    /* The connection was lost and is back; the epoch is a newer one meanwhile. */
    struct guard_state s;

    (void)state;
    let_attest(&s);
    hold_lease(S(3));
    world.agent->owner.epoch = EPOCH + 1;
    (void)continues_with(&s);
    assert_int_equal(lease_owner_epoch(&world.agent->owner), EPOCH + 1);
    assert_false(world.agent->continued);
}

static void a_witness_has_no_guard(void **state)
{
    struct agent *a = calloc(1, sizeof(*a));
    struct conf conf = {.mode = CONF_MODE_WITNESS};

    (void)state;
    assert_non_null(a);
    a->conf = &conf;
    agent_guard_open(a);
    assert_null(a->guarding.client);
    agent_guard_arm(a);
    agent_guard_close_epoch(a, EPOCH);
    assert_true(agent_guard_is_ready(a, 0));
    assert_true(agent_guard_lets_renew(a));
    assert_false(agent_guard_has_closed(a, EPOCH));
    assert_true(agent_watch_lets(a, NULL));
    assert_int_equal(agent_guard_confirmed_ns(a, agent_lease_now()), 0);
    assert_true(agent_guard_tick(a, 0) == UINT64_MAX);
    free(a);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_counted_round_is_told_once),
        TEST(the_guard_is_given_what_the_next_agent_needs),
        TEST(only_what_it_confirmed_counts),
        TEST(what_it_confirmed_of_another_epoch_does_not_count),
        TEST(a_refused_deadline_is_asked_again_soon_and_does_not_count),
        TEST(an_epoch_that_it_closed_is_given_up),
        TEST(a_closed_epoch_counts_no_more),
        TEST(a_guard_made_for_another_owner_is_replaced_when_nothing_runs),
        TEST(an_older_guard_is_replaced_once_when_nothing_runs),
        TEST(a_promotion_waits_for_a_deadline_confirmed_for_a_primary),
        TEST(a_start_needs_no_phase_but_is_armed_anew_after_each_end),
        TEST(a_paused_primary_is_disarmed_if_its_guard_can),
        TEST(an_operation_that_ended_wants_no_primary),
        TEST(a_required_watchdog_that_can_be_seen_missing_is_not_even_tried),
        TEST(a_required_watchdog_is_waited_for_until_it_is_active_or_fails),
        TEST(a_required_watchdog_needs_a_ttl_of_two_seconds),
        TEST(the_guard_is_told_of_the_watchdog_when_it_comes_and_when_that_changes),
        TEST(a_guard_that_is_gone_takes_postgres_with_it_at_once),
        TEST(a_silent_guard_stops_renewals_and_is_killed_after_postgres_before_the_deadline),
        TEST(a_silent_guard_without_a_primary_has_more_time),
        TEST(without_a_process_there_is_nothing_to_kill),
        TEST(what_is_frozen_and_lost_is_killed),
        TEST(a_server_that_the_guard_does_not_know_is_adopted),
        TEST(a_restarted_agent_goes_on_with_what_the_guard_attests),
        TEST(what_the_guard_can_not_attest_is_not_gone_on_with),
        TEST(an_epoch_of_ours_is_not_replaced_by_what_a_guard_says),
        TEST(a_witness_has_no_guard),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
