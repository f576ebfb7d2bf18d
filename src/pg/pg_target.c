/*
 * Where our own sessions connect: the socket or address that the running postmaster
 * says it listens on. Never a name, which libpq would resolve by blocking.
 */
#include "base/str.h"
#include "pg/pg_internal.h"

static bool is_numeric(const char *host)
{
    struct sockaddr_in6 v6;
    struct sockaddr_in v4;

    return uv_ip4_addr(host, 1, &v4) == 0 || uv_ip6_addr(host, 1, &v6) == 0;
}

/* A numeric address it listens on; loopback if it can be. */
static bool pick_address(const char *listen, char *address, size_t size)
{
    char host[HOST_SIZE];

    address[0] = '\0';
    while (*listen != '\0') {
        size_t n = strcspn(listen, ",");
        size_t blanks = strspn(listen, " ");

        if (n > blanks && n - blanks < sizeof(host)) {
            memcpy(host, listen + blanks, n - blanks);
            host[n - blanks] = '\0';
            host[strcspn(host, " ")] = '\0';
            if (str_equal(host, "*") || str_equal(host, "0.0.0.0") ||
                str_equal(host, "localhost")) {
                return str_copy(address, size, "127.0.0.1");
            }
            if (str_equal(host, "::")) {
                return str_copy(address, size, "::1");
            }
            if (is_numeric(host) && (address[0] == '\0' || str_starts_with(host, "127."))) {
                (void)str_copy(address, size, host); /* As long as host at most. */
            }
        }
        listen += n + (listen[n] == ',' ? 1 : 0);
    }
    return address[0] != '\0';
}

bool pg_own_target(const struct pg *pg, struct pg_conn_target *ret_target)
{
    const struct pg_options *o = &pg->opts->o;
    const struct pg_pidfile *f = &pg->disk.pidfile;
    bool known = pg->postmaster.pid != 0 && f->pid == pg->postmaster.pid;
    struct pg_conn_target t = {.port = known && f->port != 0 ? f->port : o->port,
                               .host = o->connect_host,
                               .database = o->database,
                               .user = o->superuser.user,
                               .password = o->superuser.password,
                               .ssl = o->superuser.ssl};
    bool has_address = pick_address(o->listen_addresses, t.address, sizeof(t.address));

    if (pg->postmaster.pid == 0) {
        return false;
    }
    if (known && f->socket_dir[0] != '\0' && (o->use_unix_socket || !has_address)) {
        (void)str_copy(t.socket_dir, sizeof(t.socket_dir), f->socket_dir); /* Same size. */
    } else if (!has_address) {
        return false; /* Only names to listen on, and no lock file yet. */
    }
    *ret_target = t;
    return true;
}
