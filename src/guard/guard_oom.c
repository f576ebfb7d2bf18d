/*
 * See guard_oom.h. Nothing here allocates: it is used between fork and exec as well.
 */
#include "guard/guard_oom.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/str.h"

#define PATH "/proc/self/oom_score_adj"
#define STEP 100

bool guard_oom_lower(const struct guard_oom *o)
{
    int score;

    if (o->read(o->data, &score) != 0) {
        return false;
    }
    for (int wanted = GUARD_OOM_NEVER; wanted < MIN(score, 0); wanted += STEP) {
        if (o->write(o->data, wanted) == 0) {
            return true;
        }
    }
    return score < 0; /* It was protected, and may be no more than it is. */
}

int guard_oom_raise(const struct guard_oom *o)
{
    int score;

    if (o->read(o->data, &score) != 0) {
        return -1;
    }
    return score < 0 ? o->write(o->data, 0) : 0;
}

/* ---- The kernel's ---- */

static int read_own(void *data, int *ret)
{
    int fd = open(PATH, O_RDONLY | O_CLOEXEC);
    char text[16]; /* "-1000\n" */
    int64_t score;
    ssize_t n;

    (void)data;
    if (fd < 0) {
        return -1;
    }
    n = read(fd, text, sizeof(text) - 1);
    (void)close(fd); /* Only read. */
    text[MAX(n, 0)] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (!str_to_i64(text, GUARD_OOM_NEVER, -GUARD_OOM_NEVER, &score)) {
        errno = EINVAL; /* Not the kernel's way. */
        return -1;
    }
    *ret = (int)score;
    return 0;
}

static int write_own(void *data, int score)
{
    int fd = open(PATH, O_WRONLY | O_CLOEXEC);
    char text[16];
    int n = snprintf(text, sizeof(text), "%d", score), errnum;
    bool done;

    (void)data;
    if (fd < 0) {
        return -1;
    }
    done = write(fd, text, (size_t)n) == n;
    errnum = errno;
    (void)close(fd); /* Written at once. */
    errno = errnum;
    return done ? 0 : -1;
}

const struct guard_oom guard_oom_own = {read_own, write_own, NULL};
