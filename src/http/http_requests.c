/*
 * POST /switchover and /failover: reads the body, refuses what can be refused at
 * once (Patroni's codes and words), and makes the command for the store. Whether
 * it then happens is decided by core, and told by the agent.
 */
#include <jansson.h>

#include "http/http_routes.h"

struct wish {
    enum request_kind kind;
    char from[NAME_SIZE];
    char to[NAME_SIZE];
};

#define EXAMPLE_SWITCHOVER                                                                    \
    "send a JSON body such as {\"leader\": \"pg1\"} or {\"leader\": \"pg1\", \"candidate\": " \
    "\"pg2\"}"
#define EXAMPLE_FAILOVER "send a JSON body such as {\"candidate\": \"pg2\"}"

static bool take_name(const json_t *body, const char *key, char *name, struct http_reply *reply)
{
    const json_t *value = json_object_get(body, key);
    char text[128];

    if (value == NULL || json_is_null(value)) {
        return true;
    }
    if (!json_is_string(value) || json_string_length(value) >= NAME_SIZE) {
        (void)snprintf(text, sizeof(text), "\"%s\" must be a member's name", key);
        http_reply_text(reply, 400, text);
        return false;
    }
    (void)str_copy(name, NAME_SIZE, json_string_value(value)); /* Length was checked. */
    return true;
}

static bool parse(const struct http_request *r, const char *example, struct wish *wish,
                  struct http_reply *reply)
{
    json_error_t error;
    json_t *body = json_loads(r->body, 0, &error);
    char text[512];
    bool fine;

    if (!json_is_object(body)) {
        (void)snprintf(text, sizeof(text), "%s: %s",
                       r->body[0] == '\0' ? "The request has no body"
                                          : "The body is not a JSON object",
                       example);
        http_reply_text(reply, 400, text);
        json_decref(body);
        return false;
    }
    fine = take_name(body, "leader", wish->from, reply) &&
           take_name(body, "member", wish->to, reply) &&
           take_name(body, "candidate", wish->to, reply);
    if (fine && json_object_get(body, "scheduled_at") != NULL &&
        !json_is_null(json_object_get(body, "scheduled_at"))) {
        http_reply_text(reply, 400,
                        wish->kind == REQUEST_FAILOVER
                            ? "Failover can't be scheduled"
                            : "Scheduled switchover is not supported yet: ask when it is due");
        fine = false;
    }
    json_decref(body);
    return fine;
}

/* The store's limits first, then what the view knows. */
static bool check(const struct view *v, const struct wish *w, struct http_reply *reply)
{
    const struct store_member *leader = http_leader(v);
    const struct store_member *to = store_find_member(v->store, w->to);

    if (!v->raft.caught_up) {
        http_reply_text(reply, 503, "this node does not know the state of the cluster yet");
    } else if (w->from[0] != '\0' && (leader == NULL || !str_equal(leader->name, w->from))) {
        http_reply_text(reply, 412, "leader name does not match");
    } else if (v->conf.pause && w->to[0] == '\0') {
        http_reply_text(reply, 400,
                        "Switchover is possible only to a specific candidate in a paused state");
    } else if (w->from[0] != '\0' && str_equal(w->from, w->to)) {
        http_reply_text(reply, 400, "Switchover target and source are the same");
    } else if (w->to[0] != '\0' && (to == NULL || to->mode == MODE_WITNESS)) {
        http_reply_text(reply, 412, "candidate does not exists");
    } else if (leader != NULL && to == leader) {
        http_reply_text(reply, 412, "candidate is the primary already");
    } else {
        return true;
    }
    return false;
}

static void make_command(const struct http_request *r, const struct wish *w,
                         struct http_reply *reply)
{
    struct command_request_set *c = &reply->command.request_set;

