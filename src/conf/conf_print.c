/*
 * --print-config: what is in force on this node, by the rows of the schema, as
 * YAML that can be read again. Secrets are "***".
 */
#include <strings.h>

#include "base/kv.h"
#include "base/log.h"
#include "base/str.h"
#include "conf/conf_node.h"
#include "conf/conf_print.h"
#include "conf/conf_scalar.h"
#include "conf/conf_schema.h"

#define SECRET "\"***\""

static const char *last_word(const struct conf_row *row)
{
    return strrchr(row->path, '.') + 1;
}

static const void *member(const struct conf *c, size_t offset)
{
    return (const char *)c + offset;
}

static const char *text_of(const struct conf *c, const struct conf_row *row)
{
    return *(char *const *)member(c, row->offset);
}

static int64_t number_of(const struct conf *c, const struct conf_row *row)
{
    int64_t number;

    memcpy(&number, member(c, row->offset), sizeof(number));
    return number;
}

static const struct kv_list *list_of(const struct conf *c, const struct conf_row *row)
{
    return member(c, row->offset);
}

/* Would YAML read it back as the same text? */
static bool is_plain(const char *text)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";

    return text[0] != '\0' && text[0] != '-' && text[0] != '.' &&
           text[strspn(text, safe)] == '\0' && strcasecmp(text, "null") != 0;
}

void conf_print_text(const char *text, FILE *out)
{
    if (is_plain(text)) {
        (void)fputs(text, out);
        return;
    }
    (void)fputc('"', out);
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;

        if (byte < 0x20 || byte == 0x7f) {
            (void)fprintf(out, "\\x%02x", byte);
        } else {
            (void)fprintf(out, byte == '"' || byte == '\\' ? "\\%c" : "%c", byte);
        }
    }
    (void)fputc('"', out);
}

/* A connection string may be the value of a parameter. The caller frees. */
static char *mask(const char *text)
{
    size_t size = 2 * strlen(text) + sizeof("password=***"); /* Masking can lengthen it. */
    char *masked = xmalloc(size);

    (void)log_mask(text, masked, size); /* Returns masked. */
    return masked;
}

static void print_masked(const char *text, FILE *out)
{
    char *masked = mask(text);

    conf_print_text(masked, out);
    free(masked);
}

/* Depth is bounded: it was a tree of nodes. */
static void mask_json(json_t *value)
{
    const char *key;
    json_t *item;
    void *next;
    size_t i;

    if (json_is_string(value)) {
        char *masked = mask(json_string_value(value));

        (void)json_string_set(value, masked); /* Valid UTF-8 stays so. */
        free(masked);
    }
    json_object_foreach_safe(value, next, key, item)
    {
        if (strcmp(key, "password") == 0) {
            (void)json_object_set_new(value, key, json_string("***")); /* The key exists. */
        } else {
            mask_json(item);
        }
    }
    json_array_foreach(value, i, item)
    {
        mask_json(item);
    }
}

/* JSON is YAML. */
static void print_json(const char *text, FILE *out)
{
    json_t *value = json_loads(text, 0, NULL); /* We made the text. */
    char *masked;

    mask_json(value);
    masked = conf_json_text(value);
    (void)fputs(masked, out);
    free(masked);
    json_decref(value);
}

static void print_indent(size_t depth, FILE *out)
{
    (void)fprintf(out, "%*s", (int)(2 * depth), "");
}

/* The headings of `path` that `last` does not share. */
static size_t print_sections(const char *path, char *last, size_t last_size, FILE *out)
{
    size_t depth = 0;
    const char *at = path;
    const char *dot;

    for (; (dot = strchr(at, '.')) != NULL; at = dot + 1) {
        size_t n = (size_t)(dot + 1 - path);

        if (strncmp(path, last, n) != 0) {
            print_indent(depth, out);
            (void)fprintf(out, "%.*s:\n", (int)(dot - at), at);
        }
        depth++;
    }
    (void)str_copy(last, last_size, path); /* Paths of the schema fit. */
    return depth;
}

static void print_lines(const struct kv_list *list, size_t depth, FILE *out)
{
    for (size_t i = 0; i < list->n; i++) {
        (void)fputc('\n', out);
        print_indent(depth + 1, out);
        (void)fputs("- ", out);
        if (list->items[i].value != NULL) {
            conf_print_text(list->items[i].key, out);
            (void)fputs(": ", out);
            conf_print_text(list->items[i].value, out);
        } else {
            conf_print_text(list->items[i].key, out);
        }
    }
}

