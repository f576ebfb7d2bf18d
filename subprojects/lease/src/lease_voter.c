/*
 * The voter: makes promises and keeps them.
 *
 * Invariant: while a grant of (epoch, instance) that this voter ever made is
 * not over, on the slower of its clocks, it grants nothing to anybody else.
 * Everything here serves that: a promise only grows (an answer that was sent
 * cannot be called back), a longer grant than ever is made only after the
 * identity file says so (it is the length of the quarantine of a voter that
 * lost its memory), and a voter without its memory is silent.
 *
 * The identity file holds one number and two of ours describe it, since it is
 * written while renewals go on. floor_ns is what it surely says at least, now and
 * after any write under way; grants stay below it. file_ns is what it said
 * last; if that is not what it should say, a write is wanted.
 */
#include "lease_internal.h"

#include <string.h>

static const char *const verdict_names[LEASE_VERDICTS] = {
    [LEASE_GRANTED] = "granted",
    [LEASE_REFUSED_MALFORMED] = "malformed",
    [LEASE_REFUSED_EPOCH] = "lower epoch",
    [LEASE_REFUSED_RELEASED] = "released epoch",
    [LEASE_REFUSED_INSTANCE] = "other instance",
    [LEASE_REFUSED_QUARANTINE] = "quarantine",
    [LEASE_REFUSED_PROMISED] = "promised to another",
    [LEASE_REFUSED_NO_TTL] = "no ttl known",
    [LEASE_REFUSED_NO_VOTERS] = "no voter set known",
    [LEASE_REFUSED_UNWRITTEN] = "longest grant not written",
    [LEASE_REFUSED_BEHIND] = "behind its voter sets",
};

const char *lease_verdict_name(enum lease_verdict verdict)
{
    return (unsigned)verdict < LEASE_VERDICTS ? verdict_names[verdict] : "unknown";
}

void lease_voter_init(struct lease_voter *v, uint64_t node_id, const uint8_t boot_id[16],
                      uint64_t longest_ns, struct lease_time started)
{
    LEASE_ASSERT(node_id != 0);

    memset(v, 0, sizeof(*v));
    v->image.node_id = node_id;
    memcpy(v->image.boot_id, boot_id, sizeof(v->image.boot_id));
    v->floor_ns = longest_ns;
    v->file_ns = longest_ns;
    v->silent_till = lease_time_add(started, longest_ns);
}

bool lease_voter_resume(struct lease_voter *v, const struct lease_image *image,
                        struct lease_time now)
{
    LEASE_ASSERT(!v->resumed && v->image.highest_epoch == 0);
    LEASE_ASSERT(image->node_id == v->image.node_id);
    LEASE_ASSERT(memcmp(image->boot_id, v->image.boot_id, sizeof(image->boot_id)) == 0);

    /* No grant is longer than what the identity file says, and clocks do not go
     * backwards within a boot; a promise beyond that tells of neither. */
    if (lease_left_voter_ns(image->promise.until, now) > v->file_ns) {
        return false;
    }
    v->image = *image;
    v->resumed = true;
    if (lease_is_mutant(LEASE_MUTANT_FORGET_IN_FILE)) {
        memset(&v->image.promise, 0, sizeof(v->image.promise));
    }
    /* Not an applied ttl: it does not start the time after which a shorter one
     * lowers ttl_max. But it was applied once in this boot, so it may be granted. */
    if (lease_ttl_is_valid(image->promise.granted_ns)) {
        v->ttl_ns = image->promise.granted_ns;
    }
    return true;
}

static bool is_quarantined(const struct lease_voter *v, struct lease_time now)
{
    bool waited = lease_is_mutant(LEASE_MUTANT_NO_QUARANTINE) ||
                  lease_left_voter_ns(v->silent_till, now) == 0;
    bool caught_up = lease_is_mutant(LEASE_MUTANT_NO_BARRIER) || v->barrier;

    return !v->resumed && !(waited && caught_up);
}

static bool promise_is_live(const struct lease_promise *p, struct lease_time now)
{
    return p->epoch != 0 && lease_left_voter_ns(p->until, now) > 0;
}

/* Rule (a): is the promise, if it lives, one to this very renewer? */
static bool promise_allows(const struct lease_promise *p, const struct lease_renew *r,
                           struct lease_time now)
{
    if (lease_is_mutant(LEASE_MUTANT_NO_PROMISE) || !promise_is_live(p, now)) {
        return true;
    }
    return p->epoch == r->epoch && p->owner == r->owner && p->instance == r->instance;
}

