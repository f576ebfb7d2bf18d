/*
 * The stream of a peer to libraft, in front of the library. First byte: how it
 * is cut; from 0x80 on the rest is not the stream but a recipe for one
 * (raft_recipe.h), which gets to the bounds that bytes by chance do not.
 *
 * The verdict and what passes are those of a model that reads the whole stream at
 * once, with the bounds as numbers of its own, however the stream is cut.
 */
#include "fuzz.h"

#include "consensus/raft_check.h"
#include "raft_recipe.h"

#define PREAMBLE 16
#define TAIL     64
#define KIB      1024
#define INDEX    UINT64_C(0x3fffffffffffffff)

static uint8_t memory[RAFT_CHECK_HEADER_MAX + 16];
static uint8_t stream[RECIPE_SIZE_MAX];

struct verdict {
    uint64_t passed; /* If refused: no more than this. */
    bool refused;
};

/* ---- The model ---- */

static uint64_t word(const uint8_t *at)
{
    uint64_t value = 0;

    for (unsigned i = 8; i > 0; i--) {
        value = value << 8 | at[i - 1];
    }
    return value;
}

static bool size_is_possible(uint64_t type, uint64_t size)
{
    static const struct {
        uint64_t min, max;
    } sizes[] = {
        [RECIPE_APPEND] = {48, 48 + 256 * 16 + TAIL},
        [RECIPE_APPEND_RESULT] = {32, 32 + TAIL},
        [RECIPE_VOTE] = {40, 40 + TAIL},
        [RECIPE_VOTE_RESULT] = {24, 24 + TAIL},
        [RECIPE_SNAPSHOT] = {56, 56 + KIB + TAIL},
        [RECIPE_TIMEOUT] = {24, 24 + TAIL},
    };

    return type > 0 && type < ARRAY_LENGTH(sizes) && size >= sizes[type].min &&
           size <= sizes[type].max;
}

static bool members_are_good(const uint8_t *at, uint64_t size)
{
    uint64_t n = size >= 9 ? word(at + 1) : 0;
    uint64_t used = 9;
    uint64_t ids[16];

    if (size % 8 != 0 || n < 1 || n > 16 || at[0] != 1) {
        return false;
    }
    for (uint64_t i = 0; i < n; i++) {
        char address[32];
        size_t length;

        if (size - used < 8) {
            return false;
        }
        ids[i] = word(at + used);
        length = 1 + (size_t)snprintf(address, sizeof(address), "n:%llx", (long long)ids[i]);
        if (ids[i] == 0 || size - used < 8 + length + 1 ||
            memcmp(at + used + 8, address, length) != 0 || at[used + 8 + length] > 2) {
            return false;
        }
        for (uint64_t k = 0; k < i; k++) {
            if (ids[k] == ids[i]) {
                return false;
            }
        }
        used += 8 + length + 1;
    }
    return size - used < 8;
}

static bool append_is_good(const uint8_t *header, uint64_t size)
{
    uint64_t term = word(header);
    uint64_t index = word(header + 8);
    uint64_t last_term = word(header + 16);
    uint64_t n = word(header + 32);
    uint64_t sum = 0;

    if (n > 256 || size < 48 + 16 * n || size > 48 + 16 * n + TAIL || term == 0 ||
        last_term > term || index > INDEX || (index == 0) != (last_term == 0)) {
        return false;
    }
    for (uint64_t i = 0; i < n; i++) {
        static const uint64_t sizes_max[] = {0, 256 * KIB + 4096 + 16, 64, KIB};
        const uint8_t *row = header + 40 + 16 * i;
        uint64_t type = word(row + 8) & UINT32_MAX;
        uint64_t bytes = word(row + 8) >> 32;

        if (type > 3 || bytes == 0 || bytes % 8 != 0 || bytes > sizes_max[type] || word(row) == 0 ||
            word(row) < last_term || word(row) > term) {
            return false;
        }
        last_term = word(row);
        sum += bytes;
    }
    return sum <= 16 * KIB * KIB;
}

