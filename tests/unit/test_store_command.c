/*
 * Commands as bytes and text, for every kind: what goes in comes out, and
 * nothing else comes in. The wire format itself is tests/golden/commands.txt;
 * `test_store_command --print` writes what it would be now, for a human to
 * compare and, if the change is meant, to put there.
 */
#include "test_store_util.h"

#include "base/err.h"

static struct command one;
static struct command two;
static struct command three;
static uint8_t bytes[COMMAND_SIZE_MAX];
static char printed[COMMAND_SIZE_MAX];

#define FOREACH_KIND(kind) \
    for (enum command_kind kind = COMMAND_NONE + 1; kind < COMMAND_KINDS; kind++)

/* Encodes into exactly the bytes needed, so that a sanitizer sees an overrun. */
static uint8_t *encode_exactly(const struct command *c, size_t *ret_size)
{
    struct err err = {0};
    int size = command_encode(c, bytes, sizeof(bytes), &err);
    uint8_t *exact;

    assert_string_equal(err.text, "");
    assert_true(size >= 4);
    exact = xmalloc((size_t)size);
    memcpy(exact, bytes, (size_t)size);
    *ret_size = (size_t)size;
    return exact;
}

static void every_command_survives_the_wire(void **state)
{
    /* Random commands of every kind; the target holds another command before. */
    struct rng r;

    (void)state;
    rng_seed(&r, 1);
    for (int i = 0; i < 300; i++) {
        FOREACH_KIND(kind)
        {
            size_t size;
            uint8_t *data;

            random_command(&r, kind, &one);
            random_command(&r, (enum command_kind)rng_between(&r, 1, COMMAND_KINDS - 1), &two);
            data = encode_exactly(&one, &size);
            assert_int_equal(command_decode(data, size, &two, NULL), 0);
            assert_true(command_equal(&one, &two));
            assert_int_equal(two.kind, kind);
            free(data);
        }
    }
}

static void biggest_configuration_survives_the_wire(void **state)
{
    /* 256 KiB less the final zero. */
    size_t size;
    uint8_t *data;

    (void)state;
    one.kind = COMMAND_CONFIG_SET;
    memset(one.config_set.config, 'x', CONFIG_SIZE - 1);
    one.config_set.config[CONFIG_SIZE - 1] = '\0';
    data = encode_exactly(&one, &size);

    assert_int_equal(command_decode(data, size, &two, NULL), 0);
    assert_true(command_equal(&one, &two));
    free(data);
}

static void every_cut_and_every_extra_byte_is_noticed(void **state)
{
    /* Each prefix of a command of each kind, in memory of just that size. */
    struct rng r;

    (void)state;
    rng_seed(&r, 2);
    memset(&two, 0x11, sizeof(two));
    memset(&three, 0x11, sizeof(three));
    FOREACH_KIND(kind)
    {
        size_t size;
        uint8_t *data;

        random_command(&r, kind, &one);
        data = encode_exactly(&one, &size);
        for (size_t cut = 0; cut < size; cut++) {
            uint8_t *prefix = xmalloc(cut);
            struct err err = {0};

            memcpy(prefix, data, cut);
            assert_int_equal(command_decode(prefix, cut, &two, &err), -1);
            assert_true(strlen(err.text) > 0);
            free(prefix);
        }
        data = xrealloc(data, size + 1);
        data[size] = 0;
        assert_int_equal(command_decode(data, size + 1, &two, NULL), -1);
        free(data);
    }
    assert_memory_equal(&two, &three, sizeof(two)); /* Untouched all the while. */
}

