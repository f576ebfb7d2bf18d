/*
 * The walk of conf_walk.h: defaults, older spellings, then key by key, with a
 * warning for what no row knows or nothing acts on.
 */
#include "conf/conf_walk.h"

#include <stdarg.h>

#include "base/kv.h"
#include "base/str.h"
#include "conf/conf_scalar.h"

/* Keys of one section that are accepted and not acted on, for one warning. */
struct later {
    char data[300];
    struct sbuf names;             /* "mode, device" */
    const struct conf_node *first; /* Place of the warning; NULL = none. */
};

static void set_defaults(const struct conf_walk *w)
{
    for (size_t i = 0; i < w->schema->n_rows; i++) {
        const struct conf_row *row = &w->schema->rows[i];
        struct conf_node node = {.kind = CONF_NODE_SCALAR, .text = (char *)row->fallback};

        if (row->stored && row->fallback != NULL) {
            int rv = conf_set(w, row, &node);

            ASSERT(rv == 0); /* Every default of the schema is a valid value. */
        }
    }
}

static void rename_alias(const struct conf_walk *w, struct conf_node *root,
                         const struct conf_row *row)
{
    const char *new_path = row->choices;
    const char *old_dot = strrchr(row->path, '.');
    const char *new_dot = strrchr(new_path, '.');
    struct conf_node *old = conf_node_find(root, row->path);
    struct conf_node *from;
    struct conf_node *section;
    char key[2 * CONF_KEY_SIZE];

    if (old == NULL) {
        return;
    }
    from = conf_node_section(root, row->path, old_dot != NULL ? (size_t)(old_dot - row->path) : 0);
    section = conf_node_section(root, new_path, new_dot != NULL ? (size_t)(new_dot - new_path) : 0);
    if (section == NULL || conf_node_find(root, new_path) != NULL) {
        (void)snprintf(key, sizeof(key), "%s%s", w->prefix, row->path);
        conf_warn(w->diag, old, key, "ignored, because %s%s is given", w->prefix, new_path);
        conf_node_remove(from, old);
        conf_node_free(old);
        return;
    }
    conf_node_remove(from, old);
    free(old->key);
    old->key = xstrdup(new_dot != NULL ? new_dot + 1 : new_path);
    conf_node_add(section, old);
}

bool conf_walk_is_definition(const struct conf_walk *w, const struct conf_node *node,
                             const char *path)
{
    bool all = node->first != NULL;
    bool is_hidden = path[0] == '.' || path[0] == '_' || str_starts_with(path, "x-");

    if (w->schema != &conf_schema_local || strchr(path + is_hidden, '.') != NULL) {
        return false;
    }
    if (!is_hidden && conf_schema_nearest(w->schema, path) != NULL) {
        return false; /* A mistyped key may have an anchor, too. */
    }
    for (const struct conf_node *at = node->first; at != NULL; at = at->next) {
        all = all && at->has_anchor;
    }
    return node->has_anchor || all;
}

static void warn_unknown(const struct conf_walk *w, const struct conf_node *node, const char *path)
{
    const char *nearest = conf_schema_nearest(w->schema, path);
    bool is_local = w->schema == &conf_schema_local;
    char key[2 * CONF_KEY_SIZE];

    (void)snprintf(key, sizeof(key), "%s%s", w->prefix, path); /* Cut when too long. */
    if (conf_walk_is_definition(w, node, path)) {
        return;
    }
    if (is_local && conf_schema_find(&conf_schema_dynamic, path) != NULL) {
        conf_warn(w->diag, node, key,
                  "ignored here, belongs into bootstrap.dcs (later: the store's configuration)");
    } else if (nearest != NULL) {
        conf_warn(w->diag, node, key, "unknown key, ignored; did you mean %s%s?", w->prefix,
                  nearest);
    } else {
        conf_warn(w->diag, node, key, "unknown key, ignored");
    }
}

static void warn_other_store(const struct conf_walk *w, const struct conf_node *node)
{
    conf_warn(w->diag, node, node->key, "not used: raft: takes its place");
}

bool conf_walk_is_default(const struct conf_row *row, const struct conf_node *node)
{
    bool a;
    bool b;

    if (node->kind == CONF_NODE_LIST && node->first != NULL && node->first == node->last) {
        node = node->first; /* A list of one. */
    }
    if (row->fallback == NULL || node->kind != CONF_NODE_SCALAR) {
        return node->kind == CONF_NODE_NULL;
    }
    if (conf_parse_bool(row->fallback, &a) && conf_parse_bool(node->text, &b)) {
        return a == b;
    }
    return strcmp(row->fallback, node->text) == 0;
}

static void note_later(struct later *later, const struct conf_row *row,
                       const struct conf_node *node)
{
    if (conf_walk_is_default(row, node)) {
        return;
    }
    if (later->first == NULL) {
        later->first = node;
    } else {
        sbuf_add(&later->names, ", ");
    }
    sbuf_add(&later->names, node->key);
}

