/*
 * Operators' orders for this member (store_order): how one ends, a table of named rows, and
 * what is done for it, a second one of node rules. The second is looked at only where the
 * node's own rule says that there is nothing more urgent (EFFECT_ORDERS), or what runs gives
 * way to a reinit by force.
 */
#ifndef VECHE_CORE_ORDER_RULES_H
#define VECHE_CORE_ORDER_RULES_H

#include "core/node_rules.h"

/* How far a restart is; of a reinit nothing is remembered. */
enum order_phase {
    ORDER_NEW,
    ORDER_NAMED,    /* Begun, and commits on the primary wait for this standby still. */
    ORDER_REPLACES, /* Begun, and the server that it takes the place of runs. */
    ORDER_STARTS,   /* Begun, and no server runs. */
    ORDER_WAITS,    /* Which server runs is not known yet, or another one comes up. */
};

struct order_act {
    enum request_kind kind;
    enum order_phase phase;
    struct node_rule rule;
};

extern const struct order_act order_acts[];
extern const size_t order_acts_n;

struct order_end_info {
    const char *name;
    bool done;
    const char *why;
};
/* For the golden file; NULL behind the last. */
const struct order_end_info *order_end_info(size_t i);

/* The order of this member whose time has come, or NULL. */
const struct store_order *order_due(const struct view *view);

/* The rule that an order puts in the place of `rule`, or NULL. */
const struct node_rule *order_rules_act(const struct view *view, const struct node_facts *facts,
                                        const struct node_rule *rule);

/* Adds order-begin and order-end, and the time at which a scheduled one is due. `rule`: what
 * was chosen, with order_rules_act. */
void order_rules_say(const struct view *view, const struct node_facts *facts,
                     const struct node_rule *rule, struct decision *d);

/* In the place of primary_start_timeout. */
uint64_t order_start_timeout_ms(const struct view *view);

/* The reinit that is due, or NULL. */
const struct store_order *order_reinit(const struct view *view);

#endif
