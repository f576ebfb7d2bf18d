/*
 * A quorum lease: the right to act alone until a moment, given by a majority.
 *
 * Somebody else (Raft, in Veche) decides who may act: it hands out epochs,
 * ever growing numbers, each with one owner and one instance of it for ever.
 * This library decides until when the owner of an epoch may act on that.
 *
 * Essence. The owner asks all voters for a promise; a voter that grants one
 * gives none to another epoch or instance before it has ended. A lease is
 * live while promises of a majority of voters are, so two live leases of
 * different epochs would need two majorities. These share a voter, and a
 * voter never has two live promises. Nothing depends on the order or the
 * delay of messages nor on synchronised clocks, only on clocks that run at
 * nearly the same rate: the owner counts from before it asked, the voter from
 * after it was asked, and the owner gives away 1 % of what it got.
 * A deposed epoch does not come back either: whoever was granted a lease of
 * epoch e left e in the memory of a majority, and a voter refuses what is lower
 * than the highest epoch it knows. A voter whose memory is in doubt is silent
 * (quarantine) until its lost promise is surely over and until its store has
 * caught up.
 *
 * References: C. Gray and D. Cheriton, "Leases: an efficient fault-tolerant
 * mechanism for distributed file cache consistency", SOSP 1989 (promises with
 * an end, the asymmetric treatment of clocks, the wait after a restart);
 * D. Ongaro, "Consensus: bridging theory and practice", 2014, chapter 4
 * (membership changes of one voter at a time: majorities of neighbours
 * overlap) and 6.4.1 (leases and clock drift).
 *
 * The library is pure: no I/O, clock, allocation, log or global. Every call
 * that depends on time takes `now`. Structs live where the caller puts them and
 * hold no pointers, so they may be copied; their fields are to be read through
 * functions, except in messages, images and statuses. It is not thread safe:
 * an object belongs to one thread. Durations are nanoseconds and end in _ns.
 * Ids, instances and epochs are never 0; 0 means "none". A call that breaks a
 * precondition aborts: that is a bug of the caller. What comes from the wire
 * or from a file is judged, never trusted, and has a named outcome.
 */
#ifndef LEASE_H
#define LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEASE_MUST_USE __attribute__((warn_unused_result))

/* Voters of one set. */
#ifndef LEASE_VOTERS_MAX
#define LEASE_VOTERS_MAX 8
#endif

/* Voters whose answers to one round are kept; more than a set has, since
 * several sets may have to be satisfied. Further answers are dropped. */
#ifndef LEASE_GRANTS_MAX
#define LEASE_GRANTS_MAX (2 * LEASE_VOTERS_MAX)
#endif

/* Rounds in flight. At one a ttl/6 the oldest is past use when it is replaced. */
#ifndef LEASE_ROUNDS_MAX
#define LEASE_ROUNDS_MAX 8
#endif

#define LEASE_TTL_MIN_NS UINT64_C(1000000000)
#define LEASE_TTL_MAX_NS UINT64_C(3600000000000)

/* ---- Time ---------------------------------------------------------------- */

/*
 * One reading of both clocks, or one moment on both. RAW is not slewed, BOOTTIME
 * counts suspension. Elapsed time is the larger of the two for an owner, the
 * smaller for a voter, so that neither a slewed nor a suspended clock lets a
 * lease outlive its promise.
 */
struct lease_time {
    uint64_t raw_ns;  /* CLOCK_MONOTONIC_RAW. */
    uint64_t boot_ns; /* CLOCK_BOOTTIME. */
};

/* The moment that is `duration_ns` after `t`; saturates. */
struct lease_time lease_time_add(struct lease_time t, uint64_t duration_ns);

/* Elapsed since `since` as an owner must count it: the larger. A clock that
 * went backwards counts as if everything had elapsed (UINT64_MAX). */
uint64_t lease_elapsed_owner_ns(struct lease_time since, struct lease_time now);

/* Elapsed since `since` as a voter must count it: the smaller. A clock that went
 * backwards counts as if nothing had elapsed. */
uint64_t lease_elapsed_voter_ns(struct lease_time since, struct lease_time now);

/* What is left until `deadline` for an owner (and its guard): the smaller of
 * the two; 0 when it is over on either clock. */
uint64_t lease_left_owner_ns(struct lease_time deadline, struct lease_time now);

