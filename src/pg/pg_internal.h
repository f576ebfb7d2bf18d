/*
 * What the files of pg/ share: struct pg and the steps between its parts. For
 * pg/ only.
 */
#ifndef VECHE_PG_PG_INTERNAL_H
#define VECHE_PG_PG_INTERNAL_H

#include <limits.h>

#include "base/list.h"
#include "base/log.h"
#include "core/slots.h"
#include "pg/pg.h"
#include "pg/pg_conn.h"
#include "pg/pg_control.h"
#include "pg/pg_history.h"
#include "pg/pg_worker.h"

#define PG_MAJOR_MIN 13
#define PG_MAJOR_MAX 18

#define PG_WAITERS_MAX 8
#define PG_SLOTS_MAX   64

/* ---- Options (pg_options.c) ---- */

/* A private copy of the options that never changes. Jobs hold a reference, so that
 * a reload can not pull a string from under the thread. */
struct pg_opts {
    struct pg_options o;
    uint64_t revision; /* Every pg_set_options makes a new one. */
    uint32_t n_refs;   /* Counted on the loop only. */
};

struct pg_opts *pg_opts_copy(const struct pg_options *options);
struct pg_opts *pg_opts_hold(struct pg_opts *opts);
void pg_opts_release(struct pg_opts *opts); /* NULL is fine. */
/* The options as they are in that role: a shallow copy. */
void pg_options_of_role(const struct pg_options *o, bool as_standby,
                        struct pg_options *ret_options);

/* ---- The disk and /proc, read on the thread (pg_look.c) ---- */

enum pg_pidfile_status { /* Line 8 of postmaster.pid (pidfile.h). */
                         PG_PIDFILE_NONE,
                         PG_PIDFILE_STARTING,
                         PG_PIDFILE_STOPPING,
                         PG_PIDFILE_READY, /* Takes connections: out of recovery, or a hot standby.
                                            */
                         PG_PIDFILE_STANDBY, /* Recovers, and takes no connections yet. */
};

struct pg_pidfile {
    pid_t pid; /* 0 = no file, or not readable as one. */
    uint16_t port;
    char data_dir[PATH_MAX];
    char socket_dir[HOST_SIZE]; /* Empty = no socket. */
    enum pg_pidfile_status status;
};

struct pg_disk {
    enum data_state data;
    char problem[TEXT_SIZE]; /* Why data is not DATA_VALID; empty = nothing to say. */
    char path[PATH_MAX];     /* realpath of the data directory; empty = there is none. */
    uint32_t rewind_timeline; /* data is DATA_REWINDING: the source's; 0 = it is lost, */
    bool rewind_gone;         /* and that because what it needs is gone. */
    uint32_t major;          /* PG_VERSION; 0 = none. */
    bool has_control;
    struct pg_control control;
    bool has_standby_signal; /* Or recovery.signal. */
    struct pg_pidfile pidfile;
    uint32_t n_processes;
    bool gate_closed;     /* pg_hba.conf is pg_gate_render's. */
};

void pg_look(const struct pg_options *o, struct pg_disk *ret_disk);
/* Reads and checks <data_dir>/postmaster.pid, or any lock file like it. */
void pg_look_pidfile(const char *data_dir, struct pg_pidfile *ret_pidfile);
void pg_look_lock_file(const char *path, struct pg_pidfile *ret_pidfile);
uint32_t pg_look_major(const char *data_dir); /* 0 = no PG_VERSION. */
/* disk is zeroed before. */
enum data_state pg_look_data(const struct pg_options *o, struct pg_disk *disk);
/* As if nothing was marked incomplete: what the directory itself looks like. */
enum data_state pg_look_behind_mark(const struct pg_options *o, struct pg_disk *disk);

/* The line that says why the server that ended could not start; empty if none. False
 * if it is a guess. */
