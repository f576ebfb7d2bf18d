/*
 * check --postgres: whether the agent and the standbys get in by postgresql.pg_hba, line by
 * line as PostgreSQL reads it: the first that fits decides. What is missing is told as a
 * line to put there.
 */
#include <arpa/inet.h>

#include "cli/cli_check.h"

#define WORDS_MAX 16

struct wanted {           /* A connection that must be let in. */
    const char *database; /* "replication" is no database. */
    const char *user;
    const char *address; /* NULL = by the unix socket. */
    const char *who;
};

struct line {
    char text[1024];
    char *words[WORDS_MAX];
    size_t n;
};

static void read_line(const char *text, struct line *l)
{
    char *save = NULL;

    *l = (struct line){0};
    (void)str_copy(l->text, sizeof(l->text), text); /* Cut: then it is no line of ours. */
    l->text[strcspn(l->text, "#")] = '\0';
    for (char *word = strtok_r(l->text, " \t", &save); word != NULL && l->n < WORDS_MAX;
         word = strtok_r(NULL, " \t", &save)) {
        l->words[l->n++] = word;
    }
}

/* "a,b,all": one of them. */
static bool list_has(const char *list, const char *word, bool takes_all)
{
    char copy[512];
    char *save = NULL;

    (void)str_copy(copy, sizeof(copy), list); /* Cut: longer lists are not judged. */
    for (char *item = strtok_r(copy, ",\"", &save); item != NULL;
         item = strtok_r(NULL, ",\"", &save)) {
        if (str_equal(item, word) || (takes_all && str_equal(item, "all"))) {
            return true;
        }
    }
    return false;
}

static size_t parse_address(const char *text, unsigned char bytes[16])
{
    if (inet_pton(AF_INET, text, bytes) == 1) {
        return 4;
    }
    return inet_pton(AF_INET6, text, bytes) == 1 ? 16 : 0;
}

static bool same_bits(const unsigned char *a, const unsigned char *b, uint64_t bits)
{
    size_t whole = (size_t)(bits / 8);
    unsigned rest = (unsigned)(bits % 8);

    return memcmp(a, b, whole) == 0 &&
           (rest == 0 || (a[whole] >> (8 - rest)) == (b[whole] >> (8 - rest)));
}

static bool mask_fits(const char *net, const char *mask, const unsigned char *address, size_t size)
{
    unsigned char n[16];
    unsigned char m[16];

    if (parse_address(net, n) != size || parse_address(mask, m) != size) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if ((n[i] & m[i]) != (address[i] & m[i])) {
            return false;
        }
    }
    return true;
}

/* Address of the line: word 3, and a mask behind it. Names are compared as they are; what
 * this machine would have to know (samenet) is taken for a yes. */
static bool address_fits(const struct line *l, const char *address)
{
    char net[128];
    const char *slash = strchr(l->words[3], '/');
    unsigned char n[16];
    unsigned char a[16];
    size_t size = parse_address(address, a);
    uint64_t bits;

    if (str_equal(l->words[3], "all") || str_equal(l->words[3], "samenet") ||
        str_equal(l->words[3], "samehost") || str_equal(l->words[3], address)) {
        return true;
    }
    if (size == 0) {
        return true; /* A name: who knows its address. */
    }
    if (slash == NULL) {
        return l->n > 5 && mask_fits(l->words[3], l->words[4], a, size);
    }
    (void)str_copy(net, MIN(sizeof(net), (size_t)(slash - l->words[3]) + 1), l->words[3]);
    return parse_address(net, n) == size && str_to_u64(slash + 1, 0, size * 8, &bits) &&
           same_bits(n, a, bits);
}

static bool fits(const struct line *l, const struct wanted *w)
{
    bool local = l->n > 0 && str_equal(l->words[0], "local");
    bool replication = str_equal(w->database, "replication");

    if (l->n < (local ? 4U : 5U) || local != (w->address == NULL) ||
        (!local && !str_starts_with(l->words[0], "host"))) {
        return false;
    }
    return list_has(l->words[1], w->database, !replication) &&
           list_has(l->words[2], w->user, true) && (local || address_fits(l, w->address));
}

