/*
 * check: is all well, for a person and for a monitoring plugin: its first line and its exit
 * code are a plugin's, the lines below say what and what to do.
 */
#include <stdarg.h>

#include "cli/cli_check.h"
#include "conf/conf_scalar.h"

static const char *const level_names[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};

void check_say(struct check *k, enum check_level level, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    k->n[level]++;
    if (level > k->worst) {
        k->worst = level;
        (void)str_copy(k->first, sizeof(k->first), text); /* Same size. */
    }
    if (level != CHECK_OK || k->cli->check_full) {
        const char *colour = level == CHECK_OK ? CLI_GREEN : CLI_RED;

        strbuf_printf(&k->text, "%s%s%s %s: %s\n", cli_colour(stdout, colour), level_names[level],
                      cli_colour(stdout, CLI_RESET), k->section, text);
    }
}

/* Each is asked once: one that hangs costs its time. NULL = it does not answer. */
static const json_t *status_of(struct check *k, const json_t *member)
{
    const char *name = cli_text(member, "name");
    json_t *status;

    if (json_object_get(k->statuses, name) == NULL) {
        status = cli_member_json(k->cli, member, "/patroni");
        json_object_set_new(k->statuses, name, status != NULL ? status : json_null());
    }
    status = json_object_get(k->statuses, name);
    return json_is_null(status) ? NULL : status;
}

/* ---- store ---- */

/* More than half of the members, as far as they answer here. */
static void check_members_answer(struct check *k)
{
    const json_t *members = json_object_get(k->cluster, "members");
    size_t n = json_array_size(members);
    size_t n_answer = 0;
    size_t i;
    json_t *member;

    json_array_foreach(members, i, member)
    {
        const json_t *status = status_of(k, member);

        if (status == NULL) {
            check_say(k, CHECK_WARNING, "the agent of %s does not answer",
                      cli_text(member, "name"));
        } else if (json_is_false(
                       json_object_get(json_object_get(status, "veche"), "raft_usable"))) {
            check_say(k, CHECK_WARNING,
                      "the Raft directory of %s can not be used: see the log of its agent",
                      cli_text(member, "name"));
        } else {
            n_answer++;
        }
    }
    if (n_answer * 2 <= n) {
        check_say(k, CHECK_CRITICAL, "%zu of %zu members answer: no majority", n_answer, n);
    } else {
        check_say(k, n > 2 ? CHECK_OK : CHECK_WARNING, "%zu of %zu members answer%s", n_answer, n,
                  n > 2 ? "" : "; with so few the loss of one stops the cluster: add a witness");
    }
}

void check_store(struct check *k)
{
    const json_t *veche = json_object_get(k->cluster, "veche");

    if (!json_is_true(json_object_get(veche, "raft_has_leader"))) {
        check_say(k, CHECK_CRITICAL,
                  "no leader of the agents: nothing can be decided; look at who does not answer");
    } else {
        check_say(k, CHECK_OK, "the agents have a leader");
    }
    check_members_answer(k);
}

/* ---- cluster ---- */

static void check_leader(struct check *k)
{
    const char *leader = cli_leader_name(k->cluster);

    if (leader == NULL) {
        check_say(k, CHECK_CRITICAL, "no primary");
    } else if (!str_equal(cli_text(cli_find_member(k->cluster, leader), "state"), "running")) {
        check_say(k, CHECK_CRITICAL, "the primary %s is %s", leader,
                  cli_text(cli_find_member(k->cluster, leader), "state"));
    } else {
        check_say(k, CHECK_OK, "the primary is %s", leader);
    }
    if (json_is_true(json_object_get(k->cluster, "pause"))) {
        check_say(k, CHECK_WARNING, "paused: no failover until vechectl resume");
    }
}

static long long limit_of(const struct check *k)
{
    const json_t *limit = json_object_get(k->config, "maximum_lag_on_failover");
    int64_t bytes;

    if (json_is_string(limit) && conf_parse_bytes(json_string_value(limit), &bytes)) {
        return (long long)bytes;
    }
    return json_is_integer(limit) ? (long long)json_integer_value(limit) : 1048576;
}

