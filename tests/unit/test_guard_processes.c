/*
 * What /proc/PID/stat says, and who counts as stopped.
 */
#include "guard/guard_processes.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TAIL " 1 2 0 -1 4194560 9 8 7 6 5 4 -3 -2 20 0 1 0 4294967301 9 9\n"

static void a_line_is_read(void **state)
{
    static const char *const names[] = {"postgres", "a b", "x) R 1", "((", ")", ""};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        struct guard_process p = {.told = true, .waits = true, .known = true};
        char text[200];

        (void)snprintf(text, sizeof(text), "4194304 (%s) D 77" TAIL, names[i]);
        assert_true(guard_process_parse(text, &p));
        assert_int_equal(p.pid, 4194304);
        assert_int_equal(p.ppid, 77);
        assert_int_equal(p.state, 'D');
        assert_int_equal(p.start, 5); /* The low bits. */
        assert_false(p.told || p.waits || p.known);
    }
}

static void what_is_no_such_line_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "(",
        ")",
        "1",
        "1 (a",
        "1 (a)",
        "1 (a) ",
        "1 (a) S",
        "1 (a) S 1",
        "1 (a) S 1 2 0 -1 0 9 8 7 6 5 4 -3 -2 20 0 1 0",
        "1 (a) S 1 1 2 0 -1 4194560 9 8 7 6 5 4 -3 -2 20 0 1 0 77",
        "1 (a) S 1 1 2 0 -1 4194560 9 8 7 6 5 4 -3 -2 20 0 1 0 x 9",
        "0 (a) S 1" TAIL,
        "-1 (a) S 1" TAIL,
        "x (a) S 1" TAIL,
        " 1 (a) S 1" TAIL,
        "1 a) S 1" TAIL,
        "2147483648 (a) S 1" TAIL,
        "1 (a) S -1" TAIL,
        "1 (a) S 2147483648" TAIL,
        "1 (a)S 1" TAIL,
        "1 (a) SS 1" TAIL,
    };
    struct guard_process p = {.pid = 9};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        if (guard_process_parse(texts[i], &p)) {
            fail_msg("read: %s", texts[i]);
        }
    }
    assert_int_equal(p.pid, 9); /* Untouched. */
}

/* In another way: libc's. */
static bool read_by_libc(const char *text, struct guard_process *ret)
{
    const char *at = strrchr(text, ')');
    unsigned long long start;

    if (at == NULL || sscanf(text, "%d (", &ret->pid) != 1 ||
        sscanf(at,
               ") %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &ret->state, &ret->ppid, &start) != 3) {
        return false;
    }
    ret->start = (uint32_t)start;
    return true;
}

static void every_process_of_this_machine_is_read(void **state)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    unsigned n = 0;

    (void)state;
    assert_non_null(proc);
    while ((entry = readdir(proc)) != NULL) {
        struct guard_process ours = {0}, theirs = {0};
        char path[300], text[1024];
        size_t size;
        FILE *file;

        (void)snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
        file = entry->d_name[0] > '0' && entry->d_name[0] <= '9' ? fopen(path, "re") : NULL;
        if (file == NULL) {
            continue;
        }
        size = fread(text, 1, sizeof(text) - 1, file);
        text[size] = '\0';
        assert_int_equal(fclose(file), 0);
        if (size == 0) {
            continue; /* It has just ended. */
        }
        assert_true(guard_process_parse(text, &ours));
        assert_true(read_by_libc(text, &theirs));
        assert_true(ours.pid == theirs.pid && ours.ppid == theirs.ppid &&
                    ours.start == theirs.start && ours.state == theirs.state);
        n++;
    }
    assert_int_equal(closedir(proc), 0);
    assert_true(n > 1);
}

static void a_process_in_d_counts_as_stopped_only_if_it_was_told(void **state)
{
    static struct guard_processes p; /* Too big for a stack. */
    struct guard_look look;

    (void)state;
    p.n_ours = 5;
    p.ours[0].state = 'T';
    p.ours[1] = (struct guard_process){.state = 'D', .told = true};
    p.ours[2].state = 'D';
    p.ours[3].state = 'R';
    p.ours[4] = (struct guard_process){.state = 'R', .told = true};
    look = guard_processes_look(&p);
    assert_int_equal(look.n, 5);
    assert_int_equal(look.n_running, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_read),
        cmocka_unit_test(what_is_no_such_line_is_refused),
        cmocka_unit_test(every_process_of_this_machine_is_read),
        cmocka_unit_test(a_process_in_d_counts_as_stopped_only_if_it_was_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
