/*
 * PostgreSQL parameters that belong to the whole cluster: a node's own file can
 * not set them, dynamic configuration can, and a bad value there becomes the
 * default with a warning, since refusing it would stop every node. Private to
 * src/conf.
 */
#ifndef VECHE_CONF_CONF_CONTROLLED_H
#define VECHE_CONF_CONF_CONTROLLED_H

#include "base/kv.h"
#include "conf/conf_node.h"

/* Removes them from a node's own parameters; warns at `place`, the section. */
void conf_controlled_drop(struct kv_list *parameters, const struct conf_node *place,
                          const struct conf_diag *diag);

/* Replaces bad values by defaults and removes what only the agent sets, warning at
 * `place`; turns wal_keep_segments into wal_keep_size. */
void conf_controlled_check(struct kv_list *parameters, const struct conf_node *place,
                           const char *prefix, const struct conf_diag *diag);

/* Adds the defaults of those that are not there. */
void conf_controlled_complete(struct kv_list *parameters);

bool conf_is_controlled(const char *name);

#endif
