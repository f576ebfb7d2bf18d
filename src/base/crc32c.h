/*
 * CRC-32C (Castagnoli; RFC 3720 appendix B.4), the check sum of everything we
 * keep on disk. crc32c(0, "123456789", 9) is 0xE3069283.
 */
#ifndef VECHE_BASE_CRC32C_H
#define VECHE_BASE_CRC32C_H

#include "base/base.h"

/* Continues from `crc`, which is 0 at the start. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

#endif
