/*
 * Random histories of a larger world: five nodes, a voter set that grows from
 * three to five and shrinks again, ttls that change, clocks that run at
 * different rates, messages that are lost, repeated and late, agents that
 * restart, machines that reboot, and owners whose Raft hears of nothing for a
 * while. Promise files and identity files are really written and read.
 *
 * Raft is one log; an entry is committed when a majority of the set in force at
 * it has it. Epochs are handed out with no regard to leases, since that may
 * never matter. Voter changes keep their distance, since that does.
 *
 * Checked after every step: at most one owner has a live lease, and never one of
 * an epoch lower than any that had one.
 *
 * Arguments: seed and steps. Returns 0 if all holds; compiled with a mutant, if
 * it does not.
 */
#include "lease_internal.h"

#include <stdio.h>
#include <string.h>

#define N_NODES      5
#define LOG_MAX      4096
#define MESSAGES_MAX 48
#define SECOND       UINT64_C(1000000000)
#define ARBITER      0 /* Its clock. Nodes are 1 to N_NODES. */

/* A mutant gets longer to be caught; it mostly needs less. */
#define STEPS (LEASE_MUTANT == LEASE_MUTANT_NONE ? 3000000 : 30000000)

enum entry_kind {
    ENTRY_SET,
    ENTRY_EPOCH,
    ENTRY_RELEASE,
    ENTRY_TTL,
};

struct entry {
    enum entry_kind kind;
    struct lease_voter_set set;
    uint64_t epoch;
    uint64_t owner;
    uint64_t instance;
    uint64_t ttl_ns;
};

struct clocks {
    double raw_rate;
    double boot_rate;
    struct lease_time now;
};

struct node {
    struct lease_voter voter;
    struct lease_owner owner;
    /* Durable. */
    uint64_t longest_ns;
    size_t n_logged;
    size_t n_snapshot; /* Applied at once after a start. */
    /* Of this boot. */
    uint64_t file[LEASE_FILE_SIZE / sizeof(uint64_t)];
    uint8_t boot_id[16];
    uint64_t instance;
    struct lease_owner guard; /* What the guard keeps: epoch, deadline, sets, ttl. */
    /* Of this process. */
    size_t n_applied;
    size_t n_barrier; /* Applied up to here means a barrier was applied. */
    bool raft_started;
    bool is_cut;                 /* Its Raft hears nothing. */
    const struct entry *present; /* The epoch in its store. */
};

struct message {
    bool is_renew;
    uint64_t from;
    uint64_t to;
    struct lease_renew renew;
    struct lease_grant grant;
};

static struct world {
    struct node nodes[N_NODES + 1];
    struct clocks clocks[N_NODES + 1];
    struct entry log[LOG_MAX];
    size_t n_log;
    size_t n_committed;
    struct lease_time set_applied; /* By the arbiter. */
    struct message messages[MESSAGES_MAX];
    size_t n_messages;
    uint64_t sides; /* Nodes as bits: who is with the arbiter (0), who is not. */
    uint64_t calm;  /* One in so many epochs and cuts happens. */
    uint64_t highest_live;
    uint64_t highest_owner;
} w;

static uint64_t rng;
static size_t n_leases;
static size_t n_held;
static size_t n_changes;

static uint64_t draw(uint64_t below)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (rng >> 11) % below;
}

static bool chance(uint64_t one_in)
{
    return draw(one_in) == 0;
}

/* -1 to 1. */
static double draw_sign(void)
{
    return (double)draw(2001) / 1000 - 1;
}

static struct lease_time now_of(uint64_t node)
{
    return w.clocks[node].now;
}

static uint64_t side_of(uint64_t id)
{
    return w.sides >> id & 1;
}

static struct node *draw_node(uint64_t *ret_id)
{
    *ret_id = 1 + draw(N_NODES);
    return &w.nodes[*ret_id];
}

/* ---- The log ------------------------------------------------------------- */

/* The last set at or before an index (from 1); there is always one. */
static size_t set_at(size_t index)
{
    while (w.log[index - 1].kind != ENTRY_SET) {
        index--;
    }
    return index;
}

static void append(struct entry e)
{
    LEASE_ASSERT(w.n_log < LOG_MAX);
    w.log[w.n_log++] = e;
    if (e.kind == ENTRY_SET) {
        w.log[w.n_log - 1].set.index = w.n_log;
    }
}

