/*
 * Nodes for the tests of src/peer: several struct peer on one loop, each with
 * hooks that write down what came. Also a TCP proxy that can go silent and
 * keeps what it saw, and bare sockets for clients that are none of ours.
 */
#ifndef VECHE_TEST_PEER_LIB_H
#define VECHE_TEST_PEER_LIB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/str.h"
#include "peer/peer.h"
#include "test_port.h"

#define NODES      5
#define CLUSTER    UINT64_C(0xc105)
#define TIMEOUT_MS 600   /* user_timeout_ms: short, so that tests are. */
#define LIVE_MS    60000 /* Liveness bound: far beyond what is promised. */

struct node { /* One peer and what its hooks saw. */
    struct peer *peer;
    struct peer_options options;
    struct peer_secrets secrets;
    char address[64];
    char partner_texts[NODES][64];
    const char *partners[NODES];
    int n_up, n_down, n_hello, n_status, n_renew, n_grant, n_ask, n_positions, n_propose;
    char why[TEXT_SIZE]; /* Of the last on_down. */
    struct hello hello;
    struct status status;
    struct lease_renew renew;
    struct lease_grant grant;
    struct positions positions;
    node_id asked_by;
    uint64_t token;
    size_t proposal_size;
    uint8_t proposal_first;
    bool is_barrier;
    bool is_mute; /* Proposals and actions are not answered. */
    int n_action;
    enum peer_action action;
    char action_from[NAME_SIZE];
    int n_raft;
    int raft_fd;        /* The newest stream; -1 = none. */
    bool check_refuses; /* raft_check says no. */
    bool is_closed;
};

static uv_loop_t *loop;
static uv_timer_t waker; /* Makes every turn of the loop end. */

static inline void wake(uv_timer_t *timer)
{
    (void)timer;
}

static inline void turn(void)
{
    (void)uv_run(loop, UV_RUN_ONCE);
}

#define WAIT_UNTIL(condition, limit_ms)                \
    do {                                               \
        uint64_t end_ms_ = clock_ms() + (limit_ms);    \
        while (!(condition) && clock_ms() < end_ms_) { \
            turn();                                    \
        }                                              \
        assert_true(condition);                        \
    } while (0)

static inline void run_for(uint64_t ms)
{
    uint64_t end_ms = clock_ms() + ms;

    while (clock_ms() < end_ms) {
        turn();
    }
}

static inline int loop_up(void **state)
{
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    loop = uv_default_loop();
    assert_int_equal(uv_timer_init(loop, &waker), 0);
    assert_int_equal(uv_timer_start(&waker, wake, 2, 2), 0);
    return 0;
}

/* Fails when a handle is left. */
static inline int loop_down(void **state)
{
    (void)state;
    run_for(50); /* Handles that are closing. */
    uv_close((uv_handle_t *)&waker, NULL);
    (void)uv_run(loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(loop), 0);
    return 0;
}

/* ---- Nodes --------------------------------------------------------------- */

static inline void on_hello(void *data, const struct hello *hello)
{
    struct node *n = data;

    n->n_hello++;
    n->hello = *hello;
}

static inline void on_up(void *data, node_id id, const char *name)
{
    struct node *n = data;

    assert_true(id != 0 && id != n->options.id && name[0] == 'n');
    n->n_up++;
}

static inline void on_down(void *data, node_id id, const char *why)
{
    struct node *n = data;

    assert_true(id != 0);
    n->n_down++;
    (void)str_copy(n->why, sizeof(n->why), why);
}

static inline void on_status(void *data, const struct status *status)
{
    struct node *n = data;

    n->n_status++;
    n->status = *status;
}

static inline void on_renew(void *data, node_id from, const struct lease_renew *renew)
{
    struct node *n = data;

    assert_int_equal(from, renew->owner);
    n->n_renew++;
    n->renew = *renew;
}

static inline void on_grant(void *data, node_id from, const struct lease_grant *grant)
{
    struct node *n = data;

    assert_int_equal(from, grant->voter);
    n->n_grant++;
    n->grant = *grant;
}

static inline void on_propose(void *data, uint64_t token, const void *bytes, size_t size)
{
    struct node *n = data;
    struct peer_result result = {.status = 0, .result = 7, .index = size};

    n->n_propose++;
    n->token = token;
    n->proposal_size = size;
    n->is_barrier = bytes == NULL;
    n->proposal_first = bytes != NULL ? *(const uint8_t *)bytes : 0;
    if (!n->is_mute) {
        peer_answer_proposal(n->peer, token, &result);
    }
}

