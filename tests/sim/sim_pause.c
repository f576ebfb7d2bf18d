/*
 * Operators who pause and resume the cluster, also through a partition, and the one who
 * says that an unfenced primary is dead. He looks first: with him wrong there is no promise.
 */
#include "base/str.h"
#include "checks.h"
#include "sim_faults.h"
#include "sim_node.h"
#include "trace.h"

#define AGAIN_US SIM_S

static bool is_usable(const struct sim_node *n)
{
    return n->is_up && n->agent->begun && n->agent->caught_up;
}

static struct sim_node *find_usable(struct sim *s)
{
    int first = (int)sim_between(s, 0, (uint64_t)s->n_nodes - 1);

    for (int i = 0; i < s->n_nodes; i++) {
        struct sim_node *n = s->nodes[(first + i) % s->n_nodes];

        if (is_usable(n)) {
            return n;
        }
    }
    return NULL;
}

/* In the middle of it, whoever writes is cut off from all others, or loses its agent. */
static void on_hit(struct sim *s, const struct sim_event *e)
{
    (void)e;
    for (int i = 0; i < s->n_nodes && !s->healing; i++) {
        if (s->nodes[i]->pg.run == PG_RUN_PRIMARY) {
            sim_chance(s, 500) ? sim_faults_isolate(s, s->nodes[i])
                               : sim_faults_kill_agent(s, s->nodes[i]);
            return;
        }
    }
}

static void hit_soon(struct sim *s)
{
    if (!s->healing && !check_l2_is_expected(s) && sim_chance(s, 500)) {
        sim_after(s, sim_between(s, 0, 8000) * SIM_US,
                  &(struct sim_event){.fn = on_hit, .node = SIM_NOBODY, .from = SIM_NOBODY});
    }
}

static void set_pause(struct sim *s, struct sim_node *n, bool paused)
{
    static struct command c;

    TRACE(s, n, "OPERATOR %s", paused ? "pauses" : "resumes");
    c.kind = COMMAND_CONFIG_SET;
    c.config_set.expect_revision = n->agent->store.config_revision;
    sim_node_config(c.config_set.config, n->agent->ttl_ms, paused);
    sim_node_propose(s, n, &c, 0);
    hit_soon(s);
}

/* Not certain of what he wants. */
static void on_pause_again(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = find_usable(s);

    (void)e;
    if (n != NULL && !n->agent->is_paused && !s->healing) {
        set_pause(s, n, true);
    }
}

static void pause_again_soon(struct sim *s)
{
    sim_after(s, sim_between(s, 0, 15000) * SIM_US,
              &(struct sim_event){.fn = on_pause_again, .node = SIM_NOBODY, .from = SIM_NOBODY});
}

static void on_resume(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = find_usable(s);

    if (n != NULL && n->agent->is_paused) {
        set_pause(s, n, false);
        if (sim_chance(s, 400)) {
            pause_again_soon(s);
        }
    }
    if (n == NULL || n->agent->is_paused) {
        sim_after(s, AGAIN_US, e);
    }
}

void pause_cluster(struct sim *s)
{
    struct sim_node *n = find_usable(s);

    if (n == NULL || n->agent->is_paused) {
        return;
    }
    set_pause(s, n, true);
    sim_after(s, sim_between(s, 500, 40000) * SIM_MS,
              &(struct sim_event){.fn = on_resume, .node = SIM_NOBODY, .from = SIM_NOBODY});
}

/* ---- An unfenced primary that is dead ---- */

static void take_mark_back(struct sim *s, struct sim_node *n)
{
    static struct command c;

    TRACE(s, n, "OPERATOR says that the unfenced primary is dead");
    c.kind = COMMAND_EPOCH_UNFENCED;
    c.epoch_unfenced = (struct command_epoch_unfenced){
        .expect_epoch = n->agent->store.primary.epoch,
        .time_us = SIM_WALL_US + (int64_t)s->now_us,
        .rule = "primary-is-dead",
    };
    (void)str_copy(c.epoch_unfenced.node, NAME_SIZE, n->name);
    s->stats.declared_dead++;
    sim_node_propose(s, n, &c, 0);
}

/* Nothing runs of that epoch's owner. */
static bool is_dead(const struct sim *s, const struct store *store)
{
    const struct sim_node *owner = s->nodes[sim_index_of(store->primary.owner_id)];

    return (owner->pg.run == PG_RUN_DOWN && !owner->is_up) ||
           owner->id != store->primary.owner_id; /* It lost its disk in a crash. */
}

static void on_word(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = find_usable(s);

    (void)e;
    if (n != NULL && n->agent->store.primary.unfenced && is_dead(s, &n->agent->store)) {
        take_mark_back(s, n);
    }
}

void lose_paused(struct sim *s)
{
    struct sim_node *n = find_usable(s);
    struct sim_node *owner;

    if (n == NULL || !n->agent->store.primary.unfenced) {
        return;
    }
    owner = s->nodes[sim_index_of(n->agent->store.primary.owner_id)];
    TRACE(s, owner, "FAULT the paused primary is lost");
    sim_node_crash(s, owner);
    sim_node_start_after(s, owner, sim_between(s, 5, 40) * SIM_S);
    sim_after(s, sim_between(s, 500, 8000) * SIM_MS,
              &(struct sim_event){.fn = on_word, .node = SIM_NOBODY, .from = SIM_NOBODY});
}

/* ---- At the end ---- */

static void on_tidy(struct sim *s, const struct sim_event *e)
{
    for (int i = 0; i < s->n_nodes; i++) {
        struct sim_node *n = s->nodes[i];

        if (is_usable(n) && n->agent->is_paused) {
            set_pause(s, n, false);
        } else if (is_usable(n) && n->agent->store.primary.unfenced &&
                   is_dead(s, &n->agent->store)) {
            take_mark_back(s, n);
        }
    }
    sim_after(s, 2 * SIM_S, e);
}

void sim_pause_heal(struct sim *s)
{
    sim_after(s, SIM_S, &(struct sim_event){.fn = on_tidy, .node = SIM_NOBODY, .from = SIM_NOBODY});
}