static bool check_standby(struct check *k, const json_t *member)
{
    const char *name = cli_text(member, "name");
    const char *leader = cli_leader_name(k->cluster);
    const json_t *wanted =
        json_object_get(leader != NULL ? cli_find_member(k->cluster, leader) : NULL, "timeline");
    const json_t *timeline = json_object_get(member, "timeline");
    const json_t *lag = json_object_get(member, "lag");

    if (!str_equal(cli_text(member, "state"), "streaming")) {
        check_say(k, CHECK_WARNING, "%s is %s, not streaming", name, cli_text(member, "state"));
    } else if (wanted != NULL && timeline != NULL &&
               json_integer_value(wanted) != json_integer_value(timeline)) {
        check_say(k, CHECK_WARNING, "%s is on timeline %lld, the primary on %lld", name,
                  (long long)json_integer_value(timeline), (long long)json_integer_value(wanted));
    } else if (json_is_integer(lag) && json_integer_value(lag) > limit_of(k)) {
        check_say(k, CHECK_WARNING, "%s is %lld bytes behind: too far to take over", name,
                  (long long)json_integer_value(lag));
    } else {
        check_say(k, CHECK_OK, "%s streams", name);
        return !json_is_true(json_object_get(json_object_get(member, "tags"), "nofailover"));
    }
    return false;
}

static bool wants_synchronous(const struct check *k)
{
    const json_t *mode = json_object_get(k->config, "synchronous_mode");

    return json_is_true(mode) ||
           (json_is_string(mode) && !str_equal(json_string_value(mode), "off"));
}

void check_cluster(struct check *k)
{
    size_t n_candidates = 0;
    bool synchronous = false;
    size_t i;
    json_t *member;

    check_leader(k);
    json_array_foreach(json_object_get(k->cluster, "members"), i, member)
    {
        if (cli_has_role(member, "replica")) {
            n_candidates += check_standby(k, member);
        }
        synchronous = synchronous || str_equal(cli_text(member, "role"), "sync_standby");
    }
    if (n_candidates == 0) {
        check_say(k, CHECK_CRITICAL, "no standby could take over");
    }
    if (wants_synchronous(k) && !synchronous) {
        check_say(k, CHECK_WARNING, "synchronous_mode is on, and no standby is synchronous");
    }
}

/* ---- agent ---- */

static void check_guard(struct check *k, const char *name, const json_t *status)
{
    const json_t *veche = json_object_get(status, "veche");
    const json_t *guard = json_object_get(veche, "guard");
    bool primary = str_equal(cli_text(status, "role"), "primary");

    if (guard == NULL) {
        return; /* A witness has none. */
    }
    if (!json_is_true(json_object_get(guard, "up"))) {
        check_say(k, CHECK_WARNING, "%s has no guard: PostgreSQL there is not fenced", name);
    } else if (primary && !str_equal(cli_text(veche, "fenced"), "yes") &&
               !json_is_true(json_object_get(status, "pause"))) {
        check_say(k, CHECK_WARNING, "the primary %s is fenced: %s", name,
                  cli_text(veche, "fenced"));
    }
    if (cli_text(guard, "trouble")[0] != '\0') {
        check_say(k, CHECK_WARNING, "the guard of %s: %s", name, cli_text(guard, "trouble"));
    }
}

static void check_one_agent(struct check *k, const char *name, const json_t *status,
                            char version[64])
{
    const json_t *veche = json_object_get(status, "veche");
    const char *its = cli_text(veche, "version");

    if (version[0] != '\0' && !str_equal(version, its)) {
        check_say(k, CHECK_WARNING, "%s runs Veche %s, another %s", name, its, version);
    }
    (void)str_copy(version, 64, its); /* Versions are short. */
    if (cli_text(veche, "problem")[0] != '\0') {
        check_say(k, CHECK_WARNING, "%s: %s", name, cli_text(veche, "problem"));
    } else {
        check_say(k, CHECK_OK, "%s runs Veche %s", name, its);
    }
    check_guard(k, name, status);
}

