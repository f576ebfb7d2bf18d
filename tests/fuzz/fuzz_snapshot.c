/*
 * A snapshot from a disk or a leader. First byte: whether size and check sum are
 * put right, so that the body is read at all, and as which version ('p', 'q', 't': 1, 2,
 * 3); with 'c' what follows is a recipe for a body (snapshot_recipe.h).
 */
#include "fuzz.h"

#include "base/codec.h"
#include "base/crc32c.h"
#include "snapshot_recipe.h"
#include "store/snapshot.h"

#define SIZE_AT     8
#define CRC_AT      12
#define HEADER_SIZE 16
#define UNTOUCHED   UINT64_MAX /* No log has that index. */

static struct store store;
static uint8_t bytes[SNAPSHOT_SIZE_MAX];

/* With 'h' what stands before the size stays as it is; with 's' the size as well. */
static void put_right(uint8_t *data, size_t size, uint8_t how, uint16_t version)
{
    uint32_t body = (uint32_t)(size - HEADER_SIZE);
    uint32_t said;
    struct decoder d;
    struct encoder e;
    uint32_t crc;

    encoder_init(&e, data, size);
    if (how != 'h' && how != 's') {
        encode_u32(&e, SNAPSHOT_MAGIC);
        encode_u16(&e, version);
        encode_u16(&e, 0);
    }
    e.used = SIZE_AT;
    if (how != 's') {
        encode_u32(&e, body);
    }
    decoder_init(&d, data + SIZE_AT, 4);
    said = decode_u32(&d);
    e.used = CRC_AT;
    crc = crc32c(crc32c(0, data, CRC_AT), data + HEADER_SIZE, MIN(body, said));
    encode_u32(&e, crc);
}

/* What is accepted keeps the invariants and is written again byte for byte. */
static bool take(const uint8_t *data, size_t size)
{
    struct err err = {""};
    int n;

    if (snapshot_decode(data, size, &store, &err) != 0) {
        REQUIRE(err.text[0] != '\0');
        return false;
    }
    REQUIRE(store_broken_invariant(&store) == NULL);
    n = snapshot_encode(&store, bytes, sizeof(bytes), &err);
    REQUIRE(n > 0 && (size_t)n == size && memcmp(bytes, data, size) == 0);
    return true;
}

/* What the header of a made one says wrongly. */
static bool spoil_header(uint8_t *data, uint8_t how)
{
    static const struct {
        uint8_t at;
        uint8_t change;
    } changes[] = {{0, 0}, {0, 1}, {4, 4}, {4, 3}, {6, 1}, {SIZE_AT, 1}, {SIZE_AT + 3, 1}};
    unsigned which = how % ARRAY_LENGTH(changes);

    data[changes[which].at] ^= changes[which].change;
    return changes[which].change != 0;
}

static void take_recipe(const uint8_t *data, size_t size)
{
    static uint8_t made[SNAPSHOT_SIZE_MAX];
    struct recipe recipe = {.data = data, .size = size};
    size_t n = HEADER_SIZE + recipe_follow(&recipe, made + HEADER_SIZE, sizeof(made) - HEADER_SIZE);
    uint8_t *copy = fuzz_copy(made, n);
    bool is_taken;

    put_right(copy, n, 'p', recipe.version);
    if (recipe.head != 0) {
        recipe.is_bad = spoil_header(copy, recipe.head) || recipe.is_bad;
        put_right(copy, n, 's', recipe.version); /* The check sum is as if nothing were wrong. */
    }
    store.applied_index = UNTOUCHED;
    is_taken = take(copy, n);
    free(copy);
    REQUIRE(IMPLIES(recipe.is_bad, !is_taken && store.applied_index == UNTOUCHED));
    REQUIRE(IMPLIES(!recipe.is_bad && !recipe.is_unsure, is_taken));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t how = fuzz_byte(&data, &size);
    uint8_t *copy;

    if (how == 'c') {
        take_recipe(data, size);
        return 0;
    }
    copy = fuzz_copy(data, size);
    if (how != 'r' && size >= HEADER_SIZE) {
        put_right(copy, size, how, how == 't' ? 3 : 1 + how % 2);
    }
    (void)take(copy, size);
    free(copy);
    return 0;
}
