/*
 * The table of routes. As in Patroni the first word of the path chooses, and what
 * nobody knows is unavailable (503), or not supported when something shall be done
 * (501): never 200.
 */
#include <strings.h>

#include "http/http_routes.h"
#include "veche/api.h"

/* clang-format off */
static const struct http_route routes[] = {
    {"GET",  "/",           HTTP_SAFE,   http_handle_primary},
    {"GET",  "/primary",    HTTP_SAFE,   http_handle_primary},
    {"GET",  "/master",     HTTP_SAFE,   http_handle_primary},
    {"GET",  "/leader",     HTTP_SAFE,   http_handle_leader},
    {"GET",  "/read-write", HTTP_SAFE,   http_handle_primary},
    {"GET",  "/replica",    HTTP_SAFE,   http_handle_replica},
    {"GET",  "/standby-leader", HTTP_SAFE, http_handle_unavailable},
    {"GET",  "/standby_leader", HTTP_SAFE, http_handle_unavailable},
    {"GET",  "/read-only",  HTTP_SAFE,   http_handle_read_only},
    {"GET",  "/sync",       HTTP_SAFE,   http_handle_sync},
    {"GET",  "/synchronous", HTTP_SAFE,  http_handle_sync},
    {"GET",  "/async",      HTTP_SAFE,   http_handle_async},
    {"GET",  "/asynchronous", HTTP_SAFE, http_handle_async},
    {"GET",  "/read-only-sync", HTTP_SAFE, http_handle_read_only_sync},
    {"GET",  "/read-only-synchronous", HTTP_SAFE, http_handle_read_only_sync},
    {"GET",  "/quorum",     HTTP_SAFE,   http_handle_unavailable},
    {"GET",  "/read-only-quorum", HTTP_SAFE, http_handle_read_only_quorum},
    {"GET",  "/health",     HTTP_SAFE,   http_handle_health},
    {"GET",  "/liveness",   HTTP_SAFE,   http_handle_liveness},
    {"GET",  "/readiness",  HTTP_SAFE,   http_handle_readiness},
    {"GET",  "/patroni",    HTTP_SAFE,   http_handle_patroni},
    {"GET",  "/cluster",    HTTP_SAFE,   http_handle_cluster},
    {"GET",  "/history",    HTTP_SAFE,   http_handle_history},
    {"GET",  "/config",     HTTP_SAFE,   http_handle_config},
    {"GET",  "/events",     HTTP_SAFE,   http_handle_events},
    {"GET",  "/ui",         HTTP_SAFE,   http_handle_page},
    {"GET",  "/failsafe",   HTTP_SAFE,   http_handle_failsafe},
    {"GET",  "/metrics",    HTTP_SAFE,   http_handle_metrics},
    {"PATCH", "/config",    HTTP_UNSAFE, http_handle_config_patch},
    {"PUT",  "/config",     HTTP_UNSAFE, http_handle_config_put},
    {"POST", "/reload",     HTTP_UNSAFE, http_handle_reload},
    {"POST", "/restart",    HTTP_UNSAFE, http_handle_restart},
    {"DELETE", "/restart",  HTTP_UNSAFE, http_handle_restart_delete},
    {"POST", "/reinitialize", HTTP_UNSAFE, http_handle_reinitialize},
    {"POST", "/switchover", HTTP_UNSAFE, http_handle_switchover},
    {"DELETE", "/switchover", HTTP_UNSAFE, http_handle_switchover_delete},
    {"POST", "/failover",   HTTP_UNSAFE, http_handle_failover},
    {"POST", "/failsafe",   HTTP_UNSAFE, http_handle_failsafe_post},
    {"POST", "/primary-is-dead", HTTP_UNSAFE, http_handle_primary_is_dead},
};
/* clang-format on */

static const struct http_route unknown = {"GET", "/unknown", HTTP_SAFE, http_handle_unavailable};

static bool is_get(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
           strcmp(method, "OPTIONS") == 0;
}

const char *http_path_of(const char *url)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (size_t i = 0; i < ARRAY_LENGTH(schemes); i++) {
        size_t n = strlen(schemes[i]);

        if (strncasecmp(url, schemes[i], n) == 0) {
            url += n + strcspn(url + n, "/");
            return *url != '\0' ? url : "/";
        }
    }
    return url;
}

const struct http_route *http_find_route(const char *method, const char *path)
{
    const char *wanted = is_get(method) ? "GET" : method;
    size_t length;

    path += strspn(path, "/");
    length = strcspn(path, "/");
    for (size_t i = 0; i < ARRAY_LENGTH(routes); i++) {
        const char *word = routes[i].path + 1;

        if (strlen(word) == length && memcmp(word, path, length) == 0 &&
            strcmp(routes[i].method, wanted) == 0) {
            return &routes[i];
        }
    }
    return is_get(method) ? &unknown : NULL;
}

const char *http_member_path(const char *path, char *member, size_t size)
{
    size_t length;

    if (!str_starts_with(path, VECHE_PATH_MEMBERS)) {
        return NULL;
    }
    path += strlen(VECHE_PATH_MEMBERS);
    length = strcspn(path, "/");
    if (length == 0 || length >= size || path[length] == '\0') {
        return NULL;
    }
    (void)str_copy(member, length + 1, path); /* Cut at the slash. */
    return path + length;
}

bool http_heeds_member(const struct http_route *route)
{
    static const char *const paths[] = {"/reload", "/restart", "/reinitialize"};

    for (size_t i = 0; i < ARRAY_LENGTH(paths); i++) {
        if (strcmp(route->path, paths[i]) == 0) {
            return true;
        }
    }
    return false;
}

void http_reply_text(struct http_reply *reply, unsigned code, const char *text)
{
    reply->code = code;
    reply->content_type = "text/plain; charset=utf-8";
    strbuf_add_text(&reply->body, text);
}
