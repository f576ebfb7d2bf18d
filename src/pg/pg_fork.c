/* Where the cluster's line and that of a data directory part, see pg_fork.h. */
#include "pg/pg_fork.h"

#include "base/str.h"

static void add_end(struct pg_line *line, uint32_t timeline, lsn_t lsn)
{
    line->ends[line->n++] = (struct pg_line_end){.timeline = timeline, .lsn = lsn};
}

/*
 * Of the parent, an owner before may have told where a line left it that the cluster did not
 * follow; the present owner tells the truth as soon as it runs. Until then: the declaration.
 */
static lsn_t parent_end(const struct store_line *l, const struct store_history *told)
{
    bool settled = l->lsn == 0 || str_equal(told->new_primary, l->owner);

    return settled ? told->lsn : MIN(told->lsn, l->lsn);
}

void pg_line_of(const struct store *store, struct pg_line *ret)
{
    const struct store_line *l = &store->line;
    bool has_parent = false;

    ret->timeline = l->timeline;
    ret->n = 0;
    for (uint32_t i = 0; i < store->n_history; i++) {
        const struct store_history *h = &store->history[i];

        if (l->parent != 0 && h->timeline > l->parent) {
            continue; /* Of a line that was left. */
        }
        has_parent |= h->timeline == l->parent;
        add_end(ret, h->timeline, h->timeline == l->parent ? parent_end(l, h) : h->lsn);
    }
    if (!has_parent && l->parent != 0 && l->lsn != 0) {
        add_end(ret, l->parent, l->lsn);
    }
}

/* 0: it goes on. False if the cluster never was on it. */
static bool find_end(const struct pg_line *line, uint32_t timeline, lsn_t *ret)
{
    *ret = 0;
    if (timeline == line->timeline) {
        return true;
    }
    for (uint32_t i = 0; i < line->n; i++) {
        if (line->ends[i].timeline == timeline) {
            *ret = line->ends[i].lsn;
            return true;
        }
    }
    return false;
}

struct pg_fork pg_fork_find(const struct pg_line *line, uint32_t timeline,
                            const struct pg_history *own)
{
    struct pg_fork fork = {.timeline = timeline};
    lsn_t end;

    if (find_end(line, timeline, &fork.lsn)) {
        return fork;
    }
    for (uint32_t i = own->n; i > 0; i--) {
        const struct pg_history_line *left = &own->lines[i - 1];

        if (find_end(line, left->timeline, &end)) {
            fork.timeline = left->timeline;
            fork.lsn = end != 0 ? MIN(end, left->lsn) : left->lsn;
            break;
        }
    }
    return fork;
}
