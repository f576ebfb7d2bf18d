/*
 * The facts of a node, from its view. Grouped: who may lead, what PostgreSQL
 * does, what the data is worth, what runs, what is asked for, what a promotion
 * would mean.
 */
#include "core/facts.h"

#include "base/str.h"
#include "core/lookup.h"
#include "core/order_rules.h"
#include "core/syncset.h"
#include "lease.h"

uint64_t facts_takeover_wait_ms(const struct view *view)
{
    uint64_t ttl_ns = view->conf.ttl_ms * NS_PER_MS;

    ttl_ns = MIN(MAX(ttl_ns, LEASE_TTL_MIN_NS), LEASE_TTL_MAX_NS);
    return lease_takeover_wait_ns(ttl_ns, view->store->primary.barren) / NS_PER_MS;
}

static uint64_t bit_if(bool condition, uint64_t bit)
{
    return condition ? bit : 0;
}

/* Passed `duration` after `since`, where 0 means that it never began. */
static bool is_over(const struct view *view, uint64_t since_ms, uint64_t duration_ms)
{
    return since_ms != 0 && view->now_ms >= since_ms + duration_ms;
}

/*
 * PostgreSQL found running by this process and left alone since. Until the
 * store has told whose epoch it is, and the first round of renewals has
 * come back, there can be no lease; killing it meanwhile would make every
 * restart of an agent an outage. It ends, in time to stop PostgreSQL, with the
 * promise of this node as a voter to itself: the process before could not have
 * counted a lease beyond that, and who was dead for longer may find another one
 * promoted. It also ends a ttl after the start, however often that is renewed.
 */
static bool is_adopted(const struct view *view)
{
    const struct store_primary *p = &view->store->primary;
    bool mine = lookup_owner_is_me(view) || !view->raft.caught_up;

    return mine && !(p->has_owner && !lookup_owner_is_me(view)) && !view->lease.live &&
           view->op.running == ACTION_NONE && view->op.last == ACTION_NONE &&
           view->lease.promised_ms > view->conf.fence_margin_ms &&
           view->now_ms < view->self.started_ms + view->conf.ttl_ms;
}

/* A database that was there before the cluster: until its node has the lease of
 * the first epoch nobody else can have one. */
static bool is_untouched(const struct view *view)
{
    const struct store_primary *p = &view->store->primary;
    const struct view_raft *raft = &view->raft;
    bool truth = raft->caught_up || raft->cluster_id == 0 || raft->formed_now;

    if (!truth || p->epoch > 1 || p->held) {
        return false;
    }
    return p->epoch == 0 || (lookup_owner_is_me(view) && view->op.running == ACTION_NONE &&
                             view->op.last == ACTION_NONE);
}

/* The mark is of the epoch, and outlives a reboot of its owner: then nothing of it is left. */
static bool is_unfenced(const struct view *view)
{
    const struct store_primary *p = &view->store->primary;

    return view->raft.caught_up && p->unfenced && p->owner_id == view->self.status.id;
}

static uint64_t ownership_facts(const struct view *view)
{
    const struct store_primary *p = &view->store->primary;
    const struct view_lease *lease = &view->lease;
    bool me = lookup_owner_is_me(view);
    /* Epoch 0: it was given up here, and the store does not know yet. */
    bool of_present = lease->epoch == p->epoch || lease->epoch == 0;
    uint64_t wanted_ms = of_present ? lease->wanted_since_ms : 0;
    bool live = lease->live && lease->confirmed_ms > 0;
    bool continued = lease->continued && !view->raft.caught_up;
    bool leased = me && live && !continued && lease->epoch == p->epoch;
    bool attested = !view->raft.caught_up && !leased && lease->unfenced_epoch != 0 &&
                    lease->unfenced_epoch >= p->epoch;

    return bit_if(me, F(OWNER_ME)) | bit_if(p->has_owner && !me, F(OWNER_OTHER)) |
           bit_if(leased, F(LEASE)) | bit_if(p->held, F(HELD)) |
           bit_if(is_unfenced(view), F(UNFENCED)) | bit_if(lease->armed, F(ARMED)) |
           bit_if(is_untouched(view), F(UNTOUCHED)) | bit_if(is_adopted(view), F(ADOPTED)) |
           bit_if((continued && live) || attested, F(CONTINUED)) |
           bit_if(me && !leased && is_over(view, wanted_ms, facts_takeover_wait_ms(view)),
                  F(HOPELESS)) |
           bit_if(me && !leased && is_over(view, wanted_ms, 2 * view->conf.ttl_ms),
                  F(LONG_WITHOUT)) |
           bit_if(me && lookup_is_forced(view->store), F(FORCED)) |
           bit_if(syncset_is_of(view->store, view->conf.sync_mode, view->self.status.name),
                  F(SYNC_MINE)) |
           bit_if(view->store->cluster.init == INIT_RUNNING, F(INIT_RUNNING)) |
           bit_if(view->store->cluster.init == INIT_DONE, F(INIT_DONE)) |
           bit_if(view->raft.caught_up, F(CAUGHT_UP));
}

