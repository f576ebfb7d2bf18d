/*
 * pg/ on a real PostgreSQL: initdb, start, observe, crash, left-over backends,
 * adoption, promotion, stop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "pg/pg_internal.h"
#include "pg/pg_processes.h"
#include "test_child.h"
#include "test_pg_bin.h"
#include "test_port.h"

static char base_dir[] = "/tmp/veche-test-pg-XXXXXX";
static struct store test_store; /* Too big for a stack. */

struct node {
    uv_loop_t *loop;
    struct pg *pg;
    struct kv_list parameters, hba, empty;
    char data_dir[128], pgpass[128], name[16];
    uint16_t port;
    struct status status;
    struct view_pg view;
};

/* ---- Waiting ---- */

static void refresh(struct node *n)
{
    memset(&n->status, 0, sizeof(n->status));
    pg_fill(n->pg, &test_store, &n->status, &n->view);
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer; /* Wakes the loop. */
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

/* A liveness bound: far beyond what anything here takes, on whatever machine. */
#define LIMIT_MS MINUTES(2)

/* Runs the loop until the condition holds. */
static void wait_for(struct node *n, bool (*holds)(struct node *n))
{
    uv_timer_t *timer = malloc(sizeof(*timer));
    uint64_t end = clock_ms() + LIMIT_MS;
    bool done;

    uv_timer_init(n->loop, timer);
    uv_timer_start(timer, on_tick, 20, 20);
    while (refresh(n), !(done = holds(n)) && clock_ms() < end) {
        uv_run(n->loop, UV_RUN_ONCE);
        if (!n->pg->observing && clock_ms() % 200 < 20) {
            pg_observe(n->pg, clock_ms());
        }
    }
    uv_close((uv_handle_t *)timer, on_closed);
    if (!done) {
        print_error("state=%s role=%s data=%s problem=%s processes=%u\n",
                    pg_state_name(n->status.pg_state), pg_role_name(n->status.pg_role),
                    data_state_name(n->status.data), n->status.problem, n->view.n_processes);
        for (uint32_t i = 0; i < n->status.pending.n; i++) {
            print_error("pending %s: %s -> %s\n", n->status.pending.settings[i].name,
                        n->status.pending.settings[i].old_value,
                        n->status.pending.settings[i].new_value);
        }
    }
    assert_true(done);
}

struct done {
    bool called;
    int status;
    char problem[1024];
};
static struct done last_done;

static void on_done(void *data, int status, const char *problem)
{
    (void)data;
    assert_false(last_done.called); /* Once. */
    last_done.called = true;
    last_done.status = status;
    (void)str_copy(last_done.problem, sizeof(last_done.problem), problem);
}

static bool was_called(struct node *n)
{
    (void)n;
    return last_done.called;
}

static void reset_done(void)
{
    last_done = (struct done){0};
}

static void wait_done(struct node *n)
{
    wait_for(n, was_called);
    if (last_done.status != 0) {
        print_error("failed: %s\n", last_done.problem);
    }
    assert_int_equal(last_done.status, 0);
}

static bool is_running(struct node *n)
{
    return n->status.pg_state == PG_STATE_RUNNING && n->pg->has_row;
}

static bool is_primary(struct node *n)
{
    return is_running(n) && n->status.pg_role == PG_ROLE_PRIMARY;
}

static bool is_streaming(struct node *n)
{
    return is_running(n) && n->status.pg_role == PG_ROLE_STANDBY && n->status.streaming;
}

static bool has_ended(struct node *n)
{
    return !n->view.postmaster_alive;
}

static bool is_stopped(struct node *n)
{
    /* The collector of logs ends a little after the postmaster. */
    return has_ended(n) && n->status.pg_state == PG_STATE_STOPPED && n->view.n_processes == 0 &&
           pg_is_down(n->pg);
}

static bool is_down(struct node *n)
{
    return pg_is_down(n->pg);
}

static bool has_looked(struct node *n)
{
    return n->status.data != DATA_UNKNOWN;
}

/* ---- A node ---- */

static void options_of(struct node *n, struct pg_options *o)
{
    *o = (struct pg_options){
        .loop = n->loop,
        .name = n->name,
        .scope = "test",
        .data_dir = n->data_dir,
        .config_dir = n->data_dir,
        .bin_dir = pg_bin_dir(),
        .listen_addresses = "127.0.0.1",
        .port = n->port,
        .connect_host = "127.0.0.1",
        .database = "postgres",
        .pgpass = n->pgpass,
        .superuser = {"postgres", "secret", NULL},
        .replication = {"replicator", "rep'l", NULL},
        .parameters = &n->parameters,
        .hba = &n->hba,
        .is_settled = true,
        .use_slots = true,
        .config_base_name = "postgresql",
        .ttl_ms = 3000,
    };
}

static struct pg *new_pg(struct node *n)
{
    struct pg_options o;

    options_of(n, &o);
    return pg_new(&o);
}

static struct node *node_new(const char *name)
{
    struct node *n = calloc(1, sizeof(*n));

    n->loop = malloc(sizeof(*n->loop));
    uv_loop_init(n->loop);
    snprintf(n->name, sizeof(n->name), "%s", name);
    snprintf(n->data_dir, sizeof(n->data_dir), "%s/%s", base_dir, name);
    snprintf(n->pgpass, sizeof(n->pgpass), "%s/%s.pgpass", base_dir, name);
    n->port = free_port();
    kv_add(&n->parameters, "unix_socket_directories", base_dir);
    kv_add(&n->parameters, "shared_buffers", "16MB");
    kv_add(&n->parameters, "fsync", "off");
    kv_add(&n->parameters, "logging_collector", "on");
    kv_add(&n->parameters, "stats_temp_directory", "/nowhere"); /* Gone since 15. */
    kv_add(&n->parameters, "data_directory", "/nowhere");       /* Ours to say. */
    kv_add(&n->hba, "local all all trust", NULL);
    kv_add(&n->hba, "host all all 127.0.0.1/32 trust", NULL);
    kv_add(&n->hba, "host replication all 127.0.0.1/32 trust", NULL);
    n->pg = new_pg(n);
    return n;
}

static bool pg_is_gone;

static void on_pg_closed(void *data)
{
    (void)data;
    pg_is_gone = true;
}

static void close_pg(struct node *n)
{
    pg_is_gone = false;
    pg_close(n->pg, on_pg_closed, NULL);
    while (!pg_is_gone) {
        uv_run(n->loop, UV_RUN_ONCE);
    }
    n->pg = NULL;
}

static void node_free(struct node *n)
{
    while (!pg_is_down(n->pg)) {
        pg_kill_all(n->pg);
        uv_run(n->loop, UV_RUN_NOWAIT);
    }
    close_pg(n);
    uv_run(n->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(n->loop), 0);
    kv_deinit(&n->parameters);
    kv_deinit(&n->hba);
    free(n->loop);
    free(n);
}

static void run_child(struct node *n, const char *const *argv)
{
    struct err err = {0};

    reset_done();
    if (pg_child_start(n->pg, argv, NULL, on_done, NULL, &err) == NULL) {
        fail_msg("%s", err.text);
    }
    wait_done(n);
}

/* As a distribution's file does, which becomes the base of ours. */
static void name_another_directory(const struct node *n)
{
    char path[256];
    FILE *out;

    snprintf(path, sizeof(path), "%s/postgresql.conf", n->data_dir);
    out = fopen(path, "ae");
    assert_non_null(out);
    assert_true(fputs("data_directory = '/nowhere'\n", out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static void initdb(struct node *n)
{
    const char *argv[] = {"initdb", "-D",    n->data_dir,        "-U", "postgres", "--no-sync",
                          "-A",     "trust", "--data-checksums", NULL};

    run_child(n, argv);
    name_another_directory(n);
}

static void write_conf(struct node *n, const struct pg_start *start)
{
    reset_done();
    pg_write_conf(n->pg, start, on_done, NULL);
    wait_done(n);
}

static void start(struct node *n, const struct pg_start *how)
{
    write_conf(n, how);
    reset_done();
    pg_start_server(n->pg, how, on_done, NULL);
    wait_done(n);
    wait_for(n, is_running);
}

static void execute(struct node *n, const char *sql)
{
    reset_done();
    pg_execute(n->pg, sql, LIMIT_MS, on_done, NULL);
    wait_done(n);
}

/* The value behind a label in the output of pg_controldata. */
static void controldata(const struct node *n, const char *label, char *value, size_t size)
{
    char command[512], line[512];
    FILE *pipe;

    snprintf(command, sizeof(command), "LC_ALL=C %s/pg_controldata -D %s", pg_bin_dir(),
             n->data_dir);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    value[0] = '\0';
    while (fgets(line, sizeof(line), pipe) != NULL) {
        if (str_starts_with(line, label)) {
            const char *at = line + strlen(label);

            at += strspn(at, ": ");
            (void)str_copy(value, size, at);
            value[strcspn(value, "\n")] = '\0';
        }
    }
    pclose(pipe);
}

static uint64_t controldata_number(const struct node *n, const char *label)
{
    char value[64];

    controldata(n, label, value, sizeof(value));
    return strtoull(value, NULL, 10);
}

static void compare_control(const struct node *n, const struct pg_control *c)
{
    char value[64], lsn[LSN_TEXT_SIZE];

    controldata(n, "Latest checkpoint location", value, sizeof(value));
    assert_string_equal(value, lsn_format(c->checkpoint, lsn, sizeof(lsn)));
    controldata(n, "Latest checkpoint's REDO location", value, sizeof(value));
    assert_string_equal(value, lsn_format(c->redo, lsn, sizeof(lsn)));
    assert_true(controldata_number(n, "Database system identifier") == c->sysid);
    assert_true(controldata_number(n, "pg_control version number") == c->version);
    assert_true(controldata_number(n, "Catalog version number") == c->catalog_version);
    assert_true(controldata_number(n, "Latest checkpoint's TimeLineID") == c->timeline);
    assert_true(controldata_number(n, "Latest checkpoint's PrevTimeLineID") == c->prev_timeline);
    assert_true(controldata_number(n, "Min recovery ending loc's timeline") ==
                c->min_recovery_timeline);
    assert_int_equal(controldata_number(n, "max_connections setting"), c->max_connections);
    assert_int_equal(controldata_number(n, "max_worker_processes setting"),
                     c->max_worker_processes);
    assert_int_equal(controldata_number(n, "max_wal_senders setting"), c->max_wal_senders);
    assert_int_equal(controldata_number(n, "max_prepared_xacts setting"), c->max_prepared_xacts);
    assert_int_equal(controldata_number(n, "max_locks_per_xact setting"), c->max_locks_per_xact);
    assert_int_equal(controldata_number(n, "Data page checksum version"), c->data_checksums);
    controldata(n, "wal_log_hints setting", value, sizeof(value));
    assert_string_equal(value, c->wal_log_hints ? "on" : "off");
}

/* Our reading of pg_control against PostgreSQL's own. */
static void check_control(const struct node *n, const char *state)
{
    struct pg_control c, later;
    struct err err = {0};
    char value[64], lsn[LSN_TEXT_SIZE];

    do { /* A standby that runs moves it whenever it writes a page. */
        assert_int_equal(pg_control_read(n->data_dir, &c, &err), 0);
        controldata(n, "Minimum recovery ending location", value, sizeof(value));
        assert_int_equal(pg_control_read(n->data_dir, &later, &err), 0);
    } while (later.min_recovery != c.min_recovery);
    assert_string_equal(value, lsn_format(c.min_recovery, lsn, sizeof(lsn)));
    controldata(n, "Database cluster state", value, sizeof(value));
    assert_string_equal(value, state);
    compare_control(n, &c);
}

static void stop_fast(struct node *n)
{
    pg_signal_stop(n->pg, PG_STOP_FAST);
    wait_for(n, is_stopped);
}

static const struct pg_start as_primary = {.as_standby = false};

static struct node *node_running(const char *name)
{
    struct node *n = node_new(name);

    initdb(n);
    start(n, &as_primary);
    return n;
}

/* ---- Tests ---- */

static bool several_are_seen(struct node *n)
{
    return n->view.n_processes > 1;
}

static void a_new_database_is_made_started_seen_and_stopped(void **state)
{
    struct node *n = node_new("one");
    uint64_t sysid;

    (void)state;
    pg_observe(n->pg, clock_ms());
    wait_for(n, has_looked);
    assert_int_equal(n->status.data, DATA_EMPTY);
    assert_int_equal(n->status.pg_role, PG_ROLE_UNINITIALIZED);

    initdb(n);
    start(n, &as_primary);
    assert_int_equal(n->status.data, DATA_VALID);
    assert_int_equal(n->status.pg_role, PG_ROLE_PRIMARY);
    assert_int_equal(n->status.timeline, 1);
    assert_true(n->status.flushed > 0);
    assert_true(n->status.pg_version / 10000 == pg_bin_major());
    assert_true(n->status.postmaster_start_us > 0);
    assert_true(n->view.postmaster_alive && n->view.was_primary && n->view.seen_ms > 0);
    assert_string_equal(n->status.problem, "");
    assert_int_equal(n->status.pending.n, 0);
    assert_false(pg_is_down(n->pg));
    wait_for(n, several_are_seen); /* A look is not before the answer to a query. */
    sysid = n->status.sysid;
    execute(n, "DO $$ BEGIN ASSERT current_setting('application_name') = 'veche'; END $$");
    execute(n, "CHECKPOINT");
    check_control(n, "in production");

    stop_fast(n);
    check_control(n, "shut down");
    assert_true(n->status.clean_shutdown);
    assert_true(n->view.was_primary);
    assert_true(n->view.gone_ms > 0);
    assert_true(n->status.sysid == sysid);
    assert_int_equal(n->view.n_processes, 0);
    assert_true(n->view.control_lsn > 0);
    node_free(n);
}

static void a_bad_statement_and_a_stopped_server_are_told_apart(void **state)
{
    struct node *n = node_running("errors");

    (void)state;
    reset_done();
    pg_execute(n->pg, "SELECT 1/0", LIMIT_MS, on_done, NULL);
    wait_for(n, was_called);
    assert_int_equal(last_done.status, -1);
    assert_non_null(strstr(last_done.problem, "division by zero"));

    reset_done();
    pg_execute(n->pg, "SELECT pg_sleep(600)", 300, on_done, NULL);
    wait_for(n, was_called);
    assert_int_equal(last_done.status, -1);
    assert_non_null(strstr(last_done.problem, "no answer in time"));

    stop_fast(n);
    reset_done();
    pg_execute(n->pg, "SELECT 1", LIMIT_MS, on_done, NULL);
    wait_for(n, was_called);
    assert_non_null(strstr(last_done.problem, "does not run"));
    node_free(n);
}

/* What the agent does in every tick: nobody writes files or reloads but that. */
static bool n_are_pending(struct node *n, uint32_t n_pending)
{
    const struct sync_decision user = {.wait.kind = SYNC_WAIT_USER, .gate_open = true};

    pg_sync_apply(n->pg, &user, &as_primary);
    return n->status.pending.n == n_pending && n->pg->written_revision == n->pg->opts->revision &&
           !n->pg->unread && !n->pg->sync.writing;
}

static bool none_is_pending(struct node *n)
{
    return n_are_pending(n, 0);
}

static bool one_is_pending(struct node *n)
{
    return n_are_pending(n, 1);
}

static bool three_are_pending(struct node *n)
{
    return n_are_pending(n, 3);
}

static void change(struct node *n, const char *name, const char *value)
{
    struct pg_options o;

    kv_set(&n->parameters, name, value);
    options_of(n, &o);
    pg_set_options(n->pg, &o);
}

static void check_pending(const struct node *n, uint32_t i, const char *name, const char *old_value,
                          const char *new_value)
{
    assert_string_equal(n->status.pending.settings[i].name, name);
    assert_string_equal(n->status.pending.settings[i].old_value, old_value);
    assert_string_equal(n->status.pending.settings[i].new_value, new_value);
}

/* On the command line, in a file with a unit and without one; what takes effect at once. */
static void changes_take_effect_and_what_waits_for_a_restart_shows(void **state)
{
    struct node *n = node_running("pending");

    (void)state;
    change(n, "max_connections", "0150");
    change(n, "shared_buffers", "32MB");
    change(n, "wal_buffers", "256"); /* Of 8kB. */
    change(n, "work_mem", "8MB");
    wait_for(n, three_are_pending);
    check_pending(n, 0, "max_connections", "100", "150");
    check_pending(n, 1, "shared_buffers", "16MB", "32MB");
    check_pending(n, 2, "wal_buffers", "512kB", "2MB");
    execute(n, "DO $$ BEGIN ASSERT current_setting('work_mem') = '8MB'; END $$");

    change(n, "max_connections", "100");
    change(n, "shared_buffers", "16MB");
    wait_for(n, one_is_pending); /* What was restored is not any more. */
    check_pending(n, 0, "wal_buffers", "512kB", "2MB");

    stop_fast(n);
    start(n, &as_primary);
    assert_int_equal(n->status.pending.n, 0);
    execute(n, "DO $$ BEGIN ASSERT current_setting('wal_buffers') = '2MB'; END $$");
    node_free(n);
}

static void what_was_changed_behind_our_back_shows(void **state)
{
    struct node *n = node_running("behind");

    (void)state;
    execute(n, "ALTER SYSTEM SET max_files_per_process = 500");
    execute(n, "SELECT pg_reload_conf()");
    wait_for(n, one_is_pending);
    check_pending(n, 0, "max_files_per_process", "1000", "500");
    execute(n, "ALTER SYSTEM RESET max_files_per_process");
    execute(n, "SELECT pg_reload_conf()");
    wait_for(n, none_is_pending);
    node_free(n);
}

/* What stands for the role alone; and a file that an agent before us wrote without a reload. */
static void the_files_are_of_the_role_that_runs(void **state)
{
    struct node *n = node_running("roles");
    struct kv_list params = {0}, hba = {0};
    struct pg_options o;

    (void)state;
    kv_copy(&params, &n->parameters);
    kv_set(&params, "work_mem", "11MB");
    kv_add(&hba, "local all postgres trust", NULL);
    kv_add(&hba, "host all postgres samehost trust", NULL);
    options_of(n, &o);
    o.primary_parameters = &params;
    o.primary_hba = &hba;
    pg_set_options(n->pg, &o);
    wait_for(n, none_is_pending);
    execute(n, "DO $$ BEGIN ASSERT current_setting('work_mem') = '11MB'; END $$");
    execute(n, "DO $$ BEGIN ASSERT (SELECT count(*) FROM pg_hba_file_rules) = 2; END $$");

    o.primary_parameters = NULL;
    o.primary_hba = NULL;
    pg_set_options(n->pg, &o);
    write_conf(n, &as_primary); /* Cut off before the reload. */
    close_pg(n);
    n->pg = new_pg(n);
    wait_for(n, is_primary);
    execute(n, "DO $$ BEGIN ASSERT current_setting('work_mem') = '11MB'; END $$");
    wait_for(n, none_is_pending);
    execute(n, "DO $$ BEGIN ASSERT current_setting('work_mem') = '4MB'; END $$");
    kv_deinit(&params);
    kv_deinit(&hba);
    node_free(n);
}

/* Gone since a version, or never there: PostgreSQL would not start with it. One that
 * --describe-config does not list, and one of a library, stay. */
static void what_this_version_does_not_take_is_left_out(void **state)
{
    struct node *n = node_new("unknown");

    (void)state;
    kv_add(&n->parameters, "no_such_parameter", "1");
    kv_add(&n->parameters, "Work_Mem", "3MB");
    kv_add(&n->parameters, "zero_damaged_pages", "on");
    kv_add(&n->parameters, "maintenance_work_mem", "5 bananas");
    kv_add(&n->parameters, "TimeZone", "Nowhere");
    kv_add(&n->parameters, "log_line_prefix", "%m [%p] 5432\n ");
    kv_add(&n->parameters, "restart_after_crash", "perhaps");
    kv_add(&n->parameters, "lc_messages", "C");
    kv_add(&n->parameters, "log_min_messages", "panic");
    kv_add(&n->parameters, "shared_preload_libraries", "auto_explain");
    kv_add(&n->parameters, "auto_explain.log_min_duration", "77");
    close_pg(n);
    n->pg = new_pg(n);
    initdb(n);
    start(n, &as_primary);
    execute(n, "DO $$ BEGIN ASSERT current_setting('work_mem') = '3MB'; END $$");
    execute(n, "DO $$ BEGIN ASSERT current_setting('zero_damaged_pages') = 'on'; END $$");
    execute(n, "DO $$ BEGIN"
               " ASSERT current_setting('auto_explain.log_min_duration') = '77ms'; END $$");
    execute(n, "DO $$ BEGIN ASSERT current_setting('maintenance_work_mem') = '64MB'; END $$");
    execute(n, "DO $$ BEGIN ASSERT current_setting('log_min_messages') = 'panic'; END $$");
    assert_int_equal(n->pg->names.refused.n, 3);
    assert_string_equal(kv_get(&n->pg->names.refused, "TimeZone"), "Nowhere");
    assert_int_equal(n->pg->names.unknown.n, 1);
    assert_string_equal(n->pg->names.unknown.items[0].key, "no_such_parameter");
    node_free(n);
}

static void the_same_text_is_not_read_again(void **state)
{
    struct node *n = node_running("same");

    (void)state;
    wait_for(n, none_is_pending); /* As it runs now. */
    execute(n, "CREATE TABLE public.t AS SELECT pg_conf_load_time() AS at");
    change(n, "work_mem", "4MB");
    wait_for(n, none_is_pending);
    execute(n, "DO $$ BEGIN ASSERT (SELECT at FROM public.t) < pg_conf_load_time(); END $$");
    execute(n, "UPDATE public.t SET at = pg_conf_load_time()");
    change(n, "work_mem", "4MB");
    wait_for(n, none_is_pending);
    execute(n, "DO $$ BEGIN ASSERT (SELECT at FROM public.t) = pg_conf_load_time(); END $$");
    node_free(n);
}

static bool is_refused_by_password(struct node *n)
{
    return n->status.pg_state == PG_STATE_RUNNING && n->pg->answer == PG_ANSWER_AUTH;
}

/* A wrong password is our problem, not PostgreSQL's: it runs, as what its lock file
 * says. */
static void a_wrong_password_is_no_outage(void **state)
{
    struct node *n = node_new("password");

    (void)state;
    initdb(n);
    kv_deinit(&n->hba);
    kv_add(&n->hba, "host all all 127.0.0.1/32 scram-sha-256", NULL);
    close_pg(n);
    n->pg = new_pg(n);
    write_conf(n, &as_primary);
    reset_done();
    pg_start_server(n->pg, &as_primary, on_done, NULL);
    wait_done(n);
    wait_for(n, is_refused_by_password);
    assert_int_equal(n->status.pg_role, PG_ROLE_PRIMARY);
    assert_non_null(strstr(n->status.problem, "authentication failed"));
    assert_null(strstr(n->status.problem, "secret"));
    node_free(n);
}

static void write_file(const char *dir, const char *name)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
}

static bool exists(const char *dir, const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

/* pg_wal and a tablespace lie elsewhere; beside the tablespace another version's. */
static void removal_follows_the_links_of_postgresql_and_no_others(void **state)
{
    struct node *n = node_new("links");
    char wal[128], space[128], other[128], link[256], statement[256];
    const char *argv[] = {"initdb", "-D",    n->data_dir, "-U", "postgres", "--no-sync",
                          "-A",     "trust", "-X",        wal,  NULL};

    (void)state;
    snprintf(wal, sizeof(wal), "%s/links.wal", base_dir);
    snprintf(space, sizeof(space), "%s/links.space", base_dir);
    snprintf(other, sizeof(other), "%s/links.other", base_dir);
    mkdir(space, 0700);
    mkdir(other, 0700);
    write_file(other, "letter.txt");
    run_child(n, argv);
    start(n, &as_primary);
    snprintf(statement, sizeof(statement), "CREATE TABLESPACE t LOCATION '%s'", space);
    execute(n, statement);
    reset_done();
    pg_remove_data(n->pg, on_done, NULL);
    wait_for(n, was_called);
    assert_int_equal(last_done.status, -1); /* It runs. */
    stop_fast(n);
    snprintf(link, sizeof(link), "%s/stranger", n->data_dir);
    assert_int_equal(symlink(other, link), 0);
    write_file(space, "PG_14_202107181");
    write_file(n->data_dir,
               ".snapshot"); /* "Empty" with that in it, so it is nobody's to remove. */
    write_file(n->data_dir, "lost+found");

    reset_done();
    pg_remove_data(n->pg, on_done, NULL);
    wait_done(n);
    refresh(n);
    assert_int_equal(n->status.data, DATA_EMPTY);
    assert_true(exists(n->data_dir, "."));
    assert_true(exists(other, "letter.txt"));
    assert_true(exists(n->data_dir, ".snapshot"));
    assert_true(exists(n->data_dir, "lost+found"));
    assert_true(exists(space, "PG_14_202107181"));
    assert_false(exists(space, "PG_15_202209061"));
    assert_int_equal(rmdir(wal), 0);
    node_free(n);
}

static bool data_is_empty(struct node *n)
{
    return n->status.data == DATA_EMPTY;
}

static bool data_is_valid(struct node *n)
{
    return n->status.data == DATA_VALID && n->status.problem[0] == '\0';
}

static bool data_is_incomplete(struct node *n)
{
    return n->status.data == DATA_INCOMPLETE;
}

static bool exists_beside(const struct node *n, const char *what)
{
    char path[PATH_MAX];

    pg_file_beside(n->data_dir, what, path, sizeof(path));
    return access(path, F_OK) == 0;
}

static void mark(struct node *n)
{
    reset_done();
    pg_mark_incomplete(n->pg, true, "clone from p", on_done, NULL);
    wait_done(n);
    wait_for(n, data_is_incomplete);
}

static void a_data_directory_is_made_with_what_it_is_in(void **state)
{
    struct node *n = node_new("package/without/cluster");

    (void)state;
    mark(n);
    node_free(n);
}

/* A clone was cut off in its copy; then somebody made a database by hand. */
static void what_is_put_beside_an_old_mark_is_not_ours_to_empty(void **state)
{
    struct node *n = node_new("restored");
    const char *argv[] = {"initdb", "-D", n->data_dir, "-U", "postgres", "-N", "-A", "trust", NULL};
    const char *const clear[] = {"/bin/sh", "-c", "rm -rf \"$1\"/*", "sh", n->data_dir, NULL};

    (void)state;
    mark(n);
    write_file(pg_making_dir(n->pg), "PG_VERSION");
    wait_for(n, data_is_incomplete);
    run_child(n, clear);
    wait_for(n, data_is_empty);
    run_child(n, argv);
    wait_for(n, data_is_valid);
    assert_true(exists_beside(n, "incomplete"));
    start(n, &as_primary);
    assert_false(exists_beside(n, "incomplete"));
    assert_true(exists_beside(n, "incomplete.old"));
    node_free(n);
}

/* What changes data in place may remove the token; a restore makes new files. */
static void a_mark_without_its_token_holds_for_the_files_it_was_made_for(void **state)
{
    struct node *n = node_new("rewound");
    const char *argv[] = {"initdb", "-D", n->data_dir, "-U", "postgres", "-N", "-A", "trust", NULL};
    const char *const renew[] = {
        "/bin/sh", "-c",        "cd \"$1\"/global && cp pg_control new && mv new pg_control",
        "sh",      n->data_dir, NULL};

    (void)state;
    run_child(n, argv);
    mark(n);
    assert_int_equal(rmdir(pg_making_dir(n->pg)), 0);
    wait_for(n, data_is_incomplete);
    run_child(n, renew);
    wait_for(n, data_is_valid);
    node_free(n);
}

static void keep(struct node *n, bool for_rewind)
{
    const struct pg_keep what = {.store = &test_store, .for_rewind = for_rewind};

    reset_done();
    pg_keep_diverged(n->pg, &what, on_done, NULL);
    wait_done(n);
}

static size_t n_kept_with(struct node *n, const char *pattern)
{
    char path[PATH_MAX];
    glob_t found = {0};
    size_t count;

    assert_true(snprintf(path, sizeof(path), "%s.diverged/*/%s", n->data_dir, pattern) > 0);
    (void)glob(path, 0, NULL, &found);
    count = found.gl_pathc;
    globfree(&found);
    return count;
}

static bool loss_was_looked_for(struct node *n)
{
    return !n->pg->loss_busy;
}

/* The cluster went on from timeline 1, to 2; this one has a segment more of 1. */
static void what_is_kept_is_no_loss_before_it_is_given_up(void **state)
{
    struct node *n = node_new("kept");
    const char *argv[] = {"initdb", "-D", n->data_dir, "-U", "postgres", "-N", "-A", "trust", NULL};
    const char *const wait_for_archive[] = {
        "/bin/sh", "-c",        "touch \"$1\"/pg_wal/archive_status/000000010000000000000001.ready",
        "sh",      n->data_dir, NULL};
    const char *const archive[] = {
        "/bin/sh", "-c",        "rm \"$1\"/pg_wal/archive_status/000000010000000000000001.ready",
        "sh",      n->data_dir, NULL};

    (void)state;
    run_child(n, argv);
    run_child(n, wait_for_archive);
    keep(n, true); /* When nobody had told where the cluster left it. */
    assert_true(pg_kept(n->pg)->from == 0);
    test_store.line = (struct store_line){.timeline = 2, .parent = 1, .lsn = 0x1000100};
    keep(n, true);
    assert_int_equal(n_kept_with(n, "RECORD"), 1); /* It is kept anew. */
    assert_true(pg_kept(n->pg)->from == 0x1000100);
    assert_true(pg_kept(n->pg)->to > 0x1000100);
    assert_true(pg_kept(n->pg)->bytes == pg_kept(n->pg)->to - 0x1000100);
    assert_int_equal(pg_kept(n->pg)->n_waiting, 1);
    assert_int_equal(n_kept_with(n, "000000010000000000000001"), 1);
    assert_int_equal(n_kept_with(n, "000000010000000000000001.ready"), 1);

    refresh(n);
    assert_int_equal(n->view.loss.timeline, 0); /* Nothing has gone yet. */
    pg_loss_recall(n->pg, 0); /* Nor for an agent after this one: the data is whole. */
    wait_for(n, loss_was_looked_for);
    assert_int_equal(n->view.loss.timeline, 0);

    run_child(n, archive);
    keep(n, true); /* The next try. */
    assert_int_equal(n_kept_with(n, "RECORD"), 1);
    assert_int_equal(n_kept_with(n, "*.ready"), 0);
    pg_loss_given_up(n->pg);
    refresh(n);
    assert_int_equal(n->view.loss.timeline, 1);
    assert_true(n->view.loss.from == 0x1000100);
    pg_loss_told(n->pg);
    wait_for(n, loss_was_looked_for);
    assert_int_equal(n->view.loss.timeline, 0);
    pg_loss_given_up(n->pg); /* A bootstrap, later. */
    refresh(n);
    assert_int_equal(n->view.loss.timeline, 0);
    memset(&test_store.line, 0, sizeof(test_store.line));
    node_free(n);
}

/* What psql prints; runs no loop of ours. */
static long ask_number(const struct node *n, const char *sql)
{
    char command[512], line[64] = "";
    FILE *pipe;

    (void)snprintf(command, sizeof(command),
                   "%s/psql -XAtq -h 127.0.0.1 -p %u -U postgres -c \"%s\"", pg_bin_dir(), n->port,
                   sql);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    (void)fgets(line, sizeof(line), pipe);
    (void)pclose(pipe);
    return strtol(line, NULL, 10);
}

static pid_t busy_pid;

static bool a_backend_is_busy(struct node *n)
{
    busy_pid = (pid_t)ask_number(n, "SELECT pid FROM pg_stat_activity WHERE query LIKE 'DO %'");
    return busy_pid > 1;
}

/* The others notice that their postmaster died; but for the collector of logs, which goes
 * on for as long as somebody may write to it. */
static bool the_busy_one_is_left(struct node *n)
{
    return pg_kill_count(n->pg) <= 2;
}

/* SIGKILL of the postmaster with a backend that is busy and does not look. */
static void backends_left_over_are_found_and_killed(void **state)
{
    struct node *n = node_running("busy");
    static const char *const sql =
        "DO $$ DECLARE i bigint := 0; BEGIN LOOP i := i + 1; END LOOP; END $$";
    uint64_t killed_ms;

    (void)state;
    reset_done();
    pg_execute(n->pg, sql, LIMIT_MS, on_done, NULL);
    wait_for(n, a_backend_is_busy);

    killed_ms = clock_ms();
    assert_int_equal(pg_process_signal(n->pg->postmaster.pidfd, SIGKILL), 0);
    wait_for(n, has_ended);
    assert_int_equal(n->status.pg_state, PG_STATE_CRASHED);
    assert_int_equal(n->status.pg_role, PG_ROLE_PRIMARY);
    assert_false(n->status.clean_shutdown);
    assert_true(n->view.gone_ms >= killed_ms);
    assert_true(n->view.n_processes > 0);
    wait_for(n, the_busy_one_is_left);
    assert_true(pg_process_is_of(busy_pid, n->data_dir));
    assert_false(pg_is_down(n->pg));
    assert_true(n->pg->disk.n_processes >= 1);

    (void)pg_kill_all(n->pg);
    wait_for(n, is_down);
    wait_for(n, was_called);
    assert_int_equal(last_done.status, -1);

    start(n, &as_primary);
    assert_int_equal(n->status.pg_role, PG_ROLE_PRIMARY);
    node_free(n);
}

/* As from another mount namespace, where the same directory has another path. */
static void processes_are_found_by_the_directory_whatever_its_path(void **state)
{
    struct node *n = node_running("paths");
    char other[PATH_MAX];
    pid_t pids[64];

    (void)state;
    snprintf(other, sizeof(other), "%s/another-path", base_dir);
    assert_int_equal(symlink(n->data_dir, other), 0);

    assert_true(pg_process_is_of(n->pg->postmaster.pid, other));
    assert_true(pg_processes_find(other, pids, 64) > 1);
    assert_false(pg_process_is_of(n->pg->postmaster.pid, base_dir));

    assert_int_equal(unlink(other), 0);
    node_free(n);
}

static void a_second_agent_adopts_and_stops(void **state)
{
    struct node *n = node_running("adopt");
    pid_t pid = n->pg->postmaster.pid;

    (void)state;
    close_pg(n);
    n->pg = new_pg(n);
    refresh(n);
    assert_int_equal(n->status.pg_state, PG_STATE_UNKNOWN);
    pg_loss_recall(n->pg, 0); /* No observation: the postmaster would be no one's. */
    while (n->pg->loss_busy) {
        (void)uv_run(n->loop, UV_RUN_ONCE);
    }
    refresh(n);
    assert_int_equal(n->status.pg_state, PG_STATE_UNKNOWN);
    pg_observe(n->pg, clock_ms());
    wait_for(n, is_running);
    assert_int_equal(n->pg->postmaster.pid, pid);
    assert_int_equal(n->status.pg_role, PG_ROLE_PRIMARY);
    assert_false(n->pg->postmaster.is_child);

    pg_signal_stop(n->pg, PG_STOP_KILL);
    wait_for(n, is_down);
    assert_false(n->status.clean_shutdown);
    /* The second did not wait for a child of the first: a zombie with the number in
     * the lock file it left behind. It must not be in the way. */
    assert_true(pg_process_is_zombie(pid));
    assert_true(exists(n->data_dir, "postmaster.pid"));
    start(n, &as_primary);
    assert_int_not_equal(n->pg->postmaster.pid, pid);
    node_free(n);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static bool start_has_failed(struct node *n)
{
    return n->status.pg_state == PG_STATE_START_FAILED && n->status.problem[0] != '\0';
}

static void a_failed_start_says_why(void **state)
{
    struct node *n = node_new("fail");

    (void)state;
    initdb(n);
    kv_set(&n->parameters, "shared_preload_libraries", "no_such_library");
    close_pg(n);
    n->pg = new_pg(n);
    write_conf(n, &as_primary);
    reset_done();
    pg_start_server(n->pg, &as_primary, on_done, NULL);
    wait_done(n);
    wait_for(n, start_has_failed);
    assert_non_null(strstr(n->status.problem, "no_such_library"));
    node_free(n);
}

static void a_stale_lock_file_is_no_obstacle(void **state)
{
    struct node *n = node_new("stale");
    char path[256];
    FILE *file;

    (void)state;
    initdb(n);
    snprintf(path, sizeof(path), "%s/postmaster.pid", n->data_dir);
    file = fopen(path, "w");
    fprintf(file, "%d\n%s\n1\n%u\n/tmp\n127.0.0.1\n", (int)getppid(), n->data_dir, n->port);
    fclose(file); /* A living process that is no PostgreSQL. */
    pg_observe(n->pg, clock_ms());
    start(n, &as_primary);
    node_free(n);
}

/* Killed between creating and writing it, PostgreSQL leaves one that it never starts
 * beside again. */
static void an_empty_lock_file_is_no_obstacle(void **state)
{
    struct timespec long_ago[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    struct stat st;
    struct node *n = node_new("empty");
    char path[256], beside[64];

    (void)state;
    initdb(n);
    write_file(n->data_dir, "postmaster.pid");
    snprintf(beside, sizeof(beside), ".s.PGSQL.%u.lock", n->port);
    write_file("/tmp", beside);
    snprintf(path, sizeof(path), "/tmp/%s", beside);
    assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
    pg_observe(n->pg, clock_ms());
    start(n, &as_primary);
    assert_true(stat(path, &st) != 0 || st.st_size > 0);
    node_free(n);
}

static struct positions last_positions;

static void on_positions(void *data, const struct positions *positions)
{
    (void)data;
    last_positions = *positions;
    last_done.called = true;
}

static void add_member(const struct node *n)
{
    struct store_member *m = &test_store.members[test_store.n_members++];

    (void)str_copy(m->name, sizeof(m->name), n->name);
    (void)str_copy(m->pg_host, sizeof(m->pg_host), "127.0.0.1");
    m->pg_port = n->port;
    m->mode = MODE_POSTGRES;
}

static struct view test_view; /* Of the agent, as far as slots are concerned. */

static void sync_slots(struct node *n, bool paused)
{
    test_view.store = &test_store;
    test_view.now_ms = clock_ms();
    test_view.conf.ttl_ms = 3000;
    test_view.conf.member_slots_ttl_ms = HOURS(1);
    test_view.conf.pause = paused;
    test_view.self.status = n->status;
    pg_sync_slots(n->pg, &test_view);
}

static bool has_slot(struct node *n)
{
    sync_slots(n, false);
    return n->pg->row.n_slots == 1;
}

static bool has_no_slot(struct node *n)
{
    sync_slots(n, false);
    return n->pg->row.n_slots == 0;
}

static uint64_t round_to_come;

static bool was_seen_paused(struct node *n)
{
    sync_slots(n, true);
    return n->pg->round >= round_to_come && n->pg->slots.runs[PG_SLOTS_PHYSICAL] == NULL &&
           !n->pg->observing;
}

static void a_slot_of_an_absent_member_stays_while_paused(void **state)
{
    struct node *n = node_running("slots");

    (void)state;
    test_store.n_members = 1;
    (void)str_copy(test_store.members[0].name, NAME_SIZE, "gone");
    test_store.members[0].mode = MODE_POSTGRES;
    wait_for(n, has_slot);
    test_store.n_members = 0;
    round_to_come = n->pg->round + 4; /* It was looked at, acted on, and looked at again. */
    wait_for(n, was_seen_paused);
    assert_int_equal(n->pg->row.n_slots, 1);

    wait_for(n, has_no_slot); /* Resumed. */
    stop_fast(n);
    node_free(n);
}

static bool checkpoint_is_due(struct node *n)
{
    return n->view.promoted_checkpoint_due || n->view.min_timeline == 3;
}

static bool checkpoint_is_done(struct node *n)
{
    return is_primary(n) && !n->view.promoted_checkpoint_due && n->view.min_timeline == 3;
}

static bool history_is_due(struct node *n)
{
    return n->view.history_due;
}

static void clone_node(struct node *from, struct node *to)
{
    struct upstream upstream = {.host = "127.0.0.1", .port = from->port};
    char conninfo[1024];
    const char *argv[] = {"pg_basebackup", "-D",        NULL, "-X",     "stream", "-c",
                          "fast",          "--no-sync", "-d", conninfo, NULL};

    (void)str_copy(upstream.name, sizeof(upstream.name), from->name);
    (void)pg_conninfo(to->pg, &upstream, conninfo, sizeof(conninfo));
    reset_done();
    pg_mark_incomplete(to->pg, true, "clone", on_done, NULL);
    wait_done(to);
    refresh(to);
    assert_int_equal(to->status.data, DATA_INCOMPLETE);
    reset_done();
    pg_remove_data(to->pg, on_done, NULL);
    wait_done(to);
    argv[2] = pg_making_dir(to->pg);
    run_child(to, argv);
    reset_done();
    pg_settle(to->pg, on_done, NULL);
    wait_done(to);
    refresh(to);
    assert_int_equal(to->status.data, DATA_INCOMPLETE);
    reset_done();
    pg_mark_incomplete(to->pg, false, NULL, on_done, NULL);
    wait_done(to);
    refresh(to);
    assert_int_equal(to->status.data, DATA_VALID);
}

static void check_standby(struct node *standby, const struct node *primary)
{
    assert_string_equal(standby->view.upstream, primary->name);
    assert_true(standby->status.received > 0 && standby->status.flushed > 0);
    assert_true(standby->status.sysid == primary->status.sysid);
    assert_int_equal(standby->status.timeline, 1);
    assert_false(standby->view.was_primary);
}

/* The session that tells from whom may hear of a reload later than the receiver. */
static bool streams_from_somebody(struct node *n)
{
    return is_streaming(n) && n->view.upstream[0] != '\0';
}

static bool follows_nobody(struct node *n)
{
    return is_running(n) && !n->status.streaming && n->view.upstream[0] == '\0';
}

static bool is_on_timeline_3(struct node *n)
{
    return n->status.timeline == 3;
}

static void a_clone_streams_and_is_promoted(void **state)
{
    struct node *p = node_running("p-1"), *s = node_new("S.2");
    struct pg_start how = {.as_standby = true, .upstream = {.host = "127.0.0.1", .port = p->port}};
    uint64_t begin_ms;

    (void)state;
    (void)str_copy(how.upstream.name, sizeof(how.upstream.name), p->name);
    add_member(p);
    add_member(s);
    execute(p, "CREATE ROLE replicator LOGIN REPLICATION");
    wait_for(p, has_slot);
    assert_string_equal(p->pg->row.slots[0].spec.name, "s_2");
    clone_node(p, s);
    start(s, &how);
    wait_for(s, streams_from_somebody);
    check_standby(s, p);
    wait_for(s, has_slot);
    wait_for(p, is_primary);
    check_control(s, "in archive recovery");

    /* Follows nobody for a while, without a restart. */
    write_conf(s, &(struct pg_start){.as_standby = true});
    pg_reload(s->pg);
    wait_for(s, follows_nobody);
    write_conf(s, &how);
    pg_reload(s->pg);
    wait_for(s, streams_from_somebody);
    check_standby(s, p);

    reset_done();
    pg_read_positions(s->pg, 7, on_positions, NULL);
    wait_for(s, was_called);
    assert_true(last_positions.valid && !last_positions.is_primary);
    assert_int_equal(last_positions.epoch, 7);
    assert_true(last_positions.flushed > 0 && last_positions.timeline == 1);

    stop_fast(p);
    reset_done();
    pg_read_positions(s->pg, 8, on_positions, NULL);
    wait_for(s, was_called);
    /* The standby has the whole shutdown checkpoint. */
    assert_true(last_positions.flushed >= p->view.control_lsn);
    assert_true(last_positions.flushed < p->view.control_lsn + 64);
    begin_ms = clock_ms();
    reset_done();
    pg_promote(s->pg, 3, on_done, NULL); /* 2 is left out. */
    wait_done(s);
    print_message("promoted in %llu ms\n", (unsigned long long)(clock_ms() - begin_ms));
    refresh(s);
    assert_int_equal(s->status.pg_role, PG_ROLE_PRIMARY);
    assert_int_equal(s->status.timeline, 3);
    wait_for(s, checkpoint_is_due);
    execute(s, "CHECKPOINT");
    wait_for(s, checkpoint_is_done);
    wait_for(s, history_is_due);
    assert_int_equal(s->view.history.timeline, 1);
    assert_true(s->view.history.lsn > 0);
    assert_string_equal(s->view.history.new_primary, "S.2");

    /* The former primary streams across the number that was left out. */
    how.upstream = (struct upstream){.host = "127.0.0.1", .port = s->port};
    (void)str_copy(how.upstream.name, sizeof(how.upstream.name), s->name);
    start(p, &how);
    wait_for(p, is_streaming);
    wait_for(p, is_on_timeline_3);
    stop_fast(p);
    stop_fast(s);
    assert_int_equal(s->status.timeline, 3);
    start(p, &(struct pg_start){.as_standby = true}); /* With what it fetched. */
    stop_fast(p);
    node_free(p);
    node_free(s);
}

static bool child_has_begun(struct node *n)
{
    return exists(base_dir, n->name);
}

static pid_t sleeper;

static bool sleeper_has_ended(struct node *n)
{
    (void)n;
    return kill(sleeper, 0) != 0 || pg_process_is_zombie(sleeper);
}

static void a_child_is_killed_with_all_it_started(void **state)
{
    struct node *n = node_new("child");
    char begun[128];
    const char *argv[] = {"/bin/sh", "-c",  "echo begin; sleep 1000 & echo $!; touch $1; wait",
                          "sh",      begun, NULL};
    struct err err = {0};
    struct pg_child *child;

    (void)state;
    snprintf(begun, sizeof(begun), "%s/%s", base_dir, n->name);
    reset_done();
    child = pg_child_start(n->pg, argv, NULL, on_done, NULL, &err);
    assert_non_null(child);
    wait_for(n, child_has_begun);
    pg_child_kill(child);
    wait_for(n, was_called);
    assert_int_equal(last_done.status, -1);
    assert_non_null(strstr(last_done.problem, "sh was stopped: begin; "));
    sleeper = (pid_t)strtol(strstr(last_done.problem, "begin; ") + 7, NULL, 10);
    assert_true(sleeper > 1);
    wait_for(n, sleeper_has_ended);
    assert_null(pg_child_start(n->pg, (const char *[]){"no-such-program", NULL}, NULL, on_done,
                               NULL, &err));
    assert_non_null(strstr(err.text, "no-such-program"));
    node_free(n);
}

static struct pg_child *copier;

static bool has_copied(struct node *n)
{
    unsigned percent;
    double rate;

    (void)n;
    return pg_child_copied(copier, &percent, &rate) && percent == 50 && rate > 0;
}

/* As pg_basebackup writes where no terminal is: its last words are something else. */
static void a_copy_tells_how_far_it_is(void **state)
{
    static const char script[] = "echo begin; printf '   0/2048 kB (0%%), 0/1 tablespace\\r'\n"
                                 "while [ ! -e \"$1\" ]; do sleep 0.01\n"
                                 "printf '1024/2048 kB (50%%), 0/1 tablespace\\n'; done\n"
                                 "echo '3/4 kB (75%) copied'; exit 3";
    struct node *n = node_new("copier");
    char path[128];
    const char *argv[] = {"/bin/sh", "-c", script, "sh", path, NULL};
    struct err err = {0};
    unsigned percent;
    double rate;
    int fd;

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/%s", base_dir, n->name);
    reset_done();
    copier = pg_child_start(n->pg, argv, NULL, on_done, NULL, &err);
    assert_non_null(copier);
    assert_false(pg_child_copied(copier, &percent, &rate));
    wait_for(n, has_copied);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    wait_for(n, was_called);
    assert_non_null(strstr(last_done.problem, "begin; 3/4 kB (75%) copied"));
    node_free(n);
}

static void what_is_no_database_is_not_touched(void **state)
{
    struct node *n = node_new("foreign");
    char path[256];
    FILE *file;

    (void)state;
    mkdir(n->data_dir, 0700);
    snprintf(path, sizeof(path), "%s/letter.txt", n->data_dir);
    file = fopen(path, "w");
    fclose(file);
    pg_observe(n->pg, clock_ms());
    wait_for(n, has_looked);
    assert_int_equal(n->status.data, DATA_FOREIGN);
    reset_done();
    pg_remove_data(n->pg, on_done, NULL);
    wait_for(n, was_called);
    assert_int_equal(last_done.status, -1);
    assert_int_equal(access(path, F_OK), 0);
    node_free(n);
}

/* A fence that comes between the order to start and the fork. */
static void a_stop_calls_off_a_start_under_way(void **state)
{
    struct node *n = node_new("fence");

    (void)state;
    initdb(n);
    write_conf(n, &as_primary);
    reset_done();
    pg_start_server(n->pg, &as_primary, on_done, NULL);
    (void)pg_kill_all(n->pg);
    wait_for(n, was_called);
    assert_int_equal(last_done.status, -1);
    assert_true(pg_is_down(n->pg));
    node_free(n);
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_database_is_made_started_seen_and_stopped),
        cmocka_unit_test(a_bad_statement_and_a_stopped_server_are_told_apart),
        cmocka_unit_test(changes_take_effect_and_what_waits_for_a_restart_shows),
        cmocka_unit_test(what_was_changed_behind_our_back_shows),
        cmocka_unit_test(the_same_text_is_not_read_again),
        cmocka_unit_test(what_this_version_does_not_take_is_left_out),
        cmocka_unit_test(the_files_are_of_the_role_that_runs),
        cmocka_unit_test(a_wrong_password_is_no_outage),
        cmocka_unit_test(removal_follows_the_links_of_postgresql_and_no_others),
        cmocka_unit_test(a_data_directory_is_made_with_what_it_is_in),
        cmocka_unit_test(what_is_put_beside_an_old_mark_is_not_ours_to_empty),
        cmocka_unit_test(a_mark_without_its_token_holds_for_the_files_it_was_made_for),
        cmocka_unit_test(what_is_kept_is_no_loss_before_it_is_given_up),
        cmocka_unit_test(backends_left_over_are_found_and_killed),
        cmocka_unit_test(processes_are_found_by_the_directory_whatever_its_path),
        cmocka_unit_test(a_second_agent_adopts_and_stops),
        cmocka_unit_test(a_failed_start_says_why),
        cmocka_unit_test(a_stale_lock_file_is_no_obstacle),
        cmocka_unit_test(an_empty_lock_file_is_no_obstacle),
        cmocka_unit_test(a_slot_of_an_absent_member_stays_while_paused),
        cmocka_unit_test(a_clone_streams_and_is_promoted),
        cmocka_unit_test(a_child_is_killed_with_all_it_started),
        cmocka_unit_test(a_copy_tells_how_far_it_is),
        cmocka_unit_test(what_is_no_database_is_not_touched),
        cmocka_unit_test(a_stop_calls_off_a_start_under_way),
    };

    log_init("test", getenv("TEST_LOG") != NULL ? LOG_DEBUG : LOG_ERROR);
    store_init(&test_store);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    own_shared_memory();
    return run_with_servers(base_dir, run_all);
}
