/*
 * A stream of frames. First byte: the phase, and whether check sums are put
 * right; second: how the stream is cut into pieces. Cut or whole, the same
 * frames come out, and the reader takes no more memory than a frame may have.
 */
#include "fuzz.h"

#include "base/crc32c.h"
#include "peer/peer_frame.h"

#define SIZE_MAX_OF_ALL ((size_t)310 * 1024)

struct seen {
    uint64_t n;    /* Frames. */
    uint32_t hash; /* Of all of them. */
    bool bad;
    bool damaged; /* By its check. */
};

static void put_right(uint8_t *data, size_t size)
{
    uint64_t number = 0;

    for (size_t at = 0; at + FRAME_OVERHEAD <= size; number++) {
        struct decoder d;
        size_t length;
        uint8_t type;

        decoder_init(&d, data + at, FRAME_HEADER_SIZE);
        length = decode_u32(&d);
        type = decode_u8(&d);
        if (type == 0 || type >= FRAME_TYPES || length < 1 + FRAME_CHECK_SIZE ||
            length - 1 - FRAME_CHECK_SIZE > frame_payload_max((enum frame_type)type) ||
            length + 4 > size - at) {
            return;
        }
        at += frame_seal(data + at, (enum frame_type)type, length - 1 - FRAME_CHECK_SIZE, number);
    }
}

static struct seen read_stream(const uint8_t *data, size_t size, enum frame_phase phase,
                               size_t piece)
{
    struct frame_reader r = {0};
    struct seen seen = {0};

    for (size_t at = 0; at < size && !seen.bad; at += piece) {
        size_t n = MIN(piece, size - at);
        uint8_t *copy = fuzz_copy(data + at, n);
        enum frame_next next = FRAME_READY;
        struct decoder d;
        struct frame frame;
        struct err err;

        decoder_init(&d, copy, n);
        while (next == FRAME_READY) {
            next = frame_reader_feed(&r, phase, &d, &frame, &err);
            if (next == FRAME_READY) {
                REQUIRE(frame.size <= frame_payload_max(frame.type));
                seen.n++;
                seen.hash = crc32c(seen.hash ^ (uint32_t)frame.type, frame.payload, frame.size);
            }
        }
        REQUIRE(r.size <= SIZE_MAX_OF_ALL);
        seen.bad = next == FRAME_BAD;
        seen.damaged = seen.bad && strstr(err.text, "damaged") != NULL;
        free(copy);
    }
    frame_reader_deinit(&r);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t how = fuzz_byte(&data, &size);
    size_t piece = (size_t)fuzz_byte(&data, &size) + 1;
    enum frame_phase phase = (enum frame_phase)(1 << (how & 3));
    uint8_t *copy = fuzz_copy(data, size);
    struct seen whole;
    struct seen cut;

    if ((how & 4) == 0) {
        put_right(copy, size);
    }
    whole = read_stream(copy, size, phase, MAX(size, (size_t)1));
    cut = read_stream(copy, size, phase, piece);
    REQUIRE(!whole.damaged || (how & 4) != 0); /* What was put right is right. */
    REQUIRE(whole.n == cut.n && whole.hash == cut.hash && whole.bad == cut.bad);
    free(copy);
    return 0;
}
