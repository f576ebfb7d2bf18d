/*
 * Frames, messages, prefaces and addresses as bytes: what is written is read
 * back, and nothing hostile is taken or crashes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/codec.h"
#include "base/rng.h"
#include "base/str.h"
#include "peer/peer_address.h"
#include "peer/peer_frame.h"
#include "peer/peer_message.h"
#include "peer/peer_preface.h"
#include "veche/format.h"

#define MUTATIONS 20000

static struct hello sample_hello(void)
{
    struct hello h = {.id = 42,
                      .name = "pg1",
                      .address = "10.0.0.1:7400",
                      .mode = MODE_WITNESS,
                      .state = HELLO_PREPARED,
                      .cluster_id = 9,
                      .proposed_cluster_id = 10,
                      .addresses_hash = 11,
                      .data = DATA_VALID,
                      .is_running_primary = true,
                      .sysid = 12,
                      .timeline = 13,
                      .position = 14,
                      .n_members = 3,
                      .members = {1, 2, 3}};

    return h;
}

static struct status sample_status(void)
{
    struct status s = {.id = 42,
                       .name = "pg1",
                       .mode = MODE_POSTGRES,
                       .instance = 1,
                       .cluster_id = 2,
                       .applied_epoch = 3,
                       .applied_index = 4,
                       .raft_term = 5,
                       .raft_leader = 6,
                       .promise = PROMISE_QUARANTINE,
                       .promise_epoch = 7,
                       .lease_epoch = 8,
                       .n_heard = VOTERS_MAX,
                       .heard = {1, 2, 3, 4, 5},
                       .pg_state = PG_STATE_CRASHED,
                       .pg_role = PG_ROLE_NONE,
                       .data = DATA_FOREIGN,
                       .clean_shutdown = true,
                       .sysid = UINT64_MAX,
                       .timeline = 10,
                       .flushed = 11,
                       .received = 12,
                       .replayed = 13,
                       .streaming = true,
                       .replay_paused = true,
                       .pg_version = 150004,
                       .postmaster_start_us = -1,
                       .n_slots = 2,
                       .slots = {{"cdc", 0x3000060}, {"archive_1", 0}},
                       .pending = {.n = 1, .settings = {{"work_mem", "4MB", "8MB"}}},
                       .stopping = true,
                       .nofailover = true,
                       .failover_priority = 15,
                       .sync_priority = 16,
                       .operation = "clone: copy",
                       .tick_age_ms = 16};

    memset(s.problem, 'x', sizeof(s.problem) - 1); /* As long as it gets. */
    return s;
}

static struct lease_grant sample_grant(void)
{
    struct lease_grant g = {.epoch = 1,
                            .instance = 2,
                            .round = 3,
                            .voter = 4,
                            .verdict = LEASE_REFUSED_UNWRITTEN,
                            .granted_ns = 5,
                            .highest_epoch = 6,
                            .n_sets = 2};

    g.sets[0] = (struct lease_voter_set){.index = 7, .n = LEASE_VOTERS_MAX};
    g.sets[1] = (struct lease_voter_set){.index = 8, .n = 1, .ids = {9}};
    for (uint64_t i = 0; i < LEASE_VOTERS_MAX; i++) {
        g.sets[0].ids[i] = i + 1;
    }
    return g;
}

/* For each kind of message: write, read back, compare, cut at every byte,
 * lengthen, and change bytes at random. What is read from changed bytes must
 * be writable again: no bound was broken. */
