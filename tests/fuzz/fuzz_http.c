/*
 * A request: first byte who is asked, then "METHOD PATH?a=b&c=d", a new line, and
 * the body. Every answer has a code of HTTP and a body of the type it says, and
 * every command it makes can be put through the log. What is asked for is read once
 * more here, with limits of our own: names that are too long are refused, never cut,
 * and the lag asked for counts to the byte.
 */
#include "fuzz.h"

#include <ctype.h>
#include <strings.h>

#include <jansson.h>

#include "http/http_routes.h"

#define MIB        UINT64_C(1048576)
#define LAG        MIB /* Of the standby. */
#define LENGTH_MAX 63  /* Of a name. */

static const struct http_stats stats;
static struct store store;
static struct view view;
static struct decision decision;

static void add_member(const char *name, node_id id, enum node_mode mode)
{
    struct store_member *m = &store.members[store.n_members++];

    *m = (struct store_member){.id = id, .mode = mode, .pg_port = 5432, .failover_priority = 1};
    (void)str_copy(m->name, sizeof(m->name), name);
    (void)str_copy(m->tags, sizeof(m->tags), "{\"zone\":\"b\"}");
}

static void build(uint8_t who)
{
    bool is_primary = (who & 1) != 0;
    char longest[LENGTH_MAX + 1];

    memset(longest, 'n', LENGTH_MAX);
    longest[LENGTH_MAX] = '\0';
    store_init(&store);
    store.cluster =
        (struct store_cluster){.id = 1, .scope = "batman", .init = INIT_DONE, .sysid = 7};
    store.primary = (struct store_primary){
        .has_owner = true, .held = true, .epoch = 5, .owner = "pg1", .owner_id = 1, .instance = 11};
    store.progress = (struct store_progress){.lsn = 100 * MIB, .timeline = 3, .epoch = 5};
    add_member(longest, 3, MODE_POSTGRES);
    add_member("pg1", 1, MODE_POSTGRES);
    add_member("pg2", 2, MODE_POSTGRES);
    view = (struct view){.now_ms = 100000, .wall_us = INT64_C(1785578500000000), .store = &store};
    view.self.started_ms = view.now_ms;
    view.conf.ttl_ms = 3000;
    view.conf.pause = (who & 32U) != 0;
    view.conf.sync_mode = (who & 64U) != 0 ? SYNC_ON : SYNC_OFF;
    if ((who & 128U) != 0) {
        store.request = (struct store_request){.id = 9,
                                               .kind = REQUEST_SWITCHOVER,
                                               .from = "pg1",
                                               .at_us = view.wall_us + 1};
    }
    (void)str_copy(view.conf.scope, sizeof(view.conf.scope), "batman");
    view.raft.leader = (who & 2) != 0 ? 1 : 0;
    view.raft.usable = true;
    view.raft.caught_up = (who & 4) == 0;
    view.self.member = store.members[is_primary ? 1 : 2];
    view.self.status = (struct status){.id = is_primary ? 1 : 2,
                                       .mode = MODE_POSTGRES,
                                       .pg_state = PG_STATE_RUNNING,
                                       .pg_role = is_primary ? PG_ROLE_PRIMARY : PG_ROLE_STANDBY,
                                       .timeline = 3,
                                       .flushed = 100 * MIB,
                                       .replayed = is_primary ? 0 : 100 * MIB - LAG,
                                       .streaming = !is_primary,
                                       .lease_epoch = is_primary ? 5 : 0};
    (void)str_copy(view.self.status.name, sizeof(view.self.status.name),
                   is_primary ? "pg1" : "pg2");
    view.pg.postmaster_alive = true;
    view.lease.live = is_primary;
    view.lease.epoch = is_primary ? 5 : 0;
    view.lease.remaining_ms = 2500;
    view.lease.confirmed_ms = 2500;
    decision.node.rule = decision.cluster.rule = "test-rule";
    decision.node.why = decision.cluster.why = "a test";
}

static void check_reply(const struct http_reply *reply)
{
    uint8_t bytes[4096];
    struct err err;
    static struct command other;
    json_t *body;
    int n;

    if (reply->has_command) {
        n = command_encode(&reply->command, bytes, sizeof(bytes), &err);
        REQUIRE(n > 0 && command_decode(bytes, (size_t)n, &other, &err) == 0);
        REQUIRE(command_equal(&reply->command, &other));
        return;
    }
    if (reply->wants_reload || reply->wants_events) {
        return;
    }
    REQUIRE(reply->code >= 200 && reply->code < 600);
    if (strcmp(reply->content_type, "application/json") == 0) {
        body = json_loads(reply->body.data, JSON_DECODE_ANY, NULL);
        REQUIRE(body != NULL);
        json_decref(body);
    }
}

/* The text under that key of a body; sets *ret_is_bad if it is no name at all. */
static const char *wished(const json_t *body, const char *key, bool *ret_is_bad)
{
    const json_t *value = json_object_get(body, key);

    if (value == NULL || json_is_null(value)) {
        return "";
    }
    if (!json_is_string(value) || strlen(json_string_value(value)) > LENGTH_MAX) {
        *ret_is_bad = true;
        return "";
    }
    return json_string_value(value);
}

