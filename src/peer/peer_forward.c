/*
 * Proposals on their way to the leader, and results on their way back.
 *
 * A proposal goes straight to the leader, or through one other node that says
 * it hears the leader; that one never passes it on a second time. A result
 * takes the same way back. What is not known is said to be unknown: when the
 * deadline passes, or the connection breaks after the proposal was handed to
 * it. Proposals are compare-and-set, so their author just looks again.
 */
#include "peer/peer_internal.h"
#include "peer/peer_message.h"

#define DEADLINE_MS SECONDS(5)
#define ANSWERS_MAX 256

/* As consensus' enum propose_status: peer and consensus do not know each other. */
enum {
    STATUS_BUSY = 2,
    STATUS_UNKNOWN = 3,
};

/* Sent to another node; its result is awaited. */
struct request {
    struct list list;       /* In forward.requests. */
    uint64_t id;            /* Of the frame. */
    struct peer_link *link; /* It went out there. NULL = it did not. */
    uint64_t deadline_ms;
    uint64_t relayed_token; /* Of the answer that waits for it; 0 = it is our own. */
    peer_result_cb cb;      /* Own only. */
    void *data;
};

/* Came in; the sender awaits our result. */
struct answer {
    struct list list; /* In forward.answers. */
    uint64_t token;
    struct peer_link *link;
    uint64_t request;     /* The sender's id. */
    uint64_t deadline_ms; /* Nobody waits for it afterwards. */
};

static const struct peer_result unknown = {.status = STATUS_UNKNOWN};

static void on_deadline(uv_timer_t *timer);

void forward_init(struct peer *p)
{
    struct forward *f = &p->forward;
    int r = uv_timer_init(p->loop, &f->timer);

    ASSERT(r == 0);
    peer_opened(p);
    f->timer.data = p;
    f->last_id = rng_next(&p->rng) >> 1; /* Room to count up. */
    list_init(&f->requests);
    list_init(&f->answers);
}

/* The timer follows the oldest of both lists; both are in order of deadlines. */
static void set_timer(struct peer *p)
{
    struct forward *f = &p->forward;
    uint64_t now = uv_now(p->loop);
    uint64_t at = UINT64_MAX;
    int r;

    if (p->is_closing) {
        return;
    }
    if (!list_is_empty(&f->requests)) {
        at = CONTAINER_OF(f->requests.next, struct request, list)->deadline_ms;
    }
    if (!list_is_empty(&f->answers)) {
        at = MIN(at, CONTAINER_OF(f->answers.next, struct answer, list)->deadline_ms);
    }
    if (at == UINT64_MAX) {
        r = uv_timer_stop(&f->timer);
    } else {
        r = uv_timer_start(&f->timer, on_deadline, at > now ? at - now : 0, 0);
    }
    ASSERT(r == 0);
}

static void send_result(struct peer_link *link, uint64_t request, const struct peer_result *result)
{
    struct proposal_result m = {.request = request, .answered = result != NULL};
    uint8_t buffer[MESSAGE_SIZE];

    if (result != NULL) {
        m.result = *result;
    }
    link_send(link, FRAME_RESULT, buffer, message_encode_result(&m, buffer));
}

static struct answer *find_answer(struct peer *p, uint64_t token)
{
    LIST_FOREACH (it, &p->forward.answers) {
        struct answer *a = CONTAINER_OF(it, struct answer, list);

        if (a->token == token) {
            return a;
        }
    }
    return NULL;
}

static void free_answer(struct peer *p, struct answer *a)
{
    list_remove(&a->list);
    p->forward.n_answers--;
    free(a);
}

/* result NULL: nobody could take it. */
static void answer(struct peer *p, uint64_t token, const struct peer_result *result)
{
    struct answer *a = find_answer(p, token);

    if (a != NULL) { /* Else its link is gone, or nobody waits any more. */
        send_result(a->link, a->request, result);
        free_answer(p, a);
    }
}

void peer_answer_proposal(struct peer *p, uint64_t token, const struct peer_result *result)
{
    PRE(result != NULL);
    answer(p, token, result);
    set_timer(p);
}

/* Ends a request, which is off the list afterwards. */
static void finish(struct peer *p, struct request *r, bool answered,
                   const struct peer_result *result)
{
    list_remove(&r->list);
    if (r->relayed_token != 0) {
        answer(p, r->relayed_token, result);
    } else {
        r->cb(r->data, answered, result);
    }
    free(r);
}

/* Straight, or through a node that says it hears the leader. */
static struct peer_link *find_way(const struct peer *p, node_id leader, bool may_relay)
{
    struct peer_link *link = peer_find_link(p, leader);

    for (size_t i = 0; link == NULL && may_relay && i < p->n_nodes; i++) {
        const struct peer_node *node = &p->nodes[i];

        for (size_t k = 0; link == NULL && k < node->n_heard; k++) {
            if (node->heard[k] == leader) {
                link = peer_find_link(p, node->id);
            }
        }
    }
    return link;
}

/* False: it did not go out, nothing happened. */
static bool send_request(struct peer *p, struct request *r, struct proposal *proposal)
{
    struct peer_link *link = find_way(p, proposal->leader, proposal->n_hops == 0);
    uint8_t *buffer;

    if (link == NULL || link->hello_only ||
        !link_has_room(link, PROPOSAL_HEAD_SIZE + proposal->size)) {
        return false;
    }
    proposal->request = r->id;
    buffer = xmalloc(PROPOSAL_HEAD_SIZE + proposal->size);
    link_send(link, FRAME_PROPOSE, buffer, message_encode_proposal(proposal, buffer));
    free(buffer);
    r->link = link;
    return true;
}

