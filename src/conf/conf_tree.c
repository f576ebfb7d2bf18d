/*
 * YAML as JSON without a schema: what vechectl reads of a configuration that may
 * be an agent's, or Patroni's own for its command, and what an operator edits.
 */
#include "base/str.h"
#include "conf/conf_node.h"

static char *json_of(struct conf_node *root)
{
    json_t *value;
    char *text;

    if (root == NULL) {
        return NULL;
    }
    value = conf_node_to_json(root);
    text = conf_json_text(value);
    json_decref(value);
    conf_node_free(root);
    return text;
}

char *conf_json_of_path(const char *path, struct err *err)
{
    struct conf_diag diag = {.err = err_clear(err)};

    return json_of(conf_tree_read(path, &diag));
}

char *conf_json_of_yaml(const char *name, const char *text, struct err *err)
{
    struct conf_diag diag = {.err = err_clear(err)};

    return json_of(conf_yaml_parse(name, text, strlen(text), &diag));
}
