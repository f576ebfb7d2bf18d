/*
 * The invariants: each can be broken, and is noticed by its name.
 */
#include "test_store_util.h"

/* A change that breaks exactly one relation of world_with_sync(), and which. */
/* clang-format off */
#define BREAKS(X) \
    X(s->n_members = MEMBERS_MAX + 1,                   "counts-fit") \
    X(s->config_size = CONFIG_SIZE,                     "counts-fit") \
    X(s->cluster.init = (enum init_state)9,             "singles-are-in-bounds") \
    X(s->primary.owner[0] = ' ',                        "singles-are-in-bounds") \
    X(memset(s->primary.reason, 'x', TEXT_SIZE),        "singles-are-in-bounds") \
    X(s->members[1].mode = (enum node_mode)9,           "tables-are-in-bounds") \
    X(memset(s->ledger[0].evidence, 'x', TEXT_SIZE),    "tables-are-in-bounds") \
    X(s->primary.epoch = UINT64_MAX,                    "counters-are-within-the-log") \
    X(s->n_ledger = s->applied_index + 1,               "counters-are-within-the-log") \
    X(s->cluster.scope[0] = '\0',                       "cluster-has-id-and-scope-or-neither") \
    X(memset(&s->cluster, 0, sizeof(s->cluster)),       "nothing-is-before-the-cluster") \
    X(s->cluster.sysid = 0,                             "sysid-is-known-iff-initialised") \
    X((s->cluster.sysid = 0, s->cluster.init = INIT_RUNNING, \
       s->primary.has_owner = false),                   "somebody-initialises") \
    X((s->cluster.sysid = 0, s->cluster.init = INIT_NONE), "owner-has-or-makes-a-database") \
    X(s->primary.instance = 0,                          "epoch-has-owner-and-instance") \
    X(s->primary.epoch = 0,                             "epoch-has-owner-and-instance") \
    X(s->primary.owner[2] = '7',                        "owner-is-listed") \
    X((s->primary.has_owner = false, s->primary.unfenced = true), "only-an-owner-is-unfenced") \
    X((s->primary.held = true, s->primary.barren = 1),  "held-epoch-is-not-barren") \
    X(s->primary.released_lsn = 1,                      "only-a-released-epoch-has-an-end") \
    X(s->members[2].id = 0,                             "members-are-whole") \
    X(s->members[2].name[0] = 'a',                      "members-are-sorted") \
    X(s->members[2].id = 1,                             "members-are-distinct") \
    X((void)str_copy(s->members[3].name, 4, "pG3"),     "members-are-sorted") \
    X((void)str_copy(s->members[2].name, 4, "pG1"),     "members-are-sorted") \
    X(s->sync.quorum = 2,                               "sync-is-of-its-primary") \
    X(s->sync.primary[0] = '\0',                        "sync-is-of-its-primary") \
    X(s->sync.names[0][2] = '1',                        "sync-is-of-its-primary") \
    X(s->sync.names[0][2] = '9',                        "sync-names-are-listed") \
    X((s->sync.n_names = 2, (void)str_copy(s->sync.names[1], 4, "pg2")), "sync-names-are-sorted") \
    X(s->request.kind = REQUEST_RESTART,                "request-is-whole-or-absent") \
    X(s->outcome.request_id = s->applied_index + 1,     "requests-come-in-order") \
    X(s->progress.lsn = 1,                              "progress-is-of-a-known-epoch") \
    X(s->n_history = 1,                                 "history-is-ascending") \
    X(s->ledger[0].index = s->ledger[1].index,          "ledger-is-in-log-order") \
    X(s->ledger[0].index = 0,                           "ledger-is-in-log-order") \
    X(s->ledger[0].rule[0] = '\0',                      "ledger-entries-are-explained") \
    X(s->ledger[1].count = 2,                           "ledger-entries-are-explained") \
    X(s->config[0] = 'x',                               "config-is-whole-or-absent") \
    X(s->config_revision = 1,                           "config-is-whole-or-absent")
/* clang-format on */

static void every_broken_relation_is_named(void **state)
{
    /* A healthy store, one thing wrong at a time. */
    struct world *w = world_with_sync();
    struct store *s = &w->store;

    (void)state;
    memcpy(&w->before, s, sizeof(*s));
#define CHECK_BREAK(change, name)               \
    memcpy(s, &w->before, sizeof(*s));          \
    assert_null(store_broken_invariant(s));     \
    (void)(change);                             \
    assert_non_null(store_broken_invariant(s)); \
    assert_string_equal(store_broken_invariant(s), name);
    BREAKS(CHECK_BREAK)
    free(w);
}

static void members_are_found_by_name_and_id(void **state)
{
    /* Names are exact. */
    struct world *w = world_with_members();

    (void)state;
    assert_true(store_find_member(&w->store, "pg2")->id == 2);
    assert_null(store_find_member(&w->store, "PG2"));
    assert_null(store_find_member(&w->store, ""));
    assert_string_equal(store_find_member_by_id(&w->store, 9)->name, "w1");
    assert_null(store_find_member_by_id(&w->store, 0));
    free(w);
}

static void synchronous_state_says_who_may_lead(void **state)
{
    /* Off, {pg1: pg2}, and {pg1: nobody}. */
    struct world *off = world_with_owner();
    struct world *on = world_with_sync();

    (void)state;
    assert_true(store_sync_allows(&off->store, "pg3"));
    assert_true(store_sync_allows(&on->store, "pg1") && store_sync_allows(&on->store, "pg2"));
    assert_false(store_sync_allows(&on->store, "pg3") || store_sync_allows(&on->store, ""));
    sync_command(on, NULL, NULL);
    assert_int_equal(run(on), APPLY_DONE);
    assert_true(store_sync_allows(&on->store, "pg1"));
    assert_false(store_sync_allows(&on->store, "pg2"));
    free(off);
    free(on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_broken_relation_is_named),
        cmocka_unit_test(members_are_found_by_name_and_id),
        cmocka_unit_test(synchronous_state_says_who_may_lead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
