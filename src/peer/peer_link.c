/*
 * One connection, see peer_link.h: its life, deadlines and reading. Writing is
 * in peer_link_send.c.
 */
#include "peer/peer_link.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>

#include "base/clock.h"
#include "peer/peer_address.h"
#include "peer/peer_link_send.h"
#include "peer/peer_message.h"

static void on_timer(uv_timer_t *timer);
static void on_connected(uv_connect_t *connect, int status);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer);

static uint64_t now_ms(const struct peer_link *link)
{
    return uv_now(link->settings->loop);
}

static uint64_t ping_period_ms(const struct peer_link *link)
{
    return MAX(link->settings->user_timeout_ms / 4, (uint64_t)50);
}

struct peer_link *link_new(const struct link_settings *settings, enum link_kind kind)
{
    struct peer_link *link = xmalloc(sizeof(*link));
    int r;

    link->settings = settings;
    link->kind = kind;
    link->state = LINK_CONNECTING;
    list_init(&link->list);
    list_init(&link->out);
    r = uv_timer_init(settings->loop, &link->timer);
    ASSERT(r == 0);
    r = uv_tcp_init(settings->loop, &link->tcp);
    ASSERT(r == 0);
    link->n_handles = 2;
    link->timer.data = link;
    link->tcp.data = link;
    return link;
}

/* What keeps a vanished peer from being taken for a silent one. */
static int set_options(struct peer_link *link, struct err *err)
{
    unsigned timeout_ms = (unsigned)link->settings->user_timeout_ms;
    uv_os_fd_t fd;
    int r = uv_fileno((uv_handle_t *)&link->tcp, &fd);

    if (r == 0) {
        r = uv_tcp_nodelay(&link->tcp, 1);
    }
    if (r == 0) {
        r = uv_tcp_keepalive(&link->tcp, 1, 1);
    }
    if (r == 0 &&
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms)) < 0) {
        r = -errno;
    }
    return r == 0 ? 0 : err_set(err, "setting socket options: %s", uv_strerror(r));
}

int link_dial(struct peer_link *link, const struct sockaddr_storage *to, struct err *err)
{
    int fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int r;

    link->dialled = true;
    link->remote = *to;
    if (fd < 0) {
        return err_set_errno(err, errno, "socket");
    }
    r = uv_tcp_open(&link->tcp, fd);
    if (r < 0) {
        (void)close(fd); /* Never used. */
        return err_set(err, "socket: %s", uv_strerror(r));
    }
    if (set_options(link, err) < 0) {
        return -1;
    }
    r = uv_tcp_connect(&link->connect, &link->tcp, (const struct sockaddr *)to, on_connected);
    if (r < 0) {
        return err_set(err, "%s", uv_strerror(r));
    }
    r = uv_timer_start(&link->timer, on_timer, LINK_CONNECT_MS, 0);
    ASSERT(r == 0);
    return 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    struct peer_link *link = handle->data;

    (void)suggested;
    ret_buffer->base = (char *)link->settings->wire_buffer;
    ret_buffer->len = LINK_READ_SIZE;
}

static uint64_t handshake_limit_ms(const struct peer_link *link)
{
    return link->dialled ? LINK_DIALLED_MS : LINK_HANDSHAKE_MS;
}

static void become_secure(struct peer_link *link)
{
    link->state = LINK_PREFACE;
    link->settings->events->on_secure(link);
}

/* Connected: now the secret. */
static int begin(struct peer_link *link, struct err *err)
{
    int r;

    link->state = LINK_HANDSHAKE;
    link->received_ms = now_ms(link);
    r = uv_timer_start(&link->timer, on_timer, handshake_limit_ms(link), 0);
    ASSERT(r == 0);
    r = uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read);
    if (r < 0) {
        return err_set(err, "reading: %s", uv_strerror(r));
    }
    if (link->settings->tls == NULL) {
        become_secure(link);
        return 0;
    }
    link->tls = link->dialled ? tls_new_client(link->settings->tls, link->proof, err)
                              : tls_new_server(link->settings->tls, err);
    if (link->tls == NULL) {
        return -1;
    }
    if (link->dialled) {
        enum peer_cause cause;

        if (tls_handshake(link->tls, &cause, err) == TLS_FAILED) {
            return -1;
        }
        link_flush(link);
    }
    return 0;
}

int link_accept(struct peer_link *link, uv_stream_t *listener, struct err *err)
{
    int size = sizeof(link->remote);
    int r = uv_accept(listener, (uv_stream_t *)&link->tcp);

    if (r == 0) {
        r = uv_tcp_getpeername(&link->tcp, (struct sockaddr *)&link->remote, &size);
    }
    if (r < 0) {
        return err_set(err, "accepting: %s", uv_strerror(r));
    }
    (void)sockaddr_format(&link->remote, link->where, sizeof(link->where));
    if (link->settings->tls == NULL && !sockaddr_is_loopback(&link->remote)) {
        link->cause = CAUSE_NOT_LOOPBACK;
        return err_set(err, "without raft.password or raft.tls only this machine may connect");
    }
    if (set_options(link, err) < 0) {
        return -1;
    }
    return begin(link, err);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct peer_link *link = CONTAINER_OF(connect, struct peer_link, connect);
    struct err err;

    if (link->state == LINK_CLOSING) {
        return;
    }
    if (status < 0) {
        link_close(link, CAUSE_NONE, "%s", uv_strerror(status));
    } else if (begin(link, &err) < 0) {
        link_close(link, CAUSE_NONE, "%s", err.text);
    }
}