static struct request *new_request(struct peer *p)
{
    struct request *r = xmalloc(sizeof(*r));

    r->id = ++p->forward.last_id;
    r->deadline_ms = uv_now(p->loop) + DEADLINE_MS;
    list_push_back(&p->forward.requests, &r->list);
    return r;
}

static void fail_soon(struct peer *p, void *arg)
{
    struct request *r = arg;

    finish(p, r, false, NULL);
    set_timer(p);
}

void peer_propose(struct peer *p, node_id leader, const void *bytes, size_t size, peer_result_cb cb,
                  void *data)
{
    struct proposal proposal = {
        .leader = leader, .is_barrier = bytes == NULL, .bytes = bytes, .size = size};
    struct request *r = new_request(p);

    PRE(cb != NULL && size <= PEER_PROPOSAL_MAX && (bytes == NULL) == (size == 0));
    r->cb = cb;
    r->data = data;
    if (leader == 0 || leader == p->preface.id || !send_request(p, r, &proposal)) {
        list_remove(&r->list); /* No deadline nor link can end it before that. */
        peer_soon(p, fail_soon, r);
    }
    set_timer(p);
}

static void relay(struct peer *p, const struct proposal *proposal, uint64_t token)
{
    struct proposal onward = *proposal;
    struct request *r = new_request(p);

    onward.n_hops++;
    r->relayed_token = token;
    if (!send_request(p, r, &onward)) {
        finish(p, r, false, NULL);
    }
}

void forward_on_propose(struct peer_link *link, const struct frame *frame)
{
    static const struct peer_result busy = {.status = STATUS_BUSY};
    struct peer *p = link->owner;
    struct proposal proposal;
    struct answer *a;

    if (!message_decode_proposal(frame->payload, frame->size, &proposal)) {
        link_refuse(link, CAUSE_MALFORMED, "a malformed proposal");
        return;
    }
    if (p->forward.n_answers >= ANSWERS_MAX) {
        send_result(link, proposal.request, &busy);
        return;
    }
    a = xmalloc(sizeof(*a));
    a->token = ++p->forward.last_id;
    a->link = link;
    a->request = proposal.request;
    a->deadline_ms = uv_now(p->loop) + 2 * DEADLINE_MS;
    list_push_back(&p->forward.answers, &a->list);
    p->forward.n_answers++;
    if (proposal.leader == p->preface.id && p->hooks.on_propose != NULL) {
        HOOK(p, on_propose, a->token, proposal.bytes, proposal.size);
    } else if (proposal.leader != p->preface.id && proposal.n_hops < PROPOSAL_HOPS_MAX) {
        relay(p, &proposal, a->token);
    } else {
        answer(p, a->token, NULL);
    }
    set_timer(p);
}

void forward_on_result(struct peer_link *link, const struct frame *frame)
{
    struct peer *p = link->owner;
    struct proposal_result m;

    if (!message_decode_result(frame->payload, frame->size, &m) ||
        m.result.status > STATUS_UNKNOWN) {
        link_refuse(link, CAUSE_MALFORMED, "a malformed result");
        return;
    }
    LIST_FOREACH (it, &p->forward.requests) {
        struct request *r = CONTAINER_OF(it, struct request, list);

        /* A result may come on the other connection of the same node. */
        if (r->id == m.request && r->link != NULL && r->link->who.id == link->who.id) {
            finish(p, r, m.answered, m.answered ? &m.result : NULL);
            break;
        }
    }
    set_timer(p);
}

static void on_deadline(uv_timer_t *timer)
{
    struct peer *p = timer->data;
    struct forward *f = &p->forward;
    uint64_t now = uv_now(p->loop);

    while (!list_is_empty(&f->requests)) {
        struct request *r = CONTAINER_OF(f->requests.next, struct request, list);

        if (r->deadline_ms > now) {
            break;
        }
        finish(p, r, false, &unknown);
    }
    while (!list_is_empty(&f->answers)) {
        struct answer *a = CONTAINER_OF(f->answers.next, struct answer, list);

        if (a->deadline_ms > now) {
            break;
        }
        free_answer(p, a);
    }
    set_timer(p);
}

/* Callbacks may propose again, so the list is searched anew after each. */
static struct request *find_request_on(struct peer *p, const struct peer_link *link)
{
    LIST_FOREACH (it, &p->forward.requests) {
        struct request *r = CONTAINER_OF(it, struct request, list);

        if (r->link == link) {
            return r;
        }
    }
    return NULL;
}

static struct answer *find_answer_on(struct peer *p, const struct peer_link *link)
{
    LIST_FOREACH (it, &p->forward.answers) {
        struct answer *a = CONTAINER_OF(it, struct answer, list);

        if (a->link == link) {
            return a;
        }
    }
    return NULL;
}

void forward_link_closed(struct peer_link *link)
{
    struct peer *p = link->owner;
    struct request *r;
    struct answer *a;

    while ((a = find_answer_on(p, link)) != NULL) {
        free_answer(p, a);
    }
    while ((r = find_request_on(p, link)) != NULL) {
        finish(p, r, false, &unknown);
    }
    set_timer(p);
}

void forward_close(struct peer *p)
{
    uv_close((uv_handle_t *)&p->forward.timer, peer_handle_gone);
}
