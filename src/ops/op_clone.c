/*
 * The data directory becomes a copy of the upstream's, and starts as standby.
 *
 * Happy path: the source is asked who it is, over the very connection the copy
 * will use; whatever runs here is killed; the directory is marked incomplete,
 * emptied; pg_basebackup fills a directory inside it; the copy moves up, is
 * configured; the mark is removed; start.
 *
 * Failure modes:
 *  - the directory holds something that is no database: refused. Once marked it
 *    would be taken for the rest of an earlier try;
 *  - somebody restores a database by hand after a try was cut off: the mark is of
 *    the directory that was being made, not of this one (pg_mark.c);
 *  - the source does not let us in: found out before anything here is touched;
 *  - cut off anywhere between mark and unmark, by us, a crash or a power
 *    failure: the mark, durable before the first change, says that this is not
 *    a database. The next try begins from the start;
 *  - the copy stands still for COPY_STILL_MS: killed. Its length has no limit;
 *  - the start fails: the copy is complete, it is started again in place.
 *
 * What is given up by this is said in the log before it goes.
 */
#include "ops/ops_internal.h"

#include "base/log.h"

#define ASK_MS        SECONDS(20)
#define COPY_STILL_MS MINUTES(5)

#define CONNINFO_SIZE 2048

static enum seq_next run_with_password(struct op *o, const struct op_args *args)
{
    const struct pg_credentials *replication = &pg_options(op_pg(o))->replication;
    struct kv_list env = {0};
    enum seq_next next;

    kv_add(&env, "PGCONNECT_TIMEOUT", "10");
    if (replication->password != NULL) {
        kv_add(&env, "PGPASSWORD", replication->password);
    }
    next = op_run_child(o, op_args_list(args), &env);
    kv_deinit(&env);
    return next;
}

static enum seq_next ask_run(struct seq *s)
{
    struct op *o = op_of(s);
    enum data_state data;
    char conninfo[CONNINFO_SIZE];
    struct op_args args = {0};
    enum seq_next next;

    o->start.as_standby = true;
    if (o->start.upstream.name[0] == '\0') {
        return op_fail(o, "there is no member to clone from");
    }
    data = op_look(o)->status.data;
    if (data == DATA_FOREIGN || data == DATA_UNKNOWN) {
        return op_fail(o, "the data directory is %s, it is not touched", data_state_name(data));
    }
    op_args_add(&args, "psql");
    op_args_add(&args, "--no-psqlrc");
    op_args_add(&args, "--no-password");
    op_args_add(&args, "--tuples-only");
    op_args_add(&args, "--no-align");
    op_args_add(&args, "--command=IDENTIFY_SYSTEM");
    op_args_add(&args, "--dbname=%s replication=true",
                pg_conninfo(op_pg(o), &o->start.upstream, conninfo, sizeof(conninfo)));
    next = run_with_password(o, &args);
    op_args_deinit(&args);
    return next;
}

static void say_what_goes(struct op *o)
{
    const struct status *status = &op_look(o)->status;
    char lsn[LSN_TEXT_SIZE];

    if (status->data == DATA_EMPTY) {
        return;
    }
    log_warning("Clone discards the data directory. system=%llu timeline=%u position=%s data=%s",
                (unsigned long long)status->sysid, status->timeline,
                lsn_format(status->flushed, lsn, sizeof(lsn)), data_state_name(status->data));
}

static enum seq_next mark_run(struct seq *s)
{
    struct op *o = op_of(s);
    char why[TEXT_SIZE];

    say_what_goes(o);
    (void)snprintf(why, sizeof(why), "clone from %s", o->start.upstream.name); /* Fits. */
    pg_mark_incomplete(op_pg(o), true, why, op_on_done, o);
    return SEQ_WAIT;
}

/* Ours to set, or harmful: the mark goes when pg_basebackup has synced its work. */
static const char *const refused_options[] = {
    "pgdata",      "format",   "wal-method", "xlog-method",
    "gzip",        "compress", "target",     "dbname",
    "host",        "port",     "username",   "password",
    "no-password", "no-sync",  "nosync",     "write-recovery-conf",
    "version",     "help",     NULL,
};

static enum seq_next copy_run(struct seq *s)
{
    struct op *o = op_of(s);
    const struct kv_list *options = o->ops->options.basebackup;
    char conninfo[CONNINFO_SIZE];
    struct op_args args = {0};
    enum seq_next next;

    op_args_add(&args, "pg_basebackup");
    op_args_add(&args, "--pgdata=%s", pg_making_dir(op_pg(o)));
    op_args_add(&args, "--wal-method=stream");
    op_args_add(&args, "--no-password");
    op_args_add(&args, "--dbname=%s",
                pg_clone_conninfo(op_pg(o), &o->start.upstream, conninfo, sizeof(conninfo)));
    if (options == NULL || !kv_has(options, "checkpoint")) {
        op_args_add(&args, "--checkpoint=fast");
    }
    op_args_add_options(&args, options, refused_options, "postgresql.basebackup");
    next = run_with_password(o, &args);
    op_args_deinit(&args);
    return next;
}

/* Free blocks of the file system. Another writer on it may hide that the copy
 * stands still; a copy that goes on is never taken for one that does not. */
static uint64_t copy_progress(struct seq *s)
{
    struct pg *pg = op_pg(op_of(s));

    pg_observe(pg, s->now_ms); /* For the next time. */
    return pg_free_blocks(pg);
}

/* clang-format off */
const struct seq_step op_clone_steps[] = {
    /* name               run            done          abort          limit ms       progress */
    {"ask source",        ask_run,       NULL,         op_kill_child, ASK_MS,        NULL},
    {"count out",         op_kill_run,   op_kill_run,  NULL,          SECONDS(60),   NULL},
    {"keep",              op_keep_run,   NULL,         NULL,          0,             NULL}, /* Bounded by diverged_keep. */
    {"mark",              mark_run,      NULL,         NULL,          MINUTES(1),    NULL},
    {"remove",            op_remove_run, NULL,         NULL,          HOURS(1),      NULL},
    {"copy",              copy_run,      NULL,         op_kill_child, COPY_STILL_MS, copy_progress},
    {"settle",            op_settle_run, NULL,         NULL,          MINUTES(1),    NULL},
    {"configure",         op_conf_run,   NULL,         NULL,          MINUTES(1),    NULL},
    {"unmark",            op_unmark_run, NULL,         NULL,          MINUTES(1),    NULL},
    {"start server",      op_server_run, NULL,         NULL,          MINUTES(1),    NULL},
    {"wait until ready",  op_ready_run,  op_ready_run, NULL,          0,             NULL},
    {0},
};
/* clang-format on */
