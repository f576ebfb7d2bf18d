/*
 * What the synchronous state of the store says about a member (design.md
 * section 4, S2). It only reads; who changes it is decided elsewhere.
 */
#ifndef VECHE_CORE_SYNCSET_H
#define VECHE_CORE_SYNCSET_H

#include "store/store.h"

/* It may own the next epoch without an operator's order. */
bool syncset_allows(const struct store *store, const char *name);

/* It is a named synchronous standby of the last primary: it holds every
 * acknowledged commit, so the lag bound does not apply to it. With a quorum
 * no single name is sure to. */
bool syncset_confirms(const struct store *store, const char *name);

#endif
