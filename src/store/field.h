/*
 * Field kinds: what the schemas of commands and of the store are made of. For
 * each kind there is a way to check, encode, decode, print and compare a field;
 * COMMANDS (command.h) and STORE_PARTS (schema.h) are rows of them. Internal to
 * store/.
 *
 * The macros are meant for generated functions and rely on their names:
 *
 *   FIELD_CHECK(kind, name)   const c           returns "name" if out of bounds
 *   FIELD_ENCODE(kind, name)  const c, e
 *   FIELD_DECODE(kind, name)  c or NULL, d      returns "name" if out of bounds
 *   FIELD_PRINT(kind, name)   const c, b
 *   FIELD_EQUAL(kind, name)   const x, const y  returns false if they differ
 *
 * Decoding into NULL only checks. That is how a decoder keeps its promise to
 * leave the output untouched on failure without a second copy of 256 KiB.
 */
#ifndef VECHE_STORE_FIELD_H
#define VECHE_STORE_FIELD_H

#include <inttypes.h>

#include "base/codec.h"
#include "base/str.h"
#include "store/types.h"

typedef char field_names[SYNC_MAX][NAME_SIZE];

/* A zero within size; a name also is empty or name_is_valid(). */
bool field_text_is_valid(const char *text, size_t size);
bool field_name_is_valid(const char *name);
bool field_names_are_valid(uint32_t n, const field_names names);

void field_encode_config(struct encoder *e, const char *text);
void field_encode_names(struct encoder *e, uint32_t n, const field_names names);

/* text, ret_n and names may be NULL; on failure d->failed is set. What is
 * behind a text or the last name becomes zero. */
void field_decode_text(struct decoder *d, char *text, size_t size);
void field_decode_name(struct decoder *d, char *name);
void field_decode_config(struct decoder *d, char *text);
void field_decode_names(struct decoder *d, uint32_t *ret_n, field_names names);
uint32_t field_decode_enum(struct decoder *d, uint32_t max);

void field_print_text(struct sbuf *b, const char *text);
void field_print_lsn(struct sbuf *b, lsn_t lsn);
void field_print_config(struct sbuf *b, const char *text);
void field_print_names(struct sbuf *b, uint32_t n, const field_names names);

bool field_names_equal(uint32_t n, const field_names a, uint32_t m, const field_names b);

/* clang-format off */
#define FIELD_CHECK(kind, name)  if (!FIELD_CHECK_##kind(name)) { return #name; }
#define FIELD_ENCODE(kind, name) FIELD_ENCODE_##kind(name);
#define FIELD_DECODE(kind, name) FIELD_DECODE_##kind(name) if (d->failed) { return #name; }
#define FIELD_PRINT(kind, name)  sbuf_add(b, " " #name "="); FIELD_PRINT_##kind(name);
#define FIELD_EQUAL(kind, name)  if (!FIELD_EQUAL_##kind(name)) { return false; }

#define FIELD_CHECK_U64(name)           true
#define FIELD_CHECK_U32(name)           true
#define FIELD_CHECK_U16(name)           true
#define FIELD_CHECK_I64(name)           true
#define FIELD_CHECK_LSN(name)           true
#define FIELD_CHECK_FLAG(name)          true
#define FIELD_CHECK_NAME(name)          field_name_is_valid(c->name)
#define FIELD_CHECK_HOST(name)          field_text_is_valid(c->name, HOST_SIZE)
#define FIELD_CHECK_TEXT(name)          field_text_is_valid(c->name, TEXT_SIZE)
#define FIELD_CHECK_TAGS(name)          field_text_is_valid(c->name, TAGS_SIZE)
#define FIELD_CHECK_CONFIG(name)        field_text_is_valid(c->name, CONFIG_SIZE)
#define FIELD_CHECK_NAMES(name)         field_names_are_valid(c->n_##name, c->name)
#define FIELD_CHECK_ENUM_MODE(name)     ((uint32_t)c->name <= NODE_MODE_MAX)
#define FIELD_CHECK_ENUM_PG_STATE(name) ((uint32_t)c->name <= PG_STATE_MAX)
#define FIELD_CHECK_ENUM_INIT(name)     ((uint32_t)c->name <= INIT_STATE_MAX)
#define FIELD_CHECK_ENUM_REQUEST(name)  ((uint32_t)c->name <= REQUEST_KIND_MAX)

