/*
 * Free ports of loopback, also when several test programs run side by side. A server
 * binds its port long after it was given one, and again after each restart: until the
 * program ends a port is its own by an abstract unix socket's name. Below the range that
 * the kernel takes ports of outgoing connections from, and below what the integration
 * tests take.
 */
#ifndef VECHE_TESTS_TEST_PORT_H
#define VECHE_TESTS_TEST_PORT_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PORT_FIRST 12000
#define PORT_END   20000

/* The socket stays open. False: somebody else has the port. */
static inline bool port_claim(uint16_t port)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "veche-test-port-%u", port);
    if (bind(fd, (struct sockaddr *)&name, sizeof(name)) != 0) {
        (void)close(fd);
        return false;
    }
    return true;
}

static inline bool port_is_free(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_free = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

    (void)close(fd);
    return is_free;
}

/* Each program begins elsewhere, or all would try the same ones first. */
static inline uint16_t free_port(void)
{
    static unsigned tried;
    const unsigned n_ports = PORT_END - PORT_FIRST;

    for (; tried < n_ports; tried++) {
        uint16_t port = (uint16_t)(PORT_FIRST + ((unsigned)getpid() * 61 + tried) % n_ports);

        if (port_claim(port) && port_is_free(port)) {
            tried++;
            return port;
        }
    }
    (void)fprintf(stderr, "no free port\n");
    abort();
}

#endif
