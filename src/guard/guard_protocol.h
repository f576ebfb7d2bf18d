/*
 * Between agent and guard: SOCK_SEQPACKET on <runtime_dir>/guard.sock, one struct
 * a packet, byte order and layout of the machine (both ends run on it). The guard
 * talks to processes of its own user and of root only (SO_PEERCRED), and to one
 * agent at a time: a new one that says hello takes the place of the old.
 *
 * Started as `veche-guard RUNTIME_DIRECTORY NAME [READY_FD]`; "ready" and a newline are
 * written to READY_FD when it listens. A second guard of the directory ends with
 * VECHE_EXIT_IDENTITY. With the agent it is the other way round than usual: an agent that
 * does not read what it is told is let go, connects again and is told the state anew. A
 * packet that is not in order is answered by closing.
 *
 * Versions: an agent speaks this version and the one before; a guard is replaced
 * only while PostgreSQL is down (docs/decisions/0010). A hello of another version is
 * answered by a bare header of kind STATE with the guard's, and closing. Version 2 has
 * guard_arm.unfenced and GUARD_DISARMED, and is laid out as version 1.
 */
#ifndef VECHE_GUARD_GUARD_PROTOCOL_H
#define VECHE_GUARD_GUARD_PROTOCOL_H

#include <limits.h>

#include "guard/guard_watchdog.h"
#include "veche/format.h"

#define GUARD_PACKET_MAX   65536 /* Start, with command line and environment. */
#define GUARD_TEXT_SIZE    256
#define GUARD_PROBLEM_SIZE 128
#define GUARD_KEPT_SIZE    512 /* What the guard keeps for the agent, which alone reads it. */
#define GUARD_SOCKET_NAME  "guard.sock"

#define GUARD_VERSION_BEFORE (VECHE_GUARD_VERSION - 1)
/* A guard that has not been replaced yet and its agent read each other's packets. */
_Static_assert(offsetof(struct guard_arm, unfenced) == offsetof(struct guard_arm, may_write) + 1 &&
                   sizeof(struct guard_arm) == offsetof(struct guard_arm, may_write) + 8,
               "version 2 fills a gap of version 1");

enum guard_kind {
    /* Agent to guard. */
    GUARD_HELLO = 1, /* struct guard_hello; first. Answered by STATE. */
    GUARD_ARM,       /* struct guard_arm_message. Answered by ARMED. */
    GUARD_CLOSE,     /* struct guard_close. Not answered. */
    GUARD_START,     /* struct guard_start; output and working directory's fds, in this order, by
                        SCM_RIGHTS. Answered by STARTED, when exec is done. */
    GUARD_ADOPT,     /* struct guard_adopt. Answered by STATE. A primary is armed before it. */
    GUARD_KILL, /* struct guard_kill. Answered by events, and STATE with phase EMPTY at the end. */
    GUARD_WATCH = 8, /* struct guard_watch; after hello, and when it changes. Not answered; STATE
                        when the watchdog starts, stops, or can not. */
    GUARD_LEAVE = 7, /* No PostgreSQL: end. Refused (STATE) while there is one. */
    /* Guard to agent. */
    GUARD_STATE = 100, /* struct guard_state; after hello, and whenever the phase changes. */
    GUARD_ARMED_AS,    /* struct guard_armed. */
    GUARD_STARTED,     /* struct guard_started; a pidfd of the postmaster by SCM_RIGHTS. */
    GUARD_ENDED,       /* struct guard_ended: the postmaster was reaped. */
    GUARD_EVENT,       /* struct guard_event: a line for the log; also kept for the next agent. */
};

struct guard_header {
    uint32_t magic;   /* VECHE_GUARD_MAGIC */
    uint16_t version; /* VECHE_GUARD_VERSION */
    uint16_t kind;    /* enum guard_kind */
    uint32_t size;    /* Of the whole packet. */
    uint32_t
        sequence; /* Of a question, from 1 on; echoed in its answer; 0 in what is not asked for. */
};

struct guard_hello {
    struct guard_header header;
    uint64_t kill_after_ns; /* guard.kill_after */
    uint64_t node_id;
    char data_dir[PATH_MAX]; /* realpath, or as configured while there is none. */
};

/* What a restarted agent needs to go on (design.md section 5, Continue): opaque to the
 * guard, kept with the deadline it came with. */
struct guard_kept {
    uint32_t size; /* 0 = none. */
    uint8_t bytes[GUARD_KEPT_SIZE];
};

struct guard_arm_message {
    struct guard_header header;
    struct guard_arm arm;
    struct guard_kept kept;
};

struct guard_armed {
    struct guard_header header;
    enum guard_verdict verdict;
    uint64_t epoch;
    struct clock_pair deadline; /* In force now. */
    struct clock_pair now;      /* The guard's own reading. */
};

struct guard_close {
    struct guard_header header;
    uint64_t epoch;
};

struct guard_start {
    struct guard_header header;
    bool as_primary;
    uint32_t uid, gid; /* What PostgreSQL runs as; no change if it is the guard's. */
    uint32_t n_args;   /* Texts that follow, each with its 0: first the program's path, */
    uint32_t n_env;    /* then argv, then the environment. n_args counts the path too. */
    char texts[];
};

struct guard_started {
    struct guard_header header;
    enum guard_verdict verdict;
    int32_t pid;    /* 0: it was not started. */
    int32_t errnum; /* Why fork or exec failed; 0 = they did not. */
    char step[32];  /* Of what failed: "exec", "setsid", ... */
};

struct guard_adopt {
    struct guard_header header;
    int32_t pid; /* Of the postmaster. */
    bool may_write;
};

struct guard_kill {
    struct guard_header header;
    enum guard_why why; /* EPOCH or ORDER. */
};

struct guard_watch { /* The configuration's section `watchdog`. */
    struct guard_header header;
    enum guard_watchdog_mode mode;
    int32_t safety_margin_s;
    bool is_testing; /* The device is a FIFO: guard_watchdog_device.h. */
    char path[PATH_MAX];
};

struct guard_ended {
    struct guard_header header;
    int32_t pid;
    int32_t wait_status; /* -1 = not known: it was adopted. */
    uint32_t n_left;     /* Processes of PostgreSQL that are still there. */
};

struct guard_state {
    struct guard_header header;
    int32_t guard_pid;
    struct guard_logic logic; /* Of the answer's moment. */
    struct clock_pair now;
    int32_t postmaster; /* 0 = none. */
    bool adopted;       /* fenced: partly */
    bool may_freeze;    /* By the cgroup; else SIGSTOP. */
    bool is_realtime;
    bool is_locked;
    uint64_t locked_bytes;
    bool watchdog_is_active;                   /* Mode `required`: no primary is started before. */
    char watchdog_problem[GUARD_PROBLEM_SIZE]; /* Why not; empty = it was not tried. */
    char trouble[GUARD_TEXT_SIZE]; /* What it may not do, and why; empty = all is well. */
    struct guard_kept kept;
};

enum guard_level { GUARD_LEVEL_INFO, GUARD_LEVEL_WARNING, GUARD_LEVEL_ERROR };

struct guard_event {
    struct guard_header header;
    enum guard_level level;
    int64_t wall_us; /* When it happened. */
    char text[GUARD_TEXT_SIZE];
};

#endif
