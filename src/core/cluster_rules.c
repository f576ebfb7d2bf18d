/*
 * The table reads: may this node judge at all; is there a cluster, a database;
 * is the owner to be left alone; who comes next. A next epoch is never a matter
 * of safety, that is up to the voters' promises; here wrong guesses cost time.
 */
#include "core/cluster_rules.h"

#include <inttypes.h>

#include "base/str.h"
#include "core/lookup.h"
#include "core/propose.h"

#define READY (F(C_LEADER) | F(C_READY))

/* clang-format off */
const struct cluster_rule cluster_rules[] = {
    /* name                   all                                    none                              act                  why */
    {"not-leader",            0,                                     F(C_LEADER),                      CLUSTER_NOTHING,     "only the Raft leader judges the cluster"},
    {"catching-up",           0,                                     F(C_READY),                       CLUSTER_NOTHING,     "what this node knows of the cluster may be old"},
    {"create-cluster",        0,                                     F(C_CREATED),                     CLUSTER_CREATES,     "the first command of a cluster"},
    {"transfer-leadership",   F(C_OWNER_CUT),                        0,                                CLUSTER_TRANSFERS,   "we do not hear the owner of a live lease, another voter does: it shall judge"},

    /* The database. */
    {"wait-for-members",      F(C_INIT_NONE),                        F(C_ALL_HEARD),                   CLUSTER_NOTHING,     "before the first database is chosen every voter must have told what it has"},
    {"several-databases",     F(C_INIT_NONE) | F(C_MANY_DATABASES),  0,                                CLUSTER_NOTES,       "nodes have different databases: empty the data directories of all but one"},
    {"take-over-database",    F(C_INIT_NONE) | F(C_ONE_DATABASE),    0,                                CLUSTER_ADOPTS,      "there is one database already: it becomes the cluster's"},
    {"data-unclear",          F(C_INIT_NONE),                        F(C_ALL_EMPTY),                   CLUSTER_NOTES,       "a data directory is neither empty nor a database"},
    {"no-bootstrap",          F(C_INIT_NONE),                        F(C_INITIALIZER),                 CLUSTER_NOTES,       "there is no database and nobody could make one"},
    {"initialize",            F(C_INIT_NONE),                        0,                                CLUSTER_INITIALIZES, "no node has a database: one makes it"},

    /* The owner is left alone. */
    {"transfer-to-connected", F(C_OWNED) | F(C_VOTER_CUT),           F(C_PROMISES_OVER),                CLUSTER_TRANSFERS,   "another voter hears more voters than we do: as Raft leader it reaches everybody"},
    {"unfenced-owner-gone",   F(C_UNFENCED) | F(C_PROMISES_OVER) | F(C_TIMER_OVER), F(C_PAUSED),       CLUSTER_NOTES,       "the owner is gone, its PostgreSQL is unfenced by a pause: bring it back; if surely dead: vechectl failover --primary-is-dead NAME"},
    {"unfenced",              F(C_UNFENCED),                         0,                                CLUSTER_NOTHING,     "the owner's PostgreSQL is not fenced: nobody else may be owner"},
    {"paused",                F(C_PAUSED),                           F(C_ORDERED),                     CLUSTER_NOTHING,     "the cluster is paused: no failover but by an order that names the member"},
    {"owner-alive",           F(C_OWNED),                            F(C_PROMISES_OVER),               CLUSTER_NOTHING,     "the owner holds its lease, or may hold it"},
    {"epoch-young",           F(C_OWNED),                            F(C_TIMER_OVER),                  CLUSTER_NOTHING,     "the owner was chosen a moment ago and may be about to get its lease"},

    /* Who comes next. */
    {"initialize-again",      F(C_OWNED) | F(C_INIT_RUNNING) | F(C_INITIALIZER), 0,                    CLUSTER_INITIALIZES, "the node that made the database is gone before it was ready: another one makes it"},
    {"no-bootstrap-again",    F(C_OWNED) | F(C_INIT_RUNNING),        0,                                CLUSTER_NOTES,       "the node that made the database is gone and nobody else could make one"},
    {"successor",             F(C_SUCCESSOR),                        F(C_OWNED),                       CLUSTER_TAKES,       "the last owner released to this member by name"},
    {"gave-up-wait",          F(C_GAVE_UP),                          F(C_OWNED) | F(C_TIMER_OVER) | F(C_FORCED), CLUSTER_NOTHING, "owners gave up in a row: a pause before the next"},
    {"failover-by-order",     F(C_FORCED),                           0,                                CLUSTER_TAKES,       "an operator ordered this member by name, against lag or synchronous state"},
    {"wait-for-last-owner",   F(C_OWNED) | F(C_OWNER_RECOVERS),      0,                                CLUSTER_NOTHING,     "the last owner is back and starts; it may have WAL that nobody else has"},
    {"take-over",             F(C_OWNED) | F(C_CANDIDATE),           0,                                CLUSTER_TAKES,       "the owner lost its lease and did not get it back in time"},
    {"take-released",         F(C_CANDIDATE),                        0,                                CLUSTER_TAKES,       "nobody is owner: the best candidate"},
    {"no-candidate",          0,                                     0,                                CLUSTER_NOTES,       "a new primary is needed and nobody is eligible: mend what the evidence names; vechectl failover --candidate NAME overrules a lag"},
};
/* clang-format on */
const size_t cluster_rules_n = ARRAY_LENGTH(cluster_rules);

