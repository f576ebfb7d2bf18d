/*
 * The one query of an observation and the parsing of its row. Works on PostgreSQL
 * 13 to 18. Lists are folded into text with the separators 0x1E and 0x1F, so that
 * one row carries everything of one moment.
 *
 * The sub-select with OFFSET 0 asks once whether it is in recovery: functions that
 * are an error on the other side must not be reached in the middle of a promotion
 * (one that still is fails the statement, and the next observation repeats it).
 */
#include <inttypes.h>

#include "base/str.h"
#include "pg/pg_internal.h"

#define ROW_END  "\x1e"
#define CELL_END "\x1f"

enum column {
    COL_IN_RECOVERY,
    COL_SYSID,
    COL_CHECKPOINT_TIMELINE,
    COL_MIN_TIMELINE,
    COL_WALFILE,
    COL_FLUSHED,
    COL_RECEIVED,
    COL_REPLAYED,
    COL_REPLAY_TIME,
    COL_REPLAY_PAUSED,
    COL_RECEIVER,
    COL_RECEIVER_TIMELINE,
    COL_NEWEST_WALFILE,
    COL_CONNINFO,
    COL_RECEIVER_PID,
    COL_RESTORE,
    COL_PENDING,
    COL_START,
    COL_VERSION,
    COL_REPLICAS,
    COL_SLOTS,
    COL_SETTINGS,
    COL_SYNC_NAMES,
    COL_WAITING,
    COLUMNS
};

#define CLEAN(expr) "translate(coalesce(" expr ", ''), E'\\x1e\\x1f', '  ')"

/* A column that only later versions have. */
#define LATER(name) "coalesce(to_jsonb(s) ->> '" name "', '')"

/* What only a restart brings into force, with its value now and as the files have it: the
 * files are read for that only while there is something. One that is not in them any more
 * goes back to what is built in. Parameters of recovery are ours to change, and
 * where the data is is ours to say. */
#define PENDING                                                                              \
    "string_agg(concat_ws(E'\\x1f', name, " CLEAN("current_setting(name, true)") ", "        \
    "coalesce(unit, ''), " CLEAN("coalesce((SELECT f.setting FROM pg_file_settings f"        \
    " WHERE lower(f.name) = lower(s.name) ORDER BY f.seqno DESC LIMIT 1), boot_val, '?')")   \
    "), E'\\x1e' ORDER BY name)"                                                             \
    " FILTER (WHERE pending_restart AND name <> 'hot_standby' AND name !~ '^recovery_'"      \
    "  AND name NOT IN ('primary_conninfo', 'primary_slot_name', 'restore_command',"         \
    "  'archive_cleanup_command', 'promote_trigger_file', 'data_directory'))"

/*
 * Positions are read before the timelines, which are made to depend on them: a
 * position that is on a newer timeline than the one read with it would look like a
 * standby that went on where the cluster did not. Whether a WAL receiver runs is read
 * before the positions: without one, and nobody to get one from, they are the last.
 * pg_stat_wal_receiver does not show one that still connects.
 */
