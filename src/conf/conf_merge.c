/*
 * The parameters PostgreSQL gets on this node: the cluster's, over them the
 * node's own, and the defaults of those that must be the same everywhere.
 */
#include "conf/conf.h"
#include "conf/conf_controlled.h"

void conf_merge_parameters(const struct conf *c, const struct conf_dynamic *d,
                           struct kv_list *ret_parameters)
{
    kv_copy(ret_parameters, &d->parameters);
    for (size_t i = 0; i < c->pg_parameters.n; i++) {
        const struct kv *item = &c->pg_parameters.items[i];

        if (!conf_is_controlled(item->key)) { /* conf_load dropped them: keep it so. */
            kv_set(ret_parameters, item->key, item->value);
        }
    }
    conf_controlled_complete(ret_parameters);
    kv_sort(ret_parameters);
}
