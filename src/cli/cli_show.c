/*
 * history, show-config, version, dsn: what the cluster keeps, as it stands there.
 */
#include "cli/cli.h"

int cli_history(struct cli *c, int argc, char **argv)
{
    struct cli_table t = {
        .n_columns = 5,
        .columns = {"TL", "LSN", "Reason", "Timestamp", "New Leader"},
        .keys = {"TL", "LSN", "Reason", "Timestamp", "New Leader"},
        .right = {true, true, false, false, false},
        .keeps_empty = true,
    };
    int code;
    json_t *cluster = cli_get_whole_cluster(c, argc, argv, &code);

    t.rows = cluster != NULL ? cli_get_json(c, "/history", &code) : NULL;
    if (t.rows != NULL) {
        cli_table_print(&t, c->format, stdout);
    }
    cli_table_deinit(&t);
    json_decref(cluster);
    return code;
}

/* bootstrap.dcs seeds the store once; what was changed on either side since shows here. */
static int show_origin(const struct cli *c, const json_t *config)
{
    json_t *bootstrap = json_object_get(c->config.tree, "bootstrap");
    json_t *seed = cli_sorted(json_incref(json_object_get(bootstrap, "dcs")));
    char *file;
    char *store;

    if (seed == NULL) {
        cli_error("%s has no bootstrap.dcs",
                  c->config_path != NULL ? c->config_path : "no configuration: it");
        return VECHE_EXIT_USAGE;
    }
    file = cli_yaml_text(seed);
    store = cli_yaml_text(config);
    printf("before: bootstrap.dcs of %s; after: the store, which counts\n", c->config_path);
    if (!cli_print_difference(file, store, stdout)) {
        puts("No difference");
    }
    free(file);
    free(store);
    json_decref(seed);
    return VECHE_EXIT_OK;
}

int cli_show_config(struct cli *c, int argc, char **argv)
{
    int code;
    json_t *cluster = cli_get_whole_cluster(c, argc, argv, &code);
    json_t *config = cluster != NULL ? cli_sorted(cli_get_json(c, "/config", &code)) : NULL;

    if (config != NULL && c->origin) {
        code = show_origin(c, config);
    } else if (config != NULL && c->format == CLI_JSON) {
        (void)json_dumpf(config, stdout,
                         JSON_INDENT(2) | CLI_REAL_DIGITS); /* A pipe: cli.c looks. */
        putchar('\n');
    } else if (config != NULL) {
        cli_yaml_print(config, stdout);
    }
    json_decref(config);
    json_decref(cluster);
    return code;
}

/* ---- version ---- */

/* 170005 -> "17.5" */
static void print_member_version(const json_t *status)
{
    const json_t *version = json_object_get(status, "server_version");

    printf("%s: Veche %s", cli_text(json_object_get(status, "patroni"), "name"),
           cli_text(json_object_get(status, "veche"), "version"));
    if (version != NULL) {
        long long number = (long long)json_integer_value(version);

        printf(" PostgreSQL %lld.%lld", number / 10000, number % 10000);
    }
    putchar('\n');
}

static int print_member_versions(struct cli *c, int argc, char **argv)
{
    int code;
    json_t *cluster = cli_get_cluster(c, &argc, &argv, &code);
    json_t *members = cluster != NULL ? cli_select(c, cluster, argc, argv, &code) : NULL;
    size_t i;
    json_t *member;

    json_array_foreach(members, i, member)
    {
        json_t *status = cli_member_json(c, member, "/patroni");

        if (status != NULL) {
            print_member_version(status);
        } else {
            printf("%s: failed to get version\n", cli_text(member, "name"));
            code = VECHE_EXIT_UNREACHABLE;
        }
        json_decref(status);
    }
    json_decref(members);
    json_decref(cluster);
    return code;
}

int cli_version(struct cli *c, int argc, char **argv)
{
    json_t *status;
    int code;

    printf("vechectl version %s\n", VECHE_VERSION);
    if (argc > 0) {
        return print_member_versions(c, argc, argv);
    }
    if (c->config.tree == NULL && c->config.n_sockets == 0 && c->url == NULL) {
        return VECHE_EXIT_OK; /* Without an agent to ask this is all there is. */
    }
    status = cli_get_json(c, "/patroni", &code);
    if (status != NULL) {
        print_member_version(status);
    }
    json_decref(status);
    return VECHE_EXIT_OK; /* What was asked for was ours; without an agent that is known, too. */
}

/* ---- dsn ---- */

int cli_dsn(struct cli *c, int argc, char **argv)
{
    int code;
    json_t *cluster;
    json_t *members;
    const json_t *chosen;
    char *names[] = {(char *)c->member};

    if (c->role != NULL && c->member != NULL) {
        cli_error("--role and --member exclude each other");
        return VECHE_EXIT_USAGE;
    }
    cluster = cli_get_whole_cluster(c, argc, argv, &code);
    if (cluster == NULL) {
        return code;
    }
    if (c->role == NULL && c->member == NULL) {
        c->role = "leader";
    }
    members = cli_select(c, cluster, c->member != NULL, names, &code);
    chosen = json_array_get(members, 0);
    if (chosen != NULL && json_object_get(chosen, "port") != NULL) {
        printf("host=%s port=%lld\n", cli_text(chosen, "host"),
               (long long)json_integer_value(json_object_get(chosen, "port")));
    } else if (chosen != NULL) {
        cli_error("%s has no PostgreSQL", cli_text(chosen, "name"));
        code = VECHE_EXIT_REFUSED;
    }
    json_decref(members);
    json_decref(cluster);
    return code;
}

/* ---- Standby clusters ---- */

int cli_standby_cluster(struct cli *c, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    cli_error("%s: standby clusters are not built yet; nothing was changed", c->command->name);
    return VECHE_EXIT_REFUSED;
}
