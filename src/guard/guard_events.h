/*
 * Lines for the log. The guard must never wait for who reads them: they go to the agent,
 * and while there is none, to stderr if that is something that can be asked not to block
 * (a pipe, a socket, a terminal; never a file, whose disk may stand still). The last ones
 * are kept until an agent has read them.
 */
#ifndef VECHE_GUARD_GUARD_EVENTS_H
#define VECHE_GUARD_GUARD_EVENTS_H

#include "guard/guard_protocol.h"

#define GUARD_EVENTS_MAX 64

struct guard_events {
    char name[64];   /* Of the node, in lines on stderr. */
    int stderr_fd;   /* Does not block; -1 = none. */
    bool is_socket;  /* It is one. */
    uint64_t n;      /* Written so far; the ring holds the last GUARD_EVENTS_MAX. */
    uint64_t n_sent; /* To the present agent, */
    uint64_t n_read; /* of these surely read, by it or one before. */
    struct guard_event ring[GUARD_EVENTS_MAX];
};

void guard_events_init(struct guard_events *e, const char *name);

/* agent_is_there: it will be told; else it goes to stderr. */
void guard_events_add(struct guard_events *e, bool agent_is_there, enum guard_level level,
                      const char *format, va_list args);

/* The next one to send; NULL = none. */
const struct guard_event *guard_events_next(struct guard_events *e);
void guard_events_sent(struct guard_events *e);     /* That one. */
void guard_events_all_read(struct guard_events *e); /* All that were sent. */
void guard_events_new_agent(struct guard_events *e);

#endif
