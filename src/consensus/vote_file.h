/*
 * A second memory of term and vote, <Raft directory>/veche-vote. libraft's own
 * (metadata1 and metadata2) has no check sum: a bit that flips in a version
 * number, or a file cut short, makes it take the older of the two, and a node
 * that has voted votes again in the same term.
 *
 * Written after libraft has made its own durable. So what libraft loads is what
 * stands here, or one step newer (a crash in between); anything older is damage.
 */
#ifndef VECHE_CONSENSUS_VOTE_FILE_H
#define VECHE_CONSENSUS_VOTE_FILE_H

#include "base/err.h"
#include "store/types.h"

struct vote_file {
    int fd;          /* -1 = not open. */
    uint64_t number; /* Of the newest record. */
    uint64_t term;   /* What it says. */
    node_id vote;    /* 0 = none in that term. */
};

enum vote_file_open {
    VOTE_FILE_OPEN,
    VOTE_FILE_DAMAGED, /* There, and no record in it is whole. */
    VOTE_FILE_FAILED,  /* Could not be read or made. */
};

/* Makes the file when there is none. *f is set in any case. */
enum vote_file_open vote_file_open(struct vote_file *f, const char *directory, struct err *err);
void vote_file_close(struct vote_file *f);

/* Durable when it returns 0. Nothing to do when it says so already, or is not open. */
MUST_USE int vote_file_save(struct vote_file *f, uint64_t term, node_id vote, struct err *err);

/* Whether libraft has forgotten something that stands here. */
bool vote_file_is_newer(const struct vote_file *f, uint64_t term, node_id vote);

#endif
