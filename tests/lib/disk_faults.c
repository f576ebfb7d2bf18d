/*
 * Disk errors for files that are named, in a process that was started with this
 * library preloaded; for the integration tests only.
 *
 * The file that VECHE_DISK_FAULTS names says what fails, a line a rule:
 *     CALLS ERROR PATTERN
 * CALLS is "read", "write" or "all", ERROR is EIO or ENOSPC, PATTERN a part of the
 * path. It is looked at in every call, so that a test switches it on and off; without
 * it, or empty, nothing fails. Under "write" fall opening for writing, writing,
 * syncing, making room, renaming, linking, and io_submit, by which libraft writes its
 * log. Everything that was written before can be read.
 *
 * Children do not inherit it; what VECHE_PRELOAD_CHILDREN names is preloaded into them.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define RULES_SIZE 1024

static char rules_path[PATH_MAX];

/* The next definitions of the functions below, found once: a child between fork and
 * exec must not look for anything. */
#define FUNCTIONS(X)                                                                           \
    X(open)                                                                                    \
    X(open64) X(openat) X(openat64) X(read) X(write) X(pread) X(pread64) X(pwrite) X(pwrite64) \
        X(pwritev) X(pwritev64) X(writev) X(syscall) X(fsync) X(fdatasync) X(posix_fallocate)  \
            X(posix_fallocate64) X(rename) X(renameat) X(linkat)

#define DECLARE(name) static __typeof__(&name) real_##name;
FUNCTIONS(DECLARE)

/* Before the constructors of others, which may write. */
static void find_all(void)
{
#define FIND(name) real_##name = (__typeof__(&name))dlsym(RTLD_NEXT, #name);
    FUNCTIONS(FIND)
}

__attribute__((constructor)) static void take_over(void)
{
    const char *path = getenv("VECHE_DISK_FAULTS");
    const char *children = getenv("VECHE_PRELOAD_CHILDREN");

    find_all();
    if (path != NULL && strlen(path) < sizeof(rules_path)) {
        (void)snprintf(rules_path, sizeof(rules_path), "%s", path);
    }
    if (children != NULL) {
        (void)setenv("LD_PRELOAD", children, 1);
    } else {
        (void)unsetenv("LD_PRELOAD");
    }
}

#define REAL(name) (real_##name != NULL ? real_##name : (find_all(), real_##name))

static long kernel(long number, long a, long b, long c, long d, long e, long f)
{
    return REAL(syscall)(number, a, b, c, d, e, f);
}

