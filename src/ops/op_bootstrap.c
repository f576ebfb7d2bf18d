/*
 * The first database of a cluster. Only decided for the owner of the epoch in
 * which it is made, with the lease: it comes up writable.
 *
 * Happy path: the directory is marked incomplete and emptied; initdb works in a
 * directory inside it, and what it made moves up; the roles are made by a stand-alone
 * backend, before anybody can connect; configuration; start; the user's script. The
 * mark goes when all this is done; without a script, before the start.
 *
 * By an operator's method (bootstrap.method) a command makes the data directory, of a backup as
 * a rule. Its recovery, to a point in time if bootstrap says so, comes first: nobody can
 * connect before its end, and then it stops. So the roles are made as they always are, without a
 * moment in which somebody gets in without a password. The mark stays until all is done.
 *
 * Failure modes:
 *  - the directory holds a database or something unknown: refused, nothing is
 *    touched. Only what is empty, or was marked by an earlier try, is used;
 *  - an option is wrong: found out before anything is made, where possible;
 *  - initdb, a role or the script fails, or the sequence is cut off: the server
 *    is killed (op_bootstrap_undo), the mark stays, and the next try begins
 *    from the start. So the script has run on every database that is in use;
 *  - clients come while the script runs: pg_hba.conf admits the superuser from this
 *    host only, until the mark is gone: what they wrote could still be discarded;
 *  - the server does not start: without a script the database is whole by then
 *    and stays. It is started in place when the configuration has been corrected.
 *
 * Passwords reach the stand-alone backend in a file of mode 0600 that is removed
 * when the step or the sequence ends. They are never in a session that could
 * log them, count them or show them.
 */
#include "ops/ops_internal.h"

#include <errno.h>
#include <fcntl.h>

#include "base/log.h"

#define INITDB_MS MINUTES(10)
#define ROLES_MS  MINUTES(2)
#define SCRIPT_MS HOURS(24)
#define SYNC_MS   HOURS(1)

static const char *superuser_of(const struct pg_options *pg)
{
    return pg->superuser.user != NULL ? pg->superuser.user : "postgres";
}

static struct op_method method_of(const struct op *o)
{
    const char *name = o->ops->options.bootstrap_method;

    return (struct op_method){.name = name != NULL ? name : "",
                              .settings = o->ops->options.bootstrap_settings};
}

static bool by_method(const struct op *o)
{
    return method_of(o).name[0] != '\0';
}

static enum seq_next check_run(struct seq *s)
{
    struct op *o = op_of(s);
    struct strbuf sql = {0};
    int rc;

    rc = op_roles_sql(pg_options(op_pg(o)), o->ops->options.users, &sql, &s->problem);
    strbuf_deinit(&sql);
    if (rc != 0) {
        return SEQ_FAIL;
    }
    switch (op_look(o)->status.data) {
    case DATA_EMPTY:
    case DATA_INCOMPLETE:
        return SEQ_NEXT;
    case DATA_UNKNOWN:
        err_set(&s->problem, "the state of the data directory is not known");
        return SEQ_POLL;
    case DATA_VALID:
        return op_fail(o, "the data directory holds a database, it is not touched");
    case DATA_REWINDING:
        return op_fail(o, "a rewind was cut off here, it is not touched");
    case DATA_FOREIGN:
        return op_fail(o, "the data directory is not empty and holds no database, "
                          "it is not touched");
    }
    return op_fail(o, "the data directory is in an unknown state");
}

static enum seq_next mark_run(struct seq *s)
{
    struct op *o = op_of(s);
    char why[TEXT_SIZE];

    if (by_method(o)) {
        (void)snprintf(why, sizeof(why), "bootstrap by %.100s", method_of(o).name); /* Fits. */
        pg_mark_method(op_pg(o), why, op_on_done, o);
        return SEQ_WAIT;
    }
    pg_mark_incomplete(op_pg(o), true, "bootstrap", op_on_done, o);
    return SEQ_WAIT;
}

/* ---- A file for secrets ---- */

