/* Who could be the next primary, and for everybody else the one reason why not. */
#include "base/rng.h"
#include "core/candidate.h"
#include "core/lookup.h"
#include "core/syncset.h"
#include "test_core_util.h"

static struct candidate ranked[MEMBERS_MAX];
static uint32_t n_ranked;

static const struct candidate *best(const struct scene *s, struct candidate_question q)
{
    n_ranked = candidate_rank(&s->view, &q, ranked);
    return candidate_best(ranked, n_ranked);
}

static const char *verdict(const struct scene *s, const char *name)
{
    (void)best(s, (struct candidate_question){.named = NULL});
    return candidate_find(ranked, n_ranked, name)->verdict;
}

static void a_member_ahead_comes_first(void **state)
{
    /* Two standbys on one timeline, pg2 has more. */
    struct scene *s = scene_new();

    (void)state;
    s->view.peers[0].status.flushed = 11 * MB;

    assert_string_equal(best(s, (struct candidate_question){.named = NULL})->name, "pg2");
    assert_int_equal(n_ranked, 3);
    assert_string_equal(verdict(s, "w"), "witness");
    free(s);
}

static void a_newer_timeline_beats_a_larger_position(void **state)
{
    /* pg1 is on timeline 2, pg2 further on timeline 1. */
    struct scene *s = scene_new();

    (void)state;
    s->view.self.status.timeline = 2;
    s->view.peers[0].status.flushed = 10 * MB + 1000;

    assert_string_equal(best(s, (struct candidate_question){.named = NULL})->name, "pg1");
    free(s);
}

static void equals_are_told_apart_by_priority_then_by_name(void **state)
{
    /* The same WAL on both. */
    struct scene *s = scene_new();

    (void)state;
    assert_string_equal(best(s, (struct candidate_question){.named = NULL})->name, "pg1");

    s->view.peers[0].status.failover_priority = 2;
    assert_string_equal(best(s, (struct candidate_question){.named = NULL})->name, "pg2");
    free(s);
}

static void every_refusal_has_its_name(void **state)
{
    /* pg2 with one thing wrong at a time; pg1 is fine. */
    struct scene *s = scene_new();
    struct view_peer *p = &s->view.peers[0];
    const struct status good = p->status;

    (void)state;
    assert_string_equal(verdict(s, "pg2"), "eligible");
    p->received_ms = TEST_NOW - 601;
    assert_string_equal(verdict(s, "pg2"), "not-heard");
    p->received_ms = TEST_NOW;
    p->status.stopping = true;
    assert_string_equal(verdict(s, "pg2"), "stopping");
    p->status = good;
    p->status.n_heard = 1;
    assert_string_equal(verdict(s, "pg2"), "no-majority");
    p->status = good;
    p->status.data = DATA_EMPTY;
    assert_string_equal(verdict(s, "pg2"), "no-data");
    p->status = good;
    p->status.sysid = 8;
    assert_string_equal(verdict(s, "pg2"), "other-database");
    p->status = good;
    p->status.nofailover = true;
    assert_string_equal(verdict(s, "pg2"), "nofailover");
    p->status = good;
    p->status.failover_priority = 0;
    assert_string_equal(verdict(s, "pg2"), "nofailover");
    p->status = good;
    p->status.no_watchdog = true;
    assert_string_equal(verdict(s, "pg2"), "no-watchdog");
    p->status = good;
    p->status.flushed = 0;
    assert_string_equal(verdict(s, "pg2"), "no-position");
    p->status = good;
    p->status.flushed = 8 * MB;
    assert_string_equal(verdict(s, "pg2"), "lag");
    p->status = good;
    p->status.pg_state = PG_STATE_STOPPED;
    assert_string_equal(verdict(s, "pg2"), "not-running");
    free(s);
}

