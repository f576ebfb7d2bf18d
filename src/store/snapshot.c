/*
 * The store as bytes, see snapshot.h. The functions of each part are generated
 * from schema.h; the order of the parts is written down twice, in write_store()
 * and read_store(), and a snapshot that reads back unequal fails the test.
 */
#include "store/snapshot.h"

#include "base/crc32c.h"
#include "store/schema.h"

#define CRC_OFFSET  12 /* magic, version, zero, size of the body */
#define HEADER_SIZE 16

/* clang-format off */
#define GENERATE_PART(name) \
    static void encode_##name(struct encoder *e, const struct store_##name *c) \
    { \
        STORE_FIELDS_##name(FIELD_ENCODE) \
    } \
    static const char *decode_##name(struct decoder *d, struct store_##name *c) \
    { \
        STORE_FIELDS_##name(FIELD_DECODE) \
        return NULL; \
    }
STORE_PARTS(GENERATE_PART)
#undef GENERATE_PART

#define ONE(name) (0 STORE_FIELDS_##name(FIELD_SIZE))
_Static_assert(HEADER_SIZE + 64 + ONE(cluster) + ONE(primary) + ONE(sync) + ONE(request) +
               ONE(outcome) + ONE(progress) + ONE(line) + MEMBERS_MAX * ONE(member) +
               HISTORY_MAX * ONE(history) + LEDGER_MAX * ONE(ledger_entry) + ORDERS_MAX * ONE(order) +
               MEMBERS_MAX * ONE(proxy) +
               FIELD_SIZE_CONFIG <= SNAPSHOT_SIZE_MAX, "a full store fits");
#undef ONE
/* clang-format on */

/* The oldest that can tell all there is, so that a Veche of before reads it if it can. */
static unsigned version_of(const struct store *s)
{
    for (uint32_t i = 0; i < s->n_members; i++) {
        if (s->members[i].proxy.url[0] != '\0') {
            return 3;
        }
    }
    return s->n_orders > 0 ? 2 : 1;
}

static void write_orders(struct encoder *e, const struct store *s)
{
    encode_u32(e, s->n_orders);
    for (uint32_t i = 0; i < s->n_orders; i++) {
        encode_order(e, &s->orders[i]);
    }
}

static void write_proxies(struct encoder *e, const struct store *s)
{
    for (uint32_t i = 0; i < s->n_members; i++) {
        encode_proxy(e, &s->members[i].proxy);
    }
}

static void write_store(struct encoder *e, const struct store *s)
{
    uint64_t n_kept = store_ledger_kept(s);

    encode_u64(e, s->applied_index);
    encode_cluster(e, &s->cluster);
    encode_primary(e, &s->primary);
    encode_sync(e, &s->sync);
    encode_request(e, &s->request);
    encode_outcome(e, &s->outcome);
    encode_progress(e, &s->progress);
    encode_line(e, &s->line);
    encode_u32(e, s->n_members);
    for (uint32_t i = 0; i < s->n_members; i++) {
        encode_member(e, &s->members[i]);
    }
    encode_u32(e, s->n_history);
    for (uint32_t i = 0; i < s->n_history; i++) {
        encode_history(e, &s->history[i]);
    }
    encode_u64(e, s->n_ledger);
    for (uint64_t k = n_kept; k > 0; k--) {
        encode_ledger_entry(e, store_ledger_newest(s, k - 1));
    }
    encode_u64(e, s->config_revision);
    field_encode_config(e, s->config);
    if (version_of(s) >= 2) {
        write_orders(e, s);
    }
    if (version_of(s) >= 3) {
        write_proxies(e, s);
    }
}

int snapshot_encode(const struct store *s, void *data, size_t size, struct err *err)
{
    struct encoder e;
    struct encoder head;
    uint32_t crc;

    PRE(store_broken_invariant(s) == NULL);
    encoder_init(&e, data, MIN(size, (size_t)SNAPSHOT_SIZE_MAX));
    encode_bytes(&e, &(uint8_t[HEADER_SIZE]){0}, HEADER_SIZE);
    write_store(&e, s);
    if (e.failed) {
        return err_set(err, "cannot write a snapshot: it does not fit into %zu bytes", size);
    }
    encoder_init(&head, data, HEADER_SIZE);
    encode_u32(&head, SNAPSHOT_MAGIC);
    encode_u16(&head, (uint16_t)version_of(s));
    encode_u16(&head, 0);
    encode_u32(&head, (uint32_t)(e.used - HEADER_SIZE));
    ASSERT(head.used == CRC_OFFSET);
    crc = crc32c(0, data, CRC_OFFSET);
    encode_u32(&head, crc32c(crc, e.data + HEADER_SIZE, e.used - HEADER_SIZE));
    POST(!head.failed && head.used == HEADER_SIZE);
    return (int)e.used;
}

/* Checks what is around the body; d is left at its first byte. */
static int read_header(struct decoder *d, unsigned *ret_version, struct err *err)
{
    uint32_t magic = decode_u32(d);
    unsigned version = decode_u16(d);
    unsigned zero = decode_u16(d);
    uint32_t size = decode_u32(d);
    uint32_t crc = decode_u32(d);

    if (d->failed || magic != SNAPSHOT_MAGIC) {
        return err_set(err, "not a snapshot of Veche: %zu bytes, magic %08" PRIx32, d->size, magic);
    }
    if (version > SNAPSHOT_VERSION) {
        return err_set(err,
                       "snapshot of version %u, this Veche knows versions up to %d: "
                       "a newer Veche runs in this cluster, upgrade this node",
                       version, SNAPSHOT_VERSION);
    }
    *ret_version = version;
    if (version == 0 || zero != 0 || size != d->size - HEADER_SIZE ||
        size > SNAPSHOT_SIZE_MAX) {
        return err_set(err, "damaged snapshot: version %u, body of %" PRIu32 " bytes in %zu",
                       version, size, d->size);
    }
    if (crc32c(crc32c(0, d->data, CRC_OFFSET), d->data + HEADER_SIZE, size) != crc) {
        return err_set(err, "damaged snapshot: wrong check sum");
    }
    return 0;
}

