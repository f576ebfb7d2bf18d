/*
 * The body of a snapshot made from a recipe, for fuzz_snapshot: full or nearly
 * empty tables that chance does not make, every relation between the fields as it
 * must be, and up to two fields changed: texts and tables as long as they may be
 * and one longer, numbers that no enum has. The recipe knows when the decoder must
 * refuse the result, and when it must take it.
 *
 * A recipe is: for members, names of the synchronous state, history, ledger and
 * configuration how many (two bytes each: written, said); then for each of two
 * odd fields its number in the order of writing (two bytes) and how; then how the
 * header is spoilt; then how many orders; then which members have a pooler, a bit each.
 */
#ifndef VECHE_FUZZ_SNAPSHOT_RECIPE_H
#define VECHE_FUZZ_SNAPSHOT_RECIPE_H

#include "base/codec.h"

#define RECIPE_APPLIED 100000
#define RECIPE_EPOCH   5
#define RECIPE_ODD     2

struct recipe {
    const uint8_t *data;
    size_t size;
    struct encoder out;
    unsigned n_fields; /* Written so far. */
    struct {
        unsigned field; /* Its number, from 1; 0 = none. */
        uint8_t how;
    } odd[RECIPE_ODD];
    uint8_t head;     /* How the header is to be spoilt; not done here. */
    uint16_t version; /* Which the header must tell of the body. */
    bool is_bad;      /* Something is beyond a bound: must be refused. */
    bool is_unsure;   /* Something may contradict something else. */
};

struct recipe_count {
    uint64_t written;
    uint64_t said;
};

/* How the next field differs; 0: not at all. */
static inline uint8_t recipe_next(struct recipe *r)
{
    r->n_fields++;
    for (unsigned i = 0; i < RECIPE_ODD; i++) {
        if (r->odd[i].field == r->n_fields) {
            return r->odd[i].how;
        }
    }
    return 0;
}

static inline uint64_t recipe_changed(uint8_t how, uint64_t good, uint64_t max)
{
    const uint64_t values[] = {good, max, max + 1, max - 1, 0, good + 1, good - 1, UINT64_MAX};

    return values[how % ARRAY_LENGTH(values)];
}

static inline uint64_t recipe_number(struct recipe *r, uint64_t good)
{
    uint8_t how = recipe_next(r);
    uint64_t value = recipe_changed(how, good, UINT32_MAX);

    r->is_unsure = r->is_unsure || value != good;
    return value;
}

static inline void recipe_u64(struct recipe *r, uint64_t good)
{
    encode_u64(&r->out, recipe_number(r, good));
}

static inline void recipe_u32(struct recipe *r, uint32_t good)
{
    encode_u32(&r->out, (uint32_t)recipe_number(r, good));
}

/* A flag has a maximum of 1. */
static inline void recipe_enum(struct recipe *r, uint8_t good, uint8_t max)
{
    uint8_t value = (uint8_t)recipe_changed(recipe_next(r), good, max);

    encode_u8(&r->out, value);
    r->is_unsure = r->is_unsure || value != good;
    r->is_bad = r->is_bad || value > max;
}

/* At most `max` bytes. One in four hows is a zero among them. */
static inline void recipe_text(struct recipe *r, const char *good, size_t max)
{
    uint8_t how = recipe_next(r);
    size_t length = how == 0 ? strlen(good) : (size_t)recipe_changed(how, strlen(good), max);
    bool has_zero = how != 0 && how / 8 % 4 == 3 && length > 0;
    char text[600];

    length = MIN(length, sizeof(text));
    memset(text, 'x', length);
    memcpy(text, how == 0 ? good : "", how == 0 ? length : 0);
    if (has_zero) {
        text[length / 2] = '\0';
    }
    encode_u16(&r->out, (uint16_t)length);
    encode_bytes(&r->out, text, length);
    r->is_bad = r->is_bad || length > max || has_zero;
}

/* What else is in order must name a member that is there. */
static inline void recipe_name(struct recipe *r, const char *good)
{
    unsigned before = r->n_fields;

    recipe_text(r, good, 63);
    for (unsigned i = 0; i < RECIPE_ODD; i++) {
        r->is_unsure = r->is_unsure || r->odd[i].field == before + 1;
    }
}

static inline const char *recipe_member(uint64_t i)
{
    static char name[32];

    (void)snprintf(name, sizeof(name), "m%03llu", (unsigned long long)i);
    return name;
}

/* One byte for the rows there are, one for what is said of them. */
static inline struct recipe_count recipe_take_count(struct recipe *r, uint64_t max)
{
    uint8_t how = fuzz_byte(&r->data, &r->size);
    uint8_t said = fuzz_byte(&r->data, &r->size);
    uint64_t n = (how & 0x80) != 0 ? recipe_changed(how, 3, max) : how % 4U;
    struct recipe_count count = {.written = MIN(n, max + 1), .said = n};

    count.said = (said & 0x80) != 0 ? recipe_changed(said, n, max) : count.written;
    r->is_bad = r->is_bad || count.said > max;
    r->is_unsure = r->is_unsure || count.said != count.written;
    return count;
}

