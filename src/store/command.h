/*
 * Commands: the only way to change the store. Struct, encoding, decoding,
 * bounds and printing all come from the schema in COMMANDS below; adding a
 * field or a command is one row, and the golden file of the tests shows it.
 *
 * On the wire and in the log a command is: u16 version (COMMAND_VERSION),
 * u16 kind, the fields in schema order. A decoder refuses another version, an
 * unknown kind, a value out of bounds, and trailing bytes. A new command comes
 * with a new version, the one it is written with from then on, so that a log of
 * before can be read; a new field needs a new command. consensus/ pads to a
 * multiple of eight; the length is carried outside.
 *
 * Compare-and-set: a command that concerns the primary or the synchronous
 * state carries the epoch and the sync revision it was decided on;
 * store_apply() refuses it if either has moved (design.md section 4).
 */
#ifndef VECHE_STORE_COMMAND_H
#define VECHE_STORE_COMMAND_H

#include "base/err.h"
#include "store/store.h"

#define COMMAND_VERSION  3 /* The newest: of poolers. */
#define COMMAND_SIZE_MAX (CONFIG_SIZE + 4096) /* Encoded, at most. */

/*
 * Field kinds (bounds and encoding: field.h): U64, U32, U16, I64, FLAG; LSN, a
 * U64 printed as PostgreSQL does; NAME, valid or empty; HOST, TEXT and TAGS,
 * any text of that size; CONFIG, the same but long, printed as size and CRC;
 * NAMES, up to SYNC_MAX valid names x and their number n_x; ENUM_..., in range.
 */

/* clang-format off */
#define COMMANDS(X) \
    /* enumerator       struct            name in log and ledger */ \
    X(CLUSTER_CREATE,   cluster_create,   "cluster-create")   /* first command of a cluster */ \
    X(CLUSTER_INIT,     cluster_init,     "cluster-init")     /* the database exists now */ \
    X(EPOCH_TAKE,       epoch_take,       "epoch-take")       /* a new owner */ \
    X(EPOCH_HELD,       epoch_held,       "epoch-held")       /* the owner held its lease */ \
    X(EPOCH_RELEASE,    epoch_release,    "epoch-release")    /* the owner lets go */ \
    X(EPOCH_UNFENCED,   epoch_unfenced,   "epoch-unfenced")   /* pause and resume */ \
    X(MEMBER_SET,       member_set,       "member-set") \
    X(MEMBER_REMOVE,    member_remove,    "member-remove") \
    X(CONFIG_SET,       config_set,       "config-set") \
    X(SYNC_SET,         sync_set,         "sync-set") \
    X(REQUEST_SET,      request_set,      "request-set") \
    X(REQUEST_END,      request_end,      "request-end") \
    X(HISTORY_ADD,      history_add,      "history-add") \
    X(PROGRESS_SET,     progress_set,     "progress-set") \
    X(LEDGER_ADD,       ledger_add,       "ledger-add") \
    X(LINE_SET,         line_set,         "line-set")         /* the owner is to write a timeline */ \
    /* Since version 2: */ \
    X(ORDER_SET,        order_set,        "order-set")        /* restart or reinit of a member */ \
    X(ORDER_BEGIN,      order_begin,      "order-begin") \
    X(ORDER_END,        order_end,        "order-end") \
    /* Since version 3: */ \
    X(MEMBER_PROXY,     member_proxy,     "member-proxy")     /* where a member's pooler is */

#define COMMAND_FIELDS_cluster_create(F) \
    F(U64, cluster_id) F(NAME, scope)

/*
 * Two ways to a database. A new one: epoch_take with `initialize`, initdb, then
 * cluster_init by the owner of that epoch. One that exists already: cluster_init
 * first, while nobody owns the cluster, with the sysid found in the data
 * directory, then an ordinary epoch_take. So a take without `initialize` is
 * refused until the sysid is known, and once it is known nobody may initialise.
 * The database's timeline becomes the line; 0 = not known, the owner declares it.
 */
#define COMMAND_FIELDS_cluster_init(F) \
    F(U64, expect_epoch) F(U64, sysid) F(U32, timeline)

/* Makes epoch expect_epoch + 1. `forced` (an operator's order) passes the
 * synchronous state and nothing else. */