static bool starts_as_primary(enum node_action action)
{
    return action == ACTION_START_PRIMARY || action == ACTION_PROMOTE;
}

/* Its server has no postmaster and takes nothing from anybody: initdb's, and the crash
 * recovery before a rewind. A fence would cut that short again and again. Neither begins
 * while a process of an earlier server is left (rule left-overs). */
static bool runs_single_user(enum node_action action)
{
    return action == ACTION_BOOTSTRAP || action == ACTION_REWIND;
}

/* Whoever may become writable by itself counts: a promotion or a crash recovery
 * as primary asks nobody when it is through. */
static bool may_write(const struct view *view)
{
    const struct status *s = &view->self.status;
    const struct view_pg *pg = &view->pg;

    if (s->mode == MODE_WITNESS) {
        return false;
    }
    if (starts_as_primary(view->op.running)) {
        return true;
    }
    if (!pg->postmaster_alive) {
        return pg->n_processes > 0 && pg->was_primary && !runs_single_user(view->op.running);
    }
    if (s->pg_role == PG_ROLE_PRIMARY || view->op.running == ACTION_BOOTSTRAP) {
        return true;
    }
    return s->pg_role != PG_ROLE_STANDBY && pg->was_primary;
}

static uint64_t postgres_facts(const struct view *view)
{
    const struct status *s = &view->self.status;
    const struct view_pg *pg = &view->pg;
    bool witness = s->mode == MODE_WITNESS;
    bool gone = !pg->postmaster_alive && pg->n_processes == 0;
    /* "Stopping" without processes: it ended, and what it left on disk was not read yet.
     * Nothing may be concluded from the old reading. */
    bool stopped = witness || (gone && s->pg_state != PG_STATE_STOPPING);
    bool running = !witness && pg->postmaster_alive && s->pg_state == PG_STATE_RUNNING;

    return bit_if(witness, F(WITNESS)) | bit_if(stopped, F(PG_STOPPED)) |
           bit_if(!witness && !gone && !pg->postmaster_alive, F(LEFT_OVERS)) |
           bit_if(running && s->pg_role == PG_ROLE_PRIMARY, F(RUNS_PRIMARY)) |
           bit_if(running && s->pg_role == PG_ROLE_STANDBY, F(RUNS_STANDBY)) |
           bit_if(may_write(view), F(MAY_WRITE)) |
           bit_if(!witness && !gone && pg->frozen, F(FROZEN)) |
           bit_if(pg->was_primary, F(WAS_PRIMARY)) | bit_if(s->clean_shutdown, F(CLEAN)) |
           bit_if(pg->promoted_checkpoint_due, F(CHECKPOINT_DUE)) |
           bit_if(s->nofailover || s->failover_priority == 0, F(BARRED));
}

static lsn_t own_position(const struct view *view)
{
    return MAX(lookup_position(&view->self.status),
               view->pg.postmaster_alive ? 0 : view->pg.control_lsn);
}

static lsn_t own_timeline_end(const struct view *view)
{
    lsn_t end = lookup_timeline_end(view->store, view->self.status.timeline);

    return end != 0 ? end : view->pg.upstream_switch_lsn;
}

/*
 * No timeline number is used twice, so what runs now can be known not to have our
 * timeline among its own: it left an older one, or an owner told of one newer than
 * ours (they tell the oldest first) and not of ours.
 */
