/*
 * Starting the postmaster through the guard. The guard refuses while it sees processes,
 * and it sees a moment later than we do that they are gone: a start waits for that.
 */
#include <errno.h>

#include "agent/agent_state.h"

#define LAUNCH_LIMIT_MS 5000 /* For the guard to see that nothing is left. */

struct launch { /* A start that waits for the guard. */
    struct agent *agent;
    struct pg_launch how; /* Pointers are ours. */
    pg_launched_cb cb;
    void *cb_data;
    uint64_t until_ms;
};

static const char **copy_texts(const char *const *texts)
{
    const char **copy;
    size_t n = 0;

    while (texts[n] != NULL) {
        n++;
    }
    copy = xmalloc((n + 1) * sizeof(*copy));
    for (size_t i = 0; i < n; i++) {
        copy[i] = xstrdup(texts[i]);
    }
    return copy;
}

static void free_texts(const char *const *texts)
{
    for (size_t i = 0; texts[i] != NULL; i++) {
        free((void *)(uintptr_t)texts[i]);
    }
    free((void *)(uintptr_t)texts);
}

static void end_launch(struct launch *l, pid_t pid, int pidfd, const char *problem)
{
    struct agent *a = l->agent;
    pg_launched_cb cb = l->cb;
    void *cb_data = l->cb_data;

    a->guarding.launch = NULL;
    free((void *)(uintptr_t)l->how.path);
    free((void *)(uintptr_t)l->how.cwd);
    free_texts(l->how.argv);
    free_texts(l->how.env);
    free(l);
    cb(cb_data, pid, pidfd, problem);
    agent_mark_dirty(a);
}

static void on_started(void *data, const struct guard_started *started, int pidfd)
{
    struct launch *l = data;
    char problem[ERR_TEXT_SIZE] = "the guard was lost";

    if (started != NULL && started->verdict == GUARD_ACCEPTED && started->pid > 0 && pidfd >= 0) {
        end_launch(l, started->pid, pidfd, "");
        return;
    }
    if (pidfd >= 0) {
        (void)close(pidfd); /* Of something that did not start. */
    }
    if (started != NULL && started->verdict != GUARD_ACCEPTED) {
        (void)snprintf(problem, sizeof(problem), "the guard refuses: %s",
                       guard_verdict_name(started->verdict));
    } else if (started != NULL) {
        (void)snprintf(problem, sizeof(problem), "%s: %s", started->step,
                       strerror(started->errnum));
    }
    end_launch(l, 0, -1, problem);
}

void agent_guard_try_launch(struct agent *a, uint64_t now_ms)
{
    struct guarding *g = &a->guarding;
    struct launch *l = g->launch;
    struct err err = {""};
    struct guard_client_start start;

    if (l == NULL || l->until_ms == 0) {
        return; /* None, or asked already. */
    }
    if ((!guard_client_is_up(g->client) ||
         guard_client_state(g->client)->logic.phase != GUARD_EMPTY) &&
        now_ms < l->until_ms) {
        return;
    }
    start = (struct guard_client_start){.as_primary = l->how.as_primary,
                                        .path = l->how.path,
                                        .argv = l->how.argv,
                                        .env = l->how.env,
                                        .output_fd = l->how.output_fd,
                                        .cwd = l->how.cwd};
    l->until_ms = 0;
    if (guard_client_start(g->client, &start, on_started, l, &err) != 0) {
        end_launch(l, 0, -1, err.text);
    }
}

/* pg_guard.launch. output_fd stays open until cb. */
int agent_guard_launch(void *data, const struct pg_launch *how, pg_launched_cb cb, void *cb_data,
                       struct err *err)
{
    struct agent *a = data;
    struct launch *l;

    if (a->guarding.launch != NULL) {
        return err_set(err, "the guard is already asked to start it");
    }
    l = xmalloc(sizeof(*l));
    *l = (struct launch){.agent = a,
                         .how = *how,
                         .cb = cb,
                         .cb_data = cb_data,
                         .until_ms = clock_ms() + LAUNCH_LIMIT_MS};
    l->how.path = xstrdup(how->path);
    l->how.cwd = xstrdup(how->cwd);
    l->how.argv = copy_texts(how->argv);
    l->how.env = copy_texts(how->env);
    a->guarding.launch = l;
    agent_mark_dirty(a); /* The tick asks. */
    return 0;
}

void agent_guard_end_launch(struct agent *a)
{
    if (a->guarding.launch != NULL && a->guarding.launch->until_ms != 0) {
        end_launch(a->guarding.launch, 0, -1, "the agent leaves");
    }
}
