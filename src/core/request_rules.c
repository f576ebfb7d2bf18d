/*
 * How a pending request ends: a table of named rows, the first that says yes
 * ends it, with a text for whoever asked. Until then it stays pending; the
 * owner acts on it (node_rules.c), or a take-over does (cluster_rules.c).
 */
#include <inttypes.h>

#include "base/str.h"
#include "core/cluster_rules.h"
#include "core/lookup.h"
#include "core/propose.h"

#define REQUEST_EXPIRES_US INT64_C(60000000)

/* One request while it is judged. */
struct request_case {
    const struct view *view;
    const struct cluster_facts *facts;
    const struct store_request *request;
    const struct status *primary;           /* Running, with lease; or NULL. */
    const struct store_ledger_entry *taken; /* The newest beginning of an epoch, or NULL. */
    bool is_due;
    bool is_acted_on;    /* An epoch began since it was made. */
    bool has_no_primary; /* And nothing is on the way to one by this request. */
    struct sbuf text;
};

static bool is_move(const struct store_request *r)
{
    return r->kind == REQUEST_SWITCHOVER || r->kind == REQUEST_FAILOVER;
}

static bool is_unsupported(struct request_case *c)
{
    sbuf_printf(&c->text, "%s by request is not available in this version",
                request_kind_name(c->request->kind));
    return !is_move(c->request);
}

/* Another owner than the one at the time of the request. */
static bool owner_has_changed(const struct request_case *c)
{
    const struct store_ledger_entry *before = lookup_taken_before(c->view->store, c->request->id);

    return c->is_acted_on && (before == NULL || !str_equal(before->subject, c->taken->subject));
}

static bool is_done(struct request_case *c)
{
    const char *to = c->request->to;

    if (!c->is_due || c->primary == NULL) {
        return false;
    }
    sbuf_printf(&c->text, "%s is primary, timeline %u", c->primary->name, c->primary->timeline);
    return to[0] != '\0' ? str_equal(c->primary->name, to) : owner_has_changed(c);
}

static bool ended_elsewhere(struct request_case *c)
{
    if (!c->is_due || c->primary == NULL || !c->is_acted_on) {
        return false;
    }
    sbuf_printf(&c->text, "%s is primary: %s did not take over", c->primary->name,
                c->request->to[0] != '\0' ? c->request->to : "nobody else");
    return true;
}

static bool names_wrong_primary(struct request_case *c)
{
    const struct store_primary *p = &c->view->store->primary;

    sbuf_printf(&c->text, "%s is not primary, %s is", c->request->from, p->owner);
    return c->is_due && !c->is_acted_on && p->has_owner && c->request->from[0] != '\0' &&
           !str_equal(c->request->from, p->owner);
}

static bool has_nobody_to_switch_from(struct request_case *c)
{
    sbuf_add(&c->text, "there is no healthy primary to switch from; ask for a failover");
    return c->is_due && c->request->kind == REQUEST_SWITCHOVER && c->has_no_primary;
}

static bool orders_the_impossible(struct request_case *c)
{
    const struct candidate *ordered = &c->facts->ordered;

    if (!c->is_due || !c->has_no_primary || ordered->name[0] == '\0' || ordered->eligible) {
        return false;
    }
    sbuf_printf(&c->text, "%s can not be primary: %s %s", ordered->name, ordered->verdict,
                ordered->evidence);
    return true;
}

/* Only another word of the operator passes the mark of a pause. */
static bool is_barred_by_mark(struct request_case *c)
{
    const char *owner = c->view->store->primary.owner;

    sbuf_printf(
        &c->text,
        "%s is not heard and its PostgreSQL, unfenced since a pause, may still write; if it "
        "is dead for certain: vechectl failover --primary-is-dead %s",
        owner, owner);
    return c->is_due && !c->is_acted_on && (c->facts->bits & F(C_UNFENCED)) && c->has_no_primary;
}

static bool names_nobody_while_paused(struct request_case *c)
{
    sbuf_add(&c->text, "the cluster is paused: name the member that is to be primary");
    return c->is_due && !c->is_acted_on && c->view->conf.pause && c->request->to[0] == '\0';
}

