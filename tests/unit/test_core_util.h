/*
 * A situation to decide on: one view of a cluster of three, pg1 and pg2 and the
 * witness w, seen by pg1, that tests bend into shape.
 */
#ifndef TEST_CORE_UTIL_H
#define TEST_CORE_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/str.h"
#include "core/decide.h"
#include "store/apply.h"

#define MB        UINT64_C(1048576)
#define TEST_NOW  UINT64_C(1000000)
#define TEST_WALL INT64_C(1700000000000000)

enum { PG1 = 1, PG2 = 2, PG3 = 3, W = 9 };

struct scene {
    struct view view;
    struct store store;
    struct decision decision;
    uint64_t index;
};

static inline void scene_apply(struct scene *s, const struct command *c)
{
    unsigned changes;

    assert_int_equal(store_apply(&s->store, ++s->index, c, &changes), APPLY_DONE);
}

static inline const char *node_name(node_id id)
{
    static const char *const names[] = {"?", "pg1", "pg2", "pg3", "pg4", "pg5", "?", "?", "?", "w"};

    return names[id];
}

static inline void scene_add_member(struct scene *s, node_id id, enum node_mode mode)
{
    struct command c = {.kind = COMMAND_MEMBER_SET};

    (void)str_copy(c.member_set.name, NAME_SIZE, node_name(id));
    c.member_set.id = id;
    c.member_set.mode = mode;
    c.member_set.failover_priority = 1;
    c.member_set.last_state = PG_STATE_RUNNING;
    (void)str_copy(c.member_set.pg_host, HOST_SIZE, mode == MODE_POSTGRES ? "10.0.0.1" : "");
    c.member_set.pg_port = 5432;
    scene_apply(s, &c);
}

static inline struct status status_make(node_id id, enum node_mode mode)
{
    struct status st = {
        .id = id,
        .mode = mode,
        .instance = 100 + id,
        .failover_priority = 1,
        .sync_priority = 1,
        .n_heard = 3,
        .heard = {PG1, PG2, W},
    };

    (void)str_copy(st.name, sizeof(st.name), node_name(id));
    if (mode == MODE_POSTGRES) {
        st.pg_state = PG_STATE_RUNNING;
        st.pg_role = PG_ROLE_STANDBY;
        st.data = DATA_VALID;
        st.sysid = 7;
        st.timeline = 1;
        st.flushed = 10 * MB;
        st.streaming = true;
    } else {
        st.pg_role = PG_ROLE_NONE;
    }
    return st;
}

/* A cluster with a database, nobody owner; both servers run as standby at the
 * same position. pg1 looks, and is the Raft leader. */
static inline struct scene *scene_new(void)
{
    struct scene *s = xmalloc(sizeof(*s));
    struct view *v = &s->view;
    struct command c = {.kind = COMMAND_CLUSTER_CREATE};

    c.cluster_create.cluster_id = 5;
    (void)str_copy(c.cluster_create.scope, NAME_SIZE, "demo");
    scene_apply(s, &c);
    scene_add_member(s, PG1, MODE_POSTGRES);
    scene_add_member(s, PG2, MODE_POSTGRES);
    scene_add_member(s, W, MODE_WITNESS);
    c = (struct command){.kind = COMMAND_CLUSTER_INIT, .cluster_init = {.sysid = 7}};
    scene_apply(s, &c);
    v->store = &s->store;
    v->now_ms = TEST_NOW;
    v->wall_us = TEST_WALL;
    v->conf = (struct view_conf){.ttl_ms = 3000,
                                 .loop_wait_ms = 1000,
                                 .maximum_lag_on_failover = (int64_t)MB,
                                 .primary_start_timeout_ms = 60000,
                                 .fence_margin_ms = 500,
                                 .status_period_ms = 300,
                                 .use_pg_rewind = true,
                                 .scope = "demo"};
    v->raft = (struct view_raft){.usable = true,
                                 .is_leader = true,
                                 .leader = PG1,
                                 .leader_since_ms = TEST_NOW - 60000,
                                 .caught_up = true,
                                 .n_voters = 3,
                                 .voters = {PG1, PG2, W},
                                 .epoch_applied_ms = TEST_NOW - 50000,
                                 .cluster_id = 5};
    v->self.status = status_make(PG1, MODE_POSTGRES);
    v->self.started_ms = TEST_NOW - 100000;
    v->self.member = s->store.members[0];
    v->pg = (struct view_pg){
        .postmaster_alive = true, .n_processes = 9, .seen_ms = TEST_NOW, .can_rewind = true};
    v->n_peers = 2;
    v->peers[0] = (struct view_peer){
        .status = status_make(PG2, MODE_POSTGRES), .received_ms = TEST_NOW - 10, .connected = true};
    v->peers[1] = (struct view_peer){
        .status = status_make(W, MODE_WITNESS), .received_ms = TEST_NOW - 10, .connected = true};
    return s;
}

