/*
 * What a request over REST makes of the dynamic configuration. The result is
 * read by the same walk as what a node's file has, and written as it is.
 */
#include <jansson.h>

#include "base/str.h"
#include "conf/conf_dynamic.h"

static char *scalar_text(const json_t *value)
{
    return json_is_string(value) ? xstrdup(json_string_value(value)) : conf_json_text(value);
}

/* 3 and "3" are the same: what scripts send is often quoted. */
static bool is_same(const json_t *a, const json_t *b)
{
    char *x = scalar_text(a);
    char *y = scalar_text(b);
    bool same = str_equal(x, y);

    free(x);
    free(y);
    return same;
}

static void merge(json_t *into, const json_t *patch);

static void merge_one(json_t *into, const char *key, json_t *value)
{
    json_t *old = json_object_get(into, key);

    if (json_is_null(value)) {
        (void)json_object_del(into, key); /* Nothing there: as wished. */
    } else if (json_is_object(value)) {
        if (!json_is_object(old)) {
            old = json_object();
            (void)json_object_set_new(into, key, old); /* Only memory can fail. */
        }
        merge(old, value);
    } else if (old == NULL || !is_same(old, value)) {
        (void)json_object_set(into, key, value); /* As above. */
    }
}

/* Null removes a key, maps are merged, all else is replaced. */
static void merge(json_t *into, const json_t *patch)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)patch, key, value)
    {
        merge_one(into, key, value);
    }
}

static char *check(const json_t *value, const struct conf_diag *diag)
{
    struct conf_dynamic dynamic;
    struct conf_node *root = conf_node_from_json(value, diag);
    char *text = NULL;

    if (root != NULL && conf_dynamic_read(root, "", &dynamic, diag) == 0) {
        json_t *json = conf_node_to_json(root);

        text = conf_json_text(json);
        json_decref(json);
        conf_dynamic_deinit(&dynamic);
    }
    conf_node_free(root);
    return text;
}

char *conf_dynamic_change(const char *current, const char *body, bool replace, conf_warning_cb warn,
                          void *data, struct err *err)
{
    struct conf_diag diag = {warn, data, err};
    json_t *change = conf_dynamic_load(body, &diag);
    json_t *result = NULL;
    char *text = NULL;

    if (change != NULL) {
        result = replace ? json_incref(change) : conf_dynamic_load(current, &diag);
    }
    if (result != NULL) {
        if (!replace) {
            merge(result, change);
        }
        text = check(result, &diag);
    }
    json_decref(result);
    json_decref(change);
    return text;
}
