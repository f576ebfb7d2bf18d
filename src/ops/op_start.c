/*
 * Starting PostgreSQL in place, as primary or as standby.
 *
 * Happy path: nothing of the data directory runs; configuration is written for
 * the role (standby.signal decides it); the postmaster is forked; it accepts
 * connections.
 *
 * Failure modes:
 *  - backends of a dead postmaster are left: killed and counted out first, for
 *    they go on acknowledging;
 *  - a server runs already (started by a sequence that was cancelled, or by
 *    hand): it is waited for, not started a second time;
 *  - the postmaster dies before it is ready: the problem is its last FATAL
 *    line, and the next try backs off;
 *  - recovery takes long: no deadline here, decide() knows what is allowed.
 *
 * Cancelling leaves the server as it is: a start has no harm to undo, and what
 * was decided instead begins with a look at what runs.
 */
#include "ops/ops_internal.h"

static enum seq_next primary_conf_run(struct seq *s)
{
    op_of(s)->start.as_standby = false;
    return op_conf_run(s);
}

static enum seq_next standby_conf_run(struct seq *s)
{
    op_of(s)->start.as_standby = true;
    return op_conf_run(s);
}

/* clang-format off */
const struct seq_step op_start_primary_steps[] = {
    /* name                run                done           abort  limit ms     progress */
    {"count out",          op_absent_run,     op_absent_run, NULL,  SECONDS(60), NULL},
    {"configure",          primary_conf_run,  NULL,          NULL,  SECONDS(60), NULL},
    {"arm",                op_arm_run,        op_arm_run,    NULL,  0,           NULL}, /* The lease's. */
    {"start server",       op_server_run,     NULL,          NULL,  SECONDS(60), NULL},
    {"wait until ready",   op_ready_run,      op_ready_run,  NULL,  0,           NULL},
    {0},
};

const struct seq_step op_start_standby_steps[] = {
    /* name                run                done           abort  limit ms     progress */
    {"count out",          op_absent_run,     op_absent_run, NULL,  SECONDS(60), NULL},
    {"configure",          standby_conf_run,  NULL,          NULL,  SECONDS(60), NULL},
    {"start server",       op_server_run,     NULL,          NULL,  SECONDS(60), NULL},
    {"wait until ready",   op_ready_run,      op_ready_run,  NULL,  0,           NULL},
    {0},
};
/* clang-format on */
