/*
 * The check in front of libraft. Messages are built as 0.22.1 writes them; then
 * they are broken in every way that is known to kill it, and at random.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/codec.h"
#include "base/rng.h"
#include "base/str.h"
#include "consensus/raft_check.h"

#define MUTATIONS 20000

enum { APPEND = 1, APPEND_RESULT, VOTE, VOTE_RESULT, SNAPSHOT, TIMEOUT };
enum { COMMAND = 1, BARRIER, CHANGE };

static uint8_t header_memory[RAFT_CHECK_HEADER_MAX + 16];
static uint8_t stream[64 * 1024];

struct entry {
    uint64_t term;
    uint32_t type;
    uint32_t size;
};

static void put_preamble(struct encoder *e, uint64_t type, uint64_t version, uint64_t size)
{
    encode_u64(e, type | version << 16);
    encode_u64(e, size);
}

static void put_numbers(struct encoder *e, size_t n, uint64_t value)
{
    for (size_t i = 0; i < n; i++) {
        encode_u64(e, value);
    }
}

/* Members 1 to n, padded to a multiple of eight. */
static size_t make_members(uint8_t *data, size_t size, uint64_t n)
{
    struct encoder e;

    encoder_init(&e, data, size);
    encode_u8(&e, 1);
    encode_u64(&e, n);
    for (uint64_t i = 1; i <= n; i++) {
        char address[24];

        (void)snprintf(address, sizeof(address), "n:%" PRIx64, i);
        encode_u64(&e, i);
        encode_bytes(&e, address, strlen(address) + 1);
        encode_u8(&e, 1);
    }
    while (e.used % 8 != 0) {
        encode_u8(&e, 0);
    }
    assert_false(e.failed);
    return e.used;
}

static void put_append_header(struct encoder *e, uint64_t n, const struct entry *entries,
                              size_t n_rows)
{
    put_preamble(e, APPEND, 0, 48 + n_rows * 16);
    encode_u64(e, 5); /* Term. */
    encode_u64(e, 10);
    encode_u64(e, 4); /* Of entry 10. */
    encode_u64(e, 9);
    encode_u64(e, n);
    for (size_t i = 0; i < n_rows; i++) {
        encode_u64(e, entries[i].term);
        encode_u32(e, entries[i].type);
        encode_u32(e, entries[i].size);
    }
    encode_u64(e, 0);
}

static void put_zeros(struct encoder *e, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        encode_u8(e, 0);
    }
}

/* An append message with a command, a change of members, and a barrier. */
static void put_append(struct encoder *e)
{
    uint8_t members[256];
    size_t size = make_members(members, sizeof(members), 3);
    struct entry entries[] = {{4, COMMAND, 24}, {5, CHANGE, (uint32_t)size}, {5, BARRIER, 8}};

    put_append_header(e, 3, entries, 3);
    put_zeros(e, 24);
    encode_bytes(e, members, size);
    put_zeros(e, 8);
}

static void put_snapshot(struct encoder *e, uint64_t members_size, uint64_t data_size)
{
    uint8_t members[256];
    size_t size = make_members(members, sizeof(members), 3);

    put_preamble(e, SNAPSHOT, 0, 56 + size);
    encode_u64(e, 5);
    encode_u64(e, 10);
    encode_u64(e, 4);
    encode_u64(e, 1);
    encode_u64(e, members_size != 0 ? members_size : size);
    encode_bytes(e, members, size);
    encode_u64(e, data_size);
    encode_u64(e, 0);
}

/* One message of each type. */
static size_t put_all(void)
{
    struct encoder e;

    encoder_init(&e, stream, sizeof(stream));
    put_preamble(&e, VOTE, 2, 40);
    put_numbers(&e, 4, 5);
    encode_u64(&e, 3);
    put_preamble(&e, VOTE_RESULT, 2, 24);
    put_numbers(&e, 3, 1);
    put_append_header(&e, 0, NULL, 0); /* A heartbeat. */
    put_append(&e);
    put_preamble(&e, APPEND_RESULT, 2, 32);
    put_numbers(&e, 4, 7);
    put_snapshot(&e, 0, 1001);
    put_zeros(&e, 1001);
    put_preamble(&e, TIMEOUT, 0, 24);
    put_numbers(&e, 3, 7);
    assert_false(e.failed);
    return e.used;
}

