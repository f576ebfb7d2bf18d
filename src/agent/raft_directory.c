/*
 * The Raft directory between the agent and consensus/: it is opened beside the
 * loop, however long its disk takes, and when that fails the agent goes on
 * without its Raft vote and tries again (design.md section 5, Continue). The
 * promise file is not on that disk: lease promises go on, and so does a lease
 * (agent/lease_hooks.c).
 */
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

static void after_start(struct agent *a, enum consensus_opened result, const char *problem)
{
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
    if (a->raft_problem[0] != '\0') {
        a->raft_problem[0] = '\0';
        log_info("Raft runs again.");
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
        .id = a->identity.id,
        .lowest_term = a->durable.highest_term,
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
    PRE(a->identity.phase == IDENTITY_MEMBER);
    begin(a, false);
    consensus_start(a->consensus);
}

void agent_raft_tick(struct agent *a, uint64_t now_ms)
{
    if (a->raft_opening) {
        if (a->raft_problem[0] == '\0' && now_ms >= a->raft_since_ms + SLOW_MS) {
            set_text(a->raft_problem, "the Raft directory is being opened, and that takes long",
                     NO_VOTE_TAIL);
        }
    } else if (a->identity.phase == IDENTITY_MEMBER && a->raft_again_ms != 0 &&
               now_ms >= a->raft_again_ms) {
        agent_raft_start(a);
    }
}
