/*
 * Starting the postmaster. On the thread: what could make a good start fail is
 * cleared and the command line is made; on the loop: the guard is asked to start it,
 * or, without one, fork, wait for exec; then watch.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/str.h"
#include "pg/pg_internal.h"
#include "pg/pg_processes.h"
#include "pg/pg_spawn.h"

struct start {
    struct pg_work work; /* First: freed through it. */
    struct pg_start how;
    char data_path[PATH_MAX];
    char program[PATH_MAX];
    struct kv_list params;
    bool raised;
    int log_fd;
    int exec_fd;
    uv_poll_t *poll;
};

static int open_log(const struct pg_options *o, struct err *err)
{
    char path[PATH_MAX];
    int fd;

    /* A file, since a pipe would break when the agent ends, and beside the data
     * directory, so that a clone does not carry it along. */
    pg_file_beside(o->data_dir, "startup.log", path, sizeof(path));
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd >= 0 ? fd : err_set_errno(err, errno, "creating %s", path);
}

static int prepare(struct start *s, struct err *err)
{
    const struct pg_options *o = &s->work.opts->o;
    struct pg_disk disk = {0};
    enum data_state data;
    size_t n;

    if (realpath(o->data_dir, s->data_path) == NULL) {
        return err_set_errno(err, errno, "the data directory %s", o->data_dir);
    }
    data = s->how.unfinished ? pg_look_behind_mark(o, &disk) : pg_look_data(o, &disk);
    if (data != DATA_VALID) {
        return err_set(err, "the data directory can not be started: %s",
                       disk.problem[0] != '\0' ? disk.problem : data_state_name(DATA_EMPTY));
    }
    if (pg_mark_set_aside(o->data_dir, err) != 0) {
        return -1;
    }
    n = pg_processes_find(s->data_path, NULL, 0);
    if (n > 0) {
        return err_set(err, "%zu processes of the data directory are still running", n);
    }
    if (pg_spawn_find(o->bin_dir, pg_program(o, "postgres"), s->program, sizeof(s->program), err) !=
            0 ||
        pg_version_check(s->program, disk.major, err) != 0 ||
        pg_lock_remove_stale(o, s->data_path, err) != 0) {
        return -1;
    }
    s->raised = pg_params_controlled(o, s->how.as_standby || s->how.recovers ? &disk.control : NULL,
                                     true, &s->params);
    if (s->how.recovers) { /* Over any file: it ends, and nobody sees what is before its end. */
        kv_set(&s->params, "hot_standby", "off");
        kv_set(&s->params, "recovery_target_action", "promote");
    }
    s->log_fd = open_log(o, err);
    return s->log_fd >= 0 ? 0 : -1;
}

static void run_start(struct pg_job *job)
{
    struct start *s = CONTAINER_OF(job, struct start, work.job);

    s->work.status = prepare(s, &s->work.err);
}

/* ---- On the loop ---- */

static void finish(struct start *s)
{
    struct pg *pg = s->work.pg;

    pg->starting = false;
    if (s->log_fd >= 0) {
        (void)close(s->log_fd); /* The postmaster has its own. */
    }
    kv_deinit(&s->params);
    if (s->work.status != 0) {
        (void)err_wrap(&s->work.err, "starting PostgreSQL");
    }
    pg_hold(pg);
    pg_work_done(&s->work.job);
    pg_observe_soon(pg);
    pg_release(pg);
}

/* End of file: exec is done. An errno: it failed, and the child is about to exit. */
static void on_exec(uv_poll_t *poll, int status, int events)
{
    struct start *s = poll->data;
    int errnum = 0;
    ssize_t n = read(s->exec_fd, &errnum, sizeof(errnum));

    (void)status;
    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    pg_close_handle(s->work.pg, (uv_handle_t *)s->poll);
    (void)close(s->exec_fd); /* A pipe we read. */
    if (n == (ssize_t)sizeof(errnum)) {
        s->work.status = err_set_errno(&s->work.err, errnum, "running %s", s->program);
    }
    finish(s);
}

/* The texts live in `texts`; argv points into it. */
static void fill_argv(const struct start *s, struct kv_list *texts, const char **argv)
{
    const struct pg_options *o = &s->work.opts->o;
    char text[PATH_MAX + 64];
    size_t n = 0;

    (void)snprintf(text, sizeof(text), "--config_file=%s/%s.conf", o->config_dir,
                   o->config_base_name);
    kv_add(texts, text, NULL);
    /* The one of a configuration file would count before -D. */
    (void)snprintf(text, sizeof(text), "--data_directory=%s", o->data_dir);
    kv_add(texts, text, NULL);
    for (size_t i = 0; i < s->params.n; i++) {
        (void)snprintf(text, sizeof(text), "--%s=%s", s->params.items[i].key,
                       s->params.items[i].value);
        kv_add(texts, text, NULL);
    }
    argv[n++] = s->program;
    argv[n++] = "-D";
    argv[n++] = o->data_dir;
    for (size_t i = 0; i < texts->n; i++) {
        argv[n++] = texts->items[i].key;
    }
    argv[n] = NULL;
}

