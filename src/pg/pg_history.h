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

/* Reads the history of `timeline` from the data directory: its last line, that is
 * the end of its parent. *ret_time_us is when the file was written. May block. */
MUST_USE int pg_history_read(const char *data_dir, uint32_t timeline,
                             struct pg_history_line *ret_line, int64_t *ret_time_us,
                             struct err *err);

#endif
