/*
 * pause and resume, as Patroni's: a key of the dynamic configuration. And the word of an
 * operator that passes the mark which a pause leaves on a primary that is gone.
 */
#include <poll.h>

#include "cli/cli.h"

#define WAIT_S      60
#define LOOK_MS     200
#define NAME_LENGTH 128

static const char *state_name(bool paused)
{
    return paused ? "paused" : "resumed";
}

/* The store says that the primary is unfenced, or not any more. Without a primary there is
 * nothing to wait for. */
static bool primary_followed(const json_t *cluster, bool paused)
{
    const json_t *veche = json_object_get(cluster, "veche");
    bool unfenced = json_is_true(json_object_get(veche, "unfenced"));

    return json_is_true(json_object_get(cluster, "pause")) == paused &&
           (unfenced == paused || (paused && cli_leader_name(cluster) == NULL));
}

/* Agents that do not answer are not waited for: what they would follow, they do not run. */
static bool members_followed(const struct cli *c, const json_t *cluster, bool paused)
{
    size_t i;
    json_t *member;

    json_array_foreach(json_object_get(cluster, "members"), i, member)
    {
        json_t *status = cli_member_json(c, member, "/patroni");
        bool followed = status == NULL || json_is_true(json_object_get(status, "pause")) == paused;

        json_decref(status);
        if (!followed) {
            return false;
        }
    }
    return true;
}

static bool has_arrived(const struct cli *c, bool paused)
{
    int code;
    json_t *cluster = cli_get_json(c, "/cluster", &code);
    bool arrived = cluster != NULL && primary_followed(cluster, paused) &&
                   members_followed(c, cluster, paused);

    json_decref(cluster);
    return arrived;
}

static int wait_for(const struct cli *c, bool paused)
{
    printf("'%s' request sent, waiting until it is recognized by all nodes\n",
           paused ? "pause" : "resume");
    fflush(stdout);
    for (int i = 0; i < WAIT_S * 1000 / LOOK_MS; i++) {
        if (has_arrived(c, paused)) {
            printf("Success: cluster management is %s\n", state_name(paused));
            return VECHE_EXIT_OK;
        }
        (void)poll(NULL, 0, LOOK_MS); /* Ends early on a signal. */
    }
    cli_error("the cluster is %s, but not all of its members have followed within %d s",
              state_name(paused), WAIT_S);
    return VECHE_EXIT_FAILED;
}

static int send_change(const struct cli *c, bool paused)
{
    struct cli_reply reply;
    int code = VECHE_EXIT_OK;

    if (!cli_request(c, "PATCH", "/config", paused ? "{\"pause\": true}" : "{\"pause\": null}",
                     &reply)) {
        code = cli_unreachable(&reply);
    } else if (reply.code != 200) {
        cli_error("Failed: %s cluster management status code=%ld, (%s)",
                  paused ? "pause" : "resume", reply.code, cli_reply_text(&reply));
        code = cli_exit_code(reply.code);
    }
    cli_reply_deinit(&reply);
    if (code == VECHE_EXIT_OK && c->wait) {
        return wait_for(c, paused);
    }
    if (code == VECHE_EXIT_OK) {
        printf("Success: cluster management is %s\n", state_name(paused));
    }
    return code;
}

static int run(const struct cli *c, bool paused, int argc, char **argv)
{
    int code;
    json_t *cluster = cli_get_whole_cluster(c, argc, argv, &code);

    if (cluster == NULL) {
        return code;
    }
    if (json_is_true(json_object_get(cluster, "pause")) == paused) {
        cli_error("Cluster is %s paused", paused ? "already" : "not");
        code = VECHE_EXIT_FAILED;
    } else {
        code = send_change(c, paused);
    }
    json_decref(cluster);
    return code;
}

int cli_pause(struct cli *c, int argc, char **argv)
{
    return run(c, true, argc, argv);
}

int cli_resume(struct cli *c, int argc, char **argv)
{
    return run(c, false, argc, argv);
}

/* Typed, --force or not: nothing else tells that a server writes no more. */
static bool types_name(const char *name)
{
    char answer[NAME_LENGTH] = "";

    printf("Nothing fences PostgreSQL of %s since the pause. If it still runs anywhere, what it "
           "acknowledges\nis lost, and clients may find two primaries. Make sure that its machine "
           "is off.\nType the name of the dead primary to go on: ",
           name);
    fflush(stdout);
    if (fgets(answer, sizeof(answer), stdin) == NULL) {
        putchar('\n');
        return false;
    }
    answer[strcspn(answer, "\n")] = '\0';
    return str_equal(answer, name);
}

int cli_declare_dead(const struct cli *c, const char *name)
{
    struct cli_reply reply;
    int code = VECHE_EXIT_OK;
    json_t *body;
    char *text;

    if (!types_name(name)) {
        cli_error("Aborting");
        return VECHE_EXIT_FAILED;
    }
    body = json_pack("{s:s}", "primary", name);
    text = json_dumps(body, 0);
    ASSERT(text != NULL);
    if (!cli_request(c, "POST", "/primary-is-dead", text, &reply)) {
        code = cli_unreachable(&reply);
    } else if (reply.code != 200) {
        cli_error("%ld, %s", reply.code, cli_reply_text(&reply));
        code = reply.code == 503 ? VECHE_EXIT_FAILED : VECHE_EXIT_REFUSED;
    } else {
        puts(reply.body.data != NULL ? reply.body.data : "");
    }
    cli_reply_deinit(&reply);
    free(text);
    json_decref(body);
    return code;
}
