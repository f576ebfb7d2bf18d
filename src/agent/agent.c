/*
 * Start and stop: who is made before whom, who lets go before whom. What happens
 * in between is in tick.c.
 */
#include "agent/agent.h"

#include <errno.h>
#include <signal.h>

#include "agent/agent_state.h"
#include "base/log.h"
#include "base/log_file.h"
#include "base/str.h"
#include "core/lookup.h"
#include "veche/api.h"
#include "veche/exitcode.h"

#define PATH_SIZE 1024

static void on_change(void *data)
{
    agent_mark_dirty(data);
}

static void on_status_timer(uv_timer_t *timer)
{
    struct agent *a = timer->data;
    uint64_t now_ms = clock_ms();

    if (a->closing) {
        return;
    }
    agent_fill_status(a, now_ms, &a->last_status);
    lookup_tell(&a->view, now_ms, &a->last_status);
    peer_send_status(a->peer, &a->last_status);
    uv_timer_start(&a->status_timer, on_status_timer, agent_status_period_ms(a), 0);
}

static void on_observe_timer(uv_timer_t *timer)
{
    struct agent *a = timer->data;

    if (a->closing || a->pg == NULL) {
        return;
    }
    pg_observe(a->pg, clock_ms());
    uv_timer_start(&a->observe_timer, on_observe_timer,
                   MAX(200, MIN(1000, a->dynamic.loop_wait_ms / 2)), 0);
}

void agent_on_renew_timer(uv_timer_t *timer)
{
    struct agent *a = timer->data;

    if (!a->closing) {
        agent_lease_tick(a, clock_ms());
    }
}

static void on_stop_signal(uv_signal_t *handle, int number)
{
    struct agent *a = handle->data;

    log_info("Stopping. signal=%d", number);
    if (a->stopping_since_ms == 0) {
        a->stopping_since_ms = clock_ms();
    }
    if (a->consensus == NULL && a->ops == NULL) {
        agent_stop_now(a, VECHE_EXIT_OK);
        return;
    }
    agent_mark_dirty(a);
}

/* Another agent takes over in a moment: PostgreSQL and the guard stay as they are. */
static void on_restart_signal(uv_signal_t *handle, int number)
{
    log_info("Leaving at once, PostgreSQL and the guard stay. signal=%d", number);
    agent_stop_now(handle->data, VECHE_EXIT_OK);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    (void)number;
    (void)agent_reload(handle->data, NULL, NULL); /* Its end is logged. */
}

/*
 * The runtime directory holds a copy of the identity, of the same boot as a rule. It
 * tells who we are while the disk under the first can not be read, and, where a
 * backup of raft.data_dir was restored, that this id has been in later terms.
 */
static bool load_copy(struct agent *a, const struct err *why)
{
    struct err ignored = {""};

    if (identity_load(a->conf->runtime_dir, &a->identity, &ignored) != IDENTITY_LOADED) {
        return false;
    }
    log_error("The identity file can not be read, going on with its copy. copy=%s error=\"%s\"",
              a->conf->runtime_dir, why->text);
    a->identity_from_copy = true;
    return true;
}

static void learn_from_copy(struct agent *a)
{
    struct identity copy;
    struct err ignored = {""};

    if (identity_load(a->conf->runtime_dir, &copy, &ignored) == IDENTITY_LOADED &&
        copy.id == a->identity.id) {
        if (copy.phase == IDENTITY_MEMBER && a->identity.phase != IDENTITY_MEMBER) {
            a->identity = copy; /* Of before it was a member: it must not form a cluster again. */
        }
        a->identity.highest_term = MAX(a->identity.highest_term, copy.highest_term);
        a->identity.longest_grant_ms = MAX(a->identity.longest_grant_ms, copy.longest_grant_ms);
    }
}

