/*
 * vechectl: the operator's command. It knows nothing but the REST interface of
 * an agent: the local one over its unix socket first, else over HTTP.
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

struct cli {                 /* One call of vechectl. */
    const char *config_path; /* NULL = none found. */
    const char *url;         /* --url; NULL = not given. */
    struct conf *conf;       /* NULL without a configuration. */
    enum cli_format format;
    bool force;
    bool timestamp;
    bool extended;
    const char *leader;      /* --leader; NULL = not given. */
    const char *candidate;   /* --candidate; NULL = not given. */
    const char *dead;        /* --primary-is-dead; NULL = not given. */
    bool wait;               /* --wait */
    uint64_t watch_ms;       /* -w; 0 = once. */
    struct kv_list settings; /* -s, -p: paths in the dynamic configuration. */
};

struct cli_command {
    const char *name;
    const char *help;
    int (*run)(struct cli *c, int argc, char **argv); /* The words behind the command. */
};

/* Subcommands, by file. Each returns a code of veche/exitcode.h. */
int cli_list(struct cli *c, int argc, char **argv); /* cli_list.c */
int cli_topology(struct cli *c, int argc, char **argv);
int cli_members(struct cli *c, int argc, char **argv);
int cli_switchover(struct cli *c, int argc, char **argv); /* cli_switchover.c */
int cli_failover(struct cli *c, int argc, char **argv);
int cli_history(struct cli *c, int argc, char **argv); /* cli_show.c */
int cli_show_config(struct cli *c, int argc, char **argv);
int cli_version(struct cli *c, int argc, char **argv);
int cli_pause(struct cli *c, int argc, char **argv); /* cli_pause.c */
int cli_resume(struct cli *c, int argc, char **argv);
int cli_edit_config(struct cli *c, int argc, char **argv); /* cli_edit_config.c */

/* ---- cli_http.c ---- */

struct cli_reply {
    long code; /* HTTP status; 0 = nobody answered. */
    struct strbuf body;
    char tried[1024]; /* Where, and why it failed; for the error message. */
};

/* Asks whoever answers first. body NULL: none. False when nobody did. */
bool cli_request(const struct cli *c, const char *method, const char *path, const char *body,
                 struct cli_reply *reply);
void cli_reply_deinit(struct cli_reply *reply);
/* GET and parse; NULL with the reason printed, *ret_code what to exit with. */
json_t *cli_get_json(const struct cli *c, const char *path, int *ret_code);

/* ---- cli_pause.c ---- */

/* Asks for its name once more, and tells the cluster that this unfenced primary is dead. */
int cli_declare_dead(const struct cli *c, const char *name);

/* ---- cli_table.c ---- */

#define CLI_COLUMNS_MAX 16

struct cli_table {
    const char *title; /* Over the top line; NULL = none. */
    size_t n_columns;
    const char *columns[CLI_COLUMNS_MAX]; /* Headings of the table. */
    const char *keys[CLI_COLUMNS_MAX];    /* Names in json, yaml and tsv. */
    bool right[CLI_COLUMNS_MAX];          /* Aligned to the right. */
    json_t *rows;                         /* Array of arrays of values; owned. */
};

/* Strings, integers, or null for nothing. */
void cli_table_print(const struct cli_table *t, enum cli_format format, FILE *out);
void cli_table_deinit(struct cli_table *t);

/* ---- cli_yaml.c ---- */

/* Block style, as Patroni's users read it. */
void cli_yaml_print(const json_t *value, FILE *out);

/* ---- cli_list.c ---- */

int cli_print_topology(struct cli *c, const json_t *cluster);
const char *cli_leader_name(const json_t *cluster); /* NULL = none. */

#endif
