/*
 * Reconciliation of what runs with what is decided, over a model of the pg module.
 * What the sequences do to PostgreSQL is in test_ops_postgres.c.
 */
#include "test_ops_model.h"

/* Golden: keep, cancel, cancel early (E), cut in (X). Rows run, columns are decided. */
static void what_becomes_of_a_running_sequence_is_as_written(void **state)
{
    static const struct {
        enum node_action running;
        const char *cells; /* none boot clone rwnd sprim sstby prep prom foll chkp stop fence clean */
    } golden[] = {
        {ACTION_NONE, "KCCCCCCCCCCXX"},
        {ACTION_BOOTSTRAP, "KKCCCCCCCKCXX"},
        {ACTION_CLONE, "KCKCCKCCKKCXX"},
        {ACTION_REWIND, "KCCKCKCCKKCXX"},
        {ACTION_START_PRIMARY, "KCCCKCKKCKCXX"},
        {ACTION_START_STANDBY, "KCCCCKCCCKCXX"},
        {ACTION_PREPARE, "CCCCCCKCCCCXX"},
        {ACTION_PROMOTE, "KCCCCCKKCKCXX"},
        {ACTION_FOLLOW, "KCCCCCCCKCCXX"},
        {ACTION_CHECKPOINT, "KCCCCCCCCKCXX"},
        {ACTION_STOP, "KEEEEEEEEEKXX"},
        {ACTION_FENCE, "KKKKKKKKKKKKK"},
        {ACTION_CLEAN_UP, "KKKKKKKKKKKXK"},
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
        {ACTION_BOOTSTRAP, "mark remove initdb settle /bin/sh conf-primary unmark server "},
        {ACTION_REWIND,
         "psql /bin/sh /bin/sh keep /bin/sh mark-rewind /bin/sh conf-standby unmark trim server "},
        {ACTION_CLONE, "/bin/sh keep mark remove pg_basebackup settle conf-standby unmark server "},
        {ACTION_START_PRIMARY, "conf-primary server "},
        {ACTION_START_STANDBY, "conf-standby server "},
        {ACTION_PREPARE, "script "},
        {ACTION_PROMOTE, "sql promote "},
        {ACTION_FOLLOW, "conf-standby reload "},
        {ACTION_CHECKPOINT, "checkpoint "},
        {ACTION_STOP, "checkpoint script fast "},
        {ACTION_FENCE, "immediate "},
        {ACTION_CLEAN_UP, "kill "},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(golden); i++) {
        struct bench b;
        struct view_op v;

        bench_init(&b);
        b.pg.options.pre_promote = "ask";
        b.pg.options.before_stop = "drain";
        set_scene(&b, golden[i].action);
        decide_on(&b, golden[i].action, "other");
        run_out(&b);

        assert_string_equal(b.pg.trace, golden[i].trace);
        assert_int_equal(b.pg.n_given_up, strstr(golden[i].trace, "mark") != NULL);
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

static void a_source_that_does_not_answer_is_no_failure_of_the_rewind(void **state)
{
    /* Giving up is for what trying again does not mend. */
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_REWIND);
    for (int i = 0; i < 3; i++) {
        decide_on(&b, ACTION_REWIND, "other");
        finish(&b.pg, -1); /* psql */
        assert_true(see(&b).last_failed);
        pass(&b, MINUTES(2));
    }
    assert_int_equal(see(&b).n_failures, 3);
    assert_int_equal(see(&b).n_rewind_failures, 0);

    decide_on(&b, ACTION_REWIND, "other");
    finish(&b.pg, 0);  /* psql */
    finish(&b.pg, 0);  /* recover */
    finish(&b.pg, 0);  /* archive */
    finish(&b.pg, 0);  /* keep */
    finish(&b.pg, -1); /* dry run */
    assert_int_equal(see(&b).n_rewind_failures, 1);
    pass(&b, MINUTES(2));
    decide_on(&b, ACTION_REWIND, "other");
    finish(&b.pg, 0);  /* psql */
    finish(&b.pg, 0);  /* recover */
    finish(&b.pg, 0);  /* archive */
    finish(&b.pg, -1); /* keep: a full disk */
    assert_int_equal(see(&b).n_rewind_failures, 1);
    bench_deinit(&b);
}

static void another_action_waits_for_the_callback_of_the_cancelled_one(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_CLONE);
    decide_on(&b, ACTION_CLONE, "other");
    finish(&b.pg, 0); /* ask */
    finish(&b.pg, 0); /* keep */
    finish(&b.pg, 0); /* mark */
    finish(&b.pg, 0); /* remove */
    decide_on(&b, ACTION_STOP, "");
    decide_on(&b, ACTION_STOP, "");
    assert_string_equal(b.pg.trace, "/bin/sh keep mark remove pg_basebackup child-kill ");
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
    assert_string_equal(b.pg.trace, "/bin/sh ");
    decide_on(&b, ACTION_CLONE, "third");
    assert_string_equal(b.pg.trace, "/bin/sh child-kill ");
    finish(&b.pg, -1);
    decide_on(&b, ACTION_CLONE, "third");
    run_out(&b);

    assert_string_equal(b.pg.upstream, "third");
    bench_deinit(&b);
}

