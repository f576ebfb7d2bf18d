/*
 * veched --generate-sample-config and --generate-config: a file to begin with.
 */
#include <ifaddrs.h>
#include <libgen.h>
#include <limits.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/random.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/str.h"
#include "conf/conf_sample.h"
#include "pg/pg_describe.h"

#define HOST_NAME_SIZE 256
#define SECRET_BYTES   32

struct machine {
    char name[HOST_NAME_SIZE]; /* Up to its first dot. */
    char host[HOST_NAME_SIZE]; /* An address that others can use, else the name. */
    char secret[2 * SECRET_BYTES + 1];
};

/* The first address that is not loopback's. */
static bool find_address(char *host, size_t size)
{
    struct ifaddrs *list;
    bool found = false;

    if (getifaddrs(&list) != 0) {
        return false;
    }
    for (const struct ifaddrs *at = list; at != NULL && !found; at = at->ifa_next) {
        found = at->ifa_addr != NULL && at->ifa_addr->sa_family == AF_INET &&
                (at->ifa_flags & IFF_UP) != 0 && (at->ifa_flags & IFF_LOOPBACK) == 0 &&
                getnameinfo(at->ifa_addr, sizeof(struct sockaddr_in), host, (socklen_t)size, NULL,
                            0, NI_NUMERICHOST) == 0;
    }
    freeifaddrs(list);
    return found;
}

static int look_around(struct machine *m, struct err *err)
{
    unsigned char secret[SECRET_BYTES];

    if (gethostname(m->name, sizeof(m->name)) != 0 || m->name[0] == '\0') {
        (void)str_copy(m->name, sizeof(m->name), "node1"); /* It fits. */
    }
    m->name[sizeof(m->name) - 1] = '\0';
    if (!find_address(m->host, sizeof(m->host))) {
        (void)str_copy(m->host, sizeof(m->host), m->name); /* Of the same size. */
    }
    m->name[strcspn(m->name, ".")] = '\0';
    if (getrandom(secret, sizeof(secret), 0) != (ssize_t)sizeof(secret)) {
        return err_set(err, "the system has no random bytes");
    }
    for (size_t i = 0; i < sizeof(secret); i++) {
        (void)snprintf(m->secret + 2 * i, 3, "%02x", secret[i]);
    }
    return 0;
}

int agent_print_sample(FILE *out, struct err *err)
{
    static const char *const hba[] = {
        "local all         all                       peer",
        "host  all         all         127.0.0.1/32  scram-sha-256",
        "host  replication replicator  0.0.0.0/0     scram-sha-256",
        "host  all         all         0.0.0.0/0     scram-sha-256",
    };
    struct machine m = {0};
    struct conf_sample sample = {
        .name = m.name,
        .scope = "main",
        .host = m.host,
        .raft_password = m.secret,
        .source = "A sample",
        .listen_addresses = "0.0.0.0",
        .port = 5432,
        .data_dir = "/var/lib/postgresql/17/main",
        .bin_dir = "/usr/lib/postgresql/17/bin",
        .superuser = "postgres",
        .superuser_password = "change-me",
    };

    if (look_around(&m, err) != 0) {
        return -1;
    }
    kv_add(&sample.parameters, "max_connections", "100");
    for (size_t i = 0; i < ARRAY_LENGTH(hba); i++) {
        kv_add(&sample.hba, hba[i], NULL);
    }
    conf_print_sample(&sample, out);
    kv_deinit(&sample.parameters);
    kv_deinit(&sample.hba);
    explicit_bzero(m.secret, sizeof(m.secret));
    return 0;
}

int agent_generate_config(const char *dsn, FILE *out, struct err *err)
{
    struct pg_description d;
    struct machine m = {0};
    char directory[PATH_MAX];
    int rv = pg_describe(dsn, &d, err);

    if (rv == 0 && look_around(&m, err) == 0) {
        const char *config_dir;

        (void)str_copy(directory, sizeof(directory), d.config_file); /* A path of the system. */
        config_dir = dirname(directory);

        conf_print_sample(
            &(struct conf_sample){
                .name = m.name,
                .scope = d.cluster_name[0] != '\0' ? d.cluster_name : "main",
                .host = m.host,
                .raft_password = m.secret,
                .source = "From a PostgreSQL that ran",
                .listen_addresses = d.listen_addresses[0] != '\0' ? d.listen_addresses : "*",
                .port = d.port,
                .data_dir = d.data_dir,
                .bin_dir = d.bin_dir,
                .config_dir = str_equal(config_dir, d.data_dir) ? NULL : config_dir,
                .superuser = d.user,
                .superuser_password = d.password != NULL ? d.password : "change-me",
                .parameters = d.parameters,
                .recovery_conf = d.recovery_conf,
                .hba = d.hba,
                .ident = d.ident,
            },
            out);
    } else {
        rv = -1;
    }
    explicit_bzero(m.secret, sizeof(m.secret));
    pg_description_deinit(&d);
    return rv;
}
