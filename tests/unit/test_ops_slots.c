/*
 * Permanent slots on two real servers: made, kept where the primary's are, dropped when
 * they are not wanted any more; what is nobody's stays. What is decided of each slot is
 * test_core_slots.
 */
#include "core/slots.h"
#include "pg/pg_internal.h"
#include "test_ops_world.h"

#define SLOTS                                                                        \
    "SELECT string_agg(slot_name, ' ' ORDER BY slot_name) FROM pg_replication_slots" \
    " WHERE NOT temporary"
#define PLACE "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'backup'"

static struct kv_list slots, ignored;

static void configure(struct node *n)
{
    n->options.slots = &slots;
    n->options.ignore_slots = &ignored;
    pg_set_options(n->pg, &n->options);
}

static void start_cluster(void)
{
    kv_add(&w->a.parameters, "wal_level", "logical");
    kv_add(&w->b.parameters, "wal_level", "logical");
    configure(&w->a);
    configure(&w->b);
    act(&w->a, ACTION_BOOTSTRAP, NULL);
    wait_role(&w->a, PG_ROLE_PRIMARY);
    wait_answer(&w->a, SLOTS, "b_1 backup cdc");
    act(&w->b, ACTION_CLONE, &w->a);
    wait_role(&w->b, PG_ROLE_STANDBY);
}

static lsn_t place_of(const struct node *n)
{
    lsn_t lsn = 0;

    assert_true(lsn_parse(ask(n, PLACE), &lsn));
    return lsn;
}

/* The primary's moves, and the standby's after it, but no further. */
static void check_follows(struct node *primary, struct node *standby)
{
    lsn_t moved;
    char text[LSN_TEXT_SIZE];

    (void)ask(primary, "CREATE TABLE t AS SELECT generate_series(1, 1000) i");
    (void)ask(primary, "SELECT pg_switch_wal()"); /* One segment is not needed any more. */
    (void)ask(primary, "INSERT INTO t SELECT generate_series(1, 1000)");
    (void)ask(primary, "SELECT pg_replication_slot_advance('backup', pg_current_wal_flush_lsn())");
    (void)ask(primary, "INSERT INTO t SELECT generate_series(1, 1000)");
    moved = place_of(primary);
    wait_answer(standby, PLACE, lsn_format(moved, text, sizeof(text)));
    wait_answer(standby, "SELECT count(*) FROM t", "3000");
    assert_true(place_of(standby) == moved && place_of(primary) == moved);
}

static void permanent_slots_outlive_their_primary(void **state)
{
    struct node *a = &w->a, *b = &w->b;

    (void)state;
    kv_add(&slots, "elsewhere", "logical\tnowhere\tpgoutput"); /* Fails; the rest is made. */
    kv_add(&slots, "backup", "physical\t\t");
    kv_add(&slots, "cdc", "logical\ttemplate1\tpgoutput");
    start_cluster();
    (void)ask(a, "SELECT pg_create_physical_replication_slot('mine', true)");
    wait_answer(b, SLOTS, "a_1 backup"); /* Logical ones are the primary's. */
    check_follows(a, b);
    assert_string_equal(ask(a, SLOTS), "b_1 backup cdc mine");
    assert_string_equal(ask(a, "SELECT database, plugin FROM pg_replication_slots"
                               " WHERE slot_name = 'cdc'"),
                        "template1|pgoutput");

    act(a, ACTION_STOP, NULL);
    act(b, ACTION_PROMOTE, NULL);
    wait_answer(b, SLOTS, "a_1 backup cdc");
    assert_true(place_of(b) != 0);

    act(a, ACTION_CLONE, b);
    wait_role(a, PG_ROLE_STANDBY);
    wait_answer(a, SLOTS, "b_1 backup"); /* A copy has no slots. */
    kv_deinit(&slots);
    configure(a);
    configure(b);
    wait_answer(a, SLOTS, "b_1");
    wait_answer(b, SLOTS, "a_1");
}

/* A member's of before, which reserves nothing on a standby. */
static void check_is_made_again(struct node *b)
{
    (void)ask(b, "SELECT pg_drop_replication_slot('a_1'),"
                 " pg_create_physical_replication_slot('a_1', false)");
    wait_answer(b, "SELECT count(restart_lsn) FROM pg_replication_slots WHERE slot_name = 'a_1'",
                "1");
}

static void what_a_primary_leaves_behind_is_cleared_away(void **state)
{
    struct node *a = &w->a, *b = &w->b;

    (void)state;
    kv_add(&slots, "backup", "physical\t\t");
    kv_add(&slots, "cdc", "logical\ttemplate1\tpgoutput");
    start_cluster();
    (void)ask(a, "SELECT pg_create_physical_replication_slot('mine', true)");
    (void)ask(a, "SELECT pg_create_logical_replication_slot('his', 'pgoutput')");
    wait_answer(b, SLOTS, "a_1 backup");
    check_is_made_again(b);

    act(a, ACTION_STOP, NULL);
    act(b, ACTION_PROMOTE, NULL);
    act(b, ACTION_CHECKPOINT, NULL);
    act(a, ACTION_START_STANDBY, b);
    wait_role(a, PG_ROLE_STANDBY);
    /* The logical one that is wanted goes; those that we do not know stay. */
    wait_answer(a, SLOTS, "b_1 backup his mine");
    wait_answer(b, SLOTS, "a_1 backup cdc");
    kv_deinit(&slots);
}

/* PostgreSQL 17 is told that standbys may have it. */
static void a_logical_slot_is_made_for_failover_where_there_is_such_a_thing(void **state)
{
    const struct slot_spec spec = {"cdc", SLOT_LOGICAL, "shop", "it's"};
    const struct slot_decision create = {.action = SLOT_CREATE};
    struct strbuf sql = {0};

    (void)state;
    pg_slots_sql(&spec, &create, false, 16, &sql);
    assert_non_null(strstr(sql.data, "slot(E'cdc', E'it''s') WHERE NOT EXISTS "));
    assert_non_null(strstr(sql.data, " AND NOT pg_is_in_recovery();"));
    strbuf_deinit(&sql);
    pg_slots_sql(&spec, &create, false, 17, &sql);
    assert_non_null(strstr(sql.data, "slot(E'cdc', E'it''s', false, false, true) WHERE "));
    strbuf_deinit(&sql);
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        on_world(permanent_slots_outlive_their_primary),
        on_world(what_a_primary_leaves_behind_is_cleared_away),
        cmocka_unit_test(a_logical_slot_is_made_for_failover_where_there_is_such_a_thing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_in_world(run_all);
}
