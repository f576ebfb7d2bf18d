/*
 * The consensus thread: opens libraft on a loop of its own (consensus_open.c),
 * runs it, closes it. The happy path: open, items from the agent in, commits and
 * leadership out, ITEM_STOP, raft_close, end. A failure to open is reported and
 * ends the thread.
 */
#include "consensus/consensus_thread.h"

#include "base/log.h"
#include "consensus/workarounds.h"

#define CHECK_MS 1000
#define FULL_CHECKS_MAX                                                       \
    3 /* A new segment is made within that many seconds, or the disk is full. \
       */

struct consensus_thread *consensus_thread_new(struct consensus_shared *shared)
{
    struct consensus_thread *t = xmalloc(sizeof(*t));

    t->shared = shared;
    t->votes.fd = -1;
    t->votes_copy.fd = -1;
    list_init(&t->writes);
    t->store = xmalloc(sizeof(*t->store));
    t->command = xmalloc(sizeof(*t->command));
    store_init(t->store);
    thread_init_fsm(t);
    thread_init_transport(t);
    return t;
}

static void free_state(struct consensus_thread *t)
{
    vote_file_close(&t->votes);
    vote_file_close(&t->votes_copy);
    free(t->store);
    free(t->command);
    t->store = NULL;
    t->command = NULL;
}

void consensus_thread_free(struct consensus_thread *t)
{
    free_state(t);
    free(t);
}

void thread_answer(struct consensus_thread *t, struct request *request,
                   const struct propose_result *result)
{
    struct item *item = item_new(ITEM_RESULT);

    item->request = request;
    item->result = *result;
    (void)queue_push(&t->shared->out, item); /* Closed: the agent answered it itself. */
}

static uint8_t list_voters(const struct raft_configuration *conf, node_id *ids)
{
    uint8_t n = 0;

    for (unsigned i = 0; i < conf->n && n < VOTERS_MAX; i++) {
        if (conf->servers[i].role == RAFT_VOTER) {
            ids[n++] = conf->servers[i].id;
        }
    }
    return n;
}

void thread_report_leadership(struct consensus_thread *t)
{
    struct raft *r = &t->raft;
    struct consensus_leadership l;
    const char *address = NULL;
    raft_id leader = 0;

    if (t->holds_reports) {
        return;
    }
    memset(&l, 0, sizeof(l)); /* Compared as bytes. */
    raft_leader(r, &leader, &address);
    l.usable = t->running;
    l.is_leader = raft_state(r) == RAFT_LEADER;
    l.leader = leader;
    l.term = raft_current_term(r);
    l.n_voters = list_voters(&r->configuration, l.voters);
    l.n_committed = list_voters(&r->configuration_committed, l.committed);
    l.committed_index = r->configuration_committed_index;
    l.voters_index = r->configuration_uncommitted_index != 0 ? r->configuration_uncommitted_index
                                                             : r->configuration_committed_index;
    l.level_index = t->reported.level_index;
    if (l.committed_index <= raft_last_applied(r) + 1) {
        l.level_index = l.committed_index;
    }
    if (memcmp(&l, &t->reported, sizeof(l)) != 0) {
        t->reported = l;
        queue_push_leadership(&t->shared->out, &l);
    }
}

static void on_step(struct raft *r)
{
    struct consensus_thread *t = CONTAINER_OF(r, struct consensus_thread, raft);

    if (t->running) {
        thread_report_leadership(t);
    }
}

static void report_trouble(struct consensus_thread *t, bool trouble)
{
    static const char what[] = "no room for new segments of the Raft log";
    struct item *item = item_new(ITEM_TROUBLE);

    t->trouble = trouble;
    item->trouble = trouble;
    item->bytes = xstrdup(what);
    item->size = sizeof(what);
    (void)queue_push(&t->shared->out, item); /* Closed: nobody wants to know. */
}

