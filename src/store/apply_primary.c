/*
 * Epochs: who may be primary, and the timelines that owners declare. One owner an
 * epoch for ever (S3): an epoch is made by epoch_take as the present one plus one,
 * and nothing else writes owner, owner_id and instance.
 *
 *     epoch_take ──▶ epoch_held ──▶ epoch_release ──▶ epoch_take ...
 *         └──────────────┴── (owner lost) ────────────────┘
 */
#include "store/apply_internal.h"

/* The epoch is the present one and has its owner. */
static enum apply_result check_owned(const struct store *s, uint64_t expect_epoch)
{
    if (expect_epoch != s->primary.epoch) {
        return APPLY_REFUSED_EPOCH;
    }
    return s->primary.has_owner ? APPLY_DONE : APPLY_REFUSED_STATE;
}

/* Whether a take fits the state of initialisation (command.h, cluster_init). A
 * take over from an owner that vanished while it initialised must initialise
 * again: there is no other database. */
static bool init_fits(const struct store *s, const struct command_epoch_take *c)
{
    return c->initialize == (s->cluster.init != INIT_DONE);
}

static enum apply_result check_take(const struct store *s, const struct command_epoch_take *c)
{
    const struct store_member *m = find_postgres(s, c->owner);

    if (c->expect_epoch != s->primary.epoch) {
        return APPLY_REFUSED_EPOCH;
    }
    if (c->expect_sync_revision != s->sync.revision) {
        return APPLY_REFUSED_SYNC;
    }
    if (s->primary.unfenced || !init_fits(s, c)) {
        return APPLY_REFUSED_STATE;
    }
    if (m == NULL || m->id != c->owner_id || c->instance == 0) {
        return APPLY_REFUSED_VALUE;
    }
    if (!c->forced && !store_sync_allows(s, c->owner)) {
        return APPLY_REFUSED_SYNC; /* S2 */
    }
    return APPLY_DONE;
}

/* Epochs in a row that never held a lease, up to and with the present one. */
static uint32_t count_barren(const struct store_primary *p)
{
    if (p->epoch == 0 || p->held) {
        return 0;
    }
    return p->barren < UINT32_MAX ? p->barren + 1 : p->barren;
}

/* "rule: evidence", cut. */
static void put_reason(struct store_primary *p, const char *rule, const char *evidence)
{
    bool both = rule[0] != '\0' && evidence[0] != '\0';
    char text[TEXT_SIZE];
    struct sbuf b;

    sbuf_init(&b, text, sizeof(text));
    sbuf_printf(&b, "%s%s%s", rule, both ? ": " : "", evidence);
    PUT(p->reason, text);
}

static void begin_epoch(struct store_primary *p, const struct command_epoch_take *c)
{
    uint64_t epoch = p->epoch + 1;
    uint32_t barren = count_barren(p);

    memset(p, 0, sizeof(*p));
    p->has_owner = true;
    p->epoch = epoch;
    PUT(p->owner, c->owner);
    p->owner_id = c->owner_id;
    p->instance = c->instance;
    p->since_us = c->time_us;
    put_reason(p, c->rule, c->evidence);
    p->barren = barren;
}

enum apply_result apply_epoch_take(struct apply *a, const struct command_epoch_take *c)
{
    enum apply_result result = check_take(a->s, c);
    bool overruled = !store_sync_allows(a->s, c->owner);

    if (result != APPLY_DONE) {
        return result;
    }
    begin_epoch(&a->s->primary, c);
    a->changes |= CHANGE_PRIMARY;
    if (a->s->cluster.init == INIT_NONE) {
        a->s->cluster.init = INIT_RUNNING;
        a->changes |= CHANGE_CLUSTER;
    }
    ASSERT(IMPLIES(overruled, c->forced));
    ledger_write(a, &(struct ledger_text){
                        .time_us = c->time_us,
                        .node = c->node,
                        .rule = c->rule,
                        .evidence = c->evidence,
                        .subject = c->owner,
                        .result = overruled   ? "epoch-overruled-sync"
                                  : c->forced ? "epoch-forced"
                                              : "epoch-taken",
                    });
    return APPLY_DONE;
}

enum apply_result apply_epoch_held(struct apply *a, const struct command_epoch_held *c)
{
    enum apply_result result = check_owned(a->s, c->expect_epoch);

    if (result != APPLY_DONE) {
        return result;
    }
    if (a->s->primary.held) {
        return APPLY_UNCHANGED;
    }
    a->s->primary.held = true;
    a->s->primary.barren = 0;
    a->changes |= CHANGE_PRIMARY;
    return APPLY_DONE;
}

