/*
 * Every reachable state of a small world, with the real voters and owners in it:
 * three voters, a ttl of two ticks, an epoch of node 1 and a next one of node 2
 * that may be committed at any moment, two rounds in flight, a release, and
 * restarts with and without a good promise file.
 *
 * The network is as bad as can be: a message that was sent may be delivered at
 * any later time, in any order, any number of times, or never. So none is
 * ever removed; "sent" is all there is to remember. Of rounds that are too old to
 * matter, any renewal may arrive, and any grant, even one that was never given:
 * the owner does not know these rounds.
 * An owner here never gives up by itself, even when its own store names the
 * next epoch: the voters alone must hold it.
 *
 * Checked in every state: no two live leases of different epochs, and no live
 * lease of the first epoch once there was one of the second.
 *
 * A state is a few small numbers, times relative to now, so that there are
 * finitely many although time goes on. To make a step, the one voter or owner
 * concerned is built from the numbers, called, and read back. Voters are alike,
 * so states that differ only in their order are one (a trace may show them
 * in another order from line to line).
 *
 * Returns 0 if the promises hold; compiled with a mutant, if they do not.
 */
#include "lease_internal.h"

#include <stdio.h>
#include <string.h>

#define TICK UINT64_C(1000000000)
#define TTL  (2 * TICK)

#define N_VOTERS 3
#define N_OWNERS 2
#ifndef N_RESTARTS
#define N_RESTARTS 1
#endif

/* Rounds by age: begun in this tick, or one ago. At two, its lease is over. */
#define AGES    2
#define AGE_OLD AGES /* Any older round. */

struct voter_state {
    uint8_t epoch; /* Of its live promise, or 0. */
    uint8_t until; /* Ticks. */
    uint8_t highest;
    uint8_t released;
    uint8_t quarantine; /* 1: in it; 2: in it, and its barrier was applied. */
    uint8_t silent;     /* Ticks of quarantine left. */
    uint8_t granted;    /* Rounds, as in bit_of(), that it granted. */
    uint8_t arrived;    /* Those of them whose grant has arrived. */
};

struct owner_state {
    uint8_t active;     /* It has its epoch. */
    uint8_t left;       /* Ticks of its lease, the last one not quite. */
    uint8_t used[AGES]; /* Rounds by age. */
};

struct world {
    struct voter_state voters[N_VOTERS];
    struct owner_state owners[N_OWNERS]; /* Node 1 and epoch 1, node 2 and epoch 2. */
    uint8_t released;                    /* Committed: the release of epoch 1. */
    uint8_t committed;                   /* Committed: epoch 2. */
    uint8_t used;                        /* A lease of epoch 2 was live. */
    uint8_t n_restarts;
};

static uint8_t bit_of(unsigned owner, unsigned age)
{
    return (uint8_t)(1U << (owner * AGES + age));
}

static const struct lease_time now = {1000 * TICK, 2000 * TICK};
static const struct lease_voter_set all_voters = {.index = 1, .n = N_VOTERS, .ids = {1, 2, 3}};
static const uint8_t boot_id[16] = {1};

/* ---- The states found so far, in order; a hash table of their places ------- */

#define STATES_MAX (1U << 22)
#define TABLE_SIZE (1U << 23)

static struct world *states;
static uint32_t *origins; /* From which state each was found. */
static uint32_t *table;   /* Place + 1. */
static uint32_t n_states;
static uint32_t current; /* The state being expanded. */

static uint64_t hash(const struct world *w)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    uint64_t word;

    for (size_t i = 0; i < sizeof(*w); i += sizeof(word)) {
        size_t size = sizeof(*w) - i < sizeof(word) ? sizeof(*w) - i : sizeof(word);

        word = 0;
        memcpy(&word, (const char *)w + i, size);
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    return h;
}

static void add(const struct world *w)
{
    uint64_t i = hash(w) % TABLE_SIZE;

    while (table[i] != 0) {
        if (memcmp(&states[table[i] - 1], w, sizeof(*w)) == 0) {
            return;
        }
        i = (i + 1) % TABLE_SIZE;
    }
    LEASE_ASSERT(n_states < STATES_MAX);
    states[n_states] = *w;
    origins[n_states] = current;
    table[i] = ++n_states;
}

/* ---- From numbers to voters and owners, and back ------------------------- */

static struct lease_time ahead(unsigned ticks)
{
    return lease_time_add(now, ticks * TICK);
}

static struct lease_time ago(unsigned ticks)
{
    return (struct lease_time){now.raw_ns - ticks * TICK, now.boot_ns - ticks * TICK};
}

static uint8_t in_ticks(uint64_t ns)
{
    return (uint8_t)((ns + TICK - 1) / TICK);
}

