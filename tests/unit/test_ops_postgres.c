/*
 * Sequences on real PostgreSQL: two nodes on one loop, without agents. What the
 * agent would decide, the test says.
 *
 * PostgreSQL refuses to run as root: then everything runs in a child that has
 * become the user postgres. All files are below one directory of ours; at the
 * end whatever process works in it is killed, and it is removed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "ops/ops_internal.h"

#ifndef PG_BIN_DIR
#define PG_BIN_DIR "/usr/lib/postgresql/15/bin"
#endif

#define SUPER_PASSWORD "s3cret '\\ $veche$ word"
#define REPL_PASSWORD  "r3pl:\\'x"

static char root_dir[] = "/tmp/veche-ops-XXXXXX";

struct node {
    char name[NAME_SIZE];
    char dir[PATH_MAX], data[PATH_MAX], pgpass[PATH_MAX], sockets[PATH_MAX];
    uint16_t port;
    struct kv_list parameters, initdb, users, basebackup, hba;
    struct pg_options options;
    struct pg *pg;
    struct ops *ops;
    struct store *store;
    struct status status;
    struct view_pg view;
    bool closed;
};

struct world {
    uv_loop_t loop;
    uv_timer_t timer;
    struct store store;
    struct node a, b;
};

static struct world *w;

/* ---- The world ---- */

static uint16_t free_port(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &size), 0);
    (void)close(fd);
    return ntohs(sa.sin_port);
}

static void nothing(void *data)
{
    (void)data;
}

static void make_ops(struct node *n, const char *script)
{
    if (n->ops != NULL) {
        ops_free(n->ops);
    }
    n->ops = ops_new(&(struct ops_options){.pg = n->pg,
                                           .store = n->store,
                                           .initdb = &n->initdb,
                                           .users = &n->users,
                                           .post_bootstrap = script,
                                           .basebackup = &n->basebackup,
                                           .ttl_ms = 3000,
                                           .on_change = nothing,
                                           .data = NULL});
}

static void fill_options(struct node *n)
{
    n->options = (struct pg_options){.loop = &w->loop,
                                     .name = n->name,
                                     .scope = "test",
                                     .data_dir = n->data,
                                     .config_dir = n->data,
                                     .bin_dir = PG_BIN_DIR,
                                     .listen_addresses = "127.0.0.1",
                                     .port = n->port,
                                     .connect_host = "127.0.0.1",
                                     .database = "postgres",
                                     .pgpass = n->pgpass,
                                     .superuser = {.user = "ad\"min", .password = SUPER_PASSWORD},
                                     .replication = {.user = "repl", .password = REPL_PASSWORD},
                                     .rewind = {.user = "rewinder", .password = "rw"},
                                     .parameters = &n->parameters,
                                     .hba = &n->hba,
                                     .config_base_name = "postgresql",
                                     .use_slots = true,
                                     .ttl_ms = 3000,
                                     .on_change = nothing};
}

static void node_init(struct node *n, const char *name, size_t index)
{
    struct store_member *m = &w->store.members[index];

    n->store = &w->store;
    n->port = free_port();
    (void)snprintf(n->name, sizeof(n->name), "%s", name);
    (void)snprintf(n->dir, sizeof(n->dir), "%s/%s", root_dir, name);
    (void)snprintf(n->data, sizeof(n->data), "%.2000s/data", n->dir);
    (void)snprintf(n->pgpass, sizeof(n->pgpass), "%.2000s/pgpass", n->dir);
    assert_int_equal(mkdir(n->dir, 0700), 0);
    kv_add(&n->parameters, "unix_socket_directories", n->dir);
    kv_add(&n->parameters, "log_statement", "all");
    kv_add(&n->parameters, "fsync", "off");
    kv_add(&n->parameters, "shared_buffers", "16MB");
    kv_add(&n->parameters, "wal_keep_size", "64MB");
    kv_add(&n->initdb, "encoding=UTF8", NULL);
    kv_add(&n->initdb, "locale", "C");
    kv_add(&n->initdb, "data-checksums", NULL);
    fill_options(n);
    n->pg = pg_new(&n->options);
    make_ops(n, NULL);
    (void)str_copy(m->name, sizeof(m->name), name);
    m->id = index + 1;
    (void)str_copy(m->pg_host, sizeof(m->pg_host), "127.0.0.1");
    m->pg_port = n->port;
    w->store.n_members = MAX(w->store.n_members, (uint32_t)index + 1);
}

