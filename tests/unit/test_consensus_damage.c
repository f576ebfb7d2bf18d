/*
 * Bits that flip and files that are cut or lost, in every file of a Raft directory
 * that was closed in good order, or left behind by a crash. Opening it then either
 * fails, or has forgotten nothing: not the term, not the vote in it, not an entry,
 * not the snapshot.
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
static bool log_is_whole;     /* From its first entry on: it needs no snapshot. */
static char copy[200];        /* Of the directory, to be damaged. */
static const char *told_copy; /* The runtime directory; NULL = there was a reboot. */
static unsigned without;      /* enum consensus_without. */

static void on_closed(struct raft *r)
{
    raft_uv_close(&CONTAINER_OF(r, struct consensus_thread, raft)->io);
}

/* Opens it as the consensus thread does, without running it. */
static enum consensus_opened open_copy(struct memory *ret, struct err *err)
{
    struct consensus_shared shared = {
        .directory = copy,
        .copy_directory = (char *)(uintptr_t)told_copy,
        .id = victim->id,
        .election_timeout_ms = 1000,
        .without = without,
    };
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
    remove_all(copy);
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
        m.last_index < whole.last_index || (m.applied == 0 && !log_is_whole)) {
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
    check("loss", name, 0);
}

/* In memory if possible: a thousand times opened and synced. */
static void make_place(void)
{
    if (access("/dev/shm", W_OK) != 0) {
        new_place(copy, sizeof(copy), "damage");
        return;
    }
    (void)snprintf(copy, sizeof(copy), "/dev/shm/veche-damage-XXXXXX");
    assert_non_null(mkdtemp(copy));
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
    make_place();
    make_copy();
    assert_int_equal(open_copy(&whole, &err), CONSENSUS_OPENED);
    assert_true(whole.term >= 3 && whole.vote == victim->id);
    assert_true(whole.last_index > NOTES && whole.applied >= 512);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    remove_all(copy);
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

static bool is_open_segment(const char *name)
{
    return str_starts_with(name, "open-");
}

/* As after a crash: a leader and its disk in the middle of their work. Some commands
 * are in a segment that was not closed. */
static int make_crashed_directory(void **state)
{
    struct err err = {""};

    (void)state;
    log_is_whole = true; /* Much is kept behind a snapshot. */
    util_start(&k, 3);
    util_write_notes(&k, 0, 700);
    util_wait_same(&k);
    victim = util_leader(&k);
    make_place();
    make_copy();
    assert_int_equal(open_copy(&whole, &err), CONSENSUS_OPENED);
    assert_true(whole.last_index > 700 && whole.applied >= 512);
    return 0;
}

static unsigned n_missed;

/* In the part of an open segment that holds something. */
static void flip_in_open_segment(const char *name)
{
    struct strbuf bytes = {0};
    struct memory m;
    struct err err = {""};
    size_t used;

    if (!is_open_segment(name)) {
        return;
    }
    read_file(victim->directory, name, &bytes);
    used = bytes.length;
    while (used > 0 && bytes.data[used - 1] == 0) {
        used--;
    }
    for (size_t at = 8; at < used; at += used / 20 + 1) {
        make_copy();
        bytes.data[at] ^= 1;
        write_file(name, bytes.data, bytes.length);
        bytes.data[at] ^= 1;
        without = 0;
        check("flipped bit after a crash", name, at);
        make_copy();
        bytes.data[at] ^= 1;
        write_file(name, bytes.data, bytes.length);
        bytes.data[at] ^= 1;
        without = CONSENSUS_WITHOUT_TOLD;
        n_missed += open_copy(&m, &err) == CONSENSUS_OPENED && m.last_index < whole.last_index;
        without = 0;
    }
    strbuf_deinit(&bytes);
}

/* libraft takes what is behind it for a write that was cut short, and begins without it. */
static void a_bit_that_flipped_behind_a_crash_is_noticed(void **state)
{
    (void)state;
    n_missed = 0;
    for_each_file(flip_in_open_segment);
    assert_true(n_missed > 0); /* By libraft alone. */
}

static void what_a_crash_left_and_is_lost_is_noticed(void **state)
{
    (void)state;
    for_each_file(lose);
}

static void remove_from_copy(const char *name)
{
    char path[600];

    (void)snprintf(path, sizeof(path), "%s/%s", copy, name);
    assert_int_equal(unlink(path), 0);
}

static void a_state_without_its_vote_file_is_damaged(void **state)
{
    struct memory m;
    struct err err = {""};

    (void)state;
    make_copy();
    remove_from_copy("veche-vote");
    assert_int_equal(open_copy(&m, &err), CONSENSUS_DAMAGED);
    assert_non_null(strstr(err.text, "veche-vote is missing"));
}

static void a_directory_of_another_node_is_damaged(void **state)
{
    struct memory m;
    struct err err = {""};
    struct node other = *victim;
    struct node *real = victim;

    (void)state;
    make_copy();
    other.id++;
    victim = &other;
    assert_int_equal(open_copy(&m, &err), CONSENSUS_DAMAGED);
    assert_non_null(strstr(err.text, "of another node"));
    victim = real;
}

/* `old` is the directory before ten commands, the copy it after them, and `runtime` knows.
 * A leader that is deposed meanwhile may have had more before than after: then again. */
static void take_old_and_new(const char *old, const char *runtime)
{
    struct memory before;
    struct memory after;
    struct err err = {""};

    make_copy();
    do {
        assert_int_equal(open_copy(&before, &err), CONSENSUS_OPENED);
        if (access(old, F_OK) == 0) {
            remove_all(old);
        }
        assert_int_equal(rename(copy, old), 0);
        assert_int_equal(mkdir(copy, 0700), 0);
        util_write_notes(&k, 700, 710);
        util_wait_same(&k);
        make_copy();
        told_copy = runtime;
        assert_int_equal(open_copy(&after, &err), CONSENSUS_OPENED);
    } while (after.last_index <= before.last_index);
}

/* The Raft directory as a whole is of the past, with its veche-vote and the same term: the
 * copy in the runtime directory knows how far it went. */
static void a_restored_directory_is_noticed_in_the_same_boot(void **state)
{
    char runtime[200];
    char old[210];
    struct memory m;
    struct err err = {""};

    (void)state;
    new_place(runtime, sizeof(runtime), "runtime");
    (void)snprintf(old, sizeof(old), "%s.old", copy);
    take_old_and_new(old, runtime);

    remove_all(copy);
    assert_int_equal(rename(old, copy), 0);
    assert_int_equal(open_copy(&m, &err), CONSENSUS_DAMAGED);
    without = CONSENSUS_WITHOUT_TOLD;
    assert_int_equal(open_copy(&m, &err), CONSENSUS_OPENED);
    without = 0;
    told_copy = NULL;
    remove_all(runtime);
}

/* A copy that is broken, or of an id this node had before, is a help no more and no harm. */
static void a_bad_copy_does_not_matter(void **state)
{
    char runtime[200];
    struct vote_file f;
    struct memory m;
    struct err err = {""};

    (void)state;
    new_place(runtime, sizeof(runtime), "runtime");
    assert_int_equal(vote_file_open_copy(&f, runtime, victim->id + 1, &err), 0);
    assert_int_equal(vote_file_save(&f, &(struct vote_record){99, 0, 1u << 20}, &err), 0);
    vote_file_close(&f);
    make_copy();
    told_copy = runtime;
    assert_int_equal(open_copy(&m, &err), CONSENSUS_OPENED);
    assert_int_equal(vote_file_open_copy(&f, runtime, victim->id, &err), 0);
    assert_int_equal(f.last_index, m.last_index);
    vote_file_give_up(&f);
    assert_int_equal(open_copy(&m, &err), CONSENSUS_OPENED);
    told_copy = NULL;
    remove_all(runtime);
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_bit_makes_nothing_forgotten),
        cmocka_unit_test(a_file_that_was_cut_makes_nothing_forgotten),
        cmocka_unit_test(a_lost_file_makes_nothing_forgotten),
    };

    const struct CMUnitTest crashed[] = {
        cmocka_unit_test(a_bit_that_flipped_behind_a_crash_is_noticed),
        cmocka_unit_test(what_a_crash_left_and_is_lost_is_noticed),
        cmocka_unit_test(a_state_without_its_vote_file_is_damaged),
        cmocka_unit_test(a_directory_of_another_node_is_damaged),
        cmocka_unit_test(a_restored_directory_is_noticed_in_the_same_boot),
        cmocka_unit_test(a_bad_copy_does_not_matter),
    };
    int n_failed;

    log_init("test", LOG_ERROR);
    consensus_prepare_process();
    n_failed = cmocka_run_group_tests(tests, make_directory, remove_directory);
    return n_failed + cmocka_run_group_tests(crashed, make_crashed_directory, remove_directory);
}

int main(void)
{
    own_shared_memory(); /* Nothing stays in it. */
    return run_in_place(run_all);
}
