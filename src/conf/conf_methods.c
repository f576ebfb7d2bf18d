/*
 * Sections of an operator's own name: bootstrap.<method> and postgresql.<method>, a command
 * and how it is called. All of a section's methods are one list, "<method>.<key>" -> value;
 * so the names have no dot.
 */
#include "base/kv.h"
#include "base/str.h"
#include "conf/conf_scalar.h"
#include "conf/conf_walk.h"

#define RECOVERY "recovery_conf" /* The only section below a method's. */

static bool is_flag(const char *key)
{
    static const char *const flags[] = {"keep_data", "no_params", "no_leader",
                                        "keep_existing_recovery_conf"};

    for (size_t i = 0; i < ARRAY_LENGTH(flags); i++) {
        if (strcmp(flags[i], key) == 0) {
            return true;
        }
    }
    return false;
}

struct method { /* One that is being read. */
    const struct conf_walk *w;
    char key[2 * CONF_KEY_SIZE]; /* "postgresql.pgbackrest" */
    const char *name;
    struct kv_list *settings;
};

static int fail(const struct method *m, const struct conf_node *node, const char *expected)
{
    char key[4 * CONF_KEY_SIZE], got[100];

    (void)snprintf(key, sizeof(key), "%s%s%s", m->key, node->key != NULL ? "." : "",
                   node->key != NULL ? node->key : "");
    return conf_fail(m->w->diag, node, key, "wrong type, got %s, expected %s",
                     conf_node_show(node, got, sizeof(got)), expected);
}

static void add(const struct method *m, const char *section, const char *key, const char *value)
{
    struct strbuf full = {0};

    strbuf_printf(&full, "%s.%s%s", m->name, section, key);
    kv_add(m->settings, full.data, value);
    strbuf_deinit(&full);
}

/* A value, or several joined by commas. */
static int add_values(const struct method *m, const char *section, const struct conf_node *node)
{
    struct strbuf text = {0};
    bool good = node->kind == CONF_NODE_SCALAR;

    if (good) {
        strbuf_add_text(&text, node->text);
    } else if (node->kind == CONF_NODE_LIST) {
        good = true;
        for (const struct conf_node *at = node->first; at != NULL && good; at = at->next) {
            good = at->kind == CONF_NODE_SCALAR;
            strbuf_add_text(&text, at != node->first ? "," : "");
            strbuf_add_text(&text, good ? at->text : "");
        }
    }
    if (good) {
        add(m, section, node->key, text.data != NULL ? text.data : "");
    }
    strbuf_deinit(&text);
    return good ? 0 : fail(m, node, "a single value");
}

static int add_recovery(const struct method *m, const struct conf_node *section)
{
    for (const struct conf_node *at = section->first; at != NULL; at = at->next) {
        if (at->kind != CONF_NODE_NULL && add_values(m, RECOVERY ".", at) < 0) {
            return -1;
        }
    }
    return 0;
}

static int add_setting(const struct method *m, const struct conf_node *node)
{
    bool value;

    if (node->kind == CONF_NODE_NULL) {
        return 0; /* As if it were not there. */
    }
    if (strcmp(node->key, RECOVERY) == 0) {
        return node->kind == CONF_NODE_MAP ? add_recovery(m, node)
                                           : fail(m, node, "a section of name: value");
    }
    if (strcmp(node->key, "command") == 0 &&
        (node->kind != CONF_NODE_SCALAR || node->text[0] == '\0')) {
        return fail(m, node, "a command");
    }
    if (!is_flag(node->key)) {
        return add_values(m, "", node);
    }
    if (node->kind != CONF_NODE_SCALAR || !conf_parse_bool(node->text, &value)) {
        return fail(m, node, "on or off");
    }
    if (value && strcmp(node->key, "no_leader") == 0) {
        conf_warn(m->w->diag, node, m->key,
                  "no_leader has no effect, the method waits for a primary: of an old backup alone "
                  "a standby could take over without what was acknowledged");
    }
    add(m, "", node->key, value ? "true" : "false");
    return 0;
}

