/*
 * Host names of the allowlist and of the members, looked up by a thread of their own:
 * a name server may take its time, the loop may not. Looked up again every minute;
 * while one cannot be, what it stood for last goes on.
 */
#ifndef VECHE_HTTP_HTTP_NAMES_H
#define VECHE_HTTP_HTTP_NAMES_H

#include <sys/socket.h>
#include <uv.h>

#include "base/kv.h"

struct http_names;

struct http_names *http_names_new(uv_loop_t *loop);
/* Those that are wanted now (as keys). Call it often: it does something when they are
 * others than before, or a minute has passed. */
void http_names_want(struct http_names *names, const struct kv_list *wanted, uint64_t now_ms);
bool http_names_has(const struct http_names *names, const char *host,
                    const struct sockaddr *address);
void http_names_close(struct http_names *names, void (*cb)(void *data), void *data);

#endif