static void on_timer(uv_timer_t *timer)
{
    (void)timer;
}

static void look(struct node *n)
{
    pg_observe(n->pg, clock_ms());
    pg_fill(n->pg, n->store, &n->status, &n->view);
}

static void turn(void)
{
    (void)uv_run(&w->loop, UV_RUN_ONCE);
    (void)ops_tick(w->a.ops, clock_ms());
    (void)ops_tick(w->b.ops, clock_ms());
    look(&w->a);
    look(&w->b);
}

static void decide_on(struct node *n, enum node_action action, const struct node *upstream)
{
    struct node_decision d = {.action = action, .rule = "test", .why = "the test says so"};

    if (upstream != NULL) {
        (void)str_copy(d.upstream.name, sizeof(d.upstream.name), upstream->name);
        (void)str_copy(d.upstream.host, sizeof(d.upstream.host), "127.0.0.1");
        d.upstream.port = upstream->port;
    }
    ops_reconcile(n->ops, &d, clock_ms());
}

static void wait_idle(struct node *n)
{
    uint64_t until_ms = clock_ms() + SECONDS(60);

    while (!ops_is_idle(n->ops)) {
        assert_true(clock_ms() < until_ms);
        turn();
    }
}

static void wait_role(struct node *n, enum pg_role role)
{
    uint64_t until_ms = clock_ms() + SECONDS(30);

    while (n->status.pg_state != PG_STATE_RUNNING || n->status.pg_role != role) {
        assert_true(clock_ms() < until_ms);
        turn();
    }
}

static void wait_data(struct node *n, enum data_state data)
{
    uint64_t until_ms = clock_ms() + SECONDS(30);

    while (n->status.data != data) {
        assert_true(clock_ms() < until_ms);
        turn();
    }
}

static struct view_op see(const struct node *n)
{
    struct view_op v;

    ops_fill(n->ops, &v);
    return v;
}

/* Does it, and it works. */
static void act(struct node *n, enum node_action action, const struct node *upstream)
{
    struct view_op v;

    decide_on(n, action, upstream);
    wait_idle(n);
    v = see(n);
    assert_string_equal(v.problem, "");
    assert_false(v.last_failed);
}

static int setup(void **state)
{
    (void)state;
    w = xmalloc(sizeof(*w));
    store_init(&w->store);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(uv_timer_init(&w->loop, &w->timer), 0);
    assert_int_equal(uv_timer_start(&w->timer, on_timer, 5, 5), 0);
    node_init(&w->a, "a-1", 0);
    node_init(&w->b, "b-1", 1);
    wait_data(&w->a, DATA_EMPTY);
    wait_data(&w->b, DATA_EMPTY);
    return 0;
}