int conf_set_method(const struct conf_walk *w, const struct conf_row *row,
                    const struct conf_node *node)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    const char *last = strrchr(row->path, '.') + 1;
    struct method m = {.w = w, .name = node->key};
    char *member = (char *)w->target + row->offset;

    m.settings = (struct kv_list *)(void *)member;
    (void)snprintf(m.key, sizeof(m.key), "%s%.*s%.100s", w->prefix, (int)(last - row->path),
                   row->path, node->key);
    if (node->key[strspn(node->key, letters)] != '\0') {
        return conf_fail(w->diag, node, m.key,
                         "not a name, expected ASCII letters, digits, - or _");
    }
    if (node->kind == CONF_NODE_NULL) {
        return 0;
    }
    if (node->kind != CONF_NODE_MAP) {
        return conf_fail(w->diag, node, m.key, "wrong type, expected a section with a command");
    }
    for (const struct conf_node *at = node->first; at != NULL; at = at->next) {
        if (add_setting(&m, at) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- Whether each has a command ---- */

static bool has_command(const struct kv_list *settings, const char *method)
{
    char key[CONF_KEY_SIZE];

    (void)snprintf(key, sizeof(key), "%.100s.command", method); /* Longer: not found. */
    return kv_has(settings, key);
}

int conf_methods_check(const struct conf_methods_check *c, const char *method)
{
    size_t n = (size_t)(strrchr(c->key, '.') + 1 - c->key); /* Of "bootstrap." */
    char path[CONF_KEY_SIZE], key[2 * CONF_KEY_SIZE];
    const struct conf_node *section;

    if (method == NULL || strcmp(method, c->bare) == 0 || has_command(c->settings, method)) {
        return 0;
    }
    (void)snprintf(path, sizeof(path), "%.*s%.100s", (int)n, c->key, method);
    section = strchr(method, '.') == NULL ? conf_node_find(c->root, path) : NULL;
    if (section != NULL && section->kind == CONF_NODE_MAP) {
        (void)snprintf(key, sizeof(key), "%s%s.command", c->prefix, path);
        return conf_fail(c->diag, section, key, "missing, expected a command");
    }
    if (c->may_be_elsewhere) {
        return 0;
    }
    (void)snprintf(key, sizeof(key), "%s%s", c->prefix, c->key);
    return conf_fail(c->diag, conf_node_find(c->root, c->key), key,
                     "unknown method, got \"%.100s\", expected %s, or one that a section %s with a "
                     "command is for",
                     method, c->bare, path);
}

/* ---- The node's before the cluster's ---- */

void conf_merge_methods(const struct conf *c, const struct conf_dynamic *d,
                        struct kv_list *ret_settings)
{
    kv_copy(ret_settings, &c->pg_replica_settings);
    for (size_t i = 0; i < d->replica_settings.n; i++) {
        const struct kv *item = &d->replica_settings.items[i];
        char method[CONF_KEY_SIZE];

        (void)snprintf(method, sizeof(method), "%.*s", (int)strcspn(item->key, "."), item->key);
        if (!has_command(&c->pg_replica_settings, method)) {
            kv_add(ret_settings, item->key, item->value);
        }
    }
}

void conf_bootstrap_recovery(const struct conf *c, struct kv_list *ret_parameters)
{
    char prefix[CONF_KEY_SIZE];

    kv_deinit(ret_parameters);
    (void)snprintf(prefix, sizeof(prefix), "%.100s." RECOVERY ".",
                   c->bootstrap_method != NULL ? c->bootstrap_method : "");
    for (size_t i = 0; i < c->bootstrap_settings.n; i++) {
        const struct kv *item = &c->bootstrap_settings.items[i];

        if (str_starts_with(item->key, prefix)) {
            kv_add(ret_parameters, item->key + strlen(prefix), item->value);
        }
    }
}
