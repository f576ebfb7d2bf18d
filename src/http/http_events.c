/*
 * Streams of events, see http_events.h. One that has nothing to send is suspended: MHD would
 * ask it for more all the time. What a client does not fetch is kept up to a bound; then, or when
 * its socket makes no progress for as long as any other may not, it is let go.
 */
#include "http/http_events.h"

#include <sys/socket.h>

#include <jansson.h>

#include "base/clock.h"

#define STREAMS_MAX    32
#define OTHERS_MAX     24 /* Of other machines: they never keep this one out, */
#define OF_ADDRESS_MAX 8  /* nor one address all others. */
#define UNSENT_MAX     (256 * 1024)
#define BLOCK_SIZE     4096
#define COMMENT_MS     15000

struct stream {
    struct list node; /* In http.streams. */
    struct server *server;
    struct MHD_Connection *connection;
    struct sockaddr_storage address;
    bool is_own; /* Of this machine. */
    struct strbuf pending;
    size_t n_sent; /* Of pending. */
    bool suspended;
    bool ends; /* After what is pending. */
};

/* What counts as a change: all but positions and times. */
static char *digest_of(const char *cluster)
{
    static const char *const moving[] = {"lag",         "lsn",        "receive_lag",
                                         "receive_lsn", "replay_lag", "replay_lsn"};
    json_t *o = json_loads(cluster, 0, NULL);
    json_t *members = json_object_get(o, "members");
    json_t *veche = json_object_get(o, "veche");
    char *text;

    ASSERT(o != NULL); /* It is our own. */
    for (size_t i = 0; i < json_array_size(members); i++) {
        for (size_t k = 0; k < ARRAY_LENGTH(moving); k++) {
            (void)json_object_del(json_array_get(members, i), moving[k]); /* It may be absent. */
        }
    }
    (void)json_object_del(veche, "dcs_last_seen");
    text = json_dumps(o, 0);
    ASSERT(text != NULL);
    json_decref(o);
    return text;
}

static void resume(struct stream *s)
{
    if (s->suspended) {
        s->suspended = false;
        MHD_resume_connection(s->connection);
        http_daemon_wake(s->server);
    }
}

/* Who is always a little behind would else keep all that was ever sent. */
static void drop_sent(struct stream *s)
{
    if (s->n_sent > 0) {
        s->pending.length -= s->n_sent;
        memmove(s->pending.data, s->pending.data + s->n_sent, s->pending.length);
        s->n_sent = 0;
    }
}

static void send_text(struct stream *s, const char *text, size_t length)
{
    drop_sent(s);
    if (s->pending.length + length > UNSENT_MAX) {
        s->ends = true;
        http_daemon_begin(s->connection, false); /* Its last turn to read. */
    } else if (!s->ends) {
        strbuf_add(&s->pending, text, length);
    }
    resume(s);
}

static ssize_t read_stream(void *cls, uint64_t position, char *buffer, size_t size)
{
    struct stream *s = cls;
    size_t n = MIN(size, s->pending.length - s->n_sent);

    (void)position;
    if (n > 0) {
        memcpy(buffer, s->pending.data + s->n_sent, n);
        s->n_sent += n;
        return (ssize_t)n;
    }
    if (s->ends) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    s->suspended = true;
    MHD_suspend_connection(s->connection);
    return 0;
}

static void free_stream(void *cls)
{
    struct stream *s = cls;

    list_remove(&s->node);
    strbuf_deinit(&s->pending);
    free(s);
}

