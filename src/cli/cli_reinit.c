/*
 * reinit: a standby throws its data directory away and copies it anew.
 */
#include <poll.h>

#include "cli/cli.h"

#define LOOK_MS 2000

static void name_candidates(const json_t *cluster, struct strbuf *names)
{
    size_t i;
    json_t *member;

    strbuf_add_text(names, "");
    json_array_foreach(json_object_get(cluster, "members"), i, member)
    {
        if (cli_has_role(member, "replica")) {
            strbuf_printf(names, "%s%s", names->length > 0 ? ", " : "", cli_text(member, "name"));
        }
    }
}

/* Which one, when none was named: never all of them by silence. */
static bool ask_which(const json_t *cluster, char answer[CLI_ANSWER_SIZE])
{
    struct strbuf names = {0};
    char question[1024];
    bool answered;

    name_candidates(cluster, &names);
    (void)snprintf(question, sizeof(question), "Which member do you want to reinitialize [%s]?",
                   names.data);
    strbuf_deinit(&names);
    answered = cli_ask(question, "", answer);
    return answered && answer[0] != '\0';
}

static void post(struct cli *c, const json_t *member, bool force, struct cli_reply *reply)
{
    json_t *body = json_object();
    char *text;

    if (force) {
        json_object_set_new(body, "force", json_true());
    }
    if (c->from_leader) {
        json_object_set_new(body, "from_leader", json_true());
    }
    text = json_dumps(body, 0);
    ASSERT(text != NULL);
    (void)cli_member_request(c, member, "POST", "/reinitialize", text, reply);
    free(text);
    json_decref(body);
}

static bool cancels(const struct cli *c, const struct cli_reply *reply)
{
    return reply->code == 503 && !c->force &&
           strstr(cli_reply_text(reply), "already in progress") != NULL &&
           cli_confirm("%s. Do you want to cancel it and reinitialize anyway?",
                       cli_reply_text(reply));
}

static int reinit_one(struct cli *c, const json_t *member)
{
    const char *name = cli_text(member, "name");
    struct cli_reply reply;
    int code = VECHE_EXIT_OK;

    post(c, member, c->force, &reply);
    if (cancels(c, &reply)) {
        cli_reply_deinit(&reply);
        post(c, member, true, &reply);
    }
    if (reply.code == 200) {
        printf("Success: reinitialize for member %s\n", name);
    } else if (reply.code == 0) {
        printf("Failed: reinitialize for member %s, %s (%s)\n", name, cli_no_reply(&reply),
               reply.tried);
        code = VECHE_EXIT_UNREACHABLE;
    } else {
        printf("Failed: reinitialize for member %s, status code=%ld, (%s)\n", name, reply.code,
               cli_reply_text(&reply));
        code = cli_exit_code(reply.code);
    }
    cli_reply_deinit(&reply);
    return code;
}

/* ---- --wait ---- */

/* "creating replica" is what it waits for; what fails is told by another state. */
static bool is_done(const json_t *cluster, const char *name, const char **ret_state)
{
    const json_t *member = cli_find_member(cluster, name);

    *ret_state = cli_text(member, "state");
    return str_equal(*ret_state, "running") || str_equal(*ret_state, "streaming");
}

static bool has_failed(const char *state)
{
    return str_ends_with(state, "failed") || str_equal(state, "crashed");
}

static int look(struct cli *c, json_t *waiting, json_t **ret_cluster)
{
    int code;
    json_t *cluster = cli_get_json(c, "/cluster", &code);

    json_decref(*ret_cluster);
    *ret_cluster = cluster;
    for (size_t i = json_array_size(waiting); cluster != NULL && i-- > 0;) {
        const char *name = json_string_value(json_array_get(waiting, i));
        const char *state;

        if (is_done(cluster, name, &state)) {
            printf("Reinitialize is completed on: %s\n", name);
            json_array_remove(waiting, i);
        } else if (has_failed(state)) {
            printf("Failed: reinitialize on member %s: %s\n", name, state);
            json_array_remove(waiting, i);
            code = VECHE_EXIT_FAILED;
        }
    }
    fflush(stdout);
    return code;
}

/* With what each does, as far as it tells: "pg1 (clone: copy, 27 %, 12.3 MB/s)". */
static void say_waiting(const json_t *waiting, const json_t *cluster)
{
    size_t i;
    json_t *name;

    fputs("Waiting for reinitialize to complete on: ", stdout);
    json_array_foreach(waiting, i, name)
    {
        const char *operation =
            cli_text(cli_find_member(cluster, json_string_value(name)), "operation");

        printf("%s%s%s%s%s", i > 0 ? ", " : "", json_string_value(name),
               operation[0] != '\0' ? " (" : "", operation, operation[0] != '\0' ? ")" : "");
    }
    putchar('\n');
    fflush(stdout);
}

/* An agent says "creating replica" as soon as it has answered the request. */
static int wait_for(struct cli *c, json_t *waiting)
{
    int code = VECHE_EXIT_OK;
    json_t *cluster = NULL; /* As it was looked at last. */

    while (json_array_size(waiting) > 0 && code != VECHE_EXIT_UNREACHABLE) {
        int now;

        say_waiting(waiting, cluster);
        (void)poll(NULL, 0, LOOK_MS); /* Ends early on a signal. */
        now = look(c, waiting, &cluster);
        code = code == VECHE_EXIT_OK || now == VECHE_EXIT_UNREACHABLE ? now : code;
    }
    json_decref(cluster);
    return code;
}

static int reinit_all(struct cli *c, const json_t *members)
{
    json_t *waiting = json_array();
    int code = VECHE_EXIT_OK;
    size_t i;
    json_t *member;

    json_array_foreach(members, i, member)
    {
        int one = reinit_one(c, member);

        if (one == VECHE_EXIT_OK) {
            json_array_append_new(waiting, json_string(cli_text(member, "name")));
        }
        code = code == VECHE_EXIT_OK ? one : code;
    }
    if (c->wait) {
        int one = wait_for(c, waiting);

        code = code == VECHE_EXIT_OK ? one : code;
    }
    json_decref(waiting);
    return code;
}

int cli_reinit(struct cli *c, int argc, char **argv)
{
    char answer[CLI_ANSWER_SIZE];
    char *named[] = {answer};
    int code;
    json_t *cluster = cli_get_cluster(c, &argc, &argv, &code);
    json_t *members;

    if (cluster == NULL) {
        return code;
    }
    if (argc == 0 && !c->force) {
        (void)cli_print_list(c, cluster);
    }
    if (argc == 0 && (c->force || !ask_which(cluster, answer))) {
        cli_error("reinit: name the members to reinitialize");
        json_decref(cluster);
        return VECHE_EXIT_USAGE;
    }
    c->role = "replica";
    members =
        cli_choose(c, cluster, "reinitialize", argc > 0 ? argc : 1, argc > 0 ? argv : named, &code);
    if (members != NULL) {
        code = cli_confirm_members(c, members, "reinitialize", "") ? reinit_all(c, members)
                                                                   : VECHE_EXIT_FAILED;
    }
    json_decref(members);
    json_decref(cluster);
    return code;
}
