/*
 * Sequences on real PostgreSQL, cut off in each step of each table and decided
 * again: the second run reaches the goal from wherever the first was.
 */
#include "test_ops_world.h"

/*
 * Runs the action, and cancels it in its k-th step. A step too short to be seen
 * is let through. False once there is no k-th step.
 */
static bool run_cut_at(struct node *n, enum node_action action, const struct node *upstream,
                       size_t k)
{
    const char *name = op_steps(action)[k].name;
    char step[NAME_SIZE];

    if (name == NULL) {
        return false;
    }
    (void)snprintf(step, sizeof(step), "%s: %s", node_action_name(action), name);
    decide_on(n, action, upstream);
    TURN_UNTIL(ops_is_idle(n->ops) || str_equal(see(n).step, step));
    print_message("%s \"%s\"\n", ops_is_idle(n->ops) ? "ran through" : "cut at", step);
    ops_cancel(n->ops, clock_ms());
    wait_idle(n);
    return true;
}

static void a_bootstrap_can_be_cut_at_each_step(void **state)
{
    struct node *a = &w->a;

    (void)state;
    make_ops(a, "true");
    for (size_t k = 0; run_cut_at(a, ACTION_BOOTSTRAP, NULL, k); k++) {
        decide_on(a, ACTION_CLEAN_UP, NULL);
        wait_idle(a);
        look_anew(a);
        /* Valid only when whole: then decide() has it started in place. */
        act(a, a->status.data == DATA_VALID ? ACTION_START_PRIMARY : ACTION_BOOTSTRAP, NULL);
        assert_string_equal(query(a, "repl", REPL_PASSWORD, "SELECT 1"), "1");
        act(a, ACTION_STOP, NULL);
        remove_all(a->data);
        wait_data(a, DATA_EMPTY);
    }
}

static void a_clone_can_be_cut_at_each_step(void **state)
{
    struct node *a = &w->a, *b = &w->b;

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    for (size_t k = 0; run_cut_at(b, ACTION_CLONE, a, k); k++) {
        act(b, ACTION_CLONE, a);
        wait_role(b, PG_ROLE_STANDBY);
    }
}

static void start_and_stop_can_be_cut_at_each_step(void **state)
{
    static const enum node_action starts[] = {ACTION_START_PRIMARY, ACTION_START_STANDBY};
    struct node *a = &w->a;

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    for (size_t i = 0; i < ARRAY_LENGTH(starts); i++) {
        for (size_t k = 0; op_steps(starts[i])[k].name != NULL; k++) {
            (void)run_cut_at(a, ACTION_STOP, NULL, k);
            act(a, ACTION_STOP, NULL);
            (void)run_cut_at(a, starts[i], NULL, k);
            act(a, starts[i], NULL);
            wait_role(a, starts[i] == ACTION_START_PRIMARY ? PG_ROLE_PRIMARY : PG_ROLE_STANDBY);
        }
    }
}

static void a_promotion_can_be_cut_at_each_step(void **state)
{
    struct node *a = &w->a;

    (void)state;
    act(a, ACTION_BOOTSTRAP, NULL);
    for (size_t k = 0; op_steps(ACTION_PROMOTE)[k].name != NULL; k++) {
        act(a, ACTION_STOP, NULL);
        act(a, ACTION_START_STANDBY, NULL);
        wait_role(a, PG_ROLE_STANDBY);
        (void)run_cut_at(a, ACTION_PROMOTE, NULL, k);
        act(a, ACTION_PROMOTE, NULL);
        wait_role(a, PG_ROLE_PRIMARY);
    }
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        on_world(a_bootstrap_can_be_cut_at_each_step),
        on_world(a_clone_can_be_cut_at_each_step),
        on_world(start_and_stop_can_be_cut_at_each_step),
        on_world(a_promotion_can_be_cut_at_each_step),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_in_world(run_all);
}
