/*
 * Slots: which are wanted, and what becomes of each. The rules are walked with every set of
 * facts there is; the table below it says with whole slots what an operator would expect.
 */
#include "core/slots.h"
#include "test_core_util.h"

#define F(name) (1U << SLOT_FACT_##name##_BIT)
#define GB      (1024 * MB)

/* ---- The rules ---- */

static bool has(unsigned facts, unsigned all)
{
    return (facts & all) == all;
}

static void check_world(unsigned facts)
{
    struct slot_decision d;
    bool drops;

    slot_decide_facts(facts, &d);
    drops = d.action == SLOT_DROP || d.action == SLOT_REMAKE;
    if (has(facts, F(EXISTS) | F(ACTIVE))) {
        assert_int_equal(d.action, SLOT_KEEP); /* What is used is never touched. */
    }
    if (drops) {
        assert_true(has(facts, F(EXISTS)));
        assert_false(has(facts, F(PAUSED)));
        assert_true(facts & (F(WANTED) | F(KNOWN))); /* What nobody knows is never dropped. */
        assert_false(has(facts, F(WANTED) | F(OTHER)));
        assert_false(has(facts, F(STANDBY) | F(SYNCED)));
        assert_true(facts & (F(BROKEN) | F(LOGICAL)) || !(facts & F(WANTED)));
        assert_true(facts & F(WANTED) || !(facts & F(IGNORED)));
    }
    if (d.action == SLOT_CREATE) {
        assert_true(has(facts, F(WANTED)) && !(facts & F(EXISTS)));
        assert_false(has(facts, F(LOGICAL) | F(STANDBY)));
        assert_true(!(facts & F(STANDBY)) || facts & F(TOLD));
    }
    if (d.action == SLOT_ADVANCE) {
        assert_true(has(facts, F(WANTED) | F(EXISTS) | F(BEHIND)));
        assert_false(facts & (F(LOGICAL) | F(OTHER)));
    }
    if (!(facts & (F(EXISTS) | F(WANTED)))) {
        assert_string_equal(d.rule, "slot-none");
    }
}

static void no_set_of_facts_breaks_a_promise(void **state)
{
    const char *seen[64] = {NULL};
    size_t n = 0;

    (void)state;
    for (unsigned facts = 0; facts < 1U << SLOT_N_FACTS; facts++) {
        struct slot_decision d;
        size_t i = 0;

        check_world(facts);
        slot_decide_facts(facts, &d);
        while (i < n && seen[i] != d.rule) {
            i++;
        }
        if (i == n) {
            seen[n++] = d.rule;
        }
    }
    assert_int_equal(n, 17); /* No rule is dead. */
}

/* ---- Whole slots ---- */

enum { STANDBY = 1, PAUSED = 2, PG17 = 4, KNOWN = 8, IGNORED = 16, STEP = 32, CREEP = 64 };

struct row {
    const char *what;
    int where;
    struct slot_wanted wanted; /* type SLOT_ANY: nobody wants it. */
    struct slot_seen seen;     /* Likewise: it is not there. */
    enum slot_action action;
    const char *rule;
    lsn_t to;
};

#define PHYSICAL                           \
    {                                      \
        .name = "a", .type = SLOT_PHYSICAL \
    }
#define LOGICAL                                                           \
    {                                                                     \
        .name = "a", .type = SLOT_LOGICAL, .database = "d", .plugin = "p" \
    }
#define MEMBER(at)                                       \
    {                                                    \
        .spec = PHYSICAL, .is_member = true, .lsn = (at) \
    }
#define PERMANENT(at)                 \
    {                                 \
        .spec = PHYSICAL, .lsn = (at) \
    }
#define WANT_LOGICAL    \
    {                   \
        .spec = LOGICAL \
    }

