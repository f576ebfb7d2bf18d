/*
 * The first formation, see formation.h and design.md section 7.
 *
 * Essence: Raft is bootstrapped only by nodes that have written down the same
 * {cluster id, members}, and only after all of the members have said so. A node
 * writes such a thing once; whoever lost its disk comes back under another id,
 * which no written list contains. So two clusters can not come out of one list
 * of addresses, whatever is killed when.
 *
 * The cluster id is drawn from the members' ids, which are random: a proposer
 * that restarts proposes the same again, and another set of members is another
 * cluster. Liveness needs that: otherwise half of the nodes may have written the
 * proposal of before the restart and half that of after it.
 */
#include "core/formation.h"

#include <inttypes.h>

#include "base/str.h"

#define FNV_OFFSET UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME  UINT64_C(0x100000001b3)

/* Fills in reason; a conclusion that is reached, so that callers can stop. */
#define CONCLUDE(output, which, ...)                                     \
    do {                                                                 \
        struct sbuf reason_;                                             \
        (output)->step = (which);                                        \
        sbuf_init(&reason_, (output)->reason, sizeof((output)->reason)); \
        sbuf_printf(&reason_, __VA_ARGS__);                              \
    } while (0)

static uint64_t fnv(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * FNV_PRIME;
    }
    return hash;
}

uint64_t formation_hash(char addresses[][HOST_SIZE], size_t n)
{
    uint64_t hash = FNV_OFFSET;

    for (size_t i = 0; i < n; i++) {
        hash = fnv(hash, addresses[i], strlen(addresses[i]) + 1);
    }
    return hash;
}

/* Never 0. Bytes in fixed order: all nodes must come to the same. */
static uint64_t cluster_id_of(const node_id *members, uint8_t n, uint64_t addresses_hash)
{
    uint64_t hash = FNV_OFFSET;

    for (uint8_t i = 0; i <= n; i++) {
        uint64_t value = i < n ? members[i] : addresses_hash;
        uint8_t bytes[8];

        for (unsigned k = 0; k < 8; k++) {
            bytes[k] = (uint8_t)(value >> (8 * k));
        }
        hash = fnv(hash, bytes, sizeof(bytes));
    }
    return hash != 0 ? hash : 1;
}

static bool same_members(const struct hello *h, const node_id *members, uint8_t n)
{
    return h->n_members == n && memcmp(h->members, members, n * sizeof(members[0])) == 0;
}

static bool contains(const node_id *members, uint8_t n, node_id id)
{
    for (uint8_t i = 0; i < n; i++) {
        if (members[i] == id) {
            return true;
        }
    }
    return false;
}

/* Index of our own address, or n_addresses. */
static uint8_t self_index(const struct formation_input *in)
{
    uint8_t i = 0;

    while (i < in->n_addresses && !str_equal(in->addresses[i], in->self.address)) {
        i++;
    }
    return i;
}

/* The answer of that address, our own included; NULL while there is none. */
static const struct hello *answer_of(const struct formation_input *in, uint8_t i)
{
    if (str_equal(in->addresses[i], in->self.address)) {
        return &in->self;
    }
    return in->answered[i] ? &in->answers[i] : NULL;
}

/* A list in which something is missing or there twice can not be agreed on. */
static bool conclude_bad_list(const struct formation_input *in, struct formation_output *out)
{
    if (self_index(in) == in->n_addresses) {
        CONCLUDE(out, FORMATION_REFUSE, "our own address %s is not among the configured ones",
                 in->self.address);
        return true;
    }
    for (uint8_t i = 1; i < in->n_addresses; i++) {
        if (strcmp(in->addresses[i - 1], in->addresses[i]) >= 0) {
            CONCLUDE(out, FORMATION_REFUSE, "the address %s is configured twice", in->addresses[i]);
            return true;
        }
    }
    return false;
}

/* Somebody runs a cluster, and we have no part in it. */
static bool conclude_join(const struct formation_input *in, struct formation_output *out)
{
    for (uint8_t i = 0; i < in->n_addresses; i++) {
        const struct hello *h = answer_of(in, i);

        if (h != NULL && h->state == HELLO_MEMBER && in->self.state == HELLO_NONE) {
            CONCLUDE(out, FORMATION_JOIN, "%s (%s) belongs to the cluster %016" PRIx64 " already",
                     h->name, in->addresses[i], h->cluster_id);
            out->cluster_id = h->cluster_id;
            return true;
        }
    }
    return false;
}

