/* The server and its data directory, see sim_pg.h. */
#include "sim_pg.h"

#include "checks.h"
#include "sim_node.h"
#include "trace.h"

static void at_incarnation(struct sim *s, struct sim_node *n, uint64_t after_us, sim_event_fn fn)
{
    sim_after(s, after_us,
              &(struct sim_event){.fn = fn,
                                  .node = n->i,
                                  .from = SIM_NOBODY,
                                  .of_postgres = true,
                                  .number = n->pg.incarnation});
}

/* The server whose event this is, or NULL if it is another one now. */
static struct sim_node *same_server(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];

    return n->pg.incarnation == e->number ? n : NULL;
}

/* The agent notices an exit at once, everything else when it looks. */
static void tell_agent(struct sim *s, struct sim_node *n)
{
    if (n->is_up) {
        sim_node_dirty(s, n);
    }
}

void sim_pg_create(struct sim_pg *pg)
{
    *pg = (struct sim_pg){.data = DATA_EMPTY, .upstream = SIM_NOBODY};
}

/* ---- The end ---- */

static void be_down(struct sim *s, struct sim_node *n, bool crashed)
{
    struct sim_pg *pg = &n->pg;

    pg->run = PG_RUN_DOWN;
    pg->incarnation++;
    pg->sessions++;
    pg->end = pg->flushed;
    pg->was_writable = false;
    pg->promoting = false;
    pg->connected_to = 0;
    pg->thawed_us = 0;
    pg->crashed = crashed;
    pg->gone_ms = pg->gone_ms != 0 ? pg->gone_ms : sim_local_ms(s, n);
    sim_pg_forget_held(n);
    sim_guard_on_gone(s, n);
    tell_agent(s, n);
}

void sim_pg_kill(struct sim *s, struct sim_node *n)
{
    if (n->pg.run != PG_RUN_DOWN) {
        TRACE(s, n, "postgres: killed");
        be_down(s, n, true);
    }
}

static void on_quit_done(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = same_server(s, e);

    if (n != NULL && n->pg.run == PG_RUN_DYING) {
        be_down(s, n, true);
    }
}

/* A signal to frozen processes is pending: it comes after what they were about to do. */
static void on_quit_signal(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = same_server(s, e);

    if (n != NULL) {
        sim_pg_quit(s, n);
    }
}

void sim_pg_quit(struct sim *s, struct sim_node *n)
{
    struct sim_pg *pg = &n->pg;

    if (pg->run == PG_RUN_DOWN) {
        return;
    }
    if (sim_pg_is_frozen(s, n)) {
        at_incarnation(s, n, 1, on_quit_signal);
        return;
    }
    pg->was_writable = sim_pg_can_acknowledge(pg);
    pg->run = PG_RUN_DYING;
    pg->connected_to = 0;
    at_incarnation(s, n, sim_chance(s, 800) ? sim_between(s, 1, 30) * SIM_MS : 400 * SIM_MS,
                   on_quit_done);
}

void sim_pg_kill_postmaster(struct sim *s, struct sim_node *n)
{
    struct sim_pg *pg = &n->pg;

    switch (pg->run) {
    case PG_RUN_PRIMARY:
    case PG_RUN_STANDBY:
        TRACE(s, n, "postgres: the postmaster died");
        pg->was_writable = pg->run == PG_RUN_PRIMARY;
        pg->run = PG_RUN_LEFT_OVERS;
        pg->promoting = false;
        pg->connected_to = 0;
        pg->crashed = true;
        pg->gone_ms = sim_local_ms(s, n);
        pg->incarnation++; /* Walsenders leave with their postmaster. */
        tell_agent(s, n);
        break;
    case PG_RUN_STARTING:
    case PG_RUN_STOPPING:
        sim_pg_kill(s, n);
        break;
    case PG_RUN_DOWN:
    case PG_RUN_DYING:
    case PG_RUN_LEFT_OVERS:
        break;
    }
}

