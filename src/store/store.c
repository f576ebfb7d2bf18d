/*
 * The store at rest: looking things up, and the relations between its fields
 * that hold at every log index. Each relation is a named row of the table at
 * the end; store_apply() asserts them all.
 */
#include "store/store.h"

#include <strings.h>

#include "store/schema.h"

/* clang-format off */
#define GENERATE_PART(name) \
    static bool name##_is_in_bounds(const struct store_##name *c) \
    { \
        (void)c; /* Numbers alone have no bounds. */ \
        return true STORE_FIELDS_##name(PART_CHECK); \
    }
#define PART_CHECK(kind, name) && FIELD_CHECK_##kind(name)
STORE_PARTS(GENERATE_PART)
#undef PART_CHECK
#undef GENERATE_PART
/* clang-format on */

void store_init(struct store *s)
{
    memset(s, 0, sizeof(*s));
}

const struct store_member *store_find_member(const struct store *s, const char *name)
{
    for (uint32_t i = 0; i < s->n_members; i++) {
        if (str_equal(s->members[i].name, name)) {
            return &s->members[i];
        }
    }
    return NULL;
}

const struct store_member *store_find_member_by_id(const struct store *s, node_id id)
{
    for (uint32_t i = 0; i < s->n_members; i++) {
        if (s->members[i].id == id) {
            return &s->members[i];
        }
    }
    return NULL;
}

const struct store_order *store_find_order(const struct store *s, const char *member,
                                           bool scheduled)
{
    for (uint32_t i = 0; i < s->n_orders; i++) {
        const struct store_order *o = &s->orders[i];

        if (!o->ended && (o->at_us != 0) == scheduled && str_equal(o->member, member)) {
            return o;
        }
    }
    return NULL;
}

const struct store_order *store_find_order_by_id(const struct store *s, uint64_t id)
{
    for (uint32_t i = 0; i < s->n_orders; i++) {
        if (s->orders[i].id == id) {
            return &s->orders[i];
        }
    }
    return NULL;
}

bool store_member_equal(const struct store_member *x, const struct store_member *y)
{
    STORE_FIELDS_member(FIELD_EQUAL) /* Not as bytes: there is padding. */
        return true;
}

static bool sync_has_name(const struct store_sync *sync, const char *name)
{
    for (uint32_t i = 0; i < sync->n_names; i++) {
        if (str_equal(sync->names[i], name)) {
            return true;
        }
    }
    return false;
}

bool store_sync_allows(const struct store *s, const char *name)
{
    return s->sync.primary[0] == '\0' || str_equal(s->sync.primary, name) ||
           sync_has_name(&s->sync, name);
}

const struct store_ledger_entry *store_ledger_newest(const struct store *s, uint64_t k)
{
    return k < store_ledger_kept(s) ? &s->ledger[(s->n_ledger - 1 - k) % LEDGER_MAX] : NULL;
}

/* A member that may own the cluster or be in its synchronous state. */
static bool is_listed_postgres(const struct store *s, const char *name)
{
    const struct store_member *m = store_find_member(s, name);

    return m != NULL && m->mode == MODE_POSTGRES;
}

static bool counts_fit(const struct store *s)
{
    return s->n_members <= MEMBERS_MAX && s->sync.n_names <= SYNC_MAX &&
           s->n_history <= HISTORY_MAX && s->config_size < CONFIG_SIZE &&
           s->n_orders <= ORDERS_MAX;
}

static bool singles_are_in_bounds(const struct store *s)
{
    return cluster_is_in_bounds(&s->cluster) && primary_is_in_bounds(&s->primary) &&
           sync_is_in_bounds(&s->sync) && request_is_in_bounds(&s->request) &&
           outcome_is_in_bounds(&s->outcome) && progress_is_in_bounds(&s->progress) &&
           line_is_in_bounds(&s->line);
}

