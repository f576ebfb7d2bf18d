/*
 * reload, restart, flush: one request to each member, one after the other in the
 * listed order. What fails on one does not keep the others from it.
 */
#include "base/rng.h"
#include "cli/cli.h"

/* ---- Whom ---- */

static void join_names(const json_t *members, struct strbuf *names)
{
    size_t i;
    json_t *member;

    strbuf_add_text(names, "");
    json_array_foreach(members, i, member)
    {
        strbuf_printf(names, "%s%s", i > 0 ? ", " : "", cli_text(member, "name"));
    }
}

static void drop_unless(json_t *members, bool (*wanted)(const json_t *member))
{
    for (size_t i = json_array_size(members); i-- > 0;) {
        if (!wanted(json_array_get(members, i))) {
            json_array_remove(members, i);
        }
    }
}

static bool has_postgres(const json_t *member)
{
    return !cli_is_witness(member);
}

static bool waits_for_restart(const json_t *member)
{
    return json_is_true(json_object_get(member, "pending_restart"));
}

static void keep_one(json_t *members)
{
    struct rng rng;
    json_t *one;

    rng_seed(&rng, rng_system());
    one = json_incref(
        json_array_get(members, (size_t)rng_between(&rng, 0, json_array_size(members) - 1)));
    json_array_clear(members);
    json_array_append_new(members, one);
}

json_t *cli_choose(struct cli *c, const json_t *cluster, const char *action, int argc, char **argv,
                   int *ret_code)
{
    json_t *members = cli_select(c, cluster, argc, argv, ret_code);

    if (members == NULL) {
        return NULL;
    }
    if (!str_equal(action, "reload")) {
        drop_unless(members, has_postgres);
    }
    if (json_array_size(members) == 0) {
        *ret_code = VECHE_EXIT_USAGE;
        cli_error("No member with PostgreSQL to %s", action);
        json_decref(members);
        return NULL;
    }
    if (!c->force) {
        (void)cli_print_list(c, cluster);
    }
    return members;
}

bool cli_confirm_members(const struct cli *c, const json_t *members, const char *action,
                         const char *at)
{
    struct strbuf names = {0};
    bool yes;

    if (c->force) {
        return true;
    }
    join_names(members, &names);
    yes = at[0] != '\0'
              ? cli_confirm("Are you sure you want to schedule %s of members %s at %s?", action,
                            names.data, at)
              : cli_confirm("Are you sure you want to %s members %s?", action, names.data);
    strbuf_deinit(&names);
    if (!yes) {
        cli_error("Aborted %s", action);
    }
    return yes;
}

/* The first failure is what the whole ends with. */
static void add_code(int *code, int more)
{
    *code = *code == VECHE_EXIT_OK ? more : *code;
}

static int say_failed(const char *action, const json_t *member, const struct cli_reply *reply)
{
    const char *name = cli_text(member, "name");

    if (reply->code == 0) {
        printf("%sFailed:%s %s for member %s, %s (%s)\n", cli_colour(stdout, CLI_RED),
               cli_colour(stdout, CLI_RESET), action, name, cli_no_reply(reply), reply->tried);
        return VECHE_EXIT_UNREACHABLE;
    }
    printf("%sFailed:%s %s for member %s, status code=%ld, (%s)\n", cli_colour(stdout, CLI_RED),
           cli_colour(stdout, CLI_RESET), action, name, reply->code, cli_reply_text(reply));
    return cli_exit_code(reply->code);
}

/* ---- reload ---- */

/* Seconds until every agent has looked, as Patroni tells it. */
static long long loop_wait(const struct cli *c)
{
    int code;
    json_t *config = cli_get_json(c, "/config", &code);
    const json_t *value = json_object_get(config, "loop_wait");
    long long seconds = json_is_integer(value) ? (long long)json_integer_value(value) : 10;

    json_decref(config);
    return seconds;
}