/* Here WAL ends at 1 GB. */
static const struct row rows[] = {
    /* clang-format off */
    {"a member's is made", 0, MEMBER(0), {.spec = {.type = SLOT_ANY}}, SLOT_CREATE, "slot-missing", 0},
    {"a member's is made on a standby", STANDBY, MEMBER(0), {.active = false}, SLOT_CREATE, "slot-missing", 0},
    {"a permanent one is made", 0, PERMANENT(0), {.active = false}, SLOT_CREATE, "slot-missing", 0},
    {"on a standby once it is known where it is", STANDBY, PERMANENT(0), {.active = false}, SLOT_KEEP, "slot-not-told", 0},
    {"and then it is", STANDBY, PERMANENT(5 * MB), {.active = false}, SLOT_CREATE, "slot-missing", 0},
    {"paused it is made, too", PAUSED, PERMANENT(0), {.active = false}, SLOT_CREATE, "slot-missing", 0},
    {"a logical one is made on the primary", 0, WANT_LOGICAL, {.active = false}, SLOT_CREATE, "slot-missing", 0},
    {"and not on a standby", STANDBY, WANT_LOGICAL, {.active = false}, SLOT_KEEP, "slot-of-primary", 0},

    {"a standby follows the primary", STANDBY | CREEP, PERMANENT(700 * MB), {.spec = PHYSICAL, .restart = 600 * MB}, SLOT_ADVANCE, "slot-behind", 700 * MB},
    {"never beyond what it replayed", STANDBY | CREEP, PERMANENT(2 * GB), {.spec = PHYSICAL, .restart = 600 * MB}, SLOT_ADVANCE, "slot-behind", GB},
    {"nor back", STANDBY | CREEP, PERMANENT(500 * MB), {.spec = PHYSICAL, .restart = 600 * MB}, SLOT_KEEP, "slot-wanted", 0},
    {"nor when it is there", STANDBY | CREEP, PERMANENT(600 * MB), {.spec = PHYSICAL, .restart = 600 * MB}, SLOT_KEEP, "slot-wanted", 0},
    {"small steps wait", STANDBY | STEP, PERMANENT(624 * MB - 1), {.spec = PHYSICAL, .restart = 608 * MB}, SLOT_KEEP, "slot-wanted", 0},
    {"and come", STANDBY | CREEP, PERMANENT(608 * MB + 1), {.spec = PHYSICAL, .restart = 608 * MB}, SLOT_ADVANCE, "slot-behind", 608 * MB + 1},
    {"what frees a segment waits less", STANDBY | STEP, PERMANENT(624 * MB), {.spec = PHYSICAL, .restart = 624 * MB - 1}, SLOT_ADVANCE, "slot-behind", 624 * MB},
    {"but a little", STANDBY, PERMANENT(624 * MB), {.spec = PHYSICAL, .restart = 608 * MB}, SLOT_KEEP, "slot-wanted", 0},
    {"not told it stays", STANDBY | CREEP, PERMANENT(0), {.spec = PHYSICAL, .restart = MB}, SLOT_KEEP, "slot-wanted", 0},
    {"on the primary its consumer moves it", CREEP, PERMANENT(700 * MB), {.spec = PHYSICAL, .restart = 600 * MB}, SLOT_KEEP, "slot-wanted", 0},
    {"who uses one moves it", STANDBY | CREEP, PERMANENT(700 * MB), {.spec = PHYSICAL, .restart = 600 * MB, .active = true}, SLOT_KEEP, "slot-in-use", 0},
    {"a member that streams from another", CREEP, MEMBER(700 * MB), {.spec = PHYSICAL, .restart = 600 * MB}, SLOT_ADVANCE, "slot-behind", 700 * MB},
    {"one that says nothing, on the primary", CREEP, MEMBER(0), {.spec = PHYSICAL, .restart = MB}, SLOT_KEEP, "slot-wanted", 0},
    {"one that says nothing, on a standby", STANDBY | STEP, MEMBER(0), {.spec = PHYSICAL, .restart = GB - 65 * MB}, SLOT_ADVANCE, "slot-behind", GB},
    {"and not far behind", STANDBY | STEP, MEMBER(0), {.spec = PHYSICAL, .restart = GB - 64 * MB}, SLOT_KEEP, "slot-wanted", 0},
    {"an absent one: its WAL is kept for it", STANDBY | CREEP, {.spec = PHYSICAL, .is_member = true, .waits = true}, {.spec = PHYSICAL, .restart = MB}, SLOT_KEEP, "slot-wanted", 0},

    {"one that reserves nothing", STANDBY, MEMBER(5 * MB), {.spec = PHYSICAL}, SLOT_REMAKE, "slot-broken", 0},
    {"not while paused", STANDBY | PAUSED, MEMBER(5 * MB), {.spec = PHYSICAL}, SLOT_KEEP, "slot-wanted", 0},
    {"not while it is used", 0, MEMBER(5 * MB), {.spec = PHYSICAL, .active = true}, SLOT_KEEP, "slot-in-use", 0},
    {"one that lost WAL", 0, MEMBER(5 * MB), {.spec = PHYSICAL, .restart = MB, .lost = true}, SLOT_REMAKE, "slot-broken", 0},
    {"one that holds rows on a standby", STANDBY, MEMBER(0), {.spec = PHYSICAL, .restart = GB, .has_xmin = true}, SLOT_REMAKE, "slot-broken", 0},
    {"but of who streams from here", STANDBY, {.spec = PHYSICAL, .is_member = true, .comes_here = true}, {.spec = PHYSICAL, .restart = GB, .has_xmin = true}, SLOT_KEEP, "slot-wanted", 0},
    {"or is absent", STANDBY, {.spec = PHYSICAL, .is_member = true, .waits = true}, {.spec = PHYSICAL, .restart = GB, .has_xmin = true}, SLOT_KEEP, "slot-wanted", 0},
    {"on the primary that is its consumer's", 0, MEMBER(0), {.spec = PHYSICAL, .restart = GB, .has_xmin = true}, SLOT_KEEP, "slot-wanted", 0},
    {"a logical one that lost WAL", 0, WANT_LOGICAL, {.spec = LOGICAL, .restart = MB, .lost = true}, SLOT_DROP, "slot-lost", 0},
    {"a logical one left on a standby", STANDBY, WANT_LOGICAL, {.spec = LOGICAL, .restart = MB}, SLOT_DROP, "slot-left", 0},
    {"paused it stays", STANDBY | PAUSED, WANT_LOGICAL, {.spec = LOGICAL, .restart = MB}, SLOT_KEEP, "slot-wanted", 0},
    {"used it stays", STANDBY, WANT_LOGICAL, {.spec = LOGICAL, .restart = MB, .active = true}, SLOT_KEEP, "slot-in-use", 0},
    {"the old primary's makes room for the synchronized one", STANDBY | PG17, WANT_LOGICAL, {.spec = LOGICAL, .restart = MB, .failover = true}, SLOT_DROP, "slot-left", 0},
    {"which is PostgreSQL's", STANDBY | PG17, WANT_LOGICAL, {.spec = LOGICAL, .restart = MB, .failover = true, .synced = true}, SLOT_KEEP, "slot-synchronized", 0},
    {"also when it lost WAL", STANDBY | PG17, WANT_LOGICAL, {.spec = LOGICAL, .lost = true, .failover = true, .synced = true}, SLOT_KEEP, "slot-synchronized", 0},
    {"one that is synchronized, unwanted", STANDBY | PG17 | KNOWN, {.spec = {.type = SLOT_ANY}}, {.spec = LOGICAL, .synced = true}, SLOT_KEEP, "slot-synchronized", 0},
    {"promoted it is an ordinary one", PG17, WANT_LOGICAL, {.spec = LOGICAL, .restart = MB, .failover = true, .synced = true}, SLOT_KEEP, "slot-wanted", 0},
    {"one that can not be synchronized", PG17, WANT_LOGICAL, {.spec = LOGICAL, .restart = MB}, SLOT_KEEP, "slot-unsyncable", 0},
    {"before 17 none can", 0, WANT_LOGICAL, {.spec = LOGICAL, .restart = MB}, SLOT_KEEP, "slot-wanted", 0},

    {"another type", 0, MEMBER(0), {.spec = LOGICAL}, SLOT_KEEP, "slot-other", 0},
    {"another plugin", STANDBY, WANT_LOGICAL, {.spec = {.name = "a", .type = SLOT_LOGICAL, .database = "d", .plugin = "q"}}, SLOT_KEEP, "slot-other", 0},
    {"another database, known", KNOWN, WANT_LOGICAL, {.spec = {.name = "a", .type = SLOT_LOGICAL, .database = "e", .plugin = "p"}, .lost = true}, SLOT_KEEP, "slot-other", 0},

    {"a member left", KNOWN, {.lsn = 0}, {.spec = PHYSICAL, .restart = MB}, SLOT_DROP, "slot-unwanted", 0},
    {"paused it is kept", KNOWN | PAUSED, {.lsn = 0}, {.spec = PHYSICAL, .restart = MB}, SLOT_KEEP, "slot-after-pause", 0},
    {"used it is kept", KNOWN, {.lsn = 0}, {.spec = PHYSICAL, .restart = MB, .active = true}, SLOT_KEEP, "slot-in-use", 0},
    {"ignored it is kept", KNOWN | IGNORED, {.lsn = 0}, {.spec = PHYSICAL, .restart = MB}, SLOT_KEEP, "slot-ignored", 0},
    {"what is wanted is not ignored", STANDBY | IGNORED | STEP, MEMBER(0), {.spec = PHYSICAL, .restart = MB}, SLOT_ADVANCE, "slot-behind", GB},
    {"nobody's", 0, {.lsn = 0}, {.spec = PHYSICAL, .restart = MB}, SLOT_KEEP, "slot-unknown", 0},
    {"nobody's, on a standby", STANDBY, {.lsn = 0}, {.spec = LOGICAL, .lost = true}, SLOT_KEEP, "slot-unknown", 0},
    {"nobody's, ignored", IGNORED, {.lsn = 0}, {.spec = LOGICAL}, SLOT_KEEP, "slot-ignored", 0},
    /* clang-format on */
};

