/*
 * What an operator asks of another member: on its way there, and what became of it on its way
 * back. Straight to that node or not at all: who asks then takes another way. Nothing is asked
 * twice here, and what is not known is said to be unknown: when the deadline passes, or the
 * connection breaks after the question was handed to it.
 */
#include "peer/peer_internal.h"
#include "peer/peer_message.h"

#define TASKS_MAX 16

/* We asked another node. */
struct asked {
    struct list list; /* In acting.asked. */
    uint64_t id;      /* Of the frame. */
    struct peer_link *link;
    uint64_t deadline_ms;
    peer_outcome_cb cb;
    void *data;
};

/* Another node asked us. */
struct task {
    struct list list; /* In acting.tasks. */
    uint64_t token;
    struct peer_link *link;
    uint64_t request; /* The other node's id of it. */
};

static void on_deadline(uv_timer_t *timer);

void acting_init(struct peer *p)
{
    struct acting *a = &p->acting;
    int r = uv_timer_init(p->loop, &a->timer);

    ASSERT(r == 0);
    peer_opened(p);
    a->timer.data = p;
    a->last_id = rng_next(&p->rng) >> 1; /* Room to count up. */
    list_init(&a->asked);
    list_init(&a->tasks);
}

static void set_timer(struct peer *p)
{
    struct acting *a = &p->acting;
    uint64_t now = uv_now(p->loop);
    uint64_t at = UINT64_MAX;
    int r;

    if (p->is_closing) {
        return;
    }
    LIST_FOREACH (it, &a->asked) {
        at = MIN(at, CONTAINER_OF(it, struct asked, list)->deadline_ms);
    }
    if (at == UINT64_MAX) {
        r = uv_timer_stop(&a->timer);
    } else {
        r = uv_timer_start(&a->timer, on_deadline, at > now ? at - now : 0, 0);
    }
    ASSERT(r == 0);
}

/* ---- We ask ---- */

/* Off the list already: the callback may ask again. */
static void finish(struct asked *q, enum peer_outcome outcome, const char *text)
{
    q->cb(q->data, outcome, text);
    free(q);
}

static void not_sent(struct peer *p, void *arg)
{
    (void)p;
    finish(arg, PEER_NOT_SENT, "");
}

void peer_act(struct peer *p, node_id to, enum peer_action action, uint64_t limit_ms,
              peer_outcome_cb cb, void *data)
{
    struct peer_link *link = peer_find_link(p, to);
    struct asked *q = xmalloc(sizeof(*q));
    struct action_message m = {.action = action};
    uint8_t buffer[MESSAGE_SIZE];

    PRE(cb != NULL);
    q->cb = cb;
    q->data = data;
    if (p->is_closing || link == NULL || link->hello_only) {
        peer_soon(p, not_sent, q);
        return;
    }
    q->id = ++p->acting.last_id;
    q->link = link;
    q->deadline_ms = uv_now(p->loop) + limit_ms;
    list_push_back(&p->acting.asked, &q->list);
    m.request = q->id;
    link_send(link, FRAME_ACTION, buffer, message_encode_action(&m, buffer));
    set_timer(p);
}

void acting_on_outcome(struct peer_link *link, const struct frame *frame)
{
    struct peer *p = link->owner;
    struct outcome_message m;

    if (!message_decode_outcome(frame->payload, frame->size, &m)) {
        link_refuse(link, CAUSE_MALFORMED, "a malformed outcome");
        return;
    }
    LIST_FOREACH (it, &p->acting.asked) {
        struct asked *q = CONTAINER_OF(it, struct asked, list);

        if (q->id == m.request && q->link == link) {
            list_remove(&q->list);
            finish(q, m.outcome, m.text);
            break;
        }
    }
    set_timer(p);
}

/* Callbacks may ask again, so the list is searched anew after each. NULL link: of any. */
static struct asked *find_asked(struct peer *p, const struct peer_link *link, uint64_t due_ms)
{
    LIST_FOREACH (it, &p->acting.asked) {
        struct asked *q = CONTAINER_OF(it, struct asked, list);

        if ((link == NULL || q->link == link) && q->deadline_ms <= due_ms) {
            return q;
        }
    }
    return NULL;
}

static void end_unknown(struct peer *p, const struct peer_link *link, uint64_t due_ms)
{
    struct asked *q;

    while ((q = find_asked(p, link, due_ms)) != NULL) {
        list_remove(&q->list);
        finish(q, PEER_UNKNOWN, "");
    }
    set_timer(p);
}

static void on_deadline(uv_timer_t *timer)
{
    struct peer *p = timer->data;

    end_unknown(p, NULL, uv_now(p->loop));
}

/* ---- We are asked ---- */

static void send_outcome(struct peer_link *link, uint64_t request, enum peer_outcome outcome,
                         const char *text)
{
    struct outcome_message m = {.request = request, .outcome = outcome};
    uint8_t buffer[MESSAGE_SIZE];

    (void)str_copy(m.text, sizeof(m.text), text); /* Cut is fine: for people. */
    link_send(link, FRAME_OUTCOME, buffer, message_encode_outcome(&m, buffer));
}

void acting_on_action(struct peer_link *link, const struct frame *frame)
{
    struct peer *p = link->owner;
    struct action_message m;
    struct task *t;

    if (!message_decode_action(frame->payload, frame->size, &m)) {
        link_refuse(link, CAUSE_MALFORMED, "a malformed action");
        return;
    }
    if (p->hooks.on_action == NULL || p->is_closing || p->acting.n_tasks == TASKS_MAX) {
        send_outcome(link, m.request, PEER_BUSY, "too much is asked of it at once, or it stops");
        return;
    }
    t = xmalloc(sizeof(*t));
    *t = (struct task){.token = ++p->acting.last_id, .link = link, .request = m.request};
    list_push_back(&p->acting.tasks, &t->list);
    p->acting.n_tasks++;
    p->hooks.on_action(p->hooks.data, t->token, link->who.name, m.action);
}

static void free_task(struct peer *p, struct task *t)
{
    list_remove(&t->list);
    p->acting.n_tasks--;
    free(t);
}

void peer_answer_action(struct peer *p, uint64_t token, enum peer_outcome outcome, const char *text)
{
    PRE(outcome <= PEER_OUTCOME_MAX);
    LIST_FOREACH (it, &p->acting.tasks) {
        struct task *t = CONTAINER_OF(it, struct task, list);

        if (t->token == token) { /* Else its connection is gone. */
            send_outcome(t->link, t->request, outcome, text);
            free_task(p, t);
            return;
        }
    }
}

/* ---- End ---- */

static struct task *find_task_on(struct peer *p, const struct peer_link *link)
{
    LIST_FOREACH (it, &p->acting.tasks) {
        struct task *t = CONTAINER_OF(it, struct task, list);

        if (t->link == link) {
            return t;
        }
    }
    return NULL;
}

void acting_link_closed(struct peer_link *link)
{
    struct peer *p = link->owner;
    struct task *t;

    while ((t = find_task_on(p, link)) != NULL) {
        free_task(p, t);
    }
    end_unknown(p, link, UINT64_MAX);
}

void acting_close(struct peer *p)
{
    uv_close((uv_handle_t *)&p->acting.timer, peer_handle_gone);
}
