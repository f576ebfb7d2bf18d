/*
 * Reconciliation of what runs with what is decided, over a model of the pg
 * module that records what it is asked for and ends operations when the test
 * says so. What the sequences do to PostgreSQL is in test_ops_postgres.c.
 */
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
    bool is_checkpoint_due;
    bool replay_paused;

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
    view->postmaster_alive = pg->alive;
    view->n_processes = pg->n_left;
    view->promoted_checkpoint_due = pg->is_checkpoint_due;
    (void)str_copy(view->upstream, sizeof(view->upstream), pg->upstream);
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
    assert_int_equal(pg->data, DATA_VALID);
    (void)start;
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

static void effect_promote(struct pg *pg)
{
    pg->role = PG_ROLE_PRIMARY;
}

void pg_promote(struct pg *pg, pg_done_cb cb, void *data)
{
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

static void effect_child(struct pg *pg)
{
    (void)pg;
}

struct pg_child *pg_child_start(struct pg *pg, const char *const *argv, const struct kv_list *env,
                                pg_done_cb cb, void *data, struct err *err)
{
    (void)env;
    (void)err;
    pg->child_killed = false;
    begin(pg, argv[0], effect_child, cb, data);
    return &the_child;
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

void pg_remove_data(struct pg *pg, pg_done_cb cb, void *data)
{
    assert_int_equal(pg->n_left, 0);
    assert_int_equal(pg->data, DATA_INCOMPLETE); /* The mark comes first. */
    begin(pg, "remove", NULL, cb, data);
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
    struct ops *ops;
    uint64_t now_ms;
    int n_changes;
};

static void on_change(void *data)
{
    ((struct bench *)data)->n_changes++;
}

static void bench_init_with(struct bench *b, const char *script)
{
    /* An hour ahead: time then passes only when the test says so. */
    *b = (struct bench){.now_ms = clock_ms() + HOURS(1)};
    the_pg = &b->pg;
    sbuf_init(&b->pg.out, b->pg.trace, sizeof(b->pg.trace));
    kv_add(&b->hba, "local all all trust", NULL);
    b->pg.options = (struct pg_options){.name = "A",
                                        .data_dir = "/tmp/veche-test-ops",
                                        .pgpass = "/nowhere/pgpass",
                                        .database = "postgres",
                                        .connect_host = "127.0.0.1",
                                        .port = 5432,
                                        .hba = &b->hba};
    b->pg.data = DATA_VALID;
    b->ops = ops_new(&(struct ops_options){
        .pg = &b->pg, .post_bootstrap = script, .on_change = on_change, .data = b});
}

static void bench_init(struct bench *b)
{
    bench_init_with(b, NULL);
}

static void bench_deinit(struct bench *b)
{
    ops_free(b->ops);
    kv_deinit(&b->hba);
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
    bool runs = action == ACTION_PROMOTE || action == ACTION_FOLLOW ||
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

/* ---- Tests ---- */

/* Golden: keep, cancel, cancel early (E), cut in (X). Rows run, columns are decided. */
static void what_becomes_of_a_running_sequence_is_as_written(void **state)
{
    static const struct {
        enum node_action running;
        const char *cells; /* none boot clone sprim sstby prom foll chkp stop fence clean */
    } golden[] = {
        {ACTION_NONE, "KCCCCCCCCXX"},          {ACTION_BOOTSTRAP, "KKCCCCCKCXX"},
        {ACTION_CLONE, "KCKCKCKKCXX"},         {ACTION_START_PRIMARY, "KCCKCKCKCXX"},
        {ACTION_START_STANDBY, "KCCCKCCKCXX"}, {ACTION_PROMOTE, "KCCCCKCKCXX"},
        {ACTION_FOLLOW, "KCCCCCKCCXX"},        {ACTION_CHECKPOINT, "KCCCCCCKCXX"},
        {ACTION_STOP, "KEEEEEEEKXX"},          {ACTION_FENCE, "KKKKKKKKKKK"},
        {ACTION_CLEAN_UP, "KKKKKKKKKXK"},
    };
    static const char letters[] = {
        [OP_KEEP] = 'K', [OP_CANCEL] = 'C', [OP_CANCEL_EARLY] = 'E', [OP_CUT] = 'X'};

    (void)state;
    assert_int_equal(ARRAY_LENGTH(golden), ACTIONS);
    for (size_t i = 0; i < ARRAY_LENGTH(golden); i++) {
        char cells[ACTIONS + 1] = {0};

        for (int decided = 0; decided < ACTIONS; decided++) {
            cells[decided] = letters[op_relation(golden[i].running, (enum node_action)decided)];
        }
        assert_string_equal(cells, golden[i].cells);
    }
}

/* Every action, in a world that asks for it: which operations, in which order. */
static void every_sequence_does_its_operations_in_order(void **state)
{
    static const struct {
        enum node_action action;
        const char *trace;
    } golden[] = {
        {ACTION_BOOTSTRAP, "mark remove initdb /bin/sh conf-primary unmark server "},
        {ACTION_CLONE, "psql mark remove pg_basebackup conf-standby unmark server "},
        {ACTION_START_PRIMARY, "conf-primary server "},
        {ACTION_START_STANDBY, "conf-standby server "},
        {ACTION_PROMOTE, "sql promote "},
        {ACTION_FOLLOW, "conf-standby reload "},
        {ACTION_CHECKPOINT, "checkpoint "},
        {ACTION_STOP, "checkpoint fast "},
        {ACTION_FENCE, "immediate "},
        {ACTION_CLEAN_UP, "kill "},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(golden); i++) {
        struct bench b;
        struct view_op v;

        bench_init(&b);
        set_scene(&b, golden[i].action);
        decide_on(&b, golden[i].action, "other");
        run_out(&b);

        assert_string_equal(b.pg.trace, golden[i].trace);
        v = see(&b);
        assert_int_equal(v.running, ACTION_NONE);
        assert_int_equal(v.last,
                         golden[i].action == ACTION_CLEAN_UP ? ACTION_NONE : golden[i].action);
        assert_false(v.last_failed);
        bench_deinit(&b);
    }
}

/* Cancelled while its n-th operation is in flight, then decided again: the second
 * run must reach the goal from wherever the first one left off. */
static void every_sequence_can_be_resumed_after_a_cancel_at_each_operation(void **state)
{
    (void)state;
    for (int a = ACTION_NONE + 1; a < ACTIONS; a++) {
        enum node_action action = (enum node_action)a;

        for (int n = 0; n < 10; n++) {
            struct bench b;
            int i;

            bench_init(&b);
            set_scene(&b, action);
            decide_on(&b, action, "other");
            for (i = 0; i < n && !ops_is_idle(b.ops); i++) {
                if (b.pg.cb != NULL) {
                    finish(&b.pg, 0);
                } else {
                    pass(&b, 100);
                }
            }
            if (!ops_is_idle(b.ops) && !op_is_urgent(action)) {
                ops_cancel(b.ops, b.now_ms);
                run_out(&b);
                assert_int_equal(see(&b).last, ACTION_NONE);
                /* Cut at its very last operation a bootstrap may be complete. */
                if (action == ACTION_BOOTSTRAP && b.pg.data == DATA_VALID) {
                    decide_on(&b, ACTION_START_PRIMARY, "other");
                } else {
                    decide_on(&b, action, "other");
                }
            }
            run_out(&b);
            assert_false(see(&b).last_failed);
            assert_int_equal(b.pg.data, DATA_VALID);
            assert_int_equal(b.pg.alive, action != ACTION_STOP && !op_is_urgent(action));
            bench_deinit(&b);
        }
    }
}

/* Whatever runs, at whatever operation: the signal is out when reconcile returns. */
static void a_fence_signals_within_the_call_that_decides_it(void **state)
{
    (void)state;
    for (int a = ACTION_NONE; a < ACTIONS; a++) {
        for (int n = 0; n < 10; n++) {
            struct bench b;
            bool running;

            bench_init(&b);
            set_scene(&b, (enum node_action)a);
            decide_on(&b, (enum node_action)a, "other");
            for (int i = 0; i < n && !ops_is_idle(b.ops); i++) {
                if (b.pg.cb != NULL) {
                    finish(&b.pg, 0);
                } else {
                    pass(&b, 100);
                }
            }
            running = !ops_is_idle(b.ops);
            b.pg.alive = true;
            b.pg.n_left = 7;
            b.pg.stubborn = true;
            if (see(&b).running != ACTION_FENCE) {
                forget_trace(&b);
                b.now_ms += SECONDS(1); /* Beyond the time in which views settle. */
                decide_on(&b, ACTION_FENCE, "");
                assert_true(str_starts_with(b.pg.trace, "immediate "));
            }
            assert_true(IMPLIES(running, see(&b).running == ACTION_FENCE));
            run_out(&b);
            assert_int_equal(b.pg.n_left, 0);
            assert_int_equal(see(&b).last, ACTION_FENCE);
            bench_deinit(&b);
        }
    }
}

static void a_fence_kills_after_200_ms_and_counts_until_none(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_FENCE);
    b.pg.stubborn = true;
    b.pg.immortal = true;
    decide_on(&b, ACTION_FENCE, "");
    for (int i = 0; i < 9; i++) {
        pass(&b, 20);
    }
    assert_string_equal(b.pg.trace, "immediate ");
    pass(&b, 20);
    assert_true(str_starts_with(b.pg.trace, "immediate kill "));
    pass(&b, SECONDS(30));
    assert_int_equal(see(&b).running, ACTION_FENCE);
    b.pg.immortal = false;
    pass(&b, 20);
    pass(&b, 20);

    assert_true(ops_is_idle(b.ops));
    bench_deinit(&b);
}

/* A server being started at the moment of the fence appears after the count was
 * zero: the fence is not over before that operation has ended. */
static void a_fence_waits_for_the_start_it_cut_off(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_START_PRIMARY);
    decide_on(&b, ACTION_START_PRIMARY, "");
    finish(&b.pg, 0);
    decide_on(&b, ACTION_FENCE, "");
    pass(&b, SECONDS(5));
    assert_int_equal(see(&b).running, ACTION_FENCE);
    finish(&b.pg, 0);
    assert_int_equal(b.pg.n_left, 5);
    run_out(&b);

    assert_int_equal(b.pg.n_left, 0);
    bench_deinit(&b);
}

static void another_action_waits_for_the_callback_of_the_cancelled_one(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_CLONE);
    decide_on(&b, ACTION_CLONE, "other");
    finish(&b.pg, 0); /* psql */
    finish(&b.pg, 0); /* mark */
    finish(&b.pg, 0); /* remove */
    decide_on(&b, ACTION_STOP, "");
    decide_on(&b, ACTION_STOP, "");
    assert_string_equal(b.pg.trace, "psql mark remove pg_basebackup child-kill ");
    assert_int_equal(see(&b).running, ACTION_CLONE);
    finish(&b.pg, -1);
    assert_true(ops_is_idle(b.ops));
    assert_int_equal(b.pg.data, DATA_INCOMPLETE);
    decide_on(&b, ACTION_STOP, "");
    run_out(&b);

    assert_int_equal(see(&b).last, ACTION_STOP);
    bench_deinit(&b);
}

