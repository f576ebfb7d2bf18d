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

#define ASK_MS        SECONDS(30)
#define COPY_STILL_MS MINUTES(5)

#define CONNINFO_SIZE 2048

static enum seq_next run_with_password(struct op *o, const struct op_args *args,
                                       const char *session_password)
{
    const struct pg_credentials *replication = &pg_options(op_pg(o))->replication;
    struct kv_list env = {0};
    enum seq_next next;

    kv_add(&env, "PGCONNECT_TIMEOUT", "10");
    if (session_password != NULL) {
        kv_add(&env, "VECHE_SQL_PASSWORD", session_password);
    }
    if (replication->password != NULL) {
        kv_add(&env, "PGPASSWORD", replication->password);
    }
    next = op_run_child(o, op_args_list(args), &env);
    kv_deinit(&env);
    return next;
}

/*
 * Who it is decides. Where its tablespaces are takes a session in a database, as the role
 * for pg_rewind: who does not admit that one is cloned all the same.
 */
static const char ask_script[] =
    "psql=$1 replication=$2 session=$3 sql=$4 answer=$5\n"
    "set -- --no-psqlrc --no-password --tuples-only --no-align\n"
    "rm -f \"$answer\"\n"
    "\"$psql\" \"$@\" --command=IDENTIFY_SYSTEM --dbname=\"$replication\" || exit\n"
    "export PGPASSWORD=\"$VECHE_SQL_PASSWORD\" PGCONNECT_TIMEOUT=5\n"
    "export PGOPTIONS='-c statement_timeout=5s'\n"
    "[ -n \"$PGPASSWORD\" ] || unset PGPASSWORD\n"
    "\"$psql\" \"$@\" --command=\"$sql\" --output=\"$answer\" --dbname=\"$session\" || \\\n"
    "  echo 'The tablespaces of the source are not known: what a copy that is cut off leaves'\\\n"
    "' in them is to be removed by hand. Admit the role for pg_rewind.'\n";

static void add_questions(struct op *o, struct op_args *args)
{
    const char *bin_dir = pg_options(op_pg(o))->bin_dir;
    bool has_bin_dir = bin_dir != NULL && bin_dir[0] != '\0';
    char text[CONNINFO_SIZE], path[PATH_MAX];

    op_args_add(args, "/bin/sh");
    op_args_add(args, "-c");
    op_args_add(args, "%s", ask_script);
    op_args_add(args, "ask");
    op_args_add(args, "%s%spsql", has_bin_dir ? bin_dir : "", has_bin_dir ? "/" : "");
    op_args_add(args, "%s replication=true",
                pg_conninfo(op_pg(o), &o->start.upstream, text, sizeof(text)));
    op_args_add(args, "%s", pg_rewind_conninfo(op_pg(o), &o->start.upstream, text, sizeof(text)));
    op_args_add(args, "%s", pg_spaces_sql);
    op_args_add(args, "%s", pg_spaces_answer(op_pg(o), path, sizeof(path)));
}

static enum seq_next ask_run(struct seq *s)
{
    struct op *o = op_of(s);
    enum data_state data;
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
    add_questions(o, &args);
    next = run_with_password(o, &args, pg_options(op_pg(o))->rewind.password);
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
    pg_mark_cloning(op_pg(o), why, o->ops->options.basebackup, op_on_done, o);
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
    next = run_with_password(o, &args, NULL);
    op_args_deinit(&args);
    return next;
}

/* clang-format off */
const struct seq_step op_clone_steps[] = {
    /* name               run            done          abort          limit ms       progress */
    {"ask source",        ask_run,       NULL,         op_kill_child, ASK_MS,        NULL},
    {"count out",         op_kill_run,   op_kill_run,  NULL,          SECONDS(60),   NULL},
    {"keep",              op_keep_run,   NULL,         NULL,          0,             NULL}, /* Bounded by diverged_keep. */
    {"mark",              mark_run,      NULL,         NULL,          MINUTES(1),    NULL},
    {"remove",            op_remove_run, NULL,         NULL,          HOURS(1),      NULL},
    {"copy",              copy_run,      NULL,         op_kill_child, COPY_STILL_MS, op_child_progress},
    {"settle",            op_settle_run, NULL,         NULL,          MINUTES(1),    NULL},
    {"configure",         op_conf_run,   NULL,         NULL,          MINUTES(1),    NULL},
    {"unmark",            op_unmark_run, NULL,         NULL,          MINUTES(1),    NULL},
    {"start server",      op_server_run, NULL,         NULL,          MINUTES(1),    NULL},
    {"wait until ready",  op_ready_run,  op_ready_run, NULL,          0,             NULL},
    {0},
};
/* clang-format on */
