/*
 * CRC-32C against published values.
 */
#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void published_values_are_met(void **state)
{
    /* RFC 3720 appendix B.4, and the usual check value. */
    uint8_t zeros[32] = {0};
    uint8_t ones[32];
    uint8_t ascending[32];

    (void)state;
    memset(ones, 0xFF, sizeof(ones));
    for (uint8_t i = 0; i < 32; i++) {
        ascending[i] = i;
    }
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(crc32c(0, zeros, 32), 0x8A9136AA);
    assert_int_equal(crc32c(0, ones, 32), 0x62A8AB43);
    assert_int_equal(crc32c(0, ascending, 32), 0x46DD794E);
    assert_int_equal(crc32c(0, "", 0), 0);
}

static void pieces_make_the_whole(void **state)
{
    /* The same bytes in two calls, cut everywhere. */
    const char *text = "123456789";

    (void)state;
    for (size_t cut = 0; cut <= 9; cut++) {
        uint32_t crc = crc32c(0, text, cut);

        assert_int_equal(crc32c(crc, text + cut, 9 - cut), 0xE3069283);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values_are_met),
        cmocka_unit_test(pieces_make_the_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
