/*
 * Children that are to end: initdb, pg_basebackup, pg_rewind, an operator's script.
 * A child ends here when it was reaped: its pidfd became readable, its output was
 * read to what was there, both handles were let go.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "pg/pg_internal.h"
#include "pg/pg_processes.h"
#include "pg/pg_spawn.h"

#include <fcntl.h>

#define LINE_SIZE        1024
#define SCRIPT_LINES_MAX 100
#define SCRIPT_ARGS_MAX  3
#define LINES_KEPT       3
#define READS_AT_END     64
#define SWEEPS_MAX       3 /* Of who is forked by who is being killed. */

struct copied { /* As it says about once a second. */
    unsigned percent;
    uint64_t first_kb, first_ms; /* What it said first, then; 0 ms = nothing. */
    uint64_t kb, ms;             /* Last. */
};

struct pg_child {
    struct list node; /* pg->children */
    struct pg *pg;
    char program[NAME_SIZE];
    pid_t pid;
    int pidfd;
    int output_fd;
    uv_poll_t *pid_poll;
    uv_poll_t *output_poll; /* NULL after the end of its output. */
    bool killed;
    char *mark;            /* Of a script: the value of PG_SCRIPT_VARIABLE. */
    unsigned n_lines_left; /* Of its output, for the log. */
    char line[LINE_SIZE];  /* Not whole yet. */
    size_t line_length;
    struct copied copied;             /* By pg_basebackup. */
    char kept[LINES_KEPT][TEXT_SIZE]; /* The last lines; kept[n % LINES_KEPT] is next. */
    size_t n_kept;
    pg_done_cb cb;
    void *data;
};

static void log_line(struct pg_child *c)
{
    if (c->n_lines_left > 0) {
        log_info("%s: %s", c->program, c->line);
        c->n_lines_left--;
        if (c->n_lines_left == 0) {
            log_warning("%s writes too much, the rest is not logged.", c->program);
        }
    }
}

/* "  123/4567 kB (2%), 0/1 tablespace": no line for the log. pg_rewind's, "(2%) copied", are for
 * who asked for them. */
static bool note_copied(struct pg_child *c)
{
    struct copied *at = &c->copied;
    unsigned long long kb, total;
    unsigned percent;
    char behind;

    if (sscanf(c->line, " %llu/%llu %*s (%u%%)%c", &kb, &total, &percent, &behind) != 4 ||
        behind != ',') {
        return false;
    }
    at->percent = MIN(percent, 100);
    at->kb = kb;
    at->ms = clock_ms();
    if (at->first_ms == 0) {
        at->first_kb = kb;
        at->first_ms = at->ms;
    }
    return true;
}

static void end_line(struct pg_child *c)
{
    c->line[c->line_length] = '\0';
    if (note_copied(c)) {
        c->line_length = 0;
        return;
    }
    if (strspn(c->line, " \t") < c->line_length) {
        log_line(c);
        (void)str_copy(c->kept[c->n_kept % LINES_KEPT], TEXT_SIZE, c->line);
        c->n_kept++;
    }
    c->line_length = 0;
}

/* Progress is written over itself with '\r'. */
static void take_output(struct pg_child *c, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\n' || text[i] == '\r' || c->line_length == LINE_SIZE - 1) {
            end_line(c);
        }
        if (text[i] != '\n' && text[i] != '\r') {
            c->line[c->line_length++] = text[i] != '\0' ? text[i] : ' ';
        }
    }
}

static void close_output(struct pg_child *c)
{
    if (c->output_poll != NULL) {
        pg_close_handle(c->pg, (uv_handle_t *)c->output_poll);
        c->output_poll = NULL;
        (void)close(c->output_fd); /* A pipe we read. */
    }
}

/* Reads once. False when nothing is there now. */
static bool read_output(struct pg_child *c)
{
    char text[4096];
    ssize_t n;

    if (c->output_poll == NULL) {
        return false;
    }
    n = read(c->output_fd, text, sizeof(text));
    if (n > 0) {
        take_output(c, text, (size_t)n);
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        close_output(c);
    }
    return false;
}

static void on_output(uv_poll_t *poll, int status, int events)
{
    struct pg_child *c = poll->data;

    (void)status;
    (void)events;
    (void)read_output(c); /* More comes with the next turn of the loop. */
}

