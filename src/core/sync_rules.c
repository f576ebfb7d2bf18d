/*
 * What may be done when, so that every interruption is harmless:
 *  - the placeholder may always be set: nothing is acknowledged then;
 *  - from the placeholder, or from waiting for somebody, to anything else only when the
 *    store names nobody else and no proposal of ours can still make it ("clear"): one
 *    that may be on its way is made void by proposing the same empty set again, which
 *    moves the revision;
 *  - a name is proposed only when it is proven to hold all that was acknowledged.
 */
#include "core/sync_rules.h"

#include <inttypes.h>
#include <strings.h>

#include "base/str.h"
#include "core/facts.h"
#include "core/lookup.h"
#include "core/propose.h"
#include "core/syncset.h"

#define PATIENCE_MIN_MS UINT64_C(1000)
#define CONFIRM_MS      SECONDS(10) /* Writes may stand still for so long in mode `on`. */
#define REST_MIN_MS     SECONDS(30) /* Doubled with each failure in a row. */
#define REST_MAX_MS     SECONDS(240)

enum choice {               /* What is wrong with the standby of the store. */
              CHOICE_SAME,  /* Nothing, or there is none. */
              CHOICE_GONE,  /* It does not stream, is to restart, or may not be synchronous. */
              CHOICE_LAGS,  /* Beyond maximum_lag_on_syncnode. */
              CHOICE_LOWER, /* Another one comes first: tags nofailover, sync_priority. */
};

struct sync_case {
    const struct view *view;
    struct decision *d;
    const struct view_sync *seen;
    const char *named;  /* The standby of the store; NULL = none. */
    const char *target; /* Who shall be it; NULL = nobody can. */
    enum choice choice;
    bool strict;
    bool clear; /* The store names nobody, and nothing on its way can make it. */
};

uint64_t sync_rules_patience_ms(const struct view *view)
{
    return MIN(MAX(view->conf.loop_wait_ms, PATIENCE_MIN_MS),
               MAX(view->conf.ttl_ms, PATIENCE_MIN_MS));
}

/* ---- Who is left alone for a while ---- */

static const struct sync_rest *find_rest(const struct sync_rests *rests, const char *name)
{
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        if (rests->items[i].name[0] != '\0' && str_equal(rests->items[i].name, name)) {
            return &rests->items[i];
        }
    }
    return NULL;
}

static bool is_resting(const struct view *view, const char *name)
{
    const struct sync_rest *rest = find_rest(&view->sync.rests, name);

    return rest != NULL && view->now_ms < rest->until_ms;
}

/* With no place left the one whose rest ended first gives way: it may have left the cluster. */
static struct sync_rest *make_rest(struct sync_rests *rests, const char *name)
{
    struct sync_rest *oldest = &rests->items[0];

    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        struct sync_rest *rest = &rests->items[i];

        if (str_equal(rest->name, name)) {
            return rest;
        }
        oldest = rest->until_ms < oldest->until_ms ? rest : oldest;
    }
    *oldest = (struct sync_rest){.n_failures = 0};
    (void)str_copy(oldest->name, sizeof(oldest->name), name); /* Same size. */
    return oldest;
}

void sync_rules_remember(const struct view *view, const struct sync_decision *d,
                         struct sync_rests *rests)
{
    const struct store_sync *y = &view->store->sync;
    bool mine = y->n_names > 0 && str_equal(y->primary, view->self.status.name);

    if (d->gave_up_on[0] != '\0') {
        struct sync_rest *rest = make_rest(rests, d->gave_up_on);
        uint32_t doublings = MIN(rest->n_failures, 3U);

        rest->n_failures++;
        rest->until_ms = view->now_ms + MIN(REST_MIN_MS << doublings, REST_MAX_MS);
    } else if (mine && !view->sync.gate_closed && find_rest(rests, y->names[0]) != NULL) {
        *make_rest(rests, y->names[0]) = (struct sync_rest){.n_failures = 0};
    }
}

/* ---- Who ---- */

/* Its WAL sender, if it streams and no other one could be taken for it: PostgreSQL
 * compares names without regard to case. */
