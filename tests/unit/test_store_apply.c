/*
 * store_apply() as a whole: long random walks through commands that are nearly
 * right, and what must hold at every step.
 */
#include "test_store_util.h"

#include "store/snapshot.h"

static const char *const names[] = {"pg1", "pg2", "pg3", "PG3", "w1", "x"};

static void pick_name(struct rng *r, char *name, bool or_none)
{
    uint64_t i = rng_between(r, 0, ARRAY_LENGTH(names) - (or_none ? 0 : 1));

    memset(name, 0, NAME_SIZE);
    (void)str_copy(name, NAME_SIZE, i < ARRAY_LENGTH(names) ? names[i] : "");
}

/* Mostly the present number, so that compare-and-set lets it through. */
static uint64_t near(struct rng *r, uint64_t present)
{
    return rng_between(r, 0, 9) > 0 ? present : present + rng_between(r, 0, 2) - 1;
}

/* Turns some of the noise of a random command into what could be meant. */
/* clang-format off */
#define PLAUSIBLE(kind, name)           PLAUSIBLE_##kind(c, name)
#define PLAUSIBLE_U64(c, name) \
    if (str_starts_with(#name, "expect_epoch")) { (c)->name = near(r, s->primary.epoch); } \
    if (str_starts_with(#name, "expect_sync")) { (c)->name = near(r, s->sync.revision); } \
    if (str_starts_with(#name, "expect_rev")) { (c)->name = near(r, s->config_revision); } \
    if (str_equal(#name, "request_id")) { (c)->name = near(r, s->request.id); } \
    if (str_equal(#name, "sysid")) { (c)->name = rng_between(r, 0, 2); } \
    if (str_equal(#name, "cluster_id")) { (c)->name = rng_between(r, 0, 2); } \
    if (str_equal(#name, "id")) { (c)->name = rng_between(r, 0, 6); }
#define PLAUSIBLE_U32(c, name)          (c)->name = (uint32_t)rng_between(r, 0, 4);
#define PLAUSIBLE_LSN(c, name)          (c)->name = rng_between(r, 0, 100);
#define PLAUSIBLE_NAME(c, name)         pick_name(r, (c)->name, true);
#define PLAUSIBLE_NAMES(c, name) \
    (c)->n_##name = (uint32_t)rng_between(r, 0, 2); \
    for (uint32_t i = 0; i < (c)->n_##name; i++) { pick_name(r, (c)->name[i], false); }
#define PLAUSIBLE_U16(c, name)
#define PLAUSIBLE_I64(c, name)
#define PLAUSIBLE_FLAG(c, name)         (c)->name = rng_between(r, 0, 3) == 0;
#define PLAUSIBLE_HOST(c, name)
#define PLAUSIBLE_TEXT(c, name)
#define PLAUSIBLE_TAGS(c, name)
#define PLAUSIBLE_CONFIG(c, name)       (c)->name[5] = '\0';
#define PLAUSIBLE_ENUM_MODE(c, name)    (c)->name = rng_between(r, 0, 5) > 0 ? MODE_POSTGRES : MODE_WITNESS;
#define PLAUSIBLE_ENUM_PG_STATE(c, name)
#define PLAUSIBLE_ENUM_REQUEST(c, name)
#define PLAUSIBLE_CASE(enumerator, struct_name, text) \
    case COMMAND_##enumerator: { \
        struct command_##struct_name *c = &command->struct_name; \
        (void)c; \
        COMMAND_FIELDS_##struct_name(PLAUSIBLE) \
        break; \
    }
/* clang-format on */

static void plausible_command(struct rng *r, const struct store *s, struct command *command)
{
    enum command_kind kind = (enum command_kind)rng_between(r, 1, COMMAND_KINDS - 1);

    random_command(r, kind, command);
    if (rng_between(r, 0, 19) == 0) {
        return; /* Plain noise. */
    }
    switch (kind) {
        COMMANDS(PLAUSIBLE_CASE)
    case COMMAND_NONE:
    case COMMAND_KINDS:
        break;
    }
    if (kind == COMMAND_EPOCH_TAKE) {
        const struct store_member *m = store_find_member(s, command->epoch_take.owner);

        command->epoch_take.owner_id = m != NULL ? m->id : 1;
        command->epoch_take.initialize ^= s->cluster.init != INIT_DONE;
    } else if (kind == COMMAND_CLUSTER_INIT) {
        command->cluster_init.timeline %= 4;
    } else if (kind == COMMAND_HISTORY_ADD) {
        command->history_add.timeline %= 5;
    } else if (kind == COMMAND_LINE_SET) {
        struct command_line_set *c = &command->line_set;

        c->timeline = s->line.timeline + (uint32_t)rng_between(r, 0, 5);
        c->parent = c->timeline != 0 ? (uint32_t)rng_between(r, 0, c->timeline - 1) : 0;
        c->lsn = c->parent != 0 ? 100 : 0;
    } else if (kind == COMMAND_ORDER_SET) {
        command->order_set.kind = rng_between(r, 0, 2) > 0 ? REQUEST_RESTART : REQUEST_REINIT;
        command->order_set.at_us = (int64_t)rng_between(r, 0, 1);
    } else if (kind == COMMAND_ORDER_BEGIN && s->n_orders > 0) {
        command->order_begin.order_id = s->orders[rng_between(r, 0, s->n_orders - 1)].id;
    } else if (kind == COMMAND_ORDER_END && s->n_orders > 0) {
        command->order_end.order_id = s->orders[rng_between(r, 0, s->n_orders - 1)].id;
    } else if (kind == COMMAND_SYNC_SET) {
        memcpy(command->sync_set.primary, s->primary.owner, NAME_SIZE);
        command->sync_set.quorum %= 2;
    } else if (kind == COMMAND_MEMBER_SET && rng_between(r, 0, 3) > 0) {
        command->member_set.id = (uint64_t)command->member_set.name[2];
    }
}

/* What of an epoch must never change once it was made (S3). */
struct ownership {
    uint64_t epoch;
    char owner[NAME_SIZE];
    node_id owner_id;
    uint64_t instance;
};

static void check_epochs(struct ownership *seen, const struct store *s)
{
    const struct store_primary *p = &s->primary;

    assert_true(p->epoch == seen->epoch || p->epoch == seen->epoch + 1);
    if (p->epoch == seen->epoch && p->epoch != 0) {
        assert_string_equal(p->owner, seen->owner);
        assert_true(p->owner_id == seen->owner_id && p->instance == seen->instance);
    }
    seen->epoch = p->epoch;
    memcpy(seen->owner, p->owner, NAME_SIZE);
    seen->owner_id = p->owner_id;
    seen->instance = p->instance;
}

/* Said again here, without the code under test: nobody becomes owner whom the
 * synchronous state does not allow (S2). */
static void check_take(const struct store *before, const struct command *c)
{
    const struct store_sync *sync = &before->sync;
    bool allowed = sync->primary[0] == '\0' || strcmp(sync->primary, c->epoch_take.owner) == 0;

    for (uint32_t i = 0; i < sync->n_names; i++) {
        allowed = allowed || strcmp(sync->names[i], c->epoch_take.owner) == 0;
    }
    assert_true(allowed || c->epoch_take.forced);
    assert_false(before->primary.unfenced);
    assert_true(c->epoch_take.expect_epoch == before->primary.epoch);
    assert_true(c->epoch_take.expect_sync_revision == before->sync.revision);
}

struct walk {
    struct store a;
    struct store b; /* Fed the same. */
    struct store before;
    struct store restored;
    struct command c;
    struct ownership seen;
    uint64_t n_done[COMMAND_KINDS];
    uint64_t n_results[APPLY_RESULTS];
    uint8_t snapshot[SNAPSHOT_SIZE_MAX];
};

/* Everything but the two big tables, which are compared now and then. */
#define SMALL_PART offsetof(struct store, history)

static void walk_step(struct walk *w, struct rng *r, uint64_t index)
{
    unsigned changes;
    unsigned changes_b;
    enum apply_result result;

    plausible_command(r, &w->a, &w->c);
    memcpy(&w->before, &w->a, SMALL_PART);
    result = store_apply(&w->a, index, &w->c, &changes);
    assert_int_equal(store_apply(&w->b, index, &w->c, &changes_b), result);
    assert_int_equal(changes, changes_b);
    assert_null(store_broken_invariant(&w->a));
    check_epochs(&w->seen, &w->a);
    w->n_results[result]++;
    if (result != APPLY_DONE) {
        w->before.applied_index = index;
        assert_memory_equal(&w->before, &w->a, SMALL_PART);
        return;
    }
    w->n_done[w->c.kind]++;
    if (w->c.kind == COMMAND_EPOCH_TAKE) {
        check_take(&w->before, &w->c);
    }
}

static void check_twins_and_snapshot(struct walk *w)
{
    int size = snapshot_encode(&w->a, w->snapshot, sizeof(w->snapshot), NULL);

    assert_memory_equal(&w->a, &w->b, sizeof(w->a));
    assert_true(size > 0);
    memset(&w->restored, 0xEE, sizeof(w->restored));
    assert_int_equal(snapshot_decode(w->snapshot, (size_t)size, &w->restored, NULL), 0);
    assert_memory_equal(&w->a, &w->restored, sizeof(w->a));
}

static void nothing_breaks_on_a_long_random_walk(void **state)
{
    /* 100 lives of a cluster of 1300 commands each, many of them refused. */
    struct walk *w = xmalloc(sizeof(*w));

    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct rng r;

        rng_seed(&r, seed);
        store_init(&w->a);
        store_init(&w->b);
        memset(&w->seen, 0, sizeof(w->seen));
        for (uint64_t index = 1; index <= 1300; index++) {
            walk_step(w, &r, index);
        }
        check_twins_and_snapshot(w);
    }
    for (enum command_kind kind = COMMAND_NONE + 1; kind < COMMAND_KINDS; kind++) {
        if (w->n_done[kind] < 100) { /* The walk does get somewhere. */
            fail_msg("%s: done %u times", command_kind_name(kind), (unsigned)w->n_done[kind]);
        }
    }
    for (size_t i = 0; i < APPLY_RESULTS; i++) {
        assert_true(i == APPLY_REFUSED_LIMIT || w->n_results[i] > 0);
    }
    free(w);
}

static void any_command_may_meet_any_state(void **state)
{
    /* Plain noise of every kind on a cluster that has everything. */
    struct world *w = world_with_sync();
    struct rng r;

    (void)state;
    rng_seed(&r, 9);
    for (int i = 0; i < 2000; i++) {
        random_command(&r, (enum command_kind)rng_between(&r, 1, COMMAND_KINDS - 1), &w->c);
        (void)run(w);
    }
    free(w);
}

static void results_have_names(void **state)
{
    /* What a log line says. */
    (void)state;
    assert_string_equal(apply_result_name(APPLY_DONE), "done");
    for (enum apply_result i = 0; i < APPLY_RESULTS; i++) {
        assert_int_equal(apply_result_is_refusal(i), str_starts_with(apply_result_name(i), "refu"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_breaks_on_a_long_random_walk),
        cmocka_unit_test(any_command_may_meet_any_state),
        cmocka_unit_test(results_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
