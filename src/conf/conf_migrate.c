/*
 * From a file of Patroni to one of Veche, see conf_migrate.h. In this order: older
 * spellings, keys that have their place in bootstrap.dcs, raft:, then key by key what the
 * schema says has no meaning.
 */
#include "conf/conf_migrate.h"

#include <ctype.h>
#include <stdarg.h>
#include <strings.h>

#include "base/str.h"
#include "conf/conf_controlled.h"
#include "conf/conf_local.h"
#include "conf/conf_scalar.h"
#include "conf/conf_walk.h"

#define RAFT_PORT   7400
#define HOST_SIZE   256
#define PLACEHOLDER "fill-in-the-same-secret-on-every-node"

struct migrating {
    struct conf_node *root;
    struct conf_migration *result;
    struct kv_list hosts; /* Of another store, as keys. */
    char self[HOST_SIZE]; /* Where others reach this node. */
    int64_t postgresql;   /* Major version, by the paths; 0 = not known. */
};

static void add_note(struct migrating *m, enum conf_note kind, const struct conf_node *node,
                     const char *key, const char *format, ...) PRINTF_LIKE(5, 6);

static void add_note(struct migrating *m, enum conf_note kind, const struct conf_node *node,
                     const char *key, const char *format, ...)
{
    struct strbuf text = {0};
    char place[CONF_KEY_SIZE];
    char why[ERR_TEXT_SIZE];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(why, sizeof(why), format, args); /* Cut when too long. */
    va_end(args);
    if (node != NULL && node->file != NULL && node->line > 0) {
        conf_node_place(node, place, sizeof(place));
        strbuf_printf(&text, "%s: ", place);
    }
    strbuf_printf(&text, "%s: %s", key, why);
    kv_add(&m->result->notes[kind], text.data, NULL);
    strbuf_deinit(&text);
}

static void drop(struct conf_node *section, struct conf_node *node)
{
    conf_node_remove(section, node);
    conf_node_free(node);
}

/* ---- Spellings ---- */

static void note_aliases(struct migrating *m, const struct conf_schema *schema,
                         const struct conf_node *root, const char *prefix)
{
    for (size_t i = 0; i < schema->n_rows; i++) {
        const struct conf_row *row = &schema->rows[i];
        const struct conf_node *node =
            row->type == CONF_ALIAS ? conf_node_find(root, row->path) : NULL;
        char key[2 * CONF_KEY_SIZE];

        if (node != NULL) {
            (void)snprintf(key, sizeof(key), "%s%s", prefix, row->path);
            add_note(m, CONF_NOTE_CHANGED, node, key, "an older spelling, now %s%s", prefix,
                     row->choices);
        }
    }
}

static void rename_all(struct migrating *m)
{
    const struct conf_diag silent = {.err = NULL};
    struct conf_node *dcs = conf_node_find(m->root, "bootstrap.dcs");

    note_aliases(m, &conf_schema_local, m->root, "");
    conf_walk_rename(&(struct conf_walk){&conf_schema_local, NULL, "", &silent}, m->root);
    if (dcs != NULL && dcs->kind == CONF_NODE_MAP) {
        note_aliases(m, &conf_schema_dynamic, dcs, "bootstrap.dcs.");
        conf_walk_rename(&(struct conf_walk){&conf_schema_dynamic, NULL, "", &silent}, dcs);
    }
}

/* ---- What belongs to the whole cluster ---- */

/* Patroni took these from the node's file; here they are the same on every node. */
static void move_to_dcs(struct migrating *m, const char *path)
{
    struct conf_node *section = conf_node_child(m->root, "postgresql");
    struct conf_node *node = conf_node_find(m->root, path);
    char there[CONF_KEY_SIZE];

    if (node == NULL || node->kind == CONF_NODE_NULL) {
        return;
    }
    (void)snprintf(there, sizeof(there), "bootstrap.dcs.%s", path);
    if (conf_node_find(m->root, there) != NULL) {
        add_note(m, CONF_NOTE_DROPPED, node, path, "%s has it, and is for every node", there);
        drop(section, node);
        return;
    }
    add_note(m, CONF_NOTE_CHANGED, node, path,
             "now %s: it is the same on every node. That is read once; a cluster that runs is "
             "changed by vechectl edit-config",
             there);
    conf_node_remove(section, node);
    (void)conf_node_set(m->root, there, node); /* A section of that name would not load. */
}

