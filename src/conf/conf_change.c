/*
 * What a request over REST makes of the dynamic configuration. The result is
 * read by the same walk as what a node's file has, and written as it is.
 */
#include <jansson.h>
#include <strings.h>

#include "base/str.h"
#include "conf/conf_dynamic.h"
#include "conf/conf_scalar.h"
#include "conf/conf_walk.h"

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

/* Which standbys may take over is decided another way there: whoever asks for it is told. What a
 * store or file holds already is read as on: refused it would be no configuration at all. */
static int refuse_quorum(const json_t *change, const struct conf_diag *diag)
{
    const char *key = "synchronous_mode";
    const char *mode = json_string_value(json_object_get(change, key));

    if (mode == NULL || strcasecmp(mode, CONF_QUORUM) != 0) {
        return 0;
    }
    return conf_fail(diag, NULL, key,
                     "quorum commit is not there yet, got \"%s\", expected on (one standby, by "
                     "name) or off",
                     mode);
}

char *conf_dynamic_change(const char *current, const char *body, bool replace, conf_warning_cb warn,
                          void *data, struct err *err)
{
    struct conf_diag diag = {.warn = warn, .data = data, .err = err_clear(err)};
    json_t *change = conf_dynamic_load(body, &diag);
    json_t *result = NULL;
    char *text = NULL;

    if (change != NULL && refuse_quorum(change, &diag) == 0) {
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

/* ---- What differs ---- */

/* With the newer spellings; NULL if it is no object. */
static json_t *normal(const char *text)
{
    const struct conf_diag silent = {.err = NULL};
    json_t *value = conf_dynamic_load(text, &silent);
    struct conf_node *root = value != NULL ? conf_node_from_json(value, &silent) : NULL;

    json_decref(value);
    value = NULL;
    if (root != NULL) {
        conf_walk_rename(&(struct conf_walk){&conf_schema_dynamic, NULL, "", &silent}, root);
        value = conf_node_to_json(root);
    }
    conf_node_free(root);
    return value;
}

static void add_differences(const json_t *a, const json_t *b, const char *prefix,
                            struct strbuf *keys);

static void add_difference(const json_t *x, const json_t *y, const char *path, struct strbuf *keys)
{
    bool both = json_is_object(x) && json_is_object(y);

    if (both) {
        add_differences(x, y, path, keys);
    } else if (x == NULL || y == NULL || !is_same(x, y)) {
        strbuf_add_text(keys, keys->length > 0 ? ", " : "");
        strbuf_add_text(keys, path);
    }
}

/* Depth is bounded: both were trees of nodes. */
static void add_differences(const json_t *a, const json_t *b, const char *prefix,
                            struct strbuf *keys)
{
    const json_t *const sides[] = {a, b};
    const char *key;
    json_t *value;

    for (size_t i = 0; i < ARRAY_LENGTH(sides); i++) {
        json_object_foreach((json_t *)sides[i], key, value)
        {
            struct strbuf path = {0};

            if (i == 1 && json_object_get(a, key) != NULL) {
                continue; /* Seen from the other side. */
            }
            strbuf_printf(&path, "%s%s%s", prefix, prefix[0] != '\0' ? "." : "", key);
            add_difference(json_object_get(a, key), json_object_get(b, key), path.data, keys);
            strbuf_deinit(&path);
        }
    }
}

void conf_dynamic_differ(const char *a, const char *b, struct strbuf *ret_keys)
{
    json_t *x = normal(a);
    json_t *y = normal(b);

    strbuf_add_text(ret_keys, "");
    if (x != NULL && y != NULL) {
        add_differences(x, y, "", ret_keys);
    }
    json_decref(x);
    json_decref(y);
}
