/* Reading a view; what each answer means stands in the header. */
#include "core/lookup.h"

#include "base/str.h"

#define SILENT_MS SECONDS(10) /* Of a server that is asked about once a second. */

const struct view_peer *lookup_peer(const struct view *view, node_id id)
{
    PRE(view->n_peers <= MEMBERS_MAX);

    for (uint32_t i = 0; i < view->n_peers; i++) {
        if (id != 0 && view->peers[i].status.id == id) {
            return &view->peers[i];
        }
    }
    return NULL;
}

const struct status *lookup_status(const struct view *view, node_id id)
{
    const struct view_peer *peer = lookup_peer(view, id);

    if (id != 0 && id == view->self.status.id) {
        return &view->self.status;
    }
    return peer != NULL ? &peer->status : NULL;
}

const struct status *lookup_named(const struct view *view, const char *name)
{
    const struct store_member *m = store_find_member(view->store, name);

    return m != NULL ? lookup_status(view, m->id) : NULL;
}

bool lookup_is_heard_since(const struct view *view, node_id id, uint64_t since_ms)
{
    const struct view_peer *peer = lookup_peer(view, id);

    if (id != 0 && id == view->self.status.id) {
        return true;
    }
    return peer != NULL && peer->received_ms >= since_ms &&
           peer->received_ms + 2 * view->conf.status_period_ms >= view->now_ms;
}

bool lookup_is_heard(const struct view *view, node_id id)
{
    return lookup_is_heard_since(view, id, 0);
}

bool lookup_answers(const struct view *view, uint64_t now_ms)
{
    uint64_t since_ms = MAX(view->pg.seen_ms, view->self.started_ms);

    return view->self.status.mode == MODE_WITNESS ||
           (!view->pg.frozen && now_ms <= since_ms + SILENT_MS);
}

void lookup_tell(const struct view *view, uint64_t now_ms, struct status *status)
{
    if (status->pg_role == PG_ROLE_STANDBY && status->pg_state == PG_STATE_RUNNING &&
        !lookup_answers(view, now_ms)) {
        status->pg_state = PG_STATE_UNKNOWN;
    }
}

bool lookup_is_voter(const struct view *view, node_id id)
{
    PRE(view->raft.n_voters <= VOTERS_MAX);

    for (uint8_t i = 0; i < view->raft.n_voters; i++) {
        if (view->raft.voters[i] == id) {
            return true;
        }
    }
    return false;
}

uint32_t lookup_majority(const struct view *view)
{
    return view->raft.n_voters / 2u + 1u;
}

bool lookup_hears(const struct status *status, node_id id)
{
    PRE(status->n_heard <= VOTERS_MAX);

    for (uint8_t i = 0; i < status->n_heard; i++) {
        if (status->heard[i] == id) {
            return true;
        }
    }
    return false;
}

uint32_t lookup_voters_heard_by(const struct view *view, const struct status *status)
{
    uint32_t n = 0;

    for (uint8_t i = 0; i < view->raft.n_voters; i++) {
        n += lookup_hears(status, view->raft.voters[i]) ? 1u : 0u;
    }
    return n;
}

bool lookup_owner_is_me(const struct view *view)
{
    const struct store_primary *p = &view->store->primary;
    const struct status *self = &view->self.status;

    return p->has_owner && p->owner_id == self->id && p->instance == self->instance;
}

const struct status *lookup_running_primary(const struct view *view)
{
    const struct store_primary *p = &view->store->primary;
    const struct status *owner = p->has_owner ? lookup_status(view, p->owner_id) : NULL;

    if (owner == NULL || !lookup_is_heard(view, p->owner_id) || owner->instance != p->instance) {
        return NULL;
    }
    if (owner->pg_state != PG_STATE_RUNNING || owner->pg_role != PG_ROLE_PRIMARY ||
        owner->lease_epoch != p->epoch) {
        return NULL;
    }
    return owner;
}

uint32_t lookup_newest_timeline(const struct view *view)
{
    const struct store *s = view->store;
    const struct status *primary = lookup_running_primary(view);
    uint32_t newest = MAX(s->progress.timeline, s->primary.released_timeline);

    if (s->n_history > 0) {
        newest = MAX(newest, s->history[s->n_history - 1].timeline + 1);
    }
    if (primary != NULL) {
        newest = MAX(newest, primary->timeline);
    }
    return newest;
}

lsn_t lookup_timeline_end(const struct store *store, uint32_t timeline)
{
    for (uint32_t i = 0; i < store->n_history; i++) {
        if (store->history[i].timeline == timeline) {
            return store->history[i].lsn;
        }
    }
    return 0;
}

