/*
 * vechectl: the operator's command. It knows nothing but the REST interface of
 * an agent: the local one over its unix socket first, else over HTTP. Commands
 * and flags are rows of one table (cli_commands.c), which parsing, help,
 * completion and the manual page share.
 */
#ifndef VECHE_CLI_CLI_H
#define VECHE_CLI_CLI_H

#include <jansson.h>

#include "base/err.h"
#include "base/kv.h"
#include "base/str.h"
#include "conf/conf.h"
#include "veche/exitcode.h"

enum cli_format {
    CLI_PRETTY,
    CLI_JSON,
    CLI_YAML,
    CLI_TSV,
};

struct cli_config { /* What vechectl needs of a configuration (cli_config.c). */
    json_t *tree;   /* As read; NULL = there is none. */
    char path[1024];
    char scope[128], name[128], namespace[256];
    char sockets[4][512]; /* Unix sockets of the agents of this machine that may be meant. */
    size_t n_sockets;
    char own[300];           /* restapi.connect_address or listen; "" = none. */
    struct kv_list partners; /* host:port of raft.partner_addrs, as keys. */
    bool https;
    bool insecure;
    char cacert[512], certfile[512], keyfile[512], keyfile_password[256];
    char username[128], password[256];
};

struct cli {                 /* One call of vechectl: what its flags say. */
    const char *config_path; /* -c; then where it was found; NULL = none. */
    const char *url;         /* -d, --url; NULL = not given. */
    bool insecure;
    const struct cli_command *command;
    enum cli_format format;
    bool format_given;
    bool force, wait;
    bool timestamp, extended, origin;                  /* list; show-config */
    uint64_t watch_ms;                                 /* -w; 0 = once. */
    struct kv_list settings;                           /* -s, -p: dynamic configuration. */
    const char *apply, *replace;                       /* edit-config: files, "-" = stdin. */
    bool quiet;                                        /* edit-config: no difference shown. */
    const char *leader, *candidate, *dead, *scheduled; /* switchover, failover */
    const char *role, *member;
    bool any, pending, rolling, from_leader;                      /* restart, reinit */
    const char *pg_version, *timeout;                             /* restart */
    const char *sql, *sql_file, *database, *username, *delimiter; /* query */
    bool password;
    bool keys_only; /* store */
    bool check_store, check_postgres, check_agent, check_cluster, check_proxy, check_full;
    const char *root, *haproxy; /* check: where the files of the system are. */
    const char *partners;       /* migrate */
    struct cli_config config;
    bool show_phases;  /* With it, the states of the members. */
    const char *doing; /* Told while a request takes longer than a second; NULL = nothing. */
};

/* ---- cli_commands.c: the table ---- */

enum cli_flag_kind {
    CLI_SWITCH,      /* bool */
    CLI_TEXT,        /* const char * */
    CLI_FORMAT_NAME, /* format */
    CLI_WATCH,       /* watch_ms */
    CLI_WATCH_TWO,   /* -W: every two seconds. */
    CLI_SETTING,     /* settings */
    CLI_PARAMETER,   /* settings, below postgresql.parameters */
    CLI_IGNORED,     /* Taken with its value: scripts pass it. */
    CLI_HELP,
};

struct cli_flag {
    const char *name; /* Without "--". */
    char letter;      /* 0 = none. */
    enum cli_flag_kind kind;
    const char *value; /* What stands behind it; NULL = nothing. */
    size_t offset;     /* In struct cli; by kind. */
    const char *words; /* "a|b": what completion offers; NULL = nothing, FILE = files. */
    const char *help;
};

#define CLI_COMMAND_FLAGS_MAX 16

struct cli_command {
    const char *name;
    const char *args; /* "[CLUSTER] [MEMBER...]"; "" = none. */
    int args_max;     /* -1 = any number. */
    const char *help;
    int (*run)(struct cli *c, int argc, char **argv);    /* The words behind the command. */
    const struct cli_flag *flags[CLI_COMMAND_FLAGS_MAX]; /* Up to a NULL. */
};

extern const struct cli_command cli_commands[];
extern const size_t cli_n_commands;
extern const struct cli_flag *const cli_global_flags[]; /* Up to a NULL. */

const struct cli_command *cli_find_command(const char *name);

/* ---- cli_options.c ---- */

/* Reads all words. An exit code, or -1 to go on: then c->command is set and what is
 * left of the words is *ret_argc, *ret_argv. */
int cli_parse(struct cli *c, int argc, char **argv, int *ret_argc, char ***ret_argv);

/* ---- cli_help.c, cli_completion.c ---- */

void cli_print_usage(FILE *out);
void cli_print_help(const struct cli_command *command, FILE *out);
int cli_completion(struct cli *c, int argc, char **argv);

/* ---- cli_config.c ---- */

