/*
 * See durable.h. Each function of `struct raft_io` that writes is followed, once
 * libraft's own write is durable and before the answer goes out, by a record in
 * veche-vote. A failed write of either ends the process: what libraft holds in
 * memory and what is on disk differ from then on.
 *
 * The end of the log goes back where libraft cuts it off (a follower's, which was
 * never committed). The record says less before the log does: a crash in between
 * is no damage.
 */
#include "consensus/durable.h"

#include "base/log.h"
#include "base/str.h"
#include "consensus/workarounds.h"
#include "veche/exitcode.h"

/* An append or a snapshot while it is written; libraft has `req` in the meantime. */
struct durable_write {
    struct list node; /* In consensus_thread.writes. */
    struct consensus_thread *thread;
    uint64_t last_index; /* The log goes that far when it is done. */
    struct raft_io_append append;
    struct raft_io_append *original_append;
    raft_io_append_cb append_cb;
    struct raft_io_snapshot_put put;
    struct raft_io_snapshot_put *original_put;
    raft_io_snapshot_put_cb put_cb;
};

static struct consensus_thread *thread_of(struct raft_io *io)
{
    return CONTAINER_OF(io, struct consensus_thread, io);
}

static bool stops(const struct consensus_thread *t)
{
    return (t->shared->without & CONSENSUS_WITHOUT_STOP) == 0;
}

/* All versions up to 2201: an error of set_term and set_vote is dropped, and the
 * node votes on in a term that a restart forgets: two leaders in one term. */
static void stop_on_failed_write(struct raft_io *io, int rv, const char *what)
{
    if (rv != 0 && stops(thread_of(io))) {
        consensus_fail_stop(VECHE_EXIT_RAFT_FAILED, what, io->errmsg);
    }
}

static void save_copy(struct consensus_thread *t)
{
    struct err err = {""};

    if (vote_file_save(&t->votes_copy, &t->told, &err) != 0) {
        log_warning("The copy of veche-vote can not be written, going on without. "
                    "directory=%s why=\"%s\"",
                    t->shared->copy_directory, err.text);
        vote_file_give_up(&t->votes_copy);
    }
}

/* All versions: what libraft keeps of its vote has no check sum, and it does not miss
 * the end of its log. */
static void save_told(struct consensus_thread *t)
{
    struct err err = {""};

    if (vote_file_save(&t->votes, &t->told, &err) != 0 && stops(t)) {
        consensus_fail_stop(VECHE_EXIT_RAFT_FAILED, "what was told to others can not be written",
                            err.text);
    }
    save_copy(t);
}

static int durable_set_term(struct raft_io *io, raft_term term)
{
    struct consensus_thread *t = thread_of(io);
    int rv = t->original.set_term(io, term);

    stop_on_failed_write(io, rv, "the term can not be written");
    t->told.term = term;
    t->told.vote = 0;
    save_told(t);
    return rv;
}

static int durable_set_vote(struct raft_io *io, raft_id id)
{
    struct consensus_thread *t = thread_of(io);
    int rv = t->original.set_vote(io, id);

    stop_on_failed_write(io, rv, "the vote can not be written");
    t->told.vote = id;
    save_told(t);
    return rv;
}

static struct durable_write *write_new(struct consensus_thread *t, uint64_t last_index)
{
    struct durable_write *w = xmalloc(sizeof(*w));

    w->thread = t;
    w->last_index = last_index;
    list_push_back(&t->writes, &w->node);
    return w;
}

static void write_done(struct durable_write *w, int status)
{
    struct consensus_thread *t = w->thread;

    if (status == 0 && w->last_index > t->told.last_index) {
        t->told.last_index = w->last_index;
        save_told(t);
    }
    list_remove(&w->node);
}

static void on_appended(struct raft_io_append *req, int status)
{
    struct durable_write *w = CONTAINER_OF(req, struct durable_write, append);

    write_done(w, status);
    w->append_cb(w->original_append, status);
    free(w);
}

static int durable_append(struct raft_io *io, struct raft_io_append *req,
                          const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    struct consensus_thread *t = thread_of(io);
    struct durable_write *w = write_new(t, t->log_end + n);
    int rv;

    t->log_end += n;
    w->original_append = req;
    w->append_cb = cb;
    rv = t->original.append(io, &w->append, entries, n, on_appended);
    stop_on_failed_write(io, rv, "the log can not be appended to");
    if (rv != 0) {
        list_remove(&w->node);
        free(w);
    }
    return rv;
}