static void clone_for(struct bench *b, uint64_t order, bool from_primary)
{
    struct node_decision d = {.action = ACTION_CLONE,
                              .rule = "a-rule",
                              .why = "because",
                              .order = order,
                              .from_primary = from_primary};

    (void)str_copy(d.upstream.name, sizeof(d.upstream.name), "other");
    ops_reconcile(b->ops, &d, b->now_ms);
}

/* Wherever the first one is; once for each order, and the copy that follows is whole. */
static void a_clone_for_another_order_is_another_action(void **state)
{
    static const char *const moments[] = {"/bin/sh ", "mark ", "remove ", "pg_basebackup ",
                                          "settle ", "conf-standby ", "unmark ", "server "};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(moments); i++) {
        struct bench b;

        bench_init(&b);
        set_scene(&b, ACTION_CLONE);
        clone_for(&b, 0, false);
        for (int k = 0; !str_ends_with(b.pg.trace, moments[i]); k++) {
            assert_true(k < 200);
            if (b.pg.cb != NULL) {
                finish(&b.pg, 0);
            } else {
                pass(&b, 100);
            }
        }
        forget_trace(&b);
        clone_for(&b, 0, false);
        assert_string_equal(b.pg.trace, ""); /* It goes on. */
        clone_for(&b, 77, false);
        if (b.pg.cb != NULL) {
            finish(&b.pg, -1);
        }
        assert_int_equal(see(&b).running, ACTION_NONE);
        assert_int_equal(see(&b).n_failures, 0); /* Nothing to back off from. */
        forget_trace(&b);
        clone_for(&b, 77, false);
        assert_string_equal(b.pg.trace, "/bin/sh ");
        assert_int_equal(see(&b).order, 77);
        clone_for(&b, 77, false);
        clone_for(&b, 0, false); /* The order has ended: the copy goes on. */
        assert_string_equal(b.pg.trace, "/bin/sh ");
        run_out(&b);
        assert_int_equal(b.pg.data, DATA_VALID);
        assert_int_equal(see(&b).last_order, 77);
        assert_int_equal(see(&b).order, 0);
        bench_deinit(&b);
    }
}

static void a_clone_by_order_does_not_wait_for_what_failed_before(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_CLONE);
    clone_for(&b, 0, false);
    finish(&b.pg, -1);
    assert_true(see(&b).last_failed && see(&b).retry_ms > b.now_ms);
    clone_for(&b, 0, false);
    assert_int_equal(see(&b).running, ACTION_NONE);
    clone_for(&b, 77, false);
    assert_int_equal(see(&b).running, ACTION_CLONE);
    finish(&b.pg, -1);
    clone_for(&b, 77, false); /* Once. */
    assert_int_equal(see(&b).running, ACTION_NONE);
    bench_deinit(&b);
}

