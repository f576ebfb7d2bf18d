/*
 * Facts: what the rules look at, each a bit with a name and a meaning. A fact
 * is either true or false of a view; everything that needs arithmetic, a
 * search or a deadline is done here, so that a rule is nothing but facts.
 * Beside the bits stands what a rule's answer needs: names, positions.
 */
#ifndef VECHE_CORE_FACTS_H
#define VECHE_CORE_FACTS_H

#include "core/candidate.h"
#include "core/decide.h"

/* clang-format off */
#define NODE_FACTS(X) \
    /* enumerator         name                meaning */ \
    X(WITNESS,            "witness",            "this node has no PostgreSQL") \
    X(STOPPING,           "stopping",           "the agent was told to stop") \
    X(PAUSED,             "paused",             "the cluster is paused") \
    X(CAUGHT_UP,          "caught-up",          "this node's copy of the store is up to date") \
    X(OWNER_ME,           "owner-me",           "the store names this node, and this boot of it, as owner") \
    X(OWNER_OTHER,        "owner-other",        "the store names another node as owner") \
    X(LEASE,              "lease",              "we hold the lease of the present epoch, and the guard has confirmed a deadline that is still ahead") \
    X(HELD,               "held",               "the store says that the present epoch has held a lease") \
    X(UNFENCED,           "unfenced",           "the store marks the present epoch as unfenced (pause), and it is ours, of this boot or one before") \
    X(ARMED,              "armed",              "the guard is armed: it would freeze PostgreSQL at the end of the lease") \
    X(UNTOUCHED,          "untouched",          "nobody has ever held a lease in this cluster") \
    X(ADOPTED,            "adopted",            "PostgreSQL ran when this agent started, less than ttl ago, our promise to ourselves still runs, and nobody else is owner") \
    X(CONTINUED,          "continued",          "we hold the lease of the epoch this agent was restarted in, or the guard was told then that it is unfenced; Raft has not told yet whether it is the present one") \
    X(INIT_RUNNING,       "init-running",       "the owner of the present epoch makes the database") \
    X(INIT_DONE,          "init-done",          "the cluster has a database") \
    X(MAY_WRITE,          "may-write",          "PostgreSQL takes writes, or will by itself") \
    X(FROZEN,             "frozen",             "the guard has frozen PostgreSQL, or is about to") \
    X(PG_STOPPED,         "pg-stopped",         "no process of the data directory is left") \
    X(LEFT_OVERS,         "left-overs",         "the postmaster is gone, processes of it are not") \
    X(RUNS_PRIMARY,       "runs-primary",       "PostgreSQL runs out of recovery") \
    X(RUNS_STANDBY,       "runs-standby",       "PostgreSQL runs in recovery") \
    X(WAS_PRIMARY,        "was-primary",        "PostgreSQL took writes when it ended") \
    X(CLEAN,              "clean",              "PostgreSQL was shut down cleanly") \
    X(DATA_GOOD,          "data-good",          "the data directory is valid") \
    X(DATA_MISSING,       "data-missing",       "the data directory is empty or was left incomplete") \
    X(DATA_STRANGE,       "data-strange",       "something else is in the data directory") \
    X(OTHER_SYSID,        "other-sysid",        "the data directory belongs to another database") \
    X(DIVERGED,           "diverged",           "our WAL goes beyond where our timeline ended") \
    X(NEEDS_REWIND,       "needs-rewind",       "we diverged, seen for long enough to be sure; or a rewind was cut off here") \
    X(REWINDABLE,         "rewindable",         "pg_rewind is wanted, and possible with this data and this primary") \
    X(REWIND_GIVEN_UP,    "rewind-given-up",    "pg_rewind failed too often with this timeline of the primary") \
    X(SOURCE_READY,       "source-ready",       "the primary has checkpointed since its promotion") \
    X(DISCARD,            "discard",            "configuration says to discard what can not be rewound") \
    X(UNSURE,             "unsure",             "we took writes and it is not known yet where our timeline ended") \
    X(NEWEST_TIMELINE,    "newest-timeline",    "ours is the newest declared timeline, by us, and no newer one is known") \
    X(OLD_PRIMARY,        "old-primary",        "PostgreSQL runs out of recovery on an older timeline than the declared one") \
    X(OFF_LINE,           "off-line",           "our WAL is not of the declared line") \
    X(DECLARED,           "declared",           "we declared in this epoch what a promotion here would write") \
    X(PRIMARY_RUNS,       "primary-runs",       "another node runs as primary with the lease") \
    X(UPSTREAM_WRONG,     "upstream-wrong",     "we follow somebody else than the running primary; as owner: anybody, or may") \
    X(OP_KEEPS,           "op-keeps",           "a sequence runs that still makes sense") \
    X(OP_CLEANS,          "op-cleans",          "a sequence runs that ends left-over processes itself") \
    X(OP_MAKES_PRIMARY,   "op-makes-primary",   "a sequence is about to make PostgreSQL take writes") \
    X(OP_BOOTSTRAPS,      "op-bootstraps",      "a new database is being made here") \
    X(QUIET,              "quiet",              "no process of PostgreSQL and no sequence runs") \
    X(START_FAILED,       "start-failed",       "the last start or promotion failed, or a step before it: to nobody, pre_promote") \
    X(START_OVERDUE,      "start-overdue",      "the start as primary takes longer than primary_start_timeout") \
    X(STUCK,              "stuck",              "stopped: the start as primary was cut off because it took too long; else: PostgreSQL has not answered for 10 s, nor once since we got the lease") \
    X(HEIR,               "heir",               "another member could take over now") \
    X(REQUEST,            "request",            "a switchover or failover away from us is due") \
    X(TARGET,             "target",             "the member it is for could take over now") \
    X(HANDING_OVER,       "handing-over",       "we stopped for it a moment ago") \
    X(ORDERED,            "ordered",            "an operator's order by name is under way here: to hand over, to take over, or to be standby after it") \
    X(HOPELESS,           "hopeless",           "no lease for as long as the arbiter waits before it takes over") \
    X(LONG_WITHOUT,       "long-without",       "no lease for more than two ttl") \
    X(POSITIONS,          "positions",          "everybody who can answer told its position since we got the lease") \
    X(BETTER,             "better",             "another member has more WAL and could take over") \
    X(LAGS,               "lags",               "we miss more WAL than maximum_lag_on_failover allows") \
    X(SYNC_MINE,          "sync-mine",          "the store lets nobody take over whom the synchronous mode forbids once we take writes") \
    X(BARRED,             "barred",             "our tags forbid promotion") \
    X(FORCED,             "forced",             "an operator ordered this node by name") \
    X(CHECKPOINT_DUE,     "checkpoint-due",     "promoted, and not checkpointed since") \
    X(RELEASE_OVERDUE,    "release-overdue",    "the release was waited for long enough") \
    X(SAID,               "said",               "the store shows this node as stopped, or that was waited for long enough")