static bool is_no_ancestor(const struct view *view, uint32_t timeline)
{
    const struct store *s = view->store;
    const struct store_line *l = &s->line;
    const struct status *primary = lookup_running_primary(view);

    if (primary == NULL || primary->timeline != l->timeline || l->parent == 0 ||
        timeline >= l->timeline || timeline == l->parent) {
        return false;
    }
    if (timeline > l->parent) {
        return true; /* Also where the store still has its end: of a line that was left since. */
    }
    return lookup_timeline_end(s, timeline) == 0 && s->n_history > 0 &&
           s->n_history < HISTORY_MAX && timeline < s->history[s->n_history - 1].timeline &&
           lookup_timeline_end(s, l->parent) != 0;
}

/*
 * Whether our WAL goes beyond what the cluster went on from. A former primary
 * that was not shut down cleanly counts as diverged as soon as somebody else is
 * on a newer timeline: pg_control does not tell where its WAL ends.
 */
static bool is_diverged(const struct view *view, uint32_t newest)
{
    const struct status *s = &view->self.status;
    lsn_t end = own_timeline_end(view);
    bool stopped_hard = view->pg.was_primary && !view->pg.postmaster_alive && !s->clean_shutdown;
    const struct status *primary = lookup_running_primary(view);

    if (s->timeline == 0) {
        return false;
    }
    if (primary != NULL && primary->id != s->id) {
        if (s->timeline > primary->timeline || (s->timeline == primary->timeline && stopped_hard)) {
            return true; /* It went on without us, from before. */
        }
        if (is_no_ancestor(view, s->timeline)) {
            return true;
        }
    }
    if (s->timeline >= newest) {
        return false;
    }
    return stopped_hard || (end != 0 && own_position(view) > end);
}

/* A running server is not stopped for what a single look says: what is seen of its
 * timeline may be older than what it streams by now. */
#define CONFIRM_MS SECONDS(2)
static bool is_confirmed(const struct view *view)
{
    uint64_t since_ms = view->self.diverged_since_ms;
    uint64_t long_ms = MAX(2 * view->conf.loop_wait_ms, CONFIRM_MS);

    return !view->pg.postmaster_alive ||
           (is_over(view, since_ms, long_ms) && view->pg.seen_ms > since_ms);
}

static const struct status *lookup_running_other(const struct view *view)
{
    const struct status *primary = lookup_running_primary(view);

    return primary != NULL && primary->id != view->self.status.id ? primary : NULL;
}

const char *facts_rewind_obstacle(const struct view *view)
{
    const struct status *primary = lookup_running_other(view);

    if (!view->conf.use_pg_rewind) {
        return "use_pg_rewind is off";
    }
    if (view->self.status.data == DATA_REWINDING) {
        /* Pages of the source's timeline are in it: only WAL of that one covers them. */
        if (view->pg.rewind_timeline == 0) {
            return view->pg.rewind_gone
                       ? "a rewind was cut off, and what was kept to do it again is "
                         "gone"
                       : "a rewind was cut off by a restart of the machine";
        }
        return primary == NULL || view->pg.rewind_timeline == primary->timeline
                   ? NULL
                   : "a rewind to another timeline was cut off here";
    }
    return view->pg.can_rewind ? NULL : "it has neither data checksums nor wal_log_hints";
}

#define REWIND_FAILURES_MAX 5
static uint64_t rewind_facts(const struct view *view, bool diverged)
{
    const struct status *primary = lookup_running_other(view);
    bool half = view->self.status.data == DATA_REWINDING;
    bool able = facts_rewind_obstacle(view) == NULL;
    bool failed = primary != NULL && view->op.rewind_timeline == primary->timeline &&
                  view->op.n_rewind_failures >= REWIND_FAILURES_MAX;
    bool any = view->conf.remove_on_diverged_timelines;

    return bit_if(half || (diverged && is_confirmed(view)), F(NEEDS_REWIND)) |
           bit_if(able, F(REWINDABLE)) | bit_if(failed, F(REWIND_GIVEN_UP)) |
           bit_if(primary != NULL && primary->checkpoint_timeline == primary->timeline,
                  F(SOURCE_READY)) |
           bit_if((any && (!able || failed)) ||
                      (view->conf.remove_on_rewind_failure && (failed || (half && !able))),
                  F(DISCARD));
}

/* A start in place goes on with a timeline: it must be the newest there is, and no
 * other node may have been the one to write it. */
