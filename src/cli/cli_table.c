/*
 * Tables: Patroni's frame for people, and the same rows as json, yaml or tsv.
 */
#include <limits.h>
#include <locale.h>
#include <wchar.h>

#include "cli/cli.h"

/* The text of a cell, to free. */
static char *cell_text(const json_t *value)
{
    char *text = NULL;
    size_t size;
    FILE *out;

    if (json_is_string(value)) {
        return xstrdup(json_string_value(value));
    }
    out = open_memstream(&text, &size);
    ASSERT(out != NULL);
    if (json_is_integer(value)) {
        fprintf(out, "%lld", (long long)json_integer_value(value));
    } else if (value != NULL && !json_is_null(value)) {
        cli_yaml_print_flow(value, out);
    }
    ASSERT(fclose(out) == 0);
    return text;
}

/* For a terminal, to free: what a member or a row says is no order to it. */
static char *shown_text(const json_t *value)
{
    char *text = cell_text(value);
    char *to = text;

    for (const char *p = text; *p != '\0'; p++) {
        bool is_c1 = p[0] == '\xC2' && (p[1] & 0xE0) == 0x80; /* U+0080 to U+009F */
        bool is_control = is_c1 || *p == 0x7F || (*p >= 0 && *p < ' ' && *p != '\n');

        p += is_c1;
        *to++ = is_control ? '?' : *p;
    }
    *to = '\0';
    return text;
}

/* How wide characters are, whatever the locale that vechectl runs in: tables are UTF-8. */
static locale_t utf8(void)
{
    static locale_t locale;

    if (locale == (locale_t)0) {
        locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    }
    return locale;
}

/* Columns of the character, *ret_length its bytes. */
static size_t width_of_char(const char *text, size_t *ret_length)
{
    mbstate_t state = {0};
    wchar_t character;
    size_t length = mbrtowc(&character, text, MB_LEN_MAX, &state);
    int width;

    if (length == 0 || length > MB_LEN_MAX) { /* No UTF-8. */
        *ret_length = 1;
        return (*text & 0xC0) != 0x80 ? 1 : 0;
    }
    *ret_length = length;
    width = wcwidth(character);
    return width >= 0 ? (size_t)width : 1;
}

/* Columns, not bytes: some characters take two, some stand over the one before. Up to the
 * line's end. */
static size_t width_of(const char *text)
{
    locale_t before = utf8() != (locale_t)0 ? uselocale(utf8()) : (locale_t)0;
    size_t length;
    size_t n = 0;

    for (; *text != '\0' && *text != '\n'; text += length) {
        n += width_of_char(text, &length);
    }
    if (before != (locale_t)0) {
        (void)uselocale(before); /* It was one. */
    }
    return n;
}

/* The n-th line of a text, NULL behind the last. */
static const char *line_of(const char *text, size_t n)
{
    while (n-- > 0) {
        text = strchr(text, '\n');
        if (text == NULL) {
            return NULL;
        }
        text++;
    }
    return text;
}

struct shape { /* Of a table as it is drawn. */
    size_t widths[CLI_COLUMNS_MAX];
    bool several_lines; /* Some cell has: then rows are parted by rules. */
};

static void measure_cell(struct shape *s, size_t column, const json_t *value)
{
    char *text = shown_text(value);
    const char *line;

    for (size_t n = 0; (line = line_of(text, n)) != NULL; n++) {
        s->widths[column] = MAX(s->widths[column], width_of(line));
        s->several_lines = s->several_lines || n > 0;
    }
    free(text);
}

static void measure(const struct cli_table *t, struct shape *s)
{
    size_t i;
    json_t *row;

    *s = (struct shape){0};
    for (size_t k = 0; k < t->n_columns; k++) {
        s->widths[k] = width_of(t->columns[k]);
    }
    json_array_foreach(t->rows, i, row)
    {
        for (size_t k = 0; k < t->n_columns; k++) {
            measure_cell(s, k, json_array_get(row, k));
        }
    }
}

static void print_line(const struct cli_table *t, const size_t widths[], const char *title,
                       FILE *out)
{
    struct strbuf b = {0};

    strbuf_add_text(&b, "+");
    for (size_t k = 0; k < t->n_columns; k++) {
        for (size_t i = 0; i < widths[k] + 2; i++) {
            strbuf_add_text(&b, "-");
        }
        strbuf_add_text(&b, "+");
    }
    if (title != NULL) {
        size_t length = MIN(strlen(title), b.length - 2);

        while (length > 0 && (title[length] & 0xC0) == 0x80) {
            length--; /* Not in the middle of a character. */
        }
        memcpy(b.data + 1, title, length);
    }
    fprintf(out, "%s\n", b.data);
    strbuf_deinit(&b);
}

