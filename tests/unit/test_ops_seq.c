/*
 * The driver of step tables, on virtual time, with operations that end when the
 * test says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "ops/seq.h"

/* A sequence with everything it did, in order: "a1 a1. b1 ..." */
struct probe {
    struct seq seq;
    enum seq_next answer[3];      /* Of run of step i. */
    enum seq_next done_answer[3]; /* Of done of step i. */
    char trace[512];
    struct sbuf out;
    int n_ends;
    int status;
    char step[32];
    char problem[ERR_TEXT_SIZE];
    uint64_t progress;
    bool restart; /* end starts it anew, once. */
};

static struct probe *probe_of(struct seq *s)
{
    return CONTAINER_OF(s, struct probe, seq);
}

static enum seq_next probe_run(struct seq *s)
{
    struct probe *p = probe_of(s);

    sbuf_printf(&p->out, "run%zu ", s->at);
    if (p->answer[s->at] == SEQ_FAIL) {
        err_set(&s->problem, "no luck");
    }
    return p->answer[s->at];
}

static enum seq_next probe_done(struct seq *s)
{
    struct probe *p = probe_of(s);

    sbuf_printf(&p->out, "done%zu:%d ", s->at, s->status);
    return p->done_answer[s->at];
}

static void probe_abort(struct seq *s)
{
    sbuf_printf(&probe_of(s)->out, "abort%zu ", s->at);
}

static uint64_t probe_progress(struct seq *s)
{
    return probe_of(s)->progress;
}

static const struct seq_step probe_steps[] = {
    {"first", probe_run, probe_done, probe_abort, 1000, NULL},
    {"second", probe_run, NULL, NULL, 0, NULL},
    {"third", probe_run, probe_done, probe_abort, 5000, probe_progress},
    {0},
};

static void probe_end(struct seq *s, int status, const char *step)
{
    struct probe *p = probe_of(s);

    p->n_ends++;
    p->status = status;
    (void)str_copy(p->step, sizeof(p->step), step);
    (void)str_copy(p->problem, sizeof(p->problem), s->problem.text);
    sbuf_add(&p->out, "end ");
    if (p->restart) {
        p->restart = false;
        seq_start(s, probe_steps, s->now_ms);
    }
}

static void probe_init(struct probe *p, enum seq_next first, enum seq_next second,
                       enum seq_next third)
{
    *p = (struct probe){.answer = {first, second, third}};
    p->seq.end = probe_end;
    sbuf_init(&p->out, p->trace, sizeof(p->trace));
}

static void assert_ended(const struct probe *p, int status, const char *step)
{
    assert_int_equal(p->n_ends, 1);
    assert_int_equal(p->status, status);
    assert_string_equal(p->step, step);
    assert_false(p->seq.running);
}

static void steps_whose_goal_is_reached_run_through_at_once(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_NEXT, SEQ_NEXT, SEQ_NEXT);
    seq_start(&p.seq, probe_steps, 10);

    assert_string_equal(p.trace, "run0 run1 run2 end ");
    assert_ended(&p, 0, "third");
    assert_int_equal(seq_tick(&p.seq, 20), UINT64_MAX);
}

static void an_operation_is_waited_for_and_its_success_goes_on(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_WAIT, SEQ_WAIT, SEQ_NEXT);
    seq_start(&p.seq, probe_steps, 0);
    assert_string_equal(seq_step_name(&p.seq), "first");
    seq_resume(&p.seq, 0, NULL, 5);
    assert_string_equal(seq_step_name(&p.seq), "second");
    seq_resume(&p.seq, 0, NULL, 6);

    assert_string_equal(p.trace, "run0 done0:0 run1 run2 end ");
    assert_ended(&p, 0, "third");
}

static void a_failing_operation_ends_the_sequence_with_its_problem(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_NEXT, SEQ_WAIT, SEQ_NEXT);
    seq_start(&p.seq, probe_steps, 0);
    seq_resume(&p.seq, -1, "exit status 1", 5);

    assert_ended(&p, -1, "second");
    assert_string_equal(p.problem, "exit status 1");
}

static void a_failing_run_ends_the_sequence(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_NEXT, SEQ_FAIL, SEQ_NEXT);
    seq_start(&p.seq, probe_steps, 0);

    assert_ended(&p, -1, "second");
    assert_string_equal(p.problem, "no luck");
}

static void note_point(struct seq *s, const char *when)
{
    sbuf_printf(&probe_of(s)->out, "%s%zu ", when, s->at);
}

/* Where tests stop the agent: also behind a run whose operation is in flight. */
static void each_row_has_a_point_before_and_after_its_run(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_NEXT, SEQ_WAIT, SEQ_NEXT);
    p.seq.at_point = note_point;
    seq_start(&p.seq, probe_steps, 0);
    seq_resume(&p.seq, 0, NULL, 5);

    assert_string_equal(p.trace, "before0 run0 after0 before1 run1 after1 "
                                 "before2 run2 after2 end ");
}