static void drop_controlled(struct migrating *m)
{
    struct conf_node *section = conf_node_find(m->root, "postgresql.parameters");
    struct conf_node *next;

    for (struct conf_node *at = section != NULL ? section->first : NULL; at != NULL; at = next) {
        char key[CONF_KEY_SIZE];

        next = at->next;
        if (at->key != NULL && conf_is_controlled(at->key)) {
            (void)snprintf(key, sizeof(key), "postgresql.parameters.%s", at->key);
            add_note(m, CONF_NOTE_DROPPED, at, key,
                     "the same on every node, so Patroni ignored it here too; it belongs into "
                     "bootstrap.dcs");
            drop(section, at);
        }
    }
}

/* ---- Parameters that PostgreSQL has no more ---- */

static const struct {
    const char *name;
    int64_t since; /* The first version without it. */
} gone[] = {
    {"default_with_oids", 12},
    {"operator_precedence_warning", 14},
    {"vacuum_cleanup_index_scale_factor", 14},
    {"stats_temp_directory", 15},
    {"promote_trigger_file", 16},
    {"vacuum_defer_cleanup_age", 16},
    {"force_parallel_mode", 16},
    {"old_snapshot_threshold", 17},
    {"db_user_namespace", 17},
    {"trace_recovery_messages", 17},
};

/* "/usr/lib/postgresql/16/bin", "/usr/pgsql-18/bin": 0 = it does not tell. */
static int64_t version_of(const struct conf_node *root, const char *path)
{
    const struct conf_node *node = conf_node_find(root, path);

    for (const char *at = node != NULL && node->kind == CONF_NODE_SCALAR ? node->text : "";
         *at != '\0'; at++) {
        bool begins = (*at == '/' || *at == '-') && isdigit((unsigned char)at[1]);
        size_t n = begins ? strspn(at + 1, "0123456789") : 0;

        if (n == 2 && (at[3] == '/' || at[3] == '\0')) {
            return (at[1] - '0') * 10 + (at[2] - '0');
        }
    }
    return 0;
}

static void drop_gone(struct migrating *m, const char *path)
{
    struct conf_node *section = conf_node_find(m->root, path);

    for (size_t i = 0; i < ARRAY_LENGTH(gone); i++) {
        struct conf_node *node = conf_node_child(section, gone[i].name);
        char key[CONF_KEY_SIZE];

        if (node != NULL && m->postgresql >= gone[i].since) {
            (void)snprintf(key, sizeof(key), "%s.%s", path, gone[i].name);
            add_note(m, CONF_NOTE_DROPPED, node, key, "PostgreSQL %lld has no such parameter",
                     (long long)m->postgresql);
            drop(section, node);
        }
    }
}

/* Segments of 16 MB became a size in version 13. */
static void convert_segments(struct migrating *m)
{
    struct conf_node *section = conf_node_find(m->root, "bootstrap.dcs.postgresql.parameters");
    struct conf_node *node = conf_node_child(section, "wal_keep_segments");
    int64_t n;
    char text[32];

    if (node == NULL || node->kind != CONF_NODE_SCALAR || !conf_parse_i64(node->text, &n) ||
        n < 0 || n > 1000000 || conf_node_child(section, "wal_keep_size") != NULL) {
        return;
    }
    (void)snprintf(text, sizeof(text), "%lldMB", (long long)n * 16);
    add_note(m, CONF_NOTE_CHANGED, node, "bootstrap.dcs.postgresql.parameters.wal_keep_segments",
             "%lld segments are now wal_keep_size: %s", (long long)n, text);
    free(node->key);
    free(node->text);
    node->key = xstrdup("wal_keep_size");
    node->text = xstrdup(text);
}

/* One standby by name is the stricter of the two: nothing that was acknowledged can be lost. */
static void convert_quorum(struct migrating *m)
{
    static const char key[] = "bootstrap.dcs.synchronous_mode";
    struct conf_node *node = conf_node_find(m->root, key);

    if (node == NULL || node->kind != CONF_NODE_SCALAR ||
        strcasecmp(node->text, CONF_QUORUM) != 0) {
        return;
    }
    add_note(m, CONF_NOTE_CHANGED, node, key, "quorum commit is not there yet, now on");
    free(node->text);
    node->text = xstrdup("on");
}