/* What is left until `until` for a voter: the larger; 0 when it is over on both. */
uint64_t lease_left_voter_ns(struct lease_time until, struct lease_time now);

/* Is it a ttl this library works with: 1 s to 3600 s? */
bool lease_ttl_is_valid(uint64_t ttl_ns);

/* ---- Voter sets ---------------------------------------------------------- */

/* Voters as of one entry of the log of configurations. */
struct lease_voter_set {
    uint64_t index;                 /* Log index; newer sets have a higher one. */
    uint8_t n;                      /* Voters in it: 1 to LEASE_VOTERS_MAX. */
    uint64_t ids[LEASE_VOTERS_MAX]; /* Node ids, each once, none 0. */
};

/* Is it well-formed? For sets that come from the wire. */
bool lease_voter_set_is_valid(const struct lease_voter_set *set);

bool lease_voter_set_has(const struct lease_voter_set *set, uint64_t id);

/* Same voters in any order; the index does not matter. */
bool lease_voter_set_equals(const struct lease_voter_set *a, const struct lease_voter_set *b);

/* Does `next` differ from `set` by exactly one voter added or removed? */
bool lease_voter_set_is_one_step(const struct lease_voter_set *set,
                                 const struct lease_voter_set *next);

/* ---- Messages ------------------------------------------------------------ */

/* Owner to every voter, itself included. */
struct lease_renew {
    uint64_t epoch;
    uint64_t owner;           /* Node id. */
    uint64_t instance;        /* Of the owner: drawn once per its boot. */
    uint64_t round;           /* Never reused. */
    uint64_t duration_ns;     /* What it asks for: its ttl. */
    uint64_t voter_set_index; /* Its last committed set; for people and logs. */
};

/* A voter's answer in one word. All but the first are refusals. */
enum lease_verdict {
    LEASE_GRANTED = 0,
    LEASE_REFUSED_MALFORMED,  /* A zero where there must be none, a duration out of bounds. */
    LEASE_REFUSED_EPOCH,      /* Lower than the highest epoch the voter knows. */
    LEASE_REFUSED_RELEASED,   /* The epoch was released: refused for ever. */
    LEASE_REFUSED_INSTANCE,   /* The epoch belongs to another owner or instance. */
    LEASE_REFUSED_QUARANTINE, /* The voter's memory may have a hole. */
    LEASE_REFUSED_PROMISED,   /* A live promise to another epoch or instance. */
    LEASE_REFUSED_NO_TTL,     /* The voter has not learned the ttl yet. */
    LEASE_REFUSED_NO_VOTERS,  /* The voter knows no voter set it could name. */
    LEASE_REFUSED_UNWRITTEN,  /* Its longest grant must be written durably first. */
    LEASE_REFUSED_BEHIND,     /* It has not applied what is before its last set but one. */
};
#define LEASE_VERDICTS (LEASE_REFUSED_BEHIND + 1)

/* "granted", "live promise to another", ...: permanent, for logs. Never NULL. */
const char *lease_verdict_name(enum lease_verdict verdict);

/* Voter to owner. */
struct lease_grant {
    uint64_t epoch;    /* Echo of the renewal. */
    uint64_t instance; /* Echo. */
    uint64_t round;    /* Echo. */
    uint64_t voter;    /* Who answers: node id. */
    enum lease_verdict verdict;
    uint64_t granted_ns;            /* At most what was asked; 0 in a refusal. */
    uint64_t highest_epoch;         /* The highest epoch the voter knows. */
    uint8_t n_sets;                 /* Voter sets it knows: 0 to 2. */
    struct lease_voter_set sets[2]; /* Committed first, then one only logged. */
};

/* ---- Voter --------------------------------------------------------------- */

/* A promise: no other epoch or instance before `until`. */
struct lease_promise {
    uint64_t epoch; /* 0: none was made, or it was released. */
    uint64_t owner;
    uint64_t instance;
    uint64_t granted_ns;     /* Duration of the last grant. */
    struct lease_time until; /* Live while either clock is before it. */
};

/* What a voter must remember within one boot; the content of its promise file. */
struct lease_image {
    uint64_t node_id;
    uint8_t boot_id[16];
    struct lease_promise promise;
    uint64_t highest_epoch; /* Highest one applied or promised to. */
    uint64_t highest_owner;
    uint64_t highest_instance; /* 0: not known yet. */
    uint64_t released_epoch;   /* Highest one released: it and lower are refused. */
    uint64_t level_index;      /* What the log has before it was told to this voter. */
    uint8_t n_sets;            /* As in struct lease_grant. */
    struct lease_voter_set sets[2];
};

