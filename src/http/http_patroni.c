/*
 * GET /patroni: what this node says about itself, with Patroni's field names.
 * Fields that do not apply are absent. What is ours alone stands under "veche".
 */
#include <jansson.h>

#include "base/clock.h"
#include "core/lookup.h"
#include "http/http_routes.h"
#include "veche/api.h"

static void set_time(json_t *object, const char *key, int64_t us)
{
    char text[CLOCK_TEXT_SIZE];

    (void)http_format_time(us, text, sizeof(text));
    if (text[10] == 'T') {
        text[10] = ' '; /* As PostgreSQL and Patroni print times. */
    }
    json_object_set_new(object, key, json_string(text));
}

static json_t *xlog_of(const struct view *v)
{
    const struct status *s = &v->self.status;
    json_t *xlog = json_object();

    if (s->pg_role == PG_ROLE_PRIMARY) {
        json_object_set_new(xlog, "location", json_integer((json_int_t)s->flushed));
        return xlog;
    }
    json_object_set_new(xlog, "received_location", json_integer((json_int_t)s->received));
    json_object_set_new(xlog, "replayed_location", json_integer((json_int_t)s->replayed));
    if (v->pg.replay_time_us != 0) {
        set_time(xlog, "replayed_timestamp", v->pg.replay_time_us);
    } else {
        json_object_set_new(xlog, "replayed_timestamp", json_null());
    }
    json_object_set_new(xlog, "paused", json_boolean(s->replay_paused));
    return xlog;
}

static json_t *replication_of(const struct view *v)
{
    json_t *rows = json_array();

    for (uint32_t i = 0; i < v->pg.n_replicas; i++) {
        const struct view_replica *r = &v->pg.replicas[i];
        json_t *row = json_object();

        json_object_set_new(row, "usename", http_text(r->user));
        json_object_set_new(row, "application_name", http_text(r->name));
        json_object_set_new(row, "client_addr",
                            r->client_address[0] != '\0' ? json_string(r->client_address)
                                                         : json_null()); /* A unix socket. */
        json_object_set_new(row, "state", http_text(r->state));
        json_object_set_new(row, "sync_state", http_text(r->sync_state));
        json_object_set_new(row, "sync_priority", json_integer((json_int_t)r->sync_priority));
        json_array_append_new(rows, row);
    }
    return rows;
}

static void add_postgres(json_t *o, const struct view *v)
{
    const struct status *s = &v->self.status;

    const char *replication_state = http_replication_state(s);

    if (s->mode == MODE_WITNESS || !http_runs(v)) {
        return;
    }
    json_object_set_new(o, "server_version", json_integer((json_int_t)s->pg_version));
    json_object_set_new(o, "xlog", xlog_of(v));
    if (http_is_standby(v) && http_is_synchronous(v, s->name)) {
        json_object_set_new(o, "sync_standby", json_true());
    }
    if (s->timeline != 0) {
        json_object_set_new(o, "timeline", json_integer((json_int_t)s->timeline));
    }
    if (replication_state != NULL) {
        json_object_set_new(o, "replication_state", json_string(replication_state));
    }
    if (v->pg.n_replicas > 0) {
        json_object_set_new(o, "replication", replication_of(v));
    }
}

static void add_cluster(json_t *o, const struct http_request *r)
{
    const struct view *v = r->view;
    const struct status *s = &v->self.status;
    json_t *tags = json_loads(v->self.member.tags, 0, NULL);
    char sysid[32];

    if (v->conf.pause) {
        json_object_set_new(o, "pause", json_true());
    }
    if (http_is_unlocked(v)) {
        json_object_set_new(o, "cluster_unlocked", json_true());
    }
    if (r->stats->contact_us != 0) {
        json_object_set_new(o, "dcs_last_seen", json_integer(r->stats->contact_us / 1000000));
    }
    if (tags != NULL && json_object_size(tags) > 0) {
        json_object_set(o, "tags", tags);
    }
    json_decref(tags);
    (void)snprintf(sysid, sizeof(sysid), "%llu",
                   (unsigned long long)(s->sysid != 0 ? s->sysid : v->store->cluster.sysid));
    if (strcmp(sysid, "0") != 0) {
        json_object_set_new(o, "database_system_identifier", json_string(sysid));
    }
    http_add_pending(o, s);
}

