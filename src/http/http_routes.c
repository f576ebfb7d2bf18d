/*
 * The table of routes.
 */
#include "http/http_routes.h"

/* clang-format off */
static const struct http_route routes[] = {
    {"GET",  "/",           HTTP_SAFE,   http_handle_primary},
    {"GET",  "/primary",    HTTP_SAFE,   http_handle_primary},
    {"GET",  "/master",     HTTP_SAFE,   http_handle_primary},
    {"GET",  "/leader",     HTTP_SAFE,   http_handle_leader},
    {"GET",  "/read-write", HTTP_SAFE,   http_handle_primary},
    {"GET",  "/replica",    HTTP_SAFE,   http_handle_replica},
    {"GET",  "/read-only",  HTTP_SAFE,   http_handle_read_only},
    {"GET",  "/sync",       HTTP_SAFE,   http_handle_sync},
    {"GET",  "/synchronous", HTTP_SAFE,  http_handle_sync},
    {"GET",  "/async",      HTTP_SAFE,   http_handle_async},
    {"GET",  "/asynchronous", HTTP_SAFE, http_handle_async},
    {"GET",  "/read-only-sync", HTTP_SAFE, http_handle_read_only_sync},
    {"GET",  "/read-only-synchronous", HTTP_SAFE, http_handle_read_only_sync},
    {"GET",  "/health",     HTTP_SAFE,   http_handle_health},
    {"GET",  "/liveness",   HTTP_SAFE,   http_handle_liveness},
    {"GET",  "/readiness",  HTTP_SAFE,   http_handle_readiness},
    {"GET",  "/patroni",    HTTP_SAFE,   http_handle_patroni},
    {"GET",  "/cluster",    HTTP_SAFE,   http_handle_cluster},
    {"GET",  "/history",    HTTP_SAFE,   http_handle_history},
    {"GET",  "/config",     HTTP_SAFE,   http_handle_config},
    {"GET",  "/metrics",    HTTP_SAFE,   http_handle_metrics},
    {"PATCH", "/config",    HTTP_UNSAFE, http_handle_config_patch},
    {"PUT",  "/config",     HTTP_UNSAFE, http_handle_config_put},
    {"POST", "/switchover", HTTP_UNSAFE, http_handle_switchover},
    {"POST", "/failover",   HTTP_UNSAFE, http_handle_failover},
    {"POST", "/primary-is-dead", HTTP_UNSAFE, http_handle_primary_is_dead},
};
/* clang-format on */

static bool method_fits(const char *route, const char *method)
{
    if (strcmp(route, "GET") == 0) {
        return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
               strcmp(method, "OPTIONS") == 0;
    }
    return strcmp(route, method) == 0;
}

const struct http_route *http_find_route(const char *method, const char *path,
                                         bool *ret_path_exists)
{
    *ret_path_exists = false;
    for (size_t i = 0; i < ARRAY_LENGTH(routes); i++) {
        if (strcmp(routes[i].path, path) != 0) {
            continue;
        }
        *ret_path_exists = true;
        if (method_fits(routes[i].method, method)) {
            return &routes[i];
        }
    }
    return NULL;
}

void http_reply_text(struct http_reply *reply, unsigned code, const char *text)
{
    reply->code = code;
    reply->content_type = "text/plain; charset=utf-8";
    strbuf_add_text(&reply->body, text);
}
