/*
 * The environment's share of the configuration, see conf_env.h. Which variable is
 * which key follows from the schema: RESTAPI_LISTEN is restapi.listen. Names that
 * Patroni makes otherwise are in a table.
 */
#include "conf/conf_env.h"

#include <ctype.h>
#include <unistd.h>

#include "base/str.h"

#define NAME_SIZE 64

extern char **environ;

static const char *const prefixes[] = {"VECHE_", "PATRONI_"};

struct rename {
    const char *name; /* Behind the prefix; of a section its beginning. */
    const char *path;
};

/* Sections whose variables do not begin with the section's name. The first that fits. */
static const struct rename sections[] = {
    {"RESTAPI_", "restapi.authentication."},
    {"CTL_", "ctl.authentication."},
    {"SUPERUSER_", "postgresql.authentication.superuser."},
    {"REPLICATION_", "postgresql.authentication.replication."},
    {"REWIND_", "postgresql.authentication.rewind."},
    {"POSTGRESQL_BIN_", "postgresql.bin_name."},
    {"LOG_", "log."},
    {"RESTAPI_", "restapi."},
    {"CTL_", "ctl."},
    {"RAFT_TLS_", "raft.tls."},
    {"RAFT_", "raft."},
};

/* Of postgresql: only these; the rest has no form in the environment. */
static const char *const of_postgresql[] = {
    "postgresql.listen",   "postgresql.connect_address", "postgresql.proxy_address",
    "postgresql.data_dir", "postgresql.config_dir",      "postgresql.pgpass",
    "postgresql.bin_dir",
};

static const struct rename older[] = {
    {"LOGLEVEL", "log.level"},
    {"LOGFORMAT", "log.format"},
    {"LOG_DATEFMT", "log.dateformat"},
    {"POSTGRESQL_BIN_IS_READY", "postgresql.bin_name.pg_isready"},
};

/* Variables of other stores, by their beginning. */
static const char *const other_stores[] = {
    "ETCD", "CONSUL_", "ZOOKEEPER_", "EXHIBITOR_", "KUBERNETES_",
};

static void make_name(const char *prefix, const char *key, char *name, size_t size)
{
    struct sbuf b;

    sbuf_init(&b, name, size);
    sbuf_add(&b, prefix);
    sbuf_add(&b, key);
    PRE(!b.truncated);
    for (char *at = name; *at != '\0'; at++) {
        *at = *at == '.' ? '_' : (char)toupper((unsigned char)*at);
    }
}

static bool is_top_level(const struct conf_row *row)
{
    return strchr(row->path, '.') == NULL && row->type != CONF_TAGS && row->type != CONF_ANY;
}

bool conf_env_name(const struct conf_row *row, char *name, size_t size)
{
    if (row->type == CONF_SECTION || row->type == CONF_ALIAS) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(sections); i++) {
        if (str_starts_with(row->path, sections[i].path)) {
            make_name(sections[i].name, row->path + strlen(sections[i].path), name, size);
            return true;
        }
    }
    for (size_t i = 0; i < ARRAY_LENGTH(of_postgresql); i++) {
        if (strcmp(row->path, of_postgresql[i]) == 0) {
            make_name("", row->path, name, size);
            return true;
        }
    }
    if (is_top_level(row)) {
        make_name("", row->path, name, size);
    }
    return is_top_level(row);
}

/* The key of a variable without its prefix; NULL = none of ours. */
static const struct conf_row *find_row(const char *variable)
{
    char name[NAME_SIZE];

    for (size_t i = 0; i < ARRAY_LENGTH(older); i++) {
        if (strcmp(older[i].name, variable) == 0) {
            return conf_schema_find(&conf_schema_local, older[i].path);
        }
    }
    for (size_t i = 0; i < conf_schema_local.n_rows; i++) {
        const struct conf_row *row = &conf_schema_local.rows[i];

        if (conf_env_name(row, name, sizeof(name)) && strcmp(name, variable) == 0) {
            return row;
        }
    }
    return NULL;
}

static const char *without_prefix(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(prefixes); i++) {
        if (str_starts_with(name, prefixes[i])) {
            return name + strlen(prefixes[i]);
        }
    }
    return NULL;
}

/* Of VECHE_* others may have their own: only what looks like a key of ours. */
static bool is_ours(const char *name)
{
    const char *variable = without_prefix(name);

    if (variable == NULL || str_starts_with(name, "PATRONI_")) {
        return variable != NULL;
    }
    if (strcmp(variable, "CONFIGURATION") == 0 || find_row(variable) != NULL) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(sections); i++) {
        if (str_starts_with(variable, sections[i].name)) {
            return true;
        }
    }
    return str_starts_with(variable, "POSTGRESQL_");
}

/* The first one of the environment into the list and out of sight; false = none is left. */
static bool take_one(struct kv_list *env)
{
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        char *value = strchr(*entry, '=');
        char *name;

        if (value == NULL) {
            continue;
        }
        name = xmalloc((size_t)(value - *entry) + 1);
        memcpy(name, *entry, (size_t)(value - *entry));
        if (!is_ours(name)) {
            free(name);
            continue;
        }
        kv_set(env, name, value + 1);
        explicit_bzero(value + 1, strlen(value + 1)); /* ps and /proc show these very bytes. */
        (void)unsetenv(name);                         /* A name without = is valid. */
        free(name);
        return true;
    }
    return false;
}

void conf_env_take(struct kv_list *ret_env)
{
    const char *arenas = getenv("PG_MALLOC_ARENA_MAX");

    kv_deinit(ret_env);
    while (take_one(ret_env)) {
    }
    if (arenas != NULL) {
        (void)setenv("MALLOC_ARENA_MAX", arenas, 1); /* For children; ours is set up already. */
    }
    kv_sort(ret_env);
}

