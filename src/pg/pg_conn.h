/*
 * One session of ours with PostgreSQL, asynchronously: connects when it has to,
 * runs one statement at a time, gives up at a deadline. Nothing in here waits.
 */
#ifndef VECHE_PG_PG_CONN_H
#define VECHE_PG_PG_CONN_H

#include <libpq-fe.h>
#include <uv.h>

#include "base/kv.h"
#include "store/types.h"

enum pg_answer {
    PG_ANSWER_NONE, /* Nothing was asked yet. */
    PG_ANSWER_OK,
    PG_ANSWER_REFUSED,  /* Nobody listens there. */
    PG_ANSWER_STARTING, /* It says that it starts, recovers or shuts down. */
    PG_ANSWER_AUTH,     /* It does not let us in. */
    PG_ANSWER_FULL,     /* No connection is left. */
    PG_ANSWER_LOST,     /* The session broke. */
    PG_ANSWER_TIMEOUT,  /* No answer before the deadline. */
    PG_ANSWER_ERROR,    /* The statement failed. */
};

const char *pg_answer_name(enum pg_answer answer);

struct pg_conn_target {
    char socket_dir[HOST_SIZE]; /* Empty: TCP. */
    char address[HOST_SIZE];    /* Numeric: libpq resolves names by blocking. */
    const char *host;           /* What certificates are checked against; may be NULL. */
    uint16_t port;
    const char *database, *user, *password;
    const struct kv_list *ssl;
};

/* result is valid during the call; NULL unless answer is PG_ANSWER_OK. `text` says
 * what went wrong. */
typedef void (*pg_conn_cb)(void *data, enum pg_answer answer, const PGresult *result,
                           const char *text);

struct pg_conn;

struct pg_conn *pg_conn_new(uv_loop_t *loop);

/* Runs sql; cb once, never before returning. Only while !pg_conn_is_busy. */
void pg_conn_query(struct pg_conn *c, const struct pg_conn_target *target, const char *sql,
                   uint64_t deadline_ms, pg_conn_cb cb, void *data);
bool pg_conn_is_busy(const struct pg_conn *c);
bool pg_conn_is_open(const struct pg_conn *c);
bool pg_conn_is_warned(const struct pg_conn *c); /* The last statement came with a warning. */

/* Drops the session; a statement under way ends with PG_ANSWER_LOST, later. */
void pg_conn_reset(struct pg_conn *c);

/* Drops the session without a word to the statement under way, then calls cb. */
void pg_conn_close(struct pg_conn *c, void (*cb)(void *data), void *data);

/* The SQLSTATE in a verbose message of libpq, and what follows it. False if there
 * is none. */
bool pg_conn_find_sqlstate(const char *message, char *state, size_t size, const char **ret_text);

#endif