static void each_slot_gets_what_an_operator_expects(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        const struct row *r = &rows[i];
        struct slot_place place = {.own = "pg1",
                                   .in_recovery = (r->where & STANDBY) != 0,
                                   .paused = (r->where & PAUSED) != 0,
                                   .major = r->where & PG17 ? 17 : 16,
                                   .may_step = (r->where & (STEP | CREEP)) != 0,
                                   .may_creep = (r->where & CREEP) != 0,
                                   .end = GB};
        struct slot_question q = {.wanted = r->wanted.spec.type != SLOT_ANY ? &r->wanted : NULL,
                                  .seen = r->seen.spec.type != SLOT_ANY ? &r->seen : NULL,
                                  .is_known = (r->where & KNOWN) != 0,
                                  .is_ignored = (r->where & IGNORED) != 0};
        struct slot_decision d;

        slot_decide(&place, &q, &d);
        if (d.action != r->action || !str_equal(d.rule, r->rule) || d.to != r->to) {
            fail_msg("%s: %s by %s to %llu", r->what, slot_action_name(d.action), d.rule,
                     (unsigned long long)d.to);
        }
    }
}

static void what_an_operator_should_know_is_trouble(void **state)
{
    const struct slot_place place = {.own = "pg1", .major = 17, .end = GB};
    const struct slot_wanted wanted = WANT_LOGICAL;
    const struct slot_seen unsyncable = {.spec = LOGICAL, .restart = MB},
                           other = {.spec = PHYSICAL};
    struct slot_decision d;

    (void)state;
    slot_decide(&place, &(struct slot_question){.wanted = &wanted, .seen = &unsyncable}, &d);
    assert_true(d.is_trouble);
    slot_decide(&place, &(struct slot_question){.wanted = &wanted, .seen = &other}, &d);
    assert_true(d.is_trouble);
    slot_decide(&place, &(struct slot_question){.seen = &other}, &d);
    assert_true(d.is_trouble);
    slot_decide(&place, &(struct slot_question){.seen = &other, .is_known = true}, &d);
    assert_false(d.is_trouble);
}

