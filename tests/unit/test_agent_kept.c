/*
 * What the guard keeps for the next agent: read back as it was written, or not at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/agent_state.h"

#define TTL_NS UINT64_C(3000000000)

/* An owner that knows those sets of 1 + i voters each. */
static struct agent *new_agent(uint8_t n_sets, uint8_t n_voters)
{
    struct agent *a = calloc(1, sizeof(*a));

    assert_non_null(a);
    a->identity.id = 0x1122334455667788;
    a->owner.ttl_ns = TTL_NS;
    a->owner.n_sets = n_sets;
    for (uint8_t i = 0; i < n_sets; i++) {
        struct lease_voter_set *set = &a->owner.sets[i];

        set->index = 100U + i;
        set->n = (uint8_t)(n_voters - i);
        for (uint8_t k = 0; k < set->n; k++) {
            set->ids[k] = UINT64_MAX - 10U * i - k;
        }
    }
    return a;
}

static struct guard_kept encode(uint8_t n_sets, uint8_t n_voters)
{
    struct agent *a = new_agent(n_sets, n_voters);
    struct guard_kept kept;

    memset(&kept, 0xff, sizeof(kept));
    agent_kept_encode(a, &kept);
    free(a);
    return kept;
}

static void what_was_kept_is_read_back(void **state)
{
    (void)state;
    for (uint8_t n_sets = 1; n_sets <= 2; n_sets++) {
        for (uint8_t n_voters = n_sets; n_voters <= LEASE_VOTERS_MAX; n_voters++) {
            struct agent *a = new_agent(n_sets, n_voters);
            struct guard_kept kept = encode(n_sets, n_voters);
            struct agent_kept back;

            memset(&back, 0xee, sizeof(back));
            assert_true(agent_kept_decode(&kept, &back));
            assert_int_equal(kept.bytes[kept.size], 0); /* Nothing of ours behind it. */
            assert_int_equal(back.node_id, a->identity.id);
            assert_int_equal(back.ttl_ns, TTL_NS);
            assert_int_equal(back.n_sets, n_sets);
            for (uint8_t i = 0; i < n_sets; i++) {
                assert_int_equal(back.sets[i].index, a->owner.sets[i].index);
                assert_int_equal(back.sets[i].n, a->owner.sets[i].n);
                assert_memory_equal(back.sets[i].ids, a->owner.sets[i].ids,
                                    back.sets[i].n * sizeof(back.sets[i].ids[0]));
            }
            free(a);
        }
    }
}

static void nothing_kept_is_nothing(void **state)
{
    /* A guard that was never armed; and an agent that knew no voters. */
    struct guard_kept none = {.size = 0}, no_sets = encode(0, 0);
    struct agent_kept back;

    (void)state;
    assert_false(agent_kept_decode(&none, &back));
    assert_false(agent_kept_decode(&no_sets, &back));
}

static void what_is_cut_or_longer_is_refused(void **state)
{
    struct guard_kept whole = encode(2, 5);
    struct agent_kept back;

    (void)state;
    for (uint32_t size = 0; size <= sizeof(whole.bytes) + 1; size++) {
        struct guard_kept kept = whole;

        kept.size = size;
        assert_int_equal(agent_kept_decode(&kept, &back), size == whole.size);
    }
    whole.size = UINT32_MAX;
    assert_false(agent_kept_decode(&whole, &back));
}

static void another_version_is_not_understood(void **state)
{
    struct guard_kept kept = encode(1, 3);
    struct agent_kept back;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        kept.bytes[i] ^= 0x40;
        assert_false(agent_kept_decode(&kept, &back));
        kept.bytes[i] ^= 0x40;
    }
    assert_true(agent_kept_decode(&kept, &back));
}

static void what_can_not_be_is_refused(void **state)
{
    /* Offsets: version 0, node 4, ttl 12, sets 20, index 21, n 29, ids 30. */
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {
        {20, 0}, {20, 2}, {20, 3},   {20, 255}, /* Sets. */
        {29, 0}, {29, 2}, {29, 4},   {29, 255}, /* Voters. */
        {12, 0}, {19, 1}, {19, 255},            /* A ttl of a century. */
    };
    struct agent_kept back;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        struct guard_kept kept = encode(1, 3);
        bool is_ttl = wrong[i].at == 12;

        if (is_ttl) {
            memset(&kept.bytes[12], 0, 8);
        }
        assert_true(is_ttl || kept.bytes[wrong[i].at] != wrong[i].value);
        kept.bytes[wrong[i].at] = wrong[i].value;
        if (agent_kept_decode(&kept, &back)) {
            fail_msg("read with %u at %zu", wrong[i].value, wrong[i].at);
        }
    }
}

static void a_voter_named_twice_is_refused(void **state)
{
    struct agent *a = new_agent(1, 3);
    struct guard_kept kept;
    struct agent_kept back;

    (void)state;
    a->owner.sets[0].ids[2] = a->owner.sets[0].ids[0];
    agent_kept_encode(a, &kept);
    assert_false(agent_kept_decode(&kept, &back));
    free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_kept_is_read_back),
        cmocka_unit_test(nothing_kept_is_nothing),
        cmocka_unit_test(what_is_cut_or_longer_is_refused),
        cmocka_unit_test(another_version_is_not_understood),
        cmocka_unit_test(what_can_not_be_is_refused),
        cmocka_unit_test(a_voter_named_twice_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
