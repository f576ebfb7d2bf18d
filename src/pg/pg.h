/*
 * The local PostgreSQL: what is seen of it, and the single operations that
 * sequences (ops/) are made of. Runs on the agent loop; nothing here blocks
 * it: what may (fsync, directory walks, name look-ups) happens in a child or a
 * worker thread. Nothing here decides.
 *
 * Parts: pg_conn (asynchronous libpq), pg_observe (one query), pg_proc
 * (children, the postmaster's pidfd, processes of a data directory), pg_conf
 * (configuration files), pg_control (pg_control, timeline history files).
 */
#ifndef VECHE_PG_PG_H
#define VECHE_PG_PG_H

#include <limits.h>
#include <uv.h>

#include "base/err.h"
#include "base/kv.h"
#include "base/str.h"
#include "core/decide.h"

struct pg;

struct pg_credentials {
    const char *user;
    const char *password;      /* NULL = none (trust, peer, certificates). */
    const struct kv_list *ssl; /* sslmode, sslcert, ... ; NULL = none. */
};

/* ---- The parent of the postmaster ---- */

/* Ends a start: the postmaster's pid and pidfd, which is then ours; or pid 0 and why. Once,
 * never before returning. */
typedef void (*pg_launched_cb)(void *data, pid_t pid, int pidfd, const char *problem);

struct pg_launch { /* Pointers live for the call. */
    bool as_primary;
    const char *path;
    const char *const *argv; /* Both end with NULL. */
    const char *const *env;
    const char *cwd;
    int output_fd;
};

/* The guard, as the agent knows it: it starts the postmaster and stops it from writing
 * without the lease. launch NULL: there is none, we are the parent (unit tests). */
struct pg_guard {
    /* 0: cb will come; -1 and why. */
    int (*launch)(void *data, const struct pg_launch *launch, pg_launched_cb cb, void *cb_data,
                  struct err *err);
    /* Asks it to be armed for a primary. 1 = it is; 0 = not yet, on_change follows; -1 = not
     * here, and why. */
    int (*arm)(void *data, struct err *err);
    void *data;
};

/* All pointers must stay valid until pg_close, or until pg_set_options replaced
 * them (a reload). */
struct pg_options {
    uv_loop_t *loop;
    const char *name;  /* Member name: application_name, slot name. */
    const char *scope; /* cluster_name */
    const char *data_dir;
    const char *config_dir;       /* = data_dir unless configured. */
    const char *bin_dir;          /* Empty: PATH. */
    const struct kv_list *bin_names; /* Program -> its name there; NULL, or not in it: its own. */
    const char *listen_addresses; /* "127.0.0.1,10.0.0.1" */
    uint16_t port;
    const char *connect_host; /* Where others, and we without a socket, reach it. */
    bool use_unix_socket;
    const char *database; /* For the agent's own sessions. */
    const char *pgpass;   /* File we write, 0600. */
    struct pg_credentials superuser, replication, rewind;
    const struct kv_list *parameters; /* Local over dynamic, already merged; of a standby. */
    const struct kv_list *hba;        /* Lines (keys); n == 0: leave PostgreSQL's file. */
    const struct kv_list *ident;
    /* The same of a primary; NULL = no other than a standby's. */
    const struct kv_list *primary_parameters, *primary_hba, *primary_ident;
    bool is_settled; /* What is here is the cluster's: the files of a running server follow it. */
    const struct kv_list *recovery_conf;
    const struct kv_list *bootstrap_recovery; /* Of a pg_start that recovers. */
    /* How a standby is made, in order (names are keys); "<method>.<key>" -> value. */
    const struct kv_list *replica_methods, *replica_settings;
    /* postgresql.basebackup and rewind: option -> value or NULL. NULL = none. */
    const struct kv_list *basebackup_options, *rewind_options;
    uint64_t stop_ms;             /* A fast stop that takes longer becomes an immediate one; */
    uint64_t primary_stop_ms;     /* that of a primary in a synchronous mode; 0 = stop_ms. */
    const char *custom_conf;      /* NULL = none. */
    const char *config_base_name; /* "postgresql" */
    const struct kv_list *callbacks;       /* "on_start" -> command; NULL = none. */
    const char *pre_promote, *before_stop; /* Commands, too. */
    bool use_slots;
    /* Permanent slots and those to be left alone: name -> "type\tdatabase\tplugin", what is
     * not said is empty. */
    const struct kv_list *slots, *ignore_slots;
    bool sync_on;    /* A synchronous mode: what starts lets no commit through before it is told. */
    uint64_t ttl_ms; /* tcp_user_timeout, wal_sender_timeout, ... follow it. */
    struct pg_guard guard;
    /* Something seen changed (state, exit of the postmaster, a promotion): the
     * agent marks itself dirty. */
    void (*on_change)(void *data);
    void *data;
};

