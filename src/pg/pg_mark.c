/*
 * A data directory in the making, on the thread. What initdb or a clone makes lies
 * in a directory of its own inside the data directory, veche-making-<token>, until
 * it is whole; a mark beside the data directory, <data_dir>.veche-incomplete, names
 * the token. Only mark and token together say "not whole, and ours to empty":
 *
 *  - a directory that somebody restored by hand beside an old mark has no such
 *    token. It is looked at as what it is; its next start sets the mark aside;
 *  - the token is there, durable, before the mark, and the mark before anything is
 *    removed; the mark goes first, then the token. Cut off anywhere, either the old
 *    data is whole, or both are there, or the new data is;
 *  - the name has no leading dot: `rm -rf <data_dir>/...` with a * takes it along;
 *  - the parts move up one by one, global/ with pg_control last: without the mark,
 *    too, half of a database is never taken for one.
 *
 * What changes data in place may remove the token (pg_rewind removes what its source
 * lacks). So the mark also names the pg_control that it found: tools that change data
 * in place write into that very file, a restore makes a new one.
 *
 * An operator's command works in the data directory itself and may remove and make what it
 * likes there, the directory too: nothing in it could tell. Its mark says so, in-place, and
 * holds for all that is there. Who restores a database by hand after that was cut off removes
 * the mark first.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/rng.h"
#include "base/str.h"
#include "pg/pg_internal.h"

#define TOKEN_SIZE 17 /* 16 digits. */

struct mark {
    char why[TEXT_SIZE];
    char token[TOKEN_SIZE];
    char control[PG_FILE_ID_SIZE]; /* Of pg_control when it was marked; empty = none. */
    uint32_t rewind;               /* pg_rewind is under way: the source's timeline; else 0. */
    char boot[64];                 /* Of the machine, then: pg_rewind syncs at its end only. */
    char kept[PATH_MAX];           /* Where the WAL that it needs and removes was put. */
    char in_place[8];              /* "yes": a command works in the data directory itself. */
};

bool pg_mark_is_making(const char *name)
{
    return str_starts_with(name, PG_MAKING_PREFIX);
}

static void token_path(const char *data_dir, const char *token, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/" PG_MAKING_PREFIX "%s", data_dir, token);
}

static void read_control_id(const char *data_dir, char *id, size_t size)
{
    char path[PATH_MAX];

    id[0] = '\0';
    if (snprintf(path, sizeof(path), "%s/global/pg_control", data_dir) < (int)sizeof(path)) {
        pg_file_id(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, id, size);
    }
}

static void read_boot_id(char *id, size_t size)
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, id, size - 1) : 0;

    if (fd >= 0) {
        (void)close(fd); /* Only read. */
    }
    id[MAX(n, 0)] = '\0'; /* Empty: never the same. */
    id[strcspn(id, "\n")] = '\0';
}

/* ---- Reading it ---- */

static void take_value(const char *line, const char *key, char *value, size_t size)
{
    if (str_starts_with(line, key)) {
        (void)str_copy(value, size, line + strlen(key)); /* Cut: matches nothing. */
    }
}

static void take_timeline(const char *line, uint32_t *ret)
{
    char value[16];
    uint64_t number;

    value[0] = '\0';
    take_value(line, "rewind=", value, sizeof(value));
    if (str_to_u64(value, 1, UINT32_MAX, &number)) {
        *ret = (uint32_t)number;
    }
}

/* False if there is no mark. One that can not be read has no token. */
static bool read_mark(const char *data_dir, struct mark *ret)
{
    char path[PATH_MAX];
    char *text;

    memset(ret, 0, sizeof(*ret));
    pg_file_beside(data_dir, "incomplete", path, sizeof(path));
    if (access(path, F_OK) != 0) {
        return false;
    }
    text = pg_file_read(path, PG_MARK_SIZE_MAX);
    for (char *line = text; line != NULL && *line != '\0';) {
        size_t n = strcspn(line, "\n");
        bool more = line[n] != '\0';

        line[n] = '\0';
        if (line == text) {
            (void)str_copy(ret->why, sizeof(ret->why), line); /* For people. */
        }
        take_value(line, "token=", ret->token, sizeof(ret->token));
        take_value(line, "control=", ret->control, sizeof(ret->control));
        take_value(line, "kept=", ret->kept, sizeof(ret->kept));
        take_value(line, "boot=", ret->boot, sizeof(ret->boot));
        take_value(line, "in-place=", ret->in_place, sizeof(ret->in_place));
        take_timeline(line, &ret->rewind);
        line += n + (more ? 1 : 0);
    }
    free(text);
    return true;
}

