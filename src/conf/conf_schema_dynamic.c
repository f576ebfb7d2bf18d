/*
 * What the store holds for the whole cluster, and bootstrap.dcs seeds: see
 * conf_schema.h. The ranges of the three times are ours, not Patroni's: the
 * lease does not need its minimums.
 */
#include "conf/conf.h"
#include "conf/conf_schema.h"

/* clang-format off */
#define AT(member) .stored = true, .offset = offsetof(struct conf_dynamic, member)
#define USED       .effect = CONF_USED
#define LATER      .effect = CONF_LATER
#define LOCAL_ONLY CONF_ANY, CONF_MUST, "belongs into the node's file", .effect = CONF_LOCAL_ONLY

#define ROLE_ROWS(key, type, member, text) \
    {key "_primary", type, CONF_MUST, text " on a primary", AT(member[CONF_ROLE_PRIMARY])}, \
    {key "_replica", type, CONF_MUST, text " on a standby", AT(member[CONF_ROLE_REPLICA])}, \
    {key "_standby_leader", type, CONF_MUST, text " on a standby leader", LATER, AT(member[CONF_ROLE_STANDBY_LEADER])}
#define CALLBACK_ROW(name, text) {"postgresql.callbacks." name, CONF_ENTRY, CONF_MUST, text, AT(callbacks)}

