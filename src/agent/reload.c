/*
 * SIGHUP and POST /reload: the configuration is read again, by a thread, because files may be
 * on a disk that hangs; what can change without a restart is then taken over on the loop
 * (conf_take; the schema says which keys). All or nothing: a configuration with any error, or
 * certificates that can not be used, change nothing, and whoever asked is told why.
 *
 * Asked during a reload another one follows when that is through. Whoever asked waits for 10 s at
 * most; what is read later than that is taken over all the same.
 */
#include <pthread.h>

#include "agent/agent.h"
#include "agent/agent_state.h"
#include "base/log.h"
#include "base/str.h"

#define WAITING_MAX 16
#define ANSWER_MS   10000 /* Files are read in milliseconds, unless their disk is in trouble. */

struct waiting { /* Who wants to know what became of it. */
    reload_cb cb;
    void *data;
    uint64_t until_ms;
};

struct reload {
    struct agent *agent; /* Loop only. */
    uv_async_t async;
    uv_timer_t timer; /* For the first of those who wait. */
    unsigned n_handles;
    char *path, *scope, *name;           /* Of the node that runs: others need a restart. */
    struct kv_list env;                  /* What it was given by the environment. */
    bool is_running;                     /* The thread is at work. */
    bool is_wanted;                      /* Once more after it. */
    struct waiting waiting[WAITING_MAX]; /* For the end of it: the first n_served of the one that */
    size_t n_waiting, n_served;          /* runs, the rest of the next. */
    struct reload_result result;         /* Of the one that ended last, */
    char why[ERR_TEXT_SIZE];             /* its reason, */
    struct strbuf changed, restart;      /* and the names of keys. */

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
        conf_place_error(r->conf, &r->err);
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
    strbuf_deinit(&r->changed);
    strbuf_deinit(&r->restart);
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
    r->n_served -= MIN(n, r->n_served);
    for (size_t i = 0; i < n; i++) {
        told[i].cb(told[i].data, result); /* May ask for the next one. */
    }
}

static void wait_for_first(struct reload *r);

static void on_timer(uv_timer_t *timer)
{
    struct reload *r = timer->data;
    uint64_t now_ms = clock_ms();
    size_t n = 0;

    while (n < r->n_waiting && r->waiting[n].until_ms <= now_ms) {
        n++;
    }
    if (n > 0) {
        log_warning("The configuration is still being read, its disk may hang; whoever asked for "
                    "a reload is told so, and it goes on. path=%s after_ms=%d",
                    r->path != NULL ? r->path : "", ANSWER_MS);
        answer(r, n,
               &(struct reload_result){.hangs = true, .why = "", .changed = "", .restart = ""});
    }
    wait_for_first(r);
}