/* ---- raft ---- */

/* "h:1", "http://h:1/": the host. False: it is something else. */
static bool take_host(const char *text, char *host, size_t size)
{
    const char *begin = strstr(text, "://");
    char address[HOST_SIZE + 16];
    uint16_t port;

    begin = begin != NULL ? begin + 3 : text;
    begin += strspn(begin, " ");
    (void)snprintf(address, sizeof(address), "%.*s", (int)strcspn(begin, "/ "), begin);
    if (conf_split_address(address, host, size, &port)) {
        return true;
    }
    return address[0] != '\0' && strpbrk(address, ":[]") == NULL && str_copy(host, size, address);
}

static void add_hosts(struct migrating *m, const struct conf_node *node)
{
    char *copy;
    char *rest;
    char *part;

    if (node == NULL || node->kind == CONF_NODE_MAP || node->kind == CONF_NODE_NULL) {
        return;
    }
    for (const struct conf_node *at = node->first; at != NULL; at = at->next) {
        add_hosts(m, at); /* A list of texts. */
    }
    if (node->kind == CONF_NODE_LIST) {
        return;
    }
    copy = rest = xstrdup(node->text);
    while ((part = strsep(&rest, ",")) != NULL) {
        char host[HOST_SIZE];

        if (take_host(part, host, sizeof(host)) && !kv_has(&m->hosts, host)) {
            kv_add(&m->hosts, host, NULL);
        }
    }
    free(copy);
}

static void find_self(struct migrating *m)
{
    static const char *const paths[] = {"raft.self_addr", "restapi.connect_address",
                                        "postgresql.connect_address", "restapi.listen",
                                        "postgresql.listen"};

    for (size_t i = 0; i < ARRAY_LENGTH(paths) && m->self[0] == '\0'; i++) {
        const struct conf_node *node = conf_node_find(m->root, paths[i]);

        if (node != NULL && node->kind == CONF_NODE_SCALAR &&
            (!take_host(node->text, m->self, sizeof(m->self)) || conf_is_wildcard_host(m->self))) {
            m->self[0] = '\0';
        }
    }
}

static struct conf_node *new_text(const char *text)
{
    struct conf_node *node = conf_node_new(CONF_NODE_SCALAR, NULL);

    node->text = xstrdup(text);
    node->quoted = true;
    return node;
}

static struct conf_node *new_address(const char *host)
{
    char text[HOST_SIZE + 16];
    char ignored[HOST_SIZE];
    uint16_t port;

    if (conf_split_address(host, ignored, sizeof(ignored), &port)) {
        return new_text(host);
    }
    (void)snprintf(text, sizeof(text), strchr(host, ':') != NULL ? "[%s]:%d" : "%s:%d", host,
                   RAFT_PORT);
    return new_text(text);
}

/* Another store on the data nodes and a third machine is what raft: is. On machines of its own
 * it tells nothing about the other nodes: names that nobody has then wait for theirs, and no
 * cluster can form of them. */
static struct conf_node *make_partners(struct migrating *m, const struct kv_list *given)
{
    struct conf_node *list = conf_node_new(CONF_NODE_LIST, NULL);
    const struct kv_list *hosts = given->n > 0 ? given : &m->hosts;

    if (given->n == 0 && !kv_has(&m->hosts, m->self)) {
        add_note(m, CONF_NOTE_CHECK, NULL, "raft.partner_addrs",
                 "the store was on other machines: put the other nodes in the place of "
                 "fill-in-*.invalid, three in all at least, or name them with --partners. A third "
                 "one without PostgreSQL is a witness (mode: witness)");
        conf_node_add(list, new_address("fill-in-2.invalid"));
        conf_node_add(list, new_address("fill-in-3.invalid"));
        return list;
    }
    for (size_t i = 0; i < hosts->n; i++) {
        conf_node_add(list, new_address(hosts->items[i].key));
    }
    if (given->n == 0) {
        add_note(m, CONF_NOTE_CHECK, NULL, "raft.partner_addrs",
                 "the machines of the store; those without PostgreSQL become witnesses (mode: "
                 "witness). An even number of nodes is no better than one less");
    }
    return list;
}