static bool conclude_twins(const struct formation_input *in, struct formation_output *out,
                           uint8_t i, uint8_t j)
{
    const struct hello *a = answer_of(in, i);
    const struct hello *b = answer_of(in, j);

    if (a == NULL || b == NULL) {
        return false;
    }
    if (a->id == b->id) {
        CONCLUDE(out, FORMATION_REFUSE,
                 "%s and %s are the same node: one of the addresses is wrong, or raft.data_dir was "
                 "copied",
                 in->addresses[i], in->addresses[j]);
        return true;
    }
    if (str_equal(a->name, b->name)) {
        CONCLUDE(out, FORMATION_REFUSE, "%s and %s are both named %s", in->addresses[i],
                 in->addresses[j], a->name);
        return true;
    }
    return false;
}

static bool conclude_duplicates(const struct formation_input *in, struct formation_output *out)
{
    for (uint8_t j = 0; j < in->n_addresses; j++) {
        for (uint8_t i = 0; i < j; i++) {
            if (conclude_twins(in, out, i, j)) {
                return true;
            }
        }
    }
    return false;
}

static bool conclude_other_list(const struct formation_input *in, struct formation_output *out)
{
    for (uint8_t i = 0; i < in->n_addresses; i++) {
        const struct hello *h = answer_of(in, i);

        if (h != NULL && h->state != HELLO_MEMBER && h->addresses_hash != in->self.addresses_hash) {
            CONCLUDE(out, FORMATION_REFUSE,
                     "%s (%s) is configured with another list of addresses: raft.self_addr and "
                     "raft.partner_addrs together must be the same everywhere",
                     h->name, in->addresses[i]);
            return true;
        }
    }
    return false;
}

static bool conclude_missing(const struct formation_input *in, struct formation_output *out)
{
    struct sbuf reason;
    unsigned n = 0;

    sbuf_init(&reason, out->reason, sizeof(out->reason));
    for (uint8_t i = 0; i < in->n_addresses; i++) {
        if (answer_of(in, i) == NULL) {
            sbuf_printf(&reason, "%s%s", n == 0 ? "waiting for an answer of " : ", ",
                        in->addresses[i]);
            n++;
        }
    }
    out->step = FORMATION_WAIT;
    return n > 0;
}

static bool conclude_data(const struct formation_input *in, struct formation_output *out)
{
    const struct hello *found = NULL;   /* Has a database. */
    const struct hello *primary = NULL; /* Runs one that takes writes. */

    for (uint8_t i = 0; i < in->n_addresses; i++) {
        const struct hello *h = answer_of(in, i);

        if (h == NULL || h->mode == MODE_WITNESS) {
            continue;
        }
        if (h->data == DATA_UNKNOWN) {
            CONCLUDE(out, FORMATION_WAIT, "%s has not looked into its data directory yet", h->name);
            return true;
        }
        if (h->data == DATA_VALID && found != NULL && found->sysid != h->sysid) {
            CONCLUDE(out, FORMATION_REFUSE,
                     "%s and %s hold different databases (system identifiers %" PRIu64
                     " and %" PRIu64 "): move the wrong one away",
                     found->name, h->name, found->sysid, h->sysid);
            return true;
        }
        if (h->is_running_primary && primary != NULL) {
            CONCLUDE(out, FORMATION_REFUSE,
                     "PostgreSQL takes writes on both %s and %s: stop the wrong one", primary->name,
                     h->name);
            return true;
        }
        found = h->data == DATA_VALID ? h : found;
        primary = h->is_running_primary ? h : primary;
    }
    return false;
}

static int compare_ids(const void *a, const void *b)
{
    node_id x = *(const node_id *)a;
    node_id y = *(const node_id *)b;

    return x < y ? -1 : x > y;
}

/* All have answered. */
static void list_members(const struct formation_input *in, struct formation_output *out)
{
    out->n_members = in->n_addresses;
    for (uint8_t i = 0; i < in->n_addresses; i++) {
        out->members[i] = answer_of(in, i)->id;
    }
    qsort(out->members, out->n_members, sizeof(out->members[0]), compare_ids);
}

/* Somebody wrote phase one for other members than those who answer now. */
static bool conclude_other_members(const struct formation_input *in, struct formation_output *out)
{
    for (uint8_t i = 0; i < in->n_addresses; i++) {
        const struct hello *h = answer_of(in, i);

        if (h != NULL && h->state == HELLO_PREPARED &&
            (h->cluster_id != out->cluster_id || !same_members(h, out->members, out->n_members))) {
            CONCLUDE(out, FORMATION_REFUSE,
                     "%s (%s) has prepared a cluster with other nodes than those that answer now: "
                     "if that cluster never ran, remove its raft.data_dir",
                     h->name, in->addresses[i]);
            return true;
        }
    }
    return false;
}

