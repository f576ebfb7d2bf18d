/*
 * The first formation. The property tests simulate nodes that exchange hellos
 * in random order and are killed before or after each phase is written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/str.h"
#include "core/formation.h"

#define RUNS 3000

struct world {
    size_t n;
    struct rng rng;
    struct formation_input nodes[ADDRESSES_MAX]; /* nodes[i].self is what is durable. */
    uint64_t formed;                             /* Cluster id of the first MEMBER. */
    bool conflict;                               /* Two cluster ids were bootstrapped. */
};

static uint64_t draw(struct world *w, uint64_t n)
{
    return rng_between(&w->rng, 0, n - 1);
}

static void fill_self(struct world *w, size_t i)
{
    struct formation_input *in = &w->nodes[i];

    memset(&in->self, 0, sizeof(in->self));
    memset(in->answered, 0, sizeof(in->answered));
    in->self.id = rng_next(&w->rng) | 1;
    (void)snprintf(in->self.name, NAME_SIZE, "pg%zu", i);
    (void)snprintf(in->self.address, HOST_SIZE, "10.0.0.%zu:7400", i);
    in->self.mode = i == 0 ? MODE_WITNESS : MODE_POSTGRES;
    in->self.data = DATA_EMPTY;
    in->self.addresses_hash = formation_hash(in->addresses, in->n_addresses);
}

static void make_world(struct world *w, size_t n, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->n = n;
    rng_seed(&w->rng, seed);
    for (size_t i = 0; i < n; i++) {
        w->nodes[i].n_addresses = (uint8_t)n;
        for (size_t j = 0; j < n; j++) {
            (void)snprintf(w->nodes[i].addresses[j], HOST_SIZE, "10.0.0.%zu:7400", j);
        }
        fill_self(w, i);
    }
}

static void deliver(struct world *w, size_t from, size_t to)
{
    w->nodes[to].answered[from] = true;
    w->nodes[to].answers[from] = w->nodes[from].self;
}

/* Everything but what is on disk is lost. Others may still believe what it said. */
static void crash(struct world *w, size_t i)
{
    memset(w->nodes[i].answered, 0, sizeof(w->nodes[i].answered));
    w->nodes[i].self.proposed_cluster_id = 0;
    for (size_t j = 0; j < w->n; j++) {
        w->nodes[j].answered[i] = w->nodes[j].answered[i] && draw(w, 2) == 0;
    }
}

static void write_phase(struct world *w, size_t i, const struct formation_output *out,
                        enum hello_state state)
{
    struct hello *self = &w->nodes[i].self;

    self->state = state;
    self->cluster_id = out->cluster_id;
    self->n_members = out->n_members;
    memcpy(self->members, out->members, sizeof(out->members));
    if (state == HELLO_MEMBER) {
        w->conflict = w->conflict || (w->formed != 0 && w->formed != out->cluster_id);
        w->formed = out->cluster_id;
    }
}

static enum formation_step act(struct world *w, size_t i, uint64_t crash_percent)
{
    struct formation_output out;
    enum hello_state next;

    if (w->nodes[i].self.state == HELLO_MEMBER) {
        return FORMATION_WAIT;
    }
    formation_decide(&w->nodes[i], &out);
    w->nodes[i].self.proposed_cluster_id = out.proposed_cluster_id;
    if (out.step != FORMATION_PREPARE && out.step != FORMATION_BOOTSTRAP) {
        return out.step;
    }
    next = out.step == FORMATION_PREPARE ? HELLO_PREPARED : HELLO_MEMBER;
    if (draw(w, 100) < crash_percent) {
        crash(w, i); /* Before the write. */
        return out.step;
    }
    write_phase(w, i, &out, next);
    if (draw(w, 100) < crash_percent) {
        crash(w, i); /* After it. */
    }
    return out.step;
}

static void step(struct world *w, uint64_t crash_percent)
{
    size_t i = draw(w, w->n);
    size_t j = draw(w, w->n);

    if (i != j && draw(w, 2) == 0) {
        deliver(w, i, j);
    } else {
        (void)act(w, i, crash_percent);
    }
    if (draw(w, 100) < crash_percent / 4) {
        crash(w, draw(w, w->n));
    }
}

/* Nothing is lost any more. */
static void settle(struct world *w)
{
    for (unsigned round = 0; round < 10; round++) {
        for (size_t i = 0; i < w->n; i++) {
            for (size_t j = 0; j < w->n; j++) {
                if (i != j) {
                    deliver(w, i, j);
                }
            }
        }
        for (size_t i = 0; i < w->n; i++) {
            (void)act(w, i, 0);
        }
    }
}

/* One to five nodes, started in any order, killed before and after each write. */
static void all_nodes_bootstrap_one_cluster_whatever_is_killed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        struct world w;

        make_world(&w, 1 + seed % ADDRESSES_MAX, seed);
        for (unsigned k = 0; k < 200; k++) {
            step(&w, seed % 3 == 0 ? 0 : 40);
        }
        settle(&w);

        assert_false(w.conflict);
        for (size_t i = 0; i < w.n; i++) {
            const struct hello *h = &w.nodes[i].self;

            assert_int_equal(h->state, HELLO_MEMBER);
            assert_int_equal(h->cluster_id, w.formed);
            assert_int_equal(h->n_members, w.n);
            assert_memory_equal(h->members, w.nodes[0].self.members, sizeof(h->members));
        }
    }
}

