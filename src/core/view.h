/*
 * Everything decide() may look at, copied together at one moment. The agent
 * fills it from its modules (agent/gather.c), the simulation from its models.
 * Times are milliseconds of the clock of `now_ms` (BOOTTIME, or virtual).
 */
#ifndef VECHE_CORE_VIEW_H
#define VECHE_CORE_VIEW_H

#include "core/status.h"
#include "store/command.h"
#include "store/store.h"

/* What a sequence does to PostgreSQL; also the answer of the node rules. */
enum node_action {
    ACTION_NONE,          /* Leave everything as it is. */
    ACTION_BOOTSTRAP,     /* initdb, users, first start. */
    ACTION_CLONE,         /* pg_basebackup from the upstream, start as standby. */
    ACTION_REWIND,        /* pg_rewind to the upstream, start as standby. */
    ACTION_START_PRIMARY, /* Start in place out of recovery (crash recovery). */
    ACTION_START_STANDBY, /* Start in recovery, following the upstream if there is one. */
    ACTION_PREPARE,       /* Owner, before anything of a promotion: pre_promote. */
    ACTION_PROMOTE,
    ACTION_FOLLOW,     /* Running standby: change the upstream. */
    ACTION_CHECKPOINT, /* After a promotion, once. */
    ACTION_STOP,       /* Checkpoint, clean shutdown: switchover, stop of the agent. */
    ACTION_FENCE,      /* No write may be acknowledged from now on: kill, count out. */
    ACTION_CLEAN_UP,   /* Postmaster gone: kill and count out what it left behind. */
    ACTIONS
};

const char *node_action_name(enum node_action action);

enum sync_mode {
    SYNC_OFF,
    SYNC_ON,     /* Commits wait for a standby while there is one. */
    SYNC_STRICT, /* They wait until there is one. */
};

/* For whom commits wait: synchronous_standby_names. */
enum sync_wait_kind {
    SYNC_WAIT_USER,    /* Wanted only: whatever the configuration says; modes are off. */
    SYNC_WAIT_KEEP,    /* Wanted only: as it is. */
    SYNC_WAIT_NOBODY,  /* Empty: they do not wait. */
    SYNC_WAIT_FOREVER, /* The placeholder, a name nobody has. */
    SYNC_WAIT_NAME,    /* That one standby. */
    SYNC_WAIT_OTHER,   /* Seen only: nothing that we wrote. */
};
struct sync_wait {
    enum sync_wait_kind kind;
    char name[NAME_SIZE]; /* SYNC_WAIT_NAME. */
};

struct view_conf { /* From the dynamic configuration and the file. */
    uint64_t ttl_ms;
    uint64_t loop_wait_ms;
    int64_t maximum_lag_on_failover; /* Bytes; -1 = no bound. */
    uint64_t primary_start_timeout_ms;
    uint64_t fence_margin_ms;  /* So long before its end a promise of a process before this one
                                * counts as over: what it fenced by is not known. */
    uint64_t status_period_ms; /* ttl/10 within [100 ms, 1 s]. */
    enum sync_mode sync_mode;
    int64_t maximum_lag_on_syncnode; /* Bytes; 0 and less = no bound. */
    uint32_t history_lines;       /* Of /history; 0 = all that are kept. */
    uint64_t member_slots_ttl_ms; /* So long the slot of an absent member is kept. */
    bool check_timeline;
    bool use_pg_rewind;
    bool remove_on_rewind_failure;     /* Clone when pg_rewind failed for good. */
    bool remove_on_diverged_timelines; /* That, and when it can not be tried at all. */
    bool pause;
    bool pre_promote;      /* There is a command that may refuse a promotion here. */
    bool can_bootstrap;    /* A bootstrap section is there, data_dir is writable. */
    char scope[NAME_SIZE]; /* The cluster's name, for its first command. */
};

struct view_self {
    struct status status;       /* Exactly what the others are told. */
    uint64_t started_ms;        /* Of this process. */
    bool stopping;              /* SIGTERM came: stop PostgreSQL, release, leave. */
    uint64_t stopping_since_ms; /* When it came; 0 = it did not. */
    uint64_t diverged_since_ms; /* Every decision since said that our data diverged; 0 = not so. */
    struct store_member member; /* As it should stand in the store. */
};

