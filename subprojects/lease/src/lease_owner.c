/*
 * The owner: asks for promises, counts them, knows until when it may act.
 *
 * Happy path: a round is begun every sixth of a lease; its send time is read before it is
 * sent; each grant is put into its round; when the round has a majority in
 * every set that matters, the deadline moves to send time + smallest grant - 1 %.
 *
 * Invariant: at the deadline, no promise of that majority is over yet, since
 * each was made after the send time, for at least as long, on a clock at most
 * 1 % faster. Whatever goes wrong only makes the deadline earlier: a lost answer
 * is no promise, one to a round we do not know has no send time, one to another
 * epoch is not ours, a clock that steps back ends everything.
 *
 * Rounds are judged one by one, never together: a voter may have lost its
 * memory between two of them.
 */
#include "lease_internal.h"

#include <string.h>

void lease_owner_init(struct lease_owner *o, uint64_t node_id, uint64_t instance,
                      uint64_t first_round)
{
    LEASE_ASSERT(node_id != 0 && instance != 0);

    memset(o, 0, sizeof(*o));
    o->node_id = node_id;
    o->instance = instance;
    o->next_round = first_round;
}

static void drop_rounds(struct lease_owner *o)
{
    for (size_t i = 0; i < LEASE_ROUNDS_MAX; i++) {
        o->rounds[i].used = false;
    }
    o->sent_any = false;
}

static void drop_lease(struct lease_owner *o)
{
    o->held = false;
    o->deadline = (struct lease_time){0};
    o->term_ns = 0;
}

/* Every reading of the clocks passes here. */
static void see(struct lease_owner *o, struct lease_time now)
{
    if (now.raw_ns < o->seen.raw_ns || now.boot_ns < o->seen.boot_ns) {
        /* The true time since any send time is unknown now. */
        o->clock_steps++;
        drop_lease(o);
        drop_rounds(o);
        o->since = now;
    }
    o->seen = now;
}

void lease_owner_on_ttl(struct lease_owner *o, uint64_t ttl_ns)
{
    LEASE_ASSERT(lease_ttl_is_valid(ttl_ns));

    o->ttl_ns = ttl_ns;
}

void lease_owner_on_sets(struct lease_owner *o, const struct lease_voter_set *committed,
                         const struct lease_voter_set *logged)
{
    (void)lease_sets_learn(o->sets, &o->n_sets, committed, logged); /* Nothing to write. */
}

void lease_owner_on_barrier(struct lease_owner *o)
{
    o->settled = true;
}

static void start_epoch(struct lease_owner *o, struct lease_time now, uint64_t epoch)
{
    drop_rounds(o);
    drop_lease(o);
    o->epoch = epoch;
    o->higher_epoch = 0;
    o->since = now;
}

enum lease_take lease_owner_take(struct lease_owner *o, struct lease_time now, uint64_t epoch)
{
    LEASE_ASSERT(epoch != 0);

    see(o, now);
    if (epoch == o->epoch) {
        return LEASE_TAKEN_ALREADY;
    }
    if (epoch < o->epoch || epoch <= o->closed_epoch || epoch < o->higher_epoch) {
        return LEASE_TAKE_STALE;
    }
    if (!o->settled) {
        return LEASE_TAKE_NOT_SETTLED;
    }
    start_epoch(o, now, epoch);
    return LEASE_TAKEN;
}

void lease_owner_continue(struct lease_owner *o, struct lease_time now, uint64_t epoch,
                          struct lease_time deadline, uint64_t term_ns)
{
    LEASE_ASSERT(epoch != 0);
    LEASE_ASSERT(o->epoch == 0 && o->closed_epoch == 0 && !o->settled);

    see(o, now);
    start_epoch(o, now, epoch);
    o->held = lease_left_owner_ns(deadline, now) > 0;
    if (o->held) {
        o->deadline = deadline;
        o->term_ns = term_ns;
    }
}

void lease_owner_drop(struct lease_owner *o)
{
    drop_rounds(o);
    drop_lease(o);
    o->closed_epoch = lease_max(o->closed_epoch, o->epoch);
    o->epoch = 0;
}

static bool may_renew(const struct lease_owner *o)
{
    return o->epoch != 0 && o->higher_epoch == 0 && o->ttl_ns != 0 && o->n_sets != 0;
}

bool lease_owner_begin_round(struct lease_owner *o, struct lease_time now,
                             struct lease_renew *ret_renew)
{
    struct lease_owner_round *r = &o->rounds[o->next_slot];

    if (!may_renew(o)) {
        return false;
    }
    see(o, now);
    r->used = true;
    r->id = o->next_round++;
    r->duration_ns = o->ttl_ns;
    r->sent = now;
    r->n_grants = 0;
    o->next_slot = (uint8_t)((o->next_slot + 1) % LEASE_ROUNDS_MAX);
    o->sent_any = true;
    o->sent_last = now;

