/*
 * The field kinds that need more than a line, see field.h.
 */
#include "store/field.h"

#include "base/crc32c.h"

bool field_text_is_valid(const char *text, size_t size)
{
    return memchr(text, 0, size) != NULL;
}

bool field_name_is_valid(const char *name)
{
    return name[0] == '\0' || (field_text_is_valid(name, NAME_SIZE) && name_is_valid(name));
}

bool field_names_are_valid(uint32_t n, const field_names names)
{
    if (n > SYNC_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (names[i][0] == '\0' || !field_name_is_valid(names[i])) {
            return false;
        }
    }
    return true;
}

void field_encode_config(struct encoder *e, const char *text)
{
    size_t size = strlen(text);

    PRE(size < CONFIG_SIZE);
    encode_u32(e, (uint32_t)size);
    encode_bytes(e, text, size);
}

void field_encode_names(struct encoder *e, uint32_t n, const field_names names)
{
    PRE(n <= SYNC_MAX);
    encode_u8(e, (uint8_t)n);
    for (uint32_t i = 0; i < n; i++) {
        encode_text(e, names[i]);
    }
}

/* `length` bytes without a zero among them go to text, the rest of it is cleared. */
static void take_text(struct decoder *d, size_t length, char *text, size_t size)
{
    const uint8_t *bytes = length < size ? decode_bytes(d, length) : NULL;

    if (bytes == NULL || memchr(bytes, 0, length) != NULL) {
        d->failed = true;
        return;
    }
    if (text != NULL) {
        memcpy(text, bytes, length);
        memset(text + length, 0, size - length);
    }
}

void field_decode_text(struct decoder *d, char *text, size_t size)
{
    take_text(d, decode_u16(d), text, size);
}

void field_decode_config(struct decoder *d, char *text)
{
    take_text(d, decode_u32(d), text, CONFIG_SIZE);
}

void field_decode_name(struct decoder *d, char *name)
{
    char decoded[NAME_SIZE];

    field_decode_text(d, decoded, sizeof(decoded));
    if (d->failed || !field_name_is_valid(decoded)) {
        d->failed = true;
        return;
    }
    if (name != NULL) {
        memcpy(name, decoded, sizeof(decoded));
    }
}

void field_decode_names(struct decoder *d, uint32_t *ret_n, field_names names)
{
    field_names decoded = {0};
    uint32_t n = decode_u8(d);

    if (d->failed || n > SYNC_MAX) {
        d->failed = true;
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        field_decode_name(d, decoded[i]);
        if (d->failed || decoded[i][0] == '\0') {
            d->failed = true;
            return;
        }
    }
    if (ret_n != NULL && names != NULL) {
        *ret_n = n;
        memcpy(names, decoded, sizeof(decoded));
    }
}

uint32_t field_decode_enum(struct decoder *d, uint32_t max)
{
    uint32_t value = decode_u8(d);

    if (value > max) {
        d->failed = true;
        return 0;
    }
    return value;
}

/* Quoted; what would end the quotes or the line becomes a question mark. */
void field_print_text(struct sbuf *b, const char *text)
{
    sbuf_add(b, "\"");
    for (; *text != '\0'; text++) {
        unsigned char ch = (unsigned char)*text;
        bool plain = ch >= ' ' && ch != 0x7f && ch != '"';

        sbuf_printf(b, "%c", plain ? *text : '?');
    }
    sbuf_add(b, "\"");
}

void field_print_lsn(struct sbuf *b, lsn_t lsn)
{
    char text[LSN_TEXT_SIZE];

    sbuf_add(b, lsn_format(lsn, text, sizeof(text)));
}

void field_print_config(struct sbuf *b, const char *text)
{
    size_t size = strlen(text);

    sbuf_printf(b, "(%zu bytes, crc %08" PRIx32 ")", size, crc32c(0, text, size));
}

void field_print_names(struct sbuf *b, uint32_t n, const field_names names)
{
    for (uint32_t i = 0; i < n && i < SYNC_MAX; i++) {
        sbuf_printf(b, "%s%s", i > 0 ? "," : "", names[i]);
    }
}

bool field_names_equal(uint32_t n, const field_names a, uint32_t m, const field_names b)
{
    if (n != m || n > SYNC_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!str_equal(a[i], b[i])) {
            return false;
        }
    }
    return true;
}
