/*
 * The raft: section: the shared secret, and addresses that make sense together.
 */
#include <errno.h>
#include <sys/stat.h>

#include "base/str.h"
#include "conf/conf_local.h"
#include "conf/conf_walk.h"

#define SECRET_SIZE 1024 /* A longer line is no secret but a wrong file. */

static void warn_readable(FILE *in, const struct conf_node *node, const struct conf_diag *diag)
{
    struct stat st;

    if (fstat(fileno(in), &st) == 0 && (st.st_mode & (S_IRGRP | S_IROTH)) != 0) {
        conf_warn(diag, node, "raft.password_file", "others may read %s (mode %04o), expected 0600",
                  node->text, (unsigned)(st.st_mode & 07777));
    }
}

static int read_secret(const struct conf_node *node, struct conf *c, const struct conf_diag *diag)
{
    char line[SECRET_SIZE] = "";
    FILE *in = fopen(node->text, "re");
    bool read;

    if (in == NULL) {
        return conf_fail(diag, node, "raft.password_file", "%s can not be opened: %s", node->text,
                         strerror(errno));
    }
    warn_readable(in, node, diag);
    read = fgets(line, sizeof(line), in) != NULL;
    (void)fclose(in); /* Only read from. */
    line[strcspn(line, "\r\n")] = '\0';
    if (!read || line[0] == '\0') {
        return conf_fail(diag, node, "raft.password_file",
                         "no secret in the first line of %s, expected one", node->text);
    }
    conf_replace(&c->raft_password, line);
    explicit_bzero(line, sizeof(line));
    return 0;
}

static int check_secret(const struct conf_node *root, struct conf *c, const struct conf_diag *diag)
{
    const struct conf_node *file = conf_node_find(root, "raft.password_file");

    if (c->raft_password != NULL && c->raft_password[0] == '\0') {
        return conf_fail(diag, conf_node_find(root, "raft.password"), "raft.password",
                         "empty, expected a secret");
    }
    if (file == NULL || file->kind != CONF_NODE_SCALAR) {
        return 0;
    }
    if (c->raft_password != NULL) {
        return conf_fail(diag, file, "raft.password_file",
                         "raft.password is given too, expected one of them");
    }
    return read_secret(file, c, diag);
}

/* Certificates are all or none, and win over a secret. */
static int check_tls(const struct conf_node *root, const struct conf *c,
                     const struct conf_diag *diag)
{
    const char *const keys[] = {"raft.tls.cert", "raft.tls.key", "raft.tls.ca"};
    const char *const values[] = {c->raft_tls_cert, c->raft_tls_key, c->raft_tls_ca};
    const struct conf_node *tls = conf_node_find(root, "raft.tls");
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
        n += values[i] != NULL ? 1 : 0;
    }
    for (size_t i = 0; n > 0 && i < ARRAY_LENGTH(values); i++) {
        if (values[i] == NULL) {
            return conf_fail(diag, tls, keys[i], "missing, expected cert, key and ca together");
        }
    }
    if (n > 0 && c->raft_password != NULL) {
        conf_warn(diag, tls, "raft.tls", "wins over raft.password, which is not used");
    }
    return 0;
}

/* Without a secret or certificates only the own machine can be trusted. */
static int check_loopback(const struct conf_node *root, const struct conf *c,
                          const struct conf_diag *diag)
{
    const struct conf_node *raft = conf_node_child(root, "raft");
    const char *other = NULL;

    if (c->raft_password != NULL || c->raft_tls_cert != NULL) {
        return 0;
    }
    if (!conf_is_loopback(c->raft_self_addr)) {
        other = c->raft_self_addr;
    }
    if (c->raft_bind_addr != NULL && !conf_is_loopback(c->raft_bind_addr)) {
        other = c->raft_bind_addr;
    }
    for (size_t i = 0; i < c->n_raft_partners; i++) {
        other = conf_is_loopback(c->raft_partner_addrs[i]) ? other : c->raft_partner_addrs[i];
    }
    if (other != NULL) {
        return conf_fail(diag, raft, "raft.password",
                         "missing, expected a secret (or raft.password_file, or raft.tls) because "
                         "%s is not a loopback address",
                         other);
    }
    return 0;
}

/* So that every node can have the same list. */
static void remove_self(struct conf *c)
{
    size_t kept = 0;

    for (size_t i = 0; i < c->n_raft_partners; i++) {
        char *address = c->raft_partner_addrs[i];

        c->raft_partner_addrs[i] = NULL;
        if (strcmp(address, c->raft_self_addr) == 0) {
            free(address);
        } else {
            c->raft_partner_addrs[kept++] = address;
        }
    }
    c->n_raft_partners = kept;
}

/* What migrate and the samples leave to somebody. */
static void warn_placeholders(const struct conf_node *root, const struct conf *c,
                              const struct conf_diag *diag)
{
    for (size_t i = 0; i < c->n_raft_partners; i++) {
        if (strstr(c->raft_partner_addrs[i], ".invalid:") != NULL) {
            conf_warn(diag, conf_node_find(root, "raft.partner_addrs"), "raft.partner_addrs",
                      "%s is nobody's name: no cluster forms before the other nodes are here",
                      c->raft_partner_addrs[i]);
        }
    }
    if (c->raft_password != NULL && str_starts_with(c->raft_password, "fill-in-")) {
        conf_warn(diag, conf_node_find(root, "raft.password"), "raft.password",
                  "everybody knows this one: put a secret of your own here");
    }
}

int conf_raft_check(const struct conf_node *root, struct conf *c, const struct conf_diag *diag)
{
    const struct conf_node *self = conf_node_find(root, "raft.self_addr");
    char host[256];
    uint16_t port;
    int rv;

    if (conf_split_address(c->raft_self_addr, host, sizeof(host), &port) &&
        conf_is_wildcard_host(host)) {
        return conf_fail(diag, self, "raft.self_addr",
                         "not reachable for others, got \"%s\", expected one address",
                         c->raft_self_addr);
    }
    remove_self(c);
    warn_placeholders(root, c, diag);
    rv = check_secret(root, c, diag);
    if (check_tls(root, c, diag) < 0 || rv < 0) {
        return -1;
    }
    return check_loopback(root, c, diag);
}