#define COMMAND_FIELDS_epoch_take(F) \
    F(U64, expect_epoch) F(U64, expect_sync_revision) F(NAME, owner) F(U64, owner_id) \
    F(U64, instance) F(FLAG, forced) F(FLAG, initialize) F(I64, time_us) \
    F(NAME, node) F(NAME, rule) \
    F(TEXT, evidence)

#define COMMAND_FIELDS_epoch_held(F) \
    F(U64, expect_epoch)

#define COMMAND_FIELDS_epoch_release(F) \
    F(U64, expect_epoch) F(LSN, lsn) F(U32, timeline) F(NAME, successor) F(I64, time_us) \
    F(NAME, node) F(NAME, rule) F(TEXT, evidence)

#define COMMAND_FIELDS_epoch_unfenced(F) /* By the owner; cleared also by an operator's order. */ \
    F(U64, expect_epoch) F(FLAG, unfenced) F(I64, time_us) F(NAME, node) F(NAME, rule) \
    F(TEXT, evidence)

/* Adds or replaces by name. A name may come with a new id (its node lost its
 * disk); an id never moves to another name. */
#define COMMAND_FIELDS_member_set(F) \
    F(NAME, name) F(U64, id) F(ENUM_MODE, mode) F(HOST, raft_address) F(HOST, api_url) \
    F(HOST, pg_host) F(U16, pg_port) F(U32, pg_version) F(NAME, veche_version) \
    F(NAME, glibc_version) \
    F(FLAG, nofailover) F(FLAG, noloadbalance) F(FLAG, clonefrom) F(FLAG, nosync) \
    F(FLAG, nostream) F(U32, failover_priority) F(NAME, replicatefrom) F(TAGS, tags) \
    F(ENUM_PG_STATE, last_state)

#define COMMAND_FIELDS_member_remove(F) \
    F(NAME, name) F(U64, id)

#define COMMAND_FIELDS_config_set(F) \
    F(U64, expect_revision) F(CONFIG, config)

#define COMMAND_FIELDS_sync_set(F) \
    F(U64, expect_epoch) F(U64, expect_sync_revision) F(NAME, primary) F(NAMES, names) \
    F(U32, quorum) F(I64, time_us) F(NAME, node) F(NAME, rule) F(TEXT, evidence)

#define COMMAND_FIELDS_request_set(F) /* Refused while another one is pending. */ \
    F(ENUM_REQUEST, kind) F(NAME, from) F(NAME, to) F(I64, at_us) F(HOST, who) F(I64, time_us)

/* What it is judged by is who owns which epoch: that must not have moved. */
#define COMMAND_FIELDS_request_end(F) \
    F(U64, request_id) F(U64, expect_epoch) F(FLAG, expect_owned) F(FLAG, done) F(TEXT, text) \
    F(I64, time_us) F(NAME, node)

#define COMMAND_FIELDS_history_add(F) \
    F(U64, expect_epoch) F(U32, timeline) F(LSN, lsn) F(TEXT, reason) F(I64, time_us) \
    F(NAME, new_primary)

#define COMMAND_FIELDS_progress_set(F) \
    F(U64, expect_epoch) F(LSN, lsn) F(U32, timeline) F(I64, time_us)

#define COMMAND_FIELDS_ledger_add(F) \
    F(I64, time_us) F(NAME, node) F(NAME, rule) F(TEXT, evidence) F(NAME, result)

/* Before the owner promotes: it will write `timeline`, which leaves `parent` at
 * `lsn` or later. Newer than every line before; the same owner may correct its
 * own within its epoch, and make the line found with the database its own. */
#define COMMAND_FIELDS_line_set(F) \
    F(U64, expect_epoch) F(U32, timeline) F(U32, parent) F(LSN, lsn) F(I64, time_us) \
    F(NAME, node) F(NAME, rule) F(TEXT, evidence)

/* Refused while the member has another one that is not ended, unless `force`; one that is
 * scheduled and one that is not are not in each other's way. */
#define COMMAND_FIELDS_order_set(F) \
    F(ENUM_REQUEST, kind) F(NAME, member) F(I64, at_us) F(NAME, role) F(U32, pg_version) \
    F(FLAG, pending_only) F(U64, timeout_ms) F(FLAG, force) F(HOST, who) F(I64, time_us)

