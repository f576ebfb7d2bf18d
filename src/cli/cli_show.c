/*
 * history, show-config, version: what the cluster keeps, as it stands there.
 */
#include "cli/cli.h"
#include "veche/api.h"

int cli_history(struct cli *c, int argc, char **argv)
{
    struct cli_table t = {
        .n_columns = 5,
        .columns = {"TL", "LSN", "Reason", "Timestamp", "New Leader"},
        .keys = {"TL", "LSN", "Reason", "Timestamp", "New Leader"},
        .right = {true, true, false, false, false},
    };
    int code;

    (void)argc;
    (void)argv;
    t.rows = cli_get_json(c, "/history", &code);
    if (t.rows != NULL) {
        cli_table_print(&t, c->format, stdout);
    }
    cli_table_deinit(&t);
    return code;
}

int cli_show_config(struct cli *c, int argc, char **argv)
{
    int code;
    json_t *config = cli_get_json(c, "/config", &code);

    (void)argc;
    (void)argv;
    if (config != NULL && c->format == CLI_JSON) {
        (void)json_dumpf(config, stdout, JSON_INDENT(2)); /* To a terminal or pipe. */
        putchar('\n');
    } else if (config != NULL) {
        cli_yaml_print(config, stdout);
    }
    json_decref(config);
    return code;
}

int cli_version(struct cli *c, int argc, char **argv)
{
    json_t *status;
    json_t *version;
    int code;

    printf("vechectl version %s\n", VECHE_VERSION);
    if (argc == 0 && c->conf == NULL && c->url == NULL) {
        return VECHE_EXIT_OK; /* Without an agent to ask this is all there is. */
    }
    (void)argv;
    status = cli_get_json(c, "/patroni", &code);
    if (status == NULL) {
        return code;
    }
    version = json_object_get(status, "server_version");
    printf("%s: Veche %s",
           json_string_value(json_object_get(json_object_get(status, "patroni"), "name")),
           json_string_value(json_object_get(json_object_get(status, "veche"), "version")));
    if (version != NULL) {
        long long number = (long long)json_integer_value(version);

        printf(" PostgreSQL %lld.%lld", number / 10000, number % 10000);
    }
    putchar('\n');
    json_decref(status);
    return VECHE_EXIT_OK;
}
