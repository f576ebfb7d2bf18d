/*
 * GET /cluster, /history: the cluster as this node knows it, in
 * Patroni's fields. Members are sorted by name, as in the store.
 */
#include <jansson.h>

#include "base/clock.h"
#include "http/http_routes.h"

static const char *role_of(const struct view *v, const struct store_member *m)
{
    if (m == http_leader(v)) {
        return "leader";
    }
    if (m->mode == MODE_WITNESS) {
        return "witness";
    }
    return http_is_synchronous(v, m->name) ? "sync_standby" : "replica";
}

static const char *state_of(const struct view *v, const struct store_member *m,
                            const struct status *s)
{
    enum pg_state state;

    if (s == NULL) {
        return m->last_state == PG_STATE_STOPPED ? pg_state_name(PG_STATE_STOPPED)
                                                 : pg_state_name(PG_STATE_UNKNOWN);
    }
    state = s == &v->self.status ? http_state(v) : s->pg_state;
    if (s->mode == MODE_POSTGRES && s->pg_role == PG_ROLE_STANDBY && state == PG_STATE_RUNNING) {
        if (s->streaming) {
            return "streaming";
        }
        if (s->in_archive_recovery) {
            return "in archive recovery";
        }
    }
    return http_shown_state(v, s).name;
}

static void add_position(json_t *o, const char *prefix, lsn_t lsn, lsn_t primary)
{
    char key[32];
    char text[LSN_TEXT_SIZE];

    (void)snprintf(key, sizeof(key), "%s_lag", prefix);
    if (lsn == 0) {
        json_object_set_new(o, key, json_string("unknown"));
        (void)snprintf(key, sizeof(key), "%s_lsn", prefix);
        json_object_set_new(o, key, json_string("unknown"));
        return;
    }
    json_object_set_new(o, key, json_integer(primary > lsn ? (json_int_t)(primary - lsn) : 0));
    (void)snprintf(key, sizeof(key), "%s_lsn", prefix);
    json_object_set_new(o, key, json_string(lsn_format(lsn, text, sizeof(text))));
}

static void add_positions(json_t *o, const struct view *v, const struct status *s)
{
    lsn_t primary = http_primary_lsn(v);
    lsn_t received = s != NULL ? MAX(s->received, s->replayed) : 0;
    lsn_t replayed = s != NULL ? s->replayed : 0;

    add_position(o, "receive", received, primary);
    add_position(o, "replay", replayed, primary);
    json_object_set(o, "lag", json_object_get(o, "receive_lag"));
    json_object_set(o, "lsn", json_object_get(o, "receive_lsn"));
}

static void add_tags(json_t *o, const struct store_member *m)
{
    json_t *tags = json_loads(m->tags, 0, NULL);

    if (tags != NULL && json_object_size(tags) > 0) {
        json_object_set(o, "tags", tags);
    }
    json_decref(tags);
}

/* Of a member that is silent, what it said last. */
static uint32_t timeline_of(const struct view *v, const struct store_member *m,
                            const struct status *s)
{
    for (uint32_t i = 0; s == NULL && i < v->n_peers; i++) {
        s = v->peers[i].status.id == m->id ? &v->peers[i].status : NULL;
    }
    return s != NULL ? s->timeline : 0;
}

static json_t *member_of(const struct view *v, const struct store_member *m)
{
    const struct status *s = http_member_status(v, m);
    uint32_t timeline = timeline_of(v, m, s);
    json_t *o = json_object();

    json_object_set_new(o, "name", json_string(m->name));
    json_object_set_new(o, "role", json_string(role_of(v, m)));
    json_object_set_new(o, "state", json_string(state_of(v, m, s)));
    json_object_set_new(o, "api_url", json_string(m->api_url));
    if (m->mode == MODE_WITNESS) {
        add_tags(o, m);
        return o;
    }
    json_object_set_new(o, "host", json_string(m->pg_host));
    json_object_set_new(o, "port", json_integer((json_int_t)m->pg_port));
    if (m->proxy.url[0] != '\0') {
        json_object_set_new(o, "proxy_url", http_text(m->proxy.url));
    }
    if (timeline != 0) {
        json_object_set_new(o, "timeline", json_integer((json_int_t)timeline));
    }
    if (s != NULL) {
        http_add_pending(o, s);
    }
    if (s != NULL && s->operation[0] != '\0') {
        json_object_set_new(o, "operation", http_text(s->operation));
    }
    http_add_scheduled_restart(o, v->store, m->name);
    add_tags(o, m);
    if (m != http_leader(v)) {
        add_positions(o, v, s);
    }
    return o;
}

