/*
 * GET /metrics: Patroni's names and labels (reference: Patroni 4.1, api.py's
 * metrics as documented), then ours. A value that does not apply is 0.
 */
#include <inttypes.h>

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
static void add_patroni(struct strbuf *b, const struct http_request *r)
{
    const struct view *v = r->view;
    const struct status *s = &v->self.status;
    bool running = s->mode == MODE_POSTGRES && http_runs(v);
    bool primary = http_is_primary(v);
    bool standby = http_is_standby(v);
    bool failsafe = http_failsafe_is_on(r->config);
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
        {"patroni_cluster_unlocked", "gauge", "Value is 1 if nobody is known to hold the lease, 0 otherwise.", http_is_unlocked(v)},
        {"patroni_failsafe_mode_is_active", "gauge", "Always 0: there is no failsafe mode, the lease does it.", 0},
        {"patroni_failsafe_mode_enabled", "gauge", "Value is 1 if failsafe_mode is on; the lease does what it is for either way.", failsafe},
        {"patroni_failsafe_member", "gauge", "Value is 1 if failsafe_mode is on and GET /failsafe lists this node.", failsafe && s->mode == MODE_POSTGRES},
        {"patroni_postgres_timeline", "gauge", "Timeline of this node, 0 if PostgreSQL is not running.", running ? (double)s->timeline : 0},
        {"patroni_dcs_last_seen", "gauge", "Epoch seconds when this node last heard a majority of the voters, 0 if it never did.", (double)(r->stats->contact_us / 1000000)},
        {"patroni_pending_restart", "gauge", "Value is 1 if PostgreSQL needs a restart, 0 otherwise.", s->pending.n > 0},
        {"patroni_is_paused", "gauge", "Value is 1 if automatic failover is paused, 0 otherwise.", v->conf.pause},
        {"patroni_postgres_state", "gauge", "State of PostgreSQL as a number.", http_shown_state(v, s).number},
        {"patroni_failover_priority", "gauge", "Priority of this node as a candidate.", s->nofailover ? 0 : (double)s->failover_priority},
    };

    http_add_metrics(b, v, metrics, ARRAY_LENGTH(metrics));
}

static void add_veche(struct strbuf *b, const struct http_request *r)
{
    const struct view *v = r->view;
    const struct http_metric metrics[] = {
        {"veche_epoch", "gauge", "Present epoch of the primary's ownership.", (double)http_epoch(v)},
        {"veche_lease_live", "gauge", "Value is 1 if this node holds the lease, 0 otherwise.", http_holds_lease(v)},
        {"veche_lease_remaining_seconds", "gauge", "What is left of the lease, 0 without one.", (double)v->lease.remaining_ms / 1000},
        {"veche_promise_state", "gauge", "Promise as a voter: 0 none, 1 live, 2 quarantine.", (double)v->self.status.promise},
        {"veche_raft_leader", "gauge", "Value is 1 if this node is the Raft leader, 0 otherwise.", v->raft.is_leader},
        {"veche_raft_term", "gauge", "Raft term.", (double)v->raft.term},
        {"veche_raft_applied_index", "gauge", "Log index of the last command applied.", (double)v->store->applied_index},
        {"veche_peers_configured", "gauge", "Peers in the configuration.", r->stats->n_configured},
        {"veche_peers_connected", "gauge", "Peers that are connected.", r->stats->n_up},
        {"veche_peer_connections_refused_total", "counter", "Connections of peers and strangers that were refused; the log says why.", (double)r->stats->n_refused},
        {"veche_certificate_expires_seconds", "gauge", "Epoch seconds at which the certificate of raft.tls expires, 0 without one.", (double)r->stats->expires_s},
        {"veche_lease_rounds_total", "counter", "Rounds of renewals begun.", (double)r->stats->n_rounds},
        {"veche_lease_renewals_total", "counter", "Rounds that a majority granted.", (double)r->stats->n_renewals},
        {"veche_lease_refusals_total", "counter", "Answers of voters that did not grant.", (double)r->stats->n_refusals},
        {"veche_log_lines_elsewhere_total", "counter", "Lines that log.dir did not take; they went to stderr.", (double)r->stats->log.n_elsewhere},
        {"veche_log_errors_total", "counter", "Times that a file of log.dir could not be opened, written or rotated.", (double)r->stats->log.n_errors},
        {"veche_members", "gauge", "Members of the cluster.", v->store->n_members},
    };

    http_add_metrics(b, v, metrics, ARRAY_LENGTH(metrics));
    strbuf_printf(b, "# HELP veche_info Version of this agent.\n# TYPE veche_info gauge\n"
                     "veche_info{scope=\"%s\",name=\"%s\",version=\"%s\"} 1\n",
                  v->conf.scope, v->self.status.name, VECHE_VERSION);
}
/* clang-format on */

