/*
 * Callbacks: the operator's commands for what happens to PostgreSQL, as Patroni calls
 * them: `<command> <action> <role> <scope>`. Which one follows is in hook_rules.h; this runs
 * them. They run beside everything else and nothing waits for them:
 *
 *  - one at a time: a new one kills the one that runs, with all it started; on_reload has a
 *    slot of its own;
 *  - one that does not end within HOOK_LIMIT_MS is killed;
 *  - what was told last, and whether its command has ended, stands in a mapped file of the
 *    runtime directory: an agent that starts beside a running PostgreSQL tells nothing again,
 *    but runs what was cut off by the end of the agent before it (at least once), after it
 *    has killed what is left of it.
 */
#ifndef VECHE_OPS_HOOKS_H
#define VECHE_OPS_HOOKS_H

#include "ops/hook_rules.h"
#include "pg/pg.h"

#define HOOK_LIMIT_MS HOURS(1)
#define HOOK_LEAVE_MS SECONDS(10) /* An on_stop that runs when the agent leaves has so long. */

struct hooks;

/* `path`: of the file. `instance`: of this boot; what another boot was told does not count.
 * Without the file it goes on, with a warning. */
struct hooks *hooks_new(struct pg *pg, const char *path, uint64_t instance);

/* Calls what follows from what is seen, once. Returns when to call again at the latest. */
uint64_t hooks_tick(struct hooks *h, const struct hook_seen *seen, uint64_t now_ms);

/* PostgreSQL was told to read its configuration again. */
void hooks_reloaded(struct hooks *h, uint64_t now_ms);

/* The agent leaves: what runs is killed, an on_stop only after HOOK_LEAVE_MS. Call it until
 * hooks_is_idle. */
void hooks_leave(struct hooks *h, uint64_t now_ms);
bool hooks_is_idle(const struct hooks *h);
/* Only when idle; before the pg it was made with is closed. */
void hooks_free(struct hooks *h);

#endif