static void commit(void)
{
    while (w.n_committed < w.n_log) {
        const struct lease_voter_set *set = &w.log[set_at(w.n_committed + 1) - 1].set;
        unsigned n = 0;

        for (uint8_t i = 0; i < set->n; i++) {
            n += w.nodes[set->ids[i]].n_logged > w.n_committed;
        }
        if (2 * n <= set->n) {
            return;
        }
        if (w.log[w.n_committed++].kind == ENTRY_SET) {
            w.set_applied = now_of(ARBITER);
        }
    }
}

static void write_file(struct node *n, uint64_t id)
{
    struct lease_image image;

    if (lease_voter_image(&n->voter, now_of(id), &image)) {
        lease_file_encode(n->file, &image);
    }
}

/* What Raft says about sets: the last in its log, and, unless that is known to be
 * committed, the one before. */
static void tell_sets(struct node *n, uint64_t id)
{
    size_t last;
    const struct lease_voter_set *logged = NULL;
    const struct lease_voter_set *committed;

    if (!n->raft_started || n->n_logged == 0) {
        return;
    }
    last = set_at(n->n_logged);
    committed = &w.log[last - 1].set;
    if (last > n->n_applied && last > 1) {
        logged = committed;
        committed = &w.log[set_at(last - 1) - 1].set;
    }
    lease_owner_on_sets(&n->owner, committed, logged);
    if (lease_voter_on_sets(&n->voter, committed, logged)) {
        write_file(n, id);
    }
    if (committed->index <= n->n_applied + 1 && lease_voter_on_level(&n->voter, committed->index)) {
        write_file(n, id);
    }
}

static void take_if_ours(struct node *n, uint64_t id)
{
    const struct entry *e = n->present;

    if (e != NULL && e->owner == id && e->instance == n->instance) {
        enum lease_take take = lease_owner_take(&n->owner, now_of(id), e->epoch);

        LEASE_ASSERT(take != LEASE_TAKE_NOT_SETTLED || !lease_owner_is_settled(&n->owner));
    }
}

static void apply_entry(struct node *n, uint64_t id, const struct entry *e)
{
    switch (e->kind) {
    case ENTRY_SET:
        break; /* tell_sets() */
    case ENTRY_EPOCH:
        lease_voter_on_epoch(&n->voter, e->epoch, e->owner, e->instance);
        n->present = e;
        if (lease_owner_epoch(&n->owner) != 0 && lease_owner_epoch(&n->owner) < e->epoch &&
            chance(2)) {
            lease_owner_drop(&n->owner);
        }
        break;
    case ENTRY_RELEASE:
        lease_voter_on_release(&n->voter, e->epoch);
        n->present = NULL;
        if (chance(2)) {
            write_file(n, id);
        }
        break;
    case ENTRY_TTL:
        lease_voter_on_ttl(&n->voter, now_of(id), e->ttl_ns);
        lease_owner_on_ttl(&n->owner, e->ttl_ns);
        break;
    }
}

static void step_raft(struct node *n, uint64_t id)
{
    n->raft_started = true;
    while (n->n_applied < n->n_snapshot) {
        apply_entry(n, id, &w.log[n->n_applied++]);
    }
    if (n->is_cut || side_of(id) != 0) {
        tell_sets(n, id);
        return;
    }
    if (n->n_logged < w.n_log) {
        n->n_logged += 1 + draw(w.n_log - n->n_logged);
        commit();
    }
    while (n->n_applied < w.n_committed && n->n_applied < n->n_logged && !chance(6)) {
        apply_entry(n, id, &w.log[n->n_applied++]);
    }
    tell_sets(n, id);
    if (n->n_applied >= n->n_barrier) {
        lease_voter_on_barrier(&n->voter);
        lease_owner_on_barrier(&n->owner);
        take_if_ours(n, id);
    }
}

/* ---- The arbiter --------------------------------------------------------- */

static void change_voters(void)
{
    size_t last = set_at(w.n_log);
    struct lease_voter_set set = w.log[last - 1].set;
    uint64_t id = 1 + draw(N_NODES);
    uint64_t ttl_max_ns = 0;
    uint8_t i = 0;

    for (uint64_t j = 1; j <= N_NODES; j++) {
        ttl_max_ns = lease_max(ttl_max_ns, lease_voter_ttl_max_ns(&w.nodes[j].voter));
    }
    if (last > w.n_committed || lease_voter_change_wait_ns(now_of(ARBITER), (struct lease_time){0},
                                                           &w.set_applied, ttl_max_ns) > 0) {
        return;
    }
    while (i < set.n && set.ids[i] != id) {
        i++;
    }
    if (i == set.n) {
        set.ids[set.n++] = id;
    } else if (set.n > 3) {
        set.ids[i] = set.ids[--set.n];
    } else {
        return;
    }
    LEASE_ASSERT(lease_voter_set_is_one_step(&w.log[last - 1].set, &set));
    append((struct entry){.kind = ENTRY_SET, .set = set});
    n_changes++;
}

