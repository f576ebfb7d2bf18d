/*
 * What the tests of store/ share: random and sample values for every field kind,
 * and a store with a cluster of three in it.
 */
#ifndef VECHE_TESTS_STORE_UTIL_H
#define VECHE_TESTS_STORE_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/str.h"
#include "store/apply.h"

#define UNUSED __attribute__((unused))

/* Text of up to size - 1 bytes, any but zero; mostly short. */
UNUSED static void random_text(struct rng *r, char *text, size_t size)
{
    size_t length = (size_t)rng_between(r, 0, rng_between(r, 0, 9) == 0 ? size - 1 : 12);

    memset(text, 0, size);
    for (size_t i = 0; i < length; i++) {
        text[i] = (char)rng_between(r, 1, 255);
    }
}

/* A valid name, not empty. */
UNUSED static void random_name(struct rng *r, char *name)
{
    static const char chars[] = "_abcxyzABCXYZ0189-.";
    size_t length = (size_t)rng_between(r, 1, rng_between(r, 0, 9) == 0 ? NAME_SIZE - 1 : 8);

    memset(name, 0, NAME_SIZE);
    for (size_t i = 0; i < length; i++) {
        name[i] = chars[rng_between(r, 0, i == 0 ? sizeof(chars) - 4 : sizeof(chars) - 2)];
    }
}

UNUSED static void random_name_or_none(struct rng *r, char *name)
{
    random_name(r, name);
    if (rng_between(r, 0, 3) == 0) {
        memset(name, 0, NAME_SIZE);
    }
}

/* Small ones and edges are as likely as the rest. */
UNUSED static uint64_t random_number(struct rng *r)
{
    switch (rng_between(r, 0, 3)) {
    case 0:
        return rng_between(r, 0, 3);
    case 1:
        return UINT64_MAX - rng_between(r, 0, 1);
    default:
        return rng_next(r);
    }
}

/* clang-format off */
#define RANDOM(kind, name)          RANDOM_##kind(name)
#define RANDOM_U64(name)            c->name = random_number(r);
#define RANDOM_U32(name)            c->name = (uint32_t)random_number(r);
#define RANDOM_U16(name)            c->name = (uint16_t)random_number(r);
#define RANDOM_I64(name)            c->name = (int64_t)random_number(r);
#define RANDOM_LSN(name)            c->name = random_number(r);
#define RANDOM_FLAG(name)           c->name = rng_between(r, 0, 1) == 1;
#define RANDOM_NAME(name)           random_name_or_none(r, c->name);
#define RANDOM_HOST(name)           random_text(r, c->name, HOST_SIZE);
#define RANDOM_TEXT(name)           random_text(r, c->name, TEXT_SIZE);
#define RANDOM_TAGS(name)           random_text(r, c->name, TAGS_SIZE);
#define RANDOM_CONFIG(name)         random_text(r, c->name, 2000); /* The rest is zero. */
#define RANDOM_NAMES(name) \
    c->n_##name = (uint32_t)rng_between(r, 0, SYNC_MAX); \
    for (uint32_t i = 0; i < c->n_##name; i++) { random_name(r, c->name[i]); }
#define RANDOM_ENUM_MODE(name)      c->name = (enum node_mode)rng_between(r, 0, NODE_MODE_MAX);
#define RANDOM_ENUM_PG_STATE(name)  c->name = (enum pg_state)rng_between(r, 0, PG_STATE_MAX);
#define RANDOM_ENUM_INIT(name)      c->name = (enum init_state)rng_between(r, 0, INIT_STATE_MAX);
#define RANDOM_ENUM_REQUEST(name)   c->name = (enum request_kind)rng_between(r, 0, REQUEST_KIND_MAX);

#define RANDOM_CASE(enumerator, struct_name, text) \
    case COMMAND_##enumerator: { \
        struct command_##struct_name *c = &command->struct_name; \
        memset(c, 0, sizeof(*c)); \
        COMMAND_FIELDS_##struct_name(RANDOM) \
        break; \
    }
/* clang-format on */

/* Any command of that kind that can be encoded. */
UNUSED static void random_command(struct rng *r, enum command_kind kind, struct command *command)
{
    command->kind = kind;
    switch (kind) {
        COMMANDS(RANDOM_CASE)
    case COMMAND_NONE:
    case COMMAND_KINDS:
        break;
    }
}

/* A store, the log index, and a command to fill: too big for the stack. */
struct world {
    struct store store;
    uint64_t index;
    unsigned changes; /* Of the last apply. */
    struct command c;
    struct store before;
};

UNUSED static struct world *world_new(void)
{
    struct world *w = xmalloc(sizeof(*w));

    store_init(&w->store);
    return w;
}

/* A cleared command of that kind, to be filled and applied by run(). */
#define COMMAND(w, enumerator, member)                                                     \
    (memset(&(w)->c.member, 0, sizeof((w)->c.member)), (w)->c.kind = COMMAND_##enumerator, \
     &(w)->c.member)

