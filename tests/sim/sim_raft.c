/*
 * The log as libraft itself, in its own fixture, under the same store and core.
 * Slower and with fewer faults than the model: links cut in one or both
 * directions, processes killed and revived. The fixture's kill keeps memory and
 * disk, so a restart here is that of the agent; clocks, loss and delay of Raft's
 * messages are the fixture's own.
 *
 * The only file of the simulation that knows libraft.
 */
#include <fcntl.h>
#include <raft.h>
#include <raft/fixture.h>

#include "sim_log.h"
#include "sim_node.h"
#include "trace.h"

#define STEP_US         (5 * SIM_MS)
#define DISK_MS         5
#define DISK_STALLED_MS 700
#define NETWORK_MS      2
#define SNAPSHOTS_NEVER 1000000

struct fixture_node {
    struct sim *s;
    struct sim_node *node;
    struct raft_fsm fsm;
    struct store store; /* What the log has made of it, whether or not the agent is up. */
    uint64_t n_applied;
    struct sim_leadership told;
};

struct sim_log {
    struct raft_fixture fixture;
    struct fixture_node nodes[SIM_NODES_MAX];
    struct command decoded;
    bool is_up[SIM_NODES_MAX];
};

/* A command handed to libraft; it owns the request until its callback. */
struct pending {
    union {
        struct raft_apply apply;
        struct raft_barrier barrier;
        struct raft_transfer transfer;
    };
    struct sim *s;
    struct sim_node *node;
    struct sim_proposal proposal; /* Bytes only tell a command from a barrier. */
};

static struct raft *raft_of(struct sim_log *log, const struct sim_node *n)
{
    return raft_fixture_get(&log->fixture, (unsigned)n->i);
}

/* ---- Applying ---- */

/* The result travels as a number; NULL would be none. */
static void *to_pointer(enum apply_result result)
{
    return (void *)((uintptr_t)result + 1);
}

/* libraft pads to eight bytes; the length comes first, as in consensus/. */
static int on_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **ret_result)
{
    struct fixture_node *f = fsm->data;
    struct sim_log *log = f->s->log;
    struct err err = {""};
    struct command_cas original;
    enum apply_result result;
    unsigned changes;
    uint64_t size;

    memcpy(&size, buf->base, sizeof(size));
    ASSERT(command_decode((const uint8_t *)buf->base + sizeof(size), size, &log->decoded, &err) ==
           0);
    f->n_applied++;
    mutate_command(f->s, &f->store, &log->decoded, &original);
    result = store_apply(&f->store, f->n_applied, &log->decoded, &changes);
    mutate_command_back(&original);
    if (f->node->is_up && log->is_up[f->node->i]) {
        sim_node_on_commit(f->s, f->node, f->n_applied, &log->decoded);
    }
    *ret_result = to_pointer(result);
    return 0;
}

static int no_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    (void)fsm;
    (void)bufs;
    (void)n_bufs;
    return RAFT_BUSY; /* The threshold is never reached. */
}

static int no_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    (void)fsm;
    (void)buf;
    return RAFT_INVALID;
}

/* ---- Proposals ---- */

static void finish(struct pending *p, int status, enum apply_result result)
{
    struct sim_result r = {.token = p->proposal.token, .result = result};

    if (status == 0) {
        r.outcome = OUTCOME_DONE;
    } else {
        r.outcome = status == RAFT_NOTLEADER ? OUTCOME_NOT_LEADER : OUTCOME_UNKNOWN;
        p->s->stats.unknown_outcomes += r.outcome == OUTCOME_UNKNOWN ? 1 : 0;
    }
    if (p->node->is_up && p->proposal.from != SIM_NOBODY) {
        sim_node_answer(p->s, p->node->i, &p->proposal, &r);
    }
    free(p);
}

static void on_applied(struct raft_apply *req, int status, void *result)
{
    enum apply_result number =
        status == 0 ? (enum apply_result)((uintptr_t)result - 1) : APPLY_UNCHANGED;

    finish((struct pending *)req->data, status, number);
}

static void on_barrier(struct raft_barrier *req, int status)
{
    finish((struct pending *)req->data, status, APPLY_DONE);
}

