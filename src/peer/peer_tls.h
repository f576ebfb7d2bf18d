/*
 * TLS 1.3 between memory and memory: bytes of the wire go in by feed and come
 * out by take; no socket is known here. This folder is the only home of
 * OpenSSL.
 *
 * A context holds the credentials of now and, after a change, those they
 * replaced. A node accepts either, and can prove itself by either: so a secret
 * or certificates can be changed node by node, and at no time two nodes cannot
 * connect. Which one a dialled connection uses is the caller's choice (the
 * first that was not refused). The previous ones go at the next change, or with
 * the process; that they stay meanwhile is the price of it, so who changes a
 * secret because it became known restarts the agents afterwards.
 */
#ifndef VECHE_PEER_PEER_TLS_H
#define VECHE_PEER_PEER_TLS_H

#include "base/err.h"
#include "base/str.h"
#include "peer/peer_cause.h"
#include "peer/peer_credentials.h"

#define TLS_PROOFS_MAX 2 /* The present credentials, then the previous ones. */

struct tls_context; /* Counted: connections keep it; on one thread only. */
struct tls;         /* One connection. */

/* NULL with the reason. Reads files: not on a loop that must not wait. */
struct tls_context *tls_context_new(const struct credentials_options *options, struct err *err);
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c); /* NULL is fine. */

/* Keeps what `c` was before as its previous credentials. False: both are the
 * same, nothing was done. */
MUST_USE bool tls_context_succeed(struct tls_context *c, const struct tls_context *before);
/* How many proofs there are: 1, or 2 after a change. */
size_t tls_context_n_proofs(const struct tls_context *c);
const struct credentials *tls_context_credentials(const struct tls_context *c);

/* A client proves itself by credentials `proof`; a server takes them all. */
struct tls *tls_new_client(struct tls_context *context, size_t proof, struct err *err);
struct tls *tls_new_server(struct tls_context *context, struct err *err);
void tls_free(struct tls *t);

enum tls_next {
    TLS_OK,     /* Handshake: done, the other side proved itself. Read: some bytes. */
    TLS_MORE,   /* Needs more from the wire. */
    TLS_END,    /* The other side closed in good order. */
    TLS_FAILED, /* err (and cause) say why; take what is to be sent, then close. */
};

MUST_USE int tls_feed(struct tls *t, const void *bytes, size_t size, struct err *err);
enum tls_next tls_handshake(struct tls *t, enum peer_cause *ret_cause, struct err *err);
/* A client's handshake ends before the server has looked at its certificate:
 * that it is refused comes as a failed read, with a cause. */
enum tls_next tls_read(struct tls *t, void *buffer, size_t size, size_t *ret_size,
                       enum peer_cause *ret_cause, struct err *err);
MUST_USE int tls_write(struct tls *t, const void *bytes, size_t size, struct err *err);

/* After the handshake: whether who says it is `name` may be that. Certificates
 * must carry the name; a shared secret says nothing about names. */
MUST_USE bool tls_is_from(const struct tls *t, const char *name, struct err *err);

/* Appends what is to be sent. */
void tls_take(struct tls *t, struct strbuf *wire);

#endif
