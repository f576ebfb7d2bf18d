/*
 * See guard_privileges.h.
 */
#include "guard/guard_privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <sys/mman.h>

#include "guard/guard_oom.h"

#define PRIORITY   1     /* Above everything that is not real-time is enough. */
#define STACK_SIZE 65536 /* More than it ever uses. */

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN true
#endif
#endif
#ifndef HAS_ASAN
#define HAS_ASAN false
#endif

static void add(struct sbuf *trouble, const char *what, int errnum)
{
    sbuf_printf(trouble, "%s%s: %s", trouble->length > 0 ? "; " : "", what,
                strerrordesc_np(errnum));
}

static bool take_priority(struct sbuf *trouble)
{
    struct sched_param param = {.sched_priority = PRIORITY};

    /* Children begin as if the guard had none. */
    if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &param) == 0) {
        return true;
    }
    add(trouble, "real-time priority", errno);
    return false;
}

static bool spare(struct sbuf *trouble)
{
    bool done = guard_oom_lower(&guard_oom_own);

    if (!done) {
        add(trouble, "oom_score_adj", errno);
    }
    return done;
}

/* So that the stack is there before it is needed. */
static void touch_stack(void)
{
    volatile char stack[STACK_SIZE];

    for (size_t i = 0; i < sizeof(stack); i += 1024) {
        stack[i] = 1;
    }
}

/* Of the stack the kernel gives more than we use, 128 kB. Deeper than STACK_SIZE nothing was
 * ever written: whatever becomes of it, no disk is read for it. */
static void unlock_rest_of_stack(void)
{
    char here;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    char *at = (char *)(((uintptr_t)&here - STACK_SIZE) & ~(page - 1));

    do {
        at -= page;
    } while (munlock(at, page) == 0 && madvise(at, page, MADV_DONTNEED) == 0); /* To its end. */
}

static uint64_t read_locked(void)
{
    static const char key[] = "VmLck:";
    char text[4096], *at;
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
    uint64_t kb = 0;

    if (fd >= 0) {
        (void)close(fd); /* Only read. */
    }
    text[MAX(n, 0)] = '\0';
    at = strstr(text, key);
    if (at != NULL) {
        at += sizeof(key) - 1;
        at += strspn(at, " \t");
        at[strcspn(at, " ")] = '\0';
        if (!str_to_u64(at, 0, UINT64_MAX / 1024, &kb)) {
            kb = 0; /* Not the kernel's way. */
        }
    }
    return kb * 1024;
}

static bool lock_memory(struct sbuf *trouble)
{
    touch_stack();
    if (HAS_ASAN) { /* Its shadow is terabytes. */
        add(trouble, "memory is not locked", ENOTSUP);
        return false;
    }
    (void)malloc_trim(0); /* What libc took at its start, and gave back. */
    if (mlockall(MCL_CURRENT | MCL_FUTURE) == 0) {
        unlock_rest_of_stack();
        return true;
    }
    add(trouble, "locking memory", errno);
    return false;
}

void guard_privileges_take(struct guard_privileges *p, struct sbuf *trouble)
{
    p->is_locked = lock_memory(trouble);
    p->is_realtime = take_priority(trouble);
    p->is_spared = spare(trouble);
    p->locked_bytes = read_locked();
}