/* A reinit by force, of what gives way to it, cut off while its n-th operation is in flight. */
static void a_clone_by_order_follows_whatever_was_cut_off(void **state)
{
    static const enum node_action actions[] = {ACTION_CLONE, ACTION_REWIND, ACTION_START_STANDBY,
                                               ACTION_FOLLOW};

    (void)state;
    for (size_t a = 0; a < ARRAY_LENGTH(actions); a++) {
        for (int n = 0; n < 20; n++) {
            struct bench b;

            bench_init(&b);
            set_scene(&b, actions[a]);
            decide_on(&b, actions[a], "other");
            for (int i = 0; i < n && !ops_is_idle(b.ops); i++) {
                if (b.pg.cb != NULL) {
                    finish(&b.pg, 0);
                } else {
                    pass(&b, 100);
                }
            }
            for (int i = 0; i < 200 && see(&b).order != 77; i++) {
                b.now_ms += 200; /* Beyond the time in which views settle. */
                clone_for(&b, 77, false);
                if (b.pg.cb != NULL && see(&b).order != 77) {
                    finish(&b.pg, b.pg.child_killed ? -1 : 0);
                    b.pg.child_killed = false;
                }
            }
            run_out(&b);
            assert_int_equal(see(&b).last, ACTION_CLONE);
            assert_int_equal(see(&b).last_order, 77);
            assert_false(see(&b).last_failed);
            assert_int_equal(b.pg.data, DATA_VALID);
            assert_true(b.pg.alive);
            bench_deinit(&b);
        }
    }
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

/* Of a primary whose standby has all, and of one that nobody could take over from. */
static void a_stop_hangs_for_as_long_as_is_configured(void **state)
{
    static const struct {
        bool sync_on;
        enum pg_role role;
        uint64_t seconds;
    } rows[] = {
        {true, PG_ROLE_PRIMARY, 3},
        {true, PG_ROLE_STANDBY, 20},
        {false, PG_ROLE_PRIMARY, 20},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct bench b;

        bench_init(&b);
        set_scene(&b, ACTION_STOP);
        b.pg.options.stop_ms = SECONDS(20);
        b.pg.options.primary_stop_ms = SECONDS(3);
        b.pg.options.sync_on = rows[i].sync_on;
        b.pg.role = rows[i].role;
        b.pg.stubborn = true;
        decide_on(&b, ACTION_STOP, "");
        finish(&b.pg, 0);
        pass(&b, SECONDS(rows[i].seconds - 1));
        assert_string_equal(b.pg.trace, "checkpoint fast ");
        pass(&b, SECONDS(1));
        assert_string_equal(b.pg.trace, "checkpoint fast immediate ");
        run_out(&b);
        bench_deinit(&b);
    }
}

static void who_follows_nobody_has_its_receiver_ended(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_FOLLOW);
    (void)str_copy(b.pg.upstream, sizeof(b.pg.upstream), "other");
    b.pg.receives = true;
    decide_on(&b, ACTION_FOLLOW, "");
    run_out(&b);

    assert_string_equal(b.pg.trace, "conf-standby reload end-receiver ");
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

static int is_armed(void *data, struct err *err)
{
    int armed = *(int *)data;

    return armed < 0 ? err_set(err, "no watchdog") : armed;
}

static void nothing_becomes_primary_before_the_guard_is_armed(void **state)
{
    static const enum node_action actions[] = {ACTION_PROMOTE, ACTION_START_PRIMARY};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(actions); i++) {
        int armed = 0;
        struct bench b;

        bench_init(&b);
        set_scene(&b, actions[i]);
        b.pg.replay_paused = false;
        b.pg.options.guard = (struct pg_guard){.arm = is_armed, .data = &armed};
        decide_on(&b, actions[i], "");
        if (actions[i] == ACTION_START_PRIMARY) {
            finish(&b.pg, 0); /* The configuration. */
        }
        b.now_ms += 60000;
        (void)ops_tick(b.ops, b.now_ms);
        assert_null(strstr(b.pg.trace, actions[i] == ACTION_PROMOTE ? "promote" : "server"));
        armed = 1;
        b.now_ms += 1000;
        (void)ops_tick(b.ops, b.now_ms);
        assert_non_null(strstr(b.pg.trace, actions[i] == ACTION_PROMOTE ? "promote" : "server"));
        finish(&b.pg, 0);
        bench_deinit(&b);
    }
}

