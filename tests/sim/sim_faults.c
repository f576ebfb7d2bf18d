/*
 * The schedule of faults: every few seconds one is drawn, most end after a
 * while. Each is a row of a table; operators' requests are rows as well.
 */
#include "sim_faults.h"

#include <stdlib.h>

#include "base/str.h"
#include "checks.h"
#include "sim_node.h"
#include "trace.h"

static struct sim_node *any_node(struct sim *s)
{
    return s->nodes[sim_between(s, 0, (uint64_t)s->n_nodes - 1)];
}

static struct sim_node *any_postgres(struct sim *s)
{
    struct sim_node *n;

    do {
        n = any_node(s);
    } while (n->mode != MODE_POSTGRES);
    return n;
}

/* The one that writes, two times out of three; faults there are the interesting ones. */
static struct sim_node *a_victim(struct sim *s)
{
    if (sim_chance(s, 650)) {
        for (int i = 0; i < s->n_nodes; i++) {
            if (s->nodes[i]->pg.run == PG_RUN_PRIMARY) {
                return s->nodes[i];
            }
        }
    }
    return any_node(s);
}

/* ---- Links ---- */

static void heal_links(struct sim *s)
{
    for (int i = 0; i < s->n_nodes; i++) {
        for (int j = 0; j < s->n_nodes; j++) {
            uint64_t last_us = s->links[i][j].last_us;

            s->links[i][j] = (struct sim_link){
                .delay_min_us = 100, .delay_max_us = 800, .last_us = MIN(last_us, s->now_us)};
        }
    }
    s->log_kind->relink(s);
}

static void on_heal_links(struct sim *s, const struct sim_event *e)
{
    (void)e;
    TRACE(s, NULL, "links heal");
    heal_links(s);
}

static void heal_links_after(struct sim *s, uint64_t min_ms, uint64_t max_ms)
{
    s->log_kind->relink(s);
    sim_after(s, sim_between(s, min_ms, max_ms) * SIM_MS,
              &(struct sim_event){.fn = on_heal_links, .node = SIM_NOBODY, .from = SIM_NOBODY});
}

static void cut(struct sim *s, int i, int j)
{
    s->links[i][j].cut = true;
    s->links[j][i].cut = true;
}

void sim_faults_isolate(struct sim *s, const struct sim_node *n)
{
    TRACE(s, n, "FAULT cut off from all others");
    for (int i = 0; i < s->n_nodes; i++) {
        if (i != n->i) {
            cut(s, i, n->i);
        }
    }
    heal_links_after(s, 500, sim_chance(s, 850) ? 20000 : 60000);
}

static void isolate(struct sim *s)
{
    sim_faults_isolate(s, a_victim(s));
}

static void split(struct sim *s)
{
    uint64_t side = sim_between(s, 1, (1u << s->n_nodes) - 2);

    TRACE(s, NULL, "FAULT partition %x", (unsigned)side);
    for (int i = 0; i < s->n_nodes; i++) {
        for (int j = 0; j < s->n_nodes; j++) {
            if (((side >> i) & 1) != ((side >> j) & 1)) {
                cut(s, i, j);
            }
        }
    }
    heal_links_after(s, 500, 15000);
}

static void cut_one_way(struct sim *s)
{
    struct sim_node *n = a_victim(s);
    bool inwards = sim_chance(s, 500);
    bool all = sim_chance(s, 500);

    TRACE(s, n, "FAULT one-way cut, %s, %s", inwards ? "inwards" : "outwards",
          all ? "all links" : "one link");
    for (int i = 0; i < s->n_nodes; i++) {
        if (i != n->i && (all || i == (n->i + 1) % s->n_nodes)) {
            s->links[inwards ? i : n->i][inwards ? n->i : i].cut = true;
        }
    }
    heal_links_after(s, 500, 15000);
}

static void cut_link(struct sim *s)
{
    struct sim_node *n = a_victim(s);
    int other = (n->i + 1 + (int)sim_between(s, 0, (uint64_t)s->n_nodes - 2)) % s->n_nodes;

    TRACE(s, n, "FAULT link to %s cut", s->nodes[other]->name);
    cut(s, n->i, other);
    heal_links_after(s, 500, 20000);
}

static void lose(struct sim *s)
{
    uint32_t permille = (uint32_t)sim_between(s, 20, 350);

    TRACE(s, NULL, "FAULT %u per mille of messages lost", permille);
    s->stats.losses++;
    for (int i = 0; i < s->n_nodes; i++) {
        for (int j = 0; j < s->n_nodes; j++) {
            s->links[i][j].loss_permille = i != j ? permille : 0;
        }
    }
    heal_links_after(s, 1000, 15000);
}

