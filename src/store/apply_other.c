/*
 * The cluster itself, members, configuration, requests and the ledger.
 */
#include "store/apply_internal.h"

#include <inttypes.h>
#include <strings.h>

/* How far back an equal note is looked for. */
#define LEDGER_LOOK_BACK 16

enum apply_result apply_cluster_create(struct apply *a, const struct command_cluster_create *c)
{
    struct store_cluster *cluster = &a->s->cluster;

    if (c->cluster_id == 0 || c->scope[0] == '\0') {
        return APPLY_REFUSED_VALUE;
    }
    if (cluster->id == c->cluster_id && str_equal(cluster->scope, c->scope)) {
        return APPLY_UNCHANGED;
    }
    if (cluster->id != 0) {
        return APPLY_REFUSED_STATE;
    }
    cluster->id = c->cluster_id;
    PUT(cluster->scope, c->scope);
    a->changes |= CHANGE_CLUSTER;
    return APPLY_DONE;
}

/* By the owner that made the database, or, while nobody owns the cluster, for
 * one that exists already (command.h). */
enum apply_result apply_cluster_init(struct apply *a, const struct command_cluster_init *c)
{
    struct store_cluster *cluster = &a->s->cluster;

    if (c->sysid == 0) {
        return APPLY_REFUSED_VALUE;
    }
    if (cluster->init == INIT_DONE) {
        return cluster->sysid == c->sysid ? APPLY_UNCHANGED : APPLY_REFUSED_VALUE;
    }
    if (c->expect_epoch != a->s->primary.epoch) {
        return APPLY_REFUSED_EPOCH;
    }
    ASSERT((cluster->init == INIT_RUNNING) == a->s->primary.has_owner);
    cluster->init = INIT_DONE;
    cluster->sysid = c->sysid;
    a->changes |= CHANGE_CLUSTER;
    if (c->timeline != 0) {
        line_put(a, c->timeline, 0, 0);
    }
    return APPLY_DONE;
}

/* The owner and whom the synchronous state names must stay what they are. */
static bool member_is_needed(const struct store *s, const char *name)
{
    bool owns = s->primary.has_owner && str_equal(s->primary.owner, name);
    bool synchronous = s->sync.primary[0] != '\0' && store_sync_allows(s, name);

    return owns || synchronous;
}

/* Names are compared without case: PostgreSQL does so with application_name in
 * synchronous_standby_names. */
static bool member_collides(const struct store *s, const struct command_member_set *c)
{
    for (uint32_t i = 0; i < s->n_members; i++) {
        const struct store_member *m = &s->members[i];

        if (!str_equal(m->name, c->name) && (m->id == c->id || strcasecmp(m->name, c->name) == 0)) {
            return true;
        }
    }
    return false;
}

static void fill_member(struct store_member *m, const struct command_member_set *c)
{
    memset(m, 0, sizeof(*m));
    PUT(m->name, c->name);
    m->id = c->id;
    m->mode = c->mode;
    PUT(m->raft_address, c->raft_address);
    PUT(m->api_url, c->api_url);
    PUT(m->pg_host, c->pg_host);
    m->pg_port = c->pg_port;
    m->pg_version = c->pg_version;
    PUT(m->veche_version, c->veche_version);
    PUT(m->glibc_version, c->glibc_version);
    m->nofailover = c->nofailover;
    m->noloadbalance = c->noloadbalance;
    m->clonefrom = c->clonefrom;
    m->nosync = c->nosync;
    m->nostream = c->nostream;
    m->failover_priority = c->failover_priority;
    PUT(m->replicatefrom, c->replicatefrom);
    PUT(m->tags, c->tags);
    m->last_state = c->last_state;
}

static void insert_member(struct store *s, const struct store_member *m)
{
    uint32_t at = s->n_members;

    for (; at > 0 && strcmp(s->members[at - 1].name, m->name) > 0; at--) {
        memcpy(&s->members[at], &s->members[at - 1], sizeof(*m));
    }
    memcpy(&s->members[at], m, sizeof(*m));
    s->n_members++;
}

enum apply_result apply_member_set(struct apply *a, const struct command_member_set *c)
{
    struct store *s = a->s;
    const struct store_member *old = store_find_member(s, c->name);
    struct store_member fresh;

