/*
 * Intrusive lists.
 */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
    int value;
    struct list node;
};

static int sum(struct list *head)
{
    int digits = 0;

    LIST_FOREACH (it, head) {
        digits = digits * 10 + CONTAINER_OF(it, struct item, node)->value;
    }
    return digits;
}

static void order_is_kept_and_removing_twice_is_harmless(void **state)
{
    /* Three items; the middle one goes, twice, and comes back last. */
    struct item items[3] = {{.value = 1}, {.value = 2}, {.value = 3}};
    struct list head;

    (void)state;
    list_init(&head);
    assert_true(list_is_empty(&head));
    for (size_t i = 0; i < 3; i++) {
        list_push_back(&head, &items[i].node);
    }
    assert_int_equal(sum(&head), 123);
    list_remove(&items[1].node);
    list_remove(&items[1].node);
    assert_int_equal(sum(&head), 13);
    list_push_back(&head, &items[1].node);
    assert_int_equal(sum(&head), 132);
    for (size_t i = 0; i < 3; i++) {
        list_remove(&items[i].node);
    }
    assert_true(list_is_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_kept_and_removing_twice_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