static int64_t due_us(const struct request_case *c)
{
    const struct store_ledger_entry *entry;

    if (c->request->at_us != 0) {
        return c->request->at_us;
    }
    for (uint64_t k = 0; (entry = store_ledger_newest(c->view->store, k)) != NULL; k++) {
        if (entry->index == c->request->id) {
            return entry->time_us;
        }
    }
    return 0; /* So long ago that the ledger forgot it. */
}

static bool has_expired(struct request_case *c)
{
    sbuf_add(&c->text, "nobody could act on it within 60 s");
    return c->is_due && !c->is_acted_on && c->view->wall_us > due_us(c) + REQUEST_EXPIRES_US;
}

static const struct {
    struct request_rule_info info;
    bool (*ends)(struct request_case *c);
} request_rules[] = {
    /* clang-format off */
    {{"request-unsupported",    false, "this version can not do that"},                        is_unsupported},
    {{"request-done",           true,  "the new primary runs"},                                is_done},
    {{"request-ended-elsewhere", false, "an epoch began since, and not as it was asked for"},  ended_elsewhere},
    {{"request-wrong-primary",  false, "it names a member as primary that is not"},            names_wrong_primary},
    {{"request-no-primary",     false, "a switchover needs a primary"},                        has_nobody_to_switch_from},
    {{"request-unfenced",       false, "nobody may take over from a primary that nothing fences"},  is_barred_by_mark},
    {{"request-paused",         false, "a paused cluster does not choose"},                    names_nobody_while_paused},
    {{"request-impossible",     false, "the member it names can not be primary, even by order"}, orders_the_impossible},
    {{"request-expired",        false, "nobody could act on it in time"},                      has_expired},
    /* clang-format on */
};

const struct request_rule_info *request_rule_info(size_t i)
{
    return i < ARRAY_LENGTH(request_rules) ? &request_rules[i].info : NULL;
}

static bool has_no_primary(const struct view *view, const struct cluster_facts *f)
{
    const struct store *s = view->store;
    const struct store_ledger_entry *release = lookup_newest_release(s);

    if (s->primary.has_owner) { /* Who stopped for this request may have to release once more. */
        return (f->bits & F(C_PROMISES_OVER)) && (f->bits & F(C_TIMER_OVER)) &&
               !(f->bits & F(C_OWNER_RECOVERS));
    }
    return release == NULL || release->index < s->request.id;
}

static void end(const struct view *view, const struct store_request *r, bool done, const char *text,
                struct decision *d)
{
    struct command *c = propose_begin(view, d, COMMAND_REQUEST_END);

    if (c != NULL) {
        c->request_end.request_id = r->id;
        c->request_end.expect_epoch = view->store->primary.epoch;
        c->request_end.expect_owned = view->store->primary.has_owner;
        c->request_end.done = done;
        c->request_end.time_us = view->wall_us;
        (void)str_copy(c->request_end.text, TEXT_SIZE, text);
        (void)str_copy(c->request_end.node, NAME_SIZE, view->self.status.name);
    }
}

void request_rules_decide(const struct view *view, const struct cluster_facts *facts,
                          struct decision *d)
{
    const struct store_request *r = &view->store->request;
    char text[TEXT_SIZE];
    struct request_case c = {.view = view, .facts = facts, .request = r};

    if (r->id == 0) {
        return;
    }
    c.primary = lookup_running_primary(view);
    c.taken = lookup_taken_before(view->store, UINT64_MAX);
    c.is_due = lookup_request_is_due(view);
    c.is_acted_on = lookup_request_is_acted_on(view->store);
    c.has_no_primary = has_no_primary(view, facts);
    if (!c.is_due && r->at_us > view->wall_us) {
        propose_wake(view, d, view->now_ms + (uint64_t)(r->at_us - view->wall_us) / US_PER_MS + 1);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(request_rules); i++) {
        sbuf_init(&c.text, text, sizeof(text));
        if (request_rules[i].ends(&c)) {
            end(view, r, request_rules[i].info.done, text, d);
            return;
        }
    }
}