bool pg_failure_read(const struct pg_options *o, char *text, size_t size);
/* Why the WAL receiver ended last, without what stands before it on the line. */
bool pg_failure_receiver(const struct pg_options *o, char *text, size_t size);
bool pg_failure_find_receiver(const char *log, char *text, size_t size);
/* Why a standby gets no WAL, and what to do. */
void pg_failure_read_stream(const struct pg_options *o, char *text, size_t size);
/* The same of a log's tail, which is cut into lines; false if nothing there says it. */
bool pg_failure_find_stream(char *log, char *text, size_t size);
/* Keeps the file of the postmaster's output bounded; one older is kept. */
void pg_failure_rotate(const struct pg_options *o);
/* The most telling line of a log's tail. */
bool pg_failure_find(const char *log, char *text, size_t size);
/* The lines that a log of CSV would be without it. On the heap. */
char *pg_failure_of_csv(const char *csv);

/* ---- One row of the observation (pg_row.c) ---- */

struct pg_row {
    bool in_recovery;
    uint64_t sysid;
    uint32_t timeline; /* Of a primary: where it writes; of a standby: the newest known. */
    uint32_t checkpoint_timeline;
    lsn_t flushed, received, replayed;
    int64_t replay_time_us;
    bool replay_paused;
    bool streaming;
    bool receives;        /* view_pg.receives */
    int64_t receiver_pid; /* Of the WAL receiver, also while it connects; 0 = none. */
    bool has_restore_command;
    struct pending_restart pending; /* Also of what the command line would say now. */
    int64_t start_us;
    uint32_t version;
    char upstream_host[HOST_SIZE]; /* From primary_conninfo. */
    uint16_t upstream_port;
    uint32_t n_replicas;
    struct view_replica replicas[MEMBERS_MAX];
    uint32_t n_slots;
    struct slot_seen slots[PG_SLOTS_MAX];
    char sync_names[TEXT_SIZE]; /* synchronous_standby_names, cut. */
    int64_t waiting_pid;        /* A session of ours whose commit waits for a standby; 0 = none. */
};

extern const char pg_row_sql[];
/* Parses the result of pg_row_sql. -1 if it is not one. Appends the controlled
 * parameters as they are in force to `settings`. */
MUST_USE int pg_row_parse(const PGresult *result, struct pg_row *ret_row, struct kv_list *settings,
                          struct err *err);
/* host and port of a connection string; empty and 0 when it has none. */
void pg_row_parse_conninfo(const char *conninfo, char *host, size_t size, uint16_t *ret_port);

/* ---- struct pg ---- */

struct pg_names { /* pg_names.c */
    char program[PATH_MAX]; /* The rest is of this file; empty = of none yet. */
    ino_t inode;
    time_t changed;
    struct kv_list known, unknown; /* Keys. */
    /* Values, the one asked about last of each parameter that is configured; what was taken
     * before is in force still where the next one is refused. */
    struct kv_list taken, refused;
    struct kv_list former;    /* Of the file that the process before has left; not yet asked. */
    uint32_t limit_ms;        /* Of all questions of a write; 0 = as pg_names.c has it. */
    uint64_t answer_by_ms;    /* Of this write; 0 = nothing more is asked. */
    uint64_t silent_until_ms; /* It hung: not asked before. */
};

struct pg_waiter { /* A question for fresh positions. */
    uint64_t epoch;
    uint64_t round; /* Answered by the first observation from this one on. */
    pg_positions_cb cb;
    void *data;
};

struct pg_postmaster {
    pid_t pid;              /* 0 = none known. */
    int pidfd;              /* -1 = none. */
    bool is_child;          /* Ours to wait for. */
    bool was_ready;         /* It accepted connections once. */
    bool starts_as_standby; /* As we started it; else standby.signal told. */
    uv_poll_t *poll;
    uint64_t started_ms; /* When we started or adopted it. */
};

struct pg_sync { /* pg_sync.c */
    pid_t postmaster;   /* Of which the rest is known. */
    bool writing;
    bool tells;            /* What is being written says something new of it. */
    bool configured;       /* It is written because the configuration is another, */
    bool asked;            /* or because somebody asked. */
    struct sync_wait next; /* That. */
    uint64_t round;        /* Only rows from this observation on are of what was written. */
    uint64_t row_round;    /* Observation of the last row. */
    uint64_t again_ms;     /* The same is not written again before this. */
    struct sync_wait file; /* Written last; SYNC_WAIT_KEEP = nothing by this process yet. */
    struct pg_conn *conn; /* Of our own commit. */
    bool probing;
    uint64_t probed_ms; /* It ended last. */
    int64_t probe_pid;  /* Seen to wait; 0 = not. */
    bool quiet;         /* The last row: it waits, and no WAL sender can release it. */
    bool held;
    lsn_t held_lsn;
    bool released;
};

