/*
 * switchover and failover: shows the cluster, asks what was not given, asks to
 * confirm, and tells how it ended. Exit code 0 only if it happened, or is scheduled.
 */
#include "cli/cli.h"

struct plan {
    const char *what; /* "switchover", "failover" */
    const char *scope;
    const char *leader;          /* NULL = none. */
    char typed[CLI_ANSWER_SIZE]; /* Whom the operator takes for it; "" = was not asked. */
    char candidate[CLI_ANSWER_SIZE];
    char at[64]; /* "" = now. */
};

static bool is_switchover(const struct plan *p)
{
    return str_equal(p->what, "switchover");
}

/* As its tags say: the flag, or a priority of nothing. */
static bool may_lead(const json_t *member)
{
    const json_t *tags = json_object_get(member, "tags");
    const json_t *flag = json_object_get(tags, "nofailover");
    const json_t *priority = json_object_get(tags, "failover_priority");

    return flag != NULL ? !json_is_true(flag)
                        : !json_is_integer(priority) || json_integer_value(priority) > 0;
}

static bool is_candidate(const json_t *member)
{
    return cli_has_role(member, "replica") && json_object_get(member, "port") != NULL &&
           may_lead(member);
}

/* "['a', 'b']", and how many; not the primary, nor witnesses. */
static size_t list_candidates(const json_t *cluster, struct strbuf *names)
{
    size_t n = 0;
    size_t i;
    json_t *member;

    strbuf_add_text(names, "[");
    json_array_foreach(json_object_get(cluster, "members"), i, member)
    {
        if (is_candidate(member)) {
            strbuf_printf(names, "%s'%s'", n++ > 0 ? ", " : "", cli_text(member, "name"));
        }
    }
    strbuf_add_text(names, "]");
    return n;
}

static bool confirm_it(const struct plan *p)
{
    char demoting[256] = "";

    if (p->leader != NULL) {
        (void)snprintf(demoting, sizeof(demoting), ", demoting current leader %s", p->leader);
    }
    if (p->at[0] != '\0') {
        return cli_confirm("Are you sure you want to schedule %s of cluster %s at %s%s?", p->what,
                           p->scope, p->at, demoting);
    }
    return cli_confirm("Are you sure you want to %s cluster %s%s?", p->what, p->scope, demoting);
}

static bool ask_leader(const json_t *cluster, struct plan *p)
{
    const json_t *leader = cli_find_member(cluster, p->leader);
    bool of_standbys = cli_has_role(leader, "standby-leader");

    return cli_ask(of_standbys ? "Standby Leader" : "Primary", p->leader, p->typed);
}

static bool ask_candidate(const json_t *cluster, struct plan *p)
{
    struct strbuf names = {0};
    char question[1024];

    (void)list_candidates(cluster, &names);
    (void)snprintf(question, sizeof(question), "Candidate %s", names.data);
    strbuf_deinit(&names);
    return cli_ask(question, "", p->candidate);
}

/* What is typed or given is wrong at once, not when the time of it has come. */
static bool check_leader(const struct cli *c, const struct plan *p)
{
    const char *named = c->leader != NULL ? c->leader : p->typed;

    if (is_switchover(p) && named[0] != '\0' && !str_equal(named, p->leader)) {
        cli_error("Member %s is not the leader of cluster %s", named, p->scope);
        return false;
    }
    return true;
}

static bool check_candidate(const json_t *cluster, const struct plan *p)
{
    const json_t *member = cli_find_member(cluster, p->candidate);

    if (p->candidate[0] == '\0' || (member != NULL && is_candidate(member))) {
        return true;
    }
    if (p->leader != NULL && str_equal(p->candidate, p->leader)) {
        cli_error("Member %s is already the leader of cluster %s", p->candidate, p->scope);
    } else {
        cli_error("Member %s does not exist in cluster %s or is tagged as nofailover", p->candidate,
                  p->scope);
    }
    return false;
}

/* What it loses is asked for once more. */
static bool confirm_asynchronous(const json_t *cluster, const struct plan *p)
{
    bool synchronous = false;
    size_t i;
    json_t *member;

    json_array_foreach(json_object_get(cluster, "members"), i, member)
    {
        synchronous = synchronous || str_equal(cli_text(member, "role"), "sync_standby");
    }
    member = (json_t *)cli_find_member(cluster, p->candidate);
    if (!synchronous || is_switchover(p) || member == NULL ||
        str_equal(cli_text(member, "role"), "sync_standby")) {
        return true;
    }
    return cli_confirm("Are you sure you want to failover to the asynchronous node %s?",
                       p->candidate);
}

static bool ask_time(const struct cli *c, struct plan *p)
{
    char answer[CLI_ANSWER_SIZE];

    if (c->scheduled != NULL || !is_switchover(p)) {
        return true;
    }
    return cli_ask("When should the switchover take place (e.g. 2026-08-01T12:00)", "now",
                   answer) &&
           cli_parse_time(answer, p->at, sizeof(p->at));
}

