/*
 * The guard's process, in parts: guard.c (start and loop), guard_agent.c (what the agent
 * asks), guard_postgres.c (what is done to PostgreSQL).
 */
#ifndef VECHE_GUARD_GUARD_INTERNAL_H
#define VECHE_GUARD_GUARD_INTERNAL_H

#include "guard/guard_channel.h"
#include "guard/guard_child.h"
#include "guard/guard_events.h"
#include "guard/guard_fence.h"
#include "guard/guard_privileges.h"
#include "guard/guard_watchdog_device.h"

struct guard_postmaster {
    pid_t pid; /* 0 = none. */
    int pidfd;
    bool adopted; /* Not our child: cannot be waited for. */
};

/* A start between fork and exec. */
struct guard_starting {
    int exec_fd; /* -1 = none. */
    uint32_t sequence;
    bool has_cgroup;
};

struct guard {
    struct guard_logic logic;
    enum guard_phase told_phase; /* Which the agent and the log were told. */
    bool frozen_told;            /* This freeze was. */
    bool thaw_failed;            /* To be tried again. */
    bool not_held_told;          /* Once is enough. */
    bool leaving;                /* Ends when no PostgreSQL is left. */

    struct guard_channel channel;
    struct guard_events events;
    struct guard_texts texts;

    uint64_t node_id;
    char data_dir[PATH_MAX];
    struct guard_kept kept; /* Of the last arm that was accepted. */

    struct guard_postmaster postmaster;
    struct guard_starting starting;
    struct guard_cgroup cgroup;
    struct guard_processes processes;
    struct clock_pair scanned_at; /* While PostgreSQL is an adopted one. */
    struct guard_fence fence;

    struct guard_watchdog watchdog;
    struct guard_watchdog_device watchdog_device;
    int watchdog_fd;

    struct guard_privileges privileges;
    char trouble[GUARD_TEXT_SIZE];
    int null_fd;
    int signal_fd;
    int timer_fd;

    struct guard_received received; /* The packet at hand. */
};

/* guard.c */
void guard_log(struct guard *g, enum guard_level level, const char *format, ...) PRINTF_LIKE(3, 4);

/* guard_agent.c */
void guard_agent_read(struct guard *g, struct guard_peer *peer);
/* sequence: of the question, 0 = none was asked. */
void guard_agent_tell_state(struct guard *g, uint32_t sequence);
void guard_agent_tell(struct guard *g, const void *packet, size_t size, int fd);
void guard_agent_tell_events(struct guard *g);
struct guard_header guard_agent_header(enum guard_kind kind, size_t size, uint32_t sequence);

/* guard_postgres.c */
void guard_postgres_start(struct guard *g, uint32_t sequence, const struct guard_child *child);
void guard_postgres_on_exec(struct guard *g); /* exec_fd is readable. */
bool guard_postgres_adopt(struct guard *g, pid_t pid);
void guard_postgres_on_adopted_end(struct guard *g);
void guard_postgres_reap(struct guard *g);
void guard_postgres_act(struct guard *g, enum guard_action action);
/* Tells the logic when no process is left. */
void guard_postgres_check_gone(struct guard *g);

#endif