/* libraft tries again by itself; whether it has room shows in what it reserved. */
static void check_disk(struct consensus_thread *t)
{
    if (t->io.capacity >= CAPACITY_MIN_KB) {
        t->full_checks = 0;
        if (t->trouble) {
            report_trouble(t, false);
        }
    } else if (!t->trouble && ++t->full_checks >= FULL_CHECKS_MAX) {
        report_trouble(t, true);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct consensus_thread *t = timer->data;

    if (t->running) {
        thread_report_leadership(t);
        thread_expire_connects(t);
        check_disk(t);
    }
}

static void on_async_closed(uv_handle_t *handle)
{
    (void)handle; /* The loop ends when the last handle is gone. */
}

static void on_raft_closed(struct raft *r)
{
    struct consensus_thread *t = CONTAINER_OF(r, struct consensus_thread, raft);

    raft_uv_close(&t->io);
    uv_close((uv_handle_t *)&t->timer, NULL);
    queue_close(&t->shared->in, on_async_closed);
}

static void stop(struct consensus_thread *t)
{
    if (t->running) {
        t->running = false;
        raft_close(&t->raft, on_raft_closed); /* Pending requests end as unknown. */
    }
}

static void handle(struct consensus_thread *t, struct item *item)
{
    switch (item->kind) {
    case ITEM_PROPOSE:
        thread_propose(t, item);
        break;
    case ITEM_BARRIER:
        thread_barrier(t, item->request);
        break;
    case ITEM_TRANSFER:
        thread_transfer(t, item->id);
        break;
    case ITEM_ACCEPT:
        thread_accept(t, item->id, &item->fd);
        break;
    case ITEM_CONNECTED:
        thread_connected(t, item->number, &item->fd);
        break;
    case ITEM_ADD:
        thread_add_voter(t, item->id, item->request);
        break;
    case ITEM_REMOVE:
        thread_remove_voter(t, item->id, item->request);
        break;
    case ITEM_STOP:
        stop(t);
        break;
    case ITEM_COMMIT:
    case ITEM_RESTORE:
    case ITEM_RESULT:
    case ITEM_CONNECT:
    case ITEM_LEADERSHIP:
    case ITEM_TROUBLE:
    case ITEM_OPENED:
        PRE(false); /* Goes the other way. */
        break;
    }
}

static void on_items(uv_async_t *async)
{
    struct consensus_thread *t = async->data;
    struct list items;

    list_init(&items);
    queue_take(&t->shared->in, &items);
    while (!list_is_empty(&items)) {
        struct item *item = CONTAINER_OF(items.next, struct item, node);

        list_remove(&item->node);
        handle(t, item);
        item_free(item);
    }
}

void consensus_push_opened(struct consensus_shared *s, enum consensus_opened result,
                           const struct err *err)
{
    struct item *item = item_new(ITEM_OPENED);

    item->opened = result;
    item->bytes = xstrdup(err->text);
    item->size = strlen(err->text) + 1;
    (void)queue_push(&s->out, item); /* Closed: nobody wants to know. */
}

static bool is_stopping(struct consensus_shared *s)
{
    bool stopping;

    uv_mutex_lock(&s->mutex);
    stopping = s->stopping;
    uv_mutex_unlock(&s->mutex);
    return stopping;
}

static void publish_end(struct consensus_shared *s)
{
    uv_mutex_lock(&s->mutex);
    s->ended = true;
    uv_cond_broadcast(&s->changed);
    uv_mutex_unlock(&s->mutex);
}

/* Until ITEM_STOP. */
static void run(struct consensus_thread *t)
{
    int rv = uv_timer_init(&t->loop, &t->timer);

    ASSERT(rv == 0);
    rv = uv_timer_start(&t->timer, on_timer, CHECK_MS, CHECK_MS);
    ASSERT(rv == 0);
    t->timer.data = t;
    t->running = true;
    t->raft.legacy.step_cb = on_step;
    queue_open(&t->shared->in, &t->loop, on_items, t);
    thread_report_leadership(t);
    if (is_stopping(t->shared)) { /* Its ITEM_STOP found the queue closed. */
        stop(t);
    }
    rv = uv_run(&t->loop, UV_RUN_DEFAULT);
    ASSERT(rv == 0);
    rv = uv_loop_close(&t->loop);
    ASSERT(rv == 0);
}

void *consensus_thread_main(void *arg)
{
    struct consensus_thread *t = arg;
    struct consensus_shared *s = t->shared;
    struct err err = {""};
    bool bootstraps = s->n_first > 0;
    enum consensus_opened result = bootstraps ? thread_bootstrap(t, &err) : thread_open(t, &err);
    bool is_closed = bootstraps || result == CONSENSUS_OPENED || thread_close_failed(t);

    if (!bootstraps && result == CONSENSUS_OPENED) {
        consensus_push_opened(s, result, &err);
        run(t);
        publish_end(s);
    } else {
        publish_end(s); /* First: the agent may try again when it hears of this. */
        consensus_push_opened(s, result, &err);
    }
    if (is_closed) {
        consensus_thread_free(t);
    } else {
        free_state(t); /* t itself is leaked: libraft's handles may still point into it. */
    }
    consensus_shared_unref(s);
    return NULL;
}
