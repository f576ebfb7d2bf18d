/*
 * The arbiter's sense of time: when it may propose a next epoch, and when a next
 * voter change.
 *
 * The first is a guess that only costs time when wrong: a new owner gets its
 * lease from the voters or not at all. The waits keep the guess from being made
 * over and over while a slow owner is about to get its lease. The second is a
 * matter of safety: two voter changes within one lease could give two sets
 * whose majorities do not meet.
 */
#include "lease_internal.h"

/* The last report of a voter, or NULL. */
static const struct lease_report *find_report(const struct lease_arbiter *a, uint64_t voter)
{
    const struct lease_report *found = NULL;

    for (size_t i = 0; i < a->n_reports; i++) {
        if (a->reports[i].voter == voter) {
            found = &a->reports[i];
        }
    }
    return found;
}

static bool is_free(const struct lease_arbiter *a, uint64_t voter, struct lease_time now)
{
    const struct lease_report *r = find_report(a, voter);

    if (r == NULL || r->state != LEASE_PROMISE_NONE) {
        return false; /* Silence and quarantine count as live. */
    }
    if (r->received.raw_ns < a->leader_since.raw_ns ||
        r->received.boot_ns < a->leader_since.boot_ns) {
        return false; /* Said to us when we did not decide yet. */
    }
    return lease_elapsed_owner_ns(r->received, now) <= 2 * a->status_period_ns;
}

static bool majority_of_set_is_free(const struct lease_arbiter *a,
                                    const struct lease_voter_set *set, struct lease_time now)
{
    unsigned n_free = 0;

    for (uint8_t i = 0; i < set->n; i++) {
        n_free += is_free(a, set->ids[i], now);
    }
    return 2 * n_free > set->n;
}

uint64_t lease_takeover_wait_ns(uint64_t ttl_ns, uint32_t n_barren)
{
    LEASE_ASSERT(lease_ttl_is_valid(ttl_ns));

    return n_barren >= 3 ? 4 * ttl_ns : (ttl_ns / 2) << n_barren;
}

bool lease_takeover_majority_is_free(const struct lease_arbiter *a, struct lease_time now)
{
    LEASE_ASSERT(lease_voter_set_is_valid(a->committed));
    LEASE_ASSERT(a->logged == NULL || lease_voter_set_is_valid(a->logged));
    LEASE_ASSERT(a->status_period_ns <= LEASE_TTL_MAX_NS);

    return majority_of_set_is_free(a, a->committed, now) &&
           (a->logged == NULL || majority_of_set_is_free(a, a->logged, now));
}

enum lease_takeover lease_takeover_check(const struct lease_arbiter *a, struct lease_time now)
{
    if (a->released) {
        return LEASE_TAKEOVER_RELEASED;
    }
    if (!lease_takeover_majority_is_free(a, now)) {
        return LEASE_TAKEOVER_PROMISED;
    }
    if (lease_elapsed_voter_ns(a->epoch_applied, now) <
        lease_takeover_wait_ns(a->ttl_ns, a->n_barren)) {
        return LEASE_TAKEOVER_EARLY;
    }
    return LEASE_TAKEOVER_EXPIRED;
}

uint64_t lease_voter_change_wait_ns(struct lease_time now, struct lease_time leader_since,
                                    const struct lease_time *changed, uint64_t ttl_max_ns)
{
    uint64_t elapsed_ns = lease_elapsed_voter_ns(leader_since, now);

    if (changed != NULL) {
        elapsed_ns = lease_min(elapsed_ns, lease_elapsed_voter_ns(*changed, now));
    }
    return lease_sub(ttl_max_ns, elapsed_ns);
}
