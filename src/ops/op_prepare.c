/*
 * pre_promote: the operator's command that may refuse a promotion. Only decided with the
 * lease, before anything of the promotion is declared or claimed: who is refused can still
 * let another member take over, in synchronous modes too.
 *
 * Happy path: it ends with 0.
 *
 * Failure modes: it ends with another code, can not be run, or takes longer than
 * PRE_PROMOTE_MS: no promotion. If another member can take over the epoch is released (rule
 * promote-failed), else it is run again after the back-off. It is cut off, with all it
 * started, when the lease is lost: what it does to others it may not do then.
 */
#include "ops/ops_internal.h"

#define PRE_PROMOTE_MS SECONDS(60)

static enum seq_next script_run(struct seq *s)
{
    struct op *o = op_of(s);

    return op_run_script(o, "pre_promote", pg_options(op_pg(o))->pre_promote);
}

/* clang-format off */
const struct seq_step op_prepare_steps[] = {
    /* name       run         done   abort          limit ms        progress */
    {"script",    script_run, NULL,  op_kill_child, PRE_PROMOTE_MS, NULL},
    {0},
};
/* clang-format on */
