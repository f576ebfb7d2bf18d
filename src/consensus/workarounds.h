/*
 * What libraft gets wrong, each contained in one function with the versions
 * that need it, and the settings without which it does harm. Every one has a
 * test that fails without it (enum consensus_without).
 */
#ifndef VECHE_CONSENSUS_WORKAROUNDS_H
#define VECHE_CONSENSUS_WORKAROUNDS_H

#include "consensus/consensus_thread.h"

#define SEGMENT_SIZE       (1024 * 1024)
#define CAPACITY_MIN_KB    (SEGMENT_SIZE / 1024) /* One segment ready to be written. */
#define SNAPSHOT_THRESHOLD 512
#define SNAPSHOT_TRAILING  1024
#define CONNECT_RETRY_MS   200
#define DISK_RETRY_MS      1000
#define INSTALL_TIMEOUT_MS 10000
#define THREAD_POOL_MIN    16
#define PROPOSAL_SIZE_MAX  COMMAND_SIZE_MAX

/* Between raft_uv_init and raft_init. */
void workaround_io(struct consensus_thread *t);

/* Between raft_init and raft_start. */
void workaround_settings(struct consensus_thread *t);

/* A log entry: u32 size and u32 CRC-32C of the command, the command, zeros up
 * to a multiple of eight. Wrapping allocates by raft_malloc; NULL: no memory. */
void *workaround_pad_entry(const struct consensus_thread *t, const void *bytes, size_t size,
                           size_t *ret_size);
/* The command inside; -1 if it is not what was wrapped. */
MUST_USE int workaround_unpad_entry(const struct raft_buffer *buf, const void **ret_bytes,
                                    size_t *ret_size);

/* Logs, and ends the process at once: nothing of libraft may run any more. */
NORETURN void consensus_fail_stop(int exit_code, const char *what, const char *why);

#endif
