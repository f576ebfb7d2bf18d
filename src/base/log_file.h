/*
 * The log in a file, `veched.log` in a directory, and older ones beside it as veched.log.1 and
 * so on. Writing is a thread's: whoever logs only puts a line into a bounded queue, so that a
 * disk that hangs holds up nobody.
 *
 * No line is lost while the process lives: one that the file does not take (a full disk, a
 * directory that is gone, a queue that is full) goes to stderr, which is said once; the file is
 * tried again every second, and that it takes lines again is said, too.
 *
 * One a process; the functions are for its main thread, but for the last one.
 */
#ifndef VECHE_BASE_LOG_FILE_H
#define VECHE_BASE_LOG_FILE_H

#include "base/err.h"

#define LOG_FILE_NAME      "veched.log"
#define LOG_FILE_LINES_MAX 16384 /* In the queue, whatever is asked for. */

struct log_file_options {
    const char *dir;    /* Is copied. NULL = no file, lines go to stderr. */
    uint64_t n_older;   /* Files kept beside it; */
    uint64_t bytes_max; /* of so many bytes. One of both 0 = it grows, something else rotates. */
    unsigned mode;      /* Of a new file; 0 = by the umask. */
    uint64_t lines_max; /* In the queue; 0 = as many as there may be. */
};

struct log_file_stats {
    uint64_t n_waiting;   /* Lines in the queue. */
    uint64_t n_elsewhere; /* Lines that went to stderr. */
    uint64_t n_errors;    /* Times that a file could not be opened, written or rotated. */
};

/* From now on, or otherwise from now on; nothing is opened before it returns. 0, or -1 and why:
 * there is no thread. */
MUST_USE int log_file_configure(const struct log_file_options *options, struct err *err);

/* Waits until what was logged is written, but no longer than that; from now on lines go to
 * stderr. */
void log_file_close(uint64_t wait_ms);

struct log_file_stats log_file_stats(void); /* From any thread. */

#endif