static void delay(struct sim *s)
{
    uint64_t most_ms = sim_between(s, 20, 2500);

    TRACE(s, NULL, "FAULT messages late by up to %u ms", (unsigned)most_ms);
    s->stats.losses++;
    for (int i = 0; i < s->n_nodes; i++) {
        for (int j = 0; j < s->n_nodes; j++) {
            s->links[i][j].delay_max_us = sim_chance(s, 700) ? most_ms * SIM_MS : 800;
        }
    }
    heal_links_after(s, 1000, 15000);
}

/* ---- Disks ---- */

/* As many as may be lost at a time: one. Everybody votes, and knows it. */
static bool may_lose(struct sim *s)
{
    uint64_t index = 0;

    if (s->log_kind->lose == NULL) {
        return false;
    }
    for (int i = 0; i < s->n_nodes; i++) {
        struct sim_leadership l;

        s->log_kind->leadership(s, s->nodes[i], &l);
        if (l.voters.index != l.committed.index || (i > 0 && l.voters.index != index)) {
            return false;
        }
        index = l.voters.index;
        for (int j = 0; j < s->n_nodes; j++) {
            if (!lease_voter_set_has(&l.voters, s->nodes[j]->id)) {
                return false;
            }
        }
    }
    return true;
}

static void lose_disk(struct sim *s)
{
    struct sim_node *n = a_victim(s);

    if (!may_lose(s)) {
        return;
    }
    TRACE(s, n, "FAULT its Raft state is lost");
    sim_node_crash(s, n);
    if (sim_chance(s, 500)) {
        sim_node_boot(s, n);
    }
    sim_node_lose(s, n);
    sim_node_start_after(s, n, sim_between(s, 200, 15000) * SIM_MS);
}

/* ---- Processes and machines ---- */

/* From a hiccup to far beyond the lease: as many of each order of magnitude. */
static uint64_t a_pause_ms(struct sim *s)
{
    static const uint64_t most_ms[] = {10, 100, 1000, 5000, 20000, 60000};

    return sim_between(s, 1, most_ms[sim_between(s, 0, ARRAY_LENGTH(most_ms) - 1)]);
}

static void crash(struct sim *s)
{
    struct sim_node *n = a_victim(s);

    TRACE(s, n, "FAULT all processes killed");
    sim_node_crash(s, n);
    sim_node_start_after(s, n, sim_between(s, 200, 15000) * SIM_MS);
}

static void reboot_node(struct sim *s, struct sim_node *n, uint64_t back_ms)
{
    TRACE(s, n, "FAULT reboot");
    s->stats.reboots++;
    sim_node_crash(s, n);
    sim_node_boot(s, n);
    sim_node_start_after(s, n, back_ms * SIM_MS);
}

static void reboot(struct sim *s)
{
    reboot_node(s, a_victim(s), sim_between(s, 800, 20000));
}

/* Who writes is alone, and everybody else forgets what it promised. */
static void reboot_the_others(struct sim *s)
{
    struct sim_node *n = a_victim(s);

    TRACE(s, n, "FAULT cut off, the others reboot");
    for (int i = 0; i < s->n_nodes; i++) {
        if (i != n->i) {
            cut(s, i, n->i);
            reboot_node(s, s->nodes[i], sim_between(s, 200, 1500));
        }
    }
    heal_links_after(s, 5000, 20000);
}

static void crash_all(struct sim *s)
{
    TRACE(s, NULL, "FAULT all nodes killed");
    for (int i = 0; i < s->n_nodes; i++) {
        if (sim_chance(s, 300)) {
            reboot_node(s, s->nodes[i], sim_between(s, 500, 8000));
        } else {
            sim_node_crash(s, s->nodes[i]);
            sim_node_start_after(s, s->nodes[i], sim_between(s, 200, 8000) * SIM_MS);
        }
    }
}

/*
 * One of the two is enough to keep the promise. With both stopped at once only
 * the parent's death is left (docs/INVARIANTS.md): what hurts one of them waits until
 * the other is well, or has been replaced.
 */
static bool guard_is_hurt(const struct sim *s, const struct sim_node *n)
{
    return n->guard.hurt_us != 0 && s->now_us < n->guard.hurt_us + s->ttl_max_us;
}

