/*
 * Shared by the files of ops/ only: what a running sequence keeps, the step
 * tables, and the steps that several tables have in common.
 */
#ifndef VECHE_OPS_OPS_INTERNAL_H
#define VECHE_OPS_OPS_INTERNAL_H

#include "base/str.h"
#include "ops/ops.h"
#include "ops/seq.h"

#define OP_FILE_SIZE 1024

/* What becomes of a running sequence when another action is decided. */
enum op_relation {
    OP_KEEP,         /* It goes on; the decision is looked at again when it has ended. */
    OP_CANCEL,       /* It is cancelled; then the decided one starts. */
    OP_CANCEL_EARLY, /* As OP_CANCEL until it is committed, then as OP_KEEP. */
    OP_CUT,          /* The decided one starts at once; the other is cancelled beside it. */
};

/* One running sequence. The struct outlives it; action is ACTION_NONE between. */
struct op {
    struct seq seq;
    struct ops *ops;
    enum node_action action;
    struct node_decision decision; /* What it was started for. */
    uint64_t started_ms;
    uint64_t epoch;          /* Of its start. */
    struct pg_start start;   /* For steps that write configuration or start. */
    struct pg_child *child;  /* In flight; NULL otherwise. */
    bool committed;          /* STOP: it has signalled; BOOTSTRAP, CLONE: a server of what is
                              * not complete was started; REWIND: the directory is marked. */
    char method[NAME_SIZE];  /* CLONE: the operator's; empty = pg_basebackup. */
    uint32_t timeline;       /* CLONE: the source's, and its position: the copy counts when it */
    lsn_t position;          /* has all that was acknowledged before it was made. */
    char file[OP_FILE_SIZE]; /* Holds a secret; removed when the sequence ends. */
};

struct ops {
    struct ops_options options;
    struct op main;   /* Everything but: */
    struct op urgent; /* FENCE and CLEAN_UP. They have no operation in flight, ever,
                       * so they may run while `main` is still being cancelled. */
    bool leaving;     /* ops_cancel: what runs is given up because the agent leaves. */
    uint64_t wake_ms; /* A back-off that keeps the decided action waiting ends then. */

    /* What ended last; neither what was cancelled, nor a clean-up that went well: it only
     * made room for what is tried again. */
    enum node_action last;
    const char *last_rule;
    bool last_failed;
    uint64_t last_order;
    uint64_t last_ms;
    uint32_t n_failures[ACTIONS]; /* In a row. */
    uint64_t retry_ms[ACTIONS];   /* Not before this; 0 = no back-off. */
    uint64_t prepared_epoch;      /* As view_op.prepared_epoch. */
    uint32_t n_rewind_failures;   /* Of REWIND, but for a source that did not answer, */
    uint32_t rewind_timeline;     /* with that timeline of the source. */
    uint32_t method_at;           /* CLONE: the next of replica_methods; those before failed. */
    bool only_basebackup;         /* CLONE: an order said so; until there is a copy. */
    char problem[TEXT_SIZE];

    /* What pg_fill says; valid after op_look. */
    struct status status;
    struct view_pg view;
};

/* ops_table.c */
enum op_relation op_relation(enum node_action running, enum node_action decided);
bool op_is_urgent(enum node_action action);               /* Runs in ops.urgent. */
bool op_backs_off(enum node_action action);               /* Its failures delay its next start. */
const struct seq_step *op_steps(enum node_action action); /* Not for ACTION_NONE. */

/* Step tables, one a file. */
extern const struct seq_step op_bootstrap_steps[];
extern const struct seq_step op_checkpoint_steps[];
extern const struct seq_step op_clean_up_steps[];
extern const struct seq_step op_clone_steps[];
extern const struct seq_step op_fence_steps[];
extern const struct seq_step op_follow_steps[];
extern const struct seq_step op_prepare_steps[];
extern const struct seq_step op_promote_steps[];
extern const struct seq_step op_rewind_steps[];
extern const struct seq_step op_start_primary_steps[];
extern const struct seq_step op_start_standby_steps[];
extern const struct seq_step op_stop_steps[];

static inline struct op *op_of(struct seq *s)
{
    return CONTAINER_OF(s, struct op, seq);
}

static inline struct pg *op_pg(const struct op *o)
{
    return o->ops->options.pg;
}

/* op_common.c */

