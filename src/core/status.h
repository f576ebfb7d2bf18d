/*
 * What a node says about itself to every other, several times a second
 * (design.md section 6, `status`). Not replicated, not durable: the newest one
 * of each member, with the time it came in, is what decisions look at. The
 * encoding is in peer/peer_message.c.
 */
#ifndef VECHE_CORE_STATUS_H
#define VECHE_CORE_STATUS_H

#include "store/types.h"

/* What PostgreSQL's running server would have otherwise if it were started anew. */
#define PENDING_MAX 8
struct pending_restart {
    uint32_t n;
    struct pending_setting {
        char name[NAME_SIZE];
        char old_value[NAME_SIZE]; /* For people: with unit, cut. */
        char new_value[NAME_SIZE]; /* "?" = not known. */
    } settings[PENDING_MAX];
};

/* Where a permanent replication slot of the primary is. */
#define STATUS_SLOTS_MAX 16
struct status_slot {
    char name[NAME_SIZE];
    lsn_t lsn; /* Physical: WAL from here on is needed. Logical: what its consumer has. */
};

struct status {
    /* Who. */
    node_id id;
    char name[NAME_SIZE];
    enum node_mode mode;
    uint64_t instance;
    uint64_t cluster_id;           /* 0 = belongs to none yet. */

    /* Store and Raft. */
    uint64_t applied_epoch;        /* Of the store this node decides on. */
    uint64_t applied_index;
    uint64_t raft_term;
    node_id raft_leader;           /* 0 = knows none. */
    uint64_t raft_end;             /* It asks, before Raft runs, whether its log ever went further
                                    * than that (core/continuity.h); 0 = it does not ask. */
    node_id lost_id;               /* One that asked, and was further once; 0 = none. */
    bool raft_fails;               /* Its Raft directory can not be used: it hears no decision. */
    bool wants_vote;               /* It came in under a new id: may be made a voter now. */
    uint64_t ttl_max_ms;           /* The longest promise it may have out. */

    /* Lease. */
    enum promise_state promise;    /* As a voter. */
    uint64_t promise_epoch;
    uint64_t lease_epoch;          /* As owner: the epoch whose lease it holds; 0 = none. */

    /* Voters heard within the last two status periods, itself included. */
    uint8_t n_heard;
    node_id heard[VOTERS_MAX];

    /* PostgreSQL. */
    enum pg_state pg_state;
    enum pg_role pg_role;
    enum data_state data;
    bool clean_shutdown;           /* pg_control of a stopped server says "shut down". */
    uint64_t sysid;
    uint32_t timeline;
    uint32_t checkpoint_timeline;  /* Of the last checkpoint; less than timeline: a rewind must
                                    * wait for it. */
    lsn_t flushed;                 /* Primary: flush position. Standby: flushed or replayed, the
                                    * larger one. Stopped: from pg_control. */
    lsn_t received;                /* Standby: flushed by the WAL receiver; 0 = never streamed. */
    lsn_t replayed;                /* Standby. */
    bool streaming;                /* The WAL receiver streams. */
    bool in_archive_recovery;
    bool replay_paused;
    uint32_t pg_version;           /* server_version_num. */
    int64_t postmaster_start_us;   /* Wall clock; 0 = not running. */
    struct pending_restart pending;
    uint8_t n_slots; /* Of a primary. */
    struct status_slot slots[STATUS_SLOTS_MAX];

    /* What it may not be used for. */
    bool stopping;                 /* Its agent was told to stop: what it owns it releases. */
    bool nofailover;
    uint32_t failover_priority;
    bool no_watchdog;              /* It requires one, and can not have it. */
    uint32_t sync_priority;        /* The largest is the synchronous standby; 0 = nosync. */

    bool can_bootstrap;            /* view_conf.can_bootstrap: it could make a new database. */

    /* For people. */
    char operation[NAME_SIZE];     /* Running sequence and its step; empty = none. */
    char problem[TEXT_SIZE];       /* What is wrong, newest first; empty = nothing. */
    uint32_t tick_age_ms;          /* Since its last tick. */
};

/* A fresh reading of positions, asked for by the owner of `epoch` after it got
 * its lease (design.md section 5, Take-over). */
struct positions {
    uint64_t epoch;                /* Repeated from the question. */
    bool valid;                    /* PostgreSQL answered. */
    bool is_primary;               /* Answered out of recovery. */
    uint32_t timeline;
    lsn_t flushed;                 /* As in struct status. */
};

#endif
