/*
 * Adding to a decision: commands, at a measured pace, and deadlines.
 */
#ifndef VECHE_CORE_PROPOSE_H
#define VECHE_CORE_PROPOSE_H

#include "core/decide.h"

/* A cleared command of that kind at the end of d->commands, or NULL when one was
 * proposed so lately that its outcome may still be on the way, or there is no
 * room (both mean: the next tick will do). */
struct command *propose_begin(const struct view *view, struct decision *d, enum command_kind kind);

/* Look again at that time; 0 and times that have passed are ignored. */
void propose_wake(const struct view *view, struct decision *d, uint64_t at_ms);

/* Proposes that record of a member, without its pooler; and its pooler. */
void propose_member(const struct view *view, struct decision *d, const struct store_member *m);
void propose_member_proxy(const struct view *view, struct decision *d,
                          const struct store_member *m);

/* Proposes that line: timeline, parent and lsn of `line`, with the node's rule and
 * evidence of the decision. */
void propose_line(const struct view *view, struct decision *d, const struct command_line_set *line);

#endif
