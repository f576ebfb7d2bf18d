/*
 * What is asked for over REST. A switchover or failover goes into the store as a
 * request, a restart or reinit of this member as an order, and the answer is given when the
 * store says how it ended (store_outcome, store_order); what is scheduled is answered when it
 * is in the store;
 * a change of the configuration, or of the mark that a pause makes, is answered when it is
 * in the store here, too. In Patroni's words.
 */
#include "agent/agent_state.h"
#include "base/log.h"
#include "base/str.h"

#define ACTION_LIMIT_MS SECONDS(60)
#define SEND_LIMIT_MS   SECONDS(10) /* Several elections. */

static struct action *free_slot(struct agent *a)
{
    for (size_t i = 0; i < AGENT_ACTIONS_MAX; i++) {
        if (a->actions[i].http == NULL && !a->actions[i].is_sent) {
            return &a->actions[i];
        }
    }
    return NULL;
}

/* The slot stays taken until the proposal is answered, too: a late answer must not
 * meet another request. */
static struct http_action *let_go(struct action *action)
{
    struct http_action *http = action->http;

    free(action->bytes);
    *action = (struct action){.agent = action->agent, .is_sent = action->is_sent};
    return http;
}

static void end(struct action *action, unsigned code, const char *text)
{
    http_action_end(let_go(action), code, text);
}

void agent_actions_close(struct agent *a)
{
    for (size_t i = 0; i < AGENT_ACTIONS_MAX; i++) {
        if (a->actions[i].http != NULL) {
            end(&a->actions[i], 503, "The agent stops; the outcome is unknown");
        }
    }
}

/* Patroni's answer to the second of two. */
static void end_busy(struct action *action)
{
    const struct agent *a = action->agent;
    const struct store_order *o = store_find_order(&a->store, action->to, action->scheduled);
    char text[TEXT_SIZE];

    if (action->scheduled) {
        end(action, 409, "Another restart is already scheduled");
    } else {
        (void)snprintf(text, sizeof(text), "%s already in progress",
                       o == NULL                   ? "another order is"
                       : o->kind == REQUEST_REINIT ? "reinitialize"
                                                   : request_kind_name(o->kind));
        end(action, 503, text);
    }
}

/* The request is handled once more when the store here is that new. */
static void begin_anew(struct action *action, uint64_t index)
{
    action->overtaken = true;
    action->request_id = MAX(index, 1);
    agent_mark_dirty(action->agent);
}

/* Others were first, or the store here is older than what is asked about. */
static bool was_overtaken(enum command_kind kind, enum apply_result result)
{
    if (kind == COMMAND_REQUEST_END || kind == COMMAND_ORDER_END) {
        return result != APPLY_DONE; /* Also if others ended it. */
    }
    return result == APPLY_REFUSED_REVISION ||
           (result == APPLY_REFUSED_BUSY && kind == COMMAND_REQUEST_SET);
}

static void on_set(void *data, const struct propose_result *result)
{
    struct action *action = data;
    struct agent *a = action->agent;

    action->is_sent = false;
    if (action->http == NULL) {
        return; /* Timed out meanwhile, or the agent stops. */
    }
    if (result->status == PROPOSE_UNKNOWN && action->kind == COMMAND_CONFIG_SET) {
        begin_anew(action, a->store.applied_index); /* Asked for twice it is the same. */
    } else if (result->status == PROPOSE_UNKNOWN) {
        end(action, 503, "The outcome of the request is unknown: look at the cluster, then retry");
    } else if (result->status != PROPOSE_DONE && clock_ms() < action->send_until_ms) {
        action->to_send = true; /* Nobody has it; the tick that follows sends it again. */
    } else if (result->status != PROPOSE_DONE) {
        end(action, 503,
            action->kind == COMMAND_REQUEST_SET
                ? "failed to write failover key into DCS: no Raft leader answered"
                : "failed to write it into the store: no Raft leader answered");
    } else if (was_overtaken(action->kind, result->result)) {
        begin_anew(action, result->index); /* What came before is not known here yet. */
    } else if (result->result == APPLY_REFUSED_BUSY) {
        end_busy(action);
    } else if (apply_result_is_refusal(result->result)) {
        end(action, 412, apply_result_name(result->result));
    } else {
        action->request_id = result->index;
        agent_mark_dirty(a);
    }
}