static const struct view_replica *find_streaming(const struct view *view, const char *name)
{
    const struct view_replica *found = NULL;
    uint32_t n = 0;

    for (uint32_t i = 0; i < view->pg.n_replicas; i++) {
        const struct view_replica *r = &view->pg.replicas[i];

        if (strcasecmp(r->name, name) == 0) {
            found = r;
            n++;
        }
    }
    return n == 1 && str_equal(found->name, name) && str_equal(found->state, "streaming") ? found
                                                                                          : NULL;
}

static bool is_unique(const struct store *s, const struct store_member *m)
{
    for (uint32_t i = 0; i < s->n_members; i++) {
        if (&s->members[i] != m && strcasecmp(s->members[i].name, m->name) == 0) {
            return false;
        }
    }
    return true;
}

/* A restart of it was begun: it waits until nobody waits for it, and is none until it is back. */
static bool is_leaving(const struct view *view, const char *name)
{
    for (uint32_t i = 0; i < view->store->n_orders; i++) {
        const struct store_order *o = &view->store->orders[i];

        if (o->kind == REQUEST_RESTART && o->begun && !o->ended && str_equal(o->member, name)) {
            return true;
        }
    }
    return false;
}

static bool may_be_synchronous(const struct view *view, const struct store_member *m)
{
    return m != NULL && m->mode == MODE_POSTGRES && !m->nosync &&
           !str_equal(m->name, view->self.status.name) && is_unique(view->store, m) &&
           !is_leaving(view, m->name);
}

/* Its own agent said so last, when it was told to stop for instance: there is nothing to wait
 * for. A server that crashed is started again at once, and may be back before our patience ends. */
static bool is_stopped(const struct view *view, const struct store_member *m)
{
    const struct status *status = lookup_status(view, m->id);

    return status != NULL &&
           (status->pg_state == PG_STATE_STOPPING || status->pg_state == PG_STATE_STOPPED);
}

static bool is_present(const struct sync_case *c)
{
    const struct store_member *m = store_find_member(c->view->store, c->named);
    uint64_t gone_ms = c->seen->gone_since_ms;

    return may_be_synchronous(c->view, m) &&
           (gone_ms == 0 || (c->view->now_ms < gone_ms + sync_rules_patience_ms(c->view) &&
                             !is_stopped(c->view, m)));
}

/* The furthest standby; of a single one the distance to ourselves is what counts. */
static lsn_t find_front(const struct view *view)
{
    lsn_t front = 0;
    uint32_t n = 0;

    for (uint32_t i = 0; i < view->store->n_members; i++) {
        const struct store_member *m = &view->store->members[i];
        const struct view_replica *r = find_streaming(view, m->name);

        if (may_be_synchronous(view, m) && r != NULL) {
            front = MAX(front, r->flushed);
            n++;
        }
    }
    return n > 1 ? front : MAX(front, view->self.status.flushed);
}

/* Bytes of WAL; 0 if it does not stream. */
static uint64_t find_lag(const struct view *view, const char *name)
{
    const struct view_replica *r = find_streaming(view, name);
    lsn_t front = find_front(view);

    return r != NULL && front > r->flushed ? front - r->flushed : 0;
}

static bool lags(const struct view *view, const char *name)
{
    int64_t bound = view->conf.maximum_lag_on_syncnode;

    return bound > 0 && find_lag(view, name) > (uint64_t)bound;
}

static uint32_t priority_of(const struct view *view, const struct store_member *m)
{
    const struct status *status = lookup_status(view, m->id);

    return status != NULL ? status->sync_priority : 1;
}

static bool is_barred(const struct store_member *m)
{
    return m->nofailover || m->failover_priority == 0;
}

/* By what is configured: who could take over, then sync_priority. 1, 0, -1. */
static int compare_rank(const struct view *view, const struct store_member *a,
                        const struct store_member *b)
{
    uint32_t a_priority = priority_of(view, a);
    uint32_t b_priority = priority_of(view, b);

    if (is_barred(a) != is_barred(b)) {
        return is_barred(b) ? 1 : -1;
    }
    return (a_priority > b_priority) - (a_priority < b_priority);
}

