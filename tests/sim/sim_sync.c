/* See sim_sync.h. */
#include "sim_sync.h"

#include <stdlib.h>

#include "base/str.h"
#include "core/sync_rules.h"
#include "sim_node.h"
#include "trace.h"

#define PROBE_EVERY_US (20 * SIM_MS)
#define PRIORITY_US    (20000 * SIM_MS) /* So long a tag stays as it is. */

enum sync_mode sim_sync_mode(const struct sim *s)
{
    return !s->options.sync ? SYNC_OFF : s->seed % 3 == 0 ? SYNC_STRICT : SYNC_ON;
}

static bool is_for(const struct sync_wait *w, const char *name)
{
    return w->kind == SYNC_WAIT_NAME && str_equal(w->name, name);
}

static bool is_same(const struct sync_wait *a, const struct sync_wait *b)
{
    return a->kind == b->kind && str_equal(a->name, b->name);
}

/* ---- The server ---- */

static uint64_t late_us(struct sim *s)
{
    return sim_between(s, 1, sim_chance(s, 950) ? 50 : 3000) * SIM_MS;
}

static void on_checkpointer(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    struct sim_sync *y = &n->pg.sync;

    if (n->pg.incarnation == e->number) {
        y->waits = y->file.kind == SYNC_WAIT_FOREVER || y->file.kind == SYNC_WAIT_NAME;
    }
}

struct reading {
    int standby;
};

static void on_sender(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    const struct reading *r = e->data;

    if (n->pg.incarnation == e->number) {
        n->pg.sync.senders[r->standby] = n->pg.sync.file;
    }
}

static void reload(struct sim *s, struct sim_node *n)
{
    struct sim_event e = {
        .fn = on_checkpointer,
        .node = n->i,
        .from = SIM_NOBODY,
        .of_postgres = true,
        .number = n->pg.incarnation,
    };

    sim_after(s, late_us(s), &e);
    e.fn = on_sender;
    for (int i = 0; i < s->n_nodes; i++) {
        struct reading *r = xmalloc(sizeof(*r));

        r->standby = i;
        e.data = r;
        sim_after(s, late_us(s), &e);
    }
}

void sim_sync_start(struct sim *s, struct sim_node *n, bool as_standby)
{
    struct sim_sync *y = &n->pg.sync;

    if (!s->options.sync) {
        return;
    }
    *y = (struct sim_sync){.file.kind = SYNC_WAIT_FOREVER,
                           .gate_closed = !as_standby && s->options.mutant != MUTANT_NO_GATE};
    reload(s, n); /* Until then commits do not wait. */
}

void sim_sync_connect(struct sim *s, struct sim_node *standby)
{
    struct sim_sync *up = &s->nodes[standby->pg.upstream]->pg.sync;

    up->senders[standby->i] = up->file;
}

static bool streams(const struct sim_node *n, const struct sim_node *standby)
{
    return standby->pg.run == PG_RUN_STANDBY && standby->pg.upstream == n->i &&
           standby->pg.connected_to == n->pg.incarnation;
}

bool sim_sync_lets_in(const struct sim *s, const struct sim_node *n)
{
    return !s->options.sync || !n->pg.sync.gate_closed;
}

bool sim_sync_lets_through(const struct sim *s, const struct sim_node *n, struct wal_pos pos)
{
    if (!s->options.sync || !n->pg.sync.waits) {
        return true;
    }
    for (int i = 0; i < s->n_nodes; i++) {
        const struct sim_node *standby = s->nodes[i];

        if (streams(n, standby) && is_for(&n->pg.sync.senders[i], standby->name) &&
            wal_contains(&s->wal, standby->pg.flushed, pos)) {
            return true;
        }
    }
    return false;
}

/* ---- What is seen ---- */

static bool add_replicas(const struct sim *s, const struct sim_node *n, struct sim_sync_seen *seen)
{
    bool any = false;

    for (int i = 0; i < s->n_nodes; i++) {
        const struct sim_node *standby = s->nodes[i];
        struct view_replica *r = &seen->replicas[seen->n_replicas];

        if (i == n->i || !streams(n, standby)) {
            continue;
        }
        *r = (struct view_replica){.state = "streaming",
                                   .flushed = wal_lsn(standby->pg.flushed),
                                   .sync_priority = is_for(&n->pg.sync.senders[i], standby->name)};
        (void)str_copy(r->name, NAME_SIZE, standby->name);
        any = any || r->sync_priority != 0;
        seen->n_replicas++;
    }
    return any;
}

