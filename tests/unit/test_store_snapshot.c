/*
 * Snapshots: everything comes back, and nothing damaged does.
 */
#include "test_store_util.h"

#include "base/codec.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "store/schema.h"
#include "store/snapshot.h"
#include "test_between.h"

static uint8_t bytes[SNAPSHOT_SIZE_MAX];
static struct store restored;

/* A cluster in which every part of the store is in use. */
static struct world *full_world(void)
{
    struct world *w = world_with_sync();
    struct command_request_set *request;
    struct command_config_set *config;

    COMMAND(w, EPOCH_HELD, epoch_held)->expect_epoch = 1;
    assert_int_equal(run(w), APPLY_DONE);
    COMMAND(w, PROGRESS_SET, progress_set)->expect_epoch = 1;
    w->c.progress_set.lsn = 7;
    w->c.progress_set.timeline = 1;
    assert_int_equal(run(w), APPLY_DONE);
    COMMAND(w, HISTORY_ADD, history_add)->expect_epoch = 1;
    w->c.history_add.timeline = 1;
    assert_int_equal(run(w), APPLY_DONE);
    request = COMMAND(w, REQUEST_SET, request_set);
    request->kind = REQUEST_SWITCHOVER;
    assert_int_equal(run(w), APPLY_DONE);
    config = COMMAND(w, CONFIG_SET, config_set);
    (void)str_copy(config->config, CONFIG_SIZE, "{\"ttl\":3}");
    assert_int_equal(run(w), APPLY_DONE);
    return w;
}

static int restore(const struct world *w)
{
    int size = snapshot_encode(&w->store, bytes, sizeof(bytes), NULL);

    assert_true(size > 0);
    memset(&restored, 0xEE, sizeof(restored));
    assert_int_equal(snapshot_decode(bytes, (size_t)size, &restored, NULL), 0);
    return size;
}

static void everything_comes_back(void **state)
{
    /* An empty store and a full one. */
    struct world *empty = world_new();
    struct world *full = full_world();

    (void)state;
    restore(empty);
    assert_memory_equal(&restored, &empty->store, sizeof(restored));
    restore(full);
    assert_memory_equal(&restored, &full->store, sizeof(restored));
    free(empty);
    free(full);
}

/* A check sum that fits again, as a bug of the writer would have it. */
static void mend(uint8_t *data, size_t size)
{
    struct encoder e;

    encoder_init(&e, data + 8, 8);
    encode_u32(&e, (uint32_t)(size - 16));
    encode_u32(&e, crc32c(crc32c(0, data, 12), data + 16, size - 16));
}

static void a_snapshot_is_of_the_oldest_version_that_tells_all(void **state)
{
    /* Without orders and poolers; with an order; with a pooler, too, and then alone. Nor is a
     * newer version taken that says nothing more. */
    struct world *w = full_world();
    int size;

    (void)state;
    restore(w);
    assert_int_equal(bytes[4], 1);
    (void)str_copy(w->store.members[2].proxy.url, HOST_SIZE, "postgres://10.0.0.3:6432/postgres");
    size = restore(w);
    assert_int_equal(bytes[4], 3);
    assert_memory_equal(&restored, &w->store, sizeof(restored));
    COMMAND(w, ORDER_SET, order_set)->kind = REQUEST_RESTART;
    (void)str_copy(w->c.order_set.member, NAME_SIZE, "pg2");
    assert_int_equal(run(w), APPLY_DONE);
    assert_true(restore(w) > size);
    assert_int_equal(bytes[4], 3);
    assert_memory_equal(&restored, &w->store, sizeof(restored));
    memset(&w->store.members[2].proxy, 0, sizeof(w->store.members[2].proxy));
    size = restore(w);
    assert_int_equal(bytes[4], 2);
    memset(bytes + size, 0, 2 * (size_t)w->store.n_members);
    size += 2 * (int)w->store.n_members;
    bytes[4] = 3;
    mend(bytes, (size_t)size);
    assert_int_equal(snapshot_decode(bytes, (size_t)size, &restored, NULL), -1);
    free(w);
}