/* The last owner's instance and id stay: they belong to the epoch for ever. */
static void end_epoch(struct store_primary *p, const struct command_epoch_release *c)
{
    p->has_owner = false;
    p->unfenced = false; /* None of its processes is left that could write. */
    p->since_us = c->time_us;
    put_reason(p, c->rule, c->evidence);
    p->released_lsn = c->lsn;
    p->released_timeline = c->timeline;
    PUT(p->successor, c->successor);
}

enum apply_result apply_epoch_release(struct apply *a, const struct command_epoch_release *c)
{
    struct store *s = a->s;
    enum apply_result result = check_owned(s, c->expect_epoch);

    if (result == APPLY_REFUSED_STATE && s->primary.epoch != 0) {
        return APPLY_UNCHANGED; /* Released already. */
    }
    if (result != APPLY_DONE) {
        return result;
    }
    end_epoch(&s->primary, c);
    a->changes |= CHANGE_PRIMARY;
    if (s->cluster.init == INIT_RUNNING) {
        s->cluster.init = INIT_NONE; /* It gave up; whoever is next starts afresh. */
        a->changes |= CHANGE_CLUSTER;
    }
    (void)progress_move(a, &(struct store_progress){.lsn = c->lsn, /* Unknown or behind is fine. */
                                                    .timeline = c->timeline,
                                                    .epoch = c->expect_epoch,
                                                    .time_us = c->time_us});
    ledger_write(a, &(struct ledger_text){.time_us = c->time_us,
                                          .node = c->node,
                                          .rule = c->rule,
                                          .evidence = c->evidence,
                                          .subject = c->successor,
                                          .result = "epoch-released"});
    return APPLY_DONE;
}

enum apply_result apply_epoch_unfenced(struct apply *a, const struct command_epoch_unfenced *c)
{
    enum apply_result result = check_owned(a->s, c->expect_epoch);

    if (result != APPLY_DONE) {
        return result;
    }
    if (a->s->primary.unfenced == c->unfenced) {
        return APPLY_UNCHANGED;
    }
    a->s->primary.unfenced = c->unfenced;
    a->changes |= CHANGE_PRIMARY;
    ledger_write(a, &(struct ledger_text){.time_us = c->time_us,
                                          .node = c->node,
                                          .rule = c->rule,
                                          .evidence = c->evidence,
                                          .subject = a->s->primary.owner,
                                          .result = c->unfenced ? "unfenced" : "mark-taken-back"});
    return APPLY_DONE;
}

void line_put(struct apply *a, uint32_t timeline, uint32_t parent, lsn_t lsn)
{
    const struct store_primary *p = &a->s->primary;
    struct store_line *l = &a->s->line;

    memset(l, 0, sizeof(*l));
    if (p->has_owner) {
        l->epoch = p->epoch;
        l->owner_id = p->owner_id;
        PUT(l->owner, p->owner);
    }
    l->timeline = timeline;
    l->parent = parent;
    l->lsn = lsn;
    a->changes |= CHANGE_LINE;
}

/* Nobody else may ever have begun to write that timeline. What the owner itself
 * declared in this epoch it may correct, and a line without an owner is there to
 * be taken by whoever runs the database it was found with. */
static bool line_is_free(const struct store *s, uint32_t timeline)
{
    const struct store_line *l = &s->line;
    bool ours = l->epoch == s->primary.epoch || l->owner_id == 0;
    uint32_t ended = s->n_history > 0 ? s->history[s->n_history - 1].timeline : 0;

    return timeline > ended && (timeline > l->timeline || (ours && timeline == l->timeline));
}

enum apply_result apply_line_set(struct apply *a, const struct command_line_set *c)
{
    struct store *s = a->s;
    const struct store_line *l = &s->line;
    enum apply_result result = check_owned(s, c->expect_epoch);

    if (result != APPLY_DONE) {
        return result;
    }
    if (s->cluster.init != INIT_DONE) {
        return APPLY_REFUSED_STATE;
    }
    if (c->timeline == 0 || c->parent >= c->timeline || (c->parent != 0) != (c->lsn != 0)) {
        return APPLY_REFUSED_VALUE;
    }
    if (l->epoch == s->primary.epoch && l->timeline == c->timeline && l->parent == c->parent &&
        l->lsn == c->lsn) {
        return APPLY_UNCHANGED;
    }
    if (!line_is_free(s, c->timeline)) {
        return APPLY_REFUSED_VALUE;
    }
    line_put(a, c->timeline, c->parent, c->lsn);
    ledger_write(a, &(struct ledger_text){.time_us = c->time_us,
                                          .node = c->node,
                                          .rule = c->rule,
                                          .evidence = c->evidence,
                                          .subject = s->primary.owner,
                                          .result = "line-declared"});
    return APPLY_DONE;
}
