/*
 * The steps of each action on the model of PostgreSQL. Like the step tables of
 * src/ops: a step looks first whether its goal is reached, starts one thing,
 * and is looked at again until that is done. What the server itself does after
 * a signal goes on without us (sim_pg.c).
 */
#include "checks.h"
#include "sim_node.h"

#define POLL_US (20 * SIM_MS)

enum verdict {
    STEP_NEXT,  /* The next step, after `after_us`. */
    STEP_AGAIN, /* The same step, after POLL_US. */
    STEP_DONE,
    STEP_FAILED,
};

struct step_result {
    enum verdict verdict;
    uint64_t after_us;
    const char *problem;
};

/* One step of one sequence. */
struct step {
    struct sim *s;
    struct sim_node *n;
    struct sim_op *op;
    uint32_t number;
};

static const struct step_result again = {.verdict = STEP_AGAIN};
static const struct step_result done = {.verdict = STEP_DONE};

static struct step_result next_after(const struct step *st, uint64_t min_ms, uint64_t max_ms)
{
    return (struct step_result){STEP_NEXT, sim_between(st->s, min_ms * SIM_MS, max_ms * SIM_MS),
                                NULL};
}

static struct step_result failed(const char *problem)
{
    return (struct step_result){STEP_FAILED, 0, problem};
}

/* Ready, still starting, or gone. */
static struct step_result wait_ready(const struct step *st)
{
    const struct sim_pg *pg = &st->n->pg;

    if (!sim_pg_postmaster_alive(pg)) {
        return failed("PostgreSQL did not stay up");
    }
    if (pg->run == PG_RUN_PRIMARY || pg->run == PG_RUN_STANDBY) {
        return next_after(st, 1, 5);
    }
    return again;
}

/* The guard starts PostgreSQL; a primary only when it is armed for one. */
static struct step_result ask_start(const struct step *st, bool as_standby)
{
    if (!as_standby && !node_guard_may_write(st->s, st->n)) {
        return st->n->agent->guard.attached ? again : failed("there is no guard");
    }
    node_guard_start(st->s, st->n, as_standby, st->op->upstream);
    return next_after(st, 1, 1);
}

static struct step_result wait_started(const struct step *st)
{
    const struct node_guard *g = &st->n->agent->guard;

    if (g->start_refused || !g->attached) {
        return failed("the guard did not start it");
    }
    return g->start_asked ? again : next_after(st, 1, 1);
}

static struct step_result bootstrap_step(const struct step *st)
{
    switch (st->number) {
    case 0:
        sim_pg_kill(st->s, st->n);
        sim_pg_wipe(st->n, DATA_INCOMPLETE);
        return next_after(st, 800, 3000);
    case 1:
        if (st->op->fails) {
            sim_pg_wipe(st->n, DATA_EMPTY);
            return failed("initdb failed");
        }
        sim_pg_init_data(st->s, st->n);
        return next_after(st, 1, 1);
    case 2:
        return ask_start(st, false);
    case 3:
        return wait_started(st);
    case 4:
        return wait_ready(st);
    }
    return done;
}

static bool source_is_there(const struct step *st)
{
    const struct sim *s = st->s;
    int up = st->op->upstream;

    return up != SIM_NOBODY && sim_can_reach(s, up, st->n->i) &&
           s->nodes[up]->pg.run == PG_RUN_PRIMARY && !sim_pg_is_frozen(s, s->nodes[up]);
}

/* What is there before the copy is no database from its first change on: wiped for a
 * clone, kept and copied over by a rewind. */
static void give_up_data(const struct step *st, const struct sim_pg *source)
{
    struct sim_pg *pg = &st->n->pg;

    sim_pg_kill(st->s, st->n);
    pg->torn = true;
    if (st->s->options.mutant == MUTANT_NO_MARKER) {
        /* It looks whole. */
    } else if (st->op->action == ACTION_REWIND) {
        pg->data = DATA_REWINDING;
        pg->rewind_timeline = wal_timeline(&st->s->wal, source->end);
    } else {
        sim_pg_wipe(st->n, DATA_INCOMPLETE);
    }
    st->op->step = "copy";
    st->op->source_incarnation = source->incarnation;
}

