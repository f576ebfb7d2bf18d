/* The facts of the cluster, as the Raft leader sees them. */
#include <inttypes.h>

#include "base/str.h"
#include "core/cluster_rules.h"
#include "core/lookup.h"
#include "lease.h"

/* clang-format off */
const struct impossible cluster_impossible[] = {
    {F(C_INIT_NONE) | F(C_INIT_RUNNING),       0,               "one state of initialisation"},
    {F(C_INIT_NONE) | F(C_OWNED),              0,               "an owner has or makes a database"},
    {F(C_INIT_RUNNING),                        F(C_OWNED),      "an owner initialises"},
    {F(C_ONE_DATABASE) | F(C_MANY_DATABASES),  0,               "one or many"},
    {F(C_ALL_EMPTY) | F(C_ONE_DATABASE),       0,               "none or one"},
    {F(C_ALL_EMPTY) | F(C_MANY_DATABASES),     0,               "none or many"},
    {F(C_UNFENCED),                            F(C_OWNED),      "an owner is unfenced"},
    {F(C_OWNER_CUT),                           F(C_OWNED),      "an owner is cut off"},
    {F(C_OWNER_CUT) | F(C_VOTER_CUT),          0,               "leadership goes to one voter, the owner comes first"},
    {F(C_SUCCESSOR) | F(C_OWNED),              0,               "a release names a successor"},
    {F(C_GAVE_UP) | F(C_OWNED),                0,               "who gave up is owner no more"},
    {F(C_OWNER_RECOVERS),                      F(C_OWNED),      "of an epoch that was not released"},
    {F(C_ORDERED),                             F(C_CANDIDATE) | F(C_FORCED), "who is to be next is eligible"},
    {F(C_SUCCESSOR),                           F(C_CANDIDATE),  "an eligible successor is a candidate"},
};
const size_t cluster_impossible_n = ARRAY_LENGTH(cluster_impossible);
/* clang-format on */

static uint64_t bit_if(bool condition, uint64_t bit)
{
    return condition ? bit : 0;
}

/* The view has one clock; the lease library asks for two. */
static struct lease_time time_of(uint64_t ms)
{
    return (struct lease_time){.raw_ns = ms * NS_PER_MS, .boot_ns = ms * NS_PER_MS};
}

static enum lease_promise_state promise_of(enum promise_state state)
{
    switch (state) {
    case PROMISE_NONE:
        return LEASE_PROMISE_NONE;
    case PROMISE_LIVE:
        return LEASE_PROMISE_LIVE;
    case PROMISE_QUARANTINE:
        return LEASE_PROMISE_QUARANTINE;
    }
    return LEASE_PROMISE_LIVE;
}

/* This node's own word is as fresh as can be. */
static bool promises_are_over(const struct view *view)
{
    struct lease_voter_set set = {.index = 1, .n = view->raft.n_voters};
    struct lease_report reports[VOTERS_MAX];
    struct lease_arbiter a = {
        .committed = &set,
        .reports = reports,
        .ttl_ns = view->conf.ttl_ms * NS_PER_MS,
        .status_period_ns = MIN(view->conf.status_period_ms * NS_PER_MS, LEASE_TTL_MAX_NS),
        .leader_since = time_of(view->raft.leader_since_ms),
    };

    for (uint8_t i = 0; i < view->raft.n_voters; i++) {
        node_id id = view->raft.voters[i];
        const struct status *s = lookup_status(view, id);
        const struct view_peer *peer = lookup_peer(view, id);

        set.ids[i] = id;
        if (s != NULL) {
            reports[a.n_reports++] = (struct lease_report){
                .voter = id,
                .state = promise_of(s->promise),
                .received = time_of(peer != NULL ? peer->received_ms : view->now_ms),
            };
        }
    }
    return lease_voter_set_is_valid(&set) &&
           lease_takeover_majority_is_free(&a, time_of(view->now_ms));
}

/*
 * The owner of a live lease that we do not hear while another voter does: that
 * voter judges better. It says itself that it promised to this epoch. A new
 * leader waits two periods first, to have been told anything at all.
 */
