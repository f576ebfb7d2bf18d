/*
 * Certificates for the tests of src/peer, made on the spot in a temporary
 * directory: a CA, and what it signs, good and bad.
 */
#ifndef VECHE_TEST_PEER_CERTS_H
#define VECHE_TEST_PEER_CERTS_H

#include <sys/stat.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "test_child.h"
#include "test_peer_lib.h"

#define HOUR 3600L
#define DAY  (24 * HOUR)

struct ca {
    X509 *certificate;
    EVP_PKEY *key;
    char path[256];
};

struct cert {          /* What is signed; zero = as it should be. */
    const char *names; /* "DNS:n0" */
    long from, until;  /* Seconds from now. */
    const char *usage; /* extendedKeyUsage; NULL = none. */
};

struct certs { /* The directory of a test. */
    char dir[128];
    struct ca ours, other;
    char paths[256][256]; /* Of files; their texts live as long as this. */
    size_t n_paths;
};

static inline void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509_EXTENSION *extension;
    X509V3_CTX context;

    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static inline X509 *make_x509(EVP_PKEY *key, const char *subject, long from, long until)
{
    static long serial = 1;
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);

    assert_int_equal(X509_set_version(x, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), from));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), until));
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                                (const unsigned char *)subject, -1, -1, 0),
                     1);
    assert_int_equal(X509_set_pubkey(x, key), 1);
    return x;
}

static inline const char *new_path(struct certs *c, const char *what)
{
    size_t i = c->n_paths++;
    struct sbuf path;

    assert_true(i < ARRAY_LENGTH(c->paths));
    sbuf_init(&path, c->paths[i], sizeof(c->paths[i]));
    sbuf_printf(&path, "%s/%zu-%s", c->dir, i, what);
    return c->paths[i];
}

static inline const char *write_text(struct certs *c, const char *what, const char *text)
{
    const char *path = new_path(c, what);
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0600), 0);
    return path;
}

static inline const char *write_certificate(struct certs *c, X509 *certificate)
{
    const char *path = new_path(c, "cert.pem");
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, certificate), 1);
    assert_int_equal(fclose(f), 0);
    return path;
}

static inline const char *write_key(struct certs *c, EVP_PKEY *key, const char *passphrase)
{
    const char *path = new_path(c, "key.pem");
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, key, passphrase != NULL ? EVP_aes_128_cbc() : NULL,
                                          NULL, 0, NULL, (void *)(uintptr_t)passphrase),
                     1);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0600), 0);
    return path;
}

static inline void make_ca(struct certs *c, struct ca *ca, const char *name)
{
    ca->key = EVP_EC_gen("P-256");
    ca->certificate = make_x509(ca->key, name, -DAY, 365 * DAY);
    assert_int_equal(X509_set_issuer_name(ca->certificate, X509_get_subject_name(ca->certificate)),
                     1);
    add_extension(ca->certificate, ca->certificate, NID_basic_constraints, "critical,CA:TRUE");
    assert_true(X509_sign(ca->certificate, ca->key, EVP_sha256()) > 0);
    (void)str_copy(ca->path, sizeof(ca->path), write_certificate(c, ca->certificate));
}

/* The files of a node with such a certificate. */
static inline struct peer_secrets make_secrets(struct certs *c, const struct ca *ca,
                                               const struct cert *what)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = make_x509(key, "a node", what->from != 0 ? what->from : -DAY,
                        what->until != 0 ? what->until : DAY);
    struct peer_secrets s = {.ca = ca->path};

    assert_int_equal(X509_set_issuer_name(x, X509_get_subject_name(ca->certificate)), 1);
    if (what->names != NULL) {
        add_extension(x, ca->certificate, NID_subject_alt_name, what->names);
    }
    if (what->usage != NULL) {
        add_extension(x, ca->certificate, NID_ext_key_usage, what->usage);
    }
    assert_true(X509_sign(x, ca->key, EVP_sha256()) > 0);
    s.cert = write_certificate(c, x);
    s.key = write_key(c, key, NULL);
    X509_free(x);
    EVP_PKEY_free(key);
    return s;
}

static inline void certs_init(struct certs *c)
{
    *c = (struct certs){0};
    new_place(c->dir, sizeof(c->dir), "certs");
    make_ca(c, &c->ours, "the CA of the tests");
    make_ca(c, &c->other, "another CA");
}

static inline void certs_deinit(struct certs *c)
{
    for (size_t i = 0; i < c->n_paths; i++) {
        (void)unlink(c->paths[i]); /* Some were only names. */
    }
    assert_int_equal(rmdir(c->dir), 0);
    X509_free(c->ours.certificate);
    X509_free(c->other.certificate);
    EVP_PKEY_free(c->ours.key);
    EVP_PKEY_free(c->other.key);
}

#endif
