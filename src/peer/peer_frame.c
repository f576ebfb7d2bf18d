/*
 * Frames, see peer_frame.h.
 */
#include "peer/peer_frame.h"

#include "peer/peer.h"

#define KEEP_SIZE ((size_t)64 * 1024) /* A larger buffer is given back after its frame. */

#define PHASES_ALL (PHASE_HELLO | PHASE_PEER | PHASE_RAFT)

static const struct {
    const char *name;
    size_t payload_max;
    unsigned phases;
} types[FRAME_TYPES] = {
    /* clang-format off */
    [FRAME_PREFACE]       = {"preface",       1024,                   PHASE_PREFACE},
    [FRAME_WELCOME]       = {"welcome",       0,                      PHASE_PREFACE},
    [FRAME_REFUSE]        = {"refuse",        512,                    PHASE_PREFACE | PHASES_ALL},
    [FRAME_PING]          = {"ping",          8,                      PHASES_ALL},
    [FRAME_PONG]          = {"pong",          8,                      PHASES_ALL},
    [FRAME_HELLO]         = {"hello",         1024,                   PHASE_HELLO | PHASE_PEER},
    [FRAME_STATUS]        = {"status",        2048,                   PHASE_PEER},
    [FRAME_RENEW]         = {"renew",         64,                     PHASE_PEER},
    [FRAME_GRANT]         = {"grant",         512,                    PHASE_PEER},
    [FRAME_PROPOSE]       = {"propose",       PEER_PROPOSAL_MAX + 64, PHASE_PEER},
    [FRAME_RESULT]        = {"result",        64,                     PHASE_PEER},
    [FRAME_ASK_POSITIONS] = {"ask-positions", 8,                      PHASE_PEER},
    [FRAME_POSITIONS]     = {"positions",     64,                     PHASE_PEER},
    [FRAME_RAFT_DATA]     = {"raft-data",     FRAME_RAFT_DATA_MAX,    PHASE_RAFT},
    /* clang-format on */
};

size_t frame_payload_max(enum frame_type type)
{
    PRE(type > 0 && type < FRAME_TYPES);
    return types[type].payload_max;
}

const char *frame_type_name(enum frame_type type)
{
    PRE(type > 0 && type < FRAME_TYPES);
    return types[type].name;
}

void frame_write_header(uint8_t header[FRAME_HEADER_SIZE], enum frame_type type, size_t size)
{
    struct encoder e;

    PRE(size <= frame_payload_max(type));
    encoder_init(&e, header, FRAME_HEADER_SIZE);
    encode_u32(&e, (uint32_t)(size + 1));
    encode_u8(&e, (uint8_t)type);
    POST(!e.failed);
}

/* Moves bytes over until the reader holds `goal`. */
static bool fill(struct frame_reader *r, struct decoder *bytes, size_t goal)
{
    size_t n = MIN(goal - r->used, bytes->size - bytes->used);
    const uint8_t *from = decode_bytes(bytes, n);

    if (r->size < goal) {
        r->size = MAX(goal, (size_t)512);
        r->data = xrealloc(r->data, r->size);
    }
    if (n > 0) {
        memcpy(r->data + r->used, from, n);
    }
    r->used += n;
    return r->used == goal;
}

static int judge_header(const struct frame_reader *r, enum frame_phase phase, size_t *ret_size,
                        struct err *err)
{
    struct decoder d;
    uint32_t length;
    uint8_t type;

    decoder_init(&d, r->data, FRAME_HEADER_SIZE);
    length = decode_u32(&d);
    type = decode_u8(&d);
    if (type == 0 || type >= FRAME_TYPES) {
        return err_set(err, "frame of unknown type %u", type);
    }
    if ((types[type].phases & phase) == 0) {
        return err_set(err, "frame \"%s\" has no place here", types[type].name);
    }
    if (length == 0 || length - 1 > types[type].payload_max) {
        return err_set(err, "frame \"%s\" of %u bytes, at most %zu", types[type].name, length,
                       types[type].payload_max + 1);
    }
    *ret_size = FRAME_HEADER_SIZE + length - 1;
    return 0;
}

enum frame_next frame_reader_feed(struct frame_reader *r, enum frame_phase phase,
                                  struct decoder *bytes, struct frame *ret_frame, struct err *err)
{
    size_t size = 0;

    if (r->used == 0 && r->size > KEEP_SIZE) {
        frame_reader_deinit(r);
    }
    if (r->used < FRAME_HEADER_SIZE && !fill(r, bytes, FRAME_HEADER_SIZE)) {
        return FRAME_MORE;
    }
    if (judge_header(r, phase, &size, err) < 0) {
        return FRAME_BAD;
    }
    if (!fill(r, bytes, size)) {
        return FRAME_MORE;
    }
    *ret_frame = (struct frame){.type = (enum frame_type)r->data[4],
                                .payload = r->data + FRAME_HEADER_SIZE,
                                .size = size - FRAME_HEADER_SIZE};
    r->used = 0;
    return FRAME_READY;
}

void frame_reader_deinit(struct frame_reader *r)
{
    free(r->data);
    *r = (struct frame_reader){0};
}