static size_t count_members(const struct world *w)
{
    size_t n = 0;

    for (size_t i = 0; i < w->n; i++) {
        n += w->nodes[i].self.state == HELLO_MEMBER;
    }
    return n;
}

/* Nodes lose their disks at any time, and come back under new ids. As long as a
 * member of the first cluster lives there is no second one. */
static void wiped_nodes_never_form_beside_a_living_member(void **state)
{
    unsigned n_joins = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        struct world w;

        make_world(&w, 2 + seed % (ADDRESSES_MAX - 1), seed);
        for (unsigned k = 0; k < 300; k++) {
            size_t victim = draw(&w, w.n);
            bool last = w.nodes[victim].self.state == HELLO_MEMBER && count_members(&w) == 1;

            step(&w, 10);
            if (draw(&w, 40) == 0 && !last) {
                if (w.nodes[victim].self.state == HELLO_MEMBER && count_members(&w) == 1) {
                    continue; /* Became the last one just now. */
                }
                fill_self(&w, victim);
                crash(&w, victim);
            }
        }
        settle(&w);

        assert_false(w.conflict);
        for (size_t i = 0; i < w.n && count_members(&w) > 0; i++) {
            struct formation_output out;

            formation_decide(&w.nodes[i], &out);
            if (w.nodes[i].self.state == HELLO_NONE) {
                assert_int_equal(out.step, FORMATION_JOIN);
                n_joins++;
            }
        }
    }
    assert_true(n_joins > 100); /* The case was reached. */
}

/* Three nodes that have all heard each other. */
static void make_three(struct world *w)
{
    make_world(w, 3, 7);
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 3; j++) {
            if (i != j) {
                deliver(w, i, j);
            }
        }
    }
}

static void expect(const struct world *w, size_t i, enum formation_step step, const char *text)
{
    struct formation_output out;

    formation_decide(&w->nodes[i], &out);
    if (out.step != step || strstr(out.reason, text) == NULL) {
        fail_msg("step %d, reason \"%s\"; expected %d, \"%s\"", out.step, out.reason, step, text);
    }
}

static void the_lowest_address_proposes_and_the_others_follow(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);

    expect(&w, 0, FORMATION_PREPARE, "all 3");
    expect(&w, 1, FORMATION_WAIT, "waiting for pg0 (10.0.0.0:7400), the lowest address");

    (void)act(&w, 0, 0);
    deliver(&w, 0, 1);
    expect(&w, 1, FORMATION_PREPARE, "all 3");
}

static void a_missing_node_is_waited_for_by_its_address(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);
    w.nodes[0].answered[1] = false;
    w.nodes[0].answered[2] = false;

    expect(&w, 0, FORMATION_WAIT, "waiting for an answer of 10.0.0.1:7400, 10.0.0.2:7400");
}

static void lists_that_differ_are_refused(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);
    w.nodes[0].answers[2].addresses_hash++;

    expect(&w, 0, FORMATION_REFUSE, "pg2 (10.0.0.2:7400) is configured with another list");
}

static void an_own_address_that_is_not_listed_is_refused(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);
    (void)str_copy(w.nodes[0].self.address, HOST_SIZE, "10.9.9.9:7400");

    expect(&w, 0, FORMATION_REFUSE, "10.9.9.9:7400 is not among");
}

static void an_address_that_is_listed_twice_is_refused(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);
    (void)str_copy(w.nodes[0].addresses[2], HOST_SIZE, w.nodes[0].addresses[1]);

    expect(&w, 0, FORMATION_REFUSE, "10.0.0.1:7400 is configured twice");
}

static void two_nodes_of_one_id_are_refused(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);
    w.nodes[0].answers[2].id = w.nodes[0].answers[1].id;

    expect(&w, 0, FORMATION_REFUSE, "10.0.0.1:7400 and 10.0.0.2:7400 are the same node");
}

static void a_copy_of_ourselves_is_refused(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);
    w.nodes[0].answers[2].id = w.nodes[0].self.id;

    expect(&w, 0, FORMATION_REFUSE, "are the same node");
}

static void two_nodes_of_one_name_are_refused(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);
    (void)str_copy(w.nodes[0].answers[2].name, NAME_SIZE, "pg1");

    expect(&w, 0, FORMATION_REFUSE, "both named pg1");
}

static void two_system_identifiers_are_refused(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);
    for (size_t i = 1; i < 3; i++) {
        w.nodes[0].answers[i].data = DATA_VALID;
        w.nodes[0].answers[i].sysid = 100 + i;
    }

    expect(&w, 0, FORMATION_REFUSE, "pg1 and pg2 hold different databases");
}

static void one_database_and_its_standby_are_taken_over(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);
    for (size_t i = 1; i < 3; i++) {
        w.nodes[0].answers[i].data = DATA_VALID;
        w.nodes[0].answers[i].sysid = 100;
    }
    w.nodes[0].answers[1].is_running_primary = true;

    expect(&w, 0, FORMATION_PREPARE, "");
}

