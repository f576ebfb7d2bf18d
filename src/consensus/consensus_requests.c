/*
 * What the agent asks libraft for: proposals, barriers, transfer of leadership,
 * changes of the voters. Each request is answered exactly once.
 *
 * Who owns a payload: raft_apply takes it when it returns 0; after NOTLEADER and
 * NOSPACE it is still ours; after anything else it may have been freed already,
 * and leaking it is the only safe thing (0.22.1).
 */
#include "base/log.h"
#include "consensus/workarounds.h"

struct thread_request {
    union { /* libraft's part. */
        struct raft_apply apply;
        struct raft_barrier barrier;
    };
    struct consensus_thread *thread;
    struct request *request;
};

static void answer_status(struct consensus_thread *t, struct request *request,
                          enum propose_status status)
{
    struct propose_result result = {.status = status};

    thread_answer(t, request, &result);
}

/* Of a call that refused at once: nothing of it is in the log. */
static enum propose_status status_of_refusal(int rv)
{
    switch (rv) {
    case RAFT_NOTLEADER:
        return PROPOSE_NOT_LEADER;
    case RAFT_NOSPACE:
    case RAFT_CANTCHANGE:
    case RAFT_BUSY:
        return PROPOSE_BUSY;
    default:
        return PROPOSE_UNKNOWN;
    }
}

static void on_applied(struct raft_apply *req, int status, void *result)
{
    struct thread_request *r = CONTAINER_OF(req, struct thread_request, apply);
    struct propose_result answer = {.status = PROPOSE_UNKNOWN};

    if (status == 0) {
        answer.status = PROPOSE_DONE;
        answer.result = (enum apply_result)(uintptr_t)result;
        answer.index = req->index;
    }
    thread_answer(r->thread, r->request, &answer);
    free(r);
}

static struct thread_request *new_request(struct consensus_thread *t, struct request *request)
{
    struct thread_request *r = xmalloc(sizeof(*r));

    r->thread = t;
    r->request = request;
    return r;
}

static bool can_propose(struct consensus_thread *t)
{
    return t->running && raft_state(&t->raft) == RAFT_LEADER;
}

void thread_propose(struct consensus_thread *t, struct item *item)
{
    struct thread_request *r;
    struct raft_buffer buf;
    int rv;

    if (!can_propose(t)) {
        answer_status(t, item->request, PROPOSE_NOT_LEADER);
        return;
    }
    buf.base = workaround_pad_entry(t, item->bytes, item->size, &buf.len);
    if (buf.base == NULL) {
        answer_status(t, item->request, PROPOSE_BUSY);
        return;
    }
    r = new_request(t, item->request);
    rv = raft_apply(&t->raft, &r->apply, &buf, 1, on_applied);
    if (rv != 0) {
        if (rv == RAFT_NOTLEADER || rv == RAFT_NOSPACE) {
            raft_free(buf.base);
        }
        answer_status(t, item->request, status_of_refusal(rv));
        free(r);
    }
}

static void on_barrier(struct raft_barrier *req, int status)
{
    struct thread_request *r = CONTAINER_OF(req, struct thread_request, barrier);
    struct propose_result answer = {.status = status == 0 ? PROPOSE_DONE : PROPOSE_UNKNOWN,
                                    .index = r->thread->store->applied_index};

    thread_answer(r->thread, r->request, &answer);
    free(r);
}

void thread_barrier(struct consensus_thread *t, struct request *request)
{
    struct thread_request *r;
    int rv;

    if (!can_propose(t)) {
        answer_status(t, request, PROPOSE_NOT_LEADER);
        return;
    }
    r = new_request(t, request);
    rv = raft_barrier(&t->raft, &r->barrier, on_barrier);
    if (rv != 0) {
        answer_status(t, request, status_of_refusal(rv));
        free(r);
    }
}

static void on_transferred(struct raft_transfer *req)
{
    CONTAINER_OF(req, struct consensus_thread, transfer)->transferring = false;
}

