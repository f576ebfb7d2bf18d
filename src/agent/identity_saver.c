/*
 * Saves the identity file without stopping the loop: a thread that waits for
 * the newest identity, writes it, and reports. A stalled disk stalls only this
 * thread. Requests in between are replaced by newer ones, never reordered.
 */
#include <pthread.h>

#include "agent/agent_state.h"
#include "base/log.h"

#define GIVE_UP_MS 1000 /* A stalled disk must not keep the agent from leaving. */

struct identity_saver {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    uv_async_t async;
    char *directory;
    char *copy_directory;
    identity_saved_cb cb;
    void *data;

    /* Under the mutex. */
    struct identity next; /* To be written. */
    bool has_next;
    bool stop;
    bool ended;
    struct identity saved; /* Written, or tried to. */
    bool has_saved;
    int status;
    struct err err;

    /* Loop only. */
    uv_timer_t give_up; /* While closing. */
    unsigned n_handles; /* libuv holds. */
    bool abandoned;     /* The thread hangs on its disk: it keeps this struct. */
    void (*close_cb)(void *data);
    void *close_data;
};

/* Of what is durable. It is a help when the first is unreadable or of the past; without it
 * everything goes on. */
static void save_copy(const struct identity_saver *s, const struct identity *identity, int status)
{
    struct err err = {""};

    if (status == 0 && identity_save(s->copy_directory, identity, &err) != 0) {
        log_warning("The copy of the identity file was not written, going on without. why=\"%s\"",
                    err.text);
    }
}

static void *saver_thread(void *arg)
{
    struct identity_saver *s = arg;

    pthread_mutex_lock(&s->mutex);
    while (!s->stop || s->has_next) {
        struct identity identity;
        struct err err = {""};
        int status;

        if (!s->has_next) {
            pthread_cond_wait(&s->wake, &s->mutex);
            continue;
        }
        identity = s->next;
        s->has_next = false;
        pthread_mutex_unlock(&s->mutex);
        status = identity_save(s->directory, &identity, &err);
        save_copy(s, &identity, status);
        pthread_mutex_lock(&s->mutex);
        s->saved = identity;
        s->has_saved = true;
        s->status = status;
        s->err = err;
        uv_async_send(&s->async);
    }
    s->ended = true;
    uv_async_send(&s->async);
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

static void on_closed(uv_handle_t *handle)
{
    struct identity_saver *s = handle->data;
    void (*cb)(void *data) = s->close_cb;
    void *data = s->close_data;

    if (--s->n_handles > 0) {
        return;
    }
    if (!s->abandoned) {
        pthread_mutex_destroy(&s->mutex);
        pthread_cond_destroy(&s->wake);
        free(s->directory);
        free(s->copy_directory);
        free(s);
    }
    cb(data);
}

static void close_handles(struct identity_saver *s)
{
    s->n_handles = 2;
    uv_close((uv_handle_t *)&s->async, on_closed);
    uv_close((uv_handle_t *)&s->give_up, on_closed);
}

static void on_give_up(uv_timer_t *timer)
{
    struct identity_saver *s = timer->data;

    s->abandoned = true;
    pthread_detach(s->thread);
    close_handles(s);
}

static void on_async(uv_async_t *handle)
{
    struct identity_saver *s = handle->data;
    struct identity saved;
    struct err err;
    bool has_saved;
    bool ended;
    int status;

    pthread_mutex_lock(&s->mutex);
    saved = s->saved;
    has_saved = s->has_saved;
    s->has_saved = false;
    status = s->status;
    err = s->err;
    ended = s->ended;
    pthread_mutex_unlock(&s->mutex);
    if (has_saved) {
        s->cb(s->data, &saved, status, err.text);
    }
    if (ended && s->close_cb != NULL && !uv_is_closing((uv_handle_t *)&s->async)) {
        pthread_join(s->thread, NULL);
        close_handles(s);
    }
}

struct identity_saver *identity_saver_new(uv_loop_t *loop, const char *directory,
                                          const char *copy_directory, identity_saved_cb cb,
                                          void *data)
{
    struct identity_saver *s = xmalloc(sizeof(*s));
    int rv;

    s->directory = xstrdup(directory);
    s->copy_directory = xstrdup(copy_directory);
    s->cb = cb;
    s->data = data;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->wake, NULL);
    rv = uv_async_init(loop, &s->async, on_async);
    ASSERT(rv == 0);
    s->async.data = s;
    uv_timer_init(loop, &s->give_up);
    s->give_up.data = s;
    rv = pthread_create(&s->thread, NULL, saver_thread, s);
    ASSERT(rv == 0);
    return s;
}

void identity_saver_save(struct identity_saver *s, const struct identity *identity)
{
    pthread_mutex_lock(&s->mutex);
    s->next = *identity;
    s->has_next = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mutex);
}

void identity_saver_close(struct identity_saver *s, void (*cb)(void *data), void *data)
{
    s->close_cb = cb;
    s->close_data = data;
    uv_timer_start(&s->give_up, on_give_up, GIVE_UP_MS, 0);
    pthread_mutex_lock(&s->mutex);
    s->stop = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mutex);
}
