/*
 * restart --rolling: one member after the other, each healthy again before the next, and
 * the primary's role on a standby that is ready before the primary itself is restarted.
 *
 * The order follows from what a standby may start with: five parameters must not be lower
 * there than on the primary. Values that grow go to the standbys first. A value that
 * shrinks is in the WAL only once the primary runs with it: then the primary is first,
 * restarted in its place (a new primary would still run with the old value), and each
 * standby waits until it has replayed that.
 */
#include <poll.h>

#include "base/clock.h"
#include "cli/cli.h"

#define HEALTHY_S 120 /* Unless --timeout says. */
#define LOOK_MS   250
#define LAG_MAX   1048576

struct rolling {
    struct cli *cli;
    const struct cli_restart *restart;
    uint64_t limit_ms; /* Until a member must be healthy. */
    uint64_t replayed; /* A standby must have replayed up to here; 0 = nothing asked. */
};

static bool is_ordered(const char *parameter)
{
    static const char *const names[] = {"max_connections", "max_prepared_transactions",
                                        "max_locks_per_transaction", "max_worker_processes",
                                        "max_wal_senders"};

    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        if (str_equal(names[i], parameter)) {
            return true;
        }
    }
    return false;
}

static bool shrinks(const json_t *reason)
{
    int64_t old;
    int64_t new;

    return str_to_i64(cli_text(reason, "old_value"), INT64_MIN, INT64_MAX, &old) &&
           str_to_i64(cli_text(reason, "new_value"), INT64_MIN, INT64_MAX, &new) && new < old;
}

bool cli_is_primary_first(const json_t *cluster)
{
    size_t i;
    json_t *member;
    const char *name;
    json_t *reason;

    json_array_foreach(json_object_get(cluster, "members"), i, member)
    {
        json_object_foreach(json_object_get(member, "pending_restart_reason"), name, reason)
        {
            if (is_ordered(name) && shrinks(reason)) {
                return true;
            }
        }
    }
    return false;
}

/* ---- Health ---- */

static uint64_t parse_lsn(const char *text)
{
    unsigned high = 0;
    unsigned low = 0;

    return sscanf(text, "%X/%X", &high, &low) == 2 ? ((uint64_t)high << 32) | low : 0;
}

static bool lag_is_small(const json_t *member)
{
    const json_t *lag = json_object_get(member, "lag");

    return json_is_integer(lag) && json_integer_value(lag) <= LAG_MAX;
}

/* Streaming from the present primary, on its timeline, near its end. */
static bool is_ready(const json_t *cluster, const json_t *member)
{
    const char *leader = cli_leader_name(cluster);
    const json_t *timeline =
        json_object_get(leader != NULL ? cli_find_member(cluster, leader) : NULL, "timeline");

    return str_equal(cli_text(member, "state"), "streaming") && timeline != NULL &&
           json_integer_value(timeline) ==
               json_integer_value(json_object_get(member, "timeline")) &&
           lag_is_small(member);
}

static bool is_healthy(const struct rolling *r, const json_t *cluster, const char *name)
{
    const json_t *member = cli_find_member(cluster, name);
    const char *leader = cli_leader_name(cluster);

    if (leader == NULL || member == NULL) {
        return false;
    }
    if (str_equal(leader, name)) {
        return str_equal(cli_text(member, "state"), "running");
    }
    return is_ready(cluster, member) && parse_lsn(cli_text(member, "replay_lsn")) >= r->replayed;
}

static bool wait_healthy(const struct rolling *r, const char *name)
{
    uint64_t until = clock_ms() + r->limit_ms;

    do {
        int code;
        json_t *cluster = cli_get_json(r->cli, "/cluster", &code);
        bool healthy = is_healthy(r, cluster, name);

        json_decref(cluster);
        if (healthy) {
            return true;
        }
        (void)poll(NULL, 0, LOOK_MS); /* Ends early on a signal. */
    } while (clock_ms() < until);
    cli_error("%s is not healthy %llu s after its restart: stopped there, see vechectl list", name,
              (unsigned long long)(r->limit_ms / 1000));
    return false;
}

/* ---- Steps. Each returns an exit code. ---- */

static int restart_and_wait(struct rolling *r, const json_t *member)
{
    const char *name = cli_text(member, "name");
    int code;

    /* A standby may start with a lower value only when it has replayed the primary's. */
    if (r->replayed > 0 && !wait_healthy(r, name)) {
        return VECHE_EXIT_FAILED;
    }
    code = cli_restart_one(r->cli, member, r->restart);
    if (code == VECHE_EXIT_OK && !wait_healthy(r, name)) {
        return VECHE_EXIT_FAILED;
    }
    return code;
}

