/*
 * For the operator: with whom this node has no contact when it has none with a
 * majority. Everything else that is wrong then follows from that.
 */
#include "agent/agent_state.h"
#include "base/str.h"

/* An election, a restart, the first seconds: nobody needs to hear of those. */
#define CONTACT_PATIENCE_MS SECONDS(5)

static bool hears_majority(const struct agent *a, const struct status *status)
{
    size_t n_all = a->leadership.n_voters;

    if (n_all == 0) { /* No cluster yet: everybody in the configuration is needed. */
        return a->durable.phase == IDENTITY_MEMBER;
    }
    return 2 * (size_t)status->n_heard > n_all;
}

static void add_links(const struct agent *a, struct sbuf *b)
{
    struct peer_link_info infos[CONF_PARTNERS_MAX];
    size_t n = peer_links(a->peer, infos, CONF_PARTNERS_MAX);
    const char *separator = "";

    for (size_t i = 0; i < n; i++) {
        if (!infos[i].up) {
            sbuf_printf(b, "%s%s (%s)", separator, infos[i].address,
                        infos[i].problem[0] != '\0' ? infos[i].problem : "no answer");
            separator = ", ";
        }
    }
    if (separator[0] == '\0') {
        sbuf_add(b, "all connections stand, the members do not agree yet");
    }
}

void agent_contact_problem(struct agent *a, uint64_t now_ms, struct status *status)
{
    struct sbuf b;

    if (hears_majority(a, status) || a->contact_ms == 0) {
        a->contact_ms = now_ms;
        return;
    }
    if (now_ms < a->contact_ms + CONTACT_PATIENCE_MS || status->problem[0] != '\0') {
        return;
    }
    sbuf_init(&b, status->problem, sizeof(status->problem)); /* May be cut. */
    if (a->leadership.n_voters == 0) {
        sbuf_add(&b, "no cluster yet, all members are needed to form it");
    } else {
        sbuf_printf(&b, "no majority, hears %u of %u voters", status->n_heard,
                    a->leadership.n_voters);
    }
    sbuf_add(&b, "; is veched running there, and the port open? ");
    add_links(a, &b);
}