const char pg_row_sql[] =
    "WITH p AS MATERIALIZED (SELECT pg_is_in_recovery() AS r,"
    " CASE WHEN pg_is_in_recovery() THEN (SELECT max(pid) FROM pg_stat_activity"
    "  WHERE backend_type = 'walreceiver') END AS receiver_pid,"
    " CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() END AS received,"
    " CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END AS replayed)"
    " SELECT p.r, y.system_identifier, k.timeline_id, v.min_recovery_end_timeline,"
    " CASE WHEN p.r THEN NULL ELSE pg_walfile_name(pg_current_wal_lsn()) END,"
    " CASE WHEN p.r THEN NULL ELSE pg_current_wal_flush_lsn() END,"
    " p.received, p.replayed,"
    " CASE WHEN p.r THEN"
    "  (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000000)::bigint END,"
    " CASE WHEN p.r THEN pg_is_wal_replay_paused() ELSE false END,"
    " w.status, w.received_tli,"
    /* The receiver is gone and with it its timeline, not the WAL it wrote. */
    " CASE WHEN p.r AND w.status IS NULL THEN"
    "  (SELECT max(name) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$') END,"
    " current_setting('primary_conninfo', true), p.receiver_pid,"
    " coalesce(current_setting('restore_command', true), '') <> '',"
    " g.pending,"
    " (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,"
    " current_setting('server_version_num'),"
    " (SELECT string_agg(concat_ws(E'\\x1f', " CLEAN("application_name") ", " CLEAN(
        "usename") ", coalesce(host(client_addr), ''), coalesce(state, ''), coalesce(sync_state, "
                   "''),"
                   " coalesce(sync_priority, 0), coalesce(flush_lsn::text, '')), E'\\x1e'"
                   " ORDER BY application_name, pid) FROM pg_stat_replication),"
                   " (SELECT string_agg(concat_ws(E'\\x1f', slot_name, slot_type, active::text,"
                   " coalesce(restart_lsn::text, ''), coalesce(confirmed_flush_lsn::text, ''),"
                   " " CLEAN("database::text") ", " CLEAN("plugin::text") ","
                   " coalesce(wal_status, ''), (xmin IS NOT NULL)::text, " LATER("synced") ", "
                   LATER("failover") "), E'\\x1e' ORDER BY slot_name)"
                   " FROM pg_replication_slots s WHERE NOT temporary), g.settings,"
                   " current_setting('synchronous_standby_names'),"
                   " (SELECT max(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                   "  AND application_name = 'veche' AND usename = current_user)"
                   " FROM p CROSS JOIN pg_control_system() y"
                   " CROSS JOIN LATERAL (SELECT timeline_id FROM pg_control_checkpoint()"
                   "  WHERE p.r IS NOT NULL OFFSET 0) k"
                   " CROSS JOIN LATERAL (SELECT min_recovery_end_timeline"
                   "  FROM pg_control_recovery() WHERE p.r IS NOT NULL OFFSET 0) v"
                   " CROSS JOIN (SELECT " PENDING " AS pending,"
                   "  string_agg(name || E'\\x1f' || setting, E'\\x1e') FILTER (WHERE name IN ("
                   "  'cluster_name', 'listen_addresses', 'port', 'max_connections',"
                   "  'max_locks_per_transaction', 'max_prepared_transactions', "
                   "'max_replication_slots',"
                   "  'max_wal_senders', 'max_worker_processes', 'track_commit_timestamp', "
                   "'wal_level',"
                   "  'wal_log_hints')) AS settings FROM pg_settings s) g"
                   " LEFT JOIN LATERAL (SELECT status, received_tli FROM pg_stat_wal_receiver"
                   "  WHERE p.r IS NOT NULL OFFSET 0) w ON true";

static const char *cell(const PGresult *result, enum column column)
{
    return PQgetvalue(result, 0, (int)column); /* "" for NULL. */
}

static bool is_true(const PGresult *result, enum column column)
{
    return cell(result, column)[0] == 't';
}

static uint32_t timeline_at(const PGresult *result, enum column column)
{
    uint64_t value;

    return str_to_u64(cell(result, column), 0, UINT32_MAX, &value) ? (uint32_t)value : 0;
}

static int64_t number_at(const PGresult *result, enum column column)
{
    int64_t value;

    return str_to_i64(cell(result, column), INT64_MIN, INT64_MAX, &value) ? value : 0;
}

static lsn_t lsn_of(const char *text)
{
    lsn_t lsn;

    return lsn_parse(text, &lsn) ? lsn : 0;
}

/* The first eight digits of a WAL file's name are its timeline. */
static uint32_t walfile_timeline(const char *name)
{
    char digits[9];
    char *end;
    unsigned long value;

    if (strlen(name) != 24) {
        return 0;
    }
    memcpy(digits, name, 8);
    digits[8] = '\0';
    value = strtoul(digits, &end, 16);
    return *end == '\0' ? (uint32_t)value : 0;
}