static bool agent_is_hurt(const struct sim *s, const struct sim_node *n)
{
    return !n->is_up || !n->agent->begun || n->agent_paused_until_us > s->now_us;
}

/* It comes back within the lease, or long after. */
void sim_faults_kill_agent(struct sim *s, struct sim_node *n)
{
    if (guard_is_hurt(s, n) || !n->is_up) {
        return;
    }
    TRACE(s, n, "FAULT agent killed");
    sim_node_kill_agent(s, n);
    sim_node_start_after(s, n, sim_between(s, 50, sim_chance(s, 700) ? 1000 : 40000) * SIM_MS);
}

static void kill_agent(struct sim *s)
{
    sim_faults_kill_agent(s, a_victim(s));
}

/* L2: gone for less than what is left of the lease. */
static void restart_agent(struct sim *s)
{
    struct sim_node *n = check_l2_is_calm(s) ? check_l2_primary(s) : NULL;

    if (n == NULL || guard_is_hurt(s, n)) {
        return;
    }
    TRACE(s, n, "FAULT agent killed for a moment, all else is well");
    check_l2_expect(s, n, 2 * s->ttl_max_us, "its agent was killed, and back within the lease");
    s->stats.restarts_in_lease++;
    sim_node_kill_agent(s, n);
    sim_node_start_after(s, n, sim_between(s, 50, n->agent->ttl_ms / 4) * SIM_MS);
}

/* L2: fewer than half of the nodes, and not the primary. */
static void lose_minority(struct sim *s)
{
    struct sim_node *n = check_l2_is_calm(s) ? check_l2_primary(s) : NULL;
    int left = (s->n_nodes - 1) / 2;

    if (n == NULL) {
        return;
    }
    TRACE(s, n, "FAULT a minority of the others is killed, all else is well");
    check_l2_expect(s, n, 2 * s->ttl_max_us, "a minority was lost");
    s->stats.minorities_lost++;
    for (int i = 1; i < s->n_nodes && left > 0; i++, left--) {
        struct sim_node *other = s->nodes[(n->i + i) % s->n_nodes];

        sim_node_crash(s, other);
        sim_node_start_after(s, other, sim_between(s, 1000, 10000) * SIM_MS);
    }
}

static void kill_guard(struct sim *s)
{
    struct sim_node *n = a_victim(s);

    if (!n->guard.is_up || agent_is_hurt(s, n)) {
        return;
    }
    TRACE(s, n, "FAULT guard killed");
    n->guard.hurt_us = s->now_us;
    sim_guard_kill(s, n);
}

static void pause_guard(struct sim *s)
{
    struct sim_node *n = a_victim(s);
    uint64_t ms = a_pause_ms(s);

    if (!n->guard.is_up || agent_is_hurt(s, n)) {
        return;
    }
    TRACE(s, n, "FAULT guard stopped for %u ms", (unsigned)ms);
    n->guard.hurt_us = s->now_us;
    n->guard.paused_until_us = s->now_us + ms * SIM_MS;
}

static void on_in_turn(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];

    if (!s->healing && n->guard.hurt_us == e->number && !agent_is_hurt(s, n) &&
        !check_l2_is_expected(s)) {
        TRACE(s, n, "FAULT and now the agent is stopped");
        n->agent_paused_until_us = s->now_us + sim_between(s, 5, 20) * SIM_S;
    }
}

/* First the guard, then the agent: later than the agent needs to see that, and to do
 * something about it. */
static void pause_in_turn(struct sim *s)
{
    struct sim_node *n = a_victim(s);

    if (!n->guard.is_up || agent_is_hurt(s, n) || s->options.fixture) {
        return;
    }
    TRACE(s, n, "FAULT guard stopped");
    n->guard.hurt_us = s->now_us;
    n->guard.paused_until_us = s->now_us + 60 * SIM_S;
    sim_after(s, s->ttl_max_us + sim_between(s, 1000, 5000) * SIM_MS,
              &(struct sim_event){
                  .fn = on_in_turn, .node = n->i, .from = SIM_NOBODY, .number = s->now_us});
}

static void kill_postmaster(struct sim *s)
{
    struct sim_node *n = a_victim(s);

    TRACE(s, n, "FAULT postmaster killed");
    sim_pg_kill_postmaster(s, n);
}

