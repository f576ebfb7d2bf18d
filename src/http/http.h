/*
 * The REST interface: libmicrohttpd on the agent loop, Patroni's paths, codes
 * and fields. Every answer comes from memory; a GET never asks PostgreSQL, the
 * disk or a peer. What changes something is passed to the agent by a hook and
 * answered later; it is allowed from loopback and from the unix socket only.
 */
#ifndef VECHE_HTTP_HTTP_H
#define VECHE_HTTP_HTTP_H

#include <uv.h>

#include "base/err.h"
#include "core/decide.h"
#include "http/http_stats.h"

struct http;
struct http_action;

struct http_hooks { /* On the agent loop. */
    void *data;
    /* The newest view and decision; valid until the next turn of the loop. */
    const struct view *(*view)(void *data);
    const struct decision *(*decision)(void *data);
    /* The dynamic configuration as canonical JSON; NULL if there is none. */
    const char *(*config)(void *data);
    const struct http_stats *(*stats)(void *data); /* Also valid until then. */
    /* The command that changes the dynamic configuration so: `body` is merged into it, or
     * (replace) stands for all of it. 0, or -1 and why not. */
    int (*change_config)(void *data, const char *body, bool replace, struct command *ret_command,
                         struct err *err);
    /* Someone asks for a switchover, a failover or a change of the configuration, or says
     * that an unfenced primary is dead (epoch-unfenced); already checked against the view.
     * Answer once, later, by http_action_end. */
    void (*on_request)(void *data, struct http_action *action, const struct command *command);
};

struct http_options {
    uv_loop_t *loop;
    const char *listen;      /* host:port */
    const char *unix_socket; /* Path in the runtime directory; NULL = none. */
    const char *scope, *name;
    struct http_hooks hooks;
};

struct http *http_new(const struct http_options *options, struct err *err);

/* code: HTTP status; text: body as Patroni words it. */
void http_action_end(struct http_action *action, unsigned code, const char *text);
/* The state it was judged by has moved: the same request is handled once more, by the new one.
 * False: it was, often enough, and still is to be answered. */
bool http_action_again(struct http_action *action);
/* 200 with a body of JSON. */
void http_action_end_json(struct http_action *action, const char *json);

void http_close(struct http *h, void (*cb)(void *data), void *data);

#endif
