/*
 * L2: an agent that is killed and back within its lease does not interrupt
 * PostgreSQL, and the loss of a minority of the others does not demote a healthy
 * primary. Such a fault is only injected into a calm cluster, and no other before
 * the verdict; sessions that are still there were never closed.
 */
#include "checks.h"
#include "trace.h"

/* Free for the present epoch: not in quarantine, nor promised to the owner of an earlier
 * one, as a node is that was cut off with it until a moment ago. */
static bool may_grant(const struct sim *s, const struct sim_node *n)
{
    const struct sim_agent *a = n->agent;
    struct lease_voter_status voter;

    lease_voter_status(&a->voter, sim_lease_now(s, n), &voter);
    return voter.state == LEASE_PROMISE_NONE ||
           (voter.state == LEASE_PROMISE_LIVE && voter.epoch == a->store.primary.epoch);
}

static bool is_ordered(const struct sim_agent *a)
{
    for (uint32_t i = 0; i < a->store.n_orders; i++) {
        if (!a->store.orders[i].ended) {
            return true;
        }
    }
    return a->store.request.kind != REQUEST_NONE;
}

static bool is_well(const struct sim *s, const struct sim_node *n)
{
    const struct sim_agent *a = n->agent;

    if (!n->is_up || !a->begun || !a->caught_up || a->stopping_since_ms != 0 ||
        is_ordered(a) || a->leadership.voters.n != s->n_nodes) {
        return false;
    }
    return may_grant(s, n) && n->paused_until_us <= s->now_us &&
           n->agent_paused_until_us <= s->now_us && n->guard.paused_until_us <= s->now_us &&
           n->disk_stalled_until_us <= s->now_us;
}

#define SETTLED_MS 3000 /* Held for so long: nobody is on the way to take over. */

bool check_l2_is_calm(const struct sim *s)
{
    for (int i = 0; i < s->n_nodes; i++) {
        if (!is_well(s, s->nodes[i])) {
            return false;
        }
        for (int j = 0; j < s->n_nodes; j++) {
            const struct sim_link *link = &s->links[i][j];

            if (link->cut || link->loss_permille != 0 || link->delay_max_us > 10 * SIM_MS) {
                return false;
            }
        }
    }
    return true;
}

/* A primary that has settled: nothing but renewals goes on. */
struct sim_node *check_l2_primary(struct sim *s)
{
    for (int i = 0; i < s->n_nodes; i++) {
        struct sim_node *n = s->nodes[i];

        if (n->is_up && n->agent->is_primary_now && n->pg.run == PG_RUN_PRIMARY &&
            !sim_pg_is_frozen(s, n) && n->agent->ops.main.action == ACTION_NONE &&
            n->pg.started_us + 10 * SIM_S < s->now_us &&
            n->agent->live_since_ms + SETTLED_MS < sim_local_ms(s, n) &&
            (n->guard.logic.phase == GUARD_ARMED || n->guard.logic.phase == GUARD_DISARMED) &&
            node_guard_confirmed_ms(s, n) * 10 > n->agent->ttl_ms * 7) {
            return n;
        }
    }
    return NULL;
}

void check_l2_expect(struct sim *s, const struct sim_node *n, uint64_t for_us, const char *what)
{
    s->checks->l2 = (struct sim_l2){.node = n->i,
                                    .until_us = s->now_us + for_us,
                                    .sessions = n->pg.sessions,
                                    .freezes = s->stats.freezes,
                                    .what = what};
}

bool check_l2_is_expected(const struct sim *s)
{
    return s->checks->l2.until_us != 0;
}

void check_l2_look(struct sim *s)
{
    struct sim_l2 *l = &s->checks->l2;
    const struct sim_node *n = s->nodes[l->node];

    if (l->until_us == 0 || s->checks->failed) {
        return;
    }
    if (n->pg.sessions != l->sessions || n->pg.run != PG_RUN_PRIMARY) {
        checks_fail(s, n, "L2: sessions of the primary ended although only %s", l->what);
    }
    if (s->stats.freezes != l->freezes) {
        checks_fail(s, n, "L2: the primary was frozen although only %s", l->what);
    }
    if (s->now_us >= l->until_us) {
        l->until_us = 0;
        s->stats.uninterrupted++;
    }
}
