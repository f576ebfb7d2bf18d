/*
 * The writing half of a link (peer_link.h has its public part).
 */
#ifndef VECHE_PEER_PEER_LINK_SEND_H
#define VECHE_PEER_PEER_LINK_SEND_H

struct peer_link;

/* Sends what waits, as far as the kernel takes it. */
void link_flush(struct peer_link *link);

/* Frees everything unsent. */
void link_drop_output(struct peer_link *link);

#endif
