/*
 * list, topology, members: GET /cluster as a table.
 */
#include <ctype.h>

#include "cli/cli.h"

#define REASON_LENGTH 50
#define DEPTH_MAX     8 /* Of a tree of standbys. */

/* "sync_standby" -> "Sync Standby" */
static json_t *role_cell(const json_t *member)
{
    char text[64];
    bool start = true;

    (void)str_copy(text, sizeof(text), cli_text(member, "role")); /* Roles are short. */
    for (char *p = text; *p != '\0'; p++) {
        if (*p == '_') {
            *p = ' ';
        }
        *p = start ? (char)toupper((unsigned char)*p) : *p;
        start = *p == ' ';
    }
    return json_string(text);
}

/* The port is shown only if ports differ from 5432 or hosts repeat. */
static bool shows_ports(const json_t *members)
{
    size_t i;
    size_t k;
    json_t *a;
    json_t *b;

    json_array_foreach(members, i, a)
    {
        json_t *port = json_object_get(a, "port");

        if (port != NULL && json_integer_value(port) != 5432) {
            return true;
        }
        json_array_foreach(members, k, b)
        {
            if (k > i && port != NULL && json_object_get(b, "port") != NULL &&
                str_equal(cli_text(a, "host"), cli_text(b, "host"))) {
                return true;
            }
        }
    }
    return false;
}

static json_t *host_cell(const json_t *member, bool with_port)
{
    json_t *port = json_object_get(member, "port");

    if (port == NULL) {
        return json_string("");
    }
    return with_port ? json_sprintf("%s:%lld", cli_text(member, "host"),
                                    (long long)json_integer_value(port))
                     : json_string(cli_text(member, "host"));
}

/* Bytes as megabytes, rounded; nothing when unknown. */
static json_t *lag_cell(const json_t *member, const char *key)
{
    json_t *lag = json_object_get(member, key);

    if (!json_is_integer(lag)) {
        return json_null();
    }
    return json_integer((json_integer_value(lag) + 524288) / 1048576);
}

static json_t *copy_cell(const json_t *member, const char *key)
{
    json_t *value = json_object_get(member, key);

    return value != NULL ? json_incref(value) : json_null();
}

/* "max_connections: 100->101", one a line. A long one would push the table off the screen. */
static json_t *reasons_cell(const struct cli *c, const json_t *member)
{
    json_t *reasons = json_object_get(member, "pending_restart_reason");
    struct strbuf text = {0};
    const char *name;
    json_t *reason;
    json_t *cell;

    json_object_foreach(reasons, name, reason)
    {
        struct strbuf entry = {0};

        strbuf_printf(&entry, "%s: %s->%s", name, cli_text(reason, "old_value"),
                      cli_text(reason, "new_value"));
        if (c->format == CLI_PRETTY && entry.length > REASON_LENGTH) {
            strbuf_printf(&text, "%s%s: [hidden - too long]", text.length > 0 ? "\n" : "", name);
        } else {
            strbuf_printf(&text, "%s%s", text.length > 0 ? "\n" : "", entry.data);
        }
        strbuf_deinit(&entry);
    }
    cell = json_string(text.data != NULL ? text.data : "");
    strbuf_deinit(&text);
    return cell;
}

static json_t *schedule_cell(const json_t *member)
{
    const json_t *restart = json_object_get(member, "scheduled_restart");
    const char *version = cli_text(restart, "postgres_version");

    return json_sprintf("%s%s%s", cli_text(restart, "schedule"),
                        version[0] != '\0' ? " if version < " : "", version);
}

static bool any_has(const json_t *members, const char *key)
{
    size_t i;
    json_t *member;

    json_array_foreach(members, i, member)
    {
        if (json_object_get(member, key) != NULL) {
            return true;
        }
    }
    return false;
}

static const struct {
    const char *heading, *key;
} optional[] = {{"Pending restart", "pending_restart"}, /* Shown if some member has it. */
                {"Pending restart reason", "pending_restart_reason"},
                {"Scheduled restart", "scheduled_restart"},
                {"Tags", "tags"}};

static void add_column(struct cli_table *t, const char *heading, const char *key, bool right)
{
    PRE(t->n_columns < CLI_COLUMNS_MAX);
    t->columns[t->n_columns] = heading;
    t->keys[t->n_columns] = key;
    t->right[t->n_columns] = right;
    t->n_columns++;
}

