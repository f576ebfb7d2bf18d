/*
 * Who may be primary: judged on the Raft leader only. A table of named rules,
 * first match wins, total; its golden file is tests/golden/cluster_rules.txt.
 * Beside it stands a second table, of how a pending request ends.
 */
#ifndef VECHE_CORE_CLUSTER_RULES_H
#define VECHE_CORE_CLUSTER_RULES_H

#include "core/facts.h"

enum cluster_act {
    CLUSTER_NOTHING,
    CLUSTER_CREATES,     /* cluster-create */
    CLUSTER_ADOPTS,      /* cluster-init with the database that was found */
    CLUSTER_INITIALIZES, /* epoch-take that makes a database */
    CLUSTER_TAKES,       /* epoch-take */
    CLUSTER_TRANSFERS,   /* Raft leadership goes to another voter. */
    CLUSTER_NOTES,       /* A refusal, for the ledger. */
    CLUSTER_ACTS
};

struct cluster_rule {
    const char *name;
    uint64_t all;
    uint64_t none;
    enum cluster_act act;
    const char *why;
};

extern const struct cluster_rule cluster_rules[];
extern const size_t cluster_rules_n;
extern const struct impossible cluster_impossible[];
extern const size_t cluster_impossible_n;

const char *cluster_act_name(enum cluster_act act);

const struct cluster_rule *cluster_rules_match(uint64_t bits);

/* What the rules of the cluster look at, from one view. */
struct cluster_facts {
    uint64_t bits;
    uint32_t n_candidates;
    struct candidate candidates[MEMBERS_MAX]; /* Best first. */
    struct candidate chosen;                  /* Who is to be owner; empty name = nobody. */
    struct candidate ordered;                 /* Verdict on whom an operator ordered; or empty. */
    uint64_t sysid;                           /* The one database found. */
    uint32_t timeline;                        /* Its newest timeline. */
    char initializer[NAME_SIZE];
    node_id transfer_to;
    char evidence[TEXT_SIZE]; /* Of what formation still waits for. */
    uint64_t timer_ms;        /* When TIMER_OVER begins. */
    uint64_t recovery_ms;     /* When waiting for the last owner ends. */
};

void cluster_facts_gather(const struct view *view, struct cluster_facts *ret_facts);

/* Fills d->cluster and adds commands. */
void cluster_rules_decide(const struct view *view, struct decision *d);

/* Who is to vote: fills d->voters. Only on the leader. */
void voter_rules_decide(const struct view *view, const struct cluster_facts *f, struct decision *d);

enum voter_act { VOTER_NOTHING, VOTER_REMOVE, VOTER_NAME, VOTER_ADD };
struct voter_rule_info {
    const char *name;
    enum voter_act act;
    const char *why;
};
/* For the golden file; NULL behind the last. */
const struct voter_rule_info *voter_rule_info(size_t i);

/* How a pending request ends, if it does now: adds request-end. Only on the leader. */
void request_rules_decide(const struct view *view, const struct cluster_facts *facts,
                          struct decision *d);

struct request_rule_info {
    const char *name;
    bool done;
    const char *why;
};
/* For the golden file; NULL behind the last. */
const struct request_rule_info *request_rule_info(size_t i);

#endif
