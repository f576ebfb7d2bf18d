/*
 * What comes from the other agents: recorded with its time, or answered from
 * what is known; nothing is decided here.
 */
#include "agent/agent_state.h"
#include "base/log.h"
#include "base/str.h"
#include "consensus/raft_check.h"
#include "core/continuity.h"
#include "core/lookup.h"

struct view_peer *agent_find_peer(struct agent *a, node_id id)
{
    for (uint32_t i = 0; i < a->n_peers; i++) {
        if (a->peers[i].status.id == id) {
            return &a->peers[i];
        }
    }
    return NULL;
}

static bool is_voter(const struct agent *a, node_id id)
{
    for (uint8_t i = 0; i < a->leadership.n_voters; i++) {
        if (a->leadership.voters[i] == id) {
            return true;
        }
    }
    return false;
}

/* A name that came back under a new id takes the place of the old one; not before that
 * has lost its vote, which depends on when it was heard. */
static struct view_peer *place_for(struct agent *a, const struct status *status)
{
    struct view_peer *found = agent_find_peer(a, status->id);

    for (uint32_t i = 0; found == NULL && i < a->n_peers; i++) {
        if (str_equal(a->peers[i].status.name, status->name) &&
            !is_voter(a, a->peers[i].status.id)) {
            found = &a->peers[i];
            *found = (struct view_peer){.reach_timeline = found->reach_timeline,
                                        .reach_lsn = found->reach_lsn};
        }
    }
    if (found == NULL && a->n_peers < MEMBERS_MAX) {
        found = &a->peers[a->n_peers++];
        *found = (struct view_peer){0};
    }
    return found;
}

/* What it did while it was not heard is not known. */
static uint64_t idle_since(const struct agent *a, const struct view_peer *p,
                           const struct status *status, uint64_t now_ms)
{
    bool heard = p->received_ms + 2 * agent_status_period_ms(a) >= now_ms;
    bool idle = status->pg_state == PG_STATE_RUNNING && status->pg_role == PG_ROLE_STANDBY &&
                !status->streaming;

    if (!idle) {
        return 0;
    }
    return heard && p->idle_since_ms != 0 ? p->idle_since_ms : now_ms;
}

/* Said until that id comes no more. */
static void judge_continuity(struct agent *a, struct view_peer *p)
{
    continuity_note(p);
    if (continuity_is_behind(p) && a->lost_id != p->status.id) {
        a->lost_id = p->status.id;
        log_warning(
            "A member comes with a Raft state that is older than the one it had: it is told "
            "so. member=%s id=%llx term=%llu was=%llu log_end=%llu was_at_least=%llu",
            p->status.name, (unsigned long long)p->status.id,
            (unsigned long long)p->status.raft_term, (unsigned long long)p->told_term,
            (unsigned long long)p->status.raft_end, (unsigned long long)p->told_index);
    }
}

static void on_status(void *data, const struct status *status)
{
    struct agent *a = data;
    uint64_t now_ms = clock_ms();
    struct view_peer *p;

    if (status->cluster_id != a->identity.cluster_id || status->cluster_id == 0) {
        return;
    }
    p = place_for(a, status);
    if (p == NULL) {
        return; /* More members than MEMBERS_MAX; the store refuses those, too. */
    }
    p->idle_since_ms = idle_since(a, p, status, now_ms);
    p->status = *status;
    lookup_note_reach(&a->store, p);
    judge_continuity(a, p);
    p->received_ms = now_ms;
    p->connected = true;
    agent_mark_dirty(a);
}

static void on_up(void *data, node_id id, const char *name)
{
    struct agent *a = data;
    struct view_peer *p = agent_find_peer(a, id);

    (void)name; /* peer/ has logged it. */
    if (p != NULL) {
        p->connected = true;
    }
    peer_send_status(a->peer, &a->last_status);
    agent_lease_on_peer_up(a);
    agent_mark_dirty(a);
}

