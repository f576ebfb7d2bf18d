/*
 * What comes from consensus: committed commands, restored snapshots, leadership,
 * and the barrier that ends the time after a start in which this node may not
 * trust its store to be recent.
 */
#include "agent/agent_state.h"
#include "base/log.h"
#include "base/str.h"

#define LOGGED_SIZE 512

static void on_config_warning(void *data, const char *text)
{
    (void)data;
    log_warning("Dynamic configuration: %s", text);
}

void agent_apply_pg_options(struct agent *a)
{
    struct pg_options options;

    if (a->pg != NULL) {
        agent_fill_pg_options(a, &options);
        pg_set_options(a->pg, &options);
    }
}

void agent_compare_seed(const struct agent *a, bool was_edited)
{
    struct strbuf keys = {0};

    if (a->store.config_revision == 0 || str_equal(a->conf->bootstrap_dcs, "{}")) {
        return;
    }
    conf_dynamic_differ(a->conf->bootstrap_dcs, a->store.config, &keys);
    if (keys.length > 0) {
        log_write(was_edited ? LOG_WARNING : LOG_INFO,
                  "bootstrap.dcs of the file is not what counts, it was read once: change the "
                  "cluster by vechectl edit-config. differs=\"%s\"",
                  keys.data);
    }
    strbuf_deinit(&keys);
}

void agent_apply_config(struct agent *a)
{
    struct conf_dynamic dynamic;
    struct err err = {""};
    const char *json = a->store.config_revision != 0 ? a->store.config : a->conf->bootstrap_dcs;

    if (conf_dynamic_parse(json, &dynamic, on_config_warning, a, &err) != 0) {
        log_error("The dynamic configuration can not be used, keeping the last one. error=\"%s\"",
                  err.text);
        return;
    }
    if (dynamic.pause != a->dynamic.pause) {
        log_info(dynamic.pause ? "The cluster is paused: no failover, PostgreSQL is left alone."
                               : "The cluster is not paused any more.");
    }
    conf_dynamic_deinit(&a->dynamic);
    a->dynamic = dynamic;
    agent_lease_on_primary(a, CHANGE_CONFIG);
    agent_apply_pg_options(a);
}

static void log_change(uint64_t index, const struct command *c, enum apply_result result)
{
    char text[LOGGED_SIZE];

    if (c->kind == COMMAND_PROGRESS_SET) {
        return; /* Every ten seconds, and of no interest. */
    }
    (void)command_print(c, text, sizeof(text));
    log_info("Committed. index=%llu result=\"%s\" command=\"%s\"", (unsigned long long)index,
             apply_result_name(result), text);
}

static void react(struct agent *a, unsigned changes)
{
    if (changes & CHANGE_CONFIG) {
        agent_apply_config(a);
    }
    if (changes & CHANGE_PRIMARY) {
        a->epoch_applied_ms = clock_ms();
    }
    agent_lease_on_primary(a, changes & CHANGE_PRIMARY);
    agent_mark_dirty(a);
}

void agent_on_commit(void *data, uint64_t index, const struct command *c)
{
    struct agent *a = data;
    unsigned changes = 0;
    bool was_unfenced = a->store.primary.unfenced;
    enum apply_result result = store_apply(&a->store, index, c, &changes);

    log_change(index, c, result);
    agent_guard_on_mark(a, was_unfenced);
    react(a, changes);
}

void agent_on_restore(void *data, const struct store *s)
{
    struct agent *a = data;

    a->store = *s;
    agent_guard_on_mark(a, true); /* When it was made a snapshot does not tell. */
    log_info("The state was restored from a snapshot. index=%llu epoch=%llu owner=%s",
             (unsigned long long)s->applied_index, (unsigned long long)s->primary.epoch,
             s->primary.has_owner ? s->primary.owner : "-");
    react(a, s->config_revision != 0 ? CHANGE_PRIMARY | CHANGE_CONFIG : CHANGE_PRIMARY);
}

void agent_on_leadership(void *data, const struct consensus_leadership *l)
{
    struct agent *a = data;
    struct consensus_leadership old = a->leadership;

    a->leadership = *l;
    if (l->is_leader && !old.is_leader) {
        a->leader_since_ms = clock_ms();
    }
    if (l->committed_index != old.committed_index && old.usable) {
        a->voters_changed_ms = clock_ms();
    }
    if (l->leader != old.leader || l->is_leader != old.is_leader) {
        log_info("Raft leadership changed. leader=%llx self=%d term=%llu",
                 (unsigned long long)l->leader, l->is_leader, (unsigned long long)l->term);
    }
    if (l->term > a->identity.highest_term && a->identity.phase == IDENTITY_MEMBER) {
        a->identity.highest_term = l->term; /* A Raft directory below it is damaged. */
        identity_saver_save(a->saver, &a->identity);
    }
    agent_lease_on_primary(a, 0);
    agent_ask_barrier(a);
    agent_mark_dirty(a);
}

static void check_barrier(struct agent *a)
{
    if (!a->caught_up && a->barrier_known && a->store.applied_index >= a->barrier_index) {
        a->caught_up = true;
        agent_compare_seed(a, false);
        agent_sync_on_caught_up(a);
        agent_apply_pg_options(a); /* From now on PostgreSQL's files follow them. */
        log_info("The local state is up to date. index=%llu",
                 (unsigned long long)a->store.applied_index);
        agent_lease_on_primary(a, 0);
    }
}

/* The leader answers a barrier with the index of the last command it applied. */
static void on_barrier(void *data, const struct propose_result *result)
{
    struct agent *a = data;

    a->barrier_asked = false;
    if (result->status == PROPOSE_DONE) {
        a->barrier_known = true;
        a->barrier_index = a->leadership.is_leader ? a->store.applied_index : result->index;
        check_barrier(a);
    }
}

void agent_ask_barrier(struct agent *a)
{
    check_barrier(a);
    if (a->caught_up || a->barrier_known || a->barrier_asked || a->consensus == NULL ||
        clock_ms() < a->proposal_again_ms[COMMAND_NONE] ||
        (a->leadership.leader == 0 && !a->leadership.is_leader)) {
        return;
    }
    a->barrier_asked = true;
    agent_propose_bytes(a, NULL, 0, on_barrier, a);
}
