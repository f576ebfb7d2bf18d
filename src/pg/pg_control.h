/*
 * global/pg_control, read as bytes: what a stopped server was, and the limits a
 * standby must not fall below. PostgreSQL: src/include/catalog/pg_control.h.
 */
#ifndef VECHE_PG_PG_CONTROL_H
#define VECHE_PG_PG_CONTROL_H

#include "base/err.h"
#include "store/types.h"

#define PG_CONTROL_FILE_SIZE 8192

enum pg_control_state { /* DBState */
                        PG_CONTROL_STARTUP,
                        PG_CONTROL_SHUT_DOWN,
                        PG_CONTROL_SHUT_DOWN_IN_RECOVERY,
                        PG_CONTROL_SHUTTING_DOWN,
                        PG_CONTROL_IN_CRASH_RECOVERY,
                        PG_CONTROL_IN_ARCHIVE_RECOVERY,
                        PG_CONTROL_IN_PRODUCTION,
};

struct pg_control {
    uint64_t sysid;
    uint32_t version; /* PG_CONTROL_VERSION: 1300, 1700, 1800. */
    uint32_t catalog_version;
    enum pg_control_state state;
    int64_t time_s;   /* Last update, wall clock. */
    lsn_t checkpoint; /* Start of the last checkpoint record. */
    lsn_t redo;
    uint32_t timeline; /* Of that checkpoint. */
    uint32_t prev_timeline;
    lsn_t min_recovery; /* A standby must replay to here; 0 = none. */
    uint32_t min_recovery_timeline;
    bool wal_log_hints;
    uint32_t data_checksums; /* 0 = off. */
    int32_t max_connections, max_worker_processes, max_wal_senders;
    int32_t max_prepared_xacts, max_locks_per_xact;
};

/* Parses the bytes of the file. Returns 0, or -1 and what is wrong with them. */
MUST_USE int pg_control_parse(const void *data, size_t size, struct pg_control *ret_control,
                              struct err *err);

/* Reads <data_dir>/global/pg_control; again when it met a write of the server. May
 * block. */
MUST_USE int pg_control_read(const char *data_dir, struct pg_control *ret_control, struct err *err);

/* Stopped by a shutdown that wrote its checkpoint. */
bool pg_control_is_clean(const struct pg_control *control);

/* The furthest position pg_control vouches for. After a clean shutdown of a
 * primary that is the end of the checkpoint record, else where it starts. */
lsn_t pg_control_lsn(const struct pg_control *control);

#endif
