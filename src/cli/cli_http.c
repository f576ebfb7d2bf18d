/*
 * Asking an agent: the local one over its unix socket, then --url, then the
 * addresses in the configuration. The first one that answers at all is believed.
 *
 * What is for one member goes to its agent: over the socket if that is the local one; else
 * the local agent passes it on over the peer port, which needs neither password nor open
 * REST port; else to the member's own REST address.
 */
#include <curl/curl.h>
#include <limits.h>
#include <poll.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "veche/api.h"

#define CONNECT_MS 2000L
#define READ_MS    10000L   /* What is read an agent has in memory: one that takes longer hangs. */
#define TOTAL_MS   75000L   /* Longer than an agent keeps a switchover waiting. */
#define ACTION_MS  3600000L /* A restart waits for PostgreSQL's checkpoint, or --timeout. */
#define BODY_MAX   (8 * 1024 * 1024)

struct ask { /* What is asked, of whoever. */
    const struct cli *cli;
    const char *method, *path;
    const char *body; /* NULL = none. */
    long total_ms;
    uint64_t since_ms, told_s; /* Progress. */
};

static long limit_of(const char *method, long to_act_ms)
{
    return str_equal(method, "GET") ? READ_MS : to_act_ms;
}

static size_t count_events(const struct cli_reply *reply)
{
    const char *at = reply->body.data;
    size_t n = 0;

    while (at != NULL && (at = strstr(at, "data:")) != NULL) {
        n += at == reply->body.data || at[-1] == '\n';
        at++;
    }
    return n;
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
    struct cli_reply *reply = arg;

    if (reply->body.length + size * n > BODY_MAX) {
        return 0; /* curl ends the transfer with an error. */
    }
    strbuf_add(&reply->body, data, size * n);
    if (reply->of_events && count_events(reply) > 1) {
        return 0; /* The first tells what is; this one that it has changed. */
    }
    return size * n;
}

/* Takes the value of a header line if it is this one. */
static void take_header(const char *line, size_t length, const char *name, char *text, size_t size)
{
    size_t n = strlen(name);

    if (length <= n || strncasecmp(line, name, n) != 0) {
        return;
    }
    for (line += n, length -= n; length > 0 && *line == ' '; length--) {
        line++;
    }
    while (length > 0 && (line[length - 1] == '\r' || line[length - 1] == '\n')) {
        length--;
    }
    (void)str_copy(text, MIN(size, length + 1), line); /* Cut at its end. */
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
    struct cli_reply *reply = arg;

    take_header(line, size * n, VECHE_HEADER_MEMBER ":", reply->relayed, sizeof(reply->relayed));
    take_header(line, size * n, "ETag:", reply->etag, sizeof(reply->etag));
    return size * n;
}

static bool try_all(const struct cli *c, struct ask *ask, struct cli_reply *reply);

/* ": pg1 stopping, pg2 streaming", while an agent works on a switchover. */
static void show_phase(const struct cli *c)
{
    struct cli quiet = *c;
    struct ask ask = {&quiet, "GET", "/cluster", NULL, CONNECT_MS, 0, 0};
    struct cli_reply reply = {0};
    json_t *cluster;
    size_t i;
    json_t *member;

    quiet.doing = NULL;
    cluster = try_all(&quiet, &ask, &reply) ? json_loads(cli_reply_text(&reply), 0, NULL) : NULL;
    json_array_foreach(json_object_get(cluster, "members"), i, member)
    {
        fprintf(stderr, "%s%s %s", i > 0 ? ", " : ": ", cli_text(member, "name"),
                cli_text(member, "state"));
    }
    json_decref(cluster);
    cli_reply_deinit(&reply);
}

/* What takes longer than a second is told, to a person only. */
static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t d, curl_off_t e)
{
    struct ask *ask = arg;
    uint64_t s = (clock_ms() - ask->since_ms) / 1000;

    (void)a;
    (void)b;
    (void)d;
    (void)e;
    if (s > ask->told_s && ask->cli->doing != NULL && isatty(STDERR_FILENO)) {
        ask->told_s = s;
        fprintf(stderr, "\r%s, %llu s", ask->cli->doing, (unsigned long long)s);
        if (ask->cli->show_phases) {
            show_phase(ask->cli);
        }
        fputs("\033[K", stderr);
    }
    return 0;
}

