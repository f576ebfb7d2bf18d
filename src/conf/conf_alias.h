/*
 * Anchors (&name), aliases (*name) and merge keys (<<) of one YAML file, as PyYAML's safe_load
 * takes them: an alias is written out as a copy of what its anchor names, and a merge key puts
 * the keys of one section into another. What copies add is bounded, so that a small file can not
 * become a large tree. Private to conf_yaml.c.
 */
#ifndef VECHE_CONF_CONF_ALIAS_H
#define VECHE_CONF_CONF_ALIAS_H

#include "conf/conf_node.h"

struct conf_anchor {
    char *name;             /* Without its &. */
    struct conf_node *node; /* A copy of what it names; NULL until that has ended. */
    struct conf_node place; /* Where it is written; owns nothing. */
};

/* Zero-initialise, with diag; then deinit. */
struct conf_aliases {
    const struct conf_diag *diag;
    struct conf_anchor *anchors; /* In the order of the file. */
    size_t n_anchors;
    size_t n_nodes; /* Of the file, copies among them; the reader counts its own. */
    size_t n_bytes; /* Texts that were copied. */
};

void conf_aliases_deinit(struct conf_aliases *a);

/* A node with an anchor begins at that place; `file` of the place outlives a. Stores the number
 * for conf_anchor_end. 0, or -1 and the reason: the name is taken. */
MUST_USE int conf_anchor_begin(struct conf_aliases *a, const char *name,
                               const struct conf_node *place, size_t *ret_anchor);
/* That node has ended, and may be named from now on. */
void conf_anchor_end(struct conf_aliases *a, size_t anchor, const struct conf_node *node);

/* A copy for the caller of what the alias at that place stands for, to be put `depth` levels
 * deep; NULL and the reason. */
struct conf_node *conf_alias_copy(struct conf_aliases *a, const char *name,
                                  const struct conf_node *place, size_t depth);

/* Puts what the map's merge keys name in front of its own keys, and the merge keys away. An own
 * key wins; of the sections of a list the earlier; of two merge keys the later. 0, or -1 and the
 * reason. */
MUST_USE int conf_alias_merge(struct conf_node *map, const struct conf_diag *diag);

#endif
