/*
 * Is what a node has on disk the last it had there? After a reboot a node can not
 * tell: a backup of its whole Raft directory that was restored looks as right as the
 * real one. The others can: they heard its terms and what it had applied. So it asks
 * before it takes part in Raft again (docs/decisions/0011). Pure.
 */
#ifndef VECHE_CORE_CONTINUITY_H
#define VECHE_CORE_CONTINUITY_H

#include "core/view.h"

/* Remembers the furthest a peer ever told of. After peer->status was replaced. */
void continuity_note(struct view_peer *peer);

/* The peer asks, and was further under that id. */
bool continuity_is_behind(const struct view_peer *peer);

enum continuity {
    CONTINUITY_WAIT,
    CONTINUITY_LOST,        /* A peer knows of more than there is. */
    CONTINUITY_CONFIRMED,   /* Enough of them were heard, and know of nothing more. */
    CONTINUITY_UNCONFIRMED, /* Those who might know more were not heard in time. */
};

struct continuity_question {
    node_id self;
    const struct view_peer *peers;
    uint32_t n_peers;
    uint32_t n_partners; /* Other members, as configured. */
    uint64_t since_ms;   /* It asks since then. */
    uint64_t now_ms;
    uint64_t status_period_ms;
    uint64_t wait_ms; /* The longest; a cluster must come back without the one that is gone. */
};

enum continuity continuity_judge(const struct continuity_question *q);

#endif