static void who_can_not_be_armed_fails_and_says_why(void **state)
{
    int armed = -1;
    struct bench b;
    struct view_op v;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_PROMOTE);
    b.pg.replay_paused = false;
    b.pg.options.guard = (struct pg_guard){.arm = is_armed, .data = &armed};
    decide_on(&b, ACTION_PROMOTE, "");
    assert_null(strstr(b.pg.trace, "promote"));
    v = see(&b);
    assert_true(v.last_failed);
    assert_string_equal(v.problem, "promote: arm: no watchdog");
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

    assert_string_equal(b.pg.trace, "/bin/sh ");
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

/* ---- An operator's methods ---- */

/* first, second keep_data, basebackup */
static void set_methods(struct bench *b)
{
    kv_add(&b->methods, "first", NULL);
    kv_add(&b->methods, "second", NULL);
    kv_add(&b->methods, "basebackup", NULL);
    kv_add(&b->settings, "first.command", "restore --all");
    kv_add(&b->settings, "first.threads", "4");
    kv_add(&b->settings, "second.command", "delta");
    kv_add(&b->settings, "second.keep_data", "true");
    kv_add(&b->settings, "second.no_params", "true");
    kv_add(&b->settings, "second.from", "there");
    set_scene(b, ACTION_CLONE);
}

/* Until the command has ended, with that status; then it is cancelled or failed, or goes on. */
static void run_to_command(struct bench *b, const char *until, int status)
{
    for (int i = 0; !str_ends_with(b->pg.trace, until); i++) {
        assert_true(i < 200);
        if (b->pg.cb != NULL) {
            finish(&b->pg, 0);
        } else {
            pass(b, 100);
        }
    }
    finish(&b->pg, status);
}

static void a_method_that_fails_is_followed_by_the_next(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_methods(&b);
    decide_on(&b, ACTION_CLONE, "other");
    run_to_command(&b, "mark-method remove /bin/sh ", -1);
    assert_string_equal(b.pg.trace, "/bin/sh keep passwords mark-method remove /bin/sh ");
    assert_string_equal(last_shell,
                        "restore --all \"$@\"|first|--scope=test|--role=replica|"
                        "--datadir=/tmp/veche-test-ops|--connstring=host=10.0.0.1|--threads=4|");
    assert_non_null(strstr(see(&b).problem, "clone: copy: method first: restore --all: "));
    assert_int_equal(b.pg.data, DATA_INCOMPLETE);

    /* What is there is what this one begins with. */
    forget_trace(&b);
    b.now_ms += SECONDS(1);
    decide_on(&b, ACTION_CLONE, "other");
    run_to_command(&b, "mark-method /bin/sh ", -1);
    assert_string_equal(b.pg.trace, "/bin/sh passwords mark-method /bin/sh ");
    assert_string_equal(last_shell, "delta \"$@\"|second|--from=there|");

    forget_trace(&b);
    b.now_ms += SECONDS(2);
    decide_on(&b, ACTION_CLONE, "other");
    run_to_command(&b, "pg_basebackup ", -1);
    assert_string_equal(b.pg.trace, "/bin/sh mark remove pg_basebackup ");

    /* And again from the first; what went wrong before it is not its fault. */
    for (int i = 0; i < 2; i++) {
        forget_trace(&b);
        b.now_ms += SECONDS(60);
        decide_on(&b, ACTION_CLONE, "other");
        run_to_command(&b, i == 0 ? "passwords " : "mark-method remove /bin/sh ", -1);
    }
    bench_deinit(&b);
}