/* Cuts the next field off *text, which ends at any of the separators. */
static bool take(const char **text, char *field, size_t size)
{
    size_t n = strcspn(*text, ROW_END CELL_END);

    memcpy(field, *text, MIN(n, size - 1));
    field[MIN(n, size - 1)] = '\0';
    *text += n;
    if (**text == CELL_END[0]) {
        (*text)++;
        return true;
    }
    return false;
}

/* Moves behind the end of the row. False at the end of the text. */
static bool next_row(const char **text)
{
    *text += strcspn(*text, ROW_END);
    if (**text == '\0') {
        return false;
    }
    (*text)++;
    return true;
}

static void parse_replicas(const char *text, struct pg_row *row)
{
    bool more = *text != '\0';

    while (more && row->n_replicas < ARRAY_LENGTH(row->replicas)) {
        struct view_replica *r = &row->replicas[row->n_replicas++];
        char priority[16], lsn[LSN_TEXT_SIZE];
        uint64_t number = 0;

        (void)take(&text, r->name, sizeof(r->name)); /* A short row leaves empty texts. */
        (void)take(&text, r->user, sizeof(r->user));
        (void)take(&text, r->client_address, sizeof(r->client_address));
        (void)take(&text, r->state, sizeof(r->state));
        (void)take(&text, r->sync_state, sizeof(r->sync_state));
        (void)take(&text, priority, sizeof(priority));
        (void)take(&text, lsn, sizeof(lsn));
        if (str_to_u64(priority, 0, UINT32_MAX, &number)) {
            r->sync_priority = (uint32_t)number;
        }
        r->flushed = lsn_of(lsn);
        more = next_row(&text);
    }
}

static bool take_true(const char **text)
{
    char field[8];

    (void)take(text, field, sizeof(field));
    return field[0] == 't';
}

static void parse_slots(const char *text, struct pg_row *row)
{
    bool more = *text != '\0';

    while (more && row->n_slots < ARRAY_LENGTH(row->slots)) {
        struct slot_seen *s = &row->slots[row->n_slots++];
        char type[16], lsn[LSN_TEXT_SIZE], status[16];

        (void)take(&text, s->spec.name, sizeof(s->spec.name));
        (void)take(&text, type, sizeof(type));
        s->spec.type = str_equal(type, "physical") ? SLOT_PHYSICAL : SLOT_LOGICAL;
        s->active = take_true(&text);
        (void)take(&text, lsn, sizeof(lsn));
        s->restart = lsn_of(lsn);
        (void)take(&text, lsn, sizeof(lsn));
        s->confirmed = lsn_of(lsn);
        (void)take(&text, s->spec.database, sizeof(s->spec.database));
        (void)take(&text, s->spec.plugin, sizeof(s->spec.plugin));
        (void)take(&text, status, sizeof(status));
        s->lost = str_equal(status, "lost");
        s->has_xmin = take_true(&text);
        s->synced = take_true(&text);
        s->failover = take_true(&text);
        more = next_row(&text);
    }
}

static void parse_pending(const char *text, struct pg_row *row)
{
    bool more = *text != '\0';

    while (more) {
        char name[NAME_SIZE], unit[16], now[NAME_SIZE], then[NAME_SIZE], shown[NAME_SIZE];

        (void)take(&text, name, sizeof(name)); /* A short row leaves empty texts. */
        (void)take(&text, now, sizeof(now));
        (void)take(&text, unit, sizeof(unit));
        (void)take(&text, then, sizeof(then));
        pg_param_humanize(then, unit, shown, sizeof(shown));
        if (!str_equal(now, shown)) { /* Of one taken out again PostgreSQL does not say so. */
            pg_pending_add(&row->pending, name, now, shown);
        }
        more = next_row(&text);
    }
}

static void parse_settings(const char *text, struct kv_list *settings)
{
    bool more = *text != '\0';

    while (more) {
        char name[NAME_SIZE], value[1024];

        (void)take(&text, name, sizeof(name));
        (void)take(&text, value, sizeof(value));
        kv_add(settings, name, value);
        more = next_row(&text);
    }
}

