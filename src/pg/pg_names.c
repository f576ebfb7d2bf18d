/*
 * The parameters that the installed PostgreSQL knows, and the values it takes: one of the
 * others keeps it from starting, here and on every node that is restarted or takes over.
 * `postgres --describe-config` lists most of them; it leaves out those for developers, so what
 * is not in the list is asked for one by one (`postgres -C NAME`), once. So are values: it reads
 * them before it says what `port` is.
 * For the thread that writes the configuration, which may wait for a child.
 */
#include <strings.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/str.h"
#include "pg/pg_internal.h"
#include "pg/pg_spawn.h"

#define LIST_SIZE   (256 * 1024)
#define ANSWER_SIZE 1024

static bool has_name(const struct kv_list *list, const char *name)
{
    for (size_t i = 0; i < list->n; i++) {
        if (strcasecmp(list->items[i].key, name) == 0) { /* PostgreSQL's ignore case. */
            return true;
        }
    }
    return false;
}

/* The first field of each line is a name. */
void pg_names_parse(const char *text, struct kv_list *names)
{
    while (*text != '\0') {
        size_t n = strcspn(text, "\t\n");
        char name[128];

        if (text[n] == '\t' && n > 0 && n < sizeof(name)) {
            memcpy(name, text, n);
            name[n] = '\0';
            kv_add(names, name, NULL);
        }
        text += strcspn(text, "\n");
        text += *text == '\n' ? 1 : 0;
    }
}

static void list_names(struct pg_names *names)
{
    const char *const argv[] = {names->program, "--describe-config", NULL};
    char *text = xmalloc(LIST_SIZE);

    pg_version_ask(argv, text, LIST_SIZE);
    pg_names_parse(text, &names->known);
    free(text);
}

/* Another binary: what is known was of the one before. */
static bool refresh(struct pg_names *names, const struct pg_options *o)
{
    struct err ignored;
    struct stat st;
    char program[PATH_MAX];

    if (pg_spawn_find(o->bin_dir, pg_program(o, "postgres"), program, sizeof(program), &ignored) !=
            0 ||
        stat(program, &st) != 0) {
        return false;
    }
    if (!str_equal(program, names->program) || st.st_ino != names->inode ||
        st.st_mtime != names->changed) {
        kv_deinit(&names->known);
        kv_deinit(&names->unknown);
        kv_deinit(&names->taken);
        kv_deinit(&names->refused);
        (void)str_copy(names->program, sizeof(names->program), program); /* Same size. */
        names->inode = st.st_ino;
        names->changed = st.st_mtime;
        list_names(names);
    }
    return names->known.n > 0;
}

/* Without a configuration and without data: the name alone is looked at. */
static bool is_refused(const struct pg_names *names, const char *name)
{
    const char *const argv[] = {names->program, "-C", name, "--config_file=/dev/null",
                                "-D",           "/",  NULL};
    char text[ANSWER_SIZE];

    pg_version_ask(argv, text, sizeof(text));
    return strstr(text, "unrecognized configuration parameter") != NULL;
}

bool pg_names_has(struct pg_names *names, const struct pg_options *o, const char *name)
{
    if (strchr(name, '.') != NULL) {
        return true; /* Of a library that is loaded, or will be. */
    }
    if (!refresh(names, o) || has_name(&names->known, name)) {
        return true; /* What can not be asked is let through: PostgreSQL has the last word. */
    }
    if (has_name(&names->unknown, name)) {
        return false;
    }
    if (is_refused(names, name)) {
        log_warning("The installed PostgreSQL has no such parameter, leaving it out. name=%s "
                    "program=%s",
                    name, names->program);
        kv_add(&names->unknown, name, NULL);
        return false;
    }
    kv_add(&names->known, name, NULL);
    return true;
}

/* ---- Values ---- */

#define PORT_ASKED "5432"

struct asked {
    struct pg_names *names;
    const struct kv_list *list; /* Of what nothing is known. */
};