enum pg_slots_lane {
    PG_SLOTS_PHYSICAL, /* And every drop. */
    PG_SLOTS_LOGICAL,  /* Making them may wait long. */
    PG_SLOTS_LANES
};

struct pg_slots { /* pg_slots.c */
    struct pg_slots_run *runs[PG_SLOTS_LANES]; /* Statements under way; NULL = none. */
    uint64_t round;                    /* Only a later observation shows what was done. */
    uint64_t again_ms[PG_SLOTS_LANES]; /* After a failure not before this. */
    uint64_t advanced_ms;              /* Small steps forward were made last. */
    bool moved;                        /* In the present round one was. */
    uint64_t looked_ms, since_ms;      /* Looked at last; without a gap since then. */
    uint32_t n_known;                  /* Wanted by this process at some time. */
    struct pg_known_slot {
        char name[NAME_SIZE];
        enum slot_type type;
        lsn_t told; /* Logical: what its consumer had last; 0 = not known. */
    } known[PG_SLOTS_MAX];
    size_t n_told;
    uint64_t told[PG_SLOTS_MAX]; /* Hashes of what was logged. */
};

struct pg {
    uint32_t magic;
    struct pg_opts *opts;
    bool closing;
    uint32_t n_open; /* Handles, jobs, calls that still end; close waits for all. */
    void (*close_cb)(void *data);
    void *close_data;

    struct pg_worker *looker; /* Reads: never behind a removal of a big directory. */
    struct pg_worker *writer;

    /* The postmaster. */
    struct pg_postmaster postmaster;
    uint64_t gone_ms;  /* When its end was noticed; 0 = not. */
    bool stop_asked;   /* We signalled it to end. */
    bool start_failed; /* Ended before it was ready. */
    bool starting;     /* pg_start_server is under way. */
    char failure[TEXT_SIZE];

    /* What was seen. */
    bool looked;         /* disk holds something. */
    uint32_t disk_epoch; /* Counts changes by us; a look that began before one is void. */
    bool end_unseen;     /* The postmaster ended, the disk was not looked at since. */
    struct pg_disk disk;
    bool has_row; /* row is of the present postmaster. */
    struct pg_row row;
    bool was_primary;          /* The last row was of a primary. */
    uint64_t not_streaming_ms; /* Since when the rows say so of a standby; 0 = they do not. */
    char stream_failure[TEXT_SIZE];
    uint64_t seen_ms;
    uint64_t unstreamed_ms;   /* Since when a standby that should stream does not; 0 = it does. */
    char receiver[TEXT_SIZE]; /* Why; empty = not known. */
    enum pg_answer answer;    /* Of the last query. */
    char answer_text[TEXT_SIZE];
    struct pg_history history; /* Of the timeline we write. */

    /* The observation under way. */
    bool observing;
    bool looking;        /* The thread has a look of ours. */
    bool waits_for_look; /* The observation goes on when it is back, or late. */
    bool observe_again;
    bool retried;         /* The query, on a new connection. */
    uint64_t round;       /* Counts observations. */
    uint64_t fingerprint; /* Of what was last told by on_change. */
    struct pg_conn *conn;
    struct pg_waiter waiters[PG_WAITERS_MAX];
    size_t n_waiters;
    uv_fs_event_t *watch; /* The data directory, for postmaster.pid. */
    pid_t watched;        /* The postmaster it was set up for; 0 = none. */
    uv_timer_t *timer;    /* Looks again while something is awaited. */

    /* Configuration written last. */
    bool has_written;
    struct pg_start written;
    uint64_t written_revision; /* Of the options it was written from. */
    struct pg_names names;     /* The writer's. */
    bool unread;               /* The server that runs may not have read the files as they are. */
    bool reload_asked;         /* pg_ask_reload */
    uint32_t n_reloads;        /* pg_reloads */