static void add_columns(struct cli_table *t, const struct cli *c, const json_t *members)
{
    if (c->format != CLI_PRETTY) {
        add_column(t, "Cluster", "Cluster", false);
    }
    add_column(t, "Member", "Member", false);
    add_column(t, "Host", "Host", false);
    add_column(t, "Role", "Role", false);
    add_column(t, "State", "State", false);
    add_column(t, "TL", "TL", true);
    add_column(t, "Receive LSN", "Receive LSN", true);
    add_column(t, "Lag", "Receive Lag", true);
    add_column(t, "Replay LSN", "Replay LSN", true);
    add_column(t, "Lag", "Replay Lag", true);
    for (size_t i = 0; i < ARRAY_LENGTH(optional); i++) {
        if (c->extended || any_has(members, optional[i].key)) {
            add_column(t, optional[i].heading, optional[i].heading, false);
        }
    }
}

static json_t *optional_cell(const struct cli *c, const json_t *member, const char *key)
{
    if (str_equal(key, "pending_restart")) {
        return json_string(json_is_true(json_object_get(member, key)) ? "*" : "");
    }
    if (str_equal(key, "pending_restart_reason")) {
        return reasons_cell(c, member);
    }
    return str_equal(key, "scheduled_restart") ? schedule_cell(member) : copy_cell(member, key);
}

struct layout { /* What is the same for all rows. */
    const struct cli *cli;
    const json_t *cluster;
    const json_t *members;
    bool with_port;
    bool tree;
};

/* Below the primary by two more columns each: "+ pg2". */
static json_t *name_cell(const struct layout *l, const json_t *member, int depth)
{
    if (!l->tree || depth == 0) {
        return json_string(cli_text(member, "name"));
    }
    return json_sprintf("%*s+ %s", (depth - 1) * 2, "", cli_text(member, "name"));
}

static json_t *row_of(const struct layout *l, const json_t *member, int depth)
{
    json_t *row = json_array();

    if (l->cli->format != CLI_PRETTY) {
        json_array_append_new(row, json_string(cli_text(l->cluster, "scope")));
    }
    json_array_append_new(row, name_cell(l, member, depth));
    json_array_append_new(row, host_cell(member, l->with_port));
    json_array_append_new(row, role_cell(member));
    json_array_append_new(row, json_string(cli_text(member, "state")));
    json_array_append_new(row, copy_cell(member, "timeline"));
    json_array_append_new(row, copy_cell(member, "receive_lsn"));
    json_array_append_new(row, lag_cell(member, "receive_lag"));
    json_array_append_new(row, copy_cell(member, "replay_lsn"));
    json_array_append_new(row, lag_cell(member, "replay_lag"));
    for (size_t i = 0; i < ARRAY_LENGTH(optional); i++) {
        if (l->cli->extended || any_has(l->members, optional[i].key)) {
            json_array_append_new(row, optional_cell(l->cli, member, optional[i].key));
        }
    }
    return row;
}

static bool is_wanted(const json_t *member, int n_names, char **names)
{
    for (int i = 0; i < n_names; i++) {
        if (str_equal(names[i], cli_text(member, "name"))) {
            return true;
        }
    }
    return n_names == 0;
}

/* Whom it streams from: the member that a tag names, else the primary; "" = nobody. */
static const char *source_of(const struct layout *l, const json_t *member)
{
    const char *from = cli_text(json_object_get(member, "tags"), "replicatefrom");
    const char *leader = cli_leader_name(l->cluster);

    leader = leader != NULL ? leader : "";
    if (str_equal(cli_text(member, "name"), leader)) {
        return "";
    }
    return from[0] != '\0' && !str_equal(from, cli_text(member, "name")) &&
                   cli_find_member(l->cluster, from) != NULL
               ? from
               : leader;
}

struct fill { /* Rows of a table as they come. */
    struct cli_table *table;
    const struct layout *layout;
    int n_names;
    char **names;
    bool done[256]; /* By the member's place. */
};

static void fill_one(struct fill *f, size_t place, const json_t *member, int depth)
{
    if (place < ARRAY_LENGTH(f->done)) {
        f->done[place] = true;
    }
    if (is_wanted(member, f->n_names, f->names)) {
        json_array_append_new(f->table->rows, row_of(f->layout, member, depth));
    }
}

static void fill_tree(struct fill *f, const char *source, int depth)
{
    size_t i;
    json_t *member;

    json_array_foreach(f->layout->members, i, member)
    {
        if (i < ARRAY_LENGTH(f->done) && !f->done[i] && depth < DEPTH_MAX &&
            str_equal(source_of(f->layout, member), source)) {
            fill_one(f, i, member, depth);
            fill_tree(f, cli_text(member, "name"), depth + 1);
        }
    }
}

static void fill_rows(struct cli_table *t, const struct layout *l, int n_names, char **names)
{
    struct fill f = {.table = t, .layout = l, .n_names = n_names, .names = names};
    size_t i;
    json_t *member;

    if (l->tree) {
        fill_tree(&f, "", 0);
    }
    json_array_foreach(l->members, i, member) /* All, or those that name each other. */
    {
        if (i >= ARRAY_LENGTH(f.done) || !f.done[i]) {
            fill_one(&f, i, member, 0);
        }
    }
}

