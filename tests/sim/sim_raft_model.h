/*
 * Between the two files of the log's model: sim_log.c (commands, applying) and
 * sim_raft_model.c (terms, votes, replication).
 */
#ifndef SIM_RAFT_MODEL_H
#define SIM_RAFT_MODEL_H

#include "sim_log.h"

#define MODEL_COMMANDS_MAX 32768
#define MODEL_ENTRIES_MAX  16384

enum model_role {
    MODEL_DOWN,
    MODEL_FOLLOWER,
    MODEL_CANDIDATE,
    MODEL_LEADER,
};

struct model_command {
    struct sim_proposal proposal;  /* Bytes are owned. */
    struct lease_voter_set voters; /* n > 0: these vote from this entry on. */
};

struct model_entry {
    uint64_t term;
    uint32_t command; /* In sim_log.commands. */
};

struct model_node {
    /* On disk. */
    uint64_t term;
    int voted_for;
    uint32_t durable; /* Entries 1..durable are flushed. */
    uint32_t n;
    struct model_entry entries[MODEL_ENTRIES_MAX];
    bool knows_first; /* The first voters: not before the first entry, where the disk was lost. */
    uint8_t *snapshot;
    size_t snapshot_size;
    uint32_t snapshot_index;

    /* In memory. */
    enum model_role role;
    int leader;
    uint32_t commit, applied;
    uint32_t verified;             /* Our log is the leader's up to here. */
    uint32_t leader_commit;        /* As the leader says, and our log agrees with it so far. */
    struct store fsm;              /* The copy of the consensus thread. */
    struct lease_voter_set voters; /* Of the newest entry that says so. */
    bool is_pre_vote;
    uint32_t votes; /* Bit per node. */
    uint64_t election_at_us;
    uint64_t contact_us[SIM_NODES_MAX];
    uint32_t next[SIM_NODES_MAX], match[SIM_NODES_MAX];
    uint64_t heard_leader_us;
};

struct sim_log {
    struct model_node nodes[SIM_NODES_MAX];
    uint32_t n_commands;
    struct model_command commands[MODEL_COMMANDS_MAX];
    struct command decoded;
    uint8_t *scratch;
};

/* sim_log.c */
void model_apply(struct sim *s, struct sim_node *n);
void model_forget_proposals(struct sim *s, struct sim_node *n);

/* sim_raft_model.c */
void model_start(struct sim *s, struct sim_node *n);
/* Who votes by the entries up to that one. */
void model_voters_at(const struct sim *s, const struct sim_node *n, uint32_t last,
                     struct lease_voter_set *ret_set);
void model_change_voters(struct sim *s, struct sim_node *n, node_id remove, node_id add);
void model_append_own(struct sim *s, struct sim_node *n, uint32_t command);
void model_transfer(struct sim *s, struct sim_node *from, int to);

#endif