struct pg *pg_new(const struct pg_options *options);
void pg_set_options(struct pg *pg, const struct pg_options *options);
void pg_close(struct pg *pg, void (*cb)(void *data), void *data);

/* ---- What is seen (pg_observe.c) ---- */

/* Starts an observation unless one is under way: pidfd, process scan, pg_control,
 * and, when it accepts connections, the one query. Results by on_change. Gives
 * up a query after a deadline and says so in the state. */
void pg_observe(struct pg *pg, uint64_t now_ms);

/* Copies what is known into the PostgreSQL part of a status and a view.
 * `members` names hosts for view_pg.upstream. */
void pg_fill(const struct pg *pg, const struct store *store, struct status *status,
             struct view_pg *view);

/* A fresh reading of positions for a take-over; cb once, never before returning. */
typedef void (*pg_positions_cb)(void *data, const struct positions *positions);
void pg_read_positions(struct pg *pg, uint64_t epoch, pg_positions_cb cb, void *data);

/* ---- Operations; a sequence step starts at most one at a time ---- */

/* Ends an operation: status 0, or -1 and the reason. Once, never before returning. */
typedef void (*pg_done_cb)(void *data, int status, const char *problem);

struct pg_start {
    bool as_standby;
    struct upstream upstream; /* Empty name: a standby that follows nobody. */
    bool unfinished;          /* It may be marked incomplete: what runs next completes it. */
    bool recovers;            /* A backup: recovery as bootstrap_recovery says, nobody is let in
                               * before its end; then it takes writes, on a line of its own. */
    bool keeps_recovery;      /* What the files it was made with say of that counts too. */
    bool closed;              /* pg_hba.conf keeps clients out, but for replication. */
    struct sync_wait sync;    /* For whom commits wait. */
};

/* Writes postgresql.conf (renaming the original once), pg_hba.conf, pg_ident.conf,
 * pgpass, standby.signal (or removes it), for that start. On a worker thread. */
void pg_write_conf(struct pg *pg, const struct pg_start *start, pg_done_cb cb, void *data);

/* Has the guard start the postmaster, or forks it (own session, survives us, clean
 * inheritance); watches it by pidfd. cb at once after exec or its failure; readiness shows in
 * pg_fill. A failure later is in pg_fill's problem with PostgreSQL's last FATAL line. */
void pg_start_server(struct pg *pg, const struct pg_start *start, pg_done_cb cb, void *data);

enum pg_stop_mode {
    PG_STOP_FAST,      /* SIGINT: clean shutdown with a checkpoint. */
    PG_STOP_IMMEDIATE, /* SIGQUIT. */
    PG_STOP_KILL,      /* SIGKILL to every process of the data directory. */
};

/* Signals; does not wait. Works on an adopted postmaster too. Never fails. */
void pg_signal_stop(struct pg *pg, enum pg_stop_mode mode);

pid_t pg_postmaster_pid(const struct pg *pg); /* 0 = none known. */

/* True when no process of the data directory is left (design.md section 5.1):
 * looks at /proc now. Bounded work, may be called from a tick. */
bool pg_is_down(struct pg *pg);

/* SIGKILL to what the postmaster left behind, and to itself; counts what is still
 * there. */
uint32_t pg_kill_all(struct pg *pg);

/* SIGKILL to what an agent before us has left behind at work on the data directory
 * (pg_helpers_kill); counts it. Not while a child of ours is. */
uint32_t pg_kill_strays(struct pg *pg);

void pg_reload(struct pg *pg); /* SIGHUP */
/* An operator asked for it: the files are written again and read, changed or not, with the
 * next pg_sync_apply. */
void pg_ask_reload(struct pg *pg);
/* How often PostgreSQL was told to read its files because the configuration is another, or
 * somebody asked; not when only roles, upstreams or synchronous commit changed. */
uint32_t pg_reloads(const struct pg *pg);
/* The WAL receiver that was seen last ends. Another is started unless primary_conninfo is empty. */
void pg_end_receiver(struct pg *pg);
/* pg_ctl promote's way: promote signal file and SIGUSR1; done when it is out of
 * recovery. It takes that timeline: the numbers between its own and that one are
 * held by placeholders in pg_wal first (pg_promote.c). */
#define PG_PROMOTE_GAP_MAX 1000
void pg_promote(struct pg *pg, uint32_t timeline, pg_done_cb cb, void *data);
/* One statement as superuser in its own session, bounded by deadline_ms. */
void pg_execute(struct pg *pg, const char *sql, uint64_t deadline_ms, pg_done_cb cb, void *data);

/* ---- Synchronous commit (pg_sync.c) ---- */

