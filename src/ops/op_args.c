/*
 * Argument lists for PostgreSQL's programs, and the user's options in them.
 */
#include "ops/ops_internal.h"

#include <stdarg.h>

#include "base/log.h"

void op_args_add(struct op_args *args, const char *format, ...)
{
    va_list values, again;
    int length;

    PRE(args->n < OP_ARGS_MAX + OP_ARGS_FRONT);

    va_start(values, format);
    va_copy(again, values);
    length = vsnprintf(NULL, 0, format, values);
    ASSERT(length >= 0);
    args->items[args->n] = xmalloc((size_t)length + 1);
    (void)vsnprintf(args->items[args->n], (size_t)length + 1, format, again); /* Fits. */
    args->n++;
    va_end(again);
    va_end(values);
}

/* "--max-rate", "max-rate" and "max-rate=1M" all have the name max-rate. */
static bool has_name(const char *option, const char *name)
{
    size_t length = strlen(name);

    return strncmp(option, name, length) == 0 && (option[length] == '\0' || option[length] == '=');
}

/* A copy is a directory of plain files: the server may compress on the way, from PostgreSQL 15
 * on, pg_basebackup itself may not. */
static bool is_on_the_way(const char *option, const char *value)
{
    const char *equals = strchr(option, '=');

    return has_name(option, "compress") && str_starts_with(value != NULL    ? value
                                                           : equals != NULL ? equals + 1
                                                                            : "",
                                                           "server-");
}

static bool is_refused(const char *option, const char *value, const char *const *refused)
{
    for (; *refused != NULL; refused++) {
        if (has_name(option, *refused)) {
            return !is_on_the_way(option, value);
        }
    }
    return false;
}

void op_args_add_options(struct op_args *args, const struct kv_list *options,
                         const char *const *refused, const char *where)
{
    for (size_t i = 0; options != NULL && i < options->n; i++) {
        const char *name = options->items[i].key;
        const char *value = options->items[i].value;

        if (str_starts_with(name, "--")) {
            name += 2;
        }
        if (is_refused(name, value, refused)) {
            log_warning("Option is not for the configuration to set, ignored. section=%s option=%s",
                        where, name);
        } else if (args->n == OP_ARGS_MAX) {
            log_warning("Too many options, ignored. section=%s option=%s", where, name);
        } else if (value != NULL && value[0] != '\0') {
            op_args_add(args, "--%s=%s", name, value);
        } else {
            op_args_add(args, "--%s", name);
        }
    }
}

void op_args_add_program(struct op_args *args, const struct pg_options *pg, const char *program)
{
    const char *name = pg_program(pg, program);
    bool in_bin_dir = pg->bin_dir != NULL && pg->bin_dir[0] != '\0' && strchr(name, '/') == NULL;

    op_args_add(args, "%s%s%s", in_bin_dir ? pg->bin_dir : "", in_bin_dir ? "/" : "", name);
}

const char *const *op_args_list(const struct op_args *args)
{
    return (const char *const *)args->items;
}

void op_args_deinit(struct op_args *args)
{
    for (size_t i = 0; i < args->n; i++) {
        free(args->items[i]);
        args->items[i] = NULL;
    }
    args->n = 0;
}