bool lookup_line_is_mine(const struct view *view)
{
    const struct store_line *l = &view->store->line;

    return l->timeline != 0 && l->owner_id != 0 && l->owner_id == view->self.status.id;
}

/*
 * A status is at most two periods old, an epoch's lease lasts longer than that after
 * the last round: had the declarer held its lease since, nobody would be judging
 * now. PostgreSQL puts a new timeline into pg_control before it takes writes.
 */
bool lookup_line_is_void(const struct view *view)
{
    const struct store *s = view->store;
    const struct store_line *l = &s->line;
    const struct status *d = lookup_status(view, l->owner_id);

    if (l->timeline == 0 || d == NULL || !lookup_is_heard(view, l->owner_id) ||
        d->data != DATA_VALID || d->sysid != s->cluster.sysid || d->timeline == 0) {
        return false;
    }
    return d->timeline < l->timeline &&
           (d->id == view->self.status.id || d->lease_epoch != l->epoch);
}

enum line_place lookup_line_place(const struct view *view, uint32_t timeline, lsn_t position)
{
    const struct store *s = view->store;
    const struct store_line *l = &s->line;
    lsn_t end = lookup_timeline_end(s, timeline);

    if (l->timeline == 0 || timeline == l->timeline || lookup_line_is_void(view)) {
        return LINE_ON;
    }
    if (timeline > l->timeline || (l->parent != 0 && timeline > l->parent)) {
        return LINE_BESIDE;
    }
    if (end == 0 && timeline == l->parent) {
        end = l->lsn;
    }
    if (end == 0) {
        return LINE_UNKNOWN;
    }
    return position > end ? LINE_BESIDE : LINE_BEFORE;
}

uint32_t lookup_last_number(const struct view *view)
{
    const struct store *s = view->store;
    uint32_t last = MAX(MAX(lookup_newest_timeline(view), s->line.timeline),
                        MAX(view->self.status.timeline, view->pg.taken_timeline));

    for (uint32_t i = 0; i < view->n_peers; i++) {
        const struct view_peer *peer = &view->peers[i];

        if (peer->status.sysid == s->cluster.sysid) {
            last = MAX(last, MAX(peer->status.timeline, peer->positions.timeline));
        }
    }
    return last;
}

lsn_t lookup_position(const struct status *status)
{
    return MAX(status->flushed, MAX(status->received, status->replayed));
}

struct mark {
    uint32_t timeline;
    lsn_t lsn;
    const char *source;
};

static void reach_add(struct reach *reach, uint32_t timeline, struct mark mark)
{
    if (mark.timeline >= timeline && mark.lsn > reach->lsn) {
        reach->lsn = mark.lsn;
        (void)str_copy(reach->source, sizeof(reach->source), mark.source);
    }
}

void lookup_note_reach(const struct store *store, struct view_peer *peer)
{
    const struct status *s = &peer->status;
    lsn_t position = lookup_position(s);

    if (s->mode == MODE_WITNESS || s->sysid != store->cluster.sysid ||
        s->timeline < peer->reach_timeline ||
        (s->timeline == peer->reach_timeline && position <= peer->reach_lsn)) {
        return;
    }
    peer->reach_timeline = s->timeline;
    peer->reach_lsn = position;
}

static void reach_add_peer(const struct view *view, const struct view_peer *peer, uint32_t timeline,
                           struct reach *reach)
{
    const struct status *s = &peer->status;
    const struct positions *p = &peer->positions;

    if (s->mode == MODE_WITNESS || s->id == 0) {
        return;
    }
    reach_add(reach, timeline, (struct mark){peer->reach_timeline, peer->reach_lsn, s->name});
    if (view->store->cluster.sysid != 0 && s->sysid != view->store->cluster.sysid) {
        return; /* Positions of another database say nothing about ours. */
    }
    reach_add(reach, timeline, (struct mark){s->timeline, lookup_position(s), s->name});
    if (p->valid && p->epoch == view->store->primary.epoch) {
        reach_add(reach, timeline, (struct mark){p->timeline, p->flushed, s->name});
    }
}

static void reach_add_all(const struct view *view, uint32_t timeline, struct reach *reach)
{
    const struct store *s = view->store;
    const struct status *self = &view->self.status;

    reach_add(reach, timeline, (struct mark){s->progress.timeline, s->progress.lsn, "progress"});
    reach_add(reach, timeline,
              (struct mark){s->primary.released_timeline, s->primary.released_lsn, "release"});
    if (self->mode == MODE_POSTGRES && (s->cluster.sysid == 0 || s->cluster.sysid == self->sysid)) {
        reach_add(reach, timeline,
                  (struct mark){self->timeline, lookup_position(self), self->name});
    }
    for (uint32_t i = 0; i < view->n_peers; i++) {
        reach_add_peer(view, &view->peers[i], timeline, reach);
    }
}