/* Sets o->file. Beside the data directory: it must be empty for initdb. */
static int write_secret(struct op *o, const char *text, struct err *err)
{
    const char *data_dir = pg_options(op_pg(o))->data_dir;
    size_t length = strlen(data_dir);
    size_t size = strlen(text);
    ssize_t n;
    int fd;

    while (length > 1 && data_dir[length - 1] == '/') {
        length--;
    }
    if (snprintf(o->file, sizeof(o->file), "%.*s.veche-secret", (int)length, data_dir) >=
        (int)sizeof(o->file)) {
        o->file[0] = '\0';
        return err_set(err, "%s: the path is too long", data_dir);
    }
    (void)unlink(o->file); /* Of an agent that was killed; usually not there. */
    fd = open(o->file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return err_set_errno(err, errno, "creating %s", o->file);
    }
    n = write(fd, text, size);
    (void)close(fd); /* It is read now or never; it need not be durable. */
    return n == (ssize_t)size ? 0 : err_set(err, "%s: short write", o->file);
}

static void remove_secret(struct op *o)
{
    if (o->file[0] != '\0') {
        (void)unlink(o->file); /* Gone already, as a rule. */
        o->file[0] = '\0';
    }
}

/* done of the steps that were given one. */
static enum seq_next secret_done(struct seq *s)
{
    remove_secret(op_of(s));
    return s->status == 0 ? SEQ_NEXT : SEQ_FAIL;
}

/* ---- initdb ---- */

/* initdb says "trust" unless told otherwise, for hosts and sockets each: what the operator says
 * of one of them comes later, and counts. */
static void add_auth(struct op_args *args, const struct kv_list *options, bool has_password)
{
    if (options != NULL && kv_has(options, "auth")) {
        return;
    }
    if (has_password) {
        op_args_add(args, "--auth=scram-sha-256");
        return;
    }
    log_warning("The superuser has no password: local connections will be trusted.");
    op_args_add(args, "--auth=trust");
}

static enum seq_next initdb_run(struct seq *s)
{
    static const char *const refused[] = {"pgdata",  "pwfile",    "pwprompt", "username",
                                          "no-sync", "sync-only", "nosync",   "version",
                                          "help",    "show",      "no-clean", NULL};
    struct op *o = op_of(s);
    const struct pg_options *pg = pg_options(op_pg(o));
    const struct kv_list *options = o->ops->options.initdb;
    struct op_args args = {0};
    enum seq_next next = SEQ_FAIL;

    if (by_method(o)) {
        return SEQ_NEXT;
    }
    op_args_add(&args, "initdb");
    op_args_add(&args, "--pgdata=%s", pg_making_dir(op_pg(o)));
    op_args_add(&args, "--username=%s", superuser_of(pg));
    if (pg->superuser.password != NULL) {
        /* initdb shows its statement when it fails, so it gets a placeholder. Nobody can
         * connect before the next step has set the password. */
        if (write_secret(o, "placeholder", &s->problem) != 0) {
            goto out;
        }
        op_args_add(&args, "--pwfile=%s", o->file);
    }
    add_auth(&args, options, pg->superuser.password != NULL);
    op_args_add_options(&args, options, refused, "bootstrap.initdb");
    next = op_run_child(o, op_args_list(&args), NULL);
out:
    op_args_deinit(&args);
    return next;
}

/* ---- The operator's command, and the recovery of what it made ---- */

static enum seq_next method_run(struct seq *s)
{
    struct op *o = op_of(s);
    const struct pg_options *pg = pg_options(op_pg(o));
    struct op_method m = method_of(o);
    struct kv_list env = {0};
    struct op_args args = {0};
    enum seq_next next;

    if (!by_method(o)) {
        return SEQ_NEXT;
    }
    op_args_add(&args, "--scope=%s", pg->scope);
    op_args_add(&args, "--datadir=%s", pg->data_dir);
    next = op_method_run(o, &m, &args, &env);
    op_args_deinit(&args);
    return next;
}

static enum seq_next method_done(struct seq *s)
{
    struct op_method m = method_of(op_of(s));

    return op_method_done(op_of(s), &m);
}

static enum seq_next verify_run(struct seq *s)
{
    struct op *o = op_of(s);

    if (!by_method(o)) {
        return SEQ_NEXT;
    }
    pg_check_made(op_pg(o), 0, op_on_done, o);
    return SEQ_WAIT;
}

