/*
 * Who may do what. Reading is open to everybody, unless restapi.verify_client is `required`:
 * then who has no certificate does not get through the handshake (http_daemon.c), or is refused
 * here if its connection is older. What changes something goes through Patroni's three gates, in
 * its order and with its words: allowlist, client certificate, basic authentication. Where none
 * of them is configured only the machine itself gets in. The unix socket lies in a directory of
 * our own user: who reaches it may do everything.
 */
#ifndef VECHE_HTTP_HTTP_ACCESS_H
#define VECHE_HTTP_HTTP_ACCESS_H

#include <sys/socket.h>

#include "core/view.h"
#include "http/http_setup.h"

struct http_names;

struct http_client {
    bool is_local; /* Over the unix socket. */
    bool has_tls;
    bool has_certificate;            /* A valid one. */
    struct sockaddr_storage address; /* ss_family 0 = not known. */
    const char *authorization;       /* The header; NULL = none. */
};

struct http_refusal {
    unsigned code;    /* 0 = none: go on. */
    const char *text; /* A constant. */
};

/* names: what host names stand for; NULL = nothing is known of any. */
struct http_refusal http_access_check(const struct http_setup *setup, const struct store *store,
                                      const struct http_names *names, const struct http_client *c,
                                      bool unsafe);

/* Whether it is on this machine. */
bool http_access_is_own(const struct http_client *c);

#endif
