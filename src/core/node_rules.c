/*
 * The table reads from what may never wait to what only follows: fencing,
 * left-over processes, stopping, what runs already, a wrong data directory, the
 * duties of an owner, the duties of everybody else.
 *
 * Release (design.md section 5): a rule with EFFECT_RELEASE is reached only
 * when no process is left that can write; it drops the rounds and proposes the
 * release in the same decision, and the agent does the former first.
 */
#include "core/node_rules.h"

#include <inttypes.h>

#include "base/str.h"
#include "core/lookup.h"
#include "core/order_rules.h"
#include "core/propose.h"
#include "core/sync_rules.h"

#define OWNED   (F(OWNER_ME) | F(LEASE))
#define EXEMPT  (F(UNFENCED) | F(UNTOUCHED) | F(ADOPTED) | F(CONTINUED))
#define DOWN    (F(PG_STOPPED) | F(DATA_GOOD))
#define STRAYED (F(DIVERGED) | F(NEEDS_REWIND))
#define STRAY   (F(NEEDS_REWIND) | F(PRIMARY_RUNS))
#define PROBLEM_ORDERS (EFFECT_PROBLEM | EFFECT_ORDERS)

/* clang-format off */
const struct node_rule node_rules[] = {
    /* name                      all                                            none                             action                effects         why */

    /* What the guard has frozen is thawed by a live lease, or killed; nothing else is done to it. */
    {"frozen-lost",              F(FROZEN) | F(OWNER_OTHER) | F(CAUGHT_UP),     0,                               ACTION_FENCE,         EFFECT_KILL,    "PostgreSQL is frozen, and the epoch has passed to another"},
    {"frozen-stop",              F(FROZEN) | F(STOPPING),                       F(UNFENCED),                     ACTION_FENCE,         EFFECT_KILL,    "told to stop while PostgreSQL is frozen: let go it could acknowledge a write"},
    {"frozen",                   F(FROZEN),                                     F(LEFT_OVERS),                   ACTION_NONE,          0,              "the guard has frozen PostgreSQL: it goes on with the lease, or is killed"},

    /* Nobody writes without the lease. The guard comes first; this is for when it does not. */
    {"fence",                    F(MAY_WRITE),                                  F(LEASE) | EXEMPT,               ACTION_FENCE,         EFFECT_KILL,    "PostgreSQL takes writes and we do not hold the lease"},
    {"fence-resumed",            F(MAY_WRITE) | F(UNFENCED) | F(ARMED),         F(LEASE) | F(PAUSED) | F(UNTOUCHED) | F(ADOPTED), ACTION_FENCE, EFFECT_KILL, "resumed and fenced again, and the lease was lost before the store could say so"},
    {"fence-reboot",             F(MAY_WRITE) | F(UNFENCED),                    F(OWNER_ME) | F(ADOPTED),        ACTION_FENCE,         EFFECT_KILL,    "PostgreSQL takes writes in an epoch of an earlier boot, which nobody renews"},
    {"fence-start",              F(OP_MAKES_PRIMARY),                           F(LEASE),                        ACTION_FENCE,         EFFECT_KILL,    "PostgreSQL is being made primary and we do not hold the lease"},
    {"fence-other-database",     F(MAY_WRITE) | F(OTHER_SYSID),                 F(UNTOUCHED),                    ACTION_FENCE,         0,              "PostgreSQL takes writes for a database that is not the cluster's"},
    {"fence-old-timeline",       F(MAY_WRITE) | F(OLD_PRIMARY),                 F(UNTOUCHED) | F(PAUSED),        ACTION_FENCE,         0,              "PostgreSQL takes writes on a timeline that the cluster has left, or may have"},
    {"bootstrap-lost",           F(OP_BOOTSTRAPS),                              F(OWNER_ME),                     ACTION_FENCE,         0,              "somebody else is to make the database now"},
    {"left-overs",               F(LEFT_OVERS),                                 F(OP_CLEANS),                    ACTION_CLEAN_UP,      0,              "processes outlived their postmaster and may still acknowledge writes"},

    /* The agent stops. */
    {"stop-paused",              F(STOPPING) | F(PAUSED),                       F(MAY_WRITE),                    ACTION_NONE,          EFFECT_EXIT,    "paused: the agent leaves, PostgreSQL stays as it is"},
    {"stop-unfenced",            F(STOPPING) | F(PAUSED) | F(UNFENCED),         F(ARMED),                        ACTION_NONE,          EFFECT_EXIT,    "paused: the agent leaves, PostgreSQL goes on unfenced"},
    {"stop-attested",            F(STOPPING) | F(CONTINUED),                    F(ARMED),                        ACTION_NONE,          EFFECT_EXIT,    "paused when this agent started, and Raft has told nothing since: it leaves PostgreSQL as it is"},
    {"stop-pause",               F(STOPPING) | F(PAUSED) | F(MAY_WRITE),        F(RELEASE_OVERDUE),              ACTION_NONE,          0,              "paused: before the agent leaves the store is to show this epoch as unfenced, and the guard to let go"},
    {"stopping",                 F(STOPPING),                                   F(QUIET),                        ACTION_STOP,          0,              "the agent was told to stop"},
    {"stop-release",             F(STOPPING) | F(OWNER_ME),                     F(RELEASE_OVERDUE),              ACTION_NONE,          EFFECT_RELEASE, "PostgreSQL is down: let somebody else be primary at once"},
    {"stop-say",                 F(STOPPING),                                   F(SAID),                         ACTION_NONE,          0,              "waiting until the store shows this node as stopped"},
    {"stop-exit",                F(STOPPING),                                   0,                               ACTION_NONE,          EFFECT_EXIT,    "all this node owed is done"},

    {"witness",                  F(WITNESS),                                    0,                               ACTION_NONE,          0,              "a witness has no PostgreSQL"},
    {"start-overdue",            OWNED | F(START_OVERDUE) | F(HEIR),            F(PAUSED),                       ACTION_FENCE,         0,              "starting takes longer than primary_start_timeout and another member can take over"},
    {"keep-operation",           F(OP_KEEPS),                                   0,                               ACTION_NONE,          EFFECT_KEEP,    "a sequence runs and still makes sense"},
    {"paused-checkpoint",        F(PAUSED) | OWNED | F(RUNS_PRIMARY) | F(CHECKPOINT_DUE), 0,                     ACTION_CHECKPOINT,    0,              "paused, and promoted by order: others can only rejoin after a checkpoint"},
    {"paused-follow",            F(PAUSED) | F(UPSTREAM_WRONG) | F(RUNS_STANDBY) | F(CAUGHT_UP), STRAYED | F(MAY_WRITE) | F(OWNER_ME), ACTION_FOLLOW, 0, "paused, and the primary is another member now, by order"},
    {"pausing",                  F(PAUSED) | OWNED | F(RUNS_PRIMARY) | F(ARMED), F(ORDERED),                     ACTION_NONE,          0,              "paused: PostgreSQL is fenced until the store shows this epoch as unfenced, then the guard lets go"},
    {"paused-unfenced",          F(PAUSED) | F(UNFENCED) | F(MAY_WRITE),        F(ORDERED),                      ACTION_NONE,          EFFECT_ORDERS,  "the cluster is paused: PostgreSQL is left alone and writes, with the lease or without"},
    {"paused",                   F(PAUSED),                                     F(ORDERED),                      ACTION_NONE,          EFFECT_ORDERS,  "the cluster is paused: PostgreSQL is left alone"},
    {"resume-wait",              F(UNFENCED) | F(OWNER_ME) | F(MAY_WRITE),      F(PAUSED) | F(LEASE),            ACTION_NONE,          0,              "resumed without a lease: PostgreSQL is not fenced, and nobody else can be primary"},
    {"resume",                   F(UNFENCED) | OWNED | F(RUNS_PRIMARY),         F(PAUSED),                       ACTION_NONE,          0,              "resumed: the guard is armed, then the store shows this epoch as fenced again"},
    {"continue",                 F(CONTINUED),                                  0,                               ACTION_NONE,          0,              "what the guard attests goes on from before this agent's start; nothing else is done before Raft told"},
    {"catching-up",              0,                                             F(CAUGHT_UP) | F(LEASE),         ACTION_NONE,          0,              "what this node knows of the cluster may be old"},

    /* The data directory is not what it should be. */
    {"foreign-database-release", F(OTHER_SYSID) | F(OWNER_ME),                  F(MAY_WRITE),                    ACTION_NONE,          EFFECT_RELEASE, "we can not be primary: our data directory belongs to another database"},
    {"foreign-database",         F(OTHER_SYSID),                                0,                               ACTION_NONE,          EFFECT_ORDERS,  "the data directory belongs to another database; empty it, or take this node out of the cluster"},
    {"no-data",                  F(OWNER_ME) | F(INIT_DONE),                    F(DATA_GOOD) | F(MAY_WRITE),     ACTION_NONE,          EFFECT_RELEASE, "we can not be primary without data"},
    {"foreign-files",            F(DATA_STRANGE),                               0,                               ACTION_NONE,          0,              "there is something in the data directory that is not PostgreSQL's; nothing is touched"},
    {"data-unknown",             0,                                             F(DATA_GOOD) | F(DATA_MISSING) | F(NEEDS_REWIND), ACTION_NONE, 0,      "the data directory was not read yet, or can not be"},

    /* The owner. */
    {"no-lease",                 F(OWNER_ME) | F(HOPELESS),                     F(LEASE) | F(HELD) | F(MAY_WRITE), ACTION_NONE,        EFFECT_RELEASE, "no lease for this epoch within the time the arbiter waits: let it choose again"},
    {"standby-without-lease",    F(OWNER_ME) | F(LONG_WITHOUT) | F(INIT_DONE) | DOWN, F(LEASE) | F(BARRED),      ACTION_START_STANDBY, 0,              "no lease for long: serve reads meanwhile (not if it could not be promoted again)"},
    {"wait-for-lease",           F(OWNER_ME),                                   F(LEASE),                        ACTION_NONE,          0,              "owner without the lease: PostgreSQL stays as it is"},
    {"bootstrap",                OWNED | F(INIT_RUNNING) | F(DATA_MISSING),     0,                               ACTION_BOOTSTRAP,     0,              "this node is to make the cluster's database"},
    {"switchover",               OWNED | F(RUNS_PRIMARY) | F(REQUEST) | F(TARGET), 0,                            ACTION_STOP,          0,              "an operator asked for it and the candidate is ready"},
    {"switchover-refused",       OWNED | F(RUNS_PRIMARY) | F(REQUEST),          0,                               ACTION_NONE,          EFFECT_REFUSE,  "an operator asked for it, but nobody can take over"},
    {"switchover-release",       OWNED | F(WAS_PRIMARY) | F(CLEAN) | F(REQUEST) | F(TARGET) | DOWN, 0,           ACTION_NONE,          EFFECT_RELEASE, "stopped cleanly: the candidate has everything"},
    {"switchover-wait",          OWNED | F(WAS_PRIMARY) | F(CLEAN) | F(REQUEST) | F(HANDING_OVER) | DOWN, 0,     ACTION_NONE,          0,              "stopped cleanly: waiting until the candidate is seen to have everything"},
    {"checkpoint",               OWNED | F(RUNS_PRIMARY) | F(CHECKPOINT_DUE),   0,                               ACTION_CHECKPOINT,    0,              "promoted: others can only rejoin after a checkpoint"},
    {"primary",                  OWNED | F(RUNS_PRIMARY),                       0,                               ACTION_NONE,          EFFECT_ORDERS,  "primary with the lease"},
    {"becoming-primary",         OWNED | F(MAY_WRITE),                          0,                               ACTION_NONE,          0,              "PostgreSQL is on its way to be primary"},
    {"start-failed",             OWNED | F(START_FAILED) | F(HEIR) | DOWN,      0,                               ACTION_NONE,          EFFECT_RELEASE, "PostgreSQL does not start here and another member can take over"},
    {"start-timeout",            OWNED | F(STUCK) | F(HEIR) | DOWN,             0,                               ACTION_NONE,          EFFECT_RELEASE, "starting took too long and another member can take over"},
    {"restart-in-place",         OWNED | F(WAS_PRIMARY) | F(NEWEST_TIMELINE) | DOWN, F(DIVERGED),                ACTION_START_PRIMARY, 0,              "it was the primary, on the newest declared timeline: starting it here loses nothing"},
    {"start-to-promote",         OWNED | DOWN,                                  0,                               ACTION_START_STANDBY, 0,              "to be promoted it must first run as standby"},
    {"nofailover",               OWNED | F(RUNS_STANDBY) | F(BARRED),           F(FORCED),                       ACTION_NONE,          EFFECT_RELEASE, "our tags forbid promotion"},
    {"promote-failed",           OWNED | F(RUNS_STANDBY) | F(START_FAILED) | F(HEIR), 0,                         ACTION_NONE,          EFFECT_RELEASE, "the promotion failed and another member can take over"},
    /* Armed: the guard has it as one that may write, so a promotion may have been signalled to it. */
    {"does-not-answer",          OWNED | F(RUNS_STANDBY) | F(STUCK) | F(HEIR),  F(FORCED) | F(ARMED),            ACTION_NONE,          EFFECT_RELEASE, "PostgreSQL here does not answer and another member can take over"},
    {"ask-positions",            OWNED | F(RUNS_STANDBY),                       F(POSITIONS),                    ACTION_NONE,          EFFECT_ASK,     "nothing more can be acknowledged elsewhere: now ask who has most"},
    {"better-placed",            OWNED | F(RUNS_STANDBY) | F(BETTER),           F(FORCED),                       ACTION_NONE,          EFFECT_RELEASE, "another member has more WAL: it is the better primary"},
    {"lag-bound",                OWNED | F(RUNS_STANDBY) | F(LAGS),             F(FORCED),                       ACTION_NONE,          EFFECT_RELEASE, "we miss more WAL than maximum_lag_on_failover allows"},
    {"off-line",                 OWNED | F(RUNS_STANDBY) | F(OFF_LINE),         F(FORCED),                       ACTION_NONE,          EFFECT_RELEASE, "our WAL is not of the line that the cluster went on with"},
    {"stop-following",           OWNED | F(RUNS_STANDBY) | F(UPSTREAM_WRONG),   0,                               ACTION_FOLLOW,        EFFECT_PREPARE, "before our position is declared as the end of the old timeline nobody is to send us more"},
    {"declare-timeline",         OWNED | F(RUNS_STANDBY),                       F(DECLARED),                     ACTION_NONE,          EFFECT_DECLARE | EFFECT_PREPARE, "before anything is written on a new timeline everybody is to know of it"},
    {"claim-sync",               OWNED | F(RUNS_STANDBY),                       F(SYNC_MINE),                    ACTION_NONE,          EFFECT_CLAIM | EFFECT_PREPARE, "before anything is written here nobody else may be left who could take over without it"},
    {"promote",                  OWNED | F(RUNS_STANDBY),                       0,                               ACTION_PROMOTE,       EFFECT_PREPARE, "owner with the lease, and nobody is better placed"},
    {"wait-for-start",           F(OWNER_ME),                                   0,                               ACTION_NONE,          0,              "PostgreSQL is starting or stopping"},

    /* Everybody else. */
    {"not-owned-yet",            F(MAY_WRITE),                                  0,                               ACTION_NONE,          0,              "the database in use is being taken over"},
    {"clone",                    F(DATA_MISSING) | F(INIT_DONE) | F(PRIMARY_RUNS), 0,                            ACTION_CLONE,         0,              "no data here yet"},
    {"wait-for-data",            F(DATA_MISSING),                               0,                               ACTION_NONE,          0,              "no data here, and no running primary to clone it from"},
    {"rewind",                   STRAY | F(REWINDABLE) | F(SOURCE_READY),       F(REWIND_GIVEN_UP),              ACTION_REWIND,        EFFECT_ORDERS,  "our WAL went on where the cluster did not: what is ours alone is kept aside, the rest goes back"},
    {"rewind-wait",              STRAY | F(REWINDABLE),                         F(REWIND_GIVEN_UP),              ACTION_NONE,          EFFECT_ORDERS,  "our WAL went on where the cluster did not; waiting for the primary's checkpoint after its promotion"},
    {"diverged-clone",           STRAY | F(DISCARD),                            0,                               ACTION_CLONE,         EFFECT_ORDERS,  "our WAL went on where the cluster did not, can not be rewound; to be discarded then"},
    {"rewind-given-up",          STRAY | F(REWIND_GIVEN_UP),                    0,                               ACTION_NONE,          PROBLEM_ORDERS, "pg_rewind failed too often; mend that and restart the agent, or empty the data directory: it is cloned"},
    {"diverged",                 STRAY,                                         0,                               ACTION_NONE,          PROBLEM_ORDERS, "our WAL went on where the cluster did not, and can not be rewound; empty the data directory: it is cloned"},
    {"wait-for-primary",         F(NEEDS_REWIND),                               0,                               ACTION_NONE,          0,              "our WAL went on where the cluster did not; waiting for a primary to rewind to"},
    {"diverged-unconfirmed",     F(DIVERGED),                                   0,                               ACTION_NONE,          EFFECT_ORDERS,  "our WAL seems to go on where the cluster did not; looked at again before anything is done"},
    {"follow",                   F(UPSTREAM_WRONG),                             F(PG_STOPPED) | F(LEFT_OVERS),   ACTION_FOLLOW,        EFFECT_ORDERS,  "the primary is another member now"},
    {"standby",                  F(RUNS_STANDBY),                               0,                               ACTION_NONE,          EFFECT_ORDERS,  "standby"},
    {"starting",                 0,                                             F(PG_STOPPED),                   ACTION_NONE,          EFFECT_ORDERS,  "PostgreSQL is starting or stopping"},
    {"history-unknown",          F(UNSURE),                                     0,                               ACTION_NONE,          EFFECT_ORDERS,  "where our timeline ended is not told yet: waiting for a primary; if none comes: vechectl failover"},
    {"before-database",          0,                                             F(INIT_DONE),                    ACTION_NONE,          0,              "nobody has decided yet whose database is the cluster's"},
    {"start-standby",            F(PRIMARY_RUNS),                               0,                               ACTION_START_STANDBY, EFFECT_ORDERS,  "there is a primary to follow"},
    {"standby-without-primary",  0,                                             0,                               ACTION_START_STANDBY, 0,              "no primary yet: run as standby, so that positions can be compared"},
};
/* clang-format on */
const size_t node_rules_n = ARRAY_LENGTH(node_rules);

