/*
 * A readable account of one seed. Off by default: a failing seed is run again
 * with it. Keeps the last lines only, unless everything is to be printed.
 */
#ifndef SIM_TRACE_H
#define SIM_TRACE_H

#include "sim.h"

enum trace_mode {
    TRACE_OFF,
    TRACE_LAST, /* Kept, and printed by trace_print(). */
    TRACE_ALL,  /* Printed at once. */
};

void trace_set(enum trace_mode mode);
bool trace_is_on(void);

/* "  12.345678 pg1   text". node may be NULL. */
void trace_line(const struct sim *s, const struct sim_node *node, const char *format, ...)
    PRINTF_LIKE(3, 4);

#define TRACE(s, node, ...)                   \
    do {                                      \
        if (trace_is_on()) {                  \
            trace_line(s, node, __VA_ARGS__); \
        }                                     \
    } while (0)

void trace_print(void);

#endif