/* A checkpoint before a stop may fail: done knows the status and decides. */
static void done_may_forgive_a_failure(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_WAIT, SEQ_NEXT, SEQ_NEXT);
    seq_start(&p.seq, probe_steps, 0);
    seq_resume(&p.seq, -1, "refused", 5);

    assert_string_equal(p.trace, "run0 done0:-1 run1 run2 end ");
    assert_ended(&p, 0, "third");
    assert_string_equal(p.problem, "");
}

static void a_hung_operation_is_aborted_once_and_then_waited_for(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_WAIT, SEQ_NEXT, SEQ_NEXT);
    p.done_answer[0] = SEQ_FAIL;
    seq_start(&p.seq, probe_steps, 100);
    assert_int_equal(seq_tick(&p.seq, 1099), 1100);
    assert_string_equal(p.trace, "run0 ");
    assert_int_equal(seq_tick(&p.seq, 1100), UINT64_MAX);
    (void)seq_tick(&p.seq, 99999);
    assert_int_equal(p.n_ends, 0);
    assert_string_equal(p.trace, "run0 abort0 ");
    seq_resume(&p.seq, -1, "killed by signal 9", 100000);

    assert_ended(&p, -1, "first");
    assert_string_equal(p.problem, "not done within 1000 ms: killed by signal 9");
}

/* The deadline and the success meet: what was reached counts. */
static void an_operation_that_succeeds_while_aborted_counts(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_WAIT, SEQ_NEXT, SEQ_NEXT);
    seq_start(&p.seq, probe_steps, 0);
    (void)seq_tick(&p.seq, 1000);
    seq_resume(&p.seq, 0, NULL, 1001);

    assert_ended(&p, 0, "third");
}

static void progress_moves_the_deadline(void **state)
{
    struct probe p;
    uint64_t now_ms;

    (void)state;
    probe_init(&p, SEQ_NEXT, SEQ_NEXT, SEQ_WAIT);
    seq_start(&p.seq, probe_steps, 0);
    for (now_ms = 1000; now_ms <= 60000; now_ms += 1000) {
        p.progress += 8192;
        (void)seq_tick(&p.seq, now_ms);
    }
    assert_string_equal(p.trace, "run0 run1 run2 ");
    (void)seq_tick(&p.seq, 64999);
    assert_string_equal(p.trace, "run0 run1 run2 ");
    (void)seq_tick(&p.seq, 65000);
    assert_string_equal(p.trace, "run0 run1 run2 abort2 ");
    p.done_answer[2] = SEQ_FAIL;
    seq_resume(&p.seq, -1, "killed", 65001);

    assert_ended(&p, -1, "third");
}

static void cancel_during_a_wait_aborts_and_waits_for_the_callback(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_WAIT, SEQ_NEXT, SEQ_NEXT);
    seq_start(&p.seq, probe_steps, 0);
    seq_cancel(&p.seq, 10);
    seq_cancel(&p.seq, 11);
    (void)seq_tick(&p.seq, 50000);
    assert_int_equal(p.n_ends, 0);
    seq_resume(&p.seq, 0, NULL, 50001);

    assert_string_equal(p.trace, "run0 abort0 end ");
    assert_ended(&p, -1, "first");
    assert_string_equal(p.problem, "cancelled");
}

static void cancel_after_the_deadline_does_not_abort_twice(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_WAIT, SEQ_NEXT, SEQ_NEXT);
    seq_start(&p.seq, probe_steps, 0);
    (void)seq_tick(&p.seq, 1000);
    seq_cancel(&p.seq, 1001);
    seq_resume(&p.seq, -1, "killed", 1002);

    assert_string_equal(p.trace, "run0 abort0 end ");
    assert_ended(&p, -1, "first");
}

static void cancel_of_a_step_without_abort_waits(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_NEXT, SEQ_WAIT, SEQ_NEXT);
    seq_start(&p.seq, probe_steps, 0);
    seq_cancel(&p.seq, 10);
    assert_int_equal(p.n_ends, 0);
    seq_resume(&p.seq, 0, NULL, 20);

    assert_string_equal(p.trace, "run0 run1 end ");
    assert_ended(&p, -1, "second");
}

static void cancel_of_a_polling_step_ends_at_once(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_POLL, SEQ_NEXT, SEQ_NEXT);
    seq_start(&p.seq, probe_steps, 0);
    seq_cancel(&p.seq, 10);

    assert_string_equal(p.trace, "run0 end ");
    assert_ended(&p, -1, "first");
}

static void cancel_of_nothing_does_nothing(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_NEXT, SEQ_NEXT, SEQ_NEXT);
    seq_cancel(&p.seq, 10);
    assert_int_equal(p.n_ends, 0);
    assert_string_equal(seq_step_name(&p.seq), "");
}

static void a_cancelled_sequence_can_be_run_again(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_WAIT, SEQ_NEXT, SEQ_NEXT);
    seq_start(&p.seq, probe_steps, 0);
    seq_cancel(&p.seq, 10);
    seq_resume(&p.seq, -1, "killed", 20);
    assert_ended(&p, -1, "first");
    p.n_ends = 0;
    p.answer[0] = SEQ_NEXT; /* Its goal holds by now. */
    seq_start(&p.seq, probe_steps, 30);

    assert_ended(&p, 0, "third");
    assert_string_equal(p.problem, "");
}

