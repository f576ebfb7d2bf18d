/*
 * The data directory has WAL of its own that the cluster does not have: it goes back
 * to where the primary left its line, by pg_rewind, and starts as standby.
 *
 * Happy path: the source is asked whether it takes writes; what runs here stops, and
 * nothing is left; a server that was not shut down cleanly recovers in single-user
 * mode; WAL that still waits for the archive goes there; the WAL that is given up is
 * kept aside; pg_rewind says in a dry run that it can; only now the directory is
 * marked; pg_rewind; our own configuration; the mark goes; start.
 *
 * Failure modes:
 *  - the source does not let us in, or is no primary: found out before anything here
 *    is touched;
 *  - recovery fails, or WAL that pg_rewind needs is gone: the dry run, or what comes
 *    before it, says so; the directory is whole still;
 *  - no room for what is kept: the sequence fails, nothing is given up;
 *  - cut off after the mark: the directory is never started. The same rewind is done
 *    again with the WAL and the pg_control that were kept. Another source's timeline
 *    does not cover pages that were copied already: core says so
 *    (facts_rewind_obstacle);
 *  - pg_rewind stands still: killed. Its length has no limit;
 *  - the start fails: the rewind is through, it is started again in place;
 *  - the agent dies: its child goes with it, but not what archive_command and
 *    restore_command have started. The next agent's "count out" ends that.
 *
 * PostgreSQL: src/bin/pg_rewind/pg_rewind.c.
 */
#include "ops/ops_internal.h"

#include "base/log.h"

#define ASK_MS   SECONDS(20)
#define STILL_MS MINUTES(5)

#define CONNINFO_SIZE 2048

static enum seq_next run_with_password(struct op *o, const struct op_args *args)
{
    const struct pg_credentials *rewind = &pg_options(op_pg(o))->rewind;
    struct kv_list env = {0};
    enum seq_next next;

    kv_add(&env, PG_HELPS_VARIABLE, pg_options(op_pg(o))->data_dir); /* restore_command */
    kv_add(&env, "PGCONNECT_TIMEOUT", "10");
    kv_add(&env, "PGOPTIONS", "-c statement_timeout=0 -c lock_timeout=0");
    if (rewind->password != NULL) {
        kv_add(&env, "PGPASSWORD", rewind->password);
    }
    next = op_run_client(o, args, &env);
    kv_deinit(&env);
    return next;
}

static enum seq_next ask_run(struct seq *s)
{
    struct op *o = op_of(s);
    char conninfo[CONNINFO_SIZE];
    struct op_args args = {0};
    enum seq_next next;

    o->start.as_standby = true;
    if (o->start.upstream.name[0] == '\0') {
        return op_fail(o, "there is no primary to rewind to");
    }
    op_args_add(&args, "psql");
    op_args_add(&args, "--no-psqlrc");
    op_args_add(&args, "--no-password");
    op_args_add(&args, "--tuples-only");
    op_args_add(&args, "--no-align");
    op_args_add(&args, "--set=ON_ERROR_STOP=1");
    op_args_add(&args, "--command=SELECT 1 / (NOT pg_is_in_recovery())::int");
    op_args_add(&args, "--dbname=%s",
                pg_rewind_conninfo(op_pg(o), &o->start.upstream, conninfo, sizeof(conninfo)));
    next = run_with_password(o, &args);
    op_args_deinit(&args);
    return next;
}

/* ---- Nobody uses the directory, and it is shut down cleanly ---- */

static enum seq_next stop_done(struct seq *s)
{
    struct op *o = op_of(s);

    s->poll_every_ms = 20;
    if (pg_is_down(op_pg(o)) || !op_look(o)->view.postmaster_alive ||
        s->now_ms >= s->step_started_ms + op_stop_ms(o)) {
        return SEQ_NEXT; /* The next step is harder. */
    }
    return SEQ_POLL;
}

/* A standby that runs: stopped in good order it needs no recovery. */
static enum seq_next stop_run(struct seq *s)
{
    if (op_look(op_of(s))->view.postmaster_alive) {
        pg_signal_stop(op_pg(op_of(s)), PG_STOP_FAST);
    }
    return stop_done(s);
}

