/*
 * The vocabulary every other file speaks: assertions, attributes, small
 * arithmetic. Libc only. Includes the list of banned calls, so that including
 * base.h is enough to be safe from them.
 */
#ifndef VECHE_BASE_BASE_H
#define VECHE_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/param.h> /* MIN, MAX */

#include "base/banned.h"

/* The result must be looked at, or cast to void with a reason. */
#define MUST_USE __attribute__((warn_unused_result))

/* The function takes a printf format as its a-th argument, values from b on. */
#define PRINTF_LIKE(a, b) __attribute__((format(printf, a, b)))

#define NORETURN __attribute__((noreturn))

#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))

#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))


/* Durations in milliseconds. */
#define SECONDS(n) ((uint64_t)(n)*1000)
#define MINUTES(n) (SECONDS(n) * 60)
#define HOURS(n)   (MINUTES(n) * 60)

#define NS_PER_MS UINT64_C(1000000)
#define US_PER_MS UINT64_C(1000)

#define IMPLIES(a, b) (!(a) || (b))

/*
 * Assertions are for our own bugs, never for the world's. They stay on in
 * release builds: an agent that is wrong about itself must stop, PostgreSQL
 * outlives it.
 */
NORETURN void base_assert_failed(const char *what, const char *expr, const char *file, int line);

#define ASSERT_AS(what, expr) \
    ((expr) ? (void)0 : base_assert_failed(what, #expr, __FILE__, __LINE__))
#define ASSERT(expr) ASSERT_AS("assertion", expr)
#define PRE(expr)    ASSERT_AS("precondition", expr)  /* What the caller owes. */
#define POST(expr)   ASSERT_AS("postcondition", expr) /* What the function owes. */

/* Heap for the shell layers. Out of memory logs to stderr and aborts. The
 * result is zeroed. Free with free(). Never returns NULL. */
MUST_USE void *xmalloc(size_t size);
MUST_USE void *xrealloc(void *ptr, size_t size);
MUST_USE char *xstrdup(const char *text);

#endif