    *ret_renew = (struct lease_renew){
        .epoch = o->epoch,
        .owner = o->node_id,
        .instance = o->instance,
        .round = r->id,
        .duration_ns = r->duration_ns,
        .voter_set_index = o->sets[0].index,
    };
    return true;
}

uint64_t lease_owner_next_round_ns(struct lease_owner *o, struct lease_time now)
{
    see(o, now);
    if (!may_renew(o)) {
        return UINT64_MAX;
    }
    if (!o->sent_any) {
        return 0;
    }
    return lease_sub(lease_min(o->ttl_ns, lease_owner_term_ns(o)) / 6,
                     lease_elapsed_owner_ns(o->sent_last, now));
}

/* Adds the members of a set that are not in `ids` yet, as far as there is room. */
static size_t add_members(uint64_t ids[LEASE_GRANTS_MAX], size_t n,
                          const struct lease_voter_set *set)
{
    for (uint8_t i = 0; i < set->n; i++) {
        size_t j = 0;

        while (j < n && ids[j] != set->ids[i]) {
            j++;
        }
        if (j == n && n < LEASE_GRANTS_MAX) {
            ids[n++] = set->ids[i];
        }
    }
    return n;
}

size_t lease_owner_targets(const struct lease_owner *o, uint64_t ret_ids[LEASE_GRANTS_MAX])
{
    size_t n = 0;

    for (uint8_t s = 0; s < o->n_sets; s++) {
        n = add_members(ret_ids, n, &o->sets[s]);
    }
    for (size_t i = 0; i < LEASE_ROUNDS_MAX; i++) {
        const struct lease_owner_round *r = &o->rounds[i];

        for (uint8_t g = 0; r->used && g < r->n_grants; g++) {
            for (uint8_t s = 0; s < r->grants[g].n_sets; s++) {
                n = add_members(ret_ids, n, &r->grants[g].sets[s]);
            }
        }
    }
    return n;
}

static struct lease_owner_round *find_round(struct lease_owner *o, uint64_t id)
{
    for (size_t i = 0; i < LEASE_ROUNDS_MAX; i++) {
        if (o->rounds[i].used && o->rounds[i].id == id) {
            return &o->rounds[i];
        }
    }
    if (lease_is_mutant(LEASE_MUTANT_UNKNOWN_ROUND)) {
        size_t last = (o->next_slot + LEASE_ROUNDS_MAX - 1U) % LEASE_ROUNDS_MAX;

        return o->rounds[last].used ? &o->rounds[last] : NULL;
    }
    return NULL;
}

static bool grant_is_valid(const struct lease_grant *g, const struct lease_owner_round *r)
{
    if (g->voter == 0 || (unsigned)g->verdict >= LEASE_VERDICTS ||
        !lease_sets_are_valid(g->sets, g->n_sets)) {
        return false;
    }
    if (g->verdict != LEASE_GRANTED) {
        return true;
    }
    return g->n_sets > 0 && g->granted_ns > 0 && g->granted_ns <= r->duration_ns &&
           g->highest_epoch <= g->epoch;
}

static bool majority_granted(const struct lease_owner_round *r, const struct lease_voter_set *set)
{
    unsigned n_granted = 0;

    for (uint8_t i = 0; i < r->n_grants; i++) {
        n_granted += lease_voter_set_has(set, r->grants[i].voter);
    }
    return 2 * n_granted > set->n ||
           (lease_is_mutant(LEASE_MUTANT_MINORITY) && 2 * n_granted + 1 >= set->n);
}

/* A majority in our last committed set and in every newer one that is known
 * here or to a granting voter. Two sets of one index (one of them was logged and
 * lost) count each for itself. */
static bool round_counts(const struct lease_owner *o, const struct lease_owner_round *r)
{
    for (uint8_t s = 0; s < o->n_sets; s++) {
        if (!majority_granted(r, &o->sets[s])) {
            return false;
        }
    }
    if (lease_is_mutant(LEASE_MUTANT_OWN_SET)) {
        return true;
    }
    for (uint8_t g = 0; g < r->n_grants; g++) {
        for (uint8_t s = 0; s < r->grants[g].n_sets; s++) {
            const struct lease_voter_set *set = &r->grants[g].sets[s];

            if (set->index > o->sets[0].index && !majority_granted(r, set)) {
                return false;
            }
        }
    }
    return o->n_sets > 0;
}

