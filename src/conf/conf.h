/*
 * Configuration: the local YAML file as an immutable struct, and the dynamic
 * configuration (JSON in the store) as another. One schema table
 * (conf_schema.c) drives parsing, defaults, ranges, --validate-config,
 * --print-config and docs/CONFIG.md. Keys are Patroni's.
 */
#ifndef VECHE_CONF_CONF_H
#define VECHE_CONF_CONF_H

#include "base/err.h"
#include "base/kv.h"
#include "base/log.h"
#include "base/log_file.h"
#include "base/str.h"

#define CONF_PARTNERS_MAX 16

enum conf_mode {
    CONF_MODE_POSTGRES,
    CONF_MODE_WITNESS,
};

enum conf_watchdog {
    CONF_WATCHDOG_OFF,
    CONF_WATCHDOG_AUTOMATIC, /* Used if it can be. */
    CONF_WATCHDOG_REQUIRED,  /* Without it this node becomes no primary. */
};

/* postgresql.parameters_primary and the like: what they come over (parameters) or stand in
 * the place of (pg_hba, pg_ident) while this node has the role. */
enum conf_role {
    CONF_ROLE_PRIMARY,
    CONF_ROLE_REPLICA,
    CONF_ROLE_STANDBY_LEADER,
    CONF_N_ROLES,
};

struct conf_user {      /* postgresql.authentication.* */
    char *username;     /* NULL = not configured. */
    char *password;     /* NULL = none. */
    struct kv_list ssl; /* sslmode, sslcert, sslkey, sslrootcert, ... as configured. */
};

/* Dynamic configuration: bootstrap.dcs seeds it, the store holds it. */
struct conf_dynamic {
    uint64_t ttl_ms;
    uint64_t loop_wait_ms;
    uint64_t retry_timeout_ms;
    int64_t maximum_lag_on_failover;
    int64_t maximum_lag_on_syncnode;
    uint64_t primary_start_timeout_ms;
    uint64_t primary_stop_timeout_ms; /* 0 = as any other. */
    uint64_t stop_timeout_ms;         /* postgresql.pg_ctl_timeout */
    uint64_t max_timelines_history;
    bool check_timeline;
    bool pause;
    bool use_slots;
    uint64_t member_slots_ttl_ms;
    struct kv_list slots; /* name -> "physical", or "logical\tdatabase\tplugin"; those that are
                           * for a standby cluster are left out. */
    struct kv_list ignore_slots; /* name -> "type\tdatabase\tplugin"; what is empty fits all. */
    bool use_pg_rewind;
    bool remove_on_rewind_failure;
    bool remove_on_diverged_timelines;
    char synchronous_mode[16]; /* "off", "on" (quorum, too). */
    bool synchronous_mode_strict;
    uint64_t synchronous_node_count; /* 1 is acted on. */
    struct kv_list parameters;       /* postgresql.parameters */
    struct kv_list hba;              /* postgresql.pg_hba lines (as keys) */
    struct kv_list ident;
    struct kv_list recovery_conf;
    struct kv_list replica_methods, replica_settings; /* As those of struct conf, */
    struct kv_list basebackup, rewind;                /* these too. */
    struct kv_list parameters_of[CONF_N_ROLES], hba_of[CONF_N_ROLES], ident_of[CONF_N_ROLES];
    struct kv_list callbacks;        /* "on_start" -> command. */
    char *pre_promote, *before_stop; /* Commands; NULL = none. */
};

struct conf {
    /* Global. */
    char *path;            /* Where it was read from; NULL = only from the environment. */
    struct kv_list places; /* Key -> "file:line:column", for conf_fail_at. */
    struct kv_list env;    /* What came from the environment, for the next time; has secrets. */
    char *name, *scope, *namespace;
    enum conf_mode mode;
    char *runtime_dir; /* Sockets, promise file; default /run/veche/<scope>-<name>. */
    char *log_level;   /* DEBUG INFO WARNING ERROR */
    char *log_type;    /* plain or json, in any case. */
    struct kv_list log_static_fields;
    char *log_dir; /* NULL = stderr. */
    int64_t log_file_num, log_file_size, log_mode, log_max_queue_size;

    /* raft: */
    char *raft_self_addr; /* host:port */
    char *raft_bind_addr; /* default: raft_self_addr */
    char *raft_partner_addrs[CONF_PARTNERS_MAX];
    size_t n_raft_partners;
    char *raft_data_dir;
    char *raft_password; /* NULL = none; from raft.password or raft.password_file. */
    char *raft_tls_cert, *raft_tls_key, *raft_tls_ca; /* All or none. */

