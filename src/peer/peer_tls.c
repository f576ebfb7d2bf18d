/*
 * TLS, see peer_tls.h. With a shared secret the key exchange is the key with an
 * ephemeral Diffie-Hellman, so that a secret that leaks later opens nothing
 * recorded before; there is no certificate on either side then, and whoever
 * does not know the key can not finish. With certificates both sides show one,
 * signed by a CA of ours and valid now.
 *
 * The scope is part of the key, so it is never on the wire in the clear; the
 * identity sent is a digest made with the key, which lets the server tell
 * another secret (or the previous one) from no secret and tells a listener
 * nothing.
 */
#include "peer/peer_tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

static const unsigned char suite_id[2] = {0x13, 0x01};

/* Must be what SSL_CTX has. */
static const unsigned char id_context[] = "veche";

struct tls_context {
    size_t n_users;
    size_t n_proofs;
    struct credentials proofs[TLS_PROOFS_MAX];
};

struct tls {
    struct tls_context *context;  /* Counted. */
    const struct credentials *by; /* Client: what it proves itself with; NULL = server. */
    SSL *ssl;                     /* Owns both BIOs. */
    BIO *in;                      /* From the wire. */
    BIO *out;                     /* To the wire. */
    bool was_offered_key;         /* Server: the client named some pre-shared key. */
    bool knows_key;               /* Server: it was ours. */
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

/* ---- Contexts ------------------------------------------------------------ */

/* A session that holds nothing but the key and what it is bound to. */
static SSL_SESSION *new_session(SSL *ssl, const struct credentials *c)
{
    const SSL_CIPHER *suite = SSL_CIPHER_find(ssl, suite_id);
    SSL_SESSION *session = SSL_SESSION_new();

    if (session == NULL || suite == NULL ||
        SSL_SESSION_set1_master_key(session, c->key, sizeof(c->key)) != 1 ||
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
    const struct tls *t = SSL_get_app_data(ssl);

    (void)digest; /* Only one suite is enabled, and the key is of its hash. */
    *ret_session = NULL;
    if (t->by->by_certificate) {
        return 1;
    }
    *ret_session = new_session(ssl, t->by);
    *ret_id = t->by->identity;
    *ret_id_size = sizeof(t->by->identity);
    return *ret_session != NULL;
}

static int find_session(SSL *ssl, const unsigned char *id, size_t id_size,
                        SSL_SESSION **ret_session)
{
    struct tls *t = SSL_get_app_data(ssl);

    *ret_session = NULL;
    t->was_offered_key = true;
    for (size_t i = 0; i < t->context->n_proofs; i++) {
        const struct credentials *c = &t->context->proofs[i];

        if (!c->by_certificate && id_size == sizeof(c->identity) &&
            memcmp(id, c->identity, id_size) == 0) {
            t->knows_key = true;
            *ret_session = new_session(ssl, c);
            return *ret_session != NULL;
        }
    }
    return 1; /* Goes on without a key, and ends for want of a certificate. */
}

struct tls_context *tls_context_new(const struct credentials_options *options, struct err *err)
{
    struct tls_context *c = xmalloc(sizeof(*c));

    if (credentials_init(&c->proofs[0], options, err) < 0) {
        free(c);
        return NULL;
    }
    c->n_users = 1;
    c->n_proofs = 1;
    SSL_CTX_set_psk_use_session_callback(c->proofs[0].ssl, use_session);
    SSL_CTX_set_psk_find_session_callback(c->proofs[0].ssl, find_session);
    return c;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
    PRE(c->n_users > 0);
    c->n_users++;
    return c;
}

void tls_context_unref(struct tls_context *c)
{
    if (c == NULL || --c->n_users > 0) {
        return;
    }
    for (size_t i = 0; i < c->n_proofs; i++) {
        credentials_deinit(&c->proofs[i]);
    }
    free(c);
}

bool tls_context_succeed(struct tls_context *c, const struct tls_context *before)
{
    PRE(c->n_proofs == 1);
    if (memcmp(c->proofs[0].digest, before->proofs[0].digest, CREDENTIALS_DIGEST_SIZE) == 0) {
        return false;
    }
    credentials_copy(&c->proofs[1], &before->proofs[0]);
    c->n_proofs = 2;
    return true;
}

size_t tls_context_n_proofs(const struct tls_context *c)
{
    return c->n_proofs;
}

const struct credentials *tls_context_credentials(const struct tls_context *c)
{
    return &c->proofs[0];
}

/* ---- Connections --------------------------------------------------------- */

static struct tls *new_connection(struct tls_context *context, SSL_CTX *ssl, struct err *err)
{
    struct tls *t = xmalloc(sizeof(*t));

    t->ssl = SSL_new(ssl);
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
    t->context = tls_context_ref(context);
    SSL_set_bio(t->ssl, t->in, t->out);
    SSL_set_app_data(t->ssl, t);
    return t;
}

struct tls *tls_new_client(struct tls_context *context, size_t proof, struct err *err)
{
    const struct credentials *by = &context->proofs[MIN(proof, context->n_proofs - 1)];
    struct tls *t = new_connection(context, by->ssl, err);

    if (t != NULL) {
        t->by = by;
        SSL_set_connect_state(t->ssl);
    }
    return t;
}

/* It has one certificate to show: the newest. Keys of both are taken. */
static const struct credentials *shown_by_server(const struct tls_context *c)
{
    return c->n_proofs > 1 && !c->proofs[0].by_certificate && c->proofs[1].by_certificate
               ? &c->proofs[1]
               : &c->proofs[0];
}

struct tls *tls_new_server(struct tls_context *context, struct err *err)
{
    struct tls *t = new_connection(context, shown_by_server(context)->ssl, err);

    if (t != NULL) {
        SSL_set_accept_state(t->ssl);
    }
    return t;
}

void tls_free(struct tls *t)
{
    if (t != NULL) {
        SSL_free(t->ssl);
        tls_context_unref(t->context);
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

/* ---- Handshake ----------------------------------------------------------- */

static bool is_by_certificate(const struct tls *t)
{
    return t->by != NULL ? t->by->by_certificate
                         : shown_by_server(t->context)->by_certificate && !t->was_offered_key;
}

static bool is_alert(int reason)
{
    return reason > SSL_AD_REASON_OFFSET;
}

/* One of those alerts that are about certificates. */
static bool is_certificate_alert(int reason)
{
    int alert = reason - SSL_AD_REASON_OFFSET;

    return (alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_CERTIFICATE_UNKNOWN) ||
           alert == SSL_AD_UNKNOWN_CA || alert == SSL_AD_CERTIFICATE_REQUIRED;
}

static const char *reason_text(int reason)
{
    const char *text =
        reason == 0 ? NULL : ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, reason));

    return text != NULL ? text : "no reason";
}

static enum peer_cause own_refused(int reason, struct err *err)
{
    (void)err_set(err,
                  "the other side does not take our certificate (%s): it must be valid, for our "
                  "name, and of a CA in raft.tls.ca there",
                  reason_text(reason));
    return CAUSE_OUR_CERTIFICATE;
}

static enum peer_cause classify_certificate(const struct tls *t, int reason, struct err *err)
{
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        (void)err_set(err,
                      "its certificate is not good: %s; it must be valid, and of a CA in "
                      "raft.tls.ca here",
                      X509_verify_cert_error_string(SSL_get_verify_result(t->ssl)));
        return CAUSE_CERTIFICATE;
    }
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        (void)err_set(err, "it shows no certificate: raft.tls must be set there too");
        return CAUSE_CERTIFICATE;
    }
    return own_refused(reason, err);
}

