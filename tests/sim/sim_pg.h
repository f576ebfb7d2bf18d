/*
 * A model of PostgreSQL: a data directory that survives, a server that does
 * not, WAL that is flushed a little later than it is written, streaming that
 * is refused where PostgreSQL would refuse it, and backends that outlive their
 * postmaster. Knows nothing of leases: it acknowledges whatever it is asked to
 * write while it can.
 */
#ifndef SIM_PG_H
#define SIM_PG_H

#include "core/view.h"
#include "sim_sync.h"
#include "wal.h"

struct sim;
struct sim_node;

enum pg_run {
    PG_RUN_DOWN,
    PG_RUN_STARTING,
    PG_RUN_PRIMARY,
    PG_RUN_STANDBY,
    PG_RUN_STOPPING,   /* Fast shutdown: sessions are gone, walsenders are not. */
    PG_RUN_DYING,      /* SIGQUIT was sent: some backend may still get to its acknowledgement. */
    PG_RUN_LEFT_OVERS, /* The postmaster is dead, backends are not. */
};

enum pg_control_state {
    PG_CONTROL_SHUT_DOWN,
    PG_CONTROL_PRODUCTION,
    PG_CONTROL_RECOVERY,
    PG_CONTROL_SHUT_DOWN_IN_RECOVERY,
};

/* What the last observation saw. */
struct pg_seen {
    enum pg_run run;
    struct wal_pos flushed, replayed;
    bool streaming, received_any;
    bool receives;
    lsn_t switch_lsn;
};

struct sim_pg {
    /* On disk. */
    enum data_state data;
    uint32_t rewind_timeline;  /* DATA_REWINDING: of its source. */
    bool torn;                 /* Half of it is a copy: nothing may be started on that. */
    bool no_rewind;            /* Neither checksums nor hints. */
    struct wal_pos flushed;    /* WAL that survives. */
    struct wal_pos checkpoint; /* In pg_control. */
    struct wal_pos min_recovery;
    enum pg_control_state control;
    bool standby_signal;
    int upstream; /* In primary_conninfo; SIM_NOBODY = none. */

    /* The server. */
    enum pg_run run;
    bool was_writable;    /* DYING, LEFT_OVERS: backends can still acknowledge. */
    uint32_t incarnation; /* Of the postmaster; what it was about to do dies with it. */
    uint32_t sessions;    /* Changes when all sessions end. */
    struct wal_pos end;   /* Written; what is behind `flushed` is in memory only. */
    bool promoting;
    uint32_t promote_to; /* The number it will take. */
    bool checkpoint_due;
    bool received_any;
    struct wal_pos replayed;
    uint32_t connected_to; /* Incarnation of the upstream whose walsender we hear; 0 = none. */
    uint64_t connect_at_us, heard_us, slow_until_us;
    lsn_t switch_lsn; /* Where our timeline ended, as the upstream said; 0 = not told. */
    uint64_t started_us;
    uint64_t epoch;          /* Of its guard's deadline: for the checkers only. */
    uint64_t frozen_from_us; /* All its processes are stopped from then on; 0 = they are not. */
    uint64_t thawed_us;      /* When they were last let go; 0 = never. */

    struct sim_sync sync;
    uint32_t claimed; /* Incarnation under which S2 holds; for the checker only. */

    /* What the agent knows. */
    struct pg_seen seen;
    uint64_t seen_ms; /* Local; 0 = never. */
    uint64_t gone_ms; /* Local; 0 = it is there. */
    bool crashed;     /* It ended otherwise than by a clean stop. */
    bool start_failed;
};

void sim_pg_create(struct sim_pg *pg);

/* Operations. The server ends what it began by itself, also without an agent. */
void sim_pg_init_data(struct sim *s, struct sim_node *n);
void sim_pg_wipe(struct sim_node *n, enum data_state data);
void sim_pg_clone(struct sim_node *n, const struct sim_node *from);
void sim_pg_start(struct sim *s, struct sim_node *n, bool as_standby, int upstream);
void sim_pg_promote(struct sim *s, struct sim_node *n, uint32_t timeline);
void sim_pg_checkpoint(struct sim_node *n);
void sim_pg_follow(struct sim *s, struct sim_node *n, int upstream);
void sim_pg_stop_fast(struct sim *s, struct sim_node *n);
void sim_pg_quit(struct sim *s, struct sim_node *n);            /* SIGQUIT. */
void sim_pg_kill(struct sim *s, struct sim_node *n);            /* SIGKILL: none is left. */
void sim_pg_kill_postmaster(struct sim *s, struct sim_node *n); /* Only that one. */

/* Writing. */
struct wal_pos sim_pg_insert(struct sim_node *n);
void sim_pg_flush(struct sim_node *n, struct wal_pos pos);
bool sim_pg_can_acknowledge(const struct sim_pg *pg);
bool sim_pg_takes_writes(const struct sim_pg *pg);

/* Streaming (sim_stream.c): while it is a standby. */
void sim_stream_begin(struct sim *s, struct sim_node *n);

/* Observation (sim_pg_view.c). */
void sim_pg_observe(struct sim *s, struct sim_node *n);
void sim_pg_fill(struct sim *s, struct sim_node *n, struct status *status, struct view_pg *view);
void sim_pg_positions(const struct sim *s, const struct sim_node *n, struct positions *positions);
bool sim_pg_postmaster_alive(const struct sim_pg *pg);

#endif
