/*
 * Keys from the environment: VECHE_* and, for the same keys, PATRONI_*. They are
 * nodes of the tree like those of the file, over which they stand, and get the
 * same checks. Private to src/conf but for conf_env_take, which is in conf.h.
 */
#ifndef VECHE_CONF_CONF_ENV_H
#define VECHE_CONF_CONF_ENV_H

#include "base/kv.h"
#include "conf/conf_node.h"
#include "conf/conf_schema.h"

/* The whole configuration in one variable, which then is all there is; its name goes to
 * *ret_name. NULL = not given. */
const char *conf_env_whole(const struct kv_list *env, const char **ret_name);

/* Puts what `env` holds over the tree. 0, or -1 and the reason. */
MUST_USE int conf_env_merge(const struct kv_list *env, struct conf_node *root,
                            const struct conf_diag *diag);

/* "RESTAPI_LISTEN" for a row that can come from the environment; false for others. */
bool conf_env_name(const struct conf_row *row, char *name, size_t size);

#endif