/* We have no state, and everybody has answered without contradiction. */
static void decide_prepare(const struct formation_input *in, struct formation_output *out)
{
    const struct hello *first = answer_of(in, 0);
    bool is_first = self_index(in) == 0;

    list_members(in, out);
    out->cluster_id = cluster_id_of(out->members, out->n_members, in->self.addresses_hash);
    if (conclude_other_members(in, out)) {
        return;
    }
    if (is_first) {
        out->proposed_cluster_id = out->cluster_id;
    } else if (first->state == HELLO_NONE && first->proposed_cluster_id == 0) {
        CONCLUDE(out, FORMATION_WAIT, "waiting for %s (%s), the lowest address, to propose",
                 first->name, in->addresses[0]);
        return;
    } else if (first->state == HELLO_NONE && first->proposed_cluster_id != out->cluster_id) {
        CONCLUDE(out, FORMATION_WAIT, "%s (%s) proposes a cluster with other nodes than we see",
                 first->name, in->addresses[0]);
        return;
    }
    CONCLUDE(out, FORMATION_PREPARE, "all %d configured addresses have answered", in->n_addresses);
}

/* Phase one is written here: is it everywhere? */
static void decide_bootstrap(const struct formation_input *in, struct formation_output *out)
{
    for (uint8_t i = 0; i < in->n_addresses; i++) {
        const struct hello *h = answer_of(in, i);

        if (h != NULL && h->state == HELLO_MEMBER && h->cluster_id == out->cluster_id) {
            CONCLUDE(out, FORMATION_BOOTSTRAP, "%s has bootstrapped: all had phase one", h->name);
            return; /* It knew it of everybody. */
        }
    }
    if (conclude_other_members(in, out) || conclude_missing(in, out)) {
        return;
    }
    for (uint8_t i = 0; i < in->n_addresses; i++) {
        const struct hello *h = answer_of(in, i);

        if (!contains(out->members, out->n_members, h->id)) {
            CONCLUDE(out, FORMATION_REFUSE,
                     "%s (%s) came back as another node after phase one: if the cluster never ran, "
                     "remove raft.data_dir on all nodes",
                     h->name, in->addresses[i]);
            return;
        }
        if (h->state != HELLO_PREPARED) {
            CONCLUDE(out, FORMATION_WAIT, "waiting for %s (%s) to write phase one", h->name,
                     in->addresses[i]);
            return;
        }
    }
    CONCLUDE(out, FORMATION_BOOTSTRAP, "all %d members have phase one", out->n_members);
}

static void decide_prepared(const struct formation_input *in, struct formation_output *out)
{
    out->cluster_id = in->self.cluster_id;
    out->n_members = in->self.n_members;
    memcpy(out->members, in->self.members, sizeof(out->members));
    out->proposed_cluster_id = self_index(in) == 0 ? out->cluster_id : 0;
    if (!contains(out->members, out->n_members, in->self.id) || out->n_members != in->n_addresses) {
        CONCLUDE(out, FORMATION_REFUSE,
                 "phase one was written for %d members, %d addresses are configured now",
                 out->n_members, in->n_addresses);
        return;
    }
    for (uint8_t i = 0; i < in->n_addresses; i++) {
        const struct hello *h = answer_of(in, i);

        if (h != NULL && h->state == HELLO_MEMBER && h->cluster_id != out->cluster_id) {
            CONCLUDE(out, FORMATION_REFUSE, "%s (%s) belongs to another cluster, %016" PRIx64,
                     h->name, in->addresses[i], h->cluster_id);
            return;
        }
    }
    decide_bootstrap(in, out);
}

void formation_decide(const struct formation_input *input, struct formation_output *output)
{
    PRE(input->n_addresses >= 1 && input->n_addresses <= ADDRESSES_MAX);
    memset(output, 0, sizeof(*output));
    if (conclude_bad_list(input, output) || conclude_join(input, output) ||
        conclude_duplicates(input, output) || conclude_other_list(input, output)) {
        return;
    }
    switch (input->self.state) {
    case HELLO_NONE:
        if (!conclude_missing(input, output) && !conclude_data(input, output)) {
            decide_prepare(input, output);
        }
        break;
    case HELLO_PREPARED:
        decide_prepared(input, output);
        break;
    case HELLO_MEMBER:
        CONCLUDE(output, FORMATION_WAIT, "this node is a member already");
        break;
    }
    POST(IMPLIES(output->step == FORMATION_PREPARE || output->step == FORMATION_BOOTSTRAP,
                 output->cluster_id != 0 && output->n_members == input->n_addresses));
}
