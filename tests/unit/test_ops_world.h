/*
 * Two nodes with real PostgreSQL on one loop, without agents, for the tests of
 * ops/. What the agent would decide, the test says.
 *
 * Everything runs in a child that is not root, in one directory (test_child.h).
 */
#ifndef VECHE_TESTS_TEST_OPS_WORLD_H
#define VECHE_TESTS_TEST_OPS_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "ops/ops_internal.h"
#include "pg/pg_internal.h"
#include "test_child.h"
#include "test_pg_bin.h"
#include "test_port.h"

#define on_world(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

#define SUPER_PASSWORD "s3cret '\\ $veche$ word"
#define REPL_PASSWORD  "r3pl:\\'x"

/* In memory where it can be: dozens of clusters are made and removed. */
static char root_dir[] = "/dev/shm/veche-ops-XXXXXX";

struct node {
    char name[NAME_SIZE];
    char dir[PATH_MAX], data[PATH_MAX], pgpass[PATH_MAX], sockets[PATH_MAX];
    uint16_t port;
    struct kv_list parameters, initdb, users, basebackup, hba, bootstrap_hba;
    struct kv_list methods, settings, recovery, bin_names;
    const char *method; /* bootstrap.method; NULL = initdb. Before make_ops. */
    struct pg_options options;
    struct pg *pg;
    struct ops *ops;
    struct store *store;
    struct status status;
    struct view_pg view;
    uint64_t observe_ms; /* Not before. */
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

static inline void nothing(void *data)
{
    (void)data;
}

static inline void make_ops(struct node *n, const char *script)
{
    if (n->ops != NULL) {
        ops_free(n->ops);
    }
    n->ops = ops_new(&(struct ops_options){.pg = n->pg,
                                           .store = n->store,
                                           .initdb = &n->initdb,
                                           .users = &n->users,
                                           .pg_hba = &n->bootstrap_hba,
                                           .post_bootstrap = script,
                                           .bootstrap_method = n->method,
                                           .bootstrap_settings = &n->settings,
                                           .ttl_ms = 3000,
                                           .on_change = nothing,
                                           .data = NULL});
}

static inline void fill_options(struct node *n)
{
    n->options = (struct pg_options){.loop = &w->loop,
                                     .name = n->name,
                                     .scope = "test",
                                     .data_dir = n->data,
                                     .config_dir = n->data,
                                     .bin_dir = pg_bin_dir(),
                                     .bin_names = &n->bin_names,
                                     .replica_methods = &n->methods,
                                     .replica_settings = &n->settings,
                                     .bootstrap_recovery = &n->recovery,
                                     .basebackup_options = &n->basebackup,
                                     .listen_addresses = "127.0.0.1",
                                     .port = n->port,
                                     .connect_host = "127.0.0.1",
                                     .database = "postgres",
                                     .pgpass = n->pgpass,
                                     .superuser = {.user = "ad-min", .password = SUPER_PASSWORD},
                                     .replication = {.user = "repl", .password = REPL_PASSWORD},
                                     .rewind = {.user = "rewinder", .password = "rw"},
                                     .parameters = &n->parameters,
                                     .hba = &n->hba,
                                     .config_base_name = "postgresql",
                                     .use_slots = true,
                                     .is_settled = true,
                                     .ttl_ms = 3000,
                                     .on_change = nothing};
}

static inline void node_init(struct node *n, const char *name, size_t index)
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
    kv_add(&n->parameters, "max_standby_streaming_delay", "-1");
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

static inline void on_timer(uv_timer_t *timer)
{
    (void)timer;
}

/* Often enough for each step to be seen; at every turn it would keep a core busy. */
#define OBSERVE_MS 20

static inline void look(struct node *n)
{
    if (clock_ms() >= n->observe_ms) {
        n->observe_ms = clock_ms() + OBSERVE_MS;
        pg_observe(n->pg, clock_ms());
    }
    n->status = (struct status){0};
    pg_fill(n->pg, n->store, &n->status, &n->view);
}

/* As far as slots are concerned. Who runs as primary is the store's, too. */
static inline void fill_slots_view(const struct node *n, const struct node *other,
                                   struct view *view)
{
    struct status *told = &view->peers[0].status;

