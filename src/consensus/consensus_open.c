/*
 * Opening the Raft directory, on the consensus thread: first formation and every
 * start. What is wrong with it is put into one of the classes of
 * consensus_opened, since what to do about each differs (design.md section 5).
 *
 * Trying again must cost nothing, for it may go on for days. What libraft had
 * opened is closed, therefore, as far as that is safe: after a failed raft_init
 * there is nothing, after a failed load all of it, but once raft_start has
 * listened closing reads freed memory (up to 2201), and it is left alone.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "consensus/consensus.h"
#include "consensus/consensus_thread.h"
#include "consensus/workarounds.h"

#define PROBE_NAME ".veche-probe"
#define PROBE_SIZE 4096

static enum consensus_opened class_of(int rv)
{
    return rv == RAFT_CORRUPT || rv == RAFT_MALFORMED ? CONSENSUS_DAMAGED : CONSENSUS_UNUSABLE;
}

static int write_probe(int fd, struct err *err)
{
    static const char zeros[PROBE_SIZE];
    ssize_t n = write(fd, zeros, sizeof(zeros));

    if (n < 0 || fsync(fd) != 0) {
        return err_set_errno(err, errno, "cannot write");
    }
    return n == (ssize_t)sizeof(zeros) ? 0 : err_set(err, "cannot write: no space left");
}

/* libraft does not always fail at once when it can not write, and its failures cost
 * more: so this is found out before. */
