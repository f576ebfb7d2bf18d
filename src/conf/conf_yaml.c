/*
 * YAML to nodes (conf_node.h), from libyaml's events. The parser takes what
 * configuration files use and refuses what can surprise or explode: tags
 * other than !!str (!!seq, !!map), a second document, a key given twice. Aliases and merge keys
 * are written out (conf_alias.h), so that nobody behind it knows of them. Depth,
 * number of nodes and bytes are bounded before anything is built.
 */
#include <errno.h>
#include <yaml.h>

#include "base/str.h"
#include "conf/conf_alias.h"

#define NO_ANCHOR SIZE_MAX

/* A list or map whose end is not read yet. */
struct level {
    struct conf_node *node;
    size_t anchor; /* Its number, or NO_ANCHOR. */
};

struct reader {
    yaml_parser_t parser;
    const char *file; /* For places. */
    const struct conf_diag *diag;
    struct level stack[CONF_DEPTH_MAX]; /* Open lists and maps. */
    size_t depth;                       /* Entries of stack. */
    char *key;                          /* Read, its value is next; NULL = none. */
    yaml_mark_t key_mark;               /* Of key. */
    bool key_is_merge;                  /* key is <<. */
    struct conf_node *root;             /* First node of the document. */
    struct conf_aliases aliases;        /* And the number of nodes. */
    size_t n_documents;                 /* Seen so far. */
};

/* For a message; owns nothing. */
static struct conf_node place_of(const struct reader *r, yaml_mark_t mark)
{
    return (struct conf_node){
        .file = (char *)r->file,
        .line = (unsigned)mark.line + 1,
        .column = (unsigned)mark.column + 1,
    };
}

static int fail_at(struct reader *r, yaml_mark_t mark, const char *what)
{
    struct conf_node place = place_of(r, mark);

    return conf_fail(r->diag, &place, "", "%s", what);
}

/* libyaml's own message, at the place it complains about. */
static int fail_syntax(struct reader *r)
{
    char text[200];
    yaml_mark_t mark = r->parser.problem_mark;
    const char *problem = r->parser.problem != NULL ? r->parser.problem : "unknown error";

    if (r->parser.error == YAML_READER_ERROR) {
        mark = r->parser.mark; /* Bytes that are no characters have no mark of their own. */
    }
    (void)snprintf(text, sizeof(text), "not valid YAML: %s", problem); /* Cut when too long. */
    return fail_at(r, mark, text);
}

static struct conf_node *top(const struct reader *r)
{
    return r->depth > 0 ? r->stack[r->depth - 1].node : NULL;
}

/* "restapi.listen", of a key in the section that is open. */
static void name_key(const struct reader *r, char *path, size_t size)
{
    struct sbuf b;

    sbuf_init(&b, path, size);
    for (size_t i = 0; i < r->depth; i++) {
        if (r->stack[i].node->key != NULL) {
            sbuf_printf(&b, "%s.", r->stack[i].node->key);
        }
    }
    sbuf_add(&b, r->key);
}

static int check_twice(struct reader *r, const struct conf_node *map)
{
    const struct conf_node *old = conf_node_child(map, r->key);
    struct conf_node place = place_of(r, r->key_mark);
    char first[CONF_KEY_SIZE];
    char path[2 * CONF_KEY_SIZE];

    if (old == NULL || r->key_is_merge) {
        return 0;
    }
    name_key(r, path, sizeof(path));
    conf_node_place(old, first, sizeof(first));
    return conf_fail(r->diag, &place, path, "given twice, first at %s", first);
}

/* Puts the node where the parser stands. The tree owns it in any case. */
static int place_node(struct reader *r, struct conf_node *node)
{
    struct conf_node *parent = top(r);
    int rv = 0;

    if (parent == NULL) {
        r->root = node;
        return 0;
    }
    if (parent->kind == CONF_NODE_MAP) {
        rv = check_twice(r, parent);
        node->key = r->key;
        node->is_merge = r->key_is_merge;
        if (node->alias_line == 0) { /* Else the value's place says more. */
            node->key_line = (unsigned)r->key_mark.line + 1;
            node->key_column = (unsigned)r->key_mark.column + 1;
        }
        r->key = NULL;
    }
    conf_node_add(parent, node);
    return rv;
}

static struct conf_node *new_node(struct reader *r, enum conf_node_kind kind, yaml_mark_t mark)
{
    struct conf_node *node = conf_node_new(kind, r->file);

