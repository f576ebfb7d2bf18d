/*
 * What was given up is told to the cluster's ledger (S7): by the agent that did it, or,
 * when that one died before, by one after it, out of what is kept beside the data
 * directory. RECORD says when it was told: the ledger forgets old entries, and must not
 * hear of them again.
 */
#include "base/log.h"
#include "base/str.h"
#include "pg/pg_internal.h"
#include "pg/pg_kept.h"

/* Not a struct pg_work: that ends with a look at the directory, which stands for an
 * observation; before the first one a running postmaster would be no one's. */
struct loss_work {
    struct pg_job job;
    struct pg *pg;
    struct pg_opts *opts;
    char told[PATH_MAX]; /* Directory of what the ledger has now; empty = none. */
    bool trims;          /* What an agent before us left. */
    uint64_t limit;
    struct pg_kept next; /* To be told; timeline 0 = none. */
};

/* A rewind or clone that was through: the data directory is of a later line. Before, it
 * may be done again with what is there. */
static bool is_given_up(const char *data_dir, const struct pg_kept *kept)
{
    char path[PATH_MAX];
    struct pg_control control;
    struct err ignored;
    uint32_t timeline;

    return pg_mark_rewind(data_dir, &timeline, path, sizeof(path)) == PG_REWIND_NONE &&
           pg_control_read(data_dir, &control, &ignored) == 0 && control.sysid == kept->sysid &&
           MAX(control.timeline, control.min_recovery_timeline) > kept->timeline;
}

static bool is_untold(const char *dir, const void *data)
{
    struct pg_kept found;

    return pg_kept_read(dir, &found) && found.timeline != 0 && !found.told &&
           is_given_up(data, &found);
}

static bool is_readable(const char *dir, const void *data)
{
    struct pg_kept found;

    (void)data;
    return pg_kept_read(dir, &found);
}

static void trim_newest(const struct loss_work *w, const char *base)
{
    char path[PATH_MAX];
    struct pg_kept newest;
    struct err err;

    if (pg_kept_find(base, is_readable, NULL, path, sizeof(path)) && pg_kept_read(path, &newest) &&
        is_given_up(w->opts->o.data_dir, &newest) &&
        pg_kept_trim(&newest, base, w->limit, &err) != 0) {
        log_warning("More is kept of diverged WAL than diverged_keep says. directory=%s "
                    "problem=\"%s\"",
                    newest.path, err.text);
    }
}

static void run_loss(struct pg_job *job)
{
    struct loss_work *w = CONTAINER_OF(job, struct loss_work, job);
    const char *data_dir = w->opts->o.data_dir;
    struct err err = {""};
    char base[PATH_MAX], path[PATH_MAX];

    if (w->told[0] != '\0' && pg_kept_note_told(w->told, &err) != 0) {
        log_warning("A loss that is on record in the cluster may be told to it again after a "
                    "restart of the agent: that it was told can not be written. problem=\"%s\"",
                    err.text);
        return; /* Nor is the next one looked for: it would be the same. */
    }
    pg_kept_base(data_dir, base, sizeof(base));
    if (w->trims) {
        trim_newest(w, base);
    }
    if (pg_kept_find(base, is_untold, data_dir, path, sizeof(path))) {
        (void)pg_kept_read(path, &w->next); /* It was, a moment ago. */
    }
}

static void on_loss(struct pg_job *job)
{
    struct loss_work *w = CONTAINER_OF(job, struct loss_work, job);
    struct pg *pg = w->pg;

    pg->loss_busy = false;
    /* What was kept meanwhile is found when this one was told. */
    if (pg->loss.timeline == 0 || str_equal(pg->loss.path, w->told)) {
        pg->loss = w->next;
    }
    pg_changed(pg);
    pg_opts_release(w->opts);
    free(w);
    pg_release(pg);
}

static void submit(struct pg *pg, struct loss_work *w)
{
    PRE(!pg->closing);
    pg->loss_busy = true;
    w->pg = pg;
    w->opts = pg_opts_hold(pg->opts);
    w->job.work = run_loss;
    w->job.done = on_loss;
    pg_hold(pg);
    pg_worker_submit(pg->writer, &w->job);
}

void pg_loss_recall(struct pg *pg, uint64_t limit)
{
    struct loss_work *w = xmalloc(sizeof(*w));

    w->trims = true;
    w->limit = limit;
    submit(pg, w);
}

void pg_loss_given_up(struct pg *pg)
{
    if (pg->kept.timeline != 0 && !pg->kept.told) {
        pg->loss = pg->kept;
        pg->kept.told = true; /* Once: a bootstrap that comes later gives up nothing. */
    }
}

void pg_loss_told(struct pg *pg)
{
    struct loss_work *w;

    if (pg->loss_busy || pg->loss.timeline == 0) {
        return;
    }
    w = xmalloc(sizeof(*w));
    (void)str_copy(w->told, sizeof(w->told), pg->loss.path); /* Same size. */
    submit(pg, w);
}
