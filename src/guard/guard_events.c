/*
 * See guard_events.h.
 */
#include "guard/guard_events.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/str.h"

#define LINE_SIZE (GUARD_TEXT_SIZE + 128) /* Less than PIPE_BUF: written whole or not at all. */

static const char *const level_names[] = {
    [GUARD_LEVEL_INFO] = "info", [GUARD_LEVEL_WARNING] = "warning", [GUARD_LEVEL_ERROR] = "error"};

/* Others share the open file of stderr, so that O_NONBLOCK may not be set on it; opened
 * once more it is ours alone. */
static int open_stderr(bool *ret_is_socket)
{
    struct stat st;

    *ret_is_socket = false;
    if (fstat(STDERR_FILENO, &st) != 0) {
        return -1;
    }
    if (S_ISSOCK(st.st_mode)) {
        *ret_is_socket = true;
        return STDERR_FILENO;
    }
    if (S_ISFIFO(st.st_mode) || (S_ISCHR(st.st_mode) && isatty(STDERR_FILENO) == 1)) {
        return open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    }
    return -1;
}

void guard_events_init(struct guard_events *e, const char *name)
{
    memset(e, 0, sizeof(*e));
    (void)str_copy(e->name, sizeof(e->name), name); /* Cut is good enough for a line. */
    e->stderr_fd = open_stderr(&e->is_socket);
}

static void print(const struct guard_events *e, const struct guard_event *event)
{
    char line[LINE_SIZE], time[CLOCK_TEXT_SIZE];
    ssize_t written;
    size_t size;

    if (e->stderr_fd < 0) {
        return;
    }
    (void)snprintf(line, sizeof(line), "%s %s %s guard: %s\n",
                   clock_format_iso(event->wall_us, time, sizeof(time)), level_names[event->level],
                   e->name, event->text);
    size = strlen(line);
    if (e->is_socket) {
        written = send(e->stderr_fd, line, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
        written = write(e->stderr_fd, line, size);
    }
    (void)written; /* Nobody reads it now; the next agent is told. */
}

void guard_events_add(struct guard_events *e, bool agent_is_there, enum guard_level level,
                      const char *format, va_list args)
{
    struct guard_event *event = &e->ring[e->n % GUARD_EVENTS_MAX];

    *event = (struct guard_event){.header = {.magic = VECHE_GUARD_MAGIC,
                                             .version = VECHE_GUARD_VERSION,
                                             .kind = GUARD_EVENT,
                                             .size = sizeof(*event)},
                                  .level = level,
                                  .wall_us = clock_wall_us()};
    (void)vsnprintf(event->text, sizeof(event->text), format, args);
    e->n++;
    if (!agent_is_there) {
        print(e, event);
    }
}

const struct guard_event *guard_events_next(struct guard_events *e)
{
    if (e->n > GUARD_EVENTS_MAX) { /* Older ones were written over. */
        e->n_sent = MAX(e->n_sent, e->n - GUARD_EVENTS_MAX);
    }
    return e->n_sent < e->n ? &e->ring[e->n_sent % GUARD_EVENTS_MAX] : NULL;
}

void guard_events_sent(struct guard_events *e)
{
    PRE(e->n_sent < e->n);
    e->n_sent++;
}

void guard_events_all_read(struct guard_events *e)
{
    e->n_read = e->n_sent;
}

void guard_events_new_agent(struct guard_events *e)
{
    e->n_sent = e->n_read;
}
