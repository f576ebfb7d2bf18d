/*
 * The check in front of libraft, see raft_check.h.
 *
 * A message is a preamble (u64 type, with a version in its third byte; u64 size
 * of the header), the header, and for two types a payload. Numbers are little
 * endian. The library allocates what it is told to, reads a header as far as its
 * type needs, believes every count, and frees some things twice when it gives up
 * half-way; so whatever makes it give up is refused here.
 *
 * Fixed headers may be up to TAIL_MAX longer than 0.22.1 makes them: a newer
 * release may add fields at the end, and the library looks only at what it knows.
 */
#include "consensus/raft_check.h"

#include <inttypes.h>

#include "base/codec.h"
#include "store/command.h"
#include "store/snapshot.h"

#define PREAMBLE_SIZE      16
#define TAIL_MAX           64
#define ENTRY_SIZE_MAX     (COMMAND_SIZE_MAX + 16) /* Framed and padded. */
#define BARRIER_SIZE_MAX   64
#define SERVERS_MAX        MEMBERS_MAX
#define INDEX_MAX          (UINT64_MAX / 4)
#define APPEND_FIXED_SIZE  40 /* Before the table of entries. */
#define APPEND_UNUSED_SIZE 8  /* Behind it. */
#define ENTRY_ROW_SIZE     16

enum message_type {
    APPEND_ENTRIES = 1,
    APPEND_ENTRIES_RESULT,
    REQUEST_VOTE,
    REQUEST_VOTE_RESULT,
    INSTALL_SNAPSHOT,
    TIMEOUT_NOW,
};

enum entry_type {
    ENTRY_COMMAND = 1,
    ENTRY_BARRIER,
    ENTRY_CHANGE,
};

void raft_check_init(struct raft_check *check, uint8_t *header_memory)
{
    memset(check, 0, sizeof(*check));
    check->header = header_memory;
    check->need = PREAMBLE_SIZE;
}

/* The sizes a header of that type may have. False: no such type. */
static bool header_bounds(uint64_t type, uint64_t *ret_min, uint64_t *ret_max)
{
    switch (type) {
    case APPEND_ENTRIES:
        *ret_min = APPEND_FIXED_SIZE + APPEND_UNUSED_SIZE;
        *ret_max = *ret_min + RAFT_CHECK_ENTRIES_MAX * ENTRY_ROW_SIZE + TAIL_MAX;
        return true;
    case APPEND_ENTRIES_RESULT:
        *ret_min = 32;
        break;
    case REQUEST_VOTE:
        *ret_min = 40;
        break;
    case REQUEST_VOTE_RESULT:
    case TIMEOUT_NOW:
        *ret_min = 24;
        break;
    case INSTALL_SNAPSHOT:
        *ret_min = 56;
        *ret_max = *ret_min + RAFT_CHECK_CHANGE_MAX + TAIL_MAX;
        return true;
    default:
        return false;
    }
    *ret_max = *ret_min + TAIL_MAX;
    return true;
}

static int judge_preamble(struct raft_check *check, struct err *err)
{
    struct decoder d;
    uint64_t word;
    uint64_t size;
    uint64_t min = 0;
    uint64_t max = 0;

    decoder_init(&d, check->header, PREAMBLE_SIZE);
    word = decode_u64(&d);
    size = decode_u64(&d);
    check->type = word & 0xff;
    if ((word & ~UINT64_C(0xff00ff)) != 0 || !header_bounds(check->type, &min, &max)) {
        return err_set(err, "Raft message of unknown type %016" PRIx64, word);
    }
    _Static_assert(56 + RAFT_CHECK_CHANGE_MAX + TAIL_MAX <= RAFT_CHECK_HEADER_MAX, "fits");
    _Static_assert(
        RAFT_CHECK_ENTRIES_MAX * ENTRY_ROW_SIZE + 128 + TAIL_MAX <= RAFT_CHECK_HEADER_MAX, "fits");
    if (size < min || size > max) {
        return err_set(err, "Raft message of type %" PRIu64 " with a header of %" PRIu64 " bytes",
                       check->type, size);
    }
    check->state = RAFT_CHECK_HEADER;
    check->need = size;
    return 0;
}

/* One member: u64 id, address with a zero, u8 role. The address is "n:<id>". */
static const char *read_server(struct decoder *d, uint64_t *ids, uint64_t n_before)
{
    uint64_t id = decode_u64(d);
    char address[24];
    const uint8_t *bytes;
    size_t size;

    (void)snprintf(address, sizeof(address), "n:%" PRIx64, id);
    size = strlen(address) + 1;
    bytes = decode_bytes(d, size);
    if (bytes == NULL || memcmp(bytes, address, size) != 0) {
        return "address";
    }
    if (decode_u8(d) > 2 || d->failed) {
        return "role";
    }
    for (uint64_t i = 0; i < n_before; i++) {
        if (ids[i] == id) {
            return "node id, twice";
        }
    }
    ids[n_before] = id;
    return id == 0 ? "node id" : NULL;
}

/* A list of members: u8 format, u64 number, the members, zeros up to a multiple
 * of eight. */
