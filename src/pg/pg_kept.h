/*
 * The directory <data_dir>.diverged with what was kept of diverged WAL: finding,
 * copying, making room. For pg_keep.c, on the thread.
 */
#ifndef VECHE_PG_PG_KEPT_H
#define VECHE_PG_PG_KEPT_H

#include "pg/pg.h"

#define PG_KEPT_RECORD_MAX   4096
#define PG_KEPT_PART         ".part" /* Ends the name of a directory that is being filled. */

/* <data_dir>.diverged */
void pg_kept_base(const char *data_dir, char *path, size_t size);

/* Durable, but for the directory that it is in. */
MUST_USE int pg_kept_copy(const char *from, const char *to, struct err *err);

typedef bool (*pg_kept_is)(const char *dir, const void *data);

/* The newest directory of base that `is` says true of; path is left alone if there is none. */
bool pg_kept_find(const char *base, pg_kept_is is, const void *data, char *path, size_t size);

/* Removes every directory of base that `is` says true of. Says so. */
MUST_USE int pg_kept_remove_found(const char *base, pg_kept_is is, const void *data,
                                  const char *why, struct err *err);

/* From the RECORD of a directory; false if there is none. */
bool pg_kept_read(const char *dir, struct pg_kept *ret);

/* RECORD says from now on that the ledger has it. */
MUST_USE int pg_kept_note_told(const char *dir, struct err *err);

/* Removes what was cut off. Says so. */
MUST_USE int pg_kept_remove_parts(const char *base, struct err *err);

/* Removes WAL of other directories than `newest`, oldest first, until what is there is
 * within `limit`. Their records stay, those that the ledger has not with certainty; so does
 * WAL that waits for the archive, and neither counts. Says what it removes. */
MUST_USE int pg_kept_make_room(const char *base, const char *newest, uint64_t limit,
                               struct err *err);

/* When what it was kept for is through: removes what exceeds `limit`, and older
 * directories for it. (pg_keep.c) */
MUST_USE int pg_kept_trim(const struct pg_kept *kept, const char *base, uint64_t limit,
                          struct err *err);

#endif
