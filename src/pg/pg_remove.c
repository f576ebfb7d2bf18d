/*
 * Emptying a data directory, on the thread, so that a clone can fill it. Removes
 * what pg_wal and the tablespaces point to as well; never follows any other link,
 * never leaves the tree it was given. Refuses while a process of it is left, and
 * what is no database.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/str.h"
#include "pg/pg_internal.h"
#include "pg/pg_processes.h"

#define DEPTH_MAX 32

/* What to leave out at the top level of a walk; NULL = nothing. */
typedef bool (*keep_fn)(const char *name, const void *data);

static int empty_dir(int fd, int depth, keep_fn keep, const void *data, struct err *err);

static int remove_tree(int parent, const char *name, int depth, struct err *err)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0) {
        return err_set_errno(err, errno, "opening %s", name);
    }
    if (empty_dir(fd, depth + 1, NULL, NULL, err) != 0) {
        return -1;
    }
    if (unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT) {
        return err_set_errno(err, errno, "removing %s", name);
    }
    return 0;
}

static int remove_entry(int parent, const char *name, int depth, struct err *err)
{
    struct stat st;

    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? 0 : err_set_errno(err, errno, "looking at %s", name);
    }
    if (S_ISDIR(st.st_mode)) {
        return remove_tree(parent, name, depth, err);
    }
    if (unlinkat(parent, name, 0) != 0 && errno != ENOENT) {
        return err_set_errno(err, errno, "removing %s", name);
    }
    return 0;
}

/* Takes over fd. */
static int empty_dir(int fd, int depth, keep_fn keep, const void *data, struct err *err)
{
    DIR *dir = fdopendir(fd);
    const struct dirent *entry;
    int status = 0;

    if (dir == NULL || depth > DEPTH_MAX) {
        (void)(dir != NULL ? closedir(dir) : close(fd));
        return err_set(err, "a directory can not be read, or is nested too deep");
    }
    while (status == 0 && (entry = readdir(dir)) != NULL) {
        if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, "..") ||
            (keep != NULL && keep(entry->d_name, data))) {
            continue;
        }
        status = remove_entry(dirfd(dir), entry->d_name, depth, err);
    }
    if (status == 0 && fsync(dirfd(dir)) != 0) {
        status = err_set_errno(err, errno, "syncing a directory");
    }
    (void)closedir(dir); /* Synced. */
    return status;
}

static int open_dir(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 ? fd : err_set_errno(err, errno, "opening %s", path);
}

/* Follows one link out of the data directory: its target must be an absolute path
 * to a directory that is ours and not the root. 1 = there is nothing to follow. */
static int open_target(const char *link, struct err *err)
{
    char target[PATH_MAX];
    struct stat st;
    int fd;

    if (lstat(link, &st) != 0 || !S_ISLNK(st.st_mode) || realpath(link, target) == NULL) {
        return -2;
    }
    fd = open_dir(target, err);
    if (fd < 0) {
        return -1;
    }
    if (fstat(fd, &st) != 0 || st.st_uid != geteuid() || str_equal(target, "/")) {
        (void)close(fd);
        return err_set(err, "%s leads to %s, which is not ours to empty", link, target);
    }
    return fd;
}

/* A tablespace may serve several versions (PG_15_202209061, ...): others stay. */
static bool is_other_version(const char *name, const void *data)
{
    return !str_starts_with(name, data);
}

int pg_remove_version(int fd, uint32_t major, struct err *err)
{
    char prefix[16];

    (void)snprintf(prefix, sizeof(prefix), "PG_%u_", major);
    return empty_dir(fd, 0, is_other_version, prefix, err);
}

static int empty_link(const char *link, keep_fn keep, const void *data, struct err *err)
{
    int fd = open_target(link, err);

    if (fd == -2) {
        return 0;
    }
    return fd >= 0 ? empty_dir(fd, 0, keep, data, err) : -1;
}

