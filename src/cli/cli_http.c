/*
 * Asking an agent: the local one over its unix socket, then --url, then the
 * addresses in the configuration. The first one that answers at all is believed.
 */
#include <curl/curl.h>

#include "cli/cli.h"
#include "veche/api.h"

#define CONNECT_MS 2000L
#define TOTAL_MS   75000L /* Longer than an agent keeps a switchover waiting. */
#define BODY_MAX   (8 * 1024 * 1024)

struct ask { /* What is asked, of whoever. */
    const char *method, *path;
    const char *body; /* NULL = none. */
};

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
    struct cli_reply *reply = arg;

    if (reply->body.length + size * n > BODY_MAX) {
        return 0; /* curl ends the transfer with an error. */
    }
    strbuf_add(&reply->body, data, size * n);
    return size * n;
}

static void remember_failure(struct cli_reply *reply, const char *where, const char *why)
{
    size_t length = strlen(reply->tried);

    (void)snprintf(reply->tried + length, sizeof(reply->tried) - length, "%s%s: %s",
                   length > 0 ? "; " : "", where, why);
}

static void set_body(CURL *curl, const char *body, struct curl_slist **headers)
{
    if (body == NULL) {
        return;
    }
    *headers = curl_slist_append(NULL, "Content-Type: application/json");
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, *headers);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
}

static bool try_one(const char *base, const char *socket, const struct ask *ask,
                    struct cli_reply *reply)
{
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = NULL;
    char url[1024];
    CURLcode rv;

    ASSERT(curl != NULL);
    (void)snprintf(url, sizeof(url), "%s%s", base, ask->path);
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    if (socket != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
    }
    (void)curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TOTAL_MS);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, ask->method);
    set_body(curl, ask->body, &headers);
    rv = curl_easy_perform(curl);
    if (rv == CURLE_OK) {
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->code);
    } else {
        remember_failure(reply, socket != NULL ? socket : base, curl_easy_strerror(rv));
        strbuf_deinit(&reply->body);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return rv == CURLE_OK;
}

static bool try_address(const char *address, const struct ask *ask, struct cli_reply *reply)
{
    char base[512];

    (void)snprintf(base, sizeof(base), "http://%s", address);
    return try_one(base, NULL, ask, reply);
}

/* Partners are known by their peer address; their REST port is usually ours. */
static bool try_partners(const struct conf *conf, const struct ask *ask, struct cli_reply *reply)
{
    char host[256];
    char address[300];
    uint16_t port;
    uint16_t rest_port;

    if (!conf_split_address(conf->restapi_connect_address, host, sizeof(host), &rest_port)) {
        return false;
    }
    for (size_t i = 0; i < conf->n_raft_partners; i++) {
        if (conf_split_address(conf->raft_partner_addrs[i], host, sizeof(host), &port)) {
            (void)snprintf(address, sizeof(address), "%s:%u", host, rest_port);
            if (try_address(address, ask, reply)) {
                return true;
            }
        }
    }
    return false;
}

bool cli_request(const struct cli *c, const char *method, const char *path, const char *body,
                 struct cli_reply *reply)
{
    struct ask ask = {method, path, body};
    char socket[1024];

    *reply = (struct cli_reply){0};
    if (c->url != NULL) {
        return try_one(c->url, NULL, &ask, reply);
    }
    if (c->conf == NULL) {
        remember_failure(reply, "configuration", "none found; give -c FILE or --url URL");
        return false;
    }
    (void)snprintf(socket, sizeof(socket), "%s/%s", c->conf->runtime_dir, VECHE_SOCKET_NAME);
    if (try_one("http://localhost", socket, &ask, reply)) {
        return true;
    }
    return try_address(c->conf->restapi_connect_address, &ask, reply) ||
           try_partners(c->conf, &ask, reply);
}

void cli_reply_deinit(struct cli_reply *reply)
{
    strbuf_deinit(&reply->body);
}

json_t *cli_get_json(const struct cli *c, const char *path, int *ret_code)
{
    struct cli_reply reply;
    json_t *value = NULL;

    *ret_code = VECHE_EXIT_OK;
    if (!cli_request(c, "GET", path, NULL, &reply)) {
        fprintf(stderr, "Error: no agent answered (%s)\n", reply.tried);
        *ret_code = VECHE_EXIT_UNREACHABLE;
    } else if (reply.code != 200) {
        fprintf(stderr, "Error: %s: %ld %s\n", path, reply.code,
                reply.body.data != NULL ? reply.body.data : "");
        *ret_code = VECHE_EXIT_FAILED;
    } else {
        value = json_loads(reply.body.data != NULL ? reply.body.data : "", 0, NULL);
        if (value == NULL) {
            fprintf(stderr, "Error: the answer to %s is not JSON\n", path);
            *ret_code = VECHE_EXIT_FAILED;
        }
    }
    cli_reply_deinit(&reply);
    return value;
}