struct lease_voter {
    /* In the promise file. */
    struct lease_image image;
    /* The identity file of the caller, which holds the longest grant. */
    uint64_t floor_ns; /* It says at least this; no grant is longer. */
    uint64_t file_ns;  /* It said this when last written or read; 0: unknown. */
    /* Volatile. */
    uint64_t ttl_ns;               /* Applied; 0: not yet. */
    bool lowering;                 /* A ttl shorter than floor_ns is applied, */
    struct lease_time shorter_at;  /* since then. */
    bool resumed;                  /* The promise file was good: no quarantine. */
    bool barrier;                  /* A barrier of this process was applied. */
    struct lease_time silent_till; /* End of part (i) of the quarantine. */
};

/*
 * Starts a voter in quarantine. `started` is a reading from the start of the
 * process; `longest_ns` the longest grant in the identity file, 0 for an id
 * that never granted. `boot_id` is copied.
 */
void lease_voter_init(struct lease_voter *v, uint64_t node_id, const uint8_t boot_id[16],
                      uint64_t longest_ns, struct lease_time started);

/*
 * Goes on from a promise file that lease_file_decode() called LEASE_FILE_GOOD:
 * ends the quarantine. To be called directly after lease_voter_init(), if at
 * all. Returns false, and leaves the voter in quarantine, when the image cannot
 * be of this boot after all (its promise ends later than it could).
 * Until the store tells a ttl, the last granted duration serves as one.
 */
LEASE_MUST_USE bool lease_voter_resume(struct lease_voter *v, const struct lease_image *image,
                                       struct lease_time now);

/* What the caller of lease_voter_on_renew() has to do, in this order. */
struct lease_answer {
    /* Granted: put lease_voter_image() into the promise file before the answer
     * is queued. An answer sent first is a promise that can be forgotten. */
    bool write_file;
    /* Not 0: write it to the identity file durably, in its own time, and then
     * call lease_voter_longest_written(). The answer need not wait for it: it is
     * refused, or granted for no longer than what is written. */
    uint64_t write_longest_ns;
    struct lease_grant grant; /* To be sent to the owner. */
};

/* Answers a renewal, at its receipt. `renew` may hold anything. */
void lease_voter_on_renew(struct lease_voter *v, struct lease_time now,
                          const struct lease_renew *renew, struct lease_answer *ret_answer);

/* The store applied: `epoch` belongs to `owner` and `instance` (0: not named).
 * Lower epochs than known, as in a replay, change nothing. A live promise to an
 * older epoch stays. */
void lease_voter_on_epoch(struct lease_voter *v, uint64_t epoch, uint64_t owner, uint64_t instance);

/* The store applied the release of `epoch`: forgets a promise to it, and only
 * to it, and refuses it for ever. */
void lease_voter_on_release(struct lease_voter *v, uint64_t epoch);

/* The store applied this ttl (precondition: valid). A restarted agent passes
 * the one its guard kept. */
void lease_voter_on_ttl(struct lease_voter *v, struct lease_time now, uint64_t ttl_ns);

/* A barrier that was proposed after this process started was applied in the
 * voter's own store, and everything before it was told to this voter. */
void lease_voter_on_barrier(struct lease_voter *v);

/* The voter sets the node knows: the last committed one and, or NULL, a newer
 * one that is only logged. Copied. A committed set older than the one known
 * (replay) is ignored; the logged one is replaced always. Returns whether anything
 * changed: then lease_voter_image() must go into the promise file at once. A
 * voter that restarts with sets two changes old would help an owner who missed
 * the same changes to a majority that is none. */
LEASE_MUST_USE bool lease_voter_on_sets(struct lease_voter *v,
                                        const struct lease_voter_set *committed,
                                        const struct lease_voter_set *logged);

/*
 * Everything in the log before `index` was told to this voter, by on_epoch and
 * on_release: `index` is that of a committed set. Until then a voter that knows that
 * set refuses. Two of three voters that had logged two changes and knew nothing of an
 * epoch older than both would give its predecessor, which missed the same, a lease by
 * the set of before, while that epoch has one by the set of now (model: sets-back).
 * Lower ones than known change nothing. Returns whether anything changed: as on_sets.
 */
