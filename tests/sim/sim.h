/*
 * A whole cluster in one process on virtual time: nodes with clocks of their
 * own, links between them, and a queue of events. Everything that happens is
 * an event; everything that is chance comes from one generator, so that a seed
 * is a history that can be lived through again.
 *
 * sim.c        events, clocks, links, one seed from beginning to end
 * sim_log.h    the replicated log (a model, or libraft's fixture)
 * sim_pg.h     a model of PostgreSQL
 * sim_node.h   what agent/ is in the daemon: gather, decide, act
 * sim_faults.c what goes wrong, and operators
 * checks.h     what must never happen
 */
#ifndef SIM_H
#define SIM_H

#include "base/rng.h"
#include "lease.h"
#include "sim_stats.h"
#include "store/store.h"
#include "wal.h"

#define SIM_NODES_MAX  5
#define SIM_US         UINT64_C(1)
#define SIM_MS         UINT64_C(1000)
#define SIM_S          UINT64_C(1000000)
#define SIM_NOBODY     (-1)
#define SIM_WALL_US    INT64_C(1700000000000000)
#define SIM_FAULTS_MIN 10

/* A rule that is broken on purpose, to see that a checker notices. */
enum sim_mutant {
    MUTANT_NONE,
    MUTANT_NO_QUARANTINE,
    MUTANT_NO_FENCE,
    MUTANT_WORST_CANDIDATE,
    MUTANT_RELEASE_BEFORE_STOP,
    MUTANT_NO_CAS,
    MUTANT_KEEPS_ID,
    MUTANT_ADDS_FIRST,
    MUTANT_NO_GATE,
    MUTANT_NO_PROOF,
    MUTANT_NO_FREEZE,
    MUTANT_FREEZE_LATE,
    MUTANT_THAW_ON_HELLO,
    MUTANT_TRUST_GUARD,
    MUTANT_NO_CONTINUE,
    MUTANT_BOOTTIME_ALONE,
    MUTANT_NO_MARKER,
    MUTANT_DEMOTES,
    MUTANT_NO_REJOIN,
    MUTANT_DISARMS_FIRST,
    MUTANT_TAKES_UNFENCED,
    MUTANT_NO_REARM,
    MUTANTS
};

struct sim_options {
    uint64_t seconds; /* Of faults; healing comes on top. */
    bool fixture;     /* The log is libraft's. */
    bool sync;        /* A synchronous mode is on: every third seed strict. */
    enum sim_mutant mutant;
};

struct sim;
struct sim_event;
typedef void (*sim_event_fn)(struct sim *s, const struct sim_event *e);

struct sim_event {
    uint64_t at_us;
    uint64_t order; /* Events of one time run in the order they were made. */
    sim_event_fn fn;
    int node;      /* Where it happens; waits while that node is paused. SIM_NOBODY = nowhere. */
    int from;      /* Sender of a message to the agent; SIM_NOBODY = not a message. */
    uint32_t life; /* Of the agent, only in that life of it; 0 = not of the agent. */
    uint32_t guard_life; /* Of the guard, only in that life of it; 0 = not of the guard. */
    bool of_postgres;    /* Of PostgreSQL's processes: waits while they are frozen. */
    uint64_t number;     /* For fn. */
    void *data;          /* For fn; freed after it. */
};

/* One clock: reads `ns` at `from_us` of true time and runs `ppm` too fast. */
struct sim_clock {
    uint64_t from_us;
    uint64_t ns;
    int64_t ppm;
};

struct sim_link { /* One direction. */
    bool cut;
    uint32_t loss_permille;
    uint64_t delay_min_us, delay_max_us;
    uint64_t last_us; /* Arrival of the last message that must stay in order. */
};

struct sim_node;
struct sim_log;
struct sim_pg;
struct sim_checks;
struct sim_client;

struct sim {
    struct sim_options options;
    uint64_t seed;
    struct rng rng;
    uint64_t now_us;

    struct sim_event *heap;
    size_t n_heap, heap_size;
    uint64_t next_order;

    int n_nodes;
    struct sim_node *nodes[SIM_NODES_MAX];
    struct sim_link links[SIM_NODES_MAX][SIM_NODES_MAX]; /* [from][to] */
    const struct sim_log_kind *log_kind;
    struct sim_log *log;
    struct sim_client *client;
    struct sim_checks *checks;
    struct wal wal;
    struct sim_stats stats; /* Of this seed. */

    /* Drawn from the seed. */
    uint64_t ttl_ms;
    uint64_t ttl_max_us; /* Also of those that operators set. */
    int64_t lag_bound;
    bool check_timeline;
    uint64_t start_timeout_ms;
    uint64_t row_every_us;

    bool healing;       /* No new faults, operations do not fail by chance. */
    uint64_t healed_us; /* When that began. */
};

/* One seed. Returns true when no checker complained; *stats is added to. */
bool sim_run(uint64_t seed, const struct sim_options *options, struct sim_stats *stats);

/* Events. `after_us` from now; life 0 and number 0 unless set in *e. */
void sim_after(struct sim *s, uint64_t after_us, const struct sim_event *e);

/* A timer of that node's agent: `local_us` on its CLOCK_MONOTONIC, which is slewed
 * as BOOTTIME is. */
uint64_t sim_true_us(const struct sim_node *n, uint64_t local_us);
void sim_timer(struct sim *s, const struct sim_node *n, uint64_t local_us,
               const struct sim_event *e);

/* A message: may be late, lost, or meet a cut link. Takes `data`. In order with
 * the others of that link if `ordered`. A message to oneself arrives at once. */
struct sim_message {
    int from, to;
    bool ordered;
    sim_event_fn fn;
    uint64_t number;
    void *data;
};
void sim_send(struct sim *s, const struct sim_message *m);
bool sim_can_reach(const struct sim *s, int from, int to); /* Both directions. */

/* Chance. */
uint64_t sim_between(struct sim *s, uint64_t min, uint64_t max);
bool sim_chance(struct sim *s, uint32_t permille);

/* Clocks of a node. */
uint64_t sim_clock_ns(const struct sim *s, const struct sim_clock *clock);
void sim_clock_set(const struct sim *s, struct sim_clock *clock, uint64_t ns, int64_t ppm);
/* Ids: a node that lost its disk has another one, and stays the same node. */
node_id sim_first_id(int i);
node_id sim_next_id(node_id id);
int sim_index_of(node_id id);

uint64_t sim_local_ms(const struct sim *s, const struct sim_node *n);
struct lease_time sim_lease_now(const struct sim *s, const struct sim_node *n);

const char *sim_mutant_name(enum sim_mutant mutant);

#endif
