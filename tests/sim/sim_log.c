/*
 * The log as a model: Raft with pre-vote and check-quorum over the simulated
 * network, one entry a command, a snapshot now and then. Correct on purpose:
 * what it is here for are leaders that are gone, stale or cut off, commands
 * whose outcome is unknown, and disks that remember only what was flushed.
 *
 * Terms and votes are durable at once; entries after a while.
 */
#include "sim_log.h"

#include <stdlib.h>

#include "sim_node.h"
#include "sim_raft_model.h"
#include "store/snapshot.h"
#include "trace.h"

#define SNAPSHOT_EVERY 64

/* ---- Commands, shared by all copies of the log ---- */

static uint32_t keep_command(struct sim_log *log, const struct sim_proposal *p)
{
    struct model_command *c;

    ASSERT(log->n_commands < MODEL_COMMANDS_MAX);
    c = &log->commands[log->n_commands];
    c->proposal = *p;
    c->proposal.bytes = NULL;
    if (p->bytes != NULL) {
        uint8_t *copy = xmalloc(p->size);

        memcpy(copy, p->bytes, p->size);
        c->proposal.bytes = copy;
    }
    return log->n_commands++;
}

/* ---- Applying ---- */

static void answer(struct sim *s, struct sim_node *n, const struct model_command *c,
                   const struct sim_result *result)
{
    struct sim_result r = *result;

    r.token = c->proposal.token;
    if (c->proposal.from != SIM_NOBODY) {
        sim_node_answer(s, n->i, &c->proposal, &r);
    }
}

static void take_snapshot(struct sim_log *log, struct model_node *m)
{
    struct err err = {""};
    int size = snapshot_encode(&m->fsm, log->scratch, SNAPSHOT_SIZE_MAX, &err);

    ASSERT(size > 0);
    m->snapshot = xrealloc(m->snapshot, (size_t)size);
    memcpy(m->snapshot, log->scratch, (size_t)size);
    m->snapshot_size = (size_t)size;
    m->snapshot_index = m->applied;
}

static void apply_entry(struct sim *s, struct sim_node *n, uint32_t index)
{
    struct sim_log *log = s->log;
    struct model_node *m = &log->nodes[n->i];
    const struct model_entry *e = &m->entries[index - 1];
    const struct model_command *c = &log->commands[e->command];
    struct sim_result result = {.outcome = OUTCOME_DONE, .index = index};
    bool is_mine = m->role == MODEL_LEADER && e->term == m->term;
    struct command_cas original;
    struct err err = {""};
    unsigned changes;

    if (c->proposal.bytes != NULL) {
        ASSERT(command_decode(c->proposal.bytes, c->proposal.size, &log->decoded, &err) == 0);
        mutate_command(s, &m->fsm, &log->decoded, &original);
        result.result = store_apply(&m->fsm, index, &log->decoded, &changes);
        mutate_command_back(&original);
        sim_node_on_commit(s, n, index, &log->decoded);
    } else {
        result.index = m->fsm.applied_index;
    }
    if (c->voters.n > 0) {
        sim_node_on_leadership(s, n);
    }
    if (is_mine) {
        answer(s, n, c, &result);
    }
}

void model_apply(struct sim *s, struct sim_node *n)
{
    struct model_node *m = &s->log->nodes[n->i];

    while (m->applied < m->commit) {
        m->applied++;
        apply_entry(s, n, m->applied);
        if (m->applied - m->snapshot_index >= SNAPSHOT_EVERY) {
            take_snapshot(s->log, m);
        }
    }
}

/* Whoever waits for a command that this node can not see through any more. */
void model_forget_proposals(struct sim *s, struct sim_node *n)
{
    struct model_node *m = &s->log->nodes[n->i];
    const struct sim_result unknown = {.outcome = OUTCOME_UNKNOWN};

    for (uint32_t i = m->applied; i < m->n; i++) {
        if (m->entries[i].term == m->term) {
            s->stats.unknown_outcomes++;
            answer(s, n, &s->log->commands[m->entries[i].command], &unknown);
        }
    }
}