static int load_identity(struct agent *a, struct err *err)
{
    const char *directory = a->conf->raft_data_dir;

    a->lock_fd = identity_lock(directory, err);
    if (a->lock_fd < 0) {
        return err_wrap(err, "raft.data_dir");
    }
    switch (identity_load(directory, &a->identity, err)) {
    case IDENTITY_LOADED:
        break;
    case IDENTITY_MISSING:
        a->identity = (struct identity){.id = rng_system(), .phase = IDENTITY_NEW};
        (void)str_copy(a->identity.name, sizeof(a->identity.name), a->conf->name);
        (void)str_copy(a->identity.scope, sizeof(a->identity.scope), a->conf->scope);
        if (identity_save(directory, &a->identity, err) != 0) {
            return -1;
        }
        log_info("A new node. id=%llx", (unsigned long long)a->identity.id);
        break;
    case IDENTITY_FAILED:
        if (load_copy(a, err)) {
            break;
        }
        return err_wrap(err, "the identity file in raft.data_dir %s", directory);
    case IDENTITY_DAMAGED:
        if (a->runtime.same_boot && load_copy(a, err)) {
            break;
        }
        return err_wrap(err,
                        "the identity file in raft.data_dir %s (move that directory away and start "
                        "again: the node comes in under a new id when a cluster runs)",
                        directory);
    }
    if (!str_equal(a->identity.scope, a->conf->scope)) {
        return err_set(err, "raft.data_dir %s belongs to cluster \"%s\", not to \"%s\"", directory,
                       a->identity.scope, a->conf->scope);
    }
    if (!str_equal(a->identity.name, a->conf->name)) {
        return err_set(err, "raft.data_dir %s belongs to node \"%s\", not to \"%s\"", directory,
                       a->identity.name, a->conf->name);
    }
    learn_from_copy(a);
    a->durable = a->identity;
    return 0;
}

/* Returns an exit code, 0 = go. */
static int open_peer(struct agent *a, struct err *err)
{
    const struct conf *c = a->conf;
    struct peer_secrets secrets;
    struct peer_options options = {
        .loop = &a->loop,
        .bind_address = c->raft_bind_addr != NULL ? c->raft_bind_addr : c->raft_self_addr,
        .self_address = c->raft_self_addr,
        .n_partners = c->n_raft_partners,
        .partners = (const char *const *)c->raft_partner_addrs,
        .scope = c->scope,
        .name = c->name,
        .id = a->identity.id,
        .instance = a->runtime.instance,
        .cluster_id = a->identity.phase == IDENTITY_PREPARED ? 0 : a->identity.cluster_id,
        .user_timeout_ms = 2 * MAX(300, MIN(1000, a->dynamic.ttl_ms / 3)),
        .seed = rng_next(&a->rng),
    };

    agent_fill_secrets(c, &secrets);
    if (secrets.password != NULL || secrets.cert != NULL) {
        options.secrets = peer_load_secrets(&secrets, c->scope, c->name, err);
        if (options.secrets == NULL) {
            return VECHE_EXIT_CONFIG;
        }
    }
    agent_peer_hooks(a, &options.hooks);
    a->peer = peer_new(&options, err);
    if (a->peer == NULL) {
        /* Without raft.bind_addr it is what raft.self_addr says. */
        (void)err_wrap(err, str_equal(c->raft_bind_addr, c->raft_self_addr) ? "raft.self_addr"
                                                                            : "raft.bind_addr");
        return VECHE_EXIT_BIND;
    }
    return VECHE_EXIT_OK;
}

static void fill_credentials(const struct conf_user *user, struct pg_credentials *credentials)
{
    *credentials = (struct pg_credentials){user->username, user->password, &user->ssl};
}

/* Local lines win over dynamic ones, as with parameters. */
static const struct kv_list *choose(const struct kv_list *local, const struct kv_list *dynamic)
{
    return local->n > 0 ? local : dynamic;
}

/* Those of the role stand for all of them. */
static const struct kv_list *choose_of_role(const struct kv_list *local,
                                            const struct kv_list *dynamic,
                                            const struct kv_list *any_role)
{
    return local->n > 0 || dynamic->n > 0 ? choose(local, dynamic) : any_role;
}

static void fill_roles(struct agent *a, struct pg_options *o)
{
    const struct conf *c = a->conf;
    const struct conf_dynamic *d = &a->dynamic;
    const struct kv_list *hba = choose(&c->pg_hba, &d->hba);
    const struct kv_list *ident = choose(&c->pg_ident, &d->ident);
    const int replica = CONF_ROLE_REPLICA, primary = CONF_ROLE_PRIMARY;

    conf_merge_role_parameters(c, d, CONF_ROLE_REPLICA, &a->pg_parameters);
    conf_merge_role_parameters(c, d, CONF_ROLE_PRIMARY, &a->pg_primary_parameters);
    o->parameters = &a->pg_parameters;
    o->primary_parameters = &a->pg_primary_parameters;
    o->hba = choose_of_role(&c->pg_hba_of[replica], &d->hba_of[replica], hba);
    o->primary_hba = choose_of_role(&c->pg_hba_of[primary], &d->hba_of[primary], hba);
    o->ident = choose_of_role(&c->pg_ident_of[replica], &d->ident_of[replica], ident);
    o->primary_ident = choose_of_role(&c->pg_ident_of[primary], &d->ident_of[primary], ident);
}

