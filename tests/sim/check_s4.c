/*
 * S4: no promotion against tags, a diverged timeline, the lag bound or the
 * synchronous set, unless the ledger shows an operator's order. And that the
 * WAL of the cluster is one line: who streams has a piece of it.
 */
#include "base/str.h"
#include "checks.h"
#include "trace.h"

/* The newest beginning of an epoch in the ledger says so. */
bool check_is_ordered(const struct store *store)
{
    const struct store_ledger_entry *entry;

    for (uint64_t k = 0; (entry = store_ledger_newest(store, k)) != NULL; k++) {
        if (entry->epoch == store->primary.epoch &&
            (str_equal(entry->result, "epoch-forced") ||
             str_equal(entry->result, "epoch-overruled-sync"))) {
            return true;
        }
        if (str_equal(entry->result, "epoch-taken")) {
            return false;
        }
    }
    return false;
}

static void check_lag(struct sim *s, const struct sim_node *n)
{
    const struct store *store = &n->agent->store;
    lsn_t position = wal_lsn(n->pg.flushed);
    lsn_t known = 0;

    if (s->lag_bound < 0) {
        return;
    }
    if (store->progress.timeline >= wal_timeline(&s->wal, n->pg.flushed)) {
        known = store->progress.lsn;
    }
    if (known > position && known - position > (uint64_t)s->lag_bound) {
        checks_fail(s, n, "S4: promoted %llu bytes behind what the store knows of the WAL",
                    (unsigned long long)(known - position));
    }
}

/* A server whose answer can not have been missed has far more. */
static void check_rivals(struct sim *s, const struct sim_node *n)
{
    for (int i = 0; i < s->n_nodes; i++) {
        const struct sim_node *other = s->nodes[i];

        if (i == n->i || !other->is_up || other->pg.run != PG_RUN_STANDBY || other->nofailover ||
            !sim_can_reach(s, i, n->i) || other->agent->view.n_peers < 2 ||
            s->now_us < MAX(other->paused_until_us, other->agent_paused_until_us) + 5 * SIM_S ||
            s->now_us < other->pg.started_us + 20 * SIM_S || s->stats.losses != 0) {
            continue;
        }
        if (wal_lsn(other->pg.flushed) > wal_lsn(n->pg.flushed) + 100 * WAL_RECORD_BYTES &&
            wal_contains(&s->wal, s->checks->main, other->pg.flushed)) {
            checks_fail(s, n, "S4: promoted although %s has %u records more", other->name,
                        other->pg.flushed.depth - n->pg.flushed.depth);
        }
    }
}

void check_s4_promotion(struct sim *s, const struct sim_node *n)
{
    const struct store *store = &n->agent->store;
    bool ordered = check_is_ordered(store);

    if (n->nofailover) {
        checks_fail(s, n, "S4: promoted against its tag nofailover");
    }
    if (!ordered && !s->options.sync) { /* Whoever holds all that was acknowledged is exempt. */
        check_lag(s, n);
        check_rivals(s, n);
    }
    if (!ordered && !store_sync_allows(store, n->name)) {
        checks_fail(s, n, "S4: promoted against the synchronous set");
    }
}

/*
 * Whoever becomes writable goes on from where the last writer was or from
 * before; not from a line of its own, unless an operator wants that.
 */
void check_s4_writable(struct sim *s, const struct sim_node *n, struct wal_pos at)
{
    struct sim_checks *c = s->checks;
    const struct store *store = &n->agent->store;
    bool is_first = store->cluster.init != INIT_DONE; /* A database nobody knows yet. */

    if (!is_first && !check_is_ordered(store) && !wal_contains(&s->wal, c->main, at) &&
        !wal_contains(&s->wal, at, c->main)) {
        checks_fail(s, n,
                    "S4: writes on a line that diverged: at %u of branch %u, the last "
                    "writer was at %u of branch %u",
                    at.depth, at.branch, c->main.depth, c->main.branch);
    }
    check_s2_writable(s, n, at);
    c->main = n->pg.flushed;
    c->main_node = n->i;
}

void check_wal_stream(struct sim *s, const struct sim_node *n, const struct sim_node *upstream)
{
    if (!wal_contains(&s->wal, upstream->pg.flushed, n->pg.flushed)) {
        checks_fail(s, n,
                    "WAL: streams from %s with other content at the same position: %u of "
                    "branch %u against branch %u",
                    upstream->name, n->pg.flushed.depth, n->pg.flushed.branch,
                    upstream->pg.flushed.branch);
    }
}

/* S5: whatever cut a copy off, what it left is seen to be no database. */
void check_s5_start(struct sim *s, const struct sim_node *n)
{
    if (n->pg.torn) {
        checks_fail(s, n, "S5: started on data that a copy left half done");
    }
}
