/* The source itself is included for its marks and its checksum. */
#include "../src/lease_file.c"

#include "testing.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct lease_image image_of(uint64_t epoch)
{
    struct lease_image image = {
        .node_id = 1,
        .promise = {.epoch = epoch,
                    .owner = 7,
                    .instance = 70,
                    .granted_ns = TTL,
                    .until = {123 * SECOND, 456 * SECOND}},
        .highest_epoch = epoch,
        .highest_owner = 7,
        .highest_instance = 70,
        .n_sets = 1,
        .sets = {three()},
    };

    memcpy(image.boot_id, this_boot, sizeof(this_boot));
    return image;
}

static void put_epoch(uint64_t *file, uint64_t epoch)
{
    struct lease_image image = image_of(epoch);

    lease_file_encode(file, &image);
}

/* The epoch in the file, or 0; the verdict is stored. */
static uint64_t epoch_in(const uint64_t *file, enum lease_file_verdict *ret_verdict)
{
    struct lease_image image = {0};

    *ret_verdict = lease_file_decode(file, 1, this_boot, &image);
    return image.promise.epoch;
}

static void checksum_is_castagnoli(void **state)
{
    /* The check value of CRC-32C, RFC 3720 appendix B.4 and others. */
    (void)state;
    assert_int_equal(crc32c("123456789", 9), 0xe3069283);
}

static void what_was_written_is_read(void **state)
{
    uint64_t file[LEASE_FILE_SIZE / 8] = {0};
    struct lease_image in = image_of(5);
    struct lease_image out;

    (void)state;
    in.n_sets = 2;
    in.sets[1] = (struct lease_voter_set){.index = 12, .n = 4, .ids = {1, 2, 3, 4}};
    in.released_epoch = 4;
    in.level_index = 9;
    lease_file_encode(file, &in);
    assert_int_equal(lease_file_decode(file, 1, this_boot, &out), LEASE_FILE_GOOD);
    assert_memory_equal(&in.promise, &out.promise, sizeof(in.promise));
    assert_int_equal(out.node_id, 1);
    assert_memory_equal(out.boot_id, this_boot, sizeof(this_boot));
    assert_int_equal(out.highest_epoch, 5);
    assert_int_equal(out.highest_owner, 7);
    assert_int_equal(out.highest_instance, 70);
    assert_int_equal(out.released_epoch, 4);
    assert_int_equal(out.level_index, 9);
    assert_int_equal(out.n_sets, 2);
    assert_int_equal(out.sets[0].index, 10);
    assert_true(lease_voter_set_equals(&in.sets[0], &out.sets[0]));
    assert_int_equal(out.sets[1].index, 12);
    assert_true(lease_voter_set_equals(&in.sets[1], &out.sets[1]));
}

static void last_of_many_writes_is_read(void **state)
{
    uint64_t file[LEASE_FILE_SIZE / 8] = {0};
    enum lease_file_verdict verdict;

    (void)state;
    for (uint64_t epoch = 1; epoch < 20; epoch++) {
        put_epoch(file, epoch);
        assert_int_equal(epoch_in(file, &verdict), epoch);
        assert_int_equal(verdict, LEASE_FILE_GOOD);
    }
}

static void what_is_written_after_the_last_number_is_read(void **state)
{
    /* A file as good as any, but with the highest number there is. */
    uint64_t file[LEASE_FILE_SIZE / 8] = {0};
    enum lease_file_verdict verdict;

    (void)state;
    put_epoch(file, 4); /* Into slot 1, as every odd number. */
    put_epoch(file, 5);
    file[WORD_MARK] = MARK_BUSY;
    file[SLOT_WORDS + WORD_SEQ] = UINT64_MAX;
    file[SLOT_WORDS + WORD_CRC] = slot_crc(&file[SLOT_WORDS]);
    assert_int_equal(epoch_in(file, &verdict), 4);

    put_epoch(file, 6);
    assert_int_equal(epoch_in(file, &verdict), 6);
    assert_int_equal(verdict, LEASE_FILE_GOOD);
}

