/*
 * Voters that have logged every change of voters and applied nothing.
 *
 * Node 1 owns epoch 1 and knows the first set, {1, 2, 3}. Epoch 2, of node 2, is
 * committed by {1, 2, 3, 4, 5} without 1 and 3 having applied it, and has its lease
 * there from 2, 4 and 5. Then 4 and 5 go, 6 comes and goes. Nodes 1, 3 and 6 have all
 * of that in their logs: whatever they name, they are a majority of it, and of the
 * first set. What they lack is epoch 2.
 *
 * Returns 0 if node 1 gets no lease any more; compiled with the mutant, if it does.
 */
#include "lease_internal.h"

#include <stdio.h>

#define N_NODES 6
#define SECOND  UINT64_C(1000000000)
#define TTL     SECOND

static const uint8_t boot_id[16] = {1};

/* The indexes leave room for what is between them: epoch 2 is at 5. */
static const struct lease_voter_set sets[] = {
    {.index = 1, .n = 3, .ids = {1, 2, 3}},        {.index = 3, .n = 4, .ids = {1, 2, 3, 4}},
    {.index = 4, .n = 5, .ids = {1, 2, 3, 4, 5}},  {.index = 6, .n = 4, .ids = {1, 2, 3, 5}},
    {.index = 7, .n = 3, .ids = {1, 2, 3}},        {.index = 8, .n = 4, .ids = {1, 2, 3, 6}},
    {.index = 9, .n = 3, .ids = {1, 2, 3}},
};
#define N_SETS (sizeof(sets) / sizeof(sets[0]))

static struct lease_voter voters[N_NODES + 1];
static struct lease_time now = {100 * SECOND, 200 * SECOND};

static void begin_voters(void)
{
    for (uint64_t id = 1; id <= N_NODES; id++) {
        lease_voter_init(&voters[id], id, boot_id, TTL, (struct lease_time){0});
        lease_voter_on_ttl(&voters[id], now, TTL);
        lease_voter_on_barrier(&voters[id]);
        LEASE_ASSERT(lease_voter_on_sets(&voters[id], &sets[0], NULL));
    }
}

static void begin_owner(struct lease_owner *o, uint64_t id, const struct lease_voter_set *known)
{
    lease_owner_init(o, id, id, 1);
    lease_owner_on_barrier(o);
    lease_owner_on_ttl(o, TTL);
    lease_owner_on_sets(o, known, NULL);
    LEASE_ASSERT(lease_owner_take(o, now, id) == LEASE_TAKEN);
}

static bool renew(struct lease_owner *o, const uint64_t *ids, size_t n)
{
    struct lease_renew renewal;
    bool counted = false;

    LEASE_ASSERT(lease_owner_begin_round(o, now, &renewal));
    for (size_t i = 0; i < n; i++) {
        struct lease_answer answer;

        lease_voter_on_renew(&voters[ids[i]], now, &renewal, &answer);
        printf("epoch %u, voter %u: %s\n", (unsigned)renewal.epoch, (unsigned)ids[i],
               lease_verdict_name(answer.grant.verdict));
        counted |= lease_owner_on_grant(o, now, &answer.grant) == LEASE_OWNER_COUNTED;
    }
    return counted;
}

int main(void)
{
    static const uint64_t those_who_know[] = {2, 4, 5};
    static const uint64_t those_behind[] = {1, 3, 6};
    struct lease_owner deaf;
    struct lease_owner present;
    bool is_second;

    begin_voters();
    begin_owner(&deaf, 1, &sets[0]);
    begin_owner(&present, 2, &sets[2]);
    for (size_t i = 0; i < 3; i++) {
        struct lease_voter *v = &voters[those_who_know[i]];

        LEASE_ASSERT(lease_voter_on_sets(v, &sets[2], NULL));
        LEASE_ASSERT(lease_voter_on_level(v, sets[2].index));
    }
    LEASE_ASSERT(renew(&present, those_who_know, 3)); /* Else this shows nothing. */

    now = lease_time_add(now, N_SETS * TTL); /* The distance between two changes. */
    for (size_t i = 0; i < 3; i++) {
        LEASE_ASSERT(lease_voter_on_sets(&voters[those_behind[i]], &sets[N_SETS - 2],
                                         &sets[N_SETS - 1]));
    }
    is_second = renew(&deaf, those_behind, 3);
    printf("%s\n", is_second ? "a lease of epoch 1 after one of epoch 2" : "good");
    return is_second == (LEASE_MUTANT != LEASE_MUTANT_NONE) ? 0 : 1;
}
