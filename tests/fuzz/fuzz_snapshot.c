/*
 * A snapshot from a disk or a leader. First byte: whether size and check sum are
 * put right, so that the body is read at all.
 */
#include "fuzz.h"

#include "base/codec.h"
#include "base/crc32c.h"
#include "store/snapshot.h"

#define CRC_AT      12
#define HEADER_SIZE 16

static struct store store;
static struct store other;
static uint8_t bytes[SNAPSHOT_SIZE_MAX];
static uint8_t again[SNAPSHOT_SIZE_MAX];

static void put_right(uint8_t *data, size_t size)
{
    struct encoder e;
    uint32_t crc;

    encoder_init(&e, data, size);
    encode_u32(&e, SNAPSHOT_MAGIC);
    encode_u16(&e, SNAPSHOT_VERSION);
    encode_u16(&e, 0);
    encode_u32(&e, (uint32_t)(size - HEADER_SIZE));
    crc = crc32c(crc32c(0, data, CRC_AT), data + HEADER_SIZE, size - HEADER_SIZE);
    encode_u32(&e, crc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool as_it_is = fuzz_byte(&data, &size) == 'r';
    uint8_t *copy = fuzz_copy(data, size);
    struct err err = {""};
    int n;
    int m;

    if (!as_it_is && size >= HEADER_SIZE) {
        put_right(copy, size);
    }
    if (snapshot_decode(copy, size, &store, &err) == 0) {
        REQUIRE(store_broken_invariant(&store) == NULL);
        n = snapshot_encode(&store, bytes, sizeof(bytes), &err);
        REQUIRE(n > 0 && (size_t)n <= size);
        REQUIRE(snapshot_decode(bytes, (size_t)n, &other, &err) == 0);
        m = snapshot_encode(&other, again, sizeof(again), &err);
        REQUIRE(m == n && memcmp(bytes, again, (size_t)n) == 0);
    } else {
        REQUIRE(err.text[0] != '\0');
    }
    free(copy);
    return 0;
}