#define CHECK_MESSAGE(what, type, value, frame)                                  \
    do {                                                                         \
        uint8_t buffer[MESSAGE_SIZE] = {0};                                      \
        uint8_t other[MESSAGE_SIZE];                                             \
        struct type in = value;                                                  \
        struct type out;                                                         \
        size_t size = message_encode_##what(&in, buffer);                        \
        struct rng rng;                                                          \
                                                                                 \
        assert_true(size <= frame_payload_max(frame));                           \
        assert_true(message_decode_##what(buffer, size, &out));                  \
        assert_int_equal(message_encode_##what(&out, other), size);              \
        assert_memory_equal(buffer, other, size);                                \
        for (size_t i = 0; i < size; i++) {                                      \
            uint8_t *cut = malloc(i + 1);                                        \
            memcpy(cut, buffer, i);                                              \
            assert_false(message_decode_##what(cut, i, &out));                   \
            free(cut);                                                           \
        }                                                                        \
        assert_false(message_decode_##what(buffer, size + 1, &out));             \
        rng_seed(&rng, 1);                                                       \
        for (int i = 0; i < MUTATIONS; i++) {                                    \
            memcpy(other, buffer, size);                                         \
            for (uint64_t k = rng_between(&rng, 1, 4); k > 0; k--) {             \
                other[rng_between(&rng, 0, size - 1)] = (uint8_t)rng_next(&rng); \
            }                                                                    \
            if (message_decode_##what(other, size, &out)) {                      \
                assert_true(message_encode_##what(&out, other) <= MESSAGE_SIZE); \
            }                                                                    \
        }                                                                        \
    } while (0)

static void messages_are_read_as_written_and_nothing_else_is(void **state)
{
    struct lease_renew renew = {1, 2, 3, 4, 5, 6};
    struct positions positions = {
        .epoch = 1, .valid = true, .is_primary = true, .timeline = 2, .flushed = 3};
    struct proposal_result result = {
        .request = 1, .answered = true, .result = {.status = 2, .result = 3, .index = 4}};
    struct refusal_message refusal = {.cause = CAUSE_TWIN, .why = "two nodes"};
    struct action_message action = {.request = 1, .action = PEER_RELOAD};
    struct outcome_message outcome = {.request = 1, .outcome = PEER_BUSY};

    (void)state;
    memset(outcome.text, 'x', sizeof(outcome.text) - 1); /* As long as it gets. */
    CHECK_MESSAGE(hello, hello, sample_hello(), FRAME_HELLO);
    CHECK_MESSAGE(status, status, sample_status(), FRAME_STATUS);
    CHECK_MESSAGE(renew, lease_renew, renew, FRAME_RENEW);
    CHECK_MESSAGE(grant, lease_grant, sample_grant(), FRAME_GRANT);
    CHECK_MESSAGE(positions, positions, positions, FRAME_POSITIONS);
    CHECK_MESSAGE(result, proposal_result, result, FRAME_RESULT);
    CHECK_MESSAGE(action, action_message, action, FRAME_ACTION);
    CHECK_MESSAGE(outcome, outcome_message, outcome, FRAME_OUTCOME);
    CHECK_MESSAGE(refusal, refusal_message, refusal, FRAME_REFUSE);
}

static void the_fields_of_a_status_arrive(void **state)
{
    uint8_t buffer[MESSAGE_SIZE];
    struct status in = sample_status();
    struct status out;

    (void)state;
    assert_true(message_decode_status(buffer, message_encode_status(&in, buffer), &out));

    assert_string_equal(out.name, in.name);
    assert_string_equal(out.problem, in.problem);
    assert_string_equal(out.operation, in.operation);
    assert_int_equal(out.promise, in.promise);
    assert_int_equal(out.pg_state, in.pg_state);
    assert_int_equal(out.sysid, in.sysid);
    assert_int_equal(out.postmaster_start_us, -1);
    assert_int_equal(out.n_heard, VOTERS_MAX);
    assert_memory_equal(out.heard, in.heard, sizeof(in.heard));
    assert_true(out.replay_paused && out.streaming && !out.in_archive_recovery);
}

static void a_status_with_an_unknown_role_is_refused(void **state)
{
    uint8_t buffer[MESSAGE_SIZE];
    struct status in = sample_status();
    struct status out;
    size_t size;

    (void)state;
    in.pg_role = (enum pg_role)(PG_ROLE_NONE + 1);
    size = message_encode_status(&in, buffer);

    assert_false(message_decode_status(buffer, size, &out));
}

static void a_name_that_is_none_is_refused(void **state)
{
    uint8_t buffer[MESSAGE_SIZE];
    struct hello in = sample_hello();
    struct hello out;

    (void)state;
    (void)str_copy(in.name, sizeof(in.name), "pg1\n2026 error forged line");

    assert_false(message_decode_hello(buffer, message_encode_hello(&in, buffer), &out));
}

static void a_proposal_is_bounded_and_a_barrier_has_no_bytes(void **state)
{
    static uint8_t command[PEER_PROPOSAL_MAX];
    static uint8_t buffer[PROPOSAL_HEAD_SIZE + PEER_PROPOSAL_MAX + 1];
    struct proposal in = {.request = 1, .leader = 2, .bytes = command, .size = sizeof(command)};
    struct proposal out;
    size_t size = message_encode_proposal(&in, buffer);

    (void)state;
    assert_true(size <= frame_payload_max(FRAME_PROPOSE));
    assert_true(message_decode_proposal(buffer, size, &out));
    assert_int_equal(out.size, sizeof(command));
    assert_false(message_decode_proposal(buffer, size + 1, &out));
    assert_false(message_decode_proposal(buffer, PROPOSAL_HEAD_SIZE, &out));
    for (size_t i = 0; i < PROPOSAL_HEAD_SIZE; i++) {
        assert_false(message_decode_proposal(buffer, i, &out));
    }
    buffer[16] = 2; /* A second hop. */
    assert_false(message_decode_proposal(buffer, size, &out));

    in = (struct proposal){.request = 1, .leader = 2, .is_barrier = true};
    size = message_encode_proposal(&in, buffer);
    assert_true(message_decode_proposal(buffer, size, &out));
    assert_true(out.is_barrier && out.bytes == NULL);
    assert_false(message_decode_proposal(buffer, size + 1, &out));
}

static struct preface sample_preface(void)
{
    return (struct preface){.cluster_id = 1,
                            .scope = "main",
                            .id = 2,
                            .instance = 3,
                            .process = 4,
                            .name = "pg1",
                            .address = "10.0.0.1:7400"};
}

static enum peer_cause judge(const struct preface *ours, const struct preface *theirs)
{
    uint8_t buffer[PREFACE_SIZE];
    size_t size = preface_encode(theirs, buffer);
    struct preface out;
    bool is_self;
    struct err err;

    return preface_judge(ours, buffer, size, &out, &is_self, &err);
}

static void a_preface_is_judged(void **state)
{
    struct preface ours = sample_preface();
    struct preface theirs = sample_preface();

    (void)state;
    theirs.id = 5;
    assert_int_equal(judge(&ours, &theirs), CAUSE_NONE);
    theirs.cluster_id = 7;
    assert_int_equal(judge(&ours, &theirs), CAUSE_CLUSTER);
    theirs.cluster_id = 0;
    assert_int_equal(judge(&ours, &theirs), CAUSE_NONE);
    theirs.kind = LINK_RAFT;
    assert_int_equal(judge(&ours, &theirs), CAUSE_KIND);
    theirs = ours;
    theirs.process = 99;
    assert_int_equal(judge(&ours, &theirs), CAUSE_TWIN);
    theirs.id = 6;
    (void)str_copy(theirs.scope, sizeof(theirs.scope), "other");
    assert_int_equal(judge(&ours, &theirs), CAUSE_SCOPE);
}

static void a_hostile_preface_is_refused(void **state)
{
    struct preface ours = sample_preface();
    struct preface theirs = sample_preface();
    uint8_t buffer[PREFACE_SIZE];
    uint8_t other[PREFACE_SIZE];
    struct preface out;
    bool is_self;
    struct err err;
    struct rng rng;
    size_t size;

    (void)state;
    theirs.id = 5;
    size = preface_encode(&theirs, buffer);
    for (size_t i = 0; i < size; i++) {
        assert_int_not_equal(preface_judge(&ours, buffer, i, &out, &is_self, &err), CAUSE_NONE);
    }
    rng_seed(&rng, 2);
    for (int i = 0; i < MUTATIONS; i++) {
        memcpy(other, buffer, size);
        other[rng_between(&rng, 0, size - 1)] = (uint8_t)rng_next(&rng);
        (void)preface_judge(&ours, other, size, &out, &is_self, &err);
    }
    buffer[8]++; /* The version. */
    assert_int_equal(preface_judge(&ours, buffer, size, &out, &is_self, &err), CAUSE_VERSION);
    buffer[0]++;
    assert_int_equal(preface_judge(&ours, buffer, size, &out, &is_self, &err), CAUSE_MALFORMED);
}

static enum frame_next feed(struct frame_reader *r, enum frame_phase phase, const void *bytes,
                            size_t size)
{
    struct decoder d;
    struct frame frame;
    struct err err;

    decoder_init(&d, bytes, size);
    return frame_reader_feed(r, phase, &d, &frame, &err);
}

static void a_frame_comes_together_from_single_bytes(void **state)
{
    uint8_t bytes[FRAME_OVERHEAD + 8];
    struct frame_reader r = {0};

    (void)state;
    memset(bytes, 1, sizeof(bytes));
    assert_int_equal(frame_seal(bytes, FRAME_PING, 8, 0), sizeof(bytes));

    for (size_t i = 0; i + 1 < sizeof(bytes); i++) {
        assert_int_equal(feed(&r, PHASE_PEER, bytes + i, 1), FRAME_MORE);
    }
    assert_int_equal(feed(&r, PHASE_PEER, bytes + sizeof(bytes) - 1, 1), FRAME_READY);
    frame_reader_deinit(&r);
}

/* In plain TCP nothing else would notice. */
static void every_flipped_bit_of_a_frame_is_noticed(void **state)
{
    uint8_t bytes[FRAME_OVERHEAD + 32];
    uint8_t payload[32];
    struct frame_reader r = {0};

    (void)state;
    memset(bytes, 0x5a, sizeof(bytes));
    memset(payload, 0x5a, sizeof(payload));
    (void)frame_seal(bytes, FRAME_POSITIONS, sizeof(payload), 0);
    for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        /* More than the frame, in case the length was what changed. */
        if (feed(&r, PHASE_PEER, bytes, sizeof(bytes)) == FRAME_READY) {
            fail_msg("bit %zu", bit);
        }
        frame_reader_deinit(&r);
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_int_equal(feed(&r, PHASE_PEER, bytes, sizeof(bytes)), FRAME_READY);
    frame_reader_deinit(&r);
}

static void a_frame_that_comes_twice_or_too_late_is_noticed(void **state)
{
    uint8_t first[FRAME_OVERHEAD + 8] = {0};
    uint8_t second[FRAME_OVERHEAD + 8] = {0};
    struct frame_reader r = {0};

    (void)state;
    (void)frame_seal(first, FRAME_PING, 8, 0);
    (void)frame_seal(second, FRAME_PING, 8, 1);
    assert_int_equal(feed(&r, PHASE_PEER, second, sizeof(second)), FRAME_BAD);
    frame_reader_deinit(&r);
    assert_int_equal(feed(&r, PHASE_PEER, first, sizeof(first)), FRAME_READY);
    assert_int_equal(feed(&r, PHASE_PEER, first, sizeof(first)), FRAME_BAD);
    frame_reader_deinit(&r);
    assert_int_equal(feed(&r, PHASE_PEER, first, sizeof(first)), FRAME_READY);
    assert_int_equal(feed(&r, PHASE_PEER, second, sizeof(second)), FRAME_READY);
    frame_reader_deinit(&r);
}

/* The memory of a large frame is given back, and the count goes on. */
static void frames_are_counted_beyond_a_large_one(void **state)
{
    size_t size = frame_payload_max(FRAME_PROPOSE);
    uint8_t *bytes = xmalloc(FRAME_OVERHEAD + size);
    struct frame_reader r = {0};

    (void)state;
    for (uint64_t i = 0; i < 3; i++) {
        size_t total = frame_seal(bytes, FRAME_PROPOSE, size, i);

        assert_int_equal(feed(&r, PHASE_PEER, bytes, total), FRAME_READY);
    }
    frame_reader_deinit(&r);
    free(bytes);
}

/* A header alone decides: no memory is taken for what it announces. */
static void a_frame_too_long_or_out_of_place_is_refused_by_its_header(void **state)
{
    static const struct {
        enum frame_phase phase;
        uint8_t header[FRAME_HEADER_SIZE];
    } cases[] = {
        {PHASE_PEER, {0xff, 0xff, 0xff, 0xff, FRAME_STATUS}},
        {PHASE_PEER, {0, 0, 0, 0, FRAME_STATUS}},
        {PHASE_PEER, {4, 0, 0, 0, FRAME_STATUS}},
        {PHASE_PEER, {9, 0, 0, 0, 0}},
        {PHASE_PEER, {9, 0, 0, 0, FRAME_TYPES}},
        {PHASE_PEER, {9, 0, 0, 0, 255}},
        {PHASE_PEER, {14, 0, 0, 0, FRAME_PING}},
        {PHASE_PEER, {9, 0, 0, 0, FRAME_RAFT_DATA}},
        {PHASE_PREFACE, {9, 0, 0, 0, FRAME_STATUS}},
        {PHASE_PREFACE, {9, 0, 0, 0, FRAME_PROPOSE}},
        {PHASE_HELLO, {9, 0, 0, 0, FRAME_RENEW}},
        {PHASE_RAFT, {9, 0, 0, 0, FRAME_GRANT}},
        {PHASE_RAFT, {6, 0x40, 0, 0, FRAME_RAFT_DATA}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct frame_reader r = {0};

        assert_int_equal(feed(&r, cases[i].phase, cases[i].header, FRAME_HEADER_SIZE), FRAME_BAD);
        assert_true(r.size <= 512);
        frame_reader_deinit(&r);
    }
}

static void addresses_are_read_and_errors_name_them(void **state)
{
    static const struct {
        const char *text;
        bool is_good, is_numeric, is_loopback;
    } cases[] = {
        {"127.0.0.1:7400", true, true, true},
        {"127.3.2.1:1", true, true, true},
        {"10.0.0.1:7400", true, true, false},
        {"[::1]:7400", true, true, true},
        {"[::]:7400", true, true, false},
        {"0.0.0.0:7400", true, true, false},
        {"[::ffff:127.0.0.1]:1", true, true, true},
        {"*:7400", true, false, false},
        {"localhost:7400", true, false, true},
        {"pg-1.example.org:7400", true, false, false},
        {"localhost.evil.org:7400", true, false, false},
        {"127.0.0.1", false, false, false},
        {":7400", false, false, false},
        {"::1:7400", false, false, false},
        {"[::1]", false, false, false},
        {"[::1:7400", false, false, false},
        {"[pg1]:7400", false, false, false},
        {"pg1:0", false, false, false},
        {"pg1:65536", false, false, false},
        {"pg1:74o0", false, false, false},
        {"pg 1:7400", false, false, false},
        {"[]:7400", false, false, false},
        {"", false, false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct peer_address a;
        struct err err;
        int r = address_parse(cases[i].text, &a, &err);

        assert_int_equal(r == 0, cases[i].is_good);
        if (r == 0) {
            assert_int_equal(a.is_numeric, cases[i].is_numeric);
            assert_int_equal(address_is_loopback(&a), cases[i].is_loopback);
        } else {
            assert_non_null(strstr(err.text, cases[i].text));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_read_as_written_and_nothing_else_is),
        cmocka_unit_test(the_fields_of_a_status_arrive),
        cmocka_unit_test(a_status_with_an_unknown_role_is_refused),
        cmocka_unit_test(a_name_that_is_none_is_refused),
        cmocka_unit_test(a_proposal_is_bounded_and_a_barrier_has_no_bytes),
        cmocka_unit_test(a_preface_is_judged),
        cmocka_unit_test(a_hostile_preface_is_refused),
        cmocka_unit_test(a_frame_comes_together_from_single_bytes),
        cmocka_unit_test(every_flipped_bit_of_a_frame_is_noticed),
        cmocka_unit_test(a_frame_that_comes_twice_or_too_late_is_noticed),
        cmocka_unit_test(frames_are_counted_beyond_a_large_one),
        cmocka_unit_test(a_frame_too_long_or_out_of_place_is_refused_by_its_header),
        cmocka_unit_test(addresses_are_read_and_errors_name_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