static const struct node_rule back_off = {
    .name = "back-off",
    .action = ACTION_NONE,
    .why = "it failed a moment ago and is tried again later",
};

const struct node_rule node_rule_pre_promote = {
    .name = "pre-promote",
    .action = ACTION_PREPARE,
    .why = "before anything of a promotion is declared: the operator's command may refuse it",
};

const struct node_rule *node_rules_match(uint64_t bits)
{
    for (size_t i = 0; i < node_rules_n; i++) {
        const struct node_rule *rule = &node_rules[i];

        if ((bits & rule->all) == rule->all && (bits & rule->none) == 0) {
            return rule;
        }
    }
    return NULL;
}

const char *node_effects_format(unsigned effects, char *text, size_t size)
{
    static const char *const names[] = {"keep",  "release", "ask",     "refuse",
                                        "exit",  "declare", "problem", "kill",
                                        "claim", "orders",  "prepare"};
    struct sbuf b;

    sbuf_init(&b, text, size);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        if ((effects >> i) & 1) {
            sbuf_printf(&b, "%s%s", b.length > 0 ? " " : "", names[i]);
        }
    }
    if (b.length == 0) {
        sbuf_add(&b, "-");
    }
    return text;
}

/* A failed sequence is repeated after a pause, never another one instead. Whoever orders a copy
 * need not wait for that of the ones before. */
