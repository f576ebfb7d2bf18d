/*
 * The agent between Raft and its voter: what a grant names, and when there is none. Raft,
 * peers and guard are the test's; so is the clock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/agent_state.h"
#include "base/str.h"

#define NODE     UINT64_C(1)
#define OWNER    UINT64_C(2)
#define INSTANCE UINT64_C(4711)
#define TTL_NS   (3 * UINT64_C(1000000000))

static struct {
    struct clock_pair now;
    struct consensus_leadership raft; /* As libraft has it by now. */
    struct lease_grant grant;         /* The last that was sent. */
    unsigned n_renews;
    struct lease_renew renew; /* The last that was sent. */
    struct agent *agent;
} world;

struct clock_pair __wrap_clock_pair_now(void);

struct clock_pair __wrap_clock_pair_now(void)
{
    return world.now;
}

/* ---- What the hooks lean on ---- */

void consensus_leadership_now(const struct consensus *c, struct consensus_leadership *ret)
{
    (void)c;
    *ret = world.raft;
}

void peer_send_grant(struct peer *p, node_id to, const struct lease_grant *grant)
{
    (void)p;
    assert_int_equal(to, OWNER);
    world.grant = *grant;
}

void peer_send_renew(struct peer *p, const struct lease_renew *renew)
{
    (void)p;
    world.n_renews++;
    world.renew = *renew;
}

void identity_saver_save(struct identity_saver *s, const struct identity *identity)
{
    (void)s;
    (void)identity;
}

void agent_guard_arm(struct agent *a)
{
    (void)a;
}

void agent_guard_close_epoch(struct agent *a, uint64_t epoch)
{
    (void)a;
    (void)epoch;
}

bool agent_guard_has_closed(const struct agent *a, uint64_t epoch)
{
    (void)a;
    (void)epoch;
    return false;
}

bool agent_guard_lets_renew(const struct agent *a)
{
    (void)a;
    return true;
}

void agent_mark_dirty(struct agent *a)
{
    (void)a;
}

void agent_on_renew_timer(uv_timer_t *timer)
{
    (void)timer;
}

/* ---- A voter of {1, 2, 3} ---- */

static void knows(struct consensus_leadership *l, uint64_t committed_index, uint8_t n_committed,
                  uint64_t voters_index, uint8_t n_voters)
{
    l->usable = true;
    l->committed_index = committed_index;
    l->n_committed = n_committed;
    l->voters_index = voters_index;
    l->n_voters = n_voters;
    for (uint8_t i = 0; i < VOTERS_MAX; i++) {
        l->committed[i] = i < n_committed ? i + 1U : 0;
        l->voters[i] = i < n_voters ? i + 1U : 0;
    }
}

static int enter(void **state)
{
    static uint64_t promise[LEASE_FILE_SIZE / sizeof(uint64_t)];
    struct agent *a = calloc(1, sizeof(*a));

    (void)state;
    assert_non_null(a);
    memset(&world, 0, sizeof(world));
    memset(promise, 0, sizeof(promise));
    world.now = (struct clock_pair){1000 * TTL_NS, 5000 * TTL_NS};
    world.agent = a;
    a->identity.id = NODE;
    a->identity.longest_grant_ms = TTL_NS / NS_PER_MS;
    a->dynamic.ttl_ms = TTL_NS / NS_PER_MS;
    a->runtime.instance = INSTANCE;
    a->runtime.promise = promise;
    a->consensus = (struct consensus *)a; /* Only that there is one. */
    lease_voter_init(&a->voter, NODE, a->runtime.boot_id, TTL_NS, (struct lease_time){0, 0});
    lease_owner_init(&a->owner, NODE, INSTANCE, 1);
    a->store.config_revision = 1;
    a->caught_up = true;
    knows(&world.raft, 1, 3, 1, 3);
    world.raft.level_index = 1;
    a->leadership = world.raft;
    agent_lease_on_primary(a, CHANGE_CONFIG);
    return 0;
}

static int leave(void **state)
{
    (void)state;
    free(world.agent);
    return 0;
}

