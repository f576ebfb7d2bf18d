/*
 * PostgreSQL's parameters: which of them the cluster decides (on the command line,
 * so that neither ALTER SYSTEM nor an edited file overrides them), which belong to
 * recovery, which a version does not know any more, and what follows ttl. The set
 * of controlled ones, their defaults and minima are Patroni's.
 */
#include <inttypes.h>

#include "base/log.h"
#include "base/str.h"
#include "pg/pg_internal.h"

enum kind {
    KIND_INT,
    KIND_BOOL,
    KIND_WAL_LEVEL,
    KIND_FORCED, /* Never settable. */
};

static const struct controlled {
    const char *name;
    enum kind kind;
    const char *value; /* Default. */
    int64_t min;
    size_t limit; /* Offset in struct pg_control of what a standby must not undercut; 0 = none. */
} controlled[] = {
    /* clang-format off */
    {"hot_standby",               KIND_FORCED,    "on",      0,  0},
    {"max_connections",           KIND_INT,       "100",     25, offsetof(struct pg_control, max_connections)},
    {"max_locks_per_transaction", KIND_INT,       "64",      32, offsetof(struct pg_control, max_locks_per_xact)},
    {"max_prepared_transactions", KIND_INT,       "0",       0,  offsetof(struct pg_control, max_prepared_xacts)},
    {"max_replication_slots",     KIND_INT,       "10",      4,  0},
    {"max_wal_senders",           KIND_INT,       "10",      3,  offsetof(struct pg_control, max_wal_senders)},
    {"max_worker_processes",      KIND_INT,       "8",       2,  offsetof(struct pg_control, max_worker_processes)},
    {"track_commit_timestamp",    KIND_BOOL,      "off",     0,  0},
    {"wal_level",                 KIND_WAL_LEVEL, "replica", 0,  0},
    {"wal_log_hints",             KIND_BOOL,      "on",      0,  0},
    /* clang-format on */
};

/* Derived from elsewhere; a configured value is dropped. */
static const char *const derived[] = {"listen_addresses", "port", "cluster_name", "data_directory",
                                      "config_file"};

static const char *const recovery[] = {
    "archive_cleanup_command",  "recovery_end_command",   "recovery_min_apply_delay",
    "recovery_target",          "recovery_target_action", "recovery_target_inclusive",
    "recovery_target_lsn",      "recovery_target_name",   "recovery_target_time",
    "recovery_target_timeline", "recovery_target_xid",    "restore_command",
    "primary_conninfo",         "primary_slot_name",      "promote_trigger_file",
};

/* Since which major version a parameter is unknown to PostgreSQL, which then does
 * not start at all. */
static const struct {
    const char *name;
    uint32_t since;
} removed[] = {
    {"checkpoint_segments", 10},
    {"sql_inheritance", 10},
    {"default_with_oids", 12},
    {"replacement_sort_tuples", 11},
    {"standby_mode", 12},
    {"trigger_file", 12},
    {"operator_precedence_warning", 14},
    {"vacuum_cleanup_index_scale_factor", 14},
    {"stats_temp_directory", 15},
    {"force_parallel_mode", 16},
    {"promote_trigger_file", 16},
    {"vacuum_defer_cleanup_age", 16},
    {"db_user_namespace", 17},
    {"old_snapshot_threshold", 17},
    {"trace_recovery_messages", 17},
};

static bool is_in(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_equal(name, list[i])) {
            return true;
        }
    }
    return false;
}

static const struct controlled *find_controlled(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(controlled); i++) {
        if (str_equal(name, controlled[i].name)) {
            return &controlled[i];
        }
    }
    return NULL;
}

enum pg_param_class pg_param_classify(const char *name)
{
    if (find_controlled(name) != NULL || is_in(name, derived, ARRAY_LENGTH(derived))) {
        return PG_PARAM_CONTROLLED;
    }
    if (!is_in(name, recovery, ARRAY_LENGTH(recovery))) {
        return PG_PARAM_PLAIN;
    }
    /* A target would make a standby stop replaying, or promote itself. */
    return str_starts_with(name, "recovery_target") || str_starts_with(name, "primary_") ||
                   str_equal(name, "promote_trigger_file")
               ? PG_PARAM_OWN
               : PG_PARAM_RECOVERY;
}

/* ---- Controlled ---- */

static bool is_bool(const char *value)
{
    static const char *const words[] = {"on", "off", "true", "false", "yes", "no", "1", "0"};

    return is_in(value, words, ARRAY_LENGTH(words));
}

static bool is_true(const char *value)
{
    return str_equal(value, "on") || str_equal(value, "true") || str_equal(value, "yes") ||
           str_equal(value, "1");
}