static bool must_back_off(const struct view *view, const struct node_rule *rule)
{
    const struct store_order *order = order_reinit(view);

    if (rule->action == ACTION_CLONE && order != NULL && order->id != view->op.last_order) {
        return false;
    }
    switch (rule->action) {
    case ACTION_BOOTSTRAP:
    case ACTION_CLONE:
    case ACTION_REWIND:
    case ACTION_START_PRIMARY:
    case ACTION_START_STANDBY:
    case ACTION_PREPARE:
    case ACTION_PROMOTE:
    case ACTION_FOLLOW:
    case ACTION_CHECKPOINT:
        return view->op.running == ACTION_NONE && view->op.last == rule->action &&
               view->op.last_failed && view->now_ms < view->op.retry_ms;
    case ACTION_NONE:
    case ACTION_STOP:
    case ACTION_FENCE:
    case ACTION_CLEAN_UP:
    case ACTIONS:
        return false;
    }
    return false;
}

static void add_situation(const struct view *view, struct sbuf *b)
{
    const struct status *s = &view->self.status;
    const struct store_primary *p = &view->store->primary;

    sbuf_printf(b, "epoch %" PRIu64 " owner %s", p->epoch, p->has_owner ? p->owner : "none");
    if (s->mode == MODE_WITNESS) {
        return;
    }
    sbuf_printf(b, " lease %s", view->lease.live ? "live" : "none");
    sbuf_printf(b, ", PostgreSQL %s %s", pg_state_name(s->pg_state), pg_role_name(s->pg_role));
    if (s->data != DATA_VALID) {
        sbuf_printf(b, ", data %s", data_state_name(s->data));
    } else {
        sbuf_printf(b, ", timeline %u", s->timeline);
    }
}

