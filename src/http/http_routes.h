/*
 * What the paths answer, as pure functions of a view: no socket, no library of
 * HTTP, so that every code and body is tested without one. The table of routes
 * is in http_routes.c.
 */
#ifndef VECHE_HTTP_HTTP_ROUTES_H
#define VECHE_HTTP_HTTP_ROUTES_H

#include "base/kv.h"
#include "base/str.h"
#include "core/decide.h"
#include "http/http.h"

struct json_t;

struct http_request {
    const char *method;
    const char *path; /* Without the query. */
    uint64_t now_ms;  /* Of the clock of view.now_ms; the view is a little older. */
    const struct view *view;
    const struct decision *decision;
    const char *config; /* Dynamic configuration as JSON; NULL = none. */
    const struct http_stats *stats;
    const struct kv_list *query;    /* Parameters behind the '?'. */
    const char *body;               /* Terminated; "" = none. */
    bool may_set_commands;          /* Settings that are commands, or code to load. */
    const char *client;             /* Address of the one who asks, for the ledger. */
    const char *member;             /* Whom it is for; NULL = this node. See http_member_path. */
    const char *if_match;           /* The version it is about, an ETag; NULL = any. */
    bool is_again;                  /* The store here is newer than when it was first handled. */
    const struct http_hooks *hooks; /* For changes of the configuration only. */
};

struct http_reply {
    unsigned code;
    const char *content_type; /* A constant. */
    struct strbuf body;       /* Owned; strbuf_deinit. */
    bool has_age;             /* X-Veche-Age-Ms: */
    uint64_t age_ms;          /* how old what was seen of PostgreSQL is. */
    char etag[16];            /* Version of what is told; "" = none. */
    bool wants_events;        /* Do not answer: send events from now on. */
    bool wants_reload;        /* Do not answer yet: ask for that; */
    bool has_command;         /* hand this over; */
    bool is_first;            /* when it is done, handle the request once more. */
    struct command command;
};

enum http_access {
    HTTP_SAFE,   /* Anybody. */
    HTTP_UNSAFE, /* See http_access.h. */
};

struct http_route {
    const char *method; /* "GET" also serves HEAD and OPTIONS. */
    const char *path;
    enum http_access access;
    void (*handle)(const struct http_request *request, struct http_reply *reply);
};

/* Of "http://pg1:8008/primary", as a proxy may ask, "/primary". */
const char *http_path_of(const char *url);

/* By method and first word of the path. NULL: no such operation (501). A GET, HEAD or OPTIONS
 * always has one: what it does not name is unavailable. */
const struct http_route *http_find_route(const char *method, const char *path);

/* "/members/pg2/restart": what an operator's command asks of another member by way of the agent
 * beside it. The path that is meant ("/restart"), and the name in `member`; NULL if the path is
 * not of this kind. */
const char *http_member_path(const char *path, char *member, size_t size);
/* Whether the route's handler heeds request->member: all others are this node's alone. */
bool http_heeds_member(const struct http_route *route);

/* Sets code and a text body. */
void http_reply_text(struct http_reply *reply, unsigned code, const char *text);

/* http_health.c */
void http_handle_primary(const struct http_request *request, struct http_reply *reply);
void http_handle_unavailable(const struct http_request *request, struct http_reply *reply);
void http_handle_leader(const struct http_request *request, struct http_reply *reply);
void http_handle_replica(const struct http_request *request, struct http_reply *reply);
void http_handle_sync(const struct http_request *request, struct http_reply *reply);
void http_handle_async(const struct http_request *request, struct http_reply *reply);
void http_handle_read_only_sync(const struct http_request *request, struct http_reply *reply);
void http_handle_read_only(const struct http_request *request, struct http_reply *reply);
void http_handle_read_only_quorum(const struct http_request *request, struct http_reply *reply);
void http_handle_health(const struct http_request *request, struct http_reply *reply);
void http_handle_liveness(const struct http_request *request, struct http_reply *reply);
void http_handle_readiness(const struct http_request *request, struct http_reply *reply);

/* http_patroni.c: the body of GET /patroni and of every health answer. */
void http_handle_patroni(const struct http_request *request, struct http_reply *reply);
void http_add_patroni_body(const struct http_request *request, struct http_reply *reply);

/* http_cluster.c */
void http_handle_cluster(const struct http_request *request, struct http_reply *reply);
void http_handle_events(const struct http_request *request, struct http_reply *reply);
void http_handle_history(const struct http_request *request, struct http_reply *reply);

/* http_health.c */
void http_tell_age(const struct http_request *r,
                   struct http_reply *reply); /* Of the observation. */

/* http_failsafe.c */
void http_handle_failsafe(const struct http_request *request, struct http_reply *reply);
void http_handle_failsafe_post(const struct http_request *request, struct http_reply *reply);