static void a_timeline_that_ended_earlier_refuses(void **state)
{
    /* Timeline 1 ended at 9 MB, both servers are beyond on it. */
    struct scene *s = scene_new();

    (void)state;
    s->store.n_history = 1;
    s->store.history[0] = (struct store_history){.timeline = 1, .lsn = 9 * MB};
    assert_string_equal(verdict(s, "pg2"), "diverged");

    s->view.peers[0].status.flushed = 9 * MB;
    s->view.conf.check_timeline = true;
    assert_string_equal(verdict(s, "pg2"), "timeline");
    free(s);
}

/* pg3, which was never heard, declared timeline 3, from 1 at 10 MB. */
static struct scene *scene_with_line(int64_t lag_bound)
{
    struct scene *s = scene_new();

    s->view.conf.maximum_lag_on_failover = lag_bound;
    s->store.line = (struct store_line){
        .epoch = 1, .owner_id = 777, .owner = "pg3", .timeline = 3, .parent = 1, .lsn = 10 * MB};
    return s;
}

static void a_timeline_that_may_have_been_begun_refuses_what_is_before_it(void **state)
{
    struct scene *s = scene_with_line(MB);
    const struct candidate *c;

    (void)state;
    assert_string_equal(verdict(s, "pg2"), "lag");
    c = candidate_find(ranked, n_ranked, "pg2");
    assert_string_equal(c->evidence,
                        "timeline 3 of pg3 was begun or may have been; its end is unknown");
    c = best(s, (struct candidate_question){.named = "pg2", .order = true});
    assert_non_null(c);
    assert_true(c->forced);

    s->view.peers[0].status.timeline = 3; /* On it, and so its reach is known. */
    assert_string_equal(verdict(s, "pg2"), "eligible");
    assert_string_equal(verdict(s, "pg1"), "eligible");
    s->view.peers[0].status.flushed = 12 * MB;
    assert_string_equal(verdict(s, "pg1"), "lag");
    free(s);
}

static void without_a_bound_only_what_is_of_the_line_is_eligible(void **state)
{
    struct scene *s = scene_with_line(-1);

    (void)state;
    assert_string_equal(verdict(s, "pg2"), "eligible");
    s->view.peers[0].status.flushed = 10 * MB + 1; /* Further than the fork. */
    assert_string_equal(verdict(s, "pg2"), "diverged");
    s->view.peers[0].status.timeline = 2; /* Left out. */
    assert_string_equal(verdict(s, "pg2"), "diverged");
    s->view.peers[0].status.timeline = 4; /* Nobody declared it. */
    assert_string_equal(verdict(s, "pg2"), "diverged");

    s->store.line.parent = 2; /* And where 1 ended is not known. */
    s->view.peers[0].status.timeline = 1;
    assert_string_equal(verdict(s, "pg2"), "lag");
    free(s);
}

static void a_line_that_was_never_begun_does_not_count(void **state)
{
    /* pg1 declared it, is heard, and still on timeline 1. */
    struct scene *s = scene_with_line(MB);

    (void)state;
    s->store.line.owner_id = PG1;
    s->store.line.lsn = MB;
    assert_string_equal(verdict(s, "pg2"), "eligible");
    s->view.self.status.timeline = 3;
    s->view.self.status.flushed = 20 * MB;
    assert_string_equal(verdict(s, "pg2"), "diverged");
    free(s);
}

static void the_synchronous_set_decides(void **state)
{
    /* The last primary pg3 had pg2 as its only synchronous standby. */
    struct scene *s = scene_new();

    (void)state;
    (void)str_copy(s->store.sync.primary, NAME_SIZE, "pg3");
    (void)str_copy(s->store.sync.names[0], NAME_SIZE, "pg2");
    s->store.sync.n_names = 1;
    s->store.sync.revision = 1;

    assert_string_equal(verdict(s, "pg1"), "sync");
    assert_string_equal(verdict(s, "pg2"), "eligible");
    free(s);
}

