/*
 * GET, PATCH and PUT /config: the dynamic configuration of the cluster. A change is
 * checked here in full, and written by compare-and-set. POST /reload: the node's own.
 */
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
    strbuf_add_text(&reply->body, r->config);
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
    } else if (r->hooks->change_config(r->hooks->data, r->body, replace, &reply->command, &err) ==
               0) {
        reply->has_command = true; /* Also if it is so already: only the log knows for certain. */
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

/* With any body and without one. */
void http_handle_reload(const struct http_request *r, struct http_reply *reply)
{
    (void)r;
    reply->wants_reload = true;
}
