/*
 * store: what the agents keep, under the names it has in the stores that Patroni uses, for
 * those who look into them by hand or by script. Made from what REST tells.
 */
#include "cli/cli.h"

struct tree {
    char root[400];         /* "/service/batman/" */
    struct kv_list entries; /* Key below the root: value. */
};

static void add(struct tree *t, const char *key, const char *value)
{
    if (value != NULL && value[0] != '\0') {
        kv_add(&t->entries, key, value);
    }
}

/* Takes the reference. */
static void add_json(struct tree *t, const char *key, json_t *value)
{
    size_t flags = JSON_ENCODE_ANY | JSON_SORT_KEYS | CLI_REAL_DIGITS;
    char *text = value != NULL ? json_dumps(value, flags) : NULL;

    add(t, key, text);
    free(text);
    json_decref(value);
}

/* "10.0.0.1", "::1" -> "postgres://10.0.0.1:5432/postgres", "postgres://[::1]:5432/postgres". */
static json_t *conn_url(const char *host, json_int_t port)
{
    return json_sprintf(strchr(host, ':') != NULL ? "postgres://[%s]:%lld/postgres"
                                                  : "postgres://%s:%lld/postgres",
                        host, (long long)port);
}

/* As members write it there: who is synchronous stands in the key sync. */
static const char *role_in_store(const char *role)
{
    bool is_replica = str_equal(role, "sync_standby") || str_equal(role, "quorum_standby");

    return str_equal(role, "leader") ? "primary" : is_replica ? "replica" : role;
}

/* "http://10.0.0.1:8008/patroni" and host, port -> what a member says of itself. */
static void add_member(struct tree *t, const json_t *member)
{
    static const char *const keys[] = {"state", "timeline", "pending_restart", "scheduled_restart",
                                       "tags",  "api_url",  "proxy_url"};
    json_t *value = json_object();
    char key[160];

    if (json_object_get(member, "port") != NULL) {
        json_object_set_new(value, "conn_url",
                            conn_url(cli_text(member, "host"),
                                     json_integer_value(json_object_get(member, "port"))));
    }
    for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
        if (json_object_get(member, keys[i]) != NULL) {
            json_object_set(value, keys[i], json_object_get(member, keys[i]));
        }
    }
    json_object_set_new(value, "role", json_string(role_in_store(cli_text(member, "role"))));
    (void)snprintf(key, sizeof(key), "members/%s", cli_text(member, "name"));
    add_json(t, key, value);
}

static void add_failover(struct tree *t, const json_t *cluster)
{
    const json_t *scheduled = json_object_get(cluster, "scheduled_switchover");

    if (scheduled != NULL) {
        add_json(t, "failover",
                 json_pack("{s:s, s:s, s:s}", "leader", cli_text(scheduled, "from"), "member",
                           cli_text(scheduled, "to"), "scheduled_at", cli_text(scheduled, "at")));
    }
}

/* Who must have what is acknowledged, beside the primary: "pg2,pg3". */
static void add_sync(struct tree *t, const json_t *cluster, const char *leader)
{
    struct strbuf names = {0};
    size_t i;
    json_t *member;

    json_array_foreach(json_object_get(cluster, "members"), i, member)
    {
        if (str_equal(cli_text(member, "role"), "sync_standby")) {
            strbuf_printf(&names, "%s%s", names.length > 0 ? "," : "", cli_text(member, "name"));
        }
    }
    if (names.length > 0) {
        add_json(t, "sync",
                 json_pack("{s:s, s:s}", "leader", leader != NULL ? leader : "", "sync_standby",
                           names.data));
    }
    strbuf_deinit(&names);
}

static void add_status(const struct cli *c, struct tree *t, const json_t *cluster,
                       const char *leader)
{
    json_t *status =
        leader != NULL ? cli_member_json(c, cli_find_member(cluster, leader), "/patroni") : NULL;
    json_t *at = json_object_get(json_object_get(status, "xlog"), "location");

    if (at != NULL) {
        add_json(t, "status", json_pack("{s:O}", "optime", at));
    }
    json_decref(status);
}

/* What is not told leaves its key out. The code of the first that was not, with the reason printed.
 */
static int read_tree(const struct cli *c, const json_t *cluster, struct tree *t)
{
    const char *namespace = c->config.namespace[0] != '\0' ? c->config.namespace : "/service";
    const char *leader = cli_leader_name(cluster);
    int length = (int)strlen(namespace);
    int code;
    int more;
    size_t i;
    json_t *member;

    while (length > 0 && namespace[length - 1] == '/') {
        length--;
    }
    (void)snprintf(t->root, sizeof(t->root), "%s%.*s/%s/", namespace[0] == '/' ? "" : "/", length,
                   namespace, cli_text(cluster, "scope"));
    add_json(t, "config", cli_sorted(cli_get_json(c, "/config", &code)));
    add_failover(t, cluster);
    add_json(t, "history", cli_get_json(c, "/history", &more));
    add(t, "initialize", cli_text(json_object_get(cluster, "veche"), "system_identifier"));
    add(t, "leader", leader);
    json_array_foreach(json_object_get(cluster, "members"), i, member)
    {
        add_member(t, member);
    }
    add_status(c, t, cluster, leader);
    add_sync(t, cluster, leader);
    return code != VECHE_EXIT_OK ? code : more;
}

/* The root itself, or a section above it: "/service/batman", "/service/". */
static bool is_above(const struct tree *t, const char *asked, size_t length)
{
    return asked[0] == '/' && strncmp(t->root, asked, length) == 0 && t->root[length] == '/';
}

/* "leader", "/service/batman/leader", "members/pg1"; "members" is all of them. */
static bool is_asked_for(const struct tree *t, const char *key, const char *asked)
{
    size_t length;

    if (asked == NULL) {
        return true;
    }
    if (str_starts_with(asked, t->root)) {
        asked += strlen(t->root);
    }
    length = strlen(asked);
    while (length > 0 && asked[length - 1] == '/') {
        length--;
    }
    return length == 0 || is_above(t, asked, length) ||
           (strncmp(key, asked, length) == 0 && (key[length] == '\0' || key[length] == '/'));
}

static int print_tree(const struct cli *c, const struct tree *t, const char *asked)
{
    size_t n = 0;

    for (size_t i = 0; i < t->entries.n; i++) {
        const struct kv *entry = &t->entries.items[i];

        if (!is_asked_for(t, entry->key, asked)) {
            continue;
        }
        n++;
        printf("%s%s\n", t->root, entry->key);
        if (!c->keys_only) {
            printf("%s\n", entry->value);
        }
    }
    if (n == 0) {
        cli_error("there is no key %s", asked != NULL ? asked : "at all");
        return VECHE_EXIT_FAILED;
    }
    return VECHE_EXIT_OK;
}

int cli_store(struct cli *c, int argc, char **argv)
{
    struct tree t = {0};
    int code;
    int read;
    json_t *cluster = cli_get_json(c, "/cluster", &code);

    if (cluster == NULL) {
        return code;
    }
    read = read_tree(c, cluster, &t);
    code = print_tree(c, &t, argc > 0 ? argv[0] : NULL);
    code = read != VECHE_EXIT_OK ? read : code;
    kv_deinit(&t.entries);
    json_decref(cluster);
    return code;
}