enum pg_mark pg_mark_look(const char *data_dir, char *why, size_t size)
{
    char path[PATH_MAX], control[PG_FILE_ID_SIZE];
    struct mark mark;

    if (!read_mark(data_dir, &mark)) {
        return PG_MARK_NONE;
    }
    (void)str_copy(why, size, mark.why); /* For people; cut is fine. */
    if (str_equal(mark.in_place, "yes")) {
        return PG_MARK_OURS;
    }
    if (mark.token[0] == '\0') {
        return PG_MARK_UNREADABLE;
    }
    token_path(data_dir, mark.token, path, sizeof(path));
    read_control_id(data_dir, control, sizeof(control));
    if (access(path, F_OK) == 0 || (control[0] != '\0' && str_equal(control, mark.control))) {
        return PG_MARK_OURS;
    }
    return PG_MARK_STALE;
}

/* What pg_keep_restore can not do without. */
static bool has_kept(const char *kept)
{
    char record[PATH_MAX], control[PATH_MAX];

    return kept[0] != '\0' &&
           snprintf(record, sizeof(record), "%s/RECORD", kept) < (int)sizeof(record) &&
           snprintf(control, sizeof(control), "%s/pg_control", kept) < (int)sizeof(control) &&
           access(record, R_OK) == 0 && access(control, R_OK) == 0;
}

enum pg_rewind_mark pg_mark_rewind(const char *data_dir, uint32_t *ret_timeline, char *kept,
                                   size_t size)
{
    struct mark mark;

    char boot[sizeof(mark.boot)];

    if (!read_mark(data_dir, &mark) || mark.rewind == 0) {
        return PG_REWIND_NONE;
    }
    read_boot_id(boot, sizeof(boot));
    if (!str_copy(kept, size, mark.kept) || boot[0] == '\0' || !str_equal(boot, mark.boot)) {
        return PG_REWIND_LOST;
    }
    if (!has_kept(kept)) {
        return PG_REWIND_GONE;
    }
    *ret_timeline = mark.rewind;
    return PG_REWIND_OPEN;
}

int pg_mark_set_aside(const char *data_dir, struct err *err)
{
    char path[PATH_MAX], aside[PATH_MAX], why[TEXT_SIZE];

    if (pg_mark_look(data_dir, why, sizeof(why)) != PG_MARK_STALE) {
        return 0;
    }
    pg_file_beside(data_dir, "incomplete", path, sizeof(path));
    pg_file_beside(data_dir, "incomplete.old", aside, sizeof(aside));
    if (rename(path, aside) != 0) {
        return err_set_errno(err, errno, "renaming %s to %s", path, aside);
    }
    log_warning("A mark of another data directory was set aside: this one was put in its place "
                "since. mark=%s was=\"%s\"",
                aside, why);
    return 0;
}

/* ---- Setting and removing it ---- */

struct mark_work {
    struct pg_work work; /* First: freed through it. */
    struct mark mark;
    char making[PATH_MAX];
    bool is_clone;
    bool in_place;
    struct kv_list options; /* Of pg_basebackup then. */
};

/* What it is in may be missing: a package that makes no cluster leaves no directory for its. */
static int make_data_dir(const char *data_dir, struct err *err)
{
    pg_file_make_dirs(data_dir);
    return mkdir(data_dir, 0700) == 0 || errno == EEXIST
               ? 0
               : err_set_errno(err, errno, "creating %s", data_dir);
}