static const char *read_singles(struct decoder *d, struct store *s)
{
    uint64_t applied_index = decode_u64(d);
    const char *broken = NULL;

    if (s != NULL) {
        s->applied_index = applied_index;
    }
    /* clang-format off */
#define READ(name) if (broken == NULL) { broken = decode_##name(d, s != NULL ? &s->name : NULL); }
    READ(cluster) READ(primary) READ(sync) READ(request) READ(outcome) READ(progress)
    READ(line)
#undef READ
        /* clang-format on */
        return broken;
}

static const char *read_members(struct decoder *d, uint32_t *ret_n, struct store *s)
{
    uint32_t n = decode_u32(d);
    const char *broken = n <= MEMBERS_MAX ? NULL : "n_members";

    for (uint32_t i = 0; broken == NULL && i < n; i++) {
        broken = decode_member(d, s != NULL ? &s->members[i] : NULL);
    }
    *ret_n = n;
    if (s != NULL) {
        s->n_members = n;
    }
    return broken;
}

static const char *read_history(struct decoder *d, struct store *s)
{
    uint32_t n = decode_u32(d);
    const char *broken = n <= HISTORY_MAX ? NULL : "n_history";

    for (uint32_t i = 0; broken == NULL && i < n; i++) {
        broken = decode_history(d, s != NULL ? &s->history[i] : NULL);
    }
    if (s != NULL) {
        s->n_history = n;
    }
    return broken;
}

/* Oldest first, and each into the slot it had. */
static const char *read_ledger(struct decoder *d, struct store *s)
{
    uint64_t n = decode_u64(d);
    const char *broken = NULL;

    for (uint64_t i = n - MIN(n, (uint64_t)LEDGER_MAX); broken == NULL && i < n; i++) {
        broken = decode_ledger_entry(d, s != NULL ? &s->ledger[i % LEDGER_MAX] : NULL);
    }
    if (s != NULL) {
        s->n_ledger = n;
    }
    return broken;
}

static const char *read_config(struct decoder *d, struct store *s)
{
    uint64_t revision = decode_u64(d);

    field_decode_config(d, s != NULL ? s->config : NULL);
    if (s != NULL) {
        s->config_revision = revision;
        s->config_size = (uint32_t)strlen(s->config);
    }
    return d->failed ? "config" : NULL;
}

/* Version 2 is of a store that has some. */
static const char *read_orders(struct decoder *d, unsigned version, struct store *s)
{
    uint32_t n = decode_u32(d);
    const char *broken = (n > 0 || version > 2) && n <= ORDERS_MAX ? NULL : "n_orders";

    for (uint32_t i = 0; broken == NULL && i < n; i++) {
        broken = decode_order(d, s != NULL ? &s->orders[i] : NULL);
    }
    if (s != NULL) {
        s->n_orders = n;
    }
    return broken;
}

/* One a member; version 3 is of a store that has some. */
static const char *read_proxies(struct decoder *d, uint32_t n, struct store *s)
{
    const char *broken = NULL;
    bool has_some = false;

    for (uint32_t i = 0; broken == NULL && i < n; i++) {
        struct store_proxy proxy = {""};

        broken = decode_proxy(d, &proxy);
        has_some = has_some || proxy.url[0] != '\0';
        if (s != NULL) {
            s->members[i].proxy = proxy;
        }
    }
    return broken == NULL && !has_some ? "proxies" : broken;
}

/* The whole body into s, or, when s is NULL, only looking. Returns what is out
 * of its bounds, or NULL. */
static const char *read_store(struct decoder *d, unsigned version, struct store *s)
{
    static const char *(*const readers[])(struct decoder * d, struct store * s) = {
        read_history,
        read_ledger,
        read_config,
    };
    uint32_t n_members = 0;
    const char *broken = read_singles(d, s);

    if (broken == NULL) {
        broken = read_members(d, &n_members, s);
    }
    for (size_t i = 0; broken == NULL && i < ARRAY_LENGTH(readers); i++) {
        broken = readers[i](d, s);
    }
    if (broken == NULL && version >= 2) {
        broken = read_orders(d, version, s);
    }
    if (broken == NULL && version >= 3) {
        broken = read_proxies(d, n_members, s);
    }
    return broken == NULL && !decoder_is_done(d) ? "size" : broken;
}

int snapshot_decode(const void *data, size_t size, struct store *ret_store, struct err *err)
{
    struct decoder d;
    struct decoder body;
    const char *broken;
    unsigned version = 0;

    decoder_init(&d, data, size);
    if (read_header(&d, &version, err) != 0) {
        return -1;
    }
    body = d;
    broken = read_store(&d, version, NULL);
    if (broken != NULL) {
        return err_set(err, "damaged snapshot: %s is out of its bounds at byte %zu of %zu", broken,
                       d.used, size);
    }
    store_init(ret_store);
    broken = read_store(&body, version, ret_store);
    ASSERT(broken == NULL);
    broken = store_broken_invariant(ret_store);
    if (broken != NULL) {
        store_init(ret_store);
        return err_set(err, "snapshot contradicts itself: not so that %s", broken);
    }
    return 0;
}
