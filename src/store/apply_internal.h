/*
 * What the files of apply share. Internal to store/.
 *
 * A command's function either refuses, having changed nothing, or changes the
 * store, marks what it changed and returns APPLY_DONE. All text is put by
 * put_text(), so that bytes behind a text are zero and equal stores are equal
 * as bytes.
 */
#ifndef VECHE_STORE_APPLY_INTERNAL_H
#define VECHE_STORE_APPLY_INTERNAL_H

#include "base/str.h"
#include "store/apply.h"

struct apply {
    struct store *s;
    uint64_t index;   /* Of the command in the log. */
    unsigned changes; /* store_change bits so far. */
};

/* apply_primary.c: epoch_..., line_set; apply_sync.c: sync_set, history_add,
 * progress_set; apply_order.c: order_...; apply_other.c: the rest. */
#define APPLY_DECLARE(enumerator, name, text) \
    enum apply_result apply_##name(struct apply *a, const struct command_##name *c);
COMMANDS(APPLY_DECLARE)
#undef APPLY_DECLARE

/* Copies and clears the rest of dst. */
void put_text(char *dst, size_t size, const char *src);

#define PUT(dst, src) put_text((dst), sizeof(dst), (src))

/* What a ledger entry says; NULL texts are empty. */
struct ledger_text {
    int64_t time_us;
    const char *node;
    const char *rule; /* Empty: the result says it. */
    const char *evidence;
    const char *subject;
    const char *result;
    bool note; /* Not a decision: an equal one may be counted on it. */
};

/* Appends an entry, overwriting the oldest when full. To be
 * called last: the entry carries the epoch as it is then. */
void ledger_write(struct apply *a, const struct ledger_text *text);

/* Moves progress to that position unless it would go back within its epoch. */
bool progress_move(struct apply *a, const struct store_progress *to);

/* Makes that the newest declared timeline, of the present owner if there is one. */
void line_put(struct apply *a, uint32_t timeline, uint32_t parent, lsn_t lsn);

/* apply_order.c: drops those of members that are gone. */
void orders_of_nobody(struct store *s);

/* The listed member of that name that runs PostgreSQL, or NULL. */
const struct store_member *find_postgres(const struct store *s, const char *name);

#endif
