/*
 * Error texts.
 */
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void wrapping_puts_the_context_in_front(void **state)
{
    /* An error is set deep down and wrapped twice on the way up. */
    struct err err = {0};
    int rv;

    (void)state;
    err_set(&err, "exit code %d", 1);
    err_wrap(&err, "starting pg_basebackup");
    rv = err_wrap(&err, "cloning from %s", "n2");

    assert_int_equal(rv, -1);
    assert_string_equal(err.text, "cloning from n2: starting pg_basebackup: exit code 1");
}

static void errno_is_told_in_words(void **state)
{
    /* A file is missing. */
    struct err err = {0};
    int rv;

    (void)state;
    rv = err_set_errno(&err, 2, "opening %s", "PG_VERSION");

    assert_int_equal(rv, -1);
    assert_string_equal(err.text, "opening PG_VERSION: No such file or directory");
}

static void nobody_needs_the_text(void **state)
{
    /* The caller passes NULL. */
    (void)state;

    assert_int_equal(err_set(NULL, "x"), -1);
    assert_int_equal(err_set_errno(NULL, 2, "x"), -1);
    assert_int_equal(err_wrap(NULL, "x"), -1);
}

static void long_text_is_cut(void **state)
{
    /* A text longer than the buffer, wrapped again and again. */
    static char big[3000];
    struct err err = {0};

    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    err_set(&err, "%s", big);
    err_wrap(&err, "outer");
    err_wrap(&err, "%s", big);
    err_set_errno(&err, 2, "%s", big);

    assert_int_equal(strlen(err.text), ERR_TEXT_SIZE - 1);
}

static void old_text_may_be_an_argument(void **state)
{
    /* Someone wraps by hand. */
    struct err err = {0};

    (void)state;
    err_set(&err, "inner");
    err_set(&err, "a much longer outer part: %s", err.text);

    assert_string_equal(err.text, "a much longer outer part: inner");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrapping_puts_the_context_in_front),
        cmocka_unit_test(errno_is_told_in_words),
        cmocka_unit_test(nobody_needs_the_text),
        cmocka_unit_test(long_text_is_cut),
        cmocka_unit_test(old_text_may_be_an_argument),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
