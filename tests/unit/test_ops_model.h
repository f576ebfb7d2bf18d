/*
 * A model of the pg module for the tests of ops/: it records what it is asked for
 * and ends operations when the test says so. It defines pg's functions, so the
 * program that includes this must not link pg.
 */
#ifndef VECHE_TESTS_TEST_OPS_MODEL_H
#define VECHE_TESTS_TEST_OPS_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/str.h"
#include "ops/ops_internal.h"

/* ---- The model ---- */

struct pg {
    struct pg_options options;
    bool alive;
    uint32_t n_left; /* Processes; with a postmaster or without. */
    bool immortal;   /* SIGKILL does nothing. */
    bool stubborn;   /* Nothing but SIGKILL does anything. */
    enum data_state data;
    enum pg_role role;
    char upstream[NAME_SIZE];
    bool receives; /* A WAL receiver runs. */
    bool is_checkpoint_due;
    bool replay_paused;
    uint64_t child_progress;
    uint32_t n_given_up; /* pg_loss_given_up. */
    lsn_t received;      /* On timeline 1. */
    uint64_t made_sysid; /* Of what an operator's command made. */
    char answer[PATH_MAX]; /* Where psql is to put what IDENTIFY_SYSTEM says; empty = nowhere. */

    pg_done_cb cb; /* The operation in flight, its caller, its effect. */
    void *cb_data;
    void (*effect)(struct pg *pg);
    struct pg_start start;
    bool child_killed;

    char trace[2048];
    struct sbuf out;
};

struct pg_child {
    int unused;
};

static struct pg_child the_child;
static struct pg *the_pg; /* pg_child_kill knows no other way to it. */

static void note(struct pg *pg, const char *what)
{
    sbuf_printf(&pg->out, "%s ", what);
}

static void begin(struct pg *pg, const char *what, void (*effect)(struct pg *), pg_done_cb cb,
                  void *data)
{
    assert_null(pg->cb); /* Contract: at most one operation in flight. */
    note(pg, what);
    pg->cb = cb;
    pg->cb_data = data;
    pg->effect = effect;
}

static void finish(struct pg *pg, int status)
{
    pg_done_cb cb = pg->cb;

    assert_non_null(cb);
    pg->cb = NULL;
    if (status == 0 && pg->effect != NULL) {
        pg->effect(pg);
    }
    cb(pg->cb_data, status, status == 0 ? NULL : "model says no");
}

static void die(struct pg *pg)
{
    pg->alive = false;
    pg->n_left = 0;
    pg->role = PG_ROLE_UNKNOWN;
}

void pg_observe(struct pg *pg, uint64_t now_ms)
{
    (void)pg;
    (void)now_ms;
}

void pg_fill(const struct pg *pg, const struct store *store, struct status *status,
             struct view_pg *view)
{
    (void)store;
    status->pg_state = pg->alive ? PG_STATE_RUNNING : PG_STATE_STOPPED;
    status->pg_role = pg->role;
    status->data = pg->data;
    status->replay_paused = pg->replay_paused;
    status->received = pg->received;
    status->timeline = 1;
    view->postmaster_alive = pg->alive;
    view->n_processes = pg->n_left;
    view->promoted_checkpoint_due = pg->is_checkpoint_due;
    (void)str_copy(view->upstream, sizeof(view->upstream), pg->upstream);
    view->receives = pg->receives || pg->upstream[0] != '\0';
}

static void effect_conf(struct pg *pg)
{
    if (pg->start.as_standby) {
        (void)str_copy(pg->upstream, sizeof(pg->upstream), pg->start.upstream.name);
    }
}

void pg_write_conf(struct pg *pg, const struct pg_start *start, pg_done_cb cb, void *data)
{
    pg->start = *start;
    begin(pg, start->as_standby ? "conf-standby" : "conf-primary", effect_conf, cb, data);
}

static void effect_server(struct pg *pg)
{
    pg->alive = true;
    pg->n_left = 5;
    pg->role = pg->start.as_standby ? PG_ROLE_STANDBY : PG_ROLE_PRIMARY;
}

void pg_start_server(struct pg *pg, const struct pg_start *start, pg_done_cb cb, void *data)
{
    assert_int_equal(pg->n_left, 0);
    assert_int_equal(pg->data, start->unfinished ? DATA_INCOMPLETE : DATA_VALID);
    begin(pg, "server", effect_server, cb, data);
}

