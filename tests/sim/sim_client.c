/* Rows from clients to servers and acknowledgements back; see sim_client.h. */
#include "sim_client.h"

#include <stdlib.h>

#include "checks.h"
#include "sim_node.h"

#define LOOK_EVERY_US    (500 * SIM_MS)
#define ROWS_WAITING_MAX 16

struct sim_client {
    int primary; /* Where the one behind the proxy writes; SIM_NOBODY = nowhere. */
    uint64_t looked_us;
    uint64_t last_ack_us[SIM_NODES_MAX];
};

struct row {
    uint64_t sent_us;
    uint64_t epoch;
    struct wal_pos pos;
    uint32_t sessions; /* Of the server that took it. */
};

#define WAIT_US     (25 * SIM_MS)
#define PATIENCE_US (5 * SIM_S)

/* The commit waits for a standby; a client does so for a while. */
static void wait_on(struct sim *s, const struct sim_event *e)
{
    const struct row *row = e->data;
    struct sim_event again = *e;

    if (s->now_us < row->sent_us + PATIENCE_US) {
        again.data = xmalloc(sizeof(*row));
        memcpy(again.data, row, sizeof(*row));
        sim_after(s, WAIT_US, &again);
    }
}

static void on_flushed(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    const struct row *row = e->data;

    if (n->pg.sessions != row->sessions || !sim_pg_can_acknowledge(&n->pg)) {
        return; /* The session is gone, and nobody was told anything. */
    }
    sim_pg_flush(n, row->pos);
    if (!sim_sync_lets_through(s, n, row->pos)) {
        wait_on(s, e);
        return;
    }
    check_s2_ack(s, n, row->pos);
    s->client->last_ack_us[n->i] = s->now_us;
    s->stats.rows++;
    s->stats.rows_after_thaw += n->pg.thawed_us != 0 && row->sent_us < n->pg.thawed_us ? 1 : 0;
    check_s1_ack(s, n, &(struct sim_ack){.epoch = n->pg.epoch, .sent_us = row->sent_us});
}

static void on_row(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = s->nodes[e->node];
    struct row *row;

    if (!sim_pg_takes_writes(&n->pg) || !sim_sync_lets_in(s, n)) {
        return;
    }
    row = xmalloc(sizeof(*row));
    *row = (struct row){.sent_us = e->number,
                        .epoch = n->pg.epoch,
                        .pos = sim_pg_insert(n),
                        .sessions = n->pg.sessions};
    sim_after(
        s, sim_between(s, 500, 4000),
        &(struct sim_event){
            .fn = on_flushed, .node = n->i, .from = SIM_NOBODY, .of_postgres = true, .data = row});
}

/* A client waits for its answer: few rows are sent to a frozen server. */
static void send_row(struct sim *s, int node)
{
    if (s->nodes[node]->held.n > ROWS_WAITING_MAX) {
        return;
    }
    sim_after(s, sim_between(s, 100, 2000),
              &(struct sim_event){.fn = on_row,
                                  .node = node,
                                  .from = SIM_NOBODY,
                                  .of_postgres = true,
                                  .number = s->now_us});
}

static void on_pinned(struct sim *s, const struct sim_event *e)
{
    send_row(s, (int)e->number);
    sim_after(s, sim_between(s, s->row_every_us, 2 * s->row_every_us), e);
}

static void look_for_primary(struct sim *s)
{
    struct sim_client *c = s->client;

    c->looked_us = s->now_us;
    for (int i = 0; i < s->n_nodes; i++) {
        if (s->nodes[i]->is_up && s->nodes[i]->agent->is_primary_now) {
            c->primary = i;
            return;
        }
    }
}

static void on_routed(struct sim *s, const struct sim_event *e)
{
    struct sim_client *c = s->client;

    if (s->now_us >= c->looked_us + LOOK_EVERY_US) {
        look_for_primary(s);
    }
    if (c->primary != SIM_NOBODY) {
        send_row(s, c->primary);
    }
    sim_after(s, sim_between(s, s->row_every_us, 2 * s->row_every_us), e);
}

struct sim_client *sim_client_new(struct sim *s)
{
    struct sim_client *c = xmalloc(sizeof(*c));
    struct sim_event e = {.node = SIM_NOBODY, .from = SIM_NOBODY};

    c->primary = SIM_NOBODY;
    e.fn = on_routed;
    sim_after(s, SIM_S, &e);
    e.fn = on_pinned;
    for (int i = 0; i < s->n_nodes; i++) {
        if (s->nodes[i]->mode == MODE_POSTGRES) {
            e.number = (uint64_t)i;
            sim_after(s, SIM_S, &e);
        }
    }
    return c;
}

void sim_client_free(struct sim_client *c)
{
    free(c);
}

uint64_t sim_client_last_ack_us(const struct sim *s, int node)
{
    return s->client->last_ack_us[node];
}
