/*
 * Listening sockets of the REST interface.
 */
#include "http/http_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"

#define BACKLOG 128 /* Of the unix socket. */

static int split_address(const char *text, char *host, size_t size, const char **ret_port)
{
    const char *colon = strrchr(text, ':');
    size_t length = colon != NULL ? (size_t)(colon - text) : 0;

    if (colon == NULL || length >= size) {
        return -1;
    }
    memcpy(host, text, length);
    host[length] = '\0';
    if (host[0] == '[' && length > 1 && host[length - 1] == ']') {
        memmove(host, host + 1, length - 2);
        host[length - 2] = '\0';
    }
    *ret_port = colon + 1;
    return 0;
}

/* A socket that listens, or -errno. */
static int open_at(const struct addrinfo *ai, int backlog)
{
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int one = 1;
    int zero = 0;
    int rv;

    if (fd < 0) {
        return -errno;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)); /* A convenience. */
    if (ai->ai_family == AF_INET6) { /* "::" is IPv4's, too, whatever the machine's default. */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    }
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, backlog) != 0) {
        rv = -errno;
        (void)close(fd); /* The first error counts. */
        return rv;
    }
    return fd;
}

/* Asks a name server, perhaps: once, at the start. */
static int listen_at(const char *address, const char *host, const char *port, int backlog,
                     struct err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int rv = getaddrinfo(host, port, &hints, &found);

    if (rv != 0) {
        return err_set(err, "restapi.listen: cannot resolve \"%s\": %s", address, gai_strerror(rv));
    }
    rv = open_at(found, backlog);
    freeaddrinfo(found);
    if (rv < 0) {
        (void)err_set_listen(err, -rv, address); /* Always -1. */
        return err_wrap(err, "restapi.listen");
    }
    return rv;
}

int http_listen_tcp(const char *address, int backlog, struct err *err)
{
    char host[256];
    const char *port;
    struct err none = {""};
    int fd;

    if (split_address(address, host, sizeof(host), &port) != 0) {
        return err_set(err, "restapi.listen: \"%s\" is not host:port", address);
    }
    if (!str_equal(host, "*")) {
        return listen_at(address, host, port, backlog, err);
    }
    fd = listen_at(address, "::", port, backlog, &none);
    if (fd < 0) {
        fd = listen_at(address, "0.0.0.0", port, backlog, err); /* There is no IPv6. */
    }
    return fd;
}

/* The socket lies in a directory of ours alone; only its owner and root get in. */
int http_listen_unix(const char *path, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (!str_copy(address.sun_path, sizeof(address.sun_path), path)) {
        return err_set(err, "the path of the unix socket is too long (%zu bytes, at most %zu): %s",
                       strlen(path), sizeof(address.sun_path) - 1, path);
    }
    (void)unlink(path); /* Of an agent that was killed; the Raft directory's lock is held. */
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot make a unix socket");
    }
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, BACKLOG) != 0) {
        int saved = errno;

        (void)close(fd); /* The first error counts. */
        return err_set_errno(err, saved, "cannot listen on the unix socket %s", path);
    }
    return fd;
}
