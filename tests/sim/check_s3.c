/*
 * S3: epochs only grow, and one epoch has one owner and one instance, in the
 * stores of all nodes, for ever. Beside it: what is committed at an index is
 * the same everywhere, a command that was decided on another epoch changes
 * nothing, and stores at the same index are equal.
 */
#include "base/crc32c.h"
#include "base/str.h"
#include "checks.h"

static uint64_t hash_of(const struct command *c)
{
    static uint8_t bytes[COMMAND_SIZE_MAX];
    struct err err = {""};
    int size = command_encode(c, bytes, sizeof(bytes), &err);

    ASSERT(size > 0);
    return (uint64_t)crc32c(0, bytes, (size_t)size) << 16 | (uint16_t)size;
}

static void check_entry(struct sim *s, const struct sim_node *n, const struct sim_applied *a)
{
    uint64_t hash = hash_of(a->command);
    uint64_t *known = &s->checks->entries[a->index];

    ASSERT(a->index < CHECK_ENTRIES_MAX);
    if (*known != 0 && *known != hash) {
        checks_fail(s, n, "log: another command is committed at index %u", (unsigned)a->index);
    }
    *known = hash;
}

static void check_cas(struct sim *s, const struct sim_node *n, const struct sim_applied *a)
{
    const uint64_t *expected = command_expect_epoch((struct command *)(uintptr_t)a->command);

    if (expected != NULL && a->result == APPLY_DONE && *expected != a->epoch_before) {
        checks_fail(s, n, "S3: %s was decided on epoch %u and changed the store at epoch %u",
                    command_kind_name(a->command->kind), (unsigned)*expected,
                    (unsigned)a->epoch_before);
    }
}

void check_s3_store(struct sim *s, const struct sim_node *n)
{
    const struct store_primary *p = &n->agent->store.primary;
    struct sim_epoch *known = &s->checks->epochs[p->epoch];

    ASSERT(p->epoch < CHECK_EPOCHS_MAX);
    if (p->epoch == 0) {
        return;
    }
    if (known->owner_id == 0) {
        known->owner_id = p->owner_id;
        known->instance = p->instance;
    }
    if (known->owner_id != p->owner_id || known->instance != p->instance) {
        checks_fail(s, n, "S3: epoch %u has two owners or instances", (unsigned)p->epoch);
    }
}

/* What the log says, whoever has read it already. */
static void note_mark(struct sim *s, const struct sim_applied *a)
{
    const struct command *c = a->command;

    if (a->result != APPLY_DONE || s->checks->entries[a->index] != 0) {
        return;
    }
    if (c->kind == COMMAND_EPOCH_UNFENCED) {
        s->checks->unfenced_epoch = c->epoch_unfenced.unfenced ? a->epoch_before : 0;
        s->stats.pauses += c->epoch_unfenced.unfenced;
        s->stats.resumes += str_equal(c->epoch_unfenced.rule, "resume");
        s->stats.marks_void += str_equal(c->epoch_unfenced.rule, "reboot");
    } else if (c->kind == COMMAND_EPOCH_TAKE || c->kind == COMMAND_EPOCH_RELEASE) {
        s->checks->unfenced_epoch = 0;
    }
}

static void count(struct sim *s, const struct sim_applied *a)
{
    const struct command *c = a->command;

    if (a->result != APPLY_DONE || s->checks->entries[a->index] != 0) {
        return;
    }
    s->stats.failovers +=
        c->kind == COMMAND_EPOCH_TAKE && (str_equal(c->epoch_take.rule, "take-over") ||
                                          str_equal(c->epoch_take.rule, "failover-by-order"));
    s->stats.switchovers += c->kind == COMMAND_REQUEST_END && c->request_end.done;
    s->stats.member_orders += c->kind == COMMAND_ORDER_END && c->order_end.done;
    s->stats.releases += c->kind == COMMAND_EPOCH_RELEASE;
    s->stats.refusals +=
        c->kind == COMMAND_LEDGER_ADD || (c->kind == COMMAND_REQUEST_END && !c->request_end.done);
}

void check_s3_applied(struct sim *s, const struct sim_node *n, const struct sim_applied *a)
{
    if (n->agent->store.primary.epoch < a->epoch_before) {
        checks_fail(s, n, "S3: the epoch went back from %u", (unsigned)a->epoch_before);
    }
    count(s, a);
    note_mark(s, a);
    check_entry(s, n, a);
    check_cas(s, n, a);
    check_s3_store(s, n);
}

void check_s3_stores_equal(struct sim *s)
{
    for (int i = 1; i < s->n_nodes; i++) {
        const struct store *a = &s->nodes[0]->agent->store;
        const struct store *b = &s->nodes[i]->agent->store;

        if (a->applied_index == b->applied_index && memcmp(a, b, sizeof(*a)) != 0) {
            checks_fail(s, s->nodes[i], "log: its store differs from that of %s at index %u",
                        s->nodes[0]->name, (unsigned)a->applied_index);
        }
    }
}
