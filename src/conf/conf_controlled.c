/*
 * The table of cluster-wide PostgreSQL parameters, see conf_controlled.h.
 */
#include "conf/conf_controlled.h"

#include <strings.h>

#include "conf/conf_scalar.h"
#include "conf/conf_schema.h"

#define BACKENDS_MAX 262143 /* Of PostgreSQL. */
#define SEGMENT_MB   16     /* initdb's default; the size wal_keep_segments counted in. */

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
    int64_t max; /* 0 = INT32_MAX. Beyond it PostgreSQL does not start (MAX_BACKENDS). */
};

static const struct controlled table[] = {
    {"max_connections", KIND_COUNT, "100", 25, BACKENDS_MAX},
    {"max_locks_per_transaction", KIND_COUNT, "64", 32, 0},
    {"max_worker_processes", KIND_COUNT, "8", 2, BACKENDS_MAX},
    {"max_prepared_transactions", KIND_COUNT, "0", 0, BACKENDS_MAX},
    {"max_wal_senders", KIND_COUNT, "10", 3, BACKENDS_MAX},
    {"max_replication_slots", KIND_COUNT, "10", 4, BACKENDS_MAX},
    {"wal_level", KIND_LEVEL, "replica", 0, 0},
    {"wal_log_hints", KIND_BOOL, "on", 0, 0},
    {"track_commit_timestamp", KIND_BOOL, "off", 0, 0},
    {"hot_standby", KIND_ON, "on", 0, 0},
    {"wal_keep_size", KIND_MB, "128MB", 16, 0},
    {"wal_keep_segments", KIND_COUNT, NULL, 1, 0},
    {"listen_addresses", KIND_OURS, NULL, 0, 0},
    {"port", KIND_OURS, NULL, 0, 0},
    {"cluster_name", KIND_OURS, NULL, 0, 0},
    {"data_directory", KIND_OURS, NULL, 0, 0}, /* PostgreSQL would take it before -D. */
    {"config_file", KIND_OURS, NULL, 0, 0},
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

bool conf_is_same_everywhere(const char *name)
{
    const struct controlled *row = find(name);

    return row != NULL && row->kind != KIND_MB && strcmp(row->name, "wal_keep_segments") != 0;
}

/* Of the configuration: where a list was read. */
struct section {
    const struct conf_node *place; /* NULL = not there. */
    char key[CONF_KEY_SIZE];
    const char *where; /* What is the same everywhere belongs there. */
    const struct conf_diag *diag;
};

static void drop_one(struct kv_list *parameters, const char *name, const struct section *t)
{
    const struct conf_node *node = conf_node_child(t->place, name);
    char key[2 * CONF_KEY_SIZE];

    (void)snprintf(key, sizeof(key), "%s.%s", t->key, name);
    if (find(name)->kind == KIND_OURS) {
        conf_warn(t->diag, node != NULL ? node : t->place, key,
                  "ignored, the agent derives it from other keys");
    } else {
        conf_warn(t->diag, node != NULL ? node : t->place, key,
                  "ignored, it is the same on every node: belongs into %s", t->where);
    }
    kv_remove(parameters, name);
}

static void drop_controlled(struct kv_list *parameters, bool of_role, const struct section *t)
{
    size_t i = 0;

    while (i < parameters->n) {
        const char *key = parameters->items[i].key;
        char *name;

        if (!(of_role ? conf_is_same_everywhere(key) : conf_is_controlled(key))) {
            i++;
            continue;
        }
        name = xstrdup(key); /* The item's own goes with it. */
        drop_one(parameters, name, t);
        free(name);
    }
}

/* ---- What has no effect where it stands ---- */

/* As PostgreSQL's valid_custom_variable_name(). */
static bool is_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char rest[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789$.";
    size_t length = strlen(name);

    return length > 0 && length < 128 && strspn(name, letters) > 0 && strspn(name, rest) == length;
}

/* A target would make a standby stop replaying, or promote itself. */
static bool is_of_the_agent(const char *name)
{
    static const char words[] = "primary_conninfo|primary_slot_name|promote_trigger_file|"
                                "trigger_file|standby_mode|recovery_target|recovery_target_action|"
                                "recovery_target_inclusive|recovery_target_lsn|"
                                "recovery_target_name|recovery_target_time|"
                                "recovery_target_timeline|recovery_target_xid";

    return conf_choice_find(words, name, NULL);
}

static const char *why_unused(const char *name, bool recovery)
{
    static const char of_recovery[] = "restore_command|archive_cleanup_command|"
                                      "recovery_end_command|recovery_min_apply_delay";

    if (!is_name(name)) {
        return "not the name of a parameter, ignored";
    }
    if (is_of_the_agent(name)) {
        return "ignored, the agent itself sets it";
    }
    return recovery && !conf_choice_find(of_recovery, name, NULL)
               ? "no parameter of recovery, ignored: belongs into postgresql.parameters"
               : NULL;
}

static void warn_unused(const struct kv_list *list, bool recovery, const struct section *t)
{
    for (size_t i = 0; i < list->n; i++) {
        const char *name = list->items[i].key;
        const char *why = why_unused(name, recovery);
        const struct conf_node *node = conf_node_child(t->place, name);
        char key[2 * CONF_KEY_SIZE];

        if (why != NULL) {
            (void)snprintf(key, sizeof(key), "%s.%.100s", t->key, name);
            conf_warn(t->diag, node != NULL ? node : t->place, key, "%s", why);
        }
    }
}

/* ---- The cluster's ---- */

static bool is_valid(const struct controlled *row, const char *value)
{
    int64_t number;
    bool flag;

    switch (row->kind) {
    case KIND_COUNT:
        return conf_parse_i64(value, &number) && number >= row->min &&
               number <= (row->max != 0 ? row->max : INT32_MAX);
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

/* What drop_controlled has left. A bad value gives way to what holds for all. */
static void check_role(struct kv_list *parameters, const struct section *t)
{
    use_our_spelling(parameters);
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        const char *name = table[i].name;
        const char *value = kv_get(parameters, name);
        const struct conf_node *node = conf_node_child(t->place, name);
        char key[2 * CONF_KEY_SIZE];

        if (value != NULL && !is_valid(&table[i], value)) {
            (void)snprintf(key, sizeof(key), "%s.%s", t->key, name);
            conf_warn(t->diag, node != NULL ? node : t->place, key,
                      "not possible, got \"%.60s\", ignored", value);
            kv_remove(parameters, name);
        }
    }
    convert_segments(parameters);
}

void conf_parameters_check(const struct conf_parameters *p)
{
    static const char *const roles[] = {
        [CONF_ROLE_PRIMARY] = "primary",
        [CONF_ROLE_REPLICA] = "replica",
        [CONF_ROLE_STANDBY_LEADER] = "standby_leader",
    };
    struct section s = {.where = p->of_node ? "bootstrap.dcs" : "postgresql.parameters",
                        .diag = p->diag};
    char path[CONF_KEY_SIZE];

    for (size_t i = 0; i <= CONF_N_ROLES; i++) {
        struct kv_list *list = i < CONF_N_ROLES ? &p->of_role[i] : p->base;

        (void)snprintf(path, sizeof(path), "postgresql.parameters%s%s", i < CONF_N_ROLES ? "_" : "",
                       i < CONF_N_ROLES ? roles[i] : "");
        (void)snprintf(s.key, sizeof(s.key), "%s%s", p->prefix, path);
        s.place = conf_node_find(p->root, path);
        if (p->of_node || i < CONF_N_ROLES) {
            drop_controlled(list, i < CONF_N_ROLES, &s);
        }
        if (i < CONF_N_ROLES) {
            check_role(list, &s);
        }
        warn_unused(list, false, &s);
    }
    (void)snprintf(s.key, sizeof(s.key), "%spostgresql.recovery_conf", p->prefix);
    s.place = conf_node_find(p->root, "postgresql.recovery_conf");
    warn_unused(p->recovery, true, &s);
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
