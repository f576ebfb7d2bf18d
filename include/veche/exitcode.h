/*
 * Exit codes of veched and vechectl. Unit files, scripts and tests rely on
 * them; a code never changes its meaning.
 */
#ifndef VECHE_EXITCODE_H
#define VECHE_EXITCODE_H

enum veche_exit {
    VECHE_EXIT_OK = 0,
    VECHE_EXIT_FAILED = 1,      /* What was asked did not happen. */
    VECHE_EXIT_USAGE = 2,       /* Command line. */
    VECHE_EXIT_REFUSED = 3,     /* The cluster refused, and said why. */
    VECHE_EXIT_UNREACHABLE = 4, /* Nobody answered. */

    /* veched only; the supervisor starts it again after all of them but 64. */
    VECHE_EXIT_CONFIG = 64,     /* Configuration is wrong; a restart does not help. */
    VECHE_EXIT_IDENTITY = 65,   /* Directory of another node or cluster, damaged, or in use. */
    VECHE_EXIT_BIND = 66,       /* An address can not be used, yet. */
    VECHE_EXIT_RAFT_FAILED = 70, /* Raft state could not be made durable; stopped at once. */
    VECHE_EXIT_NEWER = 71,      /* The log holds a command of a newer Veche. */
};

#endif
