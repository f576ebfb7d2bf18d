/*
 * Bounded encoding and decoding.
 */
#include "base/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void what_is_encoded_is_decoded(void **state)
{
    /* One of each, read back in order; and the bytes are little endian. */
    uint8_t data[64];
    char text[8];
    struct encoder e;
    struct decoder d;

    (void)state;
    encoder_init(&e, data, sizeof(data));
    encode_u8(&e, 0xAB);
    encode_u16(&e, 0x0102);
    encode_u32(&e, 0x01020304);
    encode_u64(&e, UINT64_MAX - 1);
    encode_bool(&e, true);
    encode_text(&e, "veche");
    encode_text(&e, "");
    decoder_init(&d, data, e.used);

    assert_false(e.failed);
    assert_memory_equal(data, "\xAB\x02\x01\x04\x03\x02\x01", 7);
    assert_int_equal(decode_u8(&d), 0xAB);
    assert_int_equal(decode_u16(&d), 0x0102);
    assert_int_equal(decode_u32(&d), 0x01020304);
    assert_true(decode_u64(&d) == UINT64_MAX - 1);
    assert_true(decode_bool(&d));
    decode_text(&d, text, sizeof(text));
    assert_string_equal(text, "veche");
    decode_text(&d, text, sizeof(text));
    assert_string_equal(text, "");
    assert_true(decoder_is_done(&d));
}

static void full_encoder_stays_failed(void **state)
{
    /* Three bytes of room; a u32 does not fit, a u8 would. */
    uint8_t data[4] = {0, 0, 0, 0x5A};
    struct encoder e;

    (void)state;
    encoder_init(&e, data, 3);
    encode_u32(&e, 1);
    encode_u8(&e, 1);

    assert_true(e.failed);
    assert_int_equal(e.used, 0);
    assert_int_equal(data[3], 0x5A);
}

static void too_long_text_is_not_encoded(void **state)
{
    /* The length has sixteen bits. */
    static char text[UINT16_MAX + 2];
    static uint8_t data[UINT16_MAX + 10];
    struct encoder e;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    encoder_init(&e, data, sizeof(data));
    encode_text(&e, text);

    assert_true(e.failed);
}

static void short_input_fails_and_stays_failed(void **state)
{
    /* Every prefix of a u64. */
    uint8_t data[8] = {1, 1, 1, 1, 1, 1, 1, 1};

    (void)state;
    for (size_t size = 0; size < sizeof(data); size++) {
        struct decoder d;

        decoder_init(&d, data, size);
        assert_true(decode_u64(&d) == 0);
        assert_true(d.failed);
        assert_int_equal(decode_u8(&d), 0);
        assert_null(decode_bytes(&d, 0));
        assert_false(decoder_is_done(&d));
    }
}

static void bad_values_are_refused(void **state)
{
    /* A bool of two, a text with a zero, a text too long for its target, a
     * length beyond the end. */
    static const struct {
        uint8_t data[6];
        size_t size;
    } rows[] = {{{3, 0, 'a', 0, 'b'}, 5}, {{4, 0, 'a', 'b', 'c', 'd'}, 6}, {{255, 255, 'a'}, 3}};
    char text[4] = "old";
    struct decoder d;

    (void)state;
    decoder_init(&d, (uint8_t[]){2}, 1);
    assert_false(decode_bool(&d));
    assert_true(d.failed);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        decoder_init(&d, rows[i].data, rows[i].size);
        decode_text(&d, text, sizeof(text));
        assert_true(d.failed);
        assert_string_equal(text, "");
    }
}

static void left_over_bytes_are_noticed(void **state)
{
    /* A byte too many. */
    struct decoder d;

    (void)state;
    decoder_init(&d, (uint8_t[]){1, 2}, 2);
    (void)decode_u8(&d);

    assert_false(decoder_is_done(&d));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(full_encoder_stays_failed),
        cmocka_unit_test(too_long_text_is_not_encoded),
        cmocka_unit_test(short_input_fails_and_stays_failed),
        cmocka_unit_test(bad_values_are_refused),
        cmocka_unit_test(left_over_bytes_are_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
