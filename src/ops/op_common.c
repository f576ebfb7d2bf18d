/*
 * Steps and helpers that several sequences share. Each step can be run again
 * at any time: it looks first whether its goal is reached already.
 */
#include "ops/ops_internal.h"

#include <stdarg.h>

#include "base/clock.h"
#include "base/log.h"

#define STOP_MS     SECONDS(60)
#define READ_WHY_MS SECONDS(2) /* For the reason of a failed start. */

const struct ops *op_look(struct op *o)
{
    struct ops *ops = o->ops;

    pg_observe(op_pg(o), o->seq.now_ms);
    ops->status = (struct status){0}; /* pg_fill writes what it knows. */
    pg_fill(op_pg(o), ops->options.store, &ops->status, &ops->view);
    return ops;
}

void op_on_done(void *data, int status, const char *problem)
{
    struct op *o = data;
    const struct ops_options *options = &o->ops->options;

    o->child = NULL; /* If it was one, it is reaped. */
    /* Not before the tick that started it: tests pass ticks of a time to come. */
    seq_resume(&o->seq, status, problem, MAX(clock_ms(), o->seq.now_ms));
    if (options->on_change != NULL) {
        options->on_change(options->data); /* It polls now, or has another deadline. */
    }
}

enum seq_next op_fail(struct op *o, const char *format, ...)
{
    char text[ERR_TEXT_SIZE];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args); /* A cut sentence is still one. */
    va_end(args);
    err_set(&o->seq.problem, "%s", text);
    return SEQ_FAIL;
}

enum seq_next op_run_child(struct op *o, const char *const *argv, const struct kv_list *env)
{
    PRE(o->child == NULL);

    o->child = pg_child_start(op_pg(o), argv, env, op_on_done, o, &o->seq.problem);
    return o->child != NULL ? SEQ_WAIT : SEQ_FAIL;
}

enum seq_next op_open_done(struct seq *s)
{
    if (s->status != 0) {
        return SEQ_FAIL;
    }
    pg_reload(op_pg(op_of(s)));
    return SEQ_NEXT;
}

enum seq_next op_run_script(struct op *o, const char *label, const char *command)
{
    static const char *const none[] = {NULL};

    PRE(o->child == NULL);

    if (command == NULL || command[0] == '\0') {
        return SEQ_NEXT;
    }
    (void)pg_script_sweep(op_pg(o), PG_SCRIPT_STEP); /* Of an agent before us; as a rule none. */
    log_info("Running a command of the operator. command=%s sequence=%s", label,
             node_action_name(o->action));
    o->child = pg_script_start(op_pg(o), PG_SCRIPT_STEP, label, command, none, op_on_done, o,
                               &o->seq.problem);
    return o->child != NULL ? SEQ_WAIT : SEQ_FAIL;
}

/* libpq takes an sslpassword from a connection string, which ps shows, or from a file. The child
 * writes it: the loop waits for no disk. */
static const char service_script[] =
    "umask 077; printf %s \"$VECHE_SERVICE\" > \"$1\" || exit\n"
    "export PGSERVICEFILE=\"$1\"; unset VECHE_SERVICE; shift; exec \"$@\"\n";

static void add_wrapped(const struct op *o, const struct op_args *args, const char *path,
                        struct op_args *ret_args)
{
    op_args_add(ret_args, "/bin/sh");
    op_args_add(ret_args, "-c");
    op_args_add(ret_args, "%s", service_script);
    op_args_add(ret_args, "client");
    op_args_add(ret_args, "%s", path);
    op_args_add_program(ret_args, pg_options(op_pg(o)), args->items[0]);
    for (size_t i = 1; i < args->n; i++) {
        op_args_add(ret_args, "%s", args->items[i]);
    }
}

enum seq_next op_run_client(struct op *o, const struct op_args *args, struct kv_list *env)
{
    struct strbuf path = {0}, text = {0};
    struct op_args wrapped = {0};
    enum seq_next next;

    pg_service_file(op_pg(o), &path, &text);
    if (path.length > 0) {
        kv_add(env, "VECHE_SERVICE", text.data);
        add_wrapped(o, args, path.data, &wrapped);
        explicit_bzero(text.data, text.length);
    }
    next = op_run_child(o, op_args_list(wrapped.n > 0 ? &wrapped : args), env);
    op_args_deinit(&wrapped);
    strbuf_deinit(&text);
    strbuf_deinit(&path);
    return next;
}

