/*
 * Commands as bytes and as text: for each row of COMMANDS the functions are
 * generated from its fields, and one table leads to them.
 */
#include "store/command.h"

#include "base/codec.h"
#include "store/field.h"

/* Declarations of struct fields are all the header needs; what is generated
 * here relies on the names c, d, e, b, x, y (field.h). */
/* clang-format off */
#define GENERATE_COMMAND(enumerator, name, text) \
    static const char *check_##name(const struct command *command) \
    { \
        const struct command_##name *c = &command->name; \
        (void)c; /* Numbers alone have no bounds. */ \
        COMMAND_FIELDS_##name(FIELD_CHECK) \
        return NULL; \
    } \
    static void encode_##name(const struct command *command, struct encoder *e) \
    { \
        const struct command_##name *c = &command->name; \
        COMMAND_FIELDS_##name(FIELD_ENCODE) \
    } \
    static const char *decode_##name(struct decoder *d, struct command *command) \
    { \
        struct command_##name *c = command != NULL ? &command->name : NULL; \
        COMMAND_FIELDS_##name(FIELD_DECODE) \
        return NULL; \
    } \
    static void print_##name(const struct command *command, struct sbuf *b) \
    { \
        const struct command_##name *c = &command->name; \
        COMMAND_FIELDS_##name(FIELD_PRINT) \
    } \
    static bool equal_##name(const struct command *one, const struct command *other) \
    { \
        const struct command_##name *x = &one->name; \
        const struct command_##name *y = &other->name; \
        COMMAND_FIELDS_##name(FIELD_EQUAL) \
        return true; \
    } \
    _Static_assert(4 COMMAND_FIELDS_##name(FIELD_SIZE) <= COMMAND_SIZE_MAX, "always fits");
COMMANDS(GENERATE_COMMAND)
#undef GENERATE_COMMAND

static const struct command_ops {
    const char *name;
    size_t size; /* Of the struct, for clearing. */
    const char *(*check)(const struct command *command);
    void (*encode)(const struct command *command, struct encoder *e);
    const char *(*decode)(struct decoder *d, struct command *command);
    void (*print)(const struct command *command, struct sbuf *b);
    bool (*equal)(const struct command *one, const struct command *other);
} commands[COMMAND_KINDS] = {
    [COMMAND_NONE] = {.name = "none"},
#define COMMAND_ROW(enumerator, name, text) \
    [COMMAND_##enumerator] = {text, sizeof(struct command_##name), check_##name, encode_##name, \
                              decode_##name, print_##name, equal_##name},
    COMMANDS(COMMAND_ROW)
#undef COMMAND_ROW
};
/* clang-format on */

unsigned command_kind_version(enum command_kind kind)
{
    if (kind >= COMMAND_MEMBER_PROXY) {
        return 3;
    }
    return kind >= COMMAND_ORDER_SET ? 2 : 1;
}

static bool kind_is_known(uint32_t kind)
{
    return kind > COMMAND_NONE && kind < COMMAND_KINDS;
}

const char *command_kind_name(enum command_kind kind)
{
    return (uint32_t)kind < COMMAND_KINDS ? commands[kind].name : "?";
}

const char *command_broken_field(const struct command *c)
{
    return kind_is_known(c->kind) ? commands[c->kind].check(c) : "kind";
}

int command_encode(const struct command *c, void *data, size_t size, struct err *err)
{
    const char *field = command_broken_field(c);
    struct encoder e;

    if (field != NULL) {
        return err_set(err, "cannot encode command %s: %s is out of its bounds",
                       command_kind_name(c->kind), field);
    }
    encoder_init(&e, data, MIN(size, (size_t)COMMAND_SIZE_MAX));
    encode_u16(&e, (uint16_t)command_kind_version(c->kind));
    encode_u16(&e, (uint16_t)c->kind);
    commands[c->kind].encode(c, &e);
    if (e.failed) {
        return err_set(err, "cannot encode command %s: it does not fit into %zu bytes",
                       command_kind_name(c->kind), size);
    }
    return (int)e.used;
}

/* Reads version and kind. Returns 0, -1 or COMMAND_NEWER_VERSION. */
static int decode_head(struct decoder *d, enum command_kind *ret_kind, struct err *err)
{
    unsigned version = decode_u16(d);
    unsigned kind = decode_u16(d);

    if (d->failed) {
        return err_set(err, "damaged command: only %zu bytes", d->size);
    }
    if (version > COMMAND_VERSION) {
        err_set(err,
                "command of version %u in the log, this Veche knows versions up to %d: "
                "a newer Veche runs in this cluster, upgrade this node",
                version, COMMAND_VERSION);
        return COMMAND_NEWER_VERSION;
    }
    if (!kind_is_known(kind) || version != command_kind_version((enum command_kind)kind)) {
        return err_set(err, "damaged command: version %u, kind %u", version, kind);
    }
    *ret_kind = (enum command_kind)kind;
    return 0;
}

int command_decode(const void *data, size_t size, struct command *ret_command, struct err *err)
{
    struct decoder d;
    struct decoder body;
    enum command_kind kind = COMMAND_NONE;
    const char *field;
    int rv;

    decoder_init(&d, data, size);
    rv = decode_head(&d, &kind, err);
    if (rv != 0) {
        return rv;
    }
    body = d;
    field = commands[kind].decode(&d, NULL); /* Looks only, see field.h. */
    if (field != NULL) {
        return err_set(err, "damaged command %s: %s is out of its bounds at byte %zu of %zu",
                       command_kind_name(kind), field, d.used, size);
    }
    if (!decoder_is_done(&d)) {
        return err_set(err, "damaged command %s: %zu bytes too many", command_kind_name(kind),
                       size - d.used);
    }
    ret_command->kind = kind;
    memset(&ret_command->cluster_create, 0, commands[kind].size); /* All of the union start here. */
    field = commands[kind].decode(&body, ret_command);
    POST(field == NULL && decoder_is_done(&body));
    return 0;
}

const char *command_print(const struct command *c, char *text, size_t size)
{
    struct sbuf b;

    sbuf_init(&b, text, size);
    sbuf_add(&b, command_kind_name(c->kind));
    if (kind_is_known(c->kind)) {
        commands[c->kind].print(c, &b);
    }
    return text;
}

bool command_equal(const struct command *a, const struct command *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    return !kind_is_known(a->kind) || commands[a->kind].equal(a, b);
}
