/*
 * What an operator's command made of the data directory, looked at on the thread before
 * anything is done with it. That it ended well says nothing of that.
 */
#include <inttypes.h>

#include "base/str.h"
#include "pg/pg_internal.h"

struct check {
    struct pg_work work; /* First: freed through it. */
    uint64_t sysid;      /* Expected; 0 = any. */
};

static int check_made(const struct pg_options *o, uint64_t sysid, struct err *err)
{
    struct pg_disk disk = {0};
    enum data_state data = pg_look_behind_mark(o, &disk);

    if (data == DATA_EMPTY) {
        return err_set(err, "the command left nothing in %s", o->data_dir);
    }
    if (data != DATA_VALID) {
        return err_set(err, "the command made no database: %s", disk.problem);
    }
    if (sysid != 0 && disk.control.sysid != sysid) {
        return err_set(err,
                       "the command made a copy of another database: system identifier %" PRIu64
                       ", the cluster's is %" PRIu64,
                       disk.control.sysid, sysid);
    }
    return 0;
}

static void run_check(struct pg_job *job)
{
    struct check *c = CONTAINER_OF(job, struct check, work.job);

    c->work.status = check_made(&c->work.opts->o, c->sysid, &c->work.err);
}

void pg_check_made(struct pg *pg, uint64_t sysid, pg_done_cb cb, void *data)
{
    struct check *c = xmalloc(sizeof(*c));

    c->sysid = sysid;
    pg_work_submit(pg, &c->work, run_check, pg_work_done, cb, data);
}

const char *pg_answer_path(const struct pg *pg, char *path, size_t size)
{
    pg_file_beside(pg->opts->o.data_dir, "answer", path, size);
    return path;
}
