/*
 * The schema: one row a key. It drives parsing (conf_walk.c), defaults, ranges,
 * warnings, --print-config and docs/CONFIG.md (conf_print.c), so a key is added
 * in one place. Two tables: what a node's own file may hold, and what
 * the store holds for the whole cluster (bootstrap.dcs seeds it).
 */
#ifndef VECHE_CONF_CONF_SCHEMA_H
#define VECHE_CONF_CONF_SCHEMA_H

#include "base/base.h"

enum conf_type {
    CONF_SECTION,      /* Keys below it have rows of their own. */
    CONF_ALIAS,        /* An older spelling; `choices` is the path it stands for. */
    CONF_TEXT,         /* Any scalar, as written. char * */
    CONF_SECRET,       /* As CONF_TEXT, never shown. */
    CONF_NAME,         /* ASCII letters, digits, - _ . and at most 63. char * */
    CONF_PATH,         /* An absolute or relative path. char * */
    CONF_BOOL,         /* bool */
    CONF_INT,          /* Whole number in [min, max]. int64_t or uint64_t */
    CONF_BYTES,        /* As CONF_INT, with units. int64_t */
    CONF_DURATION,     /* Seconds or with a unit; min and max in ms. uint64_t, ms */
    CONF_CHOICE,       /* One of `choices`, any case. char * */
    CONF_MODE,         /* enum conf_mode */
    CONF_LOG_LEVEL,    /* char *, one of our four. */
    CONF_SYNC_MODE,    /* char[16]: off, on. */
    CONF_ADDRESS,      /* host:port; `min` is the port when none is given, 0 = required. char * */
    CONF_ADDRESS_LIST, /* A list of them, or one text with commas. */
    CONF_LISTEN,       /* h1,h2:port into char * and uint16_t (second_offset). */
    CONF_HOST_PORT,    /* host:port into char * and uint16_t (second_offset). */
    CONF_PARAMETERS,   /* Section of name: scalar (a list is joined by ","). kv_list */
    CONF_LINES,        /* List of texts. kv_list, as keys */
    CONF_WORDS,        /* As CONF_LINES, or one text with commas. */
    CONF_OPTIONS,      /* List of options or option: value; `choices` are refused. kv_list */
    CONF_ENTRY,        /* One scalar of a kv_list, under the last word of the path. */
    CONF_USERS,        /* Section of name: {password, options}. kv_list */
    CONF_METHODS,      /* <section>.<method>, of names found in it. kv_list, see conf.h */
    CONF_TAGS,         /* Read by conf_local.c. */
    CONF_DCS,          /* Dynamic configuration, read by the other table. */
    CONF_SLOTS,        /* Section of name: {type, database, plugin, cluster_type}. kv_list */
    CONF_IGNORED,      /* List of {name, type, database, plugin}. kv_list */
    CONF_ANY,          /* Whatever it is; not looked at. */
};

/* Options that the agent itself gives these programs, or that would defeat it. */
#define CONF_NOT_OF_BASEBACKUP                                                              \
    "pgdata|format|wal-method|xlog-method|gzip|version|dbname|host|port|username|password|" \
    "compress|target|no-password|no-sync|nosync|write-recovery-conf|help"
#define CONF_NOT_OF_REWIND                                                                      \
    "target-pgdata|source-pgdata|source-server|write-recovery-conf|dry-run|restore-target-wal|" \
    "config-file|no-ensure-shutdown|no-sync|version|help"

/* Marks say how much of Patroni's users need the key; see the reference page. */
enum conf_mark {
    CONF_MUST,     /* M: needed by any user. */
    CONF_SHOULD,   /* S */
    CONF_SKIP,     /* K: of another store. */
    CONF_REPLACED, /* R: ours, in the place of a store's. */
};

enum conf_effect {
    CONF_USED,
    CONF_LATER,       /* Checked and accepted; nothing acts on it yet: said so once. */
    CONF_SILENT,      /* Accepted without a word: what it asks for is always the case. */
    CONF_NO_EFFECT,   /* Accepted; a warning that it has no effect here; `help` says why. */
    CONF_OTHER_STORE, /* Accepted; a warning that raft: takes its place. */
    CONF_LOCAL_ONLY,  /* In dynamic configuration by mistake: warned about, ignored. */
};

enum conf_reload {
    CONF_RESTART, /* Of the agent. */
    CONF_RELOAD,  /* SIGHUP. */
    CONF_ONCE,    /* Read only when the cluster is first made. */
};

enum conf_need {
    CONF_OPTIONAL,
    CONF_NEEDED,          /* On every node. */
    CONF_NEEDED_POSTGRES, /* Unless mode is witness. */
};

struct conf_row {
    const char *path; /* "raft.self_addr" */
    enum conf_type type;
    enum conf_mark mark;
    const char *help; /* One phrase, for docs/CONFIG.md. */
    enum conf_effect effect;
    enum conf_reload reload;
    enum conf_need need;
    bool stored;          /* offset is valid. */
    size_t offset;        /* In struct conf or struct conf_dynamic. */
    size_t second_offset; /* Of the port, see the types. */
    const char *fallback; /* Default as it would be written; NULL = none. */
    const char *derived;  /* Default in words, when it follows from other keys. */
    int64_t min, max;     /* Both 0 = no range. */
    const char *choices;  /* "a|b|c", see the types. */
};

struct conf_schema {
    const struct conf_row *rows;
    size_t n_rows;
    const char *title; /* For the reference. */
};

extern const struct conf_schema conf_schema_local;
extern const struct conf_schema conf_schema_dynamic;

/* NULL when there is no such key. */
const struct conf_row *conf_schema_find(const struct conf_schema *schema, const char *path);

/* The key that was probably meant: one nearby in spelling in the same section,
 * else one of the same last word elsewhere. NULL = no idea. */
const char *conf_schema_nearest(const struct conf_schema *schema, const char *path);

/* True if text is one of "a|b|c", in any case; *ret_choice (may be NULL) is then
 * its position. */
bool conf_choice_find(const char *choices, const char *text, size_t *ret_choice);

#endif
