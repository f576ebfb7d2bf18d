/*
 * Host names, looked up on threads of our own: the pool of libuv belongs to
 * libraft, which commits through it. A look-up may take half a minute; it
 * outlives the resolver if it must.
 */
#ifndef VECHE_PEER_PEER_RESOLVE_H
#define VECHE_PEER_PEER_RESOLVE_H

#include <sys/socket.h>
#include <uv.h>

#include "base/err.h"

struct resolver;
struct resolve_job;

/* n 0 = failed, err says why. The job is gone after it. */
typedef void (*resolve_cb)(void *data, const struct sockaddr_storage *found, size_t n,
                           const char *problem);

struct resolver *resolver_new(uv_loop_t *loop, struct err *err);

/* cb on the loop, once, unless cancelled. NULL if no thread can be started. */
struct resolve_job *resolver_start(struct resolver *r, const char *host, uint16_t port,
                                   resolve_cb cb, void *data);
void resolver_cancel(struct resolver *r, struct resolve_job *job);

/* Waits, at most limit_ms: for use before the loop runs. */
MUST_USE int resolver_wait(struct resolver *r, const char *host, uint16_t port, uint64_t limit_ms,
                           struct sockaddr_storage *ret_address, struct err *err);

/* No callback of a job comes any more; cb(data) when its handle is gone. */
void resolver_close(struct resolver *r, void (*cb)(void *data), void *data);

#endif
