/*
 * What the unit tests share: cmocka with its prerequisites, short names for
 * times, and builders of common situations.
 */
#ifndef LEASE_TESTING_H
#define LEASE_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lease.h"

#define MS     UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)
#define TTL    (3 * SECOND)

static const uint8_t this_boot[16] = "this boot";

/* A moment, the same distance from the start of the test on both clocks. */
static inline struct lease_time at(uint64_t ns)
{
    return (struct lease_time){.raw_ns = 1000 * SECOND + ns, .boot_ns = 5000 * SECOND + ns};
}

/* {1, 2, 3} as of index 10. */
static inline struct lease_voter_set three(void)
{
    return (struct lease_voter_set){.index = 10, .n = 3, .ids = {1, 2, 3}};
}

/* Owner 7 with instance 70 asks for a ttl. */
static inline struct lease_renew renewal(uint64_t epoch)
{
    return (struct lease_renew){.epoch = epoch,
                                .owner = 7,
                                .instance = 70,
                                .round = 500,
                                .duration_ns = TTL,
                                .voter_set_index = 10};
}

/* A voter that is out of quarantine and knows ttl and set, at(0). */
static inline struct lease_voter ready_voter(void)
{
    struct lease_voter v;
    struct lease_voter_set set = three();

    lease_voter_init(&v, 1, this_boot, TTL, (struct lease_time){0});
    lease_voter_on_barrier(&v);
    lease_voter_on_ttl(&v, at(0), TTL);
    assert_true(lease_voter_on_sets(&v, &set, NULL));
    assert_true(lease_voter_on_level(&v, set.index));
    return v;
}

/* Node 7, instance 70, owner of epoch 5 since at(0), without a lease. */
static inline struct lease_owner ready_owner(void)
{
    struct lease_owner o;
    struct lease_voter_set set = three();

    lease_owner_init(&o, 7, 70, 500);
    lease_owner_on_barrier(&o);
    lease_owner_on_ttl(&o, TTL);
    lease_owner_on_sets(&o, &set, NULL);
    assert_int_equal(lease_owner_take(&o, at(0), 5), LEASE_TAKEN);
    return o;
}

/* A voter's grant of what was asked. */
static inline struct lease_grant granted(const struct lease_renew *r, uint64_t voter)
{
    return (struct lease_grant){.epoch = r->epoch,
                                .instance = r->instance,
                                .round = r->round,
                                .voter = voter,
                                .granted_ns = r->duration_ns,
                                .highest_epoch = r->epoch,
                                .n_sets = 1,
                                .sets = {three()}};
}

#endif
