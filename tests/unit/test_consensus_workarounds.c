/*
 * The work-arounds one by one, in front of a libraft played by the test. Those
 * that end the process are tried in a child.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/str.h"
#include "consensus/workarounds.h"
#include "test_child.h"
#include "test_consensus_fake_io.h"
#include "veche/exitcode.h"

#define RECEIVED_MAX 64

struct received {
    struct raft_message message;
    unsigned n_entries;
    struct raft_entry entries[40];
    char bytes[40][8];
};

static struct consensus_shared shared;
static struct consensus_thread *thread;
static struct received got[RECEIVED_MAX];
static unsigned n_got;
static raft_term loaded_term;
static struct raft_snapshot *loaded_snapshot;
static struct raft_entry loaded_entries[2];
static size_t n_loaded;

/* In memory of the library's, as its own io does. */
static struct raft_snapshot *copy_snapshot(void)
{
    struct raft_snapshot *s = raft_calloc(1, sizeof(*s));

    assert_non_null(s);
    s->term = loaded_snapshot->term;
    raft_configuration_init(&s->configuration);
    s->bufs = raft_calloc(1, sizeof(*s->bufs));
    assert_non_null(s->bufs);
    s->n_bufs = 1;
    s->bufs[0].base = raft_malloc(8);
    return s;
}

static struct raft_entry *copy_entries(void)
{
    struct raft_entry *entries = raft_calloc(n_loaded, sizeof(*entries));
    void *batch = raft_malloc(8);

    assert_non_null(entries);
    for (size_t i = 0; i < n_loaded; i++) {
        entries[i] = loaded_entries[i];
        entries[i].batch = batch;
    }
    return entries;
}

static int fake_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                     struct raft_snapshot **snapshot, raft_index *start_index,
                     struct raft_entry **entries, size_t *n_entries)
{
    (void)io;
    *term = loaded_term;
    *voted_for = 0;
    *snapshot = loaded_snapshot != NULL ? copy_snapshot() : NULL;
    *start_index = 1;
    *entries = n_loaded > 0 ? copy_entries() : NULL;
    *n_entries = n_loaded;
    return io_status;
}

static int fake_append(struct raft_io *io, struct raft_io_append *req,
                       const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    (void)io;
    (void)req;
    (void)entries;
    (void)n;
    (void)cb;
    return io_status;
}

/* libraft: remembers, and frees as the library does. */
static void raft_receives(struct raft_io *io, struct raft_message *m)
{
    struct received *r = &got[n_got++];

    (void)io;
    assert_true(n_got < RECEIVED_MAX);
    memset(r, 0, sizeof(*r));
    r->message = *m;
    if (m->type == RAFT_INSTALL_SNAPSHOT) {
        raft_configuration_close(&m->install_snapshot.conf);
        raft_free(m->install_snapshot.data.base);
        return;
    }
    r->n_entries = m->append_entries.n_entries;
    for (unsigned i = 0; i < r->n_entries; i++) {
        r->entries[i] = m->append_entries.entries[i];
        memcpy(r->bytes[i], r->entries[i].buf.base, 8);
        assert_ptr_equal(r->entries[i].batch, m->append_entries.entries[0].batch);
    }
    if (r->n_entries > 0) {
        raft_free(m->append_entries.entries[0].batch);
        raft_free(m->append_entries.entries);
    }
}

static int make_thread(void **state)
{
    static const struct raft_io io = {.load = fake_load, .append = fake_append};

    (void)state;
    thread = fake_thread(&shared, &io);
    workaround_io(thread);
    assert_int_equal(thread->io.start(&thread->io, 30, NULL, raft_receives), 0);
    n_got = 0;
    loaded_term = 5;
    loaded_snapshot = NULL;
    n_loaded = 0;
    return 0;
}

static int free_thread(void **state)
{
    (void)state;
    fake_thread_free(thread);
    return 0;
}