#define CLUSTER_FACTS(X) \
    X(C_LEADER,           "leader",             "this node is the Raft leader") \
    X(C_READY,            "ready",              "its copy of the store is up to date") \
    X(C_CREATED,          "created",            "the cluster's first command was applied") \
    X(C_PAUSED,           "paused",             "the cluster is paused") \
    X(C_OWNER_CUT,        "owner-cut",          "we do not hear the owner of a live lease, another voter does") \
    X(C_VOTER_CUT,        "voter-cut",          "we have not heard a voter for a ttl, another voter hears it, and more voters than we do") \
    X(C_INIT_NONE,        "init-none",          "there is no database yet") \
    X(C_INIT_RUNNING,     "init-running",       "the owner makes the database") \
    X(C_ALL_HEARD,        "all-heard",          "every voter was heard, and is listed as a member") \
    X(C_ALL_EMPTY,        "all-empty",          "no voter has a database") \
    X(C_ONE_DATABASE,     "one-database",       "voters have one database among them") \
    X(C_MANY_DATABASES,   "many-databases",     "voters have different databases") \
    X(C_INITIALIZER,      "initializer",        "somebody can make a database") \
    X(C_OWNED,            "owned",              "the present epoch has its owner") \
    X(C_UNFENCED,         "unfenced",           "the owner's PostgreSQL is not fenced (pause)") \
    X(C_PROMISES_OVER,    "promises-over",      "a majority of voters say they hold no live promise") \
    X(C_TIMER_OVER,       "timer-over",         "the present epoch had its time to get a lease") \
    X(C_GAVE_UP,          "gave-up",            "the last owner gave up by itself, a moment ago") \
    X(C_SUCCESSOR,        "successor",          "the release names a member that is eligible") \
    X(C_OWNER_RECOVERS,   "owner-recovers",     "the last owner is back and may still have WAL nobody else has") \
    X(C_CANDIDATE,        "candidate",          "somebody is eligible") \
    X(C_ORDERED,          "ordered",            "an operator's order names the one who would be next") \
    X(C_FORCED,           "forced",             "the one an operator ordered is eligible by that order only")
/* clang-format on */

#define FACT_ENUM(enumerator, name, meaning) FACT_##enumerator,
enum node_fact { NODE_FACTS(FACT_ENUM) NODE_FACTS_END };
enum cluster_fact { CLUSTER_FACTS(FACT_ENUM) CLUSTER_FACTS_END };
#undef FACT_ENUM

#define F(fact) (UINT64_C(1) << FACT_##fact)

struct fact_info {
    const char *name;
    const char *meaning;
};
extern const struct fact_info node_fact_infos[NODE_FACTS_END];
extern const struct fact_info cluster_fact_infos[CLUSTER_FACTS_END];

/* Worlds that can not be: all of `all` together with none of `none`. The tests
 * use them to prove things of the tables, and prove them of random views. */
struct impossible {
    uint64_t all;
    uint64_t none;
    const char *why;
};
extern const struct impossible node_impossible[];
extern const size_t node_impossible_n;

struct node_facts {
    uint64_t bits;
    struct upstream upstream; /* The running primary, if it is another node. */
    char target[NAME_SIZE];   /* Who takes over by request; empty without TARGET. */
    char refusals[TEXT_SIZE]; /* Why a request has no target. */
    char better[NAME_SIZE];   /* Who is better placed, with its position. */
    uint32_t source_timeline; /* Of the running primary, if it is another node. */
    uint32_t better_timeline;
    lsn_t better_lsn;
    bool better_is_silent; /* Somebody who did not answer has more, says its status. */
    bool ask_again;        /* The wait for positions is over, and there is one like that. */
    struct lag lag;
    uint64_t positions_until_ms; /* When waiting for positions ends; 0 = nothing was asked. */
    uint64_t lease_give_up_ms;   /* When waiting for a lease becomes hopeless. */
};

void node_facts_gather(const struct view *view, struct node_facts *ret_facts);

/* Why the data here can not be rewound to the running primary; NULL = it can. */
const char *facts_rewind_obstacle(const struct view *view);

/* "owner-me lease runs-standby", cut to size. Returns text. */
const char *facts_format(uint64_t bits, const struct fact_info *infos, size_t n, char *text,
                         size_t size);

/* ttl/2, doubled for each epoch before that never held a lease, at most 4 ttl. */
uint64_t facts_takeover_wait_ms(const struct view *view);

#endif
