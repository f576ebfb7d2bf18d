/*
 * struct err: the text of an unexpected failure, set where it happened and
 * wrapped on the way up ("cloning from n2: starting pg_basebackup: ..."). It
 * is a plain value on the caller's stack: nothing to free.
 */
#ifndef VECHE_BASE_ERR_H
#define VECHE_BASE_ERR_H

#include "base/base.h"

#define ERR_TEXT_SIZE 1024

struct err {
    char text[ERR_TEXT_SIZE]; /* Empty, or one sentence without a final newline. */
};

/* Forgets the text; for who keeps the first of several. Returns err, which may be NULL. */
struct err *err_clear(struct err *err);

/* Sets the text. Always returns -1, so that callers can `return err_set(...)`.
 * err may be NULL: the text is then dropped. */
int err_set(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* As err_set, with ": <strerror(errnum)>" behind. errnum is a positive errno. */
int err_set_errno(struct err *err, int errnum, const char *format, ...) PRINTF_LIKE(3, 4);

/* "cannot listen on <address>: <why>; <what to do>". errnum is a positive errno. */
int err_set_listen(struct err *err, int errnum, const char *address);

/* Puts "<text>: " in front of what is there. Always returns -1. */
int err_wrap(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