static void damaged_bytes_never_become_something_out_of_bounds(void **state)
{
    /* One to three bytes are changed. Either it is refused, or what comes out
     * is in bounds and encodes to the same damaged bytes. */
    struct rng r;
    int accepted = 0;
    int refused = 0;

    (void)state;
    rng_seed(&r, 3);
    for (int i = 0; i < 2000; i++) {
        FOREACH_KIND(kind)
        {
            size_t size;
            uint8_t *data;

            random_command(&r, kind, &one);
            data = encode_exactly(&one, &size);
            for (uint64_t n = rng_between(&r, 1, 3); n > 0; n--) {
                data[rng_between(&r, 0, size - 1)] = (uint8_t)rng_next(&r);
            }
            if (command_decode(data, size, &two, NULL) == 0) {
                accepted++;
                assert_null(command_broken_field(&two));
                assert_int_equal(command_encode(&two, bytes, sizeof(bytes), NULL), (int)size);
                assert_memory_equal(bytes, data, size);
                (void)command_print(&two, printed, sizeof(printed));
            } else {
                refused++;
            }
            free(data);
        }
    }
    assert_true(accepted > 1000 && refused > 1000);
}

static void random_bytes_are_refused(void **state)
{
    /* A right head and noise behind it. */
    struct rng r;

    (void)state;
    rng_seed(&r, 4);
    for (int i = 0; i < 20000; i++) {
        size_t size = (size_t)rng_between(&r, 4, 60);
        uint8_t *data = xmalloc(size);

        for (size_t k = 0; k < size; k++) {
            data[k] = (uint8_t)rng_next(&r);
        }
        data[2] = (uint8_t)rng_between(&r, 0, COMMAND_KINDS);
        data[0] = (uint8_t)command_kind_version(data[2]);
        data[1] = 0;
        data[3] = 0;
        if (command_decode(data, size, &two, NULL) == 0) {
            assert_null(command_broken_field(&two));
        }
        free(data);
    }
}

