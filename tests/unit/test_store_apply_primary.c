/*
 * Epochs: what makes one, what ends one, and every reason to refuse.
 */
#include "test_store_util.h"

static void epoch_is_taken_with_its_reason_on_record(void **state)
{
    /* A released database; the arbiter gives it to pg2. */
    struct world *w = world_with_database();
    const struct store_primary *p = &w->store.primary;

    (void)state;
    take_command(w, "pg2");
    assert_int_equal(run(w), APPLY_DONE);

    assert_int_equal(w->changes, CHANGE_PRIMARY | CHANGE_LEDGER);
    assert_true(p->has_owner && p->epoch == 1 && p->owner_id == 2 && p->instance == 77);
    assert_string_equal(p->owner, "pg2");
    assert_string_equal(p->reason, "take-over: nobody holds a promise");
    assert_true(p->since_us == 1000 && !p->held && p->barren == 0);
    assert_true(newest_entry(w)->index == w->index && newest_entry(w)->epoch == 1);
    assert_true(newest_entry(w)->time_us == 1000 && newest_entry(w)->last_us == 1000);
    assert_true(newest_entry(w)->count == 1 && !newest_entry(w)->note);
    assert_string_equal(newest_entry(w)->node, "pg3");
    assert_string_equal(newest_entry(w)->rule, "take-over");
    assert_string_equal(newest_entry(w)->subject, "pg2");
    assert_string_equal(newest_entry(w)->result, "epoch-taken");
    free(w);
}

static void take_decided_on_another_epoch_is_refused(void **state)
{
    /* The same proposal arrives twice, one is from the future. */
    struct world *w = world_with_database();

    (void)state;
    take_command(w, "pg1");
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(run(w), APPLY_REFUSED_EPOCH);
    take_command(w, "pg1")->expect_epoch = 2;
    assert_int_equal(run(w), APPLY_REFUSED_EPOCH);
    free(w);
}

static void take_decided_on_another_sync_state_is_refused_even_if_forced(void **state)
{
    /* The primary relaxed its set while the arbiter decided. */
    struct world *w = world_with_sync();
    struct command_epoch_take *c = take_command(w, "pg2");

    (void)state;
    c->expect_sync_revision--;
    assert_int_equal(run(w), APPLY_REFUSED_SYNC);
    c->forced = true;
    assert_int_equal(run(w), APPLY_REFUSED_SYNC);
    free(w);
}

static void unfenced_epoch_has_no_next_one(void **state)
{
    /* Paused with the guard disarmed: nobody can fence the primary. */
    struct world *w = world_with_owner();
    struct command_epoch_unfenced *c = COMMAND(w, EPOCH_UNFENCED, epoch_unfenced);

    (void)state;
    c->expect_epoch = 1;
    c->unfenced = true;
    assert_int_equal(run(w), APPLY_DONE);
    take_command(w, "pg2");
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    take_command(w, "pg2")->forced = true;
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    free(w);
}

static void owner_must_be_a_listed_postgres_of_that_id(void **state)
{
    /* An unknown name, a witness, an old id, no instance. */
    struct world *w = world_with_database();

    (void)state;
    take_command(w, "pg9");
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    take_command(w, "w1");
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    take_command(w, "pg1")->owner_id = 8;
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    take_command(w, "pg1")->instance = 0;
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    take_command(w, "")->owner_id = 0;
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    free(w);
}

static void only_the_synchronous_set_may_lead(void **state)
{
    /* pg2 holds every commit of pg1, pg3 does not (S2). */
    struct world *w = world_with_sync();

    (void)state;
    take_command(w, "pg3");
    assert_int_equal(run(w), APPLY_REFUSED_SYNC);
    take_command(w, "pg2");
    assert_int_equal(run(w), APPLY_DONE);
    take_command(w, "pg1");
    assert_int_equal(run(w), APPLY_DONE);
    take_command(w, "pg3");
    assert_int_equal(run(w), APPLY_REFUSED_SYNC);
    free(w);
}

static void only_its_primary_may_lead_after_degrading(void **state)
{
    /* pg1 went on alone: the set is empty. */
    struct world *w = world_with_sync();

    (void)state;
    sync_command(w, NULL, NULL);
    assert_int_equal(run(w), APPLY_DONE);
    assert_string_equal(newest_entry(w)->result, "sync-degraded");
    take_command(w, "pg2");
    assert_int_equal(run(w), APPLY_REFUSED_SYNC);
    take_command(w, "pg1");
    assert_int_equal(run(w), APPLY_DONE);
    free(w);
}