/* Clone and rewind. */
static struct step_result copy_step(const struct step *st)
{
    bool rewinds = st->op->action == ACTION_REWIND;

    switch (st->number) {
    case 0:
        return next_after(st, 10, 80);
    case 1:
        if (!source_is_there(st)) {
            return failed("the source does not answer");
        }
        give_up_data(st, &st->s->nodes[st->op->upstream]->pg);
        return rewinds ? next_after(st, 300, 3000) : next_after(st, 500, 5000);
    case 2:
        if (st->op->fails || !source_is_there(st) ||
            st->op->source_incarnation != st->s->nodes[st->op->upstream]->pg.incarnation) {
            return failed(rewinds ? "pg_rewind was cut off" : "pg_basebackup was cut off");
        }
        sim_pg_clone(st->n, st->s->nodes[st->op->upstream]);
        return next_after(st, 10, 50);
    case 3:
        return ask_start(st, true);
    case 4:
        return wait_started(st);
    case 5:
        return wait_ready(st);
    }
    return done;
}

static struct step_result start_step(const struct step *st, bool as_standby)
{
    struct sim_pg *pg = &st->n->pg;

    switch (st->number) {
    case 0:
        return next_after(st, 1, 20);
    case 1:
        if (sim_pg_postmaster_alive(pg)) {
            return next_after(st, 1, 1);
        }
        sim_pg_kill(st->s, st->n); /* What a dead postmaster left behind. */
        return pg->data == DATA_VALID ? next_after(st, 1, 1) : failed("no data");
    case 2:
        return sim_pg_postmaster_alive(pg) ? next_after(st, 1, 1) : ask_start(st, as_standby);
    case 3:
        return wait_started(st);
    case 4:
        return wait_ready(st);
    }
    return done;
}

static struct step_result promote_step(const struct step *st)
{
    struct sim_pg *pg = &st->n->pg;

    switch (st->number) {
    case 0:
        return next_after(st, 2, 80);
    case 1: /* From the moment of the request on it may write. */
        if (pg->run != PG_RUN_PRIMARY && !node_guard_may_write(st->s, st->n)) {
            return st->n->agent->guard.attached ? again : failed("there is no guard");
        }
        return next_after(st, 0, 1);
    case 2:
        if (pg->run == PG_RUN_PRIMARY) {
            return next_after(st, 1, 1);
        }
        if (pg->run != PG_RUN_STANDBY || st->op->fails) {
            return failed("PostgreSQL can not be promoted");
        }
        check_s4_promotion(st->s, st->n);
        st->op->committed = true;
        sim_pg_promote(st->s, st->n, st->op->decision.timeline);
        return next_after(st, 1, 1);
    case 3:
        if (pg->run == PG_RUN_STANDBY && pg->promoting) {
            return again;
        }
        return pg->run == PG_RUN_PRIMARY ? next_after(st, 1, 5) : failed("the server died");
    }
    return done;
}

static struct step_result follow_step(const struct step *st)
{
    switch (st->number) {
    case 0:
        return next_after(st, 5, 60);
    case 1:
        if (!sim_pg_postmaster_alive(&st->n->pg)) {
            return failed("PostgreSQL does not run");
        }
        sim_pg_follow(st->s, st->n, st->op->upstream);
        return next_after(st, 1, 10);
    }
    return done;
}

static struct step_result checkpoint_step(const struct step *st)
{
    if (st->number == 0) {
        return next_after(st, 20, 900);
    }
    if (sim_pg_is_frozen(st->s, st->n)) {
        return again;
    }
    if (st->n->pg.run != PG_RUN_PRIMARY || st->op->fails) {
        return failed("CHECKPOINT failed");
    }
    sim_pg_checkpoint(st->n);
    return done;
}

static struct step_result stop_step(const struct step *st)
{
    struct sim_pg *pg = &st->n->pg;

