/*
 * Chance, see rng.h.
 */
#include "base/rng.h"

#include <errno.h>
#include <sys/random.h>

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t value, unsigned n)
{
    return (value << n) | (value >> (64 - n));
}

void rng_seed(struct rng *r, uint64_t seed)
{
    for (size_t i = 0; i < ARRAY_LENGTH(r->state); i++) {
        r->state[i] = splitmix(&seed);
    }
}

uint64_t rng_next(struct rng *r)
{
    uint64_t *s = r->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t rng_between(struct rng *r, uint64_t min, uint64_t max)
{
    uint64_t span;
    uint64_t limit;
    uint64_t value;

    PRE(min <= max);
    span = max - min;
    if (span == UINT64_MAX) {
        return rng_next(r);
    }
    span++;
    limit = UINT64_MAX - UINT64_MAX % span; /* Rejects the uneven rest. */
    do {
        value = rng_next(r);
    } while (value >= limit);
    return min + value % span;
}

uint64_t rng_system(void)
{
    uint64_t value = 0;

    while (value == 0) {
        ssize_t n = getrandom(&value, sizeof(value), 0);

        ASSERT(n == (ssize_t)sizeof(value) || (n < 0 && errno == EINTR));
    }
    return value;
}