const char *cluster_act_name(enum cluster_act act)
{
    static const char *const names[CLUSTER_ACTS] = {
        [CLUSTER_NOTHING] = "-",    [CLUSTER_CREATES] = "create",
        [CLUSTER_ADOPTS] = "adopt", [CLUSTER_INITIALIZES] = "initialize",
        [CLUSTER_TAKES] = "take",   [CLUSTER_TRANSFERS] = "transfer",
        [CLUSTER_NOTES] = "note",
    };

    PRE(act < CLUSTER_ACTS);
    return names[act];
}

const struct cluster_rule *cluster_rules_match(uint64_t bits)
{
    for (size_t i = 0; i < cluster_rules_n; i++) {
        const struct cluster_rule *rule = &cluster_rules[i];

        if ((bits & rule->all) == rule->all && (bits & rule->none) == 0) {
            return rule;
        }
    }
    return NULL;
}

static bool names_candidate(const struct cluster_rule *rule)
{
    return rule->act == CLUSTER_TAKES;
}

static void explain_transfer(const struct view *view, node_id to, struct sbuf *b)
{
    const struct status *s = lookup_status(view, to);
    uint32_t heard = 0;

    for (uint8_t i = 0; i < view->raft.n_voters; i++) {
        heard += lookup_is_heard(view, view->raft.voters[i]) ? 1u : 0u;
    }
    sbuf_printf(b, "; %s hears %u of %u voters, we hear %u", s != NULL ? s->name : "?",
                s != NULL ? lookup_voters_heard_by(view, s) : 0, view->raft.n_voters, heard);
}

static void fill_evidence(const struct view *view, const struct cluster_facts *f,
                          const struct cluster_rule *rule, struct sbuf *b)
{
    const struct store_primary *p = &view->store->primary;

    sbuf_printf(b, "epoch %" PRIu64 " owner %s", p->epoch, p->has_owner ? p->owner : "none");
    if (rule->act == CLUSTER_TRANSFERS) {
        explain_transfer(view, f->transfer_to, b);
    } else if (names_candidate(rule)) {
        struct lag lag;

        candidate_lag(view, f->chosen.name, f->chosen.timeline, f->chosen.flushed, &lag);
        sbuf_printf(b, "; chosen %s (timeline %u, ", f->chosen.name, f->chosen.timeline);
        candidate_explain_lag(view, &lag, f->chosen.timeline, b);
        sbuf_printf(b, "%s%s)", f->chosen.evidence[0] != '\0' ? "; " : "", f->chosen.evidence);
    } else if (rule->act == CLUSTER_INITIALIZES) {
        sbuf_printf(b, "; chosen %s", f->initializer);
    } else if (rule->act == CLUSTER_ADOPTS) {
        sbuf_printf(b, "; system identifier %" PRIu64, f->sysid);
    } else if (rule->all & F(C_INIT_NONE)) {
        sbuf_printf(b, "; %s", f->evidence);
    } else if (rule->all & F(C_UNFENCED)) {
        bool is_heard = lookup_is_heard(view, p->owner_id);

        sbuf_printf(b, ", %s", is_heard ? "which has no lease" : "which is not heard");
    } else if (rule->act == CLUSTER_NOTES) {
        char refused[TEXT_SIZE];

        candidate_explain_refused(f->candidates, f->n_candidates, refused, sizeof(refused));
        sbuf_printf(b, "; %s", refused);
    }
}

static void take(const struct view *view, const struct cluster_facts *f, const char *owner,
                 struct decision *d)
{
    const struct store_member *m = store_find_member(view->store, owner);
    const struct status *s = m != NULL ? lookup_status(view, m->id) : NULL;
    struct command *c;

