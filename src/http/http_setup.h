/*
 * What restapi: says, read and checked: made off the loop (files may be on a disk that
 * hangs), then taken over whole by http_new() or http_configure().
 */
#ifndef VECHE_HTTP_HTTP_SETUP_H
#define VECHE_HTTP_HTTP_SETUP_H

#include "base/kv.h"
#include "http/http.h"

struct http_net {      /* A network, or one address. */
    uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
    unsigned prefix;   /* Of 128 bits. */
};

struct http_setup {
    /* TLS. As PEM; cert NULL = none. */
    char *cert, *key, *key_password, *ca;
    char *priorities; /* GnuTLS's. */
    enum http_verify verify;

    /* Who may change something. */
    bool has_allowlist; /* Of any of the next three. */
    struct http_net *nets;
    size_t n_nets;
    struct kv_list names; /* To be looked up; as keys. */
    bool include_members;
    bool allow_commands;
    char *credentials; /* base64 of user:password; NULL = not asked for. */

    /* Every answer. */
    struct kv_list headers;
    char server[64]; /* Server: */
};

/* Of TLS: what one daemon was started with. */
bool http_setup_same_tls(const struct http_setup *a, const struct http_setup *b);

/* "10.0.0.0/8", "::1"; false: neither an address nor a network. */
bool http_net_parse(const char *text, struct http_net *ret_net);
bool http_net_has(const struct http_net *net, const struct sockaddr *address);
/* Of one host, whatever the ports; what is neither IPv4 nor IPv6 is all one. */
bool http_same_host(const struct sockaddr *a, const struct sockaddr *b);

/* Of "http://host:port/patroni" the host. False: there is none. */
bool http_url_host(const char *url, char *host, size_t size);

#endif
