/*
 * Pace: a proposal whose outcome is not seen yet is not repeated for a while. A
 * lost one is; apply is compare-and-set, so a second copy does no harm.
 */
#include "core/propose.h"

#include "base/str.h"

/* clang-format off */
static const struct {
    size_t size;      /* Of the struct in the union. */
    uint64_t pace_ms; /* Not again within this time. */
} kinds[COMMAND_KINDS] = {
#define KIND(enumerator, struct_name, text) \
    [COMMAND_##enumerator] = {sizeof(struct command_##struct_name), PACE_##enumerator},
#define PACE_CLUSTER_CREATE  500
#define PACE_CLUSTER_INIT    500
#define PACE_EPOCH_TAKE      300
#define PACE_EPOCH_HELD      300
#define PACE_EPOCH_RELEASE   300
#define PACE_EPOCH_UNFENCED  500
#define PACE_MEMBER_SET      1000
#define PACE_MEMBER_REMOVE   1000
#define PACE_CONFIG_SET      1000
#define PACE_SYNC_SET        300
#define PACE_REQUEST_SET     1000
#define PACE_REQUEST_END     500
#define PACE_HISTORY_ADD     1000
#define PACE_PROGRESS_SET    10000
#define PACE_LEDGER_ADD      10000
#define PACE_LINE_SET        300
#define PACE_ORDER_SET       1000
#define PACE_ORDER_BEGIN     300
#define PACE_ORDER_END       500
#define PACE_MEMBER_PROXY    1000
    COMMANDS(KIND)
#undef KIND
};
/* clang-format on */

struct command *propose_begin(const struct view *view, struct decision *d, enum command_kind kind)
{
    uint64_t last_ms = view->proposed_ms[kind];
    struct command *c;

    PRE(kind > COMMAND_NONE && kind < COMMAND_KINDS);
    PRE(d->n_commands <= DECISION_COMMANDS_MAX);
    if (last_ms != 0 && view->now_ms < last_ms + kinds[kind].pace_ms) {
        propose_wake(view, d, last_ms + kinds[kind].pace_ms);
        return NULL;
    }
    if (d->n_commands == DECISION_COMMANDS_MAX) {
        return NULL;
    }
    c = &d->commands[d->n_commands++];
    c->kind = kind;
    memset((char *)c + offsetof(struct command, cluster_create), 0, kinds[kind].size);
    return c;
}

static void fill_member_set(const struct store_member *m, struct command_member_set *c)
{
    (void)str_copy(c->name, sizeof(c->name), m->name);
    c->id = m->id;
    c->mode = m->mode;
    (void)str_copy(c->raft_address, sizeof(c->raft_address), m->raft_address);
    (void)str_copy(c->api_url, sizeof(c->api_url), m->api_url);
    (void)str_copy(c->pg_host, sizeof(c->pg_host), m->pg_host);
    c->pg_port = m->pg_port;
    c->pg_version = m->pg_version;
    (void)str_copy(c->veche_version, sizeof(c->veche_version), m->veche_version);
    (void)str_copy(c->glibc_version, sizeof(c->glibc_version), m->glibc_version);
    c->nofailover = m->nofailover;
    c->noloadbalance = m->noloadbalance;
    c->clonefrom = m->clonefrom;
    c->nosync = m->nosync;
    c->nostream = m->nostream;
    c->failover_priority = m->failover_priority;
    (void)str_copy(c->replicatefrom, sizeof(c->replicatefrom), m->replicatefrom);
    (void)str_copy(c->tags, sizeof(c->tags), m->tags);
    c->last_state = m->last_state;
}

static void fill_member_proxy(const struct store_member *m, struct command_member_proxy *c)
{
    (void)str_copy(c->name, sizeof(c->name), m->name);
    c->id = m->id;
    (void)str_copy(c->url, sizeof(c->url), m->proxy.url);
}

void propose_member_proxy(const struct view *view, struct decision *d, const struct store_member *m)
{
    struct command *c = propose_begin(view, d, COMMAND_MEMBER_PROXY);

    if (c != NULL) {
        fill_member_proxy(m, &c->member_proxy);
    }
}

void propose_member(const struct view *view, struct decision *d, const struct store_member *m)
{
    struct command *c = propose_begin(view, d, COMMAND_MEMBER_SET);

    if (c != NULL) {
        fill_member_set(m, &c->member_set);
    }
}

void propose_line(const struct view *view, struct decision *d, const struct command_line_set *line)
{
    struct command *c = propose_begin(view, d, COMMAND_LINE_SET);

    if (c == NULL) {
        return;
    }
    c->line_set = *line;
    c->line_set.expect_epoch = view->store->primary.epoch;
    c->line_set.time_us = view->wall_us;
    (void)str_copy(c->line_set.node, NAME_SIZE, view->self.status.name);
    (void)str_copy(c->line_set.rule, NAME_SIZE, d->node.rule);
    (void)str_copy(c->line_set.evidence, TEXT_SIZE, d->node.evidence);
}

void propose_wake(const struct view *view, struct decision *d, uint64_t at_ms)
{
    if (at_ms > view->now_ms) {
        d->wake_ms = MIN(d->wake_ms, at_ms);
    }
}