static int feed(size_t size, uint64_t *ret_passed, struct err *err)
{
    struct raft_check check;

    raft_check_init(&check, header_memory);
    return raft_check_feed(&check, stream, size, ret_passed, err);
}

static void every_message_passes_whole(void **state)
{
    size_t size = put_all();
    uint64_t passed = 0;
    struct err err = {""};

    (void)state;
    assert_int_equal(feed(size, &passed, &err), 0);
    assert_int_equal(passed, size);
}

/* However the stream is cut, the same bytes pass, never ahead of what was fed. */
static void pieces_pass_as_the_whole_does(void **state)
{
    size_t size = put_all();
    struct rng rng;

    (void)state;
    rng_seed(&rng, 3);
    for (unsigned run = 0; run < 300; run++) {
        struct raft_check check;
        uint64_t total = 0;
        size_t at = 0;

        raft_check_init(&check, header_memory);
        while (at < size) {
            size_t most = run == 0 ? 1 : (size_t)rng_between(&rng, 1, 100);
            size_t n = MIN(size - at, most);
            uint64_t passed = 0;
            struct err err = {""};
            uint8_t *piece = xmalloc(n); /* ASan sees a read beyond it. */

            memcpy(piece, stream + at, n);
            assert_int_equal(raft_check_feed(&check, piece, n, &passed, &err), 0);
            free(piece);
            at += n;
            total += passed;
            assert_true(total <= at);
        }
        assert_int_equal(total, size);
    }
}

/* A message that never gets complete is never passed. */
static void a_header_is_held_back_until_it_is_complete(void **state)
{
    struct encoder e;
    uint64_t passed = 0;
    struct err err = {""};

    (void)state;
    encoder_init(&e, stream, sizeof(stream));
    put_preamble(&e, VOTE, 2, 40);
    put_numbers(&e, 5, 5);

    for (size_t n = 0; n < e.used; n++) {
        assert_int_equal(feed(n, &passed, &err), 0);
        assert_int_equal(passed, 0);
    }
}

static void a_change_of_members_is_held_back_until_it_is_complete(void **state)
{
    uint8_t members[256];
    size_t size = make_members(members, sizeof(members), 3);
    struct entry entries[] = {{5, CHANGE, (uint32_t)size}};
    struct encoder e;
    uint64_t passed = 0;
    struct err err = {""};
    size_t header;

    (void)state;
    encoder_init(&e, stream, sizeof(stream));
    put_append_header(&e, 1, entries, 1);
    header = e.used;
    encode_bytes(&e, members, size);

    assert_int_equal(feed(e.used - 1, &passed, &err), 0);
    assert_int_equal(passed, header);
    assert_int_equal(feed(e.used, &passed, &err), 0);
    assert_int_equal(passed, e.used);
}

static void expect_refused(const struct encoder *e, const char *text)
{
    uint64_t passed = 12345;
    struct err err = {""};

    assert_false(e->failed);
    if (feed(e->used, &passed, &err) != -1 || strstr(err.text, text) == NULL) {
        fail_msg("passed %" PRIu64 ", \"%s\"; expected \"%s\"", passed, err.text, text);
    }
    assert_int_equal(passed, 12345); /* Untouched. */
}

static void begin(struct encoder *e)
{
    memset(stream, 0, sizeof(stream));
    encoder_init(e, stream, sizeof(stream));
}

static void unknown_types_are_refused(void **state)
{
    const uint64_t words[] = {0, 7, 255, 0x100 | VOTE, 0x1000000 | VOTE, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        struct encoder e;

        begin(&e);
        encode_u64(&e, words[i]);
        encode_u64(&e, 40);
        expect_refused(&e, "unknown type");
    }
}

