/* See node_guard.h. */
#include "node_guard.h"

#include "sim_node.h"
#include "trace.h"

#define HELLO_US (2000 * SIM_MS) /* A guard that does not answer a hello is stopped or hangs. */
#define PING_US  (1000 * SIM_MS)
#define LOOK_US  (20 * SIM_MS)

#define WATCH_MARGIN_NS (100 * NS_PER_MS)

static void on_hello_late(struct sim *s, const struct sim_event *e);
static void on_watch(struct sim *s, const struct sim_event *e);
static void watch_after(struct sim *s, struct sim_node *n, uint64_t local_us);

/* ---- To the guard ---- */

static void say_hello(struct sim *s, struct sim_node *n)
{
    struct node_guard *g = &n->agent->guard;

    *g = (struct node_guard){.life = n->guard.life, .wants_write = g->wants_write};
    sim_guard_send(s, n, &(struct sim_word){.kind = GUARD_HELLO});
    sim_timer(s, n, HELLO_US,
              &(struct sim_event){.fn = on_hello_late,
                                  .node = n->i,
                                  .from = SIM_NOBODY,
                                  .life = n->life,
                                  .number = g->life});
}

void node_guard_attach(struct sim *s, struct sim_node *n)
{
    if (!n->guard.is_up) {
        sim_guard_spawn(s, n);
    }
    say_hello(s, n);
}

/* The store showed the mark to this agent, or to the one before it that told the guard. */
static bool is_paused(const struct sim_node *n)
{
    const struct sim_agent *a = n->agent;

    return a->disarm || (a->guard.phase == GUARD_DISARMED && !a->caught_up);
}

/* PostgreSQL first, then the guard, then another one. */
static void replace(struct sim *s, struct sim_node *n, const char *why)
{
    TRACE(s, n, "the guard %s: PostgreSQL and the guard are killed", why);
    s->stats.guards_replaced++;
    sim_pg_kill(s, n);
    sim_guard_kill(s, n);
    node_guard_attach(s, n);
}

static void on_hello_late(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    const struct node_guard *g = &n->agent->guard;

    if (g->life == e->number && !g->attached) {
        replace(s, n, "does not answer");
    }
}

static bool is_making_primary(const struct sim_node *n)
{
    enum node_action action = n->agent->ops.main.action;

    return n->agent->guard.wants_write || action == ACTION_PROMOTE ||
           action == ACTION_START_PRIMARY || action == ACTION_BOOTSTRAP;
}

static bool may_write(const struct sim_node *n)
{
    const struct view *v = &n->agent->view;

    return is_making_primary(n) || v->self.status.pg_role == PG_ROLE_PRIMARY ||
           (v->pg.postmaster_alive && v->self.status.pg_role != PG_ROLE_STANDBY &&
            v->pg.was_primary);
}

static void keep(const struct sim_node *n, struct sim_kept *kept)
{
    const struct lease_owner *o = &n->agent->owner;

    *kept = (struct sim_kept){.node_id = n->id, .ttl_ns = o->ttl_ns, .n_sets = o->n_sets};
    memcpy(kept->sets, o->sets, sizeof(kept->sets));
}

/* ---- The mutual watch ---- */

static uint64_t limit_ns(const struct sim_node *n)
{
    return n->agent->ttl_ms * NS_PER_MS / 6;
}

/* Every question counts from the oldest that is not answered. */
static uint32_t question(struct sim *s, struct sim_node *n)
{
    struct node_guard *g = &n->agent->guard;

    if (g->sent++ == g->answered) {
        g->unanswered_since = sim_lease_now(s, n);
    }
    return g->sent;
}

static uint64_t silent_ns(struct sim *s, const struct sim_node *n)
{
    const struct node_guard *g = &n->agent->guard;

    return g->sent != g->answered ? lease_elapsed_owner_ns(g->unanswered_since, sim_lease_now(s, n))
                                  : 0;
}

