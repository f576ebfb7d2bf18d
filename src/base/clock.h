/*
 * The only place that reads a clock. Everyone else takes `now` as an argument,
 * which is what lets the core run on virtual time.
 */
#ifndef VECHE_BASE_CLOCK_H
#define VECHE_BASE_CLOCK_H

#include "base/base.h"

#define CLOCK_TEXT_SIZE 40

/* The two clocks the lease counts with (design.md section 5, Clock). */
struct clock_pair {
    uint64_t raw_ns;  /* CLOCK_MONOTONIC_RAW: is not slewed; stops in suspend. */
    uint64_t boot_ns; /* CLOCK_BOOTTIME: is slewed; counts suspension. */
};

struct clock_pair clock_pair_now(void);

/* The moment that is duration_ns after t; saturates. */
struct clock_pair clock_pair_add(struct clock_pair t, uint64_t duration_ns);

/* Elapsed as an owner counts it: the larger of the two. A clock that went backwards
 * counts as if everything had elapsed. */
uint64_t clock_pair_elapsed_ns(struct clock_pair since, struct clock_pair now);

/* Left until the deadline as an owner counts it: the smaller; 0 if over on either. */
uint64_t clock_pair_left_ns(struct clock_pair deadline, struct clock_pair now);

/* CLOCK_BOOTTIME in milliseconds: intervals, deadlines, ticks. */
uint64_t clock_ms(void);

/* Wall clock, microseconds since 1970, for people only. */
int64_t clock_wall_us(void);

/* "2026-08-01T10:00:00.123456+00:00" in UTC. Returns text. */
const char *clock_format_iso(int64_t wall_us, char *text, size_t size);

/* "2026-08-01T12:00:00.5+02:00"; also with a blank for the T, without seconds, with Z, +02, +0200.
 * *ret_has_zone false: it was read as UTC. False: no such moment, 1970 to 9999. */
MUST_USE bool clock_parse_iso(const char *text, int64_t *ret_wall_us, bool *ret_has_zone);

#endif
