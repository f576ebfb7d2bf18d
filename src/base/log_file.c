/*
 * The log's file, see log_file.h. `shared` is between whoever logs and the thread, under its
 * mutex, which nobody holds while waiting for a disk; `struct writer` is the thread's alone.
 */
#include "base/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

#define AGAIN_MS SECONDS(1)

struct line {
    struct line *next;
    struct log_file_options *options; /* In place of a line: those behind it are written so. */
    size_t size;
    char text[];
};

static struct {
    /* The main thread's. */
    pthread_t thread; /* While is_running. */
    int end_fd;       /* Readable when the thread is through. */
    bool is_running;

    pthread_mutex_t mutex;     /* Of all the rest. */
    pthread_cond_t work;       /* There is something for the thread: */
    struct line *first, *last; /* lines, */
    bool stops;                /* or that it is to end. */
    uint64_t lines_max;        /* More are not taken. */
    bool is_full;              /* Lines went elsewhere for that; said. */
    struct log_file_stats stats;
} shared = {.mutex = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER};

struct writer {
    struct log_file_options options; /* But for the dir: */
    char *path;                      /* it is in here. NULL = no file. */
    int fd;                          /* -1 = not open. */
    dev_t device;                    /* Of fd, to see when the path leads elsewhere: */
    ino_t inode;                     /* logrotate, or somebody who removed it. */
    uint64_t size;                   /* Of the file. */
    bool is_failing;
    uint64_t again_ms; /* While it fails: not before that. */
    uint64_t n_before; /* Lines elsewhere, when it was said last that it is written. */
};

static _Thread_local struct writer *own_writer; /* In the thread. */

/* ---- The file ---- */

static void close_file(struct writer *w)
{
    if (w->fd >= 0) {
        (void)close(w->fd); /* What write() took is not ours any more. */
    }
    w->fd = -1;
}

