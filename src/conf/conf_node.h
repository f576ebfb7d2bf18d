/*
 * The configuration as a tree of nodes, each with its place in the file, so
 * that every later complaint can name file, line and column. Made by
 * conf_yaml.c from YAML and by conf_node.c from JSON; read by conf_walk.c.
 * Private to src/conf.
 */
#ifndef VECHE_CONF_CONF_NODE_H
#define VECHE_CONF_CONF_NODE_H

#include <jansson.h>

#include "base/err.h"
#include "conf/conf.h"

#define CONF_DEPTH_MAX  16        /* Nesting; Patroni's own files need six. */
#define CONF_NODES_MAX  10000     /* In one file. */
#define CONF_FILE_BYTES (1 << 20) /* A larger file is no configuration. */
#define CONF_KEY_SIZE   256       /* Texts like "raft.self_addr", cut when longer. */

enum conf_node_kind {
    CONF_NODE_NULL,
    CONF_NODE_SCALAR,
    CONF_NODE_LIST,
    CONF_NODE_MAP,
};

struct conf_node {
    enum conf_node_kind kind;
    bool quoted;                       /* Scalar: written in quotes, as a block or as !!str. */
    bool is_merge;                     /* YAML's key <<; none is left when its map has ended. */
    bool has_anchor;                   /* Written to be named elsewhere in the file. */
    unsigned line, column;             /* From 1; of the value. 0 = none (JSON). */
    unsigned key_line, key_column;     /* Of the key, when parent is a map; 0 = key of an alias. */
    unsigned alias_line, alias_column; /* Of the alias that put it here; 0 = written here. */
    char *file;                        /* NULL = none (JSON). */
    char *key;                         /* NULL unless the parent is a map. */
    char *text;                        /* Scalar: as written, without its quotes. */
    struct conf_node *first, *last;    /* Children of a list or map, in order. */
    struct conf_node *next;            /* Sibling. */
};

/* Where complaints go. */
struct conf_diag {
    conf_warning_cb warn; /* NULL = dropped. */
    void *data;           /* For warn and fail. */
    struct err *err;      /* Gets the first error; empty before it. NULL = dropped. */
    conf_warning_cb fail; /* Each error. NULL: err is enough. */
};

/* "file:line:column: key: <text>" to diag->fail, and into diag->err if it is the first;
 * always -1. What can be judged without the value goes on and fails in the end. The place is
 * the node's key if it has one, else its value (see conf_node_place); node NULL or without a file:
 * no place. An empty key is left out. */
int conf_fail(const struct conf_diag *diag, const struct conf_node *node, const char *key,
              const char *format, ...) PRINTF_LIKE(4, 5);
void conf_warn(const struct conf_diag *diag, const struct conf_node *node, const char *key,
               const char *format, ...) PRINTF_LIKE(4, 5);

/* "file:line:column" of a node that was read from a file, where it is written; "(alias at
 * line:column)" follows where an alias or a merge key put it. Cut when too long. */
void conf_node_place(const struct conf_node *node, char *text, size_t size);

/* `"text"`, `a list`, `a section` or `nothing`, for "got ...". Returns text. */
const char *conf_node_show(const struct conf_node *node, char *text, size_t size);

/* Reads one file. Returns NULL and the reason; the root is a map. */
struct conf_node *conf_yaml_read(const char *path, const struct conf_diag *diag);
/* As conf_yaml_read, from memory; `file` only names it. */
struct conf_node *conf_yaml_parse(const char *file, const char *data, size_t size,
                                  const struct conf_diag *diag);

/* A file, or the merged files of a directory (conf_load.c). NULL and the reason. */
struct conf_node *conf_tree_read(const char *path, const struct conf_diag *diag);

struct conf_node *conf_node_new(enum conf_node_kind kind, const char *file);
void conf_node_free(struct conf_node *node);
/* Appends; the parent owns the child from here on. */
void conf_node_add(struct conf_node *parent, struct conf_node *child);
/* Takes the child out; the caller owns it. */
void conf_node_remove(struct conf_node *parent, struct conf_node *child);
/* The child of that key, or NULL (also when map is NULL or no map). */
struct conf_node *conf_node_child(const struct conf_node *map, const char *key);
/* "raft.self_addr" from the root; NULL when missing. */
struct conf_node *conf_node_find(const struct conf_node *root, const char *path);
/* Puts the node at that path, in the place of what is there; sections are made when missing.
 * False if something else is in a section's place; the node is the tree's or freed either way. */
bool conf_node_set(struct conf_node *root, const char *path, struct conf_node *node);
/* The section of the first `length` characters of the path (0 = root), made when missing; NULL
 * when something else is in its place. */
struct conf_node *conf_node_section(struct conf_node *root, const char *path, size_t length);
/* Deep-merges `from` over `into` and frees `from`: maps are merged, anything else
 * replaces, a null deletes. */
void conf_node_merge(struct conf_node *into, struct conf_node *from);

/* Of a bounded JSON value; numbers as text. NULL and the reason when too deep. */
struct conf_node *conf_node_from_json(const json_t *value, const struct conf_diag *diag);
/* Unquoted words become booleans, numbers and null as in YAML 1.1, except below
 * a key `parameters` or `recovery_conf`, where a text stays as it was written. */
json_t *conf_node_to_json(const struct conf_node *node);
/* Sorted keys, no blanks. The caller frees the text. */
char *conf_json_text(const json_t *value);

#endif
