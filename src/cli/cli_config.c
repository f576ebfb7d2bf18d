/*
 * The configuration as vechectl needs it: an agent's, or one with little more than `scope:`
 * and `ctl:`, as Patroni's command has in a home directory. No schema is asked: a mistake
 * in the file must not keep an operator from his cluster. One in `ctl:` is warned about.
 */
#include <glob.h>
#include <limits.h>
#include <strings.h>
#include <unistd.h>

#include "cli/cli.h"
#include "veche/api.h"

#define RUNTIME_DIRS "/run/veche"
#define REST_PORT    8008U

static const char *environment(const char *name)
{
    static const char *const prefixes[] = {"VECHE_", "PATRONI_"};
    char key[64];

    for (size_t i = 0; i < ARRAY_LENGTH(prefixes); i++) {
        const char *value;

        (void)snprintf(key, sizeof(key), "%s%s", prefixes[i], name);
        value = getenv(key);
        if (value != NULL && value[0] != '\0') {
            return value;
        }
    }
    return NULL;
}

const char *cli_config_text(const struct cli_config *config, const char *path, char *text,
                            size_t size)
{
    const json_t *value = config->tree;
    char key[64];

    text[0] = '\0';
    for (const char *end; value != NULL; path = end + 1) {
        end = path + strcspn(path, ".");
        (void)str_copy(key, MIN(sizeof(key), (size_t)(end - path) + 1), path); /* One word. */
        value = json_object_get(value, key);
        if (*end == '\0') {
            break;
        }
    }
    if (json_is_string(value)) {
        if (!str_copy(text, size, json_string_value(value))) {
            fprintf(stderr, "Warning: a text of the configuration is longer than %zu bytes: cut\n",
                    size - 1);
        }
    } else if (json_is_integer(value)) {
        (void)snprintf(text, size, "%lld", (long long)json_integer_value(value));
    } else if (json_is_boolean(value)) {
        (void)str_copy(text, size, json_is_true(value) ? "true" : "false");
    }
    return text;
}

/* Environment over file; then the path that stands in for it, if there is one. */
static void take(const struct cli_config *config, const char *variable, const char *path,
                 const char *fallback, char *text, size_t size)
{
    const char *value = variable != NULL ? environment(variable) : NULL;

    if (value != NULL) {
        if (!str_copy(text, size, value)) { /* A password would be another one. */
            fprintf(stderr, "Warning: VECHE_%s is longer than %zu bytes: cut\n", variable,
                    size - 1);
        }
        return;
    }
    if (cli_config_text(config, path, text, size)[0] == '\0' && fallback != NULL) {
        (void)cli_config_text(config, fallback, text, size);
    }
}

#define TAKE(c, field, variable, path, fallback) \
    take((c), (variable), (path), (fallback), (c)->field, sizeof((c)->field))

static bool is_true(const char *text)
{
    return strcasecmp(text, "true") == 0 || strcasecmp(text, "on") == 0 ||
           strcasecmp(text, "yes") == 0 || str_equal(text, "1");
}

static bool is_false(const char *text)
{
    return text[0] == '\0' || strcasecmp(text, "false") == 0 || strcasecmp(text, "off") == 0 ||
           strcasecmp(text, "no") == 0 || str_equal(text, "0");
}

/* What is not looked at, and would be missed. */
static void judge_ctl(const struct cli_config *c)
{
    static const char *const known[] = {"insecure", "cacert",           "certfile",
                                        "keyfile",  "keyfile_password", "authentication"};
    json_t *ctl = json_object_get(c->tree, "ctl");
    const char *key;
    json_t *value;

    if (ctl != NULL && !json_is_object(ctl) && !json_is_null(ctl)) {
        fprintf(stderr, "Warning: %s: ctl: wrong type, expected a section: ignored\n", c->path);
    }
    json_object_foreach(ctl, key, value)
    {
        bool found = false;

        for (size_t i = 0; i < ARRAY_LENGTH(known); i++) {
            found = found || str_equal(key, known[i]);
        }
        if (!found) {
            fprintf(stderr, "Warning: %s: ctl.%s: unknown key, ignored\n", c->path, key);
        }
    }
}

static void read_insecure(struct cli_config *c)
{
    char text[512];

    take(c, "CTL_INSECURE", "ctl.insecure", NULL, text, sizeof(text));
    c->insecure = is_true(text);
    if (!c->insecure && !is_false(text)) {
        fprintf(stderr, "Warning: ctl.insecure: got \"%s\", expected on or off: taken as off\n",
                text);
    }
}