static void print_cell(const char *text, size_t width, bool right, FILE *out)
{
    int fill = (int)(width - MIN(width, width_of(text)));
    int length = (int)strcspn(text, "\n");

    if (right) {
        fprintf(out, " %*s%.*s |", fill, "", length, text);
    } else {
        fprintf(out, " %.*s%*s |", length, text, fill, "");
    }
}

/* As many lines as the cell with the most. */
static void print_row(const struct cli_table *t, const struct shape *s, const json_t *row,
                      FILE *out)
{
    char *texts[CLI_COLUMNS_MAX];
    bool more = true;

    for (size_t k = 0; k < t->n_columns; k++) {
        texts[k] = shown_text(json_array_get(row, k));
    }
    for (size_t n = 0; more; n++) {
        more = false;
        fputc('|', out);
        for (size_t k = 0; k < t->n_columns; k++) {
            const char *line = line_of(texts[k], n);

            print_cell(line != NULL ? line : "", s->widths[k], t->right[k], out);
            more = more || line_of(texts[k], n + 1) != NULL;
        }
        fputc('\n', out);
    }
    for (size_t k = 0; k < t->n_columns; k++) {
        free(texts[k]);
    }
}

static void print_pretty(const struct cli_table *t, FILE *out)
{
    struct shape s;
    size_t i;
    json_t *row;

    measure(t, &s);
    print_line(t, s.widths, t->title, out);
    fputc('|', out);
    for (size_t k = 0; k < t->n_columns; k++) {
        print_cell(t->columns[k], s.widths[k], t->right[k], out);
    }
    fputc('\n', out);
    print_line(t, s.widths, NULL, out);
    json_array_foreach(t->rows, i, row)
    {
        if (i > 0 && s.several_lines) {
            print_line(t, s.widths, NULL, out);
        }
        print_row(t, &s, row, out);
    }
    print_line(t, s.widths, NULL, out);
}

static bool is_empty(const json_t *value)
{
    char *text = cell_text(value);
    bool empty = text[0] == '\0';

    free(text);
    return empty;
}

/* Of lists of members empty values are left out, as Patroni does. */
static json_t *to_objects(const struct cli_table *t)
{
    json_t *objects = json_array();
    size_t i;
    json_t *row;

    json_array_foreach(t->rows, i, row)
    {
        json_t *object = json_object();

        for (size_t k = 0; k < t->n_columns; k++) {
            json_t *value = json_array_get(row, k);

            if (!is_empty(value)) {
                json_object_set(object, t->keys[k], value);
            } else if (t->keeps_empty) {
                json_object_set_new(object, t->keys[k], json_string(""));
            }
        }
        json_array_append_new(objects, object);
    }
    return objects;
}

/* A row is a line: lines within a cell are joined. */
static void print_tsv_cell(const json_t *value, FILE *out)
{
    char *text = cell_text(value);

    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\n') {
            fputs(", ", out);
        } else {
            fputc(*p == '\t' ? ' ' : *p, out);
        }
    }
    free(text);
}

static void print_tsv(const struct cli_table *t, FILE *out)
{
    const char *between = t->delimiter != NULL ? t->delimiter : "\t";
    size_t i;
    json_t *row;

    for (size_t k = 0; k < t->n_columns; k++) {
        fprintf(out, "%s%s", k > 0 ? between : "", t->keys[k]);
    }
    fputc('\n', out);
    json_array_foreach(t->rows, i, row)
    {
        for (size_t k = 0; k < t->n_columns; k++) {
            fputs(k > 0 ? between : "", out);
            print_tsv_cell(json_array_get(row, k), out);
        }
        fputc('\n', out);
    }
}

void cli_table_print(const struct cli_table *t, enum cli_format format, FILE *out)
{
    json_t *objects;

    switch (format) {
    case CLI_PRETTY:
        print_pretty(t, out);
        return;
    case CLI_TSV:
        print_tsv(t, out);
        return;
    case CLI_JSON:
        objects = to_objects(t);
        (void)json_dumpf(objects, out, 0); /* Written to a terminal or pipe: nothing to mend. */
        fputc('\n', out);
        json_decref(objects);
        return;
    case CLI_YAML:
        objects = to_objects(t);
        cli_yaml_print(objects, out);
        json_decref(objects);
        return;
    }
}

void cli_table_deinit(struct cli_table *t)
{
    json_decref(t->rows);
    *t = (struct cli_table){0};
}
