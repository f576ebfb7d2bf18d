/*
 * Synchronous modes: what a view alone does not tell, and handing the decision to pg/.
 */
#include <inttypes.h>

#include "agent/agent_state.h"
#include "base/log.h"
#include "base/str.h"
#include "core/sync_rules.h"

#define PROBLEM_MS SECONDS(10)

enum sync_mode agent_sync_mode(const struct agent *a)
{
    const struct conf_dynamic *d = &a->dynamic;

    if (str_equal(d->synchronous_mode, "off")) {
        return SYNC_OFF; /* There is on beside it: conf/ reads quorum as on, and warns. */
    }
    return d->synchronous_mode_strict ? SYNC_STRICT : SYNC_ON;
}

static bool streams(const struct view_pg *pg, const char *name)
{
    for (uint32_t i = 0; i < pg->n_replicas; i++) {
        if (str_equal(pg->replicas[i].name, name) &&
            str_equal(pg->replicas[i].state, "streaming")) {
            return true;
        }
    }
    return false;
}

static void note_gone(struct agent *a, uint64_t now_ms)
{
    const struct store_sync *y = &a->store.sync;
    struct sync_memory *m = &a->sync;

    if (y->n_names == 0 || !str_equal(y->primary, a->conf->name) ||
        a->view.self.status.pg_role != PG_ROLE_PRIMARY || streams(&a->view.pg, y->names[0])) {
        m->gone_since_ms = 0;
    } else if (m->gone_since_ms == 0) {
        m->gone_since_ms = now_ms;
    }
}

void agent_sync_fill(struct agent *a, uint64_t now_ms, struct view_sync *view)
{
    struct sync_memory *m = &a->sync;

    *view = (struct view_sync){.known = false};
    if (a->pg == NULL) {
        return;
    }
    pg_sync_fill(a->pg, view);
    note_gone(a, now_ms);
    view->gone_since_ms = m->gone_since_ms;
    view->since_ms = m->since_ms;
    view->rests = m->rests;
    view->risky_revision = a->caught_up ? m->risky_revision : UINT64_MAX;
}

void agent_sync_on_caught_up(struct agent *a)
{
    a->sync.risky_revision = a->store.sync.revision; /* The process before us may have. */
}

void agent_sync_on_propose(struct agent *a, const struct command *c)
{
    if (c->kind == COMMAND_SYNC_SET && c->sync_set.n_names > 0) {
        a->sync.risky_revision = MAX(a->sync.risky_revision, c->sync_set.expect_sync_revision);
    }
}

void agent_sync_problem(struct agent *a, uint64_t now_ms, struct status *status)
{
    const struct store_sync *y = &a->store.sync;
    bool closed = a->view.sync.gate_closed; /* Of the last tick. */
    bool alone = agent_sync_mode(a) != SYNC_OFF && status->pg_role == PG_ROLE_PRIMARY &&
                 status->pg_state == PG_STATE_RUNNING && str_equal(y->primary, status->name) &&
                 (y->n_names == 0 || closed);
    uint64_t *since_ms = &a->sync.alone_since_ms;

    *since_ms = !alone ? 0 : *since_ms != 0 ? *since_ms : now_ms;
    if (alone && now_ms >= *since_ms + PROBLEM_MS && status->problem[0] == '\0') {
        (void)str_copy(status->problem, sizeof(status->problem),
                       closed ? "clients are kept out until the synchronous standby streams"
                              : "no synchronous standby: nobody else may lead");
    }
}

static void note_tightening(struct agent *a, uint64_t now_ms)
{
    const struct sync_decision *d = &a->decision.sync;
    struct sync_memory *m = &a->sync;

    sync_rules_remember(&a->view, d, &m->rests);
    if (d->gave_up_on[0] != '\0') {
        log_warning("A standby did not become synchronous in time, another one is taken or writes "
                    "go on without; it is tried again later, each time later. Look at its disk "
                    "and the network. standby=%s tried_for_ms=%" PRIu64,
                    d->gave_up_on, now_ms - m->since_ms);
    }
    m->since_ms = !d->tightens ? 0 : m->since_ms != 0 ? m->since_ms : now_ms;
}

/* What runs, so that the configuration is written for it. False if that is not known. */
static bool fill_start(const struct agent *a, struct pg_start *start)
{
    const struct status *s = &a->view.self.status;
    const char *upstream = a->view.pg.upstream;
    const struct store_member *m = store_find_member(&a->store, upstream);

    start->as_standby = s->pg_role == PG_ROLE_STANDBY;
    if (!start->as_standby || upstream[0] == '\0') { /* pg_sync_apply looks whom it follows. */
        return true;
    }
    if (m == NULL) {
        return false;
    }
    (void)str_copy(start->upstream.name, NAME_SIZE, m->name); /* Same sizes. */
    (void)str_copy(start->upstream.host, HOST_SIZE, m->pg_host);
    start->upstream.port = m->pg_port;
    return true;
}

/* While a sequence is at it PostgreSQL's configuration is the sequence's. */
void agent_sync_tick(struct agent *a, uint64_t now_ms)
{
    enum node_action running = a->view.op.running;
    enum node_action next = a->decision.node.action;
    struct pg_start start = {.as_standby = false};

    note_tightening(a, now_ms);
    if (a->pg != NULL && a->view.self.status.pg_state == PG_STATE_RUNNING && !a->view.pg.frozen &&
        (running == ACTION_NONE || running == ACTION_CHECKPOINT) &&
        (next == ACTION_NONE || next == ACTION_CHECKPOINT) && fill_start(a, &start)) {
        pg_sync_apply(a->pg, &a->decision.sync, &start);
    }
}
