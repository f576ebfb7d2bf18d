/*
 * restapi: from texts and files to what the server uses. Everything that can be wrong
 * is found here, so that a setup once made can be taken over.
 */
#include "http/http_setup.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <strings.h>

#include "base/log.h"
#include "base/str.h"

#define FILE_MAX_BYTES (1024 * 1024)
#define PRIORITIES     "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* ---- Files ---- */

static char *read_file(const char *key, const char *path, struct err *err)
{
    FILE *file = fopen(path, "re");
    struct strbuf text = {0};
    char block[4096];
    size_t n;

    if (file == NULL) {
        (void)err_set_errno(
            err, errno, "%s: cannot open %s, expected a PEM file that the agent's user may read",
            key, path); /* Always -1. */
        return NULL;
    }
    while ((n = fread(block, 1, sizeof(block), file)) > 0 && text.length < FILE_MAX_BYTES) {
        strbuf_add(&text, block, n);
    }
    if (ferror(file) || text.length == 0 || text.length >= FILE_MAX_BYTES) {
        (void)err_set(err, "%s: %s cannot be read, is empty or too large, expected a PEM file", key,
                      path);
        strbuf_deinit(&text);
    }
    (void)fclose(file); /* It was only read. */
    return text.data;
}

static int read_files(struct http_setup *s, const struct http_settings *from, struct err *err)
{
    const char *keyfile = from->keyfile != NULL ? from->keyfile : from->certfile;

    if (from->certfile == NULL) {
        return 0;
    }
    s->cert = read_file("restapi.certfile", from->certfile, err);
    s->key = s->cert != NULL ? read_file("restapi.keyfile", keyfile, err) : NULL;
    if (s->key == NULL) {
        return -1;
    }
    if (from->keyfile_password != NULL) {
        s->key_password = xstrdup(from->keyfile_password);
    }
    if (s->verify == HTTP_VERIFY_NONE) {
        return 0;
    }
    if (from->cafile == NULL) {
        return err_set(err, "restapi.verify_client: needs restapi.cafile, the CA of the clients");
    }
    s->ca = read_file("restapi.cafile", from->cafile, err);
    return s->ca != NULL ? 0 : -1;
}

/* ---- TLS ---- */

static gnutls_datum_t datum(char *text)
{
    return (gnutls_datum_t){.data = (unsigned char *)text,
                            .size = text != NULL ? (unsigned)strlen(text) : 0};
}

/* What the server would find out too late. */
static int check_tls(const struct http_setup *s, struct err *err)
{
    gnutls_certificate_credentials_t credentials;
    gnutls_datum_t cert = datum(s->cert), key = datum(s->key), ca = datum(s->ca);
    int rv;

    if (s->cert == NULL) {
        return 0;
    }
    if (gnutls_certificate_allocate_credentials(&credentials) != GNUTLS_E_SUCCESS) {
        return err_set(err, "restapi.certfile: out of memory");
    }
    rv = gnutls_certificate_set_x509_key_mem2(credentials, &cert, &key, GNUTLS_X509_FMT_PEM,
                                              s->key_password, 0);
    if (rv < 0) {
        (void)err_set(err, "restapi.certfile, restapi.keyfile: not a certificate with its key: %s",
                      gnutls_strerror(rv));
    } else if (s->ca != NULL &&
               gnutls_certificate_set_x509_trust_mem(credentials, &ca, GNUTLS_X509_FMT_PEM) <= 0) {
        rv = err_set(err, "restapi.cafile: no certificate is in it");
    }
    gnutls_certificate_free_credentials(credentials);
    return rv < 0 ? -1 : 0;
}

/* Patroni's are OpenSSL's: a file with them has to go on working. */
static void take_ciphers(struct http_setup *s, const char *ciphers)
{
    gnutls_priority_t priority;
    bool fine = ciphers != NULL && gnutls_priority_init(&priority, ciphers, NULL) == 0;

    if (fine) {
        gnutls_priority_deinit(priority);
    } else if (ciphers != NULL) {
        log_warning(
            "restapi.ciphers is no priority string of GnuTLS (OpenSSL's lists are none), using TLS "
            "1.3 and 1.2 with its normal ciphers; gnutls-cli --list --priority tells what one "
            "means. ciphers=\"%s\"",
            ciphers);
    }
    s->priorities = xstrdup(fine ? ciphers : PRIORITIES);
}

