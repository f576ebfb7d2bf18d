/*
 * What crosses between the agent's loop and the consensus thread: items that
 * own what they carry, in two queues with a mutex and a uv_async each. Pushing
 * never waits for the other side, whatever its disk does.
 *
 * Bounded: requests and connects by who makes them (REQUESTS_MAX; one a peer),
 * commits by replacing all that wait by one copy of the store.
 */
#ifndef VECHE_CONSENSUS_CONSENSUS_QUEUE_H
#define VECHE_CONSENSUS_CONSENSUS_QUEUE_H

#include "base/list.h"
#include "consensus/consensus.h"

#define QUEUE_COMMITS_MAX      1024
#define QUEUE_COMMIT_BYTES_MAX (8 * 1024 * 1024)

struct request; /* Of consensus.c; the thread only hands it back. */

enum item_kind {
    /* To the thread. */
    ITEM_PROPOSE,
    ITEM_BARRIER,
    ITEM_TRANSFER,
    ITEM_ACCEPT,
    ITEM_CONNECTED,
    ITEM_ADD,
    ITEM_REMOVE,
    ITEM_STOP,
    /* To the agent. */
    ITEM_COMMIT,
    ITEM_RESTORE,
    ITEM_RESULT,
    ITEM_CONNECT,
    ITEM_LEADERSHIP,
    ITEM_TROUBLE,
    ITEM_OPENED,
};

struct item {
    struct list node; /* In a queue. */
    enum item_kind kind;
    node_id id;                             /* The node it is about. */
    uint64_t number;                        /* CONNECT, CONNECTED: request; COMMIT: log index. */
    int fd;                                 /* ACCEPT, CONNECTED: owned; -1 = none. */
    bool trouble;                           /* TROUBLE. */
    enum consensus_opened opened;           /* OPENED. */
    struct request *request;                /* PROPOSE, BARRIER, ADD, REMOVE, RESULT. */
    struct propose_result result;           /* RESULT. */
    struct consensus_leadership leadership; /* LEADERSHIP. */
    void *bytes;                            /* Owned. PROPOSE, COMMIT: a command; RESTORE: a store;
                                             * TROUBLE, OPENED: text. */
    size_t size;
};

struct item *item_new(enum item_kind kind);
void item_free(struct item *item); /* With its fd and bytes. NULL is fine. */

struct consensus_queue {
    uv_mutex_t mutex;
    struct list items;
    size_t n_commits;    /* Of kind COMMIT. */
    size_t commit_bytes; /* In them. */
    struct consensus_leadership leadership; /* The newest. */
    bool open;           /* The async handle may be used. */
    uv_async_t async;    /* Of the receiving loop. */
};

void queue_init(struct consensus_queue *q);
void queue_deinit(struct consensus_queue *q); /* Frees what nobody took. */

/* On the receiving loop. `data` becomes async.data. */
void queue_open(struct consensus_queue *q, uv_loop_t *loop, uv_async_cb cb, void *data);
void queue_close(struct consensus_queue *q, uv_close_cb cb);

/* Takes the item over; frees it when the queue is closed, and says false. */
bool queue_push(struct consensus_queue *q, struct item *item);

/* For a COMMIT of a command that *s contains already: when too many wait, all of
 * them are replaced by a RESTORE of *s. */
void queue_push_commit(struct consensus_queue *q, struct item *item, const struct store *s);

/* Leadership is a state: the newest replaces one that still waits. It is never taken
 * before a commit that was pushed before it, nor before what replaced that one. */
void queue_push_leadership(struct consensus_queue *q, const struct consensus_leadership *l);

/* The one pushed last, whether or not it was taken. */
void queue_leadership(struct consensus_queue *q, struct consensus_leadership *ret);

/* Moves everything into *ret_items, which must be an initialised list head. */
void queue_take(struct consensus_queue *q, struct list *ret_items);

#endif
