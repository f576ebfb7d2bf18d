/*
 * What is on disk and in /proc of a data directory, read on the thread: its kind,
 * pg_control, postmaster.pid, the processes. Nothing is remembered here.
 */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "base/str.h"
#include "pg/pg_internal.h"
#include "pg/pg_processes.h"

#define PIDFILE_LINES    8
#define PIDFILE_SIZE_MAX 8192

static bool exists_in(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat st;

    return snprintf(path, sizeof(path), "%s/%s", dir, name) < (int)sizeof(path) &&
           lstat(path, &st) == 0;
}

/* Patroni's rule of "empty": nothing but dot files and lost+found; and a token of ours
 * that no mark speaks of. */
static enum data_state look_empty(const char *data_dir, char *problem, size_t size)
{
    DIR *dir = opendir(data_dir);
    const struct dirent *entry;
    enum data_state state = DATA_EMPTY;

    if (dir == NULL && errno == ENOENT) {
        return DATA_EMPTY;
    }
    if (dir == NULL) {
        int errnum = errno;

        (void)snprintf(problem, size, "opening %.120s: %s%s", data_dir, strerror(errnum),
                       errnum == EACCES ? "; give it to the user the agent runs as, with mode 0700"
                                        : "");
        return errnum == ENOTDIR ? DATA_FOREIGN : DATA_UNKNOWN;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.' && !str_equal(entry->d_name, "lost+found") &&
            !pg_mark_is_making(entry->d_name)) {
            state = DATA_FOREIGN; /* Until it turns out to be a database. */
            break;
        }
    }
    (void)closedir(dir); /* Only read. */
    return state;
}

uint32_t pg_look_major(const char *data_dir)
{
    char path[PATH_MAX];
    char *text;
    uint64_t major = 0;

    if (snprintf(path, sizeof(path), "%s/PG_VERSION", data_dir) >= (int)sizeof(path)) {
        return 0;
    }
    text = pg_file_read(path, 64);
    if (text == NULL) {
        return 0;
    }
    text[strcspn(text, "\r\n")] = '\0';
    if (!str_to_u64(text, 1, 1000, &major)) {
        major = 0; /* "9.6" as well: far too old. */
    }
    free(text);
    return (uint32_t)major;
}

/* What the mark makes of a directory; DATA_VALID = nothing. */
static enum data_state look_mark(const char *data_dir, char *problem, size_t size)
{
    char why[TEXT_SIZE] = "";

    switch (pg_mark_look(data_dir, why, sizeof(why))) {
    case PG_MARK_OURS:
        (void)snprintf(problem, size, "%.200s was cut off", why[0] != '\0' ? why : "a clone");
        return DATA_INCOMPLETE;
    case PG_MARK_UNREADABLE:
        (void)snprintf(problem, size,
                       "%.120s.veche-incomplete can not be read: if the data directory is whole "
                       "remove that file, else both",
                       data_dir);
        return DATA_FOREIGN;
    case PG_MARK_NONE:
    case PG_MARK_STALE: /* Set aside by the next start. */
        break;
    }
    return DATA_VALID;
}

/* Cut off, it can go on with the same source, if what it needs is there still. */
static enum data_state look_rewind(const char *data_dir, enum data_state state,
                                   struct pg_disk *disk)
{
    char kept[PATH_MAX];
    enum pg_rewind_mark mark;

    if (state != DATA_INCOMPLETE) {
        return state;
    }
    mark = pg_mark_rewind(data_dir, &disk->rewind_timeline, kept, sizeof(kept));
    disk->rewind_gone = mark == PG_REWIND_GONE;
    return mark != PG_REWIND_NONE ? DATA_REWINDING : state;
}

enum data_state pg_look_data(const struct pg_options *o, struct pg_disk *disk)
{
    enum data_state state = pg_look_behind_mark(o, disk);
    enum data_state marked = DATA_VALID;

    if (state != DATA_UNKNOWN) {
        marked = look_mark(o->data_dir, disk->problem, sizeof(disk->problem));
    }
    if (marked == DATA_VALID) {
        return state;
    }
    marked = look_rewind(o->data_dir, marked, disk);
    disk->major = 0;
    disk->has_control = false;
    return marked;
}

enum data_state pg_look_behind_mark(const struct pg_options *o, struct pg_disk *disk)
{
    const char *data_dir = o->data_dir;
    enum data_state state = look_empty(data_dir, disk->problem, sizeof(disk->problem));
    struct err err = {0};