void sim_sync_observe(struct sim *s, struct sim_node *n)
{
    struct sim_sync_agent *a = &n->agent->sync;
    struct sim_sync_seen seen = {.wait = n->pg.sync.file, .flushed = wal_lsn(n->pg.flushed)};

    if (!s->options.sync || n->mode != MODE_POSTGRES || sim_pg_is_frozen(s, n)) {
        return;
    }
    if (a->incarnation != n->pg.incarnation) {
        a->incarnation = n->pg.incarnation;
        a->seen.quiet = a->held = a->released = a->probing = false;
    }
    seen.valid = (n->pg.run == PG_RUN_PRIMARY || n->pg.run == PG_RUN_STANDBY) && !a->writing;
    seen.quiet = !add_replicas(s, n, &seen) && seen.valid && a->probing && n->pg.sync.waits &&
                 seen.wait.kind == SYNC_WAIT_FOREVER;
    if (seen.quiet && a->seen.quiet && !a->held) {
        a->held = true;
        a->held_lsn = seen.flushed;
    }
    a->seen = seen;
}

/* ---- A commit of the agent's own ---- */

struct probe {
    struct wal_pos pos;
    uint32_t incarnation;
};

static void on_probe(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    struct sim_sync_agent *a = &n->agent->sync;
    const struct probe *p = e->data;

    if (n->pg.incarnation != p->incarnation || n->pg.run != PG_RUN_PRIMARY) {
        a->probing = false;
        return;
    }
    sim_pg_flush(n, p->pos);
    if (!sim_sync_lets_through(s, n, p->pos)) {
        struct sim_event again = *e;

        again.data = xmalloc(sizeof(*p));
        memcpy(again.data, p, sizeof(*p));
        sim_after(s, PROBE_EVERY_US, &again);
        return;
    }
    a->probing = false;
    a->probed_us = s->now_us;
    a->released = a->held && n->pg.sync.file.kind == SYNC_WAIT_NAME;
    a->held = a->released;
    a->seen.quiet = false;
    sim_node_dirty(s, n);
}

static void start_probe(struct sim *s, struct sim_node *n)
{
    struct sim_sync_agent *a = &n->agent->sync;
    struct probe *p;

    if (a->probing || n->pg.run != PG_RUN_PRIMARY || s->now_us < a->probed_us + 100 * SIM_MS) {
        return;
    }
    p = xmalloc(sizeof(*p));
    *p = (struct probe){sim_pg_insert(n), n->pg.incarnation};
    a->probing = true;
    a->seen.quiet = false;
    sim_after(s, SIM_MS,
              &(struct sim_event){
                  .fn = on_probe, .node = n->i, .from = SIM_NOBODY, .life = n->life, .data = p});
}

/* ---- What PostgreSQL is told ---- */

struct written {
    struct sync_wait wait;
    bool gate_closed;
    uint32_t incarnation;
};

static void on_written(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    const struct written *w = e->data;

    n->agent->sync.writing = false;
    if (n->pg.incarnation == w->incarnation && sim_pg_postmaster_alive(&n->pg)) {
        n->pg.sync.file = w->wait;
        n->pg.sync.gate_closed = w->gate_closed;
        TRACE(s, n, "postgres: commits wait for kind %d %s, gate %s", (int)w->wait.kind,
              w->wait.name, w->gate_closed ? "closed" : "open");
        reload(s, n);
    }
    n->agent->sync.seen.valid = false; /* Looked at again. */
    sim_node_dirty(s, n);
}

static void write_conf(struct sim *s, struct sim_node *n, const struct sync_decision *d)
{
    struct sim_sync_agent *a = &n->agent->sync;
    struct written *w = xmalloc(sizeof(*w));
    bool keeps = d->wait.kind == SYNC_WAIT_KEEP || is_same(&d->wait, &a->seen.wait);

    *w = (struct written){.wait = keeps ? a->seen.wait : d->wait,
                          .gate_closed = n->pg.sync.gate_closed && !d->gate_open,
                          .incarnation = n->pg.incarnation};
    if (!keeps) {
        a->held =
            a->held && a->seen.wait.kind == SYNC_WAIT_FOREVER && d->wait.kind == SYNC_WAIT_NAME;
        a->released = false;
        a->seen.quiet = false;
    }
    a->writing = true;
    sim_after(s, sim_between(s, 2, 60) * SIM_MS,
              &(struct sim_event){
                  .fn = on_written, .node = n->i, .from = SIM_NOBODY, .life = n->life, .data = w});
}

