/*
 * Bounded encoding and decoding, see codec.h.
 */
#include "base/codec.h"

void encoder_init(struct encoder *e, void *data, size_t size)
{
    *e = (struct encoder){.data = data, .size = size};
}

void encode_bytes(struct encoder *e, const void *data, size_t size)
{
    if (e->failed || size > e->size - e->used) {
        e->failed = true;
        return;
    }
    if (size > 0) {
        memcpy(e->data + e->used, data, size);
    }
    e->used += size;
}

static void encode_number(struct encoder *e, uint64_t value, size_t size)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    encode_bytes(e, bytes, size);
}

void encode_u8(struct encoder *e, uint8_t value)
{
    encode_number(e, value, 1);
}

void encode_u16(struct encoder *e, uint16_t value)
{
    encode_number(e, value, 2);
}

void encode_u32(struct encoder *e, uint32_t value)
{
    encode_number(e, value, 4);
}

void encode_u64(struct encoder *e, uint64_t value)
{
    encode_number(e, value, 8);
}

void encode_bool(struct encoder *e, bool value)
{
    encode_number(e, value ? 1 : 0, 1);
}

void encode_text(struct encoder *e, const char *text)
{
    size_t length = strlen(text);

    if (length > UINT16_MAX) {
        e->failed = true;
        return;
    }
    encode_u16(e, (uint16_t)length);
    encode_bytes(e, text, length);
}

void decoder_init(struct decoder *d, const void *data, size_t size)
{
    *d = (struct decoder){.data = data, .size = size};
}

const uint8_t *decode_bytes(struct decoder *d, size_t size)
{
    const uint8_t *bytes;

    if (d->failed || size > d->size - d->used) {
        d->failed = true;
        return NULL;
    }
    bytes = d->data + d->used;
    d->used += size;
    return bytes;
}

static uint64_t decode_number(struct decoder *d, size_t size)
{
    const uint8_t *bytes = decode_bytes(d, size);
    uint64_t value = 0;

    if (bytes == NULL) {
        return 0;
    }
    for (size_t i = 0; i < size; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

uint8_t decode_u8(struct decoder *d)
{
    return (uint8_t)decode_number(d, 1);
}

uint16_t decode_u16(struct decoder *d)
{
    return (uint16_t)decode_number(d, 2);
}

uint32_t decode_u32(struct decoder *d)
{
    return (uint32_t)decode_number(d, 4);
}

uint64_t decode_u64(struct decoder *d)
{
    return decode_number(d, 8);
}

bool decode_bool(struct decoder *d)
{
    uint8_t value = decode_u8(d);

    if (value > 1) {
        d->failed = true;
    }
    return value == 1;
}

void decode_text(struct decoder *d, char *text, size_t size)
{
    size_t length = decode_u16(d);
    const uint8_t *bytes;

    PRE(size > 0);
    text[0] = '\0';
    bytes = length < size ? decode_bytes(d, length) : NULL;
    if (bytes == NULL || memchr(bytes, 0, length) != NULL) {
        d->failed = true;
        return;
    }
    memcpy(text, bytes, length);
    text[length] = '\0';
}

bool decoder_is_done(const struct decoder *d)
{
    return !d->failed && d->used == d->size;
}
