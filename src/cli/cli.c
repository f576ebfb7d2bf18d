/*
 * vechectl's main.
 */
#include "cli/cli.h"

int main(int argc, char **argv)
{
    struct cli c = {0};
    int n_words = 0;
    char **words = NULL;
    int code = cli_parse(&c, argc, argv, &n_words, &words);

    if (code < 0) {
        code = cli_config_read(&c);
    }
    if (code < 0) {
        code = c.command->run(&c, n_words, words);
    }
    cli_config_deinit(&c.config);
    kv_deinit(&c.settings);
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == VECHE_EXIT_OK) {
        fputs("Error: the answer could not be written\n", stderr);
        return VECHE_EXIT_FAILED;
    }
    return code;
}