static void a_clone_of_another_member_is_another_action(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_CLONE);
    decide_on(&b, ACTION_CLONE, "other");
    decide_on(&b, ACTION_CLONE, "other");
    assert_string_equal(b.pg.trace, "psql ");
    decide_on(&b, ACTION_CLONE, "third");
    assert_string_equal(b.pg.trace, "psql child-kill ");
    finish(&b.pg, -1);
    decide_on(&b, ACTION_CLONE, "third");
    run_out(&b);

    assert_string_equal(b.pg.upstream, "third");
    bench_deinit(&b);
}

static void none_lets_what_runs_go_on(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_START_STANDBY);
    decide_on(&b, ACTION_START_STANDBY, "other");
    decide_on(&b, ACTION_NONE, "");
    assert_int_equal(see(&b).running, ACTION_START_STANDBY);
    assert_string_equal(see(&b).step, "start-standby: configure");
    run_out(&b);

    assert_int_equal(see(&b).last, ACTION_START_STANDBY);
    assert_string_equal(see(&b).last_rule, "a-rule");
    bench_deinit(&b);
}

static void a_stop_that_has_signalled_is_only_cut_by_a_fence(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_STOP);
    b.pg.stubborn = true;
    decide_on(&b, ACTION_STOP, "");
    finish(&b.pg, 0);
    decide_on(&b, ACTION_START_PRIMARY, "");
    assert_int_equal(see(&b).running, ACTION_STOP);
    decide_on(&b, ACTION_FENCE, "");
    assert_string_equal(b.pg.trace, "checkpoint fast immediate ");
    run_out(&b);

    assert_int_equal(b.pg.n_left, 0);
    bench_deinit(&b);
}

