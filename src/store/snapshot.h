/*
 * The whole store as bytes, for Raft's snapshots: u32 magic, u16 version, u16
 * zero, u32 size of the body, u32 CRC-32C of these twelve bytes and the body,
 * then the body: the fields of schema.h, of tables only the used entries. The
 * first bytes can not be taken for an LZ4 frame, which libraft looks for.
 */
#ifndef VECHE_STORE_SNAPSHOT_H
#define VECHE_STORE_SNAPSHOT_H

#include "base/err.h"
#include "store/store.h"

#define SNAPSHOT_MAGIC    0x53484356 /* "VCHS" */
#define SNAPSHOT_VERSION  3 /* 2: no member told of a pooler. 1: nor was there ever an order. */
#define SNAPSHOT_SIZE_MAX (2 * 1024 * 1024)

/* Returns the bytes written, or -1 if size is too small. */
MUST_USE int snapshot_encode(const struct store *s, void *data, size_t size, struct err *err);

/* Returns 0, or -1 with the reason and *ret_store untouched; but if every byte
 * is in order and yet the parts contradict each other (a bug of the writer),
 * *ret_store is empty as after store_init(): a second store to try it in would
 * have to live on the stack. Such a node must stop in any case. */
MUST_USE int snapshot_decode(const void *data, size_t size, struct store *ret_store,
                             struct err *err);

#endif
