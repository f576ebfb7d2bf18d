/*
 * The logger, see log.h. Its settings are the program's only mutable globals.
 */
#include "base/log.h"

#include <assert.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/str.h"

#define LINE_SIZE 4096

static struct {
    char node[64];
    _Atomic enum log_level level;
    bool is_json;
    char fields[LOG_FIELDS_SIZE]; /* Of JSON, with a comma behind. */
} logger = {.node = "-", .level = LOG_INFO};

static _Atomic(log_sink) sink; /* NULL = stderr. */
static atomic_ulong n_dropped; /* Lines since the last one that was written. */

static const char *const level_names[] = {"debug", "info", "warning", "error"};

void log_init(const char *node, enum log_level level)
{
    (void)str_copy(logger.node, sizeof(logger.node), node); /* Cut is fine. */
    logger.level = level;
}

void log_set_json(const char *fields)
{
    struct sbuf b;

    sbuf_init(&b, logger.fields, sizeof(logger.fields));
    sbuf_printf(&b, "%s%s", fields, fields[0] != '\0' ? "," : "");
    if (b.truncated) {
        logger.fields[0] = '\0'; /* Half of one would make no line valid. */
    }
    logger.is_json = true;
}

void log_set_level(enum log_level level)
{
    logger.level = level;
}

enum log_level log_level(void)
{
    return logger.level;
}

/* A line must stay a line, whatever PostgreSQL or a peer put into a value. */
static void flatten(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) {
            *text = ' ';
        }
    }
}

/* A reader that hangs must not hang the lease: with a pipe or socket that is full
 * the line is dropped. A pipe that is writable takes PIPE_BUF bytes at once, which
 * is as much as a line has. */
static bool has_room(void)
{
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};

    static_assert(LINE_SIZE <= PIPE_BUF, "a line is written whole");
    return poll(&fd, 1, 0) != 0; /* An error is left to write. */
}

static void tell_dropped(void)
{
    unsigned long n = atomic_exchange(&n_dropped, 0);
    char text[80];
    int length;

    if (n > 0) {
        length = snprintf(text, sizeof(text), "%lu log lines were dropped: nobody read them\n", n);
        if (write(STDERR_FILENO, text, (size_t)length) < 0) {
            return; /* Nowhere left to complain. */
        }
    }
}

/* Bytes of the character there; 0 = it is not valid UTF-8. */
static size_t character_size(const char *text)
{
    unsigned char byte = (unsigned char)text[0];
    size_t size = byte < 0x80 ? 1 : byte >= 0xc2 && byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;

    if (byte > 0xf4 || (byte >= 0x80 && byte < 0xc2)) {
        return 0;
    }
    for (size_t i = 1; i < size; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80) {
            return 0; /* A zero ends up here. */
        }
    }
    if ((byte == 0xe0 && (unsigned char)text[1] < 0xa0) ||
        (byte == 0xed && (unsigned char)text[1] >= 0xa0) ||
        (byte == 0xf0 && (unsigned char)text[1] < 0x90) ||
        (byte == 0xf4 && (unsigned char)text[1] >= 0x90)) {
        return 0; /* Too long, half of a pair, or beyond the last one. */
    }
    return size;
}

/* Flattened before: nothing below a blank is left. Cut at a character, so that `end` fits. */
static void add_escaped(struct sbuf *b, const char *text, const char *end)
{
    size_t limit = b->size - 1 - strlen(end);

    while (*text != '\0') {
        size_t size = character_size(text);
        bool is_special = *text == '"' || *text == '\\';

        if (b->length + MAX(size, 1) + is_special > limit) {
            break;
        }
        sbuf_printf(b, "%s%.*s", is_special ? "\\" : "", (int)MAX(size, 1), size > 0 ? text : "?");
        text += MAX(size, 1);
    }
    sbuf_add(b, end);
}

static void make_json(struct sbuf *b, enum log_level level, const char *time_text, char *message)
{
    static const char *const names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};

    sbuf_printf(b, "{\"asctime\":\"%s\",\"levelname\":\"%s\",\"node\":\"%s\",%s\"message\":\"",
                time_text, names[level], logger.node, logger.fields);
    add_escaped(b, message, "\"}");
}

