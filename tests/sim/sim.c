/* Events, clocks, links, and the life of one seed. See sim.h. */
#include "sim.h"

#include <stdlib.h>

#include "checks.h"
#include "sim_client.h"
#include "sim_faults.h"
#include "sim_log.h"
#include "sim_node.h"
#include "trace.h"

/* ---- Chance ---- */

uint64_t sim_between(struct sim *s, uint64_t min, uint64_t max)
{
    return rng_between(&s->rng, min, max);
}

bool sim_chance(struct sim *s, uint32_t permille)
{
    return rng_between(&s->rng, 0, 999) < permille;
}

/* ---- Events ---- */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_push(struct sim *s, const struct sim_event *e)
{
    size_t at = s->n_heap++;

    if (s->n_heap > s->heap_size) {
        s->heap_size = s->heap_size == 0 ? 1024 : 2 * s->heap_size;
        s->heap = xrealloc(s->heap, s->heap_size * sizeof(*s->heap));
    }
    while (at > 0 && is_before(e, &s->heap[(at - 1) / 2])) {
        s->heap[at] = s->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->heap[at] = *e;
}

static struct sim_event heap_pop(struct sim *s)
{
    struct sim_event top = s->heap[0];
    struct sim_event last = s->heap[--s->n_heap];
    size_t at = 0;

    for (size_t child = 1; child < s->n_heap; child = 2 * at + 1) {
        if (child + 1 < s->n_heap && is_before(&s->heap[child + 1], &s->heap[child])) {
            child++;
        }
        if (!is_before(&s->heap[child], &last)) {
            break;
        }
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = last;
    return top;
}

static void push_at(struct sim *s, uint64_t at_us, const struct sim_event *e)
{
    struct sim_event made = *e;

    made.at_us = at_us;
    made.order = s->next_order++;
    heap_push(s, &made);
}

void sim_after(struct sim *s, uint64_t after_us, const struct sim_event *e)
{
    push_at(s, s->now_us + after_us, e);
}

/* Events of what is paused wait for its end, in order. */
static bool is_held_up(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = e->node != SIM_NOBODY ? s->nodes[e->node] : NULL;
    bool is_agents = e->life != 0 || e->from != SIM_NOBODY;
    uint64_t until_us;

    if (n == NULL) {
        return false;
    }
    until_us = n->paused_until_us;
    if (is_agents && n->is_up) {
        until_us = MAX(until_us, n->agent_paused_until_us);
    }
    if (e->guard_life != 0 && e->guard_life == n->guard.life) {
        until_us = MAX(until_us, n->guard.paused_until_us);
    }
    if (until_us > s->now_us) {
        struct sim_event later = *e;

        if (e->from != SIM_NOBODY) {
            later.life = n->life; /* It waits in this process's socket, and is lost with it. */
        }
        push_at(s, until_us, &later);
        return true;
    }
    if (e->of_postgres && sim_pg_is_frozen(s, n)) {
        sim_pg_hold(n, e);
        return true;
    }
    return false;
}

static bool is_wanted(struct sim *s, const struct sim_event *e)
{
    const struct sim_node *n = e->node != SIM_NOBODY ? s->nodes[e->node] : NULL;

    if (e->from != SIM_NOBODY &&
        (s->links[e->from][e->node].cut || !n->is_up || !n->agent->begun)) {
        return false;
    }
    if (e->guard_life != 0 && (!n->guard.is_up || n->guard.life != e->guard_life)) {
        return false;
    }
    return e->life == 0 || (n->is_up && n->life == e->life);
}

static void step(struct sim *s)
{
    struct sim_event e = heap_pop(s);

    ASSERT(e.at_us >= s->now_us);
    s->now_us = e.at_us;
    if (is_held_up(s, &e)) {
        return;
    }
    if (is_wanted(s, &e)) {
        e.fn(s, &e);
    }
    free(e.data);
}

uint64_t sim_true_us(const struct sim_node *n, uint64_t local_us)
{
    uint64_t rate = (uint64_t)(1000000 + n->boot_clock.ppm);

    return (local_us * 1000000 + rate - 1) / rate; /* Never early. */
}

void sim_timer(struct sim *s, const struct sim_node *n, uint64_t local_us,
               const struct sim_event *e)
{
    sim_after(s, sim_true_us(n, local_us), e);
}

/* ---- Messages ---- */

bool sim_can_reach(const struct sim *s, int from, int to)
{
    return from == to || (!s->links[from][to].cut && !s->links[to][from].cut);
}

void sim_send(struct sim *s, const struct sim_message *m)
{
    struct sim_link *link = &s->links[m->from][m->to];
    struct sim_event e = {
        .fn = m->fn, .node = m->to, .from = m->from, .number = m->number, .data = m->data};
    uint64_t at_us;

    if (m->from == m->to) {
        sim_after(s, 20, &e);
        return;
    }
    if (link->cut || sim_chance(s, link->loss_permille)) {
        free(m->data);
        return;
    }
    at_us = s->now_us + sim_between(s, link->delay_min_us, link->delay_max_us);
    if (m->ordered) {
        at_us = MAX(at_us, link->last_us);
        link->last_us = at_us;
    }
    push_at(s, at_us, &e);
}

/* ---- Clocks ---- */

uint64_t sim_clock_ns(const struct sim *s, const struct sim_clock *clock)
{
    int64_t elapsed_us = (int64_t)(s->now_us - clock->from_us);

    return clock->ns + (uint64_t)(elapsed_us * 1000 + elapsed_us * clock->ppm / 1000);
}

void sim_clock_set(const struct sim *s, struct sim_clock *clock, uint64_t ns, int64_t ppm)
{
    *clock = (struct sim_clock){.from_us = s->now_us, .ns = ns, .ppm = ppm};
}

uint64_t sim_local_ms(const struct sim *s, const struct sim_node *n)
{
    return sim_clock_ns(s, &n->boot_clock) / NS_PER_MS;
}

struct lease_time sim_lease_now(const struct sim *s, const struct sim_node *n)
{
    struct lease_time now = {.raw_ns = sim_clock_ns(s, &n->raw_clock),
                             .boot_ns = sim_clock_ns(s, &n->boot_clock)};

    if (s->options.mutant == MUTANT_BOOTTIME_ALONE) {
        now.raw_ns = now.boot_ns;
    }
    return now;
}

/* ---- Ids ---- */

#define FIRST_ID 1000
#define ID_STEP  100

node_id sim_first_id(int i)
{
    return FIRST_ID + (node_id)i;
}

node_id sim_next_id(node_id id)
{
    return id + ID_STEP;
}

int sim_index_of(node_id id)
{
    return (int)((id - FIRST_ID) % ID_STEP);
}

/* ---- One seed ---- */

const char *sim_mutant_name(enum sim_mutant mutant)
{
    static const char *const names[MUTANTS] = {
        [MUTANT_NONE] = "none",
        [MUTANT_NO_QUARANTINE] = "no-quarantine",
        [MUTANT_NO_FENCE] = "no-fence",
        [MUTANT_WORST_CANDIDATE] = "worst-candidate",
        [MUTANT_RELEASE_BEFORE_STOP] = "release-before-stop",
        [MUTANT_NO_CAS] = "no-cas",
        [MUTANT_KEEPS_ID] = "keeps-id",
        [MUTANT_ADDS_FIRST] = "adds-first",
        [MUTANT_NO_GATE] = "no-gate",
        [MUTANT_NO_PROOF] = "no-proof",
        [MUTANT_NO_FREEZE] = "no-freeze",
        [MUTANT_FREEZE_LATE] = "freeze-late",
        [MUTANT_THAW_ON_HELLO] = "thaw-on-hello",
        [MUTANT_TRUST_GUARD] = "trust-guard",
        [MUTANT_NO_CONTINUE] = "no-continue",
        [MUTANT_BOOTTIME_ALONE] = "boottime-alone",
        [MUTANT_NO_MARKER] = "no-marker",
        [MUTANT_DEMOTES] = "demotes",
        [MUTANT_NO_REJOIN] = "no-rejoin",
        [MUTANT_DISARMS_FIRST] = "disarms-first",
        [MUTANT_TAKES_UNFENCED] = "takes-unfenced",
        [MUTANT_NO_REARM] = "no-rearm",
    };

    return names[mutant];
}

static void draw_cluster(struct sim *s)
{
    static const uint64_t ttls_ms[] = {3000, 3000, 3000, 2000, 5000, 10000};
    static const int64_t bounds[] = {-1, 1 << 20, 1 << 20, 256 << 10, 0};
    static const struct {
        int n_postgres, n_witnesses;
    } shapes[] = {{2, 1}, {2, 1}, {3, 0}, {3, 0}, {3, 2}};
    uint64_t shape = sim_between(s, 0, ARRAY_LENGTH(shapes) - 1);

    if (s->options.fixture) {
        shape = s->seed % 4;
    }
    s->ttl_ms = ttls_ms[sim_between(s, 0, ARRAY_LENGTH(ttls_ms) - 1)];
    s->ttl_max_us = MAX(s->ttl_ms, 6000) * SIM_MS;
    s->lag_bound = bounds[sim_between(s, 0, ARRAY_LENGTH(bounds) - 1)];
    s->check_timeline = sim_chance(s, 300);
    s->start_timeout_ms = sim_between(s, 10, 60) * 1000;
    s->row_every_us = sim_between(s, 10, 40) * SIM_MS;
    for (int i = 0; i < shapes[shape].n_postgres; i++) {
        sim_node_add(s, MODE_POSTGRES);
    }
    for (int i = 0; i < shapes[shape].n_witnesses; i++) {
        sim_node_add(s, MODE_WITNESS);
    }
    if (shapes[shape].n_postgres > 2 && sim_chance(s, 250)) {
        s->nodes[sim_between(s, 0, 2)]->nofailover = true;
    }
}

static void set_links(struct sim *s)
{
    for (int i = 0; i < s->n_nodes; i++) {
        for (int j = 0; j < s->n_nodes; j++) {
            s->links[i][j] = (struct sim_link){.delay_min_us = 100, .delay_max_us = 800};
        }
    }
}

static void begin(struct sim *s)
{
    rng_seed(&s->rng, s->seed);
    wal_reset(&s->wal);
    draw_cluster(s);
    set_links(s);
    s->log_kind = s->options.fixture ? &sim_log_fixture : &sim_log_model;
    s->log = s->log_kind->create(s);
    s->checks = checks_new();
    s->client = sim_client_new(s);
    for (int i = 0; i < s->n_nodes; i++) {
        sim_node_boot(s, s->nodes[i]);
        sim_node_start_after(s, s->nodes[i], sim_between(s, 1, 2000) * SIM_MS);
    }
    sim_faults_begin(s);
}

static void end(struct sim *s)
{
    for (size_t i = 0; i < s->n_heap; i++) {
        free(s->heap[i].data);
    }
    free(s->heap);
    sim_client_free(s->client);
    checks_free(s->checks);
    s->log_kind->destroy(s->log);
    for (int i = 0; i < s->n_nodes; i++) {
        sim_node_free(s->nodes[i]);
    }
}

static void add_stats(struct sim_stats *to, const struct sim_stats *from)
{
#define SIM_STATS_ADD(name, required) to->name += from->name;
    SIM_STATS(SIM_STATS_ADD)
#undef SIM_STATS_ADD
#define SIM_STATS_ADD_FAULT(name, weight) to->fault_##name += from->fault_##name;
    SIM_FAULT_KINDS(SIM_STATS_ADD_FAULT)
#undef SIM_STATS_ADD_FAULT
    if (from->late_is_measured && (!to->late_is_measured || from->late_ns_max > to->late_ns_max)) {
        to->late_is_measured = true;
        to->late_ns_max = from->late_ns_max;
    }
}

/* Faults that others must not come near take 20 s each (check_l2.c): a seed of few goes on
 * until it had enough, for as long again at most. */
static bool has_faults_to_come(const struct sim *s)
{
    uint64_t end_us = s->options.seconds * SIM_S;

    return s->now_us < end_us || (checks_wants_faults(s) && s->now_us < 2 * end_us);
}

/* With faults for the time asked for, then without until all is well. */
static void live(struct sim *s)
{
    while (!checks_failed(s->checks) && has_faults_to_come(s) && s->n_heap > 0) {
        step(s);
        check_l2_look(s);
    }
    if (checks_failed(s->checks)) {
        return;
    }
    checks_count_faults(s);
    sim_faults_heal(s);
    while (!checks_failed(s->checks) && !checks_liveness_is_over(s)) {
        step(s);
        check_l2_look(s);
    }
    s->stats.healed_ms = (s->now_us - s->healed_us) / SIM_MS;
}

bool sim_run(uint64_t seed, const struct sim_options *options, struct sim_stats *stats)
{
    struct sim *s = xmalloc(sizeof(*s));
    bool good;

    s->options = *options;
    s->seed = seed;
    begin(s);
    TRACE(s, NULL, "ttl %u ms, lag bound %lld, %d nodes", (unsigned)s->ttl_ms,
          (long long)s->lag_bound, s->n_nodes);
    live(s);
    good = !checks_failed(s->checks);
    add_stats(stats, &s->stats);
    end(s);
    free(s);
    return good;
}
