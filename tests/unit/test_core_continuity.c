/*
 * After a reboot pg2 asks pg1 and w whether its Raft state is the last it had.
 */
#include "core/continuity.h"
#include "test_core_util.h"

#define SINCE  (TEST_NOW - 2000)
#define PERIOD 300
#define WAIT   3000

static struct view_peer peers[3];
static struct continuity_question question;

static int set_up(void **state)
{
    (void)state;
    memset(peers, 0, sizeof(peers));
    for (uint32_t i = 0; i < 3; i++) {
        peers[i].status = status_make(i == 0 ? PG1 : i == 1 ? W : PG3, MODE_POSTGRES);
        peers[i].status.n_heard = 1;
        peers[i].status.heard[0] = PG2;
        peers[i].received_ms = TEST_NOW;
    }
    question = (struct continuity_question){.self = PG2,
                                            .peers = peers,
                                            .n_peers = 2,
                                            .n_partners = 2,
                                            .since_ms = SINCE,
                                            .now_ms = TEST_NOW,
                                            .status_period_ms = PERIOD,
                                            .wait_ms = WAIT};
    return 0;
}

static void both_others_confirm(void **state)
{
    (void)state;
    assert_int_equal(continuity_judge(&question), CONTINUITY_CONFIRMED);
    question.n_peers = 1;
    assert_int_equal(continuity_judge(&question), CONTINUITY_WAIT);
}

static void one_who_knows_more_is_enough(void **state)
{
    (void)state;
    peers[1].status.lost_id = PG2;
    assert_int_equal(continuity_judge(&question), CONTINUITY_LOST);
    question.now_ms += WAIT;
    assert_int_equal(continuity_judge(&question), CONTINUITY_LOST);
    peers[1].status.lost_id = PG1;
    assert_int_equal(continuity_judge(&question), CONTINUITY_CONFIRMED);
    peers[1].status.lost_id = PG2;
    peers[1].received_ms = SINCE - 1; /* Of before. */
    assert_int_equal(continuity_judge(&question), CONTINUITY_UNCONFIRMED);
}

/* It was on its way when the question was asked, or comes from one that knows no voters yet. */
static void an_answer_comes_from_one_that_has_heard_the_question(void **state)
{
    (void)state;
    peers[0].received_ms = SINCE + 3 * PERIOD - 1;
    assert_int_equal(continuity_judge(&question), CONTINUITY_WAIT);
    peers[0].received_ms++;
    assert_int_equal(continuity_judge(&question), CONTINUITY_CONFIRMED);
    peers[0].status.n_heard = 0;
    assert_int_equal(continuity_judge(&question), CONTINUITY_WAIT);
}

static void a_cluster_comes_back_without_the_one_that_is_gone(void **state)
{
    (void)state;
    question.n_peers = 1;
    question.now_ms = SINCE + WAIT - 1;
    assert_int_equal(continuity_judge(&question), CONTINUITY_WAIT);
    question.now_ms++;
    assert_int_equal(continuity_judge(&question), CONTINUITY_UNCONFIRMED);
}

/* Any majority with this node in it must meet those who answered: of n, n / 2 + 1 others. */
static void those_who_answer_meet_every_majority(void **state)
{
    static const uint32_t needed[] = {0, 1, 2, 3, 3};

    (void)state;
    for (uint32_t n_partners = 0; n_partners < ARRAY_LENGTH(needed); n_partners++) {
        question.n_partners = n_partners;
        for (uint32_t n = 0; n <= 3; n++) {
            question.n_peers = n;
            assert_int_equal(continuity_judge(&question),
                             n >= needed[n_partners] ? CONTINUITY_CONFIRMED : CONTINUITY_WAIT);
        }
    }
}

static void what_was_told_is_remembered(void **state)
{
    struct view_peer p = {.status = status_make(PG2, MODE_POSTGRES)};

    (void)state;
    p.status.raft_term = 7;
    p.status.applied_index = 90;
    continuity_note(&p);
    p.status.applied_index = 0; /* Its agent has begun anew. */
    continuity_note(&p);
    assert_false(continuity_is_behind(&p));

    p.status.raft_term = 7;
    p.status.raft_end = 90;
    continuity_note(&p);
    assert_false(continuity_is_behind(&p));
    p.status.raft_end = 89;
    assert_true(continuity_is_behind(&p));
    p.status.raft_end = 90;
    p.status.raft_term = 6;
    assert_true(continuity_is_behind(&p));
    p.status.raft_term = 8;
    p.status.raft_end = 1000;
    continuity_note(&p); /* A claim is no memory. */
    p.status.raft_term = 7;
    p.status.raft_end = 90;
    assert_false(continuity_is_behind(&p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup(f, set_up)
        TEST(both_others_confirm),
        TEST(one_who_knows_more_is_enough),
        TEST(an_answer_comes_from_one_that_has_heard_the_question),
        TEST(a_cluster_comes_back_without_the_one_that_is_gone),
        TEST(those_who_answer_meet_every_majority),
        TEST(what_was_told_is_remembered),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