static void describe_end(const struct pg_child *c, int wait_status, struct err *problem)
{
    struct sbuf b;
    size_t first = c->n_kept > LINES_KEPT ? c->n_kept - LINES_KEPT : 0;

    sbuf_init(&b, problem->text, sizeof(problem->text));
    if (c->killed) {
        sbuf_printf(&b, "%s was stopped", c->program);
    } else if (WIFSIGNALED(wait_status)) {
        sbuf_printf(&b, "%s died of signal %d", c->program, WTERMSIG(wait_status));
    } else {
        sbuf_printf(&b, "%s ended with code %d", c->program, WEXITSTATUS(wait_status));
    }
    for (size_t i = first; i < c->n_kept; i++) {
        sbuf_printf(&b, "%s%s", i == first ? ": " : "; ", c->kept[i % LINES_KEPT]);
    }
}

static void on_exit_seen(uv_poll_t *poll, int status, int events)
{
    struct pg_child *c = poll->data;
    struct pg *pg = c->pg;
    struct err problem = {0};
    int wait_status = 0;
    bool good;

    (void)status;
    (void)events;
    if (waitpid(c->pid, &wait_status, WNOHANG) == 0) {
        return; /* Not yet. */
    }
    for (int i = 0; i < READS_AT_END && read_output(c); i++) {
    }
    if (c->line_length > 0) {
        end_line(c);
    }
    close_output(c);
    good = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0 && !c->killed;
    if (!good) {
        describe_end(c, wait_status, &problem);
    }
    list_remove(&c->node);
    pg_close_handle(pg, (uv_handle_t *)c->pid_poll);
    (void)close(c->pidfd); /* A pidfd. */
    c->cb(c->data, good ? 0 : -1, problem.text);
    free(c->mark);
    free(c);
    pg_release(pg);
}

static uv_poll_t *watch(struct pg_child *c, int fd, uv_poll_cb cb)
{
    uv_poll_t *poll = xmalloc(sizeof(*poll));

    ASSERT(uv_poll_init(c->pg->opts->o.loop, poll, fd) == 0);
    ASSERT(uv_poll_start(poll, UV_READABLE, cb) == 0);
    poll->data = c;
    pg_hold(c->pg);
    return poll;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* PostgreSQL's programs find themselves, and each other, by their own argv[0]
 * (exec.c: find_my_exec); a bare name would be looked for in PATH. */
static const char **with_path(const char *const *argv, const char *path)
{
    const char **full;
    size_t n = 0;

    while (argv[n] != NULL) {
        n++;
    }
    full = xmalloc((n + 1) * sizeof(*full));
    full[0] = path;
    for (size_t i = 1; i < n; i++) {
        full[i] = argv[i];
    }
    return full;
}

struct pg_child *pg_child_start(struct pg *pg, const char *const *argv, const struct kv_list *env,
                                pg_done_cb cb, void *data, struct err *err)
{
    const struct pg_options *o = &pg->opts->o;
    char path[PATH_MAX];
    struct pg_spawn spawn = {.path = path, .env = env};
    struct pg_spawned spawned;
    struct pg_child *c;
    const char **full;
    int started;
    int fds[2];

    PRE(argv[0] != NULL && cb != NULL && !pg->closing);
    if (pg_spawn_find(o->bin_dir, pg_program(o, argv[0]), path, sizeof(path), err) != 0) {
        return NULL;
    }
    if (pipe2(fds, O_CLOEXEC) != 0) {
        (void)err_set_errno(err, errno, "pipe");
        return NULL;
    }
    spawn.output_fd = fds[1];
    full = with_path(argv, path);
    spawn.argv = full;
    started = pg_spawn(&spawn, &spawned, err);
    free(full);
    if (started != 0) {
        (void)close(fds[0]);
        (void)close(fds[1]);
        return NULL;
    }
    (void)close(fds[1]);
    (void)close(spawned.exec_fd); /* Its output says why exec failed. */
    (void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
    c = xmalloc(sizeof(*c));
    c->pg = pg;
    (void)str_copy(c->program, sizeof(c->program), base_name(argv[0]));
    c->pid = spawned.pid;
    c->pidfd = spawned.pidfd;
    c->output_fd = fds[0];
    c->cb = cb;
    c->data = data;
    c->pid_poll = watch(c, c->pidfd, on_exit_seen);
    c->output_poll = watch(c, c->output_fd, on_output);
    c->n_lines_left = UINT_MAX;
    list_push_back(&pg->children, &c->node);
    pg_hold(pg);
    return c;
}

struct pg_child *pg_child_of(struct list *node)
{
    return CONTAINER_OF(node, struct pg_child, node);
}

/* Sum of the numbers in the file from the given field on, up to the count. */
static uint64_t sum_of(const char *path, const char *after, unsigned skip, unsigned count)
{
    char text[1024], *at, *saved = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    uint64_t sum = 0;

    if (fd >= 0) {
        (void)close(fd); /* Only read. */
    }
    text[MAX(n, 0)] = '\0';
    at = strstr(text, after);
    for (at = at != NULL ? strtok_r(at, " \n", &saved) : NULL; at != NULL && count > 0;
         at = strtok_r(NULL, " \n", &saved)) {
        if (skip > 0) {
            skip--;
        } else {
            sum += strtoull(at, NULL, 10);
            count--;
        }
    }
    return sum;
}

/* /proc/PID/stat: utime, stime and those of waited-for children are fields 14 to 17;
 * ")" ends the name, the second field. /proc/PID/io: rchar, wchar. */
uint64_t pg_child_progress(const struct pg_child *child)
{
    char path[64];
    uint64_t sum;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)child->pid);
    sum = sum_of(path, ")", 12, 4);
    (void)snprintf(path, sizeof(path), "/proc/%d/io", (int)child->pid);
    return sum + sum_of(path, "rchar:", 1, 1) + sum_of(path, "wchar:", 1, 1);
}

