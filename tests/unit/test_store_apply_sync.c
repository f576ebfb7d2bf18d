/*
 * The synchronous state, timelines and progress.
 */
#include "test_store_util.h"

static void set_is_kept_sorted_and_counted(void **state)
{
    /* pg1 has pg3 and pg2, named in that order. */
    struct world *w = world_with_owner();
    const struct store_sync *sync = &w->store.sync;
    struct command_sync_set *c = sync_command(w, "pg3", "pg2");

    (void)state;
    c->quorum = 1;
    assert_int_equal(run(w), APPLY_DONE);

    assert_int_equal(w->changes, CHANGE_SYNC | CHANGE_LEDGER);
    assert_string_equal(sync->primary, "pg1");
    assert_string_equal(sync->names[0], "pg2");
    assert_string_equal(sync->names[1], "pg3");
    assert_true(sync->n_names == 2 && sync->quorum == 1 && sync->revision == 1);
    assert_string_equal(newest_entry(w)->rule, "sync-tighten");
    assert_string_equal(newest_entry(w)->result, "sync-set");
    c = sync_command(w, "pg2", "pg3");
    c->quorum = 1;
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->changes, CHANGE_SYNC);
    assert_true(sync->n_names == 2 && sync->quorum == 1 && sync->revision == 2);
    sync_command(w, "pg2", NULL);
    assert_int_equal(run(w), APPLY_DONE);
    assert_true(sync->n_names == 1 && sync->names[1][0] == '\0' && sync->revision == 3);
    free(w);
}

static void the_same_set_again_voids_what_is_on_its_way(void **state)
{
    /* pg1 degraded; a tightening decided before comes in late. */
    struct world *w = world_with_owner();
    struct command_sync_set *c = sync_command(w, NULL, NULL);
    uint64_t n_ledger;

    (void)state;
    assert_int_equal(run(w), APPLY_DONE);
    n_ledger = w->store.n_ledger;
    sync_command(w, NULL, NULL);
    assert_int_equal(run(w), APPLY_DONE);
    assert_true(w->store.n_ledger == n_ledger);
    c = sync_command(w, "pg2", NULL);
    c->expect_sync_revision = 1;
    assert_int_equal(run(w), APPLY_REFUSED_SYNC);
    assert_true(w->store.sync.n_names == 0 && w->store.sync.revision == 2);
    free(w);
}

static void set_decided_on_other_state_is_refused(void **state)
{
    /* A late epoch, a late revision, no owner. */
    struct world *w = world_with_sync();

    (void)state;
    sync_command(w, NULL, NULL)->expect_epoch = 0;
    assert_int_equal(run(w), APPLY_REFUSED_EPOCH);
    sync_command(w, NULL, NULL)->expect_sync_revision = 0;
    assert_int_equal(run(w), APPLY_REFUSED_SYNC);
    release_command(w);
    assert_int_equal(run(w), APPLY_DONE);
    sync_command(w, NULL, NULL);
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    free(w);
}

static void set_must_make_sense(void **state)
{
    /* Another primary; unknown, witness, doubled and own names; too much
     * quorum; names without a primary. */
    struct world *w = world_with_owner();
    struct command_sync_set *c = sync_command(w, "pg3", NULL);

    (void)state;
    (void)str_copy(c->primary, sizeof(c->primary), "pg2");
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    sync_command(w, "pg9", NULL);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    sync_command(w, "w1", NULL);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    sync_command(w, "pg2", "pg2");
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    sync_command(w, "pg2", "pg1");
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    sync_command(w, "pg2", NULL)->quorum = 2;
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    sync_command(w, "pg2", NULL)->primary[0] = '\0';
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    c = sync_command(w, NULL, NULL);
    c->primary[0] = '\0';
    c->quorum = 1;
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    free(w);
}

static void synchronous_mode_can_be_left(void **state)
{
    /* The operator turns it off: anybody may lead. */
    struct world *w = world_with_sync();

    (void)state;
    memset(sync_command(w, NULL, NULL)->primary, 0, NAME_SIZE);
    assert_int_equal(run(w), APPLY_DONE);
    assert_string_equal(newest_entry(w)->result, "sync-off");
    assert_true(w->store.sync.revision == 2 && store_sync_allows(&w->store, "pg3"));
    take_command(w, "pg3");
    assert_int_equal(run(w), APPLY_DONE);
    free(w);
}

static struct command_history_add *history_command(struct world *w, uint32_t timeline)
{
    struct command_history_add *c = COMMAND(w, HISTORY_ADD, history_add);

    c->expect_epoch = w->store.primary.epoch;
    c->timeline = timeline;
    c->lsn = timeline * 100;
    (void)str_copy(c->reason, sizeof(c->reason), "no recovery target specified");
    return c;
}

