/*
 * Listening sockets of the REST interface.
 */
#ifndef VECHE_HTTP_HTTP_LISTEN_H
#define VECHE_HTTP_HTTP_LISTEN_H

#include "base/err.h"

/* "host:port"; may ask a name server, so once only, at the start. Returns the socket, or -1. */
MUST_USE int http_listen_tcp(const char *address, int backlog, struct err *err);
MUST_USE int http_listen_unix(const char *path, struct err *err);

#endif
