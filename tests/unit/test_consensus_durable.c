/*
 * What is told to others stands in veche-vote first, and never more than the log
 * has: the vtable of libraft with an io behind it that answers when the test says.
 */
#include "consensus/durable.h"
#include "test_consensus_util.h"

#define WRITES_MAX 8

static struct consensus_thread *thread;
static struct consensus_shared shared;
static char directory[256];

static struct raft_io_append *writing[WRITES_MAX]; /* In order; not done yet. */
static raft_io_append_cb writing_cb[WRITES_MAX];
static unsigned n_writing, n_done;
static uint64_t told_at_truncate, told_at_answer;
static struct raft_io_snapshot_put *putting;
static raft_io_snapshot_put_cb putting_cb;

/* As it stands on disk. */
static struct vote_file on_disk(void)
{
    struct vote_file f;
    struct err err = {""};

    assert_int_equal(vote_file_open(&f, directory, shared.id, false, &err), VOTE_FILE_OPEN);
    vote_file_close(&f);
    return f;
}

static int fake_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                     struct raft_snapshot **snapshot, raft_index *start_index,
                     struct raft_entry **entries, size_t *n_entries)
{
    (void)io;
    *term = 3;
    *voted_for = 7;
    *snapshot = NULL;
    *start_index = 11; /* As if behind a snapshot: ten entries. */
    *entries = NULL;
    *n_entries = 0;
    return 0;
}

static int fake_set(struct raft_io *io, raft_term term_or_id)
{
    (void)io;
    (void)term_or_id;
    return 0;
}

static int fake_append(struct raft_io *io, struct raft_io_append *req,
                       const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    (void)io;
    (void)entries;
    (void)n;
    writing[n_writing] = req;
    writing_cb[n_writing++] = cb;
    return 0;
}

static int fake_truncate(struct raft_io *io, raft_index index)
{
    (void)io;
    (void)index;
    told_at_truncate = on_disk().last_index;
    return 0;
}

static int fake_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
                    const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    (void)io;
    (void)trailing;
    (void)snapshot;
    putting = req;
    putting_cb = cb;
    return 0;
}

static void on_answer(struct raft_io_append *req, int status)
{
    (void)req;
    if (status == 0) {
        told_at_answer = on_disk().last_index;
    }
}

static void on_failure(struct raft_io_append *req, int status)
{
    (void)req;
    assert_int_not_equal(status, 0);
}

static void on_put(struct raft_io_snapshot_put *req, int status)
{
    (void)req;
    assert_int_equal(status, 0);
    told_at_answer = on_disk().last_index;
}

static void append(unsigned n, raft_io_append_cb cb)
{
    static struct raft_io_append requests[WRITES_MAX];

    assert_int_equal(thread->io.append(&thread->io, &requests[n_writing], NULL, n, cb), 0);
}

static void finish_append(int status)
{
    writing_cb[n_done](writing[n_done], status);
    n_done++;
}

