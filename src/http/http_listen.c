/*
 * Listening sockets of the REST interface.
 */
#include "http/http_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"

#define BACKLOG 128

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
    if (str_equal(host, "*")) {
        (void)str_copy(host, size, "0.0.0.0"); /* Fits: at least 256 bytes. */
    }
    *ret_port = colon + 1;
    return 0;
}

static int bind_and_listen(int fd, const struct addrinfo *ai)
{
    int one = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)); /* A convenience. */
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        return -errno;
    }
    return fd;
}

int http_listen_tcp(const char *address, struct err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char host[256];
    const char *port;
    int fd;
    int rv;

    if (split_address(address, host, sizeof(host), &port) != 0) {
        return err_set(err, "restapi.listen: \"%s\" is not host:port", address);
    }
    rv = getaddrinfo(host, port, &hints, &found); /* Once, at the start: may wait for DNS. */
    if (rv != 0) {
        return err_set(err, "restapi.listen: cannot resolve \"%s\": %s", address, gai_strerror(rv));
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    rv = fd >= 0 ? bind_and_listen(fd, found) : -errno;
    freeaddrinfo(found);
    if (rv < 0) {
        if (fd >= 0) {
            (void)close(fd); /* The first error counts. */
        }
        (void)err_set_listen(err, -rv, address); /* Always -1. */
        return err_wrap(err, "restapi.listen");
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
