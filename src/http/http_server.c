/*
 * libmicrohttpd between sockets and routes. Two daemons share the code: one on
 * restapi.listen, one on the unix socket. Each gives us an epoll descriptor
 * that the agent loop watches; nothing here blocks or has a thread.
 *
 * Limits: connections (in all, and of one address), time without progress, header
 * memory (MHD's pool), body size. A request that must wait for the cluster suspends
 * its connection.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/list.h"
#include "http/http.h"
#include "http/http_routes.h"

#define CONNECTIONS_MAX   512
#define PER_CLIENT_MAX    64 /* So that one address can not keep all others out. */
#define TIMEOUT_SECONDS   10
#define CONNECTION_MEMORY (32 * 1024)
#define BODY_MAX          (64 * 1024)
#define BACKLOG           128
#define AGAIN_MAX         200 /* Each time somebody else came first. */

struct server { /* One listening address. */
    struct http *http;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t timer;
    bool is_unix;
    bool opened;
};

struct http {
    struct http_options options;
    struct server tcp, local;
    char *unix_path;
    unsigned n_open; /* Handles libuv still holds. */
    bool closing;
    struct list actions; /* Suspended requests. */
    void (*close_cb)(void *data);
    void *close_data;
};

struct http_action {  /* A request from its first line to its end. */
    struct list node; /* In http.actions while suspended. */
    struct server *server;
    struct MHD_Connection *connection;
    struct strbuf body;
    bool too_large;
    bool suspended;
    unsigned n_again;
    bool answered; /* What is below is to be sent. */
    unsigned code;
    const char *type;
    struct strbuf text;
};

static void run(struct server *s);
static void on_timer(uv_timer_t *timer);

/* ---- Answers ---- */

static enum MHD_Result send_reply(struct MHD_Connection *c, unsigned code, const char *type,
                                  const char *age, const struct strbuf *body)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        body->length, body->data != NULL ? body->data : "", MHD_RESPMEM_MUST_COPY);
    enum MHD_Result rv;

    if (response == NULL) {
        return MHD_NO;
    }
    (void)MHD_add_response_header(response, "Content-Type", type); /* Only memory can fail. */
    (void)MHD_add_response_header(response, "Server", "Veche/" VECHE_VERSION);
    if (age != NULL) {
        (void)MHD_add_response_header(response, "X-Veche-Age-Ms", age);
    }
    rv = MHD_queue_response(c, code, response);
    MHD_destroy_response(response);
    return rv;
}

static enum MHD_Result send_text(struct MHD_Connection *c, unsigned code, const char *text)
{
    struct strbuf body = {0};
    enum MHD_Result rv;

    strbuf_add_text(&body, text);
    rv = send_reply(c, code, "text/plain; charset=utf-8", NULL, &body);
    strbuf_deinit(&body);
    return rv;
}

/* ---- Who asks ---- */

static void describe_client(const struct server *s, struct MHD_Connection *c, char *text,
                            size_t size)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

    (void)snprintf(text, size, "%s", s->is_unix ? "local" : "unknown");
    if (!s->is_unix && info != NULL && info->client_addr != NULL) {
        socklen_t length = info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                                    : sizeof(struct sockaddr_in);

        if (getnameinfo(info->client_addr, length, text, (socklen_t)size, NULL, 0,
                        NI_NUMERICHOST) != 0) {
            (void)snprintf(text, size, "unknown");
        }
    }
}

static bool is_loopback(const char *address)
{
    return str_starts_with(address, "127.") || str_starts_with(address, "::ffff:127.") ||
           str_equal(address, "::1");
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
    list_push_back(&h->actions, &a->node);
    MHD_suspend_connection(a->connection);
    h->options.hooks.on_request(h->options.hooks.data, a, &reply->command);
    return MHD_YES;
}

static enum MHD_Result handle(struct http_action *a, const struct http_route *route,
                              const char *method, const char *client)
{
    static struct http_reply reply; /* 256 KiB of command: not for the stack; loop only. */
    struct http *h = a->server->http;
    const struct http_hooks *hooks = &h->options.hooks;
    struct kv_list query = {0};
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
        .client = client,
        .hooks = hooks,
    };
    enum MHD_Result rv;
    char age[24];

    reply.code = 500;
    reply.has_age = false;
    reply.content_type = "text/plain; charset=utf-8";
    reply.body = (struct strbuf){0};
    reply.has_command = false;
    (void)MHD_get_connection_values(a->connection, MHD_GET_ARGUMENT_KIND, add_parameter, &query);
    route->handle(&request, &reply);
    kv_deinit(&query);
    if (reply.has_command) {
        rv = suspend(a, &reply);
    } else {
        if (strcmp(method, "OPTIONS") == 0) {
            strbuf_deinit(&reply.body); /* Status only, as load balancers expect. */
        }
        (void)snprintf(age, sizeof(age), "%" PRIu64, reply.age_ms);
        rv = send_reply(a->connection, reply.code, reply.content_type, reply.has_age ? age : NULL,
                        &reply.body);
    }
    strbuf_deinit(&reply.body);
    return rv;
}