static inline void on_action(void *data, uint64_t token, const char *from, enum peer_action action)
{
    struct node *n = data;

    n->n_action++;
    n->token = token;
    n->action = action;
    (void)str_copy(n->action_from, sizeof(n->action_from), from);
    if (!n->is_mute) {
        peer_answer_action(n->peer, token, PEER_REFUSED, "pg.yml:3:1: ttl");
    }
}

static inline void on_ask(void *data, node_id from, uint64_t epoch)
{
    struct node *n = data;
    struct positions positions = {.epoch = epoch, .valid = true, .timeline = 3, .flushed = 77};

    n->n_ask++;
    n->asked_by = from;
    peer_answer_positions(n->peer, from, &positions);
}

static inline void on_positions(void *data, node_id from, const struct positions *positions)
{
    struct node *n = data;

    assert_true(from != 0);
    n->n_positions++;
    n->positions = *positions;
}

static inline void on_raft_stream(void *data, node_id from, int fd)
{
    struct node *n = data;

    assert_true(from != 0 && fd >= 0);
    n->n_raft++;
    if (n->raft_fd >= 0) {
        (void)close(n->raft_fd);
    }
    n->raft_fd = fd;
}

/* A check that passes everything, a byte late: so the pump has to hold. */
struct fake_check {
    struct node *node;
    uint64_t held;
};

static inline void *check_new(void *data)
{
    struct fake_check *check = xmalloc(sizeof(*check));

    check->node = data;
    return check;
}

static inline int check_feed(void *check_data, const void *bytes, size_t size, uint64_t *ret_passed,
                             struct err *err)
{
    struct fake_check *check = check_data;

    if (check->node->check_refuses) {
        return err_set(err, "bytes that libraft must not see");
    }
    assert_true(bytes != NULL && size > 0);
    *ret_passed = check->held + size - (size > 1 ? 1 : 0);
    check->held = size > 1 ? 1 : 0;
    return 0;
}

static inline void node_init(struct node *n, unsigned number, uint16_t port)
{
    static const char *const names[] = {"n0", "n1", "n2", "n3", "n4"};

    *n = (struct node){.raft_fd = -1, .secrets.password = "a secret of the tests"};
    (void)snprintf(n->address, sizeof(n->address), "127.0.0.1:%u", port);
    n->options = (struct peer_options){
        .loop = loop,
        .bind_address = n->address,
        .self_address = n->address,
        .scope = "testscope-visible",
        .name = names[number],
        .id = 1000 + number,
        .instance = 5000 + number,
        .cluster_id = CLUSTER,
        .user_timeout_ms = TIMEOUT_MS,
        .seed = number + 1,
        .partners = n->partners,
        .hooks = {.data = n,
                  .on_hello = on_hello,
                  .on_up = on_up,
                  .on_down = on_down,
                  .on_status = on_status,
                  .on_renew = on_renew,
                  .on_grant = on_grant,
                  .on_propose = on_propose,
                  .on_action = on_action,
                  .on_ask_positions = on_ask,
                  .on_positions = on_positions,
                  .on_raft_stream = on_raft_stream,
                  .raft_check_new = check_new,
                  .raft_check_feed = check_feed,
                  .raft_check_free = free},
    };
}

static inline void node_dials(struct node *n, const char *address)
{
    size_t i = n->options.n_partners++;

    (void)str_copy(n->partner_texts[i], sizeof(n->partner_texts[i]), address);
    n->partners[i] = n->partner_texts[i];
}

static inline struct peer *node_new(struct node *n, struct err *err)
{
    n->options.secrets = NULL;
    if (n->secrets.password != NULL || n->secrets.cert != NULL) {
        n->options.secrets = peer_load_secrets(&n->secrets, n->options.scope, n->options.name, err);
        if (n->options.secrets == NULL) {
            return NULL;
        }
    }
    return peer_new(&n->options, err);
}

static inline void node_start(struct node *n)
{
    struct err err;

    n->is_closed = false;
    n->peer = node_new(n, &err);
    if (n->peer == NULL) {
        fail_msg("%s", err.text);
    }
}

static inline void on_closed(void *data)
{
    struct node *n = data;

    n->is_closed = true;
    n->peer = NULL;
}

static inline void node_stop(struct node *n)
{
    if (n->peer != NULL) {
        peer_close(n->peer, on_closed, n);
        WAIT_UNTIL(n->is_closed, LIVE_MS);
    }
    if (n->raft_fd >= 0) {
        (void)close(n->raft_fd);
        n->raft_fd = -1;
    }
}

static inline bool are_up(const struct node *a, const struct node *b)
{
    return peer_is_up(a->peer, b->options.id) && peer_is_up(b->peer, a->options.id);
}

