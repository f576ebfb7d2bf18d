/*
 * Who could be the next primary, in which order, and for every other member
 * the one reason why not. The reasons are a table (candidate.c); their names
 * are permanent and appear in the ledger and in `vechectl`.
 */
#ifndef VECHE_CORE_CANDIDATE_H
#define VECHE_CORE_CANDIDATE_H

#include "base/str.h"
#include "core/decide.h"

struct candidate_question {
    const char *named;     /* Only this member is wanted; NULL or empty = any. */
    const char *preferred; /* First if eligible: named in a release; NULL or empty = none. */
    const char *without;   /* Member that hands over and is no candidate; NULL = none. */
    bool order;            /* `named` was ordered by an operator: passes lag, sync, line (S4). */
    bool running_only;     /* A stopped server is no candidate: somebody is to take over at once. */
    lsn_t must_have;       /* It must have flushed this; 0 = no such bound. */
    uint32_t must_timeline; /* On which `must_have` lies: elsewhere the number means nothing. */
    bool must_stream;       /* It must be streaming now. */
};

/* Judges every listed member: best first, then the refused by name. Returns
 * how many; each has exactly one verdict. */
uint32_t candidate_rank(const struct view *view, const struct candidate_question *question,
                        struct candidate candidates[MEMBERS_MAX]);

/* The best one, or NULL when nobody is eligible. */
const struct candidate *candidate_best(const struct candidate *candidates, uint32_t n);
const struct candidate *candidate_find(const struct candidate *candidates, uint32_t n,
                                       const char *name);

/* "pg2: lag (...); pg3: not-heard (...)", cut to size; all but the eligible. */
void candidate_explain_refused(const struct candidate *candidates, uint32_t n, char *text,
                               size_t size);

/* How many bytes that position misses, and whether the bound of
 * maximum_lag_on_failover refuses it. */
struct lag {
    bool exceeded;
    bool known;
    uint64_t bytes;
    lsn_t reach;
    char source[NAME_SIZE]; /* Of `reach`: a member, "progress" or "release". */
    uint64_t age_ms;        /* Since the source said so; UINT64_MAX = not known. */
};
void candidate_lag(const struct view *view, const char *name, uint32_t timeline, lsn_t position,
                   struct lag *ret_lag);

/* "misses 0 bytes up to 0/A00000 (pg1, 0.2 s ago)", or why that is not known. */
void candidate_explain_lag(const struct view *view, const struct lag *lag, uint32_t timeline,
                           struct sbuf *b);

/* Why a lag of data on that timeline is not known. */
void candidate_explain_unknown(const struct view *view, uint32_t timeline, struct sbuf *b);

#endif
