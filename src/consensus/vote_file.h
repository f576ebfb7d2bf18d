/*
 * A second memory of what this node has told others: its term, its vote, and how
 * far its log goes that it acknowledged; <Raft directory>/veche-vote. libraft's own
 * (metadata1 and metadata2) has no check sum: a bit that flips in a version number,
 * or a file cut short, makes it take the older of the two, and a node that has
 * voted votes again in the same term. And where the end of the log is lost, behind a
 * bit that flipped or with a whole segment, libraft begins without it.
 *
 * Written after libraft has made its own durable, and before anybody is told. So
 * what libraft loads is what stands here, or one step newer (a crash in between);
 * anything older is damage.
 *
 * A copy lies in the runtime directory, of the same boot as a rule: where the Raft
 * directory as a whole is one of the past, it knows.
 */
#ifndef VECHE_CONSENSUS_VOTE_FILE_H
#define VECHE_CONSENSUS_VOTE_FILE_H

#include "base/err.h"
#include "store/types.h"

struct vote_file {
    int fd;              /* -1 = not open. */
    node_id id;          /* Of this node. */
    uint64_t number;     /* Of the newest record. */
    uint64_t term;       /* What it says. */
    node_id vote;        /* 0 = none in that term. */
    uint64_t last_index; /* The log goes that far at least. */
};

enum vote_file_open {
    VOTE_FILE_OPEN,
    VOTE_FILE_DAMAGED, /* Missing where it must be, no whole record in it, or of another node. */
    VOTE_FILE_FAILED,  /* Could not be read or made. */
};

/* Makes the file when there is none and `may_make`. *f is set in any case. */
enum vote_file_open vote_file_open(struct vote_file *f, const char *directory, node_id id,
                                   bool may_make, struct err *err);
void vote_file_close(struct vote_file *f);
/* A copy: whatever is wrong with it, it is made anew. It is a help: -1 only means that
 * there is none now. */
int vote_file_open_copy(struct vote_file *f, const char *directory, node_id id, struct err *err);
/* It could not be written, and must not say more than is true later. */
void vote_file_give_up(struct vote_file *f);

struct vote_record {
    uint64_t term;
    node_id vote;
    uint64_t last_index;
};

/* Durable when it returns 0. Nothing to do when it says so already, or is not open. */
MUST_USE int vote_file_save(struct vote_file *f, const struct vote_record *record, struct err *err);

/* What of it libraft has forgotten, in words; NULL = nothing. */
const char *vote_file_missing(const struct vote_file *f, const struct vote_record *loaded);

#endif
