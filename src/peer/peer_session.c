/*
 * Who is at the other end of a link, and what that means: the exchange of
 * prefaces, the table of nodes, frames to hooks.
 *
 * A link is up when each side has accepted the other's preface and said so
 * (welcome); so a side that is refused never believes for a moment that it is
 * in contact. Nodes are up while they have a peer link that is; a link that
 * closes counts no more at once, but on_down comes from the loop.
 */
#include <inttypes.h>

#include "peer/peer_internal.h"
#include "peer/peer_message.h"

#define TWIN_PROBE_MS 500 /* What the older of two twins has to prove that it is alive. */

static bool is_peer_of(const struct peer_link *link, node_id id)
{
    return link->state == LINK_UP && link->kind == LINK_PEER && link->who.id == id;
}

static struct peer_link *link_of(struct list *node)
{
    return CONTAINER_OF(node, struct peer_link, list);
}

static bool is_better(const struct peer_link *link, const struct peer_link *than)
{
    if (than == NULL || link->hello_only != than->hello_only) {
        return than == NULL || !link->hello_only;
    }
    return link->dialled || !than->dialled;
}

struct peer_link *peer_find_link(const struct peer *p, node_id id)
{
    struct peer_link *best = NULL;

    LIST_FOREACH (it, &p->links) {
        struct peer_link *link = link_of(it);

        if (is_peer_of(link, id) && is_better(link, best)) {
            best = link;
        }
    }
    return best;
}

struct peer_node *peer_find_node(const struct peer *p, node_id id)
{
    for (size_t i = 0; i < p->n_nodes; i++) {
        if (p->nodes[i].id == id) {
            return (struct peer_node *)&p->nodes[i];
        }
    }
    return NULL;
}

struct peer_link *peer_add_link(struct peer *p, enum link_kind kind)
{
    struct peer_link *link = link_new(&p->settings, kind);

    link->owner = p;
    list_push_back(&p->links, &link->list);
    peer_opened(p);
    return link;
}

/* At most so many inbound connections that have not proved who they are. */
static void drop_oldest_stranger(struct peer *p)
{
    struct peer_link *oldest = NULL;
    size_t n = 0;

    LIST_FOREACH (it, &p->links) {
        struct peer_link *link = link_of(it);

        if (!link->dialled && !link->was_up && link->state != LINK_CLOSING) {
            oldest = oldest == NULL ? link : oldest;
            n++;
        }
    }
    if (n > STRANGERS_MAX) {
        link_close(oldest, CAUSE_CROWDED,
                   "dropped, the oldest of %zu that have not proved who "
                   "they are",
                   n);
    }
}

void peer_on_connection(uv_stream_t *listener, int status)
{
    struct peer *p = listener->data;
    struct peer_link *link;
    struct err err;
    uint64_t n_dropped;

    if (status < 0) {
        if (log_limit_passes(&p->accept_limit, uv_now(p->loop), MINUTES(1), &n_dropped)) {
            log_error("Cannot accept connections of peers, trying on. why=\"%s\" repeated=%" PRIu64,
                      uv_strerror(status), n_dropped);
        }
        return;
    }
    link = peer_add_link(p, LINK_PEER);
    if (link_accept(link, listener, &err) < 0) {
        link_close(link, CAUSE_NONE, "%s", err.text);
    }
    drop_oldest_stranger(p);
}

static void on_secure(struct peer_link *link)
{
    struct peer *p = link->owner;
    struct preface ours = p->preface;
    uint8_t buffer[PREFACE_SIZE];

    ours.kind = link->kind;
    link_send(link, FRAME_PREFACE, buffer, preface_encode(&ours, buffer));
}