static int hand_over(struct sim *s, struct sim_node *n, struct pending *p)
{
    struct raft *r = raft_of(s->log, n);
    uint64_t size = p->proposal.size;
    struct raft_buffer buf;

    if (p->proposal.bytes == NULL) {
        p->barrier.data = p;
        return raft_barrier(r, &p->barrier, on_barrier);
    }
    buf.len = (sizeof(size) + size + 7) / 8 * 8;
    buf.base = raft_calloc(1, buf.len);
    ASSERT(buf.base != NULL);
    memcpy(buf.base, &size, sizeof(size));
    memcpy((uint8_t *)buf.base + sizeof(size), p->proposal.bytes, size);
    p->apply.data = p;
    return raft_apply(r, &p->apply, &buf, 1, on_applied);
}

static void propose(struct sim *s, struct sim_node *n, const struct sim_proposal *proposal)
{
    struct pending *p = xmalloc(sizeof(*p));
    int status;

    p->s = s;
    p->node = n;
    p->proposal = *proposal;
    status = raft_state(raft_of(s->log, n)) == RAFT_LEADER ? hand_over(s, n, p) : RAFT_NOTLEADER;
    if (status != 0) {
        finish(p, RAFT_NOTLEADER, APPLY_UNCHANGED);
    }
}

/* ---- Leadership ---- */

static void leadership(const struct sim *s, const struct sim_node *n, struct sim_leadership *l)
{
    struct raft *r = raft_of(s->log, n);
    const char *address;
    raft_id id;

    raft_leader(r, &id, &address);
    *l = (struct sim_leadership){.is_leader = raft_state(r) == RAFT_LEADER,
                                 .leader = (int)id - 1,
                                 .term = raft_current_term(r),
                                 .voters = {.index = 1, .n = (uint8_t)s->n_nodes}};
    for (int i = 0; i < s->n_nodes; i++) {
        l->voters.ids[i] = s->nodes[i]->id; /* They stay the same here. */
    }
    l->committed = l->voters;
    l->level_index = l->committed.index;
}

static void tell_leadership(struct sim *s)
{
    for (int i = 0; i < s->n_nodes; i++) {
        struct sim_leadership *told = &s->log->nodes[i].told;
        struct sim_leadership now;

        leadership(s, s->nodes[i], &now);
        if (s->log->is_up[i] && (now.is_leader != told->is_leader || now.leader != told->leader ||
                                 now.term != told->term)) {
            s->stats.elections += now.is_leader && !told->is_leader ? 1 : 0;
            *told = now;
            TRACE(s, s->nodes[i], "raft: leader is %d, term %u", now.leader, (unsigned)now.term);
            sim_node_on_leadership(s, s->nodes[i]);
        }
    }
}

static void on_transferred(struct raft_transfer *req)
{
    free(req->data);
}

static void transfer(struct sim *s, struct sim_node *from, int to)
{
    struct pending *p = xmalloc(sizeof(*p));

    p->transfer.data = p;
    if (raft_transfer(raft_of(s->log, from), &p->transfer, (raft_id)to + 1, on_transferred) != 0) {
        free(p); /* One is under way, or it is no leader any more. */
        return;
    }
    s->stats.transfers++;
}

/* ---- Time ---- */

static void on_step(struct sim *s, const struct sim_event *e)
{
    struct raft_fixture *f = &s->log->fixture;

    while (raft_fixture_time(f) < s->now_us / SIM_MS) {
        (void)raft_fixture_step(f);
    }
    tell_leadership(s);
    sim_after(s, STEP_US, e);
}

/* ---- Life ---- */

/* It traces every step to standard error. */
static void silence(void)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        (void)dup2(fd, STDERR_FILENO);
        (void)close(fd);
    }
}

static void add_server(struct sim *s, struct sim_log *log, int i)
{
    struct fixture_node *f = &log->nodes[i];

    f->s = s;
    f->node = s->nodes[i];
    f->fsm = (struct raft_fsm){
        .version = 1, .data = f, .apply = on_apply, .snapshot = no_snapshot, .restore = no_restore};
    f->told.leader = SIM_NOBODY;
    store_init(&f->store);
    ASSERT(raft_fixture_grow(&log->fixture, &f->fsm) == 0);
    raft_set_pre_vote(raft_fixture_get(&log->fixture, (unsigned)i), true);
    raft_set_snapshot_threshold(raft_fixture_get(&log->fixture, (unsigned)i), SNAPSHOTS_NEVER);
    raft_fixture_set_disk_latency(&log->fixture, (unsigned)i, DISK_MS);
    raft_fixture_set_network_latency(&log->fixture, (unsigned)i, NETWORK_MS);
}

