/*
 * Payloads of frames: first byte the type, then the payload. What is taken is
 * written again and read to the same.
 */
#include "fuzz.h"

#include "peer/peer_frame.h"
#include "peer/peer_message.h"

static uint8_t bytes[PEER_PROPOSAL_MAX + PROPOSAL_HEAD_SIZE];
static uint8_t again[PEER_PROPOSAL_MAX + PROPOSAL_HEAD_SIZE];

/* clang-format off */
/* Decoded, encoded, decoded, encoded: both texts are the same. */
#define ROUND_TRIP(what, type) \
    static void what(const uint8_t *data, size_t size) \
    { \
        struct type first = {0}; \
        struct type second = {0}; \
        size_t n; \
        if (!message_decode_##what(data, size, &first)) { \
            return; \
        } \
        n = message_encode_##what(&first, bytes); \
        REQUIRE(n <= size && message_decode_##what(bytes, n, &second)); \
        REQUIRE(message_encode_##what(&second, again) == n && memcmp(bytes, again, n) == 0); \
    }
ROUND_TRIP(hello, hello)
ROUND_TRIP(status, status)
ROUND_TRIP(renew, lease_renew)
ROUND_TRIP(grant, lease_grant)
ROUND_TRIP(positions, positions)
ROUND_TRIP(result, proposal_result)
ROUND_TRIP(refusal, refusal_message)
ROUND_TRIP(action, action_message)
ROUND_TRIP(outcome, outcome_message)
ROUND_TRIP(proposal, proposal)
/* clang-format on */

static void number(const uint8_t *data, size_t size)
{
    uint64_t value;

    if (message_decode_number(data, size, &value)) {
        REQUIRE(message_encode_number(value, bytes) == size && memcmp(bytes, data, size) == 0);
    }
}

static void take(uint8_t type, const uint8_t *data, size_t size)
{
    switch (type) {
    case FRAME_REFUSE:
        refusal(data, size);
        break;
    case FRAME_HELLO:
        hello(data, size);
        break;
    case FRAME_STATUS:
        status(data, size);
        break;
    case FRAME_RENEW:
        renew(data, size);
        break;
    case FRAME_GRANT:
        grant(data, size);
        break;
    case FRAME_PROPOSE:
        proposal(data, size);
        break;
    case FRAME_RESULT:
        result(data, size);
        break;
    case FRAME_POSITIONS:
        positions(data, size);
        break;
    case FRAME_ACTION:
        action(data, size);
        break;
    case FRAME_OUTCOME:
        outcome(data, size);
        break;
    default:
        number(data, size);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t type = (uint8_t)(1 + fuzz_byte(&data, &size) % (FRAME_TYPES - 1));
    uint8_t *copy = fuzz_copy(data, size);

    /* As the reader has judged by then. */
    if (size <= frame_payload_max((enum frame_type)type)) {
        take(type, copy, size);
    }
    free(copy);
    return 0;
}
