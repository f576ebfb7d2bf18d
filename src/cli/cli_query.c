/*
 * query: SQL on a member, by psql of the configuration's bin_dir or of the PATH. psql knows
 * how to connect and how to read a script; vechectl needs no library of PostgreSQL's for it
 * (docs/decisions/0013). Its CSV is read back, so that all formats are those of the tables.
 */
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "cli/cli.h"

/* ---- CSV ---- */

/* One field to free, *at behind it; *ret_last: it ends its line. */
static char *read_field(const char **at, bool *ret_last)
{
    const char *p = *at;
    struct strbuf field = {0};
    bool quoted = *p == '"';

    strbuf_add_text(&field, "");
    p += quoted;
    while (*p != '\0' && (quoted || (*p != ',' && *p != '\n'))) {
        if (quoted && *p == '"' && p[1] != '"') {
            quoted = false;
            p++;
            continue;
        }
        p += quoted && *p == '"'; /* Doubled. */
        strbuf_add(&field, p++, 1);
    }
    *ret_last = *p != ',';
    *at = *p != '\0' ? p + 1 : p;
    return field.data;
}

static json_t *read_row(const char **at)
{
    json_t *row = json_array();
    bool last = false;

    while (!last) {
        char *field = read_field(at, &last);

        json_array_append_new(row, json_string(field));
        free(field);
    }
    return row;
}

/* The first line has the columns' names; `heads` owns them. */
static int print_csv(const struct cli *c, const char *csv)
{
    struct cli_table t = {.rows = json_array(), .delimiter = c->delimiter, .keeps_empty = true};
    const char *at = csv;
    json_t *heads = csv[0] != '\0' ? read_row(&at) : json_array();
    int code = VECHE_EXIT_OK;

    if (json_array_size(heads) > CLI_COLUMNS_MAX) {
        cli_error("more than %d columns", CLI_COLUMNS_MAX);
        code = VECHE_EXIT_FAILED;
    } else if (json_array_size(heads) > 0) {
        for (size_t i = 0; i < json_array_size(heads); i++) {
            const char *head = json_string_value(json_array_get(heads, i));

            t.columns[t.n_columns] = head != NULL ? head : "";
            t.keys[t.n_columns++] = head != NULL ? head : "";
        }
        while (*at != '\0') {
            json_array_append_new(t.rows, read_row(&at));
        }
        cli_table_print(&t, c->format_given ? c->format : CLI_TSV, stdout);
    }
    cli_table_deinit(&t);
    json_decref(heads);
    return code;
}

/* ---- psql ---- */

static void add_word(struct strbuf *dsn, const char *key, const char *value)
{
    strbuf_printf(dsn, "%s%s='", dsn->length > 0 ? " " : "", key);
    for (; *value != '\0'; value++) {
        strbuf_printf(dsn, "%s%c", *value == '\'' || *value == '\\' ? "\\" : "", *value);
    }
    strbuf_add_text(dsn, "'");
}

static char *dsn_of(const struct cli *c, const json_t *member)
{
    struct strbuf dsn = {0};
    char port[24];

    (void)snprintf(port, sizeof(port), "%lld",
                   (long long)json_integer_value(json_object_get(member, "port")));
    add_word(&dsn, "host", cli_text(member, "host"));
    add_word(&dsn, "port", port);
    if (c->database != NULL) {
        add_word(&dsn, "dbname", c->database);
    }
    if (c->username != NULL) {
        add_word(&dsn, "user", c->username);
    }
    add_word(&dsn, "application_name", "vechectl");
    add_word(&dsn, "connect_timeout", "5");
    return dsn.data;
}

/* Where the configuration has PostgreSQL's programs, else by PATH. */
static void find_psql(const struct cli *c, char *path, size_t size)
{
    char dir[400];

    if (cli_config_text(&c->config, "postgresql.bin_dir", dir, sizeof(dir))[0] != '\0') {
        (void)snprintf(path, size, "%s/psql", dir);
        if (access(path, X_OK) == 0) {
            return;
        }
    }
    (void)str_copy(path, size, "psql"); /* Fits. */
}

