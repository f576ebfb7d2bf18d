/*
 * Diverged WAL is kept before it is given up (S7): copied, durably, into
 * <data_dir>.diverged/<time>-tl<N>/, beside a RECORD of what it is. A copy, not a
 * link: pg_rewind writes into files whose names its source has too.
 *
 * Kept are the segments from the fork on (pg_fork.c), as many as the bound allows, oldest
 * first; then, while there is room, those before it, newest first: pg_rewind reads them
 * back to the last checkpoint both sides have, and removes them. If it is cut off they are
 * what it can be done again with, and with pg_control as it was (pg_keep_restore). So for
 * as long as it works the bound does not hold, only the room of the file system does;
 * when it is through, what exceeds the bound goes, and what lies before the fork
 * (pg_keep_trim; after a restart of the agent pg_loss_recall).
 *
 * Beyond any bound, as in pg_wal: segments that wait for the archive, which has them from
 * nobody else. <segment>.ready stands beside each.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/str.h"
#include "pg/pg_fork.h"
#include "pg/pg_internal.h"
#include "pg/pg_kept.h"
#include "pg/pg_segments.h"

/* More than lies between two checkpoints (max_wal_size), most likely. */
#define BEFORE_MAX (UINT64_C(8) << 30)

struct keep {
    struct pg_work work; /* First: freed through it. */
    struct pg_line line; /* The cluster's. */
    uint64_t limit;      /* Bytes; 0 = the record alone. */
    bool for_rewind;     /* More, until pg_keep_trim. */
    struct pg_kept kept;
};

/* ---- The record ---- */

/* Without a known fork nobody can tell how much it is. */
static const char *describe_bytes(const struct pg_kept *k, char *text, size_t size)
{
    if (k->from == 0) {
        return "unknown";
    }
    (void)snprintf(text, size, "%llu", (unsigned long long)k->bytes);
    return text;
}

static int write_record(const char *dir, const struct pg_kept *k, struct err *err)
{
    char path[PATH_MAX + 8], text[PG_KEPT_RECORD_MAX], from[LSN_TEXT_SIZE], to[LSN_TEXT_SIZE];
    char bytes[32];

    (void)snprintf(path, sizeof(path), "%s/RECORD", dir);
    (void)snprintf(text, sizeof(text),
                   "system_identifier=%llu\ntimeline=%u\nfrom=%s\nto=%s\nfrom_timeline=%u\n"
                   "bytes=%s\nsegments_of_it=%u\nsegments_not_kept=%u\nsegments_before=%u\n"
                   "segments_for_archive=%u\n",
                   (unsigned long long)k->sysid, k->timeline,
                   lsn_format(k->from, from, sizeof(from)), lsn_format(k->to, to, sizeof(to)),
                   k->from_timeline, describe_bytes(k, bytes, sizeof(bytes)), k->n_lost,
                   k->n_missing, k->n_before, k->n_waiting);
    return pg_file_write(path, text, strlen(text), 0600, err);
}

/* Whether that directory has the very same WAL: an earlier try that failed later. */
static bool is_same(const char *dir, const void *data)
{
    const struct pg_kept *k = data;
    struct pg_kept found;

    return pg_kept_read(dir, &found) && found.sysid == k->sysid && found.timeline == k->timeline &&
           found.from == k->from && found.to == k->to;
}

/* Whether an earlier try kept it when less was known, or not all of it was there. No number
 * of a timeline is used twice. */
static bool is_replaced(const char *dir, const void *data)
{
    const struct pg_kept *k = data;
    struct pg_kept found;

    return pg_kept_read(dir, &found) && found.sysid == k->sysid && found.timeline == k->timeline &&
           !found.told;
}

/* ---- Keeping ---- */

static void name_dir(struct pg_kept *k, const char *base)
{
    time_t now = time(NULL);
    struct tm tm;
    char stamp[32];

    (void)gmtime_r(&now, &tm);
    (void)strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
    (void)snprintf(k->path, sizeof(k->path), "%.3900s/%s-tl%u", base, stamp, k->timeline);
}

static int copy_segments(const char *pg_wal, const char *part, const struct pg_segments *s,
                         struct err *err)
{
    char from[PATH_MAX], to[PATH_MAX];