static void a_confirmed_synchronous_standby_is_exempt_from_the_bound(void **state)
{
    /* pg2 is in the set and 3 MB behind what the store remembers; bound 0. */
    struct scene *s = scene_new();

    (void)state;
    s->store.progress = (struct store_progress){13 * MB, 1, 1, 0};
    s->view.conf.maximum_lag_on_failover = 0;
    assert_string_equal(verdict(s, "pg2"), "lag");

    (void)str_copy(s->store.sync.primary, NAME_SIZE, "pg1");
    (void)str_copy(s->store.sync.names[0], NAME_SIZE, "pg2");
    s->store.sync.n_names = 1;
    assert_string_equal(verdict(s, "pg2"), "eligible");
    assert_string_equal(verdict(s, "pg1"), "eligible"); /* It was the primary. */
    free(s);
}

static void what_a_member_told_before_its_restart_counts(void **state)
{
    /* pg2 was at 14 MB; its agent began anew and has not looked at its data yet, or
     * finds less in pg_control. */
    struct scene *s = scene_new();
    struct view_peer *pg2 = &s->view.peers[0];

    (void)state;
    s->view.conf.maximum_lag_on_failover = (int64_t)MB;
    pg2->status.flushed = 14 * MB;
    lookup_note_reach(&s->store, pg2);
    assert_string_equal(verdict(s, "pg1"), "lag");

    pg2->status.data = DATA_UNKNOWN;
    pg2->status.sysid = 0;
    pg2->status.timeline = 0;
    pg2->status.flushed = 0;
    lookup_note_reach(&s->store, pg2);
    assert_string_equal(verdict(s, "pg1"), "lag");
    pg2->status.data = DATA_VALID;
    pg2->status.sysid = s->store.cluster.sysid;
    pg2->status.timeline = 1;
    pg2->status.flushed = 9 * MB;
    lookup_note_reach(&s->store, pg2);
    assert_string_equal(verdict(s, "pg1"), "lag");
    free(s);
}

static void a_stopped_server_is_better_than_none(void **state)
{
    /* Both stopped after the whole cluster went down. */
    struct scene *s = scene_new();

    (void)state;
    s->view.self.status.pg_state = PG_STATE_STOPPED;
    s->view.peers[0].status.pg_state = PG_STATE_STOPPED;
    s->view.peers[0].status.flushed = 11 * MB;

    assert_string_equal(best(s, (struct candidate_question){.named = NULL})->name, "pg2");
    assert_null(best(s, (struct candidate_question){.running_only = true}));
    free(s);
}

static void a_server_that_hangs_is_better_than_none(void **state)
{
    /* pg2 has more, and says that its PostgreSQL does not answer; then pg1 says so, too. */
    struct scene *s = scene_new();
    struct status *pg2 = &s->view.peers[0].status;

    (void)state;
    pg2->flushed = 11 * MB;
    s->view.self.started_ms = 0;
    pg2->pg_state = PG_STATE_UNKNOWN; /* lookup_tell() there. */
    assert_string_equal(best(s, (struct candidate_question){.named = NULL})->name, "pg1");
    assert_null(best(s, (struct candidate_question){.running_only = true, .named = "pg2"}));
    s->view.pg.seen_ms = TEST_NOW - 10001;
    assert_string_equal(best(s, (struct candidate_question){.named = NULL})->name, "pg2");
    free(s);
}