static void add_divergence(const struct view *view, struct sbuf *b)
{
    char at[LSN_TEXT_SIZE], end[LSN_TEXT_SIZE];
    const struct status *s = &view->self.status;
    lsn_t ended = lookup_timeline_end(view->store, s->timeline);

    sbuf_printf(b, "; at %s, timeline %u ended at %s, the newest is %u",
                lsn_format(MAX(lookup_position(s), view->pg.control_lsn), at, sizeof(at)),
                s->timeline, ended != 0 ? lsn_format(ended, end, sizeof(end)) : "(unknown)",
                lookup_newest_timeline(view));
}

/* The line that our data, or the server that runs here, is not of. */
static void add_line(const struct view *view, struct sbuf *b)
{
    const struct store_line *l = &view->store->line;
    char at[LSN_TEXT_SIZE], end[LSN_TEXT_SIZE];

    sbuf_printf(b, "; at %s; timeline %u of %s leaves %u at %s",
                lsn_format(lookup_position(&view->self.status), at, sizeof(at)), l->timeline,
                l->owner[0] != '\0' ? l->owner : "nobody", l->parent,
                lsn_format(l->lsn, end, sizeof(end)));
}

/* Why pg_rewind is not run, or what it said last. */
static void add_rewind(const struct view *view, const struct node_facts *f, struct sbuf *b)
{
    if (f->bits & F(REWIND_GIVEN_UP)) {
        sbuf_printf(b, "; failed %u times: %s", view->op.n_rewind_failures, view->op.problem);
    } else if (!(f->bits & F(REWINDABLE))) {
        sbuf_printf(b, "; not rewindable: %s", facts_rewind_obstacle(view));
    }
}

