/*
 * The bounds of each field kind, to the byte. Targets lie in memory of just
 * their size, so that a sanitizer sees what an assertion does not.
 */
#include "test_store_util.h"

#include "store/field.h"

/* `length` times 'x' behind a length of `prefix` bytes. */
static struct decoder text_of(size_t length, size_t prefix)
{
    static uint8_t data[CONFIG_SIZE + 100];
    struct encoder e;
    struct decoder d;

    encoder_init(&e, data, sizeof(data));
    if (prefix == 2) {
        encode_u16(&e, (uint16_t)length);
    } else {
        encode_u32(&e, (uint32_t)length);
    }
    memset(data + e.used, 'x', length);
    decoder_init(&d, data, e.used + length);
    return d;
}

static void longest_text_is_accepted_and_one_more_is_not(void **state)
{
    /* Every size a schema uses, looking only and for good. */
    static const size_t sizes[] = {NAME_SIZE, HOST_SIZE, TEXT_SIZE, TAGS_SIZE};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        char *text = xmalloc(sizes[i]);
        struct decoder d = text_of(sizes[i] - 1, 2);

        field_decode_text(&d, text, sizes[i]);
        assert_true(decoder_is_done(&d) && strlen(text) == sizes[i] - 1);
        d = text_of(sizes[i], 2);
        field_decode_text(&d, text, sizes[i]);
        assert_true(d.failed);
        d = text_of(sizes[i], 2);
        field_decode_text(&d, NULL, sizes[i]);
        assert_true(d.failed);
        free(text);
    }
}

static void longest_configuration_is_accepted_and_one_more_is_not(void **state)
{
    /* 256 KiB. */
    char *text = xmalloc(CONFIG_SIZE);
    struct decoder d = text_of(CONFIG_SIZE - 1, 4);

    (void)state;
    field_decode_config(&d, text);
    assert_true(decoder_is_done(&d) && strlen(text) == CONFIG_SIZE - 1);
    d = text_of(CONFIG_SIZE, 4);
    field_decode_config(&d, text);
    assert_true(d.failed);
    d = text_of(CONFIG_SIZE, 4);
    field_decode_config(&d, NULL);
    assert_true(d.failed);
    free(text);
}

static void name_is_at_most_63_bytes_and_valid(void **state)
{
    /* 63, 64, a blank, a zero, none. */
    char *name = xmalloc(NAME_SIZE);
    struct decoder d = text_of(NAME_SIZE - 1, 2);

    (void)state;
    field_decode_name(&d, name);
    assert_true(decoder_is_done(&d) && strlen(name) == NAME_SIZE - 1);
    d = text_of(NAME_SIZE, 2);
    field_decode_name(&d, name);
    assert_true(d.failed);
    decoder_init(&d, "\3\0a b", 5);
    field_decode_name(&d, NULL);
    assert_true(d.failed);
    decoder_init(&d, "\3\0a\0b", 5);
    field_decode_name(&d, NULL);
    assert_true(d.failed);
    decoder_init(&d, "\0\0", 2);
    field_decode_name(&d, name);
    assert_true(decoder_is_done(&d) && name[0] == '\0' && name[NAME_SIZE - 2] == '\0');
    free(name);
}

/* n names "a" behind the count. */
static struct decoder names_of(uint8_t n)
{
    static uint8_t data[1 + 3 * 255];
    struct decoder d;

    data[0] = n;
    for (size_t i = 0; i < n; i++) {
        memcpy(data + 1 + 3 * i, "\1\0a", 3);
    }
    decoder_init(&d, data, 1 + 3 * (size_t)n);
    return d;
}

static void names_are_at_most_eight_and_none_is_empty(void **state)
{
    /* Eight, nine, and an empty one among two. */
    char(*names)[NAME_SIZE] = xmalloc(sizeof(field_names));
    uint32_t n = 77;
    struct decoder d = names_of(SYNC_MAX);

    (void)state;
    field_decode_names(&d, &n, names);
    assert_true(decoder_is_done(&d) && n == SYNC_MAX);
    assert_string_equal(names[SYNC_MAX - 1], "a");
    d = names_of(SYNC_MAX + 1);
    field_decode_names(&d, &n, names);
    assert_true(d.failed && n == SYNC_MAX);
    d = names_of(SYNC_MAX + 1);
    field_decode_names(&d, NULL, NULL);
    assert_true(d.failed);
    decoder_init(&d, "\2\1\0a\0\0", 6);
    field_decode_names(&d, NULL, NULL);
    assert_true(d.failed);
    free(names);
}

static void enum_ends_at_its_last_value(void **state)
{
    /* The last, and one more. */
    struct decoder d;

    (void)state;
    decoder_init(&d, "\4", 1);
    assert_int_equal(field_decode_enum(&d, 4), 4);
    assert_false(d.failed);
    decoder_init(&d, "\5", 1);
    assert_int_equal(field_decode_enum(&d, 4), 0);
    assert_true(d.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(longest_text_is_accepted_and_one_more_is_not),
        cmocka_unit_test(longest_configuration_is_accepted_and_one_more_is_not),
        cmocka_unit_test(name_is_at_most_63_bytes_and_valid),
        cmocka_unit_test(names_are_at_most_eight_and_none_is_empty),
        cmocka_unit_test(enum_ends_at_its_last_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
