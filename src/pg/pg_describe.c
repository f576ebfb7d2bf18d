/*
 * Three questions to a PostgreSQL that runs, see pg_describe.h.
 */
#include "pg/pg_describe.h"

#include <libpq-fe.h>
#include <limits.h>
#include <strings.h>

#include "base/str.h"
#include "pg/pg_internal.h"
#include "pg/pg_spawn.h"

#define CONNECT_SECONDS "10"

/* clang-format off */
static const char sql_facts[] =
    "select current_user, (select rolsuper from pg_roles where rolname = current_user),"
    " current_setting('data_directory'), current_setting('config_file'),"
    " current_setting('listen_addresses'), current_setting('port'),"
    " current_setting('cluster_name'), (select setting from pg_config where name = 'BINDIR')";

/* What a session or a role set for itself is nobody's configuration. */
static const char sql_parameters[] =
    "select name, current_setting(name) from pg_settings"
    " where source in ('configuration file', 'command line', 'global', 'file')"
    " and context <> 'internal' and setting is distinct from boot_val order by name";

static const char sql_files[] =
    "select pg_read_file(current_setting('hba_file')),"
    " pg_read_file(current_setting('ident_file'))";

/* Derived by the agent from other keys, or written by it. */
static const char *const ours[] = {
    "cluster_name", "config_file", "data_directory", "external_pid_file", "hba_file", "hot_standby",
    "ident_file", "listen_addresses", "port", "primary_conninfo", "primary_slot_name",
    "promote_trigger_file", "synchronous_standby_names", "trigger_file",
};

static const char *const of_recovery[] = {
    "archive_cleanup_command", "recovery_end_command", "recovery_min_apply_delay",
    "restore_command",
};
/* clang-format on */

static bool is_in(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcasecmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static PGconn *connect_to(const char *dsn, struct err *err)
{
    const char *const names[] = {"connect_timeout", "application_name", "dbname", NULL};
    const char *const values[] = {CONNECT_SECONDS, "veched --generate-config", dsn, NULL};
    PGconn *conn = PQconnectdbParams(names, values, 1);

    if (PQstatus(conn) != CONNECTION_OK) {
        const char *text = PQerrorMessage(conn);

        (void)err_set(err, "cannot connect to PostgreSQL: %.*s", (int)strcspn(text, "\n"), text);
        PQfinish(conn);
        return NULL;
    }
    return conn;
}

static PGresult *ask(PGconn *conn, const char *sql, int n_fields, struct err *err)
{
    PGresult *result = PQexec(conn, sql);

    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQnfields(result) != n_fields) {
        const char *text = PQresultErrorMessage(result);

        (void)err_set(err, "PostgreSQL refuses to tell: %.*s", (int)strcspn(text, "\n"), text);
        PQclear(result);
        return NULL;
    }
    return result;
}

static char *copy_field(const PGresult *result, int field)
{
    return xstrdup(PQgetvalue(result, 0, field));
}

static int ask_facts(PGconn *conn, struct pg_description *d, struct err *err)
{
    PGresult *result = ask(conn, sql_facts, 8, err);
    uint64_t port;
    int rv = 0;

    if (result == NULL) {
        return -1;
    }
    d->user = copy_field(result, 0);
    d->password = PQpass(conn)[0] != '\0' ? xstrdup(PQpass(conn)) : NULL;
    d->data_dir = copy_field(result, 2);
    d->config_file = copy_field(result, 3);
    d->listen_addresses = copy_field(result, 4);
    d->cluster_name = copy_field(result, 6);
    d->bin_dir = copy_field(result, 7);
    if (strcmp(PQgetvalue(result, 0, 1), "t") != 0) {
        rv = err_set(err, "the role \"%s\" is no superuser, expected one", d->user);
    } else if (!str_to_u64(PQgetvalue(result, 0, 5), 1, UINT16_MAX, &port)) {
        rv = err_set(err, "the port is \"%s\"", PQgetvalue(result, 0, 5));
    } else {
        d->port = (unsigned)port;
    }
    PQclear(result);
    return rv;
}

