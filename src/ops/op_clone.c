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
 * By an operator's method (postgresql.create_replica_methods) a command makes the copy, of what
 * it likes: a backup may lack what this node, or the one it was, has acknowledged as a
 * synchronous standby. So the mark stays over the start until the copy has all that the
 * source had after its making began (S2): only then may it be a candidate, and only then clients
 * are let in. A method that fails, or whose copy does not get there, is followed by the next one
 * with the next try; after the last one comes the first.
 *
 * What is given up by this is said in the log before it goes.
 */
#include "ops/ops_internal.h"

#include <fcntl.h>

#include "base/log.h"

#define ASK_MS        SECONDS(30)
#define COPY_STILL_MS MINUTES(5)
#define SYNC_MS       HOURS(1)

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
    next = op_run_client(o, args, &env);
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
    "(umask 077 && mkdir -p \"${answer%/*}\")\n"
    "\"$psql\" \"$@\" --command=IDENTIFY_SYSTEM --dbname=\"$replication\" || exit\n"
    "export PGPASSWORD=\"$VECHE_SQL_PASSWORD\" PGCONNECT_TIMEOUT=5\n"
    "export PGOPTIONS='-c statement_timeout=5s'\n"
    "[ -n \"$PGPASSWORD\" ] || unset PGPASSWORD\n"
    "\"$psql\" \"$@\" --command=\"$sql\" --output=\"$answer\" --dbname=\"$session\" || \\\n"
    "  echo 'The tablespaces of the source are not known: what a copy that is cut off leaves'\\\n"
    "' in them is to be removed by hand. Admit the role for pg_rewind.'\n";

/* ---- Which way ---- */

static struct op_method method_of(const struct op *o)
{
    return (struct op_method){.name = o->method,
                              .settings = pg_options(op_pg(o))->replica_settings};
}

static bool by_method(const struct op *o)
{
    return o->method[0] != '\0';
}

static bool is_known(const struct op *o, const char *name)
{
    struct op_method m = {.name = name, .settings = pg_options(op_pg(o))->replica_settings};

    return str_equal(name, "basebackup") || op_method_get(&m, "command") != NULL;
}

/* The first one known from method_at on. */
static int choose_method(struct op *o, struct err *err)
{
    const struct kv_list *methods = pg_options(op_pg(o))->replica_methods;
    struct ops *ops = o->ops;

    ops->only_basebackup =
        o->decision.from_primary || (ops->only_basebackup && o->decision.order == 0);
    if (methods == NULL || methods->n == 0 || ops->only_basebackup) {
        return 0;
    }
    for (size_t i = 0; i < methods->n; i++, ops->method_at++) {
        const char *name = methods->items[ops->method_at % methods->n].key;

        if (is_known(o, name)) {
            (void)str_copy(o->method, sizeof(o->method), /* Cut: not a name of ours. */
                           str_equal(name, "basebackup") ? "" : name);
            return 0;
        }
        log_warning("A method of postgresql.create_replica_methods has no section with a command "
                    "on this node, leaving it out. method=%s",
                    name);
    }
    return err_set(err, "no method of postgresql.create_replica_methods is known on this node");
}

void op_clone_failed(struct op *o, const char *step)
{
    static const char *const faults[] = {"copy",         "verify",           "settle",
                                         "start server", "wait until ready", "catch up"};

    for (size_t i = 0; i < ARRAY_LENGTH(faults); i++) {
        if (str_equal(step, faults[i])) {
            o->ops->method_at++;
            return;
        }
    }
}

void op_clone_undo(struct op *o, bool succeeded)
{
    if (succeeded) {
        o->ops->method_at = 0;
        o->ops->only_basebackup = false;
    } else if (o->committed) {
        pg_signal_stop(op_pg(o), PG_STOP_KILL); /* It is not complete, and made anew. */
    }
}

/* ---- Asking the source ---- */

