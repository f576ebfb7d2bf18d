/*
 * S6: a voter that lost its disk never votes again under its old identity, and
 * never has two votes, the old one and a new one.
 */
#include "checks.h"

void check_s6_voice(struct sim *s, const struct sim_node *n)
{
    if (n->lost_id == n->id) {
        checks_fail(s, n, "S6: votes as %llx, under which it lost its disk",
                    (unsigned long long)n->id);
    }
}

void check_s6_voters(struct sim *s, const struct sim_node *n, const struct lease_voter_set *set)
{
    uint32_t seen = 0;

    for (uint8_t v = 0; v < set->n; v++) {
        uint32_t bit = 1u << sim_index_of(set->ids[v]);

        if (seen & bit) {
            checks_fail(s, n, "S6: %s votes under two ids",
                        s->nodes[sim_index_of(set->ids[v])]->name);
        }
        seen |= bit;
    }
}
