/*
 * The promises of docs/INVARIANTS.md, checked against what really happened. No
 * checker asks core/, store/ or lease what is right; they look at rows,
 * positions, deadlines and committed commands.
 */
#ifndef SIM_CHECKS_H
#define SIM_CHECKS_H

#include "sim.h"
#include "sim_node.h"

struct sim_checks *checks_new(void);
void checks_free(struct sim_checks *c);
bool checks_failed(const struct sim_checks *c);
/* The first one counts. */
void checks_fail(struct sim *s, const struct sim_node *n, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* "S1: ..." of the last seed that failed; empty = none. */
const char *checks_last_failure(void);

/* S1 (check_s1.c). */
struct sim_ack {
    uint64_t epoch;   /* Under which the server is primary. */
    uint64_t sent_us; /* When the client sent the row. */
};
void check_s1_ack(struct sim *s, const struct sim_node *n, const struct sim_ack *ack);
void check_s1_armed(struct sim *s, const struct sim_node *n);  /* Its guard took a deadline. */
void check_s1_frozen(struct sim *s, const struct sim_node *n); /* All is stopped. */
void check_s1_boot(struct sim *s, const struct sim_node *n);
void check_s1_lease(struct sim *s, const struct sim_node *n); /* Its deadline has moved. */

/* S2 (check_s2.c): a row was acknowledged; a server begins to take writes. */
void check_s2_ack(struct sim *s, struct sim_node *n, struct wal_pos pos);
void check_s2_writable(struct sim *s, const struct sim_node *n, struct wal_pos at);

struct sim_applied;
void check_s2_applied(struct sim *s, const struct sim_node *n, const struct sim_applied *a);

/* S3, and that all logs are one (check_s3.c). */
struct sim_applied {
    uint64_t index;
    const struct command *command; /* As it was proposed. */
    enum apply_result result;
    uint64_t epoch_before;
};
void check_s3_applied(struct sim *s, const struct sim_node *n, const struct sim_applied *a);
void check_s3_store(struct sim *s, const struct sim_node *n);
void check_s3_stores_equal(struct sim *s);

bool check_is_ordered(const struct store *store); /* By an operator: the present epoch. */
/* S4 (check_s4.c): the server is about to be promoted. */
void check_s4_promotion(struct sim *s, const struct sim_node *n);
/* A server began to take writes, going on from that position. */
void check_s4_writable(struct sim *s, const struct sim_node *n, struct wal_pos at);
/* A standby was accepted by its upstream. */
void check_wal_stream(struct sim *s, const struct sim_node *n, const struct sim_node *upstream);

/* S6 (check_s6.c): it votes, or acknowledges entries; these are to vote. */
void check_s6_voice(struct sim *s, const struct sim_node *n);
void check_s6_voters(struct sim *s, const struct sim_node *n, const struct lease_voter_set *set);

/* S5 (check_s4.c): a server is about to be started. */
void check_s5_start(struct sim *s, const struct sim_node *n);

/* L2 (check_l2.c): is nothing wrong anywhere, and is there a settled primary? Then for
 * some time its sessions must not end, whatever `what` does. */
bool check_l2_is_calm(const struct sim *s);
struct sim_node *check_l2_primary(struct sim *s);
void check_l2_expect(struct sim *s, const struct sim_node *n, uint64_t for_us, const char *what);
bool check_l2_is_expected(const struct sim *s);
void check_l2_look(struct sim *s);

/* L1 (check_l1.c). True when all is well, or the time is over (then it failed). */
bool checks_liveness_is_over(struct sim *s);
bool checks_wants_faults(const struct sim *s); /* It had too few. */
void checks_count_faults(struct sim *s);

struct sim_epoch {               /* What is known of one epoch. */
    uint64_t owner_id, instance; /* 0 = not seen yet. */
    uint64_t first_ack_us;       /* 0 = no row was acknowledged under it. */
    int first_ack_node;
};

#define CHECK_EPOCHS_MAX  4096
#define CHECK_ENTRIES_MAX 16384

struct sim_l2 {
    int node;
    uint64_t until_us; /* 0 = nothing is expected. */
    uint32_t sessions;
    uint64_t freezes;
    const char *what;
};

struct sim_checks {
    bool failed;
    struct sim_l2 l2;
    struct clock_pair deadlines[SIM_NODES_MAX]; /* The last that each guard took. */
    struct sim_epoch epochs[CHECK_EPOCHS_MAX];
    uint64_t epoch_max;
    uint64_t unfenced_epoch; /* Marked so in the log now; 0 = none is. */
    uint64_t entries[CHECK_ENTRIES_MAX]; /* Hash of the command committed at that index. */
    struct wal_pos main;                 /* Where the last server that took writes is. */
    struct wal_pos acked;                /* The last row that S2 promises; branch 0 = none. */
    int main_node;                       /* SIM_NOBODY = none yet. */
    uint64_t well_since_us;              /* L1 holds since then. */
};

#endif
