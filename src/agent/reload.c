/*
 * SIGHUP: the configuration is read again, by a thread, because files may be on
 * a disk that hangs; what can change without a restart is then taken over on the
 * loop. That is the secret and the certificates of raft:, the sections watchdog: and restapi:
 * (but for its addresses), and of postgresql: what is not in need_restart below. All or nothing: a
 * configuration with any error, or certificates that can not be used, change nothing.
 *
 * A SIGHUP during a reload starts another one when that is through.
 */
#include <pthread.h>

#include "agent/agent.h"
#include "agent/agent_state.h"
#include "base/log.h"
#include "base/str.h"

#define WAITING_MAX 16

struct waiting { /* Who wants to know what became of it. */
    reload_cb cb;
    void *data;
};

struct reload {
    struct agent *agent; /* Loop only. */
    uv_async_t async;
    char *path, *scope, *name;           /* Of the node that runs: others need a restart. */
    struct kv_list env;                  /* What it was given by the environment. */
    bool is_running;                     /* The thread is at work. */
    bool is_wanted;                      /* Once more after it. */
    struct waiting waiting[WAITING_MAX]; /* For the end of it: the first n_served of the one that */
    size_t n_waiting, n_served;          /* runs, the rest of the next. */
    struct reload_result result;         /* Of the one that ended last, */
    char why[ERR_TEXT_SIZE];             /* its reason. */

    /* The thread's, until it has ended. */
    pthread_mutex_t mutex; /* Of the next two. */
    bool has_ended;
    bool is_abandoned; /* The loop is gone: the struct is the thread's alone. */
    struct conf *conf; /* As read; NULL = failed. */
    struct tls_context *secrets;
    struct http_setup *rest;
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
    struct http_setup *rest = agent_rest_load(c, err);
    int r = 0;