#define FIELD_ENCODE_U64(name)           encode_u64(e, c->name)
#define FIELD_ENCODE_U32(name)           encode_u32(e, c->name)
#define FIELD_ENCODE_U16(name)           encode_u16(e, c->name)
#define FIELD_ENCODE_I64(name)           encode_u64(e, (uint64_t)c->name)
#define FIELD_ENCODE_LSN(name)           encode_u64(e, c->name)
#define FIELD_ENCODE_FLAG(name)          encode_bool(e, c->name)
#define FIELD_ENCODE_NAME(name)          encode_text(e, c->name)
#define FIELD_ENCODE_HOST(name)          encode_text(e, c->name)
#define FIELD_ENCODE_TEXT(name)          encode_text(e, c->name)
#define FIELD_ENCODE_TAGS(name)          encode_text(e, c->name)
#define FIELD_ENCODE_CONFIG(name)        field_encode_config(e, c->name)
#define FIELD_ENCODE_NAMES(name)         field_encode_names(e, c->n_##name, c->name)
#define FIELD_ENCODE_ENUM_MODE(name)     encode_u8(e, (uint8_t)c->name)
#define FIELD_ENCODE_ENUM_PG_STATE(name) encode_u8(e, (uint8_t)c->name)
#define FIELD_ENCODE_ENUM_INIT(name)     encode_u8(e, (uint8_t)c->name)
#define FIELD_ENCODE_ENUM_REQUEST(name)  encode_u8(e, (uint8_t)c->name)

#define FIELD_DECODE_NUMBER(type, name, value) \
    { type decoded = (type)(value); if (c != NULL) { c->name = decoded; } }

