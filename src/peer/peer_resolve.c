/*
 * Name look-ups, see peer_resolve.h. A job belongs to the resolver's list until
 * its thread is done and the loop has taken the result. Thread and loop meet
 * under one mutex; the memory they share goes with the last reference, which a
 * thread may hold long after the peer is gone.
 */
#include "peer/peer_resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>

#include "base/list.h"
#include "base/str.h"
#include "peer/peer_address.h"
#include "peer/peer_internal.h"

struct resolve_job {
    struct resolver *resolver;
    struct list list; /* In resolver->jobs. */
    char host[HOST_SIZE];
    uint16_t port;
    resolve_cb cb; /* NULL = cancelled, or waited for. */
    void *data;
    bool is_done; /* By the thread; what follows is set. */
    size_t n_found;
    struct sockaddr_storage found[RESOLVED_MAX];
    char problem[TEXT_SIZE];
};

struct resolver {
    pthread_mutex_t mutex; /* Guards everything below but the close callback. */
    pthread_cond_t done;
    size_t n_references; /* The owner's and one for each running thread. */
    bool is_closed;      /* The handle must not be touched. */
    struct list jobs;
    uv_async_t async;
    void (*close_cb)(void *data);
    void *close_data;
};

static void lock(struct resolver *r)
{
    int rv = pthread_mutex_lock(&r->mutex);

    ASSERT(rv == 0);
}

static void unlock(struct resolver *r)
{
    int rv = pthread_mutex_unlock(&r->mutex);

    ASSERT(rv == 0);
}

/* Locked before; unlocked, and maybe freed, after. */
static void release(struct resolver *r)
{
    bool is_last = --r->n_references == 0;

    unlock(r);
    if (!is_last) {
        return;
    }
    while (!list_is_empty(&r->jobs)) {
        struct resolve_job *job = CONTAINER_OF(r->jobs.next, struct resolve_job, list);

        list_remove(&job->list);
        free(job);
    }
    (void)pthread_cond_destroy(&r->done);   /* Nobody waits. */
    (void)pthread_mutex_destroy(&r->mutex); /* Nobody holds it. */
    free(r);
}

static void keep_found(struct resolve_job *job, const struct addrinfo *list)
{
    for (const struct addrinfo *a = list; a != NULL && job->n_found < RESOLVED_MAX;
         a = a->ai_next) {
        struct sockaddr_storage *to = &job->found[job->n_found];

        if ((a->ai_family == AF_INET || a->ai_family == AF_INET6) && a->ai_addrlen <= sizeof(*to)) {
            memcpy(to, a->ai_addr, a->ai_addrlen);
            sockaddr_set_port(to, job->port);
            job->n_found++;
        }
    }
}

static void *look_up(void *arg)
{
    struct resolve_job *job = arg;
    struct resolver *r = job->resolver;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int rv = getaddrinfo(job->host, NULL, &hints, &found);

    lock(r);
    if (rv == 0) {
        keep_found(job, found);
        freeaddrinfo(found);
    }
    if (job->n_found == 0) {
        struct sbuf b;

        sbuf_init(&b, job->problem, sizeof(job->problem));
        sbuf_printf(&b, "cannot resolve \"%s\": %s", job->host,
                    rv == 0 ? "no address" : gai_strerror(rv));
    }
    job->is_done = true;
    (void)pthread_cond_broadcast(&r->done); /* Always 0. */
    if (!r->is_closed) {
        (void)uv_async_send(&r->async); /* Fails on bad handles only. */
    }
    release(r);
    return NULL;
}

/* Takes one finished job off the list. */
static struct resolve_job *next_done(struct resolver *r)
{
    struct resolve_job *done = NULL;

    lock(r);
    LIST_FOREACH (it, &r->jobs) {
        struct resolve_job *job = CONTAINER_OF(it, struct resolve_job, list);

        if (job->is_done) {
            done = job;
            break;
        }
    }
    if (done != NULL) {
        list_remove(&done->list);
    }
    unlock(r);
    return done;
}

