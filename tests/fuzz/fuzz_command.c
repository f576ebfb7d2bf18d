/*
 * A log: commands, each behind a u16 of its size, as bytes that a Raft leader
 * sent. What decodes is encoded to the same bytes and applied; the store then
 * keeps its invariants and goes through a snapshot unchanged.
 */
#include "fuzz.h"

#include "base/codec.h"
#include "store/apply.h"
#include "store/command.h"
#include "store/snapshot.h"

#define COMMANDS_MAX 8 /* Each is large, decoded: more only cost time. */

static struct store store;
static struct store restored;
static uint8_t bytes[SNAPSHOT_SIZE_MAX];
static uint8_t again[SNAPSHOT_SIZE_MAX];

static bool take(const uint8_t *data, size_t size, uint64_t index)
{
    static struct command c;
    static struct command other;
    char text[1024];
    struct err err;
    unsigned changes;
    int n;

    if (command_decode(data, size, &c, &err) != 0) {
        REQUIRE(err.text[0] != '\0');
        return false;
    }
    REQUIRE(command_broken_field(&c) == NULL);
    REQUIRE(command_print(&c, text, sizeof(text)) == text && text[0] != '\0');
    n = command_encode(&c, bytes, sizeof(bytes), &err);
    REQUIRE(n >= 0 && (size_t)n <= size);
    REQUIRE(command_decode(bytes, (size_t)n, &other, &err) == 0 && command_equal(&c, &other));
    (void)store_apply(&store, index, &c, &changes);
    REQUIRE(store.applied_index == index);
    return true;
}

static void check_snapshot(void)
{
    struct err err;
    int n = snapshot_encode(&store, bytes, sizeof(bytes), &err);
    int m;

    REQUIRE(store_broken_invariant(&store) == NULL);
    REQUIRE(n > 0 && snapshot_decode(bytes, (size_t)n, &restored, &err) == 0);
    m = snapshot_encode(&restored, again, sizeof(again), &err);
    REQUIRE(m == n && memcmp(bytes, again, (size_t)n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct decoder d;
    uint64_t index = 0;

    decoder_init(&d, data, size);
    store_init(&store);
    while (!d.failed && d.used < size && index < COMMANDS_MAX) {
        size_t n = decode_u16(&d);
        const uint8_t *from;
        uint8_t *copy;

        n = MIN(n, size - d.used);
        from = decode_bytes(&d, n);
        copy = fuzz_copy(from, n);
        index += take(copy, n, index + 1) ? 1 : 0;
        free(copy);
    }
    if (index > 0) {
        check_snapshot();
    }
    return 0;
}
