/* Positions in the tree of all WAL, see wal.h. */
#include "wal.h"

#define LSN_BASE UINT64_C(0x3000000)

void wal_reset(struct wal *w)
{
    w->n = 1; /* Branch 0 is nowhere. */
}

struct wal_pos wal_fork(struct wal *w, struct wal_pos at, uint32_t timeline, uint64_t sysid)
{
    ASSERT(w->n < WAL_BRANCHES_MAX);
    w->branches[w->n] = (struct wal_branch){
        .sysid = sysid, .timeline = timeline, .parent = at.branch, .fork = at.depth};
    return (struct wal_pos){w->n++, at.depth};
}

/* A branch without records of its own is where it left its parent. */
static struct wal_pos normal(const struct wal *w, struct wal_pos pos)
{
    while (w->branches[pos.branch].parent != 0 && pos.depth == w->branches[pos.branch].fork) {
        pos.branch = w->branches[pos.branch].parent;
    }
    return pos;
}

bool wal_contains(const struct wal *w, struct wal_pos whole, struct wal_pos part)
{
    struct wal_pos at = whole;
    struct wal_pos wanted = normal(w, part);

    if (part.branch == 0) {
        return true;
    }
    while (at.branch != 0) {
        const struct wal_branch *b = &w->branches[at.branch];

        if (at.branch == wanted.branch) {
            return wanted.depth <= at.depth;
        }
        at = (struct wal_pos){b->parent, MIN(at.depth, b->fork)};
    }
    return false;
}

uint32_t wal_timeline(const struct wal *w, struct wal_pos pos)
{
    return pos.branch != 0 ? w->branches[pos.branch].timeline : 0;
}

lsn_t wal_lsn(struct wal_pos pos)
{
    return pos.branch != 0 ? LSN_BASE + pos.depth * WAL_RECORD_BYTES : 0;
}

bool wal_timeline_end(const struct wal *w, struct wal_pos pos, uint32_t timeline,
                      uint32_t *ret_depth)
{
    uint32_t branch = pos.branch;

    while (branch != 0) {
        const struct wal_branch *b = &w->branches[branch];

        if (b->timeline > timeline && b->parent != 0 &&
            w->branches[b->parent].timeline == timeline) {
            *ret_depth = b->fork;
            return true;
        }
        branch = b->parent;
    }
    return false;
}