static uint64_t last_epoch(void)
{
    for (size_t i = w.n_log; i > 0; i--) {
        if (w.log[i - 1].kind == ENTRY_EPOCH) {
            return w.log[i - 1].epoch;
        }
    }
    return 0;
}

static void give_epoch(void)
{
    uint64_t id;
    const struct node *n = draw_node(&id);

    append((struct entry){
        .kind = ENTRY_EPOCH, .epoch = last_epoch() + 1, .owner = id, .instance = n->instance});
}

static void change_ttl(void)
{
    append((struct entry){.kind = ENTRY_TTL, .ttl_ns = SECOND + draw(4) * SECOND / 2});
}

/* ---- Nodes --------------------------------------------------------------- */

static void release(struct node *n)
{
    uint64_t epoch = lease_owner_epoch(&n->owner);

    /* The command is refused when the epoch has moved. */
    if (epoch != 0 && epoch == last_epoch()) {
        lease_owner_drop(&n->owner);
        n->guard = n->owner;
        append((struct entry){.kind = ENTRY_RELEASE, .epoch = epoch});
    }
}

static void start_process(struct node *n, uint64_t id)
{
    struct lease_image image;
    const struct lease_owner *g = &n->guard;

    n->n_snapshot = n->n_applied - draw(lease_min(n->n_applied, 20) + 1);
    n->n_applied = 0;
    n->present = NULL;
    n->raft_started = false;
    n->n_barrier = w.n_committed + 1; /* Something newer has to come. */
    lease_voter_init(&n->voter, id, n->boot_id, n->longest_ns, now_of(id));
    if (lease_file_decode(n->file, id, n->boot_id, &image) == LEASE_FILE_GOOD) {
        LEASE_ASSERT(lease_voter_resume(&n->voter, &image, now_of(id)));
    }
    lease_owner_init(&n->owner, id, n->instance, rng);
    if (g->epoch != 0) {
        lease_owner_continue(&n->owner, now_of(id), g->epoch, g->deadline, lease_owner_term_ns(g));
        lease_owner_on_ttl(&n->owner, g->ttl_ns);
        lease_owner_on_sets(&n->owner, &g->sets[0], g->n_sets == 2 ? &g->sets[1] : NULL);
        lease_voter_on_ttl(&n->voter, now_of(id), g->ttl_ns);
    }
}

static void restart(struct node *n, uint64_t id)
{
    if (chance(3)) {
        n->file[draw(LEASE_FILE_SIZE / sizeof(n->file[0]))] ^= 1 + draw(1000);
    }
    start_process(n, id);
}

static void reboot(struct node *n, uint64_t id)
{
    n->instance += N_NODES;
    n->boot_id[0]++;
    if (chance(2)) {
        memset(n->file, 0, sizeof(n->file));
    }
    memset(&n->guard, 0, sizeof(n->guard));
    start_process(n, id);
}

/* The identity file is written, and sometimes that is all that is done. */
static void write_identity(struct node *n, uint64_t id)
{
    uint64_t wanted_ns = lease_voter_longest_wanted_ns(&n->voter, now_of(id));

    if (wanted_ns == 0) {
        return;
    }
    n->longest_ns = wanted_ns;
    if (chance(8)) {
        reboot(n, id);
        return;
    }
    lease_voter_longest_written(&n->voter, wanted_ns);
}

static void post(struct message m)
{
    size_t place = w.n_messages < MESSAGES_MAX ? w.n_messages++ : draw(MESSAGES_MAX);

    w.messages[place] = m;
}

static void begin_round(struct node *n, uint64_t id)
{
    struct message m = {.is_renew = true, .from = id};
    uint64_t targets[LEASE_GRANTS_MAX];
    size_t n_targets;

    if (!lease_owner_begin_round(&n->owner, now_of(id), &m.renew)) {
        return;
    }
    n_targets = lease_owner_targets(&n->owner, targets);
    for (size_t i = 0; i < n_targets; i++) {
        m.to = targets[i];
        post(m);
    }
}

static void receive(const struct message *m)
{
    struct node *n = &w.nodes[m->to];

    if (m->is_renew) {
        struct lease_answer answer;

        lease_voter_on_renew(&n->voter, now_of(m->to), &m->renew, &answer);
        if (answer.write_file) {
            write_file(n, m->to);
        }
        post((struct message){.from = m->to, .to = m->renew.owner, .grant = answer.grant});
    } else if (lease_owner_on_grant(&n->owner, now_of(m->to), &m->grant) == LEASE_OWNER_COUNTED) {
        n->guard = n->owner; /* The guard is told. */
        n_leases++;
    }
}