struct view_raft {
    bool usable;             /* Running; its directory can be used. */
    char problem[TEXT_SIZE]; /* Why it is not, or has trouble; empty = nothing. */
    bool is_leader;
    node_id leader; /* 0 = none known. */
    uint64_t term;
    uint64_t leader_since_ms; /* When this node became leader. */
    bool caught_up;           /* A barrier proposed after this start was applied here. */
    uint8_t n_voters;
    node_id voters[VOTERS_MAX];
    bool voters_change;         /* A configuration is logged and not committed yet. */
    uint64_t voters_changed_ms; /* When the present one was committed here; 0 = before the start. */
    uint64_t epoch_applied_ms; /* When this node applied the present epoch or its release. */
    uint64_t cluster_id;       /* From the identity file; 0 = no cluster formed. */
    bool formed_now;           /* This very process formed the cluster: there is no older log of it,
                                * so an empty store before caught_up is the truth. */
};

struct view_lease {
    bool live;                /* This node holds the lease of `epoch` now. */
    uint64_t epoch;           /* The epoch it renews; 0 = none. */
    uint64_t remaining_ms;    /* 0 when not live. */
    uint64_t confirmed_ms;    /* What is left until the deadline that the guard has confirmed for
                               * `epoch`: so long PostgreSQL may write. 0 = it confirmed none. */
    uint64_t promised_ms;     /* What is left of this node's own promise to itself, made in this
                               * boot: any lease it ever counted ends before that. */
    uint64_t live_since_ms;   /* Start of the present unbroken lease; 0 when not live. */
    bool continued;           /* Of the process before this one; Raft has not confirmed it yet. */
    bool armed;               /* The guard would freeze PostgreSQL at the end of the lease. */
    uint64_t unfenced_epoch;  /* The guard was told, also before this process, that this epoch is
                               * marked unfenced; 0 = it was not, or was armed since. */
    bool mark_is_fresh;       /* The mark in the store was made after all that this owner ever
                               * proposed to take one back: nothing on its way can end it. */
    uint64_t wanted_since_ms; /* Since when the store has named this node owner without a lease; 0 =
                               * it holds it, or is not owner. */
};

struct view_replica {     /* A row of pg_stat_replication. */
    char name[NAME_SIZE]; /* application_name */
    char user[NAME_SIZE];
    char client_address[NAME_SIZE];
    char state[NAME_SIZE]; /* "streaming", ... */
    char sync_state[NAME_SIZE];
    uint32_t sync_priority;
    lsn_t flushed;
};

struct view_loss { /* WAL that a rewind or clone here gave up. */
    uint64_t sysid;
    uint32_t timeline; /* 0 = none, or the ledger has it. */
    lsn_t from, to;    /* Each 0 = not known. */
    uint64_t bytes;
    uint32_t from_timeline; /* That `from` is on: that one, or an older one. */
    char kept[TEXT_SIZE]; /* The directory it is kept in; empty = it is not. */
};

struct view_pg { /* Local PostgreSQL beyond what struct status says. */
    bool postmaster_alive;
    bool frozen;          /* The guard has stopped all of it, or is about to. */
    uint32_t n_processes; /* Of this data directory, postmaster included. */
    uint64_t seen_ms;     /* Of the last successful observation; 0 = never. */
    uint64_t gone_ms;     /* When the postmaster's exit was noticed; 0 = not. */
    bool was_primary;     /* pg_control and no standby.signal: it took writes when it ended. */
    bool promoted_checkpoint_due; /* Promoted, CHECKPOINT not done yet. */
    char upstream[NAME_SIZE];     /* Member whose address primary_conninfo names; empty = none. */
    bool receives;                /* primary_conninfo names somebody, or a WAL receiver runs. */
    uint32_t min_timeline;        /* Of the checkpoint in pg_control. */
    uint32_t taken_timeline;      /* A promotion found its number, and all up to this one, taken by
                                   * history files; 0 = none did. */
    lsn_t control_lsn;         /* Stopped: the larger of checkpoint and minimum recovery point. */
    lsn_t upstream_switch_lsn; /* Where our timeline ended in the primary's history; 0 = unknown. */
    int64_t replay_time_us;    /* pg_last_xact_replay_timestamp; 0 = none. */
    uint32_t n_replicas;
    struct view_replica replicas[MEMBERS_MAX];
    struct view_loss loss;
    bool can_rewind;          /* pg_control: data checksums or wal_log_hints. */
    uint32_t rewind_timeline; /* Data is DATA_REWINDING: the source's then; 0 = it was cut off by
                               * a restart of the machine, or */
    bool rewind_gone;         /* what was kept to do it again is gone. */
    bool history_due;             /* The timeline's history file has an entry that the store lacks,
                                   * or has otherwise. */
    struct store_history history; /* The oldest of them. */
};

/* Standbys that stream and did not become synchronous in time (core/sync_rules.h). */
struct sync_rests {
    struct sync_rest {
        char name[NAME_SIZE]; /* Empty = none. */
        uint32_t n_failures;  /* Since it was synchronous last. */
        uint64_t until_ms;    /* Not tried again before this. */
    } items[MEMBERS_MAX];
};