/* Rule (b) and S3: an epoch has one owner and one instance for ever. */
static enum lease_verdict judge_epoch(const struct lease_image *m, const struct lease_renew *r)
{
    if (lease_is_mutant(LEASE_MUTANT_NO_EPOCH)) {
        return LEASE_GRANTED;
    }
    if (r->epoch < m->highest_epoch) {
        return LEASE_REFUSED_EPOCH;
    }
    if (r->epoch <= m->released_epoch) {
        return LEASE_REFUSED_RELEASED;
    }
    if (r->epoch == m->highest_epoch &&
        ((m->highest_owner != 0 && r->owner != m->highest_owner) ||
         (m->highest_instance != 0 && r->instance != m->highest_instance))) {
        return LEASE_REFUSED_INSTANCE;
    }
    return LEASE_GRANTED;
}

static bool renew_is_valid(const struct lease_renew *r)
{
    return r->epoch != 0 && r->owner != 0 && r->instance != 0 && lease_ttl_is_valid(r->duration_ns);
}

/* Before the first entry of a log there is nothing. */
static bool is_behind(const struct lease_image *m)
{
    return m->sets[0].index > lease_max(m->level_index, 1) &&
           !lease_is_mutant(LEASE_MUTANT_FAR_BEHIND);
}

static enum lease_verdict judge(const struct lease_voter *v, struct lease_time now,
                                const struct lease_renew *r)
{
    enum lease_verdict verdict;

    if (!renew_is_valid(r)) {
        return LEASE_REFUSED_MALFORMED;
    }
    verdict = judge_epoch(&v->image, r);
    if (verdict != LEASE_GRANTED) {
        return verdict; /* First, since it tells a deposed owner most. */
    }
    if (is_quarantined(v, now)) {
        return LEASE_REFUSED_QUARANTINE;
    }
    if (!promise_allows(&v->image.promise, r, now)) {
        return LEASE_REFUSED_PROMISED;
    }
    if (v->ttl_ns == 0) {
        return LEASE_REFUSED_NO_TTL;
    }
    /* A grant that names no set would let an owner who missed two changes count
     * an old majority, which need not meet a present one. */
    if (v->image.n_sets == 0) {
        return LEASE_REFUSED_NO_VOTERS;
    }
    if (is_behind(&v->image)) {
        return LEASE_REFUSED_BEHIND;
    }
    return v->floor_ns == 0 ? LEASE_REFUSED_UNWRITTEN : LEASE_GRANTED;
}

static void promise(struct lease_voter *v, struct lease_time now, const struct lease_renew *r,
                    uint64_t granted_ns)
{
    struct lease_promise *p = &v->image.promise;
    struct lease_time until = lease_time_add(now, granted_ns);

    /* The earlier answer may still be counted, so the later end holds; on each
     * clock by itself, since they may overtake each other. */
    if (promise_is_live(p, now) && p->epoch == r->epoch &&
        !lease_is_mutant(LEASE_MUTANT_SHORTENS_PROMISE)) {
        until.raw_ns = lease_max(until.raw_ns, p->until.raw_ns);
        until.boot_ns = lease_max(until.boot_ns, p->until.boot_ns);
    }
    *p = (struct lease_promise){
        .epoch = r->epoch,
        .owner = r->owner,
        .instance = r->instance,
        .granted_ns = granted_ns,
        .until = until,
    };
    if (r->epoch >= v->image.highest_epoch) {
        v->image.highest_epoch = r->epoch;
        v->image.highest_owner = r->owner;
        v->image.highest_instance = r->instance;
    }
}

void lease_voter_on_renew(struct lease_voter *v, struct lease_time now,
                          const struct lease_renew *renew, struct lease_answer *ret_answer)
{
    enum lease_verdict verdict = judge(v, now, renew);
    uint64_t granted_ns = 0;

    if (verdict == LEASE_GRANTED) {
        granted_ns = lease_min(lease_min(renew->duration_ns, v->ttl_ns), v->floor_ns);
        promise(v, now, renew, granted_ns);
    }
    memset(ret_answer, 0, sizeof(*ret_answer));
    ret_answer->write_file = verdict == LEASE_GRANTED;
    ret_answer->write_longest_ns = lease_voter_longest_wanted_ns(v, now);
    ret_answer->grant = (struct lease_grant){
        .epoch = renew->epoch,
        .instance = renew->instance,
        .round = renew->round,
        .voter = v->image.node_id,
        .verdict = verdict,
        .granted_ns = granted_ns,
        .highest_epoch = v->image.highest_epoch,
        .n_sets = v->image.n_sets,
        .sets = {v->image.sets[0], v->image.sets[1]},
    };
}