void thread_transfer(struct consensus_thread *t, node_id to)
{
    int rv;

    if (!can_propose(t) || t->transferring) {
        return;
    }
    t->transferring = true; /* The callback may come from inside the call. */
    rv = raft_transfer(&t->raft, &t->transfer, to, on_transferred);
    if (rv != 0) {
        t->transferring = false;
        log_warning("Raft leadership can not be handed over, keeping it. to=%llx error=\"%s\"",
                    (unsigned long long)to, raft_strerror(rv));
    }
}

static void finish_change(struct consensus_thread *t, enum propose_status status)
{
    struct propose_result answer = {.status = status,
                                    .index = t->raft.configuration_committed_index};
    struct request *request = t->member.request;

    t->member.request = NULL;
    /* A failed raft_assign leaves this behind (up to 2201), and the next loss of
     * leadership would answer a request that was answered. */
    if (t->raft.legacy.change == &t->member.change) {
        t->raft.legacy.change = NULL;
    }
    thread_answer(t, request, &answer);
}

static const struct raft_server *find_server(const struct consensus_thread *t, node_id id)
{
    for (unsigned i = 0; i < t->raft.configuration.n; i++) {
        if (t->raft.configuration.servers[i].id == id) {
            return &t->raft.configuration.servers[i];
        }
    }
    return NULL;
}

static void on_changed(struct raft_change *change, int status);

static void assign_voter(struct consensus_thread *t)
{
    int rv;

    t->member.assigning = true;
    rv = raft_assign(&t->raft, &t->member.change, t->member.id, RAFT_VOTER, on_changed);
    if (rv != 0) {
        finish_change(t, status_of_refusal(rv));
    }
}

static void on_changed(struct raft_change *change, int status)
{
    struct consensus_thread *t = CONTAINER_OF(change, struct consensus_thread, member.change);
    const struct raft_server *server = find_server(t, t->member.id);

    if (t->member.request == NULL) {
        return; /* Answered already. */
    }
    if (status != 0) {
        finish_change(t, PROPOSE_UNKNOWN);
    } else if (server != NULL && server->role != RAFT_VOTER && !t->member.assigning) {
        assign_voter(t);
    } else {
        finish_change(t, PROPOSE_DONE);
    }
}

static bool begin_change(struct consensus_thread *t, node_id id, struct request *request)
{
    if (!can_propose(t)) {
        answer_status(t, request, PROPOSE_NOT_LEADER);
        return false;
    }
    if (t->member.request != NULL) {
        answer_status(t, request, PROPOSE_BUSY);
        return false;
    }
    t->member.request = request;
    t->member.id = id;
    t->member.assigning = false;
    return true;
}

void thread_add_voter(struct consensus_thread *t, node_id id, struct request *request)
{
    const struct raft_server *server = find_server(t, id);
    char address[RAFT_ADDRESS_SIZE];
    int rv;

    if (!begin_change(t, id, request)) {
        return;
    }
    if (server != NULL && server->role == RAFT_VOTER) {
        finish_change(t, PROPOSE_DONE); /* So already. */
    } else if (server != NULL) {
        assign_voter(t);
    } else {
        raft_address(id, address, sizeof(address));
        rv = raft_add(&t->raft, &t->member.change, id, address, on_changed);
        if (rv != 0) {
            finish_change(t, status_of_refusal(rv));
        }
    }
}

void thread_remove_voter(struct consensus_thread *t, node_id id, struct request *request)
{
    int rv;

    if (!begin_change(t, id, request)) {
        return;
    }
    t->member.assigning = true; /* One step only. */
    if (find_server(t, id) == NULL) {
        finish_change(t, PROPOSE_DONE);
        return;
    }
    rv = raft_remove(&t->raft, &t->member.change, id, on_changed);
    if (rv != 0) {
        finish_change(t, status_of_refusal(rv));
    }
}