static void build_voter(struct lease_voter *v, const struct voter_state *s, unsigned i)
{
    lease_voter_init(v, i + 1, boot_id, TTL, ago(2));
    v->silent_till = ahead(s->silent);
    v->resumed = s->quarantine == 0;
    v->barrier = s->quarantine == 2;
    v->ttl_ns = TTL;
    LEASE_ASSERT(lease_voter_on_sets(v, &all_voters, NULL));
    v->image.highest_epoch = s->highest;
    v->image.highest_owner = s->highest;
    v->image.highest_instance = s->highest;
    v->image.released_epoch = s->released;
    if (s->epoch != 0) {
        v->image.promise = (struct lease_promise){
            .epoch = s->epoch,
            .owner = s->epoch,
            .instance = s->epoch,
            .granted_ns = TTL,
            .until = ahead(s->until),
        };
    }
}

static void read_voter(struct voter_state *s, const struct lease_voter *v)
{
    struct lease_voter_status status;

    lease_voter_status(v, now, &status);
    *s = (struct voter_state){
        .highest = (uint8_t)v->image.highest_epoch,
        .released = (uint8_t)v->image.released_epoch,
        .granted = s->granted,
        .arrived = s->arrived,
    };
    if (status.state == LEASE_PROMISE_QUARANTINE) {
        s->quarantine = v->barrier ? 2 : 1;
        s->silent = in_ticks(status.left_ns);
    } else if (status.state == LEASE_PROMISE_LIVE) {
        s->epoch = (uint8_t)status.epoch;
        s->until = in_ticks(status.left_ns);
    }
}

static uint64_t round_id(unsigned age)
{
    return 100 - age;
}

static void build_round(struct lease_owner_round *r, const struct world *w, unsigned i,
                        unsigned age)
{
    r->used = w->owners[i].used[age];
    r->id = round_id(age);
    r->duration_ns = TTL;
    r->sent = ago(age);
    for (unsigned j = 0; j < N_VOTERS; j++) {
        if (w->voters[j].arrived & bit_of(i, age)) {
            r->grants[r->n_grants++] = (struct lease_owner_grant){
                .voter = j + 1, .granted_ns = TTL, .n_sets = 1, .sets = {all_voters}};
        }
    }
}

static void build_owner(struct lease_owner *o, const struct world *w, unsigned i)
{
    const struct owner_state *s = &w->owners[i];

    lease_owner_init(o, i + 1, i + 1, round_id(0) + 1);
    lease_owner_on_ttl(o, TTL);
    lease_owner_on_sets(o, &all_voters, NULL);
    o->epoch = s->active ? i + 1 : 0;
    o->held = s->left > 0;
    if (o->held) {
        o->deadline = ahead(s->left);
        o->deadline.raw_ns -= TTL / 100;
        o->deadline.boot_ns -= TTL / 100;
    }
    build_round(&o->rounds[1], w, i, 0);
    build_round(&o->rounds[0], w, i, 1);
    o->next_slot = s->used[0] ? 0 : 1; /* After the newest. */
}

/* What an owner learns: its deadline, and which grants it has. */
static void read_owner(struct world *w, unsigned i, struct lease_owner *o)
{
    struct owner_state *s = &w->owners[i];

    s->active = lease_owner_epoch(o) != 0;
    s->left = in_ticks(lease_owner_remaining_ns(o, now));
    for (unsigned age = 0; age < AGES; age++) {
        const struct lease_owner_round *r = &o->rounds[1 - age];

        s->used[age] = r->used;
        for (unsigned j = 0; j < N_VOTERS; j++) {
            w->voters[j].arrived &= (uint8_t)~bit_of(i, age);
            w->voters[j].granted &= (uint8_t) ~(r->used ? 0 : bit_of(i, age));
        }
        for (unsigned g = 0; r->used && g < r->n_grants; g++) {
            w->voters[r->grants[g].voter - 1].arrived |= bit_of(i, age);
        }
    }
}

/* ---- Steps --------------------------------------------------------------- */

static void swap_if_greater(struct voter_state *a, struct voter_state *b)
{
    struct voter_state old = *a;

    if (memcmp(a, b, sizeof(*a)) > 0) {
        *a = *b;
        *b = old;
    }
}

static void reach(struct world *w)
{
    w->used |= w->owners[1].left > 0;
    swap_if_greater(&w->voters[0], &w->voters[1]);
    swap_if_greater(&w->voters[1], &w->voters[2]);
    swap_if_greater(&w->voters[0], &w->voters[1]);
    add(w);
}

