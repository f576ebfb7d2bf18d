/*
 * Partners: every configured address but our own is dialled until somebody
 * answers there, and again 250 ms (with jitter) after it failed, for ever. The
 * delay is constant: a node that comes back is worth more than the few packets.
 */
#include <inttypes.h>

#include "peer/peer_internal.h"

#define REFRESH_MS    SECONDS(10) /* A resolved name is looked up again after that. */
#define LOOK_UP_MS    1000        /* A failed look-up is tried again after that. */
#define SELF_MS       SECONDS(30) /* Our own address by another name: it may move. */
#define STEADY_MS     1000        /* Up for so long: redial at once when it breaks. */
#define LOG_PERIOD_MS MINUTES(1)

static void on_redial(uv_timer_t *timer);

static bool is_known(const struct peer *p, const struct peer_address *address)
{
    for (size_t i = 0; i < p->n_partners; i++) {
        if (strcmp(p->partners[i].address.text, address->text) == 0) {
            return true;
        }
    }
    return strcmp(p->self_address, address->text) == 0;
}

int dial_init(struct peer *p, const struct peer_options *options, struct err *err)
{
    if (options->n_partners > MEMBERS_MAX + 1) {
        return err_set(err, "%zu partner addresses, at most %d", options->n_partners,
                       MEMBERS_MAX + 1);
    }
    p->partners = xmalloc((MEMBERS_MAX + 1) * sizeof(*p->partners));
    for (size_t i = 0; i < options->n_partners; i++) {
        struct partner *partner = &p->partners[p->n_partners];
        struct peer_address address;

        if (address_parse(options->partners[i], &address, err) < 0) {
            return err_wrap(err, "partner");
        }
        if (address.is_any) {
            return err_set(err, "partner address \"%s\": not the address of a node", address.text);
        }
        if (is_known(p, &address)) {
            continue;
        }
        partner->peer = p;
        partner->address = address;
        partner->resolved[0] = address.numeric;
        partner->n_resolved = address.is_numeric ? 1 : 0;
        (void)str_copy(partner->problem, sizeof(partner->problem), "not dialled yet");
        p->n_partners++;
    }
    return 0;
}

static void redial_in(struct partner *partner, uint64_t delay_ms)
{
    int r = uv_timer_start(&partner->timer, on_redial, delay_ms, 0);

    ASSERT(r == 0);
}

void dial_start(struct peer *p)
{
    for (size_t i = 0; i < p->n_partners; i++) {
        struct partner *partner = &p->partners[i];
        int r = uv_timer_init(p->loop, &partner->timer);

        ASSERT(r == 0);
        partner->timer.data = partner;
        peer_opened(p);
        redial_in(partner, 0);
    }
}

static void on_resolved(void *data, const struct sockaddr_storage *found, size_t n,
                        const char *problem)
{
    struct partner *partner = data;

    partner->job = NULL;
    partner->resolved_ms = uv_now(partner->peer->loop);
    if (n > 0) {
        memcpy(partner->resolved, found, n * sizeof(*found));
        partner->n_resolved = n;
        partner->next = 0;
    } else if (partner->n_resolved == 0) {
        (void)str_copy(partner->problem, sizeof(partner->problem), problem); /* Same size. */
    }
    if (partner->link == NULL) {
        redial_in(partner, n > 0 ? 0 : LOOK_UP_MS);
    }
}

/* Addresses found before stay in use while a new look-up is under way. */
static void look_up_if_due(struct partner *partner)
{
    struct peer *p = partner->peer;
    uint64_t age_ms = uv_now(p->loop) - partner->resolved_ms;

    if (partner->address.is_numeric || partner->job != NULL ||
        (partner->n_resolved > 0 && age_ms < REFRESH_MS)) {
        return;
    }
    partner->job = resolver_start(p->resolver, partner->address.host, partner->address.port,
                                  on_resolved, partner);
    if (partner->job == NULL && partner->n_resolved == 0) {
        redial_in(partner, LOOK_UP_MS);
    }
}

