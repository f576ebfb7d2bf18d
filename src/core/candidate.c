/*
 * Each refusal is a row: a permanent name, and a function that says yes and
 * writes the values it saw. The first row that refuses gives the verdict. Two
 * rows only count while somebody else is eligible without them ("soft"): a
 * stopped server, and an owner that has just given up, are better than nobody.
 */
#include "core/candidate.h"

#include <inttypes.h>

#include "base/str.h"
#include "core/lookup.h"
#include "core/syncset.h"

/* One member while it is judged. */
struct judged {
    const struct view *view;
    const struct candidate_question *question;
    const struct store_member *member;
    const struct status *status; /* NULL = never heard. */
    struct sbuf evidence;
    bool soft;   /* Soft refusals count. */
    bool forced; /* A refusal was passed by an operator's order. */
};

static bool has_text(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static bool is_ordered(const struct judged *j)
{
    return j->question->order && has_text(j->question->named) &&
           str_equal(j->question->named, j->member->name);
}

static bool is_witness(struct judged *j)
{
    return j->member->mode == MODE_WITNESS;
}

static bool hands_over(struct judged *j)
{
    return j->question->without != NULL && str_equal(j->question->without, j->member->name);
}

static bool is_not_named(struct judged *j)
{
    if (!has_text(j->question->named) || str_equal(j->question->named, j->member->name)) {
        return false;
    }
    sbuf_printf(&j->evidence, "asked for %s", j->question->named);
    return true;
}

static bool is_not_heard(struct judged *j)
{
    if (j->status != NULL && lookup_is_heard(j->view, j->member->id)) {
        return false;
    }
    sbuf_add(&j->evidence, j->status == NULL ? "no status yet" : "its last status is too old");
    return true;
}

static bool is_stopping(struct judged *j)
{
    if (!j->status->stopping) {
        return false;
    }
    sbuf_add(&j->evidence, "its agent is stopping");
    return true;
}

static bool hears_no_majority(struct judged *j)
{
    uint32_t n = lookup_voters_heard_by(j->view, j->status);

    if (n >= lookup_majority(j->view)) {
        return false;
    }
    sbuf_printf(&j->evidence, "hears %u of %u voters", n, j->view->raft.n_voters);
    return true;
}

static bool has_no_data(struct judged *j)
{
    if (j->status->data == DATA_VALID) {
        return false;
    }
    sbuf_printf(&j->evidence, "data directory: %s", data_state_name(j->status->data));
    return true;
}

static bool has_other_database(struct judged *j)
{
    uint64_t sysid = j->view->store->cluster.sysid;

    if (sysid == 0 || j->status->sysid == sysid) {
        return false;
    }
    sbuf_printf(&j->evidence, "system identifier %" PRIu64 ", the cluster's is %" PRIu64,
                j->status->sysid, sysid);
    return true;
}

static bool must_not_fail_over(struct judged *j)
{
    if (!j->status->nofailover && !j->member->nofailover && j->status->failover_priority != 0) {
        return false;
    }
    sbuf_add(&j->evidence, "by its tags");
    return true;
}

static bool has_no_watchdog(struct judged *j)
{
    if (!j->status->no_watchdog) {
        return false;
    }
    sbuf_add(&j->evidence,
             "its watchdog.mode is required, and there is none: its /patroni says why");
    return true;
}

static bool has_no_position(struct judged *j)
{
    return j->status->timeline == 0 || lookup_position(j->status) == 0;
}

static bool is_diverged(struct judged *j)
{
    lsn_t end = lookup_timeline_end(j->view->store, j->status->timeline);
    char a[LSN_TEXT_SIZE], b[LSN_TEXT_SIZE];

    if (end == 0 || lookup_position(j->status) <= end) {
        return false;
    }
    sbuf_printf(&j->evidence, "at %s, timeline %u ended at %s",
                lsn_format(lookup_position(j->status), a, sizeof(a)), j->status->timeline,
                lsn_format(end, b, sizeof(b)));
    return true;
}

static bool is_beside_line(struct judged *j)
{
    const struct store_line *l = &j->view->store->line;
    char a[LSN_TEXT_SIZE], b[LSN_TEXT_SIZE];

    if (lookup_line_place(j->view, j->status->timeline, lookup_position(j->status)) !=
        LINE_BESIDE) {
        return false;
    }
    sbuf_printf(&j->evidence, "at %s on timeline %u; timeline %u of %s leaves %u at %s",
                lsn_format(lookup_position(j->status), a, sizeof(a)), j->status->timeline,
                l->timeline, l->owner, l->parent, lsn_format(l->lsn, b, sizeof(b)));
    return true;
}

static bool has_old_timeline(struct judged *j)
{
    const struct view *view = j->view;
    uint32_t line = lookup_line_is_void(view) ? 0 : view->store->line.timeline;
    uint32_t newest = MAX(lookup_newest_timeline(view), line);

    if (!j->view->conf.check_timeline || j->status->timeline >= newest) {
        return false;
    }
    sbuf_printf(&j->evidence, "timeline %u, the newest is %u", j->status->timeline, newest);
    return true;
}

void candidate_explain_unknown(const struct view *view, uint32_t timeline, struct sbuf *b)
{
    const struct store_line *l = &view->store->line;

    if (timeline < l->timeline && !lookup_line_is_void(view)) {
        sbuf_printf(b, "timeline %u of %s was begun or may have been; its end is unknown",
                    l->timeline, l->owner);
    } else {
        sbuf_add(b, "it is unknown how far the last primary got");
    }
}

void candidate_explain_lag(const struct view *view, const struct lag *lag, uint32_t timeline,
                           struct sbuf *b)
{
    char text[LSN_TEXT_SIZE];

    if (!lag->known) {
        candidate_explain_unknown(view, timeline, b);
        return;
    }
    sbuf_printf(b, "misses %" PRIu64 " bytes up to %s (%s", lag->bytes,
                lsn_format(lag->reach, text, sizeof(text)), lag->source);
    if (lag->age_ms != UINT64_MAX) {
        sbuf_printf(b, ", %" PRIu64 ".%" PRIu64 " s ago", lag->age_ms / 1000,
                    lag->age_ms % 1000 / 100);
    }
    sbuf_add(b, ")");
}

static bool lags(struct judged *j)
{
    struct lag lag;

    candidate_lag(j->view, j->member->name, j->status->timeline, lookup_position(j->status), &lag);
    if (!lag.exceeded) {
        return false;
    }
    candidate_explain_lag(j->view, &lag, j->status->timeline, &j->evidence);
    if (lag.known) {
        sbuf_printf(&j->evidence, ", allowed %" PRId64, j->view->conf.maximum_lag_on_failover);
    }
    return true;
}

static bool is_not_synchronous(struct judged *j)
{
    if (syncset_allows(j->view->store, j->member->name)) {
        return false;
    }
    sbuf_printf(&j->evidence, "not in the synchronous set of %s", j->view->store->sync.primary);
    return true;
}

/* On a newer timeline it has what its history took over of ours, and no more. */
static bool has_flushed(const struct judged *j)
{
    const struct candidate_question *q = j->question;
    lsn_t has = lookup_position(j->status);

    if (j->status->timeline < q->must_timeline) {
        return false;
    }
    if (j->status->timeline > q->must_timeline) {
        has = lookup_timeline_end(j->view->store, q->must_timeline);
    }
    return has >= q->must_have;
}

static bool misses_wal(struct judged *j)
{
    const struct candidate_question *q = j->question;
    char a[LSN_TEXT_SIZE], b[LSN_TEXT_SIZE];

    if (q->must_have == 0 || has_flushed(j)) {
        return false;
    }
    sbuf_printf(&j->evidence, "at %s on timeline %u, must have %s of timeline %u",
                lsn_format(lookup_position(j->status), a, sizeof(a)), j->status->timeline,
                lsn_format(q->must_have, b, sizeof(b)), q->must_timeline);
    return true;
}

static bool does_not_stream(struct judged *j)
{
    return j->question->must_stream && !j->status->streaming;
}

/* Others tell of a standby that hangs that it is unknown (lookup_tell()); what this node knows
 * of itself does not say so. */
static bool hangs_here(const struct view *view, const struct status *status)
{
    return status->id == view->self.status.id && status->pg_role == PG_ROLE_STANDBY &&
           !lookup_answers(view, view->now_ms);
}

static bool runs(const struct view *view, const struct status *status)
{
    return status->pg_state == PG_STATE_RUNNING &&
           (status->pg_role == PG_ROLE_STANDBY || status->pg_role == PG_ROLE_PRIMARY) &&
           !hangs_here(view, status);
}

static bool does_not_run(struct judged *j)
{
    enum pg_state state = j->status->pg_state;

    if (runs(j->view, j->status) || !(j->soft || j->question->running_only)) {
        return false;
    }
    state = hangs_here(j->view, j->status) ? PG_STATE_UNKNOWN : state;
    sbuf_printf(&j->evidence, "PostgreSQL is %s", pg_state_name(state));
    return true;
}

static bool has_just_released(struct judged *j)
{
    if (!j->soft || !lookup_gave_up(j->view->store, j->member->name)) {
        return false;
    }
    sbuf_printf(&j->evidence, "it gave up epoch %" PRIu64, j->view->store->primary.epoch);
    return true;
}

static const struct {
    const char *name;
    bool (*refuses)(struct judged *j);
    bool passed_by_order; /* An operator's order by name passes it. */
} refusals[] = {
    /* clang-format off */
    {"witness",        is_witness,         false},
    {"hands-over",     hands_over,         false},
    {"not-named",      is_not_named,       false},
    {"not-heard",      is_not_heard,       false},
    {"stopping",       is_stopping,        false},
    {"no-majority",    hears_no_majority,  false},
    {"no-data",        has_no_data,        false},
    {"other-database", has_other_database, false},
    {"nofailover",     must_not_fail_over, false},
    {"no-watchdog",    has_no_watchdog,    false},
    {"no-position",    has_no_position,    false},
    {"diverged",       is_diverged,        false},
    {"diverged",       is_beside_line,     true},
    {"timeline",       has_old_timeline,   false},
    {"sync",           is_not_synchronous, true},
    {"lag",            lags,               true},
    {"misses-wal",     misses_wal,         false},
    {"not-streaming",  does_not_stream,    false},
    {"not-running",    does_not_run,       false},
    {"just-released",  has_just_released,  false},
    /* clang-format on */
};

static uint64_t age_of(const struct view *view, const char *source)
{
    const struct store_progress *progress = &view->store->progress;

    if (str_equal(source, "progress") && progress->time_us != 0) {
        return (uint64_t)MAX(view->wall_us - progress->time_us, 0) / US_PER_MS;
    }
    for (uint32_t i = 0; i < view->n_peers; i++) {
        const struct view_peer *peer = &view->peers[i];

        if (str_equal(peer->status.name, source)) {
            return view->now_ms - MIN(MAX(peer->received_ms, peer->positions_ms), view->now_ms);
        }
    }
    return str_equal(source, view->self.status.name) ? 0 : UINT64_MAX;
}

void candidate_lag(const struct view *view, const char *name, uint32_t timeline, lsn_t position,
                   struct lag *ret_lag)
{
    struct reach reach;

    lookup_reach(view, timeline, &reach);
    memset(ret_lag, 0, sizeof(*ret_lag));
    ret_lag->known = reach.known;
    ret_lag->reach = reach.lsn;
    ret_lag->bytes = reach.lsn > position ? reach.lsn - position : 0;
    (void)str_copy(ret_lag->source, sizeof(ret_lag->source), reach.source);
    ret_lag->age_ms = age_of(view, reach.source);
    if (lookup_line_place(view, timeline, position) == LINE_UNKNOWN) {
        ret_lag->known = false;
        ret_lag->exceeded = true;
        return; /* It may not even be a part of what was written since. */
    }
    if (view->conf.maximum_lag_on_failover < 0 || syncset_confirms(view->store, name)) {
        return; /* No bound; or exempt: it holds all that was acknowledged. */
    }
    ret_lag->exceeded =
        !reach.known || ret_lag->bytes > (uint64_t)view->conf.maximum_lag_on_failover;
}

static void judge(const struct view *view, const struct candidate_question *question,
                  const struct store_member *member, bool soft, struct candidate *c)
{
    struct judged j = {.view = view, .question = question, .member = member, .soft = soft};

    memset(c, 0, sizeof(*c));
    (void)str_copy(c->name, sizeof(c->name), member->name);
    sbuf_init(&j.evidence, c->evidence, sizeof(c->evidence));
    j.status = lookup_status(view, member->id);
    if (j.status != NULL) {
        c->timeline = j.status->timeline;
        c->flushed = lookup_position(j.status);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(refusals); i++) {
        if (!refusals[i].refuses(&j)) {
            continue;
        }
        if (!refusals[i].passed_by_order || !is_ordered(&j)) {
            c->verdict = refusals[i].name;
            return;
        }
        sbuf_printf(&j.evidence, " (%s passed by order); ", refusals[i].name);
        j.forced = true;
    }
    c->verdict = "eligible";
    c->eligible = true;
    c->forced = j.forced;
}

/* What else the order of two members depends on. */
struct rank {
    const struct view *view;
    const struct candidate_question *question;
};

/* Returns > 0 when a comes first by this key, < 0 when b does. */
static int first(bool a, bool b)
{
    return (int)a - (int)b;
}

static int compare_positions(const struct candidate *a, const struct candidate *b)
{
    if (a->timeline != b->timeline) {
        return a->timeline > b->timeline ? 1 : -1;
    }
    return a->flushed == b->flushed ? 0 : (a->flushed > b->flushed ? 1 : -1);
}

static int compare_members(const struct rank *rank, const struct candidate *a,
                           const struct candidate *b)
{
    const struct store *s = rank->view->store;
    const struct store_member *ma = store_find_member(s, a->name);
    const struct store_member *mb = store_find_member(s, b->name);
    const struct status *sa = lookup_status(rank->view, ma->id);
    const struct status *sb = lookup_status(rank->view, mb->id);
    const char *preferred = rank->question->preferred;
    int order = first(has_text(preferred) && str_equal(a->name, preferred),
                      has_text(preferred) && str_equal(b->name, preferred));

    order = order != 0 ? order : first(runs(rank->view, sa), runs(rank->view, sb));
    if (s->primary.epoch == 0) { /* A database found running is the one in use. */
        order = order != 0 ? order
                           : first(sa->pg_role == PG_ROLE_PRIMARY, sb->pg_role == PG_ROLE_PRIMARY);
    }
    order = order != 0 ? order : compare_positions(a, b);
    if (order == 0 && sa->failover_priority != sb->failover_priority) {
        order = sa->failover_priority > sb->failover_priority ? 1 : -1;
    }
    return order != 0
               ? order
               : first(str_equal(a->name, s->primary.owner), str_equal(b->name, s->primary.owner));
}

static bool comes_before(const struct rank *rank, const struct candidate *a,
                         const struct candidate *b)
{
    int order = first(a->eligible, b->eligible);

    if (order == 0 && a->eligible) {
        order = compare_members(rank, a, b);
    }
    return order != 0 ? order > 0 : strcmp(a->name, b->name) < 0;
}

static void sort(const struct rank *rank, struct candidate *candidates, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        struct candidate c = candidates[i];
        uint32_t at = i;

        for (; at > 0 && comes_before(rank, &c, &candidates[at - 1]); at--) {
            candidates[at] = candidates[at - 1];
        }
        candidates[at] = c;
    }
}

