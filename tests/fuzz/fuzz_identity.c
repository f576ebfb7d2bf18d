/*
 * The identity file. First byte: whether size and check sum are put right.
 */
#include "fuzz.h"

#include "base/codec.h"
#include "base/crc32c.h"
#include "consensus/identity.h"

#define SIZE_AT     12
#define CRC_AT      16
#define HEADER_SIZE 20

static void put_right(uint8_t *data, size_t size)
{
    struct encoder e;
    uint32_t crc;

    encoder_init(&e, data + SIZE_AT, 4);
    encode_u32(&e, (uint32_t)(size - HEADER_SIZE));
    crc = crc32c(crc32c(0, data, CRC_AT), data + HEADER_SIZE, size - HEADER_SIZE);
    encoder_init(&e, data + CRC_AT, 4);
    encode_u32(&e, crc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool as_it_is = fuzz_byte(&data, &size) == 'r';
    size_t used = MIN(size, (size_t)IDENTITY_SIZE_MAX);
    uint8_t *copy = fuzz_copy(data, used);
    uint8_t bytes[IDENTITY_SIZE_MAX];
    struct identity identity;
    struct err err = {""};

    if (!as_it_is && used >= HEADER_SIZE) {
        put_right(copy, used);
    }
    if (identity_decode(copy, used, &identity, &err) == 0) {
        REQUIRE(identity.id != 0 && identity.n_members <= VOTERS_MAX);
        REQUIRE(identity_encode(&identity, bytes) == used);
        REQUIRE(memcmp(bytes, copy, used) == 0);
    } else {
        REQUIRE(err.text[0] != '\0');
    }
    free(copy);
    return 0;
}
