/*
 * The parts of the logger that decide: repeats and secrets.
 */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void repeats_pass_once_a_period_and_are_counted(void **state)
{
    /* An event every 100 ms, a line every second. */
    struct log_limit limit = {0};
    uint64_t dropped = 99;
    int lines = 0;

    (void)state;
    for (uint64_t now = 5000; now < 6000; now += 100) {
        lines += log_limit_passes(&limit, now, 1000, &dropped) ? 1 : 0;
    }
    assert_int_equal(lines, 1);
    assert_int_equal(dropped, 0);
    assert_true(log_limit_passes(&limit, 6000, 1000, &dropped));
    assert_int_equal(dropped, 9);
    assert_true(log_limit_passes(&limit, 60000, 1000, &dropped));
    assert_int_equal(dropped, 0);
}

static void passwords_are_masked(void **state)
{
    /* The ways libpq takes one. */
    static const struct {
        const char *in;
        const char *out;
    } rows[] = {
        {"host=a password=s3cret port=1", "host=a password=*** port=1"},
        {"password='s \\' x' host=a", "password=*** host=a"},
        {"password = s3cret host=a", "password=*** host=a"},
        {"host=a password=s\\ t", "host=a password=***"},
        {"sslpassword=s3cret", "sslpassword=***"},
        {"password='open", "password=***"},
        {"postgresql://u:s3cret@h:5432/db", "postgresql://u:***@h:5432/db"},
        {"postgresql://u:s3@cret@h/db", "postgresql://u:***@h/db"},
        {"postgresql://u@h/db?password=s3cret", "postgresql://u@h/db?password=***"},
        {"postgresql://h:5432/db", "postgresql://h:5432/db"},
        {"user=password host=a", "user=password host=a"},
        {"", ""},
    };
    char text[100];

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        assert_string_equal(log_mask(rows[i].in, text, sizeof(text)), rows[i].out);
    }
}

static void masked_text_is_cut_to_its_buffer(void **state)
{
    /* A buffer of nine bytes. */
    char text[9];

    (void)state;
    assert_string_equal(log_mask("host=localhost", text, sizeof(text)), "host=loc");
}

/* Standard error is a pipe that nobody reads: writing to it must not hang, and
 * what was dropped is told once there is room. */
static void a_reader_that_hangs_does_not_hang_us(void **state)
{
    int fds[2];
    int saved = dup(STDERR_FILENO);
    char text[65536];
    bool told = false;
    ssize_t n;

    (void)state;
    assert_true(saved >= 0);
    assert_int_equal(pipe(fds), 0);
    assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
    alarm(30); /* A hang ends the test instead of stopping it. */

    for (int i = 0; i < 2000; i++) { /* More than any pipe holds. */
        log_error("A line of some length, so that the pipe is full soon. number=%d", i);
    }
    assert_true(read(fds[0], text, sizeof(text)) > 0);
    log_error("There is room again.");
    while (!told && (n = read(fds[0], text, sizeof(text) - 1)) > 0) {
        text[n] = '\0';
        told = strstr(text, "log lines were dropped") != NULL;
    }

    alarm(0);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(fds[0]);
    close(fds[1]);
    assert_true(told);
}

/* What one line becomes on stderr; the caller frees. */
static char *written(const char *message)
{
    static char data[8192];
    int saved = dup(STDERR_FILENO);
    int fds[2];
    ssize_t n;

    assert_int_equal(pipe(fds), 0);
    assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
    log_warning("%s", message);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    (void)close(fds[1]);
    n = read(fds[0], data, sizeof(data) - 1);
    (void)close(fds[0]);
    (void)close(saved);
    assert_true(n > 0);
    data[n] = '\0';
    return data;
}

/* The last test: nothing leads back. */
static void a_line_of_json_is_whole_whatever_the_message_has(void **state)
{
    static const struct {
        const char *message, *json;
    } rows[] = {
        {"plain", "plain"},
        {"a=\"b\" c\\d", "a=\\\"b\\\" c\\\\d"},
        {"two\nlines\tand\x7f", "two lines and "},
        {"\xc3\xa4\xf0\x9f\x98\x80", "\xc3\xa4\xf0\x9f\x98\x80"},
        {"\xff\xc3(\xed\xa0\x80\xe0\x80\x80\xf5", "\?\?(\?\?\?\?\?\?\?"},
        {"cut \xc3", "cut ?"},
    };
    char longest[6000];
    const char *line;

    (void)state;
    log_init("n1", LOG_INFO);
    log_set_json("\"app\":\"x\"");
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        char expected[200];

        (void)snprintf(
            expected, sizeof(expected),
            "\"levelname\":\"WARNING\",\"node\":\"n1\",\"app\":\"x\",\"message\":\"%s\"}\n",
            rows[i].json);
        line = written(rows[i].message);
        assert_true(strncmp(line, "{\"asctime\":\"2", 13) == 0);
        assert_non_null(strchr(line, ','));
        assert_string_equal(strchr(line, ',') + 1, expected);
    }
    memset(longest, '"', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    line = written(longest);
    assert_true(strlen(line) > 3900 && strlen(line) <= 4096);
    assert_string_equal(line + strlen(line) - 5, "\\\"\"}\n");

    log_set_json(longest); /* Too long: left out. */
    assert_null(strstr(written("x"), "app"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repeats_pass_once_a_period_and_are_counted),
        cmocka_unit_test(passwords_are_masked),
        cmocka_unit_test(masked_text_is_cut_to_its_buffer),
        cmocka_unit_test(a_reader_that_hangs_does_not_hang_us),
        cmocka_unit_test(a_line_of_json_is_whole_whatever_the_message_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