static void set_missing(struct migrating *m, const char *path, struct conf_node *node)
{
    if (conf_node_find(m->root, path) != NULL) {
        conf_node_free(node);
    } else {
        (void)conf_node_set(m->root, path, node); /* raft: is a section, or would not load. */
    }
}

static void drop_old_raft(struct migrating *m)
{
    struct conf_node *raft = conf_node_child(m->root, "raft");
    struct conf_node *directory = conf_node_child(raft, "data_dir");

    if (directory != NULL) {
        add_note(m, CONF_NOTE_DROPPED, directory, "raft.data_dir",
                 "Patroni's files are of no use here; without it: /var/lib/veche/<scope>-<name>");
        drop(raft, directory);
    }
}

static int make_raft(struct migrating *m, const struct kv_list *partners, struct err *err)
{
    static const char *const stores[] = {"etcd3", "etcd", "consul", "zookeeper", "exhibitor"};

    for (size_t i = 0; i < ARRAY_LENGTH(stores); i++) {
        const struct conf_node *store = conf_node_child(m->root, stores[i]);

        add_hosts(m, conf_node_child(store, "hosts"));
        add_hosts(m, conf_node_child(store, "host"));
    }
    find_self(m);
    if (m->self[0] == '\0') {
        return err_set(err, "restapi.connect_address: missing, expected where others reach this "
                            "node: raft.self_addr is made of it");
    }
    drop_old_raft(m);
    set_missing(m, "raft.self_addr", new_address(m->self));
    if (conf_node_find(m->root, "raft.partner_addrs") == NULL || partners->n > 0) {
        (void)conf_node_set(m->root, "raft.partner_addrs", make_partners(m, partners));
    }
    if (conf_node_find(m->root, "raft.password") == NULL &&
        conf_node_find(m->root, "raft.password_file") == NULL) {
        add_note(m, CONF_NOTE_CHECK, NULL, "raft.password",
                 "put a secret of your own there, the same on every node: openssl rand -hex 32");
        (void)conf_node_set(m->root, "raft.password", new_text(PLACEHOLDER));
    }
    return 0;
}

/* ---- Key by key ---- */

static void prune(struct migrating *m, const struct conf_walk *w, struct conf_node *section,
                  const char *path);

/* Whether it stays. */
static bool judge_unknown(struct migrating *m, const struct conf_walk *w,
                          const struct conf_node *section, const struct conf_node *node,
                          const char *key)
{
    bool is_local = w->schema == &conf_schema_local;
    const char *path = key + strlen(w->prefix);

    if (conf_walk_is_method(section, node->key)) {
        return true; /* Noted with the key that names it. */
    }
    if (is_local && conf_schema_find(&conf_schema_dynamic, path) != NULL) {
        add_note(m, CONF_NOTE_DROPPED, node, key,
                 "the cluster's, so Patroni ignored it here too; it belongs into bootstrap.dcs");
    } else if (conf_walk_is_definition(w, node, path)) {
        add_note(m, CONF_NOTE_DROPPED, node, key,
                 "its anchors are written out where they are named");
    } else {
        add_note(m, CONF_NOTE_DROPPED, node, key, "no such key");
    }
    return false;
}

static bool is_set(const struct conf_row *row, const struct conf_node *node)
{
    return !conf_walk_is_default(row, node);
}

static bool judge(struct migrating *m, const struct conf_row *row, const struct conf_node *node,
                  const char *key)
{
    switch (row->effect) {
    case CONF_OTHER_STORE:
        add_note(m, CONF_NOTE_DROPPED, node, key, "raft: takes its place");
        return false;
    case CONF_NO_EFFECT:
        add_note(m, CONF_NOTE_DROPPED, node, key, "has no effect: %s", row->help);
        return false;
    case CONF_LOCAL_ONLY:
        add_note(
            m, CONF_NOTE_DROPPED, node, key,
            "the node's own, so Patroni ignored it here too; it belongs outside bootstrap.dcs");
        return false;
    case CONF_SILENT:
        add_note(m, CONF_NOTE_DROPPED, node, key, "not needed: %s", row->help);
        return false;
    case CONF_LATER:
        if (is_set(row, node)) {
            add_note(m, CONF_NOTE_CHECK, node, key, "kept, but nothing acts on it yet (%s)",
                     row->help);
        }
        return true;
    case CONF_USED:
        return true;
    }
    return true;
}

