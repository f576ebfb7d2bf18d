/*
 * The identity file: what was saved comes back, anything else is refused.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/str.h"
#include "consensus/identity.h"

static char directory[128];
static char path[160];

static int make_directory(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof(directory), "/tmp/veche-identity-XXXXXX");
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/identity", directory);
    return 0;
}

static int remove_directory(void **state)
{
    char temporary[192];

    (void)state;
    (void)snprintf(temporary, sizeof(temporary), "%s.new", path);
    (void)unlink(temporary);
    (void)unlink(path);
    return rmdir(directory);
}

static struct identity member(void)
{
    struct identity identity = {
        .id = 0x1234567890abcdef,
        .name = "pg1",
        .phase = IDENTITY_MEMBER,
        .cluster_id = 77,
        .scope = "main",
        .highest_term = 12,
        .longest_grant_ms = 3000,
        .n_members = 3,
        .members = {5, 6, 0x1234567890abcdef},
    };

    return identity;
}

static void save(const struct identity *identity)
{
    struct err err = {""};

    if (identity_save(directory, identity, &err) != 0) {
        fail_msg("%s", err.text);
    }
}

static enum identity_load load(struct identity *identity)
{
    struct err err = {""};

    return identity_load(directory, identity, &err);
}

static size_t read_file(uint8_t *data, size_t size)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, data, size);

    assert_true(fd >= 0 && n > 0);
    (void)close(fd);
    return (size_t)n;
}

static void write_file(const uint8_t *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), size);
    (void)close(fd);
}

static void what_was_saved_is_loaded(void **state)
{
    struct identity saved = member();
    struct identity loaded = {0};
    struct identity fresh = {.id = 9, .name = "pg2", .scope = "main"};

    (void)state;
    save(&saved);
    assert_int_equal(load(&loaded), IDENTITY_LOADED);
    assert_memory_equal(&saved, &loaded, sizeof(saved));

    save(&fresh); /* Replaces it. */
    assert_int_equal(load(&loaded), IDENTITY_LOADED);
    assert_int_equal(loaded.id, 9);
    assert_int_equal(loaded.phase, IDENTITY_NEW);
}

static void a_missing_file_is_not_damage(void **state)
{
    struct identity loaded;

    (void)state;
    assert_int_equal(load(&loaded), IDENTITY_MISSING);
}

static void a_file_cut_at_any_byte_is_damaged(void **state)
{
    struct identity saved = member();
    struct identity loaded;
    uint8_t data[1024];
    size_t size;

    (void)state;
    save(&saved);
    size = read_file(data, sizeof(data));

    for (size_t n = 0; n < size; n++) {
        write_file(data, n);
        assert_int_equal(load(&loaded), IDENTITY_DAMAGED);
    }
}

static void a_file_with_any_bit_flipped_is_damaged(void **state)
{
    struct identity saved = member();
    struct identity loaded;
    uint8_t data[1024];
    size_t size;

    (void)state;
    save(&saved);
    size = read_file(data, sizeof(data));

    for (size_t bit = 0; bit < size * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        write_file(data, size);
        assert_int_equal(load(&loaded), IDENTITY_DAMAGED);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    data[size] = 0;
    write_file(data, size + 1); /* One byte too many. */
    assert_int_equal(load(&loaded), IDENTITY_DAMAGED);
}

static void an_unreadable_file_is_not_taken_for_a_missing_one(void **state)
{
    struct identity loaded;

    (void)state;
    assert_int_equal(mkdir(path, 0700), 0); /* Even for root. */

    assert_int_equal(load(&loaded), IDENTITY_FAILED);
    assert_int_equal(rmdir(path), 0);
}

/* The disk is full: files may not grow, in a child so that only it suffers. */
static void a_failed_save_leaves_the_old_file(void **state)
{
    struct identity saved = member();
    struct identity loaded;
    int status = 0;
    pid_t pid;

    (void)state;
    save(&saved);
    pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        struct err err = {""};

        (void)signal(SIGXFSZ, SIG_IGN);
        (void)setrlimit(RLIMIT_FSIZE, &none);
        saved.highest_term = 99;
        _exit(identity_save(directory, &saved, &err) == 0 ? 1 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);

    assert_int_equal(status, 0); /* It said so. */
    assert_int_equal(load(&loaded), IDENTITY_LOADED);
    assert_int_equal(loaded.highest_term, 12);
}

static void a_second_process_on_the_directory_is_refused(void **state)
{
    struct err err = {""};
    int fd = identity_lock(directory, &err);
    int status = 0;
    pid_t pid;

    (void)state;
    assert_true(fd >= 0);
    pid = fork();
    if (pid == 0) {
        int second = identity_lock(directory, &err);

        _exit(second == -1 && str_starts_with(err.text, "another veched uses") ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);

    (void)close(fd);
    fd = identity_lock(directory, &err); /* Free again. */
    assert_true(fd >= 0);
    (void)close(fd);
}

static void locking_makes_a_missing_directory(void **state)
{
    char child[192];
    struct err err = {""};
    struct stat st;
    int fd;

    (void)state;
    (void)snprintf(child, sizeof(child), "%s/new", directory);
    fd = identity_lock(child, &err);
    assert_true(fd >= 0);
    assert_int_equal(stat(child, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    (void)close(fd);
    assert_int_equal(rmdir(child), 0);
}

#define IDENTITY_TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IDENTITY_TEST(what_was_saved_is_loaded),
        IDENTITY_TEST(a_missing_file_is_not_damage),
        IDENTITY_TEST(a_file_cut_at_any_byte_is_damaged),
        IDENTITY_TEST(a_file_with_any_bit_flipped_is_damaged),
        IDENTITY_TEST(an_unreadable_file_is_not_taken_for_a_missing_one),
        IDENTITY_TEST(a_failed_save_leaves_the_old_file),
        IDENTITY_TEST(a_second_process_on_the_directory_is_refused),
        IDENTITY_TEST(locking_makes_a_missing_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
