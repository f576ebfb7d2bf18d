/*
 * The node's file as a whole, see conf_local.h.
 */
#include "conf/conf_local.h"

#include <sys/un.h>

#include "base/kv.h"
#include "base/str.h"
#include "conf/conf_controlled.h"
#include "conf/conf_dynamic.h"
#include "conf/conf_walk.h"
#include "veche/api.h"

#define HOST_SIZE     256
#define URL_SIZE      256 /* Of what others are told. */
#define BASE_NAME_MAX 63  /* pg/ cuts there. */

/* Stands in synchronous_standby_names for nobody, also in Patroni's clusters. */
#define PLACEHOLDER "__patroni_strict_sync_replica_placeholder__"

/* Both were looked at, each has told what it found. */
static int worse(int a, int b)
{
    return a < b ? a : b;
}

enum conf_watchdog conf_watchdog(const struct conf *c)
{
    if (conf_choice_find("required|require", c->watchdog_mode, NULL)) {
        return CONF_WATCHDOG_REQUIRED;
    }
    return conf_choice_find("automatic|auto|on|true|yes", c->watchdog_mode, NULL)
               ? CONF_WATCHDOG_AUTOMATIC
               : CONF_WATCHDOG_OFF;
}

enum log_level conf_log_level(const struct conf *c)
{
    static const enum log_level levels[] = {LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR};
    size_t choice = 1;

    (void)conf_choice_find("DEBUG|INFO|WARNING|ERROR", c->log_level, &choice); /* One of ours. */
    return levels[choice];
}

/* Of a number of lines that makes no sense Python makes no bound. */
struct log_file_options conf_log_file(const struct conf *c)
{
    return (struct log_file_options){
        .dir = c->log_dir,
        .n_older = (uint64_t)c->log_file_num,
        .bytes_max = (uint64_t)c->log_file_size,
        .mode = (unsigned)c->log_mode,
        .lines_max = c->log_max_queue_size > 0 ? (uint64_t)c->log_max_queue_size : 0,
    };
}

/* {"a":"b"} without its braces. */
bool conf_log_json(const struct conf *c, char *fields, size_t size)
{
    json_t *object = json_object();
    char *text;

    for (size_t i = 0; i < c->log_static_fields.n; i++) {
        const struct kv *item = &c->log_static_fields.items[i];

        (void)json_object_set_new(object, item->key,
                                  json_string(item->value)); /* Of YAML: UTF-8. */
    }
    text = json_dumps(object, JSON_COMPACT);
    text[strlen(text) - 1] = '\0';
    if (!str_copy(fields, size, text + 1)) {
        fields[0] = '\0'; /* Checked when it was read. */
    }
    free(text);
    json_decref(object);
    return conf_choice_find("json", c->log_type, NULL);
}

static int check_log(const struct conf_node *root, const struct conf *c,
                     const struct conf_diag *diag)
{
    char fields[LOG_FIELDS_SIZE - 1];

    (void)conf_log_json(c, fields, sizeof(fields));
    if (c->log_static_fields.n > 0 && fields[0] == '\0') {
        return conf_fail(diag, conf_node_find(root, "log.static_fields"), "log.static_fields",
                         "too long, expected at most %d bytes as JSON", LOG_FIELDS_SIZE - 2);
    }
    return 0;
}