/* What is being written behind it is cut off when it is written. */
static void go_back_to(struct consensus_thread *t, uint64_t last_index)
{
    for (struct list *l = t->writes.next; l != &t->writes; l = l->next) {
        struct durable_write *w = CONTAINER_OF(l, struct durable_write, node);

        w->last_index = MIN(w->last_index, last_index);
    }
    t->log_end = last_index;
    if (t->told.last_index > last_index) {
        t->told.last_index = last_index;
        save_copy(t); /* Never more than the first says, which is never more than the log has. */
        save_told(t);
    }
}

static int durable_truncate(struct raft_io *io, raft_index index)
{
    int rv;

    go_back_to(thread_of(io), index - 1);
    rv = thread_of(io)->original.truncate(io, index);
    stop_on_failed_write(io, rv, "the log can not be truncated");
    return rv;
}

static void on_snapshot_put(struct raft_io_snapshot_put *req, int status)
{
    struct durable_write *w = CONTAINER_OF(req, struct durable_write, put);

    write_done(w, status);
    w->put_cb(w->original_put, status);
    free(w);
}

/* One of another node (trailing 0) takes the place of the whole log. */
static int durable_snapshot_put(struct raft_io *io, unsigned trailing,
                                struct raft_io_snapshot_put *req,
                                const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    struct consensus_thread *t = thread_of(io);
    struct durable_write *w;
    int rv;

    if (trailing != 0) {
        return t->original.snapshot_put(io, trailing, req, snapshot, cb);
    }
    go_back_to(t, MIN(t->log_end, snapshot->index));
    t->log_end = snapshot->index;
    w = write_new(t, snapshot->index);
    w->original_put = req;
    w->put_cb = cb;
    rv = t->original.snapshot_put(io, trailing, &w->put, snapshot, on_snapshot_put);
    if (rv != 0) {
        list_remove(&w->node);
        free(w);
    }
    return rv;
}

/* The metadata files have no check sum, and one of a wrong size counts as absent:
 * a node would vote twice in a term. All versions. */
static const char *damage_of_loaded(const struct consensus_thread *t,
                                    const struct vote_record *loaded,
                                    const struct raft_snapshot *snapshot,
                                    const struct raft_entry *entries, size_t n_entries)
{
    const char *missing = vote_file_missing(&t->votes, loaded);

    if (loaded->term < t->shared->lowest_term) {
        return "the term is lower than one this node has been in";
    }
    if (missing == NULL) {
        missing = vote_file_missing(&t->votes_copy, loaded);
    }
    if (missing != NULL && !(t->shared->without & CONSENSUS_WITHOUT_TOLD)) {
        return missing;
    }
    if (n_entries > 0 && entries[n_entries - 1].term > loaded->term) {
        return "the log has entries of a later term than the metadata";
    }
    if (snapshot != NULL && snapshot->term > loaded->term) {
        return "the snapshot is of a later term than the metadata";
    }
    return NULL;
}

/* Entries of one batch lie behind each other and share its memory. */
static void free_loaded(struct raft_snapshot *snapshot, struct raft_entry *entries,
                        size_t n_entries)
{
    const void *last = NULL;

    for (size_t i = 0; i < n_entries; i++) {
        if (entries[i].batch != last) {
            last = entries[i].batch;
            raft_free(entries[i].batch);
        }
    }
    raft_free(entries);
    if (snapshot != NULL) {
        raft_configuration_close(&snapshot->configuration);
        raft_free(snapshot->bufs[0].base);
        raft_free(snapshot->bufs);
        raft_free(snapshot);
    }
}

static int checked_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                        struct raft_snapshot **snapshot, raft_index *start_index,
                        struct raft_entry **entries, size_t *n_entries)
{
    struct consensus_thread *t = thread_of(io);
    struct vote_record loaded;
    const char *damage;
    int rv = t->original.load(io, term, voted_for, snapshot, start_index, entries, n_entries);

    if (rv != 0) {
        return rv;
    }
    loaded = (struct vote_record){*term, *voted_for, *start_index + *n_entries - 1};
    damage = damage_of_loaded(t, &loaded, *snapshot, *entries, *n_entries);
    if (damage != NULL) {
        free_loaded(*snapshot, *entries, *n_entries);
        (void)str_copy(io->errmsg, sizeof(io->errmsg), damage);
        return RAFT_CORRUPT;
    }
    t->told = loaded;
    t->log_end = loaded.last_index;
    save_told(t);
    return 0;
}

void durable_io(struct consensus_thread *t)
{
    struct raft_io *io = &t->io;

    t->original.load = io->load;
    t->original.set_term = io->set_term;
    t->original.set_vote = io->set_vote;
    t->original.append = io->append;
    t->original.truncate = io->truncate;
    t->original.snapshot_put = io->snapshot_put;
    io->load = checked_load;
    io->set_term = durable_set_term;
    io->set_vote = durable_set_vote;
    io->append = durable_append;
    io->truncate = durable_truncate;
    io->snapshot_put = durable_snapshot_put;
}
