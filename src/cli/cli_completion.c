/*
 * Completion for bash and zsh and the manual page, from the table: what is on the standard
 * output is what the package installs.
 */
#include "cli/cli.h"

/* ---- bash ---- */

static void print_flag_words(const struct cli_flag *flag, FILE *out)
{
    if (flag->letter != 0) {
        fprintf(out, " -%c", flag->letter);
    }
    fprintf(out, " --%s", flag->name);
}

/* The pattern of a case: "-f|--format". */
static void print_flag_pattern(const struct cli_flag *flag, FILE *out)
{
    if (flag->letter != 0) {
        fprintf(out, "-%c|", flag->letter);
    }
    fprintf(out, "--%s", flag->name);
}

/* What may stand behind the flag. */
static void print_bash_value(const struct cli_flag *flag, FILE *out)
{
    fputs("        ", out);
    print_flag_pattern(flag, out);
    fputs(") ", out);
    if (flag->words == NULL) {
        fputs("return", out);
    } else if (str_equal(flag->words, "FILE")) {
        fputs("COMPREPLY=($(compgen -f -- \"$cur\")); return", out);
    } else {
        fputs("COMPREPLY=($(compgen -W '", out);
        for (const char *p = flag->words; *p != '\0'; p++) {
            fputc(*p == '|' ? ' ' : *p, out);
        }
        fputs("' -- \"$cur\")); return", out);
    }
    fputs(" ;;\n", out);
}

static void print_bash_command(const struct cli_command *command, FILE *out)
{
    fprintf(out, "    %s)\n        words='", command->name);
    for (size_t i = 0; i < CLI_COMMAND_FLAGS_MAX && command->flags[i] != NULL; i++) {
        print_flag_words(command->flags[i], out);
    }
    if (strchr(command->args, '|') != NULL) { /* Words to choose from. */
        fputc(' ', out);
        for (const char *p = command->args; *p != '\0'; p++) {
            fputc(strchr("|[]", *p) != NULL ? ' ' : *p, out);
        }
    }
    fputs("'\n        case \"$prev\" in\n", out);
    for (size_t i = 0; i < CLI_COMMAND_FLAGS_MAX && command->flags[i] != NULL; i++) {
        if (command->flags[i]->value != NULL) {
            print_bash_value(command->flags[i], out);
        }
    }
    fputs("        esac ;;\n", out);
}

static void print_bash(FILE *out)
{
    fputs("# bash completion of vechectl; made by: vechectl completion bash\n"
          "_vechectl()\n{\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    local command='' words='' i\n"
          "    COMPREPLY=()\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "        case \"${COMP_WORDS[i]}\" in\n        ",
          out);
    for (size_t i = 0; i < cli_n_commands; i++) {
        fprintf(out, "%s%s", i > 0 ? "|" : "", cli_commands[i].name);
    }
    fputs(") command=${COMP_WORDS[i]}; break ;;\n        esac\n    done\n"
          "    case \"$command\" in\n    '')\n        words='",
          out);
    for (size_t i = 0; i < cli_n_commands; i++) {
        fprintf(out, "%s%s", i > 0 ? " " : "", cli_commands[i].name);
    }
    fputs("' ;;\n", out);
    for (size_t i = 0; i < cli_n_commands; i++) {
        print_bash_command(&cli_commands[i], out);
    }
    fputs("    esac\n    case \"$prev\" in\n", out);
    for (size_t i = 0; cli_global_flags[i] != NULL; i++) {
        if (cli_global_flags[i]->value != NULL) {
            print_bash_value(cli_global_flags[i], out);
        }
    }
    fputs("    esac\n    words+='", out);
    for (size_t i = 0; cli_global_flags[i] != NULL; i++) {
        print_flag_words(cli_global_flags[i], out);
    }
    fputs("'\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n"
          "complete -F _vechectl vechectl\n",
          out);
}

/* ---- zsh ---- */

/* Characters that have a meaning of their own in _arguments' descriptions. */
static void print_zsh_text(const char *text, FILE *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            fputs("'\\''", out);
        } else {
            fprintf(out, strchr("[]:", *text) != NULL ? "\\%c" : "%c", *text);
        }
    }
}

static void print_zsh_spelling(const struct cli_flag *flag, const char *dashes, const char *name,
                               FILE *out)
{
    fprintf(out, " \\\n            '%s%s[", dashes, name);
    print_zsh_text(flag->help, out);
    fputc(']', out);
    if (flag->value != NULL) {
        fprintf(out, ":%s:", flag->value);
        if (flag->words != NULL && str_equal(flag->words, "FILE")) {
            fputs("_files", out);
        } else if (flag->words != NULL) {
            fputc('(', out);
            for (const char *p = flag->words; *p != '\0'; p++) {
                fputc(*p == '|' ? ' ' : *p, out);
            }
            fputc(')', out);
        }
    }
    fputc('\'', out);
}

static void print_zsh_flag(const struct cli_flag *flag, FILE *out)
{
    char letter[2] = {flag->letter, '\0'};

    if (flag->letter != 0) {
        print_zsh_spelling(flag, "-", letter, out);
    }
    print_zsh_spelling(flag, "--", flag->name, out);
}

static void print_zsh_globals(FILE *out)
{
    for (size_t i = 0; cli_global_flags[i] != NULL; i++) {
        print_zsh_flag(cli_global_flags[i], out);
    }
}

