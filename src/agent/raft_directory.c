/*
 * The Raft directory between the agent and consensus/: it is opened beside the
 * loop, however long its disk takes, and when that fails the agent goes on
 * without its Raft vote and tries again (design.md section 5, Continue). The
 * promise file is not on that disk: lease promises go on, and so does a lease
 * (agent/lease_hooks.c).
 */
#include <errno.h>
#include <sys/stat.h>

#include "agent/agent_state.h"
#include "base/log.h"
#include "base/str.h"

#define PATH_SIZE   1024
#define AGAIN_MS    3000
#define SLOW_MS     2000 /* Opening takes longer than that: worth a word. */
#define NO_VOTE_TAIL "; this node goes on without its Raft vote"

struct raft_dial { /* libraft waits for a connection. */
    struct agent *agent;
    uint64_t request;
};

static void on_connected(void *data, int fd)
{
    struct raft_dial *dial = data;

    if (dial->agent->consensus != NULL) {
        consensus_connected(dial->agent->consensus, dial->request, fd);
    } else if (fd >= 0) {
        (void)close(fd); /* Nobody wants it any more. */
    }
    free(dial);
}

static void on_connect(void *data, uint64_t request, node_id to)
{
    struct agent *a = data;
    struct raft_dial *dial = xmalloc(sizeof(*dial));

    *dial = (struct raft_dial){a, request};
    peer_connect_raft(a->peer, to, on_connected, dial);
}

static void set_text(char *text, const char *what, const char *tail)
{
    struct sbuf b;

    sbuf_init(&b, text, TEXT_SIZE);
    sbuf_printf(&b, "%.180s%s", what, tail);
}

static void on_disk_trouble(void *data, bool trouble, const char *what)
{
    struct agent *a = data;

    a->raft_trouble[0] = '\0';
    if (trouble) {
        set_text(a->raft_trouble, what, NO_VOTE_TAIL);
        log_error("The Raft directory can not be written; this node goes on without its Raft vote "
                  "and keeps trying. what=\"%s\"",
                  what);
    } else {
        log_info("The Raft directory can be written again.");
    }
    agent_mark_dirty(a);
}

static void after_bootstrap(struct agent *a, enum consensus_opened result, const char *problem)
{
    if (result != CONSENSUS_OPENED) {
        log_error("Raft can not be bootstrapped, retrying in %d ms. error=\"%s\"", AGAIN_MS,
                  problem);
        a->raft_again_ms = clock_ms() + AGAIN_MS;
        return;
    }
    a->identity.phase = IDENTITY_MEMBER;
    identity_saver_save(a->saver, &a->identity); /* Raft starts when it is on disk. */
}

/* Nothing is touched before it is known that there is a cluster to come into. */
void agent_raft_note_loss(struct agent *a, const char *problem)
{
    a->raft_is_lost = true;
    set_text(a->raft_problem, problem,
             "; this id never votes again, the node comes in under a new one when a cluster runs");
    log_error("The Raft state of this node is lost: it never votes again under its id. It comes in "
              "under a new one as soon as a cluster with a leader is heard; without one nothing is "
              "touched: restore the directory, or start the members that have theirs. "
              "directory=%s/raft id=%llx error=\"%s\"",
              a->conf->raft_data_dir, (unsigned long long)a->identity.id, problem);
}

static void after_start(struct agent *a, enum consensus_opened result, const char *problem)
{
    if (result == CONSENSUS_LOST || result == CONSENSUS_DAMAGED) {
        agent_raft_note_loss(a, problem);
        return;
    }
    if (result != CONSENSUS_OPENED) {
        if (a->raft_problem[0] == '\0') {
            log_error("Raft can not be started; this node goes on without its Raft vote and tries "
                      "again every %d ms. error=\"%s\"",
                      AGAIN_MS, problem);
        }
        set_text(a->raft_problem, problem, NO_VOTE_TAIL);
        a->raft_again_ms = clock_ms() + AGAIN_MS;
        return;
    }
    a->raft_is_open = true;
    if (a->raft_problem[0] != '\0') {
        a->raft_problem[0] = '\0';
        log_info("Raft runs again.");
    }
    if (a->identity.phase == IDENTITY_JOINING) {
        a->identity.phase = IDENTITY_MEMBER; /* From here on an empty directory is a loss. */
        identity_saver_save(a->saver, &a->identity);
    }
    peer_set_cluster_id(a->peer, a->identity.cluster_id);
    agent_update_hello(a);
}

