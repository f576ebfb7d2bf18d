/*
 * Inside of consensus/: what the agent's side shares with the thread, and the
 * thread's own state. Everything in struct consensus_thread is touched by the
 * thread alone.
 */
#ifndef VECHE_CONSENSUS_CONSENSUS_THREAD_H
#define VECHE_CONSENSUS_CONSENSUS_THREAD_H

#include <raft.h>
#include <raft/uv.h>

#include "consensus/consensus_queue.h"
#include "consensus/vote_file.h"

#if RAFT_VERSION_NUMBER < 2201
#error "libraft 0.22.1 or newer is needed"
#endif

#define RAFT_ADDRESS_SIZE 24 /* "n:" and sixteen hexadecimal digits. */

/* Lives until both sides have let go of it: a thread that hangs in a write to a
 * frozen disk outlives its struct consensus. */
struct consensus_shared {
    uv_mutex_t mutex;
    uv_cond_t changed;
    unsigned refs;              /* Under the mutex, as the next two. */
    bool ended;                 /* The thread is about to return. */
    bool stopping;              /* The agent lets go: a start that is under way is for nothing. */
    struct consensus_queue in;  /* To the thread. */
    struct consensus_queue out; /* To the agent. */
    size_t n_first;             /* Not 0: bootstrap only, with these. Set before the thread runs. */
    node_id first[VOTERS_MAX];
    char *directory;      /* These do not change. */
    char *copy_directory; /* NULL = none. */
    node_id id;
    unsigned election_timeout_ms;
    uint64_t lowest_term;
    bool may_be_empty;
    unsigned without;
};

void consensus_shared_unref(struct consensus_shared *s);
/* Tells the agent how opening ended. */
void consensus_push_opened(struct consensus_shared *s, enum consensus_opened result,
                           const struct err *err);

struct member_change {         /* Adding or removing a voter: one at a time. */
    struct raft_change change; /* libraft may keep pointing to it: never freed. */
    struct request *request;   /* NULL = none runs. */
    node_id id;
    bool assigning; /* Added already, now being made a voter. */
};

/* What libraft gave us before the wrappers of workarounds.c went in front. */
struct original_io {
    int (*load)(struct raft_io *io, raft_term *term, raft_id *voted_for,
                struct raft_snapshot **snapshot, raft_index *start_index,
                struct raft_entry **entries, size_t *n_entries);
    int (*start)(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv);
    int (*set_term)(struct raft_io *io, raft_term term);
    int (*set_vote)(struct raft_io *io, raft_id id);
    int (*append)(struct raft_io *io, struct raft_io_append *req, const struct raft_entry entries[],
                  unsigned n, raft_io_append_cb cb);
    int (*truncate)(struct raft_io *io, raft_index index);
    int (*snapshot_put)(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
                        const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb);
    raft_io_recv_cb recv;
};

struct consensus_thread {
    struct consensus_shared *shared;
    uv_loop_t loop;
    uv_timer_t timer; /* Once a second: disk space, late connects, leadership. */

    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    struct raft_uv_transport transport;
    struct raft_tracer tracer;
    struct original_io original;
    struct vote_file votes;
    struct vote_file votes_copy; /* Of the runtime directory. */
    struct vote_record told;     /* As it stands in both, or shall. */
    uint64_t log_end;            /* Index of the last entry handed to libraft's disk. */
    struct list writes;          /* Of struct durable_write (durable.c). */
    bool initialized;            /* raft_init worked. */
    bool listens; /* raft_start came as far as io.start: it can not be closed if it fails. */
    bool running; /* raft_start worked and raft_close was not called. */

    struct store *store;     /* Our own copy, for results and snapshots. */
    struct command *command; /* Being applied. */

    struct consensus_leadership reported;
    bool holds_reports; /* What libraft knows is being put right. */
    bool trouble;         /* As reported. */
    unsigned full_checks; /* In a row that found too little room reserved. */

    struct member_change member;
    struct raft_transfer transfer;
    bool transferring;

    raft_uv_accept_cb accept_cb; /* NULL until libraft listens. */
    struct list connects;        /* Of struct pending_connect. */
    uint64_t last_connect;       /* Number of the newest. */
};

void raft_address(node_id id, char *text, size_t size); /* RAFT_ADDRESS_SIZE. */

/* consensus_thread.c. Runs the thread; arg: struct consensus_thread. */
void *consensus_thread_main(void *arg);
struct consensus_thread *consensus_thread_new(struct consensus_shared *shared);
/* Only when libraft holds nothing of it any more. */
void consensus_thread_free(struct consensus_thread *t);
void thread_answer(struct consensus_thread *t, struct request *request,
                   const struct propose_result *result);
void thread_report_leadership(struct consensus_thread *t);

/* consensus_requests.c: items that ask libraft for something. */
void thread_propose(struct consensus_thread *t, struct item *item);
void thread_barrier(struct consensus_thread *t, struct request *request);
void thread_transfer(struct consensus_thread *t, node_id to);
void thread_add_voter(struct consensus_thread *t, node_id id, struct request *request);
void thread_remove_voter(struct consensus_thread *t, node_id id, struct request *request);

/* consensus_open.c: on the thread, before its loop runs. */
enum consensus_opened thread_open(struct consensus_thread *t, struct err *err);
enum consensus_opened thread_bootstrap(struct consensus_thread *t, struct err *err);
/* Closes what a failed thread_open left open, as far as libraft lets us. False: t
 * must not be freed. */
bool thread_close_failed(struct consensus_thread *t);

/* consensus_fsm.c */
void thread_init_fsm(struct consensus_thread *t);

/* consensus_transport.c */
void thread_init_transport(struct consensus_thread *t);
void thread_accept(struct consensus_thread *t, node_id from, int *fd);
void thread_connected(struct consensus_thread *t, uint64_t number, int *fd);
void thread_expire_connects(struct consensus_thread *t);

#endif