/* ---- What is wanted ---- */

static struct slot_place place_of(const struct scene *s, bool in_recovery)
{
    (void)s;
    return (struct slot_place){
        .own = "pg1", .since_ms = 1, .in_recovery = in_recovery, .major = 16};
}

static const struct slot_wanted *want(struct scene *s, const struct slots_conf *conf,
                                      bool in_recovery, const char *name)
{
    static struct slots_wanted wanted;
    struct slot_place place = place_of(s, in_recovery);

    slots_want(&s->view, conf, &place, &wanted);
    return slots_find(&wanted, name);
}

static struct view_peer *peer(struct scene *s, node_id id)
{
    for (uint32_t i = 0; i < s->view.n_peers; i++) {
        if (s->view.peers[i].status.id == id) {
            return &s->view.peers[i];
        }
    }
    fail();
    return NULL;
}

static void a_member_keeps_its_slot_for_as_long_as_was_said(void **state)
{
    struct scene *s = scene_new();
    const struct slots_conf none = {0};

    (void)state;
    s->view.conf.member_slots_ttl_ms = 60000;
    assert_null(want(s, &none, false, "pg1")); /* Nobody for himself, none for a witness. */
    assert_null(want(s, &none, false, "w"));
    assert_int_equal(want(s, &none, false, "pg2")->lsn, 10 * MB);
    assert_false(want(s, &none, false, "pg2")->waits);

    peer(s, PG2)->received_ms = TEST_NOW - 3000;
    assert_true(want(s, &none, false, "pg2")->waits);
    assert_int_equal(want(s, &none, false, "pg2")->lsn, 0);
    peer(s, PG2)->received_ms = TEST_NOW - 62999;
    assert_non_null(want(s, &none, false, "pg2"));
    peer(s, PG2)->received_ms = TEST_NOW - 63000;
    assert_null(want(s, &none, false, "pg2"));

    s->view.conf.member_slots_ttl_ms = 0;
    peer(s, PG2)->received_ms = TEST_NOW - 2999;
    assert_non_null(want(s, &none, false, "pg2"));
    peer(s, PG2)->received_ms = TEST_NOW - 3000;
    assert_null(want(s, &none, false, "pg2"));
    free(s);
}

