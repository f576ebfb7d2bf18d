/*
 * What ops/ does: one sequence at a time on PostgreSQL, each with a duration
 * and a chance to fail; a fence cuts in.
 */
#ifndef SIM_OPS_H
#define SIM_OPS_H

#include "core/decide.h"

struct sim;
struct sim_node;

struct sim_op {
    enum node_action action;
    struct node_decision decision;
    const char *step;
    uint32_t serial; /* Steps of an earlier sequence are void. */
    uint64_t started_ms;
    uint64_t epoch;              /* Of its start. */
    bool committed;              /* A stop that has signalled. */
    bool fails;                  /* Drawn at its start. */
    uint32_t source_incarnation; /* Of the server a clone is copied from. */
    int upstream;
};

struct sim_ops {
    struct sim_op main, urgent;
    uint32_t next_serial;
    enum node_action last;
    const char *last_rule;
    bool last_failed;
    uint64_t last_order;
    uint64_t last_ms;
    uint32_t n_failures[ACTIONS];
    uint64_t retry_ms[ACTIONS];
    uint64_t prepared_epoch; /* pre_promote let it pass. */
    char problem[TEXT_SIZE];
};

void sim_ops_reconcile(struct sim *s, struct sim_node *n, const struct node_decision *decision);
void sim_ops_fill(const struct sim_ops *o, struct view_op *view);

/* The steps of each action (sim_steps.c). sim_steps_begin() starts them. */
void sim_steps_begin(struct sim *s, struct sim_node *n, struct sim_op *op);
void sim_steps_cancel(struct sim *s, struct sim_node *n, struct sim_op *op);
/* From sim_steps.c: the sequence is over. */
void sim_ops_end(struct sim *s, struct sim_node *n, struct sim_op *op, const char *problem);

#endif
