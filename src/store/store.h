/*
 * The replicated state. Every node holds the same copy at the same log index,
 * because only committed commands change it and store_apply() is a pure
 * function of the store and the command. Fixed size, no pointers, no heap:
 * may be copied, compared and cleared as bytes (what is unused is zero).
 *
 * What is here is what must survive every node's restart and be agreed on:
 * who is primary, who are the members, the configuration. Positions, lags and
 * health are not; they travel in status messages (core/status.h).
 */
#ifndef VECHE_STORE_STORE_H
#define VECHE_STORE_STORE_H

#include "base/err.h"
#include "store/types.h"

struct store_cluster {
    uint64_t id;           /* Drawn at formation; 0 = none yet. */
    char scope[NAME_SIZE]; /* The cluster's name. */
    enum init_state init;  /* Whether there is a database. */
    uint64_t sysid;        /* PostgreSQL's system identifier; 0 while unknown. */
};

struct store_primary {
    bool has_owner;        /* False: released, or never owned. */
    bool unfenced;         /* Paused with its guard disarmed: no next epoch. */
    bool held;             /* The owner said it held the lease of this epoch. */
    uint64_t epoch;        /* Of the owner, or the last one released. 0 = none yet. */
    char owner[NAME_SIZE]; /* Member name; after a release the last owner's. */
    node_id owner_id;
    uint64_t instance;      /* The owner's, at the time of the decision. */
    int64_t since_us;       /* Wall clock of the take or the release, for people. */
    char reason[TEXT_SIZE]; /* Its rule and evidence. */
    lsn_t released_lsn;     /* Where the last owner's WAL ended; 0 = unknown. */
    uint32_t released_timeline;
    char successor[NAME_SIZE]; /* Released in favour of this member; empty = of any. */
    uint32_t barren;           /* Epochs in a row, right before this one, that never held a lease
                                * (take-over back-off); 0 once this one did. */
};

/* A pooler in front of a member's PostgreSQL, for whoever looks for it. Apart from the rest,
 * as it came into commands and snapshots later. */
struct store_proxy {
    char url[HOST_SIZE]; /* postgres://host:port/database; empty = none. */
};

struct store_member {
    char name[NAME_SIZE];
    node_id id;
    enum node_mode mode;
    char raft_address[HOST_SIZE]; /* host:port of the peer port. */
    char api_url[HOST_SIZE];      /* http://host:port/patroni */
    char pg_host[HOST_SIZE];      /* Empty for a witness. */
    uint16_t pg_port;
    uint32_t pg_version; /* server_version_num; 0 = unknown. */
    char veche_version[NAME_SIZE];
    char glibc_version[NAME_SIZE]; /* Another one may sort text differently; empty = unknown. */
    bool nofailover, noloadbalance, clonefrom, nosync, nostream;
    uint32_t failover_priority; /* 1 = default; 0 counts as nofailover. */
    char replicatefrom[NAME_SIZE];
    char tags[TAGS_SIZE];     /* All tags as JSON, as configured, for display. */
    enum pg_state last_state; /* Said on a clean stop; shown while it is silent. */
    struct store_proxy proxy; /* Kept when the rest is set anew. */
};

struct store_sync {
    char primary[NAME_SIZE]; /* Whose synchronous set this is; empty = no sync mode. */
    uint32_t n_names;
    char names[SYNC_MAX][NAME_SIZE]; /* Members holding every acknowledged commit; sorted. */
    uint32_t quorum;                 /* 0: all of names. */
    uint64_t revision;               /* Grows with every change. */
};

struct store_request {
    uint64_t id; /* Log index that made it; 0 = none pending. */
    enum request_kind kind;
    char from[NAME_SIZE]; /* Expected primary; empty = any. */
    char to[NAME_SIZE];   /* Candidate; empty = the best one. */
    int64_t at_us;        /* Wall clock; 0 = now. */
    char who[HOST_SIZE];  /* Address or name of the one who asked. */
};

/* How the last request ended, so that whoever asked can be told. */
struct store_outcome {
    uint64_t request_id; /* 0 = none yet. */
    bool done;
    char text[TEXT_SIZE]; /* Why not; or who is primary now. */
};

/*
 * An operator's order for one member: to restart PostgreSQL, or to copy it anew. A member
 * has one that is due at once, and one that is scheduled. Ended it stays, so that whoever
 * asked can be told, until the next of its kind takes its place.
 */
