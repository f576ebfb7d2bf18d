/*
 * Orders for a member, this one unless the path names another: POST and DELETE /restart, POST
 * /reinitialize; what waits for a restart, and what is scheduled. Here the body is read and
 * refused what can be refused at once, in Patroni's words; the order goes into the store, and
 * the member carries it out (core/order_rules.c).
 */
#include <inttypes.h>
#include <jansson.h>

#include "base/clock.h"
#include "http/http_routes.h"

#define EXAMPLE "send a JSON object such as {}"

void http_add_pending(json_t *object, const struct status *status)
{
    const struct pending_restart *p = &status->pending;
    json_t *reasons;

    if (p->n == 0) {
        return;
    }
    reasons = json_object();
    for (uint32_t i = 0; i < p->n; i++) {
        const struct pending_setting *s = &p->settings[i];
        json_t *reason = json_object();

        json_object_set_new(reason, "old_value", http_text(s->old_value));
        json_object_set_new(reason, "new_value", http_text(s->new_value));
        json_object_set_new(reasons, s->name, reason);
    }
    json_object_set_new(object, "pending_restart", json_true());
    json_object_set_new(object, "pending_restart_reason", reasons);
}

static void set_version(json_t *o, uint32_t version)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%" PRIu32 ".%" PRIu32, version / 10000, version % 10000);
    json_object_set_new(o, "postgres_version", json_string(text));
}

void http_add_scheduled_restart(json_t *object, const struct store *store, const char *member)
{
    const struct store_order *order = store_find_order(store, member, true);
    char at[CLOCK_TEXT_SIZE];
    json_t *o;

    if (order == NULL) {
        return;
    }
    o = json_object();
    json_object_set_new(o, "schedule", json_string(http_format_time(order->at_us, at, sizeof(at))));
    if (order->role[0] != '\0') {
        json_object_set_new(o, "role", json_string(order->role));
    }
    if (order->pg_version != 0) {
        set_version(o, order->pg_version);
    }
    if (order->pending_only) {
        json_object_set_new(o, "restart_pending", json_true());
    }
    if (order->timeout_ms != 0) {
        json_object_set_new(o, "timeout",
                            order->timeout_ms % 1000 == 0
                                ? json_integer((json_int_t)(order->timeout_ms / 1000))
                                : json_real((double)order->timeout_ms / 1000));
    }
    json_object_set_new(object, "scheduled_restart", o);
}

/* A time to come; missing is 0. False: the reply is made. */
static bool take_schedule(const struct http_request *r, const json_t *value, int64_t *ret_at_us,
                          struct http_reply *reply)
{
    bool has_zone = false;

    *ret_at_us = 0;
    if (value == NULL) {
        return true;
    }
    if (!json_is_string(value) ||
        !clock_parse_iso(json_string_value(value), ret_at_us, &has_zone)) {
        http_reply_text(reply, 422,
                        "Unable to parse scheduled timestamp: \"schedule\" must be a time such "
                        "as 2026-08-01T12:00:00+02:00");
        return false;
    }
    if (!has_zone) {
        http_reply_text(reply, 400, "Timezone information is mandatory for the scheduled restart");
        return false;
    }
    if (*ret_at_us <= r->view->wall_us) {
        http_reply_text(reply, 422, "Cannot schedule restart in the past");
        return false;
    }
    return true;
}

/* ---- What a restart depends on ---- */

static const char *take_role(const json_t *value, struct command_order_set *c)
{
    const char *role = json_string_value(value); /* NULL = no text. */

    if (role == NULL || (strcmp(role, "primary") != 0 && strcmp(role, "replica") != 0 &&
                         strcmp(role, "standby_leader") != 0)) {
        return "PostgreSQL role should be either primary, standby_leader, or replica";
    }
    (void)str_copy(c->role, sizeof(c->role), role); /* One of these: short. */
    return NULL;
}

/* "15.9" or "15". */
static const char *take_version(const json_t *value, struct command_order_set *c)
{
    const char *text = json_string_value(value);
    char *end = NULL;
    unsigned long major = 0, minor = 0;

    if (text != NULL && text[0] >= '0' && text[0] <= '9') {
        major = strtoul(text, &end, 10);
    }
    if (end != NULL && *end == '.' && end[1] >= '0' && end[1] <= '9') {
        minor = strtoul(end + 1, &end, 10);
    }
    if (end == NULL || *end != '\0' || major < 10 || major > 999 || minor > 9999) {
        return "PostgreSQL version should be in the first.major.minor format: \"15.9\"";
    }
    c->pg_version = (uint32_t)(major * 10000 + minor);
    return NULL;
}

