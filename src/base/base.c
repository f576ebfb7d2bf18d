/*
 * The few lines behind base.h: failed assertions and the allocator that never
 * returns NULL.
 */
#include "base/base.h"

void base_assert_failed(const char *what, const char *expr, const char *file, int line)
{
    fprintf(stderr, "veche: %s failed: %s at %s:%d; this is a bug of Veche\n", what, expr, file,
            line);
    abort();
}

static void *or_abort(void *ptr)
{
    if (ptr == NULL) {
        fputs("veche: out of memory\n", stderr);
        abort();
    }
    return ptr;
}

void *xmalloc(size_t size)
{
    return or_abort(calloc(1, size > 0 ? size : 1));
}

void *xrealloc(void *ptr, size_t size)
{
    return or_abort(realloc(ptr, size > 0 ? size : 1));
}

char *xstrdup(const char *text)
{
    PRE(text != NULL);
    return or_abort(strdup(text));
}
