/*
 * The WAL of all nodes, as a tree of branches. Each time a server becomes
 * writable it begins a branch where its WAL ends; a position is a branch and a
 * depth in records. Two positions that PostgreSQL can not tell apart (same
 * timeline number, same LSN) may lie on different branches: that is how the
 * simulation knows about divergence what PostgreSQL does not.
 */
#ifndef SIM_WAL_H
#define SIM_WAL_H

#include "store/types.h"

#define WAL_BRANCHES_MAX 1024
#define WAL_RECORD_BYTES UINT64_C(8192)

struct wal_pos {
    uint32_t branch; /* 0 = nowhere. */
    uint32_t depth;  /* Records, from the beginning of the database. */
};

struct wal_branch {
    uint64_t sysid;
    uint32_t timeline;
    uint32_t parent; /* 0 = none. */
    uint32_t fork;   /* Depth at which it leaves its parent. */
};

struct wal {
    uint32_t n;
    struct wal_branch branches[WAL_BRANCHES_MAX];
};

void wal_reset(struct wal *w);
/* A branch that leaves `at`; of a new database when at.branch is 0. */
struct wal_pos wal_fork(struct wal *w, struct wal_pos at, uint32_t timeline, uint64_t sysid);

/* Everything up to `part` is in the WAL that ends at `whole`. */
bool wal_contains(const struct wal *w, struct wal_pos whole, struct wal_pos part);

uint32_t wal_timeline(const struct wal *w, struct wal_pos pos);
lsn_t wal_lsn(struct wal_pos pos);

/* Where that timeline ended in the history of `pos`, in depth; false when it is
 * not in it, or is the last one. */
bool wal_timeline_end(const struct wal *w, struct wal_pos pos, uint32_t timeline,
                      uint32_t *ret_depth);

#endif