static int make_token(struct mark_work *m, struct err *err)
{
    const char *data_dir = m->work.opts->o.data_dir;

    (void)snprintf(m->mark.token, sizeof(m->mark.token), "%016llx",
                   (unsigned long long)rng_system());
    token_path(data_dir, m->mark.token, m->making, sizeof(m->making));
    if (make_data_dir(data_dir, err) != 0) {
        return -1;
    }
    if (mkdir(m->making, 0700) != 0) {
        return err_set_errno(err, errno, "creating %s", m->making);
    }
    return pg_file_sync_dir(data_dir, err);
}

/* What the try before has listed is not empty any more, and still ours. */
static void add_spaces(const struct mark_work *m, const char *old_mark, struct strbuf *text)
{
    const char *data_dir = m->work.opts->o.data_dir;
    char why[TEXT_SIZE];
    struct strbuf list = {0};

    if (pg_mark_look(data_dir, why, sizeof(why)) == PG_MARK_OURS) {
        pg_spaces_carry(old_mark, &list);
    }
    if (m->is_clone) {
        pg_spaces_list(data_dir, &m->options, &list);
    }
    strbuf_add(text, list.data, list.length);
    strbuf_deinit(&list);
}

static int write_mark(struct mark_work *m, struct err *err)
{
    const char *data_dir = m->work.opts->o.data_dir;
    struct strbuf text = {0};
    char path[PATH_MAX];
    int status;

    if (m->in_place ? make_data_dir(data_dir, err) != 0 : make_token(m, err) != 0) {
        return -1;
    }
    pg_file_beside(data_dir, "incomplete", path, sizeof(path));
    read_control_id(data_dir, m->mark.control, sizeof(m->mark.control));
    read_boot_id(m->mark.boot, sizeof(m->mark.boot));
    strbuf_printf(&text, "%s\ntoken=%s\ncontrol=%s\n", m->mark.why, m->mark.token, m->mark.control);
    strbuf_add_text(&text, m->in_place ? "in-place=yes\n" : "");
    if (m->mark.rewind != 0) {
        strbuf_printf(&text, "rewind=%u\nboot=%s\nkept=%s\n", m->mark.rewind, m->mark.boot,
                      m->mark.kept);
    }
    add_spaces(m, path, &text);
    status = pg_file_write(path, text.data, text.length, 0600, err);
    strbuf_deinit(&text);
    return status;
}

static void run_mark(struct pg_job *job)
{
    struct mark_work *m = CONTAINER_OF(job, struct mark_work, work.job);

    m->work.status = write_mark(m, &m->work.err);
    if (m->work.status != 0) {
        (void)err_wrap(&m->work.err, "marking the data directory");
    }
}

/* Only what is empty goes; what is not is left for the next clone, or for people. */
static void remove_tokens(const char *data_dir)
{
    DIR *dir = opendir(data_dir);
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (pg_mark_is_making(entry->d_name)) {
            (void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir); /* A token that comes back after a crash says nothing. */
    }
}

static void run_unmark(struct pg_job *job)
{
    struct mark_work *m = CONTAINER_OF(job, struct mark_work, work.job);
    const char *data_dir = m->work.opts->o.data_dir;
    char path[PATH_MAX];

    pg_file_beside(data_dir, "incomplete", path, sizeof(path));
    m->work.status = pg_file_remove(path, &m->work.err);
    if (m->work.status == 0) {
        remove_tokens(data_dir);
    } else {
        (void)err_wrap(&m->work.err, "removing the mark of the data directory");
    }
}

static void on_marked(struct pg_job *job)
{
    struct mark_work *m = CONTAINER_OF(job, struct mark_work, work.job);

    (void)str_copy(m->work.pg->making, sizeof(m->work.pg->making), m->making); /* Same size. */
    kv_deinit(&m->options);
    pg_work_done(job);
}

void pg_mark_incomplete(struct pg *pg, bool incomplete, const char *why, pg_done_cb cb, void *data)
{
    struct mark_work *m = xmalloc(sizeof(*m));

    (void)str_copy(m->mark.why, sizeof(m->mark.why), why != NULL ? why : "");
    m->mark.why[strcspn(m->mark.why, "\n")] = '\0';
    pg_work_submit(pg, &m->work, incomplete ? run_mark : run_unmark,
                   incomplete ? on_marked : pg_work_done, cb, data);
}