static bool tables_are_in_bounds(const struct store *s)
{
    for (uint32_t i = 0; i < s->n_members; i++) {
        if (!member_is_in_bounds(&s->members[i]) || !proxy_is_in_bounds(&s->members[i].proxy)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < s->n_history; i++) {
        if (!history_is_in_bounds(&s->history[i])) {
            return false;
        }
    }
    for (uint32_t i = 0; i < s->n_orders; i++) {
        if (!order_is_in_bounds(&s->orders[i])) {
            return false;
        }
    }
    for (uint64_t i = 0; i < store_ledger_kept(s); i++) {
        if (!ledger_entry_is_in_bounds(&s->ledger[i])) {
            return false;
        }
    }
    return true;
}

/* A command adds at most one to each, so none of them can ever wrap. */
static bool counters_are_within_the_log(const struct store *s)
{
    uint64_t n = s->applied_index;

    return n < UINT64_MAX && s->primary.epoch <= n && s->sync.revision <= n &&
           s->config_revision <= n && s->n_ledger <= n;
}

static bool cluster_has_id_and_scope_or_neither(const struct store *s)
{
    return (s->cluster.id != 0) == (s->cluster.scope[0] != '\0');
}

static bool nothing_is_before_the_cluster(const struct store *s)
{
    return s->cluster.id != 0 ||
           (s->cluster.init == INIT_NONE && s->n_members == 0 && s->primary.epoch == 0 &&
            s->sync.revision == 0 && s->config_revision == 0 && s->request.id == 0 &&
            s->n_history == 0 && s->n_ledger == 0 && s->line.timeline == 0 && s->n_orders == 0);
}

static bool sysid_is_known_iff_initialised(const struct store *s)
{
    return (s->cluster.init == INIT_DONE) == (s->cluster.sysid != 0);
}

static bool somebody_initialises(const struct store *s)
{
    return IMPLIES(s->cluster.init == INIT_RUNNING, s->primary.has_owner);
}

static bool owner_has_or_makes_a_database(const struct store *s)
{
    return IMPLIES(s->primary.has_owner, s->cluster.init != INIT_NONE);
}

static bool epoch_has_owner_and_instance(const struct store *s)
{
    bool known = s->primary.epoch != 0;

    return known == (s->primary.owner[0] != '\0') && known == (s->primary.owner_id != 0) &&
           known == (s->primary.instance != 0) && IMPLIES(s->primary.has_owner, known);
}

static bool owner_is_listed(const struct store *s)
{
    return IMPLIES(s->primary.has_owner, is_listed_postgres(s, s->primary.owner));
}

static bool only_an_owner_is_unfenced(const struct store *s)
{
    return IMPLIES(s->primary.unfenced, s->primary.has_owner);
}

static bool held_epoch_is_not_barren(const struct store *s)
{
    return IMPLIES(s->primary.held, s->primary.epoch != 0 && s->primary.barren == 0) &&
           s->primary.barren <= s->primary.epoch;
}

static bool only_a_released_epoch_has_an_end(const struct store *s)
{
    const struct store_primary *p = &s->primary;

    return IMPLIES(p->has_owner || p->epoch == 0,
                   p->released_lsn == 0 && p->released_timeline == 0 && p->successor[0] == '\0');
}

static bool members_are_whole(const struct store *s)
{
    for (uint32_t i = 0; i < s->n_members; i++) {
        if (s->members[i].name[0] == '\0' || s->members[i].id == 0) {
            return false;
        }
    }
    return true;
}

static bool members_are_sorted(const struct store *s)
{
    for (uint32_t i = 1; i < s->n_members; i++) {
        if (strcmp(s->members[i - 1].name, s->members[i].name) >= 0) {
            return false;
        }
    }
    return true;
}

static bool members_are_distinct(const struct store *s)
{
    for (uint32_t i = 0; i < s->n_members; i++) {
        for (uint32_t j = 0; j < i; j++) {
            const struct store_member *a = &s->members[i];
            const struct store_member *b = &s->members[j];

            if (a->id == b->id || strcasecmp(a->name, b->name) == 0) {
                return false;
            }
        }
    }
    return true;
}

static bool sync_is_of_its_primary(const struct store *s)
{
    const struct store_sync *y = &s->sync;

    return IMPLIES(y->primary[0] == '\0', y->n_names == 0) &&
           IMPLIES(y->primary[0] != '\0', y->revision != 0) && y->quorum <= y->n_names &&
           !(y->n_names > 0 && sync_has_name(y, y->primary));
}

static bool sync_names_are_listed(const struct store *s)
{
    for (uint32_t i = 0; i < s->sync.n_names; i++) {
        if (!is_listed_postgres(s, s->sync.names[i])) {
            return false;
        }
    }
    return s->sync.primary[0] == '\0' || is_listed_postgres(s, s->sync.primary);
}

static bool sync_names_are_sorted(const struct store *s)
{
    for (uint32_t i = 1; i < s->sync.n_names; i++) {
        if (strcmp(s->sync.names[i - 1], s->sync.names[i]) >= 0) {
            return false;
        }
    }
    return true;
}

static bool request_is_whole_or_absent(const struct store *s)
{
    return (s->request.id != 0) == (s->request.kind != REQUEST_NONE);
}

static bool requests_come_in_order(const struct store *s)
{
    return s->request.id <= s->applied_index && s->outcome.request_id <= s->applied_index &&
           IMPLIES(s->request.id != 0, s->outcome.request_id < s->request.id);
}

static bool orders_are_whole(const struct store *s)
{
    for (uint32_t i = 0; i < s->n_orders; i++) {
        const struct store_order *o = &s->orders[i];
        bool restart = o->kind == REQUEST_RESTART;

        if (o->id == 0 || o->id > s->applied_index || !(restart || o->kind == REQUEST_REINIT) ||
            !is_listed_postgres(s, o->member) || (o->done && !o->ended) ||
            (!restart && (o->begun || o->at_us != 0)) || (!o->begun && o->postmaster_us != 0)) {
            return false;
        }
    }
    return true;
}

static bool a_member_has_one_order_of_each_kind(const struct store *s)
{
    for (uint32_t i = 0; i < s->n_orders; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (s->orders[i].id == s->orders[k].id ||
                (str_equal(s->orders[i].member, s->orders[k].member) &&
                 (s->orders[i].at_us != 0) == (s->orders[k].at_us != 0))) {
                return false;
            }
        }
    }
    return true;
}

