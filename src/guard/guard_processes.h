/*
 * All processes of PostgreSQL: what descends from the guard (it starts the postmaster and
 * is the subreaper of what is left behind) or from a postmaster that it adopted, and what
 * did so at an earlier scan. What an adopted one leaves behind when it ends goes to init: of
 * that, also who came after the last scan, known by the directory it works in and by the
 * program it runs.
 *
 * Only /proc/PID/stat is read, and where cwd and exe lead, into memory that is there from the
 * start. Signals go by pidfd, right after a look or checked by the start time, so that a number
 * used again meets nobody else.
 */
#ifndef VECHE_GUARD_GUARD_PROCESSES_H
#define VECHE_GUARD_GUARD_PROCESSES_H

#include <limits.h>
#include <sys/types.h>

#include "base/err.h"
#include "guard/guard_logic.h"

#define GUARD_PROCESSES_MAX 8192 /* On the machine. */
#define GUARD_OURS_MAX      4096

/* Of the postmaster that was adopted last: the data directory, and `postgres`. */
struct guard_place {
    bool is_known;
    char directory[PATH_MAX];
    char program[PATH_MAX];
};

struct guard_process {
    pid_t pid;
    pid_t ppid;
    uint32_t start; /* Ticks since boot, the low bits: tells a number used again. */
    char state;     /* As in /proc/PID/stat. */
    bool told : 1;  /* SIGSTOP was sent to it since the freeze began. */
    bool waits : 1; /* Seen in D when all stood; it has not stopped since. */
    bool known : 1; /* It was ours at the scan before. */
    bool held : 1;  /* We trace it: no SIGCONT lets it run on. */
};

struct guard_processes {
    int proc_fd;               /* /proc */
    pid_t self;                /* Of the guard. */
    pid_t adopted;             /* A postmaster that is not our descendant; 0 = none. */
    struct guard_place place;  /* Of the adopted one. */
    bool by_place;             /* It has ended: what stands where it stood is ours. */
    struct clock_pair read_at; /* The beginning of the last look. */
    int hold_errnum;           /* Why the last one could not be held; 0 = all could. */
    bool overflow;             /* There are more than fit: nothing can be said to be stopped. */
    size_t n_all;              /* Ascending by pid, both. All of it is locked memory. */
    size_t n_ours;             /* Alive: no zombies. */
    struct guard_process all[GUARD_PROCESSES_MAX];
    struct guard_process ours[GUARD_OURS_MAX];
    char names[8192]; /* Of the directory /proc. */
};

int guard_processes_init(struct guard_processes *p, struct err *err);

/* The next scan finds what descends from it. 0: none is adopted any more. */
void guard_processes_adopt(struct guard_processes *p, pid_t pid);
/* The adopted one has ended. What it left is ours until another one is adopted. */
void guard_processes_orphan(struct guard_processes *p);

/* Finds them anew. Returns how many there are. */
size_t guard_processes_scan(struct guard_processes *p);
/* Looks again at those it knows, or only at those of them that run; finds no new ones. */
void guard_processes_refresh(struct guard_processes *p, bool only_running);

/* The freeze is over: nobody was told to stop. */
void guard_processes_forget_told(struct guard_processes *p);
/* SIGSTOP to those that have not stopped and were not told, `first` before all others. */
void guard_processes_stop(struct guard_processes *p, pid_t first);
/* All stand, but some of them in D: each of these comes loose one day, finishes what it was
 * in, and then stops. That is not somebody's SIGCONT. */
void guard_processes_mark_waiting(struct guard_processes *p);
/* Their stop may have been taken back: tells it again. */
void guard_processes_stop_waiting(struct guard_processes *p);
/* Those that have stopped are traced from now on, so that nobody else's SIGCONT lets them run,
 * and our own death kills them. As many as can be in a few milliseconds: each needs a
 * processor for a moment. What can not be is left to be looked at. */
void guard_processes_hold(struct guard_processes *p);
/* Not traced any more; they have stopped still. */
void guard_processes_release(struct guard_processes *p);
/* To all, `first` before all others. */
void guard_processes_signal(struct guard_processes *p, int signal_number, pid_t first);

/* Of what is known. A process in D counts as stopped if it was told to, and so does one that
 * waits. */
struct guard_look guard_processes_look(const struct guard_processes *p);
uint32_t guard_processes_n_waiting(const struct guard_processes *p); /* In D. */

/* What /proc/PID/stat says; false = not of that form. For the fuzzer and tests as well. */
MUST_USE bool guard_process_parse(const char *text, struct guard_process *ret);

int guard_pidfd_open(pid_t pid);

#endif
