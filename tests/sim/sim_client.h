/*
 * Clients: one that asks who is primary, as behind HAProxy, and for each
 * server one that keeps its session to it, whatever the cluster thinks.
 */
#ifndef SIM_CLIENT_H
#define SIM_CLIENT_H

#include "sim.h"

struct sim_client *sim_client_new(struct sim *s);
void sim_client_free(struct sim_client *c);
/* True time of the newest acknowledgement of that node; 0 = never. */
uint64_t sim_client_last_ack_us(const struct sim *s, int node);

#endif