/* A new primary, an agent that was started anew: it has not heard of the member yet. */
static void absence_is_counted_from_when_it_was_watched(void **state)
{
    struct scene *s = scene_new();
    const struct slots_conf none = {0};
    struct slot_place place = place_of(s, false);
    struct slots_wanted wanted;

    (void)state;
    s->view.conf.member_slots_ttl_ms = 60000;
    s->view.n_peers = 0;
    place.since_ms = TEST_NOW - 62999;
    slots_want(&s->view, &none, &place, &wanted);
    assert_non_null(slots_find(&wanted, "pg2"));
    place.since_ms = TEST_NOW - 63000;
    slots_want(&s->view, &none, &place, &wanted);
    assert_null(slots_find(&wanted, "pg2"));
    free(s);
}

static void only_a_standby_of_our_timeline_tells_what_it_has(void **state)
{
    static const struct slots_conf none;
    struct scene *s = scene_new();
    struct status *st = &peer(s, PG2)->status;
    const struct status good = *st;

    (void)state;
    s->view.conf.member_slots_ttl_ms = 60000;
    st->timeline = 2;
    assert_int_equal(want(s, &none, false, "pg2")->lsn, 0);
    *st = good;
    st->pg_role = PG_ROLE_PRIMARY;
    assert_int_equal(want(s, &none, false, "pg2")->lsn, 0);
    *st = good;
    st->data = DATA_REWINDING;
    assert_int_equal(want(s, &none, false, "pg2")->lsn, 0);
    *st = good;
    st->sysid = 8;
    assert_int_equal(want(s, &none, false, "pg2")->lsn, 0);
    *st = good;
    s->store.members[1].nostream = true;
    assert_null(want(s, &none, false, "pg2"));
    free(s);
}

static void who_replicates_from_a_standby_comes_there(void **state)
{
    static const struct slots_conf none;
    struct scene *s = scene_new();

    (void)state;
    s->view.conf.member_slots_ttl_ms = 60000;
    assert_true(want(s, &none, false, "pg2")->comes_here);
    assert_false(want(s, &none, true, "pg2")->comes_here);
    (void)str_copy(s->store.members[1].replicatefrom, NAME_SIZE, "pg1");
    assert_true(want(s, &none, true, "pg2")->comes_here);
    free(s);
}