void pg_signal_stop(struct pg *pg, enum pg_stop_mode mode)
{
    static const char *const names[] = {"fast", "immediate", "sigkill"};

    note(pg, names[mode]);
    if (!pg->stubborn || (mode == PG_STOP_KILL && !pg->immortal)) {
        die(pg);
    }
}

bool pg_is_down(struct pg *pg)
{
    return pg->n_left == 0;
}

uint32_t pg_kill_strays(struct pg *pg)
{
    (void)pg;
    return 0;
}

uint32_t pg_kill_all(struct pg *pg)
{
    if (pg->n_left > 0) {
        note(pg, "kill");
        if (!pg->immortal) {
            die(pg);
            return 1; /* A killed process is gone at the next look. */
        }
    }
    return pg->n_left;
}

void pg_reload(struct pg *pg)
{
    note(pg, "reload");
}

void pg_end_receiver(struct pg *pg)
{
    note(pg, "end-receiver");
    pg->receives = false;
}

static void effect_promote(struct pg *pg)
{
    pg->role = PG_ROLE_PRIMARY;
}

void pg_promote(struct pg *pg, uint32_t timeline, pg_done_cb cb, void *data)
{
    (void)timeline;
    begin(pg, "promote", effect_promote, cb, data);
}

static void effect_execute(struct pg *pg)
{
    pg->is_checkpoint_due = false;
    pg->replay_paused = false;
}

void pg_execute(struct pg *pg, const char *sql, uint64_t deadline_ms, pg_done_cb cb, void *data)
{
    assert_true(deadline_ms > 0);
    begin(pg, str_starts_with(sql, "CHECKPOINT") ? "checkpoint" : "sql", effect_execute, cb, data);
}

#define SOURCE_LSN 0x3000100

static void effect_child(struct pg *pg)
{
    FILE *out;

    if (pg->answer[0] != '\0') {
        out = fopen(pg->answer, "we");
        assert_non_null(out);
        assert_true(fputs("7|1|0/3000100|\n", out) >= 0);
        assert_int_equal(fclose(out), 0);
        pg->answer[0] = '\0';
    }
}

/* "command|argument|..." of a shell, for who looks at what an operator's command gets. */
static char last_shell[4096];

static void note_arguments(struct pg *pg, const char *const *argv)
{
    struct sbuf b;

    sbuf_init(&b, last_shell, sizeof(last_shell));
    for (size_t i = 0; argv[i] != NULL; i++) {
        if (str_starts_with(argv[i], "--output=") && str_equal(argv[0], "psql")) {
            (void)str_copy(pg->answer, sizeof(pg->answer), argv[i] + strlen("--output="));
        }
        if (i >= 2) {
            sbuf_printf(&b, "%s|", argv[i]);
        }
    }
}

struct pg_child *pg_child_start(struct pg *pg, const char *const *argv, const struct kv_list *env,
                                pg_done_cb cb, void *data, struct err *err)
{
    (void)env;
    (void)err;
    pg->child_killed = false;
    note_arguments(pg, argv);
    begin(pg, argv[0], effect_child, cb, data);
    return &the_child;
}

struct pg_child *pg_script_start(struct pg *pg, enum pg_script slot, const char *label,
                                 const char *command, const char *const *args, pg_done_cb cb,
                                 void *data, struct err *err)
{
    (void)label;
    (void)err;
    assert_int_equal(slot, PG_SCRIPT_STEP);
    assert_non_null(command);
    assert_null(args[0]);
    pg->child_killed = false;
    begin(pg, "script", effect_child, cb, data);
    return &the_child;
}

size_t pg_script_sweep(struct pg *pg, enum pg_script slot)
{
    (void)pg;
    (void)slot;
    return 0;
}

void pg_child_kill(struct pg_child *child)
{
    assert_ptr_equal(child, &the_child);
    note(the_pg, "child-kill");
    the_pg->child_killed = true;
}

static void effect_mark(struct pg *pg)
{
    pg->data = DATA_INCOMPLETE;
}

static void effect_unmark(struct pg *pg)
{
    pg->data = DATA_VALID;
}

void pg_mark_incomplete(struct pg *pg, bool incomplete, const char *why, pg_done_cb cb, void *data)
{
    assert_non_null(why);
    begin(pg, incomplete ? "mark" : "unmark", incomplete ? effect_mark : effect_unmark, cb, data);
}

void pg_mark_cloning(struct pg *pg, const char *why, const struct kv_list *options, pg_done_cb cb,
                     void *data)
{
    (void)options;
    pg_mark_incomplete(pg, true, why, cb, data);
}