static void every_field_of_the_schema_comes_back(void **state)
{
    /* Parts full of noise, each by itself, so that no field is zero by luck. */
    struct world *w = full_world();
    struct rng r_value;
    struct rng *r = &r_value;

    (void)state;
    rng_seed(r, 1);
#define NOISE(part, place)              \
    {                                   \
        struct store_##part *c = place; \
        STORE_FIELDS_##part(RANDOM)     \
    }
    for (int i = 0; i < 3000; i++) {
        NOISE(outcome, &w->store.outcome)
        NOISE(ledger_entry, &w->store.ledger[0])
        NOISE(history, &w->store.history[0])
        NOISE(member, &w->store.members[3])
        NOISE(proxy, &w->store.members[i % 3].proxy)
        NOISE(progress, &w->store.progress)
        NOISE(request, &w->store.request)
        if (store_broken_invariant(&w->store) == NULL) {
            restore(w);
            assert_memory_equal(&restored, &w->store, sizeof(restored));
        }
    }
    free(w);
}

static void snapshot_stays_small(void **state)
{
    /* Four members and a handful of decisions: no empty slots are written. */
    struct world *w = full_world();

    (void)state;
    assert_between(restore(w), 100, 2000);
    free(w);
}

static void ring_comes_back_in_its_slots(void **state)
{
    /* A ledger that has gone round, and a full history. */
    struct world *w = world_with_owner();

    (void)state;
    for (uint32_t i = 0; i < LEDGER_MAX * 2 + 5; i++) {
        struct command_ledger_add *c = COMMAND(w, LEDGER_ADD, ledger_add);

        (void)str_copy(c->rule, sizeof(c->rule), "rule");
        (void)snprintf(c->evidence, sizeof(c->evidence), "%u", i);
        assert_int_equal(run(w), APPLY_DONE);
    }
    for (uint32_t i = 1; i < HISTORY_MAX + 3; i++) {
        struct command_history_add *c = COMMAND(w, HISTORY_ADD, history_add);

        c->expect_epoch = 1;
        c->timeline = i;
        assert_int_equal(run(w), APPLY_DONE);
    }
    restore(w);
    assert_memory_equal(&restored, &w->store, sizeof(restored));
    free(w);
}

static void store_at_all_its_limits_fits(void **state)
{
    /* Longest texts everywhere. */
    struct world *w = full_world();
    struct store *s = &w->store;

    (void)state;
    s->applied_index = LEDGER_MAX * 10;
    s->n_ledger = LEDGER_MAX * 3;
    for (uint64_t k = s->n_ledger - LEDGER_MAX; k < s->n_ledger; k++) {
        struct store_ledger_entry *entry = &s->ledger[k % LEDGER_MAX];

        memset(entry, 0, sizeof(*entry));
        entry->index = k + 1;
        entry->count = 1;
        memset(entry->node, 'n', NAME_SIZE - 1);
        memset(entry->rule, 'r', NAME_SIZE - 1);
        memset(entry->subject, 's', NAME_SIZE - 1);
        memset(entry->result, 'r', NAME_SIZE - 1);
        memset(entry->evidence, 'e', TEXT_SIZE - 1);
    }
    s->n_history = HISTORY_MAX;
    for (uint32_t i = 0; i < HISTORY_MAX; i++) {
        memset(&s->history[i], 0, sizeof(s->history[i]));
        s->history[i].timeline = i + 1;
        memset(s->history[i].reason, 'r', TEXT_SIZE - 1);
        memset(s->history[i].new_primary, 'p', NAME_SIZE - 1);
    }
    for (uint32_t i = 0; i < s->n_members; i++) {
        memset(s->members[i].proxy.url, 'u', HOST_SIZE - 1);
    }
    memset(s->config, 'c', CONFIG_SIZE - 1);
    s->config_size = CONFIG_SIZE - 1;
    restore(w);
    assert_memory_equal(&restored, s, sizeof(restored));
    free(w);
}

