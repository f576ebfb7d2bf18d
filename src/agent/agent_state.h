/*
 * The inside of the agent, shared by the files of this folder only.
 */
#ifndef VECHE_AGENT_AGENT_STATE_H
#define VECHE_AGENT_AGENT_STATE_H

#include <uv.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/rng.h"
#include "conf/conf.h"
#include "consensus/consensus.h"
#include "consensus/identity.h"
#include "core/decide.h"
#include "core/formation.h"
#include "guard/guard_client.h"
#include "http/http.h"
#include "lease.h"
#include "ops/hooks.h"
#include "ops/ops.h"
#include "peer/peer.h"
#include "pg/pg.h"

#define AGENT_ACTIONS_MAX 16 /* Requests over REST that wait for their end. */

struct runtime { /* agent/runtime.c: what one boot remembers, in the runtime directory. */
    uint8_t boot_id[16];
    uint64_t instance;
    bool same_boot; /* An agent ran here before, in this boot. */
    void *promise;  /* Mapped promise file, LEASE_FILE_SIZE bytes. */
};

struct watching { /* agent/guard_watch.c: the section watchdog:, and what is seen of the device. */
    struct guard_watch told; /* As the guard is told. */
    uint64_t looked_ms;      /* Whether it could be opened, 0 = never, */
    int errnum;              /* and why not; 0 = it could. */
};

struct launch;
struct guarding {                /* agent/guard_hooks.c: what this agent knows of the guard. */
    struct guard_client *client; /* NULL on a witness. */
    bool is_ready;               /* It answered once, or did not for long: decisions may begin. */
    bool leaving;                /* It was told to end. */
    bool replacing;              /* It was told to, for another one to take its place. */
    bool is_silent;              /* It owes an answer: nothing is renewed. */
    bool end_asked;              /* It was killed for that. */
    enum guard_phase phase;      /* As logged last. */
    enum guard_verdict refused;  /* What it said to the last arm. */
    uint64_t refused_ms;         /* Then. */
    uint64_t n_lost;
    /* Asked for last, and confirmed. */
    uint64_t armed_epoch;
    struct clock_pair armed_deadline;
    bool armed_write;
    bool armed_unfenced;
    uint64_t fresh_mark; /* Epoch whose mark this process saw made, and did not propose to take
                          * back since, or that the guard was told of; 0 = none. */
    uint32_t n_unfenced_asked; /* Arms that say `unfenced`, and are not answered. */
    uint64_t confirmed_epoch;  /* 0 = nothing is. */
    struct clock_pair confirmed_deadline;
    bool confirmed_write;
    bool op_arms;              /* A sequence waits until it is armed for a primary. */
    uint64_t said_ms;          /* When it was last asked something. */
    struct launch *launch;     /* A start that is under way. */
    uint64_t strange_since_ms; /* PostgreSQL runs and the guard does not know it; 0 = not so. */
    uint64_t adopt_again_ms;
    struct view_guard seen; /* Margins. */
    struct watching watch;
};

struct agent_kept { /* guard_kept.c */
    uint64_t node_id;
    uint64_t ttl_ns;
    uint8_t n_sets;
    struct lease_voter_set sets[2];
};

struct action {             /* What was asked for over REST, and waits for its outcome. */
    enum command_kind kind; /* A switchover or failover, or a change of the configuration. */
    struct http_action *http;
    struct agent *agent;
    uint64_t request_id; /* Index of the request in the log; 0 until it is there. */
    uint64_t deadline_ms;
    uint64_t send_until_ms; /* No Raft leader: try again until then. */
    bool is_sent;           /* A proposal is out: the slot is not free before its answer. */
    bool to_send;           /* It has reached nobody yet. */
    uint8_t *bytes;         /* The request as a command. */
    size_t n_bytes;
    char from[NAME_SIZE]; /* Who was primary when it was asked. */
    char to[NAME_SIZE];   /* Candidate asked for; empty = any. */
    bool failover;
    bool scheduled; /* Answered as soon as it is in the store. */
    bool overtaken; /* Another change was first, or may have been. */
};

struct sync_memory { /* agent/sync.c: what the rules of synchronous modes want remembered. */
    uint64_t risky_revision;
    uint64_t gone_since_ms;
    uint64_t since_ms;
    struct sync_rests rests;
    uint64_t alone_since_ms; /* No standby is synchronous, or clients are kept out. */
};

