/*
 * Between the agents: status messages, fresh positions, proposals and their
 * results (one hop over a third node where the direct link is down), and the
 * barrier after a start.
 */
#include <stdlib.h>

#include "core/lookup.h"
#include "sim_node.h"
#include "trace.h"

/* ---- Status ---- */

static struct view_peer *find_peer(struct view *v, node_id id)
{
    for (uint32_t i = 0; i < v->n_peers; i++) {
        if (v->peers[i].status.id == id) {
            return &v->peers[i];
        }
    }
    return NULL;
}

/* A node that came back under a new id takes the place of the old one, once that has
 * lost its vote. */
static struct view_peer *place_for(struct sim_node *n, node_id id)
{
    struct view *v = &n->agent->view;
    struct view_peer *p = find_peer(v, id);

    for (uint32_t i = 0; p == NULL && i < v->n_peers; i++) {
        node_id old = v->peers[i].status.id;

        if (sim_index_of(old) == sim_index_of(id) &&
            !lease_voter_set_has(&n->agent->leadership.voters, old)) {
            p = &v->peers[i];
            *p = (struct view_peer){.reach_timeline = p->reach_timeline, .reach_lsn = p->reach_lsn};
        }
    }
    if (p == NULL) {
        ASSERT(v->n_peers < MEMBERS_MAX);
        p = &v->peers[v->n_peers++];
    }
    return p;
}

static void on_status(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    struct view_peer *p = place_for(n, ((const struct status *)e->data)->id);

    p->status = *(const struct status *)e->data;
    lookup_note_reach(&n->agent->store, p);
    p->received_ms = sim_local_ms(s, n);
    sim_node_dirty(s, n);
}

void node_tell_status(struct sim *s, struct sim_node *n)
{
    if (n->agent->view.self.status.id == 0) {
        return; /* Before the first tick. */
    }
    for (int i = 0; i < s->n_nodes; i++) {
        if (i != n->i) {
            struct status *copy = xmalloc(sizeof(*copy));

            *copy = n->agent->view.self.status;
            sim_send(s, &(struct sim_message){
                            .from = n->i, .to = i, .ordered = true, .fn = on_status, .data = copy});
        }
    }
}

/* ---- Positions ---- */

static void on_positions(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    struct view_peer *p = find_peer(&n->agent->view, s->nodes[e->from]->id);

    if (p == NULL) {
        return; /* Never heard of: its status comes first. */
    }
    p->positions = *(const struct positions *)e->data;
    p->positions_ms = sim_local_ms(s, n);
    sim_node_dirty(s, n);
}

struct asked {
    int from;
    uint64_t epoch;
};

static void on_positions_read(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    const struct asked *asked = e->data;
    struct positions *positions = xmalloc(sizeof(*positions));

    positions->epoch = asked->epoch;
    if (n->mode == MODE_POSTGRES) {
        sim_pg_positions(s, n, positions);
    }
    sim_send(s, &(struct sim_message){.from = n->i,
                                      .to = asked->from,
                                      .ordered = true,
                                      .fn = on_positions,
                                      .data = positions});
}

static void on_ask_positions(struct sim *s, const struct sim_event *e)
{
    struct asked *asked = xmalloc(sizeof(*asked));

    *asked = (struct asked){e->from, e->number};
    sim_after(s, sim_between(s, 1, 10) * SIM_MS,
              &(struct sim_event){.fn = on_positions_read,
                                  .node = e->node,
                                  .from = SIM_NOBODY,
                                  .life = s->nodes[e->node]->life,
                                  .data = asked});
}

void node_ask_positions(struct sim *s, struct sim_node *n)
{
    struct sim_agent *a = n->agent;
    uint64_t epoch = a->store.primary.epoch;

    a->positions_epoch = epoch;
    a->positions_asked_ms = sim_local_ms(s, n);
    sim_pg_observe(s, n);
    for (int i = 0; i < s->n_nodes; i++) {
        if (i != n->i) {
            sim_send(s, &(struct sim_message){.from = n->i,
                                              .to = i,
                                              .ordered = true,
                                              .fn = on_ask_positions,
                                              .number = epoch});
        }
    }
    sim_node_dirty(s, n);
}

/* ---- Proposals ---- */

/* Directly, or over a node that reaches both; SIM_NOBODY when there is no way. */
static int next_hop(const struct sim *s, int from, int to)
{
    if (sim_can_reach(s, from, to)) {
        return to;
    }
    for (int i = 0; i < s->n_nodes; i++) {
        if (i != from && i != to && s->nodes[i]->is_up && sim_can_reach(s, from, i) &&
            sim_can_reach(s, i, to)) {
            return i;
        }
    }
    return SIM_NOBODY;
}

