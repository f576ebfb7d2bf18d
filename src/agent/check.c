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

static int check_restapi(const struct conf *c, struct err *err)
{
    struct http_setup *rest = agent_rest_load(c, err);

    http_setup_free(rest);
    return rest != NULL ? 0 : -1;
}

static int check_raft(const struct conf *c, struct err *err)
{
    struct peer_secrets secrets;
    struct tls_context *context;
    int rv;

    agent_fill_secrets(c, &secrets);
    if (secrets.cert == NULL) {
        return 0;
    }
    context = peer_load_secrets(&secrets, c->scope, c->name, err);
    if (context == NULL) {
        return -1;
    }
    rv = peer_check_secrets(context, err);
    peer_free_secrets(context);
    return rv;
}

static void tell(const struct conf_told *told, int rv, const struct err *err)
{
    if (rv < 0) {
        told->fail(told->data, err->text);
    }
}

/* It goes on without: only a warning. */
static void check_log(const struct conf *c, const struct conf_told *told)
{
    struct err err = {""};

    if (c->log_dir != NULL && access(c->log_dir, W_OK | X_OK) != 0) {
        (void)conf_fail_at(c, "log.dir", &err,
                           "nothing can be written to %s: %s, expected a directory of the agent's "
                           "user; lines would go to stderr",
                           c->log_dir, strerror(errno));
        told->warn(told->data, err.text);
    }
}

void agent_check_files(const struct conf *c, const struct conf_told *told)
{
    struct err err = {""};

    tell(told, check_restapi(c, &err), &err);
    tell(told, check_raft(c, &err), &err);
    check_log(c, told);
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

static void check_address(const struct conf *c, const char *key, const char *address,
                          const struct conf_told *told)
{
    struct err err = {""};
    char host[HOST_SIZE];
    uint16_t port;

    if (conf_split_address(address, host, sizeof(host), &port)) {
        tell(told, check_port(c, key, host, port, &err), &err);
    }
}

static void check_postgres_ports(const struct conf *c, const struct conf_told *told)
{
    struct err err = {""};
    char *copy = xstrdup(c->pg_listen_addresses);
    char *rest = copy;
    char *host;

    while ((host = strsep(&rest, ",")) != NULL) {
        tell(told, check_port(c, "postgresql.listen", host, c->pg_port, &err), &err);
    }
    free(copy);
}

void agent_check_ports(const struct conf *c, const struct conf_told *told)
{
    check_address(c, "raft.bind_addr", c->raft_bind_addr, told);
    check_address(c, "restapi.listen", c->restapi_listen, told);
    if (c->mode != CONF_MODE_WITNESS) {
        check_postgres_ports(c, told);
    }
}

/* ---- PostgreSQL ---- */

void agent_check_postgres(const struct conf *c, const struct conf_told *told)
{
    struct err why = {""};

    if (c->mode == CONF_MODE_WITNESS) {
        return;
    }
    switch (pg_judge_programs(c->pg_bin_dir, &c->pg_bin_names, c->pg_data_dir, &why)) {
    case PG_PROGRAMS_FIT:
        break;
    case PG_PROGRAMS_MISSING: /* They may be installed later. */
        (void)conf_fail_at(c, "postgresql.bin_dir", &why, "%s", why.text);
        told->warn(told->data, why.text);
        break;
    case PG_PROGRAMS_OTHER_VERSION:
        tell(told, conf_fail_at(c, "postgresql.data_dir", &why, "%s", why.text), &why);
        break;
    }
}