static bool may_lead(const json_t *cluster, const json_t *member)
{
    return cli_has_role(member, "replica") && is_ready(cluster, member) &&
           !json_is_true(json_object_get(json_object_get(member, "tags"), "nofailover"));
}

/* A synchronous standby before others. NULL = none is ready. */
static const char *find_candidate(const json_t *cluster)
{
    const char *found = NULL;
    size_t i;
    json_t *member;

    json_array_foreach(json_object_get(cluster, "members"), i, member)
    {
        if (!may_lead(cluster, member)) {
            continue;
        }
        if (str_equal(cli_text(member, "role"), "sync_standby")) {
            return cli_text(member, "name");
        }
        found = found != NULL ? found : cli_text(member, "name");
    }
    return found;
}

static int switch_over(struct rolling *r, const char *from, const char *to)
{
    json_t *body = json_pack("{s:s, s:s}", "leader", from, "candidate", to);
    char *text = json_dumps(body, 0);
    struct cli_reply reply;
    int code;

    ASSERT(text != NULL);
    r->cli->doing = "switchover";
    r->cli->show_phases = true;
    if (!cli_request(r->cli, "POST", "/switchover", text, &reply)) {
        code = cli_unreachable(&reply);
    } else {
        code = cli_exit_code(reply.code);
        printf("%s%s\n",
               code == VECHE_EXIT_OK ? "" : "Failed: switchover: ", cli_reply_text(&reply));
    }
    r->cli->doing = NULL;
    r->cli->show_phases = false;
    cli_reply_deinit(&reply);
    free(text);
    json_decref(body);
    return code;
}

static void copy_start_time(const struct rolling *r, const json_t *member, char *text, size_t size)
{
    json_t *status = cli_member_json(r->cli, member, "/patroni");

    (void)str_copy(text, size, cli_text(status, "postmaster_start_time")); /* For comparing. */
    json_decref(status);
}

/* Becoming a standby is a restart already; if it was not (PostgreSQL went on), it is done. */
static int hand_over_and_restart(struct rolling *r, const json_t *primary, const char *to)
{
    const char *name = cli_text(primary, "name");
    char before[64];
    char after[64];
    int code;

    copy_start_time(r, primary, before, sizeof(before));
    code = switch_over(r, name, to);
    if (code != VECHE_EXIT_OK) {
        return code;
    }
    if (!wait_healthy(r, to) || !wait_healthy(r, name)) {
        return VECHE_EXIT_FAILED;
    }
    copy_start_time(r, primary, after, sizeof(after));
    if (before[0] != '\0' && after[0] != '\0' && !str_equal(before, after)) {
        printf("Success: member %s was restarted by the switchover\n", name);
        return VECHE_EXIT_OK;
    }
    return restart_and_wait(r, primary);
}

static bool is_synchronous(const struct rolling *r)
{
    int code;
    json_t *config = cli_get_json(r->cli, "/config", &code);
    const json_t *mode = json_object_get(config, "synchronous_mode");
    bool on =
        json_is_true(mode) || (json_is_string(mode) && !str_equal(json_string_value(mode), "off"));

    json_decref(config);
    return on;
}

/* Who takes over; "" = nobody. With a synchronous mode only a synchronous standby may, and one
 * that was just restarted is none yet: it is waited for. */
static int choose_candidate(const struct rolling *r, char to[CLI_ANSWER_SIZE])
{
    bool synchronous = is_synchronous(r);
    uint64_t until = clock_ms() + r->limit_ms;

    for (;;) {
        int code;
        json_t *cluster = cli_get_json(r->cli, "/cluster", &code);
        const char *found = cluster != NULL ? find_candidate(cluster) : NULL;
        bool may = found == NULL || !synchronous ||
                   str_equal(cli_text(cli_find_member(cluster, found), "role"), "sync_standby");

        (void)str_copy(to, CLI_ANSWER_SIZE,
                       found != NULL && may ? found : ""); /* Names are short. */
        json_decref(cluster);
        if (cluster == NULL || may || clock_ms() >= until) {
            return cluster != NULL ? VECHE_EXIT_OK : code;
        }
        (void)poll(NULL, 0, LOOK_MS); /* Ends early on a signal. */
    }
}

