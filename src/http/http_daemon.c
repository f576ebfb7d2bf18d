/*
 * One daemon of libmicrohttpd on the agent loop: it gives us an epoll descriptor that
 * the loop watches; nothing here blocks or has a thread.
 *
 * Limits: connections (in all, and of one address), time without progress, time for a
 * request and for reading its answer, header memory (MHD's pool); the body's size is the
 * server's business.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#include "http/http_server.h"

#define CONNECTIONS_MAX   512
#define PER_CLIENT_MAX    64 /* So that one address can not keep all others out. */
#define TIMEOUT_SECONDS   10
#define TURN_MS           30000 /* A byte now and then is progress, too. */
#define CONNECTION_MEMORY (32 * 1024)
#define OPTIONS_MAX       8

static void on_timer(uv_timer_t *timer);

static unsigned n_connections(const struct server *s)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

    return info != NULL ? info->num_connections : 0;
}

/* With all places taken MHD does not look at the listening socket, and only the run after the
 * one in which a place became free looks at it again: nothing else might ever cause that run. */
static void run(struct server *s)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    bool was_full;

    if (s->http->closing || s->daemon == NULL) {
        return;
    }
    s->is_woken = false;
    was_full = n_connections(s) >= CONNECTIONS_MAX;
    (void)MHD_run(s->daemon); /* Fails only when not set up for this. */
    if (was_full && n_connections(s) < CONNECTIONS_MAX) {
        (void)MHD_run(s->daemon);
    }
    if (s->is_woken) { /* Of that MHD tells no timeout. */
        uv_timer_start(&s->timer, on_timer, 0, 0);
    } else if (MHD_get_timeout(s->daemon, &timeout_ms) == MHD_YES) {
        uv_timer_start(&s->timer, on_timer, timeout_ms, 0);
    } else {
        uv_timer_stop(&s->timer);
    }
}

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

void http_daemon_wake(struct server *s)
{
    if (!s->http->closing && s->daemon != NULL) {
        s->is_woken = true;
        uv_timer_start(&s->timer, on_timer, 0, 0);
    }
}

/* A path or parameter with %00 stays as it was sent: decoded it would be cut there,
 * and taken for a shorter one. */
static size_t unescape(void *cls, struct MHD_Connection *connection, char *text)
{
    (void)cls;
    (void)connection;
    return strstr(text, "%00") != NULL ? strlen(text) : MHD_http_unescape(text);
}

/* What libmicrohttpd is told of certificates; it reads them at once. */
static void fill_tls(const struct http_setup *s, struct MHD_OptionItem options[OPTIONS_MAX])
{
    size_t n = 0;

    if (s->cert != NULL) {
        options[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, s->cert};
        options[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, s->key};
        options[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, s->priorities};
        if (s->key_password != NULL) {
            options[n++] =
                (struct MHD_OptionItem){MHD_OPTION_HTTPS_KEY_PASSWORD, 0, s->key_password};
        }
        if (s->ca != NULL) {
            options[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0, s->ca};
        }
    }
    options[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
}

static struct place *place_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info != NULL ? info->socket_context : NULL;
}

void http_daemon_begin(struct MHD_Connection *connection, bool may_last)
{
    struct place *p = place_of(connection);

    if (p != NULL) {
        p->since_ms = clock_ms();
        p->may_last = may_last;
    }
}

/* In the handshake, also of who has shown none. The other side learns why. */
static int verify_client(gnutls_session_t session)
{
    gnutls_alert_description_t why = GNUTLS_A_BAD_CERTIFICATE;
    unsigned n = 0;

    if (http_has_certificate(session)) {
        return 0;
    }
    if (gnutls_certificate_get_peers(session, &n) == NULL || n == 0) {
        why = GNUTLS_A_CERTIFICATE_REQUIRED;
    }
    (void)gnutls_alert_send(session, GNUTLS_AL_FATAL, why); /* It ends here in any case. */
    return GNUTLS_E_CERTIFICATE_ERROR;
}

/* MHD asks for one and takes what comes. It tells us of a connection when its session is made and
 * nothing was said yet. */
