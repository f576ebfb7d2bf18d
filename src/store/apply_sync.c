/*
 * The synchronous state, and what is known about the primary's WAL: positions
 * and ended timelines. All of it belongs to an epoch and is refused when the
 * epoch has moved.
 */
#include "store/apply_internal.h"

/* Sorts a copy, so that the same set is the same bytes. */
static void sort_names(const struct command_sync_set *c, char sorted[SYNC_MAX][NAME_SIZE])
{
    memset(sorted, 0, (size_t)SYNC_MAX * NAME_SIZE);
    for (uint32_t i = 0; i < c->n_names; i++) {
        uint32_t at = i;

        for (; at > 0 && strcmp(sorted[at - 1], c->names[i]) > 0; at--) {
            memcpy(sorted[at], sorted[at - 1], NAME_SIZE);
        }
        put_text(sorted[at], NAME_SIZE, c->names[i]);
    }
}

/* Names are other members that run PostgreSQL, each once. */
static bool names_are_good(const struct store *s, const struct command_sync_set *c,
                           char sorted[SYNC_MAX][NAME_SIZE])
{
    for (uint32_t i = 0; i < c->n_names; i++) {
        bool twice = i > 0 && str_equal(sorted[i - 1], sorted[i]);

        if (twice || find_postgres(s, sorted[i]) == NULL || str_equal(sorted[i], c->primary)) {
            return false;
        }
    }
    return c->quorum <= c->n_names;
}

static enum apply_result check_sync(const struct store *s, const struct command_sync_set *c,
                                    char sorted[SYNC_MAX][NAME_SIZE])
{
    if (c->expect_epoch != s->primary.epoch) {
        return APPLY_REFUSED_EPOCH;
    }
    if (c->expect_sync_revision != s->sync.revision) {
        return APPLY_REFUSED_SYNC;
    }
    if (!s->primary.has_owner) {
        return APPLY_REFUSED_STATE; /* Only a primary can say who holds its commits. */
    }
    if (c->primary[0] == '\0') {
        return c->n_names == 0 && c->quorum == 0 ? APPLY_DONE : APPLY_REFUSED_VALUE;
    }
    if (!str_equal(c->primary, s->primary.owner) || !names_are_good(s, c, sorted)) {
        return APPLY_REFUSED_VALUE;
    }
    return APPLY_DONE;
}

static bool sync_is_already(const struct store_sync *sync, const struct command_sync_set *c,
                            char sorted[SYNC_MAX][NAME_SIZE])
{
    return str_equal(sync->primary, c->primary) && sync->n_names == c->n_names &&
           sync->quorum == c->quorum && memcmp(sync->names, sorted, sizeof(sync->names)) == 0;
}

enum apply_result apply_sync_set(struct apply *a, const struct command_sync_set *c)
{
    struct store_sync *sync = &a->s->sync;
    char sorted[SYNC_MAX][NAME_SIZE];
    enum apply_result result;

    sort_names(c, sorted);
    result = check_sync(a->s, c, sorted);
    if (result != APPLY_DONE) {
        return result;
    }
    if (sync_is_already(sync, c, sorted)) {
        sync->revision++; /* What was decided before and is still on its way is void. */
        a->changes |= CHANGE_SYNC;
        return APPLY_DONE;
    }
    PUT(sync->primary, c->primary);
    sync->n_names = c->n_names;
    memcpy(sync->names, sorted, sizeof(sync->names));
    sync->quorum = c->quorum;
    sync->revision++;
    a->changes |= CHANGE_SYNC;
    ledger_write(a, &(struct ledger_text){.time_us = c->time_us,
                                          .node = c->node,
                                          .rule = c->rule,
                                          .evidence = c->evidence,
                                          .subject = c->primary,
                                          .result = c->primary[0] == '\0' ? "sync-off"
                                                    : c->n_names == 0     ? "sync-degraded"
                                                                          : "sync-set"});
    return APPLY_DONE;
}

/* Where an entry of that timeline is, or belongs. */
static uint32_t history_place(const struct store *s, uint32_t timeline)
{
    uint32_t at = s->n_history;

    while (at > 0 && s->history[at - 1].timeline >= timeline) {
        at--;
    }
    return at;
}

/* Makes room at `at`, by dropping the oldest when full. Returns the new place. */
static uint32_t history_open(struct store *s, uint32_t at)
{
    struct store_history *h = s->history;

    if (s->n_history == HISTORY_MAX) {
        PRE(at > 0);
        memmove(&h[0], &h[1], (at - 1) * sizeof(h[0]));
        return at - 1;
    }
    memmove(&h[at + 1], &h[at], (s->n_history - at) * sizeof(h[0]));
    s->n_history++;
    return at;
}

/* The owner's history file tells where the present line left each timeline. It
 * replaces what an owner said whose line the cluster did not follow. Older ones may
 * come later. */
enum apply_result apply_history_add(struct apply *a, const struct command_history_add *c)
{
    struct store *s = a->s;
    uint32_t at = history_place(s, c->timeline);
    struct store_history *entry;
    bool known;

    if (c->expect_epoch != s->primary.epoch) {
        return APPLY_REFUSED_EPOCH;
    }
    if (!s->primary.has_owner) {
        return APPLY_REFUSED_STATE;
    }
    if (c->timeline == 0) {
        return APPLY_REFUSED_VALUE;
    }
    known = at < s->n_history && s->history[at].timeline == c->timeline;
    if (known && s->history[at].lsn == c->lsn) {
        return APPLY_UNCHANGED;
    }
    if (!known && at == 0 && s->n_history == HISTORY_MAX) {
        return APPLY_REFUSED_LIMIT; /* Older than all we keep. */
    }
    entry = &s->history[known ? at : history_open(s, at)];
    memset(entry, 0, sizeof(*entry));
    entry->timeline = c->timeline;
    entry->lsn = c->lsn;
    PUT(entry->reason, c->reason);
    entry->time_us = c->time_us;
    PUT(entry->new_primary, c->new_primary);
    a->changes |= CHANGE_HISTORY;
    return APPLY_DONE;
}

bool progress_move(struct apply *a, const struct store_progress *to)
{
    struct store_progress *p = &a->s->progress;
    bool same_epoch = p->epoch == to->epoch;
    bool back = to->timeline < p->timeline || (to->timeline == p->timeline && to->lsn <= p->lsn);

    if (to->lsn == 0 || to->timeline == 0 || (same_epoch && back)) {
        return false;
    }
    p->lsn = to->lsn;
    p->timeline = to->timeline;
    p->epoch = to->epoch;
    p->time_us = to->time_us;
    a->changes |= CHANGE_PROGRESS;
    return true;
}

enum apply_result apply_progress_set(struct apply *a, const struct command_progress_set *c)
{
    const struct store *s = a->s;
    const struct store_progress to = {
        .lsn = c->lsn, .timeline = c->timeline, .epoch = c->expect_epoch, .time_us = c->time_us};
    bool same = s->progress.epoch == to.epoch && s->progress.timeline == to.timeline &&
                s->progress.lsn == to.lsn;

    if (c->expect_epoch != s->primary.epoch) {
        return APPLY_REFUSED_EPOCH;
    }
    if (!s->primary.has_owner) {
        return APPLY_REFUSED_STATE;
    }
    if (same && to.lsn != 0) {
        return APPLY_UNCHANGED;
    }
    return progress_move(a, &to) ? APPLY_DONE : APPLY_REFUSED_VALUE;
}