static const char *method_of(const struct line *l)
{
    bool with_mask = l->n > 5 && strchr(l->words[3], '/') == NULL && strchr(l->words[4], '.');

    return str_equal(l->words[0], "local") ? l->words[3] : l->words[with_mask ? 5 : 4];
}

static void judge(struct check *k, const json_t *lines, const struct wanted *w)
{
    size_t i;
    json_t *text;

    json_array_foreach(lines, i, text)
    {
        struct line l;

        read_line(json_is_string(text) ? json_string_value(text) : "", &l);
        if (fits(&l, w)) {
            if (str_equal(method_of(&l), "reject")) {
                check_say(k, CHECK_CRITICAL, "pg_hba refuses %s by its line \"%s\"", w->who,
                          json_string_value(text));
            }
            return;
        }
    }
    check_say(k, CHECK_CRITICAL, "pg_hba has no line for %s: add \"%s %s %s %s%sscram-sha-256\"",
              w->who, w->address != NULL ? "host" : "local", w->database, w->user,
              w->address != NULL ? w->address : "",
              w->address == NULL                ? ""
              : strchr(w->address, ':') != NULL ? "/128 "
                                                : "/32 ");
}

static void judge_standbys(struct check *k, const json_t *lines, const char *user)
{
    size_t i;
    json_t *member;

    json_array_foreach(json_object_get(k->cluster, "members"), i, member)
    {
        const char *host = cli_text(member, "host");
        char who[300];
        struct wanted w = {"replication", user, host, who};

        if (host[0] != '\0') {
            (void)snprintf(who, sizeof(who), "replication from %s (%s)", cli_text(member, "name"),
                           host);
            judge(k, lines, &w);
        }
    }
}

/* Where the agent reaches PostgreSQL here: 127.0.0.1, unless it listens elsewhere only. */
static void own_address(const struct cli_config *config, char *address, size_t size)
{
    char listen[512];
    char *save = NULL;
    char *port;
    unsigned char bytes[16];

    (void)str_copy(address, size, "127.0.0.1"); /* Fits. */
    cli_config_text(config, "postgresql.listen", listen, sizeof(listen));
    port = strrchr(listen, ':');
    if (port != NULL) {
        *port = '\0';
    }
    for (char *host = strtok_r(listen, ", ", &save); host != NULL;
         host = strtok_r(NULL, ", ", &save)) {
        if (str_starts_with(host, "127.") || str_equal(host, "*") || str_equal(host, "0.0.0.0") ||
            str_equal(host, "localhost")) {
            (void)str_copy(address, size, "127.0.0.1"); /* As above. */
            return;
        }
        if (parse_address(host, bytes) != 0 && str_equal(address, "127.0.0.1")) {
            (void)str_copy(address, size, host); /* An address: fits. */
        }
    }
}

void check_hba(struct check *k)
{
    const struct cli_config *config = &k->cli->config;
    const json_t *local = json_object_get(json_object_get(config->tree, "postgresql"), "pg_hba");
    const json_t *lines = json_array_size(local) > 0
                              ? local
                              : json_object_get(json_object_get(k->config, "postgresql"), "pg_hba");
    char user[128];
    char socket[16];
    char database[128];
    char address[64];
    struct wanted own = {database, user, address, "the agent's own connection"};

    if (json_array_size(lines) == 0) {
        return; /* The file that initdb made, or the operator: not ours to read. */
    }
    cli_config_text(config, "postgresql.authentication.superuser.username", user, sizeof(user));
    cli_config_text(config, "postgresql.database", database, sizeof(database));
    cli_config_text(config, "postgresql.use_unix_socket", socket, sizeof(socket));
    if (database[0] == '\0') {
        (void)str_copy(database, sizeof(database), "postgres"); /* Fits. */
    }
    if (user[0] != '\0') {
        own_address(config, address, sizeof(address));
        own.address = str_equal(socket, "true") ? NULL : address;
        judge(k, lines, &own);
    }
    cli_config_text(config, "postgresql.authentication.replication.username", user, sizeof(user));
    if (user[0] != '\0') {
        judge_standbys(k, lines, user);
    }
}