/* Of a section that another key has named. */
static void prune_method(struct migrating *m, struct conf_node *section, const char *path)
{
    struct conf_node *no_leader = conf_node_child(section, "no_leader");
    char key[2 * CONF_KEY_SIZE + 16];

    if (no_leader != NULL) {
        (void)snprintf(key, sizeof(key), "%s.no_leader", path);
        add_note(m, CONF_NOTE_DROPPED, no_leader, key,
                 "has no effect: the method waits for a primary");
        drop(section, no_leader);
    }
}

static void prune(struct migrating *m, const struct conf_walk *w, struct conf_node *section,
                  const char *path)
{
    struct conf_node *next;

    for (struct conf_node *at = section->first; at != NULL; at = next) {
        char key[2 * CONF_KEY_SIZE];
        const struct conf_row *row;
        bool stays;

        next = at->next;
        (void)snprintf(key, sizeof(key), "%s%s%s%s", w->prefix, path, path[0] != '\0' ? "." : "",
                       at->key);
        row = conf_schema_find(w->schema, key + strlen(w->prefix));
        stays = row != NULL ? judge(m, row, at, key) : judge_unknown(m, w, section, at, key);
        if (!stays) {
            drop(section, at);
        } else if (row != NULL && row->type == CONF_SECTION && at->kind == CONF_NODE_MAP) {
            prune(m, w, at, row->path);
        } else if (row == NULL) {
            prune_method(m, at, key);
        }
    }
}

static void prune_all(struct migrating *m)
{
    const struct conf_diag silent = {.err = NULL};
    struct conf_node *dcs = conf_node_find(m->root, "bootstrap.dcs");

    prune(m, &(struct conf_walk){&conf_schema_local, NULL, "", &silent}, m->root, "");
    if (dcs != NULL && dcs->kind == CONF_NODE_MAP) {
        prune(m, &(struct conf_walk){&conf_schema_dynamic, NULL, "bootstrap.dcs.", &silent}, dcs,
              "");
    }
}

/* ---- What to think of ---- */

/* Patroni carries them over to standbys itself. */
static void note_logical_slots(struct migrating *m)
{
    const struct conf_node *slots = conf_node_find(m->root, "bootstrap.dcs.slots");

    for (const struct conf_node *at = slots != NULL ? slots->first : NULL; at != NULL;
         at = at->next) {
        if (at->key != NULL && conf_node_child(at, "plugin") != NULL && m->postgresql < 17) {
            add_note(m, CONF_NOTE_CHECK, slots, "bootstrap.dcs.slots",
                     "before PostgreSQL 17 a logical slot is made anew on the next primary, and "
                     "its consumers may miss rows: Patroni took it along");
            return;
        }
    }
}

/* Without one of its own the server has no TLS to ask for others' in. */
static bool asks_for_certificates(const struct migrating *m)
{
    const struct conf_node *verify = conf_node_find(m->root, "restapi.verify_client");

    return conf_node_find(m->root, "restapi.certfile") != NULL && verify != NULL &&
           verify->kind == CONF_NODE_SCALAR && !conf_choice_find("none", verify->text, NULL);
}

