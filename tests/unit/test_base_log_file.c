/*
 * The log's file on disks that are full, gone or hang: write() and the clock are the test's.
 * Standard error is a file beside it; every line is in exactly one of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_file.h"
#include "base/str.h"

#define FILE_NAME "d/" LOG_FILE_NAME

enum disk {
    DISK_GOOD,
    DISK_FULL, /* Half a line fits. */
    DISK_HANGS,
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static enum disk disk;
static bool is_hanging; /* Somebody is. */
static uint64_t now_ms = 5000;
static int real_stderr;

ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);
uint64_t __wrap_clock_ms(void);

static void set_disk(enum disk to)
{
    pthread_mutex_lock(&mutex);
    disk = to;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

ssize_t __wrap_write(int fd, const void *data, size_t size)
{
    struct stat st;
    enum disk is;

    if (fd == STDERR_FILENO || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return __real_write(fd, data, size);
    }
    pthread_mutex_lock(&mutex);
    while (disk == DISK_HANGS) {
        is_hanging = true;
        pthread_cond_broadcast(&changed);
        pthread_cond_wait(&changed, &mutex);
    }
    is_hanging = false;
    is = disk;
    pthread_mutex_unlock(&mutex);
    return __real_write(fd, data, is == DISK_FULL ? size / 2 : size);
}

uint64_t __wrap_clock_ms(void)
{
    uint64_t ms;

    pthread_mutex_lock(&mutex);
    ms = now_ms;
    pthread_mutex_unlock(&mutex);
    return ms;
}

static void pass(uint64_t ms)
{
    pthread_mutex_lock(&mutex);
    now_ms += ms;
    pthread_mutex_unlock(&mutex);
}

/* "" when there is none; the caller frees. */
static char *content(const char *path)
{
    struct strbuf b = {0};
    char data[4096];
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    strbuf_add_text(&b, "");
    while (fd >= 0 && (n = read(fd, data, sizeof(data))) > 0) {
        strbuf_add(&b, data, (size_t)n);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return b.data;
}

static unsigned count(const char *path, const char *text)
{
    char *all = content(path);
    unsigned n = 0;

    for (const char *at = all; (at = strstr(at, text)) != NULL; at += strlen(text)) {
        n++;
    }
    free(all);
    return n;
}

static void wait_for(const char *path, const char *text, unsigned n)
{
    for (int i = 0; i < 30000 && count(path, text) < n; i++) {
        (void)poll(NULL, 0, 1); /* Of the other thread nothing else is seen. */
    }
    if (count(path, text) != n) {
        char *all = content(path);

        print_message("%s has \"%s\" not %u times:\n%s", path, text, n, all);
        free(all);
        fail();
    }
}

static void use(const struct log_file_options *options)
{
    struct err err = {""};

    assert_int_equal(log_file_configure(options, &err), 0);
}

static void empty(const char *directory)
{
    DIR *dir = opendir(directory);
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}

static int begin(void **state)
{
    int fd = open("stderr", O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

    (void)state;
    (void)alarm(120); /* A hang ends the test instead of stopping it. */
    set_disk(DISK_GOOD);
    return fd >= 0 && mkdir("d", 0700) == 0 && dup2(fd, STDERR_FILENO) >= 0 ? close(fd) : -1;
}

static int end(void **state)
{
    (void)state;
    set_disk(DISK_GOOD);
    log_file_close(30000);
    (void)dup2(real_stderr, STDERR_FILENO);
    if (count("stderr", "error: ") > 0) { /* What cmocka said of a failure. */
        char *all = content("stderr");

        print_error("%s", all);
        free(all);
    }
    empty("d");
    (void)rmdir("d");
    return unlink("stderr");
}

static void lines_are_in_the_file_whole_and_in_order(void **state)
{
    struct stat st;
    char *all, *rest, *line;
    int i = 0;

    (void)state;
    (void)umask(027);
    use(&(struct log_file_options){.dir = "d"});
    for (; i < 500; i++) {
        log_info("One of many. number=%d.", i);
    }
    log_file_close(30000);
    all = content(FILE_NAME);
    rest = all;
    for (i = 0; (line = strsep(&rest, "\n")) != NULL && line[0] != '\0'; i++) {
        char expected[50];

        (void)snprintf(expected, sizeof(expected), " info n1 One of many. number=%d.", i);
        assert_true(str_ends_with(line, expected));
    }
    free(all);
    assert_int_equal(i, 500);
    assert_int_equal(count("stderr", "\n"), 0);
    assert_int_equal(stat(FILE_NAME, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);

    log_info("After the end.");
    assert_int_equal(count("stderr", "After the end."), 1);
    assert_int_equal(unlink(FILE_NAME), 0);
    use(&(struct log_file_options){.dir = "d", .mode = 0604});
    log_info("Again.");
    log_file_close(30000);
    assert_int_equal(stat(FILE_NAME, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0604);
}

/* A line has 58 bytes, so that three fit into a file. */
static void old_files_are_kept_up_to_a_number_and_a_size(void **state)
{
    static const struct {
        const char *name;
        int first, last;
    } files[] = {{FILE_NAME ".2", 93, 95}, {FILE_NAME ".1", 96, 98}, {FILE_NAME, 99, 99}};
    char text[20];

    (void)state;
    use(&(struct log_file_options){.dir = "d", .n_older = 2, .bytes_max = 1});
    log_info("Longer than a file.");
    log_file_close(30000);
    assert_int_equal(access(FILE_NAME ".1", F_OK), -1);
    assert_int_equal(unlink(FILE_NAME), 0);

    use(&(struct log_file_options){.dir = "d", .n_older = 2, .bytes_max = 3 * 58});
    for (int i = 0; i < 100; i++) {
        log_info("Line. number=%02d.", i);
    }
    log_file_close(30000);
    for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
        assert_int_equal(count(files[i].name, "Line."), files[i].last - files[i].first + 1);
        for (int k = files[i].first; k <= files[i].last; k++) {
            (void)snprintf(text, sizeof(text), "number=%02d.\n", k);
            assert_int_equal(count(files[i].name, text), 1);
        }
    }
    assert_int_equal(access(FILE_NAME ".3", F_OK), -1);

    assert_int_equal(unlink(FILE_NAME ".1"), 0); /* A gap: what is behind it stays. */
    use(&(struct log_file_options){.dir = "d", .n_older = 2, .bytes_max = 1});
    log_info("Line. number=100.");
    log_file_close(30000);
    assert_int_equal(count(FILE_NAME, "number=100."), 1);
    assert_int_equal(count(FILE_NAME ".1", "number=99."), 1);
    assert_int_equal(count(FILE_NAME ".2", "number=93."), 1);

    use(&(struct log_file_options){.dir = "d", .n_older = 0, .bytes_max = 1}); /* It grows. */
    log_info("Line. number=101.");
    log_file_close(30000);
    assert_int_equal(count(FILE_NAME, "Line."), 2);
    assert_int_equal(count("stderr", "\n"), 0);
}

static void what_a_full_disk_does_not_take_goes_to_stderr_whole(void **state)
{
    struct log_file_stats before = log_file_stats(), after;
    struct stat st;
    off_t size;

    (void)state;
    use(&(struct log_file_options){.dir = "d"});
    log_info("Before.");
    wait_for(FILE_NAME, "Before.\n", 1);
    assert_int_equal(stat(FILE_NAME, &st), 0);
    size = st.st_size;
    set_disk(DISK_FULL);
    log_info("Full 1.");
    wait_for("stderr", "Full 1.\n", 1);
    pass(999);
    log_info("Full 2."); /* Not tried. */
    wait_for("stderr", "Full 2.\n", 1);
    pass(1);
    log_info("Full 3."); /* Tried. */
    wait_for("stderr", "Full 3.\n", 1);
    assert_int_equal(count("stderr", "The log can not be written"), 1);
    assert_int_equal(count("stderr", "d/veched.log can not be written: No space left on device"),
                     1);
    after = log_file_stats();
    assert_int_equal(after.n_errors - before.n_errors, 2);
    assert_int_equal(after.n_elsewhere - before.n_elsewhere, 3);
    assert_int_equal(stat(FILE_NAME, &st), 0);
    assert_int_equal(st.st_size, size); /* Nor half of a line. */

    set_disk(DISK_GOOD);
    pass(1000);
    log_info("After.");
    wait_for(FILE_NAME,
             "The log is written again; lines meanwhile went to stderr. "
             "file=d/veched.log lines=3\n",
             1);
    assert_int_equal(count(FILE_NAME, "\n"), 3);
    assert_int_equal(count(FILE_NAME, "After.\n"), 1);
    assert_int_equal(count("stderr", "\n"), 4);
}

static void a_directory_may_vanish_and_come_back(void **state)
{
    (void)state;
    use(&(struct log_file_options){.dir = "d", .n_older = 1, .bytes_max = 100000});
    log_info("Line 1.");
    wait_for(FILE_NAME, "Line 1.\n", 1);
    assert_int_equal(rename("d", "away"), 0);
    log_info("Line 2.");
    wait_for("stderr", "Line 2.\n", 1);
    assert_int_equal(count("stderr", "d/veched.log can not be opened: No such file or directory"),
                     1);
    assert_int_equal(rename("away", "d"), 0);
    pass(1000);
    log_info("Line 3.");
    wait_for(FILE_NAME, "Line 3.\n", 1);
    wait_for(FILE_NAME, "written again", 1);

    assert_int_equal(rename(FILE_NAME, FILE_NAME ".old"), 0); /* As logrotate does. */
    log_info("Line 4.");
    wait_for(FILE_NAME, "Line 4.\n", 1);
    assert_int_equal(count(FILE_NAME ".old", "Line"), 2);
    assert_int_equal(count(FILE_NAME, "Line"), 1);
    assert_int_equal(count("stderr", "Line"), 1);

    assert_int_equal(unlink(FILE_NAME), 0); /* Something else in its place. */
    assert_int_equal(mkfifo(FILE_NAME, 0600), 0);
    log_info("Line 5.");
    wait_for("stderr", "Line 5.\n", 1);
}

/* A file that can not be put aside does not grow beyond its bound. */
static void without_room_for_older_ones_lines_go_to_stderr(void **state)
{
    (void)state;
    use(&(struct log_file_options){.dir = "d", .n_older = 1, .bytes_max = 60});
    assert_int_equal(mkdir(FILE_NAME ".1", 0700), 0);
    log_info("Line 1.");
    log_info("Line 2.");
    wait_for("stderr", "Line 2.\n", 1);
    assert_int_equal(count("stderr", "d/veched.log can not become d/veched.log.1"), 1);
    assert_int_equal(count(FILE_NAME, "Line"), 1);
    assert_int_equal(rmdir(FILE_NAME ".1"), 0);
    pass(1000);
    log_info("Line 3.");
    wait_for(FILE_NAME ".1", "Line 3.\n", 1); /* "Written again" needed the next. */
    wait_for(FILE_NAME, "written again", 1);
}

static void wait_until_it_hangs(void)
{
    pthread_mutex_lock(&mutex);
    while (!is_hanging) {
        pthread_cond_wait(&changed, &mutex);
    }
    pthread_mutex_unlock(&mutex);
}

/* Nobody waits for it: what the queue does not hold goes to stderr at once. */
static void a_disk_that_hangs_holds_up_nobody(void **state)
{
    struct log_file_stats before = log_file_stats();

    (void)state;
    set_disk(DISK_HANGS);
    use(&(struct log_file_options){.dir = "d", .lines_max = 10});
    log_info("Line 0.");
    wait_until_it_hangs();
    for (int i = 1; i <= 25; i++) {
        log_info("Line %d.", i);
    }
    assert_int_equal(log_file_stats().n_waiting, 10);
    assert_int_equal(count("stderr", "Line"), 15);
    assert_int_equal(count("stderr", "Line 11.\n"), 1);
    assert_int_equal(count("stderr", "does not keep up"), 1);
    assert_int_equal(count(FILE_NAME, "\n"), 0);

    set_disk(DISK_GOOD);
    wait_for(FILE_NAME, "Line", 11);
    wait_for(FILE_NAME, "written again", 1);
    assert_int_equal(log_file_stats().n_elsewhere - before.n_elsewhere, 16);
    assert_int_equal(log_file_stats().n_errors, before.n_errors);
}

static void another_directory_counts_at_once_and_none_is_stderr(void **state)
{
    (void)state;
    use(&(struct log_file_options){.dir = "none"});
    log_info("Line 1.");
    wait_for("stderr", "Line 1.\n", 1);
    use(&(struct log_file_options){.dir = "none"}); /* Nothing new. */
    log_info("Line 0.");
    wait_for("stderr", "Line 0.\n", 1);
    assert_int_equal(count("stderr", "can not be written"), 1);
    use(&(struct log_file_options){.dir = "d"}); /* And not a second later. */
    log_info("Line 2.");
    wait_for(FILE_NAME, "Line 2.\n", 1);
    use(&(struct log_file_options){.dir = NULL});
    log_info("Line 3.");
    assert_int_equal(count("stderr", "Line 3.\n"), 1);
    log_file_close(30000);
    assert_int_equal(count(FILE_NAME, "Line"), 1);
    log_file_close(30000); /* Twice, or never begun. */
}

static void *log_lines(void *arg)
{
    for (int i = 0; i < 400; i++) {
        log_info("Thread %c, line %d.", *(const char *)arg, i);
    }
    return NULL;
}

static void threads_log_side_by_side(void **state)
{
    static const char names[] = "abcd";
    pthread_t threads[4];
    char text[30];

    (void)state;
    use(&(struct log_file_options){.dir = "d"});
    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_lines, (void *)&names[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    log_file_close(30000);
    assert_int_equal(count(FILE_NAME, "\n"), 1600);
    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++) {
        (void)snprintf(text, sizeof(text), " info n1 Thread %c, line ", names[i]);
        assert_int_equal(count(FILE_NAME, text), 400);
    }
    assert_int_equal(count("stderr", "\n"), 0);
}

/* The last test: the thread is left behind, as it is when the agent ends. */
static void the_end_does_not_wait_for_a_disk_that_hangs(void **state)
{
    (void)state;
    set_disk(DISK_HANGS);
    use(&(struct log_file_options){.dir = "d"});
    log_info("Line 1.");
    wait_until_it_hangs();
    log_file_close(20);
    log_info("Line 2.");
    assert_int_equal(count("stderr", "Line 2.\n"), 1);
}

static int enter(void **state)
{
    static char directory[] = "/tmp/veche-log-XXXXXX";

    *state = directory;
    real_stderr = dup(STDERR_FILENO);
    log_init("n1", LOG_INFO);
    return mkdtemp(directory) != NULL && real_stderr >= 0 ? chdir(directory) : -1;
}

static int leave(void **state)
{
    return rmdir(*state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_are_in_the_file_whole_and_in_order, begin, end),
        cmocka_unit_test_setup_teardown(old_files_are_kept_up_to_a_number_and_a_size, begin, end),
        cmocka_unit_test_setup_teardown(what_a_full_disk_does_not_take_goes_to_stderr_whole, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_directory_may_vanish_and_come_back, begin, end),
        cmocka_unit_test_setup_teardown(without_room_for_older_ones_lines_go_to_stderr, begin, end),
        cmocka_unit_test_setup_teardown(a_disk_that_hangs_holds_up_nobody, begin, end),
        cmocka_unit_test_setup_teardown(another_directory_counts_at_once_and_none_is_stderr, begin,
                                        end),
        cmocka_unit_test_setup_teardown(threads_log_side_by_side, begin, end),
        cmocka_unit_test_setup_teardown(the_end_does_not_wait_for_a_disk_that_hangs, begin, end),
    };

    return cmocka_run_group_tests(tests, enter, leave);
}
