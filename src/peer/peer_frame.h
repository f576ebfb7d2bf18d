/*
 * Frames: u32 length (of what follows it), u8 type, payload, u32 check. Each
 * type has a largest payload and the phases of a connection it may come in; both
 * are judged on the header, before memory is taken for the payload.
 *
 * The check is the CRC-32C of the frame's number on its connection (from 0, not
 * sent) and of header and payload. TLS needs no such thing. In plain TCP it is
 * what keeps a flipped bit out of the replicated log, and a piece of the stream
 * that comes twice or too late from being taken for a message. It is no
 * protection against intent: for that there is TLS.
 */
#ifndef VECHE_PEER_PEER_FRAME_H
#define VECHE_PEER_PEER_FRAME_H

#include "base/codec.h"
#include "base/err.h"

#define FRAME_HEADER_SIZE   5
#define FRAME_CHECK_SIZE    4
#define FRAME_OVERHEAD      (FRAME_HEADER_SIZE + FRAME_CHECK_SIZE)
#define FRAME_RAFT_DATA_MAX (16 * 1024)

enum frame_type {
    FRAME_PREFACE = 1, /* Who I am; the first frame both ways. */
    FRAME_WELCOME,     /* I accept you. */
    FRAME_REFUSE,      /* I do not, and why; the last frame. */
    FRAME_PING,        /* Are you there? */
    FRAME_PONG,        /* Its echo. */
    FRAME_HELLO,
    FRAME_STATUS,
    FRAME_RENEW,
    FRAME_GRANT,
    FRAME_PROPOSE,
    FRAME_RESULT,
    FRAME_ASK_POSITIONS,
    FRAME_POSITIONS,
    FRAME_RAFT_DATA, /* A piece of libraft's stream. */
    FRAME_ACTION,    /* An operator asks something of you. */
    FRAME_OUTCOME,   /* What became of it. */
    FRAME_TYPES
};

enum frame_phase {
    PHASE_PREFACE = 1, /* Authenticated, not introduced. */
    PHASE_HELLO = 2,   /* No common cluster yet. */
    PHASE_PEER = 4,
    PHASE_RAFT = 8,
};

struct frame {
    enum frame_type type;
    const uint8_t *payload; /* Inside the reader, until the next call on it. */
    size_t size;
};

/* Zero-initialise; deinit frees. */
struct frame_reader {
    uint8_t *data; /* Heap; grows to the frame under way, never beyond its type's limit. */
    size_t size;
    size_t used;
    uint64_t n_frames; /* Read so far: the number of the next one. */
};

enum frame_next {
    FRAME_MORE,  /* All bytes taken, the frame is not complete. */
    FRAME_READY, /* *ret_frame is a whole frame. */
    FRAME_BAD,   /* Close the connection; err says why. */
};

/* Takes from `bytes` up to the end of one frame. */
enum frame_next frame_reader_feed(struct frame_reader *r, enum frame_phase phase,
                                  struct decoder *bytes, struct frame *ret_frame, struct err *err);
void frame_reader_deinit(struct frame_reader *r);

/* Largest payload of that type. */
size_t frame_payload_max(enum frame_type type);
const char *frame_type_name(enum frame_type type);

/* Writes header and check around a payload of that size, which stands already
 * behind the room for the header. Returns the size of the frame. */
size_t frame_seal(uint8_t *frame, enum frame_type type, size_t size, uint64_t number);

#endif
