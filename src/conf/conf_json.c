/*
 * Nodes from and to JSON (conf_node.h). The way to JSON must not change what a
 * user wrote: a number stays a number only if it would print the same again.
 */
#include "base/str.h"
#include "conf/conf_node.h"
#include "conf/conf_scalar.h"

#define REAL_DIGITS 15 /* The most that any decimal text survives. */

static struct conf_node *scalar_new(const char *text, bool quoted)
{
    struct conf_node *node = conf_node_new(CONF_NODE_SCALAR, NULL);

    node->text = xstrdup(text);
    node->quoted = quoted;
    return node;
}

static struct conf_node *from_number(const json_t *value)
{
    char text[64];

    if (json_is_integer(value)) {
        (void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else {
        (void)snprintf(text, sizeof(text), "%.*g", REAL_DIGITS, json_real_value(value));
    }
    return scalar_new(text, false);
}

static struct conf_node *from_json(const json_t *value, size_t depth, const struct conf_diag *diag);

/* Takes ownership of parent; NULL if the child failed. */
static struct conf_node *add_json(struct conf_node *parent, const char *key, const json_t *value,
                                  size_t depth, const struct conf_diag *diag)
{
    struct conf_node *child = from_json(value, depth, diag);

    if (child == NULL) {
        conf_node_free(parent);
        return NULL;
    }
    child->key = key != NULL ? xstrdup(key) : NULL;
    conf_node_add(parent, child);
    return parent;
}

static struct conf_node *from_object(const json_t *value, size_t depth,
                                     const struct conf_diag *diag)
{
    struct conf_node *map = conf_node_new(CONF_NODE_MAP, NULL);
    const char *key;
    json_t *item;

    json_object_foreach((json_t *)value, key, item)
    {
        map = add_json(map, key, item, depth + 1, diag);
        if (map == NULL) {
            return NULL;
        }
    }
    return map;
}

static struct conf_node *from_array(const json_t *value, size_t depth, const struct conf_diag *diag)
{
    struct conf_node *list = conf_node_new(CONF_NODE_LIST, NULL);

    for (size_t i = 0; i < json_array_size(value); i++) {
        list = add_json(list, NULL, json_array_get(value, i), depth + 1, diag);
        if (list == NULL) {
            return NULL;
        }
    }
    return list;
}

static struct conf_node *from_json(const json_t *value, size_t depth, const struct conf_diag *diag)
{
    if (depth > CONF_DEPTH_MAX) {
        (void)err_set(diag->err, "nested too deep, expected at most 16 levels");
        return NULL;
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return from_object(value, depth, diag);
    case JSON_ARRAY:
        return from_array(value, depth, diag);
    case JSON_STRING:
        return scalar_new(json_string_value(value), true);
    case JSON_INTEGER:
    case JSON_REAL:
        return from_number(value);
    case JSON_TRUE:
        return scalar_new("true", false);
    case JSON_FALSE:
        return scalar_new("false", false);
    case JSON_NULL:
        break;
    }
    return conf_node_new(CONF_NODE_NULL, NULL);
}

struct conf_node *conf_node_from_json(const json_t *value, const struct conf_diag *diag)
{
    return from_json(value, 0, diag);
}

static bool looks_like_number(const char *text)
{
    return text[strspn(text, "+-0123456789.eE_")] == '\0' && strpbrk(text, "0123456789") != NULL;
}

/* 1e20 as JSON has it; printf's is 1e+20. */
static bool is_jsons_text(const json_t *real, const char *text)
{
    char *again = json_dumps(real, JSON_ENCODE_ANY | JSON_REAL_PRECISION(REAL_DIGITS));
    bool same = again != NULL && strcmp(again, text) == 0;

    free(again);
    return same && strchr(text, 'e') != NULL;
}

static json_t *real_to_json(const char *text)
{
    char again[64];
    char *end;
    double value = strtod(text, &end);
    json_t *real = *end == '\0' ? json_real(value) : NULL; /* NULL as well: out of range. */

    (void)snprintf(again, sizeof(again), "%.*g", REAL_DIGITS, value);
    if (real == NULL || strcmp(again, text) == 0 || is_jsons_text(real, text)) {
        return real;
    }
    json_decref(real);
    return NULL;
}

/* NULL if the text is not a decimal number that prints as it was written. */
static json_t *number_to_json(const char *text)
{
    char again[64];
    int64_t integer;

    if (!looks_like_number(text)) {
        return NULL;
    }
    if (str_to_i64(text, INT64_MIN, INT64_MAX, &integer)) {
        (void)snprintf(again, sizeof(again), "%lld", (long long)integer);
        return strcmp(again, text) == 0 ? json_integer(integer) : NULL;
    }
    return real_to_json(text);
}

static json_t *scalar_to_json(const struct conf_node *node, bool verbatim)
{
    json_t *number;
    int64_t integer;
    bool boolean;

    if (node->quoted) {
        return json_string(node->text);
    }
    if (conf_is_bool_word(node->text, &boolean)) {
        bool same = strcmp(node->text, "true") == 0 || strcmp(node->text, "false") == 0;

        return verbatim && !same ? json_string(node->text) : json_boolean(boolean);
    }
    number = number_to_json(node->text);
    if (number != NULL) {
        return number;
    }
    if (!verbatim && conf_parse_i64(node->text, &integer)) {
        return json_integer(integer);
    }
    return json_string(node->text);
}

static json_t *to_json(const struct conf_node *node, bool verbatim);

static json_t *map_to_json(const struct conf_node *node, bool verbatim)
{
    json_t *object = json_object();

    for (const struct conf_node *at = node->first; at != NULL; at = at->next) {
        bool keep =
            verbatim || strcmp(at->key, "parameters") == 0 || strcmp(at->key, "recovery_conf") == 0;

        /* Out of memory and invalid UTF-8 are the only failures; neither can
         * come from a node. */
        (void)json_object_set_new(object, at->key, to_json(at, keep));
    }
    return object;
}

static json_t *to_json(const struct conf_node *node, bool verbatim)
{
    json_t *list;

    switch (node->kind) {
    case CONF_NODE_MAP:
        return map_to_json(node, verbatim);
    case CONF_NODE_LIST:
        list = json_array();
        for (const struct conf_node *at = node->first; at != NULL; at = at->next) {
            (void)json_array_append_new(list, to_json(at, verbatim)); /* As above. */
        }
        return list;
    case CONF_NODE_SCALAR:
        return scalar_to_json(node, verbatim);
    case CONF_NODE_NULL:
        break;
    }
    return json_null();
}

json_t *conf_node_to_json(const struct conf_node *node)
{
    return to_json(node, false);
}

char *conf_json_text(const json_t *value)
{
    char *text = json_dumps(value, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY |
                                       JSON_REAL_PRECISION(REAL_DIGITS));
    char *copy = xstrdup(text != NULL ? text : "{}");

    free(text);
    return copy;
}