struct agent {
    /* Fixed from start to end. */
    struct conf *conf;
    uv_loop_t loop;
    struct rng rng;
    struct runtime runtime;
    uint64_t started_ms;

    /* Who we are; saved on a worker thread (agent/identity_saver.c). */
    struct identity identity; /* As it shall be; */
    struct identity durable;  /* as it is on disk: what others are told. */
    bool identity_from_copy;  /* The file could not be read at the start. */
    bool formed_now;          /* This process bootstrapped Raft. */
    int lock_fd;              /* Holds the lock of the Raft directory. */
    struct identity_saver *saver;
    struct reload *reload; /* agent/reload.c: SIGHUP. */

    /* Modules. */
    struct consensus *consensus; /* NULL until a cluster is formed. */
    struct peer *peer;
    struct http *http;
    struct pg *pg;         /* NULL on a witness. */
    struct ops *ops;       /* NULL on a witness. */
    struct hooks *hooks;   /* NULL on a witness, and before they are made. */
    uint32_t reloads_told; /* pg_reloads() then. */

    /* The Raft directory (agent/raft_directory.c). */
    bool raft_after_guard;           /* It begins when the guard has answered. */
    bool raft_opening;               /* It is being opened, or bootstrapped. */
    bool raft_bootstraps;            /* The latter. */
    uint64_t raft_since_ms;          /* When that began. */
    uint64_t raft_again_ms;          /* It failed: not again before that. */
    bool raft_is_open;               /* Raft runs. */
    bool raft_waits;                 /* For others to confirm that nothing of it is missing; */
    uint64_t raft_asks_since_ms;     /* since then, */
    struct consensus_told raft_told; /* telling this. */
    node_id lost_id;                 /* A member that came back with less than it had; 0 = none. */
    bool raft_is_lost;               /* It is empty or damaged: this id never votes again (S6). */
    bool rejoin;                     /* Leave the loop and begin again under a new id. */
    char raft_problem[TEXT_SIZE];    /* Why it can not be used; empty = it can. */
    char raft_trouble[TEXT_SIZE];    /* It is in use, and can not be written; or empty. */

    /* Replicated: the copy that decisions read. */
    struct store store;
    struct conf_dynamic dynamic;          /* Parsed from store.config. */
    struct kv_list pg_parameters;         /* Local over dynamic, of a standby; */
    struct kv_list pg_primary_parameters; /* of a primary. */
    struct kv_list replica_settings;      /* Of create_replica_methods: local before dynamic. */
    struct kv_list bootstrap_recovery;    /* bootstrap.<method>.recovery_conf */
    struct consensus_leadership leadership;
    uint64_t contact_ms; /* A majority of voters was last heard; contact.c. */
    uint64_t leader_since_ms;
    uint64_t voters_changed_ms; /* The present voters were committed; 0 = before the start. */
    bool voter_change_runs;     /* We asked for one, as leader. */
    const char *last_voter_rule;
    uint64_t epoch_applied_ms;
    struct command commit_scratch;

    /* Lease. */
    struct lease_voter voter;
    struct lease_owner owner;
    uint64_t live_since_ms;    /* Of the present unbroken lease. */
    uint64_t wanted_since_ms;  /* Renewing without a lease since then. */
    uint64_t longest_asked_ns; /* Longest grant being written to the identity file; 0 = none. */
    uint64_t save_again_ms;    /* The identity file could not be written: when to retry; 0 = no. */
    bool lease_was_live;
    bool resumed;                 /* The promise file of the process before us was good. */
    bool continued;               /* And we go on with the lease it says we had. */
    bool has_renewed;             /* A round of this process was counted. */
    struct lease_renew own_renew; /* Round we have not answered ourselves yet; round 0 = none. */

    struct guarding guarding;

    /* Barrier after start (design.md section 5, Restart (ii)). */
    bool barrier_asked;
    bool barrier_known;     /* barrier_index is valid. */
    uint64_t barrier_index; /* Reached when our store applied it. */
    bool caught_up;

    /* Formation. */
    struct formation_input formation;
    struct hello hello;
    char formation_reason[TEXT_SIZE]; /* Last one logged. */
    bool joining_logged;

    /* Observed. */
    struct view_peer peers[MEMBERS_MAX];
    uint32_t n_peers;
    uint64_t positions_epoch;    /* Positions were asked for this epoch, */
    uint64_t positions_asked_ms; /* then. */
    struct positions own_positions;
    uint64_t own_positions_ms;