static enum peer_cause classify_key(const struct tls *t, int reason, struct err *err)
{
    bool is_server = SSL_is_server(t->ssl);

    if (!is_server && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        (void)err_set(err, "the other side shows a certificate instead of taking our secret: "
                           "raft.tls must be set on all nodes or on none");
        return CAUSE_WRONG_SECRET;
    }
    if (is_server && t->was_offered_key && shown_by_server(t->context)->by_certificate) {
        (void)err_set(err, "it offers a secret that is none of ours; raft.tls is set here and must "
                           "be there too");
        return CAUSE_WRONG_SECRET;
    }
    if (!is_server && is_alert(reason)) {
        (void)err_set(err, "the other side does not take our secret: raft.password and scope must "
                           "be the same there");
        return CAUSE_WRONG_SECRET;
    }
    if (is_server && t->was_offered_key) {
        (void)err_set(err, "it does not know our secret: raft.password and scope must be the same "
                           "there");
        return CAUSE_WRONG_SECRET;
    }
    return CAUSE_NONE;
}

/* What the failure of a handshake says about the other side. */
static enum peer_cause classify(const struct tls *t, int reason, struct err *err)
{
    if (is_by_certificate(t) &&
        (is_certificate_alert(reason) || reason == SSL_R_CERTIFICATE_VERIFY_FAILED ||
         reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)) {
        return classify_certificate(t, reason, err);
    }
    if (t->by != NULL && t->by->by_certificate &&
        reason == SSL_AD_REASON_OFFSET + SSL_AD_HANDSHAKE_FAILURE) {
        (void)err_set(err, "the other side takes no certificates: raft.tls must be set there too");
        return CAUSE_WRONG_SECRET;
    }
    if (!is_by_certificate(t)) {
        enum peer_cause cause = classify_key(t, reason, err);

        if (cause != CAUSE_NONE) {
            return cause;
        }
    }
    if (SSL_is_server(t->ssl) &&
        (reason == SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM || reason == SSL_R_NO_SHARED_CIPHER ||
         reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_NO_SUITABLE_KEY_SHARE ||
         reason == SSL_R_NO_CERTIFICATE_ASSIGNED)) {
        (void)err_set(err, "it offers TLS, but not %s with TLS 1.3",
                      is_by_certificate(t) ? "a certificate" : "a shared secret");
        return CAUSE_NO_SECRET;
    }
    (void)err_set(err, "it does not speak TLS as we do (%s)", reason_text(reason));
    return CAUSE_NOT_TLS;
}