/* Without user and password of a URL. */
static void remember_failure(struct cli_reply *reply, const char *where, const char *why)
{
    size_t length = strlen(reply->tried);
    const char *host = strstr(where, "://");
    size_t n_scheme = host != NULL ? (size_t)(host - where) + 3 : 0;
    size_t n_user = strcspn(where + n_scheme, "@/");

    host = where + n_scheme + (where[n_scheme + n_user] == '@' ? n_user + 1 : 0);
    (void)snprintf(reply->tried + length, sizeof(reply->tried) - length, "%s%.*s%s: %s",
                   length > 0 ? "; " : "", (int)n_scheme, where, host, why);
}

/* Whoever got it may carry it out, so nobody else is asked to: a restart would be two. */
static bool has_gone_out(CURL *curl, const struct ask *ask)
{
    long n_sent = 0;

    (void)curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &n_sent);
    return n_sent > 0 && !str_equal(ask->method, "GET");
}

static void set_text(CURL *curl, CURLoption option, const char *text)
{
    if (text[0] != '\0') {
        (void)curl_easy_setopt(curl, option, text);
    }
}

static void set_credentials(CURL *curl, const struct cli_config *config)
{
    set_text(curl, CURLOPT_USERNAME, config->username);
    set_text(curl, CURLOPT_PASSWORD, config->password);
    set_text(curl, CURLOPT_CAINFO, config->cacert);
    set_text(curl, CURLOPT_SSLCERT, config->certfile);
    set_text(curl, CURLOPT_SSLKEY, config->keyfile);
    set_text(curl, CURLOPT_KEYPASSWD, config->keyfile_password);
    if (config->insecure) {
        (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

static void set_body(CURL *curl, const char *body, struct curl_slist **headers)
{
    if (body == NULL) {
        return;
    }
    *headers = curl_slist_append(*headers, "Content-Type: application/json");
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
}

static void set_callbacks(CURL *curl, struct ask *ask, struct cli_reply *reply)
{
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, reply);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, ask);
}

static CURLcode perform(CURL *curl, struct ask *ask, const struct cli_reply *reply)
{
    struct curl_slist *headers = NULL;
    char match[160];
    CURLcode rv;

    if (reply->etag[0] != '\0') {
        (void)snprintf(match, sizeof(match), "If-Match: %s", reply->etag);
        headers = curl_slist_append(headers, match);
    }
    set_body(curl, ask->body, &headers);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    ask->since_ms = clock_ms();
    ask->told_s = 0;
    rv = curl_easy_perform(curl);
    if (ask->told_s > 0) {
        fputs("\r\033[K", stderr);
    }
    curl_slist_free_all(headers);
    return rv;
}

static bool try_one(const char *base, const char *socket, struct ask *ask, struct cli_reply *reply)
{
    CURL *curl = curl_easy_init();
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
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ask->total_ms);
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, ask->method);
    set_credentials(curl, &ask->cli->config);
    set_callbacks(curl, ask, reply);
    rv = perform(curl, ask, reply);
    if (rv == CURLE_OK || (reply->of_events && reply->body.length > 0)) {
        rv = CURLE_OK; /* A stream is ended by us, or by its time. */
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->code);
    } else {
        remember_failure(reply, socket != NULL ? socket : base, curl_easy_strerror(rv));
        strbuf_deinit(&reply->body);
        reply->sent = has_gone_out(curl, ask);
    }
    curl_easy_cleanup(curl);
    return rv == CURLE_OK;
}

static bool try_address(const char *address, struct ask *ask, struct cli_reply *reply)
{
    char base[512];

    (void)snprintf(base, sizeof(base), "%s://%s", ask->cli->config.https ? "https" : "http",
                   address);
    return try_one(base, NULL, ask, reply);
}

