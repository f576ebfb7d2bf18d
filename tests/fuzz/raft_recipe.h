/*
 * A stream of libraft's messages made from a recipe, for fuzz_raft_check: good
 * messages, but for the fields the recipe changes. A byte a field says how: to
 * its bound, one beyond it, next to what is good, or to eight bytes that follow.
 */
#ifndef VECHE_FUZZ_RAFT_RECIPE_H
#define VECHE_FUZZ_RAFT_RECIPE_H

#include "base/codec.h"

#define RECIPE_SIZE_MAX   65536
#define RECIPE_TABLE_MAX  300 /* Rows or members written; more are only said. */
#define RECIPE_FILLED_MAX 128 /* Payload written; of more only the beginning. */

enum recipe_type {
    RECIPE_APPEND = 1,
    RECIPE_APPEND_RESULT,
    RECIPE_VOTE,
    RECIPE_VOTE_RESULT,
    RECIPE_SNAPSHOT,
    RECIPE_TIMEOUT,
};

struct recipe {
    const uint8_t *data;
    size_t size;
    struct encoder out;
};

static inline uint64_t recipe_number(struct recipe *r, uint64_t good, uint64_t max)
{
    uint8_t how = fuzz_byte(&r->data, &r->size);
    uint64_t value = 0;

    switch (how) {
    case 0x80:
        return max;
    case 0x81:
        return max + 1;
    case 0x82:
        return max - 1;
    case 0x83:
        return max + 8;
    case 0x84:
        return 0;
    case 0x85:
        return good + 1;
    case 0x86:
        return good - 1;
    case 0x87:
        return good + 8;
    case 0x88:
        return good | UINT64_C(1) << 32;
    case 0x89:
        return UINT64_MAX;
    case 0x8a:
        return max / 4; /* So many rows of the largest size are too much together. */
    case 0x8b:
        for (unsigned i = 0; i < 8; i++) {
            value = value << 8 | fuzz_byte(&r->data, &r->size);
        }
        return value;
    default:
        return good;
    }
}

static inline void recipe_fill(struct encoder *e, uint64_t n, uint8_t byte)
{
    for (uint64_t i = MIN(n, (uint64_t)RECIPE_FILLED_MAX); i > 0; i--) {
        encode_u8(e, byte);
    }
}

/* A list of members in memory of its own; returns its size. */
static inline size_t recipe_members(struct recipe *r, uint8_t *data, size_t size)
{
    uint64_t n = recipe_number(r, 1 + fuzz_byte(&r->data, &r->size) % 8U, 16);
    uint64_t odd = fuzz_byte(&r->data, &r->size) % 16U; /* Whose fields are asked for. */
    uint64_t padding;
    struct encoder e;

    encoder_init(&e, data, size);
    encode_u8(&e, (uint8_t)recipe_number(r, 1, 1));
    encode_u64(&e, recipe_number(r, n, 16));
    for (uint64_t i = 1; i <= MIN(n, (uint64_t)20); i++) {
        uint64_t id = i == odd ? recipe_number(r, i, 16) : i;
        char address[32];

        (void)snprintf(address, sizeof(address), "n:%llx", (long long)id);
        encode_u64(&e, i == odd ? recipe_number(r, id, 16) : id);
        encode_bytes(&e, address, strlen(address) + (i != odd || recipe_number(r, 1, 1) != 0));
        encode_u8(&e, i == odd ? (uint8_t)recipe_number(r, 1, 2) : 1);
    }
    padding = recipe_number(r, (8 - e.used % 8) % 8, 8 - e.used % 8);
    recipe_fill(&e, MIN(padding, (uint64_t)40), 0);
    return e.failed ? 0 : e.used;
}

struct recipe_row {
    uint64_t term;
    uint32_t type;
    uint32_t size;
};

static inline struct recipe_row recipe_row(struct recipe *r, uint32_t members_size)
{
    static const uint64_t sizes_max[] = {0, 266256, 64, 1024};
    struct recipe_row row = {.term = recipe_number(r, 5, 5)};
    uint32_t type = 1 + fuzz_byte(&r->data, &r->size) % 3U;
    uint64_t good = type == 3 ? members_size : 16;

    row.type = (uint32_t)recipe_number(r, type, 3);
    row.size = (uint32_t)recipe_number(r, good, sizes_max[type]);
    return row;
}

