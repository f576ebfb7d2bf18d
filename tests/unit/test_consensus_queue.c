/*
 * The queues between agent and thread: order, bounds, ownership.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "consensus/consensus_queue.h"

static uv_loop_t loop;
static struct consensus_queue queue;
static struct store store;
static unsigned n_wakes;

static void on_wake(uv_async_t *async)
{
    assert_ptr_equal(async->data, &queue);
    n_wakes++;
}

static int open_queue(void **state)
{
    (void)state;
    n_wakes = 0;
    assert_int_equal(uv_loop_init(&loop), 0);
    queue_init(&queue);
    queue_open(&queue, &loop, on_wake, &queue);
    store_init(&store);
    return 0;
}

static int close_queue(void **state)
{
    (void)state;
    if (queue.open) {
        queue_close(&queue, NULL);
    }
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    queue_deinit(&queue);
    return 0;
}

/* Takes everything; returns how many, and fills in kinds and numbers. */
static size_t take(enum item_kind *kinds, uint64_t *numbers, size_t max)
{
    struct list items;
    size_t n = 0;

    list_init(&items);
    queue_take(&queue, &items);
    while (!list_is_empty(&items)) {
        struct item *item = CONTAINER_OF(items.next, struct item, node);

        assert_true(n < max);
        kinds[n] = item->kind;
        numbers[n] = item->kind == ITEM_RESTORE ? ((const struct store *)item->bytes)->applied_index
                                                : item->number;
        n++;
        list_remove(&item->node);
        item_free(item);
    }
    return n;
}

static void push_commit(uint64_t index, size_t size)
{
    struct item *item = item_new(ITEM_COMMIT);

    item->number = index;
    item->bytes = xmalloc(size);
    item->size = size;
    store.applied_index = index;
    queue_push_commit(&queue, item, &store);
}

static void items_come_out_in_order_and_wake_the_receiver(void **state)
{
    enum item_kind kinds[3];
    uint64_t numbers[3];

    (void)state;
    for (uint64_t i = 0; i < 3; i++) {
        struct item *item = item_new(ITEM_CONNECT);

        item->number = i;
        assert_true(queue_push(&queue, item));
    }
    (void)uv_run(&loop, UV_RUN_ONCE);
    assert_true(n_wakes >= 1);
    assert_int_equal(take(kinds, numbers, 3), 3);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(numbers[i], i);
    }
}

/* The agent's loop stands still while commands are committed. */
static void too_many_commits_become_one_copy_of_the_store(void **state)
{
    static enum item_kind kinds[QUEUE_COMMITS_MAX + 8];
    static uint64_t numbers[QUEUE_COMMITS_MAX + 8];
    size_t n;

    (void)state;
    assert_true(queue_push(&queue, item_new(ITEM_RESULT)));
    for (uint64_t i = 1; i <= QUEUE_COMMITS_MAX + 3; i++) {
        push_commit(i, 16);
    }
    n = take(kinds, numbers, ARRAY_LENGTH(kinds));

    assert_int_equal(n, 4); /* Results are nobody's to drop. */
    assert_int_equal(kinds[0], ITEM_RESULT);
    assert_int_equal(kinds[1], ITEM_RESTORE);
    assert_int_equal(numbers[1], QUEUE_COMMITS_MAX + 1);
    assert_int_equal(numbers[2], QUEUE_COMMITS_MAX + 2);
    assert_int_equal(numbers[3], QUEUE_COMMITS_MAX + 3);
}

static void commits_that_are_too_large_together_become_one_copy(void **state)
{
    static enum item_kind kinds[64];
    static uint64_t numbers[64];
    size_t n;

    (void)state;
    for (uint64_t i = 1; i <= 40; i++) {
        push_commit(i, 256 * 1024);
    }
    n = take(kinds, numbers, ARRAY_LENGTH(kinds));
    assert_int_equal(kinds[0], ITEM_RESTORE);
    assert_true(n < 32);
    assert_int_equal(numbers[n - 1], 40);
}

static void only_the_newest_leadership_waits(void **state)
{
    struct consensus_leadership l = {0};
    enum item_kind kinds[2];
    uint64_t numbers[2];

    (void)state;
    for (l.term = 1; l.term <= 5; l.term++) {
        queue_push_leadership(&queue, &l);
    }
    assert_int_equal(take(kinds, numbers, 2), 1);
    assert_int_equal(kinds[0], ITEM_LEADERSHIP);
}

/* What it says of the store's level is true only behind the commits. */
static void a_leadership_stays_behind_what_was_committed_before_it(void **state)
{
    static enum item_kind kinds[QUEUE_COMMITS_MAX + 8];
    static uint64_t numbers[QUEUE_COMMITS_MAX + 8];
    struct consensus_leadership l = {.level_index = 7};
    struct consensus_leadership now;

    (void)state;
    for (uint64_t i = 1; i <= QUEUE_COMMITS_MAX; i++) {
        push_commit(i, 16);
    }
    queue_push_leadership(&queue, &l);
    queue_leadership(&queue, &now);
    assert_int_equal(now.level_index, 7);
    push_commit(QUEUE_COMMITS_MAX + 1, 16);
    assert_int_equal(take(kinds, numbers, ARRAY_LENGTH(kinds)), 2);
    assert_int_equal(kinds[0], ITEM_RESTORE);
    assert_int_equal(kinds[1], ITEM_LEADERSHIP);
}

static void a_closed_queue_closes_what_it_is_given(void **state)
{
    struct item *item = item_new(ITEM_ACCEPT);
    int fd = open("/dev/null", O_RDONLY);

    (void)state;
    assert_true(fd >= 0);
    queue_close(&queue, NULL);
    item->fd = fd;
    assert_false(queue_push(&queue, item));
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    push_commit(1, 16);
    queue_push_leadership(&queue, &(struct consensus_leadership){0});
    item_free(NULL);
}

#define QUEUE_TEST(name) cmocka_unit_test_setup_teardown(name, open_queue, close_queue)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_TEST(items_come_out_in_order_and_wake_the_receiver),
        QUEUE_TEST(too_many_commits_become_one_copy_of_the_store),
        QUEUE_TEST(commits_that_are_too_large_together_become_one_copy),
        QUEUE_TEST(only_the_newest_leadership_waits),
        QUEUE_TEST(a_leadership_stays_behind_what_was_committed_before_it),
        QUEUE_TEST(a_closed_queue_closes_what_it_is_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