static void a_stop_in_its_checkpoint_can_be_taken_back(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_STOP);
    decide_on(&b, ACTION_STOP, "");
    decide_on(&b, ACTION_FOLLOW, "other");
    finish(&b.pg, 0);

    assert_true(ops_is_idle(b.ops));
    assert_true(b.pg.alive);
    bench_deinit(&b);
}

static void a_stop_gets_harder_when_it_hangs(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_STOP);
    b.pg.stubborn = true;
    decide_on(&b, ACTION_STOP, "");
    finish(&b.pg, -1); /* No checkpoint: a stop all the same. */
    pass(&b, SECONDS(59));
    assert_string_equal(b.pg.trace, "checkpoint fast ");
    pass(&b, SECONDS(1));
    assert_string_equal(b.pg.trace, "checkpoint fast immediate ");
    pass(&b, SECONDS(5));
    run_out(&b);

    assert_string_equal(b.pg.trace, "checkpoint fast immediate kill ");
    assert_false(see(&b).last_failed);
    bench_deinit(&b);
}

static void a_promotion_given_up_stops_the_server(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_PROMOTE);
    b.pg.replay_paused = false;
    decide_on(&b, ACTION_PROMOTE, "");
    decide_on(&b, ACTION_FOLLOW, "other");
    finish(&b.pg, -1);

    assert_string_equal(b.pg.trace, "promote fast ");
    bench_deinit(&b);
}