static enum seq_next settle_run(struct seq *s)
{
    return by_method(op_of(s)) ? op_method_sync(op_of(s)) : op_settle_run(s);
}

static enum seq_next recovery_conf_run(struct seq *s)
{
    struct op *o = op_of(s);
    struct op_method m = method_of(o);

    if (!by_method(o)) {
        return SEQ_NEXT;
    }
    o->start.as_standby = false;
    o->start.unfinished = true;
    o->start.recovers = true;
    o->start.keeps_recovery = op_method_is(&m, "keep_existing_recovery_conf");
    return op_conf_run(s);
}

/* It takes writes by itself at its end. */
static enum seq_next arm_recovery_run(struct seq *s)
{
    return by_method(op_of(s)) ? op_arm_run(s) : SEQ_NEXT;
}

static enum seq_next recover_run(struct seq *s)
{
    struct op *o = op_of(s);

    if (!by_method(o)) {
        return SEQ_NEXT;
    }
    o->committed = true;
    return op_server_run(s);
}

/* While it recovers it lets nobody in: hot_standby is off. */
static enum seq_next recovered_run(struct seq *s)
{
    return by_method(op_of(s)) ? op_ready_run(s) : SEQ_NEXT;
}

static enum seq_next stopped_run(struct seq *s)
{
    struct op *o = op_of(s);

    s->poll_every_ms = 20;
    err_set(&s->problem, "the server does not stop: its archiver may hang");
    return pg_is_down(op_pg(o)) && !op_look(o)->view.postmaster_alive ? SEQ_NEXT : SEQ_POLL;
}

static enum seq_next stop_recovery_run(struct seq *s)
{
    struct op *o = op_of(s);

    if (!by_method(o)) {
        return SEQ_NEXT;
    }
    pg_signal_stop(op_pg(o), PG_STOP_FAST);
    return stopped_run(s);
}

/* ---- Roles ---- */

/*
 * A stand-alone backend: no session, no pg_hba.conf, no extension that counts
 * statements, and nothing of them in the server's log.
 */
static enum seq_next roles_run(struct seq *s)
{
    struct op *o = op_of(s);
    const struct pg_options *pg = pg_options(op_pg(o));
    struct strbuf sql = {0};
    struct op_args args = {0};
    enum seq_next next = SEQ_FAIL;

    if (op_roles_sql(pg, o->ops->options.users, &sql, &s->problem) != 0 ||
        write_secret(o, sql.data, &s->problem) != 0) {
        goto out;
    }
    op_args_add(&args, "/bin/sh");
    op_args_add(&args, "-c");
    op_args_add(&args, "f=$1; shift; exec \"$@\" < \"$f\"");
    op_args_add(&args, "roles");
    op_args_add(&args, "%s", o->file);
    op_args_add_program(&args, pg, "postgres");
    op_args_add(&args, "--single");
    op_args_add(&args, "-j"); /* Statements end with an empty line. */
    op_args_add(&args, "-D");
    op_args_add(&args, "%s", pg->data_dir);
    if (by_method(o)) { /* The one in the data directory, if any, is not what was written. */
        op_args_add(&args, "--config_file=%s/%s.conf", pg->config_dir, pg->config_base_name);
        op_args_add(&args, "--data_directory=%s", pg->data_dir);
        op_args_add(&args, "--default_transaction_read_only=off");
        op_args_add(&args, "--synchronous_commit=local"); /* Nobody streams yet. */
    }
    op_args_add(&args, "--exit_on_error=true");
    op_args_add(&args, "--search_path=pg_catalog");
    op_args_add(&args, "--password_encryption=scram-sha-256");
    op_args_add(&args, "--log_min_error_statement=panic"); /* The statement has passwords, */
    op_args_add(&args, "--log_error_verbosity=terse");     /* and so may the context. */
    op_args_add(&args, "postgres");
    next = op_run_child(o, op_args_list(&args), NULL);
out:
    op_args_deinit(&args);
    if (sql.data != NULL) {
        explicit_bzero(sql.data, sql.size);
    }
    strbuf_deinit(&sql);
    return next;
}

/* ---- Who may connect ---- */

