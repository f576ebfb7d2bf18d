/*
 * The two judgements, one after the other, and the small duties that stand
 * beside every rule: to say who we are, that the epoch held its lease, how far
 * the WAL has come.
 */
#include "core/decide.h"

#include <inttypes.h>

#include "base/str.h"
#include "core/cluster_rules.h"
#include "core/facts.h"
#include "core/lookup.h"
#include "core/node_rules.h"
#include "core/propose.h"
#include "core/sync_rules.h"

#define LOSS_RULE    "diverged-wal"
#define STALE_MIN_MS UINT64_C(1000)

static bool tags_are_same(const struct store_member *a, const struct store_member *b)
{
    return a->nofailover == b->nofailover && a->noloadbalance == b->noloadbalance &&
           a->clonefrom == b->clonefrom && a->nosync == b->nosync && a->nostream == b->nostream &&
           a->failover_priority == b->failover_priority &&
           str_equal(a->replicatefrom, b->replicatefrom) && str_equal(a->tags, b->tags);
}

static bool members_are_same(const struct store_member *a, const struct store_member *b)
{
    return a->id == b->id && a->mode == b->mode && str_equal(a->raft_address, b->raft_address) &&
           str_equal(a->api_url, b->api_url) && str_equal(a->pg_host, b->pg_host) &&
           a->pg_port == b->pg_port && a->pg_version == b->pg_version &&
           str_equal(a->veche_version, b->veche_version) &&
           str_equal(a->glibc_version, b->glibc_version) && tags_are_same(a, b) &&
           a->last_state == b->last_state;
}

/* A server that does not run tells its major version at most: what is known in full
 * stays until another version is seen, so that a stop and a start write nothing. */
static uint32_t version_of(const struct view *view, const struct store_member *known)
{
    uint32_t seen = view->self.member.pg_version;
    bool is_full = view->self.status.postmaster_start_us != 0;

    if (known == NULL || is_full || (seen != 0 && seen / 10000 != known->pg_version / 10000)) {
        return seen;
    }
    return known->pg_version;
}

/* The store's record of this node follows what it is. Of the state only the
 * difference between stopped on purpose and not is kept: what changes often
 * travels in status messages. */
static void publish_member(const struct view *view, uint64_t bits, struct decision *d)
{
    struct store_member m = view->self.member;
    const struct store_member *known = store_find_member(view->store, m.name);
    bool stopped = (bits & F(STOPPING)) && (bits & F(QUIET));

    m.pg_version = version_of(view, known);
    m.last_state = stopped ? PG_STATE_STOPPED : PG_STATE_RUNNING;
    if (!(bits & F(CAUGHT_UP)) || view->store->cluster.id == 0 || m.name[0] == '\0' || m.id == 0) {
        return;
    }
    if (known == NULL || !members_are_same(known, &m)) {
        propose_member(view, d, &m);
    } else if (!str_equal(known->proxy.url, m.proxy.url)) {
        propose_member_proxy(view, d, &m);
    }
}

static void say_held(const struct view *view, uint64_t bits, struct decision *d)
{
    struct command *c;

    if (!(bits & F(LEASE)) || (bits & F(HELD)) || d->drop_lease) {
        return;
    }
    c = propose_begin(view, d, COMMAND_EPOCH_HELD);
    if (c != NULL) {
        c->epoch_held.expect_epoch = view->store->primary.epoch;
    }
}

static bool is_primary(uint64_t bits)
{
    const uint64_t all = F(OWNER_ME) | F(LEASE) | F(RUNS_PRIMARY);

    return (bits & all) == all && !(bits & (F(OTHER_SYSID) | F(OLD_PRIMARY)));
}

static bool mark_begins(const struct view *view, uint64_t bits)
{
    return view->conf.pause && is_primary(bits) && (bits & F(INIT_DONE)) && (bits & F(CAUGHT_UP)) &&
           !(bits & (F(UNFENCED) | F(OP_KEEPS)));
}