static bool is_better(const struct view *view, const struct store_member *a,
                      const struct store_member *b)
{
    int rank = compare_rank(view, a, b);

    return rank != 0
               ? rank > 0
               : find_streaming(view, a->name)->flushed > find_streaming(view, b->name)->flushed;
}

static const struct store_member *find_target(const struct view *view, const char *without)
{
    const struct store *s = view->store;
    const struct store_member *best = NULL;

    for (uint32_t i = 0; i < s->n_members; i++) {
        const struct store_member *m = &s->members[i];

        if (may_be_synchronous(view, m) && lookup_is_heard(view, m->id) &&
            find_streaming(view, m->name) != NULL && !lags(view, m->name) &&
            !is_resting(view, m->name) && !str_equal(m->name, without) &&
            (best == NULL || is_better(view, m, best))) {
            best = m;
        }
    }
    return best;
}

/* In strict mode writes wait for a standby whatever it takes, but for one that gets there
 * if there is another one to try. */
static bool takes_too_long(const struct sync_case *c, const char *tried)
{
    if (c->seen->since_ms == 0 || c->view->now_ms < c->seen->since_ms + CONFIRM_MS) {
        return false;
    }
    return !c->strict || (c->named == NULL && find_target(c->view, tried) != NULL);
}

/* Is the standby of the store the right one? One that did not get there a while ago is no
 * better one: what works stays. */
static enum choice judge_named(const struct sync_case *c, const struct store_member *best)
{
    const struct store_member *named = store_find_member(c->view->store, c->named);

    if (!is_present(c)) {
        return CHOICE_GONE;
    }
    if (lags(c->view, c->named)) {
        return CHOICE_LAGS;
    }
    return best != NULL && lookup_is_heard(c->view, named->id) &&
                   compare_rank(c->view, best, named) > 0
               ? CHOICE_LOWER
               : CHOICE_SAME;
}

static void choose(struct sync_case *c)
{
    const struct store_member *best = find_target(c->view, "");
    const char *tried = c->named != NULL ? c->named : best != NULL ? best->name : "";

    if (takes_too_long(c, tried)) {
        (void)str_copy(c->d->sync.gave_up_on, NAME_SIZE, tried); /* Same size. */
        return;
    }
    if (c->named != NULL) {
        c->choice = judge_named(c, best);
    }
    if (c->named != NULL &&
        (c->choice == CHOICE_SAME || (c->choice == CHOICE_LAGS && c->strict && best == NULL))) {
        c->target = c->named;
    } else if (best != NULL) {
        c->target = best->name;
    }
}

/* ---- Proposals ---- */

static void add_rank(const struct view *view, const char *name, struct sbuf *b)
{
    const struct store_member *m = store_find_member(view->store, name);

    sbuf_printf(b, "; %s has sync_priority %" PRIu32 "%s", name, priority_of(view, m),
                is_barred(m) ? " and may not take over" : "");
}

/* Why another one, or nobody. */
static void add_choice(const struct sync_case *c, struct sbuf *b)
{
    const struct view *view = c->view;
    uint64_t gone_ms = c->seen->gone_since_ms;

    if (c->choice == CHOICE_GONE && is_leaving(view, c->named)) {
        sbuf_printf(b, "; an operator asked for a restart of %s", c->named);
    } else if (c->choice == CHOICE_GONE && gone_ms != 0) {
        sbuf_printf(b, "; %s has not streamed for %" PRIu64 ".%" PRIu64 " s", c->named,
                    (view->now_ms - gone_ms) / 1000, (view->now_ms - gone_ms) % 1000 / 100);
    } else if (c->choice == CHOICE_LAGS) {
        sbuf_printf(b, "; %s is %" PRIu64 " bytes behind, maximum_lag_on_syncnode is %" PRId64,
                    c->named, find_lag(view, c->named), view->conf.maximum_lag_on_syncnode);
    } else if (c->choice == CHOICE_LOWER) {
        add_rank(view, c->target, b);
        add_rank(view, c->named, b);
    }
}

