/*
 * The preface: what both sides say first, and the judgement on it. Pure.
 */
#ifndef VECHE_PEER_PEER_PREFACE_H
#define VECHE_PEER_PEER_PREFACE_H

#include "base/err.h"
#include "peer/peer_cause.h"

#define PREFACE_SIZE 1024

enum link_kind {
    LINK_PEER, /* Frames of ours. */
    LINK_RAFT, /* libraft's stream. */
};

struct preface {
    uint64_t cluster_id; /* 0 = none yet. */
    char scope[NAME_SIZE];
    node_id id;
    uint64_t instance; /* Of the node's boot. */
    uint64_t process;  /* Random, of the process: tells ourselves from a twin, and a restart. */
    enum link_kind kind;
    char name[NAME_SIZE];
    char address[HOST_SIZE]; /* Where others reach it. */
};

size_t preface_encode(const struct preface *preface, uint8_t buffer[PREFACE_SIZE]);

/* Judges theirs against ours. CAUSE_NONE: accepted, *ret is set. Otherwise the
 * cause, with a sentence for both sides. *ret_is_self: we reached ourselves. */
enum peer_cause preface_judge(const struct preface *ours, const void *bytes, size_t size,
                              struct preface *ret, bool *ret_is_self, struct err *err);

/* No common cluster: only hello may pass. */
bool preface_is_hello_only(const struct preface *ours, const struct preface *theirs);

#endif