static int open_file(struct writer *w, struct err *err)
{
    struct stat st;
    mode_t mode = w->options.mode != 0 ? w->options.mode : 0666;

    w->fd = open(w->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, mode);
    if (w->fd < 0) {
        return err_set_errno(err, errno, "%s can not be opened", w->path);
    }
    if (fstat(w->fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close_file(w);
        return err_set(err, "%s is no file", w->path);
    }
    if (w->options.mode != 0 && st.st_size == 0) {
        (void)fchmod(w->fd, w->options.mode); /* The umask aside. Somebody else's stays as it is. */
    }
    w->device = st.st_dev;
    w->inode = st.st_ino;
    w->size = (uint64_t)st.st_size;
    return 0;
}

static bool is_where_it_was(const struct writer *w)
{
    struct stat st;

    return stat(w->path, &st) == 0 && st.st_dev == w->device && st.st_ino == w->inode;
}

static void older_name(const struct writer *w, uint64_t n, struct strbuf *name)
{
    strbuf_deinit(name);
    strbuf_printf(name, n > 0 ? "%s.%llu" : "%s", w->path, (unsigned long long)n);
}

/* Each is one older, from the first gap down: the oldest is overwritten. */
static int rotate(struct writer *w, struct err *err)
{
    struct strbuf from = {0}, to = {0};
    uint64_t n = 0;
    int rv = 0;

    do {
        older_name(w, ++n, &to);
    } while (n < w->options.n_older && access(to.data, F_OK) == 0);
    for (; n > 0 && rv == 0; n--) {
        older_name(w, n - 1, &from);
        older_name(w, n, &to);
        if (rename(from.data, to.data) != 0) {
            rv = err_set_errno(err, errno, "%s can not become %s", from.data, to.data);
        }
    }
    close_file(w);
    strbuf_deinit(&from);
    strbuf_deinit(&to);
    return rv;
}

static bool is_too_long(const struct writer *w, size_t size)
{
    return w->options.n_older > 0 && w->options.bytes_max > 0 && w->size > 0 &&
           w->size + size > w->options.bytes_max;
}

/* A line stays a line: half of one is taken back. */
static int append(struct writer *w, const char *text, size_t size, struct err *err)
{
    ssize_t n = write(w->fd, text, size);
    int errnum = n < 0 ? errno : ENOSPC;

    if (n == (ssize_t)size) {
        w->size += size;
        return 0;
    }
    if (n > 0 && ftruncate(w->fd, (off_t)w->size) != 0) {
        w->size += (uint64_t)n;
    }
    return err_set_errno(err, errnum, "%s can not be written", w->path);
}

static int write_line(struct writer *w, const char *text, size_t size, struct err *err)
{
    PRE(w->path != NULL);
    if (w->fd >= 0 && !is_where_it_was(w)) {
        close_file(w);
    }
    if (w->fd < 0 && open_file(w, err) < 0) {
        return -1;
    }
    if (is_too_long(w, size) && (rotate(w, err) < 0 || open_file(w, err) < 0)) {
        return -1;
    }
    return append(w, text, size, err);
}

/* ---- The thread ---- */

static void count_elsewhere(bool is_error)
{
    pthread_mutex_lock(&shared.mutex);
    shared.stats.n_errors += is_error ? 1 : 0;
    shared.stats.n_elsewhere++;
    pthread_mutex_unlock(&shared.mutex);
}

static void fail(struct writer *w, const struct err *err)
{
    if (!w->is_failing) {
        w->is_failing = true; /* First: this goes elsewhere, too. */
        log_error("The log can not be written, its lines go to stderr until it can. error=\"%s\"",
                  err->text);
    }
    w->again_ms = clock_ms() + AGAIN_MS;
}

static void say_written(struct writer *w)
{
    uint64_t n = log_file_stats().n_elsewhere;

    if (n > w->n_before) {
        log_info("The log is written again; lines meanwhile went to stderr. file=%s lines=%llu",
                 w->path, (unsigned long long)(n - w->n_before));
    }
    w->n_before = n;
}

static void deliver(struct writer *w, const struct line *line)
{
    struct err err = {""};

    if (w->path != NULL && (!w->is_failing || clock_ms() >= w->again_ms)) {
        if (write_line(w, line->text, line->size, &err) == 0) {
            w->is_failing = false;
            return;
        }
        fail(w, &err);
    }
    count_elsewhere(err.text[0] != '\0');
    log_to_stderr(line->text, line->size);
}

/* Of a reload that changed something else nothing is seen. */
static void use(struct writer *w, struct log_file_options *options)
{
    struct strbuf path = {0};

    if (options->dir != NULL) {
        strbuf_printf(&path, "%s/" LOG_FILE_NAME, options->dir);
    }
    if (!str_equal(path.data, w->path)) {
        close_file(w);
        w->is_failing = false;
    }
    free(w->path);
    w->path = path.data;
    free((char *)options->dir);
    w->options = *options;
    w->options.dir = NULL;
    free(options);
}

/* All that wait; NULL = there are none, and the thread is to end. */
static struct line *next_lines(void)
{
    struct line *first;

    pthread_mutex_lock(&shared.mutex);
    while (shared.first == NULL && !shared.stops) {
        pthread_cond_wait(&shared.work, &shared.mutex);
    }
    first = shared.first;
    shared.first = NULL;
    shared.last = NULL;
    shared.stats.n_waiting = 0;
    shared.is_full = false;
    pthread_mutex_unlock(&shared.mutex);
    return first;
}

static void *write_lines(void *arg)
{
    struct writer w = {.fd = -1, .n_before = log_file_stats().n_elsewhere};
    struct line *line, *next;
    int end_fd = (int)(intptr_t)arg; /* Open as long as we live. */

    own_writer = &w;
    while ((line = next_lines()) != NULL) {
        for (; line != NULL; line = next) {
            next = line->next;
            if (line->options != NULL) {
                use(&w, line->options);
            } else {
                deliver(&w, line);
            }
            free(line);
        }
        if (w.fd >= 0 && !w.is_failing) {
            say_written(&w);
        }
    }
    close_file(&w);
    free(w.path);
    (void)eventfd_write(end_fd, 1); /* Never full. */
    return NULL;
}

/* ---- Whoever logs ---- */

static struct line *make_line(const char *text, size_t size)
{
    struct line *line = xmalloc(sizeof(*line) + size);

    line->size = size;
    memcpy(line->text, text, size);
    return line;
}

/* With the mutex. */
static void enqueue(struct line *line)
{
    if (shared.last != NULL) {
        shared.last->next = line;
    } else {
        shared.first = line;
    }
    shared.last = line;
    shared.stats.n_waiting += line->options == NULL ? 1 : 0;
    pthread_cond_signal(&shared.work);
}

static bool put(const char *text, size_t size)
{
    struct err err = {""};
    struct line *line;
    bool has_room;
    bool is_news = false;

    if (own_writer != NULL) { /* About itself. */
        return !own_writer->is_failing && write_line(own_writer, text, size, &err) == 0;
    }
    line = make_line(text, size);
    pthread_mutex_lock(&shared.mutex);
    has_room = shared.stats.n_waiting < shared.lines_max;
    if (has_room) {
        enqueue(line);
    } else {
        shared.stats.n_elsewhere++;
        is_news = !shared.is_full;
        shared.is_full = true;
    }
    pthread_mutex_unlock(&shared.mutex);
    if (!has_room) {
        free(line);
    }
    if (is_news) {
        log_warning("The log's disk does not keep up, lines go to stderr until it does.");
    }
    return has_room;
}

/* Signals are for the loop's thread. */
static int start_thread(struct err *err)
{
    sigset_t all, before;
    int status;

    shared.end_fd = eventfd(0, EFD_CLOEXEC);
    if (shared.end_fd < 0) {
        return err_set_errno(err, errno, "no thread can be started for the log");
    }
    shared.stops = false;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    status = pthread_create(&shared.thread, NULL, write_lines, (void *)(intptr_t)shared.end_fd);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != 0) {
        (void)close(shared.end_fd); /* Unused. */
        return err_set_errno(err, status, "no thread can be started for the log");
    }
    shared.is_running = true;
    return 0;
}

