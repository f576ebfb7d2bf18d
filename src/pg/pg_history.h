/*
 * Timeline history files (pg_wal/0000000N.history): which timeline ended where.
 * PostgreSQL: src/backend/access/transam/timeline.c.
 */
#ifndef VECHE_PG_PG_HISTORY_H
#define VECHE_PG_PG_HISTORY_H

#include "base/err.h"
#include "store/types.h"

#define PG_HISTORY_FILE_SIZE_MAX (256 * 1024)

struct pg_history_line {
    uint32_t timeline; /* The one that ended; 0 = none. */
    lsn_t lsn;         /* Where. */
    char reason[TEXT_SIZE];
};

/* Looks for the line of `timeline` in the text of a history file; its last line
 * if timeline is 0. False if there is none, or the text is not a history file. */
bool pg_history_parse(const char *text, uint32_t timeline, struct pg_history_line *ret_line);

/* All lines of a history, oldest first; of a longer one the newest. */
struct pg_history {
    uint32_t timeline; /* Whose history; 0 = none read. */
    int64_t time_us;   /* When its file was written. */
    uint32_t n;
    struct pg_history_line lines[HISTORY_MAX];
};

/* False if the text is not the history of that timeline. A file without lines is
 * none: such placeholders hold numbers that were left out (pg_promote.c). */
bool pg_history_parse_all(const char *text, uint32_t timeline, struct pg_history *ret_history);

/* Reads the history of `timeline` from the data directory. May block. */
MUST_USE int pg_history_read(const char *data_dir, uint32_t timeline,
                             struct pg_history *ret_history, struct err *err);

#endif
