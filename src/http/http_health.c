/*
 * Health paths: the code is for load balancers, the body (that of /patroni) for
 * people. Reference: Patroni 4.1 REST API, health check endpoints. Different:
 * /primary is 200 only while PostgreSQL really takes writes, and /leader follows
 * the lease alone. Standby clusters and quorum commit are not there yet: nobody is a
 * standby leader or a quorum standby.
 */
#include <math.h>

#include <jansson.h>

#include "http/http_routes.h"

/* Behind what is known to be written: what was replayed, or what is safely here. */
static uint64_t lag_of(const struct view *view, bool replay)
{
    const struct status *s = &view->self.status;
    lsn_t primary = MAX(http_primary_lsn(view), s->received);
    lsn_t here = replay ? s->replayed : MAX(s->received, s->replayed);

    return primary > here ? primary - here : 0;
}

static bool lag_is_fine(const struct http_request *r)
{
    const char *text = kv_get(r->query, "lag");
    double bound;

    if (text == NULL || !http_parse_size(text, &bound)) {
        return true; /* As Patroni: what cannot be read does not count. */
    }
    return (double)lag_of(r->view, true) <= bound;
}

static bool state_matches(const struct http_request *r)
{
    const char *text = kv_get(r->query, "replication_state");
    const char *state = http_replication_state(&r->view->self.status);

    return text == NULL || text[0] == '\0' || str_equal(text, state);
}

/* A tag asked for as tag_KEY=VALUE, with the value as Patroni writes it, in lower case where it
 * is no text; a missing one does not match. */
static bool tag_matches(const json_t *tags, const char *key, const char *wanted)
{
    const json_t *value = json_object_get(tags, key);
    char *text;
    bool fine;

    if (value == NULL || json_is_null(value) || json_is_string(value)) {
        return str_equal(json_string_value(value), wanted);
    }
    text = json_dumps(value, JSON_ENCODE_ANY);
    fine = str_equal(text, wanted);
    free(text);
    return fine;
}

/* What is asked for without a value does not count. */
static bool tags_match(const struct http_request *r)
{
    json_t *tags = json_loads(r->view->self.member.tags, 0, NULL);
    bool fine = true;

    for (size_t i = 0; i < r->query->n; i++) {
        const struct kv *item = &r->query->items[i];

        if (str_starts_with(item->key, "tag_") && item->value != NULL && item->value[0] != '\0') {
            fine = fine && tag_matches(tags, item->key + 4, item->value);
        }
    }
    json_decref(tags);
    return fine;
}

static bool replica_is_fine(const struct http_request *r)
{
    return http_is_standby(r->view) && !r->view->self.member.noloadbalance && lag_is_fine(r) &&
           state_matches(r);
}

/* A lease may have run out since the view was made: an agent that was stopped for a while
 * answers before its next tick. */
static bool lease_may_run(const struct http_request *r)
{
    const struct view *v = r->view;

    return v->store->primary.unfenced || !v->lease.live ||
           r->now_ms < v->now_ms + v->lease.remaining_ms;
}

static bool is_primary(const struct http_request *r)
{
    return http_is_primary(r->view) && lease_may_run(r);
}

/* Unfenced it leads with a lease and without: nobody else can. */
static bool is_leader(const struct http_request *r)
{
    return is_primary(r) || (http_holds_lease(r->view) && lease_may_run(r));
}

/* Of a server that runs, when it last answered; of all else, when it was last looked at. */
static uint64_t seen_ms(const struct view *v)
{
    bool runs = v->self.status.mode == MODE_POSTGRES && v->self.status.pg_state == PG_STATE_RUNNING;

    return runs && v->pg.seen_ms != 0 ? MIN(v->pg.seen_ms, v->now_ms) : v->now_ms;
}

void http_tell_age(const struct http_request *r, struct http_reply *reply)
{
    reply->has_age = true;
    reply->age_ms = r->now_ms - MIN(seen_ms(r->view), r->now_ms);
}

