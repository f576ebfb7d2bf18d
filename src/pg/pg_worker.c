/*
 * The thread behind a queue, see pg_worker.h. The loop owns a job before
 * pg_worker_submit and from `done` on; in between it is the thread's.
 */
#include "pg/pg_worker.h"

#include <pthread.h>
#include <signal.h>

struct pg_worker {
    pthread_t thread;
    pthread_mutex_t lock; /* Guards the lists and flags. */
    pthread_cond_t wake;
    struct list todo;
    struct list done;
    bool closing;  /* No job comes any more. */
    bool finished; /* The thread is at its end. */
    uv_async_t async;
    void (*cb)(void *data);
    void *data;
};

/* The next job, or NULL when the thread is to end. */
static struct pg_job *next_job(struct pg_worker *w)
{
    struct pg_job *job = NULL;

    (void)pthread_mutex_lock(&w->lock);
    while (list_is_empty(&w->todo) && !w->closing) {
        (void)pthread_cond_wait(&w->wake, &w->lock);
    }
    if (!list_is_empty(&w->todo)) {
        job = CONTAINER_OF(w->todo.next, struct pg_job, node);
        list_remove(&job->node);
    } else {
        w->finished = true;
    }
    (void)pthread_mutex_unlock(&w->lock);
    return job;
}

static void *run(void *data)
{
    struct pg_worker *w = data;
    struct pg_job *job;

    while ((job = next_job(w)) != NULL) {
        job->work(job);
        (void)pthread_mutex_lock(&w->lock);
        list_push_back(&w->done, &job->node);
        (void)pthread_mutex_unlock(&w->lock);
        (void)uv_async_send(&w->async); /* Can not fail on an open handle. */
    }
    (void)uv_async_send(&w->async);
    return NULL;
}

static void on_closed(uv_handle_t *handle)
{
    struct pg_worker *w = CONTAINER_OF((uv_async_t *)handle, struct pg_worker, async);

    w->cb(w->data);
    (void)pthread_mutex_destroy(&w->lock);
    (void)pthread_cond_destroy(&w->wake);
    free(w);
}

static void on_async(uv_async_t *async)
{
    struct pg_worker *w = CONTAINER_OF(async, struct pg_worker, async);
    bool finished;

    for (;;) {
        struct pg_job *job = NULL;

        (void)pthread_mutex_lock(&w->lock);
        finished = w->finished;
        if (!list_is_empty(&w->done)) {
            job = CONTAINER_OF(w->done.next, struct pg_job, node);
            list_remove(&job->node);
        }
        (void)pthread_mutex_unlock(&w->lock);
        if (job == NULL) {
            break;
        }
        job->done(job);
    }
    if (finished && !uv_is_closing((uv_handle_t *)async)) {
        (void)pthread_join(w->thread, NULL);
        uv_close((uv_handle_t *)async, on_closed);
    }
}

struct pg_worker *pg_worker_new(uv_loop_t *loop)
{
    struct pg_worker *w = xmalloc(sizeof(*w));
    sigset_t all, old;
    int status;

    list_init(&w->todo);
    list_init(&w->done);
    ASSERT(pthread_mutex_init(&w->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&w->wake, NULL) == 0);
    ASSERT(uv_async_init(loop, &w->async, on_async) == 0);
    /* Signals are the loop's. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    status = pthread_create(&w->thread, NULL, run, w);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    ASSERT(status == 0);
    return w;
}

void pg_worker_submit(struct pg_worker *w, struct pg_job *job)
{
    PRE(job->work != NULL && job->done != NULL);
    (void)pthread_mutex_lock(&w->lock);
    PRE(!w->closing);
    list_push_back(&w->todo, &job->node);
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
}

void pg_worker_close(struct pg_worker *w, void (*cb)(void *data), void *data)
{
    (void)pthread_mutex_lock(&w->lock);
    w->closing = true;
    w->cb = cb;
    w->data = data;
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
}
