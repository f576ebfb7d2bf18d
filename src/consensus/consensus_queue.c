/*
 * The two queues between agent and consensus thread, see consensus_queue.h.
 */
#include "consensus/consensus_queue.h"

struct item *item_new(enum item_kind kind)
{
    struct item *item = xmalloc(sizeof(*item));

    item->kind = kind;
    item->fd = -1;
    list_init(&item->node);
    return item;
}

void item_free(struct item *item)
{
    if (item == NULL) {
        return;
    }
    if (item->fd >= 0) {
        (void)close(item->fd); /* A socket nobody wants: nothing to save. */
    }
    free(item->bytes);
    free(item);
}

static void free_all(struct list *items)
{
    while (!list_is_empty(items)) {
        struct item *item = CONTAINER_OF(items->next, struct item, node);

        list_remove(&item->node);
        item_free(item);
    }
}

void queue_init(struct consensus_queue *q)
{
    int rv = uv_mutex_init(&q->mutex);

    ASSERT(rv == 0);
    list_init(&q->items);
    q->n_commits = 0;
    q->commit_bytes = 0;
    q->leadership = (struct consensus_leadership){.usable = false};
    q->open = false;
}

void queue_deinit(struct consensus_queue *q)
{
    free_all(&q->items);
    uv_mutex_destroy(&q->mutex);
}

void queue_open(struct consensus_queue *q, uv_loop_t *loop, uv_async_cb cb, void *data)
{
    int rv = uv_async_init(loop, &q->async, cb);

    ASSERT(rv == 0);
    q->async.data = data;
    uv_mutex_lock(&q->mutex);
    q->open = true;
    uv_mutex_unlock(&q->mutex);
}

void queue_close(struct consensus_queue *q, uv_close_cb cb)
{
    struct list items;

    list_init(&items);
    uv_mutex_lock(&q->mutex);
    q->open = false;
    uv_mutex_unlock(&q->mutex);
    queue_take(q, &items);
    free_all(&items);
    uv_close((uv_handle_t *)&q->async, cb);
}

static void append(struct consensus_queue *q, struct item *item)
{
    list_push_back(&q->items, &item->node);
    if (item->kind == ITEM_COMMIT) {
        q->n_commits++;
        q->commit_bytes += item->size;
    }
    (void)uv_async_send(&q->async); /* Fails only on a handle that is no async. */
}

bool queue_push(struct consensus_queue *q, struct item *item)
{
    bool open;

    uv_mutex_lock(&q->mutex);
    open = q->open;
    if (open) {
        append(q, item);
    }
    uv_mutex_unlock(&q->mutex);
    if (!open) {
        item_free(item);
    }
    return open;
}

static void drop_commits(struct consensus_queue *q)
{
    for (struct list *it = q->items.next, *next; it != &q->items; it = next) {
        struct item *item = CONTAINER_OF(it, struct item, node);

        next = it->next;
        if (item->kind == ITEM_COMMIT || item->kind == ITEM_RESTORE) {
            list_remove(&item->node);
            item_free(item);
        }
    }
    q->n_commits = 0;
    q->commit_bytes = 0;
}

/* Takes one that waits out of the queue. */
static struct item *take_leadership(struct consensus_queue *q)
{
    LIST_FOREACH (it, &q->items) {
        struct item *item = CONTAINER_OF(it, struct item, node);

        if (item->kind == ITEM_LEADERSHIP) {
            list_remove(&item->node);
            return item;
        }
    }
    return NULL;
}

/* In place of all commits that wait. A leadership that waits came behind some of them. */
static void replace_commits(struct consensus_queue *q, const struct store *s)
{
    struct item *restore = item_new(ITEM_RESTORE);
    struct item *leadership = take_leadership(q);

    drop_commits(q);
    restore->size = sizeof(*s);
    restore->bytes = xmalloc(sizeof(*s));
    memcpy(restore->bytes, s, sizeof(*s));
    append(q, restore);
    if (leadership != NULL) {
        append(q, leadership);
    }
}

void queue_push_commit(struct consensus_queue *q, struct item *item, const struct store *s)
{
    uv_mutex_lock(&q->mutex);
    if (!q->open) {
        item_free(item);
    } else if (q->n_commits < QUEUE_COMMITS_MAX && q->commit_bytes < QUEUE_COMMIT_BYTES_MAX) {
        append(q, item);
    } else {
        item_free(item);
        replace_commits(q, s);
    }
    uv_mutex_unlock(&q->mutex);
}

void queue_push_leadership(struct consensus_queue *q, const struct consensus_leadership *l)
{
    struct item *item = item_new(ITEM_LEADERSHIP);

    item->leadership = *l;
    uv_mutex_lock(&q->mutex);
    item_free(take_leadership(q));
    q->leadership = *l;
    if (q->open) {
        append(q, item);
    } else {
        item_free(item);
    }
    uv_mutex_unlock(&q->mutex);
}

void queue_leadership(struct consensus_queue *q, struct consensus_leadership *ret)
{
    uv_mutex_lock(&q->mutex);
    *ret = q->leadership;
    uv_mutex_unlock(&q->mutex);
}

void queue_take(struct consensus_queue *q, struct list *ret_items)
{
    uv_mutex_lock(&q->mutex);
    while (!list_is_empty(&q->items)) {
        struct list *it = q->items.next;

        list_remove(it);
        list_push_back(ret_items, it);
    }
    q->n_commits = 0;
    q->commit_bytes = 0;
    uv_mutex_unlock(&q->mutex);
}