    /* restapi: */
    char *restapi_listen; /* host:port */
    char *restapi_connect_address;
    char *restapi_username, *restapi_password;
    char *restapi_certfile, *restapi_keyfile; /* NULL = no TLS; = the key is in certfile. */
    char *restapi_keyfile_password, *restapi_cafile, *restapi_ciphers;
    char *restapi_verify_client;      /* none, optional, required */
    struct kv_list restapi_allowlist; /* As keys: address, network or name. */
    bool restapi_allowlist_include_members;
    struct kv_list restapi_http_extra_headers, restapi_https_extra_headers;
    bool restapi_allow_commands;
    char *restapi_server_tokens;        /* original, minimal, productonly */
    int64_t restapi_request_queue_size; /* Listen backlog. */

    /* postgresql: (all NULL or empty on a witness) */
    char *pg_listen_addresses; /* "h1,h2" */
    uint16_t pg_port;
    char *pg_connect_host;
    uint16_t pg_connect_port;
    char *pg_krbsrvname;    /* NULL = libpq's; it is in the lists of the roles too. */
    char *pg_proxy_address; /* host:port; NULL = none. */
    char *pg_data_dir, *pg_config_dir, *pg_bin_dir, *pg_pgpass, *pg_database, *pg_custom_conf;
    char *pg_config_base_name;
    bool pg_use_unix_socket;
    int64_t pg_diverged_keep; /* Bytes. */
    struct conf_user superuser, replication, rewind;
    struct kv_list pg_parameters; /* Local ones; controlled ones already dropped with a warning. */
    struct kv_list pg_hba, pg_ident, pg_recovery_conf;
    struct kv_list pg_parameters_of[CONF_N_ROLES], pg_hba_of[CONF_N_ROLES],
        pg_ident_of[CONF_N_ROLES];
    struct kv_list pg_basebackup, pg_rewind; /* option -> value or NULL */
    struct kv_list pg_bin_names;             /* program -> its name in pg_bin_dir */
    struct kv_list pg_replica_methods;       /* As keys; n == 0: the cluster's. */
    struct kv_list pg_replica_settings;      /* "<method>.<key>" -> value; see conf_methods.c */
    uint64_t pg_stop_timeout_ms;             /* 0 = the cluster's. */
    struct kv_list pg_callbacks;             /* "on_start" -> command; empty = the cluster's. */
    char *pg_pre_promote, *pg_before_stop;   /* Commands; NULL = the cluster's. */

    /* guard: */
    uint64_t guard_kill_after_ms;

    /* watchdog: */
    char *watchdog_mode; /* As written: conf_watchdog() says what it means. */
    char *watchdog_device, *watchdog_driver;
    int64_t watchdog_safety_margin; /* Seconds; -1 = half of the ttl. */

    /* bootstrap: */
    bool has_bootstrap;
    char *bootstrap_dcs;               /* Canonical JSON of bootstrap.dcs, "{}" if none. */
    char *bootstrap_method;            /* "initdb", or one that has settings: */
    struct kv_list bootstrap_settings; /* "<method>.<key>" -> value; recovery_conf: three words. */
    struct kv_list bootstrap_initdb;
    struct kv_list bootstrap_pg_hba;
    struct kv_list bootstrap_users; /* name -> "password\toption,option" */
    char *bootstrap_post_bootstrap;

    /* tags: */
    bool nofailover, noloadbalance, clonefrom, nosync, nostream;
    uint32_t failover_priority, sync_priority;
    char *replicatefrom; /* NULL = none. */
    char *tags_json;     /* All tags as canonical JSON, "{}" if none. */
};

/* Called for each warning found ("file:line:column: key: ..."). */
/* What of the node the store has room for. */
#define CONF_TAGS_LENGTH    511 /* All tags as JSON. */
#define CONF_SOURCE_LENGTH  63  /* tags.replicatefrom */
#define CONF_ADDRESS_LENGTH 233 /* host:port; http://host:port/patroni has to fit, too. */

typedef void (*conf_warning_cb)(void *data, const char *text);

/* Reads a file, or a directory of *.yml / *.yaml. On failure NULL and the first
 * error as "file:line:column: key: what, got, expected". Never half a struct. */
struct conf *conf_load(const char *path, conf_warning_cb warn, void *data, struct err *err);
/* The same, and over it what conf_env_take found (may be NULL). path NULL: that alone. */
struct conf *conf_load_with(const char *path, const struct kv_list *env, conf_warning_cb warn,
                            void *data, struct err *err);

struct conf_told {
    conf_warning_cb warn, fail;
    void *data;
};
/* The same, and every error of the files is told, not only the first. What is none of a key, as
 * a file that can not be opened, has err alone. */