/* n nodes, each of which dials every other; not started. */
static inline void mesh(struct node *nodes, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        node_init(&nodes[i], i, free_port());
    }
    for (unsigned i = 0; i < n; i++) {
        for (unsigned k = 0; k < n; k++) {
            node_dials(&nodes[i], nodes[k].address);
        }
    }
}

/* ---- What is logged ------------------------------------------------------ */

struct capture {
    FILE *file;
    int saved;
};

static inline void capture_start(struct capture *c)
{
    c->file = tmpfile();
    c->saved = dup(STDERR_FILENO);
    assert_true(c->file != NULL && c->saved >= 0);
    assert_true(dup2(fileno(c->file), STDERR_FILENO) >= 0);
}

/* Back to normal; the text is the caller's to free. */
static inline char *capture_stop(struct capture *c)
{
    char *text;
    long size;

    (void)dup2(c->saved, STDERR_FILENO);
    (void)close(c->saved);
    (void)fseek(c->file, 0, SEEK_END);
    size = ftell(c->file);
    rewind(c->file);
    text = xmalloc((size_t)size + 1);
    assert_int_equal(fread(text, 1, (size_t)size, c->file), size);
    (void)fclose(c->file);
    return text;
}

static inline int count(const char *text, const char *what)
{
    int n = 0;

    for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what)) {
        n++;
    }
    return n;
}

/* ---- Bare sockets -------------------------------------------------------- */

static inline int dial_bare(uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static inline uint16_t port_of(const struct node *n)
{
    uint64_t port;

    assert_true(str_to_u64(strrchr(n->address, ':') + 1, 1, 65535, &port));
    return (uint16_t)port;
}

/* The other side closed it; what came before is thrown away. */
static inline bool is_ended(int fd)
{
    char bytes[4096];
    ssize_t n;

    while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
    }
    return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

/* ---- Proxy --------------------------------------------------------------- */

#define PROXY_PAIRS  64
#define CAPTURE_SIZE (1 << 20)

struct proxy_pair {
    struct proxy *proxy;
    uv_tcp_t ends[2]; /* 0: who connected, 1: the target. */
    uv_connect_t connect;
    int n_handles;
    bool is_closing;
    bool is_connected;
};

struct proxy {
    uv_tcp_t listener;
    char address[64];
    uint16_t target;
    bool is_silent; /* Passes nothing on; connections are accepted. */
    bool is_gone;
    struct proxy_pair *pairs[PROXY_PAIRS];
    size_t n_seen;
    char *seen; /* The first CAPTURE_SIZE bytes of both directions. */
    char buffer[65536];
};

struct proxy_write {
    uv_write_t write;
    struct proxy_pair *pair;
    char bytes[];
};

static inline void pair_gone(uv_handle_t *handle)
{
    struct proxy_pair *pair = handle->data;

    if (--pair->n_handles == 0) {
        for (size_t i = 0; i < PROXY_PAIRS; i++) {
            if (pair->proxy->pairs[i] == pair) {
                pair->proxy->pairs[i] = NULL;
            }
        }
        free(pair);
    }
}

static inline void pair_close(struct proxy_pair *pair)
{
    if (!pair->is_closing) {
        pair->is_closing = true;
        uv_close((uv_handle_t *)&pair->ends[0], pair_gone);
        uv_close((uv_handle_t *)&pair->ends[1], pair_gone);
    }
}

static inline void proxy_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    struct proxy_pair *pair = handle->data;

    (void)suggested;
    *ret_buffer = uv_buf_init(pair->proxy->buffer, sizeof(pair->proxy->buffer));
}

static inline void pair_read(struct proxy_pair *pair);

/* The proxy keeps no more than a network would. */
static inline bool is_congested(const struct proxy_pair *pair, int to)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&pair->ends[to]) > 65536;
}

static inline void proxy_written(uv_write_t *write, int status)
{
    struct proxy_write *w = CONTAINER_OF(write, struct proxy_write, write);

    (void)status;
    pair_read(w->pair);
    free(w);
}

static inline void proxy_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct proxy_pair *pair = stream->data;
    struct proxy *proxy = pair->proxy;
    uv_tcp_t *other = stream == (uv_stream_t *)&pair->ends[0] ? &pair->ends[1] : &pair->ends[0];
    struct proxy_write *w;
    size_t keep;
    uv_buf_t out;

    if (n < 0) {
        pair_close(pair);
        return;
    }
    keep = MIN((size_t)n, CAPTURE_SIZE - proxy->n_seen);
    memcpy(proxy->seen + proxy->n_seen, buffer->base, keep);
    proxy->n_seen += keep;
    w = xmalloc(sizeof(*w) + (size_t)n);
    w->pair = pair;
    memcpy(w->bytes, buffer->base, (size_t)n);
    out = uv_buf_init(w->bytes, (unsigned)n);
    if (uv_write(&w->write, (uv_stream_t *)other, &out, 1, proxy_written) < 0) {
        free(w);
    }
    pair_read(pair);
}

