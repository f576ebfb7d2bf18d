/*
 * See guard_channel.h.
 */
#include "guard/guard_channel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/str.h"

#define LOCK_NAME      "guard.lock"
#define TEMPORARY_NAME "guard.sock.new"

/* ---- Listening ---- */

static int take_lock(int dir_fd, struct err *err)
{
    int fd = openat(dir_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        return err_set_errno(err, errno, "opening %s", LOCK_NAME);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        (void)close(fd); /* Not ours. */
        return err_set(err, "another guard runs here: %s is locked", LOCK_NAME);
    }
    return fd;
}

/* In the directory, so that its path may be of any length; under another name first, so
 * that whoever finds the socket finds somebody listening. */
static int listen_here(struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = TEMPORARY_NAME};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    (void)unlink(TEMPORARY_NAME); /* Of a guard that died just here. */
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, GUARD_PEERS_MAX) != 0 || rename(TEMPORARY_NAME, GUARD_SOCKET_NAME) != 0) {
        return err_set_errno(err, errno, "listening on %s", GUARD_SOCKET_NAME);
    }
    return fd;
}

int guard_channel_init(struct guard_channel *c, const char *directory, struct err *err)
{
    int dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done;

    memset(c, 0, sizeof(*c));
    c->lock_fd = c->listen_fd = -1;
    for (size_t i = 0; i < GUARD_PEERS_MAX; i++) {
        c->peers[i].fd = -1;
    }
    if (dir_fd < 0 || fchdir(dir_fd) != 0) {
        return err_set_errno(err, errno, "the runtime directory %s", directory);
    }
    c->lock_fd = take_lock(dir_fd, err);
    c->listen_fd = c->lock_fd < 0 ? -1 : listen_here(err);
    (void)close(dir_fd); /* A directory. */
    done = c->listen_fd >= 0;
    if (chdir("/") != 0) {
        return err_set_errno(err, errno, "changing to /");
    }
    return done ? 0 : -1;
}

/* ---- Who may talk ---- */

static struct guard_peer *free_peer(struct guard_channel *c)
{
    struct guard_peer *oldest = NULL;

    for (size_t i = 0; i < GUARD_PEERS_MAX; i++) {
        struct guard_peer *peer = &c->peers[i];

        if (peer->fd < 0) {
            return peer;
        }
        if (peer != c->agent && (oldest == NULL || peer->order < oldest->order)) {
            oldest = peer;
        }
    }
    guard_channel_close(c, oldest);
    return oldest;
}

int64_t guard_channel_accept(struct guard_channel *c)
{
    int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct ucred user = {.uid = (uid_t)-1};
    socklen_t size = sizeof(user);
    struct guard_peer *peer;

    if (fd < 0) {
        return -1; /* It changed its mind. */
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &size) != 0 ||
        (user.uid != geteuid() && user.uid != 0)) {
        c->n_foreign++;
        (void)close(fd); /* Nothing was said. */
        return (int64_t)user.uid;
    }
    peer = free_peer(c);
    *peer = (struct guard_peer){.fd = fd, .pid = user.pid, .order = ++c->n_accepted};
    return -1;
}

void guard_channel_set_agent(struct guard_channel *c, struct guard_peer *peer)
{
    if (c->agent != NULL && c->agent != peer) {
        guard_channel_close(c, c->agent);
    }
    c->agent = peer;
}

void guard_channel_close(struct guard_channel *c, struct guard_peer *peer)
{
    (void)close(peer->fd); /* A socket. */
    peer->fd = -1;
    if (c->agent == peer) {
        c->agent = NULL;
    }
}

/* ---- In ---- */

/* What came beyond what we take is closed. */
static void take_fds(struct msghdr *m, struct guard_received *r)
{
    size_t n_taken = 0;

    for (struct cmsghdr *at = CMSG_FIRSTHDR(m); at != NULL; at = CMSG_NXTHDR(m, at)) {
        size_t n = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(at) + i * sizeof(fd), sizeof(fd));
            if (n_taken < GUARD_FDS_MAX) {
                r->fds[n_taken++] = fd;
            } else {
                (void)close(fd);
            }
        }
    }
}

void guard_channel_close_fds(struct guard_received *r)
{
    for (size_t i = 0; i < GUARD_FDS_MAX; i++) {
        if (r->fds[i] >= 0) {
            (void)close(r->fds[i]); /* Of the agent; nothing was written. */
            r->fds[i] = -1;
        }
    }
}

enum guard_receipt guard_channel_receive(struct guard_peer *peer, struct guard_received *ret)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(16 * sizeof(int))];
    } control;
    struct iovec part = {ret->packet.bytes, sizeof(ret->packet.bytes)};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    ssize_t n;

    for (size_t i = 0; i < GUARD_FDS_MAX; i++) {
        ret->fds[i] = -1;
    }
    n = recvmsg(peer->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == ECONNRESET) { /* It hung up without reading all; told once. */
        n = recvmsg(peer->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return GUARD_NOTHING_NOW;
    }
    if (n <= 0) {
        return GUARD_CLOSED;
    }
    take_fds(&m, ret);
    /* Cut: more than the largest packet, so its size is a fault. */
    ret->size = (m.msg_flags & MSG_TRUNC) != 0 ? GUARD_PACKET_MAX + 1 : (size_t)n;
    return GUARD_RECEIVED;
}

/* ---- Out ---- */

bool guard_channel_send(const struct guard_peer *peer, const void *packet, size_t size, int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec part = {(void *)(uintptr_t)packet, size};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};

    if (fd >= 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof(control.bytes);
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
    }
    return sendmsg(peer->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}

bool guard_channel_all_read(const struct guard_peer *peer)
{
    int n = 0;

    return ioctl(peer->fd, SIOCOUTQ, &n) == 0 && n == 0;
}