/* What is known of it here; the agent adds what it remembers itself. */
void pg_sync_fill(const struct pg *pg, struct view_sync *view);

/* One step towards what was decided, unless one is under way: writes the configuration
 * and reloads, or starts a commit of our own. `start`: the role in which it runs, with
 * the upstream of a standby. The files are also written again when the options are others
 * than they were written from, or the role is, and PostgreSQL then reads them if they
 * differ. Cheap: call it in every tick while no sequence runs. */
void pg_sync_apply(struct pg *pg, const struct sync_decision *decision,
                   const struct pg_start *start);

/* ---- Children (pg_proc.c) ---- */

/* Names the data directory in the environment of a child that runs an operator's command:
 * whatever that command starts inherits it, and is found by pg_kill_strays. */
#define PG_HELPS_VARIABLE "VECHE_WORKS_FOR"

struct pg_child;
/* Runs argv[0] from bin_dir as a child in its own process group with a clean
 * environment plus `env`; its output goes to the log line by line; its last lines
 * are the problem when it fails. Killed with everything it started by
 * pg_child_kill, and when the agent dies (PR_SET_PDEATHSIG). cb once, when it was
 * reaped. NULL with *err when it can not be started. */
struct pg_child *pg_child_start(struct pg *pg, const char *const *argv, const struct kv_list *env,
                                pg_done_cb cb, void *data, struct err *err);
void pg_child_kill(struct pg_child *child);
/* Changes while the child, or what it started, works: CPU time and bytes moved. Reads
 * /proc; what its own children did counts when they have ended. */
uint64_t pg_child_progress(const struct pg_child *child);
/* How far a pg_basebackup --progress is, and how fast since its start; false: it did not say. */
bool pg_child_copied(const struct pg_child *child, unsigned *ret_percent, double *ret_mb_per_s);

/*
 * Commands of the operator: callbacks, pre_promote, before_stop. Each slot runs one at a
 * time. What a command has started carries PG_SCRIPT_VARIABLE="<slot>:<data_dir>" in its
 * environment, so that all of it is found, whoever its parent is by now.
 */
#define PG_SCRIPT_VARIABLE "VECHE_RUNS_FOR"
enum pg_script {
    PG_SCRIPT_STEP,     /* Of a sequence. */
    PG_SCRIPT_CALLBACK, /* All callbacks but: */
    PG_SCRIPT_RELOAD,   /* on_reload. */
};

/* As pg_child_start, for a command line, by a shell, with further arguments (ends with
 * NULL). `label` names it in the log, which gets a bounded number of lines of its output.
 * pg_child_kill ends it with all it has started. */
struct pg_child *pg_script_start(struct pg *pg, enum pg_script slot, const char *label,
                                 const char *command, const char *const *args, pg_done_cb cb,
                                 void *data, struct err *err);
/* SIGKILL to whatever still runs of that slot, of an agent before us, too; counts it. */
size_t pg_script_sweep(struct pg *pg, enum pg_script slot);

/* ---- Things on disk ---- */

/* Marks the data directory as not valid (an initdb, clone or rewind is under way);
 * durable when cb comes. pg_fill says DATA_INCOMPLETE until it is cleared. The mark
 * stands beside the data directory, <data_dir>.veche-incomplete, and holds for what is
 * in it now and what is put into pg_making_dir (pg_mark.c). */
void pg_mark_incomplete(struct pg *pg, bool incomplete, const char *why, pg_done_cb cb, void *data);

/* As pg_mark_incomplete(true), for a clone with these options of pg_basebackup. Before it
 * the source may be asked for its tablespaces with pg_spaces_sql: what psql says (tuples
 * only, not aligned) is put into the file pg_spaces_answer. With that also those that a
 * clone was cut off in are emptied by the next one. */
void pg_mark_cloning(struct pg *pg, const char *why, const struct kv_list *options, pg_done_cb cb,
                     void *data);
extern const char pg_spaces_sql[];
const char *pg_spaces_answer(const struct pg *pg, char *path, size_t size);

/* As pg_mark_incomplete(true), for a command of the operator's that works in the data directory
 * itself, which it may remove and make anew: the mark holds for whatever is there. */
void pg_mark_method(struct pg *pg, const char *why, pg_done_cb cb, void *data);

/* Whether what such a command made is a database, of that system identifier (0 = any). On a
 * worker thread. */
void pg_check_made(struct pg *pg, uint64_t sysid, pg_done_cb cb, void *data);

/* The password file alone, before anything has been configured. On a worker thread. */
void pg_write_passwords(struct pg *pg, pg_done_cb cb, void *data);

/* Where the answer to a question may be put, beside the data directory. */
const char *pg_answer_path(const struct pg *pg, char *path, size_t size);