void lease_voter_on_epoch(struct lease_voter *v, uint64_t epoch, uint64_t owner, uint64_t instance)
{
    struct lease_image *m = &v->image;

    LEASE_ASSERT(epoch != 0 && owner != 0);

    if (epoch < m->highest_epoch) {
        return; /* A replay. */
    }
    /* Should a renewal have claimed something else, the store is right. But an
     * unnamed instance does not undo a named one. */
    if (epoch > m->highest_epoch || instance != 0) {
        m->highest_instance = instance;
    }
    m->highest_epoch = epoch;
    m->highest_owner = owner;
}

void lease_voter_on_release(struct lease_voter *v, uint64_t epoch)
{
    struct lease_promise *p = &v->image.promise;

    LEASE_ASSERT(epoch != 0);

    if (epoch > v->image.highest_epoch) {
        v->image.highest_epoch = epoch;
        v->image.highest_owner = 0;
        v->image.highest_instance = 0;
    }
    v->image.released_epoch = lease_max(v->image.released_epoch, epoch);
    /* A live promise to an older epoch stays: the released owner may never have
     * had its lease, and the one before it may still have. */
    if (p->epoch == epoch || lease_is_mutant(LEASE_MUTANT_RELEASE_ALL)) {
        *p = (struct lease_promise){.granted_ns = p->granted_ns};
    }
}

void lease_voter_on_ttl(struct lease_voter *v, struct lease_time now, uint64_t ttl_ns)
{
    LEASE_ASSERT(lease_ttl_is_valid(ttl_ns));

    if (ttl_ns >= v->floor_ns) {
        v->lowering = false;
    } else if (!v->lowering || ttl_ns != v->ttl_ns) {
        v->lowering = true;
        v->shorter_at = now;
    }
    v->ttl_ns = ttl_ns;
}

void lease_voter_on_barrier(struct lease_voter *v)
{
    v->barrier = true;
}

bool lease_voter_on_sets(struct lease_voter *v, const struct lease_voter_set *committed,
                         const struct lease_voter_set *logged)
{
    return lease_sets_learn(v->image.sets, &v->image.n_sets, committed, logged);
}

bool lease_voter_on_level(struct lease_voter *v, uint64_t index)
{
    if (index <= v->image.level_index) {
        return false;
    }
    v->image.level_index = index;
    return true;
}

uint64_t lease_voter_longest_wanted_ns(struct lease_voter *v, struct lease_time now)
{
    uint64_t wanted_ns;

    if (v->lowering && lease_elapsed_voter_ns(v->shorter_at, now) >= v->floor_ns) {
        /* Every longer promise is over. No more are made from here on, since the
         * write may be done before we hear of it. */
        v->floor_ns = v->ttl_ns;
        v->file_ns = 0;
        v->lowering = false;
    }
    wanted_ns = lease_max(v->ttl_ns, v->floor_ns);
    return wanted_ns != v->file_ns ? wanted_ns : 0;
}

void lease_voter_longest_written(struct lease_voter *v, uint64_t longest_ns)
{
    LEASE_ASSERT(longest_ns >= v->floor_ns); /* Else a longer promise may be out. */

    v->file_ns = longest_ns;
    /* No higher than the ttl: if it became shorter while this was written,
     * nothing longer needs to be granted, and the next write says less. */
    v->floor_ns = lease_max(v->floor_ns, lease_min(longest_ns, v->ttl_ns));
}

uint64_t lease_voter_ttl_max_ns(const struct lease_voter *v)
{
    return lease_max(v->floor_ns, v->file_ns);
}

void lease_voter_status(const struct lease_voter *v, struct lease_time now,
                        struct lease_voter_status *ret_status)
{
    const struct lease_promise *p = &v->image.promise;

    *ret_status = (struct lease_voter_status){.highest_epoch = v->image.highest_epoch};
    if (is_quarantined(v, now)) {
        ret_status->state = LEASE_PROMISE_QUARANTINE;
        ret_status->left_ns = lease_left_voter_ns(v->silent_till, now);
        ret_status->waits_barrier = !v->barrier;
    } else if (promise_is_live(p, now)) {
        ret_status->state = LEASE_PROMISE_LIVE;
        ret_status->left_ns = lease_left_voter_ns(p->until, now);
        ret_status->epoch = p->epoch;
        ret_status->owner = p->owner;
    }
}

bool lease_voter_image(const struct lease_voter *v, struct lease_time now,
                       struct lease_image *ret_image)
{
    if (is_quarantined(v, now)) {
        return false;
    }
    *ret_image = v->image;
    return true;
}