static void newer_version_is_told_apart_from_damage(void **state)
{
    /* A command made by the next Veche, one of version 0, two unknown kinds. */
    static const uint8_t newer[] = {COMMAND_VERSION + 1, 0, 99, 0, 1, 2, 3};
    static const uint8_t older[] = {0, 0, COMMAND_EPOCH_HELD, 0, 1, 0, 0, 0, 0, 0, 0, 0};
    /* A kind of version 2 was never written with version 1. */
    static const uint8_t early[] = {1, 0, COMMAND_ORDER_BEGIN, 0, 1, 0, 0, 0, 0, 0, 0, 0,
                                    0, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t none[] = {COMMAND_VERSION, 0, COMMAND_NONE, 0};
    static const uint8_t unknown[] = {COMMAND_VERSION, 0, COMMAND_KINDS, 0};
    struct err err = {0};

    (void)state;
    assert_int_equal(command_decode(newer, sizeof(newer), &two, &err), COMMAND_NEWER_VERSION);
    assert_non_null(strstr(err.text, "upgrade this node"));
    assert_int_equal(command_decode(older, sizeof(older), &two, &err), -1);
    assert_int_equal(command_decode(early, sizeof(early), &two, &err), -1);
    assert_int_equal(command_decode(none, sizeof(none), &two, &err), -1);
    assert_int_equal(command_decode(unknown, sizeof(unknown), &two, &err), -1);
}

static void encoder_refuses_what_a_decoder_would(void **state)
{
    /* An invalid name, an enum out of range, too many names, a text without an
     * end, no kind; and a buffer that is too small by one. */
    struct err err = {0};
    int size;

    (void)state;
    memset(&one, 0, sizeof(one));
    one.kind = COMMAND_MEMBER_REMOVE;
    (void)str_copy(one.member_remove.name, NAME_SIZE, "pg 1");
    assert_string_equal(command_broken_field(&one), "name");
    assert_int_equal(command_encode(&one, bytes, sizeof(bytes), &err), -1);
    assert_string_equal(err.text, "cannot encode command member-remove: name is out of its bounds");
    one.kind = COMMAND_REQUEST_SET;
    memset(&one.request_set, 0, sizeof(one.request_set));
    one.request_set.kind = (enum request_kind)(REQUEST_KIND_MAX + 1);
    assert_string_equal(command_broken_field(&one), "kind");
    one.kind = COMMAND_SYNC_SET;
    memset(&one.sync_set, 0, sizeof(one.sync_set));
    one.sync_set.n_names = SYNC_MAX + 1;
    assert_string_equal(command_broken_field(&one), "names");
    one.sync_set.n_names = 1;
    assert_string_equal(command_broken_field(&one), "names");
    one.kind = COMMAND_LEDGER_ADD;
    memset(&one.ledger_add, 0, sizeof(one.ledger_add));
    memset(one.ledger_add.evidence, 'x', TEXT_SIZE);
    assert_string_equal(command_broken_field(&one), "evidence");
    one.kind = COMMAND_NONE;
    assert_int_equal(command_encode(&one, bytes, sizeof(bytes), &err), -1);
    memset(&one, 0, sizeof(one));
    one.kind = COMMAND_EPOCH_TAKE;
    size = command_encode(&one, bytes, sizeof(bytes), &err);
    assert_int_equal(command_encode(&one, bytes, (size_t)size, &err), size);
    assert_int_equal(command_encode(&one, bytes, (size_t)size - 1, &err), -1);
}

static void one_changed_field_makes_a_difference(void **state)
{
    /* Every field of every kind, changed alone. */
    struct rng chance;
    struct rng *r = &chance;
    size_t n = 0;

    (void)state;
    rng_seed(r, 5);
#define DIFFERS(kind, name)                                                 \
    memcpy(&two, &one, sizeof(one));                                        \
    for (int tries = 0; tries < 50 && command_equal(&one, &two); tries++) { \
        RANDOM_##kind(name)                                                 \
    }                                                                       \
    assert_false(command_equal(&one, &two));                                \
    n++;
#define DIFFERS_KIND(enumerator, struct_name, text)         \
    {                                                       \
        struct command_##struct_name *c = &two.struct_name; \
                                                            \
        random_command(r, COMMAND_##enumerator, &one);      \
        COMMAND_FIELDS_##struct_name(DIFFERS)               \
    }
    COMMANDS(DIFFERS_KIND)
    assert_true(n > 60);
}

static void print_is_one_line_without_the_configuration(void **state)
{
    /* A take; a configuration with a password; control bytes in evidence; a
     * buffer that is too small. */
    char small[12];

    (void)state;
    memset(&one, 0, sizeof(one));
    one.kind = COMMAND_EPOCH_RELEASE;
    one.epoch_release.expect_epoch = 3;
    one.epoch_release.lsn = 0x13DFD240;
    (void)str_copy(one.epoch_release.successor, NAME_SIZE, "pg2");
    (void)str_copy(one.epoch_release.evidence, TEXT_SIZE, "a\nb \"c\"");
    assert_string_equal(
        command_print(&one, printed, sizeof(printed)),
        "epoch-release expect_epoch=3 lsn=0/13DFD240 timeline=0 successor=pg2 time_us=0 node= "
        "rule= evidence=\"a?b ?c?\"");
    assert_string_equal(command_print(&one, small, sizeof(small)), "epoch-relea");
    one.kind = COMMAND_CONFIG_SET;
    memset(&one.config_set, 0, sizeof(one.config_set));
    (void)str_copy(one.config_set.config, CONFIG_SIZE, "123456789");
    assert_string_equal(command_print(&one, printed, sizeof(printed)),
                        "config-set expect_revision=0 config=(9 bytes, crc e3069283)");
    one.kind = COMMAND_NONE;
    assert_string_equal(command_print(&one, printed, sizeof(printed)), "none");
}

/* A different value for every field, the same at every run. */
/* clang-format off */
#define SAMPLE_U64(field)           c->field = 1000 + ++n;
#define SAMPLE_U32(field)           c->field = 1000 + ++n;
#define SAMPLE_U16(field)           c->field = (uint16_t)(1000 + ++n);
#define SAMPLE_I64(field)           c->field = -(int64_t)++n;
#define SAMPLE_LSN(field)           c->field = (UINT64_C(1) << 32) + ++n;
#define SAMPLE_FLAG(field)          c->field = ++n % 2 == 1;
#define SAMPLE_NAME(field)          (void)snprintf(c->field, sizeof(c->field), "n%u", ++n);
#define SAMPLE_HOST(field)          (void)snprintf(c->field, sizeof(c->field), "h%u:1", ++n);
#define SAMPLE_TEXT(field)          (void)snprintf(c->field, sizeof(c->field), "text %u", ++n);
#define SAMPLE_TAGS(field)          (void)snprintf(c->field, sizeof(c->field), "{\"t\":%u}", ++n);
#define SAMPLE_CONFIG(field)        (void)snprintf(c->field, sizeof(c->field), "{\"c\":%u}", ++n);
#define SAMPLE_NAMES(field) \
    c->n_##field = 2; \
    (void)snprintf(c->field[0], NAME_SIZE, "n%u", ++n); \
    (void)snprintf(c->field[1], NAME_SIZE, "n%u", ++n);
#define SAMPLE_ENUM_MODE(field)     c->field = NODE_MODE_MAX;
#define SAMPLE_ENUM_PG_STATE(field) c->field = PG_STATE_MAX;
#define SAMPLE_ENUM_REQUEST(field)  c->field = REQUEST_KIND_MAX;
/* clang-format on */

static void write_golden(struct strbuf *b)
{
    uint32_t n = 0;
    int size;

    strbuf_printf(b, "# Every command: version and number of its kind, its fields, and a sample as "
                     "text and as bytes.\n"
                     "# Bytes that nodes exchange and keep: a change needs a new "
                     "COMMAND_VERSION.\n"
                     "# test_store_command --print writes this file.\n");
#define GOLDEN_FIELD(kind, field) strbuf_printf(b, "    %-14s %s\n", #kind, #field);
#define SAMPLE(kind, field)       SAMPLE_##kind(field)
#define GOLDEN_KIND(enumerator, struct_name, text)                                   \
    {                                                                                \
        struct command_##struct_name *c = &one.struct_name;                          \
        strbuf_printf(b, "\n%s: version %d, kind %d\n", text,                        \
                      (int)command_kind_version(COMMAND_##enumerator),               \
                      COMMAND_##enumerator);                                         \
        COMMAND_FIELDS_##struct_name(GOLDEN_FIELD) one.kind = COMMAND_##enumerator;  \
        memset(c, 0, sizeof(*c));                                                    \
        COMMAND_FIELDS_##struct_name(SAMPLE) size =                                  \
            command_encode(&one, bytes, sizeof(bytes), NULL);                        \
        strbuf_printf(b, "  %s\n  ", command_print(&one, printed, sizeof(printed))); \
        for (int i = 0; i < size; i++) {                                             \
            strbuf_printf(b, "%02x%s", bytes[i],                                     \
                          i + 1 == size ? "\n" : (i % 40 == 39 ? "\n  " : ""));      \
        }                                                                            \
    }
    COMMANDS(GOLDEN_KIND)
}

static char *read_golden(void)
{
    FILE *file = fopen(GOLDEN_DIR "/commands.txt", "r");
    char *text = xmalloc(100000);
    size_t size;

    assert_non_null(file);
    size = fread(text, 1, 99999, file);
    text[size] = '\0';
    (void)fclose(file);
    return text;
}

static void wire_format_is_the_golden_one(void **state)
{
    /* Nodes of one version and logs on disk depend on these bytes. */
    struct strbuf b = {0};
    char *golden = read_golden();

    (void)state;
    write_golden(&b);

    assert_string_equal(b.data, golden);
    strbuf_deinit(&b);
    free(golden);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_survives_the_wire),
        cmocka_unit_test(biggest_configuration_survives_the_wire),
        cmocka_unit_test(every_cut_and_every_extra_byte_is_noticed),
        cmocka_unit_test(damaged_bytes_never_become_something_out_of_bounds),
        cmocka_unit_test(random_bytes_are_refused),
        cmocka_unit_test(newer_version_is_told_apart_from_damage),
        cmocka_unit_test(encoder_refuses_what_a_decoder_would),
        cmocka_unit_test(one_changed_field_makes_a_difference),
        cmocka_unit_test(print_is_one_line_without_the_configuration),
        cmocka_unit_test(wire_format_is_the_golden_one),
    };

    if (argc == 2 && str_equal(argv[1], "--print")) {
        struct strbuf b = {0};

        write_golden(&b);
        fputs(b.data, stdout);
        strbuf_deinit(&b);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