/* It may be a synchronous standby that comes back with a backup of yesterday (S2). */
static void a_copy_by_a_method_counts_when_it_has_what_the_source_had(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_methods(&b);
    b.pg.received = SOURCE_LSN - 1;
    decide_on(&b, ACTION_CLONE, "other");
    run_to_command(&b, "psql ", 0);
    pass(&b, MINUTES(4));
    assert_string_equal(see(&b).step, "clone: catch up");
    assert_string_equal(b.pg.trace, "/bin/sh keep passwords mark-method remove /bin/sh verify "
                                    "initdb conf-standby server psql ");
    assert_int_equal(b.pg.data, DATA_INCOMPLETE);
    assert_true(b.pg.start.unfinished);
    b.pg.received = SOURCE_LSN;
    run_out(&b);

    assert_true(str_ends_with(b.pg.trace, "psql unmark conf-standby reload "));
    assert_false(b.pg.start.unfinished);
    assert_int_equal(b.pg.data, DATA_VALID);
    assert_true(b.pg.alive);
    assert_false(see(&b).last_failed);
    bench_deinit(&b);
}

/* A restore of another time line, say: nothing streams to it. */
static void a_copy_that_does_not_get_there_is_made_by_the_next_method(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_methods(&b);
    decide_on(&b, ACTION_CLONE, "other");
    run_to_command(&b, "psql ", 0);
    pass(&b, MINUTES(3));
    b.pg.received++; /* It moves: that counts. */
    pass(&b, MINUTES(4));
    assert_string_equal(see(&b).step, "clone: catch up");
    pass(&b, MINUTES(5));
    assert_true(see(&b).last_failed);
    assert_non_null(strstr(see(&b).problem, "the copy is at 0/1 of timeline 1, not at 0/3000100"));
    assert_true(str_ends_with(b.pg.trace, "psql sigkill "));
    assert_int_equal(b.pg.data, DATA_INCOMPLETE);
    forget_trace(&b);
    b.now_ms += SECONDS(1);
    decide_on(&b, ACTION_CLONE, "other");
    run_to_command(&b, "mark-method /bin/sh ", 0); /* The second. */
    b.pg.received = SOURCE_LSN;
    run_out(&b);

    assert_int_equal(b.pg.data, DATA_VALID);
    bench_deinit(&b);
}

static void an_order_for_a_copy_of_the_primary_leaves_methods_out(void **state)
{
    struct node_decision d = {
        .action = ACTION_CLONE, .rule = "reinit", .why = "", .from_primary = true};
    struct bench b;

    (void)state;
    bench_init(&b);
    set_methods(&b);
    (void)str_copy(d.upstream.name, sizeof(d.upstream.name), "other");
    ops_reconcile(b.ops, &d, b.now_ms);
    run_to_command(&b, "pg_basebackup ", -1);
    forget_trace(&b);
    b.now_ms += SECONDS(1);
    decide_on(&b, ACTION_CLONE, "other"); /* By the rule that brings it to its end. */
    run_out(&b);
    assert_string_equal(b.pg.trace,
                        "/bin/sh mark remove pg_basebackup settle conf-standby unmark server ");

    set_scene(&b, ACTION_CLONE); /* The next one is made as any other. */
    forget_trace(&b);
    b.now_ms += SECONDS(1);
    decide_on(&b, ACTION_CLONE, "other");
    run_to_command(&b, "passwords ", -1);
    bench_deinit(&b);
}

/* What was ordered before counts until there is a copy, but not for another order. */
static void another_order_for_a_copy_lets_methods_in_again(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_methods(&b);
    clone_for(&b, 5, true);
    run_to_command(&b, "pg_basebackup ", -1);
    b.now_ms += SECONDS(1);
    clone_for(&b, 5, true);
    run_to_command(&b, "pg_basebackup ", -1);
    b.now_ms += SECONDS(2);
    clone_for(&b, 0, false);
    run_to_command(&b, "pg_basebackup ", -1);
    b.now_ms += SECONDS(4);
    clone_for(&b, 6, false);
    run_to_command(&b, "passwords ", -1);
    bench_deinit(&b);
}

