/*
 * Agreement: the replicated log, by libraft on a thread and loop of its own.
 *
 * The agent loop owns `struct consensus` and calls everything in this header;
 * the callbacks below come on the agent loop too. The thread shares nothing
 * with it but two bounded queues and the socketpairs of peers' connections.
 * libraft does fdatasync on its loop; that is why it has one of its own, and
 * why a stalled disk under it never delays a lease.
 *
 * Failure: what libraft can not be trusted with (undurable term or vote) ends
 * the process with a logged reason and an exit code of veche/exitcode.h;
 * PostgreSQL lives on and the restarted agent adopts it. A directory that can
 * not be opened is told by on_opened, and the agent goes on without Raft.
 */
#ifndef VECHE_CONSENSUS_CONSENSUS_H
#define VECHE_CONSENSUS_CONSENSUS_H

#include <uv.h>

#include "base/err.h"
#include "store/apply.h"

struct consensus;

enum propose_status {
    PROPOSE_DONE,       /* Committed and applied; the apply result says what it did. */
    PROPOSE_NOT_LEADER, /* Nothing happened. */
    PROPOSE_BUSY,       /* Queue or disk is full; nothing happened. */
    PROPOSE_UNKNOWN,    /* Leadership was lost: it may or may not be committed. Look again. */
};

struct propose_result {
    enum propose_status status;
    enum apply_result result; /* Only with PROPOSE_DONE. */
    uint64_t index;           /* Log index, only with PROPOSE_DONE. */
};

typedef void (*consensus_propose_cb)(void *data, const struct propose_result *result);

struct consensus_leadership {
    bool usable; /* Raft runs. */
    bool is_leader;
    node_id leader; /* 0 = none known. */
    uint64_t term;
    uint8_t n_voters; /* Of the newest configuration, committed or not. */
    node_id voters[VOTERS_MAX];
    uint64_t voters_index; /* Log index of that configuration, for the lease's voter sets. */
    uint8_t n_committed;   /* Of the last committed configuration. */
    node_id committed[VOTERS_MAX];
    uint64_t committed_index;
    /* Of the newest committed configuration before which everything was applied, and
     * was told by on_commit or on_restore before this. */
    uint64_t level_index;
};

/* How opening the Raft directory ended. */
enum consensus_opened {
    CONSENSUS_OPENED,
    CONSENSUS_UNUSABLE, /* It can not be read or written now; later it may. */
    CONSENSUS_LOST,     /* It holds no Raft state. */
    CONSENSUS_DAMAGED,  /* What it holds is not to be trusted. */
};

struct consensus_hooks { /* All on the agent loop. */
    void *data;
    /* What consensus_bootstrap or consensus_start began has ended; problem is empty
     * when it went well. */
    void (*on_opened)(void *data, enum consensus_opened result, const char *problem);
    /* A command is committed; in log order, each exactly once per life of the
     * process, or replaced by a restore that contains it. */
    void (*on_commit)(void *data, uint64_t index, const struct command *c);
    /* A snapshot replaced the state. *s is valid during the call only. */
    void (*on_restore)(void *data, const struct store *s);
    void (*on_leadership)(void *data, const struct consensus_leadership *l);
    /* libraft wants a connection to that node. Answer, now or later, once, by
     * consensus_connected(). */
    void (*on_connect)(void *data, uint64_t request, node_id to);
    /* The Raft directory can not be written (true) or can again (false). */
    void (*on_disk_trouble)(void *data, bool trouble, const char *what);
};

/* Work-arounds of workarounds.c that a test leaves out, to show that it fails
 * without them. Never set by the agent. */
enum consensus_without {
    CONSENSUS_WITHOUT_R1 = 1 << 0,      /* Membership entries inside a batch. */
    CONSENSUS_WITHOUT_R3 = 1 << 1,      /* A snapshot received while one is taken. */
    CONSENSUS_WITHOUT_STOP = 1 << 2,    /* Failed writes of term and vote. */
    CONSENSUS_WITHOUT_PADDING = 1 << 3, /* Entries of odd length. */
    CONSENSUS_WITHOUT_RETRY = 1 << 4,   /* R2: failed writes of the log. */
    CONSENSUS_WITHOUT_SIZES = 1 << 5,   /* Small segments, and room for one of them. */
    CONSENSUS_WITHOUT_PRE_VOTE = 1 << 6,
    CONSENSUS_WITHOUT_CONNECT_RETRY = 1 << 7, /* The library's own, longer delay. */
    CONSENSUS_WITHOUT_REFUSAL = 1 << 8,       /* The library throws damaged segments away. */
    CONSENSUS_WITHOUT_TOLD = 1 << 9,          /* What was told to others is not missed. */
    CONSENSUS_WITHOUT_BOTH = 1 << 10, /* R1: a membership entry before the last is applied. */
};