/* What Patroni does not tell: what is in force now, and what waits. */
static void say_reloaded(const char *name, const char *text)
{
    static const char *const begin = "reload scheduled";

    if (str_equal(text, begin)) {
        printf("%s: no setting has changed\n", name);
    } else if (str_starts_with(text, begin)) {
        printf("%s: %s\n", name, text + strlen(begin) + strspn(text + strlen(begin), "; "));
    }
}

static int reload_one(struct cli *c, const json_t *member, long long seconds)
{
    const char *name = cli_text(member, "name");
    struct cli_reply reply;
    int code = VECHE_EXIT_OK;

    (void)cli_member_request(c, member, "POST", "/reload", "{}", &reply);
    if (reply.code == 200) {
        printf("No changes to apply on member %s\n", name);
    } else if (reply.code == 202) {
        printf("Reload request received for member %s and will be processed within %lld seconds\n",
               name, seconds);
        say_reloaded(name, cli_reply_text(&reply));
    } else {
        code = say_failed("reload", member, &reply);
    }
    cli_reply_deinit(&reply);
    return code;
}

int cli_reload(struct cli *c, int argc, char **argv)
{
    int code;
    json_t *cluster = cli_get_cluster(c, &argc, &argv, &code);
    json_t *members = cluster != NULL ? cli_choose(c, cluster, "reload", argc, argv, &code) : NULL;
    long long seconds;
    size_t i;
    json_t *member;

    if (members != NULL && !cli_confirm_members(c, members, "reload", "")) {
        code = VECHE_EXIT_FAILED;
    } else if (members != NULL) {
        seconds = loop_wait(c);
        json_array_foreach(members, i, member)
        {
            add_code(&code, reload_one(c, member, seconds));
        }
    }
    json_decref(members);
    json_decref(cluster);
    return code;
}

/* ---- restart ---- */

static void set_text(json_t *body, const char *key, const char *text)
{
    if (text != NULL && text[0] != '\0') {
        json_object_set_new(body, key, json_string(text));
    }
}

/* The agents take seconds. */
static char *restart_body(const struct cli *c, const struct cli_restart *r)
{
    json_t *body = json_object();
    uint64_t ms;
    char *text;

    set_text(body, "schedule", r->at);
    set_text(body, "postgres_version", r->version);
    if (c->timeout != NULL && conf_parse_duration_ms(c->timeout, &ms)) {
        json_object_set_new(body, "timeout",
                            ms % 1000 == 0 ? json_integer((json_int_t)(ms / 1000))
                                           : json_real((double)ms / 1000));
    }
    if (c->pending) {
        json_object_set_new(body, "restart_pending", json_true());
    }
    text = json_dumps(body, 0);
    ASSERT(text != NULL);
    json_decref(body);
    return text;
}

int cli_restart_one(struct cli *c, const json_t *member, const struct cli_restart *r)
{
    const char *name = cli_text(member, "name");
    char *body = restart_body(c, r);
    char doing[160];
    struct cli_reply reply;
    int code = VECHE_EXIT_OK;

    (void)snprintf(doing, sizeof(doing), "restart of %s", name);
    c->doing = doing;
    (void)cli_member_request(c, member, "POST", "/restart", body, &reply);
    c->doing = NULL;
    if (reply.code == 200) {
        printf("Success: restart on member %s\n", name);
    } else if (reply.code == 202) {
        printf("Success: restart scheduled on member %s\n", name);
    } else if (reply.code == 409) {
        printf("Failed: another restart is already scheduled on member %s\n", name);
        code = VECHE_EXIT_REFUSED;
    } else {
        code = say_failed("restart", member, &reply);
    }
    fflush(stdout);
    cli_reply_deinit(&reply);
    free(body);
    return code;
}

/* "17", "17.5" or, before 10, "9.6.3". */
static bool is_version(const char *text)
{
    return text[0] == '\0' ||
           (strspn(text, "0123456789.") == strlen(text) && strstr(text, "..") == NULL &&
            text[0] != '.' && text[strlen(text) - 1] != '.');
}