/* What was seen before it ended does not tell how it ended. */
static enum seq_next look_run(struct seq *s)
{
    enum pg_state state = op_look(op_of(s))->status.pg_state;

    return state == PG_STATE_STOPPING || state == PG_STATE_UNKNOWN ? SEQ_POLL : SEQ_NEXT;
}

/*
 * archive_command=false, wal_keep_size: its WAL is what pg_rewind reads, and the
 * checkpoint at the end would recycle it. No standby.signal: a single-user server takes none.
 */
static const char recover_script[] =
    "rm -f \"$2/standby.signal\" \"$2/recovery.signal\" && "
    "exec \"$1\" --single -D \"$2\" --config_file=\"$3\" --data_directory=\"$2\" --archive_mode=on "
    "--archive_command=false --wal_keep_size=1TB --max_slot_wal_keep_size=-1 template1 "
    "< /dev/null";

static enum seq_next recover_run(struct seq *s)
{
    struct op *o = op_of(s);
    const struct pg_options *pg = pg_options(op_pg(o));
    const struct status *status = &op_look(o)->status;
    struct op_args args = {0};
    enum seq_next next;

    if (status->data == DATA_REWINDING || status->clean_shutdown) {
        return SEQ_NEXT;
    }
    if (status->data != DATA_VALID) {
        return op_fail(o, "the data directory is %s", data_state_name(status->data));
    }
    op_args_add(&args, "/bin/sh");
    op_args_add(&args, "-c");
    op_args_add(&args, "%s", recover_script);
    op_args_add(&args, "recover");
    op_args_add_program(&args, pg, "postgres");
    op_args_add(&args, "%s", pg->data_dir);
    op_args_add(&args, "%s/%s.conf", pg->config_dir, pg->config_base_name);
    next = op_run_child(o, op_args_list(&args), NULL);
    op_args_deinit(&args);
    return next;
}

/* pg_control is read anew: what is kept ends where the recovery ended. */
static enum seq_next recover_done(struct seq *s)
{
    return s->status == 0 ? SEQ_NEXT : SEQ_FAIL;
}

/* ---- What is given up ---- */

/*
 * What counts is what PostgreSQL's files say, of which ours are only a part: what was there
 * before us, custom_conf, ALTER SYSTEM. A file that fails does not keep back the others, but
 * an archive that is down is not asked for each. Where archiving is off nothing waits: what
 * says so is of the recovery before this. %p, %f and %% as PostgreSQL replaces them
 * (shell_archive.c, BuildArchiveCommand...).
 */
static const char archive_script[] =
    "postgres=$1 conf=$3; cd \"$2\" || exit 1\n"
    "setting() { \"$postgres\" -D . --config_file=\"$conf\" --data_directory=. -C \"$1\"; }\n"
    "mode=$(setting archive_mode) || { echo 'archive_mode can not be read'; exit 1; }\n"
    "[ \"$mode\" != off ] || { rm -f pg_wal/archive_status/*.ready; exit 0; }\n"
    "command=$(setting archive_command)\n"
    "library=$(setting archive_library 2>/dev/null)\n" /* PostgreSQL 15 */
    "misses=0 left=\n"
    "for r in pg_wal/archive_status/*.ready; do\n"
    "  f=${r##*/}; f=${f%.ready}\n"
    "  [ -e \"pg_wal/$f\" ] || continue\n"
    "  [ -z \"$library\" ] || { echo \"archive_library=$library is not called here\"; exit 1; }\n"
    "  [ -n \"$command\" ] || { echo 'archive_command is empty'; exit 1; }\n"
    "  c=$(printf '%s' \"$command\" | sed -e 's/%%/\\x01/g' -e \"s|%p|pg_wal/$f|g\" "
    "-e \"s/%f/$f/g\" -e 's/\\x01/%/g')\n"
    "  if /bin/sh -c \"$c\"; then\n"
    "    mv \"$r\" \"pg_wal/archive_status/$f.done\" || exit 1\n"
    "    misses=0\n"
    "  else\n"
    "    left=$f misses=$((misses + 1))\n"
    "    [ $misses -lt 3 ] || break\n"
    "  fi\n"
    "done\n"
    "[ -z \"$left\" ] || { echo \"archive_command failed, last for $left\"; exit 1; }\n";