struct store_order {
    uint64_t id; /* Log index that made it. */
    enum request_kind kind; /* REQUEST_RESTART or REQUEST_REINIT */
    char member[NAME_SIZE];
    int64_t at_us;        /* Wall clock; 0 = at once. */
    /* Reinit: "primary" = a copy of the primary by pg_basebackup. */
    char role[NAME_SIZE]; /* Restart only in that role, as Patroni names it; empty = in any, */
    uint32_t pg_version;  /* only a server older than that; 0 = of any version, */
    /* Reinit: whatever copies there already is cancelled. */
    bool pending_only;    /* only if a restart is pending. */
    uint64_t timeout_ms;  /* In the place of primary_start_timeout; 0 = that. */
    char who[HOST_SIZE];
    int64_t time_us; /* Wall clock of the asking. */
    bool begun;           /* Restart: it is to take the place of the server that */
    int64_t postmaster_us; /* was started then; 0 = none ran. */
    bool ended, done;
    char text[TEXT_SIZE]; /* Why not; or how it ended. */
};

struct store_history {
    uint32_t timeline; /* The one that ended. */
    lsn_t lsn;         /* Where it ended. */
    char reason[TEXT_SIZE];
    int64_t time_us;
    char new_primary[NAME_SIZE];
};

struct store_progress {
    lsn_t lsn; /* Last known WAL position of the primary, coarse. */
    uint32_t timeline;
    uint64_t epoch;  /* Of the primary that said so; within it lsn only grows. */
    int64_t time_us; /* Wall clock of the reading, for people. */
};

/*
 * The newest timeline that somebody was to write, declared before anything was
 * written on it: no number is ever used twice, and nobody goes on from an older
 * timeline without knowing that there may be more (docs/decisions/0005).
 */
struct store_line {
    uint64_t epoch;        /* In which it was declared; 0 = found with the database. */
    node_id owner_id;      /* Who writes it; 0 = the database was there before the cluster. */
    char owner[NAME_SIZE]; /* Its name then. */
    uint32_t timeline;     /* 0 = none known yet. */
    uint32_t parent;       /* What it forks from; 0 = unknown, or it is the first. */
    lsn_t lsn;             /* It forks there or a little later; 0 with parent 0. */
};

struct store_ledger_entry {
    uint64_t index;       /* Log index; 0 = empty slot. */
    uint64_t epoch;       /* Of the store once this was applied. */
    int64_t time_us;      /* Of the first, if it was counted more than once. */
    int64_t last_us;      /* Of the last; time_us while count is 1. */
    uint32_t count;       /* How often; only notes are counted. */
    bool note;            /* By ledger-add: nothing was changed by it (a refusal, mostly). */
    char node[NAME_SIZE]; /* Who decided. */
    char rule[NAME_SIZE]; /* Permanent name of the rule. */
    char evidence[TEXT_SIZE];
    char subject[NAME_SIZE]; /* The member it is about: new owner, successor, ...; may be empty. */
    char result[NAME_SIZE];  /* "epoch-taken", "epoch-forced", "refused", ... */
};

struct store {
    uint64_t applied_index; /* Of the last command applied. */

    struct store_cluster cluster;
    struct store_primary primary;
    uint32_t n_members;
    struct store_member members[MEMBERS_MAX]; /* Sorted by name. */
    struct store_sync sync;
    struct store_request request;
    struct store_outcome outcome;
    struct store_progress progress;
    struct store_line line;
    uint32_t n_orders;
    struct store_order orders[ORDERS_MAX];

    uint32_t n_history; /* The newest HISTORY_MAX, timelines ascending. */
    struct store_history history[HISTORY_MAX];

    uint64_t n_ledger; /* Ever written; slot of entry k is k % LEDGER_MAX. */
    struct store_ledger_entry ledger[LEDGER_MAX];

    uint64_t config_revision; /* 0 = never set. */
    uint32_t config_size;     /* Bytes of config, without the final zero. */
    char config[CONFIG_SIZE]; /* Dynamic configuration, canonical JSON. */
};

void store_init(struct store *s);

/* The member, or NULL. Valid until the next apply. */
const struct store_member *store_find_member(const struct store *s, const char *name);
const struct store_member *store_find_member_by_id(const struct store *s, node_id id);

/* The order that is not ended of that member, scheduled or not, or NULL. */
const struct store_order *store_find_order(const struct store *s, const char *member,
                                           bool scheduled);
/* Ended or not; NULL if it is not there any more. */
const struct store_order *store_find_order_by_id(const struct store *s, uint64_t id);

/* Field by field; unused bytes behind a text do not count. */
bool store_member_equal(const struct store_member *x, const struct store_member *y);

/* Whether the synchronous state lets that member be the next owner: without one
 * anybody, else its primary and its names; with an empty set only its primary
 * (S2). An operator's order passes it. */
bool store_sync_allows(const struct store *s, const char *name);

/* The k-th newest ledger entry, 0 being the newest; NULL when there is none. */
const struct store_ledger_entry *store_ledger_newest(const struct store *s, uint64_t k);

/* Checks every relation between the fields; NULL if all hold, else the name of
 * the one that does not. Asserted after every apply, checked after a restore. */
const char *store_broken_invariant(const struct store *s);

#endif