static void print_pairs(const struct kv_list *list, size_t depth, FILE *out)
{
    for (size_t i = 0; i < list->n; i++) {
        (void)fputc('\n', out);
        print_indent(depth + 1, out);
        conf_print_text(list->items[i].key, out);
        (void)fputs(": ", out);
        print_masked(list->items[i].value != NULL ? list->items[i].value : "", out);
    }
}

static void print_users(const struct kv_list *list, size_t depth, FILE *out)
{
    for (size_t i = 0; i < list->n; i++) {
        const char *value = list->items[i].value;
        const char *tab = strchr(value, '\t');
        const char *options = tab + 1;

        (void)fputc('\n', out);
        print_indent(depth + 1, out);
        conf_print_text(list->items[i].key, out);
        (void)fputs(": {", out);
        if (tab != value) {
            (void)fputs("password: " SECRET ", ", out);
        }
        (void)fputs("options: ", out);
        conf_print_text(options, out);
        (void)fputs("}", out);
    }
}

/* "<method>.<key>", or "<method>.recovery_conf.<name>"; those of one method stand together. */
static void print_methods(const struct kv_list *list, size_t depth, FILE *out)
{
    static const char recovery[] = "recovery_conf.";
    const char *before = "";

    for (size_t i = 0; i < list->n; i++) {
        const char *method = list->items[i].key;
        size_t n = strcspn(method, ".") + 1;
        const char *key = method + n;
        bool deep = str_starts_with(key, recovery);

        if (strncmp(method, before, n) != 0) {
            print_indent(depth, out);
            (void)fprintf(out, "%.*s:\n", (int)n - 1, method);
        }
        if (deep && strncmp(method, before, n + strlen(recovery)) != 0) {
            print_indent(depth + 1, out);
            (void)fprintf(out, "%.*s:\n", (int)strlen(recovery) - 1, recovery);
        }
        print_indent(depth + (deep ? 2 : 1), out);
        conf_print_text(key + (deep ? strlen(recovery) : 0), out);
        (void)fputs(": ", out);
        print_masked(list->items[i].value, out);
        (void)fputs(i + 1 < list->n ? "\n" : "", out);
        before = method;
    }
}

static void print_addresses(const struct conf *c, size_t depth, FILE *out)
{
    for (size_t i = 0; i < c->n_raft_partners; i++) {
        (void)fputc('\n', out);
        print_indent(depth + 1, out);
        (void)fputs("- ", out);
        conf_print_text(c->raft_partner_addrs[i], out);
    }
}

static void print_host_port(const struct conf *c, const struct conf_row *row, FILE *out)
{
    const char *hosts = text_of(c, row);
    const char *comma = strrchr(hosts, ',');
    const char *last = comma != NULL ? comma + 1 : hosts;
    struct strbuf text = {0};
    uint16_t port;

    memcpy(&port, member(c, row->second_offset), sizeof(port));
    strbuf_add(&text, hosts, (size_t)(last - hosts));
    strbuf_printf(&text, strchr(last, ':') != NULL ? "[%s]:%u" : "%s:%u", last, port);
    conf_print_text(text.data, out);
    strbuf_deinit(&text);
}

static void print_bool(const struct conf *c, const struct conf_row *row, FILE *out)
{
    bool value;

    memcpy(&value, member(c, row->offset), sizeof(value));
    (void)fputs(value ? "true" : "false", out);
}

static void print_number(const struct conf *c, const struct conf_row *row, FILE *out)
{
    const int64_t value = number_of(c, row);

    (void)fprintf(out, "%lld", (long long)value);
}

static void print_duration(const struct conf *c, const struct conf_row *row, FILE *out)
{
    uint64_t ms;

    memcpy(&ms, member(c, row->offset), sizeof(ms));
    if (ms % SECONDS(1) == 0) {
        (void)fprintf(out, "%llu", (unsigned long long)(ms / SECONDS(1)));
    } else {
        (void)fprintf(out, "%llums", (unsigned long long)ms);
    }
}

