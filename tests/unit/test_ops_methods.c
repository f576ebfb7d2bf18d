/*
 * An operator's own ways to make a data directory, on real PostgreSQL. Which is used when, and
 * what is done in which order, is in test_ops_reconcile.c.
 */
#include "test_ops_world.h"

/* A script in the node's directory; its path is valid until the next call. */
static const char *write_script(const struct node *n, const char *name, const char *text)
{
    static char path[PATH_MAX + 32];
    FILE *out;

    (void)snprintf(path, sizeof(path), "%s/%s", n->dir, name);
    out = fopen(path, "we");
    assert_non_null(out);
    assert_true(fprintf(out, "#!/bin/sh\nset -e\n%s", text) > 0);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(chmod(path, 0700), 0);
    return path;
}

static const char take_arguments[] =
    "for a in \"$@\"; do case \"$a\" in\n"
    "  --datadir=*) data=${a#*=};; --connstring=*) source=${a#*=};; --from=*) from=${a#*=};;\n"
    "esac; done\n";

static void set_method(struct node *n, const char *name, const char *command)
{
    char key[NAME_SIZE + 16];

    (void)snprintf(key, sizeof(key), "%s.command", name);
    kv_set(&n->settings, key, command);
}

static void apply_options(struct node *n)
{
    pg_set_options(n->pg, &n->options);
}

static void run(const char *command)
{
    assert_int_equal(system(command), 0);
}

static void archive_to(struct node *n)
{
    char command[2 * PATH_MAX];

    (void)snprintf(command, sizeof(command), "cp %%p %.2000s/%%f", n->dir);
    kv_set(&n->parameters, "archive_mode", "on");
    kv_set(&n->parameters, "archive_command", command);
    apply_options(n);
}

static void take_backup(const struct node *n)
{
    char command[2 * PATH_MAX];

    assert_int_equal(setenv("PGPASSWORD", SUPER_PASSWORD, 1), 0);
    (void)snprintf(command, sizeof(command),
                   "%.500s/pg_basebackup -h 127.0.0.1 -p %u -U ad-min --checkpoint=fast "
                   "--no-sync -D %.2000s/backup",
                   pg_bin_dir(), n->port, n->dir);
    run(command);
}

