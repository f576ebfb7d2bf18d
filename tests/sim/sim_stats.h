/*
 * What a run has seen. A simulation in which nothing of a kind ever happened
 * proves nothing about it, so a counter of zero fails a long run.
 */
#ifndef SIM_STATS_H
#define SIM_STATS_H

#include "base/base.h"

/*
 * What goes wrong, and how often beside the others (sim_faults.c).
 */
#define SIM_FAULT_KINDS(X)  \
    X(isolate, 10)          \
    X(split, 8)             \
    X(cut_one_way, 8)       \
    X(cut_link, 8)          \
    X(lose, 6)              \
    X(delay, 6)             \
    X(crash, 10)            \
    X(reboot, 8)            \
    X(crash_all, 2)         \
    X(reboot_the_others, 3) \
    X(kill_agent, 5)        \
    X(kill_postmaster, 6)   \
    X(terminate, 5)         \
    X(pause_machine, 4)     \
    X(pause_agent, 5)       \
    X(restart_agent, 8)     \
    X(lose_minority, 6)     \
    X(kill_guard, 4)        \
    X(pause_guard, 4)       \
    X(pause_in_turn, 3)     \
    X(stall_disk, 6)        \
    X(slew, 6)              \
    X(slow_stream, 6)       \
    X(switch_over, 10)      \
    X(order_member, 5)      \
    X(fail_over, 3)         \
    X(change_ttl, 2)        \
    X(pause_cluster, 8)     \
    X(lose_paused, 4)       \
    X(lose_disk, 6)

/* name, required: saw_everything() of main.c has the words `fixture` and `sync` */
#define SIM_STATS(X)                                                                              \
    X(faults, true)      /* Injected. */                                                          \
    X(failovers, true)   /* Epochs taken from an owner that lost its lease. */                    \
    X(switchovers, true) /* Requests that ended as done. */                                       \
    X(member_orders, true) /* Restarts and reinits of a member, done. */                          \
    X(refusals, true)    /* Notes in the ledger, promotions and requests refused. */              \
    X(quarantines, true) /* Voters that started without their promises. */                        \
    X(reboots, true)                                                                              \
    X(disks_lost, !fixture)    /* Raft states; the fixture keeps them. */                         \
    X(new_ids, !fixture)       /* That became voters. */                                          \
    X(restarts, true)          /* Of processes, in the same boot. */                              \
    X(slews_of_boottime, true) /* By more than a twentieth, against RAW. */                       \
    X(long_pauses, !fixture)   /* Of an agent, longer than a lease. */                            \
    X(restarts_in_lease, true) /* Of an agent, in a calm cluster. */                              \
    X(minorities_lost, true)                                                                      \
    X(uninterrupted, true) /* Times the primary went on through one of these two. */              \
    X(interrupted, true)   /* Sequences that ended with their agent (S5). */                      \
    X(freezes, true)                                                                              \
    X(thaws, true)                                                                                \
    X(rows_after_thaw, true)                                                                      \
    X(late_freezes, !fixture) /* Something did not stop in time: everything was killed. */        \
    X(frozen_too_long, !fixture)                                                                  \
    X(guard_kills, true)                                                                          \
    X(guards_replaced, true)   /* It was gone, or did not answer: the agent killed PostgreSQL. */ \
    X(continued, true)         /* A lease, by an agent that was started anew. */                  \
    X(restarts_in_place, true) /* Primaries that were started again where they were. */           \
    X(clones, true)                                                                               \
    X(promotions, true)                                                                           \
    X(fences, true)                                                                               \
    X(releases, true)                                                                             \
    X(orders_needed, false) /* Ended well but for an order of an operator's. */                   \
    X(transfers, false)     /* Of Raft leadership to who hears more.  */                          \
    X(elections, true)                                                                            \
    X(unknown_outcomes, true) /* Proposals nobody answered. */                                    \
    X(refused_commands, true) /* Committed, and refused by compare-and-set. */                    \
    X(rows, true)             /* Acknowledged. */                                                 \
    X(sync_rows, sync)        /* Of them, those that S2 promises. */                              \
    X(sync_names, sync)       /* A standby was proven and named. */                               \
    X(sync_degraded, sync)    /* The primary went on alone. */                                    \
    X(sync_replaced, sync)    /* Another standby came first, or the old one was gone. */          \
    X(pauses, true)           /* Epochs marked as unfenced. */                                    \
    X(resumes, true)          /* Guards armed again, and the mark taken back. */                  \
    X(marks_void, true)       /* Its boot was over. */                                            \
    X(declared_dead, true)    /* An operator took it back. */                                     \
    X(rows_unfenced, true)    /* Acknowledged while paused, without a lease. */                   \
    X(losses, false)          /* Faults that lose or delay messages. */                           \
    X(healed_ms, false)       /* Virtual time from the end of the faults to a whole cluster. */

struct sim_stats {
#define SIM_STATS_MEMBER(name, required) uint64_t name;
    SIM_STATS(SIM_STATS_MEMBER)
#undef SIM_STATS_MEMBER
#define SIM_STATS_FAULT(name, weight) uint64_t fault_##name;
    SIM_FAULT_KINDS(SIM_STATS_FAULT)
#undef SIM_STATS_FAULT
    bool late_is_measured; /* A freeze was. */
    int64_t late_ns_max;   /* Worst frozen-at minus deadline; negative is in time. */
};

#endif
