/*
 * The fields of the store, part by part, as field kinds (field.h). Snapshots
 * and the bounds of store_broken_invariant() are generated from it. Internal to
 * store/. A field of store.h that is missing here is lost in every snapshot;
 * the snapshot test compares whole stores to notice.
 */
#ifndef VECHE_STORE_SCHEMA_H
#define VECHE_STORE_SCHEMA_H

#include "store/field.h"
#include "store/store.h"

/* clang-format off */
#define STORE_FIELDS_cluster(F) \
    F(U64, id) F(NAME, scope) F(ENUM_INIT, init) F(U64, sysid)

#define STORE_FIELDS_primary(F) \
    F(FLAG, has_owner) F(FLAG, unfenced) F(FLAG, held) F(U64, epoch) F(NAME, owner) \
    F(U64, owner_id) F(U64, instance) F(I64, since_us) F(TEXT, reason) F(LSN, released_lsn) \
    F(U32, released_timeline) F(NAME, successor) F(U32, barren)

#define STORE_FIELDS_member(F) \
    F(NAME, name) F(U64, id) F(ENUM_MODE, mode) F(HOST, raft_address) F(HOST, api_url) \
    F(HOST, pg_host) F(U16, pg_port) F(U32, pg_version) F(NAME, veche_version) \
    F(NAME, glibc_version) F(FLAG, nofailover) F(FLAG, noloadbalance) F(FLAG, clonefrom) \
    F(FLAG, nosync) F(FLAG, nostream) F(U32, failover_priority) F(NAME, replicatefrom) \
    F(TAGS, tags) F(ENUM_PG_STATE, last_state)

#define STORE_FIELDS_proxy(F) /* Of a member. */ \
    F(HOST, url)

#define STORE_FIELDS_sync(F) \
    F(NAME, primary) F(NAMES, names) F(U32, quorum) F(U64, revision)

#define STORE_FIELDS_request(F) \
    F(U64, id) F(ENUM_REQUEST, kind) F(NAME, from) F(NAME, to) F(I64, at_us) F(HOST, who)

#define STORE_FIELDS_outcome(F) \
    F(U64, request_id) F(FLAG, done) F(TEXT, text)

#define STORE_FIELDS_history(F) \
    F(U32, timeline) F(LSN, lsn) F(TEXT, reason) F(I64, time_us) F(NAME, new_primary)

#define STORE_FIELDS_progress(F) \
    F(LSN, lsn) F(U32, timeline) F(U64, epoch) F(I64, time_us)

#define STORE_FIELDS_line(F) \
    F(U64, epoch) F(U64, owner_id) F(NAME, owner) F(U32, timeline) F(U32, parent) F(LSN, lsn)

#define STORE_FIELDS_ledger_entry(F) \
    F(U64, index) F(U64, epoch) F(I64, time_us) F(I64, last_us) F(U32, count) F(FLAG, note) \
    F(NAME, node) F(NAME, rule) F(TEXT, evidence) F(NAME, subject) F(NAME, result)

#define STORE_FIELDS_order(F) \
    F(U64, id) F(ENUM_REQUEST, kind) F(NAME, member) F(I64, at_us) F(NAME, role) \
    F(U32, pg_version) F(FLAG, pending_only) F(U64, timeout_ms) F(HOST, who) F(I64, time_us) \
    F(FLAG, begun) F(I64, postmaster_us) F(FLAG, ended) F(FLAG, done) F(TEXT, text)

/* Every part: `struct store_<part>`. */
#define STORE_PARTS(X) \
    X(cluster) X(primary) X(member) X(sync) X(request) X(outcome) X(history) X(progress) \
    X(line) X(ledger_entry) X(order) X(proxy)
/* clang-format on */

/* Entries of the ledger that are still there. */
static inline uint64_t store_ledger_kept(const struct store *s)
{
    return MIN(s->n_ledger, (uint64_t)LEDGER_MAX);
}

#endif
