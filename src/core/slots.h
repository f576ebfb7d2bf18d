/*
 * Replication slots: which of them a node is to have, and what becomes of each that is
 * there or wanted. Pure: pg/pg_slots.c looks, asks here slot by slot, and does it.
 *
 * Wanted are one physical slot for every other member, until it has been absent for
 * member_slots_ttl, and the permanent ones of the dynamic configuration. A slot that
 * nobody here knows is never dropped, one that is in use is never touched.
 */
#ifndef VECHE_CORE_SLOTS_H
#define VECHE_CORE_SLOTS_H

#include "core/view.h"

#define SLOTS_PERMANENT_MAX STATUS_SLOTS_MAX
#define SLOTS_IGNORED_MAX   32
#define SLOTS_WANTED_MAX    (MEMBERS_MAX + SLOTS_PERMANENT_MAX)

/* From here on PostgreSQL itself keeps a standby's logical slots as they are on the primary. */
#define SLOTS_MAJOR_SYNCS 17

enum slot_type {
    SLOT_ANY, /* Of an entry of ignore_slots only. */
    SLOT_PHYSICAL,
    SLOT_LOGICAL,
};

/* Of the configuration; of an entry of ignore_slots, what is empty fits all. */
struct slot_spec {
    char name[NAME_SIZE];
    enum slot_type type;
    char database[NAME_SIZE], plugin[NAME_SIZE];
};

struct slots_conf {
    uint32_t n_permanent;
    struct slot_spec permanent[SLOTS_PERMANENT_MAX];
    uint32_t n_ignored;
    struct slot_spec ignored[SLOTS_IGNORED_MAX];
};

struct slot_seen { /* A row of pg_replication_slots. */
    struct slot_spec spec;
    bool active;
    bool synced;     /* PostgreSQL 17: of a standby, kept by its own synchronization. */
    bool failover;   /* PostgreSQL 17: standbys may synchronize it. */
    bool lost;       /* wal_status: of no use any more. */
    bool has_xmin;   /* It keeps vacuum from removing rows, here and where feedback goes. */
    lsn_t restart;   /* 0 = reserves nothing. */
    lsn_t confirmed; /* Logical: what its consumer has. */
};

struct slot_wanted {
    struct slot_spec spec;
    bool is_member;
    lsn_t lsn;            /* WAL before it is not needed any more, as far as told: what a member has
                           * flushed, where a permanent slot of the primary is; 0 = not told. */
    bool comes_here;      /* Of a member that is to stream from this node. */
    bool waits;           /* Of a member that is silent, and not for long enough yet. */
    char also[NAME_SIZE]; /* Somebody else who claims the name and does not get it; empty = nobody.
                           */
};

struct slots_wanted {
    uint32_t n;
    struct slot_wanted items[SLOTS_WANTED_MAX];
};

struct slot_place {    /* The server they are on. */
    const char *own;   /* Name of the member. */
    uint64_t since_ms; /* Absence is counted from here at the earliest. */
    bool in_recovery;
    bool paused;
    uint32_t major; /* PostgreSQL's version. */
    lsn_t end;      /* A standby has replayed, a primary flushed so far. */
    bool may_step; /* The last step forward is a while ago: one that frees a segment may be made, */
    bool may_creep; /* a long while: any. */
};

enum slot_action {
    SLOT_KEEP,
    SLOT_CREATE,
    SLOT_DROP,
    SLOT_REMAKE, /* Drop and create: it is of no use, or reserves nothing. */
    SLOT_ADVANCE,
};

struct slot_decision {
    enum slot_action action;
    const char *rule, *why; /* Constants. */
    bool is_trouble;        /* Kept, and an operator should know. */
    lsn_t to;               /* SLOT_ADVANCE. */
};

const char *slot_action_name(enum slot_action action);

/* "pg-1" -> "pg_1" as Patroni maps names to slot names. size at least NAME_SIZE. */
const char *slot_name(const char *member, char *text, size_t size);

/* Of the view: store, peers, times, own timeline and tags. */
void slots_want(const struct view *view, const struct slots_conf *conf,
                const struct slot_place *place, struct slots_wanted *ret_wanted);

/* NULL: not wanted. */
const struct slot_wanted *slots_find(const struct slots_wanted *wanted, const char *name);

bool slots_ignore(const struct slots_conf *conf, const struct slot_seen *seen);

/*
 * wanted or seen may be NULL, not both. `is_known`: it was wanted by this process once and is
 * ours to drop. `is_ignored`: slots_ignore().
 */
struct slot_question {
    const struct slot_wanted *wanted;
    const struct slot_seen *seen;
    bool is_known, is_ignored;
};
void slot_decide(const struct slot_place *place, const struct slot_question *question,
                 struct slot_decision *ret_decision);

/* For tests: the decision of a set of facts, and the facts by their numbers. */
#define SLOT_FACTS(X)                                                                            \
    X(EXISTS)                                                                                    \
    X(ACTIVE)                                                                                    \
    X(WANTED)                                                                                    \
    X(LOGICAL) X(OTHER) X(PAUSED) X(STANDBY) X(SYNCED) X(UNSYNCABLE) X(BROKEN) X(TOLD) X(BEHIND) \
        X(KNOWN) X(IGNORED)

enum slot_fact {
#define SLOT_FACT_BIT(name) SLOT_FACT_##name##_BIT,
    SLOT_FACTS(SLOT_FACT_BIT)
#undef SLOT_FACT_BIT
        SLOT_N_FACTS
};
void slot_decide_facts(unsigned facts, struct slot_decision *ret_decision);

#endif
