/*
 * What a node's own file may hold, see conf_schema.h. In the order of
 * --print-config and docs/CONFIG.md: a section's row stands before its keys,
 * and keys of a section stand together.
 */
#include "conf/conf_schema.h"

#include <strings.h>

#include "base/str.h"
#include "conf/conf.h"

/* clang-format off */
#define AT(member)        .stored = true, .offset = offsetof(struct conf, member)
#define WITH_PORT(member) .second_offset = offsetof(struct conf, member)
#define USED              .effect = CONF_USED
#define LATER             .effect = CONF_LATER
#define SILENT            .effect = CONF_SILENT
#define NO_EFFECT         .effect = CONF_NO_EFFECT
#define OTHER_STORE       CONF_ANY, CONF_SKIP, "another store; raft: takes its place", \
                          .effect = CONF_OTHER_STORE
#define SSL_ROW(user, key, member, text) \
    {user "." key, CONF_ENTRY, CONF_MUST, text, AT(member.ssl), .reload = CONF_RELOAD}
#define SSL_CHOICE(user, key, member, text, words) \
    {user "." key, CONF_ENTRY, CONF_MUST, text, AT(member.ssl), .reload = CONF_RELOAD, .choices = words}
#define USER_ROWS(user, member, what, needed) \
    {user, CONF_SECTION, CONF_MUST, what, USED}, \
    {user ".username", CONF_TEXT, CONF_MUST, "role", AT(member.username), .need = needed, .reload = CONF_RELOAD}, \
    {user ".password", CONF_SECRET, CONF_MUST, "its password", AT(member.password), .reload = CONF_RELOAD}, \
    SSL_CHOICE(user, "sslmode", member, "libpq's sslmode", "disable|allow|prefer|require|verify-ca|verify-full"), \
    SSL_ROW(user, "sslcert", member, "client certificate"), \
    SSL_ROW(user, "sslkey", member, "key of the client certificate"), \
    SSL_ROW(user, "sslpassword", member, "password of sslkey"), \
    SSL_ROW(user, "sslrootcert", member, "CA of the server's certificate"), \
    SSL_ROW(user, "sslcrl", member, "revoked certificates"), \
    SSL_ROW(user, "sslcrldir", member, "directory of revoked certificates (14 and later)"), \
    SSL_CHOICE(user, "gssencmode", member, "libpq's gssencmode", "disable|prefer|require"), \
    SSL_CHOICE(user, "channel_binding", member, "libpq's channel_binding", "disable|prefer|require"), \
    SSL_CHOICE(user, "sslnegotiation", member, "libpq's sslnegotiation (17 and later)", "postgres|direct")

#define ROLE_ROWS(key, type, member, text) \
    {key "_primary", type, CONF_MUST, text " on a primary", AT(member[CONF_ROLE_PRIMARY]), .reload = CONF_RELOAD}, \
    {key "_replica", type, CONF_MUST, text " on a standby", AT(member[CONF_ROLE_REPLICA]), .reload = CONF_RELOAD}, \
    {key "_standby_leader", type, CONF_MUST, text " on a standby leader", LATER, AT(member[CONF_ROLE_STANDBY_LEADER])}
#define BIN_ROW(name) {"postgresql.bin_name." name, CONF_ENTRY, CONF_MUST, "name of " name, AT(pg_bin_names), .fallback = name}
#define NO_BIN_ROW(name) {"postgresql.bin_name." name, CONF_TEXT, CONF_MUST, name " is not run: what it does the agent does itself", NO_EFFECT, .fallback = name}
#define CALLBACK_ROW(name, text) {"postgresql.callbacks." name, CONF_ENTRY, CONF_MUST, text, AT(pg_callbacks), .reload = CONF_RELOAD}