static void wait_for_first(struct reload *r)
{
    uint64_t now_ms = clock_ms();

    if (r->n_waiting == 0) {
        uv_timer_stop(&r->timer);
    } else {
        uv_timer_start(&r->timer, on_timer,
                       r->waiting[0].until_ms > now_ms ? r->waiting[0].until_ms - now_ms : 0, 0);
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
    r->result = (struct reload_result){.why = r->why, .changed = "", .restart = ""};
    log_error("The configuration was not reloaded, everything goes on as before; mend it and send "
              "SIGHUP again. why=\"%s\"",
              why);
}

/* Before anything is taken over: whether these can be used. */
static int check_secrets(struct reload *r)
{
    if (r->secrets == NULL && peer_has_secrets(r->agent->peer)) {
        return err_set(&r->err, "neither raft.password nor raft.tls is given any more: restart the "
                                "agent for that");
    }
    if (r->secrets != NULL && !peer_has_secrets(r->agent->peer)) {
        return err_set(&r->err, "the agent was started without a secret: restart it to use one");
    }
    return r->secrets != NULL ? peer_check_secrets(r->secrets, &r->err) : 0;
}

static int take_restapi(struct reload *r)
{
    if (http_configure(r->agent->http, r->rest, &r->err) != 0) {
        return -1;
    }
    r->rest = NULL; /* Theirs now. */
    return 0;
}

static int take_secrets(struct reload *r, bool *ret_changed)
{
    if (r->secrets == NULL) {
        return 0;
    }
    if (peer_use_secrets(r->agent->peer, r->secrets, ret_changed, &r->err) < 0) {
        return -1; /* They ended in this moment. */
    }
    r->secrets = NULL; /* Theirs now. */
    return 0;
}

/* Everything was checked: from here on nothing fails. */
static void act(struct agent *a)
{
    const struct log_file_options log = conf_log_file(a->conf);
    struct err err = {""};

    log_set_level(conf_log_level(a->conf));
    if (log_file_configure(&log, &err) < 0) {
        log_warning("The log stays on stderr. error=\"%s\"", err.text);
    }
    if (a->pg != NULL) {
        agent_apply_pg_options(a);
        pg_ask_reload(a->pg); /* Its certificates, and what its files include, too. */
        (void)agent_watch_configure(a, a->conf);
    }
    agent_mark_dirty(a); /* Tags. */
}

static void say(const struct reload *r, bool secrets_changed)
{
    if (secrets_changed) {
        log_info("The secret or certificates of raft: were changed. New connections use them; the "
                 "previous ones are accepted too, until the next change or a restart.");
    }
    log_info("The configuration was read again. changed=\"%s\"", r->changed.data);
    if (r->restart.length > 0) {
        log_warning("A change needs a restart of the agent, until then the old values count. "
                    "keys=\"%s\"",
                    r->restart.data);
    }
}

static void take_over(struct reload *r)
{
    bool secrets_changed = false;
    bool seed_edited;

    if (r->conf == NULL || check_secrets(r) < 0 || take_restapi(r) < 0 ||
        take_secrets(r, &secrets_changed) < 0) {
        refuse(r, r->err.text);
        return;
    }
    strbuf_deinit(&r->changed);
    strbuf_deinit(&r->restart);
    seed_edited = !str_equal(r->agent->conf->bootstrap_dcs, r->conf->bootstrap_dcs);
    conf_take(r->agent->conf, r->conf, &r->changed, &r->restart);
    act(r->agent);
    say(r, secrets_changed);
    if (seed_edited) {
        agent_compare_seed(r->agent, true);
    }
    r->result = (struct reload_result){
        .taken = true, .why = "", .changed = r->changed.data, .restart = r->restart.data};
}

/* Patroni's words first; then what it does not tell. */
void agent_describe_reload(const struct reload_result *result, struct strbuf *text)
{
    if (result->hangs) {
        strbuf_printf(text,
                      "the configuration could not be read within %d s, its disk may hang; what "
                      "becomes of it is in the log of the agent",
                      ANSWER_MS / 1000);
        return;
    }
    strbuf_add_text(text,
                    result->taken ? "reload scheduled" : "the configuration was not reloaded");
    if (!result->taken) {
        strbuf_printf(text, ", everything goes on as before: %s", result->why);
    }
    if (result->changed[0] != '\0') {
        strbuf_printf(text, "; in force: %s", result->changed);
    }
    if (result->restart[0] != '\0') {
        strbuf_printf(text, "; waiting for a restart of the agent: %s", result->restart);
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
                   &(struct reload_result){
                       .why = "no thread can be started", .changed = "", .restart = ""});
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
    uv_timer_init(&a->loop, &r->timer);
    r->timer.data = r;
    r->n_handles = 2;
    a->reload = r;
}

bool agent_reload(struct agent *a, reload_cb cb, void *data)
{
    struct reload *r = a->reload;

    if (a->leaving || (cb != NULL && r->n_waiting == WAITING_MAX)) {
        return false;
    }
    if (cb != NULL) {
        r->waiting[r->n_waiting++] = (struct waiting){cb, data, clock_ms() + ANSWER_MS};
        wait_for_first(r);
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

    r->n_handles--;
    if (r->n_handles > 0) {
        return;
    }
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

    answer(r, r->n_waiting,
           &(struct reload_result){.why = "the agent stops", .changed = "", .restart = ""});
    a->reload = NULL;
    r->close_cb = cb;
    r->close_data = data;
    uv_close((uv_handle_t *)&r->async, on_closed);
    uv_close((uv_handle_t *)&r->timer, on_closed);
}