static bool is_line_ours(const struct view *view)
{
    const struct store_line *l = &view->store->line;

    return l->timeline == 0 || (l->timeline == view->self.status.timeline &&
                                (l->owner_id == 0 || lookup_line_is_mine(view)));
}

/* A position that moved since makes another declaration of the same number. */
static bool is_declared(const struct view *view)
{
    const struct store_line *l = &view->store->line;
    const struct status *s = &view->self.status;

    return lookup_owner_is_me(view) && lookup_line_is_mine(view) &&
           l->epoch == view->store->primary.epoch && l->timeline > s->timeline &&
           l->timeline > view->pg.taken_timeline && l->parent == s->timeline &&
           l->lsn == lookup_position(s);
}

/* By name: the data is still ours where the Raft state was lost and the id with it. */
static bool wrote_line(const struct view *view)
{
    const struct store_line *l = &view->store->line;

    return l->owner_id != 0 && l->timeline == view->self.status.timeline &&
           str_equal(l->owner, view->self.status.name);
}

/* The newest line was declared and never begun: ours, which it would have left, goes on. */
static bool is_parent_of_void(const struct view *view)
{
    return view->store->line.parent == view->self.status.timeline && lookup_line_is_void(view);
}

static uint64_t data_facts(const struct view *view)
{
    const struct status *s = &view->self.status;
    const struct store *store = view->store;
    bool good = s->data == DATA_VALID;
    uint32_t newest = lookup_newest_timeline(view);
    bool diverged = good && is_diverged(view, newest);
    bool other_owner = store->primary.has_owner && !lookup_owner_is_me(view);
    bool old_me = other_owner && str_equal(store->primary.owner, s->name);
    bool end_known = s->timeline < newest && own_timeline_end(view) != 0;

    return bit_if(good, F(DATA_GOOD)) | bit_if(diverged, F(DIVERGED)) |
           bit_if(s->data == DATA_EMPTY || s->data == DATA_INCOMPLETE, F(DATA_MISSING)) |
           bit_if(s->data == DATA_FOREIGN, F(DATA_STRANGE)) |
           bit_if(good && store->cluster.sysid != 0 && s->sysid != 0 &&
                      s->sysid != store->cluster.sysid,
                  F(OTHER_SYSID)) |
           bit_if(view->pg.was_primary && other_owner && !old_me && !end_known && !diverged &&
                      !wrote_line(view) && !is_parent_of_void(view),
                  F(UNSURE)) | /* While no newer line is declared, ours has not ended. */
           bit_if(s->timeline >= newest && is_line_ours(view), F(NEWEST_TIMELINE)) |
           bit_if(view->pg.postmaster_alive && s->pg_role == PG_ROLE_PRIMARY &&
                      s->pg_state == PG_STATE_RUNNING && s->timeline != 0 &&
                      s->timeline < store->line.timeline,
                  F(OLD_PRIMARY)) |
           bit_if(good && s->pg_role == PG_ROLE_STANDBY &&
                      lookup_line_place(view, s->timeline, lookup_position(s)) == LINE_BESIDE,
                  F(OFF_LINE)) |
           bit_if(is_declared(view), F(DECLARED)) | rewind_facts(view, diverged);
}

static void gather_upstream(const struct view *view, struct node_facts *f)
{
    const struct status *primary = lookup_running_primary(view);
    const struct store_member *m;

    f->bits |= bit_if((f->bits & F(OWNER_ME)) && (f->bits & F(RUNS_STANDBY)) && view->pg.receives,
                      F(UPSTREAM_WRONG));
    if (primary == NULL || primary->id == view->self.status.id) {
        return;
    }
    m = store_find_member_by_id(view->store, primary->id);
    if (m == NULL || !(f->bits & F(OWNER_OTHER))) {
        return;
    }
    f->source_timeline = primary->timeline;
    (void)str_copy(f->upstream.name, sizeof(f->upstream.name), m->name);
    (void)str_copy(f->upstream.host, sizeof(f->upstream.host), m->pg_host);
    f->upstream.port = m->pg_port;
    f->bits |= F(PRIMARY_RUNS) | /* Gone, PostgreSQL follows nobody. */
               bit_if(view->pg.postmaster_alive && !str_equal(view->pg.upstream, m->name),
                      F(UPSTREAM_WRONG));
}

