/*
 * Facts that several answers of the REST interface share.
 */
#include "http/http_routes.h"

#include <jansson.h>

#include "base/clock.h"
#include "base/str.h"
#include "core/lookup.h"
#include "core/syncset.h"

bool http_is_primary(const struct view *view)
{
    return decide_is_primary_now(view);
}

/* After a restart the guard attests the epoch; the store comes there by replay, and may
 * then tell of a newer one. */
bool http_holds_lease(const struct view *view)
{
    uint64_t epoch = view->store->primary.epoch;

    return view->lease.live &&
           (view->lease.continued ? view->lease.epoch >= epoch : view->lease.epoch == epoch);
}

uint64_t http_epoch(const struct view *view)
{
    uint64_t attested = view->lease.continued ? view->lease.epoch : 0;

    if (!view->raft.caught_up) {
        attested = MAX(attested, view->lease.unfenced_epoch);
    }
    return MAX(view->store->primary.epoch, attested);
}

bool http_is_latest(const struct http_request *r)
{
    return r->is_again || r->view->raft.leader == 0;
}

bool http_is_unlocked(const struct view *view)
{
    return http_leader(view) == NULL && !http_holds_lease(view) && !http_is_primary(view);
}

bool http_is_synchronous(const struct view *view, const char *name)
{
    return view->raft.caught_up && view->store->primary.has_owner &&
           str_equal(view->store->sync.primary, view->store->primary.owner) &&
           !str_equal(view->store->sync.primary, name) && syncset_confirms(view->store, name);
}

bool http_runs(const struct view *view)
{
    return view->self.status.pg_state == PG_STATE_RUNNING && lookup_answers(view, view->now_ms);
}

enum pg_state http_state(const struct view *view)
{
    enum pg_state state = view->self.status.pg_state;

    return state == PG_STATE_RUNNING && !http_runs(view) ? PG_STATE_UNKNOWN : state;
}

/* A restart that was asked for: between its begin and the next server. */
static bool is_restarting(const struct view *view, const struct status *s, enum pg_state state)
{
    bool found = false;

    for (uint32_t i = 0; i < view->store->n_orders; i++) {
        const struct store_order *o = &view->store->orders[i];

        found = found || (o->kind == REQUEST_RESTART && o->begun && !o->ended &&
                          str_equal(o->member, s->name));
    }
    return found && (state == PG_STATE_STOPPING || state == PG_STATE_STOPPED);
}

struct http_shown http_shown_state(const struct view *view, const struct status *s)
{
    static const struct {
        const char *operation; /* How it begins: the longer one first. */
        struct http_shown state;
    } makings[] = {{"bootstrap: method", {"running custom bootstrap script", 2}},
                   {"bootstrap", {"initializing new cluster", 0}},
                   {"clone", {"creating replica", 4}}};
    enum pg_state state = s == &view->self.status ? http_state(view) : s->pg_state;
    bool is_there =
        state == PG_STATE_RUNNING || state == PG_STATE_STARTING || state == PG_STATE_STOPPING;

    for (size_t i = 0; i < ARRAY_LENGTH(makings) && !is_there; i++) {
        if (str_starts_with(s->operation, makings[i].operation)) {
            return makings[i].state;
        }
    }
    state = is_restarting(view, s, state) ? PG_STATE_RESTARTING : state;
    return (struct http_shown){pg_state_name(state), pg_state_number(state)};
}

bool http_is_standby(const struct view *view)
{
    return http_runs(view) && view->self.status.pg_role == PG_ROLE_STANDBY;
}

const char *http_replication_state(const struct status *s)
{
    if (s->pg_role != PG_ROLE_STANDBY) {
        return NULL;
    }
    return s->streaming ? "streaming" : s->in_archive_recovery ? "in archive recovery" : NULL;
}

static bool is_fresh(const struct view *view, const struct view_peer *peer)
{
    return view->now_ms <= peer->received_ms + MAX(view->conf.ttl_ms, 2000);
}

const struct status *http_member_status(const struct view *view, const struct store_member *m)
{
    if (m->id == view->self.status.id) {
        return &view->self.status;
    }
    for (uint32_t i = 0; i < view->n_peers; i++) {
        if (view->peers[i].status.id == m->id && is_fresh(view, &view->peers[i])) {
            return &view->peers[i].status;
        }
    }
    return NULL;
}

/* A node that does not hear the owner itself believes the voters that renewed its
 * promise: they say at once when it ends. */
static bool is_promised(const struct view *view)
{
    const struct status *self = &view->self.status;
    uint64_t epoch = view->store->primary.epoch;
    bool promised = self->promise == PROMISE_LIVE && self->promise_epoch == epoch;

    for (uint32_t i = 0; i < view->n_peers; i++) {
        const struct status *s = &view->peers[i].status;

        promised = promised || (is_fresh(view, &view->peers[i]) && s->promise == PROMISE_LIVE &&
                                s->promise_epoch == epoch);
    }
    return promised;
}

/* Paused: it writes with the lease and without. */
static bool is_unfenced(const struct view *view, const struct status *s)
{
    return view->store->primary.unfenced && s->instance == view->store->primary.instance &&
           s->pg_state == PG_STATE_RUNNING && s->pg_role == PG_ROLE_PRIMARY;
}

const struct store_member *http_leader(const struct view *view)
{
    const struct store_primary *p = &view->store->primary;
    const struct store_member *m = p->has_owner ? store_find_member(view->store, p->owner) : NULL;
    const struct status *s = m != NULL ? http_member_status(view, m) : NULL;
    bool is_leader =
        s != NULL ? s->lease_epoch == p->epoch || is_unfenced(view, s) : is_promised(view);

    return is_leader ? m : NULL;
}

lsn_t http_primary_lsn(const struct view *view)
{
    const struct store_member *leader = http_leader(view);
    const struct status *s = leader != NULL ? http_member_status(view, leader) : NULL;
    lsn_t seen = s != NULL && s->pg_role == PG_ROLE_PRIMARY ? s->flushed : 0;

    return MAX(seen, view->store->progress.lsn);
}

const char *http_role(const struct view *view)
{
    const struct status *s = &view->self.status;

    if (s->mode == MODE_WITNESS) {
        return "witness";
    }
    if (s->data == DATA_EMPTY || s->pg_role == PG_ROLE_UNINITIALIZED) {
        return "uninitialized";
    }
    if (s->pg_role != PG_ROLE_PRIMARY && s->pg_state != PG_STATE_RUNNING &&
        view->pg.was_primary && http_holds_lease(view)) {
        return "primary"; /* It is restarted; files alone would make it a standby. */
    }
    return s->pg_role == PG_ROLE_PRIMARY ? "primary" : "replica";
}

void http_reply_json(struct http_reply *reply, json_t *object)
{
    char *text = json_dumps(object, 0);

    ASSERT(text != NULL);
    reply->code = 200;
    reply->content_type = "application/json";
    strbuf_add_text(&reply->body, text);
    free(text);
    json_decref(object);
}

const char *http_format_time(int64_t us, char *text, size_t size)
{
    static const char none[] = ".000000";
    char *at;

    (void)clock_format_iso(us, text, size);
    at = strstr(text, none);
    if (at != NULL) {
        memmove(at, at + strlen(none), strlen(at + strlen(none)) + 1);
    }
    return text;
}
