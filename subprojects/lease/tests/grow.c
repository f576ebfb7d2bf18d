/*
 * An owner that does not hear that the voters change, against one that does.
 *
 * The set grows from three to five and shrinks again, one voter at a time, at
 * random. Node 1 owns epoch 1 and knows the first set for ever; node 2 is made
 * owner of epoch 2 at some time and knows the newest set that anybody logged.
 * Who hears node 1, node 2 and the Raft leader changes at random, for long
 * enough that several changes fit in. A change is committed when a majority
 * of the new set has logged it, and followed by the next after ttl_max.
 *
 * A voter that hears the Raft leader logs what there is at once, and applies it, epoch 2
 * with it, some time or never: a later leader that does not know how far the log is
 * committed may send it all. Checked after every step: not both have a live lease, and
 * node 1 has none any more once node 2 had one.
 *
 * Returns 0 if that holds; compiled with a mutant, if it does not.
 */
#include "lease_internal.h"

#include <stdio.h>
#include <string.h>

#define N_NODES   5
#define STEPS_MAX 300
#define SECOND    UINT64_C(1000000000)
#define TTL       SECOND
#define N_WORLDS  20000

static const uint8_t boot_id[16] = {1};

static struct world {
    struct lease_time now;
    struct lease_voter voters[N_NODES + 1];
    struct lease_owner deaf;
    struct lease_owner hearing;
    struct lease_voter_set sets[STEPS_MAX + 1];
    size_t n_sets;
    bool is_committed;          /* The last set; all others are. */
    struct lease_time since;    /* When it was. */
    size_t known[N_NODES + 1];  /* How many sets each node has logged. */
    bool hears[N_NODES + 1][3]; /* Epoch 1's owner, epoch 2's, the Raft leader. */
    bool applies[N_NODES + 1];
    bool is_given; /* Epoch 2: it is before the last set in the log. */
    bool used;
    size_t n_changes;
} w;

static uint64_t rng = UINT64_C(0x2545f4914f6cdd1d);
static size_t n_deaf_leases;
static size_t n_hearing_leases;
static size_t n_changes;

static uint64_t draw(uint64_t below)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (rng >> 11) % below;
}

/* What is told where all sets are logged. */
static const struct lease_voter_set *committed_set(void)
{
    return &w.sets[w.n_sets - (w.is_committed ? 1 : 2)];
}

static const struct lease_voter_set *logged_set(void)
{
    return w.is_committed ? NULL : &w.sets[w.n_sets - 1];
}

static void begin_world(void)
{
    memset(&w, 0, sizeof(w));
    w.now = (struct lease_time){100 * SECOND, 200 * SECOND};
    w.sets[0] = (struct lease_voter_set){.index = 1, .n = 3, .ids = {1, 2, 3}};
    w.n_sets = 1;
    w.is_committed = true;
    for (uint64_t id = 1; id <= N_NODES; id++) {
        struct lease_voter *v = &w.voters[id];

        lease_voter_init(v, id, boot_id, TTL, (struct lease_time){0});
        lease_voter_on_ttl(v, w.now, TTL);
        lease_voter_on_barrier(v);
        LEASE_ASSERT(lease_voter_on_sets(v, &w.sets[0], NULL));
        w.known[id] = 1;
        w.hears[id][0] = true;
        w.hears[id][2] = true;
    }
    lease_owner_init(&w.deaf, 1, 11, draw(1U << 30));
    lease_owner_init(&w.hearing, 2, 22, draw(1U << 30));
    lease_owner_on_barrier(&w.deaf);
    lease_owner_on_barrier(&w.hearing);
    lease_owner_on_ttl(&w.deaf, TTL);
    lease_owner_on_ttl(&w.hearing, TTL);
    lease_owner_on_sets(&w.deaf, &w.sets[0], NULL);
    LEASE_ASSERT(lease_owner_take(&w.deaf, w.now, 1) == LEASE_TAKEN);
}