static void operator_overrules_the_sync_state_on_record(void **state)
{
    /* failover to pg3 by name; the sync state stays the truth about commits. */
    struct world *w = world_with_sync();

    (void)state;
    take_command(w, "pg3")->forced = true;
    assert_int_equal(run(w), APPLY_DONE);
    assert_string_equal(newest_entry(w)->result, "epoch-overruled-sync");
    assert_string_equal(w->store.sync.primary, "pg1");
    take_command(w, "pg2")->forced = true;
    assert_int_equal(run(w), APPLY_DONE);
    assert_string_equal(newest_entry(w)->result, "epoch-forced");
    free(w);
}

static void database_is_initialised_once(void **state)
{
    /* An empty cluster: pg1 makes the database. */
    struct world *w = world_with_members();
    struct command_cluster_init *c;

    (void)state;
    take_command(w, "pg1");
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    take_command(w, "pg1")->initialize = true;
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->changes, CHANGE_PRIMARY | CHANGE_CLUSTER | CHANGE_LEDGER);
    assert_int_equal(w->store.cluster.init, INIT_RUNNING);
    take_command(w, "pg2");
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    c = COMMAND(w, CLUSTER_INIT, cluster_init);
    c->expect_epoch = 1;
    c->sysid = 5;
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->store.cluster.init, INIT_DONE);
    take_command(w, "pg2")->initialize = true;
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    free(w);
}

static void vanished_initialiser_is_replaced_by_another(void **state)
{
    /* pg1 dies during initdb; pg2 starts afresh. */
    struct world *w = world_with_members();

    (void)state;
    take_command(w, "pg1")->initialize = true;
    assert_int_equal(run(w), APPLY_DONE);
    take_command(w, "pg2")->initialize = true;
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->store.cluster.init, INIT_RUNNING);
    assert_int_equal(w->store.primary.epoch, 2);
    free(w);
}

static void failed_initialiser_gives_up_by_releasing(void **state)
{
    /* initdb failed on pg1. */
    struct world *w = world_with_members();

    (void)state;
    take_command(w, "pg1")->initialize = true;
    assert_int_equal(run(w), APPLY_DONE);
    release_command(w);
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->store.cluster.init, INIT_NONE);
    assert_int_equal(w->changes, CHANGE_PRIMARY | CHANGE_CLUSTER | CHANGE_LEDGER);
    free(w);
}

static void release_keeps_the_epoch_and_says_where_it_ended(void **state)
{
    /* A switchover from pg1 to pg2. */
    struct world *w = world_with_owner();
    struct command_epoch_release *c = release_command(w);
    const struct store_primary *p = &w->store.primary;

    (void)state;
    c->lsn = 0x3000028;
    c->timeline = 4;
    c->time_us = 2000;
    (void)str_copy(c->successor, sizeof(c->successor), "pg2");
    assert_int_equal(run(w), APPLY_DONE);

    assert_int_equal(w->changes, CHANGE_PRIMARY | CHANGE_LEDGER | CHANGE_PROGRESS);
    assert_true(!p->has_owner && p->epoch == 1 && p->owner_id == 1 && p->instance == 77);
    assert_true(p->released_lsn == 0x3000028 && p->released_timeline == 4);
    assert_string_equal(p->owner, "pg1");
    assert_string_equal(p->successor, "pg2");
    assert_true(w->store.progress.lsn == 0x3000028 && w->store.progress.epoch == 1);
    assert_string_equal(newest_entry(w)->result, "epoch-released");
    assert_int_equal(run(w), APPLY_UNCHANGED);
    take_command(w, "pg3");
    assert_int_equal(run(w), APPLY_DONE);
    assert_true(p->released_lsn == 0 && p->successor[0] == '\0' && p->epoch == 2);
    free(w);
}

static void release_of_another_epoch_is_refused(void **state)
{
    /* None was taken yet; then a deposed owner comes late. */
    struct world *w = world_with_database();

    (void)state;
    release_command(w);
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    take_command(w, "pg1");
    assert_int_equal(run(w), APPLY_DONE);
    take_command(w, "pg2");
    assert_int_equal(run(w), APPLY_DONE);
    release_command(w)->expect_epoch = 1;
    assert_int_equal(run(w), APPLY_REFUSED_EPOCH);
    free(w);
}

static void release_ends_the_unfenced_mark(void **state)
{
    /* Paused, then stopped by hand: nothing is left to fence. */
    struct world *w = world_with_owner();
    struct command_epoch_unfenced *c = COMMAND(w, EPOCH_UNFENCED, epoch_unfenced);

    (void)state;
    c->expect_epoch = 1;
    c->unfenced = true;
    assert_int_equal(run(w), APPLY_DONE);
    release_command(w);
    assert_int_equal(run(w), APPLY_DONE);
    take_command(w, "pg2");
    assert_int_equal(run(w), APPLY_DONE);
    free(w);
}

