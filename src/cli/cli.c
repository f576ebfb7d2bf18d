/*
 * vechectl's main: options, the table of subcommands, the configuration.
 * Options may stand before or behind the subcommand.
 */
#include "cli/cli.h"

#include <getopt.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/veche/veche.yml"

/* clang-format off */
static const struct cli_command commands[] = {
    {"list",        "members of the cluster, their role, state and lag", cli_list},
    {"topology",    "the same as a tree below the primary",              cli_topology},
    {"members",     "members and their addresses",                       cli_members},
    {"switchover",  "make a healthy standby primary",                    cli_switchover},
    {"failover",    "make the named member primary",                     cli_failover},
    {"pause",       "maintenance: no failover, PostgreSQL is left alone", cli_pause},
    {"resume",      "the end of it",                                     cli_resume},
    {"history",     "timelines, and who was primary",                    cli_history},
    {"show-config", "dynamic configuration",                             cli_show_config},
    {"edit-config", "change it: -s PATH=VALUE, -p PARAMETER=VALUE",      cli_edit_config},
    {"version",     "versions of vechectl and of the agent",             cli_version},
};

static const struct option options[] = {
    {"config-file", required_argument, NULL, 'c'}, {"url",       required_argument, NULL, 'u'},
    {"format",      required_argument, NULL, 'f'}, {"watch",     required_argument, NULL, 'w'},
    {"leader",      required_argument, NULL, 'l'}, {"primary",   required_argument, NULL, 'l'},
    {"candidate",   required_argument, NULL, 'n'}, {"force",     no_argument,       NULL, 'F'},
    {"extended",    no_argument,       NULL, 'e'}, {"timestamp", no_argument,       NULL, 't'},
    {"help",        no_argument,       NULL, 'h'}, {"scheduled", required_argument, NULL, 'S'},
    {"group",       required_argument, NULL, 'g'}, {"set",       required_argument, NULL, 's'},
    {"pg",          required_argument, NULL, 'p'}, {"wait",      no_argument,       NULL, 'a'},
    {"primary-is-dead", required_argument, NULL, 'D'}, {NULL,        0,                 NULL, 0},
};
/* clang-format on */

static void usage(FILE *out)
{
    fputs("usage: vechectl [-c FILE | --url URL] COMMAND [OPTIONS] [CLUSTER]\n\nCommands:\n", out);
    for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
        fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].help);
    }
    fputs("\nOptions:\n"
          "  -c, --config-file FILE  the agent's configuration (also: VECHECTL_CONFIG_FILE,\n"
          "                          PATRONICTL_CONFIG_FILE; default " DEFAULT_CONFIG ")\n"
          "  -u, --url URL           ask this agent, such as http://10.0.0.1:8008\n"
          "  -f, --format FORMAT     pretty, json, yaml, yml or tsv\n"
          "  -w SECONDS, -W          list, topology: again every SECONDS (-W: 2)\n"
          "  -e, -t                  list: all columns; the time first\n"
          "  --leader NAME, --candidate NAME, --force   switchover, failover\n"
          "  --primary-is-dead NAME  failover: from a primary that a pause left unfenced\n"
          "  --wait                  pause, resume: until the primary has followed\n"
          "  -s PATH=VALUE, -p PARAMETER=VALUE, --force edit-config; VALUE null removes\n"
          "\nExit codes: 0 done, 1 failed, 2 usage, 3 refused by the cluster, 4 nobody answered\n",
          out);
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
            return true;
        }
    }
    fprintf(stderr, "Error: --format %s: use pretty, json, yaml, yml or tsv\n", name);
    return false;
}

static bool set_watch(struct cli *c, const char *text)
{
    if (!conf_parse_duration_ms(text, &c->watch_ms) || c->watch_ms == 0) {
        fprintf(stderr, "Error: -w %s: a number of seconds is needed\n", text);
        return false;
    }
    return true;
}

