/*
 * Where the cluster went on without what a data directory has (S7). Pure: what the store
 * knows of the cluster's line against the history file that the data directory has of its own.
 */
#ifndef VECHE_PG_PG_FORK_H
#define VECHE_PG_PG_FORK_H

#include "pg/pg_history.h"
#include "store/store.h"

struct pg_line_end {
    uint32_t timeline;
    lsn_t lsn; /* The cluster left it there; of the parent perhaps only what was declared. */
};

/* The cluster's line: the timelines it came from, and the one it is on. */
struct pg_line {
    uint32_t timeline; /* Has not ended; 0 = none is known. */
    uint32_t n;
    struct pg_line_end ends[HISTORY_MAX + 1]; /* In no order. */
};

void pg_line_of(const struct store *store, struct pg_line *ret);

struct pg_fork {
    uint32_t timeline; /* The last one that both have. */
    lsn_t lsn;         /* The last position that both have; 0 = not known. */
};

/* For a data directory on `timeline`; own->n is 0 if it has no history. What is not known
 * makes the fork earlier; later by no more than a record that did not arrive whole. */
struct pg_fork pg_fork_find(const struct pg_line *line, uint32_t timeline,
                            const struct pg_history *own);

#endif
