/*
 * Credentials, see peer_credentials.h. Files are read by ourselves rather than
 * by OpenSSL: then every complaint can name the file and the remedy, the mode
 * that is judged is that of the file that was read, and the digest is of what
 * is in use.
 */
#include "peer/peer_credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/str.h"

#define FILE_SIZE_MAX ((size_t)256 * 1024)
#define CHAIN_MAX     8

/* Sessions and connections have to name the same use. */
static const unsigned char id_context[] = "veche";

/* The three files while they are being read. */
struct files {
    const struct credentials_options *o;
    struct strbuf cert, key, ca;
};

static int fail(struct err *err, const char *what)
{
    char text[256];
    unsigned long code = ERR_get_error();

    ERR_error_string_n(code, text, sizeof(text));
    ERR_clear_error();
    return err_set(err, "%s: %s", what, code == 0 ? "no reason given" : text);
}

/* ---- The shared secret --------------------------------------------------- */

static int derive(const struct credentials_options *o, const char *info, unsigned char *ret_key,
                  size_t size)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    OSSL_PARAM params[5];
    int ok = 0;

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0);
    params[1] = OSSL_PARAM_construct_octet_string(
        OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)o->password, strlen(o->password));
    params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)o->scope,
                                                  strlen(o->scope));
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

/* ---- Files --------------------------------------------------------------- */

/* A key that others may read is no secret any more. */
static int judge_mode(const char *what, const char *path, int fd, bool is_key, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return err_set_errno(err, errno, "%s %s", what, path);
    }
    if (!S_ISREG(st.st_mode)) {
        return err_set(err, "%s %s: not a regular file", what, path);
    }
    if (is_key && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return err_set(err, "%s %s: others may use it (mode %04o); run chmod 0600 on it", what,
                       path, (unsigned)(st.st_mode & 07777));
    }
    return 0;
}

static int read_all(const char *what, const char *path, int fd, struct strbuf *ret, struct err *err)
{
    char part[4096];
    ssize_t n;

    while ((n = read(fd, part, sizeof(part))) > 0) {
        strbuf_add(ret, part, (size_t)n);
        if (ret->length > FILE_SIZE_MAX) {
            return err_set(err, "%s %s: larger than %zu bytes, this is no such file", what, path,
                           FILE_SIZE_MAX);
        }
    }
    OPENSSL_cleanse(part, sizeof(part));
    return n == 0 ? 0 : err_set_errno(err, errno, "%s %s", what, path);
}

static int read_file(const char *what, const char *path, bool is_key, struct strbuf *ret,
                     struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int r;

    if (fd < 0) {
        return err_set(err,
                       "%s %s: %s; it must be there and readable for the user the agent runs as",
                       what, path, strerror(errno));
    }
    r = judge_mode(what, path, fd, is_key, err);
    if (r == 0) {
        r = read_all(what, path, fd, ret, err);
    }
    (void)close(fd); /* Only read from. */
    return r;
}

static void free_files(struct files *f)
{
    if (f->key.data != NULL) {
        OPENSSL_cleanse(f->key.data, f->key.size);
    }
    strbuf_deinit(&f->cert);
    strbuf_deinit(&f->key);
    strbuf_deinit(&f->ca);
}

static BIO *open_text(const struct strbuf *text)
{
    BIO *bio = BIO_new_mem_buf(text->data != NULL ? text->data : "", (int)text->length);

    ASSERT(bio != NULL);
    return bio;
}

/* ---- Into OpenSSL -------------------------------------------------------- */

static int use_certificate(SSL_CTX *ssl, const struct files *f, struct err *err)
{
    BIO *bio = open_text(&f->cert);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    bool ok = certificate != NULL && SSL_CTX_use_certificate(ssl, certificate) == 1;

    X509_free(certificate);
    for (int i = 0; ok && i < CHAIN_MAX; i++) { /* What signed it, up to the CA. */
        certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (certificate == NULL) {
            break;
        }
        ok = SSL_CTX_add1_chain_cert(ssl, certificate) == 1;
        X509_free(certificate);
    }
    BIO_free(bio);
    ERR_clear_error(); /* The end of the file is one for OpenSSL. */
    return ok ? 0
              : err_set(err, "raft.tls.cert %s: no usable certificate in PEM form in it",
                        f->o->cert);
}

static int no_passphrase(char *buffer, int size, int is_write, void *data)
{
    (void)buffer;
    (void)size;
    (void)is_write;
    (void)data;
    return -1; /* Nobody is there to ask. */
}