int log_file_configure(const struct log_file_options *options, struct err *err)
{
    uint64_t lines_max = options->lines_max;
    struct line *line;

    if (!shared.is_running && (options->dir == NULL || start_thread(err) < 0)) {
        return options->dir == NULL ? 0 : -1;
    }
    line = make_line("", 0);
    line->options = xmalloc(sizeof(*options));
    *line->options = *options;
    line->options->dir = options->dir != NULL ? xstrdup(options->dir) : NULL;
    pthread_mutex_lock(&shared.mutex);
    shared.lines_max =
        lines_max == 0 || lines_max > LOG_FILE_LINES_MAX ? LOG_FILE_LINES_MAX : lines_max;
    enqueue(line);
    pthread_mutex_unlock(&shared.mutex);
    log_set_sink(options->dir != NULL ? put : NULL);
    return 0;
}

void log_file_close(uint64_t wait_ms)
{
    struct pollfd end = {.fd = shared.end_fd, .events = POLLIN};

    log_set_sink(NULL);
    if (!shared.is_running) {
        return;
    }
    pthread_mutex_lock(&shared.mutex);
    shared.stops = true;
    pthread_cond_signal(&shared.work);
    pthread_mutex_unlock(&shared.mutex);
    shared.is_running = false;
    if (poll(&end, 1, (int)wait_ms) == 1) {
        (void)pthread_join(shared.thread, NULL); /* It has nothing to say. */
        (void)close(shared.end_fd);
    } else {
        (void)pthread_detach(shared.thread); /* Its disk hangs; what it has is its own. */
    }
}

struct log_file_stats log_file_stats(void)
{
    struct log_file_stats stats;

    pthread_mutex_lock(&shared.mutex);
    stats = shared.stats;
    pthread_mutex_unlock(&shared.mutex);
    return stats;
}
