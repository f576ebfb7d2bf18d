/* What is kept of diverged WAL: copies, records, room for newer ones. */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "pg/pg_kept.h"

#define KB 1024
#define MB (KB * KB)

static char root[64];

static int enter(void **state)
{
    (void)state;
    (void)str_copy(root, sizeof(root), "/tmp/veche-kept-XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int leave(void **state)
{
    char command[128];

    (void)state;
    (void)snprintf(command, sizeof(command), "rm -rf %s", root);
    return system(command);
}

static const char *at(const char *name)
{
    static char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

static void put(const char *name, size_t size)
{
    char *bytes = xmalloc(size + 1);
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    memset(bytes, 'x', size);
    assert_int_equal(write(fd, bytes, size), size);
    assert_int_equal(close(fd), 0);
    free(bytes);
}

/* One segment; `record` NULL = none. */
static void put_kept(const char *name, const char *record)
{
    char file[256];
    int fd;

    assert_int_equal(mkdir(at(name), 0700), 0);
    (void)snprintf(file, sizeof(file), "%s/000000010000000000000001", name);
    put(file, MB);
    (void)snprintf(file, sizeof(file), "%s/pg_control", name);
    put(file, 8 * KB);
    if (record != NULL) {
        (void)snprintf(file, sizeof(file), "%s/RECORD", name);
        fd = open(at(file), O_WRONLY | O_CREAT, 0600);
        assert_int_equal(write(fd, record, strlen(record)), strlen(record));
        assert_int_equal(close(fd), 0);
    }
}

static bool is_there(const char *name)
{
    return access(at(name), F_OK) == 0;
}

#define TOLD_RECORD   "timeline=1\ntold=ledger\n"
#define UNTOLD_RECORD "timeline=1\n"

static void the_oldest_goes_until_the_newest_fits(void **state)
{
    struct err err = {""};
    char newest[PATH_MAX];

    (void)state;
    put_kept("20260101T000000Z-tl1", TOLD_RECORD);
    put_kept("20260102T000000Z-tl2", TOLD_RECORD);
    put_kept("20260103T000000Z-tl3", TOLD_RECORD);
    put("somebody-else", 10);
    (void)str_copy(newest, sizeof(newest), at("20260103T000000Z-tl3"));
    assert_int_equal(pg_kept_make_room(root, newest, 3 * MB, &err), 0);
    assert_true(is_there("20260101T000000Z-tl1")); /* Segments alone count. */
    assert_int_equal(pg_kept_make_room(root, newest, 2 * MB, &err), 0);
    assert_false(is_there("20260101T000000Z-tl1"));
    assert_true(is_there("20260102T000000Z-tl2"));

    assert_int_equal(pg_kept_make_room(root, newest, 2 * MB - 1, &err), 0);
    assert_false(is_there("20260102T000000Z-tl2"));
    assert_int_equal(pg_kept_make_room(root, newest, KB, &err), 0);
    assert_true(is_there("20260103T000000Z-tl3"));
    assert_true(is_there("somebody-else"));
}

static void a_record_that_nobody_was_told_of_stays(void **state)
{
    struct err err = {""};
    struct pg_kept kept;

    (void)state;
    put_kept("20260101T000000Z-tl1", UNTOLD_RECORD);
    put_kept("20260102T000000Z-tl2", TOLD_RECORD);
    put_kept("20260103T000000Z-tl3", UNTOLD_RECORD);
    assert_int_equal(pg_kept_make_room(root, at("20260103T000000Z-tl3"), 0, &err), 0);
    assert_false(is_there("20260101T000000Z-tl1/000000010000000000000001"));
    assert_true(pg_kept_read(at("20260101T000000Z-tl1"), &kept));
    assert_false(is_there("20260102T000000Z-tl2"));
    assert_true(is_there("20260103T000000Z-tl3/000000010000000000000001"));

    /* diverged_keep: 0 keeps the records: there is nothing to make room of. */
    assert_int_equal(pg_kept_note_told(at("20260101T000000Z-tl1"), &err), 0);
    assert_int_equal(pg_kept_make_room(root, at("20260103T000000Z-tl3"), 0, &err), 0);
    assert_true(pg_kept_read(at("20260101T000000Z-tl1"), &kept));
}

static void what_waits_for_the_archive_makes_no_room(void **state)
{
    struct err err = {""};

    (void)state;
    put_kept("20260101T000000Z-tl1", TOLD_RECORD);
    put("20260101T000000Z-tl1/000000010000000000000002", MB);
    put("20260101T000000Z-tl1/000000010000000000000002.ready", 0);
    put_kept("20260102T000000Z-tl2", TOLD_RECORD);
    assert_int_equal(pg_kept_make_room(root, at("20260102T000000Z-tl2"), 2 * MB, &err), 0);
    assert_true(is_there("20260101T000000Z-tl1/000000010000000000000001")); /* Does not count. */
    assert_int_equal(pg_kept_make_room(root, at("20260102T000000Z-tl2"), MB, &err), 0);
    assert_false(is_there("20260101T000000Z-tl1/000000010000000000000001"));
    assert_true(is_there("20260101T000000Z-tl1/000000010000000000000002"));
    assert_true(is_there("20260101T000000Z-tl1/RECORD"));
}

static void what_was_cut_off_goes(void **state)
{
    struct err err = {""};

    (void)state;
    put_kept("20260101T000000Z-tl1" PG_KEPT_PART, NULL);
    put_kept("20260102T000000Z-tl1", NULL);
    assert_int_equal(pg_kept_remove_parts(root, &err), 0);
    assert_false(is_there("20260101T000000Z-tl1" PG_KEPT_PART));
    assert_true(is_there("20260102T000000Z-tl1"));
}

static void a_record_is_read_back(void **state)
{
    static const char text[] = "system_identifier=7710592769172253692\ntimeline=3\nfrom=0/3423F58\n"
                               "to=1/40000A0\nbytes=4307401032\nsegments_of_it=2\n";
    struct err err = {""};
    struct pg_kept kept;
    int fd;

    (void)state;
    assert_false(pg_kept_read(root, &kept));
    fd = open(at("RECORD"), O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
    assert_true(pg_kept_read(root, &kept));
    assert_string_equal(kept.path, root);
    assert_true(kept.sysid == UINT64_C(7710592769172253692));
    assert_int_equal(kept.timeline, 3);
    assert_true(kept.from == 0x3423F58);
    assert_true(kept.to == UINT64_C(0x1040000A0));
    assert_true(kept.bytes == UINT64_C(4307401032));
    assert_false(kept.told);

    assert_int_equal(pg_kept_note_told(root, &err), 0);
    assert_true(pg_kept_read(root, &kept));
    assert_true(kept.told);
    assert_true(kept.bytes == UINT64_C(4307401032));
}

static void a_copy_writes_into_the_file_that_is_there(void **state)
{
    /* The mark of a rewind knows pg_control by its inode. */
    struct stat before, after;
    struct err err = {""};
    char from[PATH_MAX];

    (void)state;
    put("from", 3 * 1024 * KB + 17);
    put("to", 4 * 1024 * KB);
    (void)str_copy(from, sizeof(from), at("from"));
    assert_int_equal(stat(at("to"), &before), 0);
    assert_int_equal(pg_kept_copy(from, at("to"), &err), 0);
    assert_int_equal(stat(at("to"), &after), 0);
    assert_true(before.st_ino == after.st_ino);
    assert_int_equal(after.st_size, 3 * 1024 * KB + 17);

    (void)str_copy(from, sizeof(from), at("nothing"));
    assert_int_equal(pg_kept_copy(from, at("to"), &err), -1);
    assert_non_null(strstr(err.text, "nothing"));
    assert_int_equal(stat(at("to"), &after), 0);
    assert_int_equal(after.st_size, 3 * 1024 * KB + 17);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_oldest_goes_until_the_newest_fits, enter, leave),
        cmocka_unit_test_setup_teardown(a_record_that_nobody_was_told_of_stays, enter, leave),
        cmocka_unit_test_setup_teardown(what_waits_for_the_archive_makes_no_room, enter, leave),
        cmocka_unit_test_setup_teardown(what_was_cut_off_goes, enter, leave),
        cmocka_unit_test_setup_teardown(a_record_is_read_back, enter, leave),
        cmocka_unit_test_setup_teardown(a_copy_writes_into_the_file_that_is_there, enter, leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