static json_t *veche_of(const struct http_request *r)
{
    const struct view *v = r->view;
    const struct status *s = &v->self.status;
    json_t *o = json_object();

    json_object_set_new(o, "name", json_string("Veche"));
    json_object_set_new(o, "version", json_string(VECHE_VERSION));
    json_object_set_new(o, "mode", json_string(node_mode_name(s->mode)));
    json_object_set_new(o, "node_id", json_sprintf("%016llx", (unsigned long long)s->id));
    json_object_set_new(o, "epoch", json_integer((json_int_t)http_epoch(v)));
    json_object_set_new(o, "lease_live", json_boolean(http_holds_lease(v)));
    json_object_set_new(o, "lease_remaining_ms", json_integer((json_int_t)v->lease.remaining_ms));
    http_add_guard(o, v);
    json_object_set_new(o, "promise", json_string(promise_state_name(s->promise)));
    json_object_set_new(o, "raft_leader", json_boolean(v->raft.is_leader));
    json_object_set_new(o, "raft_term", json_integer((json_int_t)v->raft.term));
    json_object_set_new(o, "raft_voter", json_boolean(lookup_is_voter(v, s->id)));
    json_object_set_new(o, "raft_usable", json_boolean(v->raft.usable));
    if (v->raft.problem[0] != '\0') {
        json_object_set_new(o, "raft_problem", http_text(v->raft.problem));
    }
    json_object_set_new(o, "node_rule", json_string(r->decision->node.rule));
    json_object_set_new(o, "node_evidence", http_text(r->decision->node.evidence));
    json_object_set_new(o, "cluster_rule", json_string(r->decision->cluster.rule));
    if (v->raft.is_leader) {
        json_object_set_new(o, "cluster_evidence", http_text(r->decision->cluster.evidence));
    }
    if (s->operation[0] != '\0') {
        json_object_set_new(o, "operation", http_text(s->operation));
    }
    if (s->problem[0] != '\0') {
        json_object_set_new(o, "problem", http_text(s->problem));
    }
    return o;
}

/* Patroni loses what does not fit into its queue; here it is on stderr. A few lines wait
 * always, says Patroni. */
static void add_log(json_t *o, const struct log_file_stats *log)
{
    if (log->n_waiting > 2) {
        json_object_set_new(o, "logger_queue_size", json_integer((json_int_t)log->n_waiting));
    }
    if (log->n_elsewhere > 0) {
        json_object_set_new(o, "logger_records_lost", json_integer((json_int_t)log->n_elsewhere));
    }
}

void http_add_patroni_body(const struct http_request *r, struct http_reply *reply)
{
    const struct view *v = r->view;
    const struct status *s = &v->self.status;
    json_t *o = json_object();
    char *text;

    json_object_set_new(o, "state", json_string(http_shown_state(v, s).name));
    if (http_runs(v) && s->postmaster_start_us != 0) {
        set_time(o, "postmaster_start_time", s->postmaster_start_us);
    }
    json_object_set_new(o, "role", json_string(http_role(v)));
    add_postgres(o, v);
    add_cluster(o, r);
    json_object_set_new(o, "patroni",
                        json_pack("{s:s, s:s, s:s}", "version", VECHE_PATRONI_VERSION, "scope",
                                  v->conf.scope, "name", s->name));
    http_add_scheduled_restart(o, v->store, s->name);
    if (s->no_watchdog) {
        json_object_set_new(o, "watchdog_failed", json_true());
    }
    add_log(o, &r->stats->log);
    json_object_set_new(o, "veche", veche_of(r));
    text = json_dumps(o, 0);
    ASSERT(text != NULL);
    reply->content_type = "application/json";
    strbuf_add_text(&reply->body, text);
    free(text);
    json_decref(o);
}

void http_handle_patroni(const struct http_request *r, struct http_reply *reply)
{
    reply->code = 200;
    http_tell_age(r, reply);
    http_add_patroni_body(r, reply);
}
