/*
 * The socket: who may talk to the guard, packets in and out. Nothing here waits. An agent
 * that does not read what it is told is let go: it may say hello again and is told all.
 */
#ifndef VECHE_GUARD_GUARD_CHANNEL_H
#define VECHE_GUARD_GUARD_CHANNEL_H

#include <poll.h>
#include <sys/types.h>

#include "base/err.h"
#include "guard/guard_packet.h"

#define GUARD_PEERS_MAX 4 /* Connections, of which one is the agent's. */
#define GUARD_FDS_MAX   2 /* With a packet. */

struct guard_peer {
    int fd; /* -1 = free. */
    pid_t pid;
    uint64_t order; /* When it came: the oldest makes room. */
};

struct guard_channel {
    int lock_fd;   /* <runtime_dir>/guard.lock, held for life. */
    int listen_fd; /* <runtime_dir>/guard.sock */
    uint64_t n_accepted;
    uint64_t n_foreign; /* Refused: other users. */
    struct guard_peer peers[GUARD_PEERS_MAX];
    struct guard_peer *agent; /* Said hello last; NULL = none. */
};

/* A packet that came. */
struct guard_received {
    size_t size;
    int fds[GUARD_FDS_MAX]; /* The receiver's to close; -1 = none. */
    union guard_packet packet;
};

/* directory: the runtime directory. A second guard of one directory is refused. */
int guard_channel_init(struct guard_channel *c, const char *directory, struct err *err);

/* Takes one connection. The uid of who was refused, or -1. */
int64_t guard_channel_accept(struct guard_channel *c);

enum guard_receipt {
    GUARD_RECEIVED,
    GUARD_NOTHING_NOW,
    GUARD_CLOSED, /* By the other side. */
};
enum guard_receipt guard_channel_receive(struct guard_peer *peer, struct guard_received *ret);
void guard_channel_close_fds(struct guard_received *r);

/* It is the agent from now on; who was it before is closed. */
void guard_channel_set_agent(struct guard_channel *c, struct guard_peer *peer);
void guard_channel_close(struct guard_channel *c, struct guard_peer *peer);

/* False: it does not read, or is gone: the caller closes it. fd: sent along, or -1. */
MUST_USE bool guard_channel_send(const struct guard_peer *peer, const void *packet, size_t size,
                                 int fd);
/* Has it read all that it was sent? */
bool guard_channel_all_read(const struct guard_peer *peer);

#endif