static const char *take_timeout(const json_t *value, struct command_order_set *c)
{
    double seconds = json_is_number(value) ? json_number_value(value) : 0;

    if (json_is_string(value)) {
        (void)http_parse_seconds(json_string_value(value), &seconds); /* Else it is still 0. */
    }
    if (!(seconds >= 0.001 && seconds <= 7 * 86400)) { /* 0 ms would be none. */
        return "Timeout should be a positive number of seconds";
    }
    c->timeout_ms = (uint64_t)(seconds * 1000);
    return NULL;
}

/* As Patroni: that the key is there counts, whatever it says. */
static const char *take_pending(const json_t *value, struct command_order_set *c)
{
    (void)value;
    c->pending_only = true;
    return NULL;
}

static const struct {
    const char *key;
    const char *(*take)(const json_t *value, struct command_order_set *c); /* NULL, or why not. */
} filters[] = {
    {"role", take_role},
    {"postgres_version", take_version},
    {"timeout", take_timeout},
    {"restart_pending", take_pending},
};

/* False: `text` says why not, in Patroni's words, and what there was. */
static bool take_filter(const char *key, const json_t *value, struct command_order_set *c,
                        char *text, size_t size)
{
    const char *wrong;
    char *got;

    if (strcmp(key, "schedule") == 0) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(filters); i++) {
        if (strcmp(filters[i].key, key) == 0) {
            wrong = filters[i].take(value, c);
            if (wrong == NULL) {
                return true;
            }
            got = json_dumps(value, JSON_ENCODE_ANY);
            (void)snprintf(text, size, "%s, got %.60s", wrong, got);
            free(got);
            return false;
        }
    }
    (void)snprintf(text, size,
                   "Unknown filter for the scheduled restart: %.60s, expected schedule, role, "
                   "postgres_version, timeout or restart_pending",
                   key);
    return false;
}

static bool take_filters(json_t *body, struct command_order_set *c, char *text, size_t size)
{
    const char *key;
    json_t *value;

    json_object_foreach(body, key, value)
    {
        if (!take_filter(key, value, c, text, size)) {
            return false;
        }
    }
    return true;
}

/* Whom it is about: this member, or the one that the path names. */
static const char *target(const struct http_request *r)
{
    return r->member != NULL ? r->member : r->view->self.status.name;
}

/* What it says of itself; NULL = it is not heard, or there is none. */
static const struct status *target_status(const struct http_request *r)
{
    const struct view *v = r->view;
    const struct store_member *m;

    if (str_equal(target(r), v->self.status.name)) {
        return &v->self.status;
    }
    m = store_find_member(v->store, target(r));
    return m != NULL ? http_member_status(v, m) : NULL;
}

static bool knows(const struct http_request *r, struct http_reply *reply)
{
    const struct status *s = target_status(r);
    char text[128];

    if (!r->view->raft.caught_up) {
        http_reply_text(reply, 503, "this node does not know the state of the cluster yet");
    } else if (s == NULL) { /* It would wait for the agent, and happen whenever that comes. */
        (void)snprintf(text, sizeof(text), "the agent of %s is not heard", target(r));
        http_reply_text(reply, 503, text);
    } else if (s->mode == MODE_WITNESS) {
        http_reply_text(reply, 503, "a witness has no PostgreSQL");
    } else {
        return true;
    }
    return false;
}

static struct command_order_set *begin_order(const struct http_request *r, enum request_kind kind,
                                             struct http_reply *reply)
{
    struct command_order_set *c = &reply->command.order_set;

    reply->command.kind = COMMAND_ORDER_SET;
    *c = (struct command_order_set){.kind = kind, .time_us = r->view->wall_us};
    (void)str_copy(c->member, sizeof(c->member), target(r)); /* A member's name. */
    (void)str_copy(c->who, sizeof(c->who), r->client);       /* Cut is fine: for people. */
    return c;
}