void pg_mark_method(struct pg *pg, const char *why, pg_done_cb cb, void *data)
{
    assert_non_null(why);
    begin(pg, "mark-method", effect_mark, cb, data);
}

void pg_write_passwords(struct pg *pg, pg_done_cb cb, void *data)
{
    begin(pg, "passwords", NULL, cb, data);
}

void pg_check_made(struct pg *pg, uint64_t sysid, pg_done_cb cb, void *data)
{
    pg->made_sysid = sysid;
    assert_int_equal(pg->data, DATA_INCOMPLETE);
    begin(pg, "verify", NULL, cb, data);
}

const char *pg_answer_path(const struct pg *pg, char *path, size_t size)
{
    (void)pg;
    (void)str_copy(path, size, "/tmp/veche-test-ops.veche-answer");
    return path;
}

const char *pg_program(const struct pg_options *o, const char *program)
{
    (void)o;
    return program;
}

const char pg_spaces_sql[] = "SELECT";

const char *pg_spaces_answer(const struct pg *pg, char *path, size_t size)
{
    (void)pg;
    (void)str_copy(path, size, "/tmp/veche-test-ops.veche-tablespaces");
    return path;
}

const char *pg_making_dir(const struct pg *pg)
{
    (void)pg;
    return "/tmp/veche-test-ops/veche-making-0";
}

static void effect_rewinding(struct pg *pg)
{
    pg->data = DATA_REWINDING;
}

void pg_mark_rewinding(struct pg *pg, uint32_t timeline, const char *why, pg_done_cb cb, void *data)
{
    (void)timeline;
    assert_non_null(why);
    assert_int_equal(pg->data, DATA_VALID);
    begin(pg, "mark-rewind", effect_rewinding, cb, data);
}

void pg_keep_diverged(struct pg *pg, const struct pg_keep *what, pg_done_cb cb, void *data)
{
    (void)what;
    assert_int_equal(pg->n_left, 0);
    assert_int_equal(pg->data, DATA_VALID);
    begin(pg, "keep", NULL, cb, data);
}

/* Not before the mark: until then the data directory is whole, whatever was kept. */
void pg_loss_given_up(struct pg *pg)
{
    assert_int_not_equal(pg->data, DATA_VALID);
    pg->n_given_up++;
}

void pg_keep_restore(struct pg *pg, pg_done_cb cb, void *data)
{
    assert_int_equal(pg->data, DATA_REWINDING);
    begin(pg, "restore", NULL, cb, data);
}

void pg_keep_trim(struct pg *pg, uint64_t limit, pg_done_cb cb, void *data)
{
    (void)limit;
    assert_int_equal(pg->data, DATA_VALID);
    begin(pg, "trim", NULL, cb, data);
}

uint64_t pg_child_progress(const struct pg_child *child)
{
    assert_ptr_equal(child, &the_child);
    return the_pg->child_progress;
}

bool pg_child_copied(const struct pg_child *child, unsigned *ret_percent, double *ret_mb_per_s)
{
    (void)child;
    (void)ret_percent;
    (void)ret_mb_per_s;
    return false;
}

const char *pg_rewind_conninfo(const struct pg *pg, const struct upstream *upstream, char *text,
                               size_t size)
{
    return pg_conninfo(pg, upstream, text, size);
}

void pg_settle(struct pg *pg, pg_done_cb cb, void *data)
{
    assert_int_equal(pg->data, DATA_INCOMPLETE);
    begin(pg, "settle", NULL, cb, data);
}

void pg_remove_data(struct pg *pg, pg_done_cb cb, void *data)
{
    assert_int_equal(pg->n_left, 0);
    assert_int_equal(pg->data, DATA_INCOMPLETE); /* The mark comes first. */
    begin(pg, "remove", NULL, cb, data);
}

const char *pg_clone_conninfo(const struct pg *pg, const struct upstream *upstream, char *text,
                              size_t size)
{
    return pg_conninfo(pg, upstream, text, size);
}

void pg_service_file(const struct pg *pg, struct strbuf *ret_path, struct strbuf *ret_text)
{
    (void)pg;
    (void)ret_path;
    (void)ret_text;
}

const char *pg_conninfo(const struct pg *pg, const struct upstream *upstream, char *text,
                        size_t size)
{
    (void)pg;
    (void)snprintf(text, size, "host=%s", upstream->host);
    return text;
}

