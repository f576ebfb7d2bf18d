/*
 * What a process got from who started it, a line each; then it waits. No interpreter's:
 * those open descriptors and set signals of their own.
 */
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void print_file(const char *path, const char *name, const char *const *prefixes)
{
    FILE *f = fopen(path, "re");
    char line[4096];

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        for (const char *const *p = prefixes; *p != NULL; p++) {
            if (strncmp(line, *p, strlen(*p)) == 0) {
                printf("%s%s", name, line);
            }
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

/* "fd 3 /dev/null", but for the one it looks with. */
static void print_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    const struct dirent *entry;
    char link[4096];

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link));

        if (n >= 0 && atoi(entry->d_name) != dirfd(dir)) {
            printf("fd %s %.*s\n", entry->d_name, (int)n, link);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}

static void print_ids(void)
{
    uid_t u[3];
    gid_t g[3], groups[64];
    int n = getgroups(64, groups);

    if (getresuid(&u[0], &u[1], &u[2]) != 0 || getresgid(&g[0], &g[1], &g[2]) != 0) {
        return;
    }
    printf("uid %u %u %u\ngid %u %u %u\ngroups", u[0], u[1], u[2], g[0], g[1], g[2]);
    for (int i = 0; i < n; i++) {
        printf(" %u", groups[i]);
    }
    printf("\n");
}

/* As prlimit says it: what is in force, and what it may be raised to. */
static void print_rtprio(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_RTPRIO, &limit) == 0) {
        printf("rtprio %llu %llu\n", (unsigned long long)limit.rlim_cur,
               (unsigned long long)limit.rlim_max);
    }
}

int main(void)
{
    static const char *const any[] = {"", NULL};
    static const char *const unified[] = {"0::", NULL};
    static const char *const fields[] = {"Sig", "Shd", "VmLck", NULL};
    char cwd[4096];
    int death = -1;

    print_descriptors();
    (void)prctl(PR_GET_PDEATHSIG, &death);
    printf("pdeathsig %d\numask %o\n", death, umask(0));
    printf("policy %d\nnice %d\n", sched_getscheduler(0), getpriority(PRIO_PROCESS, 0));
    print_rtprio();
    print_file("/proc/self/oom_score_adj", "oom ", any);
    printf("cwd %s\nsid %d\nppid %d\n", getcwd(cwd, sizeof(cwd)) != NULL ? cwd : "?",
           getsid(0) == getpid(), getppid());
    print_ids();
    for (char **e = environ; *e != NULL; e++) {
        printf("env %s\n", *e);
    }
    print_file("/proc/self/cgroup", "cgroup ", unified);
    print_file("/proc/self/status", "", fields);
    printf("end\n");
    (void)fflush(stdout);
    for (;;) {
        (void)pause();
    }
}
