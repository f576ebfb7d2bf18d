/*
 * Sequences on PostgreSQL: what the node's decision says is kept, started or
 * replaced here. One sequence at a time; an ended one is an observation
 * (view_op), nothing more. A sequence never decides and never proposes.
 */
#ifndef VECHE_OPS_OPS_H
#define VECHE_OPS_OPS_H

#include "core/decide.h"
#include "pg/pg.h"

struct ops;

struct ops_options {
    struct pg *pg;
    /* For op_bootstrap. */
    const struct kv_list *initdb;     /* Options: key, or key=value. */
    const struct kv_list *users;      /* bootstrap.users: name -> "password\toption,option". */
    const char *post_bootstrap;       /* NULL = none. */
    const struct kv_list *basebackup; /* postgresql.basebackup options. */
    uint64_t ttl_ms;
    void (*on_change)(void *data);    /* A sequence moved or ended. */
    void *data;
};

struct ops *ops_new(const struct ops_options *options);

/* Brings what runs in line with the decision: the same action goes on, another is
 * cancelled first (FENCE, STOP and CLEAN_UP cut in at once: FENCE signals in this
 * very call). ACTION_NONE lets what runs go on. Start, restart and clone failures
 * back off: 1 s doubling up to 60 s, shown as view_op.retry_ms. */
void ops_reconcile(struct ops *o, const struct node_decision *decision, uint64_t now_ms);

/* Deadlines, polls. Returns when to call again. */
uint64_t ops_tick(struct ops *o, uint64_t now_ms);

void ops_fill(const struct ops *o, struct view_op *view);

/* True when nothing runs (or all was cancelled and ended). */
bool ops_is_idle(const struct ops *o);
/* Cancels what runs; a running PostgreSQL is left alone. */
void ops_cancel(struct ops *o, uint64_t now_ms);
void ops_free(struct ops *o);

#endif
