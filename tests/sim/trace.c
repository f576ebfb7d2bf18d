/* The trace: a ring of lines, see trace.h. */
#include "trace.h"

#include <stdarg.h>

#include "sim_node.h"

#define LINES_KEPT 1500
#define LINE_SIZE  400

static enum trace_mode mode;
static char (*lines)[LINE_SIZE];
static uint64_t n_lines;

void trace_set(enum trace_mode new_mode)
{
    mode = new_mode;
    n_lines = 0;
    if (mode == TRACE_LAST && lines == NULL) {
        lines = xmalloc(LINES_KEPT * sizeof(*lines));
    }
}

bool trace_is_on(void)
{
    return mode != TRACE_OFF;
}

void trace_line(const struct sim *s, const struct sim_node *node, const char *format, ...)
{
    char text[LINE_SIZE];
    va_list args;
    int used = snprintf(text, sizeof(text), "%4u.%06u %-4s ", (unsigned)(s->now_us / SIM_S),
                        (unsigned)(s->now_us % SIM_S), node != NULL ? node->name : "");

    va_start(args, format);
    (void)vsnprintf(text + used, sizeof(text) - (size_t)used, format, args); /* May be cut. */
    va_end(args);
    if (mode == TRACE_ALL) {
        puts(text);
        return;
    }
    memcpy(lines[n_lines++ % LINES_KEPT], text, sizeof(text));
}

void trace_print(void)
{
    uint64_t first = n_lines > LINES_KEPT ? n_lines - LINES_KEPT : 0;

    if (mode != TRACE_LAST) {
        return;
    }
    for (uint64_t i = first; i < n_lines; i++) {
        puts(lines[i % LINES_KEPT]);
    }
}
