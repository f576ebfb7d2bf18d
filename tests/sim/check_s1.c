/*
 * S1: nobody acknowledges a row while another node holds a live lease, nor a
 * row that was sent after another node acknowledged one under a later epoch;
 * and two leases are never live at once. True time decides; each deadline is
 * read by the clocks of the node that holds it.
 */
#include "checks.h"
#include "trace.h"

static bool holds_lease(const struct sim *s, const struct sim_node *n)
{
    struct lease_time deadline;

    if (!n->is_up) {
        return false;
    }
    deadline = lease_owner_deadline(&n->agent->owner);
    return lease_left_owner_ns(deadline, sim_lease_now(s, n)) > 0;
}

void check_s1_lease(struct sim *s, const struct sim_node *n)
{
    if (!holds_lease(s, n)) {
        return;
    }
    for (int i = 0; i < s->n_nodes; i++) {
        const struct sim_node *other = s->nodes[i];

        if (i != n->i && holds_lease(s, other)) {
            checks_fail(s, n, "S1: lease of epoch %u while %s holds that of epoch %u",
                        (unsigned)lease_owner_epoch(&n->agent->owner), other->name,
                        (unsigned)lease_owner_epoch(&other->agent->owner));
        }
    }
}

/* Its agent was killed alone: without a guard nothing stops the server. */
static bool is_covered(struct sim *s, const struct sim_node *n)
{
    s->stats.uncovered += n->pg.agent_was_killed ? 1 : 0;
    return !n->pg.agent_was_killed;
}

static void check_overlap(struct sim *s, const struct sim_node *n, const struct sim_ack *ack)
{
    for (int i = 0; i < s->n_nodes; i++) {
        const struct sim_node *other = s->nodes[i];

        if (i != n->i && holds_lease(s, other) && is_covered(s, n)) {
            checks_fail(s, n, "S1: row acknowledged under epoch %u, %s holds the lease of epoch %u",
                        (unsigned)ack->epoch, other->name,
                        (unsigned)lease_owner_epoch(&other->agent->owner));
        }
    }
}

static void check_order(struct sim *s, const struct sim_node *n, const struct sim_ack *ack)
{
    const struct sim_checks *c = s->checks;

    for (uint64_t epoch = ack->epoch + 1; epoch <= c->epoch_max; epoch++) {
        const struct sim_epoch *later = &c->epochs[epoch];

        if (later->first_ack_us != 0 && later->first_ack_node != n->i &&
            ack->sent_us > later->first_ack_us && is_covered(s, n)) {
            checks_fail(s, n,
                        "S1: row sent after %s acknowledged one of epoch %u, "
                        "acknowledged under epoch %u",
                        s->nodes[later->first_ack_node]->name, (unsigned)epoch,
                        (unsigned)ack->epoch);
        }
    }
}

void check_s1_ack(struct sim *s, const struct sim_node *n, const struct sim_ack *ack)
{
    struct sim_epoch *epoch = &s->checks->epochs[ack->epoch];

    check_overlap(s, n, ack);
    check_order(s, n, ack);
    if (epoch->first_ack_us == 0) {
        epoch->first_ack_us = s->now_us;
        epoch->first_ack_node = n->i;
    }
    s->checks->epoch_max = MAX(s->checks->epoch_max, ack->epoch);
    if (wal_contains(&s->wal, n->pg.flushed, s->checks->main)) {
        s->checks->main = n->pg.flushed;
    }
}
