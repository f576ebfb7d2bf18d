/*
 * PostgreSQL parameters that belong to the whole cluster: a node's own file can
 * not set them, dynamic configuration can, and a bad value there becomes the
 * default with a warning, since refusing it would stop every node. Private to
 * src/conf.
 */
#ifndef VECHE_CONF_CONF_CONTROLLED_H
#define VECHE_CONF_CONF_CONTROLLED_H

#include "base/kv.h"
#include "conf/conf.h"
#include "conf/conf_node.h"

/* The lists of one configuration. */
struct conf_parameters {
    struct kv_list *base, *of_role; /* postgresql.parameters; and of CONF_N_ROLES roles. */
    const struct kv_list *recovery; /* postgresql.recovery_conf */
    const struct conf_node *root;
    const char *prefix; /* In front of keys in texts. */
    bool of_node;       /* Its own file, not the cluster's configuration. */
    const struct conf_diag *diag;
};

/* Removes them from a node's own parameters and from those of a role, and warns of that and
 * of what has no effect where it stands. wal_keep_size and wal_keep_segments stay with a role. */
void conf_parameters_check(const struct conf_parameters *p);

/* Replaces bad values by defaults and removes what only the agent sets, warning at
 * `place`; turns wal_keep_segments into wal_keep_size. */
void conf_controlled_check(struct kv_list *parameters, const struct conf_node *place,
                           const char *prefix, const struct conf_diag *diag);

/* Adds the defaults of those that are not there. */
void conf_controlled_complete(struct kv_list *parameters);

bool conf_is_controlled(const char *name);
/* Of those all but how much WAL is kept: that may be another one in another role. */
bool conf_is_same_everywhere(const char *name);

#endif
