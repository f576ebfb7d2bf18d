/*
 * The server between libmicrohttpd and the routes: who asks, what, and may they; answers, and
 * requests that must wait for the cluster, which suspend their connection; other certificates
 * while it runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <inttypes.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/http.h"
#include "http/http_events.h"
#include "http/http_listen.h"
#include "http/http_names.h"
#include "http/http_server.h"
#include "veche/api.h"

#define BODY_MAX  (64 * 1024)
#define AGAIN_MAX 200 /* Each time somebody else came first. */
#define LOOK_MS   1000
#define RETIRE_MS 30000 /* Longer than the time without progress that a connection has. */

/* ---- Answers ---- */

void http_add_headers(const struct server *s, struct MHD_Response *response)
{
    const struct http_setup *setup = s->http->setup;

    for (size_t i = 0; i < setup->headers.n; i++) {
        (void)MHD_add_response_header(response, setup->headers.items[i].key,
                                      setup->headers.items[i].value);
    }
    (void)MHD_add_response_header(response, "Server", setup->server);
    if (s->leaves_ms != 0) { /* The next request gets the new certificate. */
        (void)MHD_add_response_header(response, "Connection", "close");
    }
}

static enum MHD_Result send_reply(const struct http_action *a, unsigned code, const char *type,
                                  const char *age, const struct strbuf *body)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        body->length, body->data != NULL ? body->data : "", MHD_RESPMEM_MUST_COPY);
    enum MHD_Result rv;

    if (response == NULL) {
        return MHD_NO;
    }
    (void)MHD_add_response_header(response, "Content-Type", type); /* Only memory can fail. */
    http_add_headers(a->server, response);
    if (age != NULL) {
        (void)MHD_add_response_header(response, "X-Veche-Age-Ms", age);
    }
    if (a->member[0] != '\0') {
        (void)MHD_add_response_header(response, VECHE_HEADER_MEMBER, a->member);
    }
    if (a->etag[0] != '\0') {
        (void)MHD_add_response_header(response, "ETag", a->etag);
    }
    if (code == 401) {
        (void)MHD_add_response_header(response, "WWW-Authenticate", "Basic realm=\"Patroni\"");
    }
    http_daemon_begin(a->connection, false);
    rv = MHD_queue_response(a->connection, code, response);
    MHD_destroy_response(response);
    return rv;
}

static enum MHD_Result send_text(const struct http_action *a, unsigned code, const char *text)
{
    struct strbuf body = {0};
    enum MHD_Result rv;

    strbuf_add_text(&body, text);
    rv = send_reply(a, code, "text/plain; charset=utf-8", NULL, &body);
    strbuf_deinit(&body);
    return rv;
}

/* ---- Who asks ---- */

bool http_has_certificate(gnutls_session_t session)
{
    char purpose[] = GNUTLS_KP_TLS_WWW_CLIENT;
    gnutls_typed_vdata_st data = {.type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (void *)purpose};
    unsigned problems = 0;
    unsigned n = 0;

    return gnutls_certificate_get_peers(session, &n) != NULL && n > 0 &&
           gnutls_certificate_verify_peers(session, &data, 1, &problems) == 0 && problems == 0;
}

static bool has_certificate(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);

    return info != NULL && info->tls_session != NULL && http_has_certificate(info->tls_session);
}

static void fill_client(const struct http_action *a, struct http_client *client)
{
    struct MHD_Connection *c = a->connection;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

    *client = (struct http_client){
        .is_local = a->server->is_unix,
        .has_tls = a->server->has_tls,
        .authorization = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization"),
    };
    client->has_certificate =
        client->has_tls && a->server->http->setup->verify != HTTP_VERIFY_NONE && has_certificate(c);
    if (!client->is_local && info != NULL && info->client_addr != NULL) {
        memcpy(&client->address, info->client_addr,
               info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                        : sizeof(struct sockaddr_in));
    }
}

/* For the ledger. */
static void describe_client(const struct http_client *client, char *text, size_t size)
{
    socklen_t length = client->address.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                             : sizeof(struct sockaddr_in);

    (void)snprintf(text, size, "%s", client->is_local ? "local" : "unknown");
    if (client->address.ss_family != 0 &&
        getnameinfo((const struct sockaddr *)&client->address, length, text, (socklen_t)size, NULL,
                    0, NI_NUMERICHOST) != 0) {
        (void)snprintf(text, size, "unknown");
    }
}

