/*
 * decide(): the whole judgement of Veche, a pure function of a view. It first
 * judges the node (what to do to PostgreSQL here), then, on the Raft leader,
 * the cluster (who may be primary). Both are tables of named rules, first
 * match wins: core/node_rules.c and core/cluster_rules.c.
 *
 * The answer is data. The agent hands it to ops/, consensus/ and peer/;
 * nothing else chooses.
 */
#ifndef VECHE_CORE_DECIDE_H
#define VECHE_CORE_DECIDE_H

#include "core/view.h"
#include "store/command.h"

#define DECISION_COMMANDS_MAX 8

struct upstream {
    char name[NAME_SIZE]; /* Member to follow or clone from; empty = none. */
    char host[HOST_SIZE];
    uint16_t port;
};

struct node_decision {
    enum node_action action;
    const char *rule;         /* Permanent name, a constant. Never NULL. */
    const char *why;          /* The table's sentence, a constant. Never NULL. */
    char evidence[TEXT_SIZE]; /* The values it was decided on. */
    struct upstream upstream; /* For CLONE, REWIND, START_STANDBY, FOLLOW. */
    uint32_t timeline;        /* For PROMOTE: the declared one, which it must take. For REWIND:
                               * the source's. */
    bool diverged;            /* Looks diverged in this view; confirmed when it lasts. */
    bool agrees;              /* We are a standby on the running primary's timeline, and nothing
                               * says that anything here is ours alone. */
    uint64_t order;           /* For CLONE: of the operator it is made for; a copy that runs and is
                               * not of that order is given up. 0 = none's: it goes on. */
    bool from_primary;        /* For CLONE: by pg_basebackup, whatever else is configured. */
    bool may_write;           /* PostgreSQL takes writes, or will by itself. */
    bool kill;                /* For FENCE: SIGKILL at once. */
    bool is_problem;          /* `why` is a condition that only an operator ends. */
};

/* Why a member is, or is not, a candidate. */
struct candidate {
    char name[NAME_SIZE];
    const char *verdict; /* "eligible", or the name of the rule that refuses it. */
    char evidence[TEXT_SIZE];
    bool eligible;
    bool forced; /* Eligible only because an operator's order names it (S4). */
    uint32_t timeline;
    lsn_t flushed;
};

struct voter_decision { /* Who votes: at most one of the two is not 0. */
    const char *rule;   /* Permanent name; NULL where the cluster is not judged. */
    const char *why;
    char evidence[TEXT_SIZE];
    node_id remove;
    node_id add;
};

struct cluster_decision {
    const char *rule; /* Permanent name; "not-leader" on other nodes. */
    const char *why;
    char evidence[TEXT_SIZE];
    uint32_t n_candidates; /* Best first, then the refused. */
    struct candidate candidates[MEMBERS_MAX];
    node_id transfer_to; /* Hand Raft leadership to this voter; 0 = no. */
};

struct sync_decision {          /* core/sync_rules.h */
    struct sync_wait wait;      /* What postgresql.conf shall say. */
    bool probe;                 /* A commit of our own shall wait. */
    bool gate_open;             /* Clients may come in. */
    bool tightens;              /* A standby is being made, or proven, synchronous. */
    char gave_up_on[NAME_SIZE]; /* That took too long with this one; empty = it did not. */
};

struct decision {
    struct node_decision node;
    struct sync_decision sync;
    struct cluster_decision cluster;
    struct voter_decision voters;
    bool renew_lease;   /* Renew the lease of store->primary.epoch. */
    bool drop_lease;    /* Stop renewing and forget rounds (after the stop, before release). */
    bool disarm;        /* Paused, and the store shows it: the guard shall freeze nothing. */
    bool ask_positions; /* Ask every member for fresh positions for this epoch. */
    bool may_exit;      /* stopping: everything this node owed is done. */
    char stale_walsender[NAME_SIZE]; /* End the WAL sender of this member: nobody listens to it;
                                      * empty = of none. */
    uint64_t stale_for_ms;           /* The member has not streamed for so long. */
    bool loss_told;                  /* The ledger has the loss of the view. */
    uint32_t n_commands;
    struct command commands[DECISION_COMMANDS_MAX]; /* Only the first n_commands mean anything. */
    uint64_t wake_ms;                               /* Look again at this time at the latest. */
};

/* Fills *d whole (but for unused commands). view is not changed. */
void decide(const struct view *view, struct decision *d);

/* What GET /patroni and the health paths need, from the same facts. */
bool decide_is_primary_now(const struct view *view); /* Lease, running primary, no fence; of
                                                      * the cluster's database. */

#endif
