/*
 * Bytes in and out, little endian, bounded. Used for everything that crosses
 * a disk or a wire. An encoder or decoder that once failed stays failed and
 * does nothing more, so that a caller checks once, at the end.
 *
 * A string is a u16 length and that many bytes, without a zero; a decoder
 * refuses a string with a zero byte inside or too long for its target.
 */
#ifndef VECHE_BASE_CODEC_H
#define VECHE_BASE_CODEC_H

#include "base/base.h"

struct encoder {
    uint8_t *data; /* The caller's memory. */
    size_t size;   /* Bytes at data. */
    size_t used;   /* Bytes written. */
    bool failed;   /* Something did not fit. */
};

void encoder_init(struct encoder *e, void *data, size_t size);
void encode_bytes(struct encoder *e, const void *data, size_t size);
void encode_u8(struct encoder *e, uint8_t value);
void encode_u16(struct encoder *e, uint16_t value);
void encode_u32(struct encoder *e, uint32_t value);
void encode_u64(struct encoder *e, uint64_t value);
void encode_bool(struct encoder *e, bool value);
void encode_text(struct encoder *e, const char *text);

struct decoder {
    const uint8_t *data; /* The caller's memory. */
    size_t size;         /* Bytes at data. */
    size_t used;         /* Bytes read. */
    bool failed;         /* Too short, or a value out of its bounds. */
};

void decoder_init(struct decoder *d, const void *data, size_t size);
/* Returns `size` bytes inside the caller's memory, or NULL and failed. */
const uint8_t *decode_bytes(struct decoder *d, size_t size);
/* On failure the number functions return 0 / false. */
uint8_t decode_u8(struct decoder *d);
uint16_t decode_u16(struct decoder *d);
uint32_t decode_u32(struct decoder *d);
uint64_t decode_u64(struct decoder *d);
bool decode_bool(struct decoder *d); /* Any byte but 0 and 1 fails. */
/* Always terminates text; empty on failure. */
void decode_text(struct decoder *d, char *text, size_t size);
/* Nothing failed and nothing is left. */
bool decoder_is_done(const struct decoder *d);

#endif