static void warn_no_effect(const struct conf_walk *w, const struct conf_row *row,
                           const struct conf_node *node)
{
    char key[2 * CONF_KEY_SIZE];

    if (!conf_walk_is_default(row, node)) {
        (void)snprintf(key, sizeof(key), "%s%s", w->prefix, row->path);
        conf_warn(w->diag, node, key, "has no effect: %s", row->help);
    }
}

static void warn_local_only(const struct conf_walk *w, const struct conf_row *row,
                            const struct conf_node *node)
{
    char key[2 * CONF_KEY_SIZE];

    (void)snprintf(key, sizeof(key), "%s%s", w->prefix, row->path);
    conf_warn(w->diag, node, key, "ignored here, belongs into the node's own file");
}

/* Of "a, b": blanks around are no part of a word. */
static bool is_word_of(const char *text, const char *word)
{
    static const char separators[] = ", \t\n";

    for (text += strspn(text, separators); *text != '\0'; text += strspn(text, separators)) {
        size_t n = strcspn(text, separators);

        if (n == strlen(word) && strncmp(text, word, n) == 0) {
            return true;
        }
        text += n;
    }
    return false;
}

bool conf_walk_is_method(const struct conf_node *section, const char *key)
{
    const struct conf_node *method = conf_node_child(section, "method");
    const struct conf_node *methods = conf_node_child(section, "create_replica_methods");

    if (method != NULL && method->kind == CONF_NODE_SCALAR && strcmp(method->text, key) == 0) {
        return true;
    }
    if (methods != NULL && methods->kind == CONF_NODE_SCALAR) {
        return is_word_of(methods->text, key);
    }
    if (methods == NULL || methods->kind != CONF_NODE_LIST) {
        return false;
    }
    for (const struct conf_node *at = methods->first; at != NULL; at = at->next) {
        if (at->kind == CONF_NODE_SCALAR && strcmp(at->text, key) == 0) {
            return true;
        }
    }
    return false;
}

static int walk_section(const struct conf_walk *w, const struct conf_node *section,
                        const char *path);

static int walk_key(const struct conf_walk *w, const struct conf_row *row,
                    const struct conf_node *node, struct later *later)
{
    switch (row->effect) {
    case CONF_OTHER_STORE:
        warn_other_store(w, node);
        return 0;
    case CONF_LOCAL_ONLY:
        warn_local_only(w, row, node);
        return 0;
    case CONF_LATER:
        note_later(later, row, node);
        break;
    case CONF_NO_EFFECT:
        warn_no_effect(w, row, node);
        break;
    case CONF_USED:
    case CONF_SILENT:
        break;
    }
    if (node->kind == CONF_NODE_NULL || row->type == CONF_ALIAS) {
        return 0; /* Nothing below but comments; or a rename that was refused. */
    }
    if (row->type != CONF_SECTION) {
        return conf_set(w, row, node);
    }
    if (node->kind != CONF_NODE_MAP) {
        return conf_fail_value(w, row, node, "wrong type", "a section");
    }
    return walk_section(w, node, row->path);
}

/* A section that another key has named. */
static int walk_method(const struct conf_walk *w, const struct conf_node *node, const char *path)
{
    const struct conf_row *row;
    char key[CONF_KEY_SIZE];

    (void)snprintf(key, sizeof(key), "%s.<method>", path); /* Paths of the schema fit. */
    row = conf_schema_find(w->schema, key);
    return row != NULL ? conf_set(w, row, node) : 0;
}

static int walk_section(const struct conf_walk *w, const struct conf_node *section,
                        const char *path)
{
    struct later later = {.first = NULL};
    char key[2 * CONF_KEY_SIZE];
    int rv = 0;

    sbuf_init(&later.names, later.data, sizeof(later.data));
    for (const struct conf_node *at = section->first; at != NULL; at = at->next) {
        const struct conf_row *row;

        (void)snprintf(key, sizeof(key), "%s%s%s", path, path[0] != '\0' ? "." : "", at->key);
        row = conf_schema_find(w->schema, key);
        if (row == NULL && conf_walk_is_method(section, at->key)) {
            if (walk_method(w, at, path) < 0) {
                return -1;
            }
        } else if (row == NULL) {
            warn_unknown(w, at, key);
        } else if (walk_key(w, row, at, &later) < 0) {
            rv = -1;
        }
    }
    if (later.first != NULL) {
        (void)snprintf(key, sizeof(key), "%s%s", w->prefix, path); /* Cut when too long. */
        if (path[0] == '\0' && key[0] != '\0') {
            key[strlen(key) - 1] = '\0'; /* Only the prefix: its dot. */
        }
        conf_warn(w->diag, later.first, key, "accepted, but not acted on yet: %s", later.data);
    }
    return rv;
}

void conf_walk_rename(const struct conf_walk *w, struct conf_node *root)
{
    for (size_t i = 0; i < w->schema->n_rows; i++) {
        if (w->schema->rows[i].type == CONF_ALIAS) {
            rename_alias(w, root, &w->schema->rows[i]);
        }
    }
}

int conf_walk(const struct conf_walk *w, struct conf_node *root)
{
    PRE(root->kind == CONF_NODE_MAP);
    set_defaults(w);
    conf_walk_rename(w, root);
    return walk_section(w, root, "");
}