static int judge_members(const uint8_t *data, size_t size, struct err *err)
{
    uint64_t ids[SERVERS_MAX];
    const char *broken = NULL;
    struct decoder d;
    uint8_t format;
    uint64_t n;

    decoder_init(&d, data, size);
    format = decode_u8(&d);
    n = decode_u64(&d);
    if (d.failed || format != 1 || n == 0 || n > SERVERS_MAX || size % 8 != 0) {
        return err_set(err, "Raft members: format %u, %" PRIu64 " of them in %zu bytes", format, n,
                       size);
    }
    for (uint64_t i = 0; i < n && broken == NULL; i++) {
        broken = read_server(&d, ids, i);
    }
    if (broken == NULL && d.size - d.used >= 8) {
        broken = "size";
    }
    if (broken != NULL) {
        return err_set(err, "Raft members: wrong %s", broken);
    }
    return 0;
}

struct entry_row {
    uint64_t term;
    uint32_t type; /* And three bytes that are zero. */
    uint32_t size;
};

static struct entry_row read_row(const struct raft_check *check, uint32_t i)
{
    struct entry_row row;
    struct decoder d;

    decoder_init(&d, check->header + APPEND_FIXED_SIZE + (size_t)i * ENTRY_ROW_SIZE,
                 ENTRY_ROW_SIZE);
    row.term = decode_u64(&d);
    row.type = decode_u32(&d);
    row.size = decode_u32(&d);
    return row;
}

/* Zero: no entry of that type exists. */
static uint32_t entry_size_max(uint32_t type)
{
    switch (type) {
    case ENTRY_COMMAND:
        return ENTRY_SIZE_MAX;
    case ENTRY_BARRIER:
        return BARRIER_SIZE_MAX;
    case ENTRY_CHANGE:
        return RAFT_CHECK_CHANGE_MAX;
    default:
        return 0;
    }
}

static int judge_rows(struct raft_check *check, uint64_t term, uint64_t prev_term, struct err *err)
{
    check->payload = 0;
    for (uint32_t i = 0; i < check->n_entries; i++) {
        struct entry_row row = read_row(check, i);

        if (row.size == 0 || row.size % 8 != 0 || row.size > entry_size_max(row.type)) {
            return err_set(err,
                           "Raft entry of type %" PRIu32 " and %" PRIu32 " bytes, the %" PRIu32
                           ". of a message",
                           row.type, row.size, i + 1);
        }
        if (row.term < prev_term || row.term > term || row.term == 0) {
            return err_set(err, "Raft entry of term %" PRIu64 " between %" PRIu64 " and %" PRIu64,
                           row.term, prev_term, term);
        }
        prev_term = row.term;
        check->payload += row.size;
    }
    if (check->payload > RAFT_CHECK_PAYLOAD_MAX) {
        return err_set(err, "Raft entries of %" PRIu64 " bytes in one message", check->payload);
    }
    return 0;
}

static int judge_append_entries(struct raft_check *check, struct err *err)
{
    struct decoder d;
    uint64_t term;
    uint64_t prev_index;
    uint64_t prev_term;
    uint64_t n;

    decoder_init(&d, check->header, check->used);
    term = decode_u64(&d);
    prev_index = decode_u64(&d);
    prev_term = decode_u64(&d);
    (void)decode_u64(&d); /* Commit index: bounded by the library. */
    n = decode_u64(&d);
    if (n > RAFT_CHECK_ENTRIES_MAX ||
        check->used < APPEND_FIXED_SIZE + n * ENTRY_ROW_SIZE + APPEND_UNUSED_SIZE ||
        check->used > APPEND_FIXED_SIZE + n * ENTRY_ROW_SIZE + APPEND_UNUSED_SIZE + TAIL_MAX) {
        return err_set(err, "%" PRIu64 " Raft entries in a header of %zu bytes", n, check->used);
    }
    if (term == 0 || prev_term > term || prev_index > INDEX_MAX ||
        (prev_index == 0) != (prev_term == 0)) {
        return err_set(err, "Raft entries of term %" PRIu64 " after %" PRIu64 " of term %" PRIu64,
                       term, prev_index, prev_term);
    }
    check->n_entries = (uint32_t)n;
    return judge_rows(check, term, prev_term, err);
}

static int judge_install_snapshot(struct raft_check *check, struct err *err)
{
    struct decoder d;
    uint64_t last_index;
    uint64_t last_term;
    uint64_t members_index;
    uint64_t members_size;
    const uint8_t *members;
    uint64_t size;

    decoder_init(&d, check->header, check->used);
    (void)decode_u64(&d); /* Term: the library compares it. */
    last_index = decode_u64(&d);
    last_term = decode_u64(&d);
    members_index = decode_u64(&d);
    members_size = decode_u64(&d);
    if (members_size > RAFT_CHECK_CHANGE_MAX) {
        return err_set(err, "Raft snapshot with members of %" PRIu64 " bytes", members_size);
    }
    members = decode_bytes(&d, (size_t)members_size);
    size = decode_u64(&d);
    (void)decode_u64(&d); /* Unused. */
    if (d.failed || size == 0 || size > SNAPSHOT_SIZE_MAX || d.size - d.used > TAIL_MAX) {
        return err_set(err, "Raft snapshot of %" PRIu64 " bytes, header of %zu", size, check->used);
    }
    if (last_index == 0 || last_index > INDEX_MAX || last_term == 0 || members_index == 0 ||
        members_index > last_index) {
        return err_set(err, "Raft snapshot at %" PRIu64 " with members of %" PRIu64, last_index,
                       members_index);
    }
    check->payload = size;
    return judge_members(members, (size_t)members_size, err);
}