/*
 * Whether what runs is to go on. It is unless the rules would undo it: nothing
 * is restarted because a fact flickers. A start as standby that waits for a
 * primary that has been replaced gives way to `follow`.
 */
static bool op_keeps(const struct view *view, uint64_t bits)
{
    const struct view_op *op = &view->op;
    const uint64_t owned = F(OWNER_ME) | F(LEASE);

    if (op->running == ACTION_NONE) {
        return false;
    }
    if (op->running == ACTION_PREPARE && (bits & owned) != owned) {
        return false; /* What it does for a promotion may harm who is owner now. */
    }
    if (op->running == ACTION_START_STANDBY && (bits & F(UPSTREAM_WRONG)) &&
        view->pg.postmaster_alive) {
        return view->now_ms < op->started_ms + 2 * view->conf.loop_wait_ms;
    }
    return true;
}

static bool op_cleans(enum node_action action)
{
    switch (action) {
    case ACTION_BOOTSTRAP:
    case ACTION_CLONE:
    case ACTION_REWIND:
    case ACTION_START_PRIMARY:
    case ACTION_START_STANDBY:
    case ACTION_STOP:
    case ACTION_FENCE:
    case ACTION_CLEAN_UP:
        return true;
    case ACTION_NONE:
    case ACTION_PREPARE:
    case ACTION_PROMOTE:
    case ACTION_FOLLOW:
    case ACTION_CHECKPOINT:
    case ACTIONS:
        return false;
    }
    return false;
}

/* Whoever runs: until it answers, the position that a promotion is judged by is unknown. */
static bool is_stuck(const struct view *view, uint64_t bits)
{
    const struct view_op *op = &view->op;

    if (bits & F(PG_STOPPED)) {
        return str_equal(op->last_rule, "start-overdue") && op->running == ACTION_NONE;
    }
    return (bits & F(LEASE)) && view->pg.seen_ms < view->lease.live_since_ms &&
           !lookup_answers(view, view->now_ms);
}

static uint64_t op_facts(const struct view *view, uint64_t bits)
{
    const struct view_op *op = &view->op;
    /* Only until it may be tried again: a failure of long ago would make every
     * later epoch be given up, and two such nodes hand it back and forth. */
    bool recent = op->retry_ms == 0 || view->now_ms < op->retry_ms;
    bool failed = op->last_failed && recent &&
                  (starts_as_primary(op->last) || op->last == ACTION_START_STANDBY ||
                   op->last == ACTION_PREPARE || str_equal(op->last_rule, "stop-following"));
    bool overdue = op->running == ACTION_START_PRIMARY &&
                   is_over(view, op->started_ms, order_start_timeout_ms(view));

    return bit_if(op_keeps(view, bits), F(OP_KEEPS)) |
           bit_if(op_cleans(op->running), F(OP_CLEANS)) |
           bit_if(starts_as_primary(op->running), F(OP_MAKES_PRIMARY)) |
           bit_if(op->running == ACTION_BOOTSTRAP, F(OP_BOOTSTRAPS)) |
           bit_if((bits & F(PG_STOPPED)) && op->running == ACTION_NONE, F(QUIET)) |
           bit_if(failed && op->running == ACTION_NONE, F(START_FAILED)) |
           bit_if(overdue, F(START_OVERDUE)) | bit_if(is_stuck(view, bits), F(STUCK));
}

static uint64_t stop_facts(const struct view *view)
{
    uint64_t since = MAX(view->self.stopping_since_ms, view->pg.gone_ms);
    uint64_t patience = view->raft.leader != 0 ? 3 * view->conf.ttl_ms : view->conf.ttl_ms;
    const struct store_member *m = store_find_member(view->store, view->self.member.name);

    return bit_if(view->self.stopping, F(STOPPING)) | bit_if(view->conf.pause, F(PAUSED)) |
           bit_if(is_over(view, since, patience), F(RELEASE_OVERDUE)) |
           bit_if((m != NULL && m->last_state == PG_STATE_STOPPED) ||
                      is_over(view, since, SECONDS(2)),
                  F(SAID));
}

/* Who takes over when this owner lets go by order. After the stop it must have
 * everything up to the shutdown checkpoint: a switchover loses nothing. */