    /* Tick. */
    struct view view;
    struct decision decision;
    const char *last_node_rule;
    const char *last_cluster_rule;
    uint64_t diverged_since_ms;      /* Every decision since said so; 0 = it did not. */
    char logged_problem[TEXT_SIZE];  /* What stands in the way, as logged last. */
    char ended_walsender[NAME_SIZE]; /* The member whose WAL sender was ended last, */
    uint64_t ended_walsender_ms;     /* then. */
    uint64_t last_tick_ms;
    uint64_t dirty_ns; /* When it became dirty, by uv_hrtime(). */
    struct http_stats stats;
    uint64_t proposed_ms[COMMAND_KINDS];       /* When last proposed. */
    bool proposal_pending[COMMAND_KINDS];      /* Not answered yet. */
    uint64_t proposal_again_ms[COMMAND_KINDS]; /* It got no answer: not again before that. */
    uint64_t proposal_index[COMMAND_KINDS];    /* Applied there: not again before it is here. */
    struct status last_status;                 /* As told to the peers last. */
    uv_timer_t tick_timer;                     /* Armed for wake_ms. */
    uv_check_t tick_check;                     /* After each poll: the tick when dirty. */
    uv_idle_t tick_idle; /* While dirty: the loop does not wait in its poll. */
    uv_timer_t status_timer;
    uv_timer_t renew_timer;
    uv_timer_t observe_timer;
    bool dirty;

    struct sync_memory sync; /* agent/sync.c */

    /* Requests over REST. */
    struct action actions[AGENT_ACTIONS_MAX];
    struct list passed; /* Asked of other agents (agent/passed.c). */

    /* Stopping. */
    uv_signal_t sigterm, sigint, sighup, sigusr1;
    uint64_t stopping_since_ms; /* 0 = not stopping. */
    bool leaving;               /* Nothing is decided any more; sequences are being cancelled. */
    bool closing;               /* Modules let go. */
    int exit_code;
    unsigned n_open; /* Modules that have not let go yet. */
};

/* tick.c: marks that something was observed: a tick follows at once. */
void agent_mark_dirty(struct agent *a);
/* agent.c: ends the process in good order, without waiting for decisions. */
void agent_stop_now(struct agent *a, int exit_code);
/* Goes on with that once no sequence runs. */
void agent_try_close(struct agent *a);

/* tick.c */
void agent_tick(struct agent *a);
void agent_on_tick_timer(uv_timer_t *timer);
void agent_on_tick_check(uv_check_t *check);
void agent_tick_within(struct agent *a, uint64_t ms); /* At the latest then. */

/* agent.c */
void agent_fill_pg_options(struct agent *a, struct pg_options *options);

/* gather.c */
void agent_gather(struct agent *a, uint64_t now_ms);
void agent_fill_status(struct agent *a, uint64_t now_ms, struct status *status);
uint64_t agent_status_period_ms(const struct agent *a);
/* sync.c */
void agent_sync_fill(struct agent *a, uint64_t now_ms, struct view_sync *view);
void agent_sync_tick(struct agent *a, uint64_t now_ms); /* Carries out d->sync. */
void agent_sync_on_propose(struct agent *a, const struct command *c);
/* Fills status->problem if it is empty and something lasts that people should know. */
void agent_sync_problem(struct agent *a, uint64_t now_ms, struct status *status);
void agent_sync_on_caught_up(struct agent *a);
enum sync_mode agent_sync_mode(const struct agent *a);
/* contact.c: fills status->problem if it is empty and no majority is heard for long. */
void agent_contact_problem(struct agent *a, uint64_t now_ms, struct status *status);

/* callbacks.c: the operator's commands for what happens to PostgreSQL. */
void agent_callbacks_open(struct agent *a);
uint64_t agent_callbacks_tick(struct agent *a, uint64_t now_ms);
/* Ends them, the agent leaves; true when none is left. */
bool agent_callbacks_left(struct agent *a);

/* rest.c */
int agent_rest_open(struct agent *a, struct err *err);
/* restapi: with its files, on any thread. NULL and why: something is wrong with it. */
struct http_setup *agent_rest_load(const struct conf *c, struct err *err);

