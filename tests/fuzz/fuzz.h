/*
 * What the fuzz targets share. A target is one file with LLVMFuzzerTestOneInput:
 * it takes any bytes, must not crash nor leak (the sanitizers look), and states
 * by REQUIRE what must hold of whatever was accepted.
 */
#ifndef VECHE_FUZZ_H
#define VECHE_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#define REQUIRE(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Exactly as large as needed: a read beyond it is seen. */
static inline uint8_t *fuzz_copy(const void *data, size_t size)
{
    uint8_t *copy = xmalloc(size + (size == 0));

    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

/* The first byte of the input, which is taken off it; 0 of an empty one. */
static inline uint8_t fuzz_byte(const uint8_t **data, size_t *size)
{
    if (*size == 0) {
        return 0;
    }
    (*size)--;
    return *(*data)++;
}

#endif
