/*
 * What became of a request over REST, as it is told: every text of agent/actions.c, with what
 * the log answered and what the store then shows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/agent_state.h"
#include "http/http.h"

/* In the place of the server and of the log. */
void __wrap_http_action_end(struct http_action *action, unsigned code, const char *text);
void __wrap_http_action_end_json(struct http_action *action, const char *json);
bool __wrap_http_action_again(struct http_action *action);
void __wrap_agent_propose_bytes(struct agent *a, const void *bytes, size_t size, agent_result_cb cb,
                                void *data);
void __wrap_agent_mark_dirty(struct agent *a);
uint64_t __wrap_clock_ms(void);

static struct agent *agent;
static uint64_t now_ms;
static bool may_again; /* It is handled once more, when that is asked for. */
static char told[512]; /* The answer; "again". */
static unsigned n_told;
static unsigned n_proposals; /* Since the request came. */
static agent_result_cb on_result;
static void *on_result_data;

void __wrap_http_action_end(struct http_action *action, unsigned code, const char *text)
{
    assert_non_null(action);
    n_told++;
    (void)snprintf(told, sizeof(told), "%u %s", code, text);
}

void __wrap_http_action_end_json(struct http_action *action, const char *json)
{
    assert_non_null(action);
    n_told++;
    (void)snprintf(told, sizeof(told), "200 JSON %s", json);
}

bool __wrap_http_action_again(struct http_action *action)
{
    assert_non_null(action);
    n_told += may_again;
    (void)snprintf(told, sizeof(told), "%s", may_again ? "again" : "");
    return may_again;
}

void __wrap_agent_propose_bytes(struct agent *a, const void *bytes, size_t size, agent_result_cb cb,
                                void *data)
{
    assert_ptr_equal(a, agent);
    assert_true(bytes != NULL && size > 0);
    n_proposals++;
    on_result = cb;
    on_result_data = data;
}

void __wrap_agent_mark_dirty(struct agent *a)
{
    assert_ptr_equal(a, agent);
}

uint64_t __wrap_clock_ms(void)
{
    return now_ms;
}

/* ---- Requests ---- */

static void start(void)
{
    agent = calloc(1, sizeof(*agent));
    assert_non_null(agent);
    store_init(&agent->store);
    for (size_t i = 0; i < AGENT_ACTIONS_MAX; i++) {
        agent->actions[i].agent = agent;
    }
    agent->store.primary = (struct store_primary){.has_owner = true, .owner = "pg2"};
    agent->dynamic.primary_start_timeout_ms = SECONDS(300);
    (void)str_copy(agent->store.config, sizeof(agent->store.config), "{\"ttl\":3}");
    now_ms = SECONDS(1000);
    may_again = true;
    told[0] = '\0';
    n_told = 0;
    n_proposals = 0;
}

static void end(void)
{
    free(agent);
}

static void ask(const struct command *command)
{
    agent_on_request(agent, (struct http_action *)(void *)told, command); /* Any address. */
}

static void ask_switchover(enum request_kind kind, const char *to, int64_t at_us)
{
    struct command c = {.kind = COMMAND_REQUEST_SET};

    c.request_set = (struct command_request_set){.kind = kind, .from = "pg1", .at_us = at_us};
    (void)str_copy(c.request_set.to, NAME_SIZE, to);
    ask(&c);
}

static void ask_order(enum request_kind kind, int64_t at_us)
{
    struct command c = {.kind = COMMAND_ORDER_SET};

    c.order_set = (struct command_order_set){.kind = kind, .member = "pg2", .at_us = at_us};
    ask(&c);
}

/* Those without more than their kind. */
static void ask_plain(enum command_kind kind)
{
    struct command c = {.kind = kind};

    if (kind == COMMAND_CONFIG_SET) {
        (void)str_copy(c.config_set.config, sizeof(c.config_set.config), "{}");
    }
    ask(&c);
}

/* ---- What the log and the store say ---- */

static void log_says(enum propose_status status, enum apply_result result)
{
    const struct propose_result r = {.status = status, .result = result, .index = 7};

    on_result(on_result_data, &r);
}

static void tick(void)
{
    agent_actions_tick(agent, now_ms);
}

static void store_has(uint64_t index)
{
    agent->store.applied_index = index;
    tick();
}

static void outcome_is(bool done, const char *text)
{
    agent->store.outcome = (struct store_outcome){.request_id = 7, .done = done};
    (void)str_copy(agent->store.outcome.text, TEXT_SIZE, text);
    store_has(8);
}

static void order_ends(bool done, const char *text)
{
    struct store_order *o = &agent->store.orders[0];

    agent->store.n_orders = 1;
    *o = (struct store_order){.id = 7, .kind = REQUEST_RESTART, .ended = true, .done = done};
    (void)str_copy(o->member, NAME_SIZE, "pg2");
    (void)str_copy(o->text, TEXT_SIZE, text);
    store_has(8);
}

