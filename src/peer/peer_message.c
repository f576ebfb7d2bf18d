/*
 * Messages, see peer_message.h. Encoder and decoder of a struct come from one
 * list of its fields, so that they can not differ in order or kind.
 */
#include "peer/peer_message.h"

#include "base/codec.h"

/* clang-format off */
#define HELLO_FIELDS(F)                                        \
    F(u64,  id,                  0)                            \
    F(text, name,                0)                            \
    F(text, address,             0)                            \
    F(enum, mode,                NODE_MODE_MAX)                \
    F(enum, state,               HELLO_MEMBER)                 \
    F(u64,  cluster_id,          0)                            \
    F(u64,  proposed_cluster_id, 0)                            \
    F(u64,  addresses_hash,      0)                            \
    F(enum, data,                DATA_REWINDING)               \
    F(bool, is_running_primary,  0)                            \
    F(u64,  sysid,               0)                            \
    F(u32,  timeline,            0)                            \
    F(u64,  position,            0)                            \
    F(ids,  members,             n_members)

#define STATUS_FIELDS(F)                                       \
    F(u64,  id,                  0)                            \
    F(text, name,                0)                            \
    F(enum, mode,                NODE_MODE_MAX)                \
    F(u64,  instance,            0)                            \
    F(u64,  cluster_id,          0)                            \
    F(u64,  applied_epoch,       0)                            \
    F(u64,  applied_index,       0)                            \
    F(u64,  raft_term,           0)                            \
    F(u64,  raft_leader,         0)                            \
    F(u64,  raft_end,            0)                            \
    F(u64,  lost_id,             0)                            \
    F(bool, raft_fails,          0)                            \
    F(bool, wants_vote,          0)                            \
    F(u64,  ttl_max_ms,          0)                            \
    F(enum, promise,             PROMISE_QUARANTINE)           \
    F(u64,  promise_epoch,       0)                            \
    F(u64,  lease_epoch,         0)                            \
    F(ids,  heard,               n_heard)                      \
    F(enum, pg_state,            PG_STATE_MAX)                 \
    F(enum, pg_role,             PG_ROLE_NONE)                 \
    F(enum, data,                DATA_REWINDING)               \
    F(bool, clean_shutdown,      0)                            \
    F(u64,  sysid,               0)                            \
    F(u32,  timeline,            0)                            \
    F(u32,  checkpoint_timeline, 0)                            \
    F(u64,  flushed,             0)                            \
    F(u64,  received,            0)                            \
    F(u64,  replayed,            0)                            \
    F(bool, streaming,           0)                            \
    F(bool, in_archive_recovery, 0)                            \
    F(bool, replay_paused,       0)                            \
    F(u32,  pg_version,          0)                            \
    F(i64,  postmaster_start_us, 0)                            \
    F(pend, pending,             0)                            \
    F(slot, slots,               n_slots)                      \
    F(bool, can_bootstrap,       0)                            \
    F(bool, stopping,            0)                            \
    F(bool, nofailover,          0)                            \
    F(u32,  failover_priority,   0)                            \
    F(bool, no_watchdog,         0)                            \
    F(u32,  sync_priority,       0)                            \
    F(text, operation,           0)                            \
    F(text, problem,             0)                            \
    F(u32,  tick_age_ms,         0)

#define RENEW_FIELDS(F)                                        \
    F(u64,  epoch,               0)                            \
    F(u64,  owner,               0)                            \
    F(u64,  instance,            0)                            \
    F(u64,  round,               0)                            \
    F(u64,  duration_ns,         0)                            \
    F(u64,  voter_set_index,     0)

#define GRANT_FIELDS(F)                                        \
    F(u64,  epoch,               0)                            \
    F(u64,  instance,            0)                            \
    F(u64,  round,               0)                            \
    F(u64,  voter,               0)                            \
    F(enum, verdict,             LEASE_VERDICTS - 1)           \
    F(u64,  granted_ns,          0)                            \
    F(u64,  highest_epoch,       0)                            \
    F(sets, sets,                n_sets)

#define POSITIONS_FIELDS(F)                                    \
    F(u64,  epoch,               0)                            \
    F(bool, valid,               0)                            \
    F(bool, is_primary,          0)                            \
    F(u32,  timeline,            0)                            \
    F(u64,  flushed,             0)

#define RESULT_FIELDS(F)                                       \
    F(u64,  request,             0)                            \
    F(bool, answered,            0)                            \
    F(u8,   result.status,       0)                            \
    F(u8,   result.result,       0)                            \
    F(u64,  result.index,        0)