static void on_back(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];

    if (n->is_up && n->agent->stopping_since_ms != 0) {
        sim_after(s, SIM_S, e); /* It still leaves. */
    } else if (!n->is_up) {
        sim_node_start_after(s, n, sim_between(s, 100, 4000) * SIM_MS);
    }
}

static void terminate(struct sim *s)
{
    struct sim_node *n = a_victim(s);

    TRACE(s, n, "FAULT agent told to stop");
    sim_node_terminate(s, n);
    sim_after(s, sim_between(s, 500, 6000) * SIM_MS,
              &(struct sim_event){.fn = on_back, .node = n->i, .from = SIM_NOBODY});
}

/* All of it, PostgreSQL as well, for less than a freeze begins before the deadline. Longer
 * pauses nothing covers (docs/INVARIANTS.md). */
static void pause_machine(struct sim *s)
{
    struct sim_node *n = a_victim(s);

    TRACE(s, n, "FAULT paused for a moment");
    n->paused_until_us = s->now_us + sim_between(s, 1, 20) * SIM_MS;
}

/* SIGSTOP and SIGCONT. What was sent to it meanwhile is read then. */
static void pause_agent(struct sim *s)
{
    struct sim_node *n = a_victim(s);
    uint64_t ms = a_pause_ms(s);

    if (guard_is_hurt(s, n) || !n->is_up) {
        return;
    }
    if (s->options.fixture) {
        ms = MIN(ms, 150); /* Its libraft would go on alone. */
    }
    TRACE(s, n, "FAULT agent stopped for %u ms", (unsigned)ms);
    s->stats.long_pauses += ms > n->agent->ttl_ms ? 1 : 0;
    n->agent_paused_until_us = s->now_us + ms * SIM_MS;
}

static void stall_disk(struct sim *s)
{
    struct sim_node *n = a_victim(s);

    TRACE(s, n, "FAULT the disk under Raft does not answer");
    s->log_kind->stall(s, n, s->now_us + sim_between(s, 200, 12000) * SIM_MS);
}

static int64_t a_rate(struct sim *s, uint64_t most_ppm)
{
    return (int64_t)sim_between(s, 0, 2 * most_ppm) - (int64_t)most_ppm;
}

/*
 * RAW clocks of two nodes never differ by a hundredth: that is what a lease counts on.
 * BOOTTIME is slewed towards the true wall clock, by up to a tenth, on its own.
 */
static void slew(struct sim *s)
{
    struct sim_node *n = a_victim(s);

    n->raw_clock = (struct sim_clock){s->now_us, sim_clock_ns(s, &n->raw_clock), a_rate(s, 4500)};
    n->boot_clock = (struct sim_clock){s->now_us, sim_clock_ns(s, &n->boot_clock),
                                       a_rate(s, sim_chance(s, 300) ? 4500 : 100000)};
    n->wall_offset_us = (int64_t)sim_between(s, 0, 2 * SIM_S) - (int64_t)SIM_S;
    s->stats.slews_of_boottime += llabs(n->boot_clock.ppm) > 50000 ? 1 : 0;
    TRACE(s, n, "FAULT clocks run at %d and %d ppm", (int)n->raw_clock.ppm, (int)n->boot_clock.ppm);
}

static void slow_stream(struct sim *s)
{
    struct sim_node *n = any_postgres(s);

    TRACE(s, n, "FAULT receives no WAL for a while");
    n->pg.slow_until_us = s->now_us + sim_between(s, 1000, 12000) * SIM_MS;
}

/* ---- Operators ---- */

static void ask(struct sim *s, const struct command *c)
{
    struct sim_node *n = any_node(s);

    if (n->is_up) {
        sim_node_propose(s, n, c, 0);
    }
}

static void request(struct sim *s, enum request_kind kind, bool named)
{
    static struct command c;
    struct sim_node *to = any_postgres(s);

    TRACE(s, to, "OPERATOR asks for a %s%s", request_kind_name(kind), named ? " to it" : "");
    c.kind = COMMAND_REQUEST_SET;
    memset(&c.request_set, 0, sizeof(c.request_set));
    c.request_set.kind = kind;
    c.request_set.time_us = SIM_WALL_US + (int64_t)s->now_us;
    (void)str_copy(c.request_set.who, HOST_SIZE, "dba");
    if (named) {
        (void)str_copy(c.request_set.to, NAME_SIZE, to->name);
    }
    ask(s, &c);
}

static void switch_over(struct sim *s)
{
    request(s, REQUEST_SWITCHOVER, sim_chance(s, 500));
}

