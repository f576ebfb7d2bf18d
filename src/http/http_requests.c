/*
 * POST /switchover and /failover, DELETE /switchover: reads the body, refuses what can be refused
 * at once (Patroni's codes and words), and makes the command for the store. Whether it then happens
 * is decided by core, and told by the agent.
 */
#include <jansson.h>

#include "base/clock.h"
#include "http/http_routes.h"

struct wish {
    enum request_kind kind;
    char from[NAME_SIZE];
    char to[NAME_SIZE];
    bool is_scheduled;
    int64_t at_us; /* Then; 0 = now. */
};

#define EXAMPLE_SWITCHOVER                                                                    \
    "send a JSON body such as {\"leader\": \"pg1\"} or {\"leader\": \"pg1\", \"candidate\": " \
    "\"pg2\"}"
#define EXAMPLE_FAILOVER "send a JSON body such as {\"candidate\": \"pg2\"}"
#define EXAMPLE_DEAD     "send a JSON body such as {\"primary\": \"pg1\"}"

static bool take_name(const json_t *body, const char *key, char *name, struct http_reply *reply)
{
    const json_t *value = json_object_get(body, key);
    char text[128];

    if (value == NULL || json_is_null(value) ||
        (json_is_string(value) && json_string_length(value) == 0)) {
        return true; /* It says nothing; another key may. */
    }
    if (!json_is_string(value) || json_string_length(value) >= NAME_SIZE) {
        (void)snprintf(text, sizeof(text), "\"%s\" must be a member's name", key);
        http_reply_text(reply, 400, text);
        return false;
    }
    (void)str_copy(name, NAME_SIZE, json_string_value(value)); /* Length was checked. */
    return true;
}

static bool refuse(struct http_reply *reply, unsigned code, const char *text)
{
    http_reply_text(reply, code, text);
    return false;
}

/* When: a moment to come, with its timezone. */
static bool take_schedule(const struct view *v, const json_t *body, struct wish *w,
                          struct http_reply *reply)
{
    const json_t *value = json_object_get(body, "scheduled_at");
    bool has_zone;

    if (value == NULL || json_is_null(value) ||
        (json_is_string(value) && json_string_length(value) == 0)) {
        return true;
    }
    if (w->kind == REQUEST_FAILOVER) {
        return refuse(reply, 400, "Failover can't be scheduled");
    }
    if (v->conf.pause) {
        return refuse(reply, 400, "Can't schedule switchover in the paused state");
    }
    if (!json_is_string(value) ||
        !clock_parse_iso(json_string_value(value), &w->at_us, &has_zone)) {
        return refuse(
            reply, 422,
            "Unable to parse scheduled timestamp: \"scheduled_at\" must be a time such as "
            "2026-08-01T12:00:00+02:00");
    }
    if (!has_zone) {
        return refuse(reply, 400, "Timezone information is mandatory for the scheduled switchover");
    }
    if (w->at_us < v->wall_us) {
        return refuse(reply, 422, "Cannot schedule switchover in the past");
    }
    w->is_scheduled = true;
    return true;
}

/* In Patroni's order, so that of several mistakes the same one is told. */
static bool parse(const struct http_request *r, const char *example, struct wish *w,
                  struct http_reply *reply)
{
    static const char *const keys[] = {"leader", "candidate", "member", "scheduled_at", NULL};
    json_t *body = http_read_body(r, keys, false, example, reply);
    bool fine = body != NULL && take_name(body, "leader", w->from, reply) &&
                take_name(body, "member", w->to, reply) &&
                take_name(body, "candidate", w->to, reply);

    if (fine && w->kind == REQUEST_FAILOVER && w->to[0] == '\0') {
        fine =
            refuse(reply, 400,
                   "Failover could be performed only to a specific candidate: " EXAMPLE_FAILOVER);
    } else if (fine && w->kind == REQUEST_SWITCHOVER && w->from[0] == '\0') {
        fine = refuse(
            reply, 400,
            "Switchover could be performed only from a specific leader: " EXAMPLE_SWITCHOVER);
    }
    fine = fine && take_schedule(r->view, body, w, reply);
    json_decref(body);
    return fine;
}