/* A table with one row from before the point `here` and one from after it. */
static void make_history(struct node *a)
{
    char archived[256];

    archive_to(a);
    act(a, ACTION_BOOTSTRAP, NULL);
    take_backup(a);
    assert_string_equal(ask(a, "CREATE TABLE t AS SELECT 1 AS i"), "");
    assert_true(ask(a, "SELECT pg_create_restore_point('here')")[0] != '\0');
    assert_string_equal(ask(a, "INSERT INTO t VALUES (2)"), "");
    (void)snprintf(archived, sizeof(archived),
                   "SELECT last_archived_wal >= '%.24s' FROM pg_stat_archiver",
                   ask(a, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"));
    assert_true(ask(a, "SELECT pg_switch_wal()")[0] != '\0');
    wait_answer(a, archived, "t");
}

static void a_backup_is_recovered_to_a_point_and_gets_its_roles(void **state)
{
    struct node *a = &w->a, *b = &w->b;
    char text[2048], path[PATH_MAX + 64], restore[PATH_MAX + 32], sysid[64];

    (void)state;
    make_history(a);
    (void)snprintf(text, sizeof(text), "%secho \"$@\" > %.500s/got\ncp -a \"$from/.\" \"$data\"\n",
                   take_arguments, b->dir);
    set_method(b, "mine", write_script(b, "restore", text));
    (void)snprintf(path, sizeof(path), "%s/backup", a->dir);
    kv_add(&b->settings, "mine.from", path);
    (void)snprintf(restore, sizeof(restore), "cp %s/%%f %%p", a->dir);
    kv_add(&b->recovery, "restore_command", restore);
    kv_add(&b->recovery, "recovery_target_name", "here");
    kv_add(&b->recovery, "recovery_target_action", "pause"); /* It would wait for ever. */
    b->options.superuser.password = "another one";
    apply_options(b);
    (void)snprintf(text, sizeof(text), "%.500s/psql -Xq -c 'CREATE TABLE made_by_script ()' -d",
                   pg_bin_dir());
    b->method = "mine";
    make_ops(b, text);
    act(b, ACTION_BOOTSTRAP, NULL);
    wait_role(b, PG_ROLE_PRIMARY);
    wait_data(b, DATA_VALID);

    assert_string_equal(query(b, "ad-min", "another one", "SELECT array_agg(i) FROM t"), "{1}");
    assert_string_equal(query(b, "ad-min", "another one", "SELECT count(*) FROM made_by_script"),
                        "0");
    assert_string_equal(query(b, "repl", REPL_PASSWORD, "SELECT 1"), "1");
    assert_string_equal(query(b, "ad-min", "another one", "SHOW hot_standby"), "on");
    assert_string_equal(query(b, "ad-min", "another one", "SHOW restore_command"), "");
    assert_int_equal(b->status.timeline, 2);
    (void)str_copy(sysid, sizeof(sysid),
                   ask(a, "SELECT system_identifier FROM pg_control_system()"));
    assert_string_equal(
        query(b, "ad-min", "another one", "SELECT system_identifier FROM pg_control_system()"),
        sysid);
    assert_false(exists(b, ".veche-incomplete"));
    (void)snprintf(path, sizeof(path), "%s/got", b->dir);
    (void)snprintf(text, sizeof(text), "--scope=test --datadir=%.1000s --from=", b->data);
    assert_true(file_has(path, text));
    (void)snprintf(path, sizeof(path), "%s.veche-startup.log", b->data);
    assert_false(file_has(path, "another one"));
}

/* pgBackRest, say, leaves its own recovery.signal and restore_command. */
static void what_a_command_says_of_its_recovery_counts_if_it_is_to(void **state)
{
    struct node *a = &w->a, *b = &w->b;
    char text[4096];

    (void)state;
    make_history(a);
    (void)snprintf(
        text, sizeof(text),
        "cp -a %.500s/backup/. %.500s\n: > %.500s/standby.signal\n"
        "echo \"restore_command = 'cp %.500s/%%f %%p'\" >> %.500s/postgresql.auto.conf\n",
        a->dir, b->data, b->data, a->dir, b->data);
    set_method(b, "mine", write_script(b, "restore", text));
    kv_add(&b->settings, "mine.keep_existing_recovery_conf", "true");
    kv_add(&b->settings, "mine.no_params", "true");
    b->method = "mine";
    make_ops(b, NULL);
    act(b, ACTION_BOOTSTRAP, NULL);
    wait_role(b, PG_ROLE_PRIMARY);

    assert_string_equal(ask(b, "SELECT count(*) FROM t"), "2"); /* All of the archive. */
    assert_int_equal(b->status.timeline, 2);
    assert_string_equal(ask(b, "SHOW restore_command"), ""); /* Not for what comes later. */
}

static void a_command_that_fails_or_makes_nothing_leaves_no_database(void **state)
{
    struct node *b = &w->b;

    (void)state;
    set_method(b, "mine",
               write_script(b, "restore", "echo first; echo 'no such backup'; exit 3\n"));
    b->method = "mine";
    make_ops(b, NULL);
    decide_on(b, ACTION_BOOTSTRAP, NULL);
    wait_idle(b);
    assert_non_null(strstr(see(b).problem, "bootstrap: method: method mine: /"));
    assert_non_null(strstr(see(b).problem, "code 3"));
    assert_non_null(strstr(see(b).problem, "no such backup"));
    wait_data(b, DATA_INCOMPLETE);
    set_method(b, "mine", "true");
    make_ops(b, NULL);
    decide_on(b, ACTION_BOOTSTRAP, NULL);
    wait_idle(b);
    assert_non_null(strstr(see(b).problem, "the command left nothing"));
    b->method = NULL;
    make_ops(b, NULL);
    act(b, ACTION_BOOTSTRAP, NULL);

    assert_string_equal(ask(b, "SELECT 1"), "1");
}

/* The first one fails, the second one works. */
static void a_standby_is_made_by_the_first_method_that_works(void **state)
{
    struct node *a = &w->a, *b = &w->b;
    char text[2048], path[PATH_MAX + 64];
    uint64_t until_ms;

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    assert_string_equal(ask(a, "CREATE TABLE t AS SELECT 1 AS i"), "");
    kv_add(&b->methods, "broken", NULL);
    kv_add(&b->methods, "mine", NULL);
    set_method(b, "broken", "exit 7 #");
    (void)snprintf(text, sizeof(text),
                   "%secho \"$@ passfile: $PGPASSFILE\" > %.500s/got\n"
                   "rm -rf \"$data\"\n" /* Its own directory. */
                   "%.500s/pg_basebackup --no-password --checkpoint=fast -D \"$data\" "
                   "--dbname=\"$source\"\n",
                   take_arguments, b->dir, pg_bin_dir());
    set_method(b, "mine", write_script(b, "copy", text));
    apply_options(b);
    decide_on(b, ACTION_CLONE, a);
    wait_idle(b);
    assert_non_null(strstr(see(b).problem, "clone: copy: method broken: "));
    assert_non_null(strstr(see(b).problem, "code 7"));
    wait_data(b, DATA_INCOMPLETE);
    until_ms = clock_ms() + SECONDS(60);
    while (see(b).last_failed) {
        assert_true(clock_ms() < until_ms);
        decide_on(b, ACTION_CLONE, a);
        turn();
        /* The mark goes when the copy is whole, and it runs. */
        assert_true(b->status.data == DATA_INCOMPLETE || b->status.pg_role == PG_ROLE_STANDBY);
    }
    wait_role(b, PG_ROLE_STANDBY);
    wait_data(b, DATA_VALID);

    wait_answer(b, "SELECT i FROM t", "1");
    assert_string_equal(ask(a, "INSERT INTO t VALUES (2)"), "");
    wait_answer(b, "SELECT count(*) FROM t", "2");
    (void)snprintf(path, sizeof(path), "%s/got", b->dir);
    (void)snprintf(text, sizeof(text),
                   "--scope=test --role=replica --datadir=%.1000s --connstring=", b->data);
    assert_true(file_has(path, text));
    (void)snprintf(text, sizeof(text), "passfile: %.1000s", b->pgpass);
    assert_true(file_has(path, text));
    assert_false(file_has(path, REPL_PASSWORD));
    assert_false(exists(b, ".veche-incomplete"));
    assert_false(exists(b, ".veche-answer"));
}

/* All of a database is there when the command is killed, and nothing that tells it apart. */
static void a_command_that_is_cut_off_leaves_no_database(void **state)
{
    struct node *a = &w->a, *b = &w->b;
    uint64_t until_ms = clock_ms() + SECONDS(120);
    char text[2048];

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    take_backup(a);
    kv_add(&b->methods, "mine", NULL);
    (void)snprintf(text, sizeof(text),
                   "rm -rf %.500s\ncp -a %.500s/backup %.500s\n: > %.500s/made\nsleep 1000\n",
                   b->data, a->dir, b->data, b->dir);
    set_method(b, "mine", write_script(b, "copy", text));
    apply_options(b);
    decide_on(b, ACTION_CLONE, a);
    (void)snprintf(text, sizeof(text), "%.1000s/made", b->dir);
    while (access(text, F_OK) != 0) {
        assert_true(clock_ms() < until_ms);
        turn();
        assert_int_not_equal(b->status.data, DATA_VALID);
    }
    decide_on(b, ACTION_STOP, NULL);
    wait_idle(b);
    assert_true(exists(b, "/global/pg_control"));
    wait_data(b, DATA_INCOMPLETE);
    decide_on(b, ACTION_START_STANDBY, a);
    wait_idle(b);
    assert_true(see(b).last_failed);
    assert_true(pg_is_down(b->pg));
    kv_deinit(&b->methods);
    apply_options(b);
    act(b, ACTION_CLONE, a);

    wait_role(b, PG_ROLE_STANDBY);
    assert_false(exists(b, ".veche-incomplete"));
}

static void a_copy_of_another_database_is_refused(void **state)
{
    struct node *a = &w->a, *b = &w->b;
    char text[2048];

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    wait_data(a, DATA_VALID);
    w->store.cluster.sysid = a->status.sysid + 1;
    take_backup(a);
    kv_add(&b->methods, "mine", NULL);
    (void)snprintf(text, sizeof(text), "cp -a %.500s/backup/. %.1000s #", a->dir, b->data);
    set_method(b, "mine", text);
    apply_options(b);
    decide_on(b, ACTION_CLONE, a);
    wait_idle(b);

    assert_non_null(strstr(see(b).problem, "clone: verify: "));
    assert_non_null(strstr(see(b).problem, "a copy of another database"));
    wait_data(b, DATA_INCOMPLETE);
}

static void programs_may_have_other_names(void **state)
{
    struct node *a = &w->a;
    char text[PATH_MAX + 64];

    (void)state;
    (void)snprintf(text, sizeof(text), ": > %.1000s/was-run\nexec %.500s/initdb \"$@\"\n", a->dir,
                   pg_bin_dir());
    kv_add(&a->bin_names, "initdb", write_script(a, "initdb17", text));
    kv_add(&a->bin_names, "postgres", "postgres");
    apply_options(a);
    act(a, ACTION_BOOTSTRAP, NULL);

    assert_string_equal(ask(a, "SELECT 1"), "1");
    (void)snprintf(text, sizeof(text), "%.1000s/was-run", a->dir);
    assert_int_equal(access(text, F_OK), 0);
    act(a, ACTION_STOP, NULL);
    kv_set(&a->bin_names, "postgres", "postgres-99");
    apply_options(a);
    decide_on(a, ACTION_START_PRIMARY, NULL);
    wait_idle(a);
    assert_non_null(strstr(see(a).problem, "postgres-99 is missing"));
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        on_world(a_backup_is_recovered_to_a_point_and_gets_its_roles),
        on_world(what_a_command_says_of_its_recovery_counts_if_it_is_to),
        on_world(a_command_that_fails_or_makes_nothing_leaves_no_database),
        on_world(a_standby_is_made_by_the_first_method_that_works),
        on_world(a_command_that_is_cut_off_leaves_no_database),
        on_world(a_copy_of_another_database_is_refused),
        on_world(programs_may_have_other_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_in_world(run_all);
}
