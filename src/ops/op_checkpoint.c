/*
 * CHECKPOINT after a promotion. Until it is done pg_control still names the old
 * timeline, and a pg_rewind against this node would say "no rewind required"
 * on a node that had diverged.
 *
 * Happy path: the statement, then an observation that shows its result.
 * Failure modes: no connection, or a checkpoint longer than the deadline on a
 * slow disk: tried again with back-off; PostgreSQL goes on with the one it has
 * begun, so the next try only waits for that.
 */
#include "ops/ops_internal.h"

#define CHECKPOINT_MS MINUTES(2)

static enum seq_next checkpoint_run(struct seq *s)
{
    struct op *o = op_of(s);

    pg_execute(op_pg(o), "CHECKPOINT", CHECKPOINT_MS, op_on_done, o);
    return SEQ_WAIT;
}

static enum seq_next seen_run(struct seq *s)
{
    return op_look(op_of(s))->view.promoted_checkpoint_due ? SEQ_POLL : SEQ_NEXT;
}

/* clang-format off */
const struct seq_step op_checkpoint_steps[] = {
    /* name          run             done      abort  limit ms     progress */
    {"checkpoint",   checkpoint_run, NULL,     NULL,  0,           NULL}, /* pg_execute's own. */
    {"confirm",      seen_run,       seen_run, NULL,  SECONDS(10), NULL},
    {0},
};
/* clang-format on */
