/*
 * What an agent sends, judged: bytes become messages only if each of them is in order.
 * Pure. The structs are read from memory that is aligned for them.
 */
#ifndef VECHE_GUARD_GUARD_PACKET_H
#define VECHE_GUARD_GUARD_PACKET_H

#include "guard/guard_protocol.h"

#define GUARD_ARGS_MAX 1024
#define GUARD_ENV_MAX  1024

union guard_packet {
    struct guard_header header;
    struct guard_hello hello;
    struct guard_arm_message arm;
    struct guard_close close;
    struct guard_start start;
    struct guard_adopt adopt;
    struct guard_kill kill;
    struct guard_watch watch;
    char bytes[GUARD_PACKET_MAX + 1];
};

/* The texts of a start, as exec wants them: pointers into the packet. */
struct guard_texts {
    const char *path;
    char *argv[GUARD_ARGS_MAX + 1];
    char *env[GUARD_ENV_MAX + 1];
};

/* NULL if it may be used, else what is wrong with it. */
const char *guard_packet_fault(const union guard_packet *packet, size_t size);
/* Only the version is not ours: the sender may be told which one is. */
bool guard_packet_is_of_other_version(const union guard_packet *packet, size_t size);

/* Of a start that has no fault. */
void guard_packet_texts(union guard_packet *packet, struct guard_texts *ret);

#endif
