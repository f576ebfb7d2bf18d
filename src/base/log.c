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
} logger = {.node = "-", .level = LOG_INFO};

static atomic_ulong n_dropped; /* Lines since the last one that was written. */

static const char *const level_names[] = {"debug", "info", "warning", "error"};

void log_init(const char *node, enum log_level level)
{
    (void)str_copy(logger.node, sizeof(logger.node), node); /* Cut is fine. */
    logger.level = level;
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

void log_write(enum log_level level, const char *format, ...)
{
    char time_text[CLOCK_TEXT_SIZE];
    char line[LINE_SIZE];
    struct sbuf b;
    size_t start;
    va_list args;

    if (level < logger.level) {
        return;
    }
    sbuf_init(&b, line, sizeof(line) - 1);
    sbuf_printf(&b, "%s %s %s ", clock_format_iso(clock_wall_us(), time_text, sizeof(time_text)),
                level_names[level], logger.node);
    start = b.length;
    va_start(args, format);
    (void)vsnprintf(line + start, sizeof(line) - 1 - start, format, args); /* Cut is fine. */
    va_end(args);
    flatten(line + start);
    b.length = strlen(line);
    line[b.length] = '\n';
    if (!has_room()) {
        (void)atomic_fetch_add(&n_dropped, 1);
        return;
    }
    tell_dropped();
    if (write(STDERR_FILENO, line, b.length + 1) < 0) {
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