static void send_request(struct action *action)
{
    action->to_send = false;
    action->is_sent = true;
    agent_propose_bytes(action->agent, action->bytes, action->n_bytes, on_set, action);
}

static void ignore_warning(void *data, const char *text)
{
    (void)data;
    (void)text; /* Every agent logs it when it takes the configuration. */
}

int agent_change_config(void *data, const char *body, bool replace, struct command *ret_command,
                        struct err *err)
{
    const struct agent *a = data;
    char *json = conf_dynamic_change(a->store.config, body, replace, ignore_warning, NULL, err);
    int rv = -1;

    if (json == NULL) {
        return -1;
    }
    ret_command->kind = COMMAND_CONFIG_SET;
    ret_command->config_set.expect_revision = a->store.config_revision;
    if (str_copy(ret_command->config_set.config, CONFIG_SIZE, json)) {
        rv = 0;
    } else {
        (void)err_set(err, "the configuration would be larger than 256 KiB");
    }
    free(json);
    return rv;
}

/* The command's bytes, kept until it is answered. */
static int encode(struct action *action, const struct command *command, struct err *err)
{
    static uint8_t bytes[COMMAND_SIZE_MAX]; /* Only the loop's thread is ever here. */
    int size = command_encode(command, bytes, sizeof(bytes), err);

    if (size >= 0) {
        action->n_bytes = (size_t)size;
        action->bytes = xmalloc(action->n_bytes);
        memcpy(action->bytes, bytes, action->n_bytes);
    }
    return size;
}

/* How long a restart may take PostgreSQL is known; what is before it has the usual limit. */
static void fill_order(const struct agent *a, struct action *action, const struct command *command)
{
    const struct command_order_set *c = &command->order_set;

    if (command->kind == COMMAND_REQUEST_SET) {
        action->scheduled = command->request_set.at_us != 0;
    } else if (command->kind == COMMAND_ORDER_SET) {
        action->scheduled = c->at_us != 0;
        (void)str_copy(action->to, sizeof(action->to), c->member); /* As long. */
        if (c->kind == REQUEST_RESTART) {
            action->deadline_ms +=
                c->timeout_ms != 0 ? c->timeout_ms : a->dynamic.primary_start_timeout_ms;
        }
    }
}

void agent_on_request(void *data, struct http_action *http, const struct command *command)
{
    struct agent *a = data;
    struct action *action = free_slot(a);
    struct err err = {""};

    if (action == NULL) {
        http_action_end(http, 503, "Too many requests are pending");
        return;
    }
    *action = (struct action){
        .kind = command->kind,
        .http = http,
        .agent = a,
        .deadline_ms = clock_ms() + ACTION_LIMIT_MS,
        .send_until_ms = clock_ms() + SEND_LIMIT_MS,
    };
    if (command->kind == COMMAND_REQUEST_SET) {
        action->failover = command->request_set.kind == REQUEST_FAILOVER;
        (void)str_copy(action->to, sizeof(action->to), command->request_set.to);
    }
    fill_order(a, action, command);
    if (encode(action, command, &err) < 0) {
        end(action, 503, err.text);
        return;
    }
    send_request(action);
}

static void end_done(struct agent *a, struct action *action)
{
    const char *now_primary = a->store.primary.owner;
    char text[TEXT_SIZE];

    if (action->to[0] != '\0' && !str_equal(action->to, now_primary)) {
        (void)snprintf(text, sizeof(text), "Switched over to \"%s\" instead of \"%s\"", now_primary,
                       action->to);
    } else {
        (void)snprintf(text, sizeof(text), "Successfully %s over to \"%s\"",
                       action->failover ? "failed" : "switched", now_primary);
    }
    end(action, 200, text);
}

