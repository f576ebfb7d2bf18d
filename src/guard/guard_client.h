/*
 * The agent's side of the guard: finds the one of the runtime directory or spawns it,
 * asks, and hands on what it says. On the agent's loop; nothing here waits. What
 * follows from an answer, from silence or from the guard's death the agent decides.
 */
#ifndef VECHE_GUARD_GUARD_CLIENT_H
#define VECHE_GUARD_GUARD_CLIENT_H

#include <uv.h>

#include "base/err.h"
#include "guard/guard_protocol.h"

struct guard_client;

/* Called from the loop or from guard_client_drain(). What is told lives for the call. */
struct guard_client_hooks {
    /* The answer to hello, of each connection: what the guard holds and keeps for us. */
    void (*on_up)(void *data, const struct guard_state *state);
    void (*on_state)(void *data, const struct guard_state *state);
    /* `asked`: the arm that is answered. */
    void (*on_armed)(void *data, const struct guard_arm *asked, const struct guard_armed *answer);
    void (*on_ended)(void *data, const struct guard_ended *ended);
    void (*on_event)(void *data, const struct guard_event *event);
    /* The guard's process is gone. Another one is looked for, or spawned, at once. */
    void (*on_gone)(void *data);
};

struct guard_client_options { /* Copied, texts as well. */
    uv_loop_t *loop;
    const char *directory; /* runtime_dir */
    const char *program;   /* Of veche-guard; NULL: never spawn one. */
    const char *name;      /* Of the node, for its command line. */
    const char *data_dir;
    uint64_t kill_after_ns;
    uint64_t node_id;
    struct guard_client_hooks hooks;
    void *data;
};

struct guard_client *guard_client_new(const struct guard_client_options *options);
/* Neither the guard nor PostgreSQL notices. cb when the handles are closed. */
void guard_client_close(struct guard_client *c, void (*cb)(void *data), void *data);

/* Hello was answered, on the present connection. */
bool guard_client_is_up(const struct guard_client *c);
/* It knows of `unfenced`: version 2 of the protocol. */
bool guard_client_can_disarm(const struct guard_client *c);
/* It speaks the version before, and was there before us: another one is to take its place
 * when nothing runs below it. (One that we spawned would come back as it is.) */
bool guard_client_is_outdated(const struct guard_client *c);
/* What it said last; of another guard than the present one only while that is not up. */
const struct guard_state *guard_client_state(const struct guard_client *c);
/* Why there is no guard to talk to; empty = there is, or it is about to be. */
const char *guard_client_problem(const struct guard_client *c);

/* For how long the guard owes an answer, or there is none to ask; 0 = it owes none. */
uint64_t guard_client_silent_ns(const struct guard_client *c, struct clock_pair now);

/* Takes what it has said already: before a decision that its words may change. */
void guard_client_drain(struct guard_client *c);

/* False: not sent, there is no connection or too many are unanswered. */
bool guard_client_arm(struct guard_client *c, const struct guard_arm *arm,
                      const struct guard_kept *kept);
bool guard_client_close_epoch(struct guard_client *c, uint64_t epoch);
bool guard_client_adopt(struct guard_client *c, pid_t postmaster, bool may_write);
bool guard_client_kill(struct guard_client *c, enum guard_why why);
bool guard_client_ping(struct guard_client *c); /* Hello again: answered by a state. */
/* header: is filled in. */
bool guard_client_watch(struct guard_client *c, const struct guard_watch *watch);
bool guard_client_leave(struct guard_client *c);

struct guard_client_start {
    bool as_primary;
    const char *path;
    const char *const *argv; /* Both end with NULL. */
    const char *const *env;
    int output_fd;
    const char *cwd;
};
/* cb once, never before returning. pidfd: of the postmaster, the callee's to close; -1 =
 * it was not started. started NULL: the guard was lost, and whether it started it is not
 * known. Returns -1 and why when it could not be asked. */
typedef void (*guard_started_cb)(void *data, const struct guard_started *started, int pidfd);
MUST_USE int guard_client_start(struct guard_client *c, const struct guard_client_start *start,
                                guard_started_cb cb, void *data, struct err *err);

/* One is known that lives. */
bool guard_client_has_process(const struct guard_client *c);

/* SIGKILL to the guard, by its pidfd: when it does not answer. on_gone follows. */
void guard_client_end_guard(struct guard_client *c);

#endif