static int run_once(const struct cli *c, const json_t *member)
{
    char psql[512];
    char *dsn = dsn_of(c, member);
    char *output = NULL;
    char *argv[] = {psql,
                    "-X",
                    "-q",
                    "-w", /* --password has asked. */
                    "--csv",
                    "-v",
                    "ON_ERROR_STOP=1",
                    "-d",
                    dsn,
                    c->sql != NULL ? "-c" : "-f",
                    (char *)(c->sql != NULL ? c->sql : c->sql_file),
                    NULL};
    int status;
    int code = VECHE_EXIT_FAILED;

    find_psql(c, psql, sizeof(psql));
    status = cli_run(argv, &output);
    if (status == 0) {
        code = print_csv(c, output);
    } else if (status == 127) {
        cli_error("psql is not installed, or not in PATH");
    } else if (status == 2) {
        code = VECHE_EXIT_UNREACHABLE; /* psql has said why. */
    }
    free(output);
    free(dsn);
    return code;
}

static bool ask_password(void)
{
    char *password = getpass("Password: ");

    return password != NULL && setenv("PGPASSWORD", password, 1) == 0;
}

/* ---- Which member ---- */

static json_t *find_member(struct cli *c, int *ret_code)
{
    char *names[] = {(char *)c->member};
    json_t *cluster = cli_get_json(c, "/cluster", ret_code);
    json_t *members;
    json_t *member = NULL;

    if (cluster == NULL) {
        return NULL;
    }
    if (c->role == NULL && c->member == NULL) {
        c->role = "leader";
    }
    members = cli_select(c, cluster, c->member != NULL, names, ret_code);
    member = json_incref(json_array_get(members, 0));
    if (member != NULL && json_object_get(member, "port") == NULL) {
        cli_error("%s has no PostgreSQL", cli_text(member, "name"));
        *ret_code = VECHE_EXIT_REFUSED;
        json_decref(member);
        member = NULL;
    }
    json_decref(members);
    json_decref(cluster);
    return member;
}

/* The member is looked up anew each time: -w goes on where the primary is. */
static int query_once(struct cli *c)
{
    int code;
    json_t *member = find_member(c, &code);

    if (member != NULL) {
        code = run_once(c, member);
    }
    json_decref(member);
    return code;
}

static void print_time(void)
{
    char at[CLI_TIME_SIZE];

    puts(cli_timestamp(0, at, sizeof(at)));
    fflush(stdout);
}

/* -1 to go on. */
static int check_flags(const struct cli *c)
{
    if ((c->sql == NULL) == (c->sql_file == NULL)) {
        cli_error("You need to specify either --command or --file");
        return VECHE_EXIT_USAGE;
    }
    if (c->role != NULL && c->member != NULL) {
        cli_error("--role and --member exclude each other");
        return VECHE_EXIT_USAGE;
    }
    return -1;
}

int cli_query(struct cli *c, int argc, char **argv)
{
    int code = check_flags(c);
    json_t *cluster;

    if (code >= 0) {
        return code;
    }
    cluster = cli_get_whole_cluster(c, argc, argv, &code);
    if (cluster == NULL) {
        return code;
    }
    json_decref(cluster);
    if (c->password && !ask_password()) {
        return VECHE_EXIT_FAILED;
    }
    code = query_once(c);
    while (c->watch_ms > 0 && fflush(stdout) == 0) { /* Else nobody reads on. */
        if (code != VECHE_EXIT_OK) {
            print_time(); /* When it was that it did not work. */
        }
        (void)poll(NULL, 0, (int)MIN(c->watch_ms, INT_MAX)); /* Ends early on a signal. */
        code = query_once(c);
    }
    return code;
}
