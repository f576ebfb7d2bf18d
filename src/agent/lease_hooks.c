/*
 * The lease library (subprojects/lease) between the clocks, the peers and the
 * promise file. This node is always a voter of its own cluster and may be the
 * owner; both halves talk to each other directly, to others through peer/.
 *
 * Order that matters (design.md section 5): a promise is in the mapped file
 * before its answer is queued; a round's send time is read before its first
 * byte is queued.
 */
#include "agent/agent_state.h"
#include "base/log.h"

struct lease_time agent_lease_now(void)
{
    struct clock_pair now = clock_pair_now();

    return (struct lease_time){now.raw_ns, now.boot_ns};
}

/* Nothing here fails: doubt means quarantine. */
void agent_lease_init(struct agent *a)
{
    struct lease_time now = agent_lease_now();
    struct lease_image image;
    enum lease_file_verdict verdict;

    lease_voter_init(&a->voter, a->identity.id, a->runtime.boot_id,
                     a->identity.longest_grant_ms * NS_PER_MS, now);
    verdict = lease_file_decode(a->runtime.promise, a->identity.id, a->runtime.boot_id, &image);
    if (verdict == LEASE_FILE_GOOD && lease_voter_resume(&a->voter, &image, now)) {
        a->resumed = true;
        log_info("Lease promises of this boot are known. promise_epoch=%llu",
                 (unsigned long long)image.promise.epoch);
    } else {
        log_info("Lease promises are in quarantine. file=\"%s\" quarantine_ms=%llu",
                 lease_file_verdict_name(verdict),
                 (unsigned long long)(lease_voter_ttl_max_ns(&a->voter) / NS_PER_MS));
    }
    /* What the process before this one owned the guard tells: guard_hooks.c. */
    lease_owner_init(&a->owner, a->identity.id, a->runtime.instance, rng_system());
}

/* Keeps the promise file up to date outside of answers; saves waiting after a
 * restart, is not needed for safety. */
static void write_promise_file(struct agent *a)
{
    struct lease_image image;

    if (lease_voter_image(&a->voter, agent_lease_now(), &image)) {
        lease_file_encode(a->runtime.promise, &image);
    }
}

static void ask_longest(struct agent *a, uint64_t longest_ns)
{
    if (longest_ns == 0 || longest_ns == a->longest_asked_ns) {
        return;
    }
    a->longest_asked_ns = longest_ns;
    a->identity.longest_grant_ms = (longest_ns + NS_PER_MS - 1) / NS_PER_MS;
    identity_saver_save(a->saver, &a->identity);
}

void agent_lease_longest_written(struct agent *a)
{
    if (a->longest_asked_ns != 0 &&
        a->durable.longest_grant_ms * NS_PER_MS >= a->longest_asked_ns) {
        lease_voter_longest_written(&a->voter, a->longest_asked_ns);
        a->longest_asked_ns = 0;
    }
}

static void to_set(uint64_t index, const node_id *ids, uint8_t n, struct lease_voter_set *set)
{
    *set = (struct lease_voter_set){.index = index, .n = n};
    for (uint8_t i = 0; i < n; i++) {
        set->ids[i] = ids[i];
    }
}

struct named_sets {
    struct lease_voter_set committed;
    struct lease_voter_set logged;
    bool has_logged;
};

/* False: none is known yet. */
static bool name_sets(const struct consensus_leadership *l, struct named_sets *ret)
{
    to_set(l->committed_index, l->committed, l->n_committed, &ret->committed);
    to_set(l->voters_index, l->voters, l->n_voters, &ret->logged);
    ret->has_logged = l->voters_index > l->committed_index && l->n_voters > 0;
    return l->n_committed > 0;
}

static void tell_voter(struct agent *a, const struct named_sets *sets)
{
    if (lease_voter_on_sets(&a->voter, &sets->committed, sets->has_logged ? &sets->logged : NULL)) {
        write_promise_file(a);
    }
}

/* Raft may have told another node by now that it has a set: a grant must name it. */
static void tell_sets_of_now(struct agent *a)
{
    struct consensus_leadership l;
    struct named_sets sets;

    if (a->consensus != NULL) {
        consensus_leadership_now(a->consensus, &l);
        if (name_sets(&l, &sets)) {
            tell_voter(a, &sets);
        }
    }
}

