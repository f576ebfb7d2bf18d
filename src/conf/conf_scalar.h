/*
 * What a scalar means, as Patroni's users write it: YAML 1.1 booleans, numbers
 * with PostgreSQL's units, durations. Quotes make no difference: `on` and "on"
 * are both true where a boolean is expected. Private to src/conf; durations
 * and addresses are in conf.h. Outputs are untouched on failure.
 */
#ifndef VECHE_CONF_CONF_SCALAR_H
#define VECHE_CONF_CONF_SCALAR_H

#include "base/base.h"

#define CONF_QUORUM "quorum" /* A synchronous_mode that is read as on: it is not there yet. */

/* true/false, on/off, yes/no, y/n in any case; "1" and "0". */
MUST_USE bool conf_parse_bool(const char *text, bool *ret_value);

/* The words of conf_parse_bool without digits and single letters: what YAML 1.1
 * readers turn into a boolean when it is not quoted. */
MUST_USE bool conf_is_bool_word(const char *text, bool *ret_value);

/* 42, -1, +7, 0x1F, 0o644, 0644 (octal), 25_000_000. */
MUST_USE bool conf_parse_i64(const char *text, int64_t *ret_value);

/* Bytes: as conf_parse_i64, or a decimal number with B, kB, MB, GB or TB (of 1024). */
MUST_USE bool conf_parse_bytes(const char *text, int64_t *ret_bytes);

#endif
