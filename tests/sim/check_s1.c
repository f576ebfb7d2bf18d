/*
 * S1: nobody acknowledges a row while another node holds a live lease, nor a
 * row that was sent after another node acknowledged one under a later epoch;
 * and two leases are never live at once. True time decides; each deadline is
 * read by the clocks of the node that holds it. Nobody acknowledges one after the
 * deadline its guard was armed with, but in an epoch that the log marks as unfenced at that
 * moment; and what is frozen is frozen before it.
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

static void check_overlap(struct sim *s, const struct sim_node *n, const struct sim_ack *ack)
{
    for (int i = 0; i < s->n_nodes; i++) {
        const struct sim_node *other = s->nodes[i];

        if (i != n->i && holds_lease(s, other)) {
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
            ack->sent_us > later->first_ack_us) {
            checks_fail(s, n,
                        "S1: row sent after %s acknowledged one of epoch %u, "
                        "acknowledged under epoch %u",
                        s->nodes[later->first_ack_node]->name, (unsigned)epoch,
                        (unsigned)ack->epoch);
        }
    }
}

/* A killed process may still have been on its way for that long. */
#define GRACE_NS NS_PER_MS

void check_s1_armed(struct sim *s, const struct sim_node *n)
{
    s->checks->deadlines[n->i] = n->guard.logic.deadline;
}

void check_s1_boot(struct sim *s, const struct sim_node *n)
{
    s->checks->deadlines[n->i] = (struct clock_pair){0};
}

/* By the clocks of the node: the server's deadline is still ahead. */
static void check_deadline(struct sim *s, const struct sim_node *n, const struct sim_ack *ack)
{
    struct clock_pair now = sim_clock_pair(s, n);
    bool over = clock_pair_left_ns(clock_pair_add(s->checks->deadlines[n->i], GRACE_NS), now) == 0;

    if (over && s->checks->unfenced_epoch == ack->epoch) {
        s->stats.rows_unfenced++; /* Paused, and nobody else can be primary. */
    } else if (over) {
        checks_fail(s, n, "S1: row acknowledged under epoch %u after the deadline",
                    (unsigned)ack->epoch);
    }
}

void check_s1_frozen(struct sim *s, const struct sim_node *n)
{
    const struct guard_logic *g = &n->guard.logic;

    if (!s->stats.late_is_measured || g->late_ns_max > s->stats.late_ns_max) {
        s->stats.late_ns_max = g->late_ns_max;
    }
    s->stats.late_is_measured = true;
    if (g->late_ns_max > 0) {
        checks_fail(s, n, "S1: frozen %lld us after the deadline",
                    (long long)g->late_ns_max / 1000);
    }
}

void check_s1_ack(struct sim *s, const struct sim_node *n, const struct sim_ack *ack)
{
    struct sim_epoch *epoch = &s->checks->epochs[ack->epoch];

    check_deadline(s, n, ack);
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
