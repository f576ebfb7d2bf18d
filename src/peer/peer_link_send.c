/*
 * Writing: frames wait in a bounded queue, are encrypted late (so that a status
 * can still be replaced and a renewal can still overtake), and are offered to
 * the kernel at once. Only what it does not take is left to a write request,
 * of which there is one at a time.
 */
#include "peer/peer_link_send.h"

#include "peer/peer_link.h"

#define BATCH_SIZE ((size_t)64 * 1024) /* Encrypted in one go, or one frame. */
#define RESERVE    ((size_t)64 * 1024) /* Kept for small frames. */
#define LOW_MARK   ((size_t)64 * 1024) /* Below it on_drained comes. */

struct out_frame {
    struct list list; /* In link->out. */
    enum frame_type type;
    size_t size;    /* With header and check, which come when it is sent: */
    uint8_t data[]; /* only then its number is known. */
};

static bool is_urgent(enum frame_type type)
{
    return type == FRAME_RENEW || type == FRAME_GRANT;
}

static struct out_frame *frame_of(struct list *node)
{
    return CONTAINER_OF(node, struct out_frame, list);
}

static void remove_frame(struct peer_link *link, struct out_frame *f)
{
    list_remove(&f->list);
    link->out_bytes -= f->size;
    link->out_frames--;
    free(f);
}

static void drop_waiting_status(struct peer_link *link)
{
    LIST_FOREACH (it, &link->out) {
        if (frame_of(it)->type == FRAME_STATUS) {
            remove_frame(link, frame_of(it));
            return;
        }
    }
}

static void queue(struct peer_link *link, struct out_frame *f)
{
    struct list *before = &link->out;

    if (is_urgent(f->type)) {
        before = link->out.next;
        while (before != &link->out && is_urgent(frame_of(before)->type)) {
            before = before->next;
        }
    }
    list_push_back(before, &f->list); /* In front of `before`. */
    link->out_bytes += f->size;
    link->out_frames++;
}

bool link_has_room(const struct peer_link *link, size_t size)
{
    return link->out_frames < LINK_QUEUE_FRAMES / 2 &&
           link->out_bytes + size + RESERVE <= LINK_QUEUE_BYTES;
}

void link_send(struct peer_link *link, enum frame_type type, const void *payload, size_t size)
{
    struct out_frame *f;

    if (link->state != LINK_PREFACE && link->state != LINK_UP) {
        return;
    }
    if (type == FRAME_STATUS) {
        drop_waiting_status(link);
    }
    if (link->out_frames >= LINK_QUEUE_FRAMES || link->out_bytes + size > LINK_QUEUE_BYTES) {
        link_close(link, CAUSE_NONE, "stalled: %zu bytes in %zu frames are unsent", link->out_bytes,
                   link->out_frames);
        return;
    }
    f = xmalloc(sizeof(*f) + FRAME_OVERHEAD + size);
    f->type = type;
    f->size = FRAME_OVERHEAD + size;
    if (size > 0) {
        memcpy(f->data + FRAME_HEADER_SIZE, payload, size);
    }
    queue(link, f);
    link_flush(link);
}

/* Frames become bytes for the wire. */
static int refill(struct peer_link *link, struct err *err)
{
    int r = 0;

    if (link->tls != NULL) {
        tls_take(link->tls, &link->wire); /* Handshake, alerts. */
    }
    while (r == 0 && !list_is_empty(&link->out) && link->wire.length < BATCH_SIZE) {
        struct out_frame *f = frame_of(link->out.next);

        (void)frame_seal(f->data, f->type, f->size - FRAME_OVERHEAD, link->n_sent++);
        if (link->tls == NULL) {
            strbuf_add(&link->wire, f->data, f->size);
        } else {
            r = tls_write(link->tls, f->data, f->size, err);
            tls_take(link->tls, &link->wire);
        }
        remove_frame(link, f);
    }
    return r;
}

static void on_written(uv_write_t *write, int status)
{
    struct peer_link *link = CONTAINER_OF(write, struct peer_link, write);

    free(link->flight);
    link->flight = NULL;
    if (link->state == LINK_CLOSING) {
        return;
    }
    if (status < 0) {
        link_close(link, CAUSE_NONE, "writing: %s", uv_strerror(status));
        return;
    }
    link_flush(link);
    if (link->is_full && link->out_bytes <= LOW_MARK && link->state == LINK_UP) {
        link->is_full = false;
        link->settings->events->on_drained(link);
    }
}

/* Offers the wire buffer to the kernel; what it leaves goes into flight. */
static int offer(struct peer_link *link)
{
    uv_stream_t *stream = (uv_stream_t *)&link->tcp;
    uv_buf_t buffer = uv_buf_init(link->wire.data, (unsigned)link->wire.length);
    int n = uv_try_write(stream, &buffer, 1);
    int r;

    if (n < 0 && n != UV_EAGAIN) {
        return n;
    }
    n = MAX(n, 0);
    if ((size_t)n == link->wire.length) {
        link->wire.length = 0;
        return 0;
    }
    buffer = uv_buf_init(link->wire.data + n, (unsigned)link->wire.length - (unsigned)n);
    r = uv_write(&link->write, stream, &buffer, 1, on_written);
    if (r == 0) {
        link->flight = link->wire.data;
        link->wire = (struct strbuf){0};
    }
    return r;
}

void link_flush(struct peer_link *link)
{
    struct err err;

    while (link->flight == NULL && link->state != LINK_CLOSING) {
        int r;

        if (refill(link, &err) < 0) {
            link_close(link, CAUSE_NONE, "%s", err.text);
            return;
        }
        if (link->wire.length == 0) {
            return;
        }
        r = offer(link);
        if (r < 0) {
            link_close(link, CAUSE_NONE, "writing: %s", uv_strerror(r));
        }
    }
}

void link_drop_output(struct peer_link *link)
{
    while (!list_is_empty(&link->out)) {
        remove_frame(link, frame_of(link->out.next));
    }
    strbuf_deinit(&link->wire);
    free(link->flight); /* Its write request ended before the handle closed. */
    link->flight = NULL;
}