/* ---- One request ---- */

static enum MHD_Result add_parameter(void *data, enum MHD_ValueKind kind, const char *key,
                                     const char *value)
{
    (void)kind;
    kv_add(data, key, value);
    return MHD_YES;
}

static enum MHD_Result suspend(struct http_action *a, const struct http_reply *reply)
{
    struct http *h = a->server->http;

    a->suspended = true;
    a->is_first = reply->is_first;
    http_daemon_begin(a->connection, true); /* How long it waits the agent bounds. */
    list_push_back(&h->actions, &a->node);
    MHD_suspend_connection(a->connection);
    if (reply->wants_reload) {
        h->options.hooks.on_reload(h->options.hooks.data, a,
                                   a->member[0] != '\0' ? a->member : NULL);
    } else {
        h->options.hooks.on_request(h->options.hooks.data, a, &reply->command);
    }
    return MHD_YES;
}

static enum MHD_Result begin_events(struct http_action *a, const struct http_client *client)
{
    struct http *h = a->server->http;
    const char *why = http_events_refuse(h, client);

    return why != NULL ? send_text(a, 503, why)
                       : http_events_begin(h, a->server, a->connection, client);
}

static enum MHD_Result handle(struct http_action *a, const struct http_route *route,
                              const char *method, const struct http_client *client)
{
    static struct http_reply reply; /* 256 KiB of command: not for the stack; loop only. */
    struct http *h = a->server->http;
    const struct http_hooks *hooks = &h->options.hooks;
    struct kv_list query = {0};
    char who[128];
    struct http_request request = {
        .method = method,
        .path = route->path,
        .now_ms = clock_ms(),
        .view = hooks->view(hooks->data),
        .decision = hooks->decision(hooks->data),
        .config = hooks->config(hooks->data),
        .stats = hooks->stats(hooks->data),
        .query = &query,
        .body = a->body.data != NULL ? a->body.data : "",
        .may_set_commands = h->setup->allow_commands || http_access_is_own(client),
        .client = who,
        .member = a->member[0] != '\0' ? a->member : NULL,
        .if_match = MHD_lookup_connection_value(a->connection, MHD_HEADER_KIND, "If-Match"),
        .is_again = a->n_again > 0,
        .hooks = hooks,
    };
    enum MHD_Result rv;
    char age[24];

    describe_client(client, who, sizeof(who));
    reply.code = 500;
    reply.has_age = false;
    reply.content_type = "text/plain; charset=utf-8";
    reply.body = (struct strbuf){0};
    reply.has_command = false;
    reply.is_first = false;
    reply.wants_reload = false;
    reply.wants_events = false;
    reply.etag[0] = '\0';
    (void)MHD_get_connection_values(a->connection, MHD_GET_ARGUMENT_KIND, add_parameter, &query);
    route->handle(&request, &reply);
    kv_deinit(&query);
    (void)str_copy(a->etag, sizeof(a->etag), reply.etag); /* Same size. */
    if (reply.wants_events && strcmp(method, "GET") == 0) {
        rv = begin_events(a, client);
    } else if (reply.has_command || reply.wants_reload) {
        rv = suspend(a, &reply);
    } else {
        if (strcmp(method, "OPTIONS") == 0) {
            strbuf_deinit(&reply.body); /* Status only, as load balancers expect. */
        }
        (void)snprintf(age, sizeof(age), "%" PRIu64, reply.age_ms);
        rv = send_reply(a, reply.code, reply.content_type, reply.has_age ? age : NULL, &reply.body);
    }
    strbuf_deinit(&reply.body);
    return rv;
}

/* Also of a path that names another member; what is not for others is then not supported. */
static const struct http_route *find_route(struct http_action *a, const char *method,
                                           const char *path)
{
    const char *of_member = http_member_path(path, a->member, sizeof(a->member));
    const struct http_route *route = http_find_route(method, of_member != NULL ? of_member : path);

    if (of_member != NULL && (route == NULL || !http_heeds_member(route))) {
        a->member[0] = '\0';
        return http_find_route(method, path); /* Nobody knows "members". */
    }
    return route;
}

static enum MHD_Result dispatch(struct http_action *a, const char *method, const char *path)
{
    const struct http *h = a->server->http;
    const struct http_route *route = find_route(a, method, path);
    struct http_client client;
    struct http_refusal refusal;