static enum MHD_Result dispatch(struct http_action *a, const char *method, const char *path)
{
    char client[128];
    const struct http_route *route = http_find_route(method, path);

    if (a->too_large) {
        return send_text(a->connection, 413, "the body is larger than 64 KiB");
    }
    if (route == NULL) { /* By these words Patroni's client knows that something is missing. */
        return send_text(a->connection, 501, "Server does not support this operation");
    }
    describe_client(a->server, a->connection, client, sizeof(client));
    if (route->access == HTTP_UNSAFE && !a->server->is_unix && !is_loopback(client)) {
        return send_text(a->connection, 403,
                         "Access is denied: for now this is allowed from the node itself only "
                         "(loopback or the unix socket); run vechectl there");
    }
    return handle(a, route, method, client);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_size, void **state)
{
    struct server *s = cls;
    struct http_action *a = *state;
    enum MHD_Result rv;

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
        return send_reply(connection, a->code, a->type, NULL, &a->text);
    }
    if (*data_size > 0) {
        a->too_large = a->too_large || a->body.length + *data_size > BODY_MAX;
        if (!a->too_large) {
            strbuf_add(&a->body, data, *data_size);
        }
        *data_size = 0;
        return MHD_YES;
    }
    rv = dispatch(a, method, url);
    return rv;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct http_action *a = *state;

    (void)cls;
    (void)connection;
    (void)code;
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
    if (!s->http->closing) {
        uv_timer_start(&s->timer, on_timer, 0, 0);
    }
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

static void end_action(struct http_action *a, unsigned code, const char *type, const char *text)
{
    PRE(a->suspended && !a->answered);
    a->answered = true;
    a->code = code;
    a->type = type;
    strbuf_add_text(&a->text, text);
    resume(a);
}

void http_action_end(struct http_action *a, unsigned code, const char *text)
{
    end_action(a, code, "text/plain; charset=utf-8", text);
}

void http_action_end_json(struct http_action *a, const char *json)
{
    end_action(a, 200, "application/json", json);
}

/* ---- The loop ---- */

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

static void run(struct server *s)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;

    if (s->http->closing) {
        return;
    }
    (void)MHD_run(s->daemon); /* Fails only when not set up for this. */
    if (MHD_get_timeout(s->daemon, &timeout_ms) == MHD_YES) {
        uv_timer_start(&s->timer, on_timer, timeout_ms, 0);
    } else {
        uv_timer_stop(&s->timer);
    }
}

static void on_panic(void *cls, const char *file, unsigned line, const char *reason)
{
    (void)cls;
    (void)file;
    base_assert_failed("libmicrohttpd", reason != NULL ? reason : "?", "http_server.c", (int)line);
}

/* A path or parameter with %00 stays as it was sent: decoded it would be cut there,
 * and taken for a shorter one. */
static size_t unescape(void *cls, struct MHD_Connection *connection, char *text)
{
    (void)cls;
    (void)connection;
    return strstr(text, "%00") != NULL ? strlen(text) : MHD_http_unescape(text);
}

static int open_server(struct http *h, struct server *s, int fd, struct err *err)
{
    const union MHD_DaemonInfo *info;

    s->http = h;
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, s,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)(s->is_unix ? 0 : PER_CLIENT_MAX),
        MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)TIMEOUT_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_END);
    if (s->daemon == NULL) {
        (void)close(fd); /* Not taken over. */
        return err_set(err, "libmicrohttpd does not start");
    }
    info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    ASSERT(info != NULL);
    uv_poll_init(h->options.loop, &s->poll, info->epoll_fd);
    uv_timer_init(h->options.loop, &s->timer);
    s->poll.data = s;
    s->timer.data = s;
    s->opened = true;
    uv_poll_start(&s->poll, UV_READABLE, on_readable);
    return 0;
}

