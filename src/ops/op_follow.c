/*
 * A running standby gets another upstream.
 *
 * Happy path: configuration with the new primary_conninfo, reload (PostgreSQL
 * 13 and newer restart the WAL receiver by themselves), and an observation
 * that names the new upstream.
 *
 * Failure modes: the configuration cannot be written, or PostgreSQL does not
 * take it: tried again with back-off. That the new upstream does not answer is
 * no failure here; the WAL receiver keeps trying.
 */
#include "ops/ops_internal.h"

static enum seq_next conf_run(struct seq *s)
{
    op_of(s)->start.as_standby = true;
    return op_conf_run(s);
}

static enum seq_next reload_run(struct seq *s)
{
    pg_reload(op_pg(op_of(s)));
    return SEQ_NEXT;
}

static enum seq_next seen_run(struct seq *s)
{
    struct op *o = op_of(s);

    return str_equal(op_look(o)->view.upstream, o->start.upstream.name) ? SEQ_NEXT : SEQ_POLL;
}

/* clang-format off */
const struct seq_step op_follow_steps[] = {
    /* name        run         done      abort  limit ms     progress */
    {"configure",  conf_run,   NULL,     NULL,  SECONDS(60), NULL},
    {"reload",     reload_run, NULL,     NULL,  0,           NULL},
    {"confirm",    seen_run,   seen_run, NULL,  SECONDS(10), NULL},
    {0},
};
/* clang-format on */
