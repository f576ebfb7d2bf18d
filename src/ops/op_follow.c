/*
 * A running standby gets another upstream, or none: then what it has received ends
 * there, which is wanted before it is promoted.
 *
 * Happy path: configuration with the new primary_conninfo, reload (PostgreSQL
 * 13 and newer restart the WAL receiver by themselves), and an observation
 * that names the new upstream. With none its receiver is ended as well, for the
 * startup process, which would do that, may be held up by a pause, a delay or a
 * conflict, while the receiver goes on. That is not waited for in vain: a promotion
 * itself waits for the receiver's end.
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

/* SIGTERM is what the startup process sends it, too. */
static enum seq_next end_receiver_run(struct seq *s)
{
    struct op *o = op_of(s);

    if (o->start.upstream.name[0] != '\0' || !op_look(o)->view.receives) {
        return SEQ_NEXT;
    }
    pg_end_receiver(op_pg(o));
    s->poll_every_ms = 20;
    return SEQ_POLL;
}

static enum seq_next seen_run(struct seq *s)
{
    struct op *o = op_of(s);
    const struct ops *ops = op_look(o);

    if (!ops->view.postmaster_alive) {
        return op_fail(o, "PostgreSQL has ended");
    }
    return str_equal(ops->view.upstream, o->start.upstream.name) ? SEQ_NEXT : SEQ_POLL;
}

/* clang-format off */
const struct seq_step op_follow_steps[] = {
    /* name           run               done              abort  limit ms     progress */
    {"configure",     conf_run,         NULL,             NULL,  SECONDS(60), NULL},
    {"reload",        reload_run,       NULL,             NULL,  0,           NULL},
    {"end receiver",  end_receiver_run, end_receiver_run, NULL,  SECONDS(10), NULL},
    {"confirm",       seen_run,         seen_run,         NULL,  SECONDS(10), NULL},
    {0},
};
/* clang-format on */
