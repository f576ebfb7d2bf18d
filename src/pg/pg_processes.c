/*
 * Finding every process of a data directory.
 *
 * A process counts when its working directory is the data directory and what it
 * runs is postgres. That finds all that can write: the postmaster changes to the
 * data directory before it creates its lock file (postmaster.c: PostmasterMain
 * calls ChangeToDataDir, then CreateDataDirLockFile), every other process is
 * forked from it and PostgreSQL never changes the directory again, and a
 * stand-alone or bootstrap backend does the same (postinit.c, bootstrap.c:
 * checkDataDir and ChangeToDataDir). Our own start enters the directory even
 * before exec. What archive_command and the like run is not counted: it holds no
 * connection and acknowledges nothing; nor is an operator's shell that happens to
 * stand in the directory.
 *
 * A zombie has no working directory any more, and a dying process closes its
 * files before it lets go of it (kernel/exit.c: exit_files before exit_fs): who
 * does not count can not send an acknowledgement.
 *
 * Attaching to the shared memory segment (sysv_shmem.c: PGSharedMemoryIsInUse)
 * would say that somebody is left, but not who, so that nobody could be killed.
 */
#include "pg/pg_processes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/str.h"
#include "pg/pg.h"

#define DELETED " (deleted)"

/* Reads a link of /proc; false if it can not be read. A file that was removed
 * since, by an upgrade of the package for example, still is what it was. */
static bool read_link(pid_t pid, const char *name, char *target, size_t size)
{
    char path[64];
    ssize_t n;

    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    n = readlink(path, target, size - 1);
    if (n < 0) {
        return false;
    }
    target[n] = '\0';
    if (str_ends_with(target, DELETED)) {
        target[(size_t)n - strlen(DELETED)] = '\0';
    }
    return true;
}

/* names ends with NULL. */
static bool runs_one_of(pid_t pid, const char *const *names)
{
    char exe[4096];
    const char *name;

    if (!read_link(pid, "exe", exe, sizeof(exe))) {
        return false;
    }
    name = strrchr(exe, '/') != NULL ? strrchr(exe, '/') + 1 : exe;
    for (; *names != NULL; names++) {
        if (str_equal(name, *names)) {
            return true;
        }
    }
    return false;
}

static bool is_postgres(pid_t pid)
{
    static const char *const names[] = {"postgres", "postmaster", "edb-postgres", NULL};

    return runs_one_of(pid, names);
}

/* The letter of state in /proc/<pid>/stat, behind the last ')', since a name may
 * hold anything; 0 if there is no such process. */
static char process_state(pid_t pid)
{
    char path[64], text[512];
    const char *end;
    ssize_t n;
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return '\0';
    }
    n = read(fd, text, sizeof(text) - 1);
    (void)close(fd); /* Only read. */
    text[MAX(n, 0)] = '\0';
    end = strrchr(text, ')');
    if (end == NULL || end[1] != ' ') {
        return '\0';
    }
    return end[2];
}

bool pg_process_is_zombie(pid_t pid)
{
    char state = process_state(pid);

    return state == 'Z' || state == 'X';
}

/*
 * By path, which also holds for a directory that was removed and made anew; or by
 * inode, since a process of another mount namespace or root may see another path.
 */
static bool stands_in(pid_t pid, const char *data_path)
{
    char target[4096], path[64];
    struct stat cwd, data;

    if (!read_link(pid, "cwd", target, sizeof(target))) {
        return false;
    }
    if (str_equal(target, data_path)) {
        return true;
    }
    (void)snprintf(path, sizeof(path), "/proc/%d/cwd", (int)pid);
    return stat(path, &cwd) == 0 && stat(data_path, &data) == 0 && cwd.st_dev == data.st_dev &&
           cwd.st_ino == data.st_ino;
}

bool pg_process_is_of(pid_t pid, const char *data_path)
{
    return is_postgres(pid) && stands_in(pid, data_path) && !pg_process_is_zombie(pid);
}