/* That the handshake ended must mean that the other side proved itself. */
static bool is_proved(const struct tls *t)
{
    const SSL_CIPHER *suite = SSL_get_current_cipher(t->ssl);

    if (SSL_version(t->ssl) != TLS1_3_VERSION || suite == NULL ||
        strcmp(SSL_CIPHER_get_name(suite), CREDENTIALS_SUITE) != 0) {
        return false;
    }
    if (SSL_session_reused(t->ssl) == 1) {
        return t->by != NULL ? !t->by->by_certificate : t->knows_key;
    }
    return is_by_certificate(t) && SSL_get0_peer_certificate(t->ssl) != NULL &&
           SSL_get_verify_result(t->ssl) == X509_V_OK;
}

enum tls_next tls_handshake(struct tls *t, enum peer_cause *ret_cause, struct err *err)
{
    int n;

    ERR_clear_error();
    n = SSL_do_handshake(t->ssl);
    if (n == 1 && is_proved(t)) {
        return TLS_OK;
    }
    if (n != 1 && SSL_get_error(t->ssl, n) == SSL_ERROR_WANT_READ) {
        return TLS_MORE;
    }
    *ret_cause = classify(t, ERR_GET_REASON(ERR_peek_error()), err);
    ERR_clear_error();
    return TLS_FAILED;
}

bool tls_is_from(const struct tls *t, const char *name, struct err *err)
{
    X509 *certificate = SSL_get0_peer_certificate(t->ssl);
    char names[256];

    if (SSL_session_reused(t->ssl) == 1) {
        return true;
    }
    if (certificate != NULL && certificate_is_for(certificate, name)) {
        return true;
    }
    if (certificate != NULL) {
        certificate_names(certificate, names, sizeof(names));
    }
    (void)err_set(err,
                  "node \"%s\" has a certificate for %s; a certificate must carry the name of its "
                  "node as a DNS name in subjectAltName",
                  name, certificate != NULL ? names : "nobody");
    return false;
}

/* ---- Bytes --------------------------------------------------------------- */

enum tls_next tls_read(struct tls *t, void *buffer, size_t size, size_t *ret_size,
                       enum peer_cause *ret_cause, struct err *err)
{
    int reason;
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
        reason = ERR_GET_REASON(ERR_peek_error());
        *ret_cause = CAUSE_NONE;
        if (is_certificate_alert(reason)) {
            *ret_cause = own_refused(reason, err);
            ERR_clear_error();
        } else {
            (void)fail(err, "decrypting");
        }
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
