/*
 * Whom the OOM killer chooses: /proc/self/oom_score_adj, from -1000 (never) to 1000. The guard
 * goes as low as it may, what it and the agent start is not to be protected. Nobody may go
 * below what one with CAP_SYS_RESOURCE wrote last: in a container that was raised not even
 * to 0.
 */
#ifndef VECHE_GUARD_GUARD_OOM_H
#define VECHE_GUARD_GUARD_OOM_H

#include "base/base.h"

#define GUARD_OOM_NEVER (-1000)

/* How the score is read and written; the tests have a kernel of their own. Both return 0, or
 * -1 with errno. */
struct guard_oom {
    int (*read)(void *data, int *ret);
    int (*write)(void *data, int score);
    void *data;
};

/* As low as it may be, never higher than it is. False: not below 0, with errno of the last
 * try. */
MUST_USE bool guard_oom_lower(const struct guard_oom *o);
/* A protection is given up, nothing else is changed. 0, or -1 with errno. */
MUST_USE int guard_oom_raise(const struct guard_oom *o);

/* Of the calling process. */
extern const struct guard_oom guard_oom_own;

#endif