/* Resumed, nothing here writes, nor does the guard know of anything that runs unfenced, and
 * the lease that whatever will write needs first does not come. It never does after an agent
 * before this one gave the epoch up and its release got lost; and while the mark is there
 * nobody else takes over. (An agent that stops releases, and that ends the mark.) */
static bool nothing_is_unfenced(const struct view *view, uint64_t bits)
{
    return !view->conf.pause && (bits & F(HOPELESS)) && !(bits & (F(MAY_WRITE) | F(STOPPING))) &&
           view->lease.unfenced_epoch == 0;
}

/* With a live lease and an armed guard, or with nothing that could write. Paused again, one
 * that may be on its way out is ended for certain, and made anew. */
static bool mark_ends(const struct view *view, uint64_t bits)
{
    bool fenced = (bits & F(ARMED)) || !(bits & F(MAY_WRITE));
    bool stays = view->conf.pause && view->lease.mark_is_fresh;

    return (bits & F(UNFENCED)) &&
           (((bits & F(LEASE)) && fenced && !stays) || nothing_is_unfenced(view, bits));
}

/* The boot that it was made in is over, and all of its processes with it: what runs here
 * began after that, and writes nothing. */
static bool mark_is_void(uint64_t bits)
{
    return (bits & F(UNFENCED)) && !(bits & (F(OWNER_ME) | F(MAY_WRITE)));
}

/*
 * Pause (design.md section 5): the mark, and only when the store shows it the guard lets go
 * (node_rules.c, disarm); on resume the other way round.
 */
static void say_unfenced(const struct view *view, uint64_t bits, struct decision *d)
{
    const char *rule = mark_begins(view, bits) ? "pause"
                       : mark_ends(view, bits) ? "resume"
                       : mark_is_void(bits)    ? "reboot"
                                               : NULL;
    struct command *c = rule != NULL ? propose_begin(view, d, COMMAND_EPOCH_UNFENCED) : NULL;

    if (c == NULL) {
        return;
    }
    c->epoch_unfenced.expect_epoch = view->store->primary.epoch;
    c->epoch_unfenced.unfenced = !(bits & F(UNFENCED));
    c->epoch_unfenced.time_us = view->wall_us;
    (void)str_copy(c->epoch_unfenced.node, NAME_SIZE, view->self.status.name);
    (void)str_copy(c->epoch_unfenced.rule, NAME_SIZE, rule);
    (void)str_copy(c->epoch_unfenced.evidence, TEXT_SIZE, d->node.evidence);
}

/* The new database is ready once its sequence has ended well. */
static void say_initialised(const struct view *view, uint64_t bits, struct decision *d)
{
    struct command *c;

    if (!is_primary(bits) || !(bits & F(INIT_RUNNING)) || !(bits & F(DATA_GOOD)) ||
        (bits & F(OP_BOOTSTRAPS)) || view->self.status.sysid == 0) {
        return;
    }
    c = propose_begin(view, d, COMMAND_CLUSTER_INIT);
    if (c != NULL) {
        c->cluster_init.expect_epoch = view->store->primary.epoch;
        c->cluster_init.sysid = view->self.status.sysid;
        c->cluster_init.timeline = view->self.status.timeline;
    }
}

/*
 * What runs with the lease is the line, whether it was found with the database or
 * PostgreSQL took another number than it was told to (pg_promote says so): better
 * declared late than never.
 */
static void say_line(const struct view *view, uint64_t bits, struct decision *d)
{
    const struct store_line *l = &view->store->line;
    uint32_t timeline = view->self.status.timeline;
    bool mine = l->epoch == view->store->primary.epoch && lookup_line_is_mine(view);
    struct command_line_set line = {.timeline = timeline};

    if (!is_primary(bits) || !(bits & F(INIT_DONE)) || timeline == 0 || timeline < l->timeline ||
        (timeline == l->timeline && l->owner_id != 0)) {
        return;
    }
    if (mine) {
        line.parent = l->parent;
        line.lsn = l->lsn;
    }
    propose_line(view, d, &line);
}