/* libraft allocates what it is told to, and reads as far as the type needs. */
static void headers_too_short_or_too_long_are_refused(void **state)
{
    const uint64_t sizes[][2] = {{APPEND, 47},      {APPEND_RESULT, 24}, {VOTE, 32},
                                 {VOTE_RESULT, 16}, {SNAPSHOT, 55},      {TIMEOUT, 16}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        const uint64_t wrong[] = {
            0, 1, sizes[i][1], UINT64_C(1) << 20, UINT64_C(1) << 40, INT64_MAX, UINT64_MAX};

        for (size_t k = 0; k < ARRAY_LENGTH(wrong); k++) {
            struct encoder e;

            begin(&e);
            put_preamble(&e, sizes[i][0], 2, wrong[k]);
            expect_refused(&e, "header");
        }
    }
}

static void entries_that_the_header_does_not_hold_are_refused(void **state)
{
    const struct entry entries[] = {{5, COMMAND, 8}};
    const uint64_t wrong[] = {2, 6, 257, UINT64_C(1) << 32, (UINT64_C(1) << 32) + 1, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        struct encoder e;

        begin(&e);
        put_append_header(&e, wrong[i], entries, 1);
        expect_refused(&e, "entries in a header");
    }
}

static void entries_of_wrong_type_or_size_are_refused(void **state)
{
    const struct entry wrong[] = {
        {5, 0, 8},        {5, 4, 8},         {5, 255, 8},     {5, COMMAND | 0x100, 8},
        {5, COMMAND, 0},  {5, COMMAND, 13},  {5, COMMAND, 7}, {5, COMMAND, 4 * 1024 * 1024},
        {5, BARRIER, 72}, {5, CHANGE, 1032}, {5, CHANGE, 0},  {5, COMMAND, UINT32_MAX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        struct entry entries[] = {{5, COMMAND, 8}, wrong[i], {5, COMMAND, 8}};
        struct encoder e;

        begin(&e);
        put_append_header(&e, 3, entries, 3);
        expect_refused(&e, "Raft entry of type");
    }
}

static void entries_of_impossible_terms_are_refused(void **state)
{
    const struct entry wrong[] = {{0, COMMAND, 8}, {3, COMMAND, 8}, {6, COMMAND, 8}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        struct encoder e;

        begin(&e);
        put_append_header(&e, 1, &wrong[i], 1);
        expect_refused(&e, "of term");
    }
}

static void too_much_in_one_message_is_refused(void **state)
{
    struct entry entries[RAFT_CHECK_ENTRIES_MAX];
    struct encoder e;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(entries); i++) {
        entries[i] = (struct entry){5, COMMAND, 128 * 1024};
    }
    begin(&e);
    put_append_header(&e, ARRAY_LENGTH(entries), entries, ARRAY_LENGTH(entries));
    expect_refused(&e, "bytes in one message");
}

static void put_change(struct encoder *e, const uint8_t *members, size_t size)
{
    struct entry entries[] = {{5, CHANGE, (uint32_t)size}};

    begin(e);
    put_append_header(e, 1, entries, 1);
    encode_bytes(e, members, size);
}

