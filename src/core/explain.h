/*
 * A decision as text for people: `vechectl why`, traces of the simulation.
 */
#ifndef VECHE_CORE_EXPLAIN_H
#define VECHE_CORE_EXPLAIN_H

#include "core/decide.h"

/* Several lines, cut to size, always terminated. Returns text. */
const char *explain_decision(const struct decision *d, char *text, size_t size);

#endif