static node_id find_better_leader(const struct view *view)
{
    const struct store_primary *p = &view->store->primary;
    node_id best = 0;

    if (!p->has_owner || lookup_is_heard(view, p->owner_id) ||
        view->now_ms < view->raft.leader_since_ms + 2 * view->conf.status_period_ms) {
        return 0;
    }
    for (uint8_t i = 0; i < view->raft.n_voters; i++) {
        node_id id = view->raft.voters[i];
        const struct status *s = lookup_status(view, id);

        if (s == NULL || id == view->self.status.id ||
            !lookup_is_heard_since(view, id, view->raft.leader_since_ms) ||
            !lookup_hears(s, p->owner_id) || s->promise != PROMISE_LIVE ||
            s->promise_epoch != p->epoch) {
            continue;
        }
        best = best == 0 ? id : MIN(best, id);
    }
    return best;
}

static bool is_long_unheard(const struct view *view, node_id id)
{
    const struct view_peer *peer = lookup_peer(view, id);

    return id != view->self.status.id &&
           (peer == NULL || view->now_ms >= peer->received_ms + view->conf.ttl_ms);
}

/* It hears us, all that we hear, and somebody we have not heard for long. */
static bool hears_more_than_we(const struct view *view, const struct status *s)
{
    bool more = false;

    for (uint8_t i = 0; i < view->raft.n_voters; i++) {
        node_id id = view->raft.voters[i];

        if (lookup_hears(s, id)) {
            more = more || is_long_unheard(view, id);
        } else if (lookup_is_heard(view, id)) {
            return false;
        }
    }
    return more;
}

/*
 * A voter cut from the leader is sent no log: it knows nothing new and its
 * operators get no result. Whoever hears it and everybody we hear leads better.
 * So that leadership does not flap with a link, ours and the silence must both
 * have lasted for a ttl. Raft's own elections do not mend this: the voter that
 * is cut can not win against one that hears the leader.
 */
static node_id find_better_connected(const struct view *view)
{
    const struct status *best = NULL;

    if (view->now_ms < view->raft.leader_since_ms + view->conf.ttl_ms) {
        return 0;
    }
    for (uint8_t i = 0; i < view->raft.n_voters; i++) {
        node_id id = view->raft.voters[i];
        const struct status *s = lookup_status(view, id);

        if (s == NULL || id == view->self.status.id || s->stopping || !lookup_is_heard(view, id) ||
            !hears_more_than_we(view, s)) {
            continue;
        }
        if (best == NULL || lookup_voters_heard_by(view, s) > lookup_voters_heard_by(view, best)) {
            best = s;
        }
    }
    return best != NULL ? best->id : 0;
}

/* What the voters have in their data directories. */
struct survey {
    bool all_heard;
    bool all_empty;
    uint32_t n_databases; /* Voters with a database. */
    bool differ;
    uint64_t sysid;
    uint32_t timeline; /* The newest one of them. */
};

static bool is_empty(const struct status *s)
{
    return s->data == DATA_EMPTY || s->data == DATA_INCOMPLETE;
}

static void survey_voter(const struct view *view, node_id id, struct survey *survey, struct sbuf *b)
{
    const struct status *s = lookup_status(view, id);
    const char *separator = b->length > 0 ? ", " : "";

    if (s == NULL || !lookup_is_heard(view, id)) {
        survey->all_heard = false;
        sbuf_printf(b, "%s%s: not heard", separator, s != NULL ? s->name : "a voter");
        return;
    }
    if (store_find_member_by_id(view->store, id) == NULL) {
        survey->all_heard = false; /* Nobody can be owner before the store lists it. */
        sbuf_printf(b, "%s%s: not listed yet", separator, s->name);
        return;
    }
    if (s->mode == MODE_WITNESS) {
        return;
    }
    survey->all_empty = survey->all_empty && is_empty(s);
    sbuf_printf(b, "%s%s: %s%s", separator, s->name, data_state_name(s->data),
                s->no_watchdog ? ", without the watchdog it requires" : "");
    if (s->data == DATA_VALID && s->sysid != 0) {
        survey->differ = survey->differ || (survey->n_databases > 0 && survey->sysid != s->sysid);
        survey->sysid = s->sysid;
        survey->timeline = MAX(survey->timeline, s->timeline);
        survey->n_databases++;
        sbuf_printf(b, " %" PRIu64, s->sysid);
    }
}

