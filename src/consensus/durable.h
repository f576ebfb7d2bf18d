/*
 * What this node has told others of its log stays told: it stands in veche-vote
 * (vote_file.h) before anybody hears it, and a Raft directory that knows less is
 * damaged. Term and vote; and the end of what was acknowledged.
 */
#ifndef VECHE_CONSENSUS_DURABLE_H
#define VECHE_CONSENSUS_DURABLE_H

#include "consensus/consensus_thread.h"

/* Puts our functions in front of libraft's that write or load. Between raft_uv_init
 * and raft_init. */
void durable_io(struct consensus_thread *t);

#endif