static int empty_tablespaces(const char *data_dir, uint32_t major, struct err *err)
{
    char path[PATH_MAX], link[PATH_MAX + 260], prefix[16];
    const struct dirent *entry;
    int status = 0;
    DIR *dir;

    (void)snprintf(path, sizeof(path), "%s/pg_tblspc", data_dir);
    (void)snprintf(prefix, sizeof(prefix), "PG_%u_", major);
    dir = opendir(path);
    if (dir == NULL || major == 0) {
        if (dir != NULL) {
            (void)closedir(dir);
        }
        return 0;
    }
    while (status == 0 && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            (void)snprintf(link, sizeof(link), "%s/%s", path, entry->d_name);
            status = empty_link(link, is_other_version, prefix, err);
        }
    }
    (void)closedir(dir); /* Only read. */
    return status;
}

/* Out of the data directory, and out of what is or was being made in it. */
static int empty_links_of(const char *dir, struct err *err)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/pg_wal", dir);
    if (empty_link(path, NULL, NULL, err) != 0) {
        return -1;
    }
    return empty_tablespaces(dir, pg_look_major(dir), err);
}

static int empty_links(const char *data_dir, struct err *err)
{
    DIR *dir = opendir(data_dir);
    const struct dirent *entry;
    char path[PATH_MAX];
    int status;

    if (dir == NULL) {
        return err_set_errno(err, errno, "opening %s", data_dir);
    }
    status = empty_links_of(data_dir, err);
    while (status == 0 && (entry = readdir(dir)) != NULL) {
        if (pg_mark_is_making(entry->d_name) &&
            snprintf(path, sizeof(path), "%s/%s", data_dir, entry->d_name) < (int)sizeof(path)) {
            status = empty_links_of(path, err);
        }
    }
    (void)closedir(dir); /* Only read. */
    return status;
}

/* What an empty data directory may hold (pg_look.c): no database made it. The other is
 * where the next data is made. */
static bool is_kept(const char *name, const void *making)
{
    return name[0] == '.' || str_equal(name, "lost+found") || str_equal(name, making);
}

struct removal {
    struct pg_work work; /* First: freed through it. */
    char making[PATH_MAX];
};

static int remove_data(const struct pg_options *o, const char *making, struct err *err)
{
    struct pg_disk disk = {0};
    char path[PATH_MAX];
    int fd;

    if (access(o->data_dir, F_OK) != 0 && errno == ENOENT) {
        return 0;
    }
    disk.data = pg_look_data(o, &disk);
    if (disk.data == DATA_FOREIGN || disk.data == DATA_UNKNOWN) {
        return err_set(err, "%s", disk.problem);
    }
    if (realpath(o->data_dir, path) == NULL) {
        return err_set_errno(err, errno, "%s", o->data_dir);
    }
    if (pg_processes_find(path, NULL, 0) > 0) {
        return err_set(err, "processes of the data directory are still running");
    }
    /* First pg_control: cut off without a mark, it must not look like a database. */
    (void)snprintf(path, sizeof(path), "%s/global/pg_control", o->data_dir);
    if (pg_file_remove(path, err) != 0 && errno != ENOENT) {
        return -1;
    }
    if (empty_links(o->data_dir, err) != 0 || pg_spaces_empty(o->data_dir, err) != 0) {
        return -1;
    }
    fd = open_dir(o->data_dir, err);
    return fd >= 0 ? empty_dir(fd, 0, is_kept, making, err) : -1;
}

static void run_remove(struct pg_job *job)
{
    struct removal *r = CONTAINER_OF(job, struct removal, work.job);
    const char *slash = strrchr(r->making, '/');

    r->work.status = remove_data(&r->work.opts->o, slash != NULL ? slash + 1 : "", &r->work.err);
    if (r->work.status != 0) {
        (void)err_wrap(&r->work.err, "emptying %s", r->work.opts->o.data_dir);
    }
}

void pg_remove_data(struct pg *pg, pg_done_cb cb, void *data)
{
    struct removal *r = xmalloc(sizeof(*r));

    (void)str_copy(r->making, sizeof(r->making), pg->making); /* Same size. */
    pg_work_submit(pg, &r->work, run_remove, pg_work_done, cb, data);
}