static inline void pair_read(struct proxy_pair *pair)
{
    if (!pair->is_connected || pair->is_closing) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        if (pair->proxy->is_silent || is_congested(pair, 1 - i)) {
            (void)uv_read_stop((uv_stream_t *)&pair->ends[i]);
        } else {
            (void)uv_read_start((uv_stream_t *)&pair->ends[i], proxy_alloc, proxy_read);
        }
    }
}

static inline void proxy_connected(uv_connect_t *connect, int status)
{
    struct proxy_pair *pair = CONTAINER_OF(connect, struct proxy_pair, connect);

    if (status < 0) {
        pair_close(pair);
        return;
    }
    pair->is_connected = true;
    pair_read(pair);
}

static inline void proxy_accept(uv_stream_t *listener, int status)
{
    struct proxy *proxy = listener->data;
    struct proxy_pair *pair = xmalloc(sizeof(*pair));
    struct sockaddr_in to;
    int size = 64 * 1024;
    size_t i = 0;

    assert_int_equal(status, 0);
    while (i < PROXY_PAIRS && proxy->pairs[i] != NULL) {
        i++;
    }
    assert_true(i < PROXY_PAIRS);
    proxy->pairs[i] = pair;
    pair->proxy = proxy;
    pair->n_handles = 2;
    for (int k = 0; k < 2; k++) {
        assert_int_equal(uv_tcp_init_ex(loop, &pair->ends[k], k == 0 ? AF_UNSPEC : AF_INET), 0);
        pair->ends[k].data = pair;
    }
    assert_int_equal(uv_send_buffer_size((uv_handle_t *)&pair->ends[1], &size), 0);
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&pair->ends[0]), 0);
    assert_int_equal(uv_ip4_addr("127.0.0.1", proxy->target, &to), 0);
    assert_int_equal(
        uv_tcp_connect(&pair->connect, &pair->ends[1], (struct sockaddr *)&to, proxy_connected), 0);
}

static inline void proxy_start(struct proxy *proxy, uint16_t target)
{
    struct sockaddr_in at;
    uint16_t port = free_port();
    int size = 64 * 1024; /* Of kernel buffers, which would hold megabytes else. */

    memset(proxy, 0, sizeof(*proxy));
    proxy->seen = xmalloc(CAPTURE_SIZE);
    proxy->target = target;
    (void)snprintf(proxy->address, sizeof(proxy->address), "127.0.0.1:%u", port);
    assert_int_equal(uv_ip4_addr("127.0.0.1", port, &at), 0);
    assert_int_equal(uv_tcp_init(loop, &proxy->listener), 0);
    proxy->listener.data = proxy;
    assert_int_equal(uv_tcp_bind(&proxy->listener, (struct sockaddr *)&at, 0), 0);
    assert_int_equal(uv_recv_buffer_size((uv_handle_t *)&proxy->listener, &size), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&proxy->listener, 64, proxy_accept), 0);
}

static inline void proxy_set_silent(struct proxy *proxy, bool is_silent)
{
    proxy->is_silent = is_silent;
    for (size_t i = 0; i < PROXY_PAIRS; i++) {
        if (proxy->pairs[i] != NULL) {
            pair_read(proxy->pairs[i]);
        }
    }
}

static inline bool proxy_has_pairs(const struct proxy *proxy)
{
    for (size_t i = 0; i < PROXY_PAIRS; i++) {
        if (proxy->pairs[i] != NULL) {
            return true;
        }
    }
    return false;
}

static inline void proxy_cut(struct proxy *proxy)
{
    for (size_t i = 0; i < PROXY_PAIRS; i++) {
        if (proxy->pairs[i] != NULL) {
            pair_close(proxy->pairs[i]);
        }
    }
    WAIT_UNTIL(!proxy_has_pairs(proxy), LIVE_MS);
}

static inline void proxy_gone(uv_handle_t *handle)
{
    ((struct proxy *)handle->data)->is_gone = true;
}

static inline void proxy_stop(struct proxy *proxy)
{
    uv_close((uv_handle_t *)&proxy->listener, proxy_gone);
    WAIT_UNTIL(proxy->is_gone, LIVE_MS);
    proxy_cut(proxy);
    free(proxy->seen);
}

#endif