/* The value to use, into text. */
static void choose(const struct controlled *c, const char *given, bool complain, char *text,
                   size_t size)
{
    int64_t number = 0;
    bool good = false;

    switch (c->kind) {
    case KIND_INT:
        good = given != NULL && str_to_i64(given, c->min, INT32_MAX, &number);
        break;
    case KIND_BOOL:
        good = given != NULL && is_bool(given);
        break;
    case KIND_WAL_LEVEL:
        good = str_equal(given, "replica") || str_equal(given, "logical");
        if (str_equal(given, "hot_standby")) { /* Its name until 9.5; "replica" is the default. */
            given = NULL;
        }
        break;
    case KIND_FORCED:
        given = NULL;
        break;
    }
    if (given != NULL && !good && complain) {
        log_warning("A PostgreSQL parameter has no usable value, using the default. "
                    "parameter=%s value=%s default=%s",
                    c->name, given, c->value);
    }
    if (good && c->kind == KIND_BOOL) {
        given = is_true(given) ? "on" : "off";
    }
    if (good && c->kind == KIND_INT) {
        (void)snprintf(text, size, "%" PRId64, number); /* As PostgreSQL shows it. */
        return;
    }
    (void)str_copy(text, size, good ? given : c->value); /* Checked: short. */
}

/* A standby stops, or does not start, when the primary it replays had more of these
 * (xlog.c: CheckRequiredParameterValues). */
static bool raise_to(const struct controlled *c, const struct pg_control *control, char *text,
                     size_t size)
{
    int32_t limit;
    int64_t value;

    if (control == NULL || c->limit == 0) {
        return false;
    }
    memcpy(&limit, (const char *)control + c->limit, sizeof(limit));
    if (!str_to_i64(text, 0, INT32_MAX, &value) || value >= limit) {
        return false;
    }
    (void)snprintf(text, size, "%" PRId32, limit);
    return true;
}

bool pg_params_controlled(const struct pg_options *o, const struct pg_control *control,
                          bool complain, struct kv_list *out)
{
    bool raised = false;
    char text[64];

    kv_add(out, "cluster_name", o->scope != NULL ? o->scope : "");
    kv_add(out, "listen_addresses", o->listen_addresses);
    (void)snprintf(text, sizeof(text), "%u", (unsigned)o->port);
    kv_add(out, "port", text);
    for (size_t i = 0; i < ARRAY_LENGTH(controlled); i++) {
        const struct controlled *c = &controlled[i];

        choose(c, o->parameters != NULL ? kv_get(o->parameters, c->name) : NULL, complain, text,
               sizeof(text));
        raised = raise_to(c, control, text, sizeof(text)) || raised;
        kv_add(out, c->name, text);
    }
    return raised;
}

void pg_params_pending(const struct pg_options *o, const struct kv_list *settings,
                       struct pending_restart *pending)
{
    struct kv_list wanted = {0};

    (void)pg_params_controlled(o, NULL, false, &wanted);
    for (size_t i = 0; i < wanted.n; i++) {
        const char *value = kv_get(settings, wanted.items[i].key);

        if (value != NULL && !str_equal(value, wanted.items[i].value)) {
            pg_pending_add(pending, wanted.items[i].key, value, wanted.items[i].value);
        }
    }
    kv_deinit(&wanted);
}

void pg_pending_add(struct pending_restart *pending, const char *name, const char *old_value,
                    const char *new_value)
{
    struct pending_setting *s = &pending->settings[pending->n];

    for (uint32_t i = 0; i < pending->n; i++) {
        if (str_equal(pending->settings[i].name, name)) {
            return;
        }
    }
    if (pending->n == PENDING_MAX) {
        return;
    }
    pending->n++;
    (void)str_copy(s->name, sizeof(s->name), name);
    (void)str_copy(s->old_value, sizeof(s->old_value), old_value);
    (void)str_copy(s->new_value, sizeof(s->new_value), new_value);
}

