/*
 * Error texts, see err.h.
 */
#include "base/err.h"

#include <stdarg.h>

static void set_text(struct err *err, const char *format, va_list args)
{
    (void)vsnprintf(err->text, sizeof(err->text), format, args); /* Cut when too long. */
}

int err_set(struct err *err, const char *format, ...)
{
    va_list args;

    if (err != NULL) {
        va_start(args, format);
        set_text(err, format, args);
        va_end(args);
    }
    return -1;
}

int err_set_errno(struct err *err, int errnum, const char *format, ...)
{
    va_list args;
    size_t length;

    PRE(errnum >= 0);
    if (err == NULL) {
        return -1;
    }
    va_start(args, format);
    set_text(err, format, args);
    va_end(args);
    length = strlen(err->text);
    (void)snprintf(err->text + length, sizeof(err->text) - length, ": %s", strerror(errnum));
    return -1;
}

int err_wrap(struct err *err, const char *format, ...)
{
    va_list args;
    struct err inner;
    size_t length;

    if (err == NULL) {
        return -1;
    }
    inner = *err;
    va_start(args, format);
    set_text(err, format, args);
    va_end(args);
    length = strlen(err->text);
    (void)snprintf(err->text + length, sizeof(err->text) - length, ": %s", inner.text);
    return -1;
}
