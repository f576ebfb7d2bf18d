/*
 * First start: the pure core/formation.c between hellos of the peers, the
 * identity file and consensus. Phase one writes the identity, phase two
 * bootstraps Raft; a restart goes on where it stopped.
 */
#include "agent/agent_state.h"
#include "base/log.h"
#include "base/str.h"

static int compare_addresses(const void *a, const void *b)
{
    return strcmp(a, b);
}

void agent_formation_init(struct agent *a)
{
    struct formation_input *f = &a->formation;
    const struct conf *c = a->conf;

    (void)str_copy(f->addresses[0], HOST_SIZE, c->raft_self_addr); /* Bounded by conf. */
    f->n_addresses = 1;
    for (size_t i = 0; i < c->n_raft_partners && f->n_addresses < ADDRESSES_MAX; i++) {
        if (!str_equal(c->raft_partner_addrs[i], c->raft_self_addr)) {
            (void)str_copy(f->addresses[f->n_addresses++], HOST_SIZE, c->raft_partner_addrs[i]);
        }
    }
    qsort(f->addresses, f->n_addresses, HOST_SIZE, compare_addresses);
    a->hello.addresses_hash = formation_hash(f->addresses, f->n_addresses);
    agent_update_hello(a);
}

static enum hello_state hello_state_of(const struct identity *identity)
{
    switch (identity->phase) {
    case IDENTITY_NEW:
        return HELLO_NONE;
    case IDENTITY_PREPARED:
        return HELLO_PREPARED;
    case IDENTITY_MEMBER:
    case IDENTITY_JOINING:
        return HELLO_MEMBER;
    }
    return HELLO_NONE;
}

void agent_update_hello(struct agent *a)
{
    struct hello *h = &a->hello;
    struct hello old = *h;
    const struct status *s = &a->last_status;

    h->id = a->identity.id;
    (void)str_copy(h->name, sizeof(h->name), a->conf->name);
    (void)str_copy(h->address, sizeof(h->address), a->conf->raft_self_addr);
    h->mode = a->conf->mode == CONF_MODE_WITNESS ? MODE_WITNESS : MODE_POSTGRES;
    h->state = hello_state_of(&a->durable);
    if (h->state != HELLO_NONE) {
        h->cluster_id = a->durable.cluster_id;
        h->n_members = a->durable.n_members;
        memcpy(h->members, a->durable.members, sizeof(h->members));
    }
    h->data = s->data;
    h->is_running_primary = s->pg_role == PG_ROLE_PRIMARY && s->pg_state == PG_STATE_RUNNING;
    h->sysid = s->sysid;
    h->timeline = s->timeline;
    h->position = h->state == HELLO_MEMBER ? 0 : s->flushed; /* Only formation looks at it. */
    if (a->peer != NULL && memcmp(h, &old, sizeof(old)) != 0) {
        peer_set_hello(a->peer, h);
    }
}

void agent_on_hello(void *data, const struct hello *hello)
{
    struct agent *a = data;
    struct formation_input *f = &a->formation;

    for (uint8_t i = 0; i < f->n_addresses; i++) {
        if (str_equal(f->addresses[i], hello->address)) {
            f->answered[i] = true;
            f->answers[i] = *hello;
        }
    }
    agent_mark_dirty(a);
}

void agent_forget_answer(struct agent *a, node_id id)
{
    struct formation_input *f = &a->formation;

    for (uint8_t i = 0; i < f->n_addresses; i++) {
        if (f->answered[i] && f->answers[i].id == id) {
            f->answered[i] = false;
        }
    }
}

static void prepare(struct agent *a, const struct formation_output *out)
{
    log_info("Forming a new cluster, phase one. cluster=%016llx members=%d",
             (unsigned long long)out->cluster_id, out->n_members);
    a->identity.phase = IDENTITY_PREPARED;
    a->identity.cluster_id = out->cluster_id;
    a->identity.n_members = out->n_members;
    memcpy(a->identity.members, out->members, sizeof(out->members));
    identity_saver_save(a->saver, &a->identity); /* Told to others when it is on disk. */
}

static void tell_reason(struct agent *a, const struct formation_output *out)
{
    if (str_equal(a->formation_reason, out->reason)) {
        return;
    }
    (void)str_copy(a->formation_reason, sizeof(a->formation_reason), out->reason);
    switch (out->step) {
    case FORMATION_WAIT:
        log_info("No cluster yet. why=\"%s\"", out->reason);
        break;
    case FORMATION_JOIN:
        log_warning("A cluster runs already and this node is not one of its members; asking to be "
                    "let in under its new id. "
                    "why=\"%s\"",
                    out->reason);
        break;
    case FORMATION_REFUSE:
        log_error("The cluster can not be formed. why=\"%s\"", out->reason);
        break;
    case FORMATION_PREPARE:
    case FORMATION_BOOTSTRAP:
        break;
    }
}

void agent_on_identity_saved(void *data, const struct identity *saved, int status,
                             const char *problem)
{
    struct agent *a = data;
    bool member_now;

    if (status != 0) {
        log_error("The identity file can not be written, retrying in 1000 ms. error=\"%s\"",
                  problem);
        a->save_again_ms = clock_ms() + 1000;
        return;
    }
    member_now = saved->phase == IDENTITY_MEMBER && a->durable.phase == IDENTITY_PREPARED;
    if (saved->phase == IDENTITY_JOINING && a->durable.phase == IDENTITY_NEW) {
        agent_raft_start(a);
    }
    a->durable = *saved;
    agent_lease_longest_written(a);
    if (member_now) {
        a->formed_now = true;
        agent_raft_start(a);
    }
    agent_update_hello(a);
    agent_mark_dirty(a);
}

/* Called from the tick until Raft runs. What is being written counts only once it
 * is on disk. */
void agent_formation_step(struct agent *a)
{
    struct formation_input *f = &a->formation;
    struct formation_output out;

    if (a->durable.phase != a->identity.phase || a->identity.phase == IDENTITY_MEMBER ||
        a->identity.phase == IDENTITY_JOINING ||
        a->raft_opening || clock_ms() < a->raft_again_ms) {
        return; /* A write is under way, or failed a moment ago. */
    }
    f->self = a->hello;
    for (uint8_t i = 0; i < f->n_addresses; i++) {
        if (str_equal(f->addresses[i], a->hello.address)) {
            f->answered[i] = true;
            f->answers[i] = a->hello;
        }
    }
    formation_decide(f, &out);
    if (out.proposed_cluster_id != a->hello.proposed_cluster_id) {
        a->hello.proposed_cluster_id = out.proposed_cluster_id;
        peer_set_hello(a->peer, &a->hello);
    }
    tell_reason(a, &out);
    if (out.step == FORMATION_PREPARE) {
        prepare(a, &out);
    } else if (out.step == FORMATION_BOOTSTRAP) {
        log_info("Forming a new cluster, phase two. cluster=%016llx",
                 (unsigned long long)out.cluster_id);
        agent_raft_bootstrap(a, out.members, out.n_members);
    } else if (out.step == FORMATION_JOIN) {
        agent_raft_join(a, out.cluster_id);
    }
}
