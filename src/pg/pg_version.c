/*
 * Whether the programs fit the data directory, asked before a start: PostgreSQL's own
 * word on it names neither the directory of the programs nor what to do. For the
 * thread, which may wait for a child.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/str.h"
#include "pg/pg_internal.h"
#include "pg/pg_spawn.h"

#define ANSWER_MS 10000

/* "postgres (PostgreSQL) 15.4 (Debian 15.4-1)"; 0 = it is something else. */
uint32_t pg_version_parse(const char *text)
{
    const char *at = strstr(text, ") ");
    uint32_t major = 0;

    for (at = at != NULL ? at + 2 : ""; isdigit((unsigned char)*at) && major < 1000; at++) {
        major = major * 10 + (uint32_t)(*at - '0');
    }
    return major;
}

/* Until its end, or as much as there is room for. False: neither came in time. */
static bool read_answer(int fd, uint32_t limit_ms, char *text, size_t size)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    uint64_t end_ms = clock_ms() + limit_ms;
    size_t used = 0;
    ssize_t n = 1;
    int ready = 1;

    while (n > 0 && used < size - 1 && ready != 0) {
        uint64_t now_ms = clock_ms();

        ready = poll(&wait, 1, now_ms < end_ms ? (int)(end_ms - now_ms) : 0);
        if (ready > 0) {
            n = read(fd, text + used, size - 1 - used);
            used += (size_t)MAX(n, 0);
        }
    }
    text[used] = '\0';
    return ready != 0;
}

bool pg_version_ask(const char *const *argv, uint32_t limit_ms, char *text, size_t size)
{
    bool ended;
    struct kv_list env = {0};
    struct pg_spawned child;
    struct err ignored = {0};
    int fds[2];

    text[0] = '\0';
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return true;
    }
    kv_add(&env, "LC_ALL", "C");
    if (pg_spawn(
            &(struct pg_spawn){.path = argv[0], .argv = argv, .env = &env, .output_fd = fds[1]},
            &child, &ignored) != 0) {
        kv_deinit(&env);
        (void)close(fds[0]);
        (void)close(fds[1]);
        return true;
    }
    kv_deinit(&env);
    (void)close(fds[1]); /* The child has its own: its end is the end of the text. */
    ended = read_answer(fds[0], limit_ms, text, size);
    (void)kill(child.pid, SIGKILL); /* It has said what it had to say. */
    (void)waitpid(child.pid, NULL, 0);
    (void)close(fds[0]);
    (void)close(child.exec_fd);
    (void)close(child.pidfd);
    return ended;
}

static uint32_t ask(const char *program)
{
    const char *const argv[] = {program, "-V", NULL};
    char text[256];

    (void)pg_version_ask(argv, ANSWER_MS, text, sizeof(text));
    return pg_version_parse(text);
}

int pg_version_check(const char *program, uint32_t data_major, struct err *err)
{
    uint32_t major = ask(program);

    if (major == 0 || major == data_major) {
        return 0; /* What does not tell may still run. */
    }
    return err_set(err,
                   "the data directory is of PostgreSQL %u, %s is of PostgreSQL %u: set "
                   "postgresql.bin_dir to the programs of %u, or upgrade the data (pg_upgrade)",
                   data_major, program, major, data_major);
}
