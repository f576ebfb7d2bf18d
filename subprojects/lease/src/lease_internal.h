/*
 * What the files of the library share and nobody else needs.
 */
#ifndef LEASE_INTERNAL_H
#define LEASE_INTERNAL_H

#include <stdlib.h>

#include "lease.h"

/* For bugs of ours or of the caller, never for what the world sends. On in
 * every build: going on with a broken rule is worse than a restart. */
#define LEASE_ASSERT(condition) \
    do {                        \
        if (!(condition)) {     \
            abort();            \
        }                       \
    } while (0)

/*
 * One rule broken on purpose, chosen when compiling a test. The tests pass only
 * if they catch every one of them: a check that cannot fail proves nothing. In a
 * real build no mutant is chosen and the conditions vanish.
 */
enum lease_mutant {
    LEASE_MUTANT_NONE = 0,
    LEASE_MUTANT_NO_QUARANTINE,    /* (c) without part (i): does not wait. */
    LEASE_MUTANT_NO_BARRIER,       /* (c) without part (ii): does not catch up. */
    LEASE_MUTANT_UNKNOWN_ROUND,    /* An unknown round counts for the newest. */
    LEASE_MUTANT_NO_PROMISE,       /* Without (a). */
    LEASE_MUTANT_NO_EPOCH,         /* Without (b). */
    LEASE_MUTANT_FROM_RECEIPT,     /* The lease counts from the answer. */
    LEASE_MUTANT_RELEASE_ALL,      /* A release forgets promises to other epochs. */
    LEASE_MUTANT_MINORITY,         /* Half of the voters is enough. */
    LEASE_MUTANT_OWN_SET,          /* Sets that voters name are ignored. */
    LEASE_MUTANT_NO_DRIFT,         /* Nothing is given away for drift. */
    LEASE_MUTANT_LARGER_GRANT,     /* The largest grant counts. */
    LEASE_MUTANT_ONE_CLOCK,        /* The voter's promise ends on BOOTTIME alone. */
    LEASE_MUTANT_FORGET_IN_FILE,   /* A restart with a good file forgets the promise. */
    LEASE_MUTANT_SHORTENS_PROMISE, /* A shorter grant cuts a longer promise. */
    LEASE_MUTANT_FAR_BEHIND,       /* Grants without what is before its last set but one. */
    /* Of the world around the library; built into the explorer. */
    LEASE_MUTANT_RELEASE_BEFORE_STOP, /* Released while the owner still writes. */
    /* And of voter changes. */
    LEASE_MUTANT_HASTE, /* No distance between two of them. */
};

#ifndef LEASE_MUTANT
#define LEASE_MUTANT LEASE_MUTANT_NONE
#endif

static inline bool lease_is_mutant(enum lease_mutant mutant)
{
    return mutant != LEASE_MUTANT_NONE && mutant == LEASE_MUTANT;
}

static inline uint64_t lease_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t lease_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* a - b, or 0. */
static inline uint64_t lease_sub(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* Takes what is known about voter sets: the rules of lease_voter_on_sets().
 * Returns whether anything changed. */
bool lease_sets_learn(struct lease_voter_set sets[2], uint8_t *n_sets,
                      const struct lease_voter_set *committed,
                      const struct lease_voter_set *logged);

/* Well-formed, and the second, if any, newer than the first. */
bool lease_sets_are_valid(const struct lease_voter_set sets[2], uint8_t n_sets);

#endif