static const char *id_of(const json_t *cluster)
{
    const json_t *veche = json_object_get(cluster, "veche");
    const char *id = cli_text(veche, "system_identifier");

    if (id[0] != '\0') {
        return id;
    }
    return str_equal(cli_text(veche, "init"), "running") ? "initializing" : "uninitialized";
}

static void print_notes(const json_t *cluster)
{
    const json_t *scheduled = json_object_get(cluster, "scheduled_switchover");

    if (json_is_true(json_object_get(cluster, "pause"))) {
        puts(" Maintenance mode: on");
    }
    if (scheduled != NULL) {
        printf(" Switchover scheduled at: %s\n                    from: %s\n",
               cli_text(scheduled, "at"), cli_text(scheduled, "from"));
        if (cli_text(scheduled, "to")[0] != '\0') {
            printf("                      to: %s\n", cli_text(scheduled, "to"));
        }
    }
}

static int print_cluster(struct cli *c, const json_t *cluster, bool tree, int n_names, char **names)
{
    const json_t *members = json_object_get(cluster, "members");
    char title[256];
    char time[CLI_TIME_SIZE];
    struct cli_table t = {.title = title, .rows = json_array()};
    struct layout l = {c, cluster, members, shows_ports(members), tree};

    (void)snprintf(title, sizeof(title), " Cluster: %s (%s) ", cli_text(cluster, "scope"),
                   id_of(cluster));
    if (c->timestamp && c->format == CLI_PRETTY) {
        puts(cli_timestamp(0, time, sizeof(time)));
    }
    add_columns(&t, c, members);
    fill_rows(&t, &l, n_names, names);
    cli_table_print(&t, c->format, stdout);
    cli_table_deinit(&t);
    if (c->format == CLI_PRETTY) {
        print_notes(cluster);
    }
    return VECHE_EXIT_OK;
}

static int get_and_print(struct cli *c, bool tree, int argc, char **argv)
{
    int code;
    json_t *cluster = cli_get_cluster(c, &argc, &argv, &code);

    if (cluster != NULL) {
        code = cli_are_members(cluster, argc, argv) ? print_cluster(c, cluster, tree, argc, argv)
                                                    : VECHE_EXIT_USAGE;
    }
    json_decref(cluster);
    return code;
}

static int watch(struct cli *c, bool tree, int argc, char **argv)
{
    int code = get_and_print(c, tree, argc, argv);

    while (c->watch_ms > 0 && fflush(stdout) == 0) { /* Else nobody reads on. */
        cli_wait_for_change(c, c->watch_ms);
        fputs(cli_is_terminal(stdout) ? "\033[H\033[2J" : "", stdout); /* In the same place. */
        code = get_and_print(c, tree, argc, argv);
    }
    return code;
}

int cli_list(struct cli *c, int argc, char **argv)
{
    return watch(c, false, argc, argv);
}

int cli_topology(struct cli *c, int argc, char **argv)
{
    return watch(c, true, argc, argv);
}

int cli_print_topology(struct cli *c, const json_t *cluster)
{
    return print_cluster(c, cluster, true, 0, NULL);
}

int cli_print_list(struct cli *c, const json_t *cluster)
{
    return print_cluster(c, cluster, false, 0, NULL);
}

int cli_members(struct cli *c, int argc, char **argv)
{
    struct cli_table t = {.rows = json_array()};
    int code;
    json_t *cluster = cli_get_cluster(c, &argc, &argv, &code);
    size_t i;
    json_t *member;

    add_column(&t, "Member", "Member", false);
    add_column(&t, "Role", "Role", false);
    add_column(&t, "State", "State", false);
    add_column(&t, "Host", "Host", false);
    add_column(&t, "API URL", "API URL", false);
    json_array_foreach(json_object_get(cluster, "members"), i, member)
    {
        if (is_wanted(member, argc, argv)) {
            json_t *row = json_array();

            json_array_append_new(row, json_string(cli_text(member, "name")));
            json_array_append_new(row, role_cell(member));
            json_array_append_new(row, json_string(cli_text(member, "state")));
            json_array_append_new(row, host_cell(member, true));
            json_array_append_new(row, json_string(cli_text(member, "api_url")));
            json_array_append_new(t.rows, row);
        }
    }
    if (cluster != NULL && cli_are_members(cluster, argc, argv)) {
        cli_table_print(&t, c->format, stdout);
    } else if (cluster != NULL) {
        code = VECHE_EXIT_USAGE;
    }
    cli_table_deinit(&t);
    json_decref(cluster);
    return code;
}