/* ps shows arguments, and a command may hold a password. */
static bool is_private(const char *name)
{
    return str_ends_with(name, "_command") || str_ends_with(name, "_conninfo");
}

/* What it says of them; ends with the port when it takes them all. */
static void ask_values(const struct asked *a, size_t first, size_t n, char *text, size_t size)
{
    const char **argv = xmalloc((n + 8) * sizeof(*argv));
    struct kv_list texts = {0};
    size_t n_args = 0;

    argv[n_args++] = a->names->program;
    argv[n_args++] = "-C";
    argv[n_args++] = "port";
    argv[n_args++] = "--port=" PORT_ASKED;
    argv[n_args++] = "--config_file=/dev/null";
    argv[n_args++] = "-D";
    argv[n_args++] = "/";
    for (size_t i = first; i < first + n; i++) {
        struct strbuf b = {0};

        strbuf_printf(&b, "--%s=%s", a->list->items[i].key, a->list->items[i].value);
        kv_add(&texts, b.data, NULL);
        strbuf_deinit(&b);
    }
    for (size_t i = 0; i < texts.n; i++) {
        argv[n_args++] = texts.items[i].key;
    }
    argv[n_args] = NULL;
    pg_version_ask(argv, text, size);
    free(argv);
    kv_deinit(&texts);
}

/* The line of the failure, without what stands before it in the log. */
static const char *reason_of(char *text)
{
    static const char fatal[] = "FATAL:  ";
    char *at = strstr(text, fatal);

    at = at != NULL ? at + strlen(fatal) : text;
    at[strcspn(at, "\n")] = '\0';
    return at;
}

/* Halves until it is known which: n of them are most often fine. As deep as n has bits. */
static void judge_values(const struct asked *a, size_t first, size_t n)
{
    const struct kv *item;
    char text[ANSWER_SIZE];

    if (n == 0) {
        return;
    }
    item = &a->list->items[first];
    ask_values(a, first, n, text, sizeof(text));
    if (str_ends_with(text, PORT_ASKED "\n") || (n == 1 && text[0] == '\0')) {
        for (size_t i = first; i < first + n; i++) { /* Who says nothing has not refused it. */
            kv_set(&a->names->taken, a->list->items[i].key, a->list->items[i].value);
        }
    } else if (n > 1) {
        judge_values(a, first, n / 2);
        judge_values(a, first + n / 2, n - n / 2);
    } else {
        log_warning("The installed PostgreSQL does not take the value of a parameter, leaving it "
                    "out: it would not start with it. name=%s why=\"%s\"",
                    item->key, reason_of(text));
        kv_set(&a->names->refused, item->key, item->value);
    }
}

void pg_names_drop_refused(struct pg_names *names, const struct pg_options *o,
                           struct kv_list *params)
{
    struct kv_list list = {0};

    if (!refresh(names, o)) {
        return;
    }
    for (size_t i = 0; o->parameters != NULL && i < o->parameters->n; i++) {
        const char *name = o->parameters->items[i].key;
        const char *value = kv_get(params, name);

        if (value != NULL && strchr(name, '.') == NULL && !is_private(name) &&
            !str_equal(kv_get(&names->taken, name), value) &&
            !str_equal(kv_get(&names->refused, name), value)) {
            kv_set(&list, name, value);
        }
    }
    judge_values(&(struct asked){names, &list}, 0, list.n);
    for (size_t i = 0; i < names->refused.n; i++) {
        const struct kv *item = &names->refused.items[i];

        if (str_equal(kv_get(params, item->key), item->value)) {
            kv_remove(params, item->key);
        }
    }
    kv_deinit(&list);
}

void pg_names_deinit(struct pg_names *names)
{
    kv_deinit(&names->known);
    kv_deinit(&names->unknown);
    kv_deinit(&names->taken);
    kv_deinit(&names->refused);
}
