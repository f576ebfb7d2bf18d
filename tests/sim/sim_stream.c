/*
 * Streaming replication of the model. A standby that connects is judged as
 * PostgreSQL would: by timeline numbers and positions. Whether the WAL behind
 * them really is the same, only the checker knows.
 */
#include "checks.h"
#include "sim_node.h"
#include "trace.h"

struct wal_arrival {
    struct wal_pos pos;
    uint32_t upstream_incarnation;
};

static bool has_walsender(const struct sim_pg *pg)
{
    return pg->run == PG_RUN_PRIMARY || pg->run == PG_RUN_STANDBY || pg->run == PG_RUN_STOPPING;
}

/* Where the upstream says that our timeline ended, if it did. */
static void learn_switch(const struct sim *s, struct sim_pg *pg, const struct sim_pg *up)
{
    uint32_t end;

    if (wal_timeline_end(&s->wal, up->flushed, wal_timeline(&s->wal, pg->flushed), &end)) {
        pg->switch_lsn = wal_lsn((struct wal_pos){up->flushed.branch, end});
    }
}

static bool is_accepted(const struct sim *s, const struct sim_pg *pg, const struct sim_pg *up)
{
    uint32_t ours = wal_timeline(&s->wal, pg->flushed);
    uint32_t theirs = wal_timeline(&s->wal, up->flushed);
    uint32_t end;

    if (s->wal.branches[pg->flushed.branch].sysid != s->wal.branches[up->flushed.branch].sysid ||
        ours > theirs) {
        return false;
    }
    if (ours == theirs) {
        return pg->flushed.depth <= up->flushed.depth;
    }
    return wal_timeline_end(&s->wal, up->flushed, ours, &end) && pg->flushed.depth <= end;
}

static void on_wal(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    struct sim_pg *pg = &n->pg;
    const struct wal_arrival *a = e->data;

    if (e->number != pg->incarnation || pg->run != PG_RUN_STANDBY || pg->promoting ||
        pg->connected_to != a->upstream_incarnation ||
        !wal_contains(&s->wal, a->pos, pg->flushed)) {
        return;
    }
    pg->flushed = a->pos;
    pg->received_any = true;
}

static void ship(struct sim *s, struct sim_node *n, const struct sim_pg *up)
{
    const struct sim_link *link = &s->links[n->pg.upstream][n->i];
    struct wal_arrival *a;

    n->pg.heard_us = s->now_us;
    if (s->now_us < n->pg.slow_until_us || sim_chance(s, link->loss_permille) ||
        (up->flushed.branch == n->pg.flushed.branch && up->flushed.depth == n->pg.flushed.depth)) {
        return;
    }
    a = xmalloc(sizeof(*a));
    *a = (struct wal_arrival){up->flushed, up->incarnation};
    sim_after(s, sim_between(s, link->delay_min_us, link->delay_max_us),
              &(struct sim_event){.fn = on_wal,
                                  .node = n->i,
                                  .from = SIM_NOBODY,
                                  .of_postgres = true,
                                  .number = n->pg.incarnation,
                                  .data = a});
}

static void try_connect(struct sim *s, struct sim_node *n, const struct sim_pg *up, bool reachable)
{
    struct sim_pg *pg = &n->pg;

    if (s->now_us < pg->connect_at_us) {
        return;
    }
    pg->connect_at_us = s->now_us + sim_between(s, 500, 1500) * SIM_MS;
    if (!reachable || !has_walsender(up)) {
        return;
    }
    learn_switch(s, pg, up);
    if (!is_accepted(s, pg, up)) {
        TRACE(s, n, "postgres: %s refuses to stream to us", s->nodes[pg->upstream]->name);
        return;
    }
    check_wal_stream(s, n, s->nodes[pg->upstream]);
    pg->connected_to = up->incarnation;
    pg->heard_us = s->now_us;
    sim_sync_connect(s, n);
}

static void stream(struct sim *s, struct sim_node *n)
{
    struct sim_pg *pg = &n->pg;
    const struct sim_pg *up = &s->nodes[pg->upstream]->pg;
    bool reachable =
        sim_can_reach(s, pg->upstream, n->i) && !sim_pg_is_frozen(s, s->nodes[pg->upstream]);

    if (pg->connected_to != 0 &&
        (reachable ? pg->connected_to != up->incarnation || !has_walsender(up)
                   : s->now_us > pg->heard_us + s->ttl_ms * SIM_MS)) {
        pg->connected_to = 0; /* Closed, or wal_receiver_timeout. */
    }
    if (pg->connected_to == 0) {
        try_connect(s, n, up, reachable);
    } else if (reachable) {
        ship(s, n, up);
    }
}

/* Replay is a step behind; restartpoints come now and then. */
static void replay(struct sim *s, struct sim_pg *pg)
{
    pg->replayed = pg->flushed;
    if (sim_chance(s, 5)) {
        pg->min_recovery = pg->flushed;
    }
    if (sim_chance(s, 1)) {
        pg->checkpoint = pg->flushed;
    }
}

static void on_stream(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    struct sim_event next = {
        .fn = on_stream,
        .node = n->i,
        .from = SIM_NOBODY,
        .of_postgres = true,
        .number = e->number,
    };

    if (e->number != n->pg.incarnation || n->pg.run != PG_RUN_STANDBY) {
        return;
    }
    if (n->pg.upstream != SIM_NOBODY && !n->pg.promoting) {
        stream(s, n);
    }
    replay(s, &n->pg);
    sim_after(s, 15 * SIM_MS + sim_between(s, 0, 5000), &next);
}

void sim_stream_begin(struct sim *s, struct sim_node *n)
{
    sim_after(s, SIM_MS,
              &(struct sim_event){.fn = on_stream,
                                  .node = n->i,
                                  .from = SIM_NOBODY,
                                  .of_postgres = true,
                                  .number = n->pg.incarnation});
}