/*
 * Is it known what the last primary wrote? Yes if it told this node (its last
 * status arrived when it died, or is arriving now), or said so on release.
 * Otherwise, on a node that never heard it, only the coarse position in the
 * store is left, of unknown age. Taken strictly that would refuse everybody after
 * a restart of all nodes but the old primary; it is taken as known as long as
 * the store remembers a position of this timeline or a newer one, so that
 * the bound is checked against it, and as unknown when there is none at all. Of
 * a declared timeline that may have been begun only what was read on it counts.
 */
static bool reach_is_known(const struct view *view, uint32_t timeline)
{
    const struct store *s = view->store;
    const struct status *owner = lookup_status(view, s->primary.owner_id);
    struct reach line = {0};

    if (timeline < s->line.timeline && !lookup_line_is_void(view)) {
        reach_add_all(view, s->line.timeline, &line);
        return line.lsn != 0;
    }

    if (s->primary.epoch == 0) {
        return true; /* Nobody has written under this cluster's rules yet. */
    }
    if (owner != NULL && lookup_position(owner) != 0) {
        return true;
    }
    if (s->primary.released_lsn != 0) {
        return true;
    }
    return s->progress.lsn != 0 && s->progress.timeline >= timeline;
}

void lookup_reach(const struct view *view, uint32_t timeline, struct reach *ret_reach)
{
    memset(ret_reach, 0, sizeof(*ret_reach));
    reach_add_all(view, timeline, ret_reach);
    ret_reach->known = reach_is_known(view, timeline);
}

static bool entry_takes(const struct store_ledger_entry *entry)
{
    return !entry->note &&
           (str_equal(entry->result, "epoch-taken") || str_equal(entry->result, "epoch-forced") ||
            str_equal(entry->result, "epoch-overruled-sync"));
}

const struct store_ledger_entry *lookup_taken_before(const struct store *store, uint64_t before)
{
    const struct store_ledger_entry *entry;

    for (uint64_t k = 0; (entry = store_ledger_newest(store, k)) != NULL; k++) {
        if (entry->index < before && entry_takes(entry)) {
            return entry;
        }
    }
    return NULL;
}

/* Rules by which an owner says "not me". */
static bool rule_gives_up(const char *rule)
{
    static const char *const rules[] = {
        "no-lease",     "better-placed", "lag-bound",
        "start-failed", "start-timeout", "promote-failed",
        "no-data",      "nofailover",    "foreign-database-release",
        "off-line",     "does-not-answer",
    };

    for (size_t i = 0; i < ARRAY_LENGTH(rules); i++) {
        if (str_equal(rules[i], rule)) {
            return true;
        }
    }
    return false;
}

const struct store_ledger_entry *lookup_newest_release(const struct store *store)
{
    const struct store_ledger_entry *entry;

    for (uint64_t k = 0; (entry = store_ledger_newest(store, k)) != NULL; k++) {
        if (!entry->note && str_equal(entry->result, "epoch-released")) {
            return entry;
        }
    }
    return NULL;
}

bool lookup_gave_up(const struct store *store, const char *name)
{
    const struct store_primary *p = &store->primary;
    const struct store_ledger_entry *entry = lookup_newest_release(store);

    return !p->has_owner && entry != NULL && entry->epoch == p->epoch &&
           str_equal(p->owner, name) && rule_gives_up(entry->rule);
}

uint32_t lookup_give_ups_in_a_row(const struct store *store)
{
    const struct store_ledger_entry *entry;
    uint32_t n = 0;

    for (uint64_t k = 0; (entry = store_ledger_newest(store, k)) != NULL; k++) {
        if (entry->note || !str_equal(entry->result, "epoch-released")) {
            continue;
        }
        if (!rule_gives_up(entry->rule) || entry->epoch + n != store->primary.epoch) {
            break;
        }
        n++;
    }
    return store->primary.has_owner ? 0 : n;
}

bool lookup_is_forced(const struct store *store)
{
    const struct store_ledger_entry *entry = lookup_taken_before(store, UINT64_MAX);

    return store->primary.has_owner && entry != NULL && entry->epoch == store->primary.epoch &&
           !str_equal(entry->result, "epoch-taken");
}

bool lookup_request_is_due(const struct view *view)
{
    const struct store_request *r = &view->store->request;

    return r->id != 0 && (r->kind == REQUEST_SWITCHOVER || r->kind == REQUEST_FAILOVER) &&
           r->at_us <= view->wall_us;
}

bool lookup_request_is_acted_on(const struct store *store)
{
    const struct store_ledger_entry *taken = lookup_taken_before(store, UINT64_MAX);

    return store->request.id != 0 && taken != NULL && taken->index > store->request.id;
}