struct conf *conf_load_told(const char *path, const struct kv_list *env,
                            const struct conf_told *told, struct err *err);
void conf_free(struct conf *c);

/* `running` gets from `fresh` what can change without a restart; its members stay where they
 * are, the old values go with `fresh`. Names of the keys that changed so, and of those whose
 * change waits for a restart, with commas between: "" = none. */
void conf_take(struct conf *running, struct conf *fresh, struct strbuf *ret_changed,
               struct strbuf *ret_restart);

/* "file:line:column: key: <text>" for what was found wrong after it was read. Always -1. */
int conf_fail_at(const struct conf *c, const char *key, struct err *err, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* Of an error whose text begins with a key: puts "file:line:column: " in front. */
void conf_place_error(const struct conf *c, struct err *err);

/* Moves every variable of ours (VECHE_ and PATRONI_) out of this process's environment into the
 * list: no child gets it, and its bytes are overwritten. Before there is a thread. */
void conf_env_take(struct kv_list *ret_env);

/* Parses dynamic configuration from JSON, over the defaults; adjusts loop_wait and
 * retry_timeout to ttl as Patroni does (warning). Returns 0, or -1 and the reason;
 * *ret_dynamic is owned by the caller (conf_dynamic_deinit). */
MUST_USE int conf_dynamic_parse(const char *json, struct conf_dynamic *ret_dynamic,
                                conf_warning_cb warn, void *data, struct err *err);
void conf_dynamic_deinit(struct conf_dynamic *d);

/* The dynamic configuration after a change, as canonical JSON to free; NULL and why if `body`
 * is no JSON object or the result is not valid. As Patroni merges: null removes a key, a map
 * is merged, all else is replaced. `replace`: body stands for all of it. */
MUST_USE char *conf_dynamic_change(const char *current, const char *body, bool replace,
                                   conf_warning_cb warn, void *data, struct err *err);

/* Paths of the keys in which two dynamic configurations differ, with commas between: "" = in
 * none. Quotes and older spellings make no difference. */
void conf_dynamic_differ(const char *a, const char *b, struct strbuf *ret_keys);

/* local parameters over dynamic ones (but not the controlled set), as PostgreSQL gets them:
 * with the controlled set's defaults, sorted, and wal_keep_segments as wal_keep_size.
 * Replaces the content of *ret_parameters, a list of the caller (zeroed at first). */
void conf_merge_parameters(const struct conf *c, const struct conf_dynamic *d,
                           struct kv_list *ret_parameters);
/* The same in that role: with parameters_<role> over it, but not the controlled set. */
void conf_merge_role_parameters(const struct conf *c, const struct conf_dynamic *d,
                                enum conf_role role, struct kv_list *ret_parameters);

/* The settings of every method: those of the node's file before the cluster's. Replaces the
 * content of *ret_settings, a list of the caller (zeroed at first). */
void conf_merge_methods(const struct conf *c, const struct conf_dynamic *d,
                        struct kv_list *ret_settings);

/* bootstrap.<method>.recovery_conf of the method that is used. As above. */
void conf_bootstrap_recovery(const struct conf *c, struct kv_list *ret_parameters);

/* YAML as JSON text to free, no schema asked: for those who need a few keys only, of a file
 * that may be none of an agent's (vechectl). NULL and the reason. `name` is for texts. */
MUST_USE char *conf_json_of_path(const char *path, struct err *err); /* File or directory. */
MUST_USE char *conf_json_of_yaml(const char *name, const char *text, struct err *err);

/* --validate-config and --print-config; secrets shown as "***". */
void conf_print(const struct conf *c, FILE *out);
/* docs/CONFIG.md from the schema. */
void conf_print_reference(FILE *out);
/* veche.yml(5), likewise. */
void conf_print_manual(FILE *out);

enum conf_watchdog conf_watchdog(const struct conf *c);
enum log_level conf_log_level(const struct conf *c);
struct log_file_options conf_log_file(const struct conf *c); /* Its dir is c's. */
/* Whether log.type is json; then log.static_fields as members of JSON. */
bool conf_log_json(const struct conf *c, char *fields, size_t size);

/* "10s", 10, "1500ms", 0.5: seconds without a unit. For YAML and JSON values alike. */
MUST_USE bool conf_parse_duration_ms(const char *text, uint64_t *ret_ms);

/* "host:port", "[::1]:7400", "*:7400". */
MUST_USE bool conf_split_address(const char *text, char *host, size_t host_size,
                                 uint16_t *ret_port);
/* "host:port" of this machine alone: 127.x.x.x, ::1, localhost. */
bool conf_is_loopback(const char *address);

#endif