/* What the rule's facts were made of, beside the situation everybody sees. */
static void add_details(const struct view *view, const struct node_facts *f,
                        const struct node_rule *rule, struct sbuf *b)
{
    char text[LSN_TEXT_SIZE];

    if (rule == &back_off || (rule->all & F(START_FAILED))) {
        sbuf_printf(b, "; %s failed %u times: %s", node_action_name(view->op.last),
                    view->op.n_failures, view->op.problem);
    }
    if (rule->effects & EFFECT_KEEP) {
        sbuf_printf(b, "; %s, step %s", node_action_name(view->op.running), view->op.step);
    }
    if (rule->all & F(BETTER)) {
        sbuf_printf(b, "; %s is at %s on timeline %u", f->better,
                    lsn_format(f->better_lsn, text, sizeof(text)), f->better_timeline);
    }
    if ((rule->all & F(LAGS)) || rule->action == ACTION_PROMOTE) {
        sbuf_add(b, "; ");
        candidate_explain_lag(view, &f->lag, view->self.status.timeline, b);
    }
    if (rule->all & (F(OFF_LINE) | F(OLD_PRIMARY))) {
        add_line(view, b);
    }
    if (rule->all & F(OTHER_SYSID)) {
        sbuf_printf(b, "; system identifier %" PRIu64 ", the cluster's is %" PRIu64,
                    view->self.status.sysid, view->store->cluster.sysid);
    }
    if (rule->all & (F(DIVERGED) | F(NEEDS_REWIND))) {
        add_divergence(view, b);
        add_rewind(view, f, b);
    }
    if (rule->all & F(REQUEST)) {
        sbuf_printf(b, "; %s asked by %s", request_kind_name(view->store->request.kind),
                    view->store->request.who);
        sbuf_printf(b, ": %s", f->bits & F(TARGET) ? f->target : f->refusals);
    }
}