static inline void scene_take(struct scene *s, node_id owner, uint64_t instance)
{
    struct command c = {.kind = COMMAND_EPOCH_TAKE};

    c.epoch_take.expect_epoch = s->store.primary.epoch;
    (void)str_copy(c.epoch_take.owner, NAME_SIZE, node_name(owner));
    c.epoch_take.owner_id = owner;
    c.epoch_take.instance = instance;
    c.epoch_take.initialize = s->store.cluster.init != INIT_DONE;
    (void)str_copy(c.epoch_take.rule, NAME_SIZE, "take-over");
    scene_apply(s, &c);
}

static inline void scene_hold(struct scene *s)
{
    struct command c = {.kind = COMMAND_EPOCH_HELD};

    c.epoch_held.expect_epoch = s->store.primary.epoch;
    scene_apply(s, &c);
}

static inline void scene_release(struct scene *s, const char *rule, const char *node)
{
    struct command c = {.kind = COMMAND_EPOCH_RELEASE};

    c.epoch_release.expect_epoch = s->store.primary.epoch;
    (void)str_copy(c.epoch_release.rule, NAME_SIZE, rule);
    (void)str_copy(c.epoch_release.node, NAME_SIZE, node);
    scene_apply(s, &c);
}

static inline void scene_request(struct scene *s, enum request_kind kind, const char *from,
                                 const char *to)
{
    struct command c = {.kind = COMMAND_REQUEST_SET};

    c.request_set.kind = kind;
    (void)str_copy(c.request_set.from, NAME_SIZE, from);
    (void)str_copy(c.request_set.to, NAME_SIZE, to);
    (void)str_copy(c.request_set.who, HOST_SIZE, "dba");
    c.request_set.time_us = TEST_WALL;
    scene_apply(s, &c);
}

/* pg1 holds the lease of the present epoch, which it owns. */
static inline void scene_give_lease(struct scene *s)
{
    s->view.lease = (struct view_lease){.live = true,
                                        .epoch = s->store.primary.epoch,
                                        .remaining_ms = 2900,
                                        .confirmed_ms = 2900,
                                        .live_since_ms = TEST_NOW - 1000};
    s->view.self.status.lease_epoch = s->store.primary.epoch;
    s->view.self.status.promise = PROMISE_LIVE;
    s->view.peers[0].status.promise = PROMISE_LIVE;
    s->view.peers[1].status.promise = PROMISE_LIVE;
}

static inline void scene_stop_postgres(struct scene *s, bool was_primary, bool clean)
{
    s->view.pg.postmaster_alive = false;
    s->view.pg.n_processes = 0;
    s->view.pg.gone_ms = TEST_NOW - 100;
    s->view.pg.was_primary = was_primary;
    s->view.pg.control_lsn = s->view.self.status.flushed;
    s->view.self.status.pg_state = PG_STATE_STOPPED;
    s->view.self.status.clean_shutdown = clean;
    s->view.self.status.streaming = false;
}

/* pg1 is the primary, with owner, lease and all; pg2 streams. */
static inline struct scene *scene_new_primary(void)
{
    struct scene *s = scene_new();

    scene_take(s, PG1, 101);
    scene_hold(s);
    scene_give_lease(s);
    s->view.self.status.pg_role = PG_ROLE_PRIMARY;
    s->view.pg.was_primary = true;
    s->store.progress = (struct store_progress){10 * MB, 1, 1, TEST_WALL};
    return s;
}

/* pg2 is the primary of the next epoch; pg1 is not. */
static inline struct scene *scene_new_standby(void)
{
    struct scene *s = scene_new();
    struct status *pg2 = &s->view.peers[0].status;

    scene_take(s, PG2, 102);
    scene_hold(s);
    pg2->pg_role = PG_ROLE_PRIMARY;
    pg2->lease_epoch = 1;
    pg2->promise = PROMISE_LIVE;
    s->view.peers[1].status.promise = PROMISE_LIVE;
    (void)str_copy(s->view.pg.upstream, NAME_SIZE, "pg2");
    return s;
}

static inline const struct decision *scene_decide(struct scene *s)
{
    decide(&s->view, &s->decision);
    return &s->decision;
}

static inline const struct command *scene_find(const struct scene *s, enum command_kind kind)
{
    for (uint32_t i = 0; i < s->decision.n_commands; i++) {
        if (s->decision.commands[i].kind == kind) {
            return &s->decision.commands[i];
        }
    }
    return NULL;
}

#define assert_node(s, rule_name, wanted)                           \
    do {                                                            \
        assert_string_equal(scene_decide(s)->node.rule, rule_name); \
        assert_int_equal((s)->decision.node.action, wanted);        \
    } while (0)

#define assert_cluster(s, rule_name) assert_string_equal(scene_decide(s)->cluster.rule, rule_name)

#endif
