/*
 * The only source of chance. A generator is a value: seeded once (by the
 * system for the daemon, by a number for a simulation), then deterministic.
 * xoshiro256** seeded by splitmix64 (Blackman and Vigna, 2018). Not for keys.
 */
#ifndef VECHE_BASE_RNG_H
#define VECHE_BASE_RNG_H

#include "base/base.h"

struct rng {
    uint64_t state[4]; /* Never all zero. */
};

void rng_seed(struct rng *r, uint64_t seed);

uint64_t rng_next(struct rng *r);

/* Uniform in [min, max]. */
uint64_t rng_between(struct rng *r, uint64_t min, uint64_t max);

/* A number from the kernel's generator, never zero; fit for ids. */
uint64_t rng_system(void);

#endif
