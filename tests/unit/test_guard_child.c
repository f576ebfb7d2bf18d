/*
 * What a child gives up that this machine's kernel may not let a test have: setrlimit is
 * caught, and what it was asked for in the child is in memory that both share. The rest of
 * what a child inherits: tests/integration/test_guard.py.
 */
#include "guard/guard_child.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

static struct asked {
    int n;
    int resource;
    struct rlimit limit;
} * asked;

/* As meson has it: with files of 64 bits. */
int __wrap_setrlimit64(int resource, const struct rlimit *limit);

int __wrap_setrlimit64(int resource, const struct rlimit *limit)
{
    asked->n++;
    asked->resource = resource;
    asked->limit = *limit;
    return 0;
}

static void a_child_may_not_ask_for_real_time_priority(void **state)
{
    struct guard_texts texts = {.path = "/bin/true", .argv = {"true"}};
    struct guard_child child = {
        .texts = &texts,
        .uid = geteuid(),
        .gid = getegid(),
        .null_fd = open("/dev/null", O_RDWR | O_CLOEXEC),
        .output_fd = STDERR_FILENO,
        .cwd_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC),
    };
    struct guard_child_failure failure;
    int exec_fd, status;
    pid_t pid;

    (void)state;
    asked = mmap(NULL, sizeof(*asked), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(asked != MAP_FAILED);
    assert_int_equal(guard_child_start(&child, &pid, &exec_fd, &failure), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(asked->n, 1);
    assert_int_equal(asked->resource, RLIMIT_RTPRIO);
    assert_int_equal(asked->limit.rlim_cur, 0);
    assert_int_equal(asked->limit.rlim_max, 0);
    (void)close(exec_fd); /* Only read. */
    (void)close(child.null_fd);
    (void)close(child.cwd_fd);
    assert_int_equal(munmap(asked, sizeof(*asked)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_may_not_ask_for_real_time_priority),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
