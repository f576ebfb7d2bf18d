/*
 * The guard as a process of the model: src/guard/guard_logic.c as it is, with the
 * model of PostgreSQL for children. It has a life of its own, may be stopped or
 * killed, and hears the agent with a delay.
 */
#ifndef SIM_GUARD_H
#define SIM_GUARD_H

#include "guard/guard_protocol.h"
#include "lease.h"

struct sim;
struct sim_node;

/* What it keeps for the next agent beside epoch and deadline. */
struct sim_kept {
    uint64_t node_id;
    uint64_t ttl_ns; /* 0 = nothing is kept. */
    uint8_t n_sets;
    struct lease_voter_set sets[2];
};

struct sim_guard {
    bool is_up;
    uint32_t life;            /* Counts processes. */
    uint64_t paused_until_us; /* By SIGSTOP. */
    uint64_t hurt_us;         /* When it was last stopped or killed by a fault; 0 = never. */
    struct guard_logic logic;
    struct sim_kept kept;
    enum guard_phase told;  /* The phase the agent knows of. */
    uint32_t agent_life;    /* Of the agent that said hello last. */
    uint64_t wake_us;       /* The timer that counts. */
    uint64_t in_us, out_us; /* Arrival of the last message, each way: they stay in order. */
};

/* One message, either way; which fields mean something depends on the kind. */
struct sim_word {
    enum guard_kind kind;
    uint32_t sequence;
    uint32_t guard_life; /* Of the guard that says it. */
    struct guard_arm arm;
    struct sim_kept kept;
    uint64_t epoch;
    enum guard_why why;
    bool as_standby;
    int upstream;
    enum guard_verdict verdict;
    struct guard_logic logic;
};

void sim_guard_spawn(struct sim *s, struct sim_node *n);
/* SIGKILL. The agent sees it by its pidfd; the kernel tells the postmaster. */
void sim_guard_kill(struct sim *s, struct sim_node *n);
void sim_guard_send(struct sim *s, struct sim_node *n, const struct sim_word *word);
/* From sim_pg.c: no process of PostgreSQL is left. */
void sim_guard_on_gone(struct sim *s, struct sim_node *n);
struct clock_pair sim_clock_pair(const struct sim *s, const struct sim_node *n);

/* Processes stopped and continued (sim_freeze.c). Frozen after `after_us`. */
void sim_pg_freeze(struct sim *s, struct sim_node *n, uint64_t after_us);
void sim_pg_thaw(struct sim *s, struct sim_node *n);
bool sim_pg_is_frozen(const struct sim *s, const struct sim_node *n);
/* What it was about to do waits, or dies with it. */
struct sim_event;
void sim_pg_hold(struct sim_node *n, const struct sim_event *e);
void sim_pg_forget_held(struct sim_node *n);

#endif