static void too_small_a_buffer_is_refused(void **state)
{
    /* One byte less than needed, and none at all. */
    struct world *w = full_world();
    int size = restore(w);
    struct err err = {0};

    (void)state;
    assert_int_equal(snapshot_encode(&w->store, bytes, (size_t)size, &err), size);
    assert_int_equal(snapshot_encode(&w->store, bytes, (size_t)size - 1, &err), -1);
    assert_true(strlen(err.text) > 0);
    assert_int_equal(snapshot_encode(&w->store, bytes, 0, &err), -1);
    free(w);
}

static void every_damaged_byte_is_noticed(void **state)
{
    /* Each byte changed, each prefix, a byte too many; the target stays. */
    struct world *w = full_world();
    size_t size = (size_t)restore(w);
    uint8_t *exact = xmalloc(size + 1);
    uint8_t pattern[64];

    (void)state;
    memcpy(exact, bytes, size);
    memset(&restored, 0xEE, sizeof(restored));
    memset(pattern, 0xEE, sizeof(pattern));
    for (size_t i = 0; i < size; i++) {
        exact[i] ^= 0x20;
        assert_int_equal(snapshot_decode(exact, size, &restored, NULL), -1);
        exact[i] ^= 0x20;
    }
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *prefix = xmalloc(cut);

        memcpy(prefix, exact, cut);
        assert_int_equal(snapshot_decode(prefix, cut, &restored, NULL), -1);
        free(prefix);
    }
    exact[size] = 0;
    assert_int_equal(snapshot_decode(exact, size + 1, &restored, NULL), -1);
    assert_memory_equal(&restored, pattern, sizeof(pattern));
    free(exact);
    free(w);
}

static void right_check_sum_does_not_excuse_wrong_content(void **state)
{
    /* Bytes are changed and cut under a good check sum: no crash, and what is
     * accepted holds all invariants. */
    struct world *w = full_world();
    size_t size = (size_t)restore(w);
    uint8_t *good = xmalloc(size);
    struct rng r;
    int refused = 0;

    (void)state;
    memcpy(good, bytes, size);
    rng_seed(&r, 6);
    for (int i = 0; i < 3000; i++) {
        size_t n = rng_between(&r, 0, 3) == 0 ? (size_t)rng_between(&r, 16, size) : size;
        uint8_t *bad = xmalloc(n);

        memcpy(bad, good, n);
        bad[rng_between(&r, 15, n - 1)] = (uint8_t)rng_next(&r);
        mend(bad, n);
        if (snapshot_decode(bad, n, &restored, NULL) == 0) {
            assert_null(store_broken_invariant(&restored));
        } else {
            refused++;
        }
        free(bad);
    }
    assert_true(refused > 1000);
    free(good);
    free(w);
}

/* Repeats the `size` bytes behind the count at `at`, and sets it to n. */
static size_t repeat_first(size_t total, uint8_t *at, size_t size, uint32_t n)
{
    uint8_t *entry = at + 4;
    struct encoder e;

    memmove(entry + size, entry, total - (size_t)(entry - bytes));
    encoder_init(&e, at, 4);
    encode_u32(&e, n);
    mend(bytes, total + size);
    return total + size;
}

static void full_table_takes_no_more(void **state)
{
    /* 255 timelines, the first one repeated once and twice: 256 that do not
     * ascend are a contradiction, 257 are out of bounds. */
    struct world *w = world_with_owner();
    uint8_t *at;
    struct err err = {0};
    size_t size;

    (void)state;
    for (uint32_t i = 1; i < HISTORY_MAX; i++) {
        struct command_history_add *c = COMMAND(w, HISTORY_ADD, history_add);

        c->expect_epoch = 1;
        c->timeline = i;
        (void)str_copy(c->reason, sizeof(c->reason), i == 1 ? "first" : "");
        assert_int_equal(run(w), APPLY_DONE);
    }
    size = (size_t)restore(w);
    at = (uint8_t *)memmem(bytes, size, "\5\0first", 7) - 16;
    size = repeat_first(size, at, 29, HISTORY_MAX);
    assert_int_equal(snapshot_decode(bytes, size, &restored, &err), -1);
    assert_non_null(strstr(err.text, "history-is-ascending"));
    size = repeat_first(size, at, 29, HISTORY_MAX + 1);
    assert_int_equal(snapshot_decode(bytes, size, &restored, &err), -1);
    assert_non_null(strstr(err.text, "n_history is out of its bounds"));
    free(w);
}