void http_histogram_add(struct http_histogram *h, uint64_t ns)
{
    static const double bounds[HTTP_N_BOUNDS] = HTTP_BOUNDS;
    double s = (double)ns / 1e9;
    size_t i = 0;

    while (i < HTTP_N_BOUNDS && s > bounds[i]) {
        i++;
    }
    h->counts[i]++;
    h->sum_s += s;
}

void http_rule_count(struct http_rule rules[HTTP_RULES_MAX], const char *name)
{
    for (size_t i = 0; i < HTTP_RULES_MAX; i++) {
        if (rules[i].name == NULL || str_equal(rules[i].name, name)) {
            rules[i].name = name;
            rules[i].n++;
            return;
        }
    }
}

static void add_histogram(struct strbuf *b, const struct view *v, const char *name,
                          const char *help, const struct http_histogram *h)
{
    static const double bounds[HTTP_N_BOUNDS] = HTTP_BOUNDS;
    const char *scope = v->conf.scope, *node = v->self.status.name;
    uint64_t n = 0;

    strbuf_printf(b, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
    for (size_t i = 0; i < HTTP_N_BOUNDS; i++) {
        n += h->counts[i];
        strbuf_printf(b, "%s_bucket{scope=\"%s\",name=\"%s\",le=\"%g\"} %" PRIu64 "\n", name, scope,
                      node, bounds[i], n);
    }
    n += h->counts[HTTP_N_BOUNDS];
    strbuf_printf(b,
                  "%s_bucket{scope=\"%s\",name=\"%s\",le=\"+Inf\"} %" PRIu64
                  "\n%s_sum{scope=\"%s\",name=\"%s\"} %.9g\n%s_count{scope=\"%s\",name=\"%s\"} "
                  "%" PRIu64 "\n",
                  name, scope, node, n, name, scope, node, h->sum_s, name, scope, node, n);
}

static void add_rules(struct strbuf *b, const struct view *v, const char *kind,
                      const struct http_rule *rules)
{
    for (size_t i = 0; i < HTTP_RULES_MAX && rules[i].name != NULL; i++) {
        strbuf_printf(b,
                      "veche_decisions_total{scope=\"%s\",name=\"%s\",kind=\"%s\",rule=\"%s\"} "
                      "%" PRIu64 "\n",
                      v->conf.scope, v->self.status.name, kind, rules[i].name, rules[i].n);
    }
}

static void add_decisions(struct strbuf *b, const struct http_request *r)
{
    strbuf_add_text(b, "# HELP veche_decisions_total How often a decision went over to that rule.\n"
                       "# TYPE veche_decisions_total counter\n");
    add_rules(b, r->view, "node", r->stats->node_rules);
    add_rules(b, r->view, "cluster", r->stats->cluster_rules);
}

/* Of peers that answer. */
static void add_round_trips(struct strbuf *b, const struct http_request *r)
{
    strbuf_add_text(b, "# HELP veche_peer_round_trip_seconds Last measured round trip to a peer.\n"
                       "# TYPE veche_peer_round_trip_seconds gauge\n");
    for (uint32_t i = 0; i < r->stats->n_peers; i++) {
        const struct http_peer *p = &r->stats->peers[i];

        if (p->up && p->rtt_us != 0) {
            strbuf_printf(
                b, "veche_peer_round_trip_seconds{scope=\"%s\",name=\"%s\",peer=\"%s\"} %.9g\n",
                r->view->conf.scope, r->view->self.status.name, p->name, (double)p->rtt_us / 1e6);
        }
    }
}

void http_handle_metrics(const struct http_request *r, struct http_reply *reply)
{
    reply->code = 200;
    reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    add_patroni(&reply->body, r);
    add_veche(&reply->body, r);
    http_add_guard_metrics(&reply->body, r->view);
    add_round_trips(&reply->body, r);
    add_decisions(&reply->body, r);
    add_histogram(&reply->body, r->view, "veche_tick_duration_seconds", "How long a tick took.",
                  &r->stats->tick);
    add_histogram(&reply->body, r->view, "veche_dirty_to_act_seconds",
                  "From an observation to the end of the tick that acted on it.", &r->stats->react);
}