/* In pg_hba.conf a quote inside quotes is doubled. */
static void add_quoted(struct strbuf *b, const char *name)
{
    strbuf_add_text(b, "\"");
    for (; *name != '\0'; name++) {
        strbuf_add(b, name, 1);
        if (*name == '"') {
            strbuf_add_text(b, "\"");
        }
    }
    strbuf_add_text(b, "\"");
}

static void add_hba_line(struct strbuf *b, const char *database, const char *user)
{
    if (user != NULL) {
        strbuf_printf(b, "host %s ", database);
        add_quoted(b, user);
        strbuf_add_text(b, " all scram-sha-256\n");
    }
}

/* A backup may come without one. */
static int append_file(const char *path, const struct strbuf *b, struct err *err)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    ssize_t n;

    if (fd < 0) {
        return err_set_errno(err, errno, "%s", path);
    }
    n = write(fd, b->data, b->length);
    (void)close(fd); /* The next step syncs the whole directory. */
    return n == (ssize_t)b->length ? 0 : err_set(err, "%s: short write", path);
}

/* What bootstrap.pg_hba says, and no more; without it nobody on another host could replicate,
 * so the agents' roles are let in, with passwords. */
static void add_hba_lines(const struct op *o, const struct pg_options *pg, struct strbuf *b)
{
    const struct kv_list *lines = o->ops->options.pg_hba;

    if (lines != NULL && lines->n > 0) {
        strbuf_add_text(b, "\n# Of bootstrap.pg_hba.\n");
        for (size_t i = 0; i < lines->n; i++) {
            strbuf_printf(b, "%s\n", lines->items[i].key);
        }
        return;
    }
    strbuf_add_text(b, "\n# Added because postgresql.pg_hba is not configured.\n");
    add_hba_line(b, "replication", pg->replication.user);
    add_hba_line(b, "all", superuser_of(pg));
    add_hba_line(b, "all", pg->rewind.user);
    log_info("Neither postgresql.pg_hba nor bootstrap.pg_hba is configured: the agents' roles may "
             "connect from everywhere with a password, everybody else only from this host.");
}

/* Without postgresql.pg_hba the file of initdb stays, with lines added. The copy reaches the
 * standbys. */
static enum seq_next hba_run(struct seq *s)
{
    struct op *o = op_of(s);
    const struct pg_options *pg = pg_options(op_pg(o));
    char path[OP_FILE_SIZE];
    struct strbuf b = {0};
    int rc;

    if (pg->hba != NULL && pg->hba->n > 0) {
        return SEQ_NEXT;
    }
    add_hba_lines(o, pg, &b);
    (void)snprintf(path, sizeof(path), "%s/pg_hba.conf", pg->data_dir); /* Cut: open fails. */
    rc = append_file(path, &b, &s->problem);
    strbuf_deinit(&b);
    if (rc != 0) {
        return SEQ_FAIL;
    }
    return op_run_child(
        o, (const char *const[]){"initdb", "--sync-only", "--pgdata", pg->data_dir, NULL}, NULL);
}

static bool has_script(const struct op *o)
{
    const char *script = o->ops->options.post_bootstrap;

    return script != NULL && script[0] != '\0';
}

/* The mark goes when it runs and all is done to it. */
static bool is_unmarked_late(const struct op *o)
{
    return has_script(o) || by_method(o);
}

static enum seq_next conf_run(struct seq *s)
{
    struct op *o = op_of(s);

    o->start.as_standby = false;
    o->start.unfinished = is_unmarked_late(o);
    o->start.recovers = o->start.keeps_recovery = false;
    return op_conf_run(s);
}

/* ---- The user's script ---- */

static enum seq_next unmark_run(struct seq *s)
{
    return is_unmarked_late(op_of(s)) ? SEQ_NEXT : op_unmark_run(s);
}

static enum seq_next unmark_scripted_run(struct seq *s)
{
    return is_unmarked_late(op_of(s)) ? op_unmark_run(s) : SEQ_NEXT;
}

/* Clients may come from here on. */
static enum seq_next open_run(struct seq *s)
{
    struct op *o = op_of(s);

