/*
 * What a run has seen. A simulation in which nothing of a kind ever happened
 * proves nothing about it, so a counter of zero fails a long run.
 */
#ifndef SIM_STATS_H
#define SIM_STATS_H

#include "base/base.h"

/* name, required */
#define SIM_STATS(X)                                                                           \
    X(faults, true)      /* Injected. */                                                       \
    X(failovers, true)   /* Epochs taken from an owner that lost its lease. */                 \
    X(switchovers, true) /* Requests that ended as done. */                                    \
    X(refusals, true)    /* Notes in the ledger, promotions and requests refused. */           \
    X(quarantines, true) /* Voters that started without their promises. */                     \
    X(reboots, true)                                                                           \
    X(restarts, true)          /* Of processes, in the same boot. */                           \
    X(restarts_in_place, true) /* Primaries that were started again where they were. */        \
    X(clones, true)                                                                            \
    X(promotions, true)                                                                        \
    X(fences, true)                                                                            \
    X(releases, true)                                                                          \
    X(transfers, false) /* Of Raft leadership to who hears more.  */                       \
    X(elections, true)                                                                         \
    X(unknown_outcomes, true) /* Proposals nobody answered. */                                 \
    X(refused_commands, true) /* Committed, and refused by compare-and-set. */                 \
    X(rows, true)             /* Acknowledged. */                                              \
    X(uncovered, false)       /* Acknowledged beside another lease: agent was killed alone. */ \
    X(losses, false)          /* Faults that lose or delay messages. */                        \
    X(healed_ms, false)       /* Virtual time from the end of the faults to a whole cluster. */

struct sim_stats {
#define SIM_STATS_MEMBER(name, required) uint64_t name;
    SIM_STATS(SIM_STATS_MEMBER)
#undef SIM_STATS_MEMBER
};

#endif