/* It was stopped on purpose, and nobody has heard of it since. */
static bool is_gone(const struct view *v, const struct store_member *m)
{
    return m->last_state == PG_STATE_STOPPED && http_member_status(v, m) == NULL;
}

static bool is_candidate(const struct view *v, const struct store_member *m,
                         const struct store_member *leader)
{
    return m->mode == MODE_POSTGRES && m != leader && !m->nofailover && !is_gone(v, m);
}

static bool none_possible(struct http_reply *reply, const struct wish *w, const char *why)
{
    char text[128];

    (void)snprintf(text, sizeof(text), "%s is not possible: %s",
                   w->kind == REQUEST_FAILOVER ? "failover" : "switchover", why);
    return refuse(reply, 412, text);
}

/* To whoever is best. What is judged by positions and the like is core's to say. */
static bool check_any(const struct view *v, const struct wish *w, const struct store_member *leader,
                      struct http_reply *reply)
{
    uint32_t n_others = 0, n_good = 0, n_sync = 0;

    for (uint32_t i = 0; i < v->store->n_members; i++) {
        const struct store_member *m = &v->store->members[i];

        n_others += m->mode == MODE_POSTGRES && m != leader ? 1 : 0;
        n_good += is_candidate(v, m, leader) ? 1 : 0;
        n_sync += http_is_synchronous(v, m->name) ? 1 : 0;
    }
    if (v->conf.sync_mode != SYNC_OFF && n_sync == 0) {
        return none_possible(reply, w, "can not find sync_standby");
    }
    if (n_others == 0) {
        return none_possible(reply, w, "cluster does not have members except leader");
    }
    return n_good > 0 || none_possible(reply, w, "no good candidates have been found");
}

static bool check_named(const struct view *v, const struct wish *w,
                        const struct store_member *leader, struct http_reply *reply)
{
    const struct store_member *to = store_find_member(v->store, w->to);
    char text[256];

    if (to == NULL || to->mode == MODE_WITNESS) {
        return refuse(reply, 412, "candidate does not exists");
    }
    if (leader != NULL && to == leader) {
        return refuse(reply, 412, "candidate is the primary already");
    }
    if (w->kind == REQUEST_SWITCHOVER && v->conf.sync_mode != SYNC_OFF &&
        !http_is_synchronous(v, w->to)) {
        (void)snprintf(text, sizeof(text),
                       "candidate name does not match with sync_standby: %s is not in the "
                       "synchronous set of %s",
                       w->to, w->from);
        return refuse(reply, 412, text);
    }
    return !is_gone(v, to) || none_possible(reply, w, "no good candidates have been found");
}

/* What the view knows; by the time that it is acted on it is judged again. */
static bool check(const struct view *v, const struct wish *w, struct http_reply *reply)
{
    const struct store_member *leader = http_leader(v);

    if (!v->raft.caught_up) {
        return refuse(reply, 503, "this node does not know the state of the cluster yet");
    }
    if (v->conf.pause && w->to[0] == '\0') {
        return refuse(reply, 400,
                      "Switchover is possible only to a specific candidate in a paused state");
    }
    if (w->from[0] != '\0' && str_equal(w->from, w->to)) {
        return refuse(reply, 400, "Switchover target and source are the same");
    }
    if (w->from[0] != '\0' && (leader == NULL || !str_equal(leader->name, w->from))) {
        return refuse(reply, 412, "leader name does not match");
    }
    if (w->is_scheduled) { /* Who could take over then is not known now. */
        return w->to[0] == '\0' || store_find_member(v->store, w->to) != NULL ||
               refuse(reply, 412, "candidate does not exists");
    }
    return w->to[0] != '\0' ? check_named(v, w, leader, reply) : check_any(v, w, leader, reply);
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
    c->at_us = w->at_us;
    (void)str_copy(c->who, sizeof(c->who), r->client); /* Cut is fine: for people. */
    c->time_us = r->view->wall_us;
}

