/*
 * The driver of step tables (style.md 1.5): one operation in flight, deadlines
 * and abort per row, every step idempotent, `end` exactly once and last.
 */
#ifndef VECHE_OPS_SEQ_H
#define VECHE_OPS_SEQ_H

#include "base/err.h"

struct seq;

enum seq_next {
    SEQ_NEXT, /* Goal of the step reached: go on with the next row at once. */
    SEQ_WAIT, /* An operation was started; its callback calls seq_resume. */
    SEQ_POLL, /* Nothing in flight; call `done` again after poll_ms. */
    SEQ_FAIL, /* seq->problem says why. */
};

struct seq_step {
    const char *name;                    /* Permanent: log, status, stop points of tests. */
    enum seq_next (*run)(struct seq *s);
    enum seq_next (*done)(struct seq *s); /* After resume or poll; NULL: status 0 = next. */
    void (*abort)(struct seq *s);         /* Asks the operation in flight to end early. */
    uint64_t limit_ms;                    /* 0: none. */
};

struct seq {
    const struct seq_step *steps;   /* Ends with a row without name. */
    size_t at;
    bool running;
    bool waiting;                   /* An operation is in flight. */
    bool cancelled;                 /* End as soon as nothing is in flight. */
    int status;                     /* Of the last operation; set by seq_resume. */
    uint64_t step_started_ms;
    uint64_t poll_ms;               /* When to call `done` again; 0 = not polling. */
    struct err problem;
    /* Once, last. status 0 = all rows done; step = where it ended. */
    void (*end)(struct seq *s, int status, const char *step);
};

void seq_start(struct seq *s, const struct seq_step *steps, uint64_t now_ms);
void seq_resume(struct seq *s, int status, const char *problem, uint64_t now_ms);
void seq_cancel(struct seq *s, uint64_t now_ms);
/* Deadlines and polls; to be called from every tick. Returns the next time to
 * call it, UINT64_MAX if none. */
uint64_t seq_tick(struct seq *s, uint64_t now_ms);

#endif