/* Is it high time? Without a deadline that it confirmed nothing hurries. */
static bool must_replace(struct sim *s, struct sim_node *n)
{
    const struct node_guard *g = &n->agent->guard;

    if (g->epoch == 0 || !g->may_write) {
        return silent_ns(s, n) > MAX(n->agent->ttl_ms, 2000) * NS_PER_MS;
    }
    return clock_pair_left_ns(g->deadline, sim_clock_pair(s, n)) <=
           MAX(limit_ns(n), WATCH_MARGIN_NS);
}

static void watch_after(struct sim *s, struct sim_node *n, uint64_t local_us)
{
    sim_timer(s, n, local_us,
              &(struct sim_event){.fn = on_watch,
                                  .node = n->i,
                                  .from = SIM_NOBODY,
                                  .life = n->life,
                                  .number = n->agent->guard.life});
}

static void on_watch(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    struct node_guard *g = &n->agent->guard;

    if (g->life != e->number || s->options.mutant == MUTANT_TRUST_GUARD) {
        return;
    }
    g->is_silent = silent_ns(s, n) > limit_ns(n);
    if (g->is_silent && !is_paused(n) && must_replace(s, n)) {
        replace(s, n, "does not answer");
        return;
    }
    if (g->attached && s->now_us >= g->asked_us + PING_US) {
        g->asked_us = s->now_us;
        sim_guard_send(s, n, &(struct sim_word){.kind = GUARD_HELLO, .sequence = question(s, n)});
    }
    watch_after(s, n, g->is_silent ? LOOK_US : limit_ns(n) / 1000);
}

void node_guard_arm(struct sim *s, struct sim_node *n)
{
    struct sim_agent *a = n->agent;
    struct lease_time now = sim_lease_now(s, n);
    struct lease_time deadline = lease_owner_deadline(&a->owner);
    struct sim_word w = {.kind = GUARD_ARM};

    if (n->mode != MODE_POSTGRES || !a->guard.attached ||
        lease_owner_remaining_ns(&a->owner, now) == 0) {
        return;
    }
    w.arm = (struct guard_arm){
        .epoch = lease_owner_epoch(&a->owner),
        .instance = n->instance,
        .ttl_ns = lease_owner_term_ns(&a->owner),
        .deadline = {.raw_ns = deadline.raw_ns, .boot_ns = deadline.boot_ns},
        .unfenced = a->disarm,
        .may_write = !a->disarm && may_write(n),
    };
    if (s->options.mutant == MUTANT_NO_REARM && a->guard.phase == GUARD_DISARMED) {
        w.arm.may_write = false;
    }
    mutate_arm(s, &w.arm);
    keep(n, &w.kept);
    w.sequence = question(s, n);
    a->guard.asked_unfenced = w.arm.unfenced;
    if (w.arm.unfenced) {
        a->guard.unfenced_asked = w.sequence;
    }
    a->guard.asked_us = s->now_us;
    sim_guard_send(s, n, &w);
}

void node_guard_follow(struct sim *s, struct sim_node *n)
{
    if (n->agent->guard.asked_unfenced != n->agent->disarm) {
        node_guard_arm(s, n);
    }
}

bool node_guard_is_armed(const struct sim *s, const struct sim_node *n)
{
    const struct node_guard *g = &n->agent->guard;

    if (s->options.mutant == MUTANT_NO_REARM) {
        return true;
    }
    return g->attached && g->answered >= g->unfenced_asked &&
           (g->phase == GUARD_ARMED || g->phase == GUARD_FREEZING || g->phase == GUARD_FROZEN);
}

void node_guard_close(struct sim *s, struct sim_node *n, uint64_t epoch)
{
    sim_guard_send(s, n, &(struct sim_word){.kind = GUARD_CLOSE, .epoch = epoch});
}

void node_guard_kill(struct sim *s, struct sim_node *n, enum guard_why why)
{
    sim_guard_send(s, n, &(struct sim_word){.kind = GUARD_KILL, .why = why});
}

void node_guard_leave(struct sim *s, struct sim_node *n)
{
    sim_guard_send(s, n, &(struct sim_word){.kind = GUARD_LEAVE});
}