static enum seq_next archive_run(struct seq *s)
{
    struct op *o = op_of(s);
    const struct pg_options *pg = pg_options(op_pg(o));
    struct kv_list env = {0};
    struct op_args args = {0};
    enum seq_next next;

    if (op_look(o)->status.data == DATA_REWINDING) {
        return SEQ_NEXT;
    }
    op_args_add(&args, "/bin/sh");
    op_args_add(&args, "-c");
    op_args_add(&args, "%s", archive_script);
    op_args_add(&args, "archive");
    op_args_add_program(&args, pg, "postgres");
    op_args_add(&args, "%s", pg->data_dir);
    op_args_add(&args, "%s/%s.conf", pg->config_dir, pg->config_base_name);
    kv_add(&env, PG_HELPS_VARIABLE, pg->data_dir);
    next = op_run_child(o, op_args_list(&args), &env);
    kv_deinit(&env);
    op_args_deinit(&args);
    return next;
}

/* An archive that is down does not keep a node down: the next step keeps what waits. */
static enum seq_next archive_done(struct seq *s)
{
    if (s->status != 0) {
        log_warning("WAL that waited for the archive did not get there before a rewind. It is kept "
                    "beside the data directory, with <segment>.ready, whatever diverged_keep says: "
                    "archive it from there, or a recovery to a point in time ends before it. "
                    "directory=%s.diverged problem=\"%s\"",
                    pg_options(op_pg(op_of(s)))->data_dir, s->problem.text);
    }
    return SEQ_NEXT;
}

enum seq_next op_keep_run(struct seq *s)
{
    struct op *o = op_of(s);

    if (op_look(o)->status.data != DATA_VALID) {
        return SEQ_NEXT; /* Nothing is in it; or what was, was kept by the first try. */
    }
    if (o->decision.agrees) {
        return SEQ_NEXT; /* A copy by order: all of it is at the source as well. */
    }
    pg_keep_diverged(op_pg(o),
                     &(struct pg_keep){.store = o->ops->options.store,
                                       .limit = o->ops->options.diverged_keep,
                                       .for_rewind = o->action == ACTION_REWIND},
                     op_on_done, o);
    return SEQ_WAIT;
}

/* ---- pg_rewind ---- */

/*
 * WAL that is not in pg_wal any more comes from the archive, where there is a
 * restore_command; pg_rewind takes that from the configuration of its target, which it
 * can be told the place of from PostgreSQL 15 on. Without one it would refuse the option.
 */
static const char rewind_script[] =
    "postgres=$1 rewind=$2 data=$3 conf=$4; shift 4\n"
    "restore=$(\"$postgres\" -D \"$data\" --config_file=\"$conf\" --data_directory=\"$data\""
    " -C restore_command)\n"
    "if [ -n \"$restore\" ]; then\n"
    "  if \"$rewind\" --help | grep -q -e --config-file; then\n"
    "    set -- \"$@\" --restore-target-wal --config-file=\"$conf\"\n"
    "  elif [ \"$conf\" = \"$data/postgresql.conf\" ]; then\n"
    "    set -- \"$@\" --restore-target-wal\n"
    "  fi\n"
    "fi\n"
    "exec \"$rewind\" \"$@\"\n";

/* Ours to set, or harmful: the mark goes when pg_rewind has synced its work. */
static const char *const refused_options[] = {
    "target-pgdata", "source-pgdata",
    "source-server", "write-recovery-conf",
    "dry-run",       "restore-target-wal",
    "config-file",   "no-ensure-shutdown",
    "no-sync",       "version",
    "help",          NULL,
};

static enum seq_next run_rewind(struct op *o, bool dry)
{
    const struct pg_options *pg = pg_options(op_pg(o));
    char conninfo[CONNINFO_SIZE];
    struct op_args args = {0};
    enum seq_next next;