    if (a->too_large) {
        return send_text(a, 413, "the body is larger than 64 KiB");
    }
    if (route == NULL) { /* By these words Patroni's client knows that something is missing. */
        return send_text(a, 501, "Server does not support this operation");
    }
    fill_client(a, &client);
    refusal = http_access_check(h->setup, h->options.hooks.view(h->options.hooks.data)->store,
                                h->names, &client, route->access == HTTP_UNSAFE);
    if (refusal.code != 0) {
        return send_text(a, refusal.code, refusal.text);
    }
    if (route->access == HTTP_UNSAFE && a->body.length > 0 &&
        memchr(a->body.data, 0, a->body.length) != NULL) { /* What follows would not be read. */
        return send_text(a, 400, "The body has a byte of zero: send JSON in UTF-8");
    }
    return handle(a, route, method, &client);
}

enum MHD_Result http_on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *data_size, void **state)
{
    struct server *s = cls;
    struct http_action *a = *state;

    (void)version;
    if (a == NULL) { /* Headers only, yet. */
        a = xmalloc(sizeof(*a));
        a->server = s;
        a->connection = connection;
        list_init(&a->node);
        *state = a;
        return MHD_YES;
    }
    if (a->answered) { /* Resumed. */
        return send_reply(a, a->code, a->type, NULL, &a->text);
    }
    if (*data_size > 0) {
        a->too_large = a->too_large || a->body.length + *data_size > BODY_MAX;
        if (!a->too_large) {
            strbuf_add(&a->body, data, *data_size);
        }
        *data_size = 0;
        return MHD_YES;
    }
    return dispatch(a, method, http_path_of(url));
}

void http_on_completed(void *cls, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode code)
{
    struct http_action *a = *state;

    (void)cls;
    (void)code;
    http_daemon_begin(connection, false);
    if (a != NULL) {
        list_remove(&a->node);
        strbuf_deinit(&a->body);
        strbuf_deinit(&a->text);
        free(a);
        *state = NULL;
    }
}

static void resume(struct http_action *a)
{
    struct server *s = a->server;

    a->suspended = false;
    list_remove(&a->node);
    MHD_resume_connection(a->connection);
    http_daemon_wake(s);
}

bool http_action_again(struct http_action *a)
{
    PRE(a->suspended && !a->answered);
    if (a->n_again == AGAIN_MAX) {
        return false;
    }
    a->n_again++;
    resume(a); /* on_request() is called, and finds no answer. */
    return true;
}

/* With what its text has by now. */
static void end_action(struct http_action *a, unsigned code, const char *type)
{
    PRE(a->suspended && !a->answered);
    a->answered = true;
    a->code = code;
    a->type = type;
    resume(a);
}

void http_action_end(struct http_action *a, unsigned code, const char *text)
{
    if (a->is_first && code == 200 && http_action_again(a)) {
        return;
    }
    strbuf_add_text(&a->text, text);
    end_action(a, code, "text/plain; charset=utf-8");
}

void http_action_end_json(struct http_action *a, const char *json)
{
    http_add_json(&a->text, json);
    end_action(a, 200, "application/json");
}

/* ---- Start, change and end ---- */

static void on_panic(void *cls, const char *file, unsigned line, const char *reason)
{
    (void)cls;
    (void)file;
    base_assert_failed("libmicrohttpd", reason != NULL ? reason : "?", "http_server.c", (int)line);
}

/* Those of the allowlist, and of the members if they count. */
static void look_names_up(struct http *h, uint64_t now_ms)
{
    const struct store *store = h->options.hooks.view(h->options.hooks.data)->store;
    struct kv_list wanted = {0};
    struct http_net net;
    char host[HOST_SIZE];

    kv_copy(&wanted, &h->setup->names);
    for (uint32_t i = 0; h->setup->include_members && store != NULL && i < store->n_members; i++) {
        if (http_url_host(store->members[i].api_url, host, sizeof(host)) &&
            !http_net_parse(host, &net)) {
            kv_set(&wanted, host, NULL);
        }
    }
    http_names_want(h->names, &wanted, now_ms);
    kv_deinit(&wanted);
}

