/*
 * What the files of this folder share: struct peer and its parts.
 *
 *   peer.c          public functions, start and end
 *   peer_dial.c     partners: whom we dial, when, at which address
 *   peer_session.c  who is at the other end; frames to hooks
 *   peer_forward.c  proposals and their results
 *   peer_action.c   what is asked of one node by way of another
 *   peer_pump.c     libraft's stream
 *   peer_link*.c    one connection
 */
#ifndef VECHE_PEER_PEER_INTERNAL_H
#define VECHE_PEER_PEER_INTERNAL_H

#include "base/rng.h"
#include "peer/peer.h"
#include "peer/peer_address.h"
#include "peer/peer_link.h"
#include "peer/peer_resolve.h"

#define NODES_MAX      (2 * MEMBERS_MAX) /* Nodes with a connection. */
#define STRANGERS_MAX  32                /* Inbound connections that are not up. */
#define RAFT_LINKS_MAX 4                 /* Inbound Raft connections of one node. */
#define RESOLVED_MAX   4                 /* Addresses of one name that are tried. */
#define REDIAL_MS      250
#define REDIAL_JITTER  50

/* A node that has, or just had, an accepted peer link. */
struct peer_node {
    node_id id;
    char name[NAME_SIZE];
    char address[HOST_SIZE];
    uint64_t process;
    size_t proof;              /* Credentials for the next Raft connection to it. */
    uint8_t n_heard;           /* From its newest status: whom it hears, */
    node_id heard[VOTERS_MAX]; /* which says through whom a proposal can go. */
};

/* A configured address that is not ours. */
struct partner {
    struct peer *peer;
    struct peer_address address;
    uv_timer_t timer;        /* Redial. */
    struct peer_link *link;  /* Under way or up; NULL = waiting for the timer. */
    struct resolve_job *job; /* Looking its name up; NULL = not. */
    size_t n_resolved;       /* Numeric: 1. */
    size_t next;             /* Which of them is tried next. */
    struct sockaddr_storage resolved[RESOLVED_MAX];
    uint64_t resolved_ms;
    size_t proof;  /* Credentials it is dialled with: the present, or the previous ones. */
    bool is_known; /* `good` is where it was reached last. */
    struct sockaddr_storage good;
    node_id id; /* Who answered there last; 0 = nobody yet. */
    char name[NAME_SIZE];
    bool is_self;            /* Another spelling of our own address. */
    char problem[TEXT_SIZE]; /* Why it is not up. */
    struct log_limit limit;
};

/* Something to be called from the loop, soon: results are never given before
 * the function that asked has returned. */
struct soon {
    struct list list;
    void (*run)(struct peer *p, void *arg);
    void *arg;
};

struct forward {          /* peer_forward.c */
    struct list requests; /* Ours and relayed ones, oldest first. */
    struct list answers;  /* Proposals of others that wait for ours, oldest first. */
    size_t n_answers;
    uint64_t last_id;
    uv_timer_t timer;
};

struct acting {        /* peer_action.c */
    struct list asked; /* By us of others. */
    struct list tasks; /* Of us by others, not answered yet. */
    size_t n_tasks;
    uint64_t last_id;
    uv_timer_t timer;
};

struct peer {
    /* As configured. */
    uv_loop_t *loop;
    struct peer_hooks hooks;
    char self_address[HOST_SIZE];
    struct preface preface; /* What we say; kind is set per link. */
    size_t n_partners;
    struct partner *partners;

    /* What it works with. */
    struct link_settings settings;
    struct tls_context *tls; /* Counted; NULL = plain. */
    struct resolver *resolver;
    struct rng rng;
    uv_tcp_t listener;
    uv_timer_t soon_timer;
    struct list soon;
    struct forward forward;
    struct acting acting;

    /* State. */
    bool has_hello;
    struct hello hello;
    struct list links; /* All of them, oldest first. */
    size_t n_nodes;
    struct peer_node nodes[NODES_MAX];
    struct refusals refusals;
    struct log_limit accept_limit;

    /* End. */
    bool is_closing;
    size_t n_open; /* Handles, links and pumps not yet gone. */
    void (*close_cb)(void *data);
    void *close_data;
};

/* Calls a hook that is set. */
#define HOOK(p, hook, ...)                                 \
    do {                                                   \
        if ((p)->hooks.hook != NULL && !(p)->is_closing) { \
            (p)->hooks.hook((p)->hooks.data, __VA_ARGS__); \
        }                                                  \
    } while (0)

/* peer.c */
void peer_soon(struct peer *p, void (*run)(struct peer *p, void *arg), void *arg);
void peer_opened(struct peer *p);           /* One more thing to wait for at the end. */
void peer_gone(struct peer *p);             /* One less. May free p. */
void peer_handle_gone(uv_handle_t *handle); /* Close callback; handle->data is p. */

/* peer_session.c */
extern const struct link_events peer_link_events;
struct peer_link *peer_add_link(struct peer *p, enum link_kind kind);
void peer_on_connection(uv_stream_t *listener, int status);
struct peer_node *peer_find_node(const struct peer *p, node_id id);
/* An accepted peer link of that node that is up, ours first; NULL = none. */
struct peer_link *peer_find_link(const struct peer *p, node_id id);
/* We dialled, and it may be that our credentials were refused: others next. */
bool peer_is_unproved(const struct peer_link *link);

/* peer_dial.c */
MUST_USE int dial_init(struct peer *p, const struct peer_options *options, struct err *err);
void dial_start(struct peer *p);
void dial_now(struct peer *p); /* All that are down, without delay. */
void dial_link_up(struct peer_link *link);
void dial_link_closed(struct peer_link *link);
MUST_USE bool dial_find(struct peer *p, node_id to, struct sockaddr_storage *ret_address);
void dial_close(struct peer *p);

/* peer_forward.c */
void forward_init(struct peer *p);
void forward_on_propose(struct peer_link *link, const struct frame *frame);
void forward_on_result(struct peer_link *link, const struct frame *frame);
void forward_link_closed(struct peer_link *link);
void forward_close(struct peer *p);

/* peer_action.c */
void acting_init(struct peer *p);
void acting_on_action(struct peer_link *link, const struct frame *frame);
void acting_on_outcome(struct peer_link *link, const struct frame *frame);
void acting_link_closed(struct peer_link *link);
void acting_close(struct peer *p);

/* peer_pump.c */
MUST_USE int pump_start(struct peer_link *link, int *ret_fd, struct err *err);
void pump_on_data(struct peer_link *link, const struct frame *frame);
void pump_on_drained(struct peer_link *link);
void pump_stop(struct peer_link *link); /* A link without a pump is fine. */

#endif