static void a_method_without_a_section_here_is_left_out(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_methods(&b);
    kv_remove(&b.settings, "first.command");
    kv_remove(&b.settings, "second.command");
    decide_on(&b, ACTION_CLONE, "other");
    run_to_command(&b, "pg_basebackup ", -1);
    kv_remove(&b.methods, "basebackup");
    forget_trace(&b);
    b.now_ms += SECONDS(1);
    decide_on(&b, ACTION_CLONE, "other");
    assert_string_equal(b.pg.trace, "");
    assert_non_null(strstr(see(&b).problem, "no method of postgresql.create_replica_methods"));
    bench_deinit(&b);
}

/* Nobody gets in before the roles are made, and the mark stays until all is done. */
static void a_bootstrap_by_a_method_recovers_before_the_roles_are_made(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    kv_add(&b.settings, "mine.command", "fetch");
    kv_add(&b.settings, "mine.latest", "yes");
    kv_add(&b.settings, "mine.recovery_conf.restore_command", "cp %f %p");
    kv_add(&b.settings, "mine.keep_existing_recovery_conf", "true");
    kv_add(&b.settings, "other.command", "x");
    bench_make_ops(&b, NULL, "mine");
    set_scene(&b, ACTION_BOOTSTRAP);
    decide_on(&b, ACTION_BOOTSTRAP, "");
    run_to_command(&b, "mark-method remove /bin/sh ", 0);
    assert_string_equal(last_shell, "fetch \"$@\"|mine|--scope=test|"
                                    "--datadir=/tmp/veche-test-ops|--latest=yes|");
    run_to_command(&b, "conf-primary ", 0);
    assert_true(b.pg.start.recovers && b.pg.start.keeps_recovery && b.pg.start.unfinished);
    run_out(&b);

    assert_string_equal(b.pg.trace, "mark-method remove /bin/sh verify initdb conf-primary server "
                                    "fast /bin/sh conf-primary server unmark conf-primary reload ");
    assert_false(b.pg.start.recovers || b.pg.start.keeps_recovery || b.pg.start.unfinished);
    assert_int_equal(b.pg.data, DATA_VALID);
    assert_true(b.pg.alive);
    bench_deinit(&b);
}