static void an_agent_that_leaves_does_not_stop_a_promotion(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_PROMOTE);
    b.pg.replay_paused = false;
    decide_on(&b, ACTION_PROMOTE, "");
    ops_cancel(b.ops, b.now_ms);
    finish(&b.pg, 0);

    assert_string_equal(b.pg.trace, "promote ");
    assert_true(ops_is_idle(b.ops));
    bench_deinit(&b);
}

static void failures_back_off_from_one_second_to_sixty(void **state)
{
    static const uint64_t delays_s[] = {1, 2, 4, 8, 16, 32, 60, 60};
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_START_STANDBY);
    for (size_t i = 0; i < ARRAY_LENGTH(delays_s); i++) {
        struct view_op v;

        decide_on(&b, ACTION_START_STANDBY, "other");
        assert_non_null(b.pg.cb);
        finish(&b.pg, -1);
        v = see(&b);
        assert_true(v.last_failed);
        assert_int_equal(v.n_failures, i + 1);
        assert_string_equal(v.problem, "start-standby: configure: model says no");
        assert_int_equal(v.retry_ms, b.now_ms + SECONDS(delays_s[i]));
        b.now_ms = v.retry_ms - 1;
        decide_on(&b, ACTION_START_STANDBY, "other");
        assert_null(b.pg.cb);
        assert_int_equal(ops_tick(b.ops, b.now_ms), v.retry_ms);
        b.now_ms = v.retry_ms;
    }
    decide_on(&b, ACTION_START_STANDBY, "other");
    run_out(&b);

    assert_int_equal(see(&b).n_failures, 0);
    assert_int_equal(see(&b).retry_ms, 0);
    bench_deinit(&b);
}

static void a_back_off_of_one_action_does_not_delay_another(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_CLONE);
    decide_on(&b, ACTION_CLONE, "other");
    finish(&b.pg, -1);
    decide_on(&b, ACTION_START_STANDBY, "other");

    assert_int_equal(see(&b).running, ACTION_START_STANDBY);
    run_out(&b);
    bench_deinit(&b);
}

static void a_source_that_refuses_costs_nothing(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_CLONE);
    b.pg.alive = true;
    b.pg.n_left = 5;
    decide_on(&b, ACTION_CLONE, "other");
    finish(&b.pg, -1);

    assert_string_equal(b.pg.trace, "psql ");
    assert_int_equal(b.pg.data, DATA_VALID);
    assert_true(b.pg.alive);
    bench_deinit(&b);
}

