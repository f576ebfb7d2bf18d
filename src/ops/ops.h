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
    const struct store *store; /* This node's applied copy, for pg_fill. */
    /* For op_bootstrap. */
    const struct kv_list *initdb;     /* Options: key, or key=value. */
    const struct kv_list *users;      /* bootstrap.users: name -> "password\toption,option". */
    const struct kv_list *pg_hba;     /* bootstrap.pg_hba: lines as keys. */
    const char *post_bootstrap;       /* NULL = none. */
    const char *bootstrap_method;     /* NULL: initdb. */
    const struct kv_list *bootstrap_settings; /* "<method>.<key>" -> value. */
    uint64_t ttl_ms;
    uint64_t diverged_keep; /* Bytes of diverged WAL that are kept; 0 = none. */
    const char *stop_file; /* NULL; only for tests of interruption: op_stop_point.c. */
    void (*on_change)(void *data); /* A sequence moved or ended. */
    void *data;
};

struct ops *ops_new(const struct ops_options *options);

/* Brings what runs in line with the decision: the same action goes on (a clone or
 * follow of another upstream is another action), a different one is cancelled first
 * and waited for; the next call then starts what is decided by that time. FENCE and
 * CLEAN_UP cut in at once: FENCE signals in this very call. ACTION_NONE lets what
 * runs go on. What waits for what is a table in ops_table.c. Failures back off: 1 s
 * doubling up to 60 s for each action, shown as view_op.retry_ms; not those of STOP,
 * FENCE and CLEAN_UP, and a copy that is ordered does not wait for those before it.
 * Cheap: call it in every tick. */
void ops_reconcile(struct ops *o, const struct node_decision *decision, uint64_t now_ms);

/* Deadlines, polls. Returns when to call again. */
uint64_t ops_tick(struct ops *o, uint64_t now_ms);

/* What was cancelled, and a CLEAN_UP that went well, never are view_op.last. */
void ops_fill(const struct ops *o, struct view_op *view);

/* True when nothing runs (or all was cancelled and ended). */
bool ops_is_idle(const struct ops *o);
/* Cancels what runs, but a fence or clean-up: those end by themselves, soon. A running
 * PostgreSQL is left alone, unless it is a database that is still being made. Then
 * keep calling ops_tick until ops_is_idle. */
void ops_cancel(struct ops *o, uint64_t now_ms);
/* Only when idle. */
void ops_free(struct ops *o);

#endif