static void on_down(void *data, node_id id, const char *why)
{
    struct agent *a = data;
    struct view_peer *p = agent_find_peer(a, id);

    (void)why; /* peer/ has logged it. */
    agent_forget_answer(a, id);
    if (p != NULL) {
        p->connected = false;
    }
    agent_mark_dirty(a);
}

struct forwarded { /* A peer's proposal while it is in the local Raft. */
    struct agent *agent;
    uint64_t token;
    bool barrier;
};

static void on_forwarded_done(void *data, const struct propose_result *r)
{
    struct forwarded *f = data;
    struct peer_result result = {(uint8_t)r->status, (uint8_t)r->result, r->index};

    if (f->barrier) {
        result.index = f->agent->store.applied_index; /* See on_barrier in replicated.c. */
    }
    if (f->agent->peer != NULL) {
        peer_answer_proposal(f->agent->peer, f->token, &result);
    }
    free(f);
}

static void on_propose(void *data, uint64_t token, const void *bytes, size_t size)
{
    struct agent *a = data;
    struct forwarded *f;

    if (a->consensus == NULL || !a->leadership.is_leader) {
        struct peer_result result = {.status = PROPOSE_NOT_LEADER};

        peer_answer_proposal(a->peer, token, &result);
        return;
    }
    f = xmalloc(sizeof(*f));
    *f = (struct forwarded){a, token, bytes == NULL};
    if (bytes == NULL) {
        consensus_barrier(a->consensus, on_forwarded_done, f);
    } else {
        consensus_propose_bytes(a->consensus, bytes, size, on_forwarded_done, f);
    }
}

struct asked { /* A peer waits for our positions. */
    struct agent *agent;
    node_id from;
};

static void on_positions_read(void *data, const struct positions *positions)
{
    struct asked *asked = data;

    if (asked->agent->peer != NULL) {
        peer_answer_positions(asked->agent->peer, asked->from, positions);
    }
    free(asked);
}

static void on_ask_positions(void *data, node_id from, uint64_t epoch)
{
    struct agent *a = data;
    struct asked *asked;

    if (a->pg == NULL) {
        struct positions none = {.epoch = epoch};

        peer_answer_positions(a->peer, from, &none);
        return;
    }
    asked = xmalloc(sizeof(*asked));
    *asked = (struct asked){a, from};
    pg_read_positions(a->pg, epoch, on_positions_read, asked);
}

static void on_positions(void *data, node_id from, const struct positions *positions)
{
    struct agent *a = data;
    struct view_peer *p = agent_find_peer(a, from);

    if (p != NULL) {
        p->positions = *positions;
        p->positions_ms = clock_ms();
        agent_mark_dirty(a);
    }
}

static void on_raft_stream(void *data, node_id from, int fd)
{
    struct agent *a = data;

    if (a->consensus == NULL) {
        (void)close(fd); /* Not ours to use yet; the peer tries again. */
        return;
    }
    consensus_accept(a->consensus, from, fd);
}

struct check { /* One per Raft connection. */
    struct raft_check check;
    uint8_t header[RAFT_CHECK_HEADER_MAX + 16];
};

static void *check_new(void *data)
{
    struct check *c = xmalloc(sizeof(*c));

    (void)data;
    raft_check_init(&c->check, c->header);
    return c;
}

static int check_feed(void *check, const void *bytes, size_t size, uint64_t *ret_passed,
                      struct err *err)
{
    struct check *c = check;

    return raft_check_feed(&c->check, bytes, size, ret_passed, err);
}

void agent_peer_hooks(struct agent *a, struct peer_hooks *hooks)
{
    *hooks = (struct peer_hooks){
        .data = a,
        .on_hello = agent_on_hello,
        .on_up = on_up,
        .on_down = on_down,
        .on_status = on_status,
        .on_renew = agent_on_renew,
        .on_grant = agent_on_grant,
        .on_propose = on_propose,
        .on_action = agent_on_action,
        .on_ask_positions = on_ask_positions,
        .on_positions = on_positions,
        .on_raft_stream = on_raft_stream,
        .raft_check_new = check_new,
        .raft_check_feed = check_feed,
        .raft_check_free = free,
    };
}
