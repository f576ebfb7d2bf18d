/*
 * The aliases and merge keys of conf_alias.h. Each anchor has a copy of its own of what it names:
 * the tree may take the original apart, as a merge key does.
 */
#include "conf/conf_alias.h"

#include "base/str.h"

/* What a copy of a node needs. */
struct extent {
    size_t n_nodes;
    size_t n_bytes; /* Of its texts. */
    size_t depth;   /* 0 = a single value. */
};

static struct extent measure(const struct conf_node *node)
{
    struct extent whole = {.n_nodes = 1};

    whole.n_bytes = node->text != NULL ? strlen(node->text) : 0;
    if (node->kind == CONF_NODE_LIST || node->kind == CONF_NODE_MAP) {
        whole.depth = 1;
    }
    for (const struct conf_node *at = node->first; at != NULL; at = at->next) {
        struct extent part = measure(at); /* As deep as CONF_DEPTH_MAX. */

        whole.n_nodes += part.n_nodes;
        whole.n_bytes += part.n_bytes + (at->key != NULL ? strlen(at->key) : 0);
        whole.depth = MAX(whole.depth, part.depth + 1);
    }
    return whole;
}

/* Without its own key; those below keep theirs. */
static struct conf_node *copy_node(const struct conf_node *from)
{
    struct conf_node *node = conf_node_new(from->kind, from->file);

    node->quoted = from->quoted;
    node->line = from->line;
    node->column = from->column;
    node->text = from->text != NULL ? xstrdup(from->text) : NULL;
    for (const struct conf_node *at = from->first; at != NULL; at = at->next) {
        struct conf_node *child = copy_node(at); /* As deep as CONF_DEPTH_MAX. */

        child->key = at->key != NULL ? xstrdup(at->key) : NULL;
        child->key_line = at->key_line;
        child->key_column = at->key_column;
        conf_node_add(node, child);
    }
    return node;
}

/* Every message about it names the alias, too: without it the path in the message and the line
 * of the value do not fit together. */
static void mark_alias(struct conf_node *node, const struct conf_node *place)
{
    node->alias_line = place->line;
    node->alias_column = place->column;
    for (struct conf_node *at = node->first; at != NULL; at = at->next) {
        mark_alias(at, place); /* As deep as CONF_DEPTH_MAX. */
    }
}

void conf_aliases_deinit(struct conf_aliases *a)
{
    for (size_t i = 0; i < a->n_anchors; i++) {
        free(a->anchors[i].name);
        conf_node_free(a->anchors[i].node);
    }
    free(a->anchors);
    *a = (struct conf_aliases){0};
}

static struct conf_anchor *find_anchor(const struct conf_aliases *a, const char *name)
{
    for (size_t i = 0; i < a->n_anchors; i++) {
        if (strcmp(a->anchors[i].name, name) == 0) {
            return &a->anchors[i];
        }
    }
    return NULL;
}

int conf_anchor_begin(struct conf_aliases *a, const char *name, const struct conf_node *place,
                      size_t *ret_anchor)
{
    const struct conf_anchor *old = find_anchor(a, name);
    char text[CONF_KEY_SIZE];

    if (old != NULL) {
        conf_node_place(&old->place, text, sizeof(text));
        return conf_fail(a->diag, place, "",
                         "anchor given twice, got \"&%.60s\", expected another name; first at %s",
                         name, text);
    }
    a->anchors = xrealloc(a->anchors, (a->n_anchors + 1) * sizeof(a->anchors[0]));
    a->anchors[a->n_anchors] = (struct conf_anchor){.name = xstrdup(name), .place = *place};
    *ret_anchor = a->n_anchors++;
    return 0;
}

void conf_anchor_end(struct conf_aliases *a, size_t anchor, const struct conf_node *node)
{
    PRE(anchor < a->n_anchors && a->anchors[anchor].node == NULL);
    a->anchors[anchor].node = copy_node(node);
}

