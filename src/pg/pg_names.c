/*
 * The parameters that the installed PostgreSQL knows, and the values it takes: one of the
 * others keeps it from starting, here and on every node that is restarted or takes over.
 * `postgres --describe-config` lists most of them; it leaves out those for developers, so what
 * is not in the list is asked for one by one (`postgres -C NAME`), once. So are values: it reads
 * them before it says what `port` is. The server that runs reads the file, too: where a value
 * is refused it is told the one it has, not its default.
 * For the thread that writes the configuration, which may wait for a child, but not for long:
 * it starts PostgreSQL as well.
 */
#include <strings.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "pg/pg_internal.h"
#include "pg/pg_spawn.h"

#define LIST_SIZE   (256 * 1024)
#define ANSWER_SIZE 1024
#define LIMIT_MS    10000
#define SILENT_MS   MINUTES(1)

void pg_names_begin(struct pg_names *names)
{
    uint64_t now_ms = clock_ms();
    uint32_t limit_ms = names->limit_ms != 0 ? names->limit_ms : LIMIT_MS;

    names->answer_by_ms = now_ms < names->silent_until_ms ? 0 : now_ms + limit_ms;
}

/* False: no answer in time, to this one or to one before. */
static bool ask(struct pg_names *names, const char *const *argv, char *text, size_t size)
{
    uint64_t now_ms = clock_ms();

    if (names->answer_by_ms == 0) {
        return false;
    }
    if (now_ms < names->answer_by_ms &&
        pg_version_ask(argv, (uint32_t)(names->answer_by_ms - now_ms), text, size)) {
        return true;
    }
    log_warning("The installed PostgreSQL does not say in time which parameters it takes, writing "
                "the rest as they are. program=%s",
                names->program);
    names->answer_by_ms = 0;
    names->silent_until_ms = clock_ms() + SILENT_MS;
    return false;
}

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

static bool list_names(struct pg_names *names)
{
    const char *const argv[] = {names->program, "--describe-config", NULL};
    char *text = xmalloc(LIST_SIZE);

    bool answered = ask(names, argv, text, LIST_SIZE);

    if (answered) {
        pg_names_parse(text, &names->known);
    }
    free(text);
    return answered;
}

static void read_former(struct pg_names *names, const struct pg_options *o)
{
    char path[PATH_MAX];
    char *text;

    kv_deinit(&names->former);
    (void)snprintf(path, sizeof(path), "%s/%.63s.conf", o->config_dir, o->config_base_name);
    text = pg_file_read(path, PG_TEXT_FILE_MAX);
    if (text != NULL && pg_conf_is_ours(text)) {
        pg_conf_parse(text, &names->former);
    }
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
        read_former(names, o);
        if (!list_names(names) || names->known.n == 0) {
            names->program[0] = '\0'; /* With the next write. */
            names->answer_by_ms = 0;
        }
    }
    return names->known.n > 0;
}

/* Without a configuration and without data: the name alone is looked at. */
static bool is_refused(struct pg_names *names, const char *name)
{
    const char *const argv[] = {names->program, "-C", name, "--config_file=/dev/null",
                                "-D",           "/",  NULL};
    char text[ANSWER_SIZE];

    return ask(names, argv, text, sizeof(text)) &&
           strstr(text, "unrecognized configuration parameter") != NULL;
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
    if (names->answer_by_ms != 0) {
        kv_add(&names->known, name, NULL);
    }
    return true;
}

/* ---- Values ---- */

#define PORT_ASKED "5432"

struct asked {
    struct pg_names *names;
    const struct kv_list *list; /* Of what nothing is known. */
    bool is_former;             /* Not what is configured: its refusal changes nothing. */
};

/* ps shows arguments, and a command may hold a password. */
static bool is_private(const char *name)
{
    return str_ends_with(name, "_command") || str_ends_with(name, "_conninfo");
}

/* What it says of them; ends with the port when it takes them all. False: nothing in time. */
static bool ask_values(const struct asked *a, size_t first, size_t n, char *text, size_t size)
{
    const char **argv = xmalloc((n + 8) * sizeof(*argv));
    struct kv_list texts = {0};
    size_t n_args = 0;
    bool answered;

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
    answered = ask(a->names, argv, text, size);
    free(argv);
    kv_deinit(&texts);
    return answered;
}

/* The line of the failure, without what stands before it in the log. NULL: it does not speak of
 * one, it was killed, or could not be run. */
