/*
 * SIGHUP: the configuration is read again, by a thread, because files may be on
 * a disk that hangs; what can change without a restart is then taken over on the
 * loop. That is the secret and the certificates of raft:, and the section
 * watchdog:, so far. All or nothing: a configuration with any error, or
 * certificates that can not be used, change nothing.
 *
 * A SIGHUP during a reload starts another one when that is through.
 */
#include <pthread.h>

#include "agent/agent.h"
#include "agent/agent_state.h"
#include "base/log.h"

struct reload {
    struct agent *agent; /* Loop only. */
    uv_async_t async;
    char *path, *scope, *name; /* Of the node that runs: others need a restart. */
    struct kv_list env;        /* What it was given by the environment. */
    bool is_running;           /* The thread is at work. */
    bool is_wanted;            /* Once more after it. */

    /* The thread's, until it has ended. */
    pthread_mutex_t mutex; /* Of the next two. */
    bool has_ended;
    bool is_abandoned; /* The loop is gone: the struct is the thread's alone. */
    struct conf *conf; /* As read; NULL = failed. */
    struct tls_context *secrets;
    struct err err;

    /* End. */
    void (*close_cb)(void *data);
    void *close_data;
};

static void on_warning(void *data, const char *text)
{
    (void)data;
    log_warning("%s", text);
}

void agent_fill_secrets(const struct conf *c, struct peer_secrets *secrets)
{
    *secrets = (struct peer_secrets){.password = c->raft_password,
                                     .cert = c->raft_tls_cert,
                                     .key = c->raft_tls_key,
                                     .ca = c->raft_tls_ca};
}

int agent_check_files(const struct conf *c, struct err *err)
{
    struct peer_secrets secrets;
    struct tls_context *context;
    int r = 0;

    agent_fill_secrets(c, &secrets);
    if (secrets.cert == NULL) {
        return 0;
    }
    context = peer_load_secrets(&secrets, c->scope, c->name, err);
    if (context == NULL) {
        return -1;
    }
    r = peer_check_secrets(context, err);
    peer_free_secrets(context);
    return r;
}

static void read_all(struct reload *r)
{
    struct peer_secrets secrets;

    r->err.text[0] = '\0';
    r->secrets = NULL;
    r->conf = conf_load_with(r->path, &r->env, on_warning, NULL, &r->err);
    if (r->conf == NULL) {
        return;
    }
    agent_fill_secrets(r->conf, &secrets);
    if (secrets.password == NULL && secrets.cert == NULL) {
        return;
    }
    r->secrets = peer_load_secrets(&secrets, r->scope, r->name, &r->err);
    if (r->secrets == NULL) {
        conf_free(r->conf);
        r->conf = NULL;
    }
}

static void drop(struct reload *r)
{
    if (r->secrets != NULL) {
        peer_free_secrets(r->secrets);
        r->secrets = NULL;
    }
    if (r->conf != NULL) {
        conf_free(r->conf);
        r->conf = NULL;
    }
}

static void free_all(struct reload *r)
{
    drop(r);
    pthread_mutex_destroy(&r->mutex);
    free(r->path);
    kv_deinit(&r->env);
    free(r->scope);
    free(r->name);
    free(r);
}

static void *reload_thread(void *arg)
{
    struct reload *r = arg;
    bool is_abandoned;

    read_all(r);
    pthread_mutex_lock(&r->mutex);
    r->has_ended = true;
    is_abandoned = r->is_abandoned;
    if (!is_abandoned) {
        uv_async_send(&r->async);
    }
    pthread_mutex_unlock(&r->mutex);
    if (is_abandoned) {
        free_all(r);
    }
    return NULL;
}

static void run(struct reload *r)
{
    pthread_t thread;

    r->has_ended = false;
    if (pthread_create(&thread, NULL, reload_thread, r) != 0) {
        log_error("Cannot reload the configuration now, going on with the old one. why=\"no thread "
                  "can be started\"");
        return;
    }
    pthread_detach(thread);
    r->is_running = true;
}

static void refuse(const char *why)
{
    log_error("The configuration was not reloaded, everything goes on as before; mend it and send "
              "SIGHUP again. why=\"%s\"",
              why);
}

static void take_over(struct reload *r)
{
    bool changed = false;

    if (r->conf == NULL) {
        refuse(r->err.text);
        return;
    }
    if (r->secrets == NULL && peer_has_secrets(r->agent->peer)) {
        refuse("neither raft.password nor raft.tls is given any more: restart the agent for that");
        return;
    }
    if (r->secrets != NULL) {
        if (peer_use_secrets(r->agent->peer, r->secrets, &changed, &r->err) < 0) {
            refuse(r->err.text);
            return;
        }
        r->secrets = NULL; /* Theirs now. */
    }
    if (r->agent->pg != NULL && agent_watch_configure(r->agent, r->conf)) {
        log_info("The section watchdog: was changed. mode=%s device=%s", r->conf->watchdog_mode,
                 r->conf->watchdog_device);
    }
    if (changed) {
        log_info("The secret or certificates of raft: were changed. New connections use them; the "
                 "previous ones are accepted too, until the next change or a restart.");
    } else {
        log_info("The configuration was read again; secret and certificates of raft: are as "
                 "before. What is not of raft: or watchdog: needs a restart of the agent.");
    }
}

static void on_async(uv_async_t *async)
{
    struct reload *r = async->data;

    pthread_mutex_lock(&r->mutex); /* The thread may still hold it. */
    r->is_running = !r->has_ended;
    pthread_mutex_unlock(&r->mutex);
    if (r->is_running) {
        return;
    }
    if (!r->agent->leaving) {
        take_over(r);
    }
    drop(r);
    if (r->is_wanted) {
        r->is_wanted = false;
        run(r);
    }
}

void agent_reload_init(struct agent *a)
{
    struct reload *r = xmalloc(sizeof(*r));
    int rv;

    r->agent = a;
    r->path = a->conf->path != NULL ? xstrdup(a->conf->path) : NULL;
    kv_copy(&r->env, &a->conf->env);
    r->scope = xstrdup(a->conf->scope);
    r->name = xstrdup(a->conf->name);
    pthread_mutex_init(&r->mutex, NULL);
    rv = uv_async_init(&a->loop, &r->async, on_async);
    ASSERT(rv == 0);
    r->async.data = r;
    a->reload = r;
}

void agent_reload(struct agent *a)
{
    if (a->leaving) {
        return;
    }
    if (a->reload->is_running) {
        a->reload->is_wanted = true;
    } else {
        run(a->reload);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct reload *r = handle->data;
    void (*cb)(void *data) = r->close_cb;
    void *data = r->close_data;
    bool is_abandoned;

    pthread_mutex_lock(&r->mutex);
    r->is_abandoned = r->is_running && !r->has_ended; /* A disk that hangs. */
    is_abandoned = r->is_abandoned;
    pthread_mutex_unlock(&r->mutex);
    if (!is_abandoned) {
        free_all(r);
    }
    cb(data);
}

void agent_reload_close(struct agent *a, void (*cb)(void *data), void *data)
{
    struct reload *r = a->reload;

    a->reload = NULL;
    r->close_cb = cb;
    r->close_data = data;
    uv_close((uv_handle_t *)&r->async, on_closed);
}
