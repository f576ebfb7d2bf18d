/*
 * The REST interface between http/ and the agent: its hooks, and restapi: as http/ wants it.
 */
#include "agent/agent_state.h"
#include "base/log.h"
#include "base/str.h"
#include "veche/api.h"

#define PATH_SIZE 1024

static const struct view *get_view(void *data)
{
    return &((struct agent *)data)->view;
}

static const struct decision *get_decision(void *data)
{
    return &((struct agent *)data)->decision;
}

static const char *get_config(void *data)
{
    const struct agent *a = data;

    return a->store.config_revision != 0 ? a->store.config : NULL;
}

static enum http_verify verify_of(const char *text)
{
    if (text != NULL && strcmp(text, "required") == 0) {
        return HTTP_VERIFY_REQUIRED;
    }
    return text != NULL && strcmp(text, "optional") == 0 ? HTTP_VERIFY_OPTIONAL : HTTP_VERIFY_NONE;
}

static enum http_tokens tokens_of(const char *text)
{
    if (text != NULL && strcmp(text, "productonly") == 0) {
        return HTTP_TOKENS_PRODUCTONLY;
    }
    return text != NULL && strcmp(text, "minimal") == 0 ? HTTP_TOKENS_MINIMAL
                                                        : HTTP_TOKENS_ORIGINAL;
}

struct http_setup *agent_rest_load(const struct conf *c, struct err *err)
{
    const struct http_settings settings = {
        .certfile = c->restapi_certfile,
        .keyfile = c->restapi_keyfile,
        .keyfile_password = c->restapi_keyfile_password,
        .cafile = c->restapi_cafile,
        .ciphers = c->restapi_ciphers,
        .verify = verify_of(c->restapi_verify_client),
        .allowlist = &c->restapi_allowlist,
        .allowlist_include_members = c->restapi_allowlist_include_members,
        .username = c->restapi_username,
        .password = c->restapi_password,
        .allow_commands = c->restapi_allow_commands,
        .http_headers = &c->restapi_http_extra_headers,
        .https_headers = &c->restapi_https_extra_headers,
        .tokens = tokens_of(c->restapi_server_tokens),
    };
    struct http_setup *setup;

    setup = http_setup_load(&settings, err);
    if (setup == NULL) {
        conf_place_error(c, err);
    }
    return setup;
}

int agent_rest_open(struct agent *a, struct err *err)
{
    char path[PATH_SIZE];
    struct http_options options = {
        .loop = &a->loop,
        .listen = a->conf->restapi_listen,
        .backlog = (int)a->conf->restapi_request_queue_size,
        .unix_socket = path,
        .setup = agent_rest_load(a->conf, err),
        .hooks = {.data = a,
                  .view = get_view,
                  .decision = get_decision,
                  .config = get_config,
                  .stats = agent_stats,
                  .change_config = agent_change_config,
                  .on_request = agent_on_request,
                  .on_reload = agent_on_reload},
    };

    if (options.setup == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/%s", a->conf->runtime_dir, VECHE_SOCKET_NAME);
    a->http = http_new(&options, err);
    if (a->http == NULL) {
        http_setup_free(options.setup);
    }
    return a->http != NULL ? 0 : -1;
}