    view->store = n->store;
    view->now_ms = clock_ms();
    view->conf.ttl_ms = 3000;
    view->conf.status_period_ms = 1000;
    view->conf.member_slots_ttl_ms = HOURS(1);
    view->self.status = n->status;
    view->self.status.id = n == &w->a ? 1 : 2;
    view->n_peers = 1;
    view->peers[0].received_ms = view->now_ms;
    *told = other->status;
    told->id = n == &w->a ? 2 : 1;
    if (told->pg_role == PG_ROLE_PRIMARY && told->pg_state == PG_STATE_RUNNING) {
        n->store->primary =
            (struct store_primary){.has_owner = true, .owner_id = told->id, .epoch = 1};
        told->lease_epoch = 1;
    }
}

static inline void sync_slots(struct node *n)
{
    static struct view view;

    if (n->status.pg_state == PG_STATE_RUNNING) {
        fill_slots_view(n, n == &w->a ? &w->b : &w->a, &view);
        pg_sync_slots(n->pg, &view);
    }
}

static inline void turn(void)
{
    (void)uv_run(&w->loop, UV_RUN_ONCE);
    (void)ops_tick(w->a.ops, clock_ms());
    (void)ops_tick(w->b.ops, clock_ms());
    sync_slots(&w->a); /* Not while an observation is under way. */
    sync_slots(&w->b);
    look(&w->a);
    look(&w->b);
}

/* A liveness bound: far beyond what anything here takes, on whatever machine. */
#define TURN_UNTIL(condition)                           \
    do {                                                \
        uint64_t end_ms_ = clock_ms() + MINUTES(2);     \
        while (!(condition)) {                          \
            if (clock_ms() >= end_ms_) {                \
                fail_msg("never came: %s", #condition); \
            }                                           \
            turn();                                     \
        }                                               \
    } while (0)

/* What is under way began before now, and may tell of then: once more. */
static inline void look_anew(struct node *n)
{
    for (int i = 0; i < 2; i++) {
        while (n->pg->observing || n->pg->looking) {
            (void)uv_run(&w->loop, UV_RUN_ONCE);
        }
        if (i == 0) {
            pg_observe(n->pg, clock_ms());
        }
    }
    look(n);
}

static inline struct view_op see(const struct node *n)
{
    struct view_op v;

    ops_fill(n->ops, &v);
    return v;
}

static inline void decide_on(struct node *n, enum node_action action, const struct node *upstream)
{
    static uint32_t timeline = 1;
    struct node_decision d = {.action = action, .rule = "test", .why = "the test says so"};

    /* A promotion that was cut off may have left the number it was for. */
    d.timeline = action == ACTION_PROMOTE ? ++timeline : 0;
    uint64_t settled_ms = clock_ms() + 110; /* What ended well is not repeated at once. */

    while (see(n).last == action && !see(n).last_failed && clock_ms() < settled_ms) {
        turn();
    }

    if (upstream != NULL) {
        (void)str_copy(d.upstream.name, sizeof(d.upstream.name), upstream->name);
        (void)str_copy(d.upstream.host, sizeof(d.upstream.host), "127.0.0.1");
        d.upstream.port = upstream->port;
    }
    ops_reconcile(n->ops, &d, clock_ms());
}

static inline void wait_idle(struct node *n)
{
    TURN_UNTIL(ops_is_idle(n->ops));
}

static inline void wait_role(struct node *n, enum pg_role role)
{
    TURN_UNTIL(n->status.pg_state == PG_STATE_RUNNING && n->status.pg_role == role);
}

static inline void wait_data(struct node *n, enum data_state data)
{
    TURN_UNTIL(n->status.data == data);
}

/* Does it, and it works. */
static inline void act(struct node *n, enum node_action action, const struct node *upstream)
{
    struct view_op v;

    decide_on(n, action, upstream);
    wait_idle(n);
    v = see(n);
    assert_string_equal(v.problem, "");
    assert_false(v.last_failed);
}

static inline int setup(void **state)
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

static inline void on_closed(void *data)
{
    ((struct node *)data)->closed = true;
}

static inline void node_deinit(struct node *n)
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
    kv_deinit(&n->bootstrap_hba);
    kv_deinit(&n->methods);
    kv_deinit(&n->settings);
    kv_deinit(&n->recovery);
    kv_deinit(&n->bin_names);
    remove_all(n->dir);
}

static inline int teardown(void **state)
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
static inline const char *query(const struct node *n, const char *user, const char *password,
                                const char *sql)
{
    static char text[4096];
    char command[4096];
    size_t length;
    FILE *f;

    assert_int_equal(setenv("PGPASSWORD", password, 1), 0);
    (void)snprintf(command, sizeof(command),
                   "%s/psql -XAtq -h 127.0.0.1 -p %u -U '%s' -d postgres -c \"%s\" 2>&1",
                   pg_bin_dir(), n->port, user, sql);
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

static inline const char *ask(const struct node *n, const char *sql)
{
    return query(n, "ad-min", SUPER_PASSWORD, sql);
}

static inline void wait_answer(const struct node *n, const char *sql, const char *answer)
{
    TURN_UNTIL(str_equal(ask(n, sql), answer));
}

static inline bool file_has(const char *path, const char *word)
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

static inline bool exists(const struct node *n, const char *suffix)
{
    char path[PATH_MAX + 64];

    (void)snprintf(path, sizeof(path), "%s%s", n->data, suffix);
    return access(path, F_OK) == 0;
}

/* A client that is busy until it is cut off. */
static inline pid_t start_client(const struct node *n, const char *sql)
{
    char psql[PATH_MAX + 8];
    char port[16];
    pid_t pid;

    assert_int_equal(setenv("PGPASSWORD", SUPER_PASSWORD, 1), 0);
    (void)snprintf(psql, sizeof(psql), "%s/psql", pg_bin_dir());
    (void)snprintf(port, sizeof(port), "%u", n->port);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        (void)dup2(null, STDOUT_FILENO);
        (void)dup2(null, STDERR_FILENO);
        (void)execl(psql, "psql", "-Xq", "-h", "127.0.0.1", "-p", port, "-U", "ad-min", "-d",
                    "postgres", "-c", sql, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static inline pid_t start_writer(const struct node *n)
{
    return start_client(n, "DO $$ BEGIN LOOP INSERT INTO t VALUES (1); COMMIT; END LOOP; END $$");
}

static inline void end_client(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

/* run_all returns the number of failures. */
static inline int run_in_world(int (*run_all)(void))
{
    own_shared_memory();
    if (access("/dev/shm", W_OK) != 0) {
        (void)str_copy(root_dir, sizeof(root_dir), "/tmp/veche-ops-XXXXXX");
    }
    log_init("test", LOG_INFO);
    return run_with_servers(root_dir, run_all);
}

#endif