static void on_opened(void *data, enum consensus_opened result, const char *problem)
{
    struct agent *a = data;

    a->raft_opening = false;
    if (a->raft_bootstraps) {
        after_bootstrap(a, result, problem);
    } else {
        after_start(a, result, problem);
    }
    agent_mark_dirty(a);
}

static void make_consensus(struct agent *a)
{
    uint64_t ttl_ms = a->dynamic.ttl_ms;
    char directory[PATH_SIZE];
    struct consensus_options options = {
        .loop = &a->loop,
        .directory = directory,
        .copy_directory = a->conf->runtime_dir,
        .id = a->identity.id,
        .lowest_term = a->durable.highest_term,
        .may_be_empty = a->identity.phase == IDENTITY_JOINING,
        .election_timeout_ms = MAX(300, MIN(1000, ttl_ms / 3)),
        .hooks = {.data = a,
                  .on_opened = on_opened,
                  .on_commit = agent_on_commit,
                  .on_restore = agent_on_restore,
                  .on_leadership = agent_on_leadership,
                  .on_connect = on_connect,
                  .on_disk_trouble = on_disk_trouble},
    };

    (void)snprintf(directory, sizeof(directory), "%s/raft", a->conf->raft_data_dir);
    a->consensus = consensus_new(&options);
}

static void begin(struct agent *a, bool bootstraps)
{
    PRE(!a->raft_opening);
    if (a->consensus == NULL) {
        make_consensus(a);
    }
    a->raft_opening = true;
    a->raft_bootstraps = bootstraps;
    a->raft_since_ms = clock_ms();
    a->raft_again_ms = 0;
}

void agent_raft_bootstrap(struct agent *a, const node_id *members, uint8_t n)
{
    PRE(a->identity.phase == IDENTITY_PREPARED);
    begin(a, true);
    consensus_bootstrap(a->consensus, members, n);
}

void agent_raft_start(struct agent *a)
{
    PRE(a->identity.phase == IDENTITY_MEMBER || a->identity.phase == IDENTITY_JOINING);
    begin(a, false);
    consensus_start(a->consensus);
}

/* The one whose lease may still run continues until it does not: as long as its own
 * promise to itself lives, or PostgreSQL may take writes; also while it was not looked
 * at yet. */
static bool may_take_writes(const struct agent *a)
{
    const struct view *v = &a->view;
    struct lease_voter_status voter;

    lease_voter_status(&a->voter, agent_lease_now(), &voter);
    if (voter.state == LEASE_PROMISE_LIVE && voter.owner == a->identity.id) {
        return true;
    }
    if (a->pg == NULL) {
        return false;
    }
    return v->self.status.data == DATA_UNKNOWN ||
           (v->pg.postmaster_alive && v->self.status.pg_role != PG_ROLE_STANDBY);
}

static bool hears_leader(const struct agent *a, uint64_t now_ms)
{
    uint64_t limit_ms = 2 * agent_status_period_ms(a);

    for (uint32_t i = 0; i < a->n_peers; i++) {
        const struct view_peer *p = &a->peers[i];

        if (p->received_ms + limit_ms >= now_ms && p->status.raft_leader != 0 &&
            p->status.raft_leader != a->identity.id) {
            return true;
        }
    }
    return false;
}

static void rejoin_if_possible(struct agent *a, uint64_t now_ms)
{
    if (a->rejoin || a->stopping_since_ms != 0 || may_take_writes(a) || !hears_leader(a, now_ms)) {
        return;
    }
    log_warning("The cluster has a leader: this node begins again under a new id.");
    a->rejoin = true; /* When the tick is through. */
}

void agent_raft_tick(struct agent *a, uint64_t now_ms)
{
    if (a->raft_opening) {
        if (a->raft_problem[0] == '\0' && now_ms >= a->raft_since_ms + SLOW_MS) {
            set_text(a->raft_problem, "the Raft directory is being opened, and that takes long",
                     NO_VOTE_TAIL);
        }
    } else if (a->raft_waits) {
        agent_raft_await(a, now_ms);
    } else if (a->raft_is_lost) {
        rejoin_if_possible(a, now_ms);
    } else if (a->durable.phase >= IDENTITY_MEMBER && a->raft_again_ms != 0 &&
               now_ms >= a->raft_again_ms) {
        agent_raft_start(a);
    }
}

