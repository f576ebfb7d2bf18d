/*
 * Flags by the table. Global ones may stand before the command or behind it; where a command
 * has a flag of the same letter behind it, that one is meant (query -c SQL).
 */
#include <getopt.h>

#include "cli/cli.h"

#define ACTIVE_MAX 32
#define FIRST_LONG 256 /* Values of long flags in getopt's answer: behind all letters. */

struct active { /* Flags that may stand here, the command's own first. */
    const struct cli_flag *flags[ACTIVE_MAX];
    size_t n;
    char letters[ACTIVE_MAX * 2 + 2];
    struct option longs[ACTIVE_MAX + 1];
};

static bool is_taken(const struct active *a, const struct cli_flag *flag)
{
    for (size_t i = 0; i < a->n; i++) {
        if (a->flags[i] == flag || str_equal(a->flags[i]->name, flag->name)) {
            return true;
        }
    }
    return false;
}

static void add_flag(struct active *a, const struct cli_flag *flag)
{
    int has_value = flag->value != NULL ? required_argument : no_argument;

    if (is_taken(a, flag)) {
        return;
    }
    PRE(a->n < ACTIVE_MAX);
    a->longs[a->n] = (struct option){flag->name, has_value, NULL, FIRST_LONG + (int)a->n};
    if (flag->letter != 0 && strchr(a->letters, flag->letter) == NULL) {
        size_t length = strlen(a->letters);

        (void)snprintf(a->letters + length, sizeof(a->letters) - length, "%c%s", flag->letter,
                       flag->value != NULL ? ":" : "");
    }
    a->flags[a->n++] = flag;
}

static void activate(struct active *a, const struct cli_command *command)
{
    *a = (struct active){0};
    (void)str_copy(a->letters, sizeof(a->letters), "+"); /* Words end the flags before a command. */
    if (command != NULL) {
        a->letters[0] = '\0';
        for (size_t i = 0; i < CLI_COMMAND_FLAGS_MAX && command->flags[i] != NULL; i++) {
            add_flag(a, command->flags[i]);
        }
    }
    for (size_t i = 0; cli_global_flags[i] != NULL; i++) {
        add_flag(a, cli_global_flags[i]);
    }
}

static const struct cli_flag *find_flag(const struct active *a, int option)
{
    if (option >= FIRST_LONG) {
        return a->flags[option - FIRST_LONG];
    }
    for (size_t i = 0; i < a->n; i++) {
        if (a->flags[i]->letter == option) {
            return a->flags[i];
        }
    }
    return NULL;
}

static bool set_format(struct cli *c, const char *name)
{
    static const struct {
        const char *name;
        enum cli_format format;
    } formats[] = {{"pretty", CLI_PRETTY},
                   {"json", CLI_JSON},
                   {"yaml", CLI_YAML},
                   {"yml", CLI_YAML},
                   {"tsv", CLI_TSV}};

    for (size_t i = 0; i < ARRAY_LENGTH(formats); i++) {
        if (str_equal(formats[i].name, name)) {
            c->format = formats[i].format;
            c->format_given = true;
            return true;
        }
    }
    cli_error("--format %s: use pretty, tsv, json, yaml or yml", name);
    return false;
}

static bool set_watch(struct cli *c, const char *text)
{
    if (!conf_parse_duration_ms(text, &c->watch_ms) || c->watch_ms == 0) {
        cli_error("-w %s: a number of seconds is needed", text);
        return false;
    }
    return true;
}

static bool add_setting(struct cli *c, const char *prefix, const char *text)
{
    const char *value = strchr(text, '=');
    struct strbuf path = {0};

    if (value == NULL || value == text) {
        cli_error("\"%s\": NAME=VALUE is needed", text);
        return false;
    }
    strbuf_printf(&path, "%s%.*s", prefix, (int)(value - text), text);
    kv_add(&c->settings, path.data, value + 1);
    strbuf_deinit(&path);
    return true;
}

static void set_at(struct cli *c, const struct cli_flag *flag, const char *text)
{
    char *at = (char *)c + flag->offset;

    if (flag->kind == CLI_SWITCH) {
        *(bool *)at = true;
    } else {
        *(const char **)(void *)at = text;
    }
}

/* False with the reason printed. */
static bool take(struct cli *c, const struct cli_flag *flag, const char *text)
{
    switch (flag->kind) {
    case CLI_SWITCH:
    case CLI_TEXT:
        set_at(c, flag, text);
        return true;
    case CLI_FORMAT_NAME:
        return set_format(c, text);
    case CLI_WATCH:
        return set_watch(c, text);
    case CLI_WATCH_TWO:
        c->watch_ms = 2000;
        return true;
    case CLI_SETTING:
        return add_setting(c, "", text);
    case CLI_PARAMETER:
        return add_setting(c, "postgresql.parameters.", text);
    case CLI_IGNORED:
    case CLI_HELP:
        return true;
    }
    return true;
}

static int show_help(const struct cli_command *command)
{
    if (command != NULL) {
        cli_print_help(command, stdout);
    } else {
        cli_print_usage(stdout);
    }
    return VECHE_EXIT_OK;
}

/* Flags from argv[1] on, before the command (NULL) or behind it. */
static int parse_flags(struct cli *c, const struct cli_command *command, int argc, char **argv)
{
    static struct active a; /* getopt keeps pointers into it. */
    int option;

    activate(&a, command);
    optind = 0; /* Begin anew, with these flags. */
    while ((option = getopt_long(argc, argv, a.letters, a.longs, NULL)) != -1) {
        const struct cli_flag *flag = option != '?' ? find_flag(&a, option) : NULL;

        if (flag == NULL) {
            fprintf(stderr, "See: vechectl %s --help\n", command != NULL ? command->name : "");
            return VECHE_EXIT_USAGE;
        }
        if (flag->kind == CLI_HELP) {
            return show_help(command);
        }
        if (!take(c, flag, optarg)) {
            return VECHE_EXIT_USAGE;
        }
    }
    return -1;
}

/* What flags hold that is wrong whatever the command. */
static int check(const struct cli *c, int argc)
{
    if (c->role != NULL && !cli_is_role(c->role)) {
        cli_error("--role %s: use leader, primary, standby-leader, replica, standby or any",
                  c->role);
        return VECHE_EXIT_USAGE;
    }
    if (c->command->args_max >= 0 && argc > c->command->args_max) {
        cli_error("%s takes %s", c->command->name,
                  c->command->args[0] != '\0' ? c->command->args : "no words behind it");
        return VECHE_EXIT_USAGE;
    }
    return -1;
}

int cli_parse(struct cli *c, int argc, char **argv, int *ret_argc, char ***ret_argv)
{
    int code = parse_flags(c, NULL, argc, argv);
    int at = optind;

    if (code >= 0) {
        return code;
    }
    if (at >= argc) {
        cli_print_usage(stderr);
        return VECHE_EXIT_USAGE;
    }
    c->command = cli_find_command(argv[at]);
    if (c->command == NULL) {
        cli_error("there is no command \"%s\"; see vechectl --help", argv[at]);
        return VECHE_EXIT_USAGE;
    }
    code = parse_flags(c, c->command, argc - at, argv + at);
    *ret_argc = argc - at - optind;
    *ret_argv = argv + at + optind;
    return code >= 0 ? code : check(c, *ret_argc);
}
