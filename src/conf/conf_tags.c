/*
 * tags: the flags we know, and all of them as JSON with the types as written.
 */
#include "base/kv.h"
#include "conf/conf_local.h"
#include "conf/conf_scalar.h"
#include "conf/conf_walk.h"

/* A flag, and the priority that says the same as a number. */
struct pair {
    const char *flag;
    const char *number;
};

static const struct pair failover_names = {"nofailover", "failover_priority"};
static const struct pair sync_names = {"nosync", "sync_priority"};

static int read_flag(const struct conf_node *tags, const char *name, bool *ret_flag,
                     const struct conf_diag *diag)
{
    const struct conf_node *node = conf_node_child(tags, name);
    char key[CONF_KEY_SIZE];
    char got[100];
    bool flag = false;

    if (node == NULL || node->kind == CONF_NODE_NULL) {
        return 0;
    }
    if (node->kind != CONF_NODE_SCALAR || !conf_parse_bool(node->text, &flag)) {
        (void)snprintf(key, sizeof(key), "tags.%s", name);
        return conf_fail(diag, node, key, "not a boolean, got %s, expected on or off",
                         conf_node_show(node, got, sizeof(got)));
    }
    *ret_flag = flag;
    return 0;
}

static int read_number(const struct conf_node *tags, const char *name, int64_t *ret_number,
                       const struct conf_diag *diag)
{
    const struct conf_node *node = conf_node_child(tags, name);
    char key[CONF_KEY_SIZE];
    char got[100];
    int64_t number = 0;

    if (node == NULL || node->kind == CONF_NODE_NULL) {
        return 0;
    }
    if (node->kind != CONF_NODE_SCALAR || !conf_parse_i64(node->text, &number) ||
        number > INT32_MAX) {
        (void)snprintf(key, sizeof(key), "tags.%s", name);
        return conf_fail(diag, node, key, "not a number, got %s, expected a whole number",
                         conf_node_show(node, got, sizeof(got)));
    }
    *ret_number = number;
    return 0;
}

/* A flag and a priority say the same: a priority of 0 or less is the flag. When
 * they contradict, the flag wins. */
static int read_pair(const struct conf_node *tags, const struct pair *names, bool *ret_flag,
                     int64_t *ret_number, const struct conf_diag *diag)
{
    const struct conf_node *flag_node = conf_node_child(tags, names->flag);
    const struct conf_node *number_node = conf_node_child(tags, names->number);
    bool has_flag = flag_node != NULL && flag_node->kind != CONF_NODE_NULL;
    bool flag = false;
    int64_t number = 1;

    int rv = read_flag(tags, names->flag, &flag, diag);

    if (read_number(tags, names->number, &number, diag) < 0 || rv < 0) {
        return -1;
    }
    if (has_flag && number_node != NULL && flag != (number <= 0)) {
        conf_warn(diag, number_node, "tags",
                  "Conflicting configuration between %s: %s and %s: %lld. Defaulting to %s: %s",
                  names->flag, flag ? "True" : "False", names->number, (long long)number,
                  names->flag, flag ? "True" : "False");
        number = 1;
    }
    *ret_flag = has_flag ? flag : number <= 0;
    *ret_number = *ret_flag ? 0 : number;
    return 0;
}

static int read_source(const struct conf_node *from, struct conf *c, const struct conf_diag *diag)
{
    char got[100];

    if (from == NULL || from->kind == CONF_NODE_NULL) {
        return 0;
    }
    if (from->kind != CONF_NODE_SCALAR || strlen(from->text) > CONF_SOURCE_LENGTH) {
        return conf_fail(diag, from, "tags.replicatefrom",
                         "not a name, got %s, expected the name of a member",
                         conf_node_show(from, got, sizeof(got)));
    }
    if (c->name != NULL && strcmp(from->text, c->name) == 0) {
        conf_warn(diag, from, "tags.replicatefrom", "ignored, it is this node's own name");
        return 0;
    }
    conf_replace(&c->replicatefrom, from->text);
    return 0;
}

static int read_known(const struct conf_node *tags, struct conf *c, const struct conf_diag *diag)
{
    const struct conf_node *from = conf_node_child(tags, "replicatefrom");
    int64_t failover = 1;
    int64_t sync = 1;
    const int results[] = {
        read_pair(tags, &failover_names, &c->nofailover, &failover, diag),
        read_pair(tags, &sync_names, &c->nosync, &sync, diag),
        read_flag(tags, "noloadbalance", &c->noloadbalance, diag),
        read_flag(tags, "clonefrom", &c->clonefrom, diag),
        read_flag(tags, "nostream", &c->nostream, diag),
    };

    for (size_t i = 0; i < ARRAY_LENGTH(results); i++) {
        if (results[i] < 0) {
            return -1;
        }
    }
    c->failover_priority = (uint32_t)failover;
    c->sync_priority = (uint32_t)sync;
    return read_source(from, c, diag);
}

/* As Patroni tells them: a flag that is off says nothing, but beside the number that it
 * contradicts. */
static void drop_flags_that_are_off(json_t *tags, const struct conf *c)
{
    const struct {
        const char *name, *number;
        bool flag;
    } flags[] = {
        {"nofailover", "failover_priority", c->nofailover},
        {"nosync", "sync_priority", c->nosync},
        {"noloadbalance", NULL, c->noloadbalance},
        {"clonefrom", NULL, c->clonefrom},
        {"nostream", NULL, c->nostream},
    };

    for (size_t i = 0; i < ARRAY_LENGTH(flags); i++) {
        if (!flags[i].flag &&
            (flags[i].number == NULL || json_object_get(tags, flags[i].number) == NULL)) {
            (void)json_object_del(tags, flags[i].name); /* It may be absent. */
        }
    }
}

int conf_tags_read(const struct conf_node *tags, struct conf *c, const struct conf_diag *diag)
{
    json_t *json;

    if (read_known(tags, c, diag) < 0) {
        return -1;
    }
    if (tags == NULL || tags->kind != CONF_NODE_MAP) {
        conf_replace(&c->tags_json, "{}");
        return 0;
    }
    json = conf_node_to_json(tags);
    drop_flags_that_are_off(json, c);
    conf_replace(&c->tags_json, NULL);
    c->tags_json = conf_json_text(json);
    json_decref(json);
    if (strlen(c->tags_json) > CONF_TAGS_LENGTH) {
        return conf_fail(diag, tags, "tags", "too long, got %zu bytes as JSON, expected at most %d",
                         strlen(c->tags_json), CONF_TAGS_LENGTH);
    }
    return 0;
}
