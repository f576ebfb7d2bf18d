/*
 * Dynamic configuration from nodes, for bootstrap.dcs and for changes; the rest of
 * it is in conf.h. Private to src/conf.
 */
#ifndef VECHE_CONF_CONF_DYNAMIC_H
#define VECHE_CONF_CONF_DYNAMIC_H

#include <jansson.h>

#include "conf/conf_node.h"

/* As conf_dynamic_parse, from a map. Older spellings are renamed in it. `prefix`
 * stands before keys in texts. */
MUST_USE int conf_dynamic_read(struct conf_node *root, const char *prefix,
                               struct conf_dynamic *ret_dynamic, const struct conf_diag *diag);

/* The JSON object in a text, or NULL and why there is none. */
json_t *conf_dynamic_load(const char *json, const struct conf_diag *diag);

#endif
