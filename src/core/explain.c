/* Rules, evidence, candidates and commands of one decision, line by line. */
#include "core/explain.h"

#include <inttypes.h>

#include "base/str.h"

const char *node_action_name(enum node_action action)
{
    switch (action) {
    case ACTION_NONE:
        return "none";
    case ACTION_BOOTSTRAP:
        return "bootstrap";
    case ACTION_CLONE:
        return "clone";
    case ACTION_REWIND:
        return "rewind";
    case ACTION_START_PRIMARY:
        return "start-primary";
    case ACTION_START_STANDBY:
        return "start-standby";
    case ACTION_PREPARE:
        return "pre-promote";
    case ACTION_PROMOTE:
        return "promote";
    case ACTION_FOLLOW:
        return "follow";
    case ACTION_CHECKPOINT:
        return "checkpoint";
    case ACTION_STOP:
        return "stop";
    case ACTION_FENCE:
        return "fence";
    case ACTION_CLEAN_UP:
        return "clean-up";
    case ACTIONS:
        break;
    }
    return "unknown";
}

static void explain_node(const struct node_decision *node, struct sbuf *b)
{
    sbuf_printf(b, "node: %s (%s)\n", node->rule, node->why);
    sbuf_printf(b, "  action: %s", node_action_name(node->action));
    if (node->upstream.name[0] != '\0') {
        sbuf_printf(b, ", upstream %s at %s:%u", node->upstream.name, node->upstream.host,
                    node->upstream.port);
    }
    sbuf_printf(b, "\n  because: %s\n", node->evidence);
}

static void explain_candidate(const struct candidate *c, struct sbuf *b)
{
    char lsn[LSN_TEXT_SIZE];

    sbuf_printf(b, "  %s: %s%s, timeline %u, %s", c->name, c->verdict, c->forced ? " by order" : "",
                c->timeline, lsn_format(c->flushed, lsn, sizeof(lsn)));
    if (c->evidence[0] != '\0') {
        sbuf_printf(b, " (%s)", c->evidence);
    }
    sbuf_add(b, "\n");
}

const char *explain_decision(const struct decision *d, char *text, size_t size)
{
    struct sbuf b;

    PRE(d->node.rule != NULL && d->cluster.rule != NULL);
    sbuf_init(&b, text, size);
    explain_node(&d->node, &b);
    sbuf_printf(&b, "cluster: %s (%s)\n  because: %s\n", d->cluster.rule, d->cluster.why,
                d->cluster.evidence);
    for (uint32_t i = 0; i < d->cluster.n_candidates; i++) {
        explain_candidate(&d->cluster.candidates[i], &b);
    }
    if (d->cluster.transfer_to != 0) {
        sbuf_printf(&b, "  Raft leadership goes to %016" PRIx64 "\n", d->cluster.transfer_to);
    }
    for (uint32_t i = 0; i < d->n_commands; i++) {
        char line[512];

        sbuf_printf(&b, "proposes: %s\n", command_print(&d->commands[i], line, sizeof(line)));
    }
    sbuf_printf(&b, "lease: %s%s%s%s\n", d->drop_lease ? "drop" : (d->renew_lease ? "renew" : "-"),
                d->disarm ? ", guard disarmed" : "", d->ask_positions ? ", ask positions" : "",
                d->may_exit ? ", may exit" : "");
    return text;
}
