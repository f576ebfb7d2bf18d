/*
 * The parameters that the installed PostgreSQL knows: one that it does not know keeps it
 * from starting. `postgres --describe-config` lists most of them; it leaves out those for
 * developers, so what is not in the list is asked for one by one (`postgres -C NAME`), once.
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

void pg_names_deinit(struct pg_names *names)
{
    kv_deinit(&names->known);
    kv_deinit(&names->unknown);
}