struct consensus_options {
    uv_loop_t *loop;            /* The agent's. */
    const char *directory;      /* Of the Raft state; exists, ours, locked by identity. */
    const char *copy_directory; /* For a copy of veche-vote: the runtime directory; NULL = none. */
    node_id id;
    uint64_t election_timeout_ms; /* Heartbeat is a tenth of it. */
    uint64_t lowest_term;         /* identity.highest_term: a directory below it is damaged. */
    bool may_be_empty;            /* A node that joins: no Raft state yet is no loss. */
    struct consensus_hooks hooks;
    unsigned without; /* enum consensus_without; 0. */
};

/* Once per process, before anything uses libuv's thread pool and before other
 * threads run: size of that pool, SIGPIPE. */
void consensus_prepare_process(void);

/* Does not start anything yet. Keep the loop running after consensus_free until
 * its handles are closed. */
struct consensus *consensus_new(const struct consensus_options *options);

/* First formation only, before consensus_start: empties the directory (an
 * interrupted bootstrap may have left something) and writes the first
 * configuration. All members call it with the same sorted ids. Does not wait:
 * on_opened tells how it ended. */
void consensus_bootstrap(struct consensus *c, const node_id *ids, size_t n);

/* Starts Raft. Does not wait: a thread opens the directory, however long its disk
 * takes, and on_opened tells how it ended. After a failure it may be tried again. */
void consensus_start(struct consensus *c);

/* Whether the directory holds Raft state (term above 0, a segment or snapshot).
 * Blocks on the disk. */
MUST_USE int consensus_directory_state(const char *directory, bool *ret_has_state, struct err *err);

/* What this node has told others, as it stands in the Raft directory. -1: there is no
 * record of it, or it can not be read; starting will tell why. Blocks on the disk. */
struct consensus_told {
    uint64_t term;
    uint64_t last_index;
};
MUST_USE int consensus_read_told(const char *directory, node_id id,
                                 struct consensus_told *ret_told);

/* As the next on_leadership will say, without waiting for it: of a configuration that
 * this node's Raft has in its log it says so before any other node is told. Of all but
 * the voters' sets only on_leadership is to be believed: what it says comes after what
 * was committed before. */
void consensus_leadership_now(const struct consensus *c, struct consensus_leadership *ret);

/* Calls cb exactly once, never before returning. The command is copied. One that
 * can not be decoded (a peer's garbage) is not proposed at all: PROPOSE_DONE with
 * APPLY_REFUSED_VALUE and index 0. */
void consensus_propose(struct consensus *c, const struct command *command, consensus_propose_cb cb,
                       void *data);
/* As above for a command already encoded (forwarded by a peer). */
void consensus_propose_bytes(struct consensus *c, const void *bytes, size_t size,
                             consensus_propose_cb cb, void *data);

/* cb gets PROPOSE_DONE once everything committed before was applied here; index
 * is that of the last command applied then, and its on_commit came before.
 * Needs leadership on this node; a follower asks the leader through peer/. */
void consensus_barrier(struct consensus *c, consensus_propose_cb cb, void *data);

/* Hands leadership to that voter, or to any when 0. No answer. */
void consensus_transfer(struct consensus *c, node_id to);

/* An authenticated Raft connection of a peer: fd is our end of a socketpair,
 * owned by consensus from now on. */
void consensus_accept(struct consensus *c, node_id from, int fd);
/* The answer to on_connect: fd >= 0, or -1 for "not reachable now". */
void consensus_connected(struct consensus *c, uint64_t request, int fd);

/* Voter changes; the caller keeps the spacing rules of design.md section 5.
 * For now used by tests and, later, by joining. */
void consensus_add_voter(struct consensus *c, node_id id, consensus_propose_cb cb, void *data);
void consensus_remove_voter(struct consensus *c, node_id id, consensus_propose_cb cb, void *data);

/* Stops the thread in good order (pending proposals end as PROPOSE_UNKNOWN),
 * blocks at most a second or so, then frees. NULL is fine. */
void consensus_free(struct consensus *c);

#endif