bool peer_is_unproved(const struct peer_link *link)
{
    if (!link->dialled || link->was_up || link->tls == NULL || link->is_self) {
        return false;
    }
    switch (link->cause) {
    case CAUSE_NONE: /* A refusal that got lost on its way. */
    case CAUSE_NOT_TLS:
    case CAUSE_NO_SECRET:
    case CAUSE_WRONG_SECRET:
    case CAUSE_CERTIFICATE:
    case CAUSE_OUR_CERTIFICATE:
        return true;
    case CAUSE_WRONG_NAME:
    case CAUSE_SLOW:
    case CAUSE_EARLY_END:
    case CAUSE_CROWDED:
    case CAUSE_NOT_LOOPBACK:
    case CAUSE_MALFORMED:
    case CAUSE_VERSION:
    case CAUSE_SCOPE:
    case CAUSE_CLUSTER:
    case CAUSE_TWIN:
    case CAUSE_KIND:
    case CAUSE_FULL:
    case CAUSE_RAFT_CHECK:
    case CAUSE_BY_OTHER:
    case CAUSES:
        break;
    }
    return false;
}

/* What only the table of nodes can tell against somebody whose preface is good. */
static enum peer_cause admit(struct peer_link *link, const struct preface *theirs, struct err *err)
{
    struct peer *p = link->owner;

    LIST_FOREACH (it, &p->links) {
        struct peer_link *other = link_of(it);

        if (is_peer_of(other, theirs->id) && other->who.instance != theirs->instance) {
            (void)err_set(err, "two nodes run as \"%s\" (id %016" PRIx64 "), at %s and at %s",
                          theirs->name, theirs->id, other->who.address, theirs->address);
            link_probe(other, TWIN_PROBE_MS); /* If it is dead, the next attempt succeeds. */
            return CAUSE_TWIN;
        }
    }
    if (peer_find_node(p, theirs->id) == NULL && p->n_nodes == NODES_MAX) {
        (void)err_set(err, "%d nodes are connected, there is no room for \"%s\"", NODES_MAX,
                      theirs->name);
        return CAUSE_FULL;
    }
    if (!link->dialled && theirs->kind == LINK_RAFT && p->hooks.on_raft_stream == NULL) {
        (void)err_set(err, "no Raft here");
        return CAUSE_KIND;
    }
    return CAUSE_NONE;
}

/* Links that this one makes obsolete: of a process that is no more, an earlier
 * one the node dialled, Raft connections beyond their number. */
static void close_obsolete(struct peer_link *link)
{
    struct peer *p = link->owner;
    struct peer_link *oldest = NULL;
    size_t n = 0;

    LIST_FOREACH (it, &p->links) {
        struct peer_link *other = link_of(it);

        if (other == link || other->state != LINK_UP || other->who.id != link->who.id) {
            continue;
        }
        if (other->who.process != link->who.process) {
            link_close(other, CAUSE_NONE, "the node restarted");
        } else if (!link->dialled && !other->dialled && other->kind == link->kind) {
            oldest = oldest == NULL ? other : oldest;
            n++;
        }
    }
    if (n >= (link->kind == LINK_RAFT ? RAFT_LINKS_MAX : 1)) {
        link_close(oldest, CAUSE_NONE, "replaced by a newer connection");
    }
}

static void node_down(struct peer *p, node_id id, const char *why)
{
    struct peer_node *node = peer_find_node(p, id);

    log_info("Peer is down. peer=%s id=%016" PRIx64 " why=\"%s\"", node->name, id, why);
    *node = p->nodes[--p->n_nodes];
    HOOK(p, on_down, id, why);
}

static void node_up(struct peer_link *link)
{
    struct peer *p = link->owner;
    struct peer_node *node = peer_find_node(p, link->who.id);

    if (node != NULL && node->process != link->who.process) {
        node_down(p, node->id, "the node restarted");
        node = NULL;
    }
    if (node != NULL) {
        return;
    }
    node = &p->nodes[p->n_nodes++];
    *node = (struct peer_node){.id = link->who.id, .process = link->who.process};
    (void)str_copy(node->name, sizeof(node->name), link->who.name);          /* Same size. */
    (void)str_copy(node->address, sizeof(node->address), link->who.address); /* Same size. */
    log_info("Peer is up. peer=%s id=%016" PRIx64 " address=%s", node->name, node->id,
             node->address);
    HOOK(p, on_up, link->who.id, link->who.name);
}