static const struct conf_row rows[] = {
    {"ttl", CONF_DURATION, CONF_MUST, "length of the lease: a dead primary is replaced after it", AT(ttl_ms), .fallback = "3", .min = 1000, .max = HOURS(1)},
    {"loop_wait", CONF_DURATION, CONF_MUST, "longest pause between two looks at everything", AT(loop_wait_ms), .fallback = "1", .min = 100, .max = HOURS(1)},
    {"retry_timeout", CONF_DURATION, CONF_MUST, "bounds loop_wait alone: loop_wait + 2 * retry_timeout <= ttl. What fails is retried until it works, or the lease ends", AT(retry_timeout_ms), .fallback = "1", .min = 100, .max = HOURS(1)},
    {"maximum_lag_on_failover", CONF_BYTES, CONF_MUST, "a standby further behind does not take over; synchronous ones are exempt", AT(maximum_lag_on_failover), .fallback = "1048576", .max = INT64_MAX},
    {"maximum_lag_on_syncnode", CONF_BYTES, CONF_MUST, "a synchronous standby further behind is replaced; -1: never", AT(maximum_lag_on_syncnode), .fallback = "-1", .min = -1, .max = INT64_MAX},
    {"max_timelines_history", CONF_INT, CONF_MUST, "lines of /history, the newest; 0: all that are kept", AT(max_timelines_history), .fallback = "0", .max = 1000000},
    {"primary_race_backoff", CONF_DURATION, CONF_SHOULD, "there is no race: the next primary is chosen", .effect = CONF_NO_EFFECT, .fallback = "0"},
    {"primary_start_timeout", CONF_DURATION, CONF_MUST, "time for a crashed primary to come up before another takes over", AT(primary_start_timeout_ms), .fallback = "300", .max = HOURS(7 * 24)},
    {"primary_stop_timeout", CONF_DURATION, CONF_MUST, "synchronous modes: a fast stop of a primary that takes longer becomes an immediate one; 0: postgresql.pg_ctl_timeout", AT(primary_stop_timeout_ms), .fallback = "0", .max = HOURS(24)},
    {"master_start_timeout", CONF_ALIAS, CONF_MUST, "older spelling", .choices = "primary_start_timeout"},
    {"master_stop_timeout", CONF_ALIAS, CONF_MUST, "older spelling", .choices = "primary_stop_timeout"},
    {"check_timeline", CONF_BOOL, CONF_MUST, "only a node of the newest timeline takes over", AT(check_timeline), .fallback = "false"},
    {"synchronous_mode", CONF_SYNC_MODE, CONF_MUST, "synchronous replication to one standby, by name", AT(synchronous_mode), .fallback = "off", .choices = "off|on"},
    {"synchronous_mode_strict", CONF_BOOL, CONF_MUST, "no commit without a synchronous standby", AT(synchronous_mode_strict), .fallback = "false"},
    {"synchronous_node_count", CONF_INT, CONF_MUST, "synchronous standbys; more than one later", AT(synchronous_node_count), .fallback = "1", .min = 1, .max = 100},
    {"failsafe_mode", CONF_BOOL, CONF_MUST, "always the case here: the lease needs no store", .effect = CONF_SILENT},
    {"member_slots_ttl", CONF_DURATION, CONF_MUST, "how long the slot of an absent member is kept; 0: not longer than ttl", AT(member_slots_ttl_ms), .fallback = "30min", .max = HOURS(365 * 24)},
    {"pause", CONF_BOOL, CONF_MUST, "maintenance: nothing is decided", AT(pause), .fallback = "false"},
    {"slots", CONF_SLOTS, CONF_MUST, "permanent replication slots: physical ones on every node, logical ones on the primary; at most 16", AT(slots)},
    {"permanent_slots", CONF_ALIAS, CONF_MUST, "older spelling", .choices = "slots"},
    {"permanent_replication_slots", CONF_ALIAS, CONF_MUST, "older spelling", .choices = "slots"},
    {"ignore_slots", CONF_IGNORED, CONF_MUST, "slots that are never dropped and not spoken of; at most 32", AT(ignore_slots)},

    {"standby_cluster", CONF_SECTION, CONF_MUST, "Follow another cluster: refused until it is there when host, port or restore_command is set", USED},
    {"standby_cluster.host", CONF_TEXT, CONF_MUST, "of the primary to follow", LATER},
    {"standby_cluster.port", CONF_TEXT, CONF_MUST, "of the primary to follow", LATER},
    {"standby_cluster.primary_slot_name", CONF_TEXT, CONF_MUST, "slot to use there", LATER},
    {"standby_cluster.create_replica_methods", CONF_WORDS, CONF_MUST, "ways to make the standby leader", LATER},
    {"standby_cluster.restore_command", CONF_TEXT, CONF_MUST, "fetch WAL with it", LATER},
    {"standby_cluster.archive_cleanup_command", CONF_TEXT, CONF_MUST, "run on the standby leader", LATER},
    {"standby_cluster.recovery_min_apply_delay", CONF_TEXT, CONF_MUST, "of the standby leader", LATER},

    {"postgresql", CONF_SECTION, CONF_MUST, "PostgreSQL on every node", USED},
    {"postgresql.parameters", CONF_PARAMETERS, CONF_MUST, "PostgreSQL's parameters", AT(parameters)},
    {"postgresql.pg_hba", CONF_LINES, CONF_MUST, "lines of pg_hba.conf", AT(hba)},
    {"postgresql.pg_ident", CONF_LINES, CONF_MUST, "lines of pg_ident.conf", AT(ident)},
    {"postgresql.recovery_conf", CONF_PARAMETERS, CONF_MUST, "further recovery parameters", AT(recovery_conf)},
    ROLE_ROWS("postgresql.parameters", CONF_PARAMETERS, parameters_of, "over the parameters,"),
    ROLE_ROWS("postgresql.pg_hba", CONF_LINES, hba_of, "instead of pg_hba,"),
    ROLE_ROWS("postgresql.pg_ident", CONF_LINES, ident_of, "instead of pg_ident,"),
    {"postgresql.use_slots", CONF_BOOL, CONF_MUST, "a replication slot for each member", AT(use_slots), .fallback = "true"},
    {"postgresql.use_pg_rewind", CONF_BOOL, CONF_MUST, "pg_rewind brings back a node whose WAL diverged; off: it waits for an operator", AT(use_pg_rewind), .fallback = "true"},
    {"postgresql.remove_data_directory_on_rewind_failure", CONF_BOOL, CONF_MUST, "clone when pg_rewind failed 5 times; what is discarded is kept as diverged_keep says", AT(remove_on_rewind_failure), .fallback = "false"},
    {"postgresql.remove_data_directory_on_diverged_timelines", CONF_BOOL, CONF_MUST, "clone then, and when pg_rewind can not be tried", AT(remove_on_diverged_timelines), .fallback = "false"},
    {"postgresql.rewind", CONF_OPTIONS, CONF_SHOULD, "options of pg_rewind, unless the node's file has some", AT(rewind), .choices = CONF_NOT_OF_REWIND},
    {"postgresql.basebackup", CONF_OPTIONS, CONF_MUST, "options of pg_basebackup (compress: server-... alone), unless the node's file has some", AT(basebackup), .choices = CONF_NOT_OF_BASEBACKUP},
    {"postgresql.pre_promote", CONF_TEXT, CONF_MUST, "command run before a promotion; a code other than 0 refuses it", AT(pre_promote)},
    {"postgresql.before_stop", CONF_TEXT, CONF_MUST, "command run before PostgreSQL is stopped", AT(before_stop)},
    {"postgresql.create_replica_methods", CONF_WORDS, CONF_MUST, "ways to make a standby, in order: basebackup, or names of sections with a command, here or in the nodes' files", AT(replica_methods), .fallback = "basebackup"},
    {"postgresql.<method>", CONF_METHODS, CONF_MUST, "one of them, see the node's file, which comes before", AT(replica_settings)},
    {"postgresql.create_replica_method", CONF_ALIAS, CONF_MUST, "older spelling", .choices = "postgresql.create_replica_methods"},
    {"postgresql.pg_ctl_timeout", CONF_DURATION, CONF_MUST, "a fast stop that takes longer becomes an immediate one", AT(stop_timeout_ms), .fallback = "60", .max = HOURS(24)},
    {"postgresql.use_unix_socket", LOCAL_ONLY},
    {"postgresql.connect_address", LOCAL_ONLY},
    {"postgresql.proxy_address", LOCAL_ONLY},
    {"postgresql.listen", LOCAL_ONLY},
    {"postgresql.config_dir", LOCAL_ONLY},
    {"postgresql.data_dir", LOCAL_ONLY},
    {"postgresql.bin_dir", LOCAL_ONLY},
    {"postgresql.pgpass", LOCAL_ONLY},
    {"postgresql.authentication", LOCAL_ONLY},
    {"postgresql.bin_name", LOCAL_ONLY},
    {"postgresql.config_base_name", LOCAL_ONLY},
    {"postgresql.custom_conf", LOCAL_ONLY},
    {"postgresql.database", LOCAL_ONLY},
    {"postgresql.diverged_keep", CONF_ANY, CONF_REPLACED, "belongs into the node's file", .effect = CONF_LOCAL_ONLY},
    {"postgresql.krbsrvname", LOCAL_ONLY},
    {"postgresql.use_unix_socket_repl", LOCAL_ONLY},
    {"postgresql.callbacks", CONF_SECTION, CONF_MUST, "Commands run when something happened, with: action, role, scope", USED},
    CALLBACK_ROW("on_start", "PostgreSQL was started"),
    CALLBACK_ROW("on_stop", "PostgreSQL was stopped"),
    CALLBACK_ROW("on_restart", "PostgreSQL was restarted"),
    CALLBACK_ROW("on_reload", "PostgreSQL read its configuration again"),
    CALLBACK_ROW("on_role_change", "promoted or demoted"),
};
/* clang-format on */

const struct conf_schema conf_schema_dynamic = {rows, ARRAY_LENGTH(rows),
                                                "The cluster's dynamic configuration"};