/* How a data directory is made, here and of a backup. */
static void fill_methods(struct agent *a, struct pg_options *o)
{
    const struct conf *c = a->conf;

    conf_merge_methods(c, &a->dynamic, &a->replica_settings);
    conf_bootstrap_recovery(c, &a->bootstrap_recovery);
    o->replica_settings = &a->replica_settings;
    o->replica_methods = choose(&c->pg_replica_methods, &a->dynamic.replica_methods);
    o->bootstrap_recovery = &a->bootstrap_recovery;
    o->basebackup_options = choose(&c->pg_basebackup, &a->dynamic.basebackup);
    o->rewind_options = choose(&c->pg_rewind, &a->dynamic.rewind);
}

void agent_fill_pg_options(struct agent *a, struct pg_options *o)
{
    const struct conf *c = a->conf;
    uint64_t stop_ms = c->pg_stop_timeout_ms;

    *o = (struct pg_options){
        .loop = &a->loop,
        .name = c->name,
        .scope = c->scope,
        .data_dir = c->pg_data_dir,
        .config_dir = c->pg_config_dir != NULL ? c->pg_config_dir : c->pg_data_dir,
        .bin_dir = c->pg_bin_dir != NULL ? c->pg_bin_dir : "",
        .bin_names = &c->pg_bin_names,
        .listen_addresses = c->pg_listen_addresses,
        .port = c->pg_port,
        .connect_host = c->pg_connect_host,
        .use_unix_socket = c->pg_use_unix_socket,
        .database = c->pg_database != NULL ? c->pg_database : "postgres",
        .pgpass = c->pg_pgpass,
        .recovery_conf = choose(&c->pg_recovery_conf, &a->dynamic.recovery_conf),
        .custom_conf = c->pg_custom_conf,
        .config_base_name = c->pg_config_base_name != NULL ? c->pg_config_base_name : "postgresql",
        .callbacks = choose(&c->pg_callbacks, &a->dynamic.callbacks),
        .pre_promote = c->pg_pre_promote != NULL ? c->pg_pre_promote : a->dynamic.pre_promote,
        .before_stop = c->pg_before_stop != NULL ? c->pg_before_stop : a->dynamic.before_stop,
        .is_settled = a->caught_up,
        .stop_ms = stop_ms != 0 ? stop_ms : a->dynamic.stop_timeout_ms,
        .primary_stop_ms = a->dynamic.primary_stop_timeout_ms,
        .use_slots = a->dynamic.use_slots,
        .slots = &a->dynamic.slots,
        .ignore_slots = &a->dynamic.ignore_slots,
        .sync_on = agent_sync_mode(a) != SYNC_OFF,
        .ttl_ms = a->dynamic.ttl_ms,
        .guard = agent_guard_for_pg(a),
        .on_change = on_change,
        .data = a,
    };
    fill_roles(a, o);
    fill_methods(a, o);
    fill_credentials(&c->superuser, &o->superuser);
    fill_credentials(&c->replication, &o->replication);
    fill_credentials(c->rewind.username != NULL ? &c->rewind : &c->superuser, &o->rewind);
}

/* For tests that interrupt every step; whoever finds it set is told. */
static const char *stop_file(void)
{
    const char *file = getenv("VECHE_TEST_STOP_FILE");

    if (file != NULL) {
        log_error("VECHE_TEST_STOP_FILE is set: this agent stops itself at the step that the file "
                  "names. For tests only, unset it. file=%s",
                  file);
    }
    return file;
}

