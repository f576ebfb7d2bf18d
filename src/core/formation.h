/*
 * How the first cluster comes to be without anybody being told to be the first
 * (design.md section 7). Pure: fed with what the configured addresses answer,
 * says what to do next. A node without state asks every configured address;
 * the cluster forms only when *every* one answers "no state" with the same
 * list of addresses; the node with the lowest address proposes the cluster id,
 * a hash of all members' random ids (the same again after a restart of the
 * proposer, another one for other members); all write {cluster id, members}
 * (phase one), and only when all have said so, each bootstraps Raft (phase two).
 */
#ifndef VECHE_CORE_FORMATION_H
#define VECHE_CORE_FORMATION_H

#include "store/types.h"

#define ADDRESSES_MAX VOTERS_MAX

enum hello_state {
    HELLO_NONE,     /* No state. */
    HELLO_PREPARED, /* Phase one done: cluster id and members written. */
    HELLO_MEMBER,   /* Belongs to a cluster that runs, or ran. */
};

/* The answer to "who are you": told over every new peer connection and again
 * when it changes. */
struct hello {
    node_id id;
    char name[NAME_SIZE];
    char address[HOST_SIZE];        /* Its raft.self_addr. */
    enum node_mode mode;
    enum hello_state state;
    uint64_t cluster_id;            /* 0 with HELLO_NONE; the one offered or written otherwise. */
    uint64_t proposed_cluster_id;   /* By the node with the lowest address; 0 else. */
    uint64_t addresses_hash;        /* Of the sorted list of configured addresses, own included. */
    enum data_state data;
    bool is_running_primary;
    uint64_t sysid;
    uint32_t timeline;
    lsn_t position;
    uint8_t n_members;              /* With PREPARED: who was written, sorted. */
    node_id members[VOTERS_MAX];
};

enum formation_step {
    FORMATION_WAIT,      /* Ask on; `reason` says for whom or what. */
    FORMATION_PREPARE,   /* Write identity phase one with cluster_id and members, then tell. */
    FORMATION_BOOTSTRAP, /* All have phase one: bootstrap Raft, then identity MEMBER. */
    FORMATION_JOIN,      /* A cluster runs already: come in, under an id that has never voted. */
    FORMATION_REFUSE,    /* Configuration or state contradicts; `reason` says what to do. */
};

struct formation_input {
    struct hello self;
    uint8_t n_addresses;                       /* Configured, own included. */
    char addresses[ADDRESSES_MAX][HOST_SIZE];  /* Sorted. */
    bool answered[ADDRESSES_MAX];              /* Own: true. */
    struct hello answers[ADDRESSES_MAX];
};

struct formation_output {
    enum formation_step step;
    uint64_t cluster_id;            /* For PREPARE and BOOTSTRAP. */
    uint64_t proposed_cluster_id;   /* To tell in our hello from now on. */
    uint8_t n_members;
    node_id members[VOTERS_MAX];    /* Sorted. */
    char reason[TEXT_SIZE];
};

/* An answer must be what that address says now: forget it (answered = false) when
 * the connection to it is lost. */
void formation_decide(const struct formation_input *input, struct formation_output *output);

/* FNV-1a over the sorted addresses, each with its final zero. */
uint64_t formation_hash(char addresses[][HOST_SIZE], size_t n);

#endif
