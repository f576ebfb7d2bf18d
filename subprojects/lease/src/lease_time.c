/*
 * Time and voter sets: the vocabulary the other files calculate in.
 *
 * A moment is kept on both clocks. For an owner it is reached when it is
 * reached on either, for a voter when it is reached on both. Ends are kept as
 * moments, not as start and duration, so that the later of two ends can be
 * taken on each clock by itself.
 */
#include "lease_internal.h"

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

struct lease_time lease_time_add(struct lease_time t, uint64_t duration_ns)
{
    return (struct lease_time){
        .raw_ns = add_saturating(t.raw_ns, duration_ns),
        .boot_ns = add_saturating(t.boot_ns, duration_ns),
    };
}

uint64_t lease_elapsed_owner_ns(struct lease_time since, struct lease_time now)
{
    if (now.raw_ns < since.raw_ns || now.boot_ns < since.boot_ns) {
        return UINT64_MAX; /* No clock to trust: as good as over. */
    }
    return lease_max(now.raw_ns - since.raw_ns, now.boot_ns - since.boot_ns);
}

uint64_t lease_elapsed_voter_ns(struct lease_time since, struct lease_time now)
{
    return lease_min(lease_sub(now.raw_ns, since.raw_ns), lease_sub(now.boot_ns, since.boot_ns));
}

uint64_t lease_left_owner_ns(struct lease_time deadline, struct lease_time now)
{
    return lease_min(lease_sub(deadline.raw_ns, now.raw_ns),
                     lease_sub(deadline.boot_ns, now.boot_ns));
}

uint64_t lease_left_voter_ns(struct lease_time until, struct lease_time now)
{
    if (lease_is_mutant(LEASE_MUTANT_ONE_CLOCK)) {
        return lease_sub(until.boot_ns, now.boot_ns);
    }
    return lease_max(lease_sub(until.raw_ns, now.raw_ns), lease_sub(until.boot_ns, now.boot_ns));
}

bool lease_ttl_is_valid(uint64_t ttl_ns)
{
    return ttl_ns >= LEASE_TTL_MIN_NS && ttl_ns <= LEASE_TTL_MAX_NS;
}

bool lease_voter_set_is_valid(const struct lease_voter_set *set)
{
    if (set->n == 0 || set->n > LEASE_VOTERS_MAX) {
        return false;
    }
    for (uint8_t i = 0; i < set->n; i++) {
        if (set->ids[i] == 0) {
            return false;
        }
        for (uint8_t j = 0; j < i; j++) {
            if (set->ids[i] == set->ids[j]) {
                return false;
            }
        }
    }
    return true;
}

bool lease_voter_set_has(const struct lease_voter_set *set, uint64_t id)
{
    for (uint8_t i = 0; i < set->n; i++) {
        if (set->ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* How many of `set` are in `other` too. */
static unsigned count_common(const struct lease_voter_set *set, const struct lease_voter_set *other)
{
    unsigned n = 0;

    for (uint8_t i = 0; i < set->n; i++) {
        n += lease_voter_set_has(other, set->ids[i]);
    }
    return n;
}

bool lease_voter_set_equals(const struct lease_voter_set *a, const struct lease_voter_set *b)
{
    return a->n == b->n && count_common(a, b) == a->n;
}

bool lease_voter_set_is_one_step(const struct lease_voter_set *set,
                                 const struct lease_voter_set *next)
{
    unsigned common = count_common(set, next);

    if (!lease_voter_set_is_valid(set) || !lease_voter_set_is_valid(next)) {
        return false;
    }
    return (common == set->n && common + 1 == next->n) ||
           (common == next->n && common + 1 == set->n);
}

static bool is_same_set(const struct lease_voter_set *a, const struct lease_voter_set *b)
{
    return a->index == b->index && lease_voter_set_equals(a, b);
}

bool lease_sets_learn(struct lease_voter_set sets[2], uint8_t *n_sets,
                      const struct lease_voter_set *committed, const struct lease_voter_set *logged)
{
    const struct lease_voter_set old[2] = {sets[0], sets[1]};
    uint8_t n_old = *n_sets;

    LEASE_ASSERT(lease_voter_set_is_valid(committed));
    LEASE_ASSERT(logged == NULL || lease_voter_set_is_valid(logged));

    /* What is committed stays committed: an older one comes from a replay. */
    if (n_old == 0 || committed->index >= sets[0].index) {
        sets[0] = *committed;
    }
    *n_sets = 1;
    if (logged != NULL && logged->index > sets[0].index) {
        sets[1] = *logged;
        *n_sets = 2;
    }
    return *n_sets != n_old || !is_same_set(&sets[0], &old[0]) ||
           (n_old == 2 && !is_same_set(&sets[1], &old[1]));
}

bool lease_sets_are_valid(const struct lease_voter_set sets[2], uint8_t n_sets)
{
    if (n_sets > 2) {
        return false;
    }
    for (uint8_t i = 0; i < n_sets; i++) {
        if (!lease_voter_set_is_valid(&sets[i])) {
            return false;
        }
    }
    return n_sets < 2 || sets[1].index > sets[0].index;
}