/* The anchor's own, or NULL and the reason. */
static const struct conf_node *find_named(const struct conf_aliases *a, const char *name,
                                          const struct conf_node *place)
{
    const struct conf_anchor *anchor = find_anchor(a, name);
    char text[CONF_KEY_SIZE];

    if (anchor == NULL) {
        (void)conf_fail(a->diag, place, "",
                        "unknown alias, got \"*%.60s\", expected the name of an anchor (&name) "
                        "that is written before it in the same file",
                        name);
        return NULL;
    }
    if (anchor->node == NULL) {
        conf_node_place(&anchor->place, text, sizeof(text));
        (void)conf_fail(a->diag, place, "",
                        "recursive alias, got \"*%.60s\" inside of what it names (&%.60s at %s), "
                        "expected it outside",
                        name, name, text);
        return NULL;
    }
    return anchor->node;
}

struct conf_node *conf_alias_copy(struct conf_aliases *a, const char *name,
                                  const struct conf_node *place, size_t depth)
{
    const struct conf_node *from = find_named(a, name, place);
    struct conf_node *node;
    struct extent size;

    if (from == NULL) {
        return NULL;
    }
    size = measure(from);
    if (a->n_nodes + size.n_nodes > CONF_NODES_MAX || a->n_bytes + size.n_bytes > CONF_FILE_BYTES) {
        (void)conf_fail(a->diag, place, "",
                        "too much, got \"*%.60s\" of %zu entries and %zu bytes, expected at most "
                        "%d entries and %d bytes of text in all with the aliases written out",
                        name, size.n_nodes, size.n_bytes, CONF_NODES_MAX, CONF_FILE_BYTES);
        return NULL;
    }
    if (depth + size.depth > CONF_DEPTH_MAX) {
        (void)conf_fail(a->diag, place, "",
                        "nested too deep, got \"*%.60s\", expected at most %d levels", name,
                        CONF_DEPTH_MAX);
        return NULL;
    }
    a->n_nodes += size.n_nodes;
    a->n_bytes += size.n_bytes;
    node = copy_node(from);
    mark_alias(node, place);
    return node;
}

/* ---- Merge keys ---- */

/* Later ones win. */
static void put(struct conf_node *map, struct conf_node *child)
{
    struct conf_node *old = conf_node_child(map, child->key);

    if (old != NULL) {
        conf_node_remove(map, old);
        conf_node_free(old);
    }
    conf_node_add(map, child);
}

static void put_all(struct conf_node *map, struct conf_node *from)
{
    struct conf_node *child;

    while ((child = from->first) != NULL) {
        conf_node_remove(from, child);
        put(map, child);
    }
}

/* From the last to the first, so that an earlier one wins. */
static void put_list(struct conf_node *map, struct conf_node *list)
{
    while (list->last != NULL) {
        struct conf_node *last = list->last;

        put_all(map, last);
        conf_node_remove(list, last);
        conf_node_free(last);
    }
}

static int check_merge(const struct conf_node *merge, const struct conf_diag *diag)
{
    const struct conf_node *wrong = NULL;
    char text[80];

    if (merge->kind == CONF_NODE_LIST) {
        for (const struct conf_node *at = merge->first; at != NULL && wrong == NULL;
             at = at->next) {
            wrong = at->kind != CONF_NODE_MAP ? at : NULL;
        }
    } else if (merge->kind != CONF_NODE_MAP) {
        wrong = merge;
    }
    if (wrong == NULL) {
        return 0;
    }
    if (wrong->kind == CONF_NODE_SCALAR && wrong->alias_line > 0) {
        (void)str_copy(text, sizeof(text), "a text"); /* Which may be a password. */
    } else {
        (void)conf_node_show(wrong, text, sizeof(text));
    }
    return conf_fail(diag, wrong, "<<",
                     "wrong type, got %s, expected a section or a list of sections", text);
}

int conf_alias_merge(struct conf_node *map, const struct conf_diag *diag)
{
    struct conf_node own = {.kind = CONF_NODE_MAP, .first = map->first, .last = map->last};
    struct conf_node *child;
    int rv = 0;

    map->first = map->last = NULL;
    for (struct conf_node *at = own.first; at != NULL && rv == 0; at = at->next) {
        if (!at->is_merge) {
            continue;
        }
        rv = check_merge(at, diag);
        if (rv == 0 && at->kind == CONF_NODE_LIST) {
            put_list(map, at);
        } else if (rv == 0) {
            put_all(map, at);
        }
    }
    while ((child = own.first) != NULL) {
        conf_node_remove(&own, child);
        if (child->is_merge) {
            conf_node_free(child);
        } else {
            put(map, child);
        }
    }
    return rv;
}