/* ---- Networks ---- */

bool http_net_parse(const char *text, struct http_net *ret_net)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t length = slash != NULL ? (size_t)(slash - text) : strlen(text);
    uint64_t prefix;
    bool is_v4;

    if (length >= sizeof(address)) {
        return false;
    }
    memcpy(address, text, length);
    address[length] = '\0';
    memset(ret_net->bytes, 0, 10);
    memset(ret_net->bytes + 10, 0xff, 2);
    is_v4 = inet_pton(AF_INET, address, ret_net->bytes + 12) == 1;
    if (!is_v4 && inet_pton(AF_INET6, address, ret_net->bytes) != 1) {
        return false;
    }
    prefix = is_v4 ? 32 : 128;
    if (slash != NULL && !str_to_u64(slash + 1, 0, prefix, &prefix)) {
        return false;
    }
    ret_net->prefix = (unsigned)prefix + (is_v4 ? 96 : 0);
    return true;
}

static bool to_bytes(const struct sockaddr *address, uint8_t bytes[16])
{
    memset(bytes, 0, 10);
    memset(bytes + 10, 0xff, 2);
    if (address->sa_family == AF_INET) {
        memcpy(bytes + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
        return true;
    }
    if (address->sa_family == AF_INET6) {
        memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
        return true;
    }
    return false;
}

bool http_net_has(const struct http_net *net, const struct sockaddr *address)
{
    uint8_t bytes[16];
    unsigned whole = net->prefix / 8;
    unsigned rest = net->prefix % 8;

    if (!to_bytes(address, bytes) || memcmp(bytes, net->bytes, whole) != 0) {
        return false;
    }
    return rest == 0 || ((bytes[whole] ^ net->bytes[whole]) >> (8 - rest)) == 0;
}

bool http_same_host(const struct sockaddr *a, const struct sockaddr *b)
{
    uint8_t bytes[2][16];
    bool has_a = to_bytes(a, bytes[0]);
    bool has_b = to_bytes(b, bytes[1]);

    return has_a == has_b && (!has_a || memcmp(bytes[0], bytes[1], sizeof(bytes[0])) == 0);
}

bool http_url_host(const char *url, char *host, size_t size)
{
    const char *at = strstr(url, "://");
    size_t length;

    if (at == NULL) {
        return false;
    }
    at += 3;
    if (*at == '[') {
        at++;
        length = strcspn(at, "]");
    } else {
        length = strcspn(at, ":/");
    }
    if (length == 0 || length >= size) {
        return false;
    }
    memcpy(host, at, length);
    host[length] = '\0';
    return true;
}

static bool is_host_name(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");

    return n > 0 && n < HOST_SIZE && text[n] == '\0' && text[strspn(text, "0123456789.")] != '\0';
}

static int allow(struct http_setup *s, const char *text, struct err *err)
{
    struct http_net net;

    if (http_net_parse(text, &net)) {
        s->nets = xrealloc(s->nets, (s->n_nets + 1) * sizeof(*s->nets));
        s->nets[s->n_nets++] = net;
        return 0;
    }
    if (!is_host_name(text)) {
        return err_set(err,
                       "restapi.allowlist: got \"%s\", expected an address (10.0.0.1), a network "
                       "(10.0.0.0/8) or a host name",
                       text);
    }
    kv_set(&s->names, text, NULL);
    return 0;
}

/* An entry may hold several with commas. */
static int take_allowlist(struct http_setup *s, const struct http_settings *from, struct err *err)
{
    int rv = 0;

    s->include_members = from->allowlist_include_members;
    for (size_t i = 0; from->allowlist != NULL && i < from->allowlist->n && rv == 0; i++) {
        char *copy = xstrdup(from->allowlist->items[i].key);
        char *save = NULL;

        for (char *at = strtok_r(copy, ", \t", &save); at != NULL && rv == 0;
             at = strtok_r(NULL, ", \t", &save)) {
            rv = allow(s, at, err);
        }
        free(copy);
    }
    s->has_allowlist = s->n_nets > 0 || s->names.n > 0 || s->include_members;
    return rv;
}

/* ---- Headers and credentials ---- */

static char *base64(const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = strlen(text);
    struct strbuf b = {0};

    for (size_t i = 0; i < n; i += 3) {
        unsigned left = (unsigned)MIN(n - i, 3);
        unsigned bits = 0;
        char four[4];

        for (unsigned k = 0; k < 3; k++) {
            bits = bits << 8 | (k < left ? (unsigned char)text[i + k] : 0U);
        }
        for (unsigned k = 0; k < 4; k++) {
            four[k] = k <= left ? digits[bits >> (18 - 6 * k) & 63U] : '=';
        }
        strbuf_add(&b, four, sizeof(four));
    }
    strbuf_add_text(&b, "");
    return b.data;
}

static void take_credentials(struct http_setup *s, const struct http_settings *from)
{
    struct strbuf text = {0};

    if (from->username != NULL && from->password != NULL) {
        strbuf_printf(&text, "%s:%s", from->username, from->password);
        s->credentials = base64(text.data);
        strbuf_deinit(&text);
    }
}

static bool is_header(const char *name, const char *value)
{
    for (const char *at = value; *at != '\0'; at++) {
        if (((unsigned char)*at < ' ' && *at != '\t') || *at == 0x7f) {
            return false;
        }
    }
    for (const char *at = name; *at != '\0'; at++) {
        if (!isalnum((unsigned char)*at) && strchr("!#$%&'*+-.^_`|~", *at) == NULL) {
            return false; /* RFC 9110: token */
        }
    }
    return name[0] != '\0';
}

/* With another one of these a client would not find the end of an answer. */
static bool is_of_the_server(const char *name)
{
    return strcasecmp(name, "Content-Length") == 0 || strcasecmp(name, "Connection") == 0 ||
           strcasecmp(name, "Transfer-Encoding") == 0;
}

static int take_headers(struct http_setup *s, const char *key, const struct kv_list *from,
                        struct err *err)
{
    for (size_t i = 0; from != NULL && i < from->n; i++) {
        const char *name = from->items[i].key;
        const char *value = from->items[i].value != NULL ? from->items[i].value : "";

        if (!is_header(name, value)) {
            return err_set(err, "%s: \"%s\" is no header of one line, expected name: value", key,
                           name);
        }
        if (is_of_the_server(name)) {
            return err_set(err, "%s: \"%s\" is the server's own, expected another header", key,
                           name);
        }
        kv_set(&s->headers, name, value);
    }
    return 0;
}

static void take_tokens(struct http_setup *s, enum http_tokens tokens)
{
    (void)snprintf(s->server, sizeof(s->server),
                   tokens == HTTP_TOKENS_ORIGINAL  ? "%s/%s %s/%s"
                   : tokens == HTTP_TOKENS_MINIMAL ? "%s/%s"
                                                   : "%s",
                   "Veche", VECHE_VERSION, "libmicrohttpd", MHD_get_version());
}

/* ---- All of it ---- */

struct http_setup *http_setup_load(const struct http_settings *from, struct err *err)
{
    struct http_setup *s = xmalloc(sizeof(*s));

    *s = (struct http_setup){.verify = from->certfile != NULL ? from->verify : HTTP_VERIFY_NONE,
                             .allow_commands = from->allow_commands};
    take_tokens(s, from->tokens);
    take_credentials(s, from);
    take_ciphers(s, from->ciphers);
    if (read_files(s, from, err) != 0 || check_tls(s, err) != 0 ||
        take_allowlist(s, from, err) != 0 ||
        take_headers(s, "restapi.http_extra_headers", from->http_headers, err) != 0 ||
        (s->cert != NULL &&
         take_headers(s, "restapi.https_extra_headers", from->https_headers, err) != 0)) {
        http_setup_free(s);
        return NULL;
    }
    return s;
}

static void forget(char *secret)
{
    if (secret != NULL) {
        explicit_bzero(secret, strlen(secret));
        free(secret);
    }
}

void http_setup_free(struct http_setup *s)
{
    if (s == NULL) {
        return;
    }
    free(s->cert);
    forget(s->key);
    forget(s->key_password);
    free(s->ca);
    free(s->priorities);
    free(s->nets);
    kv_deinit(&s->names);
    forget(s->credentials);
    kv_deinit(&s->headers);
    free(s);
}

bool http_setup_same_tls(const struct http_setup *a, const struct http_setup *b)
{
    return str_equal(a->cert, b->cert) && str_equal(a->key, b->key) &&
           str_equal(a->key_password, b->key_password) && str_equal(a->ca, b->ca) &&
           str_equal(a->priorities, b->priorities) && a->verify == b->verify;
}