static void on_stopped(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = same_server(s, e);

    if (n != NULL && n->pg.run == PG_RUN_STOPPING) {
        struct sim_pg *pg = &n->pg;

        pg->control = pg->standby_signal ? PG_CONTROL_SHUT_DOWN_IN_RECOVERY : PG_CONTROL_SHUT_DOWN;
        pg->min_recovery = pg->standby_signal ? pg->flushed : pg->min_recovery;
        TRACE(s, n, "postgres: stopped cleanly at %u", pg->flushed.depth);
        be_down(s, n, false);
    }
}

static void on_stop_signal(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = same_server(s, e);

    if (n != NULL) {
        sim_pg_stop_fast(s, n);
    }
}

void sim_pg_stop_fast(struct sim *s, struct sim_node *n)
{
    struct sim_pg *pg = &n->pg;

    if (sim_pg_is_frozen(s, n)) {
        at_incarnation(s, n, 1, on_stop_signal);
        return;
    }
    if (pg->run == PG_RUN_STARTING) {
        sim_pg_kill(s, n);
        return;
    }
    if (pg->run != PG_RUN_PRIMARY && pg->run != PG_RUN_STANDBY) {
        return;
    }
    if (pg->run == PG_RUN_PRIMARY) {
        pg->flushed = pg->end;
        sim_pg_checkpoint(n);
    }
    pg->sessions++;
    pg->run = PG_RUN_STOPPING;
    at_incarnation(s, n, sim_between(s, 30, sim_chance(s, 950) ? 300 : 3000) * SIM_MS, on_stopped);
}

/* ---- Starting ---- */

static void begin_to_write(struct sim *s, struct sim_node *n, uint32_t timeline)
{
    struct sim_pg *pg = &n->pg;
    struct wal_pos at = pg->flushed;

    pg->end = wal_fork(&s->wal, at, timeline, s->wal.branches[at.branch].sysid);
    pg->end.depth++; /* End of recovery. */
    pg->flushed = pg->end;
    check_s4_writable(s, n, at);
    pg->run = PG_RUN_PRIMARY;
    pg->control = PG_CONTROL_PRODUCTION;
    pg->epoch = n->guard.logic.epoch;
    TRACE(s, n, "postgres: takes writes, timeline %u from %u, epoch %u", timeline, at.depth,
          (unsigned)pg->epoch);
}

static void on_recovered(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = same_server(s, e);
    struct sim_pg *pg;

    if (n == NULL || n->pg.run != PG_RUN_STARTING) {
        return;
    }
    pg = &n->pg;
    if (!s->healing && sim_chance(s, 40)) {
        TRACE(s, n, "postgres: start failed");
        pg->start_failed = true;
        be_down(s, n, true);
        return;
    }
    if (pg->standby_signal) {
        pg->run = PG_RUN_STANDBY;
        pg->control = PG_CONTROL_RECOVERY;
        pg->replayed = pg->flushed;
        sim_stream_begin(s, n);
    } else {
        begin_to_write(s, n, wal_timeline(&s->wal, pg->flushed));
        pg->checkpoint = pg->flushed;
    }
    tell_agent(s, n);
}

void sim_pg_start(struct sim *s, struct sim_node *n, bool as_standby, int upstream)
{
    struct sim_pg *pg = &n->pg;
    bool clean =
        pg->control == PG_CONTROL_SHUT_DOWN || pg->control == PG_CONTROL_SHUT_DOWN_IN_RECOVERY;
    uint64_t most_ms = clean ? 300 : (sim_chance(s, 100) ? 12000 : 2500);

    ASSERT(pg->run == PG_RUN_DOWN && pg->data == DATA_VALID);
    check_s5_start(s, n);
    TRACE(s, n, "postgres: starts as %s at %u", as_standby ? "standby" : "primary",
          pg->flushed.depth);
    pg->incarnation++;
    pg->run = PG_RUN_STARTING;
    pg->standby_signal = as_standby;
    pg->upstream = upstream;
    pg->end = pg->flushed;
    pg->received_any = false;
    pg->switch_lsn = 0;
    pg->checkpoint_due = false;
    pg->start_failed = false;
    pg->gone_ms = 0;
    pg->started_us = s->now_us;
    sim_sync_start(s, n, as_standby);
    pg->connect_at_us = s->now_us;
    at_incarnation(s, n, sim_between(s, 60, most_ms) * SIM_MS, on_recovered);
}