    if (!is_unmarked_late(o)) {
        return SEQ_NEXT;
    }
    o->start.unfinished = false;
    return op_conf_run(s);
}

static enum seq_next script_run(struct seq *s)
{
    struct op *o = op_of(s);
    const struct pg_options *pg = pg_options(op_pg(o));
    struct op_args args = {0};
    struct kv_list env = {0};
    enum seq_next next;

    if (!has_script(o)) {
        return SEQ_NEXT;
    }
    op_args_add(&args, "/bin/sh");
    op_args_add(&args, "-c");
    op_args_add(&args, "%s \"$@\"", o->ops->options.post_bootstrap); /* May have arguments. */
    op_args_add(&args, "post_bootstrap");
    op_args_add(&args, "host=%s port=%u dbname=%s user=%s", pg->connect_host, pg->port,
                pg->database, superuser_of(pg));
    kv_add(&env, "PGOPTIONS", "-c synchronous_commit=local -c statement_timeout=0");
    if (pg->superuser.password != NULL) {
        kv_add(&env, "PGPASSWORD", pg->superuser.password);
    }
    next = op_run_child(o, op_args_list(&args), &env);
    kv_deinit(&env);
    op_args_deinit(&args);
    return next;
}

void op_bootstrap_undo(struct op *o, bool succeeded)
{
    remove_secret(o);
    if (!succeeded && o->committed) {
        pg_signal_stop(op_pg(o), PG_STOP_KILL);
    }
}

/* From here on there may be a server of ours that nobody should have yet. */
static enum seq_next server_run(struct seq *s)
{
    struct op *o = op_of(s);

    o->committed = true;
    o->start.unfinished = is_unmarked_late(o);
    return op_server_run(s);
}

/* clang-format off */
const struct seq_step op_bootstrap_steps[] = {
    /* name               run               done          abort          limit ms     progress */
    {"check",             check_run,        check_run,    NULL,          SECONDS(60), NULL},
    {"mark",              mark_run,         NULL,         NULL,          MINUTES(1),  NULL},
    {"count out",         op_kill_run,      op_kill_run,  NULL,          SECONDS(60), NULL},
    {"remove",            op_remove_run,    NULL,         NULL,          HOURS(1),    NULL},
    {"initdb",            initdb_run,       secret_done,  op_kill_child, INITDB_MS,   NULL},
    {"method",            method_run,       method_done,  op_kill_child, 0,           NULL}, /* The operator's. */
    {"verify",            verify_run,       NULL,         NULL,          MINUTES(1),  NULL},
    {"settle",            settle_run,       NULL,         op_kill_child, SYNC_MS,     NULL},
    {"access",            hba_run,          NULL,         op_kill_child, INITDB_MS,   NULL},
    {"configure recovery", recovery_conf_run, NULL,       NULL,          MINUTES(1),  NULL},
    {"arm recovery",      arm_recovery_run, arm_recovery_run, NULL,      MINUTES(1),  NULL},
    {"recover",           recover_run,      NULL,         NULL,          MINUTES(1),  NULL},
    {"wait for recovery", recovered_run,    recovered_run, NULL,         0,           NULL}, /* The lease's. */
    {"stop recovery",     stop_recovery_run, stopped_run, NULL,          MINUTES(5),  NULL},
    {"roles",             roles_run,        secret_done,  op_kill_child, ROLES_MS,    NULL},
    {"configure",         conf_run,         NULL,         NULL,          MINUTES(1),  NULL},
    {"unmark",            unmark_run,       NULL,         NULL,          MINUTES(1),  NULL},
    {"arm",               op_arm_run,       op_arm_run,   NULL,          MINUTES(1),  NULL},
    {"start server",      server_run,       NULL,         NULL,          MINUTES(1),  NULL},
    {"wait until ready",  op_ready_run,     op_ready_run, NULL,          MINUTES(5),  NULL},
    {"post bootstrap",    script_run,       NULL,         op_kill_child, SCRIPT_MS,   NULL},
    {"unmark scripted",   unmark_scripted_run, NULL,      NULL,          MINUTES(1),  NULL},
    {"open",              open_run,         op_open_done, NULL,          MINUTES(1),  NULL},
    {0},
};
/* clang-format on */