static const struct conf_row rows[] = {
    {"name", CONF_NAME, CONF_MUST, "of this node, unique in the cluster", AT(name), .need = CONF_NEEDED},
    {"scope", CONF_NAME, CONF_MUST, "name of the cluster; also PostgreSQL's cluster_name", AT(scope), .need = CONF_NEEDED},
    {"namespace", CONF_TEXT, CONF_SHOULD, "shown only, for old scripts", AT(namespace), .fallback = "/service"},
    {"mode", CONF_MODE, CONF_REPLACED, "witness: votes, runs no PostgreSQL", AT(mode), .fallback = "postgres", .choices = "postgres|witness"},
    {"runtime_dir", CONF_PATH, CONF_REPLACED, "sockets and the promise file; on tmpfs", AT(runtime_dir), .derived = "/run/veche/<scope>-<name>"},
    {"thread_pool_size", CONF_INT, CONF_SHOULD, "of Patroni's interpreter", NO_EFFECT, .fallback = "5"},
    {"thread_stack_size", CONF_BYTES, CONF_SHOULD, "of Patroni's interpreter", NO_EFFECT, .fallback = "512kB"},
    {"etcd", OTHER_STORE},
    {"etcd3", OTHER_STORE},
    {"consul", OTHER_STORE},
    {"zookeeper", OTHER_STORE},
    {"exhibitor", OTHER_STORE},
    {"kubernetes", OTHER_STORE},
    {"citus", CONF_ANY, CONF_SKIP, "Citus is not supported", NO_EFFECT},

    {"log", CONF_SECTION, CONF_MUST, "The agent's log. Lines go to stderr (the journal), or to files", USED},
    {"log.level", CONF_LOG_LEVEL, CONF_MUST, "least important line that is written", AT(log_level), .reload = CONF_RELOAD, .fallback = "INFO", .choices = "DEBUG|INFO|WARNING|WARN|ERROR|FATAL|CRITICAL"},
    {"log.type", CONF_CHOICE, CONF_MUST, "form of a line", AT(log_type), .fallback = "plain", .choices = "plain|json"},
    {"log.traceback_level", CONF_CHOICE, CONF_SHOULD, "of Patroni's interpreter", NO_EFFECT, .fallback = "ERROR", .choices = "DEBUG|ERROR"},
    {"log.format", CONF_ANY, CONF_MUST, "our lines have one form", NO_EFFECT, .fallback = "%(asctime)s %(levelname)s: %(message)s"},
    {"log.dateformat", CONF_TEXT, CONF_SHOULD, "our lines have one form", NO_EFFECT, .fallback = ""},
    {"log.static_fields", CONF_PARAMETERS, CONF_SHOULD, "added to each JSON line", AT(log_static_fields)},
    {"log.loggers", CONF_PARAMETERS, CONF_SHOULD, "modules of Patroni's interpreter", NO_EFFECT},
    {"log.dir", CONF_PATH, CONF_MUST, "directory of veched.log, instead of stderr; what can not be written there goes to stderr", AT(log_dir), .reload = CONF_RELOAD},
    {"log.file_num", CONF_INT, CONF_MUST, "older files kept, veched.log.1 and so on; 0: one file that grows", AT(log_file_num), .reload = CONF_RELOAD, .fallback = "4", .max = 100000},
    {"log.file_size", CONF_BYTES, CONF_MUST, "of one file; 0: it grows", AT(log_file_size), .reload = CONF_RELOAD, .fallback = "25000000", .max = INT64_C(1) << 40},
    {"log.mode", CONF_INT, CONF_MUST, "permissions of a new file, as 0640", AT(log_mode), .reload = CONF_RELOAD, .derived = "the umask", .max = 0777},
    {"log.max_queue_size", CONF_INT, CONF_SHOULD, "lines that wait for the file, 16384 at most; those beyond go to stderr", AT(log_max_queue_size), .reload = CONF_RELOAD, .fallback = "1000"},
    {"log.deduplicate_heartbeat_logs", CONF_BOOL, CONF_MUST, "always the case here", SILENT},

    {"raft", CONF_SECTION, CONF_REPLACED, "The replicated store and the lease: what an etcd cluster was", USED},
    {"raft.self_addr", CONF_ADDRESS, CONF_REPLACED, "host:port where the others reach this node", AT(raft_self_addr), .need = CONF_NEEDED, .min = 7400},
    {"raft.bind_addr", CONF_ADDRESS, CONF_REPLACED, "host:port to listen on", AT(raft_bind_addr), .derived = "raft.self_addr", .min = 7400},
    {"raft.partner_addrs", CONF_ADDRESS_LIST, CONF_REPLACED, "self_addr of every other node; may contain our own", AT(raft_partner_addrs), WITH_PORT(n_raft_partners), .min = 7400, .max = CONF_PARTNERS_MAX},
    {"raft.data_dir", CONF_PATH, CONF_REPLACED, "the store's files, a few MB", AT(raft_data_dir), .derived = "/var/lib/veche/<scope>-<name>"},
    {"raft.password", CONF_SECRET, CONF_REPLACED, "shared secret of the nodes; this or raft.tls, unless all addresses are loopback. After a change the previous one is accepted too, until the next or a restart", AT(raft_password), .reload = CONF_RELOAD},
    {"raft.password_file", CONF_PATH, CONF_REPLACED, "file whose first line is the shared secret", USED, .reload = CONF_RELOAD},
    {"raft.min_timeout", CONF_DURATION, CONF_REPLACED, "of Patroni's raft; follows from ttl here", NO_EFFECT},
    {"raft.max_timeout", CONF_DURATION, CONF_REPLACED, "of Patroni's raft; follows from ttl here", NO_EFFECT},
    {"raft.connection_timeout", CONF_DURATION, CONF_REPLACED, "of Patroni's raft; follows from ttl here", NO_EFFECT},
    {"raft.append_entries_period", CONF_DURATION, CONF_REPLACED, "of Patroni's raft; follows from ttl here", NO_EFFECT},
    {"raft.connection_retry_time", CONF_DURATION, CONF_REPLACED, "of Patroni's raft; follows from ttl here", NO_EFFECT},
    {"raft.leader_fallback_timeout", CONF_DURATION, CONF_REPLACED, "of Patroni's raft; follows from ttl here", NO_EFFECT},
    {"raft.tls", CONF_SECTION, CONF_REPLACED, "Mutual certificates, PEM files, in place of raft.password (not used then). A certificate needs its node's name as a DNS name in subjectAltName; the CA should be of this cluster alone", USED},
    {"raft.tls.cert", CONF_PATH, CONF_REPLACED, "certificate of this node, then those that signed it", AT(raft_tls_cert), .reload = CONF_RELOAD},
    {"raft.tls.key", CONF_PATH, CONF_REPLACED, "its key, 0600, without passphrase", AT(raft_tls_key), .reload = CONF_RELOAD},
    {"raft.tls.ca", CONF_PATH, CONF_REPLACED, "CA of all nodes; several while one takes over from another", AT(raft_tls_ca), .reload = CONF_RELOAD},

    {"restapi", CONF_SECTION, CONF_MUST, "The HTTP interface for load balancers, scripts and vechectl", USED},
    {"restapi.listen", CONF_ADDRESS, CONF_MUST, "host:port", AT(restapi_listen), .fallback = "0.0.0.0:8008", .min = 8008},
    {"restapi.connect_address", CONF_ADDRESS, CONF_MUST, "host:port told to others", AT(restapi_connect_address), .derived = "restapi.listen; on all interfaces: host of raft.self_addr", .min = 8008},
    {"restapi.certfile", CONF_PATH, CONF_MUST, "certificate, then those that signed it; switches to HTTPS. May hold the key", AT(restapi_certfile), .reload = CONF_RELOAD},
    {"restapi.keyfile", CONF_PATH, CONF_MUST, "its key", AT(restapi_keyfile), .reload = CONF_RELOAD, .derived = "restapi.certfile"},
    {"restapi.keyfile_password", CONF_SECRET, CONF_MUST, "password of the key", AT(restapi_keyfile_password), .reload = CONF_RELOAD},
    {"restapi.cafile", CONF_PATH, CONF_MUST, "CA of clients", AT(restapi_cafile), .reload = CONF_RELOAD},
    {"restapi.ciphers", CONF_TEXT, CONF_MUST, "TLS ciphers, as a priority string of GnuTLS; a list of OpenSSL's is warned about, and the default used", AT(restapi_ciphers), .reload = CONF_RELOAD},
    {"restapi.verify_client", CONF_CHOICE, CONF_MUST, "client certificates: optional asks for one where something is changed, required for everything", AT(restapi_verify_client), .reload = CONF_RELOAD, .fallback = "none", .choices = "none|optional|required"},
    {"restapi.allowlist", CONF_WORDS, CONF_MUST, "addresses, networks and host names that may use unsafe methods", AT(restapi_allowlist), .reload = CONF_RELOAD},
    {"restapi.allowlist_include_members", CONF_BOOL, CONF_MUST, "and the members", AT(restapi_allowlist_include_members), .reload = CONF_RELOAD, .fallback = "false"},
    {"restapi.http_extra_headers", CONF_PARAMETERS, CONF_MUST, "added to each answer", AT(restapi_http_extra_headers), .reload = CONF_RELOAD},
    {"restapi.https_extra_headers", CONF_PARAMETERS, CONF_MUST, "added to each answer over TLS", AT(restapi_https_extra_headers), .reload = CONF_RELOAD},
    {"restapi.server_tokens", CONF_CHOICE, CONF_SHOULD, "what the Server: header says", AT(restapi_server_tokens), .reload = CONF_RELOAD, .fallback = "original", .choices = "original|minimal|productonly"},
    {"restapi.allow_commands", CONF_BOOL, CONF_REPLACED, "settings of the cluster that are commands, or code to load, may be changed from other machines", AT(restapi_allow_commands), .reload = CONF_RELOAD, .fallback = "false"},
    {"restapi.request_queue_size", CONF_INT, CONF_SHOULD, "connections that wait to be taken, at most", AT(restapi_request_queue_size), .fallback = "128", .max = 4096},
    {"restapi.thread_pool_size", CONF_INT, CONF_SHOULD, "of Patroni's interpreter", NO_EFFECT, .fallback = "5"},
    {"restapi.authentication", CONF_SECTION, CONF_MUST, "Basic authentication of unsafe methods", USED},
    {"restapi.authentication.username", CONF_TEXT, CONF_MUST, "user", AT(restapi_username), .reload = CONF_RELOAD},
    {"restapi.authentication.password", CONF_SECRET, CONF_MUST, "password", AT(restapi_password), .reload = CONF_RELOAD},

    {"ctl", CONF_SECTION, CONF_MUST, "How vechectl reaches restapi", USED},
    {"ctl.insecure", CONF_BOOL, CONF_MUST, "accept any certificate", USED, .fallback = "false"},
    {"ctl.cacert", CONF_PATH, CONF_MUST, "CA of restapi", USED},
    {"ctl.certfile", CONF_PATH, CONF_MUST, "client certificate", USED},
    {"ctl.keyfile", CONF_PATH, CONF_MUST, "its key", USED},
    {"ctl.keyfile_password", CONF_SECRET, CONF_MUST, "password of the key", USED},
    {"ctl.authentication", CONF_SECTION, CONF_MUST, "Basic authentication; else restapi.authentication", USED},
    {"ctl.authentication.username", CONF_TEXT, CONF_MUST, "user", USED},
    {"ctl.authentication.password", CONF_SECRET, CONF_MUST, "password", USED},

    {"postgresql", CONF_SECTION, CONF_MUST, "The local PostgreSQL; none on a witness", USED},
    {"postgresql.listen", CONF_LISTEN, CONF_MUST, "host,host:port: listen_addresses and port", AT(pg_listen_addresses), WITH_PORT(pg_port), .reload = CONF_RELOAD, .need = CONF_NEEDED_POSTGRES, .min = 5432},
    {"postgresql.connect_address", CONF_HOST_PORT, CONF_MUST, "host:port told to others", AT(pg_connect_host), WITH_PORT(pg_connect_port), .reload = CONF_RELOAD, .derived = "postgresql.listen; on all interfaces: host of raft.self_addr", .min = 5432},
    {"postgresql.proxy_address", CONF_ADDRESS, CONF_SHOULD, "host:port of a pooler in front, told to others as `proxy_url`", AT(pg_proxy_address), .reload = CONF_RELOAD, .min = 5432},
    {"postgresql.data_dir", CONF_PATH, CONF_MUST, "data directory", AT(pg_data_dir), .need = CONF_NEEDED_POSTGRES},
    {"postgresql.config_dir", CONF_PATH, CONF_MUST, "directory of postgresql.conf", AT(pg_config_dir), .derived = "postgresql.data_dir"},
    {"postgresql.bin_dir", CONF_PATH, CONF_MUST, "directory of postgres, initdb, ...; empty: PATH", AT(pg_bin_dir), .fallback = ""},
    {"postgresql.pgpass", CONF_PATH, CONF_MUST, "password file the agent writes, 0600", AT(pg_pgpass), .derived = "<runtime_dir>/pgpass"},
    {"postgresql.database", CONF_TEXT, CONF_SHOULD, "database of the agent's sessions", AT(pg_database), .reload = CONF_RELOAD, .fallback = "postgres"},
    {"postgresql.use_unix_socket", CONF_BOOL, CONF_MUST, "the agent's sessions use the socket", AT(pg_use_unix_socket), .reload = CONF_RELOAD, .fallback = "false"},
    {"postgresql.use_unix_socket_repl", CONF_BOOL, CONF_MUST, "the agent has no local replication sessions: it asks its own server in ordinary ones", NO_EFFECT, .fallback = "false"},
    {"postgresql.krbsrvname", CONF_TEXT, CONF_SHOULD, "Kerberos service name of PostgreSQL, for all roles", AT(pg_krbsrvname)},
    {"postgresql.superuser", CONF_ALIAS, CONF_MUST, "older spelling", .choices = "postgresql.authentication.superuser"},
    {"postgresql.replication", CONF_ALIAS, CONF_MUST, "older spelling", .choices = "postgresql.authentication.replication"},
    {"postgresql.pg_rewind", CONF_ALIAS, CONF_MUST, "older spelling", .choices = "postgresql.authentication.rewind"},
    {"postgresql.parameters", CONF_PARAMETERS, CONF_MUST, "of this node, over the cluster's; not max_connections and the like", AT(pg_parameters), .reload = CONF_RELOAD},
    {"postgresql.pg_hba", CONF_LINES, CONF_MUST, "lines of pg_hba.conf, in place of the cluster's", AT(pg_hba), .reload = CONF_RELOAD},
    {"postgresql.pg_ident", CONF_LINES, CONF_MUST, "lines of pg_ident.conf, in place of the cluster's", AT(pg_ident), .reload = CONF_RELOAD},
    {"postgresql.recovery_conf", CONF_PARAMETERS, CONF_MUST, "further recovery parameters", AT(pg_recovery_conf), .reload = CONF_RELOAD},
    ROLE_ROWS("postgresql.parameters", CONF_PARAMETERS, pg_parameters_of, "over the parameters,"),
    ROLE_ROWS("postgresql.pg_hba", CONF_LINES, pg_hba_of, "instead of pg_hba,"),
    ROLE_ROWS("postgresql.pg_ident", CONF_LINES, pg_ident_of, "instead of pg_ident,"),
    {"postgresql.custom_conf", CONF_PATH, CONF_MUST, "file included instead of the renamed postgresql.conf", AT(pg_custom_conf), .reload = CONF_RELOAD},
    {"postgresql.config_base_name", CONF_TEXT, CONF_SHOULD, "first part of the name of postgresql.conf", AT(pg_config_base_name), .fallback = "postgresql"},
    {"postgresql.basebackup", CONF_OPTIONS, CONF_MUST, "options of pg_basebackup (compress: server-... alone)", AT(pg_basebackup), .reload = CONF_RELOAD, .choices = CONF_NOT_OF_BASEBACKUP},
    {"postgresql.pre_promote", CONF_TEXT, CONF_MUST, "command run before a promotion; a code other than 0 refuses it", AT(pg_pre_promote), .reload = CONF_RELOAD},
    {"postgresql.before_stop", CONF_TEXT, CONF_MUST, "command run before PostgreSQL is stopped", AT(pg_before_stop), .reload = CONF_RELOAD},
    {"postgresql.create_replica_methods", CONF_WORDS, CONF_MUST, "ways to make a standby, in order: basebackup, or names of sections with a command", AT(pg_replica_methods), .reload = CONF_RELOAD, .derived = "the cluster's: basebackup"},
    {"postgresql.<method>", CONF_METHODS, CONF_MUST, "one of them: command (gets --scope= --role= --datadir= --connstring=, unless no_params), keep_data; any other key becomes --key=value", AT(pg_replica_settings), .reload = CONF_RELOAD},
    {"postgresql.create_replica_method", CONF_ALIAS, CONF_MUST, "older spelling", .choices = "postgresql.create_replica_methods"},
    {"postgresql.use_pg_rewind", CONF_BOOL, CONF_MUST, "the same on every node: set it in bootstrap.dcs", NO_EFFECT, .fallback = "true"},
    {"postgresql.use_slots", CONF_BOOL, CONF_MUST, "the same on every node: set it in bootstrap.dcs", NO_EFFECT, .fallback = "true"},
    {"postgresql.diverged_keep", CONF_BYTES, CONF_REPLACED, "WAL given up by a rewind or clone is kept in <data_dir>.diverged, so much in all; 0: its record. More while pg_rewind works", AT(pg_diverged_keep), .fallback = "1GB", .max = INT64_C(1) << 50},
    {"postgresql.rewind", CONF_OPTIONS, CONF_SHOULD, "options of pg_rewind", AT(pg_rewind), .reload = CONF_RELOAD,
     .choices = CONF_NOT_OF_REWIND},
    {"postgresql.remove_data_directory_on_rewind_failure", CONF_BOOL, CONF_MUST, "the same on every node: set it in bootstrap.dcs", NO_EFFECT, .fallback = "false"},
    {"postgresql.remove_data_directory_on_diverged_timelines", CONF_BOOL, CONF_MUST, "the same on every node: set it in bootstrap.dcs", NO_EFFECT, .fallback = "false"},
    {"postgresql.pg_ctl_timeout", CONF_DURATION, CONF_MUST, "a fast stop that takes longer becomes an immediate one; a start has primary_start_timeout", AT(pg_stop_timeout_ms), .reload = CONF_RELOAD, .derived = "the cluster's: 60", .max = HOURS(24)},
    {"postgresql.bin_name", CONF_SECTION, CONF_MUST, "Other names of PostgreSQL's programs in bin_dir", USED},
    NO_BIN_ROW("pg_ctl"), BIN_ROW("initdb"), NO_BIN_ROW("pg_controldata"), BIN_ROW("pg_basebackup"),
    BIN_ROW("postgres"), NO_BIN_ROW("pg_isready"), BIN_ROW("pg_rewind"),
    {"postgresql.callbacks", CONF_SECTION, CONF_MUST, "Commands run when something happened, with: action, role, scope; any of them here replaces all of the cluster's", USED},
    CALLBACK_ROW("on_start", "PostgreSQL was started"), CALLBACK_ROW("on_stop", "PostgreSQL was stopped"),
    CALLBACK_ROW("on_restart", "PostgreSQL was restarted"), CALLBACK_ROW("on_reload", "PostgreSQL read its configuration again"),
    CALLBACK_ROW("on_role_change", "promoted or demoted"),
    {"postgresql.authentication", CONF_SECTION, CONF_MUST, "Roles the agent makes and uses", USED},
    USER_ROWS("postgresql.authentication.superuser", superuser, "The agent's own sessions", CONF_NEEDED_POSTGRES),
    USER_ROWS("postgresql.authentication.replication", replication, "Streaming and pg_basebackup", CONF_NEEDED_POSTGRES),
    USER_ROWS("postgresql.authentication.rewind", rewind, "pg_rewind; without it the superuser", CONF_OPTIONAL),

    {"bootstrap", CONF_SECTION, CONF_MUST, "How the cluster is made, once. Later edits have no effect", USED},
    {"bootstrap.dcs", CONF_DCS, CONF_MUST, "the first dynamic configuration, see below", AT(bootstrap_dcs), .reload = CONF_ONCE},
    {"bootstrap.method", CONF_TEXT, CONF_MUST, "initdb, or the name of a section with a command that makes the data directory", AT(bootstrap_method), .reload = CONF_ONCE, .fallback = "initdb"},
    {"bootstrap.<method>", CONF_METHODS, CONF_MUST, "that section: command (gets --scope= --datadir=, unless no_params), recovery_conf, keep_existing_recovery_conf; any other key becomes --key=value", AT(bootstrap_settings), .reload = CONF_ONCE},
    {"bootstrap.initdb", CONF_OPTIONS, CONF_MUST, "options of initdb", AT(bootstrap_initdb), .reload = CONF_ONCE, .choices = "pgdata|nosync|pwfile|sync-only|version"},
    {"bootstrap.pg_hba", CONF_LINES, CONF_SHOULD, "lines added to initdb's pg_hba.conf, where postgresql.pg_hba is not given", AT(bootstrap_pg_hba), .reload = CONF_ONCE},
    {"bootstrap.users", CONF_USERS, CONF_MUST, "roles to make: name: {password, options: [createdb]}", AT(bootstrap_users), .reload = CONF_ONCE,
     .choices = "superuser|nosuperuser|createdb|nocreatedb|createrole|nocreaterole|inherit|noinherit|login|nologin|replication|noreplication|bypassrls|nobypassrls"},
    {"bootstrap.post_bootstrap", CONF_TEXT, CONF_MUST, "command run after it, with a connection string", AT(bootstrap_post_bootstrap), .reload = CONF_ONCE},
    {"bootstrap.post_init", CONF_ALIAS, CONF_MUST, "older spelling", .choices = "bootstrap.post_bootstrap"},

    {"guard", CONF_SECTION, CONF_REPLACED, "The guard, which freezes PostgreSQL when the lease runs out", USED},
    {"guard.kill_after", CONF_DURATION, CONF_REPLACED, "what is frozen for so long is killed", AT(guard_kill_after_ms), .fallback = "30", .min = 1000, .max = HOURS(1)},

    {"watchdog", CONF_SECTION, CONF_MUST, "The kernel's watchdog, which resets a machine on which nobody fences any more", USED},
    {"watchdog.mode", CONF_CHOICE, CONF_MUST, "required: no primary here without it", AT(watchdog_mode), .reload = CONF_RELOAD, .fallback = "off", .choices = "off|automatic|required|auto|require|disable|disabled|on|true|false|yes|no"},
    {"watchdog.device", CONF_PATH, CONF_MUST, "its device", AT(watchdog_device), .reload = CONF_RELOAD, .fallback = "/dev/watchdog"},
    {"watchdog.safety_margin", CONF_INT, CONF_MUST, "ttl 10 and longer: seconds between its end and the lease's; -1: half of the ttl", AT(watchdog_safety_margin), .reload = CONF_RELOAD, .fallback = "5", .min = -1, .max = 3600},
    {"watchdog.driver", CONF_CHOICE, CONF_SHOULD, "testing: the device is a FIFO, which resets nothing", AT(watchdog_driver), .reload = CONF_RELOAD, .fallback = "default", .choices = "default|testing"},

    {"tags", CONF_TAGS, CONF_MUST, "nofailover, failover_priority, noloadbalance, clonefrom, nosync, nostream, replicatefrom and any other", AT(tags_json), .reload = CONF_RELOAD},
};
/* clang-format on */

