/*
 * Who votes (design.md sections 5, Voter changes, and 7, Joining): a node that
 * lost its Raft state came back under a new id and wants the vote of the old one.
 * A table of named rows, the first that says yes counts; judged for each node
 * that asks, the first of them that can be served is.
 *
 * Essence (S6): the old id is removed before the new one is added, and only after
 * nobody has heard it for ttl_max: it is dead, or a node of the same name runs
 * that must not lose its vote to a copy. One change at a time, ttl_max after the
 * one before, so that majorities of neighbouring sets share a voter that
 * remembers its promises.
 *
 * Before a new id votes the store says whose it is: should that node lose its state
 * once more, the id is found and removed.
 *
 * An owner is removed like anybody else once nobody is bound to it: its node may be
 * the only one that is fit to be primary, and comes back under the new id only.
 */
#include <inttypes.h>

#include "base/str.h"
#include "core/cluster_rules.h"
#include "core/lookup.h"
#include "core/propose.h"

/* One node that asks, while it is judged. */
struct voter_case {
    const struct view *view;
    const struct status *joiner;
    const struct store_member *member; /* Of the same name; or NULL. */
    bool old_votes;                    /* The id that the store has for that name is a voter. */
    uint64_t silent_ms;                /* How long that id was not heard, as far as we know. */
    uint64_t ttl_max_ms;
    bool promises_are_over; /* Of a majority: no lease lives. */
};

static bool is_stranger(const struct voter_case *c)
{
    return c->member == NULL;
}

static bool is_taken(const struct voter_case *c)
{
    return c->old_votes && c->silent_ms < c->ttl_max_ms;
}

static bool is_live_owner(const struct voter_case *c)
{
    const struct store_primary *p = &c->view->store->primary;

    return c->old_votes && p->has_owner && p->owner_id == c->member->id && !c->promises_are_over;
}

static bool change_runs(const struct voter_case *c)
{
    return c->view->raft.voters_change;
}

static bool is_too_early(const struct voter_case *c)
{
    const struct view_raft *r = &c->view->raft;

    return c->view->now_ms < MAX(r->leader_since_ms, r->voters_changed_ms) + c->ttl_max_ms;
}

static bool old_is_to_go(const struct voter_case *c)
{
    return c->old_votes;
}

static bool is_unnamed(const struct voter_case *c)
{
    return c->member->id != c->joiner->id;
}

static bool is_full(const struct voter_case *c)
{
    return c->view->raft.n_voters >= VOTERS_MAX;
}

static bool always(const struct voter_case *c)
{
    (void)c;
    return true;
}

static const struct {
    struct voter_rule_info info;
    bool (*holds)(const struct voter_case *c);
} voter_rules[] = {
    /* clang-format off */
    {{"voter-stranger",     VOTER_NOTHING, "the node that asks has the name of no member"},                    is_stranger},
    {{"voter-name-taken",   VOTER_NOTHING, "there is already a node of that name running, or was a moment ago"}, is_taken},
    {{"voter-owner",        VOTER_NOTHING, "the old id is owner, and its lease may live"},                     is_live_owner},
    {{"voter-change-runs",  VOTER_NOTHING, "one change at a time"},                                            change_runs},
    {{"voter-too-early",    VOTER_NOTHING, "promises of before the last change may still run"},                is_too_early},
    {{"voter-remove",       VOTER_REMOVE,  "the old id is gone for good: its node is back under a new one"},   old_is_to_go},
    {{"voter-name",         VOTER_NAME,    "first the store is told under which id the member is back"},       is_unnamed},
    {{"voter-full",         VOTER_NOTHING, "there are as many voters as can be"},                              is_full},
    {{"voter-add",          VOTER_ADD,     "a member that lost its Raft state votes again, under a new id"},   always},
    /* clang-format on */
};

const struct voter_rule_info *voter_rule_info(size_t i)
{
    return i < ARRAY_LENGTH(voter_rules) ? &voter_rules[i].info : NULL;
}

static const struct voter_rule_info *match(const struct voter_case *c)
{
    size_t i = 0;

    while (!voter_rules[i].holds(c)) {
        i++; /* The last one holds always. */
    }
    return &voter_rules[i].info;
}

