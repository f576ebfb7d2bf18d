/*
 * S2: what was acknowledged while a synchronous mode was on is in the WAL of whoever
 * takes writes next, unless an operator's order says otherwise. Also when the primary
 * was alone: nobody else may lead then.
 */
#include "base/str.h"
#include "checks.h"
#include "sim_sync.h"

void check_s2_ack(struct sim *s, struct sim_node *n, struct wal_pos pos)
{
    struct wal_pos *acked = &s->checks->acked;
    bool is_claimed = n->is_up && str_equal(n->agent->store.sync.primary, n->name);

    if (!s->options.sync || !(is_claimed || n->pg.claimed == n->pg.incarnation)) {
        return; /* Before the mode is in force nothing is promised. */
    }
    n->pg.claimed = n->pg.incarnation;
    if (acked->branch == 0 || wal_contains(&s->wal, pos, *acked)) {
        *acked = pos;
        s->stats.sync_rows++;
    }
}

void check_s2_writable(struct sim *s, const struct sim_node *n, struct wal_pos at)
{
    struct wal_pos *acked = &s->checks->acked;

    if (!s->options.sync || acked->branch == 0 || wal_contains(&s->wal, at, *acked)) {
        return;
    }
    if (!check_is_ordered(&n->agent->store)) {
        checks_fail(s, n,
                    "S2: takes writes from %u of branch %u without the row acknowledged at "
                    "%u of branch %u",
                    at.depth, at.branch, acked->depth, acked->branch);
    }
    *acked = at;
}

/* Counted by the owner, to see that the modes get anywhere. */
void check_s2_applied(struct sim *s, const struct sim_node *n, const struct sim_applied *a)
{
    const struct command *c = a->command;

    if (c->kind != COMMAND_SYNC_SET || a->result != APPLY_DONE ||
        !str_equal(c->sync_set.primary, n->name)) {
        return;
    }
    s->stats.sync_names += c->sync_set.n_names > 0 ? 1 : 0;
    s->stats.sync_degraded += str_equal(c->sync_set.rule, "sync-degrade") ? 1 : 0;
    s->stats.sync_replaced += str_equal(c->sync_set.rule, "sync-replace") ? 1 : 0;
}