/* Partners are known by their peer address; their REST port is usually ours. */
static bool try_partners(const struct cli_config *config, struct ask *ask, struct cli_reply *reply)
{
    char host[256];
    char address[300];
    uint16_t port;
    uint16_t rest_port;

    if (!conf_split_address(config->own, host, sizeof(host), &rest_port)) {
        return false;
    }
    for (size_t i = 0; i < config->partners.n; i++) {
        if (conf_split_address(config->partners.items[i].key, host, sizeof(host), &port)) {
            (void)snprintf(address, sizeof(address), "%s:%u", host, rest_port);
            if (str_equal(address, config->own)) {
                continue; /* Several on one machine: that one was asked. */
            }
            if (try_address(address, ask, reply)) {
                return true;
            }
            if (reply->sent) {
                return false;
            }
        }
    }
    return false;
}

/* Whoever answers first. *reply may hold an ETag to match. */
static bool try_all(const struct cli *c, struct ask *ask, struct cli_reply *reply)
{
    const struct cli_config *config = &c->config;

    if (c->url != NULL) {
        return try_one(c->url, NULL, ask, reply);
    }
    for (size_t i = 0; i < config->n_sockets && !reply->sent; i++) {
        if (try_one("http://localhost", config->sockets[i], ask, reply)) {
            return true;
        }
    }
    if (reply->sent) {
        return false;
    }
    if (config->own[0] == '\0') {
        remember_failure(reply, "configuration", "none found; give -c FILE or --url URL");
        return false;
    }
    return try_address(config->own, ask, reply) ||
           (!reply->sent && try_partners(config, ask, reply));
}

bool cli_request(const struct cli *c, const char *method, const char *path, const char *body,
                 struct cli_reply *reply)
{
    struct ask ask = {c, method, path, body, limit_of(method, TOTAL_MS), 0, 0};

    *reply = (struct cli_reply){0};
    return try_all(c, &ask, reply);
}

void cli_wait_for_change(const struct cli *c, uint64_t ms)
{
    uint64_t until = clock_ms() + ms;
    struct cli_reply reply = {.of_events = true};
    struct ask ask = {c, "GET", "/events", NULL, (long)MIN(ms, INT_MAX), 0, 0};
    bool changed = try_all(c, &ask, &reply) && reply.code == 200 && count_events(&reply) > 1;

    cli_reply_deinit(&reply);
    if (!changed && clock_ms() < until) { /* It knows no events, or nobody answered. */
        (void)poll(NULL, 0, (int)MIN(until - clock_ms(), INT_MAX)); /* Ends early on a signal. */
    }
}

bool cli_request_if(const struct cli *c, const char *method, const char *path, const char *body,
                    const char *etag, struct cli_reply *reply)
{
    struct ask ask = {c, method, path, body, limit_of(method, TOTAL_MS), 0, 0};

    *reply = (struct cli_reply){0};
    (void)str_copy(reply->etag, sizeof(reply->etag), etag); /* Came out of such a field. */
    return try_all(c, &ask, reply);
}

/* "http://10.0.0.2:8008/patroni" -> "http://10.0.0.2:8008" */
static bool try_direct(const json_t *member, struct ask *ask, struct cli_reply *reply)
{
    char base[512];
    char *path;

    if (!str_copy(base, sizeof(base), cli_text(member, "api_url")) || base[0] == '\0') {
        remember_failure(reply, cli_text(member, "name"), "its REST address is not known");
        return false;
    }
    path = strstr(base, "://");
    path = path != NULL ? strchr(path + 3, '/') : NULL;
    if (path != NULL) {
        *path = '\0';
    }
    return try_one(base, NULL, ask, reply);
}

static bool is_name_of(const json_t *status, const char *name)
{
    return str_equal(cli_text(json_object_get(status, "patroni"), "name"), name);
}