/* stats.c: for GET /metrics. */
const struct http_stats *agent_stats(void *data);

struct reload_result {   /* What became of a reload; texts are valid during the call only. */
    bool taken;          /* False: refused whole, everything goes on as before; */
    bool hangs;          /* or nobody knows yet: it is still being read. */
    const char *why;     /* File, line, key and what was expected. "" when taken. */
    const char *changed; /* Keys that are in force now, with commas between; "" = none. */
    const char *restart; /* Keys whose change waits for a restart of the agent; "" = none. */
};
typedef void (*reload_cb)(void *data, const struct reload_result *result);

/* reload.c: the configuration is read again, soon, whole or not at all. cb (may be NULL) is
 * called once, within seconds, on the loop, also when the agent stops first. False, and it is not
 * called: too many wait already, the agent stops, or no thread can be started. */
void agent_reload_init(struct agent *a);
bool agent_reload(struct agent *a, reload_cb cb, void *data);
void agent_reload_close(struct agent *a, void (*cb)(void *data), void *data);
/* For whoever asked over REST. */
void agent_describe_reload(const struct reload_result *result, struct strbuf *text);
void agent_fill_secrets(const struct conf *c, struct peer_secrets *secrets);

/* proposals.c: sends a command to the leader, from wherever it is. */
void agent_propose(struct agent *a, const struct command *c);
typedef void (*agent_result_cb)(void *data, const struct propose_result *result);
void agent_propose_bytes(struct agent *a, const void *bytes, size_t size, agent_result_cb cb,
                         void *data);

/* replicated.c: committed commands, leadership, barrier; hooks of consensus. */
void agent_on_commit(void *data, uint64_t index, const struct command *c);
void agent_on_restore(void *data, const struct store *s);
void agent_on_leadership(void *data, const struct consensus_leadership *l);
void agent_apply_config(struct agent *a);
/* Says in which keys the file's bootstrap.dcs differs from the store: it is read only once. */
void agent_compare_seed(const struct agent *a, bool was_edited);
void agent_apply_pg_options(struct agent *a); /* After a change of the configuration. */
void agent_ask_barrier(struct agent *a);

/* lease_hooks.c: the lease library between timers, peers and the promise file. */
void agent_lease_init(struct agent *a);
void agent_lease_on_primary(struct agent *a, unsigned changes);
void agent_lease_tick(struct agent *a, uint64_t now_ms);
void agent_lease_renew(struct agent *a);
void agent_lease_on_peer_up(struct agent *a);
/* Drops the epoch for good, here, at the guard and in the promise file. */
void agent_lease_give_up(struct agent *a);
void agent_on_renew_timer(uv_timer_t *timer);
void agent_lease_longest_written(struct agent *a);
void agent_on_renew(void *data, node_id from, const struct lease_renew *renew);
void agent_on_grant(void *data, node_id from, const struct lease_grant *grant);
struct lease_time agent_lease_now(void);

/* guard_hooks.c: the guard between lease, PostgreSQL and tick. On a witness nothing. */
void agent_guard_open(struct agent *a);
/* It leaves too if the agent was told to stop and PostgreSQL is down. */
void agent_guard_close(struct agent *a, void (*cb)(void *data), void *data);
/* Takes what it has said. Whether decisions may begin: what it holds is known, or it takes
 * too long. */
bool agent_guard_is_ready(struct agent *a, uint64_t now_ms);
void agent_guard_arm(struct agent *a); /* If there is something new to tell. */
/* An agent before this one gave that epoch up: it is never ours again. */
bool agent_guard_has_closed(const struct agent *a, uint64_t epoch);
void agent_guard_close_epoch(struct agent *a, uint64_t epoch);
/* What is left of the deadline that it confirmed for our present epoch. */
uint64_t agent_guard_confirmed_ns(struct agent *a, struct lease_time now);
bool agent_guard_lets_renew(const struct agent *a);
uint64_t agent_guard_tick(struct agent *a, uint64_t now_ms); /* Returns when to call again. */
void agent_guard_fill(struct agent *a, struct view *view);
/* The mark of a pause: a command was applied; one is proposed. */
void agent_guard_on_mark(struct agent *a, bool was_unfenced);
void agent_guard_on_propose(struct agent *a, const struct command *c);
bool agent_guard_is_armed(const struct agent *a);
/* Which it was told is unfenced, also by the agent before this one; 0 = none is. */
uint64_t agent_guard_unfenced_epoch(const struct agent *a);
struct pg_guard agent_guard_for_pg(struct agent *a);