#define ACTION_FIELDS(F)                                       \
    F(u64,  request,             0)                            \
    F(enum, action,              PEER_ACTION_MAX)

#define OUTCOME_FIELDS(F)                                      \
    F(u64,  request,             0)                            \
    F(enum, outcome,             PEER_OUTCOME_MAX)             \
    F(text, text,                0)

#define REFUSAL_FIELDS(F)                                      \
    F(enum, cause,               CAUSES - 1)                   \
    F(text, why,                 0)
/* clang-format on */

#define PUT_u8(field, unused)    encode_u8(&e, s->field);
#define PUT_u32(field, unused)   encode_u32(&e, s->field);
#define PUT_u64(field, unused)   encode_u64(&e, s->field);
#define PUT_i64(field, unused)   encode_u64(&e, (uint64_t)s->field);
#define PUT_bool(field, unused)  encode_bool(&e, s->field);
#define PUT_text(field, unused)  encode_text(&e, s->field);
#define PUT_enum(field, max)     encode_u8(&e, (uint8_t)s->field);
#define PUT_ids(field, count)    put_ids(&e, s->field, s->count, ARRAY_LENGTH(s->field));
#define PUT_pend(field, unused)  put_pending(&e, &s->field);
#define PUT_slot(field, count)   put_slots(&e, s->field, s->count);
#define PUT_sets(field, count)   put_sets(&e, s->field, s->count);
#define PUT(kind, field, detail) PUT_##kind(field, detail)

#define GET_u8(field, unused)    s.field = decode_u8(&d);
#define GET_u32(field, unused)   s.field = decode_u32(&d);
#define GET_u64(field, unused)   s.field = decode_u64(&d);
#define GET_i64(field, unused)   s.field = (int64_t)decode_u64(&d);
#define GET_bool(field, unused)  s.field = decode_bool(&d);
#define GET_text(field, unused)  decode_text(&d, s.field, sizeof(s.field));
#define GET_enum(field, max)     s.field = get_enum(&d, max);
#define GET_ids(field, count)    s.count = get_ids(&d, s.field, ARRAY_LENGTH(s.field));
#define GET_pend(field, unused)  get_pending(&d, &s.field);
#define GET_slot(field, count)   s.count = get_slots(&d, s.field);
#define GET_sets(field, count)   s.count = get_sets(&d, s.field, ARRAY_LENGTH(s.field));
#define GET(kind, field, detail) GET_##kind(field, detail)

static void put_ids(struct encoder *e, const node_id *ids, uint8_t n, size_t n_max)
{
    PRE(n <= n_max);
    encode_u8(e, n);
    for (size_t i = 0; i < n; i++) {
        encode_u64(e, ids[i]);
    }
}

static uint8_t get_ids(struct decoder *d, node_id *ids, size_t n_max)
{
    uint8_t n = decode_u8(d);

    if (n > n_max) {
        d->failed = true;
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        ids[i] = decode_u64(d);
    }
    return n;
}

static void put_sets(struct encoder *e, const struct lease_voter_set *sets, uint8_t n)
{
    PRE(n <= 2);
    encode_u8(e, n);
    for (size_t i = 0; i < n; i++) {
        encode_u64(e, sets[i].index);
        put_ids(e, sets[i].ids, sets[i].n, LEASE_VOTERS_MAX);
    }
}

static uint8_t get_sets(struct decoder *d, struct lease_voter_set *sets, size_t n_max)
{
    uint8_t n = decode_u8(d);

    if (n > n_max) {
        d->failed = true;
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        sets[i].index = decode_u64(d);
        sets[i].n = get_ids(d, sets[i].ids, LEASE_VOTERS_MAX);
    }
    return n;
}

static void put_pending(struct encoder *e, const struct pending_restart *p)
{
    PRE(p->n <= PENDING_MAX);
    encode_u8(e, (uint8_t)p->n);
    for (uint32_t i = 0; i < p->n; i++) {
        encode_text(e, p->settings[i].name);
        encode_text(e, p->settings[i].old_value);
        encode_text(e, p->settings[i].new_value);
    }
}

static void get_pending(struct decoder *d, struct pending_restart *p)
{
    p->n = decode_u8(d);
    if (p->n > PENDING_MAX) {
        p->n = 0;
        d->failed = true;
    }
    for (uint32_t i = 0; i < p->n; i++) {
        struct pending_setting *s = &p->settings[i];

        decode_text(d, s->name, sizeof(s->name));
        decode_text(d, s->old_value, sizeof(s->old_value));
        decode_text(d, s->new_value, sizeof(s->new_value));
    }
}

