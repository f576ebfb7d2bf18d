/*
 * One value into the struct, by the type of its row (conf_walk.h). Small
 * functions, one a type, each naming what it got and what it wants.
 */
#include <ctype.h>
#include <strings.h>

#include "base/kv.h"
#include "base/str.h"
#include "conf/conf_scalar.h"
#include "conf/conf_walk.h"

#define HOST_SIZE        256
#define ADDRESS_EXPECTED "host:port ([::1]:port for IPv6)"

static void *at(const struct conf_walk *w, size_t offset)
{
    return (char *)w->target + offset;
}

void conf_replace(char **text, const char *value)
{
    char *copy = value != NULL ? xstrdup(value) : NULL;

    free(*text);
    *text = copy;
}

static bool is_secret(const struct conf_row *row)
{
    return row->type == CONF_SECRET || row->type == CONF_USERS;
}

/* What stands there by mistake may be a password that was to stand below it. */
static bool holds_secret(const struct conf_schema *schema, const struct conf_row *row)
{
    size_t length = strlen(row->path);

    for (size_t i = 0; i < schema->n_rows; i++) {
        const struct conf_row *below = &schema->rows[i];

        if (is_secret(below) && strncmp(below->path, row->path, length) == 0 &&
            below->path[length] == '.') {
            return true;
        }
    }
    return is_secret(row);
}

const char *conf_show_value(const struct conf_walk *w, const struct conf_row *row,
                            const struct conf_node *node, char *text, size_t size)
{
    return node->kind == CONF_NODE_SCALAR && holds_secret(w->schema, row)
               ? "a text"
               : conf_node_show(node, text, size);
}

int conf_fail_value(const struct conf_walk *w, const struct conf_row *row,
                    const struct conf_node *node, const char *what, const char *expected)
{
    char key[2 * CONF_KEY_SIZE];
    char got[100];

    (void)snprintf(key, sizeof(key), "%s%s", w->prefix, row->path);
    return conf_fail(w->diag, node, key, "%s, got %s, expected %s", what,
                     conf_show_value(w, row, node, got, sizeof(got)), expected);
}

static void store_text(const struct conf_walk *w, const struct conf_row *row, const char *value)
{
    if (row->stored) {
        conf_replace(at(w, row->offset), value);
    }
}

static bool is_name(const char *text)
{
    size_t length = strlen(text);

    return length >= 1 && length <= 63 &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
               length &&
           strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
}

static int set_name(const struct conf_walk *w, const struct conf_row *row,
                    const struct conf_node *node)
{
    if (!is_name(node->text)) {
        return conf_fail_value(w, row, node, "not a name",
                               "1 to 63 ASCII letters, digits, - _ or .");
    }
    store_text(w, row, node->text);
    return 0;
}

static int set_bool(const struct conf_walk *w, const struct conf_row *row,
                    const struct conf_node *node)
{
    bool value;

    if (!conf_parse_bool(node->text, &value)) {
        return conf_fail_value(w, row, node, "not a boolean", "on or off");
    }
    if (row->stored) {
        memcpy(at(w, row->offset), &value, sizeof(value));
    }
    return 0;
}

static bool in_range(const struct conf_row *row, int64_t value)
{
    return (row->min == 0 && row->max == 0) || (value >= row->min && value <= row->max);
}

static int set_number(const struct conf_walk *w, const struct conf_row *row,
                      const struct conf_node *node)
{
    bool bytes = row->type == CONF_BYTES;
    const char *expected =
        bytes ? "a whole number, or one with kB, MB, GB or TB" : "a whole number";
    char range[80];
    int64_t value;

    if (!(bytes ? conf_parse_bytes(node->text, &value) : conf_parse_i64(node->text, &value))) {
        return conf_fail_value(w, row, node, "not a number", expected);
    }
    if (!in_range(row, value)) {
        (void)snprintf(range, sizeof(range), "%lld to %lld", (long long)row->min,
                       (long long)row->max);
        return conf_fail_value(w, row, node, "out of range", range);
    }
    if (row->stored) {
        memcpy(at(w, row->offset), &value, sizeof(value));
    }
    return 0;
}

static int set_duration(const struct conf_walk *w, const struct conf_row *row,
                        const struct conf_node *node)
{
    char range[80];
    uint64_t ms;

    if (!conf_parse_duration_ms(node->text, &ms)) {
        return conf_fail_value(w, row, node, "not a duration",
                               "seconds, or a number with ms, s, min, h or d");
    }
    if (ms > INT64_MAX || !in_range(row, (int64_t)ms)) {
        (void)snprintf(range, sizeof(range), "%g to %g seconds", (double)row->min / 1000,
                       (double)row->max / 1000);
        return conf_fail_value(w, row, node, "out of range", range);
    }
    if (row->stored) {
        memcpy(at(w, row->offset), &ms, sizeof(ms));
    }
    return 0;
}