#define COMMAND_FIELDS_order_begin(F) /* By the member. */ \
    F(U64, order_id) F(I64, postmaster_us)

#define COMMAND_FIELDS_order_end(F) /* By the member, or by whoever takes it back. */ \
    F(U64, order_id) F(FLAG, done) F(TEXT, text) F(I64, time_us) F(NAME, node)

#define COMMAND_FIELDS_member_proxy(F) /* Of the member of that name and id; empty: it has none. */ \
    F(NAME, name) F(U64, id) F(HOST, url)

/* How each field kind is declared. */
#define COMMAND_DECLARE(kind, name)            COMMAND_DECLARE_##kind(name)
#define COMMAND_DECLARE_U64(name)              uint64_t name;
#define COMMAND_DECLARE_U32(name)              uint32_t name;
#define COMMAND_DECLARE_U16(name)              uint16_t name;
#define COMMAND_DECLARE_I64(name)              int64_t name;
#define COMMAND_DECLARE_LSN(name)              lsn_t name;
#define COMMAND_DECLARE_FLAG(name)             bool name;
#define COMMAND_DECLARE_NAME(name)             char name[NAME_SIZE];
#define COMMAND_DECLARE_HOST(name)             char name[HOST_SIZE];
#define COMMAND_DECLARE_TEXT(name)             char name[TEXT_SIZE];
#define COMMAND_DECLARE_TAGS(name)             char name[TAGS_SIZE];
#define COMMAND_DECLARE_CONFIG(name)           char name[CONFIG_SIZE];
#define COMMAND_DECLARE_NAMES(name)            uint32_t n_##name; char name[SYNC_MAX][NAME_SIZE];
#define COMMAND_DECLARE_ENUM_MODE(name)        enum node_mode name;
#define COMMAND_DECLARE_ENUM_PG_STATE(name)    enum pg_state name;
#define COMMAND_DECLARE_ENUM_REQUEST(name)     enum request_kind name;

#define COMMAND_STRUCT(enumerator, struct_name, text) \
    struct command_##struct_name { COMMAND_FIELDS_##struct_name(COMMAND_DECLARE) };
COMMANDS(COMMAND_STRUCT)
#undef COMMAND_STRUCT

enum command_kind {
    COMMAND_NONE = 0,
#define COMMAND_ENUM(enumerator, struct_name, text) COMMAND_##enumerator,
    COMMANDS(COMMAND_ENUM)
#undef COMMAND_ENUM
    COMMAND_KINDS /* One past the last. */
};

/* 256 KiB because of config_set: keep one on the heap or in a long-lived
 * struct, not on the stack. */
struct command {
    enum command_kind kind;
    union {
#define COMMAND_MEMBER(enumerator, struct_name, text) struct command_##struct_name struct_name;
        COMMANDS(COMMAND_MEMBER)
#undef COMMAND_MEMBER
    };
};
/* clang-format on */

/* "epoch-take"; "none" for COMMAND_NONE. */
const char *command_kind_name(enum command_kind kind);

/* The version that came with it: it is written with that, and read with no other. */
unsigned command_kind_version(enum command_kind kind);

/* The first field that is out of its bounds, or NULL. */
const char *command_broken_field(const struct command *c);

/* Encodes into data. Returns the size, or -1 when it does not fit or a field is
 * out of its bounds. */
MUST_USE int command_encode(const struct command *c, void *data, size_t size, struct err *err);

/* Decodes exactly `size` bytes. Returns 0, or -1 with the reason; *ret_command
 * is untouched then. COMMAND_NEWER_VERSION (-2): made by a newer Veche; the
 * node must stop and say so, it cannot follow the cluster. */
#define COMMAND_NEWER_VERSION (-2)
MUST_USE int command_decode(const void *data, size_t size, struct command *ret_command,
                            struct err *err);

/* "epoch-take expect_epoch=3 owner=pg2 ..." cut to size. Returns text. */
const char *command_print(const struct command *c, char *text, size_t size);

/* Field by field; unused bytes behind a text do not count. */
bool command_equal(const struct command *a, const struct command *b);

#endif
