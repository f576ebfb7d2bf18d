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

static void put_over(const struct kv_list *list, struct kv_list *parameters)
{
    for (size_t i = 0; i < list->n; i++) {
        if (!conf_is_same_everywhere(list->items[i].key)) {
            kv_set(parameters, list->items[i].key, list->items[i].value);
        }
    }
}

void conf_merge_role_parameters(const struct conf *c, const struct conf_dynamic *d,
                                enum conf_role role, struct kv_list *ret_parameters)
{
    PRE(role < CONF_N_ROLES);
    conf_merge_parameters(c, d, ret_parameters);
    put_over(&d->parameters_of[role], ret_parameters);
    put_over(&c->pg_parameters_of[role], ret_parameters);
    kv_sort(ret_parameters);
}
