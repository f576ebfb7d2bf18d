/*
 * struct pg: its life, and what its parts share. See pg.h.
 */
#include "pg/pg_internal.h"

#include "base/str.h"

void pg_hold(struct pg *pg)
{
    pg->n_open++;
}

static void free_pg(struct pg *pg)
{
    void (*cb)(void *data) = pg->close_cb;
    void *data = pg->close_data;

    pg_opts_release(pg->opts);
    pg_names_deinit(&pg->names);
    pg->magic = 0;
    free(pg);
    cb(data);
}

/* The last thing that ends takes pg with it. The workers go after all jobs have
 * ended, since only they can still need them. */
void pg_release(struct pg *pg)
{
    PRE(pg->magic == PG_MAGIC && pg->n_open > 0);
    if (--pg->n_open == 0 && pg->closing) {
        free_pg(pg);
    }
}

void pg_changed(struct pg *pg)
{
    if (!pg->closing && pg->opts->o.on_change != NULL) {
        pg->opts->o.on_change(pg->opts->o.data);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct pg *pg = handle->data;

    free(handle);
    pg_release(pg);
}

void pg_close_handle(struct pg *pg, uv_handle_t *handle)
{
    handle->data = pg;
    uv_close(handle, on_handle_closed);
}

/* ---- Jobs that end in a pg_done_cb ---- */

static void run_work(struct pg_job *job)
{
    struct pg_work *work = CONTAINER_OF(job, struct pg_work, job);

    work->run(job);
    pg_look(&work->opts->o, &work->disk);
}

void pg_work_submit(struct pg *pg, struct pg_work *work, void (*run)(struct pg_job *job),
                    void (*done)(struct pg_job *job), pg_done_cb cb, void *data)
{
    PRE(!pg->closing);
    work->pg = pg;
    work->opts = pg_opts_hold(pg->opts);
    work->cb = cb;
    work->data = data;
    work->run = run;
    work->job.work = run_work;
    work->job.done = done;
    pg_hold(pg);
    pg_worker_submit(pg->writer, &work->job);
}

void pg_work_done(struct pg_job *job)
{
    struct pg_work *work = CONTAINER_OF(job, struct pg_work, job);
    struct pg *pg = work->pg;

    /* Whoever goes on from cb sees what was done, not what was there before. */
    pg->disk = work->disk;
    pg->looked = true;
    pg->disk_epoch++;
    pg_opts_release(work->opts);
    if (work->cb != NULL) {
        work->cb(work->data, work->status, work->err.text);
    }
    free(work);
    pg_release(pg);
}

/* ---- One statement in a session of its own ---- */

struct execution {
    struct list node; /* pg->executions */
    struct pg *pg;
    struct pg_opts *opts; /* The target points into them. */
    struct pg_conn *conn;
    pg_done_cb cb;
    void *data;
    int status;
    char problem[TEXT_SIZE];
};

static void on_execution_closed(void *data)
{
    struct execution *x = data;
    struct pg *pg = x->pg;

    list_remove(&x->node);
    x->cb(x->data, x->status, x->problem);
    pg_opts_release(x->opts);
    free(x);
    pg_release(pg);
}

static void on_executed(void *data, enum pg_answer answer, const PGresult *result, const char *text)
{
    struct execution *x = data;

    (void)result;
    x->status = answer == PG_ANSWER_OK ? 0 : -1;
    if (x->status != 0) {
        (void)snprintf(x->problem, sizeof(x->problem), "%s: %.200s", pg_answer_name(answer), text);
    }
    pg_conn_close(x->conn, on_execution_closed, x);
}

static void on_no_target(uv_timer_t *timer)
{
    struct execution *x = timer->data;

    x->status = -1;
    (void)str_copy(x->problem, sizeof(x->problem), "PostgreSQL does not run");
    pg_close_handle(x->pg, (uv_handle_t *)timer);
    pg_conn_close(x->conn, on_execution_closed, x);
}

void pg_execute(struct pg *pg, const char *sql, uint64_t deadline_ms, pg_done_cb cb, void *data)
{
    pg_execute_in(pg, NULL, sql, deadline_ms, cb, data);
}

void pg_execute_in(struct pg *pg, const char *database, const char *sql, uint64_t deadline_ms,
                   pg_done_cb cb, void *data)
{
    struct execution *x = xmalloc(sizeof(*x));
    struct pg_conn_target target;

    PRE(!pg->closing);
    x->pg = pg;
    x->opts = pg_opts_hold(pg->opts);
    x->conn = pg_conn_new(pg->opts->o.loop);
    x->cb = cb;
    x->data = data;
    list_push_back(&pg->executions, &x->node);
    pg_hold(pg);
    if (pg_own_target(pg, &target)) {
        target.database = database != NULL ? database : target.database;
        pg_conn_query(x->conn, &target, sql, deadline_ms, on_executed, x);
    } else {
        uv_timer_t *timer = xmalloc(sizeof(*timer));

        ASSERT(uv_timer_init(pg->opts->o.loop, timer) == 0);
        timer->data = x;
        pg_hold(pg);
        (void)uv_timer_start(timer, on_no_target, 0, 0);
    }
}

/* They end with an answer of their own, from the next turn of the loop on. */
static void drop_executions(struct pg *pg)
{
    LIST_FOREACH (it, &pg->executions) {
        struct execution *x = CONTAINER_OF(it, struct execution, node);

        if (pg_conn_is_busy(x->conn)) {
            pg_conn_reset(x->conn);
        }
    }
}

/* ---- Life ---- */

struct pg *pg_new(const struct pg_options *options)
{
    struct pg *pg = xmalloc(sizeof(*pg));

    PRE(options->loop != NULL && options->data_dir != NULL && options->name != NULL);
    pg->magic = PG_MAGIC;
    pg->opts = pg_opts_copy(options);
    pg->postmaster.pidfd = -1;
    list_init(&pg->children);
    list_init(&pg->executions);
    pg->looker = pg_worker_new(options->loop);
    pg_hold(pg);
    pg->writer = pg_worker_new(options->loop);
    pg_hold(pg);
    pg->conn = pg_conn_new(options->loop);
    pg_hold(pg);
    pg_sync_init(pg);
    pg->timer = xmalloc(sizeof(*pg->timer));
    pg->timer->data = pg;
    ASSERT(uv_timer_init(options->loop, pg->timer) == 0);
    pg_hold(pg);
    return pg;
}

void pg_set_options(struct pg *pg, const struct pg_options *options)
{
    struct pg_opts *old = pg->opts;

    PRE(options->loop == old->o.loop && str_equal(options->data_dir, old->o.data_dir));
    pg->opts = pg_opts_copy(options);
    pg->opts->revision = old->revision + 1;
    pg_opts_release(old);
    if (!pg_conn_is_busy(pg->conn)) {
        pg_conn_reset(pg->conn); /* Credentials may be new ones. */
    }
}

const struct pg_options *pg_options(const struct pg *pg)
{
    return &pg->opts->o;
}

static void on_part_closed(void *data)
{
    pg_release(data);
}

/* Children are killed, the postmaster is left alone. */
void pg_close(struct pg *pg, void (*cb)(void *data), void *data)
{
    PRE(pg->magic == PG_MAGIC && !pg->closing);
    pg->closing = true;
    pg->close_cb = cb;
    pg->close_data = data;
    LIST_FOREACH (it, &pg->children) {
        pg_child_kill(pg_child_of(it));
    }
    drop_executions(pg);
    pg_sync_close(pg);
    pg_promote_check(pg);
    pg_observe_close(pg);
    pg_postmaster_drop(pg);
    pg_conn_close(pg->conn, on_part_closed, pg);
    pg_worker_close(pg->looker, on_part_closed, pg);
    pg_worker_close(pg->writer, on_part_closed, pg);
}