static void who_chooses_is_not_better_for_what_it_knows_of_itself(void **state)
{
    /* pg1's own PostgreSQL does not answer, of which its own status says nothing. */
    struct scene *s = scene_new();
    struct status *pg2 = &s->view.peers[0].status;

    (void)state;
    s->view.self.started_ms = 0;
    s->view.self.status.flushed = 11 * MB;
    s->view.pg.seen_ms = TEST_NOW - 10000;
    assert_string_equal(best(s, (struct candidate_question){.named = NULL})->name, "pg1");
    s->view.pg.seen_ms--;
    assert_string_equal(best(s, (struct candidate_question){.named = NULL})->name, "pg2");
    assert_string_equal(verdict(s, "pg1"), "not-running");
    assert_null(best(s, (struct candidate_question){.running_only = true, .named = "pg1"}));
    pg2->pg_state = PG_STATE_UNKNOWN; /* Nobody answers: who has most, as ever. */
    assert_string_equal(best(s, (struct candidate_question){.named = NULL})->name, "pg1");
    s->view.self.status.pg_role = PG_ROLE_PRIMARY; /* Of that one the lease tells. */
    assert_string_equal(best(s, (struct candidate_question){.running_only = true})->name, "pg1");
    free(s);
}

static void what_others_are_told_of_a_server_that_hangs(void **state)
{
    /* For 10 s it may only be slow, and so it may while the agent is new; a primary is what its
     * lease says; what does not run is not looked at; a witness has no server. */
    struct scene *s = scene_new();
    struct status told = s->view.self.status;

    (void)state;
    s->view.self.started_ms = 0;
    s->view.pg.seen_ms = TEST_NOW;
    lookup_tell(&s->view, TEST_NOW + 10000, &told);
    assert_int_equal(told.pg_state, PG_STATE_RUNNING);
    s->view.self.started_ms = TEST_NOW + 1;
    lookup_tell(&s->view, TEST_NOW + 10001, &told);
    assert_int_equal(told.pg_state, PG_STATE_RUNNING);
    s->view.self.started_ms = 0;
    told.pg_role = PG_ROLE_PRIMARY;
    lookup_tell(&s->view, TEST_NOW + 10001, &told);
    assert_int_equal(told.pg_state, PG_STATE_RUNNING);
    told.pg_role = PG_ROLE_STANDBY;
    told.pg_state = PG_STATE_STOPPED;
    lookup_tell(&s->view, TEST_NOW + 10001, &told);
    assert_int_equal(told.pg_state, PG_STATE_STOPPED);
    told.pg_state = PG_STATE_RUNNING;
    s->view.self.status.mode = MODE_WITNESS;
    assert_true(lookup_answers(&s->view, TEST_NOW + 10001));
    s->view.self.status.mode = MODE_POSTGRES;
    lookup_tell(&s->view, TEST_NOW + 10001, &told);
    assert_int_equal(told.pg_state, PG_STATE_UNKNOWN);
    free(s);
}

static void nobody_is_better_than_a_member_that_is_stopping(void **state)
{
    /* It would release the epoch at once, also one that an operator orders for it. */
    struct scene *s = scene_new();

    (void)state;
    s->view.self.status.stopping = true;
    s->view.peers[0].received_ms = 0;
    assert_null(best(s, (struct candidate_question){.named = NULL}));
    assert_string_equal(candidate_find(ranked, n_ranked, "pg1")->verdict, "stopping");
    assert_string_equal(candidate_find(ranked, n_ranked, "pg1")->evidence,
                        "its agent is stopping");
    assert_null(best(s, (struct candidate_question){.named = "pg1", .order = true}));
    free(s);
}

static void who_gave_up_comes_only_when_nobody_else_does(void **state)
{
    /* pg1 has just released for want of a lease. */
    struct scene *s = scene_new();

    (void)state;
    scene_take(s, PG1, 101);
    scene_release(s, "no-lease", "pg1");
    assert_string_equal(verdict(s, "pg1"), "just-released");

    s->view.peers[0].received_ms = 0;
    assert_string_equal(verdict(s, "pg1"), "eligible");
    free(s);
}

static void an_order_by_name_passes_lag_and_sync_and_says_so(void **state)
{
    /* pg2 misses 5 MB; an operator names it. */
    struct scene *s = scene_new();
    struct candidate_question q = {.named = "pg2", .order = true};

    (void)state;
    s->view.peers[0].status.flushed = 5 * MB;
    assert_true(best(s, q)->forced);
    assert_string_equal(verdict(s, "pg2"), "lag");

    s->view.peers[0].status.nofailover = true;
    assert_null(best(s, q));
    free(s);
}