static void on_async(uv_async_t *async)
{
    struct resolver *r = CONTAINER_OF(async, struct resolver, async);

    for (;;) {
        struct resolve_job *job = next_done(r);

        if (job == NULL) {
            return;
        }
        if (job->cb != NULL) {
            job->cb(job->data, job->found, job->n_found, job->problem);
        }
        free(job);
    }
}

struct resolver *resolver_new(uv_loop_t *loop, struct err *err)
{
    struct resolver *r = xmalloc(sizeof(*r));
    pthread_condattr_t attributes;
    int rv = uv_async_init(loop, &r->async, on_async);

    if (rv < 0) {
        (void)err_set(err, "uv_async_init: %s", uv_strerror(rv));
        free(r);
        return NULL;
    }
    (void)pthread_condattr_init(&attributes); /* Can not fail on Linux. */
    rv = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    ASSERT(rv == 0);
    (void)pthread_cond_init(&r->done, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)pthread_mutex_init(&r->mutex, NULL);
    list_init(&r->jobs);
    r->n_references = 1;
    return r;
}

static int start_thread(struct resolve_job *job)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all;
    sigset_t before;
    int rv;

    (void)pthread_attr_init(&attributes); /* These can not fail with such values. */
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* Signals are the loop's. */
    rv = pthread_create(&thread, &attributes, look_up, job);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return rv;
}

struct resolve_job *resolver_start(struct resolver *r, const char *host, uint16_t port,
                                   resolve_cb cb, void *data)
{
    struct resolve_job *job = xmalloc(sizeof(*job));

    job->resolver = r;
    (void)str_copy(job->host, sizeof(job->host), host); /* Parsed: fits. */
    job->port = port;
    job->cb = cb;
    job->data = data;
    lock(r);
    list_push_back(&r->jobs, &job->list);
    r->n_references++;
    if (start_thread(job) != 0) {
        list_remove(&job->list);
        r->n_references--;
        free(job);
        job = NULL;
    }
    unlock(r);
    return job;
}

void resolver_cancel(struct resolver *r, struct resolve_job *job)
{
    if (job != NULL) {
        lock(r);
        job->cb = NULL; /* Only the loop reads it. */
        unlock(r);
    }
}

static struct timespec moment_after(uint64_t ms)
{
    uint64_t ns = uv_hrtime() + ms * NS_PER_MS; /* CLOCK_MONOTONIC, as the condition's. */

    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000),
                             .tv_nsec = (long)(ns % 1000000000)};
}

int resolver_wait(struct resolver *r, const char *host, uint16_t port, uint64_t limit_ms,
                  struct sockaddr_storage *ret_address, struct err *err)
{
    struct timespec limit = moment_after(limit_ms);
    struct resolve_job *job = resolver_start(r, host, port, NULL, NULL);
    int rv = 0;
    int result = -1;

    if (job == NULL) {
        return err_set(err, "cannot start a thread to resolve \"%s\"", host);
    }
    lock(r);
    while (!job->is_done && rv == 0) {
        rv = pthread_cond_timedwait(&r->done, &r->mutex, &limit);
    }
    if (!job->is_done) {
        (void)err_set(err, "resolving \"%s\" took more than %llu ms", host,
                      (unsigned long long)limit_ms);
    } else if (job->n_found == 0) {
        (void)err_set(err, "%s", job->problem);
    } else {
        *ret_address = job->found[0];
        result = 0;
    }
    unlock(r);
    return result; /* The job is freed by the loop, or with the resolver. */
}

static void on_async_closed(uv_handle_t *handle)
{
    struct resolver *r = CONTAINER_OF(handle, struct resolver, async);
    void (*cb)(void *data) = r->close_cb;
    void *data = r->close_data;

    lock(r);
    release(r);
    cb(data);
}

void resolver_close(struct resolver *r, void (*cb)(void *data), void *data)
{
    lock(r);
    r->is_closed = true;
    unlock(r);
    r->close_cb = cb;
    r->close_data = data;
    uv_close((uv_handle_t *)&r->async, on_async_closed);
}