static void answer(const struct http_request *r, struct http_reply *reply, bool fine)
{
    reply->code = fine ? 200 : 503;
    http_tell_age(r, reply);
    http_add_patroni_body(r, reply);
}

/* One of several that may be chosen: also by its tags. */
static void answer_chosen(const struct http_request *r, struct http_reply *reply, bool fine)
{
    answer(r, reply, fine && tags_match(r));
}

void http_handle_primary(const struct http_request *r, struct http_reply *reply)
{
    answer(r, reply, is_primary(r));
}

void http_handle_unavailable(const struct http_request *r, struct http_reply *reply)
{
    answer(r, reply, false);
}

void http_handle_leader(const struct http_request *r, struct http_reply *reply)
{
    answer(r, reply, is_leader(r));
}

void http_handle_replica(const struct http_request *r, struct http_reply *reply)
{
    answer_chosen(r, reply, replica_is_fine(r));
}

static bool is_synchronous(const struct http_request *r)
{
    return http_is_synchronous(r->view, r->view->self.status.name);
}

void http_handle_sync(const struct http_request *r, struct http_reply *reply)
{
    answer_chosen(r, reply, replica_is_fine(r) && is_synchronous(r));
}

void http_handle_async(const struct http_request *r, struct http_reply *reply)
{
    answer_chosen(r, reply, replica_is_fine(r) && r->view->raft.caught_up && !is_synchronous(r));
}

void http_handle_read_only_sync(const struct http_request *r, struct http_reply *reply)
{
    answer_chosen(r, reply, is_primary(r) || (replica_is_fine(r) && is_synchronous(r)));
}

void http_handle_read_only(const struct http_request *r, struct http_reply *reply)
{
    answer_chosen(r, reply, is_primary(r) || replica_is_fine(r));
}

void http_handle_read_only_quorum(const struct http_request *r, struct http_reply *reply)
{
    answer_chosen(r, reply, is_primary(r));
}

void http_handle_health(const struct http_request *r, struct http_reply *reply)
{
    answer_chosen(r, reply, http_runs(r->view));
}

/* Alive: the tick runs. An answer at all nearly proves it, being on its loop: no is only
 * ever the first one after a stall. */
void http_handle_liveness(const struct http_request *r, struct http_reply *reply)
{
    uint64_t bound_ms = is_primary(r) ? r->view->conf.ttl_ms : 2 * r->view->conf.ttl_ms;

    http_tell_age(r, reply);
    http_reply_text(reply,
                    r->view->conf.pause || r->now_ms < r->view->now_ms + bound_ms ? 200 : 503, "");
}

/* Why this node is not ready; NULL = it is. */
static const char *unready(const struct http_request *r)
{
    const struct view *v = r->view;
    const char *lag = kv_get(r->query, "lag");
    const char *mode = kv_get(r->query, "mode");
    bool replay = mode == NULL || strcmp(mode, "write") != 0;
    double bound =
        v->conf.maximum_lag_on_failover >= 0 ? (double)v->conf.maximum_lag_on_failover : INFINITY;

    if (v->self.status.mode == MODE_WITNESS) {
        return v->raft.usable ? NULL : "this witness is in no cluster yet";
    }
    if (is_primary(r)) {
        return NULL;
    }
    if (!http_is_standby(v)) {
        return "PostgreSQL is not running";
    }
    if (!v->self.status.streaming) {
        return "PostgreSQL is not streaming from the primary";
    }
    if (lag != NULL) {
        (void)http_parse_size(lag, &bound); /* As Patroni: what cannot be read does not count. */
    }
    return (double)lag_of(v, replay) <= bound ? NULL : "replication lag exceeds the limit";
}

void http_handle_readiness(const struct http_request *r, struct http_reply *reply)
{
    const char *why = unready(r);

    http_tell_age(r, reply);
    http_reply_text(reply, why == NULL ? 200 : 503, why != NULL ? why : "");
}
