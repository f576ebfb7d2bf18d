/* The guard's process: see sim_guard.h, and src/guard/guard.c for the real one. */
#include "sim_guard.h"

#include <stdlib.h>

#include "checks.h"
#include "sim_node.h"
#include "trace.h"

#define KILL_AFTER_NS (UINT64_C(30) * 1000000000)

static void on_word(struct sim *s, const struct sim_event *e);
static void on_wake(struct sim *s, const struct sim_event *e);

struct clock_pair sim_clock_pair(const struct sim *s, const struct sim_node *n)
{
    struct lease_time now = sim_lease_now(s, n);

    return (struct clock_pair){.raw_ns = now.raw_ns, .boot_ns = now.boot_ns};
}

/* A local socket; now and then the other side is not scheduled at once. */
static uint64_t a_delay_us(struct sim *s)
{
    return sim_chance(s, 20) ? sim_between(s, 1000, 20000) : sim_between(s, 20, 200);
}

static uint64_t arrival_after_us(struct sim *s, uint64_t *last_us)
{
    *last_us = MAX(*last_us, s->now_us + a_delay_us(s));
    return *last_us - s->now_us;
}

void sim_guard_send(struct sim *s, struct sim_node *n, const struct sim_word *word)
{
    struct sim_word *copy;

    if (!n->guard.is_up) {
        return;
    }
    copy = xmalloc(sizeof(*copy));
    *copy = *word;
    sim_after(s, arrival_after_us(s, &n->guard.in_us),
              &(struct sim_event){.fn = on_word,
                                  .node = n->i,
                                  .from = SIM_NOBODY,
                                  .guard_life = n->guard.life,
                                  .number = n->life,
                                  .data = copy});
}

static void tell(struct sim *s, struct sim_node *n, const struct sim_word *word)
{
    struct sim_guard *g = &n->guard;
    struct sim_word *copy;

    if (g->agent_life == 0) {
        return;
    }
    copy = xmalloc(sizeof(*copy));
    *copy = *word;
    copy->guard_life = g->life;
    copy->logic = g->logic;
    copy->kept = g->kept;
    g->told = g->logic.phase;
    sim_after(s, arrival_after_us(s, &g->out_us),
              &(struct sim_event){.fn = node_guard_on_word,
                                  .node = n->i,
                                  .from = SIM_NOBODY,
                                  .life = g->agent_life,
                                  .data = copy});
}

/* ---- What it decides, carried out ---- */

/* Most freezes take a moment, few longer, and once in a while something does not stop. */
static uint64_t a_freeze_us(struct sim *s)
{
    if (sim_chance(s, 40)) {
        return sim_between(s, 60, 400) * SIM_MS;
    }
    return sim_chance(s, 50) ? sim_between(s, 8000, 24000) : sim_between(s, 300, 8000);
}

static void look(struct sim *s, struct sim_node *n)
{
    struct guard_look look = {.n = 7, .n_running = sim_pg_is_frozen(s, n) ? 0 : 3};

    guard_logic_on_looked(&n->guard.logic, sim_clock_pair(s, n), &look);
    if (n->guard.logic.phase == GUARD_FROZEN && look.n_running == 0) {
        check_s1_frozen(s, n);
    }
}

static void carry_out(struct sim *s, struct sim_node *n, enum guard_action action)
{
    switch (action) {
    case GUARD_DO_FREEZE:
        s->stats.freezes++;
        sim_pg_freeze(s, n, a_freeze_us(s));
        break;
    case GUARD_DO_LOOK:
        look(s, n);
        break;
    case GUARD_DO_THAW:
        s->stats.thaws++;
        sim_pg_thaw(s, n);
        break;
    case GUARD_DO_KILL:
        TRACE(s, n, "guard: kills, %s", guard_why_name(n->guard.logic.why));
        s->stats.guard_kills++;
        s->stats.late_freezes += n->guard.logic.why == GUARD_WHY_LATE ? 1 : 0;
        s->stats.frozen_too_long += n->guard.logic.why == GUARD_WHY_AGE ? 1 : 0;
        sim_pg_kill(s, n); /* Comes back in on_gone. */
        break;
    case GUARD_DO_NOTHING:
        break;
    }
}

static void wake_after(struct sim *s, struct sim_node *n, uint64_t local_ns)
{
    struct sim_guard *g = &n->guard;
    uint64_t local_us = MAX(local_ns / 1000, 1);

    g->wake_us = s->now_us + MAX(sim_true_us(n, local_us), 1) + sim_between(s, 0, 100);
    sim_after(s, g->wake_us - s->now_us,
              &(struct sim_event){.fn = on_wake,
                                  .node = n->i,
                                  .from = SIM_NOBODY,
                                  .guard_life = g->life,
                                  .number = g->wake_us});
}