void op_kill_child(struct seq *s)
{
    struct op *o = op_of(s);

    if (o->child != NULL) {
        pg_child_kill(o->child);
    }
}

uint64_t op_child_progress(struct seq *s)
{
    const struct op *o = op_of(s);

    return o->child != NULL ? pg_child_progress(o->child) : 0;
}

uint64_t op_stop_ms(const struct op *o)
{
    uint64_t ms = pg_options(op_pg(o))->stop_ms;

    return ms != 0 ? ms : STOP_MS;
}

/* ---- Before anything is done to the data directory: nobody uses it ---- */

/* A killed process needs a moment to go; this is also done's answer. */
enum seq_next op_kill_run(struct seq *s)
{
    struct pg *pg = op_pg(op_of(s));
    uint32_t n_left = pg_kill_all(pg) + pg_kill_strays(pg);

    if (n_left == 0 && pg_is_down(pg)) {
        return SEQ_NEXT;
    }
    s->poll_every_ms = 20;
    err_set(&s->problem, "%u processes of the data directory do not go away", n_left);
    return SEQ_POLL;
}

/* A server that runs already is what a start wants: only what a dead postmaster
 * left behind is removed. */
enum seq_next op_absent_run(struct seq *s)
{
    const struct ops *ops = op_look(op_of(s));

    if (ops->view.postmaster_alive) {
        return SEQ_NEXT;
    }
    if (ops->status.pg_state == PG_STATE_UNKNOWN) {
        return SEQ_POLL; /* Not looked yet: there may be a server to adopt. */
    }
    return op_kill_run(s);
}

/* ---- Things on disk ---- */

enum seq_next op_remove_run(struct seq *s)
{
    struct op *o = op_of(s);

    pg_loss_given_up(op_pg(o));
    pg_remove_data(op_pg(o), op_on_done, o);
    return SEQ_WAIT;
}

enum seq_next op_settle_run(struct seq *s)
{
    struct op *o = op_of(s);

    pg_settle(op_pg(o), op_on_done, o);
    return SEQ_WAIT;
}

enum seq_next op_unmark_run(struct seq *s)
{
    struct op *o = op_of(s);

    pg_mark_incomplete(op_pg(o), false, "", op_on_done, o);
    return SEQ_WAIT;
}

enum seq_next op_conf_run(struct seq *s)
{
    struct op *o = op_of(s);
    bool sync = pg_options(op_pg(o))->sync_on;

    o->start.sync.kind = sync ? SYNC_WAIT_FOREVER : SYNC_WAIT_USER;
    o->start.closed = sync && !o->start.as_standby && !o->start.unfinished;
    pg_write_conf(op_pg(o), &o->start, op_on_done, o);
    return SEQ_WAIT;
}

/* ---- The server ---- */

/* What becomes writable by itself does so under a deadline that the guard knows. Without
 * the lease there is none: then this waits, and the next decision cuts it off. */
enum seq_next op_arm_run(struct seq *s)
{
    const struct pg_guard *guard = &pg_options(op_pg(op_of(s)))->guard;
    int armed = guard->arm != NULL ? guard->arm(guard->data, &s->problem) : 1;

    s->poll_every_ms = 50; /* Its answer is a change, and comes sooner. */
    return armed < 0 ? SEQ_FAIL : armed > 0 ? SEQ_NEXT : SEQ_POLL;
}

enum seq_next op_server_run(struct seq *s)
{
    struct op *o = op_of(s);

    if (op_look(o)->view.postmaster_alive) {
        return SEQ_NEXT;
    }
    pg_start_server(op_pg(o), &o->start, op_on_done, o);
    return SEQ_WAIT;
}

/* Until it accepts connections. How long recovery may take is for decide() to
 * judge, so this has no deadline; it ends when the postmaster does. */
enum seq_next op_ready_run(struct seq *s)
{
    struct op *o = op_of(s);
    const struct ops *ops = op_look(o);

    if (!ops->view.postmaster_alive || ops->status.pg_state == PG_STATE_START_FAILED) {
        if (ops->status.problem[0] == '\0' && s->now_ms < ops->view.gone_ms + READ_WHY_MS) {
            return SEQ_POLL; /* Its log is being read. */
        }
        return op_fail(o, "%s",
                       ops->status.problem[0] != '\0' ? ops->status.problem
                                                      : "PostgreSQL did not stay up");
    }
    return ops->status.pg_state == PG_STATE_RUNNING ? SEQ_NEXT : SEQ_POLL;
}