void log_write(enum log_level level, const char *format, ...)
{
    char time_text[CLOCK_TEXT_SIZE];
    char message[LINE_SIZE];
    char line[LINE_SIZE];
    struct sbuf b;
    va_list args;
    log_sink to;

    if (level < logger.level) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args); /* Cut is fine. */
    va_end(args);
    flatten(message);
    (void)clock_format_iso(clock_wall_us(), time_text, sizeof(time_text)); /* Returns it. */
    sbuf_init(&b, line, sizeof(line) - 1);
    if (logger.is_json) {
        make_json(&b, level, time_text, message);
    } else {
        sbuf_printf(&b, "%s %s %s %s", time_text, level_names[level], logger.node, message);
    }
    line[b.length] = '\n';
    to = sink;
    if (to == NULL || !to(line, b.length + 1)) {
        log_to_stderr(line, b.length + 1);
    }
}

void log_set_sink(log_sink new_sink)
{
    sink = new_sink;
}

void log_to_stderr(const char *line, size_t size)
{
    if (!has_room()) {
        (void)atomic_fetch_add(&n_dropped, 1);
        return;
    }
    tell_dropped();
    if (write(STDERR_FILENO, line, size) < 0) {
        return; /* Nowhere left to complain. */
    }
}

bool log_limit_passes(struct log_limit *limit, uint64_t now_ms, uint64_t period_ms,
                      uint64_t *ret_dropped)
{
    if (now_ms < limit->until_ms) {
        limit->n_dropped++;
        return false;
    }
    *ret_dropped = limit->n_dropped;
    limit->n_dropped = 0;
    limit->until_ms = now_ms + period_ms;
    return true;
}

/* Skips one value of a keyword/value string, quoted or not. */
static const char *skip_value(const char *p)
{
    bool quoted = *p == '\'';

    if (quoted) {
        p++;
    }
    while (*p != '\0' && (quoted ? *p != '\'' : *p != ' ')) {
        if (*p == '\\' && p[1] != '\0') {
            p++;
        }
        p++;
    }
    return quoted && *p == '\'' ? p + 1 : p;
}

/* If p is at "password =", with blanks as libpq allows them, returns where its
 * value starts, else NULL. Takes sslpassword and a URI's ?password= too. */
static const char *password_value(const char *p)
{
    static const char key[] = "password";

    if (!str_starts_with(p, key)) {
        return NULL;
    }
    p += sizeof(key) - 1;
    p += strspn(p, " \t\n");
    if (*p != '=') {
        return NULL;
    }
    p++;
    return p + strspn(p, " \t\n");
}

/* If p is at "://user:password@", returns the '@', else NULL. The last '@' of
 * the host part counts: better to mask too much of a badly written URI. */
static const char *userinfo_end(const char *p)
{
    const char *at = NULL;

    if (!str_starts_with(p, "://")) {
        return NULL;
    }
    for (p += 3; *p != '\0' && *p != ' ' && *p != '?'; p++) {
        if (*p == '@') {
            at = p;
        }
    }
    return at;
}

const char *log_mask(const char *conninfo, char *text, size_t size)
{
    struct sbuf b;

    sbuf_init(&b, text, size);
    while (*conninfo != '\0') {
        const char *value = password_value(conninfo);
        const char *at = userinfo_end(conninfo);

        if (value != NULL) {
            sbuf_add(&b, "password=***");
            conninfo = skip_value(value);
        } else if (at != NULL) {
            const char *colon = memchr(conninfo + 3, ':', (size_t)(at - conninfo) - 3);

            colon = colon != NULL ? colon : at;
            sbuf_printf(&b, "%.*s%s", (int)(colon - conninfo), conninfo, colon < at ? ":***" : "");
            conninfo = at;
        } else {
            sbuf_printf(&b, "%c", *conninfo++);
        }
    }
    return text;
}