/* ---- Sockets ---- */

static int split_address(const char *text, char *host, size_t size, const char **ret_port)
{
    const char *colon = strrchr(text, ':');
    size_t length = colon != NULL ? (size_t)(colon - text) : 0;

    if (colon == NULL || length >= size) {
        return -1;
    }
    memcpy(host, text, length);
    host[length] = '\0';
    if (host[0] == '[' && length > 1 && host[length - 1] == ']') {
        memmove(host, host + 1, length - 2);
        host[length - 2] = '\0';
    }
    if (str_equal(host, "*")) {
        (void)str_copy(host, size, "0.0.0.0"); /* Fits: at least 256 bytes. */
    }
    *ret_port = colon + 1;
    return 0;
}

static int bind_and_listen(int fd, const struct addrinfo *ai)
{
    int one = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)); /* A convenience. */
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        return -errno;
    }
    return fd;
}

static int listen_tcp(const char *address, struct err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char host[256];
    const char *port;
    int fd;
    int rv;

    if (split_address(address, host, sizeof(host), &port) != 0) {
        return err_set(err, "restapi.listen: \"%s\" is not host:port", address);
    }
    rv = getaddrinfo(host, port, &hints, &found); /* Once, at the start: may wait for DNS. */
    if (rv != 0) {
        return err_set(err, "restapi.listen: cannot resolve \"%s\": %s", address, gai_strerror(rv));
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    rv = fd >= 0 ? bind_and_listen(fd, found) : -errno;
    freeaddrinfo(found);
    if (rv < 0) {
        if (fd >= 0) {
            (void)close(fd); /* The first error counts. */
        }
        (void)err_set_listen(err, -rv, address); /* Always -1. */
        return err_wrap(err, "restapi.listen");
    }
    return fd;
}

/* The socket lies in a directory of ours alone; only its owner and root get in. */
static int listen_unix(const char *path, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (!str_copy(address.sun_path, sizeof(address.sun_path), path)) {
        return err_set(err, "the path of the unix socket is too long (%zu bytes, at most %zu): %s",
                       strlen(path), sizeof(address.sun_path) - 1, path);
    }
    (void)unlink(path); /* Of an agent that was killed; the Raft directory's lock is held. */
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot make a unix socket");
    }
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, BACKLOG) != 0) {
        int saved = errno;

        (void)close(fd); /* The first error counts. */
        return err_set_errno(err, saved, "cannot listen on the unix socket %s", path);
    }
    return fd;
}

/* ---- Start and end ---- */

static int open_all(struct http *h, struct err *err)
{
    int fd = listen_tcp(h->options.listen, err);

    if (fd < 0 || open_server(h, &h->tcp, fd, err) != 0) {
        return -1;
    }
    if (h->options.unix_socket == NULL) {
        return 0;
    }
    h->unix_path = xstrdup(h->options.unix_socket);
    h->options.unix_socket = h->unix_path;
    h->local.is_unix = true;
    fd = listen_unix(h->unix_path, err);
    return fd < 0 ? -1 : open_server(h, &h->local, fd, err);
}

struct http *http_new(const struct http_options *options, struct err *err)
{
    struct http *h = xmalloc(sizeof(*h));

    MHD_set_panic_func(on_panic, NULL);
    h->options = *options;
    list_init(&h->actions);
    if (open_all(h, err) != 0) {
        if (h->tcp.opened) {
            /* Ends with the process: the caller cannot go on. */
            return NULL;
        }
        free(h->unix_path);
        free(h);
        return NULL;
    }
    return h;
}

static void on_closed(uv_handle_t *handle)
{
    struct http *h = ((struct server *)handle->data)->http;

    h->n_open--;
    if (h->n_open == 0) {
        void (*cb)(void *data) = h->close_cb;
        void *data = h->close_data;

        free(h->unix_path);
        free(h);
        cb(data);
    }
}

static void close_server(struct http *h, struct server *s)
{
    if (s->opened) {
        h->n_open += 2;
        uv_poll_stop(&s->poll);
        MHD_stop_daemon(s->daemon); /* Closes connections and the listening socket. */
        uv_close((uv_handle_t *)&s->poll, on_closed);
        uv_close((uv_handle_t *)&s->timer, on_closed);
    }
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
    close_server(h, &h->tcp);
    close_server(h, &h->local);
    if (h->unix_path != NULL) {
        (void)unlink(h->unix_path); /* A convenience: the next start removes it, too. */
    }
}
