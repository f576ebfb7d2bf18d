/*
 * What the synchronous state of the store says about a member (design.md
 * section 4, S2). It only reads; who changes it is decided elsewhere.
 */
#ifndef VECHE_CORE_SYNCSET_H
#define VECHE_CORE_SYNCSET_H

#include "core/view.h"

/* It may own the next epoch without an operator's order. */
bool syncset_allows(const struct store *store, const char *name);

/* Whether the state is such that `name` may begin to take writes in that mode: its own,
 * or none without a mode. */
bool syncset_is_of(const struct store *store, enum sync_mode mode, const char *name);

/* It is the last primary or a named synchronous standby of it: it holds every
 * acknowledged commit, so the lag bound does not apply to it. With a quorum
 * no single standby is sure to. */
bool syncset_confirms(const struct store *store, const char *name);

#endif
