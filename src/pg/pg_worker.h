/*
 * A thread of ours for what may block: fsync, walks of directories, reading files.
 * Not the uv pool, which libraft needs. Jobs run one after another in the order
 * they were given.
 */
#ifndef VECHE_PG_PG_WORKER_H
#define VECHE_PG_PG_WORKER_H

#include <uv.h>

#include "base/list.h"

struct pg_job {
    struct list node;
    void (*work)(struct pg_job *job); /* On the thread: touches the job only. */
    void (*done)(struct pg_job *job); /* On the loop, once; frees the job. */
};

struct pg_worker;

struct pg_worker *pg_worker_new(uv_loop_t *loop);
void pg_worker_submit(struct pg_worker *w, struct pg_job *job);
/* Waits for the jobs it has, then calls cb and is gone. */
void pg_worker_close(struct pg_worker *w, void (*cb)(void *data), void *data);

#endif
