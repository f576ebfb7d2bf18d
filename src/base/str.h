/*
 * Strings with a limit. `struct sbuf` writes into memory of the caller and
 * remembers that it had to cut; `struct strbuf` grows on the heap, for the
 * shell layers only.
 */
#ifndef VECHE_BASE_STR_H
#define VECHE_BASE_STR_H

#include "base/base.h"

/* Copies src into dst of `size` bytes, always terminated. False if it was cut. */
bool str_copy(char *dst, size_t size, const char *src);

bool str_equal(const char *a, const char *b); /* NULL equals only NULL. */
bool str_starts_with(const char *text, const char *prefix);
bool str_ends_with(const char *text, const char *suffix);

/* Whole text is a decimal number in [min, max]: stores it and returns true. */
MUST_USE bool str_to_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value);
MUST_USE bool str_to_i64(const char *text, int64_t min, int64_t max, int64_t *ret_value);

/* Edit distance (insert, delete, replace), for "did you mean"; texts over 63
 * characters count as far away. */
size_t str_distance(const char *a, const char *b);

/* A fixed buffer being filled. Zero length, terminated, after sbuf_init. */
struct sbuf {
    char *data;     /* The caller's memory. */
    size_t size;    /* Bytes at data, at least 1. */
    size_t length;  /* Characters written, without the final zero. */
    bool truncated; /* Something did not fit; data still is terminated. */
};

void sbuf_init(struct sbuf *b, char *data, size_t size);
void sbuf_add(struct sbuf *b, const char *text);
void sbuf_printf(struct sbuf *b, const char *format, ...) PRINTF_LIKE(2, 3);

/* A growing buffer on the heap. Zero-initialise, then add, then deinit. */
struct strbuf {
    char *data;    /* Terminated once something was added; NULL before. */
    size_t length; /* Bytes in use, without the final zero. */
    size_t size;   /* Bytes allocated. */
};

void strbuf_add(struct strbuf *b, const void *data, size_t size);
void strbuf_add_text(struct strbuf *b, const char *text);
void strbuf_printf(struct strbuf *b, const char *format, ...) PRINTF_LIKE(2, 3);
void strbuf_deinit(struct strbuf *b);

#endif
