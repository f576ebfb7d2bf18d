/*
 * Stop points: where a test interrupts the agent.
 *
 * Each row of each step table has two, right before and right after its `run`:
 * "clone: copy: before", "clone: copy: after". The agent looks into the file that
 * VECHE_TEST_STOP_FILE named at its start; if it holds the name of the point that
 * was reached, the file is removed and the agent stops itself, all threads at
 * once. The test waits for that, and then kills what it came to kill.
 *
 * Without the variable no function of this file is ever called.
 */
#include "ops/ops_internal.h"

#include <fcntl.h>
#include <signal.h>

#include "base/log.h"

#define POINT_SIZE 256

/* Empty without a file. */
static void read_wanted(const char *file, char wanted[POINT_SIZE])
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;

    if (fd >= 0) {
        n = read(fd, wanted, POINT_SIZE - 1);
        (void)close(fd); /* Was only read. */
    }
    wanted[MAX(n, 0)] = '\0';
}

void op_stop_point(struct seq *s, const char *when)
{
    const struct op *o = op_of(s);
    const char *file = o->ops->options.stop_file;
    char wanted[POINT_SIZE], here[POINT_SIZE];

    PRE(file != NULL);
    (void)snprintf(here, sizeof(here), "%s: %s: %s", node_action_name(o->action), seq_step_name(s),
                   when); /* Constants; they fit. */
    read_wanted(file, wanted);
    if (!str_equal(here, wanted)) {
        return;
    }
    log_error("Stopping at the point a test has named. point=\"%s\"", here);
    (void)unlink(file); /* Once only, and the sign for the test. */
    (void)raise(SIGSTOP);
}