static void new_file_is_empty(void **state)
{
    uint64_t file[LEASE_FILE_SIZE / 8] = {0};
    enum lease_file_verdict verdict;

    (void)state;
    (void)epoch_in(file, &verdict);
    assert_int_equal(verdict, LEASE_FILE_EMPTY);
}

static void other_boot_and_other_node_are_told_apart(void **state)
{
    uint64_t file[LEASE_FILE_SIZE / 8] = {0};
    const uint8_t next_boot[16] = "next boot";
    struct lease_image out;

    (void)state;
    put_epoch(file, 5);
    assert_int_equal(lease_file_decode(file, 1, next_boot, &out), LEASE_FILE_OTHER_BOOT);
    assert_int_equal(lease_file_decode(file, 2, this_boot, &out), LEASE_FILE_OTHER_NODE);
}

static void file_of_an_earlier_boot_is_begun_anew(void **state)
{
    uint64_t file[LEASE_FILE_SIZE / 8] = {0};
    const uint8_t next_boot[16] = "next boot";
    struct lease_image image = image_of(6);
    struct lease_image out;

    (void)state;
    put_epoch(file, 4);
    put_epoch(file, 5);
    memcpy(image.boot_id, next_boot, sizeof(next_boot));
    lease_file_encode(file, &image);
    assert_int_equal(lease_file_decode(file, 1, next_boot, &out), LEASE_FILE_GOOD);
    assert_int_equal(out.promise.epoch, 6);
}

static void write_cut_short_leaves_the_promise_before_it(void **state)
{
    /* The process dies after any number of the stores of its sixth write. */
    uint64_t before[LEASE_FILE_SIZE / 8] = {0};
    uint64_t after[LEASE_FILE_SIZE / 8];
    uint64_t torn[LEASE_FILE_SIZE / 8];
    enum lease_file_verdict verdict;

    (void)state;
    for (uint64_t epoch = 1; epoch <= 5; epoch++) {
        put_epoch(before, epoch);
    }
    memcpy(after, before, sizeof(after));
    put_epoch(after, 6);
    for (size_t n = 0; n < SLOT_WORDS; n++) {
        memcpy(torn, before, sizeof(torn));
        torn[WORD_MARK] = MARK_BUSY; /* Number 6 goes to slot 0. */
        memcpy(&torn[1], &after[1], n * sizeof(torn[0]));
        assert_int_equal(epoch_in(torn, &verdict), 5);
        assert_int_equal(verdict, LEASE_FILE_GOOD);
        put_epoch(torn, 7);
        assert_int_equal(epoch_in(torn, &verdict), 7);
    }
}

static void first_write_cut_short_is_an_empty_file(void **state)
{
    uint64_t file[LEASE_FILE_SIZE / 8] = {0};
    enum lease_file_verdict verdict;

    (void)state;
    file[SLOT_WORDS + WORD_MARK] = MARK_BUSY;
    file[SLOT_WORDS + WORD_SEQ] = 1;
    (void)epoch_in(file, &verdict);
    assert_int_equal(verdict, LEASE_FILE_EMPTY);
}

static void any_changed_bit_is_damage(void **state)
{
    /* In the newer slot or in the older one, which could have been the newer. */
    uint64_t file[LEASE_FILE_SIZE / 8] = {0};
    enum lease_file_verdict verdict;

    (void)state;
    put_epoch(file, 4);
    put_epoch(file, 5);
    for (size_t bit = 0; bit < LEASE_FILE_SIZE * 8; bit++) {
        file[bit / 64] ^= UINT64_C(1) << (bit % 64);
        (void)epoch_in(file, &verdict);
        assert_int_equal(verdict, LEASE_FILE_DAMAGED);
        file[bit / 64] ^= UINT64_C(1) << (bit % 64);
    }
}

static void lost_slot_is_damage(void **state)
{
    /* One slot is zeros although two were written. */
    uint64_t file[LEASE_FILE_SIZE / 8] = {0};
    enum lease_file_verdict verdict;

    (void)state;
    put_epoch(file, 4);
    put_epoch(file, 5);
    memset(&file[SLOT_WORDS], 0, SLOT_WORDS * 8);
    (void)epoch_in(file, &verdict);
    assert_int_equal(verdict, LEASE_FILE_DAMAGED);
}