/* guard_launch.c */
int agent_guard_launch(void *data, const struct pg_launch *how, pg_launched_cb cb, void *cb_data,
                       struct err *err); /* pg_guard.launch */
void agent_guard_try_launch(struct agent *a, uint64_t now_ms);
void agent_guard_end_launch(struct agent *a); /* One that the guard was not asked for yet. */

/* guard_watch.c */
/* Takes the section over: the guard is told at once, and whenever it comes up. True: it is
 * another than before. */
bool agent_watch_configure(struct agent *a, const struct conf *c);
void agent_watch_tell(struct agent *a);
void agent_watch_look(struct agent *a, uint64_t now_ms);
/* False: a watchdog is required, and there will be none; why (err may be NULL). */
bool agent_watch_lets(const struct agent *a, struct err *err);

/* guard_kept.c */
void agent_kept_encode(const struct agent *a, struct guard_kept *ret_kept);
MUST_USE bool agent_kept_decode(const struct guard_kept *kept, struct agent_kept *ret_kept);

/* form.c: first start (design.md section 7). */
void agent_formation_init(struct agent *a);
void agent_formation_step(struct agent *a);
void agent_on_hello(void *data, const struct hello *hello);
void agent_update_hello(struct agent *a);
/* Its connection ended: what it answered may be old. */
void agent_forget_answer(struct agent *a, node_id id);
/* The identity was written: go on with what waited for it. */
void agent_on_identity_saved(void *data, const struct identity *saved, int status,
                             const char *problem);

/* continuity.c: after a reboot the others are asked before Raft takes part. */
void agent_raft_begin(struct agent *a);
void agent_raft_await(struct agent *a, uint64_t now_ms);

/* raft_directory.c: opens Raft, and again when that failed. */
void agent_raft_note_loss(struct agent *a, const char *problem);
void agent_raft_bootstrap(struct agent *a, const node_id *members, uint8_t n);
void agent_raft_start(struct agent *a);
void agent_raft_tick(struct agent *a, uint64_t now_ms);
/* Carries out what was decided about the voters. */
void agent_change_voters(struct agent *a);
/* A cluster runs and this node has never been one of its voters: come in. */
void agent_raft_join(struct agent *a, uint64_t cluster_id);
/* Whether this node shall be made a voter. */
bool agent_wants_vote(const struct agent *a);
/* With the loop ended: puts the lost Raft state aside and writes a new identity. */
int agent_raft_set_aside(const struct agent *a, struct err *err);

/* peers.c: hooks of peer/. */
void agent_peer_hooks(struct agent *a, struct peer_hooks *hooks);
struct view_peer *agent_find_peer(struct agent *a, node_id id);

/* actions.c: requests over REST. */
void agent_on_request(void *data, struct http_action *http, const struct command *command);
int agent_change_config(void *data, const char *body, bool replace, struct command *ret_command,
                        struct err *err);
/* Answers all that wait: the agent stops. */
void agent_actions_close(struct agent *a);
void agent_actions_tick(struct agent *a, uint64_t now_ms);

/* passed.c: what is asked of one member by way of the agent of another: hooks of http/ and peer/.
 */
void agent_on_reload(void *data, struct http_action *http, const char *member);
void agent_on_action(void *data, uint64_t token, const char *from, enum peer_action action);
void agent_passed_close(struct agent *a); /* Before http/ is closed. */

/* runtime.c */
int runtime_open(struct runtime *r, const char *directory, struct err *err);
void runtime_close(struct runtime *r);

/* identity_saver.c: identity_save on a thread of its own, newest wins. */
struct identity_saver;
typedef void (*identity_saved_cb)(void *data, const struct identity *saved, int status,
                                  const char *problem);
/* copy_directory: of a second copy, see load_identity in agent.c. */
struct identity_saver *identity_saver_new(uv_loop_t *loop, const char *directory,
                                          const char *copy_directory, identity_saved_cb cb,
                                          void *data);
void identity_saver_save(struct identity_saver *s, const struct identity *identity);
/* Gives up after a second when the disk does not answer: the thread is then left to the end of
 * the process. cb when the handle is closed. */
void identity_saver_close(struct identity_saver *s, void (*cb)(void *data), void *data);

#endif