static void start_raft(struct peer_link *link)
{
    struct peer *p = link->owner;
    void (*cb)(void *data, int fd) = link->raft_cb;
    struct err err;
    int fd;

    if (pump_start(link, &fd, &err) < 0) {
        link_close(link, CAUSE_NONE, "%s", err.text);
        return;
    }
    if (cb != NULL) {
        link->raft_cb = NULL;
        cb(link->raft_data, fd);
    } else if (p->hooks.on_raft_stream != NULL && !p->is_closing) {
        p->hooks.on_raft_stream(p->hooks.data, link->who.id, fd);
    } else {
        (void)close(fd); /* Nobody wants it: the pump sees the end. */
    }
}

static void become_up(struct peer_link *link)
{
    struct peer *p = link->owner;
    uint8_t buffer[MESSAGE_SIZE];

    link_set_up(link);
    close_obsolete(link);
    if (link->kind == LINK_RAFT) {
        start_raft(link);
        return;
    }
    dial_link_up(link);
    if (p->has_hello) {
        link_send(link, FRAME_HELLO, buffer, message_encode_hello(&p->hello, buffer));
    }
    node_up(link);
}

static void on_preface(struct peer_link *link, const struct frame *frame)
{
    struct peer *p = link->owner;
    struct preface theirs;
    enum peer_cause cause;
    struct err err;

    if (link->who.id != 0) {
        link_refuse(link, CAUSE_MALFORMED, "a second preface");
        return;
    }
    cause = preface_judge(&p->preface, frame->payload, frame->size, &theirs, &link->is_self, &err);
    if (link->is_self) {
        link_close(link, CAUSE_NONE, "it is our own address");
        return;
    }
    if (cause == CAUSE_NONE && link->tls != NULL && !tls_is_from(link->tls, theirs.name, &err)) {
        cause = CAUSE_WRONG_NAME;
    }
    if (cause == CAUSE_NONE) {
        cause = admit(link, &theirs, &err);
    }
    if (cause != CAUSE_NONE) {
        link_refuse(link, cause, err.text);
        return;
    }
    if (link->expected != 0 && link->expected != theirs.id) {
        link_close(link, CAUSE_NONE, "another node answered");
        return;
    }
    link->who = theirs;
    link->kind = link->dialled ? link->kind : theirs.kind;
    link->hello_only = preface_is_hello_only(&p->preface, &theirs);
    link_send(link, FRAME_WELCOME, NULL, 0);
    if (link->welcomed && link->state == LINK_PREFACE) {
        become_up(link);
    }
}

static void on_welcome(struct peer_link *link)
{
    if (link->welcomed) {
        link_refuse(link, CAUSE_MALFORMED, "a second welcome");
        return;
    }
    link->welcomed = true;
    if (link->who.id != 0) {
        become_up(link);
    }
}

static void on_refuse(struct peer_link *link, const struct frame *frame)
{
    struct refusal_message m;

    if (!message_decode_refusal(frame->payload, frame->size, &m)) {
        link_close(link, CAUSE_MALFORMED, "a malformed refusal");
        return;
    }
    link_close(link, CAUSE_BY_OTHER, "it refuses us: %s", m.why);
}

static void on_hello(struct peer_link *link, const struct frame *frame)
{
    struct peer *p = link->owner;
    struct hello hello;

    if (!message_decode_hello(frame->payload, frame->size, &hello) || hello.id != link->who.id) {
        link_refuse(link, CAUSE_MALFORMED, "a malformed hello");
        return;
    }
    HOOK(p, on_hello, &hello);
}

static void on_status(struct peer_link *link, const struct frame *frame)
{
    struct peer *p = link->owner;
    struct peer_node *node = peer_find_node(p, link->who.id);
    struct status status;

    if (!message_decode_status(frame->payload, frame->size, &status) || status.id != link->who.id) {
        link_refuse(link, CAUSE_MALFORMED, "a malformed status");
        return;
    }
    if (node != NULL) {
        node->n_heard = status.n_heard;
        memcpy(node->heard, status.heard, sizeof(node->heard));
    }
    HOOK(p, on_status, &status);
}

static void on_renew(struct peer_link *link, const struct frame *frame)
{
    struct peer *p = link->owner;
    struct lease_renew renew;

    if (!message_decode_renew(frame->payload, frame->size, &renew) || renew.owner != link->who.id) {
        link_refuse(link, CAUSE_MALFORMED, "a malformed renewal");
        return;
    }
    HOOK(p, on_renew, link->who.id, &renew);
}