/* Finds and reads the configuration. -1 to go on, or an exit code with the reason printed. */
int cli_config_read(struct cli *c);
void cli_config_deinit(struct cli_config *config);
/* Text at "a.b" of the tree, numbers as text; "" = none. Into `text`. */
const char *cli_config_text(const struct cli_config *config, const char *path, char *text,
                            size_t size);

/* ---- Commands, by file. Each returns a code of veche/exitcode.h. ---- */

int cli_list(struct cli *c, int argc, char **argv); /* cli_list.c */
int cli_topology(struct cli *c, int argc, char **argv);
int cli_members(struct cli *c, int argc, char **argv);
int cli_switchover(struct cli *c, int argc, char **argv); /* cli_switchover.c */
int cli_failover(struct cli *c, int argc, char **argv);
int cli_history(struct cli *c, int argc, char **argv); /* cli_show.c */
int cli_migrate(struct cli *c, int argc, char **argv); /* cli_migrate.c */
int cli_show_config(struct cli *c, int argc, char **argv);
int cli_version(struct cli *c, int argc, char **argv);
int cli_dsn(struct cli *c, int argc, char **argv);
int cli_standby_cluster(struct cli *c, int argc, char **argv);
int cli_pause(struct cli *c, int argc, char **argv); /* cli_pause.c */
int cli_resume(struct cli *c, int argc, char **argv);
int cli_edit_config(struct cli *c, int argc, char **argv); /* cli_edit_config.c */
int cli_reload(struct cli *c, int argc, char **argv);      /* cli_restart.c */
int cli_restart_members(struct cli *c, int argc, char **argv);
int cli_flush(struct cli *c, int argc, char **argv);
int cli_reinit(struct cli *c, int argc, char **argv); /* cli_reinit.c */
int cli_remove(struct cli *c, int argc, char **argv); /* cli_remove.c */
int cli_query(struct cli *c, int argc, char **argv);  /* cli_query.c */
int cli_store(struct cli *c, int argc, char **argv);  /* cli_store.c */
int cli_check(struct cli *c, int argc, char **argv);  /* cli_check.c */

/* ---- cli_http.c ---- */

struct cli_reply {
    long code; /* HTTP status; 0 = nobody answered. */
    struct strbuf body;
    char relayed[128]; /* Member on whose behalf it was answered; "" = nobody's. */
    char etag[128];    /* "" = none. */
    bool of_events;    /* A stream is read until something in the cluster has changed. */
    bool sent;         /* It was to change something and went out, but no answer came back. */
    char tried[1024];  /* Where, and why it failed; for the error message. */
};

/* Asks whoever answers first. body NULL: none. False when nobody did. */
bool cli_request(const struct cli *c, const char *method, const char *path, const char *body,
                 struct cli_reply *reply);
/* The same, for the version that an ETag of an earlier answer names: 412 if it is another. */
bool cli_request_if(const struct cli *c, const char *method, const char *path, const char *body,
                    const char *etag, struct cli_reply *reply);
/* Asks one member: itself over the socket, the agent here on its behalf, its own REST. */
bool cli_member_request(const struct cli *c, const json_t *member, const char *method,
                        const char *path, const char *body, struct cli_reply *reply);
void cli_reply_deinit(struct cli_reply *reply);
const char *cli_reply_text(const struct cli_reply *reply); /* Never NULL. */
const char *cli_no_reply(const struct cli_reply *reply);   /* What it means that code is 0. */
/* Until something in the cluster has changed, or so long. */
void cli_wait_for_change(const struct cli *c, uint64_t ms);
/* The exit code that a status of REST stands for. */
int cli_exit_code(long status);
/* GET and parse; NULL with the reason printed, *ret_code what to exit with. */
json_t *cli_get_json(const struct cli *c, const char *path, int *ret_code);
/* The same without a word about what fails. */
json_t *cli_member_json(const struct cli *c, const json_t *member, const char *path);

/* ---- cli_cluster.c: the body of GET /cluster ---- */

/* The text of a key, "" without one. */
const char *cli_text(const json_t *object, const char *key);
const char *cli_leader_name(const json_t *cluster); /* NULL = none. */
const json_t *cli_find_member(const json_t *cluster, const char *name);
bool cli_is_witness(const json_t *member);
bool cli_has_role(const json_t *member, const char *role);
bool cli_is_role(const char *role); /* Known at all. */
/* Every name must be a member's: a typing error must not act on the others, nor show nobody. */
bool cli_are_members(const json_t *cluster, int argc, char **argv);
/* GET /cluster; the cluster's name is taken from the words if it stands first. NULL with the
 * reason printed. */
json_t *cli_get_cluster(const struct cli *c, int *argc, char ***argv, int *ret_code);
/* For commands of the cluster as a whole: any other word is an error. */
json_t *cli_get_whole_cluster(const struct cli *c, int argc, char **argv, int *ret_code);
/* Members by name and by -r, as an array to decref. NULL
 * with the reason printed. */
json_t *cli_select(const struct cli *c, const json_t *cluster, int argc, char **argv,
                   int *ret_code);

