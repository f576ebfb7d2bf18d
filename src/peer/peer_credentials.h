/*
 * What a node proves itself with: a key derived from the shared secret, or a
 * certificate with its key and the CA it trusts; read, checked, and made ready
 * for OpenSSL. A value: it never changes, a new one replaces it.
 */
#ifndef VECHE_PEER_PEER_CREDENTIALS_H
#define VECHE_PEER_PEER_CREDENTIALS_H

#include <openssl/ssl.h>

#include "base/err.h"

#define CREDENTIALS_KEY_SIZE      32
#define CREDENTIALS_IDENTITY_SIZE 8
#define CREDENTIALS_DIGEST_SIZE   32
#define CREDENTIALS_SUITE         "TLS_AES_128_GCM_SHA256"

struct credentials_options {
    const char *scope; /* Of the cluster; part of the key. */
    const char *name;  /* Of the node; our certificate must carry it. */
    const char *password;
    const char *cert; /* PEM files, all three or none. Given, they win over the password. */
    const char *key;
    const char *ca;
};

struct credentials {
    SSL_CTX *ssl; /* Settings common to both ends; with certificate and CA, if so. */
    bool by_certificate;
    int64_t expires_s; /* Unix time at which our certificate does; 0 = none. */
    unsigned char key[CREDENTIALS_KEY_SIZE];           /* Derived; all zero with certificates. */
    unsigned char identity[CREDENTIALS_IDENTITY_SIZE]; /* What the key is called on the wire. */
    unsigned char digest[CREDENTIALS_DIGEST_SIZE];     /* Of all this: tells whether it changed. */
};

/* Reads the files, so it may wait for a disk; needs no loop and no other thread
 * to stand still. `c` holds nothing after a failure. */
MUST_USE int credentials_init(struct credentials *c, const struct credentials_options *options,
                              struct err *err);
/* The same ones once more, sharing what OpenSSL counts. */
void credentials_copy(struct credentials *c, const struct credentials *from);
void credentials_deinit(struct credentials *c);

/* False with the reason: the certificate is not valid yet, or not any more. */
MUST_USE bool credentials_are_valid_now(const struct credentials *c, struct err *err);

/* The DNS names a certificate carries, quoted, with commas; or "no DNS name". */
void certificate_names(const X509 *certificate, char *text, size_t size);
/* It carries exactly this name (no wildcard, whatever the case) as a DNS name. */
MUST_USE bool certificate_is_for(X509 *certificate, const char *name);

#endif