static void run(struct sim *s, struct sim_node *n)
{
    struct sim_guard *g = &n->guard;
    enum guard_action action;
    uint64_t wake_ns;

    do {
        action = guard_logic_step(&g->logic, sim_clock_pair(s, n), &wake_ns);
        action = mutate_guard(s, n, action);
        carry_out(s, n, action);
    } while (action != GUARD_DO_NOTHING);
    if (g->told != g->logic.phase) {
        TRACE(s, n, "guard: %s", guard_phase_name(g->logic.phase));
        tell(s, n, &(struct sim_word){.kind = GUARD_STATE});
    }
    g->wake_us = 0;
    if (wake_ns != UINT64_MAX) {
        wake_after(s, n, wake_ns);
    }
}

static void on_wake(struct sim *s, const struct sim_event *e)
{
    if (s->nodes[e->node]->guard.wake_us == e->number) {
        run(s, s->nodes[e->node]);
    }
}

/* ---- What it is told ---- */

static void on_arm(struct sim *s, struct sim_node *n, const struct sim_word *w)
{
    struct sim_guard *g = &n->guard;
    enum guard_verdict verdict = guard_logic_on_arm(&g->logic, sim_clock_pair(s, n), &w->arm);

    if (verdict == GUARD_ACCEPTED) {
        g->kept = w->kept;
        n->pg.epoch = g->logic.epoch;
        check_s1_armed(s, n);
    } else {
        TRACE(s, n, "guard: refuses to be armed, %s", guard_verdict_name(verdict));
    }
    tell(s, n,
         &(struct sim_word){.kind = GUARD_ARMED_AS, .sequence = w->sequence, .verdict = verdict});
}

static void on_start(struct sim *s, struct sim_node *n, const struct sim_word *w)
{
    enum guard_verdict verdict = GUARD_REFUSED_RUNS;

    if (n->pg.run == PG_RUN_DOWN && n->pg.data == DATA_VALID) {
        verdict = guard_logic_on_start(&n->guard.logic, sim_clock_pair(s, n), !w->as_standby);
    }
    if (verdict == GUARD_ACCEPTED) {
        sim_pg_start(s, n, w->as_standby, w->upstream);
    } else {
        TRACE(s, n, "guard: refuses to start PostgreSQL, %s", guard_verdict_name(verdict));
    }
    tell(s, n,
         &(struct sim_word){.kind = GUARD_STARTED, .sequence = w->sequence, .verdict = verdict});
}

static void on_word(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    struct sim_guard *g = &n->guard;
    const struct sim_word *w = e->data;

    switch (w->kind) {
    case GUARD_HELLO:
        g->agent_life = (uint32_t)e->number;
        mutate_hello(s, n);
        tell(s, n, &(struct sim_word){.kind = GUARD_STATE, .sequence = w->sequence});
        break;
    case GUARD_ARM:
        on_arm(s, n, w);
        break;
    case GUARD_CLOSE:
        guard_logic_on_close(&g->logic, w->epoch);
        break;
    case GUARD_START:
        on_start(s, n, w);
        break;
    case GUARD_ADOPT: /* It may have been killed since. */
        if (n->pg.run != PG_RUN_DOWN) {
            guard_logic_on_adopt(&g->logic, !w->as_standby);
        }
        break;
    case GUARD_KILL:
        guard_logic_on_kill(&g->logic, w->why);
        break;
    case GUARD_LEAVE:
        if (g->logic.phase == GUARD_EMPTY) {
            g->is_up = false;
            return;
        }
        break;
    case GUARD_WATCH: /* Machines of the model have no watchdog. */
    case GUARD_STATE:
    case GUARD_ARMED_AS:
    case GUARD_STARTED:
    case GUARD_ENDED:
    case GUARD_EVENT:
        ASSERT(false);
    }
    run(s, n);
}

static void on_reaped(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];

    if (n->pg.run == PG_RUN_DOWN && n->guard.logic.phase != GUARD_EMPTY) {
        guard_logic_on_gone(&n->guard.logic);
        run(s, n);
    }
}

void sim_guard_on_gone(struct sim *s, struct sim_node *n)
{
    if (n->guard.is_up) {
        sim_after(
            s, 10,
            &(struct sim_event){
                .fn = on_reaped, .node = n->i, .from = SIM_NOBODY, .guard_life = n->guard.life});
    }
}

/* ---- Life ---- */

void sim_guard_spawn(struct sim *s, struct sim_node *n)
{
    struct sim_guard *g = &n->guard;

    ASSERT(!g->is_up);
    *g = (struct sim_guard){.is_up = true, .life = g->life + 1, .hurt_us = g->hurt_us};
    guard_logic_init(&g->logic, KILL_AFTER_NS);
    TRACE(s, n, "guard: starts");
}

void sim_guard_kill(struct sim *s, struct sim_node *n)
{
    struct sim_guard *g = &n->guard;

    if (!g->is_up) {
        return;
    }
    TRACE(s, n, "guard: killed");
    g->is_up = false;
    g->paused_until_us = 0;
    sim_pg_quit(s, n); /* PR_SET_PDEATHSIG */
    if (n->is_up) {
        sim_after(s, sim_between(s, 20, 300),
                  &(struct sim_event){.fn = node_guard_on_gone,
                                      .node = n->i,
                                      .from = SIM_NOBODY,
                                      .life = n->life,
                                      .number = g->life});
    }
}
