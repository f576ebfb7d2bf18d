/*
 * Two changes of the members that come to libraft while nothing of them is on the disk
 * yet: the library itself, on a disk
 * and a network that do not answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/codec.h"
#include "base/str.h"
#include "consensus/workarounds.h"
#include "test_consensus_fake_io.h"

#define CONFIGURATION_SIZE 256
#define TERM               5

static struct consensus_shared shared;
static struct consensus_thread *thread;
static unsigned n_snapshots_allowed; /* Steps, with two sets on their way, that may end in one. */
static unsigned n_across; /* Reports of the set before and that after, and not the one between. */

static struct {
    struct raft_io_append *req;
    raft_io_append_cb cb;
} writes[4];
static size_t n_writes; /* Under way until the end of a test. */

/* Voters 1 to n, as the library writes them into its log: see raft_check.c. */
static struct raft_buffer encode_voters(uint64_t n)
{
    struct raft_buffer buf = {.base = raft_calloc(1, CONFIGURATION_SIZE)};
    struct encoder e;

    assert_non_null(buf.base);
    encoder_init(&e, buf.base, CONFIGURATION_SIZE);
    encode_u8(&e, 1);
    encode_u64(&e, n);
    for (uint64_t id = 1; id <= n; id++) {
        char address[8];

        (void)snprintf(address, sizeof(address), "n:%u", (unsigned)id);
        encode_u64(&e, id);
        encode_bytes(&e, address, strlen(address) + 1);
        encode_u8(&e, RAFT_VOTER);
    }
    assert_false(e.failed);
    buf.len = (e.used + 7) / 8 * 8;
    return buf;
}

static struct raft_entry *one_change(uint64_t n_voters)
{
    struct raft_entry *entry = raft_calloc(1, sizeof(*entry));

    assert_non_null(entry);
    entry->term = TERM;
    entry->type = RAFT_CHANGE;
    entry->buf = encode_voters(n_voters);
    entry->batch = entry->buf.base;
    return entry;
}

/* ---- The io: loads voters 1 to 3, and never ends a write ---- */

static int fake_init(struct raft_io *io, raft_id id, const char *address)
{
    (void)io;
    (void)id;
    (void)address;
    return 0;
}

static void fake_close(struct raft_io *io, raft_io_close_cb cb)
{
    cb(io);
}

static int fake_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                     struct raft_snapshot **snapshot, raft_index *start_index,
                     struct raft_entry **entries, size_t *n_entries)
{
    (void)io;
    *term = TERM;
    *voted_for = 0;
    *snapshot = NULL;
    *start_index = 1;
    *entries = one_change(3);
    *n_entries = 1;
    return 0;
}

static int fake_append(struct raft_io *io, struct raft_io_append *req,
                       const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    (void)io;
    (void)entries;
    (void)n;
    assert_true(n_writes < ARRAY_LENGTH(writes));
    writes[n_writes].req = req;
    writes[n_writes++].cb = cb;
    return 0;
}

static int fake_send(struct raft_io *io, struct raft_io_send *req,
                     const struct raft_message *message, raft_io_send_cb cb)
{
    (void)io;
    (void)message;
    cb(req, 0);
    return 0;
}

static raft_time fake_time(struct raft_io *io)
{
    (void)io;
    return 1000;
}

static int fake_random(struct raft_io *io, int min, int max)
{
    (void)io;
    (void)max;
    return min;
}

/* ---- A node that has the first set, of index 1 ---- */

static void on_step(struct raft *r)
{
    const struct consensus_leadership *l = &thread->reported;

    thread_report_leadership(thread);
    n_snapshots_allowed +=
        r->configuration_committed_index == 1 && r->configuration_uncommitted_index == 4 &&
                r->legacy.snapshot_threshold < UINT_MAX
            ? 1
            : 0;
    n_across += l->committed_index == 1 && l->voters_index == 4 ? 1 : 0;
}