static void say_history(const struct view *view, uint64_t bits, struct decision *d)
{
    const struct store_history *h = &view->pg.history;
    struct command *c;

    if (!is_primary(bits) || !view->pg.history_due || h->timeline == 0 ||
        lookup_timeline_end(view->store, h->timeline) == h->lsn) {
        return;
    }
    c = propose_begin(view, d, COMMAND_HISTORY_ADD);
    if (c == NULL) {
        return;
    }
    c->history_add.expect_epoch = view->store->primary.epoch;
    c->history_add.timeline = h->timeline;
    c->history_add.lsn = h->lsn;
    c->history_add.time_us = h->time_us != 0 ? h->time_us : view->wall_us;
    (void)str_copy(c->history_add.reason, TEXT_SIZE, h->reason);
    (void)str_copy(c->history_add.new_primary, NAME_SIZE,
                   h->new_primary[0] != '\0' ? h->new_primary : view->self.status.name);
}

static void say_progress(const struct view *view, uint64_t bits, struct decision *d)
{
    const struct store_progress *known = &view->store->progress;
    const struct status *s = &view->self.status;
    struct command *c;

    if (!is_primary(bits) || !(bits & F(INIT_DONE)) || s->flushed == 0 || s->timeline == 0 ||
        (known->lsn == s->flushed && known->timeline == s->timeline)) {
        return;
    }
    c = propose_begin(view, d, COMMAND_PROGRESS_SET);
    if (c != NULL) {
        c->progress_set.expect_epoch = view->store->primary.epoch;
        c->progress_set.lsn = s->flushed;
        c->progress_set.timeline = s->timeline;
        c->progress_set.time_us = view->wall_us;
    }
}

static bool is_on_record(const struct store *store, const char *node, const char *evidence)
{
    const struct store_ledger_entry *entry;

    for (uint64_t k = 0; (entry = store_ledger_newest(store, k)) != NULL; k++) {
        if (str_equal(entry->rule, LOSS_RULE) && str_equal(entry->node, node) &&
            str_equal(entry->evidence, evidence)) {
            return true;
        }
    }
    return false;
}

static void describe_extent(const struct view_loss *loss, struct sbuf *b)
{
    char from[LSN_TEXT_SIZE], to[LSN_TEXT_SIZE];

    (void)lsn_format(loss->to, to, sizeof(to));
    if (loss->from == 0) {
        sbuf_printf(b, " up to %s, from where the cluster left it, bytes unknown",
                    loss->to != 0 ? to : "its end");
        return;
    }
    sbuf_printf(b, " from %s", lsn_format(loss->from, from, sizeof(from)));
    if (loss->from_timeline != 0 && loss->from_timeline != loss->timeline) {
        sbuf_printf(b, " of timeline %u", loss->from_timeline);
    }
    if (loss->to != 0) {
        sbuf_printf(b, " to %s, %" PRIu64 " bytes", to, loss->bytes);
    } else if (loss->bytes != 0) {
        sbuf_printf(b, " on, at most %" PRIu64 " bytes", loss->bytes);
    }
}

static void describe_loss(const struct view_loss *loss, char *text, size_t size)
{
    struct sbuf b;

    sbuf_init(&b, text, size); /* A long path is cut. */
    sbuf_printf(&b, "timeline %u", loss->timeline);
    describe_extent(loss, &b);
    sbuf_printf(&b, "; %s%s", loss->kept[0] != '\0' ? "kept in " : "not kept (diverged_keep)",
                loss->kept);
}

/*
 * What a rewind or clone gave up here is told once (S7), also when the agent that did it
 * died before: by the one that reads its record, as soon as it knows the ledger.
 */
static void say_loss(const struct view *view, uint64_t bits, struct decision *d)
{
    const struct view_loss *loss = &view->pg.loss;
    char evidence[TEXT_SIZE];
    struct command *c;

    if (loss->timeline == 0 || loss->sysid != view->store->cluster.sysid ||
        !(bits & F(CAUGHT_UP))) {
        return;
    }
    describe_loss(loss, evidence, sizeof(evidence));
    d->loss_told = is_on_record(view->store, view->self.status.name, evidence);
    if (d->loss_told) {
        return;
    }
    c = propose_begin(view, d, COMMAND_LEDGER_ADD);
    if (c == NULL) {
        return;
    }
    c->ledger_add.time_us = view->wall_us;
    (void)str_copy(c->ledger_add.node, NAME_SIZE, view->self.status.name);
    (void)str_copy(c->ledger_add.rule, NAME_SIZE, LOSS_RULE);
    (void)str_copy(c->ledger_add.evidence, TEXT_SIZE, evidence);
    (void)str_copy(c->ledger_add.result, NAME_SIZE, "given-up");
}

