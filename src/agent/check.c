/*
 * veched --validate-config: what no schema can say. Files that are named, ports that are to be
 * listened on, PostgreSQL's programs and the data directory they are for.
 */
#include <errno.h>
#include <netdb.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/agent_state.h"
#include "base/str.h"
#include "pg/pg_describe.h"

#define PORT_SIZE 16

int agent_check_files(const struct conf *c, struct err *err)
{
    struct peer_secrets secrets;
    struct tls_context *context;
    struct http_setup *rest = agent_rest_load(c, err);
    int r = 0;

    if (rest == NULL) {
        return -1;
    }
    http_setup_free(rest);
    agent_fill_secrets(c, &secrets);
    if (secrets.cert == NULL) {
        return 0;
    }
    context = peer_load_secrets(&secrets, c->scope, c->name, err);
    if (context == NULL) {
        return -1;
    }
    r = peer_check_secrets(context, err);
    peer_free_secrets(context);
    return r;
}

/* ---- Ports ---- */

/* 0, or errno. */
static int try_listen(const struct addrinfo *at)
{
    const int on = 1;
    int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, 0);
    int rv = 0;

    if (fd < 0) {
        return errno == EAFNOSUPPORT ? 0 : errno; /* No IPv6 here: nobody listens there. */
    }
    /* As those who will listen there; of a socket just made it can not fail. */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, at->ai_addr, at->ai_addrlen) != 0 || listen(fd, 1) != 0) {
        rv = errno;
    }
    (void)close(fd); /* Nothing was sent. */
    return rv;
}

static int check_port(const struct conf *c, const char *key, const char *host, uint16_t port,
                      struct err *err)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    bool is_wildcard = str_equal(host, "*") || host[0] == '\0';
    struct addrinfo *found;
    char service[PORT_SIZE];
    int status;
    int errnum;

    (void)snprintf(service, sizeof(service), "%u", port);
    /* For all interfaces one family is enough to see that the port is taken. */
    status = getaddrinfo(is_wildcard ? "0.0.0.0" : host, service, &hints, &found);
    if (status != 0) {
        return conf_fail_at(c, key, err, "the name \"%s\" is not known, expected an address: %s",
                            host, gai_strerror(status));
    }
    errnum = try_listen(found);
    freeaddrinfo(found);
    if (errnum != 0) {
        return conf_fail_at(c, key, err,
                            "nobody can listen on %s port %u: %s, expected a free port of this "
                            "machine (--ignore-listen-port leaves this out)",
                            host, port, strerror(errnum));
    }
    return 0;
}

static int check_address(const struct conf *c, const char *key, const char *address,
                         struct err *err)
{
    char host[HOST_SIZE];
    uint16_t port;

    return conf_split_address(address, host, sizeof(host), &port)
               ? check_port(c, key, host, port, err)
               : 0;
}

static int check_postgres_ports(const struct conf *c, struct err *err)
{
    char *copy = xstrdup(c->pg_listen_addresses);
    char *rest = copy;
    char *host;
    int rv = 0;

    while (rv == 0 && (host = strsep(&rest, ",")) != NULL) {
        rv = check_port(c, "postgresql.listen", host, c->pg_port, err);
    }
    free(copy);
    return rv;
}

int agent_check_ports(const struct conf *c, struct err *err)
{
    if (check_address(c, "raft.bind_addr", c->raft_bind_addr, err) != 0 ||
        check_address(c, "restapi.listen", c->restapi_listen, err) != 0) {
        return -1;
    }
    return c->mode == CONF_MODE_WITNESS ? 0 : check_postgres_ports(c, err);
}

/* ---- PostgreSQL ---- */

int agent_check_postgres(const struct conf *c, conf_warning_cb warn, struct err *err)
{
    struct err why = {""};

    if (c->mode == CONF_MODE_WITNESS) {
        return 0;
    }
    switch (pg_judge_programs(c->pg_bin_dir, c->pg_data_dir, &why)) {
    case PG_PROGRAMS_FIT:
        return 0;
    case PG_PROGRAMS_MISSING: /* They may be installed later. */
        (void)conf_fail_at(c, "postgresql.bin_dir", &why, "%s", why.text);
        warn(NULL, why.text);
        return 0;
    case PG_PROGRAMS_OTHER_VERSION:
        break;
    }
    return conf_fail_at(c, "postgresql.data_dir", err, "%s", why.text);
}