static enum frame_phase phase(const struct peer_link *link)
{
    if (link->state == LINK_PREFACE) {
        return PHASE_PREFACE;
    }
    if (link->kind == LINK_RAFT) {
        return PHASE_RAFT;
    }
    return link->hello_only ? PHASE_HELLO : PHASE_PEER;
}

static void on_ping(struct peer_link *link, const struct frame *frame)
{
    uint8_t buffer[MESSAGE_SIZE];
    uint64_t stamp;

    if (!message_decode_number(frame->payload, frame->size, &stamp)) {
        link_refuse(link, CAUSE_MALFORMED, "a malformed ping or pong");
        return;
    }
    if (frame->type == FRAME_PING) {
        link_send(link, FRAME_PONG, buffer, message_encode_number(stamp, buffer));
    } else if (stamp == link->ping_stamp && stamp != 0) {
        link->rtt_us = MAX((clock_pair_now().raw_ns - stamp) / 1000, (uint64_t)1);
        link->ping_stamp = 0;
    }
}

/* Decrypted bytes. Stops when a frame made the link leave or close. */
static void take_plain(struct peer_link *link, const uint8_t *bytes, size_t size)
{
    struct decoder rest;
    struct frame frame;
    struct err err;

    decoder_init(&rest, bytes, size);
    while (link->state == LINK_PREFACE || link->state == LINK_UP) {
        switch (frame_reader_feed(&link->reader, phase(link), &rest, &frame, &err)) {
        case FRAME_MORE:
            return;
        case FRAME_BAD:
            link_refuse(link, CAUSE_MALFORMED, err.text);
            return;
        case FRAME_READY:
            if (frame.type == FRAME_PING || frame.type == FRAME_PONG) {
                on_ping(link, &frame);
            } else {
                link->settings->events->on_frame(link, &frame);
            }
            break;
        }
    }
}

/* Goes on with the handshake. True when the key is proved. */
static bool shake_hands(struct peer_link *link)
{
    enum peer_cause cause = CAUSE_NONE;
    struct err err;
    enum tls_next next = tls_handshake(link->tls, &cause, &err);

    link_flush(link);
    if (link->state != LINK_HANDSHAKE) {
        return false;
    }
    if (next == TLS_FAILED) {
        link_close(link, cause, "%s", err.text);
        return false;
    }
    if (next == TLS_OK) {
        become_secure(link);
    }
    return link->state == LINK_PREFACE;
}

static void decrypt(struct peer_link *link)
{
    enum peer_cause cause = CAUSE_NONE;
    size_t n = 0;
    struct err err;

    for (;;) {
        switch (
            tls_read(link->tls, link->settings->plain_buffer, LINK_READ_SIZE, &n, &cause, &err)) {
        case TLS_OK:
            take_plain(link, link->settings->plain_buffer, n);
            break;
        case TLS_MORE:
            return;
        case TLS_END:
            link_close(link, CAUSE_NONE, "it closed the connection");
            return;
        case TLS_FAILED:
            link_close(link, link->was_up ? CAUSE_NONE : cause, "%s", err.text);
            return;
        }
        if (link->state == LINK_CLOSING) {
            return;
        }
    }
}

static void take_wire(struct peer_link *link, const uint8_t *bytes, size_t size)
{
    struct err err;

    if (link->tls == NULL) {
        take_plain(link, bytes, size);
        return;
    }
    if (link->state == LINK_HANDSHAKE) {
        link->n_stranger_bytes += size;
        /* What is fed is bounded first; a read may bring more than a handshake. */
        if (link->n_stranger_bytes > LINK_STRANGER_BYTES) {
            link_close(link, CAUSE_NOT_TLS, "more bytes than a handshake has");
            return;
        }
    }
    if (tls_feed(link->tls, bytes, size, &err) < 0) {
        link_close(link, CAUSE_NONE, "%s", err.text);
        return;
    }
    if (link->state == LINK_HANDSHAKE && !shake_hands(link)) {
        return;
    }
    decrypt(link);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct peer_link *link = stream->data;

    if (n == UV_EOF || n < 0) {
        enum peer_cause cause = link->state == LINK_HANDSHAKE && !link->dialled && n == UV_EOF
                                    ? CAUSE_EARLY_END
                                    : CAUSE_NONE;

        link_close(link, cause, "%s",
                   n == UV_EOF ? "it closed the connection" : uv_strerror((int)n));
        return;
    }
    link->received_ms = now_ms(link);
    if (link->state != LINK_LEAVING) {
        take_wire(link, (const uint8_t *)buffer->base, (size_t)n);
    }
}

