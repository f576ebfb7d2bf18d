/*
 * The log: one line an event, a fixed sentence followed by key=value pairs.
 *
 *   2026-08-01T10:00:00.123456+00:00 info pg1 PostgreSQL started. pid=4711 timeline=3
 *
 * or, for machines, as JSON.
 *
 * error = someone must act; warning = we cope, and the line says how; info =
 * state changed; debug = the rest. Written to stderr (or a file, base/log_file.h), from
 * any thread, a line whole. Never pass secrets; connection strings go through log_mask().
 */
#ifndef VECHE_BASE_LOG_H
#define VECHE_BASE_LOG_H

#include "base/base.h"

enum log_level {
    LOG_DEBUG,
    LOG_INFO,
    LOG_WARNING,
    LOG_ERROR,
};

/* node: the member's name, shown in each line; copied, cut at 63 bytes. */
void log_init(const char *node, enum log_level level);
enum log_level log_level(void);
void log_set_level(enum log_level level); /* From any thread. */

#define LOG_FIELDS_SIZE 1024

/* From now on a line is a JSON object: asctime, levelname, node, `fields` ("\"app\":\"x\"", members
 * between commas; "" = none; cut to nothing when too long), message. Before there is a thread. */
void log_set_json(const char *fields);

void log_write(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

/* Takes a whole line in the place of stderr, on any thread; false: it goes to stderr after all. */
typedef bool (*log_sink)(const char *line, size_t size);
void log_set_sink(log_sink sink); /* NULL = none. From any thread. */
void log_to_stderr(const char *line, size_t size);

#define log_debug(...)   log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)    log_write(LOG_INFO, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_error(...)   log_write(LOG_ERROR, __VA_ARGS__)

/* Lets a repeated event through once per period; the rest is counted. */
struct log_limit {
    uint64_t until_ms;  /* No line before this. 0 = none was written yet. */
    uint64_t n_dropped; /* Since the last line. */
};

/* True if the caller may write now; *ret_dropped is how many were not. */
bool log_limit_passes(struct log_limit *limit, uint64_t now_ms, uint64_t period_ms,
                      uint64_t *ret_dropped);

/* Copies a libpq connection string with every password replaced by "***". */
const char *log_mask(const char *conninfo, char *text, size_t size);

#endif
