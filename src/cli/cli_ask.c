/*
 * Prompts, errors, and colours only where a person looks.
 */
#include <stdarg.h>
#include <strings.h>
#include <unistd.h>

#include "cli/cli.h"

/* One line of the standard input without its end; what does not fit is read too, and is no
 * answer: it must not be taken for the one of the next question. False at the end of the input. */
static bool read_answer(char *answer, size_t size)
{
    size_t length = 0;
    int c;

    while ((c = getchar()) != EOF && c != '\n') {
        if (length < size - 1) {
            answer[length] = (char)c;
        }
        length++;
    }
    answer[MIN(length, size - 1)] = '\0';
    if (c == EOF && length == 0) {
        putchar('\n');
        return false;
    }
    if (length >= size) {
        cli_error("the answer is too long");
    }
    return length < size;
}

bool cli_ask(const char *question, const char *preset, char answer[CLI_ANSWER_SIZE])
{
    printf("%s [%s]: ", question, preset);
    fflush(stdout);
    if (!read_answer(answer, CLI_ANSWER_SIZE)) {
        return false;
    }
    if (answer[0] == '\0') {
        (void)str_copy(answer, CLI_ANSWER_SIZE, preset); /* Presets are shorter. */
    }
    return true;
}

bool cli_confirm(const char *format, ...)
{
    char answer[CLI_ANSWER_SIZE];
    va_list args;

    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    fputs(" [y/N]: ", stdout);
    fflush(stdout);
    return read_answer(answer, sizeof(answer)) &&
           (strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0);
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