void check_agent(struct check *k)
{
    char version[64] = "";
    size_t i;
    json_t *member;

    json_array_foreach(json_object_get(k->cluster, "members"), i, member)
    {
        const json_t *status = status_of(k, member);

        if (status != NULL) {
            check_one_agent(k, cli_text(member, "name"), status, version);
        } else {
            check_say(k, CHECK_WARNING, "the agent of %s does not answer",
                      cli_text(member, "name"));
        }
    }
    check_services(k);
}

/* ---- The command ---- */

static void run_sections(struct check *k)
{
    const struct cli *c = k->cli;
    bool all = c->check_full || (!c->check_store && !c->check_cluster && !c->check_agent &&
                                 !c->check_postgres && !c->check_proxy);
    const struct {
        bool wanted;
        const char *name;
        void (*run)(struct check *k);
        bool needs_cluster;
    } sections[] = {{all || c->check_store, "store", check_store, true},
                    {all || c->check_cluster, "cluster", check_cluster, true},
                    {all || c->check_postgres, "postgres", check_postgres, true},
                    {all || c->check_agent, "agent", check_agent, true},
                    {all || c->check_proxy, "proxy", check_proxy, false}};

    for (size_t i = 0; i < ARRAY_LENGTH(sections); i++) {
        k->section = sections[i].name;
        if (sections[i].wanted && (k->cluster != NULL || !sections[i].needs_cluster)) {
            sections[i].run(k);
        }
    }
}

static json_t *get_quietly(const struct cli *c, const char *path, struct check *k)
{
    struct cli_reply reply;
    json_t *value = NULL;

    if (!cli_request(c, "GET", path, NULL, &reply)) {
        k->section = "agent";
        check_say(k, CHECK_CRITICAL, "no agent answered (%s)", reply.tried);
    } else {
        value = reply.code == 200 ? json_loads(cli_reply_text(&reply), 0, NULL) : NULL;
    }
    if (value == NULL && reply.code != 0) { /* Nothing seen is nothing that is in order. */
        k->section = "agent";
        check_say(k, CHECK_CRITICAL, "the answer to %s makes no sense (%ld, %.200s)", path,
                  reply.code, cli_reply_text(&reply));
    }
    cli_reply_deinit(&reply);
    return value;
}

/* Only files are asked for: no agent is needed. */
static bool is_files_only(const struct cli *c)
{
    return c->check_proxy && !c->check_full && !c->check_store && !c->check_cluster &&
           !c->check_agent && !c->check_postgres;
}

static void print_result(const struct check *k)
{
    const char *scope = k->cluster != NULL ? cli_text(k->cluster, "scope") : "no cluster seen";

    if (k->worst == CHECK_OK) {
        printf("VECHE OK - %s: %zu in order\n", scope, k->n[CHECK_OK]);
    } else {
        printf("VECHE %s - %s: %zu critical, %zu warnings; %s\n", level_names[k->worst], scope,
               k->n[CHECK_CRITICAL], k->n[CHECK_WARNING], k->first);
    }
    fputs(k->text.data != NULL ? k->text.data : "", stdout);
}

int cli_check(struct cli *c, int argc, char **argv)
{
    struct check k = {.cli = c, .statuses = json_object()};
    json_t *cluster = NULL;
    json_t *config = NULL;

    if (!is_files_only(c)) {
        cluster = get_quietly(c, "/cluster", &k);
    }
    if (cluster != NULL && argc > 0 && !str_equal(argv[0], cli_text(cluster, "scope"))) {
        cli_error("this is cluster %s, not %s", cli_text(cluster, "scope"), argv[0]);
        json_decref(cluster);
        json_decref(k.statuses);
        return CHECK_UNKNOWN;
    }
    if (cluster != NULL) {
        config = get_quietly(c, "/config", &k);
    }
    k.cluster = cluster;
    k.config = config;
    run_sections(&k);
    print_result(&k);
    strbuf_deinit(&k.text);
    json_decref(k.statuses);
    json_decref(config);
    json_decref(cluster);
    return (int)k.worst;
}
