/*
 * Synchronous commit in the model of PostgreSQL, and what the agent remembers of it
 * (src/pg/pg_sync.c, src/agent/sync.c). A setting is in force late: when the
 * checkpointer, and each WAL sender for itself, has read it. Inert unless
 * options.sync.
 */
#ifndef SIM_SYNC_H
#define SIM_SYNC_H

#include "core/decide.h"
#include "sim.h"
#include "wal.h"

struct sim_sync_seen { /* What the last observation saw. */
    bool valid;
    struct sync_wait wait;
    bool quiet; /* Our commit waits, and no WAL sender can release it. */
    lsn_t flushed;
    uint32_t n_replicas;
    struct view_replica replicas[SIM_NODES_MAX];
};

struct sim_sync { /* Of a server and its files. */
    struct sync_wait file;
    bool gate_closed;
    bool waits;                              /* In force: commits wait. */
    struct sync_wait senders[SIM_NODES_MAX]; /* What the WAL sender to that node has read. */
};

struct sim_sync_agent {   /* Gone with the process. */
    uint32_t incarnation; /* Of the server that the rest is about. */
    struct sim_sync_seen seen;
    bool writing, probing;
    bool held, released;
    lsn_t held_lsn;
    uint64_t probed_us;
    uint64_t risky_revision, gone_since_ms, since_ms;
    struct sync_rests rests;
};

struct sim_node;

enum sync_mode sim_sync_mode(const struct sim *s);
/* The tag: in every second seed another one after a while. */
uint32_t sim_sync_priority(const struct sim *s, const struct sim_node *n);
void sim_sync_start(struct sim *s, struct sim_node *n, bool as_standby); /* The server starts. */
void sim_sync_connect(struct sim *s, struct sim_node *standby); /* It has a new WAL sender. */
void sim_sync_observe(struct sim *s, struct sim_node *n);
bool sim_sync_lets_in(const struct sim *s, const struct sim_node *n); /* Clients. */
/* The commit at that position need not wait, or no longer. */
bool sim_sync_lets_through(const struct sim *s, const struct sim_node *n, struct wal_pos pos);

void sim_sync_gather(struct sim *s, struct sim_node *n);
void sim_sync_act(struct sim *s, struct sim_node *n, const struct decision *d);
void sim_sync_on_caught_up(struct sim_node *n);

#endif
