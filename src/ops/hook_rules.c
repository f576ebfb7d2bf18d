/*
 * The table of callbacks, see hook_rules.h. A change of role comes before everything
 * else: on_start and on_restart are not called beside on_role_change.
 *
 * After a clean stop of a primary on_stop has been called, and what comes next is told when
 * it runs again. After any other end nothing was told: whoever holds an address for the
 * primary has to hear of it as soon as the node may not go on ("demoted").
 */
#include "ops/hook_rules.h"

enum {
    TOLD_NOTHING = 1 << 0,
    TOLD_UP = 1 << 1,
    TOLD_STOPPED = 1 << 2,
    TOLD_RESTARTING = 1 << 3,
    TOLD_PRIMARY = 1 << 4, /* The role that was told last. */
    UP = 1 << 5,
    DOWN = 1 << 6,
    OTHER_ROLE = 1 << 7,   /* Than told. */
    OTHER_SERVER = 1 << 8, /* Than the one that was told to be up. */
    STOPPED = 1 << 9,
    RESTARTS = 1 << 10,
    LEADS = 1 << 11,
};

#define SAME HOOK_STATES

/* clang-format off */
const struct hook_rule hook_rules[] = {
    /* name             all                                  none                  hook              next                  why */
    {"first",           UP | TOLD_NOTHING,                   0,                    HOOK_START,       HOOK_TOLD_UP,         "it runs, and nothing was told in this boot"},
    {"other-role",      UP | OTHER_ROLE,                     0,                    HOOK_ROLE_CHANGE, HOOK_TOLD_UP,         "it runs in another role"},
    {"same",            UP | TOLD_UP,                        OTHER_SERVER,         HOOK_NONE,        SAME,                 "nothing has changed"},
    {"restarted",       UP | TOLD_RESTARTING,                0,                    HOOK_RESTART,     HOOK_TOLD_UP,         "it runs again after an operator's restart"},
    {"restarted-since", UP | TOLD_UP | RESTARTS,             0,                    HOOK_RESTART,     HOOK_TOLD_UP,         "another server runs, and a restart was under way"},
    {"started",         UP,                                  0,                    HOOK_START,       HOOK_TOLD_UP,         "it runs again"},
    {"restarting",      DOWN | TOLD_UP | RESTARTS,           0,                    HOOK_NONE,        HOOK_TOLD_RESTARTING, "down for an operator's restart"},
    {"stopped",         DOWN | TOLD_UP | STOPPED,            0,                    HOOK_STOP,        HOOK_TOLD_STOPPED,    "stopped cleanly"},
    {"demoted",         DOWN | TOLD_PRIMARY,                 TOLD_STOPPED | LEADS, HOOK_ROLE_CHANGE, HOOK_TOLD_GONE,       "a primary ended that may not go on here"},
    {"gone",            DOWN | TOLD_UP,                      0,                    HOOK_NONE,        HOOK_TOLD_GONE,       "it ended by itself, or was killed"},
    {"nothing",         0,                                   0,                    HOOK_NONE,        SAME,                 "nothing has changed, or it is not clear yet"},
};
/* clang-format on */
const size_t hook_rules_n = ARRAY_LENGTH(hook_rules);

static unsigned flag_if(bool is, unsigned flag)
{
    return is ? flag : 0;
}

static unsigned facts_of(const struct hook_told *told, const struct hook_seen *seen)
{
    bool up = seen->state == HOOK_SEEN_UP;

    return flag_if(told->state == HOOK_TOLD_NOTHING, TOLD_NOTHING) |
           flag_if(told->state == HOOK_TOLD_UP, TOLD_UP) |
           flag_if(told->state == HOOK_TOLD_STOPPED, TOLD_STOPPED) |
           flag_if(told->state == HOOK_TOLD_RESTARTING, TOLD_RESTARTING) |
           flag_if(told->role == HOOK_PRIMARY, TOLD_PRIMARY) | flag_if(up, UP) |
           flag_if(seen->state == HOOK_SEEN_DOWN, DOWN) |
           flag_if(up && seen->role != told->role, OTHER_ROLE) |
           flag_if(up && seen->start_us != told->start_us, OTHER_SERVER) |
           flag_if(seen->stopped, STOPPED) | flag_if(seen->restarts, RESTARTS) |
           flag_if(seen->leads, LEADS);
}

const struct hook_rule *hook_next(struct hook_told *told, const struct hook_seen *seen)
{
    unsigned facts = facts_of(told, seen);
    const struct hook_rule *rule = hook_rules;

    PRE(IMPLIES(seen->state == HOOK_SEEN_UP,
                seen->role == HOOK_PRIMARY || seen->role == HOOK_REPLICA));
    while ((facts & rule->all) != rule->all || (facts & rule->none) != 0) {
        rule++; /* The last one matches always. */
    }
    if (rule->next != SAME) {
        told->state = rule->next;
        if (rule->next == HOOK_TOLD_UP) {
            told->role = seen->role;
            told->start_us = seen->start_us;
        } else if (rule->hook == HOOK_ROLE_CHANGE) {
            told->role = HOOK_DEMOTED;
        }
    }
    POST(IMPLIES(rule->hook != HOOK_NONE, told->role != HOOK_NO_ROLE));
    return rule;
}

const char *hook_name(enum hook hook)
{
    static const char *const names[HOOKS] = {
        [HOOK_NONE] = "",
        [HOOK_START] = "on_start",
        [HOOK_STOP] = "on_stop",
        [HOOK_RESTART] = "on_restart",
        [HOOK_RELOAD] = "on_reload",
        [HOOK_ROLE_CHANGE] = "on_role_change",
    };

    return names[hook];
}

const char *hook_role_name(enum hook_role role)
{
    static const char *const names[HOOK_ROLES] = {
        [HOOK_NO_ROLE] = "",
        [HOOK_PRIMARY] = "primary",
        [HOOK_REPLICA] = "replica",
        [HOOK_DEMOTED] = "demoted",
    };

    return names[role];
}
