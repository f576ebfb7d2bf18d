/*
 * Rules broken on purpose, one at a time. Each must make a checker complain;
 * one that does not would mean that the checker sees nothing.
 */
#include "base/str.h"
#include "core/lookup.h"
#include "sim_node.h"

/* A voter forgets its promise with a reboot and grants at once. */
void mutate_start(struct sim *s, struct sim_node *n)
{
    if (s->options.mutant == MUTANT_NO_QUARANTINE) {
        n->agent->voter.resumed = true;
        n->agent->voter.barrier = true;
    }
}

uint64_t *command_expect_epoch(struct command *c)
{
    switch (c->kind) {
    case COMMAND_EPOCH_TAKE:
        return &c->epoch_take.expect_epoch;
    case COMMAND_EPOCH_HELD:
        return &c->epoch_held.expect_epoch;
    case COMMAND_EPOCH_RELEASE:
        return &c->epoch_release.expect_epoch;
    case COMMAND_CLUSTER_INIT:
        return &c->cluster_init.expect_epoch;
    case COMMAND_EPOCH_UNFENCED:
        return &c->epoch_unfenced.expect_epoch;
    case COMMAND_SYNC_SET:
        return &c->sync_set.expect_epoch;
    case COMMAND_HISTORY_ADD:
        return &c->history_add.expect_epoch;
    case COMMAND_PROGRESS_SET:
        return &c->progress_set.expect_epoch;
    case COMMAND_LINE_SET:
        return &c->line_set.expect_epoch;
    case COMMAND_NONE:
    case COMMAND_CLUSTER_CREATE:
    case COMMAND_MEMBER_SET:
    case COMMAND_MEMBER_REMOVE:
    case COMMAND_CONFIG_SET:
    case COMMAND_REQUEST_SET:
    case COMMAND_REQUEST_END:
    case COMMAND_LEDGER_ADD:
    case COMMAND_ORDER_SET:
    case COMMAND_ORDER_BEGIN:
    case COMMAND_ORDER_END:
    case COMMAND_MEMBER_PROXY:
    case COMMAND_KINDS:
        break;
    }
    return NULL;
}

/* Whatever epoch a command was decided on, it is taken for the present one. */
void mutate_command(const struct sim *s, struct store *store, struct command *c,
                    struct command_cas *ret_original)
{
    uint64_t *epoch = command_expect_epoch(c);

    *ret_original = (struct command_cas){NULL, 0};
    if (s->options.mutant == MUTANT_TAKES_UNFENCED && c->kind == COMMAND_EPOCH_TAKE) {
        store->primary.unfenced = false;
    }
    if (s->options.mutant == MUTANT_NO_CAS && epoch != NULL) {
        *ret_original = (struct command_cas){epoch, *epoch};
        *epoch = store->primary.epoch;
    }
}

void mutate_command_back(const struct command_cas *original)
{
    if (original->expect_epoch != NULL) {
        *original->expect_epoch = original->value;
    }
}

/* The standby with the least WAL that is heard. */
static const struct status *find_worst(const struct view *v)
{
    const struct status *worst = NULL;

    for (uint32_t i = 0; i < v->store->n_members; i++) {
        const struct store_member *m = &v->store->members[i];
        const struct status *status = lookup_status(v, m->id);

        if (status == NULL || !lookup_is_heard(v, m->id) || status->pg_role != PG_ROLE_STANDBY ||
            status->pg_state != PG_STATE_RUNNING) {
            continue;
        }
        if (worst == NULL || status->flushed < worst->flushed || status->nofailover) {
            worst = status;
        }
    }
    return worst;
}

static void choose_worst(const struct view *v, struct decision *d)
{
    const struct status *worst = find_worst(v);
    bool gives_up = d->node.action == ACTION_NONE && v->lease.live &&
                    v->lease.epoch == v->store->primary.epoch && lookup_owner_is_me(v) &&
                    v->self.status.pg_state == PG_STATE_RUNNING &&
                    v->self.status.pg_role == PG_ROLE_STANDBY;

    for (uint32_t i = 0; i < d->n_commands; i++) {
        struct command_epoch_take *take = &d->commands[i].epoch_take;

        if (d->commands[i].kind == COMMAND_EPOCH_TAKE && !take->initialize && worst != NULL) {
            (void)str_copy(take->owner, NAME_SIZE, worst->name);
            take->owner_id = worst->id;
            take->instance = worst->instance;
        }
    }
    if (gives_up && v->op.running == ACTION_NONE) {
        d->node.action = ACTION_PROMOTE;
        d->node.timeline = lookup_last_number(v) + 1;
        d->drop_lease = false;
        d->renew_lease = true;
        d->n_commands = 0;
    }
}