static void seventeenth_member_is_out_of_bounds(void **state)
{
    /* Sixteen members of the same length; the first is repeated. */
    struct world *w = world_new();
    struct command_cluster_create *create = COMMAND(w, CLUSTER_CREATE, cluster_create);
    uint8_t *at;
    uint8_t *second;
    struct err err = {0};
    size_t size;

    (void)state;
    create->cluster_id = 1;
    (void)str_copy(create->scope, sizeof(create->scope), "demo");
    assert_int_equal(run(w), APPLY_DONE);
    for (int i = 0; i < MEMBERS_MAX; i++) {
        char name[] = {'m', (char)('a' + i), '\0'};

        member_command(w, name, 1 + (uint64_t)i);
        assert_int_equal(run(w), APPLY_DONE);
    }
    size = (size_t)restore(w);
    at = (uint8_t *)memmem(bytes, size, "\2\0ma", 4) - 4;
    second = memmem(bytes, size, "\2\0mb", 4);
    size = repeat_first(size, at, (size_t)(second - at) - 4, MEMBERS_MAX + 1);
    assert_int_equal(snapshot_decode(bytes, size, &restored, &err), -1);
    assert_non_null(strstr(err.text, "n_members is out of its bounds"));
    free(w);
}

static void contradiction_leaves_an_empty_store(void **state)
{
    /* Two members of one id, every byte in order. */
    struct world *w = full_world();
    size_t size = (size_t)restore(w);
    struct err err = {0};
    uint8_t *id = memmem(bytes, size, "\3\0pg3\3", 6);

    (void)state;
    assert_non_null(id);
    id[5] = 1;
    mend(bytes, size);
    assert_int_equal(snapshot_decode(bytes, size, &restored, &err), -1);
    assert_non_null(strstr(err.text, "members-are-distinct"));
    store_init(&w->store);
    assert_memory_equal(&restored, &w->store, sizeof(restored));
    free(w);
}

static void newer_snapshot_is_told_apart_and_lz4_is_not_met(void **state)
{
    /* Version 2; and the four bytes libraft looks for. */
    struct world *w = full_world();
    size_t size = (size_t)restore(w);
    struct err err = {0};

    (void)state;
    assert_memory_equal(bytes, "VCHS", 4);
    assert_int_not_equal(SNAPSHOT_MAGIC, 0x184D2204);
    bytes[4] = SNAPSHOT_VERSION + 1;
    assert_int_equal(snapshot_decode(bytes, size, &restored, &err), -1);
    assert_non_null(strstr(err.text, "upgrade this node"));
    assert_int_equal(snapshot_decode("", 0, &restored, &err), -1);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_comes_back),
        cmocka_unit_test(a_snapshot_is_of_the_oldest_version_that_tells_all),
        cmocka_unit_test(every_field_of_the_schema_comes_back),
        cmocka_unit_test(snapshot_stays_small),
        cmocka_unit_test(ring_comes_back_in_its_slots),
        cmocka_unit_test(store_at_all_its_limits_fits),
        cmocka_unit_test(too_small_a_buffer_is_refused),
        cmocka_unit_test(every_damaged_byte_is_noticed),
        cmocka_unit_test(right_check_sum_does_not_excuse_wrong_content),
        cmocka_unit_test(full_table_takes_no_more),
        cmocka_unit_test(seventeenth_member_is_out_of_bounds),
        cmocka_unit_test(contradiction_leaves_an_empty_store),
        cmocka_unit_test(newer_snapshot_is_told_apart_and_lz4_is_not_met),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