static void a_clone_touches_nothing_foreign(void **state)
{
    static const enum data_state states[] = {DATA_UNKNOWN, DATA_FOREIGN};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(states); i++) {
        struct bench b;

        bench_init(&b);
        b.pg.data = states[i];
        decide_on(&b, ACTION_CLONE, "other");
        assert_true(see(&b).last_failed);
        assert_string_equal(b.pg.trace, "");
        bench_deinit(&b);
    }
}

static void a_bootstrap_touches_no_database(void **state)
{
    static const enum data_state states[] = {DATA_VALID, DATA_FOREIGN};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(states); i++) {
        struct bench b;

        bench_init(&b);
        b.pg.data = states[i];
        decide_on(&b, ACTION_BOOTSTRAP, "");
        assert_true(see(&b).last_failed);
        assert_string_equal(b.pg.trace, "");
        bench_deinit(&b);
    }
}

static void a_bootstrap_whose_script_fails_leaves_no_server(void **state)
{
    struct bench b;

    (void)state;
    bench_init_with(&b, "/usr/local/bin/fill");
    set_scene(&b, ACTION_BOOTSTRAP);
    decide_on(&b, ACTION_BOOTSTRAP, "");
    for (int i = 0; i < 8; i++) {
        finish(&b.pg, 0);
    }
    assert_string_equal(see(&b).step, "bootstrap: post bootstrap");
    assert_true(b.pg.alive);
    finish(&b.pg, -1);

    assert_false(b.pg.alive);
    assert_int_equal(b.pg.data, DATA_INCOMPLETE);
    bench_deinit(&b);
}

/* A stale view decides the same thing again right after it was done. */
static void what_ended_well_is_not_repeated_at_once(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_FENCE);
    decide_on(&b, ACTION_FENCE, "");
    run_out(&b);
    decide_on(&b, ACTION_FENCE, "");
    assert_string_equal(b.pg.trace, "immediate ");
    b.now_ms += 100;
    decide_on(&b, ACTION_FENCE, "");

    assert_string_equal(b.pg.trace, "immediate immediate ");
    run_out(&b);
    bench_deinit(&b);
}

static void every_end_is_told(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_START_STANDBY);
    decide_on(&b, ACTION_START_STANDBY, "other");
    run_out(&b);

    assert_int_equal(b.n_changes, 1);
    bench_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_becomes_of_a_running_sequence_is_as_written),
        cmocka_unit_test(every_sequence_does_its_operations_in_order),
        cmocka_unit_test(every_sequence_can_be_resumed_after_a_cancel_at_each_operation),
        cmocka_unit_test(a_fence_signals_within_the_call_that_decides_it),
        cmocka_unit_test(a_fence_kills_after_200_ms_and_counts_until_none),
        cmocka_unit_test(a_fence_waits_for_the_start_it_cut_off),
        cmocka_unit_test(another_action_waits_for_the_callback_of_the_cancelled_one),
        cmocka_unit_test(a_clone_of_another_member_is_another_action),
        cmocka_unit_test(none_lets_what_runs_go_on),
        cmocka_unit_test(a_stop_that_has_signalled_is_only_cut_by_a_fence),
        cmocka_unit_test(a_stop_in_its_checkpoint_can_be_taken_back),
        cmocka_unit_test(a_stop_gets_harder_when_it_hangs),
        cmocka_unit_test(a_promotion_given_up_stops_the_server),
        cmocka_unit_test(an_agent_that_leaves_does_not_stop_a_promotion),
        cmocka_unit_test(failures_back_off_from_one_second_to_sixty),
        cmocka_unit_test(a_back_off_of_one_action_does_not_delay_another),
        cmocka_unit_test(a_source_that_refuses_costs_nothing),
        cmocka_unit_test(a_clone_touches_nothing_foreign),
        cmocka_unit_test(a_bootstrap_touches_no_database),
        cmocka_unit_test(a_bootstrap_whose_script_fails_leaves_no_server),
        cmocka_unit_test(what_ended_well_is_not_repeated_at_once),
        cmocka_unit_test(every_end_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