static void unfenced_is_for_the_present_owner_and_recorded(void **state)
{
    /* Pause, the same again, resume; a late one; one without an owner. */
    struct world *w = world_with_owner();
    struct command_epoch_unfenced *c = COMMAND(w, EPOCH_UNFENCED, epoch_unfenced);

    (void)state;
    c->unfenced = true;
    assert_int_equal(run(w), APPLY_REFUSED_EPOCH);
    c->expect_epoch = 1;
    assert_int_equal(run(w), APPLY_DONE);
    assert_string_equal(newest_entry(w)->result, "unfenced");
    assert_string_equal(newest_entry(w)->rule, "unfenced");
    assert_int_equal(run(w), APPLY_UNCHANGED);
    c->unfenced = false;
    assert_int_equal(run(w), APPLY_DONE);
    assert_string_equal(newest_entry(w)->result, "mark-taken-back");
    release_command(w);
    assert_int_equal(run(w), APPLY_DONE);
    c = COMMAND(w, EPOCH_UNFENCED, epoch_unfenced);
    c->expect_epoch = 1;
    c->unfenced = true;
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    free(w);
}

static void held_is_said_once_by_the_owner(void **state)
{
    /* The lease was held; said twice; said too late; said after the release. */
    struct world *w = world_with_owner();
    struct command_epoch_held *c = COMMAND(w, EPOCH_HELD, epoch_held);

    (void)state;
    c->expect_epoch = 1;
    assert_int_equal(run(w), APPLY_DONE);
    assert_true(w->store.primary.held && w->changes == CHANGE_PRIMARY);
    assert_int_equal(run(w), APPLY_UNCHANGED);
    c->expect_epoch = 0;
    assert_int_equal(run(w), APPLY_REFUSED_EPOCH);
    release_command(w);
    assert_int_equal(run(w), APPLY_DONE);
    COMMAND(w, EPOCH_HELD, epoch_held)->expect_epoch = 1;
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    free(w);
}

static void barren_counts_epochs_in_a_row_that_never_held(void **state)
{
    /* Three owners fail to get their lease, the fourth gets it, the fifth not. */
    struct world *w = world_with_database();

    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        take_command(w, i % 2 == 0 ? "pg1" : "pg2");
        assert_int_equal(run(w), APPLY_DONE);
        assert_int_equal(w->store.primary.barren, i);
    }
    COMMAND(w, EPOCH_HELD, epoch_held)->expect_epoch = 4;
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->store.primary.barren, 0);
    take_command(w, "pg1");
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->store.primary.barren, 0);
    release_command(w);
    assert_int_equal(run(w), APPLY_DONE);
    take_command(w, "pg1");
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->store.primary.barren, 1);
    free(w);
}

static void long_reason_is_cut(void **state)
{
    /* Evidence that fills its field. */
    struct world *w = world_with_database();
    struct command_epoch_take *c = take_command(w, "pg1");

    (void)state;
    memset(c->evidence, 'x', sizeof(c->evidence) - 1);
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(strlen(w->store.primary.reason), TEXT_SIZE - 1);
    assert_int_equal(strlen(newest_entry(w)->evidence), TEXT_SIZE - 1);
    free(w);
}

static struct command_line_set *line_command(struct world *w, uint32_t timeline)
{
    struct command_line_set *c = COMMAND(w, LINE_SET, line_set);

    c->expect_epoch = w->store.primary.epoch;
    c->timeline = timeline;
    c->parent = 1;
    c->lsn = 500;
    (void)str_copy(c->rule, sizeof(c->rule), "declare-timeline");
    return c;
}

static void line_is_declared_by_the_owner_and_on_record(void **state)
{
    /* 1 leads to 3. The position moves before the promotion; the same comes twice. */
    struct world *w = world_with_owner();
    const struct store_line *l = &w->store.line;

    (void)state;
    line_command(w, 3);
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->changes, CHANGE_LINE | CHANGE_LEDGER);
    assert_true(l->epoch == w->store.primary.epoch && l->owner_id == w->store.primary.owner_id);
    assert_string_equal(l->owner, w->store.primary.owner);
    assert_true(l->timeline == 3 && l->parent == 1 && l->lsn == 500);
    assert_string_equal(newest_entry(w)->result, "line-declared");
    assert_int_equal(run(w), APPLY_UNCHANGED);
    line_command(w, 3)->lsn = 600;
    assert_int_equal(run(w), APPLY_DONE);
    assert_true(l->lsn == 600);
    free(w);
}

