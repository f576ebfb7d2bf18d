/*
 * fork and exec with nothing inherited that PostgreSQL must not have (design.md
 * section 8): real-time scheduling, protection from the OOM killer, descriptors,
 * signal handlers and mask, umask, variables of ours.
 */
#ifndef VECHE_PG_PG_SPAWN_H
#define VECHE_PG_PG_SPAWN_H

#include <sys/types.h>

#include "base/err.h"
#include "base/kv.h"

struct pg_spawn {
    const char *path;          /* Of the program, with a slash. */
    const char *const *argv;   /* Ends with NULL. */
    const struct kv_list *env; /* Over the inherited variables; NULL value = unset. May be NULL. */
    const char *cwd;           /* NULL = ours. */
    int output_fd;             /* Its stdout and stderr. */
    bool outlives_us;          /* A session of its own; else a process group, killed with us. */
};

struct pg_spawned {
    pid_t pid;
    int pidfd;
    int exec_fd; /* End of file once exec has succeeded; else an int, errno, comes first. */
};

/* Returns 0, or -1 and why nothing was started. */
MUST_USE int pg_spawn(const struct pg_spawn *spawn, struct pg_spawned *ret, struct err *err);

/* Where `name` is: itself if it has a slash, else in bin_dir, or in PATH if that is
 * empty. */
MUST_USE int pg_spawn_find(const char *bin_dir, const char *name, char *path, size_t size,
                           struct err *err);

/* The environment a child gets, for tests: "NAME=value", ends with NULL. */
char **pg_spawn_environment(const struct kv_list *env);
void pg_spawn_free_environment(char **environment);

#endif