    op_args_add(&args, "/bin/sh");
    op_args_add(&args, "-c");
    op_args_add(&args, "%s", rewind_script);
    op_args_add(&args, "rewind");
    op_args_add_program(&args, pg, "postgres");
    op_args_add_program(&args, pg, "pg_rewind");
    op_args_add(&args, "%s", pg->data_dir);
    op_args_add(&args, "%s/%s.conf", pg->config_dir, pg->config_base_name);
    op_args_add(&args, "--target-pgdata=%s", pg->data_dir);
    op_args_add(&args, "--no-ensure-shutdown"); /* It is. */
    if (dry) {
        op_args_add(&args, "--dry-run");
    }
    op_args_add(&args, "--source-server=%s",
                pg_rewind_conninfo(op_pg(o), &o->start.upstream, conninfo, sizeof(conninfo)));
    op_args_add_options(&args, pg->rewind_options, refused_options, "postgresql.rewind");
    next = run_with_password(o, &args);
    op_args_deinit(&args);
    return next;
}

static enum seq_next dry_run(struct seq *s)
{
    struct op *o = op_of(s);

    return op_look(o)->status.data == DATA_REWINDING ? SEQ_NEXT : run_rewind(o, true);
}

static enum seq_next mark_run(struct seq *s)
{
    struct op *o = op_of(s);
    char why[TEXT_SIZE];

    o->committed = true;
    if (op_look(o)->status.data == DATA_REWINDING) {
        pg_keep_restore(op_pg(o), op_on_done, o);
        return SEQ_WAIT;
    }
    (void)snprintf(why, sizeof(why), "rewind to timeline %u of %s", o->decision.timeline,
                   o->start.upstream.name); /* Fits. */
    pg_mark_rewinding(op_pg(o), o->decision.timeline, why, op_on_done, o);
    return SEQ_WAIT;
}

static enum seq_next rewind_run(struct seq *s)
{
    pg_loss_given_up(op_pg(op_of(s)));
    return run_rewind(op_of(s), false);
}

static enum seq_next trim_run(struct seq *s)
{
    struct op *o = op_of(s);

    pg_keep_trim(op_pg(o), o->ops->options.diverged_keep, op_on_done, o);
    return SEQ_WAIT;
}

bool op_rewind_is_at_fault(const char *step)
{
    return str_equal(step, "recover") || str_equal(step, "dry run") || str_equal(step, "rewind");
}

/* clang-format off */
const struct seq_step op_rewind_steps[] = {
    /* name               run            done          abort          limit ms     progress */
    {"ask source",        ask_run,       NULL,         op_kill_child, ASK_MS,      NULL},
    {"stop",              stop_run,      stop_done,    NULL,          0,           NULL}, /* op_stop_ms */
    {"count out",         op_kill_run,   op_kill_run,  NULL,          SECONDS(60), NULL},
    {"look",              look_run,      look_run,     NULL,          SECONDS(60), NULL},
    {"recover",           recover_run,   recover_done, op_kill_child, STILL_MS,    op_child_progress},
    {"archive",           archive_run,   archive_done, op_kill_child, STILL_MS,    op_child_progress},
    {"keep",              op_keep_run,   NULL,         NULL,          0,           NULL}, /* A copy; bounded by the room there is. */
    {"dry run",           dry_run,       NULL,         op_kill_child, STILL_MS,    op_child_progress},
    {"mark",              mark_run,      NULL,         NULL,          0,           NULL}, /* A copy, as keep. */
    {"rewind",            rewind_run,    NULL,         op_kill_child, STILL_MS,    op_child_progress},
    {"configure",         op_conf_run,   NULL,         NULL,          MINUTES(1),  NULL},
    {"unmark",            op_unmark_run, NULL,         NULL,          MINUTES(1),  NULL},
    {"trim",              trim_run,      NULL,         NULL,          MINUTES(1),  NULL},
    {"start server",      op_server_run, NULL,         NULL,          MINUTES(1),  NULL},
    {"wait until ready",  op_ready_run,  op_ready_run, NULL,          0,           NULL},
    {0},
};
/* clang-format on */