/* An append message as libraft decodes one: one batch, entries pointing into it. */
static void send_entries(const enum raft_entry_type *types, unsigned n, uint64_t prev_index)
{
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES, .server_id = 2, .server_address = "n:2"};
    struct raft_append_entries *a = &m.append_entries;
    char *batch = raft_malloc(n * 8);

    a->term = 9;
    a->prev_log_index = prev_index;
    a->prev_log_term = 3;
    a->leader_commit = 77;
    a->n_entries = n;
    a->entries = raft_calloc(n, sizeof(*a->entries));
    for (unsigned i = 0; i < n; i++) {
        a->entries[i].term = 4 + i;
        a->entries[i].type = types[i];
        a->entries[i].buf.base = batch + (size_t)i * 8;
        a->entries[i].buf.len = 8;
        a->entries[i].batch = batch;
        (void)snprintf(a->entries[i].buf.base, 8, "e%03u", i % 1000);
    }
    receive(&thread->io, &m);
}

/* R1, property: whatever the batch, the same entries arrive under the same
 * indexes, and a membership entry is always the first of its message. */
static void a_membership_entry_always_comes_first_in_its_message(void **state)
{
    struct rng rng;

    (void)state;
    rng_seed(&rng, 5);
    for (unsigned run = 0; run < 500; run++) {
        enum raft_entry_type types[32];
        unsigned n = (unsigned)rng_between(&rng, 1, 32);
        unsigned at = 0;

        n_got = 0;
        for (unsigned i = 0; i < n; i++) {
            types[i] = rng_next(&rng) % 4 == 0 ? RAFT_CHANGE : RAFT_COMMAND;
        }
        send_entries(types, n, 100);

        for (unsigned k = 0; k < n_got; k++) {
            const struct raft_append_entries *a = &got[k].message.append_entries;

            assert_int_equal(a->prev_log_index, 100 + at);
            assert_int_equal(a->prev_log_term, at == 0 ? 3 : 4 + at - 1);
            assert_int_equal(a->leader_commit, 77);
            assert_int_equal(a->term, 9);
            assert_int_equal(got[k].message.server_id, 2);
            for (unsigned i = 0; i < got[k].n_entries; i++, at++) {
                char expected[8];

                (void)snprintf(expected, sizeof(expected), "e%03u", at % 1000);
                assert_string_equal(got[k].bytes[i], expected);
                assert_int_equal(got[k].entries[i].term, 4 + at);
                assert_int_equal(got[k].entries[i].type, types[at]);
                assert_true(i == 0 || types[at] != RAFT_CHANGE);
            }
        }
        assert_int_equal(at, n);
    }
}

static void without_it_a_membership_entry_comes_inside_a_batch(void **state)
{
    const enum raft_entry_type types[] = {RAFT_COMMAND, RAFT_CHANGE};

    (void)state;
    shared.without = CONSENSUS_WITHOUT_R1;
    send_entries(types, 2, 100);

    assert_int_equal(n_got, 1);
    assert_int_equal(got[0].entries[1].type, RAFT_CHANGE);
}

static void send_snapshot(void)
{
    struct raft_message m = {.type = RAFT_INSTALL_SNAPSHOT};

    raft_configuration_init(&m.install_snapshot.conf);
    assert_int_equal(raft_configuration_add(&m.install_snapshot.conf, 1, "n:1", RAFT_VOTER), 0);
    m.install_snapshot.data.base = raft_malloc(16);
    m.install_snapshot.data.len = 16;
    receive(&thread->io, &m);
}

/* R3: libraft would follow a null pointer once its own snapshot is written, and
 * leaks what comes while it installs one. */
static void a_snapshot_is_dropped_while_another_is_being_written(void **state)
{
    (void)state;
    thread->raft.legacy.snapshot_taking = true;
    send_snapshot();
    assert_int_equal(n_got, 0);

    thread->raft.legacy.snapshot_taking = false;
    thread->raft.snapshot.installing = true;
    send_snapshot();
    assert_int_equal(n_got, 0);

    thread->raft.snapshot.installing = false;
    send_snapshot();
    assert_int_equal(n_got, 1);

    thread->raft.legacy.snapshot_taking = true;
    shared.without = CONSENSUS_WITHOUT_R3;
    send_snapshot();
    assert_int_equal(n_got, 2); /* As the library does alone. */
}