static void put_slots(struct encoder *e, const struct status_slot *slots, uint8_t n)
{
    PRE(n <= STATUS_SLOTS_MAX);
    encode_u8(e, n);
    for (size_t i = 0; i < n; i++) {
        encode_text(e, slots[i].name);
        encode_u64(e, slots[i].lsn);
    }
}

static uint8_t get_slots(struct decoder *d, struct status_slot *slots)
{
    uint8_t n = decode_u8(d);

    if (n > STATUS_SLOTS_MAX) {
        d->failed = true;
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        decode_text(d, slots[i].name, sizeof(slots[i].name));
        slots[i].lsn = decode_u64(d);
    }
    return n;
}

static uint8_t get_enum(struct decoder *d, uint8_t max)
{
    uint8_t value = decode_u8(d);

    if (value > max) {
        d->failed = true;
        return 0;
    }
    return value;
}

#define DEFINE_MESSAGE(what, type, FIELDS, condition)                            \
    size_t message_encode_##what(const struct type *s, uint8_t *buffer)          \
    {                                                                            \
        struct encoder e;                                                        \
                                                                                 \
        encoder_init(&e, buffer, MESSAGE_SIZE);                                  \
        FIELDS(PUT)                                                              \
        POST(!e.failed);                                                         \
        return e.used;                                                           \
    }                                                                            \
                                                                                 \
    bool message_decode_##what(const void *bytes, size_t size, struct type *ret) \
    {                                                                            \
        struct decoder d;                                                        \
        struct type s;                                                           \
                                                                                 \
        memset(&s, 0, sizeof(s));                                                \
        decoder_init(&d, bytes, size);                                           \
        FIELDS(GET)                                                              \
        if (!decoder_is_done(&d) || !(condition)) {                              \
            return false;                                                        \
        }                                                                        \
        *ret = s;                                                                \
        return true;                                                             \
    }

/* What lease and agent judge themselves (epochs, sets, durations) passes here. */
DEFINE_MESSAGE(hello, hello, HELLO_FIELDS, s.id != 0 && name_is_valid(s.name))
DEFINE_MESSAGE(status, status, STATUS_FIELDS, s.id != 0 && name_is_valid(s.name))
DEFINE_MESSAGE(renew, lease_renew, RENEW_FIELDS, true)
DEFINE_MESSAGE(grant, lease_grant, GRANT_FIELDS, true)
DEFINE_MESSAGE(positions, positions, POSITIONS_FIELDS, true)
DEFINE_MESSAGE(result, proposal_result, RESULT_FIELDS, true)
DEFINE_MESSAGE(action, action_message, ACTION_FIELDS, true)
DEFINE_MESSAGE(outcome, outcome_message, OUTCOME_FIELDS, true)
DEFINE_MESSAGE(refusal, refusal_message, REFUSAL_FIELDS, s.cause != CAUSE_NONE)

size_t message_encode_number(uint64_t number, uint8_t *buffer)
{
    struct encoder e;

    encoder_init(&e, buffer, MESSAGE_SIZE);
    encode_u64(&e, number);
    return e.used;
}

bool message_decode_number(const void *bytes, size_t size, uint64_t *ret)
{
    struct decoder d;
    uint64_t number;

    decoder_init(&d, bytes, size);
    number = decode_u64(&d);
    if (!decoder_is_done(&d)) {
        return false;
    }
    *ret = number;
    return true;
}

size_t message_encode_proposal(const struct proposal *proposal, uint8_t *buffer)
{
    struct encoder e;

    PRE(proposal->size <= PEER_PROPOSAL_MAX);
    encoder_init(&e, buffer, PROPOSAL_HEAD_SIZE + proposal->size);
    encode_u64(&e, proposal->request);
    encode_u64(&e, proposal->leader);
    encode_u8(&e, proposal->n_hops);
    encode_bool(&e, proposal->is_barrier);
    encode_bytes(&e, proposal->bytes, proposal->size);
    POST(!e.failed);
    return e.used;
}

bool message_decode_proposal(const void *bytes, size_t size, struct proposal *ret)
{
    struct decoder d;
    struct proposal p = {0};

    decoder_init(&d, bytes, size);
    p.request = decode_u64(&d);
    p.leader = decode_u64(&d);
    p.n_hops = get_enum(&d, PROPOSAL_HOPS_MAX);
    p.is_barrier = decode_bool(&d);
    if (d.failed) {
        return false;
    }
    p.size = d.size - d.used;
    p.bytes = p.is_barrier ? NULL : decode_bytes(&d, p.size);
    if (p.leader == 0 || p.size > PEER_PROPOSAL_MAX || p.is_barrier != (p.size == 0)) {
        return false;
    }
    *ret = p;
    return true;
}
