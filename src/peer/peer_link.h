/*
 * One TCP connection: connect, TLS handshake, frames in and out, deadlines,
 * liveness. It does not know who is at the other end nor what frames mean; it
 * tells its owner what happens by `struct link_events`, always from the loop.
 *
 *   connecting -> handshake -> preface -> up -> closing
 *                    (each may go to closing; preface and up also by leaving,
 *                     in which a last frame is written and nothing is read)
 *
 * Liveness: in `up` each side sends a ping every quarter of the user timeout;
 * a side that got no byte for the user timeout closes. Beside that the kernel's
 * TCP_USER_TIMEOUT and keepalive do the same for bytes that are not acknowledged.
 *
 * Bounds: at most LINK_STRANGER_BYTES from a side that has not authenticated,
 * a frame of its type's size after; LINK_QUEUE_BYTES and LINK_QUEUE_FRAMES
 * unsent, then the link is closed as stalled.
 */
#ifndef VECHE_PEER_PEER_LINK_H
#define VECHE_PEER_PEER_LINK_H

#include <uv.h>

#include "base/err.h"
#include "base/list.h"
#include "base/str.h"
#include "peer/peer_frame.h"
#include "peer/peer_preface.h"
#include "peer/peer_tls.h"

#define LINK_CONNECT_MS     700
#define LINK_HANDSHAKE_MS   2000 /* TLS and preface together, accepted; */
#define LINK_DIALLED_MS     1500 /* dialled: sooner, so that the next attempt is within 2 s. */
#define LINK_LEAVE_MS       500
#define LINK_STRANGER_BYTES ((size_t)32 * 1024) /* A chain of certificates. */
#define LINK_QUEUE_BYTES    ((size_t)1024 * 1024)
#define LINK_QUEUE_FRAMES   512
#define LINK_READ_SIZE      ((size_t)64 * 1024)

enum link_state {
    LINK_CONNECTING,
    LINK_HANDSHAKE,
    LINK_PREFACE,
    LINK_UP,
    LINK_LEAVING,
    LINK_CLOSING,
};

struct peer_link;
struct pump;

struct link_events {
    void (*on_secure)(struct peer_link *link); /* Both sides proved the secret. */
    void (*on_frame)(struct peer_link *link, const struct frame *frame);
    void (*on_drained)(struct peer_link *link); /* The queue has room again. */
    void (*on_closed)(struct peer_link *link);  /* The last event: free it. */
};

/* Shared by all links of a peer; must outlive them. */
struct link_settings {
    uv_loop_t *loop;
    struct tls_context *tls; /* For new connections; NULL = plain TCP. */
    uint64_t user_timeout_ms;
    const struct link_events *events;
    uint8_t *wire_buffer;  /* LINK_READ_SIZE bytes: used within one callback only. */
    uint8_t *plain_buffer; /* The same size, for decrypted bytes. */
};

struct peer_link {
    const struct link_settings *settings;
    void *owner;      /* struct peer */
    struct list list; /* In the owner's links. */
    enum link_kind kind;
    enum link_state state;
    bool dialled; /* By us. */
    bool was_up;
    bool redial_now; /* Closed by our own will: dial again without delay. */
    uint64_t up_ms;  /* When it came up. */

    /* The other end. */
    struct sockaddr_storage remote;
    char where[HOST_SIZE]; /* For logs: partner as configured, or source address. */
    struct preface who;    /* .id 0 until their preface was accepted. */
    bool welcomed;         /* They accepted ours. */
    bool hello_only;
    bool is_self;          /* We reached ourselves. */
    node_id expected;      /* Whom we dialled; 0 = whoever is there. */
    enum peer_cause cause; /* Why it was closed. */
    char reason[TEXT_SIZE];

    /* Handles. */
    uv_tcp_t tcp;
    uv_timer_t timer; /* The deadline of the state; in `up` the ping. */
    int n_handles;    /* Still to be closed. */
    uv_connect_t connect;
    struct tls *tls;
    size_t proof; /* Dialled: which credentials of the context it uses. */

    /* Receiving. */
    struct frame_reader reader;
    size_t n_stranger_bytes;
    bool is_paused;       /* By the owner, for back-pressure. */
    uint64_t received_ms; /* Last byte. */
    uint64_t ticked_ms;   /* Last ping timer. */
    uint64_t ping_stamp;  /* Of the ping under way; 0 = none. */
    uint64_t rtt_us;

    /* Sending: frames wait in `out`, become `wire` (encrypted), are `flight`
     * while the kernel takes its time. */
    struct list out;
    uint64_t n_sent; /* Frames that became wire. */
    size_t out_bytes;
    size_t out_frames;
    struct strbuf wire;
    char *flight;
    uv_write_t write;
    bool is_full; /* on_drained is due. */

    /* The owner's. */
    struct pump *pump;                   /* Kind raft, while up. */
    void (*raft_cb)(void *data, int fd); /* Dialled for Raft: to be answered. */
    void *raft_data;
    void *partner; /* struct partner that dialled it, or NULL. */
};

struct peer_link *link_new(const struct link_settings *settings, enum link_kind kind);
/* One of both, directly after new; on failure close it. */
MUST_USE int link_dial(struct peer_link *link, const struct sockaddr_storage *to, struct err *err);
MUST_USE int link_accept(struct peer_link *link, uv_stream_t *listener, struct err *err);

/* Both prefaces were accepted. */
void link_set_up(struct peer_link *link);

/* Queues a frame and sends what the kernel takes at once. A status replaces
 * one that still waits; renew and grant go before everything that waits. */
void link_send(struct peer_link *link, enum frame_type type, const void *payload, size_t size);
/* Whether a frame of that size fits and leaves room for what is small. */
bool link_has_room(const struct peer_link *link, size_t size);

/* Stops and resumes reading; only while up. */
void link_pause(struct peer_link *link);
void link_resume(struct peer_link *link);

/* Pings: some byte has to come within `limit_ms`, or the next tick closes. */
void link_probe(struct peer_link *link, uint64_t limit_ms);

/* Tells the other side why, then closes. Only from preface on. */
void link_refuse(struct peer_link *link, enum peer_cause cause, const char *why);
/* Closes; on_closed follows from the loop. The first reason stays. */
void link_close(struct peer_link *link, enum peer_cause cause, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* From on_closed. */
void link_free(struct peer_link *link);

#endif
