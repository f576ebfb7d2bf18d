/*
 * Refusals, see peer_cause.h.
 */
#include "peer/peer_cause.h"

#include <inttypes.h>

#include "base/str.h"

#define REPEAT_MS MINUTES(10)

static const struct {
    const char *name;
    enum log_level level;
} causes[CAUSES] = {
    /* clang-format off */
    [CAUSE_NONE]         = {"none",            LOG_DEBUG},
    [CAUSE_NOT_TLS]      = {"not-tls",         LOG_WARNING},
    [CAUSE_NO_SECRET]    = {"no-secret",       LOG_WARNING},
    [CAUSE_WRONG_SECRET] = {"wrong-secret",    LOG_WARNING},
    [CAUSE_CERTIFICATE]  = {"certificate",     LOG_WARNING},
    [CAUSE_OUR_CERTIFICATE] = {"our-certificate", LOG_WARNING},
    [CAUSE_WRONG_NAME]   = {"wrong-name",      LOG_WARNING},
    [CAUSE_SLOW]         = {"slow",            LOG_WARNING},
    [CAUSE_EARLY_END]    = {"early-end",       LOG_INFO},
    [CAUSE_CROWDED]      = {"crowded",         LOG_WARNING},
    [CAUSE_NOT_LOOPBACK] = {"not-loopback",    LOG_WARNING},
    [CAUSE_MALFORMED]    = {"malformed",       LOG_WARNING},
    [CAUSE_VERSION]      = {"version",         LOG_WARNING},
    [CAUSE_SCOPE]        = {"scope",           LOG_WARNING},
    [CAUSE_CLUSTER]      = {"cluster",         LOG_WARNING},
    [CAUSE_TWIN]         = {"twin",            LOG_ERROR},
    [CAUSE_KIND]         = {"kind",            LOG_INFO},
    [CAUSE_FULL]         = {"full",            LOG_WARNING},
    [CAUSE_RAFT_CHECK]   = {"raft-check",      LOG_ERROR},
    [CAUSE_BY_OTHER]     = {"by-other",        LOG_WARNING},
    /* clang-format on */
};

const char *peer_cause_name(enum peer_cause cause)
{
    PRE((unsigned)cause < CAUSES);
    return causes[cause].name;
}

static struct refusal *find(struct refusals *r, enum peer_cause cause, const char *where)
{
    struct refusal *entry;

    for (size_t i = 0; i < r->n_known; i++) {
        if (r->known[i].cause == cause && strcmp(r->known[i].where, where) == 0) {
            return &r->known[i];
        }
    }
    if (r->n_known == REFUSALS_MAX) {
        return &r->others[cause];
    }
    entry = &r->known[r->n_known++];
    entry->cause = cause;
    (void)str_copy(entry->where, sizeof(entry->where), where); /* Longer ones share an entry. */
    return entry;
}

void refusals_note(struct refusals *r, enum peer_cause cause, const char *where, const char *why,
                   uint64_t now_ms)
{
    char place[NAME_SIZE];
    struct refusal *entry;
    uint64_t n_dropped;

    PRE(cause != CAUSE_NONE && (unsigned)cause < CAUSES);
    (void)str_copy(place, sizeof(place), where); /* As it is stored. */
    r->n_total++;
    entry = find(r, cause, place);
    if (log_limit_passes(&entry->limit, now_ms, REPEAT_MS, &n_dropped)) {
        log_write(causes[cause].level,
                  "A connection was refused. cause=%s peer=%s why=\"%s\" repeated=%" PRIu64,
                  causes[cause].name, where, why, n_dropped);
    }
}
