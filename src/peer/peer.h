/*
 * The agents among themselves: one TCP port, TLS 1.3 (a pre-shared key, or a
 * certificate on both sides that carries the node's name), a preface that says who is there, then
 * frames. Runs on the agent loop; every function here is called on it, every hook comes on it.
 *
 * What this module guarantees: a hook is called only for a peer that proved
 * the secret, speaks our protocol version, has our scope, and our cluster id
 * (or none on one side: then only `hello` passes); frames are bounded and
 * decoded whole before the hook sees them; a connection is nothing but an
 * observation. A peer that vanished and came back is in contact again within
 * 2 s: connect and handshake deadlines, keepalive, TCP_USER_TIMEOUT, and a
 * constant retry delay.
 *
 * Links: each node dials every configured address, so between two nodes there
 * are two connections; a message goes out on the one we dialled, else on the
 * one they dialled. Raft gets connections of its own (kind raft), pumped
 * between TLS and a socketpair whose other end libraft reads and writes.
 */
#ifndef VECHE_PEER_PEER_H
#define VECHE_PEER_PEER_H

#include <uv.h>

#include "base/err.h"
#include "core/formation.h"
#include "core/status.h"
#include "lease.h"

struct peer;

#define PEER_PROPOSAL_MAX (300 * 1024) /* Encoded command, at most. */

/* An answer to a proposal, as plain numbers of consensus' enums (peer and
 * consensus do not know each other; the agent translates). */
struct peer_result {
    uint8_t status;
    uint8_t result;
    uint64_t index;
};

#define PEER_OUTCOME_TEXT 2048

enum peer_action {              /* What an operator asks of a node by way of another one. */
                   PEER_RELOAD, /* Read your configuration again. */
                   PEER_ACTION_MAX = PEER_RELOAD,
};

enum peer_outcome {
    PEER_DONE,
    PEER_REFUSED, /* It can not, everything there goes on as before. */
    PEER_BUSY,    /* Not now. */
    PEER_OUTCOME_MAX = PEER_BUSY,
    /* Not said by the other side: */
    PEER_NOT_SENT, /* It is not connected: nothing happened. */
    PEER_UNKNOWN,  /* It was told, and has not answered. */
};

struct peer_hooks {
    void *data;
    /* Someone answered at this configured address (peers only, never ourselves). */
    void (*on_hello)(void *data, const struct hello *hello);
    void (*on_up)(void *data, node_id id, const char *name);
    void (*on_down)(void *data, node_id id, const char *why);
    void (*on_status)(void *data, const struct status *status);
    void (*on_renew)(void *data, node_id from, const struct lease_renew *renew);
    void (*on_grant)(void *data, node_id from, const struct lease_grant *grant);
    /* Answer by peer_answer_proposal(token, ...), now or later, once. bytes are
     * valid during the call. NULL bytes ask for a barrier. */
    void (*on_propose)(void *data, uint64_t token, const void *bytes, size_t size);
    /* Answer by peer_answer_positions(from, ...). */
    void (*on_ask_positions)(void *data, node_id from, uint64_t epoch);
    void (*on_positions)(void *data, node_id from, const struct positions *positions);
    /* An operator asks that of this node, by way of the node of that name. Answer by
     * peer_answer_action(token, ...), now or later, once. */
    void (*on_action)(void *data, uint64_t token, const char *from, enum peer_action action);
    /* A Raft connection of that peer; fd is ours to pass on. */
    void (*on_raft_stream)(void *data, node_id from, int fd);
    /* Judges bytes for libraft (consensus/raft_check.h): new state per
     * connection, feed, free. feed returns 0 or -1 and the reason. */
    void *(*raft_check_new)(void *data);
    int (*raft_check_feed)(void *check, const void *bytes, size_t size, uint64_t *ret_passed,
                           struct err *err);
    void (*raft_check_free)(void *check);
};

/* What this node proves itself with. */
struct peer_secrets {
    const char *password; /* Shared by all nodes; NULL = none. */
    const char *cert;     /* PEM files, all three or none. They win over a password. */
    const char *key;
    const char *ca;
};
struct tls_context; /* Secrets, read and checked. */

/* NULL with the reason. It reads files: after the start not on the agent loop. */
struct tls_context *peer_load_secrets(const struct peer_secrets *secrets, const char *scope,
                                      const char *name, struct err *err);
/* -1 and why if others would refuse it now: a certificate that has expired. */
MUST_USE int peer_check_secrets(const struct tls_context *c, struct err *err);
void peer_free_secrets(struct tls_context *c); /* Those that peer_use_secrets did not take. */