static int set_up(void **state)
{
    static const struct raft_io io = {
        .version = 2,
        .init = fake_init,
        .close = fake_close,
        .load = fake_load,
        .append = fake_append,
        .send = fake_send,
        .time = fake_time,
        .random = fake_random,
    };

    (void)state;
    thread = fake_thread(&shared, &io);
    workaround_io(thread);
    assert_int_equal(raft_init(&thread->raft, &thread->io, &thread->fsm, 1, "n:1"), 0);
    workaround_settings(thread);
    assert_int_equal(raft_start(&thread->raft), 0);
    thread->raft.legacy.step_cb = on_step;
    thread->running = true;
    n_writes = 0;
    n_across = 0;
    n_snapshots_allowed = 0;
    return 0;
}

static void closed(struct raft *r)
{
    (void)r;
}

static int tear_down(void **state)
{
    (void)state;
    thread->raft.legacy.step_cb = NULL;
    for (size_t i = 0; i < n_writes; i++) {
        writes[i].cb(writes[i].req, 0);
    }
    raft_close(&thread->raft, closed);
    fake_thread_free(thread);
    return 0;
}

/* Entry `index` of a leader. Nothing is committed. */
static void send_entry(uint64_t term, uint64_t index, unsigned short type, uint64_t n_voters)
{
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES, .server_id = 2, .server_address = "n:2"};
    struct raft_append_entries *a = &m.append_entries;

    a->term = term;
    a->prev_log_index = index - 1;
    a->prev_log_term = TERM;
    a->entries = one_change(n_voters);
    a->entries[0].term = term;
    a->entries[0].type = type;
    a->n_entries = 1;
    receive(&thread->io, &m);
}

/* Something, then four voters, then five. */
static void send_two_changes(void)
{
    send_entry(TERM, 2, RAFT_BARRIER, 3);
    send_entry(TERM, 3, RAFT_CHANGE, 4);
    send_entry(TERM, 4, RAFT_CHANGE, 5);
}

static void a_set_before_another_is_taken_for_committed(void **state)
{
    struct consensus_leadership l;

    (void)state;
    send_two_changes();
    queue_leadership(&shared.out, &l);
    assert_int_equal(l.committed_index, 3);
    assert_int_equal(l.n_committed, 4);
    assert_int_equal(l.voters_index, 4);
    assert_int_equal(l.n_voters, 5);
    assert_int_equal(l.level_index, 1); /* Entry 2 is not applied. */
    assert_int_equal(n_across, 0);
    assert_int_equal(n_snapshots_allowed, 0);
    assert_int_equal(thread->raft.legacy.snapshot_threshold, SNAPSHOT_THRESHOLD);
}

static void a_set_that_is_withdrawn_gives_way_to_the_one_before(void **state)
{
    struct consensus_leadership l;

    (void)state;
    send_two_changes();
    send_entry(TERM + 1, 4, RAFT_BARRIER, 3);
    queue_leadership(&shared.out, &l);
    assert_int_equal(l.term, TERM + 1);
    assert_int_equal(l.voters_index, 3);
    assert_int_equal(l.n_voters, 4);
}

static void without_the_work_around_both_are_forgotten(void **state)
{
    struct consensus_leadership l;

    (void)state;
    shared.without = CONSENSUS_WITHOUT_BOTH;
    send_two_changes();
    queue_leadership(&shared.out, &l);
    assert_int_equal(l.committed_index, 1);
    assert_int_equal(l.voters_index, 4);
    assert_true(n_across > 0);
    assert_true(n_snapshots_allowed > 0);
    send_entry(TERM + 1, 4, RAFT_BARRIER, 3);
    queue_leadership(&shared.out, &l);
    assert_int_equal(l.n_voters, 3);
}

#define CHANGES_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHANGES_TEST(a_set_before_another_is_taken_for_committed),
        CHANGES_TEST(a_set_that_is_withdrawn_gives_way_to_the_one_before),
        CHANGES_TEST(without_the_work_around_both_are_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
