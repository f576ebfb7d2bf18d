/*
 * Sequences on real PostgreSQL: what each of them does and leaves behind.
 */
#include "test_ops_world.h"

#include <glob.h>

#include "pg/pg_processes.h"

static void a_bootstrap_makes_a_database_and_hides_its_secrets(void **state)
{
    struct node *a = &w->a;
    char path[PATH_MAX + 64], script[PATH_MAX + 64];

    (void)state;
    kv_add(&a->users, "o'wner", "pa$$word\tcreatedb,createrole");
    kv_add(&a->users, "nologin", "\tNOLOGIN");
    (void)snprintf(script, sizeof(script), "%s/psql -Xq -c 'CREATE TABLE made_by_script ()' -d",
                   pg_bin_dir());
    make_ops(a, script);
    act(a, ACTION_BOOTSTRAP, NULL);
    wait_role(a, PG_ROLE_PRIMARY);
    wait_data(a, DATA_VALID);

    assert_string_equal(ask(a, "SELECT count(*) FROM made_by_script"), "0");
    assert_string_equal(query(a, "o'\\''wner", "pa$$word", "SELECT session_user"), "o'wner");
    assert_string_equal(ask(a, "SELECT rolcreatedb, rolcreaterole, rolsuper FROM pg_roles WHERE "
                               "rolname LIKE 'o_wner'"),
                        "t|t|f");
    assert_string_equal(ask(a, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'nologin'"), "f");
    assert_string_equal(ask(a, "SELECT count(*) FROM pg_authid WHERE rolpassword LIKE 'SCRAM-%'"),
                        "4");
    assert_string_equal(query(a, "repl", REPL_PASSWORD,
                              "SELECT rolreplication FROM pg_roles "
                              "WHERE rolname = current_user"),
                        "t");
    assert_true(str_starts_with(
        query(a, "rewinder", "rw", "SELECT count(*) > 5 FROM pg_ls_dir('.', true, false)"), "t"));
    assert_non_null(strstr(query(a, "repl", "wrong", "SELECT 1"), "authentication failed"));
    assert_string_equal(ask(a, "SHOW data_checksums"), "on");
    assert_false(exists(a, ".veche-secret"));
    assert_false(exists(a, ".veche-incomplete"));
    (void)snprintf(path, sizeof(path), "%s.veche-startup.log", a->data);
    assert_true(file_has(path, "made_by_script")); /* log_statement works at all. */
    assert_false(file_has(path, "s3cret"));
    assert_false(file_has(path, "r3pl"));
    assert_false(file_has(path, "pa$$word"));
}

/* As the older files of Patroni have it: added to the file of initdb, and nothing beside it. */
static void a_bootstrap_lets_in_whom_bootstrap_pg_hba_names(void **state)
{
    struct node *a = &w->a;
    char path[PATH_MAX + 64];

    (void)state;
    kv_add(&a->initdb, "auth-local", "peer"); /* Says nothing of hosts: they are not trusted. */
    kv_add(&a->bootstrap_hba, "host all app 127.0.0.0/8 scram-sha-256", NULL);
    kv_add(&a->bootstrap_hba, "host all all 198.51.100.0/24 reject", NULL);
    act(a, ACTION_BOOTSTRAP, NULL);
    wait_role(a, PG_ROLE_PRIMARY);

    (void)snprintf(path, sizeof(path), "%s/pg_hba.conf", a->data);
    assert_true(file_has(path, "host all app 127.0.0.0/8 scram-sha-256\n"));
    assert_true(file_has(path, "host all all 198.51.100.0/24 reject\n"));
    assert_true(file_has(path, "127.0.0.1/32            scram-sha-256"));
    assert_true(file_has(path, "  peer\n"));
    assert_false(file_has(path, "  trust\n"));
    assert_false(file_has(path, "repl\""));
    assert_string_equal(ask(a, "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NULL AND "
                               "auth_method = 'reject'"),
                        "1");
}

static void a_wrong_option_is_found_before_anything_is_made(void **state)
{
    struct node *a = &w->a;

    (void)state;
    kv_add(&a->users, "x", "y\tcreatedb,superpowers");
    decide_on(a, ACTION_BOOTSTRAP, NULL);

    assert_true(ops_is_idle(a->ops));
    assert_non_null(strstr(see(a).problem, "superpowers"));
    assert_false(exists(a, ""));
}

static void a_bootstrap_whose_script_fails_leaves_no_server(void **state)
{
    struct node *a = &w->a;

    (void)state;
    make_ops(a, "exit 7 #");
    decide_on(a, ACTION_BOOTSTRAP, NULL);
    wait_idle(a);
    assert_non_null(strstr(see(a).problem, "code 7"));
    wait_data(a, DATA_INCOMPLETE);
    decide_on(a, ACTION_CLEAN_UP, NULL);
    wait_idle(a);
    assert_true(pg_is_down(a->pg));
    make_ops(a, NULL);
    act(a, ACTION_BOOTSTRAP, NULL);

    assert_string_equal(ask(a, "SELECT 1"), "1");
}

static void stop_is_clean_and_start_brings_it_back(void **state)
{
    struct node *a = &w->a;

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    assert_string_equal(ask(a, "CREATE TABLE t AS SELECT 1 AS i"), "");
    act(a, ACTION_STOP, NULL);
    assert_true(pg_is_down(a->pg));
    TURN_UNTIL(a->status.clean_shutdown);
    act(a, ACTION_STOP, NULL); /* Of what is down: nothing to do. */
    act(a, ACTION_START_PRIMARY, NULL);
    wait_role(a, PG_ROLE_PRIMARY);

    assert_string_equal(ask(a, "SELECT i FROM t"), "1");
}

static void a_start_that_fails_says_what_postgres_said(void **state)
{
    struct node *a = &w->a;
    uint64_t before_ms, retry_ms;

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    act(a, ACTION_STOP, NULL);
    kv_set(&a->parameters, "shared_preload_libraries", "no_such_library");
    pg_set_options(a->pg, &a->options);
    before_ms = clock_ms();
    decide_on(a, ACTION_START_PRIMARY, NULL);
    wait_idle(a);
    assert_true(see(a).last_failed);
    assert_non_null(strstr(see(a).problem, "could not access file \"no_such_library\""));
    retry_ms = see(a).retry_ms;
    assert_true(retry_ms >= before_ms + SECONDS(1));
    kv_remove(&a->parameters, "shared_preload_libraries");
    pg_set_options(a->pg, &a->options);
    while (see(a).last_failed) {
        decide_on(a, ACTION_START_PRIMARY, NULL);
        turn();
    }

    assert_true(clock_ms() >= retry_ms);
    wait_role(a, PG_ROLE_PRIMARY);
}

static void start_cluster(void)
{
    act(&w->a, ACTION_BOOTSTRAP, NULL);
    wait_role(&w->a, PG_ROLE_PRIMARY);
    assert_string_equal(ask(&w->a, "CREATE TABLE t (i int)"), "");
    act(&w->b, ACTION_CLONE, &w->a);
    wait_role(&w->b, PG_ROLE_STANDBY);
}

static void a_clone_streams_and_can_be_promoted(void **state)
{
    struct node *a = &w->a, *b = &w->b;

    (void)state;
    start_cluster();
    assert_string_equal(ask(a, "INSERT INTO t VALUES (42)"), "");
    wait_answer(b, "SELECT i FROM t", "42");
    act(a, ACTION_STOP, NULL);
    act(b, ACTION_PROMOTE, NULL);
    assert_int_equal(b->status.pg_role, PG_ROLE_PRIMARY);
    act(b, ACTION_CHECKPOINT, NULL);
    assert_false(b->view.promoted_checkpoint_due);
    assert_string_equal(ask(b, "INSERT INTO t VALUES (43)"), "");

    /* The former primary comes back as a copy. */
    act(a, ACTION_CLONE, b);
    wait_role(a, PG_ROLE_STANDBY);
    wait_answer(a, "SELECT count(*) FROM t", "2");
}

/* A reader on the standby keeps a snapshot that the replay of a VACUUM waits for,
 * for ever; and replay is paused before that. */
static void a_paused_and_blocked_replay_does_not_stop_a_promotion(void **state)
{
    struct node *a = &w->a, *b = &w->b;
    pid_t reader;

    (void)state;
    start_cluster();
    assert_string_equal(ask(a, "INSERT INTO t SELECT generate_series(1, 100)"), "");
    wait_answer(b, "SELECT count(*) FROM t", "100");
    reader = start_client(b, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t; "
                             "SELECT pg_sleep(100)");
    wait_answer(b, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", "1");
    assert_string_equal(ask(b, "SELECT pg_wal_replay_pause()"), "");
    TURN_UNTIL(b->status.replay_paused);
    assert_string_equal(ask(a, "DELETE FROM t"), "");
    assert_string_equal(ask(a, "VACUUM t"), "");
    assert_string_equal(ask(a, "INSERT INTO t VALUES (1)"), "");
    act(a, ACTION_STOP, NULL);
    act(b, ACTION_PROMOTE, NULL);

    assert_string_equal(ask(b, "SELECT i FROM t"), "1");
    end_client(reader);
}

static lsn_t received_of(struct node *n)
{
    look_anew(n);
    return n->status.received;
}

/* Whatever the sender has flushed has arrived, replayed or not. */
static void wait_received(const struct node *sender, const struct node *receiver)
{
    char sql[256];

    (void)snprintf(sql, sizeof(sql), "SELECT pg_last_wal_receive_lsn() >= '%s'",
                   ask(sender, "SELECT pg_current_wal_flush_lsn()"));
    wait_answer(receiver, sql, "t");
}

/* Replay is paused, so the startup process does not get to ending the receiver. */
static void who_is_to_be_promoted_receives_nothing_more(void **state)
{
    struct node *a = &w->a, *b = &w->b;
    lsn_t at;

    (void)state;
    start_cluster();
    wait_answer(b, "SELECT status FROM pg_stat_wal_receiver", "streaming");
    assert_string_equal(ask(b, "SELECT pg_wal_replay_pause()"), "");
    wait_answer(b, "SELECT pg_is_wal_replay_paused()", "t");
    assert_string_equal(ask(a, "INSERT INTO t VALUES (1)"), "");
    wait_received(a, b);
    TURN_UNTIL(b->view.receives);
    act(b, ACTION_FOLLOW, NULL);
    assert_false(b->view.receives);
    wait_answer(b, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walreceiver'", "0");
    at = received_of(b);
    assert_string_equal(ask(a, "INSERT INTO t VALUES (2)"), "");
    assert_string_equal(ask(b, "SELECT pg_wal_replay_resume()"), "");
    wait_answer(b, "SELECT count(*) FROM t", "1");
    wait_answer(a, "SELECT count(*) FROM pg_stat_replication", "0");
    assert_true(received_of(b) == at);
    act(b, ACTION_PROMOTE, NULL);

    assert_string_equal(ask(b, "SELECT i FROM t"), "1");
}

static void a_standby_of_nobody_can_be_told_whom_to_follow(void **state)
{
    struct node *a = &w->a, *b = &w->b;

    (void)state;
    start_cluster();
    act(b, ACTION_STOP, NULL);
    act(b, ACTION_START_STANDBY, NULL);
    wait_role(b, PG_ROLE_STANDBY);
    assert_string_equal(ask(a, "INSERT INTO t VALUES (7)"), "");
    act(b, ACTION_FOLLOW, a);
    assert_string_equal(b->view.upstream, "a-1");

    wait_answer(b, "SELECT i FROM t", "7");
}

static bool copies(const struct node *n)
{
    char path[PATH_MAX + 64];

    (void)snprintf(path, sizeof(path), "%s/base", pg_making_dir(n->pg));
    return access(path, F_OK) == 0;
}

static bool matches(const char *pattern)
{
    glob_t found = {0};
    bool any = glob(pattern, 0, NULL, &found) == 0;

    globfree(&found);
    return any;
}

static void a_clone_that_is_cut_off_is_no_database(void **state)
{
    struct node *a = &w->a, *b = &w->b;

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    kv_add(&b->basebackup, "max-rate", "1M");
    decide_on(b, ACTION_CLONE, a);
    TURN_UNTIL(str_equal(see(b).step, "clone: copy") && copies(b));
    decide_on(b, ACTION_STOP, NULL);
    wait_idle(b);
    wait_data(b, DATA_INCOMPLETE);
    decide_on(b, ACTION_START_STANDBY, a);
    wait_idle(b);
    assert_true(see(b).last_failed);
    assert_true(pg_is_down(b->pg));
    kv_remove(&b->basebackup, "max-rate");
    act(b, ACTION_CLONE, a);

    wait_role(b, PG_ROLE_STANDBY);
}

/* pg_basebackup is at work in a tablespace: there are no links to it yet. */
static void cut_off_in_tablespace(struct node *a, struct node *b, const char *space)
{
    char pattern[PATH_MAX + 16];

    (void)snprintf(pattern, sizeof(pattern), "%s/PG_*/*", space);
    kv_add(&b->basebackup, "max-rate", "32");
    decide_on(b, ACTION_CLONE, a);
    TURN_UNTIL(str_equal(see(b).step, "clone: copy") && matches(pattern));
    decide_on(b, ACTION_STOP, NULL);
    wait_idle(b);
    wait_data(b, DATA_INCOMPLETE);
    kv_remove(&b->basebackup, "max-rate");
    assert_true(matches(pattern));
    assert_false(copies(b)); /* Nothing tells of it but the mark. */
}

/* A table of some MB in a tablespace of a, which b is to have elsewhere. */
static void make_tablespace(struct node *a, struct node *b, const char *to)
{
    char from[PATH_MAX + 8], sql[2 * PATH_MAX], mapping[2 * PATH_MAX + 32];

    act(a, ACTION_BOOTSTRAP, NULL);
    (void)snprintf(from, sizeof(from), "%s/space", a->dir);
    assert_int_equal(mkdir(from, 0700), 0);
    (void)snprintf(sql, sizeof(sql), "CREATE TABLESPACE far LOCATION '%.2000s'", from);
    assert_string_equal(ask(a, sql), "");
    assert_string_equal(ask(a, "CREATE TABLE t TABLESPACE far AS SELECT repeat('x', 900) AS x "
                               "FROM generate_series(1, 3000)"),
                        "");
    (void)snprintf(mapping, sizeof(mapping), "%s=%s", from, to);
    kv_add(&b->basebackup, "tablespace-mapping", mapping);
}

/* First there was nothing; then a database with that tablespace. */
static void a_clone_that_is_cut_off_in_a_tablespace_is_made_again(void **state)
{
    struct node *a = &w->a, *b = &w->b;
    char to[PATH_MAX + 16];

    (void)state;
    (void)snprintf(to, sizeof(to), "%s/new/space", b->dir);
    make_tablespace(a, b, to);
    for (int i = 0; i < 2; i++) {
        cut_off_in_tablespace(a, b, to);
        act(b, ACTION_CLONE, a);
        wait_role(b, PG_ROLE_STANDBY);
        assert_string_equal(ask(b, "SELECT count(*) FROM t"), "3000");
        assert_false(exists(b, ".veche-tablespaces"));
    }
}

/* Another file system was mounted there, say. */
static void a_tablespace_that_is_another_directory_now_is_left_alone(void **state)
{
    struct node *a = &w->a, *b = &w->b;
    char to[PATH_MAX + 8], aside[PATH_MAX + 8], other[PATH_MAX + 32];

    (void)state;
    (void)snprintf(to, sizeof(to), "%s/space", b->dir);
    (void)snprintf(aside, sizeof(aside), "%s/aside", b->dir);
    assert_int_equal(mkdir(to, 0700), 0);
    make_tablespace(a, b, to);
    cut_off_in_tablespace(a, b, to);
    assert_int_equal(rename(to, aside), 0);
    assert_int_equal(mkdir(to, 0700), 0);
    (void)snprintf(other, sizeof(other), "%s/PG_%.2s_1", to, ask(a, "SHOW server_version"));
    assert_int_equal(mkdir(other, 0700), 0);
    decide_on(b, ACTION_CLONE, a);
    wait_idle(b);
    assert_true(see(b).last_failed);
    assert_non_null(strstr(see(b).problem, "exists but is not empty"));
    assert_int_equal(rmdir(other), 0); /* There still. */
}

static void a_source_that_does_not_let_us_in_costs_nothing(void **state)
{
    struct node *a = &w->a, *b = &w->b;

    (void)state;
    start_cluster();
    assert_string_equal(ask(a, "ALTER ROLE repl NOLOGIN"), "");
    decide_on(b, ACTION_CLONE, a);
    wait_idle(b);
    assert_true(see(b).last_failed);
    assert_non_null(strstr(see(b).problem, "ask source"));

    assert_string_equal(ask(b, "SELECT count(*) FROM t"), "0");
}

static void a_fence_ends_busy_backends(void **state)
{
    struct node *a = &w->a;
    pid_t writers[4];
    uint64_t start_ms;

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    assert_string_equal(ask(a, "CREATE TABLE t (i int)"), "");
    for (size_t i = 0; i < ARRAY_LENGTH(writers); i++) {
        writers[i] = start_writer(a);
    }
    wait_answer(a, "SELECT count(*) > 100 FROM t", "t");
    start_ms = clock_ms();
    act(a, ACTION_FENCE, NULL);
    assert_true(pg_is_down(a->pg));
    print_message("fenced in %llu ms\n", (unsigned long long)(clock_ms() - start_ms));
    for (size_t i = 0; i < ARRAY_LENGTH(writers); i++) {
        end_client(writers[i]);
    }
    act(a, ACTION_START_PRIMARY, NULL);

    assert_string_equal(ask(a, "SELECT count(*) > 100 FROM t"), "t");
}

/* Backends outlive a postmaster that was killed, and go on acknowledging. */
static void a_clean_up_counts_out_what_a_dead_postmaster_left(void **state)
{
    struct node *a = &w->a;
    pid_t writer, postmaster;
    char path[PATH_MAX + 64];
    FILE *f;
    int pid = 0;

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    assert_string_equal(ask(a, "CREATE TABLE t (i int)"), "");
    writer = start_writer(a);
    wait_answer(a, "SELECT count(*) > 100 FROM t", "t");
    (void)snprintf(path, sizeof(path), "%s/postmaster.pid", a->data);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    (void)fclose(f);
    postmaster = pid;
    assert_true(postmaster > 1);
    (void)kill(postmaster, SIGKILL);
    TURN_UNTIL(!a->view.postmaster_alive);
    assert_true(a->view.n_processes > 0);
    decide_on(a, ACTION_CLEAN_UP, NULL);
    wait_idle(a);
    assert_true(pg_is_down(a->pg));
    end_client(writer);
    act(a, ACTION_START_PRIMARY, NULL);

    wait_role(a, PG_ROLE_PRIMARY);
}

/* ---- Commands of the operator ---- */

static void set_options(struct node *n)
{
    pg_set_options(n->pg, &n->options);
}

static bool is_named_running(const struct node *n, const char *file)
{
    char path[PATH_MAX + 64];
    int pid = 0;
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", n->dir, file);
    f = fopen(path, "re");
    if (f != NULL) {
        (void)fscanf(f, "%d", &pid); /* 0: not written yet. */
        (void)fclose(f);
    }
    return pid > 1 && kill(pid, 0) == 0 && !pg_process_is_zombie(pid);
}

static void pre_promote_refuses_or_lets_pass(void **state)
{
    struct node *a = &w->a, *b = &w->b;

    (void)state;
    start_cluster();
    act(a, ACTION_STOP, NULL);
    w->store.primary.epoch = 5;
    b->options.pre_promote = "echo not today; exit 3";
    set_options(b);
    decide_on(b, ACTION_PREPARE, NULL);
    wait_idle(b);
    assert_true(see(b).last_failed);
    assert_non_null(strstr(see(b).problem, "ended with code 3: not today"));
    assert_true(see(b).retry_ms > clock_ms() - SECONDS(60));
    assert_int_equal(see(b).prepared_epoch, 0);
    wait_role(b, PG_ROLE_STANDBY);

    b->options.pre_promote = "true";
    set_options(b);
    make_ops(b, NULL); /* No back-off. */
    act(b, ACTION_PREPARE, NULL);
    assert_int_equal(see(b).prepared_epoch, 5);
    act(b, ACTION_PROMOTE, NULL);
    assert_int_equal(see(b).prepared_epoch, 0); /* It was for that promotion. */
    wait_role(b, PG_ROLE_PRIMARY);
}

/* What it does to others it may not do without the lease: then nothing is decided. */
static void pre_promote_ends_when_nothing_is_decided(void **state)
{
    struct node *a = &w->a;
    char script[2 * PATH_MAX];

    (void)state;
    (void)snprintf(script, sizeof(script),
                   "cd %.2000s; setsid sleep 600 & echo $! > pid; sleep 600; true", a->dir);
    a->options.pre_promote = script;
    set_options(a);
    decide_on(a, ACTION_PREPARE, NULL);
    while (!is_named_running(a, "pid")) {
        assert_false(ops_is_idle(a->ops));
        turn();
    }
    decide_on(a, ACTION_PREPARE, NULL);
    assert_true(is_named_running(a, "pid")); /* It goes on. */
    decide_on(a, ACTION_NONE, NULL);
    wait_idle(a);

    while (is_named_running(a, "pid")) {
        turn();
    }
    assert_int_equal(see(a).last, ACTION_NONE);
    assert_int_equal(see(a).prepared_epoch, 0);
}

static void before_stop_runs_beside_the_server_and_is_not_obeyed(void **state)
{
    struct node *a = &w->a;
    char script[2 * PATH_MAX];

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    wait_role(a, PG_ROLE_PRIMARY);
    (void)snprintf(script, sizeof(script),
                   "test -s %.2000s/postmaster.pid && touch %.2000s.ran; exit 1", a->data, a->data);
    a->options.before_stop = script;
    set_options(a);
    act(a, ACTION_STOP, NULL);

    assert_true(exists(a, ".ran"));
    assert_true(pg_is_down(a->pg));
    TURN_UNTIL(a->status.clean_shutdown);
}

/* It would take a minute to be given up. The fence has its signals out when it is decided. */
static void before_stop_that_hangs_does_not_hold_up_a_fence(void **state)
{
    struct node_decision fence = {
        .action = ACTION_FENCE, .rule = "test", .why = "the test says so", .kill = true};
    struct node *a = &w->a;
    char script[2 * PATH_MAX], data[PATH_MAX];
    uint64_t until_ms;
    pid_t pids[1];

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    wait_role(a, PG_ROLE_PRIMARY);
    assert_non_null(realpath(a->data, data));
    (void)snprintf(script, sizeof(script),
                   "cd %.2000s; echo $$ > pid; trap '' TERM INT; sleep 600; true", a->dir);
    a->options.before_stop = script;
    set_options(a);
    decide_on(a, ACTION_STOP, NULL);
    while (!is_named_running(a, "pid")) {
        assert_false(ops_is_idle(a->ops));
        turn();
    }
    assert_string_equal(see(a).step, "stop: before stop");
    assert_true(pg_processes_find(data, pids, 1) > 0);
    until_ms = clock_ms() + SECONDS(50);
    ops_reconcile(a->ops, &fence, clock_ms());
    while (pg_processes_find(data, pids, 1) > 0) { /* No turn of the loop: it waits for nobody. */
        (void)ops_tick(a->ops, clock_ms());
        assert_string_equal(see(a).step, "fence: kill");
        assert_true(clock_ms() < until_ms);
    }
    wait_idle(a);

    assert_false(is_named_running(a, "pid"));
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        on_world(a_bootstrap_makes_a_database_and_hides_its_secrets),
        on_world(a_bootstrap_lets_in_whom_bootstrap_pg_hba_names),
        on_world(a_wrong_option_is_found_before_anything_is_made),
        on_world(a_bootstrap_whose_script_fails_leaves_no_server),
        on_world(stop_is_clean_and_start_brings_it_back),
        on_world(a_start_that_fails_says_what_postgres_said),
        on_world(a_clone_streams_and_can_be_promoted),
        on_world(a_paused_and_blocked_replay_does_not_stop_a_promotion),
        on_world(who_is_to_be_promoted_receives_nothing_more),
        on_world(a_standby_of_nobody_can_be_told_whom_to_follow),
        on_world(a_clone_that_is_cut_off_is_no_database),
        on_world(a_clone_that_is_cut_off_in_a_tablespace_is_made_again),
        on_world(a_tablespace_that_is_another_directory_now_is_left_alone),
        on_world(a_source_that_does_not_let_us_in_costs_nothing),
        on_world(a_fence_ends_busy_backends),
        on_world(pre_promote_refuses_or_lets_pass),
        on_world(pre_promote_ends_when_nothing_is_decided),
        on_world(before_stop_runs_beside_the_server_and_is_not_obeyed),
        on_world(before_stop_that_hangs_does_not_hold_up_a_fence),
        on_world(a_clean_up_counts_out_what_a_dead_postmaster_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_in_world(run_all);
}
