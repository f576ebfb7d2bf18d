/*
 * The gates, see http_access.h.
 */
#include "http/http_access.h"

#include <netinet/in.h>

#include "base/str.h"
#include "http/http_names.h"

/* Who asks at another address of the machine is not told that he is not there. */
#define LOCAL_ONLY                                                                                \
    "Access is denied: neither restapi.allowlist, restapi.verify_client nor "                     \
    "restapi.authentication is configured, so this is allowed over loopback and the unix socket " \
    "only: run vechectl failover, switchover, restart, reload, reinit or edit-config on a node"

static const struct sockaddr *address_of(const struct http_client *c)
{
    return (const struct sockaddr *)&c->address;
}

static bool is_loopback(const struct http_client *c)
{
    static const char *const nets[] = {"127.0.0.0/8", "::1"};
    struct http_net net;
    bool found = false;

    for (size_t i = 0; i < ARRAY_LENGTH(nets); i++) {
        found = found || (http_net_parse(nets[i], &net) && http_net_has(&net, address_of(c)));
    }
    return found;
}

/* An address as it stands, or a name as it was looked up. */
static bool is_host(const char *host, const struct http_names *names, const struct http_client *c)
{
    struct http_net net;

    if (http_net_parse(host, &net)) {
        return http_net_has(&net, address_of(c));
    }
    return names != NULL && http_names_has(names, host, address_of(c));
}

static bool is_member(const struct store *store, const struct http_names *names,
                      const struct http_client *c)
{
    char host[HOST_SIZE];
    bool found = false;

    for (uint32_t i = 0; i < store->n_members; i++) {
        found = found || (http_url_host(store->members[i].api_url, host, sizeof(host)) &&
                          is_host(host, names, c));
    }
    return found;
}

static bool is_allowed(const struct http_setup *s, const struct store *store,
                       const struct http_names *names, const struct http_client *c)
{
    bool found = s->include_members && is_member(store, names, c);

    for (size_t i = 0; i < s->n_nets; i++) {
        found = found || http_net_has(&s->nets[i], address_of(c));
    }
    for (size_t i = 0; i < s->names.n; i++) {
        found = found || is_host(s->names.items[i].key, names, c);
    }
    return found;
}

/* In a time that does not tell how much of it was right. */
static bool is_secret(const char *given, const char *expected)
{
    size_t n = strlen(expected);
    size_t n_given = strlen(given);
    unsigned char differs = n != n_given;

    for (size_t i = 0; i < n; i++) {
        differs |= (unsigned char)(expected[i] ^ (i < n_given ? given[i] : 0));
    }
    return differs == 0;
}

static struct http_refusal check_credentials(const struct http_setup *s, const char *header)
{
    static const char scheme[] = "Basic ";

    if (header == NULL) {
        return (struct http_refusal){401, "no auth header received"};
    }
    if (!str_starts_with(header, scheme) || !is_secret(header + strlen(scheme), s->credentials)) {
        return (struct http_refusal){401, "not authenticated"};
    }
    return (struct http_refusal){0, NULL};
}

struct http_refusal http_access_check(const struct http_setup *s, const struct store *store,
                                      const struct http_names *names, const struct http_client *c,
                                      bool unsafe)
{
    bool asks_certificate = c->has_tls && s->verify != HTTP_VERIFY_NONE;

    if (c->is_local) {
        return (struct http_refusal){0, NULL};
    }
    if (unsafe && s->has_allowlist && !is_allowed(s, store, names, c)) {
        return (struct http_refusal){403, "Access is denied"};
    }
    if (asks_certificate && !c->has_certificate && (unsafe || s->verify == HTTP_VERIFY_REQUIRED)) {
        return (struct http_refusal){403, "client certificate required"};
    }
    if (unsafe && s->credentials != NULL) {
        return check_credentials(s, c->authorization);
    }
    if (unsafe && !s->has_allowlist && !asks_certificate && !is_loopback(c)) {
        return (struct http_refusal){403, LOCAL_ONLY};
    }
    return (struct http_refusal){0, NULL};
}

bool http_access_is_own(const struct http_client *c)
{
    return c->is_local || is_loopback(c);
}