static bool check_version(const char *text)
{
    if (!is_version(text)) {
        cli_error("%s is no version of PostgreSQL, such as 17.5", text);
        return false;
    }
    return true;
}

static bool ask_when(const struct cli *c, struct cli_restart *r)
{
    char answer[CLI_ANSWER_SIZE];

    return c->force || c->rolling || c->scheduled != NULL ||
           (cli_ask("When should the restart take place (e.g. 2026-08-01T12:00)", "now", answer) &&
            cli_parse_time(answer, r->at, sizeof(r->at)));
}

/* Who waits for a restart at a later time is known then. False: nobody is left. */
static bool narrow(const struct cli *c, json_t *members, const struct cli_restart *r)
{
    if (c->pending && r->at[0] == '\0') {
        drop_unless(members, waits_for_restart);
    }
    if (json_array_size(members) == 0) {
        puts("No member waits for a restart");
        return false;
    }
    if (c->any) {
        keep_one(members);
    }
    return true;
}

static bool confirm(const struct cli *c, const json_t *members, const struct cli_restart *r)
{
    if (c->force || !c->pending || r->at[0] == '\0') {
        return cli_confirm_members(c, members, "restart", r->at);
    }
    if (!cli_confirm("Who needs a restart at %s is found out then, and may not be who is shown "
                     "with one pending now. Is this fine?",
                     r->at)) {
        cli_error("Aborted restart");
        return false;
    }
    return true;
}

static bool ask_version(const struct cli *c, struct cli_restart *r)
{
    char answer[CLI_ANSWER_SIZE];

    if (c->force || c->pg_version != NULL) {
        return true;
    }
    if (!cli_ask("Restart if the PostgreSQL version is less than provided (e.g. 17.5)", "",
                 answer)) {
        return false;
    }
    (void)str_copy(r->version, sizeof(r->version), answer); /* Cut: then it is no version. */
    return check_version(r->version);
}

/* What was not given is asked for. -1 to go on. */
static int complete(const struct cli *c, json_t *members, struct cli_restart *r)
{
    if (!ask_when(c, r)) {
        return VECHE_EXIT_FAILED;
    }
    if (!narrow(c, members, r)) {
        return VECHE_EXIT_OK;
    }
    if (c->rolling) {
        return -1; /* Asks when it knows the order. */
    }
    return confirm(c, members, r) && ask_version(c, r) ? -1 : VECHE_EXIT_FAILED;
}

/* What makes no sense together. -1 to go on. */
static int check_flags(const struct cli *c, struct cli_restart *r)
{
    uint64_t ms;

    if (c->rolling && (c->any || c->scheduled != NULL)) {
        cli_error("--rolling goes with neither --any nor --scheduled");
        return VECHE_EXIT_USAGE;
    }
    if (c->scheduled != NULL && !cli_parse_time(c->scheduled, r->at, sizeof(r->at))) {
        return VECHE_EXIT_USAGE;
    }
    if (c->timeout != NULL && !conf_parse_duration_ms(c->timeout, &ms)) {
        cli_error("--timeout %s: seconds are needed, or a number with a unit", c->timeout);
        return VECHE_EXIT_USAGE;
    }
    if (c->pg_version != NULL) {
        (void)str_copy(r->version, sizeof(r->version), c->pg_version); /* As above. */
    }
    return check_version(r->version) ? -1 : VECHE_EXIT_USAGE;
}

/* With --force a new time takes the place of one that was set. */
static int restart_anew(struct cli *c, const json_t *member, const struct cli_restart *r)
{
    struct cli_reply reply = {0};
    int code = VECHE_EXIT_OK;

    if (c->force && r->at[0] != '\0' && json_object_get(member, "scheduled_restart") != NULL) {
        (void)cli_member_request(c, member, "DELETE", "/restart", NULL, &reply);
        if (reply.code != 200 && reply.code != 404) {
            code = say_failed("flush scheduled restart", member, &reply);
        }
        cli_reply_deinit(&reply);
    }
    return code == VECHE_EXIT_OK ? cli_restart_one(c, member, r) : code;
}

