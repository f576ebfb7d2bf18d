/*
 * An operator's command that makes a data directory: bootstrap.<method> and
 * postgresql.<method>. It works in the data directory itself, so the mark that stands
 * meanwhile holds for whatever is there (pg_mark.c), and what it made counts only after a look
 * at it, and when it is on disk.
 *
 * Nothing bounds its time: only the operator knows how long a restore takes.
 */
#include "ops/ops_internal.h"

#include "base/log.h"

#define KEY_SIZE 256

const char *op_method_get(const struct op_method *m, const char *key)
{
    char full[KEY_SIZE];

    (void)snprintf(full, sizeof(full), "%s.%s", m->name, key); /* Cut: not found. */
    return m->settings != NULL ? kv_get(m->settings, full) : NULL;
}

bool op_method_is(const struct op_method *m, const char *flag)
{
    return str_equal(op_method_get(m, flag), "true");
}

/* What it means to us; all else is the command's. */
static bool is_ours(const char *key)
{
    static const char *const ours[] = {"command",   "keep_data",  "no_params",
                                       "no_leader", "scope",      "role",
                                       "datadir",   "connstring", "keep_existing_recovery_conf"};

    for (size_t i = 0; i < ARRAY_LENGTH(ours); i++) {
        if (str_equal(key, ours[i])) {
            return true;
        }
    }
    return str_starts_with(key, "recovery_conf.");
}

static void add_settings(const struct op_method *m, struct op_args *args)
{
    size_t n = strlen(m->name);

    for (size_t i = 0; i < m->settings->n && args->n < OP_ARGS_MAX; i++) {
        const struct kv *item = &m->settings->items[i];

        if (strncmp(item->key, m->name, n) == 0 && item->key[n] == '.' &&
            !is_ours(item->key + n + 1)) {
            op_args_add(args, "--%s=%s", item->key + n + 1, item->value);
        }
    }
}

enum seq_next op_method_run(struct op *o, const struct op_method *m, const struct op_args *usual,
                            const struct kv_list *env)
{
    const char *command = op_method_get(m, "command");
    struct op_args args = {0};
    struct kv_list all = {0};
    enum seq_next next;

    if (command == NULL) {
        return op_fail(o, "method %s has no command any more", m->name);
    }
    log_info("A command makes the data directory. method=%s", m->name);
    op_args_add(&args, "/bin/sh");
    op_args_add(&args, "-c");
    op_args_add(&args, "%s \"$@\"", command); /* May have arguments. */
    op_args_add(&args, "%s", m->name);
    if (!op_method_is(m, "no_params")) {
        for (size_t i = 0; i < usual->n; i++) {
            op_args_add(&args, "%s", usual->items[i]);
        }
    }
    add_settings(m, &args);
    kv_copy(&all, env);
    /* Whatever it starts is found by the next agent, should this one die. */
    kv_add(&all, PG_HELPS_VARIABLE, pg_options(op_pg(o))->data_dir);
    next = op_run_child(o, op_args_list(&args), &all);
    kv_deinit(&all);
    op_args_deinit(&args);
    return next;
}

enum seq_next op_method_done(struct op *o, const struct op_method *m)
{
    const char *command = op_method_get(m, "command");
    struct seq *s = &o->seq;

    if (s->status == 0) {
        return SEQ_NEXT;
    }
    err_wrap(&s->problem, "method %s: %.80s", m->name, command != NULL ? command : "");
    return SEQ_FAIL;
}

enum seq_next op_method_sync(struct op *o)
{
    const char *data_dir = pg_options(op_pg(o))->data_dir;

    return op_run_child(
        o, (const char *const[]){"initdb", "--sync-only", "--pgdata", data_dir, NULL}, NULL);
}
