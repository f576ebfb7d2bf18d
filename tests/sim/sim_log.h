/*
 * The replicated log as a node sees it through consensus/: committed commands
 * in order, leadership, proposals whose outcome may stay unknown. Two kinds:
 * a model of Raft over the simulated network (sim_log.c), and libraft itself
 * in its own fixture (sim_raft.c).
 */
#ifndef SIM_LOG_H
#define SIM_LOG_H

#include "sim.h"
#include "store/apply.h"

enum sim_outcome {
    OUTCOME_DONE,
    OUTCOME_NOT_LEADER,
    OUTCOME_UNKNOWN,
};

struct sim_leadership {
    bool is_leader;
    int leader; /* SIM_NOBODY = none known. */
    uint64_t term;
    struct lease_voter_set voters;    /* Newest, as in struct consensus_leadership. */
    struct lease_voter_set committed; /* n = 0: none known yet. */
    uint64_t level_index;             /* As in struct consensus_leadership. */
};

/* A command on its way into the log. Bytes NULL: a barrier. */
struct sim_proposal {
    const uint8_t *bytes;
    size_t size;
    int from;       /* Who wants to know; the proposal is made on the leader's node. */
    uint64_t token; /* Its own, to tell answers apart. */
};

struct sim_log_kind {
    struct sim_log *(*create)(struct sim *s);
    void (*destroy)(struct sim_log *log);
    /* The node's process starts: reads what is on disk, hands the newest snapshot
     * and then everything committed to sim_node_on_*. */
    void (*start)(struct sim *s, struct sim_node *n);
    /* It is gone, at once. */
    void (*stop)(struct sim *s, struct sim_node *n);
    /* On the leader only, else answers OUTCOME_NOT_LEADER. */
    void (*propose)(struct sim *s, struct sim_node *leader, const struct sim_proposal *p);
    void (*leadership)(const struct sim *s, const struct sim_node *n, struct sim_leadership *l);
    void (*transfer)(struct sim *s, struct sim_node *from, int to);
    /* On the leader: one of the two is 0. */
    void (*change_voters)(struct sim *s, struct sim_node *leader, node_id remove, node_id add);
    /* Its process is gone, and so is what it had on disk. NULL: can not happen. */
    void (*lose)(struct sim *s, struct sim_node *n);
    /* Its disk does not answer until then. */
    void (*stall)(struct sim *s, struct sim_node *n, uint64_t until_us);
    /* Links have changed. */
    void (*relink)(struct sim *s);
};

extern const struct sim_log_kind sim_log_model;
extern const struct sim_log_kind sim_log_fixture;

#endif
