/*
 * GET /metrics: Patroni's names and labels (reference: Patroni 4.1, api.py's
 * metrics as documented), then ours. A value that does not apply is 0.
 */
#include "http/http_routes.h"
#include "veche/api.h"

static double seconds_of(int64_t us)
{
    return (double)us / 1e6;
}

static void add(struct strbuf *b, const struct view *v, const struct http_metric *m)
{
    strbuf_printf(b, "# HELP %s %s\n# TYPE %s %s\n%s{scope=\"%s\",name=\"%s\"} %.16g\n", m->name,
                  m->help, m->name, m->type, m->name, v->conf.scope, v->self.status.name, m->value);
}

void http_add_metrics(struct strbuf *b, const struct view *v, const struct http_metric *m, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add(b, v, &m[i]);
    }
}

/* clang-format off */
static void add_patroni(struct strbuf *b, const struct view *v)
{
    const struct status *s = &v->self.status;
    bool running = s->mode == MODE_POSTGRES && s->pg_state == PG_STATE_RUNNING;
    bool primary = http_is_primary(v);
    bool standby = http_is_standby(v);
    const struct http_metric metrics[] = {
        {"patroni_version", "gauge", "Patroni version whose interface this is.", VECHE_PATRONI_VERSION_NUM},
        {"patroni_postgres_running", "gauge", "Value is 1 if PostgreSQL is running, 0 otherwise.", running},
        {"patroni_postmaster_start_time", "gauge", "Epoch seconds since PostgreSQL started.", running ? seconds_of(s->postmaster_start_us) : 0},
        {"patroni_primary", "gauge", "Value is 1 if this node is the primary, 0 otherwise.", primary},
        {"patroni_xlog_location", "counter", "Current location of the WAL, 0 if this node is not the primary.", running && !standby ? (double)s->flushed : 0},
        {"patroni_standby_leader", "gauge", "Value is 1 if this node is the standby leader, 0 otherwise.", 0},
        {"patroni_replica", "gauge", "Value is 1 if this node is a replica, 0 otherwise.", standby},
        {"patroni_sync_standby", "gauge", "Value is 1 if this node is a sync standby, 0 otherwise.", standby && http_is_synchronous(v, s->name)},
        {"patroni_quorum_standby", "gauge", "Value is 1 if this node is a quorum standby, 0 otherwise.", 0},
        {"patroni_xlog_received_location", "counter", "Current location of the received WAL, 0 if this node is not a replica.", standby ? (double)s->received : 0},
        {"patroni_xlog_replayed_location", "counter", "Current location of the replayed WAL, 0 if this node is not a replica.", standby ? (double)s->replayed : 0},
        {"patroni_xlog_replayed_timestamp", "gauge", "Timestamp of the last replayed transaction, 0 if there is none.", standby ? seconds_of(v->pg.replay_time_us) : 0},
        {"patroni_xlog_paused", "gauge", "Value is 1 if replay is paused, 0 otherwise.", standby && s->replay_paused},
        {"patroni_postgres_streaming", "gauge", "Value is 1 if PostgreSQL is streaming, 0 otherwise.", standby && s->streaming},
        {"patroni_postgres_in_archive_recovery", "gauge", "Value is 1 if PostgreSQL recovers from the archive, 0 otherwise.", standby && s->in_archive_recovery},
        {"patroni_postgres_server_version", "gauge", "Version of PostgreSQL, 0 if it is not running.", running ? (double)s->pg_version : 0},
        {"patroni_cluster_unlocked", "gauge", "Value is 1 if nobody is known to hold the lease, 0 otherwise.", http_leader(v) == NULL},
        {"patroni_failsafe_mode_is_active", "gauge", "Always 0: there is no failsafe mode, the lease does it.", 0},
        {"patroni_failsafe_mode_enabled", "gauge", "Always 0: there is no failsafe mode, the lease does it.", 0},
        {"patroni_failsafe_member", "gauge", "Always 0: there is no failsafe mode, the lease does it.", 0},
        {"patroni_postgres_timeline", "gauge", "Timeline of this node, 0 if PostgreSQL is not running.", running ? (double)s->timeline : 0},
        {"patroni_dcs_last_seen", "gauge", "Epoch seconds when this node last knew a Raft leader, 0 if it knows none.", v->raft.leader != 0 ? seconds_of(v->wall_us) : 0},
        {"patroni_pending_restart", "gauge", "Value is 1 if PostgreSQL needs a restart, 0 otherwise.", s->pending_restart},
        {"patroni_is_paused", "gauge", "Value is 1 if automatic failover is paused, 0 otherwise.", v->conf.pause},
        {"patroni_postgres_state", "gauge", "State of PostgreSQL as a number.", pg_state_number(s->pg_state)},
        {"patroni_failover_priority", "gauge", "Priority of this node as a candidate.", s->nofailover ? 0 : (double)s->failover_priority},
    };

    http_add_metrics(b, v, metrics, ARRAY_LENGTH(metrics));
}

static void add_veche(struct strbuf *b, const struct http_request *r)
{
    const struct view *v = r->view;
    const struct http_metric metrics[] = {
        {"veche_epoch", "gauge", "Present epoch of the primary's ownership.", (double)v->store->primary.epoch},
        {"veche_lease_live", "gauge", "Value is 1 if this node holds the lease, 0 otherwise.", http_holds_lease(v)},
        {"veche_lease_remaining_seconds", "gauge", "What is left of the lease, 0 without one.", (double)v->lease.remaining_ms / 1000},
        {"veche_promise_state", "gauge", "Promise as a voter: 0 none, 1 live, 2 quarantine.", (double)v->self.status.promise},
        {"veche_raft_leader", "gauge", "Value is 1 if this node is the Raft leader, 0 otherwise.", v->raft.is_leader},
        {"veche_raft_term", "gauge", "Raft term.", (double)v->raft.term},
        {"veche_raft_applied_index", "counter", "Log index of the last command applied.", (double)v->store->applied_index},
        {"veche_peers_configured", "gauge", "Peers in the configuration.", r->links.n_configured},
        {"veche_peers_connected", "gauge", "Peers that are connected.", r->links.n_up},
        {"veche_peer_connections_refused_total", "counter", "Connections of peers and strangers that were refused; the log says why.", (double)r->links.n_refused},
        {"veche_certificate_expires_seconds", "gauge", "Epoch seconds at which the certificate of raft.tls expires, 0 without one.", (double)r->links.expires_s},
        {"veche_members", "gauge", "Members of the cluster.", v->store->n_members},
    };

    http_add_metrics(b, v, metrics, ARRAY_LENGTH(metrics));
    strbuf_printf(b, "# HELP veche_info Version of this agent.\n# TYPE veche_info gauge\n"
                     "veche_info{scope=\"%s\",name=\"%s\",version=\"%s\"} 1\n",
                  v->conf.scope, v->self.status.name, VECHE_VERSION);
}
/* clang-format on */

void http_handle_metrics(const struct http_request *r, struct http_reply *reply)
{
    reply->code = 200;
    reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    add_patroni(&reply->body, r->view);
    add_veche(&reply->body, r);
    http_add_guard_metrics(&reply->body, r->view);
}