static int judge_request_vote(const struct raft_check *check, struct err *err)
{
    struct decoder d;
    uint64_t term;
    uint64_t candidate;

    decoder_init(&d, check->header, check->used);
    term = decode_u64(&d);
    candidate = decode_u64(&d);
    if (term == 0 || candidate == 0) {
        return err_set(err, "Raft vote asked for by %" PRIx64 " in term %" PRIu64, candidate, term);
    }
    return 0;
}

static void begin_message(struct raft_check *check)
{
    check->state = RAFT_CHECK_PREAMBLE;
    check->need = PREAMBLE_SIZE;
    check->used = 0;
}

static void begin_entry(struct raft_check *check)
{
    struct entry_row row;

    if (check->entry == check->n_entries) {
        begin_message(check);
        return;
    }
    row = read_row(check, check->entry);
    check->state = row.type == ENTRY_CHANGE ? RAFT_CHECK_CHANGE : RAFT_CHECK_ENTRY;
    check->need = row.size;
    check->change_used = 0;
}

static int judge_header(struct raft_check *check, struct err *err)
{
    switch (check->type) {
    case APPEND_ENTRIES:
        if (judge_append_entries(check, err) != 0) {
            return -1;
        }
        check->entry = 0;
        begin_entry(check);
        return 0;
    case INSTALL_SNAPSHOT:
        if (judge_install_snapshot(check, err) != 0) {
            return -1;
        }
        check->state = RAFT_CHECK_SNAPSHOT;
        check->need = check->payload;
        return 0;
    case REQUEST_VOTE:
        if (judge_request_vote(check, err) != 0) {
            return -1;
        }
        break;
    default:
        break; /* Numbers only; any of them is something libraft can look at. */
    }
    begin_message(check);
    return 0;
}

/* The present part is complete. */
static int finish_part(struct raft_check *check, struct err *err)
{
    switch ((enum raft_check_state)check->state) {
    case RAFT_CHECK_PREAMBLE:
        check->used = 0;
        return judge_preamble(check, err);
    case RAFT_CHECK_HEADER:
        return judge_header(check, err);
    case RAFT_CHECK_CHANGE:
        if (judge_members(check->change, check->change_used, err) != 0) {
            return -1;
        }
        check->entry++;
        begin_entry(check);
        return 0;
    case RAFT_CHECK_ENTRY:
        check->entry++;
        begin_entry(check);
        return 0;
    case RAFT_CHECK_SNAPSHOT:
        begin_message(check);
        return 0;
    case RAFT_CHECK_REFUSED:
        break;
    }
    return -1;
}

/* Keeps what will be looked at. */
static void collect(struct raft_check *check, const uint8_t *data, size_t size)
{
    if (check->state == RAFT_CHECK_PREAMBLE || check->state == RAFT_CHECK_HEADER) {
        ASSERT(check->used + size <= RAFT_CHECK_HEADER_MAX + PREAMBLE_SIZE);
        memcpy(check->header + check->used, data, size);
        check->used += size;
    } else if (check->state == RAFT_CHECK_CHANGE) {
        ASSERT(check->change_used + size <= sizeof(check->change));
        memcpy(check->change + check->change_used, data, size);
        check->change_used += size;
    }
}

/* Whether all that was fed so far may go on: not in the middle of what is judged
 * as a whole. */
static bool may_pass(const struct raft_check *check)
{
    switch ((enum raft_check_state)check->state) {
    case RAFT_CHECK_PREAMBLE:
        return check->used == 0;
    case RAFT_CHECK_CHANGE:
        return check->change_used == 0;
    case RAFT_CHECK_ENTRY:
    case RAFT_CHECK_SNAPSHOT:
        return true;
    case RAFT_CHECK_HEADER:
    case RAFT_CHECK_REFUSED:
        break;
    }
    return false;
}

int raft_check_feed(struct raft_check *check, const void *data, size_t size, uint64_t *ret_passed,
                    struct err *err)
{
    const uint8_t *bytes = data;
    uint64_t passed = 0;

    if (check->state == RAFT_CHECK_REFUSED) {
        return err_set(err, "this Raft connection was refused before");
    }
    while (size > 0) {
        size_t n = (size_t)MIN((uint64_t)size, check->need);

        collect(check, bytes, n);
        bytes += n;
        size -= n;
        check->need -= n;
        check->held += n;
        if (check->need == 0 && finish_part(check, err) != 0) {
            check->state = RAFT_CHECK_REFUSED;
            return -1;
        }
        if (may_pass(check)) {
            passed += check->held;
            check->held = 0;
        }
    }
    *ret_passed = passed;
    return 0;
}