static void on_look(uv_timer_t *timer)
{
    struct http *h = timer->data;
    uint64_t now_ms = clock_ms();

    for (struct list *at = h->servers.next; at != &h->servers;) {
        struct server *s = CONTAINER_OF(at, struct server, node);

        at = at->next; /* It may go. */
        http_daemon_look(s, now_ms);
    }
    look_names_up(h, now_ms);
}

static int open_all(struct http *h, struct err *err)
{
    int fd = http_listen_tcp(h->options.listen, h->options.backlog, err);

    h->tcp = fd >= 0 ? http_daemon_open(h, h->setup, fd, false, err) : NULL;
    if (h->tcp == NULL) {
        return -1;
    }
    if (h->options.unix_socket == NULL) {
        return 0;
    }
    h->unix_path = xstrdup(h->options.unix_socket);
    h->options.unix_socket = h->unix_path;
    fd = http_listen_unix(h->unix_path, err);
    return fd >= 0 && http_daemon_open(h, h->setup, fd, true, err) != NULL ? 0 : -1;
}

struct http *http_new(const struct http_options *options, struct err *err)
{
    struct http *h = xmalloc(sizeof(*h));

    MHD_set_panic_func(on_panic, NULL);
    h->options = *options;
    h->setup = options->setup;
    list_init(&h->actions);
    list_init(&h->servers);
    list_init(&h->streams);
    if (open_all(h, err) != 0) {
        if (h->tcp == NULL) {
            free(h);
        } /* Else it ends with the process: the caller cannot go on. */
        return NULL;
    }
    h->names = http_names_new(options->loop);
    uv_timer_init(options->loop, &h->timer);
    h->timer.data = h;
    h->n_open += 2;
    uv_timer_start(&h->timer, on_look, 1, LOOK_MS);
    return h;
}

/* Its successor listens on the same socket, so that no connection is refused meanwhile. */
static int replace_server(struct http *h, const struct http_setup *setup, struct err *err)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(h->tcp->daemon, MHD_DAEMON_INFO_LISTEN_FD);
    int fd = info != NULL ? fcntl(info->listen_fd, F_DUPFD_CLOEXEC, 0) : -1;
    struct server *server = fd >= 0 ? http_daemon_open(h, setup, fd, false, err) : NULL;

    if (fd < 0) {
        return err_set_errno(err, errno, "restapi.listen");
    }
    if (server == NULL) {
        return -1;
    }
    http_events_end(h, h->tcp);
    http_daemon_retire(h->tcp, clock_ms() + RETIRE_MS);
    h->tcp = server;
    return 0;
}

int http_configure(struct http *h, struct http_setup *setup, struct err *err)
{
    if (!http_setup_same_tls(h->setup, setup)) {
        if (replace_server(h, setup, err) != 0) {
            return -1;
        }
        log_info("REST: new connections get another certificate, or other rules of TLS. tls=%s",
                 setup->cert != NULL ? "on" : "off");
    }
    http_setup_free(h->setup);
    h->setup = setup;
    look_names_up(h, clock_ms());
    return 0;
}

void http_on_tick(struct http *h)
{
    http_events_look(h);
}

void http_on_daemon_closed(struct http *h)
{
    h->n_open--;
    if (h->n_open == 0) {
        void (*cb)(void *data) = h->close_cb;
        void *data = h->close_data;

        http_setup_free(h->setup);
        free(h->unix_path);
        free(h->digest);
        free(h);
        cb(data);
    }
}

static void on_names_closed(void *data)
{
    http_on_daemon_closed(data);
}

static void on_timer_closed(uv_handle_t *handle)
{
    http_on_daemon_closed(handle->data);
}

void http_close(struct http *h, void (*cb)(void *data), void *data)
{
    h->closing = true;
    h->close_cb = cb;
    h->close_data = data;
    while (!list_is_empty(&h->actions)) { /* MHD must not be stopped with suspended ones. */
        http_action_end(CONTAINER_OF(h->actions.next, struct http_action, node), 503,
                        "The agent stops; the outcome is unknown");
    }
    http_events_end(h, NULL);
    while (!list_is_empty(&h->servers)) {
        http_daemon_stop(CONTAINER_OF(h->servers.next, struct server, node));
    }
    http_names_close(h->names, on_names_closed, h);
    uv_close((uv_handle_t *)&h->timer, on_timer_closed);
    if (h->unix_path != NULL) {
        (void)unlink(h->unix_path); /* A convenience: the next start removes it, too. */
    }
}