/* The epoch is given away while PostgreSQL still works and the lease still runs. */
static void release_first(const struct view *v, struct decision *d)
{
    struct command *c;

    if (d->node.action != ACTION_STOP || !lookup_owner_is_me(v)) {
        return;
    }
    c = &d->commands[0];
    d->n_commands = 1;
    c->kind = COMMAND_EPOCH_RELEASE;
    memset(&c->epoch_release, 0, sizeof(c->epoch_release));
    c->epoch_release.expect_epoch = v->store->primary.epoch;
    (void)str_copy(c->epoch_release.node, NAME_SIZE, v->self.status.name);
    (void)str_copy(c->epoch_release.rule, NAME_SIZE, "mutant");
}

/* The old id keeps its vote beside the new one. */
static void add_first(const struct view *v, struct decision *d)
{
    for (uint32_t i = 0; i < v->n_peers && d->voters.remove != 0; i++) {
        const struct status *status = &v->peers[i].status;

        if (status->wants_vote && !lookup_is_voter(v, status->id)) {
            d->voters.remove = 0;
            d->voters.add = status->id;
        }
    }
}

/* A primary that does not hear everybody stops. */
static void stop_alone(const struct sim *s, const struct sim_node *n, struct decision *d)
{
    const struct view *v = &n->agent->view;

    if (v->self.status.n_heard < s->n_nodes && v->self.status.pg_role == PG_ROLE_PRIMARY &&
        d->node.action == ACTION_NONE) {
        d->node.action = ACTION_STOP;
    }
}

/* The guard lets go as soon as the cluster is paused. */
static void disarm_first(const struct view *v, struct decision *d)
{
    d->disarm = d->disarm || (v->conf.pause && lookup_owner_is_me(v) && v->lease.live &&
                              v->self.status.pg_role == PG_ROLE_PRIMARY);
}

/* Who is to be owner is judged as if there was no pause, and never had been. */
static void take_unfenced(const struct view *v, struct decision *d)
{
    static struct view view;
    static struct store store;
    static struct decision other;

    if (!v->raft.is_leader || !v->store->primary.unfenced) {
        return;
    }
    view = *v;
    store = *v->store;
    store.primary.unfenced = false;
    view.store = &store;
    view.conf.pause = false;
    decide(&view, &other);
    for (uint32_t i = 0; i < other.n_commands; i++) {
        if (other.commands[i].kind == COMMAND_EPOCH_TAKE) {
            d->n_commands = 1;
            d->commands[0] = other.commands[i];
        }
    }
}

void mutate_decision(struct sim *s, struct sim_node *n, struct decision *d)
{
    switch (s->options.mutant) {
    case MUTANT_NO_FENCE:
        if (d->node.action == ACTION_FENCE) {
            d->node.action = ACTION_NONE;
        }
        break;
    case MUTANT_WORST_CANDIDATE:
        choose_worst(&n->agent->view, d);
        break;
    case MUTANT_RELEASE_BEFORE_STOP:
        release_first(&n->agent->view, d);
        break;
    case MUTANT_ADDS_FIRST:
        add_first(&n->agent->view, d);
        break;
    case MUTANT_DEMOTES:
        stop_alone(s, n, d);
        break;
    case MUTANT_NO_REJOIN:
        if (d->node.action == ACTION_CLONE || d->node.action == ACTION_REWIND) {
            d->node.action = ACTION_NONE;
        }
        break;
    case MUTANT_DISARMS_FIRST:
        disarm_first(&n->agent->view, d);
        break;
    case MUTANT_TAKES_UNFENCED:
        take_unfenced(&n->agent->view, d);
        break;
    case MUTANT_NONE:
    case MUTANT_NO_REARM: /* node_guard.c */
    case MUTANT_NO_QUARANTINE:
    case MUTANT_NO_CAS:
    case MUTANT_KEEPS_ID:
    case MUTANT_NO_GATE: /* sim_sync.c */
    case MUTANT_NO_PROOF:
    case MUTANT_NO_FREEZE:
    case MUTANT_FREEZE_LATE:
    case MUTANT_THAW_ON_HELLO:
    case MUTANT_TRUST_GUARD:
    case MUTANT_NO_CONTINUE:
    case MUTANT_BOOTTIME_ALONE:
    case MUTANT_NO_MARKER:
    case MUTANTS:
        break;
    }
}

/* ---- The guard ---- */

enum guard_action mutate_guard(struct sim *s, struct sim_node *n, enum guard_action action)
{
    (void)n;
    return s->options.mutant == MUTANT_NO_FREEZE ? GUARD_DO_NOTHING : action;
}

/* An agent is back: that is taken for a lease that is back. */
void mutate_hello(struct sim *s, struct sim_node *n)
{
    if (s->options.mutant == MUTANT_THAW_ON_HELLO && sim_pg_is_frozen(s, n)) {
        sim_pg_thaw(s, n);
    }
}

void mutate_arm(const struct sim *s, struct guard_arm *arm)
{
    const uint64_t more_ns = 400 * NS_PER_MS;

    if (s->options.mutant == MUTANT_FREEZE_LATE) {
        arm->ttl_ns += more_ns;
        arm->deadline = clock_pair_add(arm->deadline, more_ns);
    }
}