static void note_differences(struct migrating *m)
{
    const struct conf_node *dcs = conf_node_find(m->root, "bootstrap.dcs");
    const struct conf_node *ttl = conf_node_find(m->root, "bootstrap.dcs.ttl");
    bool has_guards = conf_node_find(m->root, "restapi.authentication") != NULL ||
                      conf_node_find(m->root, "restapi.allowlist") != NULL ||
                      asks_for_certificates(m);

    add_note(m, CONF_NOTE_CHECK, dcs, "bootstrap.dcs",
             "Patroni's store may say otherwise by now: compare with patronictl show-config, and "
             "put here what the cluster is to begin with");
    if (ttl != NULL) {
        add_note(m, CONF_NOTE_CHECK, ttl, "bootstrap.dcs.ttl",
                 "a dead primary is replaced after this time. Here it may be short: 3 s is the "
                 "default");
    }
    if (conf_node_find(m->root, "bootstrap.dcs.postgresql.use_pg_rewind") == NULL) {
        add_note(m, CONF_NOTE_CHECK, NULL, "bootstrap.dcs.postgresql.use_pg_rewind",
                 "not given: off with Patroni, on here. What a rewind gives up is kept "
                 "(postgresql.diverged_keep); off: a node whose WAL diverged waits for somebody");
    }
    if (ttl == NULL) {
        add_note(m, CONF_NOTE_CHECK, NULL, "bootstrap.dcs.ttl",
                 "not given: 30 s with Patroni, 3 s here, loop_wait and retry_timeout 1 s");
    }
    note_logical_slots(m);
    if (!has_guards) {
        add_note(m, CONF_NOTE_CHECK, NULL, "restapi",
                 "without authentication, allowlist or verify_client only this machine may change "
                 "something over REST");
    }
    if (conf_node_find(m->root, "watchdog.mode") == NULL) {
        add_note(m, CONF_NOTE_CHECK, NULL, "watchdog.mode",
                 "off unless given, and not automatic: the guard freezes PostgreSQL in time");
    }
    add_note(m, CONF_NOTE_CHECK, NULL, "HAProxy",
             "a check of GET /patroni is answered 200 by every node, so writes reach standbys: "
             "check /primary and /replica. vechectl check --proxy looks at haproxy.cfg");
}

/* ---- The whole ---- */

/* As an agent would read it; its complaints name keys, since its lines are nobody's. */
static int check_result(struct conf_node *root, struct err *err)
{
    const struct conf_diag diag = {.err = err_clear(err)};
    struct conf *c = xmalloc(sizeof(*c));
    int rv = conf_local_read(root, c, &diag);

    conf_free(c);
    return rv < 0 ? err_wrap(err, "it would not be valid") : 0;
}

static int migrate(struct migrating *m, const struct kv_list *partners, struct err *err)
{
    json_t *json;

    rename_all(m);
    move_to_dcs(m, "postgresql.use_pg_rewind");
    move_to_dcs(m, "postgresql.remove_data_directory_on_rewind_failure");
    move_to_dcs(m, "postgresql.remove_data_directory_on_diverged_timelines");
    drop_controlled(m);
    m->postgresql = version_of(m->root, "postgresql.bin_dir");
    m->postgresql = m->postgresql != 0 ? m->postgresql : version_of(m->root, "postgresql.data_dir");
    drop_gone(m, "postgresql.parameters");
    drop_gone(m, "bootstrap.dcs.postgresql.parameters");
    convert_segments(m);
    convert_quorum(m);
    if (make_raft(m, partners, err) < 0) {
        return -1;
    }
    prune_all(m);
    note_differences(m);
    json = conf_node_to_json(m->root); /* Reading it renames and removes. */
    m->result->json = json_dumps(json, JSON_REAL_PRECISION(15));
    json_decref(json);
    return check_result(m->root, err);
}

int conf_migrate_tree(struct conf_node *root, const struct kv_list *partners,
                      struct conf_migration *ret, struct err *err)
{
    struct migrating m = {.root = root, .result = ret};
    int rv;

    *ret = (struct conf_migration){0};
    rv = migrate(&m, partners, err);
    kv_deinit(&m.hosts);
    return rv;
}

int conf_migrate(const char *path, const struct kv_list *partners, struct conf_migration *ret,
                 struct err *err)
{
    const struct conf_diag diag = {.err = err_clear(err)};
    struct conf_node *root = conf_tree_read(path, &diag);
    int rv = -1;

    *ret = (struct conf_migration){0};
    if (root != NULL) {
        rv = conf_migrate_tree(root, partners, ret, err);
    }
    conf_node_free(root);
    return rv;
}

void conf_migration_deinit(struct conf_migration *m)
{
    free(m->json);
    for (size_t i = 0; i < CONF_NOTES; i++) {
        kv_deinit(&m->notes[i]);
    }
    *m = (struct conf_migration){0};
}
