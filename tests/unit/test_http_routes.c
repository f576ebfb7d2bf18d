/*
 * What the paths answer, against views of typical moments. Bodies are compared
 * with golden files; `--print` prints the present ones, nothing is ever rewritten.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "http/http_routes.h"

static struct store store;
static struct view view;
static struct decision decision;
static struct kv_list query;
static uint64_t late_ms; /* The request, after the view. */
static bool is_remote;   /* It comes from another machine. */
static bool is_again;    /* It was handed over, and the store is newer since. */

static struct http_stats stats = {
    .n_configured = 2,
    .n_up = 1,
    .n_peers = 2,
    .peers = {{.name = "pg2", .up = true, .rtt_us = 412}, {.name = "w:7400", .rtt_us = 99}},
    .contact_us = INT64_C(1785578499900000),
    .n_rounds = 12,
    .n_renewals = 10,
    .n_refusals = 1,
    .tick = {.counts = {3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 1}, .sum_s = 7.0125},
    .react = {.counts = {1, 2}, .sum_s = 0.00075},
    .node_rules = {{"start-standby", 1}, {"healthy", 2}},
    .cluster_rules = {{"not-leader", 1}},
};

static void add_member(const char *name, node_id id, enum node_mode mode, uint16_t port)
{
    struct store_member *m = &store.members[store.n_members++];

    *m = (struct store_member){.id = id, .mode = mode, .pg_port = port, .failover_priority = 1};
    (void)str_copy(m->name, sizeof(m->name), name);
    (void)snprintf(m->api_url, sizeof(m->api_url), "http://10.0.0.%u:8008/patroni", (unsigned)id);
    if (mode == MODE_POSTGRES) {
        (void)snprintf(m->pg_host, sizeof(m->pg_host), "10.0.0.%u", (unsigned)id);
    }
    (void)str_copy(m->tags, sizeof(m->tags),
                   id == 2 ? "{\"zone\":\"b\",\"clonefrom\":true}" : "{}");
    (void)str_copy(m->proxy.url, sizeof(m->proxy.url),
                   id == 2 ? "postgres://10.0.0.2:6432/postgres" : "");
}

static struct status status_of(const char *name, node_id id, enum pg_role role)
{
    struct status s = {.id = id,
                       .mode = role == PG_ROLE_NONE ? MODE_WITNESS : MODE_POSTGRES,
                       .pg_state = PG_STATE_RUNNING,
                       .pg_role = role,
                       .data = role == PG_ROLE_NONE ? DATA_EMPTY : DATA_VALID,
                       .timeline = role == PG_ROLE_NONE ? 0 : 3,
                       .sysid = role == PG_ROLE_NONE ? 0 : UINT64_C(7277694203142172922),
                       .pg_version = 150008,
                       .postmaster_start_us = INT64_C(1785578400123456),
                       .failover_priority = 1};

    (void)str_copy(s.name, sizeof(s.name), name);
    if (role == PG_ROLE_PRIMARY) {
        s.flushed = 0x4000088;
        s.lease_epoch = 5;
    } else if (role == PG_ROLE_STANDBY) {
        s.received = 0x4000028;
        s.replayed = 0x3DFD240;
        s.flushed = s.received;
        s.streaming = true;
    }
    return s;
}

/* pg1 is primary with a lease, pg2 streams, w is the witness; `self` looks at it. */
static void build(const char *self)
{
    const struct status all[] = {status_of("pg1", 1, PG_ROLE_PRIMARY),
                                 status_of("pg2", 2, PG_ROLE_STANDBY),
                                 status_of("w", 3, PG_ROLE_NONE)};

    store_init(&store);
    store.cluster = (struct store_cluster){
        .id = 1, .scope = "batman", .init = INIT_DONE, .sysid = UINT64_C(7277694203142172922)};
    store.primary = (struct store_primary){
        .has_owner = true, .held = true, .epoch = 5, .owner = "pg1", .owner_id = 1, .instance = 11};
    add_member("pg1", 1, MODE_POSTGRES, 5432);
    add_member("pg2", 2, MODE_POSTGRES, 5432);
    add_member("w", 3, MODE_WITNESS, 0);
    store.n_history = 1;
    store.history[0] = (struct store_history){.timeline = 2,
                                              .lsn = 0x3000148,
                                              .reason = "no recovery target specified",
                                              .time_us = INT64_C(1785578400000000),
                                              .new_primary = "pg1"};
    view = (struct view){.now_ms = 100000, .wall_us = INT64_C(1785578500000000), .store = &store};
    view.self.started_ms = 99000;
    view.conf.ttl_ms = 3000;
    view.conf.maximum_lag_on_failover = 10485760;
    (void)str_copy(view.conf.scope, sizeof(view.conf.scope), "batman");
    view.raft.leader = 3;
    view.raft.term = 4;
    view.raft.is_leader = str_equal(self, "w");
    view.raft.usable = true;
    view.raft.caught_up = true;
    for (size_t i = 0; i < ARRAY_LENGTH(all); i++) {
        if (str_equal(all[i].name, self)) {
            view.self.status = all[i];
            view.self.member = store.members[i];
            view.self.status.instance = 10 + all[i].id;
            view.pg.postmaster_alive = all[i].mode == MODE_POSTGRES;
            view.pg.n_processes = all[i].mode == MODE_POSTGRES ? 6 : 0;
        } else {
            view.peers[view.n_peers++] =
                (struct view_peer){.status = all[i], .received_ms = 99900, .connected = true};
        }
    }
    if (str_equal(self, "pg1")) {
        view.lease.live = true;
        view.lease.epoch = 5;
        view.lease.remaining_ms = 2500;
        view.lease.confirmed_ms = 2500;
        view.guard = (struct view_guard){.is_up = true,
                                         .is_whole = true,
                                         .is_realtime = true,
                                         .locked_bytes = 1048576,
                                         .phase = "armed",
                                         .trouble = "cgroup: not delegated",
                                         .n_lost = 1,
                                         .n_freezes = 3,
                                         .n_thaws = 2,
                                         .n_kills = 1,
                                         .measured = true,
                                         .late_ns_max = -41000000,
                                         .margins = {0, 0, 0, 0, 1, 1, 7, 7, 7, 7, 7, 7},
                                         .n_margins = 7,
                                         .sum_margins_s = 16.5};
        view.pg.n_replicas = 1;
        view.pg.replicas[0] = (struct view_replica){.name = "pg2",
                                                    .user = "replicator",
                                                    .client_address = "10.0.0.2",
                                                    .state = "streaming",
                                                    .sync_state = "async"};
    }
    late_ms = 0;
    decision.node.rule = "test-rule";
    decision.node.why = "a test";
    decision.cluster.rule = "not-leader";
    decision.cluster.why = "a test";
    kv_deinit(&query);
}

/* Stands for the agent: "bad" is refused. */
static int change_config(void *data, const char *body, bool replace, struct command *ret_command,
                         struct err *err)
{
    (void)data;
    if (strcmp(body, "bad") == 0) {
        return err_set(err, "ttl: out of range");
    }
    ret_command->kind = COMMAND_CONFIG_SET;
    ret_command->config_set.expect_revision = replace ? 2 : 1;
    (void)str_copy(ret_command->config_set.config, CONFIG_SIZE, body);
    return 0;
}

static const struct http_hooks hooks = {.change_config = change_config};
static const char *config = "{\"ttl\": 3}";
static const char *if_match, *for_member;

static struct http_reply ask(const char *method, const char *path, const char *body)
{
    struct http_reply *reply = calloc(1, sizeof(*reply)); /* Large: a command is inside. */
    struct http_reply result;
    const struct http_route *route = http_find_route(method, path);
    struct http_request request = {.method = method,
                                   .path = path,
                                   .now_ms = view.now_ms + late_ms,
                                   .view = &view,
                                   .decision = &decision,
                                   .config = config,
                                   .stats = &stats,
                                   .may_set_commands = !is_remote,
                                   .query = &query,
                                   .body = body,
                                   .client = "127.0.0.1",
                                   .member = for_member,
                                   .if_match = if_match,
                                   .is_again = is_again,
                                   .hooks = &hooks};

    assert_non_null(reply);
    assert_non_null(route);
    route->handle(&request, reply);
    result = *reply;
    free(reply);
    return result;
}

static unsigned code_of(const char *path)
{
    struct http_reply reply = ask("GET", path, "");
    unsigned code = reply.code;

    strbuf_deinit(&reply.body);
    return code;
}

struct expected {
    const char *path;
    unsigned primary, standby, witness;
};

/* The codes load balancers rely on, by who is asked. */
static void health_paths_tell_the_role(void **state)
{
    static const struct expected table[] = {
        {"/", 200, 503, 503},
        {"/primary", 200, 503, 503},
        {"/master", 200, 503, 503},
        {"/leader", 200, 503, 503},
        {"/read-write", 200, 503, 503},
        {"/replica", 503, 200, 503},
        {"/read-only", 200, 200, 503},
        {"/health", 200, 200, 200},
        {"/liveness", 200, 200, 200},
        {"/readiness", 200, 200, 200},
        {"/patroni", 200, 200, 200},
        {"/cluster", 200, 200, 200},
        {"/history", 200, 200, 200},
        {"/config", 200, 200, 200},
        {"/metrics", 200, 200, 200},
        {"/failsafe", 502, 502, 502},
        {"/events", 200, 200, 200},
        {"/ui", 200, 200, 200},
        {"/sync", 503, 503, 503},
        {"/async", 503, 200, 503},
        {"/quorum", 503, 503, 503},
        {"/read-only-quorum", 200, 503, 503},
        {"/standby-leader", 503, 503, 503},
        {"/standby_leader", 503, 503, 503},
        {"/nothing", 503, 503, 503},
        {"/xleader", 503, 503, 503},
        {"/primary/more", 200, 503, 503},
        {"//master/", 200, 503, 503},
        {"/primar", 503, 503, 503},
        {"/primaryy", 503, 503, 503},
        {"/switchover", 503, 503, 503},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        build("pg1");
        assert_int_equal(code_of(table[i].path), table[i].primary);
        build("pg2");
        assert_int_equal(code_of(table[i].path), table[i].standby);
        build("w");
        assert_int_equal(code_of(table[i].path), table[i].witness);
    }
}

/* pg2 holds every acknowledged commit of pg1; then of nobody any more. */
static void a_synchronous_standby_is_told_from_the_others(void **state)
{
    static const struct expected table[] = {
        {"/sync", 503, 200, 503},           {"/synchronous", 503, 200, 503},
        {"/async", 503, 503, 503},          {"/asynchronous", 503, 503, 503},
        {"/read-only-sync", 200, 200, 503}, {"/replica", 503, 200, 503},
    };
    static const char *const names[] = {"pg1", "pg2", "w"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        const unsigned codes[] = {table[i].primary, table[i].standby, table[i].witness};

        for (size_t k = 0; k < ARRAY_LENGTH(names); k++) {
            build(names[k]);
            (void)str_copy(store.sync.primary, NAME_SIZE, "pg1");
            (void)str_copy(store.sync.names[0], NAME_SIZE, "pg2");
            store.sync.n_names = 1;
            assert_int_equal(code_of(table[i].path), codes[k]);
        }
    }
    build("pg2"); /* pg1 let go. */
    store.sync = (struct store_sync){.primary = "pg1", .n_names = 1, .names = {"pg2"}};
    store.primary.has_owner = false;
    assert_int_equal(code_of("/sync"), 503);
}

