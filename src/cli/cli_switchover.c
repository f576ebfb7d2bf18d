/*
 * switchover and failover: shows the cluster, asks what was not given, asks to
 * confirm, and tells how it ended. Exit code 0 only if it happened.
 */
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"

#define ANSWER_SIZE 128

struct plan {
    const char *what; /* "switchover", "failover" */
    const char *scope;
    const char *leader; /* NULL = none. */
    char candidate[ANSWER_SIZE];
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

/* An empty line takes the default. False at the end of the input. */
static bool ask(const char *question, const char *preset, char *answer)
{
    size_t length;

    printf("%s [%s]: ", question, preset);
    fflush(stdout);
    if (fgets(answer, ANSWER_SIZE, stdin) == NULL) {
        putchar('\n');
        return false;
    }
    length = strcspn(answer, "\n");
    answer[length] = '\0';
    if (answer[0] == '\0') {
        (void)str_copy(answer, ANSWER_SIZE, preset); /* Names are shorter. */
    }
    return true;
}

static void list_candidates(const json_t *cluster, struct strbuf *names)
{
    size_t i;
    json_t *member;

    strbuf_add_text(names, "[");
    json_array_foreach(json_object_get(cluster, "members"), i, member)
    {
        if (str_equal(text_of(member, "role"), "leader") ||
            json_object_get(member, "port") == NULL) {
            continue; /* The primary, and witnesses. */
        }
        strbuf_printf(names, "%s'%s'", names->length > 1 ? ", " : "", text_of(member, "name"));
    }
    strbuf_add_text(names, "]");
}

static bool confirm(const struct plan *p)
{
    char question[512];
    char answer[ANSWER_SIZE];

    if (p->leader != NULL) {
        (void)snprintf(question, sizeof(question),
                       "Are you sure you want to %s cluster %s, demoting current leader %s? [y/N]",
                       p->what, p->scope, p->leader);
    } else {
        (void)snprintf(question, sizeof(question), "Are you sure you want to %s cluster %s? [y/N]",
                       p->what, p->scope);
    }
    return ask(question, "N", answer) && (answer[0] == 'y' || answer[0] == 'Y');
}

/* Fills what was not given on the command line. Returns false to abort. */
static bool complete(const struct cli *c, const json_t *cluster, struct plan *p)
{
    struct strbuf names = {0};
    char question[1024];
    char answer[ANSWER_SIZE];
    bool fine = true;

    if (c->force) {
        return true;
    }
    list_candidates(cluster, &names);
    if (str_equal(p->what, "switchover") && c->leader == NULL) {
        fine = ask("Primary", p->leader != NULL ? p->leader : "", answer);
        if (fine && !str_equal(answer, p->leader != NULL ? p->leader : "")) {
            fprintf(stderr, "Error: Member %s is not the leader of cluster %s\n", answer, p->scope);
            fine = false;
        }
    }
    if (fine && c->candidate == NULL) {
        (void)snprintf(question, sizeof(question), "Candidate %s", names.data);
        fine = ask(question, "", p->candidate);
    }
    strbuf_deinit(&names);
    return fine && confirm(p);
}

static int post(struct cli *c, const struct plan *p)
{
    char path[32];
    json_t *body = json_object();
    struct cli_reply reply;
    char at[CLOCK_TEXT_SIZE];
    char *text;
    int code = VECHE_EXIT_OK;

    if (str_equal(p->what, "switchover") && p->leader != NULL) {
        json_object_set_new(body, "leader", json_string(p->leader));
    }
    if (p->candidate[0] != '\0') {
        json_object_set_new(body, "candidate", json_string(p->candidate));
    }
    (void)snprintf(path, sizeof(path), "/%s", p->what);
    text = json_dumps(body, 0);
    ASSERT(text != NULL);
    if (!cli_request(c, "POST", path, text, &reply)) {
        fprintf(stderr, "Error: no agent answered (%s)\n", reply.tried);
        code = VECHE_EXIT_UNREACHABLE;
    } else if (reply.code == 200 || reply.code == 202) {
        printf("%s %s\n", clock_format_iso(clock_wall_us(), at, sizeof(at)), reply.body.data);
    } else {
        fprintf(stderr, "%c%s failed, details: %ld, %s\n", p->what[0] - 32, p->what + 1, reply.code,
                reply.body.data != NULL ? reply.body.data : "");
        code = reply.code == 400 || reply.code == 412 || reply.code == 403 || reply.code == 422
                   ? VECHE_EXIT_REFUSED
                   : VECHE_EXIT_FAILED;
    }
    cli_reply_deinit(&reply);
    free(text);
    json_decref(body);
    return code;
}

static int run_plan(struct cli *c, const json_t *cluster, struct plan *p)
{
    json_t *after;
    int ignored;
    int code;

    (void)cli_print_topology(c, cluster);
    if (!complete(c, cluster, p)) {
        fputs("Error: Aborting\n", stderr);
        return VECHE_EXIT_FAILED;
    }
    if (str_equal(p->what, "failover") && p->candidate[0] == '\0') {
        fputs("Error: Failover could be performed only to a specific candidate; give --candidate\n",
              stderr);
        return VECHE_EXIT_USAGE;
    }
    code = post(c, p);
    if (code == VECHE_EXIT_OK && (after = cli_get_json(c, "/cluster", &ignored)) != NULL) {
        (void)cli_print_topology(c, after);
        json_decref(after);
    }
    return code;
}

static int run(struct cli *c, const char *what, int argc, char **argv)
{
    int code;
    json_t *cluster = cli_get_json(c, "/cluster", &code);
    struct plan p = {.what = what};

    if (cluster == NULL) {
        return code;
    }
    p.scope = text_of(cluster, "scope");
    p.leader = c->leader != NULL ? c->leader : cli_leader_name(cluster);
    if (c->candidate != NULL) {
        (void)str_copy(p.candidate, sizeof(p.candidate), c->candidate); /* Checked there. */
    }
    if (argc > 0 && !str_equal(argv[0], p.scope)) {
        fprintf(stderr, "Error: this is cluster %s, not %s\n", p.scope, argv[0]);
        code = VECHE_EXIT_USAGE;
    } else if (str_equal(what, "switchover") && p.leader == NULL) {
        fputs("Error: This cluster has no leader\n", stderr);
        code = VECHE_EXIT_REFUSED;
    } else {
        code = run_plan(c, cluster, &p);
    }
    json_decref(cluster);
    return code;
}

int cli_switchover(struct cli *c, int argc, char **argv)
{
    return run(c, "switchover", argc, argv);
}

int cli_failover(struct cli *c, int argc, char **argv)
{
    if (c->dead != NULL) {
        int code = cli_declare_dead(c, c->dead);

        if (code != VECHE_EXIT_OK || c->candidate == NULL) {
            return code; /* Unless paused, the cluster chooses by itself now. */
        }
    }
    return run(c, "failover", argc, argv);
}