static struct sim_log *create(struct sim *s)
{
    struct sim_log *log = xmalloc(sizeof(*log)); /* Zeroed: the fixture relies on it. */
    struct raft_configuration configuration;

    silence();
    ASSERT(raft_fixture_init(&log->fixture) == 0);
    for (int i = 0; i < s->n_nodes; i++) {
        add_server(s, log, i);
    }
    ASSERT(raft_fixture_configuration(&log->fixture, (unsigned)s->n_nodes, &configuration) == 0);
    ASSERT(raft_fixture_bootstrap(&log->fixture, &configuration) == 0);
    raft_configuration_close(&configuration);
    for (int i = 0; i < s->n_nodes; i++) { /* Chance, within what libraft accepts. */
        raft_fixture_set_randomized_election_timeout(&log->fixture, (unsigned)i,
                                                     (unsigned)sim_between(s, 1000, 1900));
    }
    ASSERT(raft_fixture_start(&log->fixture) == 0);
    for (int i = 0; i < s->n_nodes; i++) {
        raft_fixture_kill(&log->fixture, (unsigned)i);
    }
    sim_after(s, STEP_US,
              &(struct sim_event){.fn = on_step, .node = SIM_NOBODY, .from = SIM_NOBODY});
    return log;
}

/* Closing calls back what is pending; nobody waits for it any more. */
static void destroy(struct sim_log *log)
{
    for (int i = 0; i < SIM_NODES_MAX; i++) {
        if (log->nodes[i].node != NULL) {
            log->nodes[i].node->is_up = false;
        }
    }
    raft_fixture_close(&log->fixture);
    free(log);
}

static void start(struct sim *s, struct sim_node *n)
{
    struct fixture_node *f = &s->log->nodes[n->i];

    if (f->n_applied > 0) {
        sim_node_on_restore(s, n, &f->store);
    }
    s->log->is_up[n->i] = true;
    f->told = (struct sim_leadership){.leader = SIM_NOBODY};
    raft_fixture_revive(&s->log->fixture, (unsigned)n->i);
}

static void stop(struct sim *s, struct sim_node *n)
{
    s->log->is_up[n->i] = false;
    raft_fixture_kill(&s->log->fixture, (unsigned)n->i);
}

static void on_stall_over(struct sim *s, const struct sim_event *e)
{
    raft_fixture_set_disk_latency(&s->log->fixture, (unsigned)e->node, DISK_MS);
}

static void stall(struct sim *s, struct sim_node *n, uint64_t until_us)
{
    raft_fixture_set_disk_latency(&s->log->fixture, (unsigned)n->i, DISK_STALLED_MS);
    n->disk_stalled_until_us = until_us;
    sim_after(s, until_us > s->now_us ? until_us - s->now_us : 0,
              &(struct sim_event){.fn = on_stall_over, .node = n->i, .from = SIM_NOBODY});
}

static void relink(struct sim *s)
{
    struct raft_fixture *f = &s->log->fixture;

    for (int i = 0; i < s->n_nodes; i++) {
        for (int j = 0; j < s->n_nodes; j++) {
            unsigned from = (unsigned)i;
            unsigned to = (unsigned)j;

            if (i == j || raft_fixture_saturated(f, from, to) == s->links[i][j].cut) {
                continue;
            }
            if (s->links[i][j].cut) {
                raft_fixture_saturate(f, from, to);
            } else {
                raft_fixture_desaturate(f, from, to);
            }
        }
    }
}

const struct sim_log_kind sim_log_fixture = {
    .create = create,
    .destroy = destroy,
    .start = start,
    .stop = stop,
    .propose = propose,
    .leadership = leadership,
    .transfer = transfer,
    .stall = stall,
    .relink = relink,
};
