/*
 * The stream of a peer to libraft, in front of the library. First byte: how it
 * is cut. Cut or whole, the verdict and what passes are the same; nothing passes
 * that was not fed, nor anything after a refusal.
 */
#include "fuzz.h"

#include "consensus/raft_check.h"

static uint8_t memory[RAFT_CHECK_HEADER_MAX + 16];

struct verdict {
    uint64_t passed;
    bool refused;
};

static struct verdict judge(const uint8_t *data, size_t size, size_t piece)
{
    struct verdict v = {0};
    struct raft_check check;

    raft_check_init(&check, memory);
    for (size_t at = 0; at < size && !v.refused; at += piece) {
        size_t n = MIN(piece, size - at);
        uint8_t *copy = fuzz_copy(data + at, n);
        uint64_t passed = 0;
        struct err err = {""};

        v.refused = raft_check_feed(&check, copy, n, &passed, &err) != 0;
        free(copy);
        if (v.refused) {
            REQUIRE(err.text[0] != '\0');
            REQUIRE(raft_check_feed(&check, data, 1, &passed, &err) != 0);
        } else {
            v.passed += passed;
        }
        REQUIRE(v.passed <= at + n);
    }
    return v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t piece = (size_t)fuzz_byte(&data, &size) + 1;
    struct verdict whole = judge(data, size, MAX(size, (size_t)1));
    struct verdict cut = judge(data, size, piece);

    REQUIRE(whole.refused == cut.refused);
    /* A piece that is refused passes nothing, however good its beginning. */
    REQUIRE(whole.refused || whole.passed == cut.passed);
    return 0;
}