static void add_evidence(const struct view *view, const char *name, struct sbuf *b)
{
    char text[LSN_TEXT_SIZE];

    sbuf_printf(b, "epoch %" PRIu64 ", mode %s", view->store->primary.epoch,
                view->conf.sync_mode == SYNC_OFF      ? "off"
                : view->conf.sync_mode == SYNC_STRICT ? "strict"
                                                      : "on");
    if (name != NULL) {
        sbuf_printf(b, "; a commit waited, %s has WAL to %s", name,
                    lsn_format(find_streaming(view, name)->flushed, text, sizeof(text)));
    }
}

static void propose_state(const struct sync_case *c, const char *primary, const char *name,
                          const char *rule)
{
    const struct view *view = c->view;
    struct command *command = propose_begin(view, c->d, COMMAND_SYNC_SET);
    struct command_sync_set *set;
    struct sbuf b;

    if (command == NULL) {
        return;
    }
    set = &command->sync_set;
    set->expect_epoch = view->store->primary.epoch;
    set->expect_sync_revision = view->store->sync.revision;
    (void)str_copy(set->primary, NAME_SIZE, primary);
    if (name != NULL) {
        set->n_names = 1;
        (void)str_copy(set->names[0], NAME_SIZE, name);
    }
    set->time_us = view->wall_us;
    (void)str_copy(set->node, NAME_SIZE, view->self.status.name);
    (void)str_copy(set->rule, NAME_SIZE, rule);
    sbuf_init(&b, set->evidence, sizeof(set->evidence));
    add_evidence(view, name, &b);
    add_choice(c, &b);
}

static void propose_empty(const struct sync_case *c, const char *rule)
{
    propose_state(c, c->view->self.status.name, NULL, rule);
}

void sync_rules_claim(const struct view *view, struct decision *d)
{
    const struct sync_case c = {.view = view, .d = d, .seen = &view->sync};
    bool off = view->conf.sync_mode == SYNC_OFF;

    propose_state(&c, off ? "" : view->self.status.name, NULL, off ? "sync-off" : "claim-sync");
}

/* ---- What is known ---- */

static bool waits_for(const struct sync_case *c, const char *name)
{
    return c->seen->wait.kind == SYNC_WAIT_NAME && str_equal(c->seen->wait.name, name);
}

/*
 * A commit of ours waited while no WAL sender could release it (each writes its priority
 * when it has read the setting), so all later ones wait; it was then released for this
 * standby, no other sender releases any, and the standby has flushed past it.
 */
static bool is_proven(const struct sync_case *c, const char *name)
{
    const struct view_replica *r = find_streaming(c->view, name);

    if (!waits_for(c, name) || !c->seen->held || !c->seen->released || r == NULL ||
        r->sync_priority == 0 || r->flushed < c->seen->held_lsn) {
        return false;
    }
    for (uint32_t i = 0; i < c->view->pg.n_replicas; i++) {
        const struct view_replica *other = &c->view->pg.replicas[i];

        if (other != r && other->sync_priority != 0) {
            return false;
        }
    }
    return true;
}

/* ---- What to do ---- */

static void want(const struct sync_case *c, enum sync_wait_kind kind, const char *name)
{
    c->d->sync.wait.kind = kind;
    (void)str_copy(c->d->sync.wait.name, NAME_SIZE, name);
}

/* One step towards waiting for that standby, and for certain. */
static void tighten(const struct sync_case *c, const char *name)
{
    bool trusted = c->named == name && !c->seen->gate_closed; /* Proven before it was named. */

    if (waits_for(c, name) && (c->seen->held || trusted)) {
        return;
    }
    if (c->seen->wait.kind != SYNC_WAIT_FOREVER) {
        want(c, SYNC_WAIT_FOREVER, "");
    } else if (!c->seen->held) {
        c->d->sync.probe = true;
    } else if (c->named == name || c->clear) {
        want(c, SYNC_WAIT_NAME, name);
    } else {
        propose_empty(c, "sync-refresh");
    }
}

static void let_through(const struct sync_case *c)
{
    if (c->seen->wait.kind == SYNC_WAIT_NOBODY) {
        return;
    }
    if (c->clear) {
        want(c, SYNC_WAIT_NOBODY, "");
    } else {
        propose_empty(c, "sync-refresh");
    }
}