/* An empty directory of the last mark, inside the data directory, for what is made. */
const char *pg_making_dir(const struct pg *pg);

/* Moves what was made there into the data directory, which was emptied before. */
void pg_settle(struct pg *pg, pg_done_cb cb, void *data);

/* Marks it as under pg_rewind to that timeline of a source. pg_fill says DATA_REWINDING
 * until pg_mark_incomplete(false): the same rewind may be done again. */
void pg_mark_rewinding(struct pg *pg, uint32_t timeline, const char *why, pg_done_cb cb,
                       void *data);

/* ---- Diverged WAL (pg_keep.c); on a worker thread ---- */

/* What is kept of WAL that the cluster does not have. */
struct pg_kept {
    char path[PATH_MAX]; /* Empty = none. */
    uint64_t sysid;
    uint32_t timeline;
    lsn_t from;             /* Where the cluster left its line (pg_fork.h); 0 = not known. */
    lsn_t to;               /* Its end; 0 = not known: not shut down cleanly. */
    uint32_t from_timeline; /* That `from` is on: that one, or an older one. */
    uint64_t bytes;         /* to - from; where `to` is not known, at most; 0 without `from`. */
    uint32_t n_lost;        /* Segments from `from` on. */
    uint32_t n_missing;     /* Of those, not kept: more than the limit. */
    uint32_t n_before;      /* Kept too: pg_rewind needs them if it is cut off. */
    uint32_t n_waiting;     /* Of all those, for the archive: kept beyond the limit. */
    bool told;              /* It was handed on to the cluster's ledger. */
};

struct pg_keep {
    const struct store *store; /* Where the cluster's line is. Not used after the call. */
    uint64_t limit;            /* Bytes in all; older copies are removed for it. */
    bool for_rewind;           /* Also what it needs to be done again, until pg_keep_trim. */
};

/* Copies it beside the data directory. Nobody uses that. What it did is pg_kept(). */
void pg_keep_diverged(struct pg *pg, const struct pg_keep *what, pg_done_cb cb, void *data);
/* After a rewind that was cut off: puts it back for another one. Else does nothing. */
void pg_keep_restore(struct pg *pg, pg_done_cb cb, void *data);
/* The rewind is through: only what was diverged stays, and is within `limit`. */
void pg_keep_trim(struct pg *pg, uint64_t limit, pg_done_cb cb, void *data);
const struct pg_kept *pg_kept(const struct pg *pg);

/* What was given up and the ledger does not have yet is in the view (pg_loss.c): what an
 * agent before us recorded, once this was called, and what this one does. Also does what
 * that agent did not come to, pg_keep_trim. */
void pg_loss_recall(struct pg *pg, uint64_t limit);
/* What was kept is given up from here on: the data directory is marked. */
void pg_loss_given_up(struct pg *pg);
/* The ledger has it. Once a loss, in the background; then the next one is in the view. */
void pg_loss_told(struct pg *pg);

/* Removes the content of the data directory (and the targets of pg_wal and
 * tablespace links), not the directory itself nor pg_making_dir. Refuses DATA_FOREIGN.
 * On a worker thread. */
void pg_remove_data(struct pg *pg, pg_done_cb cb, void *data);

/* conninfo of a member for replication, for a command line: no password in it (pgpass has it),
 * nor sslpassword (the service file has it, which the child is to be given). */
const char *pg_conninfo(const struct pg *pg, const struct upstream *upstream, char *text,
                        size_t size);
/* The same with the role for pg_rewind: no replication connection. */
const char *pg_rewind_conninfo(const struct pg *pg, const struct upstream *upstream, char *text,
                               size_t size);
/* For a copy: its stream of WAL is not the standby's and must not be taken for it. */
const char *pg_clone_conninfo(const struct pg *pg, const struct upstream *upstream, char *text,
                              size_t size);
/* Where a file of services is to be, 0600, for PGSERVICEFILE, and what is to be in it. Both
 * empty: none is needed. */
void pg_service_file(const struct pg *pg, struct strbuf *ret_path, struct strbuf *ret_text);

/* Does in the background what core/slots.h decides of the replication slots here, unless it
 * is at it. Cheap: call it in every tick while PostgreSQL runs. */
void pg_sync_slots(struct pg *pg, const struct view *view);

/* Primary only: ends the WAL senders of that member that are older than `age_ms`. Once,
 * in the background. */
void pg_terminate_walsender(struct pg *pg, const char *member, uint64_t age_ms);

/* The name of one of PostgreSQL's programs in bin_dir. */
const char *pg_program(const struct pg_options *o, const char *program);

/* Our own options, for sequences. */
const struct pg_options *pg_options(const struct pg *pg);

#endif
