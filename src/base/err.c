/*
 * Error texts, see err.h.
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>

#include "base/str.h"

/* By way of a copy: the arguments may point into err->text. */
static void set_text(struct err *err, const char *format, va_list args)
{
    struct err fresh;

    (void)vsnprintf(fresh.text, sizeof(fresh.text), format, args); /* Cut when too long. */
    memcpy(err->text, fresh.text, strlen(fresh.text) + 1);
}

static void append(struct err *err, const char *text)
{
    struct sbuf b = {err->text, sizeof(err->text), strlen(err->text), false};

    sbuf_printf(&b, ": %s", text); /* Cut when too long. */
}

struct err *err_clear(struct err *err)
{
    if (err != NULL) {
        err->text[0] = '\0';
    }
    return err;
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

    PRE(errnum >= 0);
    if (err == NULL) {
        return -1;
    }
    va_start(args, format);
    set_text(err, format, args);
    va_end(args);
    append(err, strerror(errnum));
    return -1;
}

int err_set_listen(struct err *err, int errnum, const char *address)
{
    const char *remedy = "";

    if (errnum == EADDRNOTAVAIL) {
        remedy = "; this machine has no such address (`ip address` lists those it has): correct "
                 "it, or listen on 0.0.0.0";
    } else if (errnum == EADDRINUSE) {
        remedy = "; `ss -ltnp` names the process that has it, perhaps another agent";
    } else if (errnum == EACCES) {
        remedy = "; take a port above 1023";
    }
    return err_set(err, "cannot listen on %s: %s%s", address, strerror(errnum), remedy);
}

int err_wrap(struct err *err, const char *format, ...)
{
    va_list args;
    struct err inner;

    if (err == NULL) {
        return -1;
    }
    inner = *err;
    va_start(args, format);
    set_text(err, format, args);
    va_end(args);
    append(err, inner.text);
    return -1;
}
