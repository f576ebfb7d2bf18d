/*
 * The check in front of libraft: parses the byte stream a peer sends to it and
 * refuses whatever the library would believe to its harm (lengths, counts,
 * types; reference: cowsql/raft 0.22.1 src/uv_encoding.c, uv_recv.c). Pure:
 * fed in pieces, allocates nothing, passes bytes on only after they are judged.
 */
#ifndef VECHE_CONSENSUS_RAFT_CHECK_H
#define VECHE_CONSENSUS_RAFT_CHECK_H

#include "base/err.h"

#define RAFT_CHECK_HEADER_MAX  (256 * 1024) /* Largest message header passed on. */
#define RAFT_CHECK_CHANGE_MAX  1024         /* Largest encoded list of members. */
#define RAFT_CHECK_ENTRIES_MAX 256          /* In one message; our leaders send 32. */
#define RAFT_CHECK_PAYLOAD_MAX (16 * 1024 * 1024)

enum raft_check_state {
    RAFT_CHECK_PREAMBLE, /* Type and length of the header. */
    RAFT_CHECK_HEADER,
    RAFT_CHECK_ENTRY,  /* The payload of an entry that is passed on unseen. */
    RAFT_CHECK_CHANGE, /* That of a membership entry, held back until judged. */
    RAFT_CHECK_SNAPSHOT,
    RAFT_CHECK_REFUSED, /* For ever. */
};

struct raft_check {
    uint8_t state; /* enum raft_check_state */
    uint64_t type;
    uint64_t need;    /* Bytes of the present part still to come. */
    uint64_t payload; /* Bytes that follow the header. */
    size_t used;      /* Bytes collected in header. */
    uint8_t *header;  /* RAFT_CHECK_HEADER_MAX + 16 bytes of the caller. */
    uint64_t held;    /* Bytes fed and not passed yet. */
    uint32_t entry;   /* The one whose payload is read. */
    uint32_t n_entries;
    size_t change_used; /* Bytes collected in change. */
    uint8_t change[RAFT_CHECK_CHANGE_MAX];
};

void raft_check_init(struct raft_check *check, uint8_t *header_memory);

/* Judges `size` more bytes of the stream, in order. *ret_passed: how many bytes
 * from the start of everything fed so far but not yet passed may now be handed
 * to libraft (a header is held back until it is complete and good). Returns 0,
 * or -1 with the reason: close the connection, nothing of this may pass. */
MUST_USE int raft_check_feed(struct raft_check *check, const void *data, size_t size,
                             uint64_t *ret_passed, struct err *err);

#endif
