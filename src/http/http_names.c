/*
 * Looking names up, see http_names.h. Thread and loop meet under the mutex; the memory
 * they share goes with the last of the two.
 */
#include "http/http_names.h"

#include <netdb.h>
#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/str.h"
#include "http/http_setup.h"

#define AGAIN_MS   60000
#define FOUND_MAX  256
#define TEXT_BYTES 64

struct http_names {
    /* The loop's. */
    uv_async_t async;
    struct kv_list asked;   /* What the look-up that runs, or ran last, was about. */
    struct kv_list present; /* name -> address, several times. */
    uint64_t asked_ms;      /* 0 = never. */
    void (*close_cb)(void *data);
    void *close_data;

    bool is_running; /* A thread was started, and on_async() has not seen its end. */

    pthread_mutex_t mutex; /* Of what follows; the lists are the thread's until it ends. */
    bool has_ended;        /* `found` is there. */
    bool is_closed;        /* No loop any more: the thread frees it. */
    struct kv_list wanted;
    struct kv_list found;
};

static void look_up(const char *name, struct kv_list *found)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *all = NULL;
    char text[TEXT_BYTES];

    if (getaddrinfo(name, NULL, &hints, &all) != 0) {
        return; /* What it stood for before goes on. */
    }
    for (const struct addrinfo *at = all; at != NULL && found->n < FOUND_MAX; at = at->ai_next) {
        if (getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) ==
            0) {
            kv_add(found, name, text);
        }
    }
    freeaddrinfo(all);
}

static void free_all(struct http_names *n)
{
    pthread_mutex_destroy(&n->mutex);
    kv_deinit(&n->asked);
    kv_deinit(&n->present);
    kv_deinit(&n->wanted);
    kv_deinit(&n->found);
    free(n);
}

static void *run(void *arg)
{
    struct http_names *n = arg;
    bool is_closed;

    for (size_t i = 0; i < n->wanted.n; i++) {
        look_up(n->wanted.items[i].key, &n->found);
    }
    pthread_mutex_lock(&n->mutex);
    n->has_ended = true;
    is_closed = n->is_closed;
    if (!is_closed) {
        uv_async_send(&n->async);
    }
    pthread_mutex_unlock(&n->mutex);
    if (is_closed) {
        free_all(n);
    }
    return NULL;
}

/* Of a name that could not be looked up the old addresses. */
static void keep_missing(struct http_names *n)
{
    struct kv_list kept = {0};

    for (size_t i = 0; i < n->present.n; i++) {
        const struct kv *old = &n->present.items[i];

        if (kv_has(&n->wanted, old->key) && !kv_has(&n->found, old->key)) {
            kv_add(&kept, old->key, old->value);
        }
    }
    for (size_t i = 0; i < kept.n; i++) {
        kv_add(&n->found, kept.items[i].key, kept.items[i].value);
    }
    kv_deinit(&kept);
}

static void on_async(uv_async_t *async)
{
    struct http_names *n = async->data;
    bool has_ended;

    pthread_mutex_lock(&n->mutex); /* The thread may still hold it. */
    has_ended = n->has_ended;
    n->has_ended = false;
    n->is_running = n->is_running && !has_ended;
    pthread_mutex_unlock(&n->mutex);
    if (has_ended) {
        keep_missing(n);
        kv_copy(&n->present, &n->found);
        kv_deinit(&n->found);
        kv_deinit(&n->wanted);
    }
}

struct http_names *http_names_new(uv_loop_t *loop)
{
    struct http_names *n = xmalloc(sizeof(*n));
    int rv;

    pthread_mutex_init(&n->mutex, NULL);
    rv = uv_async_init(loop, &n->async, on_async);
    ASSERT(rv == 0);
    n->async.data = n;
    return n;
}

static bool same_names(const struct kv_list *a, const struct kv_list *b)
{
    bool same = a->n == b->n;

    for (size_t i = 0; same && i < a->n; i++) {
        same = kv_has(b, a->items[i].key);
    }
    return same;
}

void http_names_want(struct http_names *n, const struct kv_list *wanted, uint64_t now_ms)
{
    bool is_new =
        n->asked_ms == 0 || now_ms >= n->asked_ms + AGAIN_MS || !same_names(&n->asked, wanted);
    pthread_t thread;

    if (n->is_running || wanted->n == 0 || !is_new) {
        return;
    }
    kv_copy(&n->asked, wanted);
    kv_copy(&n->wanted, wanted);
    n->asked_ms = now_ms;
    if (pthread_create(&thread, NULL, run, n) == 0) {
        pthread_detach(thread);
        n->is_running = true;
    }
}

bool http_names_has(const struct http_names *n, const char *host, const struct sockaddr *address)
{
    struct http_net net;
    bool found = false;

    for (size_t i = 0; i < n->present.n; i++) {
        found = found ||
                (str_equal(n->present.items[i].key, host) &&
                 http_net_parse(n->present.items[i].value, &net) && http_net_has(&net, address));
    }
    return found;
}

static void on_closed(uv_handle_t *handle)
{
    struct http_names *n = handle->data;
    void (*cb)(void *data) = n->close_cb;
    void *data = n->close_data;
    bool is_threads;

    pthread_mutex_lock(&n->mutex);
    is_threads = n->is_running && !n->has_ended;
    n->is_closed = is_threads;
    pthread_mutex_unlock(&n->mutex);
    if (!is_threads) {
        free_all(n);
    }
    cb(data);
}

void http_names_close(struct http_names *n, void (*cb)(void *data), void *data)
{
    n->close_cb = cb;
    n->close_data = data;
    uv_close((uv_handle_t *)&n->async, on_closed);
}