/* The voter's answer to a renewal: the sets it names, the promise file, then the answer. */
static void answer(struct agent *a, const struct lease_renew *renew, struct lease_grant *ret_grant)
{
    struct lease_answer answer;
    struct lease_time now = agent_lease_now();

    tell_sets_of_now(a);
    lease_voter_on_renew(&a->voter, now, renew, &answer);
    if (answer.write_file) {
        write_promise_file(a);
    }
    ask_longest(a, answer.write_longest_ns);
    *ret_grant = answer.grant;
}

static void take_grant(struct agent *a, const struct lease_grant *grant)
{
    enum lease_owner_event event = lease_owner_on_grant(&a->owner, agent_lease_now(), grant);

    if (event == LEASE_OWNER_COUNTED) {
        a->has_renewed = true;
        a->stats.n_renewals++;
        agent_guard_arm(a); /* Nothing counts on the new deadline before it is confirmed. */
    }
    if (event == LEASE_OWNER_COUNTED || event == LEASE_OWNER_DEPOSED) {
        agent_mark_dirty(a);
    }
    if (event == LEASE_OWNER_REFUSED || event == LEASE_OWNER_DEPOSED) {
        a->stats.n_refusals++;
        log_debug("A voter refused to renew the lease. voter=%llx why=\"%s\" highest_epoch=%llu",
                  (unsigned long long)grant->voter, lease_verdict_name(grant->verdict),
                  (unsigned long long)grant->highest_epoch);
    }
}

void agent_on_renew(void *data, node_id from, const struct lease_renew *renew)
{
    struct agent *a = data;
    struct lease_grant grant;

    if (renew->owner != from) {
        return; /* Nobody renews for another. */
    }
    answer(a, renew, &grant);
    peer_send_grant(a->peer, from, &grant);
}

static void grant_to_self(struct agent *a, const struct lease_renew *renew)
{
    struct lease_renew copy = *renew; /* It may be the one that is cleared. */
    struct lease_grant grant;

    a->own_renew.round = 0;
    answer(a, &copy, &grant);
    take_grant(a, &grant);
}

void agent_on_grant(void *data, node_id from, const struct lease_grant *grant)
{
    struct agent *a = data;

    if (grant->voter != from) {
        return;
    }
    take_grant(a, grant);
    if (grant->verdict == LEASE_GRANTED && grant->round == a->own_renew.round) {
        grant_to_self(a, &a->own_renew);
    }
}

/* One round: to every peer (each knows whether it is a voter), and to ourselves. */
void agent_lease_renew(struct agent *a)
{
    struct lease_renew renew;
    struct lease_time now = agent_lease_now();

    if (!lease_owner_begin_round(&a->owner, now, &renew)) {
        return;
    }
    a->stats.n_rounds++;
    peer_send_renew(a->peer, &renew);
    /* Our own promise follows that of another: made by an owner that is cut off it would
     * outlast its lease, or have no end at restart after restart, and rule `adopted`
     * trusts it. */
    a->own_renew = renew;
    if (a->voter.image.sets[0].n == 1) {
        grant_to_self(a, &renew);
    }
}

static void tell_sets(struct agent *a)
{
    const struct consensus_leadership *l = &a->leadership;
    struct named_sets sets;

    if (!name_sets(l, &sets)) {
        return;
    }
    tell_voter(a, &sets);
    lease_owner_on_sets(&a->owner, &sets.committed, sets.has_logged ? &sets.logged : NULL);
    if (lease_voter_on_level(&a->voter, l->level_index)) {
        write_promise_file(a);
    }
}

void agent_lease_on_primary(struct agent *a, unsigned changes)
{
    const struct store_primary *primary = &a->store.primary;

    tell_sets(a);
    /* What the store said in the process before us is better than the local file. */
    if ((changes & CHANGE_CONFIG) && (a->store.config_revision != 0 || !a->resumed)) {
        lease_voter_on_ttl(&a->voter, agent_lease_now(), a->dynamic.ttl_ms * NS_PER_MS);
        lease_owner_on_ttl(&a->owner, a->dynamic.ttl_ms * NS_PER_MS);
    }
    if ((changes & CHANGE_PRIMARY) && primary->epoch != 0) {
        lease_voter_on_epoch(&a->voter, primary->epoch, primary->owner_id, primary->instance);
        if (!primary->has_owner) {
            lease_voter_on_release(&a->voter, primary->epoch);
        }
        write_promise_file(a);
    }
    if (a->caught_up && !lease_owner_is_settled(&a->owner)) {
        lease_voter_on_barrier(&a->voter);
        lease_owner_on_barrier(&a->owner);
    }
}

