/*
 * The tree of conf_node.h: building, finding, merging, JSON, and complaints
 * with a place.
 */
#include "conf/conf_node.h"

#include <stdarg.h>

#include "base/str.h"
#include "conf/conf_scalar.h"

/* "file:line:column (alias at line:column)", or what there is of it. */
static void add_position(struct sbuf *b, const struct conf_node *node)
{
    bool at_key = node->key_line > 0;

    sbuf_add(b, node->file);
    if (at_key || node->line > 0) {
        sbuf_printf(b, ":%u:%u", at_key ? node->key_line : node->line,
                    at_key ? node->key_column : node->column);
    }
    if (node->alias_line > 0) {
        sbuf_printf(b, " (alias at %u:%u)", node->alias_line, node->alias_column);
    }
}

void conf_node_place(const struct conf_node *node, char *text, size_t size)
{
    struct sbuf b;

    sbuf_init(&b, text, size);
    add_position(&b, node);
}

/* "file:line:column: key: " */
static void add_place(struct sbuf *b, const struct conf_node *node, const char *key)
{
    if (node != NULL && node->file != NULL) {
        add_position(b, node);
        sbuf_add(b, ": ");
    }
    if (key[0] != '\0') {
        sbuf_printf(b, "%s: ", key);
    }
}

/* The rest of b is the formatted text, cut when too long. */
static void add_text(struct sbuf *b, const char *format, va_list args)
{
    char text[ERR_TEXT_SIZE];

    (void)vsnprintf(text, sizeof(text), format, args); /* Cut when too long. */
    sbuf_add(b, text);
}

/* A value may hold line ends, or what a terminal obeys: one message is one line. */
static void tame(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) {
            *text = '?';
        }
    }
}

int conf_fail(const struct conf_diag *diag, const struct conf_node *node, const char *key,
              const char *format, ...)
{
    char data[ERR_TEXT_SIZE];
    struct sbuf b;
    va_list args;

    sbuf_init(&b, data, sizeof(data));
    add_place(&b, node, key);
    va_start(args, format);
    add_text(&b, format, args);
    va_end(args);
    tame(data);
    if (diag->fail != NULL) {
        diag->fail(diag->data, data);
    }
    return diag->err != NULL && diag->err->text[0] == '\0' ? err_set(diag->err, "%s", data) : -1;
}

void conf_warn(const struct conf_diag *diag, const struct conf_node *node, const char *key,
               const char *format, ...)
{
    char data[ERR_TEXT_SIZE];
    struct sbuf b;
    va_list args;

    if (diag->warn == NULL) {
        return;
    }
    sbuf_init(&b, data, sizeof(data));
    add_place(&b, node, key);
    va_start(args, format);
    add_text(&b, format, args);
    va_end(args);
    tame(data);
    diag->warn(diag->data, data);
}

const char *conf_node_show(const struct conf_node *node, char *text, size_t size)
{
    switch (node->kind) {
    case CONF_NODE_NULL:
        (void)str_copy(text, size, "nothing");
        break;
    case CONF_NODE_SCALAR: /* 60 characters of a text are enough to find it. */
        (void)snprintf(text, size, "\"%.60s%s\"", node->text, strlen(node->text) > 60 ? "..." : "");
        break;
    case CONF_NODE_LIST:
        (void)str_copy(text, size, "a list");
        break;
    case CONF_NODE_MAP:
        (void)str_copy(text, size, "a section");
        break;
    }
    return text;
}

struct conf_node *conf_node_new(enum conf_node_kind kind, const char *file)
{
    struct conf_node *node = xmalloc(sizeof(*node));

    node->kind = kind;
    node->file = file != NULL ? xstrdup(file) : NULL;
    return node;
}

void conf_node_free(struct conf_node *node)
{
    struct conf_node *child;

    if (node == NULL) {
        return;
    }
    while ((child = node->first) != NULL) {
        node->first = child->next;
        conf_node_free(child); /* As deep as CONF_DEPTH_MAX. */
    }
    free(node->file);
    free(node->key);
    free(node->text);
    free(node);
}