static void add_switchover(json_t *o, const struct store_request *request)
{
    char at[CLOCK_TEXT_SIZE];
    json_t *scheduled;

    if (request->id == 0 || request->at_us == 0 || request->kind != REQUEST_SWITCHOVER) {
        return;
    }
    scheduled = json_object();
    json_object_set_new(scheduled, "at",
                        json_string(http_format_time(request->at_us, at, sizeof(at))));
    json_object_set_new(scheduled, "from", json_string(request->from));
    if (request->to[0] != '\0') {
        json_object_set_new(scheduled, "to", json_string(request->to));
    }
    json_object_set_new(o, "scheduled_switchover", scheduled);
}

/* vechectl draws its table from this, so what it needs beyond Patroni's fields
 * stands under "veche". */
static json_t *veche_of(const struct http_request *r)
{
    const struct view *v = r->view;
    char sysid[32] = "";
    json_t *o = json_object();

    if (v->store->cluster.init == INIT_DONE) {
        (void)snprintf(sysid, sizeof(sysid), "%llu", (unsigned long long)v->store->cluster.sysid);
    }
    json_object_set_new(o, "system_identifier", json_string(sysid));
    json_object_set_new(o, "init", json_string(init_state_name(v->store->cluster.init)));
    json_object_set_new(o, "epoch", json_integer((json_int_t)http_epoch(v)));
    json_object_set_new(o, "owner",
                        json_string(v->store->primary.has_owner ? v->store->primary.owner : ""));
    if (v->store->primary.unfenced) {
        json_object_set_new(o, "unfenced", json_true());
    }
    json_object_set_new(o, "answered_by", json_string(v->self.status.name));
    json_object_set_new(o, "raft_has_leader", json_boolean(v->raft.leader != 0));
    json_object_set_new(o, "dcs_last_seen", json_integer(r->stats->contact_us / 1000000));
    return o;
}

void http_handle_cluster(const struct http_request *r, struct http_reply *reply)
{
    const struct view *v = r->view;
    json_t *o = json_object();
    json_t *members = json_array();

    for (uint32_t i = 0; i < v->store->n_members; i++) {
        json_array_append_new(members, member_of(v, &v->store->members[i]));
    }
    json_object_set_new(o, "members", members);
    if (v->conf.pause) {
        json_object_set_new(o, "pause", json_true());
    }
    add_switchover(o, &v->store->request);
    json_object_set_new(o, "scope", json_string(v->conf.scope));
    json_object_set_new(o, "veche", veche_of(r));
    http_reply_json(reply, o);
}

void http_handle_history(const struct http_request *r, struct http_reply *reply)
{
    const uint32_t n = r->view->store->n_history;
    const uint32_t wanted = r->view->conf.history_lines; /* The newest. */
    json_t *rows = json_array();

    for (uint32_t i = wanted > 0 && wanted < n ? n - wanted : 0; i < n; i++) {
        const struct store_history *h = &r->view->store->history[i];
        char at[CLOCK_TEXT_SIZE];
        json_t *row = json_array();

        json_array_append_new(row, json_integer((json_int_t)h->timeline));
        json_array_append_new(row, json_integer((json_int_t)h->lsn));
        json_array_append_new(row, http_text(h->reason));
        json_array_append_new(row, json_string(http_format_time(h->time_us, at, sizeof(at))));
        json_array_append_new(row, json_string(h->new_primary));
        json_array_append_new(rows, row);
    }
    http_reply_json(reply, rows);
}

/* The answer without a stream, for HEAD and OPTIONS. */
void http_handle_events(const struct http_request *r, struct http_reply *reply)
{
    (void)r;
    reply->code = 200;
    reply->content_type = "text/event-stream";
    reply->wants_events = true;
}