static void two_running_primaries_are_refused(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);
    for (size_t i = 1; i < 3; i++) {
        w.nodes[0].answers[i].data = DATA_VALID;
        w.nodes[0].answers[i].sysid = 100;
        w.nodes[0].answers[i].is_running_primary = true;
    }

    expect(&w, 0, FORMATION_REFUSE, "takes writes on both pg1 and pg2");
}

static void a_data_directory_not_looked_at_yet_is_waited_for(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);
    w.nodes[0].answers[1].data = DATA_UNKNOWN;

    expect(&w, 0, FORMATION_WAIT, "pg1 has not looked");
}

static void a_node_without_state_joins_where_a_member_answers(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);
    w.nodes[0].answered[1] = false; /* Even if others are silent. */
    w.nodes[0].answers[2].state = HELLO_MEMBER;
    w.nodes[0].answers[2].cluster_id = 99;

    expect(&w, 0, FORMATION_JOIN, "pg2 (10.0.0.2:7400) belongs to the cluster 0000000000000063");
}

/* Phase one is done everywhere; then one node comes back from an empty disk. */
static void a_node_wiped_after_phase_one_stops_the_formation(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);
    for (size_t i = 0; i < 3; i++) {
        (void)act(&w, i, 0);
        for (size_t j = 0; j < 3; j++) {
            deliver(&w, i, j);
        }
    }
    fill_self(&w, 2);
    crash(&w, 2);
    for (size_t i = 0; i < 2; i++) {
        deliver(&w, 2, i);
        deliver(&w, i, 2);
    }

    expect(&w, 0, FORMATION_REFUSE, "pg2 (10.0.0.2:7400) came back as another node");
    expect(&w, 2, FORMATION_REFUSE, "has prepared a cluster with other nodes");
}

/* One has bootstrapped, one is down: the third need not wait for it. */
static void phase_two_follows_a_member_of_the_same_cluster(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);
    for (size_t i = 0; i < 3; i++) {
        (void)act(&w, i, 0);
        for (size_t j = 0; j < 3; j++) {
            deliver(&w, i, j);
        }
    }
    (void)act(&w, 0, 0);
    assert_int_equal(w.nodes[0].self.state, HELLO_MEMBER);
    deliver(&w, 0, 1);
    w.nodes[1].answered[2] = false;

    expect(&w, 1, FORMATION_BOOTSTRAP, "pg0 has bootstrapped");
}

static void a_prepared_node_refuses_a_member_of_another_cluster(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);
    (void)act(&w, 0, 0);
    w.nodes[0].answers[1].state = HELLO_MEMBER;
    w.nodes[0].answers[1].cluster_id = 99;

    expect(&w, 0, FORMATION_REFUSE, "belongs to another cluster");
}

static void a_prepared_node_waits_for_phase_one_of_the_others(void **state)
{
    struct world w;

    (void)state;
    make_three(&w);
    (void)act(&w, 0, 0);

    expect(&w, 0, FORMATION_WAIT, "waiting for pg1 (10.0.0.1:7400) to write phase one");
}

static void the_hash_depends_on_where_addresses_end(void **state)
{
    char a[2][HOST_SIZE] = {"ab", "c"};
    char b[2][HOST_SIZE] = {"a", "bc"};

    (void)state;
    assert_true(formation_hash(a, 2) != formation_hash(b, 2));
    assert_true(formation_hash(a, 1) != formation_hash(a, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_nodes_bootstrap_one_cluster_whatever_is_killed),
        cmocka_unit_test(wiped_nodes_never_form_beside_a_living_member),
        cmocka_unit_test(the_lowest_address_proposes_and_the_others_follow),
        cmocka_unit_test(a_missing_node_is_waited_for_by_its_address),
        cmocka_unit_test(lists_that_differ_are_refused),
        cmocka_unit_test(an_own_address_that_is_not_listed_is_refused),
        cmocka_unit_test(an_address_that_is_listed_twice_is_refused),
        cmocka_unit_test(two_nodes_of_one_id_are_refused),
        cmocka_unit_test(a_copy_of_ourselves_is_refused),
        cmocka_unit_test(two_nodes_of_one_name_are_refused),
        cmocka_unit_test(two_system_identifiers_are_refused),
        cmocka_unit_test(one_database_and_its_standby_are_taken_over),
        cmocka_unit_test(two_running_primaries_are_refused),
        cmocka_unit_test(a_data_directory_not_looked_at_yet_is_waited_for),
        cmocka_unit_test(a_node_without_state_joins_where_a_member_answers),
        cmocka_unit_test(a_node_wiped_after_phase_one_stops_the_formation),
        cmocka_unit_test(phase_two_follows_a_member_of_the_same_cluster),
        cmocka_unit_test(a_prepared_node_refuses_a_member_of_another_cluster),
        cmocka_unit_test(a_prepared_node_waits_for_phase_one_of_the_others),
        cmocka_unit_test(the_hash_depends_on_where_addresses_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
