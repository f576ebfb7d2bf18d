/*
 * What is counted for GET /metrics: what happens is counted where it happens, what
 * peer/ knows is copied when it is asked for.
 */
#include "agent/agent_state.h"
#include "base/str.h"

static void fill_peers(struct agent *a)
{
    struct peer_link_info infos[HTTP_PEERS_MAX];
    struct http_stats *s = &a->stats;

    s->n_peers = (uint32_t)peer_links(a->peer, infos, HTTP_PEERS_MAX);
    s->n_up = 0;
    for (uint32_t i = 0; i < s->n_peers; i++) {
        struct http_peer *p = &s->peers[i];

        (void)str_copy(p->name, sizeof(p->name),
                       infos[i].name[0] != '\0' ? infos[i].name : infos[i].address);
        p->up = infos[i].up;
        p->rtt_us = infos[i].rtt_us;
        s->n_up += infos[i].up ? 1 : 0;
    }
    s->n_configured = s->n_peers;
}

const struct http_stats *agent_stats(void *data)
{
    struct agent *a = data;
    struct peer_counters counters = peer_counters(a->peer);
    uint64_t silent_ms = a->contact_ms != 0 ? clock_ms() - a->contact_ms : 0;

    fill_peers(a);
    a->stats.log = log_file_stats();
    a->stats.n_refused = counters.n_refused;
    a->stats.expires_s = counters.expires_s;
    a->stats.contact_us = a->contact_ms != 0 ? clock_wall_us() - (int64_t)silent_ms * 1000 : 0;
    return &a->stats;
}