static void on_promoted(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = same_server(s, e);

    if (n == NULL || n->pg.run != PG_RUN_STANDBY || !n->pg.promoting) {
        return;
    }
    n->pg.promoting = false;
    n->pg.connected_to = 0;
    n->pg.standby_signal = false;
    begin_to_write(s, n, n->pg.promote_to);
    n->pg.min_recovery = n->pg.flushed; /* What pg_control knows of the new timeline. */
    n->pg.checkpoint_due = true;
    s->stats.promotions++;
    tell_agent(s, n);
}

void sim_pg_promote(struct sim *s, struct sim_node *n, uint32_t timeline)
{
    ASSERT(timeline > wal_timeline(&s->wal, n->pg.flushed));
    n->pg.promoting = true;
    n->pg.promote_to = timeline;
    n->pg.connected_to = 0; /* The receiver is shut down first. */
    at_incarnation(s, n, sim_between(s, 10, sim_chance(s, 950) ? 300 : 3000) * SIM_MS, on_promoted);
}

/* ---- The data directory ---- */

void sim_pg_wipe(struct sim_node *n, enum data_state data)
{
    struct sim_pg *pg = &n->pg;

    ASSERT(pg->run == PG_RUN_DOWN);
    pg->data = data;
    pg->torn = data != DATA_EMPTY;
    pg->flushed = pg->end = pg->checkpoint = pg->min_recovery = (struct wal_pos){0, 0};
    pg->standby_signal = false;
    pg->control = PG_CONTROL_SHUT_DOWN;
}

void sim_pg_init_data(struct sim *s, struct sim_node *n)
{
    struct sim_pg *pg = &n->pg;

    ASSERT(pg->run == PG_RUN_DOWN);
    pg->data = DATA_VALID;
    pg->torn = false;
    pg->flushed = wal_fork(&s->wal, (struct wal_pos){0, 0}, 1, rng_next(&s->rng) >> 1 | 1);
    pg->checkpoint = pg->min_recovery = pg->end = pg->flushed;
    pg->upstream = SIM_NOBODY;
    TRACE(s, n, "postgres: initdb");
}

void sim_pg_clone(struct sim_node *n, const struct sim_node *from)
{
    struct sim_pg *pg = &n->pg;

    ASSERT(pg->run == PG_RUN_DOWN);
    pg->data = DATA_VALID;
    pg->torn = false;
    pg->flushed = pg->end = pg->min_recovery = from->pg.flushed;
    pg->checkpoint = from->pg.checkpoint;
    pg->control = PG_CONTROL_PRODUCTION;
    pg->standby_signal = true;
}

void sim_pg_checkpoint(struct sim_node *n)
{
    struct sim_pg *pg = &n->pg;

    pg->end.depth++;
    pg->flushed = pg->checkpoint = pg->end;
    pg->checkpoint_due = false;
}

void sim_pg_follow(struct sim *s, struct sim_node *n, int upstream)
{
    n->pg.upstream = upstream;
    n->pg.connected_to = 0;
    n->pg.connect_at_us = s->now_us;
    n->pg.switch_lsn = 0;
}

/* ---- Writing ---- */

bool sim_pg_takes_writes(const struct sim_pg *pg)
{
    return pg->run == PG_RUN_PRIMARY || (pg->run == PG_RUN_LEFT_OVERS && pg->was_writable);
}

bool sim_pg_can_acknowledge(const struct sim_pg *pg)
{
    return sim_pg_takes_writes(pg) || (pg->run == PG_RUN_DYING && pg->was_writable);
}

struct wal_pos sim_pg_insert(struct sim_node *n)
{
    n->pg.end.depth++;
    return n->pg.end;
}

void sim_pg_flush(struct sim_node *n, struct wal_pos pos)
{
    ASSERT(n->pg.flushed.branch == pos.branch);
    n->pg.flushed.depth = MAX(n->pg.flushed.depth, pos.depth);
}

bool sim_pg_postmaster_alive(const struct sim_pg *pg)
{
    return pg->run != PG_RUN_DOWN && pg->run != PG_RUN_LEFT_OVERS;
}