    char making[PATH_MAX]; /* Where initdb or a clone puts its work; of the last mark. */
    struct pg_kept kept;   /* Of the last pg_keep_diverged or pg_keep_restore. */
    struct pg_kept loss;   /* To be told to the ledger; timeline 0 = none. */
    bool loss_busy;        /* It was told, and that is being recorded. */

    struct pg_sync sync;

    /* Operations. */
    pg_done_cb promote_cb;
    void *promote_data;
    uint32_t promote_to;
    uint64_t promote_signal_ms; /* When the signal was sent last; 0 = not yet. */
    uint32_t taken_timeline; /* A promotion found this number taken; 0 = none did. */
    struct pg_slots slots;
    struct list children;   /* struct pg_child.node */
    struct list executions; /* struct execution.node */
};

#define PG_MAGIC 0x50475347

/* n_open, so that pg_close knows when nothing can come any more (pg.c). */
void pg_hold(struct pg *pg);
void pg_release(struct pg *pg);
void pg_changed(struct pg *pg);

/* Closes a heap-allocated handle of pg whose data is pg, and frees it. */
void pg_close_handle(struct pg *pg, uv_handle_t *handle);

/* ---- Parts ---- */

/* Looks again soon, until nothing is awaited. */
void pg_observe_soon(struct pg *pg);
void pg_observe_close(struct pg *pg);
enum pg_state pg_state_of(const struct pg *pg);
enum pg_role pg_role_of(const struct pg *pg);
/* What the lock file says, if it is the postmaster's. */
enum pg_pidfile_status pg_pidfile_status_of(const struct pg *pg);

/* Takes over the pidfd. */
void pg_postmaster_watch(struct pg *pg, pid_t pid, int pidfd, bool is_child);
void pg_postmaster_drop(struct pg *pg);
uint32_t pg_kill_count(const struct pg *pg); /* Processes of the data directory now. */

struct strbuf;
void pg_sync_init(struct pg *pg);
void pg_sync_row(struct pg *pg); /* After each row. */
bool pg_sync_is_awaiting(const struct pg *pg); /* Something changes soon that no event tells of. */
void pg_sync_close(struct pg *pg);

void pg_slots_fill(const struct pg *pg, struct status *status);
/* Permanent ones; then PostgreSQL 17 is to synchronize them on standbys. */
bool pg_slots_has_logical(const struct pg_options *o);
/* The statement for a decision; nothing for one to keep it. */
void pg_slots_sql(const struct slot_spec *spec, const struct slot_decision *d, bool in_recovery,
                  uint32_t major, struct strbuf *sql);

/* As pg_execute, in that database; NULL = ours. It must stay valid until cb. */
void pg_execute_in(struct pg *pg, const char *database, const char *sql, uint64_t deadline_ms,
                   pg_done_cb cb, void *data);

void pg_promote_check(struct pg *pg); /* After each observation and exit. */

/* Where our own sessions connect; false if nothing is known to listen. */
bool pg_own_target(const struct pg *pg, struct pg_conn_target *ret_target);

/* Parameters (pg_params.c). */
enum pg_param_class {
    PG_PARAM_PLAIN,
    PG_PARAM_CONTROLLED, /* On the command line. */
    PG_PARAM_RECOVERY,   /* In the recovery section. */
    PG_PARAM_OWN,        /* Recovery, and decided by us alone. */
};
enum pg_param_class pg_param_classify(const char *name);
/* Appends the controlled parameters with their values. control: of a start in
 * recovery, whose limits must not be undercut; else NULL. `complain` of values that
 * can not be used. True if one was raised. */
bool pg_params_controlled(const struct pg_options *o, const struct pg_control *control,
                          bool complain, struct kv_list *out);
/* Adds what a restart would change of a server with these settings, of what is on its
 * command line. `settings` may hold any; one that is not there is taken for equal. */
void pg_params_pending(const struct pg_options *o, const struct kv_list *settings,
                       struct pending_restart *pending);
/* Adds one more, unless it is there; what is too long is cut, for people. Full: it is left
 * out. */
void pg_pending_add(struct pending_restart *pending, const char *name, const char *old_value,
                    const char *new_value);
