/*
 * GET /events: server-sent events. Whoever listens is told at once what GET /cluster says,
 * and again whenever more of it has changed than positions: who leads, roles, states,
 * timelines, pause. A line of comment every 15 s shows that the connection stands.
 */
#ifndef VECHE_HTTP_HTTP_EVENTS_H
#define VECHE_HTTP_HTTP_EVENTS_H

#include "http/http_server.h"

/* Why nobody from there may listen now; NULL = it may. */
const char *http_events_refuse(struct http *h, const struct http_client *client);
/* Answers with a stream; MHD_NO: there is no memory, nothing was done. */
enum MHD_Result http_events_begin(struct http *h, struct server *s, struct MHD_Connection *c,
                                  const struct http_client *client);
/* After a tick: whatever is new is sent. */
void http_events_look(struct http *h);
/* Those of that server (NULL = all) end. */
void http_events_end(struct http *h, const struct server *s);

#endif