/* A restart now or soon, or a new copy. */
static void order_member(struct sim *s)
{
    static struct command c;
    struct sim_node *of = any_postgres(s);
    int64_t now_us = SIM_WALL_US + (int64_t)s->now_us;

    c.kind = COMMAND_ORDER_SET;
    memset(&c.order_set, 0, sizeof(c.order_set));
    c.order_set.kind = sim_chance(s, 300) ? REQUEST_REINIT : REQUEST_RESTART;
    if (c.order_set.kind == REQUEST_RESTART && sim_chance(s, 300)) {
        c.order_set.at_us = now_us + (int64_t)(sim_between(s, 1, 6000) * SIM_MS);
    }
    if (c.order_set.kind == REQUEST_REINIT && now_us % 3 != 0) { /* Drawn by the clock. */
        c.order_set.force = true;
        c.order_set.pending_only = true;
    }
    c.order_set.time_us = now_us;
    (void)str_copy(c.order_set.member, NAME_SIZE, of->name);
    (void)str_copy(c.order_set.who, HOST_SIZE, "dba");
    TRACE(s, of, "OPERATOR orders a %s", request_kind_name(c.order_set.kind));
    ask(s, &c);
}

static void fail_over(struct sim *s)
{
    request(s, REQUEST_FAILOVER, true);
}

static void change_ttl(struct sim *s)
{
    static struct command c;
    static const unsigned ttls_ms[] = {2000, 3000, 4000, 6000};
    struct sim_node *n = any_node(s);

    if (!n->is_up) {
        return;
    }
    c.kind = COMMAND_CONFIG_SET;
    c.config_set.expect_revision = n->agent->store.config_revision;
    sim_node_config(c.config_set.config, ttls_ms[sim_between(s, 0, ARRAY_LENGTH(ttls_ms) - 1)],
                    n->agent->is_paused);
    TRACE(s, n, "OPERATOR sets %s", c.config_set.config);
    sim_node_propose(s, n, &c, 0);
}

/* ---- The schedule ---- */

static const struct {
    void (*inject)(struct sim *s);
    uint32_t weight;
    size_t counter; /* In struct sim_stats. */
} faults[] = {
#define FAULT_ROW(name, weight) {name, weight, offsetof(struct sim_stats, fault_##name)},
    SIM_FAULT_KINDS(FAULT_ROW)
#undef FAULT_ROW
};

static void count(struct sim *s, size_t fault)
{
    (*(uint64_t *)((char *)&s->stats + faults[fault].counter))++;
    s->stats.faults++;
}

static void inject_one(struct sim *s)
{
    uint32_t sum = 0;
    uint32_t drawn;

    for (size_t i = 0; i < ARRAY_LENGTH(faults); i++) {
        sum += faults[i].weight;
    }
    drawn = (uint32_t)sim_between(s, 0, sum - 1);
    for (size_t i = 0; i < ARRAY_LENGTH(faults); i++) {
        if (drawn < faults[i].weight) {
            faults[i].inject(s);
            count(s, i);
            return;
        }
        drawn -= faults[i].weight;
    }
}

static void on_fault(struct sim *s, const struct sim_event *e)
{
    if (s->healing) {
        return;
    }
    if (!check_l2_is_expected(s)) {
        inject_one(s);
    }
    sim_after(s, sim_between(s, 500, 8000) * SIM_MS, e);
}

void sim_faults_begin(struct sim *s)
{
    sim_after(s, sim_between(s, 4000, 15000) * SIM_MS,
              &(struct sim_event){.fn = on_fault, .node = SIM_NOBODY, .from = SIM_NOBODY});
}

void sim_faults_heal(struct sim *s)
{
    TRACE(s, NULL, "all faults heal");
    s->healing = true;
    s->healed_us = s->now_us;
    heal_links(s);
    sim_pause_heal(s);
    for (int i = 0; i < s->n_nodes; i++) {
        struct sim_node *n = s->nodes[i];

        n->paused_until_us = 0;
        n->agent_paused_until_us = 0;
        n->guard.paused_until_us = 0;
        n->pg.slow_until_us = 0;
        s->log_kind->stall(s, n, 0);
        if (!n->is_up) {
            sim_node_start_after(s, n, sim_between(s, 1, 2000) * SIM_MS);
        } else if (n->agent->stopping_since_ms != 0) {
            sim_after(s, SIM_S,
                      &(struct sim_event){.fn = on_back, .node = n->i, .from = SIM_NOBODY});
        }
    }
}
