/*
 * The agent's side of the guard: attached before anything else is done, told of
 * every counted round, watched for its answers and for its end. What
 * src/agent/guard_hooks.c does.
 */
#ifndef SIM_NODE_GUARD_H
#define SIM_NODE_GUARD_H

#include "sim_guard.h"

struct sim_event;

struct node_guard {
    bool attached; /* It said hello back. */
    uint32_t life; /* Of the guard we talk to. */
    enum guard_phase phase;
    /* What it has confirmed. */
    uint64_t epoch;
    uint64_t closed_epoch; /* This one and those before are not armed again. */
    bool may_write;
    struct clock_pair deadline;
    /* What it was asked, the first without an answer, and whether that is long ago: the lease
     * is not renewed meanwhile. */
    uint32_t sent, answered;
    bool asked_unfenced;     /* By the last arm. */
    uint32_t unfenced_asked; /* The last arm that said so; it may be on its way. */
    uint64_t unfenced_epoch; /* In phase DISARMED: of this one. */
    struct lease_time unanswered_since;
    bool is_silent;
    uint64_t asked_us;
    /* A start of PostgreSQL. */
    bool start_asked, start_refused;
    bool wants_write; /* A sequence is about to make a primary. */
};

/* Finds the guard or spawns it; node_begin() follows when it has answered. */
void node_guard_attach(struct sim *s, struct sim_node *n);
void node_guard_arm(struct sim *s, struct sim_node *n);
/* A decision to let go, or not any more, is told at once. */
void node_guard_follow(struct sim *s, struct sim_node *n);
bool node_guard_is_armed(const struct sim *s, const struct sim_node *n);
/* What is left of the deadline it confirmed for our epoch. */
uint64_t node_guard_confirmed_ms(struct sim *s, struct sim_node *n);
bool node_guard_is_frozen(const struct sim_node *n);
/* Before a release. */
void node_guard_close(struct sim *s, struct sim_node *n, uint64_t epoch);
void node_guard_kill(struct sim *s, struct sim_node *n, enum guard_why why);
void node_guard_leave(struct sim *s, struct sim_node *n);
/* A promotion or a start as primary waits until this is true. */
bool node_guard_may_write(struct sim *s, struct sim_node *n);
void node_guard_start(struct sim *s, struct sim_node *n, bool as_standby, int upstream);

void node_guard_on_word(struct sim *s, const struct sim_event *e);
void node_guard_on_gone(struct sim *s, const struct sim_event *e);

#endif