/* Whether the agent behind the socket is this member's. */
static bool is_here(const struct cli *c, const char *name)
{
    struct ask ask = {c, "GET", "/patroni", NULL, READ_MS, 0, 0};
    struct cli_reply reply = {0};
    json_t *status = NULL;
    bool here;

    if (c->url != NULL || c->config.n_sockets == 0) {
        return false;
    }
    if (try_one("http://localhost", c->config.sockets[0], &ask, &reply)) {
        status = json_loads(cli_reply_text(&reply), 0, NULL);
    }
    here = is_name_of(status, name);
    json_decref(status);
    cli_reply_deinit(&reply);
    return here;
}

/* What the agent here answers is the member's word, or that it could not be asked. */
static bool is_from(const struct cli_reply *reply, const char *name)
{
    return str_equal(reply->relayed, name) && reply->code != VECHE_CODE_NOT_PASSED;
}

/* An agent that passes nothing on has done nothing: its path is unknown there, or it can not
 * reach the member, which it says. */
static void note_not_passed(struct cli_reply *reply, const char *name)
{
    struct cli_reply anew = {0};

    if (str_equal(reply->relayed, name)) {
        remember_failure(&anew, "peer port", cli_reply_text(reply));
    }
    cli_reply_deinit(reply);
    *reply = anew;
}

bool cli_member_request(const struct cli *c, const json_t *member, const char *method,
                        const char *path, const char *body, struct cli_reply *reply)
{
    const char *name = cli_text(member, "name");
    char passed[512];
    struct ask here = {c, method, passed, body, limit_of(method, ACTION_MS), 0, 0};
    struct ask there = {c, method, path, body, limit_of(method, ACTION_MS), 0, 0};

    *reply = (struct cli_reply){0};
    if (is_here(c, name)) {
        return try_one("http://localhost", c->config.sockets[0], &there, reply);
    }
    (void)snprintf(passed, sizeof(passed), VECHE_PATH_MEMBERS "%s%s", name, path);
    if (try_all(c, &here, reply) && is_from(reply, name)) {
        return true;
    }
    if (reply->sent) {
        return false;
    }
    note_not_passed(reply, name);
    return try_direct(member, &there, reply);
}

const char *cli_reply_text(const struct cli_reply *reply)
{
    return reply->body.data != NULL ? reply->body.data : "";
}

const char *cli_no_reply(const struct cli_reply *reply)
{
    return reply->sent ? "it was asked for and no answer came, so it may happen: see vechectl list"
                       : "nobody answered";
}

void cli_reply_deinit(struct cli_reply *reply)
{
    strbuf_deinit(&reply->body);
    reply->code = 0;
}

/* What is wrong in the request is a refusal; 5xx: it was right, and did not happen. */
int cli_exit_code(long status)
{
    if (status >= 200 && status < 300) {
        return VECHE_EXIT_OK;
    }
    return (status >= 400 && status < 500) || status == 501 ? VECHE_EXIT_REFUSED
                                                            : VECHE_EXIT_FAILED;
}

json_t *cli_get_json(const struct cli *c, const char *path, int *ret_code)
{
    struct cli_reply reply;
    json_t *value = NULL;

    *ret_code = VECHE_EXIT_OK;
    if (!cli_request(c, "GET", path, NULL, &reply)) {
        *ret_code = cli_unreachable(&reply);
    } else if (reply.code != 200) {
        cli_error("%s: %ld %s", path, reply.code, cli_reply_text(&reply));
        *ret_code = VECHE_EXIT_FAILED;
    } else {
        value = json_loads(cli_reply_text(&reply), 0, NULL);
        if (value == NULL) {
            cli_error("the answer to %s is not JSON", path);
            *ret_code = VECHE_EXIT_FAILED;
        }
    }
    cli_reply_deinit(&reply);
    return value;
}

json_t *cli_member_json(const struct cli *c, const json_t *member, const char *path)
{
    struct cli_reply reply;
    json_t *value = NULL;

    if (cli_member_request(c, member, "GET", path, NULL, &reply)) {
        value = json_loads(cli_reply_text(&reply), 0, NULL);
    }
    cli_reply_deinit(&reply);
    return value;
}