static void note_tightening(struct sim_node *n, const struct sync_decision *d)
{
    struct sim_sync_agent *a = &n->agent->sync;
    uint64_t now_ms = n->agent->view.now_ms;

    sync_rules_remember(&n->agent->view, d, &a->rests);
    a->since_ms = !d->tightens ? 0 : a->since_ms != 0 ? a->since_ms : now_ms;
}

static void note_names(struct sim_node *n, const struct decision *d)
{
    for (uint32_t i = 0; i < d->n_commands; i++) {
        const struct command *c = &d->commands[i];

        if (c->kind == COMMAND_SYNC_SET && c->sync_set.n_names > 0) {
            n->agent->sync.risky_revision =
                MAX(n->agent->sync.risky_revision, c->sync_set.expect_sync_revision);
        }
    }
}

void sim_sync_act(struct sim *s, struct sim_node *n, const struct decision *d)
{
    struct sim_sync_agent *a = &n->agent->sync;
    enum node_action running = n->agent->view.op.running;
    const struct sync_wait *wanted = &d->sync.wait;
    bool told = wanted->kind == SYNC_WAIT_KEEP || is_same(wanted, &a->seen.wait);

    if (!s->options.sync || n->mode != MODE_POSTGRES) {
        return;
    }
    note_tightening(n, &d->sync);
    note_names(n, d);
    if (!a->seen.valid || a->writing || a->incarnation != n->pg.incarnation ||
        (running != ACTION_NONE && running != ACTION_CHECKPOINT)) {
        return;
    }
    if (!told || (d->sync.gate_open && n->pg.sync.gate_closed)) {
        write_conf(s, n, &d->sync);
    } else if (d->sync.probe) {
        start_probe(s, n);
    }
}

/* ---- The view ---- */

static void note_gone(struct sim_node *n, uint64_t now_ms)
{
    struct sim_sync_agent *a = &n->agent->sync;
    const struct store_sync *y = &n->agent->store.sync;
    bool there = y->n_names == 0 || !str_equal(y->primary, n->name);

    for (uint32_t i = 0; !there && i < a->seen.n_replicas; i++) {
        there = str_equal(a->seen.replicas[i].name, y->names[0]);
    }
    a->gone_since_ms = there ? 0 : a->gone_since_ms != 0 ? a->gone_since_ms : now_ms;
}

uint32_t sim_sync_priority(const struct sim *s, const struct sim_node *n)
{
    bool varies = s->options.sync && s->seed % 2 == 0;

    return varies ? 1 + (uint32_t)((s->now_us / PRIORITY_US + (uint64_t)n->i * 7 + s->seed) % 3)
                  : 1;
}

void sim_sync_gather(struct sim *s, struct sim_node *n)
{
    struct sim_sync_agent *a = &n->agent->sync;
    struct view *v = &n->agent->view;

    v->sync = (struct view_sync){.known = false};
    v->conf.sync_mode = sim_sync_mode(s);
    v->conf.maximum_lag_on_syncnode = s->seed % 3 == 0 ? (int64_t)(2 * WAL_RECORD_BYTES) : -1;
    if (!s->options.sync || n->mode != MODE_POSTGRES) {
        return;
    }
    note_gone(n, v->now_ms);
    v->pg.n_replicas = a->seen.n_replicas;
    memcpy(v->pg.replicas, a->seen.replicas, sizeof(a->seen.replicas));
    v->sync = (struct view_sync){
        .known = a->seen.valid && !a->writing && a->incarnation == n->pg.incarnation,
        .wait = a->seen.wait,
        .held = a->held,
        .held_lsn = a->held_lsn,
        .released = a->released,
        .gate_closed = n->pg.sync.gate_closed && sim_pg_postmaster_alive(&n->pg),
        .gone_since_ms = a->gone_since_ms,
        .since_ms = a->since_ms,
        .rests = a->rests,
        .risky_revision = n->agent->caught_up ? a->risky_revision : UINT64_MAX,
    };
    if (s->options.mutant == MUTANT_NO_PROOF) { /* What the session has read is in force. */
        v->sync.held = v->sync.released = true;
    }
}

void sim_sync_on_caught_up(struct sim_node *n)
{
    n->agent->sync.risky_revision = n->agent->store.sync.revision;
}
