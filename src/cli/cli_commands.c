/*
 * The table: every flag and every command once. Parsing (cli_options.c), --help
 * (cli_help.c), completion and the manual page (cli_completion.c) read it.
 */
#include "cli/cli.h"

#define AT(field) offsetof(struct cli, field)

#define FORMATS "pretty|tsv|json|yaml|yml"
#define ROLES   "leader|primary|standby-leader|replica|standby|any"

/* clang-format off */
static const struct cli_flag
    /* Before or behind any command. */
    config_file = {"config-file", 'c', CLI_TEXT,    "FILE", AT(config_path), "FILE", "configuration of the agent, or one for this command alone"},
    url         = {"url",         'u', CLI_TEXT,    "URL",  AT(url),         NULL,   "ask this agent only, such as http://10.0.0.1:8008"},
    dcs_url     = {"dcs-url",     'd', CLI_TEXT,    "URL",  AT(url),         NULL,   "the same"},
    dcs         = {"dcs",          0,  CLI_TEXT,    "URL",  AT(url),         NULL,   "the same"},
    insecure    = {"insecure",    'k', CLI_SWITCH,  NULL,   AT(insecure),    NULL,   "take any certificate of an agent"},
    group       = {"group",        0,  CLI_IGNORED, "N",    0,               NULL,   "taken and ignored: there are no groups"},
    help        = {"help",        'h', CLI_HELP,    NULL,   0,               NULL,   "this help; behind a command, that of the command"},
    /* What is shown, and how. */
    format      = {"format",      'f', CLI_FORMAT_NAME, "FORMAT",  AT(format),    FORMATS, "pretty, tsv, json, yaml or yml"},
    long_format = {"format",       0,  CLI_FORMAT_NAME, "FORMAT",  AT(format),    FORMATS, "tsv (preset), pretty, json, yaml or yml"},
    extended    = {"extended",    'e', CLI_SWITCH,      NULL,      AT(extended),  NULL,    "all columns, also empty ones"},
    timestamp   = {"timestamp",   't', CLI_SWITCH,      NULL,      AT(timestamp), NULL,    "the time first"},
    watch       = {"watch",       'w', CLI_WATCH,       "SECONDS", AT(watch_ms),  NULL,    "again every so many seconds"},
    watch_two   = {"watch-two",   'W', CLI_WATCH_TWO,   NULL,      AT(watch_ms),  NULL,    "again every 2 seconds"},
    /* Whom it is about, and when. */
    role        = {"role",        'r', CLI_TEXT,   "ROLE",   AT(role),    ROLES, "only members of this role"},
    member      = {"member",      'm', CLI_TEXT,   "MEMBER", AT(member),  NULL,  "this member"},
    force       = {"force",        0,  CLI_SWITCH, NULL,     AT(force),   NULL,  "ask nothing"},
    wait        = {"wait",         0,  CLI_SWITCH, NULL,     AT(wait),    NULL,  "until it is done on all members"},
    scheduled   = {"scheduled",    0,  CLI_TEXT,   "TIME",   AT(scheduled), NULL, "then, such as 2026-08-01T12:00+02:00; without a zone it is local time"},
    /* edit-config, show-config */
    set         = {"set",         's', CLI_SETTING,   "PATH=VALUE", AT(settings), NULL,   "set this, such as ttl=30 or postgresql.use_slots=true; null removes it"},
    pg          = {"pg",          'p', CLI_PARAMETER, "PARAMETER=VALUE", AT(settings), NULL, "set this parameter of PostgreSQL; null removes it"},
    apply       = {"apply",        0,  CLI_TEXT,      "FILE", AT(apply),   "FILE", "merge this YAML (- is the standard input) into it"},
    replace     = {"replace",      0,  CLI_TEXT,      "FILE", AT(replace), "FILE", "put this YAML (- is the standard input) in its place"},
    quiet       = {"quiet",       'q', CLI_SWITCH,    NULL,   AT(quiet),   NULL,   "do not show the difference"},
    origin      = {"origin",       0,  CLI_SWITCH,    NULL,   AT(origin),  NULL,   "where the bootstrap.dcs of the file differs from it"},
    /* switchover, failover */
    leader      = {"leader",       0,  CLI_TEXT, "MEMBER", AT(leader),    NULL, "the present primary"},
    primary     = {"primary",      0,  CLI_TEXT, "MEMBER", AT(leader),    NULL, "the same"},
    candidate   = {"candidate",    0,  CLI_TEXT, "MEMBER", AT(candidate), NULL, "the next primary"},
    dead        = {"primary-is-dead", 0, CLI_TEXT, "MEMBER", AT(dead),    NULL, "this primary, unfenced since a pause, is off: typed once more"},
    /* restart, reinit */
    any         = {"any",          0,  CLI_SWITCH, NULL,      AT(any),         NULL, "one of them, at random"},
    pending     = {"pending",      0,  CLI_SWITCH, NULL,      AT(pending),     NULL, "only where a parameter waits for it"},
    rolling     = {"rolling",      0,  CLI_SWITCH, NULL,      AT(rolling),     NULL, "one after the other, each healthy before the next; a standby takes over first"},
    pg_version  = {"pg-version",   0,  CLI_TEXT,   "VERSION", AT(pg_version),  NULL, "only where PostgreSQL is older than this, such as 17.5"},
    timeout     = {"timeout",      0,  CLI_TEXT,   "SECONDS", AT(timeout),     NULL, "fail when it takes longer; units as in 2min"},
    from_leader = {"from-leader",  0,  CLI_SWITCH, NULL,      AT(from_leader), NULL, "copy the primary with pg_basebackup, whatever create_replica_methods say"},
    /* query */
    sql         = {"command",     'c', CLI_TEXT,   "SQL",  AT(sql),       NULL,   "run this"},
    sql_file    = {"file",        'f', CLI_TEXT,   "FILE", AT(sql_file),  "FILE", "run what is in this file"},
    database    = {"dbname",      'd', CLI_TEXT,   "NAME", AT(database),  NULL,   "database"},
    username    = {"username",    'U', CLI_TEXT,   "NAME", AT(username),  NULL,   "user"},
    password    = {"password",     0,  CLI_SWITCH, NULL,   AT(password),  NULL,   "ask for the password"},
    /* migrate */
    partners    = {"partners",     0,  CLI_TEXT,   "HOST,...", AT(partners), NULL, "the nodes of the cluster: host or host:port of raft"},
    delimiter   = {"delimiter",    0,  CLI_TEXT,   "TEXT", AT(delimiter), NULL,   "between the columns of tsv"},
    /* store, check */
    keys_only   = {"keys-only",    0,  CLI_SWITCH, NULL,   AT(keys_only),      NULL,   "names without what they hold"},
    of_store    = {"store",        0,  CLI_SWITCH, NULL,   AT(check_store),    NULL,   "the majority, and who is heard"},
    of_postgres = {"postgres",     0,  CLI_SWITCH, NULL,   AT(check_postgres), NULL,   "PostgreSQL, its replication and its settings"},
    of_agent    = {"agent",        0,  CLI_SWITCH, NULL,   AT(check_agent),    NULL,   "agents and guards; services that must be off"},
    of_cluster  = {"cluster",      0,  CLI_SWITCH, NULL,   AT(check_cluster),  NULL,   "primary, standbys, timelines, lag"},
    of_proxy    = {"proxy",        0,  CLI_SWITCH, NULL,   AT(check_proxy),    NULL,   "files of HAProxy and keepalived on this machine"},
    of_all      = {"full",         0,  CLI_SWITCH, NULL,   AT(check_full),     NULL,   "all of it, also what is in order"},
    root        = {"root",         0,  CLI_TEXT,   "DIRECTORY", AT(root),      "FILE", "where the files of the system are, in the place of /"},
    haproxy     = {"haproxy",      0,  CLI_TEXT,   "FILE", AT(haproxy),        "FILE", "this haproxy.cfg"},
    /* demote-cluster: with its flags it is refused as without */
    host        = {"host",              0, CLI_IGNORED, "HOST",    0, NULL, "where the primary of the other cluster is"},
    port        = {"port",              0, CLI_IGNORED, "PORT",    0, NULL, "its port"},
    restore     = {"restore-command",   0, CLI_IGNORED, "COMMAND", 0, NULL, "where WAL comes from"},
    slot        = {"primary-slot-name", 0, CLI_IGNORED, "NAME",    0, NULL, "the slot there"};

