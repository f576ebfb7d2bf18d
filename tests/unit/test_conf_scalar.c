/*
 * Scalars as users write them: what each text means, and which mean nothing.
 */
#include "test_conf_common.h"

#include "conf/conf_scalar.h"

#define NO (-1)

static void booleans_are_taken_as_yaml_1_1_writes_them(void **state)
{
    static const struct {
        const char *text;
        int value; /* NO = refused. */
    } cases[] = {
        {"on", 1},     {"off", 0},  {"ON", 1},     {"Off", 0},   {"yes", 1},  {"no", 0},
        {"Yes", 1},    {"NO", 0},   {"true", 1},   {"false", 0}, {"True", 1}, {"FALSE", 0},
        {"y", 1},      {"n", 0},    {"1", 1},      {"0", 0},     {"", NO},    {"2", NO},
        {"maybe", NO}, {"on ", NO}, {"truee", NO}, {"null", NO},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        bool value = false;
        bool known = conf_parse_bool(cases[i].text, &value);

        print_message("  boolean \"%s\"\n", cases[i].text);
        assert_int_equal(known ? (int)value : NO, cases[i].value);
    }
}

static void durations_are_seconds_unless_a_unit_says_otherwise(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* NO = refused. */
    } cases[] = {
        {"10", 10000},
        {"10s", 10000},
        {"10 s", 10000},
        {"0", 0},
        {"0.5", 500},
        {"1.5s", 1500},
        {"1500ms", 1500},
        {"30min", 1800000},
        {"2m", 120000},
        {"1h", 3600000},
        {"1d", 86400000},
        {"0.0001", 0},
        {"1.23456789", 1234},
        {"007", 7000},
        {"30MIN", 1800000},
        {"999999999999", INT64_C(999999999999000)},
        {"9999999999999", NO},
        {"99999999999d", INT64_C(99999999999) * 86400000},
        {"213503982335d", NO}, /* More than 2^64 ms, and not the bit beyond. */
        {"999999999999d", NO},
        {"", NO},
        {"-1", NO},
        {"+1", NO},
        {"1e3", NO},
        {"nan", NO},
        {"inf", NO},
        {"0x10", NO},
        {".5", 500},
        {".5 min", 30000},
        {".", NO},
        {".s", NO},
        {"1.", NO},
        {"1..5", NO},
        {"1 000", NO},
        {"10x", NO},
        {"s", NO},
        {"10 ss", NO},
        {"on", NO},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        uint64_t ms = 0;
        bool known = conf_parse_duration_ms(cases[i].text, &ms);

        print_message("  duration \"%s\"\n", cases[i].text);
        assert_int_equal(known ? (int64_t)ms : NO, cases[i].ms);
    }
}

static void numbers_may_have_signs_bases_and_underscores(void **state)
{
    static const struct {
        const char *text;
        bool known;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"42", true, 42},
        {"-1", true, -1},
        {"+7", true, 7},
        {"0x1F", true, 31},
        {"0644", true, 420},
        {"0o644", true, 420},
        {"25_000_000", true, 25000000},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"-9223372036854775807", true, -INT64_MAX},
        {"", false, 0},
        {"-", false, 0},
        {"1.0", false, 0},
        {"1_", false, 0},
        {"_1", false, 0},
        {"089", false, 0},
        {"0x", false, 0},
        {"12a", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"--1", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        int64_t value = 0;

        print_message("  number \"%s\"\n", cases[i].text);
        assert_int_equal(conf_parse_i64(cases[i].text, &value), cases[i].known);
        assert_int_equal(value, cases[i].value);
    }
}

static void sizes_have_the_units_of_postgresql(void **state)
{
    static const struct {
        const char *text;
        int64_t bytes; /* NO = refused. */
    } cases[] = {
        {"0", 0},
        {"1048576", 1048576},
        {"1MB", 1048576},
        {"16MB", 16777216},
        {"2621kB", 2683904},
        {"512 kB", 524288},
        {"1GB", 1073741824},
        {"1TB", INT64_C(1) << 40},
        {"100B", 100},
        {"1mb", 1048576},
        {"1.5MB", NO},
        {"MB", NO},
        {"1XB", NO},
        {"-1MB", NO},
        {"99999999999TB", NO},
        {"1MBs", NO},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        int64_t bytes = 0;
        bool known = conf_parse_bytes(cases[i].text, &bytes);

        print_message("  size \"%s\"\n", cases[i].text);
        assert_int_equal(known ? bytes : NO, cases[i].bytes);
    }
}

static void addresses_have_a_host_and_a_port(void **state)
{
    static const struct {
        const char *text;
        const char *host; /* NULL = refused. */
        uint16_t port;
    } cases[] = {
        {"127.0.0.1:7400", "127.0.0.1", 7400},
        {"pg1.example.org:1", "pg1.example.org", 1},
        {"*:65535", "*", 65535},
        {"[::1]:7400", "::1", 7400},
        {"[fe80::1%eth0]:1", "fe80::1%eth0", 1},
        {"", NULL, 0},
        {":1", NULL, 0},
        {"h", NULL, 0},
        {"h:", NULL, 0},
        {"h:0", NULL, 0},
        {"h:65536", NULL, 0},
        {"h:-1", NULL, 0},
        {"h:1x", NULL, 0},
        {"h: 1", NULL, 0},
        {"::1:7400", NULL, 0},
        {"[::1]7400", NULL, 0},
        {"[::1:7400", NULL, 0},
        {"[]:1", NULL, 0},
        {"a b:1", NULL, 0},
        {"http://h:1", NULL, 0},
        {"a_host_that_is_too_long_for_it:1", NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char host[20] = "";
        uint16_t port = 0;

        print_message("  address \"%s\"\n", cases[i].text);
        assert_int_equal(conf_split_address(cases[i].text, host, sizeof(host), &port),
                         cases[i].host != NULL);
        assert_string_equal(host, cases[i].host != NULL ? cases[i].host : "");
        assert_int_equal(port, cases[i].port);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(booleans_are_taken_as_yaml_1_1_writes_them),
        cmocka_unit_test(durations_are_seconds_unless_a_unit_says_otherwise),
        cmocka_unit_test(numbers_may_have_signs_bases_and_underscores),
        cmocka_unit_test(sizes_have_the_units_of_postgresql),
        cmocka_unit_test(addresses_have_a_host_and_a_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