static bool has_walsender(const struct view *view, const char *name)
{
    for (uint32_t i = 0; i < view->pg.n_replicas; i++) {
        if (str_equal(view->pg.replicas[i].name, name) &&
            str_equal(view->pg.replicas[i].state, "streaming")) {
            return true;
        }
    }
    return false;
}

/*
 * A member that lost its connection without a word left a WAL sender here, which
 * keeps the slot until wal_sender_timeout: it can not stream again before that.
 */
static void end_stale_walsender(const struct view *view, uint64_t bits, struct decision *d)
{
    uint64_t patience_ms = MAX(STALE_MIN_MS, view->conf.ttl_ms / 3);

    for (uint32_t i = 0; is_primary(bits) && i < view->n_peers; i++) {
        const struct view_peer *p = &view->peers[i];

        if (p->idle_since_ms != 0 && p->idle_since_ms + patience_ms <= view->now_ms &&
            lookup_is_heard(view, p->status.id) && has_walsender(view, p->status.name)) {
            (void)str_copy(d->stale_walsender, NAME_SIZE, p->status.name);
            d->stale_for_ms = view->now_ms - p->idle_since_ms;
            return;
        }
    }
}

void decide(const struct view *view, struct decision *d)
{
    struct node_facts facts;

    PRE(view->store != NULL);
    PRE(view->n_peers <= MEMBERS_MAX);
    memset(d, 0, offsetof(struct decision, commands));
    d->wake_ms = view->now_ms + view->conf.loop_wait_ms;
    node_facts_gather(view, &facts);
    node_rules_decide(view, &facts, d);
    cluster_rules_decide(view, d);
    sync_rules_decide(view, facts.bits, d);
    say_held(view, facts.bits, d);
    say_unfenced(view, facts.bits, d);
    say_initialised(view, facts.bits, d);
    say_line(view, facts.bits, d);
    say_history(view, facts.bits, d);
    publish_member(view, facts.bits, d);
    say_progress(view, facts.bits, d);
    say_loss(view, facts.bits, d);
    end_stale_walsender(view, facts.bits, d);
    POST(d->node.rule != NULL && d->cluster.rule != NULL);
    POST(d->n_commands <= DECISION_COMMANDS_MAX);
    POST(IMPLIES(d->renew_lease, facts.bits & F(OWNER_ME)));
}

/* Replay has come to an epoch after the one that the guard attests: nobody is sent here any
 * more, though the lease may run for a moment. */
static bool is_superseded(const struct view *view)
{
    const struct view_lease *lease = &view->lease;

    return view->store->primary.epoch > MAX(lease->epoch, lease->unfenced_epoch);
}

bool decide_is_primary_now(const struct view *view)
{
    struct node_facts facts;

    node_facts_gather(view, &facts);
    if (facts.bits & F(CONTINUED)) {
        return (facts.bits & F(RUNS_PRIMARY)) && (facts.bits & F(DATA_GOOD)) &&
               !(facts.bits & F(FROZEN)) && view->op.running == ACTION_NONE &&
               !is_superseded(view);
    }
    /* Unfenced it is primary with a lease and without: nobody else can be. Before the store
     * has the database, it may yet be discarded for another one. */
    if ((facts.bits & F(UNFENCED)) && (facts.bits & F(OWNER_ME)) && !(facts.bits & F(ARMED))) {
        facts.bits |= F(LEASE);
    }
    return is_primary(facts.bits) && (facts.bits & F(INIT_DONE)) && !(facts.bits & F(FROZEN)) &&
           view->op.running != ACTION_FENCE && view->op.running != ACTION_STOP &&
           !view->sync.gate_closed;
}