static void gather_target(const struct view *view, struct node_facts *f)
{
    const struct store_request *r = &view->store->request;
    const struct status *self = &view->self.status;
    bool stopped = (f->bits & F(PG_STOPPED)) != 0;
    struct candidate candidates[MEMBERS_MAX];
    struct candidate_question q = {.named = r->to, .without = self->name, .running_only = true};
    const struct candidate *best;
    uint32_t n;

    if (!(f->bits & F(OWNER_ME)) || !lookup_request_is_due(view) ||
        lookup_request_is_acted_on(view->store) || str_equal(r->to, self->name)) {
        return;
    }
    f->bits |= F(REQUEST);
    q.must_have = stopped ? view->pg.control_lsn : 0;
    q.must_timeline = self->timeline;
    q.must_stream = !stopped;
    f->bits |=
        bit_if(stopped && view->op.last == ACTION_STOP && !view->op.last_failed &&
                   view->pg.gone_ms != 0 && view->now_ms < view->pg.gone_ms + view->conf.ttl_ms,
               F(HANDING_OVER));
    if (r->from[0] != '\0' && !str_equal(r->from, self->name)) {
        (void)str_copy(f->refusals, sizeof(f->refusals), "the primary is another member");
        return;
    }
    n = candidate_rank(view, &q, candidates);
    best = candidate_best(candidates, n);
    if (best != NULL) {
        f->bits |= F(TARGET);
        (void)str_copy(f->target, sizeof(f->target), best->name);
    } else {
        candidate_explain_refused(candidates, n, f->refusals, sizeof(f->refusals));
    }
}

/* What goes on in a paused cluster, too. */
static void gather_order(const struct view *view, struct node_facts *f)
{
    const struct view_op *op = &view->op;
    bool owner = (f->bits & F(OWNER_ME)) != 0;
    bool by_name = lookup_request_is_due(view) && view->store->request.to[0] != '\0';
    bool handed = (f->bits & F(PG_STOPPED)) && !(f->bits & F(DIVERGED)) &&
                  op->running == ACTION_NONE && op->last == ACTION_STOP && !op->last_failed &&
                  str_equal(op->last_rule, "switchover");

    f->bits |= bit_if(owner ? by_name : handed, F(ORDERED));
}

static void gather_heir(const struct view *view, struct node_facts *f)
{
    struct candidate candidates[MEMBERS_MAX];
    struct candidate_question q = {.without = view->self.status.name, .running_only = true};
    uint32_t n;

    if (!(f->bits & F(OWNER_ME)) ||
        !(f->bits & (F(START_FAILED) | F(START_OVERDUE) | F(STUCK)))) {
        return;
    }
    n = candidate_rank(view, &q, candidates);
    f->bits |= bit_if(candidate_best(candidates, n) != NULL, F(HEIR));
}

static bool has_answered(const struct view *view, const struct view_peer *peer)
{
    return peer->positions.epoch == view->store->primary.epoch && peer->positions_ms != 0 &&
           peer->positions_ms >= view->lease.live_since_ms;
}

/* A member whose answer is worth waiting for. A silent one is no vote. */
static bool can_answer(const struct view *view, const struct view_peer *peer)
{
    return peer->connected && peer->status.mode == MODE_POSTGRES &&
           peer->status.data == DATA_VALID && lookup_is_heard(view, peer->status.id);
}

/*
 * Positions are in when everybody who can answer did, or after a bounded wait.
 * In asynchronous mode no number of answers is needed: who is silent can not be
 * chosen either, and the lease itself shows that a majority is reachable. Our
 * own must have been read since the lease began as well. (Who came back meanwhile
 * with more than we have is asked again, for a ttl at most: gather_promotion.)
 */
static bool positions_are_in(const struct view *view, struct node_facts *f)
{
    uint64_t since = view->lease.live_since_ms;
    bool all = true;

    if (view->positions_asked_ms == 0 || view->positions_asked_ms < since ||
        view->pg.seen_ms < since || view->self.status.timeline == 0) {
        return false;
    }
    f->positions_until_ms = view->positions_asked_ms + MAX((uint64_t)500, view->conf.loop_wait_ms);
    for (uint32_t i = 0; i < view->n_peers; i++) {
        const struct view_peer *peer = &view->peers[i];

        all = all && (!can_answer(view, peer) || has_answered(view, peer));
    }
    return all || view->now_ms >= f->positions_until_ms;
}