/* Rows are all alike but for one, so that many of them need few bytes. */
static inline void recipe_append(struct recipe *r)
{
    uint8_t members[1024];
    uint64_t n = recipe_number(r, fuzz_byte(&r->data, &r->size) % 4U, 256);
    uint64_t odd_one = fuzz_byte(&r->data, &r->size);
    size_t members_size = recipe_members(r, members, sizeof(members));
    struct recipe_row all = recipe_row(r, (uint32_t)members_size);
    struct recipe_row odd = recipe_row(r, (uint32_t)members_size);
    uint64_t written = MIN(n, (uint64_t)RECIPE_TABLE_MAX);

    encode_u64(&r->out, 1);
    encode_u64(&r->out, recipe_number(r, 48 + 16 * written, 48 + 16 * written + 64));
    encode_u64(&r->out, recipe_number(r, 5, 6));
    encode_u64(&r->out, recipe_number(r, 10, UINT64_MAX / 4));
    encode_u64(&r->out, recipe_number(r, 4, 5));
    encode_u64(&r->out, 9);
    encode_u64(&r->out, recipe_number(r, n, 256));
    for (uint64_t i = 0; i < written; i++) {
        const struct recipe_row *row = i == odd_one ? &odd : &all;

        encode_u64(&r->out, row->term);
        encode_u32(&r->out, row->type);
        encode_u32(&r->out, row->size);
    }
    encode_u64(&r->out, 0);
    recipe_fill(&r->out, recipe_number(r, 0, 64), 0); /* The tail of a newer release. */
    for (uint64_t i = 0; i < MIN(written, (uint64_t)4); i++) {
        const struct recipe_row *row = i == odd_one ? &odd : &all;

        if (row->type == 3) {
            encode_bytes(&r->out, members, members_size);
        } else {
            recipe_fill(&r->out, row->size, 0x55);
        }
    }
}

static inline void recipe_snapshot(struct recipe *r)
{
    uint8_t members[1024];
    size_t size = recipe_members(r, members, sizeof(members));
    uint64_t bytes = recipe_number(r, 16, 2 * 1024 * 1024);

    encode_u64(&r->out, 5);
    encode_u64(&r->out, recipe_number(r, 56 + size, 56 + size + 64));
    encode_u64(&r->out, 5);
    encode_u64(&r->out, recipe_number(r, 10, UINT64_MAX / 4));
    encode_u64(&r->out, recipe_number(r, 4, 5));
    encode_u64(&r->out, recipe_number(r, 1, 10));
    encode_u64(&r->out, recipe_number(r, size, 1024));
    encode_bytes(&r->out, members, size);
    encode_u64(&r->out, bytes);
    encode_u64(&r->out, 0);
    recipe_fill(&r->out, recipe_number(r, 0, 64), 0);
    recipe_fill(&r->out, bytes, 0xaa);
}

/* The types that are numbers only. */
static inline void recipe_numbers(struct recipe *r, uint64_t type, uint64_t n)
{
    encode_u64(&r->out, type | 2 << 16);
    encode_u64(&r->out, recipe_number(r, 8 * n, 8 * n + 64));
    for (uint64_t i = 0; i < n; i++) {
        encode_u64(&r->out, recipe_number(r, 5, 6));
    }
    recipe_fill(&r->out, recipe_number(r, 0, 64), 0);
}

/* Fills `stream` of RECIPE_SIZE_MAX bytes; returns how many. */
static inline size_t recipe_follow(const uint8_t *data, size_t size, uint8_t *stream)
{
    struct recipe r = {.data = data, .size = size};

    encoder_init(&r.out, stream, RECIPE_SIZE_MAX);
    while (r.size > 0 && !r.out.failed) {
        static const uint64_t numbers[] = {0, 0, 4, 5, 3, 0, 3};
        uint64_t type = fuzz_byte(&r.data, &r.size) % 8U;

        if (type == RECIPE_APPEND) {
            recipe_append(&r);
        } else if (type == RECIPE_SNAPSHOT) {
            recipe_snapshot(&r);
        } else {
            recipe_numbers(&r, type, type < ARRAY_LENGTH(numbers) ? numbers[type] : 3);
        }
    }
    return r.out.used;
}

#endif