/* The exit code of a child that runs f; 0 if f returns. */
static int exit_code_of(void (*f)(void))
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        f();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void set_term(void)
{
    (void)thread->io.set_term(&thread->io, 6);
}

static void set_vote(void)
{
    (void)thread->io.set_vote(&thread->io, 6);
}

static void append(void)
{
    (void)thread->io.append(&thread->io, NULL, NULL, 0, NULL);
}

static void truncate_log(void)
{
    (void)thread->io.truncate(&thread->io, 6);
}

static void trace_failed_write(void)
{
    struct raft_tracer_info info = {.version = 1};

    info.diagnostic.level = 3;
    info.diagnostic.message = "retry failed write (input/output error)";
    thread->tracer.emit(&thread->tracer, RAFT_TRACER_DIAGNOSTIC, &info);
}

static void trace_something_else(void)
{
    struct raft_tracer_info info = {.version = 1};

    info.diagnostic.level = 3;
    info.diagnostic.message = "retry connection";
    thread->tracer.emit(&thread->tracer, RAFT_TRACER_DIAGNOSTIC, &info);
}

static void a_write_that_fails_ends_the_process(void **state)
{
    void (*const writes[])(void) = {set_term, set_vote, append, truncate_log};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(writes); i++) {
        shared.without = 0;
        io_status = 0;
        assert_int_equal(exit_code_of(writes[i]), 0);
        io_status = RAFT_IOERR;
        assert_int_equal(exit_code_of(writes[i]), VECHE_EXIT_RAFT_FAILED);
        shared.without = CONSENSUS_WITHOUT_STOP;
        assert_int_equal(exit_code_of(writes[i]), 0); /* As if nothing had happened. */
    }
}

static void a_failed_write_of_the_log_ends_the_process(void **state)
{
    (void)state;
    assert_int_equal(exit_code_of(trace_something_else), 0);
    assert_int_equal(exit_code_of(trace_failed_write), VECHE_EXIT_RAFT_FAILED);
    shared.without = CONSENSUS_WITHOUT_RETRY;
    assert_int_equal(exit_code_of(trace_failed_write), 0);
}

static int load(void)
{
    raft_term term;
    raft_id vote;
    struct raft_snapshot *snapshot;
    raft_index start;
    struct raft_entry *entries;
    size_t n;

    return thread->io.load(&thread->io, &term, &vote, &snapshot, &start, &entries, &n);
}

static void a_directory_that_went_back_in_time_is_damaged(void **state)
{
    struct raft_snapshot snapshot = {.term = 6};

    (void)state;
    shared.lowest_term = 5;
    assert_int_equal(load(), 0);

    shared.lowest_term = 6;
    assert_int_equal(load(), RAFT_CORRUPT);
    assert_string_equal(thread->io.errmsg, "the term is lower than one this node has been in");

    shared.lowest_term = 0;
    n_loaded = 2;
    loaded_entries[0].term = 1;
    loaded_entries[1].term = 6; /* The metadata file was lost. */
    assert_int_equal(load(), RAFT_CORRUPT);

    n_loaded = 0;
    loaded_snapshot = &snapshot;
    assert_int_equal(load(), RAFT_CORRUPT);

    loaded_snapshot = NULL;
    io_status = RAFT_IOERR;
    assert_int_equal(load(), RAFT_IOERR);
}

