/*
 * GET /events: server-sent events. Whoever listens is told at once what GET /cluster says,
 * and again whenever more of it has changed than positions: who leads, roles, states,
 * timelines, pause. A line of comment every 15 s shows that the connection stands.
 */
#ifndef VECHE_HTTP_HTTP_EVENTS_H
#define VECHE_HTTP_HTTP_EVENTS_H

#include "http/http_server.h"

/* Answers with a stream, or with 503 when there are too many. */
enum MHD_Result http_events_begin(struct http *h, struct server *s, struct MHD_Connection *c);
/* After a tick: whatever is new is sent. */
void http_events_look(struct http *h);
/* Those of that server (NULL = all) end. */
void http_events_end(struct http *h, const struct server *s);

#endif