static void a_bootstrap_by_a_method_can_be_cut_at_each_operation(void **state)
{
    bool through = false;

    (void)state;
    for (int n = 0; !through; n++) {
        struct bench b;

        bench_init(&b);
        kv_add(&b.settings, "mine.command", "fetch");
        bench_make_ops(&b, "true", "mine");
        set_scene(&b, ACTION_BOOTSTRAP);
        decide_on(&b, ACTION_BOOTSTRAP, "");
        for (int i = 0; i < n && !ops_is_idle(b.ops); i++) {
            if (b.pg.cb != NULL) {
                finish(&b.pg, 0);
            } else {
                pass(&b, 100);
            }
        }
        through = ops_is_idle(b.ops);
        if (!through) {
            ops_cancel(b.ops, b.now_ms);
            run_out(&b);
            assert_false(b.pg.alive); /* Nobody is left with half of it. */
        }
        if (b.pg.data != DATA_VALID) {
            decide_on(&b, ACTION_BOOTSTRAP, "");
            run_out(&b);
            assert_true(b.pg.alive);
        }
        assert_int_equal(b.pg.data, DATA_VALID);
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
    for (int i = 0; i < 7; i++) {
        finish(&b.pg, 0);
    }
    assert_string_equal(see(&b).step, "bootstrap: post bootstrap");
    assert_true(b.pg.alive);
    finish(&b.pg, -1);

    assert_false(b.pg.alive);
    assert_int_equal(b.pg.data, DATA_INCOMPLETE);
    bench_deinit(&b);
}

/* However long it takes; five minutes in which pg_basebackup moves nothing are the
 * end, whatever file system it writes to. */
static void a_copy_ends_when_it_stands_still_and_not_before(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_CLONE);
    decide_on(&b, ACTION_CLONE, "other");
    for (int i = 0; i < 10 && !str_equal(see(&b).step, "clone: copy"); i++) {
        finish(&b.pg, 0);
    }
    assert_string_equal(see(&b).step, "clone: copy");
    for (int i = 0; i < 5; i++) {
        b.pg.child_progress += 100;
        pass(&b, MINUTES(2));
        pass(&b, MINUTES(2));
    }
    assert_false(b.pg.child_killed);
    pass(&b, MINUTES(3));
    assert_true(b.pg.child_killed);
    run_out(&b);
    assert_true(see(&b).last_failed);
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

/* The agent must learn when to tick next, also when a sequence moves by itself. */
static void every_move_is_told(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    set_scene(&b, ACTION_START_STANDBY);
    decide_on(&b, ACTION_START_STANDBY, "other");
    assert_int_equal(b.n_changes, 0);
    finish(&b.pg, 0);
    assert_int_equal(b.n_changes, 1);
    finish(&b.pg, 0);
    assert_true(b.n_changes >= 2);
    assert_true(ops_is_idle(b.ops));
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
        cmocka_unit_test(a_source_that_does_not_answer_is_no_failure_of_the_rewind),
        cmocka_unit_test(another_action_waits_for_the_callback_of_the_cancelled_one),
        cmocka_unit_test(a_clone_of_another_member_is_another_action),
        cmocka_unit_test(a_clone_for_another_order_is_another_action),
        cmocka_unit_test(a_clone_by_order_does_not_wait_for_what_failed_before),
        cmocka_unit_test(a_clone_by_order_follows_whatever_was_cut_off),
        cmocka_unit_test(none_lets_what_runs_go_on),
        cmocka_unit_test(a_stop_that_has_signalled_is_only_cut_by_a_fence),
        cmocka_unit_test(a_stop_in_its_checkpoint_can_be_taken_back),
        cmocka_unit_test(a_stop_gets_harder_when_it_hangs),
        cmocka_unit_test(a_stop_hangs_for_as_long_as_is_configured),
        cmocka_unit_test(a_method_that_fails_is_followed_by_the_next),
        cmocka_unit_test(a_copy_by_a_method_counts_when_it_has_what_the_source_had),
        cmocka_unit_test(a_copy_that_does_not_get_there_is_made_by_the_next_method),
        cmocka_unit_test(an_order_for_a_copy_of_the_primary_leaves_methods_out),
        cmocka_unit_test(another_order_for_a_copy_lets_methods_in_again),
        cmocka_unit_test(a_method_without_a_section_here_is_left_out),
        cmocka_unit_test(a_bootstrap_by_a_method_recovers_before_the_roles_are_made),
        cmocka_unit_test(a_bootstrap_by_a_method_can_be_cut_at_each_operation),
        cmocka_unit_test(who_follows_nobody_has_its_receiver_ended),
        cmocka_unit_test(a_promotion_given_up_stops_the_server),
        cmocka_unit_test(an_agent_that_leaves_does_not_stop_a_promotion),
        cmocka_unit_test(nothing_becomes_primary_before_the_guard_is_armed),
        cmocka_unit_test(who_can_not_be_armed_fails_and_says_why),
        cmocka_unit_test(failures_back_off_from_one_second_to_sixty),
        cmocka_unit_test(a_back_off_of_one_action_does_not_delay_another),
        cmocka_unit_test(a_source_that_refuses_costs_nothing),
        cmocka_unit_test(a_clone_touches_nothing_foreign),
        cmocka_unit_test(a_bootstrap_touches_no_database),
        cmocka_unit_test(a_bootstrap_whose_script_fails_leaves_no_server),
        cmocka_unit_test(a_copy_ends_when_it_stands_still_and_not_before),
        cmocka_unit_test(what_ended_well_is_not_repeated_at_once),
        cmocka_unit_test(every_move_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