static void line_of_nobody_or_of_another_epoch_is_refused(void **state)
{
    struct world *w = world_with_owner();

    (void)state;
    line_command(w, 2)->expect_epoch++;
    assert_int_equal(run(w), APPLY_REFUSED_EPOCH);
    release_command(w);
    assert_int_equal(run(w), APPLY_DONE);
    line_command(w, 2);
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    free(w);
}

static void line_that_makes_no_sense_is_refused(void **state)
{
    struct world *w = world_with_owner();

    (void)state;
    line_command(w, 0);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    line_command(w, 1); /* Its own parent. */
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    line_command(w, 2)->lsn = 0;
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    line_command(w, 2)->parent = 0;
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    free(w);
}

static void number_of_a_timeline_is_never_used_twice(void **state)
{
    /* Timeline 3 was declared in the epoch before, maybe never begun. 5 has ended. */
    struct world *w = world_with_owner();
    char owner[NAME_SIZE];

    (void)state;
    (void)str_copy(owner, sizeof(owner), w->store.primary.owner);
    line_command(w, 3);
    assert_int_equal(run(w), APPLY_DONE);
    take_command(w, owner);
    assert_int_equal(run(w), APPLY_DONE);
    line_command(w, 3);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    line_command(w, 2);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    COMMAND(w, HISTORY_ADD, history_add)->expect_epoch = w->store.primary.epoch;
    w->c.history_add.timeline = 5;
    w->c.history_add.lsn = 700;
    assert_int_equal(run(w), APPLY_DONE);
    line_command(w, 5);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    line_command(w, 6);
    assert_int_equal(run(w), APPLY_DONE);
    line_command(w, 4); /* Not even by the same owner. */
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    free(w);
}

static void line_found_with_the_database_is_there_to_be_taken(void **state)
{
    /* A database on timeline 7 is taken over; its first owner runs it. */
    struct world *w = world_with_members();
    struct command_cluster_init *c = COMMAND(w, CLUSTER_INIT, cluster_init);

    (void)state;
    c->sysid = 42;
    c->timeline = 7;
    assert_int_equal(run(w), APPLY_DONE);
    assert_true(w->store.line.timeline == 7 && w->store.line.owner_id == 0);
    take_command(w, "pg1");
    assert_int_equal(run(w), APPLY_DONE);
    line_command(w, 7)->parent = 0;
    w->c.line_set.lsn = 0;
    assert_int_equal(run(w), APPLY_DONE);
    assert_true(w->store.line.owner_id == w->store.primary.owner_id);
    free(w);
}

static void line_needs_a_database(void **state)
{
    struct world *w = world_with_members();

    (void)state;
    take_command(w, "pg1")->initialize = true;
    assert_int_equal(run(w), APPLY_DONE);
    line_command(w, 2);
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epoch_is_taken_with_its_reason_on_record),
        cmocka_unit_test(take_decided_on_another_epoch_is_refused),
        cmocka_unit_test(take_decided_on_another_sync_state_is_refused_even_if_forced),
        cmocka_unit_test(unfenced_epoch_has_no_next_one),
        cmocka_unit_test(owner_must_be_a_listed_postgres_of_that_id),
        cmocka_unit_test(only_the_synchronous_set_may_lead),
        cmocka_unit_test(only_its_primary_may_lead_after_degrading),
        cmocka_unit_test(operator_overrules_the_sync_state_on_record),
        cmocka_unit_test(database_is_initialised_once),
        cmocka_unit_test(vanished_initialiser_is_replaced_by_another),
        cmocka_unit_test(failed_initialiser_gives_up_by_releasing),
        cmocka_unit_test(release_keeps_the_epoch_and_says_where_it_ended),
        cmocka_unit_test(release_of_another_epoch_is_refused),
        cmocka_unit_test(release_ends_the_unfenced_mark),
        cmocka_unit_test(unfenced_is_for_the_present_owner_and_recorded),
        cmocka_unit_test(held_is_said_once_by_the_owner),
        cmocka_unit_test(barren_counts_epochs_in_a_row_that_never_held),
        cmocka_unit_test(long_reason_is_cut),
        cmocka_unit_test(line_is_declared_by_the_owner_and_on_record),
        cmocka_unit_test(line_of_nobody_or_of_another_epoch_is_refused),
        cmocka_unit_test(line_that_makes_no_sense_is_refused),
        cmocka_unit_test(number_of_a_timeline_is_never_used_twice),
        cmocka_unit_test(line_found_with_the_database_is_there_to_be_taken),
        cmocka_unit_test(line_needs_a_database),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
