/*
 * What the guard takes for itself so that nothing holds it up: real-time priority, locked
 * memory, safety from the OOM killer. All of it may be denied (an unprivileged container
 * allows none): then it does without and says so.
 */
#ifndef VECHE_GUARD_GUARD_PRIVILEGES_H
#define VECHE_GUARD_GUARD_PRIVILEGES_H

#include "base/str.h"

struct guard_privileges {
    bool is_realtime;
    bool is_locked;
    bool is_spared; /* By the OOM killer. */
    uint64_t locked_bytes;
};

/* trouble: what was denied is added. */
void guard_privileges_take(struct guard_privileges *p, struct sbuf *trouble);

#endif
