/*
 * Parsing pg_control. The file is the memory image of a struct, so the offsets
 * below are those of a 64-bit machine with 8-byte alignment, which is all that
 * PostgreSQL packages for Linux are built for. The part up to data_checksums did
 * not move between versions 13 and 18: wal_level came into padding of CheckPoint
 * in 17, default_char_signedness in front of the nonce in 18, which is why only
 * the place of the check sum depends on the version.
 */
#include "pg/pg_control.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>

#include "base/crc32c.h"

enum offset {
    AT_SYSID = 0,
    AT_VERSION = 8,
    AT_CATALOG = 12,
    AT_STATE = 16,
    AT_TIME = 24,
    AT_CHECKPOINT = 32,
    AT_REDO = 40,
    AT_TIMELINE = 48,
    AT_PREV_TIMELINE = 52,
    AT_MIN_RECOVERY = 136,
    AT_MIN_RECOVERY_TIMELINE = 144,
    AT_WAL_LOG_HINTS = 176,
    AT_MAX_CONNECTIONS = 180,
    AT_MAX_WORKER_PROCESSES = 184,
    AT_MAX_WAL_SENDERS = 188,
    AT_MAX_PREPARED = 192,
    AT_MAX_LOCKS = 196,
    AT_MAX_ALIGN = 204,
    AT_CHECKSUMS = 252,
};

static const struct {
    uint32_t version;
    size_t crc; /* Where the check sum is, and what it covers. */
    const char *servers;
} layouts[] = {
    {1300, 288, "13 to 16"},
    {1700, 288, "17"},
    {1800, 292, "18"},
};

/* XLogRecord (24), short data header (2), CheckPoint (88), aligned to 8. The record
 * may also span a page header, so that this is the least it takes. */
#define CHECKPOINT_RECORD_SIZE 120

#define READ_ATTEMPTS 5

static uint32_t u32_at(const uint8_t *data, size_t at)
{
    uint32_t value;

    memcpy(&value, data + at, sizeof(value));
    return value;
}

static uint64_t u64_at(const uint8_t *data, size_t at)
{
    uint64_t value;

    memcpy(&value, data + at, sizeof(value));
    return value;
}

static int check(const uint8_t *data, size_t size, struct err *err)
{
    uint32_t version;

    if (size < AT_STATE) {
        return err_set(err, "pg_control is cut off after %zu bytes", size);
    }
    version = u32_at(data, AT_VERSION);
    for (size_t i = 0; i < ARRAY_LENGTH(layouts); i++) {
        if (layouts[i].version != version) {
            continue;
        }
        if (size < layouts[i].crc + sizeof(uint32_t)) {
            return err_set(err, "pg_control is cut off after %zu bytes", size);
        }
        if (crc32c(0, data, layouts[i].crc) != u32_at(data, layouts[i].crc)) {
            return err_set(err, "pg_control has a wrong check sum");
        }
        if (u32_at(data, AT_MAX_ALIGN) != 8) {
            return err_set(err, "pg_control was written on another kind of machine");
        }
        return 0;
    }
    return err_set(err, "pg_control has version %u, which is of no PostgreSQL from 13 to 18",
                   version);
}

int pg_control_parse(const void *data, size_t size, struct pg_control *ret_control, struct err *err)
{
    const uint8_t *d = data;
    uint32_t state;

    if (check(d, size, err) != 0) {
        return -1;
    }
    state = u32_at(d, AT_STATE);
    if (state > PG_CONTROL_IN_PRODUCTION) {
        return err_set(err, "pg_control has the unknown state %u", state);
    }
    *ret_control = (struct pg_control){
        .sysid = u64_at(d, AT_SYSID),
        .version = u32_at(d, AT_VERSION),
        .catalog_version = u32_at(d, AT_CATALOG),
        .state = (enum pg_control_state)state,
        .time_s = (int64_t)u64_at(d, AT_TIME),
        .checkpoint = u64_at(d, AT_CHECKPOINT),
        .redo = u64_at(d, AT_REDO),
        .timeline = u32_at(d, AT_TIMELINE),
        .prev_timeline = u32_at(d, AT_PREV_TIMELINE),
        .min_recovery = u64_at(d, AT_MIN_RECOVERY),
        .min_recovery_timeline = u32_at(d, AT_MIN_RECOVERY_TIMELINE),
        .wal_log_hints = d[AT_WAL_LOG_HINTS] != 0,
        .data_checksums = u32_at(d, AT_CHECKSUMS),
        .max_connections = (int32_t)u32_at(d, AT_MAX_CONNECTIONS),
        .max_worker_processes = (int32_t)u32_at(d, AT_MAX_WORKER_PROCESSES),
        .max_wal_senders = (int32_t)u32_at(d, AT_MAX_WAL_SENDERS),
        .max_prepared_xacts = (int32_t)u32_at(d, AT_MAX_PREPARED),
        .max_locks_per_xact = (int32_t)u32_at(d, AT_MAX_LOCKS),
    };
    return 0;
}

static int read_once(const char *path, struct pg_control *ret_control, struct err *err)
{
    uint8_t data[PG_CONTROL_FILE_SIZE];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t size = 0;
    ssize_t n = 1;

    if (fd < 0) {
        return err_set_errno(err, errno, "opening %s", path);
    }
    while (n > 0 && size < sizeof(data)) {
        n = read(fd, data + size, sizeof(data) - size);
        size += n > 0 ? (size_t)n : 0;
    }
    (void)close(fd); /* Only read. */
    if (n < 0) {
        return err_set_errno(err, errno, "reading %s", path);
    }
    return pg_control_parse(data, size, ret_control, err);
}

int pg_control_read(const char *data_dir, struct pg_control *ret_control, struct err *err)
{
    char path[4096];
    int status = -1;

    if (snprintf(path, sizeof(path), "%s/global/pg_control", data_dir) >= (int)sizeof(path)) {
        return err_set(err, "the path of the data directory is too long");
    }
    /* The server writes the file in place, and nothing makes that atomic for a
     * reader (pg_controldata retries for the same reason). */
    for (int i = 0; i < READ_ATTEMPTS && status != 0; i++) {
        status = read_once(path, ret_control, err);
        (void)sched_yield();
    }
    return status;
}

bool pg_control_is_clean(const struct pg_control *control)
{
    return control->state == PG_CONTROL_SHUT_DOWN ||
           control->state == PG_CONTROL_SHUT_DOWN_IN_RECOVERY;
}

lsn_t pg_control_lsn(const struct pg_control *control)
{
    lsn_t checkpoint = control->checkpoint;

    if (control->state == PG_CONTROL_SHUT_DOWN) {
        checkpoint += CHECKPOINT_RECORD_SIZE;
    }
    return MAX(checkpoint, control->min_recovery);
}