static void fill_node(const struct view *view, const struct node_facts *f,
                      const struct node_rule *rule, struct node_decision *node)
{
    const struct store_order *order = order_reinit(view);
    struct sbuf b;

    memset(node, 0, sizeof(*node));
    node->rule = rule->name;
    node->why = rule->why;
    node->action = rule->effects & EFFECT_KEEP ? view->op.running : rule->action;
    node->upstream = f->upstream;
    node->timeline = f->bits & F(DECLARED) ? view->store->line.timeline : 0;
    node->may_write = (f->bits & F(MAY_WRITE)) != 0;
    node->kill = (rule->effects & EFFECT_KILL) != 0;
    node->is_problem = (rule->effects & EFFECT_PROBLEM) != 0;
    if (rule->action == ACTION_CLONE && order != NULL) {
        node->order = order->id;
        node->from_primary = str_equal(order->role, "primary");
    }
    node->diverged = (f->bits & F(DIVERGED)) != 0;
    node->agrees = (f->bits & (F(PRIMARY_RUNS) | F(RUNS_STANDBY))) ==
                       (F(PRIMARY_RUNS) | F(RUNS_STANDBY)) &&
                   !(f->bits & (F(DIVERGED) | F(UNSURE) | F(OFF_LINE) | F(OTHER_SYSID))) &&
                   view->self.status.timeline == f->source_timeline;
    if (node->action == ACTION_REWIND) {
        node->timeline = f->source_timeline;
    }
    sbuf_init(&b, node->evidence, sizeof(node->evidence));
    add_situation(view, &b);
    add_details(view, f, rule, &b);
}

