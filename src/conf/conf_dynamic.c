/*
 * Dynamic configuration: what the store holds for the whole cluster, parsed
 * over the defaults by the same walk as the node's file.
 */
#include "conf/conf_dynamic.h"

#include <jansson.h>

#include "conf/conf_controlled.h"
#include "conf/conf_walk.h"

#define LOOP_WAIT_LEAST SECONDS(1) /* When ttl leaves room for it. */

/* loop_wait + 2 * retry_timeout <= ttl: first loop_wait gives way, down to a second
 * (a third of a short ttl), then retry_timeout. */
static void adjust_times(struct conf_dynamic *d, const struct conf_node *root, const char *prefix,
                         const struct conf_diag *diag)
{
    uint64_t least = MIN(MIN(LOOP_WAIT_LEAST, d->ttl_ms / 3), d->loop_wait_ms);
    char key[CONF_KEY_SIZE];
    struct conf_dynamic old = *d;
    bool whole = d->ttl_ms % SECONDS(1) == 0 && d->loop_wait_ms % SECONDS(1) == 0 &&
                 d->retry_timeout_ms % SECONDS(1) == 0;

    if (d->loop_wait_ms + 2 * d->retry_timeout_ms <= d->ttl_ms) {
        return;
    }
    if (2 * d->retry_timeout_ms + least <= d->ttl_ms) {
        d->loop_wait_ms = d->ttl_ms - 2 * d->retry_timeout_ms;
    } else {
        d->loop_wait_ms = least;
        d->retry_timeout_ms = (d->ttl_ms - least) / 2;
        if (whole && d->retry_timeout_ms >= SECONDS(1)) { /* As Patroni's. */
            d->retry_timeout_ms -= d->retry_timeout_ms % SECONDS(1);
        }
    }
    (void)snprintf(key, sizeof(key), "%sttl", prefix);
    conf_warn(diag, conf_node_child(root, "ttl"), key,
              "loop_wait + 2 * retry_timeout must not exceed ttl, got %g + 2 * %g > %g s; using "
              "loop_wait %g and retry_timeout %g",
              (double)old.loop_wait_ms / 1000, (double)old.retry_timeout_ms / 1000,
              (double)old.ttl_ms / 1000, (double)d->loop_wait_ms / 1000,
              (double)d->retry_timeout_ms / 1000);
    POST(d->loop_wait_ms + 2 * d->retry_timeout_ms <= d->ttl_ms);
}

/* What is accepted and not done in full yet. */
static void check_sync(const struct conf_dynamic *d, const struct conf_node *root,
                       const char *prefix, const struct conf_diag *diag)
{
    char key[CONF_KEY_SIZE];

    if (d->synchronous_node_count > 1) {
        (void)snprintf(key, sizeof(key), "%ssynchronous_node_count", prefix);
        conf_warn(diag, conf_node_child(root, "synchronous_node_count"), key,
                  "more than one is not there yet, got %llu; using 1",
                  (unsigned long long)d->synchronous_node_count);
    }
    if (strcmp(d->synchronous_mode, "off") != 0 &&
        kv_has(&d->parameters, "synchronous_standby_names")) {
        (void)snprintf(key, sizeof(key), "%spostgresql.parameters.synchronous_standby_names",
                       prefix);
        conf_warn(diag, conf_node_find(root, "postgresql.parameters.synchronous_standby_names"),
                  key, "ignored, with synchronous_mode the agent sets it");
    }
}

/* Taken for an ordinary cluster a standby cluster would promote itself, beside the primary it
 * follows. */
static int refuse_standby_cluster(const struct conf_node *root, const char *prefix,
                                  const struct conf_diag *diag)
{
    static const char *const active[] = {"host", "port", "restore_command"};
    const struct conf_node *section = conf_node_child(root, "standby_cluster");
    char key[CONF_KEY_SIZE];

    for (size_t i = 0; i < ARRAY_LENGTH(active); i++) {
        const struct conf_node *node = conf_node_child(section, active[i]);

        if (node != NULL && node->kind != CONF_NODE_NULL) {
            (void)snprintf(key, sizeof(key), "%sstandby_cluster.%s", prefix, active[i]);
            return conf_fail(diag, node, key,
                             "standby clusters are not there yet, expected no standby_cluster: "
                             "without it this cluster would promote itself");
        }
    }
    return 0;
}

/* What has no section here may have one in a node's file: that node says if not. */
static int check_methods(const struct conf_dynamic *d, const struct conf_node *root,
                         const char *prefix, const struct conf_diag *diag)
{
    struct conf_methods_check check = {.root = root,
                                       .prefix = prefix,
                                       .key = "postgresql.create_replica_methods",
                                       .bare = "basebackup",
                                       .settings = &d->replica_settings,
                                       .may_be_elsewhere = true,
                                       .diag = diag};

    for (size_t i = 0; i < d->replica_methods.n; i++) {
        if (conf_methods_check(&check, d->replica_methods.items[i].key) < 0) {
            return -1;
        }
    }
    return 0;
}

int conf_dynamic_read(struct conf_node *root, const char *prefix, struct conf_dynamic *ret_dynamic,
                      const struct conf_diag *diag)
{
    struct conf_dynamic d = {0};
    struct conf_walk w = {&conf_schema_dynamic, &d, prefix, diag};

    if (conf_walk(&w, root) < 0 || refuse_standby_cluster(root, prefix, diag) < 0 ||
        check_methods(&d, root, prefix, diag) < 0) {
        conf_dynamic_deinit(&d);
        return -1;
    }
    conf_parameters_check(&(struct conf_parameters){&d.parameters, d.parameters_of,
                                                    &d.recovery_conf, root, prefix, false, diag});
    adjust_times(&d, root, prefix, diag);
    check_sync(&d, root, prefix, diag);
    conf_controlled_check(&d.parameters, conf_node_find(root, "postgresql.parameters"), prefix,
                          diag);
    *ret_dynamic = d;
    return 0;
}

json_t *conf_dynamic_load(const char *json, const struct conf_diag *diag)
{
    json_error_t error;
    json_t *value;

    if (strlen(json) > CONF_FILE_BYTES) {
        (void)err_set(diag->err, "too large, got more than 1 MB");
        return NULL;
    }
    value = json_loads(json, JSON_REJECT_DUPLICATES, &error);
    if (value == NULL) {
        (void)err_set(diag->err, "%d:%d: not valid JSON: %s", error.line, error.column, error.text);
        return NULL;
    }
    if (!json_is_object(value)) {
        (void)err_set(diag->err, "wrong type, got a list, expected an object");
        json_decref(value);
        return NULL;
    }
    return value;
}

int conf_dynamic_parse(const char *json, struct conf_dynamic *ret_dynamic, conf_warning_cb warn,
                       void *data, struct err *err)
{
    struct conf_diag diag = {.warn = warn, .data = data, .err = err_clear(err)};
    json_t *value = conf_dynamic_load(json, &diag);
    struct conf_node *root;
    int rv = -1;

    if (value == NULL) {
        return -1;
    }
    root = conf_node_from_json(value, &diag);
    if (root != NULL) {
        rv = conf_dynamic_read(root, "", ret_dynamic, &diag);
    }
    conf_node_free(root);
    json_decref(value);
    return rv;
}

void conf_dynamic_deinit(struct conf_dynamic *d)
{
    if (d != NULL) {
        conf_walk_deinit(&conf_schema_dynamic, d);
    }
}