static bool progress_is_of_a_known_epoch(const struct store *s)
{
    const struct store_progress *p = &s->progress;

    return p->epoch <= s->primary.epoch && (p->lsn != 0) == (p->timeline != 0) &&
           (p->lsn != 0) == (p->epoch != 0);
}

static bool line_is_whole_or_absent(const struct store *s)
{
    const struct store_line *l = &s->line;

    if (l->timeline == 0) {
        return l->epoch == 0 && l->owner_id == 0 && l->owner[0] == '\0' && l->parent == 0 &&
               l->lsn == 0;
    }
    return s->cluster.init == INIT_DONE && l->parent < l->timeline &&
           (l->parent != 0) == (l->lsn != 0) && l->epoch <= s->primary.epoch &&
           (l->epoch != 0) == (l->owner_id != 0) && (l->epoch != 0) == (l->owner[0] != '\0');
}

static bool history_is_ascending(const struct store *s)
{
    for (uint32_t i = 0; i < s->n_history; i++) {
        uint32_t before = i > 0 ? s->history[i - 1].timeline : 0;

        if (s->history[i].timeline <= before) {
            return false;
        }
    }
    return true;
}

static bool ledger_is_in_log_order(const struct store *s)
{
    uint64_t after = s->applied_index + 1;

    for (uint64_t k = 0; k < store_ledger_kept(s); k++) {
        const struct store_ledger_entry *entry = store_ledger_newest(s, k);

        if (entry->index == 0 || entry->index >= after || entry->epoch > s->primary.epoch) {
            return false;
        }
        after = entry->index;
    }
    return true;
}

static bool ledger_entries_are_explained(const struct store *s)
{
    for (uint64_t k = 0; k < store_ledger_kept(s); k++) {
        const struct store_ledger_entry *entry = store_ledger_newest(s, k);

        if (entry->rule[0] == '\0' || entry->count == 0 || (entry->count > 1 && !entry->note)) {
            return false;
        }
    }
    return true;
}

static bool config_is_whole_or_absent(const struct store *s)
{
    return (s->config_revision != 0) == (s->config_size != 0) &&
           strnlen(s->config, CONFIG_SIZE) == s->config_size;
}

/* The order matters: later rows trust earlier ones. */
static const struct {
    const char *name;
    bool (*holds)(const struct store *s);
} invariants[] = {
    /* clang-format off */
    {"counts-fit",                          counts_fit},
    {"singles-are-in-bounds",               singles_are_in_bounds},
    {"tables-are-in-bounds",                tables_are_in_bounds},
    {"counters-are-within-the-log",         counters_are_within_the_log},
    {"cluster-has-id-and-scope-or-neither", cluster_has_id_and_scope_or_neither},
    {"nothing-is-before-the-cluster",       nothing_is_before_the_cluster},
    {"sysid-is-known-iff-initialised",      sysid_is_known_iff_initialised},
    {"somebody-initialises",                somebody_initialises},
    {"owner-has-or-makes-a-database",       owner_has_or_makes_a_database},
    {"epoch-has-owner-and-instance",        epoch_has_owner_and_instance},
    {"owner-is-listed",                     owner_is_listed},
    {"only-an-owner-is-unfenced",           only_an_owner_is_unfenced},
    {"held-epoch-is-not-barren",            held_epoch_is_not_barren},
    {"only-a-released-epoch-has-an-end",    only_a_released_epoch_has_an_end},
    {"members-are-whole",                   members_are_whole},
    {"members-are-sorted",                  members_are_sorted},
    {"members-are-distinct",                members_are_distinct},
    {"sync-is-of-its-primary",              sync_is_of_its_primary},
    {"sync-names-are-listed",               sync_names_are_listed},
    {"sync-names-are-sorted",               sync_names_are_sorted},
    {"request-is-whole-or-absent",          request_is_whole_or_absent},
    {"requests-come-in-order",              requests_come_in_order},
    {"orders-are-whole",                    orders_are_whole},
    {"a-member-has-one-order-of-each-kind", a_member_has_one_order_of_each_kind},
    {"progress-is-of-a-known-epoch",        progress_is_of_a_known_epoch},
    {"line-is-whole-or-absent",             line_is_whole_or_absent},
    {"history-is-ascending",                history_is_ascending},
    {"ledger-is-in-log-order",              ledger_is_in_log_order},
    {"ledger-entries-are-explained",        ledger_entries_are_explained},
    {"config-is-whole-or-absent",           config_is_whole_or_absent},
    /* clang-format on */
};

const char *store_broken_invariant(const struct store *s)
{
    for (size_t i = 0; i < ARRAY_LENGTH(invariants); i++) {
        if (!invariants[i].holds(s)) {
            return invariants[i].name;
        }
    }
    return NULL;
}