/* libraft reads to a count of the sender's, and frees twice what it refuses. */
static void members_that_can_not_be_decoded_are_refused(void **state)
{
    uint8_t good[256];
    size_t size = make_members(good, sizeof(good), 3);
    const struct {
        size_t at;
        uint8_t value;
        const char *text;
    } wrong[] = {
        {0, 2, "format"},                           /* Format. */
        {1, 0, "format"},                           /* No members. */
        {1, 4, "wrong"},                            /* More than there are. */
        {1, 17, "format"},                          /* More than there can be. */
        {8, 0x80, "format"},                        /* Far more. */
        {1, 1, "size"},                             /* Fewer than there are. */
        {9, 2, "address"},                          /* The id is not that of the address. */
        {17, 'x', "address"}, {20, 'x', "address"}, /* No final zero. */
        {21, 3, "role"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        uint8_t members[256];
        struct encoder e;

        memcpy(members, good, size);
        members[wrong[i].at] = wrong[i].value;
        put_change(&e, members, size);
        expect_refused(&e, wrong[i].text);
    }
}

static void a_member_listed_twice_is_refused(void **state)
{
    uint8_t members[256];
    size_t size = make_members(members, sizeof(members), 3);
    struct encoder e;

    (void)state;
    memcpy(members + 22, members + 9, 13);
    put_change(&e, members, size);
    expect_refused(&e, "twice");
}

static void garbage_in_place_of_members_is_refused(void **state)
{
    uint8_t members[64];
    struct encoder e;

    (void)state;
    memset(members, 0xa5, sizeof(members));
    put_change(&e, members, sizeof(members));
    expect_refused(&e, "Raft members");
}

static void snapshots_with_wrong_lengths_are_refused(void **state)
{
    const uint64_t members_sizes[] = {8, UINT64_C(1) << 20, UINT64_C(1) << 40, UINT64_MAX};
    const uint64_t data_sizes[] = {0, UINT64_C(1) << 30, UINT64_C(1) << 40, UINT64_MAX};
    struct encoder e;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(members_sizes); i++) {
        begin(&e);
        put_snapshot(&e, members_sizes[i], 8);
        expect_refused(&e, "Raft ");
    }
    for (size_t i = 0; i < ARRAY_LENGTH(data_sizes); i++) {
        begin(&e);
        put_snapshot(&e, 0, data_sizes[i]);
        expect_refused(&e, "Raft snapshot of");
    }
}

static void a_refused_connection_stays_refused(void **state)
{
    struct raft_check check;
    uint8_t garbage[16];
    uint64_t passed = 0;
    struct err err = {""};
    size_t size;

    (void)state;
    memset(garbage, 0xff, sizeof(garbage));
    raft_check_init(&check, header_memory);
    assert_int_equal(raft_check_feed(&check, garbage, sizeof(garbage), &passed, &err), -1);
    size = put_all();
    assert_int_equal(raft_check_feed(&check, stream, size, &passed, &err), -1);
}

/* Random damage is refused or harmless: nothing is read beyond what came (ASan),
 * nothing passes that was not fed. */
static void random_damage_never_harms(void **state)
{
    struct rng rng;
    unsigned n_refused = 0;

    (void)state;
    rng_seed(&rng, 11);
    for (unsigned run = 0; run < MUTATIONS; run++) {
        size_t size = put_all();
        struct raft_check check;
        uint64_t passed = 0;
        uint64_t total = 0;
        struct err err = {""};

        for (uint64_t k = rng_between(&rng, 1, 4); k > 0; k--) {
            size_t at = (size_t)rng_between(&rng, 0, size - 1);

            stream[at] = (uint8_t)rng_next(&rng);
        }
        size = (size_t)rng_between(&rng, 1, size);
        raft_check_init(&check, header_memory);
        for (size_t at = 0, n; at < size; at += n) {
            n = (size_t)rng_between(&rng, 1, 700);
            n = MIN(size - at, n);
            if (raft_check_feed(&check, stream + at, n, &passed, &err) != 0) {
                n_refused++;
                break;
            }
            total += passed;
            assert_true(total <= at + n);
        }
    }
    assert_true(n_refused > MUTATIONS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_passes_whole),
        cmocka_unit_test(pieces_pass_as_the_whole_does),
        cmocka_unit_test(a_header_is_held_back_until_it_is_complete),
        cmocka_unit_test(a_change_of_members_is_held_back_until_it_is_complete),
        cmocka_unit_test(unknown_types_are_refused),
        cmocka_unit_test(headers_too_short_or_too_long_are_refused),
        cmocka_unit_test(entries_that_the_header_does_not_hold_are_refused),
        cmocka_unit_test(entries_of_wrong_type_or_size_are_refused),
        cmocka_unit_test(entries_of_impossible_terms_are_refused),
        cmocka_unit_test(too_much_in_one_message_is_refused),
        cmocka_unit_test(members_that_can_not_be_decoded_are_refused),
        cmocka_unit_test(a_member_listed_twice_is_refused),
        cmocka_unit_test(garbage_in_place_of_members_is_refused),
        cmocka_unit_test(snapshots_with_wrong_lengths_are_refused),
        cmocka_unit_test(a_refused_connection_stays_refused),
        cmocka_unit_test(random_damage_never_harms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