static void read_ctl(struct cli_config *c)
{
    char text[512];

    judge_ctl(c);

    TAKE(c, cacert, "CTL_CACERT", "ctl.cacert", "restapi.cafile");
    TAKE(c, certfile, "CTL_CERTFILE", "ctl.certfile", NULL);
    TAKE(c, keyfile, "CTL_KEYFILE", "ctl.keyfile", NULL);
    TAKE(c, keyfile_password, "CTL_KEYFILE_PASSWORD", "ctl.keyfile_password", NULL);
    TAKE(c, username, "CTL_USERNAME", "ctl.authentication.username", NULL);
    TAKE(c, password, "CTL_PASSWORD", "ctl.authentication.password", NULL);
    if (c->username[0] == '\0') {
        TAKE(c, username, "RESTAPI_USERNAME", "restapi.authentication.username", NULL);
        TAKE(c, password, "RESTAPI_PASSWORD", "restapi.authentication.password", NULL);
    }
    if ((c->username[0] == '\0') != (c->password[0] == '\0')) {
        fprintf(stderr, "Warning: ctl.authentication: only a %s, expected username and password\n",
                c->username[0] != '\0' ? "username" : "password");
    }
    read_insecure(c);
    take(c, "RESTAPI_CERTFILE", "restapi.certfile", NULL, text, sizeof(text));
    c->https = text[0] != '\0';
}

/* The port may be missing, as it may for the agent. False: no address. */
static bool complete(char *address, size_t size)
{
    char longer[320], host[256];
    uint16_t port;

    if (conf_split_address(address, host, sizeof(host), &port)) {
        return true;
    }
    (void)snprintf(longer, sizeof(longer), "%s:%u", address, REST_PORT);
    return address[0] != '\0' && conf_split_address(longer, host, sizeof(host), &port) &&
           str_copy(address, size, longer);
}

/* "0.0.0.0:8008" and "*:8008" are everywhere: here that is 127.0.0.1. */
static void read_own(struct cli_config *c)
{
    char listen[300];
    char host[256];
    uint16_t port;

    TAKE(c, own, "RESTAPI_CONNECT_ADDRESS", "restapi.connect_address", NULL);
    take(c, "RESTAPI_LISTEN", "restapi.listen", NULL, listen, sizeof(listen));
    if (c->own[0] != '\0' && !complete(c->own, sizeof(c->own))) {
        fprintf(stderr,
                "Warning: restapi.connect_address: not an address, got \"%s\", expected "
                "host:port\n",
                c->own);
    }
    if (c->own[0] != '\0' || c->tree == NULL) {
        return;
    }
    if (!complete(listen, sizeof(listen)) ||
        !conf_split_address(listen, host, sizeof(host), &port)) {
        (void)str_copy(c->own, sizeof(c->own), "127.0.0.1:8008"); /* Fits. */
    } else if (str_equal(host, "*") || str_equal(host, "0.0.0.0") || str_equal(host, "::")) {
        (void)snprintf(c->own, sizeof(c->own), "127.0.0.1:%u", port);
    } else {
        (void)str_copy(c->own, sizeof(c->own), listen); /* Same size. */
    }
}

static void add_partners(struct kv_list *partners, const char *text)
{
    char *copy = xstrdup(text);
    char *save = NULL;

    for (char *word = strtok_r(copy, ", []'\"", &save); word != NULL;
         word = strtok_r(NULL, ", []'\"", &save)) {
        kv_add(partners, word, NULL);
    }
    free(copy);
}

static void read_partners(struct cli_config *c)
{
    const char *variable = environment("RAFT_PARTNER_ADDRS");
    const json_t *list = json_object_get(json_object_get(c->tree, "raft"), "partner_addrs");
    size_t i;
    json_t *item;

    if (variable != NULL) {
        add_partners(&c->partners, variable);
    } else if (json_is_string(list)) {
        add_partners(&c->partners, json_string_value(list));
    } else {
        json_array_foreach(list, i, item)
        {
            kv_add(&c->partners, json_is_string(item) ? json_string_value(item) : "", NULL);
        }
    }
}

static void add_sockets(struct cli_config *c, const char *pattern)
{
    glob_t found;

    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc && c->n_sockets < ARRAY_LENGTH(c->sockets); i++) {
            c->n_sockets +=
                str_copy(c->sockets[c->n_sockets], sizeof(c->sockets[0]), found.gl_pathv[i]);
        }
    }
    globfree(&found);
}