static void deliver(void)
{
    size_t place;
    struct message m;

    if (w.n_messages == 0) {
        return;
    }
    place = draw(w.n_messages);
    m = w.messages[place];
    if (!chance(20)) { /* Else it comes again. */
        w.messages[place] = w.messages[--w.n_messages];
    }
    if (!chance(20) && side_of(m.from) == side_of(m.to)) { /* Else it is lost. */
        receive(&m);
    }
}

/* ---- The world ----------------------------------------------------------- */

static void let_time_pass(void)
{
    uint64_t ns = chance(200) ? draw(2 * SECOND) : draw(SECOND / 70);

    for (size_t i = 0; i <= N_NODES; i++) {
        struct clocks *c = &w.clocks[i];

        if (chance(500)) {
            c->boot_rate = c->raw_rate * (1 + 0.08 * draw_sign() * (double)draw(2));
        }
        c->now.raw_ns += (uint64_t)((double)ns * c->raw_rate);
        c->now.boot_ns += (uint64_t)((double)ns * c->boot_rate);
    }
}

static bool is_good(void)
{
    for (uint64_t id = 1; id <= N_NODES; id++) {
        struct lease_owner *o = &w.nodes[id].owner;
        uint64_t epoch = lease_owner_epoch(o);

        if (lease_owner_remaining_ns(o, now_of(id)) == 0) {
            continue;
        }
        if (epoch < w.highest_live || (epoch == w.highest_live && id != w.highest_owner)) {
            return false;
        }
        n_held += epoch != w.highest_live;
        w.highest_live = epoch;
        w.highest_owner = id;
    }
    /* A lower one found before a higher one in this very step. */
    for (uint64_t id = 1; id <= N_NODES; id++) {
        struct lease_owner *o = &w.nodes[id].owner;

        if (lease_owner_remaining_ns(o, now_of(id)) > 0 && id != w.highest_owner) {
            return false;
        }
    }
    return true;
}

static void begin_world(void)
{
    memset(&w, 0, sizeof(w));
    w.calm = 1 + draw(2) * draw(10);
    append((struct entry){.kind = ENTRY_SET, .set = {.n = 3, .ids = {1, 2, 3}}});
    change_ttl();
    for (uint64_t id = 0; id <= N_NODES; id++) {
        struct node *n = &w.nodes[id];

        /* Any two run within 1 % of each other. */
        w.clocks[id].raw_rate = 1 + 0.00497 * (chance(3) ? draw_sign() : chance(2) ? -1 : 1);
        w.clocks[id].boot_rate = w.clocks[id].raw_rate;
        w.clocks[id].now = (struct lease_time){SECOND + draw(SECOND), SECOND + draw(SECOND)};
        n->instance = id;
        n->boot_id[0] = 1;
        if (id > 0) {
            start_process(n, id);
        }
    }
}

static void step(void)
{
    uint64_t id;
    struct node *n = draw_node(&id);
    uint64_t what = draw(1000);

    if (what < 700) {
        deliver();
    } else if (what < 790) {
        while (lease_owner_epoch(&n->owner) == 0 && !chance(8)) {
            n = draw_node(&id);
        }
        begin_round(n, id);
    } else if (what < 930) {
        step_raft(n, id);
    } else if (what < 969) {
        write_identity(n, id);
    } else if (what < 970) {
        w.sides = chance(3) ? draw(1U << (N_NODES + 1)) : 0;
    } else if (what < 976) {
        if (chance(w.calm)) {
            give_epoch();
        }
    } else if (what < 977) {
        release(n);
    } else if (what < 986) {
        change_voters();
    } else if (what < 988) {
        change_ttl();
    } else if (what < 990) {
        restart(n, id);
    } else if (what < 991) {
        reboot(n, id);
    } else {
        if (chance(w.calm)) {
            n->is_cut = chance(4);
        }
    }
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t n_steps = argc > 2 ? strtoull(argv[2], NULL, 10) : STEPS;
    uint64_t i = 0;
    bool good = true;

    rng = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    for (; i < n_steps && good; i++) {
        if (i % 10000 == 0) {
            begin_world();
        }
        let_time_pass();
        step();
        good = is_good();
    }
    printf("seed %llu, %llu steps, %zu rounds counted, %zu epochs held, %zu voter changes: %s\n",
           (unsigned long long)seed, (unsigned long long)i, n_leases, n_held, n_changes,
           good ? "all good" : "broken");
    return good == (LEASE_MUTANT == LEASE_MUTANT_NONE) ? 0 : 1;
}
