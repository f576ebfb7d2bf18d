/*
 * Texts of PostgreSQL's that we read: timeline history files, lock files, the lines
 * of a failed start, messages of a failed connect.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "pg/pg_internal.h"

static void the_last_line_is_the_end_of_the_parent(void **state)
{
    static const char text[] = "# comment\n"
                               "1\t0/3000060\tno recovery target specified\n"
                               "\n"
                               "  2\t1/A0000000\tbefore 2026-01-01 10:00:00+00\n";
    struct pg_history_line line;

    (void)state;
    assert_true(pg_history_parse(text, 0, &line));
    assert_int_equal(line.timeline, 2);
    assert_true(line.lsn == UINT64_C(0x1A0000000));
    assert_string_equal(line.reason, "before 2026-01-01 10:00:00+00");
    assert_true(pg_history_parse(text, 1, &line));
    assert_int_equal(line.lsn, 0x3000060);
    assert_string_equal(line.reason, "no recovery target specified");
    assert_false(pg_history_parse(text, 3, &line));
}

static void what_is_no_history_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "\n\n",
        "x\t0/1\t\n",
        "1\n",
        "1\t",
        "1\tzzz\t",
        "0\t0/1\t\n",
        "2\t0/2\t\n1\t0/3\t\n",
        "1\t0/5\t\n2\t0/4\t\n",
        "99999999999\t0/1\t\n",
        "1\t0/123456789\tx\n",
    };
    struct pg_history_line before = {.timeline = 77}, line = before;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        assert_false(pg_history_parse(texts[i], 0, &line));
        assert_memory_equal(&line, &before, sizeof(line));
    }
}

static void a_long_reason_is_cut(void **state)
{
    char text[5000];
    struct pg_history_line line;

    (void)state;
    memset(text, 'r', sizeof(text));
    memcpy(text, "1\t0/10\t", 7);
    text[sizeof(text) - 1] = '\0';
    assert_true(pg_history_parse(text, 0, &line));
    assert_int_equal(strlen(line.reason), TEXT_SIZE - 1);
}

static void all_lines_are_kept_but_those_of_placeholders(void **state)
{
    struct pg_history *h = xmalloc(sizeof(*h));

    (void)state;
    assert_true(pg_history_parse_all("1\t0/10\ta\n\n3\t0/20\tb\n", 7, h));
    assert_true(h->timeline == 7 && h->n == 2);
    assert_true(h->lines[0].timeline == 1 && h->lines[1].lsn == 0x20);
    assert_false(pg_history_parse_all("1\t0/10\ta\n\n3\t0/20\tb\n", 3, h));
    assert_false(pg_history_parse_all("# reserved by Veche: this number is left out\n", 2, h));
    assert_int_equal(h->timeline, 0);
    free(h);
}

static bool has_history(const char *wal, uint32_t timeline)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/%08X.history", wal, timeline);
    return access(path, F_OK) == 0;
}

static void numbers_that_are_left_out_are_held_by_placeholders(void **state)
{
    /* On timeline 3; 6 is declared. Then the promotion does not happen. */
    char data_dir[] = "/tmp/veche-timeline-XXXXXX";
    char wal[64], path[256];
    struct pg_options o = {.data_dir = data_dir};
    struct err err = {0};

    (void)state;
    assert_non_null(mkdtemp(data_dir));
    (void)snprintf(wal, sizeof(wal), "%s/pg_wal", data_dir);
    assert_int_equal(mkdir(wal, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/00000005.history", wal);
    assert_int_equal(pg_file_write(path, "3\t0/10\tx\n", 9, 0600, &err), 0);

    assert_int_equal(pg_timeline_taken(data_dir, 6), 0);
    assert_int_equal(pg_timeline_reserve(&o, 3, 8, &err), 0);
    assert_true(has_history(wal, 4) && has_history(wal, 6) && has_history(wal, 7));
    assert_false(has_history(wal, 3) || has_history(wal, 8));
    assert_int_equal(pg_timeline_taken(data_dir, 6), 7);

    /* 4 stays: behind it is a real one. */
    assert_int_equal(pg_timeline_release(data_dir, 3, &err), 0);
    assert_true(has_history(wal, 4) && has_history(wal, 5));
    assert_false(has_history(wal, 6) || has_history(wal, 7));
    assert_int_equal(remove(path), 0);
    assert_int_equal(pg_timeline_release(data_dir, 3, &err), 0);
    assert_false(has_history(wal, 4));

    assert_int_equal(pg_timeline_reserve(&o, 0, 2, &err), -1);
    assert_int_equal(pg_timeline_reserve(&o, 3, 3, &err), -1);
    assert_int_equal(pg_timeline_reserve(&o, 3, 4 + PG_PROMOTE_GAP_MAX, &err), -1);
    assert_int_equal(pg_timeline_reserve(&o, 3, 4, &err), 0); /* Nothing to leave out. */
    assert_int_equal(rmdir(wal), 0);
    assert_int_equal(rmdir(data_dir), 0);
}

/* ---- Lock files ---- */

static char dir[] = "/tmp/veche-test-look-XXXXXX";

static void write_lock_file(const char *text)
{
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/postmaster.pid", dir);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void a_lock_file_is_read_as_far_as_it_goes(void **state)
{
    struct pg_pidfile f;

    (void)state;
    assert_non_null(mkdtemp(dir));
    write_lock_file("4711\n/data\n1700000000\n5433\n/run/sockets\n127.0.0.1\n  1 2\nstandby \n");
    pg_look_pidfile(dir, &f);
    assert_int_equal(f.pid, 4711);
    assert_int_equal(f.port, 5433);
    assert_string_equal(f.socket_dir, "/run/sockets");
    assert_int_equal(f.status, PG_PIDFILE_STANDBY);

    write_lock_file("4711\n/data\n1700000000\n5433\n\n"); /* No socket, and still starting. */
    pg_look_pidfile(dir, &f);
    assert_int_equal(f.pid, 4711);
    assert_string_equal(f.socket_dir, "");
    assert_int_equal(f.status, PG_PIDFILE_NONE);

    write_lock_file("-4711\n/data\n1\n"); /* A stand-alone backend is no postmaster. */
    pg_look_pidfile(dir, &f);
    assert_int_equal(f.pid, 0);
    write_lock_file("");
    pg_look_pidfile(dir, &f);
    assert_int_equal(f.pid, 0);
    write_lock_file("99999999999999999999\nx\ny\n70000\n");
    pg_look_pidfile(dir, &f);
    assert_int_equal(f.pid, 0);
    assert_int_equal(f.port, 0);
    pg_look_pidfile("/nonexistent", &f);
    assert_int_equal(f.pid, 0);
}

static void remove_in_dir(const char *name)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(remove(path), 0);
}

static enum data_state look(struct pg_disk *disk)
{
    struct pg_options o = {.data_dir = dir};

    memset(disk, 0, sizeof(*disk));
    return pg_look_data(&o, disk);
}

static void write_mark(const char *text)
{
    char path[128];
    FILE *file;

    pg_file_beside(dir, "incomplete", path, sizeof(path));
    file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

static void what_lies_in_the_directory_is_told_apart(void **state)
{
    struct pg_disk disk;
    char path[128];
    FILE *file;

    (void)state;
    remove_in_dir("postmaster.pid");
    assert_int_equal(look(&disk), DATA_EMPTY);
    (void)snprintf(path, sizeof(path), "%s/.snapshot", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/lost+found", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(look(&disk), DATA_EMPTY);

    (void)snprintf(path, sizeof(path), "%s/PG_VERSION", dir);
    file = fopen(path, "w");
    fputs("12\n", file);
    fclose(file);
    assert_int_equal(look(&disk), DATA_FOREIGN);
    assert_non_null(strstr(disk.problem, "PostgreSQL 12"));
    file = fopen(path, "w");
    fputs("16\n", file);
    fclose(file);
    assert_int_equal(look(&disk), DATA_FOREIGN); /* Without pg_control. */
    assert_non_null(strstr(disk.problem, "pg_control"));

    write_mark("clone from n2\n");
    assert_int_equal(look(&disk), DATA_FOREIGN); /* Of which directory is it? */
    assert_non_null(strstr(disk.problem, "veche-incomplete can not be read"));
    write_mark("clone from n2\ntoken=00ff\ncontrol=\n");
    assert_int_equal(look(&disk), DATA_FOREIGN); /* Of another one. */
    assert_non_null(strstr(disk.problem, "pg_control"));
    (void)snprintf(path, sizeof(path), "%s/veche-making-00ff", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(look(&disk), DATA_INCOMPLETE);
    assert_string_equal(disk.problem, "clone from n2 was cut off");
    remove_in_dir("PG_VERSION");
    assert_int_equal(look(&disk), DATA_INCOMPLETE);
    pg_file_beside(dir, "incomplete", path, sizeof(path));
    assert_int_equal(remove(path), 0);
    assert_int_equal(look(&disk), DATA_EMPTY); /* A token alone says nothing. */
    remove_in_dir("veche-making-00ff");
    remove_in_dir(".snapshot");
    remove_in_dir("lost+found");
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(look(&disk), DATA_EMPTY);
}

/* ---- Messages ---- */

static void the_last_fatal_line_is_the_reason(void **state)
{
    char text[TEXT_SIZE] = "";

    (void)state;
    assert_true(pg_failure_find("LOG:  starting\nFATAL:  one\nFATAL:  could not bind\n"
                                "LOG:  database system is shut down\n",
                                text, sizeof(text)));
    assert_string_equal(text, "FATAL:  could not bind");
    assert_false(pg_failure_find("postgres: cannot execute\n\n", text, sizeof(text)));
    assert_string_equal(text, "postgres: cannot execute");
    assert_true(pg_failure_find("ВАЖНО:  нет файла", text, sizeof(text)));
    assert_true(pg_failure_find("12:00 [7] FATAL:  invalid permissions\n12:00 [7] DETAIL:  Should "
                                "be 0700.\nLOG:  end\nDETAIL:  of another line\n",
                                text, sizeof(text)));
    assert_string_equal(text, "FATAL:  invalid permissions; Should be 0700.");
    text[0] = '\0';
    assert_false(pg_failure_find("", text, sizeof(text)));
    assert_string_equal(text, "");
}

/* Severity is the 12th column, message, detail and hint from the 14th on. */
static void a_log_of_csv_tells_the_same(void **state)
{
    static const char csv[] =
        "is the end of a record that was cut\n"
        "2026-11-22 03:37:43.871 UTC,,,7,,6b.2a,1,,2026-11-22 03:37:43 UTC,,0,LOG,00000,"
        "\"ending log output to stderr\",,\"Future log\",,,,,,,\"\",\"postmaster\",,0\n"
        "2026-11-22 03:37:43.872 UTC,,,7,,6b.2a,4,,2026-11-22 03:37:43 UTC,,0,FATAL,F0001,"
        "\"lock file \"\"/run/.s\"\" already\nexists\",\"a, detail\",\"Is another one\",,,,,,,"
        "\"\",\"postmaster\",,0\n"
        "2026-11-22 03:37:43.874 UTC,,,7,,6b.2a,5,,2026-11-22 03:37:43 UTC,,0,LOG,00000,"
        "\"database system is shut down\",,,,,,,,,\"\",\"postmaster\",,0\n"
        "2026-11-22 03:37:43.875 UTC,,,7,,6b.2a,5,,2026-11-22 03:37:43 UTC,,0,LOG,00000,\"cut";
    char *plain = pg_failure_of_csv(csv);
    char text[TEXT_SIZE] = "";

    (void)state;
    assert_string_equal(plain, "LOG:  ending log output to stderr\nHINT:  Future log\n"
                               "FATAL:  lock file \"/run/.s\" already exists\n"
                               "DETAIL:  a, detail\nHINT:  Is another one\n"
                               "LOG:  database system is shut down\nLOG:  cut\n");
    assert_true(pg_failure_find(plain, text, sizeof(text)));
    assert_string_equal(text, "FATAL:  lock file \"/run/.s\" already exists; a, detail; "
                              "Is another one");
    free(plain);
    plain = pg_failure_of_csv("");
    assert_string_equal(plain, "");
    free(plain);
}

static void the_last_word_of_the_receiver_is_told_with_a_remedy(void **state)
{
    char text[TEXT_SIZE] = "";
    char refused[] =
        "FATAL:  could not connect to the primary server: timeout expired\n"
        "1 [2] FATAL:  could not connect to the primary server: connection to server "
        "at \"10.0.0.1\" failed: FATAL:  password authentication failed for user \"r\"\n"
        "FATAL:  password authentication failed for user \"a client of ours\"\n";
    char other[] = "FATAL:  the database system is starting up\n";
    char russian[] = "1 [2] ВАЖНО:  не удалось подключиться к главному серверу: подключиться к "
                     "серверу \"10.0.0.1\", порту 5432 не удалось: ВАЖНО:  в pg_hba.conf нет "
                     "записи, разрешающей подключение для репликации с компьютера \"h\"\n";
    char removed[] = "ВАЖНО:  не удалось получить данные из потока WAL: ОШИБКА:  запрошенный "
                     "сегмент WAL 1 уже удалён\n";
    char other_russian[] = "ВАЖНО:  система баз данных запускается\n";

    (void)state;
    assert_true(pg_failure_find_stream(refused, text, sizeof(text)));
    assert_string_equal(text, "give every node the same postgresql.authentication.replication: "
                              "password authentication failed for user \"r\"");
    assert_false(pg_failure_find_stream(other, text, sizeof(text)));
    assert_true(pg_failure_find_stream(russian, text, sizeof(text)));
    assert_string_equal(text, "add a line for replication to postgresql.pg_hba: в pg_hba.conf нет "
                              "записи, разрешающей подключение для репликации с компьютера \"h\"");
    assert_true(pg_failure_find_stream(removed, text, sizeof(text)));
    assert_string_equal(text, "empty this data directory, it is then cloned anew: запрошенный "
                              "сегмент WAL 1 уже удалён");
    assert_false(pg_failure_find_stream(other_russian, text, sizeof(text)));
}

static void a_refusal_is_known_by_its_code_in_any_language(void **state)
{
    const char *text;
    char code[8];

    (void)state;
    assert_true(pg_conn_find_sqlstate("connection to server at \"h\" (::1), port 5432 failed: "
                                      "ВАЖНО:  57P03: система баз данных запускается\n",
                                      code, sizeof(code), &text));
    assert_string_equal(code, "57P03");
    assert_string_equal(text, "система баз данных запускается\n");
    assert_false(pg_conn_find_sqlstate("could not connect to server: Connection refused", code,
                                       sizeof(code), &text));
    assert_false(pg_conn_find_sqlstate("FATAL:  57P", code, sizeof(code), &text));
    assert_false(pg_conn_find_sqlstate("FATAL:  the database system", code, sizeof(code), &text));
    assert_false(pg_conn_find_sqlstate("", code, sizeof(code), &text));
}

static void why_the_receiver_ended_is_found_among_other_lines(void **state)
{
    char text[TEXT_SIZE] = "";

    (void)state;
    assert_true(pg_failure_find_receiver(
        "t [1] FATAL:  could not receive data from WAL stream: ERROR:  requested WAL segment 1 "
        "has already been removed\n"
        "t [2] FATAL:  could not connect to the primary server: connection to server at \"a\", "
        "port 1 failed: FATAL:  password authentication failed for user \"r\"\n"
        "t [3] FATAL:  password authentication failed for user \"a client of ours\"\n"
        "t [4] LOG:  waiting for WAL to become available\n",
        text, sizeof(text)));
    assert_string_equal(text, "password authentication failed for user \"r\"");
    assert_false(pg_failure_find_receiver(
        "t [3] FATAL:  role \"x\" does not exist\nLOG:  started streaming WAL from primary\n", text,
        sizeof(text)));
}

static void the_major_version_of_the_programs_is_read(void **state)
{
    (void)state;
    assert_int_equal(pg_version_parse("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"),
                     15);
    assert_int_equal(pg_version_parse("postgres (PostgreSQL) 18beta1\n"), 18);
    assert_int_equal(pg_version_parse("no such thing\n"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_line_is_the_end_of_the_parent),
        cmocka_unit_test(what_is_no_history_is_refused),
        cmocka_unit_test(a_long_reason_is_cut),
        cmocka_unit_test(all_lines_are_kept_but_those_of_placeholders),
        cmocka_unit_test(numbers_that_are_left_out_are_held_by_placeholders),
        cmocka_unit_test(a_lock_file_is_read_as_far_as_it_goes),
        cmocka_unit_test(what_lies_in_the_directory_is_told_apart),
        cmocka_unit_test(why_the_receiver_ended_is_found_among_other_lines),
        cmocka_unit_test(the_major_version_of_the_programs_is_read),
        cmocka_unit_test(the_last_fatal_line_is_the_reason),
        cmocka_unit_test(a_log_of_csv_tells_the_same),
        cmocka_unit_test(the_last_word_of_the_receiver_is_told_with_a_remedy),
        cmocka_unit_test(a_refusal_is_known_by_its_code_in_any_language),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
