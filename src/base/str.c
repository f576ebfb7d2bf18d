/*
 * Bounded strings, see str.h.
 */
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>

bool str_copy(char *dst, size_t size, const char *src)
{
    size_t length = strlen(src);
    bool fits = length < size;

    PRE(size > 0);
    if (!fits) {
        length = size - 1;
    }
    memmove(dst, src, length);
    dst[length] = '\0';
    return fits;
}

bool str_equal(const char *a, const char *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    return strcmp(a, b) == 0;
}

bool str_starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_ends_with(const char *text, const char *suffix)
{
    size_t n = strlen(text);
    size_t m = strlen(suffix);

    return n >= m && strcmp(text + (n - m), suffix) == 0;
}

bool str_to_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
    char *end;
    unsigned long long value;

    if (text[0] < '0' || text[0] > '9') {
        return false; /* strtoull would take blanks and a minus sign. */
    }
    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || value < min || value > max) {
        return false;
    }
    *ret_value = value;
    return true;
}

bool str_to_i64(const char *text, int64_t min, int64_t max, int64_t *ret_value)
{
    char *end;
    long long value;
    const char *digits = text[0] == '-' ? text + 1 : text;

    if (digits[0] < '0' || digits[0] > '9') {
        return false;
    }
    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0' || value < min || value > max) {
        return false;
    }
    *ret_value = value;
    return true;
}

size_t str_distance(const char *a, const char *b)
{
    size_t n = strlen(a);
    size_t m = strlen(b);
    size_t row[64];

    if (n > 63 || m > 63) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= m; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);

            diagonal = row[j];
            row[j] = MIN(replace, MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[m];
}

void sbuf_init(struct sbuf *b, char *data, size_t size)
{
    PRE(size > 0);
    *b = (struct sbuf){.data = data, .size = size};
    data[0] = '\0';
}

void sbuf_add(struct sbuf *b, const char *text)
{
    sbuf_printf(b, "%s", text);
}

void sbuf_printf(struct sbuf *b, const char *format, ...)
{
    va_list args;
    int n;
    size_t room = b->size - b->length;

    va_start(args, format);
    n = vsnprintf(b->data + b->length, room, format, args);
    va_end(args);
    ASSERT(n >= 0);
    if ((size_t)n >= room) {
        b->truncated = true;
        b->length = b->size - 1;
    } else {
        b->length += (size_t)n;
    }
    POST(b->data[b->length] == '\0');
}

static void strbuf_reserve(struct strbuf *b, size_t more)
{
    size_t need = b->length + more + 1;
    size_t size = MAX(b->size, 64);

    if (need <= b->size) {
        return;
    }
    while (size < need) {
        size *= 2;
    }
    b->data = xrealloc(b->data, size);
    b->size = size;
}

void strbuf_add(struct strbuf *b, const void *data, size_t size)
{
    strbuf_reserve(b, size);
    if (size > 0) {
        memcpy(b->data + b->length, data, size);
    }
    b->length += size;
    b->data[b->length] = '\0';
}

void strbuf_add_text(struct strbuf *b, const char *text)
{
    strbuf_add(b, text, strlen(text));
}

void strbuf_printf(struct strbuf *b, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    ASSERT(n >= 0);
    strbuf_reserve(b, (size_t)n);
    va_start(args, format);
    (void)vsnprintf(b->data + b->length, (size_t)n + 1, format, args); /* Room was made. */
    va_end(args);
    b->length += (size_t)n;
}

void strbuf_deinit(struct strbuf *b)
{
    if (b != NULL) {
        free(b->data);
        *b = (struct strbuf){0};
    }
}