static void on_grant(struct peer_link *link, const struct frame *frame)
{
    struct peer *p = link->owner;
    struct lease_grant grant;

    if (!message_decode_grant(frame->payload, frame->size, &grant) || grant.voter != link->who.id) {
        link_refuse(link, CAUSE_MALFORMED, "a malformed grant");
        return;
    }
    HOOK(p, on_grant, link->who.id, &grant);
}

static void on_ask_positions(struct peer_link *link, const struct frame *frame)
{
    struct peer *p = link->owner;
    uint64_t epoch;

    if (!message_decode_number(frame->payload, frame->size, &epoch)) {
        link_refuse(link, CAUSE_MALFORMED, "a malformed question");
        return;
    }
    HOOK(p, on_ask_positions, link->who.id, epoch);
}

static void on_positions(struct peer_link *link, const struct frame *frame)
{
    struct peer *p = link->owner;
    struct positions positions;

    if (!message_decode_positions(frame->payload, frame->size, &positions)) {
        link_refuse(link, CAUSE_MALFORMED, "malformed positions");
        return;
    }
    HOOK(p, on_positions, link->who.id, &positions);
}

static void on_frame(struct peer_link *link, const struct frame *frame)
{
    switch (frame->type) {
    case FRAME_PREFACE:
        on_preface(link, frame);
        break;
    case FRAME_WELCOME:
        on_welcome(link);
        break;
    case FRAME_REFUSE:
        on_refuse(link, frame);
        break;
    case FRAME_HELLO:
        on_hello(link, frame);
        break;
    case FRAME_STATUS:
        on_status(link, frame);
        break;
    case FRAME_RENEW:
        on_renew(link, frame);
        break;
    case FRAME_GRANT:
        on_grant(link, frame);
        break;
    case FRAME_PROPOSE:
        forward_on_propose(link, frame);
        break;
    case FRAME_RESULT:
        forward_on_result(link, frame);
        break;
    case FRAME_ASK_POSITIONS:
        on_ask_positions(link, frame);
        break;
    case FRAME_POSITIONS:
        on_positions(link, frame);
        break;
    case FRAME_ACTION:
        acting_on_action(link, frame);
        break;
    case FRAME_OUTCOME:
        acting_on_outcome(link, frame);
        break;
    case FRAME_RAFT_DATA:
        pump_on_data(link, frame);
        break;
    case FRAME_PING:
    case FRAME_PONG:
    case FRAME_TYPES:
        break; /* The link answers pings itself; other types do not pass it. */
    }
}

/* A partner that is just not there is no refusal. */
static bool is_refusal(const struct peer_link *link)
{
    return link->cause != CAUSE_NONE && !(link->dialled && link->cause == CAUSE_SLOW);
}

static void on_closed(struct peer_link *link)
{
    struct peer *p = link->owner;
    bool was_peer = link->was_up && link->kind == LINK_PEER;

    list_remove(&link->list);
    pump_stop(link);
    if (is_refusal(link) && !p->is_closing) {
        refusals_note(&p->refusals, link->cause, link->where, link->reason, uv_now(p->loop));
    }
    if (link->kind == LINK_RAFT && peer_is_unproved(link)) {
        struct peer_node *node = peer_find_node(p, link->expected);

        if (node != NULL) {
            node->proof = (link->proof + 1) % tls_context_n_proofs(p->tls);
        }
    }
    if (link->raft_cb != NULL) {
        link->raft_cb(link->raft_data, -1);
    }
    forward_link_closed(link);
    acting_link_closed(link);
    dial_link_closed(link);
    if (was_peer && peer_find_link(p, link->who.id) == NULL &&
        peer_find_node(p, link->who.id) != NULL) {
        node_down(p, link->who.id, link->reason);
    }
    link_free(link);
    peer_gone(p);
}

const struct link_events peer_link_events = {
    .on_secure = on_secure,
    .on_frame = on_frame,
    .on_drained = pump_on_drained,
    .on_closed = on_closed,
};