void agent_raft_join(struct agent *a, uint64_t cluster_id)
{
    PRE(a->identity.phase == IDENTITY_NEW);
    a->identity.phase = IDENTITY_JOINING;
    a->identity.cluster_id = cluster_id;
    identity_saver_save(a->saver, &a->identity); /* Raft starts when it is on disk. */
}

bool agent_wants_vote(const struct agent *a)
{
    const struct consensus_leadership *l = &a->leadership;

    if (!a->raft_is_open || a->durable.phase != IDENTITY_MEMBER) {
        return false;
    }
    for (uint8_t i = 0; i < l->n_voters; i++) {
        if (l->voters[i] == a->identity.id) {
            return false;
        }
    }
    return true;
}

static void on_voters_changed(void *data, const struct propose_result *result)
{
    struct agent *a = data;

    a->voter_change_runs = false;
    if (result->status == PROPOSE_DONE) {
        log_info("The change of the voters is done. index=%llu", (unsigned long long)result->index);
    } else {
        log_warning("The change of the voters came to no end, it is looked at again.");
    }
    agent_mark_dirty(a);
}

void agent_change_voters(struct agent *a)
{
    const struct voter_decision *v = &a->decision.voters;

    if (v->rule != a->last_voter_rule) {
        a->last_voter_rule = v->rule;
        if (v->rule != NULL) {
            log_info("Voters: %s. rule=%s evidence=\"%s\"", v->why, v->rule, v->evidence);
        }
    }
    if ((v->remove == 0 && v->add == 0) || a->voter_change_runs || a->consensus == NULL) {
        return;
    }
    a->voter_change_runs = true;
    if (v->remove != 0) {
        consensus_remove_voter(a->consensus, v->remove, on_voters_changed, a);
    } else {
        consensus_add_voter(a->consensus, v->add, on_voters_changed, a);
    }
}

static int write_new_identity(const struct agent *a, struct err *err)
{
    struct identity fresh = {
        .id = rng_system(),
        .phase = IDENTITY_JOINING,
        .cluster_id = a->durable.cluster_id,
        .longest_grant_ms = a->durable.longest_grant_ms,
    };

    (void)str_copy(fresh.name, sizeof(fresh.name), a->conf->name);    /* Of the same size. */
    (void)str_copy(fresh.scope, sizeof(fresh.scope), a->conf->scope); /* As above. */
    if (identity_save(a->conf->raft_data_dir, &fresh, err) != 0) {
        return -1;
    }
    log_info("This node has a new id. id=%llx old=%llx", (unsigned long long)fresh.id,
             (unsigned long long)a->durable.id);
    return 0;
}

/* The name of the directory that keeps the old state: of the id, and free. */
static void free_name(const struct agent *a, char *path, size_t size)
{
    struct stat st;
    unsigned n = 0;

    do {
        (void)snprintf(path, size, "%s/raft.set-aside-%016llx-%u", a->conf->raft_data_dir,
                       (unsigned long long)a->durable.id, n++);
    } while (lstat(path, &st) == 0 && n < 1000);
}

/* Renamed first: an interruption in between leaves an empty directory of a member,
 * and this is done again. */
int agent_raft_set_aside(const struct agent *a, struct err *err)
{
    char from[PATH_SIZE];
    char to[PATH_SIZE];

    (void)snprintf(from, sizeof(from), "%s/raft", a->conf->raft_data_dir);
    free_name(a, to, sizeof(to));
    if (rename(from, to) == 0) {
        log_warning("The lost or damaged Raft state is kept aside. directory=%s", to);
    } else if (errno != ENOENT) {
        return err_set_errno(err, errno, "cannot rename %s to %s", from, to);
    }
    if (mkdir(from, 0700) != 0 && errno != EEXIST) {
        return err_set_errno(err, errno, "cannot create %s", from);
    }
    return write_new_identity(a, err);
}