bool pg_child_copied(const struct pg_child *child, unsigned *ret_percent, double *ret_mb_per_s)
{
    const struct copied *at = &child->copied;

    if (at->first_ms == 0) {
        return false;
    }
    *ret_percent = at->percent;
    *ret_mb_per_s = at->ms > at->first_ms && at->kb > at->first_kb
                        ? (double)(at->kb - at->first_kb) / 1.024 / (double)(at->ms - at->first_ms)
                        : 0;
    return true;
}

static size_t sweep(const char *mark)
{
    size_t n = 0;

    for (int i = 0; i < SWEEPS_MAX; i++) {
        size_t found = pg_marked_kill(PG_SCRIPT_VARIABLE, mark);

        if (found == 0) {
            break;
        }
        n = MAX(n, found);
    }
    return n;
}

void pg_child_kill(struct pg_child *child)
{
    child->killed = true;
    /* The group is its own as long as it was not waited for. */
    (void)kill(-child->pid, SIGKILL);
    if (child->mark != NULL) {
        (void)sweep(child->mark); /* What has left the group (timeout, setsid). */
    }
}

/* ---- Commands of the operator ---- */

static char *mark_of(const struct pg *pg, enum pg_script slot)
{
    static const char *const slots[] = {[PG_SCRIPT_STEP] = "step",
                                        [PG_SCRIPT_CALLBACK] = "callback",
                                        [PG_SCRIPT_RELOAD] = "reload"};
    struct strbuf b = {0};

    strbuf_printf(&b, "%s:%s", slots[slot], pg->opts->o.data_dir);
    return b.data;
}

struct pg_child *pg_script_start(struct pg *pg, enum pg_script slot, const char *label,
                                 const char *command, const char *const *args, pg_done_cb cb,
                                 void *data, struct err *err)
{
    const char *argv[SCRIPT_ARGS_MAX + 5] = {"/bin/sh", "-c", NULL, label, NULL};
    struct strbuf line = {0};
    struct kv_list env = {0};
    struct pg_child *c;
    char *mark = mark_of(pg, slot);

    /* It may have arguments of its own. The shell stays: a command of another user, by sudo,
     * in its place could not be killed, and its end would be waited for. */
    strbuf_printf(&line, "%s \"$@\"\nexit $?", command);
    argv[2] = line.data;
    for (size_t i = 0; args[i] != NULL; i++) {
        ASSERT(i < SCRIPT_ARGS_MAX);
        argv[4 + i] = args[i];
    }
    kv_add(&env, PG_SCRIPT_VARIABLE, mark);
    c = pg_child_start(pg, argv, &env, cb, data, err);
    kv_deinit(&env);
    strbuf_deinit(&line);
    if (c == NULL) {
        free(mark);
        return NULL;
    }
    (void)str_copy(c->program, sizeof(c->program), label);
    c->mark = mark;
    c->n_lines_left = SCRIPT_LINES_MAX;
    return c;
}

size_t pg_script_sweep(struct pg *pg, enum pg_script slot)
{
    char *mark = mark_of(pg, slot);
    size_t n = sweep(mark);

    free(mark);
    return n;
}
