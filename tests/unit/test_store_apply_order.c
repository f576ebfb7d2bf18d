/*
 * Operators' orders for one member: how many it may have, who ends them, what stays.
 */
#include "test_store_util.h"

#include "store/snapshot.h"

static struct command_order_set *order_command(struct world *w, const char *member,
                                               enum request_kind kind, int64_t at_us)
{
    struct command_order_set *c = COMMAND(w, ORDER_SET, order_set);

    c->kind = kind;
    (void)str_copy(c->member, sizeof(c->member), member);
    c->at_us = at_us;
    (void)str_copy(c->who, sizeof(c->who), "dba");
    return c;
}

static void end_command(struct world *w, uint64_t id, bool done, const char *text)
{
    struct command_order_end *c = COMMAND(w, ORDER_END, order_end);

    c->order_id = id;
    c->done = done;
    (void)str_copy(c->text, sizeof(c->text), text);
}

static void an_order_is_set_begun_and_ended_and_stays_to_be_told(void **state)
{
    struct world *w = world_with_owner();
    struct command_order_set *set = order_command(w, "pg1", REQUEST_RESTART, 0);
    const struct store_order *o;
    uint64_t id;

    (void)state;
    (void)str_copy(set->role, sizeof(set->role), "primary");
    set->pg_version = 150004;
    set->pending_only = true;
    set->timeout_ms = 7000;
    assert_int_equal(run(w), APPLY_DONE);
    o = store_find_order(&w->store, "pg1", false);
    assert_non_null(o);
    id = o->id;
    assert_true(id == w->store.applied_index);
    assert_string_equal(o->role, "primary");
    assert_true(o->pg_version == 150004 && o->pending_only && o->timeout_ms == 7000);
    assert_string_equal(newest_entry(w)->subject, "pg1");
    assert_string_equal(newest_entry(w)->result, "requested");

    COMMAND(w, ORDER_BEGIN, order_begin)->order_id = id;
    w->c.order_begin.postmaster_us = 55;
    assert_int_equal(run(w), APPLY_DONE);
    w->c.order_begin.postmaster_us = 66;
    assert_int_equal(run(w), APPLY_UNCHANGED);
    assert_true(o->begun && o->postmaster_us == 55);

    end_command(w, id, true, "restarted successfully");
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(run(w), APPLY_UNCHANGED);
    assert_null(store_find_order(&w->store, "pg1", false));
    o = store_find_order_by_id(&w->store, id);
    assert_true(o != NULL && o->ended && o->done);
    assert_string_equal(o->text, "restarted successfully");
    COMMAND(w, ORDER_BEGIN, order_begin)->order_id = id;
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    free(w);
}

static void a_member_has_one_at_once_and_one_scheduled(void **state)
{
    struct world *w = world_with_owner();
    uint64_t first;

    (void)state;
    order_command(w, "pg2", REQUEST_RESTART, 0);
    assert_int_equal(run(w), APPLY_DONE);
    first = w->store.applied_index;
    assert_int_equal(run(w), APPLY_REFUSED_BUSY);
    order_command(w, "pg2", REQUEST_REINIT, 0);
    assert_int_equal(run(w), APPLY_REFUSED_BUSY);
    order_command(w, "pg2", REQUEST_RESTART, 99);
    assert_int_equal(run(w), APPLY_DONE);
    order_command(w, "pg2", REQUEST_RESTART, 98);
    assert_int_equal(run(w), APPLY_REFUSED_BUSY);
    order_command(w, "pg1", REQUEST_RESTART, 0); /* Another member's is nobody's business. */
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->store.n_orders, 3);

    order_command(w, "pg2", REQUEST_REINIT, 0)->force = true;
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->store.n_orders, 3);
    assert_null(store_find_order_by_id(&w->store, first));
    assert_int_equal(store_find_order(&w->store, "pg2", false)->kind, REQUEST_REINIT);
    assert_true(store_find_order(&w->store, "pg2", true)->at_us == 99);
    free(w);
}

static void an_order_must_make_sense(void **state)
{
    struct world *w = world_with_owner();

    (void)state;
    order_command(w, "nobody", REQUEST_RESTART, 0);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    order_command(w, "w", REQUEST_RESTART, 0);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    order_command(w, "pg2", REQUEST_SWITCHOVER, 0);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    order_command(w, "pg2", REQUEST_REINIT, 5);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    end_command(w, 3, true, "");
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    COMMAND(w, ORDER_BEGIN, order_begin)->order_id = 0;
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    assert_int_equal(w->store.n_orders, 0);
    free(w);
}

/* A snapshot of a store without orders is as it was before there were any. */
static void orders_go_with_their_member_and_come_back_from_a_snapshot(void **state)
{
    static uint8_t bytes[SNAPSHOT_SIZE_MAX];
    static struct store restored;
    struct world *w = world_with_owner();
    struct command_member_remove *c;
    int size;

    (void)state;
    size = snapshot_encode(&w->store, bytes, sizeof(bytes), NULL);
    assert_int_equal(bytes[4], 1);
    order_command(w, "pg2", REQUEST_RESTART, 7);
    assert_int_equal(run(w), APPLY_DONE);
    order_command(w, "pg1", REQUEST_RESTART, 0);
    assert_int_equal(run(w), APPLY_DONE);
    size = snapshot_encode(&w->store, bytes, sizeof(bytes), NULL);
    assert_int_equal(bytes[4], 2);
    assert_int_equal(snapshot_decode(bytes, (size_t)size, &restored, NULL), 0);
    assert_memory_equal(&restored, &w->store, sizeof(restored));

    c = COMMAND(w, MEMBER_REMOVE, member_remove);
    (void)str_copy(c->name, sizeof(c->name), "pg2");
    c->id = store_find_member(&w->store, "pg2")->id;
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->store.n_orders, 1);
    assert_non_null(store_find_order(&w->store, "pg1", false));
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_is_set_begun_and_ended_and_stays_to_be_told),
        cmocka_unit_test(a_member_has_one_at_once_and_one_scheduled),
        cmocka_unit_test(an_order_must_make_sense),
        cmocka_unit_test(orders_go_with_their_member_and_come_back_from_a_snapshot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