    if (state == DATA_UNKNOWN || state == DATA_EMPTY) {
        return state;
    }
    disk->major = pg_look_major(data_dir);
    if (disk->major == 0) {
        (void)snprintf(disk->problem, sizeof(disk->problem),
                       "%.150s is not empty and not a database: no PG_VERSION", data_dir);
        return DATA_FOREIGN;
    }
    if (disk->major < PG_MAJOR_MIN || disk->major > PG_MAJOR_MAX) {
        (void)snprintf(disk->problem, sizeof(disk->problem),
                       "the data directory is of PostgreSQL %u, 13 to 18 are supported",
                       disk->major);
        return DATA_FOREIGN;
    }
    disk->has_control = pg_control_read(data_dir, &disk->control, &err) == 0;
    if (!disk->has_control) {
        (void)snprintf(disk->problem, sizeof(disk->problem), "%.200s", err.text);
        return DATA_FOREIGN;
    }
    return DATA_VALID;
}

static enum pg_pidfile_status parse_status(const char *text)
{
    static const struct {
        const char *word;
        enum pg_pidfile_status status;
    } words[] = {
        {"starting", PG_PIDFILE_STARTING},
        {"stopping", PG_PIDFILE_STOPPING},
        {"ready", PG_PIDFILE_READY},
        {"standby", PG_PIDFILE_STANDBY},
    };

    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (str_starts_with(text, words[i].word)) {
            return words[i].status;
        }
    }
    return PG_PIDFILE_NONE;
}

/* pidfile.h: pid, data directory, start time, port, socket directory, listen
 * address, shared memory, status. A negative pid is of a stand-alone backend, such as
 * initdb runs: no postmaster. */
void pg_look_pidfile(const char *data_dir, struct pg_pidfile *ret_pidfile)
{
    char path[PATH_MAX];

    memset(ret_pidfile, 0, sizeof(*ret_pidfile));
    if (snprintf(path, sizeof(path), "%s/postmaster.pid", data_dir) < (int)sizeof(path)) {
        pg_look_lock_file(path, ret_pidfile);
    }
}

void pg_look_lock_file(const char *path, struct pg_pidfile *ret_pidfile)
{
    const char *lines[PIDFILE_LINES] = {NULL};
    struct pg_pidfile p = {0};
    uint64_t number;
    char *text, *at;

    *ret_pidfile = p;
    text = pg_file_read(path, PIDFILE_SIZE_MAX);
    if (text == NULL) {
        return;
    }
    at = text;
    for (size_t i = 0; i < PIDFILE_LINES && *at != '\0'; i++) {
        size_t n = strcspn(at, "\n");
        bool more = at[n] != '\0';

        at[n] = '\0';
        lines[i] = at;
        at += n + (more ? 1 : 0);
    }
    if (lines[0] != NULL && str_to_u64(lines[0], 1, INT32_MAX, &number)) {
        p.pid = (pid_t)number;
    }
    if (lines[1] != NULL && !str_copy(p.data_dir, sizeof(p.data_dir), lines[1])) {
        p.data_dir[0] = '\0'; /* Too long to be ours. */
    }
    if (lines[3] != NULL && str_to_u64(lines[3], 1, UINT16_MAX, &number)) {
        p.port = (uint16_t)number;
    }
    if (lines[4] != NULL && !str_copy(p.socket_dir, sizeof(p.socket_dir), lines[4])) {
        p.socket_dir[0] = '\0'; /* Too long to be used. */
    }
    p.status = lines[7] != NULL ? parse_status(lines[7]) : PG_PIDFILE_NONE;
    free(text);
    *ret_pidfile = p;
}

void pg_look(const struct pg_options *o, struct pg_disk *ret_disk)
{
    struct pg_disk *d = ret_disk;

    memset(d, 0, sizeof(*d));
    if (realpath(o->data_dir, d->path) == NULL) {
        d->path[0] = '\0';
    }
    d->data = pg_look_data(o, d);
    d->has_standby_signal =
        exists_in(o->data_dir, "standby.signal") || exists_in(o->data_dir, "recovery.signal");
    d->gate_closed = pg_gate_is_closed(o);
    pg_look_pidfile(o->data_dir, &d->pidfile);
    if (d->path[0] != '\0') {
        d->n_processes = (uint32_t)pg_processes_find(d->path, NULL, 0);
    }
}
