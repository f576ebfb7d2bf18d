/*
 * Words, positions and names as text.
 */
#include "test_store_util.h"

static void postgres_states_are_patronis(void **state)
{
    /* Monitoring made for Patroni reads them. */
    (void)state;
    assert_string_equal(pg_state_name(PG_STATE_CREATING_REPLICA), "creating replica");
    assert_string_equal(pg_state_name(PG_STATE_RUNNING), "running");
    assert_int_equal(pg_state_number(PG_STATE_UNKNOWN), -1);
    assert_int_equal(pg_state_number(PG_STATE_INITIALIZING), 0);
    assert_int_equal(pg_state_number(PG_STATE_RUNNING), 5);
    assert_int_equal(pg_state_number(PG_STATE_CRASHED), 14);
    assert_string_equal(pg_role_name(PG_ROLE_STANDBY), "replica");
}

static void every_word_has_a_name_of_its_own(void **state)
{
    /* Including values that are none, from a damaged message. */
    (void)state;
    for (int i = 0; i <= (int)PG_STATE_MAX; i++) {
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(pg_state_name((enum pg_state)i),
                                    pg_state_name((enum pg_state)k));
            assert_int_not_equal(pg_state_number((enum pg_state)i),
                                 pg_state_number((enum pg_state)k));
        }
    }
    assert_string_equal(pg_state_name((enum pg_state)99), "?");
    assert_string_equal(node_mode_name((enum node_mode)99), "?");
    assert_string_equal(data_state_name(DATA_FOREIGN), "foreign");
    assert_string_equal(init_state_name(INIT_RUNNING), "running");
    assert_string_equal(promise_state_name(PROMISE_QUARANTINE), "quarantine");
    assert_string_equal(request_kind_name(REQUEST_REINIT), "reinit");
}

static void positions_are_written_as_postgres_does(void **state)
{
    /* Both ways, at the edges, and random ones. */
    char text[LSN_TEXT_SIZE];
    lsn_t lsn = 7;
    struct rng r;

    (void)state;
    assert_string_equal(lsn_format(0x3DFD240, text, sizeof(text)), "0/3DFD240");
    assert_string_equal(lsn_format(UINT64_MAX, text, sizeof(text)), "FFFFFFFF/FFFFFFFF");
    assert_true(lsn_parse("16/b374D848", &lsn) && lsn == UINT64_C(0x16B374D848));
    rng_seed(&r, 1);
    for (int i = 0; i < 1000; i++) {
        lsn_t value = rng_next(&r) >> rng_between(&r, 0, 63);

        assert_true(lsn_parse(lsn_format(value, text, sizeof(text)), &lsn) && lsn == value);
    }
}

static void text_that_is_no_position_is_refused(void **state)
{
    /* And the output stays. */
    static const char *const texts[] = {"",     "/",    "0",     "0/",          "/0",
                                        "0/0 ", " 0/0", "0x1/0", "0/123456789", "123456789/0",
                                        "g/0",  "0//0", "-1/0",  "0/0/0"};
    lsn_t lsn = 7;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        assert_false(lsn_parse(texts[i], &lsn));
        assert_true(lsn == 7);
    }
}

static void names_fit_everywhere_a_name_is_used(void **state)
{
    /* 63 bytes of the right characters; not an option, not a hidden file. */
    static const char *const good[] = {"a", "pg-1.example_com", "0", "_x"};
    static const char *const bad[] = {"", ".", "..", "-rf", "a b", "a/b", "a\n", "\xC3\xA4", "a\""};
    char longest[NAME_SIZE + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
        assert_true(name_is_valid(good[i]));
    }
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        assert_false(name_is_valid(bad[i]));
    }
    memset(longest, 'x', sizeof(longest));
    longest[NAME_SIZE] = '\0';
    assert_false(name_is_valid(longest));
    longest[NAME_SIZE - 1] = '\0';
    assert_true(name_is_valid(longest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(postgres_states_are_patronis),
        cmocka_unit_test(every_word_has_a_name_of_its_own),
        cmocka_unit_test(positions_are_written_as_postgres_does),
        cmocka_unit_test(text_that_is_no_position_is_refused),
        cmocka_unit_test(names_fit_everywhere_a_name_is_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
