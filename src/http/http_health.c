/*
 * Health paths: the code is for load balancers, the body (that of /patroni) for
 * people. Reference: Patroni 4.1 REST API, health check endpoints. Different:
 * /primary is 200 only while PostgreSQL really takes writes, and /leader follows
 * the lease alone.
 */
#include <ctype.h>
#include <strings.h>

#include <jansson.h>

#include "http/http_routes.h"

/* "16kB", "10MB", "1GB", "100" in bytes; false if it cannot be read. */
static bool parse_size(const char *text, uint64_t *ret_bytes)
{
    static const struct {
        const char *unit;
        unsigned shift;
    } units[] = {{"", 0}, {"b", 0}, {"kb", 10}, {"mb", 20}, {"gb", 30}, {"tb", 40}};
    char digits[32];
    size_t n = strspn(text, "0123456789");
    uint64_t value;

    if (n == 0 || n >= sizeof(digits)) {
        return false;
    }
    memcpy(digits, text, n);
    digits[n] = '\0';
    if (!str_to_u64(digits, 0, UINT64_MAX >> 40, &value)) {
        return false;
    }
    while (text[n] == ' ') {
        n++;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(units); i++) {
        if (strcasecmp(text + n, units[i].unit) == 0) {
            *ret_bytes = value << units[i].shift;
            return true;
        }
    }
    return false;
}

static uint64_t lag_of(const struct view *view)
{
    const struct status *s = &view->self.status;
    lsn_t primary = MAX(http_primary_lsn(view), s->received);

    return primary > s->replayed ? primary - s->replayed : 0;
}

static bool lag_is_fine(const struct http_request *r)
{
    const char *text = kv_get(r->query, "lag");
    uint64_t bound;

    if (text == NULL || !parse_size(text, &bound)) {
        return true; /* As Patroni: what cannot be read does not count. */
    }
    return lag_of(r->view) <= bound;
}

static bool state_matches(const struct http_request *r)
{
    const char *text = kv_get(r->query, "replication_state");

    return text == NULL || (strcmp(text, "streaming") == 0 && r->view->self.status.streaming);
}

/* A tag asked for as tag_KEY=VALUE; a missing one does not match (as Patroni). */
static bool tag_matches(const json_t *tags, const char *key, const char *wanted)
{
    const json_t *value = json_object_get(tags, key);
    char *text;
    bool fine;

    if (json_is_string(value)) {
        return strcasecmp(json_string_value(value), wanted) == 0;
    }
    text = value != NULL ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    fine = text != NULL && strcasecmp(text, wanted) == 0;
    free(text);
    return fine;
}

static bool tags_match(const struct http_request *r)
{
    json_t *tags = json_loads(r->view->self.member.tags, 0, NULL);
    bool fine = true;

    for (size_t i = 0; i < r->query->n; i++) {
        const struct kv *item = &r->query->items[i];

        if (str_starts_with(item->key, "tag_")) {
            fine = fine && tag_matches(tags, item->key + 4, item->value != NULL ? item->value : "");
        }
    }
    json_decref(tags);
    return fine;
}

static bool replica_is_fine(const struct http_request *r)
{
    return http_is_standby(r->view) && !r->view->self.member.noloadbalance && lag_is_fine(r) &&
           state_matches(r) && tags_match(r);
}

static void answer(const struct http_request *r, struct http_reply *reply, bool fine)
{
    reply->code = fine ? 200 : 503;
    http_add_patroni_body(r, reply);
}

void http_handle_primary(const struct http_request *r, struct http_reply *reply)
{
    answer(r, reply, http_is_primary(r->view));
}

void http_handle_leader(const struct http_request *r, struct http_reply *reply)
{
    answer(r, reply, http_holds_lease(r->view));
}

void http_handle_replica(const struct http_request *r, struct http_reply *reply)
{
    answer(r, reply, replica_is_fine(r));
}

static bool is_synchronous(const struct http_request *r)
{
    return http_is_synchronous(r->view, r->view->self.status.name);
}

void http_handle_sync(const struct http_request *r, struct http_reply *reply)
{
    answer(r, reply, replica_is_fine(r) && is_synchronous(r));
}

void http_handle_async(const struct http_request *r, struct http_reply *reply)
{
    answer(r, reply, replica_is_fine(r) && !is_synchronous(r));
}

void http_handle_read_only_sync(const struct http_request *r, struct http_reply *reply)
{
    answer(r, reply, http_is_primary(r->view) || (replica_is_fine(r) && is_synchronous(r)));
}

void http_handle_read_only(const struct http_request *r, struct http_reply *reply)
{
    answer(r, reply, http_is_primary(r->view) || replica_is_fine(r));
}

void http_handle_health(const struct http_request *r, struct http_reply *reply)
{
    answer(r, reply, r->view->self.status.pg_state == PG_STATE_RUNNING);
}

/* Alive: the tick runs. An answer at all nearly proves it, being on its loop. */
void http_handle_liveness(const struct http_request *r, struct http_reply *reply)
{
    uint64_t bound_ms = http_is_primary(r->view) ? r->view->conf.ttl_ms : 2 * r->view->conf.ttl_ms;

    http_reply_text(
        reply, r->view->conf.pause || r->view->self.status.tick_age_ms < bound_ms ? 200 : 503, "");
}

void http_handle_readiness(const struct http_request *r, struct http_reply *reply)
{
    const struct view *v = r->view;
    const char *text = kv_get(r->query, "lag");
    uint64_t bound = v->conf.maximum_lag_on_failover >= 0
                         ? (uint64_t)v->conf.maximum_lag_on_failover
                         : UINT64_MAX;

    if (v->self.status.mode == MODE_WITNESS) {
        http_reply_text(reply, v->raft.usable ? 200 : 503,
                        v->raft.usable ? "" : "this witness is in no cluster yet");
        return;
    }
    if (text != NULL) {
        (void)parse_size(text, &bound); /* As Patroni: what cannot be read does not count. */
    }
    if (http_is_primary(v)) {
        http_reply_text(reply, 200, "");
    } else if (!http_is_standby(v)) {
        http_reply_text(reply, 503, "PostgreSQL is not running");
    } else if (!v->self.status.streaming) {
        http_reply_text(reply, 503, "PostgreSQL is not streaming from the primary");
    } else if (lag_of(v) > bound) {
        http_reply_text(reply, 503, "replication lag exceeds the limit");
    } else {
        http_reply_text(reply, 200, "");
    }
}