static void any_length_is_padded_and_comes_back(void **state)
{
    uint8_t bytes[100];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 7);
    }
    for (size_t size = 1; size <= sizeof(bytes); size++) {
        struct raft_buffer buf;
        const void *back = NULL;
        size_t back_size = 0;

        buf.base = workaround_pad_entry(thread, bytes, size, &buf.len);
        assert_non_null(buf.base);
        assert_true(buf.len > 0 && buf.len % 8 == 0);
        assert_int_equal(workaround_unpad_entry(&buf, &back, &back_size), 0);
        assert_int_equal(back_size, size);
        assert_memory_equal(back, bytes, size);

        for (size_t bit = 0; bit < (8 + size) * 8; bit += 5) {
            ((uint8_t *)buf.base)[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(workaround_unpad_entry(&buf, &back, &back_size), -1);
            ((uint8_t *)buf.base)[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        raft_free(buf.base);
    }
}

static uint8_t newer_command[] = {COMMAND_VERSION + 1, 0, 1, 0, 0, 0, 0, 0};
static uint8_t broken_command[] = {1, 0, 0xff, 0xff};

static void apply_bytes(const uint8_t *bytes, size_t size)
{
    struct raft_buffer buf;
    void *result = NULL;

    buf.base = workaround_pad_entry(thread, bytes, size, &buf.len);
    (void)thread->fsm.apply(&thread->fsm, &buf, &result);
}

static void apply_newer(void)
{
    apply_bytes(newer_command, sizeof(newer_command));
}

static void apply_broken(void)
{
    apply_bytes(broken_command, sizeof(broken_command));
}

static void apply_damaged(void)
{
    uint8_t bytes[16] = {8};
    struct raft_buffer buf = {bytes, sizeof(bytes)};
    void *result = NULL;

    (void)thread->fsm.apply(&thread->fsm, &buf, &result);
}

static void a_committed_command_that_can_not_be_applied_ends_the_process(void **state)
{
    (void)state;
    assert_int_equal(exit_code_of(apply_newer), VECHE_EXIT_NEWER);
    assert_int_equal(exit_code_of(apply_broken), VECHE_EXIT_RAFT_FAILED);
    assert_int_equal(exit_code_of(apply_damaged), VECHE_EXIT_RAFT_FAILED);
}

static void a_snapshot_comes_back_and_a_damaged_one_does_not(void **state)
{
    struct raft_buffer *bufs = NULL;
    struct raft_buffer copy;
    unsigned n = 0;

    (void)state;
    thread->store->applied_index = 42;
    assert_int_equal(thread->fsm.snapshot(&thread->fsm, &bufs, &n), 0);
    assert_int_equal(n, 1);
    copy.len = bufs[0].len;
    copy.base = raft_malloc(copy.len);
    memcpy(copy.base, bufs[0].base, copy.len);
    thread->store->applied_index = 0;

    assert_int_equal(thread->fsm.restore(&thread->fsm, &bufs[0]), 0);
    assert_int_equal(thread->store->applied_index, 42);
    ((uint8_t *)copy.base)[copy.len / 2] ^= 1;
    assert_int_not_equal(thread->fsm.restore(&thread->fsm, &copy), 0);

    raft_free(copy.base); /* After a failure it is still ours. */
    raft_free(bufs);
}

#define THREAD_TEST(name) cmocka_unit_test_setup_teardown(name, make_thread, free_thread)

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        THREAD_TEST(a_membership_entry_always_comes_first_in_its_message),
        THREAD_TEST(without_it_a_membership_entry_comes_inside_a_batch),
        THREAD_TEST(a_snapshot_is_dropped_while_another_is_being_written),
        THREAD_TEST(a_write_that_fails_ends_the_process),
        THREAD_TEST(a_failed_write_of_the_log_ends_the_process),
        THREAD_TEST(a_directory_that_went_back_in_time_is_damaged),
        THREAD_TEST(any_length_is_padded_and_comes_back),
        THREAD_TEST(a_committed_command_that_can_not_be_applied_ends_the_process),
        THREAD_TEST(a_snapshot_comes_back_and_a_damaged_one_does_not),
    };

    log_init("test", LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_in_place(run_all);
}
