/*
 * The table of cluster-wide PostgreSQL parameters, see conf_controlled.h.
 */
#include "conf/conf_controlled.h"

#include <strings.h>

#include "conf/conf_scalar.h"
#include "conf/conf_schema.h"

#define SEGMENT_MB 16 /* initdb's default; the size wal_keep_segments counted in. */

enum kind {
    KIND_COUNT, /* Whole number, at least min. */
    KIND_MB,    /* Size; min in MB, also its unit when none is written. */
    KIND_BOOL,  /* on or off */
    KIND_LEVEL, /* wal_level */
    KIND_ON,    /* Always on. */
    KIND_OURS,  /* Derived by the agent from other keys; never set. */
};

struct controlled {
    const char *name;
    enum kind kind;
    const char *fallback; /* NULL = not written when missing. */
    int64_t min;
};

static const struct controlled table[] = {
    {"max_connections", KIND_COUNT, "100", 25},
    {"max_locks_per_transaction", KIND_COUNT, "64", 32},
    {"max_worker_processes", KIND_COUNT, "8", 2},
    {"max_prepared_transactions", KIND_COUNT, "0", 0},
    {"max_wal_senders", KIND_COUNT, "10", 3},
    {"max_replication_slots", KIND_COUNT, "10", 4},
    {"wal_level", KIND_LEVEL, "replica", 0},
    {"wal_log_hints", KIND_BOOL, "on", 0},
    {"track_commit_timestamp", KIND_BOOL, "off", 0},
    {"hot_standby", KIND_ON, "on", 0},
    {"wal_keep_size", KIND_MB, "128MB", 16},
    {"wal_keep_segments", KIND_COUNT, NULL, 1},
    {"listen_addresses", KIND_OURS, NULL, 0},
    {"port", KIND_OURS, NULL, 0},
    {"cluster_name", KIND_OURS, NULL, 0},
};

/* PostgreSQL's names ignore case. */
static const struct controlled *find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        if (strcasecmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

bool conf_is_controlled(const char *name)
{
    return find(name) != NULL;
}

static void drop_one(struct kv_list *parameters, const char *name, const struct conf_node *place,
                     const struct conf_diag *diag)
{
    const struct conf_node *node = conf_node_child(place, name);
    char key[CONF_KEY_SIZE];

    (void)snprintf(key, sizeof(key), "postgresql.parameters.%s", name);
    conf_warn(diag, node != NULL ? node : place, key,
              find(name)->kind == KIND_OURS
                  ? "ignored, the agent derives it from other keys"
                  : "ignored, it is the same on every node: belongs into bootstrap.dcs");
    kv_remove(parameters, name);
}

void conf_controlled_drop(struct kv_list *parameters, const struct conf_node *place,
                          const struct conf_diag *diag)
{
    size_t i = 0;

    while (i < parameters->n) {
        char *name;

        if (find(parameters->items[i].key) == NULL) {
            i++;
            continue;
        }
        name = xstrdup(parameters->items[i].key); /* The item's own goes with it. */
        drop_one(parameters, name, place, diag);
        free(name);
    }
}

static bool is_valid(const struct controlled *row, const char *value)
{
    int64_t number;
    bool flag;

    switch (row->kind) {
    case KIND_COUNT:
        return conf_parse_i64(value, &number) && number >= row->min && number <= INT32_MAX;
    case KIND_MB:
        if (conf_parse_i64(value, &number)) {
            return number >= row->min && number <= INT32_MAX;
        }
        return conf_parse_bytes(value, &number) && number >= row->min * (1 << 20);
    case KIND_BOOL:
        return conf_parse_bool(value, &flag);
    case KIND_ON:
        return conf_parse_bool(value, &flag) && flag;
    case KIND_LEVEL:
        return conf_choice_find("replica|logical|hot_standby", value, NULL);
    case KIND_OURS:
        return false;
    }
    return false;
}

/* PostgreSQL 13 and later know only the size; one that is given wins. */
static void convert_segments(struct kv_list *parameters)
{
    const char *segments = kv_get(parameters, "wal_keep_segments");
    char text[32];
    int64_t n;

    if (segments == NULL) {
        return;
    }
    if (!kv_has(parameters, "wal_keep_size") && conf_parse_i64(segments, &n) && n <= 1000000) {
        (void)snprintf(text, sizeof(text), "%lldMB", (long long)n * SEGMENT_MB);
        kv_set(parameters, "wal_keep_size", text);
    }
    kv_remove(parameters, "wal_keep_segments");
}

static void check_one(struct kv_list *parameters, const struct controlled *row,
                      const struct conf_node *place, const char *prefix,
                      const struct conf_diag *diag)
{
    const char *value = kv_get(parameters, row->name);
    const struct conf_node *node = conf_node_child(place, row->name);
    char key[CONF_KEY_SIZE];

    if (value == NULL || is_valid(row, value)) {
        return;
    }
    (void)snprintf(key, sizeof(key), "%spostgresql.parameters.%s", prefix, row->name);
    if (row->kind == KIND_OURS) {
        conf_warn(diag, node, key, "ignored, the agent derives it from other keys");
        kv_remove(parameters, row->name);
        return;
    }
    if (row->fallback == NULL) {
        conf_warn(diag, node, key, "not possible, got \"%.60s\", ignored", value);
        kv_remove(parameters, row->name);
        return;
    }
    conf_warn(diag, node, key, "not possible, got \"%.60s\", using %s", value, row->fallback);
    kv_set(parameters, row->name, row->fallback);
}

/* Later look-ups are by our spelling; of two that differ in case the first stays. */
static void use_our_spelling(struct kv_list *parameters)
{
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        const char *name = table[i].name;
        char *value = NULL;

        for (size_t k = 0; k < parameters->n; k++) {
            struct kv *item = &parameters->items[k];

            if (strcasecmp(item->key, name) == 0 && strcmp(item->key, name) != 0) {
                memcpy(item->key, name, strlen(name)); /* Of the same length. */
                value = value != NULL ? value : xstrdup(kv_get(parameters, name));
            }
        }
        if (value != NULL) {
            kv_remove(parameters, name);
            kv_add(parameters, name, value);
        }
        free(value);
    }
}

void conf_controlled_check(struct kv_list *parameters, const struct conf_node *place,
                           const char *prefix, const struct conf_diag *diag)
{
    use_our_spelling(parameters);
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        check_one(parameters, &table[i], place, prefix, diag);
    }
    convert_segments(parameters);
    if (kv_has(parameters, "wal_level") &&
        strcasecmp(kv_get(parameters, "wal_level"), "hot_standby") == 0) {
        kv_set(parameters, "wal_level", "replica"); /* Its name since PostgreSQL 9.6. */
    }
}

void conf_controlled_complete(struct kv_list *parameters)
{
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        if (table[i].fallback != NULL && !kv_has(parameters, table[i].name)) {
            kv_add(parameters, table[i].name, table[i].fallback);
        }
    }
}