/* The members of an action such as "restart": as cli_select, those with PostgreSQL (but for
 * "reload"), as --pending and --any say; the cluster is shown. NULL with the reason printed. */
json_t *cli_choose(struct cli *c, const json_t *cluster, const char *action, int argc, char **argv,
                   int *ret_code);
/* Unless --force: asks. At `at`, "" = now. */
bool cli_confirm_members(const struct cli *c, const json_t *members, const char *action,
                         const char *at);

/* ---- cli_restart.c, cli_rolling.c ---- */

struct cli_restart {  /* What is sent along. */
    char at[64];      /* "" = now. */
    char version[32]; /* Only below it; "" = any. */
};

/* One request to one member; tells how it ended. */
int cli_restart_one(struct cli *c, const json_t *member, const struct cli_restart *r);
/* Takes members out of the array that need none. */
int cli_rolling(struct cli *c, const json_t *cluster, json_t *members,
                const struct cli_restart *restart);
/* Whether a value that waits for a restart shrinks, of those that a standby needs as high. */
bool cli_is_primary_first(const json_t *cluster);

/* ---- cli_ask.c: prompts, colours ---- */

#define CLI_ANSWER_SIZE 256

/* "question [preset]: "; an empty line takes the preset. False at the end of the input. */
bool cli_ask(const char *question, const char *preset, char answer[CLI_ANSWER_SIZE]);
bool cli_confirm(const char *format, ...) PRINTF_LIKE(1, 2); /* "... [y/N]: " */
/* "Error: ..." on stderr. */
void cli_error(const char *format, ...) PRINTF_LIKE(1, 2);
int cli_unreachable(const struct cli_reply *reply);      /* Says so; the exit code. */
bool cli_is_terminal(FILE *out);                         /* One that knows more than lines. */
const char *cli_colour(FILE *out, const char *sequence); /* "" unless `out` is a terminal. */

#define CLI_RED   "\033[31m"
#define CLI_GREEN "\033[32m"
#define CLI_BOLD  "\033[1m"
#define CLI_RESET "\033[0m"

/* ---- cli_time.c ---- */

/* "now", or a time of ISO 8601; without a zone it is local. Into `text` with its zone, "" for
 * now. False with the reason printed. */
MUST_USE bool cli_parse_time(const char *when, char *text, size_t size);

#define CLI_TIME_SIZE 64

/* Now and here, as patronictl prints it: "2026-08-01 12:00:00", with up to six digits more. */
const char *cli_timestamp(int digits, char *text, size_t size);

/* ---- cli_pause.c ---- */

/* Asks for its name once more, and tells the cluster that this unfenced primary is dead. */
int cli_declare_dead(const struct cli *c, const char *name);

/* ---- cli_table.c ---- */

#define CLI_COLUMNS_MAX 64

struct cli_table {
    const char *title; /* Over the top line; NULL = none. */
    size_t n_columns;
    const char *columns[CLI_COLUMNS_MAX]; /* Headings of the table. */
    const char *keys[CLI_COLUMNS_MAX];    /* Names in json, yaml and tsv. */
    bool right[CLI_COLUMNS_MAX];          /* Aligned to the right. */
    const char *delimiter;                /* Of tsv; NULL = a tab. */
    bool keeps_empty;                     /* Every row has all keys, also in json and yaml. */
    json_t *rows;                         /* Array of arrays of values; owned. */
};

/* Strings (several lines are fine), integers, or null for nothing; objects are flow YAML. */
void cli_table_print(const struct cli_table *t, enum cli_format format, FILE *out);
void cli_table_deinit(struct cli_table *t);

/* ---- cli_yaml.c ---- */

/* For json_dumps: 0.9 as the agents write it, without the digits that only binary has. */
#define CLI_REAL_DIGITS JSON_REAL_PRECISION(15)

/* Block style, as Patroni's users read it. */
void cli_yaml_print(const json_t *value, FILE *out);
char *cli_yaml_text(const json_t *value); /* The same, to free. */
/* The same with its keys in order; takes the reference, NULL for NULL. */
json_t *cli_sorted(json_t *value);
/* "{a: 1, b: x}" on one line. */
void cli_yaml_print_flow(const json_t *value, FILE *out);

/* ---- cli_diff.c ---- */

/* As diff -u prints it. False if they are the same; out NULL only asks. */
bool cli_print_difference(const char *old, const char *new, FILE *out);

/* ---- cli_run.c ---- */

/* Runs a program to its end; what it writes, to free, if ret_output is given. Its exit code,
 * -1 without one. */
int cli_run(char *const argv[], char **ret_output);

/* ---- cli_list.c ---- */

int cli_print_topology(struct cli *c, const json_t *cluster);
int cli_print_list(struct cli *c, const json_t *cluster);

/* ---- cli_migrate.c ---- */

struct conf_migration;
/* The file, with what was done as comments at its top. */
void cli_print_migration(const struct conf_migration *m, const char *path, FILE *out);

#endif