static inline void recipe_write_primary(struct recipe *r, bool has_owner)
{
    recipe_enum(r, has_owner, 1);
    recipe_enum(r, 0, 1); /* Unfenced. */
    recipe_enum(r, 1, 1); /* Held. */
    recipe_u64(r, RECIPE_EPOCH);
    recipe_name(r, recipe_member(1));
    recipe_u64(r, 1);
    recipe_u64(r, 11); /* Instance. */
    recipe_u64(r, 12);
    recipe_text(r, "because", 255);
    recipe_u64(r, 0);
    recipe_u32(r, 0);
    recipe_name(r, "");
    recipe_u32(r, 0);
}

static inline void recipe_write_sync(struct recipe *r, struct recipe_count names)
{
    recipe_name(r, names.written > 0 ? recipe_member(1) : "");
    encode_u8(&r->out, (uint8_t)names.said);
    for (uint64_t i = 0; i < names.written; i++) {
        recipe_name(r, recipe_member(2 + i));
    }
    recipe_u32(r, 0);
    recipe_u64(r, 7);
}

static inline void recipe_write_others(struct recipe *r)
{
    recipe_u64(r, 40); /* Request. */
    recipe_enum(r, 1, 4);
    recipe_name(r, "");
    recipe_name(r, "");
    recipe_u64(r, 0);
    recipe_text(r, "127.0.0.1", 255);
    recipe_u64(r, 30); /* Outcome. */
    recipe_enum(r, 1, 1);
    recipe_text(r, "done", 255);
    recipe_u64(r, 1000); /* Progress. */
    recipe_u32(r, 2);
    recipe_u64(r, RECIPE_EPOCH);
    recipe_u64(r, 13);
    recipe_u64(r, RECIPE_EPOCH); /* Line. */
    recipe_u64(r, 1);
    recipe_name(r, recipe_member(1));
    recipe_u32(r, 2);
    recipe_u32(r, 1);
    recipe_u64(r, 900);
}

static inline void recipe_write_member(struct recipe *r, uint64_t i)
{
    recipe_name(r, recipe_member(i));
    recipe_u64(r, i);
    recipe_enum(r, 0, 1); /* Mode. */
    recipe_text(r, "a:7400", 255);
    recipe_text(r, "http://a:8008/patroni", 255);
    recipe_text(r, "a", 255);
    encode_u16(&r->out, 5432);
    encode_u32(&r->out, 170000);
    recipe_name(r, "0.1.0");
    recipe_name(r, "2.41");
    for (unsigned flag = 0; flag < 5; flag++) {
        recipe_enum(r, 0, 1);
    }
    recipe_u32(r, 1);
    recipe_name(r, "");
    recipe_text(r, "{}", 511);
    recipe_enum(r, 4, 11); /* Last state. */
}

static inline void recipe_write_history(struct recipe *r, uint64_t i)
{
    recipe_u32(r, (uint32_t)i);
    recipe_u64(r, 100 * i);
    recipe_text(r, "no recovery target specified", 255);
    recipe_u64(r, i);
    recipe_name(r, recipe_member(1));
}

static inline void recipe_write_ledger(struct recipe *r, uint64_t i)
{
    recipe_u64(r, i); /* Log index. */
    recipe_u64(r, RECIPE_EPOCH);
    recipe_u64(r, 14);
    recipe_u64(r, 15);
    recipe_u32(r, 1);
    recipe_enum(r, 0, 1);
    recipe_name(r, recipe_member(1));
    recipe_name(r, "some-rule");
    recipe_text(r, "evidence", 255);
    recipe_name(r, "");
    recipe_name(r, "epoch-taken");
}

/* Of the ledger any number may be said; the newest 512 are there. */
static inline struct recipe_count recipe_take_ledger(struct recipe *r)
{
    uint8_t how = fuzz_byte(&r->data, &r->size);
    uint64_t n = (how & 0x80) != 0 ? recipe_changed(how, 3, 512) : how % 4U;

    (void)fuzz_byte(&r->data, &r->size);
    r->is_unsure = r->is_unsure || n > RECIPE_APPLIED;
    return (struct recipe_count){.written = MIN(n, UINT64_C(512)), .said = n};
}

static inline void recipe_write_config(struct recipe *r, struct recipe_count config)
{
    static char text[262144];

    memset(text, 'c', sizeof(text));
    encode_u64(&r->out, config.written > 0 ? 9 : 0); /* Revision. */
    encode_u32(&r->out, (uint32_t)config.said);
    encode_bytes(&r->out, text, (size_t)config.written);
}

