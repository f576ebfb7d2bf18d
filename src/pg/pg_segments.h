/*
 * Segments of WAL in a directory: which of them are worth keeping when WAL is given up,
 * and in which order (pg_keep.c). File names: xlog_internal.h, XLogFileName.
 */
#ifndef VECHE_PG_PG_SEGMENTS_H
#define VECHE_PG_PG_SEGMENTS_H

#include "pg/pg.h"

#define PG_SEGMENT_NAME_SIZE 25 /* 24 hexadecimal digits. */

struct pg_segment {
    char name[PG_SEGMENT_NAME_SIZE];
    uint32_t timeline;
    uint64_t number;
    bool waits; /* For the archive, which does not have it. */
};

struct pg_segments {
    struct pg_segment *items; /* The caller frees them. */
    size_t n;
    uint64_t size; /* Of each: wal_segment_size. */
};

/* All of dir, in no order. Those that <name>.ready is there of in ready_dir wait for the
 * archive. */
MUST_USE int pg_segments_list(const char *dir, const char *ready_dir, struct pg_segments *ret,
                              struct err *err);

/* Drops what is of no line that is given up, nor before it, and what lies behind its end:
 * recycled files. The rest in the order it is worth keeping: from the fork upwards, then
 * what is before it downwards; without a known fork all of it downwards, since what was
 * written last is what nobody else has. Returns how many of the rest are given up. */
size_t pg_segments_select(struct pg_segments *s, const struct pg_kept *kept);

/* Drops all but the first n; what waits for the archive stays, and does not count. */
void pg_segments_cut(struct pg_segments *s, size_t n);

#endif