/* What a switchover or failover became is what was asked for. */
static void check_wish(const char *text, const struct http_reply *reply)
{
    const struct command_request_set *made = &reply->command.request_set;
    json_t *body = json_loads(text, 0, NULL);
    bool is_bad = !json_is_object(body);
    const char *from = wished(body, "leader", &is_bad);
    const char *member = wished(body, "member", &is_bad);
    const char *to = wished(body, "candidate", &is_bad);

    REQUIRE(IMPLIES(is_bad, !reply->has_command && reply->code == 400));
    if (reply->has_command) {
        REQUIRE(reply->command.kind == COMMAND_REQUEST_SET);
        REQUIRE(strcmp(made->from, from) == 0);
        REQUIRE(strcmp(made->to, to[0] != '\0' ? to : member) == 0);
    }
    json_decref(body);
}

/* Of a whole number with a unit. False: it can not be read, and so does not count. */
static bool read_lag(const char *text, uint64_t *ret_bytes)
{
    static const char *const units[] = {"", "b", "kb", "mb", "gb", "tb"};
    uint64_t value = 0;

    for (; isdigit((unsigned char)*text); text++) {
        value = MIN(value * 10 + (uint64_t)(*text - '0'), 4 * LAG); /* Enough for any unit. */
    }
    while (isspace((unsigned char)*text)) {
        text++;
    }
    for (unsigned i = 0; i < ARRAY_LENGTH(units); i++) {
        if (strcasecmp(text, units[i]) == 0) {
            *ret_bytes = value << (10 * (i > 0 ? i - 1 : 0));
            return true;
        }
    }
    return false;
}

/* Of a standby that streams, asked for nothing but its lag. */
static void check_lag(const char *text, const struct http_reply *reply)
{
    uint64_t bound;

    if (strlen(text) > 200 || !isdigit((unsigned char)text[0]) || strpbrk(text, ".eExX") != NULL) {
        return; /* Another way to write a number, or one that no double holds. */
    }
    REQUIRE(reply->code == (read_lag(text, &bound) && bound < LAG ? 503U : 200U));
}

static void check_answer(const struct http_request *r, const struct http_reply *reply)
{
    const char *lag = kv_get(r->query, "lag");

    if (strcmp(r->method, "POST") == 0 &&
        (strcmp(r->path, "/switchover") == 0 || strcmp(r->path, "/failover") == 0)) {
        check_wish(r->body, reply);
    } else if (strcmp(r->path, "/replica") == 0 && view.self.status.streaming && lag != NULL &&
               r->query->n == 1) {
        check_lag(lag, reply);
    }
}

/* Stands for the agent. */
static int change_config(void *data, const char *body, bool replace, struct command *ret_command,
                         struct err *err)
{
    (void)data;
    if (replace) {
        return err_set(err, "refused");
    }
    ret_command->kind = COMMAND_CONFIG_SET;
    ret_command->config_set.expect_revision = 1;
    (void)str_copy(ret_command->config_set.config, CONFIG_SIZE, "{}");
    return body[0] != ' ' ? 0 : err_set(err, "refused");
}

static void add_query(struct kv_list *query, char *text)
{
    char *save = NULL;

    for (char *part = strtok_r(text, "&", &save); part != NULL && query->n < 64;
         part = strtok_r(NULL, "&", &save)) {
        char *value = strchr(part, '=');

        if (value != NULL) {
            *value++ = '\0';
        }
        kv_add(query, part, value);
    }
}

static void answer(const struct http_route *route, const struct http_request *request,
                   struct http_reply *reply)
{
    memset(reply, 0, sizeof(*reply));
    reply->code = 500;
    reply->content_type = "text/plain";
    route->handle(request, reply);
}

/* What is scheduled makes way, and only that. */
static void check_first(const struct http_request *r, struct http_reply *reply)
{
    REQUIRE(strcmp(r->method, "POST") == 0 && reply->has_command);
    REQUIRE(reply->command.kind == COMMAND_REQUEST_END);
    REQUIRE(store.request.id != 0 && store.request.at_us > view.wall_us);
    REQUIRE(reply->command.request_end.request_id == store.request.id);
    check_reply(reply);
    strbuf_deinit(&reply->body);
    store.request = (struct store_request){0};
}

static void ask(char *text, uint8_t who)
{
    static struct http_reply reply; /* Large: a command is inside. */
    char *body = strchr(text, '\n');
    char *path = strchr(text, ' ');
    struct kv_list query = {0};
    const struct http_route *route;
    char *parameters;

    if (body == NULL || path == NULL || path > body) {
        return;
    }
    *body++ = '\0';
    *path++ = '\0';
    parameters = strchr(path, '?');
    if (parameters != NULL) {
        *parameters++ = '\0';
        add_query(&query, parameters);
    }
    build(who);
    route = http_find_route(text, path);
    if (route != NULL) {
        static const struct http_hooks hooks = {.change_config = change_config};
        struct http_request request = {.method = text,
                                       .path = route->path,
                                       .now_ms = view.now_ms + (who & 16U) * 1000,
                                       .view = &view,
                                       .decision = &decision,
                                       .config = (who & 8) != 0 ? NULL : "{\"ttl\": 3}",
                                       .query = &query,
                                       .stats = &stats,
                                       .body = body,
                                       .client = "127.0.0.1",
                                       .hooks = &hooks};

        answer(route, &request, &reply);
        if (reply.is_first) {
            check_first(&request, &reply);
            answer(route, &request, &reply); /* As the agent does once that is committed. */
        }
        check_answer(&request, &reply);
        check_reply(&reply);
        strbuf_deinit(&reply.body);
    }
    kv_deinit(&query);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t who = fuzz_byte(&data, &size);
    char *text = xmalloc(size + 1);

    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    ask(text, who);
    free(text);
    return 0;
}