const struct cli_flag *const cli_global_flags[] = {&config_file, &url, &dcs_url, &dcs, &insecure, &group, &help, NULL};

#define MEMBERS "[CLUSTER] [MEMBER...]"

const struct cli_command cli_commands[] = {
    {"list", MEMBERS, -1, "members of the cluster, their role, state and lag", cli_list,
     {&extended, &timestamp, &format, &watch, &watch_two}},
    {"topology", MEMBERS, -1, "the same as a tree below the primary", cli_topology,
     {&format, &watch, &watch_two}},
    {"members", MEMBERS, -1, "members and their addresses", cli_members,
     {&format}},
    {"switchover", "[CLUSTER]", 1, "make a healthy standby primary", cli_switchover,
     {&leader, &primary, &candidate, &scheduled, &force}},
    {"failover", "[CLUSTER]", 1, "make the named member primary, also without a leader", cli_failover,
     {&leader, &primary, &candidate, &dead, &force}},
    {"pause", "[CLUSTER]", 1, "maintenance: no failover, PostgreSQL is left alone", cli_pause,
     {&wait}},
    {"resume", "[CLUSTER]", 1, "the end of it", cli_resume,
     {&wait}},
    {"reload", MEMBERS, -1, "read the configuration files again", cli_reload,
     {&role, &force}},
    {"restart", MEMBERS, -1, "restart PostgreSQL", cli_restart_members,
     {&role, &any, &scheduled, &pg_version, &pending, &timeout, &rolling, &force}},
    {"reinit", MEMBERS, -1, "a standby throws its data away and copies them anew", cli_reinit,
     {&wait, &from_leader, &force}},
    {"flush", "[CLUSTER] [MEMBER...] restart|switchover", -1, "take a scheduled restart or switchover back", cli_flush,
     {&role, &force}},
    {"remove", "[CLUSTER]", 1, "the end of a cluster, as far as Veche knows it", cli_remove,
     {&format}},
    {"history", "[CLUSTER]", 1, "timelines, and who was primary", cli_history,
     {&format}},
    {"show-config", "[CLUSTER]", 1, "dynamic configuration", cli_show_config,
     {&format, &origin}},
    {"edit-config", "[CLUSTER]", 1, "change it: in $EDITOR, or as the flags say", cli_edit_config,
     {&set, &pg, &apply, &replace, &quiet, &force}},
    {"dsn", "[CLUSTER]", 1, "host and port of a member, the primary unless told otherwise", cli_dsn,
     {&role, &member}},
    {"query", "[CLUSTER]", 1, "run SQL on a member, the primary unless told otherwise", cli_query,
     {&sql, &sql_file, &database, &username, &password, &member, &role, &long_format, &delimiter, &watch, &watch_two}},
    {"version", MEMBERS, -1, "versions of vechectl, of the agents and of PostgreSQL", cli_version,
     {0}},
    {"migrate", "FILE", 1, "a configuration of Patroni as one of Veche, and what was changed", cli_migrate,
     {&partners}},
    {"store", "[KEY]", 1, "what the agents keep, by the names it has in Patroni's stores", cli_store,
     {&keys_only}},
    {"check", "[CLUSTER]", 1, "is all well? With the exit codes of monitoring plugins", cli_check,
     {&of_store, &of_postgres, &of_agent, &of_cluster, &of_proxy, &of_all, &haproxy, &root}},
    {"demote-cluster", "[CLUSTER]", 1, "not built yet: make this a standby cluster", cli_standby_cluster,
     {&host, &port, &restore, &slot, &force}},
    {"promote-cluster", "[CLUSTER]", 1, "not built yet: end a standby cluster", cli_standby_cluster,
     {&force}},
    {"completion", "bash|zsh|man", 1, "completion for a shell, or the manual page, on the standard output", cli_completion,
     {0}},
};
/* clang-format on */

const size_t cli_n_commands = ARRAY_LENGTH(cli_commands);

const struct cli_command *cli_find_command(const char *name)
{
    for (size_t i = 0; i < cli_n_commands; i++) {
        if (str_equal(cli_commands[i].name, name)) {
            return &cli_commands[i];
        }
    }
    return NULL;
}