static void make_end(const struct http_request *r, const char *what, struct http_reply *reply)
{
    const struct store *store = r->view->store;
    struct command_request_end *c = &reply->command.request_end;
    struct sbuf b;

    reply->has_command = true;
    reply->command.kind = COMMAND_REQUEST_END;
    *c = (struct command_request_end){.request_id = store->request.id,
                                      .expect_epoch = store->primary.epoch,
                                      .expect_owned = store->primary.has_owner,
                                      .time_us = r->view->wall_us};
    (void)str_copy(c->node, sizeof(c->node), r->view->self.status.name); /* As long. */
    sbuf_init(&b, c->text, sizeof(c->text));
    sbuf_printf(&b, "%s by %s", what, r->client);
}

/* One that is due is under way. */
static bool is_for_later(const struct view *v)
{
    const struct store_request *request = &v->store->request;

    return request->id != 0 && request->at_us > v->wall_us;
}

static void ask(const struct http_request *r, enum request_kind kind, const char *example,
                struct http_reply *reply)
{
    struct wish wish = {.kind = kind};

    if (!parse(r, example, &wish, reply)) {
        return;
    }
    if (wish.from[0] != '\0') {
        wish.kind = REQUEST_SWITCHOVER; /* As Patroni: a failover from someone is a switchover. */
    }
    if (!check(r->view, &wish, reply)) {
        return;
    }
    if (r->view->store->request.id != 0 && !is_for_later(r->view)) {
        http_reply_text(reply, 503, "Another switchover or failover is pending");
    } else if (is_for_later(r->view)) {
        make_end(r, "replaced", reply);
        reply->is_first = true;
    } else {
        make_command(r, &wish, reply);
    }
}

void http_handle_switchover(const struct http_request *r, struct http_reply *reply)
{
    ask(r, REQUEST_SWITCHOVER, EXAMPLE_SWITCHOVER, reply);
}

void http_handle_failover(const struct http_request *r, struct http_reply *reply)
{
    ask(r, REQUEST_FAILOVER, EXAMPLE_FAILOVER, reply);
}

static bool is_scheduled(const struct store_request *request)
{
    return request->id != 0 && request->at_us != 0 && request->kind == REQUEST_SWITCHOVER;
}

/* Of what others wrote just now a node that follows knows nothing yet: a command that ends
 * nothing is refused by the log, and behind it the store here is as new. */
static void look_again(const struct http_request *r, struct http_reply *reply)
{
    make_end(r, "asked for", reply);
    reply->command.request_end.request_id = 0;
}

/* One that is due already is under way, and not to be taken back. */
void http_handle_switchover_delete(const struct http_request *r, struct http_reply *reply)
{
    const struct store_request *request = &r->view->store->request;

    if (!r->view->raft.caught_up) {
        http_reply_text(reply, 503, "this node does not know the state of the cluster yet");
    } else if (!is_scheduled(request) && !http_is_latest(r)) {
        look_again(r, reply);
    } else if (!is_scheduled(request)) {
        http_reply_text(reply, 404, "no switchover is scheduled");
    } else if (!is_for_later(r->view)) {
        http_reply_text(reply, 409, "the scheduled switchover is due already");
    } else {
        make_end(r, "deleted", reply);
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
    static const char *const keys[] = {"primary", NULL};
    struct command_epoch_unfenced *c = &reply->command.epoch_unfenced;
    json_t *body = http_read_body(r, keys, false, EXAMPLE_DEAD, reply);
    char name[NAME_SIZE] = "";
    bool fine = body != NULL && take_name(body, "primary", name, reply);
    struct sbuf b;

    json_decref(body);
    if (fine && name[0] == '\0') {
        http_reply_text(reply, 400, "The body names no primary: " EXAMPLE_DEAD);
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