static void open_postgres(struct agent *a)
{
    const struct conf *c = a->conf;
    struct pg_options options;
    struct ops_options ops = {
        .store = &a->store,
        .initdb = &c->bootstrap_initdb,
        .users = &c->bootstrap_users,
        .pg_hba = &c->bootstrap_pg_hba,
        .post_bootstrap = c->bootstrap_post_bootstrap,
        .bootstrap_method = str_equal(c->bootstrap_method, "initdb") ? NULL : c->bootstrap_method,
        .bootstrap_settings = &c->bootstrap_settings,
        .diverged_keep = (uint64_t)c->pg_diverged_keep,
        .ttl_ms = a->dynamic.ttl_ms,
        .stop_file = stop_file(),
        .on_change = on_change,
        .data = a,
    };

    if (c->mode == CONF_MODE_WITNESS) {
        return;
    }
    agent_fill_pg_options(a, &options);
    a->pg = pg_new(&options);
    ops.pg = a->pg;
    a->ops = ops_new(&ops);
    pg_loss_recall(a->pg, ops.diverged_keep);
    pg_observe(a->pg, clock_ms());
    agent_callbacks_open(a);
}

static void init_timer(struct agent *a, uv_timer_t *timer)
{
    uv_timer_init(&a->loop, timer);
    timer->data = a;
}

static void init_signal(struct agent *a, uv_signal_t *handle, int number, uv_signal_cb cb)
{
    uv_signal_init(&a->loop, handle);
    handle->data = a;
    uv_signal_start(handle, cb, number);
}

static void init_loop(struct agent *a)
{
    int rv = uv_loop_init(&a->loop);

    ASSERT(rv == 0);
    init_timer(a, &a->tick_timer);
    init_timer(a, &a->status_timer);
    init_timer(a, &a->renew_timer);
    init_timer(a, &a->observe_timer);
    uv_idle_init(&a->loop, &a->tick_idle);
    uv_check_init(&a->loop, &a->tick_check);
    a->tick_check.data = a;
    uv_check_start(&a->tick_check, agent_on_tick_check);
    init_signal(a, &a->sigterm, SIGTERM, on_stop_signal);
    init_signal(a, &a->sigint, SIGINT, on_stop_signal);
    init_signal(a, &a->sighup, SIGHUP, on_hangup);
    init_signal(a, &a->sigusr1, SIGUSR1, on_restart_signal);
}

static void on_let_go(void *data)
{
    struct agent *a = data;

    PRE(a->n_open > 0);
    a->n_open--;
}

static void close_modules(struct agent *a)
{
    a->n_open = 2; /* The saver, the reload. */
    identity_saver_close(a->saver, on_let_go, a);
    agent_reload_close(a, on_let_go, a);
    ops_free(a->ops);
    a->ops = NULL;
    hooks_free(a->hooks);
    a->hooks = NULL;
    if (a->pg != NULL) {
        a->n_open++;
        pg_close(a->pg, on_let_go, a);
        a->pg = NULL;
    }
    if (a->guarding.client != NULL) {
        a->n_open++;
        agent_guard_close(a, on_let_go, a);
    }
    agent_actions_close(a); /* Before http/ and those who still answer them. */
    agent_passed_close(a);
    if (a->http != NULL) {
        a->n_open++;
        http_close(a->http, on_let_go, a);
        a->http = NULL;
    }
    if (a->peer != NULL) {
        a->n_open++;
        peer_close(a->peer, on_let_go, a);
    }
    consensus_free(a->consensus);
    a->consensus = NULL;
    a->peer = NULL;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    struct agent *a = arg;
    uv_handle_t *ours[] = {
        (uv_handle_t *)&a->tick_timer,  (uv_handle_t *)&a->status_timer,
        (uv_handle_t *)&a->renew_timer, (uv_handle_t *)&a->observe_timer,
        (uv_handle_t *)&a->tick_check,  (uv_handle_t *)&a->tick_idle,
        (uv_handle_t *)&a->sigterm,     (uv_handle_t *)&a->sigint,
        (uv_handle_t *)&a->sighup,      (uv_handle_t *)&a->sigusr1,
    };

    for (size_t i = 0; i < ARRAY_LENGTH(ours); i++) {
        if (handle == ours[i] && !uv_is_closing(handle)) {
            uv_close(handle, NULL);
        }
    }
}

void agent_stop_now(struct agent *a, int exit_code)
{
    if (a->leaving) {
        return;
    }
    a->leaving = true;
    a->exit_code = exit_code;
    if (a->ops != NULL) {
        ops_cancel(a->ops, clock_ms());
    }
    agent_try_close(a);
}

