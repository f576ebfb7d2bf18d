/* Names and meanings of the facts, and which can not be true together. */
#include "core/facts.h"

#include "base/str.h"

/* clang-format off */
#define FACT_INFO(enumerator, name, meaning) [FACT_##enumerator] = {name, meaning},
const struct fact_info node_fact_infos[NODE_FACTS_END] = {NODE_FACTS(FACT_INFO)};
const struct fact_info cluster_fact_infos[CLUSTER_FACTS_END] = {CLUSTER_FACTS(FACT_INFO)};
#undef FACT_INFO

_Static_assert(NODE_FACTS_END <= 64, "facts are bits of a uint64_t");

const struct impossible node_impossible[] = {
    {F(OWNER_ME) | F(OWNER_OTHER),      0,              "an epoch has one owner"},
    {F(LEASE),                          F(OWNER_ME),    "a lease is of our epoch"},
    {F(UNFENCED),                       F(OWNER_ME) | F(OWNER_OTHER), "an owner is unfenced"},
    {F(UNFENCED),                       F(CAUGHT_UP),   "an old copy of the store proves nothing"},
    {F(CONTINUED) | F(CAUGHT_UP),       0,              "Raft has told"},
    {F(CONTINUED) | F(LEASE),           0,              "of the present epoch, or not known to be"},
    {F(ADOPTED) | F(OWNER_OTHER),       0,              "adopted only while nobody else is owner"},
    {F(UNTOUCHED) | F(HELD),            0,              "held means touched"},
    {F(UNTOUCHED) | F(OWNER_OTHER),     0,              "another owner may hold a lease"},
    {F(INIT_RUNNING) | F(INIT_DONE),    0,              "one state of initialisation"},
    {F(INIT_RUNNING),                   F(OWNER_ME) | F(OWNER_OTHER), "an owner initialises"},
    {F(PG_STOPPED) | F(LEFT_OVERS),     0,              "processes are left or not"},
    {F(PG_STOPPED) | F(FROZEN),         0,              "processes are frozen"},
    {F(PG_STOPPED) | F(RUNS_PRIMARY),   0,              "stopped or running"},
    {F(PG_STOPPED) | F(RUNS_STANDBY),   0,              "stopped or running"},
    {F(LEFT_OVERS) | F(RUNS_PRIMARY),   0,              "no postmaster, or one"},
    {F(LEFT_OVERS) | F(RUNS_STANDBY),   0,              "no postmaster, or one"},
    {F(RUNS_PRIMARY) | F(RUNS_STANDBY), 0,              "in recovery or out of it"},
    {F(RUNS_PRIMARY),                   F(MAY_WRITE),   "out of recovery it takes writes"},
    {F(DATA_GOOD) | F(DATA_MISSING),    0,              "one state of data"},
    {F(DATA_GOOD) | F(DATA_STRANGE),    0,              "one state of data"},
    {F(DATA_MISSING) | F(DATA_STRANGE), 0,              "one state of data"},
    {F(OTHER_SYSID),                    F(DATA_GOOD),   "an identifier is read from valid data"},
    {F(OTHER_SYSID),                    F(INIT_DONE),   "compared with the cluster's"},
    {F(DIVERGED),                       F(DATA_GOOD),   "a position is read from valid data"},
    {F(DIVERGED) | F(UNSURE),           0,              "known or not"},
    {F(NEEDS_REWIND) | F(DATA_MISSING), 0,              "one state of data"},
    {F(NEEDS_REWIND) | F(DATA_STRANGE), 0,              "one state of data"},
    {F(NEEDS_REWIND) | F(DATA_GOOD),    F(DIVERGED),    "good data needs it because it diverged"},
    {F(REWIND_GIVEN_UP),                F(OWNER_OTHER), "failed with the running primary"},
    {F(SOURCE_READY),                   F(OWNER_ME) | F(OWNER_OTHER), "a primary runs"},
    {F(UNSURE),                         F(OWNER_OTHER), "another owner may have a new timeline"},
    {F(PRIMARY_RUNS),                   F(OWNER_OTHER), "the running primary is another node"},
    {F(UPSTREAM_WRONG),                 F(OWNER_ME) | F(PRIMARY_RUNS), "compared with the running primary, or with nobody"},
    {F(UPSTREAM_WRONG) | F(OWNER_ME),   F(RUNS_STANDBY), "an owner may not follow while it is a standby"},
    {F(QUIET),                          F(PG_STOPPED),  "quiet is stopped"},
    {F(QUIET) | F(OP_KEEPS),            0,              "quiet is without a sequence"},
    {F(QUIET) | F(MAY_WRITE),           0,              "nothing is left that could write"},
    {F(OP_MAKES_PRIMARY),               F(OP_KEEPS),    "such a sequence is a sequence"},
    {F(OP_MAKES_PRIMARY),               F(MAY_WRITE),   "it will take writes by itself"},
    {F(OP_MAKES_PRIMARY) | F(ADOPTED),  0,              "adopted is left alone since"},
    {F(OP_MAKES_PRIMARY) | F(OP_BOOTSTRAPS), 0,         "one sequence at a time"},
    {F(PG_STOPPED) | F(MAY_WRITE),      F(OP_MAKES_PRIMARY), "stopped, and nothing starts it"},
    {F(RUNS_STANDBY) | F(MAY_WRITE),    F(OP_KEEPS),    "in recovery, and nothing promotes it"},
    {F(QUIET) | F(OP_BOOTSTRAPS),       0,              "quiet is without a sequence"},
    {F(REQUEST),                        F(OWNER_ME),    "a request is for the owner"},
    {F(TARGET),                         F(REQUEST),     "a target is of a request"},
    {F(HANDING_OVER),                   F(REQUEST),     "we hand over by request"},
    {F(HANDING_OVER),                   F(PG_STOPPED),  "when stopped"},
    {F(ORDERED),                        F(OWNER_ME) | F(PG_STOPPED), "an order is for an owner, or for whom it stopped"},
    {F(ORDERED) | F(DIVERGED),          F(OWNER_ME),    "who was stopped cleanly did not diverge"},
    {F(LEASE) | F(HOPELESS),            0,              "we have it"},
    {F(LEASE) | F(LONG_WITHOUT),        0,              "we have it"},
    {F(POSITIONS),                      F(LEASE),       "positions are of a lease"},
    {F(STUCK),                          F(LEASE) | F(PG_STOPPED), "silent since the lease began"},
    {F(STUCK) | F(POSITIONS),           0,              "our own position was read since"},
    {F(BETTER),                         F(POSITIONS),   "compared by positions"},
    {F(LAGS),                           F(POSITIONS),   "compared by positions"},
    {F(FORCED),                         F(OWNER_ME),    "an order makes an owner"},
    {F(OLD_PRIMARY),                    F(RUNS_PRIMARY), "it runs out of recovery"},
    {F(OFF_LINE),                       F(DATA_GOOD),   "a position is read from valid data"},
    {F(OFF_LINE) | F(RUNS_PRIMARY),     0,              "of a standby"},
    {F(DECLARED),                       F(OWNER_ME),    "by us in this epoch"},
    {F(DECLARED) | F(OFF_LINE),         0,              "our own data shows that it was not begun"},
    {F(HEIR),                           F(OWNER_ME),    "an owner has heirs"},
    {F(START_OVERDUE),                  F(MAY_WRITE),   "a start as primary is running"},
    {F(WITNESS),                        F(PG_STOPPED),  "no PostgreSQL"},
    {F(WITNESS) | F(MAY_WRITE),         0,              "no PostgreSQL"},
    {F(WITNESS) | F(OWNER_ME),          0,              "a witness owns nothing"},
};
const size_t node_impossible_n = ARRAY_LENGTH(node_impossible);
/* clang-format on */

const char *facts_format(uint64_t bits, const struct fact_info *infos, size_t n, char *text,
                         size_t size)
{
    struct sbuf b;

    sbuf_init(&b, text, size);
    for (size_t i = 0; i < n; i++) {
        if ((bits >> i) & 1) {
            sbuf_printf(&b, "%s%s", b.length > 0 ? " " : "", infos[i].name);
        }
    }
    return text;
}