static uint32_t judge_all(const struct view *view, const struct candidate_question *question,
                          bool soft, struct candidate candidates[MEMBERS_MAX])
{
    const struct store *s = view->store;
    uint32_t n_eligible = 0;

    PRE(s->n_members <= MEMBERS_MAX);
    for (uint32_t i = 0; i < s->n_members; i++) {
        judge(view, question, &s->members[i], soft, &candidates[i]);
        n_eligible += candidates[i].eligible ? 1u : 0u;
    }
    return n_eligible;
}

uint32_t candidate_rank(const struct view *view, const struct candidate_question *question,
                        struct candidate candidates[MEMBERS_MAX])
{
    struct rank rank = {.view = view, .question = question};
    uint32_t n = view->store->n_members;

    if (judge_all(view, question, true, candidates) == 0) {
        (void)judge_all(view, question, false, candidates); /* Better these than nobody. */
    }
    sort(&rank, candidates, n);
    for (uint32_t i = 0; i < n; i++) {
        POST(candidates[i].verdict != NULL);
        POST(IMPLIES(candidates[i].forced, candidates[i].eligible && question->order));
    }
    return n;
}

const struct candidate *candidate_best(const struct candidate *candidates, uint32_t n)
{
    return n > 0 && candidates[0].eligible ? &candidates[0] : NULL;
}

const struct candidate *candidate_find(const struct candidate *candidates, uint32_t n,
                                       const char *name)
{
    for (uint32_t i = 0; i < n; i++) {
        if (str_equal(candidates[i].name, name)) {
            return &candidates[i];
        }
    }
    return NULL;
}

void candidate_explain_refused(const struct candidate *candidates, uint32_t n, char *text,
                               size_t size)
{
    struct sbuf b;

    sbuf_init(&b, text, size);
    for (uint32_t i = 0; i < n; i++) {
        const struct candidate *c = &candidates[i];

        if (!c->eligible) {
            sbuf_printf(&b, "%s%s: %s", b.length > 0 ? "; " : "", c->name, c->verdict);
            if (c->evidence[0] != '\0') {
                sbuf_printf(&b, " (%s)", c->evidence);
            }
        }
    }
}
