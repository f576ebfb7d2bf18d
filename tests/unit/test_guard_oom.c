/*
 * The protection from the OOM killer, with a kernel of the test's own: it lets nobody below
 * what was once granted. This machine's would not let a test go below 0.
 */
#include "guard/guard_oom.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct kernel {
    int score;
    int lowest;
    int n_writes;
    bool has_proc;
};

static int read_score(void *data, int *ret)
{
    const struct kernel *k = data;

    if (!k->has_proc) {
        errno = ENOENT;
        return -1;
    }
    *ret = k->score;
    return 0;
}

static int write_score(void *data, int score)
{
    struct kernel *k = data;

    k->n_writes++;
    if (score < k->lowest) {
        errno = EACCES;
        return -1;
    }
    k->score = score;
    return 0;
}

static struct guard_oom oom_of(struct kernel *k)
{
    return (struct guard_oom){read_score, write_score, k};
}

static void it_goes_as_low_as_it_may(void **state)
{
    static const struct {
        int score, lowest, then;
        bool is_spared;
    } cases[] = {
        {0, -1000, -1000, true},                       /* Granted by root. */
        {0, -900, -900, true},                         /* By the unit's OOMScoreAdjust. */
        {-900, -900, -900, true},                      /* The same, and not given up before. */
        {-850, -850, -850, true},                      /* Never up. */
        {-1000, 0, -1000, true},                       /* It needs no more. */
        {-1, -1, -1, true},        {0, -99, 0, false}, /* Not worth a step. */
        {0, 0, 0, false},                              /* A container. */
        {300, 300, 300, false},                        /* One that was raised. */
        {300, 0, 300, false},                          /* Raised by who started us: left alone. */
        {300, -1000, -1000, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct kernel k = {cases[i].score, cases[i].lowest, 0, true};
        struct guard_oom o = oom_of(&k);

        assert_int_equal(guard_oom_lower(&o), cases[i].is_spared);
        assert_int_equal(k.score, cases[i].then);
        if (!cases[i].is_spared) {
            assert_int_equal(errno, EACCES);
        }
    }
}

static void only_a_protection_is_given_up(void **state)
{
    static const struct {
        int score, lowest, then, n_writes;
    } cases[] = {
        {-1000, -1000, 0, 1}, {-1, -1000, 0, 1}, {0, 0, 0, 0}, {1, 1, 1, 0}, {300, 300, 300, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct kernel k = {cases[i].score, cases[i].lowest, 0, true};
        struct guard_oom o = oom_of(&k);

        assert_int_equal(guard_oom_raise(&o), 0);
        assert_int_equal(k.score, cases[i].then);
        assert_int_equal(k.n_writes, cases[i].n_writes);
    }
}

static void what_is_refused_or_not_to_be_read_is_told(void **state)
{
    struct kernel k = {-500, 1, 0, true};
    struct guard_oom o = oom_of(&k);

    (void)state;
    assert_int_equal(guard_oom_raise(&o), -1);
    assert_int_equal(errno, EACCES);
    k.has_proc = false;
    assert_int_equal(guard_oom_raise(&o), -1);
    assert_int_equal(errno, ENOENT);
    assert_false(guard_oom_lower(&o));
    assert_int_equal(errno, ENOENT);
    assert_int_equal(k.score, -500);
}

/* Up again nobody may come without a privilege: this is the last test. */
static void the_kernels_own(void **state)
{
    int before, after;

    (void)state;
    assert_int_equal(guard_oom_own.read(NULL, &before), 0);
    assert_int_equal(guard_oom_own.write(NULL, MAX(before, 0) + 7), 0);
    assert_int_equal(guard_oom_own.read(NULL, &after), 0);
    assert_int_equal(after, MAX(before, 0) + 7);
    assert_int_equal(guard_oom_own.write(NULL, 5000), -1);
    assert_int_equal(errno, EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_goes_as_low_as_it_may),
        cmocka_unit_test(only_a_protection_is_given_up),
        cmocka_unit_test(what_is_refused_or_not_to_be_read_is_told),
        cmocka_unit_test(the_kernels_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
