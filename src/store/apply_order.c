/*
 * Operators' orders for one member: restart, reinit. The member carries them out
 * (core/order_rules.c) and says how it went; here is only who may have how many.
 */
#include "store/apply_internal.h"

#include <inttypes.h>

/* Where the next order of that member goes: over the one before, or behind all. */
static struct store_order *slot_of(struct store *s, const char *member, bool scheduled)
{
    for (uint32_t i = 0; i < s->n_orders; i++) {
        if ((s->orders[i].at_us != 0) == scheduled && str_equal(s->orders[i].member, member)) {
            return &s->orders[i];
        }
    }
    return s->n_orders < ORDERS_MAX ? &s->orders[s->n_orders] : NULL;
}

static bool order_is_good(const struct store *s, const struct command_order_set *c)
{
    bool restart = c->kind == REQUEST_RESTART;

    return (restart || (c->kind == REQUEST_REINIT && c->at_us == 0)) &&
           find_postgres(s, c->member) != NULL;
}

static void record_order(struct apply *a, const struct command_order_set *c)
{
    char evidence[TEXT_SIZE];
    struct sbuf b;

    sbuf_init(&b, evidence, sizeof(evidence));
    sbuf_printf(&b, "of %s at_us=%" PRId64 " asked by %s", c->member, c->at_us, c->who);
    ledger_write(a, &(struct ledger_text){.time_us = c->time_us,
                                          .rule = request_kind_name(c->kind),
                                          .evidence = evidence,
                                          .subject = c->member,
                                          .result = "requested"});
}

enum apply_result apply_order_set(struct apply *a, const struct command_order_set *c)
{
    struct store *s = a->s;
    struct store_order *o;

    if (!order_is_good(s, c)) {
        return APPLY_REFUSED_VALUE;
    }
    o = slot_of(s, c->member, c->at_us != 0);
    if (o == NULL) {
        return APPLY_REFUSED_LIMIT;
    }
    if (o->id != 0 && !o->ended && !c->force) {
        return APPLY_REFUSED_BUSY;
    }
    s->n_orders += o->id == 0 ? 1 : 0;
    memset(o, 0, sizeof(*o));
    o->id = a->index;
    o->kind = c->kind;
    PUT(o->member, c->member);
    o->at_us = c->at_us;
    PUT(o->role, c->role);
    o->pg_version = c->pg_version;
    o->pending_only = c->pending_only;
    o->timeout_ms = c->timeout_ms;
    PUT(o->who, c->who);
    o->time_us = c->time_us;
    a->changes |= CHANGE_REQUEST;
    record_order(a, c);
    return APPLY_DONE;
}

static struct store_order *find(struct store *s, uint64_t id)
{
    const struct store_order *o = id != 0 ? store_find_order_by_id(s, id) : NULL;

    return o != NULL ? &s->orders[o - s->orders] : NULL;
}

enum apply_result apply_order_begin(struct apply *a, const struct command_order_begin *c)
{
    struct store_order *o = find(a->s, c->order_id);

    if (o == NULL || o->ended || o->kind != REQUEST_RESTART) {
        return APPLY_REFUSED_STATE;
    }
    if (o->begun) {
        return APPLY_UNCHANGED;
    }
    o->begun = true;
    o->postmaster_us = c->postmaster_us;
    a->changes |= CHANGE_REQUEST;
    return APPLY_DONE;
}

enum apply_result apply_order_end(struct apply *a, const struct command_order_end *c)
{
    struct store_order *o = find(a->s, c->order_id);

    if (o == NULL) {
        return APPLY_REFUSED_STATE;
    }
    if (o->ended) {
        return APPLY_UNCHANGED;
    }
    o->ended = true;
    o->done = c->done;
    PUT(o->text, c->text);
    a->changes |= CHANGE_REQUEST;
    ledger_write(a, &(struct ledger_text){.time_us = c->time_us,
                                          .node = c->node,
                                          .rule = request_kind_name(o->kind),
                                          .evidence = c->text,
                                          .subject = o->member,
                                          .result = c->done ? "request-done" : "request-failed"});
    return APPLY_DONE;
}

void orders_of_nobody(struct store *s)
{
    uint32_t n_left = 0;

    for (uint32_t i = 0; i < s->n_orders; i++) {
        if (find_postgres(s, s->orders[i].member) != NULL) {
            memmove(&s->orders[n_left++], &s->orders[i], sizeof(s->orders[0]));
        }
    }
    memset(&s->orders[n_left], 0, (s->n_orders - n_left) * sizeof(s->orders[0]));
    s->n_orders = n_left;
}