    if (rest == NULL) {
        return -1;
    }
    http_setup_free(rest);
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
    r->rest = NULL;
    r->conf = conf_load_with(r->path, &r->env, on_warning, NULL, &r->err);
    if (r->conf == NULL) {
        return;
    }
    r->rest = agent_rest_load(r->conf, &r->err);
    if (r->rest == NULL) {
        conf_free(r->conf);
        r->conf = NULL;
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
    http_setup_free(r->rest);
    r->rest = NULL;
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

/* The first n of those who wait are told. */
static void answer(struct reload *r, size_t n, const struct reload_result *result)
{
    struct waiting told[WAITING_MAX];

    PRE(n <= r->n_waiting);
    memcpy(told, r->waiting, n * sizeof(told[0]));
    memmove(r->waiting, r->waiting + n, (r->n_waiting - n) * sizeof(told[0]));
    r->n_waiting -= n;
    r->n_served = 0;
    for (size_t i = 0; i < n; i++) {
        told[i].cb(told[i].data, result); /* May ask for the next one. */
    }
}

/* False: logged. */
static bool run(struct reload *r)
{
    pthread_t thread;

    r->has_ended = false;
    if (pthread_create(&thread, NULL, reload_thread, r) != 0) {
        log_error("Cannot reload the configuration now, going on with the old one. why=\"no thread "
                  "can be started\"");
        return false;
    }
    pthread_detach(thread);
    r->n_served = r->n_waiting;
    r->is_running = true;
    return true;
}

static void refuse(struct reload *r, const char *why)
{
    (void)str_copy(r->why, sizeof(r->why), why);
    r->result = (struct reload_result){false, r->why, "", ""};
    log_error("The configuration was not reloaded, everything goes on as before; mend it and send "
              "SIGHUP again. why=\"%s\"",
              why);
}

#define SWAP(a, b)                \
    do {                          \
        __typeof__(a) swap = (a); \
        (a) = (b);                \
        (b) = swap;               \
    } while (0)

/* The old ones go with what was read. Their structs stay where they are: sequences know
 * them by address. */
static void swap_postgresql(struct conf *c, struct conf *fresh)
{
    SWAP(c->pg_listen_addresses, fresh->pg_listen_addresses);
    SWAP(c->pg_port, fresh->pg_port);
    SWAP(c->pg_connect_host, fresh->pg_connect_host);
    SWAP(c->pg_connect_port, fresh->pg_connect_port);
    SWAP(c->pg_database, fresh->pg_database);
    SWAP(c->pg_pgpass, fresh->pg_pgpass);
    SWAP(c->pg_use_unix_socket, fresh->pg_use_unix_socket);
    SWAP(c->pg_custom_conf, fresh->pg_custom_conf);
    SWAP(c->superuser, fresh->superuser);
    SWAP(c->replication, fresh->replication);
    SWAP(c->rewind, fresh->rewind);
    SWAP(c->pg_parameters, fresh->pg_parameters);
    SWAP(c->pg_hba, fresh->pg_hba);
    SWAP(c->pg_ident, fresh->pg_ident);
    SWAP(c->pg_recovery_conf, fresh->pg_recovery_conf);
    for (size_t i = 0; i < CONF_N_ROLES; i++) {
        SWAP(c->pg_parameters_of[i], fresh->pg_parameters_of[i]);
        SWAP(c->pg_hba_of[i], fresh->pg_hba_of[i]);
        SWAP(c->pg_ident_of[i], fresh->pg_ident_of[i]);
    }
    SWAP(c->pg_basebackup, fresh->pg_basebackup);
    SWAP(c->pg_rewind, fresh->pg_rewind);
}

/* Of postgresql: these are the agent's own for as long as it runs. */
static void say_need_restart(const struct conf *c, const struct conf *fresh)
{
    const struct {
        const char *key, *old, *fresh;
    } rows[] = {
        {"postgresql.data_dir", c->pg_data_dir, fresh->pg_data_dir},
        {"postgresql.config_dir", c->pg_config_dir, fresh->pg_config_dir},
        {"postgresql.bin_dir", c->pg_bin_dir, fresh->pg_bin_dir},
        {"postgresql.config_base_name", c->pg_config_base_name, fresh->pg_config_base_name},
    };

    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        if (!str_equal(rows[i].old, rows[i].fresh)) {
            log_warning("A change needs a restart of the agent, until then the old value counts. "
                        "key=%s old=%s new=%s",
                        rows[i].key, rows[i].old != NULL ? rows[i].old : "-",
                        rows[i].fresh != NULL ? rows[i].fresh : "-");
        }
    }
}

static void take_postgresql(struct agent *a, struct conf *fresh)
{
    if (a->pg == NULL || fresh->mode == CONF_MODE_WITNESS) {
        return;
    }
    say_need_restart(a->conf, fresh);
    swap_postgresql(a->conf, fresh);
    agent_apply_pg_options(a);
    agent_mark_dirty(a);
}

static void take_over(struct reload *r)
{
    bool changed = false;

    r->result = (struct reload_result){true, "", "", ""};
    if (r->conf == NULL) {
        refuse(r, r->err.text);
        return;
    }
    if (r->secrets == NULL && peer_has_secrets(r->agent->peer)) {
        refuse(r,
               "neither raft.password nor raft.tls is given any more: restart the agent for that");
        return;
    }
    if (r->secrets != NULL) {
        if (peer_use_secrets(r->agent->peer, r->secrets, &changed, &r->err) < 0) {
            refuse(r, r->err.text);
            return;
        }
        r->secrets = NULL; /* Theirs now. */
    }
    take_postgresql(r->agent, r->conf);
    if (http_configure(r->agent->http, r->rest, &r->err) != 0) {
        log_error("The section restapi: stays as it was, all else was taken over. why=\"%s\"",
                  r->err.text);
    } else {
        r->rest = NULL; /* Theirs now. */
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
                 "before. What is not of raft:, restapi:, watchdog: or postgresql: needs a restart "
                 "of the agent.");
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
    if (!r->agent->leaving) {
        answer(r, r->n_served, &r->result); /* Which may start the next one. */
    }
    if (r->is_wanted && !r->is_running) {
        r->is_wanted = false;
        if (!run(r)) {
            answer(r, r->n_waiting,
                   &(struct reload_result){false, "no thread can be started", "", ""});
        }
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

bool agent_reload(struct agent *a, reload_cb cb, void *data)
{
    struct reload *r = a->reload;

    if (a->leaving || (cb != NULL && r->n_waiting == WAITING_MAX)) {
        return false;
    }
    if (cb != NULL) {
        r->waiting[r->n_waiting++] = (struct waiting){cb, data};
    }
    if (r->is_running) {
        r->is_wanted = true;
        return true;
    }
    if (!run(r)) {
        r->n_waiting -= cb != NULL ? 1 : 0;
        return false;
    }
    return true;
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

    answer(r, r->n_waiting, &(struct reload_result){false, "the agent stops", "", ""});
    a->reload = NULL;
    r->close_cb = cb;
    r->close_data = data;
    uv_close((uv_handle_t *)&r->async, on_closed);
}