static void change_voters(void)
{
    struct lease_voter_set set = w.sets[w.n_sets - 1];
    uint64_t id = 1 + draw(N_NODES);
    uint8_t i = 0;
    uint64_t wait_ns = lease_voter_change_wait_ns(w.now, (struct lease_time){0},
                                                  w.n_sets > 1 ? &w.since : NULL, TTL);

    if (!w.is_committed || (wait_ns > 0 && !lease_is_mutant(LEASE_MUTANT_HASTE))) {
        return;
    }
    while (i < set.n && set.ids[i] != id) {
        i++;
    }
    if (i == set.n) {
        set.ids[set.n++] = id;
    } else if (set.n > 3) {
        set.ids[i] = set.ids[--set.n];
    } else {
        return;
    }
    set.index++;
    LEASE_ASSERT(lease_voter_set_is_one_step(&w.sets[w.n_sets - 1], &set));
    w.sets[w.n_sets++] = set;
    w.is_committed = false;
    n_changes++;
}

/* Everything that is committed, and that it is. */
static void apply(uint64_t id)
{
    struct lease_voter *v = &w.voters[id];

    if (w.is_given) {
        lease_voter_on_epoch(v, 2, 2, 22);
    }
    (void)!lease_voter_on_sets(v, committed_set(), logged_set());
    (void)!lease_voter_on_level(v, committed_set()->index);
}

/* Its newest set may not be known to be committed: then the one before is. */
static void log_sets(uint64_t id)
{
    const struct lease_voter_set *last = &w.sets[w.n_sets - 1];

    w.known[id] = w.n_sets;
    if (w.n_sets > 1) {
        (void)!lease_voter_on_sets(&w.voters[id], last - 1, last);
    }
}

/* Those who hear the Raft leader log what it has; node 1 as a voter too. */
static void replicate(void)
{
    const struct lease_voter_set *set = &w.sets[w.n_sets - 1];
    unsigned n = 0;

    for (uint64_t id = 1; id <= N_NODES; id++) {
        if (w.hears[id][2] && w.known[id] < w.n_sets) {
            log_sets(id);
        }
        if (w.hears[id][2] && w.applies[id]) {
            apply(id);
        }
    }
    for (uint8_t i = 0; i < set->n; i++) {
        n += w.known[set->ids[i]] == w.n_sets;
    }
    if (!w.is_committed && 2 * n > set->n) {
        w.is_committed = true;
        w.since = w.now;
    }
}

/* Returns whether the deadline moved. */
static bool renew(struct lease_owner *o, unsigned who)
{
    struct lease_renew renewal;
    bool counted = false;

    if (!lease_owner_begin_round(o, w.now, &renewal)) {
        return false;
    }
    /* Everybody, not only targets: an owner may ask whom it likes. */
    for (uint64_t id = 1; id <= N_NODES; id++) {
        struct lease_answer answer;

        if (!w.hears[id][who]) {
            continue;
        }
        lease_voter_on_renew(&w.voters[id], w.now, &renewal, &answer);
        counted |= lease_owner_on_grant(o, w.now, &answer.grant) == LEASE_OWNER_COUNTED;
    }
    return counted;
}

static void step(void)
{
    w.now = lease_time_add(w.now, draw(SECOND / 5));
    for (uint64_t id = 1; id <= N_NODES; id++) {
        for (unsigned who = 0; who < 3; who++) {
            w.hears[id][who] = draw(25) == 0 ? draw(2) : w.hears[id][who];
        }
        w.applies[id] = draw(25) == 0 ? draw(2) : w.applies[id];
    }
    change_voters();
    replicate();
    if (draw(60) == 0) {
        w.is_given = true;
        (void)!lease_owner_take(&w.hearing, w.now, 2);
    }
    lease_owner_on_sets(&w.hearing, committed_set(), logged_set());
    n_deaf_leases += renew(&w.deaf, 0);
    n_hearing_leases += renew(&w.hearing, 1);
}

static bool is_good(void)
{
    w.used |= lease_owner_remaining_ns(&w.hearing, w.now) > 0;
    return !w.used || lease_owner_remaining_ns(&w.deaf, w.now) == 0;
}

int main(void)
{
    bool good = true;
    unsigned n_worlds = 0;

    for (; n_worlds < N_WORLDS && good; n_worlds++) {
        begin_world();
        for (unsigned i = 0; i < STEPS_MAX && good; i++) {
            step();
            good = is_good();
        }
    }
    printf("%u worlds, %zu voter changes, rounds counted %zu and %zu: %s\n", n_worlds, n_changes,
           n_deaf_leases, n_hearing_leases, good ? "all good" : "broken");
    return good == (LEASE_MUTANT == LEASE_MUTANT_NONE) ? 0 : 1;
}