static int restart_primary(struct rolling *r, const json_t *primary, bool in_place)
{
    char to[CLI_ANSWER_SIZE] = "";
    int code = in_place ? VECHE_EXIT_OK : choose_candidate(r, to);

    if (code != VECHE_EXIT_OK) {
        return code;
    }
    if (to[0] != '\0') {
        return hand_over_and_restart(r, primary, to);
    }
    printf("%s is restarted in its place: %s\n", cli_text(primary, "name"),
           in_place ? "a value shrinks, and standbys need it in the WAL"
                    : "no standby is ready to take over");
    return restart_and_wait(r, primary);
}

/* From here on standbys must have replayed what the primary wrote at its start. */
static void note_position(struct rolling *r, const json_t *primary)
{
    json_t *status = cli_member_json(r->cli, primary, "/patroni");
    const json_t *at = json_object_get(json_object_get(status, "xlog"), "location");

    r->replayed = json_is_integer(at) ? (uint64_t)json_integer_value(at) : 0;
    json_decref(status);
}

static int restart_standbys(struct rolling *r, const json_t *members)
{
    int code = VECHE_EXIT_OK;
    size_t i;
    json_t *member;

    json_array_foreach(members, i, member)
    {
        if (cli_has_role(member, "replica") && code == VECHE_EXIT_OK) {
            code = restart_and_wait(r, member);
        }
    }
    return code;
}

static const json_t *find_leader(const json_t *members)
{
    size_t i;
    json_t *member;

    json_array_foreach(members, i, member)
    {
        if (cli_has_role(member, "leader")) {
            return member;
        }
    }
    return NULL;
}

static bool confirm_order(const struct cli *c, const json_t *members, bool primary_first)
{
    const json_t *primary = find_leader(members);
    struct strbuf standbys = {0};
    size_t i;
    json_t *member;

    strbuf_add_text(&standbys, "");
    json_array_foreach(members, i, member)
    {
        if (cli_has_role(member, "replica")) {
            strbuf_printf(&standbys, "%s%s", standbys.length > 0 ? ", " : "",
                          cli_text(member, "name"));
        }
    }
    printf("Order: %s%s%s\n",
           primary_first && primary != NULL ? cli_text(primary, "name") : standbys.data,
           primary != NULL && standbys.length > 0 ? ", " : "",
           primary == NULL ? ""
           : primary_first ? standbys.data
                           : cli_text(primary, "name"));
    strbuf_deinit(&standbys);
    return cli_confirm_members(c, members, "restart", "");
}

/* "17.6" -> 170006, "17" -> 170000: as server_version tells it. */
static long long version_number(const char *text)
{
    unsigned major = 0;
    unsigned minor = 0;

    (void)sscanf(text, "%u.%u", &major, &minor); /* Was checked. */
    return (long long)major * 10000 + minor;
}

/* Those that are new already: no role must move for them. */
static void drop_newer(const struct rolling *r, json_t *members)
{
    for (size_t i = json_array_size(members); r->restart->version[0] != '\0' && i-- > 0;) {
        const json_t *member = json_array_get(members, i);
        json_t *status = cli_member_json(r->cli, member, "/patroni");
        const json_t *version = json_object_get(status, "server_version");

        if (version != NULL &&
            (long long)json_integer_value(version) >= version_number(r->restart->version)) {
            printf("%s needs no restart\n", cli_text(member, "name"));
            json_array_remove(members, i);
        }
        json_decref(status);
    }
}

int cli_rolling(struct cli *c, const json_t *cluster, json_t *members,
                const struct cli_restart *restart)
{
    struct rolling r = {.cli = c, .restart = restart, .limit_ms = SECONDS(HEALTHY_S)};
    bool primary_first = cli_is_primary_first(cluster);
    const json_t *primary;
    int code = VECHE_EXIT_OK;

    drop_newer(&r, members);
    primary = find_leader(members);
    if (json_array_size(members) == 0) {
        return VECHE_EXIT_OK;
    }
    if (!confirm_order(c, members, primary_first)) {
        return VECHE_EXIT_FAILED;
    }
    if (c->timeout != NULL && !conf_parse_duration_ms(c->timeout, &r.limit_ms)) {
        return VECHE_EXIT_USAGE; /* Was checked. */
    }
    if (primary_first && primary != NULL) {
        code = restart_primary(&r, primary, true);
        note_position(&r, primary);
    }
    code = code == VECHE_EXIT_OK ? restart_standbys(&r, members) : code;
    if (code == VECHE_EXIT_OK && primary != NULL && !primary_first) {
        code = restart_primary(&r, primary, false);
    }
    if (code != VECHE_EXIT_OK) {
        cli_error("stopped there; the members behind it were not restarted");
    }
    return code;
}
