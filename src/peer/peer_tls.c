/*
 * TLS, see peer_tls.h. One cipher suite (its hash is the one the key is bound
 * to), one key exchange (the pre-shared key with an ephemeral Diffie-Hellman,
 * so that a secret that leaks later opens nothing recorded before). There is no
 * certificate on either side: whoever does not know the key can not finish.
 *
 * The scope is part of the key, so it is never on the wire in the clear; the
 * identity sent is a digest made with the key, which lets the server tell
 * another secret from no secret and tells a listener nothing.
 */
#include "peer/peer_tls.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/ssl.h>

#define KEY_SIZE      32
#define IDENTITY_SIZE 8
#define SUITE_NAME    "TLS_AES_128_GCM_SHA256"

static const unsigned char suite_id[2] = {0x13, 0x01};

/* OpenSSL wants sessions and connections to name the same use. */
static const unsigned char id_context[] = "veche";

struct tls_context {
    SSL_CTX *ssl;
    unsigned char key[KEY_SIZE];
    unsigned char identity[IDENTITY_SIZE];
};

struct tls {
    struct tls_context *context; /* Not owned. */
    SSL *ssl;                    /* Owns both BIOs. */
    BIO *in;                     /* From the wire. */
    BIO *out;                    /* To the wire. */
    bool was_offered_key;        /* Server: the client named some pre-shared key. */
    bool knows_key;              /* Server: it was ours. */
};

/* The oldest queued error, which names the cause; clears the queue. */
static int fail(struct err *err, const char *what)
{
    char text[256];
    unsigned long code = ERR_get_error();

    ERR_error_string_n(code, text, sizeof(text));
    ERR_clear_error();
    return err_set(err, "%s: %s", what, code == 0 ? "no reason given" : text);
}

static int derive(const char *password, const char *scope, const char *info, unsigned char *ret_key,
                  size_t size)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    OSSL_PARAM params[5];
    int ok = 0;

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)password,
                                                  strlen(password));
    params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)scope,
                                                  strlen(scope));
    params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info,
                                                  strlen(info));
    params[4] = OSSL_PARAM_construct_end();
    if (context != NULL) {
        ok = EVP_KDF_derive(context, ret_key, size, params) > 0;
    }
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return ok ? 0 : -1;
}

/* A session that holds nothing but the key and what it is bound to. */
static SSL_SESSION *new_session(SSL *ssl, const struct tls_context *c)
{
    const SSL_CIPHER *suite = SSL_CIPHER_find(ssl, suite_id);
    SSL_SESSION *session = SSL_SESSION_new();

    if (session == NULL || suite == NULL ||
        SSL_SESSION_set1_master_key(session, c->key, KEY_SIZE) != 1 ||
        SSL_SESSION_set_cipher(session, suite) != 1 ||
        SSL_SESSION_set1_id_context(session, id_context, sizeof(id_context)) != 1 ||
        SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) != 1) {
        SSL_SESSION_free(session);
        return NULL;
    }
    return session;
}

static int use_session(SSL *ssl, const EVP_MD *digest, const unsigned char **ret_id,
                       size_t *ret_id_size, SSL_SESSION **ret_session)
{
    struct tls *t = SSL_get_app_data(ssl);

    (void)digest; /* Only one suite is enabled, and the key is of its hash. */
    *ret_session = new_session(ssl, t->context);
    *ret_id = t->context->identity;
    *ret_id_size = IDENTITY_SIZE;
    return *ret_session != NULL;
}

static int find_session(SSL *ssl, const unsigned char *id, size_t id_size,
                        SSL_SESSION **ret_session)
{
    struct tls *t = SSL_get_app_data(ssl);

    *ret_session = NULL;
    t->was_offered_key = true;
    if (id_size != IDENTITY_SIZE || memcmp(id, t->context->identity, IDENTITY_SIZE) != 0) {
        return 1; /* Goes on without a key, and ends for want of a certificate. */
    }
    t->knows_key = true;
    *ret_session = new_session(ssl, t->context);
    return *ret_session != NULL;
}

static int set_up(SSL_CTX *ssl)
{
    SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    (void)SSL_CTX_clear_options(ssl, SSL_OP_ALLOW_NO_DHE_KEX);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    /* A peer that does not take the key would have to show a certificate, and
     * none is trusted. */
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_psk_use_session_callback(ssl, use_session);
    SSL_CTX_set_psk_find_session_callback(ssl, find_session);
    return SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(ssl, SUITE_NAME) == 1 &&
           SSL_CTX_set1_groups_list(ssl, "X25519:P-256") == 1 &&
           SSL_CTX_set_num_tickets(ssl, 0) == 1 && SSL_CTX_set_max_early_data(ssl, 0) == 1 &&
           SSL_CTX_set_session_id_context(ssl, id_context, sizeof(id_context)) == 1;
}

struct tls_context *tls_context_new(const char *password, const char *scope, struct err *err)
{
    struct tls_context *c = xmalloc(sizeof(*c));

