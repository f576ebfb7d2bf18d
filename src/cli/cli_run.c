/*
 * Other programs that vechectl starts for a person: an editor, psql.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"

static void run_child(char *const argv[], int out)
{
    if (out >= 0) {
        (void)dup2(out, STDOUT_FILENO); /* A failure shows as an empty answer. */
    }
    (void)execvp(argv[0], argv);
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static char *read_all(int fd)
{
    struct strbuf text = {0};
    char part[4096];
    ssize_t n;

    strbuf_add_text(&text, "");
    while ((n = read(fd, part, sizeof(part))) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0) {
            strbuf_add(&text, part, (size_t)n);
        }
    }
    return text.data;
}

/* Ctrl-C in an editor is the editor's: ending before it would leave two at one terminal. */
struct signals {
    struct sigaction interrupt, quit;
};

static void ignore_signals(struct signals *before)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};

    (void)sigaction(SIGINT, &ignore, &before->interrupt); /* Valid signals. */
    (void)sigaction(SIGQUIT, &ignore, &before->quit);
}

static void restore_signals(const struct signals *before)
{
    (void)sigaction(SIGINT, &before->interrupt, NULL); /* As above. */
    (void)sigaction(SIGQUIT, &before->quit, NULL);
}

int cli_run(char *const argv[], char **ret_output)
{
    int fds[2] = {-1, -1};
    bool is_interactive = ret_output == NULL;
    struct signals before;
    int status = -1;
    pid_t pid;

    fflush(NULL);
    if (ret_output != NULL && pipe(fds) < 0) {
        return -1;
    }
    if (is_interactive) {
        ignore_signals(&before);
    }
    pid = fork();
    if (pid == 0) {
        if (is_interactive) {
            restore_signals(&before);
        }
        run_child(argv, fds[1]);
    }
    if (ret_output != NULL) {
        (void)close(fds[1]);
        *ret_output = read_all(fds[0]);
        (void)close(fds[0]);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (is_interactive) {
        restore_signals(&before);
    }
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
