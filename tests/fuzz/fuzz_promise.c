/*
 * The promise file: two slots of 64 words. First byte, by its bits: which slots'
 * check sums are put right, and whose node and boot the file is read for (the
 * slot's own, as a rule).
 */
#include "fuzz.h"

#include <stdalign.h>

#include "base/crc32c.h"
#include "lease.h"

#define SLOT_SIZE (LEASE_FILE_SIZE / 2)
#define SEQ_AT    8
#define NODE_AT   16
#define BOOT_AT   24
#define CRC_AT    (SLOT_SIZE - 8)

static alignas(8) uint8_t file[LEASE_FILE_SIZE];

static void put_right(uint8_t *slot)
{
    uint64_t crc = crc32c(0, slot + SEQ_AT, CRC_AT - SEQ_AT);

    memcpy(slot + CRC_AT, &crc, sizeof(crc));
}

static bool is_right(const uint8_t *slot)
{
    uint64_t crc;

    memcpy(&crc, slot + CRC_AT, sizeof(crc));
    return crc == crc32c(0, slot + SEQ_AT, CRC_AT - SEQ_AT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t how = fuzz_byte(&data, &size);
    const uint8_t *of = file + ((how & 4) != 0 ? SLOT_SIZE : 0);
    struct lease_image image;
    struct lease_image again;
    uint8_t boot_id[16];
    uint64_t node_id;

    memset(file, 0, sizeof(file));
    if (size > 0) {
        memcpy(file, data, MIN(size, sizeof(file)));
    }
    if ((how & 1) == 0) {
        put_right(file);
    }
    if ((how & 2) == 0) {
        put_right(file + SLOT_SIZE);
    }
    memcpy(&node_id, of + NODE_AT, sizeof(node_id));
    memcpy(boot_id, of + BOOT_AT, sizeof(boot_id));
    boot_id[0] ^= (how & 8) != 0 ? 1 : 0;
    if (lease_file_decode(file, node_id, boot_id, &image) != LEASE_FILE_GOOD) {
        return 0;
    }
    REQUIRE(is_right(file) || is_right(file + SLOT_SIZE));
    REQUIRE(image.node_id == node_id && memcmp(image.boot_id, boot_id, sizeof(boot_id)) == 0);
    lease_file_encode(file, &image);
    REQUIRE(lease_file_decode(file, node_id, boot_id, &again) == LEASE_FILE_GOOD);
    REQUIRE(memcmp(&image, &again, sizeof(image)) == 0);
    return 0;
}
