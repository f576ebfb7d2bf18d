/*
 * PostgreSQL stopped by the freezer or by SIGSTOP, and let go. What a frozen
 * process was about to do it does first thing when it is let go: a backend past
 * its commit sends the acknowledgement. That is what makes a wrong thaw dangerous.
 */
#include <stdlib.h>

#include "sim_node.h"
#include "trace.h"

void sim_pg_freeze(struct sim *s, struct sim_node *n, uint64_t after_us)
{
    if (n->pg.run != PG_RUN_DOWN && n->pg.frozen_from_us == 0) {
        TRACE(s, n, "postgres: freezes within %u us", (unsigned)after_us);
        n->pg.frozen_from_us = s->now_us + after_us;
    }
}

bool sim_pg_is_frozen(const struct sim *s, const struct sim_node *n)
{
    return n->pg.frozen_from_us != 0 && s->now_us >= n->pg.frozen_from_us;
}

void sim_pg_hold(struct sim_node *n, const struct sim_event *e)
{
    struct sim_held *h = &n->held;

    if (h->n == h->size) {
        h->size = h->size == 0 ? 64 : 2 * h->size;
        h->events = xrealloc(h->events, h->size * sizeof(*h->events));
    }
    h->events[h->n++] = *e;
}

void sim_pg_thaw(struct sim *s, struct sim_node *n)
{
    struct sim_held *h = &n->held;

    TRACE(s, n, "postgres: thawed, %u things were about to be done", (unsigned)h->n);
    n->pg.frozen_from_us = 0;
    n->pg.thawed_us = s->now_us;
    for (size_t i = 0; i < h->n; i++) {
        sim_after(s, 0, &h->events[i]);
    }
    h->n = 0;
}

void sim_pg_forget_held(struct sim_node *n)
{
    struct sim_held *h = &n->held;

    n->pg.frozen_from_us = 0;
    for (size_t i = 0; i < h->n; i++) {
        free(h->events[i].data);
    }
    h->n = 0;
}
