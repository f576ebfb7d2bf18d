/*
 * Questions about a view that more than one rule asks: who was heard, who runs
 * as primary, how far WAL is known to reach. Pure reading; nothing is decided
 * here.
 */
#ifndef VECHE_CORE_LOOKUP_H
#define VECHE_CORE_LOOKUP_H

#include "core/view.h"

/* The peer with that id, or NULL (also for this node itself). */
const struct view_peer *lookup_peer(const struct view *view, node_id id);

/* The newest status of a node, this one included; NULL if it never sent one. */
const struct status *lookup_status(const struct view *view, node_id id);

/* The same of the member with that name, under the id it has now. */
const struct status *lookup_named(const struct view *view, const char *name);

/* Its status came in within the last two status periods. This node always. */
bool lookup_is_heard(const struct view *view, node_id id);

/* As lookup_is_heard(), and it came in at or after `since_ms`. */
bool lookup_is_heard_since(const struct view *view, node_id id, uint64_t since_ms);

/* PostgreSQL here has answered within 10 s: one that hangs, or is frozen, has all its processes
 * and serves nobody. A witness has none that could hang. */
bool lookup_answers(const struct view *view, uint64_t now_ms);

/* Makes this node's status what the others are told: a standby that does not answer is unknown
 * to them as it is to itself (candidate.c), so nobody chooses it. Of a primary the lease tells. */
void lookup_tell(const struct view *view, uint64_t now_ms, struct status *status);

bool lookup_is_voter(const struct view *view, node_id id);

/* More than half of the voters. */
uint32_t lookup_majority(const struct view *view);

/* How many voters that status says it hears. */
uint32_t lookup_voters_heard_by(const struct view *view, const struct status *status);
bool lookup_hears(const struct status *status, node_id id);

/* The store names this node, and this boot of it, as owner. */
bool lookup_owner_is_me(const struct view *view);

/* The status of the owner if it was heard, holds the lease of the present
 * epoch, and its PostgreSQL runs out of recovery; else NULL. */
const struct status *lookup_running_primary(const struct view *view);

/* The newest timeline that history, progress, a release or the running primary
 * tell of; 0 = none is known. */
uint32_t lookup_newest_timeline(const struct view *view);

/* Where a timeline ended, from the store's history; 0 = not known to have ended. */
lsn_t lookup_timeline_end(const struct store *store, uint32_t timeline);

/* What is known of the newest declared timeline (docs/decisions/0005). */
bool lookup_line_is_mine(const struct view *view);

/* It was never begun: whoever declared it is heard, without the lease it would have
 * needed, and its data is still on an older timeline. */
bool lookup_line_is_void(const struct view *view);

/* What a member with that data is to the line. */
enum line_place {
    LINE_ON,      /* On it; or there is none, or it was never begun. */
    LINE_BEFORE,  /* Has a part of what was before it, and nothing else. */
    LINE_BESIDE,  /* Has WAL that is not of the line. */
    LINE_UNKNOWN, /* It can not be told: where its timeline ended is not known. */
};
enum line_place lookup_line_place(const struct view *view, uint32_t timeline, lsn_t position);

/* The newest timeline that anything tells of, begun or not: the next one is to be
 * larger than that. */
uint32_t lookup_last_number(const struct view *view);

/* How far WAL of a timeline is remembered to reach, and by whom. */
struct reach {
    lsn_t lsn;              /* The largest position on that timeline or a newer one; 0 = none. */
    char source[NAME_SIZE]; /* Member that said so, "progress" or "release". */
    bool known;             /* What the last primary wrote is known well enough (see .c). */
};
void lookup_reach(const struct view *view, uint32_t timeline, struct reach *ret_reach);

/* To be called with every new status of a peer: how far WAL reaches is not forgotten
 * because whoever wrote it was restarted (S4). */
void lookup_note_reach(const struct store *store, struct view_peer *peer);

/* The largest position a status tells of. */
lsn_t lookup_position(const struct status *status);

/* The newest ledger entry by which an epoch began ("epoch-taken", ...) that is
 * older than entry index `before`; NULL if none is kept. */
const struct store_ledger_entry *lookup_taken_before(const struct store *store, uint64_t before);

/* The member that owned the released or present epoch gave it up by itself, by
 * a rule that says "not me": taking it again at once would go in circles. */
bool lookup_gave_up(const struct store *store, const char *name);

/* How many epochs in a row, up to the one released last, ended like that. */
uint32_t lookup_give_ups_in_a_row(const struct store *store);

/* The newest ledger entry of a release, or NULL. */
const struct store_ledger_entry *lookup_newest_release(const struct store *store);

/* An operator's order made this epoch's choice (S4). */
bool lookup_is_forced(const struct store *store);

/* A switchover or failover is pending and its time has come. */
bool lookup_request_is_due(const struct view *view);

/* An epoch began since the request was made: it is judged by how that goes. */
bool lookup_request_is_acted_on(const struct store *store);

#endif
