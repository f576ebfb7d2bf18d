/*
 * What to do to PostgreSQL on this node: a table of named rules, first match
 * wins. The table is total: every possible world matches a row (the tests prove
 * it). Its golden file is tests/golden/node_rules.txt.
 */
#ifndef VECHE_CORE_NODE_RULES_H
#define VECHE_CORE_NODE_RULES_H

#include "core/facts.h"

/* What a rule asks for beside its action. */
enum node_effect {
    EFFECT_KEEP = 1 << 0,     /* The action is the sequence that runs. */
    EFFECT_RELEASE = 1 << 1,  /* Forget the rounds, give the epoch back. */
    EFFECT_ASK = 1 << 2,      /* Ask every member for its position. */
    EFFECT_REFUSE = 1 << 3,   /* End the pending request as not done. */
    EFFECT_EXIT = 1 << 4,     /* The agent may leave. */
    EFFECT_DECLARE = 1 << 5,  /* Say which timeline a promotion here will write. */
    EFFECT_PROBLEM = 1 << 6,  /* A condition that only an operator ends: the status shows it. */
    EFFECT_KILL = 1 << 7,     /* The fence is SIGKILL at once: there is no time left to ask. */
    EFFECT_CLAIM = 1 << 8,    /* Make the synchronous state our own. */
    EFFECT_ORDERS = 1 << 9,   /* An operator's order for this member may be carried out instead. */
    EFFECT_PREPARE = 1 << 10, /* Of a promotion: pre_promote comes first, if there is one. */
};

struct node_rule {
    const char *name; /* Permanent. */
    uint64_t all;     /* Facts that must hold. */
    uint64_t none;    /* Facts that must not. */
    enum node_action action;
    unsigned effects; /* node_effect bits. */
    const char *why;
};

extern const struct node_rule node_rules[];
extern const size_t node_rules_n;

/* In the place of a rule with EFFECT_PREPARE, until the operator's command let it pass. */
extern const struct node_rule node_rule_pre_promote;

/* The first row that matches; NULL only in an impossible world. */
const struct node_rule *node_rules_match(uint64_t bits);

/* "release ask", cut to size; "-" for none. Returns text. */
const char *node_effects_format(unsigned effects, char *text, size_t size);

/* Chooses the rule and fills d->node, d's flags, and the commands that the rule
 * asks for. d->n_commands may be more than 0 before. */
void node_rules_decide(const struct view *view, const struct node_facts *facts, struct decision *d);

#endif
