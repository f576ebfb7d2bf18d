/*
 * Addresses, see peer_address.h. No lookups: those are peer_resolve.c's.
 */
#include "peer/peer_address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>

#include "base/str.h"

static int refuse(const char *text, const char *why, struct err *err)
{
    return err_set(err, "address \"%s\": %s", text, why);
}

/* Cuts "host:port" or "[host]:port" apart. */
static int split(const char *text, struct peer_address *a, struct err *err)
{
    const char *colon = strrchr(text, ':');
    const char *start = text;
    const char *end = colon;
    uint64_t port;

    if (colon == NULL || colon == text) {
        return refuse(text, "expected host:port", err);
    }
    if (text[0] == '[') {
        if (colon[-1] != ']') {
            return refuse(text, "expected [address]:port", err);
        }
        start++;
        end--;
    } else if (strchr(text, ':') != colon) {
        return refuse(text, "an IPv6 address belongs in brackets: [address]:port", err);
    }
    if (!str_to_u64(colon + 1, 1, UINT16_MAX, &port)) {
        return refuse(text, "the port must be a number from 1 to 65535", err);
    }
    if (end <= start || (size_t)(end - start) >= sizeof(a->host)) {
        return refuse(text, "the host is empty or too long", err);
    }
    memcpy(a->host, start, (size_t)(end - start));
    a->host[end - start] = '\0';
    a->port = (uint16_t)port;
    return 0;
}

static bool parse_numeric(struct peer_address *a)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&a->numeric;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a->numeric;

    if (inet_pton(AF_INET, a->host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
    } else if (inet_pton(AF_INET6, a->host, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
    } else {
        return false;
    }
    sockaddr_set_port(&a->numeric, a->port);
    return true;
}

static bool is_name(const char *host)
{
    for (const char *c = host; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && strchr("-_.", *c) == NULL) {
            return false;
        }
    }
    return host[0] != '-' && host[0] != '.';
}

int address_parse(const char *text, struct peer_address *ret_address, struct err *err)
{
    struct peer_address a = {0};

    if (!str_copy(a.text, sizeof(a.text), text)) {
        return refuse(a.text, "too long", err);
    }
    if (split(text, &a, err) < 0) {
        return -1;
    }
    a.is_any = strcmp(a.host, "*") == 0;
    a.is_numeric = !a.is_any && parse_numeric(&a);
    if (!a.is_any && !a.is_numeric && (text[0] == '[' || !is_name(a.host))) {
        return refuse(text, "neither an address nor a host name", err);
    }
    *ret_address = a;
    return 0;
}

bool address_is_loopback(const struct peer_address *address)
{
    if (address->is_numeric) {
        return sockaddr_is_loopback(&address->numeric);
    }
    return strcmp(address->host, "localhost") == 0;
}

static bool is_mapped(const struct in6_addr *address)
{
    return IN6_IS_ADDR_V4MAPPED(address);
}

bool sockaddr_is_loopback(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

    if (address->ss_family == AF_INET) {
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (address->ss_family != AF_INET6) {
        return false;
    }
    if (is_mapped(&in6->sin6_addr)) {
        return in6->sin6_addr.s6_addr[12] == 127;
    }
    return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

socklen_t sockaddr_length(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                          : sizeof(struct sockaddr_in);
}

void sockaddr_set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
    } else {
        ((struct sockaddr_in *)address)->sin_port = htons(port);
    }
}

const char *sockaddr_format(const struct sockaddr_storage *address, char *text, size_t size)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
    const char *result = NULL;

    if (address->ss_family == AF_INET) {
        result = inet_ntop(AF_INET, &in->sin_addr, text, (socklen_t)size);
    } else if (address->ss_family == AF_INET6 && is_mapped(&in6->sin6_addr)) {
        result = inet_ntop(AF_INET, in6->sin6_addr.s6_addr + 12, text, (socklen_t)size);
    } else if (address->ss_family == AF_INET6) {
        result = inet_ntop(AF_INET6, &in6->sin6_addr, text, (socklen_t)size);
    }
    if (result == NULL) {
        (void)str_copy(text, size, "unknown"); /* Fits any sensible size. */
    }
    return text;
}