LEASE_MUST_USE bool lease_voter_on_level(struct lease_voter *v, uint64_t index);

/* What the identity file should say as longest grant but does not: more because
 * a longer ttl was applied, less because a shorter one has been in force for
 * the old duration. 0: nothing to write. One write at a time: while one is under
 * way, do not begin another. Asking for less binds: from then on nothing longer
 * is granted, whether or not the write succeeds. */
LEASE_MUST_USE uint64_t lease_voter_longest_wanted_ns(struct lease_voter *v, struct lease_time now);

/* The write of that value is durable now. */
void lease_voter_longest_written(struct lease_voter *v, uint64_t longest_ns);

/* ttl_max: the length of quarantines and of waits between voter changes. The
 * longest grant that may be out. */
uint64_t lease_voter_ttl_max_ns(const struct lease_voter *v);

enum lease_promise_state {
    LEASE_PROMISE_NONE = 0,
    LEASE_PROMISE_LIVE,
    LEASE_PROMISE_QUARANTINE, /* Counts as live for everybody else. */
};

/* What a voter says about itself in its status. */
struct lease_voter_status {
    enum lease_promise_state state;
    uint64_t epoch;     /* Of the live promise, or 0. */
    uint64_t owner;     /* Of the live promise, or 0. */
    uint64_t left_ns;   /* Until the promise, or part (i) of the quarantine, ends. */
    bool waits_barrier; /* In quarantine and no barrier was applied yet. */
    uint64_t highest_epoch;
};

void lease_voter_status(const struct lease_voter *v, struct lease_time now,
                        struct lease_voter_status *ret_status);

/* What belongs into the promise file now. Returns false in quarantine: a file
 * written then would be good after a restart, and would end the quarantine.
 * Must be written before a grant is queued and after on_sets; after on_epoch and
 * on_release it should be, which saves waiting after a restart. */
LEASE_MUST_USE bool lease_voter_image(const struct lease_voter *v, struct lease_time now,
                                      struct lease_image *ret_image);

/* ---- Promise file -------------------------------------------------------- */

#define LEASE_FILE_SIZE 1024

enum lease_file_verdict {
    LEASE_FILE_GOOD = 0,
    LEASE_FILE_EMPTY,      /* Nothing was ever written completely. */
    LEASE_FILE_OTHER_BOOT, /* Its promises were made before a reboot. */
    LEASE_FILE_OTHER_NODE, /* Another identity wrote it. */
    LEASE_FILE_DAMAGED,    /* In doubt: it may miss a promise. */
};

/* "good", "empty", ...: permanent, for logs. Never NULL. */
const char *lease_file_verdict_name(enum lease_file_verdict verdict);

/*
 * Writes `image` into the older of the two slots of `file`, which is the mapped
 * file itself: LEASE_FILE_SIZE bytes, aligned to 8, zeros when new. The stores
 * are made in an order that lets decode tell a write that was cut short by the
 * death of the process from damage; therefore do not write to a copy and copy
 * that. A file that is not good for this node and boot is begun anew.
 * Byte order is the machine's: the file does not outlive a boot.
 */
void lease_file_encode(void *file, const struct lease_image *image);

/* Reads a file (same size and alignment) for this node and boot. `ret_image` is
 * set only when good; everything else means quarantine. See lease_file.c for why
 * a slot that was cut short is good and a damaged one is not. */
LEASE_MUST_USE enum lease_file_verdict lease_file_decode(const void *file, uint64_t node_id,
                                                         const uint8_t boot_id[16],
                                                         struct lease_image *ret_image);

/* ---- Owner --------------------------------------------------------------- */

/* One counted-on answer. */
struct lease_owner_grant {
    uint64_t voter;
    uint64_t granted_ns;
    uint8_t n_sets;
    struct lease_voter_set sets[2];
};

struct lease_owner_round {
    bool used;
    uint64_t id;
    uint64_t duration_ns;   /* Asked for. */
    struct lease_time sent; /* Read before the first byte was queued. */
    uint8_t n_grants;
    struct lease_owner_grant grants[LEASE_GRANTS_MAX];
};

