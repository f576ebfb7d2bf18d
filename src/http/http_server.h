/*
 * The inside of the server, shared by http_server.c and http_daemon.c.
 */
#ifndef VECHE_HTTP_HTTP_SERVER_H
#define VECHE_HTTP_HTTP_SERVER_H

#include <gnutls/gnutls.h>
#include <microhttpd.h>

#include "base/list.h"
#include "http/http_access.h"
#include "http/http_routes.h"

struct place { /* A connection's: nobody keeps one by being slow. */
    struct list node; /* In server.places. */
    struct MHD_Connection *connection;
    uint64_t since_ms; /* It sends a request, or is sent the answer. */
    bool may_last;     /* What takes time now is not the client's doing, or it listens. */
};

/* One of libmicrohttpd's daemons: of restapi.listen, of the unix socket, or one that restapi.listen
 * had before its certificates were changed. */
struct server {
    struct list node; /* In http.servers. */
    struct http *http;
    struct list places;
    struct MHD_Daemon *daemon; /* NULL: stopped, its handles are closing. */
    uv_poll_t poll;
    uv_timer_t timer;
    unsigned n_handles;
    bool is_woken; /* While it ran: it has to run again. */
    bool is_unix;
    bool has_tls;
    bool needs_certificate; /* Of a client, or there is no connection. */
    uint64_t
        leaves_ms; /* It takes no new connections, and ends then at the latest; 0 = it stays. */
};

struct http {
    struct http_options options;
    struct http_setup *setup;
    struct http_names *names;
    struct list servers;
    struct server *tcp; /* The one that takes new connections. */
    char *unix_path;
    uv_timer_t timer; /* Names, old servers. */
    unsigned n_open;  /* Servers, and the two handles above, that libuv still holds. */
    bool closing;
    struct list actions; /* Suspended requests. */

    /* http_events.c */
    struct list streams;
    uint64_t n_events;
    uint64_t told_ms; /* When they were told anything. */
    char *digest;     /* What the last event was about; NULL = there was none. */

    void (*close_cb)(void *data);
    void *close_data;
};

struct http_action {  /* A request from its first line to its end. */
    struct list node; /* In http.actions while suspended. */
    struct server *server;
    struct MHD_Connection *connection;
    struct strbuf body;
    bool too_large;
    bool suspended;
    unsigned n_again;
    char member[NAME_SIZE]; /* On whose behalf; "" = this node's. */
    char etag[16];          /* "" = none. */
    bool is_first; /* It is handled again after the command that is under way. */
    bool answered; /* What is below is to be sent. */
    unsigned code;
    const char *type;
    struct strbuf text;
};

/* http_server.c: libmicrohttpd's callbacks. */
enum MHD_Result http_on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *data_size, void **state);
void http_on_completed(void *cls, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode code);

/* Whether the one at the other end has shown a certificate of restapi.cafile that is not for
 * something else: not a server's. */
bool http_has_certificate(gnutls_session_t session);

/* What stands in every answer of that server. */
void http_add_headers(const struct server *s, struct MHD_Response *response);

/* http_daemon.c */
/* Takes fd over, also when it fails: NULL, and why. */
struct server *http_daemon_open(struct http *h, const struct http_setup *setup, int fd,
                                bool is_unix, struct err *err);
/* At the next turn of the loop it looks at its connections. */
void http_daemon_wake(struct server *s);
/* No request of it may be suspended. Frees it, later. */
void http_daemon_stop(struct server *s);
/* It takes no new connections any more, and is stopped when the last one has gone. */
void http_daemon_retire(struct server *s, uint64_t leaves_ms);
/* The next request or answer of a connection begins; or (may_last) what may take any time. */
void http_daemon_begin(struct MHD_Connection *connection, bool may_last);
/* Ends connections that are too slow. One that leaves: stops it if nothing is left of it, or
 * time is up. */
void http_daemon_look(struct server *s, uint64_t now_ms);
/* Its last handle is closed: called once, then it is gone. In http_server.c. */
void http_on_daemon_closed(struct http *h);

#endif