static bool is_gone(const struct stream *s)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(s->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    char byte;

    return info != NULL && recv(info->connect_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* MHD does not look at those that are suspended. Returns how many are left. */
static unsigned drop_gone(struct http *h)
{
    unsigned n = 0;

    LIST_FOREACH (at, &h->streams) {
        struct stream *s = CONTAINER_OF(at, struct stream, node);

        if (s->suspended && is_gone(s)) {
            s->ends = true;
            resume(s);
        }
        n += s->ends ? 0 : 1;
    }
    return n;
}

const char *http_events_refuse(struct http *h, const struct http_client *client)
{
    const struct sockaddr *address = (const struct sockaddr *)&client->address;
    bool is_own = http_access_is_own(client);
    unsigned n = drop_gone(h);
    unsigned n_others = 0;
    unsigned n_of_address = 0;

    for (const struct list *at = h->streams.next; at != &h->streams; at = at->next) {
        const struct stream *s = CONTAINER_OF(at, struct stream, node);
        bool counts = !s->ends && !s->is_own;

        n_others += counts ? 1 : 0;
        n_of_address +=
            counts && http_same_host((const struct sockaddr *)&s->address, address) ? 1 : 0;
    }
    if (n >= STREAMS_MAX || (!is_own && n_others >= OTHERS_MAX)) {
        return "too many listen already";
    }
    return !is_own && n_of_address >= OF_ADDRESS_MAX ? "too many of your address listen already"
                                                     : NULL;
}

/* Returns the event, to be freed by strbuf_deinit(). */
static struct strbuf event_of(struct http *h, const char *cluster)
{
    struct strbuf event = {0};

    strbuf_printf(&event, "id: %llu\nevent: cluster\ndata: %s\n\n", (unsigned long long)h->n_events,
                  cluster);
    return event;
}

static void cluster_now(struct http *h, struct http_reply *reply)
{
    const struct http_hooks *hooks = &h->options.hooks;
    const struct http_request request = {.view = hooks->view(hooks->data),
                                         .stats = hooks->stats(hooks->data)};

    http_handle_cluster(&request, reply);
}

void http_events_look(struct http *h)
{
    static struct http_reply reply; /* 256 KiB of command: not for the stack; loop only. */
    uint64_t now_ms = clock_ms();
    struct strbuf event = {0};
    char *digest;

    if (list_is_empty(&h->streams)) {
        return;
    }
    reply.body = (struct strbuf){0};
    cluster_now(h, &reply);
    digest = digest_of(reply.body.data);
    if (!str_equal(digest, h->digest)) {
        free(h->digest);
        h->digest = digest;
        h->n_events++;
        h->told_ms = now_ms;
        event = event_of(h, reply.body.data);
    } else {
        free(digest);
        if (now_ms >= h->told_ms + COMMENT_MS && drop_gone(h) > 0) {
            h->told_ms = now_ms;
            strbuf_add_text(&event, ":\n\n");
        }
    }
    LIST_FOREACH (at, &h->streams) {
        if (event.length > 0) {
            send_text(CONTAINER_OF(at, struct stream, node), event.data, event.length);
        }
    }
    strbuf_deinit(&event);
    strbuf_deinit(&reply.body);
}

static struct MHD_Response *response_of(struct stream *s)
{
    struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_SIZE,
                                                               read_stream, s, free_stream);

    if (r != NULL) {
        (void)MHD_add_response_header(r, "Content-Type", "text/event-stream"); /* Only memory */
        (void)MHD_add_response_header(r, "Cache-Control", "no-cache");         /* can fail. */
        http_add_headers(s->server, r);
    }
    return r;
}

enum MHD_Result http_events_begin(struct http *h, struct server *server, struct MHD_Connection *c,
                                  const struct http_client *client)
{
    static struct http_reply reply; /* As above. */
    struct stream *s;
    struct MHD_Response *response;
    struct strbuf event;
    enum MHD_Result rv;

    s = xmalloc(sizeof(*s));
    s->server = server;
    s->connection = c;
    s->address = client->address;
    s->is_own = http_access_is_own(client);
    reply.body = (struct strbuf){0};
    cluster_now(h, &reply);
    if (list_is_empty(&h->streams)) { /* Nobody looked meanwhile. */
        free(h->digest);
        h->digest = digest_of(reply.body.data);
        h->n_events++;
    }
    event = event_of(h, reply.body.data);
    strbuf_deinit(&reply.body);
    list_push_back(&h->streams, &s->node);
    send_text(s, event.data, event.length);
    strbuf_deinit(&event);
    response = response_of(s);
    if (response == NULL) {
        free_stream(s);
        return MHD_NO;
    }
    http_daemon_begin(c, true);
    rv = MHD_queue_response(c, 200, response);
    MHD_destroy_response(response); /* With the connection, it frees the stream. */
    return rv;
}

void http_events_end(struct http *h, const struct server *server)
{
    LIST_FOREACH (at, &h->streams) {
        struct stream *s = CONTAINER_OF(at, struct stream, node);

        if (server == NULL || s->server == server) {
            s->ends = true;
            resume(s);
        }
    }
}
