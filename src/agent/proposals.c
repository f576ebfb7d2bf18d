/*
 * Proposals: to the local Raft when this node leads, else over the peer port to
 * whoever does. Decisions are level-triggered and commands compare-and-set, so
 * an unanswered or unknown outcome is simply looked at again.
 */
#include "agent/agent_state.h"
#include "base/log.h"

#define AGAIN_MS 100 /* After a proposal that reached nobody. */

struct proposal {
    struct agent *agent;
    enum command_kind kind;
    char text[256]; /* For the log. */
    agent_result_cb cb;
    void *data;
};

static const char *status_name(enum propose_status status)
{
    switch (status) {
    case PROPOSE_DONE:
        return "done";
    case PROPOSE_NOT_LEADER:
        return "not the leader";
    case PROPOSE_BUSY:
        return "busy";
    case PROPOSE_UNKNOWN:
        return "outcome unknown";
    }
    return "?";
}

static void log_result(const struct proposal *p, const struct propose_result *r)
{
    if (r->status != PROPOSE_DONE) {
        log_info("A proposal got no answer, looking again. command=\"%s\" status=\"%s\"", p->text,
                 status_name(r->status));
    } else if (apply_result_is_refusal(r->result)) {
        log_info("A proposal was refused. command=\"%s\" result=\"%s\"", p->text,
                 apply_result_name(r->result));
    } else {
        log_debug("A proposal was applied. command=\"%s\" index=%llu", p->text,
                  (unsigned long long)r->index);
    }
}

static void finish(void *data, const struct propose_result *r)
{
    struct proposal *p = data;
    struct agent *a = p->agent;

    if (p->kind != COMMAND_NONE) {
        log_result(p, r);
        a->proposal_pending[p->kind] = false;
    }
    if (p->cb != NULL) {
        p->cb(p->data, r);
    }
    if (r->status == PROPOSE_DONE) {
        a->proposal_index[p->kind] = r->index;
        agent_mark_dirty(a);
    } else { /* At once it would fail again, and again. */
        a->proposal_again_ms[p->kind] = clock_ms() + AGAIN_MS;
        agent_tick_within(a, AGAIN_MS);
    }
    free(p);
}

static void finish_by_peer(void *data, bool answered, const struct peer_result *result)
{
    struct propose_result r = {.status = PROPOSE_NOT_LEADER};

    if (answered && result != NULL && result->status <= PROPOSE_UNKNOWN &&
        result->result < APPLY_RESULTS) {
        r.status = (enum propose_status)result->status;
        r.result = (enum apply_result)result->result;
        r.index = result->index;
    } else if (result != NULL) {
        r.status = PROPOSE_UNKNOWN;
    }
    finish(data, &r);
}

/* Cut off from the leader, Raft here soon knows none: others say who it is, and
 * a proposal reaches it through them. */
static node_id known_leader(const struct agent *a)
{
    node_id leader = a->leadership.leader;
    uint64_t term = 0;

    for (uint32_t i = 0; a->leadership.leader == 0 && i < a->n_peers; i++) {
        const struct status *s = &a->peers[i].status;

        if (a->peers[i].connected && s->raft_leader != 0 && s->raft_leader != a->identity.id &&
            s->raft_term >= term) {
            leader = s->raft_leader;
            term = s->raft_term;
        }
    }
    return leader;
}

/* bytes NULL: a barrier. */
static void send_to_leader(struct agent *a, const void *bytes, size_t size, struct proposal *p)
{
    if (a->consensus != NULL && a->leadership.is_leader) {
        if (bytes == NULL) {
            consensus_barrier(a->consensus, finish, p);
        } else {
            consensus_propose_bytes(a->consensus, bytes, size, finish, p);
        }
    } else {
        peer_propose(a->peer, known_leader(a), bytes, size, finish_by_peer, p);
    }
}

void agent_propose_bytes(struct agent *a, const void *bytes, size_t size, agent_result_cb cb,
                         void *data)
{
    struct proposal *p = xmalloc(sizeof(*p));

    *p = (struct proposal){.agent = a, .cb = cb, .data = data};
    send_to_leader(a, bytes, size, p);
}

void agent_propose(struct agent *a, const struct command *c)
{
    static uint8_t bytes[COMMAND_SIZE_MAX]; /* Only the loop's thread is ever here. */
    struct proposal *p;
    struct err err = {""};
    int size;

    if (a->proposal_pending[c->kind] || clock_ms() < a->proposal_again_ms[c->kind] ||
        a->store.applied_index < a->proposal_index[c->kind] ||
        (known_leader(a) == 0 && !a->leadership.is_leader)) {
        return; /* The next tick decides again. */
    }
    size = command_encode(c, bytes, sizeof(bytes), &err);
    if (size < 0) {
        log_error("A command can not be encoded; this is a bug. command=%s error=\"%s\"",
                  command_kind_name(c->kind), err.text);
        return;
    }
    p = xmalloc(sizeof(*p));
    *p = (struct proposal){.agent = a, .kind = c->kind};
    (void)command_print(c, p->text, sizeof(p->text));
    a->proposal_pending[c->kind] = true;
    a->proposed_ms[c->kind] = clock_ms();
    send_to_leader(a, bytes, (size_t)size, p);
}