void conf_node_add(struct conf_node *parent, struct conf_node *child)
{
    PRE(child->next == NULL);
    if (parent->last != NULL) {
        parent->last->next = child;
    } else {
        parent->first = child;
    }
    parent->last = child;
}

void conf_node_remove(struct conf_node *parent, struct conf_node *child)
{
    struct conf_node *before = NULL;

    for (struct conf_node *at = parent->first; at != child; at = at->next) {
        before = at;
        PRE(at != NULL);
    }
    if (before != NULL) {
        before->next = child->next;
    } else {
        parent->first = child->next;
    }
    if (parent->last == child) {
        parent->last = before;
    }
    child->next = NULL;
}

struct conf_node *conf_node_child(const struct conf_node *map, const char *key)
{
    if (map == NULL || map->kind != CONF_NODE_MAP) {
        return NULL;
    }
    for (struct conf_node *child = map->first; child != NULL; child = child->next) {
        if (strcmp(child->key, key) == 0) {
            return child;
        }
    }
    return NULL;
}

struct conf_node *conf_node_find(const struct conf_node *root, const char *path)
{
    char key[CONF_KEY_SIZE];
    const char *dot = strchr(path, '.');
    struct conf_node *child;

    if (dot == NULL) {
        return conf_node_child(root, path);
    }
    PRE((size_t)(dot - path) < sizeof(key));
    memcpy(key, path, (size_t)(dot - path));
    key[dot - path] = '\0';
    child = conf_node_child(root, key);
    return child != NULL ? conf_node_find(child, dot + 1) : NULL;
}

struct conf_node *conf_node_section(struct conf_node *root, const char *path, size_t length)
{
    char key[CONF_KEY_SIZE];
    size_t n = strcspn(path, ".");
    struct conf_node *child;

    if (length == 0) {
        return root;
    }
    n = MIN(n, length);
    PRE(n < sizeof(key));
    memcpy(key, path, n);
    key[n] = '\0';
    child = conf_node_child(root, key);
    if (child == NULL) {
        child = conf_node_new(CONF_NODE_MAP, root->file);
        child->line = root->line;
        child->column = root->column;
        child->key = xstrdup(key);
        conf_node_add(root, child);
    }
    if (child->kind == CONF_NODE_NULL) {
        child->kind = CONF_NODE_MAP;
    }
    if (child->kind != CONF_NODE_MAP) {
        return NULL;
    }
    return conf_node_section(child, path + n + (n < length), length - n - (n < length));
}

bool conf_node_set(struct conf_node *root, const char *path, struct conf_node *node)
{
    const char *dot = strrchr(path, '.');
    struct conf_node *section =
        conf_node_section(root, path, dot != NULL ? (size_t)(dot - path) : 0);
    struct conf_node *old;

    if (section == NULL) {
        conf_node_free(node);
        return false;
    }
    old = conf_node_child(section, dot != NULL ? dot + 1 : path);
    if (old != NULL) {
        conf_node_remove(section, old);
        conf_node_free(old);
    }
    free(node->key);
    node->key = xstrdup(dot != NULL ? dot + 1 : path);
    conf_node_add(section, node);
    return true;
}

/* Moves one child of `from` (already taken out of it) into the map. */
static void merge_child(struct conf_node *into, struct conf_node *child)
{
    struct conf_node *old = conf_node_child(into, child->key);

    if (old != NULL && old->kind == CONF_NODE_MAP && child->kind == CONF_NODE_MAP) {
        conf_node_merge(old, child);
        return;
    }
    if (old != NULL) {
        conf_node_remove(into, old);
        conf_node_free(old);
    }
    if (old != NULL && child->kind == CONF_NODE_NULL) {
        conf_node_free(child);
        return;
    }
    conf_node_add(into, child);
}

void conf_node_merge(struct conf_node *into, struct conf_node *from)
{
    struct conf_node *child;

    PRE(into->kind == CONF_NODE_MAP && from->kind == CONF_NODE_MAP);
    while ((child = from->first) != NULL) {
        conf_node_remove(from, child);
        merge_child(into, child);
    }
    conf_node_free(from);
}
