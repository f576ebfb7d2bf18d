/*
 * An io of libraft that a test plays: whatever is set works, or ends as io_status says.
 */
#ifndef VECHE_TEST_CONSENSUS_FAKE_IO_H
#define VECHE_TEST_CONSENSUS_FAKE_IO_H

#include "consensus/consensus_thread.h"

static int io_status;            /* What the fake io answers. */
static raft_io_recv_cb receive; /* What the io hands messages to. */

static int fake_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick,
                      raft_io_recv_cb recv)
{
    (void)io;
    (void)msecs;
    (void)tick;
    receive = recv;
    return 0;
}

static int fake_set_term(struct raft_io *io, raft_term term)
{
    (void)io;
    (void)term;
    return io_status;
}

static int fake_set_vote(struct raft_io *io, raft_id id)
{
    (void)io;
    (void)id;
    return io_status;
}

static int fake_truncate(struct raft_io *io, raft_index index)
{
    (void)io;
    (void)index;
    return io_status;
}

/* A thread of consensus that was never started, with an io that loads, appends and
 * whatever else `io` says. */
static struct consensus_thread *fake_thread(struct consensus_shared *shared,
                                            const struct raft_io *io)
{
    struct consensus_thread *t;

    memset(shared, 0, sizeof(*shared));
    shared->election_timeout_ms = 300;
    shared->id = 1;
    queue_init(&shared->in);
    queue_init(&shared->out);
    t = consensus_thread_new(shared);
    t->io = *io;
    t->io.impl = xmalloc(64 * 1024); /* raft_uv_set_... write into their own struct. */
    t->io.start = fake_start;
    t->io.set_term = fake_set_term;
    t->io.set_vote = fake_set_vote;
    t->io.truncate = fake_truncate;
    io_status = 0;
    return t;
}

static void fake_thread_free(struct consensus_thread *t)
{
    struct consensus_shared *shared = t->shared;

    queue_deinit(&shared->in);
    queue_deinit(&shared->out);
    free(t->io.impl);
    consensus_thread_free(t);
}

#endif