static void what_the_primary_wrote_is_unknown_without_any_trace(void **state)
{
    /* pg3 owned the epoch; this node never heard it, the store knows no position. */
    struct scene *s = scene_new();
    struct lag lag;

    (void)state;
    s->store.primary.epoch = 3;
    s->store.primary.owner_id = PG3;
    candidate_lag(&s->view, "pg2", 1, 10 * MB, &lag);
    assert_true(lag.exceeded && !lag.known);

    s->view.conf.maximum_lag_on_failover = -1;
    candidate_lag(&s->view, "pg2", 1, 10 * MB, &lag);
    assert_false(lag.exceeded);
    free(s);
}

/* ---- Random views -------------------------------------------------------- */

static uint32_t upto(struct rng *r, uint32_t max)
{
    return (uint32_t)rng_between(r, 0, max);
}

static void shake_candidate(struct rng *r, struct status *s)
{
    s->pg_state = upto(r, 2) ? PG_STATE_RUNNING : PG_STATE_STOPPED;
    s->data = upto(r, 5) ? DATA_VALID : DATA_INCOMPLETE;
    s->sysid = upto(r, 9) ? 7 : 8;
    s->timeline = 1 + upto(r, 2);
    s->flushed = upto(r, 8) * MB / 2 + 6 * MB;
    s->nofailover = upto(r, 6) == 0;
    s->failover_priority = upto(r, 2);
    s->n_heard = upto(r, 4) ? 3 : 1;
    s->stopping = upto(r, 7) == 0;
}

static struct scene *random_scene(struct rng *r)
{
    struct scene *s = scene_new();

    scene_add_member(s, PG3, MODE_POSTGRES);
    s->view.n_peers = 3;
    s->view.peers[2] = (struct view_peer){.status = status_make(PG3, MODE_POSTGRES)};
    shake_candidate(r, &s->view.self.status);
    for (uint32_t i = 0; i < 3; i++) {
        s->view.peers[i].received_ms = TEST_NOW - upto(r, 800);
        if (s->view.peers[i].status.mode == MODE_POSTGRES) {
            shake_candidate(r, &s->view.peers[i].status);
        }
    }
    if (upto(r, 1)) {
        scene_take(s, PG1, 101);
        if (upto(r, 1)) {
            scene_release(s, "lag-bound", "pg1");
        }
    }
    if (upto(r, 1)) {
        s->store.n_history = 1;
        s->store.history[0] = (struct store_history){.timeline = 1, .lsn = 8 * MB};
    }
    if (upto(r, 2) == 0) {
        (void)str_copy(s->store.sync.primary, NAME_SIZE, "pg1");
        (void)str_copy(s->store.sync.names[0], NAME_SIZE, "pg2");
        s->store.sync.n_names = upto(r, 1);
    }
    s->store.progress = (struct store_progress){6 * MB + upto(r, 4) * MB, 1 + upto(r, 1), 0, 0};
    s->view.conf.maximum_lag_on_failover = (int64_t)upto(r, 2) * (int64_t)MB;
    s->view.conf.check_timeline = upto(r, 1);
    return s;
}

/* S4, from first principles rather than from the table. */
static void check_eligible(const struct scene *s, const struct candidate *c)
{
    const struct store_member *m = store_find_member(&s->store, c->name);
    const struct status *st = lookup_status(&s->view, m->id);
    lsn_t end = lookup_timeline_end(&s->store, st->timeline);

    assert_int_equal(st->mode, MODE_POSTGRES);
    assert_int_equal(st->data, DATA_VALID);
    assert_false(st->stopping);
    assert_true(st->sysid == 7);
    assert_false(st->nofailover || st->failover_priority == 0);
    assert_true(st->n_heard >= 2);
    assert_true(end == 0 || st->flushed <= end);
    if (c->forced) {
        return;
    }
    assert_true(store_sync_allows(&s->store, c->name));
    for (uint32_t i = 0; i < s->view.n_peers; i++) {
        const struct status *o = &s->view.peers[i].status;
        bool counts = o->mode == MODE_POSTGRES && o->sysid == 7 && o->timeline >= st->timeline;

        if (counts && !syncset_confirms(&s->store, c->name)) {
            assert_true(o->flushed <= st->flushed + (uint64_t)s->view.conf.maximum_lag_on_failover);
        }
    }
}