/* "a|b|c" as "a, b or c". */
static void show_choices(const char *choices, char *text, size_t size)
{
    struct sbuf b;

    sbuf_init(&b, text, size);
    for (const char *at_choice = choices; *at_choice != '\0';) {
        size_t n = strcspn(at_choice, "|");
        bool last = at_choice[n] == '\0';
        const char *next = at_choice + n + !last;
        bool before_last = !last && strchr(next, '|') == NULL;

        sbuf_printf(&b, "%.*s%s", (int)n, at_choice, last ? "" : before_last ? " or " : ", ");
        at_choice = next;
    }
}

static int fail_choice(const struct conf_walk *w, const struct conf_row *row,
                       const struct conf_node *node)
{
    char expected[200];

    show_choices(row->choices, expected, sizeof(expected));
    return conf_fail_value(w, row, node, "not a known value", expected);
}

static int set_choice(const struct conf_walk *w, const struct conf_row *row,
                      const struct conf_node *node)
{
    if (!conf_choice_find(row->choices, node->text, NULL)) {
        return fail_choice(w, row, node);
    }
    store_text(w, row, node->text);
    return 0;
}

static int set_mode(const struct conf_walk *w, const struct conf_row *row,
                    const struct conf_node *node)
{
    static const enum conf_mode modes[] = {CONF_MODE_POSTGRES, CONF_MODE_WITNESS};
    size_t choice;

    if (!conf_choice_find(row->choices, node->text, &choice)) {
        return fail_choice(w, row, node);
    }
    memcpy(at(w, row->offset), &modes[choice], sizeof(modes[choice]));
    return 0;
}

static int set_log_level(const struct conf_walk *w, const struct conf_row *row,
                         const struct conf_node *node)
{
    /* In the order of the row's choices. */
    static const char *const levels[] = {"DEBUG", "INFO",  "WARNING", "WARNING",
                                         "ERROR", "ERROR", "ERROR"};
    size_t choice;

    if (!conf_choice_find(row->choices, node->text, &choice)) {
        return fail_choice(w, row, node);
    }
    store_text(w, row, levels[choice]);
    return 0;
}

static int set_sync_mode(const struct conf_walk *w, const struct conf_row *row,
                         const struct conf_node *node)
{
    static const char *const modes[] = {"off", "on"}; /* In the order of the row's choices. */
    char key[CONF_KEY_SIZE];
    size_t choice;
    bool on;

    if (conf_parse_bool(node->text, &on)) {
        choice = on ? 1 : 0;
    } else if (strcasecmp(node->text, CONF_QUORUM) == 0) {
        (void)snprintf(key, sizeof(key), "%s%s", w->prefix, row->path);
        conf_warn(w->diag, node, key,
                  "quorum commit is not there yet, taken as on: one standby by name");
        choice = 1;
    } else if (!conf_choice_find(row->choices, node->text, &choice)) {
        return fail_choice(w, row, node);
    }
    (void)str_copy(at(w, row->offset), sizeof(((struct conf_dynamic *)0)->synchronous_mode),
                   modes[choice]);
    return 0;
}

bool conf_normalize_address(const char *value, int64_t default_port, char *text, size_t size)
{
    char host[HOST_SIZE];
    char longer[HOST_SIZE + 16];
    struct sbuf b;
    uint16_t port;

    PRE(value != NULL);
    if (!str_copy(longer, sizeof(longer), value)) {
        return false;
    }
    if (!conf_split_address(longer, host, sizeof(host), &port)) {
        bool only_port = value[strspn(value, "0123456789")] == '\0';

        sbuf_init(&b, longer, sizeof(longer));
        sbuf_printf(&b, "%s:%lld", value, (long long)default_port);
        if (default_port == 0 || strlen(value) >= HOST_SIZE || only_port ||
            !conf_split_address(longer, host, sizeof(host), &port)) {
            return false;
        }
    }
    return str_copy(text, size, longer);
}

static int set_address(const struct conf_walk *w, const struct conf_row *row,
                       const struct conf_node *node)
{
    char text[HOST_SIZE + 16];

    if (!conf_normalize_address(node->text, row->min, text, sizeof(text))) {
        return conf_fail_value(w, row, node, "not an address", ADDRESS_EXPECTED);
    }
    store_text(w, row, text);
    return 0;
}