static void expect(const char *text)
{
    assert_string_equal(told, text);
    assert_int_equal(n_told, 1);
    for (size_t i = 0; i < AGENT_ACTIONS_MAX; i++) {
        assert_null(agent->actions[i].http);
        assert_null(agent->actions[i].bytes);
    }
    end();
    start();
}

/* ---- Tests ---- */

static void a_switchover_is_told_when_the_store_says_how_it_ended(void **state)
{
    (void)state;
    start();
    ask_switchover(REQUEST_SWITCHOVER, "", 0);
    tick();
    log_says(PROPOSE_DONE, APPLY_DONE);
    store_has(7);
    assert_string_equal(told, ""); /* It is under way. */
    outcome_is(true, "pg2 is primary");
    expect("200 Successfully switched over to \"pg2\"");

    ask_switchover(REQUEST_SWITCHOVER, "pg3", 0);
    log_says(PROPOSE_DONE, APPLY_DONE);
    outcome_is(true, "pg2 is primary");
    expect("200 Switched over to \"pg2\" instead of \"pg3\"");

    ask_switchover(REQUEST_FAILOVER, "pg2", 0);
    log_says(PROPOSE_DONE, APPLY_DONE);
    outcome_is(true, "pg2 is primary");
    expect("200 Successfully failed over to \"pg2\"");

    ask_switchover(REQUEST_SWITCHOVER, "pg3", 0);
    log_says(PROPOSE_DONE, APPLY_DONE);
    outcome_is(false, "pg3 is too far behind");
    expect("412 Switchover failed: pg3 is too far behind");

    ask_switchover(REQUEST_FAILOVER, "pg3", 0);
    log_says(PROPOSE_DONE, APPLY_DONE);
    outcome_is(false, "pg3 is not heard");
    expect("412 Failover failed: pg3 is not heard");

    ask_switchover(REQUEST_SWITCHOVER, "", 0);
    log_says(PROPOSE_DONE, APPLY_DONE);
    now_ms += SECONDS(60);
    tick();
    expect("503 Switchover status unknown after 60 seconds; operation may still be in progress");

    ask_switchover(REQUEST_SWITCHOVER, "", 1);
    log_says(PROPOSE_DONE, APPLY_DONE);
    tick();
    assert_string_equal(told, ""); /* The store here does not have it yet. */
    store_has(7);
    expect("202 Switchover scheduled");
    end();
}

/* Sent again as long as nobody can have it; never when somebody may. */
static void a_log_without_leader_is_tried_for_a_while(void **state)
{
    (void)state;
    start();
    ask_switchover(REQUEST_SWITCHOVER, "", 0);
    log_says(PROPOSE_NOT_LEADER, APPLY_DONE);
    tick();
    assert_int_equal(n_proposals, 2);
    now_ms += SECONDS(10);
    log_says(PROPOSE_BUSY, APPLY_DONE);
    expect("503 failed to write failover key into DCS: no Raft leader answered");

    ask_order(REQUEST_RESTART, 0);
    now_ms += SECONDS(10);
    log_says(PROPOSE_NOT_LEADER, APPLY_DONE);
    expect("503 failed to write it into the store: no Raft leader answered");

    ask_order(REQUEST_RESTART, 0);
    log_says(PROPOSE_UNKNOWN, APPLY_DONE);
    assert_int_equal(n_proposals, 1);
    expect("503 The outcome of the request is unknown: look at the cluster, then retry");
    end();
}

static void a_restart_is_told_with_the_members_words(void **state)
{
    (void)state;
    start();
    ask_order(REQUEST_RESTART, 0);
    log_says(PROPOSE_DONE, APPLY_DONE);
    order_ends(true, "restarted successfully");
    expect("200 restarted successfully");

    ask_order(REQUEST_RESTART, 0);
    log_says(PROPOSE_DONE, APPLY_DONE);
    order_ends(false, "restart conditions are not satisfied: not a replica");
    expect("503 restart conditions are not satisfied: not a replica");

    ask_order(REQUEST_REINIT, 0);
    log_says(PROPOSE_DONE, APPLY_DONE);
    store_has(8);
    expect("503 another order took the place of this one");

    ask_order(REQUEST_RESTART, 0);
    log_says(PROPOSE_DONE, APPLY_DONE);
    now_ms += SECONDS(359);
    tick();
    assert_string_equal(told, ""); /* PostgreSQL may take that long to start. */
    now_ms += SECONDS(1);
    tick();
    expect("503 It is not known how it ended: look at the cluster");

    ask_order(REQUEST_RESTART, 1);
    log_says(PROPOSE_DONE, APPLY_DONE);
    store_has(7);
    expect("202 Restart scheduled");

    ask_order(REQUEST_RESTART, 1);
    log_says(PROPOSE_DONE, APPLY_REFUSED_BUSY);
    expect("409 Another restart is already scheduled");

    agent->store.n_orders = 1;
    agent->store.orders[0] = (struct store_order){.id = 3, .kind = REQUEST_REINIT, .member = "pg2"};
    ask_order(REQUEST_RESTART, 0);
    log_says(PROPOSE_DONE, APPLY_REFUSED_BUSY);
    expect("503 reinitialize already in progress");

    ask_order(REQUEST_RESTART, 0);
    log_says(PROPOSE_DONE, APPLY_REFUSED_VALUE);
    expect("412 refused: bad value");
    end();
}

