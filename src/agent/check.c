/*
 * veched --validate-config: what no schema can say. Files that are named, ports that are to be
 * listened on, PostgreSQL's programs and the data directory they are for.
 */
#include <errno.h>
#include <netdb.h>
#include <sys/stat.h>
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

/* ---- What PostgreSQL and libpq read ---- */

static void fail_file(const struct conf *c, const char *key, const char *path, const char *expected,
                      const struct conf_told *told)
{
    struct err err = {""};
    int errnum = errno;

    tell(told, conf_fail_at(c, key, &err, "%s: %s, expected %s", path, strerror(errnum), expected),
         &err);
}

/* Of libpq: "system" is the CAs of the machine, an empty one is none. */
static void check_role(const struct conf *c, const char *role, const struct kv_list *ssl,
                       const struct conf_told *told)
{
    static const char *const names[] = {"sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir"};
    char key[128];

    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        const char *path = kv_get(ssl, names[i]);
        bool is_path = path != NULL && path[0] != '\0' && !str_equal(path, "system");

        (void)snprintf(key, sizeof(key), "postgresql.authentication.%s.%s", role, names[i]);
        if (is_path && access(path, R_OK) != 0) {
            fail_file(c, key, path, "a file that the agent's user may read", told);
        }
    }
}

/* The last of a path is made by the agent, in a directory that has to be there. */
static void check_pgpass(const struct conf *c, const struct conf_told *told)
{
    const char *slash = strrchr(c->pg_pgpass, '/');
    struct stat st;
    char *directory;

    if (!kv_has(&c->places, "postgresql.pgpass")) {
        return; /* In the runtime directory, which the agent makes. */
    }
    if (stat(c->pg_pgpass, &st) == 0 && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        fail_file(c, "postgresql.pgpass", c->pg_pgpass, "the name of a file", told);
        return;
    }
    directory = xstrdup(slash != NULL ? c->pg_pgpass : ".");
    directory[slash != NULL ? (slash == c->pg_pgpass ? 1 : slash - c->pg_pgpass) : 1] = '\0';
    if (access(directory, W_OK | X_OK) != 0) {
        fail_file(c, "postgresql.pgpass", directory,
                  "a directory in which the agent's user may write", told);
    }
    free(directory);
}

/* As pg_file_make_dirs() does: what is missing is made in the first that is there. */
static bool may_be_made(const char *directory)
{
    char *path = xstrdup(directory);
    char *slash = strrchr(path, '/');
    bool may = access(path, W_OK | X_OK) == 0;

    while (!may && errno == ENOENT && slash != NULL && slash != path) {
        *slash = '\0';
        slash = strrchr(path, '/');
        may = access(path, W_OK | X_OK) == 0;
    }
    free(path);
    return may;
}

static void check_named_files(const struct conf *c, const struct conf_told *told)
{
    const char *custom = c->pg_custom_conf;

    check_role(c, "superuser", &c->superuser.ssl, told);
    check_role(c, "replication", &c->replication.ssl, told);
    check_role(c, "rewind", &c->rewind.ssl, told);
    check_pgpass(c, told);
    if (!str_equal(c->pg_config_dir, c->pg_data_dir) && !may_be_made(c->pg_config_dir)) {
        fail_file(c, "postgresql.config_dir", c->pg_config_dir,
                  "a directory in which the agent's user may write", told);
    }
    if (custom != NULL && custom[0] == '/' && access(custom, R_OK) != 0) {
        fail_file(c, "postgresql.custom_conf", custom,
                  "a file to include: without it PostgreSQL does not start", told);
    }
    if (conf_watchdog(c) == CONF_WATCHDOG_REQUIRED && access(c->watchdog_device, W_OK) != 0) {
        fail_file(c, "watchdog.device", c->watchdog_device,
                  "a device that the agent's user may write to: mode is required", told);
    }
}

void agent_check_files(const struct conf *c, const struct conf_told *told)
{
    struct err err = {""};

    tell(told, check_restapi(c, &err), &err);
    err.text[0] = '\0';
    if (check_raft(c, &err) < 0) {
        conf_place_error(c, &err);
        told->fail(told->data, err.text);
    }
    check_log(c, told);
    if (c->mode != CONF_MODE_WITNESS) {
        check_named_files(c, told);
    }
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
    if (!pg_may_be_used(c->pg_data_dir, &why)) {
        tell(told,
             conf_fail_at(c, "postgresql.data_dir", &why,
                          "%s, expected a database, an empty "
                          "directory or none",
                          why.text),
             &why);
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
