/* What the agent sees of the model of PostgreSQL: the part of pg_fill(). */
#include "base/str.h"
#include "core/lookup.h"
#include "sim_node.h"

static bool has_answers(const struct sim_pg *pg)
{
    return pg->run == PG_RUN_PRIMARY || pg->run == PG_RUN_STANDBY;
}

void sim_pg_observe(struct sim *s, struct sim_node *n)
{
    struct sim_pg *pg = &n->pg;

    if (sim_pg_is_frozen(s, n)) {
        return; /* Nobody answers. */
    }
    pg->seen_ms = sim_local_ms(s, n);
    pg->seen = (struct pg_seen){
        .run = pg->run,
        .flushed = pg->flushed,
        .replayed = pg->replayed,
        .streaming = pg->connected_to != 0,
        .received_any = pg->received_any,
        .receives = pg->upstream != SIM_NOBODY,
        .switch_lsn = pg->switch_lsn,
    };
    sim_sync_observe(s, n);
}

static enum pg_state state_of(const struct sim_pg *pg)
{
    switch (pg->run) {
    case PG_RUN_STARTING:
        return PG_STATE_STARTING;
    case PG_RUN_PRIMARY:
    case PG_RUN_STANDBY:
        return pg->seen.run == PG_RUN_PRIMARY || pg->seen.run == PG_RUN_STANDBY ? PG_STATE_RUNNING
                                                                                : PG_STATE_STARTING;
    case PG_RUN_STOPPING:
    case PG_RUN_DYING:
        return PG_STATE_STOPPING;
    case PG_RUN_LEFT_OVERS:
        return PG_STATE_CRASHED;
    case PG_RUN_DOWN:
        return pg->start_failed ? PG_STATE_START_FAILED
               : pg->crashed    ? PG_STATE_CRASHED
                                : PG_STATE_STOPPED;
    }
    return PG_STATE_UNKNOWN;
}

static enum pg_role role_of(const struct sim_pg *pg)
{
    if (pg->data == DATA_EMPTY) {
        return PG_ROLE_UNINITIALIZED;
    }
    if (!sim_pg_postmaster_alive(pg) || pg->run == PG_RUN_STARTING) {
        return PG_ROLE_UNKNOWN;
    }
    switch (pg->seen.run) {
    case PG_RUN_PRIMARY:
        return PG_ROLE_PRIMARY;
    case PG_RUN_STANDBY:
        return PG_ROLE_STANDBY;
    case PG_RUN_DOWN:
    case PG_RUN_STARTING:
    case PG_RUN_STOPPING:
    case PG_RUN_DYING:
    case PG_RUN_LEFT_OVERS:
        break;
    }
    return PG_ROLE_UNKNOWN;
}

static struct wal_pos control_pos(const struct sim_pg *pg)
{
    return pg->min_recovery.depth > pg->checkpoint.depth ? pg->min_recovery : pg->checkpoint;
}

static void fill_positions(const struct sim *s, const struct sim_pg *pg, struct status *status)
{
    struct wal_pos at = control_pos(pg);

    if (pg->data != DATA_VALID) {
        return;
    }
    status->checkpoint_timeline = wal_timeline(&s->wal, pg->checkpoint);
    status->sysid = s->wal.branches[pg->flushed.branch].sysid;
    if (status->pg_role == PG_ROLE_PRIMARY || status->pg_role == PG_ROLE_STANDBY) {
        status->timeline = wal_timeline(&s->wal, pg->seen.flushed);
        status->flushed = wal_lsn(pg->seen.flushed);
        status->streaming = status->pg_role == PG_ROLE_STANDBY && pg->seen.streaming;
    } else {
        status->timeline =
            MAX(wal_timeline(&s->wal, pg->checkpoint), wal_timeline(&s->wal, pg->min_recovery));
        status->flushed = wal_lsn(at);
    }
    if (status->pg_role == PG_ROLE_STANDBY) {
        status->received = pg->seen.received_any ? status->flushed : 0;
        status->replayed = wal_lsn(pg->seen.replayed);
    }
}

/* The oldest line of the timeline's history file that the store lacks. */
static void fill_history(const struct sim *s, struct sim_node *n, struct view_pg *view)
{
    struct wal_pos at = n->pg.seen.flushed;
    uint32_t end;

    for (uint32_t timeline = 1; timeline < wal_timeline(&s->wal, at); timeline++) {
        if (!wal_timeline_end(&s->wal, at, timeline, &end) ||
            lookup_timeline_end(&n->agent->store, timeline) ==
                wal_lsn((struct wal_pos){at.branch, end})) {
            continue;
        }
        view->history_due = true;
        view->history.timeline = timeline;
        view->history.lsn = wal_lsn((struct wal_pos){at.branch, end});
        (void)str_copy(view->history.reason, TEXT_SIZE, "no recovery target specified");
        return;
    }
}

void sim_pg_fill(struct sim *s, struct sim_node *n, struct status *status, struct view_pg *view)
{
    const struct sim_pg *pg = &n->pg;

    *view = (struct view_pg){.seen_ms = pg->seen_ms, .gone_ms = pg->gone_ms};
    status->data = pg->data;
    status->pg_state = state_of(pg);
    status->pg_role = role_of(pg);
    status->pg_version = 170000;
    fill_positions(s, pg, status);
    status->clean_shutdown =
        pg->data == DATA_VALID && pg->run == PG_RUN_DOWN &&
        (pg->control == PG_CONTROL_SHUT_DOWN || pg->control == PG_CONTROL_SHUT_DOWN_IN_RECOVERY);
    status->postmaster_start_us = sim_pg_postmaster_alive(pg) ? (int64_t)pg->started_us : 0;
    view->postmaster_alive = sim_pg_postmaster_alive(pg);
    view->n_processes = pg->run == PG_RUN_DOWN ? 0 : 7;
    view->was_primary =
        pg->data == DATA_VALID && !pg->standby_signal &&
        (pg->control == PG_CONTROL_PRODUCTION || pg->control == PG_CONTROL_SHUT_DOWN);
    view->promoted_checkpoint_due = pg->run == PG_RUN_PRIMARY && pg->checkpoint_due;
    view->min_timeline = wal_timeline(&s->wal, pg->checkpoint);
    view->can_rewind = !pg->no_rewind;
    view->rewind_timeline = pg->data == DATA_REWINDING ? pg->rewind_timeline : 0;
    view->control_lsn = wal_lsn(control_pos(pg));
    view->upstream_switch_lsn = pg->run == PG_RUN_STANDBY ? pg->seen.switch_lsn : 0;
    view->receives = status->pg_role == PG_ROLE_STANDBY && pg->seen.receives;
    if (pg->upstream != SIM_NOBODY) {
        (void)str_copy(view->upstream, NAME_SIZE, s->nodes[pg->upstream]->name);
    }
    if (status->pg_role == PG_ROLE_PRIMARY && pg->run == PG_RUN_PRIMARY) {
        fill_history(s, n, view);
    }
}

void sim_pg_positions(const struct sim *s, const struct sim_node *n, struct positions *positions)
{
    const struct sim_pg *pg = &n->pg;

    positions->valid = has_answers(pg) && !sim_pg_is_frozen(s, n);
    if (!positions->valid) {
        return;
    }
    positions->is_primary = pg->run == PG_RUN_PRIMARY;
    positions->timeline = wal_timeline(&s->wal, pg->flushed);
    positions->flushed = wal_lsn(pg->flushed);
}
