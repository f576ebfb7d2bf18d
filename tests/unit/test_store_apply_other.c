/*
 * The cluster, members, configuration, requests and the ledger.
 */
#include "test_store_util.h"

static void nothing_happens_before_the_cluster(void **state)
{
    /* Any other command as the first one. */
    struct world *w = world_new();

    (void)state;
    member_command(w, "pg1", 1);
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    take_command(w, "pg1")->initialize = true;
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    free(w);
}

static void cluster_is_created_once(void **state)
{
    /* Without id or scope; right; again; another. */
    struct world *w = world_new();
    struct command_cluster_create *c = COMMAND(w, CLUSTER_CREATE, cluster_create);

    (void)state;
    c->cluster_id = 1;
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    c->cluster_id = 0;
    (void)str_copy(c->scope, sizeof(c->scope), "demo");
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    c->cluster_id = 1;
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->changes, CHANGE_CLUSTER);
    assert_int_equal(run(w), APPLY_UNCHANGED);
    c->cluster_id = 2;
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    free(w);
}

static void system_identifier_is_set_once(void **state)
{
    /* By an existing database that nobody owns yet. */
    struct world *w = world_with_members();
    struct command_cluster_init *c = COMMAND(w, CLUSTER_INIT, cluster_init);

    (void)state;
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    c->sysid = 5;
    c->expect_epoch = 1;
    assert_int_equal(run(w), APPLY_REFUSED_EPOCH);
    c->expect_epoch = 0;
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->changes, CHANGE_CLUSTER);
    assert_int_equal(run(w), APPLY_UNCHANGED);
    c->sysid = 6;
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    free(w);
}

static void deposed_initialiser_comes_too_late(void **state)
{
    /* pg1 made a database, but pg2 has the next epoch already. */
    struct world *w = world_with_members();
    struct command_cluster_init *c;

    (void)state;
    take_command(w, "pg1")->initialize = true;
    assert_int_equal(run(w), APPLY_DONE);
    take_command(w, "pg2")->initialize = true;
    assert_int_equal(run(w), APPLY_DONE);
    c = COMMAND(w, CLUSTER_INIT, cluster_init);
    c->expect_epoch = 1;
    c->sysid = 5;
    assert_int_equal(run(w), APPLY_REFUSED_EPOCH);
    assert_int_equal(w->store.cluster.init, INIT_RUNNING);
    free(w);
}

static void members_are_sorted_and_replaced_by_name(void **state)
{
    /* pg3, pg1, pg2, w1 came in that order; pg2 comes back under a new id. */
    struct world *w = world_with_members();
    const struct store *s = &w->store;

    (void)state;
    assert_string_equal(s->members[0].name, "pg1");
    assert_string_equal(s->members[1].name, "pg2");
    assert_string_equal(s->members[2].name, "pg3");
    member_command(w, "pg2", 2);
    assert_int_equal(run(w), APPLY_UNCHANGED);
    member_command(w, "pg2", 22)->nofailover = true;
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->changes, CHANGE_MEMBERS);
    assert_int_equal(s->n_members, 4);
    assert_true(s->members[1].id == 22 && s->members[1].nofailover);
    assert_null(store_find_member_by_id(s, 2));
    free(w);
}

static void every_field_of_a_member_is_kept(void **state)
{
    /* Random members; compared with the command by way of a second apply. */
    struct world *w = world_with_members();
    struct rng r;

    (void)state;
    rng_seed(&r, 3);
    for (int i = 0; i < 200; i++) {
        struct command_member_set *c = &w->c.member_set;

        random_command(&r, COMMAND_MEMBER_SET, &w->c);
        memset(c->name, 0, sizeof(c->name));
        memcpy(c->name, "pg2", 3);
        c->id = 2;
        assert_false(apply_result_is_refusal(run(w)));
        assert_int_equal(run(w), APPLY_UNCHANGED);
#define KEPT(kind, field) \
    c = &w->c.member_set; \
    assert_memory_equal(&c->field, &w->store.members[1].field, sizeof(c->field));
        COMMAND_FIELDS_member_set(KEPT)
#undef KEPT
    }
    free(w);
}

