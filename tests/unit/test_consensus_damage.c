/*
 * Bits that flip and files that are cut, in every file of a Raft directory that
 * was closed in good order. Opening it then either fails, or has forgotten
 * nothing: not the term, not the vote in it, not an entry, not the snapshot.
 */
#include "consensus/consensus_thread.h"
#include "test_consensus_util.h"

#define NOTES 1600 /* Enough for snapshots. */

static struct cluster k;
static struct node *victim;

struct memory { /* What a directory remembers. */
    uint64_t term;
    node_id vote;
    uint64_t last_index;
    uint64_t applied; /* By the snapshot. */
};

static struct memory whole;
static char copy[200]; /* Of the directory, to be damaged. */

static void on_closed(struct raft *r)
{
    raft_uv_close(&CONTAINER_OF(r, struct consensus_thread, raft)->io);
}

/* Opens it as the consensus thread does, without running it. */
static enum consensus_opened open_copy(struct memory *ret, struct err *err)
{
    struct consensus_shared shared = {
        .directory = copy, .id = victim->id, .election_timeout_ms = 1000};
    struct consensus_thread *t;
    enum consensus_opened result;

    assert_int_equal(uv_mutex_init(&shared.mutex), 0);
    queue_init(&shared.in);
    queue_init(&shared.out);
    t = consensus_thread_new(&shared);
    result = thread_open(t, err);
    if (result == CONSENSUS_OPENED) {
        *ret = (struct memory){raft_current_term(&t->raft), t->raft.voted_for,
                               raft_last_index(&t->raft), t->store->applied_index};
        raft_close(&t->raft, on_closed);
        assert_int_equal(uv_run(&t->loop, UV_RUN_DEFAULT), 0);
        assert_int_equal(uv_loop_close(&t->loop), 0);
    } else {
        assert_true(thread_close_failed(t));
    }
    consensus_thread_free(t);
    queue_deinit(&shared.in);
    queue_deinit(&shared.out);
    uv_mutex_destroy(&shared.mutex);
    return result;
}

static void read_file(const char *directory, const char *name, struct strbuf *bytes)
{
    char path[600];
    char chunk[4096];
    size_t n;
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    f = fopen(path, "r");
    assert_non_null(f);
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0) {
        strbuf_add(bytes, chunk, n);
    }
    (void)fclose(f);
}

static void write_file(const char *name, const char *bytes, size_t size)
{
    char path[600];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", copy, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* Calls f for each file of the original. */
static void for_each_file(void (*f)(const char *name))
{
    DIR *dir = opendir(victim->directory);
    struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            f(entry->d_name);
        }
    }
    (void)closedir(dir);
}

static void copy_file(const char *name)
{
    struct strbuf bytes = {0};

    read_file(victim->directory, name, &bytes);
    write_file(name, bytes.data, bytes.length);
    strbuf_deinit(&bytes);
}

static void make_copy(void)
{
    util_remove_tree(copy);
    assert_int_equal(mkdir(copy, 0700), 0);
    for_each_file(copy_file);
}

/* Opening the copy has forgotten nothing, or fails. An older snapshot is as good: libraft
 * refuses a log that does not reach back to it. */
static void check(const char *what, const char *name, size_t at)
{
    struct memory m = {0, 0, 0, 0};
    struct err err = {""};

    if (open_copy(&m, &err) != CONSENSUS_OPENED) {
        assert_true(err.text[0] != '\0');
        return;
    }
    if (m.term < whole.term || (m.term == whole.term && m.vote != whole.vote) ||
        m.last_index < whole.last_index || m.applied == 0) {
        fail_msg("%s of %s at %zu: term %llu vote %llx last %llu applied %llu", what, name, at,
                 (unsigned long long)m.term, (unsigned long long)m.vote,
                 (unsigned long long)m.last_index, (unsigned long long)m.applied);
    }
}

/* Every byte of a small file, some of each part of a large one. */
static void flip_bits(const char *name)
{
    struct strbuf bytes = {0};
    size_t step;

    read_file(victim->directory, name, &bytes);
    step = bytes.length > 128 ? bytes.length / 12 * 8 + 3 : 3; /* In steps that meet every byte. */
    for (size_t bit = 0; bit < bytes.length * 8; bit += step) {
        make_copy();
        bytes.data[bit / 8] = (char)(bytes.data[bit / 8] ^ (1 << bit % 8));
        write_file(name, bytes.data, bytes.length);
        bytes.data[bit / 8] = (char)(bytes.data[bit / 8] ^ (1 << bit % 8));
        check("flipped bit", name, bit);
    }
    strbuf_deinit(&bytes);
}

static void cut(const char *name)
{
    struct strbuf bytes = {0};
    size_t step;

    read_file(victim->directory, name, &bytes);
    step = bytes.length > 64 ? bytes.length / 8 + 1 : 1;
    for (size_t size = 0; size < bytes.length; size += step) {
        make_copy();
        write_file(name, bytes.data, size);
        check("cut", name, size);
    }
    strbuf_deinit(&bytes);
}

static void lose(const char *name)
{
    char path[600];

    make_copy();
    (void)snprintf(path, sizeof(path), "%s/%s", copy, name);
    assert_int_equal(unlink(path), 0);
    /* Nothing says how far the log went: the newest segment is not missed. */
    if (strlen(name) != 33) {
        check("loss", name, 0);
    }
}

/* The directory of the last of several leaders: terms, votes, snapshots and closed
 * segments are in it. */
static int make_directory(void **state)
{
    struct err err = {""};

    (void)state;
    util_start(&k, 3);
    for (unsigned i = 0; i < 3; i++) {
        util_write_notes(&k, i * NOTES / 3, (i + 1) * NOTES / 3);
        UTIL_WAIT(&k, util_leader(&k) != NULL);
        victim = util_leader(&k);
        if (i < 2) {
            util_stop_node(victim);
            UTIL_WAIT(&k, util_leader(&k) != NULL);
            util_start_node(victim);
        }
    }
    util_wait_same(&k);
    for (size_t i = 0; i < 3; i++) {
        util_stop_node(&k.nodes[i]);
    }
    /* In memory if possible: a thousand times opened and synced. */
    (void)snprintf(copy, sizeof(copy), "%s/veche-damage-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/var/tmp");
    assert_non_null(mkdtemp(copy));
    make_copy();
    assert_int_equal(open_copy(&whole, &err), CONSENSUS_OPENED);
    assert_true(whole.term >= 3 && whole.vote == victim->id);
    assert_true(whole.last_index > NOTES && whole.applied >= 512);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    util_remove_tree(copy);
    util_finish(&k);
    return 0;
}

static void a_flipped_bit_makes_nothing_forgotten(void **state)
{
    (void)state;
    for_each_file(flip_bits);
}

static void a_file_that_was_cut_makes_nothing_forgotten(void **state)
{
    (void)state;
    for_each_file(cut);
}

static void a_lost_file_makes_nothing_forgotten(void **state)
{
    (void)state;
    for_each_file(lose);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_bit_makes_nothing_forgotten),
        cmocka_unit_test(a_file_that_was_cut_makes_nothing_forgotten),
        cmocka_unit_test(a_lost_file_makes_nothing_forgotten),
    };

    log_init("test", LOG_ERROR);
    consensus_prepare_process();
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
