/*
 * Tests that run in a child. The parent cleans up behind it, also when it is interrupted (a
 * terminal, a test's time limit): all files are below one directory, and whatever process
 * works in it is killed. PostgreSQL refuses root: as root the child has become the user
 * postgres, where there are real servers. Both have shared memory of their own.
 */
#ifndef VECHE_TESTS_TEST_CHILD_H
#define VECHE_TESTS_TEST_CHILD_H

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * A killed PostgreSQL leaves its segments, System V's and POSIX's, to the next start in
 * the same directory, and a test removes the directory. Before anything is made in
 * /dev/shm. What is not allowed here is done without.
 */
static inline void own_shared_memory(void)
{
    if (unshare(CLONE_NEWNS | CLONE_NEWIPC) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") != 0) {
        (void)fprintf(stderr,
                      "shared memory of killed servers stays behind, see ipcs -m and "
                      "/dev/shm: %s\n",
                      strerror(errno));
    }
}

static inline void become_postgres(const char *dir)
{
    const struct passwd *pw = getpwnam("postgres");

    if (geteuid() != 0) {
        return;
    }
    if (pw == NULL || chown(dir, pw->pw_uid, pw->pw_gid) != 0 || setgid(pw->pw_gid) != 0 ||
        initgroups("postgres", pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0) {
        perror("becoming postgres");
        _exit(1);
    }
}

static volatile pid_t child_to_end;

static inline void end_child(int number)
{
    (void)number;
    (void)kill(child_to_end, SIGKILL);
}

/* Its wait status. SIGTERM and SIGINT end the child, not the caller. */
static inline int wait_for_child(pid_t pid)
{
    struct sigaction action = {.sa_handler = end_child};
    int status = -1;

    child_to_end = pid;
    (void)sigaction(SIGTERM, &action, NULL); /* Can not fail for these. */
    (void)sigaction(SIGINT, &action, NULL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

/* Of every living process whose working directory is below; how many there are. */
static inline size_t kill_in(const char *dir)
{
    DIR *processes = opendir("/proc");
    const struct dirent *entry;
    size_t n_found = 0;

    while (processes != NULL && (entry = readdir(processes)) != NULL) {
        long pid = strtol(entry->d_name, NULL, 10);
        char path[64], cwd[PATH_MAX];
        ssize_t n;

        (void)snprintf(path, sizeof(path), "/proc/%ld/cwd", pid);
        n = pid > 1 ? readlink(path, cwd, sizeof(cwd) - 1) : -1; /* A zombie has none. */
        cwd[n > 0 ? n : 0] = '\0';
        if (strncmp(cwd, dir, strlen(dir)) == 0) {
            (void)kill((pid_t)pid, SIGKILL);
            n_found++;
        }
    }
    if (processes != NULL) {
        (void)closedir(processes);
    }
    return n_found;
}

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void remove_all(const char *dir)
{
    (void)nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* One may have started another meanwhile, and what was killed may take a moment to end. */
static inline void clean_up(const char *dir)
{
    for (int i = 0; i < 1000 && kill_in(dir) > 0; i++) {
        (void)poll(NULL, 0, 20);
    }
    remove_all(dir);
}

/* Makes the directory, of a name as for mkdtemp. run_all returns the number of failures. */
static inline int run_in_child(char *dir, void (*enter)(const char *dir), int (*run_all)(void))
{
    int status;
    pid_t pid;

    if (mkdtemp(dir) == NULL) {
        perror(dir);
        return 1;
    }
    pid = fork();
    if (pid == 0) {
        enter(dir);
        (void)chdir("/");
        exit(run_all() == 0 ? 0 : 1);
    }
    status = wait_for_child(pid);
    clean_up(dir);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static inline int run_with_servers(char *dir, int (*run_all)(void))
{
    return run_in_child(dir, become_postgres, run_all);
}

static inline void put_files_in(const char *dir)
{
    (void)setenv("TMPDIR", dir, 1); /* See new_place(). */
}

/* Without servers. On a disk: what libraft does to files is not the same in memory. */
static inline int run_in_place(int (*run_all)(void))
{
    static char dir[] = "/var/tmp/veche-unit-XXXXXX";

    return run_in_child(dir, put_files_in, run_all);
}

/* A new directory for the files of one test, which removes it. */
static inline void new_place(char *path, size_t size, const char *name)
{
    const char *base = getenv("TMPDIR");

    (void)snprintf(path, size, "%s/veche-%s-XXXXXX", base != NULL ? base : "/var/tmp", name);
    if (mkdtemp(path) == NULL) {
        perror(path);
        abort();
    }
}

#endif
