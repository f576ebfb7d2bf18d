/*
 * What the agent counts for GET /metrics, beyond the view. The agent owns one and
 * writes into it as things happen; nothing is decided by it.
 */
#ifndef VECHE_HTTP_HTTP_STATS_H
#define VECHE_HTTP_HTTP_STATS_H

#include "base/log_file.h"
#include "store/types.h"

#define HTTP_PEERS_MAX 16
#define HTTP_RULES_MAX 128 /* More than there are of either kind. */

/* Upper bounds in seconds. */
#define HTTP_BOUNDS                                              \
    {                                                            \
        0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5 \
    }
#define HTTP_N_BOUNDS 10

struct http_histogram {
    uint64_t counts[HTTP_N_BOUNDS + 1]; /* Not cumulative; the last: above all bounds. */
    double sum_s;
};

void http_histogram_add(struct http_histogram *h, uint64_t ns);

struct http_rule {    /* How often a decision went over to that rule. */
    const char *name; /* A constant; NULL = no more. */
    uint64_t n;
};

void http_rule_count(struct http_rule rules[HTTP_RULES_MAX], const char *name);

struct http_peer {
    char name[HOST_SIZE]; /* Its address while the name is unknown. */
    bool up;
    uint64_t rtt_us; /* Last measured; 0 = not yet. */
};

struct http_stats {
    /* What peer/ knows; copied when asked for. */
    uint32_t n_configured;
    uint32_t n_up;
    uint64_t n_refused; /* Connections since the start of the agent. */
    int64_t expires_s;  /* Unix time at which our certificate does; 0 = none. */
    uint32_t n_peers;
    struct http_peer peers[HTTP_PEERS_MAX];
    int64_t contact_us; /* Wall clock: when a majority of voters was last heard; 0 = never. */

    struct log_file_stats log; /* Of log.dir. */

    /* Counted by the agent since its start. */
    uint64_t n_rounds;           /* Of renewals, begun. */
    uint64_t n_renewals;         /* Of these, with a majority: the lease runs longer. */
    uint64_t n_refusals;         /* Answers of voters that did not grant. */
    struct http_histogram tick;  /* How long a tick took. */
    struct http_histogram react; /* From an observation to the end of the tick that acts on it. */
    struct http_rule node_rules[HTTP_RULES_MAX], cluster_rules[HTTP_RULES_MAX];
};

#endif