    if (c->name[0] == '\0' || c->id == 0 || member_collides(s, c)) {
        return APPLY_REFUSED_VALUE;
    }
    if (c->mode != MODE_POSTGRES && member_is_needed(s, c->name)) {
        return APPLY_REFUSED_STATE;
    }
    if (old == NULL && s->n_members == MEMBERS_MAX) {
        return APPLY_REFUSED_LIMIT;
    }
    fill_member(&fresh, c);
    if (old != NULL) {
        fresh.proxy = old->proxy;
    }
    if (old == NULL) {
        insert_member(s, &fresh);
    } else if (store_member_equal(old, &fresh)) {
        return APPLY_UNCHANGED;
    } else {
        memcpy(&s->members[old - s->members], &fresh, sizeof(fresh));
    }
    orders_of_nobody(s); /* It may be a witness now. */
    a->changes |= CHANGE_MEMBERS;
    return APPLY_DONE;
}

enum apply_result apply_member_proxy(struct apply *a, const struct command_member_proxy *c)
{
    struct store *s = a->s;
    const struct store_member *m = store_find_member(s, c->name);

    if (m == NULL || m->id != c->id) {
        return APPLY_REFUSED_VALUE;
    }
    if (str_equal(m->proxy.url, c->url)) {
        return APPLY_UNCHANGED;
    }
    PUT(s->members[m - s->members].proxy.url, c->url);
    a->changes |= CHANGE_MEMBERS;
    return APPLY_DONE;
}

enum apply_result apply_member_remove(struct apply *a, const struct command_member_remove *c)
{
    struct store *s = a->s;
    const struct store_member *m = store_find_member(s, c->name);
    size_t at;

    if (m == NULL) {
        return APPLY_UNCHANGED;
    }
    if (m->id != c->id) {
        return APPLY_REFUSED_VALUE; /* It came back under a new id meanwhile. */
    }
    if (member_is_needed(s, c->name)) {
        return APPLY_REFUSED_STATE;
    }
    at = (size_t)(m - s->members);
    s->n_members--;
    memmove(&s->members[at], &s->members[at + 1], (s->n_members - at) * sizeof(*m));
    memset(&s->members[s->n_members], 0, sizeof(*m));
    orders_of_nobody(s);
    a->changes |= CHANGE_MEMBERS;
    return APPLY_DONE;
}

enum apply_result apply_config_set(struct apply *a, const struct command_config_set *c)
{
    struct store *s = a->s;

    if (c->expect_revision != s->config_revision) {
        return APPLY_REFUSED_REVISION;
    }
    if (c->config[0] == '\0') {
        return APPLY_REFUSED_VALUE;
    }
    if (str_equal(c->config, s->config)) {
        return APPLY_UNCHANGED;
    }
    PUT(s->config, c->config);
    s->config_size = (uint32_t)strlen(s->config);
    s->config_revision++;
    a->changes |= CHANGE_CONFIG;
    return APPLY_DONE;
}

static bool is_empty_or_listed(const struct store *s, const char *name)
{
    return name[0] == '\0' || store_find_member(s, name) != NULL;
}

static bool request_is_good(const struct store *s, const struct command_request_set *c)
{
    bool moves = c->kind == REQUEST_SWITCHOVER || c->kind == REQUEST_FAILOVER;

    if (c->kind == REQUEST_NONE || !is_empty_or_listed(s, c->from) ||
        !is_empty_or_listed(s, c->to)) {
        return false;
    }
    return !(moves && c->from[0] != '\0' && str_equal(c->from, c->to));
}

/* The order itself is on record (S4), whatever becomes of it. */
static void record_request(struct apply *a, const struct command_request_set *c)
{
    char evidence[TEXT_SIZE];
    struct sbuf b;

    sbuf_init(&b, evidence, sizeof(evidence));
    sbuf_printf(&b, "from=%s to=%s at_us=%" PRId64 " asked by %s", c->from, c->to, c->at_us,
                c->who);
    ledger_write(a, &(struct ledger_text){.time_us = c->time_us,
                                          .rule = request_kind_name(c->kind),
                                          .evidence = evidence,
                                          .subject = c->to,
                                          .result = "requested"});
}

enum apply_result apply_request_set(struct apply *a, const struct command_request_set *c)
{
    struct store_request *r = &a->s->request;

