/*
 * See slots.h. What is wanted: from members and configuration. What becomes of a slot:
 * facts, then the first rule that fits.
 */
#include "core/slots.h"

#include "base/str.h"
#include "core/lookup.h"

#define SEGMENT_BYTES (UINT64_C(16) * 1024 * 1024) /* WAL goes by whole ones. */
#define BEHIND_BYTES  (UINT64_C(64) * 1024 * 1024) /* Of a member that tells no position. */

const char *slot_action_name(enum slot_action action)
{
    static const char *const names[] = {
        [SLOT_KEEP] = "keep",     [SLOT_CREATE] = "create",   [SLOT_DROP] = "drop",
        [SLOT_REMAKE] = "remake", [SLOT_ADVANCE] = "advance",
    };

    return names[action];
}

/* Patroni's rule, so that names stay what they were. */
const char *slot_name(const char *member, char *text, size_t size)
{
    struct sbuf b;

    PRE(size >= NAME_SIZE);
    sbuf_init(&b, text, NAME_SIZE);
    for (const char *at = member; *at != '\0'; at++) {
        unsigned char ch = (unsigned char)*at;

        if ((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '_') {
            sbuf_printf(&b, "%c", ch);
        } else if (ch >= 'A' && ch <= 'Z') {
            sbuf_printf(&b, "%c", ch - 'A' + 'a');
        } else if (ch == '-' || ch == '.') {
            sbuf_add(&b, "_");
        } else {
            sbuf_printf(&b, "u%04x", ch);
        }
    }
    return text;
}

/* ---- What is wanted ---- */

/* So long it may be silent, and is absent after. */
static bool is_silent(const struct view *view, const struct slot_place *place, node_id id,
                      uint64_t allowed_ms)
{
    const struct view_peer *peer = lookup_peer(view, id);
    uint64_t heard_ms = MAX(peer != NULL ? peer->received_ms : 0, place->since_ms);

    return view->now_ms >= heard_ms + allowed_ms;
}

/* A standby on our timeline; of any other it is not known what it will need. */
static lsn_t flushed_by(const struct view *view, node_id id)
{
    const struct view_peer *peer = lookup_peer(view, id);
    const struct status *s = peer != NULL ? &peer->status : NULL;

    if (peer == NULL || s->pg_role != PG_ROLE_STANDBY || s->data != DATA_VALID ||
        s->timeline != view->self.status.timeline || s->sysid != view->self.status.sysid) {
        return 0;
    }
    return s->flushed;
}

static uint32_t place_of(const struct slots_wanted *w, const char *name)
{
    uint32_t i = 0;

    while (i < w->n && !str_equal(w->items[i].spec.name, name)) {
        i++;
    }
    return i;
}

const struct slot_wanted *slots_find(const struct slots_wanted *wanted, const char *name)
{
    uint32_t i = place_of(wanted, name);

    return i < wanted->n ? &wanted->items[i] : NULL;
}

/* The first to claim a name gets it: members come before permanent slots. */
static struct slot_wanted *claim(struct slots_wanted *w, const char *name, const char *who)
{
    uint32_t i = place_of(w, name);
    struct slot_wanted *item = &w->items[i];

    PRE(i < SLOTS_WANTED_MAX);
    if (i < w->n) {
        (void)str_copy(item->also, sizeof(item->also), who); /* Same size. */
        return NULL;
    }
    w->n++;
    *item = (struct slot_wanted){0};
    (void)str_copy(item->spec.name, sizeof(item->spec.name), name);
    return item;
}

static void want_member(const struct view *view, const struct slot_place *place,
                        const struct store_member *m, struct slots_wanted *w)
{
    struct slot_wanted *item;
    char name[NAME_SIZE], own[NAME_SIZE];

    (void)slot_name(m->name, name, sizeof(name));
    (void)slot_name(place->own, own, sizeof(own));
    if (m->mode != MODE_POSTGRES || m->nostream || str_equal(name, own) ||
        is_silent(view, place, m->id, view->conf.ttl_ms + view->conf.member_slots_ttl_ms)) {
        return;
    }
    item = claim(w, name, m->name);
    if (item != NULL) {
        item->is_member = true;
        item->spec.type = SLOT_PHYSICAL;
        item->comes_here = !place->in_recovery || str_equal(m->replicatefrom, place->own);
        item->waits = is_silent(view, place, m->id, view->conf.ttl_ms);
        item->lsn = item->waits ? 0 : flushed_by(view, m->id);
    }
}

static lsn_t told_by_primary(const struct view *view, const char *name)
{
    const struct status *s = lookup_running_primary(view);

    for (uint32_t i = 0; s != NULL && i < s->n_slots; i++) {
        if (str_equal(s->slots[i].name, name)) {
            return s->slots[i].lsn;
        }
    }
    return 0;
}

/* As in Patroni a node that never takes over has none, and nobody one for himself. */
static void want_permanent(const struct view *view, const struct slot_place *place,
                           const struct slot_spec *spec, struct slots_wanted *w)
{
    struct slot_wanted *item;
    char own[NAME_SIZE];

    (void)slot_name(place->own, own, sizeof(own));
    if (str_equal(spec->name, own) || (place->in_recovery && view->self.member.nofailover)) {
        return;
    }
    item = claim(w, spec->name, spec->name);
    if (item != NULL) {
        item->spec = *spec;
        item->lsn = place->in_recovery ? told_by_primary(view, spec->name) : 0;
    }
}

void slots_want(const struct view *view, const struct slots_conf *conf,
                const struct slot_place *place, struct slots_wanted *ret_wanted)
{
    PRE(conf->n_permanent <= SLOTS_PERMANENT_MAX);

    ret_wanted->n = 0;
    for (uint32_t i = 0; i < view->store->n_members; i++) {
        want_member(view, place, &view->store->members[i], ret_wanted);
    }
    for (uint32_t i = 0; i < conf->n_permanent; i++) {
        want_permanent(view, place, &conf->permanent[i], ret_wanted);
    }
}

static bool fits(const char *pattern, const char *text)
{
    return pattern[0] == '\0' || str_equal(pattern, text);
}

bool slots_ignore(const struct slots_conf *conf, const struct slot_seen *seen)
{
    bool found = false;

    for (uint32_t i = 0; i < conf->n_ignored; i++) {
        const struct slot_spec *s = &conf->ignored[i];

        found =
            found || ((s->type == SLOT_ANY || s->type == seen->spec.type) &&
                      fits(s->name, seen->spec.name) && fits(s->database, seen->spec.database) &&
                      fits(s->plugin, seen->spec.plugin));
    }
    return found;
}

/* ---- What becomes of one ---- */

#define F(name) (1U << SLOT_FACT_##name##_BIT)

struct slot_rule {
    const char *name;
    unsigned all, none; /* Facts. */
    enum slot_action action;
    bool is_trouble;
    const char *why;
};

/* clang-format off */
static const struct slot_rule rules[] = {
    {"slot-in-use",        F(EXISTS) | F(ACTIVE), 0, SLOT_KEEP, false,
     "somebody uses it"},
    {"slot-synchronized",  F(EXISTS) | F(STANDBY) | F(SYNCED), 0, SLOT_KEEP, false,
     "PostgreSQL itself keeps it as it is on the primary"},
    {"slot-other",         F(WANTED) | F(EXISTS) | F(OTHER), 0, SLOT_KEEP, true,
     "a slot of that name is there and is of another type, database or plugin: drop it, or take another name"},
    {"slot-left",          F(WANTED) | F(EXISTS) | F(LOGICAL) | F(STANDBY), F(PAUSED), SLOT_DROP, false,
     "left of the time as primary: nobody moves it on a standby, it would keep WAL and be old after a promotion"},
    {"slot-lost",          F(WANTED) | F(EXISTS) | F(LOGICAL) | F(BROKEN), F(PAUSED), SLOT_DROP, false,
     "WAL it needs is gone: it is made again"},
    {"slot-broken",        F(WANTED) | F(EXISTS) | F(BROKEN), F(PAUSED) | F(LOGICAL), SLOT_REMAKE, false,
     "it reserves no WAL, lost it, or holds rows for nobody: it is made again"},
    {"slot-behind",        F(WANTED) | F(EXISTS) | F(BEHIND), F(LOGICAL), SLOT_ADVANCE, false,
     "WAL before is not needed any more"},
    {"slot-unsyncable",    F(WANTED) | F(EXISTS) | F(LOGICAL) | F(UNSYNCABLE), F(STANDBY), SLOT_KEEP, true,
     "it was made without failover, so standbys do not have it: drop it once, and it is made again"},
    {"slot-wanted",        F(WANTED) | F(EXISTS), 0, SLOT_KEEP, false,
     "it is as it should be"},
    {"slot-of-primary",    F(WANTED) | F(LOGICAL) | F(STANDBY), F(EXISTS), SLOT_KEEP, false,
     "logical slots are made on the primary"},
    {"slot-not-told",      F(WANTED) | F(STANDBY), F(EXISTS) | F(TOLD), SLOT_KEEP, false,
     "where it is on the primary is not known yet"},
    {"slot-missing",       F(WANTED), F(EXISTS), SLOT_CREATE, false,
     "it is missing"},
    {"slot-ignored",       F(EXISTS) | F(IGNORED), 0, SLOT_KEEP, false,
     "ignore_slots has it"},
    {"slot-unwanted",      F(EXISTS) | F(KNOWN), F(PAUSED), SLOT_DROP, false,
     "its member is gone, or it is not in slots any more"},
    {"slot-after-pause",   F(EXISTS) | F(KNOWN), 0, SLOT_KEEP, false,
     "while paused none is dropped"},
    {"slot-unknown",       F(EXISTS), 0, SLOT_KEEP, true,
     "it is nobody's we know, and keeps WAL while it is not used: drop it, or put it into slots or ignore_slots"},
    {"slot-none",          0, 0, SLOT_KEEP, false,
     "there is none, and none is wanted"},
};
/* clang-format on */

void slot_decide_facts(unsigned facts, struct slot_decision *ret_decision)
{
    const struct slot_rule *r = rules;

    while ((facts & r->all) != r->all || (facts & r->none) != 0) {
        r++; /* The last one fits everything. */
    }
    POST(r < rules + ARRAY_LENGTH(rules));
    *ret_decision = (struct slot_decision){
        .action = r->action, .rule = r->name, .why = r->why, .is_trouble = r->is_trouble};
}

/* Up to where it may go; 0 = it stays. Never beyond what is told and what is here. */
static lsn_t step_of(const struct slot_place *place, const struct slot_question *q)
{
    const struct slot_seen *seen = q->seen;
    const struct slot_wanted *wanted = q->wanted;
    bool frees;
    lsn_t to;

    if (wanted == NULL || seen == NULL || seen->spec.type != SLOT_PHYSICAL || seen->lost ||
        seen->restart == 0 || (!wanted->is_member && !place->in_recovery)) {
        return 0; /* A permanent one of the primary moves with its consumer. */
    }
    if (wanted->lsn == 0) {
        bool far = wanted->is_member && !wanted->waits && place->in_recovery &&
                   seen->restart + BEHIND_BYTES < place->end;

        return far && place->may_step ? place->end : 0;
    }
    to = MIN(wanted->lsn, place->end);
    frees = place->may_step && to / SEGMENT_BYTES > seen->restart / SEGMENT_BYTES;
    return to > seen->restart && (frees || place->may_creep) ? to : 0;
}

static bool is_other(const struct slot_spec *wanted, const struct slot_spec *seen)
{
    return wanted->type != seen->type ||
           (wanted->type == SLOT_LOGICAL && (!str_equal(wanted->database, seen->database) ||
                                             !str_equal(wanted->plugin, seen->plugin)));
}

/* What it keeps from vacuum it keeps for nobody, and by feedback on the primary, too. Made
 * again it begins at the last restartpoint: not that of a member that may still come for it. */
static bool holds_rows(const struct slot_place *place, const struct slot_question *q)
{
    return place->in_recovery && q->seen->has_xmin && q->wanted != NULL && !q->wanted->comes_here &&
           !q->wanted->waits;
}

static bool is_broken(const struct slot_place *place, const struct slot_question *q)
{
    const struct slot_seen *seen = q->seen;

    return seen->lost ||
           (seen->spec.type == SLOT_PHYSICAL && (seen->restart == 0 || holds_rows(place, q)));
}

static unsigned facts_of_seen(const struct slot_place *place, const struct slot_question *q)
{
    const struct slot_seen *seen = q->seen;
    bool other = q->wanted != NULL && is_other(&q->wanted->spec, &seen->spec);

    return F(EXISTS) | (seen->active ? F(ACTIVE) : 0) | (other ? F(OTHER) : 0) |
           (seen->synced ? F(SYNCED) : 0) | (is_broken(place, q) ? F(BROKEN) : 0) |
           (place->major >= SLOTS_MAJOR_SYNCS && !seen->failover ? F(UNSYNCABLE) : 0) |
           (q->is_known ? F(KNOWN) : 0) | (q->is_ignored ? F(IGNORED) : 0);
}

static unsigned facts_of_wanted(const struct slot_wanted *wanted)
{
    return F(WANTED) | (wanted->spec.type == SLOT_LOGICAL ? F(LOGICAL) : 0) |
           (wanted->is_member || wanted->lsn != 0 ? F(TOLD) : 0);
}

void slot_decide(const struct slot_place *place, const struct slot_question *question,
                 struct slot_decision *ret_decision)
{
    lsn_t to = step_of(place, question);
    unsigned facts = (place->in_recovery ? F(STANDBY) : 0) | (place->paused ? F(PAUSED) : 0) |
                     (to != 0 ? F(BEHIND) : 0);

    PRE(question->wanted != NULL || question->seen != NULL);
    facts |= question->seen != NULL ? facts_of_seen(place, question) : 0;
    facts |= question->wanted != NULL ? facts_of_wanted(question->wanted) : 0;
    slot_decide_facts(facts, ret_decision);
    if (ret_decision->action == SLOT_ADVANCE) {
        ret_decision->to = to;
    }
    POST(IMPLIES(ret_decision->action == SLOT_ADVANCE, to <= place->end));
}
