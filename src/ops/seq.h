/*
 * The driver of step tables (style.md 1.5): one operation in flight, deadlines
 * and abort per row, every step idempotent, `end` exactly once and last.
 *
 * Nothing here allocates, reads a clock or knows PostgreSQL. The owner keeps
 * the struct alive until `end` was called: an operation that was cancelled or
 * ran over its deadline is asked to end (abort), and then waited for.
 */
#ifndef VECHE_OPS_SEQ_H
#define VECHE_OPS_SEQ_H

#include "base/err.h"

struct seq;

enum seq_next {
    SEQ_NEXT, /* Goal of the step reached: go on with the next row at once. */
    SEQ_WAIT, /* An operation was started; its callback calls seq_resume. */
    SEQ_POLL, /* Nothing in flight; call `done` again after s->poll_every_ms. */
    SEQ_FAIL, /* seq->problem says why. */
};

struct seq_step {
    const char *name; /* Permanent: log, status, stop points of tests. */
    enum seq_next (*run)(struct seq *s);
    enum seq_next (*done)(struct seq *s); /* After resume or poll; NULL: status 0 = next. */
    void (*abort)(struct seq *s);         /* Asks the operation in flight to end early. */
    uint64_t limit_ms;                    /* 0: none. */
    /* NULL, or how far the operation is, in any unit: while it changes, limit_ms
     * counts anew. For operations whose length nobody knows. */
    uint64_t (*progress)(struct seq *s);
};

#define SEQ_POLL_MS     100  /* Between polls, unless a step says otherwise. */
#define SEQ_PROGRESS_MS 1000 /* Between looks at the progress of an operation. */
#define SEQ_POKE_MS     5    /* An event lets a poll come early, but not more often than this. */

struct seq {
    const struct seq_step *steps; /* Ends with a row without name. */
    size_t at;
    bool running;
    bool waiting;    /* An operation is in flight. */
    bool cancelled;  /* End as soon as nothing is in flight. */
    bool overdue;    /* The step's deadline passed; it was asked to end. */
    int status;      /* Of the last operation; set by seq_resume. */
    uint64_t now_ms; /* Of the call that is being served; for steps. */
    uint64_t step_started_ms;
    uint64_t limit_from_ms; /* limit_ms counts from here: start, or last progress. */
    uint64_t progress;      /* As last seen. */
    uint64_t progress_ms;   /* When to look at it again. */
    uint64_t poll_ms;       /* When to call `done` again; 0 = not polling. */
    uint64_t poll_every_ms; /* A step may change it in run; SEQ_POLL_MS at its start. */
    uint64_t looked_ms;     /* Last poll. */
    struct err problem;     /* Why it failed; empty while all is well. */
    /* NULL but in tests of interruption: right before ("before") and right after
     * ("after") each call of a step's run. */
    void (*at_point)(struct seq *s, const char *when);
    /* Once, last. status 0 = all rows done; step = where it ended. The driver does
     * not touch s afterwards: `end` may start it anew or free it. */
    void (*end)(struct seq *s, int status, const char *step);
};

/* s->end must be set. May call `end` before it returns. */
void seq_start(struct seq *s, const struct seq_step *steps, uint64_t now_ms);
/* From the callback of the operation in flight. problem: NULL or the reason. */
void seq_resume(struct seq *s, int status, const char *problem, uint64_t now_ms);
/* Ends it with status -1: now, or when the operation in flight has called back. */
void seq_cancel(struct seq *s, uint64_t now_ms);
/* Deadlines and polls; to be called from every tick. Returns the next time to
 * call it, UINT64_MAX if none. */
uint64_t seq_tick(struct seq *s, uint64_t now_ms);
/* Something was observed: a polling step looks now instead of later. */
void seq_poke(struct seq *s, uint64_t now_ms);

/* Name of the step it is in; "" when nothing runs. */
const char *seq_step_name(const struct seq *s);

#endif
