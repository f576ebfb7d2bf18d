/*
 * What the guard decides, and nothing of how it is done: pure, on values, so
 * that the process (guard.c) and the simulation run the same code.
 *
 * Essence (design.md section 5.1). While PostgreSQL may take writes there is a
 * deadline, moved forward by the agent after every counted round. Early enough
 * to be through with it at the deadline everything is frozen. From there are two
 * ways out only: thaw, when a live lease of the same epoch and instance comes, or
 * SIGKILL of everything while it is still frozen. A frozen backend may be past its
 * commit: let go in any other way it would send the acknowledgement first.
 *
 * Standbys run unfenced: `may_write` is false until the agent is about to promote, or
 * starts a primary; from then on it stays true until no process is left, or an arm says
 * `unfenced`: the cluster is paused, and the replicated store shows that this epoch has no
 * next one. Then nothing is frozen, whatever becomes of the lease, until the next arm with
 * `may_write`, which needs a live deadline like every other.
 *
 * Every call that depends on time takes `now`; what is left is counted as an owner
 * must (the larger of the two elapsed times). The caller calls guard_logic_step()
 * after each event and when the time it named is over, carries out the action, tells
 * the result and calls again until there is nothing to do: what is done again and again
 * (looks, kills) is asked for once a period, so that this ends. Before the word of an
 * agent is judged, step() has been called for the same `now`: a guard that comes late
 * fences before it listens.
 */
#ifndef VECHE_GUARD_GUARD_LOGIC_H
#define VECHE_GUARD_GUARD_LOGIC_H

#include "base/clock.h"

/* A freeze begins at least so long before the deadline, and at least this part of the ttl:
 * who is told to stop needs a processor to do so, and has to wait for it like all others. */
#define GUARD_FREEZE_LEAD_NS   UINT64_C(100000000)
#define GUARD_FREEZE_LEAD_PART 10

/* Whoever has not heard so long before the deadline that the guard freezes fences by himself:
 * later than a freeze begins, and long enough before the deadline for a tick. */
#define GUARD_SECOND_LINE_NS UINT64_C(25000000)
_Static_assert(GUARD_SECOND_LINE_NS < GUARD_FREEZE_LEAD_NS, "the guard comes first");

#define GUARD_TTL_NS_MIN UINT64_C(1000000000)
#define GUARD_TTL_NS_MAX UINT64_C(3600000000000)

/* How often it looks again. */
#define GUARD_LOOK_FREEZING_NS UINT64_C(1000000)
#define GUARD_LOOK_FROZEN_NS   UINT64_C(10000000)
#define GUARD_KILL_AGAIN_NS    UINT64_C(10000000)

enum guard_phase {
    GUARD_EMPTY = 0, /* No process of PostgreSQL is known. */
    GUARD_OPEN,      /* It runs and may not write: a standby. */
    GUARD_ARMED,     /* It may write, until the deadline. */
    GUARD_FREEZING,  /* The freezer was asked; not all have stopped yet. */
    GUARD_FROZEN,    /* Nothing of it runs. */
    GUARD_KILLING,   /* SIGKILL until no process is left. */
    GUARD_DISARMED,  /* It may write, and no deadline stops it: paused. */
};
#define GUARD_PHASES (GUARD_DISARMED + 1)
const char *guard_phase_name(enum guard_phase phase);

enum guard_verdict {
    GUARD_ACCEPTED = 0,
    GUARD_REFUSED_MALFORMED, /* A zero where there must be none, a ttl out of bounds. */
    GUARD_REFUSED_EPOCH,     /* Lower than one armed before. */
    GUARD_REFUSED_CLOSED,    /* That epoch was closed: for ever. */
    GUARD_REFUSED_INSTANCE,  /* Of another boot's owner. */
    GUARD_REFUSED_FAR,       /* Further away than ttl. */
    GUARD_REFUSED_OVER,      /* The deadline has passed. */
    GUARD_REFUSED_NO_LEASE,  /* A primary is not started without a live deadline ahead. */
    GUARD_REFUSED_RUNS,      /* There are processes of PostgreSQL already. */
    GUARD_REFUSED_KILLING,   /* Everything is being killed. */
};
#define GUARD_VERDICTS (GUARD_REFUSED_KILLING + 1)
const char *guard_verdict_name(enum guard_verdict verdict); /* Permanent, for logs. */

enum guard_action {
    GUARD_DO_NOTHING = 0,
    GUARD_DO_FREEZE, /* Freeze, then look: guard_logic_on_looked(). */
    GUARD_DO_LOOK,   /* While freezing or frozen: look whether all is stopped. */
    GUARD_DO_THAW,
    GUARD_DO_KILL, /* SIGKILL all, look again until guard_logic_on_gone(). */
};
#define GUARD_ACTIONS (GUARD_DO_KILL + 1)