struct parcel { /* A proposal or a result on its way. */
    int to;
    bool is_result;
    struct sim_result result;
    int from;
    uint64_t token;
    bool is_barrier;
    size_t size;
    uint8_t bytes[];
};

static void on_parcel(struct sim *s, const struct sim_event *e);

static void dispatch(struct sim *s, int at, struct parcel *p)
{
    int hop = next_hop(s, at, p->to);

    if (hop == SIM_NOBODY) {
        free(p);
        return;
    }
    sim_send(s, &(struct sim_message){
                    .from = at, .to = hop, .ordered = true, .fn = on_parcel, .data = p});
}

static void take_result(struct sim *s, struct sim_node *n, const struct sim_result *r)
{
    struct sim_agent *a = n->agent;

    if (r->token == a->barrier_token && a->barrier_token != 0) {
        a->barrier_token = 0;
        if (r->outcome == OUTCOME_DONE) {
            a->barrier_known = true;
            a->barrier_index = r->index;
        }
    }
    for (size_t kind = 0; kind < COMMAND_KINDS; kind++) {
        if (a->pending[kind] != 0 && a->pending[kind] == r->token) {
            a->pending[kind] = 0;
        }
    }
    if (r->outcome == OUTCOME_DONE && apply_result_is_refusal(r->result)) {
        s->stats.refused_commands++;
    }
    sim_node_dirty(s, n);
}

static void on_parcel(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    const struct parcel *p = e->data;

    if (p->to != n->i) {
        struct parcel *copy = xmalloc(sizeof(*copy) + p->size);

        memcpy(copy, p, sizeof(*copy) + p->size);
        dispatch(s, n->i, copy);
    } else if (p->is_result) {
        take_result(s, n, &p->result);
    } else {
        s->log_kind->propose(s, n,
                             &(struct sim_proposal){.bytes = p->is_barrier ? NULL : p->bytes,
                                                    .size = p->size,
                                                    .from = p->from,
                                                    .token = p->token});
    }
}

void sim_node_answer(struct sim *s, int from, const struct sim_proposal *p,
                     const struct sim_result *result)
{
    struct parcel *answer = xmalloc(sizeof(*answer));

    *answer = (struct parcel){.to = p->from, .is_result = true, .result = *result};
    if (result->outcome == OUTCOME_DONE && p->bytes == NULL) {
        answer->result.index = s->nodes[from]->agent->store.applied_index;
    }
    dispatch(s, from, answer);
}

/* c NULL: a barrier. */
static void send_to_leader(struct sim *s, struct sim_node *n, const struct command *c,
                           uint64_t token)
{
    static uint8_t bytes[COMMAND_SIZE_MAX];
    const struct sim_leadership *l = &n->agent->leadership;
    struct err err = {""};
    int size = c != NULL ? command_encode(c, bytes, sizeof(bytes), &err) : 0;
    struct parcel *p;

    ASSERT(size >= 0);
    if (l->leader == SIM_NOBODY && !l->is_leader) {
        return;
    }
    p = xmalloc(sizeof(*p) + (size_t)size);
    *p = (struct parcel){.to = l->is_leader ? n->i : l->leader,
                         .from = n->i,
                         .token = token,
                         .is_barrier = c == NULL,
                         .size = (size_t)size};
    memcpy(p->bytes, bytes, (size_t)size);
    dispatch(s, n->i, p);
}

void sim_node_propose(struct sim *s, struct sim_node *n, const struct command *c, uint64_t token)
{
    if (trace_is_on()) {
        char text[300];

        TRACE(s, n, "proposes %s", command_print(c, text, sizeof(text)));
    }
    send_to_leader(s, n, c, token);
}

/* ---- The barrier after a start ---- */

void node_ask_barrier(struct sim *s, struct sim_node *n)
{
    struct sim_agent *a = n->agent;

    if (!a->caught_up && a->barrier_known && a->store.applied_index >= a->barrier_index) {
        TRACE(s, n, "up to date, index %u", (unsigned)a->store.applied_index);
        a->caught_up = true;
        sim_sync_on_caught_up(n);
        node_lease_on_store(s, n, 0);
    }
    if (a->caught_up || a->barrier_known ||
        (a->barrier_token != 0 && s->now_us < a->barrier_us + 5 * SIM_S) ||
        (a->leadership.leader == SIM_NOBODY && !a->leadership.is_leader)) {
        return;
    }
    a->barrier_token = rng_next(&s->rng) | 1;
    a->barrier_us = s->now_us;
    send_to_leader(s, n, NULL, a->barrier_token);
}