size_t pg_processes_find(const char *data_path, pid_t *pids, size_t max)
{
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    size_t n = 0;

    if (dir == NULL) {
        if (max > 0) {
            pids[0] = 0;
        }
        return 1; /* Nothing can be proved without /proc; "none" would be a lie. */
    }
    while ((entry = readdir(dir)) != NULL) {
        uint64_t pid;

        if (!str_to_u64(entry->d_name, 1, INT32_MAX, &pid) ||
            !pg_process_is_of((pid_t)pid, data_path)) {
            continue;
        }
        if (n < max) {
            pids[n] = (pid_t)pid;
        }
        n++;
    }
    (void)closedir(dir); /* Only read. */
    return n;
}

static bool is_at_or_below(const char *path, const char *dir)
{
    size_t length = strlen(dir);

    return strncmp(path, dir, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

/* Whether an argument is the directory or below it, or "--option=" and that. */
static bool is_told(pid_t pid, const char *data_dir)
{
    char path[64], text[8192];
    ssize_t n;
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    n = read(fd, text, sizeof(text) - 1);
    (void)close(fd); /* Only read. */
    text[MAX(n, 0)] = '\0';
    for (const char *at = text; at < text + n; at += strlen(at) + 1) {
        const char *value = at[0] == '-' && strchr(at, '=') != NULL ? strchr(at, '=') + 1 : at;

        if (is_at_or_below(value, data_dir)) {
            return true;
        }
    }
    return false;
}

/* Whether its environment has the variable with that value. Another user's can not be
 * read, and is not ours. */
static bool has_variable(pid_t pid, const char *name, const char *value)
{
    size_t length = strlen(name);
    char path[64], *text = NULL;
    size_t size = 0;
    bool found = false;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    file = fopen(path, "re");
    while (file != NULL && !found && getdelim(&text, &size, '\0', file) > 0) {
        found = strncmp(text, name, length) == 0 && text[length] == '=' &&
                str_equal(text + length + 1, value);
    }
    if (file != NULL) {
        (void)fclose(file); /* Only read. */
    }
    free(text);
    return found;
}

static bool is_helper_of(pid_t pid, const char *data_dir, const char *unused)
{
    (void)unused;
    static const char *const names[] = {"pg_basebackup", "pg_rewind", "initdb", NULL};

    return ((runs_one_of(pid, names) && is_told(pid, data_dir)) ||
            has_variable(pid, PG_HELPS_VARIABLE, data_dir)) &&
           !pg_process_is_zombie(pid);
}

static bool is_marked(pid_t pid, const char *variable, const char *value)
{
    return has_variable(pid, variable, value) && !pg_process_is_zombie(pid);
}

typedef bool (*is_wanted)(pid_t pid, const char *a, const char *b);

static size_t kill_all_that(is_wanted is, const char *a, const char *b)
{
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    size_t n = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        uint64_t pid;
        int fd;

        if (!str_to_u64(entry->d_name, 1, INT32_MAX, &pid) || !is((pid_t)pid, a, b)) {
            continue;
        }
        fd = pg_pidfd_open((pid_t)pid);
        if (fd >= 0 && is((pid_t)pid, a, b)) {
            (void)pg_process_signal(fd, SIGKILL); /* Gone already is as good. */
            n++;
        }
        if (fd >= 0) {
            (void)close(fd); /* A pidfd. */
        }
    }
    if (dir != NULL) {
        (void)closedir(dir); /* Only read. */
    }
    return n;
}

size_t pg_helpers_kill(const char *data_dir)
{
    return kill_all_that(is_helper_of, data_dir, NULL);
}

size_t pg_marked_kill(const char *variable, const char *value)
{
    return kill_all_that(is_marked, variable, value);
}

int pg_pidfd_open(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0); /* Close-on-exec by itself. */
}

int pg_process_open(pid_t pid, const char *data_path)
{
    int fd = pg_pidfd_open(pid);

    /* Looked at after it was opened: a number used again meanwhile is not taken
     * for what it was. */
    if (fd >= 0 && !pg_process_is_of(pid, data_path)) {
        (void)close(fd); /* A pidfd. */
        fd = -1;
    }
    return fd;
}

int pg_process_signal(int pidfd, int signal_number)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal_number, NULL, 0);
}