    if (r->id != 0) {
        return APPLY_REFUSED_BUSY;
    }
    if (!request_is_good(a->s, c)) {
        return APPLY_REFUSED_VALUE;
    }
    memset(r, 0, sizeof(*r));
    r->id = a->index;
    r->kind = c->kind;
    PUT(r->from, c->from);
    PUT(r->to, c->to);
    r->at_us = c->at_us;
    PUT(r->who, c->who);
    a->changes |= CHANGE_REQUEST;
    record_request(a, c);
    return APPLY_DONE;
}

enum apply_result apply_request_end(struct apply *a, const struct command_request_end *c)
{
    struct store *s = a->s;
    const char *kind = request_kind_name(s->request.kind);
    char subject[NAME_SIZE];

    if (c->request_id == 0) {
        return APPLY_REFUSED_VALUE;
    }
    if (s->request.id != c->request_id) {
        return s->outcome.request_id == c->request_id ? APPLY_UNCHANGED : APPLY_REFUSED_STATE;
    }
    if (s->primary.epoch != c->expect_epoch || s->primary.has_owner != c->expect_owned) {
        return APPLY_REFUSED_EPOCH;
    }
    PUT(subject, s->request.to);
    memset(&s->request, 0, sizeof(s->request));
    s->outcome.request_id = c->request_id;
    s->outcome.done = c->done;
    PUT(s->outcome.text, c->text);
    a->changes |= CHANGE_REQUEST;
    ledger_write(a, &(struct ledger_text){.time_us = c->time_us,
                                          .node = c->node,
                                          .rule = kind,
                                          .evidence = c->text,
                                          .subject = subject,
                                          .result = c->done ? "request-done" : "request-failed"});
    return APPLY_DONE;
}

static void put_or_clear(char *dst, size_t size, const char *src)
{
    put_text(dst, size, src != NULL ? src : "");
}

void ledger_write(struct apply *a, const struct ledger_text *text)
{
    struct store *s = a->s;
    struct store_ledger_entry *entry = &s->ledger[s->n_ledger % LEDGER_MAX];
    bool named = text->rule != NULL && text->rule[0] != '\0';

    memset(entry, 0, sizeof(*entry));
    entry->index = a->index;
    entry->epoch = s->primary.epoch;
    entry->time_us = text->time_us;
    entry->last_us = text->time_us;
    entry->count = 1;
    entry->note = text->note;
    put_or_clear(entry->node, sizeof(entry->node), text->node);
    put_or_clear(entry->rule, sizeof(entry->rule), named ? text->rule : text->result);
    put_or_clear(entry->evidence, sizeof(entry->evidence), text->evidence);
    put_or_clear(entry->subject, sizeof(entry->subject), text->subject);
    put_or_clear(entry->result, sizeof(entry->result), text->result);
    s->n_ledger++;
    a->changes |= CHANGE_LEDGER;
}

/* Several candidates may be refused in turn, over and over, so an equal note is
 * looked for among the last few; but not behind a decision, or the ledger would
 * read as if the refusal had not come again after it. */
static struct store_ledger_entry *find_equal_note(struct store *s,
                                                  const struct command_ledger_add *c)
{
    for (uint64_t k = 0; k < LEDGER_LOOK_BACK; k++) {
        const struct store_ledger_entry *entry = store_ledger_newest(s, k);

        if (entry == NULL || !entry->note) {
            return NULL;
        }
        if (str_equal(entry->node, c->node) && str_equal(entry->rule, c->rule) &&
            str_equal(entry->evidence, c->evidence) && str_equal(entry->result, c->result)) {
            return &s->ledger[entry - s->ledger];
        }
    }
    return NULL;
}

enum apply_result apply_ledger_add(struct apply *a, const struct command_ledger_add *c)
{
    struct store_ledger_entry *entry = find_equal_note(a->s, c);

    if (c->rule[0] == '\0') {
        return APPLY_REFUSED_VALUE;
    }
    if (entry != NULL) {
        entry->count += entry->count < UINT32_MAX ? 1 : 0;
        entry->last_us = c->time_us;
        a->changes |= CHANGE_LEDGER;
        return APPLY_DONE;
    }
    ledger_write(a, &(struct ledger_text){.time_us = c->time_us,
                                          .node = c->node,
                                          .rule = c->rule,
                                          .evidence = c->evidence,
                                          .result = c->result,
                                          .note = true});
    return APPLY_DONE;
}