static uint64_t smallest_grant_ns(const struct lease_owner_round *r)
{
    uint64_t granted_ns = r->grants[0].granted_ns;

    for (uint8_t i = 1; i < r->n_grants; i++) {
        granted_ns = lease_is_mutant(LEASE_MUTANT_LARGER_GRANT)
                         ? lease_max(granted_ns, r->grants[i].granted_ns)
                         : lease_min(granted_ns, r->grants[i].granted_ns);
    }
    return granted_ns;
}

/* From the send time; at least 1 % of the smallest grant is given away. */
static struct lease_time round_deadline(const struct lease_owner *o,
                                        const struct lease_owner_round *r)
{
    uint64_t granted_ns = smallest_grant_ns(r);
    uint64_t drift_ns;

    drift_ns = lease_is_mutant(LEASE_MUTANT_NO_DRIFT) ? 0 : (granted_ns + 99) / 100;
    return lease_time_add(lease_is_mutant(LEASE_MUTANT_FROM_RECEIPT) ? o->seen : r->sent,
                          granted_ns - drift_ns);
}

static enum lease_owner_event note_grant(struct lease_owner *o, struct lease_owner_round *r,
                                         const struct lease_grant *g)
{
    struct lease_time deadline;

    for (uint8_t i = 0; i < r->n_grants; i++) {
        if (r->grants[i].voter == g->voter) {
            return LEASE_OWNER_DUPLICATE;
        }
    }
    if (r->n_grants == LEASE_GRANTS_MAX) {
        return LEASE_OWNER_NOTED; /* As good as lost: neither counts nor names sets. */
    }
    r->grants[r->n_grants++] = (struct lease_owner_grant){
        .voter = g->voter,
        .granted_ns = g->granted_ns,
        .n_sets = g->n_sets,
        .sets = {g->sets[0], g->sets[1]},
    };
    if (!round_counts(o, r)) {
        return LEASE_OWNER_NOTED;
    }
    deadline = round_deadline(o, r);
    if (lease_left_owner_ns(deadline, o->seen) <= lease_left_owner_ns(o->deadline, o->seen)) {
        return LEASE_OWNER_NOTED; /* The deadline moves forward only. */
    }
    o->held = true;
    o->deadline = deadline;
    o->term_ns = smallest_grant_ns(r);
    return LEASE_OWNER_COUNTED;
}

static enum lease_owner_event note_refusal(struct lease_owner *o, const struct lease_grant *g)
{
    if (g->highest_epoch <= o->epoch) {
        return LEASE_OWNER_REFUSED;
    }
    /* A voter knows only epochs that were committed. */
    o->higher_epoch = lease_max(o->higher_epoch, g->highest_epoch);
    o->settled = true;
    drop_rounds(o);
    return LEASE_OWNER_DEPOSED;
}

enum lease_owner_event lease_owner_on_grant(struct lease_owner *o, struct lease_time now,
                                            const struct lease_grant *grant)
{
    struct lease_owner_round *r;

    see(o, now);
    if (o->epoch == 0 || grant->epoch != o->epoch || grant->instance != o->instance) {
        return LEASE_OWNER_OTHER_EPOCH;
    }
    r = find_round(o, grant->round);
    if (r == NULL) {
        return LEASE_OWNER_UNKNOWN_ROUND;
    }
    if (!grant_is_valid(grant, r)) {
        return LEASE_OWNER_MALFORMED;
    }
    return grant->verdict == LEASE_GRANTED ? note_grant(o, r, grant) : note_refusal(o, grant);
}

uint64_t lease_owner_remaining_ns(struct lease_owner *o, struct lease_time now)
{
    see(o, now);
    return o->held ? lease_left_owner_ns(o->deadline, now) : 0;
}

uint64_t lease_owner_term_ns(const struct lease_owner *o)
{
    return o->term_ns != 0 ? o->term_ns : o->ttl_ns;
}

struct lease_time lease_owner_deadline(const struct lease_owner *o)
{
    return o->deadline;
}

uint64_t lease_owner_epoch(const struct lease_owner *o)
{
    return o->epoch;
}

bool lease_owner_is_settled(const struct lease_owner *o)
{
    return o->settled;
}

uint64_t lease_owner_higher_epoch(const struct lease_owner *o)
{
    return o->higher_epoch;
}

bool lease_owner_should_give_up(struct lease_owner *o, struct lease_time now, uint32_t n_barren)
{
    struct lease_time end;
    uint64_t without_ns;

    if (lease_owner_remaining_ns(o, now) > 0 || o->epoch == 0 || o->ttl_ns == 0) {
        return false;
    }
    /* Its end is reached on one clock, maybe not yet on the other. */
    end = o->held ? o->deadline : o->since;
    without_ns = lease_max(lease_sub(now.raw_ns, end.raw_ns), lease_sub(now.boot_ns, end.boot_ns));
    return without_ns >= lease_takeover_wait_ns(o->ttl_ns, n_barren);
}