static void print_zsh(FILE *out)
{
    fputs("#compdef vechectl\n# zsh completion of vechectl; made by: vechectl completion zsh\n"
          "_vechectl_commands()\n{\n    local -a commands=(\n",
          out);
    for (size_t i = 0; i < cli_n_commands; i++) {
        fprintf(out, "        '%s:", cli_commands[i].name);
        print_zsh_text(cli_commands[i].help, out);
        fputs("'\n", out);
    }
    fputs("    )\n    _describe command commands\n}\n\n_vechectl()\n{\n"
          "    local context state line\n    _arguments -C",
          out);
    print_zsh_globals(out);
    fputs(" \\\n            '1:command:_vechectl_commands' '*::words:->words'\n"
          "    [[ $state == words ]] || return\n    case $line[1] in\n",
          out);
    for (size_t i = 0; i < cli_n_commands; i++) {
        const struct cli_command *command = &cli_commands[i];

        fprintf(out, "    %s)\n        _arguments", command->name);
        for (size_t k = 0; k < CLI_COMMAND_FLAGS_MAX && command->flags[k] != NULL; k++) {
            print_zsh_flag(command->flags[k], out);
        }
        fputs(" '*::words:' ;;\n", out);
    }
    fputs("    esac\n}\n\n_vechectl \"$@\"\n", out);
}

/* ---- Manual page ---- */

/* '-' is a hyphen to troff unless escaped, a leading '.' a request. */
static void print_man_text(const char *text, FILE *out)
{
    fputs(text[0] == '.' || text[0] == '\'' ? "\\&" : "", out);
    for (; *text != '\0'; text++) {
        if (*text == '-' || *text == '\\') {
            fputc('\\', out);
        }
        fputc(*text, out);
    }
}

static void print_man_flag(const struct cli_flag *flag, FILE *out)
{
    fputs(".TP\n", out);
    if (flag->letter != 0) {
        fprintf(out, "\\fB\\-%c\\fR, ", flag->letter);
    }
    fputs("\\fB\\-\\-", out);
    print_man_text(flag->name, out);
    fputs("\\fR", out);
    if (flag->value != NULL) {
        fputs(" \\fI", out);
        print_man_text(flag->value, out);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    print_man_text(flag->help, out);
    fputc('\n', out);
}

static void print_man_command(const struct cli_command *command, FILE *out)
{
    fputs(".SS \"", out);
    print_man_text(command->name, out);
    fputs(command->args[0] != '\0' ? " " : "", out);
    print_man_text(command->args, out);
    fputs("\"\n", out);
    print_man_text(command->help, out);
    fputc('\n', out);
    for (size_t i = 0; i < CLI_COMMAND_FLAGS_MAX && command->flags[i] != NULL; i++) {
        print_man_flag(command->flags[i], out);
    }
}

static void print_man(FILE *out)
{
    fputs(".TH VECHECTL 1 \"\" \"Veche " VECHE_VERSION "\" \"Veche\"\n.SH NAME\n"
          "vechectl \\- command of a Veche cluster of PostgreSQL servers\n.SH SYNOPSIS\n"
          ".B vechectl\n[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIOPTIONS\\fR] [\\fIWORDS\\fR]\n"
          ".SH DESCRIPTION\nAsks the agent of this machine over its unix socket, else the one of\n"
          "\\fB\\-\\-url\\fR, else those that the configuration names. Commands, flags and texts\n"
          "are those of patronictl.\n.SH COMMANDS\n",
          out);
    for (size_t i = 0; i < cli_n_commands; i++) {
        print_man_command(&cli_commands[i], out);
    }
    fputs(".SH OPTIONS\n", out);
    for (size_t i = 0; cli_global_flags[i] != NULL; i++) {
        print_man_flag(cli_global_flags[i], out);
    }
    fputs(".SH ENVIRONMENT\n.TP\n\\fBVECHECTL_CONFIG_FILE\\fR, \\fBPATRONICTL_CONFIG_FILE\\fR\n"
          "The configuration, where \\fB\\-c\\fR is not given.\n"
          ".TP\n\\fBVECHE_*\\fR, \\fBPATRONI_*\\fR\n"
          "Keys of the sections \\fBctl\\fR and \\fBrestapi\\fR, as for the agent; "
          "\\fBVECHE_RUNTIME_DIR\\fR.\n"
          ".TP\n\\fBEDITOR\\fR\nWhat edit\\-config starts.\n"
          ".TP\n\\fBNO_COLOR\\fR\nNo colours, also on a terminal.\n"
          ".SH FILES\n~/.config/veche/vechectl.yaml, ~/.config/patroni/patronictl.yaml,\n"
          "/etc/veche/veche.yml: the first that can be read.\n"
          ".SH EXIT STATUS\n0 done; 1 failed; 2 usage; 3 refused by the cluster, which says why;\n"
          "4 nobody answered. \\fBcheck\\fR: 0 in order; 1 warning; 2 critical; 3 unknown.\n"
          ".SH SEE ALSO\nveched(8), veche.yml(5)\n",
          out);
}

int cli_completion(struct cli *c, int argc, char **argv)
{
    const char *what = argc > 0 ? argv[0] : "";

    (void)c;
    if (str_equal(what, "bash")) {
        print_bash(stdout);
    } else if (str_equal(what, "zsh")) {
        print_zsh(stdout);
    } else if (str_equal(what, "man")) {
        print_man(stdout);
    } else {
        cli_error("completion: bash, zsh or man is needed");
        return VECHE_EXIT_USAGE;
    }
    return VECHE_EXIT_OK;
}
