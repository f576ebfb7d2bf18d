/*
 * L1: once the faults are over there is a primary that takes writes, and every
 * server streams from it, within bounded time and for a while.
 */
#include "checks.h"
#include "sim_client.h"
#include "sim_sync.h"
#include "trace.h"

#define LIMIT_US (240 * SIM_S)
#define STAY_US  (5 * SIM_S)

static const struct sim_node *find_primary(const struct sim *s)
{
    for (int i = 0; i < s->n_nodes; i++) {
        const struct sim_node *n = s->nodes[i];

        if (n->is_up && n->pg.run == PG_RUN_PRIMARY && n->agent->is_primary_now &&
            sim_client_last_ack_us(s, i) + SIM_S > s->now_us) {
            return n;
        }
    }
    return NULL;
}

static bool streams_from(const struct sim *s, const struct sim_node *n, const struct sim_node *p)
{
    return n->pg.run == PG_RUN_STANDBY && n->pg.upstream == p->i &&
           n->pg.connected_to == p->pg.incarnation &&
           wal_contains(&s->wal, p->pg.flushed, n->pg.flushed) &&
           n->pg.flushed.depth + 100 >= p->pg.flushed.depth;
}

/* It made a database, and was cut off before it could say so. What to do with it
 * is for people to decide (S7). */
static bool has_other_database(const struct sim *s, const struct sim_node *n)
{
    const struct store *store = &n->agent->store;

    return n->pg.data == DATA_VALID &&
           s->wal.branches[n->pg.flushed.branch].sysid != store->cluster.sysid;
}

/* Who declared the newest timeline lost its Raft state before it promoted, or before it could
 * say how far it got. Under its new id it does not vouch for it, nobody else can, and a
 * bound was asked for: an order of an operator's is needed (docs/decisions/0005). */
static bool needs_an_order(const struct sim *s)
{
    const struct store *store = NULL;

    for (int i = 0; i < s->n_nodes; i++) {
        const struct sim_node *n = s->nodes[i];

        if (!n->is_up || !n->agent->caught_up) {
            return false;
        }
        store = &n->agent->store;
    }
    for (int i = 0; i < s->n_nodes; i++) {
        const struct sim_node *n = s->nodes[i];

        if (n->id == store->line.owner_id ||
            (n->pg.data == DATA_VALID && store->progress.timeline >= store->line.timeline &&
             wal_timeline(&s->wal, n->pg.flushed) >= store->line.timeline)) {
            return false;
        }
    }
    return store->line.owner_id != 0 && (s->lag_bound >= 0 || s->check_timeline);
}

/* What is left of the database is with nodes whose tags forbid promotion: an operator's order
 * by name is needed (S4). */
static bool only_the_barred_have_data(const struct sim *s)
{
    bool found = false;

    for (int i = 0; i < s->n_nodes; i++) {
        const struct sim_node *n = s->nodes[i];

        if (!n->is_up || !n->agent->caught_up) {
            return false;
        }
        if (n->mode == MODE_POSTGRES && n->pg.data == DATA_VALID && !has_other_database(s, n)) {
            if (!n->nofailover) {
                return false;
            }
            found = true;
        }
    }
    return found;
}

/* Strict, and every other server has a database of its own: nobody can be the synchronous
 * standby, and what is written waits, as asked for, until people have decided of that one. */
static bool waits_as_asked(const struct sim *s)
{
    bool has_primary = false;

    for (int i = 0; i < s->n_nodes; i++) {
        const struct sim_node *n = s->nodes[i];

        if (!n->is_up || !n->agent->caught_up) {
            return false;
        }
        if (n->mode != MODE_POSTGRES || has_other_database(s, n)) {
            continue;
        }
        if (has_primary || n->pg.run != PG_RUN_PRIMARY || !n->agent->is_primary_now) {
            return false;
        }
        has_primary = true;
    }
    return has_primary && sim_sync_mode(s) == SYNC_STRICT;
}

static bool all_is_well(const struct sim *s, const char **ret_what, const struct sim_node **ret_who)
{
    const struct sim_node *primary = find_primary(s);

    *ret_who = primary;
    *ret_what = "there is no primary that takes writes";
    if (primary == NULL) {
        return false;
    }
    for (int i = 0; i < s->n_nodes; i++) {
        const struct sim_node *n = s->nodes[i];

        *ret_who = n;
        *ret_what = "its agent is not up to date";
        if (!n->is_up || !n->agent->caught_up ||
            n->agent->store.primary.epoch != primary->agent->store.primary.epoch) {
            return false;
        }
        *ret_what = "it does not stream from the primary";
        if (n->mode == MODE_POSTGRES && n != primary && !has_other_database(s, n) &&
            !streams_from(s, n, primary)) {
            return false;
        }
    }
    return true;
}

bool checks_liveness_is_over(struct sim *s)
{
    const char *what;
    const struct sim_node *who;

    bool excused = needs_an_order(s) || only_the_barred_have_data(s) || waits_as_asked(s);

    if (all_is_well(s, &what, &who) || excused) {
        if (s->checks->well_since_us == 0) {
            s->checks->well_since_us = s->now_us;
        }
        if (s->now_us >= s->checks->well_since_us + STAY_US) {
            s->stats.orders_needed += excused;
            check_s3_stores_equal(s);
            return true;
        }
        return false;
    }
    s->checks->well_since_us = 0;
    if (s->now_us > s->healed_us + LIMIT_US) {
        checks_fail(s, who, "L1: %u s after the last fault %s", (unsigned)(LIMIT_US / SIM_S), what);
        return true;
    }
    return false;
}