/* The epoch before this one was released to us by `name` because we were
 * better placed: handing it back would go in circles. */
static bool came_from(const struct view *view, const char *name)
{
    const struct store_ledger_entry *entry = lookup_newest_release(view->store);

    return entry != NULL && entry->epoch + 1 == view->store->primary.epoch &&
           str_equal(entry->node, name) && str_equal(entry->rule, "better-placed");
}

static bool is_further(const struct positions *p, uint32_t timeline, lsn_t lsn)
{
    return p->timeline > timeline || (p->timeline == timeline && p->flushed > lsn);
}

/*
 * Its answer may have been overtaken by the time all are in: a standby goes on streaming
 * from the old primary once that one is back, as a standby, with what only it had. What
 * its status tells since counts as well; the answer alone shows that its server answers.
 */
static struct positions furthest_of(const struct view_peer *peer)
{
    struct positions p = peer->positions;
    const struct status *s = &peer->status;

    if (!is_further(&p, s->timeline, lookup_position(s))) {
        p.timeline = s->timeline;
        p.flushed = lookup_position(s);
    }
    return p;
}

/* Who is further, could take over and has not answered: it was away when all were asked, like
 * the old primary, back as a standby before anybody was promoted. */
static void note_silent(const struct view *view, const struct view_peer *peer, struct node_facts *f)
{
    const struct status *self = &view->self.status;
    struct positions told = {.timeline = peer->status.timeline,
                             .flushed = lookup_position(&peer->status)};

    f->better_is_silent =
        f->better_is_silent || (peer->connected && !has_answered(view, peer) &&
                                is_further(&told, self->timeline, lookup_position(self)));
}

static void gather_better(const struct view *view, struct node_facts *f)
{
    struct candidate candidates[MEMBERS_MAX];
    struct candidate_question q = {.without = view->self.status.name, .running_only = true};
    uint32_t n = candidate_rank(view, &q, candidates);

    f->better_timeline = view->self.status.timeline;
    f->better_lsn = lookup_position(&view->self.status);
    for (uint32_t i = 0; i < view->n_peers; i++) {
        const struct view_peer *peer = &view->peers[i];
        const struct candidate *c = candidate_find(candidates, n, peer->status.name);
        struct positions has = furthest_of(peer);

        if (c == NULL || !c->eligible || came_from(view, c->name)) {
            continue;
        }
        note_silent(view, peer, f);
        if (!has_answered(view, peer) || !peer->positions.valid ||
            !is_further(&has, f->better_timeline, f->better_lsn)) {
            continue;
        }
        f->bits |= F(BETTER);
        (void)str_copy(f->better, sizeof(f->better), c->name);
        f->better_timeline = has.timeline;
        f->better_lsn = has.flushed;
    }
}

static void gather_promotion(const struct view *view, struct node_facts *f)
{
    const struct status *self = &view->self.status;

    if ((f->bits & (F(OWNER_ME) | F(LEASE) | F(RUNS_STANDBY))) !=
            (F(OWNER_ME) | F(LEASE) | F(RUNS_STANDBY)) ||
        !positions_are_in(view, f)) {
        return;
    }
    gather_better(view, f);
    f->ask_again = f->better_is_silent && !(f->bits & (F(BETTER) | F(FORCED))) &&
                   view->positions_asked_ms < view->lease.live_since_ms + view->conf.ttl_ms;
    f->bits |= bit_if(!f->ask_again, F(POSITIONS));
    candidate_lag(view, self->name, self->timeline, lookup_position(self), &f->lag);
    f->bits |= bit_if(f->lag.exceeded, F(LAGS));
}

void node_facts_gather(const struct view *view, struct node_facts *ret_facts)
{
    struct node_facts *f = ret_facts;

    PRE(view->store != NULL);
    memset(f, 0, sizeof(*f));
    f->bits = ownership_facts(view) | postgres_facts(view) | data_facts(view) | stop_facts(view);
    gather_upstream(view, f);
    f->bits |= op_facts(view, f->bits);
    gather_target(view, f);
    gather_order(view, f);
    gather_heir(view, f);
    gather_promotion(view, f);
    if (view->lease.wanted_since_ms != 0) {
        f->lease_give_up_ms = view->lease.wanted_since_ms + facts_takeover_wait_ms(view);
    }
}