static void release(const struct view *view, const struct node_facts *f,
                    const struct node_rule *rule, struct decision *d)
{
    struct command *c;
    const struct status *s = &view->self.status;
    bool primary = view->pg.was_primary && s->clean_shutdown;

    PRE(!(f->bits & F(MAY_WRITE)));
    d->drop_lease = true;
    c = propose_begin(view, d, COMMAND_EPOCH_RELEASE);
    if (c == NULL) {
        return;
    }
    c->epoch_release.expect_epoch = view->store->primary.epoch;
    c->epoch_release.lsn = primary ? view->pg.control_lsn : 0;
    c->epoch_release.timeline = primary ? s->timeline : 0;
    c->epoch_release.time_us = view->wall_us;
    (void)str_copy(c->epoch_release.node, NAME_SIZE, s->name);
    (void)str_copy(c->epoch_release.rule, NAME_SIZE, rule->name);
    (void)str_copy(c->epoch_release.evidence, TEXT_SIZE, d->node.evidence);
    if (rule->all & F(BETTER)) {
        (void)str_copy(c->epoch_release.successor, NAME_SIZE, f->better);
    } else if (rule->all & F(TARGET)) {
        (void)str_copy(c->epoch_release.successor, NAME_SIZE, f->target);
    }
}

/* Our own number stays when only the position moved: nothing was written on it. */
static void declare(const struct view *view, struct decision *d)
{
    const struct store_line *l = &view->store->line;
    const struct status *s = &view->self.status;
    bool again = lookup_line_is_mine(view) && l->epoch == view->store->primary.epoch &&
                 l->timeline > s->timeline && l->timeline > view->pg.taken_timeline;
    struct command_line_set line = {
        .timeline = again ? l->timeline : lookup_last_number(view) + 1,
        .parent = s->timeline,
        .lsn = lookup_position(s),
    };

    propose_line(view, d, &line);
}

static void refuse_request(const struct view *view, const struct node_facts *f, struct decision *d)
{
    struct command *c = propose_begin(view, d, COMMAND_REQUEST_END);
    struct sbuf b;

    if (c == NULL) {
        return;
    }
    c->request_end.request_id = view->store->request.id;
    c->request_end.expect_epoch = view->store->primary.epoch;
    c->request_end.expect_owned = view->store->primary.has_owner;
    c->request_end.time_us = view->wall_us;
    (void)str_copy(c->request_end.node, NAME_SIZE, view->self.status.name);
    sbuf_init(&b, c->request_end.text, sizeof(c->request_end.text));
    sbuf_printf(&b, "nobody can take over: %s",
                f->refusals[0] != '\0' ? f->refusals : "there is no other member");
}