const struct conf_schema conf_schema_local = {rows, ARRAY_LENGTH(rows), "The node's file"};

const struct conf_row *conf_schema_find(const struct conf_schema *schema, const char *path)
{
    for (size_t i = 0; i < schema->n_rows; i++) {
        if (strcmp(schema->rows[i].path, path) == 0) {
            return &schema->rows[i];
        }
    }
    return NULL;
}

static const char *last_word(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot != NULL ? dot + 1 : path;
}

static bool same_section(const char *a, const char *b)
{
    size_t n = (size_t)(last_word(a) - a);

    return n == (size_t)(last_word(b) - b) && strncmp(a, b, n) == 0;
}

const char *conf_schema_nearest(const struct conf_schema *schema, const char *path)
{
    const char *word = last_word(path);
    const char *found = NULL;
    size_t best = strlen(word) / 3 + 2; /* A word further off is another word. */

    for (size_t i = 0; i < schema->n_rows; i++) {
        const char *other = schema->rows[i].path;
        size_t distance = str_distance(word, last_word(other));

        if (strchr(other, '<') == NULL && same_section(path, other) && distance < best) {
            best = distance;
            found = other;
        }
    }
    for (size_t i = 0; found == NULL && i < schema->n_rows; i++) {
        if (strcmp(word, last_word(schema->rows[i].path)) == 0) {
            found = schema->rows[i].path;
        }
    }
    return found;
}

bool conf_choice_find(const char *choices, const char *text, size_t *ret_choice)
{
    size_t length = strlen(text);
    const char *at = choices;

    for (size_t i = 0; at != NULL; i++) {
        size_t n = strcspn(at, "|");

        if (n == length && strncasecmp(at, text, n) == 0) {
            if (ret_choice != NULL) {
                *ret_choice = i;
            }
            return true;
        }
        at = at[n] == '|' ? at + n + 1 : NULL;
    }
    return false;
}