/* PostgreSQL's own units, as SHOW prints a value: the largest that divides it. */
static const struct unit {
    const char *base;
    struct {
        const char *name;
        uint64_t factor; /* Of the base. */
    } shown[5];
} units[] = {
    /* clang-format off */
    {"B",   {{"GB", 1 << 30}, {"MB", 1 << 20}, {"kB", 1 << 10}, {"B", 1}}},
    {"kB",  {{"GB", 1 << 20}, {"MB", 1 << 10}, {"kB", 1}}},
    {"MB",  {{"GB", 1 << 10}, {"MB", 1}}},
    {"ms",  {{"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}}},
    {"s",   {{"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}}},
    {"min", {{"d", 1440}, {"h", 60}, {"min", 1}}},
    /* clang-format on */
};

void pg_param_humanize(const char *value, const char *unit, char *text, size_t size)
{
    char *base;
    uint64_t factor = MAX(strtoul(unit, &base, 10), 1UL); /* "8kB" is eight of "kB". */
    uint64_t number;

    (void)str_copy(text, size, value); /* Cut is fine: for people. */
    if (!str_to_u64(value, 1, UINT64_MAX / (1024 * 1024), &number)) {
        return;
    }
    number *= factor;
    for (size_t i = 0; i < ARRAY_LENGTH(units); i++) {
        for (size_t k = 0; str_equal(units[i].base, base) && k < 5; k++) {
            uint64_t each = units[i].shown[k].factor;

            if (each != 0 && number % each == 0) {
                (void)snprintf(text, size, "%" PRIu64 "%s", number / each, units[i].shown[k].name);
                return;
            }
        }
    }
}

/* ---- The others ---- */

/* What GUC names are made of (guc.c: valid_custom_variable_name); anything else
 * could end the line and begin another. */
static bool is_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char rest[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789$.";
    size_t length = strlen(name);

    return length > 0 && length < 128 && strspn(name, letters) > 0 && strspn(name, rest) == length;
}

static bool is_removed(const char *name, uint32_t major)
{
    for (size_t i = 0; i < ARRAY_LENGTH(removed); i++) {
        if (major >= removed[i].since && str_equal(name, removed[i].name)) {
            return true;
        }
    }
    return false;
}

static void add_given(const struct kv *p, uint32_t major, struct kv_list *out)
{
    uint64_t segments;
    char text[32];

    if (p->value == NULL || pg_param_classify(p->key) != PG_PARAM_PLAIN) {
        return;
    }
    if (!is_name(p->key)) {
        log_warning("A PostgreSQL parameter has an impossible name, leaving it out. name=%s",
                    p->key);
    } else if (str_equal(p->key, "wal_keep_segments")) {
        if (str_to_u64(p->value, 0, UINT32_MAX, &segments) && !kv_has(out, "wal_keep_size")) {
            (void)snprintf(text, sizeof(text), "%" PRIu64 "MB", MAX(segments, (uint64_t)1) * 16);
            kv_set(out, "wal_keep_size", text);
        }
    } else if (is_removed(p->key, major)) {
        log_warning("PostgreSQL %u has no such parameter any more, leaving it out. name=%s", major,
                    p->key);
    } else {
        kv_set(out, p->key, p->value);
    }
}

static void add_default(struct kv_list *out, const char *name, uint64_t value, const char *unit)
{
    char text[32];

    if (!kv_has(out, name)) {
        (void)snprintf(text, sizeof(text), "%" PRIu64 "%s", value, unit);
        kv_set(out, name, text);
    }
}

/*
 * Acknowledgements in flight, receivers and senders that hang on a dead peer: all
 * must be over when the lease is (design.md section 8). tcp_user_timeout may be set
 * lower, not higher; the others are the operator's if set.
 */
static void add_timeouts(uint64_t ttl_ms, struct kv_list *out)
{
    uint64_t seconds = MAX(ttl_ms / 3000, (uint64_t)1);
    uint64_t given = 0;
    const char *text = kv_get(out, "tcp_user_timeout");

    if (text == NULL || !str_to_u64(text, 1, ttl_ms, &given)) {
        kv_remove(out, "tcp_user_timeout");
        add_default(out, "tcp_user_timeout", ttl_ms, "");
    }
    add_default(out, "wal_sender_timeout", ttl_ms, "ms");
    add_default(out, "wal_receiver_timeout", ttl_ms, "ms");
    add_default(out, "tcp_keepalives_idle", seconds, "");
    add_default(out, "tcp_keepalives_interval", seconds, "");
    add_default(out, "tcp_keepalives_count", 3, "");
}

/*
 * A WAL sender that has read another synchronous_standby_names releases who waits when its
 * standby speaks next. Without new WAL that is this interval: with PostgreSQL's 10 s a standby
 * of an idle cluster was taken for one that does not get there (sync_rules.c, CONFIRM_MS).
 */
static void add_status_interval(struct kv_list *out)
{
    add_default(out, "wal_receiver_status_interval", 1, "s");
}

/* So that a permanent logical slot is on the standbys, too, and goes on after a failover. */
static void add_slot_synchronization(struct kv_list *out)
{
    if (!kv_has(out, "sync_replication_slots")) {
        kv_set(out, "sync_replication_slots", "on");
    }
    if (!kv_has(out, "hot_standby_feedback")) {
        kv_set(out, "hot_standby_feedback", "on"); /* Else it does not begin. */
    }
}

/* The list is the operator's: only of what is in it is PostgreSQL asked. */
static void drop_unknown(const struct pg_options *o, struct pg_names *names, struct kv_list *out)
{
    for (size_t i = 0; o->parameters != NULL && i < o->parameters->n; i++) {
        const char *name = o->parameters->items[i].key;

        if (kv_has(out, name) && !pg_names_has(names, o, name)) {
            kv_remove(out, name);
        }
    }
}

void pg_params_plain(const struct pg_options *o, uint32_t major, struct pg_names *names,
                     struct kv_list *out)
{
    for (size_t i = 0; o->parameters != NULL && i < o->parameters->n; i++) {
        add_given(&o->parameters->items[i], major, out);
    }
    if (names != NULL) {
        pg_names_begin(names);
        drop_unknown(o, names, out);
        pg_names_drop_refused(names, o, out);
    }
    add_default(out, "wal_keep_size", 128, "MB");
    if (major >= SLOTS_MAJOR_SYNCS && pg_slots_has_logical(o)) {
        add_slot_synchronization(out);
    }
    if (o->ttl_ms > 0) {
        add_timeouts(o->ttl_ms, out);
        add_status_interval(out);
    }
    kv_sort(out);
}