static int set_up(void **state)
{
    struct err err = {""};
    raft_term term;
    raft_id vote;
    struct raft_snapshot *snapshot;
    raft_index start;
    struct raft_entry *entries;
    size_t n;

    (void)state;
    new_place(directory, sizeof(directory), "consensus");
    shared = (struct consensus_shared){.directory = directory, .id = 5};
    n_writing = n_done = 0;
    thread = consensus_thread_new(&shared);
    assert_int_equal(vote_file_open(&thread->votes, directory, 5, true, &err), VOTE_FILE_OPEN);
    thread->io.load = fake_load;
    thread->io.set_term = fake_set;
    thread->io.set_vote = fake_set;
    thread->io.append = fake_append;
    thread->io.truncate = fake_truncate;
    thread->io.snapshot_put = fake_put;
    durable_io(thread);
    assert_int_equal(thread->io.load(&thread->io, &term, &vote, &snapshot, &start, &entries, &n),
                     0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    while (n_done < n_writing) {
        finish_append(RAFT_CANCELED);
    }
    consensus_thread_free(thread);
    remove_all(directory);
    return 0;
}

static void what_was_loaded_is_known(void **state)
{
    struct vote_file f = on_disk();

    (void)state;
    assert_int_equal(f.term, 3);
    assert_int_equal(f.vote, 7);
    assert_int_equal(f.last_index, 10);
}

static void an_entry_is_told_of_when_that_is_on_record(void **state)
{
    (void)state;
    append(3, on_answer);
    append(1, on_answer);
    assert_int_equal(on_disk().last_index, 10);
    finish_append(0);
    assert_int_equal(told_at_answer, 13);
    finish_append(0);
    assert_int_equal(told_at_answer, 14);
}

static void a_failed_write_is_not_on_record(void **state)
{
    (void)state;
    append(3, on_failure);
    finish_append(RAFT_IOERR);
    assert_int_equal(on_disk().last_index, 10);
}

/* A crash in between is no damage. */
static void the_record_goes_back_before_the_log_does(void **state)
{
    (void)state;
    append(3, on_answer);
    finish_append(0);
    assert_int_equal(thread->io.truncate(&thread->io, 12), 0);
    assert_int_equal(told_at_truncate, 11);

    append(4, on_answer);
    finish_append(0);
    assert_int_equal(told_at_answer, 15);
}

/* libraft cuts the log when the writes that are under way are done. */
static void what_is_cut_off_while_it_is_written_is_not_on_record(void **state)
{
    (void)state;
    append(3, on_answer);
    assert_int_equal(thread->io.truncate(&thread->io, 12), 0);
    append(1, on_answer);
    finish_append(0);
    assert_int_equal(on_disk().last_index, 11);
    finish_append(0);
    assert_int_equal(on_disk().last_index, 12);
}

static void an_installed_snapshot_takes_the_place_of_the_log(void **state)
{
    struct raft_snapshot snapshot = {.index = 500};
    struct raft_io_snapshot_put put = {0};

    (void)state;
    assert_int_equal(thread->io.snapshot_put(&thread->io, 0, &put, &snapshot, on_put), 0);
    assert_int_equal(on_disk().last_index, 10);
    putting_cb(putting, 0);
    assert_int_equal(told_at_answer, 500);
    append(1, on_answer);
    finish_append(0);
    assert_int_equal(told_at_answer, 501);

    snapshot.index = 400; /* What was behind it was never committed. */
    assert_int_equal(thread->io.snapshot_put(&thread->io, 0, &put, &snapshot, on_put), 0);
    assert_int_equal(on_disk().last_index, 400);
    putting_cb(putting, 0);

    snapshot.index = 390; /* Our own: the log stays. */
    assert_int_equal(thread->io.snapshot_put(&thread->io, 1024, &put, &snapshot, on_put), 0);
    assert_ptr_equal(putting, &put);
    assert_int_equal(on_disk().last_index, 400);
}

static void term_and_vote_are_on_record_beside_it(void **state)
{
    (void)state;
    assert_int_equal(thread->io.set_term(&thread->io, 4), 0);
    assert_int_equal(on_disk().term, 4);
    assert_int_equal(on_disk().vote, 0);
    assert_int_equal(thread->io.set_vote(&thread->io, 9), 0);
    assert_int_equal(on_disk().vote, 9);
    assert_int_equal(on_disk().last_index, 10);
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        TEST(what_was_loaded_is_known),
        TEST(an_entry_is_told_of_when_that_is_on_record),
        TEST(a_failed_write_is_not_on_record),
        TEST(the_record_goes_back_before_the_log_does),
        TEST(what_is_cut_off_while_it_is_written_is_not_on_record),
        TEST(an_installed_snapshot_takes_the_place_of_the_log),
        TEST(term_and_vote_are_on_record_beside_it),
#undef TEST
    };

    log_init("test", LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_in_place(run_all);
}