    node->line = (unsigned)mark.line + 1;
    node->column = (unsigned)mark.column + 1;
    return node;
}

static bool is_null_word(const char *text)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};

    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int check_properties(struct reader *r, const yaml_event_t *event, const yaml_char_t *tag,
                            const char *good_tag)
{
    if (tag != NULL && strcmp((const char *)tag, good_tag) != 0) {
        return fail_at(r, event->start_mark,
                       "YAML tags are not supported, expected the value alone");
    }
    if (++r->aliases.n_nodes > CONF_NODES_MAX) {
        return fail_at(r, event->start_mark, "too many entries, expected at most 10000");
    }
    return 0;
}

static bool wants_key(const struct reader *r)
{
    const struct conf_node *parent = top(r);

    return parent != NULL && parent->kind == CONF_NODE_MAP && r->key == NULL;
}

static int on_key(struct reader *r, yaml_mark_t mark, const char *text, bool quoted)
{
    if (text[0] == '\0') {
        return fail_at(r, mark, "empty key, expected a name");
    }
    r->key = xstrdup(text);
    r->key_mark = mark;
    r->key_is_merge = !quoted && strcmp(text, "<<") == 0;
    return 0;
}

static int begin_anchor(struct reader *r, const yaml_event_t *event, const yaml_char_t *name,
                        size_t *ret_anchor)
{
    struct conf_node place = place_of(r, event->start_mark);

    *ret_anchor = NO_ANCHOR;
    if (name == NULL) {
        return 0;
    }
    return conf_anchor_begin(&r->aliases, (const char *)name, &place, ret_anchor);
}

static void end_anchor(struct reader *r, size_t anchor, struct conf_node *node)
{
    if (anchor != NO_ANCHOR) {
        node->has_anchor = true;
        conf_anchor_end(&r->aliases, anchor, node);
    }
}

/* An anchor of a key: its name is wanted as a text. */
static void end_anchor_of_key(struct reader *r, size_t anchor, const yaml_event_t *event,
                              const char *text, bool quoted)
{
    struct conf_node *node = new_node(r, CONF_NODE_SCALAR, event->start_mark);

    node->text = xstrdup(text);
    node->quoted = quoted;
    end_anchor(r, anchor, node);
    conf_node_free(node);
}

static int on_scalar(struct reader *r, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    const yaml_char_t *tag = event->data.scalar.tag;
    struct conf_node *node;
    bool quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || tag != NULL;
    size_t anchor;

    if (check_properties(r, event, tag, YAML_STR_TAG) < 0) {
        return -1;
    }
    if (strlen(text) != event->data.scalar.length) {
        return fail_at(r, event->start_mark, "a text contains a zero byte");
    }
    if (begin_anchor(r, event, event->data.scalar.anchor, &anchor) < 0) {
        return -1;
    }
    if (wants_key(r)) {
        end_anchor_of_key(r, anchor, event, text, quoted);
        return on_key(r, event->start_mark, text, quoted);
    }
    if (!quoted && is_null_word(text)) {
        node = new_node(r, CONF_NODE_NULL, event->start_mark);
    } else {
        node = new_node(r, CONF_NODE_SCALAR, event->start_mark);
        node->text = xstrdup(text);
        node->quoted = quoted;
    }
    end_anchor(r, anchor, node);
    return place_node(r, node);
}

static int on_open(struct reader *r, const yaml_event_t *event, enum conf_node_kind kind)
{
    bool is_list = kind == CONF_NODE_LIST;
    const yaml_char_t *name =
        is_list ? event->data.sequence_start.anchor : event->data.mapping_start.anchor;
    const yaml_char_t *tag =
        is_list ? event->data.sequence_start.tag : event->data.mapping_start.tag;
    struct conf_node *node;
    size_t anchor;

    if (check_properties(r, event, tag, is_list ? YAML_SEQ_TAG : YAML_MAP_TAG) < 0) {
        return -1;
    }
    if (wants_key(r)) {
        return fail_at(r, event->start_mark, "a key is a list or a section, expected a name");
    }
    if (r->depth == CONF_DEPTH_MAX) {
        return fail_at(r, event->start_mark, "nested too deep, expected at most 16 levels");
    }
    if (begin_anchor(r, event, name, &anchor) < 0) {
        return -1;
    }
    node = new_node(r, kind, event->start_mark);
    if (place_node(r, node) < 0) {
        return -1;
    }
    r->stack[r->depth++] = (struct level){node, anchor};
    return 0;
}

