/*
 * The words of this program, used in the same sense everywhere:
 *
 *   member    a node as people know it, by its name
 *   node id   a random 64-bit number drawn when a node first started; a name
 *             may get a new id, an id never gets a new name
 *   leader    the Raft leader of the moment, and nothing else (the arbiter)
 *   primary   the node whose PostgreSQL takes writes
 *   standby   a node whose PostgreSQL replays
 *   owner     who the store says may be primary
 *   epoch     the number of an ownership; one owner and one instance, for ever
 *   instance  a random number drawn once per boot of a node
 *   lease     until when the owner may act on its ownership
 */
#ifndef VECHE_STORE_TYPES_H
#define VECHE_STORE_TYPES_H

#include "base/base.h"

#define NAME_SIZE   64  /* Member names, scope, user names: 63 bytes and a zero. */
#define HOST_SIZE   256 /* Host names and addresses. */
#define TEXT_SIZE   256 /* Reasons, evidence. */
#define MEMBERS_MAX 16
#define VOTERS_MAX  5
#define SYNC_MAX    8   /* Names in the synchronous state. */
#define TAGS_SIZE   512 /* Custom tags as canonical JSON. */
#define LEDGER_MAX  512
#define HISTORY_MAX 256
#define CONFIG_SIZE (256 * 1024)
#define ORDERS_MAX  (2 * MEMBERS_MAX) /* For each member one at once, one scheduled. */

typedef uint64_t node_id; /* 0 = none. */
typedef uint64_t lsn_t;   /* Position in the WAL as PostgreSQL's XLogRecPtr; 0 = unknown. */

enum node_mode {
    MODE_POSTGRES,
    MODE_WITNESS,
};
#define NODE_MODE_MAX MODE_WITNESS

/* State of a node's PostgreSQL, as Patroni names and numbers them
 * (reference: Patroni 4.1 REST API, patroni_postgres_state). */
enum pg_state {
    PG_STATE_UNKNOWN,
    PG_STATE_INITIALIZING,
    PG_STATE_INITDB_FAILED,
    PG_STATE_CREATING_REPLICA,
    PG_STATE_RUNNING,
    PG_STATE_STARTING,
    PG_STATE_START_FAILED,
    PG_STATE_RESTARTING,
    PG_STATE_STOPPING,
    PG_STATE_STOPPED,
    PG_STATE_STOP_FAILED,
    PG_STATE_CRASHED,
};
#define PG_STATE_MAX PG_STATE_CRASHED

enum pg_role {
    PG_ROLE_UNKNOWN,
    PG_ROLE_PRIMARY,       /* Out of recovery: takes writes. */
    PG_ROLE_STANDBY,       /* In recovery. */
    PG_ROLE_UNINITIALIZED, /* No data directory. */
    PG_ROLE_NONE,          /* A witness. */
};

/* What is in the data directory, read from disk. */
enum data_state {
    DATA_UNKNOWN,    /* Not looked yet, or unreadable. */
    DATA_EMPTY,      /* Missing, or holds dot files and lost+found only. */
    DATA_VALID,      /* PG_VERSION and a good pg_control. */
    DATA_INCOMPLETE, /* A clone or initdb was cut off. */
    DATA_FOREIGN,    /* Something else is in there; we touch nothing. */
    DATA_REWINDING,  /* A rewind was cut off: the same rewind can be done again. */
};

enum init_state {
    INIT_NONE,    /* No database yet. */
    INIT_RUNNING, /* The owner of the present epoch makes it. */
    INIT_DONE,    /* The system identifier is known. */
};
#define INIT_STATE_MAX INIT_DONE

/* How a voter's promise stands (design.md section 5). */
enum promise_state {
    PROMISE_NONE,
    PROMISE_LIVE,
    PROMISE_QUARANTINE,
};

enum request_kind {
    REQUEST_NONE,
    REQUEST_SWITCHOVER,
    REQUEST_FAILOVER,
    REQUEST_RESTART,
    REQUEST_REINIT,
};
#define REQUEST_KIND_MAX REQUEST_REINIT

/* Names for people and files; the string functions never return NULL. */
const char *node_mode_name(enum node_mode mode); /* "postgres", "witness" */
const char *pg_state_name(enum pg_state state);  /* Patroni's words, "creating replica" */
int pg_state_number(enum pg_state state);        /* Patroni's metric code */
const char *pg_role_name(enum pg_role role);     /* "primary", "replica", ... */
const char *data_state_name(enum data_state state);
const char *init_state_name(enum init_state state);
const char *promise_state_name(enum promise_state state);
const char *request_kind_name(enum request_kind kind);

#define LSN_TEXT_SIZE 24
/* "0/3DFD240"; writes into text and returns it. */
const char *lsn_format(lsn_t lsn, char *text, size_t size);
MUST_USE bool lsn_parse(const char *text, lsn_t *ret_lsn);

/* A member name, scope: 1 to 63 bytes of ASCII letters, digits, '-', '_', '.',
 * not starting with '-' or '.'; what a slot name, an application_name and a
 * file name can all be made from. */
bool name_is_valid(const char *name);

#endif
