/*
 * Frames, see peer_frame.h.
 */
#include "peer/peer_frame.h"

#include "base/crc32c.h"
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
    [FRAME_STATUS]        = {"status",        4096,                   PHASE_PEER},
    [FRAME_RENEW]         = {"renew",         64,                     PHASE_PEER},
    [FRAME_GRANT]         = {"grant",         512,                    PHASE_PEER},
    [FRAME_PROPOSE]       = {"propose",       PEER_PROPOSAL_MAX + 64, PHASE_PEER},
    [FRAME_RESULT]        = {"result",        64,                     PHASE_PEER},
    [FRAME_ASK_POSITIONS] = {"ask-positions", 8,                      PHASE_PEER},
    [FRAME_POSITIONS]     = {"positions",     64,                     PHASE_PEER},
    [FRAME_RAFT_DATA]     = {"raft-data",     FRAME_RAFT_DATA_MAX,    PHASE_RAFT},
    [FRAME_ACTION]        = {"action",        16,                     PHASE_PEER},
    [FRAME_OUTCOME]       = {"outcome",       PEER_OUTCOME_TEXT + 16, PHASE_PEER},
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

/* Of header and payload: everything but the check itself. */
static uint32_t check_of(const uint8_t *frame, size_t size, uint64_t number)
{
    uint8_t bytes[8];
    struct encoder e;

    encoder_init(&e, bytes, sizeof(bytes));
    encode_u64(&e, number);
    return crc32c(crc32c(0, bytes, sizeof(bytes)), frame, size);
}

size_t frame_seal(uint8_t *frame, enum frame_type type, size_t size, uint64_t number)
{
    struct encoder e;

    PRE(size <= frame_payload_max(type));
    encoder_init(&e, frame, FRAME_HEADER_SIZE);
    encode_u32(&e, (uint32_t)(1 + size + FRAME_CHECK_SIZE));
    encode_u8(&e, (uint8_t)type);
    POST(!e.failed);
    encoder_init(&e, frame + FRAME_HEADER_SIZE + size, FRAME_CHECK_SIZE);
    encode_u32(&e, check_of(frame, FRAME_HEADER_SIZE + size, number));
    POST(!e.failed);
    return FRAME_OVERHEAD + size;
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
    if (length < 1 + FRAME_CHECK_SIZE || length - 1 - FRAME_CHECK_SIZE > types[type].payload_max) {
        return err_set(err, "frame \"%s\" of %u bytes, expected %d to %zu", types[type].name,
                       length, 1 + FRAME_CHECK_SIZE,
                       1 + types[type].payload_max + FRAME_CHECK_SIZE);
    }
    *ret_size = FRAME_HEADER_SIZE + length - 1;
    return 0;
}

static int judge_check(const struct frame_reader *r, size_t size, struct err *err)
{
    struct decoder d;

    decoder_init(&d, r->data + size - FRAME_CHECK_SIZE, FRAME_CHECK_SIZE);
    if (decode_u32(&d) == check_of(r->data, size - FRAME_CHECK_SIZE, r->n_frames)) {
        return 0;
    }
    return err_set(err, "frame \"%s\" was damaged on its way, or is out of order",
                   types[r->data[4]].name);
}

static void free_data(struct frame_reader *r)
{
    free(r->data);
    r->data = NULL;
    r->size = 0;
    r->used = 0;
}

enum frame_next frame_reader_feed(struct frame_reader *r, enum frame_phase phase,
                                  struct decoder *bytes, struct frame *ret_frame, struct err *err)
{
    size_t size = 0;

    if (r->used == 0 && r->size > KEEP_SIZE) {
        free_data(r);
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
    if (judge_check(r, size, err) < 0) {
        return FRAME_BAD;
    }
    *ret_frame = (struct frame){.type = (enum frame_type)r->data[4],
                                .payload = r->data + FRAME_HEADER_SIZE,
                                .size = size - FRAME_OVERHEAD};
    r->used = 0;
    r->n_frames++;
    return FRAME_READY;
}

void frame_reader_deinit(struct frame_reader *r)
{
    free_data(r);
    r->n_frames = 0;
}