static int use_key(SSL_CTX *ssl, const struct files *f, struct err *err)
{
    BIO *bio = open_text(&f->key);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    bool is_key = key != NULL;
    bool fits =
        is_key && SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;

    EVP_PKEY_free(key);
    BIO_free(bio);
    ERR_clear_error();
    if (!is_key) {
        return err_set(err,
                       "raft.tls.key %s: no private key in PEM form without a passphrase in it",
                       f->o->key);
    }
    if (!fits) {
        return err_set(err,
                       "raft.tls.key %s: it is not the key of the certificate in %s; the two files "
                       "must be of one pair",
                       f->o->key, f->o->cert);
    }
    return 0;
}

/* Only what stands in the file is trusted; a file may hold several, so that one
 * CA can take over from another. */
static int use_ca(SSL_CTX *ssl, const struct files *f, struct err *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    BIO *bio = open_text(&f->ca);
    size_t n = 0;
    bool ok = true;
    X509 *ca;

    while (ok && (ca = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        ok = X509_STORE_add_cert(store, ca) == 1 && SSL_CTX_add_client_CA(ssl, ca) == 1;
        X509_free(ca);
        n++;
    }
    BIO_free(bio);
    ERR_clear_error();
    return ok && n > 0
               ? 0
               : err_set(err, "raft.tls.ca %s: no CA certificate in PEM form in it", f->o->ca);
}

static int check_purpose(X509 *certificate, const struct files *f, struct err *err)
{
    if (X509_check_purpose(certificate, X509_PURPOSE_SSL_SERVER, 0) == 1 &&
        X509_check_purpose(certificate, X509_PURPOSE_SSL_CLIENT, 0) == 1) {
        return 0;
    }
    return err_set(err,
                   "raft.tls.cert %s: its key usage does not allow both ends of a connection; make "
                   "one with extendedKeyUsage serverAuth, clientAuth, or without",
                   f->o->cert);
}

static int check_issuer(SSL_CTX *ssl, X509 *certificate, const struct files *f, struct err *err)
{
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    STACK_OF(X509) *chain = NULL;
    const char *why = "no memory";
    int ok = 0;

    (void)SSL_CTX_get0_chain_certs(ssl, &chain); /* NULL = none. */
    if (context != NULL &&
        X509_STORE_CTX_init(context, SSL_CTX_get_cert_store(ssl), certificate, chain) == 1) {
        /* Its time is another matter, see credentials_are_valid_now. */
        X509_STORE_CTX_set_flags(context, X509_V_FLAG_NO_CHECK_TIME);
        ok = X509_verify_cert(context);
        why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context));
    }
    if (ok != 1) {
        (void)err_set(err,
                      "raft.tls.cert %s: not signed by a CA in %s (%s); every node needs the CA of "
                      "all certificates",
                      f->o->cert, f->o->ca, why);
    }
    X509_STORE_CTX_free(context);
    ERR_clear_error();
    return ok == 1 ? 0 : -1;
}

/* What others would refuse is better said at home. */
static int check_certificate(SSL_CTX *ssl, const struct files *f, struct err *err)
{
    X509 *certificate = SSL_CTX_get0_certificate(ssl);
    char names[256];

    if (!certificate_is_for(certificate, f->o->name)) {
        certificate_names(certificate, names, sizeof(names));
        return err_set(err,
                       "raft.tls.cert %s: it is for %s and not for \"%s\"; make one with the name "
                       "of this node as a DNS name in subjectAltName",
                       f->o->cert, names, f->o->name);
    }
    if (check_purpose(certificate, f, err) < 0) {
        return -1;
    }
    return check_issuer(ssl, certificate, f, err);
}