/* The largest any voter has, as far as it was heard (docs/decisions/0001). */
static uint64_t ttl_max_ms(const struct view *view)
{
    uint64_t longest = MAX(view->conf.ttl_ms, view->self.status.ttl_max_ms);

    for (uint32_t i = 0; i < view->n_peers; i++) {
        longest = MAX(longest, view->peers[i].status.ttl_max_ms);
    }
    return longest;
}

static struct voter_case case_of(const struct view *view, const struct status *joiner)
{
    struct voter_case c = {
        .view = view,
        .joiner = joiner,
        .member = store_find_member(view->store, joiner->name),
        .ttl_max_ms = ttl_max_ms(view),
    };
    const struct view_peer *old;
    uint64_t heard_ms = view->raft.leader_since_ms; /* Before that it was not for us to listen. */

    if (c.member == NULL || c.member->id == joiner->id) {
        return c;
    }
    old = lookup_peer(view, c.member->id);
    if (old != NULL) {
        heard_ms = MAX(heard_ms, old->received_ms);
    }
    if (c.member->id == view->self.status.id) {
        heard_ms = view->now_ms; /* It is us. */
    }
    c.old_votes = lookup_is_voter(view, c.member->id);
    c.silent_ms = view->now_ms > heard_ms ? view->now_ms - heard_ms : 0;
    return c;
}

static void fill(const struct voter_case *c, const struct voter_rule_info *rule,
                 struct voter_decision *v)
{
    node_id old = c->member != NULL ? c->member->id : 0;
    struct sbuf b;

    *v = (struct voter_decision){.rule = rule->name, .why = rule->why};
    v->remove = rule->act == VOTER_REMOVE ? old : 0;
    v->add = rule->act == VOTER_ADD ? c->joiner->id : 0;
    sbuf_init(&b, v->evidence, sizeof(v->evidence));
    sbuf_printf(&b, "%s asks as %016" PRIx64 ", was %016" PRIx64, c->joiner->name, c->joiner->id,
                old);
}

static void note(const struct view *view, struct decision *d)
{
    struct command *c = propose_begin(view, d, COMMAND_LEDGER_ADD);

    if (c == NULL) {
        return; /* Said a moment ago; the log has it in any case. */
    }
    c->ledger_add.time_us = view->wall_us;
    (void)str_copy(c->ledger_add.node, NAME_SIZE, view->self.status.name);
    (void)str_copy(c->ledger_add.rule, NAME_SIZE, d->voters.rule);
    (void)str_copy(c->ledger_add.evidence, TEXT_SIZE, d->voters.evidence);
    (void)str_copy(c->ledger_add.result, NAME_SIZE, "proposed");
}

static void tell_name(const struct view *view, const struct voter_case *c, struct decision *d)
{
    struct store_member m = *c->member;

    m.id = c->joiner->id;
    propose_member(view, d, &m);
}

/* Its node has come back once more meanwhile. */
static bool is_replaced(const struct view *view, const struct view_peer *p)
{
    for (uint32_t i = 0; i < view->n_peers; i++) {
        const struct view_peer *other = &view->peers[i];

        if (other != p && other->received_ms > p->received_ms &&
            str_equal(other->status.name, p->status.name)) {
            return true;
        }
    }
    return false;
}

void voter_rules_decide(const struct view *view, const struct cluster_facts *f, struct decision *d)
{
    d->voters = (struct voter_decision){.rule = NULL};
    for (uint32_t i = 0; i < view->n_peers; i++) {
        const struct status *s = &view->peers[i].status;
        const struct voter_rule_info *rule;
        struct voter_case c;

        if (!s->wants_vote || lookup_is_voter(view, s->id) || !lookup_is_heard(view, s->id) ||
            is_replaced(view, &view->peers[i])) {
            continue;
        }
        c = case_of(view, s);
        c.promises_are_over = (f->bits & F(C_PROMISES_OVER)) != 0;
        rule = match(&c);
        if (d->voters.rule == NULL || rule->act != VOTER_NOTHING) {
            fill(&c, rule, &d->voters);
        }
        if (rule->act == VOTER_NAME) {
            tell_name(view, &c, d);
        }
        if (rule->act != VOTER_NOTHING) {
            note(view, d);
            break;
        }
    }
    POST(d->voters.remove == 0 || d->voters.add == 0);
    POST(d->voters.remove != view->self.status.id || view->self.status.id == 0);
}
