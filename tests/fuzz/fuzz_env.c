/*
 * Variables of the environment, a line each: NAME=value. What is taken over a file becomes a
 * configuration or an error with words in it.
 */
#include "fuzz.h"

#include "base/str.h"
#include "conf/conf_env.h"
#include "conf/conf_local.h"

static const char file[] = "name: n1\nscope: s\nraft: {self_addr: 127.0.0.1}\n"
                           "postgresql:\n  listen: 127.0.0.1:5432\n  data_dir: /d\n"
                           "  superuser: {username: postgres}\n  replication: {username: r}\n";

static void on_warning(void *data, const char *text)
{
    (void)data;
    REQUIRE(text[0] != '\0');
}

/* As it is in a process: no line holds a zero, and each name is one of ours. */
static void add_line(struct kv_list *env, char *line)
{
    char *value = strchr(line, '=');
    char name[64];

    if (value == NULL || (size_t)(value - line) >= sizeof(name) - 8) {
        return;
    }
    *value = '\0';
    (void)snprintf(name, sizeof(name), "%s%s", line[0] == '+' ? "VECHE_" : "PATRONI_",
                   line + (line[0] == '+'));
    for (char *at = value + 1; *at != '\0'; at++) {
        *at = *at == '\t' ? '\n' : *at; /* Values may have several lines. */
    }
    kv_set(env, name, value + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {""};
    struct conf_diag diag = {.warn = on_warning, .err = &err};
    struct conf_node *root = conf_yaml_parse("f.yml", file, strlen(file), &diag);
    struct kv_list env = {0};
    struct conf *c;
    char *copy = xmalloc(size + 1);
    char *rest = copy;
    char *line;

    memcpy(copy, data, size);
    while ((line = strsep(&rest, "\n")) != NULL) {
        add_line(&env, line);
    }
    free(copy);
    if (conf_env_merge(&env, root, &diag) == 0 &&
        kv_get(&env, "VECHE_RAFT_PASSWORD_FILE") == NULL &&
        kv_get(&env, "PATRONI_RAFT_PASSWORD_FILE") == NULL) {
        c = xmalloc(sizeof(*c));
        REQUIRE(conf_local_read(root, c, &diag) == 0 || err.text[0] != '\0');
        conf_free(c);
    } else {
        REQUIRE(err.text[0] != '\0' || env.n > 0);
    }
    conf_node_free(root);
    kv_deinit(&env);
    return 0;
}