struct peer_options {
    uv_loop_t *loop;
    const char *bind_address; /* host:port to listen on. */
    const char *self_address; /* host:port others reach us at. */
    size_t n_partners;
    const char *const *partners; /* host:port each; our own is skipped if listed. */
    struct tls_context *secrets; /* Taken, also on failure. NULL = plain TCP, loopback only. */
    const char *scope;
    const char *name;
    node_id id;
    uint64_t instance;
    uint64_t cluster_id;      /* 0 = none yet. */
    uint64_t user_timeout_ms; /* TCP_USER_TIMEOUT and dead-peer limit: two election timeouts. */
    uint64_t seed;            /* For retry jitter and request ids. */
    struct peer_hooks hooks;
};

/* Listens and starts dialling. NULL with the reason: an address that can not be
 * used, neither secrets nor loopback, ... */
struct peer *peer_new(const struct peer_options *options, struct err *err);

/* What we answer to "who are you"; told to everyone again on each call. */
void peer_set_hello(struct peer *p, const struct hello *hello);

/* The cluster was formed: links come up again under its id. */
void peer_set_cluster_id(struct peer *p, uint64_t cluster_id);

/* New connections prove themselves by `c` and accept it, beside what was in use
 * before; those there are go on. Takes `c`, but for a failure: a certificate that
 * is not valid now, or a start without any secret. *ret_changed false: nothing
 * is new, and what was accepted before stays so. */
MUST_USE int peer_use_secrets(struct peer *p, struct tls_context *c, bool *ret_changed,
                              struct err *err);

bool peer_has_secrets(const struct peer *p);

bool peer_is_up(const struct peer *p, node_id id);

/* To every peer that is up. */
void peer_send_status(struct peer *p, const struct status *status);
void peer_send_renew(struct peer *p, const struct lease_renew *renew);
void peer_ask_positions(struct peer *p, uint64_t epoch);

/* To one peer; silently dropped when it is not up. */
void peer_send_grant(struct peer *p, node_id to, const struct lease_grant *grant);
void peer_answer_positions(struct peer *p, node_id to, const struct positions *positions);

typedef void (*peer_result_cb)(void *data, bool answered, const struct peer_result *result);

/* Sends an encoded command (or, with NULL, a barrier) to the leader: directly,
 * or through any peer that is up (one hop). cb exactly once, never before
 * returning; answered is false when nobody could take it (nothing happened) is
 * told by result NULL, or the deadline passed (outcome unknown) by a result of
 * status PROPOSE_UNKNOWN. */
void peer_propose(struct peer *p, node_id leader, const void *bytes, size_t size, peer_result_cb cb,
                  void *data);
void peer_answer_proposal(struct peer *p, uint64_t token, const struct peer_result *result);

/* text: what the other node says of it; valid during the call. */
typedef void (*peer_outcome_cb)(void *data, enum peer_outcome outcome, const char *text);

/* Asks that of one node, straight. cb exactly once, never before returning, also when we close;
 * PEER_UNKNOWN after limit_ms without an answer. */
void peer_act(struct peer *p, node_id to, enum peer_action action, uint64_t limit_ms,
              peer_outcome_cb cb, void *data);
void peer_answer_action(struct peer *p, uint64_t token, enum peer_outcome outcome,
                        const char *text);

typedef void (*peer_raft_cb)(void *data, int fd); /* fd -1: not reachable now. */
/* Opens a Raft connection to that node. cb exactly once, never before returning. */
void peer_connect_raft(struct peer *p, node_id to, peer_raft_cb cb, void *data);

struct peer_link_info { /* For GET /patroni, metrics, members. */
    char address[HOST_SIZE];
    char name[NAME_SIZE]; /* Empty while unknown. */
    node_id id;
    bool up;
    uint64_t rtt_us;         /* Last measured; 0 = not yet. */
    char problem[TEXT_SIZE]; /* Why it is not up. */
};
size_t peer_links(const struct peer *p, struct peer_link_info *infos, size_t n_max);

struct peer_counters {    /* For metrics. */
    uint64_t n_refused;   /* Connections refused since the start, whatever the cause. */
    size_t n_connections; /* All there are, also those under way. */
    size_t n_strangers;   /* Inbound ones that have not proved who they are. */
    int64_t expires_s;    /* Unix time at which our certificate does; 0 = none. */
};
struct peer_counters peer_counters(const struct peer *p);

/* Closes everything; cb when libuv let go of the last handle. */
void peer_close(struct peer *p, void (*cb)(void *data), void *data);

#endif
