/*
 * Callbacks between the tick and ops/hooks: what the view says of PostgreSQL, in the words of
 * the table of callbacks. After everything else of a tick: nothing waits for them.
 */
#include "agent/agent_state.h"
#include "base/str.h"
#include "core/lookup.h"
#include "core/order_rules.h"

#define PATH_SIZE 1024

void agent_callbacks_open(struct agent *a)
{
    char path[PATH_SIZE + 16];

    if (a->pg != NULL) {
        (void)snprintf(path, sizeof(path), "%s/callbacks", a->conf->runtime_dir);
        a->hooks = hooks_new(a->pg, path, a->runtime.instance);
    }
}

/* While these run PostgreSQL is not what it is going to be. */
static bool is_in_between(enum node_action running)
{
    return running == ACTION_BOOTSTRAP || running == ACTION_CLONE || running == ACTION_REWIND ||
           running == ACTION_STOP;
}

/* An agent that has just started does not know yet, and is patient. */
static bool may_lead(const struct view *v)
{
    bool is_new = !v->raft.caught_up && v->now_ms < v->self.started_ms + 3 * v->conf.ttl_ms;

    return is_new || (v->lease.live && lookup_owner_is_me(v));
}

static void look(const struct view *v, struct hook_seen *seen)
{
    const struct status *s = &v->self.status;
    const struct store_order *order = order_due(v);

    *seen = (struct hook_seen){.state = HOOK_SEEN_UNCLEAR};
    if (is_in_between(v->op.running) || v->pg.frozen) {
        return;
    }
    if (v->pg.postmaster_alive) {
        if (s->pg_state == PG_STATE_RUNNING && s->postmaster_start_us != 0 &&
            (s->pg_role == PG_ROLE_PRIMARY || s->pg_role == PG_ROLE_STANDBY)) {
            seen->state = HOOK_SEEN_UP;
            seen->role = s->pg_role == PG_ROLE_PRIMARY ? HOOK_PRIMARY : HOOK_REPLICA;
            seen->start_us = s->postmaster_start_us;
        }
    } else if (v->pg.n_processes == 0 && s->pg_state != PG_STATE_UNKNOWN) {
        seen->state = HOOK_SEEN_DOWN;
        seen->stopped = v->op.last == ACTION_STOP && !v->op.last_failed;
        seen->leads = may_lead(v);
    }
    seen->restarts = order != NULL && order->kind == REQUEST_RESTART && order->begun;
}

uint64_t agent_callbacks_tick(struct agent *a, uint64_t now_ms)
{
    struct hook_seen seen;

    if (a->hooks == NULL) {
        return UINT64_MAX;
    }
    if (pg_reloads(a->pg) != a->reloads_told) {
        a->reloads_told = pg_reloads(a->pg);
        hooks_reloaded(a->hooks, now_ms);
    }
    look(&a->view, &seen);
    return hooks_tick(a->hooks, &seen, now_ms);
}

bool agent_callbacks_left(struct agent *a)
{
    if (a->hooks != NULL) {
        hooks_leave(a->hooks, clock_ms());
    }
    return a->hooks == NULL || hooks_is_idle(a->hooks);
}