struct lease_owner {
    /* Who we are; fixed. */
    uint64_t node_id;
    uint64_t instance;
    /* What was told. */
    uint64_t ttl_ns;
    uint8_t n_sets; /* 0 to 2, as in struct lease_grant. */
    struct lease_voter_set sets[2];
    bool settled; /* A barrier of this process was applied (or see on_grant). */
    /* The epoch. */
    uint64_t epoch;             /* Ours, or 0. */
    uint64_t closed_epoch;      /* Dropped: it and lower ones are never ours again. */
    uint64_t higher_epoch;      /* Highest one a refusal named above ours, or 0. */
    struct lease_time since;    /* When we took or continued the epoch. */
    bool held;                  /* The deadline below was granted. */
    struct lease_time deadline; /* Moves forward only, within an epoch. */
    uint64_t term_ns;           /* What it was granted for; 0: no lease yet. */
    /* Rounds. */
    uint64_t next_round;
    bool sent_any;               /* A round of this epoch was begun, */
    struct lease_time sent_last; /* then. */
    uint8_t next_slot;
    struct lease_owner_round rounds[LEASE_ROUNDS_MAX];
    /* Newest reading of the clocks that was passed in. */
    struct lease_time seen;
    uint64_t clock_steps; /* How often a clock went backwards. */
};

/*
 * An owner of nothing yet. `first_round` is a random 64-bit number, new for
 * every process, so that answers to an earlier process are unknown rounds.
 *
 * Pass readings of the clocks in the order they were made, to all calls of one
 * owner: one that is older than the last is taken for a clock that went
 * backwards, and ends the lease and all rounds.
 */
void lease_owner_init(struct lease_owner *o, uint64_t node_id, uint64_t instance,
                      uint64_t first_round);

/* The ttl of the store, or of the guard after a restart. Precondition: valid. */
void lease_owner_on_ttl(struct lease_owner *o, uint64_t ttl_ns);

/* As lease_voter_on_sets(); after a restart the set the guard kept. */
void lease_owner_on_sets(struct lease_owner *o, const struct lease_voter_set *committed,
                         const struct lease_voter_set *logged);

/* A barrier proposed after the start of this process was applied here: the end
 * of the continue state. Before it only lease_owner_continue() gives an epoch. */
void lease_owner_on_barrier(struct lease_owner *o);

enum lease_take {
    LEASE_TAKEN = 0,
    LEASE_TAKEN_ALREADY,   /* It is ours; nothing changed. */
    LEASE_TAKE_STALE,      /* Lower than one that was ours, dropped, or named to us. */
    LEASE_TAKE_NOT_SETTLED /* Continue state: no new epoch yet. */
};

/* The store names this node and this instance as owner of `epoch`. A lease and
 * rounds of an older epoch are gone. */
LEASE_MUST_USE enum lease_take lease_owner_take(struct lease_owner *o, struct lease_time now,
                                                uint64_t epoch);

/* A restarted agent goes on with the epoch, deadline and term that its guard attests
 * for the same instance. Only before any other epoch was taken or continued. */
void lease_owner_continue(struct lease_owner *o, struct lease_time now, uint64_t epoch,
                          struct lease_time deadline, uint64_t term_ns);

/* Step 3 of a release, or the end of an epoch that passed to another: drops the
 * rounds and the lease; this epoch is never renewed again. To be called when no
 * process is left that can write and the guard has closed the epoch. */
void lease_owner_drop(struct lease_owner *o);

/*
 * Begins a round if there is an epoch of ours that nobody said is deposed, a
 * ttl and a voter set; else returns false and touches nothing. `now` is read
 * directly before, and the message is queued after. Replaces the oldest round
 * when all slots are in use.
 */
LEASE_MUST_USE bool lease_owner_begin_round(struct lease_owner *o, struct lease_time now,
                                            struct lease_renew *ret_renew);

/* Until the next round is due: a sixth of the ttl after the last, or of the term, while
 * that is shorter; 0: now; UINT64_MAX: there is nothing to renew. */
uint64_t lease_owner_next_round_ns(struct lease_owner *o, struct lease_time now);

/* To whom a renewal goes: members of all sets known here or named in an answer
 * to a round in flight, each once. Returns how many (at most LEASE_GRANTS_MAX). */
size_t lease_owner_targets(const struct lease_owner *o, uint64_t ret_ids[LEASE_GRANTS_MAX]);