void node_guard_start(struct sim *s, struct sim_node *n, bool as_standby, int upstream)
{
    struct node_guard *g = &n->agent->guard;

    g->start_asked = true;
    g->start_refused = !n->guard.is_up;
    sim_guard_send(
        s, n,
        &(struct sim_word){.kind = GUARD_START, .as_standby = as_standby, .upstream = upstream});
}

/* ---- What it says ---- */

uint64_t node_guard_confirmed_ms(struct sim *s, struct sim_node *n)
{
    const struct sim_agent *a = n->agent;
    const struct node_guard *g = &a->guard;
    struct clock_pair now = sim_clock_pair(s, n);
    uint64_t left_ns;

    if (n->mode == MODE_WITNESS || g->epoch == 0 || g->epoch != lease_owner_epoch(&a->owner)) {
        return 0;
    }
    left_ns = clock_pair_left_ns(g->deadline, now);
    if (s->options.mutant == MUTANT_TRUST_GUARD) { /* Told is done. */
        left_ns = lease_owner_remaining_ns(&n->agent->owner, sim_lease_now(s, n));
    }
    return (left_ns - MIN(left_ns, GUARD_SECOND_LINE_NS)) / NS_PER_MS;
}

bool node_guard_is_frozen(const struct sim_node *n)
{
    enum guard_phase phase = n->agent->guard.phase;

    return phase == GUARD_FREEZING || phase == GUARD_FROZEN;
}

bool node_guard_may_write(struct sim *s, struct sim_node *n)
{
    struct node_guard *g = &n->agent->guard;

    if (!g->wants_write) {
        g->wants_write = true;
        node_guard_arm(s, n);
    }
    return g->may_write && node_guard_confirmed_ms(s, n) > 0;
}

static void note(struct node_guard *g, const struct sim_word *w, uint64_t instance)
{
    g->phase = w->logic.phase;
    g->epoch = w->logic.epoch > w->logic.closed_epoch ? w->logic.epoch : 0;
    g->closed_epoch = w->logic.closed_epoch;
    g->deadline = w->logic.deadline;
    g->may_write = w->logic.may_write;
    g->unfenced_epoch = w->logic.phase == GUARD_DISARMED && w->logic.instance == instance
                            ? w->logic.epoch
                            : 0;
}

/* Left running by somebody who is not there any more. */
static void adopt(struct sim *s, struct sim_node *n)
{
    if (n->pg.run != PG_RUN_DOWN && n->agent->guard.phase == GUARD_EMPTY) {
        sim_guard_send(s, n,
                       &(struct sim_word){.kind = GUARD_ADOPT, .as_standby = n->pg.standby_signal});
    }
}

void node_guard_on_word(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    struct node_guard *g = &n->agent->guard;
    const struct sim_word *w = e->data;

    if (w->guard_life != g->life) {
        return; /* Of one that was killed. */
    }
    note(g, w, n->instance);
    if (w->sequence != 0) {
        g->answered = w->sequence;
        g->unanswered_since = sim_lease_now(s, n);
        g->is_silent = false;
    }
    if (w->kind == GUARD_STARTED) {
        g->start_asked = false;
        g->start_refused = w->verdict != GUARD_ACCEPTED;
    } else if (!g->attached) {
        g->attached = true;
        if (g->unfenced_epoch != 0) {
            n->agent->fresh_mark = g->unfenced_epoch;
        }
        watch_after(s, n, LOOK_US);
        adopt(s, n);
        node_begin(s, n, w);
    }
    sim_node_dirty(s, n);
}

/* Its pidfd is readable. */
void node_guard_on_gone(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];

    if (n->agent->guard.life != e->number || n->guard.is_up) {
        return;
    }
    TRACE(s, n, "the guard is gone%s", is_paused(n) ? "" : ": PostgreSQL is killed");
    s->stats.guards_replaced++;
    if (!is_paused(n)) {
        sim_pg_kill(s, n);
    }
    node_guard_attach(s, n);
}