/* Where it is told, where an agent of this name has it, or whatever agents run here. */
static void find_sockets(struct cli_config *c)
{
    char dir[400];
    char path[512];

    take(c, "RUNTIME_DIR", "runtime_dir", NULL, dir, sizeof(dir));
    if (dir[0] == '\0' && c->scope[0] != '\0' && c->name[0] != '\0') {
        (void)snprintf(dir, sizeof(dir), RUNTIME_DIRS "/%s-%s", c->scope, c->name);
    }
    if (dir[0] != '\0') {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, VECHE_SOCKET_NAME);
        c->n_sockets += str_copy(c->sockets[0], sizeof(c->sockets[0]), path);
        return;
    }
    (void)snprintf(path, sizeof(path), RUNTIME_DIRS "/%s%s*/%s", c->scope,
                   c->scope[0] != '\0' ? "-" : "", VECHE_SOCKET_NAME);
    add_sockets(c, path);
}

/* ---- Which file ---- */

static const char *readable(char *path, size_t size, const char *home, const char *name)
{
    (void)snprintf(path, size, "%s%s", home, name);
    return access(path, R_OK) == 0 ? path : NULL;
}

static const char *find_file(const struct cli *c, char *path, size_t size)
{
    const char *home = getenv("HOME");
    const char *given = c->config_path;

    given = given != NULL ? given : getenv("VECHECTL_CONFIG_FILE");
    given = given != NULL ? given : getenv("PATRONICTL_CONFIG_FILE");
    if (given == NULL && home != NULL) {
        given = readable(path, size, home, "/.config/veche/vechectl.yaml");
        given =
            given != NULL ? given : readable(path, size, home, "/.config/patroni/patronictl.yaml");
    }
    return given != NULL ? given : readable(path, size, "", "/etc/veche/veche.yml");
}

static json_t *load(struct cli *c, struct err *err)
{
    const char *whole = environment("CONFIGURATION");
    const char *path = find_file(c, c->config.path, sizeof(c->config.path));
    char *text = NULL;
    json_t *tree;

    if (whole != NULL) {
        path = "environment";
        text = conf_json_of_yaml("VECHE_CONFIGURATION", whole, err);
    } else if (path != NULL) {
        text = conf_json_of_path(path, err);
    }
    if (path != NULL && path != c->config.path) {
        (void)str_copy(c->config.path, sizeof(c->config.path), path); /* For texts. */
    }
    tree = text != NULL ? json_loads(text, 0, NULL) : NULL;
    free(text);
    c->config_path = path != NULL ? c->config.path : NULL;
    return tree;
}

/* What Patroni's -d names is a store; ours is in the agents. */
static void judge_url(struct cli *c)
{
    const char *url = getenv("DCS_URL");

    c->url = c->url == NULL && url != NULL && url[0] != '\0' ? url : c->url;
    if (c->url != NULL && strstr(c->url, "://") != NULL && !str_starts_with(c->url, "http")) {
        fprintf(stderr, "Warning: %s names a store; the agents hold it themselves: ignored\n",
                c->url);
        c->url = NULL;
    }
}

int cli_config_read(struct cli *c)
{
    struct cli_config *config = &c->config;
    struct err err = {""};
    bool is_named = c->config_path != NULL; /* Then it is wanted, its passwords for instance. */

    judge_url(c);
    config->tree = load(c, &err);
    if (config->tree == NULL && c->config_path != NULL && (is_named || c->url == NULL)) {
        cli_error("%s", err.text);
        return VECHE_EXIT_USAGE;
    }
    TAKE(config, scope, "SCOPE", "scope", NULL);
    TAKE(config, name, "NAME", "name", NULL);
    TAKE(config, namespace, "NAMESPACE", "namespace", NULL);
    read_ctl(config);
    config->insecure = config->insecure || c->insecure;
    read_own(config);
    read_partners(config);
    find_sockets(config);
    if (config->n_sockets > 1 && c->url == NULL) {
        cli_error("several agents run here (%s, %s): give -c FILE or --url URL", config->sockets[0],
                  config->sockets[1]);
        return VECHE_EXIT_USAGE;
    }
    return -1;
}

void cli_config_deinit(struct cli_config *config)
{
    json_decref(config->tree);
    kv_deinit(&config->partners);
    *config = (struct cli_config){0};
}