/* Asked once for every lease: the answers are awaited, not asked for again, but from who was
 * away. */
static bool positions_are_to_be_asked(const struct view *view, const struct node_facts *f)
{
    return view->positions_asked_ms == 0 || view->positions_asked_ms < view->lease.live_since_ms ||
           f->ask_again;
}

static void add_wakes(const struct view *view, const struct node_facts *f, struct decision *d)
{
    if (view->lease.live) {
        /* Nine tenths: timers are slewed by up to a tenth, the lease is not. */
        propose_wake(view, d, view->now_ms + MAX(view->lease.confirmed_ms * 9 / 10, 1));
        propose_wake(view, d, view->now_ms + view->lease.remaining_ms);
    }
    if ((f->bits & F(ADOPTED)) && !view->lease.live) {
        propose_wake(view, d, view->now_ms + view->lease.promised_ms - view->conf.fence_margin_ms);
    }
    propose_wake(view, d, view->op.retry_ms);
    propose_wake(view, d, f->positions_until_ms);
    propose_wake(view, d, f->lease_give_up_ms);
    if (f->bits & F(HANDING_OVER)) {
        propose_wake(view, d, view->pg.gone_ms + view->conf.ttl_ms);
    }
    if (f->bits & F(STOPPING)) {
        propose_wake(view, d, view->now_ms + 200); /* Deadlines of leaving. */
    }
}

/* After the store shows the mark, never before: from then on there is no next epoch. Nor on
 * one that a resume before this pause may still take back (decide.c makes a new one then). */
static bool is_to_be_disarmed(const struct view *view, uint64_t bits)
{
    const uint64_t all = F(PAUSED) | F(UNFENCED) | F(OWNER_ME) | F(MAY_WRITE);

    return (bits & all) == all && view->lease.mark_is_fresh &&
           !(bits & (F(OP_MAKES_PRIMARY) | F(FROZEN)));
}

void node_rules_decide(const struct view *view, const struct node_facts *facts, struct decision *d)
{
    const struct node_rule *rule = node_rules_match(facts->bits);
    const struct node_rule *ordered;

    ASSERT(rule != NULL);
    ordered = order_rules_act(view, facts, rule);
    rule = ordered != NULL ? ordered : rule;
    if ((rule->effects & EFFECT_PREPARE) && view->conf.pre_promote &&
        view->op.prepared_epoch != view->store->primary.epoch) {
        rule = &node_rule_pre_promote;
    }
    if (must_back_off(view, rule)) {
        rule = &back_off;
    }
    fill_node(view, facts, rule, &d->node);
    if (rule->effects & EFFECT_RELEASE) {
        release(view, facts, rule, d);
    }
    if (rule->effects & EFFECT_REFUSE) {
        refuse_request(view, facts, d);
    }
    if (rule->effects & EFFECT_DECLARE) {
        declare(view, d);
    }
    if (rule->effects & EFFECT_CLAIM) {
        sync_rules_claim(view, d);
    }
    order_rules_say(view, facts, rule, d);
    d->ask_positions = (rule->effects & EFFECT_ASK) && positions_are_to_be_asked(view, facts);
    d->may_exit = (rule->effects & EFFECT_EXIT) != 0;
    d->disarm = is_to_be_disarmed(view, facts->bits);
    d->renew_lease = (facts->bits & F(OWNER_ME)) && !d->drop_lease && !d->may_exit;
    add_wakes(view, facts, d);
    POST(IMPLIES(d->node.action == ACTION_PROMOTE || d->node.action == ACTION_PREPARE,
                 facts->bits & F(LEASE)));
    POST(IMPLIES(rule->action == ACTION_PROMOTE, d->node.timeline > view->self.status.timeline));
    POST(IMPLIES(rule->action == ACTION_PROMOTE, facts->bits & F(SYNC_MINE))); /* S2 */
    POST(IMPLIES(d->disarm, view->store->primary.unfenced && view->raft.caught_up &&
                                view->lease.mark_is_fresh)); /* S1 */
    POST(IMPLIES(d->drop_lease, !(facts->bits & F(MAY_WRITE))));
}