static int set_host_port(const struct conf_walk *w, const struct conf_row *row,
                         const struct conf_node *node)
{
    char text[HOST_SIZE + 16];
    char host[HOST_SIZE];
    uint16_t port;

    if (!conf_normalize_address(node->text, row->min, text, sizeof(text)) ||
        !conf_split_address(text, host, sizeof(host), &port)) {
        return conf_fail_value(w, row, node, "not an address", ADDRESS_EXPECTED);
    }
    conf_replace(at(w, row->offset), host);
    memcpy(at(w, row->second_offset), &port, sizeof(port));
    return 0;
}

struct listen {
    uint16_t port;
    bool repeated; /* It stood at more than the last host. */
};

/* One of the hosts that are not last, behind those there are; brackets are of no use to
 * PostgreSQL. False: it has a port, or nothing. */
static bool add_host(struct strbuf *hosts, const char *host, size_t length)
{
    bool bracketed;

    while (length > 0 && *host == ' ') {
        host++;
        length--;
    }
    while (length > 0 && host[length - 1] == ' ') {
        length--;
    }
    bracketed = length > 2 && host[0] == '[' && host[length - 1] == ']';
    host += bracketed ? 1 : 0;
    length -= bracketed ? 2 : 0;
    if (length == 0 || memchr(host, ' ', length) != NULL || memchr(host, ']', length) != NULL ||
        memchr(host, '[', length) != NULL ||
        (memchr(host, ':', length) != NULL &&
         memchr(host, ':', length) == memrchr(host, ':', length))) {
        return false; /* One colon: no address of IPv6. */
    }
    strbuf_add(hosts, host, length);
    strbuf_add_text(hosts, ",");
    return true;
}

/* "host:port" among those that are not last: only the port that counts for all. */
static bool add_host_with_port(struct strbuf *hosts, const char *text, size_t length, uint16_t port)
{
    char address[HOST_SIZE + 16];
    char host[HOST_SIZE];
    uint16_t its_port;

    while (length > 0 && *text == ' ') {
        text++;
        length--;
    }
    while (length > 0 && text[length - 1] == ' ') {
        length--;
    }
    if (length >= sizeof(address)) {
        return false;
    }
    (void)snprintf(address, sizeof(address), "%.*s", (int)length, text);
    return conf_split_address(address, host, sizeof(host), &its_port) && its_port == port &&
           add_host(hosts, host, strlen(host));
}

/* "h1,h2:port"; the port may be missing, or be the same at each. */
static bool read_listen(const char *text, int64_t default_port, struct strbuf *hosts,
                        struct listen *ret_listen)
{
    const char *last_comma = strrchr(text, ',');
    const char *last = last_comma != NULL ? last_comma + 1 : text;
    char address[HOST_SIZE + 16];
    char host[HOST_SIZE];
    const char *comma;

    last += strspn(last, " ");
    if (!conf_normalize_address(last, default_port, address, sizeof(address)) ||
        !conf_split_address(address, host, sizeof(host), &ret_listen->port)) {
        return false;
    }
    for (; (comma = strchr(text, ',')) != NULL; text = comma + 1) {
        size_t length = (size_t)(comma - text);

        if (add_host(hosts, text, length)) {
            continue;
        }
        if (!add_host_with_port(hosts, text, length, ret_listen->port)) {
            return false;
        }
        ret_listen->repeated = true;
    }
    strbuf_add_text(hosts, host);
    return true;
}

static int set_listen(const struct conf_walk *w, const struct conf_row *row,
                      const struct conf_node *node)
{
    struct strbuf hosts = {0};
    struct listen listen = {.repeated = false};
    int rv = 0;

    if (read_listen(node->text, row->min, &hosts, &listen)) {
        if (listen.repeated) {
            conf_warn(w->diag, node, row->path, "one port counts for all, using %.200s:%u",
                      hosts.data, listen.port);
        }
        conf_replace(at(w, row->offset), hosts.data);
        memcpy(at(w, row->second_offset), &listen.port, sizeof(listen.port));
    } else {
        rv = conf_fail_value(w, row, node, "not an address", "host,host:port");
    }
    strbuf_deinit(&hosts);
    return rv;
}

