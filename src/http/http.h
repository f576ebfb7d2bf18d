/*
 * The REST interface: libmicrohttpd on the agent loop, Patroni's paths, codes
 * and fields. Every answer comes from memory; a GET never asks PostgreSQL, the
 * disk or a peer. What changes something is passed to the agent by a hook and
 * answered later; who may do that: http_access.h.
 */
#ifndef VECHE_HTTP_HTTP_H
#define VECHE_HTTP_HTTP_H

#include <uv.h>

#include "base/err.h"
#include "base/kv.h"
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
    /* Someone asks for the configuration to be read again, by that member; NULL = this node.
     * Answer in the same way. */
    void (*on_reload)(void *data, struct http_action *action, const char *member);
};

enum http_verify { /* restapi.verify_client: a client's certificate is needed */
    HTTP_VERIFY_NONE,
    HTTP_VERIFY_OPTIONAL, /* where something is changed, */
    HTTP_VERIFY_REQUIRED, /* for everything. */
};

enum http_tokens { /* Server: */
    HTTP_TOKENS_ORIGINAL,
    HTTP_TOKENS_MINIMAL,
    HTTP_TOKENS_PRODUCTONLY,
};

struct http_settings { /* restapi: as written; what is NULL is not configured. */
    const char *certfile, *keyfile, *keyfile_password, *cafile, *ciphers;
    enum http_verify verify;
    const struct kv_list *allowlist; /* As keys. */
    bool allowlist_include_members;
    const char *username, *password;
    bool allow_commands; /* Of the dynamic configuration, from other machines. */
    const struct kv_list *http_headers, *https_headers;
    enum http_tokens tokens;
};

/* Reads the files and checks all of it; on any thread. NULL: nothing of it can be used, and
 * why. */
struct http_setup;
struct http_setup *http_setup_load(const struct http_settings *settings, struct err *err);
void http_setup_free(struct http_setup *setup);

struct http_options {
    uv_loop_t *loop;
    const char *listen;      /* host:port */
    int backlog;             /* Connections that the kernel keeps until they are taken. */
    const char *unix_socket; /* Path in the runtime directory; NULL = none. */
    struct http_setup *setup; /* Taken over by http_new(), if it succeeds. */
    struct http_hooks hooks;
};

struct http *http_new(const struct http_options *options, struct err *err);

/* Another setup from now on; taken over if it succeeds. With other certificates new
 * connections get a server of their own, and those that are there end when they are idle. */
MUST_USE int http_configure(struct http *h, struct http_setup *setup, struct err *err);

/* After each tick: who listens to events is told. */
void http_on_tick(struct http *h);

/* code: HTTP status; text: body as Patroni words it. */
void http_action_end(struct http_action *action, unsigned code, const char *text);
/* The state it was judged by has moved: the same request is handled once more, by the new one.
 * False: it was, often enough, and still is to be answered. */
bool http_action_again(struct http_action *action);
/* 200 with a body of JSON. */
void http_action_end_json(struct http_action *action, const char *json);

void http_close(struct http *h, void (*cb)(void *data), void *data);

#endif
