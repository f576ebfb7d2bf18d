/*
 * Small files, durably: written beside, synced, renamed, and the directory synced.
 * A crash leaves the old one or the new one. For the thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/str.h"
#include "pg/pg_internal.h"

void pg_file_beside(const char *data_dir, const char *what, char *path, size_t size)
{
    size_t length = strlen(data_dir);

    while (length > 1 && data_dir[length - 1] == '/') {
        length--;
    }
    (void)snprintf(path, size, "%.*s.veche-%s", (int)length, data_dir, what);
}

void pg_file_id(int dir, const char *path, int flags, char *id, size_t size)
{
    struct statx st;

    id[0] = '\0';
    if (statx(dir, path, flags, STATX_INO | STATX_BTIME, &st) == 0) {
        (void)snprintf(id, size, "%x:%x:%llx:%llx.%x", st.stx_dev_major, st.stx_dev_minor,
                       (unsigned long long)st.stx_ino, (unsigned long long)st.stx_btime.tv_sec,
                       st.stx_btime.tv_nsec);
    }
}

int pg_file_sync_dir(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = 0;

    if (fd < 0) {
        return err_set_errno(err, errno, "opening %s", path);
    }
    if (fsync(fd) != 0) {
        status = err_set_errno(err, errno, "syncing %s", path);
    }
    (void)close(fd); /* Synced, or the error is on its way. */
    return status;
}

int pg_file_sync_parent(const char *path, struct err *err)
{
    char dir[PATH_MAX];
    char *slash;

    if (!str_copy(dir, sizeof(dir), path)) {
        return err_set(err, "%s: the path is too long", path);
    }
    slash = strrchr(dir, '/');
    if (slash == NULL) {
        return pg_file_sync_dir(".", err);
    }
    slash[slash == dir ? 1 : 0] = '\0';
    return pg_file_sync_dir(dir, err);
}

void pg_file_make_dirs(const char *path)
{
    char part[PATH_MAX];
    struct err ignored; /* The caller judges what became of path. */
    size_t n = strlen(path);

    for (size_t i = 1; i <= n; i++) {
        if (path[i] == '/' || path[i] == '\0') {
            (void)snprintf(part, sizeof(part), "%.*s", (int)i, path);
            if (mkdir(part, 0700) == 0 && pg_file_sync_parent(part, &ignored) != 0) {
                return;
            }
        }
    }
}

static int write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, text, size);

        if (n < 0 && errno != EINTR) {
            return -1;
        }
        text += MAX(n, 0);
        size -= (size_t)MAX(n, 0);
    }
    return 0;
}

static int write_new(const char *path, const char *text, size_t size, mode_t mode, struct err *err)
{
    int fd;
    int status = 0;

    (void)unlink(path); /* A left-over may have another mode. */
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        return err_set_errno(err, errno, "creating %s", path);
    }
    if (fchmod(fd, mode) != 0 || write_all(fd, text, size) != 0 || fsync(fd) != 0) {
        status = err_set_errno(err, errno, "writing %s", path);
    }
    if (close(fd) != 0 && status == 0) {
        status = err_set_errno(err, errno, "writing %s", path);
    }
    return status;
}

int pg_file_write(const char *path, const char *text, size_t size, mode_t mode, struct err *err)
{
    char temporary[PATH_MAX];

    if (snprintf(temporary, sizeof(temporary), "%s.veche-new", path) >= (int)sizeof(temporary)) {
        return err_set(err, "%s: the path is too long", path);
    }
    if (write_new(temporary, text, size, mode, err) != 0) {
        (void)unlink(temporary); /* The error that counts is set. */
        return -1;
    }
    if (rename(temporary, path) != 0) {
        int errnum = errno;

        (void)unlink(temporary);
        return err_set_errno(err, errnum, "renaming %s to %s", temporary, path);
    }
    return pg_file_sync_parent(path, err);
}

char *pg_file_read(const char *path, size_t size_max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text;
    size_t size = 0;
    ssize_t n = 1;
    struct stat st;

    if (fd < 0) {
        return NULL;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > size_max) {
        (void)close(fd);
        errno = EFBIG;
        return NULL;
    }
    text = xmalloc((size_t)st.st_size + 1);
    while (n > 0 && size < (size_t)st.st_size) {
        n = read(fd, text + size, (size_t)st.st_size - size);
        size += (size_t)MAX(n, 0);
    }
    (void)close(fd); /* Only read. */
    text[size] = '\0';
    return text;
}

int pg_file_remove(const char *path, struct err *err)
{
    if (unlink(path) == 0) {
        return pg_file_sync_parent(path, err);
    }
    return errno == ENOENT ? 0 : err_set_errno(err, errno, "removing %s", path);
}