/* "16384" of unit "8kB" as "128MB"; any other text as it is. */
void pg_param_humanize(const char *value, const char *unit, char *text, size_t size);
/* Everything else for postgresql.conf, sorted: given ones that this major version
 * has, and what follows ttl. names NULL: what the version has is not asked. */
void pg_params_plain(const struct pg_options *o, uint32_t major, struct pg_names *names,
                     struct kv_list *out);

/* Rendering (pg_conf.c); pure, but for the names. */
struct pg_render {
    const struct pg_options *o;
    uint32_t major;
    const struct pg_start *start;
    const struct pg_control *control; /* NULL = unknown or a start as primary. */
    bool has_base;                    /* <base>.base.conf exists. */
    const char *socket_dir;           /* NULL = PostgreSQL's default. */
    struct pg_names *names;           /* NULL = every parameter is taken for known. */
};
struct strbuf;
void pg_conf_render(const struct pg_render *r, struct strbuf *out);
void pg_conf_render_lines(const struct kv_list *lines, const char *what, struct strbuf *out);
/* Admits the superuser from this host only. */
void pg_conf_render_closed_hba(const struct pg_options *o, struct strbuf *out);
void pg_conf_render_pgpass(const struct pg_options *o, struct strbuf *out);
/* postgresql.auto.conf without recovery parameters, and those of synchronous commit if
 * `sync`. False if it had none. */
bool pg_conf_strip_auto(const char *text, bool sync, struct strbuf *out);
/* The value of synchronous_standby_names. A name of Patroni's, so that what watches it
 * knows it; conf/ refuses it to members. */
#define PG_SYNC_PLACEHOLDER "__patroni_strict_sync_replica_placeholder__"
const char *pg_sync_text(const struct sync_wait *wait, char *text, size_t size);
/* pg_gate.c: of the lines of a pg_hba.conf those for replication, and what lets us in. */
#define PG_GATE_HEADER "# Closed by Veche: clients wait until commits are known to wait.\n"
void pg_gate_render(const struct pg_options *o, const char *lines, struct strbuf *out);
bool pg_gate_is_closed(const struct pg_options *o);
bool pg_conf_is_ours(const char *text);
/* Settings of a text that is ours; of one given twice the last. */
void pg_conf_parse(const char *text, struct kv_list *settings);
const char *pg_conf_conninfo(const struct pg_options *o, const struct upstream *upstream,
                             char *text, size_t size);

/* Removes what would make PostgreSQL believe that a server of this data directory
 * still runs, when none does (pg_lock.c). On the thread. */
MUST_USE int pg_lock_remove_stale(const struct pg_options *o, const char *data_path,
                                  struct err *err);

/* Files, on the thread (pg_files.c). */
#define PG_TEXT_FILE_MAX (1024 * 1024)
/* Whole, durable, replaced at once. */
MUST_USE int pg_file_write(const char *path, const char *text, size_t size, mode_t mode,
                           struct err *err);
/* On the heap, terminated; NULL with errno. */
char *pg_file_read(const char *path, size_t size_max);
MUST_USE int pg_file_remove(const char *path, struct err *err); /* Missing is fine. */
MUST_USE int pg_file_sync_dir(const char *path, struct err *err);
MUST_USE int pg_file_sync_parent(const char *path, struct err *err);
/* A directory with what it is in, as initdb and pg_basebackup would; but durable, so that it is
 * the same one after a crash. Whether it is there is the caller's question. */
void pg_file_make_dirs(const char *path);
/* Identity of a file, also after its inode number was used again; no space in it. Path and
 * flags as of statx; empty = there is none. */
#define PG_FILE_ID_SIZE 80
void pg_file_id(int dir, const char *path, int flags, char *id, size_t size);
/* The path beside the data directory, as <data_dir>.veche-<what>. */
void pg_file_beside(const char *data_dir, const char *what, char *path, size_t size);

/* Whether that postgres can run data of that major version (pg_version.c). */
MUST_USE int pg_version_check(const char *program, uint32_t data_major, struct err *err);
uint32_t pg_version_parse(const char *text); /* Of `postgres -V`; 0 = not known. */
/* What a program says, cut to size; empty if it could not be run. False: it had not ended after
 * limit_ms. On the thread. */