/* One of libpq's words has to be in lower case. */
static int set_entry(const struct conf_walk *w, const struct conf_row *row,
                     const struct conf_node *node)
{
    char *value;

    if (row->choices != NULL && node->text[0] != '\0' &&
        !conf_choice_find(row->choices, node->text, NULL)) {
        return fail_choice(w, row, node);
    }
    value = xstrdup(node->text);
    for (char *c = value; row->choices != NULL && *c != '\0'; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
    kv_set(at(w, row->offset), strrchr(row->path, '.') + 1, value);
    free(value);
    return 0;
}

/* Without a path there is none, as if nothing were written. */
static void store_path(const struct conf_walk *w, const struct conf_row *row, const char *value)
{
    if (value[0] != '\0' || row->fallback != NULL) {
        store_text(w, row, value);
    }
}

static int set_scalar(const struct conf_walk *w, const struct conf_row *row,
                      const struct conf_node *node)
{
    switch (row->type) {
    case CONF_TEXT:
    case CONF_SECRET:
        store_text(w, row, node->text);
        return 0;
    case CONF_PATH:
        store_path(w, row, node->text);
        return 0;
    case CONF_NAME:
        return set_name(w, row, node);
    case CONF_BOOL:
        return set_bool(w, row, node);
    case CONF_INT:
    case CONF_BYTES:
        return set_number(w, row, node);
    case CONF_DURATION:
        return set_duration(w, row, node);
    case CONF_CHOICE:
        return set_choice(w, row, node);
    case CONF_MODE:
        return set_mode(w, row, node);
    case CONF_LOG_LEVEL:
        return set_log_level(w, row, node);
    case CONF_SYNC_MODE:
        return set_sync_mode(w, row, node);
    case CONF_ADDRESS:
        return set_address(w, row, node);
    case CONF_HOST_PORT:
        return set_host_port(w, row, node);
    case CONF_LISTEN:
        return set_listen(w, row, node);
    case CONF_ENTRY:
        return set_entry(w, row, node);
    case CONF_SECTION:
    case CONF_ALIAS:
    case CONF_ADDRESS_LIST:
    case CONF_PARAMETERS:
    case CONF_LINES:
    case CONF_WORDS:
    case CONF_OPTIONS:
    case CONF_USERS:
    case CONF_METHODS:
    case CONF_TAGS:
    case CONF_DCS:
    case CONF_SLOTS:
    case CONF_IGNORED:
    case CONF_ANY:
        break;
    }
    return 0;
}

static bool is_composite(enum conf_type type)
{
    return type == CONF_ADDRESS_LIST || type == CONF_PARAMETERS || type == CONF_LINES ||
           type == CONF_WORDS || type == CONF_OPTIONS || type == CONF_USERS;
}

int conf_set(const struct conf_walk *w, const struct conf_row *row, const struct conf_node *node)
{
    PRE(row->type != CONF_SECTION && row->type != CONF_ALIAS);
    if (row->type == CONF_ANY) {
        return 0;
    }
    if (row->type == CONF_METHODS) {
        return conf_set_method(w, row, node);
    }
    if (row->type == CONF_TAGS || row->type == CONF_DCS) {
        return node->kind == CONF_NODE_MAP
                   ? 0
                   : conf_fail_value(w, row, node, "wrong type", "a section");
    }
    if (row->type == CONF_SLOTS || row->type == CONF_IGNORED) {
        return conf_set_slots(w, row, node);
    }
    if (is_composite(row->type)) {
        return conf_set_lists(w, row, node);
    }
    if (node->kind != CONF_NODE_SCALAR) {
        return conf_fail_value(w, row, node, "wrong type", "a single value");
    }
    return set_scalar(w, row, node);
}

void conf_walk_deinit(const struct conf_schema *schema, void *target)
{
    for (size_t i = 0; i < schema->n_rows; i++) {
        const struct conf_row *row = &schema->rows[i];
        char *member = (char *)target + row->offset;

        if (!row->stored) {
            continue;
        }
        switch (row->type) {
        case CONF_TEXT:
        case CONF_SECRET:
        case CONF_NAME:
        case CONF_PATH:
        case CONF_CHOICE:
        case CONF_LOG_LEVEL:
        case CONF_ADDRESS:
        case CONF_LISTEN:
        case CONF_HOST_PORT:
        case CONF_TAGS:
        case CONF_DCS:
            conf_replace((char **)(void *)member, NULL);
            break;
        case CONF_ADDRESS_LIST:
            for (size_t k = 0; k < CONF_PARTNERS_MAX; k++) {
                conf_replace((char **)(void *)member + k, NULL);
            }
            break;
        case CONF_PARAMETERS:
        case CONF_LINES:
        case CONF_WORDS:
        case CONF_OPTIONS:
        case CONF_ENTRY:
        case CONF_USERS:
        case CONF_SLOTS:
        case CONF_IGNORED:
        case CONF_METHODS:
            kv_deinit((struct kv_list *)(void *)member);
            break;
        case CONF_SECTION:
        case CONF_ALIAS:
        case CONF_BOOL:
        case CONF_INT:
        case CONF_BYTES:
        case CONF_DURATION:
        case CONF_MODE:
        case CONF_SYNC_MODE:
        case CONF_ANY:
            break;
        }
    }
}