enum lease_owner_event {
    LEASE_OWNER_COUNTED = 0,   /* The deadline moved: tell the guard. */
    LEASE_OWNER_NOTED,         /* A grant; no majority yet, or nothing gained. */
    LEASE_OWNER_REFUSED,       /* A refusal; its verdict says why. */
    LEASE_OWNER_DEPOSED,       /* A refusal that names a higher epoch: ours is over. */
    LEASE_OWNER_UNKNOWN_ROUND, /* Dropped. */
    LEASE_OWNER_OTHER_EPOCH,   /* Dropped: another epoch or instance. */
    LEASE_OWNER_DUPLICATE,     /* Dropped: that voter's grant is counted. */
    LEASE_OWNER_MALFORMED,     /* Dropped: impossible content. */
};

/* Takes an answer, which may hold anything. DEPOSED also ends the continue state
 * and lets no further round begin; the lease runs to its end unless dropped. */
LEASE_MUST_USE enum lease_owner_event
lease_owner_on_grant(struct lease_owner *o, struct lease_time now, const struct lease_grant *grant);

/* What is left of the lease; 0: there is none. */
uint64_t lease_owner_remaining_ns(struct lease_owner *o, struct lease_time now);

/* The deadline on both clocks, for the guard, to be read with
 * lease_left_owner_ns(). Both 0 without a lease. */
struct lease_time lease_owner_deadline(const struct lease_owner *o);

/* What the present lease was granted for, the ttl without one: after a change of the
 * ttl the voters go on granting what they did before for a while. */
uint64_t lease_owner_term_ns(const struct lease_owner *o);

uint64_t lease_owner_epoch(const struct lease_owner *o); /* Ours, or 0. */
bool lease_owner_is_settled(const struct lease_owner *o);
uint64_t lease_owner_higher_epoch(const struct lease_owner *o); /* Or 0. */

/* Has this owner been without a lease for as long as the arbiter waits before it
 * takes over (see lease_takeover_wait_ns())? Then it should release. Counted
 * from taking the epoch, or from the end of its last lease. */
bool lease_owner_should_give_up(struct lease_owner *o, struct lease_time now, uint32_t n_barren);

/* ---- Take-over and voter changes (the arbiter) --------------------------- */

/* How long an epoch is left alone after it was applied: ttl/2, doubled for each
 * of `n_barren` epochs in a row before it that never held a lease, at most 4 ttl. */
uint64_t lease_takeover_wait_ns(uint64_t ttl_ns, uint32_t n_barren);

/* What a voter last said about itself, and when that was received. */
struct lease_report {
    uint64_t voter;
    enum lease_promise_state state;
    struct lease_time received;
};

/* The arbiter's view. All pointers are borrowed for the call. */
struct lease_arbiter {
    const struct lease_voter_set *committed;
    const struct lease_voter_set *logged; /* Newer, not committed; or NULL. */
    const struct lease_report *reports;   /* At most one a voter counts: the last. */
    size_t n_reports;
    uint64_t ttl_ns;
    uint64_t status_period_ns;
    struct lease_time leader_since;  /* When it became leader. */
    struct lease_time epoch_applied; /* When it applied the present epoch. */
    uint32_t n_barren;               /* See lease_takeover_wait_ns(). */
    bool released;                   /* The present epoch was, or there is none. */
};

/* Do a majority of voters say that they hold no live promise, each in a status
 * received within the last two periods and since we became leader? Silence and
 * quarantine count as live. With a logged set, in both sets. */
bool lease_takeover_majority_is_free(const struct lease_arbiter *a, struct lease_time now);

enum lease_takeover {
    LEASE_TAKEOVER_RELEASED = 0, /* Yes: the epoch was released. */
    LEASE_TAKEOVER_EXPIRED,      /* Yes: nobody can hold a lease, for long enough. */
    LEASE_TAKEOVER_PROMISED,     /* No: no majority is known to be free. */
    LEASE_TAKEOVER_EARLY,        /* No: the present epoch is too young. */
};

/* May a next epoch be proposed? This is a guess about time and never a matter of
 * safety: that is up to the voters. */
enum lease_takeover lease_takeover_check(const struct lease_arbiter *a, struct lease_time now);

/* How long until the next voter change may be proposed; 0: now. ttl_max after we
 * became leader and after the previous change was applied (NULL: none since).
 * `ttl_max_ns` is the largest that any voter has: one that applies a shorter ttl
 * late still grants for longer. That no change is pending, the caller sees to. */
uint64_t lease_voter_change_wait_ns(struct lease_time now, struct lease_time leader_since,
                                    const struct lease_time *changed, uint64_t ttl_max_ns);

#endif
