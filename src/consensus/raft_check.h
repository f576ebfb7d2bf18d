/*
 * The check in front of libraft: parses the byte stream a peer sends to it and
 * refuses whatever the library would believe to its harm (lengths, counts,
 * types; reference: cowsql/raft 0.22.1 src/uv_encoding.c, uv_recv.c). Pure:
 * fed in pieces, allocates nothing, passes bytes on only after they are judged.
 */
#ifndef VECHE_CONSENSUS_RAFT_CHECK_H
#define VECHE_CONSENSUS_RAFT_CHECK_H

#include "base/err.h"

#define RAFT_CHECK_HEADER_MAX (256 * 1024) /* Largest message header passed on. */

struct raft_check {
    uint8_t state;
    uint64_t type;
    uint64_t need;    /* Bytes of the present part still to come. */
    uint64_t payload; /* Bytes that follow the header. */
    size_t used;      /* Bytes collected in header. */
    uint8_t *header;  /* RAFT_CHECK_HEADER_MAX + 16 bytes of the caller. */
};

void raft_check_init(struct raft_check *check, uint8_t *header_memory);

/* Judges `size` more bytes of the stream, in order. *ret_passed: how many bytes
 * from the start of everything fed so far but not yet passed may now be handed
 * to libraft (a header is held back until it is complete and good). Returns 0,
 * or -1 with the reason: close the connection, nothing of this may pass. */
MUST_USE int raft_check_feed(struct raft_check *check, const void *data, size_t size,
                             uint64_t *ret_passed, struct err *err);

#endif
