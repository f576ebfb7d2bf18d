/*
 * libraft's transport: it gets socketpair ends whose other ends the agent's
 * peer module fills with frames that are authenticated and checked. Who is at
 * the other end is what peer/ says, never what a message says.
 *
 * Raft addresses are "n:<id>" and never change; where a node is reached is the
 * agent's to find out.
 */
#include "consensus/consensus_thread.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"

#define CONNECT_WAIT_MS 10000

struct pending_connect {
    struct list node; /* In thread.connects. */
    uint64_t number;
    uint64_t since_ms;
    struct raft_uv_connect *req;
    raft_uv_connect_cb cb;
};

void raft_address(node_id id, char *text, size_t size)
{
    PRE(size >= RAFT_ADDRESS_SIZE);
    (void)snprintf(text, size, "n:%" PRIx64, id);
}

static int transport_init(struct raft_uv_transport *transport, raft_id id, const char *address)
{
    (void)transport;
    (void)id;
    (void)address;
    return 0;
}

static int transport_listen(struct raft_uv_transport *transport, raft_uv_accept_cb cb)
{
    struct consensus_thread *t = transport->impl;

    t->accept_cb = cb;
    return 0;
}

static int transport_connect(struct raft_uv_transport *transport, struct raft_uv_connect *req,
                             raft_id id, const char *address, raft_uv_connect_cb cb)
{
    struct consensus_thread *t = transport->impl;
    struct pending_connect *p = xmalloc(sizeof(*p));
    struct item *item = item_new(ITEM_CONNECT);

    (void)address; /* Says the same as id. */
    p->number = ++t->last_connect;
    p->since_ms = clock_ms();
    p->req = req;
    p->cb = cb;
    list_push_back(&t->connects, &p->node);
    item->number = p->number;
    item->id = id;
    (void)queue_push(&t->shared->out, item); /* Closed: this expires, or ends with us. */
    return 0;
}

static void finish_connect(struct pending_connect *p, struct uv_stream_s *stream, int status)
{
    list_remove(&p->node);
    p->cb(p->req, stream, status);
    free(p);
}

static void transport_close(struct raft_uv_transport *transport, raft_uv_transport_close_cb cb)
{
    struct consensus_thread *t = transport->impl;

    t->accept_cb = NULL;
    while (!list_is_empty(&t->connects)) {
        finish_connect(CONTAINER_OF(t->connects.next, struct pending_connect, node), NULL,
                       RAFT_CANCELED);
    }
    cb(transport);
}

static void on_stream_closed(uv_handle_t *handle)
{
    raft_free(handle);
}

/* libraft closes and frees the stream: it must come from raft_malloc. */
static struct uv_stream_s *open_stream(struct consensus_thread *t, int *fd)
{
    uv_pipe_t *pipe = raft_malloc(sizeof(*pipe));
    int rv;

    if (pipe == NULL) {
        return NULL;
    }
    if (uv_pipe_init(&t->loop, pipe, 0) != 0) {
        raft_free(pipe);
        return NULL;
    }
    rv = uv_pipe_open(pipe, *fd);
    if (rv != 0) {
        log_warning("A Raft connection can not be used, it will be made again. error=\"%s\"",
                    uv_strerror(rv));
        uv_close((uv_handle_t *)pipe, on_stream_closed);
        return NULL;
    }
    *fd = -1; /* The stream owns it. */
    return (struct uv_stream_s *)pipe;
}

void thread_accept(struct consensus_thread *t, node_id from, int *fd)
{
    char address[RAFT_ADDRESS_SIZE];
    struct uv_stream_s *stream;

    if (t->accept_cb == NULL) {
        return; /* Closing. */
    }
    stream = open_stream(t, fd);
    if (stream != NULL) {
        raft_address(from, address, sizeof(address));
        t->accept_cb(&t->transport, from, address, stream);
    }
}

void thread_connected(struct consensus_thread *t, uint64_t number, int *fd)
{
    LIST_FOREACH (it, &t->connects) {
        struct pending_connect *p = CONTAINER_OF(it, struct pending_connect, node);

        if (p->number == number) {
            struct uv_stream_s *stream = *fd >= 0 ? open_stream(t, fd) : NULL;

            finish_connect(p, stream, stream != NULL ? 0 : RAFT_NOCONNECTION);
            return;
        }
    }
}

void thread_expire_connects(struct consensus_thread *t)
{
    uint64_t now_ms = clock_ms();

    for (struct list *it = t->connects.next, *next; it != &t->connects; it = next) {
        struct pending_connect *p = CONTAINER_OF(it, struct pending_connect, node);

        next = it->next;
        if (now_ms - p->since_ms > CONNECT_WAIT_MS) {
            finish_connect(p, NULL, RAFT_NOCONNECTION);
        }
    }
}

void thread_init_transport(struct consensus_thread *t)
{
    list_init(&t->connects);
    t->transport = (struct raft_uv_transport){
        .version = 1, /* Required. */
        .impl = t,
        .init = transport_init,
        .listen = transport_listen,
        .connect = transport_connect,
        .close = transport_close,
    };
}
