/*
 * Addresses as people write them: "10.0.0.1:7400", "[::1]:7400", "pg1:7400",
 * "*:7400".
 */
#ifndef VECHE_PEER_PEER_ADDRESS_H
#define VECHE_PEER_PEER_ADDRESS_H

#include <sys/socket.h>

#include "base/err.h"
#include "store/types.h"

struct peer_address {
    char text[HOST_SIZE]; /* As configured. */
    char host[HOST_SIZE]; /* Without brackets. */
    uint16_t port;
    bool is_any;     /* "*": every address of this machine. */
    bool is_numeric; /* `numeric` is set; else host is a name to resolve. */
    struct sockaddr_storage numeric;
};

/* "host:port"; the error names the value. */
MUST_USE int address_parse(const char *text, struct peer_address *ret_address, struct err *err);

/* Nobody off this machine can be there: a loopback address, or "localhost". */
bool address_is_loopback(const struct peer_address *address);
bool sockaddr_is_loopback(const struct sockaddr_storage *address);

socklen_t sockaddr_length(const struct sockaddr_storage *address);
void sockaddr_set_port(struct sockaddr_storage *address, uint16_t port);

/* The address without its port, "::ffff:1.2.3.4" as "1.2.3.4". Returns text. */
const char *sockaddr_format(const struct sockaddr_storage *address, char *text, size_t size);

#endif