static void add_questions(struct op *o, struct op_args *args)
{
    char text[CONNINFO_SIZE], path[PATH_MAX];

    op_args_add(args, "/bin/sh");
    op_args_add(args, "-c");
    op_args_add(args, "%s", ask_script);
    op_args_add(args, "ask");
    op_args_add_program(args, pg_options(op_pg(o)), "psql");
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
    if (choose_method(o, &s->problem) != 0) {
        return SEQ_FAIL;
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
    if (by_method(o)) {
        (void)snprintf(why, sizeof(why), "clone from %s by %s", o->start.upstream.name, o->method);
        pg_mark_method(op_pg(o), why, op_on_done, o);
        return SEQ_WAIT;
    }
    (void)snprintf(why, sizeof(why), "clone from %s", o->start.upstream.name); /* Fits. */
    pg_mark_cloning(op_pg(o), why, pg_options(op_pg(o))->basebackup_options, op_on_done, o);
    return SEQ_WAIT;
}

static enum seq_next passwords_run(struct seq *s)
{
    struct op *o = op_of(s);

    if (!by_method(o)) {
        return SEQ_NEXT;
    }
    pg_write_passwords(op_pg(o), op_on_done, o);
    return SEQ_WAIT;
}

/* What is there may be what the command begins with. */
static enum seq_next remove_run(struct seq *s)
{
    struct op *o = op_of(s);
    struct op_method m = method_of(o);

    if (by_method(o) && op_method_is(&m, "keep_data")) {
        pg_loss_given_up(op_pg(o));
        return SEQ_NEXT;
    }
    return op_remove_run(s);
}

/* ---- The copy ---- */

static enum seq_next run_method(struct op *o)
{
    const struct pg_options *pg = pg_options(op_pg(o));
    struct op_method m = method_of(o);
    char conninfo[CONNINFO_SIZE];
    struct op_args args = {0};
    struct kv_list env = {0};
    enum seq_next next;

    op_args_add(&args, "--scope=%s", pg->scope);
    op_args_add(&args, "--role=replica");
    op_args_add(&args, "--datadir=%s", pg->data_dir);
    op_args_add(&args, "--connstring=%s",
                pg_clone_conninfo(op_pg(o), &o->start.upstream, conninfo, sizeof(conninfo)));
    kv_add(&env, "PGPASSFILE", pg->pgpass);
    next = op_method_run(o, &m, &args, &env);
    kv_deinit(&env);
    op_args_deinit(&args);
    return next;
}

/* Ours to set, or harmful: the mark goes when pg_basebackup has synced its work. */
static const char *const refused_options[] = {
    "pgdata",      "format",   "wal-method", "xlog-method",
    "gzip",        "compress", "target",     "dbname",
    "host",        "port",     "username",   "password",
    "no-password", "no-sync",  "nosync",     "write-recovery-conf",
    "version",     "help",     NULL,
};

static enum seq_next run_basebackup(struct op *o)
{
    const struct kv_list *options = pg_options(op_pg(o))->basebackup_options;
    char conninfo[CONNINFO_SIZE];
    struct op_args args = {0};
    enum seq_next next;

    op_args_add(&args, "pg_basebackup");
    op_args_add(&args, "--pgdata=%s", pg_making_dir(op_pg(o)));
    op_args_add(&args, "--wal-method=stream");
    op_args_add(&args, "--no-password");
    op_args_add(&args, "--progress"); /* Read by pg_child_copied(). */
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

static enum seq_next copy_run(struct seq *s)
{
    struct op *o = op_of(s);

    return by_method(o) ? run_method(o) : run_basebackup(o);
}

static enum seq_next copy_done(struct seq *s)
{
    struct op *o = op_of(s);
    struct op_method m = method_of(o);

    if (by_method(o)) {
        return op_method_done(o, &m);
    }
    return s->status == 0 ? SEQ_NEXT : SEQ_FAIL;
}

/* Of a command of the operator's nothing is known; time passes, so it goes on. */
static uint64_t copy_progress(struct seq *s)
{
    return by_method(op_of(s)) ? s->now_ms : op_child_progress(s);
}

static enum seq_next verify_run(struct seq *s)
{
    struct op *o = op_of(s);

    if (!by_method(o)) {
        return SEQ_NEXT;
    }
    pg_check_made(op_pg(o), o->ops->options.store->cluster.sysid, op_on_done, o);
    return SEQ_WAIT;
}

static enum seq_next settle_run(struct seq *s)
{
    return by_method(op_of(s)) ? op_method_sync(op_of(s)) : op_settle_run(s);
}

static enum seq_next conf_run(struct seq *s)
{
    op_of(s)->start.unfinished = by_method(op_of(s));
    return op_conf_run(s);
}

static enum seq_next unmark_run(struct seq *s)
{
    return by_method(op_of(s)) ? SEQ_NEXT : op_unmark_run(s);
}

static enum seq_next server_run(struct seq *s)
{
    op_of(s)->committed = by_method(op_of(s));
    return op_server_run(s);
}

/* ---- What a method has made gets to where the source is ---- */

static enum seq_next ask_position_run(struct seq *s)
{
    struct op *o = op_of(s);
    char conninfo[CONNINFO_SIZE], path[PATH_MAX];
    struct op_args args = {0};
    enum seq_next next;

    if (!by_method(o)) {
        return SEQ_NEXT;
    }
    (void)unlink(pg_answer_path(op_pg(o), path, sizeof(path))); /* Of another try, or none. */
    op_args_add(&args, "psql");
    op_args_add(&args, "--no-psqlrc");
    op_args_add(&args, "--no-password");
    op_args_add(&args, "--tuples-only");
    op_args_add(&args, "--no-align");
    op_args_add(&args, "--command=IDENTIFY_SYSTEM");
    op_args_add(&args, "--output=%s", path);
    op_args_add(&args, "--dbname=%s replication=true",
                pg_conninfo(op_pg(o), &o->start.upstream, conninfo, sizeof(conninfo)));
    next = run_with_password(o, &args, NULL);
    op_args_deinit(&args);
    return next;
}

/* "7412345678901234567|1|0/3000148|": system identifier, timeline, end of the WAL on its disk. */
static bool parse_position(char *text, uint32_t *ret_timeline, lsn_t *ret_lsn)
{
    const char *timeline, *lsn;
    uint64_t number;

    (void)strsep(&text, "|");
    timeline = strsep(&text, "|");
    lsn = strsep(&text, "|");
    if (timeline == NULL || lsn == NULL || !str_to_u64(timeline, 1, UINT32_MAX, &number) ||
        !lsn_parse(lsn, ret_lsn)) {
        return false;
    }
    *ret_timeline = (uint32_t)number;
    return true;
}

static enum seq_next ask_position_done(struct seq *s)
{
    struct op *o = op_of(s);
    char path[PATH_MAX], text[256];
    ssize_t n = -1;
    int fd;

    if (s->status != 0) {
        return SEQ_FAIL;
    }
    fd = open(pg_answer_path(op_pg(o), path, sizeof(path)), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
        n = read(fd, text, sizeof(text) - 1);
        (void)close(fd); /* Was only read. */
    }
    (void)unlink(path); /* It has served. */
    text[MAX(n, 0)] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (!parse_position(text, &o->timeline, &o->position)) {
        return op_fail(o, "%s answers IDENTIFY_SYSTEM with \"%.100s\"", o->start.upstream.name,
                       text);
    }
    return SEQ_NEXT;
}

static enum seq_next catch_up_run(struct seq *s)
{
    struct op *o = op_of(s);
    const struct ops *ops = op_look(o);
    lsn_t at = MAX(ops->status.received, ops->status.replayed);
    char wanted[LSN_TEXT_SIZE], got[LSN_TEXT_SIZE];

    if (!by_method(o)) {
        return SEQ_NEXT;
    }
    if (!ops->view.postmaster_alive) {
        return op_fail(o, "PostgreSQL has ended");
    }
    if (ops->status.timeline == o->timeline && at >= o->position) {
        return SEQ_NEXT;
    }
    if (at != s->progress) {
        s->progress = at;
        s->limit_from_ms = s->now_ms;
    }
    err_set(&s->problem, "the copy is at %s of timeline %u, not at %s of %u where %s was: %.200s",
            lsn_format(at, got, sizeof(got)), ops->status.timeline,
            lsn_format(o->position, wanted, sizeof(wanted)), o->timeline, o->start.upstream.name,
            ops->status.problem);
    return SEQ_POLL;
}

static enum seq_next unmark_copy_run(struct seq *s)
{
    return by_method(op_of(s)) ? op_unmark_run(s) : SEQ_NEXT;
}

/* Clients may come from here on. */
static enum seq_next open_run(struct seq *s)
{
    struct op *o = op_of(s);

    o->committed = false;
    if (!by_method(o)) {
        return SEQ_NEXT;
    }
    o->start.unfinished = false;
    return op_conf_run(s);
}

/* clang-format off */
const struct seq_step op_clone_steps[] = {
    /* name               run               done               abort          limit ms       progress */
    {"ask source",        ask_run,          NULL,              op_kill_child, ASK_MS,        NULL},
    {"count out",         op_kill_run,      op_kill_run,       NULL,          SECONDS(60),   NULL},
    {"keep",              op_keep_run,      NULL,              NULL,          0,             NULL}, /* Bounded by diverged_keep. */
    {"passwords",         passwords_run,    NULL,              NULL,          MINUTES(1),    NULL},
    {"mark",              mark_run,         NULL,              NULL,          MINUTES(1),    NULL},
    {"remove",            remove_run,       NULL,              NULL,          HOURS(1),      NULL},
    {"copy",              copy_run,         copy_done,         op_kill_child, COPY_STILL_MS, copy_progress},
    {"verify",            verify_run,       NULL,              NULL,          MINUTES(1),    NULL},
    {"settle",            settle_run,       NULL,              op_kill_child, SYNC_MS,       NULL},
    {"configure",         conf_run,         NULL,              NULL,          MINUTES(1),    NULL},
    {"unmark",            unmark_run,       NULL,              NULL,          MINUTES(1),    NULL},
    {"start server",      server_run,       NULL,              NULL,          MINUTES(1),    NULL},
    {"wait until ready",  op_ready_run,     op_ready_run,      NULL,          0,             NULL},
    {"ask position",      ask_position_run, ask_position_done, op_kill_child, ASK_MS,        NULL},
    {"catch up",          catch_up_run,     catch_up_run,      NULL,          COPY_STILL_MS, NULL},
    {"unmark copy",       unmark_copy_run,  NULL,              NULL,          MINUTES(1),    NULL},
    {"open",              open_run,         op_open_done,      NULL,          MINUTES(1),    NULL},
    {0},
};
/* clang-format on */