/* The store here is as new as the answer. */
static void end_applied(struct agent *a, struct action *action)
{
    bool overtaken = action->overtaken;
    enum command_kind kind = action->kind;
    struct http_action *http = let_go(action);

    if (overtaken && http_action_again(http)) {
        return;
    }
    if (overtaken && kind != COMMAND_CONFIG_SET && kind != COMMAND_REQUEST_SET) {
        http_action_end(http, 409, "it changes all the time: look at it, then retry");
    } else if (overtaken && kind == COMMAND_REQUEST_SET) {
        http_action_end(http, 503, "Another switchover or failover is pending");
    } else if (kind == COMMAND_REQUEST_SET) {
        http_action_end(http, 202, "Switchover scheduled");
    } else if (kind == COMMAND_ORDER_SET) {
        http_action_end(http, 202, "Restart scheduled");
    } else if (kind == COMMAND_REQUEST_END) {
        http_action_end(http, 200, "scheduled switchover deleted");
    } else if (kind == COMMAND_ORDER_END) {
        http_action_end(http, 200, "scheduled restart deleted");
    } else if (kind == COMMAND_EPOCH_UNFENCED) {
        http_action_end(http, 200, "On record: the primary is dead. Another one may take over");
    } else if (!overtaken) {
        http_action_end_json(http, a->store.config);
    } else {
        http_action_end(http, 409,
                        "The configuration is being changed by others, too, or nobody leads "
                        "Raft for long: look at it, then retry");
    }
}

static void look_at_applied(struct agent *a, struct action *action, uint64_t now_ms)
{
    if (action->request_id != 0 && a->store.applied_index >= action->request_id) {
        end_applied(a, action);
    } else if (now_ms >= action->deadline_ms) {
        end(action, 503, "It is not known whether it was written: look at the cluster");
    }
}

/* One that is due at once: how it ended. */
static void look_at_order(struct agent *a, struct action *action, uint64_t now_ms)
{
    const struct store_order *o =
        action->request_id != 0 ? store_find_order_by_id(&a->store, action->request_id) : NULL;
    bool is_here = action->request_id != 0 && a->store.applied_index >= action->request_id;

    if (o != NULL && o->ended) {
        end(action, o->done ? 200 : 503, o->text);
    } else if (is_here && o == NULL) {
        end(action, 503, "another order took the place of this one");
    } else if (now_ms >= action->deadline_ms) {
        end(action, 503, "It is not known how it ended: look at the cluster");
    }
}

static void look_at(struct agent *a, struct action *action, uint64_t now_ms)
{
    const struct store_outcome *outcome = &a->store.outcome;
    char text[TEXT_SIZE + 64];

    if (action->to_send) {
        send_request(action);
    } else if (action->kind == COMMAND_ORDER_SET && !action->scheduled) {
        look_at_order(a, action, now_ms);
    } else if (action->kind != COMMAND_REQUEST_SET || action->scheduled || action->overtaken) {
        look_at_applied(a, action, now_ms);
    } else if (action->request_id != 0 && outcome->request_id >= action->request_id) {
        if (outcome->request_id == action->request_id && !outcome->done) {
            (void)snprintf(text, sizeof(text), "%s failed: %s",
                           action->failover ? "Failover" : "Switchover", outcome->text);
            end(action, 412, text);
        } else {
            end_done(a, action);
        }
    } else if (now_ms >= action->deadline_ms) {
        (void)snprintf(text, sizeof(text),
                       "%s status unknown after %llu seconds; operation may still be in progress",
                       action->failover ? "Failover" : "Switchover",
                       (unsigned long long)(ACTION_LIMIT_MS / 1000));
        end(action, 503, text);
    }
}

void agent_actions_tick(struct agent *a, uint64_t now_ms)
{
    for (size_t i = 0; i < AGENT_ACTIONS_MAX; i++) {
        if (a->actions[i].http != NULL) {
            look_at(a, &a->actions[i], now_ms);
        }
    }
}
