/*
 * What stands in queries and bodies, read as Patroni reads it; and text of others as JSON.
 */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <strings.h>

#include <jansson.h>

#include "http/http_routes.h"

struct unit {
    const char *name;
    double factor;
};

/* A number and behind it, if anything, one of the units. */
static bool parse(const char *text, const struct unit *units, size_t n, double *ret_value)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || !isfinite(value)) {
        return false;
    }
    while (isspace((unsigned char)*end)) {
        end++;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcasecmp(end, units[i].name) == 0) {
            *ret_value = value * units[i].factor;
            return true;
        }
    }
    return false;
}

bool http_parse_size(const char *text, double *ret_bytes)
{
    static const struct unit units[] = {
        {"", 1},
        {"b", 1},
        {"kb", 1024},
        {"mb", 1048576.0},
        {"gb", 1073741824.0},
        {"tb", 1099511627776.0},
    };

    return parse(text, units, ARRAY_LENGTH(units), ret_bytes);
}

bool http_parse_seconds(const char *text, double *ret_seconds)
{
    static const struct unit units[] = {
        {"", 1},       {"ms", 0.001}, {"us", 0.000001}, {"s", 1},
        {"min", 60.0}, {"h", 3600.0}, {"d", 86400.0},
    };

    return parse(text, units, ARRAY_LENGTH(units), ret_seconds);
}

bool http_is_yes(const json_t *value)
{
    static const char *const words[] = {"on", "true", "yes", "1"};
    const char *text = json_string_value(value); /* NULL = no text. */
    bool found = json_is_true(value) || (json_is_integer(value) && json_integer_value(value) == 1);

    for (size_t i = 0; text != NULL && i < ARRAY_LENGTH(words); i++) {
        found = found || strcasecmp(text, words[i]) == 0;
    }
    return found;
}

static bool is_one_of(const char *const *keys, const char *key)
{
    while (*keys != NULL && strcmp(*keys, key) != 0) {
        keys++;
    }
    return *keys != NULL;
}

/* A key that is misspelt would else be left out, and something else done than was asked for. */
static bool has_only(const json_t *body, const char *const *keys, const char *example,
                     struct http_reply *reply)
{
    const char *key;
    json_t *value;
    char text[512];

    json_object_foreach((json_t *)body, key, value)
    {
        if (!json_is_null(value) && !is_one_of(keys, key)) {
            (void)snprintf(text, sizeof(text), "The body has an unknown key \"%.60s\": %s", key,
                           example);
            http_reply_text(reply, 400, text);
            return false;
        }
    }
    return true;
}

json_t *http_read_body(const struct http_request *r, const char *const *keys, bool may_be_empty,
                       const char *example, struct http_reply *reply)
{
    bool empty = r->body[strspn(r->body, " \r\n\t")] == '\0';
    json_error_t error;
    json_t *body = empty && may_be_empty ? json_object() : json_loads(r->body, 0, &error);
    char text[512];

    if (empty && body == NULL) {
        (void)snprintf(text, sizeof(text), "The request has no body: %s", example);
    } else if (body == NULL) {
        (void)snprintf(text, sizeof(text), "The body is not a JSON object (%d:%d: %s): %s",
                       error.line, error.column, error.text, example);
    } else if (!json_is_object(body)) {
        (void)snprintf(text, sizeof(text), "The body is not a JSON object: %s", example);
    } else if (keys == NULL || has_only(body, keys, example, reply)) {
        return body;
    } else {
        json_decref(body);
        return NULL;
    }
    json_decref(body);
    http_reply_text(reply, 400, text);
    return NULL;
}

void http_add_json(struct strbuf *b, const char *json)
{
    bool quoted = false;

    for (const char *at = json; *at != '\0'; at++) {
        strbuf_add(b, at, 1);
        if (*at == '"') {
            quoted = !quoted;
        } else if (*at == '\\' && at[1] != '\0') { /* Only in a string. */
            strbuf_add(b, ++at, 1);
        } else if (!quoted && (*at == ':' || *at == ',') && at[1] != ' ') {
            strbuf_add(b, " ", 1);
        }
    }
}

/* How many bytes the character there has; 0 = it is none of UTF-8. */
static size_t length_of(const unsigned char *c)
{
    static const struct {
        unsigned char mask, lead;
        uint32_t min; /* What is less has a shorter form. */
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

    for (size_t n = 0; n < ARRAY_LENGTH(forms); n++) {
        uint32_t code = c[0] & (unsigned)(unsigned char)~forms[n].mask;
        size_t i = 1;

        if ((c[0] & forms[n].mask) != forms[n].lead) {
            continue;
        }
        for (; i <= n && (c[i] & 0xc0U) == 0x80; i++) { /* The end of the text is none. */
            code = code << 6 | (c[i] & 0x3fU);
        }
        return i == n + 1 && code >= forms[n].min && code <= 0x10ffff &&
                       (code < 0xd800 || code > 0xdfff)
                   ? n + 1
                   : 0;
    }
    return 0;
}

json_t *http_text(const char *text)
{
    json_t *value = json_string(text);
    struct strbuf b = {0};

    if (value != NULL) {
        return value;
    }
    strbuf_add_text(&b, "");
    while (*text != '\0') {
        size_t n = length_of((const unsigned char *)text);

        strbuf_add(&b, n > 0 ? text : "?", MAX(n, 1));
        text += MAX(n, 1);
    }
    value = json_string(b.data);
    strbuf_deinit(&b);
    return value;
}