static void on_closed(void *data)
{
    ((struct node *)data)->closed = true;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void node_deinit(struct node *n)
{
    ops_cancel(n->ops, clock_ms());
    wait_idle(n);
    decide_on(n, ACTION_FENCE, NULL);
    wait_idle(n);
    assert_true(pg_is_down(n->pg));
    ops_free(n->ops);
    n->ops = NULL;
    pg_close(n->pg, on_closed, n);
    while (!n->closed) {
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    }
    kv_deinit(&n->parameters);
    kv_deinit(&n->initdb);
    kv_deinit(&n->users);
    kv_deinit(&n->basebackup);
    kv_deinit(&n->hba);
    (void)nftw(n->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static int teardown(void **state)
{
    struct ops *b_ops;

    (void)state;
    node_deinit(&w->b);
    b_ops = w->b.ops;
    assert_null(b_ops);
    w->b = w->a; /* turn() looks at two. */
    node_deinit(&w->a);
    uv_close((uv_handle_t *)&w->timer, NULL);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    free(w);
    return 0;
}

/* ---- Clients ---- */

/* Runs psql; its output, without the last newline, is valid until the next call. */
static const char *query(const struct node *n, const char *user, const char *password,
                         const char *sql)
{
    static char text[4096];
    char command[4096];
    size_t length;
    FILE *f;

    assert_int_equal(setenv("PGPASSWORD", password, 1), 0);
    (void)snprintf(command, sizeof(command),
                   PG_BIN_DIR "/psql -XAtq -h 127.0.0.1 -p %u -U '%s' -d postgres -c \"%s\" 2>&1",
                   n->port, user, sql);
    f = popen(command, "r");
    assert_non_null(f);
    length = fread(text, 1, sizeof(text) - 1, f);
    (void)pclose(f);
    text[length] = '\0';
    if (length > 0 && text[length - 1] == '\n') {
        text[length - 1] = '\0';
    }
    return text;
}

static const char *ask(const struct node *n, const char *sql)
{
    return query(n, "ad\"min", SUPER_PASSWORD, sql);
}

static void wait_answer(const struct node *n, const char *sql, const char *answer)
{
    uint64_t until_ms = clock_ms() + SECONDS(20);

    while (!str_equal(ask(n, sql), answer)) {
        assert_true(clock_ms() < until_ms);
        turn();
    }
}

static bool file_has(const char *path, const char *word)
{
    char line[8192];
    bool found = false;
    FILE *f = fopen(path, "r");

    while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL) {
        found = strstr(line, word) != NULL;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return found;
}

static bool exists(const struct node *n, const char *suffix)
{
    char path[PATH_MAX + 64];

    (void)snprintf(path, sizeof(path), "%s%s", n->data, suffix);
    return access(path, F_OK) == 0;
}

/* A client that writes until it is cut off. */
static pid_t start_writer(const struct node *n)
{
    char port[16];
    pid_t pid;

    assert_int_equal(setenv("PGPASSWORD", SUPER_PASSWORD, 1), 0);
    (void)snprintf(port, sizeof(port), "%u", n->port);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)freopen("/dev/null", "w", stdout);
        (void)freopen("/dev/null", "w", stderr);
        (void)execl(PG_BIN_DIR "/psql", "psql", "-Xq", "-h", "127.0.0.1", "-p", port, "-U",
                    "ad\"min", "-d", "postgres", "-c",
                    "DO $$ BEGIN LOOP INSERT INTO t VALUES (1); COMMIT; END LOOP; END $$",
                    (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void end_writer(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

/* ---- Tests ---- */

static void a_bootstrap_makes_a_database_and_hides_its_secrets(void **state)
{
    struct node *a = &w->a;
    char path[PATH_MAX + 64];

    (void)state;
    kv_add(&a->users, "o'wner", "pa$$word\tcreatedb,createrole");
    kv_add(&a->users, "nologin", "\tNOLOGIN");
    make_ops(a, PG_BIN_DIR "/psql -Xq -c 'CREATE TABLE made_by_script ()' -d");
    act(a, ACTION_BOOTSTRAP, NULL);
    wait_role(a, PG_ROLE_PRIMARY);
    wait_data(a, DATA_VALID);

    assert_string_equal(ask(a, "SELECT count(*) FROM made_by_script"), "0");
    assert_string_equal(query(a, "o'\\''wner", "pa$$word", "SELECT session_user"), "o'wner");
    assert_string_equal(
        ask(a, "SELECT rolcreatedb, rolcreaterole, rolsuper FROM pg_roles WHERE rolname ~ 'wner'"),
        "t|t|f");
    assert_string_equal(ask(a, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'nologin'"), "f");
    assert_string_equal(ask(a, "SELECT count(*) FROM pg_authid WHERE rolpassword LIKE 'SCRAM-%'"),
                        "4");
    assert_string_equal(query(a, "repl", REPL_PASSWORD,
                              "SELECT rolreplication FROM pg_roles "
                              "WHERE rolname = current_user"),
                        "t");
    assert_true(str_starts_with(
        query(a, "rewinder", "rw", "SELECT count(pg_ls_dir('.', true, false)) > 5"), "t"));
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
    while (!a->status.clean_shutdown) {
        turn();
    }
    act(a, ACTION_STOP, NULL); /* Of what is down: nothing to do. */
    act(a, ACTION_START_PRIMARY, NULL);
    wait_role(a, PG_ROLE_PRIMARY);

    assert_string_equal(ask(a, "SELECT i FROM t"), "1");
}

static void a_start_that_fails_says_what_postgres_said(void **state)
{
    struct node *a = &w->a;
    uint64_t retry_ms;

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    act(a, ACTION_STOP, NULL);
    kv_set(&a->parameters, "shared_buffers", "17 elephants");
    pg_set_options(a->pg, &a->options);
    decide_on(a, ACTION_START_PRIMARY, NULL);
    wait_idle(a);
    assert_true(see(a).last_failed);
    assert_non_null(strstr(see(a).problem, "shared_buffers"));
    retry_ms = see(a).retry_ms;
    assert_true(retry_ms > clock_ms());
    kv_set(&a->parameters, "shared_buffers", "16MB");
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

static void a_paused_and_blocked_replay_does_not_stop_a_promotion(void **state)
{
    struct node *a = &w->a, *b = &w->b;
    pid_t reader;
    char port[16];

    (void)state;
    start_cluster();
    wait_answer(b, "SELECT count(*) FROM t", "0");
    (void)snprintf(port, sizeof(port), "%u", b->port);
    assert_int_equal(setenv("PGPASSWORD", SUPER_PASSWORD, 1), 0);
    reader = fork();
    if (reader == 0) {
        (void)freopen("/dev/null", "w", stdout);
        (void)execl(PG_BIN_DIR "/psql", "psql", "-Xq", "-h", "127.0.0.1", "-p", port, "-U",
                    "ad\"min", "-d", "postgres", "-c",
                    "BEGIN; SET max_standby_streaming_delay = -1", "-c", "SELECT 1", (char *)NULL);
        _exit(127);
    }
    (void)waitpid(reader, NULL, 0);
    assert_string_equal(ask(b, "SELECT pg_wal_replay_pause()"), "");
    assert_string_equal(ask(a, "INSERT INTO t VALUES (1)"), "");
    while (!b->status.replay_paused) {
        turn();
    }
    act(a, ACTION_STOP, NULL);
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

static void a_clone_that_is_cut_off_is_no_database(void **state)
{
    struct node *a = &w->a, *b = &w->b;

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    kv_add(&b->basebackup, "max-rate", "1M");
    decide_on(b, ACTION_CLONE, a);
    while (!str_equal(see(b).step, "clone: copy") || !exists(b, "/base")) {
        turn();
    }
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
        end_writer(writers[i]);
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
    while (a->view.postmaster_alive) {
        turn();
    }
    assert_true(a->view.n_processes > 0);
    decide_on(a, ACTION_CLEAN_UP, NULL);
    wait_idle(a);
    assert_true(pg_is_down(a->pg));
    end_writer(writer);
    act(a, ACTION_START_PRIMARY, NULL);

    wait_role(a, PG_ROLE_PRIMARY);
}

/*
 * Runs the action, cancels it when the n-th step has been seen, and decides it
 * again. Returns false once there is no n-th step.
 */
static bool run_cut_at(struct node *n, enum node_action action, const struct node *upstream,
                       int n_steps)
{
    char step[NAME_SIZE] = "";

    decide_on(n, action, upstream);
    for (int seen = 0; seen < n_steps && !ops_is_idle(n->ops);) {
        if (!str_equal(see(n).step, step)) {
            (void)str_copy(step, sizeof(step), see(n).step);
            seen++;
        }
        if (seen < n_steps) {
            turn();
        }
    }
    if (ops_is_idle(n->ops)) {
        return false;
    }
    print_message("cut at \"%s\"\n", step);
    ops_cancel(n->ops, clock_ms());
    wait_idle(n);
    return true;
}

static void a_bootstrap_can_be_cut_at_each_step(void **state)
{
    struct node *a = &w->a;
    bool was_cut = true;

    (void)state;
    make_ops(a, "true");
    for (int n = 1; was_cut; n++) {
        assert_true(n < 30);
        was_cut = run_cut_at(a, ACTION_BOOTSTRAP, NULL, n);
        for (int i = 0; i < 100; i++) {
            turn();
        }
        if (a->status.data == DATA_VALID) {
            break; /* Whole. */
        }
        act(a, ACTION_BOOTSTRAP, NULL);
        assert_string_equal(ask(a, "SELECT 1"), "1");
        act(a, ACTION_STOP, NULL);
        (void)nftw(a->data, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        wait_data(a, DATA_EMPTY);
    }
}

static void a_clone_can_be_cut_at_each_step(void **state)
{
    struct node *a = &w->a, *b = &w->b;
    bool was_cut = true;

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    for (int n = 1; was_cut; n++) {
        assert_true(n < 30);
        was_cut = run_cut_at(b, ACTION_CLONE, a, n);
        act(b, ACTION_CLONE, a);
        wait_role(b, PG_ROLE_STANDBY);
    }
}

static void start_and_stop_can_be_cut_at_each_step(void **state)
{
    static const enum node_action starts[] = {ACTION_START_PRIMARY, ACTION_START_STANDBY};
    struct node *a = &w->a;

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    for (size_t i = 0; i < ARRAY_LENGTH(starts); i++) {
        bool was_cut = true;

        for (int n = 1; was_cut; n++) {
            assert_true(n < 30);
            (void)run_cut_at(a, ACTION_STOP, NULL, n);
            act(a, ACTION_STOP, NULL);
            was_cut = run_cut_at(a, starts[i], NULL, n);
            act(a, starts[i], NULL);
            wait_role(a, starts[i] == ACTION_START_PRIMARY ? PG_ROLE_PRIMARY : PG_ROLE_STANDBY);
        }
    }
}

static void a_promotion_can_be_cut_at_each_step(void **state)
{
    struct node *a = &w->a;
    bool was_cut = true;

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    for (int n = 1; was_cut; n++) {
        assert_true(n < 30);
        act(a, ACTION_STOP, NULL);
        act(a, ACTION_START_STANDBY, NULL);
        wait_role(a, PG_ROLE_STANDBY);
        was_cut = run_cut_at(a, ACTION_PROMOTE, NULL, n);
        act(a, ACTION_PROMOTE, NULL);
        wait_role(a, PG_ROLE_PRIMARY);
    }
}

#define on_world(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        on_world(a_bootstrap_makes_a_database_and_hides_its_secrets),
        on_world(a_wrong_option_is_found_before_anything_is_made),
        on_world(a_bootstrap_whose_script_fails_leaves_no_server),
        on_world(stop_is_clean_and_start_brings_it_back),
        on_world(a_start_that_fails_says_what_postgres_said),
        on_world(a_clone_streams_and_can_be_promoted),
        on_world(a_paused_and_blocked_replay_does_not_stop_a_promotion),
        on_world(a_standby_of_nobody_can_be_told_whom_to_follow),
        on_world(a_clone_that_is_cut_off_is_no_database),
        on_world(a_source_that_does_not_let_us_in_costs_nothing),
        on_world(a_fence_ends_busy_backends),
        on_world(a_clean_up_counts_out_what_a_dead_postmaster_left),
        on_world(a_bootstrap_can_be_cut_at_each_step),
        on_world(a_clone_can_be_cut_at_each_step),
        on_world(start_and_stop_can_be_cut_at_each_step),
        on_world(a_promotion_can_be_cut_at_each_step),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* ---- Another user, and what a crashed test leaves ---- */

static void become_postgres(void)
{
    const struct passwd *pw = getpwnam("postgres");

    if (pw == NULL || chown(root_dir, pw->pw_uid, pw->pw_gid) != 0 || setgid(pw->pw_gid) != 0 ||
        initgroups("postgres", pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0) {
        perror("becoming postgres");
        _exit(1);
    }
}

/* Every process whose working directory is below ours. */
static void kill_left_overs(void)
{
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    char path[PATH_MAX], cwd[PATH_MAX];

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        uint64_t pid;
        ssize_t n;

        if (!str_to_u64(entry->d_name, 2, INT32_MAX, &pid)) {
            continue;
        }
        (void)snprintf(path, sizeof(path), "/proc/%s/cwd", entry->d_name);
        n = readlink(path, cwd, sizeof(cwd) - 1);
        cwd[MAX(n, 0)] = '\0';
        if (str_starts_with(cwd, root_dir)) {
            (void)kill((pid_t)pid, SIGKILL);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}

int main(void)
{
    int wait_status = 0;
    pid_t pid;

    if (mkdtemp(root_dir) == NULL) {
        perror(root_dir);
        return 1;
    }
    log_init("test", LOG_INFO);
    pid = fork();
    if (pid == 0) {
        if (geteuid() == 0) {
            become_postgres();
        }
        (void)chdir("/");
        exit(run_all() == 0 ? 0 : 1);
    }
    (void)waitpid(pid, &wait_status, 0);
    kill_left_overs();
    (void)nftw(root_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 1;
}