static struct command_member_proxy *proxy_command(struct world *w, const char *name, node_id id,
                                                  const char *url)
{
    struct command_member_proxy *c = COMMAND(w, MEMBER_PROXY, member_proxy);

    (void)str_copy(c->name, sizeof(c->name), name);
    c->id = id;
    (void)str_copy(c->url, sizeof(c->url), url);
    return c;
}

static void a_members_pooler_is_its_own_and_stays_when_the_rest_changes(void **state)
{
    /* Of pg2; then said again, kept under a new id, shortened, taken back; of nobody, and of the
     * id that pg2 had before. */
    struct world *w = world_with_members();
    const struct store_proxy *proxy = &w->store.members[1].proxy;

    (void)state;
    proxy_command(w, "pg2", 2, "postgres://10.0.0.2:6432/postgres");
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->changes, CHANGE_MEMBERS);
    assert_string_equal(proxy->url, "postgres://10.0.0.2:6432/postgres");
    assert_string_equal(w->store.members[0].proxy.url, "");
    assert_int_equal(run(w), APPLY_UNCHANGED);
    member_command(w, "pg2", 2);
    assert_int_equal(run(w), APPLY_UNCHANGED);
    member_command(w, "pg2", 22);
    assert_int_equal(run(w), APPLY_DONE);
    assert_string_equal(proxy->url, "postgres://10.0.0.2:6432/postgres");
    proxy_command(w, "pg2", 2, "postgres://a:1/a");
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    proxy_command(w, "pg9", 9, "postgres://a:1/a");
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    proxy_command(w, "pg2", 22, "postgres://a:1/a");
    assert_int_equal(run(w), APPLY_DONE);
    proxy_command(w, "pg2", 22, "");
    assert_int_equal(run(w), APPLY_DONE);
    assert_memory_equal(proxy, &(struct store_proxy){""}, sizeof(*proxy));
    free(w);
}

static void member_without_identity_or_with_anothers_is_refused(void **state)
{
    /* No name, no id, the id of pg1, the name of pg1 in capitals. */
    struct world *w = world_with_members();

    (void)state;
    member_command(w, "", 5);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    member_command(w, "pg5", 0);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    member_command(w, "pg5", 1);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    member_command(w, "PG1", 5);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    free(w);
}

static void table_of_members_has_an_end(void **state)
{
    /* Sixteen members; the seventeenth is refused, a change is not. */
    struct world *w = world_with_members();
    char name[NAME_SIZE];

    (void)state;
    for (int i = 4; i < MEMBERS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "n%d", i);
        member_command(w, name, 100 + (uint64_t)i);
        assert_int_equal(run(w), APPLY_DONE);
    }
    member_command(w, "x", 99);
    assert_int_equal(run(w), APPLY_REFUSED_LIMIT);
    member_command(w, "pg1", 1)->pg_port = 5433;
    assert_int_equal(run(w), APPLY_DONE);
    free(w);
}

static struct command_member_remove *remove_command(struct world *w, const char *name, uint64_t id)
{
    struct command_member_remove *c = COMMAND(w, MEMBER_REMOVE, member_remove);

    (void)str_copy(c->name, sizeof(c->name), name);
    c->id = id;
    return c;
}

static void member_is_removed_by_name_and_id(void **state)
{
    /* An unknown one, one that came back under a new id, and a right one. */
    struct world *w = world_with_members();

    (void)state;
    remove_command(w, "pg9", 1);
    assert_int_equal(run(w), APPLY_UNCHANGED);
    remove_command(w, "pg2", 22);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    remove_command(w, "pg2", 2);
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->changes, CHANGE_MEMBERS);
    assert_null(store_find_member(&w->store, "pg2"));
    assert_int_equal(w->store.n_members, 3);
    free(w);
}

static void owner_and_synchronous_members_stay_what_they_are(void **state)
{
    /* pg1 owns, pg2 holds its commits: neither can go or become a witness. */
    struct world *w = world_with_sync();

    (void)state;
    remove_command(w, "pg1", 1);
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    remove_command(w, "pg2", 2);
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    member_command(w, "pg1", 1)->mode = MODE_WITNESS;
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    member_command(w, "pg2", 2)->mode = MODE_WITNESS;
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    remove_command(w, "pg3", 3);
    assert_int_equal(run(w), APPLY_DONE);
    release_command(w);
    assert_int_equal(run(w), APPLY_DONE);
    remove_command(w, "pg1", 1);
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    free(w);
}

