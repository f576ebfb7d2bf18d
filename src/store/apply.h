/*
 * store_apply(): what a committed command does to the store. Pure, total and
 * deterministic: it never fails, it refuses, and every node refuses alike.
 */
#ifndef VECHE_STORE_APPLY_H
#define VECHE_STORE_APPLY_H

#include "store/command.h"
#include "store/store.h"

enum apply_result {
    APPLY_DONE,
    APPLY_UNCHANGED,     /* Already so: nothing to do, not an error. */
    APPLY_REFUSED_EPOCH, /* Decided on another epoch. */
    APPLY_REFUSED_SYNC, /* Decided on another sync revision, or the sync state forbids the owner. */
    APPLY_REFUSED_STATE,    /* Not possible in this state (already initialised, no owner, ...). */
    APPLY_REFUSED_REVISION, /* Configuration changed meanwhile. */
    APPLY_REFUSED_BUSY,     /* Another request is pending. */
    APPLY_REFUSED_LIMIT,    /* A table is full. */
    APPLY_REFUSED_VALUE,    /* Unknown member, wrong system identifier, ... */
    APPLY_RESULTS           /* One past the last. */
};

/* Which parts changed, as bits, for those who react. */
enum store_change {
    CHANGE_CLUSTER = 1 << 0,
    CHANGE_PRIMARY = 1 << 1,
    CHANGE_MEMBERS = 1 << 2,
    CHANGE_CONFIG = 1 << 3,
    CHANGE_SYNC = 1 << 4,
    CHANGE_REQUEST = 1 << 5,
    CHANGE_HISTORY = 1 << 6,
    CHANGE_PROGRESS = 1 << 7,
    CHANGE_LEDGER = 1 << 8,
    CHANGE_LINE = 1 << 9,
};

/* Applies the command committed at `index` (greater than s->applied_index).
 * *ret_changes gets store_change bits; 0 unless the result is APPLY_DONE, and
 * then nothing but applied_index moved. Before cluster_create every other
 * command is refused. Decisions (epoch_take, epoch_release, epoch_unfenced,
 * sync_set, request_set, request_end, line_set) write their own ledger entry. */
enum apply_result store_apply(struct store *s, uint64_t index, const struct command *c,
                              unsigned *ret_changes);

/* "done", "refused: epoch moved", ... */
const char *apply_result_name(enum apply_result result);
bool apply_result_is_refusal(enum apply_result result);

#endif
