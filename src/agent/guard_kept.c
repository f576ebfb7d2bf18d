/*
 * What the guard keeps for the next agent beside epoch, instance and deadline, which it
 * knows itself (design.md section 5, Continue). Another version of the agent may read it:
 * encoded, with a version of its own; what is not understood is not there.
 */
#include "agent/agent_state.h"
#include "base/codec.h"

#define KEPT_VERSION 1

static void encode_set(struct encoder *e, const struct lease_voter_set *set)
{
    encode_u64(e, set->index);
    encode_u8(e, set->n);
    for (uint8_t i = 0; i < set->n; i++) {
        encode_u64(e, set->ids[i]);
    }
}

void agent_kept_encode(const struct agent *a, struct guard_kept *ret_kept)
{
    const struct lease_owner *o = &a->owner;
    struct encoder e;

    *ret_kept = (struct guard_kept){.size = 0};
    encoder_init(&e, ret_kept->bytes, sizeof(ret_kept->bytes));
    encode_u32(&e, KEPT_VERSION);
    encode_u64(&e, a->identity.id);
    encode_u64(&e, o->ttl_ns);
    encode_u8(&e, o->n_sets);
    for (uint8_t i = 0; i < o->n_sets; i++) {
        encode_set(&e, &o->sets[i]);
    }
    ASSERT(!e.failed);
    ret_kept->size = (uint32_t)e.used;
}

static bool decode_set(struct decoder *d, struct lease_voter_set *set)
{
    *set = (struct lease_voter_set){.index = decode_u64(d), .n = decode_u8(d)};
    if (set->n > LEASE_VOTERS_MAX) {
        return false;
    }
    for (uint8_t i = 0; i < set->n; i++) {
        set->ids[i] = decode_u64(d);
    }
    return lease_voter_set_is_valid(set);
}

bool agent_kept_decode(const struct guard_kept *kept, struct agent_kept *ret_kept)
{
    struct decoder d;
    bool good;

    if (kept->size == 0 || kept->size > sizeof(kept->bytes)) {
        return false;
    }
    decoder_init(&d, kept->bytes, kept->size);
    good = decode_u32(&d) == KEPT_VERSION;
    ret_kept->node_id = decode_u64(&d);
    ret_kept->ttl_ns = decode_u64(&d);
    ret_kept->n_sets = decode_u8(&d);
    if (!good || ret_kept->n_sets == 0 || ret_kept->n_sets > ARRAY_LENGTH(ret_kept->sets)) {
        return false;
    }
    for (uint8_t i = 0; i < ret_kept->n_sets; i++) {
        good = good && decode_set(&d, &ret_kept->sets[i]);
    }
    return good && decoder_is_done(&d) && lease_ttl_is_valid(ret_kept->ttl_ns);
}
