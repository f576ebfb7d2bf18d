/*
 * The preface of a stranger. What is accepted is written again byte for byte.
 */
#include "fuzz.h"

#include "peer/peer_preface.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t cluster = fuzz_byte(&data, &size);
    const struct preface ours = {.cluster_id = cluster % 3,
                                 .scope = "batman",
                                 .id = 42,
                                 .instance = 43,
                                 .process = 44,
                                 .name = "pg1",
                                 .address = "127.0.0.1:7400"};
    uint8_t *copy = fuzz_copy(data, size);
    uint8_t bytes[PREFACE_SIZE];
    struct preface theirs = {0};
    struct preface again = {0};
    struct err err = {""};
    bool is_self = false;
    size_t n;

    if (preface_judge(&ours, copy, size, &theirs, &is_self, &err) == CAUSE_NONE) {
        REQUIRE(theirs.id != 0 && theirs.id != ours.id && strcmp(theirs.scope, ours.scope) == 0);
        n = preface_encode(&theirs, bytes);
        REQUIRE(n == size && memcmp(bytes, copy, size) == 0);
        REQUIRE(preface_judge(&ours, bytes, n, &again, &is_self, &err) == CAUSE_NONE);
        REQUIRE(memcmp(&theirs, &again, sizeof(theirs)) == 0);
        (void)preface_is_hello_only(&ours, &theirs);
    } else {
        REQUIRE(err.text[0] != '\0' || is_self);
    }
    free(copy);
    return 0;
}
