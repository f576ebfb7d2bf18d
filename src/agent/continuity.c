/*
 * Before Raft takes part again after a reboot. In the same boot the runtime directory
 * knows what this node has told (consensus/vote_file.h), once Raft has run; after one
 * only the others do,
 * so they are asked, in the status, and answer in theirs (core/continuity.h). Nothing
 * else waits: PostgreSQL, lease promises and REST go their way.
 */
#include "core/continuity.h"

#include "agent/agent_state.h"
#include "base/log.h"

#define PATH_SIZE   1024
#define WAIT_MIN_MS 2000 /* For connections and a few statuses each way. */

/* Its copy of what was told is compared with the rest when Raft starts. */
static bool boot_remembers(const struct agent *a)
{
    struct consensus_told unused;

    return a->runtime.same_boot &&
           consensus_read_told(a->conf->runtime_dir, a->identity.id, &unused) == 0;
}

void agent_raft_begin(struct agent *a)
{
    char directory[PATH_SIZE];

    (void)snprintf(directory, sizeof(directory), "%s/raft", a->conf->raft_data_dir);
    if (a->identity.phase != IDENTITY_MEMBER || boot_remembers(a) ||
        consensus_read_told(directory, a->identity.id, &a->raft_told) != 0 ||
        a->raft_told.last_index == 0) {
        agent_raft_start(a);
        return;
    }
    a->raft_waits = true;
    a->raft_asks_since_ms = clock_ms();
    log_info("After a reboot the others are asked whether this Raft state is the last one. "
             "term=%llu log_end=%llu",
             (unsigned long long)a->raft_told.term, (unsigned long long)a->raft_told.last_index);
}

static enum continuity judge(const struct agent *a, uint64_t now_ms)
{
    uint64_t ttl_max_ms = lease_voter_ttl_max_ns(&a->voter) / NS_PER_MS;
    struct continuity_question q = {
        .self = a->identity.id,
        .peers = a->peers,
        .n_peers = a->n_peers,
        .n_partners = (uint32_t)a->conf->n_raft_partners,
        .since_ms = a->raft_asks_since_ms,
        .now_ms = now_ms,
        .status_period_ms = agent_status_period_ms(a),
        .wait_ms = MAX(WAIT_MIN_MS, ttl_max_ms), /* Promises are in quarantine for as long. */
    };

    return continuity_judge(&q);
}

void agent_raft_await(struct agent *a, uint64_t now_ms)
{
    enum continuity verdict = judge(a, now_ms);

    if (verdict == CONTINUITY_WAIT) {
        agent_tick_within(a, agent_status_period_ms(a));
        return;
    }
    a->raft_waits = false;
    switch (verdict) {
    case CONTINUITY_LOST:
        agent_raft_note_loss(a, "another member knows of more than there is: the Raft directory "
                                "is of the past, as from a backup or snapshot");
        return;
    case CONTINUITY_UNCONFIRMED:
        log_warning(
            "Not all members that may know more of this node's Raft state were heard; going "
            "on with it. If it was restored from a backup, stop this agent and remove "
            "raft.data_dir. waited_ms=%llu",
            (unsigned long long)(now_ms - a->raft_asks_since_ms));
        break;
    case CONTINUITY_CONFIRMED:
    case CONTINUITY_WAIT:
        break;
    }
    agent_raft_start(a);
}