static void survey_voters(const struct view *view, struct survey *survey, char *text, size_t size)
{
    struct sbuf b;

    *survey = (struct survey){.all_heard = view->raft.n_voters > 0, .all_empty = true};
    sbuf_init(&b, text, size);
    for (uint8_t i = 0; i < view->raft.n_voters; i++) {
        survey_voter(view, view->raft.voters[i], survey, &b);
    }
}

static bool is_barred(const struct store_member *m, const struct status *s)
{
    return m->nofailover || s->nofailover || s->failover_priority == 0;
}

/* Whose turn it is to make the database: one that has it ready already (its
 * agent or machine restarted just before it could say so), else the first name
 * that can make one, and rather one that may be primary again later: whoever is
 * barred could not take back its own epoch, and nobody else has the data yet. */
static void find_initializer(const struct view *view, char name[NAME_SIZE])
{
    const struct store *store = view->store;
    bool barred = false; /* Whoever is in `name`. */

    name[0] = '\0';
    for (uint32_t i = 0; i < store->n_members; i++) {
        const struct store_member *m = &store->members[i];
        const struct status *s = lookup_status(view, m->id);

        if (m->mode == MODE_WITNESS || s == NULL || !lookup_is_voter(view, m->id) ||
            !lookup_is_heard(view, m->id) || s->stopping ||
            lookup_voters_heard_by(view, s) < lookup_majority(view) || s->no_watchdog) {
            continue;
        }
        if (s->data == DATA_VALID) {
            (void)str_copy(name, NAME_SIZE, m->name);
            return;
        }
        if (is_empty(s) && s->can_bootstrap && (name[0] == '\0' || (barred && !is_barred(m, s)))) {
            (void)str_copy(name, NAME_SIZE, m->name);
            barred = is_barred(m, s);
        }
    }
}

static void gather_database(const struct view *view, struct cluster_facts *f)
{
    struct survey survey;

    survey_voters(view, &survey, f->evidence, sizeof(f->evidence));
    find_initializer(view, f->initializer);
    f->sysid = survey.sysid;
    f->timeline = survey.timeline;
    f->bits |= bit_if(survey.all_heard, F(C_ALL_HEARD)) | bit_if(survey.all_empty, F(C_ALL_EMPTY)) |
               bit_if(survey.n_databases > 0 && !survey.differ, F(C_ONE_DATABASE)) |
               bit_if(survey.differ, F(C_MANY_DATABASES)) |
               bit_if(f->initializer[0] != '\0', F(C_INITIALIZER));
}

static bool failover_is_ordered(const struct view *view)
{
    const struct store_request *r = &view->store->request;

    return lookup_request_is_due(view) && r->kind == REQUEST_FAILOVER && r->to[0] != '\0';
}

/* The member an operator named, judged with the order and without it. */
static void gather_order(const struct view *view, struct cluster_facts *f)
{
    const struct store_request *r = &view->store->request;
    struct candidate candidates[MEMBERS_MAX];
    struct candidate_question q = {.named = r->to, .order = true};
    const struct candidate *c;
    uint32_t n;

    if (!failover_is_ordered(view)) {
        return;
    }
    n = candidate_rank(view, &q, candidates);
    c = candidate_find(candidates, n, r->to);
    if (c == NULL) {
        return;
    }
    f->ordered = *c;
    if (c->forced) {
        f->bits |= F(C_FORCED);
        f->chosen = *c;
    }
}

/* A switchover ends with its owner: only a failover takes from one that is gone. */
static bool order_names_chosen(const struct view *view, const struct cluster_facts *f)
{
    const struct store_request *r = &view->store->request;

    return lookup_request_is_due(view) && r->to[0] != '\0' && str_equal(r->to, f->chosen.name) &&
           (!view->store->primary.has_owner || r->kind == REQUEST_FAILOVER);
}