void agent_try_close(struct agent *a)
{
    if (a->closing || (a->ops != NULL && !ops_is_idle(a->ops))) {
        return; /* Sequences end first: a child of theirs may still run. */
    }
    if (!agent_callbacks_left(a)) {
        return;
    }
    a->closing = true;
    close_modules(a);
    uv_walk(&a->loop, close_handle, a);
}

/* Everything that may fail at the start. Returns an exit code, 0 = go. */
static int start(struct agent *a, struct err *err)
{
    int code;

    if (runtime_open(&a->runtime, a->conf->runtime_dir, err) != 0) {
        return VECHE_EXIT_CONFIG;
    }
    if (load_identity(a, err) != 0) {
        return VECHE_EXIT_IDENTITY;
    }
    agent_lease_init(a);
    agent_apply_config(a);
    a->saver = identity_saver_new(&a->loop, a->conf->raft_data_dir, a->conf->runtime_dir,
                                  agent_on_identity_saved, a);
    if (a->identity_from_copy) {
        identity_saver_save(a->saver, &a->identity); /* Until it stands there again. */
    }
    agent_reload_init(a);
    list_init(&a->passed);
    code = open_peer(a, err);
    if (code != VECHE_EXIT_OK) {
        return code;
    }
    if (agent_rest_open(a, err) != 0) {
        return VECHE_EXIT_BIND;
    }
    agent_guard_open(a);
    open_postgres(a);
    agent_formation_init(a);
    a->raft_after_guard =
        a->identity.phase == IDENTITY_MEMBER || a->identity.phase == IDENTITY_JOINING;
    agent_gather(a, a->started_ms); /* What is asked for before the first tick has an answer. */
    decide(&a->view, &a->decision);
    on_status_timer(&a->status_timer);
    on_observe_timer(&a->observe_timer);
    agent_mark_dirty(a);
    return VECHE_EXIT_OK;
}

static void deinit(struct agent *a)
{
    conf_dynamic_deinit(&a->dynamic);
    kv_deinit(&a->pg_parameters);
    kv_deinit(&a->pg_primary_parameters);
    kv_deinit(&a->replica_settings);
    kv_deinit(&a->bootstrap_recovery);
    runtime_close(&a->runtime);
    if (a->lock_fd >= 0) {
        (void)close(a->lock_fd); /* Releases the lock. */
    }
    free(a);
}

/* One life under one id. *ret_again: the next one begins under another. */
static int run_once(struct conf *conf, bool *ret_again)
{
    struct agent *a = xmalloc(sizeof(*a)); /* About 2 MB: the store and the decision. */
    struct err err = {""};
    int code;

    a->conf = conf;
    a->lock_fd = -1;
    a->started_ms = clock_ms();
    a->last_tick_ms = a->started_ms;
    rng_seed(&a->rng, rng_system());
    store_init(&a->store);
    init_loop(a);
    (void)signal(SIGPIPE, SIG_IGN); /* Broken connections are errors of write. */
    code = start(a, &err);
    if (code != VECHE_EXIT_OK) {
        log_file_close(SECONDS(1)); /* People look for this in the journal. */
        log_error("Cannot start. error=\"%s\"", err.text);
        _exit(code); /* Threads may use the loop: nothing of it is freed before the end. */
    }
    log_info("Started. version=%s scope=%s mode=%s id=%llx", VECHE_VERSION, conf->scope,
             conf->mode == CONF_MODE_WITNESS ? "witness" : "postgres",
             (unsigned long long)a->identity.id);
    (void)uv_run(&a->loop, UV_RUN_DEFAULT); /* Ends when the last handle is closed. */
    if (uv_loop_close(&a->loop) != 0) {
        log_warning("Handles are left on the loop; this is a bug of Veche, exiting anyway.");
    }
    code = a->exit_code;
    *ret_again = a->rejoin;
    if (a->rejoin && agent_raft_set_aside(a, &err) != 0) {
        log_error("This node can not come in under a new id. error=\"%s\"", err.text);
        *ret_again = false;
        code = VECHE_EXIT_RAFT_FAILED;
    }
    log_info("Stopped.");
    deinit(a);
    return code;
}

int agent_run(struct conf *conf)
{
    bool again;
    int code;

    do {
        code = run_once(conf, &again);
    } while (again);
    return code;
}