/* Strict, and nobody there. */
static void hold(const struct sync_case *c)
{
    if (c->seen->wait.kind == SYNC_WAIT_NOBODY || c->seen->wait.kind == SYNC_WAIT_OTHER) {
        want(c, SYNC_WAIT_FOREVER, "");
    } else {
        c->d->sync.probe =
            c->seen->wait.kind == SYNC_WAIT_FOREVER && !c->seen->held && c->seen->gate_closed;
    }
}

static void with_named(const struct sync_case *c)
{
    bool broken = c->seen->wait.kind == SYNC_WAIT_NOBODY || c->seen->wait.kind == SYNC_WAIT_OTHER;

    if (broken || c->view->store->sync.n_names > 1) {
        propose_empty(c, "sync-broken");
    } else if (c->target == c->named) {
        c->d->sync.tightens = c->seen->gate_closed;
        tighten(c, c->named);
    } else if (!c->strict || c->target != NULL) {
        propose_empty(c, c->target != NULL ? "sync-replace" : "sync-degrade");
    }
    c->d->sync.gate_open = is_proven(c, c->named);
}

static void with_nobody(const struct sync_case *c)
{
    c->d->sync.tightens = c->target != NULL;
    if (c->seen->gate_closed && !c->clear) {
        propose_empty(c, "sync-refresh"); /* It may not have been proven for this server. */
    } else if (c->target == NULL) {
        c->strict ? hold(c) : let_through(c);
    } else if (is_proven(c, c->target)) {
        propose_state(c, c->view->self.status.name, c->target, "sync-restore");
    } else {
        tighten(c, c->target);
    }
    c->d->sync.gate_open = c->clear && (!c->strict || c->seen->held);
}

static void lead(const struct view *view, struct decision *d)
{
    const struct store_sync *y = &view->store->sync;
    struct sync_case c = {.view = view,
                          .d = d,
                          .seen = &view->sync,
                          .strict = view->conf.sync_mode == SYNC_STRICT,
                          .named = y->n_names > 0 ? y->names[0] : NULL,
                          .clear = y->n_names == 0 && y->revision > view->sync.risky_revision};

    if (!syncset_is_of(view->store, view->conf.sync_mode, view->self.status.name)) {
        sync_rules_claim(view, d);
    } else if (view->conf.sync_mode == SYNC_OFF) {
        want(&c, SYNC_WAIT_USER, "");
        d->sync.gate_open = true;
    } else if (view->sync.known) {
        choose(&c);
        c.named != NULL ? with_named(&c) : with_nobody(&c);
    }
}

static void add_wakes(const struct view *view, struct decision *d)
{
    const struct view_sync *s = &view->sync;

    if (s->gone_since_ms != 0) {
        propose_wake(view, d, s->gone_since_ms + sync_rules_patience_ms(view));
    }
    if (s->since_ms != 0) {
        propose_wake(view, d, s->since_ms + CONFIRM_MS);
    }
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        if (s->rests.items[i].until_ms > view->now_ms) {
            propose_wake(view, d, s->rests.items[i].until_ms);
        }
    }
}

void sync_rules_decide(const struct view *view, uint64_t bits, struct decision *d)
{
    const uint64_t all = F(CAUGHT_UP) | F(OWNER_ME) | F(LEASE) | F(RUNS_PRIMARY) | F(INIT_DONE);
    bool off = view->conf.sync_mode == SYNC_OFF;

    d->sync.wait.kind = SYNC_WAIT_KEEP;
    if ((bits & all) == all && !(bits & (F(OTHER_SYSID) | F(OLD_PRIMARY)))) {
        lead(view, d);
        add_wakes(view, d);
    } else if (!(bits & F(MAY_WRITE))) {
        d->sync.wait.kind = off ? SYNC_WAIT_USER : SYNC_WAIT_FOREVER;
    }
    POST(IMPLIES(d->sync.probe, d->sync.wait.kind == SYNC_WAIT_KEEP));
}
