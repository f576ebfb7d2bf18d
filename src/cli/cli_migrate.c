/*
 * migrate: a configuration of Patroni as one of Veche on the standard output, and what was
 * done to it: as comments at its top and, when that goes to a file, to the operator too.
 */
#include <unistd.h>

#include "cli/cli.h"
#include "conf/conf_migrate.h"

static void print_notes(const struct conf_migration *m, const char *prefix, FILE *out)
{
    static const char *const titles[] = {
        [CONF_NOTE_CHANGED] = "Changed:",
        [CONF_NOTE_DROPPED] = "Dropped:",
        [CONF_NOTE_CHECK] = "To look at:",
    };

    for (size_t i = 0; i < CONF_NOTES; i++) {
        if (m->notes[i].n > 0) {
            fprintf(out, "%s%s\n", prefix, titles[i]);
        }
        for (size_t k = 0; k < m->notes[i].n; k++) {
            fprintf(out, "%s  %s\n", prefix, m->notes[i].items[k].key);
        }
    }
}

void cli_print_migration(const struct conf_migration *m, const char *path, FILE *out)
{
    json_t *value = json_loads(m->json, 0, NULL);

    ASSERT(value != NULL); /* We made the text. */
    fprintf(out, "# Of %s, by vechectl migrate. Check it: veched --validate-config -i FILE\n",
            path);
    print_notes(m, "# ", out);
    cli_yaml_print(value, out);
    json_decref(value);
}

/* "a,b" as a list. */
static void split(const char *text, struct kv_list *words)
{
    char *copy = xstrdup(text);
    char *rest = copy;
    char *word;

    while ((word = strsep(&rest, ", ")) != NULL) {
        if (word[0] != '\0') {
            kv_add(words, word, NULL);
        }
    }
    free(copy);
}

int cli_migrate(struct cli *c, int argc, char **argv)
{
    struct conf_migration m;
    struct kv_list partners = {0};
    struct err err = {""};
    int code = VECHE_EXIT_OK;

    if (argc != 1) {
        cli_error("expected the configuration of Patroni: vechectl migrate FILE");
        return VECHE_EXIT_USAGE;
    }
    split(c->partners != NULL ? c->partners : "", &partners);
    if (conf_migrate(argv[0], &partners, &m, &err) != 0) {
        cli_error("%s", err.text);
        code = VECHE_EXIT_FAILED;
    } else {
        cli_print_migration(&m, argv[0], stdout);
        if (isatty(STDOUT_FILENO) == 0) {
            print_notes(&m, "", stderr);
        }
    }
    conf_migration_deinit(&m);
    kv_deinit(&partners);
    return code;
}
