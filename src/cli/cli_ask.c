/*
 * Prompts, errors, and colours only where a person looks.
 */
#include <stdarg.h>
#include <unistd.h>

#include "cli/cli.h"

bool cli_ask(const char *question, const char *preset, char answer[CLI_ANSWER_SIZE])
{
    printf("%s [%s]: ", question, preset);
    fflush(stdout);
    if (fgets(answer, CLI_ANSWER_SIZE, stdin) == NULL) {
        putchar('\n');
        return false;
    }
    answer[strcspn(answer, "\n")] = '\0';
    if (answer[0] == '\0') {
        (void)str_copy(answer, CLI_ANSWER_SIZE, preset); /* Presets are shorter. */
    }
    return true;
}

bool cli_confirm(const char *format, ...)
{
    char answer[16];
    va_list args;

    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    fputs(" [y/N]: ", stdout);
    fflush(stdout);
    if (fgets(answer, sizeof(answer), stdin) == NULL) {
        putchar('\n');
        return false;
    }
    return answer[0] == 'y' || answer[0] == 'Y';
}

bool cli_is_terminal(FILE *out)
{
    const char *term = getenv("TERM");

    return isatty(fileno(out)) && !(term != NULL && str_equal(term, "dumb"));
}

const char *cli_colour(FILE *out, const char *sequence)
{
    const char *none = getenv("NO_COLOR");

    return cli_is_terminal(out) && !(none != NULL && none[0] != '\0') ? sequence : "";
}

void cli_error(const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stderr, "%sError:%s ", cli_colour(stderr, CLI_RED), cli_colour(stderr, CLI_RESET));
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

int cli_unreachable(const struct cli_reply *reply)
{
    cli_error("%s (%s)", reply->sent ? cli_no_reply(reply) : "no agent answered", reply->tried);
    return VECHE_EXIT_UNREACHABLE;
}