    for (size_t i = 0; i < s->n; i++) {
        (void)snprintf(from, sizeof(from), "%s/%s", pg_wal, s->items[i].name);
        (void)snprintf(to, sizeof(to), "%s/%s", part, s->items[i].name);
        if (pg_kept_copy(from, to, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* So that it is not taken for what the archive has. */
static int mark_waiting(const char *part, const struct pg_segments *s, struct err *err)
{
    char path[PATH_MAX + PG_SEGMENT_NAME_SIZE + 8];

    for (size_t i = 0; i < s->n; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s.ready", part, s->items[i].name);
        if (s->items[i].waits && pg_file_write(path, "", 0, 0600, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* pg_rewind reads that of the timeline which is given up, and removes it. */
static int copy_histories(const char *from_dir, const char *to_dir, struct err *err)
{
    DIR *dir = opendir(from_dir);
    const struct dirent *entry;
    char from[PATH_MAX + 300], to[PATH_MAX + 300];
    int status = 0;

    if (dir == NULL) {
        return err_set_errno(err, errno, "opening %s", from_dir);
    }
    while (status == 0 && (entry = readdir(dir)) != NULL) {
        if (strlen(entry->d_name) == 16 && str_equal(entry->d_name + 8, ".history")) {
            (void)snprintf(from, sizeof(from), "%s/%s", from_dir, entry->d_name);
            (void)snprintf(to, sizeof(to), "%s/%s", to_dir, entry->d_name);
            status = pg_kept_copy(from, to, err);
        }
    }
    (void)closedir(dir); /* Only read. */
    return status;
}

/* pg_rewind writes it last, but syncs it before the rest: after a power failure it may
 * say that all was done. Written into, not replaced: the mark knows it by its inode. */
static int copy_control(const char *data_dir, const char *kept, bool keeps, struct err *err)
{
    char own[PATH_MAX + 32], copy[PATH_MAX + 32];

    (void)snprintf(own, sizeof(own), "%s/global/pg_control", data_dir);
    (void)snprintf(copy, sizeof(copy), "%s/pg_control", kept);
    return keeps ? pg_kept_copy(own, copy, err) : pg_kept_copy(copy, own, err);
}

/* Written under another name and renamed: what has its name is whole. */
static int fill_dir(struct keep *k, const char *pg_wal, const char *base,
                    const struct pg_segments *s, struct err *err)
{
    char part[PATH_MAX];

    name_dir(&k->kept, base);
    if (snprintf(part, sizeof(part), "%s" PG_KEPT_PART, k->kept.path) >= (int)sizeof(part)) {
        return err_set(err, "%s: the path is too long", k->kept.path);
    }
    if (pg_kept_remove_parts(base, err) != 0) {
        return -1;
    }
    if (mkdir(part, 0700) != 0) {
        return err_set_errno(err, errno, "creating %s", part);
    }
    if (copy_control(k->work.opts->o.data_dir, part, true, err) != 0 ||
        copy_histories(pg_wal, part, err) != 0 || copy_segments(pg_wal, part, s, err) != 0 ||
        mark_waiting(part, s, err) != 0 || write_record(part, &k->kept, err) != 0) {
        return -1;
    }
    if (rename(part, k->kept.path) != 0) {
        return err_set_errno(err, errno, "renaming %s", part);
    }
    return pg_file_sync_dir(base, err);
}

static void say_kept(const struct pg_kept *k, uint64_t limit)
{
    char from[LSN_TEXT_SIZE], to[LSN_TEXT_SIZE], bytes[32];

    log_warning("Diverged WAL is %s. timeline=%u from=%s from_timeline=%u to=%s bytes=%s "
                "directory=%s segments=%u not_kept=%u for_archive=%u diverged_keep=%llu",
                k->n_missing == 0 ? "kept" : "kept in part, the rest exceeds diverged_keep",
                k->timeline, lsn_format(k->from, from, sizeof(from)), k->from_timeline,
                lsn_format(k->to, to, sizeof(to)), describe_bytes(k, bytes, sizeof(bytes)),
                k->path[0] != '\0' ? k->path : "none", k->n_lost, k->n_missing, k->n_waiting,
                (unsigned long long)limit);
}

/* Also whether it was told already. */
static int read_found(struct keep *k, struct err *err)
{
    char path[PATH_MAX];

    (void)str_copy(path, sizeof(path), k->kept.path); /* Same size. */
    return pg_kept_read(path, &k->kept) ? 0 : err_set(err, "%s/RECORD can not be read", path);
}

/* The bound holds, but not for what a rewind is done again with; that leaves half of the
 * room to others. */
static size_t how_many(const struct keep *k, const char *base, const struct pg_segments *s,
                       size_t n_lost)
{
    uint64_t fit = k->limit / s->size, needed = MIN(s->n, n_lost + BEFORE_MAX / s->size), room = 0;
    struct statvfs fs;

    if (!k->for_rewind || needed <= fit) {
        return MIN(s->n, fit);
    }
    if (statvfs(base, &fs) == 0) {
        room = (uint64_t)fs.f_bavail * fs.f_frsize / 2 / s->size;
    }
    if (room < needed) {
        log_warning("Not all WAL that pg_rewind may read can be copied for as long as it works: "
                    "if it is cut off, it can perhaps not be done again. Make room, or raise "
                    "diverged_keep. directory=%s segments=%zu room=%llu",
                    base, s->n, (unsigned long long)room);
    }
    return MIN(needed, MAX(fit, room));
}

/* What is to be copied of them, and what the record says of that. */
static void choose(struct keep *k, const char *base, struct pg_segments *s)
{
    size_t n_lost = pg_segments_select(s, &k->kept), n_counted = 0;
    uint64_t fit = k->limit / s->size;

    k->kept.n_lost = (uint32_t)n_lost;
    if (k->kept.to == 0 && k->kept.from != 0) { /* At most. */
        k->kept.bytes = n_lost > 0 ? n_lost * s->size - k->kept.from % s->size : 0;
    }
    for (size_t i = 0; i < s->n; i++) {
        bool lost = s->items[i].number >= k->kept.from / s->size;

        k->kept.n_waiting += s->items[i].waits ? 1 : 0;
        n_counted += lost && !s->items[i].waits ? 1 : 0;
    }
    k->kept.n_missing = (uint32_t)(n_counted > fit ? n_counted - fit : 0);
    pg_segments_cut(s, how_many(k, base, s, n_counted));
    for (size_t i = 0; i < s->n; i++) {
        k->kept.n_before += s->items[i].number < k->kept.from / s->size ? 1 : 0;
    }
}

/* What got into the archive since an earlier try waits no longer. */
static void unmark_archived(const char *kept, const char *pg_wal_ready, struct pg_segments *s)
{
    char path[PATH_MAX + PG_SEGMENT_NAME_SIZE + 8];
    struct err ignored; /* What is still marked stays, no more. */

    s->n = 0;
    if (pg_segments_list(kept, pg_wal_ready, s, &ignored) != 0) {
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        if (!s->items[i].waits) {
            (void)snprintf(path, sizeof(path), "%s/%s.ready", kept, s->items[i].name);
            (void)unlink(path);
        }
    }
}

static int keep_segments(struct keep *k, const char *pg_wal, const char *ready,
                         struct pg_segments *s, struct err *err)
{
    char base[PATH_MAX];
    int status;

    pg_kept_base(k->work.opts->o.data_dir, base, sizeof(base));
    if (mkdir(base, 0700) != 0 && errno != EEXIST) {
        return err_set_errno(err, errno, "creating %s", base);
    }
    if (pg_kept_find(base, is_same, &k->kept, k->kept.path, sizeof(k->kept.path))) {
        status = read_found(k, err); /* Said when it was kept. */
        unmark_archived(k->kept.path, ready, s);
    } else {
        choose(k, base, s);
        status = pg_kept_remove_found(base, is_replaced, &k->kept, "it is kept anew", err);
        if (status == 0) {
            status = fill_dir(k, pg_wal, base, s, err);
        }
        if (status == 0) {
            say_kept(&k->kept, k->limit);
        }
    }
    return status != 0 || k->for_rewind ? status : pg_kept_trim(&k->kept, base, k->limit, err);
}

static void find_fork(struct keep *k, const char *data_dir)
{
    struct pg_history *own = xmalloc(sizeof(*own));
    struct pg_fork fork;
    struct err err;

    if (k->kept.timeline > 1 && pg_history_read(data_dir, k->kept.timeline, own, &err) != 0) {
        log_warning("Where the cluster left our line may not be known. problem=\"%s\"", err.text);
        own->n = 0;
    }
    fork = pg_fork_find(&k->line, k->kept.timeline, own);
    k->kept.from = fork.lsn;
    k->kept.from_timeline = fork.timeline;
    free(own);
}

static int keep(struct keep *k, struct err *err)
{
    const char *data_dir = k->work.opts->o.data_dir;
    struct pg_control control;
    struct pg_segments s = {0};
    char pg_wal[PATH_MAX], ready[PATH_MAX + 16];
    int status;

    if (pg_control_read(data_dir, &control, err) != 0) {
        return -1;
    }
    k->kept.sysid = control.sysid;
    k->kept.timeline = MAX(control.timeline, control.min_recovery_timeline);
    /* A standby may have received more than it replayed. */
    k->kept.to = control.state == PG_CONTROL_SHUT_DOWN ? pg_control_lsn(&control) : 0;
    find_fork(k, data_dir);
    if (k->kept.from != 0 && k->kept.to > k->kept.from) {
        k->kept.bytes = k->kept.to - k->kept.from;
    }
    (void)snprintf(pg_wal, sizeof(pg_wal), "%s/pg_wal", data_dir);
    (void)snprintf(ready, sizeof(ready), "%s/archive_status", pg_wal);
    status = pg_segments_list(pg_wal, ready, &s, err);
    if (status == 0 && s.n > 0) {
        status = keep_segments(k, pg_wal, ready, &s, err);
    }
    free(s.items);
    return status;
}

static void run_keep(struct pg_job *job)
{
    struct keep *k = CONTAINER_OF(job, struct keep, work.job);

    k->work.status = keep(k, &k->work.err);
    if (k->work.status != 0) {
        (void)err_wrap(&k->work.err, "keeping diverged WAL");
    }
}

static void on_kept(struct pg_job *job)
{
    struct keep *k = CONTAINER_OF(job, struct keep, work.job);

    k->work.pg->kept = k->kept;
    pg_work_done(job);
}

void pg_keep_diverged(struct pg *pg, const struct pg_keep *what, pg_done_cb cb, void *data)
{
    struct keep *k = xmalloc(sizeof(*k));

    pg_line_of(what->store, &k->line);
    k->limit = what->limit;
    k->for_rewind = what->for_rewind;
    pg_work_submit(pg, &k->work, run_keep, on_kept, cb, data);
}

const struct pg_kept *pg_kept(const struct pg *pg)
{
    return &pg->kept;
}

/* ---- A rewind that was cut off is done again ---- */

static int restore(const struct pg_options *o, struct pg_kept *ret, struct err *err)
{
    struct pg_segments s = {0};
    char pg_wal[PATH_MAX], path[PATH_MAX];
    int status;

    uint32_t timeline;

    if (pg_mark_rewind(o->data_dir, &timeline, path, sizeof(path)) != PG_REWIND_OPEN) {
        return err_set(err, "a rewind was cut off, and can not go on");
    }
    if (path[0] == '\0' || !pg_kept_read(path, ret)) {
        return err_set(err, "a rewind was cut off, and what it needs to be done again is not "
                            "there (diverged_keep)");
    }
    (void)snprintf(pg_wal, sizeof(pg_wal), "%s/pg_wal", o->data_dir);
    status = pg_segments_list(ret->path, ret->path, &s, err);
    if (status == 0) {
        status = copy_segments(ret->path, pg_wal, &s, err);
    }
    if (status == 0) {
        status = copy_histories(ret->path, pg_wal, err);
    }
    if (status == 0) {
        status = copy_control(o->data_dir, ret->path, false, err);
    }
    free(s.items);
    return status;
}

static void run_restore(struct pg_job *job)
{
    struct keep *k = CONTAINER_OF(job, struct keep, work.job);

    k->work.status = restore(&k->work.opts->o, &k->kept, &k->work.err);
}

void pg_keep_restore(struct pg *pg, pg_done_cb cb, void *data)
{
    struct keep *k = xmalloc(sizeof(*k));

    pg_work_submit(pg, &k->work, run_restore, on_kept, cb, data);
}

/* ---- When the rewind is through ---- */

/* What lies before the fork is the cluster's; the rest counts from the fork on. What waits
 * for the archive neither goes nor counts. */
static int trim_dir(const struct pg_kept *kept, uint64_t limit, struct err *err)
{
    struct pg_segments s = {0};
    char path[PATH_MAX + PG_SEGMENT_NAME_SIZE];
    size_t n_stay = 0;

    if (pg_segments_list(kept->path, kept->path, &s, err) != 0) {
        return -1;
    }
    (void)pg_segments_select(&s, kept);
    for (size_t i = 0; i < s.n; i++) {
        if (s.items[i].waits) {
            continue;
        }
        if (n_stay < limit / s.size && s.items[i].number >= kept->from / s.size) {
            n_stay++;
        } else {
            (void)snprintf(path, sizeof(path), "%s/%s", kept->path, s.items[i].name);
            (void)unlink(path); /* What stays counts when room is made. */
        }
    }
    free(s.items);
    return 0;
}

int pg_kept_trim(const struct pg_kept *kept, const char *base, uint64_t limit, struct err *err)
{
    return trim_dir(kept, limit, err) == 0 ? pg_kept_make_room(base, kept->path, limit, err) : -1;
}

static void run_trim(struct pg_job *job)
{
    struct keep *k = CONTAINER_OF(job, struct keep, work.job);
    char base[PATH_MAX];

    pg_kept_base(k->work.opts->o.data_dir, base, sizeof(base));
    if (k->kept.path[0] != '\0' && pg_kept_trim(&k->kept, base, k->limit, &k->work.err) != 0) {
        log_warning("More is kept of diverged WAL than diverged_keep says. directory=%s "
                    "problem=\"%s\"",
                    k->kept.path, k->work.err.text); /* The rewind is through all the same. */
    }
}

void pg_keep_trim(struct pg *pg, uint64_t limit, pg_done_cb cb, void *data)
{
    struct keep *k = xmalloc(sizeof(*k));

    k->kept = pg->kept;
    k->limit = limit;
    pg_work_submit(pg, &k->work, run_trim, pg_work_done, cb, data);
}