static void check_order(const struct scene *s, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        const struct candidate *a = &ranked[i - 1];
        const struct candidate *b = &ranked[i];
        const struct status *sa =
            lookup_status(&s->view, store_find_member(&s->store, a->name)->id);
        const struct status *sb =
            lookup_status(&s->view, store_find_member(&s->store, b->name)->id);

        assert_true(a->eligible || !b->eligible);
        if (!b->eligible || sa->pg_state != sb->pg_state) {
            continue;
        }
        assert_true(a->timeline > b->timeline ||
                    (a->timeline == b->timeline && a->flushed >= b->flushed));
    }
}

static void nobody_is_eligible_against_the_rules(void **state)
{
    /* Four members, everything about them shaken; one in three times by order. */
    struct rng r;
    uint32_t n_eligible = 0, n_forced = 0;

    (void)state;
    rng_seed(&r, 2);
    for (int i = 0; i < 20000; i++) {
        struct scene *s = random_scene(&r);
        struct candidate_question q = {.named = NULL};

        if (i % 3 == 0) {
            q = (struct candidate_question){.named = "pg2", .order = true};
        }
        (void)best(s, q);
        assert_int_equal(n_ranked, 4);
        check_order(s, n_ranked);
        for (uint32_t k = 0; k < n_ranked; k++) {
            assert_non_null(ranked[k].verdict);
            assert_true(ranked[k].eligible == str_equal(ranked[k].verdict, "eligible"));
            if (ranked[k].eligible) {
                check_eligible(s, &ranked[k]);
                n_eligible++;
                n_forced += ranked[k].forced ? 1u : 0u;
            }
        }
        free(s);
    }
    assert_true(n_eligible > 1000 && n_forced > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_ahead_comes_first),
        cmocka_unit_test(a_newer_timeline_beats_a_larger_position),
        cmocka_unit_test(what_a_member_told_before_its_restart_counts),
        cmocka_unit_test(equals_are_told_apart_by_priority_then_by_name),
        cmocka_unit_test(every_refusal_has_its_name),
        cmocka_unit_test(a_timeline_that_ended_earlier_refuses),
        cmocka_unit_test(a_timeline_that_may_have_been_begun_refuses_what_is_before_it),
        cmocka_unit_test(without_a_bound_only_what_is_of_the_line_is_eligible),
        cmocka_unit_test(a_line_that_was_never_begun_does_not_count),
        cmocka_unit_test(the_synchronous_set_decides),
        cmocka_unit_test(a_confirmed_synchronous_standby_is_exempt_from_the_bound),
        cmocka_unit_test(a_stopped_server_is_better_than_none),
        cmocka_unit_test(a_server_that_hangs_is_better_than_none),
        cmocka_unit_test(who_chooses_is_not_better_for_what_it_knows_of_itself),
        cmocka_unit_test(what_others_are_told_of_a_server_that_hangs),
        cmocka_unit_test(nobody_is_better_than_a_member_that_is_stopping),
        cmocka_unit_test(who_gave_up_comes_only_when_nobody_else_does),
        cmocka_unit_test(an_order_by_name_passes_lag_and_sync_and_says_so),
        cmocka_unit_test(what_the_primary_wrote_is_unknown_without_any_trace),
        cmocka_unit_test(nobody_is_eligible_against_the_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