    if (s == NULL || s->instance == 0) {
        return;
    }
    c = propose_begin(view, d, COMMAND_EPOCH_TAKE);
    if (c == NULL) {
        return;
    }
    c->epoch_take.expect_epoch = view->store->primary.epoch;
    c->epoch_take.expect_sync_revision = view->store->sync.revision;
    (void)str_copy(c->epoch_take.owner, NAME_SIZE, owner);
    c->epoch_take.owner_id = m->id;
    c->epoch_take.instance = s->instance;
    c->epoch_take.forced = f->chosen.forced && str_equal(f->chosen.name, owner);
    c->epoch_take.initialize = view->store->cluster.init != INIT_DONE;
    c->epoch_take.time_us = view->wall_us;
    (void)str_copy(c->epoch_take.node, NAME_SIZE, view->self.status.name);
    (void)str_copy(c->epoch_take.rule, NAME_SIZE, d->cluster.rule);
    (void)str_copy(c->epoch_take.evidence, TEXT_SIZE, d->cluster.evidence);
}

static void create(const struct view *view, struct decision *d)
{
    struct command *c;

    if (view->raft.cluster_id == 0 || view->conf.scope[0] == '\0') {
        return;
    }
    c = propose_begin(view, d, COMMAND_CLUSTER_CREATE);
    if (c != NULL) {
        c->cluster_create.cluster_id = view->raft.cluster_id;
        (void)str_copy(c->cluster_create.scope, NAME_SIZE, view->conf.scope);
    }
}

static void adopt(const struct view *view, const struct cluster_facts *f, struct decision *d)
{
    struct command *c = propose_begin(view, d, COMMAND_CLUSTER_INIT);

    if (c != NULL) {
        c->cluster_init.expect_epoch = view->store->primary.epoch;
        c->cluster_init.sysid = f->sysid;
        c->cluster_init.timeline = f->timeline;
    }
}

/* An equal note that no decision has followed says it already. */
static bool is_noted(const struct view *view, const struct cluster_decision *cluster)
{
    const struct store_ledger_entry *entry;

    for (uint64_t k = 0; (entry = store_ledger_newest(view->store, k)) != NULL; k++) {
        if (!entry->note) {
            return false;
        }
        if (str_equal(entry->node, view->self.status.name) &&
            str_equal(entry->rule, cluster->rule) &&
            str_equal(entry->evidence, cluster->evidence)) {
            return true;
        }
    }
    return false;
}

static void note(const struct view *view, struct decision *d)
{
    struct command *c;

    if (is_noted(view, &d->cluster)) {
        return;
    }
    c = propose_begin(view, d, COMMAND_LEDGER_ADD);
    if (c == NULL) {
        return;
    }
    c->ledger_add.time_us = view->wall_us;
    (void)str_copy(c->ledger_add.node, NAME_SIZE, view->self.status.name);
    (void)str_copy(c->ledger_add.rule, NAME_SIZE, d->cluster.rule);
    (void)str_copy(c->ledger_add.evidence, TEXT_SIZE, d->cluster.evidence);
    (void)str_copy(c->ledger_add.result, NAME_SIZE, "refused");
}

static void act(const struct view *view, const struct cluster_facts *f,
                const struct cluster_rule *rule, struct decision *d)
{
    switch (rule->act) {
    case CLUSTER_CREATES:
        create(view, d);
        break;
    case CLUSTER_ADOPTS:
        adopt(view, f, d);
        break;
    case CLUSTER_INITIALIZES:
        take(view, f, f->initializer, d);
        break;
    case CLUSTER_TAKES:
        take(view, f, f->chosen.name, d);
        break;
    case CLUSTER_TRANSFERS:
        d->cluster.transfer_to = f->transfer_to;
        break;
    case CLUSTER_NOTES:
        note(view, d);
        break;
    case CLUSTER_NOTHING:
    case CLUSTER_ACTS:
        break;
    }
}

void cluster_rules_decide(const struct view *view, struct decision *d)
{
    struct cluster_facts f;
    const struct cluster_rule *rule;
    struct sbuf b;

    cluster_facts_gather(view, &f);
    rule = cluster_rules_match(f.bits);
    ASSERT(rule != NULL);
    memset(&d->cluster, 0, sizeof(d->cluster));
    d->cluster.rule = rule->name;
    d->cluster.why = rule->why;
    d->cluster.n_candidates = f.n_candidates;
    memcpy(d->cluster.candidates, f.candidates, f.n_candidates * sizeof(f.candidates[0]));
    sbuf_init(&b, d->cluster.evidence, sizeof(d->cluster.evidence));
    fill_evidence(view, &f, rule, &b);
    act(view, &f, rule, d);
    if ((f.bits & READY) == READY) {
        request_rules_decide(view, &f, d);
        voter_rules_decide(view, &f, d);
        propose_wake(view, d, f.timer_ms);
        propose_wake(view, d, f.recovery_ms);
    }
    POST(d->cluster.transfer_to != view->self.status.id || view->self.status.id == 0);
}