static bool owns_present_epoch(const struct agent *a)
{
    const struct store_primary *primary = &a->store.primary;

    return primary->has_owner && primary->owner_id == a->identity.id &&
           primary->instance == a->runtime.instance;
}

/* Before the release is proposed: the next process must not go on with it. */
void agent_lease_give_up(struct agent *a)
{
    uint64_t epoch = lease_owner_epoch(&a->owner);

    if (epoch != 0) {
        agent_guard_close_epoch(a, epoch);
        lease_owner_drop(&a->owner);
        lease_voter_on_release(&a->voter, epoch);
        write_promise_file(a);
    }
}

/* Follows the decision: takes the epoch the store gave us, or drops it. One that an agent
 * before this one gave up, and whose release got lost, is not taken again: without a lease
 * it is released once more, like any other (rule no-lease). */
static void follow_decision(struct agent *a)
{
    if (a->decision.drop_lease) {
        agent_lease_give_up(a);
    } else if (a->decision.renew_lease && owns_present_epoch(a) &&
               lease_owner_epoch(&a->owner) != a->store.primary.epoch &&
               !agent_guard_has_closed(a, a->store.primary.epoch)) {
        enum lease_take take =
            lease_owner_take(&a->owner, agent_lease_now(), a->store.primary.epoch);

        if (take == LEASE_TAKEN) {
            log_info("Asking the voters for the lease. epoch=%llu",
                     (unsigned long long)a->store.primary.epoch);
        }
    }
}

/* Before Raft has told more a lease goes on for a primary that runs, and for nothing
 * else: nobody would take over from one that is gone. */
static bool may_renew(const struct agent *a)
{
    const struct view *v = &a->view;

    if (!agent_guard_lets_renew(a)) {
        return false;
    }
    return !a->continued || a->caught_up ||
           (v->pg.postmaster_alive && v->self.status.pg_role != PG_ROLE_STANDBY);
}

/* The first round of a restarted agent reached nobody; the next would come a ttl/6 later,
 * and agents that are restarted more often than that would let the lease run out. */
void agent_lease_on_peer_up(struct agent *a)
{
    if (!a->has_renewed && may_renew(a)) {
        agent_lease_renew(a);
    }
}

static void note_change(struct agent *a, bool live, uint64_t now_ms)
{
    if (live == a->lease_was_live) {
        return;
    }
    a->lease_was_live = live;
    if (live) {
        a->live_since_ms = now_ms;
        log_info("The lease is held. epoch=%llu", (unsigned long long)lease_owner_epoch(&a->owner));
    } else {
        a->live_since_ms = 0;
        log_warning("The lease is over. epoch=%llu",
                    (unsigned long long)lease_owner_epoch(&a->owner));
    }
}

void agent_lease_tick(struct agent *a, uint64_t now_ms)
{
    struct lease_time now = agent_lease_now();
    uint64_t next_ns;

    follow_decision(a);
    ask_longest(a, lease_voter_longest_wanted_ns(&a->voter, now));
    note_change(a, lease_owner_remaining_ns(&a->owner, now) > 0, now_ms);
    if (!owns_present_epoch(a) || a->lease_was_live) {
        a->wanted_since_ms = 0; /* Also after it was given up: the release may have got lost. */
    } else if (a->wanted_since_ms == 0) {
        a->wanted_since_ms = now_ms;
    }
    next_ns = lease_owner_next_round_ns(&a->owner, now);
    if (!may_renew(a)) {
        next_ns = UINT64_MAX; /* The tick that sees PostgreSQL comes here again. */
    } else if (next_ns == 0) {
        agent_lease_renew(a);
        next_ns = lease_owner_next_round_ns(&a->owner, agent_lease_now());
    }
    if (next_ns != UINT64_MAX) {
        uv_update_time(&a->loop);
        uv_timer_start(&a->renew_timer, agent_on_renew_timer, next_ns / NS_PER_MS + 1, 0);
    } else {
        uv_timer_stop(&a->renew_timer);
    }
}