#define FIELD_DECODE_U64(name)    FIELD_DECODE_NUMBER(uint64_t, name, decode_u64(d))
#define FIELD_DECODE_U32(name)    FIELD_DECODE_NUMBER(uint32_t, name, decode_u32(d))
#define FIELD_DECODE_U16(name)    FIELD_DECODE_NUMBER(uint16_t, name, decode_u16(d))
#define FIELD_DECODE_I64(name)    FIELD_DECODE_NUMBER(int64_t, name, decode_u64(d))
#define FIELD_DECODE_LSN(name)    FIELD_DECODE_NUMBER(lsn_t, name, decode_u64(d))
#define FIELD_DECODE_FLAG(name)   FIELD_DECODE_NUMBER(bool, name, decode_bool(d))
#define FIELD_DECODE_NAME(name)   field_decode_name(d, c != NULL ? c->name : NULL);
#define FIELD_DECODE_HOST(name)   field_decode_text(d, c != NULL ? c->name : NULL, HOST_SIZE);
#define FIELD_DECODE_TEXT(name)   field_decode_text(d, c != NULL ? c->name : NULL, TEXT_SIZE);
#define FIELD_DECODE_TAGS(name)   field_decode_text(d, c != NULL ? c->name : NULL, TAGS_SIZE);
#define FIELD_DECODE_CONFIG(name) field_decode_config(d, c != NULL ? c->name : NULL);
#define FIELD_DECODE_NAMES(name) \
    field_decode_names(d, c != NULL ? &c->n_##name : NULL, c != NULL ? c->name : NULL);
#define FIELD_DECODE_ENUM_MODE(name) \
    FIELD_DECODE_NUMBER(enum node_mode, name, field_decode_enum(d, NODE_MODE_MAX))
#define FIELD_DECODE_ENUM_PG_STATE(name) \
    FIELD_DECODE_NUMBER(enum pg_state, name, field_decode_enum(d, PG_STATE_MAX))
#define FIELD_DECODE_ENUM_INIT(name) \
    FIELD_DECODE_NUMBER(enum init_state, name, field_decode_enum(d, INIT_STATE_MAX))
#define FIELD_DECODE_ENUM_REQUEST(name) \
    FIELD_DECODE_NUMBER(enum request_kind, name, field_decode_enum(d, REQUEST_KIND_MAX))

#define FIELD_PRINT_U64(name)           sbuf_printf(b, "%" PRIu64, c->name)
#define FIELD_PRINT_U32(name)           sbuf_printf(b, "%" PRIu32, c->name)
#define FIELD_PRINT_U16(name)           sbuf_printf(b, "%u", (unsigned)c->name)
#define FIELD_PRINT_I64(name)           sbuf_printf(b, "%" PRId64, c->name)
#define FIELD_PRINT_LSN(name)           field_print_lsn(b, c->name)
#define FIELD_PRINT_FLAG(name)          sbuf_add(b, c->name ? "yes" : "no")
#define FIELD_PRINT_NAME(name)          sbuf_add(b, c->name)
#define FIELD_PRINT_HOST(name)          field_print_text(b, c->name)
#define FIELD_PRINT_TEXT(name)          field_print_text(b, c->name)
#define FIELD_PRINT_TAGS(name)          field_print_text(b, c->name)
#define FIELD_PRINT_CONFIG(name)        field_print_config(b, c->name)
#define FIELD_PRINT_NAMES(name)         field_print_names(b, c->n_##name, c->name)
#define FIELD_PRINT_ENUM_MODE(name)     sbuf_add(b, node_mode_name(c->name))
#define FIELD_PRINT_ENUM_PG_STATE(name) field_print_text(b, pg_state_name(c->name))
#define FIELD_PRINT_ENUM_INIT(name)     sbuf_add(b, init_state_name(c->name))
#define FIELD_PRINT_ENUM_REQUEST(name)  sbuf_add(b, request_kind_name(c->name))

#define FIELD_EQUAL_U64(name)           (x->name == y->name)
#define FIELD_EQUAL_U32(name)           (x->name == y->name)
#define FIELD_EQUAL_U16(name)           (x->name == y->name)
#define FIELD_EQUAL_I64(name)           (x->name == y->name)
#define FIELD_EQUAL_LSN(name)           (x->name == y->name)
#define FIELD_EQUAL_FLAG(name)          (x->name == y->name)
#define FIELD_EQUAL_NAME(name)          str_equal(x->name, y->name)
#define FIELD_EQUAL_HOST(name)          str_equal(x->name, y->name)
#define FIELD_EQUAL_TEXT(name)          str_equal(x->name, y->name)
#define FIELD_EQUAL_TAGS(name)          str_equal(x->name, y->name)
#define FIELD_EQUAL_CONFIG(name)        str_equal(x->name, y->name)
#define FIELD_EQUAL_NAMES(name) \
    field_names_equal(x->n_##name, x->name, y->n_##name, y->name)
#define FIELD_EQUAL_ENUM_MODE(name)     (x->name == y->name)
#define FIELD_EQUAL_ENUM_PG_STATE(name) (x->name == y->name)
#define FIELD_EQUAL_ENUM_INIT(name)     (x->name == y->name)
#define FIELD_EQUAL_ENUM_REQUEST(name)  (x->name == y->name)

/* Bytes a field takes when encoded, at most; for static assertions. */
#define FIELD_SIZE(kind, name)     + FIELD_SIZE_##kind
#define FIELD_SIZE_U64             8
#define FIELD_SIZE_U32             4
#define FIELD_SIZE_U16             2
#define FIELD_SIZE_I64             8
#define FIELD_SIZE_LSN             8
#define FIELD_SIZE_FLAG            1
#define FIELD_SIZE_NAME            (2 + NAME_SIZE)
#define FIELD_SIZE_HOST            (2 + HOST_SIZE)
#define FIELD_SIZE_TEXT            (2 + TEXT_SIZE)
#define FIELD_SIZE_TAGS            (2 + TAGS_SIZE)
#define FIELD_SIZE_CONFIG          (4 + CONFIG_SIZE)
#define FIELD_SIZE_NAMES           (1 + SYNC_MAX * FIELD_SIZE_NAME)
#define FIELD_SIZE_ENUM_MODE       1
#define FIELD_SIZE_ENUM_PG_STATE   1
#define FIELD_SIZE_ENUM_INIT       1
#define FIELD_SIZE_ENUM_REQUEST    1
/* clang-format on */

#endif