/* Rounds of age 0 become such of age 1, those become old. */
static uint8_t grow_older(uint8_t rounds, unsigned owner)
{
    uint8_t kept = (uint8_t)(rounds & ~(bit_of(owner, 0) | bit_of(owner, 1)));

    return (uint8_t)(kept | (rounds & bit_of(owner, 0) ? bit_of(owner, 1) : 0));
}

static void let_time_pass(struct world w)
{
    for (unsigned i = 0; i < N_VOTERS; i++) {
        struct lease_voter v;
        struct voter_state *s = &w.voters[i];

        s->until = (uint8_t)(s->until - (s->until > 0));
        s->epoch = s->until > 0 ? s->epoch : 0;
        s->silent = (uint8_t)(s->silent - (s->silent > 0));
        build_voter(&v, s, i);
        read_voter(s, &v);
        for (unsigned o = 0; o < N_OWNERS; o++) {
            s->granted = grow_older(s->granted, o);
            s->arrived = grow_older(s->arrived, o);
        }
    }
    for (unsigned i = 0; i < N_OWNERS; i++) {
        struct owner_state *s = &w.owners[i];

        s->left = (uint8_t)(s->left - (s->left > 0));
        s->used[1] = s->used[0];
        s->used[0] = 0;
    }
    reach(&w);
}

static void begin_round(struct world w, unsigned i)
{
    struct lease_owner o;
    struct lease_renew renew;

    build_owner(&o, &w, i);
    if (w.owners[i].used[0] || !lease_owner_begin_round(&o, now, &renew)) {
        return;
    }
    w.owners[i].used[0] = 1;
    reach(&w);
}

/* A renewal of owner `i` and a round of that age reaches voter `j`. */
static void deliver_renew(struct world w, unsigned i, unsigned j, unsigned age)
{
    const struct lease_renew renew = {.epoch = i + 1,
                                      .owner = i + 1,
                                      .instance = i + 1,
                                      .round = round_id(age),
                                      .duration_ns = TTL,
                                      .voter_set_index = 1};
    struct lease_answer answer;
    struct lease_voter v;

    if (age == AGE_OLD ? i == 1 && !w.committed : !w.owners[i].used[age]) {
        return;
    }
    build_voter(&v, &w.voters[j], j);
    lease_voter_on_renew(&v, now, &renew, &answer);
    if (answer.grant.verdict != LEASE_GRANTED) {
        return;
    }
    if (age != AGE_OLD) {
        w.voters[j].granted |= bit_of(i, age);
    }
    read_voter(&w.voters[j], &v);
    reach(&w);
}

/* The grant of voter `j` in a round of that age reaches owner `i`. */
static void deliver_grant(struct world w, unsigned i, unsigned j, unsigned age)
{
    const struct lease_grant grant = {.epoch = i + 1,
                                      .instance = i + 1,
                                      .round = round_id(age),
                                      .voter = j + 1,
                                      .granted_ns = TTL,
                                      .highest_epoch = i + 1,
                                      .n_sets = 1,
                                      .sets = {all_voters}};
    enum lease_owner_event event;
    struct lease_owner o;

    if (age != AGE_OLD && !(w.voters[j].granted & bit_of(i, age))) {
        return;
    }
    build_owner(&o, &w, i);
    event = lease_owner_on_grant(&o, now, &grant);
    if (event != LEASE_OWNER_COUNTED && event != LEASE_OWNER_NOTED) {
        return;
    }
    read_owner(&w, i, &o);
    reach(&w);
}

/* Node 1 releases its epoch. */
static void release(struct world w)
{
    struct lease_owner o;

    if (w.committed || w.released) {
        return;
    }
    w.released = 1;
    if (!lease_is_mutant(LEASE_MUTANT_RELEASE_BEFORE_STOP)) {
        build_owner(&o, &w, 0);
        lease_owner_drop(&o);
        read_owner(&w, 0, &o);
    }
    reach(&w);
}

static void commit_next_epoch(struct world w)
{
    w.committed = 1;
    reach(&w);
}

static void take_next_epoch(struct world w)
{
    struct lease_owner o;

    build_owner(&o, &w, 1);
    lease_owner_on_barrier(&o);
    if (!w.committed || lease_owner_take(&o, now, 2) != LEASE_TAKEN) {
        return;
    }
    read_owner(&w, 1, &o);
    reach(&w);
}

/* The store of voter `j` catches up, by a release or by an epoch, or by all up
 * to a barrier that was proposed after its start. */