    c->ssl = SSL_CTX_new(TLS_method());
    if (c->ssl == NULL || !set_up(c->ssl) ||
        derive(password, scope, "veche peer key 1", c->key, KEY_SIZE) < 0 ||
        derive(password, scope, "veche peer identity 1", c->identity, IDENTITY_SIZE) < 0) {
        (void)fail(err, "setting up TLS");
        tls_context_free(c);
        return NULL;
    }
    return c;
}

void tls_context_free(struct tls_context *c)
{
    if (c != NULL) {
        SSL_CTX_free(c->ssl);
        OPENSSL_cleanse(c->key, sizeof(c->key));
        free(c);
    }
}

struct tls *tls_new(struct tls_context *context, bool is_client, struct err *err)
{
    struct tls *t = xmalloc(sizeof(*t));

    t->context = context;
    t->ssl = SSL_new(context->ssl);
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    if (t->ssl == NULL || t->in == NULL || t->out == NULL) {
        (void)fail(err, "a new TLS connection");
        BIO_free(t->in);
        BIO_free(t->out);
        SSL_free(t->ssl);
        free(t);
        return NULL;
    }
    SSL_set_bio(t->ssl, t->in, t->out);
    SSL_set_app_data(t->ssl, t);
    if (is_client) {
        SSL_set_connect_state(t->ssl);
    } else {
        SSL_set_accept_state(t->ssl);
    }
    return t;
}

void tls_free(struct tls *t)
{
    if (t != NULL) {
        SSL_free(t->ssl);
        free(t);
    }
}

int tls_feed(struct tls *t, const void *bytes, size_t size, struct err *err)
{
    size_t n;

    if (size > 0 && (BIO_write_ex(t->in, bytes, size, &n) != 1 || n != size)) {
        return fail(err, "taking bytes from the wire");
    }
    return 0;
}

/* What the failure of a handshake says about the other side. */
static enum peer_cause classify(const struct tls *t, int reason, struct err *err)
{
    bool is_server = SSL_is_server(t->ssl);

    if (!is_server && reason > SSL_AD_REASON_OFFSET) {
        (void)err_set(err, "the other side does not take our secret: raft.password and scope must "
                           "be the same there");
        return CAUSE_WRONG_SECRET;
    }
    if (is_server && t->was_offered_key) {
        (void)err_set(err, "it does not know our secret: raft.password and scope must be the same "
                           "there");
        return CAUSE_WRONG_SECRET;
    }
    if (is_server &&
        (reason == SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM || reason == SSL_R_NO_SHARED_CIPHER ||
         reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_NO_SUITABLE_KEY_SHARE ||
         reason == SSL_R_NO_CERTIFICATE_ASSIGNED)) {
        (void)err_set(err, "it offers TLS, but no shared secret with TLS 1.3");
        return CAUSE_NO_SECRET;
    }
    (void)err_set(err, "it does not speak TLS as we do (%s)",
                  reason == 0 ? "no reason"
                              : ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, reason)));
    return CAUSE_NOT_TLS;
}

/* That the handshake ended must mean that the key was used. */
static bool is_by_key(const struct tls *t)
{
    const SSL_CIPHER *suite = SSL_get_current_cipher(t->ssl);

    return SSL_session_reused(t->ssl) == 1 && SSL_version(t->ssl) == TLS1_3_VERSION &&
           suite != NULL && strcmp(SSL_CIPHER_get_name(suite), SUITE_NAME) == 0 &&
           (!SSL_is_server(t->ssl) || t->knows_key);
}

enum tls_next tls_handshake(struct tls *t, enum peer_cause *ret_cause, struct err *err)
{
    int n;

    ERR_clear_error();
    n = SSL_do_handshake(t->ssl);
    if (n == 1 && is_by_key(t)) {
        return TLS_OK;
    }
    if (n != 1 && SSL_get_error(t->ssl, n) == SSL_ERROR_WANT_READ) {
        return TLS_MORE;
    }
    *ret_cause = classify(t, ERR_GET_REASON(ERR_peek_error()), err);
    ERR_clear_error();
    return TLS_FAILED;
}

enum tls_next tls_read(struct tls *t, void *buffer, size_t size, size_t *ret_size, struct err *err)
{
    int ok;

    ERR_clear_error();
    ok = SSL_read_ex(t->ssl, buffer, size, ret_size);
    if (ok == 1) {
        return TLS_OK;
    }
    switch (SSL_get_error(t->ssl, ok)) {
    case SSL_ERROR_WANT_READ:
        return TLS_MORE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_END;
    default:
        (void)fail(err, "decrypting");
        return TLS_FAILED;
    }
}

int tls_write(struct tls *t, const void *bytes, size_t size, struct err *err)
{
    size_t n;

    ERR_clear_error();
    if (SSL_write_ex(t->ssl, bytes, size, &n) != 1 || n != size) {
        return fail(err, "encrypting");
    }
    return 0;
}

void tls_take(struct tls *t, struct strbuf *wire)
{
    char *bytes;
    long n = BIO_get_mem_data(t->out, &bytes);

    if (n > 0) {
        strbuf_add(wire, bytes, (size_t)n);
        (void)BIO_reset(t->out); /* Can not fail for memory. */
    }
}
