/*
 * remove: the end of a cluster. Its state is in the agents' Raft directories and goes away
 * with them, so a cluster whose agents run is not removed from under them: three answers are
 * asked for as by Patroni, then it is said what is left to do. On a node whose agent is
 * stopped its own directory is set aside; PostgreSQL's data are never touched.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"

static bool confirm_name(const char *scope)
{
    char answer[CLI_ANSWER_SIZE];

    if (!cli_ask("Please confirm the cluster name to remove", "", answer)) {
        return false;
    }
    if (!str_equal(answer, scope)) {
        cli_error("Cluster names specified do not match");
        return false;
    }
    printf("You are about to remove all information of %s, please type: \"Yes I am aware\"\n",
           scope);
    if (!cli_ask("", "", answer)) {
        return false;
    }
    if (!str_equal(answer, "Yes I am aware")) {
        cli_error("You did not exactly type \"Yes I am aware\"");
        return false;
    }
    return true;
}

static bool confirm_leader(const char *leader)
{
    char answer[CLI_ANSWER_SIZE];

    if (!cli_ask("This cluster currently is healthy. Please specify the leader name to continue",
                 "", answer)) {
        return false;
    }
    if (!str_equal(answer, leader)) {
        cli_error("You did not specify the current leader of the cluster");
        return false;
    }
    return true;
}

static int refuse_running(const char *scope)
{
    cli_error("%s is running, nothing was removed: its state goes away with its agents. On every "
              "node: systemctl disable --now veched, then: vechectl -c FILE remove. The data of "
              "PostgreSQL stay",
              scope);
    return VECHE_EXIT_REFUSED;
}

/* A running agent locks it, also one that answers nobody. */
static bool is_in_use(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;

    if (fd >= 0) {
        (void)close(fd); /* And with it the lock. */
    }
    return locked;
}

static int set_aside(const char *directory)
{
    char to[700];
    char at[CLOCK_TEXT_SIZE];

    (void)snprintf(to, sizeof(to), "%s.removed-%.19s", directory,
                   clock_format_iso(clock_wall_us(), at, sizeof(at)));
    if (is_in_use(directory)) {
        cli_error("%s is in use: stop the agent first", directory);
        return VECHE_EXIT_REFUSED;
    }
    if (rename(directory, to) < 0) {
        cli_error("%s can not be renamed to %s", directory, to);
        return VECHE_EXIT_FAILED;
    }
    printf("%s is now %s; do the same on the other nodes\n", directory, to);
    return VECHE_EXIT_OK;
}

/* Nobody answers: what is here of the cluster. */
static int remove_here(const struct cli *c, const struct cli_reply *reply)
{
    char directory[512];
    struct stat st;

    if (c->config.scope[0] == '\0' ||
        cli_config_text(&c->config, "raft.data_dir", directory, sizeof(directory))[0] == '\0' ||
        stat(directory, &st) < 0) {
        return cli_unreachable(reply);
    }
    if (!confirm_name(c->config.scope)) {
        cli_error("Aborting remove");
        return VECHE_EXIT_FAILED;
    }
    return set_aside(directory);
}

int cli_remove(struct cli *c, int argc, char **argv)
{
    struct cli_reply reply;
    json_t *cluster;
    int code;

    if (!cli_request(c, "GET", "/cluster", NULL, &reply)) {
        code = remove_here(c, &reply);
        cli_reply_deinit(&reply);
        return code;
    }
    cli_reply_deinit(&reply);
    cluster = cli_get_whole_cluster(c, argc, argv, &code);
    if (cluster == NULL) {
        return code;
    }
    (void)cli_print_list(c, cluster);
    if (!confirm_name(cli_text(cluster, "scope")) ||
        (cli_leader_name(cluster) != NULL && !confirm_leader(cli_leader_name(cluster)))) {
        cli_error("Aborting remove");
        code = VECHE_EXIT_FAILED;
    } else {
        code = refuse_running(cli_text(cluster, "scope"));
    }
    json_decref(cluster);
    return code;
}