void pg_mark_cloning(struct pg *pg, const char *why, const struct kv_list *options, pg_done_cb cb,
                     void *data)
{
    struct mark_work *m = xmalloc(sizeof(*m));

    (void)str_copy(m->mark.why, sizeof(m->mark.why), why);
    m->is_clone = true;
    if (options != NULL) {
        kv_copy(&m->options, options);
    }
    pg_work_submit(pg, &m->work, run_mark, on_marked, cb, data);
}

void pg_mark_method(struct pg *pg, const char *why, pg_done_cb cb, void *data)
{
    struct mark_work *m = xmalloc(sizeof(*m));

    (void)str_copy(m->mark.why, sizeof(m->mark.why), why);
    m->in_place = true;
    pg_work_submit(pg, &m->work, run_mark, on_marked, cb, data);
}

void pg_mark_rewinding(struct pg *pg, uint32_t timeline, const char *why, pg_done_cb cb, void *data)
{
    struct mark_work *m = xmalloc(sizeof(*m));

    (void)str_copy(m->mark.why, sizeof(m->mark.why), why);
    m->mark.rewind = timeline;
    (void)str_copy(m->mark.kept, sizeof(m->mark.kept), pg->kept.path); /* Same size. */
    pg_work_submit(pg, &m->work, run_mark, pg_work_done, cb, data);
}

const char *pg_making_dir(const struct pg *pg)
{
    return pg->making;
}

/* ---- What was made moves up ---- */

static int move_entries(int from, int to, struct err *err)
{
    int copy = dup(from);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    const struct dirent *entry;
    int status = 0;

    if (dir == NULL) {
        return err_set_errno(err, errno, "reading what was made");
    }
    while (status == 0 && (entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;

        /* A copy brings along what its source had left of this. */
        if (str_equal(name, ".") || str_equal(name, "..") || str_equal(name, "global") ||
            pg_mark_is_making(name)) {
            continue;
        }
        if (renameat(from, name, to, name) != 0) {
            status = err_set_errno(err, errno, "moving %s", name);
        }
    }
    (void)closedir(dir); /* Only read. */
    return status;
}

/* PostgreSQL looks at the mode of its directory, and the tools have set it on this
 * one. */
static int settle_between(int from, int to, struct err *err)
{
    struct stat st;

    if (fstat(from, &st) != 0 || fchmod(to, st.st_mode & 07777) != 0) {
        return err_set_errno(err, errno, "setting the mode of the data directory");
    }
    if (move_entries(from, to, err) != 0) {
        return -1;
    }
    if (fsync(to) != 0 || renameat(from, "global", to, "global") != 0 || fsync(to) != 0 ||
        fsync(from) != 0) {
        return err_set_errno(err, errno, "moving global");
    }
    return 0;
}

static int settle(const char *making, const char *data_dir, struct err *err)
{
    int from = open(making, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int to = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status;

    status = from >= 0 && to >= 0 ? settle_between(from, to, err)
                                  : err_set_errno(err, errno, "opening %s", making);
    if (from >= 0) {
        (void)close(from); /* Synced. */
    }
    if (to >= 0) {
        (void)close(to); /* Synced. */
    }
    return status;
}

static void run_settle(struct pg_job *job)
{
    struct mark_work *m = CONTAINER_OF(job, struct mark_work, work.job);

    m->work.status = settle(m->making, m->work.opts->o.data_dir, &m->work.err);
    if (m->work.status != 0) {
        (void)err_wrap(&m->work.err, "moving the new database to its place");
    }
}

void pg_settle(struct pg *pg, pg_done_cb cb, void *data)
{
    struct mark_work *m = xmalloc(sizeof(*m));

    (void)str_copy(m->making, sizeof(m->making), pg->making); /* Same size. */
    pg_work_submit(pg, &m->work, run_settle, pg_work_done, cb, data);
}