static bool snapshot_is_good(const uint8_t *header, uint64_t size, uint64_t *ret_bytes)
{
    uint64_t index = word(header + 8);
    uint64_t members_index = word(header + 24);
    uint64_t members = word(header + 32);

    if (members > KIB || size < 56 + members || size > 56 + members + TAIL) {
        return false;
    }
    *ret_bytes = word(header + 40 + members);
    return *ret_bytes > 0 && *ret_bytes <= 2 * KIB * KIB && index > 0 && index <= INDEX &&
           word(header + 16) > 0 && members_index > 0 && members_index <= index &&
           members_are_good(header + 40, members);
}

static bool header_is_good(uint64_t type, const uint8_t *header, uint64_t size, uint64_t *ret_bytes)
{
    switch (type) {
    case RECIPE_APPEND:
        return append_is_good(header, size);
    case RECIPE_SNAPSHOT:
        return snapshot_is_good(header, size, ret_bytes);
    case RECIPE_VOTE:
        return word(header) > 0 && word(header + 8) > 0;
    default:
        return true;
    }
}

/* The payloads of the entries of a good header; false: no more is to be read. */
static bool read_entries(const uint8_t *header, const uint8_t *data, size_t size, size_t *at,
                         struct verdict *v)
{
    for (uint64_t i = 0; i < word(header + 32); i++) {
        uint64_t kind = word(header + 40 + 16 * i + 8);
        bool is_change = (kind & UINT32_MAX) == 3;

        v->passed = *at;
        if (size - *at < kind >> 32) {
            v->passed = is_change ? *at : size;
            return false;
        }
        if (is_change && !members_are_good(data + *at, kind >> 32)) {
            v->refused = true;
            return false;
        }
        *at += kind >> 32;
    }
    return true;
}

static struct verdict model(const uint8_t *data, size_t size)
{
    struct verdict v = {0};
    size_t at = 0;

    while (v.passed = at, size - at >= PREAMBLE) {
        const uint8_t *header = data + at + PREAMBLE;
        uint64_t type = word(data + at);
        uint64_t n = word(data + at + 8);
        uint64_t bytes = 0;

        if ((type & ~UINT64_C(0xff0000)) > 6 || !size_is_possible(type & 0xff, n)) {
            v.refused = true;
            break;
        }
        if (size - at - PREAMBLE < n) {
            break;
        }
        type &= 0xff;
        if (!header_is_good(type, header, n, &bytes)) {
            v.refused = true;
            break;
        }
        at += PREAMBLE + n;
        if (type == RECIPE_APPEND && !read_entries(header, data, size, &at, &v)) {
            break;
        }
        at += MIN(bytes, (uint64_t)(size - at));
        if (bytes > 0 && at == size) {
            v.passed = size; /* In the middle of a snapshot, or at its end. */
            break;
        }
    }
    return v;
}

/* ---- What is tested ---- */

static struct verdict judge(const uint8_t *data, size_t size, size_t piece)
{
    bool is_short = size / piece <= 32; /* Asks the model about every beginning. */
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
        if (is_short) {
            struct verdict right = model(data, at + n);

            REQUIRE(v.refused == right.refused);
            REQUIRE(v.refused ? v.passed <= right.passed : v.passed == right.passed);
        }
    }
    return v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t how = fuzz_byte(&data, &size);
    size_t piece = (size_t)(how & 0x7f) + 1;
    struct verdict whole;
    struct verdict cut;
    struct verdict right;

    if ((how & 0x80) != 0) {
        size = recipe_follow(data, size, stream);
        data = stream;
    }
    right = model(data, size);
    whole = judge(data, size, MAX(size, (size_t)1));
    cut = judge(data, size, MAX(piece, size / 256)); /* Not for ever over a long one. */
    REQUIRE(whole.refused == right.refused && cut.refused == right.refused);
    if (right.refused) {
        REQUIRE(cut.passed <= right.passed);
    } else {
        REQUIRE(whole.passed == right.passed && cut.passed == right.passed);
    }
    return 0;
}