static int check_writable(const char *directory, struct err *err)
{
    int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = -1;
    int rv = -1;

    if (dir >= 0) {
        fd = openat(dir, PROBE_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    }
    if (fd < 0) {
        (void)err_set_errno(err, errno, "cannot write"); /* rv is -1 already. */
    } else {
        rv = write_probe(fd, err);
        (void)close(fd);                    /* Was synced, or has failed. */
        (void)unlinkat(dir, PROBE_NAME, 0); /* The next one overwrites it. */
    }
    if (dir >= 0) {
        (void)close(dir); /* Was only read. */
    }
    return rv == 0 ? 0 : err_wrap(err, "the Raft directory %s", directory);
}

static void on_closed(struct raft *r)
{
    struct consensus_thread *t = CONTAINER_OF(r, struct consensus_thread, raft);

    raft_uv_close(&t->io);
}

static void close_raft(struct consensus_thread *t)
{
    raft_close(&t->raft, on_closed);
    (void)uv_run(&t->loop, UV_RUN_DEFAULT); /* Until all of it is closed. */
    (void)uv_loop_close(&t->loop);
}

static void open_votes_copy(struct consensus_thread *t)
{
    const char *directory = t->shared->copy_directory;
    struct err err = {""};

    if (directory != NULL &&
        vote_file_open_copy(&t->votes_copy, directory, t->shared->id, &err) != 0) {
        log_warning("There is no copy of veche-vote, going on without. why=\"%s\"", err.text);
    }
}

/* Up to raft_init. When this fails nothing is left open. Beside a state there is a
 * veche-vote: it is made before Raft runs for the first time. */
static enum consensus_opened init_raft(struct consensus_thread *t, bool has_state, struct err *err)
{
    const char *directory = t->shared->directory;
    char address[RAFT_ADDRESS_SIZE];
    enum vote_file_open votes =
        vote_file_open(&t->votes, directory, t->shared->id, !has_state, err);
    int rv;

    if (votes != VOTE_FILE_OPEN) {
        return votes == VOTE_FILE_DAMAGED ? CONSENSUS_DAMAGED : CONSENSUS_UNUSABLE;
    }
    open_votes_copy(t);
    rv = uv_loop_init(&t->loop);
    if (rv != 0) {
        (void)err_set(err, "cannot make an event loop: %s", uv_strerror(rv)); /* Told by result. */
        return CONSENSUS_UNUSABLE;
    }
    rv = raft_uv_init(&t->io, &t->loop, directory, &t->transport);
    if (rv != 0) {
        (void)err_set(err, "libraft: %s: %s", raft_strerror(rv), t->io.errmsg); /* As above. */
        (void)uv_loop_close(&t->loop);
        return CONSENSUS_UNUSABLE;
    }
    workaround_io(t);
    raft_address(t->shared->id, address, sizeof(address));
    rv = raft_init(&t->raft, &t->io, &t->fsm, t->shared->id, address);
    if (rv != 0) {
        (void)err_set(err, "opening the Raft directory %s: %s: %s", directory, raft_strerror(rv),
                      raft_errmsg(&t->raft)); /* As above. */
        raft_uv_close(&t->io);
        (void)uv_loop_close(&t->loop);
        return class_of(rv);
    }
    t->initialized = true;
    workaround_settings(t);
    return CONSENSUS_OPENED;
}

static enum consensus_opened check_state(struct consensus_thread *t, bool *ret_has_state,
                                         struct err *err)
{
    const char *directory = t->shared->directory;
    bool has_state = false;

    if (t->shared->may_be_empty && mkdir(directory, 0700) != 0 && errno != EEXIST) {
        (void)err_set_errno(err, errno, "cannot create %s", directory); /* Told by result. */
        return CONSENSUS_UNUSABLE;
    }
    if (consensus_directory_state(directory, &has_state, err) != 0) {
        return CONSENSUS_UNUSABLE;
    }
    if (!has_state && !t->shared->may_be_empty) {
        (void)err_set(err, "the Raft directory %s is empty", directory); /* Told by result. */
        return CONSENSUS_LOST;
    }
    *ret_has_state = has_state;
    return check_writable(directory, err) == 0 ? CONSENSUS_OPENED : CONSENSUS_UNUSABLE;
}

int consensus_read_told(const char *directory, node_id id, struct consensus_told *ret_told)
{
    struct vote_file f;
    struct err unused = {""};

    if (vote_file_open(&f, directory, id, false, &unused) != VOTE_FILE_OPEN) {
        return -1;
    }
    *ret_told = (struct consensus_told){f.term, f.last_index};
    vote_file_close(&f);
    return 0;
}

enum consensus_opened thread_open(struct consensus_thread *t, struct err *err)
{
    bool has_state = false;
    enum consensus_opened result = check_state(t, &has_state, err);
    int rv;

    if (result == CONSENSUS_OPENED) {
        result = init_raft(t, has_state, err);
    }
    if (result != CONSENSUS_OPENED) {
        return result;
    }
    rv = raft_start(&t->raft);
    if (rv != 0) {
        (void)err_set(err, "starting Raft in %s: %s: %s", t->shared->directory, raft_strerror(rv),
                      raft_errmsg(&t->raft)); /* Told by result. */
        return class_of(rv);
    }
    return CONSENSUS_OPENED;
}

bool thread_close_failed(struct consensus_thread *t)
{
    if (t->listens) {
        return false;
    }
    if (t->initialized) {
        close_raft(t);
    }
    return true;
}

static int add_servers(struct raft_configuration *conf, const node_id *ids, size_t n)
{
    int rv = 0;

    for (size_t i = 0; i < n && rv == 0; i++) {
        char address[RAFT_ADDRESS_SIZE];

        raft_address(ids[i], address, sizeof(address));
        rv = raft_configuration_add(conf, ids[i], address, RAFT_VOTER);
    }
    return rv;
}

/* Raft has never run here, so whatever lies here is of an interrupted bootstrap. */
static int remove_files(const char *directory, struct err *err)
{
    struct dirent *entry;
    DIR *dir;
    int rv = 0;

    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        return err_set_errno(err, errno, "cannot create %s", directory);
    }
    dir = opendir(directory);
    if (dir == NULL) {
        return err_set_errno(err, errno, "cannot open %s", directory);
    }
    while (rv == 0 && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.' && unlinkat(dirfd(dir), entry->d_name, 0) != 0) {
            rv = err_set_errno(err, errno, "cannot remove %s/%s", directory, entry->d_name);
        }
    }
    (void)closedir(dir); /* Was only read. */
    return rv;
}

enum consensus_opened thread_bootstrap(struct consensus_thread *t, struct err *err)
{
    struct consensus_shared *s = t->shared;
    struct raft_configuration conf;
    enum consensus_opened result;
    int rv;

    if (remove_files(s->directory, err) != 0 || check_writable(s->directory, err) != 0) {
        return CONSENSUS_UNUSABLE;
    }
    result = init_raft(t, false, err);
    if (result != CONSENSUS_OPENED) {
        return result;
    }
    raft_configuration_init(&conf);
    rv = add_servers(&conf, s->first, s->n_first);
    if (rv == 0) {
        rv = raft_bootstrap(&t->raft, &conf);
    }
    if (rv != 0) {
        (void)err_set(err, "writing the first configuration into %s: %s: %s", s->directory,
                      raft_strerror(rv), t->io.errmsg); /* Told by result. */
    }
    raft_configuration_close(&conf);
    close_raft(t);
    return rv == 0 ? CONSENSUS_OPENED : class_of(rv);
}
