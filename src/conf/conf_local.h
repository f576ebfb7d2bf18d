/*
 * What one row of the schema can not say about the node's file: keys that
 * depend on each other, defaults that follow from other keys, tags,
 * bootstrap.dcs. Private to src/conf.
 */
#ifndef VECHE_CONF_CONF_LOCAL_H
#define VECHE_CONF_CONF_LOCAL_H

#include "conf/conf_node.h"

/* Fills *c (zeroed, but for its path) from the tree. 0, or -1 and the reason; *c
 * is the caller's to free either way. */
MUST_USE int conf_local_read(struct conf_node *root, struct conf *c, const struct conf_diag *diag);

/* tags: into the flags and tags_json (conf_tags.c). */
MUST_USE int conf_tags_read(const struct conf_node *tags, struct conf *c,
                            const struct conf_diag *diag);

/* The raft: section's checks and defaults (conf_raft.c). */
MUST_USE int conf_raft_check(const struct conf_node *root, struct conf *c,
                             const struct conf_diag *diag);

bool conf_is_wildcard_host(const char *host);

#endif