static int ask_parameters(PGconn *conn, struct pg_description *d, struct err *err)
{
    PGresult *result = ask(conn, sql_parameters, 2, err);

    if (result == NULL) {
        return -1;
    }
    for (int i = 0; i < PQntuples(result); i++) {
        const char *name = PQgetvalue(result, i, 0);
        bool is_recovery = is_in(of_recovery, ARRAY_LENGTH(of_recovery), name);

        if (is_in(ours, ARRAY_LENGTH(ours), name) || str_starts_with(name, "recovery_target")) {
            continue;
        }
        kv_add(is_recovery ? &d->recovery_conf : &d->parameters, name, PQgetvalue(result, i, 1));
    }
    PQclear(result);
    return 0;
}

/* Lines that say something. */
static void add_lines(const char *text, struct kv_list *lines)
{
    char *copy = xstrdup(text);
    char *rest = copy;
    char *line;

    while ((line = strsep(&rest, "\r\n")) != NULL) {
        line += strspn(line, " \t");
        if (line[0] != '\0' && line[0] != '#') {
            kv_add(lines, line, NULL);
        }
    }
    free(copy);
}

static int ask_files(PGconn *conn, struct pg_description *d, struct err *err)
{
    PGresult *result = ask(conn, sql_files, 2, err);

    if (result == NULL) {
        return -1;
    }
    add_lines(PQgetvalue(result, 0, 0), &d->hba);
    add_lines(PQgetvalue(result, 0, 1), &d->ident);
    PQclear(result);
    return 0;
}

int pg_describe(const char *dsn, struct pg_description *ret, struct err *err)
{
    PGconn *conn = connect_to(dsn != NULL ? dsn : "", err);
    int rv;

    *ret = (struct pg_description){0};
    if (conn == NULL) {
        return -1;
    }
    rv = ask_facts(conn, ret, err);
    rv = rv == 0 ? ask_parameters(conn, ret, err) : rv;
    rv = rv == 0 ? ask_files(conn, ret, err) : rv;
    PQfinish(conn);
    return rv;
}

bool pg_may_be_used(const char *data_dir, struct err *err)
{
    const struct pg_options o = {.data_dir = data_dir};
    struct pg_disk disk = {.problem = ""};
    enum data_state state = pg_look_data(&o, &disk);

    if (state == DATA_FOREIGN || state == DATA_UNKNOWN) {
        (void)err_set(err, "%s", disk.problem); /* The answer says that it is one. */
        return false;
    }
    return true;
}

enum pg_programs pg_judge_programs(const char *bin_dir, const struct kv_list *bin_names,
                                   const char *data_dir, struct err *err)
{
    static const char *const programs[] = {"initdb", "pg_basebackup", "postgres"};
    const struct pg_options o = {.bin_dir = bin_dir, .bin_names = bin_names};
    uint32_t major = pg_look_major(data_dir);
    char path[PATH_MAX];

    for (size_t i = 0; i < ARRAY_LENGTH(programs); i++) {
        if (pg_spawn_find(bin_dir, pg_program(&o, programs[i]), path, sizeof(path), err) != 0) {
            return PG_PROGRAMS_MISSING;
        }
    }
    return major == 0 || pg_version_check(path, major, err) == 0 ? PG_PROGRAMS_FIT
                                                                 : PG_PROGRAMS_OTHER_VERSION;
}

void pg_description_deinit(struct pg_description *d)
{
    if (d->password != NULL) {
        explicit_bzero(d->password, strlen(d->password));
    }
    free(d->user);
    free(d->password);
    free(d->data_dir);
    free(d->config_file);
    free(d->bin_dir);
    free(d->listen_addresses);
    free(d->cluster_name);
    kv_deinit(&d->parameters);
    kv_deinit(&d->recovery_conf);
    kv_deinit(&d->hba);
    kv_deinit(&d->ident);
    *d = (struct pg_description){0};
}