static inline void recipe_write_order(struct recipe *r, uint64_t i)
{
    recipe_u64(r, 50 + i);
    recipe_enum(r, 3, 4); /* A restart. */
    recipe_name(r, recipe_member((i + 1) / 2));
    recipe_u64(r, i % 2); /* One at once, one scheduled. */
    recipe_name(r, "");
    recipe_u32(r, 0);
    recipe_enum(r, 0, 1);
    recipe_u64(r, 0);
    recipe_text(r, "127.0.0.1", 255);
    recipe_u64(r, 16);
    recipe_enum(r, 0, 1);
    recipe_u64(r, 0);
    recipe_enum(r, 0, 1);
    recipe_enum(r, 0, 1);
    recipe_text(r, "", 255);
}

/* Of none nothing is said either. */
static inline struct recipe_count recipe_take_orders(struct recipe *r)
{
    bool was_bad = r->is_bad;
    struct recipe_count orders = recipe_take_count(r, 32);

    if (orders.written == 0) {
        r->is_bad = was_bad;
    } else {
        r->is_bad = r->is_bad || orders.said == 0;
    }
    return orders;
}

/* A store without poolers, and without orders, is written as it was before there were any. */
static inline void recipe_write_orders(struct recipe *r, struct recipe_count orders)
{
    if (r->version == 1) {
        r->version = orders.written > 0 ? 2 : 1;
    }
    if (r->version > 1) {
        encode_u32(&r->out, (uint32_t)orders.said);
    }
    for (uint64_t i = 1; i <= orders.written; i++) {
        recipe_write_order(r, i);
    }
}

/* One must be there, or it were not of this version. */
static inline void recipe_write_proxies(struct recipe *r, uint64_t n_members, uint8_t which)
{
    unsigned before = r->n_fields;
    bool is_odd = false;
    bool is_there = false;

    for (uint64_t i = 0; i < n_members; i++) {
        bool has_one = (which >> i % 8 & 1) != 0;

        recipe_text(r, has_one ? "postgres://a:6432/postgres" : "", 255);
        is_there = is_there || has_one;
    }
    for (unsigned i = 0; i < RECIPE_ODD; i++) {
        is_odd = is_odd || (r->odd[i].field > before && r->odd[i].field <= r->n_fields);
    }
    r->is_unsure = r->is_unsure || is_odd;
    r->is_bad = r->is_bad || (!is_there && !is_odd);
}

/* The body alone; returns its size. */
static inline size_t recipe_follow(struct recipe *r, uint8_t *body, size_t size)
{
    struct recipe_count members = recipe_take_count(r, 16);
    struct recipe_count names = recipe_take_count(r, 8);
    struct recipe_count history = recipe_take_count(r, 256);
    struct recipe_count ledger = recipe_take_ledger(r);
    struct recipe_count config = recipe_take_count(r, 262143);
    struct recipe_count orders;
    uint8_t proxies;

    for (unsigned i = 0; i < RECIPE_ODD; i++) {
        r->odd[i].field = fuzz_byte(&r->data, &r->size);
        r->odd[i].field |= (unsigned)fuzz_byte(&r->data, &r->size) << 8;
        r->odd[i].how = fuzz_byte(&r->data, &r->size);
    }
    r->head = fuzz_byte(&r->data, &r->size);
    orders = recipe_take_orders(r);
    proxies = fuzz_byte(&r->data, &r->size);
    r->version = proxies != 0 ? 3 : 1;
    r->is_unsure = r->is_unsure || names.written >= members.written ||
                   (orders.written + 1) / 2 > members.written;
    encoder_init(&r->out, body, size);
    recipe_u64(r, RECIPE_APPLIED);
    recipe_u64(r, 1); /* Cluster. */
    recipe_name(r, "batman");
    recipe_enum(r, 2, 2);
    recipe_u64(r, 7);
    recipe_write_primary(r, members.written > 0);
    recipe_write_sync(r, names);
    recipe_write_others(r);
    encode_u32(&r->out, (uint32_t)members.said);
    for (uint64_t i = 1; i <= members.written; i++) {
        recipe_write_member(r, i);
    }
    encode_u32(&r->out, (uint32_t)history.said);
    for (uint64_t i = 1; i <= history.written; i++) {
        recipe_write_history(r, i);
    }
    encode_u64(&r->out, ledger.said);
    for (uint64_t i = 1; i <= ledger.written; i++) {
        recipe_write_ledger(r, i);
    }
    recipe_write_config(r, config);
    recipe_write_orders(r, orders);
    if (proxies != 0) {
        recipe_write_proxies(r, members.written, proxies);
    }
    REQUIRE(!r->out.failed);
    return r->out.used;
}

#endif
