/*
 * The driver of step tables. A sequence is always in exactly one of four
 * conditions: not running; inside a step function (never seen from outside);
 * waiting for one callback; polling. Every entry point below moves it from one
 * to another, and finish() is the only way out.
 */
#include "ops/seq.h"

static const struct seq_step *step_of(const struct seq *s)
{
    return &s->steps[s->at];
}

const char *seq_step_name(const struct seq *s)
{
    return s->running ? step_of(s)->name : "";
}

static void finish(struct seq *s, int status)
{
    const char *step;

    PRE(s->running);
    PRE(!s->waiting);

    step = s->steps[status == 0 ? s->at - 1 : s->at].name;
    s->running = false;
    s->poll_ms = 0;
    s->end(s, status, step);
}

static void enter_step(struct seq *s)
{
    s->overdue = false;
    s->status = 0;
    s->step_started_ms = s->now_ms;
    s->limit_from_ms = s->now_ms;
    s->progress = 0;
    s->progress_ms = s->now_ms + SEQ_PROGRESS_MS;
    s->poll_every_ms = SEQ_POLL_MS;
    s->looked_ms = 0;
}

static void reach_point(struct seq *s, const char *when)
{
    if (s->at_point != NULL) {
        s->at_point(s, when);
    }
}

/* Every step of every sequence begins here. */
static enum seq_next run_step(struct seq *s)
{
    enum seq_next next;

    enter_step(s);
    reach_point(s, "before");
    next = step_of(s)->run(s);
    reach_point(s, "after");
    return next;
}

/* The step's goal is reached; nothing is in flight. */
static void leave_step(struct seq *s)
{
    s->problem.text[0] = '\0';
    s->at++;
}

/* Acts on the answer of a step function, and runs the steps that follow from it. */
static void go_on(struct seq *s, enum seq_next next)
{
    PRE(s->running);

    while (next == SEQ_NEXT) {
        leave_step(s);
        if (step_of(s)->name == NULL) {
            finish(s, 0);
            return;
        }
        next = run_step(s);
    }
    if (next == SEQ_WAIT) {
        s->waiting = true;
    } else if (next == SEQ_POLL) {
        PRE(step_of(s)->done != NULL);
        s->poll_ms = s->now_ms + s->poll_every_ms;
    } else {
        if (s->problem.text[0] == '\0') {
            err_set(&s->problem, "failed");
        }
        finish(s, -1);
    }
}

void seq_start(struct seq *s, const struct seq_step *steps, uint64_t now_ms)
{
    PRE(!s->running);
    PRE(s->end != NULL);
    PRE(steps[0].name != NULL);

    s->steps = steps;
    s->at = 0;
    s->running = true;
    s->waiting = false;
    s->cancelled = false;
    s->poll_ms = 0;
    s->now_ms = now_ms;
    s->problem.text[0] = '\0';
    go_on(s, run_step(s));
}

static void note_problem(struct seq *s, const char *problem)
{
    const char *text = problem != NULL && problem[0] != '\0' ? problem : "failed";

    if (s->overdue) {
        err_set(&s->problem, "not done within %llu ms: %s",
                (unsigned long long)step_of(s)->limit_ms, text);
    } else {
        err_set(&s->problem, "%s", text);
    }
}

void seq_resume(struct seq *s, int status, const char *problem, uint64_t now_ms)
{
    PRE(s->running);
    PRE(s->waiting);

    s->waiting = false;
    s->now_ms = now_ms;
    s->status = status;
    if (s->cancelled) {
        finish(s, -1);
        return;
    }
    if (status != 0) {
        note_problem(s, problem);
    }
    if (step_of(s)->done != NULL) {
        go_on(s, step_of(s)->done(s));
    } else {
        go_on(s, status == 0 ? SEQ_NEXT : SEQ_FAIL);
    }
}

static void abort_step(struct seq *s)
{
    if (step_of(s)->abort != NULL) {
        step_of(s)->abort(s);
    }
}

void seq_cancel(struct seq *s, uint64_t now_ms)
{
    if (!s->running || s->cancelled) {
        return;
    }
    s->now_ms = now_ms;
    s->cancelled = true;
    err_set(&s->problem, "cancelled");
    if (!s->waiting) {
        finish(s, -1);
    } else if (!s->overdue) {
        abort_step(s); /* Once an operation; then its callback is waited for. */
    }
}

static void look(struct seq *s)
{
    s->poll_ms = 0;
    s->looked_ms = s->now_ms;
    go_on(s, step_of(s)->done(s));
}

static uint64_t deadline_of(const struct seq *s)
{
    uint64_t limit_ms = step_of(s)->limit_ms;

    if (limit_ms == 0 || s->overdue || s->cancelled) {
        return UINT64_MAX;
    }
    return s->limit_from_ms + limit_ms;
}

/* The step had its time. What is in flight is asked to end, and waited for. */
static void run_over(struct seq *s)
{
    s->overdue = true;
    if (s->waiting) {
        abort_step(s);
        return;
    }
    if (s->problem.text[0] != '\0') {
        err_wrap(&s->problem, "not done within %llu ms", (unsigned long long)step_of(s)->limit_ms);
    } else {
        err_set(&s->problem, "not done within %llu ms", (unsigned long long)step_of(s)->limit_ms);
    }
    finish(s, -1);
}

static void watch_progress(struct seq *s)
{
    uint64_t progress;

    if (step_of(s)->progress == NULL || !s->waiting || s->now_ms < s->progress_ms) {
        return;
    }
    s->progress_ms = s->now_ms + SEQ_PROGRESS_MS;
    progress = step_of(s)->progress(s);
    if (progress != s->progress) {
        s->progress = progress;
        s->limit_from_ms = s->now_ms;
    }
}

static uint64_t next_tick(const struct seq *s)
{
    uint64_t next_ms = deadline_of(s);

    if (s->poll_ms != 0) {
        next_ms = MIN(next_ms, s->poll_ms);
    }
    if (step_of(s)->progress != NULL && s->waiting) {
        next_ms = MIN(next_ms, s->progress_ms);
    }
    return next_ms;
}

uint64_t seq_tick(struct seq *s, uint64_t now_ms)
{
    if (!s->running) {
        return UINT64_MAX;
    }
    s->now_ms = now_ms;
    watch_progress(s);
    /* A last look comes before the verdict that it took too long. */
    if (s->poll_ms != 0 && (now_ms >= s->poll_ms || now_ms >= deadline_of(s))) {
        look(s);
    }
    if (s->running && now_ms >= deadline_of(s)) {
        run_over(s);
    }
    return s->running ? next_tick(s) : UINT64_MAX;
}

void seq_poke(struct seq *s, uint64_t now_ms)
{
    if (!s->running || s->poll_ms == 0 || now_ms < s->looked_ms + SEQ_POKE_MS) {
        return;
    }
    s->now_ms = now_ms;
    look(s);
}
