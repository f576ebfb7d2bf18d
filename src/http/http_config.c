/*
 * GET, PATCH and PUT /config: the dynamic configuration of the cluster. A change is
 * checked here in full, and written by compare-and-set. POST /reload: the node's own.
 */
#include <strings.h>

#include <jansson.h>

#include "base/crc32c.h"
#include "http/http_routes.h"

/* The version as what it holds: an edit that came to the same is no other one. */
static void make_etag(const char *config, char *etag, size_t size)
{
    (void)snprintf(etag, size, "\"%08x\"", crc32c(0, config, strlen(config)));
}

static bool is_version(const struct http_request *r)
{
    char etag[16];

    if (r->if_match == NULL || strcmp(r->if_match, "*") == 0) {
        return true;
    }
    make_etag(r->config, etag, sizeof(etag));
    return strcmp(r->if_match, etag) == 0;
}

void http_handle_config(const struct http_request *r, struct http_reply *reply)
{
    if (r->config == NULL) {
        http_reply_text(reply, 502, "there is no dynamic configuration yet");
        return;
    }
    reply->code = 200;
    reply->content_type = "application/json";
    make_etag(r->config, reply->etag, sizeof(reply->etag));
    http_add_json(&reply->body, r->config);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), n_end = strlen(end);

    return n >= n_end && strcasecmp(text + n - n_end, end) == 0;
}

/* In any case: so PostgreSQL takes names of parameters. */
static bool is_command(const char *key)
{
    static const char *const keys[] = {"callbacks",   "command",     "create_replica_methods",
                                       "pre_promote", "before_stop", "dynamic_library_path",
                                       "jit_provider"};
    bool found =
        ends_with(key, "_command") || ends_with(key, "_library") || ends_with(key, "_libraries");

    for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
        found = found || strcasecmp(key, keys[i]) == 0;
    }
    return found;
}

/* Whether there is a setting that would run or load something, and is new or another than
 * before; its path is put behind what stands in `path` (cut, if need be). */
static bool find_command(const json_t *before, json_t *after, struct sbuf *path)
{
    const size_t length = path->length;
    const char *key;
    json_t *value;

    json_object_foreach(after, key, value)
    {
        json_t *old = json_object_get(before, key);

        sbuf_printf(path, "%s%.60s", length > 0 ? "." : "", key);
        if ((is_command(key) && !json_is_null(value) && !json_equal(old, value)) ||
            find_command(old, value, path)) {
            return true;
        }
        path->length = length;
        path->data[length] = '\0';
    }
    return false;
}

/* Who may write the configuration would else be whoever PostgreSQL runs as, on every node. */
static bool is_refused_command(const struct http_request *r, struct http_reply *reply)
{
    json_t *before = json_loads(r->config, 0, NULL);
    json_t *after = json_loads(reply->command.config_set.config, 0, NULL);
    char key[256];
    char text[512];
    struct sbuf path;
    bool found;

    sbuf_init(&path, key, sizeof(key));
    found = !r->may_set_commands && find_command(before, after, &path);
    json_decref(before);
    json_decref(after);
    if (found) {
        (void)snprintf(text, sizeof(text),
                       "%s runs or loads something on every node: it is changed on a node itself "
                       "(vechectl edit-config), or where restapi.allow_commands is set",
                       key);
        http_reply_text(reply, 403, text);
    }
    return found;
}

/* It would change nothing, or (PUT) take everything away: refused, as Patroni does. */
static bool is_empty(const char *body)
{
    json_t *object = json_loads(body, 0, NULL);
    bool empty = json_is_object(object) && json_object_size(object) == 0;

    json_decref(object);
    return empty;
}

static void change(const struct http_request *r, bool replace, struct http_reply *reply)
{
    struct err err = {""};

    if (!r->view->raft.caught_up) {
        http_reply_text(reply, 503, "this node does not know the state of the cluster yet");
    } else if (r->config == NULL) {
        http_reply_text(reply, 503, "there is no dynamic configuration yet");
    } else if (!is_version(r)) {
        http_reply_text(reply, 412, "the configuration is another one now than If-Match names");
    } else if (r->body[0] == '\0') {
        http_reply_text(reply, 400,
                        "The request has no body: send a JSON object such as {\"ttl\": 5}");
    } else if (is_empty(r->body)) {
        http_reply_text(reply, 400, "The body is empty: send settings such as {\"ttl\": 5}");
    } else if (r->hooks->change_config(r->hooks->data, r->body, replace, &reply->command, &err) ==
               0) {
        reply->has_command = !is_refused_command(
            r, reply); /* Also if it is so already: only the log knows for certain. */
    } else {
        http_reply_text(reply, 400, err.text);
    }
}

void http_handle_config_patch(const struct http_request *r, struct http_reply *reply)
{
    change(r, false, reply);
}

void http_handle_config_put(const struct http_request *r, struct http_reply *reply)
{
    change(r, true, reply);
}

/* With any body and without one; of any member, whatever the state of the cluster: it may be
 * what mends that. */
void http_handle_reload(const struct http_request *r, struct http_reply *reply)
{
    (void)r;
    reply->wants_reload = true;
}
