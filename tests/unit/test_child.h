/*
 * A test with real servers runs in a child; the parent cleans up behind it, also when
 * it is interrupted (a terminal, a test's time limit).
 */
#ifndef VECHE_TESTS_TEST_CHILD_H
#define VECHE_TESTS_TEST_CHILD_H

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

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