int cli_restart_members(struct cli *c, int argc, char **argv)
{
    struct cli_restart r = {0};
    int code = check_flags(c, &r);
    json_t *cluster = code < 0 ? cli_get_cluster(c, &argc, &argv, &code) : NULL;
    json_t *members = cluster != NULL ? cli_choose(c, cluster, "restart", argc, argv, &code) : NULL;
    size_t i;
    json_t *member;

    if (members != NULL) {
        code = complete(c, members, &r);
    }
    if (code < 0 && c->rolling) {
        code = cli_rolling(c, cluster, members, &r);
    } else if (code < 0) {
        code = VECHE_EXIT_OK;
        json_array_foreach(members, i, member)
        {
            add_code(&code, restart_anew(c, member, &r));
        }
    }
    json_decref(members);
    json_decref(cluster);
    return code;
}

/* ---- flush ---- */

static int flush_restart(struct cli *c, const json_t *member)
{
    const char *name = cli_text(member, "name");
    struct cli_reply reply;
    int code = VECHE_EXIT_OK;

    if (json_object_get(member, "scheduled_restart") == NULL) {
        printf("No scheduled restart for member %s\n", name);
        return VECHE_EXIT_OK;
    }
    (void)cli_member_request(c, member, "DELETE", "/restart", NULL, &reply);
    if (reply.code == 200) {
        printf("Success: flush scheduled restart for member %s\n", name);
    } else if (reply.code == 404) {
        printf("No scheduled restart for member %s\n", name);
    } else {
        code = say_failed("flush scheduled restart", member, &reply);
    }
    cli_reply_deinit(&reply);
    return code;
}

static int flush_restarts(struct cli *c, const json_t *cluster, int argc, char **argv)
{
    int code;
    json_t *members = cli_choose(c, cluster, "flush", argc, argv, &code);
    size_t i;
    json_t *member;

    if (members != NULL && !cli_confirm_members(c, members, "flush restart of", "")) {
        code = VECHE_EXIT_FAILED;
    } else {
        json_array_foreach(members, i, member)
        {
            add_code(&code, flush_restart(c, member));
        }
    }
    json_decref(members);
    return code;
}

static int flush_switchover(struct cli *c, const json_t *cluster)
{
    struct cli_reply reply;
    int code = VECHE_EXIT_OK;

    if (json_object_get(cluster, "scheduled_switchover") == NULL) {
        puts("No pending scheduled switchover"); /* As it was to be. */
        return VECHE_EXIT_OK;
    }
    if (!cli_request(c, "DELETE", "/switchover", NULL, &reply)) {
        code = cli_unreachable(&reply);
    } else if (reply.code == 200) {
        printf("Success: %s\n", cli_reply_text(&reply));
    } else {
        printf("Failed: %ld, %s\n", reply.code, cli_reply_text(&reply));
        code = cli_exit_code(reply.code);
    }
    cli_reply_deinit(&reply);
    return code;
}

int cli_flush(struct cli *c, int argc, char **argv)
{
    const char *what = argc > 0 ? argv[argc - 1] : "";
    bool of_restart = str_equal(what, "restart");
    int code;
    json_t *cluster;

    if (!of_restart && !str_equal(what, "switchover")) {
        cli_error("flush: what? \"restart\" or \"switchover\" is the last word");
        return VECHE_EXIT_USAGE;
    }
    argc--;
    cluster = cli_get_cluster(c, &argc, &argv, &code);
    if (cluster != NULL) {
        code = of_restart ? flush_restarts(c, cluster, argc, argv) : flush_switchover(c, cluster);
    }
    json_decref(cluster);
    return code;
}
