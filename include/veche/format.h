/*
 * Magic numbers and versions of what crosses a disk or a wire. A reader that
 * meets another magic or version says so and stops; it never guesses.
 */
#ifndef VECHE_FORMAT_H
#define VECHE_FORMAT_H

/* Between agents (src/peer): first in every preface, before anything else. */
#define VECHE_PEER_MAGIC   UINT64_C(0x3152504548434556) /* "VECHEPR1" */
#define VECHE_PEER_VERSION 4

/* Between agent and guard (src/guard/guard_protocol.h). */
#define VECHE_GUARD_MAGIC   UINT32_C(0x31475256) /* "VRG1" */
#ifndef VECHE_GUARD_VERSION /* Tests make programs of other versions. */
#define VECHE_GUARD_VERSION 2
#endif

#endif
