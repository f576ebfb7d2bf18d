/*
 * The processes of a data directory, found in /proc.
 */
#ifndef VECHE_PG_PG_PROCESSES_H
#define VECHE_PG_PG_PROCESSES_H

#include <sys/types.h>

#include "base/base.h"

#define PG_PROCESSES_MAX 4096

/* Stores up to `max` pids; returns how many there are. data_path is the real path
 * of the data directory (realpath). If /proc can not be read: one, with pid 0. */
size_t pg_processes_find(const char *data_path, pid_t *pids, size_t max);

/* Whether the process is a living PostgreSQL of that data directory. */
bool pg_process_is_of(pid_t pid, const char *data_path);

/*
 * Programs that work on the data directory from outside: pg_basebackup, pg_rewind,
 * initdb, whoever started them; and what was started with PG_HELPS_VARIABLE. An agent's
 * own end with it, but not what they have forked (pg_basebackup's receiver of WAL, with
 * its slot on the source; archive_command).
 * data_dir: as it stands in their arguments. Returns how many got SIGKILL.
 */
size_t pg_helpers_kill(const char *data_dir);

/* SIGKILL to whatever has that variable, with that value, in its environment. Returns how
 * many got it. */
size_t pg_marked_kill(const char *variable, const char *value);

/* Whether it exists, but only to be waited for by its parent. */
bool pg_process_is_zombie(pid_t pid);

/* The pidfd of a process that is, and stays while it is open, a PostgreSQL of that
 * data directory; -1 if it is none. */
int pg_process_open(pid_t pid, const char *data_path);

/* 0, or -1 with errno. */
int pg_process_signal(int pidfd, int signal_number);
int pg_pidfd_open(pid_t pid);

#endif
