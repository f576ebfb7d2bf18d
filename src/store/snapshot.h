/*
 * The whole store as bytes, for Raft's snapshots: magic, version, CRC-32C,
 * then the fields, generated from the same kind of schema as commands. The
 * first bytes can not be taken for an LZ4 frame, which libraft looks for.
 */
#ifndef VECHE_STORE_SNAPSHOT_H
#define VECHE_STORE_SNAPSHOT_H

#include "base/err.h"
#include "store/store.h"

#define SNAPSHOT_SIZE_MAX (2 * 1024 * 1024)

/* Returns the bytes written, or -1 if size is too small. */
MUST_USE int snapshot_encode(const struct store *s, void *data, size_t size, struct err *err);

/* Returns 0, or -1 with the reason and *ret_store untouched. */
MUST_USE int snapshot_decode(const void *data, size_t size, struct store *ret_store,
                             struct err *err);

#endif