static int digest_files(const struct files *f, unsigned char *ret_digest)
{
    const struct strbuf *all[] = {&f->cert, &f->key, &f->ca};
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;

    for (size_t i = 0; ok && i < ARRAY_LENGTH(all); i++) {
        ok = EVP_DigestUpdate(context, &all[i]->length, sizeof(all[i]->length)) == 1 &&
             EVP_DigestUpdate(context, all[i]->data, all[i]->length) == 1;
    }
    ok = ok && EVP_DigestFinal_ex(context, ret_digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    return ok ? 0 : -1;
}

static int load(struct credentials *c, struct files *f, struct err *err)
{
    if (read_file("raft.tls.cert", f->o->cert, false, &f->cert, err) < 0 ||
        read_file("raft.tls.key", f->o->key, true, &f->key, err) < 0 ||
        read_file("raft.tls.ca", f->o->ca, false, &f->ca, err) < 0 ||
        use_certificate(c->ssl, f, err) < 0 || use_key(c->ssl, f, err) < 0 ||
        use_ca(c->ssl, f, err) < 0 || check_certificate(c->ssl, f, err) < 0) {
        return -1;
    }
    return digest_files(f, c->digest) == 0 ? 0 : fail(err, "raft.tls");
}

static int64_t expiry_of(const X509 *certificate)
{
    struct tm tm;

    return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static int load_files(struct credentials *c, const struct credentials_options *options,
                      struct err *err)
{
    struct files files = {.o = options};
    int r = load(c, &files, err);

    c->by_certificate = true;
    if (r == 0) {
        c->expires_s = expiry_of(SSL_CTX_get0_certificate(c->ssl));
    }
    free_files(&files);
    return r;
}

/* TLS 1.3 alone, one suite (its hash is the one the key is bound to), always
 * with an ephemeral key exchange, nothing resumed. */
static int set_up(SSL_CTX *ssl)
{
    SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    (void)SSL_CTX_clear_options(ssl, SSL_OP_ALLOW_NO_DHE_KEX);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_mode(ssl, SSL_MODE_NO_AUTO_CHAIN); /* What is in the file, no more. */
    /* Whoever does not take the key has to show a certificate; without a CA
     * none is trusted. */
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(ssl, CREDENTIALS_SUITE) == 1 &&
           SSL_CTX_set1_groups_list(ssl, "X25519:P-256") == 1 &&
           SSL_CTX_set_num_tickets(ssl, 0) == 1 && SSL_CTX_set_max_early_data(ssl, 0) == 1 &&
           SSL_CTX_set_session_id_context(ssl, id_context, sizeof(id_context)) == 1;
}

int credentials_init(struct credentials *c, const struct credentials_options *options,
                     struct err *err)
{
    int r = 0;

    PRE(options->password != NULL || options->cert != NULL);
    *c = (struct credentials){.ssl = SSL_CTX_new(TLS_method())};
    if (c->ssl == NULL || !set_up(c->ssl)) {
        r = fail(err, "setting up TLS");
    } else if (options->cert != NULL) {
        r = load_files(c, options, err);
    } else if (derive(options, "veche peer key 1", c->key, sizeof(c->key)) < 0 ||
               derive(options, "veche peer identity 1", c->identity, sizeof(c->identity)) < 0 ||
               derive(options, "veche peer digest 1", c->digest, sizeof(c->digest)) < 0) {
        r = fail(err, "setting up TLS");
    }
    if (r < 0) {
        credentials_deinit(c);
    }
    return r;
}

void credentials_copy(struct credentials *c, const struct credentials *from)
{
    *c = *from;
    (void)SSL_CTX_up_ref(c->ssl); /* Can not fail. */
}

void credentials_deinit(struct credentials *c)
{
    SSL_CTX_free(c->ssl);
    OPENSSL_cleanse(c, sizeof(*c));
}

/* ---- What a certificate says --------------------------------------------- */

bool credentials_are_valid_now(const struct credentials *c, struct err *err)
{
    const X509 *certificate = c->by_certificate ? SSL_CTX_get0_certificate(c->ssl) : NULL;

    if (certificate == NULL) {
        return true;
    }
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) >= 0) {
        (void)err_set(err, "raft.tls.cert: the certificate is not valid yet; look at its dates and "
                           "at the clock of this machine");
        return false;
    }
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0) {
        (void)err_set(err, "raft.tls.cert: the certificate has expired; make a new one");
        return false;
    }
    return true;
}

void certificate_names(const X509 *certificate, char *text, size_t size)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    struct sbuf out;

    sbuf_init(&out, text, size);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type == GEN_DNS) {
            sbuf_printf(&out, "%s\"%.*s\"", out.length > 0 ? ", " : "",
                        ASN1_STRING_length(name->d.dNSName),
                        (const char *)ASN1_STRING_get0_data(name->d.dNSName));
        }
    }
    if (out.length == 0) {
        sbuf_add(&out, "no DNS name");
    }
    GENERAL_NAMES_free(names);
    for (size_t i = 0; i < out.length; i++) { /* It goes into the log. */
        text[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    }
}

bool certificate_is_for(X509 *certificate, const char *name)
{
    unsigned flags = X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;

    return X509_check_host(certificate, name, strlen(name), flags, NULL) == 1;
}