void link_set_up(struct peer_link *link)
{
    uint64_t period_ms = ping_period_ms(link);
    int r;

    PRE(link->state == LINK_PREFACE);
    link->state = LINK_UP;
    link->was_up = true;
    link->up_ms = now_ms(link);
    link->ticked_ms = now_ms(link);
    r = uv_timer_start(&link->timer, on_timer, period_ms, period_ms);
    ASSERT(r == 0);
}

static void send_ping(struct peer_link *link)
{
    uint8_t buffer[MESSAGE_SIZE];

    if (link->ping_stamp == 0) {
        link->ping_stamp = clock_pair_now().raw_ns;
    }
    link_send(link, FRAME_PING, buffer, message_encode_number(link->ping_stamp, buffer));
}

/* In `up`: judge silence, then ping. A timer that comes late is our own stall,
 * in which nothing was read: it gets half the limit before it counts. */
static void on_tick(struct peer_link *link)
{
    uint64_t limit_ms = link->settings->user_timeout_ms;
    uint64_t now = now_ms(link);

    if (now - link->ticked_ms > 2 * ping_period_ms(link) || link->is_paused) {
        link->received_ms = MAX(link->received_ms, now - limit_ms / 2);
    }
    link->ticked_ms = now;
    if (now - link->received_ms > limit_ms) {
        link_close(link, CAUSE_NONE, "nothing heard for %llu ms",
                   (unsigned long long)(now - link->received_ms));
        return;
    }
    send_ping(link);
}

static void on_timer(uv_timer_t *timer)
{
    struct peer_link *link = timer->data;

    switch (link->state) {
    case LINK_CONNECTING:
        link_close(link, CAUSE_NONE, "no answer within %d ms", LINK_CONNECT_MS);
        break;
    case LINK_HANDSHAKE:
    case LINK_PREFACE:
        link_close(link, CAUSE_SLOW, "it did not finish the handshake in %llu ms",
                   (unsigned long long)handshake_limit_ms(link));
        break;
    case LINK_UP:
        on_tick(link);
        break;
    case LINK_LEAVING:
        link_close(link, link->cause, "%s", link->reason);
        break;
    case LINK_CLOSING:
        break;
    }
}

void link_pause(struct peer_link *link)
{
    if (link->state == LINK_UP && !link->is_paused) {
        link->is_paused = true;
        (void)uv_read_stop((uv_stream_t *)&link->tcp); /* Always 0. */
    }
}

void link_resume(struct peer_link *link)
{
    int r;

    if (link->state != LINK_UP || !link->is_paused) {
        return;
    }
    link->is_paused = false;
    r = uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read);
    if (r < 0) {
        link_close(link, CAUSE_NONE, "reading: %s", uv_strerror(r));
    }
}

void link_probe(struct peer_link *link, uint64_t limit_ms)
{
    uint64_t now = now_ms(link);
    uint64_t timeout_ms = link->settings->user_timeout_ms;

    if (link->state != LINK_UP || timeout_ms <= limit_ms) {
        return;
    }
    /* As if the last byte had come so long ago that only `limit_ms` is left. The
     * ping timer goes on: restarted by every probe, it would never come. */
    link->received_ms = MIN(link->received_ms, now - (timeout_ms - limit_ms));
    send_ping(link);
}

void link_refuse(struct peer_link *link, enum peer_cause cause, const char *why)
{
    struct refusal_message m = {.cause = cause};
    uint8_t buffer[MESSAGE_SIZE];
    int r;

    if (link->state != LINK_PREFACE && link->state != LINK_UP) {
        return;
    }
    (void)str_copy(m.why, sizeof(m.why), why); /* Cut is fine. */
    link_send(link, FRAME_REFUSE, buffer, message_encode_refusal(&m, buffer));
    if (link->state == LINK_CLOSING) {
        return;
    }
    link->state = LINK_LEAVING;
    link->cause = cause;
    (void)str_copy(link->reason, sizeof(link->reason), why); /* Cut is fine. */
    link->is_paused = false;
    r = uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read); /* For the end of it. */
    (void)r; /* Already reading is fine; the timer closes in any case. */
    r = uv_timer_start(&link->timer, on_timer, LINK_LEAVE_MS, 0);
    ASSERT(r == 0);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct peer_link *link = handle->data;

    if (--link->n_handles == 0) {
        link->settings->events->on_closed(link);
    }
}

void link_close(struct peer_link *link, enum peer_cause cause, const char *format, ...)
{
    va_list args;

    if (link->state == LINK_CLOSING) {
        return;
    }
    if (link->state != LINK_LEAVING) {
        link->cause = link->cause == CAUSE_NONE ? cause : link->cause;
        va_start(args, format);
        (void)vsnprintf(link->reason, sizeof(link->reason), format, args); /* Cut is fine. */
        va_end(args);
    }
    link->state = LINK_CLOSING;
    uv_close((uv_handle_t *)&link->timer, on_handle_closed);
    uv_close((uv_handle_t *)&link->tcp, on_handle_closed);
}

void link_free(struct peer_link *link)
{
    PRE(link->state == LINK_CLOSING && link->n_handles == 0);
    link_drop_output(link);
    frame_reader_deinit(&link->reader);
    tls_free(link->tls);
    free(link);
}