/* Every GET path also takes HEAD and OPTIONS; what else nobody knows is not supported. */
static void get_paths_take_head_and_options(void **state)
{
    const struct http_route *cluster = http_find_route("GET", "/cluster");

    (void)state;
    assert_ptr_equal(http_find_route("HEAD", "/cluster"), cluster);
    assert_ptr_equal(http_find_route("OPTIONS", "/cluster/"), cluster);
    assert_string_equal(http_find_route("OPTIONS", "/")->path, "/");
    assert_string_equal(http_find_route("OPTIONS", "///")->path, "/");
    assert_non_null(http_find_route("POST", "/switchover"));
    assert_null(http_find_route("DELETE", "/cluster"));
    assert_null(http_find_route("POST", "/nothing"));
    assert_null(http_find_route("BREW", "/"));
}

/* An agent that stood still answers before its next tick: the view is of then. */
static void an_old_view_is_not_believed_for_longer_than_the_lease(void **state)
{
    (void)state;
    build("pg1");
    late_ms = 2499;
    assert_int_equal(code_of("/primary"), 200);
    assert_int_equal(code_of("/leader"), 200);
    assert_int_equal(code_of("/liveness"), 200);
    late_ms = 2500;
    assert_int_equal(code_of("/primary"), 503);
    assert_int_equal(code_of("/read-only"), 503);
    assert_int_equal(code_of("/leader"), 503);
    late_ms = 6000;
    assert_int_equal(code_of("/liveness"), 503);

    build("pg1"); /* Nobody takes over from it. */
    late_ms = 100000;
    store.primary.unfenced = true;
    view.conf.pause = true;
    assert_int_equal(code_of("/leader"), 200);
    assert_int_equal(code_of("/liveness"), 200);
}

static uint64_t age_of(const char *path)
{
    struct http_reply reply = ask("GET", path, "");
    uint64_t age_ms = reply.age_ms;

    assert_true(reply.has_age);
    strbuf_deinit(&reply.body);
    return age_ms;
}

/* How old what was seen is, by who is asked; what is not of this moment has no age. */
static void health_answers_tell_their_age(void **state)
{
    static const char *const paths[] = {"/",         "/leader",    "/replica", "/quorum", "/health",
                                        "/liveness", "/readiness", "/nothing", "/patroni"};
    struct http_reply reply;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(paths); i++) {
        build("pg2");
        view.pg.seen_ms = view.now_ms - 700;
        late_ms = 30;
        assert_int_equal(age_of(paths[i]), 730);
        view.pg.seen_ms = 0; /* Never. */
        assert_int_equal(age_of(paths[i]), 30);
        view.pg.seen_ms = view.now_ms - 700; /* That it is gone was seen in the tick. */
        view.self.status.pg_state = PG_STATE_STOPPED;
        assert_int_equal(age_of(paths[i]), 30);
        build("w");
        late_ms = 7;
        assert_int_equal(age_of(paths[i]), 7);
    }
    reply = ask("GET", "/cluster", "");
    assert_false(reply.has_age);
    strbuf_deinit(&reply.body);
}

/* Tags are asked of whoever may answer, but not where there is one node to answer. */
static void tags_count_wherever_a_node_is_chosen(void **state)
{
    static const struct {
        const char *path;
        unsigned matches, differs;
    } table[] = {
        {"/primary", 200, 200},        {"/leader", 200, 200},    {"/", 200, 200},
        {"/read-write", 200, 200},     {"/read-only", 200, 503}, {"/health", 200, 503},
        {"/read-only-sync", 200, 503}, {"/patroni", 200, 200},   {"/read-only-quorum", 200, 503},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        build("pg1");
        (void)str_copy(view.self.member.tags, sizeof(view.self.member.tags), "{\"zone\":\"a\"}");
        kv_add(&query, "tag_zone", "a");
        assert_int_equal(code_of(table[i].path), table[i].matches);
        kv_set(&query, "tag_zone", "b");
        assert_int_equal(code_of(table[i].path), table[i].differs);
    }
}

static bool says(const char *path, const char *text)
{
    struct http_reply reply = ask("GET", path, "");
    bool found = strstr(reply.body.data, text) != NULL;

    strbuf_deinit(&reply.body);
    return found;
}

/* A server that hangs, or is frozen, is not running because its processes are there. */
static void a_server_that_does_not_answer_is_not_running(void **state)
{
    static const char *const paths[] = {"/replica", "/async", "/read-only", "/health",
                                        "/readiness"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(paths); i++) {
        build("pg2");
        view.self.started_ms = 0;
        view.pg.seen_ms = view.now_ms - 10000; /* Several questions. */
        assert_int_equal(code_of(paths[i]), 200);
        view.pg.seen_ms--;
        assert_int_equal(code_of(paths[i]), 503);
        view.self.started_ms = view.now_ms - 10000; /* This agent has only begun to ask. */
        assert_int_equal(code_of(paths[i]), 200);
        view.pg.frozen = true;
        assert_int_equal(code_of(paths[i]), 503);
    }
    assert_true(says("/patroni", "{\"state\": \"unknown\", \"role\": \"replica\", \"dcs_last"));
    assert_true(says("/cluster", "\"pg2\", \"role\": \"replica\", \"state\": \"unknown\""));
    assert_true(says("/metrics", "patroni_postgres_running{scope=\"batman\",name=\"pg2\"} 0\n"));
    assert_true(says("/metrics", "patroni_postgres_state{scope=\"batman\",name=\"pg2\"} -1\n"));
    build("pg1"); /* Who writes is another question: Patroni's answer to it is the lease. */
    view.self.started_ms = 0;
    assert_int_equal(code_of("/primary"), 200);
    assert_int_equal(code_of("/health"), 503);
    assert_true(says("/cluster", "\"pg1\", \"role\": \"leader\", \"state\": \"unknown\""));
    assert_true(says("/cluster", "\"state\": \"streaming\"")); /* Of the others what they say. */
    build("w");
    view.self.started_ms = 0;
    assert_int_equal(code_of("/health"), 200);
}

/* Who is synchronous stands in a store that is not known to be recent. */
static void before_the_store_is_known_nobody_is_synchronous_or_not(void **state)
{
    static const char *const paths[] = {"/sync", "/async", "/read-only-sync", "/quorum"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(paths); i++) {
        build("pg2");
        store.sync = (struct store_sync){.primary = "pg1", .n_names = 1, .names = {"pg2"}};
        view.raft.caught_up = false;
        assert_int_equal(code_of(paths[i]), 503);
        assert_int_equal(code_of("/replica"), 200);
        assert_false(says("/patroni", "sync_standby"));
    }
}

/* A pause outlives the lease: nobody else can lead. */
static void an_unfenced_primary_is_the_leader(void **state)
{
    (void)state;
    build("pg1");
    view.conf.pause = true;
    view.lease.live = false;
    assert_int_equal(code_of("/leader"), 503);
    store.primary.unfenced = true;
    store.primary.instance = 11;
    assert_int_equal(code_of("/primary"), 200);
    assert_int_equal(code_of("/leader"), 200);
    view.self.status.pg_state = PG_STATE_CRASHED;
    assert_int_equal(code_of("/primary"), 503);
    assert_int_equal(code_of("/leader"), 503);
}

/* A primary whose lease ended, or whose PostgreSQL is down, takes no writes. */
static void a_primary_without_lease_or_postgres_is_none(void **state)
{
    (void)state;
    build("pg1");
    view.lease.live = false;
    assert_int_equal(code_of("/primary"), 503);

    build("pg1");
    view.self.status.pg_state = PG_STATE_CRASHED;
    assert_int_equal(code_of("/primary"), 503);
    assert_int_equal(code_of("/health"), 503);

    build("pg1");
    view.lease.epoch = 4;
    assert_int_equal(code_of("/primary"), 503);
}

/* The agent of a primary was restarted: the guard attests the epoch, replay has only begun. */
static void build_restarted(uint64_t replayed_epoch)
{
    build("pg1");
    view.raft.caught_up = false;
    view.lease.continued = true;
    store.n_members = 0;
    store.primary = (struct store_primary){.epoch = replayed_epoch};
}

static void a_restarted_agent_tells_the_epoch_that_its_guard_attests(void **state)
{
    (void)state;
    for (uint64_t epoch = 0; epoch <= 5; epoch++) {
        build_restarted(epoch);
        assert_int_equal(code_of("/primary"), 200);
        assert_int_equal(code_of("/leader"), 200);
        assert_true(says("/patroni", "\"epoch\": 5, \"lease_live\": true"));
        assert_false(says("/patroni", "cluster_unlocked"));
        assert_true(says("/cluster", "\"epoch\": 5"));
        assert_true(says("/metrics", "veche_epoch{scope=\"batman\",name=\"pg1\"} 5\n"));
        assert_true(says("/metrics", "cluster_unlocked{scope=\"batman\",name=\"pg1\"} 0\n"));
    }
    build_restarted(0); /* It is paused, and nothing was renewed. */
    view.lease = (struct view_lease){.unfenced_epoch = 5};
    assert_int_equal(code_of("/primary"), 200);
    assert_true(says("/patroni", "\"epoch\": 5, \"lease_live\": false"));
    assert_false(says("/patroni", "cluster_unlocked"));
    view.raft.caught_up = true; /* Now the store is to be believed, also that it knows nothing. */
    assert_int_equal(code_of("/primary"), 503);
    assert_true(says("/patroni", "\"epoch\": 0"));
    assert_true(says("/patroni", "cluster_unlocked"));
}

static void a_restarted_agent_is_primary_of_the_newest_epoch_only(void **state)
{
    (void)state;
    build_restarted(6); /* Somebody else's, in the log that is being replayed. */
    assert_int_equal(code_of("/primary"), 503);
    assert_int_equal(code_of("/leader"), 503);
    assert_true(says("/patroni", "\"epoch\": 6, \"lease_live\": false"));
    assert_true(says("/patroni", "cluster_unlocked"));

    build_restarted(0); /* Frozen shortly before the deadline. */
    view.pg.frozen = true;
    assert_int_equal(code_of("/primary"), 503);
    assert_false(says("/patroni", "cluster_unlocked"));

    build_restarted(5); /* The lease that was attested ran out before a renewal. */
    view.lease.live = false;
    assert_int_equal(code_of("/primary"), 503);
    assert_int_equal(code_of("/leader"), 503);
}

/* For reinit --wait, which asks any agent. */
static void what_a_member_is_busy_with_is_told_by_all(void **state)
{
    (void)state;
    build("w");
    assert_false(says("/cluster", "operation"));
    (void)str_copy(view.peers[1].status.operation, NAME_SIZE, "clone: copy, 27 %, 12.3 MB/s");
    assert_true(says("/cluster", "\"operation\": \"clone: copy, 27 %, 12.3 MB/s\""));
}

/* A clean stop leaves files that start a standby: who holds the lease goes on as primary. */
static void a_primary_that_is_restarted_stays_one(void **state)
{
    (void)state;
    build("pg1");
    view.self.status.pg_role = PG_ROLE_STANDBY;
    view.self.status.pg_state = PG_STATE_STOPPED;
    view.pg.was_primary = true;
    assert_true(says("/patroni", "\"role\": \"primary\""));
    view.pg.was_primary = false; /* A standby that became owner: it is started, then promoted. */
    assert_true(says("/patroni", "\"role\": \"replica\""));
    view.pg.was_primary = true;
    view.self.status.pg_state = PG_STATE_RUNNING; /* It is about to be promoted. */
    assert_true(says("/patroni", "\"role\": \"replica\""));
    view.self.status.pg_state = PG_STATE_STOPPED;
    view.lease.live = false;
    assert_true(says("/patroni", "\"role\": \"replica\""));
    assert_int_equal(code_of("/primary"), 503);
}