/* What others wrote before is looked at first: the request is handled once more with it. */
static void what_was_overtaken_is_handled_again(void **state)
{
    static const struct {
        enum command_kind kind;
        enum apply_result result;
        const char *otherwise; /* Each time somebody else came first. */
    } table[] = {
        {COMMAND_CONFIG_SET, APPLY_REFUSED_REVISION,
         "409 The configuration is being changed by others, too, or nobody leads Raft for long: "
         "look at it, then retry"},
        {COMMAND_REQUEST_END, APPLY_REFUSED_VALUE,
         "409 it changes all the time: look at it, then retry"},
        {COMMAND_REQUEST_END, APPLY_REFUSED_STATE,
         "409 it changes all the time: look at it, then retry"},
        {COMMAND_REQUEST_END, APPLY_UNCHANGED,
         "409 it changes all the time: look at it, then retry"},
        {COMMAND_ORDER_END, APPLY_REFUSED_STATE,
         "409 it changes all the time: look at it, then retry"},
    };

    (void)state;
    start();
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        ask_plain(table[i].kind);
        log_says(PROPOSE_DONE, table[i].result);
        store_has(6);
        assert_string_equal(told, ""); /* Not before the store here has it. */
        store_has(7);
        expect("again");

        may_again = false;
        ask_plain(table[i].kind);
        log_says(PROPOSE_DONE, table[i].result);
        store_has(7);
        expect(table[i].otherwise);
    }
    ask_switchover(REQUEST_SWITCHOVER, "", 0);
    log_says(PROPOSE_DONE, APPLY_REFUSED_BUSY);
    store_has(7);
    expect("again");
    may_again = false;
    ask_switchover(REQUEST_SWITCHOVER, "", 0);
    log_says(PROPOSE_DONE, APPLY_REFUSED_BUSY);
    store_has(7);
    expect("503 Another switchover or failover is pending");

    ask_plain(COMMAND_CONFIG_SET); /* Asked for twice it is the same. */
    log_says(PROPOSE_UNKNOWN, APPLY_DONE);
    store_has(1);
    expect("again");
    end();
}

static void what_is_written_is_told_when_it_is_here(void **state)
{
    static const struct {
        enum command_kind kind;
        const char *text;
    } table[] = {
        {COMMAND_CONFIG_SET, "200 JSON {\"ttl\":3}"},
        {COMMAND_REQUEST_END, "200 scheduled switchover deleted"},
        {COMMAND_ORDER_END, "200 scheduled restart deleted"},
        {COMMAND_EPOCH_UNFENCED, "200 On record: the primary is dead. Another one may take over"},
    };

    (void)state;
    start();
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        ask_plain(table[i].kind);
        log_says(PROPOSE_DONE, APPLY_DONE);
        store_has(6);
        assert_string_equal(told, "");
        store_has(7);
        expect(table[i].text);

        ask_plain(table[i].kind);
        now_ms += SECONDS(60);
        tick();
        expect("503 It is not known whether it was written: look at the cluster");
    }
    end();
}

/* A slot whose proposal is not answered stays taken: a late answer meets no other request. */
static void there_are_so_many_at_once(void **state)
{
    (void)state;
    start();
    for (size_t i = 0; i < AGENT_ACTIONS_MAX; i++) {
        ask_order(REQUEST_RESTART, 0);
    }
    assert_string_equal(told, "");
    ask_order(REQUEST_RESTART, 0);
    assert_string_equal(told, "503 Too many requests are pending");
    now_ms += SECONDS(360);
    tick();
    assert_int_equal(n_told, 1 + AGENT_ACTIONS_MAX);
    told[0] = '\0';
    ask_order(REQUEST_RESTART, 0);
    assert_string_equal(told, "503 Too many requests are pending");
    end();

    start();
    ask_order(REQUEST_RESTART, 0);
    agent_actions_close(agent);
    expect("503 The agent stops; the outcome is unknown");
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_switchover_is_told_when_the_store_says_how_it_ended),
        cmocka_unit_test(a_log_without_leader_is_tried_for_a_while),
        cmocka_unit_test(a_restart_is_told_with_the_members_words),
        cmocka_unit_test(what_was_overtaken_is_handled_again),
        cmocka_unit_test(what_is_written_is_told_when_it_is_here),
        cmocka_unit_test(there_are_so_many_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