static bool add_setting(struct cli *c, const char *prefix, const char *text)
{
    const char *value = strchr(text, '=');
    struct strbuf path = {0};

    if (value == NULL || value == text) {
        fprintf(stderr, "Error: \"%s\": NAME=VALUE is needed\n", text);
        return false;
    }
    strbuf_printf(&path, "%s%.*s", prefix, (int)(value - text), text);
    kv_add(&c->settings, path.data, value + 1);
    strbuf_deinit(&path);
    return true;
}

/* Returns an exit code, or -1 to go on. */
static int take_option(struct cli *c, int option)
{
    switch (option) {
    case 'c':
        c->config_path = optarg;
        return -1;
    case 'u':
        c->url = optarg;
        return -1;
    case 'f':
        return set_format(c, optarg) ? -1 : VECHE_EXIT_USAGE;
    case 'w':
        return set_watch(c, optarg) ? -1 : VECHE_EXIT_USAGE;
    case 'W':
        c->watch_ms = 2000;
        return -1;
    case 'l':
        c->leader = optarg;
        return -1;
    case 'n':
        c->candidate = optarg;
        return -1;
    case 'a':
        c->wait = true;
        return -1;
    case 'D':
        c->dead = optarg;
        return -1;
    case 'F':
        c->force = true;
        return -1;
    case 'e':
        c->extended = true;
        return -1;
    case 't':
        c->timestamp = true;
        return -1;
    case 'g':
        return -1; /* Citus groups: taken and ignored, as scripts pass it. */
    case 's':
        return add_setting(c, "", optarg) ? -1 : VECHE_EXIT_USAGE;
    case 'p':
        return add_setting(c, "postgresql.parameters.", optarg) ? -1 : VECHE_EXIT_USAGE;
    case 'S':
        fputs("Error: --scheduled is not supported yet; run the command when it is due\n", stderr);
        return VECHE_EXIT_USAGE;
    case 'h':
        usage(stdout);
        return VECHE_EXIT_OK;
    default:
        usage(stderr);
        return VECHE_EXIT_USAGE;
    }
}

static void find_config(struct cli *c)
{
    const char *path = c->config_path;

    if (path == NULL) {
        path = getenv("VECHECTL_CONFIG_FILE");
    }
    if (path == NULL) {
        path = getenv("PATRONICTL_CONFIG_FILE");
    }
    if (path == NULL && access(DEFAULT_CONFIG, R_OK) == 0) {
        path = DEFAULT_CONFIG;
    }
    c->config_path = path;
}

static void ignore_warning(void *data, const char *text)
{
    (void)data;
    (void)text; /* They are the agent's business. */
}

static int run_command(struct cli *c, const struct cli_command *command, int argc, char **argv)
{
    struct err err = {""};
    int code;

    find_config(c);
    if (c->config_path != NULL && c->url == NULL) {
        c->conf = conf_load(c->config_path, ignore_warning, NULL, &err);
        if (c->conf == NULL) {
            fprintf(stderr, "Error: %s\n", err.text);
            return VECHE_EXIT_USAGE;
        }
    }
    code = command->run(c, argc, argv);
    conf_free(c->conf);
    kv_deinit(&c->settings);
    if (fflush(stdout) != 0) {
        return VECHE_EXIT_FAILED;
    }
    return code;
}

int main(int argc, char **argv)
{
    struct cli c = {0};
    int option;

    while ((option = getopt_long(argc, argv, "c:u:d:f:w:Weths:p:", options, NULL)) != -1) {
        int code = take_option(&c, option == 'd' ? 'u' : option);

        if (code >= 0) {
            return code;
        }
    }
    if (optind >= argc) {
        usage(stderr);
        return VECHE_EXIT_USAGE;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
        if (str_equal(commands[i].name, argv[optind])) {
            return run_command(&c, &commands[i], argc - optind - 1, argv + optind + 1);
        }
    }
    fprintf(stderr, "Error: there is no command \"%s\"; see vechectl --help\n", argv[optind]);
    return VECHE_EXIT_USAGE;
}