/* Patroni's words and numbers for what is done while PostgreSQL is not there. */
static void what_is_in_the_making_is_no_stopped_server(void **state)
{
    static const struct {
        const char *operation;
        enum pg_state pg_state;
        const char *shown;
        int number;
    } table[] = {
        {"clone: copy, 27 %", PG_STATE_STOPPED, "creating replica", 4},
        {"clone: remove", PG_STATE_UNKNOWN, "creating replica", 4},
        {"clone: wait until ready", PG_STATE_STARTING, "starting", 6},
        {"bootstrap: initdb", PG_STATE_STOPPED, "initializing new cluster", 0},
        {"bootstrap: method", PG_STATE_STOPPED, "running custom bootstrap script", 2},
        {"bootstrap: roles", PG_STATE_STARTING, "starting", 6},
        {"rewind: rewind", PG_STATE_STOPPED, "stopped", 12},
        {"", PG_STATE_STOPPED, "stopped", 12},
        {"", PG_STATE_CRASHED, "crashed", 14},
    };
    char text[80];

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        (void)snprintf(text, sizeof(text), "\"state\": \"%s\"", table[i].shown);
        build("w"); /* Of another member. */
        (void)str_copy(view.peers[1].status.operation, NAME_SIZE, table[i].operation);
        view.peers[1].status.pg_state = table[i].pg_state;
        assert_true(says("/cluster", text));
        build("pg2");
        (void)str_copy(view.self.status.operation, NAME_SIZE, table[i].operation);
        view.self.status.pg_state = table[i].pg_state;
        assert_true(says("/cluster", text));
        assert_true(says("/patroni", text));
        (void)snprintf(text, sizeof(text),
                       "patroni_postgres_state{scope=\"batman\",name=\"pg2\"} %d\n",
                       table[i].number);
        assert_true(says("/metrics", text));
    }
    build("pg2");
    store.n_orders = 1;
    store.orders[0] =
        (struct store_order){.id = 7, .kind = REQUEST_RESTART, .member = "pg2", .begun = true};
    view.self.status.pg_state = PG_STATE_STOPPED;
    assert_true(says("/patroni", "\"state\": \"restarting\""));
    store.orders[0].ended = true;
    assert_true(says("/patroni", "\"state\": \"stopped\""));
    store.orders[0].ended = false;
    view.self.status.pg_state = PG_STATE_STARTING;
    assert_true(says("/patroni", "\"state\": \"starting\""));
}

/* As Patroni tells of its queue; with nothing to tell neither field is there (golden). */
static void what_log_dir_did_not_take_is_told(void **state)
{
    (void)state;
    build("pg1");
    stats.log = (struct log_file_stats){.n_waiting = 2};
    assert_false(says("/patroni", "logger_"));
    stats.log = (struct log_file_stats){.n_waiting = 3, .n_elsewhere = 7, .n_errors = 5};
    assert_true(
        says("/patroni", "\"logger_queue_size\": 3, \"logger_records_lost\": 7, \"veche\""));
    assert_true(
        says("/metrics", "veche_log_lines_elsewhere_total{scope=\"batman\",name=\"pg1\"} 7\n"));
    assert_true(says("/metrics", "veche_log_errors_total{scope=\"batman\",name=\"pg1\"} 5\n"));
    stats.log = (struct log_file_stats){.n_waiting = 0};
}

/* Cut off from the primary: who is it? The witness renewed its promise, or not. */
static void the_leader_is_known_by_hearsay(void **state)
{
    (void)state;
    build("pg2");
    view.peers[0].received_ms = 0;
    assert_null(http_leader(&view));
    view.peers[1].status.promise = PROMISE_LIVE;
    view.peers[1].status.promise_epoch = 5;
    assert_ptr_equal(http_leader(&view), &store.members[0]);
    view.peers[1].status.promise_epoch = 4;
    assert_null(http_leader(&view));
    view.peers[1].status.promise_epoch = 5;
    view.peers[1].received_ms = 0;
    assert_null(http_leader(&view));
    view.self.status.promise = PROMISE_LIVE;
    view.self.status.promise_epoch = 5;
    assert_ptr_equal(http_leader(&view), &store.members[0]);

    build("pg2"); /* What the owner says itself counts more. */
    view.peers[0].status.lease_epoch = 0;
    view.peers[1].status.promise = PROMISE_LIVE;
    view.peers[1].status.promise_epoch = 5;
    assert_null(http_leader(&view));
}

/* Parameters of /replica narrow it down; what cannot be read does not count. */
static void replica_obeys_its_parameters(void **state)
{
    static const struct {
        const char *key, *value;
        unsigned code;
    } table[] = {
        {"lag", "10MB", 200},
        {"lag", "1kB", 503},
        {"lag", "2108999", 503},
        {"lag", "2109000", 200},
        {"lag", "nonsense", 200},
        {"lag", "", 200},
        {"lag", "2109000B", 200},
        {"lag", "2108999B", 503},
        {"lag", "2.5MB", 200},
        {"lag", "1.5 MB", 503},
        {"lag", "20000000", 200}, /* More than 24 bits. */
        {"lag", "99999999999999999999999999", 200},
        {"lag", "0.000001TB", 503},
        {"lag", "0x203000", 200},
        {"lag", "-1", 503}, /* Not even without a lag. */
        {"lag", "inf", 200},
        {"lag", "1parsec", 200},
        {"replication_state", "streaming", 200},
        {"replication_state", "other", 503},
        {"replication_state", "", 200},
        {"replication_state", "in archive recovery", 503},
        {"tag_zone", "b", 200},
        {"tag_zone", "B", 503},
        {"tag_zone", "c", 503},
        {"tag_zone", "", 200},
        {"tag_clonefrom", "true", 200},
        {"tag_clonefrom", "True", 503},
        {"tag_clonefrom", "false", 503},
        {"tag_missing", "", 200},
        {"tag_missing", "x", 503},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        build("pg2");
        kv_add(&query, table[i].key, table[i].value);
        assert_int_equal(code_of("/replica"), table[i].code);
    }
    build("pg2");
    view.self.member.noloadbalance = true;
    assert_int_equal(code_of("/replica"), 503);
    build("pg2");
    (void)str_copy(view.self.member.tags, sizeof(view.self.member.tags), "{\"nothing\":null}");
    kv_add(&query, "tag_nothing", "null");
    assert_int_equal(code_of("/replica"), 503);
    build("pg2");
    view.self.status.streaming = false;
    view.self.status.in_archive_recovery = true;
    kv_add(&query, "replication_state", "in archive recovery");
    assert_int_equal(code_of("/replica"), 200);
    build("pg2");
    view.self.status.replayed = 0x2000000; /* 32 MiB and 136 bytes behind. */
    kv_add(&query, "lag", "33554567");
    assert_int_equal(code_of("/replica"), 503);
}

/* 96 bytes are to be received, 2108996 to be replayed. */
static void readiness_looks_at_what_was_replayed_or_received(void **state)
{
    static const struct {
        const char *lag, *mode;
        unsigned code;
    } table[] = {
        {NULL, NULL, 200},        {NULL, "write", 200},      {"2109000", NULL, 200},
        {"2108000", NULL, 503},   {"2108000", "apply", 503}, {"2108000", "write", 200},
        {"96", "write", 200},     {"95", "write", 503},      {"nonsense", "apply", 200},
        {"2MB", "nonsense", 503},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        build("pg2");
        if (table[i].lag != NULL) {
            kv_add(&query, "lag", table[i].lag);
        }
        if (table[i].mode != NULL) {
            kv_add(&query, "mode", table[i].mode);
        }
        assert_int_equal(code_of("/readiness"), table[i].code);
    }
    build("pg2");
    view.conf.maximum_lag_on_failover = 1024;
    assert_int_equal(code_of("/readiness"), 503);
    view.conf.maximum_lag_on_failover = -1;
    assert_int_equal(code_of("/readiness"), 200);
    view.self.status.streaming = false;
    assert_int_equal(code_of("/readiness"), 503);
}

struct post_case {
    const char *path, *body;
    unsigned code;        /* 0: a command is made. */
    const char *contains; /* In the answer. */
};

/* Right after a start nothing can be said about who leads. */
static void a_node_that_catches_up_takes_no_request(void **state)
{
    struct http_reply reply;

    (void)state;
    build("w");
    view.raft.caught_up = false;
    reply = ask("POST", "/switchover", "{\"leader\":\"pg1\"}");
    assert_false(reply.has_command);
    assert_int_equal(reply.code, 503);
    strbuf_deinit(&reply.body);
}

static void expect_reply(const char *method, const char *body, unsigned code, const char *part)
{
    struct http_reply reply = ask(method, "/config", body);

    assert_false(reply.has_command);
    assert_int_equal(reply.code, code);
    assert_non_null(strstr(reply.body.data, part));
    strbuf_deinit(&reply.body);
}

#define AT(time) "{\"leader\":\"pg1\",\"scheduled_at\":\"" time "\"}"