    switch (st->number) {
    case 0: /* CHECKPOINT while clients still work. */
        return next_after(st, 5, 300);
    case 1:
        if (sim_pg_is_frozen(st->s, st->n)) {
            return again;
        }
        if (pg->run == PG_RUN_PRIMARY) {
            sim_pg_checkpoint(st->n);
        }
        st->op->committed = true;
        sim_pg_stop_fast(st->s, st->n);
        return next_after(st, 1, 1);
    case 2:
        if (pg->run == PG_RUN_STOPPING) {
            return again;
        }
        sim_pg_kill(st->s, st->n);
    }
    return done;
}

static struct step_result fence_step(const struct step *st)
{
    switch (st->number) {
    case 0: /* SIGQUIT is out already. */
        if (st->n->pg.run != PG_RUN_DOWN && sim_local_ms(st->s, st->n) < st->op->started_ms + 200) {
            return again;
        }
        sim_pg_kill(st->s, st->n);
    }
    return done;
}

static struct step_result clean_up_step(const struct step *st)
{
    if (st->number == 0) {
        return next_after(st, 1, 15);
    }
    sim_pg_kill(st->s, st->n);
    return done;
}

/* A command of the operator, which may say no. */
static struct step_result prepare_step(const struct step *st)
{
    if (st->number == 0) {
        return next_after(st, 5, 500);
    }
    return st->op->fails ? failed("pre_promote says no") : done;
}

static struct step_result run_step(const struct step *st)
{
    switch (st->op->action) {
    case ACTION_BOOTSTRAP:
        return bootstrap_step(st);
    case ACTION_REWIND:
    case ACTION_CLONE:
        return copy_step(st);
    case ACTION_START_PRIMARY:
        return start_step(st, false);
    case ACTION_START_STANDBY:
        return start_step(st, true);
    case ACTION_PREPARE:
        return prepare_step(st);
    case ACTION_PROMOTE:
        return promote_step(st);
    case ACTION_FOLLOW:
        return follow_step(st);
    case ACTION_CHECKPOINT:
        return checkpoint_step(st);
    case ACTION_STOP:
        return stop_step(st);
    case ACTION_FENCE:
        return fence_step(st);
    case ACTION_CLEAN_UP:
        return clean_up_step(st);
    case ACTION_NONE:
    case ACTIONS:
        break;
    }
    return done;
}

static struct sim_op *find_op(struct sim_node *n, uint32_t serial)
{
    struct sim_ops *o = &n->agent->ops;

    if (o->urgent.serial == serial) {
        return &o->urgent;
    }
    return o->main.serial == serial ? &o->main : NULL;
}

static void on_step(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    struct sim_op *op = find_op(n, (uint32_t)(e->number >> 32));
    struct sim_event next = {
        .fn = on_step, .node = n->i, .from = SIM_NOBODY, .life = n->life, .number = e->number};
    struct step_result r;

    if (op == NULL) {
        return; /* Cancelled. */
    }
    r = run_step(&(struct step){s, n, op, (uint32_t)e->number});
    switch (r.verdict) {
    case STEP_NEXT:
        next.number++;
        sim_after(s, r.after_us, &next);
        break;
    case STEP_AGAIN:
        sim_after(s, POLL_US, &next);
        break;
    case STEP_DONE:
        sim_ops_end(s, n, op, NULL);
        break;
    case STEP_FAILED:
        sim_ops_end(s, n, op, r.problem);
        break;
    }
}

void sim_steps_begin(struct sim *s, struct sim_node *n, struct sim_op *op)
{
    const struct sim_event first = {.fn = on_step,
                                    .node = n->i,
                                    .from = SIM_NOBODY,
                                    .life = n->life,
                                    .number = (uint64_t)op->serial << 32};

    if (op->action == ACTION_FENCE && op->decision.kill) {
        sim_pg_kill(s, n);
    } else if (op->action == ACTION_FENCE) {
        sim_pg_quit(s, n); /* The signal goes out inside the tick that decided it. */
    }
    sim_after(s, 0, &first);
}

void sim_steps_cancel(struct sim *s, struct sim_node *n, struct sim_op *op)
{
    if (op->action == ACTION_PROMOTE && n->pg.promoting) {
        sim_pg_stop_fast(s, n); /* It can not be taken back. */
    }
    if (op->action == ACTION_BOOTSTRAP) {
        sim_pg_kill(s, n);
        sim_pg_wipe(n, DATA_EMPTY);
    }
}