static void demand_certificate(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);

    if (info != NULL && info->tls_session != NULL) {
        gnutls_session_set_verify_function(info->tls_session, verify_client);
    }
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct server *s = cls;
    struct place *p = *context;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        p = xmalloc(sizeof(*p));
        p->connection = connection;
        p->since_ms = clock_ms();
        p->may_last = false;
        list_push_back(&s->places, &p->node);
        *context = p;
        if (s->needs_certificate) {
            demand_certificate(connection);
        }
    } else if (p != NULL) {
        list_remove(&p->node);
        free(p);
        *context = NULL;
    }
}

/* MHD learns of it as of any other end. */
static void end_slow(const struct server *s, uint64_t now_ms)
{
    for (const struct list *at = s->places.next; at != &s->places; at = at->next) {
        const struct place *p = CONTAINER_OF(at, struct place, node);
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(p->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

        if (!p->may_last && now_ms >= p->since_ms + TURN_MS && info != NULL) {
            (void)shutdown(info->connect_fd, SHUT_RDWR); /* Fails if it has ended already. */
        }
    }
}

static void watch(struct server *s)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);

    ASSERT(info != NULL);
    uv_poll_init(s->http->options.loop, &s->poll, info->epoll_fd);
    uv_timer_init(s->http->options.loop, &s->timer);
    s->n_handles = 2;
    s->poll.data = s;
    s->timer.data = s;
    uv_poll_start(&s->poll, UV_READABLE, on_readable);
}

struct server *http_daemon_open(struct http *h, const struct http_setup *setup, int fd,
                                bool is_unix, struct err *err)
{
    struct server *s = xmalloc(sizeof(*s));
    struct MHD_OptionItem tls[OPTIONS_MAX] = {{MHD_OPTION_END, 0, NULL}};

    s->http = h;
    s->is_unix = is_unix;
    list_init(&s->places);
    s->has_tls = !is_unix && setup->cert != NULL;
    s->needs_certificate = s->has_tls && setup->verify == HTTP_VERIFY_REQUIRED;
    if (s->has_tls) {
        fill_tls(setup, tls);
    }
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (s->has_tls ? (unsigned)MHD_USE_TLS : 0U), 0,
        NULL, NULL, http_on_request, s, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)(is_unix ? 0 : PER_CLIENT_MAX), MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_COMPLETED,
        http_on_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_ARRAY, tls,
        MHD_OPTION_END);
    if (s->daemon == NULL) {
        (void)close(fd); /* Not taken over. */
        free(s);
        (void)err_set(err, "libmicrohttpd does not start%s",
                      setup->cert != NULL ? ", perhaps for restapi.certfile" : ""); /* Always -1. */
        return NULL;
    }
    watch(s);
    h->n_open++;
    list_push_back(&h->servers, &s->node);
    return s;
}

static void on_closed(uv_handle_t *handle)
{
    struct server *s = handle->data;
    struct http *h = s->http;

    s->n_handles--;
    if (s->n_handles == 0) {
        free(s);
        http_on_daemon_closed(h);
    }
}

void http_daemon_stop(struct server *s)
{
    struct MHD_Daemon *daemon = s->daemon;

    list_remove(&s->node);
    s->daemon = NULL;
    uv_poll_stop(&s->poll);
    MHD_stop_daemon(daemon); /* Closes connections, and the listening socket if it has one. */
    uv_close((uv_handle_t *)&s->poll, on_closed);
    uv_close((uv_handle_t *)&s->timer, on_closed);
}

void http_daemon_retire(struct server *s, uint64_t leaves_ms)
{
    int fd = MHD_quiesce_daemon(s->daemon);

    if (fd >= 0) {
        (void)close(fd); /* Another descriptor of the same socket goes on listening. */
    }
    s->leaves_ms = leaves_ms;
}

static bool has_suspended(const struct server *s)
{
    const struct list *all = &s->http->actions;
    bool found = false;

    for (const struct list *at = all->next; at != all; at = at->next) {
        found = found || CONTAINER_OF(at, struct http_action, node)->server == s;
    }
    return found;
}

void http_daemon_look(struct server *s, uint64_t now_ms)
{
    end_slow(s, now_ms);
    if (s->leaves_ms != 0 && (n_connections(s) == 0 || now_ms >= s->leaves_ms) &&
        !has_suspended(s)) {
        http_daemon_stop(s);
    }
}
