/*
 * Synchronous modes with one standby (S2, docs/decisions/0009): for whom commits on
 * the primary wait, and what the store says about it.
 *
 * The store names the primary and the standby that holds every acknowledged commit.
 * While it names one, PostgreSQL must wait for that one; so waiting begins before the
 * name is proposed, and ends after its removal was applied. That it began is proven:
 *
 *     let through --> hold (placeholder) --> wait for pg2 --> store: {pg2}
 *          ^            a commit of ours       it ended, and pg2 has it
 *          |            was seen to wait
 *          +---- store: {} (degraded), only in mode `on`
 */
#ifndef VECHE_CORE_SYNC_RULES_H
#define VECHE_CORE_SYNC_RULES_H

#include "core/decide.h"

/* Fills d->sync and proposes changes of the synchronous state. `bits`: node facts. */
void sync_rules_decide(const struct view *view, uint64_t bits, struct decision *d);

/* Proposes the state in which this node may begin to take writes. */
void sync_rules_claim(const struct view *view, struct decision *d);

/* Brings `rests` up to date with what was decided on that view. */
void sync_rules_remember(const struct view *view, const struct sync_decision *d,
                         struct sync_rests *rests);

/* How long the standby may be away before commits go on without it. */
uint64_t sync_rules_patience_ms(const struct view *view);

#endif
