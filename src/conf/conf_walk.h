/*
 * From a tree of nodes to a struct, by the rows of a schema. Private to
 * src/conf; conf_load.c (struct conf) and conf_dynamic.c (struct conf_dynamic)
 * are its users.
 */
#ifndef VECHE_CONF_CONF_WALK_H
#define VECHE_CONF_CONF_WALK_H

#include "conf/conf_node.h"
#include "conf/conf_schema.h"

struct conf_walk {
    const struct conf_schema *schema;
    void *target;       /* struct conf or struct conf_dynamic. */
    const char *prefix; /* In front of keys in texts: "" or "bootstrap.dcs.". */
    const struct conf_diag *diag;
};

/* Sets every default, then every key below root; older spellings are renamed in
 * the tree first. 0, or -1 and the reason: the target then holds every value that is
 * valid, and must be deinitialised as usual. */
MUST_USE int conf_walk(const struct conf_walk *w, struct conf_node *root);

/* Older spellings become the newer ones, as conf_walk does first. */
void conf_walk_rename(const struct conf_walk *w, struct conf_node *root);

/* The value says what happens anyway: nothing to warn about. */
bool conf_walk_is_default(const struct conf_row *row, const struct conf_node *node);
/* A section or list at the top of a file that is there for its anchors: what they name is used
 * where aliases put it. */
bool conf_walk_is_definition(const struct conf_walk *w, const struct conf_node *node,
                             const char *path);
/* bootstrap.method: x makes a section bootstrap.x, and likewise each entry of
 * postgresql.create_replica_methods. */
bool conf_walk_is_method(const struct conf_node *section, const char *key);

/* One value into the target. 0, or -1 and the reason. */
MUST_USE int conf_set(const struct conf_walk *w, const struct conf_row *row,
                      const struct conf_node *node);

/* Frees what rows store in the target. */
void conf_walk_deinit(const struct conf_schema *schema, void *target);

/* Replaces the text of an owned pointer by a copy; text may be NULL. */
void conf_replace(char **text, const char *value);

/* The part of conf_set for values made of several scalars (conf_set_lists.c). */
MUST_USE int conf_set_lists(const struct conf_walk *w, const struct conf_row *row,
                            const struct conf_node *node);

/* Likewise, of slots and ignore_slots (conf_slots.c). */
MUST_USE int conf_set_slots(const struct conf_walk *w, const struct conf_row *row,
                            const struct conf_node *node);

/* The settings of one method (conf_methods.c). */
MUST_USE int conf_set_method(const struct conf_walk *w, const struct conf_row *row,
                             const struct conf_node *node);
/* Each method that is named has a command: `bare` ones need none, nor, with may_be_elsewhere,
 * those without a section. */
struct conf_methods_check {
    const struct conf_node *root;
    const char *prefix; /* In front of keys in texts. */
    const char *key;    /* Who names them: "bootstrap.method" */
    const char *bare;   /* "initdb" */
    const struct kv_list *settings;
    bool may_be_elsewhere;
    const struct conf_diag *diag;
};
MUST_USE int conf_methods_check(const struct conf_methods_check *c, const char *method);

/* What the value is, for a message; of one that may be a secret only that it is a text. */
const char *conf_show_value(const struct conf_walk *w, const struct conf_row *row,
                            const struct conf_node *node, char *text, size_t size);

/* "<what>, got <node>, expected <expected>" at the node; always -1. */
int conf_fail_value(const struct conf_walk *w, const struct conf_row *row,
                    const struct conf_node *node, const char *what, const char *expected);

/* host:port, "host" alone when a default port is given; port 0 = none. The text
 * "host:port" goes to `text`. */
MUST_USE bool conf_normalize_address(const char *value, int64_t default_port, char *text,
                                     size_t size);

#endif
