/*
 * JSON values as YAML in block style. A text is quoted whenever a reader of
 * YAML 1.1 could take it for something else.
 */
#include <strings.h>

#include "cli/cli.h"

static void print_value(const json_t *value, int indent, bool after_key, FILE *out);

static bool is_word(const char *text)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on",
                                        "off",  "null",  "y",   "n",  "~"};

    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (strcasecmp(text, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_plain(const char *text)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "_-./ %+()@";

    return text[0] != '\0' && strspn(text, safe) == strlen(text) &&
           strchr("-.%@ +0123456789", text[0]) == NULL && text[strlen(text) - 1] != ' ' &&
           !is_word(text);
}

/* DEL and C1 are no text in YAML, and orders to a terminal: as escapes, like those below 0x20. */
static void print_quoted(const char *quoted, FILE *out)
{
    for (const unsigned char *p = (const unsigned char *)quoted; *p != '\0'; p++) {
        if (*p == 0x7F || (p[0] == 0xC2 && p[1] >= 0x80 && p[1] < 0xA0)) {
            p += *p == 0xC2;
            fprintf(out, "\\u%04X", *p);
        } else {
            fputc(*p, out);
        }
    }
}

static void print_text(const char *text, FILE *out)
{
    json_t *value;
    char *quoted;

    if (is_plain(text)) {
        fputs(text, out);
        return;
    }
    value = json_string(text); /* JSON's quoting is YAML's double quoting. */
    quoted = json_dumps(value, JSON_ENCODE_ANY);
    ASSERT(quoted != NULL);
    print_quoted(quoted, out);
    free(quoted);
    json_decref(value);
}

static void print_scalar(const json_t *value, FILE *out)
{
    if (json_is_string(value)) {
        print_text(json_string_value(value), out);
    } else {
        char *text = json_dumps(value, JSON_ENCODE_ANY | CLI_REAL_DIGITS);

        ASSERT(text != NULL);
        fputs(text, out);
        free(text);
    }
}

static void print_object(const json_t *value, int indent, FILE *out)
{
    const char *key;
    json_t *item;
    bool first = true;

    json_object_foreach((json_t *)value, key, item)
    {
        fprintf(out, "%*s", first ? 0 : indent, "");
        first = false;
        print_text(key, out);
        fputc(':', out);
        print_value(item, indent, true, out);
    }
}

static void print_array(const json_t *value, int indent, FILE *out)
{
    size_t i;
    json_t *item;

    json_array_foreach(value, i, item)
    {
        fprintf(out, "%*s- ", i == 0 ? 0 : indent, "");
        print_value(item, indent + 2, false, out);
    }
}

static void print_value(const json_t *value, int indent, bool after_key, FILE *out)
{
    bool is_block = (json_is_object(value) && json_object_size(value) > 0) ||
                    (json_is_array(value) && json_array_size(value) > 0);

    if (!is_block) {
        fputs(after_key ? " " : "", out);
        print_scalar(value, out);
        fputc('\n', out);
        return;
    }
    if (after_key) {
        indent += json_is_object(value) ? 2 : 0; /* Lists stand below their key. */
        fprintf(out, "\n%*s", indent, "");
    }
    if (json_is_object(value)) {
        print_object(value, indent, out);
    } else {
        print_array(value, indent, out);
    }
}

void cli_yaml_print(const json_t *value, FILE *out)
{
    print_value(value, 0, false, out);
}

char *cli_yaml_text(const json_t *value)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    ASSERT(out != NULL);
    cli_yaml_print(value, out);
    ASSERT(fclose(out) == 0);
    return text;
}

static void print_flow(const json_t *value, FILE *out)
{
    const char *key;
    size_t i;
    json_t *item;
    bool first = true;

    if (!json_is_object(value) && !json_is_array(value)) {
        print_scalar(value, out);
        return;
    }
    fputc(json_is_object(value) ? '{' : '[', out);
    json_object_foreach((json_t *)value, key, item)
    {
        fputs(first ? "" : ", ", out);
        print_text(key, out);
        fputs(": ", out);
        print_flow(item, out);
        first = false;
    }
    json_array_foreach(value, i, item)
    {
        fputs(i > 0 ? ", " : "", out);
        print_flow(item, out);
    }
    fputc(json_is_object(value) ? '}' : ']', out);
}

void cli_yaml_print_flow(const json_t *value, FILE *out)
{
    print_flow(value, out);
}

json_t *cli_sorted(json_t *value)
{
    char *text = value != NULL ? json_dumps(value, JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;

    json_decref(value);
    value = text != NULL ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    free(text);
    return value;
}
