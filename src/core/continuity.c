/*
 * See continuity.h. An entry that a majority with this node in it has acknowledged is
 * on half of the others, rounded down; so is a candidate that this node voted for, or
 * those it won. A majority that does not count this node meets them all: with three
 * nodes that is both others.
 */
#include "core/continuity.h"

#include "core/lookup.h"

void continuity_note(struct view_peer *peer)
{
    const struct status *s = &peer->status;

    if (s->raft_end != 0) {
        return; /* It asks: what it says now is what is in question. */
    }
    peer->told_term = MAX(peer->told_term, s->raft_term);
    peer->told_index = MAX(peer->told_index, s->applied_index);
}

bool continuity_is_behind(const struct view_peer *peer)
{
    const struct status *s = &peer->status;

    return s->raft_end != 0 && (s->raft_term < peer->told_term || s->raft_end < peer->told_index);
}

/* It has heard the question: what it said right after our start may be older. */
static bool has_answered(const struct continuity_question *q, const struct view_peer *p)
{
    return p->received_ms >= q->since_ms + 3 * q->status_period_ms &&
           lookup_hears(&p->status, q->self);
}

enum continuity continuity_judge(const struct continuity_question *q)
{
    uint32_t needed = MIN(q->n_partners, (q->n_partners + 1) / 2 + 1);
    uint32_t n_answered = 0;

    for (uint32_t i = 0; i < q->n_peers; i++) {
        if (q->peers[i].received_ms >= q->since_ms && q->peers[i].status.lost_id == q->self) {
            return CONTINUITY_LOST;
        }
        n_answered += has_answered(q, &q->peers[i]);
    }
    if (n_answered >= needed) {
        return CONTINUITY_CONFIRMED;
    }
    return q->now_ms >= q->since_ms + q->wait_ms ? CONTINUITY_UNCONFIRMED : CONTINUITY_WAIT;
}
