/*
 * FENCE: from now on no write may be acknowledged. CLEAN_UP: the postmaster is
 * gone, what it left behind must go too.
 *
 * Happy path of a fence: where there is no lease any more, SIGKILL to everything,
 * inside the tick that decided it; with the lease SIGQUIT goes out first, in that
 * tick too; most of PostgreSQL is gone within milliseconds;
 * what is not after FENCE_QUIT_MS gets SIGKILL, and is counted until no
 * process of the data directory is left.
 *
 * Failure modes: a process that hangs in the kernel cannot be killed. Neither
 * sequence gives up then: they go on killing and counting and say so, because
 * there is nothing better to do. An operation of the sequence a fence cut off
 * may still be starting a server: the fence is over only when that has ended
 * as well and the count after it is zero.
 *
 * No step has an operation in flight: that is what allows these two to run
 * beside a sequence that is still being cancelled.
 */
#include "ops/ops_internal.h"

#include "base/log.h"

#define FENCE_QUIT_MS 200
#define FENCE_POLL_MS 20
#define FENCE_NAG_MS  SECONDS(5)

/* The deadline is over, or frozen processes would take the signal for later. */
static bool is_hard(struct seq *s)
{
    return op_of(s)->decision.kill;
}

static enum seq_next quit_run(struct seq *s)
{
    if (is_hard(s)) {
        return SEQ_NEXT;
    }
    pg_signal_stop(op_pg(op_of(s)), PG_STOP_IMMEDIATE);
    s->poll_every_ms = FENCE_POLL_MS;
    return SEQ_POLL;
}

static enum seq_next quit_done(struct seq *s)
{
    bool over = s->now_ms >= s->step_started_ms + FENCE_QUIT_MS;

    return over || pg_is_down(op_pg(op_of(s))) ? SEQ_NEXT : SEQ_POLL;
}

/* Once in a while, for as long as it takes. */
static void nag(struct seq *s, uint32_t n_left)
{
    if (s->now_ms >= s->limit_from_ms + FENCE_NAG_MS) {
        s->limit_from_ms = s->now_ms; /* The step has no limit to count from it. */
        log_error("Processes of the data directory survive SIGKILL, still trying. left=%u ms=%llu",
                  n_left, (unsigned long long)(s->now_ms - s->step_started_ms));
    }
}

static enum seq_next kill_run(struct seq *s)
{
    struct pg *pg = op_pg(op_of(s));
    uint32_t n_left = pg_kill_all(pg);

    /* Down is more than none left: the end of the postmaster was noticed as well. */
    if (n_left == 0 && pg_is_down(pg) && !op_of(s)->ops->main.seq.running) {
        return SEQ_NEXT;
    }
    if (n_left > 0) {
        nag(s, n_left);
    }
    s->poll_every_ms = FENCE_POLL_MS;
    return SEQ_POLL;
}

/* clang-format off */
const struct seq_step op_fence_steps[] = {
    /* name     run       done       abort  limit ms  progress */
    {"quit",    quit_run, quit_done, NULL,  0,        NULL}, /* FENCE_QUIT_MS */
    {"kill",    kill_run, kill_run,  NULL,  0,        NULL}, /* Never gives up. */
    {0},
};

const struct seq_step op_clean_up_steps[] = {
    /* name     run       done       abort  limit ms  progress */
    {"kill",    kill_run, kill_run,  NULL,  0,        NULL}, /* Never gives up. */
    {0},
};
/* clang-format on */