bool conf_is_wildcard_host(const char *host)
{
    return strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

/* A witness has no PostgreSQL; the section may be there from a copied file. */
static void drop_postgresql(struct conf_node *root, const struct conf_diag *diag)
{
    const struct conf_node *mode = conf_node_child(root, "mode");
    struct conf_node *postgresql = conf_node_child(root, "postgresql");

    if (mode == NULL || mode->kind != CONF_NODE_SCALAR ||
        !conf_choice_find("witness", mode->text, NULL) || postgresql == NULL) {
        return;
    }
    conf_warn(diag, postgresql, "postgresql", "ignored, because mode is witness");
    conf_node_remove(root, postgresql);
    conf_node_free(postgresql);
}

static const char *expected_of(enum conf_type type)
{
    if (type == CONF_NAME) {
        return "a name";
    }
    if (type == CONF_PATH) {
        return "a directory";
    }
    return type == CONF_ADDRESS || type == CONF_LISTEN ? "host:port" : "a text";
}

/* The section a missing key would stand in, or the nearest above it. */
static const struct conf_node *section_of(const struct conf_node *root, const char *path)
{
    char section[CONF_KEY_SIZE];
    char *dot;
    const struct conf_node *node;

    (void)str_copy(section, sizeof(section), path); /* Paths of the schema fit. */
    while ((dot = strrchr(section, '.')) != NULL) {
        *dot = '\0';
        node = conf_node_find(root, section);
        if (node != NULL) {
            return node;
        }
    }
    return root;
}

/* In what is no section nothing is: that was said already. */
static bool is_missing(const struct conf_node *root, const char *path)
{
    const struct conf_node *node = conf_node_find(root, path);
    enum conf_node_kind kind = section_of(root, path)->kind;

    if (node == NULL) {
        return kind == CONF_NODE_MAP || kind == CONF_NODE_NULL;
    }
    return node->kind == CONF_NODE_NULL ||
           (node->kind == CONF_NODE_SCALAR && node->text[0] == '\0');
}

static int check_needed(const struct conf_node *root, const struct conf *c,
                        const struct conf_diag *diag)
{
    int rv = 0;

    for (size_t i = 0; i < conf_schema_local.n_rows; i++) {
        const struct conf_row *row = &conf_schema_local.rows[i];

        if (row->need != CONF_OPTIONAL &&
            (row->need != CONF_NEEDED_POSTGRES || c->mode != CONF_MODE_WITNESS) &&
            is_missing(root, row->path)) {
            const struct conf_node *node = conf_node_find(root, row->path);

            rv = conf_fail(diag, node != NULL ? node : section_of(root, row->path), row->path,
                           "missing, expected %s", expected_of(row->type));
        }
    }
    return rv;
}

/* <prefix><a>, or <prefix><a>-<b>, unless it was configured. */
static void set_default(char **text, const char *prefix, const char *a, const char *b)
{
    struct strbuf value = {0};

    if (*text == NULL) {
        strbuf_add_text(&value, prefix);
        strbuf_add_text(&value, a);
        strbuf_add_text(&value, b != NULL ? "-" : "");
        strbuf_add_text(&value, b != NULL ? b : "");
        *text = value.data; /* Ours to give: a strbuf is plain heap memory. */
    }
}

/* The host others use for us: of `listen` if it names one, else of raft.self_addr. */
static void reachable_host(const struct conf *c, const char *listen_host, char *host, size_t size)
{
    uint16_t port;
    bool valid;

    if (!conf_is_wildcard_host(listen_host) && strchr(listen_host, ',') == NULL) {
        (void)str_copy(host, size, listen_host); /* It fitted when it was parsed. */
        return;
    }
    valid = conf_split_address(c->raft_self_addr, host, size, &port);
    POST(valid); /* Checked when it was read. */
}

static void derive_restapi(struct conf *c)
{
    char listen_host[HOST_SIZE];
    char host[HOST_SIZE];
    char text[HOST_SIZE + 16];
    uint16_t port;
    bool valid;

    if (c->restapi_connect_address != NULL) {
        return;
    }
    valid = conf_split_address(c->restapi_listen, listen_host, sizeof(listen_host), &port);
    ASSERT(valid); /* Checked when it was read. */
    reachable_host(c, listen_host, host, sizeof(host));
    (void)snprintf(text, sizeof(text), strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
    conf_replace(&c->restapi_connect_address, text);
}

static void derive_postgresql(struct conf *c)
{
    char host[HOST_SIZE];

    if (c->mode == CONF_MODE_WITNESS) {
        return;
    }
    if (c->pg_connect_host == NULL) {
        reachable_host(c, c->pg_listen_addresses, host, sizeof(host));
        conf_replace(&c->pg_connect_host, host);
        c->pg_connect_port = c->pg_port;
    }
    if (c->pg_config_dir == NULL) {
        conf_replace(&c->pg_config_dir, c->pg_data_dir);
    }
    if (c->pg_pgpass == NULL) {
        set_default(&c->pg_pgpass, c->runtime_dir, "/pgpass", NULL);
    }
}

/* A keyword of libpq like those of each role. */
static void spread_krbsrvname(struct conf *c)
{
    struct conf_user *const users[] = {&c->superuser, &c->replication, &c->rewind};

    for (size_t i = 0; i < ARRAY_LENGTH(users) && c->pg_krbsrvname != NULL; i++) {
        kv_set(&users[i]->ssl, "krbsrvname", c->pg_krbsrvname);
    }
}

static void derive_defaults(struct conf *c)
{
    set_default(&c->runtime_dir, "/run/veche/", c->scope, c->name);
    set_default(&c->raft_data_dir, "/var/lib/veche/", c->scope, c->name);
    set_default(&c->raft_bind_addr, "", c->raft_self_addr, NULL);
    derive_restapi(c);
    derive_postgresql(c);
    spread_krbsrvname(c);
}

static int check_length(const struct conf_node *root, const char *key, const char *address,
                        const struct conf_diag *diag)
{
    if (address == NULL || strlen(address) <= CONF_ADDRESS_LENGTH) {
        return 0;
    }
    return conf_fail(diag, conf_node_find(root, key), key,
                     "too long, got %zu characters, expected at most %d", strlen(address),
                     CONF_ADDRESS_LENGTH);
}

static bool is_usable_for_others(const struct conf *c, const char *address)
{
    char host[HOST_SIZE];
    uint16_t port;

    return !conf_split_address(address, host, sizeof(host), &port) ||
           (!conf_is_wildcard_host(host) &&
            (!conf_is_loopback(address) || conf_is_loopback(c->raft_self_addr)));
}

/* What others are told must be an address they can use. */
static int check_told(const struct conf_node *root, const struct conf *c, const char *key,
                      const char *address, const struct conf_diag *diag)
{
    const struct conf_node *node = conf_node_find(root, key);

    if (node == NULL || address == NULL) {
        return 0; /* Derived, or none. */
    }
    if (!is_usable_for_others(c, address)) {
        return conf_fail(diag, node, key,
                         "not reachable for others, got \"%s\", expected an address of this "
                         "machine",
                         address);
    }
    return 0;
}

/* Others are told of a pooler for their convenience: one they could not use is no reason not to
 * start. */
static void check_proxy(const struct conf_node *root, struct conf *c, const struct conf_diag *diag)
{
    const char *key = "postgresql.proxy_address";
    const char *address = c->pg_proxy_address;

    if (address == NULL) {
        return;
    }
    if (!is_usable_for_others(c, address)) {
        conf_warn(diag, conf_node_find(root, key), key,
                  "ignored, others could not use it, got \"%s\", expected an address of this "
                  "machine",
                  address);
        conf_replace(&c->pg_proxy_address, NULL);
    } else if (strlen("postgres:///") + strlen(address) + strlen(c->pg_database) >= URL_SIZE) {
        conf_warn(diag, conf_node_find(root, key), key,
                  "ignored, too long with postgresql.database, expected less than %d bytes as "
                  "postgres://host:port/database",
                  URL_SIZE);
        conf_replace(&c->pg_proxy_address, NULL);
    }
}

static int check_connect_addresses(const struct conf_node *root, struct conf *c,
                                   const struct conf_diag *diag)
{
    char text[HOST_SIZE + 16] = "";
    int rv = check_length(root, "raft.self_addr", c->raft_self_addr, diag);

    if (c->pg_connect_host != NULL) {
        (void)snprintf(text, sizeof(text),
                       strchr(c->pg_connect_host, ':') != NULL ? "[%s]:%u" : "%s:%u",
                       c->pg_connect_host, c->pg_connect_port);
    }
    rv = worse(rv, check_length(root, "restapi.connect_address", c->restapi_connect_address, diag));
    rv = worse(rv, check_length(root, "postgresql.connect_address", text, diag));
    check_proxy(root, c, diag);
    return worse(
        rv, worse(check_told(root, c, "restapi.connect_address", c->restapi_connect_address, diag),
                  check_told(root, c, "postgresql.connect_address", text, diag)));
}

static void warn_without_certificate(const struct conf_node *root, const struct conf_diag *diag)
{
    static const char *const keys[] = {"restapi.keyfile",       "restapi.keyfile_password",
                                       "restapi.cafile",        "restapi.ciphers",
                                       "restapi.verify_client", "restapi.https_extra_headers"};

    for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
        const struct conf_node *node = conf_node_find(root, keys[i]);

        bool empty = node != NULL && node->kind == CONF_NODE_SCALAR && node->text[0] == '\0';

        if (node != NULL && !empty &&
            !conf_walk_is_default(conf_schema_find(&conf_schema_local, keys[i]), node)) {
            conf_warn(diag, node, keys[i],
                      "has no effect without restapi.certfile: no TLS, and "
                      "nobody is asked for a certificate");
        }
    }
}

static int check_restapi(const struct conf_node *root, const struct conf *c,
                         const struct conf_diag *diag)
{
    if ((c->restapi_username == NULL) != (c->restapi_password == NULL)) {
        return conf_fail(diag, conf_node_find(root, "restapi.authentication"),
                         "restapi.authentication", "only %s, expected username and password",
                         c->restapi_username != NULL ? "a username" : "a password");
    }
    if (c->restapi_username != NULL &&
        (c->restapi_username[0] == '\0' || c->restapi_password[0] == '\0')) {
        return conf_fail(diag, conf_node_find(root, "restapi.authentication"),
                         "restapi.authentication", "an empty %s, expected username and password",
                         c->restapi_username[0] == '\0' ? "username" : "password");
    }
    if (c->restapi_username != NULL && strchr(c->restapi_username, ':') != NULL) {
        return conf_fail(diag, conf_node_find(root, "restapi.authentication.username"),
                         "restapi.authentication.username",
                         "not possible, got a colon in it, expected a name without: HTTP puts one "
                         "behind it");
    }
    if (c->restapi_certfile == NULL) {
        warn_without_certificate(root, diag);
    }
    if (conf_is_loopback(c->restapi_listen) && !conf_is_loopback(c->raft_self_addr)) {
        conf_warn(diag, conf_node_find(root, "restapi.listen"), "restapi.listen",
                  "nobody on another machine reaches %s, HAProxy would see this node down; use "
                  "0.0.0.0 or an address of this machine",
                  c->restapi_listen);
    }
    return 0;
}

/* A path of a socket in it has to fit into a sockaddr_un. */
static int check_runtime_dir(const struct conf_node *root, const struct conf *c,
                             const struct conf_diag *diag)
{
    const struct conf_node *node = conf_node_child(root, "runtime_dir");
    const size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - sizeof("/" VECHE_SOCKET_NAME);

    if (c->runtime_dir != NULL && strlen(c->runtime_dir) > max) {
        return conf_fail(diag, node, "runtime_dir",
                         "too long for a socket in it, got %zu characters, expected at most %zu",
                         strlen(c->runtime_dir), max);
    }
    return 0;
}

/* Names of files of the configuration begin with it. */
static int check_base_name(const struct conf_node *root, const struct conf *c,
                           const struct conf_diag *diag)
{
    const char *key = "postgresql.config_base_name";
    const char *name = c->pg_config_base_name;

    if (name == NULL ||
        (name[0] != '\0' && strlen(name) <= BASE_NAME_MAX && strchr(name, '/') == NULL)) {
        return 0;
    }
    return conf_fail(diag, conf_node_find(root, key), key,
                     "not the name of a file, got \"%.100s\", expected 1 to %d bytes without /",
                     name, BASE_NAME_MAX);
}

static int check_name(const struct conf_node *root, const struct conf *c,
                      const struct conf_diag *diag)
{
    if (strcmp(c->name, PLACEHOLDER) == 0) {
        return conf_fail(diag, conf_node_child(root, "name"), "name",
                         "reserved, got \"%s\", expected another name", c->name);
    }
    return 0;
}

static int read_dcs(const struct conf_node *root, struct conf *c, const struct conf_diag *diag)
{
    const struct conf_node *bootstrap = conf_node_child(root, "bootstrap");
    struct conf_node *dcs = conf_node_child(bootstrap, "dcs");
    struct conf_dynamic d;
    json_t *json;

    c->has_bootstrap = bootstrap != NULL && bootstrap->kind == CONF_NODE_MAP;
    if (dcs == NULL || dcs->kind != CONF_NODE_MAP) {
        conf_replace(&c->bootstrap_dcs, "{}");
        return 0;
    }
    json = conf_node_to_json(dcs); /* First: reading renames older spellings. */
    c->bootstrap_dcs = conf_json_text(json);
    json_decref(json);
    if (conf_dynamic_read(dcs, "bootstrap.dcs.", &d, diag) < 0) {
        return -1;
    }
    conf_dynamic_deinit(&d);
    return 0;
}

static void check_watchdog(const struct conf_node *root, const struct conf *c,
                           const struct conf_diag *diag)
{
    if (conf_watchdog(c) != CONF_WATCHDOG_OFF &&
        conf_choice_find("testing", c->watchdog_driver, NULL)) {
        conf_warn(diag, conf_node_find(root, "watchdog.driver"), "watchdog.driver",
                  "of a test: nothing resets this machine");
    }
}

static int check_methods(const struct conf_node *root, const struct conf *c,
                         const struct conf_diag *diag)
{
    struct conf_methods_check check = {.root = root,
                                       .prefix = "",
                                       .key = "bootstrap.method",
                                       .bare = "initdb",
                                       .settings = &c->bootstrap_settings,
                                       .diag = diag};
    int rv = conf_methods_check(&check, c->bootstrap_method);

    check.key = "postgresql.create_replica_methods";
    check.bare = "basebackup";
    check.settings = &c->pg_replica_settings;
    for (size_t i = 0; i < c->pg_replica_methods.n; i++) {
        rv = worse(rv, conf_methods_check(&check, c->pg_replica_methods.items[i].key));
    }
    return rv;
}

/* Keys against each other, as far as they are there. */
static int check_together(const struct conf_node *root, struct conf *c,
                          const struct conf_diag *diag)
{
    int rv = worse(check_log(root, c, diag), check_methods(root, c, diag));

    rv = worse(rv, check_runtime_dir(root, c, diag));
    rv = worse(rv, check_base_name(root, c, diag));
    if (c->name != NULL) {
        rv = worse(rv, check_name(root, c, diag));
    }
    if (c->raft_self_addr != NULL) {
        rv = worse(rv, conf_raft_check(root, c, diag));
        rv = worse(rv, check_restapi(root, c, diag));
        rv = worse(rv, check_connect_addresses(root, c, diag));
    }
    return rv;
}

int conf_local_read(struct conf_node *root, struct conf *c, const struct conf_diag *diag)
{
    struct conf_walk w = {&conf_schema_local, c, "", diag};
    int rv;

    drop_postgresql(root, diag);
    rv = conf_walk(&w, root);
    rv = worse(rv, check_needed(root, c, diag));
    rv = worse(rv, check_together(root, c, diag));
    rv = worse(rv, conf_tags_read(conf_node_child(root, "tags"), c, diag));
    rv = worse(rv, read_dcs(root, c, diag));
    if (rv < 0) {
        return -1;
    }
    conf_parameters_check(&(struct conf_parameters){&c->pg_parameters, c->pg_parameters_of,
                                                    &c->pg_recovery_conf, root, "", true, diag});
    derive_defaults(c);
    check_watchdog(root, c, diag);
    return 0;
}