const char *conf_env_whole(const struct kv_list *env, const char **ret_name)
{
    static const char *const names[] = {"VECHE_CONFIGURATION", "PATRONI_CONFIGURATION"};

    for (size_t i = 0; env != NULL && i < ARRAY_LENGTH(names); i++) {
        const char *value = kv_get(env, names[i]);

        if (value != NULL && value[0] != '\0') {
            *ret_name = names[i];
            return value;
        }
    }
    return NULL;
}

/* ---- Values ---- */

/* `[a, b]` and `- a` are YAML for every key; for sections of names also `k: v` and `{}`. */
static struct conf_node *parse_yaml(const char *place, const char *before, const char *text,
                                    const char *behind, const struct conf_diag *diag)
{
    struct conf_node *root;
    struct strbuf b = {0};

    strbuf_printf(&b, "value: %s%s%s", before, text, behind);
    root = conf_yaml_parse(place, b.data, b.length, diag);
    explicit_bzero(b.data, b.length);
    strbuf_deinit(&b);
    return root;
}

static struct conf_node *scalar(const char *place, const char *text)
{
    struct conf_node *root = conf_node_new(CONF_NODE_MAP, place);
    struct conf_node *node = conf_node_new(CONF_NODE_SCALAR, place);

    node->key = xstrdup("value");
    node->text = xstrdup(text);
    conf_node_add(root, node);
    return root;
}

/* {value: ...}, NULL and the reason. */
static struct conf_node *parse_value(const struct conf_row *row, const char *place,
                                     const char *text, const struct conf_diag *diag)
{
    bool is_list = row->type == CONF_WORDS || row->type == CONF_ADDRESS_LIST ||
                   row->type == CONF_ANY || row->type == CONF_LINES;
    bool is_block = text[0] == '-' && text[1] == ' ';

    if (row->type == CONF_PARAMETERS && text[0] != '{') {
        bool several_lines = strchr(text, '\n') != NULL;

        return parse_yaml(place, several_lines ? "\n  " : "{", text, several_lines ? "" : "}",
                          diag);
    }
    if (row->type == CONF_PARAMETERS || (is_list && (text[0] == '[' || is_block))) {
        return parse_yaml(place, is_block ? "\n" : "", text, "", diag);
    }
    return scalar(place, text);
}

/* In messages: the variable, and no line in it. */
static void forget_lines(struct conf_node *node)
{
    node->line = node->column = node->key_line = node->key_column = 0;
    node->alias_line = node->alias_column = 0;
    for (struct conf_node *at = node->first; at != NULL; at = at->next) {
        forget_lines(at); /* As deep as CONF_DEPTH_MAX. */
    }
}

static bool is_utf8(const char *text)
{
    json_t *string = json_string(text);
    bool valid = string != NULL;

    json_decref(string);
    return valid;
}

static int set_from(const struct conf_row *row, const char *name, const char *text,
                    struct conf_node *root, const struct conf_diag *diag)
{
    char place[NAME_SIZE + 32];
    struct conf_node *value;
    struct conf_node *node;

    (void)snprintf(place, sizeof(place), "environment variable %s", name); /* A known name fits. */
    if (!is_utf8(text)) {
        return conf_fail(diag, &(struct conf_node){.file = place}, row->path,
                         "not a text, got bytes that are no UTF-8, expected UTF-8");
    }
    value = parse_value(row, place, text, diag);
    if (value == NULL) {
        return -1;
    }
    node = value->first;
    conf_node_remove(value, node);
    conf_node_free(value);
    forget_lines(node);
    if (!conf_node_set(root, row->path, node)) {
        return conf_fail(diag, root, row->path,
                         "%s can not be used: what the file has in its place is no section", place);
    }
    return 0;
}

static void warn_unknown(const char *name, const struct conf_diag *diag)
{
    const char *variable = without_prefix(name);
    struct conf_node place = {.file = (char *)"environment"};

    for (size_t i = 0; i < ARRAY_LENGTH(other_stores); i++) {
        if (str_starts_with(variable, other_stores[i])) {
            conf_warn(diag, &place, name, "not used: raft: takes the place of another store");
            return;
        }
    }
    conf_warn(diag, &place, name,
              str_starts_with(variable, "CITUS_") ? "has no effect: Citus is not supported"
                                                  : "no such variable, ignored");
}

static int merge_one(const struct kv_list *env, const struct kv *item, struct conf_node *root,
                     const struct conf_diag *diag)
{
    const char *variable = without_prefix(item->key);
    const struct conf_row *row = find_row(variable);
    char ours[NAME_SIZE + 16];

    if (strcmp(variable, "CONFIGURATION") == 0 || item->value[0] == '\0') {
        return 0; /* An empty one is as if it were not there. */
    }
    if (row == NULL) {
        warn_unknown(item->key, diag);
        return 0;
    }
    (void)snprintf(ours, sizeof(ours), "VECHE_%s", variable);
    if (strcmp(item->key, ours) != 0 && kv_has(env, ours) && kv_get(env, ours)[0] != '\0') {
        return 0; /* VECHE_ wins. */
    }
    return set_from(row, item->key, item->value, root, diag);
}

int conf_env_merge(const struct kv_list *env, struct conf_node *root, const struct conf_diag *diag)
{
    int rv = 0;

    for (size_t i = 0; env != NULL && i < env->n; i++) {
        if (merge_one(env, &env->items[i], root, diag) < 0) {
            rv = -1;
        }
    }
    return rv;
}