static void configuration_changes_by_compare_and_set(void **state)
{
    /* Two editors; an empty text; the same text again. */
    struct world *w = world_with_members();
    struct command_config_set *c = COMMAND(w, CONFIG_SET, config_set);
    const struct store *s = &w->store;

    (void)state;
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    (void)str_copy(c->config, sizeof(c->config), "{\"ttl\":3}");
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->changes, CHANGE_CONFIG);
    assert_true(s->config_revision == 1 && s->config_size == 9);
    assert_int_equal(run(w), APPLY_REFUSED_REVISION);
    c->expect_revision = 1;
    assert_int_equal(run(w), APPLY_UNCHANGED);
    (void)str_copy(c->config, sizeof(c->config), "{}");
    assert_int_equal(run(w), APPLY_DONE);
    assert_true(s->config_revision == 2 && s->config_size == 2 && s->config[5] == '\0');
    memset(c->config, 'x', CONFIG_SIZE - 1);
    c->expect_revision = 2;
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(s->config_size, CONFIG_SIZE - 1);
    free(w);
}

static struct command_request_set *request_command(struct world *w, enum request_kind kind,
                                                   const char *from, const char *to)
{
    struct command_request_set *c = COMMAND(w, REQUEST_SET, request_set);

    c->kind = kind;
    (void)str_copy(c->from, sizeof(c->from), from);
    (void)str_copy(c->to, sizeof(c->to), to);
    (void)str_copy(c->who, sizeof(c->who), "[::1]:4000");
    return c;
}

static void one_request_at_a_time(void **state)
{
    /* A switchover is asked for, another one meanwhile; it ends twice. */
    struct world *w = world_with_owner();
    struct command_request_end *end;
    uint64_t id;

    (void)state;
    request_command(w, REQUEST_SWITCHOVER, "pg1", "pg2");
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->changes, CHANGE_REQUEST | CHANGE_LEDGER);
    id = w->store.request.id;
    assert_true(id == w->index);
    assert_string_equal(newest_entry(w)->rule, "switchover");
    assert_string_equal(newest_entry(w)->result, "requested");
    assert_string_equal(newest_entry(w)->evidence, "from=pg1 to=pg2 at_us=0 asked by [::1]:4000");
    assert_int_equal(run(w), APPLY_REFUSED_BUSY);
    end = COMMAND(w, REQUEST_END, request_end);
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    end->request_id = id + 1;
    assert_int_equal(run(w), APPLY_REFUSED_STATE);
    end->request_id = id;
    end->done = true;
    (void)str_copy(end->text, sizeof(end->text), "pg2 is primary");
    end->expect_epoch = w->store.primary.epoch;
    end->expect_owned = false; /* Judged when nobody was owner, or before a release. */
    assert_int_equal(run(w), APPLY_REFUSED_EPOCH);
    end->expect_owned = true;
    end->expect_epoch--;
    assert_int_equal(run(w), APPLY_REFUSED_EPOCH);
    end->expect_epoch++;
    assert_int_equal(run(w), APPLY_DONE);
    assert_int_equal(w->changes, CHANGE_REQUEST | CHANGE_LEDGER);
    assert_true(w->store.request.id == 0 && w->store.outcome.request_id == id);
    assert_true(w->store.outcome.done);
    assert_string_equal(w->store.outcome.text, "pg2 is primary");
    assert_string_equal(newest_entry(w)->rule, "switchover");
    assert_string_equal(newest_entry(w)->subject, "pg2");
    assert_string_equal(newest_entry(w)->result, "request-done");
    assert_int_equal(run(w), APPLY_UNCHANGED);
    free(w);
}