static void gather_candidates(const struct view *view, struct cluster_facts *f)
{
    const struct store *s = view->store;
    struct candidate_question q = {.preferred = s->primary.successor};
    const struct candidate *best;
    const struct candidate *successor;

    if (failover_is_ordered(view)) {
        q.preferred = s->request.to;
    }
    f->n_candidates = candidate_rank(view, &q, f->candidates);
    best = candidate_best(f->candidates, f->n_candidates);
    successor = candidate_find(f->candidates, f->n_candidates, s->primary.successor);
    if (best != NULL) {
        f->bits |= F(C_CANDIDATE);
        f->chosen = *best;
    }
    if (!s->primary.has_owner && successor != NULL && successor->eligible) {
        f->bits |= F(C_SUCCESSOR);
        f->chosen = *successor;
    } else {
        gather_order(view, f);
    }
    f->bits |= bit_if(!s->primary.has_owner &&
                          (lookup_gave_up(s, f->chosen.name) || lookup_give_ups_in_a_row(s) > 1),
                      F(C_GAVE_UP)) |
               bit_if(order_names_chosen(view, f), F(C_ORDERED));
}

/*
 * The last owner's machine came back: its agent is heard, its data is there, it takes
 * part in Raft again (without, it starts nothing), and PostgreSQL is not up yet. Until it is,
 * nobody knows where its WAL ends, so for as long as a start in place would be given it is waited
 * for.
 */
static bool owner_recovers(const struct view *view, struct cluster_facts *f)
{
    const struct store_primary *p = &view->store->primary;
    const struct status *s = lookup_named(view, p->owner);
    uint64_t since = MAX(view->raft.leader_since_ms, view->raft.epoch_applied_ms);

    if (!p->has_owner || !p->held || s == NULL || !lookup_is_heard(view, s->id) || s->raft_fails ||
        s->data != DATA_VALID || s->timeline < lookup_newest_timeline(view) ||
        s->pg_state == PG_STATE_RUNNING || s->pg_state == PG_STATE_START_FAILED ||
        s->pg_state == PG_STATE_UNKNOWN) { /* With valid data: it is up, and hangs. */
        return false;
    }
    f->recovery_ms = since + view->conf.primary_start_timeout_ms;
    return view->now_ms < f->recovery_ms;
}

/* Who should be Raft leader instead of us. */
static void gather_leadership(const struct view *view, bool ready, struct cluster_facts *f)
{
    if (!ready) {
        return;
    }
    f->transfer_to = find_better_leader(view);
    if (f->transfer_to != 0) {
        f->bits |= F(C_OWNER_CUT);
        return;
    }
    f->transfer_to = find_better_connected(view);
    f->bits |= bit_if(f->transfer_to != 0, F(C_VOTER_CUT));
}

void cluster_facts_gather(const struct view *view, struct cluster_facts *ret_facts)
{
    struct cluster_facts *f = ret_facts;
    const struct store *s = view->store;
    bool ready = view->raft.usable && view->raft.caught_up;

    memset(f, 0, sizeof(*f));
    if (!view->raft.is_leader) {
        return;
    }
    f->timer_ms = view->raft.epoch_applied_ms + facts_takeover_wait_ms(view);
    gather_leadership(view, ready, f);
    f->bits |= F(C_LEADER) | bit_if(ready, F(C_READY)) | bit_if(s->cluster.id != 0, F(C_CREATED)) |
               bit_if(view->conf.pause, F(C_PAUSED)) |
               bit_if(s->cluster.init == INIT_NONE, F(C_INIT_NONE)) |
               bit_if(s->cluster.init == INIT_RUNNING, F(C_INIT_RUNNING)) |
               bit_if(s->primary.has_owner, F(C_OWNED)) |
               bit_if(s->primary.unfenced, F(C_UNFENCED)) |
               bit_if(promises_are_over(view), F(C_PROMISES_OVER)) |
               bit_if(view->now_ms >= f->timer_ms, F(C_TIMER_OVER)) |
               bit_if(owner_recovers(view, f), F(C_OWNER_RECOVERS));
    gather_database(view, f);
    gather_candidates(view, f);
}
