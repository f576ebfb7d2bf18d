/*
 * libraft's stream. libraft wants a stream of the kernel's, and reads and
 * writes it on its own thread; it gets one end of a socketpair, and this pump
 * carries bytes between the other end and the authenticated connection.
 *
 *   libraft <-> socketpair <-> [pipe  pump  link] <-> TLS <-> the other node
 *
 * Inbound bytes pass the check of consensus/ first: what it has not judged yet
 * waits in `held`. Back-pressure goes both ways: a slow libraft stops us from
 * reading the connection, a slow connection from reading libraft. When either
 * side ends, both do: libraft then dials again.
 */
#include <errno.h>
#include <sys/socket.h>

#include "peer/peer_internal.h"

#define PIPE_HIGH ((size_t)256 * 1024) /* Unwritten to libraft: stop reading the link. */
#define PIPE_LOW  ((size_t)64 * 1024)
#define LINK_HIGH ((size_t)256 * 1024)  /* Unsent on the link: stop reading libraft. */
#define HELD_MAX  ((size_t)1024 * 1024) /* Not judged; the check's own limit is lower. */

struct pump {
    struct peer *peer;
    struct peer_link *link; /* NULL once that is gone. */
    uv_pipe_t pipe;
    bool is_closing;
    void *check; /* Of consensus. */
    struct strbuf held;
    uint8_t buffer[FRAME_RAFT_DATA_MAX];
};

struct pipe_write {
    uv_write_t write;
    char bytes[];
};

static void on_pipe_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer);

static void on_pipe_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    struct pump *pump = handle->data;

    (void)suggested;
    *ret_buffer = uv_buf_init((char *)pump->buffer, sizeof(pump->buffer));
}

static int read_pipe(struct pump *pump)
{
    return uv_read_start((uv_stream_t *)&pump->pipe, on_pipe_alloc, on_pipe_read);
}

static void on_pipe_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct pump *pump = stream->data;

    if (pump->link == NULL) {
        return;
    }
    if (n < 0) {
        link_close(pump->link, CAUSE_NONE, "libraft closed its end");
        return;
    }
    link_send(pump->link, FRAME_RAFT_DATA, buffer->base, (size_t)n);
    if (pump->link->state == LINK_UP && pump->link->out_bytes > LINK_HIGH) {
        pump->link->is_full = true;
        (void)uv_read_stop(stream); /* Always 0. */
    }
}

void pump_on_drained(struct peer_link *link)
{
    if (link->pump != NULL && read_pipe(link->pump) < 0) {
        link_close(link, CAUSE_NONE, "reading from libraft failed");
    }
}

static struct pump *pump_new(struct peer_link *link)
{
    struct pump *pump = xmalloc(sizeof(*pump));
    struct peer *p = link->owner;
    int r = uv_pipe_init(p->loop, &pump->pipe, 0);

    ASSERT(r == 0);
    peer_opened(p);
    pump->peer = p;
    pump->link = link;
    pump->pipe.data = pump;
    pump->check = p->hooks.raft_check_new(p->hooks.data);
    link->pump = pump;
    return pump;
}

int pump_start(struct peer_link *link, int *ret_fd, struct err *err)
{
    struct pump *pump;
    int fds[2];
    int r;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) {
        return err_set_errno(err, errno, "socketpair");
    }
    pump = pump_new(link);
    r = uv_pipe_open(&pump->pipe, fds[0]);
    if (r < 0) {
        (void)close(fds[0]); /* Never used. */
    } else {
        r = read_pipe(pump);
    }
    if (r < 0) {
        (void)close(fds[1]); /* Never used. */
        return err_set(err, "a pipe for libraft: %s", uv_strerror(r));
    }
    *ret_fd = fds[1];
    return 0;
}

static void on_pipe_written(uv_write_t *write, int status)
{
    struct pump *pump = write->handle->data;

    free(CONTAINER_OF(write, struct pipe_write, write));
    if (pump->link == NULL) {
        return;
    }
    if (status < 0) {
        link_close(pump->link, CAUSE_NONE, "libraft closed its end");
    } else if (uv_stream_get_write_queue_size((uv_stream_t *)&pump->pipe) <= PIPE_LOW) {
        link_resume(pump->link);
    }
}

/* Hands judged bytes to libraft. */
static int write_pipe(struct pump *pump, const char *bytes, size_t size)
{
    struct pipe_write *w = xmalloc(sizeof(*w) + size);
    uv_buf_t buffer = uv_buf_init(w->bytes, (unsigned)size);
    int r;

    memcpy(w->bytes, bytes, size);
    r = uv_write(&w->write, (uv_stream_t *)&pump->pipe, &buffer, 1, on_pipe_written);
    if (r < 0) {
        free(w);
    }
    return r;
}

/* Adds bytes to what is held; hands on and drops what has passed the check. */
static int judge(struct pump *pump, const struct frame *frame, struct err *err)
{
    uint64_t passed = 0;

    if (pump->peer->hooks.raft_check_feed(pump->check, frame->payload, frame->size, &passed, err) <
        0) {
        return -1;
    }
    strbuf_add(&pump->held, frame->payload, frame->size);
    ASSERT(passed <= pump->held.length);
    if (passed > 0 && write_pipe(pump, pump->held.data, (size_t)passed) < 0) {
        return err_set(err, "libraft closed its end");
    }
    pump->held.length -= (size_t)passed;
    memmove(pump->held.data, pump->held.data + passed, pump->held.length);
    if (pump->held.length > HELD_MAX) {
        return err_set(err, "more than %zu bytes without a whole header", HELD_MAX);
    }
    return 0;
}

void pump_on_data(struct peer_link *link, const struct frame *frame)
{
    struct pump *pump = link->pump;
    struct err err;

    if (pump == NULL || frame->size == 0) {
        return;
    }
    if (judge(pump, frame, &err) < 0) {
        link_refuse(link, CAUSE_RAFT_CHECK, err.text);
        pump_stop(link); /* libraft need not wait for the farewell. */
        return;
    }
    if (uv_stream_get_write_queue_size((uv_stream_t *)&pump->pipe) > PIPE_HIGH) {
        link_pause(link);
    }
}

static void on_pipe_closed(uv_handle_t *handle)
{
    struct pump *pump = handle->data;
    struct peer *p = pump->peer;

    p->hooks.raft_check_free(pump->check);
    strbuf_deinit(&pump->held);
    free(pump);
    peer_gone(p);
}

void pump_stop(struct peer_link *link)
{
    struct pump *pump = link->pump;

    if (pump != NULL && !pump->is_closing) {
        pump->is_closing = true;
        pump->link = NULL;
        link->pump = NULL;
        uv_close((uv_handle_t *)&pump->pipe, on_pipe_closed);
    }
}
