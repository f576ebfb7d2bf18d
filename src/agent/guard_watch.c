/*
 * The section `watchdog:` of the configuration. The guard opens and feeds the device, while
 * PostgreSQL may write (guard/guard_watchdog.h); here it is told what is configured, and with
 * mode `required` nothing is made a primary before the guard says that it feeds one. A node
 * that can see beforehand that there will be none says so to the others, and is no candidate.
 *
 * A primary that runs is left alone, whatever becomes of its watchdog: it has its guard.
 */
#include <errno.h>
#include <fcntl.h>

#include "agent/agent_state.h"
#include "base/str.h"

#define LOOK_AGAIN_MS 1000
#define TTL_MS_MIN    2000 /* Half of it is the shortest timeout there is. */

static enum guard_watchdog_mode mode_of(enum conf_watchdog mode)
{
    switch (mode) {
    case CONF_WATCHDOG_OFF:
        return GUARD_WATCHDOG_OFF;
    case CONF_WATCHDOG_AUTOMATIC:
        return GUARD_WATCHDOG_AUTOMATIC;
    case CONF_WATCHDOG_REQUIRED:
        return GUARD_WATCHDOG_REQUIRED;
    }
    return GUARD_WATCHDOG_OFF;
}

bool agent_watch_configure(struct agent *a, const struct conf *c)
{
    struct watching *w = &a->guarding.watch;
    struct guard_watch told = {.mode = mode_of(conf_watchdog(c)),
                               .safety_margin_s = (int32_t)c->watchdog_safety_margin,
                               .is_testing = str_equal(c->watchdog_driver, "testing")};
    bool is_same;

    if (!str_copy(told.path, sizeof(told.path), c->watchdog_device)) {
        told.path[0] = '\0'; /* Nothing has so long a name: it can not be opened. */
    }
    is_same = told.mode == w->told.mode && told.safety_margin_s == w->told.safety_margin_s &&
              told.is_testing == w->told.is_testing && str_equal(told.path, w->told.path);
    w->told = told;
    w->looked_ms = 0;
    agent_watch_look(a, clock_ms());
    if (!is_same) {
        agent_watch_tell(a);
    }
    return !is_same;
}

void agent_watch_tell(struct agent *a)
{
    if (a->guarding.client != NULL) {
        (void)guard_client_watch(a->guarding.client, &a->guarding.watch.told); /* Else on_up. */
    }
}

/* Devices are in memory: this does not wait for a disk. */
void agent_watch_look(struct agent *a, uint64_t now_ms)
{
    struct watching *w = &a->guarding.watch;

    if (w->told.mode != GUARD_WATCHDOG_REQUIRED ||
        (w->looked_ms != 0 && now_ms < w->looked_ms + LOOK_AGAIN_MS)) {
        return;
    }
    w->looked_ms = now_ms;
    w->errnum = faccessat(AT_FDCWD, w->told.path, W_OK, AT_EACCESS) == 0 ? 0 : errno;
}

bool agent_watch_lets(const struct agent *a, struct err *err)
{
    const struct watching *w = &a->guarding.watch;
    const struct guard_client *client = a->guarding.client;
    const struct guard_state *s = client != NULL ? guard_client_state(client) : NULL;

    if (s == NULL || w->told.mode != GUARD_WATCHDOG_REQUIRED ||
        (guard_client_is_up(client) && s->watchdog_is_active)) {
        return true;
    }
    if (a->dynamic.ttl_ms < TTL_MS_MIN) {
        (void)err_set(err,
                      "watchdog.mode is required, and no watchdog fits into a ttl of %llu ms: 2 s "
                      "at least",
                      (unsigned long long)a->dynamic.ttl_ms);
        return false;
    }
    if (w->errnum != 0) {
        (void)err_set_errno(err, w->errnum, "watchdog.mode is required, and there is none: %s",
                            w->told.path);
        return false;
    }
    if (guard_client_is_up(client) && s->watchdog_problem[0] != '\0') {
        (void)err_set(err, "watchdog.mode is required, and there is none: %s", s->watchdog_problem);
        return false;
    }
    return true;
}
