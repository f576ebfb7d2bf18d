/* What becomes of values that the installed PostgreSQL refuses, or says nothing about; a script
 * in its place says what a test needs. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/str.h"
#include "pg/pg_internal.h"
#include "test_child.h"

static char base_dir[] = "/tmp/veche-test-names-XXXXXX";
static char root[64];
static struct kv_list parameters;
static struct pg_names names;
#define LIMIT_MS MINUTES(2) /* For a machine that has much else to do. */

/* Values are what it does. Notes each question. */
static const char script[] =
    "#!/bin/sh\n"
    "echo \"$*\" >> \"${0%/*}/asked\"\n"
    "if [ \"$1\" = --describe-config ]; then\n"
    "    for name in port ssl work_mem jit fsync; do printf '%s\\tx\\n' $name; done\n"
    "    exit 0\n"
    "fi\n"
    "for arg in \"$@\"; do\n"
    "    case $arg in\n"
    "    *=bad*) echo \"1 FATAL:  invalid value: $arg\"; exit 1 ;;\n"
    "    *=kill) echo '1 LOG:  skipping a file'; kill -9 $$ ;;\n"
    "    *=mute) exit 1 ;;\n"
    "    *=library) echo 'error while loading shared libraries: libssl.so.3'; exit 127 ;;\n"
    "    hang_*) exec sleep 600 ;;\n"
    "    *=hang) echo '1 LOG:  skipping a file'; exec sleep 600 ;;\n"
    "    esac\n"
    "done\n"
    "echo 5432\n";

static const char *at(const char *name)
{
    static char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

static int enter(void **state)
{
    struct err err;

    (void)state;
    (void)snprintf(root, sizeof(root), "%s/XXXXXX", base_dir);
    names.limit_ms = LIMIT_MS;
    return mkdtemp(root) != NULL &&
                   pg_file_write(at("postgres"), script, strlen(script), 0700, &err) == 0
               ? 0
               : -1;
}

static int leave(void **state)
{
    char command[128];

    (void)state;
    pg_names_deinit(&names);
    names = (struct pg_names){0};
    kv_deinit(&parameters);
    (void)snprintf(command, sizeof(command), "rm -rf %s", root);
    return system(command);
}

static size_t n_asked(void)
{
    char *text = pg_file_read(at("asked"), PG_TEXT_FILE_MAX);
    size_t n = 0;

    for (const char *c = text; c != NULL && *c != '\0'; c++) {
        n += *c == '\n' ? 1 : 0;
    }
    free(text);
    return n;
}

/* As a write does it; the text goes to the file. */
static void write_conf(void)
{
    struct pg_options o = {.name = "pg-1",
                           .listen_addresses = "127.0.0.1",
                           .port = 5433,
                           .pgpass = "/none",
                           .bin_dir = root,
                           .config_dir = root,
                           .data_dir = root,
                           .config_base_name = "postgresql",
                           .parameters = &parameters};
    static const struct pg_start start;
    struct pg_render r = {.o = &o, .major = 15, .start = &start, .names = &names};
    struct strbuf out = {0};
    struct err err;

    pg_conf_render(&r, &out);
    assert_int_equal(pg_file_write(at("postgresql.conf"), out.data, out.length, 0600, &err), 0);
    strbuf_deinit(&out);
}

static bool has_line(const char *line)
{
    char *text = pg_file_read(at("postgresql.conf"), PG_TEXT_FILE_MAX);
    const char *found = text != NULL ? strstr(text, line) : NULL;
    bool has = found != NULL && found > text && found[-1] == '\n' && found[strlen(line)] == '\n';

    free(text);
    return has;
}

static bool has_name(const char *name)
{
    char *text = pg_file_read(at("postgresql.conf"), PG_TEXT_FILE_MAX);
    char start[64];
    bool has;

    (void)snprintf(start, sizeof(start), "\n%s = ", name);
    has = text != NULL && strstr(text, start) != NULL;
    free(text);
    return has;
}

static void another_process(void)
{
    pg_names_deinit(&names);
    names = (struct pg_names){.limit_ms = LIMIT_MS};
}

/* The server that runs reads the file: without the line it would go back to the default. */
static void the_value_that_was_taken_last_stays(void **state)
{
    size_t n;

    (void)state;
    kv_set(&parameters, "ssl", "on");
    kv_set(&parameters, "work_mem", "1MB");
    write_conf();
    kv_set(&parameters, "ssl", "bad");
    kv_set(&parameters, "jit", "bad");
    kv_set(&parameters, "work_mem", "2MB");
    write_conf();
    assert_true(has_line("ssl = 'on'"));
    assert_true(has_line("work_mem = '2MB'"));
    assert_false(has_name("jit")); /* It never had another one. */
    n = n_asked();
    write_conf(); /* What is known is not asked again. */
    assert_int_equal(n_asked(), n);
    assert_true(has_line("ssl = 'on'"));
    kv_set(&parameters, "ssl", "off");
    write_conf();
    assert_true(has_line("ssl = 'off'"));
}

/* Nothing of it is in force any more. */
static void what_was_not_configured_any_more_does_not_come_back(void **state)
{
    (void)state;
    kv_set(&parameters, "ssl", "on");
    write_conf();
    kv_remove(&parameters, "ssl");
    write_conf();
    kv_set(&parameters, "ssl", "bad");
    write_conf();
    assert_false(has_name("ssl"));
}

static void what_the_file_had_before_this_process_stays(void **state)
{
    (void)state;
    kv_set(&parameters, "ssl", "it's \\ on\n5432");
    kv_set(&parameters, "jit", "off");
    write_conf();
    another_process();
    kv_set(&parameters, "ssl", "bad");
    kv_set(&parameters, "work_mem", "bad");
    write_conf();
    assert_string_equal(kv_get(&names.taken, "ssl"), "it's \\ on\n5432");
    another_process(); /* Once more, with what the one before has kept. */
    write_conf();
    assert_string_equal(kv_get(&names.taken, "ssl"), "it's \\ on\n5432");
    assert_false(has_name("work_mem"));
    kv_set(&parameters, "ssl", "on");
    write_conf();
    assert_true(has_line("ssl = 'on'"));
}

/* Neither its own nor one that PostgreSQL refuses as well. */
static void what_the_file_had_is_asked_about_too(void **state)
{
    static const char text[] = "# Somebody's.\nssl = 'on'\n";
    struct err err;
    char *ours;
    char *value;

    (void)state;
    assert_int_equal(pg_file_write(at("postgresql.conf"), text, strlen(text), 0600, &err), 0);
    kv_set(&parameters, "ssl", "bad");
    write_conf();
    assert_false(has_name("ssl"));
    kv_set(&parameters, "ssl", "one");
    write_conf();
    ours = pg_file_read(at("postgresql.conf"), PG_TEXT_FILE_MAX);
    value = strstr(ours, "ssl = 'one'");
    assert_non_null(value);
    memcpy(value, "ssl = 'bad'", strlen("ssl = 'bad'"));
    assert_int_equal(pg_file_write(at("postgresql.conf"), ours, strlen(ours), 0600, &err), 0);
    free(ours);
    another_process();
    kv_set(&parameters, "ssl", "bad too");
    write_conf();
    assert_false(has_name("ssl"));
}

/* The words of PostgreSQL alone are a refusal. */
static void who_says_nothing_of_a_value_has_not_refused_it(void **state)
{
    static const char *const answers[] = {"kill", "mute", "library"};
    size_t n;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
        char line[32];

        (void)snprintf(line, sizeof(line), "ssl = '%s'", answers[i]);
        kv_set(&parameters, "ssl", answers[i]);
        kv_set(&parameters, "work_mem", "1MB");
        write_conf();
        assert_true(has_line(line));
        assert_null(kv_get(&names.refused, "ssl"));
        assert_null(kv_get(&names.taken, "ssl"));
        n = n_asked();
        write_conf(); /* The next time it may answer. */
        assert_true(n_asked() > n);
        assert_true(has_line(line));
    }
}