static void request_must_make_sense(void **state)
{
    /* No kind, unknown members, to itself; a restart of the primary is fine. */
    struct world *w = world_with_owner();

    (void)state;
    request_command(w, REQUEST_NONE, "", "");
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    request_command(w, REQUEST_FAILOVER, "", "pg9");
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    request_command(w, REQUEST_SWITCHOVER, "pg9", "");
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    request_command(w, REQUEST_SWITCHOVER, "pg1", "pg1");
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    request_command(w, REQUEST_RESTART, "pg1", "pg1");
    assert_int_equal(run(w), APPLY_DONE);
    free(w);
}

static struct command_ledger_add *note_command(struct world *w, const char *evidence)
{
    struct command_ledger_add *c = COMMAND(w, LEDGER_ADD, ledger_add);

    (void)str_copy(c->node, sizeof(c->node), "pg1");
    (void)str_copy(c->rule, sizeof(c->rule), "lag-bound");
    (void)str_copy(c->evidence, sizeof(c->evidence), evidence);
    (void)str_copy(c->result, sizeof(c->result), "refused");
    c->time_us = (int64_t)w->index;
    return c;
}

static void repeated_notes_are_counted(void **state)
{
    /* Two candidates are refused in turn, three times; then a decision; then
     * one of them is refused again. */
    struct world *w = world_with_owner();
    uint64_t before = w->store.n_ledger;

    (void)state;
    for (int i = 0; i < 3; i++) {
        note_command(w, "pg2 lags");
        assert_int_equal(run(w), APPLY_DONE);
        assert_int_equal(w->changes, CHANGE_LEDGER);
        note_command(w, "pg3 lags");
        assert_int_equal(run(w), APPLY_DONE);
    }
    assert_true(w->store.n_ledger == before + 2);
    assert_int_equal(newest_entry(w)->count, 3);
    assert_true(newest_entry(w)->last_us > newest_entry(w)->time_us);
    release_command(w);
    assert_int_equal(run(w), APPLY_DONE);
    note_command(w, "pg3 lags");
    assert_int_equal(run(w), APPLY_DONE);
    assert_true(w->store.n_ledger == before + 4);
    assert_int_equal(newest_entry(w)->count, 1);
    free(w);
}

static void note_needs_a_rule(void **state)
{
    /* Every refusal has a name (E1). */
    struct world *w = world_with_owner();

    (void)state;
    note_command(w, "x")->rule[0] = '\0';
    assert_int_equal(run(w), APPLY_REFUSED_VALUE);
    free(w);
}

static void ledger_is_a_ring(void **state)
{
    /* More notes than it has room for. */
    struct world *w = world_with_members();
    char text[TEXT_SIZE];

    (void)state;
    for (int i = 0; i < LEDGER_MAX + 3; i++) {
        (void)snprintf(text, sizeof(text), "%d", i);
        note_command(w, text);
        assert_int_equal(run(w), APPLY_DONE);
    }
    assert_true(w->store.n_ledger == LEDGER_MAX + 3);
    assert_string_equal(newest_entry(w)->evidence, text);
    assert_string_equal(store_ledger_newest(&w->store, LEDGER_MAX - 1)->evidence, "3");
    assert_null(store_ledger_newest(&w->store, LEDGER_MAX));
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_happens_before_the_cluster),
        cmocka_unit_test(cluster_is_created_once),
        cmocka_unit_test(system_identifier_is_set_once),
        cmocka_unit_test(deposed_initialiser_comes_too_late),
        cmocka_unit_test(members_are_sorted_and_replaced_by_name),
        cmocka_unit_test(every_field_of_a_member_is_kept),
        cmocka_unit_test(a_members_pooler_is_its_own_and_stays_when_the_rest_changes),
        cmocka_unit_test(member_without_identity_or_with_anothers_is_refused),
        cmocka_unit_test(table_of_members_has_an_end),
        cmocka_unit_test(member_is_removed_by_name_and_id),
        cmocka_unit_test(owner_and_synchronous_members_stay_what_they_are),
        cmocka_unit_test(configuration_changes_by_compare_and_set),
        cmocka_unit_test(one_request_at_a_time),
        cmocka_unit_test(request_must_make_sense),
        cmocka_unit_test(repeated_notes_are_counted),
        cmocka_unit_test(note_needs_a_rule),
        cmocka_unit_test(ledger_is_a_ring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
