/*
 * Which callback follows from what is seen of PostgreSQL. Level-triggered: what the
 * operator's commands were told last is compared with what is there now, so nothing is
 * missed because it happened between two looks, or while no agent ran. Pure.
 */
#ifndef VECHE_OPS_HOOK_RULES_H
#define VECHE_OPS_HOOK_RULES_H

#include "base/base.h"

enum hook { HOOK_NONE, HOOK_START, HOOK_STOP, HOOK_RESTART, HOOK_RELOAD, HOOK_ROLE_CHANGE, HOOKS };

enum hook_role {
    HOOK_NO_ROLE, /* Nothing was told yet. */
    HOOK_PRIMARY,
    HOOK_REPLICA,
    HOOK_DEMOTED, /* Was primary, ended without a clean stop, and may not go on. */
    HOOK_ROLES
};

/* What the commands know of PostgreSQL. */
enum hook_state {
    HOOK_TOLD_NOTHING, /* In this boot. */
    HOOK_TOLD_UP,
    HOOK_TOLD_STOPPED,    /* on_stop. */
    HOOK_TOLD_RESTARTING, /* Down for an operator's restart: on_restart comes. */
    HOOK_TOLD_GONE,       /* It ended by itself, or was killed: nothing is called for that. */
    HOOK_STATES
};

struct hook_told {
    enum hook_state state;
    enum hook_role role;
    int64_t start_us; /* Of the server of HOOK_TOLD_UP; as PostgreSQL tells it. */
};

struct hook_seen {
    enum {
        HOOK_SEEN_UNCLEAR, /* Starting, stopping, frozen, being made: nothing follows yet. */
        HOOK_SEEN_UP,      /* Accepts connections. */
        HOOK_SEEN_DOWN,    /* No process is left. */
    } state;
    enum hook_role role; /* UP: HOOK_PRIMARY or HOOK_REPLICA. */
    int64_t start_us;    /* UP: of that server. */
    bool stopped;        /* DOWN: by a stop of ours. */
    bool restarts;       /* An operator's restart is under way. */
    bool leads;          /* We may be primary: it would go on here. */
};

struct hook_rule { /* The first that matches counts. */
    const char *name;
    unsigned all, none; /* Facts, see hook_rules.c. */
    enum hook hook;
    enum hook_state next; /* HOOK_STATES: as it is. */
    const char *why;
};
extern const struct hook_rule hook_rules[];
extern const size_t hook_rules_n;

/* What to call now; *told becomes what its command is told, told->role its role. */
const struct hook_rule *hook_next(struct hook_told *told, const struct hook_seen *seen);

const char *hook_name(enum hook hook);           /* "on_start" */
const char *hook_role_name(enum hook_role role); /* "primary", "replica", "demoted" */

#endif