static bool ask_rest(const struct cli *c, const json_t *cluster, struct plan *p)
{
    return c->force || (confirm_asynchronous(cluster, p) && ask_time(c, p) && confirm_it(p));
}

/* Fills what was not given on the command line. -1, or an exit code with the reason printed. */
static int complete(const struct cli *c, const json_t *cluster, struct plan *p)
{
    bool asks_leader = !c->force && is_switchover(p) && c->leader == NULL;
    bool answered = !asks_leader || ask_leader(cluster, p);

    if (answered && !check_leader(c, p)) {
        return VECHE_EXIT_REFUSED;
    }
    answered = answered && (c->force || c->candidate != NULL || ask_candidate(cluster, p));
    if (answered && !is_switchover(p) && p->candidate[0] == '\0') {
        cli_error("Failover could be performed only to a specific candidate; give --candidate");
        return VECHE_EXIT_USAGE;
    }
    if (answered && !check_candidate(cluster, p)) {
        return VECHE_EXIT_REFUSED;
    }
    if (!answered || !ask_rest(c, cluster, p)) {
        cli_error("Aborting %s%s", p->at[0] != '\0' ? "scheduled " : "", p->what);
        return VECHE_EXIT_FAILED;
    }
    return -1;
}

static char *body_of(const struct plan *p)
{
    json_t *body = json_object();
    char *text;

    if (is_switchover(p) && p->leader != NULL) {
        json_object_set_new(body, "leader", json_string(p->leader));
    }
    if (p->candidate[0] != '\0') {
        json_object_set_new(body, "candidate", json_string(p->candidate));
    }
    if (p->at[0] != '\0') {
        json_object_set_new(body, "scheduled_at", json_string(p->at));
    }
    text = json_dumps(body, 0);
    ASSERT(text != NULL);
    json_decref(body);
    return text;
}

static int post(struct cli *c, const struct plan *p)
{
    char path[32];
    char *text = body_of(p);
    struct cli_reply reply;
    char at[CLI_TIME_SIZE];
    int code;

    (void)snprintf(path, sizeof(path), "/%s", p->what);
    c->doing = p->what;
    c->show_phases = true;
    if (!cli_request(c, "POST", path, text, &reply)) {
        code = cli_unreachable(&reply);
    } else if (reply.code == 200 || reply.code == 202) {
        printf("%s %s\n", cli_timestamp(5, at, sizeof(at)), cli_reply_text(&reply));
        code = VECHE_EXIT_OK;
    } else {
        bool unknown = strcasestr(cli_reply_text(&reply), "status unknown") != NULL;

        fprintf(stderr, "%s %s, details: %ld, %s\n", is_switchover(p) ? "Switchover" : "Failover",
                unknown ? "result unknown" : "failed", reply.code, cli_reply_text(&reply));
        code = cli_exit_code(reply.code);
    }
    c->doing = NULL;
    c->show_phases = false;
    cli_reply_deinit(&reply);
    free(text);
    return code;
}

static int run_plan(struct cli *c, const json_t *cluster, struct plan *p)
{
    json_t *after;
    int ignored;
    int code;

    puts("Current cluster topology");
    (void)cli_print_topology(c, cluster);
    code = complete(c, cluster, p);
    code = code < 0 ? post(c, p) : code;
    if (code == VECHE_EXIT_OK && (after = cli_get_json(c, "/cluster", &ignored)) != NULL) {
        (void)cli_print_topology(c, after);
        json_decref(after);
    }
    return code;
}

/* What no answer could make right. -1 to go on. */
static int refuse(const json_t *cluster, const struct plan *p)
{
    struct strbuf names = {0};
    size_t n = list_candidates(cluster, &names);

    strbuf_deinit(&names);
    if (is_switchover(p) && p->leader == NULL) {
        cli_error("This cluster has no leader");
        return VECHE_EXIT_REFUSED;
    }
    if (n == 0) {
        cli_error("No candidates found to %s to", p->what);
        return VECHE_EXIT_REFUSED;
    }
    return -1;
}

static int run(struct cli *c, const char *what, int argc, char **argv)
{
    int code;
    json_t *cluster;
    struct plan p = {.what = what};

    if (c->scheduled != NULL && !cli_parse_time(c->scheduled, p.at, sizeof(p.at))) {
        return VECHE_EXIT_USAGE;
    }
    cluster = cli_get_whole_cluster(c, argc, argv, &code);
    if (cluster == NULL) {
        return code;
    }
    p.scope = cli_text(cluster, "scope");
    p.leader = cli_leader_name(cluster);
    if (c->candidate != NULL) {
        (void)str_copy(p.candidate, sizeof(p.candidate), c->candidate); /* Checked there. */
    }
    code = refuse(cluster, &p);
    code = code < 0 ? run_plan(c, cluster, &p) : code;
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