static void newer_word_on_the_end_of_a_timeline_counts_and_order_is_kept(void **state)
{
    /* 2 and 4 are known; 3 comes late, 4 comes again, then from an owner of another line. */
    struct world *w = world_with_owner();
    const struct store *s = &w->store;

    (void)state;
    history_command(w, 2);
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->changes, CHANGE_HISTORY);
    history_command(w, 4);
    assert_int_equal(run(w), APPLY_DONE);
    history_command(w, 3);
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal((history_command(w, 4), run(w)), APPLY_UNCHANGED);
    history_command(w, 4)->lsn = 1;
    assert_int_equal(run(w), APPLY_DONE);
    assert_true(s->n_history == 3 && s->history[2].lsn == 1);
    history_command(w, 4);
    assert_int_equal(run(w), APPLY_DONE);

    assert_int_equal(s->n_history, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(s->history[i].timeline, i + 2);
        assert_true(s->history[i].lsn == (i + 2) * 100);
    }
    free(w);
}

static void full_history_drops_the_oldest(void **state)
{
    /* HISTORY_MAX even timelines, then one behind, one between, one before. */
    struct world *w = world_with_owner();
    const struct store *s = &w->store;

    (void)state;
    for (uint32_t i = 1; i <= HISTORY_MAX; i++) {
        history_command(w, i * 2);
        assert_int_equal(run(w), APPLY_DONE);
    }
    history_command(w, HISTORY_MAX * 2 + 2);
    assert_int_equal(run(w), APPLY_DONE);
    assert_true(s->n_history == HISTORY_MAX && s->history[0].timeline == 4);
    history_command(w, 7);
    assert_int_equal(run(w), APPLY_DONE);
    assert_true(s->history[0].timeline == 6 && s->history[1].timeline == 7);
    assert_true(s->history[2].timeline == 8);
    history_command(w, 5);
    assert_int_equal(run(w), APPLY_REFUSED_LIMIT);
    free(w);
}

static void history_is_told_by_an_owner_of_the_epoch(void **state)
{
    /* A late epoch, no timeline, no owner. */
    struct world *w = world_with_owner();

    (void)state;
    history_command(w, 2)->expect_epoch = 9;
    assert_int_equal(run(w), APPLY_REFUSED_EPOCH);
    history_command(w, 0);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    release_command(w);
    assert_int_equal(run(w), APPLY_DONE);
    history_command(w, 2);
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    free(w);
}

static struct command_progress_set *progress_command(struct world *w, uint32_t timeline,
                                                     uint64_t lsn)
{
    struct command_progress_set *c = COMMAND(w, PROGRESS_SET, progress_set);

    c->expect_epoch = w->store.primary.epoch;
    c->timeline = timeline;
    c->lsn = lsn;
    return c;
}

static void progress_only_grows_within_its_epoch(void **state)
{
    /* Forward, the same, back, a new timeline; then another epoch that starts
     * lower, as an operator may order it. */
    struct world *w = world_with_owner();

    (void)state;
    progress_command(w, 1, 100);
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->changes, CHANGE_PROGRESS);
    assert_int_equal(run(w), APPLY_UNCHANGED);
    progress_command(w, 1, 99);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    progress_command(w, 2, 50);
    assert_int_equal(run(w), APPLY_DONE);
    progress_command(w, 1, 1000);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    take_command(w, "pg2");
    assert_int_equal(run(w), APPLY_DONE);
    progress_command(w, 1, 90);
    assert_int_equal(run(w), APPLY_DONE);
    assert_true(w->store.progress.lsn == 90 && w->store.progress.epoch == 2);
    free(w);
}

static void progress_is_told_by_an_owner_of_the_epoch(void **state)
{
    /* A late epoch, unknown values, no owner. */
    struct world *w = world_with_owner();

    (void)state;
    progress_command(w, 1, 1)->expect_epoch = 0;
    assert_int_equal(run(w), APPLY_REFUSED_EPOCH);
    progress_command(w, 0, 1);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    progress_command(w, 1, 0);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    release_command(w);
    assert_int_equal(run(w), APPLY_DONE);
    progress_command(w, 1, 1);
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_is_kept_sorted_and_counted),
        cmocka_unit_test(the_same_set_again_voids_what_is_on_its_way),
        cmocka_unit_test(set_decided_on_other_state_is_refused),
        cmocka_unit_test(set_must_make_sense),
        cmocka_unit_test(synchronous_mode_can_be_left),
        cmocka_unit_test(newer_word_on_the_end_of_a_timeline_counts_and_order_is_kept),
        cmocka_unit_test(full_history_drops_the_oldest),
        cmocka_unit_test(history_is_told_by_an_owner_of_the_epoch),
        cmocka_unit_test(progress_only_grows_within_its_epoch),
        cmocka_unit_test(progress_is_told_by_an_owner_of_the_epoch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