/* It runs: from here on it is watched. */
static void take_over(struct start *s, pid_t pid, int pidfd, bool is_child)
{
    struct pg *pg = s->work.pg;

    (void)str_copy(pg->disk.path, sizeof(pg->disk.path), s->data_path);
    pg_postmaster_watch(pg, pid, pidfd, is_child);
    pg->postmaster.starts_as_standby = s->how.as_standby;
    pg->unread = false;
    pg->reload_asked = false;
    log_info("PostgreSQL starts. pid=%d as=%s", (int)pid,
             s->how.as_standby ? "standby" : "primary");
    if (s->raised && s->how.as_standby) {
        log_warning("Parameters were raised to what pg_control demands of a standby, restart "
                    "pending. See max_connections and its like.");
    }
}

/* ---- By the guard ---- */

static void on_launched(void *data, pid_t pid, int pidfd, const char *problem)
{
    struct start *s = data;
    struct pg *pg = s->work.pg;
    bool called_off = pg->stop_asked; /* Fenced or stopped since the guard was asked. */

    if (pid == 0) {
        s->work.status = err_set(&s->work.err, "%s", problem);
    } else if (pg->closing || pg->postmaster.pid != 0) { /* Adopted by its lock file already. */
        (void)close(pidfd); /* It is the guard's; the next agent adopts it. */
    } else {
        take_over(s, pid, pidfd, false);
    }
    finish(s);
    if (called_off && !pg->closing) {
        (void)pg_kill_all(pg); /* Who called it off counts. */
    }
    pg_release(pg);
}

static int ask_guard(struct start *s, const char *const *argv, struct err *err)
{
    struct pg *pg = s->work.pg;
    const struct pg_guard *guard = &pg->opts->o.guard;
    char **env = pg_spawn_environment(NULL);
    struct pg_launch launch = {.as_primary = !s->how.as_standby,
                               .path = s->program,
                               .argv = argv,
                               .env = (const char *const *)env,
                               .cwd = s->data_path,
                               .output_fd = s->log_fd};
    int status = guard->launch(guard->data, &launch, on_launched, s, err);

    if (status == 0) {
        pg_hold(pg);
    }
    pg_spawn_free_environment(env);
    return status;
}

/* ---- By ourselves ---- */

static int fork_it(struct start *s, const char *const *argv, struct err *err)
{
    struct pg *pg = s->work.pg;
    struct pg_spawned spawned;
    struct pg_spawn spawn = {.path = s->program,
                             .argv = argv,
                             .cwd = s->data_path,
                             .output_fd = s->log_fd,
                             .outlives_us = true};

    if (pg_spawn(&spawn, &spawned, err) != 0) {
        return -1;
    }
    take_over(s, spawned.pid, spawned.pidfd, true);
    s->exec_fd = spawned.exec_fd;
    s->poll = xmalloc(sizeof(*s->poll));
    s->poll->data = s;
    ASSERT(uv_poll_init(pg->opts->o.loop, s->poll, s->exec_fd) == 0);
    ASSERT(uv_poll_start(s->poll, UV_READABLE, on_exec) == 0);
    pg_hold(pg);
    return 0;
}

static int launch(struct start *s, struct err *err)
{
    struct kv_list texts = {0};
    const char **argv = xmalloc((s->params.n + 9) * sizeof(*argv));
    int status;

    fill_argv(s, &texts, argv);
    status =
        s->work.pg->opts->o.guard.launch != NULL ? ask_guard(s, argv, err) : fork_it(s, argv, err);
    free(argv);
    kv_deinit(&texts);
    return status;
}

static void on_prepared(struct pg_job *job)
{
    struct start *s = CONTAINER_OF(job, struct start, work.job);
    struct pg *pg = s->work.pg;

    if (s->work.status == 0 && pg->postmaster.pid != 0) {
        s->work.status = err_set(&s->work.err, "it runs already, pid %d", (int)pg->postmaster.pid);
    }
    /* Fenced or stopped after it was asked to start and before it was forked. */
    if (s->work.status == 0 && (pg->closing || pg->stop_asked)) {
        s->work.status = err_set(&s->work.err, "called off");
    }
    if (s->work.status == 0) {
        s->work.status = launch(s, &s->work.err);
    }
    if (s->work.status != 0) {
        finish(s);
    }
}

void pg_start_server(struct pg *pg, const struct pg_start *start, pg_done_cb cb, void *data)
{
    struct start *s = xmalloc(sizeof(*s));

    s->how = *start;
    s->log_fd = -1;
    pg->starting = true;
    pg->stop_asked = false;
    pg->failure[0] = '\0';
    pg->start_failed = false;
    pg_work_submit(pg, &s->work, run_start, on_prepared, cb, data);
}