    reply->has_command = true;
    reply->command.kind = COMMAND_REQUEST_SET;
    c->kind = w->kind;
    (void)str_copy(c->from, sizeof(c->from), w->from);
    (void)str_copy(c->to, sizeof(c->to), w->to);
    c->at_us = 0;
    (void)str_copy(c->who, sizeof(c->who), r->client); /* Cut is fine: for people. */
    c->time_us = r->view->wall_us;
}

void http_handle_switchover(const struct http_request *r, struct http_reply *reply)
{
    struct wish wish = {.kind = REQUEST_SWITCHOVER};

    if (!parse(r, EXAMPLE_SWITCHOVER, &wish, reply)) {
        return;
    }
    if (wish.from[0] == '\0') {
        http_reply_text(
            reply, 400,
            "Switchover could be performed only from a specific leader: " EXAMPLE_SWITCHOVER);
    } else if (check(r->view, &wish, reply)) {
        make_command(r, &wish, reply);
    }
}

/* Only of a primary that a pause left unfenced, and that nobody hears. */
static bool may_be_dead(const struct view *v, const char *name, struct http_reply *reply)
{
    const struct store_primary *p = &v->store->primary;
    const struct store_member *m = store_find_member(v->store, p->owner);
    char text[256];

    if (!v->raft.caught_up) {
        http_reply_text(reply, 503, "this node does not know the state of the cluster yet");
        return false;
    }
    if (!p->has_owner || !p->unfenced || !str_equal(p->owner, name)) {
        (void)snprintf(text, sizeof(text),
                       "%s is not a primary that is unfenced since a pause: nothing stands in the "
                       "way of a failover",
                       name);
        http_reply_text(reply, 412, text);
        return false;
    }
    /* Under another id it comes anew, and is not that owner any more. */
    if (m != NULL && m->id == p->owner_id && http_member_status(v, m) != NULL) {
        (void)snprintf(text, sizeof(text), "the agent of %s is heard: ask for a switchover", name);
        http_reply_text(reply, 412, text);
        return false;
    }
    return true;
}

void http_handle_primary_is_dead(const struct http_request *r, struct http_reply *reply)
{
    struct command_epoch_unfenced *c = &reply->command.epoch_unfenced;
    json_t *body = json_loads(r->body, 0, NULL);
    char name[NAME_SIZE] = "";
    bool fine = take_name(body, "primary", name, reply);
    struct sbuf b;

    json_decref(body);
    if (fine && name[0] == '\0') {
        http_reply_text(reply, 400, "send a JSON body such as {\"primary\": \"pg1\"}");
        return;
    }
    if (!fine || !may_be_dead(r->view, name, reply)) {
        return;
    }
    reply->has_command = true;
    reply->command.kind = COMMAND_EPOCH_UNFENCED;
    *c = (struct command_epoch_unfenced){.expect_epoch = r->view->store->primary.epoch,
                                         .unfenced = false,
                                         .time_us = r->view->wall_us};
    (void)str_copy(c->node, sizeof(c->node), r->view->self.status.name); /* As long. */
    (void)str_copy(c->rule, sizeof(c->rule), "primary-is-dead");
    sbuf_init(&b, c->evidence, sizeof(c->evidence));
    sbuf_printf(&b, "ordered by %s: %s is dead and writes no more", r->client, name);
}

void http_handle_failover(const struct http_request *r, struct http_reply *reply)
{
    struct wish wish = {.kind = REQUEST_FAILOVER};

    if (!parse(r, EXAMPLE_FAILOVER, &wish, reply)) {
        return;
    }
    if (wish.to[0] == '\0') {
        http_reply_text(
            reply, 400,
            "Failover could be performed only to a specific candidate: " EXAMPLE_FAILOVER);
        return;
    }
    if (wish.from[0] != '\0') {
        wish.kind = REQUEST_SWITCHOVER; /* As Patroni: a failover from someone is a switchover. */
    }
    if (check(r->view, &wish, reply)) {
        make_command(r, &wish, reply);
    }
}