bool pg_version_ask(const char *const *argv, uint32_t limit_ms, char *text, size_t size);

/* Parameters of the installed PostgreSQL (pg_names.c); of the thread that writes. Each write
 * begins; what it is told too late is let through. */
void pg_names_begin(struct pg_names *names);
bool pg_names_has(struct pg_names *names, const struct pg_options *o, const char *name);
/* What has a value that it refuses gets the one it took before, or is removed. */
void pg_names_drop_refused(struct pg_names *names, const struct pg_options *o,
                           struct kv_list *params);
void pg_names_parse(const char *text, struct kv_list *names);
void pg_names_deinit(struct pg_names *names);

/* The mark of a data directory that is not whole, on the thread (pg_mark.c). */
#define PG_MAKING_PREFIX "veche-making-"
#define PG_MARK_SIZE_MAX (64 * 1024)
enum pg_mark {
    PG_MARK_NONE,
    PG_MARK_OURS,       /* The directory is the one that was marked: not whole, ours to empty. */
    PG_MARK_STALE,      /* It is another one, put in the place of that. */
    PG_MARK_UNREADABLE, /* There is one, and it does not say of what. */
};
enum pg_rewind_mark {
    PG_REWIND_NONE, /* There is no mark, or it is of something else. */
    PG_REWIND_OPEN, /* It can be done again. */
    PG_REWIND_LOST, /* The machine was restarted since: what was copied may not be on disk. */
    PG_REWIND_GONE, /* What it needs to be done again is not there any more. */
};
/* OPEN: also the timeline of the source, and the directory of what was kept. */
enum pg_rewind_mark pg_mark_rewind(const char *data_dir, uint32_t *ret_timeline, char *kept,
                                   size_t size);
enum pg_mark pg_mark_look(const char *data_dir, char *why, size_t size);
bool pg_mark_is_making(const char *name); /* Of an entry of the data directory. */
MUST_USE int pg_mark_set_aside(const char *data_dir, struct err *err); /* If it is stale. */

/* Lines of the mark that say where a clone puts tablespaces (pg_spaces.c). */
void pg_spaces_carry(const char *old_mark, struct strbuf *list);
/* As the source's answer says, of which the file goes. options: of pg_basebackup. */
void pg_spaces_list(const char *data_dir, const struct kv_list *options, struct strbuf *list);
/* Removes what a clone that was cut off left in those that the mark lists. */
MUST_USE int pg_spaces_empty(const char *data_dir, struct err *err);
/* Empties the directory of a tablespace of what is of that major version (pg_remove.c).
 * Takes over fd. */
MUST_USE int pg_remove_version(int fd, uint32_t major, struct err *err);

/* A job that ends in a pg_done_cb. */
struct pg_work {
    struct pg_job job;
    struct pg *pg;
    struct pg_opts *opts;
    int status;
    struct err err;
    void (*run)(struct pg_job *job); /* On the thread; then disk is looked at again. */
    struct pg_disk disk;
    pg_done_cb cb;
    void *data;
};
void pg_work_submit(struct pg *pg, struct pg_work *work, void (*run)(struct pg_job *job),
                    void (*done)(struct pg_job *job), pg_done_cb cb, void *data);
/* The usual `done`: calls cb, then frees the work, which must be at the start of its
 * allocation. */
void pg_work_done(struct pg_job *job);

/* pg_timeline.c, for the thread. Makes PostgreSQL on timeline `own` take `timeline` when
 * it is promoted. */
MUST_USE int pg_timeline_reserve(const struct pg_options *o, uint32_t own, uint32_t timeline,
                                 struct err *err);
/* The last one of the numbers from `timeline` on that have a history file already: a
 * promotion of ours that was cut off wrote it. 0 = it has none. */
uint32_t pg_timeline_taken(const char *data_dir, uint32_t timeline);
/* Before a start in recovery: removes what a promotion that never was has reserved. */
MUST_USE int pg_timeline_release(const char *data_dir, uint32_t own, struct err *err);

struct pg_child *pg_child_of(struct list *node);

#endif
