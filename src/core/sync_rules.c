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

struct sync_case {
    const struct view *view;
    struct decision *d;
    const struct view_sync *seen;
    const char *named;  /* The standby of the store; NULL = none. */
    const char *target; /* Who shall be it; NULL = nobody can. */
    bool strict;
    bool clear; /* The store names nobody, and nothing on its way can make it. */
};

uint64_t sync_rules_patience_ms(const struct view *view)
{
    return MIN(MAX(view->conf.loop_wait_ms, PATIENCE_MIN_MS),
               MAX(view->conf.ttl_ms, PATIENCE_MIN_MS));
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

static bool may_be_synchronous(const struct view *view, const struct store_member *m)
{
    return m != NULL && m->mode == MODE_POSTGRES && !m->nosync &&
           !str_equal(m->name, view->self.status.name) && is_unique(view->store, m);
}

static bool is_present(const struct sync_case *c)
{
    const struct store_member *m = store_find_member(c->view->store, c->named);
    uint64_t gone_ms = c->seen->gone_since_ms;

    return may_be_synchronous(c->view, m) &&
           (gone_ms == 0 || c->view->now_ms < gone_ms + sync_rules_patience_ms(c->view));
}

/* Who could take over comes before who could not, then who has more. */
static bool is_better(const struct view *view, const struct store_member *a,
                      const struct store_member *b)
{
    bool a_barred = a->nofailover || a->failover_priority == 0;
    bool b_barred = b->nofailover || b->failover_priority == 0;

    if (a_barred != b_barred) {
        return b_barred;
    }
    return find_streaming(view, a->name)->flushed > find_streaming(view, b->name)->flushed;
}

static const char *find_target(const struct view *view)
{
    const struct store *s = view->store;
    const struct store_member *best = NULL;

    for (uint32_t i = 0; i < s->n_members; i++) {
        const struct store_member *m = &s->members[i];

        if (may_be_synchronous(view, m) && lookup_is_heard(view, m->id) &&
            find_streaming(view, m->name) != NULL && (best == NULL || is_better(view, m, best))) {
            best = m;
        }
    }
    return best != NULL ? best->name : NULL;
}

static bool takes_too_long(const struct sync_case *c)
{
    return !c->strict && c->seen->since_ms != 0 &&
           c->view->now_ms >= c->seen->since_ms + CONFIRM_MS;
}

static const char *choose(const struct sync_case *c)
{
    if (takes_too_long(c)) {
        c->d->sync.gave_up = true;
        return NULL;
    }
    if (c->named != NULL && is_present(c)) {
        return c->named;
    }
    return c->view->now_ms < c->seen->retry_ms ? NULL : find_target(c->view);
}

/* ---- Proposals ---- */

static void add_evidence(const struct view *view, const char *name, struct sbuf *b)
{
    uint64_t gone_ms = view->sync.gone_since_ms;
    char text[LSN_TEXT_SIZE];

    sbuf_printf(b, "epoch %" PRIu64 ", mode %s", view->store->primary.epoch,
                view->conf.sync_mode == SYNC_OFF      ? "off"
                : view->conf.sync_mode == SYNC_STRICT ? "strict"
                                                      : "on");
    if (name != NULL) {
        sbuf_printf(b, "; a commit waited, %s has WAL to %s", name,
                    lsn_format(find_streaming(view, name)->flushed, text, sizeof(text)));
    } else if (view->store->sync.n_names > 0 && gone_ms != 0) {
        sbuf_printf(b, "; %s has not streamed for %" PRIu64 ".%" PRIu64 " s",
                    view->store->sync.names[0], (view->now_ms - gone_ms) / 1000,
                    (view->now_ms - gone_ms) % 1000 / 100);
    }
}

static void propose_state(const struct view *view, struct decision *d, const char *primary,
                          const char *name, const char *rule)
{
    struct command *c = propose_begin(view, d, COMMAND_SYNC_SET);
    struct sbuf b;

    if (c == NULL) {
        return;
    }
    c->sync_set.expect_epoch = view->store->primary.epoch;
    c->sync_set.expect_sync_revision = view->store->sync.revision;
    (void)str_copy(c->sync_set.primary, NAME_SIZE, primary);
    if (name != NULL) {
        c->sync_set.n_names = 1;
        (void)str_copy(c->sync_set.names[0], NAME_SIZE, name);
    }
    c->sync_set.time_us = view->wall_us;
    (void)str_copy(c->sync_set.node, NAME_SIZE, view->self.status.name);
    (void)str_copy(c->sync_set.rule, NAME_SIZE, rule);
    sbuf_init(&b, c->sync_set.evidence, sizeof(c->sync_set.evidence));
    add_evidence(view, name, &b);
}

static void propose_empty(const struct sync_case *c, const char *rule)
{
    propose_state(c->view, c->d, c->view->self.status.name, NULL, rule);
}

void sync_rules_claim(const struct view *view, struct decision *d)
{
    bool off = view->conf.sync_mode == SYNC_OFF;

    propose_state(view, d, off ? "" : view->self.status.name, NULL,
                  off ? "sync-off" : "claim-sync");
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
        propose_state(c->view, c->d, c->view->self.status.name, c->target, "sync-restore");
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
        c.target = choose(&c);
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
    propose_wake(view, d, s->retry_ms);
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