static const struct lease_grant *ask(void)
{
    struct lease_renew renew = {.epoch = 5,
                                .owner = OWNER,
                                .instance = INSTANCE,
                                .round = 9,
                                .duration_ns = TTL_NS,
                                .voter_set_index = 1};

    agent_on_renew(world.agent, OWNER, &renew);
    return &world.grant;
}

static void a_grant_names_what_raft_has_logged_by_now(void **state)
{
    struct lease_image image;

    (void)state;
    assert_int_equal(ask()->verdict, LEASE_GRANTED);
    assert_int_equal(world.grant.n_sets, 1);

    knows(&world.raft, 1, 3, 7, 4); /* And no report of it was delivered. */
    assert_int_equal(ask()->verdict, LEASE_GRANTED);
    assert_int_equal(world.grant.n_sets, 2);
    assert_int_equal(world.grant.sets[1].index, 7);
    assert_int_equal(world.grant.sets[1].n, 4);
    assert_int_equal(lease_file_decode(world.agent->runtime.promise, NODE,
                                       world.agent->runtime.boot_id, &image),
                     LEASE_FILE_GOOD);
    assert_int_equal(image.n_sets, 2);
}

static void there_is_none_before_what_is_behind_the_set_was_told(void **state)
{
    struct agent *a = world.agent;

    (void)state;
    knows(&world.raft, 7, 4, 9, 3);
    world.raft.level_index = 7; /* In Raft; the commits of before it are still in the queue. */
    assert_int_equal(ask()->verdict, LEASE_REFUSED_BEHIND);
    assert_int_equal(ask()->verdict, LEASE_REFUSED_BEHIND);

    a->leadership = world.raft;
    a->leadership.level_index = 1;
    agent_lease_on_primary(a, 0);
    assert_int_equal(ask()->verdict, LEASE_REFUSED_BEHIND);

    a->leadership.level_index = 7;
    agent_lease_on_primary(a, 0);
    assert_int_equal(ask()->verdict, LEASE_GRANTED);
}

static void become_owner(void)
{
    struct agent *a = world.agent;

    a->store.primary = (struct store_primary){
        .epoch = 5, .has_owner = true, .owner_id = NODE, .instance = INSTANCE};
    agent_lease_on_primary(a, CHANGE_PRIMARY);
    assert_int_equal(lease_owner_take(&a->owner, agent_lease_now(), 5), LEASE_TAKEN);
}

/* Else the promise of one that is cut off would outlast its lease. */
static void an_owner_promises_itself_nothing_before_another_does(void **state)
{
    struct agent *a = world.agent;
    struct lease_grant grant;

    (void)state;
    become_owner();
    agent_lease_renew(a);
    assert_int_equal(world.n_renews, 1);
    assert_int_equal(a->voter.image.promise.epoch, 0);

    grant = (struct lease_grant){.epoch = 5,
                                 .instance = INSTANCE,
                                 .round = world.renew.round,
                                 .voter = OWNER,
                                 .granted_ns = TTL_NS,
                                 .highest_epoch = 5,
                                 .n_sets = 1,
                                 .sets = {a->voter.image.sets[0]}};
    agent_on_grant(a, OWNER, &grant);
    assert_int_equal(a->voter.image.promise.epoch, 5);
    assert_true(lease_owner_remaining_ns(&a->owner, agent_lease_now()) > 0);
    assert_true(a->has_renewed);
}

static void a_cluster_of_one_needs_nobody(void **state)
{
    struct agent *a = world.agent;

    (void)state;
    knows(&world.raft, 3, 1, 3, 1);
    world.raft.level_index = 3;
    a->leadership = world.raft;
    become_owner();
    agent_lease_renew(a);
    assert_true(lease_owner_remaining_ns(&a->owner, agent_lease_now()) > 0);
}

#define LEASE_TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEASE_TEST(a_grant_names_what_raft_has_logged_by_now),
        LEASE_TEST(there_is_none_before_what_is_behind_the_set_was_told),
        LEASE_TEST(an_owner_promises_itself_nothing_before_another_does),
        LEASE_TEST(a_cluster_of_one_needs_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
