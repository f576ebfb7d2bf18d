/*
 * What goes wrong, and when; and what operators ask for.
 */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include "sim.h"

void sim_faults_begin(struct sim *s);
/* Everything is repaired and started; no more faults. */
void sim_faults_heal(struct sim *s);

struct sim_node;
void sim_faults_isolate(struct sim *s, const struct sim_node *n); /* For a while. */
void sim_faults_kill_agent(struct sim *s, struct sim_node *n);    /* For a while, too. */

/* sim_pause.c: two of the faults, and what operators mend at the end. */
void pause_cluster(struct sim *s);
void lose_paused(struct sim *s);
void sim_pause_heal(struct sim *s);

#endif