/* http_metrics.c */
struct http_metric {
    const char *name;
    const char *type;
    const char *help;
    double value;
};
void http_add_metrics(struct strbuf *b, const struct view *v, const struct http_metric *m,
                      size_t n);

/* http_guard.c */
const char *http_fenced(const struct view *view); /* "yes", "partly", "no" */
void http_add_guard(struct json_t *veche, const struct view *view);
void http_add_guard_metrics(struct strbuf *b, const struct view *v);

void http_handle_metrics(const struct http_request *request, struct http_reply *reply);

/* http_page.c */
void http_handle_page(const struct http_request *request, struct http_reply *reply);

/* http_requests.c */
void http_handle_switchover(const struct http_request *request, struct http_reply *reply);
void http_handle_primary_is_dead(const struct http_request *request, struct http_reply *reply);
void http_handle_switchover_delete(const struct http_request *request, struct http_reply *reply);
void http_handle_failover(const struct http_request *request, struct http_reply *reply);

/* http_restart.c */
/* pending_restart and its reasons, if there are any. */
void http_add_pending(struct json_t *object, const struct status *status);
/* scheduled_restart of that member, if there is one. */
void http_add_scheduled_restart(struct json_t *object, const struct store *store,
                                const char *member);
void http_handle_restart(const struct http_request *request, struct http_reply *reply);
void http_handle_restart_delete(const struct http_request *request, struct http_reply *reply);
void http_handle_reinitialize(const struct http_request *request, struct http_reply *reply);

/* http_config.c */
void http_handle_reload(const struct http_request *request, struct http_reply *reply);
void http_handle_config(const struct http_request *request, struct http_reply *reply);
void http_handle_config_patch(const struct http_request *request, struct http_reply *reply);
void http_handle_config_put(const struct http_request *request, struct http_reply *reply);

/* http_failsafe.c */
bool http_failsafe_is_on(const char *config); /* The dynamic configuration; NULL = there is none. */

/* http_values.c */
/* "16kB", "1.5 MB", "100" in bytes, "5min", "1500ms", "30" in seconds; false: neither. */
bool http_parse_size(const char *text, double *ret_bytes);
bool http_parse_seconds(const char *text, double *ret_seconds);
/* true, 1, "on", "true", "yes", "1"; NULL is no. */
bool http_is_yes(const struct json_t *value);
/* The body, an object with none but these keys (NULL ends them, or is any; a key that is null says
 * nothing); where `may_be_empty` no body is an empty one. NULL: the reply says why not, with
 * `example`, a sentence of what to send. */
struct json_t *http_read_body(const struct http_request *r, const char *const *keys,
                              bool may_be_empty, const char *example, struct http_reply *reply);
/* JSON with a space behind each colon and comma, as all other answers have them, and Patroni's. */
void http_add_json(struct strbuf *b, const char *json);
/* Text that others made: what is no UTF-8, as half a character where it was cut, becomes '?'. */
struct json_t *http_text(const char *text);

/* http_facts.c: what several answers need. */
/* 200 and that object, which it frees. */
void http_reply_json(struct http_reply *reply, struct json_t *object);
/* As Python prints it: without fractions of a second when there are none. Returns text. */
const char *http_format_time(int64_t us, char *text, size_t size);
bool http_runs(const struct view *view); /* PostgreSQL, and it answers. */
enum pg_state http_state(const struct view *view);
struct http_shown { /* A state as Patroni has them, of members and in patroni_postgres_state. */
    const char *name;
    int number;
};
/* With what is done to PostgreSQL while it is not there. */
struct http_shown http_shown_state(const struct view *view, const struct status *s);
/* NULL: none of Patroni's. */
const char *http_replication_state(const struct status *s);
bool http_is_primary(const struct view *view); /* Lease, running primary, no fence. */
bool http_holds_lease(const struct view *view);
/* Whether the store here is as new as one can have: without a leader nobody can be asked. */
bool http_is_latest(const struct http_request *request);
bool http_is_unlocked(const struct view *view); /* Nobody is known to be primary. */
/* The newest known: of the store, or what the guard attests until replay has come there. */
uint64_t http_epoch(const struct view *view);
bool http_is_standby(const struct view *view);
/* A standby that the store names. */
bool http_is_synchronous(const struct view *view, const char *name); /* Running, in recovery. */
lsn_t http_primary_lsn(const struct view *view); /* Best known position of the primary; 0. */
const char *http_role(const struct view *view);  /* "primary", "replica", ... */
/* The newest status of a member; NULL if it has been silent for longer than ttl. */
const struct status *http_member_status(const struct view *view, const struct store_member *m);
/* The member that holds the lease as far as known, or NULL. */
const struct store_member *http_leader(const struct view *view);

#endif
