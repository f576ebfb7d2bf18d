/*
 * What the payload of a frame means. Encoders fill the caller's buffer of
 * MESSAGE_SIZE and return the number of bytes; decoders take hostile bytes,
 * check every bound and enumeration, want the payload used up to its last
 * byte, and touch *ret on success only.
 */
#ifndef VECHE_PEER_PEER_MESSAGE_H
#define VECHE_PEER_PEER_MESSAGE_H

#include "peer/peer.h"
#include "peer/peer_cause.h"

#define MESSAGE_SIZE 4096 /* Enough for every message but a proposal. */

/* A proposal on its way; `bytes` inside the frame. */
struct proposal {
    uint64_t request;     /* Of the sender, for the result. */
    node_id leader;       /* For whom it is. */
    uint8_t n_hops;       /* 0: may be relayed once. 1: was. */
    bool is_barrier;      /* No command. */
    const uint8_t *bytes; /* The command; NULL for a barrier. */
    size_t size;
};
#define PROPOSAL_HEAD_SIZE 18
#define PROPOSAL_HOPS_MAX  1

struct proposal_result {
    uint64_t request;
    bool answered; /* False: nobody could take it, nothing happened. */
    struct peer_result result;
};

struct action_message {
    uint64_t request; /* Of the sender, for the outcome. */
    enum peer_action action;
};

struct outcome_message {
    uint64_t request;
    enum peer_outcome outcome;
    char text[PEER_OUTCOME_TEXT];
};

struct refusal_message {
    enum peer_cause cause;
    char why[TEXT_SIZE];
};

size_t message_encode_hello(const struct hello *hello, uint8_t *buffer);
size_t message_encode_status(const struct status *status, uint8_t *buffer);
size_t message_encode_renew(const struct lease_renew *renew, uint8_t *buffer);
size_t message_encode_grant(const struct lease_grant *grant, uint8_t *buffer);
size_t message_encode_positions(const struct positions *positions, uint8_t *buffer);
size_t message_encode_result(const struct proposal_result *result, uint8_t *buffer);
size_t message_encode_action(const struct action_message *action, uint8_t *buffer);
size_t message_encode_outcome(const struct outcome_message *outcome, uint8_t *buffer);
size_t message_encode_refusal(const struct refusal_message *refusal, uint8_t *buffer);
size_t message_encode_number(uint64_t number, uint8_t *buffer); /* Ping, pong, ask_positions. */
/* buffer: PROPOSAL_HEAD_SIZE + size bytes. */
size_t message_encode_proposal(const struct proposal *proposal, uint8_t *buffer);

MUST_USE bool message_decode_hello(const void *bytes, size_t size, struct hello *ret);
MUST_USE bool message_decode_status(const void *bytes, size_t size, struct status *ret);
MUST_USE bool message_decode_renew(const void *bytes, size_t size, struct lease_renew *ret);
MUST_USE bool message_decode_grant(const void *bytes, size_t size, struct lease_grant *ret);
MUST_USE bool message_decode_positions(const void *bytes, size_t size, struct positions *ret);
MUST_USE bool message_decode_result(const void *bytes, size_t size, struct proposal_result *ret);
MUST_USE bool message_decode_action(const void *bytes, size_t size, struct action_message *ret);
MUST_USE bool message_decode_outcome(const void *bytes, size_t size, struct outcome_message *ret);
MUST_USE bool message_decode_refusal(const void *bytes, size_t size, struct refusal_message *ret);
MUST_USE bool message_decode_number(const void *bytes, size_t size, uint64_t *ret);
MUST_USE bool message_decode_proposal(const void *bytes, size_t size, struct proposal *ret);

#endif