/* What is known of PostgreSQL at this moment; asks for a newer observation. */
const struct ops *op_look(struct op *o);
/* pg_done_cb of every operation; data is the struct op. */
void op_on_done(void *data, int status, const char *problem);
/* Sets the problem and answers SEQ_FAIL. */
enum seq_next op_fail(struct op *o, const char *format, ...) PRINTF_LIKE(2, 3);
struct op_args;
/* Starts argv[0] of bin_dir as the operation of the step. */
enum seq_next op_run_child(struct op *o, const char *const *argv, const struct kv_list *env);
/* The same for a client of another server, with its service file if it needs one. */
enum seq_next op_run_client(struct op *o, const struct op_args *args, struct kv_list *env);
/* After op_conf_run() of a server that was closed to clients: it reads that they may come. */
enum seq_next op_open_done(struct seq *s);
/* Starts a command of the operator as the operation of the step; SEQ_NEXT if there is none. */
enum seq_next op_run_script(struct op *o, const char *label, const char *command);
void op_kill_child(struct seq *s); /* abort of steps with a child. */
/* progress of the same: CPU and I/O of what runs, wherever it writes. */
uint64_t op_child_progress(struct seq *s);

/* A fast stop that takes longer than that gets harder. */
uint64_t op_stop_ms(const struct op *o);

/* run and done of common steps. */
enum seq_next op_kill_run(struct seq *s);   /* Until no process of the data directory is left. */
enum seq_next op_absent_run(struct seq *s); /* As op_kill_run, but spares a running server. */
enum seq_next op_remove_run(struct seq *s);
enum seq_next op_settle_run(struct seq *s); /* What was made moves to its place. */
enum seq_next op_unmark_run(struct seq *s);
enum seq_next op_keep_run(struct seq *s); /* op_rewind.c */
enum seq_next op_conf_run(struct seq *s);
enum seq_next op_arm_run(struct seq *s); /* Until the guard is armed for a primary. */
enum seq_next op_server_run(struct seq *s);
enum seq_next op_ready_run(struct seq *s);

/* op_rewind.c: whether trying that step again and again does not mend it. */
bool op_rewind_is_at_fault(const char *step);

/* op_bootstrap.c: when it ends, whichever way. Removes secrets; kills the server of
 * a database that was not finished. */
void op_bootstrap_undo(struct op *o, bool succeeded);

/* op_clone.c: likewise. After a failure the next try is by the next method. */
void op_clone_undo(struct op *o, bool succeeded);
void op_clone_failed(struct op *o, const char *step);

/* op_stop_point.c: at_point of every sequence when options.stop_file is set. */
void op_stop_point(struct seq *s, const char *when);

/* op_args.c: an argument list for a child. */
#define OP_ARGS_MAX   64 /* With options of the configuration, */
#define OP_ARGS_FRONT 8  /* and of a program that runs the program. */
struct op_args {
    char *items[OP_ARGS_MAX + OP_ARGS_FRONT + 1]; /* Ends with NULL. Owned. */
    size_t n;
};

void op_args_add(struct op_args *args, const char *format, ...) PRINTF_LIKE(2, 3);
/* Adds "--key" or "--key=value" for each option, but those in `refused` (ends with
 * NULL): they are ours to set, a warning says so. */
void op_args_add_options(struct op_args *args, const struct kv_list *options,
                         const char *const *refused, const char *where);
/* The path of one of PostgreSQL's programs. */
void op_args_add_program(struct op_args *args, const struct pg_options *pg, const char *program);
const char *const *op_args_list(const struct op_args *args);
void op_args_deinit(struct op_args *args);

/* op_method.c: an operator's command that makes the data directory. */
struct op_method {
    const char *name;               /* Empty = none: PostgreSQL's own program does it. */
    const struct kv_list *settings; /* "<method>.<key>" -> value; of this and others. */
};

const char *op_method_get(const struct op_method *m, const char *key); /* NULL = not given. */
bool op_method_is(const struct op_method *m, const char *flag);        /* keep_data, ... */
/* Starts it: with `usual` (unless no_params), then what its section has besides. */
enum seq_next op_method_run(struct op *o, const struct op_method *m, const struct op_args *usual,
                            const struct kv_list *env);
/* done of that step: says which command it was. */
enum seq_next op_method_done(struct op *o, const struct op_method *m);
/* What it made gets to disk, before anything says that it is there. */
enum seq_next op_method_sync(struct op *o);

/* op_roles.c: SQL of the roles a new database gets: one statement, one empty line.
 * Passwords are in it. -1 and *err if an option is unknown; the caller owns
 * *ret_sql either way. */
MUST_USE int op_roles_sql(const struct pg_options *pg, const struct kv_list *users,
                          struct strbuf *ret_sql, struct err *err);

#endif