/* Synchronous commit here, as far as it is known (core/sync_rules.h). */
struct view_sync {
    bool known;             /* PostgreSQL runs and was asked; nothing is being changed. */
    struct sync_wait wait;  /* What it has read. That may not be in force yet. */
    bool held;              /* With the placeholder: a commit of ours was seen to wait, and no WAL
                             * sender released any more. */
    lsn_t held_lsn;         /* What was acknowledged until then ends before. */
    bool released;          /* It ended, not cut off, since commits wait for a standby. */
    bool gate_closed;       /* pg_hba.conf keeps clients out. */
    uint64_t gone_since_ms; /* The standby of the store does not stream since then; 0 = it does. */
    uint64_t since_ms;      /* Tightening goes on since then; 0 = it does not. */
    struct sync_rests rests;
    uint64_t risky_revision; /* The last revision at which a tightening may have been proposed, by
                              * this process or the one before it. */
};

/* Upper bounds in seconds of what was left of a deadline when the next one came. */
#define VIEW_GUARD_MARGINS                               \
    {                                                    \
        0.1, 0.25, 0.5, 1, 1.5, 2, 2.5, 3, 5, 10, 30, 60 \
    }
#define GUARD_MARGINS 12

struct view_guard { /* For people: what decisions look at is in view_pg and view_lease. */
    bool is_up;
    bool is_disarmed; /* Paused. */
    bool is_whole; /* PostgreSQL is the guard's child: also ends with it. */
    bool freezes_by_cgroup;
    bool is_realtime;
    bool watchdog_is_active;
    uint64_t locked_bytes;
    char phase[16];
    char trouble[TEXT_SIZE]; /* What it may not do, or why there is none; empty = all is well. */
    uint64_t n_lost;         /* Guards that went away under this agent. */
    uint64_t n_freezes, n_thaws, n_kills;
    bool measured;                   /* A freeze was: */
    int64_t late_ns_max;             /* worst frozen-at minus deadline; negative is in time. */
    uint64_t margins[GUARD_MARGINS]; /* Cumulative, of VIEW_GUARD_MARGINS. */
    uint64_t n_margins;
    double sum_margins_s;
};

struct view_op {              /* ops/: one sequence at a time. */
    enum node_action running; /* ACTION_NONE = none. */
    uint64_t order;           /* CLONE: of the operator it is made for; 0 = none's. */
    char step[NAME_SIZE];
    char progress[32]; /* Of a copy: "27 %, 12.3 MB/s"; empty = not known. */
    uint64_t started_ms;
    enum node_action last;     /* The one that ended last. */
    char last_rule[NAME_SIZE]; /* The rule that started `last` (node_decision.rule). */
    bool last_failed;
    uint64_t last_order;     /* As `order`. */
    uint32_t n_failures;     /* Of `last`, in a row. */
    uint64_t retry_ms;       /* Not before this (back-off). */
    uint64_t prepared_epoch;    /* pre_promote let a promotion of that epoch pass, and none was
                                 * made since; 0 = it did not. */
    uint32_t n_rewind_failures; /* Of REWIND to rewind_timeline, in a row. */
    uint32_t rewind_timeline;
    char problem[TEXT_SIZE]; /* Why it failed. */
};

struct view_peer {
    struct status status;   /* The newest; .id 0 = none received yet. */
    uint32_t reach_timeline; /* The furthest position it ever told of: a restarted agent first */
    lsn_t reach_lsn;         /* says less than the one before it did. lookup_note_reach(). */
    uint64_t told_term;     /* The highest it ever told of under that id, */
    uint64_t told_index;    /* and had applied. core/continuity.h. */
    uint64_t received_ms;   /* When it came in. */
    uint64_t idle_since_ms; /* Every status since, without a gap, said that it runs as standby and
                             * does not stream; 0 = not so. */
    bool connected;
    struct positions positions; /* The newest answer. */
    uint64_t positions_ms;      /* When it came in; 0 = never. */
};

struct view {
    uint64_t now_ms;
    int64_t wall_us;
    struct view_conf conf;
    struct view_self self;
    struct view_raft raft;
    struct view_lease lease;
    struct view_pg pg;
    struct view_sync sync;
    struct view_guard guard;
    struct view_op op;
    uint32_t n_peers; /* Others, never this node. */
    struct view_peer peers[MEMBERS_MAX];
    uint64_t positions_asked_ms; /* When the present epoch's positions were asked; 0 = not. */
    uint64_t proposed_ms[COMMAND_KINDS]; /* When this node last handed a command of that kind to
                                          * consensus, whatever became of it; 0 = never. */
    const struct store *store;           /* This node's applied copy; never NULL. */
};

#endif