static const char *reason_of(char *text)
{
    static const char fatal[] = "FATAL:  ";
    char *at = strstr(text, fatal);

    if (at == NULL) {
        return NULL;
    }
    at += strlen(fatal);
    at[strcspn(at, "\n")] = '\0';
    return at;
}

static void refuse(const struct asked *a, const struct kv *item, const char *reason)
{
    const char *last = kv_get(&a->names->taken, item->key);

    if (a->is_former) {
        return;
    }
    kv_set(&a->names->refused, item->key, item->value);
    if (last != NULL) {
        log_warning("The installed PostgreSQL does not take the value of a parameter, keeping the "
                    "last one that it took. name=%s kept=\"%s\" why=\"%s\"",
                    item->key, last, reason);
    } else {
        log_warning("The installed PostgreSQL does not take the value of a parameter, leaving it "
                    "out: it would not start with it. name=%s why=\"%s\"",
                    item->key, reason);
    }
}

/* Halves until it is known which: n of them are most often fine. As deep as n has bits. Only
 * words of a refusal are one: of what nothing is said is let through, and asked again. */
static void judge_values(const struct asked *a, size_t first, size_t n)
{
    char text[ANSWER_SIZE];
    const char *reason;

    if (n == 0 || !ask_values(a, first, n, text, sizeof(text))) {
        return;
    }
    if (str_ends_with(text, PORT_ASKED "\n")) {
        for (size_t i = first; i < first + n; i++) {
            kv_set(&a->names->taken, a->list->items[i].key, a->list->items[i].value);
        }
    } else if (n > 1) {
        judge_values(a, first, n / 2);
        judge_values(a, first + n / 2, n - n / 2);
    } else if ((reason = reason_of(text)) != NULL) {
        refuse(a, &a->list->items[first], reason);
    }
}

static bool is_open(const struct pg_names *names, const char *name, const char *value)
{
    return value != NULL && strchr(name, '.') == NULL && !is_private(name) &&
           !str_equal(kv_get(&names->taken, name), value) &&
           !str_equal(kv_get(&names->refused, name), value);
}

/* What the server may run with, while something else is configured by now. Of a placeholder no
 * commit is released: that is never anybody's wish. */
static void judge_former(struct pg_names *names, const struct kv_list *params)
{
    struct kv_list list = {0};

    for (size_t i = 0; i < names->former.n; i++) {
        const struct kv *item = &names->former.items[i];

        if (kv_has(params, item->key) && !str_equal(kv_get(params, item->key), item->value) &&
            is_open(names, item->key, item->value) &&
            strstr(item->value, PG_SYNC_PLACEHOLDER) == NULL) {
            kv_set(&list, item->key, item->value);
        }
    }
    judge_values(&(struct asked){names, &list, true}, 0, list.n);
    kv_deinit(&list);
    if (names->answer_by_ms != 0) {
        kv_deinit(&names->former);
    }
}

/* What is not configured any more is not in force either. */
static void forget(struct kv_list *values, const struct kv_list *params)
{
    for (size_t i = values->n; i > 0; i--) {
        if (!kv_has(params, values->items[i - 1].key)) {
            kv_remove(values, values->items[i - 1].key);
        }
    }
}

static void judge_configured(struct pg_names *names, const struct pg_options *o,
                             const struct kv_list *params)
{
    struct kv_list list = {0};

    for (size_t i = 0; o->parameters != NULL && i < o->parameters->n; i++) {
        const char *name = o->parameters->items[i].key;

        if (is_open(names, name, kv_get(params, name))) {
            kv_set(&list, name, kv_get(params, name));
        }
    }
    judge_values(&(struct asked){names, &list, false}, 0, list.n);
    kv_deinit(&list);
}

void pg_names_drop_refused(struct pg_names *names, const struct pg_options *o,
                           struct kv_list *params)
{
    if (!refresh(names, o)) {
        return;
    }
    forget(&names->taken, params);
    forget(&names->refused, params);
    judge_former(names, params);
    judge_configured(names, o, params);
    for (size_t i = 0; i < names->refused.n; i++) {
        const struct kv *item = &names->refused.items[i];
        const char *last = kv_get(&names->taken, item->key);

        if (!str_equal(kv_get(params, item->key), item->value)) {
            continue;
        }
        if (last != NULL) {
            kv_set(params, item->key, last);
        } else {
            kv_remove(params, item->key);
        }
    }
}

void pg_names_deinit(struct pg_names *names)
{
    kv_deinit(&names->known);
    kv_deinit(&names->unknown);
    kv_deinit(&names->taken);
    kv_deinit(&names->refused);
    kv_deinit(&names->former);
}
