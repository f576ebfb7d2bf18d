/*
 * Lists of key=value texts.
 */
#include "base/kv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void set_replaces_and_add_repeats(void **state)
{
    /* hba lines repeat, parameters do not. */
    struct kv_list list = {0};

    (void)state;
    kv_add(&list, "a", "1");
    kv_add(&list, "a", "2");
    kv_set(&list, "a", "3");
    kv_set(&list, "b", NULL);
    kv_set(&list, "a", kv_get(&list, "a"));

    assert_int_equal(list.n, 3);
    assert_string_equal(kv_get(&list, "a"), "3");
    assert_string_equal(list.items[1].value, "2");
    assert_true(kv_has(&list, "b"));
    assert_null(kv_get(&list, "b"));
    assert_null(kv_get(&list, "c"));
    kv_remove(&list, "a");
    assert_int_equal(list.n, 1);
    assert_string_equal(list.items[0].key, "b");
    kv_deinit(&list);
    kv_deinit(NULL);
}

static void copy_is_deep_and_replaces(void **state)
{
    /* The source goes away. */
    struct kv_list src = {0};
    struct kv_list dst = {0};

    (void)state;
    kv_add(&dst, "old", "x");
    kv_add(&src, "port", "5432");
    kv_copy(&dst, &src);
    kv_deinit(&src);

    assert_int_equal(dst.n, 1);
    assert_string_equal(kv_get(&dst, "port"), "5432");
    kv_deinit(&dst);
}

static void sorting_is_by_key_then_value_and_nulls_first(void **state)
{
    /* Nulls stand between texts of one key, in a bad order. */
    struct kv_list list = {0};

    (void)state;
    kv_add(&list, "b", "2");
    kv_add(&list, "b", NULL);
    kv_add(&list, "b", "1");
    kv_add(&list, "a", "9");
    kv_sort(&list);

    assert_string_equal(list.items[0].key, "a");
    assert_null(list.items[1].value);
    assert_string_equal(list.items[2].value, "1");
    assert_string_equal(list.items[3].value, "2");
    kv_deinit(&list);
    kv_sort(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_replaces_and_add_repeats),
        cmocka_unit_test(copy_is_deep_and_replaces),
        cmocka_unit_test(sorting_is_by_key_then_value_and_nulls_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
