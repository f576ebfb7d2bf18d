/*
 * The body of GET /cluster: members, roles, and whom a command is about.
 */
#include "cli/cli.h"

const char *cli_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static bool leads(const json_t *member)
{
    const char *role = cli_text(member, "role");

    return str_equal(role, "leader") || str_equal(role, "standby_leader");
}

const char *cli_leader_name(const json_t *cluster)
{
    size_t i;
    json_t *member;

    json_array_foreach(json_object_get(cluster, "members"), i, member)
    {
        if (leads(member)) {
            return cli_text(member, "name");
        }
    }
    return NULL;
}

const json_t *cli_find_member(const json_t *cluster, const char *name)
{
    size_t i;
    json_t *member;

    json_array_foreach(json_object_get(cluster, "members"), i, member)
    {
        if (str_equal(cli_text(member, "name"), name)) {
            return member;
        }
    }
    return NULL;
}

bool cli_is_witness(const json_t *member)
{
    return str_equal(cli_text(member, "role"), "witness");
}

bool cli_is_role(const char *role)
{
    static const char *const roles[] = {
        "leader", "primary", "standby-leader", "standby_leader", "replica", "standby", "any"};

    for (size_t i = 0; i < ARRAY_LENGTH(roles); i++) {
        if (str_equal(roles[i], role)) {
            return true;
        }
    }
    return false;
}

bool cli_has_role(const json_t *member, const char *role)
{
    const char *is = cli_text(member, "role");

    if (str_equal(role, "any")) {
        return true;
    }
    if (str_equal(role, "leader")) {
        return leads(member);
    }
    if (str_equal(role, "primary")) {
        return str_equal(is, "leader");
    }
    if (str_starts_with(role, "standby") && strlen(role) > strlen("standby")) {
        return str_equal(is, "standby_leader");
    }
    return !leads(member) && !cli_is_witness(member); /* replica, standby */
}

json_t *cli_get_cluster(const struct cli *c, int *argc, char ***argv, int *ret_code)
{
    json_t *cluster = cli_get_json(c, "/cluster", ret_code);

    /* Patroni's commands take the cluster's name first. */
    if (cluster != NULL && *argc > 0 && str_equal((*argv)[0], cli_text(cluster, "scope"))) {
        (*argc)--;
        (*argv)++;
    }
    return cluster;
}

json_t *cli_get_whole_cluster(const struct cli *c, int argc, char **argv, int *ret_code)
{
    json_t *cluster = cli_get_cluster(c, &argc, &argv, ret_code);

    if (cluster != NULL && argc > 0) {
        cli_error("this is cluster %s, not %s", cli_text(cluster, "scope"), argv[0]);
        json_decref(cluster);
        *ret_code = VECHE_EXIT_USAGE;
        return NULL;
    }
    return cluster;
}

static bool is_named(const json_t *member, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (str_equal(argv[i], cli_text(member, "name"))) {
            return true;
        }
    }
    return argc == 0;
}

bool cli_are_members(const json_t *cluster, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (cli_find_member(cluster, argv[i]) == NULL) {
            cli_error("%s is not a member of cluster %s", argv[i], cli_text(cluster, "scope"));
            return false;
        }
    }
    return true;
}

json_t *cli_select(const struct cli *c, const json_t *cluster, int argc, char **argv, int *ret_code)
{
    json_t *chosen = json_array();
    size_t i;
    json_t *member;

    *ret_code = VECHE_EXIT_USAGE;
    if (!cli_are_members(cluster, argc, argv)) {
        json_decref(chosen);
        return NULL;
    }
    json_array_foreach(json_object_get(cluster, "members"), i, member)
    {
        if (is_named(member, argc, argv) && cli_has_role(member, c->role ? c->role : "any")) {
            json_array_append(chosen, member);
        }
    }
    if (json_array_size(chosen) == 0) {
        cli_error("No %s among %s", c->role != NULL ? c->role : "member",
                  argc > 0 ? "provided members" : "the members of the cluster");
        json_decref(chosen);
        return NULL;
    }
    *ret_code = VECHE_EXIT_OK;
    return chosen;
}