/* Nothing to print: not configured, and no default. */
static bool is_empty(const struct conf *c, const struct conf_row *row)
{
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
        return text_of(c, row) == NULL;
    case CONF_PARAMETERS:
    case CONF_LINES:
    case CONF_WORDS:
    case CONF_OPTIONS:
    case CONF_USERS:
    case CONF_METHODS:
        return list_of(c, row)->n == 0;
    case CONF_ENTRY:
        return kv_get(list_of(c, row), last_word(row)) == NULL;
    case CONF_ADDRESS_LIST:
        return c->n_raft_partners == 0;
    case CONF_INT:
    case CONF_BYTES:
    case CONF_DURATION:
        return row->derived != NULL && number_of(c, row) == 0; /* Then it follows from others. */
    case CONF_BOOL:
    case CONF_MODE:
        return false;
    case CONF_SECTION:
    case CONF_ALIAS:
    case CONF_SYNC_MODE:
    case CONF_SLOTS:
    case CONF_IGNORED:
    case CONF_ANY:
        break;
    }
    return true; /* No row of the node's file stores these. */
}

static void print_entry(const char *value, const char *name, FILE *out)
{
    if (strcmp(name, "sslpassword") == 0) {
        (void)fputs(SECRET, out);
    } else {
        conf_print_text(value, out);
    }
}

static void print_value(const struct conf *c, const struct conf_row *row, size_t depth, FILE *out)
{
    switch (row->type) {
    case CONF_TEXT:
    case CONF_NAME:
    case CONF_PATH:
    case CONF_CHOICE:
    case CONF_LOG_LEVEL:
    case CONF_ADDRESS:
        conf_print_text(text_of(c, row), out);
        break;
    case CONF_SECRET:
        (void)fputs(SECRET, out);
        break;
    case CONF_LISTEN:
    case CONF_HOST_PORT:
        print_host_port(c, row, out);
        break;
    case CONF_TAGS:
    case CONF_DCS:
        print_json(text_of(c, row), out);
        break;
    case CONF_PARAMETERS:
        print_pairs(list_of(c, row), depth, out);
        break;
    case CONF_LINES:
    case CONF_WORDS:
    case CONF_OPTIONS:
        print_lines(list_of(c, row), depth, out);
        break;
    case CONF_USERS:
        print_users(list_of(c, row), depth, out);
        break;
    case CONF_ENTRY:
        print_entry(kv_get(list_of(c, row), last_word(row)), last_word(row), out);
        break;
    case CONF_ADDRESS_LIST:
        print_addresses(c, depth, out);
        break;
    case CONF_METHODS:
        print_methods(list_of(c, row), depth, out);
        break;
    case CONF_BOOL:
        print_bool(c, row, out);
        break;
    case CONF_MODE:
        (void)fputs(c->mode == CONF_MODE_WITNESS ? "witness" : "postgres", out);
        break;
    case CONF_INT:
    case CONF_BYTES:
        print_number(c, row, out);
        break;
    case CONF_DURATION:
        print_duration(c, row, out);
        break;
    case CONF_SECTION:
    case CONF_ALIAS:
    case CONF_SYNC_MODE:
    case CONF_SLOTS:
    case CONF_IGNORED:
    case CONF_ANY:
        break; /* is_empty said so. */
    }
}

/* Its value begins on the next line. */
static bool is_nested(enum conf_type type)
{
    return type == CONF_PARAMETERS || type == CONF_LINES || type == CONF_WORDS ||
           type == CONF_OPTIONS || type == CONF_USERS || type == CONF_ADDRESS_LIST;
}

void conf_print(const struct conf *c, FILE *out)
{
    char last[256] = "";

    for (size_t i = 0; i < conf_schema_local.n_rows; i++) {
        const struct conf_row *row = &conf_schema_local.rows[i];
        bool of_postgresql = str_starts_with(row->path, "postgresql.");
        const char *dot = strrchr(row->path, '.');
        size_t depth;

        if (!row->stored || is_empty(c, row) || (of_postgresql && c->mode == CONF_MODE_WITNESS)) {
            continue;
        }
        depth = print_sections(row->path, last, sizeof(last), out);
        if (row->type != CONF_METHODS) { /* Which have names of their own. */
            print_indent(depth, out);
            (void)fprintf(out,
                          is_nested(row->type) ? "%s:" : "%s: ", dot != NULL ? dot + 1 : row->path);
        }
        print_value(c, row, depth, out);
        (void)fputc('\n', out);
    }
}
