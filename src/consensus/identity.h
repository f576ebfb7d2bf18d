/*
 * The identity file <raft.data_dir>/identity: who this node is, for ever, and
 * what it must not forget (design.md sections 5 and 7). Written whole to a
 * temporary file, synced, renamed, the directory synced; CRC-32C. Also holds
 * the lock that keeps a second process off the directory.
 */
#ifndef VECHE_CONSENSUS_IDENTITY_H
#define VECHE_CONSENSUS_IDENTITY_H

#include "base/err.h"
#include "store/types.h"

enum identity_phase {
    IDENTITY_NEW,      /* Belongs to no cluster. */
    IDENTITY_PREPARED, /* Formation phase one: knows cluster id and members, Raft not started ever.
                        */
    IDENTITY_MEMBER,   /* Raft runs here, or ran; an empty Raft directory is damage now. */
    IDENTITY_JOINING,  /* Comes into a cluster under this new id: it has never voted. */
};

struct identity {
    node_id id;
    char name[NAME_SIZE]; /* As configured when it was made; for messages. */
    enum identity_phase phase;
    uint64_t cluster_id; /* 0 while NEW. */
    char scope[NAME_SIZE];
    uint64_t highest_term;     /* Coarse: a Raft term below it is damage. */
    uint64_t longest_grant_ms; /* Longest lease duration ever granted: length of quarantines. */
    uint8_t n_members;         /* First members, sorted by id; 0 while NEW. */
    node_id members[VOTERS_MAX];
};

/* Opens and locks (flock) the directory, creating it 0700 when missing. Returns
 * a descriptor that holds the lock, or -1 ("another veched uses ..."). */
MUST_USE int identity_lock(const char *directory, struct err *err);

/* The bytes of the file: what load and save read and write. */
#define IDENTITY_SIZE_MAX 1024
size_t identity_encode(const struct identity *identity, uint8_t data[IDENTITY_SIZE_MAX]);
MUST_USE int identity_decode(const uint8_t *data, size_t size, struct identity *ret_identity,
                             struct err *err);

enum identity_load {
    IDENTITY_LOADED,
    IDENTITY_MISSING, /* No file: a new node. */
    IDENTITY_DAMAGED, /* There, but not to be trusted; err says why. */
    IDENTITY_FAILED,  /* Could not be read; err says why. */
};

enum identity_load identity_load(const char *directory, struct identity *ret_identity,
                                 struct err *err);

/* Durable when it returns 0. Blocks on the disk: not from the agent loop. */
MUST_USE int identity_save(const char *directory, const struct identity *identity, struct err *err);

#endif
