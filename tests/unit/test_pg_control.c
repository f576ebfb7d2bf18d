/*
 * Parsing of pg_control images of every supported layout and of damaged ones. The
 * comparison with the real pg_controldata is in test_pg_server.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "pg/pg_control.h"

#define IMAGE_SIZE 512

static uint8_t image[IMAGE_SIZE];

static void put32(size_t at, uint32_t value)
{
    memcpy(image + at, &value, sizeof(value));
}

static void put64(size_t at, uint64_t value)
{
    memcpy(image + at, &value, sizeof(value));
}

/* Offsets as the compiler lays out ControlFileData of that version. */
static void build(uint32_t version)
{
    size_t crc_at = version >= 1800 ? 292 : 288;

    memset(image, 0, sizeof(image));
    put64(0, 7301234567890123456);
    put32(8, version);
    put32(12, 202209061);
    put32(16, PG_CONTROL_SHUT_DOWN);
    put64(24, 1700000000);
    put64(32, 0x3000028); /* checkPoint */
    put64(40, 0x3000000); /* redo */
    put32(48, 3);
    put32(52, 2);
    put64(136, 0);
    put32(180, 100);
    put32(184, 8);
    put32(188, 10);
    put32(192, 0);
    put32(196, 64);
    put32(204, 8);
    put32(252, 1);
    put32(crc_at, crc32c(0, image, crc_at));
}

static void every_layout_is_read(void **state)
{
    static const uint32_t versions[] = {1300, 1700, 1800};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(versions); i++) {
        struct pg_control c;
        struct err err = {0};

        build(versions[i]);
        assert_int_equal(pg_control_parse(image, sizeof(image), &c, &err), 0);
        assert_true(c.sysid == 7301234567890123456);
        assert_int_equal(c.timeline, 3);
        assert_int_equal(c.prev_timeline, 2);
        assert_int_equal(c.checkpoint, 0x3000028);
        assert_int_equal(c.max_connections, 100);
        assert_int_equal(c.max_locks_per_xact, 64);
        assert_int_equal(c.data_checksums, 1);
        assert_true(pg_control_is_clean(&c));
        /* The record after a clean shutdown is the end of the WAL. */
        assert_int_equal(pg_control_lsn(&c), 0x3000028 + 120);
        c.state = PG_CONTROL_IN_PRODUCTION;
        assert_false(pg_control_is_clean(&c));
        assert_int_equal(pg_control_lsn(&c), 0x3000028);
        c.min_recovery = 0x5000000;
        assert_int_equal(pg_control_lsn(&c), 0x5000000);
    }
}

static void every_flipped_bit_is_noticed(void **state)
{
    struct pg_control before = {.sysid = 1}, c = before;
    struct err err = {0};

    (void)state;
    for (size_t bit = 0; bit < 292 * 8; bit++) {
        build(1300);
        image[bit / 8] = (uint8_t)(image[bit / 8] ^ (1U << bit % 8));
        assert_int_equal(pg_control_parse(image, sizeof(image), &c, &err), -1);
        assert_true(err.text[0] != '\0');
    }
    assert_memory_equal(&c, &before, sizeof(c)); /* Untouched on failure. */
}

static void every_cut_is_noticed(void **state)
{
    struct pg_control c;
    struct err err = {0};

    (void)state;
    build(1800);
    for (size_t size = 0; size < 296; size++) {
        uint8_t *copy = malloc(size + 1); /* So that reading behind it is seen. */

        memcpy(copy, image, size);
        assert_int_equal(pg_control_parse(copy, size, &c, &err), -1);
        free(copy);
    }
    assert_int_equal(pg_control_parse(image, 296, &c, &err), 0);
}

static void other_versions_and_states_are_refused(void **state)
{
    struct pg_control c;
    struct err err = {0};

    (void)state;
    build(1201); /* PostgreSQL 12. */
    assert_int_equal(pg_control_parse(image, sizeof(image), &c, &err), -1);
    assert_non_null(strstr(err.text, "version 1201"));
    build(1300);
    put32(16, 7);
    put32(288, crc32c(0, image, 288));
    assert_int_equal(pg_control_parse(image, sizeof(image), &c, &err), -1);
    assert_non_null(strstr(err.text, "state 7"));
    assert_int_equal(pg_control_read("/nonexistent", &c, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout_is_read),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(every_cut_is_noticed),
        cmocka_unit_test(other_versions_and_states_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