/* One time-out is all that a write waits for it. */
static void one_that_hangs_is_asked_once(void **state)
{
    uint64_t begin_ms;
    size_t n;

    (void)state;
    kv_set(&parameters, "jit", "off");
    write_conf();
    n = n_asked() + 1;
    names.limit_ms = 1000;
    kv_set(&parameters, "fsync", "on");
    kv_set(&parameters, "ssl", "hang");
    kv_set(&parameters, "work_mem", "bad"); /* The halves are not asked. */
    begin_ms = clock_ms();
    write_conf();
    assert_true(clock_ms() - begin_ms >= 1000);
    assert_true(n_asked() <= n); /* It may have had no time to note it. */
    n = n_asked();
    assert_true(has_line("ssl = 'hang'"));
    assert_true(has_line("work_mem = 'bad'"));
    assert_true(has_line("fsync = 'on'"));
    assert_null(kv_get(&names.refused, "work_mem"));
    assert_null(kv_get(&names.taken, "fsync"));
    write_conf(); /* Not before a while has passed. */
    assert_int_equal(n_asked(), n);
    assert_true(has_line("ssl = 'hang'"));
    names.silent_until_ms = 0; /* It has. */
    kv_set(&parameters, "hang_1", "x");
    kv_set(&parameters, "hang_2", "x");
    write_conf();
    assert_true(n_asked() <= n + 1); /* Of the first name. */
    assert_true(has_line("hang_1 = 'x'"));
    assert_true(has_line("hang_2 = 'x'"));
    assert_false(kv_has(&names.known, "hang_1"));
    kv_remove(&parameters, "hang_1");
    kv_remove(&parameters, "hang_2");
    names.silent_until_ms = 0;
    names.limit_ms = LIMIT_MS;
    kv_set(&parameters, "ssl", "on");
    write_conf();
    assert_true(has_line("fsync = 'on'"));
    assert_false(has_name("work_mem"));
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_value_that_was_taken_last_stays, enter, leave),
        cmocka_unit_test_setup_teardown(what_was_not_configured_any_more_does_not_come_back, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(what_the_file_had_before_this_process_stays, enter, leave),
        cmocka_unit_test_setup_teardown(what_the_file_had_is_asked_about_too, enter, leave),
        cmocka_unit_test_setup_teardown(who_says_nothing_of_a_value_has_not_refused_it, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(one_that_hangs_is_asked_once, enter, leave),
    };

    return cmocka_run_group_tests_name("pg/names", tests, NULL, NULL);
}

int main(void)
{
    return run_with_servers(base_dir, run_all);
}