static void permanent_slots_are_where_the_primary_says(void **state)
{
    const struct slots_conf conf = {.n_permanent = 2,
                                    .permanent = {{.name = "backup", .type = SLOT_PHYSICAL},
                                                  {.name = "pg1", .type = SLOT_PHYSICAL}}};
    struct scene *s = scene_new();
    struct status *st = &peer(s, PG2)->status;

    (void)state;
    s->store.primary = (struct store_primary){
        .has_owner = true, .epoch = 4, .owner = "pg2", .owner_id = PG2, .instance = st->instance};
    st->pg_role = PG_ROLE_PRIMARY;
    st->lease_epoch = 4;
    st->n_slots = 2;
    st->slots[0] = (struct status_slot){"other", 3 * MB};
    st->slots[1] = (struct status_slot){"backup", 4 * MB};
    assert_null(want(s, &conf, true, "pg1")); /* Nobody for himself. */
    assert_int_equal(want(s, &conf, true, "backup")->lsn, 4 * MB);
    assert_false(want(s, &conf, true, "backup")->is_member);
    assert_int_equal(want(s, &conf, false, "backup")->lsn, 0);
    st->lease_epoch = 3; /* One of the past. */
    assert_int_equal(want(s, &conf, true, "backup")->lsn, 0);
    s->view.self.member.nofailover = true;
    assert_null(want(s, &conf, true, "backup"));
    assert_non_null(want(s, &conf, false, "backup"));
    free(s);
}

static void a_members_slot_goes_before_a_permanent_one(void **state)
{
    const struct slots_conf conf = {
        .n_permanent = 1,
        .permanent = {{.name = "pg2", .type = SLOT_LOGICAL, .database = "d", .plugin = "p"}}};
    struct scene *s = scene_new();
    const struct slot_wanted *w;

    (void)state;
    s->view.conf.member_slots_ttl_ms = 60000;
    w = want(s, &conf, false, "pg2");
    assert_true(w->is_member);
    assert_int_equal(w->spec.type, SLOT_PHYSICAL);
    assert_string_equal(w->also, "pg2");
    free(s);
}

static void what_is_ignored_matches_in_all_that_is_said(void **state)
{
    const struct slot_seen seen = {.spec = LOGICAL};
    static const struct {
        struct slot_spec spec;
        bool ignored;
    } cases[] = {
        {{.name = "a"}, true},
        {{.name = "b"}, false},
        {{.type = SLOT_LOGICAL}, true},
        {{.type = SLOT_PHYSICAL}, false},
        {{.database = "d"}, true},
        {{.database = "e"}, false},
        {{.name = "a", .plugin = "p"}, true},
        {{.name = "a", .plugin = "q"}, false},
        {{.name = "a", .type = SLOT_LOGICAL, .database = "d", .plugin = "p"}, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct slots_conf conf = {.n_ignored = 2, .ignored = {{.name = "x"}, cases[i].spec}};

        assert_int_equal(slots_ignore(&conf, &seen), cases[i].ignored);
    }
    assert_false(slots_ignore(&(struct slots_conf){0}, &seen));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_set_of_facts_breaks_a_promise),
        cmocka_unit_test(each_slot_gets_what_an_operator_expects),
        cmocka_unit_test(what_an_operator_should_know_is_trouble),
        cmocka_unit_test(a_member_keeps_its_slot_for_as_long_as_was_said),
        cmocka_unit_test(absence_is_counted_from_when_it_was_watched),
        cmocka_unit_test(only_a_standby_of_our_timeline_tells_what_it_has),
        cmocka_unit_test(who_replicates_from_a_standby_comes_there),
        cmocka_unit_test(permanent_slots_are_where_the_primary_says),
        cmocka_unit_test(a_members_slot_goes_before_a_permanent_one),
        cmocka_unit_test(what_is_ignored_matches_in_all_that_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
