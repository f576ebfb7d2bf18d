/*
 * Why a connection was refused, and the bounded memory of it: a cause is
 * logged once per place it came from, repeats are counted.
 */
#ifndef VECHE_PEER_PEER_CAUSE_H
#define VECHE_PEER_PEER_CAUSE_H

#include "base/log.h"
#include "store/types.h"

enum peer_cause {
    CAUSE_NONE,            /* Not a refusal: the network, or the other side went away. */
    CAUSE_NOT_TLS,         /* Plain text or garbage where TLS was due. */
    CAUSE_NO_SECRET,       /* TLS, but without a pre-shared key of ours. */
    CAUSE_WRONG_SECRET,    /* Another password or scope. */
    CAUSE_CERTIFICATE,     /* None, of another CA, or not valid now. */
    CAUSE_OUR_CERTIFICATE, /* The other side says that of ours. */
    CAUSE_WRONG_NAME,      /* A good certificate, but of another node. */
    CAUSE_SLOW,            /* The handshake or preface did not end in time. */
    CAUSE_EARLY_END,       /* Closed before it said who it is. */
    CAUSE_CROWDED,         /* Dropped to make room for a newer unknown connection. */
    CAUSE_NOT_LOOPBACK,    /* Plain TCP from elsewhere. */
    CAUSE_MALFORMED,       /* Authenticated, but a frame is not as it must be. */
    CAUSE_VERSION,         /* Another protocol. */
    CAUSE_SCOPE,           /* Another scope. */
    CAUSE_CLUSTER,         /* Another cluster id. */
    CAUSE_TWIN,            /* Two nodes run under one id. */
    CAUSE_KIND,            /* A Raft connection while there is no common cluster. */
    CAUSE_FULL,            /* No room for one more node. */
    CAUSE_RAFT_CHECK,      /* Bytes that libraft must not see. */
    CAUSE_BY_OTHER,        /* The other side refused us, and said why. */
    CAUSES
};

#define REFUSALS_MAX 32 /* Remembered pairs of cause and place. */

struct refusal {
    enum peer_cause cause;
    char where[NAME_SIZE]; /* Partner as configured, or source address; empty = the rest. */
    struct log_limit limit;
};

struct refusals {
    uint64_t n_total;
    size_t n_known;
    struct refusal known[REFUSALS_MAX];
    struct refusal others[CAUSES]; /* For places that found no room in `known`. */
};

/* "wrong-secret", ...: permanent, for logs. */
const char *peer_cause_name(enum peer_cause cause);

/* Counts, and logs unless the same was logged within ten minutes. */
void refusals_note(struct refusals *r, enum peer_cause cause, const char *where, const char *why,
                   uint64_t now_ms);

#endif