static int on_close(struct reader *r)
{
    struct level level;

    PRE(r->depth > 0);
    level = r->stack[--r->depth];
    if (level.node->kind == CONF_NODE_MAP && conf_alias_merge(level.node, r->diag) < 0) {
        return -1;
    }
    end_anchor(r, level.anchor, level.node);
    return 0;
}

static int on_alias(struct reader *r, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    struct conf_node place = place_of(r, event->start_mark);
    struct conf_node *node = conf_alias_copy(&r->aliases, name, &place, r->depth);
    int rv;

    if (node == NULL) {
        return -1;
    }
    if (!wants_key(r)) {
        return place_node(r, node);
    }
    rv = node->kind == CONF_NODE_SCALAR
             ? on_key(r, event->start_mark, node->text, node->quoted)
             : fail_at(r, event->start_mark, "a key is an alias of no text, expected a name");
    conf_node_free(node);
    return rv;
}

static int on_event(struct reader *r, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return on_scalar(r, event);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(r, event, CONF_NODE_LIST);
    case YAML_MAPPING_START_EVENT:
        return on_open(r, event, CONF_NODE_MAP);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_close(r);
    case YAML_ALIAS_EVENT:
        return on_alias(r, event);
    case YAML_DOCUMENT_START_EVENT:
        if (++r->n_documents > 1) {
            return fail_at(r, event->start_mark, "a second YAML document, expected one");
        }
        return 0;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return 0;
    }
    return 0;
}

static int read_events(struct reader *r)
{
    bool ended = false;

    while (!ended) {
        yaml_event_t event;
        int rv;

        if (!yaml_parser_parse(&r->parser, &event)) {
            return fail_syntax(r);
        }
        ended = event.type == YAML_STREAM_END_EVENT;
        rv = on_event(r, &event);
        yaml_event_delete(&event);
        if (rv < 0) {
            return -1;
        }
    }
    return 0;
}

/* An empty file, or one of comments only, is an empty map. */
static int check_root(struct reader *r)
{
    char text[80];

    if (r->root == NULL) {
        r->root = conf_node_new(CONF_NODE_MAP, r->file);
        r->root->line = r->root->column = 1;
    }
    if (r->root->kind == CONF_NODE_NULL) {
        r->root->kind = CONF_NODE_MAP;
    }
    if (r->root->kind != CONF_NODE_MAP) {
        return conf_fail(r->diag, r->root, "", "not a configuration, got %s, expected sections",
                         conf_node_show(r->root, text, sizeof(text)));
    }
    return 0;
}

struct conf_node *conf_yaml_parse(const char *file, const char *data, size_t size,
                                  const struct conf_diag *diag)
{
    struct reader r = {.file = file, .diag = diag, .aliases = {.diag = diag}};
    struct conf_node *root = NULL;

    if (size > CONF_FILE_BYTES) {
        (void)err_set(diag->err, "%s: too large, got more than 1 MB", file);
        return NULL;
    }
    if (!yaml_parser_initialize(&r.parser)) {
        (void)err_set(diag->err, "%s: out of memory", file);
        return NULL;
    }
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)data, size);
    if (read_events(&r) == 0 && check_root(&r) == 0) {
        root = r.root;
        r.root = NULL;
    }
    conf_node_free(r.root);
    free(r.key);
    conf_aliases_deinit(&r.aliases);
    yaml_parser_delete(&r.parser);
    return root;
}

struct conf_node *conf_yaml_read(const char *path, const struct conf_diag *diag)
{
    struct conf_node *root = NULL;
    FILE *in = fopen(path, "re");
    size_t size;
    char *data;

    if (in == NULL) {
        (void)err_set_errno(diag->err, errno, "%s: can not be opened", path);
        return NULL;
    }
    data = xmalloc(CONF_FILE_BYTES + 1);
    size = fread(data, 1, CONF_FILE_BYTES + 1, in);
    if (ferror(in)) {
        (void)err_set_errno(diag->err, errno, "%s: can not be read", path);
    } else {
        root = conf_yaml_parse(path, data, size, diag);
    }
    free(data);
    (void)fclose(in); /* Only read from. */
    return root;
}
