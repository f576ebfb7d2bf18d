/*
 * Switchover and failover asked for over REST: the request goes into the store,
 * and the answer is given when the store says how it ended (store_outcome), in
 * Patroni's words.
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

static void end(struct action *action, unsigned code, const char *text)
{
    struct http_action *http = action->http;

    /* The slot stays taken until the proposal is answered, too: a late answer must
     * not meet another request. */
    *action = (struct action){.agent = action->agent, .is_sent = action->is_sent};
    http_action_end(http, code, text);
}

void agent_actions_close(struct agent *a)
{
    for (size_t i = 0; i < AGENT_ACTIONS_MAX; i++) {
        if (a->actions[i].http != NULL) {
            end(&a->actions[i], 503, "The agent stops; the outcome is unknown");
        }
    }
}

static void on_set(void *data, const struct propose_result *result)
{
    struct action *action = data;
    struct agent *a = action->agent;

    action->is_sent = false;
    if (action->http == NULL) {
        return; /* Timed out meanwhile, or the agent stops. */
    }
    if (result->status == PROPOSE_UNKNOWN) {
        end(action, 503, "The outcome of the request is unknown: look at the cluster, then retry");
    } else if (result->status != PROPOSE_DONE && clock_ms() < action->send_until_ms) {
        action->to_send = true; /* Nobody has it; the tick that follows sends it again. */
    } else if (result->status != PROPOSE_DONE) {
        end(action, 503, "failed to write failover key into DCS: no Raft leader answered");
    } else if (result->result == APPLY_REFUSED_BUSY) {
        end(action, 503, "Another switchover or failover is pending");
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

void agent_on_request(void *data, struct http_action *http, const struct command *request_set)
{
    struct agent *a = data;
    struct action *action = free_slot(a);
    struct err err = {""};
    int size;

    if (action == NULL) {
        http_action_end(http, 503, "Too many requests are pending");
        return;
    }
    *action = (struct action){
        .http = http,
        .agent = a,
        .deadline_ms = clock_ms() + ACTION_LIMIT_MS,
        .send_until_ms = clock_ms() + SEND_LIMIT_MS,
        .failover = request_set->request_set.kind == REQUEST_FAILOVER,
    };
    (void)str_copy(action->to, sizeof(action->to), request_set->request_set.to);
    size = command_encode(request_set, action->bytes, sizeof(action->bytes), &err);
    if (size < 0) {
        end(action, 503, err.text);
        return;
    }
    action->n_bytes = (size_t)size;
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

static void look_at(struct agent *a, struct action *action, uint64_t now_ms)
{
    const struct store_outcome *outcome = &a->store.outcome;
    char text[TEXT_SIZE + 64];

    if (action->to_send) {
        send_request(action);
        return;
    }
    if (action->request_id != 0 && outcome->request_id >= action->request_id) {
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