void pg_row_parse_conninfo(const char *conninfo, char *host, size_t size, uint16_t *ret_port)
{
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    uint64_t port = 0;

    host[0] = '\0';
    *ret_port = 0;
    for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++) {
        if (o->val == NULL) {
            continue;
        }
        if (str_equal(o->keyword, "host") && !str_copy(host, size, o->val)) {
            host[0] = '\0';
        }
        if (str_equal(o->keyword, "port") && str_to_u64(o->val, 1, UINT16_MAX, &port)) {
            *ret_port = (uint16_t)port;
        }
    }
    PQconninfoFree(options);
}

/*
 * Of a standby no function tells the timeline of what was replayed last. The
 * newest of what its receiver gets, what it must replay to and its last
 * restartpoint is what it has WAL of. Without a receiver the newest file tells
 * (segments are named by their timeline): one that streamed for a moment only
 * would else seem to have gone on beyond the end of its old timeline.
 */
static void parse_positions(const PGresult *result, struct pg_row *row)
{
    row->checkpoint_timeline = timeline_at(result, COL_CHECKPOINT_TIMELINE);
    row->received = lsn_of(cell(result, COL_RECEIVED));
    row->replayed = lsn_of(cell(result, COL_REPLAYED));
    if (row->in_recovery) {
        row->timeline = MAX(
            MAX(timeline_at(result, COL_RECEIVER_TIMELINE), timeline_at(result, COL_MIN_TIMELINE)),
            MAX(walfile_timeline(cell(result, COL_NEWEST_WALFILE)), row->checkpoint_timeline));
        row->flushed = MAX(row->received, row->replayed);
    } else {
        row->timeline = walfile_timeline(cell(result, COL_WALFILE));
        row->flushed = lsn_of(cell(result, COL_FLUSHED));
    }
}

int pg_row_parse(const PGresult *result, struct pg_row *ret_row, struct kv_list *settings,
                 struct err *err)
{
    struct pg_row row = {0};

    if (PQntuples(result) != 1 || PQnfields(result) != COLUMNS) {
        return err_set(err, "PostgreSQL answered with %d rows of %d columns", PQntuples(result),
                       PQnfields(result));
    }
    row.in_recovery = is_true(result, COL_IN_RECOVERY);
    row.sysid = (uint64_t)number_at(result, COL_SYSID);
    parse_positions(result, &row);
    row.replay_time_us = number_at(result, COL_REPLAY_TIME);
    row.replay_paused = is_true(result, COL_REPLAY_PAUSED);
    row.streaming = str_equal(cell(result, COL_RECEIVER), "streaming");
    row.receiver_pid = number_at(result, COL_RECEIVER_PID);
    row.receives =
        row.in_recovery && (cell(result, COL_CONNINFO)[0] != '\0' || row.receiver_pid != 0);
    row.has_restore_command = is_true(result, COL_RESTORE);
    parse_pending(cell(result, COL_PENDING), &row);
    row.start_us = number_at(result, COL_START);
    row.version = (uint32_t)number_at(result, COL_VERSION);
    (void)str_copy(row.sync_names, sizeof(row.sync_names), cell(result, COL_SYNC_NAMES));
    row.waiting_pid = number_at(result, COL_WAITING);
    pg_row_parse_conninfo(cell(result, COL_CONNINFO), row.upstream_host, sizeof(row.upstream_host),
                          &row.upstream_port);
    parse_replicas(cell(result, COL_REPLICAS), &row);
    parse_slots(cell(result, COL_SLOTS), &row);
    parse_settings(cell(result, COL_SETTINGS), settings);
    if (row.sysid == 0 || row.version < PG_MAJOR_MIN * 10000) {
        return err_set(
            err, "PostgreSQL's answer makes no sense: system identifier %" PRIu64 ", version %u",
            row.sysid, row.version);
    }
    *ret_row = row;
    return 0;
}