static void apply(struct world w, unsigned j, bool with_release, bool with_epoch, bool barrier)
{
    struct lease_voter v;

    build_voter(&v, &w.voters[j], j);
    if (barrier) {
        lease_voter_on_epoch(&v, 1, 1, 1);
    }
    if (with_release && w.released) {
        lease_voter_on_release(&v, 1);
    }
    if (with_epoch && w.committed) {
        lease_voter_on_epoch(&v, 2, 2, 2);
    }
    if (barrier) {
        lease_voter_on_barrier(&v);
    }
    read_voter(&w.voters[j], &v);
    reach(&w);
}

/* Voter `j` restarts: with a good file it goes on, else in quarantine. */
static void restart_voter(struct world w, unsigned j, bool file_is_good)
{
    struct lease_voter v;
    struct lease_voter old;
    struct lease_image image;

    if (w.n_restarts == N_RESTARTS) {
        return;
    }
    w.n_restarts++;
    build_voter(&old, &w.voters[j], j);
    lease_voter_init(&v, j + 1, boot_id, TTL, now);
    if (file_is_good && lease_voter_image(&old, now, &image)) {
        LEASE_ASSERT(lease_voter_resume(&v, &image, now));
    }
    read_voter(&w.voters[j], &v);
    reach(&w);
}

/* The agent of owner `i` restarts, goes on with what its guard attests, and knows
 * none of its rounds. (A reboot is an owner that does nothing any more.) */
static void restart_owner(struct world w, unsigned i)
{
    struct lease_owner old;
    struct lease_owner next;

    if (!w.owners[i].active) {
        return;
    }
    build_owner(&old, &w, i);
    lease_owner_init(&next, i + 1, i + 1, 500);
    lease_owner_continue(&next, now, i + 1, lease_owner_deadline(&old), TTL);
    read_owner(&w, i, &next);
    reach(&w);
}

static void expand(const struct world *w)
{
    let_time_pass(*w);
    for (unsigned i = 0; i < N_OWNERS; i++) {
        begin_round(*w, i);
        restart_owner(*w, i);
        for (unsigned j = 0; j < N_VOTERS; j++) {
            for (unsigned age = 0; age <= AGE_OLD; age++) {
                deliver_renew(*w, i, j, age);
                deliver_grant(*w, i, j, age);
            }
        }
    }
    release(*w);
    commit_next_epoch(*w);
    take_next_epoch(*w);
    for (unsigned j = 0; j < N_VOTERS; j++) {
        apply(*w, j, true, false, false);
        apply(*w, j, false, true, false);
        apply(*w, j, true, true, true);
        restart_voter(*w, j, true);
        restart_voter(*w, j, false);
    }
}

/* ---- The search ---------------------------------------------------------- */

static bool is_broken(const struct world *w)
{
    return w->owners[0].left > 0 && w->used;
}

static void print_world(const struct world *w)
{
    printf("log:%s%s ", w->released ? " release" : "", w->committed ? " epoch2" : "");
    for (unsigned j = 0; j < N_VOTERS; j++) {
        const struct voter_state *s = &w->voters[j];

        printf("| v%u promise %u until %u highest %u%s grants %x/%x ", j + 1, s->epoch, s->until,
               s->highest, s->quarantine ? " quarantine" : "", s->granted, s->arrived);
    }
    for (unsigned i = 0; i < N_OWNERS; i++) {
        const struct owner_state *s = &w->owners[i];

        printf("| o%u left %u rounds %u%u ", i + 1, s->left, s->used[0], s->used[1]);
    }
    printf("\n");
}

static void print_trace(uint32_t place)
{
    uint32_t path[1000];
    size_t n = 0;

    for (; place != 0 && n < 1000; place = origins[place]) {
        path[n++] = place;
    }
    printf("broken after %zu steps:\n", n);
    while (n > 0) {
        print_world(&states[path[--n]]);
    }
}

/* Returns whether a broken state was found. */
static bool search(void)
{
    struct world w = {0};

    w.owners[0].active = 1;
    for (unsigned j = 0; j < N_VOTERS; j++) {
        w.voters[j].highest = 1;
    }
    add(&w);
    for (current = 0; current < n_states; current++) {
        if (is_broken(&states[current])) {
            print_trace(current);
            return true;
        }
        w = states[current];
        expand(&w);
    }
    return false;
}

int main(void)
{
    bool broken;

    states = calloc(STATES_MAX, sizeof(*states));
    origins = calloc(STATES_MAX, sizeof(*origins));
    table = calloc(TABLE_SIZE, sizeof(*table));
    LEASE_ASSERT(states != NULL && origins != NULL && table != NULL);

    broken = search();
    printf("%u states of %zu bytes, %s\n", n_states, sizeof(struct world),
           broken ? "broken" : "all good");
    free(states);
    free(origins);
    free(table);
    return broken == (LEASE_MUTANT != LEASE_MUTANT_NONE) ? 0 : 1;
}
