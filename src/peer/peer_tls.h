/*
 * TLS 1.3 with a pre-shared key, between memory and memory: bytes of the wire
 * go in by feed and come out by take; no socket is known here. The only home
 * of OpenSSL.
 */
#ifndef VECHE_PEER_PEER_TLS_H
#define VECHE_PEER_PEER_TLS_H

#include "base/err.h"
#include "base/str.h"
#include "peer/peer_cause.h"

struct tls_context; /* The key; shared by all connections. */
struct tls;         /* One connection. */

/* The key is derived from password and scope, neither is kept. */
struct tls_context *tls_context_new(const char *password, const char *scope, struct err *err);
void tls_context_free(struct tls_context *c);

/* `context` must outlive the connection. */
struct tls *tls_new(struct tls_context *context, bool is_client, struct err *err);
void tls_free(struct tls *t);

enum tls_next {
    TLS_OK,     /* Handshake: done, both sides proved the key. Read: some bytes. */
    TLS_MORE,   /* Needs more from the wire. */
    TLS_END,    /* The other side closed in good order. */
    TLS_FAILED, /* err (and cause) say why; take what is to be sent, then close. */
};

MUST_USE int tls_feed(struct tls *t, const void *bytes, size_t size, struct err *err);
enum tls_next tls_handshake(struct tls *t, enum peer_cause *ret_cause, struct err *err);
enum tls_next tls_read(struct tls *t, void *buffer, size_t size, size_t *ret_size, struct err *err);
MUST_USE int tls_write(struct tls *t, const void *bytes, size_t size, struct err *err);

/* Appends what is to be sent. */
void tls_take(struct tls *t, struct strbuf *wire);

#endif
