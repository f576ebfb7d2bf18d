/*
 * Tables: Patroni's frame for people, and the same rows as json, yaml or tsv.
 */
#include "cli/cli.h"

#define CELL_SIZE 512

static const char *cell_text(const json_t *value, char *text, size_t size)
{
    text[0] = '\0';
    if (json_is_string(value)) {
        (void)str_copy(text, size, json_string_value(value)); /* Cut is fine. */
    } else if (json_is_integer(value)) {
        (void)snprintf(text, size, "%lld", (long long)json_integer_value(value));
    }
    return text;
}

/* Characters, not bytes: continuation bytes of UTF-8 do not count. */
static size_t width_of(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++) {
        n += (*text & 0xC0) != 0x80 ? 1 : 0;
    }
    return n;
}

static void measure(const struct cli_table *t, size_t widths[])
{
    char text[CELL_SIZE];
    size_t i;
    json_t *row;

    for (size_t k = 0; k < t->n_columns; k++) {
        widths[k] = width_of(t->columns[k]);
    }
    json_array_foreach(t->rows, i, row)
    {
        for (size_t k = 0; k < t->n_columns; k++) {
            widths[k] =
                MAX(widths[k], width_of(cell_text(json_array_get(row, k), text, sizeof(text))));
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

        memcpy(b.data + 1, title, length);
    }
    fprintf(out, "%s\n", b.data);
    strbuf_deinit(&b);
}

static void print_cell(const char *text, size_t width, bool right, FILE *out)
{
    int fill = (int)(width - MIN(width, width_of(text)));

    if (right) {
        fprintf(out, " %*s%s |", fill, "", text);
    } else {
        fprintf(out, " %s%*s |", text, fill, "");
    }
}

static void print_pretty(const struct cli_table *t, FILE *out)
{
    size_t widths[CLI_COLUMNS_MAX];
    char text[CELL_SIZE];
    size_t i;
    json_t *row;

    measure(t, widths);
    print_line(t, widths, t->title, out);
    fputc('|', out);
    for (size_t k = 0; k < t->n_columns; k++) {
        print_cell(t->columns[k], widths[k], t->right[k], out);
    }
    fputc('\n', out);
    print_line(t, widths, NULL, out);
    json_array_foreach(t->rows, i, row)
    {
        fputc('|', out);
        for (size_t k = 0; k < t->n_columns; k++) {
            print_cell(cell_text(json_array_get(row, k), text, sizeof(text)), widths[k],
                       t->right[k], out);
        }
        fputc('\n', out);
    }
    print_line(t, widths, NULL, out);
}

/* Empty values are left out, as Patroni does. */
static json_t *to_objects(const struct cli_table *t)
{
    json_t *objects = json_array();
    char text[CELL_SIZE];
    size_t i;
    json_t *row;

    json_array_foreach(t->rows, i, row)
    {
        json_t *object = json_object();

        for (size_t k = 0; k < t->n_columns; k++) {
            json_t *value = json_array_get(row, k);

            if (cell_text(value, text, sizeof(text))[0] != '\0') {
                json_object_set(object, t->keys[k], value);
            }
        }
        json_array_append_new(objects, object);
    }
    return objects;
}

static void print_tsv(const struct cli_table *t, FILE *out)
{
    char text[CELL_SIZE];
    size_t i;
    json_t *row;

    for (size_t k = 0; k < t->n_columns; k++) {
        fprintf(out, "%s%s", k > 0 ? "\t" : "", t->keys[k]);
    }
    fputc('\n', out);
    json_array_foreach(t->rows, i, row)
    {
        for (size_t k = 0; k < t->n_columns; k++) {
            fprintf(out, "%s%s", k > 0 ? "\t" : "",
                    cell_text(json_array_get(row, k), text, sizeof(text)));
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
