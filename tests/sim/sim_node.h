/*
 * One node: what survives what, and the agent's glue. Does what src/agent does
 * (gather, decide, act; lease rounds, status messages, barrier after a start),
 * with models in the place of libraft, libpq and the network.
 */
#ifndef SIM_NODE_H
#define SIM_NODE_H

#include "core/decide.h"
#include "node_guard.h"
#include "sim.h"
#include "sim_log.h"
#include "sim_ops.h"
#include "sim_pg.h"

/* Gone with the process. */
struct sim_agent {
    struct node_guard guard;
    bool begun; /* The guard has answered; before that there is nothing but the wait for it. */
    uint64_t started_ms;
    uint64_t stopping_since_ms; /* 0 = not told to stop. */
    uint64_t diverged_since_ms; /* Every decision since said so. */

    struct store store;
    uint64_t ttl_ms;
    bool is_paused;      /* As configured. */
    uint64_t fresh_mark; /* As in agent/guard_hooks.c. */
    bool disarm;         /* The last decision: the guard shall let go. */
    struct sim_leadership leadership;
    uint64_t leader_since_ms;
    uint64_t voters_changed_ms; /* The present voters were committed; 0 = before the start. */
    uint64_t epoch_applied_ms;

    struct lease_voter voter;
    struct lease_owner owner;
    uint64_t live_since_ms;
    uint64_t wanted_since_ms;
    uint64_t longest_asked_ns;
    bool lease_was_live;
    bool renew_armed;
    bool continued;               /* The lease is that of the agent before this one. */
    struct lease_renew own_renew; /* Round 0 = answered by ourselves too, or there is none. */

    uint64_t barrier_token; /* 0 = none under way. */
    uint64_t barrier_us;    /* When it was asked for. */
    bool barrier_known;
    uint64_t barrier_index;
    bool caught_up;

    struct view view;
    uint64_t positions_epoch;
    uint64_t positions_asked_ms;
    const char *last_node_rule;
    const char *last_cluster_rule;
    uint64_t pending[COMMAND_KINDS];    /* Token of the unanswered proposal; 0 = none. */
    uint64_t pending_us[COMMAND_KINDS]; /* When it was made. */
    uint64_t tick_at_us;                /* The event that counts. */
    bool is_primary_now;                /* What HAProxy would be told. */
    struct sim_ops ops;
    struct sim_sync_agent sync;
};

/* Events of frozen processes. */
struct sim_held {
    struct sim_event *events;
    size_t n, size;
};

struct sim_node {
    int i;
    node_id id;
    node_id lost_id; /* Under which it lost its disk last; 0 = never. */
    char name[NAME_SIZE];
    enum node_mode mode;
    bool nofailover;

    /* The machine. */
    struct sim_clock raw_clock, boot_clock;
    int64_t wall_offset_us;
    uint64_t paused_until_us;
    uint64_t agent_paused_until_us; /* Its process alone, by SIGSTOP. */
    uint64_t disk_stalled_until_us;

    /* tmpfs: until the next reboot. */
    uint8_t boot_id[16];
    uint64_t instance;
    uint64_t promise[LEASE_FILE_SIZE / sizeof(uint64_t)];

    /* Disk. */
    uint64_t longest_grant_ns;
    struct sim_pg pg; /* Its processes outlive the agent, not a crash of the node. */

    struct sim_guard guard;
    struct sim_held held;

    /* The process. */
    bool is_up;
    uint32_t life;           /* Counts processes. */
    struct sim_agent *agent; /* Memory kept; only meaningful while it is up. */
};

struct sim_node *sim_node_add(struct sim *s, enum node_mode mode);
void sim_node_free(struct sim_node *n);

/* Fresh clocks, empty tmpfs, new boot id. */
void sim_node_boot(struct sim *s, struct sim_node *n);
/* From node_guard.c: the guard has said what it knows. */
void node_begin(struct sim *s, struct sim_node *n, const struct sim_word *state);
void sim_node_start_after(struct sim *s, struct sim_node *n, uint64_t after_us);
/* The agent's process is gone, PostgreSQL stays. */
void sim_node_kill_agent(struct sim *s, struct sim_node *n);
/* All processes of the node are gone. */
void sim_node_crash(struct sim *s, struct sim_node *n);

/* Its Raft state is lost while it is down: it comes back under another id. */
void sim_node_lose(struct sim *s, struct sim_node *n);

/* Something was observed: a tick follows. */
void sim_node_dirty(struct sim *s, struct sim_node *n);
/* The agent got SIGTERM. */
void sim_node_terminate(struct sim *s, struct sim_node *n);

/* The dynamic configuration, as parsed here. */
void sim_node_config(char config[CONFIG_SIZE], uint64_t ttl_ms, bool paused);

/* From the log. */
void sim_node_on_commit(struct sim *s, struct sim_node *n, uint64_t index, struct command *c);
void sim_node_on_restore(struct sim *s, struct sim_node *n, const struct store *store);
void sim_node_on_leadership(struct sim *s, struct sim_node *n);

struct sim_result { /* How a proposal ended; to the node that made it. */
    uint64_t token;
    enum sim_outcome outcome;
    enum apply_result result;
    uint64_t index; /* Of a barrier: the last command the leader had applied. */
};
/* `from` is where the log ran. */
void sim_node_answer(struct sim *s, int from, const struct sim_proposal *p,
                     const struct sim_result *result);

/* Sends a command to whoever leads; an operator's (token 0) or a decision's. */
void sim_node_propose(struct sim *s, struct sim_node *n, const struct command *c, uint64_t token);

/* The lease between clocks, peers and the promise file (node_lease.c). */
void node_lease_init(struct sim *s, struct sim_node *n, const struct sim_word *state);
void node_lease_on_store(struct sim *s, struct sim_node *n, unsigned changes);
void node_lease_tick(struct sim *s, struct sim_node *n, const struct decision *d);

/* Status messages, positions, proposals (node_peers.c). */
void node_tell_status(struct sim *s, struct sim_node *n);
void node_ask_positions(struct sim *s, struct sim_node *n);
void node_ask_barrier(struct sim *s, struct sim_node *n);
uint64_t node_status_period_ms(const struct sim_node *n);

/* Copies what is known into the view (node_gather.c). */
void node_gather(struct sim *s, struct sim_node *n);

/* Rules broken on purpose (mutants.c). */
void mutate_start(struct sim *s, struct sim_node *n);
enum guard_action mutate_guard(struct sim *s, struct sim_node *n, enum guard_action action);
void mutate_hello(struct sim *s, struct sim_node *n);
void mutate_arm(const struct sim *s, struct guard_arm *arm);
void mutate_decision(struct sim *s, struct sim_node *n, struct decision *d);
struct command_cas {
    uint64_t *expect_epoch; /* In the command that was changed; NULL = none was. */
    uint64_t value;         /* What it said. */
};
void mutate_command(const struct sim *s, struct store *store, struct command *c,
                    struct command_cas *ret_original);
void mutate_command_back(const struct command_cas *original);
/* The epoch a command was decided on, or NULL for those that carry none. */
uint64_t *command_expect_epoch(struct command *c);

#endif
