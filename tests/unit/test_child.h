/*
 * A test with real servers runs in a child; the parent cleans up behind it, also when
 * it is interrupted (a terminal, a test's time limit). Both have shared memory of their
 * own.
 */
#ifndef VECHE_TESTS_TEST_CHILD_H
#define VECHE_TESTS_TEST_CHILD_H

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

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

#endif