/* Past the functions below, which would ask here again. */
static bool read_rules(char *text)
{
    long fd;
    long n;

    if (rules_path[0] == '\0') {
        return false;
    }
    fd = kernel(SYS_openat, AT_FDCWD, (long)rules_path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (fd < 0) {
        return false;
    }
    n = kernel(SYS_read, fd, (long)text, RULES_SIZE - 1, 0, 0, 0);
    (void)kernel(SYS_close, fd, 0, 0, 0, 0, 0);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* The error of the first rule that is about it; 0 = none. */
static int error_of(const char *path, bool writes)
{
    char text[RULES_SIZE];
    char *rest = text;
    char *line;
    int before = errno;

    if (!read_rules(text)) {
        errno = before;
        return 0;
    }
    errno = before;
    while ((line = strsep(&rest, "\n")) != NULL) {
        char calls[16], error[16], pattern[256];

        if (sscanf(line, "%15s %15s %255s", calls, error, pattern) == 3 &&
            strstr(path, pattern) != NULL &&
            (strcmp(calls, "all") == 0 || strcmp(calls, writes ? "write" : "read") == 0)) {
            return strcmp(error, "ENOSPC") == 0 ? ENOSPC : EIO;
        }
    }
    return 0;
}

static int error_of_fd(int fd, bool writes)
{
    char link[64];
    char path[PATH_MAX];
    int before = errno;
    ssize_t n;

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    errno = before;
    if (n <= 0 || path[0] != '/') {
        return 0; /* A socket, a pipe. */
    }
    path[n] = '\0';
    return error_of(path, writes);
}

/* With the directory in front, for patterns that name it. */
static int error_at(int directory, const char *name, bool writes)
{
    char link[64];
    char path[2 * PATH_MAX];
    ssize_t n = 0;

    if (name[0] != '/' && directory != AT_FDCWD) {
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", directory);
        n = readlink(link, path, PATH_MAX);
    }
    (void)snprintf(path + (n > 0 ? n : 0), PATH_MAX, "/%s", name);
    return error_of(path, writes);
}

#define FAIL_IF(error)   \
    do {                 \
        int e = (error); \
        if (e != 0) {    \
            errno = e;   \
            return -1;   \
        }                \
    } while (0)

/* ---- Opening ---- */

static mode_t mode_of(int flags, va_list args)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
}

#define OPEN(name)                                                          \
    int name(const char *path, int flags, ...)                              \
    {                                                                       \
        va_list args;                                                       \
        mode_t mode;                                                        \
                                                                            \
        va_start(args, flags);                                              \
        mode = mode_of(flags, args);                                        \
        va_end(args);                                                       \
        FAIL_IF(error_at(AT_FDCWD, path, (flags & O_ACCMODE) != O_RDONLY)); \
        return REAL(name)(path, flags, mode);                               \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                         \
    int name(int directory, const char *path, int flags, ...)                \
    {                                                                        \
        va_list args;                                                        \
        mode_t mode;                                                         \
                                                                             \
        va_start(args, flags);                                               \
        mode = mode_of(flags, args);                                         \
        va_end(args);                                                        \
        FAIL_IF(error_at(directory, path, (flags & O_ACCMODE) != O_RDONLY)); \
        return REAL(name)(directory, path, flags, mode);                     \
    }
OPENAT(openat)
OPENAT(openat64)

/* ---- Reading and writing ---- */

ssize_t read(int fd, void *data, size_t size)
{
    FAIL_IF(error_of_fd(fd, false));
    return REAL(read)(fd, data, size);
}

ssize_t write(int fd, const void *data, size_t size)
{
    FAIL_IF(error_of_fd(fd, true));
    return REAL(write)(fd, data, size);
}

#define AT_OFFSET(name, buffer, count, offset, writes)    \
    ssize_t name(int fd, buffer data, count n, offset at) \
    {                                                     \
        FAIL_IF(error_of_fd(fd, writes));                 \
        return REAL(name)(fd, data, n, at);               \
    }
AT_OFFSET(pread, void *, size_t, off_t, false)
AT_OFFSET(pread64, void *, size_t, off64_t, false)
AT_OFFSET(pwrite, const void *, size_t, off_t, true)
AT_OFFSET(pwrite64, const void *, size_t, off64_t, true)
AT_OFFSET(pwritev, const struct iovec *, int, off_t, true)
AT_OFFSET(pwritev64, const struct iovec *, int, off64_t, true)

ssize_t writev(int fd, const struct iovec *iov, int n)
{
    FAIL_IF(error_of_fd(fd, true));
    return REAL(writev)(fd, iov, n);
}

/* libraft has no other way to its log: io_submit has no function in libc. */
long syscall(long number, ...)
{
    long a[6];
    va_list args;

    va_start(args, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(args, long);
    }
    va_end(args);
    if (number == SYS_io_submit) {
        struct iocb **blocks = (struct iocb **)a[2];

        for (long i = 0; i < a[1]; i++) {
            FAIL_IF(error_of_fd((int)blocks[i]->aio_fildes, true));
        }
    }
    return kernel(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- What makes it durable ---- */

int fsync(int fd)
{
    FAIL_IF(error_of_fd(fd, true));
    return REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    FAIL_IF(error_of_fd(fd, true));
    return REAL(fdatasync)(fd);
}

/* This one returns its error. */
#define FALLOCATE(name, offset)                         \
    int name(int fd, offset at, offset length)          \
    {                                                   \
        int e = error_of_fd(fd, true);                  \
                                                        \
        return e != 0 ? e : REAL(name)(fd, at, length); \
    }
FALLOCATE(posix_fallocate, off_t)
FALLOCATE(posix_fallocate64, off64_t)

int rename(const char *from, const char *to)
{
    FAIL_IF(error_at(AT_FDCWD, to, true));
    return REAL(rename)(from, to);
}

int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    FAIL_IF(error_at(to_directory, to, true));
    return REAL(renameat)(from_directory, from, to_directory, to);
}

int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags)
{
    FAIL_IF(error_at(to_directory, to, true));
    return REAL(linkat)(from_directory, from, to_directory, to, flags);
}