/* ---- What consensus/ offers ---- */

static struct sim_log *create(struct sim *s)
{
    struct sim_log *log = xmalloc(sizeof(*log));
    const struct sim_proposal nothing = {.from = SIM_NOBODY};

    log->scratch = xmalloc(SNAPSHOT_SIZE_MAX);
    (void)keep_command(log, &nothing); /* Number 0: a new leader's first entry. */
    for (int i = 0; i < s->n_nodes; i++) {
        log->nodes[i].voted_for = SIM_NOBODY;
        log->nodes[i].leader = SIM_NOBODY;
        log->nodes[i].knows_first = true;
        store_init(&log->nodes[i].fsm);
    }
    return log;
}

static void destroy(struct sim_log *log)
{
    for (uint32_t i = 0; i < log->n_commands; i++) {
        free((void *)(uintptr_t)log->commands[i].proposal.bytes);
    }
    for (int i = 0; i < SIM_NODES_MAX; i++) {
        free(log->nodes[i].snapshot);
    }
    free(log->scratch);
    free(log);
}

static void start(struct sim *s, struct sim_node *n)
{
    struct model_node *m = &s->log->nodes[n->i];
    struct err err = {""};

    m->role = MODEL_FOLLOWER;
    m->leader = SIM_NOBODY;
    m->n = m->durable;
    m->commit = m->snapshot_index;
    m->applied = m->snapshot_index;
    m->leader_commit = m->snapshot_index;
    m->verified = 0;
    if (m->snapshot != NULL) {
        ASSERT(snapshot_decode(m->snapshot, m->snapshot_size, &m->fsm, &err) == 0);
        sim_node_on_restore(s, n, &m->fsm);
    } else {
        store_init(&m->fsm);
    }
    model_start(s, n);
}

static void stop(struct sim *s, struct sim_node *n)
{
    struct model_node *m = &s->log->nodes[n->i];

    m->role = MODEL_DOWN;
    m->leader = SIM_NOBODY;
    m->n = m->durable; /* The rest was only in memory. */
    model_voters_at(s, n, m->n, &m->voters);
}

static void propose(struct sim *s, struct sim_node *n, const struct sim_proposal *p)
{
    struct model_node *m = &s->log->nodes[n->i];
    struct sim_result refused = {.token = p->token, .outcome = OUTCOME_NOT_LEADER};

    if (m->role != MODEL_LEADER) {
        sim_node_answer(s, n->i, p, &refused);
        return;
    }
    model_append_own(s, n, keep_command(s->log, p));
}

static void leadership(const struct sim *s, const struct sim_node *n, struct sim_leadership *l)
{
    const struct model_node *m = &s->log->nodes[n->i];

    *l = (struct sim_leadership){
        .is_leader = m->role == MODEL_LEADER, .leader = m->leader, .term = m->term};
    l->voters = m->voters;
    model_voters_at(s, n, m->commit, &l->committed);
    l->level_index = l->committed.index <= m->applied + 1 ? l->committed.index : 0;
}

static void stall(struct sim *s, struct sim_node *n, uint64_t until_us)
{
    (void)s;
    n->disk_stalled_until_us = until_us;
}

static void lose(struct sim *s, struct sim_node *n)
{
    struct model_node *m = &s->log->nodes[n->i];

    free(m->snapshot);
    memset(m, 0, sizeof(*m));
    m->voted_for = SIM_NOBODY;
    m->leader = SIM_NOBODY;
    store_init(&m->fsm);
}

static void relink(struct sim *s)
{
    (void)s; /* Its messages are the simulation's own. */
}

const struct sim_log_kind sim_log_model = {
    .create = create,
    .destroy = destroy,
    .start = start,
    .stop = stop,
    .propose = propose,
    .leadership = leadership,
    .transfer = model_transfer,
    .change_voters = model_change_voters,
    .lose = lose,
    .stall = stall,
    .relink = relink,
};