const struct pg_options *pg_options(const struct pg *pg)
{
    return &pg->options;
}

/* ---- The bench ---- */

struct bench {
    struct pg pg;
    struct kv_list hba;
    struct kv_list methods, settings; /* Of replicas, and of a bootstrap. */
    struct ops *ops;
    uint64_t now_ms;
    int n_changes;
};

static void on_change(void *data)
{
    ((struct bench *)data)->n_changes++;
}

static struct store no_store; /* Too large for a stack. */

static void bench_make_ops(struct bench *b, const char *script, const char *method)
{
    ops_free(b->ops);
    b->ops = ops_new(&(struct ops_options){.pg = &b->pg,
                                           .store = &no_store,
                                           .post_bootstrap = script,
                                           .bootstrap_method = method,
                                           .bootstrap_settings = &b->settings,
                                           .on_change = on_change,
                                           .data = b});
}

static void bench_init_with(struct bench *b, const char *script)
{
    /* An hour ahead: time then passes only when the test says so. */
    *b = (struct bench){.now_ms = clock_ms() + HOURS(1)};
    the_pg = &b->pg;
    sbuf_init(&b->pg.out, b->pg.trace, sizeof(b->pg.trace));
    kv_add(&b->hba, "local all all trust", NULL);
    b->pg.options = (struct pg_options){.name = "A",
                                        .scope = "test",
                                        .data_dir = "/tmp/veche-test-ops",
                                        .pgpass = "/nowhere/pgpass",
                                        .database = "postgres",
                                        .connect_host = "127.0.0.1",
                                        .port = 5432,
                                        .hba = &b->hba,
                                        .replica_methods = &b->methods,
                                        .replica_settings = &b->settings};
    b->pg.data = DATA_VALID;
    bench_make_ops(b, script, NULL);
}

static void bench_init(struct bench *b)
{
    bench_init_with(b, NULL);
}

static void bench_deinit(struct bench *b)
{
    ops_free(b->ops);
    kv_deinit(&b->hba);
    kv_deinit(&b->methods);
    kv_deinit(&b->settings);
}

static void decide_on(struct bench *b, enum node_action action, const char *upstream)
{
    struct node_decision d = {.action = action, .rule = "a-rule", .why = "because"};

    (void)str_copy(d.upstream.name, sizeof(d.upstream.name), upstream);
    (void)str_copy(d.upstream.host, sizeof(d.upstream.host), "10.0.0.1");
    ops_reconcile(b->ops, &d, b->now_ms);
}

static void pass(struct bench *b, uint64_t ms)
{
    b->now_ms += ms;
    (void)ops_tick(b->ops, b->now_ms);
}

static struct view_op see(const struct bench *b)
{
    struct view_op v;

    ops_fill(b->ops, &v);
    return v;
}

/* Lets every operation succeed until nothing runs. */
static void run_out(struct bench *b)
{
    for (int i = 0; i < 200 && !ops_is_idle(b->ops); i++) {
        if (b->pg.cb != NULL) {
            finish(&b->pg, b->pg.child_killed ? -1 : 0);
            b->pg.child_killed = false;
        } else {
            pass(b, 100);
        }
    }
    assert_true(ops_is_idle(b->ops));
    assert_null(b->pg.cb);
}

static void forget_trace(struct bench *b)
{
    sbuf_init(&b->pg.out, b->pg.trace, sizeof(b->pg.trace));
}

/* The world in which an action is decided. */
static void set_scene(struct bench *b, enum node_action action)
{
    bool runs = action == ACTION_PREPARE || action == ACTION_PROMOTE || action == ACTION_FOLLOW ||
                action == ACTION_CHECKPOINT || action == ACTION_STOP || action == ACTION_FENCE;

    b->pg.data = action == ACTION_BOOTSTRAP ? DATA_EMPTY : DATA_VALID;
    b->pg.alive = runs;
    b->pg.n_left = runs || action == ACTION_CLEAN_UP ? 5 : 0;
    b->pg.role = !runs ? PG_ROLE_UNKNOWN
                 : action == ACTION_CHECKPOINT || action == ACTION_STOP || action == ACTION_FENCE
                     ? PG_ROLE_PRIMARY
                     : PG_ROLE_STANDBY;
    b->pg.is_checkpoint_due = action == ACTION_CHECKPOINT;
    b->pg.replay_paused = action == ACTION_PROMOTE;
    b->pg.upstream[0] = '\0';
}

#endif