static void a_poll_looks_again_until_it_is_content(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_POLL, SEQ_NEXT, SEQ_NEXT);
    p.done_answer[0] = SEQ_POLL;
    seq_start(&p.seq, probe_steps, 0);
    assert_int_equal(seq_tick(&p.seq, 50), SEQ_POLL_MS);
    assert_int_equal(seq_tick(&p.seq, 100), 200);
    p.done_answer[0] = SEQ_NEXT;
    (void)seq_tick(&p.seq, 200);

    assert_string_equal(p.trace, "run0 done0:0 done0:0 run1 run2 end ");
    assert_ended(&p, 0, "third");
}

static void a_poll_has_a_last_look_at_its_deadline(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_POLL, SEQ_NEXT, SEQ_NEXT);
    p.done_answer[0] = SEQ_POLL;
    seq_start(&p.seq, probe_steps, 0);
    (void)seq_tick(&p.seq, 1000);

    assert_string_equal(p.trace, "run0 done0:0 end ");
    assert_ended(&p, -1, "first");
    assert_string_equal(p.problem, "not done within 1000 ms");
}

static void an_event_lets_a_poll_come_early_but_not_in_a_rush(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_POLL, SEQ_NEXT, SEQ_NEXT);
    p.done_answer[0] = SEQ_POLL;
    seq_start(&p.seq, probe_steps, 100);
    seq_poke(&p.seq, 100);
    seq_poke(&p.seq, 101);
    assert_string_equal(p.trace, "run0 done0:0 ");
    p.done_answer[0] = SEQ_NEXT;
    seq_poke(&p.seq, 105);

    assert_ended(&p, 0, "third");
    seq_poke(&p.seq, 110);
    assert_int_equal(p.n_ends, 1);
}

static void a_poke_does_not_touch_an_operation_in_flight(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_WAIT, SEQ_NEXT, SEQ_NEXT);
    seq_start(&p.seq, probe_steps, 100);
    seq_poke(&p.seq, 500);

    assert_string_equal(p.trace, "run0 ");
    seq_resume(&p.seq, 0, NULL, 501);
    assert_ended(&p, 0, "third");
}

/* done may start the next operation of a step that has several. */
static void done_may_start_another_operation(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_WAIT, SEQ_NEXT, SEQ_NEXT);
    p.done_answer[0] = SEQ_WAIT;
    seq_start(&p.seq, probe_steps, 0);
    seq_resume(&p.seq, 0, NULL, 1);
    p.done_answer[0] = SEQ_NEXT;
    seq_resume(&p.seq, 0, NULL, 2);

    assert_string_equal(p.trace, "run0 done0:0 done0:0 run1 run2 end ");
    assert_ended(&p, 0, "third");
}

static void end_may_start_the_sequence_anew(void **state)
{
    struct probe p;

    (void)state;
    probe_init(&p, SEQ_NEXT, SEQ_NEXT, SEQ_NEXT);
    p.restart = true;
    seq_start(&p.seq, probe_steps, 0);

    assert_string_equal(p.trace, "run0 run1 run2 end run0 run1 run2 end ");
    assert_int_equal(p.n_ends, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_whose_goal_is_reached_run_through_at_once),
        cmocka_unit_test(an_operation_is_waited_for_and_its_success_goes_on),
        cmocka_unit_test(a_failing_operation_ends_the_sequence_with_its_problem),
        cmocka_unit_test(each_row_has_a_point_before_and_after_its_run),
        cmocka_unit_test(a_failing_run_ends_the_sequence),
        cmocka_unit_test(done_may_forgive_a_failure),
        cmocka_unit_test(a_hung_operation_is_aborted_once_and_then_waited_for),
        cmocka_unit_test(an_operation_that_succeeds_while_aborted_counts),
        cmocka_unit_test(progress_moves_the_deadline),
        cmocka_unit_test(cancel_during_a_wait_aborts_and_waits_for_the_callback),
        cmocka_unit_test(cancel_after_the_deadline_does_not_abort_twice),
        cmocka_unit_test(cancel_of_a_step_without_abort_waits),
        cmocka_unit_test(cancel_of_a_polling_step_ends_at_once),
        cmocka_unit_test(cancel_of_nothing_does_nothing),
        cmocka_unit_test(a_cancelled_sequence_can_be_run_again),
        cmocka_unit_test(a_poll_looks_again_until_it_is_content),
        cmocka_unit_test(a_poll_has_a_last_look_at_its_deadline),
        cmocka_unit_test(an_event_lets_a_poll_come_early_but_not_in_a_rush),
        cmocka_unit_test(a_poke_does_not_touch_an_operation_in_flight),
        cmocka_unit_test(done_may_start_another_operation),
        cmocka_unit_test(end_may_start_the_sequence_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