static void dial(struct partner *partner)
{
    struct peer *p = partner->peer;
    const struct sockaddr_storage *to = &partner->resolved[partner->next];
    struct peer_link *link = peer_add_link(p, LINK_PEER);
    struct err err;

    partner->link = link;
    partner->next = (partner->next + 1) % partner->n_resolved;
    link->partner = partner;
    link->proof = partner->proof;
    (void)str_copy(link->where, sizeof(link->where), partner->address.text); /* Same size. */
    if (p->tls == NULL && !sockaddr_is_loopback(to)) {
        link_close(link, CAUSE_NOT_LOOPBACK,
                   "\"%s\" is not on this machine, and there is no "
                   "raft.password or raft.tls",
                   partner->address.host);
    } else if (link_dial(link, to, &err) < 0) {
        link_close(link, CAUSE_NONE, "%s", err.text);
    }
}

static void on_redial(uv_timer_t *timer)
{
    struct partner *partner = timer->data;

    look_up_if_due(partner);
    if (partner->link == NULL && partner->n_resolved > 0) {
        dial(partner);
    }
}

void dial_now(struct peer *p)
{
    for (size_t i = 0; i < p->n_partners; i++) {
        if (p->partners[i].link == NULL) {
            redial_in(&p->partners[i], 0);
        }
    }
}

void dial_link_up(struct peer_link *link)
{
    struct partner *partner = link->partner;

    if (partner != NULL) {
        partner->id = link->who.id;
        (void)str_copy(partner->name, sizeof(partner->name), link->who.name); /* Same size. */
        partner->good = link->remote;
        partner->is_known = true;
        partner->is_self = false;
        partner->problem[0] = '\0';
        partner->limit = (struct log_limit){0};
    }
}

static uint64_t redial_delay_ms(struct peer *p, const struct peer_link *link)
{
    if (link->is_self) {
        return SELF_MS;
    }
    if (link->redial_now || (link->was_up && uv_now(p->loop) - link->up_ms >= STEADY_MS)) {
        return 0;
    }
    return rng_between(&p->rng, REDIAL_MS - REDIAL_JITTER, REDIAL_MS + REDIAL_JITTER);
}

void dial_link_closed(struct peer_link *link)
{
    struct partner *partner = link->partner;
    struct peer *p = link->owner;
    uint64_t n_dropped;

    if (partner == NULL || p->is_closing) {
        return;
    }
    partner->link = NULL;
    partner->is_self = link->is_self;
    if (peer_is_unproved(link)) {
        partner->proof = (link->proof + 1) % tls_context_n_proofs(p->tls);
    }
    (void)str_copy(partner->problem, sizeof(partner->problem), link->reason); /* Same size. */
    /* A refusal has a line of its own. */
    if (!link->is_self && !link->was_up &&
        (link->cause == CAUSE_NONE || link->cause == CAUSE_SLOW) &&
        log_limit_passes(&partner->limit, uv_now(p->loop), LOG_PERIOD_MS, &n_dropped)) {
        log_info("Cannot reach a partner, trying again every %d ms. address=%s why=\"%s\" "
                 "repeated=%" PRIu64,
                 REDIAL_MS, partner->address.text, link->reason, n_dropped);
    }
    redial_in(partner, redial_delay_ms(p, link));
}

/* A node that only dials us: it comes from there, and said which port. */
static bool find_by_inbound(struct peer *p, node_id to, struct sockaddr_storage *ret_address)
{
    const struct peer_link *link = peer_find_link(p, to);
    struct peer_address said;
    struct err err;

    if (link == NULL || address_parse(link->who.address, &said, &err) < 0) {
        return false;
    }
    *ret_address = said.is_numeric ? said.numeric : link->remote;
    sockaddr_set_port(ret_address, said.port);
    return true;
}

bool dial_find(struct peer *p, node_id to, struct sockaddr_storage *ret_address)
{
    for (size_t i = 0; i < p->n_partners; i++) {
        const struct partner *partner = &p->partners[i];

        if (partner->is_known && partner->id == to) {
            *ret_address = partner->good;
            return true;
        }
    }
    return find_by_inbound(p, to, ret_address);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct partner *partner = handle->data;

    peer_gone(partner->peer);
}

void dial_close(struct peer *p)
{
    for (size_t i = 0; i < p->n_partners; i++) {
        resolver_cancel(p->resolver, p->partners[i].job);
        p->partners[i].job = NULL;
        uv_close((uv_handle_t *)&p->partners[i].timer, on_timer_closed);
    }
}
