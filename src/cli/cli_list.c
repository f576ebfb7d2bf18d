/*
 * list, topology, members: GET /cluster as a table.
 */
#include <ctype.h>
#include <limits.h>
#include <poll.h>

#include "base/clock.h"
#include "cli/cli.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

const char *cli_leader_name(const json_t *cluster)
{
    size_t i;
    json_t *member;

    json_array_foreach(json_object_get(cluster, "members"), i, member)
    {
        if (str_equal(text_of(member, "role"), "leader")) {
            return text_of(member, "name");
        }
    }
    return NULL;
}

/* "sync_standby" -> "Sync Standby" */
static json_t *role_cell(const json_t *member)
{
    char text[64];
    bool start = true;

    (void)str_copy(text, sizeof(text), text_of(member, "role")); /* Roles are short. */
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
                str_equal(text_of(a, "host"), text_of(b, "host"))) {
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
    return with_port ? json_sprintf("%s:%lld", text_of(member, "host"),
                                    (long long)json_integer_value(port))
                     : json_string(text_of(member, "host"));
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

static json_t *tags_cell(const json_t *member)
{
    json_t *tags = json_object_get(member, "tags");
    char *text = tags != NULL ? json_dumps(tags, 0) : NULL;
    json_t *cell = json_string(text != NULL ? text : "");

    free(text);
    return cell;
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
    if (c->extended || any_has(members, "pending_restart")) {
        add_column(t, "Pending restart", "Pending restart", false);
    }
    if (c->extended || any_has(members, "tags")) {
        add_column(t, "Tags", "Tags", false);
    }
}

struct layout { /* What is the same for all rows. */
    const struct cli *cli;
    const json_t *cluster;
    const json_t *members;
    bool with_port;
    bool tree;
};

static json_t *name_cell(const struct layout *l, const json_t *member)
{
    bool leader = str_equal(text_of(member, "role"), "leader");

    if (!l->tree) {
        return json_string(text_of(member, "name"));
    }
    return json_sprintf("%s%s", leader ? "" : "+ ", text_of(member, "name"));
}

static json_t *row_of(const struct layout *l, const json_t *member)
{
    json_t *row = json_array();

    if (l->cli->format != CLI_PRETTY) {
        json_array_append_new(row, json_string(text_of(l->cluster, "scope")));
    }
    json_array_append_new(row, name_cell(l, member));
    json_array_append_new(row, host_cell(member, l->with_port));
    json_array_append_new(row, role_cell(member));
    json_array_append_new(row, json_string(text_of(member, "state")));
    json_array_append_new(row, copy_cell(member, "timeline"));
    json_array_append_new(row, copy_cell(member, "receive_lsn"));
    json_array_append_new(row, lag_cell(member, "receive_lag"));
    json_array_append_new(row, copy_cell(member, "replay_lsn"));
    json_array_append_new(row, lag_cell(member, "replay_lag"));
    if (l->cli->extended || any_has(l->members, "pending_restart")) {
        json_array_append_new(
            row, json_string(json_object_get(member, "pending_restart") != NULL ? "*" : ""));
    }
    if (l->cli->extended || any_has(l->members, "tags")) {
        json_array_append_new(row, tags_cell(member));
    }
    return row;
}

static bool is_wanted(const json_t *member, int n_names, char **names)
{
    for (int i = 0; i < n_names; i++) {
        if (str_equal(names[i], text_of(member, "name"))) {
            return true;
        }
    }
    return n_names == 0;
}

static void fill_rows(struct cli_table *t, const struct layout *l, int n_names, char **names)
{
    size_t i;
    json_t *member;

    for (int pass = l->tree ? 0 : 1; pass < 2; pass++) {
        json_array_foreach(l->members, i, member)
        {
            bool leader = str_equal(text_of(member, "role"), "leader");

            if (is_wanted(member, n_names, names) && (!l->tree || leader == (pass == 0))) {
                json_array_append_new(t->rows, row_of(l, member));
            }
        }
    }
}

static const char *id_of(const json_t *cluster)
{
    const json_t *veche = json_object_get(cluster, "veche");
    const char *id = text_of(veche, "system_identifier");

    if (id[0] != '\0') {
        return id;
    }
    return str_equal(text_of(veche, "init"), "running") ? "initializing" : "uninitialized";
}

static void print_notes(const json_t *cluster)
{
    const json_t *scheduled = json_object_get(cluster, "scheduled_switchover");

    if (json_is_true(json_object_get(cluster, "pause"))) {
        puts(" Maintenance mode: on");
    }
    if (scheduled != NULL) {
        printf(" Switchover scheduled at: %s\n                    from: %s\n",
               text_of(scheduled, "at"), text_of(scheduled, "from"));
        if (text_of(scheduled, "to")[0] != '\0') {
            printf("                      to: %s\n", text_of(scheduled, "to"));
        }
    }
}

static void print_time(void)
{
    char text[CLOCK_TEXT_SIZE];

    puts(clock_format_iso(clock_wall_us(), text, sizeof(text)));
}

static int print_cluster(struct cli *c, const json_t *cluster, bool tree, int n_names, char **names)
{
    const json_t *members = json_object_get(cluster, "members");
    char title[256];
    struct cli_table t = {.title = title, .rows = json_array()};
    struct layout l = {c, cluster, members, shows_ports(members), tree};

    (void)snprintf(title, sizeof(title), " Cluster: %s (%s) ", text_of(cluster, "scope"),
                   id_of(cluster));
    if (c->timestamp && c->format == CLI_PRETTY) {
        print_time();
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
    json_t *cluster = cli_get_json(c, "/cluster", &code);

    /* Patroni's list takes the cluster's name as its argument. */
    if (cluster != NULL && argc > 0 && str_equal(argv[0], text_of(cluster, "scope"))) {
        argc--;
        argv++;
    }
    if (cluster != NULL) {
        code = print_cluster(c, cluster, tree, argc, argv);
    }
    json_decref(cluster);
    return code;
}

static int watch(struct cli *c, bool tree, int argc, char **argv)
{
    int code = get_and_print(c, tree, argc, argv);

    while (c->watch_ms > 0) {
        fflush(stdout);
        (void)poll(NULL, 0, (int)MIN(c->watch_ms, INT_MAX)); /* Ends early on a signal. */
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

int cli_members(struct cli *c, int argc, char **argv)
{
    struct cli_table t = {.rows = json_array()};
    int code;
    json_t *cluster = cli_get_json(c, "/cluster", &code);
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

            json_array_append_new(row, json_string(text_of(member, "name")));
            json_array_append_new(row, role_cell(member));
            json_array_append_new(row, json_string(text_of(member, "state")));
            json_array_append_new(row, host_cell(member, true));
            json_array_append_new(row, json_string(text_of(member, "api_url")));
            json_array_append_new(t.rows, row);
        }
    }
    if (cluster != NULL) {
        cli_table_print(&t, c->format, stdout);
    }
    cli_table_deinit(&t);
    json_decref(cluster);
    return code;
}