/* Applies w->c. A refusal or "unchanged" must leave no trace. */
UNUSED static enum apply_result run(struct world *w)
{
    enum apply_result result;

    memcpy(&w->before, &w->store, sizeof(w->store));
    result = store_apply(&w->store, ++w->index, &w->c, &w->changes);
    assert_true(w->store.applied_index == w->index);
    assert_null(store_broken_invariant(&w->store));
    if (result != APPLY_DONE) {
        assert_int_equal(w->changes, 0);
        w->before.applied_index = w->index;
        assert_memory_equal(&w->before, &w->store, sizeof(w->store));
    }
    return result;
}

UNUSED static struct command_member_set *member_command(struct world *w, const char *name,
                                                        uint64_t id)
{
    struct command_member_set *c = COMMAND(w, MEMBER_SET, member_set);

    (void)str_copy(c->name, sizeof(c->name), name);
    c->id = id;
    c->mode = MODE_POSTGRES;
    return c;
}

/* epoch + 1 for that member at the present epoch and sync revision. */
UNUSED static struct command_epoch_take *take_command(struct world *w, const char *owner)
{
    const struct store_member *m = store_find_member(&w->store, owner);
    struct command_epoch_take *c = COMMAND(w, EPOCH_TAKE, epoch_take);

    c->expect_epoch = w->store.primary.epoch;
    c->expect_sync_revision = w->store.sync.revision;
    (void)str_copy(c->owner, sizeof(c->owner), owner);
    c->owner_id = m != NULL ? m->id : 1;
    c->instance = 77;
    (void)str_copy(c->node, sizeof(c->node), "pg3");
    (void)str_copy(c->rule, sizeof(c->rule), "take-over");
    (void)str_copy(c->evidence, sizeof(c->evidence), "nobody holds a promise");
    c->time_us = 1000;
    return c;
}

UNUSED static struct command_epoch_release *release_command(struct world *w)
{
    struct command_epoch_release *c = COMMAND(w, EPOCH_RELEASE, epoch_release);

    c->expect_epoch = w->store.primary.epoch;
    (void)str_copy(c->node, sizeof(c->node), "pg1");
    (void)str_copy(c->rule, sizeof(c->rule), "stopping");
    return c;
}

/* primary = present owner, names up to the NULL. */
UNUSED static struct command_sync_set *sync_command(struct world *w, const char *name1,
                                                    const char *name2)
{
    struct command_sync_set *c = COMMAND(w, SYNC_SET, sync_set);

    c->expect_epoch = w->store.primary.epoch;
    c->expect_sync_revision = w->store.sync.revision;
    (void)str_copy(c->primary, sizeof(c->primary), w->store.primary.owner);
    if (name1 != NULL) {
        (void)str_copy(c->names[c->n_names++], NAME_SIZE, name1);
    }
    if (name2 != NULL) {
        (void)str_copy(c->names[c->n_names++], NAME_SIZE, name2);
    }
    (void)str_copy(c->node, sizeof(c->node), "pg1");
    (void)str_copy(c->rule, sizeof(c->rule), "sync-tighten");
    return c;
}

/* Cluster "demo" of pg1, pg2, pg3 (ids 1, 2, 3) and witness w1 (id 9); no
 * database. */
UNUSED static struct world *world_with_members(void)
{
    struct world *w = world_new();
    struct command_cluster_create *create = COMMAND(w, CLUSTER_CREATE, cluster_create);

    create->cluster_id = 4711;
    (void)str_copy(create->scope, sizeof(create->scope), "demo");
    assert_int_equal(run(w), APPLY_DONE);
    member_command(w, "pg3", 3);
    assert_int_equal(run(w), APPLY_DONE);
    member_command(w, "pg1", 1);
    assert_int_equal(run(w), APPLY_DONE);
    member_command(w, "pg2", 2);
    assert_int_equal(run(w), APPLY_DONE);
    member_command(w, "w1", 9)->mode = MODE_WITNESS;
    assert_int_equal(run(w), APPLY_DONE);
    return w;
}

/* The same with a database (sysid 5) that nobody owns. */
UNUSED static struct world *world_with_database(void)
{
    struct world *w = world_with_members();

    COMMAND(w, CLUSTER_INIT, cluster_init)->sysid = 5;
    assert_int_equal(run(w), APPLY_DONE);
    return w;
}

/* The same, and pg1 owns epoch 1. */
UNUSED static struct world *world_with_owner(void)
{
    struct world *w = world_with_database();

    take_command(w, "pg1");
    assert_int_equal(run(w), APPLY_DONE);
    return w;
}

/* The same, and pg2 holds every acknowledged commit. */
UNUSED static struct world *world_with_sync(void)
{
    struct world *w = world_with_owner();

    sync_command(w, "pg2", NULL);
    assert_int_equal(run(w), APPLY_DONE);
    return w;
}

UNUSED static const struct store_ledger_entry *newest_entry(const struct world *w)
{
    return store_ledger_newest(&w->store, 0);
}

#endif