/* Of another member the order in the store tells, and it itself when the order comes. */
static bool is_busy(const struct http_request *r, struct http_reply *reply)
{
    const struct view *v = r->view;
    char text[128];

    if (v->op.running == ACTION_NONE || target_status(r) != &v->self.status) {
        return false;
    }
    (void)snprintf(text, sizeof(text), "%s already in progress", node_action_name(v->op.running));
    http_reply_text(reply, 503, text);
    return true;
}

/* What stands in the way now. */
static bool may_restart(const struct http_request *r, bool scheduled, struct http_reply *reply)
{
    const struct view *v = r->view;

    if (scheduled && store_find_order(v->store, target(r), true) != NULL) {
        http_reply_text(reply, 409, "Another restart is already scheduled");
    } else if (!scheduled && is_busy(r, reply)) {
        return false;
    } else if (!scheduled && target_status(r)->pg_state == PG_STATE_STARTING) {
        http_reply_text(reply, 503, "postgres is still starting");
    } else {
        return true;
    }
    return false;
}

void http_handle_restart(const struct http_request *r, struct http_reply *reply)
{
    json_t *body = http_read_body(r, NULL, true, EXAMPLE, reply); /* Keys: see take_filter(). */
    struct command_order_set *c;
    char text[256];
    bool fine;

    if (body == NULL) {
        return;
    }
    c = begin_order(r, REQUEST_RESTART, reply);
    fine = take_filters(body, c, text, sizeof(text));
    if (r->view->conf.pause && json_object_get(body, "schedule") != NULL) { /* First, as there. */
        http_reply_text(reply, 500, "Can't schedule restart in the paused state");
    } else if (!fine) {
        http_reply_text(reply, 400, text);
    } else if (take_schedule(r, json_object_get(body, "schedule"), &c->at_us, reply) &&
               knows(r, reply) && may_restart(r, c->at_us != 0, reply)) {
        reply->has_command = true;
    }
    json_decref(body);
}

/* Of none, id 0, nothing ends: but what the log refuses is known here afterwards, and all that
 * was written before it, perhaps by another node just now (http_is_latest()). */
void http_handle_restart_delete(const struct http_request *r, struct http_reply *reply)
{
    const struct store_order *o;
    struct command_order_end *c = &reply->command.order_end;
    struct sbuf b;
    bool found;

    if (!knows(r, reply)) {
        return;
    }
    o = store_find_order(r->view->store, target(r), true);
    found = o != NULL && !o->begun;
    if (!found && http_is_latest(r)) {
        http_reply_text(reply, 404, "no restarts are scheduled");
        return;
    }
    reply->has_command = true;
    reply->command.kind = COMMAND_ORDER_END;
    *c = (struct command_order_end){.order_id = found ? o->id : 0, .time_us = r->view->wall_us};
    (void)str_copy(c->node, sizeof(c->node), r->view->self.status.name); /* As long. */
    sbuf_init(&b, c->text, sizeof(c->text));
    sbuf_printf(&b, "taken back by %s", r->client);
}

void http_handle_reinitialize(const struct http_request *r, struct http_reply *reply)
{
    static const char *const keys[] = {"force", "from_leader", "from-leader", NULL};
    json_t *body = http_read_body(r, keys, true, EXAMPLE, reply);
    const struct view *v = r->view;
    const struct store_member *leader = http_leader(v);
    struct command_order_set *c;
    bool force, from_leader;

    if (body == NULL) {
        return;
    }
    force = http_is_yes(json_object_get(body, "force"));
    from_leader = http_is_yes(json_object_get(body, "from_leader")) || /* No other method. */
                  http_is_yes(json_object_get(body, "from-leader"));   /* So in Patroni's manual. */
    json_decref(body);
    if (!knows(r, reply)) {
        return;
    }
    if (v->store->primary.has_owner && str_equal(v->store->primary.owner, target(r))) {
        http_reply_text(reply, 503, "I am the leader, can not reinitialize");
    } else if (leader == NULL) {
        http_reply_text(reply, 503, "Cluster has no leader, can not reinitialize");
    } else if (force || !is_busy(r, reply)) {
        c = begin_order(r, REQUEST_REINIT, reply);
        c->force = force;        /* Over another order, */
        c->pending_only = force; /* and over what runs. */
        (void)str_copy(c->role, sizeof(c->role), from_leader ? "primary" : ""); /* Fits. */
        reply->has_command = true;
    }
}