/* What can be refused at once is, in Patroni's words; the rest becomes a command. */
static void restart_and_reinitialize_are_checked(void **state)
{
    static const struct {
        const char *node, *path, *body;
        unsigned code; /* 0 = it is handed over. */
        const char *contains;
    } table[] = {
        {"pg1", "/restart", "", 0, ""},
        {"pg1", "/restart", "{}", 0, ""},
        {"pg1", "/restart", "{", 400, "not a JSON object"},
        {"pg1", "/restart", "{\"role\":\"primary\",\"postgres_version\":\"15.9\"}", 0, ""},
        {"pg1", "/restart", "{\"role\":\"master\"}", 400, "either primary, standby_leader, or"},
        {"pg1", "/restart", "{\"postgres_version\":\"new\"}", 400, "first.major.minor"},
        {"pg1", "/restart", "{\"timeout\":\"30\",\"restart_pending\":false}", 0, ""},
        {"pg1", "/restart", "{\"timeout\":-1}", 400, "positive number of seconds"},
        {"pg1", "/restart", "{\"timeout\":\"5 minutes\"}", 400, "positive number of seconds"},
        {"pg1", "/restart", "{\"timeout\":\"nan\"}", 400, "positive number of seconds"},
        {"pg1", "/restart", "{\"timeout\":0.0001}", 400, "positive number of seconds"},
        {"pg1", "/restart", "{\"timeout\":null}", 400, "positive number of seconds"},
        {"pg1", "/restart", "{\"role\":null}", 400, "either primary, standby_leader, or"},
        {"pg1", "/restart", "{\"postgres_version\":null}", 400, "first.major.minor"},
        {"pg1", "/restart", "{\"schedule\":null}", 422, "Unable to parse"},
        {"pg1", "/restart", "{\"schedule\":\"\"}", 422, "Unable to parse"},
        {"pg1", "/restart", "{\"colour\":1}", 400, "Unknown filter"},
        {"pg1", "/restart", "{\"schedule\":\"2026-08-02T12:00+00:00\"}", 0, ""},
        {"pg1", "/restart", "{\"schedule\":\"2026-08-02T12:00\"}", 400, "Timezone information"},
        {"pg1", "/restart", "{\"schedule\":\"2020-08-02T12:00Z\"}", 422, "in the past"},
        {"pg1", "/restart", "{\"schedule\":\"soon\"}", 422, "Unable to parse"},
        {"w", "/restart", "{}", 503, "no PostgreSQL"},
        {"pg2", "/reinitialize", "", 0, ""},
        {"pg2", "/reinitialize", "{\"force\":true,\"from_leader\":true}", 0, ""},
        {"pg2", "/reinitialize", "{\"from-leader\":true}", 0, ""},
        {"pg2", "/reinitialize", "{\"forced\":true}", 400, "unknown key \"forced\""},
        {"pg2", "/reinitialize", "7", 400, "not a JSON object"},
        {"pg1", "/reinitialize", "{}", 503, "I am the leader, can not reinitialize"},
        {"w", "/reinitialize", "{}", 503, "no PostgreSQL"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        struct http_reply reply;

        build(table[i].node);
        reply = ask("POST", table[i].path, table[i].body);
        assert_int_equal(reply.has_command, table[i].code == 0);
        if (table[i].code != 0) {
            assert_int_equal(reply.code, table[i].code);
            assert_non_null(strstr(reply.body.data, table[i].contains));
        } else {
            assert_null(command_broken_field(&reply.command));
            assert_string_equal(
                reply.command.order_set.kind == REQUEST_REINIT ? reply.command.order_set.role : "",
                strstr(table[i].body, "leader") != NULL ? "primary" : "");
        }
        strbuf_deinit(&reply.body);
    }
}

/* With units, as Patroni reads it. */
static void the_timeout_of_a_restart_has_a_unit(void **state)
{
    static const struct {
        const char *body;
        uint64_t ms;
    } table[] = {
        {"{\"timeout\":30}", 30000},        {"{\"timeout\":1.5}", 1500},
        {"{\"timeout\":\"30\"}", 30000},    {"{\"timeout\":\"5min\"}", 300000},
        {"{\"timeout\":\"1 h\"}", 3600000}, {"{\"timeout\":\"1d\"}", 86400000},
        {"{\"timeout\":\"1500ms\"}", 1500}, {"{\"timeout\":\"2s\"}", 2000},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        struct http_reply reply;

        build("pg1");
        reply = ask("POST", "/restart", table[i].body);
        assert_true(reply.has_command);
        assert_int_equal(reply.command.order_set.timeout_ms, table[i].ms);
        strbuf_deinit(&reply.body);
    }
}

/* A word that says no is none that says yes. */
static void a_reinitialization_is_forced_by_a_yes_only(void **state)
{
    static const struct {
        const char *body;
        bool force;
    } table[] = {
        {"{\"force\":true}", true},     {"{\"force\":\"on\"}", true},
        {"{\"force\":\"True\"}", true}, {"{\"force\":1}", true},
        {"{\"force\":false}", false},   {"{\"force\":\"false\"}", false},
        {"{\"force\":\"no\"}", false},  {"{\"force\":0}", false},
        {"{\"force\":null}", false},    {"{\"force\":\"\"}", false},
        {"{\"force\":{}}", false},      {"{\"from_leader\":true}", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        struct http_reply reply;

        build("pg2");
        reply = ask("POST", "/reinitialize", table[i].body);
        assert_true(reply.has_command);
        assert_int_equal(reply.command.order_set.force, table[i].force);
        assert_int_equal(reply.command.order_set.pending_only, table[i].force);
        strbuf_deinit(&reply.body);
    }
}

/* An agent takes orders for another member: they go by the store. Not for one that is not
 * heard, which would carry them out whenever it comes. */
static void orders_are_for_the_member_that_is_named(void **state)
{
    static const struct {
        const char *at, *path, *member;
        unsigned code; /* 0 = it is handed over. */
        const char *contains;
    } table[] = {
        {"w", "/restart", "pg2", 0, ""},
        {"pg1", "/restart", "pg2", 0, ""},
        {"pg2", "/restart", "pg2", 0, ""},
        {"pg2", "/restart", "w", 503, "no PostgreSQL"},
        {"pg2", "/restart", "pg9", 503, "pg9 is not heard"},
        {"w", "/reinitialize", "pg2", 0, ""},
        {"w", "/reinitialize", "pg1", 503, "I am the leader"},
        {"pg1", "/reinitialize", "pg2", 0, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        struct http_reply reply;

        build(table[i].at);
        for_member = table[i].member;
        reply = ask("POST", table[i].path, "");
        assert_int_equal(reply.has_command, table[i].code == 0);
        if (table[i].code != 0) {
            assert_int_equal(reply.code, table[i].code);
            assert_non_null(strstr(reply.body.data, table[i].contains));
        } else {
            assert_string_equal(reply.command.order_set.member, table[i].member);
        }
        strbuf_deinit(&reply.body);
    }
    for_member = NULL;
}

static struct http_reply expect(const char *method, const char *path, const char *body,
                                unsigned code, const char *contains)
{
    struct http_reply reply = ask(method, path, body);

    assert_int_equal(reply.has_command, code == 0);
    if (code != 0) {
        assert_int_equal(reply.code, code);
        assert_non_null(strstr(reply.body.data, contains));
    }
    strbuf_deinit(&reply.body);
    return reply;
}

/* Perhaps another node took an order just now: first the log is asked, by ending nothing. */
static void expect_none(const char *path, const char *text)
{
    struct http_reply reply = ask("DELETE", path, "");

    assert_true(reply.has_command);
    assert_null(command_broken_field(&reply.command));
    assert_int_equal(reply.command.kind == COMMAND_ORDER_END ? reply.command.order_end.order_id
                                                             : reply.command.request_end.request_id,
                     0);
    strbuf_deinit(&reply.body);
    is_again = true;
    (void)expect("DELETE", path, "", 404, text);
    is_again = false;
    view.raft.leader = 0; /* Nobody takes anything, and nobody could be asked. */
    (void)expect("DELETE", path, "", 404, text);
    view.raft.leader = 3;
}

/* The words of what is handed over; what is scheduled is in the way of the next, and is shown. */
static void what_is_scheduled_can_be_taken_back(void **state)
{
    const char *later = "{\"schedule\":\"2026-08-02T12:00+02:00\",\"role\":\"primary\","
                        "\"postgres_version\":\"15.9\",\"timeout\":\"30\",\"restart_pending\":1}";
    struct http_reply reply;
    struct store_order *o = &store.orders[0];

    (void)state;
    build("pg1");
    expect_none("/restart", "no restarts are scheduled");
    expect_none("/switchover", "no switchover is scheduled");
    reply = expect("POST", "/restart", later, 0, "");
    assert_int_equal(reply.command.kind, COMMAND_ORDER_SET);
    assert_int_equal(reply.command.order_set.kind, REQUEST_RESTART);
    assert_string_equal(reply.command.order_set.member, "pg1");
    assert_true(reply.command.order_set.at_us == INT64_C(1785664800000000));
    assert_string_equal(reply.command.order_set.role, "primary");
    assert_int_equal(reply.command.order_set.pg_version, 150009);
    assert_int_equal(reply.command.order_set.timeout_ms, 30000);
    assert_true(reply.command.order_set.pending_only);

    store.n_orders = 1;
    *o = (struct store_order){.id = 7, .kind = REQUEST_RESTART, .member = "pg1"};
    o->at_us = reply.command.order_set.at_us;
    o->pg_version = 150009;
    (void)expect("POST", "/restart", later, 409, "Another restart is already scheduled");
    (void)expect("POST", "/restart", "", 0, ""); /* Now is another matter. */
    (void)expect("GET", "/patroni", "", 200,
                 "\"scheduled_restart\": {\"schedule\": \"2026-08-02T10:00:00+00:00\", "
                 "\"postgres_version\": \"15.9\"}");
    (void)expect("GET", "/cluster", "", 200, "\"scheduled_restart\": {\"schedule\": ");
    o->timeout_ms = 30000;
    (void)expect("GET", "/patroni", "", 200, "\"15.9\", \"timeout\": 30}");
    o->timeout_ms = 1500;
    (void)expect("GET", "/patroni", "", 200, "\"15.9\", \"timeout\": 1.5}");
    view.raft.leader = 0; /* What is there waits for one. */
    reply = expect("DELETE", "/restart", "", 0, "");
    view.raft.leader = 3;
    assert_int_equal(reply.command.kind, COMMAND_ORDER_END);
    assert_true(reply.command.order_end.order_id == 7 && !reply.command.order_end.done);
    o->ended = true;
    expect_none("/restart", "no restarts are scheduled");
    view.conf.pause = true;
    (void)expect("POST", "/restart", later, 500, "Can't schedule restart in the paused state");
    (void)expect("POST", "/restart", "{\"role\":\"x\",\"schedule\":\"soon\"}", 500, "paused state");
    (void)expect(
        "POST", "/switchover",
        "{\"leader\":\"pg1\",\"candidate\":\"pg2\",\"scheduled_at\":\"2026-08-02T12:00Z\"}", 400,
        "Can't schedule switchover in the paused state");
    view.op.running = ACTION_CLONE;
    (void)expect("POST", "/restart", "", 503, "clone already in progress");

    build("pg1");
    store.request = (struct store_request){
        .id = 9, .kind = REQUEST_SWITCHOVER, .from = "pg1", .at_us = INT64_C(1785664800000000)};
    reply = expect("DELETE", "/switchover", "", 0, "");
    assert_int_equal(reply.command.kind, COMMAND_REQUEST_END);
    assert_true(reply.command.request_end.request_id == 9 && !reply.command.request_end.done);
    store.request.at_us = 0;
    expect_none("/switchover", "no switchover is scheduled");

    build("pg2");
    view.peers[0].status.lease_epoch = 0;
    (void)expect("POST", "/reinitialize", "", 503, "Cluster has no leader, can not reinitialize");
}

static void switchover_and_failover_are_checked(void **state)
{
    static const struct post_case table[] = {
        {"/switchover", "", 400, "no body"},
        {"/switchover", "[]", 400, "not a JSON object"},
        {"/switchover", "{", 400, "not a JSON object"},
        {"/switchover", "{}", 400, "only from a specific leader"},
        {"/switchover", "{\"leader\":\"pg2\"}", 412, "leader name does not match"},
        {"/switchover", "{\"leader\":\"pg1\",\"candidate\":\"pg1\"}", 400, "the same"},
        {"/switchover", "{\"leader\":\"pg1\",\"candidate\":\"pg9\"}", 412, "does not exist"},
        {"/switchover", "{\"leader\":\"pg1\",\"candidate\":\"w\"}", 412, "does not exist"},
        {"/switchover", "{\"leader\":7}", 400, "leader"},
        {"/switchover", "{\"leader\":\"pg1\",\"candidat\":\"pg2\"}", 400, "key \"candidat\""},
        {"/switchover", "{\"leader\":\"pg1\",\"group\":null}", 0, ""},
        {"/switchover", "{\"leader\":\"pg1\"}", 0, ""},
        {"/switchover", "{\"leader\":\"pg1\",\"member\":\"pg2\"}", 0, ""},
        {"/failover", "", 400, "no body"},
        {"/failover", "{\"leader\":\"pg1\"}", 400, "only to a specific candidate"},
        {"/failover", "{\"candidate\":\"pg2\"}", 0, ""},
        {"/failover", "{\"candidate\":\"pg1\"}", 412, "primary already"},
        {"/failover", "{\"candidate\":\"pg2\",\"scheduled_at\":\"2030-01-01T00:00Z\"}", 400,
         "Failover can't be scheduled"},
        {"/failover", "{\"leader\":\"pg2\",\"candidate\":\"pg2\"}", 400, "the same"},
        {"/switchover", AT("2030-01-01T00:00"), 400, "Timezone information is mandatory"},
        {"/switchover", AT("2026-08-01T10:01:39Z"), 422, "Cannot schedule switchover in the past"},
        {"/switchover", AT("tomorrow"), 422, "Unable to parse scheduled timestamp"},
        {"/switchover", "{\"leader\":\"pg1\",\"scheduled_at\":5}", 422, "Unable to parse"},
        {"/switchover", AT("2026-08-01T12:01:41+02:00"), 0, ""},
        {"/switchover", "{\"leader\":\"pg1\",\"scheduled_at\":null}", 0, ""},
        {"/switchover", AT(""), 0, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        struct http_reply reply;

        build("pg1");
        reply = ask("POST", table[i].path, table[i].body);
        if (table[i].code == 0) {
            assert_true(reply.has_command);
            assert_int_equal(reply.command.kind, COMMAND_REQUEST_SET);
        } else {
            assert_false(reply.has_command);
            assert_int_equal(reply.code, table[i].code);
            assert_non_null(strstr(reply.body.data, table[i].contains));
        }
        strbuf_deinit(&reply.body);
    }
}

/* A candidate that is nobody does not undo the older key beside it. */
static void the_candidate_has_two_names(void **state)
{
    static const struct {
        const char *body, *to;
    } table[] = {
        {"{\"leader\":\"pg1\",\"member\":\"pg2\"}", "pg2"},
        {"{\"leader\":\"pg1\",\"member\":\"pg2\",\"candidate\":\"\"}", "pg2"},
        {"{\"leader\":\"pg1\",\"member\":\"pg2\",\"candidate\":null}", "pg2"},
        {"{\"leader\":\"pg1\",\"member\":\"pg9\",\"candidate\":\"pg2\"}", "pg2"},
        {"{\"leader\":\"pg1\",\"member\":\"\"}", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        struct http_reply reply;

        build("pg1");
        reply = ask("POST", "/switchover", table[i].body);
        assert_true(reply.has_command);
        assert_string_equal(reply.command.request_set.to, table[i].to);
        strbuf_deinit(&reply.body);
    }
}

/* As Patroni's, the newer request takes the place of one that is for later. */
static void what_is_scheduled_gives_way(void **state)
{
    static const char *const bodies[][2] = {
        {"/switchover", "{\"leader\":\"pg1\"}"},
        {"/switchover", AT("2030-01-01T00:00Z")},
        {"/failover", "{\"candidate\":\"pg2\"}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(bodies); i++) {
        struct http_reply reply;

        build("pg1");
        store.request =
            (struct store_request){.id = 9, .kind = REQUEST_SWITCHOVER, .at_us = view.wall_us + 1};
        reply = ask("POST", bodies[i][0], bodies[i][1]);
        assert_true(reply.has_command && reply.is_first);
        assert_int_equal(reply.command.kind, COMMAND_REQUEST_END);
        assert_int_equal(reply.command.request_end.request_id, 9);
        assert_false(reply.command.request_end.done);
        assert_string_equal(reply.command.request_end.text, "replaced by 127.0.0.1");
        strbuf_deinit(&reply.body);

        for (int now = 0; now < 2; now++) { /* That one is under way. */
            store.request.at_us = now ? 0 : view.wall_us;
            expect("POST", bodies[i][0], bodies[i][1], 503, "is pending");
        }
        store.request.id = 0;
        reply = expect("POST", bodies[i][0], bodies[i][1], 0, "");
        assert_false(reply.is_first);
        assert_int_equal(reply.command.kind, COMMAND_REQUEST_SET);
    }
    build("pg1"); /* What is refused does not take it away. */
    store.request =
        (struct store_request){.id = 9, .kind = REQUEST_SWITCHOVER, .at_us = view.wall_us + 1};
    expect("POST", "/failover", "{\"candidate\":\"pg9\"}", 412, "does not exist");
}

/* As all other answers, and Patroni's: who looks for "ttl": 3 with grep finds it. */
static void a_configuration_is_told_with_its_spaces(void **state)
{
    struct http_reply reply;

    (void)state;
    build("pg1");
    config = "{\"a\":\"x:y,\\\"z\\\\\",\"b\":[1,2],\"c\": {\"d\":0.1}}";
    reply = ask("GET", "/config", "");
    assert_string_equal(reply.body.data,
                        "{\"a\": \"x:y,\\\"z\\\\\", \"b\": [1, 2], \"c\": {\"d\": 0.1}}");
    strbuf_deinit(&reply.body);
    config = "{\"ttl\": 3}";
}

/* An edit is of the version it was made of: of another one nothing is changed. */
static void a_change_of_another_version_is_refused(void **state)
{
    static const char *const methods[] = {"PATCH", "PUT"};
    struct http_reply reply = ask("GET", "/config", "");
    char etag[16];

    (void)state;
    (void)str_copy(etag, sizeof(etag), reply.etag);
    strbuf_deinit(&reply.body);
    assert_int_equal(strlen(etag), 10); /* Eight digits in quotes. */
    for (size_t i = 0; i < ARRAY_LENGTH(methods); i++) {
        if_match = etag;
        reply = ask(methods[i], "/config", "{\"ttl\":5}");
        assert_true(reply.has_command);
        strbuf_deinit(&reply.body);
        if_match = "*";
        reply = ask(methods[i], "/config", "{\"ttl\":5}");
        assert_true(reply.has_command);
        strbuf_deinit(&reply.body);
        if_match = etag;
        config = "{\"ttl\": 4}";
        expect_reply(methods[i], "{\"ttl\":5}", 412, "another one");
        config = "{\"ttl\": 3}";
    }
    if_match = NULL;
}

/* As a proxy asks for it, with the server's name in the first line. */
static void a_path_may_have_its_host_before_it(void **state)
{
    static const struct {
        const char *url, *path;
    } table[] = {
        {"/primary", "/primary"},
        {"http://pg1:8008/primary", "/primary"},
        {"HTTPS://[::1]:8008/members/pg2/restart", "/members/pg2/restart"},
        {"http://pg1:8008", "/"},
        {"http://", "/"},
        {"http:/primary", "http:/primary"},
        {"/http://pg1/primary", "/http://pg1/primary"},
        {"ftp://pg1/primary", "ftp://pg1/primary"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        assert_string_equal(http_path_of(table[i].url), table[i].path);
    }
}

/* PostgreSQL's messages and names may be in any encoding, or be cut within a character. */
static void text_of_others_is_told_whatever_its_encoding(void **state)
{
    (void)state;
    build("pg1");
    (void)str_copy(view.self.status.problem, TEXT_SIZE, "\xce\xf8\xe8\xe1\xea\xe0: \xd0\x9e\xd0");
    (void)str_copy(store.history[0].reason, TEXT_SIZE, "cut \xe2\x82");
    (void)str_copy(view.pg.replicas[0].user, NAME_SIZE, "\xf0\x9f\x98\x80 \xed\xa0\x80 \xc0\xaf");
    view.pg.replicas[0].client_address[0] = '\0'; /* A unix socket. */
    assert_true(says("/patroni", "\"problem\": \"??????: \xd0\x9e?\""));
    assert_true(says("/patroni", "{\"usename\": \"\xf0\x9f\x98\x80 ??? ??\""));
    assert_true(says("/patroni", "\"client_addr\": null"));
    assert_true(says("/history", "50331976, \"cut ??\", \"2026"));
}

/* max_timelines_history: the newest lines. */
static void history_is_as_long_as_configured(void **state)
{
    static const struct {
        uint32_t wanted;
        bool first, last;
    } table[] = {{0, true, true}, {3, true, true}, {2, false, true}, {1, false, true}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        build("pg1");
        store.n_history = 3;
        store.history[1] = store.history[0];
        store.history[2] = store.history[0];
        store.history[1].timeline = 3;
        store.history[2].timeline = 4;
        view.conf.history_lines = table[i].wanted;
        assert_int_equal(says("/history", "[2, 50331976"), table[i].first);
        assert_int_equal(says("/history", "[3, 50331976"), table[i].wanted != 1);
        assert_int_equal(says("/history", "[4, 50331976"), table[i].last);
    }
}

static void paths_name_members(void **state)
{
    char name[NAME_SIZE] = "";
    static const char *const wrong[] = {"/restart",     "/members",          "/members/",
                                        "/members/pg2", "/members//restart", "/member/pg2/restart"};

    (void)state;
    assert_string_equal(http_member_path("/members/pg2/restart", name, sizeof(name)), "/restart");
    assert_string_equal(name, "pg2");
    assert_null(http_member_path("/members/pg2/restart", name, 3)); /* One too few. */
    assert_non_null(http_member_path("/members/pg2/restart", name, 4));
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        assert_null(http_member_path(wrong[i], name, sizeof(name)));
    }
    assert_true(http_heeds_member(http_find_route("POST", "/reload")));
    assert_false(http_heeds_member(http_find_route("POST", "/switchover")));
    assert_false(http_heeds_member(http_find_route("GET", "/config")));
}

static void expect_answer(const char *method, const char *path, const char *body, unsigned code,
                          const char *text)
{
    struct http_reply reply = ask(method, path, body);

    assert_false(reply.has_command);
    assert_int_equal(reply.code, code);
    assert_string_equal(reply.body.data, text);
    strbuf_deinit(&reply.body);
}

static void expect_command(const char *method, const char *path, const char *body)
{
    struct http_reply reply = ask(method, path, body);

    assert_true(reply.has_command);
    strbuf_deinit(&reply.body);
}

#define FROM_PG1 "{\"leader\":\"pg1\"}"
#define TO_PG2   "{\"leader\":\"pg1\",\"candidate\":\"pg2\"}"

/* Nobody else there, nobody allowed, nobody alive, nobody synchronous. */
static void a_switchover_to_nobody_is_refused_with_its_reason(void **state)
{
    (void)state;
    build("pg1");
    store.members[1].nofailover = true;
    expect_answer("POST", "/switchover", FROM_PG1, 412,
                  "switchover is not possible: no good candidates have been found");
    expect_command("POST", "/switchover", TO_PG2); /* By name: core's to say. */

    build("pg1");
    store.members[1].last_state = PG_STATE_STOPPED; /* As it said on its way down, and is back. */
    expect_command("POST", "/switchover", FROM_PG1);
    view.peers[0].received_ms = 0;
    expect_answer("POST", "/switchover", FROM_PG1, 412,
                  "switchover is not possible: no good candidates have been found");
    expect_answer("POST", "/switchover", TO_PG2, 412,
                  "switchover is not possible: no good candidates have been found");
    expect_answer("POST", "/failover", "{\"candidate\":\"pg2\"}", 412,
                  "failover is not possible: no good candidates have been found");
    store.members[1].last_state = PG_STATE_RUNNING; /* Silent is not gone. */
    expect_command("POST", "/switchover", TO_PG2);

    build("pg1");
    store.members[1].mode = MODE_WITNESS;
    expect_answer("POST", "/switchover", FROM_PG1, 412,
                  "switchover is not possible: cluster does not have members except leader");

    build("pg1");
    view.conf.sync_mode = SYNC_ON;
    expect_answer("POST", "/switchover", FROM_PG1, 412,
                  "switchover is not possible: can not find sync_standby");
    expect_answer("POST", "/switchover", TO_PG2, 412,
                  "candidate name does not match with sync_standby: pg2 is not in the synchronous "
                  "set of pg1");
    expect_command("POST", "/failover", "{\"candidate\":\"pg2\"}"); /* An order. */
    store.sync = (struct store_sync){.primary = "pg1", .n_names = 1, .names = {"pg2"}};
    expect_command("POST", "/switchover", FROM_PG1);
    expect_command("POST", "/switchover", TO_PG2);
}

/* Only one that is to come. */
static void a_scheduled_switchover_is_deleted(void **state)
{
    struct http_reply reply;

    (void)state;
    build("pg2");
    expect_none("/switchover", "no switchover is scheduled");
    store.request = (struct store_request){.id = 9, .kind = REQUEST_SWITCHOVER, .from = "pg1"};
    expect_none("/switchover", "no switchover is scheduled");
    store.request.at_us = view.wall_us;
    expect_answer("DELETE", "/switchover", "", 409, "the scheduled switchover is due already");
    store.request.at_us = view.wall_us + 1;
    view.raft.leader = 0; /* What is there waits for one. */
    reply = ask("DELETE", "/switchover", "");
    view.raft.leader = 3;
    assert_true(reply.has_command);
    assert_int_equal(reply.command.kind, COMMAND_REQUEST_END);
    assert_int_equal(reply.command.request_end.request_id, 9);
    assert_int_equal(reply.command.request_end.expect_epoch, 5);
    assert_true(reply.command.request_end.expect_owned);
    assert_false(reply.command.request_end.done);
    assert_string_equal(reply.command.request_end.text, "deleted by 127.0.0.1");
    assert_null(command_broken_field(&reply.command));
    strbuf_deinit(&reply.body);
    view.raft.caught_up = false;
    expect_answer("DELETE", "/switchover", "", 503,
                  "this node does not know the state of the cluster yet");
}

/* A change is refused with a reason, or becomes a command. */
static void a_change_of_the_configuration_is_checked(void **state)
{
    struct http_reply reply;

    (void)state;
    for (unsigned replace = 0; replace < 2; replace++) {
        const char *method = replace ? "PUT" : "PATCH";

        build("pg1");
        reply = ask(method, "/config", "{\"ttl\":5}");
        assert_true(reply.has_command);
        assert_int_equal(reply.command.kind, COMMAND_CONFIG_SET);
        assert_int_equal(reply.command.config_set.expect_revision, 1 + replace);
        assert_string_equal(reply.command.config_set.config, "{\"ttl\":5}");
        strbuf_deinit(&reply.body);

        expect_reply(method, "bad", 400, "ttl: out of range");
        expect_reply(method, "", 400, "no body");
        expect_reply(method, " { } ", 400, "empty");
        view.raft.caught_up = false;
        expect_reply(method, "{}", 503, "does not know the state");
        view.raft.caught_up = true;
        config = NULL;
        expect_reply(method, "{}", 503, "no dynamic configuration");
        config = "{\"ttl\": 3}";
    }
}

static unsigned code_of_change(const char *body)
{
    struct http_reply reply = ask("PUT", "/config", body);
    unsigned code = reply.has_command ? 0 : reply.code;

    if (code != 0) {
        assert_non_null(strstr(reply.body.data, "restapi.allow_commands"));
    }
    strbuf_deinit(&reply.body);
    return code;
}

/* What would run a shell, or load code, is not for other machines. */
static void commands_are_not_set_from_afar(void **state)
{
    static const char *const refused[] = {
        "{\"postgresql\":{\"parameters\":{\"archive_command\":\"rm\"}}}",
        "{\"ttl\":3,\"postgresql\":{\"parameters\":{\"work_mem\":1,\"restore_command\":\"a\"}}}",
        "{\"postgresql\":{\"parameters\":{\"shared_preload_libraries\":\"x\"}}}",
        "{\"postgresql\":{\"parameters\":{\"archive_library\":\"x\"}}}",
        "{\"postgresql\":{\"parameters\":{\"jit_provider\":\"/tmp/x\"}}}",
        "{\"postgresql\":{\"recovery_conf\":{\"restore_command\":\"a\"}}}",
        "{\"postgresql\":{\"parameters\":{\"Archive_COMMAND\":\"rm\"}}}",
        "{\"postgresql\":{\"callbacks\":{\"on_start\":\"a\"}}}",
        "{\"postgresql\":{\"create_replica_methods\":[\"a\"]}}",
        "{\"postgresql\":{\"backup\":{\"command\":\"a\"}}}",
        "{\"postgresql\":{\"parameters\":{\"kept_command\":\"another\"}}}",
    };
    static const char *const fine[] = {
        "{\"ttl\":5}",
        "{\"ttl\":5,\"postgresql\":{\"parameters\":{\"kept_command\":\"k\",\"work_mem\":\"1MB\"}}}",
        "{\"postgresql\":{\"parameters\":{\"kept_command\":null}}}",
        "{\"postgresql\":{\"parameters\":{\"log_statement\":\"archive_command\"}}}",
    };

    (void)state;
    build("pg1");
    config = "{\"ttl\":3,\"postgresql\":{\"parameters\":{\"kept_command\":\"k\"}}}";
    is_remote = true;
    for (size_t i = 0; i < ARRAY_LENGTH(refused); i++) {
        if (code_of_change(refused[i]) != 403) {
            fail_msg("%s", refused[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_LENGTH(fine); i++) {
        assert_int_equal(code_of_change(fine[i]), 0);
    }
    is_remote = false;
    for (size_t i = 0; i < ARRAY_LENGTH(refused); i++) {
        assert_int_equal(code_of_change(refused[i]), 0);
    }
    config = "{\"ttl\": 3}";
}

static void expect_dead(const char *body, unsigned code, const char *part)
{
    struct http_reply reply = ask("POST", "/primary-is-dead", body);

    assert_false(reply.has_command);
    assert_int_equal(reply.code, code);
    assert_non_null(strstr(reply.body.data, part));
    strbuf_deinit(&reply.body);
}

/* Paused: health, who is the leader, what is asked for. */
static void a_paused_cluster_says_so_and_lets_nobody_choose(void **state)
{
    struct http_reply reply;

    (void)state;
    build("pg1");
    view.conf.pause = true;
    store.primary.unfenced = true;
    view.self.status.instance = store.primary.instance;
    view.guard.is_disarmed = true;
    late_ms = 100000;
    view.lease.live = false;
    view.self.status.lease_epoch = 0;
    assert_int_equal(code_of("/primary"), 200); /* Majority lost. */
    assert_int_equal(code_of("/liveness"), 200);
    assert_string_equal(http_leader(&view)->name, "pg1");
    assert_string_equal(http_fenced(&view), "no");
    reply = ask("GET", "/cluster", "");
    assert_non_null(strstr(reply.body.data, "\"pause\": true"));
    assert_non_null(strstr(reply.body.data, "\"unfenced\": true"));
    strbuf_deinit(&reply.body);
    reply = ask("POST", "/switchover", "{\"leader\":\"pg1\"}");
    assert_int_equal(reply.code, 400);
    assert_string_equal(reply.body.data,
                        "Switchover is possible only to a specific candidate in a paused state");
    strbuf_deinit(&reply.body);
    reply = ask("POST", "/switchover", "{\"leader\":\"pg1\",\"candidate\":\"pg2\"}");
    assert_true(reply.has_command);
    strbuf_deinit(&reply.body);
    reply = ask("POST", "/switchover", AT("2030-01-01T00:00Z"));
    assert_int_equal(reply.code, 400);
    assert_string_equal(reply.body.data, "Can't schedule switchover in the paused state");
    strbuf_deinit(&reply.body);
    view.conf.pause = false;
    assert_int_equal(code_of("/liveness"), 503);
}

/* Only of an unfenced primary that nobody hears. */
static void a_primary_is_declared_dead_by_name(void **state)
{
    struct http_reply reply;

    (void)state;
    build("pg2");
    expect_dead("", 400, "{\"primary\": \"pg1\"}");
    expect_dead("{\"primary\":\"pg1\"}", 412, "nothing stands in the way");
    store.primary.unfenced = true;
    expect_dead("{\"primary\":\"pg2\"}", 412, "nothing stands in the way");
    expect_dead("{\"primary\":\"pg1\"}", 412, "is heard: ask for a switchover");
    for (uint32_t i = 0; i < view.n_peers; i++) {
        view.peers[i].received_ms = 0;
    }
    view.now_ms += 100000;
    view.raft.caught_up = false;
    expect_dead("{\"primary\":\"pg1\"}", 503, "does not know the state");
    view.raft.caught_up = true;
    for (uint32_t i = 0; i < view.n_peers; i++) { /* Heard again, under another id. */
        view.peers[i].received_ms = view.now_ms;
    }
    store.primary.owner_id = 77;

    reply = ask("POST", "/primary-is-dead", "{\"primary\":\"pg1\"}");
    assert_true(reply.has_command);
    assert_int_equal(reply.command.kind, COMMAND_EPOCH_UNFENCED);
    assert_false(reply.command.epoch_unfenced.unfenced);
    assert_int_equal(reply.command.epoch_unfenced.expect_epoch, 5);
    assert_string_equal(reply.command.epoch_unfenced.rule, "primary-is-dead");
    assert_string_equal(reply.command.epoch_unfenced.evidence,
                        "ordered by 127.0.0.1: pg1 is dead and writes no more");
    assert_null(command_broken_field(&reply.command));
    strbuf_deinit(&reply.body);
}

/* ---- Golden bodies ---- */

static const char *const golden_nodes[] = {"pg1", "pg2", "w"};
static const char *const golden_paths[] = {"/patroni", "/cluster",  "/history",
                                           "/config",  "/failsafe", "/metrics"};

static void print_answer(struct strbuf *all, const char *scene, const char *path)
{
    struct http_reply reply = ask("GET", path, "");

    strbuf_printf(all, "== %s %s %u %s\n%s\n", scene, path, reply.code, reply.content_type,
                  reply.body.data);
    strbuf_deinit(&reply.body);
}

/* Paused, with a synchronous standby, a switchover to come and a member that was stopped. */
static void collect_eventful(struct strbuf *all)
{
    for (size_t i = 0; i < 2; i++) {
        build(golden_nodes[i]);
        view.conf.pause = true;
        view.self.status.pending =
            (struct pending_restart){.n = 1, .settings = {{"max_connections", "100", "101"}}};
        view.self.status.no_watchdog = i == 1;
        store.sync = (struct store_sync){.primary = "pg1", .n_names = 1, .names = {"pg2"}};
        store.request = (struct store_request){.id = 9,
                                               .kind = REQUEST_SWITCHOVER,
                                               .from = "pg1",
                                               .to = "pg2",
                                               .at_us = INT64_C(1785585600000000)};
        add_member("pg3", 4, MODE_POSTGRES, 5433);
        store.members[3].last_state = PG_STATE_STOPPED;
        view.peers[view.n_peers++].status = (struct status){.id = 4, .timeline = 2};
        print_answer(all, i == 0 ? "eventful pg1" : "eventful pg2", "/cluster");
        print_answer(all, i == 0 ? "eventful pg1" : "eventful pg2", "/patroni");
    }
}

/* No leader, a copy that is being made, a restart to come, and all else that goes wrong. */
static void collect_troubled(struct strbuf *all)
{
    build("pg2");
    store.n_orders = 1;
    store.orders[0] = (struct store_order){.id = 7,
                                           .kind = REQUEST_RESTART,
                                           .member = "pg2",
                                           .role = "replica",
                                           .pg_version = 150009,
                                           .pending_only = true,
                                           .timeout_ms = 90000,
                                           .at_us = INT64_C(1785664800000000)};
    store.primary.unfenced = true;
    view.peers[0].status.lease_epoch = 0;
    view.self.status.pg_state = PG_STATE_STOPPED;
    view.self.status.timeline = 0;
    (void)str_copy(view.self.status.operation, NAME_SIZE, "clone: copy, 27 %, 12.3 MB/s");
    (void)str_copy(view.self.status.problem, NAME_SIZE, "the disk is full");
    (void)str_copy(view.raft.problem, sizeof(view.raft.problem), "its disk failed");
    stats.log.n_waiting = 1001;
    stats.log.n_elsewhere = 3;
    print_answer(all, "troubled pg2", "/cluster");
    print_answer(all, "troubled pg2", "/patroni");
    stats.log.n_waiting = 0;
    stats.log.n_elsewhere = 0;
}

static void collect(struct strbuf *all)
{
    for (size_t i = 0; i < ARRAY_LENGTH(golden_nodes); i++) {
        for (size_t k = 0; k < ARRAY_LENGTH(golden_paths); k++) {
            build(golden_nodes[i]);
            print_answer(all, golden_nodes[i], golden_paths[k]);
        }
    }
    collect_eventful(all);
    collect_troubled(all);
}

/* ---- Golden refusals ---- */

#define LATER  "2030-01-01T00:00Z"
#define TO_PG9 "{\"leader\":\"pg1\",\"candidate\":\"pg9\"}"

static void is_paused(void)
{
    view.conf.pause = true;
}

static void catches_up(void)
{
    view.raft.caught_up = false;
}

static void has_no_config(void)
{
    config = NULL;
}

static void is_edited_meanwhile(void)
{
    if_match = "\"00000000\"";
}

static void is_afar(void)
{
    is_remote = true;
}

static void is_busy(void)
{
    view.op.running = ACTION_CLONE;
}

static void starts(void)
{
    view.self.status.pg_state = PG_STATE_STARTING;
}

static void has_a_schedule(void)
{
    store.n_orders = 1;
    store.orders[0] =
        (struct store_order){.id = 7, .kind = REQUEST_RESTART, .member = "pg1", .at_us = 1};
}

static void is_switching(void)
{
    store.request = (struct store_request){
        .id = 9, .kind = REQUEST_SWITCHOVER, .from = "pg1", .at_us = view.wall_us};
}

static void is_synchronous(void)
{
    view.conf.sync_mode = SYNC_ON;
}

static void has_only_witnesses(void)
{
    store.members[1].mode = MODE_WITNESS;
}

static void has_nobody_good(void)
{
    store.members[1].nofailover = true;
}

static void has_no_leader(void)
{
    view.peers[0].status.lease_epoch = 0;
}

static void asks_pg9(void)
{
    for_member = "pg9";
}

static void asks_twice(void)
{
    is_again = true;
}

static void is_unfenced(void)
{
    store.primary.unfenced = true;
}

static void does_not_stream(void)
{
    view.self.status.streaming = false;
}

static void lags(void)
{
    view.self.status.replayed = 1;
}

static void is_down(void)
{
    view.self.status.pg_state = PG_STATE_STOPPED;
}

static void is_in_no_cluster(void)
{
    view.raft.usable = false;
}

/* What is refused here, with its reason. What becomes a command is answered by the agent:
 * test_agent_actions. */
static const struct refusal {
    void (*prepare)(void);
    const char *scene, *node, *method, *path, *body;
} refusals[] = {
    /* clang-format off */
    {NULL, "", "pg1", "POST", "/switchover", ""},
    {NULL, "", "pg1", "POST", "/switchover", "leader=pg1"},
    {NULL, "", "pg1", "POST", "/switchover", "[1]"},
    {NULL, "", "pg1", "POST", "/switchover", "{}"},
    {NULL, "", "pg1", "POST", "/switchover", "{\"leader\":7}"},
    {NULL, "", "pg1", "POST", "/switchover", "{\"leader\":\"pg1\",\"candidat\":\"pg2\"}"},
    {NULL, "", "pg1", "POST", "/switchover", "{\"leader\":\"pg1\",\"candidate\":[]}"},
    {NULL, "", "pg1", "POST", "/switchover", "{\"leader\":\"pg2\"}"},
    {NULL, "", "pg1", "POST", "/switchover", "{\"leader\":\"pg1\",\"candidate\":\"pg1\"}"},
    {NULL, "", "pg1", "POST", "/switchover", TO_PG9},
    {NULL, "", "pg1", "POST", "/switchover", AT("2030-01-01T00:00")},
    {NULL, "", "pg1", "POST", "/switchover", AT("2020-01-01T00:00Z")},
    {NULL, "", "pg1", "POST", "/switchover", AT("tomorrow")},
    {NULL, "", "pg1", "POST", "/switchover", "{\"leader\":\"pg1\",\"candidate\":\"pg9\",\"scheduled_at\":\"" LATER "\"}"},
    {is_paused, "paused", "pg1", "POST", "/switchover", FROM_PG1},
    {is_paused, "paused", "pg1", "POST", "/switchover", AT(LATER)},
    {catches_up, "catching up", "pg1", "POST", "/switchover", FROM_PG1},
    {is_switching, "switching", "pg1", "POST", "/switchover", FROM_PG1},
    {is_synchronous, "synchronous without a standby", "pg1", "POST", "/switchover", FROM_PG1},
    {is_synchronous, "synchronous without a standby", "pg1", "POST", "/switchover", TO_PG2},
    {has_only_witnesses, "only witnesses", "pg1", "POST", "/switchover", FROM_PG1},
    {has_nobody_good, "nobody may", "pg1", "POST", "/switchover", FROM_PG1},
    {NULL, "", "pg1", "POST", "/failover", ""},
    {NULL, "", "pg1", "POST", "/failover", "{\"leader\": \"pg102\"}"},
    {NULL, "", "pg1", "POST", "/failover", "{\"candidate\":\"pg1\"}"},
    {NULL, "", "pg1", "POST", "/failover", "{\"candidate\":\"pg9\"}"},
    {NULL, "", "pg1", "POST", "/failover", "{\"candidate\":\"pg2\",\"scheduled_at\":\"" LATER "\"}"},
    {asks_twice, "asked again", "pg1", "DELETE", "/switchover", ""},
    {is_switching, "switching", "pg1", "DELETE", "/switchover", ""},
    {catches_up, "catching up", "pg1", "DELETE", "/switchover", ""},
    {NULL, "", "pg1", "POST", "/restart", "now"},
    {NULL, "", "pg1", "POST", "/restart", "{\"role\":\"master\"}"},
    {NULL, "", "pg1", "POST", "/restart", "{\"postgres_version\":15}"},
    {NULL, "", "pg1", "POST", "/restart", "{\"timeout\":\"soon\"}"},
    {NULL, "", "pg1", "POST", "/restart", "{\"colour\":1}"},
    {NULL, "", "pg1", "POST", "/restart", "{\"schedule\":\"2030-01-01T00:00\"}"},
    {NULL, "", "pg1", "POST", "/restart", "{\"schedule\":\"2020-01-01T00:00Z\"}"},
    {NULL, "", "pg1", "POST", "/restart", "{\"schedule\":\"soon\"}"},
    {has_a_schedule, "scheduled", "pg1", "POST", "/restart", "{\"schedule\":\"" LATER "\"}"},
    {is_paused, "paused", "pg1", "POST", "/restart", "{\"schedule\":\"" LATER "\"}"},
    {is_busy, "busy", "pg1", "POST", "/restart", ""},
    {starts, "starting", "pg1", "POST", "/restart", ""},
    {catches_up, "catching up", "pg1", "POST", "/restart", ""},
    {asks_pg9, "of pg9", "pg1", "POST", "/restart", ""},
    {NULL, "", "w", "POST", "/restart", ""},
    {asks_twice, "asked again", "pg1", "DELETE", "/restart", ""},
    {NULL, "", "pg1", "POST", "/reinitialize", ""},
    {NULL, "", "pg2", "POST", "/reinitialize", "{\"forced\":true}"},
    {is_busy, "busy", "pg2", "POST", "/reinitialize", ""},
    {has_no_leader, "leaderless", "pg2", "POST", "/reinitialize", ""},
    {NULL, "", "pg1", "PATCH", "/config", ""},
    {NULL, "", "pg1", "PATCH", "/config", "{}"},
    {NULL, "", "pg1", "PATCH", "/config", "bad"},
    {NULL, "", "pg1", "PUT", "/config", "{}"},
    {catches_up, "catching up", "pg1", "PUT", "/config", "{\"ttl\":5}"},
    {has_no_config, "no configuration", "pg1", "GET", "/config", ""},
    {has_no_config, "no configuration", "pg1", "PATCH", "/config", "{\"ttl\":5}"},
    {is_edited_meanwhile, "another version", "pg1", "PATCH", "/config", "{\"ttl\":5}"},
    {is_afar, "from afar", "pg1", "PATCH", "/config", "{\"postgresql\":{\"parameters\":{\"archive_command\":\"rm\"}}}"},
    {NULL, "", "pg1", "GET", "/failsafe", ""},
    {NULL, "", "pg1", "POST", "/failsafe", "{\"name\":\"pg1\"}"},
    {NULL, "", "pg1", "POST", "/primary-is-dead", ""},
    {NULL, "", "pg1", "POST", "/primary-is-dead", "{}"},
    {NULL, "", "pg1", "POST", "/primary-is-dead", "{\"primary\":\"pg1\"}"},
    {is_unfenced, "unfenced", "pg2", "POST", "/primary-is-dead", "{\"primary\":\"pg1\"}"},
    {is_down, "down", "pg2", "GET", "/readiness", ""},
    {does_not_stream, "not streaming", "pg2", "GET", "/readiness", ""},
    {lags, "lagging", "pg2", "GET", "/readiness", ""},
    {is_in_no_cluster, "in no cluster", "w", "GET", "/readiness", ""},
    /* clang-format on */
};

static void collect_refusals(struct strbuf *all)
{
    for (size_t i = 0; i < ARRAY_LENGTH(refusals); i++) {
        const struct refusal *r = &refusals[i];
        struct http_reply reply;

        build(r->node);
        if (r->prepare != NULL) {
            r->prepare();
        }
        reply = ask(r->method, r->path, r->body);
        strbuf_printf(all, "== %s%s%s: %s %s %s\n%u %s\n", r->node, r->scene[0] != '\0' ? ", " : "",
                      r->scene, r->method, r->path, r->body, reply.has_command ? 0 : reply.code,
                      reply.has_command ? "handed over" : reply.body.data);
        strbuf_deinit(&reply.body);
        config = "{\"ttl\": 3}";
        if_match = NULL;
        for_member = NULL;
        is_remote = false;
        is_again = false;
    }
}

static char *read_golden(const char *name)
{
    FILE *file = fopen(name, "r");
    char *text = calloc(1, 1 << 20);
    size_t n;

    assert_non_null(file);
    assert_non_null(text);
    n = fread(text, 1, (1 << 20) - 1, file);
    text[n] = '\0';
    fclose(file);
    return text;
}

/* The text without its values: what Patroni's users have rules and dashboards for. */
static void metrics_are_patronis_and_those_promised(void **state)
{
    static const char *const names[] = {
        "# TYPE patroni_version gauge\n",
        "# TYPE patroni_postgres_running gauge\n",
        "# TYPE patroni_postmaster_start_time gauge\n",
        "# TYPE patroni_primary gauge\n",
        "# TYPE patroni_xlog_location counter\n",
        "# TYPE patroni_standby_leader gauge\n",
        "# TYPE patroni_replica gauge\n",
        "# TYPE patroni_sync_standby gauge\n",
        "# TYPE patroni_quorum_standby gauge\n",
        "# TYPE patroni_xlog_received_location counter\n",
        "# TYPE patroni_xlog_replayed_location counter\n",
        "# TYPE patroni_xlog_replayed_timestamp gauge\n",
        "# TYPE patroni_xlog_paused gauge\n",
        "# TYPE patroni_postgres_streaming gauge\n",
        "# TYPE patroni_postgres_in_archive_recovery gauge\n",
        "# TYPE patroni_postgres_server_version gauge\n",
        "# TYPE patroni_cluster_unlocked gauge\n",
        "# TYPE patroni_failsafe_mode_is_active gauge\n",
        "# TYPE patroni_failsafe_mode_enabled gauge\n",
        "# TYPE patroni_failsafe_member gauge\n",
        "# TYPE patroni_postgres_timeline gauge\n",
        "# TYPE patroni_dcs_last_seen gauge\n",
        "# TYPE patroni_pending_restart gauge\n",
        "# TYPE patroni_is_paused gauge\n",
        "# TYPE patroni_postgres_state gauge\n",
        "# TYPE patroni_failover_priority gauge\n",
        "# TYPE veche_lease_margin_seconds histogram\n",
        "veche_lease_renewals_total{scope=\"batman\",name=\"pg1\"} 10\n",
        "veche_raft_term{scope=\"batman\",name=\"pg1\"} 4\n",
        "# TYPE veche_raft_applied_index gauge\n",
        "# TYPE veche_raft_leader gauge\n",
        "veche_peer_round_trip_seconds{scope=\"batman\",name=\"pg1\",peer=\"pg2\"} 0.000412\n",
        "# TYPE veche_guard_freezes_total counter\n",
        "{scope=\"batman\",name=\"pg1\",kind=\"node\",rule=\"healthy\"} 2\n",
        "veche_tick_duration_seconds_bucket{scope=\"batman\",name=\"pg1\",le=\"0.0005\"} 5\n",
        "veche_tick_duration_seconds_bucket{scope=\"batman\",name=\"pg1\",le=\"+Inf\"} 7\n",
        "veche_dirty_to_act_seconds_count{scope=\"batman\",name=\"pg1\"} 3\n",
    };
    struct http_reply reply;

    (void)state;
    build("pg1");
    reply = ask("GET", "/metrics", "");
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        if (strstr(reply.body.data, names[i]) == NULL) {
            fail_msg("missing: %s", names[i]);
        }
    }
    strbuf_deinit(&reply.body);
}

/* Patroni calls these counters without the word that counters end with today. */
static bool is_patronis(const char *complaint)
{
    static const char *const known[] = {"patroni_xlog_location", "patroni_xlog_received_location",
                                        "patroni_xlog_replayed_location"};
    bool found = false;

    for (size_t i = 0; i < ARRAY_LENGTH(known); i++) {
        found = found || (str_starts_with(complaint, known[i]) &&
                          strstr(complaint, "should have \"_total\" suffix") != NULL);
    }
    return found;
}

/* What Prometheus itself has to say of the text of each kind of node. */
static void promtool_finds_nothing_else(void **state)
{
    static const char *const nodes[] = {"pg1", "pg2", "w"};
    char line[1024];

    (void)state;
    if (access("/usr/bin/promtool", X_OK) != 0) {
        fail_msg("promtool is missing: install Debian's package prometheus");
    }
    for (size_t i = 0; i < ARRAY_LENGTH(nodes); i++) {
        char name[] = "/tmp/veche-metrics-XXXXXX";
        char command[128];
        int fd = mkstemp(name);
        struct http_reply reply;
        unsigned n_patronis = 0;
        FILE *said;
        int status;

        assert_true(fd >= 0);
        build(nodes[i]);
        reply = ask("GET", "/metrics", "");
        assert_int_equal(write(fd, reply.body.data, reply.body.length), reply.body.length);
        (void)close(fd);
        (void)snprintf(command, sizeof(command), "promtool check metrics <%s 2>&1", name);
        said = popen(command, "r");
        assert_non_null(said);
        while (fgets(line, sizeof(line), said) != NULL) {
            if (!is_patronis(line)) {
                fail_msg("%s: %s", nodes[i], line);
            }
            n_patronis++;
        }
        status = pclose(said);
        (void)unlink(name);
        strbuf_deinit(&reply.body);
        assert_int_equal(n_patronis, 3);
        assert_int_equal(WEXITSTATUS(status), 3); /* Read, with complaints. */
    }
}

/* Counted in its place, up to the bound itself. */
static void a_histogram_counts_each_value_once(void **state)
{
    struct http_histogram h = {.sum_s = 0};
    struct http_rule rules[HTTP_RULES_MAX] = {{.name = NULL}};

    (void)state;
    http_histogram_add(&h, 0);
    http_histogram_add(&h, 100000); /* 0.1 ms, the first bound. */
    http_histogram_add(&h, 100001);
    http_histogram_add(&h, UINT64_C(5000000000));
    http_histogram_add(&h, UINT64_C(5000000001));
    assert_int_equal(h.counts[0], 2);
    assert_int_equal(h.counts[1], 1);
    assert_int_equal(h.counts[9], 1);
    assert_int_equal(h.counts[10], 1);
    assert_true(h.sum_s > 10 && h.sum_s < 10.001);

    http_rule_count(rules, "a");
    http_rule_count(rules, "b");
    http_rule_count(rules, "a");
    assert_string_equal(rules[0].name, "a");
    assert_int_equal(rules[0].n, 2);
    assert_int_equal(rules[1].n, 1);
    assert_null(rules[2].name);
    for (size_t i = 0; i < HTTP_RULES_MAX; i++) { /* Full: what does not fit is not counted. */
        static char names[HTTP_RULES_MAX][8];

        (void)snprintf(names[i], sizeof(names[i]), "r%zu", i);
        http_rule_count(rules, names[i]);
    }
    http_rule_count(rules, "one more");
    assert_int_equal(rules[HTTP_RULES_MAX - 1].n, 1);
}

static int metric(const char *name)
{
    struct http_reply reply = ask("GET", "/metrics", "");
    char line[128];
    const char *at;
    int value;

    (void)snprintf(line, sizeof(line), "\n%s{", name);
    at = strstr(reply.body.data, line);
    assert_non_null(at);
    value = (int)strtol(strchr(at, '}') + 2, NULL, 10);
    strbuf_deinit(&reply.body);
    return value;
}

/* Only where failsafe_mode is set, as it is spelled in YAML or JSON; nobody is ever asked. */
static void failsafe_lists_the_members_when_it_is_on(void **state)
{
    static const char *const on[] = {"{\"failsafe_mode\": true}", "{\"failsafe_mode\": \"on\"}"};
    static const char *const off[] = {"{\"failsafe_mode\": false}", "{}", NULL,
                                      "{\"failsafe_mode\": \"off\"}"};
    struct http_reply reply;

    (void)state;
    build("pg2");
    for (size_t i = 0; i < ARRAY_LENGTH(on); i++) {
        config = on[i];
        reply = ask("GET", "/failsafe", "");
        assert_int_equal(reply.code, 200);
        assert_string_equal(reply.body.data, "{\"pg1\": \"http://10.0.0.1:8008/patroni\", "
                                             "\"pg2\": \"http://10.0.0.2:8008/patroni\"}");
        strbuf_deinit(&reply.body);
        assert_int_equal(metric("patroni_failsafe_mode_enabled"), 1);
        assert_int_equal(metric("patroni_failsafe_member"), 1);
        assert_int_equal(metric("patroni_failsafe_mode_is_active"), 0);
    }
    build("w"); /* It is asked by nobody. */
    assert_int_equal(metric("patroni_failsafe_mode_enabled"), 1);
    assert_int_equal(metric("patroni_failsafe_member"), 0);
    build("pg2");
    for (size_t i = 0; i < ARRAY_LENGTH(off); i++) {
        config = off[i];
        assert_int_equal(code_of("/failsafe"), 502);
        assert_int_equal(metric("patroni_failsafe_mode_enabled"), 0);
        assert_int_equal(metric("patroni_failsafe_member"), 0);
    }
    config = "{\"ttl\": 3}";
    reply = ask("POST", "/failsafe", "{}");
    assert_int_equal(reply.code, 502);
    strbuf_deinit(&reply.body);
}

/* Every data path, as the primary, a standby and the witness answer it. */
static void bodies_are_as_reviewed(void **state)
{
    struct strbuf all = {0};
    char *golden = read_golden(GOLDEN_DIR "/http.txt");

    (void)state;
    collect(&all);
    assert_string_equal(all.data, golden);
    strbuf_deinit(&all);
    free(golden);
}

/* Every text that refuses something. */
static void refusals_are_as_reviewed(void **state)
{
    struct strbuf all = {0};
    char *golden = read_golden(GOLDEN_DIR "/http_refusals.txt");

    (void)state;
    collect_refusals(&all);
    assert_null(strstr(all.data, "\n0 "));
    assert_string_equal(all.data, golden);
    strbuf_deinit(&all);
    free(golden);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_paths_tell_the_role),
        cmocka_unit_test(a_synchronous_standby_is_told_from_the_others),
        cmocka_unit_test(get_paths_take_head_and_options),
        cmocka_unit_test(an_old_view_is_not_believed_for_longer_than_the_lease),
        cmocka_unit_test(health_answers_tell_their_age),
        cmocka_unit_test(readiness_looks_at_what_was_replayed_or_received),
        cmocka_unit_test(tags_count_wherever_a_node_is_chosen),
        cmocka_unit_test(a_server_that_does_not_answer_is_not_running),
        cmocka_unit_test(before_the_store_is_known_nobody_is_synchronous_or_not),
        cmocka_unit_test(an_unfenced_primary_is_the_leader),
        cmocka_unit_test(a_primary_without_lease_or_postgres_is_none),
        cmocka_unit_test(what_a_member_is_busy_with_is_told_by_all),
        cmocka_unit_test(a_primary_that_is_restarted_stays_one),
        cmocka_unit_test(what_is_in_the_making_is_no_stopped_server),
        cmocka_unit_test(what_log_dir_did_not_take_is_told),
        cmocka_unit_test(a_restarted_agent_tells_the_epoch_that_its_guard_attests),
        cmocka_unit_test(a_restarted_agent_is_primary_of_the_newest_epoch_only),
        cmocka_unit_test(the_leader_is_known_by_hearsay),
        cmocka_unit_test(replica_obeys_its_parameters),
        cmocka_unit_test(a_node_that_catches_up_takes_no_request),
        cmocka_unit_test(restart_and_reinitialize_are_checked),
        cmocka_unit_test(the_timeout_of_a_restart_has_a_unit),
        cmocka_unit_test(a_reinitialization_is_forced_by_a_yes_only),
        cmocka_unit_test(orders_are_for_the_member_that_is_named),
        cmocka_unit_test(what_is_scheduled_can_be_taken_back),
        cmocka_unit_test(switchover_and_failover_are_checked),
        cmocka_unit_test(the_candidate_has_two_names),
        cmocka_unit_test(what_is_scheduled_gives_way),
        cmocka_unit_test(a_switchover_to_nobody_is_refused_with_its_reason),
        cmocka_unit_test(a_scheduled_switchover_is_deleted),
        cmocka_unit_test(a_change_of_the_configuration_is_checked),
        cmocka_unit_test(a_configuration_is_told_with_its_spaces),
        cmocka_unit_test(a_change_of_another_version_is_refused),
        cmocka_unit_test(a_path_may_have_its_host_before_it),
        cmocka_unit_test(text_of_others_is_told_whatever_its_encoding),
        cmocka_unit_test(history_is_as_long_as_configured),
        cmocka_unit_test(paths_name_members),
        cmocka_unit_test(commands_are_not_set_from_afar),
        cmocka_unit_test(a_paused_cluster_says_so_and_lets_nobody_choose),
        cmocka_unit_test(a_primary_is_declared_dead_by_name),
        cmocka_unit_test(metrics_are_patronis_and_those_promised),
        cmocka_unit_test(promtool_finds_nothing_else),
        cmocka_unit_test(a_histogram_counts_each_value_once),
        cmocka_unit_test(failsafe_lists_the_members_when_it_is_on),
        cmocka_unit_test(bodies_are_as_reviewed),
        cmocka_unit_test(refusals_are_as_reviewed),
    };
    int failed;

    if (argc > 1 && str_starts_with(argv[1], "--print")) { /* --print, --print-refusals */
        struct strbuf all = {0};

        if (strcmp(argv[1], "--print") == 0) {
            collect(&all);
        } else {
            collect_refusals(&all);
        }
        fputs(all.data, stdout);
        strbuf_deinit(&all);
        return 0;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    kv_deinit(&query);
    return failed;
}