/* Why everything was, or is being, killed. Permanent names, for logs. */
enum guard_why {
    GUARD_WHY_NONE = 0,
    GUARD_WHY_LATE,      /* Not all was stopped at the deadline, or there was none. */
    GUARD_WHY_CONTINUED, /* A stopped process was continued by somebody. */
    GUARD_WHY_EPOCH,     /* The epoch passed to another. */
    GUARD_WHY_ORDER,     /* The agent said so. */
    GUARD_WHY_AGE,       /* Frozen for longer than guard.kill_after. */
    GUARD_WHY_SIGNAL,    /* SIGTERM while frozen. */
    GUARD_WHY_ORPHANED,  /* The postmaster is gone and left processes behind. */
};
#define GUARD_WHYS (GUARD_WHY_ORPHANED + 1)
const char *guard_why_name(enum guard_why why);

/* What the agent tells after every counted round. */
struct guard_arm {
    uint64_t epoch;
    uint64_t instance;
    uint64_t ttl_ns;
    struct clock_pair deadline;
    bool may_write; /* PostgreSQL is, or is about to become, a primary. */
    bool unfenced;  /* Instead: it is one, and paused. From version 2 of the protocol on. */
};

struct guard_logic {
    /* Fixed. */
    uint64_t kill_after_ns; /* From the freeze. */
    /* The lease, as told. */
    uint64_t instance;     /* Of the first arm; 0 = none yet. */
    uint64_t epoch;        /* Highest armed; 0 = none. */
    uint64_t closed_epoch; /* It and lower ones are never armed again. */
    uint64_t ttl_ns;
    struct clock_pair deadline; /* Forward only within an epoch; 0 = none. */
    bool may_write;
    /* PostgreSQL. */
    enum guard_phase phase;
    enum guard_why why;                /* KILLING: the reason. */
    struct clock_pair freeze_began;    /* FREEZING, FROZEN. */
    struct clock_pair frozen_at;       /* FROZEN. */
    struct clock_pair frozen_deadline; /* FROZEN: the deadline that this freeze was for. */
    bool acted;                        /* Looked, or killed, in this phase, */
    struct clock_pair acted_at;        /* the last time then. */
    uint64_t freeze_ns_max;            /* Longest seen, from asking to all stopped. */
    /* Counted, for metrics and the closing report. */
    uint64_t n_freezes, n_thaws, n_kills, n_refused;
    bool measured;       /* A freeze was. */
    int64_t late_ns_max; /* Worst frozen-at minus deadline; negative is in time. */
};

void guard_logic_init(struct guard_logic *g, uint64_t kill_after_ns);

/* The agent's word. Accepting one while FROZEN under the same epoch thaws at the next
 * step; a higher epoch while freezing or frozen, or after the deadline, kills: somebody
 * else may have been primary in between. */
MUST_USE enum guard_verdict guard_logic_on_arm(struct guard_logic *g, struct clock_pair now,
                                               const struct guard_arm *arm);
/* Before a release: that epoch and lower ones are over. Kills what may still write. */
void guard_logic_on_close(struct guard_logic *g, uint64_t epoch);
/* May PostgreSQL be started now? as_primary needs a live deadline armed with may_write,
 * far enough away that it is not frozen at once. If accepted it counts as running. */
MUST_USE enum guard_verdict guard_logic_on_start(struct guard_logic *g, struct clock_pair now,
                                                 bool as_primary);
/* Found running, started by something else. may_write: not known to be a standby: without
 * a live deadline it is fenced at once, and for good: nobody knows the epoch that it ran
 * under. So an agent that owns it arms first and then adopts. */
void guard_logic_on_adopt(struct guard_logic *g, bool may_write);
/* The epoch passed to another (WHY_EPOCH: it is closed too), or an order (WHY_ORDER), or
 * the postmaster's end (WHY_ORPHANED), or SIGTERM, which kills only while freezing or
 * frozen (WHY_SIGNAL). */
void guard_logic_on_kill(struct guard_logic *g, enum guard_why why);
/* No process is left. */
void guard_logic_on_gone(struct guard_logic *g);

/* The result of a look at all processes, while freezing or frozen. A process in D with
 * the stop pending counts as stopped. */
struct guard_look {
    uint32_t n;         /* Processes of PostgreSQL, */
    uint32_t n_running; /* of these neither stopped nor in D. */
};
void guard_logic_on_looked(struct guard_logic *g, struct clock_pair now,
                           const struct guard_look *look);

/* What is to be done now, and how long after `now` to come again at the latest
 * (UINT64_MAX: after the next event). At most 90 % of what is left, design.md section 5,
 * Clock. */
enum guard_action guard_logic_step(struct guard_logic *g, struct clock_pair now,
                                   uint64_t *ret_wake_ns);

/* Until the deadline, as an owner counts it; 0: over, closed, or none. */
uint64_t guard_logic_left_ns(const struct guard_logic *g, struct clock_pair now);

#endif
