/*
 * Usage and --help, from the table.
 */
#include "cli/cli.h"

#define EXIT_CODES \
    "Exit codes: 0 done, 1 failed, 2 usage, 3 refused by the cluster, 4 nobody answered"

#define CHECK_CODES \
    "Exit codes: 0 in order, 1 warning, 2 critical, 3 unknown, as monitoring plugins have them"

static void print_flag(const struct cli_flag *flag, char letter, FILE *out)
{
    char text[80];

    (void)snprintf(text, sizeof(text), "%s%c%s--%s%s%s", letter != 0 ? "-" : " ",
                   letter != 0 ? letter : ' ', letter != 0 ? ", " : "  ", flag->name,
                   flag->value != NULL ? " " : "", flag->value != NULL ? flag->value : "");
    fprintf(out, "  %-28s %s\n", text, flag->help);
}

/* Behind that command: its own flag of that letter is meant then. */
static char letter_behind(const struct cli_command *command, const struct cli_flag *flag)
{
    for (size_t i = 0; i < CLI_COMMAND_FLAGS_MAX && command->flags[i] != NULL; i++) {
        if (command->flags[i]->letter == flag->letter) {
            return 0;
        }
    }
    return flag->letter;
}

void cli_print_usage(FILE *out)
{
    fputs("usage: vechectl [OPTIONS] COMMAND [OPTIONS] [WORDS]\n\nCommands:\n", out);
    for (size_t i = 0; i < cli_n_commands; i++) {
        fprintf(out, "  %-16s %s\n", cli_commands[i].name, cli_commands[i].help);
    }
    fputs("\nOptions:\n", out);
    for (size_t i = 0; cli_global_flags[i] != NULL; i++) {
        print_flag(cli_global_flags[i], cli_global_flags[i]->letter, out);
    }
    fputs("\nvechectl COMMAND --help tells more. " EXIT_CODES "\n", out);
}

void cli_print_help(const struct cli_command *command, FILE *out)
{
    fprintf(out, "usage: vechectl %s%s%s%s\n\n%s\n", command->name,
            command->flags[0] != NULL ? " [OPTIONS]" : "", command->args[0] != '\0' ? " " : "",
            command->args, command->help);
    if (command->flags[0] != NULL) {
        fputs("\nOptions:\n", out);
    }
    for (size_t i = 0; i < CLI_COMMAND_FLAGS_MAX && command->flags[i] != NULL; i++) {
        print_flag(command->flags[i], command->flags[i]->letter, out);
    }
    fputs("\nOptions of all commands:\n", out);
    for (size_t i = 0; cli_global_flags[i] != NULL; i++) {
        print_flag(cli_global_flags[i], letter_behind(command, cli_global_flags[i]), out);
    }
    fprintf(out, "\n%s\n", command->run == cli_check ? CHECK_CODES : EXIT_CODES);
}