static void slots_that_are_not_neighbours_are_damage(void **state)
{
    /* Somebody put an old slot back: numbers 1 and 4. */
    uint64_t file[LEASE_FILE_SIZE / 8] = {0};
    uint64_t old[LEASE_FILE_SIZE / 8];
    enum lease_file_verdict verdict;

    (void)state;
    put_epoch(file, 1);
    memcpy(old, file, sizeof(old));
    put_epoch(file, 2);
    put_epoch(file, 3);
    put_epoch(file, 4);
    memcpy(&file[SLOT_WORDS], &old[SLOT_WORDS], SLOT_WORDS * 8);
    (void)epoch_in(file, &verdict);
    assert_int_equal(verdict, LEASE_FILE_DAMAGED);
}

static void clearing_cut_short_is_never_good(void **state)
{
    /* Slot 1 is number 1 and whole, slot 0 was number 2 and is damaged. The
     * clearing stores two void marks, then zeros from the end. */
    uint64_t file[LEASE_FILE_SIZE / 8] = {0};
    enum lease_file_verdict verdict;

    (void)state;
    put_epoch(file, 1);
    put_epoch(file, 2);
    file[5] ^= 1;
    file[WORD_MARK] = MARK_VOID;
    (void)epoch_in(file, &verdict);
    assert_int_equal(verdict, LEASE_FILE_DAMAGED);
    file[SLOT_WORDS + WORD_MARK] = MARK_VOID;
    for (size_t i = 2 * SLOT_WORDS; i > 0; i--) {
        (void)epoch_in(file, &verdict);
        assert_int_equal(verdict, LEASE_FILE_DAMAGED);
        file[i - 1] = 0;
    }
    (void)epoch_in(file, &verdict);
    assert_int_equal(verdict, LEASE_FILE_EMPTY);
}

/* Writes epochs for ever; tells each after it was written. */
static void write_for_ever(uint64_t *file, volatile uint64_t *told)
{
    for (uint64_t epoch = *told + 1;; epoch++) {
        put_epoch(file, epoch);
        *told = epoch;
    }
}

static void killed_writer_leaves_everything_it_told(void **state)
{
    /* A process is killed while it writes, again and again. */
    size_t size = LEASE_FILE_SIZE + sizeof(uint64_t);
    uint64_t *file = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    volatile uint64_t *told = &file[LEASE_FILE_SIZE / 8];

    (void)state;
    assert_ptr_not_equal(file, MAP_FAILED);
    put_epoch(file, 1);
    *told = 1;
    for (useconds_t i = 0; i < 150; i++) {
        enum lease_file_verdict verdict;
        uint64_t epoch;
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0) {
            write_for_ever(file, told);
        }
        usleep(500 + i * 7);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        epoch = epoch_in(file, &verdict);
        assert_true(epoch >= *told && epoch <= *told + 1);
        assert_int_equal(verdict, LEASE_FILE_GOOD);
    }
    assert_int_equal(munmap(file, size), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksum_is_castagnoli),
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(last_of_many_writes_is_read),
        cmocka_unit_test(what_is_written_after_the_last_number_is_read),
        cmocka_unit_test(new_file_is_empty),
        cmocka_unit_test(other_boot_and_other_node_are_told_apart),
        cmocka_unit_test(file_of_an_earlier_boot_is_begun_anew),
        cmocka_unit_test(write_cut_short_leaves_the_promise_before_it),
        cmocka_unit_test(first_write_cut_short_is_an_empty_file),
        cmocka_unit_test(any_changed_bit_is_damage),
        cmocka_unit_test(lost_slot_is_damage),
        cmocka_unit_test(slots_that_are_not_neighbours_are_damage),
        cmocka_unit_test(clearing_cut_short_is_never_good),
        cmocka_unit_test(killed_writer_leaves_everything_it_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
